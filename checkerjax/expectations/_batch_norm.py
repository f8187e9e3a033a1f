"""Batch norm in the wide limit, with large batches: each channel is divided by a standard deviation of its own.

What the images share of a channel, its mean at each phase m, is Gaussian over channels, m ~ N(0, B), and the batch's
variance is w + |m|^2 / P: w is the mean variance within phases, P the number of phases, and m is centred. That is not
the same for all channels, so E[x y / (w + |m|^2 / P)] is not E[x y] / E[w + |m|^2 / P]: channels with strong lines are
divided by more. As 1 / v is the integral of exp(-l v) over l > 0, and exp(-l |m|^2 / P) N(0, B) is a smaller N(0, B_l)
with B_l = (1 + 2 l B / P)^-1 B, moments are integrals over l of those of Gaussian fields; so are those of a (leaky)
ReLU of them, which keeps factors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from checkerjax._checks import concrete
from checkerjax.expectations import _lags as lags_
from checkerjax.expectations._lags import Array, Lags
from checkerjax.expectations._parts import Part, Scale, Term, may_differ_from_zero
from checkerjax.expectations._program import Node
from checkerjax.stacks import _layers as layers


def batch_norm(node: Node, part: Part) -> Part:
    """Centred by what images share, and divided by the root of the mean square."""
    layer = node.layer
    assert isinstance(layer, layers.BatchNorm)
    return _per_unit(layer, part) if layer.per == "unit" else _per_channel(layer, part)


def _per_unit(layer: layers.BatchNorm, part: Part) -> Part:
    """Statistics of each pixel: of its images only, and wide layers have the same variance in all channels."""
    own, between = part.own, part.between
    own = own.map(own.values - lags_.tiled(between, own.periods, own.sizes).values)
    root = own.values.__array_namespace__().sqrt(lags_.diagonal(own) + layer.epsilon)
    own = own.map(layer.std**2 * own.values / (lags_.at_first(root, own) * lags_.at_second(root, own)))
    terms = () if part.terms == () else None
    nothing = between.map(between.values * 0.0)
    return part._replace(own=own, between=nothing, mean=part.mean * 0.0, terms=terms, scales=())


def _per_channel(layer: layers.BatchNorm, part: Part) -> Part:
    xp, ndim = part.own.values.__array_namespace__(), len(part.own.periods)
    shared = xp.mean(lags_.unpacked(part.between), axis=tuple(range(-ndim, 0)))  # with the mean of a channel
    centre = xp.mean(shared)

    def centred(lags: Lags) -> Lags:
        return lags.map(lags.values - lags_.at_first(shared, lags) - lags_.at_second(shared, lags) + centre)

    own, between = centred(part.own), centred(part.between)
    variance = xp.mean(lags_.diagonal(own)) + layer.epsilon
    scales, terms = (), part.terms
    if may_differ_from_zero(between.values):
        scales = _scales(own, between, variance, layer.std)
        own, between = (
            own.map(sum(s.weight * s.own.values for s in scales)),
            between.map(sum(s.weight * s.between.values for s in scales)),
        )
        terms = () if part.terms == () else None
    else:
        scale = layer.std / xp.sqrt(variance)
        own, between = own.map(scale**2 * own.values), between.map(scale**2 * between.values)
        if terms:
            terms = None if may_differ_from_zero(shared) else tuple(Term(scale * t.scale, t.steps) for t in terms)
    mean_after = (part.mean - xp.mean(part.mean)) * layer.std / xp.sqrt(variance)
    return part._replace(own=own, between=between, mean=mean_after, terms=terms, scales=scales)


def squared_slopes(node: Node, before: Part, after: Part) -> Lags:
    """Mean over channels of (std / sd at n) (std / sd at n + t): of the division alone."""
    layer, own, xp = node.layer, before.own, before.own.values.__array_namespace__()
    assert isinstance(layer, layers.BatchNorm)
    if layer.per == "unit":
        shared = lags_.tiled_powers(lags_.diagonal(before.between), own.periods)
        root = xp.sqrt(lags_.diagonal(own) - shared + layer.epsilon)
        phases = Lags(None, own.periods, own.periods)
        return phases.map(layer.std**2 / (lags_.at_first(root, phases) * lags_.at_second(root, phases)))
    if after.scales:
        total = sum(scale.weight for scale in after.scales)
    else:  # the layer divided all channels by one number
        shared = xp.mean(lags_.unpacked(before.between))
        total = layer.std**2 / (xp.mean(lags_.diagonal(own)) - shared + layer.epsilon)
    return lags_.constant(total, len(own.periods))


def _scales(own: Lags, between: Lags, variance: Array, std: float) -> tuple[Scale, ...]:
    xp = own.values.__array_namespace__()
    shared = lags_.as_matrix(between)
    count = shared.shape[0]
    within = variance - xp.trace(shared) / count
    rest = own.values - lags_.tiled(between, own.periods, own.sizes).values
    found, total = [], 0.0
    step, times = _nodes(within / variance)
    for t in times:
        rate = math.exp(t - math.exp(-t)) / variance
        reduced, density = _tilted(xp, shared, rate / count)
        density = density * xp.exp(-rate * within) * rate * ((1 + math.exp(-t)) * step)
        smaller = lags_.from_matrix(reduced, between.periods)
        all_own = own.map(rest + lags_.tiled(smaller, own.periods, own.sizes).values)
        total = total + density * (within + xp.trace(reduced) / count)
        found.append((density, rate, all_own, smaller))
    # E[v / v] = 1: what the quadrature misses of it is put right.
    return tuple(
        Scale(std**2 * density / total, std * density / total / xp.sqrt(math.pi * rate), full, smaller)
        for density, rate, full, smaller in found
    )


def _nodes(share: Array) -> tuple[float, np.ndarray]:
    """The trapezoidal rule for t, where l = exp(t - exp(-t)) / E[v], as far as `share` = w / E[v] needs it.

    The integrands fall doubly exponentially at both ends and are analytic in a strip of half-width pi / 2.
    """
    exact = share.dtype == np.float64
    step, first = (0.4, -3.8) if exact else (0.6, -3.4)
    least = 1e-8 if exact else 1e-3  # below it the rounding errors of B would count
    known = concrete(share)
    if known is not None:
        least = max(float(known), least)
    return step, np.arange(first, math.log(36 / least) + step, step)


def _tilted(xp: Any, shared: Array, rate: Array) -> tuple[Array, Array]:
    """B_l, and the factor det(1 + 2 l B / P)^(-1/2)."""
    matrix = xp.asarray(np.eye(shared.shape[0]), dtype=shared.dtype) + 2 * rate * shared
    reduced = xp.linalg.solve(matrix, shared)
    return (reduced + reduced.T) / 2, xp.exp(-0.5 * xp.linalg.slogdet(matrix)[1])

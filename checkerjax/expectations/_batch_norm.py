"""Batch norm in the wide limit, with large batches: each channel is divided by a standard deviation of its own.

What the images share of a channel, its mean at each phase m, is Gaussian over channels, m ~ N(a, B), and the batch's
variance is w + |m|^2 / P: w is the mean variance within phases, P the number of phases, and m is centred. That is not
the same for all channels, so E[x y / (w + |m|^2 / P)] is not E[x y] / E[w + |m|^2 / P]: channels with strong lines are
divided by more. As 1 / v is the integral of exp(-l v) over l > 0, and exp(-l |m|^2 / P) N(a, B) is a smaller
N(a_l, B_l) with B_l = (1 + 2 l B / P)^-1 B and a_l = (1 + 2 l B / P)^-1 a, moments are integrals over l of those of
Gaussian fields; so are those of a (leaky) ReLU of them, which keeps factors. The mean over channels a is 0 of Gaussian
channels; behind a ReLU it is all of m where images share nothing before it, and then all channels are divided by one
number. Where they do, m and w both depend on what they share there, and m is taken for Gaussian and w for constant.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from checkerjax._checks import concrete
from checkerjax.expectations import _lags as lags_
from checkerjax.expectations._divisors import channels_differ, check_positive
from checkerjax.expectations._lags import Array, Lags
from checkerjax.expectations._parts import Part, Scale, Term, may_differ_from_zero
from checkerjax.expectations._program import Node
from checkerjax.stacks import _layers as layers


def batch_norm(node: Node, part: Part) -> Part:
    """Centred by what images share, and divided by the root of the mean square."""
    layer = node.layer
    assert isinstance(layer, layers.BatchNorm)
    return _per_unit(node.place, layer, part) if layer.per == "unit" else _per_channel(node.place, layer, part)


def _per_unit(place: str, layer: layers.BatchNorm, part: Part) -> Part:
    """Statistics of each pixel: of its images only, and wide layers have the same variance in all channels."""
    own, between = part.own, part.between
    own = own.map(own.values - lags_.tiled(between, own.periods, own.sizes).values)
    variance = lags_.diagonal(own) + layer.epsilon
    check_positive(place, variance)
    root = own.values.__array_namespace__().sqrt(variance)
    own = own.map(layer.std**2 * own.values / (lags_.at_first(root, own) * lags_.at_second(root, own)))
    terms = () if part.terms == () else None
    nothing = between.map(between.values * 0.0)
    after = part._replace(own=own, between=nothing, mean=part.mean * 0.0, terms=terms, scales=())
    return after._replace(approximate=part.approximate or part.mixed)


def _per_channel(place: str, layer: layers.BatchNorm, part: Part) -> Part:
    xp, ndim = part.own.values.__array_namespace__(), len(part.own.periods)
    shared = xp.mean(lags_.unpacked(part.between), axis=tuple(range(-ndim, 0)))  # with the mean of a channel
    centre = xp.mean(shared)

    def centred(lags: Lags) -> Lags:
        return lags.map(lags.values - lags_.at_first(shared, lags) - lags_.at_second(shared, lags) + centre)

    own, between = centred(part.own), centred(part.between)
    variance = xp.mean(lags_.diagonal(own)) + layer.epsilon
    check_positive(place, variance)
    mean_after = part.mean - xp.mean(part.mean)
    scales, terms, mixed, approximate = (), part.terms, part.mixed, part.approximate
    if may_differ_from_zero(between.values):
        # What is random of the channels' means is Gaussian, and apart from the rest, where the field is Gaussian.
        varies = _varies(between, mean_after, variance)
        approximate = approximate or (varies and (part.mixed or not part.gaussian))
        mixed = mixed or varies
        scales, mean_after = _scales(own, between, mean_after, variance, layer.std)
        own, between = (
            own.map(sum(s.weight * s.own.values for s in scales)),
            between.map(sum(s.weight * s.between.values for s in scales)),
        )
        terms = () if part.terms == () else None
    else:
        scale = layer.std / xp.sqrt(variance)
        own, between = own.map(scale**2 * own.values), between.map(scale**2 * between.values)
        mean_after = scale * mean_after
        if terms:
            terms = None if may_differ_from_zero(shared) else tuple(Term(scale * t.scale, t.steps) for t in terms)
    after = part._replace(own=own, between=between, mean=mean_after, terms=terms, scales=scales)
    return after._replace(mixed=mixed, approximate=approximate)


def _varies(between: Lags, mean: Array, variance: Array) -> bool:
    """Whether what images share of a channel differs from channel to channel."""
    periods = tuple(map(math.lcm, between.periods, mean.shape))
    between, mean = lags_.tiled(between, periods, periods), lags_.tiled_powers(mean, periods)
    means = lags_.at_first(mean, between) * lags_.at_second(mean, between)
    return channels_differ(between.values - means, variance)


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


def _scales(own: Lags, between: Lags, mean: Array, variance: Array, std: float) -> tuple[tuple[Scale, ...], Array]:
    """The Gaussian fields that make up the normalised one, and its mean; all that comes in is centred."""
    xp, periods = own.values.__array_namespace__(), tuple(map(math.lcm, between.periods, mean.shape))
    between, mean = lags_.tiled(between, periods, periods), lags_.tiled_powers(mean, periods)
    shared, average = lags_.as_matrix(between), xp.reshape(mean, (-1, 1))
    count = shared.shape[0]
    within = variance - xp.trace(shared) / count
    rest = own.values - lags_.tiled(between, own.periods, own.sizes).values
    random = shared - average @ average.T
    found, total = [], 0.0
    step, times = _nodes(within / variance)
    for t in times:
        rate = math.exp(t - math.exp(-t)) / variance
        reduced, kept, density = _tilted(xp, random, average, rate / count)
        density = density * xp.exp(-rate * within) * rate * ((1 + math.exp(-t)) * step)
        reduced = reduced + kept @ kept.T
        smaller = lags_.from_matrix(reduced, periods)
        all_own = own.map(rest + lags_.tiled(smaller, own.periods, own.sizes).values)
        total = total + density * (within + xp.trace(reduced) / count)
        found.append((density, rate, all_own, smaller, kept))
    # E[v / v] = 1: what the quadrature misses of it is put right.
    scales = tuple(
        Scale(std**2 * density / total, std * density / total / xp.sqrt(math.pi * rate), full, smaller)
        for density, rate, full, smaller, _ in found
    )
    return scales, xp.reshape(sum(scale.root_weight * kept for scale, (*_, kept) in zip(scales, found)), mean.shape)


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


def _tilted(xp: Any, random: Array, average: Array, rate: Array) -> tuple[Array, Array, Array]:
    """B_l, a_l, and the mean of exp(-l |m|^2 / P) over m ~ N(a, B)."""
    matrix = xp.asarray(np.eye(random.shape[0]), dtype=random.dtype) + 2 * rate * random
    reduced, kept = xp.linalg.solve(matrix, random), xp.linalg.solve(matrix, average)
    density = xp.exp(-0.5 * xp.linalg.slogdet(matrix)[1] - rate * xp.sum(average * kept))
    return (reduced + reduced.T) / 2, kept, density

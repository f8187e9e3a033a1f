"""What is known of a field's channels in the wide limit, and what single layers make of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from checkerjax._checks import concrete
from checkerjax.expectations import _lags as lags_
from checkerjax.expectations._lags import Array, Lags, Sizes
from checkerjax.expectations._pointwise import dual, mean
from checkerjax.expectations._program import Node
from checkerjax.expectations._steps import Step, composed, read_lags, read_powers
from checkerjax.expectations._variances import Weights
from checkerjax.stacks import _layers as layers


class Term(NamedTuple):
    """A fixed linear map of the field that came into a branch."""

    scale: Any
    steps: tuple[Step, ...]  # one per axis


class Scale(NamedTuple):
    """One of the Gaussian fields that a field of normalised channels is a mixture of, as second moments go."""

    weight: Any  # in E[phi(x) phi(y)], for phi with phi(c x) = c phi(x) at every c > 0
    root_weight: Any  # in E[phi(x)]
    own: Lags
    between: Lags


class Part(NamedTuple):
    """Channels in a row that have the same moments."""

    channels: int
    own: Lags  # E[x(n) x(n + t)] within one image
    between: Lags  # the same between two images: independent inputs, one network; its torus is its period
    mean: Array  # [*P] E[x(n)]
    gaussian: bool
    # What it still has of the field that came into the innermost branch: a sum of fixed maps of the channels from
    # `start` on, plus what is independent of it. None: something else, that no rule for sums covers.
    terms: tuple[Term, ...] | None = ()
    start: int = 0
    scales: tuple[Scale, ...] = ()  # behind batch norm, whose channels are divided by numbers that differ
    mixed: bool = False  # by such numbers: channels are Gaussian one by one only, and `own` is their mean
    approximate: bool = False  # something took them for Gaussian all the same


Field = tuple[Part, ...]


def learned(node: Node, field: Field) -> Field:
    """Independent zero-mean weights: each block of channels is averaged, and leaves Gaussian channels."""
    weights: Weights = node.weights
    count = getattr(node.layer, "groups", 1) if len(field) > 1 else 1
    out: list[tuple[tuple, Part]] = []
    for block in _blocks(field, count):
        recipe = tuple((channels, id(part)) for channels, part in block)
        if out and out[-1][0] == recipe:  # the same again: channels more
            recipe, part = out.pop()
            out.append((recipe, part._replace(channels=part.channels + weights.features // count)))
            continue
        own, between = (_mixed([(c, getattr(p, name)) for c, p in block]) for name in ("own", "between"))
        own, between = (_through(node, weights.power, lags) for lags in (own, between))
        part = Part(weights.features // count, own, between, lags_.diagonal(own) * 0.0, True)
        part = part._replace(approximate=any(p.approximate for _, p in block))
        out.append((recipe, part))
    return tuple(part for _, part in out)


def _blocks(field: Field, count: int) -> list[list[tuple[int, Part]]]:
    """Which parts, and how many channels of each, lie in each of `count` equal blocks of channels."""
    length = sum(part.channels for part in field) // count
    blocks: list[list[tuple[int, Part]]] = [[] for _ in range(count)]
    start = 0
    for part in field:
        stop = start + part.channels
        for b in range(start // length, -(-stop // length)):
            blocks[b].append((min(stop, (b + 1) * length) - max(start, b * length), part))
        start = stop
    return blocks


def _mixed(block: list[tuple[int, Lags]]) -> Lags:
    """The mean over channels."""
    if len(block) == 1:
        return block[0][1]
    total = sum(channels for channels, _ in block)
    all_lags = lags_.common([lags for _, lags in block])
    return all_lags[0].map(sum(c / total * lags.values for (c, _), lags in zip(block, all_lags)))


def averaged(field: Field) -> Part:
    """All channels as one part, with the mean of their moments."""
    if len(field) == 1:
        return field[0]
    own, between = (_mixed([(part.channels, getattr(part, name)) for part in field]) for name in ("own", "between"))
    total = sum(part.channels for part in field)
    mean_over = sum(part.channels / total * lags_.tiled_powers(part.mean, own.periods) for part in field)
    whole = Part(total, own, between, mean_over, all(part.gaussian for part in field))
    return whole._replace(mixed=any(part.mixed for part in field), approximate=any(part.approximate for part in field))


def _through(node: Node, power: Any, lags: Lags) -> Lags:
    for i, steps in enumerate(node.steps):
        lags = read_lags(node.place, lags, steps)
        if i == len(node.steps) - 1:  # the others are fixed: a resize-convolution interpolates first
            lags = lags.map(lags.values * power)
    return lags


def dense(node: Node, field: Field, torus: Sizes) -> Field:
    """A latent becomes a white field: each sample has weights of its own."""
    weights: Weights = node.weights
    own, between = (_mixed([(part.channels, getattr(part, name)) for part in field]) for name in ("own", "between"))
    if may_differ_from_zero(between.values):
        raise ValueError(
            f"{node.place}: what comes in has a mean that images share, and the field would not repeat. "
            'Normalise it first (`BatchNorm(per="unit")`), or measure it with `sweep`.'
        )
    xp, ndim = own.values.__array_namespace__(), len(torus)
    impulse = np.zeros(torus)
    impulse[(0,) * ndim] = 1.0
    power = xp.reshape(own.values, ()) * weights.power
    white = Lags(xp.asarray(impulse, dtype=own.values.dtype) * power, (1,) * ndim, torus)
    nothing = lags_.constant(own.values * 0.0, ndim)
    approximate = any(part.approximate for part in field)
    return (Part(weights.features, white, nothing, nothing.values, True, approximate=approximate),)


def fixed(node: Node, part: Part) -> Part:
    """A fixed linear map."""
    own, between, terms = part.own, part.between, part.terms
    mean_after, scales = part.mean, part.scales
    for steps in node.steps:
        scales = tuple(
            scale._replace(
                own=read_lags(node.place, scale.own, steps), between=read_lags(node.place, scale.between, steps)
            )
            for scale in scales
        )
        own, between = read_lags(node.place, own, steps), read_lags(node.place, between, steps)
        mean_after = read_powers(mean_after, steps)
        if terms is not None:
            terms = tuple(Term(t.scale, tuple(map(composed, t.steps, steps))) for t in terms)
    return part._replace(own=own, between=between, mean=mean_after, terms=terms, scales=scales)


def bias(node: Node, part: Part) -> Part:
    """One number for a channel, the same in all images."""
    variance = node.weights**2
    own, between = (lags.map(lags.values + variance) for lags in (part.own, part.between))
    return part._replace(own=own, between=between, scales=part.scales if node.weights == 0 else ())


def pointwise(node: Node, part: Part) -> Part:
    """A function of each sample, of a Gaussian field."""
    if getattr(node.layer, "slope", None) == 1:
        return part
    if not part.gaussian:
        raise no_closed_form(node, "what comes in is no longer Gaussian")
    homogeneous = isinstance(node.layer, (layers.Relu, layers.LeakyRelu))
    exact = homogeneous and part.scales
    scales = part.scales if exact else (Scale(1.0, 1.0, part.own, part.between),)
    own = _plus([_dual(node.layer, scale.own, scale.own, scale.weight) for scale in scales])
    between = _plus([_dual(node.layer, scale.own, scale.between, scale.weight) for scale in scales])
    means = _plus([scale.root_weight * mean(node.layer, lags_.diagonal(scale.own)) for scale in scales])
    terms = () if part.terms == () else None
    after = Part(part.channels, part.own.map(own), part.between.map(between), means, False, terms, part.start)
    return after._replace(mixed=part.mixed, approximate=part.approximate or (part.mixed and not exact))


def _dual(layer: Any, own: Lags, lags: Lags, weight: Any) -> Array:
    powers = lags_.diagonal(own)
    moments = dual(layer, lags_.at_first(powers, lags), lags.values, lags_.at_second(powers, lags))
    return moments if isinstance(weight, float) and weight == 1 else weight * moments


def _plus(arrays: list[Any]) -> Any:
    return sum(arrays[1:], start=arrays[0])


def no_closed_form(node: Node, why: str) -> ValueError:
    """The error of a layer that has no rule."""
    return ValueError(f"{node.place}: {why}, so its covariance has no closed form. Measure it with `sweep`.")


def may_differ_from_zero(values: Array) -> bool:
    known = concrete(values)
    return known is None or bool(np.any(known != 0))

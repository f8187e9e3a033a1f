"""What layers make of channels whose full covariance is known, borders included."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from checkerjax._checks import concrete
from checkerjax.expectations._dense_steps import filtered, filtered_twice, flat, mixed_by_weights, pooled
from checkerjax.expectations._divisors import channels_differ, check_positive
from checkerjax.expectations._pointwise import dual, mean
from checkerjax.expectations._variances import Weights
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import layer_size
from checkerjax.stacks._layers import Layer
from checkerjax.stacks._reads import layer_steps

Array = Any  # NumPy's or JAX's
Sizes = tuple[int, ...]


class Part(NamedTuple):
    """Channels in a row that have the same moments."""

    channels: int
    own: Array  # [*n, *n] E[x(n) x(m)]
    between: Array  # [*n, *n] the same of two independent inputs and one network
    mean: Array  # [*n] E[x(n)]
    gaussian: bool
    # Which matrix, [*n, *b], the field that came into the innermost branch has been multiplied by, its channels from
    # `start` on; the rest is independent of it. None: all is. "tangled": some other function of it.
    link: Array | Literal["tangled"] | None = None
    start: int = 0
    approximate: bool = False  # batch norm has divided by one number what has a variance for each channel

    @property
    def size(self) -> Sizes:
        """Samples along each axis."""
        return self.mean.shape


Field = tuple[Part, ...]


def no_closed_form(place: str, why: str) -> ValueError:
    """The error of a layer that has no rule."""
    return ValueError(f"{place}: {why}, so its covariance has no closed form. Measure it with `sweep`.")


def learned(place: str, layer: Any, weights: Weights, field: Field, initialiser: str) -> Field:
    """Independent zero-mean weights; each group of a convolution averages over its own block of channels."""
    count = getattr(layer, "groups", 1) if len(field) > 1 else 1
    out = []
    for block in _blocks(field, count):
        own, between = (_average(block, name) for name in ("own", "between"))
        own, between = (weights.power * _read(place, layer, k, initialiser) for k in (own, between))
        nothing = own.__array_namespace__().zeros(own.shape[: own.ndim // 2], dtype=own.dtype)
        part = Part(weights.features // count, own, between, nothing, gaussian=True)
        out.append(part._replace(approximate=any(p.approximate for p in block)))
    return tuple(out)


def _blocks(field: Field, count: int) -> list[Field]:
    """The channels in `count` equal blocks."""
    each = [part for part in field for _ in range(part.channels)]
    length = len(each) // count
    return [tuple(part._replace(channels=1) for part in each[b * length : (b + 1) * length]) for b in range(count)]


def _average(block: Field, name: str) -> Array:
    kinds = {id(getattr(part, name)): getattr(part, name) for part in block}
    if len(kinds) == 1:
        return getattr(block[0], name)
    shares = {key: sum(part.channels for part in block if id(getattr(part, name)) == key) for key in kinds}
    total = sum(shares.values())
    return sum(shares[key] / total * value for key, value in kinds.items())


def _read(place: str, layer: Layer, covariance: Array, initialiser: str) -> Array:
    if isinstance(layer, layers.Dense):  # each sample has weights of its own
        size = layer_size(place, layer, ())
        xp, count = covariance.__array_namespace__(), math.prod(size)
        return covariance * xp.reshape(xp.eye(count, dtype=covariance.dtype), (*size, *size))
    size = covariance.shape[: covariance.ndim // 2]
    for step in layer_steps(place, layer, size, initialiser=initialiser):
        fixed = step[0].draws is None
        covariance = filtered_twice(covariance, step) if fixed else mixed_by_weights(covariance, step)
    return covariance


def unlearned(place: str, layer: Any, std: Any, part: Part) -> Part:
    """Any layer but learned ones and branches."""
    if isinstance(layer, layers.Bias):
        return part._replace(own=part.own + std**2, between=part.between + std**2)
    if isinstance(layer, layers.BatchNorm):
        normalise = _normalised_units if layer.per == "unit" else _normalised_channels
        return normalise(place, layer, part)
    if isinstance(layer, layers.POINTWISE):
        return part if getattr(layer, "slope", 0.0) == 1 else _pointwise(place, layer, part)
    if isinstance(layer, layers.MaxPool):
        raise no_closed_form(place, "it takes maxima")
    if isinstance(layer, layers.L2Pool):
        return _l2_pool(place, layer, part)
    return _fixed(place, layer, part)


def _fixed(place: str, layer: Layer, part: Part) -> Part:
    own, between, average, link = part.own, part.between, part.mean, part.link
    for step in layer_steps(place, layer, part.size):
        own, between, average = filtered_twice(own, step), filtered_twice(between, step), filtered(average, step)
        link = link if link is None or isinstance(link, str) else filtered(link, step)
    return part._replace(own=own, between=between, mean=average, link=link)


def _tangled(part: Part) -> Any:
    """The link of a nonlinear function of a part."""
    return None if part.link is None else "tangled"


def _check_gaussian(place: str, part: Part) -> None:
    if not part.gaussian:
        raise no_closed_form(place, "what comes in is no longer Gaussian")


def _pointwise(place: str, layer: Layer, part: Part) -> Part:
    _check_gaussian(place, part)
    own, between = flat(part.own), flat(part.between)
    power = own.__array_namespace__().diagonal(own)
    own, between = (dual(layer, power[:, None], k, power).reshape(part.own.shape) for k in (own, between))
    average = mean(layer, power).reshape(part.size)
    return part._replace(own=own, between=between, mean=average, gaussian=False, link=_tangled(part))


def _l2_pool(place: str, layer: Layer, part: Part) -> Part:
    _check_gaussian(place, part)
    size = layer_size(place, layer, part.size)
    (step,) = layer_steps(place, layer, part.size)
    own, between, average = pooled(flat(part.own), flat(part.between), step)
    own, between = (k.reshape((*size, *size)) for k in (own, between))
    return part._replace(own=own, between=between, mean=average.reshape(size), gaussian=False, link=_tangled(part))


def _normalised_channels(place: str, layer: layers.BatchNorm, part: Part) -> Part:
    """Centred, and divided by the mean over channels of their variances; the batch is taken for a large one.

    The mean of a channel over a large batch is what two images share of it.
    """
    own, between = flat(part.own), flat(part.between)
    xp = own.__array_namespace__()
    shared = xp.mean(between, axis=1)
    offset = shared[:, None] + shared - xp.mean(shared)
    own, between = own - offset, between - offset
    variance = xp.mean(xp.diagonal(own)) + layer.epsilon
    check_positive(place, variance)
    average = part.mean.reshape(-1) - xp.mean(part.mean)
    varies = channels_differ(between - average[:, None] * average, variance)
    own, between = ((layer.std**2 / variance * k).reshape(part.own.shape) for k in (own, between))
    scale = layer.std / xp.sqrt(variance)
    average = scale * average.reshape(part.size)
    known = concrete(shared)
    linear = not isinstance(part.link, str) and known is not None and not known.any()
    link = scale * part.link if linear and part.link is not None else _tangled(part)
    after = part._replace(own=own, between=between, mean=average, link=link)
    return after._replace(approximate=part.approximate or varies)


def _normalised_units(place: str, layer: layers.BatchNorm, part: Part) -> Part:
    """The same for each sample of the field alone, which leaves nothing that images share."""
    own = flat(part.own) - flat(part.between)
    xp = own.__array_namespace__()
    variance = xp.diagonal(own) + layer.epsilon
    check_positive(place, variance)
    own = layer.std**2 * own / xp.sqrt(variance[:, None] * variance)
    nothing = part.between * 0.0
    return part._replace(own=own.reshape(part.own.shape), between=nothing, mean=part.mean * 0.0, link=_tangled(part))

"""Exact second moments of every pixel at random initialisation, at any width and with the borders that there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import check_finite, concrete
from checkerjax.expectations import _signs as signs
from checkerjax.expectations._signs import Sign
from checkerjax.expectations._variances import Weights, stack_weights
from checkerjax.ops._downsample import L2_EPSILON
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import Size, as_size, layer_size, stack_size
from checkerjax.stacks._layers import LEARNED, Layer, Stack, StackLike
from checkerjax.stacks._plan import Width, place_of
from checkerjax.stacks._reads import Sizes, layer_steps
from checkerjax.stacks._text import as_stack

Map = Any  # a NumPy or JAX array [*size]
_FILTERS = (layers.Upsample, layers.AvgPool, layers.Blur, layers.Hold)  # linear, with fixed taps


class _Group(NamedTuple):
    """Channels in a row that share their second moments and their sign."""

    channels: int
    moments: Map
    sign: Sign
    positive: bool = False  # never below 0, so that a ReLU keeps it


_Field = tuple[_Group, ...]


@overload
def second_moments(
    stack: StackLike,
    size: Size,
    *,
    channels: int,
    width: Width = 16,
    initialiser: str = "lecun",
    input: Any = 1.0,
    gains: Sequence[Any] | None = None,
    per_layer: Literal[False] = False,
) -> np.ndarray: ...
@overload
def second_moments(
    stack: StackLike,
    size: Size,
    *,
    channels: int,
    width: Width = 16,
    initialiser: str = "lecun",
    input: Any = 1.0,
    gains: Sequence[Any] | None = None,
    per_layer: Literal[True],
) -> tuple[np.ndarray, ...]: ...


def second_moments(
    stack: StackLike,
    size: Size,
    *,
    channels: int,
    width: Width = 16,
    initialiser: str = "lecun",
    input: Any = 1.0,
    gains: Sequence[Any] | None = None,
    per_layer: bool = False,
) -> np.ndarray | tuple[np.ndarray, ...]:
    """E[y(n)^2] of each output pixel at random initialisation: exact, at any width, borders included.

    Weights are independent of each other and of the input, and as often w as -w: nothing else about their law matters
    but the variance. Then q(n) = E[y(n)^2] needs no covariances: a learned layer gives variance times input channels
    times the sum of q over the samples that its taps read; a nearest upsampling repeats q; a bias adds its variance; a
    (leaky) ReLU with slope a multiplies by (1 + a^2) / 2; an l2 pool takes the mean of q that its taps take of squares.

    **When it is exact.** A (leaky) ReLU halves only what is as often -x as x, and branches add only what is
    uncorrelated. Both are decided by sign flips: if all weights of one layer change their sign, its output does, and so
    on through whatever follows. An error names the layer where no flip proves it. So all chains are exact, and blocks
    such as x + conv(relu(conv(x))) with a ReLU after them are (flip both kernels and x), but a ReLU after x +
    conv(relu(x)) is not: for one channel and a tap of weight w, that sum is (1 + w) x where x > 0 and x elsewhere.
    Interpolation, blur, hold, average and max pools, batch norm and tanh need more than q, and raise as well.

    **Corollary.** For a flat input and no bias, q of a chain of conv, deconv, sub-pixel, nearest resize and (leaky)
    ReLU layers is proportional to `count`. A bias breaks this: with its variance at .5, the pattern 3 : 2 : 3 : 1
    becomes 2 : 1.4 : 2 : 1 (last example).

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input: an int for one axis, a tuple for 1 to 3, None or () for a latent.
      channels: C of the input.
      width: as in `init`; q depends on it only through fan-in, and through the weight of each branch.
      initialiser: as in `init`. "icnr" gives the q of "lecun": ties correlate samples and leave their squares.
      input: E[x(n)^2], the same for all channels: a number or an array of `size`. The input is any random field that is
        as often -x as x; for chains that begin with a learned layer it is any field whatever, a given one too.
      gains: numbers that multiply the variances of the weights, one for each learned layer in reading order. With JAX
        arrays here or as `input`, the result is one, and can be differentiated by them.
      per_layer: give the map after each layer too.

    Returns:
      float64 `[*o]`: E[y(n)^2], averaged over the channels. With `per_layer`, a tuple of these, one per layer of the
      stack. Of JAX arrays: JAX arrays of their dtype.

    Raises:
      ValueError: for layers whose second moments are not exact, sizes or channels that do not fit, or an input that is
        negative, not finite or of another shape.
      TypeError: for a stack, size or input that is none.

    Example:
      >>> q = second_moments("deconv k3 s2, relu, deconv k3 s2", 4, channels=8)
      >>> (q / q.min()).round(3)
      array([1., 1., 2., 1., 3., 2., 3., 1., 3., 2., 3., 1., 3., 2., 3., 1.])
      >>> layers = "deconv k3 s2, bias std=0.70710678, relu, deconv k3 s2, bias std=0.70710678"
      >>> q = second_moments(layers, 4, channels=1, width=1, initialiser="normal(1)")
      >>> (q / q.min()).round(3)[4:8]
      array([2. , 1.4, 2. , 1. ])

    References:
      He et al., arXiv:1502.01852, section 2.2, has the recursion for the mean over pixels.
    """
    op = "second_moments"
    stack, size = as_stack(op, stack), as_size(op, size)
    after = stack_size(f"{op}: ", stack, size)  # before anything else, so that its errors come first
    weights = stack_weights(
        op, stack, channels=channels, ndim=len(after) or 1, width=width, initialiser=initialiser, gains=gains
    )
    sources = signs.sources()
    x = (_Group(channels, _input_map(op, input, size, () if gains is None else gains), Sign(next(sources))),)
    maps = [_mean(field) for field in _run(f"{op}: ", stack, weights, x, sources)]
    return tuple(maps) if per_layer else maps[-1]


def _input_map(op: str, given: Any, size: Sizes, gains: Sequence[Any]) -> Map:
    """E[x^2] as an array of `size`: JAX's if anything given is."""
    traced = [value for value in (given, *gains) if isinstance(value, jax.Array)]
    try:
        moments = jnp.asarray(given, traced[0].dtype) if traced else np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: input must be a number or an array of numbers; got {given!r}.") from None
    if moments.shape not in ((), size):
        raise ValueError(f"{op}: input must be a number or an array of shape {size}; got shape {moments.shape}.")
    check_finite(op, "input", moments)
    values = concrete(given)
    if values is not None and (values < 0).any():
        raise ValueError(f"{op}: input must be at least 0, for it is a mean of squares; got {values.min()}.")
    return moments.__array_namespace__().broadcast_to(moments, size)


def _mean(field: _Field) -> Map:
    total = sum(group.channels for group in field)
    return sum(group.channels / total * group.moments for group in field)


def _run(prefix: str, stack: Stack, weights: tuple, x: _Field, sources: Iterator[int]) -> list[_Field]:
    """The field after each layer of a stack."""
    fields = []
    for i, (layer, entry) in enumerate(zip(stack, weights)):
        x = _layer(place_of(prefix, i, layer), layer, entry, x, sources)
        fields.append(x)
    return fields


def _layer(place: str, layer: Any, entry: Any, x: _Field, sources: Iterator[int]) -> _Field:
    if isinstance(layer, layers.Residual):
        inner = _run(f"{place}: ", layer.stack, entry, x, sources)[-1]
        return _sum(place, [x, inner])
    if isinstance(layer, layers.Parallel):
        outs = [
            _run(f"{place}: branch {i + 1}, ", branch, own, x, sources)[-1]
            for i, (branch, own) in enumerate(zip(layer.stacks, entry))
        ]
        return _sum(place, outs) if layer.combine == "sum" else sum(outs, start=())
    if isinstance(layer, LEARNED):
        return _learned(place, layer, entry, x, sources)
    if isinstance(layer, layers.Bias):
        return _bias(layer, x, next(sources))
    if isinstance(layer, (layers.Relu, layers.LeakyRelu)):
        return tuple(_rectify(place, getattr(layer, "slope", 0.0), group) for group in x)
    if isinstance(layer, layers.L2Pool):
        return tuple(_l2_pool(place, layer, group) for group in x)
    if isinstance(layer, _FILTERS):
        return tuple(group._replace(moments=_read(place, layer, group.moments)) for group in x)
    raise _not_exact(place, "its second moments need more than those of its input")


def _not_exact(place: str, why: str) -> ValueError:
    return ValueError(
        f"{place}: {why}, so there is no exact second moment at finite width. "
        "Take the wide limit (`expect`), or measure it with `sweep`."
    )


def _learned(place: str, layer: Any, weights: Weights, x: _Field, sources: Iterator[int]) -> _Field:
    """Each group of a convolution sums over its own block of channels, with weights of its own."""
    count = getattr(layer, "groups", 1)
    if len(x) == 1:
        count = 1  # all blocks are alike
    out = []
    for block in _blocks(x, count):
        sign = signs.added(signs.times(group.sign, next(sources)) for group in block)
        moments = weights.power * _mean(block)
        out.append(_Group(weights.features // count, _read_learned(place, layer, moments), sign))
    return tuple(out)


def _blocks(x: _Field, count: int) -> list[_Field]:
    """A field's channels in `count` equal blocks."""
    length = sum(group.channels for group in x) // count
    blocks: list[list[_Group]] = [[] for _ in range(count)]
    start = 0
    for group in x:
        stop = start + group.channels
        for b in range(start // length, math.ceil(stop / length)):
            inside = min(stop, (b + 1) * length) - max(start, b * length)
            blocks[b].append(group._replace(channels=inside))
        start = stop
    return [tuple(block) for block in blocks]


def _read_learned(place: str, layer: Layer, moments: Map) -> Map:
    if isinstance(layer, layers.Dense):
        return moments.__array_namespace__().broadcast_to(moments, layer_size(place, layer, ()))
    return _read(place, layer, moments)


def _read(place: str, layer: Layer, moments: Map) -> Map:
    """What the squares of a layer's taps make of second moments; taps of a fixed filter must meet one sample each."""
    for step in layer_steps(place, layer, moments.shape):
        for axis, reads in enumerate(step):
            positions, weights = reads.resolved()
            if reads.draws is None and not _reads_one(positions, weights):
                raise _not_exact(place, "it adds neighbouring samples, whose covariance matters")
            moments = _gather(moments, axis, positions, (weights / reads.denominator) ** 2)
    return moments


def _reads_one(positions: np.ndarray, weights: np.ndarray) -> bool:
    return bool((np.count_nonzero(weights, axis=1) <= 1).all())


def _gather(values: Map, axis: int, positions: np.ndarray, weights: np.ndarray) -> Map:
    """Sums over t of weights[n, t] values[positions[n, t]] along an axis; tap by tap, so that memory stays small."""
    xp = values.__array_namespace__()
    column = (-1,) + (1,) * (values.ndim - axis - 1)
    total = xp.zeros((*values.shape[:axis], len(positions), *values.shape[axis + 1 :]), values.dtype)
    for taps, row in zip(positions.T, weights.T):
        if row.any():
            total = total + xp.asarray(row.reshape(column), dtype=values.dtype) * xp.take(values, taps, axis=axis)
    return total


def _l2_pool(place: str, layer: layers.L2Pool, group: _Group) -> _Group:
    moments = group.moments
    for step in layer_steps(place, layer, moments.shape):
        for axis, reads in enumerate(step):
            positions, weights = reads.resolved()
            moments = _gather(moments, axis, positions, weights / reads.denominator)
    # A root of a sum of squares is the same for x and -x.
    return _Group(group.channels, moments + L2_EPSILON, Sign(0, group.sign.tied), positive=True)


def _bias(layer: layers.Bias, x: _Field, source: int) -> _Field:
    if layer.std == 0:
        return x
    return tuple(
        _Group(group.channels, group.moments + layer.std**2, signs.added([group.sign, Sign(source)])) for group in x
    )


def _rectify(place: str, slope: float, group: _Group) -> _Group:
    if slope == 1 or group.positive:
        return group
    if not signs.is_symmetric(group.sign):
        raise _not_exact(place, "what comes in is not as often x as -x")
    return _Group(group.channels, (1 + slope**2) / 2 * group.moments, signs.rectified(group.sign), slope <= 0)


def _sum(place: str, branches: list[_Field]) -> _Field:
    """The sum of fields, channel by channel: cuts all at the channels where one of them has a new group."""
    edges = sorted({edge for field in branches for edge in _edges(field)})
    out = []
    for start, stop in zip([0, *edges], edges):
        terms = [_group_at(field, start) for field in branches]
        for i, a in enumerate(terms):
            for b in terms[:i]:
                if not signs.are_orthogonal(a.sign, b.sign):
                    raise _not_exact(place, "the branches that it adds may be correlated")
        moments = sum((term.moments for term in terms[1:]), start=terms[0].moments)
        positive = all(term.positive for term in terms)
        out.append(_Group(stop - start, moments, signs.added(term.sign for term in terms), positive))
    return tuple(out)


def _edges(field: _Field) -> list[int]:
    return list(np.cumsum([group.channels for group in field]).tolist())


def _group_at(field: _Field, channel: int) -> _Group:
    return next(group for group, edge in zip(field, _edges(field)) if channel < edge)

"""The whole covariance of a small field at random initialisation, in the wide limit, borders included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import check_finite, concrete, one_of
from checkerjax.expectations._dense_parts import Field, Part, learned, unlearned
from checkerjax.expectations._dense_sums import added, joined, opened
from checkerjax.expectations._variances import stack_weights
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import Size, as_size, layer_size, stack_size
from checkerjax.stacks._layers import LEARNED, Stack, StackLike
from checkerjax.stacks._plan import Width, place_of
from checkerjax.stacks._text import as_stack

LIMIT = 4096  # samples of a field: a covariance of so many is 128 MiB, and some of them are held at once


class DenseCovariance(NamedTuple):
    """Moments of one channel of a field, over weights and inputs; the mean over channels where they differ."""

    own: np.ndarray  # [*n, *n] E[x(n) x(m)], not centred; like all, of JAX's arrays where those came in
    between: np.ndarray  # [*n, *n] the same between two images: independent inputs, one network
    mean: np.ndarray  # [*n] E[x(n)]
    gaussian: bool  # whether all channels are Gaussian, of mean 0
    approximate: bool = False  # not the limit: see `dense_covariance` on batch norm


@overload
def dense_covariance(
    stack: StackLike,
    size: Size,
    *,
    channels: int,
    width: Width = 16,
    initialiser: str = "lecun",
    input: Any = "white",
    gains: Sequence[Any] | None = None,
    per_layer: Literal[False] = False,
) -> DenseCovariance: ...
@overload
def dense_covariance(
    stack: StackLike,
    size: Size,
    *,
    channels: int,
    width: Width = 16,
    initialiser: str = "lecun",
    input: Any = "white",
    gains: Sequence[Any] | None = None,
    per_layer: Literal[True],
) -> tuple[DenseCovariance, ...]: ...


def dense_covariance(
    stack: StackLike,
    size: Size,
    *,
    channels: int,
    width: Width = 16,
    initialiser: str = "lecun",
    input: Any = "white",
    gains: Sequence[Any] | None = None,
    per_layer: bool = False,
) -> DenseCovariance | tuple[DenseCovariance, ...]:
    """E[y(n) y(m)] of all pairs of samples, in the limit of many channels, the input's among them.

    Then the output of a learned layer is a Gaussian field, independent from channel to channel, and everything follows
    from its covariance K (the neural network Gaussian process, NNGP): independent weights make sum_j A_j K A_j^T of it,
    a fixed filter R makes R K R^T, a pointwise layer or an l2 pool what their means over Gaussian variables are. Tied
    weights ("icnr") keep the samples that share them correlated. While all layers are linear this is exact at any
    width, and so is the diagonal wherever `second_moments` has it. Batch norm takes the batch for a large one, and
    divides all channels by the root of their mean variance. That is no limit where what images share of a channel
    differs from sample to sample: there each channel keeps a variance of its own at any width, by which `covariance`
    divides (for "conv k1, relu, deconv k2 s2, batchnorm" of a flat input, E[x(0) x(1)] is -0.15, and -0.19 here).

    For small fields: `own` has n^2 numbers for n samples. Away from borders the covariance depends on the phase and the
    lag only, and the periodic form gives it for large fields.

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input: an int for one axis, a tuple for 1 to 3, None or () for a latent.
      channels: C of the input.
      width: as in `init`; the limit depends on it only through the shares of what is joined.
      initialiser: as in `init`.
      input: "white" (independent N(0, 1) everywhere), "flat" (one N(0, 1) per image and channel), or the covariance of
        a Gaussian field of mean 0: `[*size, *size]`, or `[*size]` by the lag on a torus where the field is stationary.
      gains: numbers that multiply the variances of the weights, one for each learned layer in reading order. With JAX
        arrays here or as `input`, the results are JAX's, and can be differentiated by them.
      per_layer: give the moments after each layer too.

    Returns:
      `DenseCovariance`, float64. With `per_layer`, a tuple of these, one per layer of the stack.

    Raises:
      ValueError: for a field of more than 4096 samples, anywhere in the stack; for layers without a closed form (max
        pools; what is not linear in a field that is not Gaussian; a sum of branches that are different functions of one
        field); for sizes, channels or an input that do not fit. It names the layer.
      TypeError: for a stack or size that is none.

    Example:
      >>> moments = dense_covariance("deconv k3 s2 valid, relu", 2, channels=4, initialiser="normal(0.5)")
      >>> moments.own.diagonal()  # 4 (0.5)^2 / 2 = 1/2 times the count
      array([0.5, 0.5, 1. , 0.5, 0.5])
      >>> moments.own[0].round(3)  # independent before the ReLU; after it the product of means is left
      array([0.5  , 0.159, 0.225, 0.159, 0.159])

    References:
      Novak et al., arXiv:1810.05148; Garriga-Alonso, Rasmussen and Aitchison, arXiv:1808.05587 (convolutional NNGP).
    """
    op = "dense_covariance"
    stack, size = as_stack(op, stack), as_size(op, size)
    after = stack_size(f"{op}: ", stack, size)  # before anything else, so that its errors come first
    weights = stack_weights(
        op, stack, channels=channels, ndim=len(after) or 1, width=width, initialiser=initialiser, gains=gains
    )
    _check_count(f"{op}: the input", size)
    _check_counts(f"{op}: ", stack, size)
    field = _input(op, input, size, channels, () if gains is None else gains)
    fields = _run(f"{op}: ", stack, weights, field, initialiser)
    results = tuple(_summary(field) for field in (fields if per_layer else fields[-1:]))
    return results if per_layer else results[0]


def _check_counts(prefix: str, stack: Stack, size: tuple[int, ...]) -> None:
    """Raises at the first layer whose field is too large, before anything large is made."""
    for i, layer in enumerate(stack):
        place = place_of(prefix, i, layer)
        inner = (layer.stack,) if isinstance(layer, layers.Residual) else getattr(layer, "stacks", ())
        for branch in inner:
            _check_counts(f"{place}: ", branch, size)
        size = layer_size(place, layer, size)
        _check_count(place, size)


def _check_count(place: str, size: tuple[int, ...]) -> None:
    if math.prod(size) > LIMIT:
        raise ValueError(
            f"{place}: a field of {size} has {math.prod(size)} samples; the covariance of all pairs is for at most "
            f"{LIMIT}. Take a smaller field, or the periodic form (`expect`), which leaves borders out."
        )


def _input(op: str, given: Any, size: tuple[int, ...], channels: int, gains: Sequence[Any]) -> Field:
    traced = [value for value in (given, *gains) if isinstance(value, jax.Array)]
    xp, dtype = (jnp, traced[0].dtype) if traced else (np, np.float64)
    count = math.prod(size)
    if isinstance(given, str):
        one_of(op, "input", given, ("white", "flat"))
        own = xp.eye(count, dtype=dtype) if given == "white" else xp.ones((count, count), dtype=dtype)
    else:
        own = _given(op, xp.asarray(given, dtype=dtype), size)
    own = xp.reshape(own, (*size, *size))
    return (Part(channels, own, own * 0.0, xp.zeros(size, dtype=dtype), gaussian=True),)


def _given(op: str, covariance: Any, size: tuple[int, ...]) -> Any:
    check_finite(op, "input", covariance)
    if covariance.shape == size and size:
        n = np.indices(size).reshape(len(size), -1)
        lags = (n[:, None, :] - n[:, :, None]) % np.asarray(size)[:, None, None]
        covariance = covariance[tuple(lags)]
    elif covariance.shape != (*size, *size):
        raise ValueError(
            f"{op}: input must be 'white', 'flat', or a covariance of shape {(*size, *size)} or, of a stationary "
            f"field, {size}; got shape {covariance.shape}."
        )
    count = math.prod(size)
    covariance = covariance.reshape(count, count)
    matrix = concrete(covariance)
    if matrix is not None:
        _check_covariance(op, matrix)
    return covariance


def _check_covariance(op: str, matrix: np.ndarray) -> None:
    """Raises for what no covariance is; that all eigenvalues are at least 0 would take too long to see."""
    power, slack = np.diagonal(matrix), 1e-5 * np.abs(matrix).max()
    if (power < 0).any() or np.abs(matrix - matrix.T).max() > slack:
        raise ValueError(f"{op}: input must be symmetric, with a diagonal of at least 0; got an array that is not.")
    if (np.abs(matrix) > np.sqrt(power[:, None] * power) + slack).any():
        raise ValueError(f"{op}: input must be a covariance; got correlations beyond 1.")


def _run(prefix: str, stack: Stack, weights: tuple, field: Field, initialiser: str) -> list[Field]:
    """The field after each layer of a stack."""
    fields = []
    for i, (layer, entry) in enumerate(zip(stack, weights)):
        field = _layer(place_of(prefix, i, layer), layer, entry, field, initialiser)
        fields.append(field)
    return fields


def _layer(place: str, layer: Any, entry: Any, field: Field, initialiser: str) -> Field:
    if isinstance(layer, layers.Residual):
        start = opened(field)
        return added(place, [start, _run(f"{place}: ", layer.stack, entry, start, initialiser)[-1]], field)
    if isinstance(layer, layers.Parallel):
        branches = [
            _run(f"{place}: branch {i + 1}, ", branch, own, opened(field), initialiser)[-1]
            for i, (branch, own) in enumerate(zip(layer.stacks, entry))
        ]
        return added(place, branches, field) if layer.combine == "sum" else joined(branches, field)
    if isinstance(layer, LEARNED):
        return learned(place, layer, entry, field, initialiser)
    return tuple(unlearned(place, layer, entry, part) for part in field)


def _summary(field: Field) -> DenseCovariance:
    total = sum(part.channels for part in field)

    def average(name: str) -> Any:
        if len(field) == 1:
            return getattr(field[0], name)
        return sum(part.channels / total * getattr(part, name) for part in field)

    gaussian, approximate = all(part.gaussian for part in field), any(part.approximate for part in field)
    return DenseCovariance(average("own"), average("between"), average("mean"), gaussian, approximate)

"""What one layer's reads make of a full covariance, axis by axis: independent weights, fixed filters, windows."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from checkerjax.expectations._l2 import root_covariance, root_mean, scale_window
from checkerjax.stacks._reads import Reads

Array = Any  # NumPy's or JAX's


def mixed_by_weights(covariance: Array, step: tuple[Reads, ...]) -> Array:
    """Sums over learned numbers j of A_j K A_j^T for a K `[*n, *n]`: what independent weights of variance 1 make of it.

    A learned number is one per axis, and so is the sum: it is taken along one axis after the other.
    """
    for axis, reads in enumerate(step):
        total = 0.0
        for positions, weights in _learned_numbers(reads):
            read = _gather(_gather(covariance, axis, positions, weights), axis + len(step), positions, weights)
            total = total + read
        covariance = total
    return covariance


def _learned_numbers(reads: Reads) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each learned number along an axis, which sample each output reads with it, and times what."""
    positions, weights = reads.resolved()
    assert reads.draws is not None
    numbers = []
    for number in np.unique(reads.draws[weights != 0]):
        mine = (reads.draws == number) & (weights != 0)
        assert mine.sum(axis=1).max() == 1  # two taps with one number would add up before they are squared
        tap = mine.argmax(axis=1)[:, None]
        chosen = np.take_along_axis(positions, tap, axis=1)[:, 0]
        numbers.append((chosen, np.where(mine.any(axis=1), np.take_along_axis(weights, tap, axis=1)[:, 0], 0)))
    return numbers


def _gather(values: Array, axis: int, positions: np.ndarray, weights: np.ndarray) -> Array:
    xp = values.__array_namespace__()
    column = weights.reshape((-1,) + (1,) * (values.ndim - axis - 1))
    return xp.take(values, positions, axis=axis) * xp.asarray(column, dtype=values.dtype)


def filtered(values: Array, step: tuple[Reads, ...], *, first: int = 0) -> Array:
    """A fixed filter along the axes from `first` on."""
    xp = values.__array_namespace__()
    for axis, reads in enumerate(step, start=first):
        matrix = xp.asarray(reads.matrix() / reads.denominator, dtype=values.dtype)
        values = xp.moveaxis(xp.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return values


def filtered_twice(covariance: Array, step: tuple[Reads, ...]) -> Array:
    """R K R^T of a fixed filter R, for a K `[*n, *n]`."""
    return filtered(filtered(covariance, step), step, first=len(step))


def windows(step: tuple[Reads, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Which samples (counted through all axes) each output's window has, and their weights: both `[outputs, taps]`."""
    positions, weights = np.zeros((1, 1), np.int64), np.ones((1, 1))
    for reads in step:
        own, taps = reads.resolved()
        positions = positions[:, None, :, None] * reads.size + own[:, None, :]
        weights = weights[:, None, :, None] * (taps / reads.denominator)[:, None, :]
        positions, weights = (a.reshape(a.shape[0] * a.shape[1], -1) for a in (positions, weights))
    return positions, weights


def pooled(own: Array, between: Array, step: tuple[Reads, ...]) -> tuple[Array, Array, Array]:
    """The two covariances and the mean of a Gaussian field after an l2 pool, from `[n, n]` to `[o, o]` and `[o]`."""
    positions, weights = windows(step)
    alone = functools.partial(_window_pairs, positions, weights, own)
    everywhere = np.arange(len(positions))
    squares = alone(everywhere, everywhere)
    mean = root_mean(squares)
    covariances = []
    for field in (own, between):
        rows, columns = _pairs(field, positions)
        shared = _window_pairs(positions, weights, field, rows, columns)
        values = root_covariance(squares[rows], shared, squares[columns])
        covariances.append(_symmetric(values, rows, columns, len(positions)) + mean[:, None] * mean)
    xp = own.__array_namespace__()
    power = xp.trace(squares, axis1=-2, axis2=-1)  # E[y^2] itself needs no quadrature
    eye = xp.eye(len(positions), dtype=bool)
    return xp.where(eye, power[:, None], covariances[0]), covariances[1], mean


def _window_pairs(
    positions: np.ndarray, weights: np.ndarray, covariance: Array, rows: np.ndarray, columns: np.ndarray
) -> Array:
    picked = covariance[positions[rows][:, :, None], positions[columns][:, None, :]]
    return scale_window(weights[rows], picked, weights[columns])


def _pairs(covariance: Array, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of windows, n <= m, that may be dependent; all of them where values are not at hand."""
    count = len(positions)
    if not isinstance(covariance, np.ndarray):
        return np.triu_indices(count)
    reads = np.zeros((count, covariance.shape[0]))
    reads[np.arange(count)[:, None], positions] = 1.0
    rows, columns = np.nonzero(np.triu(reads @ (covariance != 0) @ reads.T))
    return rows, columns


def _symmetric(values: Array, rows: np.ndarray, columns: np.ndarray, count: int) -> Array:
    if isinstance(values, np.ndarray):
        full = np.zeros((count, count))
        full[rows, columns] = full[columns, rows] = values
        return full
    index = np.zeros((count, count), np.int64)
    index[rows, columns] = index[columns, rows] = np.arange(len(rows))
    return values[index]


def flat(covariance: Array) -> Array:
    """`[*n, *n]` as `[n, n]`."""
    count = math.prod(covariance.shape[: covariance.ndim // 2])
    return covariance.__array_namespace__().reshape(covariance, (count, count))

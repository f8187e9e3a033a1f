"""Covariances that repeat with a period: by the phase of one sample and the lag to the other, on a torus.

Along each axis phase and lag share one array axis, entry p M + t, so that whatever is done to one axis of a field is
one gather along one axis of an array.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

Array = Any  # NumPy's or JAX's
Sizes = tuple[int, ...]
lcm = math.lcm
LARGEST = 2**27  # entries: 1 GiB in float64


class Lags(NamedTuple):
    """E[x(n) x(n + t)] for n = p mod P on each axis and t on a torus of M samples, M a multiple of P."""

    values: Array  # [P M, ...], one axis per spatial axis
    periods: Sizes  # P
    sizes: Sizes  # M

    def map(self, values: Array) -> Lags:
        """Other values on the same phases and lags."""
        return self._replace(values=values)


def constant(value: Array, ndim: int) -> Lags:
    """A covariance that is the same everywhere."""
    return Lags(value.__array_namespace__().reshape(value, (1,) * ndim), (1,) * ndim, (1,) * ndim)


def diagonal(lags: Lags) -> Array:
    """E[x(p)^2], `[*P]`."""
    return at_lags(lags, (0,) * len(lags.periods))


def at_lags(lags: Lags, lag: Sizes) -> Array:
    """E[x(p) x(p + t)] for one lag, `[*P]`."""
    values = lags.values
    for axis, (p, m, t) in enumerate(zip(lags.periods, lags.sizes, lag)):
        values = take(values, np.arange(p) * m + t % m, axis)
    return values


def at_first(powers: Array, lags: Lags) -> Array:
    """A function of phase, `[*P]`, at the first sample of each pair of `lags`."""
    for axis, (p, m) in enumerate(zip(lags.periods, lags.sizes)):
        powers = take(powers, _firsts(p, m), axis)
    return powers


def at_second(powers: Array, lags: Lags) -> Array:
    """A function of phase, `[*P]`, at the second sample of each pair of `lags`."""
    for axis, (p, m) in enumerate(zip(lags.periods, lags.sizes)):
        powers = take(powers, _seconds(p, m), axis)
    return powers


@functools.lru_cache(16)  # few: they may be long
def _firsts(period: int, size: int) -> np.ndarray:
    return np.repeat(np.arange(period), size)


@functools.lru_cache(16)  # few: they may be long
def _seconds(period: int, size: int) -> np.ndarray:
    return ((np.arange(period)[:, None] + np.arange(size)) % period).ravel()


def tiled(lags: Lags, periods: Sizes, sizes: Sizes) -> Lags:
    """The same covariance with multiples of its periods, on multiples of its torus."""
    values = lags.values
    for axis, (p, m, q, n) in enumerate(zip(lags.periods, lags.sizes, periods, sizes)):
        if (p, m) != (q, n):
            index = (np.arange(q) % p)[:, None] * m + np.arange(n) % m
            values = take(values, index.ravel(), axis)
    return Lags(values, periods, sizes)


def tiled_powers(powers: Array, periods: Sizes) -> Array:
    """A function of phase, `[*P]`, with multiples of its periods."""
    for axis, (p, q) in enumerate(zip(powers.shape, periods)):
        if p != q:
            powers = take(powers, np.arange(q) % p, axis)
    return powers


def common(all_lags: list[Lags]) -> list[Lags]:
    """All on the same phases and the same torus."""
    periods = tuple(map(math.lcm, *(lags.periods for lags in all_lags)))
    sizes = tuple(map(math.lcm, *(lags.sizes for lags in all_lags)))
    return [tiled(lags, periods, sizes) for lags in all_lags]


def unpacked(lags: Lags) -> Array:
    """`[*P, *M]`: phases, then lags."""
    pairs = [n for pair in zip(lags.periods, lags.sizes) for n in pair]
    xp, ndim = lags.values.__array_namespace__(), len(lags.periods)
    order = (*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2))
    return xp.permute_dims(xp.reshape(lags.values, tuple(pairs)), order)


def packed(array: Array) -> Lags:
    """The inverse of `unpacked`."""
    ndim = array.ndim // 2
    periods, sizes = array.shape[:ndim], array.shape[ndim:]
    xp = array.__array_namespace__()
    order = tuple(a for axis in range(ndim) for a in (axis, ndim + axis))
    values = xp.reshape(xp.permute_dims(array, order), tuple(p * m for p, m in zip(periods, sizes)))
    return Lags(values, periods, sizes)


def as_matrix(lags: Lags) -> Array:
    """A covariance whose torus is its period, as a matrix over the phases."""
    count, index = _phase_pairs(lags.periods, -1)
    xp = lags.values.__array_namespace__()
    return xp.reshape(xp.take(xp.reshape(unpacked(lags), (-1,)), index, axis=0), (count, count))


def from_matrix(matrix: Array, periods: Sizes) -> Lags:
    """The inverse of `as_matrix`."""
    _, index = _phase_pairs(periods, 1)
    xp = matrix.__array_namespace__()
    return packed(xp.reshape(xp.take(xp.reshape(matrix, (-1,)), index, axis=0), (*periods, *periods)))


@functools.lru_cache(8)
def _phase_pairs(periods: Sizes, sign: int) -> tuple[int, np.ndarray]:
    """The number of phases P, and p P + (q + sign p) mod P for all pairs of them, axis by axis."""
    count = math.prod(periods)
    phases = np.stack(np.meshgrid(*map(np.arange, periods), indexing="ij"), -1).reshape(count, -1)
    other = (phases[None, :] + sign * phases[:, None]) % periods
    flat = np.ravel_multi_index(tuple(np.moveaxis(other, -1, 0)), periods)
    return count, (np.arange(count)[:, None] * count + flat).ravel()


def check_entries(place: str, periods: Sizes, sizes: Sizes) -> None:
    """Raises before an array is made that would not fit."""
    entries = math.prod(periods) * math.prod(sizes)
    if entries > LARGEST:
        raise ValueError(
            f"{place}: the covariance has {entries} entries, phases {periods} times lags {sizes}; at most {LARGEST} "
            "are kept. Take a smaller size, or measure it with `sweep`."
        )


def take(values: Array, index: np.ndarray, axis: int) -> Array:
    """Entries along an axis; as they are if the index leaves them so."""
    if index.size == values.shape[axis] and np.array_equal(index, np.arange(index.size)):
        return values
    return values.__array_namespace__().take(values, index, axis=axis)

"""Which frequencies the detector looks at in a picture of one size, and what it compares them with.

Lines are the primitive ones of each period, one of each conjugate pair. The floor of a line is taken from bins around
it: off the main lobe of the window, on both sides, for a line on an axis along that axis (where pictures have a ridge),
and off the other lines of the same period.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from checkerjax.images._detector_parts import Parts, Piece, shared_floors, split_parts
from checkerjax.images._null import HANN_OVERLAP, hann_overlap

LOBE = 2  # half-width of a Hann window's main lobe, in bins
SAMPLES_PER_PERIOD = 4  # fewer periods across and the main lobes of neighbouring lines overlap
SMALLEST_SIZE = 16


class Plan(NamedTuple):
    """Lines `[L]` of all periods of one size, and their floor bins `[L, n]` (weight 0 where there are fewer)."""

    size: tuple[int, ...]
    periods: tuple[int, ...]
    frequency: np.ndarray  # [L, ndim], cycles per sample, the first axis in (-1/2, 1/2]
    period: np.ndarray  # [L]
    group: np.ndarray  # [L], the axis of a line on an axis, or ndim
    line_dof: np.ndarray  # [L]
    places: np.ndarray  # [U], indices into the flattened half spectrum: every bin of a floor once
    bins: np.ndarray  # [L, n], indices into places
    weight: np.ndarray  # [L, n], float32, 1 over the number of bins
    floor_dof: np.ndarray  # [L], for a picture of even contrast
    basis: np.ndarray  # [K, U], float32: `smooth_basis` at the places
    line_basis: np.ndarray  # [K, L], at the lines
    offsets: tuple[tuple[np.ndarray, np.ndarray], ...]  # patterns of offsets: difference [D, ndim], count [D]
    pattern: np.ndarray  # [L], index into offsets
    parts: Parts
    folds: tuple[tuple[int, np.ndarray, np.ndarray], ...]  # (Q, lines, their indices in a fold by Q)
    shared_folds: tuple[tuple[int, tuple[int, ...]], ...]  # (a common multiple, the Q whose folds come from its fold)


def fits(size: tuple[int, ...], period: int) -> bool:
    """Whether lines of a period can be told apart in a picture."""
    return min(size) >= max(SAMPLES_PER_PERIOD * period, SMALLEST_SIZE)


def count_lines(periods: tuple[int, ...], ndim: int) -> int:
    """About how many lines a plan has: half of all multiples of each period."""
    return sum(period**ndim for period in periods) // 2


@functools.lru_cache(maxsize=64)
def make_plan(size: tuple[int, ...], periods: tuple[int, ...]) -> Plan:
    """The plan of a picture's size and of periods that fit it."""
    pieces = [piece for period in periods for piece in _pieces(size, period)]
    patterns = {piece.pattern.tobytes(): piece.pattern for piece in pieces}
    order = {key: i for i, key in enumerate(patterns)}
    counts = [len(piece.frequency) for piece in pieces]
    bins, weight = _pad([np.where(piece.valid, piece.bins, -1) for piece in pieces])
    places, bins = np.unique(bins, return_inverse=True)
    frequency = np.concatenate([piece.frequency for piece in pieces])
    period = np.repeat([piece.period for piece in pieces], counts)
    parts = split_parts([(p.period, p.group, shared_floors(size, p), len(p.frequency)) for p in pieces])
    folds = _folds(periods, frequency, period)
    return Plan(
        size, periods, frequency - np.round(frequency - 1e-9), period,
        np.repeat([piece.group for piece in pieces], counts), _line_dof(size, frequency), places,
        bins.reshape(weight.shape).astype(np.int32), weight, np.concatenate([piece.floor_dof for piece in pieces]),
        _basis_of(size, _half_frequency(size, places)), _basis_of(size, frequency),
        tuple(_differences(pattern) for pattern in patterns.values()),
        np.repeat([order[piece.pattern.tobytes()] for piece in pieces], counts), parts, folds,
        _shared_folds([q for q, _, _ in folds], min(size)),
    )  # fmt: skip


def _pieces(size: tuple[int, ...], period: int) -> Iterator[Piece]:
    """The lines of one period, group by group."""
    multiples = half_lines(period, len(size))
    groups = line_groups(multiples)
    for group in np.unique(groups).tolist():
        frequency = multiples[groups == group] / period
        pattern = floor_pattern(size, period, group)
        bins, valid = _floor_bins(size, frequency, pattern)
        floor_dof = _floor_dof(size, frequency, pattern) * valid.mean(1)
        yield Piece(period, group, frequency, pattern, half_index(size, bins), valid, floor_dof)


def half_lines(period: int, ndim: int) -> np.ndarray:
    """Multiples m of the primitive lines m / P, `[L, ndim]`, one of each conjugate pair."""
    m = np.array(list(itertools.product(range(period), repeat=ndim)))
    denominators = period // np.gcd(m, period)
    m = m[np.lcm.reduce(denominators, axis=1) == period]
    steps = period ** np.arange(ndim)[::-1]
    return m[m @ steps <= (-m % period) @ steps]


def line_groups(multiples: np.ndarray) -> np.ndarray:
    """The axis of a line on an axis; the number of axes for all others. `[L]`."""
    on = (multiples != 0).sum(1) == 1
    return np.where(on, np.argmax(multiples != 0, axis=1), multiples.shape[1])


def floor_pattern(size: tuple[int, ...], period: int, group: int) -> np.ndarray:
    """Offsets, in bins, of the floor of a line from the bin nearest to it, `[n, ndim]`."""
    ndim = len(size)
    if group < ndim:
        reach = min(33 if ndim == 1 else 17, max(size[group] // 6, 7))
        ranges = [_ladder(size[a] / period, reach) if a == group else (0,) for a in range(ndim)]
    else:
        ranges = [_ladder(n / period, 5 if ndim < 3 else 3) for n in size]
    pattern = np.array(list(itertools.product(*ranges)))
    spacing = np.array(size) / period
    off = np.abs(pattern - spacing * np.round(pattern / spacing))
    clear = np.minimum(LOBE + 1, np.floor(spacing / 2))
    return pattern[(off >= clear).any(1)]


def _ladder(spacing: float, reach: int) -> tuple[int, ...]:
    """Odd offsets, which hardly overlap and avoid the line; every offset where lines are too near to choose."""
    step = 2 if spacing >= 2 * (LOBE + 1) + 2 else 1
    return tuple(range(-reach + (reach % 2 == 0 and step == 2), reach + 1, step))


def _floor_bins(size: tuple[int, ...], frequency: np.ndarray, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins of the whole spectrum `[L, n, ndim]`, and whether they are clear of DC."""
    bins = np.round(frequency * size).astype(int)[:, None] + pattern
    centred = bins - np.array(size) * np.round(bins / np.array(size)).astype(int)
    return bins, np.asarray((np.abs(centred) > LOBE).any(-1))


def floor_of(size: tuple[int, ...], frequency: np.ndarray, pattern: np.ndarray) -> tuple[np.ndarray, ...]:
    """Floor bins `[L, n]`, their weights, their tilt, and the degrees of freedom of lines and floors, `[L]`.

    The tilt is the smooth basis at the line less that at the bin, `[L, n, K]`.
    """
    bins, valid = _floor_bins(size, frequency, pattern)
    weight = (valid / np.maximum(valid.sum(1, keepdims=True), 1)).astype(np.float32)
    at = np.where(valid[..., None], bins / np.array(size), 0.5)
    tilt = smooth_basis(size, frequency)[:, None] - smooth_basis(size, at)
    floor_dof = _floor_dof(size, frequency, pattern) * valid.mean(1)
    return half_index(size, bins), weight, tilt.astype(np.float32), _line_dof(size, frequency), floor_dof


def _basis_of(size: tuple[int, ...], frequency: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(smooth_basis(size, frequency).T, np.float32)


def smooth_basis(size: tuple[int, ...], frequency: np.ndarray) -> np.ndarray:
    """What the log of a spectrum is fitted with, `[..., K]`: a cubic in log |f|, directions, a ridge on each axis.

    |f| is that of the lattice, sum 4 sin^2(pi f), so that nothing bends at 1/2. Pictures have straight edges along
    their axes, hence a ridge there with a slope of its own.
    """
    ndim = frequency.shape[-1]
    squares = 4 * np.sin(np.pi * frequency) ** 2
    total = squares.sum(-1)
    slope = np.log(total)
    shares = [squares[..., a] / total for a in range(ndim - 1)]
    terms = [term for share in shares for term in (share, share**2, share * slope)]
    low = np.abs(frequency - np.round(frequency)) * size < LOBE + 0.5
    for axis in range(ndim if ndim > 1 else 0):
        ridge = np.delete(low, axis, axis=-1).all(-1)
        terms += [ridge, ridge * slope]
    return np.stack([np.ones_like(slope), slope, slope**2, slope**3, *terms], axis=-1)


def half_index(size: tuple[int, ...], bins: np.ndarray) -> np.ndarray:
    """Where bins `[..., ndim]` of the whole spectrum are in the flattened half spectrum of a real field."""
    bins = bins % np.array(size)
    mirrored = bins[..., -1:] > size[-1] // 2
    bins = np.where(mirrored, -bins % np.array(size), bins)
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(bins, -1, 0)), half_shape(size)))


def _half_frequency(size: tuple[int, ...], places: np.ndarray) -> np.ndarray:
    """Frequencies of places in the flattened half spectrum, `[..., ndim]`; 1/2 for DC, which has no logarithm."""
    bins = np.stack(np.unravel_index(places, half_shape(size)), axis=-1)
    return np.where((places == 0)[..., None], 0.5, bins / np.array(size))


def half_shape(size: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the half spectrum of a real field."""
    return *size[:-1], size[-1] // 2 + 1


def _line_dof(size: tuple[int, ...], frequency: np.ndarray) -> np.ndarray:
    """1 for a line that is its own conjugate, 2 for one far from it, between them in small pictures."""
    overlap = np.prod([hann_overlap(2 * frequency[:, a] * n, n) for a, n in enumerate(size)], axis=0)
    return 2 / (1 + overlap)


def _histogram(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each of the whole vectors `[..., ndim]` occurs, on their bounding box, and its lowest corner."""
    vectors = vectors.reshape(-1, vectors.shape[-1])
    low = vectors.min(0)
    shape = tuple(vectors.max(0) - low + 1)
    flat = np.ravel_multi_index(tuple((vectors - low).T), shape)
    return np.bincount(flat, minlength=math.prod(shape)).reshape(shape), low


def _differences(pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    histogram, low = _histogram(pattern[:, None] - pattern)
    found = np.argwhere(histogram)
    return found + low, histogram[tuple(found.T)]


def _spread(histogram: np.ndarray) -> np.ndarray:
    """A histogram of offsets, convolved with the squared correlation of bins; 2 larger on every side."""
    spread = np.pad(histogram, 2 * LOBE)
    for axis in range(spread.ndim):
        shifted = [np.roll(spread, shift - LOBE, axis) for shift in range(2 * LOBE + 1)]
        spread = np.tensordot(HANN_OVERLAP, np.stack(shifted), 1)
    return spread[(slice(LOBE, -LOBE),) * spread.ndim]


def _floor_dof(size: tuple[int, ...], frequency: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Degrees of freedom of the mean of a line's floor bins, from the window alone, `[L]`."""
    n = np.array(size)
    differences, count = _differences(pattern)
    near = (np.abs(differences) <= LOBE).all(1)
    same = (count[near] * np.prod(HANN_OVERLAP[differences[near] + LOBE], axis=1)).sum()
    sums, low = _histogram(pattern[:, None] + pattern)
    spread, low = _spread(sums), low - LOBE
    doubled = 2 * np.round(frequency * n).astype(int)
    doubled = doubled - n * np.round(doubled / n).astype(int)
    mirrored = np.zeros(len(frequency))
    for wrap in itertools.product((-1, 0, 1), repeat=len(size)):
        index = n * np.array(wrap) - doubled - low
        inside = ((index >= 0) & (index < spread.shape)).all(1)
        mirrored[inside] += spread[tuple(index[inside].T)]
    return 2 * len(pattern) ** 2 / (same + mirrored)


def _pad(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths, -1 where invalid, as one array of indices (0 there) and one of weights."""
    width = max(part.shape[1] for part in parts)
    bins = np.concatenate([np.pad(part, [(0, 0), (0, width - part.shape[1])], constant_values=-1) for part in parts])
    valid = bins >= 0
    weight = valid / np.maximum(valid.sum(1, keepdims=True), 1)
    return np.maximum(bins, 0), weight.astype(np.float32)


def _folds(periods: tuple[int, ...], frequency: np.ndarray, period: np.ndarray) -> tuple:
    """One fold serves a period and its divisors."""
    longest = [q for q in periods if not any(other != q and other % q == 0 for other in periods)]
    home = {p: next(q for q in longest if q % p == 0) for p in periods}
    folds = []
    for q in longest:
        lines = np.flatnonzero([home[int(p)] == q for p in period])
        multiples = np.round(frequency[lines] * q).astype(int) % q
        folds.append((q, lines, np.ravel_multi_index(tuple(multiples.T), (q,) * frequency.shape[1])))
    return tuple(folds)


def _shared_folds(longest: list[int], size: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """One pass over a picture serves several periods: a fold by a multiple of them, at most half the picture."""
    shared: list[tuple[int, tuple[int, ...]]] = []
    for q in sorted(longest, reverse=True):
        for i, (multiple, members) in enumerate(shared):
            if math.lcm(multiple, q) <= size // 2:
                shared[i] = (math.lcm(multiple, q), (*members, q))
                break
        else:
            shared.append((q, (q,)))
    return tuple(shared)

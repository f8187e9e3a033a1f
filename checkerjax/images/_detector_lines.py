"""Power at the lines of a plane, the floor beside each, and their p-values.

No large arrays go through BLAS here: its threads, started for work of microseconds, would cost more than all the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft

from checkerjax.images._detector_plan import LOBE, Plan, half_shape, make_plan, smooth_basis
from checkerjax.images._null import line_p

SAMPLES = {1: 4096, 2: 96, 3: 32}  # places on an axis where contrast is looked at, by the number of axes
CELLS = 9  # on half an axis
MOST_PER_CELL = 64  # bins that count in a cell: beyond, what limits the model is not noise


class PlaneLines(NamedTuple):
    """Of every line of the plan, `[L]`."""

    power: np.ndarray  # |sum of window * plane * exp(-2 pi i f n)|^2
    floor: np.ndarray
    floor_dof: np.ndarray
    p: np.ndarray


class Spectrum(NamedTuple):
    """A windowed plane's power, with a smooth model of its logarithm."""

    power: np.ndarray  # flattened half spectrum
    fit: np.ndarray  # coefficients of `smooth_basis`


Folds = dict[int, np.ndarray]  # sums over the samples of each phase, `[planes, *(Q,) * ndim]`, for each Q of the plan


def measure_lines(plan: Plan, planes: Sequence[np.ndarray], shares: np.ndarray) -> tuple[PlaneLines, Spectrum, Folds]:
    """The lines of windowed planes, the spectrum of the first and their folds.

    `shares`, `[planes, patterns]`, are what `evenness` leaves of the degrees of freedom.
    """
    folds = fold_all(plan, planes)
    power = fold_lines(plan, folds)
    spectra = [spectrum_of(plane) for plane in planes]
    floor = np.maximum(np.stack([_floors(plan, spectrum) for spectrum in spectra]), 1e-37)
    floor_dof = plan.floor_dof * shares[:, plan.pattern]
    p = line_p(power / floor, plan.line_dof, floor_dof)
    return PlaneLines(power, floor, floor_dof, p), spectra[0], folds


def _floors(plan: Plan, spectrum: Spectrum) -> np.ndarray:
    """Means of floor bins, each over what the smooth model has there, times what it has at the line."""
    level = np.take(spectrum.power, plan.places)
    level *= np.exp(-np.einsum("ku,k->u", plan.basis, spectrum.fit))
    flat = np.einsum("ln,ln->l", np.take(level, plan.bins), plan.weight)
    return flat * np.exp(np.einsum("kl,k->l", plan.line_basis, spectrum.fit))


def fold_lines(plan: Plan, folds: Folds) -> np.ndarray:
    """Power of windowed planes at exactly the lines, from their folds: the DTFT there is the DFT of these sums."""
    axes = range(1, len(plan.size) + 1)
    power = np.empty((len(next(iter(folds.values()))), len(plan.period)))
    for period, lines, index in plan.folds:
        transform = np.asarray(scipy.fft.fftn(folds[period], axes=axes)).reshape(len(power), -1)
        chosen = np.take(transform, index, axis=1)
        power[:, lines] = np.square(np.real(chosen)) + np.square(np.imag(chosen))
    return power


def fold_all(plan: Plan, planes: Sequence[np.ndarray]) -> Folds:
    """Folds by every period of `plan.folds`, several of them from one by a multiple of all."""
    folds = {}
    for multiple, periods in plan.shared_folds:
        wide = np.stack([fold(plane, multiple) for plane in planes])
        folds.update({period: fold(wide, period, 1) if period != multiple else wide for period in periods})
    return folds


def fold_from(folds: Folds, period: int) -> np.ndarray:
    """Folds by a period, `[planes, *(period,) * ndim]`, from those by a multiple."""
    multiple = next(multiple for multiple in folds if multiple % period == 0)
    return fold(folds[multiple], period, 1)


def fold(x: np.ndarray, period: int, first: int = 0) -> np.ndarray:
    """Sums over the samples of each phase of a period, on every axis from `first` on: no sample is left out."""
    for axis in range(first, x.ndim):
        count, rest = divmod(x.shape[axis], period)
        before = (slice(None),) * axis
        whole = x[(*before, slice(count * period))]
        sums = whole.reshape(*x.shape[:axis], count, period, *x.shape[axis + 1 :]).sum(axis)
        if rest:
            sums[(*before, slice(rest))] += x[(*before, slice(count * period, None))]
        x = sums
    return x


def spectrum_of(plane: np.ndarray) -> Spectrum:
    """Power of a windowed plane in the half spectrum, and a smooth model of its logarithm.

    The model is fitted to means of log power, which lines of a grid hardly move, over cells that widen with frequency.
    """
    transform = np.asarray(scipy.fft.rfftn(plane))
    power = np.square(np.real(transform))
    power += np.square(np.imag(transform))
    cells = _cells(plane.shape)
    means = power + np.float32(1e-37)
    np.log(means, out=means)
    for axis, start in enumerate(cells.starts):
        means = np.stack([part.sum(axis) for part in np.split(means, start[1:], axis)], axis)
    fit = (cells.solution * (means.ravel() / cells.count * cells.weight)).sum(1)
    return Spectrum(power.ravel(), fit.astype(np.float32))


class Cells(NamedTuple):
    """Cells of the half spectrum, and the matrix of least squares over them."""

    starts: list[np.ndarray]  # on each axis
    count: np.ndarray  # of bins in each cell
    weight: np.ndarray  # root of each cell's weight
    solution: np.ndarray  # [K, cells]


@functools.lru_cache(maxsize=64)
def _cells(size: tuple[int, ...]) -> Cells:
    starts, centres, counts = [], [], []
    for axis, n in enumerate(size):
        edges = np.unique(np.round(np.geomspace(LOBE + 1, n // 2 + 1, CELLS)).astype(int))[:-1]
        below = [0, *edges] if axis == len(size) - 1 else [0, *edges, *sorted(n - edges[edges < n - n // 2] + 1)]
        start = np.unique([s for s in below if s < half_shape(size)[axis]])
        stop = np.append(start[1:], half_shape(size)[axis])
        starts.append(start)
        centres.append((start + stop - 1) / 2 / n)
        counts.append(stop - start)
    frequency = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, len(size))
    frequency = frequency - np.round(frequency)
    count = functools.reduce(np.multiply.outer, counts).ravel()
    clear = (np.abs(frequency) * size > LOBE).any(-1)
    frequency[~clear] = 0.5
    weight = np.sqrt(np.minimum(count, MOST_PER_CELL)) * clear
    basis = smooth_basis(size, frequency) * weight[:, None]
    return Cells(starts, count, weight, np.linalg.pinv(basis, rcond=np.finfo(float).eps * max(basis.shape)))


class Differences(NamedTuple):
    """Offsets between the bins of one floor, on a grid: those of conjugate pairs once, with double count."""

    waves: tuple[np.ndarray, ...]  # exp(-2 pi i d n / size) for each axis, complex64 [offsets, places]
    count: np.ndarray  # [*offsets]
    even: float  # `_overlap` at even contrast


def evenness(plan: Plan, planes: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Share of the degrees of freedom that is left where contrast is uneven, for each plane and pattern.

    Planes are gains with their `faint`: the local power is 1 - faint * gain^2. The covariance of two bins d apart is
    the transform at d of the squared window times that power: contrast in one corner only makes neighbouring bins
    alike.
    """
    at, weight, patterns = _differences_of(plan.size, plan.periods)
    places = np.ix_(*at)
    energy = np.stack([weight * (1 - np.float32(faint) * np.square(gain[places])) for gain, faint in planes])
    ratios = [pattern.even / np.maximum(_overlap(energy, pattern), 1e-37) for pattern in patterns]
    return np.minimum(np.stack(ratios, 1), 1.0)


@functools.lru_cache(maxsize=64)
def _differences_of(
    size: tuple[int, ...], periods: tuple[int, ...]
) -> tuple[list[np.ndarray], np.ndarray, list[Differences]]:
    """Where the local power is looked at, the squared window there, and the differences of each pattern of a plan."""
    counts = [min(n, SAMPLES[len(size)]) for n in size]
    at = [((np.arange(count) + 0.5) * n / count).astype(int) for n, count in zip(size, counts)]
    weight = functools.reduce(np.multiply.outer, [np.sin(np.pi * (a + 0.5) / n) ** 4 for a, n in zip(at, size)])
    patterns = []
    for difference, count in make_plan(size, periods).offsets:
        half = difference[:, 0] >= 0
        places = [np.unique(column, return_inverse=True) for column in difference[half].T]
        grid = np.zeros([len(offsets) for offsets, _ in places])
        grid[tuple(index for _, index in places)] = count[half] * np.where(difference[half, 0] > 0, 2, 1)
        waves = tuple(np.exp(-2j * np.pi * np.outer(d, a) / n) for (d, _), a, n in zip(places, at, size))
        pattern = Differences(tuple(wave.astype(np.complex64) for wave in waves), grid, 1.0)
        patterns.append(pattern._replace(even=float(_overlap(weight[None], pattern)[0])))
    return at, weight.astype(np.float32), patterns


def _overlap(weight: np.ndarray, pattern: Differences) -> np.ndarray:
    """Sum over the differences of the squared transform of `weight`, over that at 0; for each of several weights."""
    out = weight.astype(np.complex64)
    for axis in sorted(range(1, out.ndim), key=lambda axis: len(pattern.waves[axis - 1])):
        out = np.moveaxis(np.matmul(pattern.waves[axis - 1], np.moveaxis(out, axis, -2)), -2, axis)
    power = np.square(out.real) + np.square(out.imag)
    axes = tuple(range(1, out.ndim))
    return (pattern.count * power).sum(axes) / np.maximum(weight.sum(axes, dtype=np.float64) ** 2, 1e-37)

"""What JPEG coding leaves in the pixels: combs of DCT coefficients, block edges, the rounding of upsampled chroma.

A comb is what tells JPEG from a decoder whose patches have the same size: only quantisation puts the coefficients of
aligned 8 x 8 blocks on multiples of a step (Fan and de Queiroz 2003).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import scipy.fft
from scipy import special

from checkerjax.images._attribution_samples import (
    BLOCK,
    CELL,
    Samples,
    cell_folds,
    clipped,
    common_power,
    line_amplitudes,
    primitive_lines,
    second_difference,
)

FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 3), (3, 0))
LONGEST_STEP = 40
BINS_PER_UNIT, RANGE = 8, 128  # of the histogram of coefficients
FEWEST = 24  # coefficients beyond the first half step, for a frequency to count
COHERENCE, SIGNIFICANCE = 0.2, 8.0  # of a comb at one frequency: mean cosine, and that in standard errors
OVERTONE = 0.6  # least share of the coherence at half the step: teeth are narrow, bumps of other densities are not
LONG = 4  # steps from which the overtone is asked for; those of shorter steps are blurred by the rounding of pixels
ENOUGH = 5  # frequencies with a comb
ROUNDING = (0.005, 0.16)  # amplitude, in levels, that the rounding of an upsampler of chroma can have
SUBSAMPLED_BOTH = 0.045  # below: 4:2:0, whose weights are sixteenths; above: 4:2:2, of quarters


class Comb(NamedTuple):
    """Quantised coefficients of blocks that start at `offset`."""

    offset: tuple[int, int]
    steps: tuple[int, ...]  # in levels, of the frequencies with a comb
    coherence: float  # mean cosine over them, 1 for exact multiples


class Edges(NamedTuple):
    """How far the steps at block edges explain a fold, for one period."""

    share: float  # of the power at the period's lines, 1 minus what is left without the edges
    p: float  # of that power being there by chance
    excess: tuple[float, float]  # of differences at edges over those elsewhere, across rows and columns, over the mean


class Rounding(NamedTuple):
    """Alternating amplitudes along an axis, in levels, with standard errors."""

    axis: int
    blue: float
    red: float
    luma: float
    error: float


def find_comb(samples: Samples) -> Comb | None:
    """The comb of blocks that start in the corner; else of those that start where differences are largest."""
    luma = samples.luma
    corner = _comb(luma, (0, 0))
    if corner is not None:
        return corner
    both = samples.difference_cells((0, 0))
    if both is None:
        return None
    profiles = [cells.mean((0, 1, 3 - axis)) for axis, cells in enumerate(both)]
    row, column = ((int(profile.argmax()) + 1) % BLOCK for profile in profiles)
    return _comb(luma, (row, column)) if (row, column) != (0, 0) else None


def _comb(luma: np.ndarray, offset: tuple[int, int]) -> Comb | None:
    histogram = _histogram(luma, offset)
    count, cosine, overtone = (histogram @ table for table in _cosines())
    coherence = cosine / np.maximum(count, 1)
    significance = coherence * np.sqrt(2 * count)
    narrow = overtone >= OVERTONE * cosine
    good = (count >= FEWEST) & (coherence > COHERENCE) & (significance > SIGNIFICANCE) & narrow
    best = np.where(good, coherence, 0).argmax(1)
    found = np.flatnonzero(good.any(1))
    if len(found) < ENOUGH:
        return None
    steps = tuple(int(best[i]) + 1 for i in found)
    return Comb(offset, steps, float(np.mean([coherence[i, best[i]] for i in found])))


def _histogram(luma: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """Counts of the magnitudes of the DCT coefficients, `[frequencies, bins]`."""
    rows, columns = ((n - o) // BLOCK for n, o in zip(luma.shape, offset))
    inner = luma[offset[0] : offset[0] + rows * BLOCK, offset[1] : offset[1] + columns * BLOCK]
    down = _dct() @ inner.reshape(rows, BLOCK, columns * BLOCK)
    both = down.reshape(rows, len(_dct()), columns, BLOCK) @ _dct().T
    magnitudes = np.stack([both[:, k, :, m] for k, m in FREQUENCIES])
    size = RANGE * BINS_PER_UNIT
    scaled = np.abs(magnitudes, out=magnitudes) * np.float32(BINS_PER_UNIT) + np.float32(0.5)
    bins = np.minimum(scaled, np.float32(size), out=scaled).astype(np.int32)  # the last bin is dropped
    bins += np.arange(len(FREQUENCIES), dtype=np.int32)[:, None, None] * np.int32(size + 1)
    counts = np.bincount(bins.ravel(), minlength=len(FREQUENCIES) * (size + 1))
    return counts.reshape(len(FREQUENCIES), size + 1)[:, :-1].astype(np.float32)


@functools.cache
def _dct() -> np.ndarray:
    """The lowest rows of the orthonormal DCT-II, as many as FREQUENCIES need: `[K, 8]`."""
    rows = max(max(pair) for pair in FREQUENCIES) + 1
    return np.asarray(scipy.fft.dct(np.eye(BLOCK), norm="ortho", axis=0), np.float32)[:rows]


@functools.cache
def _cosines() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per bin and step: whether it is beyond half a step (zeros say nothing), its cosine, and that at half the step."""
    value = np.arange(RANGE * BINS_PER_UNIT)[:, None] / BINS_PER_UNIT
    step = np.arange(1, LONGEST_STEP + 1)
    beyond = value > step / 2
    cosine = beyond * np.cos(2 * np.pi * value / step)
    half = np.where(step >= LONG, beyond * np.cos(4 * np.pi * value / step), cosine)
    return beyond.astype(np.float32), cosine.astype(np.float32), half.astype(np.float32)


def edge_share(both: tuple[np.ndarray, np.ndarray], period: int) -> Edges:
    """How much of a period's power in `Samples.difference_cells` is at block edges."""
    lines = primitive_lines(BLOCK, period)
    powers, excess = [], []
    for axis, cells in enumerate(both):
        powers.append((*_power(cells, lines), _power(_without_edges(cells, axis), lines)[0]))
        profile = np.moveaxis(cells.mean((0, 1)), axis, 0).mean(1)
        excess.append(float(profile[-1] - profile[:-1].mean()))
    whole, statistic, left = np.sum(powers, axis=0)
    share = 1 - max(float(left), 0.0) / float(whole) if whole > 0 else 0.0
    return Edges(share, float(special.chdtrc(4 * len(lines), statistic)), (excess[0], excess[1]))


def _without_edges(cells: np.ndarray, axis: int) -> np.ndarray:
    """Folds less one constant at the phase where two blocks meet: the difference after a block's last sample."""
    rest = np.moveaxis(cells.copy(), 2 + axis, 2)
    rest[:, :, -1] -= (rest[:, :, -1].mean(2) - rest[:, :, :-1].mean((2, 3)))[..., None]
    return np.moveaxis(rest, 2, 2 + axis)


def _power(cells: np.ndarray, lines: np.ndarray) -> tuple[float, float]:
    """Power that cells have in common at lines, and its chi-squared statistic of two degrees of freedom a line."""
    amplitudes = line_amplitudes(cells, lines)
    power, statistic = common_power(amplitudes.reshape(-1, len(lines)))
    return float(power.sum()), float(2 * statistic.sum())


def strongest_step(luma: np.ndarray, comb: Comb) -> float:
    """Excess of the mean square step at block edges, over what the measured quantisation steps make on average.

    The error of a coefficient has variance q^2 / 12; a step is the difference of two. Longer steps at other frequencies
    add to it, several times at most.
    """
    expected = float(np.mean(np.square(comb.steps))) / 6
    worst = 0.0
    for axis in (0, 1):
        squares = np.square(np.diff(luma, axis=axis))
        squares = np.minimum(squares, 4 * squares.mean())
        profile = np.moveaxis(cell_folds(squares, BLOCK, CELL, comb.offset).mean((0, 1)), axis, 0).mean(1)
        worst = max(worst, float(profile[-1] - profile[:-1].mean()) / expected)
    return worst


def chroma_rounding(samples: Samples) -> Rounding | None:
    """The alternation that the upsampling of chroma rounds into Cb and Cr alike, if there is one.

    libjpeg interpolates chroma with weights in sixteenths (4:2:0) or quarters (4:2:2, 4:4:0), and rounds samples up and
    down in turn, to have no bias on average: of equal size in Cb and Cr, none in Y, along one axis.
    """
    found = [r for r in (_rounding(samples, axis) for axis in (0, 1)) if r is not None]
    return found[0] if len(found) == 1 else None


def _rounding(samples: Samples, axis: int) -> Rounding | None:
    (blue, e0), (red, e1) = (alternation(plane, axis) for plane in samples.chroma)
    mean, error = (blue + red) / 2, max(e0, e1)
    luma, luma_error = alternation(samples.luma, axis)
    alike = abs(blue - red) < 0.35 * abs(mean) + error
    clear = min(abs(blue), abs(red)) > 5 * error
    small = ROUNDING[0] < abs(mean) < ROUNDING[1]
    quiet = abs(luma) < 0.5 * abs(mean) + 2 * luma_error
    return Rounding(axis, blue, red, luma, error) if alike and clear and small and quiet else None


def alternation(plane: np.ndarray, axis: int) -> tuple[float, float]:
    """Amplitude of (-1)^n along an axis, in the plane's units, and its standard error over 16 strips."""
    differences = clipped(second_difference(plane, axis))
    other = differences.mean(1) if axis == 0 else differences.mean(0)
    # Strips along the axis, each of an even number of samples.
    length = max(len(other) // 32, 1) * 2
    count = len(other) // length
    signs = np.where(np.arange(length) % 2, 1.0, -1.0)  # second differences begin at n = 1
    strips = other[: count * length].reshape(count, length) @ signs / length / 4
    return float(strips.mean()), float(strips.std(ddof=1) / np.sqrt(count)) if count > 1 else float("inf")

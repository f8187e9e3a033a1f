"""A picture's planes in 8-bit levels and folds of their differences: what evidence for an origin is taken from."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import scipy.fft

from checkerjax.images._detector_planes import apart
from checkerjax.images._detector_planes import second_difference as both_second_differences
from checkerjax.images._picture import FULL_SCALES, Picture

BLOCK = 8  # of JPEG
CELL, FEWEST_CELLS = 32, 3  # side of the cells that blocks are averaged in, and how many an axis must have
CLIP = 1.5  # times the mean magnitude: what a single edge may add to a fold
FAINT = 0.1  # of the mean magnitude, added to that of each cell


class Samples:
    """One picture of one or three channels, `[H, W]` planes in levels of 0 to 255; planes are made when asked for."""

    def __init__(self, channels: tuple[np.ndarray, ...], picture: Picture | None):
        self.channels = channels
        self.picture = picture
        self.laplacian = functools.cache(lambda name: clipped(laplacian(self.plane(name))))
        self.difference_cells = functools.cache(functools.partial(_difference_cells, self))

    @functools.cached_property
    def luma(self) -> np.ndarray:
        """Y of JFIF, or the only channel."""
        if len(self.channels) == 1:
            return self.channels[0]
        red, green, blue = self.channels
        luma = np.float32(0.299) * red
        luma += np.float32(0.587) * green
        luma += np.float32(0.114) * blue
        return luma

    @functools.cached_property
    def chroma(self) -> tuple[np.ndarray, np.ndarray]:
        """Cb and Cr of JFIF, without their offset."""
        red, _, blue = self.channels
        return (blue - self.luma) * np.float32(1 / 1.772), (red - self.luma) * np.float32(1 / 1.402)

    def plane(self, name: str) -> np.ndarray:
        """The plane that stands for one of the report's."""
        if len(self.channels) == 1 or name == "luminance":
            return self.luma
        red, green, blue = self.channels
        return red - blue if name == "red-blue" else red + blue - 2 * green


def as_samples(op: str, report_size: tuple[int, ...], picture: Any, full_scale: float | None) -> Samples | None:
    """The picture that a report is of; None where nothing is known of its kind (signals, volumes, other channels)."""
    given = picture if isinstance(picture, Picture) else None
    array = given.samples if given is not None else _real_array(op, picture)
    if array.shape[: len(report_size)] != report_size or array.ndim - len(report_size) not in (0, 1):
        raise ValueError(
            f"{op}: picture must be the one that the report is of, {' x '.join(map(str, report_size))} and channels "
            f"last if any; got shape {array.shape}. Measure and attribute the same array."
        )
    if array.ndim == len(report_size):
        array = array[..., None]
    if len(report_size) != 2 or array.shape[-1] not in (1, 3) or min(report_size) < 16:
        return None
    white = float(given.full_scale) if given is not None else _white(op, array.dtype, full_scale)
    scale = np.float32(255 / white)
    channels = apart(array).astype(np.float32)
    return Samples(tuple(channels if scale == 1 else channels * scale), given)


def _real_array(op: str, picture: Any) -> np.ndarray:
    if isinstance(picture, (str, bytes)) or picture is None or callable(picture):
        raise TypeError(f"{op}: picture must be a Picture or an array; got {type(picture).__name__}. Read files first.")
    array = np.asarray(picture)
    if array.dtype.kind not in "iufV":
        raise TypeError(f"{op}: picture must have a real dtype; got {array.dtype}. Cast it with .astype.")
    array = array.astype(np.float32) if array.dtype.kind == "V" else array  # narrow floats of ml_dtypes
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{op}: picture must be finite; some values are not. Measure and attribute the same array.")
    return array


def _white(op: str, dtype: np.dtype, full_scale: float | None) -> float:
    if full_scale is not None:
        if isinstance(full_scale, (str, bool)) or not isinstance(full_scale, (int, float, np.number)):
            raise TypeError(f"{op}: full_scale must be a number or None; got {full_scale!r}.")
        if not (math.isfinite(full_scale) and full_scale > 0):
            raise ValueError(f"{op}: full_scale must be positive; got {full_scale!r}. It is the value of white.")
        return float(full_scale)
    if dtype.kind == "f":
        return 1.0
    if dtype.name not in FULL_SCALES:
        raise ValueError(f"{op}: {dtype} samples have no stated range; got full_scale=None. Give the value of white.")
    return FULL_SCALES[dtype.name]


def _difference_cells(samples: Samples, offset: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Folds by a block of the magnitudes of first differences along both axes, over each cell's mean magnitude.

    Each is `[R, C, 8, 8]`; None in pictures of too few cells.
    """
    luma = samples.luma
    if min(n - o for n, o in zip(luma.shape, offset)) < FEWEST_CELLS * CELL + 1:
        return None
    folds = []
    for axis in (0, 1):
        magnitudes = np.diff(luma, axis=axis)
        np.abs(magnitudes, out=magnitudes)
        np.minimum(magnitudes, np.float32(CLIP) * magnitudes.mean(dtype=np.float32), out=magnitudes)
        folds.append(cell_folds(magnitudes, BLOCK, CELL, offset))
    first, second = folds
    return even_cells(first, first.mean((2, 3))), even_cells(second, second.mean((2, 3)))


def clipped(differences: np.ndarray) -> np.ndarray:
    """Differences cut at a multiple of their mean magnitude, so that edges of the scene do not decide."""
    most = np.float32(CLIP) * np.abs(differences).mean(dtype=np.float32)
    return np.clip(differences, -most, most)


def cell_folds(x: np.ndarray, period: int, width: int, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Mean at each phase of a period on both axes, in whole cells of a plane from `offset` on: `[R, C, P, P]`.

    `width` is a multiple of the period.
    """
    rows, columns = ((n - o) // width for n, o in zip(x.shape, offset))
    inner = x[offset[0] : offset[0] + rows * width, offset[1] : offset[1] + columns * width]
    repeats = width // period
    sums = inner.reshape(rows, repeats, period, columns * width).sum(1)
    sums = sums.reshape(rows, period, columns, repeats, period).sum(3)
    return sums.transpose(0, 2, 1, 3) / np.float32(repeats**2)


def even_cells(folds: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Folds of cells over each cell's own mean magnitude `[R, C]`, so that all have the same say."""
    floor = np.float32(FAINT) * magnitude.mean() + np.float32(1e-20)
    return folds / (magnitude + floor)[..., None, None]


def common_power(amplitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power that cells `[n, lines]` have in common, without the share of chance, and a chi-squared statistic of it."""
    count = len(amplitudes)
    mean = amplitudes.mean(0)
    variance = np.square(np.abs(amplitudes - mean)).sum(0) / max(count - 1, 1)
    power = np.square(np.abs(mean))
    return power - variance / count, count * power / np.maximum(variance, 1e-30)


def line_amplitudes(folds: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The DFT of folds `[..., P, P]` at `lines` `[L, 2]`, over the number of phases: `[..., L]`, complex."""
    transform = np.asarray(scipy.fft.fft2(folds, norm="forward"))
    return transform[..., lines[:, 0], lines[:, 1]]


def primitive_lines(block: int, period: int) -> np.ndarray:
    """Primitive lines of a period in the DFT of a fold by `block`, one of each conjugate pair: `[L, 2]`."""
    denominators = block // np.gcd(np.arange(block), block)
    lines = np.argwhere(np.lcm.outer(denominators, denominators) == period)
    mirrored = -lines % block
    return lines[lines @ [block, 1] <= mirrored @ [block, 1]]


def second_difference(x: np.ndarray, axis: int) -> np.ndarray:
    """2 x[n] - x[n-1] - x[n+1] for n = 1 to N - 2 along one axis."""
    first = np.diff(x, axis=axis)
    return -np.diff(first, axis=axis)


def laplacian(x: np.ndarray) -> np.ndarray:
    """The sum of both second differences, without a border of one sample."""
    return both_second_differences(x)[1:-1, 1:-1]

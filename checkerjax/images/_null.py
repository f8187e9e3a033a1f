"""The null distribution of a line over the floor beside it, and how p-values are put together.

A line and the bins beside it are chi-squared under a stationary Gaussian null. Two bins o_i, o_j of a windowed
transform have correlation r(o_i - o_j) and, where their sum comes near a whole number of cycles, pseudo-correlation
r(o_i + o_j), with r the transform of the squared window. That one formula covers bins that overlap, conjugate pairs
that are counted twice and lines at 0 or 1/2, which are real: the degrees of freedom of a mean of n bins are
2 n^2 / sum_ij(|r(o_i - o_j)|^2 + |r(o_i + o_j)|^2).
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special

# The squared transform of a squared Hann window at offsets -2..2, over its value at 0; it is zero beyond.
HANN_OVERLAP = np.array([1 / 36, 4 / 9, 1.0, 4 / 9, 1 / 36])
SMALLEST = 1e-300


def hann(size: int) -> np.ndarray:
    """The Hann window, `[size]`, with samples between its zeros."""
    return (np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2).astype(np.float32)


@functools.lru_cache(maxsize=8)
def window(size: tuple[int, ...]) -> np.ndarray:
    """The separable Hann window of a picture's size."""
    return functools.reduce(np.multiply.outer, [hann(n) for n in size])


def hann_overlap(offset: np.ndarray, size: int) -> np.ndarray:
    """Squared correlation of two transforms `offset` bins apart (also fractions), under a Hann window."""
    d = np.asarray(offset, np.float64)
    d = d - size * np.round(d / size)
    # The transform of cos^4 on a unit interval is a sum of five sincs.
    r = np.sinc(d) + (2 / 3) * (np.sinc(d - 1) + np.sinc(d + 1)) + (1 / 6) * (np.sinc(d - 2) + np.sinc(d + 2))
    return r**2


def line_p(ratio: np.ndarray, line_dof: np.ndarray, floor_dof: np.ndarray) -> np.ndarray:
    """Probability that an F(line_dof, floor_dof) variable exceeds `ratio`."""
    line_dof, floor_dof = np.broadcast_to(line_dof, ratio.shape), np.broadcast_to(floor_dof, ratio.shape)
    p = (1 + 2 * ratio / floor_dof) ** (-floor_dof / 2)  # F(2, m) in closed form
    other = line_dof < 1.999
    p[other] = special.fdtrc(line_dof[other], floor_dof[other], ratio[other])
    return np.clip(p, SMALLEST, 1.0)


def chi_squared(p: np.ndarray, dof: np.ndarray | float) -> np.ndarray:
    """The value that a chi-squared variable of 1 or 2 degrees of freedom exceeds with probability `p`."""
    p = np.clip(p, SMALLEST, 1.0)
    one = np.asarray(dof) < 1.5
    if one.all():
        return np.square(special.ndtri(p / 2))
    return np.where(one, np.square(special.ndtri(p / 2)), -2 * np.log(p))


def sidak(p: float, trials: int) -> float:
    """Probability that the smallest of `trials` independent p-values is as small as `p`."""
    if p >= 1.0:
        return 1.0
    return float(-math.expm1(trials * math.log1p(-p)))


def sidak_each(p: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """`sidak` of arrays."""
    with np.errstate(divide="ignore"):  # of p = 1, which stays 1
        return -np.expm1(trials * np.log1p(-p))

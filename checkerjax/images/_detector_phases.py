"""Patterns by phase: taking a found one out, and the contrast of each phase."""

from __future__ import annotations

import functools
import math

import numpy as np
import scipy.fft

from checkerjax.images._detector_lines import fold
from checkerjax.images._null import hann, window

NOTHING = 1e-9  # second moments below this share of the largest are rounding


def magnitude(second: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Local contrast: the root of both differences' energies; windowed, if they are.

    Second differences alone would miss repeated samples at factor 2, and first differences linear interpolation
    (Gallagher 2005). The weight makes the two equal for white noise.
    """
    n = second.ndim
    return np.sqrt(np.square(second) + np.float32((4 * n * n + 2 * n) / 2**n) * np.square(cross))


@functools.lru_cache(maxsize=256)
def window_fold(size: tuple[int, ...], period: int) -> np.ndarray:
    """Sum of the Hann window over the samples of each phase."""
    return functools.reduce(np.multiply.outer, [fold(hann(n), period) for n in size])


def phase_ratio(folded: np.ndarray, size: tuple[int, ...]) -> float:
    """Largest over smallest second moment, from a fold of windowed second moments."""
    moments = folded / window_fold(size, len(folded))
    low, high = float(moments.min()), float(moments.max())
    return high / low if low > NOTHING * high else math.inf


def take_out(x: np.ndarray, sums: np.ndarray, period: int, gain: np.ndarray | None = None) -> None:
    """Takes the mean patterns on the primitive lines of a period out of a windowed plane, in place.

    First one of even strength in the picture, where the windowed `gain` of the plane is given, then one of even
    strength in the plane. `sums` is the fold of the plane by the period: a pattern is taken out of it as well, so that
    the plane need not be folded again.
    """
    carriers = [] if gain is None else [(gain, fold(gain, period))]
    for carrier, share in (*carriers, (window(x.shape), window_fold(x.shape, period))):
        transform = np.asarray(scipy.fft.fftn(sums / np.maximum(share, 1e-37)))
        pattern = np.real(np.asarray(scipy.fft.ifftn(transform * _primitive(period, x.ndim)))).astype(np.float32)
        sums = sums - pattern * share
        _subtract(x, pattern, carrier)


def _subtract(x: np.ndarray, pattern: np.ndarray, carrier: np.ndarray) -> None:
    """`x` less a pattern that is repeated over all of it, times `carrier`, in place."""
    for axis, n in enumerate(x.shape):
        if axis or x.ndim == 1:  # the first axis is left to broadcasting
            pattern = np.take(pattern, np.arange(n) % pattern.shape[axis], axis)
    count, rest = divmod(len(x), len(pattern))
    whole = (count, *pattern.shape)
    last = len(x) - rest
    x[:last].reshape(whole)[:] -= pattern * carrier[:last].reshape(whole)
    x[last:] -= pattern[:rest] * carrier[last:]


@functools.lru_cache(maxsize=64)
def _primitive(period: int, ndim: int) -> np.ndarray:
    denominators = period // np.gcd(np.arange(period), period)
    return functools.reduce(np.lcm.outer, [denominators] * ndim) == period

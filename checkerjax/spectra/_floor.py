"""Lines over the spectrum around them."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import AXES, PerAxis
from checkerjax.spectra._fields import field_periods, ratio, unit_field, whole_periods
from checkerjax.spectra._lattice import chosen_lines
from checkerjax.spectra._power import amplitudes, squared


def line_to_floor(x: jax.Array, period: PerAxis, *, primitive: bool = False) -> jax.Array:
    """How far the lines of a period stand above the spectrum around them, in dB.

    Powers are summed over images and channels. The floor of a line is the mean of the bins at offsets -2, -1, 1 and 2
    on every axis with a period above 1, all combinations (4, 16 or 64 bins); on axes of period 1 the bins are at the
    line's own frequency, 0. The dB values of the lines are averaged.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real; cropped to whole periods.
      period: P in samples, an int or one per axis, at least 1 and above 1 on one axis.
      primitive: average over the primitive lines only.

    Returns:
      A number, the mean over lines of 10 log10(line / floor). A line without floor is inf, a floor without line -inf,
      neither of them 0 dB (by definition).

    Raises:
      ValueError: for a wrong rank, values that are not finite, a period below 1 or 1 everywhere, or fewer than 3
        periods on an axis (then neighbours of a line would be lines).
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> impulse = jnp.zeros((1, 8, 1)).at[0, 0, 0].set(1.0)  # a flat spectrum
      >>> bool(abs(line_to_floor(impulse, 2)) < 1e-4)
      True

    References:
      Odena, Dumoulin and Olah, Distill 2016: this number was read off its published images.
    """
    op = "line_to_floor"
    x, ndim = unit_field(op, x)
    periods = field_periods(op, x, period, ndim, lines=True)
    for axis, size, p in zip(AXES[ndim], x.shape[1:-1], periods):
        if p > 1 and size < 3 * p:
            raise ValueError(
                f"{op}: x must have at least 3 periods on axis {axis}; got {size} samples and period {p}. "
                "Take a larger field: with fewer, neighbours of a line are lines."
            )
    x = whole_periods(x, periods)
    powers = squared(amplitudes(x)).sum((0, -1)).ravel()
    at_lines, around = _bins(x.shape[1:-1], periods, primitive)
    return jnp.mean(10 * jnp.log10(ratio(powers[at_lines], powers[around].mean(-1), empty=1.0)))


def _bins(size: tuple[int, ...], periods: tuple[int, ...], primitive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the lines, `[L]`, and of their neighbours, `[L, 4^D]`."""
    lines = np.argwhere(chosen_lines(periods, primitive)) * (np.array(size) // np.array(periods))
    offsets = np.array(list(itertools.product(*((-2, -1, 1, 2) if p > 1 else (0,) for p in periods))))
    around = (lines[:, None] + offsets) % size
    steps = np.array([math.prod(size[axis + 1 :]) for axis in range(len(size))])
    return lines @ steps, around @ steps

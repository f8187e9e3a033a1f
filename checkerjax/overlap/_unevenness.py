"""How uneven a map is over one period of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from checkerjax._checks import AXES, per_axis


def unevenness(values: np.ndarray, period: int | Sequence[int]) -> float:
    """The largest over the smallest value in the central period of a map, the one farthest from the borders.

    Args:
      values: a map with 1, 2 or 3 axes, of counts, variances or powers: no value below 0.
      period: samples per axis; an int or one per axis, at least 1. `stacks.periods` gives that of a stack.

    Returns:
      1 for an even map, inf for one with holes.

    Raises:
      ValueError: for another rank, a map shorter than its period, NaN, infinite or negative values, or a central period
        of zeros.
      TypeError: for a map that is not numeric.

    Example:
      >>> unevenness(np.array([1, 1, 2, 1, 3, 2, 3, 1, 3, 2, 3, 1, 3, 2]), 4)
      3.0

    References:
      Odena, Dumoulin and Olah, Distill 2016: for one transposed convolution it is ceil(k / s) / floor(k / s), to the
      power of the number of axes.
    """
    op = "unevenness"
    values = np.asarray(values)
    if values.dtype.kind not in "iufb":
        raise TypeError(f"{op}: values must be real numbers; got {values.dtype}.")
    if values.ndim not in AXES:
        raise ValueError(f"{op}: values must have 1, 2 or 3 axes; got shape {values.shape}.")
    lengths = per_axis(op, "period", period, values.ndim)
    for axis, size, length in zip(AXES[values.ndim], values.shape, lengths):
        if size < length:
            raise ValueError(f"{op}: axis {axis} of values is {size}, shorter than its period {length}.")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"{op}: values must be finite and at least 0; got some that are not.")
    central = values[tuple(slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip(values.shape, lengths))]
    largest, smallest = central.max().item(), central.min().item()
    if largest == 0:
        raise ValueError(f"{op}: the central period of values is all zeros; nothing arrives there.")
    return largest / smallest if smallest else math.inf

"""The part of a field that no padding reaches, in whole periods."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from checkerjax._checks import AXES, PerAxis, as_int, check_field, per_axis


def crop_interior(x: jax.Array, bounds: Sequence[Sequence[int]], *, period: PerAxis = 1) -> jax.Array:
    """A field between `bounds`, which are moved inwards to multiples of the period so that phases keep their index.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; any floating dtype. What is cropped need not be finite.
      bounds: one (start, stop) per spatial axis, in samples, 0 <= start < stop <= size.
      period: samples, an int or one per axis, at least 1.

    Returns:
      `[N, *kept, C]`: from the first multiple of the period that is not below start to the last not above stop.

    Raises:
      ValueError: for a wrong rank, bounds outside the field, or less than one whole period between them.
      TypeError: for a dtype that is not floating, or bounds that are not whole.

    Example:
      >>> import jax.numpy as jnp
      >>> crop_interior(jnp.arange(10.0).reshape(1, 10, 1), [(1, 9)], period=4).ravel()
      Array([4., 5., 6., 7.], dtype=float32)

    References:
      The interior of Dumoulin and Visin, arXiv:1603.07285: outputs whose windows lie inside the unpadded input.
    """
    op = "crop_interior"
    x, ndim = check_field(op, x)
    periods = per_axis(op, "period", period, ndim)
    if isinstance(bounds, str) or not isinstance(bounds, (Sequence, np.ndarray)) or len(bounds) != ndim:
        raise ValueError(f"{op}: bounds must be one (start, stop) for each of the axes {AXES[ndim]}; got {bounds!r}.")
    kept = [_inwards(op, *each) for each in zip(AXES[ndim], x.shape[1:-1], bounds, periods)]
    return x[(slice(None), *kept)]


def _inwards(op: str, axis: str, size: int, pair: Sequence[int], period: int) -> slice:
    if isinstance(pair, str) or np.ndim(pair) != 1 or len(pair) != 2:
        raise ValueError(f"{op}: bounds on axis {axis} must be a pair (start, stop); got {pair!r}.")
    start, stop = (as_int(op, f"bounds on axis {axis}", bound) for bound in pair)
    if not 0 <= start < stop <= size:
        raise ValueError(
            f"{op}: bounds on axis {axis} must satisfy 0 <= start < stop <= {size}; got ({start}, {stop})."
        )
    low, high = -(-start // period) * period, stop // period * period
    if high <= low:
        raise ValueError(
            f"{op}: bounds ({start}, {stop}) on axis {axis} hold no whole period of {period}. Take a larger field."
        )
    return slice(low, high)

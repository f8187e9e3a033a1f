"""The fixed smooth layer: a hold of any order along each axis."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax import _geometry as geometry
from checkerjax._checks import Padding, PerAxis, check_field, pad_pairs, per_axis
from checkerjax.ops._filters import filter_axis, hold_taps
from checkerjax.ops._padding import pad_as


def hold(
    x: jax.Array,
    *,
    scale: PerAxis = 2,
    order: int = 0,
    padding: Padding = "SAME",
    pad_mode: str = "zeros",
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """The fixed smooth layer: `hold_taps` along each axis, at a stride of one.

    After an upsampling by `scale` all phase gains are equal, whatever was learned before it; before a convolution of
    that stride they are in the gradient.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; any floating dtype.
      scale: of the upsampling that comes before, or the stride that comes after; an int or one per axis, at least 1.
      order: at least 0; 0 is a mean over `scale` samples, 1 a triangle.
      padding: as in `conv`, for (order + 1) (scale - 1) + 1 taps.
      pad_mode: as in `pad`.
      precision: taken as by all operators; sums of shifted samples have full precision whatever it is.

    Returns:
      `[N, *o, C]`, with o as in `conv`: with "SAME", the size of `x`.

    Raises:
      ValueError: for a wrong rank, a scale below 1, an order below 0, or a field shorter than the filter.
      TypeError: for a dtype that is not floating.

    Example:
      >>> hold(jnp.array([1.0, 3.0, 5.0]).reshape(1, 3, 1), scale=2, padding="VALID").ravel()
      Array([2., 4.], dtype=float32)

    References:
      Kinoshita and Kiya, Fixed smooth convolutional layer, arXiv:2002.02117; there without the normalisation.
    """
    op = "hold"
    x, ndim = check_field(op, x)
    taps = [hold_taps(s, order=order) for s in per_axis(op, "scale", scale, ndim)]
    ones, sizes = (1,) * ndim, tuple(len(row) for row in taps)
    pads = geometry.conv_pads(x.shape[1:-1], sizes, ones, ones, pad_pairs(op, padding, ndim))
    geometry.conv_size(op, x.shape[1:-1], sizes, ones, ones, pads)
    x = pad_as(op, x, pads, pad_mode)
    for axis, row in enumerate(taps, start=1):
        x = filter_axis(x, jnp.asarray(row, x.dtype), axis)
    return x

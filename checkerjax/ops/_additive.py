"""Bilinear additive upsampling: interpolation, then a sum over groups of channels."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax._checks import PerAxis, as_int, at_least_float32, check_field, one_of, per_axis
from checkerjax.ops._upsample import check_centres, upsample_as

GROUPINGS = ("consecutive", "strided")


def bilinear_additive(
    x: jax.Array,
    *,
    scale: PerAxis,
    merged: int | None = None,
    grouping: str = "consecutive",
    centres: str = "half_pixel",
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Bilinear additive upsampling: linear interpolation, then the sum of every `merged` channels.

    Nothing is learned, and a flat input stays flat. The sums are taken first, which is the same and cheaper.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; any floating dtype.
      scale: output samples per input sample; an int or one per axis, at least 1.
      merged: channels that are added up, n, which divides C; by default prod(scale), so that the output has as many
        numbers as the input (4 in the paper: a scale of 2 in two dimensions).
      grouping: "consecutive" adds the channels n c, ..., n c + n - 1 (the paper); "strided" adds
        c, c + C / n, c + 2 C / n, ... (NiftyNet).
      centres: as in `upsample`.
      precision: as in `upsample`.

    Returns:
      `[N, *(scale * spatial), C / n]` of the dtype of `x`.

    Raises:
      ValueError: for a wrong rank, channels that n does not divide, or an unknown grouping or centres.
      TypeError: for a dtype that is not floating.

    Example:
      >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2)  # two samples of two channels
      >>> bilinear_additive(x, scale=2).ravel()
      Array([3., 4., 6., 7.], dtype=float32)

    References:
      Wojna et al., The devil is in the decoder, arXiv:1707.05847.
    """
    op = "bilinear_additive"
    x, ndim = check_field(op, x)
    scales = per_axis(op, "scale", scale, ndim)
    n = math.prod(scales) if merged is None else as_int(op, "merged", merged, minimum=1)
    one_of(op, "grouping", grouping, GROUPINGS)
    channels = x.shape[-1]
    if channels % n:
        raise ValueError(f"{op}: axis C of x must be a multiple of merged={n}; got {channels}.")
    split = (channels // n, n) if grouping == "consecutive" else (n, channels // n)
    axis = -1 if grouping == "consecutive" else -2
    wide = x.astype(at_least_float32(x.dtype))
    total = jnp.sum(wide.reshape(*x.shape[:-1], *split), axis=axis)
    check_centres(op, centres, None)
    return upsample_as(op, total, scales, "linear", centres, precision=precision).astype(x.dtype)

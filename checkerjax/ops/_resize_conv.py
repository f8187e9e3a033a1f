"""Resize-convolution: a fixed upsampling, then a convolution."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jax import lax

from checkerjax import _geometry as geometry
from checkerjax._checks import Padding, PerAxis, check_image_and_kernel, pad_pairs, per_axis
from checkerjax.ops._conv import correlate
from checkerjax.ops._padding import pad_as
from checkerjax.ops._upsample import check_centres, upsample_as


def resize_conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    scale: PerAxis,
    method: str = "nearest",
    padding: Padding = "SAME",
    pad_mode: str = "zeros",
    centres: str = "half_pixel",
    align_corners: bool | None = None,
    cubic_a: float = -0.5,
    taps: jax.Array | Sequence[float] | None = None,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Resize-convolution: `conv(pad(upsample(x)))`.

    Every interpolating method has equal phase gains for any kernel, so a flat input gives no lines away from the
    border; `pad_mode` decides about the border (the article pads explicitly before it convolves).

    Args:
      x: `[N, *spatial, I]`, with 1, 2 or 3 spatial axes; any floating dtype.
      kernel: `[*k, I, O]`, of the dtype of `x`.
      scale: output samples per input sample; an int or one per axis, at least 1.
      method: as in `upsample`.
      padding: of the convolution, on the upsampled field: "SAME", "VALID", an int, or one (low, high) pair per axis.
      pad_mode: "zeros", "edge", "reflect", "symmetric" or "wrap".
      centres: "half_pixel", "sample" or "corners", as in `upsample`.
      align_corners: PyTorch's name for `centres`, as in `upsample`.
      cubic_a: as in `upsample`.
      taps: as in `upsample`.
      precision: as in `jax.lax`.

    Returns:
      `[N, *o, O]`, with o = scale * spatial + p_low + p_high - k + 1 on each axis.

    Raises:
      ValueError: for shapes that do not fit, empty arrays, or unknown names.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.ones((1, 2, 1))
      >>> resize_conv(x, jnp.ones((3, 1, 1)), scale=2, pad_mode="edge").ravel()
      Array([3., 3., 3., 3.], dtype=float32)

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """
    op = "resize_conv"
    x, kernel, ndim = check_image_and_kernel(op, x, kernel)
    scales = per_axis(op, "scale", scale, ndim)
    ones = (1,) * ndim
    size = tuple(s * n for s, n in zip(scales, x.shape[1:-1]))
    pairs = geometry.conv_pads(size, kernel.shape[:-2], ones, ones, pad_pairs(op, padding, ndim))
    large = upsample_as(op, x, scales, method, check_centres(op, centres, align_corners), cubic_a, taps, precision)
    return correlate(op, pad_as(op, large, pairs, pad_mode), kernel, padding="VALID", precision=precision)

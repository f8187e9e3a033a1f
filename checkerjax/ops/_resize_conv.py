"""Resize-convolution: a fixed upsampling, then a convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
from jax import lax

from checkerjax import _geometry as geometry
from checkerjax._checks import Padding, PerAxis, check_image_and_kernel, one_of, pad_pairs, per_axis
from checkerjax.ops._choice import METHODS, fuses
from checkerjax.ops._conv import correlate
from checkerjax.ops._fused_resize import Resize, can_fuse, fused, products
from checkerjax.ops._padding import PAD_MODES, pad_as
from checkerjax.ops._upsample import check_centres, check_method, upsample_as


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
    form: str = "auto",
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
      form: "lax" upsamples, pads and convolves as written. "dots" convolves at low resolution, with the equivalent
        kernel of size k + s - 1 (nearest) and strips of O(k) samples at borders that need them, and never holds the
        upsampled field; its phases are equal to rounding, where "lax" has them equal bit for bit. "auto" takes the
        faster one, from the shapes.

    Returns:
      `[N, *o, O]`, with o = scale * spatial + p_low + p_high - k + 1 on each axis.

    Raises:
      ValueError: for shapes that do not fit, empty arrays, unknown names, or form="dots" where no pattern exists.
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
    geometry.conv_size(op, size, kernel.shape[:-2], ones, ones, pairs)
    one_of(op, "pad_mode", pad_mode, tuple(PAD_MODES))
    one_of(op, "form", form, METHODS)
    check_method(op, method, taps, cubic_a)
    centres = check_centres(op, centres, align_corners)
    resize = Resize(scales, method, centres, float(cubic_a), pairs, (pad_mode,) * ndim)
    keeps = method == "zeros" and centres == "corners"  # refused where it is upsampled
    can = form != "lax" and not keeps and can_fuse(x, kernel, resize)
    if form == "dots" and not can and max(scales) > 1:
        raise ValueError(
            f"{op}: form='dots' needs one fixed interpolation pattern all along the field; method={method!r} "
            f"with centres={centres!r}, or a field this small, has none. Take 'auto' or 'lax'."
        )
    plain = math.prod(s * n * k for s, n, k in zip(scales, x.shape[1:-1], kernel.shape[:-2]))
    channels = x.shape[0] * math.prod(kernel.shape[-2:])
    if can and (form == "dots" or fuses(jax.default_backend(), channels, products(x, kernel, resize), plain)):
        return fused(x, kernel, resize, precision=precision, method=form)
    large = upsample_as(op, x, scales, method, centres, cubic_a, taps, precision)
    padded = pad_as(op, large, pairs, pad_mode)
    return correlate(op, padded, kernel, padding="VALID", precision=precision, method=form)

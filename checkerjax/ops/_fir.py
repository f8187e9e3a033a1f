"""Convolutions that resample through a fixed filter, as StyleGAN2 and StyleGAN3 do, and StyleGAN3's filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax import _geometry as geometry
from checkerjax._checks import Padding, PerAxis, as_int, check_image_and_kernel, concrete, pad_pairs, per_axis
from checkerjax.ops._conv import correlate
from checkerjax.ops._filters import check_taps, filter_axis
from checkerjax.ops._transposed import stamp


def kaiser_taps(size: int, *, cutoff: float, width: float) -> np.ndarray:
    """A low-pass filter: a sinc under a Kaiser window, its shape from the transition width.

    Args:
      size: taps, at least 1. StyleGAN3 takes 6 times the factor of resampling.
      cutoff: frequency where the response has fallen to half, in cycles per sample of the higher rate; above 0, below
        1/2.
      width: of the transition band, in cycles per sample; above 0.

    Returns:
      float64 `[size]`, symmetric, summing to 1.

    Raises:
      ValueError: for a size below 1, or a cutoff or a width out of range.
      TypeError: for a size that is not an int, or a cutoff or a width that is not a number.

    Example:
      >>> kaiser_taps(4, cutoff=0.25, width=0.5).round(3).tolist()
      [0.067, 0.433, 0.433, 0.067]

    References:
      Kaiser, Nonrecursive digital filter design using the I0-sinh window function, 1974. Karras et al., Alias-free
      generative adversarial networks, arXiv:2106.12423, appendix C.
    """
    op = "kaiser_taps"
    size = as_int(op, "size", size, minimum=1)
    for name, value, most in (("cutoff", cutoff, 0.5), ("width", width, math.inf)):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{op}: {name} must be a number; got {value!r}.")
        if not 0 < float(value) < most:
            raise ValueError(f"{op}: {name} must be above 0 and below {most:g} cycles per sample; got {value}.")
    attenuation = 2.285 * (size - 1) * 2 * math.pi * float(width) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    else:
        above = max(attenuation - 21, 0.0)
        beta = 0.5842 * above**0.4 + 0.07886 * above
    ideal = np.sinc(2 * float(cutoff) * (np.arange(size) - (size - 1) / 2))
    taps = ideal * np.kaiser(size, beta)
    return taps / taps.sum()


def fir_conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    taps: jax.Array | Sequence[float] = (1.0, 3.0, 3.0, 1.0),
    up: PerAxis = 1,
    down: PerAxis = 1,
    padding: Padding = "SAME",
    precision: lax.PrecisionLike = None,
    method: str = "auto",
) -> jax.Array:
    """A convolution that resamples through a filter: deconvolution, then filter; or filter, then strided convolution.

    It is the transposed, or strided, convolution with the kernel convolved with the taps. Taps that have the box of
    the factor as a factor (at 2: [1, 1], [1, 2, 1], [1, 3, 3, 1]) make all phase gains equal for any kernel: a flat
    input gives no lines away from the border, going up, and a flat cotangent none going down.

    Args:
      x: `[N, *spatial, I]`, with 1, 2 or 3 spatial axes; any floating dtype.
      kernel: `[*k, I, O]`, of the dtype of `x`; stamped unflipped going up, correlated going down.
      taps: `[t]`, the filter along each axis, at any scale: its sum is made `up`, or 1 going down. The default is
        StyleGAN2's.
      up: output samples per input sample; an int or one per axis. 1 unless `down` is.
      down: input samples per output sample; an int or one per axis.
      padding: of the whole, a kernel of k + t - 1 taps: as in `conv_transpose` going up, as in `conv` otherwise.
      precision: of the convolution, as in `jax.lax`; the filter's sums have full precision whatever it is.
      method: as in `conv`.

    Returns:
      `[N, *o, O]`, with o as in `conv_transpose` or `conv` for k + t - 1 taps; with "SAME", up * spatial, or
      ceil(spatial / down).

    Raises:
      ValueError: for shapes that do not fit, `up` and `down` both above 1, or taps that sum to 0.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> x, kernel = jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1))
      >>> fir_conv(x, kernel, up=2).ravel()
      Array([2.  , 2.75, 3.  , 3.  , 3.  , 3.  , 2.75, 2.  ], dtype=float32)

    References:
      Karras et al., Analyzing and improving the image quality of StyleGAN, arXiv:1912.04958 (blurred up and down).
      Karras et al., Alias-free generative adversarial networks, arXiv:2106.12423 (Kaiser filters).
    """
    op = "fir_conv"
    x, kernel, ndim = check_image_and_kernel(op, x, kernel)
    ups, downs = per_axis(op, "up", up, ndim), per_axis(op, "down", down, ndim)
    row = check_taps(op, taps)
    if max(ups) > 1 and max(downs) > 1:
        raise ValueError(f"{op}: only one of up and down may be above 1; got up={up} and down={down}.")
    known = concrete(taps)
    if known is not None and known.sum() == 0:
        raise ValueError(f"{op}: taps must not sum to 0, for they are divided by it; got {row.tolist()}.")
    row = (row / jnp.sum(row)).astype(x.dtype)
    whole, ones = tuple(k + row.shape[0] - 1 for k in kernel.shape[:-2]), (1,) * ndim
    pads = pad_pairs(op, padding, ndim)
    if max(ups) > 1:
        pads = geometry.transpose_pads(op, whole, ups, ones, pads, (0,) * ndim)
        geometry.transpose_size(op, x.shape[1:-1], whole, ups, ones, pads)
        return _up(op, x, kernel, row, ups, pads, precision, method)
    pads = geometry.conv_pads(x.shape[1:-1], whole, downs, ones, pads)
    geometry.conv_size(op, x.shape[1:-1], whole, downs, ones, pads)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    for axis in range(1, ndim + 1):
        x = filter_axis(x, row, axis)
    return correlate(op, x, kernel, downs, "VALID", precision=precision, method=method)


def _up(
    op: str,
    x: jax.Array,
    kernel: jax.Array,
    row: jax.Array,
    ups: tuple[int, ...],
    pads: Sequence[tuple[int, int]],
    precision: lax.PrecisionLike,
    method: str,
) -> jax.Array:
    """The stamps that the filtered output reads, and no others; then the filter."""
    reach = row.shape[0] - 1
    size = [s * (i - 1) + k for s, i, k in zip(ups, x.shape[1:-1], kernel.shape)]
    y = stamp(
        op,
        x,
        kernel,
        low=tuple(low - reach for low, _ in pads),
        size=tuple(n + 2 * reach - low - high for n, (low, high) in zip(size, pads)),
        stride=ups,
        dilation=(1,) * len(ups),
        precision=precision,
        method=method,
    )
    for axis, s in enumerate(ups, start=1):
        y = filter_axis(y, jnp.flip(row) * s, axis)
    return y

"""Kernels of one upsampler written as kernels of another, with their paddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax import _geometry as geometry
from checkerjax._checks import AXES, Padding, Pads, PerAxis, check_kernel, one_of, pad_pairs, per_axis
from checkerjax.ops._resampling import CENTRES, resampling_matrix
from checkerjax.ops._shuffle import ORDERS
from checkerjax.ops._upsample import check_method


class PaddedKernel(NamedTuple):
    """A kernel and the padding that it needs: padding rotates the phases, so one means nothing without the other."""

    kernel: jax.Array  # [*k, I, O']
    padding: Pads  # one (low, high) pair per spatial axis, none negative


def deconv_from_resize(
    kernel: jax.Array,
    *,
    scale: PerAxis,
    method: str = "nearest",
    padding: Padding = "SAME",
    centres: str = "half_pixel",
    cubic_a: float = -0.5,
    taps: jax.Array | Sequence[float] | None = None,
) -> PaddedKernel:
    """The transposed convolution that a resize-convolution is.

    Args:
      kernel: `[*k, I, O]` of the resize-convolution.
      scale: of the resize-convolution; the stride of the result. An int or one per axis, at least 1.
      method: as in `upsample`.
      padding: of the resize-convolution, on the upsampled field, with zeros.
      centres: "half_pixel" or "sample" ("corners" is not shift-invariant, so no kernel can stand for it).
      cubic_a: as in `upsample`.
      taps: as in `upsample`.

    Returns:
      The kernel `[*K, I, O]`, K = k + u - 1 for an interpolation of u taps (u = scale for "nearest"), and its padding
      for `conv_transpose(x, kernel, stride=scale, padding=padding)`. Equal to `resize_conv` everywhere for
      "nearest" with "half_pixel" and for "zeros", with zero padding; otherwise in the interior, since at the border
      interpolations drop taps, and what "fir" spreads beyond it is cut off.

    Raises:
      ValueError: for a wrong rank, unknown names, or centres="corners".
      TypeError: for a dtype that is not floating.

    Example:
      >>> deconv_from_resize(jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1), scale=2).kernel.ravel()
      Array([100., 110.,  11.,   1.], dtype=float32)

    References:
      Odena, Dumoulin and Olah, Distill 2016, figure 7; Colbert et al., arXiv:2107.07647 (weight convolution).
    """
    op = "deconv_from_resize"
    kernel, ndim = check_kernel(op, kernel)
    scales = per_axis(op, "scale", scale, ndim)
    row = check_method(op, method, taps, cubic_a)
    if one_of(op, "centres", centres, CENTRES) == "corners":
        raise ValueError(f"{op}: centres='corners' is not shift-invariant: no kernel is equal to it.")
    pads = _stride_one_pads(op, kernel, padding, ndim)
    result = jnp.flip(kernel, range(ndim))
    paddings = []
    for axis, (s, (low, high)) in enumerate(zip(scales, pads)):
        k = kernel.shape[axis]
        response, first = _impulse_response(s, method, centres, cubic_a, row, kernel.dtype)
        result = _convolve_axis(result, response, axis)
        low, high = k - 1 - low - first, response.shape[0] - s + k - 1 - high + first
        result = _append_zeros(result, axis, max(-low, 0), max(-high, 0))
        paddings.append((max(low, 0), max(high, 0)))
    return PaddedKernel(result, tuple(paddings))


def deconv_from_subpixel(
    kernel: jax.Array, *, scale: PerAxis, padding: Padding = "SAME", order: str = "depth_first"
) -> PaddedKernel:
    """The transposed convolution that a sub-pixel convolution is; equal everywhere.

    Args:
      kernel: `[*k, I, prod(scale) O]` of the sub-pixel convolution.
      scale: of the sub-pixel convolution; the stride of the result. An int or one per axis, at least 1.
      padding: of the sub-pixel convolution.
      order: of the sub-pixel convolution's channels, as in `depth_to_space`.

    Returns:
      The kernel `[*(scale k), I, O]` and its padding, for `conv_transpose(x, kernel, stride=scale, padding=padding)`.

    Raises:
      ValueError: for a wrong rank, an unknown order, or channels that the scale does not divide.
      TypeError: for a dtype that is not floating.

    Example:
      >>> deconv_from_subpixel(jnp.array([[[1.0, 2.0]], [[3.0, 4.0]]]), scale=2).kernel.ravel()
      Array([3., 4., 1., 2.], dtype=float32)

    References:
      Shi et al., Is the deconvolution layer the same as a convolutional layer?, arXiv:1609.07009.
    """
    op = "deconv_from_subpixel"
    kernel, ndim = check_kernel(op, kernel)
    scales = per_axis(op, "scale", scale, ndim)
    one_of(op, "order", order, ORDERS)
    *size, inputs, channels = kernel.shape
    phases = math.prod(scales)
    if channels % phases:
        raise ValueError(f"{op}: axis O of kernel must be a multiple of prod(scale) = {phases}; got {channels}.")
    depth = channels // phases
    split = (*scales, depth) if order == "depth_first" else (depth, *scales)
    first, last = (ndim + 1, 2 * ndim + 1) if order == "depth_first" else (ndim + 2, ndim + 1)
    interleaved = [axis for i in range(ndim) for axis in (i, first + i)]
    taps = jnp.flip(kernel, range(ndim)).reshape(*size, inputs, *split).transpose(*interleaved, ndim, last)
    result = taps.reshape(*(s * k for s, k in zip(scales, size)), inputs, depth)
    paddings = []
    for axis, (s, k, pair) in enumerate(zip(scales, size, _stride_one_pads(op, kernel, padding, ndim))):
        low, high = (s * (k - 1 - p) for p in pair)
        result = _append_zeros(result, axis, max(-low, 0), max(-high, 0))
        paddings.append((max(low, 0), max(high, 0)))
    return PaddedKernel(result, tuple(paddings))


def subpixel_from_deconv(
    kernel: jax.Array,
    *,
    stride: PerAxis,
    padding: Padding = "SAME",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    order: str = "depth_first",
) -> PaddedKernel:
    """The sub-pixel convolution that a transposed convolution is, for any kernel size; equal everywhere.

    Where the stride does not divide the kernel size, or padding rotates the phases, some taps of the result are zero.

    Args:
      kernel: `[*k, I, O]` of the transposed convolution.
      stride: of the transposed convolution; the scale of the result. An int or one per axis, at least 1.
      padding: of the transposed convolution.
      output_padding: of the transposed convolution; an int or one per axis.
      dilation: of the transposed convolution; an int or one per axis, at least 1.
      order: of the result's channels, as in `depth_to_space`.

    Returns:
      The kernel `[*k', I, prod(stride) O]` and its padding, for `subpixel_conv(x, kernel, scale=stride,
      padding=padding, order=order)`.

    Raises:
      ValueError: for a wrong rank, an unknown order, or an output size that is no multiple of the stride (a sub-pixel
        convolution has no other): change the padding, or crop after it.
      TypeError: for a dtype that is not floating.

    Example:
      >>> subpixel_from_deconv(jnp.array([1.0, 2.0, 3.0]).reshape(3, 1, 1), stride=2, padding=[(0, 1)]).kernel.tolist()
      [[[3.0, 0.0]], [[1.0, 2.0]]]

    References:
      Shi et al., arXiv:1609.07009, extended to sizes that the stride does not divide.
    """
    op = "subpixel_from_deconv"
    kernel, ndim = check_kernel(op, kernel)
    strides = per_axis(op, "stride", stride, ndim)
    dilations = per_axis(op, "dilation", dilation, ndim)
    extra = per_axis(op, "output_padding", output_padding, ndim, minimum=0)
    one_of(op, "order", order, ORDERS)
    inputs, outputs = kernel.shape[-2:]
    pads = geometry.transpose_pads(op, kernel.shape[:-2], strides, dilations, pad_pairs(op, padding, ndim), extra)
    paddings, size = [], []
    for i, (axis, s, d, pair) in enumerate(zip(AXES[ndim], strides, dilations, pads)):
        source, pair = _phase_taps(op, axis, kernel.shape[2 * i], s, d, pair)
        padded = _append_zeros(kernel, 2 * i, 0, 1)  # the extra slot is what the missing taps read
        taken = jnp.take(padded, source.ravel(), axis=2 * i)
        kernel = taken.reshape(*kernel.shape[: 2 * i], *source.shape, *kernel.shape[2 * i + 1 :])
        paddings.append(pair)
        size.append(source.shape[0])
    taps, phases = range(0, 2 * ndim, 2), range(1, 2 * ndim, 2)
    tail = (*phases, 2 * ndim + 1) if order == "depth_first" else (2 * ndim + 1, *phases)
    kernel = kernel.transpose(*taps, 2 * ndim, *tail)
    return PaddedKernel(kernel.reshape(*size, inputs, math.prod(strides) * outputs), tuple(paddings))


def _phase_taps(
    op: str, axis: str, k: int, s: int, d: int, pair: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Which tap of the transposed kernel each (sub-pixel tap, phase) reads, k where it reads none; and the padding.

    Output n = s q + r reads input m = (n + p - d j) / s = q + (r + p - d j) / s with tap j, where that is whole.
    """
    low, high = pair
    growth = geometry.span(k, d) - s - low - high
    if growth % s:
        raise ValueError(
            f"{op}: the output size on axis {axis} is not a multiple of stride {s} for kernel size {k}, "
            f"dilation {d} and padding ({low}, {high}); change the padding, or crop afterwards."
        )
    reads = np.arange(s)[:, None] + low - d * np.arange(k)
    offsets = np.where(reads % s == 0, reads // s, 0)
    first, last = int(min(offsets.min(), 0)), int(max(offsets.max(), 0))
    last = max(last, -(growth // s))  # so that the padding at the high end is not negative
    source = np.full((last - first + 1, s), k)
    phase, tap = np.nonzero(reads % s == 0)
    source[offsets[phase, tap] - first, phase] = tap
    return source, (-first, growth // s + last)


def _stride_one_pads(op: str, kernel: jax.Array, padding: Padding, ndim: int) -> Pads:
    size, ones = kernel.shape[:-2], (1,) * ndim
    return geometry.conv_pads(size, size, ones, ones, pad_pairs(op, padding, ndim))


def _impulse_response(
    s: int, method: str, centres: str, cubic_a: float, taps: jax.Array | None, dtype: np.dtype
) -> tuple[jax.Array, int]:
    """What one input sample adds to the outputs along an axis, and the offset of its first output from s m."""
    if method == "zeros":
        return jnp.ones((1,), dtype), 0
    if taps is not None:
        k = taps.shape[0]
        return taps.astype(dtype), -(max(k - s if centres == "half_pixel" else k - 1, 0) // 2)
    # lanczos3, the widest, reads three samples on either side: those that read the middle one reach as far as six.
    size, middle = 13, 6
    column = resampling_matrix(size, s, method, centres, cubic_a)[:, middle]
    used = np.flatnonzero(column)
    return jnp.asarray(column[used[0] : used[-1] + 1], dtype), int(used[0]) - s * middle


def _convolve_axis(kernel: jax.Array, response: jax.Array, axis: int) -> jax.Array:
    """Full convolution of a kernel with a filter along one axis."""
    n = response.shape[0]
    shifted = [_append_zeros(kernel, axis, j, n - 1 - j) * response[j] for j in range(n)]
    return sum(shifted[1:], start=shifted[0])


def _append_zeros(kernel: jax.Array, axis: int, low: int, high: int) -> jax.Array:
    pads = [(0, 0)] * kernel.ndim
    pads[axis] = (low, high)
    return jnp.pad(kernel, pads) if low or high else kernel

"""Fixed one-dimensional filters, and how they are applied along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax._checks import LAYOUTS, PerAxis, as_inexact, as_int, per_axis


def binomial_taps(size: int) -> np.ndarray:
    """Row `size - 1` of Pascal's triangle over its sum.

    Args:
      size: taps, at least 1.

    Returns:
      float64 `[size]`, symmetric, summing to 1.

    Raises:
      ValueError: for a size below 1.
      TypeError: for a size that is not an int.

    Example:
      >>> binomial_taps(3).tolist()
      [0.25, 0.5, 0.25]

    References:
      Zhang, Making convolutional networks shift-invariant again, arXiv:1904.11486 (the blur).
    """
    size = as_int("binomial_taps", "size", size, minimum=1)
    return np.array([math.comb(size - 1, j) / 2 ** (size - 1) for j in range(size)])


def hold_taps(scale: int, *, order: int = 0) -> np.ndarray:
    """`scale` ones, convolved with themselves `order` times, over their sum.

    Its frequency response has a zero of order `order + 1` at every multiple of 1 / scale but 0, so whatever is
    filtered with it has equal phase gains.

    Args:
      scale: of the upsampling that the filter follows, or the downsampling that it precedes; at least 1.
      order: at least 0; 0 is the zero-order hold, 1 a triangle.

    Returns:
      float64 `[(order + 1) (scale - 1) + 1]`, symmetric, summing to 1.

    Raises:
      ValueError: for a scale below 1 or an order below 0.
      TypeError: for a scale or an order that is not an int.

    Example:
      >>> (hold_taps(2, order=1) * 4).tolist()
      [1.0, 2.0, 1.0]

    References:
      Kinoshita and Kiya, Fixed smooth convolutional layer, arXiv:2002.02117; unnormalised there, and here the whole
      filter for every scale and order.
    """
    scale = as_int("hold_taps", "scale", scale, minimum=1)
    order = as_int("hold_taps", "order", order, minimum=0)
    taps = np.ones(scale, dtype=np.int64)
    for _ in range(order):
        taps = np.convolve(taps, np.ones(scale, dtype=np.int64))
    return taps / taps.sum()


def hann_taps(scale: int) -> np.ndarray:
    """A Hann window over its sum, whose copies at distance `scale` add up to a constant.

    Args:
      scale: of the downsampling that the window precedes, at least 1.

    Returns:
      float64 `[2 scale - 1]`, symmetric, summing to 1; [1, 2, 1] / 4 at scale 2.

    Raises:
      ValueError: for a scale below 1.
      TypeError: for a scale that is not an int.

    Example:
      >>> hann_taps(2).round(6).tolist()
      [0.25, 0.5, 0.25]

    References:
      Henaff and Simoncelli, Geodesics of learned representations, arXiv:1511.06394 (the window of L2 pooling).
    """
    scale = as_int("hann_taps", "scale", scale, minimum=1)
    return np.sin(np.pi * np.arange(1, 2 * scale) / (2 * scale)) ** 2 / scale


def bilinear_kernel(
    stride: PerAxis, *, ndim: int = 2, channels: int = 1, dtype: str | np.dtype = "float32"
) -> jax.Array:
    """The transposed kernel that interpolates linearly, channel by channel (the usual start of FCN decoders).

    Args:
      stride: of the transposed convolution, s; an int or one per axis, at least 1.
      ndim: spatial axes, 1 to 3.
      channels: C, at least 1; each maps to itself.
      dtype: of the kernel.

    Returns:
      `[*k, C, C]` with k = 2 s - s mod 2 on each axis, the outer product of 1 - |j / f - c| with f = ceil(k / 2) and
      c = (2 f - 1 - f mod 2) / (2 f), times the identity of channels; equal phase gains.

    Raises:
      ValueError: for a stride or a number of channels below 1, or ndim outside 1 to 3.
      TypeError: for a dtype that is not floating.

    Example:
      >>> bilinear_kernel(2, ndim=1).ravel()
      Array([0.25, 0.75, 0.75, 0.25], dtype=float32)

    References:
      Long, Shelhamer and Darrell, Fully convolutional networks for semantic segmentation, arXiv:1411.4038.
    """
    ndim = as_int("bilinear_kernel", "ndim", ndim, minimum=1)
    if ndim not in LAYOUTS:
        raise ValueError(f"bilinear_kernel: ndim must be 1, 2 or 3; got {ndim}.")
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"bilinear_kernel: dtype must be floating; got {np.dtype(dtype)}.")
    channels = as_int("bilinear_kernel", "channels", channels, minimum=1)
    kernel = np.eye(channels)
    for s in reversed(per_axis("bilinear_kernel", "stride", stride, ndim)):
        k = 2 * s - s % 2
        f = -(-k // 2)
        row = 1 - np.abs(np.arange(k) / f - (2 * f - 1 - f % 2) / (2 * f))
        kernel = np.multiply.outer(row, kernel)
    return jnp.asarray(kernel, dtype=dtype)


def check_taps(op: str, taps: jax.Array | Sequence[float]) -> jax.Array:
    """A filter `[k]`; Python numbers may be ints."""
    if isinstance(taps, (list, tuple)) and all(isinstance(t, (int, float)) for t in taps):
        taps = [float(t) for t in taps]
    row = as_inexact(op, "taps", taps)
    if row.ndim != 1 or row.size == 0:
        raise ValueError(f"{op}: taps must be a filter of shape [k]; got shape {row.shape}.")
    return row


def filter_axis(x: jax.Array, taps: jax.Array, axis: int, stride: int = 1) -> jax.Array:
    """sum_j taps[j] x[stride n + j] along `axis`, at every n where all taps lie inside.

    A sum of shifted slices: a depthwise convolution that stays fast, and whose gradient does, on every backend.
    """
    count = (x.shape[axis] - taps.shape[0]) // stride + 1
    last = (count - 1) * stride + 1
    terms = [taps[j] * lax.slice_in_dim(x, j, j + last, stride, axis) for j in range(taps.shape[0])]
    return sum(terms[1:], start=terms[0])

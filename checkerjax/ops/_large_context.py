"""Large context transposed convolution: a large and a small kernel on the same stride."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax._checks import AXES, PerAxis, check_kernel, per_axis
from checkerjax._geometry import transpose_pads
from checkerjax.ops._conv import conv_transpose


def large_context_conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    small: jax.Array,
    *,
    stride: PerAxis = 2,
    precision: lax.PrecisionLike = None,
    method: str = "auto",
) -> jax.Array:
    """The sum of two transposed convolutions with "SAME" padding: one large kernel for context, one small beside it.

    Computed as one, with the small kernel added where it lies in the large one. Phase gains are those of any
    transposed convolution: equal only if the kernels make them so.

    Args:
      x: `[N, *spatial, I]`, with 1, 2 or 3 spatial axes; any floating dtype.
      kernel: `[*k, I, O]`, the large one (7 or 11 taps an axis in the paper), unflipped; of the dtype of `x`.
      small: `[*k', I, O]`, the small one (3 in the paper), at most as large on each axis.
      stride: of both; an int or one per axis, at least 1.
      precision: as in `jax.lax`.
      method: as in `conv`.

    Returns:
      `[N, *(stride * spatial), O]`.

    Raises:
      ValueError: for shapes that do not fit, or a small kernel that reaches outside the large one.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> large, small = jnp.ones((6, 1, 1)), 10 * jnp.ones((2, 1, 1))
      >>> large_context_conv_transpose(jnp.array([0.0, 1.0, 0.0]).reshape(1, 3, 1), large, small).ravel()
      Array([ 1.,  1., 11., 11.,  1.,  1.], dtype=float32)

    References:
      Agnihotri, Grabinski and Keuper, Improving feature stability during upsampling, arXiv:2311.17524 (LCTC).
    """
    op = "large_context_conv_transpose"
    kernel, ndim = check_kernel(op, kernel)
    small, small_ndim = check_kernel(op, small, "small")
    strides, ones, none = per_axis(op, "stride", stride, ndim), (1,) * ndim, (0,) * ndim
    if small_ndim != ndim or small.shape[-2:] != kernel.shape[-2:]:
        raise ValueError(
            f"{op}: small must have the rank and the channels of kernel, {kernel.shape}; got {small.shape}."
        )
    if small.dtype != kernel.dtype:
        raise TypeError(f"{op}: kernel is {kernel.dtype} but small is {small.dtype}; cast one of them.")
    pads = [transpose_pads(op, a.shape[:-2], strides, ones, "SAME", none) for a in (kernel, small)]
    around = []
    for axis, k, j, (low, _), (own, _) in zip(AXES[ndim], kernel.shape, small.shape, *pads):
        if low < own or low - own + j > k:
            raise ValueError(f"{op}: small must lie inside kernel; got sizes {j} and {k} on axis {axis}.")
        around.append((low - own, k - j - low + own))
    both = kernel + jnp.pad(small, (*around, (0, 0), (0, 0)))
    return conv_transpose(x, both, stride=strides, precision=precision, method=method)

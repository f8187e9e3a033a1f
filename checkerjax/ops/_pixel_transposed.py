"""Pixel transposed convolution: phases computed one after the other, each from those before it."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax._checks import check_image_and_kernel
from checkerjax.ops._conv import correlate
from checkerjax.ops._shuffle import depth_to_space


def pixel_transposed_conv(
    x: jax.Array,
    kernels: Sequence[jax.Array],
    *,
    biases: Sequence[jax.Array] | None = None,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Pixel transposed convolution, which doubles two spatial axes so that neighbours depend on each other.

    The phase (0, 0) is a convolution of the input, the phase (1, 1) a convolution of that phase; the other two are a
    convolution of both, whose taps at an even distance from its middle are masked. Nothing makes the phase gains
    equal: a flat input may have lines.

    Args:
      x: `[N, H, W, I]`; any floating dtype.
      kernels: three of them, `[*k, I, O]`, `[*k, O, O]` and `[*k, O, O]`, of odd sizes; of the dtype of `x`.
      biases: two of them, `[O]`, added to the first two convolutions (the third has none); None for zeros.
      precision: as in `jax.lax`.

    Returns:
      `[N, 2 H, 2 W, O]`.

    Raises:
      ValueError: for a rank other than two, shapes that do not fit, an even size of the last kernel, or another number
        of kernels or biases.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> one, none = jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1, 1, 1))
      >>> pixel_transposed_conv(jnp.ones((1, 1, 1, 1)), (one, 2 * one, none))[0, :, :, 0]
      Array([[1., 0.],
             [0., 2.]], dtype=float32)

    References:
      Gao et al., Pixel deconvolutional networks, arXiv:1705.06820 (PixelDCL).
    """
    op = "pixel_transposed_conv"
    if not isinstance(kernels, Sequence) or len(kernels) != 3:
        raise ValueError(f"{op}: kernels must be a sequence of three arrays; got {_kind(kernels)}.")
    if biases is not None and (not isinstance(biases, Sequence) or len(biases) != 2):
        raise ValueError(f"{op}: biases must be None or a sequence of two arrays; got {_kind(biases)}.")
    x, first, ndim = check_image_and_kernel(op, x, kernels[0])
    if ndim != 2:
        raise ValueError(f"{op}: defined for two spatial axes (NHWC and HWIO); got x of shape {x.shape}.")
    even = correlate(op, x, first, precision=precision)
    even = even if biases is None else even + biases[0]
    odd = correlate(op, even, kernels[1], precision=precision)
    odd = odd if biases is None else odd + biases[1]
    none = jnp.zeros_like(even)
    placed = depth_to_space(jnp.concatenate([even, none, none, odd], axis=-1), block=2)
    return placed + correlate(op, placed, kernels[2] * _mask(op, kernels[2]), precision=precision)


def _kind(value: object) -> str:
    return f"{len(value)} of them" if isinstance(value, Sequence) else type(value).__name__


def _mask(op: str, kernel: jax.Array) -> jax.Array:
    """Ones where the distances from the middle, along both axes, add up to an odd number."""
    size = kernel.shape[:2]
    if any(k % 2 == 0 for k in size):
        raise ValueError(f"{op}: the last kernel must have odd sizes, to have a middle; got {size}.")
    rows, columns = np.ogrid[: size[0], : size[1]]
    odd = (rows - size[0] // 2 + columns - size[1] // 2) % 2
    return jnp.asarray(odd[..., None, None], kernel.dtype)

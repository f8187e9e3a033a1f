"""Kernels that start free of checkerboards: ICNR, for sub-pixel and for transposed convolution."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from checkerjax._checks import AXES, PerAxis, check_kernel, one_of, per_axis
from checkerjax.ops._shuffle import ORDERS


def icnr(base: jax.Array, *, scale: PerAxis, order: str = "depth_first") -> jax.Array:
    """Sub-pixel kernel whose phases are all equal to `base`: its output is a nearest-neighbour upsampling.

    Args:
      base: `[*k, I, O]`, drawn with any initialiser.
      scale: of the sub-pixel convolution; an int or one per axis, at least 1.
      order: "depth_first" or "channel_first", as in `depth_to_space`.

    Returns:
      `[*k, I, prod(scale) O]`: `subpixel_conv(x, icnr(base))` equals `upsample(conv(x, base))`. A bias must be tied
      in the same way; training does not keep the phases equal.

    Raises:
      ValueError: for a wrong rank or an unknown order.
      TypeError: if `base` is not an array of floating dtype (draw from an initialiser first).

    Example:
      >>> icnr(jnp.array([[[3.0, 5.0]]]), scale=2, order="channel_first").ravel()
      Array([3., 3., 5., 5.], dtype=float32)

    References:
      Aitken et al., Checkerboard artifact free sub-pixel convolution, arXiv:1707.02937.
    """
    base, ndim = check_kernel("icnr", base, "base")
    phases = math.prod(per_axis("icnr", "scale", scale, ndim))
    if one_of("icnr", "order", order, ORDERS) == "channel_first":
        return jnp.repeat(base, phases, axis=-1)
    return jnp.tile(base, (1,) * (ndim + 1) + (phases,))


def icnr_transpose(base: jax.Array, *, stride: PerAxis) -> jax.Array:
    """Transposed kernel whose phases are all equal: the first tap of each stride-long block of `base`, repeated.

    Args:
      base: `[*k, I, O]`, drawn with any initialiser; its taps at multiples of the stride are kept.
      stride: of the transposed convolution, s; an int or one per axis, at least 1.

    Returns:
      `[*k, I, O]`, constant on blocks of s taps: `conv_transpose` gives an output that is constant on blocks of s
      samples (its padding decides where the first block ends). Training does not keep the phases equal.

    Raises:
      ValueError: for a wrong rank, or unless s divides k on every axis (otherwise phases differ in their taps).
      TypeError: if `base` is not an array of floating dtype (draw from an initialiser first).

    Example:
      >>> icnr_transpose(jnp.arange(4.0).reshape(4, 1, 1), stride=2).ravel()
      Array([0., 0., 2., 2.], dtype=float32)

    References:
      Aitken et al., arXiv:1707.02937, carried over to transposed kernels.
    """
    base, ndim = check_kernel("icnr_transpose", base, "base")
    for i, (axis, s) in enumerate(zip(AXES[ndim], per_axis("icnr_transpose", "stride", stride, ndim))):
        k = base.shape[i]
        if k % s:
            raise ValueError(
                f"icnr_transpose: stride must divide the kernel size; got stride {s} and size {k} on axis "
                f"{axis}. Take a kernel of size {k + s - k % s}."
            )
        base = jnp.repeat(base[(slice(None),) * i + (slice(None, None, s),)], s, axis=i)
    return base

"""Initialisers in Flax's form, `init(key, shape, dtype)`, whose kernels start free of checkerboards.

They hold at initialisation only. For training, see `equal_gains` of the layers and `checkerjax.nn.transforms`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal

from checkerjax import ops
from checkerjax._checks import AXES, LAYOUTS, PerAxis, one_of, per_axis
from checkerjax.ops._shuffle import ORDERS

Initializer = Callable[..., jax.Array]

__all__ = ["bilinear", "icnr", "icnr_transpose"]


def icnr(base: Initializer | None = None, scale: PerAxis = 2, *, order: str = "depth_first") -> Initializer:
    """For the kernel of a sub-pixel convolution: all phases equal, so that it starts as a nearest upsampling.

    Args:
      base: draws the kernel of one phase, `[*k, I, O]`; by default Flax's, LeCun normal.
      scale: of the sub-pixel convolution; an int or one per axis, at least 1.
      order: of its channels, "depth_first" or "channel_first", as in `depth_to_space`.

    Returns:
      An initialiser of kernels `[*k, I, prod(scale) O]`.

    Raises:
      ValueError: when the initialiser is called, for a wrong rank or channels that prod(scale) does not divide; for an
        unknown order.
      TypeError: for a base that is not callable.

    Example:
      >>> kernel = icnr(scale=2)(jax.random.key(0), (3, 3, 8, 16), jnp.float32)
      >>> bool((kernel[..., :4] == kernel[..., 4:8]).all())
      True

    References:
      Aitken et al., Checkerboard artifact free sub-pixel convolution, arXiv:1707.02937.
    """
    base = _base("icnr", base)
    one_of("icnr", "order", order, ORDERS)

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        scales = per_axis("icnr", "scale", scale, _rank("icnr", shape))
        phases = math.prod(scales)
        if shape[-1] % phases:
            raise ValueError(
                f"icnr: axis O of the kernel must be a multiple of prod(scale) = {phases}; got shape {tuple(shape)}."
            )
        return ops.icnr(base(key, (*shape[:-1], shape[-1] // phases), dtype), scale=scales, order=order)

    return init


def icnr_transpose(base: Initializer | None = None, stride: PerAxis = 2) -> Initializer:
    """For the kernel of a transposed convolution whose stride divides its size: all phases equal.

    It holds for kernels stamped flipped or as given, and with I and O exchanged: for both values of
    `transpose_kernel`.

    Args:
      base: draws a kernel `[*k, I, O]`, of which the taps at multiples of the stride are kept; by default LeCun normal.
      stride: of the transposed convolution; an int or one per axis, at least 1.

    Returns:
      An initialiser of kernels `[*k, I, O]`, constant on blocks of stride taps.

    Raises:
      ValueError: when the initialiser is called, for a wrong rank or a size that the stride does not divide.
      TypeError: for a base that is not callable.

    Example:
      >>> kernel = icnr_transpose(stride=2)(jax.random.key(0), (4, 8, 16), jnp.float32)
      >>> bool((kernel[0] == kernel[1]).all() and (kernel[2] == kernel[3]).all())
      True

    References:
      Aitken et al., arXiv:1707.02937, carried over to transposed kernels.
    """
    base = _base("icnr_transpose", base)

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        strides = per_axis("icnr_transpose", "stride", stride, _rank("icnr_transpose", shape))
        return ops.icnr_transpose(base(key, tuple(shape), dtype), stride=strides)

    return init


def bilinear(stride: PerAxis = 2) -> Initializer:
    """For the kernel of a transposed convolution: linear interpolation of each channel, nothing drawn.

    Args:
      stride: of the transposed convolution, s; an int or one per axis, at least 1.

    Returns:
      An initialiser of kernels of size 2 s - s mod 2: `[*k, C, C]`, each channel on itself, or with channel groups
      `[*k, C, 1]` (or `[*k, 1, C]`), where each group is one channel. Equal phase gains.

    Raises:
      ValueError: when the initialiser is called, for another size, or channels of which there are not as many on both
        sides.

    Example:
      >>> bilinear(2)(jax.random.key(0), (4, 1, 1)).ravel()
      Array([0.25, 0.75, 0.75, 0.25], dtype=float32)

    References:
      Long, Shelhamer and Darrell, Fully convolutional networks for semantic segmentation, arXiv:1411.4038.
    """

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        ndim = _rank("bilinear", shape)
        strides = per_axis("bilinear", "stride", stride, ndim)
        wanted, (inputs, outputs) = tuple(2 * s - s % 2 for s in strides), shape[-2:]
        if tuple(shape[:-2]) != wanted:
            raise ValueError(
                f"bilinear: for strides {strides} on the axes {AXES[ndim]} the kernel size must be {wanted}; got shape "
                f"{tuple(shape)}."
            )
        if inputs != outputs and 1 not in (inputs, outputs):
            raise ValueError(
                f"bilinear: as many channels must come in as go out, or one per group; got the shape {tuple(shape)}."
            )
        if inputs == outputs:
            return ops.bilinear_kernel(strides, ndim=ndim, channels=inputs, dtype=dtype)
        return jnp.broadcast_to(ops.bilinear_kernel(strides, ndim=ndim, dtype=dtype), tuple(shape))

    return init


def _base(op: str, base: Initializer | None) -> Initializer:
    if base is not None and not callable(base):
        raise TypeError(f"{op}: base must be an initialiser, init(key, shape, dtype); got {type(base).__name__}.")
    return lecun_normal() if base is None else base


def _rank(op: str, shape: Any) -> int:
    if len(shape) - 2 not in LAYOUTS:
        raise ValueError(f"{op}: initialises HIO, HWIO or DHWIO kernels; got shape {tuple(shape)}.")
    return len(shape) - 2

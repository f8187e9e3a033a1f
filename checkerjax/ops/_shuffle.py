"""Depth to space, space to depth, and the sub-pixel convolution built on them."""

from __future__ import annotations

import math

import jax
from jax import lax

from checkerjax._checks import AXES, Padding, PerAxis, check_field, check_image_and_kernel, one_of, per_axis
from checkerjax.ops._conv import correlate

ORDERS = ("depth_first", "channel_first")


def depth_to_space(
    x: jax.Array, *, block: PerAxis, order: str = "depth_first", precision: lax.PrecisionLike = None
) -> jax.Array:
    """Moves channels into space: each pixel becomes a block of pixels ("pixel shuffle").

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes.
      block: output samples per input sample, b; an int or one per axis, at least 1. Their product divides C.
      order: which channel feeds which pixel, for pixel (p, q) of a block and output channel c of C' = C / prod(b):
        "depth_first" takes channel (p b_w + q) C' + c (ONNX DCR, TensorFlow), "channel_first" takes
        c prod(b) + p b_w + q (ONNX CRD, PyTorch).
      precision: taken as by all operators; nothing is multiplied here.

    Returns:
      `[N, *(b * spatial), C / prod(b)]`.

    Raises:
      ValueError: for a wrong rank, an unknown order, or channels that the block does not divide.
      TypeError: for a dtype that is not floating.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(4.0).reshape(1, 1, 4)
      >>> depth_to_space(x, block=2, order="depth_first")[0].tolist()
      [[0.0, 1.0], [2.0, 3.0]]
      >>> depth_to_space(x, block=2, order="channel_first")[0].tolist()
      [[0.0, 2.0], [1.0, 3.0]]

    References:
      Shi et al., Real-time single image and video super-resolution, arXiv:1609.05158, equation 4.
    """
    x, ndim = check_field("depth_to_space", x)
    blocks = per_axis("depth_to_space", "block", block, ndim)
    one_of("depth_to_space", "order", order, ORDERS)
    batch, *sizes, channels = x.shape
    if channels % math.prod(blocks):
        raise ValueError(
            f"depth_to_space: axis C of x must be a multiple of prod(block) = {math.prod(blocks)}; got {channels}."
        )
    depth = channels // math.prod(blocks)
    split = (*blocks, depth) if order == "depth_first" else (depth, *blocks)
    first_block, channel = (1 + ndim, -1) if order == "depth_first" else (2 + ndim, 1 + ndim)
    spatial = [axis for i in range(ndim) for axis in (1 + i, first_block + i)]
    x = x.reshape(batch, *sizes, *split).transpose(0, *spatial, channel % (2 + 2 * ndim))
    return x.reshape(batch, *(b * n for b, n in zip(blocks, sizes)), depth)


def space_to_depth(
    x: jax.Array, *, block: PerAxis, order: str = "depth_first", precision: lax.PrecisionLike = None
) -> jax.Array:
    """Moves blocks of pixels into channels: the inverse of `depth_to_space` with the same arguments.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes.
      block: input samples per output sample; an int or one per axis, each dividing its axis.
      order: "depth_first" or "channel_first", as in `depth_to_space`.
      precision: taken as by all operators; nothing is multiplied here.

    Returns:
      `[N, *(spatial / b), C prod(b)]`.

    Raises:
      ValueError: for a wrong rank, an unknown order, or an axis that its block does not divide.
      TypeError: for a dtype that is not floating.

    Example:
      >>> import jax.numpy as jnp
      >>> space_to_depth(jnp.arange(4.0).reshape(1, 4, 1), block=2)[0].tolist()
      [[0.0, 1.0], [2.0, 3.0]]
    """
    x, ndim = check_field("space_to_depth", x)
    blocks = per_axis("space_to_depth", "block", block, ndim)
    one_of("space_to_depth", "order", order, ORDERS)
    batch, *sizes, channels = x.shape
    for axis, n, b in zip(AXES[ndim], sizes, blocks):
        if n % b:
            raise ValueError(f"space_to_depth: axis {axis} of x must be a multiple of block={b}; got {n}.")
    split = [length for n, b in zip(sizes, blocks) for length in (n // b, b)]
    pixels, offsets = [1 + 2 * i for i in range(ndim)], [2 + 2 * i for i in range(ndim)]
    channel = 1 + 2 * ndim
    depth = [*offsets, channel] if order == "depth_first" else [channel, *offsets]
    x = x.reshape(batch, *split, channels).transpose(0, *pixels, *depth)
    return x.reshape(batch, *(n // b for n, b in zip(sizes, blocks)), channels * math.prod(blocks))


def subpixel_conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    scale: PerAxis,
    padding: Padding = "SAME",
    order: str = "depth_first",
    precision: lax.PrecisionLike = None,
    method: str = "auto",
) -> jax.Array:
    """Sub-pixel convolution: a convolution at low resolution, then `depth_to_space`.

    Args:
      x: `[N, *spatial, I]`, with 1, 2 or 3 spatial axes; any floating dtype.
      kernel: `[*k, I, prod(scale) O]`, of the dtype of `x`; its last axis is laid out by `order`.
      scale: output samples per input sample; an int or one per axis, at least 1.
      padding: of the convolution, as in `conv`.
      order: "depth_first" or "channel_first", as in `depth_to_space`.
      precision: as in `jax.lax`.
      method: as in `conv`.

    Returns:
      `[N, *(scale * conv output), O]`.

    Raises:
      ValueError: as `conv` and `depth_to_space` do.
      TypeError: as `conv` does.

    Example:
      >>> import jax.numpy as jnp
      >>> kernel = jnp.array([[[1.0, 2.0]]])  # one tap, one input channel, two output phases
      >>> subpixel_conv(jnp.ones((1, 2, 1)), kernel, scale=2).ravel()
      Array([1., 2., 1., 2.], dtype=float32)

    References:
      Shi et al., Real-time single image and video super-resolution, arXiv:1609.05158.
    """
    x, kernel, ndim = check_image_and_kernel("subpixel_conv", x, kernel)
    scales = per_axis("subpixel_conv", "scale", scale, ndim)
    one_of("subpixel_conv", "order", order, ORDERS)
    if kernel.shape[-1] % math.prod(scales):
        raise ValueError(
            f"subpixel_conv: axis O of kernel must be a multiple of prod(scale) = {math.prod(scales)}; "
            f"got {kernel.shape[-1]}."
        )
    low = correlate("subpixel_conv", x, kernel, padding=padding, precision=precision, method=method)
    return depth_to_space(low, block=scales, order=order)

"""Kernels with equal DC gains on every output phase (condition 2): by construction, or by projection.

By construction h = p * box, the box as long as the stride on every axis. In one dimension that is every kernel with
equal gains; in more, box by box is sufficient only: at stride s in D dimensions, equal gains leave k^D - s^D + 1 of a
pair's k^D taps free, and p has (k - s + 1)^D (k = 4, s = 2 in the plane: 13 and 9). The projection keeps all of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import AXES, LAYOUTS, PerAxis, as_inexact, at_least_float32, check_kernel, one_of, per_axis
from checkerjax.ops import deconv_from_resize, project_equal_gains
from checkerjax.ops._phases import fold_phases
from checkerjax.ops._shuffle import ORDERS


@dataclasses.dataclass(frozen=True)
class KernelPhases:
    """Which output phase each tap of a kernel feeds; a stride alone means `KernelPhases(stride)`.

    A transposed kernel `[*k, I, O]` may be flipped, and its last axes exchanged (Flax's `transpose_kernel`): that
    changes the names of the phases and of the pairs, and nothing else. With an `order` the parameter is that of a
    sub-pixel convolution: a kernel `[*k, I, prod(stride) O]`, or a bias `[prod(stride) O]`, whose strides are then
    written out, one per axis.
    """

    stride: PerAxis  # output samples per input sample; an int or one per axis, at least 1
    dilation: PerAxis = 1  # of a transposed kernel; an int or one per axis, at least 1
    order: str | None = None  # of a sub-pixel kernel: "depth_first" or "channel_first", as in `depth_to_space`


def as_phases(rule: PerAxis | KernelPhases) -> KernelPhases:
    """A rule as people write it: a stride, or all of it."""
    return rule if isinstance(rule, KernelPhases) else KernelPhases(rule)


def expand_equal_gains(p: jax.Array, stride: PerAxis) -> jax.Array:
    """The transposed kernel p * box, whose phases have equal DC gains for any p: that of a nearest resize-convolution.

    Equal gains in the sense of condition 2, for every channel pair, and to rounding: a flat input gives a flat output
    away from borders, whatever p is trained to. In one dimension every kernel with equal gains is of this form; in
    more dimensions some are not.

    Args:
      p: `[*q, I, O]`, with 1, 2 or 3 spatial axes; any floating dtype. Initialise it as the kernel of a convolution.
      stride: of the transposed convolution, s; an int or one per axis, at least 1.

    Returns:
      `[*(q + s - 1), I, O]`, of p's dtype; summed in at least float32. With a dilation coprime to the stride the gains
      are equal too.

    Raises:
      ValueError: for a wrong rank, an empty p, or a stride below 1.
      TypeError: for a dtype that is not floating.

    Example:
      >>> expand_equal_gains(jnp.array([1.0, 10.0]).reshape(2, 1, 1), 2).ravel()
      Array([ 1., 11., 10.], dtype=float32)

    References:
      Sugawara, Shiota and Kiya, arXiv:1806.02658. Kinoshita and Kiya, arXiv:2002.02117 (the hold as a fixed layer).
    """
    p, ndim = check_kernel("expand_equal_gains", p, "p")
    scale = per_axis("expand_equal_gains", "stride", stride, ndim)
    wide = jnp.flip(p.astype(at_least_float32(p.dtype)), range(ndim))
    return deconv_from_resize(wide, scale=scale, padding="VALID").kernel.astype(p.dtype)


def equal_gains_shape(shape: tuple[int, ...], stride: PerAxis) -> tuple[int, ...]:
    """The shape of the p that `expand_equal_gains` makes a kernel of.

    Args:
      shape: of the transposed kernel, `[*k, I, O]`.
      stride: of the transposed convolution, s; an int or one per axis, at least 1 and at most k.

    Returns:
      `(*(k - s + 1), I, O)`.

    Raises:
      ValueError: for a wrong rank, or a kernel shorter than the stride.
      TypeError: for sizes that are no ints.

    Example:
      >>> equal_gains_shape((4, 4, 8, 3), 2)
      (3, 3, 8, 3)
    """
    op = "equal_gains_shape"
    ndim = len(shape) - 2
    if ndim not in LAYOUTS:
        raise ValueError(f"{op}: shape must be that of a HIO, HWIO or DHWIO kernel; got {tuple(shape)}.")
    strides = per_axis(op, "stride", stride, ndim)
    for axis, k, s in zip(AXES[ndim], shape, strides):
        if k < s:
            raise ValueError(
                f"{op}: the kernel must be as long as the stride; got size {k} and stride {s} on axis {axis}. "
                f"Take a size of {s} or more."
            )
    return (*(k - s + 1 for k, s in zip(shape, strides)), *shape[-2:])


def project(op: str, path: str, array: jax.Array, phases: KernelPhases) -> jax.Array:
    """The nearest parameter with equal gains on every phase, for each channel pair; of at least float32."""
    array = checked(op, path, array, phases)
    array = array.astype(at_least_float32(array.dtype))
    if phases.order is not None:
        grid, axis = _subpixel_grid(array, phases)
        gains = grid.sum(_spatial(array), keepdims=True)
        taps = math.prod(array.shape[:-2])
        return (grid + (gains.mean(axis, keepdims=True) - gains) / taps).reshape(array.shape)
    try:
        return project_equal_gains(array, phases.stride, dilation=phases.dilation)
    except ValueError as error:  # the operator knows what is wrong, and this place where it is
        raise ValueError(f"{op}: {path!r}: {str(error).removeprefix('project_equal_gains: ')}") from None


def project_box(op: str, path: str, array: jax.Array, phases: KernelPhases) -> jax.Array:
    """The nearest transposed kernel of the form p * box (least squares); of at least float32."""
    array = checked(op, path, array, phases)
    ndim = array.ndim - 2
    if phases.order is not None:
        raise ValueError(f"{op}: {path!r}: method 'box' is for transposed kernels. Take 'equal_gains'.")
    strides = per_axis(op, f"stride of {path!r}", phases.stride, ndim)
    dilations = per_axis(op, f"dilation of {path!r}", phases.dilation, ndim)
    kernel = array.astype(at_least_float32(array.dtype))
    for axis, (k, s, d) in enumerate(zip(array.shape, strides, dilations)):
        if k < s or math.gcd(s, d) > 1:
            raise ValueError(
                f"{op}: {path!r}: method 'box' needs a kernel as long as the stride and a dilation coprime to it; got "
                f"size {k}, stride {s} and dilation {d} on axis {AXES[ndim][axis]}."
            )
        boxes = np.stack([(np.arange(k) >= j) & (np.arange(k) < j + s) for j in range(k - s + 1)], axis=1).astype(float)
        nearest = jnp.asarray(boxes @ np.linalg.pinv(boxes), kernel.dtype)
        kernel = jnp.moveaxis(jnp.tensordot(nearest, kernel, axes=((1,), (axis,)), precision="highest"), 0, axis)
    return kernel


def gains_of(op: str, path: str, array: jax.Array, phases: KernelPhases) -> jax.Array:
    """DC gain of each phase and channel pair, `[phases, pairs]`; of at least float32."""
    array = checked(op, path, array, phases)
    array = array.astype(at_least_float32(array.dtype))
    if phases.order is not None:
        grid, axis = _subpixel_grid(array, phases)
        folded = jnp.moveaxis(grid.sum(_spatial(array), keepdims=True), axis, 0)
    else:
        ndim = array.ndim - 2
        strides = per_axis(op, f"stride of {path!r}", phases.stride, ndim)
        folded = fold_phases(array, strides, per_axis(op, f"dilation of {path!r}", phases.dilation, ndim))
        folded = folded.reshape(math.prod(strides), -1)
    return folded.reshape(folded.shape[0], -1)


def checked(op: str, path: str, array: jax.Array, phases: KernelPhases) -> jax.Array:
    """The parameter as an array that its rule fits."""
    array = as_inexact(op, repr(path), array)
    ndim = _rank(array, phases)
    if ndim not in LAYOUTS:
        raise ValueError(
            f"{op}: {path!r} must be a kernel, HIO, HWIO or DHWIO; got shape {array.shape}. Name kernels alone, "
            "such as 'up/kernel'; a sub-pixel bias needs an order, and its strides one per axis."
        )
    strides = per_axis(op, f"stride of {path!r}", phases.stride, ndim)
    per_axis(op, f"dilation of {path!r}", phases.dilation, ndim)
    if phases.order is not None:
        one_of(op, f"order of {path!r}", phases.order, ORDERS)
        if array.shape[-1] % math.prod(strides):
            raise ValueError(
                f"{op}: the last axis of {path!r} must be a multiple of prod(stride) = {math.prod(strides)}; got shape "
                f"{array.shape}."
            )
    return array


def _rank(array: jax.Array, phases: KernelPhases) -> int:
    """Spatial axes: of a kernel by its shape, of a sub-pixel bias by its strides, which are one per axis."""
    is_bias = array.ndim == 1 and phases.order is not None and isinstance(phases.stride, Sequence)
    return len(phases.stride) if is_bias and isinstance(phases.stride, Sequence) else array.ndim - 2


def _subpixel_grid(array: jax.Array, phases: KernelPhases) -> tuple[jax.Array, int]:
    """The last axis of a sub-pixel parameter as two, phases and channels; and which of them holds the phases."""
    number = math.prod(np.broadcast_to(phases.stride, _rank(array, phases)).tolist())
    split = (number, -1) if phases.order == "depth_first" else (-1, number)
    return array.reshape(*array.shape[:-1], *split), array.ndim - 1 + (phases.order == "channel_first")


def _spatial(array: jax.Array) -> tuple[int, ...]:
    return tuple(range(array.ndim - 2)) if array.ndim > 1 else ()

"""What each output phase of a transposed convolution receives: sums of taps, and of their squares."""

from __future__ import annotations

import jax
import numpy as np

from checkerjax._checks import PerAxis, at_least_float32, check_kernel, per_axis
from checkerjax.ops._phases import fold_phases


def phase_gains(kernel: jax.Array | np.ndarray, stride: PerAxis, *, dilation: PerAxis = 1) -> jax.Array:
    """Sum of the taps of each output phase: the values of the output, in turn, for an input of ones.

    Where they differ, a flat input gives lines at multiples of 1 / stride (condition 2, `has_equal_gains`).

    Args:
      kernel: `[*k, I, O]` of a transposed convolution, with 1, 2 or 3 spatial axes; any floating dtype.
      stride: s; an int or one per axis, at least 1.
      dilation: d; an int or one per axis, at least 1. Tap j falls on phase d j mod s.

    Returns:
      `[*s, I, O]`, of at least float32. The padding of the transposed convolution rotates the phases.

    Raises:
      ValueError: for a wrong rank, an empty kernel, or a stride or dilation below 1.
      TypeError: for a dtype that is not floating.

    Example:
      >>> phase_gains(np.array([1.0, 2.0, 3.0], "float32").reshape(3, 1, 1), 2).ravel()
      Array([4., 2.], dtype=float32)

    References:
      Sugawara, Shiota and Kiya, Super-resolution using CNNs without any checkerboard artifacts, arXiv:1806.02658.
    """
    kernel, strides, dilations = check_phases("phase_gains", kernel, stride, dilation)
    # Few narrow taps already sum to what a narrow dtype cannot hold, and equal gains would look unequal.
    return fold_phases(kernel.astype(at_least_float32(kernel.dtype)), strides, dilations)


def phase_energies(kernel: jax.Array | np.ndarray, stride: PerAxis, *, dilation: PerAxis = 1) -> jax.Array:
    """Sum of the squared taps of each output phase: the variances of the output, in turn, for white input.

    Where they differ, white noise comes out with a grid in its variance (condition 3, `has_equal_energies`).

    Args:
      kernel: `[*k, I, O]` of a transposed convolution, with 1, 2 or 3 spatial axes; any floating dtype.
      stride: s; an int or one per axis, at least 1.
      dilation: d; an int or one per axis, at least 1.

    Returns:
      `[*s, I, O]`, of at least float32 and real, in the kernel's units squared.

    Raises:
      ValueError: for a wrong rank, an empty kernel, or a stride or dilation below 1.
      TypeError: for a dtype that is not floating.

    Example:
      >>> phase_energies(np.array([1.0, 2.0, 1.0], "float32").reshape(3, 1, 1), 2).ravel()
      Array([2., 4.], dtype=float32)
    """
    kernel, strides, dilations = check_phases("phase_energies", kernel, stride, dilation)
    kernel = kernel.astype(at_least_float32(kernel.dtype))
    return fold_phases((kernel * kernel.conj()).real, strides, dilations)


def check_phases(
    op: str, kernel: object, stride: PerAxis, dilation: PerAxis
) -> tuple[jax.Array, tuple[int, ...], tuple[int, ...]]:
    """A kernel, and its strides and dilations per axis."""
    array, ndim = check_kernel(op, kernel)
    return array, per_axis(op, "stride", stride, ndim), per_axis(op, "dilation", dilation, ndim)

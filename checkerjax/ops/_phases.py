"""The output phase that each kernel tap falls on, and what that says about a kernel."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import AXES, PerAxis, at_least_float32, check_kernel, per_axis


def phase_members(kernel_size: int, stride: int, dilation: int) -> np.ndarray:
    """0/1 matrix `[stride, k]`: tap j of a transposed kernel falls on phase (d j) mod s, up to padding's rotation."""
    return (dilation * np.arange(kernel_size) % stride == np.arange(stride)[:, None]).astype(np.int64)


def fold_phases(kernel: jax.Array, strides: tuple[int, ...], dilations: tuple[int, ...]) -> jax.Array:
    """Sums of the taps of each phase, `[*s, I, O]`."""
    for axis, (s, d) in enumerate(zip(strides, dilations)):
        members = jnp.asarray(phase_members(kernel.shape[axis], s, d), kernel.dtype)
        kernel = jnp.moveaxis(jnp.tensordot(members, kernel, axes=((1,), (axis,)), precision="highest"), 0, axis)
    return kernel


def project_equal_gains(kernel: jax.Array, stride: PerAxis, *, dilation: PerAxis = 1) -> jax.Array:
    """The nearest transposed kernel (least squares) with equal DC gains on every phase, for each channel pair.

    A transposed convolution with it turns a flat input into a flat output away from the border (condition 2).

    Args:
      kernel: `[*k, I, O]`, with 1, 2 or 3 spatial axes; any floating dtype.
      stride: of the transposed convolution, s; an int or one per axis, at least 1.
      dilation: of the kernel; an int or one per axis, at least 1.

    Returns:
      `[*k, I, O]`. With g_r the gain and c_r the taps of phase r, every tap of phase r moves by (G - g_r) / c_r, where
      G = sum(g_r / c_r) / sum(1 / c_r); a kernel with equal gains does not move.

    Raises:
      ValueError: for a wrong rank, or where a phase gets no tap (k < s, say): then only a zero gain would be equal.
      TypeError: for a dtype that is not floating.

    Example:
      >>> project_equal_gains(jnp.ones((3, 1, 1)), 2).ravel()
      Array([0.6666667, 1.3333334, 0.6666667], dtype=float32)

    References:
      Condition 2: Sugawara, Shiota and Kiya, arXiv:1806.02658. The projection is the least-squares one.
    """
    kernel, ndim = check_kernel("project_equal_gains", kernel)
    strides = per_axis("project_equal_gains", "stride", stride, ndim)
    dilations = per_axis("project_equal_gains", "dilation", dilation, ndim)
    members = [phase_members(k, s, d) for k, s, d in zip(kernel.shape, strides, dilations)]
    for axis, k, s, d, member in zip(AXES[ndim], kernel.shape, strides, dilations, members):
        if not member.any(axis=1).all():
            raise ValueError(
                f"project_equal_gains: a phase of axis {axis} gets no tap (size {k}, stride {s}, dilation "
                f"{d}); take a kernel of size {s} or more, and a dilation coprime to the stride."
            )
    counts = np.ones(())
    for member in members:
        counts = np.multiply.outer(counts, member.sum(axis=1))
    # Means and gains are summed over few taps; narrow dtypes would leave gains unequal in their last bits.
    wide = at_least_float32(kernel.dtype)
    weights = jnp.asarray(1 / counts[..., None, None], wide)
    gains = fold_phases(kernel.astype(wide), strides, dilations)
    spatial = tuple(range(ndim))
    target = (gains * weights).sum(spatial) / float(math.fsum((1 / counts).ravel()))
    moves = (target - gains) * weights
    for axis, member in enumerate(members):
        moves = jnp.take(moves, member.argmax(axis=0), axis=axis)
    return (kernel.astype(wide) + moves).astype(kernel.dtype)

"""Transposed-convolution weights of PyTorch and Keras in the layouts of Flax and of `checkerjax.ops`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from checkerjax._checks import LAYOUTS, as_inexact, as_int, check_not_empty, one_of

TARGETS = ("flax", "flax_transposed", "ops")


def import_transposed(weight: Any, *, layout: str, groups: int = 1, target: str = "flax") -> jax.Array:
    """A transposed-convolution weight of PyTorch or Keras as a kernel for Flax or `ops`.

    Both stamp their weight unflipped, as `ops.conv_transpose` does; Flax's layer stamps it flipped, unless it has
    transpose_kernel=True. Biases need no change, paddings do. PyTorch's padding p and output_padding a are those of
    `ops.conv_transpose`; to Flax they are one pair per axis, (d (k - 1) - p, d (k - 1) - p + a). Keras's "same" and
    "valid" are "SAME" and "VALID" of both. Where its layer is given an output_padding a, the pair for Flax is, with
    q = d (k - 1) + 1, (q - 1, q - 1 + a) for "valid", and for "same" (l, t - l) with t = q + q mod 2 - 2 + a and
    l = min(t - t // 2, q - 1).

    Args:
      weight: of PyTorch's `ConvTranspose1d`, `2d` or `3d`, `[I, O / groups, *k]`, or of Keras's `Conv1DTranspose`,
        `Conv2DTranspose` or `Conv3DTranspose`, `[*k, O, I]`; an array of any library that NumPy reads.
      layout: "pytorch" or "keras".
      groups: of the PyTorch layer; the kernel keeps PyTorch's blocks, as `ops.conv_transpose` takes them. Keras and
        Flax's own layers have none.
      target: "flax" (`[*k, I, O / groups]`, flipped), "flax_transposed" (`[*k, O / groups, I]`, for
        transpose_kernel=True) or "ops" (`[*k, I, O / groups]`, unflipped).

    Returns:
      The kernel, with 1, 2 or 3 spatial axes, of the weight's dtype.

    Raises:
      ValueError: for a wrong rank, unknown names, groups that do not divide I, or groups with Keras's layout.
      TypeError: for a dtype that is not floating.

    Example:
      >>> import_transposed(jnp.array([[[1.0, 2.0, 3.0]]]), layout="pytorch").ravel()
      Array([3., 2., 1.], dtype=float32)
    """
    op = "import_transposed"
    weight = as_inexact(op, "weight", weight)
    one_of(op, "layout", layout, ("pytorch", "keras"))
    one_of(op, "target", target, TARGETS)
    groups = as_int(op, "groups", groups, minimum=1)
    ndim = weight.ndim - 2
    if ndim not in LAYOUTS:
        axes = "[I, O / groups, *k]" if layout == "pytorch" else "[*k, O, I]"
        raise ValueError(f"{op}: weight must be {axes} with 1, 2 or 3 spatial axes; got shape {weight.shape}.")
    check_not_empty(op, "weight", weight)
    if groups > 1 and layout == "keras":
        raise ValueError(f"{op}: Keras's transposed layers have no groups; got groups={groups}.")
    if layout == "pytorch":
        weight = jnp.moveaxis(weight, (0, 1), (-1, -2))  # now [*k, O / groups, I], as Keras has it
    if weight.shape[-1] % groups:
        raise ValueError(f"{op}: axis I of weight must be a multiple of groups={groups}; got {weight.shape[-1]}.")
    if target == "flax_transposed":
        return weight
    weight = weight.swapaxes(-1, -2)
    return jnp.flip(weight, range(ndim)) if target == "flax" else weight

"""Padding of the spatial axes, in every mode that networks use."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from checkerjax._checks import Padding as PaddingLike
from checkerjax._checks import Pads, check_field, one_of, pad_pairs

PAD_MODES = {"zeros": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}


def pad(x: jax.Array, padding: PaddingLike, *, mode: str = "zeros") -> jax.Array:
    """Extends the spatial axes of a field.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; any floating dtype.
      padding: an int, or one (low, high) pair per axis.
      mode: "zeros", "edge", "reflect" (without the border sample), "symmetric" (with it) or "wrap".

    Returns:
      `[N, *(low + spatial + high), C]`.

    Raises:
      ValueError: for a wrong rank, an unknown mode, or a padding without numbers ("SAME", "VALID").
      TypeError: for a dtype that is not floating.

    Example:
      >>> pad(jnp.arange(3.0).reshape(1, 3, 1), [(2, 1)], mode="reflect").ravel()
      Array([2., 1., 0., 1., 2., 1.], dtype=float32)
    """
    x, ndim = check_field("pad", x)
    pairs = pad_pairs("pad", padding, ndim)
    if isinstance(pairs, str):
        raise ValueError(f"pad: padding must be an int or one (low, high) pair per axis; got {padding!r}.")
    one_of("pad", "mode", mode, tuple(PAD_MODES))
    return pad_as("pad", x, pairs, mode)


def pad_as(op: str, x: jax.Array, pairs: Pads, mode: str) -> jax.Array:
    """`pad` on behalf of the operator named `op`, its field and pairs already checked."""
    one_of(op, "pad_mode", mode, tuple(PAD_MODES))
    return jnp.pad(x, ((0, 0), *pairs, (0, 0)), mode=PAD_MODES[mode])

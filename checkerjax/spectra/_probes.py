"""The two inputs that make statistics of different programs comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import LAYOUTS, as_int


def flat_probe(key: jax.Array, shape: Sequence[int], *, dtype: str | np.dtype = "float32") -> jax.Array:
    """Fields constant in space: lines in a program's response to them are its first-order artifact.

    Args:
      key: of `jax.random.key`.
      shape: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes.
      dtype: of the result, real and floating; narrow ones are the rounded float32 draw.

    Returns:
      An array of `shape`: one N(0, 1) number per sample and channel, independent, repeated over space.

    Raises:
      ValueError: for a shape that is none of a field, or empty.
      TypeError: for a key that is none, or a dtype that is not real and floating.

    Example:
      >>> x = flat_probe(jax.random.key(0), (2, 4, 4, 3))
      >>> x.shape, bool((x == x[:, :1, :1]).all())
      ((2, 4, 4, 3), True)

    References:
      The step input of Sugawara, Shiota and Kiya, arXiv:1806.02658, with random channels.
    """
    shape = _field_shape("flat_probe", shape)
    ones = (1,) * (len(shape) - 2)
    return jnp.broadcast_to(_normal("flat_probe", key, (shape[0], *ones, shape[-1]), dtype), shape)


def white_probe(key: jax.Array, shape: Sequence[int], *, dtype: str | np.dtype = "float32") -> jax.Array:
    """White noise: unequal phase powers in a program's response to it are its second-order artifact.

    Args:
      key: of `jax.random.key`.
      shape: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes.
      dtype: of the result, real and floating; narrow ones are the rounded float32 draw.

    Returns:
      An array of `shape`: independent N(0, 1) numbers.

    Raises:
      ValueError: for a shape that is none of a field, or empty.
      TypeError: for a key that is none, or a dtype that is not real and floating.

    Example:
      >>> white_probe(jax.random.key(0), (2, 4, 4, 3), dtype="bfloat16").dtype
      dtype(bfloat16)

    References:
      Sathe and Vaidyanathan, Effects of multirate systems on the statistical properties of random signals, IEEE
      Trans. SP 41(1), 1993.
    """
    return _normal("white_probe", key, _field_shape("white_probe", shape), dtype)


def _field_shape(op: str, shape: Any) -> tuple[int, ...]:
    if isinstance(shape, str) or not isinstance(shape, (Sequence, np.ndarray)) or len(shape) - 2 not in LAYOUTS:
        raise ValueError(f"{op}: shape must be NHC, NHWC or NDHWC; got {shape!r}.")
    layout = LAYOUTS[len(shape) - 2][0]
    return tuple(as_int(op, f"shape on axis {axis}", n, minimum=1) for axis, n in zip(layout, shape))


def _normal(op: str, key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    if not isinstance(key, jax.Array) or not (
        jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or (key.dtype == np.uint32 and key.ndim == 1)
    ):
        raise TypeError(f"{op}: key must be a key; got {key!r}. Make one with jax.random.key(seed).")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{op}: dtype must be real and floating; got {dtype!r}.")
    wide = "float64" if jnp.dtype(dtype) == np.float64 else "float32"
    return jax.random.normal(key, shape, wide).astype(dtype)

"""The mesh axes that an array varies over inside `jax.shard_map`; empty elsewhere."""

from __future__ import annotations

from typing import Any

import jax
from jax import lax


def varying(x: jax.Array) -> frozenset[str]:
    """The axes; JAX has moved this attribute between releases."""
    aval: Any = jax.typeof(x)
    return frozenset(aval.vma if hasattr(aval, "vma") else aval.manual_axis_type.varying)


def vary_over(x: jax.Array, axes: frozenset[str]) -> jax.Array:
    """`x` as one that varies over `axes` too; the transpose sums over them."""
    return lax.pcast(x, tuple(axes), to="varying") if axes else x

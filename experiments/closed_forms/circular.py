"""Stacks on a torus: circular borders for every layer, by padding with what lies at the other end and cropping it off.

Batch norm looks at the whole field, borders too, so a stack that has one equals its closed form only without borders.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from checkerjax import stacks

REACH = 6  # samples that are added at each end: more than any layer here reads, and a multiple of its stride


def apply(params: tuple, stack: tuple[stacks.Layer, ...], x: jax.Array) -> jax.Array:
    """`stacks.apply` with circular borders, of a field whose size the strides divide."""
    for entry, layer in zip(params, stack):
        x = _layer(entry, layer, x)
    return x


def _layer(entry: Any, layer: Any, x: jax.Array) -> jax.Array:
    if isinstance(layer, stacks.Residual):
        return x + apply(entry, layer.stack, x)
    if isinstance(layer, stacks.Parallel):
        outs = [apply(own, branch, x) for own, branch in zip(entry, layer.stacks)]
        return sum(outs[1:], start=outs[0]) if layer.combine == "sum" else jnp.concatenate(outs, -1)
    if isinstance(layer, (*stacks.POINTWISE, stacks.Dense)):
        return stacks.apply((entry,), (layer,), x, precision="highest")
    sizes = x.shape[1:-1]
    inputs, outputs = stacks.periods((layer,), len(sizes))
    x = jnp.pad(x, [(0, 0), *((REACH, REACH) for _ in sizes), (0, 0)], mode="wrap")
    y = stacks.apply((entry,), (layer,), x, precision="highest")
    starts = [REACH // m * p for m, p in zip(inputs, outputs)]
    counts = [n // m * p for n, m, p in zip(sizes, inputs, outputs)]
    return y[(slice(None), *(slice(start, start + n) for start, n in zip(starts, counts)))]

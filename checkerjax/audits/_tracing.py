"""The program of a function, as JAX reads it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.core
from jax.extend.core import ClosedJaxpr

from checkerjax.audits._failures import SIDE_EFFECT
from checkerjax.audits._jax_internals import own_traces


def trace(op: str, fn: Callable[..., Any], *args: Any) -> ClosedJaxpr:
    """`jax.make_jaxpr`, which by itself takes arrays kept from another call for constants, and lets others be kept."""
    inputs: list[weakref.ref[Any]] = []  # whatever is made from them holds them

    def watched(*args: Any) -> Any:
        inputs.extend(weakref.ref(leaf) for leaf in jax.tree.leaves(args) if isinstance(leaf, jax.core.Tracer))
        return fn(*args)

    with own_traces():
        closed = jax.make_jaxpr(watched)(*args)
    kept = [constant for constant in closed.consts if isinstance(constant, jax.core.Tracer)] or _alive(inputs)
    if kept:
        cause = jax.errors.UnexpectedTracerError(f"an array outlives its call: {kept[0].aval}, or what is made from it")
        raise ValueError(f"{op}: fn {SIDE_EFFECT}.") from cause
    return closed


def _alive(references: list[weakref.ref[Any]]) -> list[Any]:
    """What somebody still holds, after cycles of objects that nobody holds are collected: young ones first."""
    for generation in (1, 2):
        if all(reference() is None for reference in references):
            return []
        gc.collect(generation)
    return [held for held in (reference() for reference in references) if held is not None]

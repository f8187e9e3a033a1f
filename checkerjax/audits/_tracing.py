"""The program of a function, as JAX reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.core
from jax.extend.core import ClosedJaxpr

from checkerjax.audits._failures import SIDE_EFFECT


def trace(op: str, fn: Callable[..., Any], *args: Any) -> ClosedJaxpr:
    """`jax.make_jaxpr`, which by itself takes arrays that were kept from another call for constants."""
    closed = jax.make_jaxpr(fn)(*args)
    if any(isinstance(constant, jax.core.Tracer) for constant in closed.consts):
        raise ValueError(f"{op}: fn {SIDE_EFFECT}.")
    return closed

"""The program of an input gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from checkerjax.audits._failures import explained
from checkerjax.audits._subjects import Subject
from checkerjax.audits._tracing import trace


def input_gradient(subject: Subject, wanted: Callable[[Any], list[Any]]) -> Callable[..., list[jax.Array]]:
    """(parameters, data, cotangents) -> the gradient of each floating data input; `wanted` picks the outputs."""

    def gradient(parameters: Any, data: Sequence[Any], cotangents: Sequence[Any]) -> list[jax.Array]:
        at = [i for i, x in enumerate(data) if jnp.issubdtype(x.dtype, jnp.floating)]

        def forward(*moved: Any) -> list[Any]:
            full = list(data)
            for i, x in zip(at, moved):
                full[i] = x
            return wanted(subject.call(parameters, tuple(full)))

        _, pullback = jax.vjp(forward, *(data[i] for i in at))
        return list(pullback(list(cotangents)))

    return gradient


def loss_gradient(subject: Subject) -> Callable[..., list[jax.Array]]:
    """(parameters, data, seed [1]) -> the gradient of the subject's loss by each floating data input, times seed."""
    loss = subject.loss
    assert loss is not None

    def gradient(parameters: Any, data: Sequence[Any], seed: jax.Array) -> list[jax.Array]:
        at = [i for i, x in enumerate(data) if jnp.issubdtype(x.dtype, jnp.floating)]

        def forward(*moved: Any) -> jax.Array:
            full = list(data)
            for i, x in zip(at, moved):
                full[i] = x
            return loss(subject.call(parameters, tuple(full)))

        value, pullback = jax.vjp(forward, *(data[i] for i in at))
        return list(pullback(seed.reshape(()).astype(value.dtype)))

    return gradient


def traced(op: str, fn: Callable[..., Any], *args: Any) -> Any:
    """The jaxpr of a function, its failure told as one sentence."""
    with explained(op):
        return trace(op, fn, *args)

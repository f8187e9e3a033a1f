"""The programs of a subject: its outputs, the gradient of its input, that of its loss, each read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from checkerjax.audits._backward import input_gradient, loss_gradient, traced
from checkerjax.audits._failures import first_line
from checkerjax.audits._graph import Roles, field_roles
from checkerjax.audits._model import leaf_names
from checkerjax.audits._reading import Reading, read
from checkerjax.audits._subjects import Subject


def arrays_of(out: Any) -> list[Any]:
    """The floating arrays of an output."""
    return [a for a in jax.tree.leaves(out) if _is_floating(a)]


def _is_floating(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def read_forward(op: str, subject: Subject, layout: str) -> Reading:
    """The program of a subject's floating outputs.

    Raises:
      ValueError: if there are none.
    """
    names: list[str] = []

    def outputs(parameters: Any, data: Any) -> list[Any]:
        out = subject.call(parameters, data)
        pairs = zip(leaf_names(out), jax.tree.leaves(out))
        names[:] = [name for name, array in pairs if _is_floating(array)]
        return arrays_of(out)

    closed = traced(op, outputs, subject.parameters, subject.data)
    if not closed.out_avals:
        raise ValueError(f"{op}: fn must return a floating array; it returns none.")
    arrays, at = _inputs(subject)
    return read(closed, arrays, at, [layout] * len(at), names=names)


def _inputs(subject: Subject) -> tuple[list[Any], list[int]]:
    """All arrays, and which of them are data."""
    first = len(subject.parameters)
    return [*subject.parameters, *subject.data], list(range(first, first + len(subject.data)))


def _gradient_names(subject: Subject) -> list[str]:
    return [name for name, x in zip(subject.data_names, subject.data) if _is_floating(x)]


def read_input_gradient(op: str, subject: Subject, forward: Reading, layout: str) -> tuple[Reading | None, list[str]]:
    """The program of the input's gradient, of all outputs together; None where there is none, with a note."""
    if not any(_is_floating(x) for x in subject.data) or not forward.ends:
        return None, []
    arrays, context = _inputs(subject)
    try:
        gradient = input_gradient(subject, arrays_of)
        ends = [forward.program.avals[v] for v in forward.program.outputs]
        cotangents = [jnp.zeros(a.shape, a.dtype) for a in ends]
        closed = traced(op, gradient, subject.parameters, subject.data, cotangents)
    except (TypeError, ValueError) as error:
        return None, [f"The gradient of the input was left out: {first_line(error.__cause__ or error)}."]
    at = [len(arrays) + i for i in range(len(cotangents))]
    layouts: list[str | Roles] = [_roles_of(forward, i, a.ndim, layout) for i, a in enumerate(cotangents)]
    names = _gradient_names(subject)
    return read(closed, [*arrays, *cotangents], at, layouts, context=tuple(context), names=names), []


def _roles_of(forward: Reading, i: int, ndim: int, layout: str) -> str | Roles:
    """The roles of the axes of an output."""
    node = forward.graph.whole(forward.program.outputs[i])
    return field_roles(ndim, layout) if node is None else forward.graph.nodes[node].roles


def read_loss_gradient(op: str, subject: Subject, layout: str) -> Reading:
    """The program of the gradient of the subject's loss by its input.

    What follows the loss depends on where its gradient starts, with 1: a seed, by which the reading tells it from the
    model and the loss themselves, even where the gradient does not depend on the data.
    """
    arrays, at = _inputs(subject)
    seed = jnp.ones((1,), jnp.float32)  # one axis: what has two is drawn anew
    closed = traced(op, loss_gradient(subject), subject.parameters, subject.data, seed)
    layouts: Sequence[str] = [layout] * len(at)
    return read(closed, [*arrays, seed], at, layouts, seeds=(len(arrays),), names=_gradient_names(subject))

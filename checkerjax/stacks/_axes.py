"""One axis of a stack, as a stack with one axis: what separates along axes is decided on each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import Layer, Stack
from checkerjax.stacks._plan import place_of
from checkerjax.stacks._text import as_stack


def along_axis(stack: str | Layer | Sequence[Layer], axis: int, ndim: int, *, op: str = "along_axis") -> Stack:
    """A stack as one of its axes has it.

    Args:
      stack: text, a layer or a sequence of layers.
      axis: which one, from 0.
      ndim: spatial axes that the stack is meant for, 1 to 3.
      op: named in errors.

    Returns:
      The stack with the sizes of that axis, for fields with one axis.

    Raises:
      ValueError: for sizes that are given for another number of axes, or an axis that there is not.

    Example:
      >>> along_axis("deconv k5x3 s2x1", 0, 2)[0].kernel
      5
    """
    if not 0 <= axis < ndim:
        raise ValueError(f"{op}: axis must be from 0 to {ndim - 1}; got {axis}.")
    return _stack(f"{op}: ", as_stack(op, stack), axis, ndim)


def _stack(prefix: str, stack: Stack, axis: int, ndim: int) -> Stack:
    return tuple(_layer(place_of(prefix, i, layer), layer, axis, ndim) for i, layer in enumerate(stack))


def _layer(op: str, layer: Any, axis: int, ndim: int) -> Any:
    if isinstance(layer, layers.Residual):
        return layers.Residual(_stack(f"{op}: ", layer.stack, axis, ndim))
    if isinstance(layer, layers.Parallel):
        branches = (_stack(f"{op}: branch {i + 1}, ", b, axis, ndim) for i, b in enumerate(layer.stacks))
        return layers.Parallel(tuple(branches), layer.combine)
    own = {}
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, tuple):
            if len(value) != ndim:
                raise ValueError(f"{op}: {field.name} is for {len(value)} axes; expected ndim={ndim}.")
            own[field.name] = (value[axis],) if field.name == "padding" else value[axis]
    return dataclasses.replace(layer, **own)

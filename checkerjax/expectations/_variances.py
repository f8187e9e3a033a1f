"""What the layers of a stack add up: the variance that each of them brings, shaped as its parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from checkerjax._checks import per_axis
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import LEARNED, Layer, Parallel, Residual, Stack, StackLike
from checkerjax.stacks._plan import Draw, Width, plan_stack
from checkerjax.stacks._text import as_stack


class Weights(NamedTuple):
    """The independent zero-mean weights of one learned layer."""

    power: Any  # variance of a weight times the input channels that one output channel sums over, for each tap
    tied: bool  # the phases share their weights (initialiser "icnr")
    inputs: int  # channels in
    features: int  # channels out


def stack_weights(
    op: str,
    stack: StackLike,
    *,
    channels: int,
    ndim: int,
    width: Width = 16,
    initialiser: str = "lecun",
    gains: Sequence[Any] | None = None,
) -> tuple:
    """The variances of a stack's parameters.

    Args:
      op: named in errors.
      stack: text, a layer or a sequence of layers.
      channels: C of the input.
      ndim: spatial axes.
      width: as in `init`.
      initialiser: as in `init`.
      gains: numbers that multiply the variances, one for each learned layer in reading order; traced ones too.

    Returns:
      One entry per layer: `Weights` of a learned one, the std of a `Bias`, a tuple of entries for a residual, a tuple
      of those for parallel stacks, None for the others.

    Raises:
      ValueError: as `init`, or for a wrong number of gains.
      TypeError: as `init`.
    """
    stack = as_stack(op, stack)
    plan, _ = plan_stack(op, stack, channels, ndim, width, initialiser)
    learned = _count_learned(stack)
    if gains is None:
        gains = (1.0,) * learned
    if len(gains) != learned:
        raise ValueError(
            f"{op}: gains must have one number for each of the {learned} learned layers, in reading order; "
            f"got {len(gains)}."
        )
    return _entries(stack, plan, iter(gains))


def _count_learned(stack: Stack) -> int:
    return sum(
        sum(_count_learned(inner) for inner in _inner(layer)) if _inner(layer) else isinstance(layer, LEARNED)
        for layer in stack
    )


def _inner(layer: Layer) -> tuple[Stack, ...]:
    if isinstance(layer, Residual):
        return (layer.stack,)
    return layer.stacks if isinstance(layer, Parallel) else ()


def _entries(stack: Stack, plan: tuple, gains: Iterator[Any]) -> tuple:
    return tuple(_entry(layer, drawn, gains) for layer, drawn in zip(stack, plan))


def _entry(layer: Any, drawn: Any, gains: Iterator[Any]) -> Any:
    if isinstance(layer, Residual):
        return _entries(layer.stack, drawn, gains)
    if isinstance(layer, Parallel):
        return tuple(_entries(branch, own, gains) for branch, own in zip(layer.stacks, drawn))
    if isinstance(layer, layers.Bias):
        return layer.std
    return _weights(layer, drawn["kernel"], next(gains)) if isinstance(layer, LEARNED) else None


def _weights(layer: Any, draw: Draw, gain: Any) -> Weights:
    tied = draw.tie is not None
    inputs, features = draw.shape[0 if isinstance(layer, layers.Dense) else -2], draw.shape[-1]
    summed = inputs
    if isinstance(layer, layers.Conv):
        inputs *= layer.groups  # the kernel has the inputs of one group
    elif isinstance(layer, layers.Deconv):
        summed //= layer.groups  # the kernel has all inputs, and the outputs of one group
        features *= layer.groups
    elif isinstance(layer, layers.SubPixel) and not tied:
        features //= math.prod(per_axis("subpixel", "scale", layer.scale, len(draw.shape) - 2))
    return Weights(draw.std**2 * summed * gain, tied, inputs, features)

"""What a stack draws: the shape, scale and tie of each parameter, and the channels between layers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from checkerjax import ops
from checkerjax._checks import as_int, one_of, pad_pairs, per_axis
from checkerjax.stacks._layers import (
    INITIALISERS,
    LEARNED,
    SIZES,
    Bias,
    Conv,
    Deconv,
    Dense,
    Layer,
    Parallel,
    Residual,
    ResizeConv,
    Stack,
    StackLike,
    SubPixel,
    check_initialiser,
    normal_std,
)
from checkerjax.stacks._text import as_stack, format_stack

Width = int | Sequence[int]


class Draw(NamedTuple):
    """How many normals one parameter takes, and what becomes of them."""

    shape: tuple[int, ...]
    std: float
    tie: Callable[[jax.Array], jax.Array] | None = None


class _Choices(NamedTuple):
    ndim: int | None  # None: channels only, no shapes
    widths: Iterator[int]
    initialiser: str


def place_of(prefix: str, index: int, layer: Layer) -> str:
    """Where a layer stands, for errors: "layer 3 (deconv k5 s2)", counted from 1."""
    return f"{prefix}layer {index + 1} ({format_stack(layer)})"


def plan_stack(
    op: str, stack: StackLike, channels: int, ndim: int | None, width: Width, initialiser: str
) -> tuple[tuple, int]:
    """The tree of draws, shaped as the parameters, and the output channels; errors begin with `op`."""
    layers = as_stack(op, stack)
    channels = as_int(op, "channels", channels, minimum=1)
    if ndim is not None and as_int(op, "ndim", ndim) not in (1, 2, 3):
        raise ValueError(f"{op}: ndim must be 1, 2 or 3; got {ndim}.")
    if initialiser is None:
        one_of(op, "initialiser", initialiser, (*INITIALISERS, "normal(std)"))
    choices = _Choices(ndim, _widths(op, layers, width), check_initialiser(op, "initialiser", initialiser))
    return _plan_layers(f"{op}: ", layers, channels, choices, None)


def _widths(op: str, layers: Stack, width: Width) -> Iterator[int]:
    needed = _open_layers(layers, kept=False)
    if isinstance(width, (list, tuple)):
        if len(width) != needed:
            raise ValueError(
                f"{op}: width must be an int or {needed} ints, one for each learned layer without features in reading "
                f"order (the last one of a residual branch keeps what comes in); got {len(width)}: {width!r}."
            )
        return iter([as_int(op, f"width[{i}]", w, minimum=1) for i, w in enumerate(width)])
    return iter([as_int(op, "width", width, minimum=1)] * needed)


def _open_layers(stack: Stack, *, kept: bool) -> int:
    """Learned layers that take a width; `kept`: the last that sets the channels takes the number that comes in."""
    last, total = _last_setter(stack) if kept else None, 0
    for i, layer in enumerate(stack):
        if isinstance(layer, Residual):
            total += _open_layers(layer.stack, kept=True)
        elif isinstance(layer, Parallel):
            keep = i == last and layer.combine == "sum"
            total += sum(_open_layers(branch, kept=keep) for branch in layer.stacks)
        elif isinstance(layer, LEARNED):
            total += layer.features is None and i != last
    return total


def _last_setter(stack: Stack) -> int | None:
    """Index of the last layer whose output may have another number of channels than its input."""
    return max((i for i, layer in enumerate(stack) if _sets_channels(layer)), default=None)


def _sets_channels(layer: Layer) -> bool:
    if isinstance(layer, Parallel):
        return layer.combine == "concat" or any(_sets_channels(inner) for branch in layer.stacks for inner in branch)
    return isinstance(layer, LEARNED)


def _plan_layers(prefix: str, stack: Stack, channels: int, choices: _Choices, keep: int | None) -> tuple[tuple, int]:
    last, plan = None if keep is None else _last_setter(stack), []
    for i, layer in enumerate(stack):
        entry, channels = _plan_layer(place_of(prefix, i, layer), layer, channels, choices, keep if i == last else None)
        plan.append(entry)
    return tuple(plan), channels


def _plan_layer(place: str, layer: Layer, channels: int, choices: _Choices, keep: int | None) -> tuple[Any, int]:
    """What a layer draws, and its output channels; `keep`: the channels that it should give if it is free."""
    if isinstance(layer, Residual):
        plan, out = _plan_layers(f"{place}: ", layer.stack, channels, choices, channels)
        if out != channels:
            raise ValueError(
                f"{place}: the inner stack must keep the {channels} channels that come in; it gives {out}. "
                f"Give its last learned layer features={channels} or None."
            )
        return plan, out
    if isinstance(layer, Parallel):
        return _plan_parallel(place, layer, channels, choices, keep)
    if choices.ndim is not None:
        _check_rank(place, layer, choices.ndim)
    if isinstance(layer, Bias):
        return {"bias": Draw((channels,), layer.std)}, channels
    if not isinstance(layer, LEARNED):
        return {}, channels
    features = layer.features or keep or next(choices.widths)
    _check_groups(place, getattr(layer, "groups", 1), channels, features)
    if choices.ndim is None:
        return {}, features
    return {"kernel": _kernel(place, layer, channels, features, choices.ndim, choices.initialiser)}, features


def _plan_parallel(
    place: str, layer: Parallel, channels: int, choices: _Choices, keep: int | None
) -> tuple[tuple, int]:
    plans, outs = [], []
    for i, branch in enumerate(layer.stacks):
        inner = keep if layer.combine == "sum" else None
        plan, out = _plan_layers(f"{place}: branch {i + 1}, ", branch, channels, choices, inner)
        plans.append(plan)
        outs.append(out)
    if layer.combine == "sum" and len(set(outs)) > 1:
        raise ValueError(f"{place}: branches that are summed must give equal numbers of channels; got {outs}.")
    return tuple(plans), sum(outs) if layer.combine == "concat" else outs[0]


def _check_rank(place: str, layer: Layer, ndim: int) -> None:
    for name in SIZES:
        if hasattr(layer, name):
            per_axis(place, name, getattr(layer, name), ndim, minimum=0)
    if hasattr(layer, "padding"):
        pad_pairs(place, getattr(layer, "padding"), ndim)  # noqa: B009 (the base class has no such field)


def _check_groups(place: str, groups: int, channels: int, features: int) -> None:
    if channels % groups or features % groups:
        raise ValueError(
            f"{place}: groups must divide the channels that come in and go out; got groups={groups}, "
            f"{channels} in, {features} out."
        )


def _kernel(place: str, layer: Any, channels: int, features: int, ndim: int, initialiser: str) -> Draw:
    initialiser = layer.initialiser or initialiser
    shape, fan_in = _kernel_shape(place, layer, channels, features, ndim)
    std = normal_std(initialiser)
    if std is None:
        std = math.sqrt((2 if initialiser == "he" else 1) / fan_in)
    if initialiser == "icnr" and isinstance(layer, SubPixel):
        base = (*shape[:-1], features)
        return Draw(base, std, functools.partial(ops.icnr, scale=layer.scale, order=layer.order))
    if initialiser == "icnr" and isinstance(layer, Deconv):
        check_tieable(place, layer, ndim)
        return Draw(shape, std, functools.partial(ops.icnr_transpose, stride=layer.stride))
    return Draw(shape, std)


def _kernel_shape(place: str, layer: Any, channels: int, features: int, ndim: int) -> tuple[tuple[int, ...], int]:
    """The shape of a learned kernel, and its fan-in."""
    if isinstance(layer, Dense):
        return (channels, *per_axis(place, "size", layer.size, ndim), features), channels
    size = per_axis(place, "kernel", layer.kernel, ndim)
    taps = math.prod(size)
    if isinstance(layer, Conv):
        return (*size, channels // layer.groups, features), taps * channels // layer.groups
    if isinstance(layer, Deconv):
        return (*size, channels, features // layer.groups), taps * channels // layer.groups
    if isinstance(layer, ResizeConv):
        return (*size, channels, features), taps * channels
    phases = math.prod(per_axis(place, "scale", layer.scale, ndim))
    return (*size, channels, phases * features), taps * channels


def check_tieable(place: str, layer: Deconv, ndim: int) -> None:
    """Raises unless a transposed convolution can start with tied phases."""
    sizes = (per_axis(place, name, getattr(layer, name), ndim) for name in ("kernel", "stride", "dilation"))
    for k, s, d in zip(*sizes):
        if k % s or (s > 1 and d > 1):
            raise ValueError(
                f"{place}: initialiser 'icnr' needs a stride that divides the kernel size, and no dilation; got "
                f"kernel size {k}, stride {s}, dilation {d}."
            )

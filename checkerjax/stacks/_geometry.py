"""Where the outputs of a stack lie: how many, which of them see no padding, and at which shifts they repeat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from checkerjax._checks import AXES, as_int, check_same_rank, per_axis
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import Layer, Stack
from checkerjax.stacks._plan import place_of
from checkerjax.stacks._reads import Sizes, layer_steps
from checkerjax.stacks._text import as_stack

Size = int | Sequence[int] | None


def output_size(stack: str | Layer | Sequence[Layer], size: Size) -> tuple[int, ...]:
    """Samples that come out of a stack.

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input: an int for one axis, a tuple for 1 to 3, None or () for a latent (a dense layer makes the
        field then).

    Returns:
      The output's size, one int per axis.

    Raises:
      ValueError: for sizes that do not fit a layer, a residual branch that changes the size, or parallel branches
        whose sizes differ.
      TypeError: for a stack or size that is none.

    Example:
      >>> output_size("conv k3 s2, deconv k4 s2, deconv k4 s2", (8, 9))
      (16, 20)
    """
    op = "output_size"
    return stack_size(f"{op}: ", as_stack(op, stack), as_size(op, size))


def interior(stack: str | Layer | Sequence[Layer], size: Size) -> tuple[tuple[int, int], ...]:
    """The outputs whose receptive field touches no padding: all are alike but for their phase.

    Zeros that an upsampling inserts between samples are not padding; samples that an interpolation would read beyond
    the border are, whatever it takes for them.

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input, as in `output_size`.

    Returns:
      (start, stop) per axis: the longest run of such outputs.

    Raises:
      ValueError: if there are none (the input is too small), or as `output_size` does.
      TypeError: for a stack or size that is none.

    Example:
      >>> interior("deconv k3 s2, deconv k3 s2", 8)
      ((3, 32),)
    """
    op = "interior"
    stack, start = as_stack(op, stack), as_size(op, size)
    masks = _clean(op, stack, start, [np.ones(n, bool) for n in start])
    runs = tuple(longest_run(mask) for mask in masks)
    for axis, (first, stop) in zip(AXES.get(len(runs), ""), runs):
        if first == stop:
            raise ValueError(f"{op}: no output on axis {axis} is free of padding for size {size}. Take a larger input.")
    return runs


def periods(stack: str | Layer | Sequence[Layer], ndim: int = 1) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The smallest shifts known to commute with a stack: its output repeats, if at all, with the second of them.

    Shifting the input by M samples shifts the output by P, away from the border. An upsampling by s makes s P of P; a
    stride t makes P / gcd(P, t) of it, and M t / gcd(P, t) of M. Behind a dense layer, whose outputs have no order,
    both start again at 1.

    Args:
      stack: text, a layer or a sequence of layers.
      ndim: spatial axes, 1 to 3.

    Returns:
      Input periods M and output periods P, one per axis.

    Raises:
      ValueError: for centres="corners", which commute with no shift, for sizes of another rank, and for branches
        that scale differently.
      TypeError: for a stack that is none.

    Example:
      >>> periods("conv k3 s2, deconv k4 s4")
      ((2,), (4,))
    """
    return stack_periods("periods", as_stack("periods", stack), ndim)


def stack_periods(op: str, stack: Stack, ndim: int) -> tuple[Sizes, Sizes]:
    """`periods` on behalf of the function named `op`."""
    ndim = as_int(op, "ndim", ndim, minimum=1)
    if ndim not in AXES:
        raise ValueError(f"{op}: ndim must be 1, 2 or 3; got {ndim}.")
    pairs = [_axis_periods(op, stack, axis, ndim) for axis in range(ndim)]
    return tuple(m for m, _ in pairs), tuple(p for _, p in pairs)


def as_size(op: str, size: Any) -> Sizes:
    """A size as a tuple of ints of at least 1; () for a latent."""
    if size is None:
        return ()
    if not isinstance(size, (tuple, list, np.ndarray)):
        return (as_int(op, "size", size, minimum=1),)
    ndim = len(size) and check_same_rank(op, size=size)
    return per_axis(op, "size", size, ndim) if ndim else ()


def stack_size(prefix: str, stack: Stack, size: Sizes) -> Sizes:
    """`output_size`; errors begin with `prefix`, then say which layer."""
    for i, layer in enumerate(stack):
        size = layer_size(place_of(prefix, i, layer), layer, size)
    return size


def layer_size(op: str, layer: Layer, size: Sizes) -> Sizes:
    """Size of one layer's output; checks that the layer can take what comes in."""
    if isinstance(layer, layers.Dense):
        if size:
            raise ValueError(f"{op}: takes a latent, not a field of size {size}. Give size=None, and put it first.")
        return layer.size if isinstance(layer.size, tuple) else (layer.size,)
    if isinstance(layer, layers.Residual):
        inner = stack_size(f"{op}: ", layer.stack, size)
        if inner != size:
            raise ValueError(f"{op}: the inner stack must keep the size {size}; it gives {inner}.")
        return size
    if isinstance(layer, layers.Parallel):
        sizes = [stack_size(f"{op}: branch {i + 1}, ", branch, size) for i, branch in enumerate(layer.stacks)]
        if len(set(sizes)) > 1:
            raise ValueError(f"{op}: the branches must give equal sizes; got {sizes}.")
        return sizes[0]
    if not size and not isinstance(layer, layers.POINTWISE):
        raise ValueError(f"{op}: needs a field, not a latent of size (). Give a size, or put a dense layer first.")
    for step in layer_steps(op, layer, size):
        size = tuple(reads.outputs for reads in step)
    return size


def longest_run(mask: np.ndarray) -> tuple[int, int]:
    """(start, stop) of the longest run of True; (0, 0) if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2]
    if not starts.size:
        return 0, 0
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best])


def _clean(op: str, stack: Stack, size: Sizes, masks: list[np.ndarray]) -> list[np.ndarray]:
    """Per axis, which outputs of a stack see neither padding nor an input that `masks` excludes."""
    for i, layer in enumerate(stack):
        name = place_of(f"{op}: ", i, layer)
        after = layer_size(name, layer, size)
        if isinstance(layer, layers.Dense):
            masks = [np.ones(n, bool) for n in after]
        elif isinstance(layer, layers.Residual):
            masks = [a & b for a, b in zip(masks, _clean(name, layer.stack, size, masks))]
        elif isinstance(layer, layers.Parallel):
            branches = [_clean(name, branch, size, masks) for branch in layer.stacks]
            masks = [np.logical_and.reduce(axis) for axis in zip(*branches)]
        else:
            for step in layer_steps(name, layer, size):
                masks = [_clean_reads(reads, mask) for reads, mask in zip(step, masks)]
        size = after
    return masks


def _clean_reads(reads: Any, mask: np.ndarray) -> np.ndarray:
    outside = reads.outside()
    inside = np.where(outside | (reads.weights == 0), 0, reads.positions)
    return (~outside & (mask[inside] | (reads.weights == 0))).all(axis=1)


def _axis_periods(op: str, stack: Stack, axis: int, ndim: int) -> tuple[int, int]:
    total = (1, 1)
    for i, layer in enumerate(stack):
        own = _layer_periods(place_of(f"{op}: ", i, layer), layer, axis, ndim)
        total = (1, 1) if own is None else _compose(total, own)
    return total


def _compose(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    """(input, output) shifts of two maps in a row."""
    common = math.lcm(first[1], second[0])
    return first[0] * common // first[1], common // second[0] * second[1]


def _layer_periods(op: str, layer: Any, axis: int, ndim: int) -> tuple[int, int] | None:
    """(input, output) shifts of one layer; None for a dense one."""
    if isinstance(layer, layers.Dense):
        return None
    if isinstance(layer, layers.Residual):
        return _common(op, [(1, 1), _axis_periods(op, layer.stack, axis, ndim)])
    if isinstance(layer, layers.Parallel):
        return _common(op, [_axis_periods(op, branch, axis, ndim) for branch in layer.stacks])
    up = isinstance(layer, (layers.Deconv, layers.ResizeConv, layers.SubPixel, layers.Upsample))
    name = "stride" if hasattr(layer, "stride") else "scale" if up else None
    if name is None:
        return 1, 1
    factor = per_axis(op, name, getattr(layer, name), ndim)[axis]
    if getattr(layer, "centres", "") == "corners" and layer.method != "zeros" and factor > 1:
        raise ValueError(f"{op}: centres='corners' commutes with no shift, so there is no period; take 'half_pixel'.")
    return (1, factor) if up else (factor, 1)


def _common(op: str, pairs: list[tuple[int, int]]) -> tuple[int, int]:
    """The smallest shifts that all branches share."""
    m = math.lcm(*(a for a, _ in pairs))
    outputs = {m // a * b for a, b in pairs}
    if len(outputs) > 1:
        raise ValueError(f"{op}: the branches scale differently: an input shift of {m} shifts them by {outputs}.")
    return m, outputs.pop()

"""A stack made ready for covariances: each layer with its place, its weights and what its outputs read."""

from __future__ import annotations

from typing import Any, NamedTuple

from checkerjax.expectations._lags import Sizes
from checkerjax.expectations._steps import Step, layer_axes
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import layer_size
from checkerjax.stacks._layers import Layer, Stack
from checkerjax.stacks._plan import check_tieable, place_of


class Node(NamedTuple):
    """One layer of a program."""

    place: str  # for errors
    layer: Layer
    steps: tuple[tuple[Step, ...], ...]  # in order, one step per axis
    weights: Any  # `Weights` of a learned layer, the std of a bias
    branches: tuple[tuple[Node, ...], ...] = ()  # of a residual (the first is empty) or of parallel stacks


Program = tuple[Node, ...]


def build_program(prefix: str, stack: Stack, size: Sizes, weights: tuple, initialiser: str) -> Program:
    """The program of a stack for an input of `size`; () for a latent."""
    nodes = []
    for i, (layer, entry) in enumerate(zip(stack, weights)):
        place = place_of(prefix, i, layer)
        nodes.append(_node(place, layer, size, entry, initialiser))
        size = layer_size(place, layer, size)
    return tuple(nodes)


def _node(place: str, layer: Layer, size: Sizes, entry: Any, initialiser: str) -> Node:
    if isinstance(layer, (layers.Residual, layers.Parallel)):
        residual = isinstance(layer, layers.Residual)
        inner = ((), layer.stack) if residual else layer.stacks
        entries = ((), entry) if residual else entry
        prefixes = [f"{place}: " if residual else f"{place}: branch {i + 1}, " for i in range(len(inner))]
        branches = (build_program(p, s, size, e, initialiser) for p, s, e in zip(prefixes, inner, entries))
        return Node(place, layer, (), None, tuple(branches))
    if isinstance(layer, layers.Deconv) and (layer.initialiser or initialiser) == "icnr":
        check_tieable(place, layer, len(size))
    layer_size(place, layer, size)  # errors of the layer come before those of its steps
    steps = layer_axes(place, layer, size, initialiser)[0] if size else ()
    return Node(place, layer, steps, entry)


def reach(program: Program, axis: int, first: int, last: int) -> tuple[int, int]:
    """The first and the last input sample along an axis that outputs `first` to `last` may depend on."""
    for node in reversed(program):
        if node.branches:
            ends = [reach(branch, axis, first, last) for branch in node.branches]
            first, last = min(low for low, _ in ends), max(high for _, high in ends)
        for step in reversed([axes[axis] for axes in node.steps]):
            low, high = step.positions.min(), step.positions.max()
            first = step.inputs * (first // step.outputs) + int(low)
            last = step.inputs * (last // step.outputs) + int(high)
    return first, last

"""From a program back to a stack: the one whose `apply` it could be, or the first thing that no layer says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from checkerjax import _geometry as geometry
from checkerjax.audits._flatten import Program, Step, Value
from checkerjax.audits._graph import BATCH, CHANNEL, Node
from checkerjax.audits._normal_form import settled_form
from checkerjax.audits._stack_lines import Line, added, compose, identity, line, padded, stuffed
from checkerjax.audits._stack_pointwise import Axes, Pieces, identify, scaling, short
from checkerjax.audits._stack_regions import SUMS, Regions, carriers
from checkerjax.audits._stack_spelling import composed, is_filter, spelled
from checkerjax.audits._stack_tokens import (
    Fixed,
    Joined,
    Largest,
    Latent,
    Learned,
    Pointwise,
    Shuffled,
    Sizes,
    Token,
    Unfolded,
    Untranslated,
    normalised,
)
from checkerjax.audits._walk import walk
from checkerjax.audits._walk_state import DATA, PARAMETER, Walk, classify
from checkerjax.stacks._layers import BatchNorm, Stack

POINTWISE_KINDS = frozenset({"pointwise", "global", "scale", "channels", "move", "dense", "unknown"})


class Emitted(NamedTuple):
    """A program as a stack."""

    stack: Stack | None
    reason: str  # what has no translation, "" if all has
    node: Node | None  # where that is; its step has the source line


def stack_of(program: Program, data: Sequence[Value], layouts: Sequence[Any], inputs: Sequence[Any]) -> Emitted:
    """The stack of a program, in normal form.

    Args:
      program: written out.
      data: the inputs that carry data.
      layouts: of each of them, as `walk` takes them.
      inputs: arrays for all inputs of the program; those of data need only have their shape. What parameters do is told
        with these: a bias of zeros has `std` 0.

    Returns:
      The stack, or None with the reason and the node.
    """
    if len(data) != 1 or len(program.outputs) != 1:
        what = f"{len(data)} inputs with data" if len(data) != 1 else f"{len(program.outputs)} outputs"
        return Emitted(None, f"a stack has one input and one output; this has {what}", None)
    classes = classify(program, data)
    loop = next((s for s in program.steps if s.bodies and classes[s.outputs[0]] == DATA), None)
    if loop is not None:
        return Emitted(None, f"a {loop.name} is no layer", None)
    layout = next((n for n in layouts if isinstance(n, str)), "channel_last")
    state = walk(program, data, layouts, program.outputs, fields=carriers(program, classes, layout))
    try:
        stack = spelled(_Reader(state, inputs).whole())
        return Emitted(settled_form(stack, state.graph.nodes[0].spatial), "", None)
    except Untranslated as error:
        return Emitted(None, str(error), error.node)


class _Piece(NamedTuple):
    """Part of a program, from a field to one of its shape."""

    run: Callable[..., np.ndarray]
    field: tuple[tuple[int, ...], Axes]
    learns: bool


class _Reader:
    """Chains of fields as chains of tokens."""

    def __init__(self, state: Walk, inputs: Sequence[Any]) -> None:
        self.state, self.graph = state, state.graph
        self.pieces = Pieces(state.program, state.classes, inputs)
        self.regions = Regions(state.graph)

    def whole(self) -> tuple[Token, ...]:
        starts = [i for i, node in enumerate(self.graph.nodes) if node.kind == "input"]
        located = self.graph.located.get(self.state.program.outputs[0])
        if not self.graph.outputs or located is None:
            raise Untranslated("an output that is not made from the data")
        end = self.graph.nodes[located.node]
        if not located.move.is_identity() or located.move.shape != end.shape:
            raise Untranslated("an output that is no field", end)
        return self.chain(starts[0], self.graph.outputs[0])

    def chain(self, start: int, end: int) -> tuple[Token, ...]:
        """What leads from a field to one made from it alone."""
        path = self.regions.path(start, end)
        if path is None:
            raise Untranslated("data that comes in elsewhere", self.graph.nodes[end])
        tokens: list[Token] = []
        i = 0
        while i < len(path) - 1:
            made, i = self._step(path, i)
            tokens += made
        return tuple(tokens)

    def _step(self, path: list[int], i: int) -> tuple[list[Token], int]:
        start, end = path[i], path[i + 1]
        node = self.graph.nodes[end]
        if node.kind in _TOKENS:
            return [_TOKENS[node.kind](self, start, node)], i + 1
        fixed = self._fixed(start, end)
        if fixed is not None and is_filter(fixed):
            return [fixed], i + 1
        reason: Untranslated | None = None
        if node.kind == "concat" or (node.kind == "pointwise" and node.operation in SUMS and len(node.inputs) == 2):
            try:
                return [self._joined(start, node)], i + 1
            except Untranslated as error:
                reason = error
        if fixed is not None and not all(each.is_identity for each in fixed.lines):
            return [fixed], i + 1
        found = self._pointwise(path, i)
        if found is not None:
            return found
        if fixed is not None:
            return [fixed], i + 1
        raise reason or Untranslated(_words(node), node)

    def _joined(self, start: int, node: Node) -> Joined:
        """Branches from one field, each of which is a stack."""
        shapes = [self.graph.nodes[j].shape for j in node.inputs]
        if node.kind == "pointwise" and len(set(shapes)) > 1:
            raise Untranslated("an addition of a statistic", node)
        # The shortest first: what is no branch at all is seen at once.
        order = sorted(range(len(shapes)), key=lambda k: node.inputs[k])
        branches: dict[int, tuple[Token, ...]] = {}
        for k in order:
            branches[k] = self.chain(start, node.inputs[k])
            if not _is_weighted(branches[k]):
                spelled(branches[k])
                continue
            raise Untranslated("a product with a number", node)
        combine = "concat" if node.kind == "concat" else "sum"
        return Joined(combine, tuple(branches[k] for k in range(len(shapes))), node=node)

    def _fixed(self, start: int, end: int) -> Fixed | None:
        """All between two fields as one fixed linear map, if it is one."""
        first = self.graph.nodes[start]
        lines = tuple(identity(n) for n in first.spatial)
        maps: dict[int, tuple[tuple[Line, ...], float]] = {start: (lines, 1.0)}
        for i in self.regions.inside(start, end):
            found = self._map(self.graph.nodes[i], maps)
            if found is None:
                return None
            maps[i] = found
        made, factor = maps[end]
        return Fixed(made, factor, node=self.graph.nodes[end])

    def _map(
        self, node: Node, maps: dict[int, tuple[tuple[Line, ...], float]]
    ) -> tuple[tuple[Line, ...], float] | None:
        sources = [maps[i] for i in node.inputs]
        if len(sources) == 1 and node.kind == "scale":
            return sources[0][0], sources[0][1] * node.factor
        linear = node.kind in ("move", "matrix") or (node.kind == "window" and node.operation == "sum")
        if len(sources) == 1 and linear and node.channels is None:
            lines, factor = sources[0]
            made = [compose(a, line(r.size, r.positions, r.weights)) for a, r in zip(lines, node.reads)]
            return tuple(made), factor * node.factor
        if len(sources) == 2 and node.kind == "pointwise" and node.operation in (*SUMS, "sub"):
            return _sum(sources[0], sources[1], -1.0 if node.operation == "sub" else 1.0)
        return None

    def _pointwise(self, path: list[int], i: int) -> tuple[list[Token], int] | None:
        """The shortest piece from a field on that does what a layer does; of a normalisation with its scale."""
        for j in range(i + 1, len(path)):
            kinds = {self.graph.nodes[k].kind for k in self.regions.inside(path[j - 1], path[j])}
            if not kinds <= POINTWISE_KINDS:
                return None
            piece = self._piece(path[i], path[j])
            told = None if piece is None else identify(piece.run, *piece.field, learns=piece.learns)
            if told is None:
                continue
            if told.layer is None:
                return [], j
            if isinstance(told.layer, BatchNorm):
                return self._rescaled(told.layer, path, j)
            return [Pointwise(told.layer, told.values, node=self.graph.nodes[path[j]])], j
        return None

    def _rescaled(self, layer: BatchNorm, path: list[int], j: int) -> tuple[list[Token], int]:
        """A normalisation with the products by one positive number that follow it."""
        while j + 1 < len(path):
            kinds = {self.graph.nodes[k].kind for k in self.regions.inside(path[j], path[j + 1])}
            piece = self._piece(path[j], path[j + 1]) if kinds <= {"pointwise", "scale"} else None
            factor = None if piece is None else scaling(piece.run, piece.field[0])
            if factor is None:
                break
            layer, j = BatchNorm(short(layer.std * factor), layer.per, layer.epsilon), j + 1
        return [Pointwise(layer, node=self.graph.nodes[path[j]])], j

    def _piece(self, start: int, end: int) -> _Piece | None:
        """What leads from one field to another like it, to be run."""
        a, b = self.graph.nodes[start], self.graph.nodes[end]
        if a.value is None or b.value is None or (a.shape, a.roles) != (b.shape, b.roles):
            return None
        first, last = a.value, b.value
        steps = self.pieces.steps(first, last)
        channel = a.roles.index(CHANNEL) if CHANNEL in a.roles else None
        axes = Axes(len(a.shape), [d for d, r in enumerate(a.roles) if r == BATCH], channel)

        def run(x: np.ndarray, shift: float = 0.0) -> np.ndarray:
            return self.pieces.run(steps, first, last, x, shift)

        return _Piece(run, (a.shape, axes), self.pieces.learns(steps))

    def learned(self, start: int, node: Node) -> Learned:
        """A convolution of any kind."""
        kernel, step = node.kernel, node.step
        if kernel is None or step is None or len(node.inputs) > 1:
            raise Untranslated("a convolution whose kernel is made from the data", node)
        if kernel.source != PARAMETER or not self._is_parameter(kernel.value):
            how = "constant" if kernel.source != PARAMETER else "computed from parameters"
            raise Untranslated(f"a convolution whose kernel is {how}", node)
        before, taps, stride, dilation, stuffing = _correlation(self.graph.nodes[start], node, step)
        return Learned(
            before, taps, stride, dilation, node.spatial, kernel.groups, node.feature_count, stuffing, node=node
        )

    def _is_parameter(self, value: Value) -> bool:
        """Whether taps are parameters as they come, or each made from one of them: not mixed with others."""
        sizes = self.state.program.avals
        while value in self.pieces.makers:
            step = self.pieces.makers[value]
            given = [v for v in step.inputs if self.state.classes[v] == PARAMETER]
            large = [v for v in given if sizes[v].size >= sizes[value].size]
            if len(large) != 1 or step.name in _MIXING:
                return False
            value = large[0]
        return value in self.state.program.inputs

    def moved(self, start: int, node: Node) -> Token:
        """Samples moved; a field's channels several times over are put side by side."""
        if node.channels is None:
            reads = tuple(line(r.size, r.positions, r.weights) for r in node.reads)
            return Fixed(reads, node.factor, node=node)
        count = self.graph.nodes[start].feature_count
        times, rest = divmod(len(node.channels), count)
        still = node.factor == 1 and all(r.is_identity() for r in node.reads)
        if still and rest == 0 and times > 1 and np.array_equal(node.channels, np.tile(np.arange(count), times)):
            return Joined("concat", ((),) * times, node=node)
        raise Untranslated("channels that are picked or reordered", node)

    def window(self, start: int, node: Node) -> Token:
        if node.operation not in ("max", "sum"):
            raise Untranslated(f"a {node.operation} over windows", node)
        lines = tuple(line(r.size, r.positions, r.weights) for r in node.reads)
        return Largest(lines, node=node) if node.operation == "max" else Fixed(lines, node=node)

    def shuffled(self, start: int, node: Node) -> Token:
        before = self.graph.nodes[start]
        scale = tuple(r.up for r in node.reads)
        if node.channels is None or any(n * s != m for n, s, m in zip(before.spatial, scale, node.spatial)):
            raise Untranslated("a depth to space that picks samples", node)
        return Shuffled(scale, node.channels, node=node)

    def dense(self, start: int, node: Node) -> Token:
        step = node.step
        if node.operation != "dot_general" or step is None:
            raise Untranslated("a latent that is rearranged", node)
        kernels = [v for v in step.inputs if self.state.classes[v] == PARAMETER]
        if len(kernels) != 1 or not self._is_parameter(kernels[0]):
            raise Untranslated("a dense layer whose kernel is not a parameter", node)
        return Latent(node=node)

    def unfolded(self, start: int, node: Node) -> Token:
        """Numbers of a latent put in places: in which, a run of the rearrangement tells."""
        before = self.graph.nodes[start]
        groups = None
        if before.value is not None and node.value is not None:
            steps = self.pieces.steps(before.value, node.value)
            numbers = np.broadcast_to(np.arange(before.feature_count, dtype=np.float64), before.shape)
            there = self.pieces.run(steps, before.value, node.value, np.array(numbers))
            places = np.moveaxis(there, node.roles.index(CHANNEL), -1) if CHANNEL in node.roles else there[..., None]
            first = tuple(0 if r == BATCH else slice(None) for r in node.roles if r != CHANNEL)
            groups = places[first].reshape(-1, node.feature_count).astype(np.int64)
        return Unfolded(node.spatial, node.feature_count, groups, node=node)


_TOKENS = {
    "conv": _Reader.learned,
    "move": _Reader.moved,
    "window": _Reader.window,
    "shuffle": _Reader.shuffled,
    "dense": _Reader.dense,
    "unflatten": _Reader.unfolded,
    "matrix": lambda reader, start, node: Fixed(
        tuple(line(r.size, r.positions, r.weights) for r in node.reads), node.factor, node=node
    ),
}
_MIXING = frozenset(
    {"dot_general", "conv_general_dilated", "pad", "reduce_window_sum", "cumsum", "sort", "concatenate"}
)


def _words(node: Node) -> str:
    """What a node is, for a reason."""
    names = {
        "pointwise": f"{node.operation} (no activation, bias or normalisation of a stack)",
        "global": "a statistic of the whole field",
        "unshuffle": "a space to depth",
        "flatten": "a field that becomes a latent",
        "mix": "attention: positions that read each other",
        "route": "the gradient of a max pool",
        "channels": "a reduction over channels or the batch",
        "unknown": f"{node.operation}: not understood",
        "scale": f"a product with {node.factor:g}",
        "concat": "channels of several fields side by side",
    }
    return names.get(node.kind, node.kind)


def _sum(
    a: tuple[tuple[Line, ...], float], b: tuple[tuple[Line, ...], float], sign: float
) -> tuple[tuple[Line, ...], float] | None:
    """Two maps of one field added: one map if they differ along one axis at most."""
    (xs, f), (ys, g) = ((normalised(lines, factor)) for lines, factor in (a, b))
    differ = [i for i, (x, y) in enumerate(zip(xs, ys)) if not _equal(x, y)]
    if len(differ) > 1 or any(x.outputs != y.outputs for x, y in zip(xs, ys)):
        return None
    if not differ:
        return xs, f + sign * g
    i = differ[0]
    both = added(xs[i].scaled(f), ys[i].scaled(sign * g))
    return tuple(both if j == i else x for j, x in enumerate(xs)), 1.0


def _is_weighted(tokens: Sequence[Token]) -> bool:
    """Whether a chain only moves samples and multiplies them by a number: a tap of a filter, not a layer."""
    fixed = [token for token in tokens if isinstance(token, Fixed)]
    if len(fixed) != len(tokens) or not fixed:
        return False
    run = composed(fixed)
    if any(each.size == 1 for each in run.lines):  # there a pool is a product too
        return False
    return all(each.taps == 1 for each in run.lines) and abs(run.factor - 1) > 1e-5


def _equal(x: Line, y: Line) -> bool:
    return x is y or x.key == y.key


def _correlation(before: Node, node: Node, step: Step) -> tuple[tuple[Line, ...], Sizes, Sizes, Sizes, Sizes]:
    """The field that taps read, with its zeros, per axis; the taps, stride, dilation, and stuffing."""
    size, params = before.spatial, step.params
    ones = (1,) * len(size)
    if step.name == "checkerjax_scatter":
        grid = params["grid"]
        lines = []
        for n, o, k, s, d, low in zip(size, grid.large, grid.kernel, grid.stride, grid.dilation, grid.low):
            reach = geometry.span(k, d) - 1
            lines.append(stuffed(n, s, reach - low, o + low - s * (n - 1) - 1))
        return tuple(lines), grid.kernel, ones, grid.dilation, grid.stride
    if step.name == "checkerjax_gather":
        grid = params["grid"]
        lines = []
        for n, o, k, s, d, low in zip(size, grid.small, grid.kernel, grid.stride, grid.dilation, grid.low):
            lines.append(padded(n, low, (o - 1) * s + geometry.span(k, d) - n - low))
        return tuple(lines), grid.kernel, grid.stride, grid.dilation, ones
    if step.name != "conv_general_dilated":
        return tuple(identity(n) for n in size), ones, ones, ones, ones
    taps = tuple(r.taps for r in node.reads)
    stuffing = tuple(params["lhs_dilation"] or ones)
    lines = [stuffed(n, s, low, high) for n, s, (low, high) in zip(size, stuffing, params["padding"])]
    return tuple(lines), taps, tuple(params["window_strides"]), tuple(params["rhs_dilation"] or ones), stuffing

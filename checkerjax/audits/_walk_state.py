"""What the walk knows: which values are constant, parameters or data, and where the data lies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from checkerjax.audits import _moves as moves
from checkerjax.audits._axes import AxisReads
from checkerjax.audits._flatten import Program, Step, Value
from checkerjax.audits._graph import BATCH, CHANNEL, Graph, Kernel, Located, Node, Roles
from checkerjax.audits._jax_internals import is_mutable
from checkerjax.audits._numpy_steps import can_run, run_numpy
from checkerjax.audits._run import evaluate
from checkerjax.audits._settle import carried, settle

CONSTANT, PARAMETER, DATA = "constant", "parameter", "data"


@dataclasses.dataclass(eq=False)
class Walk:
    """The state that rules read and add to."""

    program: Program
    graph: Graph
    classes: dict[Value, str]
    layout: str
    spread: dict[Value, frozenset[int]]  # of parameters: the axes along which they may change
    known_values: dict[Value, np.ndarray]
    notes: set[str] = dataclasses.field(default_factory=set)
    alone: bool = True

    def shape(self, value: Value) -> tuple[int, ...]:
        return tuple(self.program.avals[value].shape)

    def known(self, value: Value) -> np.ndarray | None:
        """A constant's array."""
        if self.classes[value] != CONSTANT:
            return None
        return self.known_values[value]

    def is_zero(self, value: Value) -> bool:
        array = self.known(value)
        return array is not None and not np.any(array)

    def is_data(self, value: Value) -> bool:
        return self.classes[value] == DATA

    def add(self, kind: str, inputs: Sequence[int], step: Step, roles: Roles, value: Value, **fields: Any) -> int:
        """A node whose field is a value of the program."""
        node = Node(kind, tuple(inputs), self.shape(value), roles, step, value, alone=self.alone, **fields)
        return self.graph.add(node)

    def whole(self, node: int) -> Located:
        """The field of a node as it is."""
        return Located(node, moves.identity(self.graph.nodes[node].shape))

    def settled(self, value: Value, step: Step, want: Roles | None = None) -> int | None:
        """The node whose field is a value of the data, made if need be; None where the value is no field."""
        located = self.graph.located.get(value)
        if located is None:
            return None
        node = settle(self.graph, located, self._maker(value, step), value, want=want, layout=self.layout)
        if node is not None:
            self.graph.located[value] = self.whole(node)
        return node

    def _maker(self, value: Value, step: Step) -> Step:
        return self.makers.get(value, step)

    @property
    def makers(self) -> dict[Value, Step]:
        if not hasattr(self, "_makers"):
            self._makers = {v: s for s in every_step(self.program.steps) for v in s.outputs}
        return self._makers

    def is_global(self, located: Located) -> bool:
        """Whether a value is the same at all positions: a statistic of a field, or made from one or from a latent."""
        roles = self.graph.nodes[located.node].roles
        if any(isinstance(r, int) for r in roles):
            return False
        carries = carried(roles, located.move)
        return sum(CHANNEL in has for has in carries.axes) <= 1

    def along_axis(
        self, step: Step, data: Located, old: int, new: int, reads: AxisReads | None
    ) -> list[Located] | None:
        """A constant matrix along one axis of an array, which becomes axis `new` of the output."""
        base = self.graph.nodes[data.node]
        node = self.settled_located(data, step)
        if node is None or reads is None:
            return None
        base = self.graph.nodes[node]
        axis = base.roles[old]
        value = step.outputs[0]
        order = [d for d in range(len(base.roles)) if d != old]
        order.insert(new, old)
        roles = tuple(base.roles[d] for d in order)
        if not isinstance(axis, int):
            if axis != CHANNEL:
                return None
            return [self.whole(self.add("pointwise", [node], step, roles, value, operation=step.name))]
        all_reads = tuple(reads if a == axis else identity_reads(n) for a, n in enumerate(base.spatial))
        return [self.whole(self.add("matrix", [node], step, roles, value, reads=all_reads))]

    def hold(self, node: int, value: Value) -> None:
        """Says that a value of the program is the field of a node."""
        self.graph.nodes[node] = dataclasses.replace(self.graph.nodes[node], value=value)

    def settled_located(self, data: Located, step: Step) -> int | None:
        return settle(self.graph, data, step, None, want=None, layout=self.layout)

    def joined_channels(self, step: Step, axis: int) -> list[Located] | None:
        """Channels of several fields, side by side."""
        nodes, roles = [], None
        for v in step.inputs:
            if self.is_data(v):
                node = self.settled(v, step)
                if node is None:
                    return None
                nodes.append(node)
                roles = roles or self.graph.nodes[node].roles
                if self.graph.nodes[node].roles != roles:
                    return None
        if roles is None:
            return None
        if step.name == "stack":  # a new axis: pictures beside each other
            roles = (*roles[:axis], BATCH, *roles[axis:])
        if roles[axis] not in (CHANNEL, BATCH):
            return None
        kind = "concat" if roles[axis] == CHANNEL else "pointwise"
        return [self.whole(self.add(kind, nodes, step, roles, step.outputs[0], operation=step.name))]


def identity_reads(size: int) -> AxisReads:
    """Every sample from its own place."""
    one, zero = np.ones((1, 1)), np.zeros((1, 1), np.int64)
    rows = np.arange(size)[:, None]
    return AxisReads(size, rows, np.ones((size, 1)), np.zeros(size, bool), 1, 1, "zeros", zero, one)


def every_step(steps: Sequence[Step]) -> Iterator[Step]:
    """Steps and those of their bodies."""
    for step in steps:
        yield step
        for body in step.bodies:
            yield from every_step(body.steps)


def classify(program: Program, data: Sequence[Value]) -> dict[Value, str]:
    """Whether each value depends on the data, else on parameters, else on nothing."""
    classes = dict.fromkeys(program.constants, CONSTANT) | dict.fromkeys(program.inputs, PARAMETER)
    classes |= dict.fromkeys(data, DATA)

    def visit(steps: Sequence[Step]) -> None:
        for step in steps:
            found = {classes[v] for v in step.inputs}
            kind = next((c for c in (DATA, PARAMETER) if c in found), CONSTANT)
            if step.equation.effects and kind == CONSTANT:
                kind = PARAMETER
            classes.update(dict.fromkeys(step.outputs, kind))
            if kind == DATA:  # written into
                classes.update({v: DATA for v in step.inputs if is_mutable(program.avals[v])})
            for body in step.bodies:
                visit(body.steps)

    visit(program.steps)
    return classes


def constants(program: Program, classes: dict[Value, str]) -> dict[Value, np.ndarray]:
    """The arrays of all constants that steps with data or parameters read, from one compiled run."""
    made: dict[Value, Step] = {}
    wanted: dict[Value, None] = {}
    for step in every_step(program.steps):
        if all(classes[v] == CONSTANT for v in step.outputs):
            made.update(dict.fromkeys(step.outputs, step))
        else:
            wanted.update(dict.fromkeys(v for v in step.inputs if classes[v] == CONSTANT))
    known = {
        v: np.asarray(program.constants[v]) for v in wanted if v in program.constants and is_array(program.constants[v])
    }
    missing = [v for v in wanted if v in made]
    needed, waiting = set(), list(missing)
    while waiting:
        v = waiting.pop()
        if v in made and v not in needed:
            needed.add(v)
            waiting += made[v].inputs
    steps = [s for s in every_step(program.steps) if not needed.isdisjoint(s.outputs)]
    sources = {v: program.constants[v] for s in steps for v in s.inputs if v in program.constants}
    steps = _without_compiling(steps, sources)
    left = [v for v in missing if v not in sources]

    def compute(given: dict[Value, Any]) -> list[Any]:
        values = dict(given)
        for step in steps:
            values.update(zip(step.outputs, evaluate(step.equation, [values[v] for v in step.inputs])))
        return [values[v] for v in left]

    made_now = {v: sources[v] for v in missing if v in sources}
    if left:
        read = {v for s in steps for v in s.inputs}
        made_now |= dict(zip(left, jax.jit(compute)({v: a for v, a in sources.items() if v in read})))
    known |= {v: np.asarray(a) for v, a in made_now.items() if is_array(a)}
    return known


def _without_compiling(steps: Sequence[Step], values: dict[Value, Any]) -> list[Step]:
    """Runs what NumPy can, putting its outputs among the values; the steps that are left."""
    left = []
    for step in steps:
        if can_run(step) and all(v in values and is_array(values[v]) for v in step.inputs):
            values[step.outputs[0]] = run_numpy(step, [values[v] for v in step.inputs])
        else:
            left.append(step)
    return left


def is_array(value: Any) -> bool:
    """Whether NumPy can hold a value: not so typed keys."""
    dtype = getattr(value, "dtype", None)
    return dtype is None or not jax.numpy.issubdtype(dtype, jax.dtypes.extended)


def kernel_of(walk: Walk, value: Value, order: tuple[int, ...], groups: int, flip: tuple[int, ...] = ()) -> Kernel:
    """The taps in a value; `order` transposes it to [*k, I / groups, O]."""
    source = walk.classes[value]
    array = walk.known(value) if source == CONSTANT else None
    if array is not None:
        array = np.asarray(array, np.float64).transpose(order)
        array = np.flip(array, flip) if flip else array
    return Kernel(value, source, order, groups, array)


__all__ = [
    "BATCH", "CHANNEL", "CONSTANT", "DATA", "PARAMETER", "Walk", "classify", "constants", "every_step",
    "identity_reads", "is_array", "kernel_of",
]  # fmt: skip

"""Fixed linear steps that belong together, as one: padding and its filter, filters of all axes, sums of shifts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from checkerjax.audits._axes import AxisReads
from checkerjax.audits._flatten import Step, Value
from checkerjax.audits._graph import Graph, Node, Roles
from checkerjax.audits._walk_state import identity_reads

SUMS = ("add", "add_any", "sub")


@dataclasses.dataclass(frozen=True, eq=False)
class Form:
    """A fixed linear operation on a field of the new graph that may still take in what follows."""

    base: int
    reads: tuple[AxisReads, ...]
    factor: float
    shape: tuple[int, ...]
    roles: Roles
    step: Step | None
    value: Value | None
    alone: bool

    def is_identity(self) -> bool:
        return self.factor == 1 and all(r.is_identity() for r in self.reads)


def fuse(graph: Graph) -> Graph:
    """The graph with fixed linear operations of one meaning joined, and without what its outputs do not depend on."""
    fuser = _Fuser(graph)
    live = graph.live()
    for i in range(len(graph.nodes)):
        if i in live:
            fuser.take(i)
    outputs = tuple(dict.fromkeys(fuser.made(i) for i in graph.outputs))
    located = {v: at._replace(node=fuser.ids[at.node]) for v, at in graph.located.items() if at.node in fuser.ids}
    return Graph(fuser.new.nodes, located, outputs)


class _Fuser:
    def __init__(self, graph: Graph) -> None:
        self.old, self.new = graph, Graph()
        self.forms: dict[int, Form] = {}
        self.ids: dict[int, int] = {}

    def take(self, i: int) -> None:
        node = self.old.nodes[i]
        form = self._form(node)
        if form is not None:
            self.forms[i] = form
            return
        inputs = tuple(dict.fromkeys(self.made(j) for j in node.inputs))
        if node.kind == "pointwise" and len(node.inputs) == 2 and node.inputs[0] == node.inputs[1]:
            inputs = (inputs[0],)
        self.ids[i] = self.new.add(dataclasses.replace(node, inputs=inputs))

    def made(self, i: int) -> int:
        """The node of the new graph that holds the field of an old one."""
        if i not in self.ids:
            self.ids[i] = self._materialised(self.forms[i])
        return self.ids[i]

    def _materialised(self, form: Form) -> int:
        base = self.new.nodes[form.base]
        if form.is_identity() and form.roles == base.roles:
            return form.base
        plain = all(r.taps == 1 and np.isin(r.weights, (0.0, 1.0)).all() for r in form.reads)
        kind = "move" if plain else "filter"
        if all(r.is_identity() for r in form.reads):
            kind = "move" if form.factor == 1 else "scale"
        return self.new.add(
            Node(
                kind,
                (form.base,),
                form.shape,
                form.roles,
                form.step,
                form.value,
                form.reads,
                factor=form.factor,
                alone=form.alone,
            )
        )

    def _form(self, node: Node) -> Form | None:
        if node.kind == "scale":
            before = self._before(node.inputs[0])
            return self._after(before, node, before.reads, before.factor * node.factor)
        linear = node.kind == "matrix" or (node.kind == "window" and node.operation == "sum")
        if linear or (node.kind == "move" and node.channels is None):
            return self._composed(node)
        if node.kind == "pointwise" and node.operation in SUMS and len(node.inputs) == 2:
            return self._added(node)
        return None

    def _before(self, i: int) -> Form:
        """The form of an old node; that of one without is the node itself."""
        if i in self.forms:
            return self.forms[i]
        node = self.old.nodes[i]
        reads = tuple(identity_reads(n) for n in node.spatial)
        return Form(self.ids[i], reads, 1.0, node.shape, node.roles, node.step, node.value, node.alone)

    def _after(self, before: Form, node: Node, reads: tuple[AxisReads, ...], factor: float) -> Form:
        return Form(before.base, reads, factor, node.shape, node.roles, node.step, node.value, node.alone)

    def _composed(self, node: Node) -> Form:
        before = self._before(node.inputs[0])
        if not all(_joins(a, b) for a, b in zip(before.reads, node.reads)):
            base = self.made(node.inputs[0])
            made = self.new.nodes[base]
            reads = tuple(identity_reads(n) for n in made.spatial)
            before = Form(base, reads, 1.0, made.shape, made.roles, made.step, made.value, made.alone)
        reads = tuple(compose(a, b) for a, b in zip(before.reads, node.reads))
        return self._after(before, node, reads, before.factor * node.factor)

    def _added(self, node: Node) -> Form | None:
        """Shifts of one field, added along one axis."""
        if not any(i in self.forms for i in node.inputs):
            return None
        one, two = (self._before(i) for i in node.inputs)
        if one.base != two.base or one.roles != two.roles:
            return None
        differ = [a for a, (x, y) in enumerate(zip(one.reads, two.reads)) if not _equal(x, y)]
        if len(differ) != 1 or min(f.reads[differ[0]].taps for f in (one, two)) > 1:
            return None
        axis = differ[0]
        x, y = one.reads[axis], two.reads[axis]
        if (x.up, x.down) != (y.up, y.down) or x.outputs != y.outputs:
            return None
        share = -1.0 if node.operation == "sub" else 1.0
        both = _beside(x, y, share * two.factor / one.factor)
        reads = tuple(both if a == axis else r for a, r in enumerate(one.reads))
        return self._after(one, node, reads, one.factor)


def _joins(before: AxisReads, after: AxisReads) -> bool:
    """Whether two steps along one axis are one operation: one of them only pads, crops or does nothing."""
    if after.is_identity() or before.is_identity():
        return True
    return before.taps == 1 and (before.up, before.down) == (1, 1) and bool(np.isin(before.weights, (0.0, 1.0)).all())


def _equal(a: AxisReads, b: AxisReads) -> bool:
    return a is b or (
        a.positions.shape == b.positions.shape
        and np.array_equal(a.weights, b.weights)
        and np.array_equal(np.where(a.weights != 0, a.positions, 0), np.where(b.weights != 0, b.positions, 0))
    )


def compose(first: AxisReads, second: AxisReads) -> AxisReads:
    """Two steps along one axis as one."""
    if second.is_identity():
        return first
    if first.is_identity():
        return second
    outputs = second.outputs
    positions = first.positions[second.positions].reshape(outputs, -1)
    weights = (second.weights[:, :, None] * first.weights[second.positions]).reshape(outputs, -1)
    touches = (first.outside[second.positions] & (second.weights != 0)).any(axis=1)
    up, down = _rates(first, second)
    pattern = _endless(first, second, up)
    border = first.border if touches.any() else second.border
    return AxisReads(first.size, positions, weights, second.outside | touches, up, down, border, *pattern)


def _rates(first: AxisReads, second: AxisReads) -> tuple[int, int]:
    """After how many outputs both repeat, and the inputs that are then passed."""
    turns = math.lcm(abs(second.down), first.up)
    return second.up * (turns // abs(second.down)), first.down * (turns // first.up) * (1 if second.down > 0 else -1)


def _endless(first: AxisReads, second: AxisReads, up: int) -> tuple[np.ndarray, np.ndarray]:
    """The pattern of the first outputs, were the field endless."""
    n = np.arange(up)
    turns, phase = np.divmod(n, second.up)
    middle = second.pattern_positions[phase] + second.down * turns[:, None]
    outer = second.pattern_weights[phase]
    turns, phase = np.divmod(middle, first.up)
    positions = first.pattern_positions[phase] + first.down * turns[:, :, None]
    weights = outer[:, :, None] * first.pattern_weights[phase]
    return positions.reshape(up, -1), weights.reshape(up, -1)


def _beside(x: AxisReads, y: AxisReads, share: float) -> AxisReads:
    """The taps of both."""
    return AxisReads(
        x.size,
        np.hstack([x.positions, y.positions]),
        np.hstack([x.weights, share * y.weights]),
        x.outside | y.outside,
        x.up,
        x.down,
        x.border if x.outside.any() else y.border,
        np.hstack([x.pattern_positions, y.pattern_positions]),
        np.hstack([x.pattern_weights, share * y.pattern_weights]),
    )

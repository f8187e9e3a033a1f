"""A function read: its program, the graph of it, and what the graph shows without running anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr

from checkerjax.audits._effects import quiet
from checkerjax.audits._finding import Finding
from checkerjax.audits._findings import find
from checkerjax.audits._flatten import Program, Step, Value, flatten
from checkerjax.audits._fuse import fuse
from checkerjax.audits._graph import CHANNEL, Graph, Roles
from checkerjax.audits._interior import Extent, extents
from checkerjax.audits._kernels import KernelArrays, random_inputs
from checkerjax.audits._sources import path_of, source_of
from checkerjax.audits._walk import walk

LATENT: Roles = (CHANNEL,)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """A program with what was read off it."""

    program: Program
    graph: Graph
    data: tuple[Value, ...]  # the inputs that carry data
    context: tuple[Value, ...]  # inputs that are neither data nor parameters: of a gradient, the data it is taken at
    arrays: tuple[Any, ...]  # for all inputs of the program
    findings: tuple[Finding, ...]
    extents: tuple[Extent | None, ...]  # of each node's field
    notes: tuple[str, ...]
    names: tuple[str, ...] = ()  # of the program's outputs, as the function's caller finds them
    seeds: tuple[Any, ...] = ()  # arrays of the last inputs: no data, but what depends on them is what is told
    reached: frozenset[int] | None = None  # the nodes that do

    @property
    def ends(self) -> tuple[int, ...]:
        """The outputs that are looked at: those that are fields made from the data, else the first that is from it."""
        nodes = [self.end(i) for i in range(len(self.program.outputs))]
        sizes = [() if at is None else self.graph.nodes[at].spatial for at in nodes]
        for least in (1, 0):
            fields = tuple(i for i, size in enumerate(sizes) if max(size, default=0) > least)
            if fields:
                return fields
        return tuple(i for i, at in enumerate(nodes) if at is not None)[:1]

    def end(self, i: int) -> int | None:
        """The node of an output; None of one that does not depend on the data."""
        located = self.graph.located.get(self.program.outputs[i])
        return None if located is None else located.node


def read(
    closed: ClosedJaxpr,
    arrays: Sequence[Any],
    data: Sequence[int],
    layouts: Sequence[str | Roles],
    *,
    context: Sequence[int] = (),
    seeds: Sequence[int] = (),
    names: Sequence[str] = (),
    given: bool = True,
) -> Reading:
    """Reads a jaxpr.

    Args:
      closed: of the function, with its arguments flattened.
      arrays: for its arguments.
      data: which of them carry data.
      layouts: of each of those.
      context: which of them are neither data nor parameters.
      seeds: which of them are latents that keep their values: findings are told of what depends on them alone.
      names: of the outputs.
      given: whether the parameters in `arrays` mean something, so that their gains are told.
    """
    closed, printed = quiet(closed)
    program = flatten(closed)
    values = tuple(program.inputs[i] for i in data)
    from_seeds = tuple(program.inputs[i] for i in seeds)
    every_layout = [*layouts, *(LATENT for _ in seeds)]
    walked = walk(program, (*values, *from_seeds), every_layout, program.outputs)
    graph = fuse(walked.graph)
    spans = extents(graph)
    periods = [() if extent is None else extent.period for extent in spans]
    random = KernelArrays(program, graph, random_inputs(arrays))
    actual = KernelArrays(program, graph, arrays) if given else None
    findings = find(graph, random=random, given=actual, periods=periods, where=where)
    reached = _reached(graph, from_seeds) if seeds else None
    if reached is not None:
        findings = [f for f in findings if f.nodes[-1] in reached]
    beside = tuple(program.inputs[i] for i in context)
    notes = (*printed, *sorted(walked.notes))
    return Reading(
        program, graph, values, beside, tuple(arrays), tuple(findings), tuple(spans), notes, tuple(names),
        tuple(arrays[i] for i in seeds), reached,
    )  # fmt: skip


def _reached(graph: Graph, inputs: Sequence[Value]) -> frozenset[int]:
    """The nodes that depend on some of a program's inputs."""
    found: set[int] = set()
    for i, node in enumerate(graph.nodes):
        if node.value in inputs if node.kind == "input" else not found.isdisjoint(node.inputs):
            found.add(i)
    return frozenset(found)


def where(step: Step) -> tuple[str, str]:
    """Path and source of a step."""
    chain = (*step.around, step.equation)
    return path_of(e.source_info.name_stack for e in chain), source_of(*chain)

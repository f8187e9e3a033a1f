"""A function read: its program, the graph of it, and what the graph shows without running anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr

from checkerjax.audits._finding import Finding
from checkerjax.audits._findings import find
from checkerjax.audits._flatten import Program, Step, Value, flatten
from checkerjax.audits._fuse import fuse
from checkerjax.audits._graph import Graph, Roles
from checkerjax.audits._interior import Extent, extents
from checkerjax.audits._kernels import KernelArrays, random_inputs
from checkerjax.audits._sources import path_of, source_of
from checkerjax.audits._walk import walk


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

    @property
    def output(self) -> int | None:
        """The node that is looked at in the end: the first output that is a field, else the first."""
        ends = self.graph.outputs
        return next((i for i in ends if self.graph.nodes[i].spatial), ends[0] if ends else None)


def read(
    closed: ClosedJaxpr,
    arrays: Sequence[Any],
    data: Sequence[int],
    layouts: Sequence[str | Roles],
    *,
    context: Sequence[int] = (),
    given: bool = True,
) -> Reading:
    """Reads a jaxpr.

    Args:
      closed: of the function, with its arguments flattened.
      arrays: for its arguments.
      data: which of them carry data.
      layouts: of each of those.
      context: which of them are neither data nor parameters.
      given: whether the parameters in `arrays` mean something, so that their gains are told.
    """
    program = flatten(closed)
    values = tuple(program.inputs[i] for i in data)
    walked = walk(program, values, layouts, program.outputs)
    graph = fuse(walked.graph)
    spans = extents(graph)
    periods = [() if extent is None else extent.period for extent in spans]
    random = KernelArrays(program, graph, random_inputs(arrays))
    actual = KernelArrays(program, graph, arrays) if given else None
    findings = find(graph, random=random, given=actual, periods=periods, where=where)
    beside = tuple(program.inputs[i] for i in context)
    notes = tuple(sorted(walked.notes))
    return Reading(program, graph, values, beside, tuple(arrays), tuple(findings), tuple(spans), notes)


def where(step: Step) -> tuple[str, str]:
    """Path and source of a step."""
    chain = (*step.around, step.equation)
    return path_of(e.source_info.name_stack for e in chain), source_of(*chain)

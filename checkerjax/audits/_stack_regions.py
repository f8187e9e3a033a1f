"""How a program's values hang together: which carry all of the data, and so may end a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from checkerjax.audits._flatten import Program, Step, Value
from checkerjax.audits._graph import Graph
from checkerjax.audits._walk_state import DATA

SUMS = ("add", "add_any")


def dominators(order: Iterable[int], sources: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """For each of `order`, the last thing before it that all its data passes through.

    Args:
      order: each after what it is made of.
      sources: what each is made of; nothing for what comes in.

    Returns:
      Without what comes in, or depends on several such.

    References:
      Cooper, Harvey and Kennedy, A simple, fast dominance algorithm, 2001.
    """
    found: dict[int, int] = {}
    depth: dict[int, int] = {}
    for i in order:
        made_of = sources[i]
        if not made_of:
            depth[i] = 0
            continue
        if any(s not in depth for s in made_of):
            continue
        common = made_of[0]
        for other in made_of[1:]:
            while common != other:
                if depth[common] < depth[other]:
                    common, other = other, common
                if depth[common] == 0:
                    break
                common = found[common]
            if common != other:
                break
        else:
            found[i], depth[i] = common, depth[common] + 1
    return found


def carriers(program: Program, classes: Mapping[Value, str], layout: str) -> set[Value]:
    """The values that all data passes through on its way to the output, or to the ends of branches that are joined."""
    makers = {v: step for step in program.steps for v in step.outputs}
    sources: dict[int, list[Value]] = {v: [] for v in program.inputs if classes[v] == DATA}
    for step in program.steps:
        data = list(dict.fromkeys(v for v in step.inputs if classes[v] == DATA))
        if data:
            sources |= dict.fromkeys(step.outputs, data)
    before = dominators(list(sources), sources)
    ranks = {len(program.avals[v].shape) for v in (*program.inputs, *program.outputs) if v in sources}
    found: set[Value] = set()
    waiting = [v for v in program.outputs if v in sources]
    while waiting:
        value = waiting.pop()
        if value in found:
            continue
        found.add(value)
        waiting += [before[value]] if value in before else []
        step = makers.get(value)
        if step is not None and _joins(step, program, layout):
            waiting += sources[value]
    return {v for v in found if len(program.avals[v].shape) in ranks}


def _joins(step: Step, program: Program, layout: str) -> bool:
    """Whether a step adds fields, or puts their channels side by side."""
    if step.name != "concatenate":
        return step.name in SUMS
    last = len(program.avals[step.outputs[0]].shape) - 1
    return step.params["dimension"] == (1 if layout == "channel_first" else last)


class Regions:
    """The nodes of a graph between a field and one made from it alone."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        live = graph.live()
        order = [i for i in range(len(graph.nodes)) if i in live]
        self.before = dominators(order, {i: graph.nodes[i].inputs for i in order})

    def path(self, start: int, end: int) -> list[int] | None:
        """The fields that all data passes through on its way, both ends included."""
        out = [end]
        while out[-1] != start:
            if out[-1] not in self.before:
                return None
            out.append(self.before[out[-1]])
        return out[::-1]

    def inside(self, start: int, end: int) -> list[int]:
        """What is made on the way, the end included, in order."""
        found: set[int] = set()
        waiting = [end]
        while waiting:
            i = waiting.pop()
            if i != start and i not in found:
                found.add(i)
                waiting += self.graph.nodes[i].inputs
        return sorted(found)

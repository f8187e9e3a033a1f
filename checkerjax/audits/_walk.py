"""The walk over a program's steps: each is held against the rules, and what has none is listed, never skipped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from checkerjax.audits import _rules_moves as rules_moves
from checkerjax.audits import _rules_sums as rules_sums
from checkerjax.audits import _rules_windows as rules_windows
from checkerjax.audits._flatten import Program, Step, Value
from checkerjax.audits._graph import BATCH, CHANNEL, MOST_AXES, Graph, Located, Node, Roles, field_roles
from checkerjax.audits._moves import identity
from checkerjax.audits._rules_pointwise import NARY, UNARY, pointwise
from checkerjax.audits._walk_state import DATA, Walk, classify, constants

Rule = Callable[[Walk, Step], Sequence[Located | None] | None]

_RULES: dict[str, Rule] = {
    **dict.fromkeys(rules_moves.ONE, rules_moves.one_move),
    **dict.fromkeys(UNARY + NARY, pointwise),
    **dict.fromkeys(rules_sums.REDUCTIONS, rules_sums.reduction),
    "optimization_barrier": rules_moves.barrier,
    "split": rules_moves.split,
    "pad": rules_moves.pad,
    "concatenate": rules_moves.concatenate,
    "stack": rules_moves.stack,
    "gather": rules_moves.gather,
    "scatter": rules_moves.scatter,
    "scatter-add": rules_moves.scatter,
    "dynamic_slice": rules_moves.dynamic_slice,
    "dynamic_update_slice": rules_moves.dynamic_update_slice,
    "conv_general_dilated": rules_windows.convolution,
    "checkerjax_scatter": rules_windows.scattered,
    "checkerjax_gather": rules_windows.gathered,
    "reduce_window_sum": rules_windows.pool,
    "reduce_window_max": rules_windows.pool,
    "reduce_window_min": rules_windows.pool,
    "reduce_window": rules_windows.pool,
    "select_and_scatter_add": rules_windows.routed,
    "dot_general": rules_sums.product,
}


def walk(
    program: Program,
    data: Sequence[Value],
    layouts: Sequence[str | Roles],
    outputs: Sequence[Value],
    *,
    fields: Collection[Value] = (),
) -> Walk:
    """The graph of a program.

    Args:
      program: written out.
      data: the inputs that carry data; all others are parameters.
      layouts: of each of them: "channel_last", "channel_first", or the roles of its axes.
      outputs: the values that matter.
      fields: values that are to be nodes, if they can, and not only moved elements of earlier ones;
        samples may then be picked without a pattern.
    """
    classes = classify(program, data)
    layout = next((n for n in layouts if isinstance(n, str)), "channel_last")
    state = Walk(program, Graph(lenient=bool(fields)), classes, layout, {}, constants(program, classes))
    for value, given in zip(data, layouts):
        shape = tuple(program.avals[value].shape)
        roles = field_roles(len(shape), given) if isinstance(given, str) else given
        node = state.graph.add(Node("input", (), shape, roles, None, value))
        state.graph.located[value] = Located(node, identity(shape))
    _visit(state, program.steps, frozenset(fields))
    ends = []
    for value in outputs:
        located = state.graph.located.get(value)
        if located is not None:
            settled = state.settled(value, state.makers[value]) if value in state.makers else located.node
            ends.append(located.node if settled is None else settled)
    state.graph.outputs = tuple(dict.fromkeys(ends))
    return state


def _visit(state: Walk, steps: Sequence[Step], fields: frozenset[Value] = frozenset()) -> None:
    for step in steps:
        if not any(state.classes[v] == DATA for v in step.inputs):
            continue
        results = _bodies(state, step) if step.bodies else None
        if results is None:
            rule = _RULES.get(step.name)
            results = rule(state, step) if rule is not None and _all_located(state, step) else None
        if results is None:
            results = _not_understood(state, step)
        for value, located in zip(step.outputs, results):
            if located is not None:
                state.graph.located[value] = located
                if value in fields:
                    state.settled(value, step)


def _all_located(state: Walk, step: Step) -> bool:
    return all(v in state.graph.located for v in step.inputs if state.is_data(v))


def _bodies(state: Walk, step: Step) -> list[Located | None] | None:
    """The operations of a loop's body, or of all branches, each once."""
    before, state.alone = state.alone, False
    for body in step.bodies:
        _visit(state, body.steps)
    state.alone = before
    results: list[Located | None] = []
    for i, value in enumerate(step.outputs):
        found = [body.outputs[i] for body in step.bodies if i < len(body.outputs)]
        found = [v for v in found if v in state.graph.located and state.shape(v) == state.shape(value)]
        results.append(_any_of(state, step, value, found))
    return results if any(results) else None


def _any_of(state: Walk, step: Step, value: Value, found: list[Value]) -> Located | None:
    """A value that is one of several: of the branches of a `cond`."""
    if len(found) < 2:
        return state.graph.located[found[0]] if found else None
    nodes = [state.settled(v, step) for v in found]
    kinds = {None if n is None else state.graph.nodes[n].roles for n in nodes}
    if None in nodes or len(kinds) > 1:
        return state.graph.located[found[0]]
    inputs = tuple(dict.fromkeys(n for n in nodes if n is not None))
    (roles,) = kinds
    return state.whole(state.add("pointwise", inputs, step, roles, value, operation=step.name))  # pyright: ignore


def _not_understood(state: Walk, step: Step) -> list[Located | None]:
    """A node without a rule; its fields are taken to lie as its first input's do, where the number of axes allows."""
    inputs = []
    for v in step.inputs:
        if state.is_data(v) and v in state.graph.located:
            node = state.settled(v, step)
            inputs.append(state.graph.located[v].node if node is None else node)
    results: list[Located | None] = []
    for value in step.outputs:
        shape = state.shape(value)
        like = [state.graph.nodes[n].roles for n in inputs if len(state.graph.nodes[n].roles) == len(shape)]
        roles = like[0] if like else _roles_unknown(len(shape), state.layout)
        results.append(
            state.whole(state.add("unknown", tuple(dict.fromkeys(inputs)), step, roles, value, operation=step.name))
        )
    return results


def _roles_unknown(ndim: int, layout: str) -> Roles:
    """Of an array that nothing is known of; with more axes than a volume has, it is taken for no field."""
    if ndim - 2 > MOST_AXES:
        return (*(BATCH for _ in range(ndim - 1)), CHANNEL)
    return field_roles(ndim, layout) if ndim else ()


def explain(graph: Graph) -> list[str]:
    """One line a node, for people who debug a rule."""
    lines = []
    for i, n in enumerate(graph.nodes):
        reads: Any = [(r.up, r.down, r.taps, r.border, int(r.outside.sum())) for r in n.reads]
        lines.append(f"{i} {n.kind} {n.operation} <- {n.inputs} {n.shape} {n.roles} {reads}")
    return lines

"""The rule of everything that works sample by sample."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from checkerjax.audits._axes import LONGEST
from checkerjax.audits._flatten import Step, Value
from checkerjax.audits._graph import CHANNEL, Located, Node
from checkerjax.audits._moves import identity, minimal, reshape, varying
from checkerjax.audits._run import evaluate
from checkerjax.audits._settle import carried, settle
from checkerjax.audits._walk_state import CONSTANT, DATA, Walk

UNARY = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "cos", "cosh",
    "digamma", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "imag", "integer_pow", "is_finite", "lgamma",
    "log", "log1p", "logistic", "not", "population_count", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "square",
    "tan", "tanh", "conj",
)  # fmt: skip
NARY = (
    "add", "add_any", "and", "atan2", "clamp", "complex", "div", "eq", "eq_to", "ge", "gt", "igamma", "le", "le_to",
    "lt", "lt_to", "max", "min", "mul", "ne", "nextafter", "or", "pow", "rem", "select_n", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sub", "xor", "where", "psum", "pmean", "psum_invariant",
)  # fmt: skip


def pointwise(walk: Walk, step: Step) -> list[Located] | None:
    """One or several fields, sample by sample; constants that only scale or mask stay part of the move."""
    moved = _still_moved(walk, step)
    if moved is not None:
        return [moved]
    fields, statistics = [], []
    for v in step.inputs:
        if walk.is_data(v):
            located = walk.graph.located.get(v)
            if located is None:
                return None
            (statistics if walk.is_global(located) else fields).append(v)
    if not fields:
        return _of_statistics(walk, step, statistics)
    nodes = [walk.settled(v, step) for v in fields]
    if any(n is None for n in nodes):
        return _commuted(walk, step, fields, statistics)
    roles = walk.graph.nodes[nodes[0]].roles  # pyright: ignore[reportArgumentType, reportCallIssue]
    if any(walk.graph.nodes[n].roles != roles for n in nodes):  # pyright: ignore[reportArgumentType, reportCallIssue]
        return None
    inputs = [*nodes, *(walk.graph.located[v].node for v in statistics)]
    made = walk.add("pointwise", inputs, step, roles, step.outputs[0], operation=step.name)  # pyright: ignore[reportArgumentType]
    return [walk.whole(made)] * len(step.outputs)


def _still_moved(walk: Walk, step: Step) -> Located | None:
    """A product with, or a choice between the data and, constants."""
    data = [v for v in step.inputs if walk.is_data(v)]
    if len(data) != 1 or any(walk.classes[v] not in (CONSTANT, DATA) for v in step.inputs):
        return None
    located = walk.graph.located.get(data[0])
    if located is None:
        return None
    factor = _factor(walk, step, data[0])
    if factor is None:
        return None
    if factor.ndim < len(located.move.shape):
        factor = factor.reshape((1,) * (len(located.move.shape) - factor.ndim) + factor.shape)
    wide = dataclasses.replace(located.move, shape=walk.shape(step.outputs[0]))  # axes of one sample are spread
    moved = wide.times(factor)
    return None if any(_is_texture(f) for f in moved.masks) else located._replace(move=moved)


def _is_texture(factor: np.ndarray) -> bool:
    """Whether a factor is no product of one for each axis, and repeats along none: the mask of a dropout, say."""
    axes = varying(factor)
    return len(axes) > 1 and not any(_repeats(np.moveaxis(factor, a, 0)) for a in axes)


def _repeats(rows: np.ndarray) -> bool:
    return any(np.array_equal(rows[p:], rows[:-p]) for p in range(1, min(len(rows) // 2, LONGEST) + 1))


def _factor(walk: Walk, step: Step, data: Value) -> np.ndarray | None:
    name, inputs = step.name, step.inputs
    others = [walk.known(v) for v in inputs if v != data]
    if any(o is None or np.iscomplexobj(o) for o in others) or inputs.count(data) > 1:
        return None
    if name == "mul":
        return minimal(np.asarray(others[0], np.float64))
    if name == "div" and inputs[0] == data:
        return minimal(1.0 / np.asarray(others[0], np.float64)) if np.all(others[0]) else None
    if name in ("add", "add_any", "sub") and not np.any(others[0]):
        return np.asarray(-1.0) if name == "sub" and inputs[1] == data else np.asarray(1.0)
    if name == "select_n" and data != inputs[0]:
        chosen, zero = inputs.index(data) - 1, [o for v, o in zip(inputs[1:], others[1:]) if v != data]
        which = np.asarray(others[0])
        if all(not np.any(o) for o in others[1:]) or (which == chosen).all():
            return minimal((which == chosen).astype(np.float64))
        del zero
    return None


def _of_statistics(walk: Walk, step: Step, values: list[Value]) -> list[Located] | None:
    """Latents and statistics of fields: sample by sample whatever their shape."""
    first = walk.graph.located[values[0]]
    base = walk.graph.nodes[first.node]
    nodes = tuple(dict.fromkeys(walk.graph.located[v].node for v in values))
    for each in (walk.graph.located[v] for v in values):
        whole = walk.graph.nodes[each.node]
        if each.move.is_identity() and each.move.shape == whole.shape == walk.shape(step.outputs[0]):
            made = walk.add("pointwise", nodes, step, whole.roles, step.outputs[0], operation=step.name)
            return [walk.whole(made)]
    node = Node("pointwise", nodes, base.shape, base.roles, step, None, operation=step.name, alone=walk.alone)
    wide = dataclasses.replace(first.move, shape=walk.shape(step.outputs[0]))  # axes of one sample are spread
    return [Located(walk.graph.add(node), wide)]


def _commuted(walk: Walk, step: Step, fields: list[Value], statistics: list[Value]) -> list[Located] | None:
    """Done before the move instead of after it, where that is the same."""
    located = [_unscaled(walk, step, walk.graph.located[v]) for v in fields]
    first = max(located, key=lambda each: walk.graph.nodes[each.node].feature_count)
    if any(not _together(walk, each, first) for each in located):
        return None
    if any(np.setdiff1d(f, (0.0, 1.0)).size for f in first.move.masks):
        return None
    if first.move.masks and not _keeps_zero(walk, step):
        walk.notes.add(f"{step.name} of zeros that were put in: taken as zeros")
    gated = _gated(walk, step, first)
    if gated is not None:
        return [gated] * len(step.outputs)
    base = walk.graph.nodes[first.node]
    nodes = tuple(dict.fromkeys([o.node for o in located] + [walk.graph.located[v].node for v in statistics]))
    node = Node("pointwise", nodes, base.shape, base.roles, step, None, operation=step.name, alone=walk.alone)
    wide = dataclasses.replace(first.move, shape=walk.shape(step.outputs[0]))  # axes of one sample are spread
    return [Located(walk.graph.add(node), wide)] * len(step.outputs)


def _unscaled(walk: Walk, step: Step, located: Located) -> Located:
    """With the factor that is one number applied to the field instead."""
    scale = located.move.scale
    if scale == 1:
        return located
    base = walk.graph.nodes[located.node]
    node = Node("scale", (located.node,), base.shape, base.roles, step, None, factor=scale, alone=walk.alone)
    move = dataclasses.replace(located.move, factors=located.move.masks)
    return Located(walk.graph.add(node), move)


def _gated(walk: Walk, step: Step, located: Located) -> Located | None:
    """Repeated samples of which other arrays let some pass: the gradient of a largest sample written as a reshape."""
    move = located.move
    carries = carried(walk.graph.nodes[located.node].roles, move)
    spread = [d for d, has in enumerate(carries.axes) if not has and move.shape[d] > 1]
    others = [v for v in step.inputs if not walk.is_data(v) and walk.shape(v) == move.shape]
    if not spread or 0 in spread or not others:
        return None
    shape = list(move.shape)
    for d in reversed(spread):
        shape[d - 1 : d + 1] = [shape[d - 1] * shape[d]]
    up = settle(walk.graph, Located(located.node, reshape(move, tuple(shape))), step, None, layout=walk.layout)
    if up is None or walk.graph.nodes[up].kind != "move":
        return None
    walk.graph.nodes[up] = dataclasses.replace(walk.graph.nodes[up], kind="route", operation=step.name)
    return Located(up, reshape(identity(tuple(shape)), move.shape))


def _together(walk: Walk, other: Located, first: Located) -> bool:
    """Whether two arrays take their samples from the same places, channels apart where one has a single channel."""
    one, wide = walk.graph.nodes[other.node], walk.graph.nodes[first.node]
    if one.roles != wide.roles or [n for n, r in zip(one.shape, one.roles) if r != CHANNEL] != [
        n for n, r in zip(wide.shape, wide.roles) if r != CHANNEL
    ]:
        return False
    pairs = list(zip(other.move.factors, first.move.factors))
    for c, d, r in zip(other.move.coords, first.move.coords, one.roles):
        if r != CHANNEL:
            pairs.append((c, d))
        elif not _follows(c, d):
            return False
    same = len(other.move.factors) == len(first.move.factors)
    return same and all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


def _follows(other: np.ndarray, first: np.ndarray) -> bool:
    """Whether one coordinate says what another is: the maximum over a head's keys goes with all keys of that head."""
    if other.size == 1 or (other.shape == first.shape and np.array_equal(other, first)):
        return True
    if not varying(other) <= varying(first):
        return False
    pairs = np.stack([np.broadcast_to(other, first.shape).ravel(), first.ravel()])
    return np.unique(pairs, axis=1).shape[1] == np.unique(first).size


def _keeps_zero(walk: Walk, step: Step) -> bool:
    """Whether zeros stay zeros."""
    operands = []
    for v in step.inputs:
        known = walk.known(v)
        if known is None and walk.classes[v] != DATA:
            return step.name in ("mul", "div")
        aval = walk.program.avals[v]
        operands.append(np.zeros((), aval.dtype) if known is None else known.ravel()[0])
    if any(varying(np.asarray(walk.known(v))) for v in step.inputs if walk.known(v) is not None):
        return False
    with jax.debug_nans(False):
        return not np.any(evaluate(step.equation, operands)[0])

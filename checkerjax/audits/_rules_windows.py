"""Rules of the primitives that read windows: convolutions, pools and their gradients."""

from __future__ import annotations

from checkerjax.audits._axes import AxisReads, window_reads
from checkerjax.audits._flatten import Step, Value
from checkerjax.audits._graph import BATCH, CHANNEL, Located, Roles
from checkerjax.audits._walk_state import DATA, Walk, kernel_of


def spec_roles(spec: tuple[int, ...]) -> Roles:
    """The roles of axes from (batch, feature, *spatial) indices."""
    roles: list[str | int] = [BATCH] * len(spec)
    roles[spec[1]] = CHANNEL
    for axis, at in enumerate(spec[2:]):
        roles[at] = axis
    return tuple(roles)


def convolution(walk: Walk, step: Step) -> list[Located] | None:
    p = step.params
    numbers = p["dimension_numbers"]
    x, kernel = step.inputs
    if not walk.is_data(x) or p["batch_group_count"] != 1:
        return None
    node = walk.settled(x, step, spec_roles(numbers.lhs_spec))
    if node is None:
        return None
    roles = spec_roles(numbers.out_spec)
    out_shape, sizes = walk.shape(step.outputs[0]), walk.graph.nodes[node].spatial
    outputs = [out_shape[i] for i in numbers.out_spec[2:]]
    taps = [walk.shape(kernel)[i] for i in numbers.rhs_spec[2:]]
    reads = tuple(
        window_reads(n, o, k, s, low, dilation=d, stuffing=u)
        for n, o, k, s, (low, _), d, u in zip(
            sizes, outputs, taps, p["window_strides"], p["padding"], p["rhs_dilation"], p["lhs_dilation"]
        )
    )
    order = (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0])
    return _convolved(walk, step, node, roles, reads, kernel, order, p["feature_group_count"])


def _convolved(
    walk: Walk, step: Step, node: int, roles: Roles, reads: tuple[AxisReads, ...], kernel: Value,
    order: tuple[int, ...], groups: int,
) -> list[Located]:  # fmt: skip
    sources = [node]
    if walk.classes[kernel] == DATA and kernel in walk.graph.located:
        sources.append(walk.graph.located[kernel].node)
    taps = kernel_of(walk, kernel, order, groups)
    return [walk.whole(walk.add("conv", sources, step, roles, step.outputs[0], reads=reads, kernel=taps))]


def scattered(walk: Walk, step: Step) -> list[Located] | None:
    """The package's own transposed convolution: tap j of sample m lands on s m + d j - low."""
    x, kernel = step.inputs
    grid = step.params["grid"]
    ndim = grid.ndim
    roles: Roles = (BATCH, *range(ndim), CHANNEL)
    node = walk.settled(x, step, roles) if walk.is_data(x) else None
    if node is None:
        return None
    reads = tuple(
        window_reads(m, n, k, 1, -low, dilation=-d, stuffing=s)
        for m, n, k, s, d, low in zip(grid.small, grid.large, grid.kernel, grid.stride, grid.dilation, grid.low)
    )
    return _convolved(walk, step, node, roles, reads, kernel, tuple(range(ndim + 2)), 1)


def gathered(walk: Walk, step: Step) -> list[Located] | None:
    """The package's own strided convolution."""
    x, kernel = step.inputs
    grid = step.params["grid"]
    ndim = grid.ndim
    roles: Roles = (BATCH, *range(ndim), CHANNEL)
    node = walk.settled(x, step, roles) if walk.is_data(x) else None
    if node is None:
        return None
    reads = tuple(
        window_reads(n, m, k, s, low, dilation=d)
        for m, n, k, s, d, low in zip(grid.small, grid.large, grid.kernel, grid.stride, grid.dilation, grid.low)
    )
    order = (*range(ndim), ndim + 1, ndim)
    return _convolved(walk, step, node, roles, reads, kernel, order, 1)


def pool(walk: Walk, step: Step) -> list[Located] | None:
    """`reduce_window` and its kinds."""
    p = step.params
    node = walk.settled(step.inputs[0], step) if walk.is_data(step.inputs[0]) else None
    if node is None:
        return None
    before = walk.graph.nodes[node]
    ones = (1,) * len(before.roles)
    windows, strides = p["window_dimensions"], p["window_strides"]
    stuffing, dilation = p.get("base_dilation") or ones, p.get("window_dilation") or ones
    out_shape = walk.shape(step.outputs[0])
    if any(w != 1 or s != 1 for w, s, r in zip(windows, strides, before.roles) if r == BATCH):
        return None
    reads = []
    for axis in range(len(before.spatial)):
        d = before.roles.index(axis)
        low = p["padding"][d][0]
        reads.append(
            window_reads(
                before.shape[d], out_shape[d], windows[d], strides[d], low, dilation=dilation[d], stuffing=stuffing[d]
            )
        )
    operation = step.name.removeprefix("reduce_window").lstrip("_") or _reducer(step)
    if not operation:
        return None
    if all(r.is_identity() for r in reads):  # windows over channels alone
        made = walk.add("pointwise", [node], step, before.roles, step.outputs[0], operation=step.name)
    else:
        made = walk.add("window", [node], step, before.roles, step.outputs[0], reads=tuple(reads), operation=operation)
    return [walk.whole(made)] + [walk.whole(made)] * (len(step.outputs) - 1)


def _reducer(step: Step) -> str:
    """What a generic reduce_window does: the one primitive of its body."""
    body = step.params.get("jaxpr")
    names = [e.primitive.name for e in getattr(body, "jaxpr", body).eqns] if body is not None else []
    return {"add": "sum", "max": "max", "min": "min", "add_any": "sum"}.get(names[0], "") if len(names) == 1 else ""


def routed(walk: Walk, step: Step) -> list[Located] | None:
    """`select_and_scatter_add`: each gradient goes to the sample that won its window."""
    p = step.params
    source = step.inputs[0]  # the second is what the windows were taken of
    node = walk.settled(source, step) if walk.is_data(source) else None
    if node is None:
        return None
    before = walk.graph.nodes[node]
    out_shape = walk.shape(step.outputs[0])
    reads = []
    for axis in range(len(before.spatial)):
        d = before.roles.index(axis)
        k, s, low = p["window_dimensions"][d], p["window_strides"][d], p["padding"][d][0]
        reads.append(window_reads(before.shape[d], out_shape[d], k, 1, -low, dilation=-1, stuffing=s))
    return [walk.whole(walk.add("route", [node], step, before.roles, step.outputs[0], reads=tuple(reads)))]

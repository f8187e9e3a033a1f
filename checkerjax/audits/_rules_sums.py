"""Rules of sums: reductions and products of matrices, whose meaning hangs on what the summed axes carry."""

from __future__ import annotations

import math

import numpy as np

from checkerjax.audits import _moves as moves
from checkerjax.audits._axes import AxisReads, read_pattern, reads_of_matrix
from checkerjax.audits._flatten import Step, Value
from checkerjax.audits._graph import BATCH, CHANNEL, Kernel, Located, Node, Role, Roles
from checkerjax.audits._moves import Move, varying
from checkerjax.audits._rules_positions import as_patches, weighted_positions
from checkerjax.audits._settle import Carried, carried, guess_roles
from checkerjax.audits._walk_state import DATA, Walk, identity_reads

REDUCTIONS = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or")


def reduction(walk: Walk, step: Step) -> list[Located] | None:
    """A sum or maximum over whole axes: a pool, a statistic of the field, or one over channels."""
    data = walk.graph.located[step.inputs[0]]
    base, axes = walk.graph.nodes[data.node], set(step.params["axes"])
    carries = carried(base.roles, data.move)
    summed: set[Role] = set().union(*(carries.axes[d] for d in axes))
    spatial = [r for r in base.roles if isinstance(r, int) and carries.by_role[r]]
    if not summed & set(spatial):
        return _over_channels(walk, step, data, axes, carries)
    if all(carries.by_role[r] <= axes for r in spatial):
        return _over_all(walk, step, data, axes, carries)
    return _windowed(walk, step, data, axes, carries)


def _left(shape: tuple[int, ...], axes: set[int]) -> list[int]:
    return [d for d in range(len(shape)) if d not in axes]


def _over_channels(walk: Walk, step: Step, data: Located, axes: set[int], carries: Carried) -> list[Located] | None:
    """A sum over (some of the) channels: the positions stay where they are, whatever was split."""
    base, move = walk.graph.nodes[data.node], data.move
    left = _left(move.shape, axes)
    if any(CHANNEL in carries.axes[d] and len(carries.axes[d]) > 1 for d in left):  # each phase has its own channels
        whole = walk.settled(step.inputs[0], step)
        if whole is None:
            return None
        data = walk.graph.located[step.inputs[0]]
        return _over_channels(walk, step, data, axes, carried(walk.graph.nodes[whole].roles, data.move))
    if any(varying(f) & axes for f in move.masks) or BATCH in set().union(*(carries.axes[d] for d in axes)):
        whole = walk.settled(step.inputs[0], step)
        if whole is None or BATCH not in walk.graph.nodes[whole].roles:
            return None
        roles = tuple(r for d, r in enumerate(walk.graph.nodes[whole].roles) if d not in axes)
        return [walk.whole(walk.add("channels", [whole], step, roles, step.outputs[0], operation=step.name))]
    kept = [d for d in left if carries.axes[d] == {CHANNEL}]
    roles = tuple(r for r in base.roles if r != CHANNEL)
    count = math.prod(move.shape[d] for d in kept)
    shape = tuple(n for n, r in zip(base.shape, base.roles) if r != CHANNEL)
    node = Node(
        "channels", (data.node,), (*shape, count), (*roles, CHANNEL), step, None, operation=step.name, alone=walk.alone
    )
    coords = [c for c, r in zip(move.coords, base.roles) if r != CHANNEL]
    if any(varying(c) & axes for c in coords):
        return None
    squeezed = [c.reshape([c.shape[d] for d in left]) for c in coords]
    radix = np.arange(count).reshape([move.shape[d] if d in kept else 1 for d in left])
    masks = tuple(f.reshape([f.shape[d] for d in left]) for f in move.factors)
    return [Located(walk.graph.add(node), Move(tuple(move.shape[d] for d in left), (*squeezed, radix), masks))]


def _over_all(walk: Walk, step: Step, data: Located, axes: set[int], carries: Carried) -> list[Located]:
    """A statistic of the whole field."""
    move = data.move
    left = _left(move.shape, axes)
    roles: list[Role] = []
    for d in left:
        has = carries.axes[d]
        roles.append(CHANNEL if CHANNEL in has else BATCH)
    if sum(r == CHANNEL for r in roles) > 1:  # groups apart: one axis of channels, split
        return _merged_channels(walk, step, data, left, roles)
    return [walk.whole(walk.add("global", [data.node], step, tuple(roles), step.outputs[0], operation=step.name))]


def _merged_channels(walk: Walk, step: Step, data: Located, left: list[int], roles: list[Role]) -> list[Located]:
    sizes = [data.move.shape[d] for d in left]
    batch = [n for n, r in zip(sizes, roles) if r == BATCH]
    count = math.prod(n for n, r in zip(sizes, roles) if r == CHANNEL)
    shape, node_roles = (*batch, count), (*(BATCH for _ in batch), CHANNEL)
    node = Node("global", (data.node,), shape, node_roles, step, None, operation=step.name, alone=walk.alone)
    coords = []
    for i in range(len(batch)):
        at = [j for j, r in enumerate(roles) if r == BATCH][i]
        coords.append(moves.along(np.arange(batch[i]), at, len(sizes)))
    radix = np.arange(count).reshape([n if r == CHANNEL else 1 for n, r in zip(sizes, roles)])
    return [Located(walk.graph.add(node), Move(tuple(sizes), (*coords, radix)))]


def _windowed(walk: Walk, step: Step, data: Located, axes: set[int], carries: Carried) -> list[Located] | None:
    """A pool written as a reshape and a sum: each output takes the samples along the summed part of its axis."""
    base, move = walk.graph.nodes[data.node], data.move
    left = _left(move.shape, axes)
    reads: list[AxisReads] = []
    places: dict[Role, int] = {}
    for axis in range(len(base.spatial)):
        at = carries.by_role[axis]
        kept, gone = sorted(at - axes), sorted(at & axes)
        if len(kept) > 1 or (not kept and base.spatial[axis] > 1) or any(len(carries.axes[d] - {axis}) for d in gone):
            return None
        if not kept:
            free = [d for d in left if not carries.axes[d] and d not in places.values()]
            if not free:
                return None
            kept = free[:1]
        one = _taps(move, base, axis, kept[0], gone)
        if one is None:
            return None
        reads.append(one)
        places[axis] = kept[0]
    after = Move(tuple(move.shape[d] for d in left), ())
    roles = _roles_after(base.roles, carries, left, places)
    if roles is None or len(roles) != len(after.shape):
        return None
    operation = step.name.removeprefix("reduce_")
    return [
        walk.whole(
            walk.add("window", [data.node], step, roles, step.outputs[0], reads=tuple(reads), operation=operation)
        )
    ]


def _taps(move: Move, base: Node, axis: int, kept: int, gone: list[int]) -> AxisReads | None:
    outputs = move.shape[kept]
    positions, weights = move.coords[base.roles.index(axis)], np.ones((1,) * len(move.shape))
    for f in move.masks:
        if varying(f) <= {kept, *gone}:
            weights = weights * f

    def table(a: np.ndarray) -> np.ndarray:
        wide = [move.shape[d] if d == kept or d in gone else 1 for d in range(len(move.shape))]
        moved = np.moveaxis(np.broadcast_to(a, [w if w > 1 else n for w, n in zip(wide, a.shape)]), kept, 0)
        return moved.reshape(outputs, -1)

    taps = table(positions).astype(np.int64)
    found = read_pattern(base.spatial[axis], taps, np.broadcast_to(table(weights), taps.shape))
    return found


def _roles_after(source: Roles, carries: Carried, left: list[int], places: dict[Role, int]) -> Roles | None:
    by_place = {d: r for r, d in places.items()}
    roles: list[Role] = []
    for d in left:
        has = carries.axes[d]
        roles.append(by_place[d] if d in by_place else CHANNEL if CHANNEL in has else BATCH)
    if CHANNEL not in roles and CHANNEL in source:
        spare = [i for i, d in enumerate(left) if not carries.axes[d] and d not in by_place]
        if spare:
            roles[spare[-1]] = CHANNEL
    return tuple(roles) if sum(r == CHANNEL for r in roles) <= 1 else None


def product(walk: Walk, step: Step) -> list[Located] | None:
    """`dot_general`: channels mixed, a resize along one axis, a latent unfolded, or attention."""
    left, right = step.inputs
    (lc, rc), (lb, rb) = step.params["dimension_numbers"]
    if walk.is_data(left) and walk.is_data(right):
        return _mixed(walk, step)
    first = walk.is_data(left)
    data, other = (left, right) if first else (right, left)
    contracted, other_contracted = (lc, rc) if first else (rc, lc)
    batched, other_batched = (lb, rb) if first else (rb, lb)
    located = walk.graph.located.get(data)
    if located is None:
        return None
    base = walk.graph.nodes[located.node]
    carries = carried(base.roles, located.move)
    gone: set[Role] = set().union(*(carries.axes[d] for d in contracted))
    size = math.prod(located.move.shape[d] for d in contracted)
    free = [d for d in range(len(walk.shape(other))) if d not in other_contracted and d not in other_batched]
    # An axis of one sample carries nothing: what it is, the field itself must say.
    known = bool(gone) or not _may_be_space(base, located, contracted)
    only_channels = known and gone <= {CHANNEL} and carries.by_role.get(CHANNEL, frozenset()) <= {*contracted, *batched}
    if only_channels and not any(varying(f) & set(contracted) for f in located.move.masks):
        return _channel_product(walk, step, located, first, contracted, batched, other, other_contracted, free, size)
    matrix = walk.known(other)
    along = len(contracted) == 1 and len(free) == 1 and not batched and matrix is not None and matrix.ndim == 2
    spatial = {r for r in base.roles if isinstance(r, int)}
    whole = spatial and all(carries.by_role[r] <= set(contracted) for r in spatial)
    if whole and CHANNEL not in gone and math.prod(walk.shape(other)[d] for d in free) == math.prod(base.spatial) > 1:
        return _positions_mixed(walk, step, located, first, contracted, batched, len(free))
    if batched and gone and gone <= spatial:
        attended = weighted_positions(walk, step, located, first, [walk.shape(other)[d] for d in free])
        if attended is not None:
            return attended
    if whole and (CHANNEL in gone or not along):
        return _flattened_product(walk, step, located.node, first, contracted, free, len(located.move.shape))
    node = walk.settled(data, step)
    if node is None:
        patches = as_patches(walk, step, located) if CHANNEL in gone else None
        if patches is None:
            return None
        return _channel_product(walk, step, patches, first, contracted, batched, other, other_contracted, free, size)
    base, located = walk.graph.nodes[node], walk.whole(node)
    if {base.roles[d] for d in contracted} == {CHANNEL}:
        return _channel_product(walk, step, located, first, contracted, batched, other, other_contracted, free, size)
    if not along:
        return None
    rows = matrix if other_contracted[0] == 1 else matrix.T  # pyright: ignore[reportOptionalMemberAccess]
    kept = [d for d in range(len(base.roles)) if d != contracted[0]]
    new = len(kept) if first else 0
    reads = reads_of_matrix(np.asarray(rows, np.float64), lenient=walk.graph.lenient)
    return walk.along_axis(step, located, contracted[0], new, reads)


def _may_be_space(base: Node, located: Located, contracted: tuple[int, ...]) -> bool:
    """Whether one of the axes, all of one sample, is a spatial axis of the field."""
    if not located.move.is_identity() or located.move.shape != base.shape:
        return False
    return any(isinstance(base.roles[d], int) for d in contracted)


def _channel_product(
    walk: Walk, step: Step, located: Located, first: bool, contracted: tuple[int, ...], batched: tuple[int, ...],
    other: Value, other_contracted: tuple[int, ...], free: list[int], size: int,
) -> list[Located] | None:  # fmt: skip
    """Channels to channels at every position, also where positions are split or merged."""
    base, move = walk.graph.nodes[located.node], located.move
    carries = carried(base.roles, move)
    features = [walk.shape(other)[d] for d in free]
    kept = [d for d in range(len(move.shape)) if d not in contracted and d not in batched]
    # The output has the batched axes, then the free ones of the left operand, then those of the right.
    order = [*batched, *kept]
    at = len(order) if first else len(batched)
    shape = [move.shape[d] for d in order]
    shape[at:at] = features

    def moved(a: np.ndarray) -> np.ndarray:
        rest = a.transpose([*order, *contracted])
        rest = rest.reshape(rest.shape[: len(order)] if all(n == 1 for n in rest.shape[len(order) :]) else rest.shape)
        sizes = rest.shape[: len(order)]
        return rest.reshape(*sizes[:at], *(1 for _ in features), *sizes[at:])

    rows = [(c, r) for c, r in zip(move.coords, base.roles) if r != CHANNEL]
    if any(varying(c) & set(contracted) for c, _ in rows):
        return None
    groups = [i for i, d in enumerate(batched) if CHANNEL in carries.axes[d]]
    radix_axes = {*groups, *range(at, at + len(features))}
    count = math.prod(shape[i] for i in radix_axes)
    radix = np.arange(count).reshape([shape[i] if i in radix_axes else 1 for i in range(len(shape))])
    placed = Move(tuple(shape), (*(moved(c) for c, _ in rows), radix), tuple(moved(f) for f in move.factors))
    single = size if not groups and len(other_contracted) == 1 else None
    kernel = _pointwise_kernel(walk, other, (*other_contracted, *free), len(base.spatial), single)
    if any(carries.axes[d] - {BATCH, CHANNEL} for d in batched):  # each position, or window, has its own
        kernel = None
    index = walk.graph.add(_channel_node(walk, step, located.node, count, kernel))
    if placed.is_identity():
        walk.hold(index, step.outputs[0])
    return [Located(index, placed)]


def _channel_node(walk: Walk, step: Step, at: int, count: int, kernel: Kernel | None) -> Node:
    """A field with other channels: a convolution of one tap, of a latent a dense layer, without a kernel a mixture."""
    base = walk.graph.nodes[at]
    roles = (*(r for r in base.roles if r != CHANNEL), CHANNEL)
    shape = (*(n for n, r in zip(base.shape, base.roles) if r != CHANNEL), count)
    if not any(isinstance(r, int) for r in base.roles):
        return Node("dense", (at,), shape, roles, step, None, alone=walk.alone, operation="dot_general")
    if kernel is None:
        return Node("mix", (at,), shape, roles, step, None, alone=walk.alone, operation="dot_general")
    reads = tuple(identity_reads(n) for n in base.spatial)
    return Node("conv", (at,), shape, roles, step, None, reads, kernel, alone=walk.alone)


def _pointwise_kernel(walk: Walk, other: Value, order: tuple[int, ...], ndim: int, size: int | None) -> Kernel:
    """Of one tap; its array where it is a constant matrix with `size` channels coming in."""
    known = walk.known(other)
    array = None
    if known is not None and size is not None:
        array = np.asarray(known, np.float64).transpose(order).reshape((1,) * ndim + (size, -1))
    return Kernel(other, walk.classes[other], order, 1, array)


def _positions_mixed(
    walk: Walk,
    step: Step,
    located: Located,
    first: bool,
    contracted: tuple[int, ...],
    batched: tuple[int, ...],
    free: int,
) -> list[Located] | None:
    """Every position from all others, by weights that are no data of this program: the gradient of attention."""
    base, move = walk.graph.nodes[located.node], located.move
    kept = [d for d in range(len(move.shape)) if d not in contracted and d not in batched]
    shape = walk.shape(step.outputs[0])
    start = len(batched) + (len(kept) if first else 0)
    places = range(start, start + free)
    rest = [*batched, *kept]
    at = [i for i in range(len(shape)) if i not in places]
    count = math.prod(base.spatial)
    index = np.arange(count).reshape([shape[i] if i in places else 1 for i in range(len(shape))])
    spatial = dict(enumerate(np.unravel_index(index, base.spatial)))
    coords = []
    for c, r in zip(move.coords, base.roles):
        if isinstance(r, int):
            coords.append(np.asarray(spatial[r]))
        elif any(c.shape[d] > 1 for d in contracted):
            return None
        else:
            sizes = [1] * len(shape)
            for i, d in zip(at, rest):
                sizes[i] = c.shape[d]
            coords.append(c.transpose([*rest, *contracted]).reshape(sizes))
    node = Node("mix", (located.node,), base.shape, base.roles, step, None, operation=step.name, alone=walk.alone)
    return [Located(walk.graph.add(node), Move(shape, tuple(coords)))]


def _flattened_product(
    walk: Walk, step: Step, node: int, first: bool, contracted: tuple[int, ...], free: list[int], ndim: int
) -> list[Located]:
    batch = [BATCH] * (ndim - len(contracted))
    features = [CHANNEL for _ in free]
    roles = tuple(batch + features if first else features + batch)
    return [walk.whole(walk.add("flatten", [node], step, roles, step.outputs[0], operation="dot_general"))]


def _mixed(walk: Walk, step: Step) -> list[Located] | None:
    """Data times data: positions stay those of the operand whose free axes carry them."""
    (lc, rc), (lb, rb) = step.params["dimension_numbers"]
    sides = []
    for v, contracted, batched in ((step.inputs[0], lc, lb), (step.inputs[1], rc, rb)):
        located = walk.graph.located.get(v)
        if located is None:
            return None
        base = walk.graph.nodes[located.node]
        carries = carried(base.roles, located.move)
        kept = [d for d in range(len(located.move.shape)) if d not in contracted and d not in batched]
        spatial = {r for d in (*kept, *batched) for r in carries.axes[d] if isinstance(r, int)}
        sides.append((located, base, carries, batched, kept, spatial))
    (left, right) = sides
    chosen = 0 if left[5] or not right[5] else 1
    located, base, carries, batched, kept, _ = sides[chosen]
    shape = walk.shape(step.outputs[0])
    start = len(batched) + (0 if chosen == 0 else len(left[4]))
    at = {d: i for i, d in enumerate(batched)} | {d: start + i for i, d in enumerate(kept)}
    own = [d for d in at if carries.axes[d] - {CHANNEL}]
    radix_axes = sorted(i for i in range(len(shape)) if i not in {at[d] for d in own})
    count = math.prod(shape[i] for i in radix_axes)

    def moved(a: np.ndarray) -> np.ndarray | None:
        if any(a.shape[d] > 1 for d in range(a.ndim) if d not in at):
            return None
        sizes = [1] * len(shape)
        for d, i in sorted(at.items(), key=lambda item: item[1]):
            sizes[i] = a.shape[d]
        order = sorted(at, key=lambda d: at[d])
        return a.transpose([*order, *(d for d in range(a.ndim) if d not in at)]).reshape(sizes)

    coords = [moved(c) for c, r in zip(located.move.coords, base.roles) if r != CHANNEL]
    if any(c is None for c in coords):
        return None
    radix = np.arange(count).reshape([shape[i] if i in radix_axes else 1 for i in range(len(shape))])
    roles = (*(r for r in base.roles if r != CHANNEL), CHANNEL)
    node_shape = (*(n for n, r in zip(base.shape, base.roles) if r != CHANNEL), count)
    inputs = tuple(dict.fromkeys((left[0].node, right[0].node)))
    node = Node("mix", inputs, node_shape, roles, step, None, operation=step.name, alone=walk.alone)
    return [Located(walk.graph.add(node), Move(shape, (*coords, radix)))]  # pyright: ignore[reportArgumentType]


__all__ = ["DATA", "REDUCTIONS", "guess_roles", "product", "reduction"]

"""From "these elements of that field" to an operation between two fields: which axis is which, and what it reads."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from checkerjax.audits._axes import AxisReads, as_read, read_pattern
from checkerjax.audits._flatten import Step, Value
from checkerjax.audits._graph import BATCH, CHANNEL, MOST_AXES, Graph, Located, Node, Role, Roles
from checkerjax.audits._moves import Move, varying


class Carried(NamedTuple):
    """Which roles of the source the axes of an array carry, and which axes carry each role."""

    axes: tuple[frozenset[Role], ...]  # per axis of the array
    by_role: dict[Role, frozenset[int]]


def carried(roles: Roles, move: Move) -> Carried:
    """What varies along what."""
    by_role: dict[Role, frozenset[int]] = {}
    for i, role in enumerate(roles):
        by_role[role] = by_role.get(role, frozenset()) | move.varies(i)
    axes = tuple(frozenset(r for r, at in by_role.items() if d in at) for d in range(len(move.shape)))
    return Carried(axes, by_role)


def settle(
    graph: Graph, located: Located, step: Step | None, value: Value | None, *, want: Roles | None = None, layout: str
) -> int | None:
    """The node whose field is the array itself; None where the array is no field (an axis in the middle of a split).

    Args:
      graph: takes the new nodes.
      located: the array.
      step: named as the maker of a new node.
      value: the array's number in the program.
      want: the roles that a reader gives the axes.
      layout: decides where a latent's channels go when nothing else does.
    """
    base, move = graph.nodes[located.node], located.move
    if move.shape == base.shape and move.is_identity() and (want is None or _same_roles(base.roles, want, move.shape)):
        return located.node
    if not any(isinstance(r, int) for r in base.roles):
        return _settle_latent(graph, located, step, value, want, layout)
    carries = carried(base.roles, move)
    roles = want or (_as_before(base, carries) if graph.lenient else None) or guess_roles(base.roles, carries, move)
    if roles is None:
        return None
    if not any(isinstance(r, int) for r in roles):
        return None
    return _settle_field(graph, located, step, value, roles, carries)


def _as_before(base: Node, carries: Carried) -> Roles | None:
    """The roles of the source, where channels become phases of an axis of one sample, which itself carries nothing."""
    if len(carries.axes) != len(base.roles) or BATCH not in base.roles:
        return None
    fits = all(has <= {role, CHANNEL} for has, role in zip(carries.axes, base.roles) if role != BATCH)
    return base.roles if fits and 1 in base.spatial else None


def _same_roles(roles: Roles, want: Roles, shape: tuple[int, ...]) -> bool:
    return all(a == b for a, b, n in zip(roles, want, shape) if n > 1) and sorted(map(str, roles)) == sorted(
        map(str, want)
    )


def guess_roles(source: Roles, carries: Carried, move: Move) -> Roles | None:
    """The roles of an array's axes, from what they carry; None if they are no field's."""
    spatial = [r for r in source if isinstance(r, int)]
    roles: list[Role | None] = [None] * len(move.shape)
    if sum(not has <= {BATCH} for has in carries.axes) == 1 and len(spatial) + 2 > len(move.shape):
        return None  # all in one axis: flattened
    for d, has in enumerate(carries.axes):
        here = [r for r in has if isinstance(r, int)]
        if BATCH in has:
            if has - {BATCH, CHANNEL}:
                return None
            roles[d] = CHANNEL if CHANNEL in has else BATCH
        elif here and (CHANNEL not in has or len(here) == 1):
            roles[d] = here[0] if len(here) == 1 else None
            if roles[d] is None:
                return None
        elif CHANNEL in has:
            roles[d] = CHANNEL
    merged = _without_splits(roles, carries, spatial)
    return None if merged is None else _filled(merged, source, move.shape)


def _without_splits(roles: list[Role | None], carries: Carried, spatial: list[int]) -> list[Role | None] | None:
    """One axis for each spatial role: of two, the one that carries channels as well is channels (space to depth)."""
    for axis in spatial:
        at = [d for d, r in enumerate(roles) if r == axis]
        if len(at) <= 1:
            continue
        plain = [d for d in at if CHANNEL not in carries.axes[d]]
        if len(plain) != 1:
            return None
        for d in at:
            roles[d] = axis if d == plain[0] else CHANNEL
    if sum(r == CHANNEL for r in roles) > 1:
        return None
    return roles


def _filled(roles: list[Role | None], source: Roles, shape: tuple[int, ...]) -> Roles | None:
    """Axes that carry nothing take the roles that are missing, in the order of the source."""
    empty = [d for d, r in enumerate(roles) if r is None]
    missing = [r for r in source if r not in roles and (isinstance(r, int) or r == CHANNEL)]
    if BATCH in source and BATCH not in roles:
        missing.insert(0, BATCH)
    if len(empty) < len([r for r in missing if r != BATCH and r != CHANNEL]):
        return None
    if len(empty) == len(missing):
        order = {r: i for i, r in enumerate(source)}
        for d, r in zip(empty, sorted(missing, key=lambda r: order[r])):
            roles[d] = r
    else:
        needed = [r for r in missing if isinstance(r, int)]
        wide = [d for d in empty if shape[d] > 1]
        if CHANNEL not in source and CHANNEL not in roles and len(empty) > len(needed):  # what was summed away
            roles[wide[0] if wide else empty[-1]] = CHANNEL
            empty = [d for d in empty if roles[d] is None]
        if any(shape[d] > 1 for d in empty):
            return None
        for d in empty:
            roles[d] = needed.pop(0) if needed else BATCH
    return tuple(r if r is not None else BATCH for r in roles)


def _settle_field(
    graph: Graph, located: Located, step: Step | None, value: Value | None, roles: Roles, carries: Carried
) -> int | None:
    base, move = graph.nodes[located.node], located.move
    places = {r: d for d, r in enumerate(roles) if r != BATCH}
    axes = sorted(r for r in roles if isinstance(r, int))
    if sorted(r for r in base.roles if isinstance(r, int)) != axes or not _batch_is_batch(roles, carries):
        return None
    channel = places.get(CHANNEL)
    reads: list[AxisReads] = []
    gathers = False
    for axis in axes:
        at, d = carries.by_role[axis], places[axis]
        if at <= {d}:
            one = _axis_reads(base, move, axis, d, graph.lenient)
        elif channel is not None and at <= {d, channel}:
            one, gathers = _unshuffled(base, move, axis, d, channel), True
        else:
            return None
        if one is None:
            return None
        reads.append(one)
    if not _masks_are_separable(move, roles):
        return None
    made = _channel_map(base, move, roles, reads)
    if made is None:
        return None
    channels, scatters = made
    if gathers and scatters:
        return None
    kind = "unshuffle" if gathers else "shuffle" if scatters else "move"
    node = Node(kind, (located.node,), move.shape, roles, step, value, tuple(reads), channels=channels)
    if kind == "move":
        node = dataclasses.replace(node, factor=move.scale)
    plain = kind == "move" and channels is None and all(r.is_identity() for r in reads)
    source = located.node if plain and base.roles == roles and base.shape == move.shape else graph.add(node)
    if move.scale == 1 or (kind == "move" and not plain):
        return source
    return graph.add(Node("scale", (source,), move.shape, roles, step, value, factor=move.scale))


def _batch_is_batch(roles: Roles, carries: Carried) -> bool:
    return all(has <= {BATCH} for has, r in zip(carries.axes, roles) if r == BATCH) and all(
        BATCH not in has for has, r in zip(carries.axes, roles) if isinstance(r, int)
    )


def _vector(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    return np.broadcast_to(np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])[0], size)


def _axis_reads(base: Node, move: Move, axis: int, d: int, lenient: bool) -> AxisReads | None:
    """Of an axis whose samples come from one axis."""
    outputs = move.shape[d]
    positions = _vector(move.coords[base.roles.index(axis)], d, outputs).astype(np.int64)
    weights = np.ones(outputs)
    for mask in move.masks:
        if varying(mask) == {d}:
            weights = weights * _vector(mask, d, outputs)
    reads = base.spatial[axis], positions[:, None], weights[:, None]
    return read_pattern(*reads) or (as_read(*reads) if lenient else None)


def _unshuffled(base: Node, move: Move, axis: int, d: int, channel: int) -> AxisReads | None:
    """Of an axis whose phases became channels: each output reads the window of its channels."""
    coords = move.coords[base.roles.index(axis)]
    table = np.moveaxis(coords, (d, channel), (0, 1)).reshape(coords.shape[d], coords.shape[channel])
    rows = [np.unique(row) for row in table]
    if len({len(row) for row in rows}) != 1:
        return None
    positions = np.stack(rows).astype(np.int64)
    return read_pattern(base.spatial[axis], positions, np.ones(positions.shape))


def _masks_are_separable(move: Move, roles: Roles) -> bool:
    return all(len(varying(m)) == 1 and roles[next(iter(varying(m)))] != BATCH for m in move.masks)


def _channel_map(base: Node, move: Move, roles: Roles, reads: list[AxisReads]) -> tuple[np.ndarray | None, bool] | None:
    """Which channel each channel comes from; with phases in front where that depends on the phase."""
    if CHANNEL not in base.roles:
        return None, False
    coords = move.coords[base.roles.index(CHANNEL)]
    places = [roles.index(a) for a in sorted(r for r in roles if isinstance(r, int))]
    at = varying(coords)
    channel = roles.index(CHANNEL) if CHANNEL in roles else None
    if not at & set(places):
        if channel is None:
            return (None, False) if coords.size == 1 else None
        if not at <= {channel}:
            return None
        row = _vector(coords, channel, move.shape[channel])
        same = len(row) == base.feature_count and np.array_equal(row, np.arange(len(row)))
        return (None if same else row), False
    if not at <= {*places, *(() if channel is None else (channel,))}:
        return None
    sizes = [move.shape[d] for d in places]
    features = 1 if channel is None else move.shape[channel]
    order = [*places, *([] if channel is None else [channel])]
    wide = [move.shape[d] if d in order else 1 for d in range(len(move.shape))]
    full = np.transpose(np.broadcast_to(coords, wide), [*order, *(d for d in range(len(wide)) if d not in order)])
    full = full.reshape(*sizes, features)
    turns = tuple(r.up for r in reads)
    if any(n % t for n, t in zip(sizes, turns)) or math.prod(turns) == 1:
        return None
    block = full[tuple(slice(t) for t in turns)]
    repeats = (*(n // t for n, t in zip(sizes, turns)), 1)
    return (block, True) if np.array_equal(np.tile(block, repeats), full) else None


def _settle_latent(
    graph: Graph, located: Located, step: Step | None, value: Value | None, want: Roles | None, layout: str
) -> int | None:
    """An array whose source has no space: a latent still, or the field that it was unfolded into."""
    base, move = graph.nodes[located.node], located.move
    carries = carried(base.roles, move)
    if any(BATCH in has and len(has) > 1 for has in carries.axes) or move.masks:
        return None
    roles = want or _latent_roles(carries, move, layout)
    if roles is None or any(has and BATCH in has for has, r in zip(carries.axes, roles) if r != BATCH):
        return None
    if want is None and any(not has and n > 1 for has, n in zip(carries.axes, move.shape)):
        return None  # spread over positions: a statistic, unless somebody reads it as a field
    spatial = any(isinstance(r, int) for r in roles)
    return graph.add(
        Node("unflatten" if spatial else "dense", (located.node,), move.shape, roles, step, value, operation="move")
    )


def _latent_roles(carries: Carried, move: Move, layout: str) -> Roles | None:
    batch = [d for d, has in enumerate(carries.axes) if BATCH in has]
    rest = [d for d in range(len(move.shape)) if d not in batch]
    if not batch and rest and move.shape[rest[0]] == 1:
        batch, rest = rest[:1], rest[1:]
    if not 0 < len(rest) <= MOST_AXES + 1 or batch != list(range(len(batch))):
        return None
    channel = rest[-1] if layout == "channel_last" else rest[0]
    axes = iter(range(len(rest)))
    return tuple(BATCH if d in batch else CHANNEL if d == channel else next(axes) for d in range(len(move.shape)))

"""Products along axes that hold positions in other ways than one axis each: attention's gradient, and patches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from checkerjax.audits import _moves as moves
from checkerjax.audits._flatten import Step
from checkerjax.audits._graph import CHANNEL, Located, Node
from checkerjax.audits._moves import Move, varying
from checkerjax.audits._settle import Carried, carried
from checkerjax.audits._walk_state import Walk


def weighted_positions(
    walk: Walk, step: Step, located: Located, first: bool, free: Sequence[int]
) -> list[Located] | None:
    """Positions summed with weights that are no data here, as in gradients of attention; None where it is not that.

    Either every position, or every one of a window, becomes a sum of others, along the other operand's free axis; or
    the data are such weights `[heads, queries, keys]` themselves, and the positions that are left are the keys'.

    Args:
      walk: the state.
      step: a `dot_general`.
      located: the operand that is data.
      first: whether it is the left one.
      free: sizes of the other's axes that are neither summed nor shared.
    """
    base, move = walk.graph.nodes[located.node], located.move
    (lc, rc), (lb, rb) = step.params["dimension_numbers"]
    contracted, batched = (lc, lb) if first else (rc, rb)
    if len(contracted) != 1 or any(varying(f) & set(contracted) for f in move.masks):
        return None
    (summed,), carries = contracted, carried(base.roles, move)
    rest = [*batched, *(d for d in range(len(move.shape)) if d != summed and d not in batched)]
    shape = walk.shape(step.outputs[0])
    start = len(rest) if first else len(batched)
    added = range(start, start + len(free))
    at = dict(zip(rest, (i for i in range(len(shape)) if i not in added)))
    if len(free) == 1 and free[0] == move.shape[summed]:
        at[summed] = start
        coords = [_placed(c, at, len(shape)) for c in move.coords]
        node = Node("mix", (located.node,), base.shape, base.roles, step, None, operation=step.name, alone=walk.alone)
        return [Located(walk.graph.add(node), Move(shape, tuple(coords)))]
    keys = _keys(move, carries, rest[len(batched) :], summed)
    if keys is None or CHANNEL not in base.roles:
        return None
    place = at.pop(keys)
    channels = {*added, *(i for d, i in at.items() if carries.axes[d] == {CHANNEL})}
    at[summed] = place
    count = math.prod(shape[i] for i in channels)
    radix = np.arange(count).reshape([n if i in channels else 1 for i, n in enumerate(shape)])
    coords = [radix if r == CHANNEL else _placed(c, at, len(shape)) for c, r in zip(move.coords, base.roles)]
    sizes = tuple(count if r == CHANNEL else n for n, r in zip(base.shape, base.roles))
    node = Node("mix", (located.node,), sizes, base.roles, step, None, operation=step.name, alone=walk.alone)
    return [Located(walk.graph.add(node), Move(shape, tuple(coords)))]


def _keys(move: Move, carries: Carried, kept: Sequence[int], summed: int) -> int | None:
    """The one axis of channels that is as long as the summed one: it counts positions too."""
    found = [d for d in kept if carries.axes[d] == {CHANNEL} and move.shape[d] == move.shape[summed] > 1]
    return found[0] if len(found) == 1 else None


def _placed(array: np.ndarray, at: dict[int, int], ndim: int) -> np.ndarray:
    """A coordinate with its axes where `at` puts them; along those that it lacks it does not change."""
    sizes = [1] * ndim
    for d, i in at.items():
        sizes[i] = array.shape[d]
    order = sorted(at, key=lambda d: at[d])
    return array.transpose([*order, *(d for d in range(array.ndim) if d not in at)]).reshape(sizes)


def as_patches(walk: Walk, step: Step, located: Located) -> Located | None:
    """An array `[N, patches, samples of a patch]` as a field of patches whose channels are the samples."""
    base, move = walk.graph.nodes[located.node], located.move
    carries = carried(base.roles, move)
    spatial = [r for r in base.roles if isinstance(r, int)]
    positions = [d for d, has in enumerate(carries.axes) if has & {*spatial} and CHANNEL not in has]
    merged = [d for d in positions if {*spatial} <= carries.axes[d]]
    if len(spatial) < 2 or len(merged) != 1 or positions != merged:
        return None
    (d,) = merged
    rows = [np.moveaxis(move.coords[base.roles.index(a)], d, 0).reshape(move.shape[d], -1)[:, 0] for a in spatial]
    sizes = tuple(len(np.unique(row)) for row in rows)
    if math.prod(sizes) != move.shape[d]:
        return None
    wide = (*move.shape[:d], *sizes, *move.shape[d + 1 :])
    apart = located._replace(move=moves.reshape(move, wide))
    node = walk.settled_located(apart, step)
    return None if node is None else Located(node, moves.reshape(moves.identity(wide), move.shape))


def joined_before(walk: Walk, step: Step, axis: int) -> list[Located] | None:
    """Channels side by side of fields whose positions are cut or merged in one way, by windows say: joined before."""
    parts = [walk.graph.located.get(v) for v in step.inputs]
    if any(part is None for part in parts):
        return None
    located = [part for part in parts if part is not None]
    first, roles = located[0], walk.graph.nodes[located[0].node].roles
    if CHANNEL not in roles or not all(_alike(walk, part, first, axis) for part in located):
        return None
    count, at = walk.shape(step.outputs[0])[axis], roles.index(CHANNEL)
    shape = tuple(count if i == at else n for i, n in enumerate(walk.graph.nodes[first.node].shape))
    nodes = tuple(dict.fromkeys(part.node for part in located))
    node = Node("concat", nodes, shape, roles, step, None, operation=step.name, alone=walk.alone)
    channels = moves.along(np.arange(count), axis, len(first.move.shape))
    coords = tuple(channels if i == at else c for i, c in enumerate(first.move.coords))
    return [Located(walk.graph.add(node), Move(walk.shape(step.outputs[0]), coords))]


def _alike(walk: Walk, part: Located, first: Located, axis: int) -> bool:
    """Whether two arrays differ in nothing but their channels, all of which lie along one axis, in order."""
    one, other = walk.graph.nodes[part.node], walk.graph.nodes[first.node]
    if part.move.factors or one.roles != other.roles or one.spatial != other.spatial:
        return False
    for c, d, r in zip(part.move.coords, first.move.coords, one.roles):
        if r == CHANNEL:
            if c.size != one.feature_count or c.shape[axis] != c.size or not (c.ravel() == np.arange(c.size)).all():
                return False
        elif not np.array_equal(c, d):
            return False
    return True

"""Rules of the primitives that only move data: what they do to a `Move`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from checkerjax.audits import _moves as moves
from checkerjax.audits._axes import reads_of_matrix
from checkerjax.audits._flatten import Step
from checkerjax.audits._graph import Located
from checkerjax.audits._moves import Move
from checkerjax.audits._rules_positions import joined_before
from checkerjax.audits._run import evaluate
from checkerjax.audits._walk_state import Walk


def one_move(walk: Walk, step: Step) -> list[Located] | None:
    """A primitive with one array coming in and one move going out."""
    data = walk.graph.located.get(step.inputs[0])
    if data is None:
        return None
    move = _ONE[step.name](data.move, step.params)
    return None if move is None else [data._replace(move=move)]


def _tile(move: Move, params: dict[str, Any]) -> Move:
    reps = params["reps"]
    shape = tuple(n * r for n, r in zip(move.shape, reps))

    def repeated(a: np.ndarray) -> np.ndarray:
        return np.tile(a, [r if n > 1 else 1 for r, n in zip(reps, a.shape)])

    return move.each(shape, repeated)


def _reshape(move: Move, params: dict[str, Any]) -> Move:
    order = params.get("dimensions")
    moved = move if order is None else moves.transpose(move, order)
    return moves.reshape(moved, tuple(params["new_sizes"]))


def _squeeze(move: Move, params: dict[str, Any]) -> Move:
    return moves.reshape(move, tuple(n for i, n in enumerate(move.shape) if i not in params["dimensions"]))


def _expand(move: Move, params: dict[str, Any]) -> Move:
    shape = list(move.shape)
    for axis in sorted(params["dimensions"]):
        shape.insert(axis, 1)
    return moves.reshape(move, tuple(shape))


_ONE: dict[str, Callable[[Move, dict[str, Any]], Move | None]] = {
    "reshape": _reshape,
    "squeeze": _squeeze,
    "expand_dims": _expand,
    "transpose": lambda m, p: moves.transpose(m, p["permutation"]),
    "broadcast_in_dim": lambda m, p: moves.broadcast(m, p["shape"], p["broadcast_dimensions"]),
    "rev": lambda m, p: moves.rev(m, p["dimensions"]),
    "slice": lambda m, p: moves.cut(m, p["start_indices"], p["limit_indices"], p["strides"]),
    "tile": _tile,
    "neg": lambda m, p: m.times(np.asarray(-1.0)),
    **dict.fromkeys(
        ("copy", "copy_p", "convert_element_type", "reduce_precision", "sharding_constraint", "device_put", "pvary",
         "stop_gradient", "name", "mesh_cast", "reshard", "layout_constraint", "copy_to_host_async", "real"),
        lambda m, p: m,
    ),
}  # fmt: skip
ONE = tuple(_ONE)


def barrier(walk: Walk, step: Step) -> list[Located | None]:
    """`optimization_barrier`: several arrays, each as it is."""
    return [walk.graph.located.get(v) for v in step.inputs]


def split(walk: Walk, step: Step) -> list[Located] | None:
    data = walk.graph.located[step.inputs[0]]
    axis, out, start = step.params["axis"], [], 0
    for n in step.params["sizes"]:
        starts, stops = [0] * len(data.move.shape), list(data.move.shape)
        starts[axis], stops[axis] = start, start + n
        out.append(data._replace(move=moves.cut(data.move, starts, stops, None)))
        start += n
    return out


def pad(walk: Walk, step: Step) -> list[Located] | None:
    data = walk.graph.located.get(step.inputs[0])
    filler = walk.known(step.inputs[1])
    if data is None or filler is None:
        return None
    if filler != 0:  # samples that are no part of the data: a border of another value
        walk.notes.add(f"{step.name} with {filler.item():g}: read as zeros")
    return [data._replace(move=moves.pad(data.move, step.params["padding_config"]))]


def concatenate(walk: Walk, step: Step) -> list[Located] | None:
    axis = step.params["dimension"]
    return _joined(walk, step, [(walk.graph.located.get(v), walk.shape(v)) for v in step.inputs], axis)


def stack(walk: Walk, step: Step) -> list[Located] | None:
    axis = step.params.get("axis", step.params.get("dimension", 0))
    parts = []
    for v in step.inputs:
        data, shape = walk.graph.located.get(v), walk.shape(v)
        wide = (*shape[:axis], 1, *shape[axis:])
        parts.append((data and data._replace(move=moves.reshape(data.move, wide)), wide))
    return _joined(walk, step, parts, axis)


def _joined(
    walk: Walk, step: Step, parts: list[tuple[Located | None, tuple[int, ...]]], axis: int
) -> list[Located] | None:
    nonempty = [(v, part) for v, part in zip(step.inputs, parts) if part[1][axis]]
    real = [located for _, (located, _) in nonempty if located is not None]
    others = [v for v, (located, _) in nonempty if located is None]
    if len({located.node for located in real}) == 1 and all(walk.is_zero(v) for v in others):
        pieces: list[Move | int] = [
            shape[axis] if located is None else located.move for _, (located, shape) in nonempty
        ]
        return [real[0]._replace(move=moves.join(pieces, axis, len(parts[0][1])))]
    return walk.joined_channels(step, axis) or joined_before(walk, step, axis)


def gather(walk: Walk, step: Step) -> list[Located] | None:
    data, indices = walk.graph.located.get(step.inputs[0]), walk.known(step.inputs[1])
    if data is None or indices is None:
        return None
    numbers, sizes = step.params["dimension_numbers"], step.params["slice_sizes"]
    shape = data.move.shape
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    free = [d for d, n in enumerate(shape) if d not in dropped and sizes[d] == n and d not in numbers.start_index_map]
    offsets = dict(zip(numbers.offset_dims, [d for d in range(len(shape)) if d not in dropped]))
    out_shape = walk.shape(step.outputs[0])
    if numbers.start_index_map == numbers.collapsed_slice_dims and len(dropped) == 1 and len(free) == len(shape) - 1:
        return [data._replace(move=_taken(data.move, step, indices[..., 0], out_shape))]

    def pick(a: np.ndarray, filler: int) -> np.ndarray:
        if all(a.shape[d] == 1 for d in range(len(shape)) if d not in free) and filler != 0:
            return a.reshape([a.shape[offsets[i]] if offsets.get(i) in free else 1 for i in range(len(out_shape))])
        wide = [a.shape[d] if d in free else n for d, n in enumerate(shape)]
        window = tuple(a.shape[d] if d in free else s for d, s in enumerate(sizes))
        params = {**step.params, "slice_sizes": window, "fill_value": 0}
        return np.asarray(evaluate(step.equation, [np.broadcast_to(a, wide), indices], params)[0])

    moved = data.move.each(out_shape, lambda a: pick(a, 1))
    inside = pick(np.ones((1,) * len(shape), np.int32), 0)
    return [data._replace(move=moved if inside.all() else moved.times(inside))]


def _taken(move: Move, step: Step, places: np.ndarray, out_shape: tuple[int, ...]) -> Move:
    """Samples along one axis, at places known beforehand."""
    numbers = step.params["dimension_numbers"]
    (axis,) = numbers.collapsed_slice_dims
    size = move.shape[axis]
    inside = (places >= 0) & (places < size)
    if "FILL" not in str(step.params["mode"]):
        inside = np.ones_like(inside)
    at = np.clip(places, 0, size - 1)
    spread = [i for i in range(len(out_shape)) if i not in numbers.offset_dims]

    def pick(a: np.ndarray) -> np.ndarray:
        rows = np.take(a, at if a.shape[axis] > 1 else np.zeros((1,) * at.ndim, np.int64), axis)
        return np.moveaxis(rows, range(axis, axis + at.ndim), spread)

    moved = move.each(out_shape, pick)
    if inside.all():
        return moved
    mask = inside.reshape([*inside.shape, *(1 for _ in range(len(out_shape) - inside.ndim))])
    return moved.times(np.moveaxis(mask, range(inside.ndim), spread).astype(np.float64))


def dynamic_slice(walk: Walk, step: Step) -> list[Located] | None:
    data, starts = walk.graph.located.get(step.inputs[0]), [walk.known(v) for v in step.inputs[1:]]
    if data is None:
        return None
    sizes = step.params["slice_sizes"]
    if any(s is None and n != size for s, n, size in zip(starts, data.move.shape, sizes)):
        return None
    first = [0 if s is None else int(np.clip(s, 0, n - k)) for s, n, k in zip(starts, data.move.shape, sizes)]
    return [data._replace(move=moves.cut(data.move, first, [f + k for f, k in zip(first, sizes)], None))]


def dynamic_update_slice(walk: Walk, step: Step) -> list[Located] | None:
    operand, update = step.inputs[:2]
    starts = [walk.known(v) for v in step.inputs[2:]]
    if any(s is None for s in starts):
        return None
    shape, sizes = walk.shape(operand), walk.shape(update)
    first = [min(max(int(s), 0), n - k) for s, n, k in zip(starts, shape, sizes) if s is not None]
    data = walk.graph.located.get(update)
    if data is not None and walk.is_zero(operand):
        config = [(f, n - f - k, 0) for f, n, k in zip(first, shape, sizes)]
        return [data._replace(move=moves.pad(data.move, config))]
    data = walk.graph.located.get(operand)
    if data is not None and walk.is_zero(update):
        mask = np.ones(shape)
        mask[tuple(slice(f, f + k) for f, k in zip(first, sizes))] = 0
        return [data._replace(move=data.move.times(mask))]
    return None


def scatter(walk: Walk, step: Step) -> list[Located] | None:
    """Data put into zeros, or zeros put into data, at places known beforehand."""
    operand, indices, updates = step.inputs
    places = walk.known(indices)
    if places is None:
        return None
    if updates in walk.graph.located and walk.is_zero(operand):
        return _put(walk, step, walk.graph.located[updates], places)
    data = walk.graph.located.get(operand)
    if data is not None and walk.is_zero(updates) and step.name == "scatter":
        ones, zeros = np.ones(walk.shape(operand), np.float32), np.zeros(walk.shape(updates), np.float32)
        return [data._replace(move=data.move.times(np.asarray(evaluate(step.equation, [ones, places, zeros])[0])))]
    return None


def _put(walk: Walk, step: Step, data: Located, places: np.ndarray) -> list[Located] | None:
    numbers = step.params["dimension_numbers"]
    shape, update = walk.shape(step.outputs[0]), data.move.shape
    whole = len(numbers.update_window_dims) == len(shape) - 1 == len(update) - 1 and places.shape[1:] == (1,)
    if whole and numbers.scatter_dims_to_operand_dims == numbers.inserted_window_dims:
        return _put_along_axis(walk, step, data, places[:, 0])
    hidden = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    windows = dict(zip([d for d in range(len(shape)) if d not in hidden], numbers.update_window_dims))
    free = {d: u for d, u in windows.items() if d not in numbers.scatter_dims_to_operand_dims and shape[d] == update[u]}
    small = [1 if d in free else n for d, n in enumerate(shape)]
    small_update = [1 if u in free.values() else n for u, n in enumerate(update)]
    count = int(np.prod(small_update))

    def run(zeros: Any, values: np.ndarray) -> np.ndarray:
        return np.asarray(evaluate(step.equation, [zeros, places, values.astype(zeros.dtype).reshape(small_update)])[0])

    hits = run(np.zeros(small, np.float32), np.ones(count, np.float32))
    if step.name == "scatter-add" and hits.max(initial=0) > 1:
        return _summed(walk, step, data, places, free, small, small_update)
    source = (
        run(np.zeros(small, np.float64 if count > 2**24 else np.float32), np.arange(1, count + 1)).astype(np.int64) - 1
    )
    picked = np.unravel_index(np.where(source < 0, 0, source), small_update)
    order = {u: d for d, u in free.items()}

    def look(a: np.ndarray) -> np.ndarray:
        # Free axes keep their own, the others follow the places.
        at = [np.arange(n).reshape([-1 if order.get(u) == d else 1 for d in range(len(shape))]) if u in order
              else (p if n > 1 else np.zeros_like(p)) for u, (n, p) in enumerate(zip(a.shape, picked))]  # fmt: skip
        return a[tuple(at)]

    valid = source >= 0
    coords = tuple(moves.minimal_where(look(c), valid) for c in data.move.coords)
    out = Move(shape, coords, tuple(moves.minimal(look(f)) for f in data.move.factors))
    return [data._replace(move=out if valid.all() else out.times(moves.minimal(valid.astype(float))))]


def _put_along_axis(walk: Walk, step: Step, data: Located, places: np.ndarray) -> list[Located] | None:
    """Samples put, or added, at places along one axis."""
    numbers = step.params["dimension_numbers"]
    (into,) = numbers.inserted_window_dims
    (out_of,) = (d for d in range(len(data.move.shape)) if d not in numbers.update_window_dims)
    shape = walk.shape(step.outputs[0])
    inside = (places >= 0) & (places < shape[into])
    if "CLIP" in str(step.params["mode"]):
        places, inside = np.clip(places, 0, shape[into] - 1), np.ones_like(inside)
    samples = np.flatnonzero(inside)
    if step.name == "scatter-add" and len(np.unique(places[inside])) < len(samples):
        matrix = np.zeros((shape[into], len(places)))
        np.add.at(matrix, (places[inside], samples), 1.0)
        return walk.along_axis(step, data, out_of, into, reads_of_matrix(matrix))
    source = np.full(shape[into], -1)
    source[places[inside]] = samples
    at = np.maximum(source, 0)

    def look(a: np.ndarray) -> np.ndarray:
        moved = np.moveaxis(a, out_of, into)
        return np.take(moved, at, into) if moved.shape[into] > 1 else moved

    mask = moves.along((source >= 0).astype(np.float64), into, len(shape))
    return [data._replace(move=data.move.each(shape, look).times(mask))]


def _summed(
    walk: Walk, step: Step, data: Located, places: np.ndarray, free: dict[int, int], small: list[int], update: list[int]
) -> list[Located] | None:
    """Several samples added in one place: a matrix along the one axis that is not free."""
    into, out_of = ([i for i, n in enumerate(sizes) if n > 1] for sizes in (small, update))
    if len(into) > 1 or len(out_of) != 1:
        return None
    n = update[out_of[0]]

    def column(one: jax.Array) -> jax.Array:
        return evaluate(step.equation, [jax.numpy.zeros(small), places, one.reshape(update)])[0].ravel()

    matrix = np.asarray(jax.vmap(column)(jax.numpy.eye(n))).T
    at = into[0] if into else next(d for d in range(len(small)) if d not in free)
    return walk.along_axis(step, data, out_of[0], at, reads_of_matrix(matrix))

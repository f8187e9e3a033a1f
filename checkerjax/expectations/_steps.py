"""Linear steps along one axis, away from borders: what they read repeats, and what they make of a covariance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from checkerjax._checks import per_axis
from checkerjax.expectations._lags import Array, Lags, Sizes, check_entries
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import Layer
from checkerjax.stacks._reads import Reads, layer_steps


class Step(NamedTuple):
    """Output n = u a + r is the sum over j of weights[r, j] x[m a + positions[r, j]]."""

    inputs: int  # m: the samples that positions advance
    outputs: int  # u: with this many outputs
    positions: np.ndarray  # int64 [u, taps]
    weights: np.ndarray  # float64 [u, taps]; 0 reads nothing
    draws: np.ndarray | None  # int64 [u, taps]: which learned number a tap is; None for a fixed filter


class Table(NamedTuple):
    """A sparse matrix by rows: row i is the sum over k of weights[k, i] times entry index[k, i]."""

    index: np.ndarray  # int64 [K, rows]
    weights: np.ndarray  # float64 [K, rows]


IDENTITY = Step(1, 1, np.zeros((1, 1), np.int64), np.ones((1, 1)), None)


def layer_axes(place: str, layer: Layer, size: Sizes, initialiser: str) -> tuple[tuple[tuple[Step, ...], ...], Sizes]:
    """The steps of a layer, in order, each with one `Step` per axis; and the size of its output."""
    found = []
    rates = _rates(layer, len(size))
    margin = max((u for axes in rates for _, u in axes), default=0)
    for reads, axes in zip(layer_steps(place, layer, size, initialiser=initialiser, margin=margin), rates):
        found.append(tuple(_interior(r, m, u, margin) for r, (m, u) in zip(reads, axes)))
        size = tuple(r.outputs - 2 * margin for r in reads)
    return tuple(found), size


def _rates(layer: Any, ndim: int) -> list[tuple[tuple[int, int], ...]]:
    """(m, u) for each axis, for each step."""
    if isinstance(layer, layers.Hold):  # its scale is that of another layer
        return [((1, 1),) * ndim]
    if isinstance(layer, layers.Deconv):
        return [tuple((1, s) for s in per_axis("steps", "stride", layer.stride, ndim))]
    if hasattr(layer, "scale"):
        up = tuple((1, s) for s in per_axis("steps", "scale", layer.scale, ndim))
        return [up, ((1, 1),) * ndim] if isinstance(layer, layers.ResizeConv) else [up]
    if hasattr(layer, "stride"):
        return [tuple((s, 1) for s in per_axis("steps", "stride", layer.stride, ndim))]
    return []


def _interior(reads: Reads, m: int, u: int, margin: int) -> Step:
    """The first outputs' reads, where the layer goes on beyond the border: those of all, by the period."""
    rows = slice(margin, margin + u)
    draws = None if reads.draws is None else reads.draws[rows]
    return _compact(Step(m, u, reads.positions[rows], reads.weights[rows] / reads.denominator, draws))


def _compact(step: Step) -> Step:
    """Without the taps that no output uses."""
    order = np.argsort(step.weights == 0, axis=1, kind="stable")
    order = order[:, : max(int((step.weights != 0).sum(1).max()), 1)]
    positions, weights, *draws = (
        None if array is None else np.take_along_axis(array, order, 1)
        for array in (step.positions, step.weights, step.draws)
    )
    return Step(step.inputs, step.outputs, positions, weights, draws[0])  # pyright: ignore[reportArgumentType]


def composed(first: Step, second: Step) -> Step:
    """Fixed steps in a row, as one."""
    shared = math.lcm(first.outputs, second.inputs)
    blocks = np.arange(shared // second.inputs)
    middle = (second.inputs * blocks[:, None, None] + second.positions).reshape(-1, second.positions.shape[1])
    block, phase = np.divmod(middle, first.outputs)
    positions = first.inputs * block[..., None] + first.positions[phase]
    weights = np.tile(second.weights, (blocks.size, 1))[..., None] * first.weights[phase]
    rows = len(middle)
    inputs = first.inputs * (shared // first.outputs)
    return _compact(Step(inputs, rows, positions.reshape(rows, -1), weights.reshape(rows, -1), None))


def transposed(step: Step) -> Step:
    """What reads each input, and with which weight: the step that gradients take."""
    readers: list[list[tuple[int, float, int]]] = [[] for _ in range(step.inputs)]
    for r, j in np.argwhere(step.weights != 0).tolist():
        block, phase = divmod(int(step.positions[r, j]), step.inputs)
        draw = 0 if step.draws is None else int(step.draws[r, j])
        readers[phase].append((r - step.outputs * block, float(step.weights[r, j]), draw))
    taps = max(map(len, readers))
    table = np.array([row + [(0, 0.0, 0)] * (taps - len(row)) for row in readers])
    positions, weights, draws = table[..., 0].astype(np.int64), table[..., 1], table[..., 2].astype(np.int64)
    return Step(step.outputs, step.inputs, positions, weights, None if step.draws is None else draws)


def output_period(step: Step, period: int) -> int:
    """The period, or the torus, of the output for one of the input."""
    return step.outputs * (math.lcm(period, step.inputs) // step.inputs)


def read_lags(place: str, lags: Lags, left: tuple[Step, ...], right: tuple[Step, ...] | None = None) -> Lags:
    """Covariance of two linear maps of a field, with one step per axis; learned ones summed over equal draws.

    The steps of one axis advance alike. `right` is `left` unless it is given.
    """
    right = left if right is None else right
    values, periods, sizes = lags.values, list(lags.periods), list(lags.sizes)
    for axis, (a, b) in enumerate(zip(left, right)):
        after = output_period(a, periods[axis]), output_period(a, sizes[axis])
        table = _lag_table(a, b, periods[axis], sizes[axis], *after)
        periods[axis], sizes[axis] = after
        check_entries(place, tuple(periods), tuple(sizes))
        values = _product(table, values, axis)
    return Lags(values, tuple(periods), tuple(sizes))


def read_powers(powers: Array, steps: tuple[Step, ...]) -> Array:
    """A fixed step's output for a function of phase, `[*P]`."""
    for axis, step in enumerate(steps):
        period = powers.shape[axis]
        n = np.arange(output_period(step, period))
        block, phase = np.divmod(n, step.outputs)
        positions = (step.inputs * block[:, None] + step.positions[phase]) % period
        powers = _product(_merged(positions, step.weights[phase], period), powers, axis)
    return powers


def _lag_table(left: Step, right: Step, period: int, size: int, new_period: int, new_size: int) -> Table:
    n = np.arange(new_period)[:, None]
    block, phase = np.divmod(n, left.outputs)
    other_block, other_phase = np.divmod(n + np.arange(new_size), right.outputs)
    shape = (new_period, new_size, left.positions.shape[1], right.positions.shape[1])
    first = (left.inputs * block[..., None] + left.positions[phase])[..., :, None]
    second = (right.inputs * other_block[..., None] + right.positions[other_phase])[..., None, :]
    weights = left.weights[phase][..., :, None] * right.weights[other_phase][..., None, :]
    if left.draws is not None and right.draws is not None:
        weights = weights * (left.draws[phase][..., :, None] == right.draws[other_phase][..., None, :])
    entries = first % period * size + (second - first) % size
    rows = new_period * new_size
    entries, weights = (np.broadcast_to(a, shape).reshape(rows, -1) for a in (entries, weights))
    return _merged(entries, weights, period * size)


def _merged(entries: np.ndarray, weights: np.ndarray, columns: int) -> Table:
    """A sparse matrix given by rows, its equal entries added and its zeros dropped."""
    row, tap = np.nonzero(weights)
    keys, place = np.unique(row * columns + entries[row, tap], return_inverse=True)
    sums = np.bincount(place, weights[row, tap], minlength=keys.size)
    keys, sums = keys[sums != 0], sums[sums != 0]
    row = keys // columns
    slot = np.arange(keys.size) - np.searchsorted(row, row)
    shape = int(slot.max(initial=0)) + 1, len(entries)
    index, merged = np.zeros(shape, np.int64), np.zeros(shape)
    index[slot, row], merged[slot, row] = keys % columns, sums
    return Table(index, merged)


def _product(table: Table, values: Array, axis: int) -> Array:
    xp = values.__array_namespace__()
    shape = (-1,) + (1,) * (values.ndim - axis - 1)
    total = None
    for index, row in zip(*table):
        term = xp.take(values, index, axis=axis)
        if not (row == 1).all():
            term = term * xp.asarray(row.reshape(shape), dtype=values.dtype)
        total = term if total is None else total + term
    return total

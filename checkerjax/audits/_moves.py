"""Where each element of an array comes from in an earlier one, when it was only moved, repeated, masked or scaled.

A `Move` holds one coordinate array per axis of the source, each of size 1 along the axes that it does not vary along;
so the moves of large fields are a few short vectors. An element is the product of its factors times the source element
at its coordinates; a factor of 0 is a zero that was put in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Move:
    """The elements of an array of `shape`, as elements of a source array."""

    shape: Shape
    coords: tuple[np.ndarray, ...]  # int64, one per axis of the source, each broadcastable to `shape`
    factors: tuple[np.ndarray, ...] = ()  # each broadcastable to `shape`

    def each(self, shape: Shape, fn: Callable[[np.ndarray], np.ndarray]) -> Move:
        """`fn` applied to every array, for a result of `shape`."""
        factors = tuple(minimal(fn(f)) for f in self.factors)
        return Move(shape, tuple(minimal(fn(c)) for c in self.coords), tuple(f for f in factors if not is_one(f)))

    def times(self, factor: np.ndarray) -> Move:
        """Multiplied by an array broadcastable to the shape."""
        factor = minimal(
            np.asarray(factor, np.float64).reshape((1,) * (len(self.shape) - np.ndim(factor)) + np.shape(factor))
        )
        parts = [part for part in separated(factor) if not is_one(part)]
        return dataclasses.replace(self, factors=(*self.factors, *parts))

    def varies(self, i: int) -> frozenset[int]:
        """The axes along which the source's coordinate i changes."""
        return varying(self.coords[i])

    @property
    def scale(self) -> float:
        """The product of the factors that are one number."""
        return math.prod(f.item() for f in self.factors if f.size == 1)

    @property
    def masks(self) -> tuple[np.ndarray, ...]:
        """The factors that change along an axis."""
        return tuple(f for f in self.factors if f.size != 1)

    def is_identity(self) -> bool:
        """Whether every element stayed, unscaled, in its place."""
        if self.factors or len(self.shape) != len(self.coords):
            return False
        return all(
            c.shape[i] == self.shape[i]
            and c.size == self.shape[i]
            and np.array_equal(c.ravel(), np.arange(self.shape[i]))
            for i, c in enumerate(self.coords)
            if self.shape[i] != 1
        ) and all(c.size == 1 for i, c in enumerate(self.coords) if self.shape[i] == 1)


def separated(factor: np.ndarray) -> list[np.ndarray]:
    """A factor as one for each axis that it varies along, where it is their product."""
    axes = sorted(varying(factor))
    peak = np.unravel_index(np.argmax(np.abs(factor)), factor.shape)
    value = factor[peak]
    if len(axes) < 2 or value == 0:
        return [factor]
    parts = [factor[tuple(slice(None) if d == a else slice(p, p + 1) for d, p in enumerate(peak))] for a in axes]
    product = value
    for part in parts:
        product = product * (part / value)
    if not np.allclose(product, factor, rtol=1e-6, atol=0):
        return [factor]
    return [parts[0], *(part / value for part in parts[1:])]


def is_one(factor: np.ndarray) -> bool:
    """Whether a minimal factor changes nothing."""
    return factor.size == 1 and factor.item() == 1


def varying(array: np.ndarray) -> frozenset[int]:
    """The axes of size above 1."""
    return frozenset(i for i, n in enumerate(array.shape) if n > 1)


def minimal(array: np.ndarray) -> np.ndarray:
    """An array with the axes that it does not change along cut to one element."""
    for axis, n in enumerate(array.shape):
        if n > 1:
            first = np.take(array, [0], axis)
            if np.array_equal(np.broadcast_to(first, array.shape), array):
                array = first
    return array


def minimal_where(array: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`minimal`, with the elements that are not valid free to be anything."""
    low, high = np.where(valid, array, np.iinfo(array.dtype).max), np.where(valid, array, np.iinfo(array.dtype).min)
    for axis in range(array.ndim):
        least, most = low.min(axis, keepdims=True), high.max(axis, keepdims=True)
        if (least >= most).all():  # of each row at most one value
            low, high = least, most
    return np.where(low > high, 0, low)


def identity(shape: Shape) -> Move:
    """An array as it is."""
    coords = tuple(np.arange(n).reshape([-1 if i == j else 1 for j in range(len(shape))]) for i, n in enumerate(shape))
    return Move(tuple(shape), coords)


def transpose(move: Move, order: Sequence[int]) -> Move:
    return move.each(tuple(move.shape[i] for i in order), lambda a: a.transpose(order))


def broadcast(move: Move, shape: Shape, axes: Sequence[int]) -> Move:
    """`lax.broadcast_in_dim`: axis i of the array becomes axis `axes[i]`."""

    def spread(a: np.ndarray) -> np.ndarray:
        sizes = [1] * len(shape)
        for axis, n in zip(axes, a.shape):
            sizes[axis] = n
        return a.reshape(sizes)

    return move.each(tuple(shape), spread)


def reshape(move: Move, shape: Shape) -> Move:
    if 0 in shape:  # edges repeated no times
        return Move(tuple(shape), tuple(np.zeros((1,) * len(shape), np.int64) for _ in move.coords))
    groups = reshape_groups(move.shape, shape)

    def split(a: np.ndarray) -> np.ndarray:
        sizes: list[int] = []
        full = list(a.shape)
        for old, new in groups:
            if all(a.shape[i] == 1 for i in old):
                sizes += [1] * len(new)
                continue
            for i in old:
                full[i] = move.shape[i]
            sizes += [shape[j] for j in new]
        return np.broadcast_to(a, full).reshape(sizes)

    return move.each(tuple(shape), split)


def reshape_groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """The axes of both shapes in the smallest groups of equal products, in order."""
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        before, after = [], []
        left = right = 1
        while not (before or after) or left != right:
            if j >= len(new) or (i < len(old) and left <= right):
                before.append(i)
                left *= old[i]
                i += 1
            else:
                after.append(j)
                right *= new[j]
                j += 1
        groups.append((before, after))
    return groups


def rev(move: Move, axes: Sequence[int]) -> Move:
    return move.each(move.shape, lambda a: np.flip(a, tuple(i for i in axes if a.shape[i] > 1)))


def cut(move: Move, starts: Sequence[int], stops: Sequence[int], strides: Sequence[int] | None) -> Move:
    """`lax.slice`."""
    steps = strides or (1,) * len(move.shape)
    wide = tuple(slice(*each) for each in zip(starts, stops, steps))
    shape = tuple(len(range(*each)) for each in zip(starts, stops, steps))
    return move.each(shape, lambda a: a[tuple(w if n > 1 else slice(None) for w, n in zip(wide, a.shape))])


def pad(move: Move, config: Sequence[tuple[int, int, int]]) -> Move:
    """`lax.pad` with zeros, interior ones and negative edges included."""
    for axis, (low, high, interior) in enumerate(config):
        if (low, high, interior) == (0, 0, 0):
            continue
        n = move.shape[axis]
        stuffed = n + max(n - 1, 0) * interior
        at = np.arange(-low, stuffed + high)
        real = (at >= 0) & (at < stuffed) & (at % (interior + 1) == 0)
        source = np.where(real, at // (interior + 1), 0)
        shape = (*move.shape[:axis], len(at), *move.shape[axis + 1 :])
        move = move.each(shape, lambda a, i=axis, s=source: np.take(a, s, i) if a.shape[i] > 1 else a)
        if not real.all():
            move = move.times(along(real.astype(np.float64), axis, len(shape)))
    return move


def along(vector: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """A vector as an array of `ndim` axes that changes along one."""
    return vector.reshape([-1 if i == axis else 1 for i in range(ndim)])


def join(moves: Sequence[Move | int], axis: int, ndim: int) -> Move:
    """`lax.concatenate` of moves from one source and of zeros, each an int: its length."""
    real = [m for m in moves if isinstance(m, Move)]
    first = real[0]
    lengths = [m if isinstance(m, int) else m.shape[axis] for m in moves]
    shape = (*first.shape[:axis], sum(lengths), *first.shape[axis + 1 :])
    coords = []
    for i in range(len(first.coords)):
        idle = np.take(first.coords[i], [0], axis)  # where zeros are, the coordinate says nothing
        coords.append(_stacked([idle if isinstance(m, int) else m.coords[i] for m in moves], lengths, axis))
    products = []
    for m in moves:
        product = np.full((1,) * ndim, float(isinstance(m, Move)))
        for f in m.factors if isinstance(m, Move) else ():
            product = product * f
        products.append(product)
    factor = minimal(_stacked(products, lengths, axis))
    return Move(shape, tuple(minimal(c) for c in coords), ()).times(factor)


def _stacked(arrays: Sequence[np.ndarray], lengths: Sequence[int], axis: int) -> np.ndarray:
    common = [max(a.shape[i] for a in arrays) for i in range(arrays[0].ndim)]
    parts = []
    for a, common[axis] in zip(arrays, lengths):
        parts.append(np.broadcast_to(a, common))
    return np.concatenate(parts, axis)

"""A batch of fields worked off in pieces that stay near the processor: some images at a time, or tiles of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax.ops._manual_axes import vary_over, varying

COLUMNS = 2**23  # bytes of columns at a time; experiments/benchmarks has the times for others

Ints = Sequence[int]


class View(NamedTuple):
    """What a piece reads of a field `[N, *n, C]`: `room` samples from `first` on, `step` further for each position."""

    field: jax.Array
    first: Ints
    room: Ints
    step: Ints


class Tiles:
    """The positions `[N, *extents]` of a batch, in groups of images, or, where one image is too much, in tiles of it.

    Attributes:
      extents: positions of a piece along each axis; the last tiles may reach over the end.
      counts: tiles of an image along each axis.
    """

    def __init__(self, images: int, extents: Ints, position: int) -> None:
        """`position` is the number of bytes that one position's columns take."""
        self.extents = _fit(extents, COLUMNS // position)
        self._images = images
        self.counts = [-(-n // tile) for n, tile in zip(extents, self.extents)]
        wanted = max(-(-images * math.prod(extents) * position // COLUMNS), 1)
        self._groups = next((g for g in range(wanted, images) if images % g == 0), max(images, 1))

    def map(self, work: Callable[[jax.Array], jax.Array], view: View) -> jax.Array:
        """`work` on each piece `[n, *room, C]`; its results `[n, *m, D]` side by side, `[N, *(tiles m), D]`."""
        if self.pieces == 1:
            return work(samples(view))
        xs, read = self._reader(view)
        done = lax.map(lambda x: work(read(x)), xs)
        sizes = done.shape[2:-1]
        apart = done.reshape(self._images, *self.counts, *sizes, done.shape[-1])
        ndim = len(sizes)
        order = [0, *(i for axis in range(ndim) for i in (1 + axis, 1 + ndim + axis)), 1 + 2 * ndim]
        return apart.transpose(order).reshape(self._images, *(c * m for c, m in zip(self.counts, sizes)), -1)

    def sum(self, work: Callable[[jax.Array, jax.Array], jax.Array], one: View, other: View) -> jax.Array:
        """The sum over the pieces of `work` on what two views read."""
        if self.pieces == 1:
            return work(samples(one), samples(other))
        (xs, read), (ys, read_other) = self._reader(one), self._reader(other)

        def add(total: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return total + work(read(pair[0]), read_other(pair[1])), None

        shape = jax.eval_shape(lambda x, y: work(read(x), read_other(y)), xs[0], ys[0])
        start = vary_over(jnp.zeros(shape.shape, shape.dtype), varying(one.field))
        return lax.scan(add, start, (xs, ys))[0]

    @property
    def pieces(self) -> int:
        """How many are worked off, one after the other."""
        return math.prod(self.counts) * (self._images if self._cuts else self._groups)

    @property
    def _cuts(self) -> bool:
        return max(self.counts) > 1

    def _reader(self, view: View) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
        """What a loop runs over, and what makes a piece of each: images are padded a group at a time, tiles before."""
        if not self._cuts:
            groups = view.field.reshape(self._groups, -1, *view.field.shape[1:])
            return groups, lambda group: samples(view._replace(field=group))
        steps = [step * tile for step, tile in zip(view.step, self.extents)]
        ends = [step * (count - 1) + room for step, count, room in zip(steps, self.counts, view.room)]
        whole = samples(view._replace(room=ends))
        starts = np.stack(np.meshgrid(*map(np.arange, (self._images, *self.counts)), indexing="ij"), -1)
        starts = (starts * [1, *steps]).reshape(-1, 1 + len(steps)).astype(np.int32)
        sizes = (1, *view.room, view.field.shape[-1])
        return jnp.asarray(starts), lambda at: lax.dynamic_slice(whole, [*at, 0], sizes)


def _fit(extents: Ints, positions: int) -> list[int]:
    """Tiles of at most so many positions, or of one; cut along the first axes, evenly."""
    tile = list(extents)
    for axis, n in enumerate(extents):
        allowed = max(positions // math.prod(tile[axis + 1 :]), 1)
        tile[axis] = -(-n // -(-n // allowed))
    return tile


def samples(view: View) -> jax.Array:
    """Samples first, ..., first + room - 1 of each spatial axis; zeros where the field has none."""
    pads = [(-a, a + size - n, 0) for a, size, n in zip(view.first, view.room, view.field.shape[1:-1])]
    return lax.pad(view.field, jnp.zeros((), view.field.dtype), [(0, 0, 0), *pads, (0, 0, 0)])

"""The three contractions as matrix products over columns: windows of a field laid out side by side.

XLA multiplies matrices near the peak of a CPU, and convolves there only for some shapes. The columns are built for a
few images at a time, or for tiles of one, so that they stay near the processor.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax._checks import at_least_float32
from checkerjax.ops._grid import Grid, Phases, crop, phases
from checkerjax.ops._tiles import Tiles, View

Ints = Sequence[int]


def scatter(small: jax.Array, kernel: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """Each phase of the large field from the taps that reach it: columns of small samples times sub-kernels."""
    layout = PhaseLayout.of(grid)
    outer = kernel.shape[-1]
    tiles = _tiles(small, layout.extents, grid, small.shape[-1])  # XLA keeps the columns of all phases
    weights = kernel.reshape(-1, *kernel.shape[-2:])

    def stamp(tile: jax.Array) -> jax.Array:
        out = []
        for block in layout:
            shape = (tile.shape[0], *tiles.extents, *block.counts, outer)
            if not block.starts:  # no tap reaches these phases
                out.append(jnp.zeros(shape, tile.dtype))
                continue
            windows = [window(tile, (0, *start), (tile.shape[0], *tiles.extents)) for start in block.starts]
            sub = jnp.moveaxis(weights[block.taps], -2, 1)  # [windows, inner, phases, outer]
            sub = sub.reshape(len(windows) * kernel.shape[-2], -1)
            out.append(_product(jnp.concatenate(windows, -1), sub, precision).reshape(shape))
        return interleave(out, layout)

    return crop(tiles.map(stamp, _phase_view(small, layout, tiles)), grid.large)


def gather(large: jax.Array, kernel: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """The small field from columns of large samples."""
    weights = jnp.swapaxes(kernel, -1, -2).reshape(-1, kernel.shape[-2])
    tiles = _tiles(large, grid.small, grid, large.shape[-1])

    def read(tile: jax.Array) -> jax.Array:
        return _product(_columns(tile, grid, tiles.extents), weights, precision)

    return crop(tiles.map(read, _large_view(large, grid, tiles)), grid.small)


def kernel(small: jax.Array, large: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """The kernel that pairs the fields: small samples times columns of large samples, summed over positions."""
    wide = at_least_float32(small.dtype)
    inner, outer = small.shape[-1], large.shape[-1]
    tiles = _tiles(large, grid.small, grid, outer)

    def pair(samples: jax.Array, tile: jax.Array) -> jax.Array:
        columns = _columns(tile, grid, tiles.extents).reshape(-1, math.prod(grid.kernel) * outer)
        # Turned apart, behind a barrier: XLA's product with a transposed left side runs at two thirds the speed.
        turned = lax.optimization_barrier(samples.reshape(-1, inner).T)
        return jnp.matmul(turned, columns, precision=precision, preferred_element_type=wide)

    samples = View(small, [0] * grid.ndim, tiles.extents, [1] * grid.ndim)
    total = tiles.sum(pair, samples, _large_view(large, grid, tiles))
    return jnp.moveaxis(total.reshape(inner, *grid.kernel, outer), 0, -2).astype(small.dtype)


def kernel_by_phase(small: jax.Array, large: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """`kernel` from columns of the small field instead, and the phases of the large one.

    Where strides are long this reads the large field once, and in order.
    """
    wide = at_least_float32(small.dtype)
    inner, outer = small.shape[-1], large.shape[-1]
    layout = PhaseLayout.of(grid)
    tiles = _tiles(small, layout.extents, grid, inner)

    def pair(samples: jax.Array, tile: jax.Array) -> jax.Array:
        split = [length for n, s in zip(tiles.extents, grid.stride) for length in (n, s)]
        apart = samples.reshape(samples.shape[0], *split, outer)
        turned = lax.optimization_barrier(jnp.moveaxis(tile, -1, 0))
        out = []
        for block in layout:
            if block.starts:
                own = [slice(a, a + n) for a, n in zip(block.first, block.counts)]
                target = apart[(slice(None), *(i for phase in own for i in (slice(None), phase)))]
                target = target.transpose(0, *range(1, 2 * grid.ndim, 2), *range(2, 2 * grid.ndim + 1, 2), -1)
                shape = (*turned.shape[:2], *tiles.extents)
                windows = [window(turned, (0, 0, *start), shape) for start in block.starts]
                columns = jnp.concatenate(windows).reshape(len(windows) * inner, -1)
                flat = target.reshape(columns.shape[1], -1)
                product = jnp.matmul(columns, flat, precision=precision, preferred_element_type=wide)
                out.append(
                    jnp.moveaxis(product.reshape(len(windows), inner, -1, outer), 1, 2).reshape(-1, inner, outer)
                )
        return jnp.concatenate(out)

    stretch = [s * n for s, n in zip(grid.stride, tiles.extents)]
    samples = View(large, [0] * grid.ndim, stretch, grid.stride)
    total = tiles.sum(pair, samples, _phase_view(small, layout, tiles))
    order = np.argsort(np.concatenate([block.taps.ravel() for block in layout]))
    return total[order].reshape(*grid.kernel, inner, outer).astype(small.dtype)


class _Block(NamedTuple):
    """Phases, a range on each axis, that are computed from the same windows of the small field."""

    first: list[int]
    counts: list[int]
    starts: list[tuple[int, ...]]  # of the windows
    taps: np.ndarray  # int [windows, phases]: the tap of each in the flattened kernel


@dataclasses.dataclass(frozen=True)
class PhaseLayout:
    """Where the phases of a large field find their samples in the small one, padded to start at `first`."""

    phases: list[list[Phases]]  # by axis
    extents: list[int]  # samples of the longest phase
    first: list[int]  # lowest offset
    reach: list[int]  # highest offset above the lowest
    kernel: tuple[int, ...]

    @classmethod
    def of(cls, grid: Grid) -> PhaseLayout:
        by_axis = [phases(grid, axis) for axis in range(grid.ndim)]
        offsets = [[o for group in axis for o in group.offsets] for axis in by_axis]
        first = [min(o) for o in offsets]
        extents = [-(-n // s) for n, s in zip(grid.large, grid.stride)]
        return cls(by_axis, extents, first, [max(o) - low for o, low in zip(offsets, first)], grid.kernel)

    def __iter__(self) -> Iterator[_Block]:
        for groups in itertools.product(*self.phases):
            starts = itertools.product(*([o - f for o in group.offsets] for group, f in zip(groups, self.first)))
            each = [
                [np.ravel_multi_index(tap, self.kernel) for tap in itertools.product(*taps)]
                for taps in itertools.product(*(group.taps for group in groups))
            ]
            counts = [len(group.taps) for group in groups]
            yield _Block([group.first for group in groups], counts, list(starts), np.array(each, int).T)


def _tiles(field: jax.Array, extents: Ints, grid: Grid, channels: int) -> Tiles:
    """For positions whose columns hold so many channels for each tap."""
    return Tiles(field.shape[0], extents, math.prod(grid.kernel) * channels * field.dtype.itemsize)


def _large_view(large: jax.Array, grid: Grid, tiles: Tiles) -> View:
    """What the taps meet of the large field, for positions in the small one."""
    spans = [d * (k - 1) + 1 for d, k in zip(grid.dilation, grid.kernel)]
    room = [s * (n - 1) + span for s, n, span in zip(grid.stride, tiles.extents, spans)]
    return View(large, [-low for low in grid.low], room, grid.stride)


def _phase_view(small: jax.Array, layout: PhaseLayout, tiles: Tiles) -> View:
    """What all phases read of the small field."""
    room = [n + reach for n, reach in zip(tiles.extents, layout.reach)]
    return View(small, layout.first, room, [1] * len(room))


def _columns(tile: jax.Array, grid: Grid, extents: Ints) -> jax.Array:
    """`[N, *extents, prod(k) C]`: for each small sample the large samples that its taps meet.

    One axis after the other: far fewer pieces to compile than taps, and longer ones to copy.
    """
    for axis in reversed(range(grid.ndim)):
        k, s, d, n = grid.kernel[axis], grid.stride[axis], grid.dilation[axis], extents[axis]
        pieces = [lax.slice_in_dim(tile, d * j, d * j + s * (n - 1) + 1, s, 1 + axis) for j in range(k)]
        tile = jnp.concatenate(pieces, -1)
        if axis:
            tile = lax.optimization_barrier(tile)  # or XLA computes all pieces anew for each tap
    return tile


def window(field: jax.Array, start: Ints, extents: Ints) -> jax.Array:
    """So many samples from `start` on, along the leading axes."""
    return field[tuple(slice(a, a + n) for a, n in zip(start, extents))]


def _product(columns: jax.Array, weights: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    """`[..., K] @ [K, O]`, accumulated in float32 at least."""
    flat = columns.reshape(-1, columns.shape[-1])
    wide = at_least_float32(columns.dtype)
    out = jnp.matmul(flat, weights, precision=precision, preferred_element_type=wide)
    return out.astype(columns.dtype).reshape(*columns.shape[:-1], -1)


def interleave(fields: Sequence[jax.Array], layout: PhaseLayout) -> jax.Array:
    """One field `[N, *(s q), C]` from its blocks of phases `[N, *q, *counts, C]`, in the layout's order."""
    ndim = len(layout.extents)
    apart = [0, *(i for axis in range(ndim) for i in (1 + axis, 1 + ndim + axis)), 1 + 2 * ndim]
    parts = [field.transpose(apart) for field in fields]  # [N, q0, counts0, q1, counts1, ..., C]
    for axis in reversed(range(ndim)):
        each = len(layout.phases[axis])
        parts = [jnp.concatenate(parts[i : i + each], axis=2 + 2 * axis) for i in range(0, len(parts), each)]
    shape = parts[0].shape
    return parts[0].reshape(shape[0], *(shape[1 + 2 * a] * shape[2 + 2 * a] for a in range(ndim)), shape[-1])

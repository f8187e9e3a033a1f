"""The three contractions as matrix products over columns: windows of a field laid out side by side.

XLA multiplies matrices near the peak of a CPU, and convolves there only for some shapes. The columns are built for a
few images at a time (a large image is cut into strips first), so that they stay near the processor: about `COLUMNS`
bytes, whatever the field.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax._checks import at_least_float32
from checkerjax.ops._grid import Grid, Phases, phases
from checkerjax.ops._manual_axes import vary_over, varying

COLUMNS = 2**23  # bytes of columns at a time; experiments/benchmarks has the times for others

Ints = Sequence[int]


def scatter(small: jax.Array, kernel: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """Each phase of the large field from the taps that reach it: columns of small samples times sub-kernels."""
    layout = _PhaseLayout.of(grid)
    rows, outer = layout.rows, kernel.shape[-1]
    strips = _Strips(small, rows, math.prod(grid.kernel) * kernel.shape[-2])  # XLA keeps the columns of all phases
    weights = kernel.reshape(-1, *kernel.shape[-2:])

    def stamp(strip: jax.Array) -> jax.Array:
        extents = [strips.rows, *rows[1:]]
        out = []
        for block in layout:
            shape = (strip.shape[0], *extents, *block.counts, outer)
            if not block.starts:  # no tap reaches these phases
                out.append(jnp.zeros(shape, strip.dtype))
                continue
            windows = [_window(strip, (0, *start), (strip.shape[0], *extents)) for start in block.starts]
            sub = jnp.moveaxis(weights[block.taps], -2, 1)  # [windows, inner, phases, outer]
            sub = sub.reshape(len(windows) * kernel.shape[-2], -1)
            out.append(_product(jnp.concatenate(windows, -1), sub, precision).reshape(shape))
        return _interleave(out, layout)

    room = [n + r for n, r in zip((strips.rows, *rows[1:]), layout.reach)]
    full = strips.map(stamp, small, layout.first, room, step=1)
    return full[(slice(None), *(slice(n) for n in grid.large))]


def gather(large: jax.Array, kernel: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """The small field from columns of large samples."""
    weights = jnp.swapaxes(kernel, -1, -2).reshape(-1, kernel.shape[-2])
    strips = _Strips(large, grid.small, math.prod(grid.kernel) * large.shape[-1])

    def read(strip: jax.Array) -> jax.Array:
        return _product(_columns(strip, grid, strips.rows), weights, precision)

    small = strips.map(read, large, [-low for low in grid.low], _room(grid, strips.rows), step=grid.stride[0])
    return small[:, : grid.small[0]]


def kernel(small: jax.Array, large: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """The kernel that pairs the fields: small samples times columns of large samples, summed over positions."""
    wide = at_least_float32(small.dtype)
    inner, outer = small.shape[-1], large.shape[-1]
    strips = _Strips(large, grid.small, math.prod(grid.kernel) * outer)

    def pair(samples: jax.Array, strip: jax.Array) -> jax.Array:
        columns = _columns(strip, grid, strips.rows).reshape(-1, math.prod(grid.kernel) * outer)
        # Turned apart, behind a barrier: XLA's product with a transposed left side runs at two thirds the speed.
        turned = lax.optimization_barrier(samples.reshape(-1, inner).T)
        return jnp.matmul(turned, columns, precision=precision, preferred_element_type=wide)

    samples = strips.cut(small, [0] * grid.ndim, [strips.rows, *grid.small[1:]], step=1)
    first, room = [-low for low in grid.low], _room(grid, strips.rows)
    total = strips.sum(pair, samples, large, first, room, step=grid.stride[0])
    return jnp.moveaxis(total.reshape(inner, *grid.kernel, outer), 0, -2).astype(small.dtype)


def kernel_by_phase(small: jax.Array, large: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """`kernel` from columns of the small field instead, and the phases of the large one.

    Where strides are long this reads the large field once, and in order.
    """
    wide = at_least_float32(small.dtype)
    inner, outer = small.shape[-1], large.shape[-1]
    layout = _PhaseLayout.of(grid)
    rows = layout.rows
    strips = _Strips(small, rows, math.prod(grid.kernel) * inner)

    def pair(samples: jax.Array, strip: jax.Array) -> jax.Array:
        extents = [strips.rows, *rows[1:]]
        split = [length for n, s in zip(extents, grid.stride) for length in (n, s)]
        apart = samples.reshape(samples.shape[0], *split, outer)
        turned = lax.optimization_barrier(jnp.moveaxis(strip, -1, 0))
        out = []
        for block in layout:
            if block.starts:
                window = [slice(a, a + n) for a, n in zip(block.first, block.counts)]
                target = apart[(slice(None), *(i for w in window for i in (slice(None), w)))]
                target = target.transpose(0, *range(1, 2 * grid.ndim, 2), *range(2, 2 * grid.ndim + 1, 2), -1)
                windows = [_window(turned, (0, 0, *start), (*turned.shape[:2], *extents)) for start in block.starts]
                columns = jnp.concatenate(windows).reshape(len(windows) * inner, -1)
                flat = target.reshape(columns.shape[1], -1)
                product = jnp.matmul(columns, flat, precision=precision, preferred_element_type=wide)
                out.append(
                    jnp.moveaxis(product.reshape(len(windows), inner, -1, outer), 1, 2).reshape(-1, inner, outer)
                )
        return jnp.concatenate(out)

    stretch = [s * n for s, n in zip(grid.stride, (strips.rows, *rows[1:]))]
    samples = strips.cut(large, [0] * grid.ndim, stretch, step=grid.stride[0])
    room = [n + r for n, r in zip((strips.rows, *rows[1:]), layout.reach)]
    total = strips.sum(pair, samples, small, layout.first, room, step=1)
    order = np.argsort(np.concatenate([block.taps.ravel() for block in layout]))
    return total[order].reshape(*grid.kernel, inner, outer).astype(small.dtype)


class _Block(NamedTuple):
    """Phases, a range on each axis, that are computed from the same windows of the small field."""

    first: list[int]
    counts: list[int]
    starts: list[tuple[int, ...]]  # of the windows
    taps: np.ndarray  # int [windows, phases]: the tap of each in the flattened kernel


@dataclasses.dataclass(frozen=True)
class _PhaseLayout:
    """Where the phases of a large field find their samples in the small one, padded to start at `first`."""

    phases: list[list[Phases]]  # by axis
    rows: list[int]  # samples of the longest phase
    first: list[int]  # lowest offset
    reach: list[int]  # highest offset above the lowest
    kernel: tuple[int, ...]

    @classmethod
    def of(cls, grid: Grid) -> _PhaseLayout:
        by_axis = [phases(grid, axis) for axis in range(grid.ndim)]
        offsets = [[o for group in axis for o in group.offsets] for axis in by_axis]
        first = [min(o) for o in offsets]
        rows = [-(-n // s) for n, s in zip(grid.large, grid.stride)]
        return cls(by_axis, rows, first, [max(o) - low for o, low in zip(offsets, first)], grid.kernel)

    def __iter__(self) -> Iterator[_Block]:
        for groups in itertools.product(*self.phases):
            starts = itertools.product(*([o - f for o in group.offsets] for group, f in zip(groups, self.first)))
            each = [
                [np.ravel_multi_index(tap, self.kernel) for tap in itertools.product(*taps)]
                for taps in itertools.product(*(group.taps for group in groups))
            ]
            counts = [len(group.taps) for group in groups]
            yield _Block([group.first for group in groups], counts, list(starts), np.array(each, int).T)


class _Strips:
    """How a batch of images is worked off: `count` strips an image, of `rows` rows each, in `groups` groups."""

    def __init__(self, field: jax.Array, extents: Ints, width: int) -> None:
        images = field.shape[0]
        row = math.prod(extents[1:]) * width * field.dtype.itemsize
        count = min(-(-row * extents[0] // COLUMNS), extents[0])
        self.rows = -(-extents[0] // count)
        self.count = -(-extents[0] // self.rows)
        wanted = -(-images * row * extents[0] // COLUMNS)
        items = images * self.count
        self.groups = next(g for g in range(min(wanted, items), items + 1) if items % g == 0)

    def map(self, work: Callable[[jax.Array], jax.Array], field: jax.Array, first: Ints, room: Ints, *, step: int):
        """`work` on each strip of `room` samples from `first` on, `step` for each row; the results side by side."""
        strips, padded = self._prepare(field, first, room, step)
        done = lax.map(lambda group: work(padded(group)), strips) if self.groups > 1 else work(padded(strips[0]))
        per_strip = done.shape[2:] if self.groups > 1 else done.shape[1:]
        return done.reshape(field.shape[0], self.count * per_strip[0], *per_strip[1:])

    def sum(self, work: Callable, samples: jax.Array, field: jax.Array, first: Ints, room: Ints, *, step: int):
        """The sum of `work` on groups of `samples` and their strips."""
        strips, padded = self._prepare(field, first, room, step)
        samples = samples.reshape(self.groups, -1, *samples.shape[1:])
        if self.groups == 1:
            return work(samples[0], padded(strips[0]))
        shape = jax.eval_shape(lambda a, b: work(a, padded(b)), samples[0], strips[0])
        total, _ = lax.scan(
            lambda total, pair: (total + work(pair[0], padded(pair[1])), None),
            vary_over(jnp.zeros(shape.shape, shape.dtype), varying(samples)),
            (samples, strips),
        )
        return total

    def cut(self, field: jax.Array, first: Ints, room: Ints, *, step: int) -> jax.Array:
        """`[N count, *room, C]`: the strips of every image."""
        if self.count == 1:
            return _resize(field, first, room)
        whole = _resize(field, first, [step * self.rows * (self.count - 1) + room[0], *room[1:]])
        at = step * self.rows * np.arange(self.count)[:, None] + np.arange(room[0])
        strips = jnp.take(whole, at, axis=1, mode="clip")  # one operation, however many strips there are
        return strips.reshape(-1, *strips.shape[2:])

    def _prepare(self, field: jax.Array, first: Ints, room: Ints, step: int):
        """The groups, and what pads one of them: whole images are padded a group at a time."""
        if self.count == 1:
            return field.reshape(self.groups, -1, *field.shape[1:]), lambda group: _resize(group, first, room)
        strips = self.cut(field, first, room, step=step)
        return strips.reshape(self.groups, -1, *strips.shape[1:]), lambda group: group


def _room(grid: Grid, rows: int) -> list[int]:
    """Large samples that so many rows of small ones meet."""
    spans = [d * (k - 1) + 1 for d, k in zip(grid.dilation, grid.kernel)]
    return [s * (m - 1) + span for s, m, span in zip(grid.stride, (rows, *grid.small[1:]), spans)]


def _columns(strip: jax.Array, grid: Grid, rows: int) -> jax.Array:
    """`[N, *small, prod(k) C]`: for each small sample the large samples that its taps meet.

    One axis after the other: far fewer pieces to compile than taps, and longer ones to copy.
    """
    for axis in reversed(range(grid.ndim)):
        k, s, d = grid.kernel[axis], grid.stride[axis], grid.dilation[axis]
        n = rows if axis == 0 else grid.small[axis]
        pieces = [lax.slice_in_dim(strip, d * j, d * j + s * (n - 1) + 1, s, 1 + axis) for j in range(k)]
        strip = jnp.concatenate(pieces, -1)
        if axis:
            strip = lax.optimization_barrier(strip)  # or XLA computes all pieces anew for each tap
    return strip


def _window(field: jax.Array, start: Ints, extents: Ints) -> jax.Array:
    """So many samples from `start` on, along the leading axes."""
    return field[tuple(slice(a, a + n) for a, n in zip(start, extents))]


def _resize(field: jax.Array, first: Ints, sizes: Ints) -> jax.Array:
    """Samples first, ..., first + size - 1 of each spatial axis; zeros where the field has none."""
    pads = [(-a, a + size - n, 0) for a, size, n in zip(first, sizes, field.shape[1:-1])]
    return lax.pad(field, jnp.zeros((), field.dtype), [(0, 0, 0), *pads, (0, 0, 0)])


def _product(columns: jax.Array, weights: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    """`[..., K] @ [K, O]`, accumulated in float32 at least."""
    flat = columns.reshape(-1, columns.shape[-1])
    wide = at_least_float32(columns.dtype)
    out = jnp.matmul(flat, weights, precision=precision, preferred_element_type=wide)
    return out.astype(columns.dtype).reshape(*columns.shape[:-1], -1)


def _interleave(fields: Sequence[jax.Array], layout: _PhaseLayout) -> jax.Array:
    """One field `[N, *(s q), C]` from its blocks of phases `[N, *q, *counts, C]`, in the layout's order."""
    ndim = len(layout.rows)
    apart = [0, *(i for axis in range(ndim) for i in (1 + axis, 1 + ndim + axis)), 1 + 2 * ndim]
    parts = [field.transpose(apart) for field in fields]  # [N, q0, counts0, q1, counts1, ..., C]
    for axis in reversed(range(ndim)):
        each = len(layout.phases[axis])
        parts = [jnp.concatenate(parts[i : i + each], axis=2 + 2 * axis) for i in range(0, len(parts), each)]
    shape = parts[0].shape
    return parts[0].reshape(shape[0], *(shape[1 + 2 * a] * shape[2 + 2 * a] for a in range(ndim)), shape[-1])

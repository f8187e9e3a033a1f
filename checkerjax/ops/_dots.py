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

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax._checks import at_least_float32
from checkerjax.ops._grid import Grid, Phase, phases

COLUMNS = 2**23  # bytes of columns at a time; experiments/benchmarks has the times for others

Ints = Sequence[int]


def scatter(small: jax.Array, kernel: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """Each phase of the large field from the taps that reach it: columns of small samples times a sub-kernel."""
    geometry = _PhaseGeometry.of(grid)
    rows, first = geometry.rows, geometry.first
    strips = _Strips(small, rows, math.prod(grid.kernel) * kernel.shape[-2])  # XLA keeps the columns of all phases
    weights = kernel.reshape(-1, *kernel.shape[-2:])

    def stamp(strip: jax.Array) -> jax.Array:
        extents = [strips.rows, *rows[1:]]
        out = []
        for _, starts, taps in geometry:
            if not starts:  # no tap reaches this phase
                out.append(jnp.zeros((strip.shape[0], *extents, kernel.shape[-1]), strip.dtype))
                continue
            columns = jnp.concatenate([_window(strip, (0, *start), (strip.shape[0], *extents)) for start in starts], -1)
            sub = weights[np.array(taps)]
            out.append(_product(columns, sub.reshape(-1, kernel.shape[-1]), precision))
        return _interleave(out, grid.stride)

    room = [n + r for n, r in zip((strips.rows, *rows[1:]), geometry.reach)]
    full = strips.map(stamp, small, first, room, step=1)
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
    """`kernel` from columns of the small field instead, one product for each phase of the large one.

    Where strides are long this reads the large field once, and in order.
    """
    wide = at_least_float32(small.dtype)
    inner, outer = small.shape[-1], large.shape[-1]
    geometry = _PhaseGeometry.of(grid)
    rows, first = geometry.rows, geometry.first
    strips = _Strips(small, rows, math.prod(grid.kernel) * inner)

    def pair(samples: jax.Array, strip: jax.Array) -> jax.Array:
        extents = [strips.rows, *rows[1:]]
        split = [length for n, s in zip(extents, grid.stride) for length in (n, s)]
        apart = samples.reshape(samples.shape[0], *split, outer)
        turned = lax.optimization_barrier(jnp.moveaxis(strip, -1, 0))
        out = []
        for at, starts, _ in geometry:
            if starts:
                phase = apart[(slice(None), *(i for r in at for i in (slice(None), r)))]
                windows = [_window(turned, (0, 0, *start), (*turned.shape[:2], *extents)) for start in starts]
                columns = jnp.concatenate(windows).reshape(len(windows) * inner, -1)
                target = phase.reshape(-1, outer)
                out.append(jnp.matmul(columns, target, precision=precision, preferred_element_type=wide))
        return jnp.concatenate(out).reshape(-1, inner, outer)

    stretch = [s * n for s, n in zip(grid.stride, (strips.rows, *rows[1:]))]
    samples = strips.cut(large, [0] * grid.ndim, stretch, step=grid.stride[0])
    room = [n + r for n, r in zip((strips.rows, *rows[1:]), geometry.reach)]
    total = strips.sum(pair, samples, small, first, room, step=1)
    order = np.argsort([tap for _, _, taps in geometry for tap in taps])
    return total[order].reshape(*grid.kernel, inner, outer).astype(small.dtype)


@dataclasses.dataclass(frozen=True)
class _PhaseGeometry:
    """Where the phases of a large field find their samples in the small one, padded to start at `first`."""

    phases: list[list[Phase]]  # by axis
    rows: list[int]  # samples of the longest phase
    first: list[int]  # lowest offset
    reach: list[int]  # highest offset above the lowest
    kernel: tuple[int, ...]

    @classmethod
    def of(cls, grid: Grid) -> _PhaseGeometry:
        by_axis = [phases(grid, axis) for axis in range(grid.ndim)]
        offsets = [[o for phase in axis for o in phase.offsets] for axis in by_axis]
        first = [min(o) for o in offsets]
        rows = [-(-n // s) for n, s in zip(grid.large, grid.stride)]
        return cls(by_axis, rows, first, [max(o) - low for o, low in zip(offsets, first)], grid.kernel)

    def __iter__(self) -> Iterator[tuple[Ints, list[Ints], list[int]]]:
        """Each phase (an int an axis), where the windows of its taps start, and those taps in the flattened kernel."""
        for choice in itertools.product(*(enumerate(axis) for axis in self.phases)):
            offsets = itertools.product(*([o - f for o in phase.offsets] for (_, phase), f in zip(choice, self.first)))
            taps = itertools.product(*(phase.taps for _, phase in choice))
            yield [r for r, _ in choice], list(offsets), [int(np.ravel_multi_index(tap, self.kernel)) for tap in taps]


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
            jnp.zeros(shape.shape, shape.dtype),
            (samples, strips),
        )
        return total

    def cut(self, field: jax.Array, first: Ints, room: Ints, *, step: int) -> jax.Array:
        """`[N count, *room, C]`: the strips of every image."""
        if self.count == 1:
            return _resize(field, first, room)
        whole = _resize(field, first, [step * self.rows * (self.count - 1) + room[0], *room[1:]])
        starts = [step * self.rows * t for t in range(self.count)]
        strips = jnp.stack([whole[:, start : start + room[0]] for start in starts], axis=1)
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
    """`[N, *small, prod(k) C]`: for each small sample the large samples that its taps meet."""
    starts = itertools.product(*([d * j for j in range(k)] for d, k in zip(grid.dilation, grid.kernel)))
    extents, strides = (strip.shape[0], rows, *grid.small[1:]), (1, *grid.stride)
    return jnp.concatenate([_window(strip, (0, *start), extents, strides) for start in starts], axis=-1)


def _window(field: jax.Array, start: Ints, extents: Ints, strides: Ints = ()) -> jax.Array:
    """So many samples from `start` on, along the leading axes."""
    steps = strides or (1,) * len(extents)
    return field[tuple(slice(a, a + s * (n - 1) + 1, s) for a, n, s in zip(start, extents, steps))]


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


def _interleave(fields: Sequence[jax.Array], strides: Ints, axis: int = 0) -> jax.Array:
    """One field `[N, *(s q), C]` from its prod(s) phases `[N, *q, C]`, the last axis running fastest."""
    if axis == len(strides):
        return fields[0]
    each = len(fields) // strides[axis]
    parts = [_interleave(fields[r * each : (r + 1) * each], strides, axis + 1) for r in range(strides[axis])]
    if len(parts) == 1:
        return parts[0]
    together = jnp.stack(parts, axis=2 + axis)
    return together.reshape(*parts[0].shape[: 1 + axis], -1, *parts[0].shape[2 + axis :])

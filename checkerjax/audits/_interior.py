"""Which part of each field no padding reaches, and after how many samples what is there repeats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from checkerjax.audits._axes import AxisReads
from checkerjax.audits._graph import Graph, Node

Bounds = tuple[int, int]  # start and stop in samples; start == stop where nothing is left

GUESSED = 2  # the period that an operation without a rule may have added


@dataclasses.dataclass(frozen=True)
class Extent:
    """Of the field of a node, per spatial axis in the order of `Node.spatial`."""

    sizes: tuple[int, ...]
    bounds: tuple[Bounds | None, ...]  # the samples whose receptive fields touch no padding; None: not determined
    period: tuple[int, ...]  # samples after which a response to an input constant in space repeats


def extents(graph: Graph) -> list[Extent | None]:
    """The extent of each node's field; None where a field has no space."""
    found: list[Extent | None] = []
    for node in graph.nodes:
        found.append(_extent(node, [found[i] for i in node.inputs]) if node.spatial else None)
    return found


def _extent(node: Node, inputs: Sequence[Extent | None]) -> Extent:
    sizes = node.spatial
    spatial = [e for e in inputs if e is not None and len(e.sizes) == len(sizes)]
    if node.kind == "unknown":
        return Extent(sizes, (None,) * len(sizes), tuple(_guess(a, n, spatial) for a, n in enumerate(sizes)))
    if not spatial:  # an input, or a latent that became a field
        return Extent(sizes, tuple((0, n) for n in sizes), (1,) * len(sizes))
    if node.reads:
        axes = [_read(reads, spatial[0].bounds[a], spatial[0].period[a]) for a, reads in enumerate(node.reads)]
    else:
        axes = [_merged(a, n, spatial) for a, n in enumerate(sizes)]
    bounds, period = zip(*axes)
    return Extent(sizes, bounds, period)


def _read(reads: AxisReads, bounds: Bounds | None, period: int) -> tuple[Bounds | None, int]:
    """After an operation with windows."""
    if reads.size == 1:  # one sample made into several: a latent that became a field
        return (0, reads.outputs), 1
    down = abs(reads.down)
    after = reads.up * (period // math.gcd(period, down))
    if bounds is None:
        return None, after
    used = reads.weights != 0
    inside = (reads.positions >= bounds[0]) & (reads.positions < bounds[1])
    clean = ~reads.outside & (inside | ~used).all(axis=1)
    return longest_run(clean), after


def _merged(axis: int, size: int, inputs: Sequence[Extent]) -> tuple[Bounds | None, int]:
    """Of fields that meet sample by sample; one of a single sample is the same everywhere."""
    fields = [e for e in inputs if e.sizes[axis] == size or e.sizes[axis] != 1]
    period = math.lcm(1, *(e.period[axis] for e in fields))
    bounds = [e.bounds[axis] if e.sizes[axis] == size else None for e in fields]
    known = [b for b in bounds if b is not None]
    if len(known) < len(bounds):
        return None, period
    start, stop = max([0, *(b[0] for b in known)]), min([size, *(b[1] for b in known)])
    return (start, max(start, stop)), period


def _guess(axis: int, size: int, inputs: Sequence[Extent]) -> int:
    """The period after an operation without a rule: what came before, times the ratio of the sizes if it is whole."""
    period = GUESSED
    for e in inputs:
        before = e.sizes[axis]
        period = math.lcm(period, e.period[axis] * (size // before if before and size % before == 0 else 1))
    return period


def longest_run(clean: np.ndarray) -> Bounds:
    """The longest run of True, the first of equals; (0, 0) if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], clean, [False]]).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best])


@dataclasses.dataclass(frozen=True)
class Region:
    """The part of a field that is measured."""

    starts: tuple[int, ...]
    counts: tuple[int, ...]  # whole periods kept
    period: tuple[int, ...]
    whole: bool  # all of the field, borders included, for want of an interior

    @property
    def slices(self) -> tuple[slice, ...]:
        """Per spatial axis."""
        return tuple(slice(s, s + q * p) for s, q, p in zip(self.starts, self.counts, self.period))


FEWEST = 4  # periods by which a response that does not repeat is told from what is around its lines


def region(extent: Extent, *, steady: bool) -> Region:
    """The interior in whole periods; the whole field where too few fit into it, one if responses are steady.

    Of the whole field the period is the longest divisor that fits.
    """
    period = tuple(
        max(d for d in range(1, p + 1) if p % d == 0 and d <= n) for p, n in zip(extent.period, extent.sizes)
    )
    whole = Region((0,) * len(period), tuple(n // p for n, p in zip(extent.sizes, period)), period, True)
    inside = [b for b in extent.bounds if b is not None]
    if len(inside) < len(extent.sizes):
        return whole
    counts = tuple((b[1] - b[0]) // p for b, p in zip(inside, extent.period))
    if all(q >= (1 if steady or p == 1 else FEWEST) for q, p in zip(counts, extent.period)):
        return Region(tuple(b[0] for b in inside), counts, extent.period, False)
    return whole

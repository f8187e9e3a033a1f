"""All operations together: paths that reach each phase of the output, and what holds for any weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from checkerjax.audits._axes import AxisReads
from checkerjax.audits._finding import GRADES, Finding
from checkerjax.audits._graph import Graph, Node
from checkerjax.audits._interior import Extent

NULL = 1e-5  # a filter's response at a line, over that at DC: zero but for the rounding of float32 taps


@dataclasses.dataclass(frozen=True)
class Composed:
    """Of the output, per spatial axis."""

    grade: str
    counts: tuple[tuple[float, ...], ...]


def compose_all(
    graph: Graph, output: int, extents: Sequence[Extent | None], findings: Sequence[Finding]
) -> Composed | None:
    """The grade of everything between input and output; None where the output has no space or no interior.

    Counting is as in `overlap.count`: learned kernels are made of ones, constants are what they are, and pointwise
    operations let all paths through.
    """
    node, extent = graph.nodes[output], extents[output]
    if not node.spatial or extent is None:
        return None
    inside = []
    for bounds, size, period in zip(extent.bounds, node.spatial, extent.period):
        start, stop = bounds if bounds is not None and bounds[1] - bounds[0] >= period else (0, size)
        inside.append(slice(start, start + (stop - start) // period * period))
    kept = _counts(graph)[output][tuple(inside)]
    if kept.size == 0:
        return None
    reached = kept  # paths may cancel, as those of a Laplacian do: only where none leads there is a hole
    if (kept == 0).any():
        reached = _counts(graph, signed=False)[output][tuple(inside)]
    free = _untied(graph, findings)[output]
    rows, grades = [], []
    for axis, period in enumerate(extent.period):
        folded = _folded(kept, axis, period)
        phases = np.roll(folded.reshape(period, -1).mean(axis=1), inside[axis].start % period)
        rows.append(_in_small_numbers(phases))
        holes = bool((_folded(reached, axis, period) == 0).any())
        grades.append("holes" if holes else _grade(folded, free[axis]))
    return Composed(min(grades, key=GRADES.index), tuple(rows))


def _folded(counts: np.ndarray, axis: int, period: int) -> np.ndarray:
    """`[period, ...]`: the mean over the periods of one axis."""
    return np.moveaxis(counts, axis, 0).reshape(-1, period, *np.delete(counts.shape, axis)).mean(axis=0)


def _in_small_numbers(phases: np.ndarray) -> tuple[float, ...]:
    """Paths up to a factor that all phases share: whole numbers where small ones do."""
    least = phases[phases > 0].min(initial=np.inf)
    if np.isfinite(least):
        for whole in range(1, 65):
            scaled = phases * (whole / least)
            if np.abs(scaled - np.rint(scaled)).max() <= 1e-6 * whole:
                return tuple(float(c) for c in np.rint(scaled))
    return tuple(float(f"{c:.6g}") for c in phases)


def _grade(folded: np.ndarray, free: bool) -> str:
    if not free:
        return "tied"
    return "untied" if np.ptp(folded, axis=0).max() <= 1e-6 * np.abs(folded).max() else "uneven"


def _counts(graph: Graph, *, signed: bool = True) -> list[np.ndarray]:
    """Paths to each sample of each field, the channels left aside; not `signed`: without what cancels."""
    counts: list[np.ndarray] = []
    for node in graph.nodes:
        fields = [counts[i] for i in node.inputs if counts[i].ndim == len(node.spatial)]
        counts.append(_after(node, fields, np.asarray if signed else np.abs))
    return counts


def _after(node: Node, fields: list[np.ndarray], sign: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    sizes = node.spatial
    if not fields or not sizes:
        return np.ones(sizes)
    if node.kind == "conv" and node.kernel is not None and node.kernel.array is not None:
        return _correlated(node, fields[0], sign)
    if len(node.reads) == len(sizes):
        values = fields[0]
        for axis, reads in enumerate(node.reads):
            largest = node.kind == "window" and node.operation != "sum"
            values = _gathered(values, reads.positions, sign(reads.weights), axis, largest)
        return values * sign(np.asarray(node.factor))
    fitting = [np.broadcast_to(f, sizes) for f in fields if all(n in (1, s) for n, s in zip(f.shape, sizes))]
    if not fitting:
        return np.ones(sizes)
    if node.kind == "concat" or node.operation in ("add", "add_any", "sub"):
        return np.sum(fitting, axis=0)
    return np.max(fitting, axis=0)


def _gathered(values: np.ndarray, positions: np.ndarray, weights: np.ndarray, axis: int, largest: bool) -> np.ndarray:
    """One axis read as `[out, taps]` positions and weights say."""
    shape = [1] * values.ndim
    out: np.ndarray | None = None
    shape[axis] = len(positions)
    for tap in range(positions.shape[1]):
        part = np.take(values, positions[:, tap], axis) * weights[:, tap].reshape(shape)
        out = part if out is None else np.maximum(out, part) if largest else out + part
    assert out is not None
    return out


def _correlated(node: Node, values: np.ndarray, sign: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A constant kernel, the mean over its channel pairs that are not empty."""
    assert node.kernel is not None
    assert node.kernel.array is not None
    taps = sign(node.kernel.array)
    pairs = taps.reshape(*taps.shape[:-2], -1)
    used = (pairs != 0).reshape(-1, pairs.shape[-1]).any(axis=0)
    mean = pairs[..., used].mean(axis=-1) if used.any() else pairs[..., 0]
    out = np.zeros(node.spatial)
    for at in np.ndindex(*mean.shape):
        if mean[at] == 0:
            continue
        part = values
        for axis, (reads, tap) in enumerate(zip(node.reads, at)):
            at_tap = slice(tap, tap + 1)
            part = _gathered(part, reads.positions[:, at_tap], reads.weights[:, at_tap], axis, False)
        out = out + mean[at] * part
    return out


def _untied(graph: Graph, findings: Sequence[Finding]) -> list[tuple[bool, ...]]:
    """Whether a flat input may leave a pattern in each field, for some weights, per spatial axis."""
    period: list[tuple[int, ...]] = []  # of the pattern; 1 where there is none
    grades = {f.nodes[-1]: f.axis_grades for f in findings if f.nodes}
    parts = {i for f in findings for i in f.nodes[:-1]}
    for i, node in enumerate(graph.nodes):
        ndim = len(node.spatial)
        fields = [period[j] for j in node.inputs if len(period[j]) == ndim]
        before = tuple(int(np.lcm.reduce([f[a] for f in fields])) if fields else 1 for a in range(ndim))
        if i in parts:  # told with the operation that it belongs to
            period.append(before)
            continue
        if node.kind == "unknown":
            before = tuple(2 * p for p in before)
        elif len(node.reads) == ndim and i in grades and len(grades[i]) == ndim:
            before = tuple(_stepped(node, a, before[a], grades[i][a], i, findings) for a in range(ndim))
        elif len(node.reads) == ndim:
            before = tuple(_carried(r, p) for r, p in zip(node.reads, before))
        period.append(before)
    return [tuple(n > 1 for n in p) for p in period]


def _stepped(node: Node, axis: int, before: int, grade: str, i: int, findings: Sequence[Finding]) -> int:
    """The period of the pattern after an operation that is a finding."""
    finding = next(f for f in findings if f.nodes and f.nodes[-1] == i)
    if finding.role in ("up", "shuffle"):
        stride = finding.stride[axis]
        if grade == "tied":
            return before * stride if before > 1 else 1
        return before * stride
    if finding.role == "smooth" and before > 1 and _nulls(node, axis, before):
        return 1
    return _carried(node.reads[axis], before)


def _carried(reads: AxisReads, before: int) -> int:
    if before == 1:
        return 1
    down = abs(reads.down)
    return reads.up * (before // np.gcd(before, down))


def _nulls(node: Node, axis: int, period: int) -> bool:
    """Whether a fixed filter is zero at every line of a period."""
    if node.kernel is not None and node.kernel.array is not None:
        taps = node.kernel.array
        rows = np.moveaxis(taps, axis, 0).reshape(taps.shape[axis], -1)
        at = node.reads[axis].pattern_positions[0]
    else:
        reads = node.reads[axis]
        rows, at = reads.pattern_weights[0][:, None], reads.pattern_positions[0]
    lines = np.exp(-2j * np.pi * np.outer(np.arange(1, period) / period, at))
    response = np.abs(lines @ rows)
    return bool((response <= NULL * np.abs(rows).sum(axis=0)).all())

"""The grid along a program: every operation on a field, with the statistics after it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from checkerjax.audits._finding import Finding
from checkerjax.audits._graph import Graph, Node
from checkerjax.audits._reading import where
from checkerjax.audits._report_parts import Traced
from checkerjax.audits._report_words import per_axis
from checkerjax.audits._statistics import Measured

_MEASURED = ("lattice_ratio", "power_ratio", "lattice_ratios", "power_ratios", "power_chance")
SPATIAL = ("conv", "filter", "window", "route", "shuffle", "unshuffle", "move", "unknown")


def trace_nodes(graph: Graph, findings: Sequence[Finding], among: Collection[int] | None = None) -> list[int]:
    """The nodes to measure: what findings end in, and of each run of other operations the first and the last.

    Each costs its compiling, and within a run of convolutions a grid only fades.
    """
    parts = {i for f in findings for i in f.nodes[:-1]}
    ends = {f.nodes[-1] for f in findings if f.nodes}
    spatial = [
        i
        for i, node in enumerate(graph.nodes)
        if node.spatial
        and i not in parts
        and (among is None or i in among)
        and (i in ends or (node.kind in SPATIAL and node.kind != "move"))
    ]
    around = zip([None, *spatial[:-1]], spatial, [*spatial[1:], None])
    return [i for before, i, after in around if i in ends or {before, after} & {*ends, None}]


def traced_rows(
    graph: Graph, nodes: Sequence[int], findings: Sequence[Finding], measured: Mapping[int, Measured]
) -> tuple[Traced, ...]:
    """One row for each node."""
    by_node = {f.nodes[-1]: f for f in findings if f.nodes}
    rows = []
    for i in nodes:
        node, finding, field = graph.nodes[i], by_node.get(i), measured.get(i)
        path, source = (finding.path, finding.source) if finding else where(node.step) if node.step else ("", "")
        row = Traced(_label(node, finding), path, source, None, None, finding.grade if finding is not None else None)
        rows.append(row if field is None else row._replace(**{name: getattr(field, name) for name in _MEASURED}))
    return tuple(rows)


def _label(node: Node, finding: Finding | None) -> str:
    if finding is not None and finding.kernel_size:
        stride = "" if max(finding.stride) == 1 else f" s{per_axis(finding.stride)}"
        return f"{finding.role} k{per_axis(finding.kernel_size)}{stride}"
    if node.kind == "conv":
        return f"conv k{per_axis(tuple(r.taps for r in node.reads))}"
    return f"{node.operation or node.kind}"

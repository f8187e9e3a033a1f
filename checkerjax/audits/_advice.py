"""Which findings need a change, which are repaired by what follows, and what to say of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from checkerjax.audits._finding import Finding
from checkerjax.audits._graph import Graph
from checkerjax.audits._reading import Reading
from checkerjax.audits._remedies import Remedy, gradient_remedies, remedies
from checkerjax.audits._report_advice import Advice
from checkerjax.audits._report_parts import Outcome, Thresholds, joint_verdict
from checkerjax.audits._report_words import is_above, power_limit


@dataclasses.dataclass(frozen=True)
class Need:
    """Whether something is to be changed."""

    change: bool = False
    remark: str = ""


def advise(
    reading: Reading,
    findings: Sequence[Finding],
    outcomes: Sequence[Outcome],
    thresholds: Thresholds,
    *,
    forward: Reading | None = None,
    trained: bool = False,
    hidden: bool = False,
) -> tuple[Finding, ...]:
    """The findings with their advice.

    Args:
      reading: of the program, or of its input gradient.
      findings: of `reading`, in its order, with what was measured after each.
      outcomes: what reaches the ends of the program.
      thresholds: what is called a grid.
      forward: for an input gradient, the reading of the program itself: that is what can be changed.
      trained: whether the parameters were taken as given.
      hidden: whether a grid is left that the outcomes do not show, beside a larger mean.
    """
    needed = needs(reading.graph, findings, outcomes, thresholds, hidden=hidden)
    out = []
    for finding, need in zip(findings, needed):
        words = (Advice("", need.remark, needed=False),) if need.remark else ()
        if need.change:
            words = tuple(r.text for r in remedies_of(finding, reading, forward, trained=trained))
        out.append(dataclasses.replace(finding, advice=words))
    return tuple(out)


def remedies_of(finding: Finding, reading: Reading, forward: Reading | None, *, trained: bool) -> tuple[Remedy, ...]:
    """What can be done about a finding of a program, or of the gradient of `forward`."""
    if not finding.nodes:
        return ()
    if forward is None:
        return remedies(finding, reading, trained=trained)
    return gradient_remedies(finding, reading, forward)


def needs(
    graph: Graph, findings: Sequence[Finding], outcomes: Sequence[Outcome], thresholds: Thresholds, *, hidden: bool
) -> list[Need]:
    """For each finding whether its grid reaches an end."""
    verdict = joint_verdict(outcomes, thresholds)
    clean = not hidden and (verdict == "clean" or (verdict is None and all(o.grade == "tied" for o in outcomes)))
    found = [_need(graph, i, findings, thresholds, clean) for i in range(len(findings))]
    if clean or any(n.change for n in found):
        return found
    loose = [_makes_grids(f) and f.grade != "tied" for f in findings]
    if any(loose):  # none of them alone was seen to make the grid
        return [Need(True) if at else need for at, need in zip(loose, found)]
    return [Need(_makes_grids(f) and _is_uneven(f, thresholds)) for f in findings]


def _need(graph: Graph, i: int, findings: Sequence[Finding], thresholds: Thresholds, clean: bool) -> Need:
    finding = findings[i]
    if not _makes_grids(finding) or finding.grade == "tied" or not _may_have_grid(finding, thresholds):
        return Need()
    repairer = next((f for f in _after(graph, finding, findings) if _is_clean(f, thresholds)), None)
    if repairer is not None:
        where = repairer.path or repairer.source
        return Need(
            remark=f"No change needed: its grid ends at the {repairer.operation}{f' {where}' if where else ''}."
        )
    if not clean:
        return Need(True)
    measured = finding.lattice_ratio is not None
    return Need(remark="No change needed: what follows evens it out." if measured else "")


def _makes_grids(finding: Finding) -> bool:
    return finding.role in ("up", "shuffle")


def _is_uneven(finding: Finding, thresholds: Thresholds) -> bool:
    return is_above(finding.power_ratio, power_limit(thresholds.max_power_ratio, finding.power_chance))


def _may_have_grid(finding: Finding, thresholds: Thresholds) -> bool:
    """Whether one was measured after it, or nothing was measured."""
    if finding.lattice_ratio is None and finding.power_ratio is None:
        return True
    return is_above(finding.lattice_ratio, thresholds.max_lattice_ratio) or _is_uneven(finding, thresholds)


def _is_clean(finding: Finding, thresholds: Thresholds) -> bool:
    return finding.lattice_ratio is not None and not _may_have_grid(finding, thresholds)


def _after(graph: Graph, finding: Finding, findings: Sequence[Finding]) -> list[Finding]:
    """The findings that all of its output goes through, in program order."""
    readers = graph.consumers()
    return [f for f in findings if f is not finding and f.nodes and _all_through(graph, readers, finding, f)]


def _all_through(graph: Graph, readers: list[list[int]], finding: Finding, later: Finding) -> bool:
    """Whether no path from one finding to an output avoids another."""
    gate, start = later.nodes[-1], finding.nodes[-1]
    if gate <= start:
        return False
    waiting, seen = [start], set()
    while waiting:
        at = waiting.pop()
        if at in seen or at == gate:
            continue
        seen.add(at)
        if at in graph.outputs:
            return False
        waiting += readers[at]
    return True

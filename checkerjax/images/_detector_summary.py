"""From lines to a report: pixel units, groups, corrected p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from checkerjax.images._detector_lines import PlaneLines, fold_from
from checkerjax.images._detector_phases import phase_ratio
from checkerjax.images._detector_plan import Plan
from checkerjax.images._detector_planes import Plane
from checkerjax.images._detector_pooling import group_p, period_p
from checkerjax.images._detector_search import Found, Outcome
from checkerjax.images._null import sidak, window
from checkerjax.images._report import FractionalLine, GridReport, GroupResult, LineTable, PeriodResult


def summarise(
    plan: Plan,
    planes: Sequence[Plane],
    outcome: Outcome,
    shape: tuple[int, ...],
    alpha: float,
    fractional: tuple[FractionalLine, ...],
    notes: tuple[str, ...],
) -> GridReport:
    """The report of what was found."""
    *size, channels = shape
    steepness = (4 * np.sin(np.pi * plan.frequency) ** 2).sum(1)  # of the second differences
    lines = line_table(plan, outcome.lines.lines, (outcome.scales[:, None] / steepness) ** 2)
    whole = float(window(plan.size).sum()) * outcome.contrast
    phases = line_table(plan, outcome.phases.lines, np.full((1, 1), 1 / whole**2))
    results = _periods(plan, outcome, lines, channels)
    found = tuple(sorted({*outcome.lines.found, *outcome.phases.found}))
    least = min(min(r.p, r.phase_p) for r in results)
    return GridReport(
        tuple(size), tuple(plane.name for plane in planes), alpha, results, found,
        sidak(least, 2 * len(results)), lines, phases, fractional, notes,
    )  # fmt: skip


def line_table(plan: Plan, lines: PlaneLines, scale: np.ndarray) -> LineTable:
    """Lines of every plane one after the other; `scale` takes sums to amplitudes squared."""
    planes = len(lines.power)
    per_line = np.broadcast_to(scale * plan.line_dof, lines.power.shape)  # a line and its conjugate have both power
    return LineTable(
        np.tile(plan.frequency, (planes, 1)), np.tile(plan.period, planes), np.tile(plan.group, planes),
        np.repeat(np.arange(planes), len(plan.period)), (lines.power * per_line).ravel(),
        (lines.floor * per_line).ravel(), np.tile(plan.line_dof, planes), lines.floor_dof.ravel(), lines.p.ravel(),
    )  # fmt: skip


class _Statistic(NamedTuple):
    """What a report says of one statistic, for each period."""

    db: list[float]
    p: list[float]
    groups: list[tuple[GroupResult, ...]]


def _periods(plan: Plan, outcome: Outcome, table: LineTable, channels: int) -> tuple[PeriodResult, ...]:
    trials = 2 * len(plan.periods)
    lines, phases = _statistic(plan, outcome.lines), _statistic(plan, outcome.phases)
    excess = _by_period(plan, (table.power - table.floor).reshape(-1, len(plan.period)).sum(0)) / channels
    ratios = [phase_ratio(fold_from(outcome.phase_folds, period)[0], plan.size) for period in plan.periods]
    return tuple(
        PeriodResult(
            period, lines.db[i], lines.p[i], sidak(lines.p[i], trials), math.sqrt(max(0.0, float(excess[i]))),
            lines.groups[i], phases.db[i], phases.p[i], sidak(phases.p[i], trials), ratios[i], phases.groups[i],
        )
        for i, period in enumerate(plan.periods)
    )  # fmt: skip


def _statistic(plan: Plan, found: Found) -> _Statistic:
    ratio = (found.lines.power / found.lines.floor).mean(0)
    means = _by_period(plan, ratio) / _by_period(plan, np.ones_like(ratio))
    of_groups = group_p(plan, found.lines.p)
    return _Statistic(
        [_decibels(mean) for mean in means.tolist()], period_p(plan, of_groups), _groups(plan, ratio, of_groups)
    )


def _by_period(plan: Plan, values: np.ndarray) -> np.ndarray:
    """Sums over the lines of each period, which follow one another in a plan."""
    return np.add.reduceat(values, np.searchsorted(plan.period, plan.periods))


def _groups(plan: Plan, ratio: np.ndarray, p: np.ndarray) -> list[tuple[GroupResult, ...]]:
    parts = plan.parts
    sums = np.add.reduceat(np.bincount(parts.of_line, ratio, len(parts.count)), parts.first)
    means = sums / np.add.reduceat(parts.count, parts.first)
    results = []
    for first, count in zip(parts.first_group.tolist(), parts.groups_of.tolist()):
        here = slice(first, first + count)
        each = zip(parts.groups[here], means[here].tolist(), p[here].tolist())
        results.append(tuple(GroupResult(_name(plan, group), _decibels(mean), q) for (_, group), mean, q in each))
    return results


def _name(plan: Plan, group: int) -> str:
    return f"axis {group}" if group < len(plan.size) else "off the axes"


def _decibels(ratio: float) -> float:
    return 10 * math.log10(max(float(ratio), 1e-30))


def constant_report(
    size: tuple[int, ...], periods: tuple[int, ...], alpha: float, notes: tuple[str, ...]
) -> GridReport:
    """Nothing varies: no grid, p = 1, amplitude 0, by definition."""
    none = np.zeros(0)
    table = LineTable(np.zeros((0, len(size))), *(none.astype(int),) * 3, *(none,) * 5)
    results = tuple(PeriodResult(p, 0.0, 1.0, 1.0, 0.0, (), 0.0, 1.0, 1.0, 1.0, ()) for p in periods)
    return GridReport(size, (), alpha, results, (), 1.0, table, table, (), notes)

"""The trace of the grid as a table: lines and phase powers after each operation, period by period."""

from __future__ import annotations

from collections.abc import Sequence

from checkerjax.audits._report_blocks import Block, Column, by_period
from checkerjax.audits._report_parts import PerPeriod, Thresholds, Traced
from checkerjax.audits._report_words import is_above, listed, marked, number, power_limit

MOST_PERIODS = 4  # that have columns of their own
MOST_ROWS = 40
IDLE = 1e-6, 1.005  # lines over DC and power ratio that are none
_TITLE = "after each operation that reads several samples"
_ENDS = (Column("module", "name"), Column("source", "name"))
_TOTALS = (Column("lines", "number"), Column("power", "number"))


def trace_block(direction: str, trace: Sequence[Traced], limits: Thresholds) -> Block:
    """For the terminal: the statistics of each period, or of many periods the strongest alone; the last rows."""
    if not any(_has_grid(t) for t in trace):
        return Block("")
    shown = trace[-MOST_ROWS:]
    text = [f"the last {len(shown)} of {len(trace)}; Markdown and JSON have all"] if len(shown) < len(trace) else []
    periods = sorted({p for t in shown for p, _ in (*t.lattice_ratios, *t.power_ratios)})
    if 0 < len(periods) <= MOST_PERIODS:
        names = listed(periods, "or")
        text.append(f"l{periods[0]}, p{periods[0]} ...: lines over DC and phase power ratio of period {names}")
        columns = [Column(f"{letter}{p}", "number") for letter in "lp" for p in periods]
        middle = [_each(t, periods) for t in shown]
    else:
        columns = [_TOTALS[0], Column("most at", "number"), _TOTALS[1], Column("most at", "number")]
        middle = [_strongest(t, limits) for t in shown]
    rows = tuple((t.label, *cells, t.path or "-", t.source or "-") for t, cells in zip(shown, middle))
    return Block(f"{direction}, {_TITLE}", tuple(text), (Column("operation", "text"), *columns, *_ENDS), rows)


def full_trace_block(direction: str, trace: Sequence[Traced], limits: Thresholds) -> Block:
    """For Markdown: every operation, and every period."""
    if not any(_is_measured(t) for t in trace):
        return Block("")
    columns = Column("#", "number"), Column("operation", "text"), Column("grade", "word"), *_TOTALS
    more = Column("lines by period", "text"), Column("power by period", "text")
    rows = tuple(
        (
            str(i), t.label, t.grade or "-", *_totals(t, limits), by_period(t.lattice_ratios) or "-",
            by_period(t.power_ratios) or "-", t.path or "-", t.source or "-",
        )
        for i, t in enumerate(trace, 1)
    )  # fmt: skip
    return Block(f"{direction}, {_TITLE}", (), (*columns, *more, *_ENDS), rows)


def _is_measured(traced: Traced) -> bool:
    return traced.lattice_ratio is not None or traced.power_ratio is not None


def _has_grid(traced: Traced) -> bool:
    """Whether there is anything to show."""
    return is_above(traced.lattice_ratio, IDLE[0]) or is_above(traced.power_ratio, IDLE[1])


def _totals(traced: Traced, limits: Thresholds) -> tuple[str, str]:
    least = power_limit(limits.max_power_ratio, traced.power_chance)
    return marked(traced.lattice_ratio, limits.max_lattice_ratio), marked(traced.power_ratio, least)


def _each(traced: Traced, periods: Sequence[int]) -> tuple[str, ...]:
    """A number for each period; "-" for one that is not the operation's."""
    values = dict(traced.lattice_ratios), dict(traced.power_ratios)
    return tuple(number(each.get(p)) for each in values for p in periods)


def _strongest(traced: Traced, limits: Thresholds) -> tuple[str, str, str, str]:
    lines, power = _totals(traced, limits)
    above = is_above(traced.lattice_ratio, 0.0), is_above(traced.power_ratio, 1.0)
    periods = [_longest(v) if a else "-" for v, a in zip((traced.lattice_ratios, traced.power_ratios), above)]
    return lines, periods[0], power, periods[1]


def _longest(values: PerPeriod) -> str:
    """The period with the largest value, of equal ones the shortest."""
    return str(min(values, key=lambda each: (-each[1], each[0]))[0]) if values else "-"

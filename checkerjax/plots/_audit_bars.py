"""Bars of what each operation of an audited program does to lines and phase powers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from checkerjax.audits._finding import GRADES
from checkerjax.audits._report_parts import Thresholds
from checkerjax.audits._report_trace import IDLE
from checkerjax.audits._report_words import is_above, number, power_limit, printable, shortened
from checkerjax.plots._files import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

GRADE_COLOURS: dict[str, str] = dict(
    zip(GRADES, (COLOURS["red"], COLOURS["orange"], COLOURS["blue"], COLOURS["green"]))
)
NO_GRADE = COLOURS["grey"]
LOWEST = 1e-6  # lattice ratio that bars start from
NAME_COLUMNS = 36
BAR, FRAME, SENTENCE = 0.165, 0.75, 0.3  # inches a bar, around all, and of a sentence in their place


class Bar(NamedTuple):
    """One operation."""

    label: str
    path: str
    lattice_ratio: float | None
    power_ratio: float | None
    grade: str | None
    power_chance: float | None = None  # what chance alone makes of the power ratio


def is_idle(bars: Sequence[Bar]) -> bool:
    """Whether all bars of what was measured would be of no length."""
    measured = [b for b in bars if b.lattice_ratio is not None or b.power_ratio is not None]
    lines = any(is_above(b.lattice_ratio, IDLE[0]) for b in measured)
    return bool(measured) and not lines and not any(is_above(b.power_ratio, IDLE[1]) for b in measured)


def bars_height(bars: Sequence[Bar]) -> float:
    """Inches that the bars of a direction need."""
    return SENTENCE if is_idle(bars) else FRAME + BAR * len(bars)


def without_root(groups: Sequence[tuple[str, list[Bar]]]) -> list[tuple[str, list[Bar]]]:
    """The bars without the module that all their paths begin with: its name says nothing, and takes room."""
    roots = {bar.path.partition("/")[0] for _, bars in groups for bar in bars}
    if len(roots) > 1:
        return list(groups)
    return [
        (name, [bar._replace(path=bar.path.partition("/")[2] or bar.path) for bar in bars]) for name, bars in groups
    ]


def bar_panels(panels: Sequence[Axes], bars: Sequence[Bar], title: str, limits: Thresholds) -> None:
    """Lines on the left, phase powers on the right, the first operation on top; a dashed line at the limit."""
    if is_idle(bars):
        for axes in panels:
            axes.set_axis_off()
        several = f"all {len(bars)} operations" if len(bars) > 1 else "its one operation"
        panels[0].set_title(f"{title}: no lines and equal phase powers after {several}", loc="left", parse_math=False)
        return
    if any(b.lattice_ratio is not None or b.power_ratio is not None for b in bars):
        _statistic(panels[0], [b.lattice_ratio for b in bars], bars, limits.max_lattice_ratio, LOWEST)
        _statistic(panels[1], [b.power_ratio for b in bars], bars, limits.max_power_ratio, 1.0)
        panels[0].set_title(f"{title}\nlines over DC", parse_math=False)
        panels[1].set_title("phase power ratio")
    else:
        _grades(panels[0], bars)
        panels[0].set_title(f"{title}\ngrades", parse_math=False)
        panels[1].set_axis_off()
    panels[0].set_yticks(np.arange(len(bars)), [_name(b) for b in bars], fontsize=7, parse_math=False)
    panels[0].set_ylim(len(bars) - 0.4, -0.6)


def legend(part: SubFigure, bars: Sequence[Bar]) -> None:
    """The colours in use, below all."""
    from matplotlib.patches import Patch

    used = {bar.grade for bar in bars}
    if not used:
        return
    handles = [Patch(color=colour, label=grade) for grade, colour in GRADE_COLOURS.items() if grade in used]
    if used - set(GRADE_COLOURS):
        handles.append(Patch(color=NO_GRADE, label="no grade"))
    part.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7)


def _statistic(axes: Axes, values: Sequence[float | None], bars: Sequence[Bar], limit: float, lowest: float) -> None:
    """Bars on a logarithmic axis; what has no number there, 0 and infinity, has none or ends with the axis."""
    finite = [v for v in values if v is not None and math.isfinite(v)]
    highest = 1.3 * max([*finite, 2 * limit, 1.0])
    for y, (value, bar) in enumerate(zip(values, bars)):
        least = power_limit(limit, bar.power_chance) if lowest == 1.0 else limit
        end = lowest if value is None or math.isnan(value) else float(np.clip(value, lowest, highest))
        axes.barh(y, end - lowest, _thickness(bars), left=lowest, color=_colour(bar))
        axes.annotate(
            number(value), (1, y), xycoords=("axes fraction", "data"), xytext=(2, 0), textcoords="offset points",
            va="center", fontsize=6.5, fontweight="bold" if is_above(value, least) else "normal",
        )  # fmt: skip
    axes.axvline(limit, color="black", lw=0.8, ls="--")
    axes.set_xscale("log")
    ticks = _ticks(lowest, highest)
    labels = (
        [f"{t:g}" for t in ticks] if lowest == 1.0 else [f"1e{round(math.log10(t))}" if t != 1 else "1" for t in ticks]
    )
    axes.set_xticks(ticks, labels)
    axes.minorticks_off()
    axes.set_xlim(lowest, highest)


def _ticks(lowest: float, highest: float) -> list[float]:
    """Round numbers, a few of them."""
    if lowest < 1:
        step = 2 if highest < 1e3 else 3
        every = [10.0**i for i in range(round(math.log10(lowest)), 31, step)]
    elif highest < 5:
        every = [1.0, 1.2, 1.5, 2.0, 3.0, 4.0]
    else:
        base = 2 if highest < 100 else 10
        every = [float(base) ** i for i in range(0, 40, 1 if base == 2 else max(1, math.ceil(math.log10(highest) / 5)))]
    return [t for t in every if t <= highest]


def _grades(axes: Axes, bars: Sequence[Bar]) -> None:
    for y, bar in enumerate(bars):
        axes.barh(y, 1, _thickness(bars), color=_colour(bar))
    axes.set(xticks=[], xlim=(0, 1))


def _thickness(bars: Sequence[Bar]) -> float:
    """Of a bar, over the room it has: a few bars need not fill a panel."""
    return 0.72 * min(1.0, max(2, len(bars)) / 8)


def _colour(bar: Bar) -> str:
    return GRADE_COLOURS.get(bar.grade or "", NO_GRADE)


def _name(bar: Bar) -> str:
    """The label in full where it is short, and the end of the path."""
    label = shortened(printable(bar.label), NAME_COLUMNS - 12, keep="start")
    room = NAME_COLUMNS - len(label) - 2
    return f"{shortened(printable(bar.path), room)}  {label}" if bar.path else label

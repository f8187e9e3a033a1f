"""Spectra and intervals of a sweep over a grid."""

from __future__ import annotations

import fractions
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from checkerjax._names import suggest
from checkerjax.plots._files import COLOURS, STYLE, import_matplotlib
from checkerjax.plots._grid import MEASURES
from checkerjax.sweeps import GridRow, grid_rows
from checkerjax.sweeps._grid_rows import lines_measure, short_names, worst_first

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SPECTRA = 6
MOST_ROWS = 40
FLOOR = -80.0  # dB; below is what float32 rounds
DIRECTIONS = {"forward": COLOURS["blue"], "gradient": COLOURS["orange"], "weights": COLOURS["green"]}
RATIOS = (1, 1.2, 1.5, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256, 1024, 4096, 10**5, 10**6)


def grid_spectra(
    dataset: xarray.Dataset, *, configs: Sequence[str] | None = None, rows: Sequence[GridRow] | None = None
) -> Figure:
    """Draws the power over the frequency along x of up to 6 configurations, the lines of their period marked.

    Args:
      dataset: of `sweep` or `open`, finished or not.
      configs: names of configurations; None is the one with most lines of each family.
      rows: of `grid_rows`, where they are there already.

    Returns:
      A matplotlib figure, for `save`.

    Raises:
      ValueError: for more than 6 or unknown names, for those without seeds, or for a dataset without spectra.
      ModuleNotFoundError: without matplotlib; the message says what to install.
    """
    op = "grid_spectra"
    matplotlib = import_matplotlib(op)
    if "spectrum" not in dataset:
        raise ValueError(f"{op}: the dataset has no spectra.")
    rows = grid_rows(dataset) if rows is None else rows
    chosen = _worst(rows) if configs is None else _named(op, rows, configs)
    if not chosen:
        raise ValueError(f"{op}: no configuration has seeds.")
    names, shared = short_names(rows)
    across = min(3, len(chosen))
    down = -(-len(chosen) // across)
    with matplotlib.rc_context(STYLE):
        size = (max(3.1 * across, 4.2) + 0.3, 2.1 * down + 0.7)
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharey=True)
        for axes, row in zip(panels.flat, chosen):
            _spectrum(axes, row, *axis_spectrum(dataset, row.name))
            axes.set_title(textwrap.fill(names[row.name], 46), fontsize=8, pad=15)
        for axes in panels.flat[len(chosen) :]:
            axes.set_visible(False)
        for axes in panels[:, 0]:
            axes.set_ylabel("share of power (dB)")
        title = f"Mean power along x{f' ({shared})' if shared else ''}; dotted: lines of the period"
        figure.suptitle(textwrap.fill(title, int(13 * size[0])), fontsize=9)
    return figure


def _worst(rows: Sequence[GridRow]) -> list[GridRow]:
    """The one with most lines of each family, in the order of the grid; of all, where there are no families."""
    found: dict[Any, GridRow] = {}
    for row in worst_first(rows):
        found.setdefault(row.labels.get("family", row.name), row)
    shown = list(found.values())[:MOST_SPECTRA]
    return [row for row in rows if row in shown]


def _named(op: str, rows: Sequence[GridRow], configs: Sequence[str]) -> list[GridRow]:
    by_name = {row.name: row for row in rows}
    names = [configs] if isinstance(configs, str) else list(configs)
    if len(names) > MOST_SPECTRA:
        raise ValueError(f"{op}: configs may be at most {MOST_SPECTRA}; got {len(names)}.")
    for name in names:
        if name not in by_name:
            raise ValueError(f"{op}: no configuration {name!r} has seeds{suggest(name, by_name)}")
    return [by_name[name] for name in names]


def axis_spectrum(dataset: xarray.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies from 0 to 1/2 along x, and the power at each, whatever it is along y."""
    one = dataset.sel(config=name)
    if "axis" in one["spectrum"].dims:
        frequency = one["frequency"].sel(axis="x").values
        power = one["spectrum"].sel(axis="x").transpose("bin").values
        there = np.isfinite(frequency) & np.isfinite(power)
        return frequency[there], power[there]
    frequency = np.abs(one["frequency_x"].values)
    power = one["spectrum"].transpose("frequency_y", "frequency_x").values.sum(0)
    found = np.unique(frequency)
    return found, np.array([power[frequency == f].sum() for f in found])  # both signs are one


def _spectrum(axes: Axes, row: GridRow, frequency: np.ndarray, power: np.ndarray) -> None:
    colour = DIRECTIONS.get(row.labels.get("direction", "forward"), COLOURS["blue"])
    total = power.sum()
    share = np.divide(power, total, out=np.zeros_like(power), where=total > 0)
    decibels = 10 * np.log10(np.maximum(share, 10 ** (FLOOR / 10)))
    for line in range(1, row.period // 2 + 1):
        axes.axvline(line / row.period, color=COLOURS["grey"], lw=0.8, ls=":", zorder=0)
        if row.period <= 9 or line in (1, row.period // 2):
            text = str(fractions.Fraction(line, row.period))
            place = axes.get_xaxis_transform()
            axes.text(line / row.period, 1.02, text, transform=place, ha="center", va="bottom", fontsize=7)
    axes.plot(frequency, decibels, "-", color=colour, lw=1.2, marker="o" if len(power) < 40 else "", ms=3)
    axes.set(xlim=(-0.01, 0.51), xlabel="frequency along x (cycles/sample)")
    axes.grid(axis="y", lw=0.4, color="#DDDDDD")


def grid_intervals(dataset: xarray.Dataset, *, rows: Sequence[GridRow] | None = None) -> Figure:
    """Draws lines and phase ratios with their intervals, a row for each configuration, directions beside each other.

    More than 40 rows would not be legible: of these the ones with most lines are drawn, which the title says.

    Args:
      dataset: of `sweep` or `open`, finished or not.
      rows: of `grid_rows`, where they are there already.

    Returns:
      A matplotlib figure, for `save`.

    Raises:
      ValueError: if no seed is done.
      ModuleNotFoundError: without matplotlib; the message says what to install.
    """
    op = "grid_intervals"
    matplotlib = import_matplotlib(op)
    rows = grid_rows(dataset) if rows is None else rows
    if not rows:
        raise ValueError(f"{op}: no configuration has seeds.")
    names, shared = short_names(rows, without=("direction",))
    places = _places(rows, names)
    shown = [row for row in rows if names[row.name] in places]
    with matplotlib.rc_context(STYLE):
        longest = max(map(len, places))
        size = (6.5 + 0.065 * min(longest, 60), 0.19 * len(places) + 1.5)
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        measure = lines_measure(shown)
        _shares(left, shown, names, places, measure)
        _ratios(right, shown, names, places)
        left.set_yticks(range(0, -len(places), -1), [textwrap.fill(name, 60) for name in places])
        left.set_ylim(-len(places) + 0.4, 0.6)
        for axes in (left, right):
            axes.grid(axis="x", lw=0.4, color="#DDDDDD")
            axes.tick_params(axis="y", length=0)
        total = len({names[row.name] for row in rows})
        _words(
            figure, left, right, shared, f", {len(places)} of {total} with most lines" if total > len(places) else ""
        )
    return figure


def _places(rows: Sequence[GridRow], names: dict[str, str]) -> dict[str, int]:
    """Rows of the figure by name, in the order of the grid: those that have the most lines, if there are too many."""
    worst = list(dict.fromkeys(names[row.name] for row in worst_first(rows)))[:MOST_ROWS]
    ordered = [name for name in dict.fromkeys(names[row.name] for row in rows) if name in worst]
    return {name: -i for i, name in enumerate(ordered)}


def _height(row: GridRow, rows: Sequence[GridRow], names: dict[str, str], places: dict[str, int]) -> float:
    """Where a configuration is drawn: directions that share a row lie apart."""
    same = [other.name for other in rows if names[other.name] == names[row.name]]
    return places[names[row.name]] + 0.32 * ((len(same) - 1) / 2 - same.index(row.name)) * min(1, 2 / len(same))


def _shares(axes: Axes, rows: list[GridRow], names: dict[str, str], places: dict[str, int], measure: str) -> None:
    labelled = set()
    for row in rows:
        y, (value, low, high) = _height(row, rows, names, places), getattr(row, measure)
        direction = row.labels.get("direction", "")
        label = None if direction in labelled else direction
        labelled.add(direction)
        colour = DIRECTIONS.get(direction, COLOURS["blue"])
        axes.plot([low, high], [y, y], color=colour, lw=2.2, solid_capstyle="butt", label=label or None)
        axes.plot(value, y, "o", ms=3.5, color=colour)
    highest = max(v for row in rows for v in getattr(row, measure) if np.isfinite(v))
    axes.set(xlabel=MEASURES[measure], xlim=(-0.02, 1.02) if highest > 0.5 else (-0.02 * highest, 1.05 * highest or 1))


def _ratios(axes: Axes, rows: list[GridRow], names: dict[str, str], places: dict[str, int]) -> None:
    finite = [v for row in rows for v in (*row.phase_ratio, row.chance, row.counted or 1) if np.isfinite(v)]
    top = max(1.25 * max(finite, default=2.0), 2.0)
    holes = any(np.isinf(row.phase_ratio.value) for row in rows)
    for row in rows:
        y = _height(row, rows, names, places)
        colour = DIRECTIONS.get(row.labels.get("direction", ""), COLOURS["blue"])
        value, low, high = (min(v, 1.5 * top) for v in row.phase_ratio)
        axes.plot([low, high], [y, y], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot(value, y, "o" if np.isfinite(row.phase_ratio.value) else ">", ms=3.5, color=colour)
        if np.isfinite(row.chance):
            axes.plot(row.chance, y, "|", ms=5, mew=1.2, color=COLOURS["grey"], label="_chance")
        if row.counted is not None and np.isfinite(row.counted):
            axes.plot(row.counted, y, "x", ms=4.5, mew=1.1, color="black", label="_counted", zorder=3)
    lowest = min(finite, default=1.0)
    axes.set(xscale="log", xlim=(min(0.95, 0.97 * lowest), 1.6 * top if holes else top))
    ticks = [tick for tick in RATIOS if tick <= top]
    ticks = ticks if top < 10 else [tick for tick in ticks if tick in (1, 2, 4, 8) or tick >= 16][:10]
    marks = [(tick, f"{tick:g}") for tick in ticks] + ([(1.5 * top, "∞")] if holes else [])
    axes.set_xticks([tick for tick, _ in marks], [text for _, text in marks])
    axes.minorticks_off()
    axes.set_xlabel("phase power, largest / smallest")


def _words(figure: Figure, left: Axes, right: Axes, shared: str, left_out: str) -> None:
    """Title and legend."""
    from matplotlib.lines import Line2D

    handles, labels = left.get_legend_handles_labels()
    drawn = {line.get_label() for line in right.lines}
    for name, mark, colour, text in (
        ("_chance", "|", COLOURS["grey"], "chance, phases equal"),
        ("_counted", "x", "black", "counted paths"),
    ):
        if name in drawn:
            handles.append(Line2D([], [], ls="", marker=mark, color=colour, mew=1.2))
            labels.append(text)
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=7.5)
    title = f"Random initialisation, 95% intervals over seeds{left_out}{f' ({shared})' if shared else ''}"
    figure.suptitle(textwrap.fill(title, int(13 * figure.get_figwidth())), fontsize=9)

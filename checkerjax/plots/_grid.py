"""Heat maps of a sweep over a grid: lines and phase ratios over kernel and stride."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from checkerjax._names import suggest
from checkerjax.plots._files import STYLE, import_matplotlib
from checkerjax.sweeps import GridRow, grid_rows
from checkerjax.sweeps._grid_rows import axis_values, grid_labels, lines_measure

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = {
    "line_share": "lines, share of power but DC",
    "total_share": "lines, share of all power",
    "phase_ratio": "phase power, largest / smallest",
}
HIGHEST = 100.0  # ratio that the colours end at
WIDEST, TALLEST = 9.0, 9.0  # inches that cells may take
CELL = (0.33, 0.19)  # inches, where there is room
GAP = 0.12  # inches between panels
WRITTEN = (0.26, 0.12)  # inches that a number needs


class _Entry(NamedTuple):
    """A configuration, and its statistics if it has seeds."""

    labels: dict[str, Any]
    row: GridRow | None


class _Layout(NamedTuple):
    """Panels: lines of columns, each line for every depth."""

    columns: list[list[tuple[str, str]]]  # families and directions, a list for each line
    depths: list[int]
    kernels: list[int]
    strides: list[int]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.columns) * len(self.depths), max(map(len, self.columns))


def grid_figure(
    dataset: xarray.Dataset, *, select: Mapping[str, Any] | None = None, rows: Sequence[GridRow] | None = None
) -> Figure:
    """Draws lines and phase ratios over kernel and stride: a row of panels per depth, families and directions beside
    each other.

    Lines are shares of all power but DC; of all power where half of a direction's configurations with lines have
    nothing else, as flat inputs make it. Of other axes with several values the first is drawn, and the title says so.
    Combinations that are not in the grid are hatched, those without seeds grey.

    Args:
      dataset: of a sweep over a `Grid`, finished or not.
      select: axis to value, for example {"initialiser": "icnr"}: which configurations to draw.
      rows: of `grid_rows`, where they are there already.

    Returns:
      A matplotlib figure, for `save`.

    Raises:
      ValueError: for an unknown axis or value, if nothing that is drawn has a kernel and a stride, or if no seed is
        done.
      ModuleNotFoundError: without matplotlib; the message says what to install.
    """
    op = "grid_figure"
    matplotlib = import_matplotlib(op)
    entries, notes = _first_values(_selected(op, _entries(dataset, rows), select or {}))
    shown = [entry.row for entry in entries if entry.row is not None]
    if not shown:
        raise ValueError(f"{op}: no configuration with a kernel and a stride has seeds; draw grid_intervals instead.")
    measures = (lines_measure(shown), "phase_ratio")
    layout = _layout(entries)
    cell = _cell(layout, len(measures))
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=_size(layout, cell, len(measures)), layout="constrained")
        parts = figure.subfigures(len(measures), 1, squeeze=False)[:, 0]
        for part, measure in zip(parts, measures):
            _measure(part, measure, entries, layout, cell)
        _words(figure, shown, notes, entries, layout)
    return figure


def _entries(dataset: xarray.Dataset, rows: Sequence[GridRow] | None) -> list[_Entry]:
    found = {row.name: row for row in (grid_rows(dataset) if rows is None else rows)}
    names = map(str, dataset["config"].values)
    return [_Entry(labels, found.get(name)) for name, labels in zip(names, grid_labels(dataset))]


def _selected(op: str, entries: list[_Entry], select: Mapping[str, Any]) -> list[_Entry]:
    labels = [entry.labels for entry in entries]
    known = list(dict.fromkeys(axis for one in labels for axis in one))
    for axis, value in select.items():
        if axis not in known:
            raise ValueError(f"{op}: select: unknown axis {axis!r}{suggest(axis, known)}")
        values = list(dict.fromkeys(one[axis] for one in labels if axis in one))
        if value not in values:
            raise ValueError(f"{op}: select: {axis} must be one of {', '.join(map(str, values))}; got {value!r}.")
        entries = [e for e in entries if e.labels.get(axis) in (value, "none")]
    return [e for e in entries if "kernel" in e.labels and "stride" in e.labels]


SHOWN = ("family", "kernel", "stride", "depth", "direction")


def _first_values(entries: list[_Entry]) -> tuple[list[_Entry], list[str]]:
    """The configurations with the first value of every axis that is not drawn, and what that leaves out."""
    kept, notes = [], []
    directions = axis_values([e.labels for e in entries], "direction")
    for direction in directions:
        own = [e for e in entries if e.labels["direction"] == direction]
        labels = [e.labels for e in own]
        for axis in dict.fromkeys(axis for one in labels for axis in one if axis not in SHOWN):
            first, *others = axis_values(labels, axis) or ["none"]
            if others:
                where = f" ({direction})" if axis in ("input", "cotangent") and len(directions) > 1 else ""
                notes.append(f"{axis} {first}{where}, not {', '.join(map(str, others))}")
                own = [e for e in own if e.labels.get(axis) in (first, "none")]
        kept += own
    return kept, list(dict.fromkeys(notes))


def _layout(entries: list[_Entry]) -> _Layout:
    labels = [e.labels for e in entries]
    strides = sorted(axis_values(labels, "stride"))
    columns: list[list[tuple[str, str]]] = [[]]
    most = max(1, int(WIDEST // (_panel_width(strides, CELL[0]) + GAP)))
    for family in axis_values(labels, "family"):
        directions = axis_values([one for one in labels if one["family"] == family], "direction")
        if columns[-1] and len(columns[-1]) + len(directions) > most:
            columns.append([])
        columns[-1] += [(family, direction) for direction in directions]
    return _Layout(columns, sorted(axis_values(labels, "depth")), sorted(axis_values(labels, "kernel")), strides)


def _panel_width(strides: Sequence[int], cell: float) -> float:
    return max(0.85, cell * len(strides))  # a family's name has to fit above


def _cell(layout: _Layout, measures: int) -> tuple[float, float]:
    """Width and height of a cell in inches."""
    lines, columns = layout.shape
    width = min(CELL[0], WIDEST / (columns * len(layout.strides)))
    return width, min(CELL[1], TALLEST / (measures * lines * len(layout.kernels)))


def _size(layout: _Layout, cell: tuple[float, float], measures: int) -> tuple[float, float]:
    lines, columns = layout.shape
    width = columns * (_panel_width(layout.strides, cell[0]) + GAP) + 1.8
    panels = max(lines * (cell[1] * len(layout.kernels) + GAP), 1.1)  # as tall as the words beside the colours
    return max(width, 3.6), measures * (panels + 0.65 * len(layout.columns)) + 0.7


def _measure(part: Any, measure: str, entries: list[_Entry], layout: _Layout, cell: tuple[float, float]) -> None:
    """All panels of one statistic, with their colours."""
    lines, columns = layout.shape
    panels = part.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    norm, cmap, capped = _colours(measure, entries)
    image = None
    for line, pairs in enumerate(layout.columns):
        for at, depth in enumerate(layout.depths):
            for column in range(columns):
                axes = panels[line * len(layout.depths) + at, column]
                if column >= len(pairs):
                    axes.set_visible(False)
                    continue
                found = _cells(entries, *pairs[column], depth)
                image = _panel(axes, measure, found, layout, norm, cmap)
                if min(np.subtract(cell, WRITTEN)) >= 0:
                    _numbers(axes, measure, found, layout, norm, cmap)
                if at == 0:
                    axes.set_title("\n".join(pairs[column]), fontsize=8)
                if column == 0:
                    axes.set_ylabel(f"depth {depth}\nkernel" if len(layout.depths) > 1 else "kernel")
                    axes.tick_params(labelleft=True)
                if at == len(layout.depths) - 1:
                    axes.set_xlabel("stride")
                    axes.tick_params(labelbottom=True)
    height = lines * (cell[1] * len(layout.kernels) + GAP) + 0.65 * (len(layout.columns) - 1)
    size = {"shrink": min(1.0, 3 / height), "aspect": 18, "extend": "max" if capped else "neither"}
    bar = part.colorbar(image, ax=panels, label=MEASURES[measure].replace(", ", ",\n"), **size)
    if measure == "phase_ratio":
        ticks = [t for t in ((1, 2, 4, 8, 16, 32, 64) if norm.vmax > 6 else (1, 1.2, 1.5, 2, 3, 4)) if t <= norm.vmax]
        bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
        bar.minorticks_off()


def _cells(entries: list[_Entry], family: str, direction: str, depth: int) -> dict[tuple[int, int], GridRow | None]:
    """By kernel and stride; where an axis has no meaning for some, those that have it come first."""
    wanted = {"family": family, "direction": direction, "depth": depth}
    own = [e for e in entries if all(e.labels.get(axis) == value for axis, value in wanted.items())]
    own.sort(key=lambda e: list(e.labels.values()).count("none"))
    found: dict[tuple[int, int], GridRow | None] = {}
    for entry in own:
        found.setdefault((entry.labels["kernel"], entry.labels["stride"]), entry.row)
    return found


def _colours(measure: str, entries: list[_Entry]) -> tuple[Any, Any, bool]:
    """Norm and colour map, and whether values lie beyond."""
    from matplotlib import colormaps, colors

    values = [getattr(e.row, measure).value for e in entries if e.row is not None]
    highest = max((v for v in values if np.isfinite(v)), default=0.0)
    if measure == "phase_ratio":
        top = min(max(highest, 2.0), HIGHEST)
        norm, name = colors.LogNorm(1, top), "magma"
    else:
        top = 1.0 if highest > 0.5 or highest == 0 else highest
        norm, name = colors.Normalize(0, top), "viridis"
    cmap = colormaps[name].with_extremes(bad="#D9D9D9")
    return norm, cmap, any(v > top * (1 + 1e-9) for v in values)


def _panel(axes: Axes, measure: str, found: Mapping, layout: _Layout, norm: Any, cmap: Any) -> Any:
    from matplotlib.patches import Rectangle

    values = np.full((len(layout.kernels), len(layout.strides)), np.nan)
    for y, kernel in enumerate(layout.kernels):
        for x, stride in enumerate(layout.strides):
            if (kernel, stride) not in found:
                style = {"facecolor": "white", "edgecolor": "#B0B0B0", "hatch": "/////", "linewidth": 0}
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **style))
            elif (row := found[kernel, stride]) is not None:
                values[y, x] = min(getattr(row, measure).value, 1e9)  # imshow takes infinity for a hole
    image = axes.imshow(np.ma.masked_invalid(values), norm=norm, cmap=cmap, aspect="auto", origin="lower")
    axes.set_xticks(range(len(layout.strides)), [str(s) for s in layout.strides])
    axes.set_yticks(range(len(layout.kernels)), [str(k) for k in layout.kernels])
    axes.tick_params(length=0, labelleft=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    return image


def _numbers(axes: Axes, measure: str, found: Mapping, layout: _Layout, norm: Any, cmap: Any) -> None:
    for (kernel, stride), row in found.items():
        if row is None:
            continue
        value = getattr(row, measure).value
        red, green, blue, _ = cmap(norm(min(value, 1e9)))
        colour = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        place = layout.strides.index(stride), layout.kernels.index(kernel)
        axes.text(*place, _brief(value), ha="center", va="center", fontsize=6, color=colour)


def _brief(value: float) -> str:
    """At most five characters."""
    if np.isinf(value) or value == 0:
        return "∞" if value else "0"
    if value >= 1000 or 0 < value < 0.005:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _words(figure: Figure, rows: list[GridRow], notes: list[str], entries: list[_Entry], layout: _Layout) -> None:
    """The title, and below what hatches and grey mean where there are some."""
    seeds = {row.seeds for row in rows}
    count = f"{min(seeds)} seeds" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)} seeds"
    title = f"Random initialisation, {count}{'; ' if notes else ''}{'; '.join(notes)}"
    figure.suptitle(textwrap.fill(title, int(13 * figure.get_figwidth())), fontsize=9)
    legend = []
    whole = len(layout.kernels) * len(layout.strides)
    panels = [_cells(entries, *pair, depth) for pairs in layout.columns for pair in pairs for depth in layout.depths]
    if any(len(found) < whole for found in panels):
        legend.append("hatched: not in the grid")
    if any(row is None for found in panels for row in found.values()):
        legend.append("grey: no seed yet")
    if legend:
        figure.supxlabel("; ".join(legend), fontsize=7)

"""The rows of a sweep over a grid as tables: text for a terminal, Markdown, LaTeX, CSV; and as files."""

from __future__ import annotations

import csv
import io
import os
import pathlib
import re
import tempfile
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from checkerjax._checks import as_int, one_of
from checkerjax.sweeps._grid_rows import GridRow, grid_rows, short_names, worst_first
from checkerjax.sweeps._intervals import Interval

if TYPE_CHECKING:
    import xarray

COLUMNS = 100  # of a terminal
STYLES = {"text": ".txt", "markdown": ".md", "latex": ".tex", "csv": ".csv"}


class _Content(NamedTuple):
    """What a table shows."""

    rows: list[GridRow]
    names: dict[str, str]
    caption: list[str]  # sentences
    notes: list[str]  # what is not in the table


def grid_table(
    dataset: xarray.Dataset, *, style: str = "text", most: int | None = None, rows: Sequence[GridRow] | None = None
) -> str:
    """The statistics of `grid_rows` as a table, most lines first.

    Args:
      dataset: of `sweep` or `open`, finished or not.
      style: "text" (at most 100 columns), "markdown", "latex" (with booktabs) or "csv" (every statistic with all its
        digits; what is not there is empty).
      most: rows; a note says how many are left out. None is all.
      rows: of `grid_rows`, where they are there already.

    Returns:
      The table, without a newline at the end.

    Raises:
      ValueError: for another style, `most` below 1, or a dataset that is not of a sweep.
      TypeError: if `most` is no int.

    Example:
      >>> from checkerjax.sweeps import Grid, sweep
      >>> print(grid_table(sweep(Grid(kernel=3, width=2), seeds=4)).splitlines()[-1].split()[:3])
      ['deconv', 'k3', 's2']
    """
    op = "grid_table"
    one_of(op, "style", style, tuple(STYLES))
    most = None if most is None else as_int(op, "most", most, minimum=1)
    rows = grid_rows(dataset) if rows is None else rows
    if style == "csv":
        return _csv(worst_first(rows)[:most], dataset)
    return {"text": _text, "markdown": _markdown, "latex": _latex}[style](_content(rows, dataset, most))


def save_tables(
    dataset: xarray.Dataset, folder: str | os.PathLike[str], *, rows: Sequence[GridRow] | None = None
) -> list[pathlib.Path]:
    """Writes table.txt, table.md, table.tex and table.csv, each whole.

    Args:
      dataset: of `sweep` or `open`, finished or not.
      folder: is made where it lacks.
      rows: of `grid_rows`, where they are there already.

    Returns:
      The four paths.

    Raises:
      ValueError: for a dataset that is not of a sweep.
      OSError: if the folder cannot be written.
    """
    rows = grid_rows(dataset) if rows is None else rows
    return [
        write_text(pathlib.Path(folder) / f"table{ending}", grid_table(dataset, style=style, rows=rows))
        for style, ending in STYLES.items()
    ]


def write_text(path: str | os.PathLike[str], text: str) -> pathlib.Path:
    """Writes a file whole: a reader sees the old one or the new one. Its folder is made where it lacks."""
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{path.stem}.", dir=path.parent)
    except OSError as error:
        raise OSError(f"report: cannot write into the folder {str(path.parent)!r}: {error.strerror}.") from error
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text + "\n")
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        pathlib.Path(partial).unlink(missing_ok=True)
    return path


def _content(rows: Sequence[GridRow], dataset: xarray.Dataset, most: int | None) -> _Content:
    names, shared = short_names(rows)
    caption = [f"{_seeds(rows, dataset.sizes['seed'])}{f'; all: {shared}' if shared else ''}.", *EXPLAINED]
    shown = worst_first(rows)[:most]
    notes, left, missing = [], len(rows) - len(shown), dataset.sizes["config"] - len(rows)
    if left:
        notes.append(f"{left} of {len(rows)} configurations, with fewer lines, are left out.")
    if missing:
        notes.append(f"{missing} of {dataset.sizes['config']} configurations have no seed yet.")
    return _Content(shown, names, caption, notes)


def _seeds(rows: Sequence[GridRow], planned: int) -> str:
    there = [row.seeds for row in rows] or [0]
    if min(there) < max(there):
        return f"{min(there)} to {max(there)} of {planned} seeds"
    return f"{planned} seeds" if there[0] == planned else f"{there[0]} of {planned} seeds"


EXPLAINED = (
    "Lines: power at multiples of 1 / period, over all power but DC [95%]; of all: over all power.",
    "Phases: power of the strongest over that of the weakest of the phases of the period [95%]; chance: what equal "
    "phases rarely exceed; counted: what counting paths predicts. Zeros: share of exact zeros.",
)
EACH = "Each: lines of single seeds, as a share and over the rest in dB: median [5%, 95%]."
SHORT_HEADER = ("configuration", "lines", "of all", "phases", "chance", "counted", "zeros")
LONG_HEADER = (
    "configuration", "period", "seeds", "lines", "of all", "each", "each, dB", "phases", "chance", "counted", "zeros",
)  # fmt: skip


def _short_cells(row: GridRow) -> list[str]:
    counted = "-" if row.counted is None else f"{row.counted:.3g}"
    ends = [number(row.chance), counted, f"{100 * row.zero_share:.0f}%"]
    return [span(row.line_share), number(row.total_share.value), span(row.phase_ratio), *ends]


def _long_cells(row: GridRow) -> list[str]:
    lines, _, phases, *rest = _short_cells(row)
    each = [span(row.share_each), _decibels(row.decibels_each)]
    return [str(row.period), str(row.seeds), lines, span(row.total_share), *each, phases, *rest]


def span(interval: Interval) -> str:
    """A value with its interval."""
    return f"{number(interval.value)} [{number(interval.low)}, {number(interval.high)}]"


def number(value: float) -> str:
    """About three digits."""
    if np.isnan(value):
        return "-"
    if not np.isfinite(value) or value == 0:
        return f"{value:.0f}"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.{3 if abs(value) < 0.1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"


def _decibels(interval: Interval) -> str:
    value, low, high = (f"{v:.1f}" for v in interval)
    return f"{value} [{low}, {high}]"


def _text(content: _Content) -> str:
    """Columns under a header; a name that leaves too little room stands on a line of its own."""
    table = [list(SHORT_HEADER[1:]), *(_short_cells(row) for row in content.rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    names = ["configuration", *(content.names[row.name] for row in content.rows)]
    room = COLUMNS - sum(widths) - 2 * len(widths)
    width = max((len(name) for name in names if len(name) <= room), default=room)
    lines = []
    for name, cells in zip(names, table):
        if len(name) > room:
            lines += textwrap.wrap(name, COLUMNS, subsequent_indent="  ", break_long_words=True)
            name = ""
        lines.append("  ".join([name.ljust(width), *(c.ljust(w) for c, w in zip(cells, widths))]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    caption = [line for sentence in content.caption for line in textwrap.wrap(sentence, COLUMNS)]
    return "\n".join([*caption, *lines, *content.notes])


def _markdown(content: _Content) -> str:
    rows = [[content.names[row.name], *_long_cells(row)] for row in content.rows]
    escaped = [[re.sub(r"([\\`*_|<>])", r"\\\1", cell) for cell in row] for row in rows]
    marks = ["---", *["---:"] * (len(LONG_HEADER) - 1)]
    lines = [f"| {' | '.join(cells)} |" for cells in (LONG_HEADER, marks, *escaped)]
    return "\n".join([" ".join([*content.caption, EACH, *content.notes]), "", *lines])


def _latex(content: _Content) -> str:
    rows = [[content.names[row.name], *_long_cells(row)] for row in content.rows]
    lines = [f"    {' & '.join(map(_escape, cells))} \\\\" for cells in rows]
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{_escape(' '.join([*content.caption, EACH, *content.notes]))}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(LONG_HEADER) - 1)}}}",
            "    \\toprule",
            f"    {' & '.join(map(_escape, LONG_HEADER))} \\\\",
            "    \\midrule",
            *lines,
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
    )


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}", **{c: rf"\{c}" for c in "&%$#_{}"},
}  # fmt: skip


def _escape(text: str) -> str:
    escaped = "".join(LATEX.get(c, c) for c in text)
    escaped = re.sub(r"(?<![\w.])-(?=[\d.]|inf)", "$-$", escaped)
    return re.sub(r"\binf\b", r"$\\infty$", escaped)


def _csv(rows: Sequence[GridRow], dataset: xarray.Dataset) -> str:
    axes = list(dict.fromkeys(axis for row in rows for axis in row.labels))
    periods = [int(period) for period in dataset["period"].values]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = ["configuration", *axes, "seeds", "period_samples", "counted_phase_ratio", "chance_phase_ratio"]
    header += ["zero_share_median"]
    header += [form.format(name) for name, forms, _ in _INTERVALS for form in forms]
    header += [form.format(f"line_share_period{p}") for p in periods for form in _BOOTSTRAP]
    writer.writerow(header)
    for row in rows:
        cells = [row.name, *(row.labels.get(axis, "") for axis in axes), row.seeds, row.period]
        cells += map(_exact, (row.counted, row.chance, row.zero_share))
        intervals = [getattr(row, field) for _, _, field in _INTERVALS]
        intervals += [row.line_shares.get(period, (None,) * 3) for period in periods]
        writer.writerow([*cells, *(_exact(value) for interval in intervals for value in interval)])
    return out.getvalue().rstrip("\n")


# Columns of intervals and where they are in a row; shares and ratios have no unit.
_BOOTSTRAP = ("{}", "{}_low95", "{}_high95")
_SEEDS = ("{}_median", "{}_quantile05", "{}_quantile95")
_INTERVALS = (
    ("line_share", _BOOTSTRAP, "line_share"),
    ("line_share_with_dc", _BOOTSTRAP, "total_share"),
    ("phase_ratio", _BOOTSTRAP, "phase_ratio"),
    ("seed_line_share", _SEEDS, "share_each"),
    ("seed_lines_over_rest_db", _SEEDS, "decibels_each"),
)


def _exact(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else repr(float(value))

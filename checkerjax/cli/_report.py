"""`checkerjax report`: tables and figures of a stored sweep, also of one that still runs."""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING

from checkerjax import plots, sweeps
from checkerjax.sweeps._grid_report import write_text

if TYPE_CHECKING:
    import xarray

PRINTED = 40  # rows in the terminal; the files have all
FIGURES = {"heatmaps": "grid_figure", "spectra": "grid_spectra", "intervals": "grid_intervals"}
TABLES = ("table.txt", "table.md", "table.tex", "table.csv")


def run(options: argparse.Namespace) -> int:
    """Writes first, so that a place that cannot be written is refused before anything is printed."""
    sweeps.import_xarray("report")
    plots.import_matplotlib("report")
    groups = sweeps.groups(options.store)
    if groups and not set(groups) <= {"forward", "gradient"}:
        raise ValueError(
            f"report: {options.store!r} has the groups {', '.join(groups)}; give a store that `checkerjax sweep` wrote."
        )
    if groups:
        return _main_job({group: sweeps.open(options.store, group) for group in groups}, options)
    return _grid(sweeps.open(options.store), options)


def _main_job(datasets: dict[str, xarray.Dataset], options: argparse.Namespace) -> int:
    out = _folder(options, ("sweep.txt", f"sweep.{options.format}"))
    table, figure = sweeps.report(datasets), plots.sweep_figure(datasets)
    written = [write_text(out / "sweep.txt", table), plots.save(figure, out / f"sweep.{options.format}")]
    print(table)
    print(f"written: {', '.join(map(str, written))}")
    return 0


def _grid(dataset: xarray.Dataset, options: argparse.Namespace) -> int:
    rows = sweeps.grid_rows(dataset)
    if not rows:
        raise ValueError(f"report: no seed in {options.store!r} is done yet.")
    left_out = {}
    if not any({"family", "kernel", "stride"} <= row.labels.keys() for row in rows):
        left_out["heatmaps"] = "no configuration with a kernel and a stride has seeds"
    if "spectrum" not in dataset:
        left_out["spectra"] = "none are stored"
    files = {name: f"{name}.{options.format}" for name in FIGURES if name not in left_out}
    out = _folder(options, (*TABLES, *files.values()))
    figures = {file: getattr(plots, FIGURES[name])(dataset, rows=rows) for name, file in files.items()}
    written = sweeps.save_tables(dataset, out, rows=rows)
    written += [plots.save(figure, out / file) for file, figure in figures.items()]
    print(sweeps.grid_table(dataset, most=PRINTED, rows=rows))
    for name, reason in left_out.items():
        print(f"not drawn: {name}, {reason}")
    print(f"written: {out}: {', '.join(path.name for path in written)}")
    return 0


def _folder(options: argparse.Namespace, names: tuple[str, ...]) -> pathlib.Path:
    """Where the results go, if nothing is in their way."""
    if options.out is None and "://" in options.store:
        raise ValueError(f"report: {options.store!r} has no folder beside it here; give one with --out.")
    store = pathlib.Path(options.store)
    out = store.absolute().parent / f"{store.absolute().name.removesuffix('.zarr')}-report"
    out = out if options.out is None else pathlib.Path(options.out)
    for name in names:
        if (out / name).is_dir():
            raise ValueError(
                f"report: {str(out / name)!r} is a folder, and a file should go there; choose another --out."
            )
    return out

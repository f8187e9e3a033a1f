"""`checkerjax sweep`: the main job."""

from __future__ import annotations

import argparse
import importlib
import os
import pathlib
import tempfile
from typing import TYPE_CHECKING

from checkerjax import images, plots, sweeps
from checkerjax.cli._cache import keep_compiled_programs

if TYPE_CHECKING:
    import xarray


def run(options: argparse.Namespace) -> int:
    """The main job, or the grid that is given: sweeps, stores, draws, prints.

    Everything that can be refused is refused before the first seed.
    """
    if any(getattr(options, name, None) is not None for name in ("grid", *AXES)):
        return importlib.import_module("checkerjax.cli._grid_sweep").run(options)
    given = [name for name in ("store", "shard", "chunk") if getattr(options, name) is not None]
    given += [name for name in ("dry_run", "distributed") if getattr(options, name)]
    if given:
        raise ValueError(
            f"sweep: --{given[0].replace('_', '-')} is for a grid; give --family, --kernel, ... or --grid FILE."
        )
    options.seeds = 200 if options.seeds is None else options.seeds
    options.base_seed = options.base_seed or 0
    if options.seeds < 1:
        raise ValueError(f"sweep: --seeds must be at least 1; got {options.seeds}.")
    if options.base_seed not in range(2**32):
        raise ValueError(f"sweep: --base-seed must be from 0 to 2^32 - 1; got {options.base_seed}.")
    keep_compiled_programs()
    sweeps.import_xarray("sweep")
    plots.import_matplotlib("sweep")
    grids = {"forward": sweeps.generator_grid(), "gradient": sweeps.gradient_grid()}
    grids = {name: grid for name, grid in grids.items() if options.only in (None, name)}
    photographs = _photographs(options.images) if "gradient" in grids else None
    out = pathlib.Path(options.out)
    store = sweeps.check_place(out / "sweep.zarr")  # last of the checks, for it makes the folder
    for file in (out / "sweep.txt", out / "sweep.png"):
        if file.is_dir():
            raise ValueError(f"sweep: {str(file)!r} is a folder, and a file should go there; choose another --out.")
    datasets: dict[str, xarray.Dataset] = _other_half(store, options.only)
    for name, grid in grids.items():
        with sweeps.reporter(f"sweep, {name}", options.quiet) as report:
            datasets[name] = sweeps.sweep(
                grid, seeds=options.seeds, base_seed=options.base_seed, photographs=photographs, report=report
            )
        datasets[name].attrs["command"] = options.command_line
    datasets = {name: datasets[name] for name in ("forward", "gradient") if name in datasets}
    try:
        table, figure = sweeps.report(datasets), plots.sweep_figure(datasets)
    finally:  # what was measured is kept, whatever becomes of the drawing
        sweeps.save(datasets, store)
    _write_text(out / "sweep.txt", table)
    plots.save(figure, out / "sweep.png")
    print(table)
    print(f"stored: {out / 'sweep.zarr'}, {out / 'sweep.txt'}, {out / 'sweep.png'}")
    return 0


AXES = (
    "family", "kernel", "stride", "depth", "width", "activation", "initialiser", "padding", "direction", "input",
    "cotangent", "stack",
)  # fmt: skip


def _other_half(store: pathlib.Path, only: str | None) -> dict[str, xarray.Dataset]:
    """What `--only` does not run again but an earlier run has stored: it is kept, and shown beside the new half."""
    other = {"forward": "gradient", "gradient": "forward"}.get(only or "")
    return {other: sweeps.open(store, other)} if other in sweeps.groups(store) else {}


def _photographs(folder: str | None):
    found = images.package_photographs() if folder is None else images.read_folder(folder)
    return images.tiles(found, sweeps.TILE)


def _write_text(path: pathlib.Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False, encoding="utf-8") as file:
        file.write(text + "\n")
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)

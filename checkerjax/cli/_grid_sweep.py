"""`checkerjax sweep` over a grid of the user's: flags or a TOML file to a grid, a store, a report."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

from checkerjax import images, sweeps
from checkerjax._names import suggest
from checkerjax.cli._cache import keep_compiled_programs
from checkerjax.cli._signals import finish_on_signals

NUMBERS = ("kernel", "stride", "depth", "width", "size", "periods", "channels", "batch")
WORDS = ("family", "activation", "initialiser", "padding", "direction", "input", "cotangent", "stack", "invalid")


def run(options: argparse.Namespace) -> int:
    """Plans, sweeps and stores; an existing store of the same specification is continued."""
    grid, settings = _grid(options)
    rows = grid.rows() if grid.invalid == "skip" else grid.valid()
    skipped = [row for row in rows if row.config is None]
    plan = {"seeds": settings["seeds"], "base_seed": settings["base_seed"]}
    if options.dry_run:
        print(sweeps.forecast(grid, settings["seeds"]))
        return 0
    keep_compiled_programs()
    configs = grid.configs()
    photographs = _photographs(options.images, configs)
    store = options.store or str(pathlib.Path(options.out) / "sweep.zarr")
    shard = _shard(options)
    if not options.quiet and skipped:
        print(f"skipped {len(skipped)} combinations that cannot be; --dry-run lists them")
    label = f"sweep, {len(configs)} configurations"
    with sweeps.reporter(label, options.quiet) as report, finish_on_signals() as stop:
        try:
            dataset = sweeps.sweep(
                grid, **plan, photographs=photographs, store=store, shard=shard, chunk=options.chunk,
                draws=options.draws, report=report, stop=stop, command=options.command_line,
            )  # fmt: skip
        except KeyboardInterrupt:
            print(f"checkerjax: stopped; what is done is in {store}, and the same command goes on.")
            raise
    print(sweeps.grid_table(dataset))
    spent = dataset.attrs
    if not options.quiet:
        print(f"{spent['seconds']:.0f} s, with {spent['seconds_compiling']:.0f} s of compiling beside")
    print(f"stored: {store}")
    return 0


def _grid(options: argparse.Namespace) -> tuple[sweeps.Grid, dict[str, Any]]:
    """The grid of a file, flags winning over it, and the seeds."""
    found = _read_toml(options.grid) if options.grid else {}
    known = {*NUMBERS, *WORDS, "seeds", "base_seed"}
    for name in found:
        if name not in known:
            raise ValueError(f"sweep: {options.grid}: unknown name {name!r}{suggest(name, known)}")
    for name in (*NUMBERS, *WORDS):
        value = getattr(options, name, None)
        if value is not None:
            found[name] = value
    settings = {name: found.pop(name, default) for name, default in (("seeds", 200), ("base_seed", 0))}
    settings |= {name: getattr(options, name) for name in settings if getattr(options, name) is not None}
    fields = {field.name for field in dataclasses.fields(sweeps.Grid)}
    values: dict[str, Any] = {}
    for name, value in found.items():
        assert name in fields
        if name == "stack":
            values[name] = [value] if isinstance(value, str) else list(value)
        elif name in ("size", "channels", "batch"):
            values[name] = numbers(name, value)[0]
        elif name in NUMBERS:
            values[name] = numbers(name, value)
        elif name == "invalid":
            values[name] = value
        else:
            values[name] = value.split(",") if isinstance(value, str) else list(value)
    return sweeps.Grid(**values), settings


def numbers(name: str, value: Any) -> list[int]:
    """`3`, `[2, 4]` or text such as "2:8" (both ends in) and "2,3,5:7"."""
    if isinstance(value, int):
        return [value]
    if not isinstance(value, str):
        return list(value)
    found: list[int] = []
    for part in value.split(","):
        ends = part.strip().split(":")
        if len(ends) > 2 or not all(end.isdecimal() and len(end) < 10 for end in ends):
            raise ValueError(f"sweep: --{name} takes ints and ranges such as 2,4,6:8; got {value!r}.")
        low, high = int(ends[0]), int(ends[-1])
        if high < low:
            raise ValueError(f"sweep: --{name} has an empty range; got {part!r}.")
        found += range(low, high + 1)
    return found


def _read_toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found: Mapping[str, Any] = tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"sweep: {path} is not TOML: {error}.") from None
    return dict(found)


def _shard(options: argparse.Namespace) -> tuple[int, int]:
    """This process's part: of `--shard i/n`, and of the processes of a cluster."""
    index, count = 0, 1
    if options.shard:
        parts = options.shard.split("/")
        if len(parts) != 2 or not all(part.isdecimal() for part in parts) or int(parts[0]) >= int(parts[1]):
            raise ValueError(f"sweep: --shard takes i/n with i from 0 to n - 1; got {options.shard!r}.")
        index, count = int(parts[0]), int(parts[1])
    if options.distributed:
        import jax

        jax.distributed.initialize()
        index, count = index * jax.process_count() + jax.process_index(), count * jax.process_count()
    return index, count


def _photographs(folder: str | None, configs: list) -> Any:
    """Tiles as large as the largest input that takes them; None where none does."""
    sizes = [max(config.input_size) for config in configs if config.input == "photo"]
    if not sizes:
        return None
    found = images.package_photographs() if folder is None else images.read_folder(folder)
    return images.tiles(found, max(sizes))

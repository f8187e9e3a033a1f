"""`checkerjax measure`: grids in files, one by one and together."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from checkerjax import __version__
from checkerjax.cli._measure_files import CsvTable, JsonDocument, whole_file
from checkerjax.cli._measure_pictures import Collected, Measured, Settings, collect, level_of
from checkerjax.cli._measure_processes import prepared
from checkerjax.cli._measure_table import printable, report
from checkerjax.cli._signals import finish_on_signals
from checkerjax.images import Unreadable, compare, find_files
from checkerjax.images._axes import check_axes
from checkerjax.images._formats import SUFFIXES
from checkerjax.sweeps._progress import reporter

if TYPE_CHECKING:
    from checkerjax.cli._measure_forensics import Examined
    from checkerjax.images import ComparisonReport

INTERRUPTED = 130


def run(options: argparse.Namespace) -> int:
    """Measures, writes, prints; 1 where --fail-above says so, 130 where a signal ended it early."""
    settings = _settings(options)
    _check_places(options)
    comparison, reference = None, None
    with contextlib.ExitStack() as stack:
        stack.enter_context(prepared())
        stop = stack.enter_context(finish_on_signals())
        document, sinks = _sinks(options, stack)
        if options.reference:
            reference = _collect("reference", options.reference, settings, options, stop, [], keep=True)
        got = _collect("measure", options.paths, settings, options, stop, sinks, keep=reference is not None)
        if reference is not None:
            comparison = compare(got.reports, reference.reports, alpha=settings.alpha)
        failed = options.fail_above is not None and _worst(got, settings.alpha) > options.fail_above
        found = _forensics(options) if options.forensics and not got.stopped else None
        if document is not None:
            document.end({**_tail(got, reference, comparison, failed), "forensics": found and found.to_dict()})
    written: list[str] = []
    trouble: OSError | ValueError | None = None
    if options.figures and not got.stopped:
        from checkerjax.cli._measure_figures import draw

        with finish_on_signals() as stop:  # before anything is printed: its reader may go away
            try:
                written = draw(got, reference, settings, options, stop)
            except (OSError, ValueError) as error:  # no reason to keep the numbers back
                trouble = error
    if "-" not in (options.json, options.csv):
        _say(report(got, options.most, settings.alpha))
        if comparison is not None:
            _say(f"\nagainst the reference:\n{comparison}")
        if found is not None:
            _say(f"\n{found}")
    if written:
        _say(f"drawn: {', '.join(written)}", sys.stderr if "-" in (options.json, options.csv) else sys.stdout)
    if got.stopped:
        _say(f"checkerjax: stopped; {len(got.rows)} pictures were measured, not all.", sys.stderr)
        return INTERRUPTED
    if trouble is not None:
        raise trouble
    return int(failed)


def _forensics(options: argparse.Namespace) -> Examined:
    from checkerjax.cli._measure_forensics import examine

    return examine(options.paths, axes=options.axes, full_scale=options.full_scale)


def _settings(options: argparse.Namespace) -> Settings:
    check_axes("measure", options.axes)
    for name in ("alpha", "fail_above", "full_scale"):
        value = getattr(options, name)
        if value is not None and not math.isfinite(value):
            raise ValueError(f"measure: --{name.replace('_', '-')} must be finite; got {value}.")
    if not 0 < options.alpha < 1:
        raise ValueError(f"measure: --alpha must be between 0 and 1; got {options.alpha:g}.")
    if options.full_scale is not None and options.full_scale <= 0:
        raise ValueError(f"measure: --full-scale must be above 0; got {options.full_scale:g}.")
    for name in ("most", "workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"measure: --{name} must be at least 1; got {value}.")
    return Settings(
        periods(options.periods), options.alpha, options.fractional, options.axes, options.full_scale,
        options.workers or os.cpu_count() or 1,
    )  # fmt: skip


def periods(text: str) -> tuple[int, ...]:
    """Of "2:16" (both ends in), "2,4,8" or "2,5:7"."""
    found: set[int] = set()
    for part in text.split(","):
        ends = part.strip().split(":")
        if len(ends) > 2 or not all(end.isascii() and end.isdecimal() and len(end) < 6 for end in ends):
            raise ValueError(f"measure: --periods takes ints and ranges such as 2,4,6:8; got {text!r}.")
        low, high = int(ends[0]), int(ends[-1])
        if high < low:
            raise ValueError(f"measure: --periods has an empty range; got {part!r}.")
        if low < 2:
            raise ValueError(f"measure: --periods must be at least 2 samples; got {part!r}.")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def _check_places(options: argparse.Namespace) -> None:
    """What can be refused is refused before the first picture."""
    if options.json == options.csv == "-":
        raise ValueError("measure: --json and --csv cannot both go to standard output; give one of them a file.")
    places = {"--json": options.json, "--csv": options.csv}
    for option, place in places.items():  # "--json *.png" would write over the first picture
        if place and place.lower().endswith(SUFFIXES):
            raise ValueError(f"measure: {option} must not look like a file to be measured; got {place!r}.")
    if options.json and options.csv and os.path.realpath(options.json) == os.path.realpath(options.csv):
        raise ValueError(f"measure: --json and --csv must be two files; got {options.json!r} for both.")
    if not options.figures:
        return
    from checkerjax import plots

    plots.import_matplotlib("measure")
    try:
        os.makedirs(options.figures, exist_ok=True)
    except OSError as error:
        raise OSError(f"measure: cannot make the folder {options.figures!r}: {error.strerror}.") from error
    if not os.access(options.figures, os.W_OK | os.X_OK):
        raise OSError(f"measure: cannot write into the folder {options.figures!r}: Permission denied.")


def _sinks(options: argparse.Namespace, stack: contextlib.ExitStack) -> tuple[JsonDocument | None, list[Any]]:
    document = None
    sinks: list[Any] = []
    if options.json:
        document = JsonDocument(stack.enter_context(whole_file("measure", options.json, "--json")), _head(options))
        sinks.append(document)
    if options.csv:
        sinks.append(CsvTable(stack.enter_context(whole_file("measure", options.csv, "--csv"))))
    return document, sinks


def _collect(
    label: str, paths: list[str], settings: Settings, options: argparse.Namespace, stop: Any, sinks: list, keep: bool
) -> Collected:
    """Measures files and names those that cannot be; raises where nothing could be."""
    files, missing = find_files(paths)

    def sink(item: Measured) -> None:
        for each in sinks:
            each.picture(item)

    with reporter(label, options.quiet) as progress:
        got = collect(files, settings, keep=keep, sink=sink, report=progress, stop=stop)
    got.unreadable[:0] = missing
    if stop() and not got.rows:
        raise KeyboardInterrupt
    if not got.rows and len(got.unreadable) == 1:
        raise ValueError(f"{label}: {_reason(got.unreadable[0])}")
    for item in got.unreadable:
        _say(f"checkerjax: {label}: {_reason(item)}", sys.stderr)
    if not got.rows:
        raise ValueError(f"{label}: none of {len(got.unreadable)} pictures could be measured.")
    return got


def _reason(item: Unreadable) -> str:
    return f"'{printable(item.name)}' is not measured: {printable(item.reason)}"


def _worst(got: Collected, alpha: float) -> float:
    """The largest dB of a period found, in a picture or in all together."""
    levels = [row.level for row in got.rows if row.level is not None]
    if got.folder is not None and len(got.rows) > 1:  # of one picture its own report says all
        levels += [level_of(r, alpha) for r in got.folder.periods if r.period in got.folder.found]
    return max(levels, default=-math.inf)


def _head(options: argparse.Namespace) -> dict[str, Any]:
    versions = {"checkerjax": __version__, "python": platform.python_version()}
    versions |= {"numpy": np.__version__, "scipy": scipy.__version__}
    arguments = {name: value for name, value in vars(options).items() if name not in ("command", "command_line")}
    return {"command": options.command_line, "arguments": arguments, "versions": versions}


def _tail(
    got: Collected, reference: Collected | None, comparison: ComparisonReport | None, failed: bool
) -> dict[str, Any]:
    def together(part: Collected) -> dict[str, Any]:
        return {
            "not_measured": [item._asdict() for item in part.unreadable],
            "folder": part.folder.to_dict() if part.folder is not None else None,
            "left_out_of_folder": part.left_out,
        }

    return {
        **together(got),
        "reference": None if reference is None else together(reference),
        "comparison": None if comparison is None else comparison.to_dict(),
        "failed": failed,
        "complete": not got.stopped,
    }


def _say(text: str, stream: Any = None) -> None:
    """Prints what the stream's encoding cannot hold as escapes."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)

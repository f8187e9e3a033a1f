"""Files to reports: by threads that decode and others that measure, or by processes; a few in hand at a time."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import math
import pathlib
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from checkerjax.cli._measure_processes import processes
from checkerjax.images import (
    Attribution,
    FolderReport,
    GridReport,
    Picture,
    Unreadable,
    attribute,
    combine,
    measure,
    read_images,
)

LAYOUTS = {1: "HC", 2: "HWC", 3: "DHWC"}
AHEAD = 2  # pictures in hand for each thread or process
MANY = 128  # files, from which on processes are worth the second that they take to start


@dataclasses.dataclass(frozen=True)
class Settings:
    """How every picture is read and measured."""

    periods: tuple[int, ...]
    alpha: float
    fractional: bool
    axes: str | None
    full_scale: float | None
    workers: int


class Measured(NamedTuple):
    """A picture without its pixels, and what was found in it."""

    name: str
    path: pathlib.Path
    facts: dict[str, Any]  # what the file says of itself
    full_scale: float
    report: GridReport
    attributions: tuple[Attribution, ...]


class Row(NamedTuple):
    """What is kept of each picture until the end: a few numbers."""

    name: str
    path: pathlib.Path
    size: tuple[int, ...]
    found: tuple[int, ...]  # the strongest first
    db: float  # of the first of them, or of the best candidate
    phase_db: float
    level: float | None  # the larger of the dB that are significant; None without a grid
    p: float
    amplitude: float
    full_scale: float
    phase_ratio: float
    origin: str
    fractional: tuple[float, ...] = ()  # periods between the whole ones, the strongest first


@dataclasses.dataclass
class Collected:
    """Everything that was measured of some files."""

    files: int
    rows: list[Row] = dataclasses.field(default_factory=list)
    unreadable: list[Unreadable] = dataclasses.field(default_factory=list)
    reports: list[GridReport] = dataclasses.field(default_factory=list)  # without their lines, if they were asked for
    last: Measured | None = None
    folder: FolderReport | None = None
    left_out: int = 0  # of the folder's report and of comparisons: of another rank than the first picture
    stopped: bool = False


def collect(
    files: Sequence[pathlib.Path],
    settings: Settings,
    *,
    keep: bool,
    sink: Callable[[Measured], None],
    report: Callable[[int, int], None] | None,
    stop: Callable[[], bool],
) -> Collected:
    """Measures files; `sink` gets each picture once, `keep` keeps their reports for a comparison."""
    got = Collected(len(files))

    def reports() -> Iterator[GridReport]:
        done, rank = 0, None
        with contextlib.closing(_measured(files, settings, stop)) as items:
            for item in items:
                while done < len(files) and not item.name.startswith(str(files[done])):
                    done += 1
                if report is not None:
                    report(done, len(files))
                if isinstance(item, Unreadable):
                    got.unreadable.append(item)
                    continue
                sink(item)
                got.rows.append(row_of(item))
                got.last = item
                rank = rank or len(item.report.size)
                if len(item.report.size) != rank:
                    got.left_out += 1
                    continue
                if keep:
                    got.reports.append(slim(item.report))
                yield item.report
        got.stopped = stop()

    measured = reports()
    first = next(measured, None)
    if first is not None:
        got.folder = combine(itertools.chain([first], measured), alpha=settings.alpha)
    return got


def _measured(
    files: Sequence[pathlib.Path], settings: Settings, stop: Callable[[], bool]
) -> Generator[Measured | Unreadable, None, None]:
    """In the order of the files. After `stop` only what is in hand is finished."""
    worth_it = settings.workers > 1 and len(files) >= MANY and bool(sys.executable)
    # A file of arrays may hold any number of pictures, which are best taken one at a time.
    if worth_it and not any(path.suffix.lower() in (".npy", ".npz") for path in files):
        task = functools.partial(_measure_file, settings=settings)
        with processes(settings.workers, task) as ask:
            yield from _each(files, ask, settings.workers, stop)
        return
    reading = read_images(files, axes=settings.axes, full_scale=settings.full_scale, workers=settings.workers)
    with contextlib.closing(reading):
        yield from _each(reading, lambda item: [_measure_read(item, settings)], settings.workers, stop)


def _each(
    items: Iterable[Any], work: Callable[[Any], list[Measured | Unreadable]], threads: int, stop: Callable[[], bool]
) -> Generator[Measured | Unreadable, None, None]:
    pending: collections.deque[concurrent.futures.Future[list[Measured | Unreadable]]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(work, item))
            del item  # its pixels are not to outlive the measurement
            if len(pending) > AHEAD * threads:
                yield from pending.popleft().result()
            if stop():
                break
        while pending:
            yield from pending.popleft().result()


def _measure_file(path: pathlib.Path, settings: Settings) -> list[Measured | Unreadable]:
    reading = read_images([path], axes=settings.axes, full_scale=settings.full_scale, workers=1)
    return [_measure_read(item, settings) for item in reading]


def _measure_read(item: Picture | Unreadable, settings: Settings) -> Measured | Unreadable:
    return item if isinstance(item, Unreadable) else measure_one(item, settings)


def measure_one(picture: Picture, settings: Settings) -> Measured | Unreadable:
    """The report of a picture, in its file's own sample values, or why there is none."""
    samples = picture.samples.view(np.uint8) if picture.samples.dtype == bool else picture.samples
    layout = LAYOUTS[samples.ndim - 1]
    try:
        report = measure(
            samples, periods=settings.periods, layout=layout, alpha=settings.alpha, fractional=settings.fractional
        )
        attributions = tuple(attribute(report, picture)) if report.found else ()
    except ValueError as error:
        return Unreadable(picture.name, str(error).split(": ", 1)[-1])
    except MemoryError:
        return Unreadable(picture.name, "memory does not suffice to measure it.")
    facts = {
        "format": picture.format, "mode": picture.mode, "bit_depth": picture.bit_depth, "axes": picture.axes,
        "transparent": picture.transparent, "rate": picture.rate, "made": picture.origin._asdict(),
    }  # fmt: skip
    return Measured(picture.name, picture.path, facts, picture.full_scale, report, attributions)


def row_of(item: Measured) -> Row:
    """The row of a picture in the table."""
    report = item.report
    found = sorted(
        (r for r in report.periods if r.period in report.found),
        key=lambda r: (-level_of(r, report.alpha), min(r.p, r.phase_p)),
    )
    best = found[0] if found else report.strongest
    between = sorted(report.fractional, key=lambda line: -line.db)  # only those that are significant
    level = level_of(best, report.alpha) if found else None
    if between:
        level = max(between[0].db, -math.inf if level is None else level)
    origin = ", ".join(origins(item.attributions, best.period)) if found else ""
    row = Row(
        item.name, item.path, report.size, tuple(r.period for r in found), best.db, best.phase_db, level,
        min(best.p_corrected, best.phase_p_corrected), best.amplitude, item.full_scale, best.phase_ratio, origin,
        tuple(line.period for line in between),
    )  # fmt: skip
    if between and not found:  # no whole period is near: the numbers are those of the line
        none = math.nan
        row = row._replace(
            db=between[0].db, p=between[0].p_corrected, phase_db=none, amplitude=none, phase_ratio=none
        )  # fmt: skip
    return row


def origins(attributions: Iterable[Attribution], period: int) -> list[str]:
    """Of one period, the strongest first, each once."""
    of_period = sorted((a for a in attributions if a.period == period), key=lambda a: -a.db)
    return list(dict.fromkeys(a.origin for a in of_period))


def level_of(result: Any, alpha: float) -> float:
    """The larger dB over the floor of the two statistics, where both are significant, else of the one that is."""
    both = [(result.p_corrected, result.db), (result.phase_p_corrected, result.phase_db)]
    return max([db for p, db in both if p < alpha] or [db for _, db in both])


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """Pictures with a grid before those without, the strongest first; without one, the least likely first."""
    return sorted(rows, key=lambda r: (r.level is None, -(r.level or 0.0), r.p, -r.db, r.name))


def slim(report: GridReport) -> GridReport:
    """A report without its tables of lines, which are most of its memory."""
    none = report.lines._make(column[:0] for column in report.lines)
    periods = tuple(r._replace(groups=(), phase_groups=()) for r in report.periods)
    return dataclasses.replace(report, lines=none, phase_lines=none, periods=periods)

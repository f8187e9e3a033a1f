"""Progress on long work: a bar on a terminal, one plain line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Report = Callable[[int, int], None]


@contextlib.contextmanager
def progress(label: str, *, every: float = 10.0, stream=None) -> Iterator[Report]:
    """A function `report(done, total)` that shows how far `label` has come and how long it will still take.

    Args:
      label: what is being done.
      every: seconds between lines where the stream is not a terminal.
      stream: where to write; standard error by default.

    Example:
      >>> with progress("counting") as report:
      ...     report(1, 2)
    """
    stream = stream or sys.stderr
    bar = _bar if stream.isatty() else _lines
    with bar(label, every, stream) as report:
        yield report


def reporter(label: str, quiet: bool = False) -> contextlib.AbstractContextManager[Report | None]:
    """`progress`, or nothing where quiet is asked for."""
    return contextlib.nullcontext(None) if quiet else progress(label)


@contextlib.contextmanager
def _bar(label: str, every: float, stream) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as display:
        task = display.add_task(label, total=None)
        yield lambda done, total: display.update(task, completed=done, total=total)


@contextlib.contextmanager
def _lines(label: str, every: float, stream) -> Iterator[Report]:
    start = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every:
            last = now
            left = (now - start) * (total - done) / max(done, 1)
            print(f"{label}: {done} of {total}, about {left:.0f} s left", file=stream, flush=True)

    yield report

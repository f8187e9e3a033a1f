"""SIGINT and SIGTERM during long work: what is begun is finished and stored, then the command ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def finish_on_signals() -> Iterator[Callable[[], bool]]:
    """A function that says whether a signal came; a second signal ends the process at once."""
    came = threading.Event()

    def note(number: int, frame: object) -> None:
        came.set()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        yield came.is_set  # only the main thread is told of signals
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

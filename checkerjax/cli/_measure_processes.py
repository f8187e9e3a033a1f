"""Many pictures measured by processes: of threads, Python's lock lets hardly more than one run at a time.

Each process is an executor of its own, so that one that does not survive a picture says which. They are spawned: a fork
would copy the threads' locks of JAX and BLAS.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import multiprocessing
import os
import pathlib
import queue
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool

from checkerjax.images import Unreadable

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


@contextlib.contextmanager
def processes(count: int, task: Callable[[pathlib.Path], list]) -> Iterator[Callable[[pathlib.Path], list]]:
    """`task`, done by `count` processes; for as many threads to call. They end with the context."""
    everyone = [_process() for _ in range(count)]
    idle: queue.SimpleQueue[int] = queue.SimpleQueue()
    for i in range(count):
        idle.put(i)

    def call(path: pathlib.Path) -> list:
        i = idle.get()
        try:
            return everyone[i].submit(task, path).result()
        except BrokenProcessPool:
            everyone[i].shutdown()
            everyone[i] = _process()
            return [Unreadable(str(path), "the process that measured it ended.")]
        finally:
            idle.put(i)

    try:
        yield call
    finally:
        for process in everyone:
            process.shutdown()


def _process() -> concurrent.futures.Executor:
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(1, mp_context=context, initializer=_begin)
    with _nothing_to_import_again():
        executor.submit(os.getpid)  # starts it
    return executor


@contextlib.contextmanager
def _nothing_to_import_again() -> Iterator[None]:
    """A spawned process imports the caller's main module, and so would run an unguarded script a second time."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _begin() -> None:
    """In a process: signals ask the whole group, and what is in hand is to be finished; its output is no report."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _keep_freed_memory()
    _own_words()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # it was killed: no more work comes, and nobody would say so


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Freed memory is kept for the next picture, and what is wrong with a file is said in one line, by us."""
    _keep_freed_memory()
    with warnings.catch_warnings():
        _own_words()
        yield


def _own_words() -> None:
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _keep_freed_memory() -> None:
    """Asks glibc to keep the memory of freed arrays, of up to 256 MB, for the next picture.

    By default it goes back to the system, and the pages that come instead have to be cleared: a quarter of the time.
    """
    with contextlib.suppress(Exception):  # other systems have no such call
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 2**25)  # the largest that is allowed
        mallopt(_TRIM_THRESHOLD, 2**28)

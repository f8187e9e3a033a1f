"""Many pictures measured by processes: of threads, Python's lock lets hardly more than one run at a time.

The processes are started as interpreters of their own, with nothing of the caller's but its import path: a fork would
copy the threads' locks of JAX and BLAS, and a spawn would run the caller's script again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import pickle
import queue
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

from checkerjax.images import Unreadable

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h

_CODE = """
import signal
for number in (signal.SIGINT, signal.SIGTERM):  # these ask the whole group; what is in hand is to be finished
    signal.signal(number, signal.SIG_IGN)
import sys
sys.path[:] = {path!r}
from checkerjax.cli._measure_processes import serve
serve()
"""


@contextlib.contextmanager
def processes(count: int, task: Callable[[pathlib.Path], list]) -> Iterator[Callable[[pathlib.Path], list]]:
    """`task`, done by `count` processes; for as many threads to call. They end with the context."""
    everyone = [_Process(task) for _ in range(count)]
    idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    for process in everyone:
        idle.put(process)

    def call(path: pathlib.Path) -> list:
        process = idle.get()
        try:
            return process.ask(path)
        finally:
            idle.put(process)

    try:
        yield call
    finally:
        for process in everyone:
            process.end()


class _Process:
    def __init__(self, task: Callable[[pathlib.Path], list]) -> None:
        self._task = task
        self._start()

    def _start(self) -> None:
        code = _CODE.format(path=sys.path)
        self._child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with contextlib.suppress(BrokenPipeError):  # it ended already, as `ask` will notice
            self._send(self._task)

    def _send(self, item: object) -> None:
        assert self._child.stdin is not None
        pickle.dump(item, self._child.stdin, pickle.HIGHEST_PROTOCOL)
        self._child.stdin.flush()

    def ask(self, path: pathlib.Path) -> list:
        """What the task returns, or raises; that the picture is unreadable where the process did not survive it."""
        assert self._child.stdout is not None
        try:
            self._send(path)
            answer = pickle.load(self._child.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            code = self.end()
            self._start()
            return [Unreadable(str(path), f"the process that measured it ended ({_cause(code)}).")]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self) -> int:
        """Its exit code, once it has nothing to do; what comes of a picture that it is in the middle of is dropped."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        self._child.stdout.close()
        return self._child.wait()


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def serve() -> None:
    """The life of a process: a task, then paths, until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    with prepared(), contextlib.suppress(EOFError, BrokenPipeError):
        task = pickle.load(sys.stdin.buffer)
        while True:
            path = pickle.load(sys.stdin.buffer)
            try:
                answer = task(path)
            except Exception as error:  # raised where it can be told
                answer = error
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Freed memory is kept for the next picture, and what is wrong with a file is said in one line, by us."""
    _keep_freed_memory()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _keep_freed_memory() -> None:
    """Asks glibc to keep the memory of freed arrays, of up to 256 MB, for the next picture.

    By default it goes back to the system, and the pages that come instead have to be cleared: a quarter of the time.
    """
    with contextlib.suppress(Exception):  # other systems have no such call
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 2**25)  # the largest that is allowed
        mallopt(_TRIM_THRESHOLD, 2**28)

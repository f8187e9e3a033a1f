"""`checkerjax measure` of many pictures by processes: what it finds, and processes that do not survive a picture."""

from __future__ import annotations

import builtins
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time
import types
from typing import Any

import pytest

from checkerjax.cli import _measure_pictures
from checkerjax.cli._measure_processes import processes
from checkerjax.images import Unreadable

pytest.importorskip("PIL.Image")
runs = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("measure_runs.py"))))
WRITTEN = "print('no answer') or [1, 2]"
KILLED = "__import__('os').kill(__import__('os').getpid(), 9)"
LEFT = "__import__('os')._exit(3)"


@pytest.fixture
def started(monkeypatch):
    """How many processes each command started; it does so from two files on."""
    counts = []

    def counted(count, task):
        counts.append(count)
        return processes(count, task)

    monkeypatch.setattr(_measure_pictures, "MANY", 2)
    monkeypatch.setattr(_measure_pictures, "processes", counted)
    return counts


def test_processes_find_what_threads_find(tmp_path, capsys, started):
    folder = runs.three_pictures(tmp_path)
    (folder / "broken.png").write_bytes((folder / "b strong.png").read_bytes()[:2000])
    found = []
    for workers in (1, 2):
        assert runs.run(folder, "--workers", workers, "--json", tmp_path / "out.json") == 0
        found.append((runs.strict((tmp_path / "out.json").read_text()), capsys.readouterr().err))
    (threads, named), (several, named_too) = found
    assert started == [2]
    assert len(several["pictures"]) == 3
    for name in ("pictures", "folder", "not_measured"):
        assert threads[name] == several[name]
    assert "broken.png" in named
    assert named == named_too


def test_a_signal_ends_processes_with_what_was_measured(tmp_path, capsys, monkeypatch, started):
    for i in range(20):
        runs.write(tmp_path / f"{i:02d}.png", runs.noise(i, (32, 32)))
    row_of, seen = _measure_pictures.row_of, []

    def third(item):
        seen.append(item.name)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGTERM)
        return row_of(item)

    monkeypatch.setattr(_measure_pictures, "row_of", third)
    assert runs.run(tmp_path, "--workers", 2) == 130
    assert started == [2]
    assert 3 <= len(seen) < 15
    assert capsys.readouterr().err == f"checkerjax: stopped; {len(seen)} pictures were measured, not all.\n"


def test_arrays_stay_in_the_process_that_reads_them_in_place(tmp_path, started):
    import numpy as np

    for name in "ab":
        np.save(tmp_path / f"{name}.npy", runs.noise(1, (32, 32))[None])
    assert runs.run(tmp_path, "--workers", 2) == 0
    assert started == []


def test_a_picture_that_ends_its_process_is_named_and_the_next_has_another(capfd):
    task: Any = builtins.eval
    with processes(1, task) as call:
        ask: Any = call
        assert ask(WRITTEN) == [1, 2]
        assert ask(KILLED) == [Unreadable(KILLED, "the process that measured it ended.")]
        assert ask(LEFT) == [Unreadable(LEFT, "the process that measured it ended.")]
        assert ask(WRITTEN) == [1, 2]
        with pytest.raises(ZeroDivisionError):
            ask("1 / 0")
        assert ask("[3]") == [3]
    assert capfd.readouterr().out == ""


def test_processes_end_with_a_command_that_is_killed():
    code = """
import os, time
from checkerjax.cli._measure_processes import processes
with processes(1, eval) as ask:
    print(ask("__import__('os').getpid()"), flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the process lives on")


def test_processes_do_not_run_the_caller_s_script_again(tmp_path):
    for i in range(2):
        runs.write(tmp_path / f"{i}.png", runs.noise(i, (32, 32)))
    script = tmp_path / "script.py"
    script.write_text(
        "from checkerjax.cli import main, _measure_pictures\n"
        "_measure_pictures.MANY = 2\n"
        f"raise SystemExit(main(['measure', {str(tmp_path)!r}, '--workers', '2', '--json', '-', '--quiet']))\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0
    assert len(runs.strict(run.stdout)["pictures"]) == 2

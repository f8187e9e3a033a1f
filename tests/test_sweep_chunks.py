"""Sweeps in a store: chunks, resume, shards, devices and processes; what is there stays there."""

from __future__ import annotations

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from checkerjax import sweeps
from checkerjax.sweeps import Config, Grid, _chunk_store, _schema, sweep

xarray = pytest.importorskip("xarray")

GRID = Grid(kernel=(3, 4), stride=2, width=2, direction=("forward", "gradient"))
SETTINGS: dict[str, Any] = {"seeds": 10, "chunk": 4}
NAMES = ("line_power", "variance", "phase_power", "std", "zero_share", "spectrum", "seeds_done")


@pytest.fixture(scope="module")
def expected():
    return sweep(GRID, **SETTINGS)


def assert_equal(found, expected, names=NAMES):
    """Bit for bit."""
    for name in names:
        np.testing.assert_array_equal(found[name].values, expected[name].values, err_msg=name)


def files(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_store_holds_what_memory_holds(tmp_path, expected):
    found = sweep(GRID, **SETTINGS, store=tmp_path / "a.zarr", command="checkerjax sweep")
    assert_equal(found, expected)
    assert_equal(sweeps.open(tmp_path / "a.zarr"), expected)
    assert found.attrs["command"] == "checkerjax sweep"
    assert found.attrs["device"].startswith("cpu")
    assert found.seed.values.tolist() == list(range(10))
    assert found.kernel.values.tolist() == [3, 3, 4, 4]
    assert found.direction.values.tolist() == ["forward", "gradient"] * 2
    assert found.line_power.units == "field^2"


def test_xarray_alone_reads_the_store(tmp_path, expected):
    pytest.importorskip("zarr")
    sweep(GRID, **SETTINGS, store=tmp_path / "a.zarr")
    with xarray.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None) as found:
        np.testing.assert_array_equal(found.line_power, expected.line_power)
        assert found.line_power.dims == ("config", "seed", "image", "period")
        assert found.period.values.tolist() == [2]
        assert json.loads(found.attrs["text_coordinates"])["config"] == expected.config.values.tolist()


def stop_after(chunks: int):
    asked = iter(range(100))
    return lambda: next(asked) >= chunks


def test_a_stopped_sweep_goes_on_where_it_was(tmp_path, expected, monkeypatch):
    place = tmp_path / "a.zarr"
    with pytest.raises(KeyboardInterrupt):
        sweep(GRID, **SETTINGS, store=place, stop=stop_after(3))
    partial = sweeps.open(place)
    done = partial.seeds_done.values
    assert 0 < done.sum() < 40
    kept = partial.line_power.values[0, : done[0]]
    np.testing.assert_array_equal(kept, expected.line_power.values[0, : done[0]])
    for powers, count in zip(partial.line_power.values, done):
        assert np.isnan(powers).all((1, 2)).sum() == 10 - count
    written = []
    write = _chunk_store.Store.write
    monkeypatch.setattr(
        _chunk_store.Store, "write", lambda self, i, c, stats: (written.append((i, c)), write(self, i, c, stats))
    )
    assert_equal(sweep(GRID, **SETTINGS, store=place), expected)
    assert len(written) == len(set(written)) == 12 - int(np.ceil(done / 4).sum())


def test_nothing_is_left_to_do_for_a_sweep_that_is_done(tmp_path, expected):
    place, told = tmp_path / "a.zarr", []
    sweep(GRID, **SETTINGS, store=place)
    before = files(place)
    assert_equal(sweep(GRID, **SETTINGS, store=place, report=lambda *progress: told.append(progress)), expected)
    assert not told
    assert files(place) == before


@pytest.mark.parametrize("shards", [2, 5])
def test_shards_make_the_whole(tmp_path, expected, shards):
    for i in reversed(range(shards)):
        part = sweep(GRID, **SETTINGS, store=tmp_path / "a.zarr", shard=(i, shards))
        assert (part.seeds_done.sum() == 40) == (i == 0)
    assert_equal(part, expected)


@pytest.mark.parametrize("draws", ["inside", "pool"])
def test_chunks_of_another_size_round_differently_and_no_more(expected, draws):
    found = sweep(GRID, seeds=10, chunk=3, draws=draws)
    for name in ("line_power", "variance", "std"):
        np.testing.assert_allclose(found[name].values, expected[name].values, rtol=1e-5, atol=1e-7, err_msg=name)


DIFFERENT = {
    "seeds": ({"seeds": 12}, r"its seeds is stop=10, not stop=12"),
    "base_seed": ({"base_seed": 1}, "its base_seed is 0, not 1"),
    "chunk": ({"chunk": 5}, "its chunk is 4, not 5"),
    "draws": ({"draws": "inside"}, "its draws is 'pool', not 'inside'"),
    "configurations": ({"grid": Grid(kernel=(3, 5), stride=2, width=2)}, "its configurations is 4 long, not 2 long"),
    "one of them": (
        {"grid": Grid(kernel=(3, 4), stride=2, width=2, direction=("forward", "gradient"), initialiser="he")},
        "its configurations is name='deconv k3 s2 x1, c2, lecun, .*', not name='deconv k3 s2 x1, c2, he, .*'",
    ),
}


@pytest.mark.parametrize(("change", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_sweep_in_that_place_is_refused_with_the_difference(tmp_path, change, message):
    place = tmp_path / "a.zarr"
    sweep(GRID, **SETTINGS, store=place)
    before = files(place)
    arguments: dict[str, Any] = {"grid": GRID, **SETTINGS, **change}
    with pytest.raises(ValueError, match=f"sweep: '.*a.zarr/' holds another sweep: {message}"):
        sweep(arguments.pop("grid"), **arguments, store=place)
    assert files(place) == before


def test_what_is_no_sweep_is_refused_and_untouched(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    before = files(tmp_path)
    with pytest.raises(ValueError, match="folder/' is not empty and not a sweep; choose another place"):
        sweep(GRID, **SETTINGS, store=tmp_path / "folder")
    with pytest.raises(ValueError, match="other/' is not a sweep; choose another place"):
        sweep(GRID, **SETTINGS, store=tmp_path / "other")
    with pytest.raises(OSError, match=r"sweep: cannot write to '.*file/below/'"):
        sweep(GRID, **SETTINGS, store=tmp_path / "file" / "below")
    assert files(tmp_path) == before
    with pytest.raises(ValueError, match=r"open: '.*none.zarr/' is not a sweep"):
        sweeps.open(tmp_path / "none.zarr")


def test_a_place_that_another_writer_claims_in_between_is_shared(tmp_path, expected, monkeypatch):
    sweep(GRID, **SETTINGS, store=tmp_path / "a.zarr")
    opened = _chunk_store._open_kvstore

    class Late:
        """A store that did not have its metadata yet when it was first asked."""

        asked = False

        def __init__(self, place):
            self.store = opened(place)

        def read(self, key):
            first, Late.asked = not Late.asked, True
            return self.store.read("no such key" if first else key)

        def __getattr__(self, name):
            return getattr(self.store, name)

    monkeypatch.setattr(_chunk_store, "_open_kvstore", Late)
    attributes = _chunk_store._claim(f"{tmp_path}/a.zarr/", {"attributes": {}})
    assert attributes is not None
    assert _chunk_store.SPECIFICATION in attributes


def test_a_damaged_chunk_is_named(tmp_path):
    place = tmp_path / "a.zarr"
    sweep(GRID, **SETTINGS, store=place)
    (chunk,) = (place / "variance" / "c" / "0" / "1").glob("*")
    chunk.write_bytes(chunk.read_bytes()[:-7])
    with pytest.raises(OSError, match=r"cannot read 'variance' in '.*a.zarr/'"):
        sweeps.open(place)


def test_a_write_that_fails_names_the_place_and_keeps_what_is_there(tmp_path, expected, monkeypatch):
    place = tmp_path / "a.zarr"
    pieces = _schema.Schema.pieces

    def fail(self, index, chunk, stats):
        for i, piece in enumerate(pieces(self, index, chunk, stats)):
            if (index, chunk, i) == (1, 0, 2):  # something takes a file's place
                folder = place / piece[0] / "c" / "1" / "0"
                folder.parent.mkdir(exist_ok=True, parents=True)
                folder.write_text("in the way")
            yield piece

    with monkeypatch.context() as patch:
        patch.setattr(_schema.Schema, "pieces", fail)
        with pytest.raises(OSError, match=r"sweep: cannot write to '.*a.zarr/': "):
            sweep(GRID, **SETTINGS, store=place)
    for obstacle in place.glob("*/c/1/0"):
        if obstacle.is_file():
            obstacle.unlink()
    assert_equal(sweep(GRID, **SETTINGS, store=place), expected)


def test_fields_are_stored_whole(tmp_path):
    grid = [Config("a", "deconv k3 s2 c2", input="probe", size=6), Config("b", "upsample s2", input="white", size=6)]
    expected = sweep(grid, seeds=5, chunk=2)
    found = sweep(grid, seeds=5, chunk=2, store=tmp_path / "a.zarr")
    assert_equal(found, expected, (*NAMES, "sample", "dc_power"))
    assert found.sizes["frequency_y"] == 12


SCRIPT = """
import json, sys
from checkerjax.sweeps import Grid, sweep
store, devices, shard, seeds = json.loads(sys.argv[1])
import jax
assert jax.device_count() == devices, jax.devices()
grid = Grid(kernel=(3, 4), stride=2, width=2, direction=("forward", "gradient"))
sweep(grid, seeds=seeds, chunk=4, store=store, shard=tuple(shard))
"""


def start(store: pathlib.Path, *, devices: int = 1, shard=(0, 1), seeds: int = 10, script: str = SCRIPT):
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    arguments = json.dumps([str(store), devices, list(shard), seeds])
    return subprocess.Popen(
        [sys.executable, "-c", script, arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]


def test_eight_devices_and_two_processes_give_the_same_bits(tmp_path, expected):
    finish(start(tmp_path / "eight.zarr", devices=8))
    assert_equal(sweeps.open(tmp_path / "eight.zarr"), expected)
    finish(*(start(tmp_path / "two.zarr", shard=(i, 2)) for i in range(2)))
    assert_equal(sweeps.open(tmp_path / "two.zarr"), expected)


DISTRIBUTED = """
import json, sys
import jax
store, port, index = json.loads(sys.argv[1])
place = f"127.0.0.1:{port}"
jax.distributed.initialize(place, 2, index, coordinator_bind_address=place)
from checkerjax.sweeps import Grid, sweep
grid = Grid(kernel=(3, 4), stride=2, width=2, direction=("forward", "gradient"))
assert len(jax.devices()) == 2 * len(jax.local_devices())
sweep(grid, seeds=10, chunk=4, store=store, shard=(jax.process_index(), jax.process_count()))
"""


def test_processes_of_one_job_share_the_work(tmp_path, expected):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    finish(
        *(
            subprocess.Popen(
                [sys.executable, "-c", DISTRIBUTED, json.dumps([str(tmp_path / "a.zarr"), port, i])],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        )
    )
    assert_equal(sweeps.open(tmp_path / "a.zarr"), expected)


def test_killed_sweeps_lose_nothing(tmp_path):
    """Killed at random times, also while writing: every chunk that is there is whole and right."""
    place, rng = tmp_path / "a.zarr", random.Random(1)
    expected = sweep(GRID, seeds=240, chunk=4)
    kills = 0
    while kills < 3:
        process = start(place, seeds=240)
        deadline = time.monotonic() + 120
        before = len(list(place.glob("done/c/*/*")))
        while process.poll() is None and len(list(place.glob("done/c/*/*"))) < before + 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        kills += 1
        partial = sweeps.open(place)
        there = ~np.isnan(partial.line_power.values)
        np.testing.assert_array_equal(partial.line_power.values[there], expected.line_power.values[there])
    assert 0 < int(partial.seeds_done.sum()) <= 1600
    assert_equal(sweep(GRID, seeds=240, chunk=4, store=place), expected)

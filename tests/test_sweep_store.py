"""Stores: what is written comes back, whole or not at all, and nothing of others is touched."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import checkerjax
from checkerjax.sweeps import _store, check_place, open, save

xarray = pytest.importorskip("xarray")


@pytest.fixture
def dataset(rng):
    values = rng.standard_normal((2, 3, 4))
    values[0, 1, 2], values[1, 0, 0] = np.nan, np.inf
    return xarray.Dataset(
        {
            "power": (("config", "seed", "x"), values, {"units": "field^2"}),
            "narrow": (("seed",), np.array([1, 2, np.nan], np.float32)),
            "hits": (("seed",), np.array([0, 7, 0])),
            "flag": (("config",), np.array([True, False])),
            "total": ((), np.float64(3.5)),
        },
        coords={
            "config": ["a, k5", "größer"],
            "seed": np.array([0, 5, 9]),
            "period": ("period", [2, 4], {"units": "samples"}),
        },
        attrs={"checkerjax_version": "0", "note": "text", "number": 1.5, "list": [1, 2]},
    )


def _entries(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_store_comes_back_as_it_was(tmp_path, dataset):
    path = tmp_path / "s.zarr"
    other = dataset.isel(seed=[0]).assign_attrs(note="other")
    assert save({"one": dataset, "two": other}, path) == path
    xarray.testing.assert_identical(open(path, "one"), dataset)
    xarray.testing.assert_identical(open(path, "two"), other)
    for name, variable in dataset.variables.items():
        assert open(path, "one")[name].dtype == variable.dtype


def test_a_store_is_read_by_xarray_alone(tmp_path, dataset):
    save({"one": dataset}, tmp_path / "s.zarr")
    with xarray.open_zarr(tmp_path / "s.zarr" / "one", consolidated=False) as plain:
        np.testing.assert_array_equal(plain.power.values, dataset.power.values)
        np.testing.assert_array_equal(plain.seed.values, [0, 5, 9])
        assert plain.power.dims == ("config", "seed", "x")
        assert plain.power.attrs["units"] == "field^2"
        assert json.loads(plain.attrs["text_coordinates"]) == {"config": ["a, k5", "größer"]}


def test_the_dataset_handed_in_stays_as_it_is(tmp_path, dataset):
    before = dataset.copy(deep=True)
    save({"one": dataset}, tmp_path / "s.zarr")
    xarray.testing.assert_identical(dataset, before)


def test_attributes_that_were_dropped_do_not_stop_a_store(tmp_path, dataset):
    path = tmp_path / "s.zarr"
    for _ in range(2):  # the second time it has to know the first as its own
        save({"one": dataset.drop_attrs()}, path)
    save({}, path)
    save({"one": dataset}, path)
    xarray.testing.assert_identical(open(path, "one"), dataset)


def test_a_store_replaces_the_one_before(tmp_path, dataset):
    path = tmp_path / "s.zarr"
    save({"one": dataset, "two": dataset}, path)
    save({"one": dataset.isel(config=[1])}, path)
    assert open(path, "one").sizes["config"] == 1
    assert _entries(path) == ["one", "zarr.json"]
    assert _entries(tmp_path) == ["s.zarr"]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("broken", ["_write_dataset", "_write_array", "_write_group", "_replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_store_and_nothing_else(tmp_path, dataset, monkeypatch, broken, error):
    path = tmp_path / "s.zarr"
    save({"one": dataset}, path)
    calls = []
    write = getattr(_store, broken)

    def fail_second(*args):
        calls.append(args)
        if len(calls) == (1 if broken == "_replace" else 2):
            raise error
        return write(*args)

    monkeypatch.setattr(_store, broken, fail_second)
    with pytest.raises(type(error)):
        save({"one": dataset.isel(seed=[0]), "two": dataset}, path)
    assert _entries(tmp_path) == ["s.zarr"]
    xarray.testing.assert_identical(open(path, "one"), dataset)


def test_a_failed_swap_puts_the_old_store_back(tmp_path, dataset, monkeypatch):
    path = tmp_path / "s.zarr"
    save({"one": dataset}, path)
    replace = _store.os.replace

    def fail_on_the_new(source, target):
        if target == path and ".old." not in str(source):
            raise OSError("no swap")
        replace(source, target)

    monkeypatch.setattr(_store.os, "replace", fail_on_the_new)
    with pytest.raises(OSError, match="no swap"):
        save({"two": dataset}, path)
    assert _entries(tmp_path) == ["s.zarr"]
    xarray.testing.assert_identical(open(path, "one"), dataset)


def test_values_that_cannot_be_written_leave_nothing(tmp_path, dataset):
    with pytest.raises(TypeError, match="not JSON serializable"):
        save({"one": dataset.assign_attrs(bad=object())}, tmp_path / "s.zarr")
    assert _entries(tmp_path) == []


FOREIGN = {
    "file": None,
    "empty folder": {},
    "folder": {"thesis.txt": "years of work"},
    "foreign zarr": {"zarr.json": json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}})},
    "zarr without attributes": {"zarr.json": '{"attributes": null}'},
    "json of another shape": {"zarr.json": "[1]"},
    "broken json": {"zarr.json": "{"},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_ours_is_refused_and_untouched(tmp_path, dataset, kind):
    path = tmp_path / "mine"
    if FOREIGN[kind] is None:
        path.write_text("years of work")
    else:
        path.mkdir()
        for name, text in FOREIGN[kind].items():
            (path / name).write_text(text)
    with pytest.raises(ValueError, match=r"save: '.*mine' exists and is not a store of checkerjax; choose another"):
        save({"one": dataset}, path)
    assert _entries(tmp_path) == ["mine"]
    if FOREIGN[kind] is None:
        assert path.read_text() == "years of work"
    else:
        assert {p.name: p.read_text() for p in path.iterdir()} == FOREIGN[kind]


@pytest.mark.parametrize("below", ["s.zarr", "deeper/s.zarr"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, dataset, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"save: cannot write into the folder '.*file.*': "):
        save({"one": dataset}, tmp_path / "file" / below)
    assert _entries(tmp_path) == ["file"]


def test_a_place_is_checked_without_leaving_a_trace(tmp_path):
    place = check_place(tmp_path / "new" / "s.zarr")
    assert place == tmp_path / "new" / "s.zarr"
    assert _entries(tmp_path / "new") == []


def test_open_names_the_groups_that_there_are(tmp_path, dataset):
    save({"forward": dataset, "gradient": dataset}, tmp_path / "s.zarr")
    with pytest.raises(ValueError, match=r"open: '.*s.zarr' has no group 'backward'; it has forward, gradient\."):
        open(tmp_path / "s.zarr", "backward")
    for place in ("none.zarr", "s.zarr/forward"):
        with pytest.raises(ValueError, match="is not a store of checkerjax"):
            open(tmp_path / place, "forward")


def test_the_store_says_which_version_wrote_it(tmp_path, dataset):
    save({"one": dataset}, tmp_path / "s.zarr")
    attributes = json.loads((tmp_path / "s.zarr" / "zarr.json").read_text())["attributes"]
    assert attributes == {"checkerjax_version": checkerjax.__version__, "zarr_groups": ["one"]}


@pytest.mark.parametrize("package", ["xarray", "zarr"])
def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path, dataset, monkeypatch, package):
    save({"one": dataset}, tmp_path / "s.zarr")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*checkerjax\[analysis\]"):
        open(tmp_path / "s.zarr", "one")

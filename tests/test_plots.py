"""Figures: drawn for what there is, the same bytes each time, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

from checkerjax.plots import overlap_figure, save, sweep_figure
from checkerjax.sweeps import generator_grid, gradient_grid

pyplot = pytest.importorskip("matplotlib.pyplot")
xarray = pytest.importorskip("xarray")

SEEDS = 6


def _dataset(grid, rng):
    """Numbers of the right shapes and sizes under the names of the default grids; no stack is run."""
    n = grid[0].field_size[0]
    images, period = max(c.measured for c in grid), max(c.period for c in grid)
    periods = sorted({p for c in grid for p in c.periods})
    head, shape = ("config", "seed", "image"), (len(grid), SEEDS, images)
    lines = np.sort(rng.uniform(0.01, 0.5, (*shape, len(periods))), -1)
    return xarray.Dataset(
        {
            "line_power": ((*head, "period"), lines),
            "lattice_share": ((*head, "period"), lines),
            "variance": (head, np.ones(shape)),
            "std": (head, rng.uniform(0.3, 0.6, shape)),
            "phase_power": ((*head, "phase_y", "phase_x"), rng.uniform(1, 2, (*shape, period, period))),
            "zero_share": (("config", "seed"), rng.uniform(0, 1, shape[:2])),
            "spectrum": (("config", "frequency_y", "frequency_x"), rng.uniform(1e-4, 1, (len(grid), n, n))),
            "sample": (("config", "y", "x", "channel"), rng.uniform(-1, 1, (len(grid), n, n, 3))),
        },
        coords={"config": [c.name for c in grid], "seed": np.arange(SEEDS), "period": periods},
        attrs={"configurations": json.dumps([{**dataclasses.asdict(c), "stack": text} for c, text in _texts(grid)])},
    )


def _texts(grid):
    # Only what is counted has to be a stack: a short one per period.
    return [(c, "maxpool k2 s2" if "max pool" in c.name else f"conv k3 s{c.period}") for c in grid]


@pytest.fixture(scope="module")
def datasets():
    rng = np.random.default_rng(1)
    forward, gradient = _dataset(generator_grid(), rng), _dataset(gradient_grid(), rng)
    holes = gradient.phase_power.where(gradient.config != "shortcut 1x1 s2, white", 0.0)
    holes[dict(phase_y=0, phase_x=0)] = 1.0  # every other phase of one stem gets nothing: an infinite ratio
    return {"forward": forward, "gradient": gradient.assign(phase_power=holes)}


@pytest.fixture(autouse=True)
def _figures_closed():
    yield
    pyplot.close("all")


@pytest.mark.parametrize(
    ("names", "panels"), [(["forward"], 9), (["gradient"], 7), (["forward", "gradient"], 16)], ids=str
)
def test_the_figure_of_a_sweep_draws_what_there_is(tmp_path, datasets, names, panels):
    figure = sweep_figure({name: datasets[name] for name in names})
    assert len(figure.axes) == panels
    assert all(axes.has_data() for axes in figure.axes)
    path = save(figure, tmp_path / "sweep.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == []


def test_the_figure_says_what_was_measured(datasets):
    figure = sweep_figure(datasets)
    ratios = {axes.get_title(): axes for axes in figure.axes}
    intervals = next(axes for title, axes in ratios.items() if title.startswith("lines of period 2"))
    published = [line for line in intervals.lines if line.get_marker() == "x"]
    drawn = sorted(float(x) for line in published for x in np.asarray(line.get_xdata()))
    assert drawn == [0.0008, 0.0009, 0.0011, 0.103, 0.11, 0.11, 0.193]
    values = [line for line in intervals.lines if line.get_marker() == "o"]
    shares = datasets["forward"].lattice_share.sel(period=2)
    medians = [float(np.median(shares.sel(config=name))) for name in shares.config.values]
    found = [float(np.asarray(line.get_xdata())[0]) for line in values]
    np.testing.assert_allclose(found, medians)
    gradients = next(axes for title, axes in ratios.items() if title.startswith("phase power") and axes.yaxis)
    assert gradients.get_xscale() == "log"


def test_no_dataset_draws_nothing():
    for datasets in ({}, {"backward": xarray.Dataset()}):
        with pytest.raises(ValueError, match="sweep_figure: datasets must have 'forward' or 'gradient'; got"):
            sweep_figure(datasets)


@pytest.mark.parametrize("shape", [(7,), (5, 9), (30, 30), (3, 4, 5), (1,), (1, 1)])
def test_overlap_maps_of_every_rank_are_drawn(tmp_path, shape, rng):
    counts = rng.integers(0, 5, shape)
    figure = overlap_figure(counts, title="deconv k3 s2")
    axes = figure.axes[0]
    assert axes.get_title() == "deconv k3 s2"
    if len(shape) == 1:
        np.testing.assert_array_equal([bar.get_window_extent().height > 0 for bar in axes.patches], counts > 0)
        np.testing.assert_array_equal(axes.dataLim.y1, counts.max())
    else:
        plane = counts[shape[0] // 2] if len(shape) == 3 else counts
        np.testing.assert_array_equal(axes.images[0].get_array(), plane)
        written = [text.get_text() for text in axes.texts]
        assert written == ([] if max(plane.shape) > 24 else [str(v) for v in plane.ravel()])
    save(figure, tmp_path / "a.svg")


@pytest.mark.parametrize("shape", [(), (2, 2, 2, 2), (0,), (3, 0)])
def test_what_is_no_map_is_refused(shape):
    with pytest.raises(ValueError, match="overlap_figure: counts must be a map with 1 to 3 axes; got shape"):
        overlap_figure(np.zeros(shape))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_the_same_numbers_give_the_same_bytes(tmp_path, suffix):
    written = []
    for name in ("first", "second"):
        path = tmp_path / name / f"map{suffix}"
        assert save(overlap_figure(np.array([[1, 2], [3, 4]])), path) == path
        written.append(path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o644
    assert written[0] == written[1]
    save(overlap_figure(np.array([[1, 2], [3, 5]])), tmp_path / f"other{suffix}")
    assert (tmp_path / f"other{suffix}").read_bytes() != written[0]


def test_sweeps_give_the_same_bytes_twice(tmp_path, datasets):
    one, two = (save(sweep_figure(datasets), tmp_path / f"{i}.svg").read_bytes() for i in range(2))
    assert one == two


@pytest.mark.parametrize("name", ["map.gif", "map", "map.png.txt"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"save: the ending of the file must be one of \.pdf, \.svg, \.png; got"):
        save(overlap_figure(np.ones(3)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert pyplot.get_fignums() == []


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = save(overlap_figure(np.ones(3)), tmp_path / "map.png")
    old = path.read_bytes()
    figure = overlap_figure(np.ones(4))

    def fail(partial, **options):
        partial.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save(figure, path)
    assert [p.name for p in tmp_path.iterdir()] == ["map.png"]
    assert path.read_bytes() == old
    assert pyplot.get_fignums() == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file/map.png", "file/deeper/map.png"):
        with pytest.raises(OSError, match=r"save: cannot write into the folder '.*file.*': "):
            save(overlap_figure(np.ones(3)), tmp_path / place)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_missing_matplotlib_is_named_with_the_way_to_get_it(monkeypatch, datasets):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (lambda: overlap_figure(np.ones(3)), lambda: sweep_figure(datasets)):
        with pytest.raises(ModuleNotFoundError, match=r"figures need matplotlib.*checkerjax\[analysis\]"):
            draw()

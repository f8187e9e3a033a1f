"""Figures of sweeps over grids: what they draw of which configuration, and what they leave out and say so."""

from __future__ import annotations

import pathlib
import runpy
import types

import numpy as np
import pytest

from checkerjax import plots, sweeps
from checkerjax.sweeps import Interval
from checkerjax.sweeps._grid_rows import lines_measure, short_names

xarray = pytest.importorskip("xarray")
pytest.importorskip("matplotlib")

made = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("sweep_datasets.py"))))


@pytest.fixture(scope="module")
def dataset():
    return made.dataset(made.GRID, np.random.default_rng(7))


@pytest.fixture(scope="module")
def rows(dataset):
    return sweeps.grid_rows(dataset)


def _titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_visible() and axes.get_title()]


def _numbers(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def _panels(figure):
    return [axes for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]


def _values(panel):
    return np.ma.asarray(panel.images[0].get_array())


def _first(line):
    """Where a curve or mark begins."""
    return float(np.asarray(line.get_xdata())[0]), float(np.asarray(line.get_ydata())[0])


def test_heat_maps_have_a_panel_for_every_family_direction_depth_and_measure(dataset, rows):
    figure = plots.grid_figure(dataset)
    panels = _panels(figure)
    assert len(panels) == 2 * 2 * 4
    assert _titles(figure) == 2 * ["deconv\nforward", "deconv\ngradient", "resize\nforward", "resize\ngradient"]
    bars = [axes.get_ylabel() for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert bars == ["lines,\nshare of power but DC", "phase power,\nlargest / smallest"]
    by_name = {row.name: row for row in rows}
    places = [(f, d, x) for x in (1.0, 2.0) for f in ("deconv", "resize") for d in ("forward", "gradient")]
    for panel, (family, direction, depth) in zip(panels, 2 * places):
        field = "line_share" if panels.index(panel) < 8 else "phase_ratio"
        for y, kernel in enumerate((3.0, 4.0)):
            for x, stride in enumerate((2.0, 3.0)):
                row = by_name[made.name(made.label(family, kernel, stride, depth, direction))]
                value = getattr(row, field).value
                assert _values(panel)[y, x] == pytest.approx(value, rel=1e-12)
                (text,) = [text for text in panel.texts if text.get_position() == (x, y)]
                assert text.get_text() == f"{value:.2f}"
    assert f"{made.SEEDS} seeds" in figure.get_suptitle()
    assert figure.get_supxlabel() == ""


def test_the_same_dataset_gives_the_same_bytes(tmp_path, dataset):
    few = dataset.isel(config=slice(2))
    for draw in (plots.grid_figure, plots.grid_spectra, plots.grid_intervals):
        first, second = (plots.save(draw(few), tmp_path / f"{i}.svg").read_bytes() for i in range(2))
        assert first == second
        assert first.startswith(b"<?xml")


def test_heat_maps_say_what_is_not_there(rng):
    labels = [made.label(kernel=k, stride=s) for k, s in ((3.0, 2.0), (4.0, 2.0), (4.0, 3.0))]
    dataset = made.dataset(labels, rng)
    dataset["variance"][1] = np.nan
    figure = plots.grid_figure(dataset)
    panel = _panels(figure)[0]
    (patch,) = panel.patches
    assert patch.get_hatch() == "/////"
    np.testing.assert_array_equal(patch.get_extents().min, panel.transData.transform((0.5, -0.5)))  # stride 3, kernel 3
    np.testing.assert_array_equal(np.ma.getmaskarray(_values(panel)), [[False, True], [True, False]])
    assert figure.get_supxlabel() == "hatched: not in the grid; grey: no seed yet"


def test_heat_maps_of_flat_inputs_show_shares_of_all_power(rng):
    dataset = made.dataset([made.label(), made.label(direction="gradient")], rng)
    dataset["line_power"][0] = dataset["variance"].values[0][..., None]
    dataset["phase_power"][0, :, :, 0, 0] = 0
    figure = plots.grid_figure(dataset)
    assert "lines,\nshare of all power" in [axes.get_ylabel() for axes in figure.axes]
    assert "∞" in _numbers(figure)
    assert "1.00" not in _numbers(figure)


def test_lines_are_shares_of_all_power_where_most_of_a_direction_have_nothing_else(rows):
    def measure(*shares):
        return lines_measure([row._replace(line_share=Interval(v, v, v)) for row, v in zip(rows[::2], shares)])

    assert rows[0].labels["direction"] == rows[2].labels["direction"] == "forward"
    assert measure(1.0, 1.0, 0.0, 0.0, 0.0) == "total_share"
    assert measure(1.0, 0.9995, 0.4, 0.3) == "total_share"
    assert measure(1.0, 0.4, 0.3) == "line_share"
    assert measure(0.0, 0.0) == "line_share"
    assert measure(0.9, 0.99) == "line_share"


def _between(kernel, depth, width, activation):
    return made.label(kernel=kernel, depth=depth, width=width, activation="none" if depth == 1 else activation)


@pytest.mark.parametrize(
    ("select", "width", "activation", "depths", "title"),
    [
        ({}, 8.0, "relu", (1.0, 2.0), "; width 8, not 16; activation relu, not tanh"),
        ({"width": 16, "activation": "tanh"}, 16.0, "tanh", (1.0, 2.0), ""),
        ({"depth": 2}, 8.0, "relu", (2.0,), "; width 8, not 16; activation relu, not tanh"),
        ({"kernel": 4, "width": 8}, 8.0, "relu", (1.0, 2.0), "; activation relu, not tanh"),
    ],
)
def test_heat_maps_draw_the_first_value_of_other_axes_or_what_is_selected(select, width, activation, depths, title):
    kernels = (3.0, 4.0)
    labels = [
        _between(kernel, depth, w, a)
        for kernel in kernels
        for depth in (1.0, 2.0)
        for w in (8.0, 16.0)
        for a in ("relu", "tanh")
        if depth == 2 or a == "relu"
    ]
    dataset = made.dataset(labels, np.random.default_rng(3))
    shares = {row.name: row.line_share.value for row in sweeps.grid_rows(dataset)}
    figure = plots.grid_figure(dataset, select=select)
    found = [np.ravel(_values(panel)) for panel in _panels(figure)[: len(depths)]]
    kernels = (4.0,) if "kernel" in select else kernels
    expected = [[shares[made.name(_between(k, depth, width, activation))] for k in kernels] for depth in depths]
    np.testing.assert_allclose(found, expected)
    assert figure.get_suptitle().replace("\n", " ") == f"Random initialisation, 12 seeds{title}"


def test_what_the_first_value_lacks_is_not_taken_from_the_next(rng):
    cells = [(3.0, 2.0, 8.0), (4.0, 3.0, 8.0), (4.0, 2.0, 16.0), (5.0, 2.0, 16.0)]
    labels = [made.label(kernel=kernel, stride=stride, width=width) for kernel, stride, width in cells]
    figure = plots.grid_figure(made.dataset(labels, rng))
    panel = _panels(figure)[0]
    np.testing.assert_array_equal(np.ma.getmaskarray(_values(panel)), [[False, True], [True, False]])
    assert len(panel.patches) == 2
    assert figure.get_suptitle().replace("\n", " ").endswith("; width 8, not 16")


def test_heat_maps_refuse(dataset):
    with pytest.raises(ValueError, match=r"grid_figure: select: unknown axis 'kernal'; did you mean 'kernel'\?"):
        plots.grid_figure(dataset, select={"kernal": 3})
    with pytest.raises(ValueError, match="grid_figure: select: kernel must be one of 3, 4; got 7"):
        plots.grid_figure(dataset, select={"kernel": 7})
    with pytest.raises(ValueError, match="grid_figure: no configuration with a kernel and a stride has seeds"):
        plots.grid_figure(dataset.drop_vars("kernel"))


def test_many_families_wrap_and_many_cells_have_no_numbers(rng):
    families = ("deconv", "resize", "subpixel", "conv", "avgpool")
    labels = [
        made.label(family, kernel, direction=direction)
        for family in families
        for kernel in np.arange(2.0, 27.0)
        for direction in ("forward", "gradient")
    ]
    figure = plots.grid_figure(made.dataset(labels, rng))
    assert len(_titles(figure)) == 2 * 2 * len(families)
    assert _numbers(figure) == []
    assert figure.get_figwidth() < 12
    assert figure.get_figheight() < 17


def test_spectra_show_the_worst_of_each_family(dataset, rows):
    figure = plots.grid_spectra(dataset)
    names, shared = short_names(rows)
    periods = {row.name: row.period for row in rows}
    worst = [next(n for n in made.worst(dataset) if n.startswith(family)) for family in ("deconv", "resize")]
    assert _titles(figure) == [names[name] for name in worst]
    for axes, name in zip(figure.axes, worst):
        power = dataset.spectrum.sel(config=name, axis="x").values
        frequency, decibels = np.asarray(axes.lines[-1].get_data())
        np.testing.assert_allclose(frequency, np.arange(9) / 16)
        np.testing.assert_allclose(decibels, 10 * np.log10(power / power.sum()), rtol=1e-10)
        marks, period = [_first(line)[0] for line in axes.lines[:-1]], periods[name]
        assert marks == [line / period for line in range(1, period // 2 + 1)]
        assert "1/2" in [text.get_text() for text in axes.texts] or period % 2
    assert "(dB)" in figure.axes[0].get_ylabel()
    assert shared.split(",")[0] in figure.get_suptitle()


def test_spectra_of_some_configurations(dataset):
    names = [str(name) for name in dataset.config.values]
    assert len(_titles(plots.grid_spectra(dataset, configs=names[:5]))) == 5
    with pytest.raises(ValueError, match="grid_spectra: configs may be at most 6; got 7"):
        plots.grid_spectra(dataset, configs=names[:7])
    with pytest.raises(ValueError, match="grid_spectra: no configuration 'deconv' has seeds"):
        plots.grid_spectra(dataset, configs=["deconv"])
    with pytest.raises(ValueError, match="grid_spectra: the dataset has no spectra"):
        plots.grid_spectra(dataset.drop_vars("spectrum"))


def test_spectra_over_both_axes_are_folded(rng):
    dataset = made.dataset([made.label()], rng).drop_vars(["spectrum", "frequency", "axis"])
    plane = rng.uniform(0.1, 1, (8, 8))
    dataset = dataset.assign(spectrum=(("config", "frequency_y", "frequency_x"), plane[None]))
    dataset = dataset.assign_coords({f"frequency_{axis}": np.fft.fftfreq(8) for axis in "yx"})
    frequency, decibels = np.asarray(plots.grid_spectra(dataset).axes[0].lines[-1].get_data())
    expected = [sum(plane[y, x] for y in range(8) for x in {f, -f % 8}) for f in range(5)]
    np.testing.assert_allclose(frequency, np.arange(5) / 8)
    np.testing.assert_allclose(decibels, 10 * np.log10(np.array(expected) / plane.sum()), rtol=1e-10)


def test_intervals_put_directions_into_one_row(dataset, rows):
    figure = plots.grid_intervals(dataset)
    left, right = figure.axes
    names, _ = short_names(rows, without=("direction",))
    assert [text.get_text() for text in left.get_yticklabels()] == list(dict.fromkeys(names.values()))
    for axes, field in ((left, "line_share"), (right, "phase_ratio")):
        points = [line for line in axes.lines if line.get_marker() == "o"]
        assert [_first(line)[0] for line in points] == [getattr(row, field).value for row in rows]
        bars = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 2.2]
        np.testing.assert_array_equal(bars, [getattr(row, field)[1:] for row in rows])
        heights = [_first(line)[1] for line in points]
        assert len(set(heights)) == len(rows)
        assert [round(-y) for y in heights] == [list(dict.fromkeys(names.values())).index(names[r.name]) for r in rows]
    assert right.get_xscale() == "log"
    chance = [_first(line)[0] for line in right.lines if line.get_marker() == "|"]
    assert chance == [row.chance for row in rows]
    counted = [_first(line)[0] for line in right.lines if line.get_marker() == "x"]
    assert counted == [row.counted for row in rows if row.counted is not None]
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["forward", "gradient", "chance, phases equal", "counted paths"]


def test_intervals_of_many_configurations_are_the_worst(rng):
    labels = [made.label(kernel=kernel) for kernel in np.arange(2.0, 52.0)]
    dataset = made.dataset(labels, rng)
    dataset["phase_power"][:, :, :, 0, 0] = 0  # infinite ratios
    figure = plots.grid_intervals(dataset)
    rows = {row.name: row for row in sweeps.grid_rows(dataset)}
    names, _ = short_names(list(rows.values()))
    shown = {text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert shown == {names[name] for name in made.worst(dataset)[:40]}
    assert "40 of 50 with most lines" in figure.get_suptitle()
    assert "∞" in [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert sum(line.get_marker() == ">" for line in figure.axes[1].lines) == 40


@pytest.mark.parametrize("seeds", [1, 4])
def test_one_seed_or_group_is_drawn_without_intervals(tmp_path, rng, seeds):
    dataset = made.dataset([made.label()], rng, seeds=seeds, group=seeds)
    (row,) = sweeps.grid_rows(dataset)
    figure = plots.grid_intervals(dataset)
    points = [_first(line)[0] for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert points == [row.line_share.value, row.phase_ratio.value]
    plots.save(figure, tmp_path / "a.png")


def test_nothing_done_is_nothing_drawn(dataset):
    empty = dataset.copy(deep=True)
    empty["variance"][:] = np.nan
    for draw in (plots.grid_figure, plots.grid_spectra, plots.grid_intervals):
        with pytest.raises(ValueError, match=f"{draw.__name__}: no configuration .*has seeds"):
            draw(empty)

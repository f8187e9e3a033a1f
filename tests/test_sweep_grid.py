"""Grids: what the axes multiply to, what is measured of it, what cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from checkerjax import count, stacks
from checkerjax.cli import main
from checkerjax.cli._grid_sweep import numbers
from checkerjax.sweeps import Grid, forecast, sweep

pytest.importorskip("xarray")


def test_axes_multiply_in_order():
    grid = Grid(family=("deconv", "resize"), kernel=(3, 4), stride=2, depth=(1, 2), direction=("forward", "gradient"))
    configs = grid.configs()
    assert len(configs) == 16
    texts = [stacks.format_stack(stacks.as_stack("test", config.stack)) for config in configs]
    assert configs[0].name == "deconv k3 s2 x1, c8, lecun, forward, probe"
    assert configs[1].name == "deconv k3 s2 x1, c8, lecun, gradient, white, probe"
    assert texts[2] == "deconv k3 s2, relu, deconv k3 s2 c3"
    assert configs[2].periods == (2, 4)
    assert texts[8] == "resize k3 c3"


def test_what_makes_no_difference_is_one_configuration():
    grid = Grid(
        activation=("relu", "linear"), depth=(1, 2), direction=("forward", "gradient"), cotangent=("probe", "mse")
    )
    names = [config.name for config in grid.configs()]
    assert len(names) == len(set(names)) == 3 + 2 * 3  # no activation at depth 1, no cotangent forward
    assert sum("linear" in name for name in names) == 3


@pytest.mark.parametrize("family", ["deconv", "resize", "resize_linear", "subpixel", "conv", "maxpool", "avgpool"])
@pytest.mark.parametrize("direction", ["forward", "gradient"])
def test_fields_hold_periods_that_no_border_reaches(family, direction):
    grid = Grid(family=family, kernel=(2, 5), stride=(2, 3), depth=(1, 2), direction=direction)
    for config in grid.configs():
        size = config.field_size[0]
        assert size % config.period == 0
        up = family not in ("conv", "maxpool", "avgpool")
        assert size - 2 * config.margin >= (8 if up and direction == "gradient" else 2 * config.period)
        if direction == "gradient" and family not in ("maxpool", "resize_linear"):  # which count no whole paths
            paths = count(config.stack, config.input_size, backward=True)
            inside = paths[config.margin : size - config.margin, config.margin : size - config.margin]
            period = config.period if not up else 1
            np.testing.assert_array_equal(inside[:-period], inside[period:])
        if direction == "forward":
            ((start, stop), _) = stacks.interior(config.stack, config.input_size)
            assert config.margin >= start
            assert size - config.margin <= stop


@pytest.mark.parametrize("family", ["conv", "avgpool", "deconv"])
def test_gradients_of_linear_stacks_are_all_lines_within_the_margin(family):
    """Only there: a window that a border cuts off makes another mean."""
    grid = Grid(family=family, kernel=5, stride=2, depth=2, activation="linear", direction="gradient", width=3)
    share = sweep(grid, seeds=2).line_power / sweep(grid, seeds=2).variance
    constant = sweep(grid, seeds=2).variance.max() < 1e-9  # deconvolutions send back a constant
    assert constant or np.allclose(share.sel(period=4 if family != "deconv" else 2), 1, atol=1e-4)


def test_own_stacks_join_in():
    grid = Grid(stack=("deconv k3 s2 c2", "upsample s2"), size=8, direction=("forward", "gradient"))
    assert [config.name for config in grid.configs()] == [
        "deconv k3 s2 c2, c8, lecun, forward, probe",
        "deconv k3 s2 c2, c8, lecun, gradient, white, probe",
        "upsample s2, c8, lecun, forward, probe",
        "upsample s2, c8, lecun, gradient, white, probe",
    ]
    both = Grid(family="deconv", stack="upsample s2", size=8)
    found = sweep(both, seeds=2)
    assert found.family.values.tolist() == ["deconv", "upsample s2"]
    np.testing.assert_array_equal(found.kernel, [4, np.nan])
    assert found.activation.values.tolist() == ["none", ""]


def test_what_cannot_be_is_refused_or_skipped_as_asked():
    axes: dict[str, Any] = {"kernel": (3, 4), "stride": 2, "initialiser": ("lecun", "icnr")}
    with pytest.raises(ValueError, match=r"1 of 4 combinations cannot be: deconv k3 s2 x1, c8, icnr.*invalid='skip'"):
        Grid(**axes).configs()
    skipping = Grid(**axes, invalid="skip")
    assert [row.config is None for row in skipping.rows()] == [False, True, False, False]
    assert len(skipping.configs()) == 3
    with pytest.raises(ValueError, match=r"no combination can be; the first: .*stride 1 has no period"):
        Grid(stride=1, invalid="skip").configs()


BAD = [
    ({"family": "deconf"}, ValueError, "Grid: family must be one of .*; got 'deconf'; did you mean 'deconv'"),
    ({"activation": "rleu"}, ValueError, "activation must be one of .*did you mean 'relu'"),
    ({"invalid": "ignore"}, ValueError, "invalid must be one of refuse, skip; got 'ignore'"),
    ({"kernel": 0}, ValueError, "kernel must be ints of at least 1; got 0"),
    ({"depth": (1, 2.0)}, ValueError, "depth must be ints of at least 1; got 2.0"),
    ({"kernel": range(1, 1000), "stride": range(2, 1000)}, ValueError, "multiply to 997002 configurations; at most"),
]


@pytest.mark.parametrize(("axes", "error", "message"), BAD, ids=[m for *_, m in BAD])
def test_bad_axes_are_refused(axes, error, message):
    with pytest.raises(error, match=message):
        Grid(**axes)


BAD_COMBINATIONS = [
    ({"direction": "backward"}, "direction must be one of forward, gradient, weights; got 'backward'"),
    ({"input": "whiet"}, "input must be one of .*did you mean 'white'"),
    ({"padding": "sane"}, "unknown option 'sane' for deconv.*did you mean 'same'"),
    ({"initialiser": "lekun"}, "did you mean 'lecun'"),
]


@pytest.mark.parametrize(("axes", "message"), BAD_COMBINATIONS, ids=[m for _, m in BAD_COMBINATIONS])
def test_names_that_a_configuration_refuses_say_so(axes, message):
    with pytest.raises(ValueError, match=message):
        Grid(**axes).configs()


@pytest.mark.parametrize(
    ("text", "found"), [("3", [3]), ("2:4", [2, 3, 4]), ("2,8:9", [2, 8, 9]), (5, [5]), ([1, 2], [1, 2])]
)
def test_numbers_and_ranges(text, found):
    assert numbers("kernel", text) == found


@pytest.mark.parametrize("text", ["", "a", "2:", "4:2", "2:3:4", "-1", "1.5"])
def test_bad_ranges_are_refused(text):
    with pytest.raises(ValueError, match="sweep: --kernel"):
        numbers("kernel", text)


def test_a_forecast_names_everything(capsys):
    grid = Grid(kernel=(3, 4), stride=2, initialiser=("lecun", "icnr"), invalid="skip")
    text = forecast(grid, 100)
    assert [line.split(" MB  ")[-1] for line in text.splitlines()[:3]] == [config.name for config in grid.configs()]
    assert "cannot be: deconv k3 s2 x1, c8, icnr" in text
    assert "3 configurations x 100 seeds in 3 programs: about" in text
    line = ["sweep", "--kernel", "3,4", "--stride", "2", "--initialiser", "lecun,icnr", "--invalid", "skip"]
    assert main([*line, "--seeds", "100", "--dry-run"]) == 0
    assert capsys.readouterr().out == text + "\n"


TOML = """
kernel = [3, 4]
stride = 2
width = 2
direction = ["forward", "gradient"]
seeds = 3
"""


def test_a_file_and_flags_make_the_grid(tmp_path, capsys):
    file = tmp_path / "grid.toml"
    file.write_text(TOML)
    out = tmp_path / "out"
    assert main(["sweep", "--grid", str(file), "--kernel", "4", "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "deconv k4 s2" in printed.out
    assert "deconv k3" not in printed.out
    assert f"stored: {out / 'sweep.zarr'}" in printed.out
    assert not printed.err
    again = main(["sweep", "--grid", str(file), "--kernel", "4", "--out", str(out), "--quiet"])
    assert again == 0


BAD_COMMANDS = [
    (["--kernel", "4", "--stride", "a"], "sweep: --stride takes ints and ranges"),
    (["--family", "deconf"], "did you mean 'deconv'"),
    (["--kernel", "4", "--shard", "2/2"], "--shard takes i/n"),
    (["--store", "x"], "--store is for a grid; give --family, --kernel, ... or --grid FILE"),
    (["--dry-run"], "--dry-run is for a grid"),
    (["--grid", "none.toml"], "none.toml"),
    (["--kernel", "4", "--seeds", "0"], "seeds must be at least 1; got 0"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_COMMANDS, ids=[m for _, m in BAD_COMMANDS])
def test_bad_commands_end_with_one_line(tmp_path, capsys, arguments, message):
    assert main(["sweep", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_name_in_a_file_is_refused_with_the_nearest(tmp_path, capsys):
    file = tmp_path / "grid.toml"
    file.write_text("kernal = 3\n")
    assert main(["sweep", "--grid", str(file), "--out", str(tmp_path)]) == 2
    assert "unknown name 'kernal'; did you mean 'kernel'" in capsys.readouterr().err
    file.write_text("kernel = \n")
    assert main(["sweep", "--grid", str(file), "--out", str(tmp_path)]) == 2
    assert "is not TOML" in capsys.readouterr().err

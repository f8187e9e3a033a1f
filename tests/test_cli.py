"""The command line: what it prints and writes, and that bad input costs one line and leaves nothing."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import checkerjax
from checkerjax import sweeps
from checkerjax.cli import main

xarray = pytest.importorskip("xarray")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")

PERIOD_4 = "deconv k3 s2, deconv k3 s2"


def _run(*arguments, code=None, **environment):
    """A process of its own: `python -m checkerjax arguments`, or `python -c code`."""
    command = [sys.executable, *(("-c", code) if code else ("-m", "checkerjax", *arguments))]
    root = str(pathlib.Path(checkerjax.__file__).parent.parent)
    return subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, "PYTHONPATH": root, "PYTHONIOENCODING": "utf-8", **environment},
    )


def _fails(capsys, *arguments):
    """The one line that a refused command leaves on standard error."""
    try:
        code = main(list(arguments))
    except SystemExit as stop:  # argparse
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err.startswith("checkerjax")
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("sweep", "--help"),
        ("overlap", "--help"),
        ("measure", "--help"),
        ("audit", "--help"),
        ("--version",),
    ],
)
def test_help_imports_nothing_heavy(arguments):
    heavy = ("jax", "numpy", "matplotlib", "xarray", "rich", "tensorstore", "PIL")
    result = _run(
        code=f"""
import sys, time
start = time.perf_counter()
from checkerjax.cli import main
try:
    main({list(arguments)!r})
except SystemExit as stop:
    assert stop.code == 0, stop.code
print(time.perf_counter() - start, [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
    )
    assert result.returncode == 0
    seconds, imported = result.stderr.split(" ", 1)
    assert imported.strip() == "[]"
    assert float(seconds) < 1  # 0.02 s, and what busy cores add; jax alone takes 0.5 s
    assert "checkerjax" in result.stdout


def test_the_module_runs_like_the_command():
    result = _run("overlap", PERIOD_4, "--ndim", "1", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "one period: 3 2 3 1" in result.stdout
    assert result.stdout.isascii()
    assert _run("overlap", "nonsense").returncode == 2
    assert _run().returncode == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])  # an error when the interpreter ends, or at the first line
@pytest.mark.parametrize("arguments", [("overlap", PERIOD_4), ("--help",)])
def test_a_reader_that_goes_away_is_no_error(arguments, unbuffered):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "checkerjax", *arguments],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=120,
        env={
            **os.environ,
            "PYTHONUNBUFFERED": unbuffered,
            "PYTHONPATH": str(pathlib.Path(checkerjax.__file__).parent.parent),
        },
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (0, b"")


def test_overlap_in_one_dimension(capsys):
    assert main(["overlap", PERIOD_4, "--ndim", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == PERIOD_4
    assert lines[1].startswith("forward, paths to each output: ")
    assert lines[1].endswith("period 4")
    assert "one period: 3 2 3 1; largest over smallest 3" in lines
    assert sum(line.endswith("NO") for line in lines) >= 4
    assert set(lines[-1]) <= set(" ░▒▓█")
    assert "██" in lines[-1]


def test_overlap_in_two_dimensions_is_the_default(capsys):
    assert main(["overlap", PERIOD_4]) == 0
    out = capsys.readouterr().out
    assert "period 4x4" in out
    for axis in (0, 1):
        assert f"one period along axis {axis}: 3 2 3 1; largest over smallest 3\n" in out
    assert "unevenness of the whole map: 9\n" in out


def test_overlap_in_three_dimensions(capsys):
    assert main(["overlap", "deconv k3 s2", "--size", "4x5x6"]) == 0
    out = capsys.readouterr().out
    assert "4x5x6 -> 8x10x12, period 2x2x2" in out
    assert "unevenness of the whole map: 8\n" in out


def test_overlap_of_an_even_stack_says_yes(capsys):
    assert main(["overlap", "resize k3 s2", "--size", "8"]) == 0
    out = capsys.readouterr().out
    assert "8 -> 16" in out
    assert "largest over smallest 1\n" in out
    (counts,) = [line for line in out.splitlines() if "equal counts" in line]
    assert counts.endswith("yes")


def test_overlap_of_a_latent(capsys):
    assert main(["overlap", "dense 4x4, deconv k3 s2"]) == 0
    assert "latent -> 8x8" in capsys.readouterr().out


def test_backward_counts_are_of_the_inputs(capsys):
    assert main(["overlap", "conv k3 s2", "--backward", "--size", "9"]) == 0
    out = capsys.readouterr().out
    assert "backward, paths to each input: 9 -> 5, period 2" in out
    assert "one period: 1 2; largest over smallest 2\n" in out
    assert main(["overlap", "conv k3 s4", "--backward", "--size", "16"]) == 0
    assert "largest over smallest infinite (some samples get nothing)" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_overlap_draws_to_a_file(tmp_path, capsys, suffix):
    path = tmp_path / "new" / f"map{suffix}"
    assert main(["overlap", "deconv k3 s2", "--size", "4", "--out", str(path)]) == 0
    assert capsys.readouterr().out.endswith(f"drawn: {path}\n")
    assert path.stat().st_size > 1000
    assert list(path.parent.iterdir()) == [path]


BAD_OVERLAPS = [
    (["overlap", "deconv k3 s2, relo"], "character 15: unknown layer 'relo'.*did you mean 'relu'"),
    (["overlap", ""], "character 1: expected a layer"),
    (["overlap", "deconv k3 s0"], "character 11: stride must be at least 1; got 0"),
    (["overlap", "deconv k0 s2"], "kernel must be at least 1; got 0"),
    (["overlap", "deconv k3 s2 op2"], "output_padding must be below"),
    (["overlap", "deconv k3x3x3 s2"], "kernel must be an int, or one int"),
    (["overlap", "maxpool k2 s2", "--backward"], "its gradient depends on the data"),
    (["overlap", "deconv k3 s2", "--size", "0"], "--size must be N, NxN or NxNxN with N at least 1; got '0'"),
    (["overlap", "deconv k3 s2", "--size", "8x"], "got '8x'"),
    (["overlap", "deconv k3 s2", "--size", "a"], "got 'a'"),
    (["overlap", "deconv k3 s2", "--size", "²"], "got '²'"),
    (["overlap", "deconv k3 s2", "--size", "-4"], "--size"),
    (["overlap", "deconv k3 s2", "--size", "2x2x2x2"], "got '2x2x2x2'"),
    (["overlap", "deconv k3 s2", "--size", "30000x30000"], "at most 16777216 samples; size 30000x30000 has 900000000"),
    (["overlap", "upsample s64", "--size", "1000x1000"], "output may have at most 16777216 samples"),
    (["overlap", "conv k5 valid", "--size", "4"], r"conv k5 valid.*axis H"),
    (["overlap", "dense 4x4", "--size", "8"], "takes a latent, not a field"),
    (["overlap", "deconv k3 s2", "--ndim", "4"], "invalid choice: 4"),
    (["overlap", "deconv k3 s2", "--rank", "4"], "unrecognized arguments: --rank 4; see checkerjax"),
    (["overlap"], "the following arguments are required: stack"),
    (["overlab", "deconv k3 s2"], "invalid choice: 'overlab'"),
    ([], "arguments are required: COMMAND"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_OVERLAPS, ids=[" ".join(a) for a, _ in BAD_OVERLAPS])
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert re.search(message, _fails(capsys, *arguments))


@pytest.mark.parametrize(
    ("name", "message"),
    [("map.gif", "must be one of .pdf, .svg, .png; got '.gif'"), ("file/map.png", "cannot write into the folder")],
)
def test_a_drawing_that_cannot_be_written_is_refused_before_anything_is_printed(tmp_path, capsys, name, message):
    (tmp_path / "file").write_text("")
    assert message in _fails(capsys, "overlap", "deconv k3 s2", "--out", str(tmp_path / name))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def _pictures(folder, size=70):
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(256, size=(size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    return folder


@pytest.fixture
def tiny(monkeypatch):
    """The grids with the names of the real ones and small stacks in them."""

    def small(config, stack, **changes):
        return sweeps.Config(name=config.name, stack=stack, **changes)

    forward = [
        small(c, f"dense 4x4 c4, {up}, tanh", channels=5, batch=3, measured=3, periods=(2, 4), margin=4)
        for c, up in ((c, "deconv k3 s2 c4, relu, deconv k3 s2 c3") for c in sweeps.generator_grid())
    ]
    gradient = [
        small(c, "maxpool k2 s2" if "max pool" in c.name else f"conv k{c.period} s{c.period} c2",
              direction="gradient", input=c.input, size=sweeps.TILE, periods=c.periods)
        for c in sweeps.gradient_grid() if "ViT" in c.name or "VGG" in c.name or "max pool 3x3" in c.name
    ]  # fmt: skip
    monkeypatch.setattr(sweeps, "generator_grid", lambda: forward)
    monkeypatch.setattr(sweeps, "gradient_grid", lambda: gradient)


def test_a_sweep_writes_a_store_a_figure_and_a_table(tmp_path, capsys, tiny):
    folder, out = _pictures(tmp_path / "pictures"), tmp_path / "deep" / "out"
    arguments = ["sweep", "--seeds", "10", "--images", str(folder), "--out", str(out), "--quiet"]
    assert main(arguments) == 0
    printed, err = capsys.readouterr()
    assert err == ""
    assert sorted(p.name for p in out.iterdir()) == ["sweep.png", "sweep.txt", "sweep.zarr"]
    table = (out / "sweep.txt").read_text(encoding="utf-8")
    assert printed == f"{table}stored: {out / 'sweep.zarr'}, {out / 'sweep.txt'}, {out / 'sweep.png'}\n"
    assert max(map(len, table.splitlines())) <= 100
    stored = {group: sweeps.open(out / "sweep.zarr", group) for group in ("forward", "gradient")}
    assert stored["forward"].sizes["seed"] == stored["gradient"].sizes["seed"] == 10
    names = [row.name for row in sweeps.generator_rows(stored["forward"])]
    names += [row.name for row in sweeps.gradient_rows(stored["gradient"])]
    assert len(names) == 9 + 6
    assert all(f"\n{name}  " in table for name in names)
    assert "Random generators, 10 seeds" in table
    assert stored["forward"].attrs["command"] == f"checkerjax {' '.join(arguments)}"
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")

    figure = (out / "sweep.png").read_bytes()
    assert main(arguments) == 0  # again, over its own results
    assert capsys.readouterr().out == printed
    assert sorted(p.name for p in out.iterdir()) == ["sweep.png", "sweep.txt", "sweep.zarr"]
    assert (out / "sweep.png").read_bytes() == figure
    for group, dataset in stored.items():
        xarray.testing.assert_equal(sweeps.open(out / "sweep.zarr", group), dataset)


def test_one_half_of_a_sweep_and_its_progress(tmp_path, capsys, tiny):
    out = tmp_path / "out"
    assert main(["sweep", "--seeds", "10", "--only", "forward", "--base-seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Random generators" in printed
    assert "Input gradients" not in printed
    assert sweeps.open(out / "sweep.zarr", "forward").attrs["base_seed"] == 3
    with pytest.raises(ValueError, match="has no group 'gradient'; it has forward"):
        sweeps.open(out / "sweep.zarr", "gradient")


def test_an_interrupted_sweep_leaves_what_was_stored(tmp_path, capsys, tiny, monkeypatch):
    out = tmp_path / "out"
    arguments = ["sweep", "--seeds", "10", "--only", "forward", "--out", str(out), "--quiet"]
    assert main(arguments) == 0
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    capsys.readouterr()

    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeps, "sweep", interrupt)
    assert main(arguments) == 130
    assert capsys.readouterr().err == "checkerjax: interrupted.\n"
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before


def _tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


BAD_SWEEPS = [
    (["--seeds", "0"], "--seeds must be at least 1; got 0"),
    (["--seeds", "-3"], "--seeds"),
    (["--seeds", "abc"], "argument --seeds: invalid int value: 'abc'"),
    (["--base-seed", "-1"], "--base-seed must be from 0 to 2^32 - 1; got -1"),
    (["--base-seed", "4294967296"], "--base-seed must be from 0 to 2^32 - 1; got 4294967296"),
    (["--only", "sideways"], "invalid choice: 'sideways'"),
    (["--images", "{}/none"], "none' is not a folder"),
    (["--images", "{}/file"], "file' is not a folder"),
    (["--images", "{}/empty"], "empty' holds no picture"),
    (["--images", "{}/broken"], "b.png' cannot be read as a picture"),
    (["--images", "{}/small"], "no photograph is as large as a 64x64 tile; got a.png 20x20"),
    (["--images", "{}/good", "--out", "{}/file"], "cannot write into the folder"),
    (["--images", "{}/good", "--out", "{}/file/deeper"], "cannot write into the folder"),
    (["--images", "{}/good", "--out", "{}/foreign"], "exists and is not a store of checkerjax; choose another place"),
]


@pytest.mark.parametrize(("options", "message"), BAD_SWEEPS, ids=[" ".join(o) for o, _ in BAD_SWEEPS])
def test_a_bad_sweep_is_refused_and_leaves_nothing(tmp_path, capsys, monkeypatch, tiny, options, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    _pictures(tmp_path / "good")
    _pictures(tmp_path / "small", 20)
    (_pictures(tmp_path / "broken") / "b.png").write_bytes(b"no picture")
    (tmp_path / "foreign" / "sweep.zarr").mkdir(parents=True)
    (tmp_path / "foreign" / "sweep.zarr" / "thesis.txt").write_text("years of work")
    monkeypatch.chdir(tmp_path)
    before = _tree(tmp_path)
    options = [option.format(tmp_path) for option in options]
    defaults = [] if "--images" in options else ["--images", str(tmp_path / "good")]
    assert message in _fails(capsys, "sweep", "--quiet", *defaults, *options)
    assert _tree(tmp_path) == before
    assert (tmp_path / "foreign" / "sweep.zarr" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("package", ["xarray", "matplotlib"])
def test_a_missing_package_is_one_line_with_the_way_to_get_it(tmp_path, capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    line = _fails(capsys, "sweep", "--quiet", "--out", str(tmp_path / "out"))
    assert package in line
    assert "pip install 'checkerjax[analysis]'" in line
    assert list(tmp_path.iterdir()) == []


def test_only_one_half_keeps_the_other_half(tmp_path, tiny, monkeypatch, capsys):
    _pictures(tmp_path / "good")
    common = ["sweep", "--quiet", "--seeds", "2", "--images", str(tmp_path / "good"), "--out", str(tmp_path / "out")]
    assert main(common) == 0
    first = sweeps.open(tmp_path / "out" / "sweep.zarr", "gradient")
    assert main([*common, "--seeds", "3", "--only", "forward"]) == 0
    assert sweeps.groups(tmp_path / "out" / "sweep.zarr") == ("forward", "gradient")
    assert sweeps.open(tmp_path / "out" / "sweep.zarr", "gradient").identical(first)
    assert sweeps.open(tmp_path / "out" / "sweep.zarr", "forward").sizes["seed"] == 3


def test_a_latent_has_no_backward_map(capsys):
    assert "a dense layer takes a latent" in _fails(capsys, "overlap", "dense 4x4, deconv k3 s2", "--backward")

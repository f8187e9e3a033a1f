"""Rows, tables and figures of sweeps over grids, against NumPy written out here; and the command that writes them."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import re
import runpy
import types

import numpy as np
import pytest

from checkerjax import plots, sweeps
from checkerjax.cli import main
from checkerjax.sweeps._grid_report import _escape
from checkerjax.sweeps._grid_rows import counted_ratio, short_names

xarray = pytest.importorskip("xarray")
pytest.importorskip("matplotlib")

made = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("sweep_datasets.py"))))


@pytest.fixture(scope="module")
def dataset():
    return made.dataset(made.GRID, np.random.default_rng(7))


@pytest.fixture(scope="module")
def rows(dataset):
    return sweeps.grid_rows(dataset)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = tmp_path_factory.mktemp("sweep") / "tiny.zarr"
    sweeps.sweep(sweeps.Grid(kernel=(3, 4), stride=2, width=2), seeds=4, store=place)
    return place


def _resampled(rng, numerator, denominator, draws=20000):
    """The middle 95% of a ratio of sums over resampled seeds, and how far 1000 resamples may be off."""
    taken = rng.integers(len(numerator), size=(draws, len(numerator)))
    ratios = numerator[taken].sum(1) / denominator[taken].sum(1)
    return np.quantile(ratios, [0.025, 0.975]), 0.5 * float(np.std(ratios))


def test_shares_are_ratios_of_sums_over_seeds_and_images(rng):
    dataset = made.dataset([made.label(depth=2.0), made.label(kernel=5.0)], rng, seeds=40, images=3)
    rows = sweeps.grid_rows(dataset)
    assert [row.period for row in rows] == [4, 2]
    for i, row in enumerate(rows):
        lines, variance, dc = (dataset[name].values[i] for name in ("line_power", "variance", "dc_power"))
        for period, share in row.line_shares.items():
            column = [2, 4].index(period)
            total = sum(lines[s, m, column] for s in range(40) for m in range(3))
            power = sum(variance[s, m] for s in range(40) for m in range(3))
            assert share.value == pytest.approx(total / power, rel=1e-12)
        assert set(row.line_shares) == ({2, 4} if i == 0 else {2})
        assert row.line_share == row.line_shares[row.period]
        longest, every = lines[..., [2, 4].index(row.period)].sum(1), variance.sum(1)
        assert row.total_share.value == pytest.approx(longest.sum() / (every + dc.sum(1)).sum(), rel=1e-12)
        for interval, powers in ((row.line_share, every), (row.total_share, every + dc.sum(1))):
            expected, margin = _resampled(rng, longest, powers)
            np.testing.assert_allclose(interval[1:], expected, atol=margin)


def test_single_seeds_are_shares_and_decibels_with_quantiles(rng):
    dataset = made.dataset([made.label()], rng, seeds=40, images=2)
    (row,) = sweeps.grid_rows(dataset)
    lines, variance = dataset.line_power.values[0, :, :, 0].sum(1), dataset.variance.values[0].sum(1)
    share, decibels = np.sort(lines / variance), np.sort(10 * np.log10(lines / (variance - lines)))
    for values, found in ((share, row.share_each), (decibels, row.decibels_each)):
        at = np.array([19.5, 39 * 0.05, 39 * 0.95])  # places among 40 sorted values
        below = np.floor(at).astype(int)
        expected = values[below] + (at - below) * (values[below + 1] - values[below])
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert row.zero_share == pytest.approx(np.sort(dataset.zero_share.values[0])[19:21].mean(), rel=1e-12)


def test_fields_of_lines_only_or_of_nothing_have_infinite_decibels(rng):
    dataset = made.dataset([made.label(), made.label(kernel=4.0), made.label(kernel=5.0)], rng)
    dataset["line_power"][0] = dataset.variance.values[0][..., None] * (1 - 3e-7)  # what float32 leaves of a rest of 0
    dataset["variance"][1] = 1e-13 * dataset.dc_power[1]  # what it leaves of a flat field
    dataset["line_power"][1] = 0.7 * dataset["variance"][1]
    dataset["line_power"][2] = -1e-9
    lines, flat, none = sweeps.grid_rows(dataset)
    assert lines.line_share == lines.share_each == (1, 1, 1)
    assert lines.decibels_each == (np.inf,) * 3
    for row in (flat, none):
        assert row.line_share == row.total_share == row.share_each == (0, 0, 0)
        assert row.decibels_each == (-np.inf,) * 3
    half = dataset.copy(deep=True)
    half["line_power"][0, : made.SEEDS // 3] = 0.5 * half["variance"][0, : made.SEEDS // 3]
    row = sweeps.grid_rows(half)[0]
    assert row.decibels_each.value == np.inf
    assert row.decibels_each.low == pytest.approx(0)


def test_phase_ratios_are_of_the_own_period_and_of_groups_that_are_done(rng):
    dataset = made.dataset([made.label(depth=2.0), made.label()], rng, seeds=160, images=2)
    dataset["phase_power"][1, 5] = np.nan
    for row, own, groups in zip(sweeps.grid_rows(dataset), (4, 2), (range(40), [i for i in range(40) if i != 5])):
        powers = dataset["phase_power"].values[0 if own == 4 else 1]
        sums = np.zeros((own, own))
        for group in groups:
            for image in range(2):
                sums += powers[group, image, :own, :own]
        assert row.phase_ratio.value == pytest.approx(sums.max() / sums.min(), rel=1e-12)
        each = powers[list(groups), :, :own, :own].sum(1).reshape(len(groups), -1)
        pair = each[:, [sums.argmax(), sums.argmin()]]
        expected, margin = _resampled(rng, *pair.T)
        np.testing.assert_allclose(row.phase_ratio[1:], expected, atol=margin)
        shuffled = [np.stack([rng.permutation(seed) for seed in each]).sum(0) for _ in range(400)]
        ratios = [one.max() / one.min() for one in shuffled]
        # Of 400 and of 500 rearrangements: 2.2% of them may lie to either side by chance, 5 standard errors 7%.
        assert np.quantile(ratios, 0.88) <= row.chance <= max(ratios)


def test_powers_of_every_seed_need_no_groups(rng):
    dataset = made.dataset([made.label()], rng, group=1)
    _, _, *dims = dataset.phase_power.dims
    of_seeds = dataset.assign(phase_power=(("config", "seed", *dims), dataset.phase_power.values))
    assert sweeps.grid_rows(of_seeds) == sweeps.grid_rows(dataset)


def test_seeds_that_are_not_done_are_as_if_never_asked_for(rng):
    whole = made.dataset([made.label(), made.label(depth=2.0)], rng, seeds=24)
    part = whole.copy(deep=True)
    for name in ("line_power", "variance", "dc_power", "zero_share"):
        part[name][0, 8:16] = np.nan  # a chunk in the middle
    part["phase_power"][0, 2:4] = np.nan
    fewer = whole.isel(seed=[*range(8), *range(16, 24)], group=[0, 1, 4, 5])
    assert sweeps.grid_rows(part)[0] == sweeps.grid_rows(fewer)[0]
    assert [row.seeds for row in sweeps.grid_rows(part)] == [16, 24]
    part["variance"][1] = np.nan
    assert [row.name for row in sweeps.grid_rows(part)] == [whole.config.values[0]]
    assert "\n1 of 2 configurations have no seed yet." in sweeps.grid_table(part)
    assert "16 of 24 seeds" in sweeps.grid_table(part)
    part["variance"][0] = np.nan
    assert sweeps.grid_rows(part) == []
    for style in ("text", "markdown", "latex", "csv"):
        assert "configuration" in sweeps.grid_table(part, style=style)


def test_one_of_its_kind_has_no_interval(rng):
    (row,) = sweeps.grid_rows(made.dataset([made.label()], rng, seeds=4))
    assert row.line_share.low < row.line_share.value < row.line_share.high
    assert np.isfinite(row.phase_ratio.value)
    assert np.isnan(row.phase_ratio[1:]).all()
    (row,) = sweeps.grid_rows(made.dataset([made.label()], rng, seeds=1, group=1))
    assert 0 < row.line_share.value == row.share_each.low == row.share_each.high < 1
    assert np.isnan([*row.line_share[1:], *row.total_share[1:]]).all()


def test_many_seeds_are_resampled_in_blocks(rng):
    dataset = made.dataset([made.label()], rng, seeds=3000)
    (row,) = sweeps.grid_rows(dataset)
    lines, variance = dataset.line_power.values[0, :, 0, 0], dataset.variance.values[0, :, 0]
    assert row.line_share.value == pytest.approx(lines.sum() / variance.sum(), rel=1e-12)
    expected, margin = _resampled(rng, lines, variance, 2000)
    np.testing.assert_allclose(row.line_share[1:], expected, atol=margin)
    sums = dataset.phase_power.values[0].sum((0, 1))
    assert row.phase_ratio.value == pytest.approx(sums.max() / sums.min(), rel=1e-12)


def test_images_that_a_configuration_does_not_have_are_left_out(rng):
    dataset = made.dataset([made.label(), made.label(kernel=4.0)], rng, images=2)
    for name in ("line_power", "variance", "dc_power"):
        dataset[name][1, :, 1] = np.nan
    dataset["phase_power"][1, :, 1] = np.nan
    alone = dataset.isel(image=[0])
    assert sweeps.grid_rows(dataset)[1] == sweeps.grid_rows(alone)[1]


def test_labels_are_the_axes_that_a_configuration_has(rng):
    own = made.label(kernel=float("nan"), width=4.0, activation="") | {"family": "deconv k3 s2, deconv k3 s2"}
    dataset = made.dataset([made.label(), made.label(kernel=4.0)], rng)
    for name, value in own.items():
        values = list(dataset[name].values)
        dataset = dataset.assign_coords({name: ("config", [values[0], value])})
    first, second = (row.labels for row in sweeps.grid_rows(dataset))
    assert first["kernel"] == 3
    assert isinstance(first["kernel"], int)
    assert "kernel" not in second
    assert "activation" not in second
    assert second["family"] == "deconv k3 s2, deconv k3 s2"


COUNTED = [
    ({"stack": "deconv k3 s2"}, 4.0),
    ({"stack": "deconv k3 s2, relu, deconv k3 s2", "periods": [2, 4]}, 9.0),
    ({"stack": "deconv k3 s2, relu, deconv k3 s2"}, 4.0),  # 3 2 3 1 folded to the two phases that are measured
    ({"stack": "deconv k3 s4", "periods": [8], "size": 3}, np.inf),
    ({"stack": "deconv k3 s4", "periods": [2], "size": 3}, 4.0),  # 1 1 1 0, folded
    ({"stack": "deconv k3 s8, conv k1 s3", "periods": [3], "size": 1}, None),  # 3 samples, and a period of 8
    ({"stack": "conv k3 s2, conv k3 s2", "direction": "gradient", "size": 32}, 4.0),
    ({"stack": "deconv k4 s2, leaky_relu, deconv k5 s2 c3, tanh", "periods": [2, 4]}, 2.25),
    ({"stack": "deconv k2 s3", "periods": [3]}, np.inf),
    ({"stack": "resize k3 s2"}, 1.0),
    ({"stack": "resize k3 s2 linear"}, None),
    ({"stack": "subpixel k3 s2", "initialiser": "lecun"}, 1.0),
    ({"stack": "subpixel k3 s2", "initialiser": "icnr"}, None),
    ({"stack": "deconv k4 s2", "initialiser": "icnr"}, None),
    ({"stack": "resize k3 s2", "initialiser": "icnr"}, 1.0),
    ({"stack": "deconv k3 s2, tanh, deconv k3 s2"}, None),
    ({"stack": "conv k3, maxpool k2 s2"}, None),
    ({"stack": "conv k3, avgpool k2 s2"}, None),
    ({"stack": "deconv k3 s2, batchnorm"}, None),
    ({"stack": "conv k3 s2", "direction": "gradient"}, 4.0),
    ({"stack": "conv k5 s2, relu", "direction": "gradient", "cotangent": "white"}, 2.25),
    ({"stack": "conv k3 s2", "direction": "gradient", "cotangent": "mse"}, None),
    ({"stack": "conv k3 s2, tanh", "direction": "gradient"}, None),
    ({"stack": "conv k3 s2", "direction": "weights"}, None),
    ({"direction": "forward"}, None),  # a function has no stack
]


@pytest.mark.parametrize(("described", "expected"), COUNTED, ids=[str(one) for one, _ in COUNTED])
def test_paths_are_counted_where_they_predict_the_ratio(described, expected):
    whole = {"direction": "forward", "cotangent": "probe", "size": 16, "periods": [2], "initialiser": "lecun"}
    assert counted_ratio(whole | described) == expected


def test_a_dataset_of_something_else_is_refused():
    with pytest.raises(ValueError, match="grid_rows: the dataset is not of a sweep"):
        sweeps.grid_rows(xarray.Dataset())


def test_names_keep_what_differs_and_the_caption_the_rest(dataset, rows):
    names, shared = short_names(rows)
    assert len(set(names.values())) == len(made.GRID)
    assert sorted(names.values())[0] == "deconv k3 s2 x1 forward"
    assert shared == (
        "width 8, activation relu, initialiser lecun, input probe (forward) and white (gradient), cotangent probe"
    )
    three = [row._replace(labels=row.labels | {"direction": d, "input": i}) for row, d, i in zip(rows, "abc", "xyy")]
    assert "input x (a) and y (b, c)" in short_names(three)[1]
    names, _ = short_names(rows, without=("direction",))
    assert len(set(names.values())) == len(made.GRID) / 2
    bare = sweeps.grid_rows(dataset.drop_vars("family"))
    assert short_names(bare) == ({row.name: row.name for row in bare}, "")


def _split_markdown(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_table_for_terminals_is_narrow_and_sorted(dataset, rows):
    lines = sweeps.grid_table(dataset, most=5).splitlines()
    assert max(map(len, lines)) <= 100
    assert f"{len(made.GRID) - 5} of {len(made.GRID)} configurations, with fewer lines, are left out." == lines[-1]
    rule = next(i for i, line in enumerate(lines) if set(line) == {"-"})
    assert lines[rule - 1].split() == "configuration lines of all phases chance counted zeros".split()
    assert any(line.startswith("Lines: ") for line in lines[: rule - 1])
    assert any(line.startswith("Phases: ") for line in lines[: rule - 1])
    by_name = {row.name: row for row in rows}
    names, _ = short_names(rows)
    for line, name in zip(lines[rule + 1 : -1], made.worst(dataset)):
        row = by_name[name]
        assert line.startswith(f"{names[name]}  ")
        assert f"  {row.line_share.value:.2f} [{row.line_share.low:.2f}, {row.line_share.high:.2f}]  " in line
        assert f"  {row.phase_ratio.value:.2f} [{row.phase_ratio.low:.2f}, {row.phase_ratio.high:.2f}]" in line
        assert line.endswith(f"  {100 * row.zero_share:.0f}%")
    assert len(lines) - rule - 2 == 5


def test_names_that_leave_no_room_stand_alone(rng):
    names = ["x" * 30, "a long stack, " * 20]
    dataset = made.dataset([made.label(), made.label(kernel=4.0)], rng).drop_vars("family")
    described = json.loads(dataset.attrs["configurations"])
    for one, name in zip(described, names):
        one["name"] = name
    dataset = dataset.assign_coords(config=names).assign_attrs(configurations=json.dumps(described))
    text = sweeps.grid_table(dataset)
    assert max(map(len, text.splitlines())) <= 100
    assert " ".join(text.split()).count("a long stack,") == 20
    assert "x" * 30 in text


def test_markdown_has_as_many_cells_in_every_row(dataset, rows):
    text = sweeps.grid_table(dataset, style="markdown", most=7, rows=rows)
    caption, empty, *table = text.splitlines()
    assert empty == ""
    assert "Lines: " in caption
    assert "left out" in caption
    header, marks, *lines = map(_split_markdown, table)
    assert {len(line) for line in (header, marks, *lines)} == {11}
    assert set("".join(marks)) == {"-", ":"}
    assert len(lines) == 7
    by_name = {row.name: row for row in rows}
    names, _ = short_names(rows)
    for cells, name in zip(lines, made.worst(dataset)):
        found = dict(zip(header, cells))
        assert found["configuration"] == names[name]
        assert found["seeds"] == str(made.SEEDS)
        assert found["period"] == str(by_name[name].period)
        value, low, high = by_name[name].decibels_each
        assert found["each, dB"] == f"{value:.1f} [{low:.1f}, {high:.1f}]"


def test_cells_of_markdown_and_latex_are_escaped(rng):
    dataset = made.dataset([made.label(initialiser="a_b|c"), made.label(initialiser="50% & #1")], rng)
    table = sweeps.grid_table(dataset, style="markdown").splitlines()[2:]
    assert {len(_split_markdown(line)) for line in table} == {11}
    assert any(r"a\_b\|c" in line for line in table)
    latex = sweeps.grid_table(dataset, style="latex")
    assert r"a\_b\textbar{}c" in latex
    assert r"50\% \& \#1" in latex


def test_latex_balances_and_has_as_many_columns_in_every_row(dataset):
    infinite = dataset.copy(deep=True)
    infinite["line_power"][0] = infinite["variance"].values[0][..., None]
    text = sweeps.grid_table(infinite, style="latex")
    bare = re.sub(r"\\[{}%&_#$\\]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1] == ["table", "tabular"]
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{rule}\n") == 1
    columns = len(re.findall(r"\\begin\{tabular\}\{(l?r*)\}", text)[0])
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(made.GRID) + 1
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {columns}
    assert not re.search(r"(?<!\\)[%_#]", text.split("\n", 1)[1])
    assert r"$\infty$" in text
    assert "inf" not in re.sub(r"\\infty", "", text)
    assert r"\caption{12 seeds; all: " in text


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ("a_b", r"a\_b"),
        ("-1.5 [-inf, 2.0]", r"$-$1.5 [$-$$\infty$, 2.0]"),
        ("leaky-relu 1e-3", "leaky-relu 1e-3"),
        ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
    ],
)
def test_latex_text(plain, expected):
    assert _escape(plain) == expected


def test_csv_gives_every_number_back(dataset):
    holes = dataset.copy(deep=True)
    holes["line_power"][0] = holes["variance"].values[0][..., None]
    holes["phase_power"][2] = np.nan
    table = list(csv.DictReader(io.StringIO(sweeps.grid_table(holes, style="csv"))))
    rows = {row.name: row for row in sweeps.grid_rows(holes)}
    assert {line["configuration"] for line in table} == set(rows)
    for line in table:
        row = rows[line["configuration"]]
        assert {axis: line[axis] for axis in row.labels} == {axis: str(value) for axis, value in row.labels.items()}
        assert (int(line["seeds"]), int(line["period_samples"])) == (row.seeds, row.period)
        for name, interval in (
            ("line_share", row.line_share),
            ("line_share_with_dc", row.total_share),
            ("phase_ratio", row.phase_ratio),
        ):
            for end, value in zip(("", "_low95", "_high95"), interval):
                assert line[name + end] == ("" if np.isnan(value) else repr(value))
        for name, interval in (("seed_line_share", row.share_each), ("seed_lines_over_rest_db", row.decibels_each)):
            for end, value in zip(("_median", "_quantile05", "_quantile95"), interval):
                assert float(line[name + end]) == value
        for period in dataset.period.values:
            expected = repr(row.line_shares[period].value) if period in row.line_shares else ""
            assert line[f"line_share_period{period}"] == expected
        assert line["counted_phase_ratio"] == ("" if row.counted is None else repr(row.counted))
        assert float(line["zero_share_median"]) == row.zero_share
        assert line["chance_phase_ratio"] == ("" if np.isnan(row.chance) else repr(row.chance))
    assert [line["configuration"] for line in table][1:3] == [n for n in made.worst(holes) if n in rows][1:3]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"style": "html"}, ValueError, "grid_table: style must be one of text, markdown, latex, csv; got 'html'"),
        ({"most": 0}, ValueError, "grid_table: most must be at least 1; got 0"),
        ({"most": 1.5}, TypeError, "grid_table: most must be an int; got 1.5"),
    ],
)
def test_grid_table_refuses(dataset, options, error, message):
    with pytest.raises(error, match=message):
        sweeps.grid_table(dataset, **options)


def test_tables_are_written_whole(tmp_path, dataset, rows, monkeypatch):
    files = sweeps.save_tables(dataset, tmp_path / "deeper" / "tables")
    assert [path.name for path in files] == ["table.txt", "table.md", "table.tex", "table.csv"]
    for path, style in zip(files, ("text", "markdown", "latex", "csv")):
        assert path.read_text() == sweeps.grid_table(dataset, style=style, rows=rows) + "\n"
        assert path.stat().st_mode & 0o777 == 0o644
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        sweeps.save_tables(dataset.isel(config=[0]), tmp_path / "deeper" / "tables")
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(path.name for path in files)
    assert files[0].read_text() == sweeps.grid_table(dataset, rows=rows) + "\n"


FILES = ["heatmaps.png", "intervals.png", "spectra.png", "table.csv", "table.md", "table.tex", "table.txt"]


def test_the_command_writes_tables_and_figures_beside_the_store(store, capsys):
    assert main(["report", str(store)]) == 0
    out, err = capsys.readouterr()
    folder = store.parent / "tiny-report"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    table = (folder / "table.txt").read_text()
    assert err == ""
    assert out.startswith(table)
    assert out[len(table) :].startswith(f"written: {folder}: table.txt, ")
    assert all(name in out for name in FILES)
    assert "\ndeconv k3 s2  " in table
    assert "all: depth 1, width 2, " in table
    stored = sweeps.open(store)
    assert table == sweeps.grid_table(stored) + "\n"
    lines = csv.DictReader(io.StringIO((folder / "table.csv").read_text()))
    counted = {line["kernel"]: line["counted_phase_ratio"] for line in lines}
    assert counted == {"3": "4.0", "4": "1.0"}
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["report", str(store)]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_command_reads_a_store_that_is_still_written(tmp_path, capsys):
    place, asked = tmp_path / "part.zarr", []
    grid = sweeps.Grid(kernel=(3, 4), stride=2, width=2)
    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep(grid, seeds=4, store=place, stop=lambda: asked.append(1) or len(asked) > 0)
    assert main(["report", str(place), "--out", str(tmp_path / "here"), "--format", "svg"]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 configurations have no seed yet." in out
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [f.replace("png", "svg") for f in FILES]
    assert "grey: no seed yet" in (tmp_path / "here" / "heatmaps.svg").read_text()


def test_stacks_of_their_own_have_no_heat_map(tmp_path, capsys, monkeypatch, rng):
    dataset = made.dataset([made.label()], rng).drop_vars(["kernel", "stride", "spectrum"])
    monkeypatch.setattr(sweeps, "open", lambda place: dataset)
    assert main(["report", str(tmp_path / "a.zarr")]) == 0
    out = capsys.readouterr().out
    assert "not drawn: heatmaps, no configuration with a kernel and a stride has seeds\n" in out
    assert "not drawn: spectra, none are stored\n" in out
    assert sorted(path.name for path in (tmp_path / "a-report").iterdir()) == [
        name for name in FILES if name not in ("heatmaps.png", "spectra.png")
    ]


def test_the_command_reports_the_main_job_as_it_was_reported(tmp_path, capsys, monkeypatch, rng):
    datasets = {group: made.dataset([made.label(direction=group)], rng) for group in ("forward", "gradient")}
    sweeps.save(datasets, tmp_path / "sweep.zarr")
    seen = []
    monkeypatch.setattr(sweeps, "report", lambda found: seen.append(list(found)) or "the table")
    monkeypatch.setattr(
        plots, "sweep_figure", lambda found: seen.append(list(found)) or plots.grid_intervals(datasets["forward"])
    )
    assert main(["report", str(tmp_path / "sweep.zarr"), "--format", "pdf"]) == 0
    folder = tmp_path / "sweep-report"
    assert capsys.readouterr().out == f"the table\nwritten: {folder / 'sweep.txt'}, {folder / 'sweep.pdf'}\n"
    assert (folder / "sweep.txt").read_text() == "the table\n"
    assert (folder / "sweep.pdf").read_bytes().startswith(b"%PDF")
    assert seen == 2 * [["forward", "gradient"]]


def _refused(capsys, *arguments):
    assert main(["report", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_the_command_refuses_in_one_line(tmp_path, capsys, store, monkeypatch, dataset):
    assert "none.zarr/' is not a sweep of checkerjax" in _refused(capsys, tmp_path / "none.zarr")
    (tmp_path / "foreign.zarr").mkdir()
    (tmp_path / "foreign.zarr" / "zarr.json").write_text("{}")
    assert "is not a sweep of checkerjax" in _refused(capsys, tmp_path / "foreign.zarr")
    sweeps.save({"other": dataset.isel(config=[0])}, tmp_path / "other.zarr")
    assert "other.zarr' has the groups other; give a store that" in _refused(capsys, tmp_path / "other.zarr")
    (tmp_path / "file").write_text("")
    assert "cannot write into the folder" in _refused(capsys, store, "--out", tmp_path / "file")
    (tmp_path / "out" / "table.md").mkdir(parents=True)
    assert "table.md' is a folder, and a file should go there" in _refused(capsys, store, "--out", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["table.md"]
    empty = dataset.copy(deep=True)
    empty["variance"][:] = np.nan
    monkeypatch.setattr(sweeps, "open", lambda place: empty)
    assert "report: no seed in 'gs://b/a.zarr' is done yet." in _refused(capsys, "gs://b/a.zarr", "--out", tmp_path)
    monkeypatch.setattr(sweeps, "open", lambda place: dataset)
    assert "has no folder beside it here; give one with --out" in _refused(capsys, "gs://b/a.zarr")

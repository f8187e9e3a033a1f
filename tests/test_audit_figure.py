"""Figures of audits: that they show the numbers of the report, and can be read."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import runpy
import types

import numpy as np
import pytest

from checkerjax.audits._report import AuditReport
from checkerjax.audits._report_parts import Outcome, Thresholds, Traced
from checkerjax.plots._audit import MOST, audit_figure, lattice_frequencies, lattice_panel, line_panel
from checkerjax.plots._audit_bars import GRADE_COLOURS, NO_GRADE

Figure = pytest.importorskip("matplotlib.figure").Figure
FigureCanvasAgg = pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg
to_hex = pytest.importorskip("matplotlib.colors").to_hex

made = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("audit_reports.py"))))


def drawn_texts(figure):
    """All texts with their places, after drawing."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [t for axes in figure.axes for t in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    for axis in (each for axes in figure.axes if axes.axison for each in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    texts.append(figure._suptitle)
    return [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_visible() and t.get_text()]


@pytest.mark.parametrize("name", made.ALL)
def test_texts_neither_overlap_nor_leave_the_figure(name):
    figure = made.ALL[name]().figure()
    boxes = drawn_texts(figure)
    assert all(b.x0 >= 0 and b.y0 >= 0 for _, b in boxes)
    assert all(b.x1 <= figure.bbox.x1 + 1 and b.y1 <= figure.bbox.y1 + 1 for _, b in boxes)
    pairs = itertools.combinations(boxes, 2)
    assert [(a, b) for (a, box), (b, other) in pairs if box.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9))] == []


def bars(axes):
    """Ends and colours of bars, from the top."""
    found = sorted(axes.patches, key=lambda bar: bar.get_y())
    return [bar.get_x() + bar.get_width() for bar in found], [to_hex(bar.get_facecolor()).upper() for bar in found]


def test_bars_are_the_trace_forward_and_the_findings_backward():
    report = made.unet()
    figure = audit_figure(report)
    panels = [axes for axes in figure.axes if axes.get_title() == "phase power ratio"]
    lines = [axes for axes in figure.axes if axes.get_title().endswith("lines over DC")]
    for axes, rows in zip(panels, (report.trace, report.backward)):
        ends, colours = bars(axes)
        assert ends == pytest.approx([row.power_ratio for row in rows])
        assert colours == [GRADE_COLOURS.get(row.grade, NO_GRADE).upper() for row in rows]
        assert [t.get_text() for t in axes.texts] == [f"{row.power_ratio:.3g}" for row in rows]
    assert all(np.subtract(*axes.get_ylim()) > 0 for axes in (*lines, *panels))  # the first on top
    ends, _ = bars(lines[0])
    assert ends == pytest.approx([max(row.lattice_ratio, 1e-6) for row in report.trace])
    names = [t.get_text() for t in lines[1].get_yticklabels()]
    assert names == [f"Down_{i}  up k2 s2" for i in (3, 2, 1, 0)]  # the module that all begin with says nothing
    assert [t.get_text() for t in figure.subfigs[1].legends[0].get_texts()] == ["untied", "tied", "no grade"]


def test_limits_are_those_of_the_report_and_numbers_above_them_bold():
    report = made.dcgan()
    limits = Thresholds(1.0, 4.0)
    report = dataclasses.replace(report, settings=dataclasses.replace(report.settings, thresholds=limits))
    figure = audit_figure(report)
    for axes, limit, values in zip(figure.axes[-2:], limits, ((0.71, 1.28, 2.31), (2.4, 4.43, 6.74))):
        assert np.asarray(axes.lines[0].get_xdata())[0] == limit
        assert [t.get_fontweight() == "bold" for t in axes.texts] == [v > limit for v in values]


def test_what_has_no_bars_is_said_in_a_sentence():
    """All of a classifier's forward operations have no lines and powers of 1: an empty panel would say nothing."""
    report = made.resnet()
    figure = report.figure()
    (said,) = [a for a in figure.axes if a.get_title("left")]
    assert said.get_title("left") == "forward: no lines and equal phase powers after all 16 operations"
    assert not said.axison
    assert not said.patches
    assert [t.get_text() for t in figure.subfigs[0].legends[0].get_texts()] == ["holes", "uneven"]
    trace = tuple(t._replace(power_ratio=1.01) for t in report.trace)
    again = dataclasses.replace(report, trace=trace).figure()
    assert not [a for a in again.axes if a.get_title("left")]


def test_lines_of_flat_inputs_are_in_the_spectrum():
    noise, flat = np.ones((8, 8)), np.zeros((8, 8))
    flat[4, 0] = 99.0
    report = AuditReport("lines", (), (), Outcome(0.5, 1.0, period=(2, 2)), spectrum=noise, flat_spectrum=flat)
    shown = np.asarray(report.figure().axes[0].images[0].get_array())
    assert shown[0, 4] == pytest.approx(20)  # 1 + 99 over the median; 1/2 along y, the middle of x
    assert np.count_nonzero(np.abs(shown) > 1e-9) == 1


def test_ticks_do_not_make_an_axis_longer():
    axes = Figure().subplots()
    lattice_panel(axes, np.ones((4, 4)), (4, 4))
    assert axes.get_xlim() == pytest.approx((-0.625, 0.375))
    assert axes.get_ylim() == pytest.approx((0.375, -0.625))


def test_infinite_ratios_end_with_the_axis():
    axes = next(a for a in made.resnet().figure().axes if a.get_title() == "phase power ratio")
    ends, _ = bars(axes)
    assert ends[0] == pytest.approx(axes.get_xlim()[1])
    assert axes.texts[0].get_text() == "inf"


def test_of_many_operations_the_last_are_drawn():
    report = made.forty()
    axes = next(a for a in report.figure().axes if a.get_title().startswith("forward, the last 40 of 120"))
    ends, _ = bars(axes)
    assert ends == pytest.approx([max(t.lattice_ratio, 1e-6) for t in report.trace[-MOST:]])


@pytest.mark.parametrize("period", [(2,), (3,), (4, 2), (5, 5), (2, 1, 3), (1, 1)])
def test_the_lattice_is_the_multiples_of_one_over_the_period(period):
    expected = set()
    for index in itertools.product(*map(range, period)):
        if any(index):
            expected.add(tuple(round((i / p + 0.5) % 1 - 0.5, 12) for i, p in zip(index, period)))
    found = lattice_frequencies(period)
    assert {tuple(round(float(v), 12) for v in row) for row in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("shape", [(32, 48), (30, 45), (27, 33)])
def test_rings_lie_on_the_bins_of_their_lines(shape):
    """A peak in FFT order is drawn within half a bin of a ring."""
    period = (2 if shape[0] % 2 == 0 else 3, 3)
    power = np.ones(shape)
    for index in itertools.product(*map(range, period)):
        if any(index):
            power[tuple(i * n // p for i, n, p in zip(index, shape, period))] = 1e4
    axes = Figure().subplots()
    lattice_panel(axes, power, period)
    image = axes.images[0]
    shown = np.asarray(image.get_array())
    left, right, low, high = image.get_extent()
    rows, columns = np.nonzero(shown > 30)
    y = high + (rows + 0.5) * (low - high) / shape[0]
    x = left + (columns + 0.5) * (right - left) / shape[1]
    rings = np.stack([axes.lines[0].get_ydata(), axes.lines[0].get_xdata()], -1).astype(float)
    assert len(rows) == len(rings) == period[0] * period[1] - 1
    for place in zip(y, x):
        assert (np.abs(rings - np.array(place)) * np.array(shape)).max(axis=1).min() < 0.51


def test_lines_of_a_volume_are_seen_whatever_their_depth():
    power = np.ones((8, 16, 16))
    power[4, 8, 0] = 1e4  # 1/2 along z and y
    axes = Figure().subplots()
    lattice_panel(axes, power, (2, 2, 2))
    assert np.asarray(axes.images[0].get_array())[0, 8] == pytest.approx(40)
    assert "largest along z" in axes.get_title()


@pytest.mark.parametrize(("n", "period"), [(64, 4), (99, 3), (6144, 256)])
def test_dots_of_a_signal_are_its_lines(n, period):
    power = np.random.default_rng(0).uniform(0.5, 2, n)
    axes = Figure().subplots()
    line_panel(axes, power, (period,))
    curve, dots = axes.lines
    at = np.arange(1, period // 2 + 1) / period
    np.testing.assert_allclose(dots.get_xdata(), at)
    expected = [10 * np.log10(power[round(n * f)] / np.median(power)) for f in at]
    np.testing.assert_allclose(dots.get_ydata(), expected)
    assert np.max(curve.get_ydata()) == pytest.approx(10 * np.log10(power[: n // 2 + 1].max() / np.median(power)))


def test_too_many_lines_are_not_ringed():
    axes = Figure().subplots()
    lattice_panel(axes, np.ones((64, 64)), (32, 32))
    assert not axes.lines
    assert "too many lines to ring" in axes.get_title()


def test_what_was_only_counted_shows_its_paths_and_grades():
    figure = made.static().figure()
    counts, grades = figure.axes[:2]
    assert [bar.get_height() for bar in counts.patches] == [6, 4, 6, 4]
    assert bars(grades)[1] == [
        c.upper() for c in (GRADE_COLOURS["uneven"], NO_GRADE, GRADE_COLOURS["untied"], NO_GRADE)
    ]


def test_a_report_with_nothing_in_it_has_a_figure(tmp_path):
    report = AuditReport("clean", (), (), Outcome(0.0, 1.0))
    report.figure(tmp_path / "empty.svg")
    one = AuditReport("clean", (), (), Outcome(0.0, float("nan")), spectrum=np.zeros((4, 4)),
                      trace=(Traced("$\\frac{", "a$b$", "", float("nan"), None, None),))  # fmt: skip
    one.figure(tmp_path / "odd.png")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure_has_the_same_bytes_again(tmp_path, suffix):
    paths = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for path in paths:
        made.dcgan().figure(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_other_endings_are_refused_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("checkerjax.plots._audit.audit_figure", lambda _: pytest.fail("drawn"))
    with pytest.raises(ValueError, match=r"figure: the ending of the file must be one of .*; got '\.gif'"):
        made.clean().figure(tmp_path / "a.gif")

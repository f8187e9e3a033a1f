"""The figure of an audit: the output's spectrum with its lattice, beside what each operation does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from checkerjax.audits._finding import Finding
from checkerjax.audits._report import AuditReport
from checkerjax.audits._report_contents import headline
from checkerjax.audits._report_parts import Traced
from checkerjax.audits._report_sentences import hidden_sentences, verdict_sentence
from checkerjax.audits._report_words import per_axis, size, wrapped
from checkerjax.plots._audit_bars import Bar, bar_panels, bars_height, is_idle, legend, without_root
from checkerjax.plots._files import COLOURS, STYLE, import_matplotlib
from checkerjax.plots._measure import DECIBELS, MOST_RINGS, RING, _decibels, _peaks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

WIDTH, LEFT = 10.0, 3.7  # inches, of all and of the spectrum
LEAST_HEIGHT = 3.6
TITLE_COLUMNS = 125  # of the sentence above all
MOST = 40  # bars of a direction
_BAR: dict[str, Any] = {"fraction": 0.046, "pad": 0.03}


def audit_figure(report: AuditReport) -> Figure:
    """Draws the mean spectrum of the output, its lattice ringed, beside bars for every operation.

    The spectrum is the power under the flat probe and that under the white one, added. Bars are of the lines and of the
    phase powers after each spatial operation, forward and in gradients. What was only counted has its grades as
    colours, and the counted paths in the place of the spectrum.

    Args:
      report: of `audit`.

    Returns:
      A matplotlib figure, for `save`.

    Raises:
      ModuleNotFoundError: without matplotlib; the message says what to install.
    """
    matplotlib = import_matplotlib("audit_figure")
    named = (
        ("forward", _forward(report)),
        ("gradient of the input", _gradient(report.backward_trace, report.backward)),
        ("gradient of the loss", _gradient(report.loss_trace, report.loss)),
    )
    groups = without_root([(name, bars) for name, bars in named if bars])
    heights = [bars_height(bars[-MOST:]) for _, bars in groups]
    left = _left_panel(report)
    said = [verdict_sentence(report), *(text.partition(". ")[0] + "." for text in hidden_sentences(report))]
    title = [f"verdict: {headline(report)}", *(line for text in said for line in wrapped(text, TITLE_COLUMNS, ""))]
    with matplotlib.rc_context(STYLE):
        height = max(LEAST_HEIGHT, sum(heights) + 0.3) + 0.15 * len(title)
        figure = matplotlib.figure.Figure(figsize=(WIDTH, height), layout="constrained")
        figure.suptitle("\n".join(title), parse_math=False)
        widths = (LEFT, WIDTH - LEFT) if left else (WIDTH,)
        parts = iter(figure.subfigures(1, len(widths), width_ratios=widths, squeeze=False)[0])
        if left:
            _left(_top(next(parts), height - 0.15 * len(title)), left, report)
        if groups:
            _right(next(parts), groups, heights, report)
    return figure


def _forward(report: AuditReport) -> list[Bar]:
    return [_traced(t) for t in report.trace]


def _gradient(trace: Sequence[Traced], findings: Sequence[Finding]) -> list[Bar]:
    """The trace, or the findings of a report without one."""
    found = []
    for f in findings:
        sizes = [f"{letter}{per_axis(values)}" for letter, values in (("k", f.kernel_size), ("s", f.stride)) if values]
        grade = None if f.role == "unknown" else f.grade
        label = " ".join([f.role, *sizes])
        found.append(Bar(label, f.path or f.source, f.lattice_ratio, f.power_ratio, grade, f.power_chance))
    return [_traced(t) for t in trace] or found


def _traced(traced: Traced) -> Bar:
    ratios = traced.lattice_ratio, traced.power_ratio
    return Bar(traced.label, traced.path or traced.source, *ratios, traced.grade, traced.power_chance)


def _right(part: SubFigure, groups: Sequence[tuple[str, list[Bar]]], heights: list[float], report: AuditReport) -> None:
    panels = part.subplots(len(groups), 2, squeeze=False, height_ratios=heights, sharey="row")
    for row, (name, bars) in zip(panels, groups):
        shown = bars[-MOST:]
        title = name if len(shown) == len(bars) else f"{name}, the last {len(shown)} of {len(bars)}"
        bar_panels(row, shown, title, report.thresholds)
    legend(part, [bar for _, bars in groups if not is_idle(bars[-MOST:]) for bar in bars[-MOST:]])


def _left_panel(report: AuditReport) -> str:
    """What there is to draw beside the bars."""
    if report.spectrum is not None and np.size(report.spectrum) > 1:
        return "spectrum"
    return "counts" if any(len(c) > 1 for c in report.output.counts) else ""


def _top(part: SubFigure, height: float) -> Axes:
    """Axes about as high as wide at the top of a part."""
    spare = height - LEAST_HEIGHT
    if spare < 0.5:
        return part.subplots()
    axes, empty = part.subplots(2, 1, height_ratios=(LEAST_HEIGHT, spare))
    empty.set_axis_off()
    return axes


def _left(axes: Axes, kind: str, report: AuditReport) -> None:
    if kind == "counts":
        counts_panel(axes, report.output.counts)
        return
    power = np.asarray(report.spectrum, np.float64)
    if report.flat_spectrum is not None:  # lines from flat inputs, what is around them from noise
        power = power + np.asarray(report.flat_spectrum, np.float64)
    period = report.output.period or (1,) * power.ndim
    (line_panel if power.ndim == 1 else lattice_panel)(axes, power, period)


def lattice_frequencies(period: Sequence[int]) -> np.ndarray:
    """All multiples of 1 / period but 0, in [-0.5, 0.5), `[L, ndim]`."""
    each = [((np.arange(p) + p // 2) % p - p // 2) / p for p in period]
    grid = np.stack(np.meshgrid(*each, indexing="ij"), -1).reshape(-1, len(each))
    return grid[(grid != 0).any(axis=1)]


def lattice_panel(axes: Axes, power: np.ndarray, period: Sequence[int]) -> None:
    """Power in dB, frequency 0 in the middle, a ring around each point of the lattice; of a volume the largest of z."""
    volume = power.ndim == 3
    if volume:
        power, period = power.max(axis=0), tuple(period)[1:]
    power = np.fft.fftshift(power)
    edges = [np.array([-(n // 2) - 0.5, (n - 1) // 2 + 0.5]) / n for n in power.shape]
    peaks, block = _peaks(power / _middle(power))
    shown = axes.imshow(
        _decibels(peaks), cmap="magma", vmin=DECIBELS[0], vmax=DECIBELS[1], aspect="equal",
        extent=(*edges[1], edges[0][1], edges[0][0]),
    )  # fmt: skip
    at = lattice_frequencies(period)
    if 0 < len(at) <= MOST_RINGS:
        marker = float(np.clip(80 / max(period), 3.0, 8.0))
        axes.plot(at[:, 1], at[:, 0], "o", ms=marker, mfc="none", mec=RING, mew=0.9, clip_on=False)
    axes.set(
        xticks=_within(edges[1]), yticks=_within(edges[0]), ylabel="along y",
        xlabel="cycles per sample, along x" + (f" (largest of {block})" if block else ""),
        title=_spectrum_title("largest along z" if volume else "", period, len(at)),
    )  # fmt: skip
    axes.spines[:].set_visible(False)
    axes.figure.colorbar(shown, ax=axes, label="dB over the median", **_BAR)


def _within(edges: np.ndarray) -> list[float]:
    """The ticks that lie on an axis: others would make it longer."""
    return [tick for tick in (-0.5, -0.25, 0.0, 0.25, 0.5) if edges[0] <= tick <= edges[1]]


def line_panel(axes: Axes, power: np.ndarray, period: Sequence[int]) -> None:
    """The spectrum of a signal, and a dot on each frequency of the lattice."""
    n = power.size
    decibels = _decibels(power / _middle(power))[: n // 2 + 1]
    peaks, block = _peaks(decibels)
    blocks = math.ceil(decibels.size / peaks.size)
    axes.plot(np.arange(peaks.size) * blocks / n, peaks, color=COLOURS["grey"], lw=0.9)
    at = np.arange(1, period[0] // 2 + 1) / period[0]
    places = np.minimum(np.round(at * n).astype(int), decibels.size - 1)
    if len(at):
        axes.plot(at, decibels[places], "o", ms=3.0 if len(at) < 40 else 1.5, color=COLOURS["red"])
    axes.set(
        xlabel="cycles per sample" + (f" (largest of {block})" if block else ""), ylabel="dB over the median",
        title=_spectrum_title("", period, len(at), "dotted"), xlim=(-0.01, 0.51),
    )  # fmt: skip


def counts_panel(axes: Axes, counts: Sequence[Sequence[float]]) -> None:
    """Paths to each phase, along each axis."""
    kinds = list(dict.fromkeys(tuple(c) for c in counts))
    longest = max(map(len, kinds))
    names = ["z", "y", "x"][-len(counts) :]
    for i, each in enumerate(kinds):
        along = " and ".join(n for n, c in zip(names, counts) if tuple(c) == each)
        at = np.arange(len(each)) + (i - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
        axes.bar(at, each, 0.8 / len(kinds), color=list(COLOURS.values())[i], label=f"along {along}")
    ticks = np.arange(0, longest, math.ceil(longest / 8))
    axes.set(title="paths to each phase, counted", xlabel="sample modulo the period", ylabel="paths", xticks=ticks)
    if len(kinds) > 1:
        axes.legend(fontsize=7)


def _spectrum_title(what: str, period: Sequence[int], lines: int, mark: str = "ringed") -> str:
    name = f"spectrum of the output, both probes{', ' + what if what else ''}"
    if not lines:
        return name
    same = len(set(period)) == 1
    at = f"period {period[0]}" if same else f"periods {size(period)}"
    return f"{name}\n{at}: " + (f"multiples of 1/period {mark}" if lines <= MOST_RINGS else "too many lines to ring")


def _middle(power: np.ndarray) -> float:
    """The median, or what there is where it is 0."""
    return float(np.median(power)) or float(power.max()) or 1.0

"""The figure of an expectation: spectra with their lattice, phase powers, lines."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from checkerjax.expectations import Expectation, PeriodicCovariance
from checkerjax.plots._files import COLOURS, STYLE, import_matplotlib
from checkerjax.stacks import format_stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECIBELS = 50.0  # below the median, that are still shown
LEAST_RANGE = 1.0  # dB: what spectra differ by less than this is not stretched over all colours
MOST_RINGS = 64
MOST_BINS = 2**24  # of a spectrum: some hundred megabytes
TICKS = 8  # phases on an axis up to which each has a number
CHARACTERS = 110  # of a line of the title


def expectation_figure(found: Expectation) -> Figure:
    """Draws what is expected of a stack: spectrum for white input, power of each phase, lines for flat input.

    A second row has the same of the input's gradient, where that has a period: after strided layers. Of volumes the
    first plane is drawn (frequency 0, phase 0 or line 0 along z).

    Args:
      found: of `expect`.

    Returns:
      A matplotlib figure, for `save`.

    Raises:
      ValueError: if there is nothing in closed form to draw, or the output has more than 2^24 samples.
      ModuleNotFoundError: without matplotlib; the message says what to install.
    """
    op = "expectation_figure"
    white, lines = found.white, found.lines
    if white is None or lines is None:
        reason = found.missing["white" if white is None else "flat"]
        raise ValueError(f"{op}: there is nothing to draw: {reason}")
    rows = [("white input", white, "flat input", lines)] if found.size else [("latent", white, "latent", lines)]
    if found.gradient is not None and math.prod(found.gradient.white.period) > 1:
        rows.append(("gradient of input, white", found.gradient.white, "gradient of input, flat", found.gradient.flat))
    for _, field, *_ in rows:
        if math.prod(field.size) > MOST_BINS:
            raise ValueError(f"{op}: a spectrum of more than {MOST_BINS} samples is too large to draw; give a size.")
    matplotlib = import_matplotlib(op)
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(11.0, 3.6 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), 3, squeeze=False)
        title = textwrap.fill(format_stack(found.stack), CHARACTERS)
        figure.suptitle(f"{title}\nplane 0 along z" if len(white.size) == 3 else title)
        for row, (name, field, other, own) in zip(panels, rows):
            _spectrum(row[0], field, name)
            _phases(row[1], field, name)
            _lines(row[2], own, other, finite=bool(found.size))
    return figure


def _plane(values: np.ndarray) -> np.ndarray:
    return values[0] if values.ndim == 3 else values


def _spectrum(axes: Axes, field: PeriodicCovariance, name: str) -> None:
    power = _plane(np.asarray(field.power_spectrum()))
    power = 10 * np.log10(np.maximum(power / _typical(power), 1e-12))
    low, high = max(-DECIBELS, float(power.min())), float(power.max())
    if high - low < LEAST_RANGE:
        low, high = -LEAST_RANGE / 2, LEAST_RANGE / 2
    marked = 1 < math.prod(field.period[-2:]) <= MOST_RINGS
    if power.ndim == 1:
        axes.set_title(f"{name}: expected power spectrum" + ("\n(dotted: lines of the period)" if marked else ""))
        order = np.argsort(np.fft.fftfreq(len(power)))
        axes.plot(np.fft.fftfreq(len(power))[order], power[order], color=COLOURS["blue"], lw=1)
        for m in range(1, field.period[0] if marked else 1):
            axes.axvline((m / field.period[0] + 0.5) % 1 - 0.5, color=COLOURS["red"], lw=0.6, ls=":")
        axes.set(xlabel="frequency (cycles per sample)", ylabel="dB over the median", ylim=(low - 1, high + 1))
        return
    axes.set_title(f"{name}: expected power spectrum" + ("\n(rings: lines of the period)" if marked else ""))
    (top, bottom), (left, right) = map(_edges, power.shape)
    _image(axes, np.fft.fftshift(power), "dB over the median", (left, right, bottom, top), low, high)
    if marked:
        periods = field.period[-2:]
        lattice = np.stack(np.meshgrid(*[np.arange(p) / p for p in periods], indexing="ij"), -1).reshape(-1, 2)[1:]
        lattice = (lattice + 0.5) % 1 - 0.5
        axes.plot(lattice[:, 1], lattice[:, 0], "o", mfc="none", mec=COLOURS["red"], ms=7, mew=0.8, clip_on=False)
    axes.set(xlabel="frequency along x (cycles per sample)", ylabel="frequency along y")


def _edges(samples: int) -> tuple[float, float]:
    """Where the first cell of a shifted spectrum begins, and the last one ends."""
    first = -(samples // 2) - 0.5
    return first / samples, (first + samples) / samples


def _typical(power: np.ndarray) -> float:
    """The median, of what is not 0."""
    some = power[power > 0]
    return float(np.median(some)) if some.size else 1.0


def _phases(axes: Axes, field: PeriodicCovariance, name: str) -> None:
    powers = _plane(np.asarray(field.phase_powers()))
    powers = powers / powers.mean() if powers.mean() > 0 else powers
    axes.set_title(f"{name}: power of each phase\nlargest over smallest {float(field.power_ratio()):.3g}")
    if powers.ndim == 1:
        axes.bar(np.arange(len(powers)), powers, color=COLOURS["blue"])
        axes.set(xlabel="phase (samples)", ylabel="power over the mean")
    else:
        _image(axes, powers, "power over the mean", None, 0.0, float(powers.max()))
        axes.set(xlabel="phase along x (samples)", ylabel="phase along y")
    _whole_ticks(axes, powers.shape)


def _lines(axes: Axes, field: PeriodicCovariance, name: str, *, finite: bool) -> None:
    powers = _plane(np.asarray(field.line_powers(shared=not finite)))
    ratio = float(field.lattice_ratio(shared=not finite))
    dc = powers[(0,) * powers.ndim]
    powers = powers / dc if dc > 0 else powers
    axes.set_title(f"{name}: energy of each line over DC\nsum {ratio:.3g}")
    if powers.ndim == 1:
        axes.bar(np.arange(len(powers)), powers, color=[COLOURS["grey"]] + [COLOURS["red"]] * (len(powers) - 1))
        axes.set(xlabel=f"line m, at frequency m / {len(powers)}", ylabel="energy over that of DC")
    else:
        _image(axes, powers, "energy over that of DC", None, 0.0, float(powers.max()))
        rows, columns = powers.shape
        axes.set(xlabel=f"line m along x, at frequency m / {columns}", ylabel=f"line along y, at m / {rows}")
    _whole_ticks(axes, powers.shape)


def _image(axes: Axes, values: np.ndarray, label: str, extent: Any, low: float, high: float) -> None:
    high = high if high > low else low + 1
    image = axes.imshow(values, cmap="viridis", extent=extent, vmin=low, vmax=high, aspect="auto")
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, label=label, pad=0.03)


def _whole_ticks(axes: Axes, shape: tuple[int, ...]) -> None:
    """Phases and lines are whole numbers."""
    each = (axes.xaxis,) if len(shape) == 1 else (axes.yaxis, axes.xaxis)
    for axis, n in zip(each, shape):
        axis.set_ticks(range(0, n, 1 if max(shape) <= TICKS else -(-n // TICKS)))

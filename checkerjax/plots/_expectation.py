"""The figure of an expectation: spectra with their lattice, phase powers, lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from checkerjax.expectations import Expectation, PeriodicCovariance
from checkerjax.plots._files import COLOURS, STYLE, import_matplotlib
from checkerjax.stacks import format_stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECIBELS = 50.0  # below the largest value, that are still shown
MOST_RINGS = 64
TICKS = 8  # phases on an axis up to which each has a number
_BAR: dict[str, Any] = {"fraction": 0.046, "pad": 0.03}


def expectation_figure(found: Expectation) -> Figure:
    """Draws what is expected of a stack: spectrum for white input, power of each phase, lines for flat input.

    Of volumes the middle slice (frequency 0 or phase 0 on the first axis) is drawn.

    Args:
      found: of `expect`.

    Returns:
      A matplotlib figure, for `save`.

    Raises:
      ValueError: if there is nothing in closed form to draw.
      ModuleNotFoundError: without matplotlib; the message says what to install.
    """
    white, lines = found.white, found.lines
    if white is None or lines is None:
        reason = found.missing["white" if white is None else "flat"]
        raise ValueError(f"expectation_figure: there is nothing to draw: {reason}")
    matplotlib = import_matplotlib("expectation_figure")
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(10.5, 3.4), layout="constrained")
        panels = figure.subplots(1, 3)
        figure.suptitle(format_stack(found.stack), wrap=True)
        _spectrum(panels[0], white)
        _phases(panels[1], white)
        _lines(panels[2], lines, "flat input" if found.size else "latent", bool(found.size))
        if not found.size:
            for axes in panels[:2]:
                axes.set_title(axes.get_title().replace("white input", "latent"))
    return figure


def _plane(values: np.ndarray) -> np.ndarray:
    return values[0] if values.ndim == 3 else values


def _spectrum(axes: Axes, field: PeriodicCovariance) -> None:
    power = _plane(np.asarray(field.power_spectrum()))
    power = 10 * np.log10(np.maximum(power / _typical(power), 1e-12))
    axes.set_title("white input: expected power spectrum")
    if power.ndim == 1:
        order = np.argsort(np.fft.fftfreq(len(power)))
        axes.plot(np.fft.fftfreq(len(power))[order], power[order], color=COLOURS["blue"], lw=1)
        for m in range(1, field.period[0]):
            axes.axvline((m / field.period[0] + 0.5) % 1 - 0.5, color=COLOURS["red"], lw=0.6, ls=":")
        axes.set(xlabel="frequency (cycles per sample)", ylabel="dB over the median")
        axes.set_ylim(bottom=max(-DECIBELS, float(power.min()) - 3))
        return
    (top, bottom), (left, right) = map(_edges, power.shape)
    _image(axes, np.fft.fftshift(power), "dB over the median", (left, right, bottom, top), low=-DECIBELS)
    periods = field.period[-2:]
    if math.prod(periods) <= MOST_RINGS:
        lattice = np.stack(np.meshgrid(*[np.arange(p) / p for p in periods], indexing="ij"), -1).reshape(-1, 2)[1:]
        lattice = (lattice + 0.5) % 1 - 0.5
        axes.plot(lattice[:, 1], lattice[:, 0], "o", mfc="none", mec=COLOURS["red"], ms=7, mew=0.8, clip_on=False)
    axes.set(xlabel="frequency along x (cycles per sample)", ylabel="along y")


def _edges(samples: int) -> tuple[float, float]:
    """Where the first cell of a shifted spectrum begins, and the last one ends."""
    first = -(samples // 2) - 0.5
    return first / samples, (first + samples) / samples


def _typical(power: np.ndarray) -> float:
    """The median, of what is not 0."""
    some = power[power > 0]
    return float(np.median(some)) if some.size else 1.0


def _phases(axes: Axes, field: PeriodicCovariance) -> None:
    powers = _plane(np.asarray(field.phase_powers()))
    powers = powers / powers.mean() if powers.mean() > 0 else powers
    axes.set_title(f"white input: power of each phase, largest over smallest {float(field.power_ratio()):.3g}")
    if powers.ndim == 1:
        axes.bar(np.arange(len(powers)), powers, color=COLOURS["blue"])
        axes.set(xlabel="phase (samples)", ylabel="power over the mean")
        _whole_ticks(axes, powers.shape)
        return
    _image(axes, powers, "power over the mean", None, low=0.0)
    axes.set(xlabel="phase along x (samples)", ylabel="along y")
    _whole_ticks(axes, powers.shape)


def _lines(axes: Axes, field: PeriodicCovariance, name: str, finite: bool) -> None:
    powers = _plane(np.asarray(field.line_powers(shared=not finite)))
    ratio = float(field.lattice_ratio(shared=not finite))
    dc = powers[(0,) * powers.ndim]
    powers = powers / dc if dc > 0 else powers
    axes.set_title(f"{name}: energy at each line over DC, sum {ratio:.3g}")
    if powers.ndim == 1:
        axes.bar(np.arange(len(powers)), powers, color=[COLOURS["grey"]] + [COLOURS["red"]] * (len(powers) - 1))
        axes.set(xlabel=f"line m, at frequency m / {len(powers)}", ylabel="energy over that of DC")
        _whole_ticks(axes, powers.shape)
        return
    _image(axes, powers, "energy over that of DC", None, low=0.0)
    axes.set(xlabel=f"line m along x, at frequency m / {powers.shape[1]}", ylabel="along y")
    _whole_ticks(axes, powers.shape)


def _image(axes: Axes, values: np.ndarray, label: str, extent: Any, *, low: float) -> None:
    shown = np.maximum(values, low)
    image = axes.imshow(shown, cmap="viridis", extent=extent, vmin=min(0.0, float(shown.min())))
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, label=label, **_BAR)


def _whole_ticks(axes: Axes, shape: tuple[int, ...]) -> None:
    if max(shape) <= TICKS:
        axes.set_xticks(range(shape[-1]))
        if len(shape) > 1:
            axes.set_yticks(range(shape[0]))

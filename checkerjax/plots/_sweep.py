"""The figure of the main job: generators before training, and gradients of first layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from checkerjax.plots._files import COLOURS, STYLE, import_matplotlib
from checkerjax.sweeps import (
    KERNELS,
    PUBLISHED,
    ROWS,
    generator_rows,
    gradient_rows,
)

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_STEMS = ("VGG 3x3 s1", "ResNet 7x7 s2", "MobileNet 3x3 s2", "AlexNet 11x11 s4", "max pool 3x3 s2")
_KERNEL_COLOURS = dict(zip(KERNELS, (COLOURS["blue"], COLOURS["orange"], COLOURS["green"])))
_SOURCE_COLOURS = {"photo": COLOURS["blue"], "white": COLOURS["orange"]}


def sweep_figure(datasets: Mapping[str, xarray.Dataset]) -> Figure:
    """Draws the datasets of `checkerjax sweep`: "forward", "gradient" or both.

    Args:
      datasets: sweeps of `generator_grid` ("forward") and of `gradient_grid` ("gradient").

    Returns:
      A matplotlib figure, for `save`.

    Raises:
      ValueError: if there is neither.
      ModuleNotFoundError: without matplotlib; the message says what to install.
    """
    if not {"forward", "gradient"} & set(datasets):
        raise ValueError(f"sweep_figure: datasets must have 'forward' or 'gradient'; got {sorted(datasets)}.")
    matplotlib = import_matplotlib("sweep_figure")
    heights = {"forward": (1.9, 1.75), "gradient": (1.85, 2.1)}
    rows = [h for name in ("forward", "gradient") if name in datasets for h in heights[name]]
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(10, sum(rows) * 1.12 + 0.3), layout="constrained")
        parts = iter(figure.subfigures(len(rows), 1, height_ratios=rows, squeeze=False)[:, 0])
        if "forward" in datasets:
            _generator_pictures(next(parts), datasets["forward"])
            _generator_intervals(next(parts), datasets["forward"])
        if "gradient" in datasets:
            _gradient_pictures(next(parts), datasets["gradient"])
            _gradient_intervals(next(parts), datasets["gradient"])
    return figure


def _generator_pictures(part, dataset: xarray.Dataset) -> None:
    seeds = dataset.sizes["seed"]
    part.suptitle(
        f"Random generators before any training (k = {KERNELS[0]}): a sample, and the mean spectrum of {seeds} seeds",
        fontweight="bold",
    )
    axes = part.subplots(1, 6)
    names = {2: "last two layers deconv", 1: "last layer deconv", 0: "all resize-conv"}
    for i, (deconvolutions, row) in enumerate(ROWS.items()):
        one = dataset.sel(config=f"{row}, k{KERNELS[0]}")
        axes[2 * i].imshow(_stretched(one["sample"].values))
        axes[2 * i].set_title(names[deconvolutions])
        _spectrum(axes[2 * i + 1], one.spectrum.values, (4, 2) if deconvolutions == 2 else (2,))
        for axis in axes[2 * i : 2 * i + 2]:
            axis.set(xticks=[], yticks=[])


def _spectrum(axes: Axes, power: np.ndarray, periods: tuple[int, ...]) -> None:
    """Power in dB, DC in the middle, rings around the lines of each period."""
    centred = 10 * np.log10(np.fft.fftshift(power) / np.median(power))
    axes.imshow(centred, cmap="magma", vmin=-3, vmax=25)
    n = power.shape[0]
    colours = {2: "#56FFF0", 4: "#B8FF6B"}
    done = {(n // 2, n // 2)}
    for period in sorted(periods):
        places = {
            ((n // 2 + a * n // period) % n, (n // 2 + b * n // period) % n)
            for a in range(period)
            for b in range(period)
        }
        for y, x in sorted(places - done):
            axes.plot(x, y, "o", ms=5.5, mfc="none", mec=colours[period], mew=1.0, clip_on=False)
        done |= places
    axes.set_title(" and ".join(f"period {p}" for p in sorted(periods)) + " ringed")


def _generator_intervals(part, dataset: xarray.Dataset) -> None:
    rows = generator_rows(dataset)
    panels = part.subplots(1, 3)
    titles = (
        "lines of period 2, share of power (95% of images)",
        "lines of period 4 (and 2), share of power",
        "phase power, largest / smallest (95% of generators)",
    )
    for axes, field, title in zip(panels, ("f2", "f4", "phase_ratio_each"), titles):
        for row in rows:
            y = -(list(ROWS).index(row.deconvolutions) + 0.24 * (KERNELS.index(row.kernel) - 1))
            value, low, high = getattr(row, field)
            label = f"k = {row.kernel}" if row.deconvolutions == 2 else None
            axes.plot(
                [low, high], [y, y], color=_KERNEL_COLOURS[row.kernel], lw=2.5, solid_capstyle="butt", label=label
            )
            axes.plot(value, y, "o", ms=4, color=_KERNEL_COLOURS[row.kernel])
        for i, published in enumerate(PUBLISHED.values()):
            values = getattr(published, field.removesuffix("_each"))
            values = () if values is None else np.atleast_1d(values)
            label = "published images" if i == 0 else None
            axes.plot(values, np.full(len(values), -i + 0.4), "x", ms=5, mew=1.4, color="black", label=label)
        axes.set(title=title, xscale="log", ylim=(-2.5, 0.6), yticks=[0, -1, -2])
        axes.set_yticklabels(["last two", "last one", "none"] if axes is panels[0] else [])
    panels[2].set_xticks([1, 2, 3, 4, 6, 8], ["1", "2", "3", "4", "6", "8"])
    panels[2].minorticks_off()
    panels[0].legend(loc="lower right", ncols=2, fontsize=7, columnspacing=1.0, handlelength=1.2)


def _gradient_pictures(part, dataset: xarray.Dataset) -> None:
    part.suptitle(
        "Input gradients of first layers, random weights, on one photograph (output cotangent constant in space)",
        fontweight="bold",
    )
    names = [name for name in SHOWN_STEMS if f"{name}, photo" in dataset.config.values]
    for axes, name in zip(np.atleast_1d(part.subplots(1, len(names))), names):
        gradient = dataset["sample"].sel(config=f"{name}, photo").values.mean(-1)
        middle = gradient[16:48, 16:48]
        limit = np.abs(middle).max() or 1.0
        axes.imshow(middle, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set(title=name, xticks=[], yticks=[])


def _gradient_intervals(part, dataset: xarray.Dataset) -> None:
    rows = gradient_rows(dataset)
    names = list(dict.fromkeys(row.name.rsplit(", ", 1)[0] for row in rows))
    panels = part.subplots(1, 2)
    for row in rows:
        name, source = row.name.rsplit(", ", 1)
        y = -(names.index(name) + (0.16 if source == "white" else -0.16))
        colour = _SOURCE_COLOURS[source]
        label = {"photo": "photographs", "white": "white noise"}[source] if name == names[0] else None
        for axes, interval in ((panels[0], row.phase_ratio), (panels[1], row.line_share)):
            finite = np.isfinite(interval.value)
            shown = interval if finite else (_HOLES, _HOLES, _HOLES)
            axes.plot(shown[1:], [y, y], color=colour, lw=2.5, solid_capstyle="butt", label=label)
            axes.plot(shown[0], y, "o" if finite else ">", ms=4, color=colour)
        label = "chance, phases equal" if (name, source) == (names[0], "photo") else None
        panels[0].plot(row.chance, y, "|", ms=7, mew=1.2, color=COLOURS["grey"], label=label)
        if row.predicted is not None and np.isfinite(row.predicted) and source == "photo":
            label = "counted paths" if name == names[0] else None
            panels[0].plot(row.predicted, y - 0.16, "x", ms=6, mew=1.4, color="black", label=label)
    ticks = [1, 2, 4, 8, 16]
    panels[0].set(xscale="log", title="phase power, largest / smallest (white cotangent); ▸: phases without gradient")
    panels[0].set_xticks([*ticks, _HOLES], [*map(str, ticks), "∞"])
    panels[0].minorticks_off()
    panels[1].set(title="lines, share of power (constant cotangent)", xlim=(-0.02, 1.02))
    for axes in panels:
        axes.set(yticks=[-i for i in range(len(names))], ylim=(-len(names) + 0.4, 0.6))
        axes.grid(axis="x", lw=0.4, color="#DDDDDD")
    panels[0].set_yticklabels(names)
    panels[1].set_yticklabels([])
    panels[0].legend(loc="upper right", fontsize=7)


_HOLES = 32  # where an infinite ratio is drawn


def _stretched(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1] whose 1st and 99th percentiles are black and white, all channels alike."""
    low, high = np.quantile(image, [0.01, 0.99])
    return np.clip((image - low) / max(high - low, 1e-12), 0, 1)

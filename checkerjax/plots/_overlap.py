"""An overlap map: one row of bars, or a field of cells with their counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from checkerjax.plots._files import COLOURS, STYLE, import_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WRITTEN = 24  # cells on a side up to which the counts are written into them


def overlap_figure(counts: np.ndarray, *, title: str = "") -> Figure:
    """Draws a map of counts.

    Args:
      counts: `[H]`, `[H, W]` or `[D, H, W]` (its middle slice is drawn), not empty.
      title: above the map.

    Returns:
      A matplotlib figure, for `save`.

    Raises:
      ValueError: for another rank or an empty map.
      ModuleNotFoundError: without matplotlib; the message says what to install.
    """
    counts = np.asarray(counts)
    if counts.ndim not in (1, 2, 3) or not counts.size:
        raise ValueError(f"overlap_figure: counts must be a map with 1 to 3 axes; got shape {counts.shape}.")
    matplotlib = import_matplotlib("overlap_figure")
    with matplotlib.rc_context(STYLE):
        if counts.ndim == 1:
            figure = matplotlib.figure.Figure(figsize=(6, 2.2), layout="constrained")
            axes = figure.subplots()
            axes.bar(np.arange(len(counts)), counts, width=0.9, color=COLOURS["blue"])
            axes.set(xlabel="position (samples)", ylabel="paths", xlim=(-0.6, len(counts) - 0.4))
        else:
            plane = counts[len(counts) // 2] if counts.ndim == 3 else counts
            figure = matplotlib.figure.Figure(figsize=(4.6, 4), layout="constrained")
            axes = figure.subplots()
            image = axes.imshow(plane, cmap="viridis", vmin=0)
            figure.colorbar(image, label="paths")
            axes.set(xlabel="x (samples)", ylabel="y (samples)")
            if max(plane.shape) <= WRITTEN:
                _write_counts(axes, plane)
        axes.set_title(title, wrap=True)
    return figure


def _write_counts(axes, plane: np.ndarray) -> None:
    for (y, x), value in np.ndenumerate(plane):
        dark = value < 0.6 * plane.max()
        axes.text(x, y, f"{value:g}", ha="center", va="center", fontsize=5, color="white" if dark else "black")

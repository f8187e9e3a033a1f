"""The figure of the ratios: a dot and its quartiles for each peer of each row, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from checkerjax.plots import import_matplotlib
from experiments.benchmarks.rows import OURS
from experiments.benchmarks.timing import FORWARD, GRADIENTS, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which most colour-blind readers tell apart, by the library that a peer runs on.
STYLES = {
    "lax": ("#0072B2", "o"),
    "lax, vmap": ("#0072B2", "v"),
    "lax, map": ("#0072B2", "s"),
    "method=lax": ("#0072B2", "D"),
    "method=lax, vmap": ("#0072B2", "v"),
    "method=lax, map": ("#0072B2", "s"),
    "repeat + lax": ("#56B4E9", "o"),
    "jax.image.resize + lax": ("#56B4E9", "s"),
    "equivalent deconv, checkerjax": ("#7F7F7F", "o"),
    "equivalent deconv, lax": ("#7F7F7F", "s"),
    "flax": ("#009E73", "o"),
    "torch": ("#D55E00", "o"),
    "torch, channels last": ("#D55E00", "s"),
}


def ratios_figure(results: Mapping[str, Any]) -> Figure:
    """Two panels: forward, and forward with gradients (whole programs among these)."""
    matplotlib = import_matplotlib("ratios_figure")
    rows = results["rows"]
    with matplotlib.rc_context({"font.size": 7, "axes.spines.top": False, "axes.spines.right": False}):
        figure = matplotlib.figure.Figure(figsize=(10, 1.2 + 0.38 * len(rows)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, single in zip(panels, (FORWARD, GRADIENTS)):
            _panel(axes, rows, single)
        panels[0].set_yticks(range(len(rows)), [row["label"] for row in rows.values()])
        panels[0].invert_yaxis()
        handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 6), frameon=False
        )
    return figure


def _panel(axes: Axes, rows: Mapping[str, Any], mode: str) -> None:
    for y, row in enumerate(rows.values()):
        # Whole programs have one mode of their own; they hold gradients.
        key = mode if mode in row["modes"] or mode == FORWARD else next(iter(row["modes"]))
        times = row["modes"].get(key, {"ms": {}})["ms"]
        peers = [name for name in times if name in STYLES]
        for offset, peer in zip((np.arange(len(peers)) - (len(peers) - 1) / 2) * 0.11, peers):
            value, low, high = ratio(times, peer, OURS)
            colour, marker = STYLES[peer]
            axes.plot([low, high], [y + offset] * 2, color=colour, linewidth=1)
            axes.plot(value, y + offset, marker, color=colour, markersize=4, linestyle="none", label=peer)
        axes.axhline(y + 0.5, color="black", linewidth=0.3, alpha=0.2)
    axes.axvline(1, color="black", linewidth=0.6)
    axes.set_xscale("log", subs=(2, 5))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel="time of the peer over checkerjax's", title=mode)
    axes.grid(axis="x", which="both", alpha=0.2)

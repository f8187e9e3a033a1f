"""The table that the main job prints: plain text, at most 100 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from checkerjax.sweeps._defaults import KERNELS, ROWS
from checkerjax.sweeps._intervals import Interval
from checkerjax.sweeps._published import PUBLISHED
from checkerjax.sweeps._summary import cross_p_values, generator_rows, gradient_rows, kernel_p_values

if TYPE_CHECKING:
    import xarray

LEVEL = 0.01  # up to this p-value the published images are said not to be of a generator


def report(datasets: Mapping[str, xarray.Dataset]) -> str:
    """The tables of "forward" and "gradient" datasets, as text.

    Args:
      datasets: as `checkerjax sweep` stores them; either may lack.

    Returns:
      Lines of at most 100 characters.
    """
    parts = []
    if "forward" in datasets:
        parts += [_generators(datasets["forward"]), _fit(datasets["forward"])]
    if "gradient" in datasets:
        parts.append(_gradients(datasets["gradient"]))
    parts.append("\n".join(_provenance(name, dataset) for name, dataset in datasets.items()))
    return "\n\n".join(parts)


def _provenance(name: str, dataset: xarray.Dataset) -> str:
    known = dataset.attrs
    return (
        f"{name}: {dataset.sizes['seed']} seeds, base seed {known.get('base_seed')}, on "
        f"{known.get('device')}; checkerjax {known.get('checkerjax_version')}, jax {known.get('jax_version')}"
    )


def _generators(dataset: xarray.Dataset) -> str:
    header = ("deconv in", "lines, period 2", "lines, period 4", "phases", "chance", "of each", "fits p")
    table = []
    for row in generator_rows(dataset):
        verdict = "yes" if row.p_value > LEVEL else "NO"
        table.append(
            (
                row.name,
                _span(row.f2),
                _span(row.f4),
                _number(row.phase_ratio.value),
                _number(row.chance),
                _span(row.phase_ratio_each),
                f"{verdict} {row.p_value:.3f}",
            )
        )
        if row.kernel == KERNELS[-1]:
            published = PUBLISHED[row.deconvolutions]
            ratio = "-" if published.phase_ratio is None else f"{published.phase_ratio:g}"
            table.append(("  published", _listed(published.f2), _listed(published.f4), "", "", ratio, ""))
    title = (
        f"Random generators, {dataset.sizes['seed']} seeds, no training. Lines: share of an image's power (median and\n"
        "95% of images). Phases: largest over smallest power of 4 phases, over all seeds; chance: what that\n"
        "rarely exceeds where phases are equal; of each: the ratio of single generators (median and 95%).\n"
        f"Fits: whether the published images could be of this generator (joint test, NO up to p = {LEVEL:g})."
    )
    return f"{title}\n{_table(header, table)}"


def _fit(dataset: xarray.Dataset) -> str:
    rows = generator_rows(dataset)
    lines = [
        "Are the images of the article's figure 9 such images? Joint test of their lines, spread and phase",
        f"power, the three rows together; rejected up to p = {LEVEL:g}:",
    ]
    for row in rows[:: len(KERNELS)]:
        lines.append(
            f"  standard deviation before tanh, {row.name}: {_span(row.std)}, published "
            f"{PUBLISHED[row.deconvolutions].std:g}"
        )
    for kernel, p in kernel_p_values(rows).items():
        verdict = "not rejected" if p > LEVEL else "REJECTED"
        lines.append(f"  generators with {kernel}x{kernel} kernels: p = {p:.2g}, {verdict}")
    kernel = KERNELS[0]
    lines.append(f"The images of each row, tested as images of each {kernel}x{kernel} generator (p):")
    cross = [
        (f"  images: {row}", *(f"{p:.3f}" for p in values))
        for row, values in zip(ROWS.values(), cross_p_values(dataset, kernel))
    ]
    smallest = 1 / (dataset.sizes["seed"] + 1)
    lines.append(_table(("", *(f"generator: {row}" for row in ROWS.values())), cross))
    lines.append(f"(The smallest p that {dataset.sizes['seed']} seeds can give is {smallest:.2g}.)")
    return "\n".join(lines)


def _gradients(dataset: xarray.Dataset) -> str:
    header = ("layer, input", "period", "lines", "phase power", "chance", "counted", "zeros")
    table = []
    for row in gradient_rows(dataset):
        counted = "-" if row.predicted is None else _number(row.predicted)
        share = f"{100 * row.zero_share:.0f}%"
        table.append(
            (
                row.name,
                str(row.period),
                _span(row.line_share),
                _span(row.phase_ratio),
                _number(row.chance),
                counted,
                share,
            )
        )
    title = (
        f"Input gradients of first layers, {dataset.sizes['seed']} seeds. Lines: share of power under a constant\n"
        "cotangent. Phase power: largest over smallest under a white cotangent; chance: what it rarely\n"
        "exceeds where phases are equal; counted: what counting paths predicts; zeros: share of inputs\n"
        "without gradient."
    )
    return f"{title}\n{_table(header, table)}"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (header, *rows)]
    return "\n".join((lines[0], "-" * min(max(map(len, lines)), 100), *lines[1:]))


def _span(interval: Interval) -> str:
    return f"{_number(interval.value)} [{_number(interval.low)}, {_number(interval.high)}]"


def _number(value: float) -> str:
    if not np.isfinite(value):
        return str(value)  # inf or nan
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    if value == 0:
        return "0"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}" if abs(value) < 0.1 else f"{value:.2f}"


def _listed(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:g}".removeprefix("0") for v in values)

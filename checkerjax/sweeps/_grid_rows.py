"""What a sweep over a grid says, a row for each configuration: numbers with intervals, no formatting, no drawing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from checkerjax.overlap import count, unevenness
from checkerjax.stacks import (
    Bias,
    Conv,
    Deconv,
    Dense,
    LeakyRelu,
    Relu,
    ResizeConv,
    SubPixel,
    Tanh,
    Upsample,
    parse_stack,
)
from checkerjax.stacks import periods as stack_periods
from checkerjax.sweeps._intervals import Interval, chance_ratio, phase_ratio, ratio_of_sums

if TYPE_CHECKING:
    import xarray

BLOCKS = 500  # sums over seeds that are resampled, at most: more would cost time and move no interval
SHUFFLED = 2**13  # phase powers that a rearrangement moves, at most, for the same reason
# A field that is flat but for the rounding of float32 has about 1e-13 of its power off DC.
ROUNDING = 1e-11
# Sums of the same powers in float32 differ by some 1e-7 of them: less than this besides lines is nothing.
REST = 2e-6
QUANTILES = (0.05, 0.5, 0.95)


class GridRow(NamedTuple):
    """One configuration of a sweep, over the seeds that are done."""

    name: str
    labels: dict[str, Any]  # the axes of the grid that it has
    seeds: int
    period: int  # the longest, in samples
    line_share: Interval  # lines of that period over all power but DC, ratio of sums over seeds
    line_shares: dict[int, Interval]  # the same for each of its periods
    total_share: Interval  # lines of the longest period over all power with DC, ratio of sums over seeds
    share_each: Interval  # lines over all power but DC of single seeds: median, 5% and 95%
    decibels_each: Interval  # lines over the rest of single seeds in dB: median, 5% and 95%
    phase_ratio: Interval  # largest over smallest phase power summed over seeds
    chance: float  # what that ratio rarely exceeds with equal phases
    counted: float | None  # of the phase ratio, from counting paths; None where that depends on the data
    zero_share: float  # of exact zeros, median over seeds


def grid_rows(dataset: xarray.Dataset) -> list[GridRow]:
    """The statistics of every configuration that has seeds, in the order of the dataset.

    Shares and ratios are ratios of sums over seeds, images summed too, with 95% bootstrap intervals over seeds (phase
    ratios: over the groups of seeds whose phase powers are kept). The lines of a period include those of the periods
    that divide it, and not DC. A field that is flat to rounding has no lines.

    Args:
      dataset: of `sweep` or `open`, finished or not.

    Returns:
      A row for each configuration with at least one seed.

    Raises:
      ValueError: for a dataset without descriptions of its configurations.

    Example:
      >>> from checkerjax.sweeps import Grid, sweep
      >>> row, = grid_rows(sweep(Grid(kernel=3, width=2), seeds=4))
      >>> row.labels["kernel"], row.seeds, row.counted
      (3, 4, 4.0)

    References:
      Efron and Tibshirani, An introduction to the bootstrap, chapter 13 (percentile intervals).
    """
    if "configurations" not in dataset.attrs:
        raise ValueError("grid_rows: the dataset is not of a sweep: its attributes have no 'configurations'.")
    described = {one["name"]: one for one in json.loads(dataset.attrs["configurations"])}
    labels, arrays = grid_labels(dataset), _arrays(dataset)
    rows = []
    for index, name in enumerate(map(str, dataset["config"].values)):
        row = _row(described[name], labels[index], {key: values[index] for key, values in arrays.items()})
        if row is not None:
            rows.append(row)
    return rows


def worst_first(rows: Sequence[GridRow]) -> list[GridRow]:
    """By line share, then by lines of all power, then by phase ratio."""
    return sorted(
        rows, key=lambda row: tuple(-_rank(i.value) for i in (row.line_share, row.total_share, row.phase_ratio))
    )


def _rank(value: float) -> float:
    return -np.inf if np.isnan(value) else round(value, 6)  # shares of 1 differ by rounding


def lines_measure(rows: Sequence[GridRow]) -> str:
    """Which share tells rows apart: that of all power, where half of a direction's rows with lines have nothing else.

    A flat input comes out periodic: lines are then all there is but DC, however strong they are.
    """
    for direction in {row.labels.get("direction") for row in rows}:
        shares = [row.line_share.value for row in rows if row.labels.get("direction") == direction]
        some, only = sum(share > 1e-3 for share in shares), sum(share > 1 - 1e-3 for share in shares)
        if only and 2 * only >= some:
            return "total_share"
    return "line_share"


def short_names(rows: Sequence[GridRow], *, without: Sequence[str] = ()) -> tuple[dict[str, str], str]:
    """What tells the configurations apart, by name, and in words what they share.

    Axes in `without` are left out of the names. Without labels, or where the short ones would repeat, the names are as
    they are.
    """
    whole = {row.name: row.name for row in rows}
    if not rows or any("family" not in row.labels for row in rows):
        return whole, ""
    shared, words = _shared([row.labels for row in rows])
    if len({_short(row.labels, shared) for row in rows}) < len(rows):
        return whole, ""
    return {row.name: _short(row.labels, (*shared, *without)) for row in rows}, ", ".join(words)


LETTERS = {"kernel": "k", "stride": "s", "depth": "x", "width": "c"}
ALWAYS = ("family", "kernel", "stride")  # in every name, also where they are all the same


def _short(labels: Mapping[str, Any], left_out: Sequence[str]) -> str:
    parts = [
        f"{LETTERS.get(axis, '')}{value}" for axis, value in labels.items() if axis not in left_out and value != "none"
    ]
    return " ".join(parts)


def _shared(labels: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Axes that tell no configurations apart, given the direction, and how a caption says so."""
    shared, words = [], []
    by_direction: dict[str, list] = {}
    for one in labels:
        by_direction.setdefault(one.get("direction", ""), []).append(one)
    for axis in dict.fromkeys(axis for one in labels for axis in one if axis not in ALWAYS):
        values = {direction: axis_values(ones, axis) for direction, ones in by_direction.items()}
        if (axis == "direction" and len(values) > 1) or any(len(v) > 1 for v in values.values()):
            continue
        shared.append(axis)
        found: dict[Any, list[str]] = {}
        for direction, v in values.items():
            for value in v:
                found.setdefault(value, []).append(direction)
        if len(found) == 1:
            words.append(f"{axis} {next(iter(found))}")
        elif found:
            words.append(f"{axis} " + " and ".join(f"{value} ({', '.join(d)})" for value, d in found.items()))
    return shared, words


def axis_values(labels: Sequence[Mapping[str, Any]], axis: str) -> list[Any]:
    """The values of an axis in order, but "none", which stands where an axis has no meaning."""
    found = dict.fromkeys(one[axis] for one in labels if axis in one)
    return [value for value in found if value != "none"]


def grid_labels(dataset: xarray.Dataset) -> list[dict[str, Any]]:
    """Of each configuration its coordinates; without those that it does not have, which are "" or NaN."""
    columns = {
        str(name): coordinate.values
        for name, coordinate in dataset.coords.items()
        if coordinate.dims == ("config",) and name != "config"
    }
    return [
        {name: label for name, values in columns.items() if (label := _label(values[i])) is not None}
        for i in range(dataset.sizes["config"])
    ]


def _label(value: Any) -> Any:
    if isinstance(value, str):
        return str(value) or None
    if np.isnan(value):
        return None
    return int(value) if value == int(value) else float(value)


def _arrays(dataset: xarray.Dataset) -> dict[str, np.ndarray]:
    """The statistics as arrays with a known order of axes, and the periods by column, for each configuration."""
    lead = ("config", "seed", "image")
    drawn = "group" if "group" in dataset["phase_power"].dims else "seed"
    orders = {
        "line_power": (*lead, "period"),
        "variance": lead,
        "dc_power": lead,
        "zero_share": lead[:2],
        "phase_power": ("config", drawn, "image", "phase_y", "phase_x"),
    }
    found = {name: dataset[name].transpose(*order).values for name, order in orders.items()}
    return found | {"periods": np.tile(dataset["period"].values, (dataset.sizes["config"], 1))}


def _row(described: Mapping[str, Any], labels: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> GridRow | None:
    """The row of one configuration; None if no seed is done."""
    done = np.isfinite(arrays["variance"][:, 0])
    if not done.any():
        return None
    periods = described["periods"]
    columns = [list(arrays["periods"]).index(period) for period in periods]
    lines = np.nansum(arrays["line_power"][done], axis=1)[:, columns]
    variance, dc = (np.nansum(arrays[name][done], axis=1) for name in ("variance", "dc_power"))
    variance = np.where(variance <= ROUNDING * (variance + dc), 0.0, variance)
    lines = np.where(lines >= (1 - REST) * variance[:, None], variance[:, None], np.maximum(lines, 0))
    shares = {p: _ratio(lines[:, i], variance) for i, p in enumerate(periods)}
    share_each, decibels = _each(lines[:, -1], variance)
    powers = _phase_powers(arrays["phase_power"], periods[-1])
    zeros = arrays["zero_share"][done]
    return GridRow(
        name=described["name"],
        labels=labels,
        seeds=int(done.sum()),
        period=periods[-1],
        line_share=shares[periods[-1]],
        line_shares=shares,
        total_share=_ratio(lines[:, -1], variance + dc),
        share_each=_quantiles(share_each),
        decibels_each=_quantiles(decibels),
        phase_ratio=_phases(powers),
        chance=chance_ratio(_blocks(powers, max(32, SHUFFLED // periods[-1] ** 2))) if len(powers) else np.nan,
        counted=counted_ratio(described),
        zero_share=float(np.nanmedian(zeros)) if np.isfinite(zeros).any() else np.nan,
    )


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> Interval:
    found = ratio_of_sums(_blocks(numerator, BLOCKS), _blocks(denominator, BLOCKS))
    return found if len(numerator) > 1 else Interval(found.value, np.nan, np.nan)


def _phases(powers: np.ndarray) -> Interval:
    found = phase_ratio(_blocks(powers, BLOCKS)) if len(powers) else Interval(np.nan, np.nan, np.nan)
    return found if len(powers) > 1 else Interval(found.value, np.nan, np.nan)  # one has no spread


def _blocks(values: np.ndarray, most: int) -> np.ndarray:
    """Sums over at most `most` runs of as many seeds each but the last: resampled, they spread as the seeds do."""
    size = -(-len(values) // most)
    return np.add.reduceat(values, np.arange(0, len(values), size), axis=0)


def _each(lines: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every seed the share of lines, and lines over the rest in dB; no power at all is no lines."""
    rest, some = variance - lines, variance > 0
    share = np.divide(lines, variance, out=np.zeros(len(lines)), where=some)
    with np.errstate(divide="ignore"):
        ratio = np.divide(lines, rest, out=np.where(lines > 0, np.inf, 0.0), where=rest > 0)
        return share, 10 * np.log10(ratio)


def _quantiles(values: np.ndarray) -> Interval:
    """Median, 5% and 95%."""
    # Two infinities have no weighted mean: order statistics where there are some.
    method = "linear" if np.isfinite(values).all() else "nearest"
    low, median, high = np.quantile(values, QUANTILES, method=method)
    return Interval(float(median), float(low), float(high))


def _phase_powers(values: np.ndarray, period: int) -> np.ndarray:
    """`[groups, period, period]` of the groups that are done, images summed."""
    own = values[..., :period, :period]
    done = np.isfinite(own[:, 0]).all((1, 2))
    return np.nansum(own[done], axis=1)


def counted_ratio(described: Mapping[str, Any]) -> float | None:
    """Largest over smallest number of paths that lead to a sample of each phase, away from borders.

    That is the phase ratio of independent zero-mean weights: forward for every input whose power is the same
    everywhere, of gradients under a white cotangent, through learned layers, copies and (leaky) ReLUs. None for what
    else there is: fixed filters add before they are squared, pools and losses depend on the data, "icnr" ties weights.
    """
    backward = described.get("direction") == "gradient"
    if "stack" not in described or described.get("direction") == "weights":
        return None
    if backward and described.get("cotangent") not in ("probe", "white"):
        return None
    layers = parse_stack(described["stack"])
    if not backward and len(layers) > 1 and isinstance(layers[-1], Tanh):
        layers = layers[:-1]  # phase powers are taken before it
    if not all(_counts(layer, described.get("initialiser", "lecun")) for layer in layers):
        return None
    size = () if described.get("input") == "latent" else tuple(np.broadcast_to(described["size"], 2).tolist())
    period = described["periods"][-1]
    try:
        into, out_of = stack_periods(layers, 2)
        whole = [math.lcm(own, period) for own in (into if backward else out_of)]
        counts = count(layers, size, backward=backward)
        return unevenness(_folded(counts, whole, period), period)
    except ValueError:  # no period, none that fits the map, counts beyond int64, or none at all
        return None


def _folded(counts: np.ndarray, whole: Sequence[int], period: int) -> np.ndarray:
    """Mean counts of the phases of `period`, from the middle of a map whose own period may be longer."""
    starts = [(n - length) // 2 for n, length in zip(counts.shape, whole)]
    middle = counts[tuple(slice(start, start + length) for start, length in zip(starts, whole))]
    split = [n for length in whole for n in (length // period, period)]
    return middle.reshape(split).mean((0, 2))


def _counts(layer: Any, initialiser: str) -> bool:
    """Whether a layer multiplies expected squares by counts."""
    if isinstance(layer, (Deconv, SubPixel)):
        return (layer.initialiser or initialiser) != "icnr"
    if isinstance(layer, (ResizeConv, Upsample)):
        return layer.method == "nearest"
    return isinstance(layer, (Conv, Dense, Relu, LeakyRelu)) or (isinstance(layer, Bias) and layer.std == 0)

"""Datasets of sweeps over grids made by hand: numbers of the right shapes, no stack is run."""

from __future__ import annotations

import json

import numpy as np
import xarray

SEEDS = 12


def label(family="deconv", kernel=3.0, stride=2.0, depth=1.0, direction="forward", **more):
    gradient = direction == "gradient"
    found = {"family": family, "kernel": kernel, "stride": stride, "depth": depth, "width": 8.0}
    found |= {"activation": "none" if depth == 1 else "relu", "initialiser": "lecun", "direction": direction}
    return found | {"input": "white" if gradient else "probe", "cotangent": "probe" if gradient else "none"} | more


def name(labels):
    """What a configuration is called."""
    return ", ".join(map(str, labels.values()))


def described(labels):
    """A configuration as the attributes of a sweep describe it; what is counted is short."""
    stride, depth = int(labels["stride"]), int(labels["depth"])
    one = {"name": name(labels), "stack": f"{labels['family']} k{int(labels['kernel'])} s{stride}", "size": 12 * stride}
    one |= {"periods": [stride**i for i in range(1, depth + 1)], "images": 1}
    return one | {key: labels[key] for key in ("direction", "input", "cotangent", "initialiser")}


def dataset(labels, rng, seeds=SEEDS, images=1, group=4):
    """Numbers of the right shapes; a configuration has NaN where the longest period or most images exceed its own."""
    ones = [described(one) for one in labels]
    periods = sorted({p for one in ones for p in one["periods"]})
    n, longest, bins = len(labels), max(periods), 9
    variance = rng.uniform(1, 3, (n, seeds, images))
    lines = np.full((n, seeds, images, len(periods)), np.nan)
    phases = np.full((n, seeds // group, images, longest, longest), np.nan)
    for i, one in enumerate(ones):
        share = np.sort(rng.uniform(0.01, 0.9, (seeds, images, len(one["periods"]))), -1)
        lines[i][..., [periods.index(p) for p in one["periods"]]] = share * variance[i][..., None]
        own = one["periods"][-1]
        phases[i][..., :own, :own] = rng.uniform(1, 3, (seeds // group, images, own, own))
    lead = ("config", "seed", "image")
    return xarray.Dataset(
        {
            "line_power": ((*lead, "period"), lines),
            "variance": (lead, variance),
            "dc_power": (lead, rng.uniform(0, 2, variance.shape)),
            "zero_share": (lead[:2], rng.uniform(0, 1, (n, seeds))),
            "phase_power": (("config", "group", "image", "phase_y", "phase_x"), phases),
            "spectrum": (("config", "axis", "bin"), rng.uniform(1e-4, 1, (n, 2, bins))),
        },
        coords={
            "config": [one["name"] for one in ones],
            "seed": np.arange(seeds),
            "period": periods,
            "axis": ["y", "x"],
            "frequency": (("config", "axis", "bin"), np.tile(np.arange(bins) / 16, (n, 2, 1))),
            **{axis: ("config", [one[axis] for one in labels]) for axis in labels[0]},
        },
        attrs={"configurations": json.dumps(ones)},
    )


GRID = [
    label(family, kernel, stride, depth, direction)
    for family in ("deconv", "resize")
    for kernel in (3.0, 4.0)
    for stride in (2.0, 3.0)
    for depth in (1.0, 2.0)
    for direction in ("forward", "gradient")
]


def worst(dataset):
    """Names by line share, most first, from sums written out here."""
    found = {}
    for i, one in enumerate(json.loads(dataset.attrs["configurations"])):
        column = list(dataset.period.values).index(one["periods"][-1])
        lines, variance = np.nansum(dataset.line_power.values[i, ..., column]), np.nansum(dataset.variance.values[i])
        found[one["name"]] = lines / variance
    return sorted(found, key=lambda name: -found[name])

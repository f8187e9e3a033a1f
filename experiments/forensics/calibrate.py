"""The table behind `forensics`: weights of the unknowns, and how far behind the best a true hypothesis scores.

Run:     uv run python -m experiments.forensics.calibrate   (--smoke: seconds, nothing written)
Expect:  half an hour on two cores beside other work; a run that was stopped goes on where it was
Writes:  checkerjax/images/_forensics_calibration.json; moments of each architecture's images in --cache

The generators are those of `generators.CALIBRATION` and `generators.ODD`; `run` judges by others, of other widths,
sizes, mixtures of layers and seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import scipy

from checkerjax import __version__
from checkerjax.images import _forensics_model as model
from checkerjax.images._forensics_calibration import PATH, label
from checkerjax.images._forensics_input import as_field
from checkerjax.images._forensics_moments import PhaseMoments, phase_moments
from checkerjax.images._forensics_scores import behind, by_layer, evidences
from experiments.forensics import generators
from experiments.forensics.generators import Architecture

COUNTS = (1, 8)
UNIFORM = 0.1  # share of an even weight in the weights: other generators need other values of the unknowns
LEVELS = (0, 0.2, 0.5, 0.68, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 1)
Views = list[PhaseMoments | None]
Odds = tuple[Architecture, int, list[dict[str, float]]]


@dataclasses.dataclass(frozen=True)
class Config:
    """Generators of each architecture, with deconvolutions and without."""

    seed: int = 20261122
    seeds: int = 40
    tied_seeds: int = 10
    families: tuple[tuple[generators.Family, ...], ...] = (generators.CALIBRATION, generators.ODD)


SMOKE = Config(seeds=2, tied_seeds=1, families=(generators.CALIBRATION[:1],))


def architectures(config: Config) -> list[tuple[Architecture, int]]:
    """With the number of seeds."""
    found = []
    for families in config.families:
        found += [(a, config.seeds) for a in generators.architectures(families)]
        found += [(a, config.tied_seeds) for a in generators.tied(families)]
    return found


def moments(architecture: Architecture, seeds: int, seed: int, path: pathlib.Path | None) -> dict[int, list[Views]]:
    """Of each generator's first image and of eight, kept in a file."""
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as stored:
            return _unpacked(dict(stored), seeds)
    found: dict[int, list[Views]] = {count: [] for count in COUNTS}
    for made in generators.images(architecture, seeds, max(COUNTS), seed):
        squares = as_field("calibrate", made, "tanh").values ** 2
        for count in COUNTS:
            found[count].append([phase_moments(squares[:count], s, model.STACKED) for s in model.STRIDES])
    if path is not None:
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, allow_pickle=False, **_packed(found))
        os.replace(partial, path)
    return found


def _packed(found: dict[int, list[Views]]) -> dict[str, np.ndarray]:
    arrays = {}
    for count, generators_ in found.items():
        for place, stride in enumerate(model.STRIDES):
            views = [views[place] for views in generators_]
            if all(view is not None for view in views):
                arrays[f"powers_{count}_{stride}"] = np.stack([view.powers for view in views if view is not None])
                arrays[f"errors_{count}_{stride}"] = np.array([view.errors for view in views if view is not None])
    return arrays


def _unpacked(arrays: dict[str, np.ndarray], seeds: int) -> dict[int, list[Views]]:
    def view(count: int, stride: int, index: int) -> PhaseMoments | None:
        powers = arrays.get(f"powers_{count}_{stride}")
        if powers is None:
            return None
        levels = round(np.log(powers.shape[1]) / np.log(stride))
        return PhaseMoments(stride, levels, powers[index], tuple(arrays[f"errors_{count}_{stride}"][index]))

    return {count: [[view(count, s, i) for s in model.STRIDES] for i in range(seeds)] for count in COUNTS}


def fit_weights(cases: Sequence[tuple[Architecture, Views]]) -> dict[str, np.ndarray]:
    """Weights of the unknowns that make the moments of all generators likeliest (EM), with some of an even weight."""
    tables: dict[str, list[np.ndarray]] = {"last": [], "below": [], "first step": [], "finer steps": []}
    for architecture, views in cases:
        for view in views:
            if view is None:
                continue
            if architecture.tied:
                _add_even(tables, view)
            elif view.stride == architecture.stride:
                table = model.likelihood_table(view, architecture.kernel)
                tables["last"].append(model.log_sum_exp(np.moveaxis(table, -1, 0).reshape(table.shape[-1], -1)))
                for level in range(2, min(view.levels, architecture.stacked) + 1):
                    tables["below"].append(model.unequal_table(view, level))
    fitted = {name: _em(np.array(rows)) for name, rows in tables.items()}
    return {
        "last": fitted["last"],
        "below": fitted["below"],
        "even": np.stack([fitted["first step"], fitted["finer steps"]]),
    }


def _add_even(tables: dict[str, list[np.ndarray]], view: PhaseMoments) -> None:
    powers = view.powers / view.powers.mean((0, 1))
    for index, (parent, period) in enumerate(view.steps):
        table = model.even_table(model.fold(powers, period), parent, view.errors[index])
        tables["finer steps" if index else "first step"].append(table)


def _em(tables: np.ndarray, rounds: int = 200) -> np.ndarray:
    weights = np.full(tables.shape[1], 1 / tables.shape[1])
    for _ in range(rounds):
        joint = np.log(weights + 1e-300) + tables
        weights = np.exp(joint - model.log_sum_exp(joint)[:, None]).mean(0)
    return (1 - UNIFORM) * weights / weights.sum() + UNIFORM / len(weights)


def cases(config: Config, cache: pathlib.Path | None) -> Iterator[tuple[Architecture, int, list[Views]]]:
    """Architectures with the views of all their generators, one image and eight."""
    for index, (architecture, seeds) in enumerate(architectures(config)):
        path = cache / f"{index}.npz" if cache is not None else None
        for count, views in moments(architecture, seeds, config.seed + index, path).items():
            yield architecture, count, views
        if index % 20 == 0:
            print(f"{index}: {architecture.name}", flush=True)


def main() -> None:
    """Simulates, fits, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("out/forensics"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    config, cache = (SMOKE, None) if options.smoke else (Config(), options.cache)
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    found = list(cases(config, cache))
    thinned = [(a, views) for a, _, every in found for views in every[:: 1 if options.smoke else 4]]
    weights = fit_weights(thinned)
    priors = model.Priors(**{name: np.log(values) for name, values in weights.items()})
    odds = [(a, count, [by_layer(evidences(views, priors)) for views in every]) for a, count, every in found]
    table = finish(config, weights, odds)
    if options.smoke:
        print(json.dumps(table)[:400])
        return
    PATH.write_text(json.dumps(table, indent=1) + "\n")
    print(f"written: {PATH}")


def finish(config: Config, weights: dict[str, np.ndarray], odds: Sequence[Odds]) -> dict[str, Any]:
    """The table that is committed."""
    return {
        "made_with": {
            "command": "uv run python -m experiments.forensics.calibrate",
            "config": dataclasses.asdict(config),
            "versions": {
                "checkerjax": __version__, "python": platform.python_version(), "numpy": np.__version__,
                "scipy": scipy.__version__, "jax": jax.__version__,
            },
            "generators": sum(len(rows) for _, count, rows in odds if count == COUNTS[0]),
        },
        "weights": {name: np.round(values, 5).tolist() for name, values in weights.items()},
        "temper": temper([(name_of(a), row) for a, _, rows in odds for row in rows]),
        "levels": list(LEVELS),
        "quantiles": quantiles(odds),
    }  # fmt: skip


def name_of(architecture: Architecture) -> str:
    """The true hypothesis."""
    return label(None, None) if architecture.tied else label(architecture.kernel, architecture.stride)


def temper(cases: Sequence[tuple[str, dict]]) -> float:
    """The exponent of the odds that makes the probabilities of the truths largest on average (of the logarithm)."""
    names = sorted(behind(cases[0][1]))
    distances = np.array([[behind(row)[name] for name in names] for _, row in cases])
    true = np.array([names.index(name) for name, _ in cases])
    exponents = np.round(np.arange(0.1, 1.51, 0.05), 2)
    losses = [np.mean(e * distances[np.arange(len(true)), true] + model.log_sum_exp(-e * distances)) for e in exponents]
    return float(exponents[int(np.argmin(losses))])


def quantiles(odds: Sequence[Odds]) -> dict[str, list[float]]:
    """How far the truth is behind, at `LEVELS`: the worst of families, of one image or eight, of kernels alike."""
    groups: dict[str, dict[tuple, list[float]]] = {}
    for architecture, count, rows in odds:
        name = name_of(architecture)
        values = groups.setdefault(name, {}).setdefault((count, architecture.family), [])
        values += [behind(row)[name] for row in rows]
    worst = {name: np.max([np.quantile(v, LEVELS) for v in every.values()], axis=0) for name, every in groups.items()}
    alike: dict[tuple, list[str]] = {(): [label(None, None)]}
    for kernel, stride in itertools.product(model.KERNELS, model.STRIDES):
        counts = model.phase_counts(kernel, stride)
        alike.setdefault((stride, *(counts / counts.mean())), []).append(label(kernel, stride))
    found = {}
    for names in alike.values():  # what has one likelihood is kept together
        every = [worst[name] for name in names if name in worst]
        found |= {name: [round(float(q), 3) for q in np.max(every, axis=0)] for name in names}
    return found


if __name__ == "__main__":
    main()

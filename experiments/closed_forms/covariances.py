"""Do covariances of random stacks tend to the closed form of many channels, and how fast?

Every stack is drawn at several widths, which are the channels of its input too, for flat and for white input, and is
looked at where no border is seen: line powers and their ratio to DC, phase powers and lags of a flat field; phase
powers and lags, near and far, of a white one. Stacks with a batch norm, which sees borders and batches, have circular
borders, and batches of as many images as channels.

Run:     uv run python -m experiments.closed_forms.covariances   (--smoke: seconds; --cases N: stops after N stacks)
         Started again, it goes on where it was; --table prints what is stored.
Expect:  7 minutes of processor time; 204 stacks, off by 6.8% of the mean power at width 4, 2.1% at 16, and by less than
         the 0.5% that chance hides at 64
Writes:  covariances.json and covariances.txt beside this file (configuration, versions, one row per stack and width)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import checkerjax
from checkerjax import stacks
from checkerjax.expectations import PeriodicCovariance, covariance
from experiments.closed_forms import circular
from experiments.closed_forms.wide_stacks import Case, random_case

HERE = pathlib.Path(__file__).parent
RESULTS = "covariances.json"
NUMBERS = 4_000_000  # normals at a time


@dataclasses.dataclass(frozen=True)
class Config:
    """`draws` of weights and input, one number for each of `widths`; an eighth of it with batch norm."""

    cases: int = 204
    widths: tuple[int, ...] = (4, 16, 64)
    draws: tuple[int, ...] = (2048, 1024, 512)
    seed: int = 0


SMOKE = Config(cases=3, widths=(4, 16), draws=(1024, 512))


def cases(config: Config) -> Iterator[tuple[Case, dict[str, np.ndarray]]]:
    """Stacks that have a closed form, with it; the same ones in every run."""
    rng = np.random.default_rng(config.seed)
    for _ in range(config.cases):
        while True:
            case = random_case(lambda options: options[int(rng.integers(len(options)))])
            try:
                expected = closed_form(case)
            except ValueError:  # a non-linear layer where the field is no longer Gaussian
                continue
            break
        yield case, expected


def field_of(case: Case, kind: str) -> PeriodicCovariance:
    """The closed form. Of the width nothing depends: fan-in cancels, and joined channels are as many in each branch."""
    stack, size = case.torus()
    return covariance(stack, size, ndim=case.ndim, channels=16, width=16, input=kind)


def approximate(case: Case) -> bool:
    """Whether the closed form says of itself that it is not the limit."""
    return any(field_of(case, kind).approximate for kind in kinds(case))


def closed_form(case: Case) -> dict[str, np.ndarray]:
    """Expectations by kind; ValueError where there are none."""
    found = {}
    for kind in kinds(case):
        field = field_of(case, kind)
        found |= {f"{kind} phases": field.phase_powers(), f"{kind} lags": _lags_of(field, case)}
        if kind == "flat":
            found["lines"] = field.line_powers()
    return found


def kinds(case: Case) -> tuple[str, ...]:
    """A latent has no space in which it could be flat."""
    return ("flat", "white") if case.size else ("white",)


def shifts(case: Case) -> list[tuple[int, ...]]:
    """Lags along all axes at once and along the last: 1, a period, and the longest that all phases have."""
    longest = [stop - start - p for (start, stop), p in zip(case.window, case.period)]
    steps = sorted({1, case.period[-1], longest[-1]})
    found = [(*(0,) * (case.ndim - 1), t) for t in steps if t <= longest[-1]]
    return found if case.ndim == 1 else [*found, (1,) * case.ndim, tuple(longest)]


def _lags_of(field: PeriodicCovariance, case: Case) -> np.ndarray:
    own = np.asarray(field.own)
    return np.stack([own[(..., *shift)] for shift in shifts(case)])


def statistics(case: Case, width: int) -> Any:
    """`(normals, inputs) -> {kind: values}` of one network, as `closed_form` has them."""
    options: dict[str, Any] = {"channels": width, "ndim": case.ndim, "width": width}

    def run(normals: jax.Array, inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        params = stacks.init_from_normals(normals, case.stack, **options)
        found = {}
        for kind, x in inputs.items():
            if kind == "flat":
                x = jnp.broadcast_to(x, (x.shape[0], *case.size, width))
            if case.batches():
                y = circular.apply(params, case.stack, x)
            else:
                y = stacks.apply(params, case.stack, x, precision="highest")
            y = y[(slice(None), *(slice(*run) for run in case.window))]
            found |= {f"{kind} phases": _by_phase(y * y, case), f"{kind} lags": _products(y, case)}
            if kind == "flat":
                axes = tuple(range(1, case.ndim + 1))
                bins = jnp.fft.fftn(y[(slice(None), *map(slice, case.period))], axes=axes, norm="forward")
                found["lines"] = (jnp.abs(bins) ** 2).mean((0, -1))
        return found

    return run


def _by_phase(values: jax.Array, case: Case) -> jax.Array:
    """`[*P]`: means over images, channels and whole periods, of a field that begins with phase 0."""
    values = values.mean((0, -1))
    for axis, p in enumerate(case.period):
        shape = (*values.shape[:axis], values.shape[axis] // p, p, *values.shape[axis + 1 :])
        values = values.reshape(shape).mean(axis)
    return values


def _products(y: jax.Array, case: Case) -> jax.Array:
    """`[lags, *P]`: means of y(n) y(n + t) by the phase of n."""
    found = []
    for shift in shifts(case):
        counts = [(n - t) // p * p for n, t, p in zip(y.shape[1:-1], shift, case.period)]
        here = (slice(None), *(slice(n) for n in counts))
        there = (slice(None), *(slice(t, t + n) for t, n in zip(shift, counts)))
        found.append(_by_phase(y[here] * y[there], case))
    return jnp.stack(found)


def simulate(case: Case, width: int, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`[draws, ...]` of every kind: one number of each network."""
    count = stacks.normal_count(case.stack, channels=width, ndim=case.ndim, width=width)
    images = width if case.batches() else 1
    sizes = {"flat": (1,) * case.ndim, "white": case.size}
    shapes = {kind: (images, *sizes[kind], width) for kind in kinds(case)}
    # Whole powers of two, so that they go into the draws.
    chunk = min(draws, 2 ** int(math.log2(NUMBERS / (count + sum(map(math.prod, shapes.values()))))))
    program = jax.jit(lambda normals, inputs: lax.map(lambda one: statistics(case, width)(*one), (normals, inputs)))
    parts = []
    for _ in range(draws // chunk):
        inputs = {kind: rng.standard_normal((chunk, *shape), np.float32) for kind, shape in shapes.items()}
        parts.append(jax.device_get(program(rng.standard_normal((chunk, count), np.float32), inputs)))
    return {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]}


def compare(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> dict[str, dict[str, list[float]]]:
    """By kind: deviations of the means, relative to the mean power of the field, and their standard errors."""
    rows = {}
    for name, wanted in expected.items():
        draws = found[name]
        flat = name == "lines" or name.startswith("flat")
        scale = expected["flat phases" if flat else "white phases"].mean()
        error = draws.std(0) / math.sqrt(len(draws))
        rows[name] = _row((draws.mean(0) - wanted) / scale, error / scale)
    if expected.get("lines", np.zeros(1)).size > 1:
        rows["ratio"] = _ratio(expected["lines"], found["lines"])
    return rows


def _ratio(expected: np.ndarray, draws: np.ndarray) -> dict[str, list[float]]:
    """Lines over DC: a ratio of sums, with the error of its linear part; relative to the ratio, if it is not 0."""
    draws = draws.reshape(len(draws), -1)
    wanted = (expected.sum() - expected.flat[0]) / expected.flat[0]
    lines, dc = draws[:, 1:].sum(1), draws[:, 0]
    ratio = lines.mean() / dc.mean()
    error = (lines - ratio * dc).std() / dc.mean() / math.sqrt(len(draws))
    scale = wanted if wanted > 1e-9 else 1.0
    return _row(np.array([(ratio - wanted) / scale]), np.array([error / scale]))


def _row(deviation: np.ndarray, error: np.ndarray) -> dict[str, list[float]]:
    # What does not vary (a line that is exactly 0) leaves rounding in float32.
    error = np.maximum(error, 1e-5)
    return {"deviation": _rounded(deviation), "error": _rounded(error)}


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{v:.4g}") for v in np.ravel(values)]


def main(config: Config, folder: pathlib.Path | None, stop_after: int | None = None) -> dict:
    """Rows of all stacks; those that `folder` holds of the same configuration are not measured again."""
    facts = {"checkerjax": checkerjax.__version__, "jax": jax.__version__, "device": jax.devices()[0].platform}
    results: dict[str, Any] = {"config": json.loads(json.dumps(dataclasses.asdict(config))), "versions": facts}
    results["rows"] = _stored(folder, results["config"])
    for number, (case, expected) in enumerate(cases(config)):
        if number == (stop_after or config.cases):
            break
        if number < len(results["rows"]):
            continue
        row: dict[str, Any] = {"case": case.text(), "batches": case.batches(), "approximate": approximate(case)}
        row["widths"] = {}
        for width, draws in zip(config.widths, config.draws):
            draws = draws // 8 if case.batches() else draws
            found = simulate(case, width, draws, np.random.default_rng([config.seed, number, width]))
            row["widths"][str(width)] = compare(expected, found)
        results["rows"].append(row)
        jax.clear_caches()
        if folder is not None:
            _write(results, folder)
    return results


def _stored(folder: pathlib.Path | None, config: dict) -> list[dict]:
    path = folder and folder / RESULTS
    if path is None or not path.exists():
        return []
    stored = json.loads(path.read_text())
    return stored["rows"] if stored["config"] == config else []


def _write(results: dict, folder: pathlib.Path) -> None:
    head = json.dumps({key: value for key, value in results.items() if key != "rows"}, indent=1)
    rows = ",\n".join(f"  {json.dumps(row)}" for row in results["rows"])
    partial = folder / f".{RESULTS}.part"
    partial.write_text(f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n')
    os.replace(partial, folder / RESULTS)


if __name__ == "__main__":
    from experiments.closed_forms.covariances_table import table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few stacks, nothing written")
    parser.add_argument("--cases", type=int, help="stop after so many stacks")
    parser.add_argument("--table", action="store_true", help="of what is stored; measures nothing")
    given = parser.parse_args()
    if given.table:
        measured = json.loads((HERE / RESULTS).read_text())
    else:
        measured = main(SMOKE if given.smoke else Config(), None if given.smoke else HERE, given.cases)
    print(table(measured))
    if not given.smoke:
        (HERE / "covariances.txt").write_text(table(measured))

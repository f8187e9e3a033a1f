"""Are the second moments of random stacks what the closed form says, at every pixel and at any width?

Run:     uv run python -m experiments.closed_forms.second_moments   (--smoke: seconds)
Expect:  5 minutes of processor time; 240 stacks, 4,189 pixels, none beyond 4 standard errors (largest 3.8), 190 beyond
         2, where as many independent normals would have 191 (pixels of one stack are not independent)
Writes:  second_moments.json and second_moments.txt beside this file (configuration, versions, one row per stack)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib

import jax
import numpy as np

import checkerjax
from checkerjax import stacks
from checkerjax.expectations import second_moments
from experiments.closed_forms.random_stacks import Case, ramp, random_case

HERE = pathlib.Path(__file__).parent
BATCH = 20_000


@dataclasses.dataclass(frozen=True)
class Config:
    """`cases`: stacks with exact second moments; `draws`: of weights and input, for each."""

    cases: int = 240
    draws: int = 200_000
    seed: int = 0


SMOKE = Config(cases=4, draws=40_000)


def expected(case: Case) -> np.ndarray:
    """The closed form; ValueError where there is none."""
    return second_moments(
        case.stack,
        case.size,
        channels=case.channels,
        width=case.width,
        initialiser=case.initialiser,
        input=ramp(case.size) if case.input == "ramp" else 1.0,
    )


def squares(case: Case, draws: int, rng: np.random.Generator):
    """Yields y^2 of `draws` random networks, in batches: [BATCH, *out], averaged over channels."""
    options = {"channels": case.channels, "ndim": len(case.size), "width": case.width, "initialiser": case.initialiser}
    count = stacks.normal_count(case.stack, **options)

    def run(normals, x):
        return stacks.apply(stacks.init_from_normals(normals, case.stack, **options), case.stack, x[None])[0]

    run = jax.jit(jax.vmap(run))
    for _ in range(draws // BATCH):
        y = np.asarray(run(_numbers(case, count, rng), _inputs(case, rng)), np.float64)
        yield (y**2).mean(axis=-1)


def _numbers(case: Case, count: int, rng: np.random.Generator) -> np.ndarray:
    shape = (BATCH, count)
    if case.law == "signs":
        return (2 * rng.integers(0, 2, shape) - 1).astype(np.float32)
    return rng.standard_normal(shape, np.float32)


def _inputs(case: Case, rng: np.random.Generator) -> np.ndarray:
    ones = (1,) * len(case.size)
    if case.input == "ramp":
        signs = 2 * rng.integers(0, 2, (BATCH, *ones, 1)) - 1
        field = signs * np.sqrt(ramp(case.size))[..., None]
    else:
        field = rng.standard_normal((BATCH, *(ones if case.input == "flat" else case.size), case.channels))
    return np.broadcast_to(field, (BATCH, *case.size, case.channels)).astype(np.float32)


def deviation(case: Case, q: np.ndarray, draws: int, rng: np.random.Generator) -> dict:
    """The mean of the squares less `q`, in standard errors; and the largest standard error relative to q."""
    total, total_squares = np.zeros(q.shape), np.zeros(q.shape)
    for batch in squares(case, draws, rng):
        total += batch.sum(axis=0)
        total_squares += (batch**2).sum(axis=0)
    draws = draws // BATCH * BATCH
    mean = total / draws
    error = np.sqrt(np.maximum(total_squares / draws - mean**2, 0) / draws)
    # Where squares do not vary (one tap, +-1 weights), what is left is rounding in float32.
    z = (mean - q) / np.maximum(error, 1e-5 * q + 1e-30)
    used = q > 0
    relative = float((error[used] / q[used]).max(initial=0))
    return {"z": [float(v) for v in z.ravel()], "relative_error": relative}


def main(config: Config) -> dict:
    """Deviations of all pixels of all stacks."""
    rng = np.random.default_rng(config.seed)
    rows, values, refused = [], [], 0
    while len(rows) < config.cases:
        case = random_case(lambda options: options[int(rng.integers(len(options)))])
        try:
            q = expected(case)
        except ValueError:  # a sum or a ReLU that no flip of signs makes exact
            refused += 1
            continue
        found = deviation(case, q, config.draws, rng)
        z = found.pop("z")
        values += z
        rows.append({"case": case.text(), "pixels": len(z), "largest_z": max(map(abs, z)), **found})
    return {
        "config": dataclasses.asdict(config),
        "versions": {"checkerjax": checkerjax.__version__, "jax": jax.__version__, "device": jax.devices()[0].platform},
        "summary": {"refused": refused, **_summary(np.abs(values))},
        "rows": rows,
    }


def _summary(z: np.ndarray) -> dict:
    """How many pixels lie beyond some standard errors, and how many of as many independent normals would."""
    beyond = {str(c): [int((z > c).sum()), round(z.size * math.erfc(c / math.sqrt(2)), 2)] for c in (1, 2, 3, 4)}
    return {"pixels": z.size, "largest_z": float(z.max()), "beyond": beyond}


def table(found: dict) -> str:
    """The results as text."""
    summary, config = found["summary"], found["config"]
    lines = [
        f"{config['cases']} random stacks, {config['draws']} networks each, seed {config['seed']}; "
        f"{summary['refused']} more were refused as not exact",
        f"{summary['pixels']} pixels; largest deviation {summary['largest_z']:.2f} standard errors",
        *(f"beyond {c}: {n} pixels, normal: {normal}" for c, (n, normal) in summary["beyond"].items()),
        "",
        "largest z   largest standard error / q   pixels   stack",
    ]
    for row in found["rows"]:
        numbers = f"{row['largest_z']:9.2f}   {row['relative_error']:26.4f}   {row['pixels']:6d}"
        lines.append(f"{numbers}   {row['case']}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few stacks, nothing written")
    smoke = parser.parse_args().smoke
    results = main(SMOKE if smoke else Config())
    print(table(results))
    if not smoke:
        (HERE / "second_moments.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "second_moments.txt").write_text(table(results))

"""From how many channels on are wide-limit second moments of input gradients right, and where do they fail below?

Run:     uv run python -m experiments.closed_forms.small_width   (--smoke: seconds)
Expect:  3 minutes of processor time; with a flat cotangent 31% to 113% too much at C = 1 (two deconvs; a third layer),
         0.1% to 3.5% at C = 64; with a white one nothing beyond 0.3%, within the errors
Writes:  small_width.json and small_width.txt beside this file (configuration, versions, one row per case and width)

`gradient_covariance` takes the weights that a gradient meets for independent of those that the field met. With a white
cotangent and independent taps nothing depends on that: each pair of taps that differ has mean 0, and a flip of a
filter's sign exchanges the two sides of its ReLU. With a flat cotangent products of different taps count, and which
ReLUs let them through depends on both. Interpolations might do the same, but no error of theirs was seen.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

import checkerjax
from checkerjax import stacks
from checkerjax.expectations import gradient_covariance

HERE = pathlib.Path(__file__).parent
SIZE, PIXELS = 16, slice(6, 10)  # of an input on one axis; those that no border reaches


class Case(NamedTuple):
    """A stack with C channels everywhere, and what it is probed with."""

    stack: str
    input: str
    cotangent: str


DECONV = "deconv k5 s2, relu, deconv k5 s2"
NEAREST, LINEAR = (f"resize k3 s2{method}, relu, resize k3 s2{method}" for method in ("", " linear"))
CASES = (
    Case(DECONV, "white", "white"),
    Case(DECONV, "flat", "white"),
    Case(DECONV, "white", "flat"),
    Case(DECONV, "flat", "flat"),
    Case(f"{DECONV}, relu, conv k3", "flat", "flat"),
    Case(NEAREST, "white", "white"),
    Case(LINEAR, "white", "white"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """`networks`: drawn for C = 1, and 1 / C of them for more, whose channels average."""

    widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    networks: int = 800_000
    batch: int = 2_000
    seed: int = 0


SMOKE = Config(widths=(1, 8), networks=16_000)


def deviation(case: Case, channels: int, config: Config, rng: np.random.Generator) -> dict:
    """E[g(n)^2] of random networks over that of the wide limit, less 1; and its standard error."""
    options: dict[str, Any] = {"channels": channels, "ndim": 1, "width": channels}
    wide = gradient_covariance(case.stack, SIZE, input=case.input, cotangent=case.cotangent, **options)
    count, out = stacks.normal_count(case.stack, **options), stacks.output_size(case.stack, SIZE)

    def squares(normals, x, u):
        params = stacks.init_from_normals(normals, case.stack, **options)
        _, back = jax.vjp(lambda x: stacks.apply(params, case.stack, x[None], precision="highest")[0], x)
        return (back(u)[0][PIXELS] ** 2).mean()

    run = jax.jit(jax.vmap(squares))
    values = []
    for _ in range(max(config.networks // channels // config.batch, 4)):
        normals = rng.standard_normal((config.batch, count), np.float32)
        x, u = (
            _probe(kind, n, config.batch, channels, rng) for kind, n in ((case.input, SIZE), (case.cotangent, *out))
        )
        values.append(np.asarray(run(normals, x, u), np.float64))
    ratio = np.concatenate(values) / float(wide.phase_powers()[0])
    return {"deviation": float(ratio.mean() - 1), "standard_error": float(ratio.std() / np.sqrt(ratio.size))}


def _probe(kind: str, size: int, batch: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    numbers = rng.standard_normal((batch, 1 if kind == "flat" else size, channels), np.float32)
    return np.broadcast_to(numbers, (batch, size, channels))


def main(config: Config) -> dict:
    """Deviations of all cases at all widths."""
    rng = np.random.default_rng(config.seed)
    rows = [
        {**case._asdict(), "channels": c, **deviation(case, c, config, rng)} for case in CASES for c in config.widths
    ]
    return {
        "config": dataclasses.asdict(config),
        "versions": {"checkerjax": checkerjax.__version__, "jax": jax.__version__, "device": jax.devices()[0].platform},
        "rows": rows,
    }


def table(found: dict) -> str:
    """The results as text: per cent, and their standard errors."""
    config = found["config"]
    lines = [
        "E[g(n)^2] of the input gradient over its wide limit, less 1, in per cent +- standard error; C channels "
        f"everywhere, {config['networks']} / C networks, seed {config['seed']}",
        "",
    ]
    head = "".join(f"{f'C = {c}':>15}" for c in config["widths"])
    lines.append(f"{'stack':48}{'input':7}{'cotangent':10}{head}")
    for case in CASES:
        rows = [row for row in found["rows"] if Case(row["stack"], row["input"], row["cotangent"]) == case]
        cells = "".join(f"{_cell(row):>15}" for row in rows)
        lines.append(f"{case.stack:48}{case.input:7}{case.cotangent:10}{cells}")
    return "\n".join(lines) + "\n"


def _cell(row: dict) -> str:
    return f"{100 * row['deviation']:.1f} +- {100 * row['standard_error']:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few networks, nothing written")
    smoke = parser.parse_args().smoke
    results = main(SMOKE if smoke else Config())
    print(table(results))
    if not smoke:
        (HERE / "small_width.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "small_width.txt").write_text(table(results))

"""What closed forms say of the article's generators, with borders and without, next to what the main job measured.

The closed forms are of many channels and large batches. Without borders shares of lines have an exact distribution over
seeds, before the last tanh. With borders the covariance of all pairs of pixels is exact, and shares are those of
Gaussian fields drawn from it, behind the tanh as in the main job; no network is drawn.

Run:     uv run python -m experiments.closed_forms.generators   (--smoke: one generator, few fields, nothing written)
Expect:  3 minutes; with borders medians of lines as measured, within 5%; a tenth larger without
Writes:  generators.json and generators.txt beside this file
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import re
from typing import Any, NamedTuple

import jax
import numpy as np

import checkerjax
from checkerjax import sweeps
from checkerjax.expectations import DenseCovariance, PeriodicCovariance, covariance, dense_covariance

HERE = pathlib.Path(__file__).parent
MEASURED = HERE.parent / "main_job" / "sweep.txt"
PERIODS = 2, 4
MARGIN = 4  # pixels at each border that the main job leaves out of phase powers
QUANTILES = 0.025, 0.5, 0.975


@dataclasses.dataclass(frozen=True)
class Config:
    """Generators, by the number of last layers that are deconvolutions and by kernel; and fields drawn of each."""

    deconvolutions: tuple[int, ...] = tuple(sweeps.ROWS)
    kernels: tuple[int, ...] = sweeps.KERNELS
    fields: int = 20_000
    seed: int = 0


SMOKE = Config(deconvolutions=(1,), kernels=(5,), fields=500)


class Numbers(NamedTuple):
    """2.5%, 50% and 97.5% of the shares of images, the ratio of phase powers, and the standard deviation before tanh.

    Measured, the last is a median, and the ratio one of sums over seeds.
    """

    f2: list[float]
    f4: list[float]
    phase_ratio: float
    std: float | None


def measured(text: str) -> dict[str, Numbers]:
    """The rows of the main job's table, by name."""
    number = r"(\S+) \[(\S+), (\S+)\]"
    rows = re.findall(rf"^((?:last|none)[^,]*, k\d) +{number} +{number} +(\S+)", text, re.MULTILINE)
    stds = dict(re.findall(r"standard deviation before tanh, (.*): (\S+) \[", text))
    found = {}
    for name, *cells in rows:
        median2, low2, high2, median4, low4, high4, ratio = map(float, cells)
        std = float(stds[name]) if name in stds else None
        found[name] = Numbers([low2, median2, high2], [low4, median4, high4], ratio, std)
    return found


def without_borders(field: PeriodicCovariance) -> Numbers:
    """On a torus, before the tanh."""
    shares = []
    for period in PERIODS:
        law = field.ratio_distribution(statistic="lattice_share", channels=3, period=period)
        shares.append([law.quantile(q) for q in QUANTILES])
    powers = _by_phase(np.tile(field.phase_powers(), [n // p for n, p in zip(field.size, field.period)]))
    return Numbers(shares[0], shares[1], _ratio(powers), float(np.sqrt(powers.mean())))


def with_borders(moments: DenseCovariance, fields: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Behind the tanh and before it, of Gaussian fields with a given covariance, three independent channels each."""
    side = moments.mean.shape[0]
    values, vectors = np.linalg.eigh(moments.own.reshape(side**2, side**2))
    root = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)
    shares: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    stds = []
    for count in [1000] * (fields // 1000) or [fields]:
        x = rng.standard_normal((count, 3, side**2), np.float32) @ root.T
        stds.append(x.std((1, 2)))
        for kept, y in zip(shares, (np.tanh(x), x)):
            power = np.abs(np.fft.fft2(y.reshape(count, 3, side, side))) ** 2
            kept.append(np.array([lattice_share(power.sum(1), period) for period in PERIODS]))
    inside = (slice(MARGIN, -MARGIN),) * 2
    powers = _by_phase(np.diagonal(moments.own.reshape(side**2, side**2)).reshape(side, side)[inside])
    ratio, std = _ratio(powers), float(np.median(np.concatenate(stds)))
    quantiles = [np.quantile(np.concatenate(kept, axis=1), QUANTILES, axis=1).T.tolist() for kept in shares]
    behind, before = (Numbers(f2, f4, ratio, std) for f2, f4 in quantiles)
    return behind, before


def lattice_share(power: np.ndarray, period: int) -> np.ndarray:
    """Lines over all but DC, of spectra `[images, n, n]`."""
    step = power.shape[-1] // period
    dc = power[:, 0, 0]
    return (power[:, ::step, ::step].sum((1, 2)) - dc) / (power.sum((1, 2)) - dc)


def _by_phase(powers: np.ndarray) -> np.ndarray:
    """`[2, 2]`: means over the phases of period 2."""
    n = len(powers) // 2
    return powers.reshape(n, 2, n, 2).mean((0, 2))


def _ratio(powers: np.ndarray) -> float:
    return float(powers.max() / powers.min())


def main(config: Config) -> dict[str, Any]:
    """Numbers of all generators."""
    known = measured(MEASURED.read_text())
    rng = np.random.default_rng(config.seed)
    rows = {}
    for deconvolutions in config.deconvolutions:
        for kernel in config.kernels:
            name = f"{sweeps.ROWS[deconvolutions]}, k{kernel}"
            print(name, "...", flush=True)
            stack = sweeps.generator(deconvolutions, kernel).removesuffix(", tanh")
            behind, before = with_borders(dense_covariance(stack, None, channels=100), config.fields, rng)
            rows[name] = {
                "measured": known[name]._asdict(),
                "with borders": behind._asdict(),
                "... before tanh": before._asdict(),
                "without borders": without_borders(covariance(stack, None, channels=100))._asdict(),
            }
    versions = {"checkerjax": checkerjax.__version__, "jax": jax.__version__, "numpy": np.__version__}
    return {"config": dataclasses.asdict(config), "versions": versions, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """The results as text."""
    line = "{:<15}{:<16}{:<26}{:<26}{:>6}{:>7}"
    lines = [
        "Shares of lines of an image: median and middle 95%. Measured: 200 networks each, behind the tanh.",
        f"With borders: {found['config']['fields']} Gaussian fields of the exact covariance, behind the tanh.",
        "Without borders: exact, before the tanh.",
        "",
        line.format("deconv in", "", "lines, period 2", "lines, period 4", "phases", "std"),
    ]
    lines.append("-" * len(lines[-1]))
    for name, kinds in found["rows"].items():
        for kind, numbers in kinds.items():
            std = "" if numbers["std"] is None else f"{numbers['std']:.2f}"
            cells = [_share(numbers["f2"]), _share(numbers["f4"]), f"{numbers['phase_ratio']:.2f}", std]
            lines.append(line.format(name if kind == "measured" else "", kind, *cells))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _share(values: list[float]) -> str:
    low, median, high = (f"{v:.3f}" if v >= 0.02 else f"{v:.2g}" if v > 0 else "0" for v in values)
    return f"{median} [{low}, {high}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one generator, few fields, nothing written")
    smoke = parser.parse_args().smoke
    results = main(SMOKE if smoke else Config())
    print(table(results))
    if not smoke:
        (HERE / "generators.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "generators.txt").write_text(table(results))

"""How much faster a closed form is than a Monte Carlo of 1% standard error, and what it takes as outputs grow.

The article's three generators at random initialisation. Closed form: from text to the number, in NumPy, without
borders. Monte Carlo: the sweep engine, once compiled, drawing kernels or the pre-activations that they make, whichever
is faster; 4 images a network, 3 of them measured. Ratios are ratios of sums over networks, and how many networks 1%
takes follows from how much they vary. Both give all statistics at once; each is counted as if it were wanted alone.

Sizes: the generator with two deconvolutions, on larger and larger first fields; "expect" is all that the door prints,
"all pairs" the covariance with borders. Peak memory is what Python allots, NumPy's arrays among it.

Run:     uv run python -m experiments.benchmarks.closed_forms   (--smoke: seconds, keeps nothing; --table: of what is
         stored)
Writes:  closed_forms.json, and prints the tables
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from checkerjax import sweeps
from checkerjax.expectations import PeriodicCovariance, covariance, dense_covariance, expect
from experiments.benchmarks import config as config_
from experiments.benchmarks import store

HERE = pathlib.Path(__file__).parent
KERNEL = 5
PERIOD = 4
PRECISION = 0.01
ENGINES = ("drawn", "implied")
STATISTICS = ("lines over DC", "share of lines", "phase powers")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is timed; `seeds` networks say how much they vary, and how long one takes."""

    deconvolutions: tuple[int, ...] = tuple(sweeps.ROWS)
    seeds: int = 512
    chunk: int = 32
    repeats: int = 15
    sides: tuple[int, ...] = (32, 64, 128, 256)
    all_pairs: tuple[int, ...] = (32, 64)
    seed: int = 0


SMOKE = Config(deconvolutions=(1,), seeds=24, chunk=8, repeats=2, sides=(32,), all_pairs=(32,))


def stack_of(deconvolutions: int, side: int = 32) -> str:
    """A generator before its last tanh."""
    text = sweeps.generator(deconvolutions, KERNEL).removesuffix(", tanh")
    return text.replace("dense 4x4", f"dense {side // 8}x{side // 8}")


def statistic(field: PeriodicCovariance, name: str) -> float:
    """One number of a closed form."""
    if name == "lines over DC":
        return float(field.lattice_ratio(period=PERIOD))
    if name == "share of lines":
        return float(field.lattice_share(period=PERIOD))
    return float(field.power_ratio())


def closed_form(deconvolutions: int, name: str) -> float:
    """From text to the number."""
    return statistic(covariance(stack_of(deconvolutions), None, channels=100), name)


def seconds(call: Callable[[], Any], repeats: int) -> list[float]:
    """Of each of several calls, after one that is not counted."""
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most that one call holds at a time."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def networks(deconvolutions: int, weights: str, config: Config) -> tuple[Any, float]:
    """A sweep's dataset, and the seconds that one network more takes."""
    one = sweeps.Config(
        name="generator",
        stack=stack_of(deconvolutions),
        channels=100,
        batch=4,
        measured=3,
        periods=(2, PERIOD),
        margin=4,
        weights=weights,
    )
    done: list[tuple[int, float]] = []  # networks, and when they were there

    def note(count: int, total: int) -> None:
        done.append((count, time.perf_counter()))

    seeds, seed = config.seeds, config.seed
    dataset = sweeps.sweep([one], seeds=seeds, base_seed=seed, chunk=config.chunk, draws="inside", report=note)
    (first, start), (last, end) = done[0], done[-1]
    return dataset.isel(config=0), (end - start) / (last - first)


def spread(dataset: Any, name: str) -> tuple[float, float]:
    """A ratio of sums over networks, and the standard deviation of one network's part in it, relative to the ratio."""
    lines = dataset.line_power.sel(period=PERIOD).sum("image").values
    if name == "phase powers":
        powers = sweeps.merge_phases(dataset.phase_power.sum("image").values, 2).reshape(len(lines), -1)
        means = powers.mean(0)
        above, below = powers[:, means.argmax()], powers[:, means.argmin()]
    else:
        above, below = lines, dataset["dc_power" if name == "lines over DC" else "variance"].sum("image").values
    ratio = above.mean() / below.mean()
    return float(ratio), float((above - ratio * below).std() / below.mean() / ratio)


def compared(config: Config) -> dict[str, Any]:
    """By generator: the times of both, and of how many networks 1% is the error."""
    rows = {}
    for deconvolutions in config.deconvolutions:
        print(f"{sweeps.ROWS[deconvolutions]} ...", flush=True)
        runs = {weights: networks(deconvolutions, weights, config) for weights in ENGINES}
        each = {weights: took for weights, (_, took) in runs.items()}
        dataset = runs[ENGINES[0]][0]
        row: dict[str, Any] = {"seconds_a_network": min(each.values()), "engines": each, "statistics": {}}
        for name in STATISTICS:
            measured, deviation = spread(dataset, name)
            row["statistics"][name] = {
                "closed_form": closed_form(deconvolutions, name),
                "measured": measured,
                "measured_error": deviation / math.sqrt(config.seeds),
                "networks": math.ceil((deviation / PRECISION) ** 2),
                "seconds": seconds(lambda d=deconvolutions, n=name: closed_form(d, n), config.repeats),
            }
        rows[sweeps.ROWS[deconvolutions]] = row
    return rows


def grown(config: Config) -> dict[str, Any]:
    """By side of the output: seconds and bytes of the closed form, its spectra, the door, and all pairs."""
    rows = {}
    for side in config.sides:
        print(f"{side} x {side} ...", flush=True)
        stack = stack_of(2, side)
        field = covariance(stack, None, channels=100)
        calls = {
            "covariance": lambda stack=stack: covariance(stack, None, channels=100),
            "power spectrum": field.power_spectrum,
            "cyclic spectrum": field.cyclic_spectrum,
            "expect": lambda stack=stack: str(expect(stack, channels=100)),
        }
        if side in config.all_pairs:
            calls["all pairs"] = lambda stack=stack: dense_covariance(stack, None, channels=100)
        rows[str(side)] = {
            name: {"seconds": seconds(call, min(config.repeats, 3)), "bytes": peak_bytes(call)}
            for name, call in calls.items()
        }
    return rows


def speedup(row: dict[str, Any], name: str) -> float:
    """Seconds of the Monte Carlo over those of the closed form."""
    one = row["statistics"][name]
    return one["networks"] * row["seconds_a_network"] / statistics.median(one["seconds"])


def tables(results: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| deconvolutions in | statistic | closed form, ms | networks for 1% | ms each | all, s | times faster |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for generator, row in results["generators"].items():
        for name, one in row["statistics"].items():
            each, ours = row["seconds_a_network"], statistics.median(one["seconds"])
            lines.append(
                f"| {generator} | {name} | {1e3 * ours:.1f} | {one['networks']} | {1e3 * each:.2f} "
                f"| {one['networks'] * each:.1f} | {speedup(row, name):.0f} |"
            )
    names = list(dict.fromkeys(name for row in results["sizes"].values() for name in row))
    lines += [
        "",
        f"| output | {' | '.join(f'{name}, s and MB' for name in names)} |",
        "| --- |" + " ---: |" * len(names),
    ]
    for side, row in results["sizes"].items():
        cells = [_cell(row[name]) if name in row else "" for name in names]
        lines.append(f"| {side} x {side} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(one: dict[str, Any]) -> str:
    return f"{statistics.median(one['seconds']):.3f}, {one['bytes'] / 1e6:.1f}"


def main(config: Config, folder: pathlib.Path | None) -> dict[str, Any]:
    """Measures everything, and stores it in a folder."""
    facts = store.new_results(config_.Config(), None)
    results = {
        "command": "uv run python -m experiments.benchmarks.closed_forms",
        "config": dataclasses.asdict(config),
        **{name: facts[name] for name in ("versions", "device")},
        "generators": compared(config),
        "sizes": grown(config),
    }
    if folder is not None:
        (folder / "closed_forms.json").write_text(json.dumps(results, indent=1) + "\n")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="seconds; keeps nothing")
    parser.add_argument("--table", action="store_true", help="of what is stored; measures nothing")
    given = parser.parse_args()
    if given.table:
        found = json.loads((HERE / "closed_forms.json").read_text())
    else:
        found = main(SMOKE if given.smoke else Config(), None if given.smoke else HERE)
    print(tables(found))

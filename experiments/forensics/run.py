"""Is the true kernel and stride in the set, how large is the set, and what is said of images without a grid?

Run:     uv run python -m experiments.forensics.run   (--smoke: seconds, nothing written)
Expect:  half an hour on two cores beside other work
Writes:  results.json beside this file, a line for each architecture: a run that was stopped goes on where it was;
         README.md and confusion.png are made of it by `python -m experiments.forensics.tables --write`

Generators are those of `generators.HELD_BACK`: none of their widths or seeds was used for the calibration.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import pathlib
import platform
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import scipy

import checkerjax
from checkerjax import images as pictures
from checkerjax.images import forensics
from experiments.forensics import generators
from experiments.forensics.generators import Architecture

HERE = pathlib.Path(__file__).parent
STORE = HERE / "results.json"
VERSIONS = {
    "checkerjax": checkerjax.__version__, "python": platform.python_version(), "numpy": np.__version__,
    "scipy": scipy.__version__, "jax": jax.__version__,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Generators of each architecture; tiles of photographs, in groups as if of one generator."""

    seed: int = 20270222
    seeds: int = 43
    tied_seeds: int = 6
    counts: tuple[int, ...] = (1, 8)
    tile: int = 64
    alpha: float = 0.05
    families: tuple[generators.Family, ...] = generators.HELD_BACK


SMOKE = Config(seeds=1, tied_seeds=1, families=generators.HELD_BACK[:1])


def judged(images: np.ndarray, config: Config) -> dict[str, Any]:
    """What is kept of a report: the set, the likeliest, the probability of each of the set."""
    report = forensics(images, alpha=config.alpha)
    return {
        "set": [s.name for s in report.set],
        "p": [round(s.probability, 4) for s in report.set],
        "best": report.suspects[0].name,
        "depth": [round(p, 2) for p in report.suspects[0].stacked],
        "clipped": round(report.clipped, 4),
    }


def of_architecture(architecture: Architecture, seeds: int, config: Config) -> dict[str, Any]:
    """Reports of all generators of one architecture, by number of images."""
    found: dict[str, Any] = {str(count): [] for count in config.counts}
    seed = config.seed + zlib.crc32(architecture.name.encode()) % 10**6
    for made in generators.images(architecture, seeds, max(config.counts), seed):
        for count in config.counts:
            found[str(count)].append(judged(made[:count], config))
    return found


def of_photographs(config: Config) -> dict[str, Any]:
    """Tiles one by one, and by eights of one photograph."""
    found: dict[str, Any] = {str(count): [] for count in config.counts}
    for photograph in pictures.package_photographs():
        tiles = np.round(pictures.tiles([photograph], config.tile) * 255).astype(np.uint8)
        for count in config.counts:
            groups = [tiles[i : i + count] for i in range(0, len(tiles) - count + 1, count)]
            found[str(count)] += [judged(group, config) | {"of": photograph.name} for group in groups]
    return found


def rows(config: Config, done: set[str], workers: int) -> Iterator[dict[str, Any]]:
    """What is not done yet, as it is done."""
    if "photographs" not in done:
        yield {"name": "photographs", "truth": "none", "found": of_photographs(config)}
    everything = [(a, config.seeds) for a in generators.architectures(config.families)]
    everything += [(a, config.tied_seeds) for a in generators.tied(config.families)]
    missing = [(a, seeds, config) for a, seeds in everything if a.name not in done]
    if workers == 1:
        yield from map(row, missing)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(row, missing)


def row(task: tuple[Architecture, int, Config]) -> dict[str, Any]:
    """All that is stored of one architecture."""
    architecture, seeds, config = task
    truth = "none" if architecture.tied else f"k{architecture.kernel} s{architecture.stride}"
    found = of_architecture(architecture, seeds, config)
    return {"name": architecture.name, "truth": truth, "stacked": architecture.stacked, "found": found}


def load(config: Config) -> dict[str, Any]:
    """What is stored, if it is of this configuration."""
    head = {
        "command": "uv run python -m experiments.forensics.run",
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
        "versions": VERSIONS,
        "device": "CPU",
    }
    if STORE.exists():
        stored = json.loads(STORE.read_text())
        if stored["config"] == head["config"]:
            return stored
    return head | {"rows": []}


def save(stored: dict[str, Any]) -> None:
    """One row a line, whole or not at all."""
    head = {name: value for name, value in stored.items() if name != "rows"}
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in stored["rows"])
    partial = STORE.with_suffix(".partial")
    partial.write_text(json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n{lines}\n]}}\n')
    os.replace(partial, STORE)


def main() -> None:
    """Runs what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    options = parser.parse_args()
    if options.smoke:
        for each in rows(SMOKE, set(), options.workers):
            print(each["name"], each["truth"], [r["set"] for r in each["found"]["1"]][:1])
        return
    stored = load(Config())
    for each in rows(Config(), {each["name"] for each in stored["rows"]}, options.workers):
        stored["rows"].append(each)
        stored["rows"].sort(key=lambda r: r["name"])
        save(stored)
        print(len(stored["rows"]), each["name"], flush=True)


if __name__ == "__main__":
    main()

"""Why do max pools send more gradient to some phases of a photograph than of noise?

Run:     uv run python -m experiments.max_pool_ties.run   (--smoke: seconds)
Expect:  20 s on two cores; 2x2 windows: most of the preference goes once ties are broken; 3x3: most stays
Writes:  results.json beside this file (configuration, versions, summary)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib

import numpy as np

from checkerjax import images, sweeps

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Config:
    """`dither`: half-width of the uniform noise that breaks ties, in grey levels of the 8-bit photographs."""

    seeds: int = 200
    base_seed: int = 0
    dither: float = 0.5


SMOKE = Config(seeds=10)


def main(config: Config) -> dict:
    """Phase power ratios of both pools on photographs as stored, dithered, and on white noise."""
    grid = [c for c in sweeps.gradient_grid() if c.name.startswith("max pool")]
    stored = images.tiles(images.package_photographs(), sweeps.TILE)
    noise = np.random.default_rng(config.base_seed).uniform(-config.dither, config.dither, stored.shape)
    dithered = (255 * stored + config.dither + noise) / (255 + 2 * config.dither)  # stays in [0, 1]
    results = {"config": dataclasses.asdict(config), "rows": {}}
    for label, photographs in (("as stored", stored), ("dithered", dithered)):
        dataset = sweeps.sweep(grid, seeds=config.seeds, base_seed=config.base_seed, photographs=photographs)
        for row in sweeps.gradient_rows(dataset):
            name = row.name if row.name.endswith("white") else f"{row.name}, {label}"
            results["rows"][name] = {"phase_ratio": row.phase_ratio, "chance": row.chance}
        results["versions"] = {k: dataset.attrs[k] for k in ("checkerjax_version", "jax_version", "device")}
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few seeds, nothing written")
    smoke = parser.parse_args().smoke
    found = main(SMOKE if smoke else Config())
    for name, row in found["rows"].items():
        value, low, high = row["phase_ratio"]
        print(f"{name:40s} {value:6.2f} [{low:.2f}, {high:.2f}]  chance {row['chance']:.2f}")
    if not smoke:
        (HERE / "results.json").write_text(json.dumps(found, indent=1) + "\n")

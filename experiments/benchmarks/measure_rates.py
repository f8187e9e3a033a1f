"""Pictures a second of `checkerjax measure`, from PNG files to reports, and of the same statistics in plain NumPy.

Photographs of scikit-image with noise, 512 x 512 RGB, 8 bits, each in the folder several times, as one measures folders
of thousands. checkerjax: its command, in a process that has started; the start of those that decode and measure counts.
NumPy: one picture after the other, one plane after the other, float64; for each period the
picture is cut to whole periods and transformed, its primitive lines are compared with the bins around each, lines of
the picture and of its local contrast; p-values by SciPy, Sidak's correction. Both read with Pillow, and take turns;
matrix products have one thread each.

Run:     uv run python -m experiments.benchmarks.measure_rates          (--smoke: seconds, keeps nothing)
Writes:  measure_rates.json, and prints the table
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import PIL.Image
import scipy.ndimage
import scipy.stats

from checkerjax import images
from checkerjax.cli import main as checkerjax_main

HERE = pathlib.Path(__file__).parent
NEAR = 6  # bins on each side of a line that make its floor
LOBE = 2  # bins beside it that a Hann window fills


@dataclasses.dataclass(frozen=True)
class Config:
    """What is timed."""

    pictures: int = 64
    copies: int = 8  # of each, for the command
    plain_pictures: int = 4  # of them, for the slow contender
    size: int = 512
    periods: tuple[int, int] = (2, 16)  # both ends in
    workers: int = 2
    repeats: int = 5
    seed: int = 0


SMOKE = Config(pictures=4, copies=2, plain_pictures=1, size=96, repeats=1)


def write_pictures(folder: pathlib.Path, config: Config) -> list[pathlib.Path]:
    """Crops of photographs (mirrored where too small) with noise of 2 levels, and every fourth with a weak grid."""
    rng = np.random.default_rng(config.seed)
    photographs = images.package_photographs()
    paths = []
    for i in range(config.pictures):
        pixels = 255 * photographs[i % len(photographs)].pixels
        pads = [(0, max(0, config.size - n)) for n in pixels.shape[:2]]
        pixels = np.pad(pixels, [*pads, (0, 0)], mode="symmetric")
        top, left = (int(rng.integers(n - config.size + 1)) for n in pixels.shape[:2])
        pixels = pixels[top : top + config.size, left : left + config.size]
        pixels = pixels + rng.normal(0, 2, pixels.shape)
        if i % 4 == 0:
            pixels[::2, ::2] += 1.5
        paths.append(folder / f"{i:03d}-0.png")
        PIL.Image.fromarray(np.round(np.clip(pixels, 0, 255)).astype(np.uint8)).save(paths[-1])
        for copy in range(1, config.copies):
            os.link(paths[-1], folder / f"{i:03d}-{copy}.png")
    return paths


def command(folder: pathlib.Path, config: Config) -> Callable[[], dict[str, list[int]]]:
    """`checkerjax measure FOLDER --json -`: the periods found, by file."""
    low, high = config.periods
    arguments = ["measure", str(folder), "--quiet", "--json", "-"]
    arguments += ["--workers", str(config.workers), "--periods", f"{low}:{high}"]

    def call() -> dict[str, list[int]]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert checkerjax_main(arguments) == 0
        return {picture["file"]: picture["found"] for picture in json.loads(out.getvalue())["pictures"]}

    return call


def plain(paths: list[pathlib.Path], config: Config) -> Callable[[], dict[str, list[int]]]:
    """What one writes first."""
    return lambda: {str(path): found_in(np.asarray(PIL.Image.open(path), np.float64), config) for path in paths}


def found_in(picture: np.ndarray, config: Config, alpha: float = 0.01) -> list[int]:
    """Periods whose lines, or lines of whose contrast, stand out in a picture `[H, W, 3]`."""
    periods = range(config.periods[0], config.periods[1] + 1)
    red, green, blue = np.moveaxis(picture, -1, 0)
    planes = [(red + green + blue) / 3**0.5, (red - blue) / 2**0.5, (red - 2 * green + blue) / 6**0.5]
    filtered = [even(plane) for plane in planes]
    contrast = np.abs(filtered[0])
    best = []
    for period in periods:
        lines = np.concatenate([line_ps(plane, period) for plane in filtered])
        phases = line_ps(contrast - contrast.mean(), period)
        both = [fisher(p) for p in (lines, phases)]
        best.append(min(both))
    return [period for period, p in zip(periods, best) if 1 - (1 - p) ** (2 * len(periods)) < alpha]


def fisher(p: np.ndarray) -> float:
    """One p-value of several independent ones."""
    return float(scipy.stats.chi2.sf(-2 * np.log(np.maximum(p, 1e-300)).sum(), 2 * len(p)))


def even(plane: np.ndarray) -> np.ndarray:
    """Second differences over their local RMS."""
    second = -scipy.ndimage.laplace(plane)
    return second / np.sqrt(scipy.ndimage.uniform_filter(second**2, 33) + 1e-12)


def line_ps(plane: np.ndarray, period: int) -> np.ndarray:
    """p-values of the primitive lines of a period: an F-test against the bins around each."""
    height, width = (n // period * period for n in plane.shape)
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2(plane[:height, :width] * window)) ** 2
    found = []
    for a in range(period):
        for b in range(period):
            if np.gcd(np.gcd(a, b), period) > 1 or (-a % period, -b % period) < (a, b):
                continue
            y, x = a * height // period, b * width // period
            rows, columns = np.arange(y - NEAR, y + NEAR + 1) % height, np.arange(x - NEAR, x + NEAR + 1) % width
            around = power[np.ix_(rows, columns)].copy()
            middle = slice(NEAR - LOBE, NEAR + LOBE + 1)
            line = around[NEAR, NEAR]
            around[middle, middle] = np.nan
            dof = np.isfinite(around).sum()
            found.append(scipy.stats.f.sf(line / np.nanmean(around), 2, dof))
    return np.array(found)


def main(config: Config, out: pathlib.Path | None) -> dict:
    """Times both in turns and stores the result in a folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        paths = write_pictures(folder, config)
        calls = {
            "checkerjax": (command(folder, config), len(paths) * config.copies),
            "NumPy": (plain(paths[: config.plain_pictures], config), config.plain_pictures),
        }
        found = {contender: call() for contender, (call, _) in calls.items()}  # also warms up
        turns: dict[str, list[dict[str, float]]] = {contender: [] for contender in calls}
        for repetition in range(config.repeats):
            for contender in list(calls)[:: 1 if repetition % 2 == 0 else -1]:
                call, count = calls[contender]
                turns[contender].append(clock(call, count))
    result = {
        "config": dataclasses.asdict(config),
        "machine": machine(),
        "turns": turns,
        "planted": [2 in found["checkerjax"][str(path)] for path in paths[::4]],
        "rates": {name: 1 / statistics.median(t["wall"] for t in each) for name, each in turns.items()},
        "cpu_ms": {name: 1e3 * statistics.median(t["cpu"] for t in each) for name, each in turns.items()},
    }
    if out is not None:
        (out / "measure_rates.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def clock(call: Callable[[], object], count: int) -> dict[str, float]:
    """Seconds a picture: of the clock, and of all processors."""
    before, start = processor_seconds(), time.perf_counter()
    call()
    wall = time.perf_counter() - start
    return {"wall": wall / count, "cpu": (processor_seconds() - before) / count}


def processor_seconds() -> float:
    """Of this process and of those that it started and that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def machine() -> dict[str, object]:
    """Versions and processor."""
    info = pathlib.Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return {
        "processor": names[0].split(": ", 1)[1] if names else platform.machine(),
        "processors": len(names),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "pillow": PIL.__version__,
    }


def table(result: dict) -> str:
    """Markdown."""
    rows = ["| | pictures a second | CPU milliseconds a picture |", "| --- | ---: | ---: |"]
    rows += [f"| {name} | {rate:.1f} | {result['cpu_ms'][name]:.1f} |" for name, rate in result["rates"].items()]
    return "\n".join(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="seconds; keeps nothing")
    smoke = parser.parse_args().smoke
    if "OPENBLAS_NUM_THREADS" not in os.environ:  # what the command sets for itself, before NumPy is imported
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    print(table(main(SMOKE if smoke else Config(), None if smoke else HERE)))

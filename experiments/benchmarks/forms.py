"""Which form of an operator, of its input gradient and of its kernel gradient is the fastest, over many shapes.

Run:     uv run python -m experiments.benchmarks.forms
Writes:  forms.json, and prints the table: the times that `checkerjax.ops`' choice of forms rests on
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax.ops import _contractions
from checkerjax.ops._grid import Grid
from experiments.benchmarks import store, timing
from experiments.benchmarks.config import Config

METHODS = {
    "deconvolution": ("auto", "dots", "lax"),
    "strided convolution": ("auto", "dots", "lax"),
    "kernel gradient": ("auto", "dots", "phases", "lax"),
}
# Batch, samples of the small field along each axis, its channels, channels of the large field, kernel, stride.
SHAPES = (
    (1, (8, 8), 8, 8, 3, 2), (1, (16, 16), 32, 32, 4, 2), (4, (16, 16), 32, 32, 4, 2), (4, (32, 32), 16, 3, 5, 2),
    (16, (8, 8), 256, 128, 4, 2), (16, (16, 16), 128, 64, 4, 2), (16, (16, 16), 128, 64, 5, 2),
    (16, (32, 32), 64, 64, 3, 2), (16, (16, 16), 64, 64, 8, 4), (32, (4, 4), 512, 256, 5, 2),
    (32, (8, 8), 256, 128, 5, 2), (32, (32, 32), 64, 3, 5, 2), (32, (32, 32), 3, 64, 5, 2),
    (8, (8, 8), 128, 256, 4, 2), (8, (16, 16), 128, 128, 4, 2), (4, (64, 64), 64, 64, 4, 2),
    (1, (128, 128), 64, 64, 4, 2), (16, (32, 32), 64, 64, 3, 1), (16, (64, 64), 32, 32, 5, 1),
    (16, (16, 16), 64, 256, 3, 1), (4, (8, 32), 256, 128, 4, 2), (1, (32, 32), 128, 128, 5, 2),
    (4, (14, 14), 64, 3, 16, 16), (16, (512,), 64, 64, 16, 8), (4, (4096,), 32, 32, 25, 4),
    (1, (6, 12, 12), 32, 32, 4, 2), (2, (8, 16, 16), 16, 16, 3, 2),
)  # fmt: skip


def contractions(ndim: int, size: tuple[int, ...], k: int, s: int, method: str) -> dict[str, Callable[..., jax.Array]]:
    """What layers and their gradients are made of; the kernel is `[*k, small channels, large channels]`."""
    kernel, stride, low = (k,) * ndim, (s,) * ndim, (max(k - s, 0) // 2,) * ndim
    grid = Grid(size, kernel, tuple(s * n for n in size), stride, (1,) * ndim, low)

    def scatter(small: jax.Array, large: jax.Array, kernel: jax.Array) -> jax.Array:
        return _contractions.scatter(small, kernel, grid, precision=None, method=method)

    def gather(small: jax.Array, large: jax.Array, kernel: jax.Array) -> jax.Array:
        return _contractions.gather(large, kernel, grid, precision=None, method=method)

    def pair(small: jax.Array, large: jax.Array, kernel: jax.Array) -> jax.Array:
        return _contractions.kernel_p.bind(small, large, grid=grid, precision=None, method=method)

    return {"deconvolution": scatter, "strided convolution": gather, "kernel gradient": pair}


def measure(shape: Sequence, config: Config) -> dict[str, dict[str, float]]:
    """Median milliseconds of each method, by contraction."""
    batch, size, small, large, k, s = shape
    ndim = len(size)
    rng = np.random.default_rng(config.seed)
    sizes = ((batch, *size, small), (batch, *(s * n for n in size), large), (*(k,) * ndim, small, large))
    args = [jnp.asarray(rng.standard_normal(dims), jnp.float32) for dims in sizes]
    out = {}
    for name, methods in METHODS.items():
        calls = {
            method: timing.blocking(
                timing.compile_program(contractions(ndim, tuple(size), k, s, method)[name], *args)[0], *args
            )
            for method in methods
        }
        times = timing.interleave(calls, config.repeats, config.counted)
        out[name] = {method: timing.median(times[method]) for method in methods}
    return out


def table(rows: Sequence[dict]) -> str:
    """The rows in GitHub's markdown."""
    head = [
        "batch x size, channels small, large, k, s",
        *(f"{name}: {', '.join(methods)}" for name, methods in METHODS.items()),
    ]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        batch, size, *others = row["shape"]
        times = [", ".join(f"{row['ms'][name][m]:.2f}" for m in methods) for name, methods in METHODS.items()]
        lines.append([", ".join(["x".join(map(str, (batch, *size))), *map(str, others)]), *times])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(config: Config, shapes: Sequence[Sequence] = SHAPES) -> list[dict]:
    """Measures every shape."""
    rows = []
    for shape in shapes:
        print(", ".join(map(str, shape)), "...", flush=True)
        rows.append({"shape": list(shape), "ms": measure(shape, config)})
    return rows


if __name__ == "__main__":
    settings = Config(repeats=3)
    facts = {key: store.new_results(settings, None)[key] for key in ("seed", "versions", "device")}
    measured = main(settings)
    lines = ",\n".join("  " + json.dumps(row) for row in measured)
    text = json.dumps({"command": "uv run python -m experiments.benchmarks.forms", **facts}, indent=1)
    path = pathlib.Path(__file__).parent / "forms.json"
    path.write_text(f'{text[:-2]},\n "rows": [\n{lines}\n ]\n}}\n')
    print(table(measured))

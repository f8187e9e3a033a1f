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

from checkerjax import conv, conv_transpose
from experiments.benchmarks import store, timing
from experiments.benchmarks.config import Config

METHODS = ("auto", "dots", "lax")
# Batch, size of the small field, its channels, channels of the large field, kernel, stride.
SHAPES = (
    (1, 8, 8, 8, 3, 2), (1, 16, 32, 32, 4, 2), (4, 16, 32, 32, 4, 2), (4, 32, 16, 3, 5, 2),
    (16, 8, 256, 128, 4, 2), (16, 16, 128, 64, 4, 2), (16, 16, 128, 64, 5, 2), (16, 32, 64, 64, 3, 2),
    (16, 16, 64, 64, 8, 4), (32, 4, 512, 256, 5, 2), (32, 8, 256, 128, 5, 2), (32, 32, 64, 3, 5, 2),
    (32, 32, 3, 64, 5, 2), (8, 8, 128, 256, 4, 2), (8, 16, 128, 128, 4, 2), (4, 64, 64, 64, 4, 2),
    (1, 128, 64, 64, 4, 2), (16, 32, 64, 64, 3, 1), (16, 64, 32, 32, 5, 1), (16, 16, 64, 256, 3, 1),
)  # fmt: skip


def contractions(k: int, s: int, method: str) -> dict[str, Callable[..., jax.Array]]:
    """What layers and their gradients are made of; the kernel is `[k, k, small channels, large channels]`."""
    low = max(k - s, 0) // 2
    pads = [(low, max(k - s, 0) - low)] * 2

    def scatter(small: jax.Array, large: jax.Array, kernel: jax.Array) -> jax.Array:
        return conv_transpose(small, kernel, stride=s, padding=pads, method=method)

    def gather(small: jax.Array, large: jax.Array, kernel: jax.Array) -> jax.Array:
        return conv(large, jnp.swapaxes(kernel, -1, -2), stride=s, padding=pads, method=method)

    def pair(small: jax.Array, large: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.vjp(lambda kernel: scatter(small, large, kernel), kernel)[1](large)[0]

    return {"deconvolution": scatter, "strided convolution": gather, "kernel gradient": pair}


def measure(shape: Sequence[int], config: Config) -> dict[str, dict[str, float]]:
    """Median milliseconds of each method, by contraction."""
    batch, size, small, large, k, s = shape
    rng = np.random.default_rng(config.seed)
    sizes = ((batch, size, size, small), (batch, s * size, s * size, large), (k, k, small, large))
    args = [jnp.asarray(rng.standard_normal(dims), jnp.float32) for dims in sizes]
    out = {}
    for name in contractions(k, s, "lax"):
        calls = {
            method: timing.blocking(timing.compile_program(contractions(k, s, method)[name], *args)[0], *args)
            for method in METHODS
        }
        times = timing.interleave(calls, config.repeats, config.counted)
        out[name] = {method: timing.median(times[method]) for method in METHODS}
    return out


def table(rows: Sequence[dict]) -> str:
    """The rows in GitHub's markdown."""
    names = list(rows[0]["ms"])
    head = ["batch, size, channels small, large, k, s", *(f"{name}: {', '.join(METHODS)}" for name in names)]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        times = [", ".join(f"{row['ms'][name][method]:.2f}" for method in METHODS) for name in names]
        lines.append([", ".join(map(str, row["shape"])), *times])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(config: Config, shapes: Sequence[Sequence[int]] = SHAPES) -> list[dict]:
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

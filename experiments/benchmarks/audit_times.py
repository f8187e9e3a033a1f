"""How long an audit takes, from a cold start: each in a process of its own, imports and initialisation left out.

The generator has fifty convolutions and ends at 256 x 256; the others are what people have: a DCGAN, a U-Net, the first
half of a ResNet. Static audits read the programs, forward and backward; the others also draw parameters 32 times and
run both probes, forward and backward.

Run:     uv run python -m experiments.benchmarks.audit_times
Writes:  audit_times.json, and prints the table
"""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
from flax import linen as nn

from experiments.benchmarks import store
from experiments.benchmarks.config import Config

REPEATS = 3
LINE = "{:<12}{:>9}{:>10}  {:<9}{:<9}"


class Generator(nn.Module):
    """Fifty 3x3 convolutions, 16 x 16 to 256 x 256."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for stage, (width, layers) in enumerate(((64, 10), (48, 10), (32, 10), (24, 10), (16, 9))):
            if stage:
                n, h, w, c = x.shape
                x = jax.image.resize(x, (n, 2 * h, 2 * w, c), "nearest")
            for _ in range(layers):
                x = nn.relu(nn.Conv(width, (3, 3))(x))
        return nn.Conv(3, (3, 3))(x)


class DCGAN(nn.Module):
    """A latent to 64 x 64."""

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        x = nn.relu(nn.Dense(4 * 4 * 256)(z)).reshape(-1, 4, 4, 256)
        for width in (128, 64, 32):
            x = nn.relu(nn.ConvTranspose(width, (5, 5), (2, 2))(x))
        return jnp.tanh(nn.ConvTranspose(3, (5, 5), (2, 2))(x))


class UNet(nn.Module):
    """Two levels, 64 x 64."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first = nn.relu(nn.Conv(32, (3, 3))(x))
        second = nn.relu(nn.Conv(64, (3, 3))(nn.max_pool(first, (2, 2), (2, 2))))
        third = nn.relu(nn.Conv(128, (3, 3))(nn.max_pool(second, (2, 2), (2, 2))))
        y = jnp.concatenate([nn.ConvTranspose(64, (2, 2), (2, 2))(third), second], -1)
        y = jnp.concatenate([nn.ConvTranspose(32, (2, 2), (2, 2))(nn.relu(nn.Conv(64, (3, 3))(y))), first], -1)
        return nn.Conv(3, (1, 1))(nn.relu(nn.Conv(32, (3, 3))(y)))


class Stem(nn.Module):
    """A ResNet's stem and two stages, 64 x 64."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.max_pool(nn.relu(nn.Conv(64, (7, 7), (2, 2))(x)), (3, 3), (2, 2), "SAME")
        for width, stride in ((64, 1), (128, 2)):
            y = nn.Conv(width, (3, 3))(nn.relu(nn.Conv(width, (3, 3), (stride, stride))(x)))
            x = nn.relu(nn.Conv(width, (1, 1), (stride, stride))(x) + y)
        return x


MODELS = {
    "generator": (Generator, (1, 16, 16, 16)),
    "DCGAN": (DCGAN, (1, 100)),
    "U-Net": (UNet, (1, 64, 64, 3)),
    "ResNet stem": (Stem, (1, 64, 64, 3)),
}


def one(name: str, static: bool) -> dict[str, float | str | None]:
    """One audit, in this process."""
    import checkerjax

    module, shape = MODELS[name][0](), MODELS[name][1]
    x = jnp.ones(shape)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    start, cpu = time.perf_counter(), time.process_time()
    report = checkerjax.audit(module, variables, x, key=jax.random.key(0), static=static)
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    return {**took, "verdict": report.verdict, "backward_verdict": report.backward_verdict}


def timed(name: str, static: bool) -> list[dict[str, float | str | None]]:
    """Several, each in a process of its own without a cache of compiled programs."""
    command = [sys.executable, "-m", "experiments.benchmarks.audit_times", "--one", name, str(int(static))]
    rows = []
    for _ in range(REPEATS):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def main() -> None:
    """Times all, writes and prints them."""
    results = store.new_results(Config(), None)
    kept = {name: results[name] for name in ("versions", "device")}
    times = {name: {"static": timed(name, True), "measured": timed(name, False)} for name in MODELS}
    document = {"command": "uv run python -m experiments.benchmarks.audit_times", "seed": 0, **kept, "times": times}
    path = pathlib.Path(__file__).with_name("audit_times.json")
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(LINE.format("seconds", "static", "measured", "verdict", "gradient"))
    for name, rows in times.items():
        middle = [statistics.median(float(r["seconds"] or 0) for r in rows[kind]) for kind in ("static", "measured")]
        verdicts = rows["measured"][0]
        words = str(verdicts["verdict"]), str(verdicts["backward_verdict"])
        print(LINE.format(name, f"{middle[0]:.1f}", f"{middle[1]:.1f}", *words))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        print(json.dumps(one(sys.argv[2], sys.argv[3] == "1")))
    else:
        main()

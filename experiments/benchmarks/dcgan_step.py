"""A training step of a DCGAN of linen layers: checkerjax's ConvTranspose in the generator, or Flax's, taking turns.

64 x 64 pictures, the usual widths, batch normalisation, Adam for both players; one import apart, the same parameters.
The discriminator's strided convolutions are Flax's in both; a third contender has checkerjax's Conv there too. A
product of two matrices takes its turn: what the step's multiply-adds would take at its rate bounds what can be gained.

Run:     uv run python -m experiments.benchmarks.dcgan_step   (--smoke: seconds; --out FOLDER)
Writes:  dcgan_step.json, and prints the table
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import checkerjax.nn.linen
from experiments.benchmarks import config as configs
from experiments.benchmarks import store, timing

OURS, FLAX, ALL = "checkerjax.nn.linen", "flax.linen", "checkerjax, convolutions too"
PACKAGES = {OURS: checkerjax.nn.linen, FLAX: flax.linen, ALL: checkerjax.nn.linen}
HERE = pathlib.Path(__file__).parent
MATMUL_SIDE = 1024


@dataclasses.dataclass(frozen=True)
class Config:
    """`rounds` of both contenders, in `blocks`; a row for each kernel size: PyTorch's example has 4, the paper 5."""

    seed: int = 0
    blocks: int = 3
    rounds: int = 3
    batch: int = 32
    noise: int = 100
    base: int = 4  # samples on a side after the dense layer
    widths: tuple[int, ...] = (512, 256, 128, 64, 3)
    kernels: tuple[int, ...] = (4, 5)

    @property
    def side(self) -> int:
        return self.base * 2 ** (len(self.widths) - 1)


SMOKE = Config(blocks=1, rounds=2, batch=2, noise=4, base=2, widths=(8, 4, 3), kernels=(4,))


class Generator(nn.Module):
    """Noise `[N, n]` to pictures in [-1, 1]; `package` has the transposed convolution."""

    package: Any
    config: Config
    kernel: int

    @nn.compact
    def __call__(self, noise: jax.Array) -> jax.Array:
        first, *middle, last = self.config.widths
        x = nn.Dense(self.config.base**2 * first, use_bias=False)(noise)
        x = x.reshape(-1, self.config.base, self.config.base, first)
        for width in middle:
            x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
            x = self._up(width, use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        return jnp.tanh(self._up(last)(x))

    def _up(self, width: int, **options: Any) -> nn.Module:
        # One name for both: classes of the same name are numbered alike by Flax.
        return self.package.ConvTranspose(width, (self.kernel, self.kernel), (2, 2), **options)


class Discriminator(nn.Module):
    """Pictures to logits `[N, 1]`; `package` has the convolution."""

    package: Any
    config: Config
    kernel: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, width in enumerate(self.config.widths[-2::-1]):
            x = self.package.Conv(width, (self.kernel, self.kernel), (2, 2), use_bias=i == 0)(x)
            x = x if i == 0 else nn.BatchNorm(use_running_average=False)(x)
            x = nn.leaky_relu(x, 0.2)
        return nn.Dense(1)(x.reshape(x.shape[0], -1))


class Step:
    """One step of both players with one contender's layer: what is timed, and losses and gradients to compare."""

    def __init__(self, name: str, config: Config, kernel: int):
        self.generator = Generator(PACKAGES[name], config, kernel)
        self.discriminator = Discriminator(checkerjax.nn.linen if name == ALL else flax.linen, config, kernel)
        self.optimiser = optax.adam(2e-4, b1=0.5)

    def init(self, noise: jax.Array, real: jax.Array) -> Any:
        """Variables of both players, and the optimiser's state."""
        variables = {
            "generator": self.generator.init(jax.random.key(0), noise),
            "discriminator": self.discriminator.init(jax.random.key(1), real),
        }
        return variables, self.optimiser.init({name: v["params"] for name, v in variables.items()})

    def gradients(self, variables: Any, noise: jax.Array, real: jax.Array) -> tuple[Any, Any, Any]:
        """Losses, gradients, and the statistics that batch normalisation keeps; non-saturating loss."""
        params = {name: v["params"] for name, v in variables.items()}

        def judged(params: Any, x: jax.Array) -> tuple[jax.Array, Any]:
            stats = {"batch_stats": variables["discriminator"]["batch_stats"]}
            return self.discriminator.apply({"params": params, **stats}, x, mutable=["batch_stats"])  # pyright: ignore[reportReturnType]

        def fooled(generator: Any) -> tuple[jax.Array, Any]:
            stats = {"batch_stats": variables["generator"]["batch_stats"]}
            fake: Any = self.generator.apply({"params": generator, **stats}, noise, mutable=["batch_stats"])
            logits, _ = judged(params["discriminator"], fake[0])
            return jax.nn.softplus(-logits).mean(), fake

        def told_apart(discriminator: Any, fake: jax.Array) -> tuple[jax.Array, Any]:
            on_real, stats = judged(discriminator, real)
            on_fake = judged(discriminator, fake)[0]
            return (jax.nn.softplus(-on_real) + jax.nn.softplus(on_fake)).mean(), stats

        (first, (fake, kept)), generator = jax.value_and_grad(fooled, has_aux=True)(params["generator"])
        (second, seen), discriminator = jax.value_and_grad(told_apart, has_aux=True)(params["discriminator"], fake)
        gradients = {"generator": generator, "discriminator": discriminator}
        return (first, second), gradients, {"generator": kept, "discriminator": seen}

    def __call__(self, state: Any, noise: jax.Array, real: jax.Array) -> tuple[Any, Any]:
        """The state after a step, and the losses before it."""
        variables, moments = state
        losses, gradients, stats = self.gradients(variables, noise, real)
        params = {name: v["params"] for name, v in variables.items()}
        with jax.numpy_dtype_promotion("standard"):  # Optax divides by the integer count of steps
            updates, moments = self.optimiser.update(gradients, moments, params)
        new: Any = optax.apply_updates(params, updates)
        return ({name: {"params": new[name], **stats[name]} for name in variables}, moments), losses


def multiply_adds(config: Config, kernel: int) -> int:
    """Of all convolutions of a step, each computed once: what both players' gradients cannot do without.

    Generator: output and both gradients. Discriminator: outputs for real and made pictures, both gradients for each,
    and the gradient of made pictures that goes on to the generator; the first layer needs no other.
    """
    sides = [config.base * 2**i for i in range(len(config.widths) - 1)]
    layers = [
        config.batch * side**2 * kernel**2 * wide * narrow
        for side, wide, narrow in zip(sides, config.widths, config.widths[1:])
    ]
    return 3 * sum(layers) + 7 * sum(layers) - 2 * layers[-1]


def row(config: Config, kernel: int) -> dict[str, Any]:
    """Times of the contenders with one kernel size, and how far their losses and gradients are apart."""
    rng = np.random.default_rng([config.seed, kernel])
    noise = jnp.asarray(rng.standard_normal((config.batch, config.noise)), jnp.float32)
    real = jnp.asarray(rng.uniform(-1, 1, (config.batch, config.side, config.side, config.widths[-1])), jnp.float32)
    steps = {name: Step(name, config, kernel) for name in PACKAGES}
    state = steps[FLAX].init(noise, real)  # one tree of parameters, which both read
    compiled, compile_s = {timing.MATMUL: timing.matmul_call(MATMUL_SIDE)}, {}
    for name, step in steps.items():
        program, facts = timing.compile_program(step, state, noise, real)
        compiled[name], compile_s[name] = timing.blocking(program, state, noise, real), facts["compile_s"]
    # Adam divides by the gradient's size, which would blow rounding up: what must agree is what goes into it.
    found = {name: jax.tree.leaves(jax.jit(step.gradients)(state[0], noise, real)) for name, step in steps.items()}
    errors = {name: max(map(timing.largest_error, found[name], found[FLAX])) for name in (OURS, ALL)}
    ms: dict[str, list[list[float]]] = {name: [] for name in compiled}
    for _ in range(config.blocks):  # short ones, since clocks stop early at calls that take seconds
        for name, times in timing.interleave(compiled, config.rounds, 1).items():
            ms[name] += times
    return {
        "kernel": kernel,
        "ms": ms,
        "multiply_adds": multiply_adds(config, kernel),
        "compile_s": compile_s,
        "largest_error": errors,
        "ratios": {name: timing.ratio(ms, FLAX, name) for name in (OURS, ALL)},
    }


def main(config: Config, out: pathlib.Path = HERE) -> dict[str, Any]:
    """Measures all rows and stores them."""
    facts = store.new_results(configs.Config(), None)
    results = {
        **{key: value for key, value in facts.items() if key != "rows"},
        "command": "uv run python -m experiments.benchmarks.dcgan_step",
        "seed": config.seed,
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
        "rows": [row(config, kernel) for kernel in config.kernels],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "dcgan_step.json").write_text(json.dumps(results, indent=1) + "\n")
    return results


def table(results: dict[str, Any]) -> str:
    """Medians, Flax's time over theirs with the quartiles of single rounds, compile times, and the largest error.

    "At the rate of products": what the convolutions' multiply-adds take at the rate of a large product, over the time.
    """
    heads = ["kernel", "layers", "ms", "times faster", "at the rate of products", "compiling, s", "largest error"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for each in results["rows"]:
        bound = each["multiply_adds"] * timing.median(each["ms"][timing.MATMUL]) / MATMUL_SIDE**3
        for name in (OURS, FLAX, ALL):
            times = each["ms"][name]
            faster = "" if name == FLAX else "{:.2f} [{:.2f}, {:.2f}]".format(*each["ratios"][name])
            error = "" if name == FLAX else f"{each['largest_error'][name]:.1e}"
            share = f"{bound / timing.median(times):.0%}"
            cells = [name, f"{timing.median(times):.0f}", faster, share, f"{each['compile_s'][name]:.1f}", error]
            lines.append(f"| {each['kernel']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A DCGAN's training step: checkerjax's layer against Flax's.")
    parser.add_argument("--smoke", action="store_true", help="small shapes, to see that it runs; takes seconds")
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="folder of dcgan_step.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    given = parse()
    print(table(main(SMOKE if given.smoke else Config(), given.out)))

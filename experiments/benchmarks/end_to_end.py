"""Whole programs over checkerjax's operators: a GAN's training step, and gradients at many seeds."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from checkerjax import conv, conv_transpose
from experiments.benchmarks.config import Config, Gan, SeedGradients
from experiments.benchmarks.rows import OURS

STEP = "training step"
INPUT_GRADIENTS = "input gradients"
Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Program:
    """Variants of a program, all with the same arguments, and functions whose results say whether they agree.

    Without checks the variants' own results do.
    """

    label: str
    mode: str
    checked: str  # what the checks return
    args: tuple[Any, ...]
    variants: dict[str, Callable[..., Any]]
    checks: dict[str, Callable[..., Any]] | None = None


def gan_program(config: Config) -> Program:
    """One step of generator and discriminator, both with Adam, non-saturating loss."""
    gan, rng = config.gan, np.random.default_rng([config.seed, 1])
    params = {"generator": _generator(gan, rng), "discriminator": _discriminator(gan, rng)}
    optimiser = optax.adam(2e-4, b1=0.5)
    side = gan.base * 2 ** (len(gan.widths) - 1)
    real = _normal(rng, (gan.batch, side, side, gan.widths[-1]))
    noise = _normal(rng, (gan.batch, gan.noise))

    def step(method: str, state: Any, real: jax.Array, noise: jax.Array) -> tuple[Any, Any]:
        params, moments = state
        losses, gradients = gan_gradients(params, real, noise, method)
        with jax.numpy_dtype_promotion("standard"):  # Optax divides by the integer count of steps
            updates, moments = optimiser.update(gradients, moments)
        return (optax.apply_updates(params, updates), moments), losses

    # Adam divides by the gradient's size, which would blow rounding up: what must agree is the gradient before it.
    def check(method: str, state: Any, real: jax.Array, noise: jax.Array) -> Any:
        return gan_gradients(state[0], real, noise, method)

    methods = {OURS: "auto", "method=lax": "lax"}
    return Program(
        f"DCGAN {side}x{side}, batch {gan.batch}, k{gan.kernel} s2, training step",
        STEP,
        "losses and gradients",
        ((params, optimiser.init(params)), real, noise),
        {name: functools.partial(step, method) for name, method in methods.items()},
        {name: jax.jit(functools.partial(check, method)) for name, method in methods.items()},
    )


def gan_gradients(params: Params, real: jax.Array, noise: jax.Array, method: str) -> tuple[tuple[Any, Any], Params]:
    """Losses of generator and discriminator, and the gradients of each in its own parameters."""

    def fooled(generator: Params) -> tuple[jax.Array, jax.Array]:
        fake = generate(generator, noise, method)
        return jax.nn.softplus(-discriminate(params["discriminator"], fake, method)).mean(), fake

    def told_apart(discriminator: Params, fake: jax.Array) -> jax.Array:
        on_real = jax.nn.softplus(-discriminate(discriminator, real, method))
        return (on_real + jax.nn.softplus(discriminate(discriminator, fake, method))).mean()

    (first, fake), generator = jax.value_and_grad(fooled, has_aux=True)(params["generator"])
    second, discriminator = jax.value_and_grad(told_apart)(params["discriminator"], fake)
    return (first, second), {"generator": generator, "discriminator": discriminator}


def generate(params: Params, noise: jax.Array, method: str) -> jax.Array:
    """`[N, noise]` to images `[N, H, W, C]`: a dense layer, then transposed convolutions of stride 2."""
    base, width = params["dense"].shape[1:3], params["dense"].shape[-1]
    x = jax.nn.relu(noise @ params["dense"].reshape(noise.shape[-1], -1)).reshape(-1, *base, width)
    for kernel in params["kernels"][:-1]:
        x = jax.nn.relu(conv_transpose(x, kernel, stride=2, method=method))
    return jnp.tanh(conv_transpose(x, params["kernels"][-1], stride=2, method=method))


def discriminate(params: Params, x: jax.Array, method: str) -> jax.Array:
    """`[N, H, W, C]` to logits `[N]`: convolutions of stride 2, then a dense layer."""
    for kernel in params["kernels"]:
        x = jax.nn.leaky_relu(conv(x, kernel, stride=2, method=method), 0.2)
    return x.reshape(x.shape[0], -1) @ params["dense"]


def seed_program(config: Config) -> Program:
    """Gradients of stacks at many seeds with respect to their inputs: what a sweep measures."""
    sizes, rng = config.gradients, np.random.default_rng([config.seed, 2])
    kernels = [_kernel(rng, sizes.kernel, i, o, seeds=sizes.seeds) for i, o in zip(sizes.widths, sizes.widths[1:])]
    x = _normal(rng, (sizes.seeds, 1, sizes.size, sizes.size, sizes.widths[0]))
    outputs = jax.eval_shape(lambda x, kernels: jax.vmap(stack)(x, kernels), x, kernels)
    args = x, kernels, _normal(rng, outputs.shape)

    def one(method: str) -> Callable[..., jax.Array]:
        return functools.partial(input_gradient, method=method)

    variants: dict[str, Callable[..., Any]] = {
        OURS: jax.vmap(one("auto")),
        "method=lax, map": lambda *args: lax.map(lambda seed: one("lax")(*seed), args),
        "method=lax, vmap": jax.vmap(one("lax")),
    }
    return Program(_seed_label(sizes), INPUT_GRADIENTS, "gradients", args, variants)


def _seed_label(sizes: SeedGradients) -> str:
    widths = " to ".join(str(w) for w in sizes.widths)
    return (
        f"{sizes.seeds} seeds of {len(sizes.widths) - 1} convs k{sizes.kernel} s2 and relu, {widths}, at {sizes.size}"
    )


def stack(x: jax.Array, kernels: list[jax.Array], method: str = "auto") -> jax.Array:
    """Strided convolutions with a relu after each: `[N, H, W, C]` to `[N, h, w, c]`."""
    for kernel in kernels:
        x = jax.nn.relu(conv(x, kernel, stride=2, method=method))
    return x


def input_gradient(x: jax.Array, kernels: list[jax.Array], cotangent: jax.Array, *, method: str) -> jax.Array:
    """The gradient of the stack in `x` for a cotangent of its output."""
    return jax.vjp(lambda x: stack(x, kernels, method), x)[1](cotangent)[0]


def _generator(gan: Gan, rng: np.random.Generator) -> Params:
    dense = _normal(rng, (gan.noise, gan.base, gan.base, gan.widths[0])) / math.sqrt(gan.noise)
    pairs = zip(gan.widths, gan.widths[1:])
    return {"dense": dense, "kernels": [_kernel(rng, gan.kernel, i, o, gain=2) for i, o in pairs]}


def _discriminator(gan: Gan, rng: np.random.Generator) -> Params:
    kernels = [_kernel(rng, gan.kernel, i, o) for i, o in zip(gan.discriminator, gan.discriminator[1:])]
    side = gan.base * 2 ** (len(gan.widths) - 1)
    for _ in kernels:
        side = -(-side // 2)
    features = side**2 * gan.discriminator[-1]
    return {"kernels": kernels, "dense": _normal(rng, (features,)) / math.sqrt(features)}


def _kernel(
    rng: np.random.Generator, size: int, inputs: int, outputs: int, *, gain: float = 1, seeds: int = 0
) -> jax.Array:
    """`[k, k, I, O]`, behind `[seeds]` where asked, of He's variance times the gain squared.

    An output of a transposed convolution of stride 2 meets a fourth of the taps: a gain of 2 makes up for it.
    """
    shape = (*((seeds,) if seeds else ()), size, size, inputs, outputs)
    return _normal(rng, shape) * gain * math.sqrt(2 / (inputs * size**2))


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(rng.standard_normal(shape).astype(np.float32))

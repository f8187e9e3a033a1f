"""What the examples share: synthetic data drawn on the host, a few training steps for linen and for nnx, a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

import checkerjax as cj

Batch = tuple[Any, ...]


def discs(rng: np.random.Generator, batch: int, size: int) -> np.ndarray:
    """Pictures `[batch, size, size, 1]` of one soft disc each, in [0, 1]."""
    y, x = np.mgrid[:size, :size]
    centre = rng.uniform(0.25, 0.75, (2, batch, 1, 1)) * size
    radius = rng.uniform(0.1, 0.25, (batch, 1, 1)) * size
    distance = np.hypot(y - centre[0], x - centre[1])
    return (1 / (1 + np.exp(distance - radius)))[..., None].astype(np.float32)


def tones(rng: np.random.Generator, batch: int, samples: int) -> np.ndarray:
    """Sounds `[batch, samples, 1]` of three sinusoids each, of amplitudes up to a third."""
    frequency, phase = rng.uniform(0.01, 0.2, (batch, 1, 3)), rng.uniform(0, 1, (batch, 1, 3))
    amplitude = rng.uniform(0, 1 / 3, (batch, 1, 3))
    time = np.arange(samples)[None, :, None]
    return (amplitude * np.sin(2 * np.pi * (frequency * time + phase))).sum(-1, keepdims=True).astype(np.float32)


def fit_linen(
    loss: Callable[..., jax.Array], params: Any, optimizer: optax.GradientTransformation, batches: Iterable[Batch]
) -> tuple[Any, list[float]]:
    """The parameters after one step on each batch, and the loss before each."""

    @jax.jit
    def step(params: Any, state: Any, *batch: Any) -> tuple[Any, Any, jax.Array]:
        value, gradients = jax.value_and_grad(loss)(params, *batch)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    state, losses = optimizer.init(params), []
    for batch in batches:
        params, state, value = step(params, state, *batch)
        losses.append(float(value))
    return params, losses


def fit_nnx(
    loss: Callable[..., jax.Array],
    model: nnx.Module,
    optimizer: optax.GradientTransformation,
    batches: Iterable[Batch],
) -> list[float]:
    """The same in place: the loss before each step."""
    both = nnx.Optimizer(model, optimizer, wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, both: Any, *batch: Any) -> jax.Array:
        value, gradients = nnx.value_and_grad(loss)(model, *batch)
        both.update(model, gradients)
        return value

    return [float(step(model, both, *batch)) for batch in batches]  # pyright: ignore[reportCallIssue]


def audited(name: str, *args: Any) -> str:
    """The verdict on a model with its parameters as they are, forward, and the first line of what it is made of."""
    report = cj.audit(*args, redraw=0, backward=False)
    grades = ", ".join(f"k{finding.kernel_size} s{finding.stride} {finding.grade}" for finding in report.forward)
    return f"{name}: {report.verdict} ({grades or 'nothing that upsamples'})"


def first_and_last(losses: list[float]) -> str:
    """How far the loss came."""
    return f"loss {losses[0]:.4f} to {losses[-1]:.4f} in {len(losses)} steps"

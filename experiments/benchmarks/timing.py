"""Clocks: contenders take turns, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FORWARD, GRADIENTS = "forward", "forward + gradients"
MODES = (FORWARD, GRADIENTS)
MATMUL = "matmul"

LONG = 4.0

Call = Callable[[], Any]  # returns once its result is there


def interleave(calls: Mapping[str, Call], repeats: int, counted: int) -> dict[str, list[list[float]]]:
    """Milliseconds of each call: `[repeats][counted]` by name.

    After a switch the threads of the last library still spin, and the caches hold its arrays: one call of each turn
    is not counted. Every other round goes backwards. Rounds of more than `LONG` seconds are repeated three times only.
    """
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    start = time.perf_counter()
    for repetition in range(repeats):
        if repetition == 3 and time.perf_counter() - start > 3 * LONG:
            break
        for name in list(calls)[:: 1 if repetition % 2 == 0 else -1]:
            call = calls[name]
            call()
            times[name].append([_clock(call) for _ in range(counted)])
    return times


def _clock(call: Call) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def compile_program(program: Callable[..., Any], *args: Any) -> tuple[Any, dict[str, float]]:
    """The compiled program, and what compiling took (seconds, once) and gave (bytes)."""
    start = time.perf_counter()
    compiled = jax.jit(program).lower(*args).compile()
    facts: dict[str, float] = {"compile_s": time.perf_counter() - start}
    memory = compiled.memory_analysis()
    if memory is not None:
        facts |= {"temp_bytes": memory.temp_size_in_bytes, "output_bytes": memory.output_size_in_bytes}
    return compiled, facts


def blocking(compiled: Callable[..., Any], *args: Any) -> Call:
    """A call of a JAX program that waits for its results."""
    return lambda: jax.block_until_ready(compiled(*args))


def with_gradients(apply: Callable[..., jax.Array]) -> Callable[..., tuple[jax.Array, ...]]:
    """`(x, kernel, cotangent) -> (y, dx, dw)`, one program."""

    def program(x: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(apply, x, kernel)
        return (y, *pull(cotangent))

    return program


def matmul_call(side: int) -> Call:
    """A float32 product of two square matrices: what the roofline is made of."""
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.standard_normal((side, side)), jnp.float32) for _ in range(2))
    return blocking(jax.jit(jnp.matmul).lower(a, b).compile(), a, b)


def median(times: list[list[float]]) -> float:
    """Of all counted calls, in milliseconds."""
    return float(np.median(np.asarray(times)))


def ratio(times: Mapping[str, list[list[float]]], peer: str, ours: str) -> tuple[float, float, float]:
    """How many times longer the peer takes: of medians, and the quartiles of the ratios of single rounds."""
    rounds = np.median(np.asarray(times[peer]), axis=1) / np.median(np.asarray(times[ours]), axis=1)
    low, high = np.percentile(rounds, [25, 75])
    return median(times[peer]) / median(times[ours]), float(low), float(high)


def largest_error(value: Any, reference: Any) -> float:
    """The largest difference over the largest magnitude, in float64."""
    value, reference = (np.asarray(a).astype(np.float64) for a in (value, reference))
    return float(np.abs(value - reference).max() / np.abs(reference).max())


def holds_array(program: str, shape: tuple[int, ...]) -> bool:
    """Whether the text of an optimised program names an array of this shape, its axes in any order."""
    found = re.findall(r"\b[a-z]+[0-9]+\[([0-9,]+)\]", program)
    return any(sorted(map(int, dims.split(","))) == sorted(shape) for dims in set(found))

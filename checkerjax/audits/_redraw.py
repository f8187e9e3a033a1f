"""New parameters for each draw, where a model does not say how it is initialised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Draw = Callable[[jax.Array], Sequence[Any]]  # from a key


class Redraw:
    """Arrays like the given ones, from a pool of N(0, 1) numbers.

    Floating arrays of two or more axes are N(0, rms^2), with the root mean square of the given array; of one that is
    all zeros, 1 / fan-in, the product of all axes but the last. Biases, scales, integers and keys stay as given.
    """

    def __init__(self, arrays: Sequence[Any]) -> None:
        self.arrays = tuple(arrays)
        self.scales = [_scale(a) for a in arrays]
        self.count = sum(math.prod(a.shape) for a, scale in zip(self.arrays, self.scales) if scale is not None)

    def __call__(self, pool: np.ndarray) -> tuple[Any, ...]:
        """The arrays, from `count` numbers."""
        out, start = [], 0
        for array, scale in zip(self.arrays, self.scales):
            size = 0 if scale is None else math.prod(array.shape)
            taken = pool[start : start + size]
            start += size
            out.append(array if scale is None else (np.float32(scale) * taken).reshape(array.shape).astype(array.dtype))
        return tuple(out)


def compiled(draw: Draw) -> Draw:
    """A model's own initialisers, compiled where they can be: thirty draws one by one take longer."""
    fast, works = jax.jit(draw), True

    def drawn(key: jax.Array) -> Sequence[Any]:
        nonlocal works
        if works:
            try:
                return fast(key)
            except Exception:  # of any kind: run as it is, it works or says what is wrong
                works = False
        return draw(key)

    return drawn


def normals(key: jax.Array, count: int) -> np.ndarray:
    """N(0, 1) numbers on the host: one draw for many arrays, since compiling a draw takes half a second each."""
    return np.asarray(_normal(key, count))


_normal = jax.jit(lambda key, count: jax.random.normal(key, (count,), np.float32), static_argnums=1)


def _scale(array: Any) -> float | None:
    """The standard deviation to draw with; None for what stays."""
    if not jnp.issubdtype(array.dtype, jnp.floating) or array.ndim < 2 or not math.prod(array.shape):
        return None
    rms = float(np.sqrt(np.mean(np.square(np.asarray(array, np.float64)))))
    return rms if rms > 0 else 1 / math.sqrt(math.prod(array.shape[:-1]))

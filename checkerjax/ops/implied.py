"""Transposed convolution by a random kernel that is never made.

The weights of a layer at initialisation are independent normals, used once. Given its input, each output channel of a
phase is a Gaussian vector over positions, independent of other channels and phases, whose covariance is the Gram matrix
of the input's patches. Where there are fewer positions than weights, drawing that vector takes fewer numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax.ops._dots import PhaseLayout, interleave, window
from checkerjax.ops._grid import Grid, crop
from checkerjax.ops._tiles import View, samples

JITTER = 1e-6  # of the mean variance, added to it: float32 rounding makes a Gram matrix that much indefinite


def scatter(small: jax.Array, normals: jax.Array, grid: Grid, outer: int, std: float) -> jax.Array:
    """`[N, *small, I]` to `[N, *large, outer]`, as a kernel of independent N(0, std^2) gives it in distribution.

    `normals` `[n]`, n at least `count`: independent N(0, 1).
    """
    layout, out, start = PhaseLayout.of(grid), [], 0
    room = [n + reach for n, reach in zip(layout.extents, layout.reach)]
    padded = samples(View(small, layout.first, room, [1] * grid.ndim))
    for block in layout:
        shape = (small.shape[0], *layout.extents, *block.counts, outer)
        if not block.starts:  # no tap reaches these phases
            out.append(jnp.zeros(shape, small.dtype))
            continue
        extents = (small.shape[0], *layout.extents)
        patches = jnp.concatenate([window(padded, (0, *place), extents) for place in block.starts], -1)
        patches = std * patches.reshape(-1, patches.shape[-1])
        rows = min(patches.shape)
        numbers = normals[start : start + rows * math.prod(block.counts) * outer].reshape(rows, -1)
        start += numbers.size
        out.append(_gaussian(patches, numbers).reshape(shape))
    return crop(interleave(out, layout), grid.large)


def count(shape: Sequence[int], grid: Grid, outer: int) -> int:
    """Normals that `scatter` takes for a small field of this shape."""
    layout = PhaseLayout.of(grid)
    positions = shape[0] * math.prod(layout.extents)
    return sum(min(positions, len(block.starts) * shape[-1]) * math.prod(block.counts) * outer for block in layout)


def _gaussian(patches: jax.Array, numbers: jax.Array) -> jax.Array:
    """`[positions, columns]`, each column with covariance patches patches^T."""
    if patches.shape[0] >= patches.shape[1]:
        return jnp.matmul(patches, numbers, precision="highest")
    gram = jnp.matmul(patches, patches.T, precision="highest")
    gram += JITTER * (jnp.trace(gram) / len(gram) + jnp.finfo(gram.dtype).tiny) * jnp.eye(len(gram), dtype=gram.dtype)
    return jnp.matmul(lax.linalg.cholesky(gram), numbers, precision="highest")

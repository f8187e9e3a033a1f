"""What is kept of a field: the power of its lines and of the bins around them, and the power of each phase.

Sums, not ratios: energies are added over images, channels and draws before anything is divided.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax.audits._interior import Region
from checkerjax.spectra._power import squared

FAR = 2  # bins to either side of a line that count as its neighbours


class Sums(NamedTuple):
    """Over images and channels."""

    lines: jax.Array  # [*period]: power at frequency m / P; entry 0 is DC
    around: jax.Array  # [*period]: power of all the neighbours of each line together
    powers: jax.Array  # [*period]: mean square of each phase
    zeros: jax.Array | None  # samples that are exactly 0
    map: jax.Array | None  # [*spatial]: the square at each position


def reach(count: int, period: int) -> int:
    """How many bins to a side lie between a line and half-way to the next, of a field of `count` periods."""
    return min(FAR, count // 2) if period > 1 else 0


def neighbours(region: Region) -> np.ndarray:
    """How many bins count as the neighbours of each line, `[*period]`; 0 where there are none between the lines.

    They differ from the line on the axes along which it changes, and on no other: the ridge that a border makes is
    compared with itself.
    """
    axes = [np.where(np.arange(p) == 0, 1, 2 * reach(q, p)) for p, q in zip(region.period, region.counts)]
    counts = math.prod(np.meshgrid(*axes, indexing="ij"), start=np.ones((), np.int64))
    counts[(0,) * len(axes)] = 0
    return counts


def field_sums(x: jax.Array, scale: jax.Array, region: Region, *, zeros: bool = False, mapped: bool = False) -> Sums:
    """The sums of a field `[N, *spatial, C]` times `scale`; `zeros` and `map` where they are asked for."""
    x = x[(slice(None), *region.slices)]
    x = x if x.dtype == np.float64 else x.astype(np.float32)
    count = jnp.sum(x == 0, dtype=np.int32) if zeros else None
    x = x * scale.astype(x.dtype)
    square = jnp.square(x)
    none = jnp.zeros(region.period, x.dtype)
    lines, around = _lines(x, region) if none.size > 1 else (none, none)
    return Sums(lines, around, _powers(square, region), count, square.sum((0, -1)) if mapped else None)


def _lines(x: jax.Array, region: Region) -> tuple[jax.Array, jax.Array]:
    """By a transform of only those frequencies: m / P, and o bins beside them.

    At bin m q + o, sample t P + r has the phase 2 pi (m r / P + o (t P + r) / n). So a sum over t with waves that do
    not depend on m comes first, and what is left is as small as the period. The powers of the bins m q + o and m q - o
    add up to twice those of their cosine and sine parts, which is why no complex waves are needed.
    """
    ndim = len(region.period)
    first = x[(slice(None), *(slice(0, 1),) * ndim)]
    small = x - first  # so that of a constant field exactly nothing is left
    small = small.reshape(len(x), *(s for q, p in zip(region.counts, region.period) for s in (q, p)), x.shape[-1])
    # Axes by number: 0 images, 1 channels; and of spatial axis a, 10 + a periods, 20 + a phases, 30 + a waves.
    axes = [0, *(i for a in range(ndim) for i in (10 + a, 20 + a)), 1]
    for a, (q, p) in enumerate(zip(region.counts, region.period)):
        left = [0, *range(30, 31 + a), *(i for i in axes[1:] if i < 30 and i != 10 + a)]
        if a == ndim - 1:  # phases go last, where they are transformed
            left = [0, *range(30, 30 + ndim), 1, *range(20, 20 + ndim)]
        waves = jnp.asarray(_waves(q, p), x.dtype)
        small = jnp.einsum(small, axes, waves, [30 + a, 10 + a, 20 + a], left, precision="highest")
        axes = left
    bins = jnp.fft.fftn(small, axes=tuple(range(-ndim, 0)), norm="forward")  # [N, *waves, C, *phases]
    dc = (slice(None), *(0,) * ndim, slice(None), *(0,) * ndim)
    bins = bins.at[dc].add(first.reshape(len(x), -1).astype(bins.dtype))
    power = squared(bins).sum((0, ndim + 1))  # [*waves, *period]
    around = power
    for a, (q, p) in enumerate(zip(region.counts, region.period)):
        beside = (np.arange(1 + 2 * reach(q, p))[:, None] == 0) == (np.arange(p) == 0)  # DC: itself; lines: all others
        beside = np.where(np.arange(p) == 0, 1.0, 2.0) * beside
        shape = (len(beside), *(1,) * (ndim - 1 - a), *(p if b == a else 1 for b in range(ndim)))
        around = (around * jnp.asarray(beside.reshape(shape), x.dtype)).sum(0)
    return power[(0,) * ndim], around


def _waves(q: int, p: int) -> np.ndarray:
    """1, then cosines and sines of the offsets, `[1 + 2 reach, q, p]`; their sums over q are means."""
    turns = 2 * np.pi * np.arange(q * p).reshape(q, p) / (q * p)
    offsets = range(1, reach(q, p) + 1)
    return np.stack([np.ones((q, p)), *(wave(o * turns) for wave in (np.cos, np.sin) for o in offsets)]) / q


def _powers(square: jax.Array, region: Region) -> jax.Array:
    """Of a whole field under a Hann window: its phases would differ by the borders alone."""
    for axis, (q, p) in enumerate(zip(region.counts, region.period)):
        if region.whole and q > 1:
            window = jnp.asarray(hann(q * p), square.dtype)
            square = square * window.reshape(-1, *(1,) * (square.ndim - axis - 2))
    shape = (s for q, p in zip(region.counts, region.period) for s in (q, p))
    split = square.reshape(len(square), *shape, square.shape[-1])
    kept = tuple(range(2, 2 * len(region.period) + 1, 2))
    return split.sum(tuple(i for i in range(split.ndim) if i not in kept)) / math.prod(region.counts)


def hann(size: int) -> np.ndarray:
    """A Hann window of mean 1, symmetric about the middle of the samples."""
    return 1 - np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)

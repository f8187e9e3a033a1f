"""Power against the magnitude of frequency."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax.spectra._fields import real_field
from checkerjax.spectra._power import amplitudes, squared


class RadialProfile(NamedTuple):
    """Mean power over rings of equal |f|."""

    frequency: jax.Array  # [R] centres of the rings, cycles per sample, ascending from 0
    power: jax.Array  # [N, R, C] mean over the ring's bins, in the field's units squared


def radial_profile(x: jax.Array) -> RadialProfile:
    """Mean power over rings (in 3-D shells) of the magnitude of frequency.

    Ring k holds the bins with k - 1/2 <= n |f| < k + 1/2, n the smallest size above 1: it is 1 / n wide and centred on
    k / n. DC is ring 0, alone; bins of longer axes between it and ring 1 go to ring 1. Every bin is in one ring, the
    corners beyond |f| = 1/2 too, and f and -f share theirs, for even and for odd sizes.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real.

    Returns:
      A `RadialProfile`: frequency `[R]` and power `[N, R, C]`. R is 1 plus the number of the last ring, less rings that
      no bin falls in; 1 + floor(n / sqrt(2) + 1/2) for an n by n field, n even.

    Raises:
      ValueError: for a wrong rank, an empty field, or values that are not finite.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> stripes = jnp.array([[3.0, 1.0, 3.0, 1.0]] * 4).reshape(1, 4, 4, 1)
      >>> profile = radial_profile(stripes)
      >>> profile.frequency
      Array([0.  , 0.25, 0.5 , 0.75], dtype=float32)
      >>> profile.power.ravel().round(2)
      Array([4.  , 0.  , 0.17, 0.  ], dtype=float32)

    References:
      Durall, Keuper and Keuper, Watch your up-convolution, arXiv:2003.01826 (there without the last ring).
    """
    x, _ = real_field("radial_profile", x)
    size = x.shape[1:-1]
    rings, numbers, width = _rings(size)
    counts = np.bincount(rings)
    bins = squared(amplitudes(x)).reshape(x.shape[0], -1, x.shape[-1])
    sums = jax.ops.segment_sum(jnp.moveaxis(bins, 1, 0), rings, num_segments=len(numbers))
    power = jnp.moveaxis(sums, 0, 1) / jnp.asarray(counts[:, None], x.dtype)
    return RadialProfile(jnp.asarray(numbers * width, x.dtype), power)


def _rings(size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, float]:
    """Position in the profile of each bin, flattened; the ring number at each position; the width of a ring."""
    smallest = min((n for n in size if n > 1), default=1)
    squares = np.zeros(())
    for n in size:
        squares = np.add.outer(squares, np.fft.fftfreq(n) ** 2)
    # Bins half-way between two rings go up, all of them: the small number is far above rounding, far below a bin.
    ring = np.floor(np.sqrt(squares.ravel()) * smallest + 0.5 + 1e-9).astype(np.int64)
    ring = np.maximum(ring, squares.ravel() > 0)
    numbers, position = np.unique(ring, return_inverse=True)
    return position, numbers, 1 / smallest

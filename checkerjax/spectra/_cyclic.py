"""Correlation between frequencies a line apart: what a grid leaves in the second order."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp

from checkerjax._checks import PerAxis
from checkerjax.spectra._fields import field_periods, real_field, whole_periods
from checkerjax.spectra._power import amplitudes


def cyclic_spectrum(x: jax.Array, period: PerAxis) -> jax.Array:
    """Cyclic periodogram, S_m(f) = X(f) conj(X(f - m / P)) / n^2, of one field; average it over draws.

    Its mean over draws is 0 at every m but 0 for a stationary field. Its sum over f is the DFT of `phase_powers` over
    phases, divided by their number: at lag 0 it says what they say.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real; cropped to whole periods.
      period: P in samples, an int or one per axis, at least 1.

    Returns:
      Complex `[*period, N, *spatial, C]`, f in FFT order, in the field's units squared: entry 0 is the power spectrum
      of the cropped field.

    Raises:
      ValueError: for a wrong rank, values that are not finite, a period below 1 or larger than the field.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> cyclic_spectrum(jnp.array([3.0, 1.0, 3.0, 1.0]).reshape(1, 4, 1), 2).real.reshape(2, 4)
      Array([[4., 0., 1., 0.],
             [2., 0., 2., 0.]], dtype=float32)

    References:
      Gardner, Measurement of spectral correlation, IEEE Trans. ASSP 34(5), 1986.
    """
    x, ndim = real_field("cyclic_spectrum", x)
    periods = field_periods("cyclic_spectrum", x, period, ndim)
    bins = amplitudes(whole_periods(x, periods))
    axes = tuple(range(1, ndim + 1))
    steps = [n // p for n, p in zip(bins.shape[1:-1], periods)]
    shifted = []
    for line in itertools.product(*map(range, periods)):
        shifted.append(jnp.roll(bins, [m * step for m, step in zip(line, steps)], axes))
    return (bins * jnp.conj(jnp.stack(shifted))).reshape(*periods, *bins.shape)

"""The power spectrum, and the Fourier amplitudes that all line statistics are squares of."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax.spectra._fields import real_field, steady_mean


class Spectrum(NamedTuple):
    """Power of a field at each spatial frequency, in FFT order."""

    frequencies: tuple[jax.Array, ...]  # one [n] per spatial axis, cycles per sample, in [-0.5, 0.5)
    power: jax.Array  # [N, *spatial, C], in the field's units squared


def power_spectrum(x: jax.Array) -> Spectrum:
    """Power of a field at each frequency, |DFT|^2 / n^2; no window, no padding, nothing subtracted.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real.

    Returns:
      A `Spectrum`: frequencies in cycles per sample, as `numpy.fft.fftfreq` orders them, and power
      `[N, *spatial, C]`, which sums over space to the mean square.

    Raises:
      ValueError: for a wrong rank, an empty field, or values that are not finite.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> spectrum = power_spectrum(jnp.array([3.0, 1.0, 3.0, 1.0]).reshape(1, 4, 1))
      >>> spectrum.frequencies[0]
      Array([ 0.  ,  0.25, -0.5 , -0.25], dtype=float32)
      >>> spectrum.power.ravel()
      Array([4., 0., 1., 0.], dtype=float32)

    References:
      The periodogram; Oppenheim and Schafer, Discrete-Time Signal Processing, chapter 10.
    """
    x, _ = real_field("power_spectrum", x)
    frequencies = tuple(jnp.asarray(np.fft.fftfreq(n), x.dtype) for n in x.shape[1:-1])
    return Spectrum(frequencies, squared(amplitudes(x)))


def amplitudes(x: jax.Array) -> jax.Array:
    """DFT over the spatial axes, over their number of samples.

    The mean is taken out before and put back at DC, so that its rounding errors do not leak into the other bins; that
    changes no value, so the mean needs no gradient.
    """
    axes = tuple(range(1, x.ndim - 1))
    centre = lax.stop_gradient(steady_mean(x, axes))
    bins = jnp.fft.fftn(x - centre, axes=axes, norm="forward")
    dc = (slice(None), *(slice(0, 1),) * len(axes))
    return bins.at[dc].add(centre.astype(bins.dtype))


def squared(z: jax.Array) -> jax.Array:
    """|z|^2, differentiable at 0 too."""
    return jnp.real(z) ** 2 + jnp.imag(z) ** 2

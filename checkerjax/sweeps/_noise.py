"""Noise with the spectrum of photographs."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np


def pink(white: jax.Array) -> jax.Array:
    """White noise `[..., y, x, C]` filtered to a power spectrum of 1 / f^2, no mean, unit variance in expectation."""
    ny, nx = white.shape[-3:-1]
    f2 = np.fft.fftfreq(ny)[:, None] ** 2 + np.fft.rfftfreq(nx) ** 2
    gain = 1 / np.sqrt(np.where(f2 == 0, np.inf, f2))
    twice = np.where((np.arange(gain.shape[1]) == 0) | (2 * np.arange(gain.shape[1]) == nx), 1, 2)
    gain /= math.sqrt((gain**2 * twice).sum() / (ny * nx))
    spectrum = jnp.fft.rfft2(white, axes=(-3, -2))
    spectrum *= gain[:, :, None].astype(spectrum.dtype)
    return jnp.fft.irfft2(spectrum, (ny, nx), axes=(-3, -2))

"""Means and powers of each phase of a period: the first and the second moment of a grid."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from checkerjax._checks import PerAxis
from checkerjax.spectra._fields import field_periods, ratio, real_field, split_phases, steady_mean, unit_field


def phase_means(x: jax.Array, period: PerAxis) -> jax.Array:
    """Mean of a field over the positions of each phase.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real; cropped to whole periods.
      period: samples, an int or one per axis, at least 1.

    Returns:
      `[N, *period, C]`, in the field's units: entry r is the mean of x[r], x[r + P], x[r + 2 P], ...

    Raises:
      ValueError: for a wrong rank, values that are not finite, a period below 1 or larger than the field.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> phase_means(jnp.array([1.0, 5.0, 3.0, 7.0]).reshape(1, 4, 1), 2).ravel()
      Array([2., 6.], dtype=float32)

    References:
      The first-order cyclic moment; Gardner, Statistical Spectral Analysis, 1987.
    """
    x, ndim = real_field("phase_means", x)
    return fold_means(x, field_periods("phase_means", x, period, ndim))


def phase_powers(x: jax.Array, period: PerAxis, *, centred: bool = False) -> jax.Array:
    """Mean square of a field over the positions of each phase.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real; cropped to whole periods.
      period: samples, an int or one per axis, at least 1.
      centred: take out the mean of each phase first: the variance within the phase, divided by its samples.

    Returns:
      `[N, *period, C]`, in the field's units squared.

    Raises:
      ValueError: for a wrong rank, values that are not finite, a period below 1 or larger than the field.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> x = jnp.array([1.0, 5.0, 3.0, 7.0]).reshape(1, 4, 1)
      >>> phase_powers(x, 2).ravel()
      Array([ 5., 37.], dtype=float32)
      >>> phase_powers(x, 2, centred=True).ravel()
      Array([1., 1.], dtype=float32)

    References:
      The cyclic autocorrelation at lag 0, by phase; Gardner, Statistical Spectral Analysis, 1987. Gallagher,
      Detection of linear and cubic interpolation in JPEG compressed images, CRV 2005 (periodic variance).
    """
    x, ndim = real_field("phase_powers", x)
    return fold_powers(x, field_periods("phase_powers", x, period, ndim), centred)


def power_ratio(x: jax.Array, period: PerAxis, *, centred: bool = False) -> jax.Array:
    """Largest over smallest phase power, summed over images and channels: 1 without a second-order grid.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real; cropped to whole periods.
      period: samples, an int or one per axis, at least 1.
      centred: compare the variances within the phases, as in `phase_powers`.

    Returns:
      A number of at least 1; inf if only some phases have no power, and 1 (by definition) if none has. Chance alone
      takes it above 1: a phase power of n independent normal samples has a relative error of sqrt(2 / n).

    Raises:
      ValueError: for a wrong rank, values that are not finite, a period below 1 or larger than the field.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> power_ratio(jnp.array([1.0, 2.0, 1.0, -2.0]).reshape(1, 4, 1), 2)
      Array(4., dtype=float32)

    References:
      Odena, Dumoulin and Olah, Distill 2016: the published images, read with the variance of each phase.
    """
    x, ndim = unit_field("power_ratio", x)
    powers = fold_powers(x, field_periods("power_ratio", x, period, ndim), centred).sum((0, -1))
    return ratio(powers.max(), powers.min(), empty=1.0)


def fold_means(x: jax.Array, periods: tuple[int, ...]) -> jax.Array:
    """`phase_means` of a field and periods already checked."""
    split, axes = split_phases(x, periods)
    return steady_mean(split, axes).reshape(x.shape[0], *periods, x.shape[-1])


def fold_powers(x: jax.Array, periods: tuple[int, ...], centred: bool) -> jax.Array:
    """`phase_powers` of a field and periods already checked."""
    split, axes = split_phases(x, periods)
    if centred:
        split = split - steady_mean(split, axes)
    return jnp.mean(split**2, axes)

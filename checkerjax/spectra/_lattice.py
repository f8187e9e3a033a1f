"""Lines: the power that a field has at the frequencies of a period, alone, over DC and over all else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import PerAxis, check_same_rank, per_axis
from checkerjax.spectra._fields import check_has_lines, field_periods, ratio, real_field, unit_field
from checkerjax.spectra._phases import fold_means, fold_powers
from checkerjax.spectra._power import amplitudes, squared


def line_powers(x: jax.Array, period: PerAxis) -> jax.Array:
    """Power of a field at every frequency m / P of a period, DC included.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real; cropped to whole periods.
      period: P in samples, an int or one per axis, at least 1 and above 1 on one axis.

    Returns:
      `[N, *period, C]`, in the field's units squared: entry m is the power at frequency m / P, and entry 0 the square
      of the mean. They are entries of `power_spectrum` of the cropped field, found without its transform.

    Raises:
      ValueError: for a wrong rank, values that are not finite, or a period below 1, above the field or 1 everywhere.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> line_powers(jnp.array([3.0, 1.0, 3.0, 1.0]).reshape(1, 4, 1), 2).ravel()
      Array([4., 1.], dtype=float32)

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """
    x, ndim = real_field("line_powers", x)
    return fold_lines(x, field_periods("line_powers", x, period, ndim, lines=True))


def primitive_lines(period: int | Sequence[int]) -> np.ndarray:
    """Which lines belong to a period and to none of its divisors.

    Args:
      period: P in samples; an int for one axis, or one per axis; above 1 on one axis.

    Returns:
      Boolean NumPy array `[*period]`, static: True at m where the denominators of the reduced fractions m_a / P_a have
      the same least common multiple as the periods. For P = 4 those of quarters, not the half.

    Raises:
      ValueError: for a period below 1, 1 on every axis, or more than 3 axes.
      TypeError: for a period that is not whole.

    Example:
      >>> primitive_lines(6).tolist()
      [False, True, False, False, False, True]
      >>> primitive_lines((4, 2)).astype(int).tolist()
      [[0, 0], [1, 1], [0, 0], [1, 1]]

    References:
      The name is that of primitive roots of unity, exp(2 pi i m / P) with m / P reduced.
    """
    op = "primitive_lines"
    periods = per_axis(op, "period", period, check_same_rank(op, period=period) or 1)
    check_has_lines(op, periods)
    denominators = [[p // math.gcd(m, p) for m in range(p)] for p in periods]
    return np.lcm.reduce(np.meshgrid(*denominators, indexing="ij")) == math.lcm(*periods)


def lattice_ratio(x: jax.Array, period: PerAxis, *, primitive: bool = False) -> jax.Array:
    """Line energy over DC energy, each summed over images and channels first.

    Of a flat input it says how much of the response is grid: s^D - 1 is expected of a transposed convolution with
    independent weights, and 0 of one with equal phase gains.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real; cropped to whole periods.
      period: P in samples, an int or one per axis, at least 1 and above 1 on one axis.
      primitive: count the primitive lines only.

    Returns:
      A number of at least 0; inf if there are lines and no DC, 0 (by definition) if there is neither.

    Raises:
      ValueError: for a wrong rank, values that are not finite, or a period below 1, above the field or 1 everywhere.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> lattice_ratio(jnp.array([3.0, 1.0, 3.0, 1.0]).reshape(1, 4, 1), 2)
      Array(0.25, dtype=float32)

    References:
      Odena, Dumoulin and Olah, Distill 2016. Sugawara, Shiota and Kiya, arXiv:1806.02658 (equal phase gains).
    """
    x, ndim = unit_field("lattice_ratio", x)
    periods = field_periods("lattice_ratio", x, period, ndim, lines=True)
    energies = fold_lines(x, periods).sum((0, -1))
    return ratio(jnp.sum(energies, where=chosen_lines(periods, primitive)), energies[(0,) * ndim], empty=0.0)


def lattice_share(x: jax.Array, period: PerAxis, *, primitive: bool = False) -> jax.Array:
    """Line energy over all energy but DC, each summed over images and channels first.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; real; cropped to whole periods; no window.
      period: P in samples, an int or one per axis, at least 1 and above 1 on one axis.
      primitive: count the primitive lines only.

    Returns:
      A number in [0, 1], whatever the rounding; 0 (by definition) of a field that is constant in space. White noise of
      n samples per channel has about (prod(P) - 1) / n.

    Raises:
      ValueError: for a wrong rank, values that are not finite, or a period below 1, above the field or 1 everywhere.
      TypeError: for a dtype that is not real and floating.

    Example:
      >>> x = jnp.array([[3.0, 1.0, 3.0, 1.0], [0.0, 0.0, 1.0, 1.0]])[..., None]
      >>> lattice_share(x, 2)
      Array(0.8, dtype=float32)
      >>> jax.vmap(lambda image: lattice_share(image[None], 2))(x)
      Array([1., 0.], dtype=float32)

    References:
      Odena, Dumoulin and Olah, Distill 2016: this number was read off its published images.
    """
    x, ndim = unit_field("lattice_share", x)
    periods = field_periods("lattice_share", x, period, ndim, lines=True)
    energies = fold_lines(x, periods).sum((0, -1))
    chosen, every = chosen_lines(periods, primitive), chosen_lines(periods, False)
    lines, others = jnp.sum(energies, where=chosen), jnp.sum(energies, where=every & ~chosen)
    # By Parseval what lies off the lines is the variance within phases. A sum of parts cannot round below one of them.
    within = fold_powers(x, periods, centred=True).sum((0, -1)).mean()
    return ratio(lines, lines + others + within, empty=0.0)


def chosen_lines(periods: tuple[int, ...], primitive: bool) -> np.ndarray:
    """The primitive lines, or all but DC, `[*period]`."""
    return primitive_lines(periods) if primitive else np.arange(math.prod(periods)).reshape(periods) > 0


def fold_lines(x: jax.Array, periods: tuple[int, ...]) -> jax.Array:
    """`line_powers` of a field and periods already checked."""
    return squared(amplitudes(fold_means(x, periods)))

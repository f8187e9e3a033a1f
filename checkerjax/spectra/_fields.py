"""What every statistic starts with: a checked field, its periods, and means and quotients that keep zeros exact."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax._checks import AXES, PerAxis, check_field, check_finite, per_axis


def real_field(op: str, x: jax.Array) -> tuple[jax.Array, int]:
    """A real, finite field in float32 or float64, and its number of spatial axes."""
    x, ndim = check_field(op, x)
    if jnp.iscomplexobj(x):
        raise TypeError(f"{op}: x must be real; got {x.dtype}. Take its real part or its magnitude.")
    check_finite(op, "x", x)
    return (x if x.dtype == np.float64 else x.astype(np.float32)), ndim


def unit_field(op: str, x: jax.Array) -> tuple[jax.Array, int]:
    """A `real_field` times the power of two that takes it near 1, for statistics that do not depend on the scale.

    Squares of small fields, gradients above all, would underflow; a power of two adds no rounding.
    """
    x, ndim = real_field(op, x)
    _, exponent = jnp.frexp(jnp.max(jnp.abs(lax.stop_gradient(x))))
    limit = -int(jnp.finfo(x.dtype).minexp)
    return x * jnp.ldexp(jnp.ones((), x.dtype), -jnp.clip(exponent, -limit, limit)), ndim


def field_periods(op: str, x: jax.Array, period: PerAxis, ndim: int, *, lines: bool = False) -> tuple[int, ...]:
    """One period per spatial axis, none larger than the field; one above 1 if `lines` are asked for."""
    periods = per_axis(op, "period", period, ndim)
    if lines:
        check_has_lines(op, periods)
    for axis, size, p in zip(AXES[ndim], x.shape[1:-1], periods):
        if size < p:
            raise ValueError(
                f"{op}: axis {axis} of x is {size}, smaller than its period {p}; got shape {x.shape}. "
                "Take a larger field or a smaller period."
            )
    return periods


def check_has_lines(op: str, periods: tuple[int, ...]) -> None:
    """Raises if every period is 1."""
    if max(periods) == 1:
        raise ValueError(f"{op}: period must be above 1 on at least one axis, since 1 has no lines; got {periods}.")


def whole_periods(x: jax.Array, periods: tuple[int, ...]) -> jax.Array:
    """The field, cropped at the high end of each axis to a multiple of its period."""
    return x[(slice(None), *(slice(size - size % p) for size, p in zip(x.shape[1:-1], periods)))]


def split_phases(x: jax.Array, periods: tuple[int, ...]) -> tuple[jax.Array, tuple[int, ...]]:
    """The cropped field as `[N, q, p, q', p', ..., C]`, period by phase on each axis, and the axes of the periods q."""
    x = whole_periods(x, periods)
    split = [part for size, p in zip(x.shape[1:-1], periods) for part in (size // p, p)]
    return x.reshape(x.shape[0], *split, x.shape[-1]), tuple(range(1, 2 * len(periods), 2))


def steady_mean(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """The mean over `axes`, kept as axes of size 1; exactly the common value where all values are equal.

    A plain sum rounds, and then a field without any grid would have a little of one, over nothing.
    """
    first = x[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(x.ndim))]
    centre = lax.stop_gradient(first + jnp.mean(x - first, axes, keepdims=True))
    return centre + jnp.mean(x - centre, axes, keepdims=True)


def ratio(numerator: jax.Array, denominator: jax.Array, *, empty: float) -> jax.Array:
    """The quotient of two energies: inf where only the denominator is 0, `empty` where both are."""
    some = denominator > 0
    quotient = numerator / jnp.where(some, denominator, 1)  # a second `where`, lest the gradient be NaN
    return jnp.where(some, quotient, jnp.where(numerator > 0, jnp.inf, empty))

"""Statistics of periodic covariances: expectations of what `spectra` takes of one field.

Covariances are `near` `[*P, *W]` and `far` `[*P, *P]`, as `PeriodicCovariance` has them. Leading axes other than phases
are allowed: `[..., *W]` and `[..., *P]`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from checkerjax.expectations._lags import Sizes, take
from checkerjax.spectra._lattice import chosen_lines

if TYPE_CHECKING:
    from checkerjax.expectations._covariance import PeriodicCovariance

Array = Any


def unfolded(near: Array, far: Array, size: Sizes) -> Array:
    """`[..., *M]`: `near` where the lag is within the smaller torus, `far` beyond."""
    xp, ndim = near.__array_namespace__(), len(size)
    inside = np.ones((1,) * ndim, bool)
    for axis, n in zip(range(-ndim, 0), size):
        w, p = near.shape[axis], far.shape[axis]
        lag = (np.arange(n) + n // 2) % n - n // 2
        within = (lag >= -(w // 2)) & (lag < w - w // 2)
        inside = inside & within.reshape((-1,) + (1,) * (-axis - 1))
        near, far = take(near, lag % w, near.ndim + axis), take(far, lag % p, far.ndim + axis)
    return near if inside.all() else xp.where(inside, near, far)


def folded(near: Array, far: Array, size: Sizes, period: Sizes) -> Array:
    """`[..., *Q]`: the sum over the lags of the torus that are equal modulo Q, a divisor of M."""
    ndim = len(size)
    if all(p % q == 0 for p, q in zip(far.shape[-ndim:], period)):
        small = near.shape[-ndim:]
        beyond = math.prod(n // p for n, p in zip(size, far.shape[-ndim:]))
        within = math.prod(w // p for w, p in zip(small, far.shape[-ndim:]))
        phases = far.shape[-ndim:]
        total = _fold(near, phases)
        total = total + (beyond - within) * far if beyond > within else total
        return _fold(total, period)
    return _fold(unfolded(near, far, size), period)


def _fold(values: Array, period: Sizes) -> Array:
    xp, ndim = values.__array_namespace__(), len(period)
    for axis, p in zip(range(-ndim, 0), period):
        place = values.ndim + axis
        shape = (*values.shape[:place], values.shape[place] // p, p, *values.shape[place + 1 :])
        values = xp.sum(xp.reshape(values, shape), axis=place)
    return values


def phase_mean(values: Array) -> Array:
    """The mean over the phases of `[*P, ...]` with as many other axes."""
    return values.__array_namespace__().mean(values, axis=tuple(range(values.ndim // 2)))


def power_ratio(powers: Array) -> Array:
    """Largest over smallest."""
    xp = powers.__array_namespace__()
    most, least = xp.max(powers), xp.min(powers)
    ratio = most / xp.where(least > 0, least, 1.0)
    return xp.where(least > 0, ratio, xp.where(most > 0, math.inf, 1.0))[()]


def power_spectrum(near: Array, far: Array, size: Sizes) -> Array:
    """`[*M]`: the DFT over lags of the mean over phases, over the samples."""
    return _transform(unfolded(phase_mean(near), phase_mean(far), size)) / math.prod(size)


def _transform(values: Array) -> Array:
    """The DFT of a covariance of one field, which is real and not negative; exactly 0 of a constant but at DC."""
    xp = values.__array_namespace__()
    first = values[(0,) * values.ndim]
    bins = xp.real(xp.fft.fftn(values - first))
    dc = np.zeros(values.shape)
    dc[(0,) * values.ndim] = values.size
    bins = bins + first * xp.asarray(dc, dtype=values.dtype)
    return xp.where(bins > 0, bins, 0.0)


def line_powers(covariance: PeriodicCovariance, period: Sizes, shared: bool) -> Array:
    """`[*Q]`: expected power at frequencies m / Q."""
    if not shared:
        means = phase_mean(covariance.near), phase_mean(covariance.far)
        return _transform(folded(*means, covariance.size, period)) / math.prod(covariance.size)
    between = phase_mean(covariance.between)
    whole = tuple(map(math.lcm, between.shape, period))
    for axis, n in enumerate(whole):
        between = take(between, np.arange(n) % between.shape[axis], axis)
    return _transform(_fold(between, period)) / math.prod(whole)


def lattice_ratio(covariance: PeriodicCovariance, period: Sizes, primitive: bool, shared: bool) -> Array:
    """Lines over DC."""
    lines, dc = _lines_and_dc(covariance, period, primitive, shared)
    return _ratio(lines, dc)


def lattice_share(covariance: PeriodicCovariance, period: Sizes, primitive: bool, shared: bool) -> Array:
    """Lines over all but DC."""
    lines, dc = _lines_and_dc(covariance, period, primitive, shared)
    powers = covariance.phase_powers()
    return _ratio(lines, powers.__array_namespace__().mean(powers) - dc)


def _lines_and_dc(covariance: PeriodicCovariance, period: Sizes, primitive: bool, shared: bool) -> tuple[Array, Array]:
    powers = line_powers(covariance, period, shared)
    chosen = lines_of(period, primitive)
    return powers.__array_namespace__().sum(powers * np.asarray(chosen, powers.dtype)), powers[(0,) * powers.ndim]


def lines_of(period: Sizes, primitive: bool) -> np.ndarray:
    """Which of the frequencies m / Q are lines that count, bool `[*Q]`; none if Q is 1."""
    return chosen_lines(period, primitive) if max(period) > 1 else np.zeros(period, bool)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient: inf where only the denominator is 0, 0 where both are."""
    xp = (numerator + denominator).__array_namespace__() if hasattr(numerator, "aval") else np
    some = denominator > 0
    quotient = numerator / xp.where(some, denominator, 1.0)
    return xp.where(some, quotient, xp.where(numerator > 0, math.inf, 0.0))[()]


def cyclic_spectrum(near: Array, far: Array, size: Sizes) -> Array:
    """Complex `[*P, *M]`: E[X(f) conj(X(f - m / P))] / n^2."""
    xp, ndim = near.__array_namespace__(), len(size)
    phases, lags = tuple(range(ndim)), tuple(range(ndim, 2 * ndim))
    period = near.shape[:ndim]
    # The sum over phases of K(p, t) exp(-2 pi i m p / P), then that over lags of it times exp(2 pi i (f - m / P) t).
    near, far = (xp.fft.fftn(k, axes=phases, norm="forward") for k in (near, far))
    bins = xp.fft.ifftn(unfolded(near, far, size), axes=lags)  # norm "backward" divides by the samples
    for axis, (p, n) in enumerate(zip(period, size)):
        shifted = (np.arange(n) - np.arange(p)[:, None] * (n // p)) % n
        shape = [1] * (2 * ndim)
        shape[axis], shape[ndim + axis] = p, n
        bins = xp.take_along_axis(bins, xp.asarray(shifted.reshape(shape)), axis=ndim + axis)
    return bins

"""The probability that a sum of chi-squared variables with factors of both signs is negative, by Imhof's integral.

On a logarithmic scale the integrand is analytic in a strip of half-width pi / 2 and decays exponentially at both ends,
so that the trapezoidal rule converges exponentially.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_STEP, _REACH = 0.1, 40.0  # of the logarithm of Imhof's variable; what lies beyond is below exp(-40)
_CHUNK = 2**21


class Tail(NamedTuple):
    """Many variables whose factors are all -1 times something: their part of the integrand, found once.

    The nodes are k _STEP for all whole k from `first` on, until exp(-40) is reached.
    """

    first: int
    angle: np.ndarray
    damping: np.ndarray


def tail(values: np.ndarray, degrees: np.ndarray) -> Tail | None:
    """Of variables -values[i] chi2(degrees[i]), values at least 0; None if all are 0."""
    values, degrees = _without_zeros(values, degrees)
    if not values.size:
        return None
    first = math.floor((-math.log(values.max()) - _REACH) / _STEP)
    last = math.ceil((-math.log(values.min()) + _REACH) / _STEP)
    nodes = np.arange(first, last + 1)
    angles, damping = _sums(-values, degrees, nodes * _STEP)
    kept = damping < _REACH
    return Tail(first, angles[kept], damping[kept])


def probability_below_zero(values: np.ndarray, degrees: np.ndarray, *, others: Tail | None = None) -> float:
    """P(sum of values[i] chi2(degrees[i]) <= 0) of independent chi-squared variables.

    Args:
      values: `[n]`.
      degrees: `[n]`, above 0.
      others: more variables, with negative factors.

    References:
      Imhof, Computing the distribution of quadratic forms in normal variables, Biometrika 48, 1961.
    """
    values, degrees = _without_zeros(values, degrees)
    if not (values > 0).any():
        return 1.0
    if others is None and not (values < 0).any():
        return 0.0
    sizes = -np.log(np.abs(values))
    first, last = math.floor((sizes.min() - _REACH) / _STEP), math.ceil((sizes.max() + _REACH) / _STEP)
    if others is not None:
        last = others.first + others.angle.size - 1
    nodes = np.arange(first, last + 1)
    angle, damping = _sums(values, degrees, nodes * _STEP)
    if others is not None:
        here = nodes >= others.first
        place = nodes[here] - others.first
        angle[here] += others.angle[place]
        damping[here] += others.damping[place]
    total = float((np.sin(angle) * np.exp(-damping)).sum())
    return float(np.clip(0.5 - _STEP / math.pi * total, 0.0, 1.0))


def _without_zeros(values: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = np.abs(values) > 1e-13 * np.abs(values).max(initial=0.0)
    return values[kept], degrees[kept]


def _sums(values: np.ndarray, degrees: np.ndarray, logarithms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Imhof's theta, and the logarithm of his rho."""
    angle, damping = [], []
    for chunk in np.array_split(logarithms, -(-logarithms.size * values.size // _CHUNK)):
        scaled = values * np.exp(chunk)[:, None]
        angle.append(0.5 * np.arctan(scaled) @ degrees)
        damping.append(0.25 * np.log1p(scaled * scaled) @ degrees)
    return np.concatenate(angle), np.concatenate(damping)

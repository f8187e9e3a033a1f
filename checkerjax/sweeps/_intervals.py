"""Intervals over seeds: ratios are ratios of sums, resampled by seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """An estimate and its bootstrap percentile interval."""

    value: float
    low: float
    high: float


def bootstrap_weights(seeds: int) -> np.ndarray:
    """How often each seed is taken in each of 1000 resamples, `[1000, seeds]`; always the same ones."""
    return np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), size=1000)


def ratio_of_sums(numerator: np.ndarray, denominator: np.ndarray, *, level: float = 0.95) -> Interval:
    """sum(numerator) / sum(denominator) over seeds, with its bootstrap interval.

    Args:
      numerator: `[seeds]`.
      denominator: `[seeds]`, not negative; where a sum of it is 0 the ratio counts as 0.
      level: of the interval, between 0 and 1.

    Returns:
      The ratio and its percentile interval over 1000 resamples of the seeds.

    Example:
      >>> ratio_of_sums(np.array([1.0, 3.0]), np.array([2.0, 6.0]))
      Interval(value=0.5, low=0.5, high=0.5)

    References:
      Efron and Tibshirani, An introduction to the bootstrap, chapter 13 (percentile intervals).
    """
    weights = bootstrap_weights(len(numerator))
    return _interval(
        _divide(numerator.sum(), denominator.sum()), _divide(weights @ numerator, weights @ denominator), level
    )


def phase_ratio(phase_power: np.ndarray, *, level: float = 0.95) -> Interval:
    """Largest over smallest of the phase powers summed over seeds, with its bootstrap interval.

    Args:
      phase_power: `[seeds, *period]`; infinite where the smallest is 0 and the largest is not.
      level: of the interval, between 0 and 1.

    Returns:
      The ratio, at least 1, and the interval of the ratio of those two phases. The largest of several equal powers
      exceeds the smallest by chance: compare with `chance_ratio` before calling a ratio uneven.

    Example:
      >>> phase_ratio(np.array([[1.0, 2.0], [3.0, 2.0]]))[0]
      1.0
    """
    flat = phase_power.reshape(len(phase_power), -1)
    weights = bootstrap_weights(len(flat))
    total, draws = flat.sum(0), weights @ flat
    # The two phases stay the same in all resamples: the largest over the smallest of each would be biased upwards.
    most, least = total.argmax(), total.argmin()
    ratio = _divide(total[most], total[least], empty=np.inf)
    return _interval(ratio, _divide(draws[:, most], draws[:, least], empty=np.inf), level)


def chance_ratio(phase_power: np.ndarray, *, level: float = 0.95) -> float:
    """What `phase_ratio` rarely exceeds where all phases are equal in expectation.

    Args:
      phase_power: `[seeds, *period]`.
      level: share of cases in which chance stays below the result.

    Returns:
      The quantile of the ratio over 500 rearrangements, each of which permutes the phases of every seed on their own.

    Example:
      >>> chance_ratio(np.ones((3, 2)))
      1.0
    """
    flat = phase_power.reshape(len(phase_power), -1)
    rng = np.random.default_rng(0)
    totals = np.stack([rng.permuted(flat, axis=1).sum(0) for _ in range(500)])
    return float(np.quantile(_divide(totals.max(1), totals.min(1), empty=np.inf), level, method="nearest"))


def merge_phases(phase_power: np.ndarray, period: int) -> np.ndarray:
    """Phase powers of a shorter period that divides theirs: `[..., P, P]` to `[..., period, period]`, by the mean."""
    longer = phase_power.shape[-1]
    split = (*phase_power.shape[:-2], longer // period, period, longer // period, period)
    return phase_power.reshape(split).mean((-4, -2))


def _divide(numerator, denominator, *, empty: float = 0.0):
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    fallback = np.where(numerator == 0, 1.0 if np.isinf(empty) else 0.0, empty)
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), fallback)


def _interval(value, draws: np.ndarray, level: float) -> Interval:
    tail = (1 - level) / 2
    # Order statistics, not interpolated ones: two infinities have no weighted mean.
    low, high = np.quantile(draws, [tail, 1 - tail], method="nearest")
    return Interval(float(value), float(low), float(high))

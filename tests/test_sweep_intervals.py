"""Ratios of sums, their intervals, chance, and the test of published values, against loops and simulations.

All draws are seeded, so a test either always passes or always fails; where a bound is statistical, a correct build
with fresh numbers would exceed it less than once in 10,000 times.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from checkerjax.sweeps import (
    chance_ratio,
    fisher,
    joint_test,
    merge_phases,
    phase_ratio,
    ratio_of_sums,
)

FALSE_ALARM = 1e-5


def _binomial_range(trials: int, low: float, high: float) -> tuple[float, float]:
    """Counts that trials with a probability between `low` and `high` leave less than once in 1e5 times a side."""
    least, most = scipy.stats.binom.ppf(FALSE_ALARM, trials, low), scipy.stats.binom.isf(FALSE_ALARM, trials, high)
    return float(least), float(most)


def test_ratio_of_sums_is_no_mean_of_ratios():
    numerator, denominator = np.array([1.0, 10.0, 0.0]), np.array([1.0, 40.0, 4.0])
    result = ratio_of_sums(numerator, denominator)
    assert result.value == pytest.approx(11 / 45, rel=1e-15)
    assert result.low <= result.value <= result.high


def test_the_interval_of_a_ratio_is_that_of_a_resampling_of_seeds(rng):
    numerator, denominator = rng.exponential(2.0, 50), rng.exponential(1.0, 50)
    drawn = []
    for _ in range(20000):
        taken = rng.integers(50, size=50)
        drawn.append(numerator[taken].sum() / denominator[taken].sum())
    expected = np.quantile(drawn, [0.025, 0.975])
    result = ratio_of_sums(numerator, denominator)
    # The 2.5% quantile of 1000 resamples has a standard error of sqrt(.025 .975 / 1000) / density, about 0.09 standard
    # deviations of the resampled ratio for a normal one; 5 of them.
    np.testing.assert_allclose([result.low, result.high], expected, atol=0.45 * float(np.std(drawn)))


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_intervals_cover_the_ratio_of_expectations_as_often_as_they_say(rng, level):
    cases = 400
    numerator = rng.gamma(2.0, 1.5, (cases, 80))  # mean 3
    denominator = numerator * rng.uniform(0, 1, (cases, 80)) + rng.gamma(1.0, 1.0, (cases, 80))  # mean 2.5
    hits = 0
    for n, d in zip(numerator, denominator):
        interval = ratio_of_sums(n, d, level=level)
        hits += interval.low <= 3 / 2.5 <= interval.high
    # Percentile intervals of 80 skewed values cover up to three points less than they say.
    least, most = _binomial_range(cases, level - 0.03, level + 0.01)
    assert least <= hits <= most


@pytest.mark.parametrize(("numerator", "denominator", "expected"), [(0.0, 0.0, 0.0), (0.0, 2.0, 0.0), (3.0, 0.0, 0.0)])
def test_a_ratio_over_nothing_counts_as_zero(numerator, denominator, expected):
    assert ratio_of_sums(np.full(5, numerator), np.full(5, denominator)) == (expected,) * 3


def test_phase_ratio_is_the_largest_over_the_smallest_sum(rng):
    powers = rng.exponential(size=(30, 2, 3)) * np.array([[1, 2, 3], [4, 5, 6]])
    sums = [sum(powers[seed, y, x] for seed in range(30)) for y in range(2) for x in range(3)]
    result = phase_ratio(powers)
    assert result.value == pytest.approx(max(sums) / min(sums), rel=1e-12)
    assert 1 <= result.low < result.value < result.high


def test_phase_ratio_intervals_cover_a_planted_ratio(rng):
    cases = 300
    powers = rng.gamma(3.0, 1.0, (cases, 60, 2)) * np.array([1.0, 2.5])
    hits = sum(i.low <= 2.5 <= i.high for i in map(phase_ratio, powers))
    least, most = _binomial_range(cases, 0.92, 0.96)
    assert least <= hits <= most


@pytest.mark.parametrize(
    ("phases", "expected"), [([0.0, 0.0], 1.0), ([0.0, 1.0], np.inf), ([2.0, 1.0], 2.0), ([5.0, 5.0], 1.0)]
)
def test_phase_ratio_without_power(phases, expected):
    powers = np.tile(phases, (7, 1))
    assert phase_ratio(powers) == (expected,) * 3


def test_a_resample_without_power_in_a_phase_makes_the_upper_end_infinite():
    powers = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])  # 8 of 27 resamples leave the first seed out
    value, low, high = phase_ratio(powers)
    assert (value, low, high) == (3.0, 1.0, np.inf)


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_equal_phases_stay_below_chance_as_often_as_it_says(rng, level):
    cases = 200
    seeds = rng.gamma(1.0, 1.0, (cases, 30, 1, 1))  # what all phases of a seed share
    powers = seeds * rng.gamma(2.0, 1.0, (cases, 30, 2, 2))
    above = sum(phase_ratio(p).value > chance_ratio(p, level=level) for p in powers)
    # 500 rearrangements put the level off by 0.018 at most (one standard error); it averages out over cases.
    least, most = _binomial_range(cases, 1 - level - 0.005, 1 - level + 0.005)
    assert least <= above <= most


def test_chance_is_not_raised_by_phases_that_differ(rng):
    noise = rng.gamma(20.0, 0.05, (50, 2, 2))
    uneven = noise * np.array([[4.0, 2.0], [2.0, 1.0]])
    assert phase_ratio(uneven).value > 3.0 > 1.5 > chance_ratio(uneven) > 1.0


def test_chance_where_phases_get_nothing():
    only_one = np.zeros((1, 2, 2))
    only_one[0, 0, 0] = 1.0
    assert chance_ratio(only_one) == np.inf
    assert chance_ratio(np.zeros((4, 2, 2))) == 1.0


@pytest.mark.parametrize("period", [1, 2, 3, 6])
def test_folded_phases_are_means_of_those_that_fall_together(rng, period):
    powers = rng.exponential(size=(4, 6, 6))
    expected = np.zeros((4, period, period))
    for y in range(6):
        for x in range(6):
            expected[:, y % period, x % period] += powers[:, y, x] / (6 // period) ** 2
    np.testing.assert_allclose(merge_phases(powers, period), expected, rtol=1e-13)


def test_p_values_are_uniform_where_the_observation_is_one_more_simulation(rng):
    cases, simulations = 2000, 9
    ranks = np.zeros(simulations + 1, int)
    for _ in range(cases):
        z = rng.standard_normal((simulations + 1, 2))
        heavy = np.stack([np.exp(1.5 * z[:, 0]), z[:, 0] + z[:, 1] ** 3], axis=1)  # skewed, dependent, heavy-tailed
        p = joint_test(heavy[:-1], heavy[-1]).p_value
        ranks[round(p * (simulations + 1)) - 1] += 1
    statistic = ((ranks - cases / 10) ** 2 / (cases / 10)).sum()
    assert statistic < scipy.stats.chi2.isf(FALSE_ALARM, simulations)


def test_a_shifted_observation_is_rejected(rng):
    correlated = rng.standard_normal((99, 3)) @ np.array([[1, 0.9, 0], [0, 0.2, 0], [0, 0, 1.0]])
    # Inside the range of each number alone, off the line on which the first two lie.
    against_the_grain = np.array([1.5, -1.5, 0.0])
    assert (np.abs(correlated[:, :2]).max(0) > 1.5).all()
    assert joint_test(correlated, against_the_grain).p_value == 0.01
    assert joint_test(correlated, np.zeros(3)).p_value > 0.5


def test_the_distance_is_mahalanobis_of_all_together(rng):
    simulated, observed = rng.standard_normal((20, 2)), np.array([1.0, -2.0])
    everything = np.vstack([simulated, observed])
    mean = everything.sum(0) / 21
    covariance = sum(np.outer(row - mean, row - mean) for row in everything) / 20
    distances = [(row - mean) @ np.linalg.solve(covariance, row - mean) for row in everything]
    result = joint_test(simulated, observed)
    assert result.distance == pytest.approx(distances[-1], rel=1e-10)
    assert result.p_value == np.mean(np.array(distances) >= distances[-1])


def test_a_number_that_never_varies_changes_nothing(rng):
    simulated, observed = rng.standard_normal((30, 2)), np.array([0.4, 1.0])
    expected = joint_test(simulated, observed).p_value
    padded = np.column_stack([simulated, np.full(30, 7.0)])
    assert joint_test(padded, np.append(observed, 7.0)).p_value == expected


@pytest.mark.parametrize(
    ("simulated", "observed", "message"),
    [
        (np.ones((5, 2)), np.ones(3), r"joint_test: need simulated \[S, D\].* got \(5, 2\), \(3,\)"),
        (np.ones(5), np.ones(5), "joint_test: need simulated"),
        (np.ones((0, 2)), np.ones(2), "joint_test: needs at least one simulation"),
        (np.full((5, 1), np.nan), np.ones(1), "must be finite"),
        (np.ones((5, 1)), np.array([np.inf]), "must be finite"),
    ],
)
def test_joint_test_refuses(simulated, observed, message):
    with pytest.raises(ValueError, match=message):
        joint_test(simulated, observed)


@pytest.mark.parametrize("p_values", [[0.3], [0.05, 0.05], [0.9, 1e-4, 0.5], [1.0, 1.0], [0.01] * 12])
def test_fisher_agrees_with_scipy(p_values):
    assert fisher(p_values) == pytest.approx(scipy.stats.combine_pvalues(p_values, "fisher")[1], rel=1e-10)


@pytest.mark.parametrize("p_values", [[], [0.0], [0.5, 1.5], [float("nan")]])
def test_fisher_refuses(p_values):
    with pytest.raises(ValueError, match="fisher: p_values must be at least one, each above 0 and at most 1"):
        fisher(p_values)


def test_the_interval_is_of_two_phases_and_may_hold_one(rng):
    powers = rng.gamma(2.0, 1.0, (60, 4))  # equal in expectation
    value, low, high = phase_ratio(powers)
    sums = powers.sum(0)
    pair = powers[:, [sums.argmax(), sums.argmin()]]
    assert low < 1.0 < value < high
    np.testing.assert_allclose((value, low, high), phase_ratio(pair), rtol=1e-12)  # sums of other shapes round apart


def test_a_joint_test_with_too_few_simulations_cannot_reject(rng):
    assert joint_test(rng.normal(size=(3, 4)), np.full(4, 100.0)).p_value == 1

"""Filters of the detector and the removal of patterns, against loops and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from checkerjax.images._detector_lines import fold
from checkerjax.images._detector_phases import take_out
from checkerjax.images._detector_planes import cross_difference, filtered, local_mean, second_difference
from checkerjax.images._null import window

SIZES = [(60,), (33, 40), (17, 18, 20)]


@pytest.mark.parametrize("size", SIZES)
def test_second_differences_are_those_of_scipy_and_zero_on_the_border(rng, size):
    x = rng.normal(size=size).astype(np.float32)
    inner = (slice(1, -1),) * len(size)
    expected = np.zeros(size)
    expected[inner] = -ndimage.laplace(x.astype(np.float64))[inner]
    np.testing.assert_allclose(second_difference(x), expected, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_cross_differences_are_those_of_a_loop_and_zero_on_the_border(rng, size):
    x = rng.normal(size=size).astype(np.float32)
    expected = np.zeros(size)
    for at in itertools.product(*(range(1, n - 1) for n in size)):
        for step in itertools.product((0, 1), repeat=len(size)):
            sign = (-1) ** (len(size) - sum(step))
            expected[at] += sign * x[tuple(a + s for a, s in zip(at, step))]
    np.testing.assert_allclose(cross_difference(x), expected, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", [2, 4])
def test_the_local_mean_is_under_a_triangle(rng, size, width):
    x = rng.uniform(1, 2, size=size)
    triangle = np.convolve(np.ones(width), np.ones(width)) / width**2
    expected = x
    for axis in range(len(size)):
        expected = ndimage.convolve1d(expected, triangle, axis)
    inside = (slice(width, -width),) * len(size)
    np.testing.assert_allclose(local_mean(x.astype(np.float32), width), expected[inside], rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_gain_is_that_of_the_nearest_whole_triangle(rng, size):
    x = rng.normal(size=size).astype(np.float32)
    plane = filtered("", x, 4)
    assert plane is not None
    local = np.pad(local_mean(np.square(plane.second), 4), 4, mode="edge")
    np.testing.assert_allclose(plane.gain, 1 / np.sqrt(local + plane.faint), rtol=1e-5)


def _primitive_part(pattern, period):
    """Less what shorter periods repeat: the mean, and of period 4 all that has period 2."""
    shorter = {2: 1, 3: 1, 5: 1, 4: 2}[period]
    means = np.zeros((shorter,) * pattern.ndim)
    for at in itertools.product(range(shorter), repeat=pattern.ndim):
        means[at] = pattern[tuple(slice(a, None, shorter) for a in at)].mean()
    return pattern - np.tile(means, (period // shorter,) * pattern.ndim)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("period", [2, 3, 4, 5])
@pytest.mark.parametrize("uneven", [False, True])
def test_what_is_taken_out_is_the_mean_pattern_phase_by_phase(rng, size, period, uneven):
    """Of the plane over its gain first, then of the plane: as it was written down first, in float64."""
    field, gain, weight = rng.normal(size=size), rng.uniform(0.5, 2, size=size), window(size).astype(np.float64)
    field[(slice(None, None, period),) * len(size)] += 2
    phases = tuple(i % period for i in np.indices(size))
    expected = field
    for carrier in ([gain] if uneven else []) + [np.ones(size)]:
        sums, total = (np.zeros((period,) * len(size)) for _ in range(2))
        np.add.at(sums, phases, expected * weight)
        np.add.at(total, phases, carrier * weight)
        expected = expected - carrier * _primitive_part(sums / total, period)[phases]
    x = (field * weight).astype(np.float32)
    take_out(x, fold(x, period), period, (gain * weight).astype(np.float32) if uneven else None)
    np.testing.assert_allclose(x, expected * weight, atol=1e-5)

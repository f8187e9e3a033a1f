"""The grid detector: its null, its transforms and its units against loops, simulations and closed forms."""

from __future__ import annotations

import itertools
import json
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from checkerjax.images import combine, measure, measure_all
from checkerjax.images._detector_lines import evenness, fold_all, fold_lines
from checkerjax.images._detector_plan import half_lines, make_plan
from checkerjax.images._detector_sums import spread_below
from checkerjax.images._null import hann_overlap, line_p, sidak, window


def _red(rng, size):
    """Gaussian noise of power 1/f^2, cut from a periodic field."""
    f = np.hypot(np.fft.fftfreq(2 * size)[:, None], np.fft.rfftfreq(2 * size))
    f[0, 0] = np.inf
    return np.fft.irfft2(np.fft.rfft2(rng.normal(size=(2 * size, 2 * size))) / f)[:size, :size]


def _pattern(rng, period, ndim):
    """A pattern of RMS 1 on the primitive lines of a prime period."""
    pattern = rng.normal(size=(period,) * ndim)
    pattern -= pattern.mean()
    return pattern / pattern.std()


def _tiled(pattern, shape):
    repeats = [-(-n // len(pattern)) for n in shape]
    return np.tile(pattern, repeats)[tuple(slice(n) for n in shape)]


def _result(report, period):
    return next(r for r in report.periods if r.period == period)


# --- transforms and the null -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(45,), (30, 33), (16, 18, 17)])
def test_folded_lines_are_the_windowed_transform_at_exactly_m_over_p(rng, size):
    plan = make_plan(size, (2, 3, 4))
    x = rng.normal(size=size)
    weight = np.ones(size)
    for axis, n in enumerate(size):
        shape = [n if a == axis else 1 for a in range(len(size))]
        weight = weight * np.array([np.sin(np.pi * (i + 0.5) / n) ** 2 for i in range(n)]).reshape(shape)
    expected = []
    for frequency in plan.frequency:
        angle = sum(f * index for f, index in zip(frequency, np.indices(size)))
        expected.append(abs((x * weight * np.exp(-2j * np.pi * angle)).sum()) ** 2)
    found = fold_lines(plan, fold_all(plan, [x * window(size)]))
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


@pytest.mark.parametrize(("period", "ndim"), [(2, 2), (4, 2), (6, 1), (5, 2), (4, 3)])
def test_one_line_of_each_conjugate_pair_is_listed(period, ndim):
    listed = {tuple(m) for m in half_lines(period, ndim).tolist()}
    for m in itertools.product(range(period), repeat=ndim):
        conjugate = tuple(-i % period for i in m)
        primitive = np.lcm.reduce([period // np.gcd(i, period) for i in m]) == period
        assert ((m in listed) + (conjugate in listed and conjugate != m)) == primitive


def test_overlap_of_bins_is_the_transform_of_the_squared_window():
    n = 64
    squared = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 4
    for d in (0.0, 0.4, 1.0, 1.7, 2.0, 3.0, 4.5):
        direct = abs((squared * np.exp(-2j * np.pi * d * np.arange(n) / n)).sum() / squared.sum()) ** 2
        assert float(hann_overlap(np.array(d), n)) == pytest.approx(direct, abs=1e-4)


def test_degrees_of_freedom_match_the_scatter_of_floors(rng):
    """White noise has a flat spectrum: the plain mean of a line's bins varies as its degrees of freedom say."""
    plan = make_plan((48, 40), (2, 4, 5))
    fields = rng.normal(size=(4000, 48, 40)) * window((48, 40))
    power = np.abs(np.fft.rfft2(fields).reshape(4000, -1)) ** 2
    for line in range(len(plan.period)):
        floor = power[:, plan.places[plan.bins[line]]] @ plan.weight[line]
        scatter = 2 * floor.mean() ** 2 / floor.var()
        # Bins that touch DC are left out by count: hence 15 % and not the 5 % of 4000 draws.
        assert scatter == pytest.approx(plan.floor_dof[line], rel=0.15), plan.frequency[line]


@pytest.mark.parametrize("size", [(300,), (110, 64), (16, 18, 20)])
def test_evenness_is_the_ratio_of_the_transforms_of_the_squared_window(rng, size):
    """Contrast that varies by place makes bins alike; summed over all pairs of bins of a floor, in a plain loop."""
    plan = make_plan(size, (2, 3, 5))
    gain = rng.uniform(0.5, 3.0, size=size) ** 2
    counts = [min(n, {1: 4096, 2: 96, 3: 32}[len(size)]) for n in size]
    at = [np.floor((np.arange(c) + 0.5) * n / c).astype(int) for n, c in zip(size, counts)]
    grids = np.meshgrid(*at, indexing="ij")
    squared = np.prod([np.sin(np.pi * (g + 0.5) / n) ** 4 for g, n in zip(grids, size)], axis=0)
    expected = []
    for difference, count in plan.offsets:
        sums = []
        for weight in (squared, squared * (1 - 0.01 * gain[np.ix_(*at)] ** 2)):
            total = 0.0
            for d, times in zip(difference, count):
                angle = sum(i * g / n for i, g, n in zip(d, grids, size))
                total += times * abs((weight * np.exp(-2j * np.pi * angle)).sum() / weight.sum()) ** 2
            sums.append(total)
        expected.append(min(sums[0] / sums[1], 1.0))
    np.testing.assert_allclose(evenness(plan, [(gain, 0.01)]), [expected], rtol=1e-4)


def test_folds_from_a_common_multiple_are_folds(rng):
    plan = make_plan((70, 90), tuple(range(2, 17)))
    x = rng.normal(size=(70, 90))
    folded = fold_all(plan, [x])
    assert set(folded) == {q for q, _, _ in plan.folds}
    for period, sums in folded.items():
        expected = np.zeros((period, period))
        np.add.at(expected, (np.arange(70)[:, None] % period, np.arange(90) % period), x)
        np.testing.assert_allclose(sums, [expected], atol=1e-10)


def test_p_of_a_line_is_that_of_f():
    ratio = np.array([0.3, 1.0, 4.0, 30.0])
    for dof in (1.0, 1.4, 2.0):
        found = line_p(ratio, np.full(4, dof), np.full(4, 17.0))
        np.testing.assert_allclose(found, stats.f.sf(ratio, dof, 17.0), rtol=1e-6)


def test_self_conjugate_lines_have_one_degree_of_freedom():
    plan = make_plan((64, 64), (2, 3))
    np.testing.assert_allclose(plan.line_dof[plan.period == 2], 1.0, atol=1e-6)
    np.testing.assert_allclose(plan.line_dof[plan.period == 3], 2.0, atol=1e-3)


@pytest.mark.parametrize("kind", ["white", "red"])
def test_false_positives_are_as_many_as_stated(rng, kind):
    periods = (2, 3, 4, 5, 8)
    p, phase_p, family = [], [], []
    for _ in range(400):
        x = rng.normal(size=(64, 60)) if kind == "white" else _red(rng, 63)
        report = measure(x, periods=periods)
        p += [r.p for r in report.periods]
        phase_p += [r.phase_p for r in report.periods]
        family.append(report.p)
    for values, level in ((p, 0.05), (p, 0.01), (phase_p, 0.05), (phase_p, 0.01), (family, 0.05)):
        count = int(np.sum(np.array(values) <= level))
        # Ten counts in this file: one in a thousand each keeps the chance of a wrong alarm at 1 %.
        assert stats.binomtest(count, len(values), level).pvalue > 1e-3, (level, count, len(values))


# --- what is planted is found, in its units --------------------------------------------------------------------------


@pytest.mark.parametrize(("period", "size"), [(2, (128, 128)), (3, (97, 128)), (5, (129, 255)), (7, (160, 151))])
def test_the_amplitude_of_a_planted_pattern_is_its_rms(rng, period, size):
    pattern = 0.5 * _tiled(_pattern(rng, period, 2), size)
    report = measure(rng.normal(size=size) + pattern)
    assert report.found == (period,)
    # The floor adds about (period^2 - 1) / (2 n) (relative), n the samples under the window: below 3 % here.
    assert report.amplitude == pytest.approx(0.5, rel=0.06)


def test_amplitudes_are_in_the_units_of_the_picture(rng):
    x = rng.normal(size=(96, 96, 3)) + 0.5 * _tiled(_pattern(rng, 2, 2), (96, 96))[..., None]
    one, other = measure(x), measure(1000 * x + 77)
    assert one.amplitude == pytest.approx(0.5, rel=0.06)
    assert other.amplitude == pytest.approx(1000 * one.amplitude, rel=1e-3)
    assert other.db == pytest.approx(one.db, abs=0.01)


def test_a_grid_along_one_axis_is_told_from_one_along_the_other(rng):
    x = rng.normal(size=(96, 80))
    x[:, ::4] += 0.5
    groups = {g.name: g for g in _result(measure(x), 4).groups}
    assert groups["axis 1"].p < 1e-6
    assert groups["axis 0"].p > 0.01
    assert groups["off the axes"].p > 0.01


def test_a_grid_of_period_two_is_not_one_of_period_four(rng):
    x = rng.normal(size=(128, 128))
    x[::2, ::2] += 2.0
    assert measure(x).found == (2,)


def test_a_comb_has_the_lines_of_all_divisors_and_none_hides_the_others(rng):
    """Lines of 8 are in the floors of those of 2 in so small a picture, until they are taken out."""
    x = rng.normal(size=(80, 80))
    x[:, ::8] += 3.0
    assert measure(x).found == (2, 4, 8)


def test_uneven_contrast_next_to_a_strong_grid_does_not_make_other_periods(rng):
    y, x = np.indices((128, 128))
    contrast = np.where((x // 20 + y // 30) % 2, 5.0, 0.2)
    assert measure(contrast * rng.normal(size=(128, 128)) + 3.0 * (x % 2)).found == (2,)


def test_contrast_by_phase_is_a_phase_power_and_no_line(rng):
    x = rng.normal(size=(128, 128))
    x[::2] *= 1.5
    result = _result(measure(x), 2)
    assert result.p_corrected > 0.01
    assert result.phase_p_corrected < 1e-6


def test_a_constant_pattern_is_a_line_and_no_phase_power(rng):
    x = rng.normal(size=(128, 128))
    x[::3, ::3] += 4.0
    result = _result(measure(x), 3)
    assert result.p_corrected < 1e-6
    assert result.phase_p_corrected > 0.01


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_repeated_noise_has_phase_power(rng, factor):
    small = rng.normal(size=(48, 48))
    report = measure(small.repeat(factor, 0).repeat(factor, 1))
    result = _result(report, factor)
    assert factor in report.found
    assert result.p_corrected > 0.01  # all phases have one mean
    assert result.phase_p_corrected < 1e-6


def test_the_phase_ratio_is_that_of_the_filtered_second_moments(rng):
    """In one dimension, with every other sample amplified by g: second differences have 4 g^2 + 2 and 4 + 2 g^2."""
    x = rng.normal(size=40000)
    x[::2] *= 2.0
    second, cross = (4 * 4 + 2, 4 + 2 * 4), 4 + 1
    expected = (second[0] + 3 * cross) / (second[1] + 3 * cross)
    assert _result(measure(x, periods=[2, 16]), 2).phase_ratio == pytest.approx(expected, rel=0.05)


def test_signals_up_to_period_256(rng):
    x = rng.normal(size=8192)
    report = measure(x + 0.3 * _tiled(_pattern(rng, 251, 1), (8192,)), periods=[2, 16, 251, 256])
    assert 251 in report.found
    assert 2 not in report.found
    assert _result(report, 251).amplitude == pytest.approx(0.3, rel=0.15)


def test_volumes(rng):
    x = rng.normal(size=(24, 30, 26))
    x[::2, ::2, ::2] += 1.0
    report = measure(x, periods=[2, 3, 4])
    assert report.found == (2,)
    assert report.amplitude == pytest.approx(np.sqrt(1 / 8 - 1 / 64), rel=0.1)


def test_resized_grids_have_fractional_periods(rng):
    n = np.arange(200)
    x = rng.normal(size=(200, 200)) + 0.5 * np.cos(2 * np.pi * n / 2.8)
    (line,) = measure(x, periods=[2, 3, 4], fractional=True).fractional
    assert line.axis == "axis 1"
    assert line.period == pytest.approx(2.8, abs=0.01)
    assert measure(rng.normal(size=(200, 200)), periods=[2], fractional=True).fractional == ()


# --- many pictures ---------------------------------------------------------------------------------------------------


def test_pictures_together_show_what_none_shows(rng):
    pattern = 0.07 * _tiled(_pattern(rng, 3, 2), (64, 90))
    pictures = [rng.normal(size=(64, 60 + 10 * (i % 4))) for i in range(40)]
    planted = [x + pattern[:, : x.shape[1]] for x in pictures]
    reports = list(measure_all(planted, periods=range(2, 7), workers=2))
    together = combine(reports)
    assert sum(3 in report.found for report in reports) < 10
    assert together.found == (3,)
    assert together.pictures == 40
    assert combine(measure_all(pictures, periods=range(2, 7))).p > 0.001
    json.dumps(together.to_dict(), allow_nan=False)
    assert max(map(len, str(together).splitlines())) <= 100


def _bumpy(rng, number):
    """Colour noise of one spectrum with bumps that no smooth floor fits, the channels partly alike."""
    taps = 0.02 * rng.normal(size=(13, 13))
    taps[0, 0] += 1.0
    bumps = np.fft.rfft2(taps, s=(64, 64))
    noise = rng.normal(size=(number, 64, 64, 1)) + rng.normal(size=(number, 64, 64, 3))
    return np.fft.irfft2(np.fft.rfft2(noise, axes=(1, 2)) * bumps[..., None], axes=(1, 2))


def test_what_floors_are_off_by_is_no_grid_of_many_pictures(rng):
    pictures = _bumpy(rng, 80)
    together = combine(measure_all(pictures))
    assert together.found == ()
    assert together.spread > 2
    assert "lines scatter" in str(together)
    assert max(map(len, str(together).splitlines())) <= 100
    pattern = 0.2 * pictures.std() * _tiled(_pattern(rng, 3, 2), (64, 64))[..., None]
    assert combine(measure_all(pictures + pattern)).found == (3,)


def test_the_spread_is_that_of_lines_below_their_floors(rng):
    deviates = rng.normal(size=4000)
    assert spread_below(deviates) == pytest.approx(1.0, abs=0.06)
    assert spread_below(3 * deviates) == pytest.approx(3.0, rel=0.06)
    grid = np.concatenate([2 * deviates[:2000], 30 + deviates[2000:]])  # half of all lines are those of a grid
    assert spread_below(grid) == pytest.approx(2.0, rel=0.1)
    assert spread_below(30 + deviates) == 1.0
    assert spread_below(-5 * np.ones(29)) == 1.0


def test_threads_change_nothing(rng):
    x = rng.normal(size=(9, 40, 44))
    one = [r.p for r in measure_all(x, periods=[2, 3], layout="HW")]
    assert one == [r.p for r in measure_all(x, periods=[2, 3], layout="HW", workers=3)]


# --- input -----------------------------------------------------------------------------------------------------------


def test_the_report_is_readable_and_json(rng):
    report = measure(rng.normal(size=(64, 64, 3)))
    assert report.planes == ("luminance", "red-blue", "green-magenta")
    assert max(map(len, str(report).splitlines())) <= 100
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["size"] == [64, 64]
    assert len(report.lines.p) == 3 * len(report.phase_lines.p)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float16, np.float64])
def test_every_dtype_gives_the_same(rng, dtype):
    x = rng.integers(0, 200, size=(64, 64)).astype(np.float32)
    assert measure(x.astype(dtype)).p == pytest.approx(measure(x).p, rel=1e-3)


def test_a_large_mean_hides_nothing(rng):
    x = rng.integers(0, 100, size=(64, 64))
    assert measure(x + 10**9).p == pytest.approx(measure(x).p, rel=1e-3)
    assert measure(x + 1e9).p == pytest.approx(measure(x).p, rel=1e-3)
    assert measure(np.full((64, 64), 0.1) + 1e-17 * x).planes == ()


def test_jax_arrays_are_pictures(rng):
    x = rng.normal(size=(40, 40)).astype(np.float32)
    assert measure(jnp.asarray(x)).p == measure(x).p


@pytest.mark.parametrize("value", [0.0, 1e-3, 255.0])
def test_a_constant_picture_has_no_grid(value):
    report = measure(np.full((64, 64, 3), value))
    assert report.found == ()
    assert (report.p, report.amplitude) == (1.0, 0.0)
    assert "no variation" in str(report)
    json.dumps(report.to_dict(), allow_nan=False)
    assert combine([report]).p == 1.0


def test_grey_saved_as_colour_is_grey(rng):
    x = rng.integers(0, 255, size=(64, 64, 1)).astype(np.uint8)
    assert measure(x.repeat(3, -1)).planes == ("luminance",)
    assert measure(x.repeat(3, -1)).p == pytest.approx(measure(x).p, rel=1e-3)


def test_periods_that_do_not_fit_are_left_out_with_a_note(rng):
    report = measure(rng.normal(size=(64, 40)))
    assert [r.period for r in report.periods] == list(range(2, 11))
    assert "left out: 11, 12, 13, 14, 15, 16" in str(report)


def test_an_axis_of_one_sample_is_left_out(rng):
    x = rng.normal(size=(1, 400))
    report = measure(x, layout="HW")
    assert report.size == (400,)
    assert report.p == measure(x[0]).p
    assert "axis H has one sample" in str(report)


BAD = [
    (lambda x: measure(x, periods=[]), ValueError, "periods must name at least one period; got none"),
    (lambda x: measure(x, periods=[1]), ValueError, "periods must be at least 2; got 1"),
    (lambda x: measure(x, periods=cast(Any, [2.5])), TypeError, "periods must be an int; got 2.5"),
    (
        lambda x: measure(x, periods=cast(Any, 4)),
        TypeError,
        r"several ints; got 4. For one, write \[4\]",
    ),
    (
        lambda x: measure(np.zeros((300, 300)), periods=range(2, 75)),
        ValueError,
        "periods 2 to 74 have about 68912 lines on 2 axes, and at most 20000 are measured",
    ),
    (lambda x: measure(x, alpha=1.0), ValueError, "alpha must be between 0 and 1; got 1.0"),
    (lambda x: measure(x, layout="CHW"), ValueError, "layout must be one of H, HC, .* got 'CHW'"),
    (lambda x: measure(x, layout="HWC"), ValueError, r"layout HWC needs 3 axes; got shape \(32, 32\)"),
    (lambda x: measure(x[:7]), ValueError, r"at least 16 samples on every axis for period 2; got \(7, 32\)"),
    (lambda x: measure(x * np.nan), ValueError, "image must be finite; 1024 of 1024 values are not"),
    (lambda x: measure(x + 0j), TypeError, "image must have a real dtype; got complex128"),
    (lambda x: measure(x > 0), TypeError, "image must have a real dtype; got bool"),
    (lambda x: measure("a.png"), TypeError, "image must be an array; got str"),
    (lambda x: measure(x[:0]), ValueError, "image is empty"),
    (lambda x: measure(np.zeros((1, 1, 3))), ValueError, "more than one pixel"),
    (lambda x: measure(np.zeros((2, 3, 4, 5, 6))), ValueError, "1, 2 or 3 spatial axes.* measure_all"),
    (lambda x: measure_all([x], workers=0), ValueError, "workers must be at least 1; got 0"),
    (lambda x: combine([]), ValueError, "at least one report"),
    (lambda x: combine([x]), TypeError, "reports must be those of measure; got ndarray"),
    (lambda x: combine([measure(x), measure(x[0])]), ValueError, "reports must be of one rank"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_refused_in_one_line(rng, call, error, message):
    with pytest.raises(error, match=message) as caught:
        call(rng.normal(size=(32, 32)))
    assert "\n" not in str(caught.value)


def test_sidak_of_small_values_does_not_cancel():
    assert sidak(1e-30, 30) == pytest.approx(3e-29)
    assert sidak(0.01, 10) == pytest.approx(1 - 0.99**10)


@pytest.mark.parametrize("exponent", [-120, -40, 100])
def test_units_of_any_size_change_amplitudes_alone(exponent):
    picture = np.random.default_rng(3).normal(size=(64, 96)).astype(np.float32)
    picture[:, ::3] += 1
    report, other = (measure(x, periods=[2, 3]) for x in (picture, np.ldexp(picture, exponent)))
    assert report.found == other.found == (3,)
    np.testing.assert_allclose(other.amplitude, np.ldexp(report.amplitude, exponent), rtol=1e-5)
    np.testing.assert_allclose([r.db for r in other.periods], [r.db for r in report.periods], atol=1e-3)
    np.testing.assert_allclose(other.lines.power, np.ldexp(report.lines.power.astype(float), 2 * exponent), rtol=1e-4)

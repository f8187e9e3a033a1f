"""Spectra against float64 loops, explicit Fourier matrices, planted grids and closed forms."""

from __future__ import annotations

import functools
import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from checkerjax import spectra
from checkerjax.ops import conv_transpose, upsample

# Some hundred roundings of sums over up to a thousand terms, relative to the largest term.
ROUNDING = 256 * float(np.finfo(np.float32).eps)
# Two-sided normal quantile: a correct build exceeds it in fewer than 1 in 100,000 draws of the seed.
Z = 4.5

# Odd and even sizes, multiples of the period and not, one period for all axes and one for each.
CASES = [
    ((3, 12, 2), 3),
    ((1, 13, 1), (4,)),
    ((2, 12, 9, 2), (4, 3)),
    ((2, 9, 11, 3), 2),
    ((1, 8, 6, 5), (1, 2)),
    ((2, 6, 5, 9, 2), (2, 1, 3)),
    ((1, 4, 7, 4, 1), 2),
]


def periods_of(shape, period):
    return (period,) * (len(shape) - 2) if isinstance(period, int) else period


def cropped(x, periods):
    return x[(slice(None), *(slice(n // p * p) for n, p in zip(x.shape[1:-1], periods)))]


def dft(x):
    """Explicit Fourier matrices in float64, over the number of samples."""
    out = x.astype(np.complex128)
    for axis in range(1, x.ndim - 1):
        n = x.shape[axis]
        matrix = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / n
        out = np.moveaxis(np.tensordot(matrix, out, axes=((1,), (axis,))), 0, axis)
    return out


def by_phase(x, periods, statistic):
    """`statistic` of the samples of each phase, picked one by one."""
    spatial = x.shape[1:-1]
    out = np.empty((x.shape[0], *periods, x.shape[-1]))
    for image, phase, channel in itertools.product(range(len(x)), np.ndindex(*periods), range(x.shape[-1])):
        limits = [n // p * p for n, p in zip(spatial, periods)]
        at = [n for n in np.ndindex(*limits) if all(i % p == r for i, p, r in zip(n, periods, phase))]
        out[(image, *phase, channel)] = statistic(np.array([x[(image, *n, channel)] for n in at]))
    return out


def line_energies(x, periods):
    """{m: energy over images and channels} of every line and DC, from sums over samples."""
    x = cropped(x, periods)
    spatial = x.shape[1:-1]
    energies = {}
    for m in np.ndindex(*periods):
        turns = sum(k * n / p for k, n, p in zip(m, np.indices(spatial), periods))
        wave = np.exp(-2j * np.pi * turns)[None, ..., None]
        energies[m] = float((np.abs((x * wave).mean(tuple(range(1, x.ndim - 1)))) ** 2).sum())
    return energies


def is_primitive(m, periods):
    return math.lcm(*(Fraction(k, p).denominator for k, p in zip(m, periods))) == math.lcm(*periods)


def draw(rng, shape):
    return (rng.standard_normal(shape) + 0.5).astype(np.float32)


def assert_near(actual, expected, dtype="float32"):
    expected = np.asarray(expected)
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=ROUNDING, atol=ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize("shape", [shape for shape, _ in CASES])
def test_power_spectrum_is_the_squared_fourier_matrix(mode, rng, shape):
    x = draw(rng, shape)
    spectrum = mode(spectra.power_spectrum)(x)
    assert_near(spectrum.power, np.abs(dft(x)) ** 2)
    for frequency, n in zip(spectrum.frequencies, shape[1:-1]):
        np.testing.assert_allclose(frequency, [(k if 2 * k < n else k - n) / n for k in range(n)], rtol=1e-6)
    mean_square = (x.astype(float) ** 2).mean(tuple(range(1, x.ndim - 1)))
    assert_near(spectrum.power.sum(tuple(range(1, x.ndim - 1))), mean_square)


@pytest.mark.parametrize(("shape", "period"), CASES)
def test_phase_statistics_are_those_of_the_samples_of_a_phase(mode, rng, shape, period):
    x, periods = draw(rng, shape), periods_of(shape, period)

    def call(f, **options):
        return mode(functools.partial(f, period=period, **options))(x)

    powers = by_phase(x, periods, lambda v: np.mean(v.astype(float) ** 2))
    variances = by_phase(x, periods, np.var)
    assert_near(call(spectra.phase_means), by_phase(x, periods, np.mean))
    assert_near(call(spectra.phase_powers), powers)
    assert_near(call(spectra.phase_powers, centred=True), variances)
    for centred, moments in ((False, powers), (True, variances)):
        sums = moments.sum((0, -1))
        assert_near(call(spectra.power_ratio, centred=centred), sums.max() / sums.min())


@pytest.mark.parametrize(("shape", "period"), CASES)
def test_lines_are_the_fourier_sums_at_multiples_of_the_frequency(mode, rng, shape, period):
    x, periods = draw(rng, shape), periods_of(shape, period)
    lines = mode(functools.partial(spectra.line_powers, period=period))(x)
    steps = [n // p for n, p in zip(shape[1:-1], periods)]
    bins = np.abs(dft(cropped(x, periods))) ** 2
    assert_near(lines, bins[(slice(None), *(slice(None, None, q) for q in steps))])

    energies = line_energies(x, periods)
    dc = (0,) * len(periods)
    total = (cropped(x, periods).astype(float) ** 2).mean(tuple(range(1, x.ndim - 1))).sum() - energies[dc]
    for primitive in (False, True):
        chosen = sum(e for m, e in energies.items() if m != dc and (not primitive or is_primitive(m, periods)))
        options = {"period": period, "primitive": primitive}
        assert_near(mode(functools.partial(spectra.lattice_ratio, **options))(x), chosen / energies[dc])
        assert_near(mode(functools.partial(spectra.lattice_share, **options))(x), chosen / total)


@pytest.mark.parametrize("period", [2, 6, 12, (4,), (4, 6), (2, 3), (8, 1), (2, 3, 4), np.array([2, 2])])
def test_primitive_lines_have_the_full_denominator(period):
    periods = (period,) if isinstance(period, int) else tuple(int(p) for p in period)
    mask = spectra.primitive_lines(period)
    assert isinstance(mask, np.ndarray)
    assert mask.dtype == bool
    assert mask.shape == periods
    assert all(mask[m] == is_primitive(m, periods) for m in np.ndindex(*periods))


def test_primitive_lines_of_the_divisors_are_all_lines_of_a_period():
    counted = sum(spectra.primitive_lines((d, d)).sum() for d in (2, 3, 4, 6, 12))
    assert counted == 12 * 12 - 1


def test_planted_grids_have_their_power():
    n, m = np.arange(24)[:, None], np.arange(24)[None, :]
    field = 5 + 3.0 * (-1) ** (n + m) + 2 * np.cos(2 * np.pi * (n / 3 - m / 4)) + 1.5 * np.cos(2 * np.pi * 5 * n / 24)
    x = jnp.asarray(field[None, ..., None], "float32")
    power = {"dc": 25, "checks": 9, "thirds and quarters": 2, "noise": 1.5**2 / 2}
    lines = spectra.line_powers(x, 12)[0, ..., 0]
    expected = np.zeros((12, 12))
    expected[0, 0], expected[6, 6], expected[4, 9], expected[8, 3] = 25, 9, 1, 1
    assert_near(lines, expected)
    energy = sum(power.values()) - power["dc"]
    assert_near(spectra.lattice_share(x, 2), power["checks"] / energy)
    assert_near(spectra.lattice_share(x, (3, 4)), power["thirds and quarters"] / energy)
    assert_near(spectra.lattice_share(x, 12), 1 - power["noise"] / energy)
    assert_near(spectra.lattice_share(x, 12, primitive=True), power["thirds and quarters"] / energy)
    assert_near(spectra.lattice_ratio(x, 12), (power["checks"] + power["thirds and quarters"]) / 25)


def test_a_grid_of_period_2_is_one_of_4_and_6_but_not_primitively(rng):
    x = jnp.asarray(np.tile(rng.standard_normal((1, 2, 2, 3)), (1, 6, 6, 1)), "float32")
    for period in (2, 4, 6, 12):
        assert_near(spectra.lattice_share(x, period), 1.0)
        primitive = spectra.lattice_share(x, period, primitive=True)
        # Squares of rounding errors: exact zeros would need sums that do not round.
        assert primitive < 1e-12 if period > 2 else primitive == spectra.lattice_share(x, period)


@pytest.mark.parametrize(("shape", "period"), [((2, 9, 2), 3), ((2, 13, 11, 3), (3, 2)), ((1, 5, 6, 7, 2), 2)])
def test_constant_fields_have_exactly_no_grid(mode, rng, shape, period):
    values = (10 * rng.standard_normal((shape[0], *(1,) * (len(shape) - 2), shape[-1]))).astype(np.float32)
    x = np.broadcast_to(values, shape)
    assert mode(functools.partial(spectra.lattice_share, period=period))(x) == 0
    assert mode(functools.partial(spectra.lattice_ratio, period=period))(x) == 0
    assert mode(functools.partial(spectra.power_ratio, period=period, centred=True))(x) == 1
    zero = jnp.zeros(shape)
    assert spectra.power_ratio(zero, period) == 1
    assert spectra.lattice_ratio(zero, period) == 0


@pytest.mark.parametrize("period", [3, 5, 7])
def test_pure_grids_have_exactly_nothing_but_lines(mode, rng, period):
    x = np.tile(rng.standard_normal((2, period, 3)), (1, 11, 1)).astype(np.float32)
    assert mode(functools.partial(spectra.lattice_share, period=period))(x) == 1
    assert mode(functools.partial(spectra.power_ratio, period=period, centred=True))(x) == 1
    np.testing.assert_array_equal(mode(functools.partial(spectra.phase_means, period=period))(x), x[:, :period])


def test_large_means_and_large_first_samples_cost_no_digits(rng):
    x = 1000 + draw(rng, (2, 36, 36, 2))
    exact = x.astype(float) - 1000  # what is left of the draw; an offset moves no line
    share = sum(e for m, e in line_energies(exact, (3, 4)).items() if any(m)) / exact.var((1, 2)).sum()
    np.testing.assert_allclose(spectra.lattice_share(jnp.asarray(x), (3, 4)), share, rtol=ROUNDING)
    impulse = jnp.zeros((1, 100_002, 1)).at[0, 0, 0].set(1.0)
    np.testing.assert_allclose(spectra.phase_means(impulse, 2).ravel(), [1 / 50_001, 0], rtol=1e-6)


def test_quotients_without_a_denominator_are_what_is_stated():
    signs = jnp.array([1.0, -1.0] * 6).reshape(1, 12, 1)
    assert spectra.lattice_ratio(signs, 2) == jnp.inf
    assert spectra.power_ratio(signs + 1, 2) == jnp.inf
    assert spectra.line_to_floor(signs, 2) == jnp.inf
    assert spectra.line_to_floor(jnp.ones((1, 12, 1)), 2) == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=12, max_size=12), st.sampled_from([2, 3, 4]), st.booleans())
def test_shares_lie_between_0_and_1(values, period, primitive):
    x = jnp.asarray(values, "float32").reshape(1, 12, 1)
    assert 0 <= spectra.lattice_share(x, period, primitive=primitive) <= 1
    assert spectra.power_ratio(x, period) >= 1


@pytest.mark.parametrize("statistic", ["lattice_share", "lattice_ratio", "power_ratio", "line_to_floor"])
def test_shares_and_ratios_do_not_depend_on_scale_place_or_channel_order(rng, statistic):
    f = functools.partial(getattr(spectra, statistic), period=(2, 3))
    x = draw(rng, (2, 12, 9, 3))
    value = float(f(x))
    for same in (x * 2.0**-90, x * 2.0**90, -x, np.roll(x, (1, 4), (1, 2)), x[::-1, ..., ::-1]):
        np.testing.assert_allclose(f(same.astype(np.float32)), value, rtol=ROUNDING, atol=ROUNDING)


def test_shares_are_ratios_of_sums_and_vmap_gives_one_per_image(rng):
    x = jnp.asarray(draw(rng, (3, 8, 8, 2)) * np.array([1, 10, 100], np.float32).reshape(3, 1, 1, 1))
    each = jax.vmap(lambda image: spectra.lattice_share(image[None], 4))(x)
    assert_near(each, [float(spectra.lattice_share(image[None], 4)) for image in x])
    energy = x.var((1, 2)).sum(1)
    np.testing.assert_allclose(spectra.lattice_share(x, 4), (each * energy).sum() / energy.sum(), rtol=ROUNDING)


def floor_loop(x, periods, primitive):
    power = (np.abs(dft(cropped(x, periods))) ** 2).sum((0, -1))
    values = []
    for m in np.ndindex(*periods):
        if not any(m) or (primitive and not is_primitive(m, periods)):
            continue
        line = [k * n // p for k, n, p in zip(m, power.shape, periods)]
        near = itertools.product(*([-2, -1, 1, 2] if p > 1 else [0] for p in periods))
        bins = [power[tuple((k + o) % n for k, o, n in zip(line, offset, power.shape))] for offset in near]
        assert len(bins) == 4 ** sum(p > 1 for p in periods)
        values.append(10 * np.log10(power[tuple(line)] / np.mean(bins)))
    return np.mean(values)


@pytest.mark.parametrize("primitive", [False, True])
@pytest.mark.parametrize(
    ("shape", "period"),
    [((2, 13, 2), 4), ((2, 12, 15, 2), (4, 3)), ((1, 9, 5, 2), (2, 1)), ((1, 7, 9, 6, 1), (2, 3, 2))],
)
def test_line_to_floor_is_the_mean_over_lines_in_decibels(mode, rng, shape, period, primitive):
    x = draw(rng, shape)
    value = mode(functools.partial(spectra.line_to_floor, period=period, primitive=primitive))(x)
    expected = floor_loop(x, periods_of(shape, period), primitive)
    # Weak lines lose digits: an amplitude a tenth of the typical one has ten times the relative error.
    np.testing.assert_allclose(value, expected, atol=1e-3)


def ring_loop(x):
    """{ring: (bins, energy [N, C])}: rings of width 1 / n found with whole numbers only."""
    power, size = np.abs(dft(x)) ** 2, x.shape[1:-1]
    n = min([s for s in size if s > 1], default=1)
    rings = {}
    for bins in np.ndindex(*size):
        signed = [k if 2 * k < s else k - s for k, s in zip(bins, size)]
        square = sum(Fraction(k * n, s) ** 2 for k, s in zip(signed, size))
        ring = 0
        while square >= Fraction(2 * ring + 1, 2) ** 2:
            ring += 1
        ring = max(ring, int(square > 0))
        count, energy = rings.get(ring, (0, 0))
        rings[ring] = (count + 1, energy + power[(slice(None), *bins)])
    return n, rings


@pytest.mark.parametrize(
    "shape",
    [(2, 9, 2), (1, 8, 8, 2), (2, 7, 7, 1), (1, 16, 6, 1), (1, 1, 9, 1), (1, 1, 1, 1), (1, 4, 6, 5, 2)],
)
def test_radial_profile_averages_every_bin_once(mode, rng, shape):
    x = draw(rng, shape)
    profile = mode(spectra.radial_profile)(x)
    n, rings = ring_loop(x)
    numbers = sorted(rings)
    assert_near(profile.frequency, np.array(numbers) / n)
    assert_near(profile.power, np.stack([rings[k][1] / rings[k][0] for k in numbers], axis=1))
    counts = np.array([rings[k][0] for k in numbers])
    total = np.einsum("nrc,r->nc", profile.power, counts)
    assert_near(total.astype(np.float32), (x.astype(float) ** 2).mean(tuple(range(1, x.ndim - 1))))


@pytest.mark.parametrize("n", [8, 9, 32, 43])
def test_radial_profile_keeps_its_last_ring_and_puts_both_signs_in_one(n):
    rows, columns = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    half = n // 2
    corner = np.cos(2 * np.pi * half * (rows + columns) / n)
    profile = spectra.radial_profile(jnp.asarray(corner[None, ..., None], "float32"))
    assert len(profile.frequency) == 1 + math.floor(half * math.sqrt(2) + 0.5)
    assert int(profile.power.argmax()) == len(profile.frequency) - 1
    for k in range(1, half + 1):
        wave = np.cos(2 * np.pi * k * columns / n)[None, ..., None]
        power = np.asarray(spectra.radial_profile(jnp.asarray(wave, "float32")).power[0, :, 0])
        assert set(np.flatnonzero(power > 1e-6 * power.max())) == {k}


@pytest.mark.parametrize(("n", "period"), [(12, 3), (9, 2), (8, 4)])
def test_cyclic_spectrum_is_the_transform_of_the_cyclic_correlation(mode, rng, n, period):
    x = draw(rng, (1, n, 1))
    n = n // period * period
    field, at = x[0, :n, 0].astype(float), np.arange(n)
    expected = np.empty((period, n), complex)
    for m in range(period):
        lags = [np.mean(np.roll(field, -t) * field * np.exp(-2j * np.pi * m * at / period)) for t in range(n)]
        expected[m] = [np.sum(lags * np.exp(-2j * np.pi * k * at / n)) / n for k in range(n)]
    actual = mode(functools.partial(spectra.cyclic_spectrum, period=period))(x)
    assert_near(actual.reshape(period, n), expected, "complex64")


@pytest.mark.parametrize(("shape", "period"), CASES)
def test_cyclic_spectrum_multiplies_bins_a_line_apart_and_sums_to_phase_powers(rng, shape, period):
    x, periods = draw(rng, shape), periods_of(shape, period)
    bins = dft(cropped(x, periods))
    size = bins.shape[1:-1]
    actual = jax.jit(functools.partial(spectra.cyclic_spectrum, period=period))(x)
    assert actual.shape == (*periods, *bins.shape)
    for m in np.ndindex(*periods):
        expected = np.empty(bins.shape, complex)
        for f in np.ndindex(*size):
            other = tuple((k - j * n // p) % n for k, j, n, p in zip(f, m, size, periods))
            expected[(slice(None), *f)] = bins[(slice(None), *f)] * bins[(slice(None), *other)].conj()
        np.testing.assert_allclose(actual[m], expected, atol=ROUNDING * np.abs(bins).max() ** 2)
    ndim = len(periods)
    summed = np.moveaxis(np.asarray(actual.sum(tuple(range(ndim + 1, 2 * ndim + 1)))), ndim, 0)
    phases = dft(by_phase(x, periods, lambda v: np.mean(v.astype(float) ** 2)))
    np.testing.assert_allclose(summed, phases, atol=ROUNDING * np.abs(phases).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_probes_are_normal_and_flat_or_white(dtype):
    flat = np.asarray(spectra.flat_probe(jax.random.key(1), (200, 3, 2, 40), dtype=dtype), np.float64)
    white = np.asarray(spectra.white_probe(jax.random.key(1), (200, 5, 8), dtype=dtype), np.float64)
    assert (flat == flat[:, :1, :1]).all()
    for draws in (flat[:, 0, 0], white):
        n = draws.size
        assert abs(draws.mean()) < Z / math.sqrt(n)
        assert abs((draws**2).mean() - 1) < Z * math.sqrt(2 / n)
        assert len(np.unique(draws)) > n // 20  # narrow dtypes collide, repeated draws would more
    assert abs((white[:, 1:] * white[:, :-1]).mean()) < Z / math.sqrt(200 * 4 * 8)
    assert abs((flat[1:, 0, 0] * flat[:-1, 0, 0]).mean()) < Z / math.sqrt(199 * 40)
    assert spectra.flat_probe(jax.random.PRNGKey(0), (1, 2, 1), dtype=dtype).dtype == dtype


def test_white_noise_has_equal_phase_powers_within_chance():
    positions, channels = 8 * 8, 16
    x = spectra.white_probe(jax.random.key(2), (4, 64, 64, channels))
    n = positions * channels * 4
    powers = np.asarray(spectra.phase_powers(x, 8), np.float64).mean((0, -1))
    # The sum of 64 squares of nearly normal errors is chi-square; its cube root is nearly normal.
    chi = ((powers - 1) ** 2).sum() * n / 2
    spread = 2 / (9 * 64)
    assert abs((chi / 64) ** (1 / 3) - (1 - spread)) / math.sqrt(spread) < Z
    assert 1 < spectra.power_ratio(x, 8) < math.exp(2 * (Z + 1) * math.sqrt(2 / n))  # Z + 1: the extreme of 64 phases
    # 64^2 - 1 frequencies share the power alike; their own spread is that of 63 of them in 64 channels and images.
    assert abs(float(spectra.lattice_share(x, 8)) * (64**2 - 1) / 63 - 1) < Z * math.sqrt(2 / (63 * 64))


@pytest.mark.parametrize(("ndim", "stride", "size"), [(1, 2, 3), (1, 2, 4), (1, 3, 5), (2, 2, 3), (2, 2, 4)])
def test_random_transposed_kernels_have_every_line_as_strong_as_dc(rng, ndim, stride, size):
    draws, variance = 20_000, 0.25
    kernel = (math.sqrt(variance) * rng.standard_normal((*(size,) * ndim, 1, draws))).astype(np.float32)
    out = conv_transpose(jnp.ones((1, *(8,) * ndim, 1)), kernel, stride=stride, precision="highest")
    inner = spectra.crop_interior(out, [(stride, 7 * stride)] * ndim, period=stride)
    lines = np.asarray(spectra.line_powers(inner, stride)[0], np.float64)
    # E|H(m/s)|^2 = k v for every m, and the line of a flat input is H(m/s) / s on each axis.
    expected = size**ndim * variance / stride ** (2 * ndim)
    error = lines.std(-1) / math.sqrt(draws)
    assert (np.abs(lines.mean(-1) - expected) < Z * error).all()
    images = stride**ndim - 1
    dc = lines[(0,) * ndim]
    residual = lines.sum(tuple(range(ndim))) - dc - images * dc  # of mean 0 if the ratio of sums is s^D - 1
    assert abs(residual.sum()) < Z * residual.std() * math.sqrt(draws)
    ratio = float(spectra.lattice_ratio(inner, stride))
    bound = Z * residual.std() / math.sqrt(draws) / dc.mean()
    assert abs(ratio - images) < bound
    assert bound < 0.2 * images  # or the test says nothing
    assert spectra.lattice_ratio(upsample(jnp.ones((1, *(8,) * ndim, 3)) / 3, scale=stride), stride) == 0


def test_rectified_noise_through_a_random_transposed_kernel_has_a_quarter_of_its_power_in_lines(rng):
    draws, channels, side = 4000, 32, 16
    x = np.maximum(rng.standard_normal((1, side, side, channels)), 0).astype(np.float32)
    kernel = rng.standard_normal((2, 2, channels, draws)).astype(np.float32)
    y = conv_transpose(x, kernel, stride=2, precision="highest")
    lines = np.asarray(spectra.line_powers(y, 2)[0], np.float64)
    squares = np.asarray((y**2).mean((0, 1, 2)), np.float64)
    mean, square = x.astype(float).mean((1, 2)), (x.astype(float) ** 2).mean((1, 2))
    share = 0.75 * (mean**2).sum() / (square.sum() - 0.25 * (mean**2).sum())
    numerator = lines.sum((0, 1)) - lines[0, 0]
    residual = numerator - share * (squares - lines[0, 0])
    assert abs(residual.sum()) < Z * residual.std() * math.sqrt(draws)
    assert abs(float(spectra.lattice_share(y, 2)) - share) < 0.01
    # Mean and mean square of 8192 rectified normals: the share is within a few per cent of (3/4pi)/(1 - 1/4pi).
    assert abs(share - (0.75 / math.pi) / (1 - 0.25 / math.pi)) < 0.02


@pytest.mark.parametrize(
    ("bounds", "period"), [([(1, 9), (0, 12)], 2), ([(3, 10), (2, 11)], (4, 3)), ([(2, 3)] * 2, 1)]
)
def test_interiors_keep_the_index_of_their_phases(mode, rng, bounds, period):
    x = draw(rng, (2, 10, 12, 3))
    periods = periods_of(x.shape, period)
    rows, columns = (
        [i for i in range(a, b) if all(a <= j < b for j in range(i // p * p, i // p * p + p))]
        for (a, b), p in zip(bounds, periods)
    )
    inner = mode(functools.partial(spectra.crop_interior, bounds=bounds, period=period))(x)
    np.testing.assert_array_equal(inner, x[:, rows][:, :, columns])
    assert inner.dtype == x.dtype
    assert rows[0] % periods[0] == columns[0] % periods[1] == 0


DIFFERENTIABLE = {
    "lattice_share": lambda x: spectra.lattice_share(x, (2, 3)),
    "lattice_share primitive": lambda x: spectra.lattice_share(x, (4, 2), primitive=True),
    "lattice_ratio": lambda x: spectra.lattice_ratio(x, (2, 3)),
    "power_ratio": lambda x: spectra.power_ratio(x, 2),
    "power_ratio centred": lambda x: spectra.power_ratio(x, 2, centred=True),
    "line_to_floor": lambda x: spectra.line_to_floor(x, 2),
    "line_powers": lambda x: spectra.line_powers(x, 3),
    "phase_means": lambda x: spectra.phase_means(x, 4),
    "phase_powers": lambda x: spectra.phase_powers(x, 4, centred=True),
    "power_spectrum": lambda x: spectra.power_spectrum(x).power,
    "radial_profile": lambda x: spectra.radial_profile(x).power,
    "cyclic_spectrum": lambda x: spectra.cyclic_spectrum(x, 2),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_those_of_finite_differences(rng, name):
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((2, 8, 7, 2)) + 0.5)
        check_grads(jax.jit(DIFFERENTIABLE[name]), (x,), order=1, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if name != "line_to_floor"])
def test_gradients_of_a_constant_field_are_finite(name):
    x = jnp.full((1, 8, 6, 1), 0.3)
    gradient = jax.jit(jax.grad(lambda x: jnp.abs(DIFFERENTIABLE[name](x)).sum()))(x)
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_fields_are_computed_in_float32(rng, name, dtype):
    x = jnp.asarray(draw(rng, (2, 8, 7, 2)), dtype)
    f = jax.jit(DIFFERENTIABLE[name])
    narrow, wide = f(x), f(x.astype("float32"))
    assert_near(narrow, wide, wide.dtype)  # two programs may fuse, and so round, differently
    assert wide.dtype in ("float32", "complex64")


def test_float64_fields_are_computed_in_float64(rng):
    with jax.enable_x64(True):
        x = 1e4 + rng.standard_normal((2, 12, 9, 2))
        energies = line_energies(x, (4, 3))
        share = sum(e for m, e in energies.items() if any(m)) / x.var((1, 2)).sum()
        # The oracle adds numbers near 1e4 to get amplitudes near 0.1: some 1e5 eps.
        np.testing.assert_allclose(spectra.lattice_share(jnp.asarray(x), (4, 3)), share, rtol=1e-10)
        x = jnp.asarray(x)
        np.testing.assert_allclose(spectra.power_spectrum(x).power.sum((1, 2)), (x**2).mean((1, 2)), rtol=1e-13)
        assert spectra.white_probe(jax.random.key(0), (1, 2, 1), dtype="float64").dtype == "float64"

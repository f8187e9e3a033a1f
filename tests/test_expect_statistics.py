"""Statistics of covariances: those of `spectra`, closed forms, and distributions over seeds."""

import math
import pathlib
import runpy
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from checkerjax import spectra, stacks
from checkerjax.expectations._lattice_distribution import _other_powers
from checkerjax.expectations._periodic import covariance
from checkerjax.expectations._quadratic_forms import probability_below_zero
from checkerjax.overlap import count

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("expect_torus.py"))))
ONE = {"channels": 1, "width": 1, "initialiser": "normal(1)"}

FIELDS = [
    ("relu, deconv k4 s3, relu, conv k2", (4,), "white"),
    ("deconv k3 s2, relu, deconv k5 s2", (5,), "flat"),
    ("relu, deconv k3x2 s2x1, relu, conv k2", (3, 4), "white"),
    ("relu, resize k3 s2 linear, bias std=0.5", (3, 2), "white"),
]


def roots(text, size, kind):
    """Fields g_i, `[n, *size, 1]`, with sum over i of g_i g_i^T the covariance; and the covariance's `Moments`."""
    expected = oracle.run(stacks.parse_stack(text), oracle.start(size, kind))
    values, vectors = np.linalg.eigh(expected.own)
    fields = (vectors * np.sqrt(np.maximum(values, 0))).T
    return jnp.asarray(fields.reshape(-1, *expected.size, 1), jnp.float32)


@pytest.mark.parametrize(("text", "size", "kind"), FIELDS)
def test_expectations_are_sums_of_the_statistics_of_the_roots(text, size, kind):
    # Every statistic is a quadratic form, and E[x^T H x] = sum over i of g_i^T H g_i.
    x, found = roots(text, size, kind), covariance(text, size, ndim=len(size), input=kind, **ONE)
    period = found.period
    assert found.size == x.shape[1:-1]
    quadratic, ratios = jax.jit(statistics_of, static_argnums=1)(x, period)
    names = "phase_powers", "power_spectrum", "line_powers", "cyclic_spectrum"
    for name, values in zip(names, quadratic):
        check(getattr(found, name)(), np.asarray(values).sum((-len(size) - 2, -1)))
    options = [{}, {"primitive": True}, {"period": found.size}]
    mine = [getattr(found, name)(**option) for name in ("lattice_ratio", "lattice_share") for option in options]
    check(np.array([found.power_ratio(), *mine]), ratios)


def statistics_of(x, period):
    options = [(period, False), (period, True), (x.shape[1:-1], False)]
    ratios = [f(x, p, primitive=q) for f in (spectra.lattice_ratio, spectra.lattice_share) for p, q in options]
    quadratic = [
        spectra.phase_powers(x, period),
        spectra.power_spectrum(x).power,
        spectra.line_powers(x, period),
        spectra.cyclic_spectrum(x, period),
    ]
    return quadratic, jnp.stack([spectra.power_ratio(x, period), *ratios])


def check(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_shared_lines_are_those_of_a_large_field():
    small, large = (covariance("relu, deconv k5 s2", n, ndim=1) for n in (4, 2**19))
    check(small.line_powers(shared=True), large.line_powers())
    check(small.lattice_share(shared=True), large.lattice_share())
    check(small.line_powers(shared=True, period=4), large.line_powers(period=4))
    assert abs(small.lattice_share() / large.lattice_share() - 1) > 0.01  # the floor of eight samples


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("k", "s"), [(3, 2), (4, 2), (5, 3)])
def test_flat_inputs_put_as_much_into_each_line_as_into_dc(ndim, k, s):
    found = covariance(f"deconv k{k} s{s}", 4, ndim=ndim, input="flat")
    np.testing.assert_allclose(found.line_powers(), found.line_powers().flat[0], rtol=1e-12)
    np.testing.assert_allclose(found.lattice_ratio(), s**ndim - 1)


@pytest.mark.parametrize(
    "text", ["resize k5 s2", "resize k3 s3 linear", "subpixel k3 s2 icnr", "conv k3", "deconv k3 s2, hold s2"]
)
def test_equal_gains_leave_no_line_at_all(text):
    found = covariance(text, 4, input="flat")
    assert found.lattice_ratio() == 0
    assert found.lattice_share() == 0


@pytest.mark.parametrize(("ndim", "share"), [(2, (3 / (4 * math.pi)) / (1 - 1 / (4 * math.pi))), (1, 0.1893)])
@pytest.mark.parametrize("k", [3, 4, 5])
def test_the_share_of_lines_behind_a_rectified_white_field(ndim, share, k):
    found = covariance(f"relu, deconv k{k} s2", 16, ndim=ndim)
    np.testing.assert_allclose(found.lattice_share(shared=True), share, rtol=2e-4 if ndim == 1 else 1e-12)


def test_spectra_of_resize_convolutions_of_white_noise():
    f = np.fft.fftfreq(32)
    nearest = covariance("resize k3 s2", 16, ndim=1).power_spectrum()
    np.testing.assert_allclose(nearest, nearest[0] * np.cos(np.pi * f) ** 2, atol=1e-15)
    assert nearest[16] == 0
    triangle = covariance(
        "resize k3 s2 linear", 16, ndim=1
    ).power_spectrum()  # [1, 3, 3, 1] / 4 = [1, 1] * [1, 2, 1] / 4
    np.testing.assert_allclose(triangle, triangle[0] * np.cos(np.pi * f) ** 6, atol=1e-15)
    deconv = covariance("deconv k3 s2", 16, ndim=1).power_spectrum()
    np.testing.assert_allclose(deconv, deconv[0])


def test_phase_powers_of_chains_are_overlap_counts():
    found = covariance("deconv k3 s2, relu, deconv k5 s2", 8, ndim=1).phase_powers()
    counts = count("deconv k3 s2, relu, deconv k5 s2", 8)[12:16]
    np.testing.assert_allclose(found / found.max(), counts / counts.max())


@pytest.mark.parametrize("channels", [1, 3])
def test_ratios_of_independent_phases_have_the_f_distribution(channels):
    # Without overlap each phase has weights of its own, so lines and DC are independent chi-squared variables.
    found = covariance("deconv k2 s2", 8, input="flat").ratio_distribution(channels=channels)
    law = stats.f(3 * channels, channels)
    for ratio in (0.01, 0.5, 3.0, 40.0):
        np.testing.assert_allclose(found.cdf(ratio), law.cdf(ratio / 3), rtol=0, atol=1e-10)
    for q in (0.025, 0.5, 0.975):
        np.testing.assert_allclose(found.quantile(q), 3 * law.ppf(q), rtol=1e-8)


@pytest.mark.parametrize(("channels", "images"), [(1, 1), (3, 2)])
def test_shares_of_white_noise_have_the_beta_distribution(channels, images):
    found = covariance("deconv k2 s2", 8, ndim=1).ratio_distribution(
        statistic="lattice_share", channels=channels, images=images
    )
    # Independent inputs and weights of width 1: in the wide limit all 16 samples are independent, all images too.
    law = stats.beta(channels * images / 2, 14 * channels * images / 2)
    for share in (0.001, 0.05, 0.3):
        np.testing.assert_allclose(found.cdf(share), law.cdf(share), rtol=0, atol=1e-10)


@pytest.mark.parametrize("statistic", ["lattice_ratio", "lattice_share"])
@pytest.mark.parametrize(("channels", "images"), [(3, 1), (2, 3)])
def test_distributions_are_those_of_simulated_fields(rng, statistic, channels, images):
    text, draws = "relu, deconv k4 s3, relu, deconv k3 s2, conv k2", 20_000
    expected = oracle.run(stacks.parse_stack(text), oracle.start((4,), "white"))
    own, between = expected.own, expected.between
    common = root(between) @ rng.standard_normal((draws, 1, len(own), channels))
    x = common + root(own - between) @ rng.standard_normal((draws, images, len(own), channels))
    values = ratios(x, statistic)
    law = covariance(text, 4, ndim=1, **ONE).ratio_distribution(
        statistic=statistic, channels=channels, images=images, period=3
    )
    for q in (0.05, 0.5, 0.95):
        share = np.mean(values <= law.quantile(q))
        assert abs(share - q) < 4 * math.sqrt(q * (1 - q) / draws)


def test_powers_off_the_lines_are_the_other_eigenvalues_of_the_covariance():
    text = "relu, deconv k4 s3, relu, deconv k3 s2, conv k2"
    expected = oracle.run(stacks.parse_stack(text), oracle.start((4,), "white")).own
    at_lines = np.exp(2j * np.pi * np.outer(np.arange(6) / 6, np.arange(24))) / math.sqrt(24)
    rest = np.eye(24) - (at_lines.conj().T @ at_lines).real
    values = np.linalg.eigvalsh(rest @ expected @ rest)[6:] / 24
    found = _other_powers(covariance(text, 4, ndim=1, **ONE))
    np.testing.assert_allclose(np.sort(found), values, rtol=1e-9)


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0))


def ratios(x, statistic):
    """Of period 3, of `[draws, images, n, channels]`, with energies summed over images and channels."""
    power = np.abs(np.fft.fft(x, axis=2)) ** 2
    energies = power.sum((1, 3))
    line = energies[:, 8] + energies[:, 16]
    return line / (energies[:, 0] if statistic == "lattice_ratio" else energies[:, 1:].sum(1))


def test_probabilities_of_quadratic_forms():
    values, degrees = np.array([1.0, -2.0]), np.array([4.0, 6.0])
    # chi2(4) <= 2 chi2(6) is an F ratio below 2 * 6 / 4.
    np.testing.assert_allclose(probability_below_zero(values, degrees), stats.f(4, 6).cdf(3), atol=1e-12)
    assert probability_below_zero(-values[:1], degrees[:1]) == 1
    assert probability_below_zero(values[:1], degrees[:1]) == 0


def test_distributions_need_gaussian_fields_of_one_kind():
    with pytest.raises(
        ValueError, match=r"the field is not Gaussian, so there is no closed form\. Measure it with `sweep`"
    ):
        covariance("deconv k3 s2, relu", 4).ratio_distribution()
    with pytest.raises(ValueError, match="channels of different kinds"):
        covariance("parallel(conv k3 | conv k3 s1) concat", 4).ratio_distribution()
    with pytest.raises(ValueError, match="probability must lie between 0 and 1; got 1"):
        covariance("deconv k3 s2", 4).ratio_distribution().quantile(1)

"""Means over Gaussian variables: against integrals, classical closed forms and draws that share no code with them."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from checkerjax import count, format_stack, parse_stack, stacks
from checkerjax.expectations import _l2 as l2
from checkerjax.expectations._l2 import l2_dual, l2_mean
from checkerjax.expectations._pointwise import dual, dual_derivative, erf_dual, is_odd, mean
from checkerjax.expectations._tanh import TANH_SCALES, TANH_WEIGHTS
from checkerjax.stacks._layers import Bias, Erf, LeakyRelu, MaxPool, Relu, Tanh

VARIANCES = [(1.0, 1.0), (1e-6, 0.3), (0.2, 40.0), (1e3, 1e3)]
CORRELATIONS = [-1.0, -0.6, 0.0, 0.3, 0.9999, 1.0]
SMOOTH = {
    Tanh(): (np.tanh, lambda x: 1 / np.cosh(np.clip(x, -300, 300)) ** 2),
    Erf(): (scipy.special.erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
}
RECTIFIED = [Relu(), LeakyRelu(0.2), LeakyRelu(-0.5)]
ALL = [*RECTIFIED, *SMOOTH]


def trapezoid(function, k11, correlation, k22):
    """E[f(u) f(v)] on a grid of two independent normals, fine where f is: exponentially accurate for analytic f."""
    s1, s2, rest = math.sqrt(k11), math.sqrt(k22), math.sqrt((1 - correlation) * (1 + correlation))
    z1, p1 = normal_grid(max(s1, s2 * abs(correlation)))
    z2, p2 = normal_grid(s2 * rest)
    total = 0.0
    for i in range(0, len(z1), 256):
        inner = function(s2 * (correlation * z1[i : i + 256, None] + rest * z2)) @ p2
        total += p1[i : i + 256] @ (function(s1 * z1[i : i + 256]) * inner)
    return total


def normal_grid(scale):
    step = min(0.1, 0.3 / scale) if scale else 0.1
    z = np.arange(-int(8.5 / step), int(8.5 / step) + 1) * step
    return z, np.exp(-z * z / 2) * step / math.sqrt(2 * math.pi)


def integral(first, given, k11, correlation, k22):
    """E[first(u) given(mean of v, std of v)] with v's conditional law by hand, and breaks where a ReLU has its kink."""
    s1, s2, rest = math.sqrt(k11), math.sqrt(k22), math.sqrt((1 - correlation) * (1 + correlation))
    density = scipy.stats.norm.pdf

    def integrand(z):
        return density(z) * first(s1 * z) * given(s2 * correlation * z, s2 * rest)

    edges = [-9, -0.1, -0.001, 0, 0.001, 0.1, 9]  # the conditional law turns fast at 0 where u and v are nearly equal
    return sum(scipy.integrate.quad(integrand, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(edges))


def leaky_given(slope):
    def given(m, s):
        above = max(m, 0.0) if s == 0 else m * scipy.stats.norm.cdf(m / s) + s * scipy.stats.norm.pdf(m / s)
        return slope * m + (1 - slope) * above

    return given


def step_given(slope):
    return lambda m, s: slope + (1 - slope) * (float(m > 0) if s == 0 else scipy.stats.norm.cdf(m / s))


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("layer", SMOOTH, ids=format_stack)
def test_smooth_duals_are_the_double_integral(layer, correlation):
    function, slope = SMOOTH[layer]
    for k11, k22 in VARIANCES:
        k12 = correlation * math.sqrt(k11 * k22)
        expected = trapezoid(function, k11, correlation, k22)
        scale = abs(expected) if correlation else math.sqrt(k11 * k22)  # tiny variances: to 1e-9 of what there is
        assert abs(dual(layer, k11, k12, k22) - expected) <= 1e-9 * scale + 1e-15
        assert abs(dual_derivative(layer, k11, k12, k22) - trapezoid(slope, k11, correlation, k22)) <= 1e-9


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("layer", RECTIFIED, ids=format_stack)
def test_rectified_duals_are_integrals_over_the_conditional_mean(layer, correlation):
    slope = getattr(layer, "slope", 0.0)
    for k11, k22 in VARIANCES[:3]:
        k12, scale = correlation * math.sqrt(k11 * k22), math.sqrt(k11 * k22)
        expected = integral(lambda u: np.where(u > 0, u, slope * u), leaky_given(slope), k11, correlation, k22)
        assert abs(dual(layer, k11, k12, k22) - expected) <= 1e-10 * scale
        expected = integral(lambda u: 1.0 if u > 0 else slope, step_given(slope), k11, correlation, k22)
        assert abs(dual_derivative(layer, k11, k12, k22) - expected) <= 1e-8  # the square root of rounding at +-1


@pytest.mark.parametrize("layer", ALL, ids=format_stack)
def test_means_are_integrals(layer):
    slope = getattr(layer, "slope", 0.0)
    functions = {layer: f for layer, (f, _) in SMOOTH.items()}
    function = functions.get(layer, lambda u: np.where(u > 0, u, slope * u))
    for k in (1e-6, 1.0, 50.0):
        expected = integral(function, lambda m, s: 1.0, k, 0.0, 1.0)
        assert abs(mean(layer, k) - expected) <= 1e-12 * math.sqrt(k)
    assert is_odd(layer) == (layer in SMOOTH)


@pytest.mark.parametrize("layer", ALL, ids=format_stack)
def test_arrays_broadcast_and_variances_of_zero_give_zero(layer):
    power = np.array([0.0, 1.0, 4.0])
    covariance = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, -1.5], [0.0, -1.5, 4.0]])
    found = dual(layer, power[:, None], covariance, power)
    for i in range(3):
        for j in range(3):
            assert found[i, j] == pytest.approx(float(dual(layer, power[i], covariance[i, j], power[j])), abs=1e-15)
    np.testing.assert_array_equal(found, found.T)
    assert (found[0, 0], found.dtype) == (0.0, np.float64)


def test_a_slope_where_the_variance_is_zero_is_shared_only_by_two_zeros():
    found = dual_derivative(Relu(), np.array([0.0, 0.0]), np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(found, [0.5, 0.25], rtol=1e-15)


def test_erf_dual_is_that_of_the_layer():
    assert erf_dual(0.3, 0.1, 2.0) == dual(Erf(), 0.3, 0.1, 2.0)
    assert abs(erf_dual(1e12, -1e12, 1e12) + 1) < 1e-5  # signs only, and never beyond 1
    assert abs(erf_dual(1e12, 0.5e12, 1e12) - 1 / 3) < 1e-5  # 2/pi asin(1/2)


def test_tanh_table_is_gausss_quadrature_of_kolmogorovs_law():
    """Exact for polynomials of degree 15 in log K; moments by the trapezoidal rule on the law's own series."""
    k, log_step = np.exp(np.linspace(math.log(0.1), math.log(6.0), 6001)), math.log(60) / 6000
    j = np.arange(1, 200)[:, None]
    tail = (8 * k * (-1.0) ** (j - 1) * j * j * np.exp(-2 * j * j * k * k)).sum(axis=0)
    rate = (2 * j - 1) ** 2 * math.pi**2 / 8
    head = math.sqrt(2 * math.pi) * (np.exp(-rate / k**2) * (2 * rate / k**4 - 1 / k**2)).sum(axis=0)
    density = np.where(k < 1, head, tail) * k * log_step
    nodes = np.log(1 / (math.sqrt(2) * np.array(TANH_SCALES)))
    for degree in range(16):
        expected = (density * np.log(k) ** degree).sum()
        assert np.dot(TANH_WEIGHTS, nodes**degree) == pytest.approx(expected, rel=1e-10, abs=1e-11)
    x = np.logspace(-6, 2, 500)
    error = scipy.special.erf(x[:, None] * TANH_SCALES) @ TANH_WEIGHTS / np.tanh(x) - 1
    assert np.abs(error).max() < 2e-7


@pytest.mark.parametrize("layer", ALL, ids=format_stack)
def test_jax_derivatives_are_prices_theorem_and_finite_everywhere(layer):
    k11 = np.array([1.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 2.5])
    k22 = np.array([1.0, 0.5, 1.0, 1.0, 1.0, 0.0, 1.0, 0.7])
    k12 = np.array([1.0, -1.0, -1.0, 1 - 2**-20, 0.0, 0.0, 0.0, 0.4])

    def total(*k):
        return dual(layer, *k).sum()

    arguments = [jnp.asarray(k, jnp.float32) for k in (k11, k12, k22)]
    values = dual(layer, *arguments)
    assert isinstance(values, jax.Array)
    np.testing.assert_allclose(values, dual(layer, k11, k12, k22), rtol=2e-6, atol=1e-6)
    first, second, third = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*arguments)
    alive = k11 > 0
    np.testing.assert_allclose(second[alive], dual_derivative(layer, k11, k12, k22)[alive], rtol=1e-5, atol=2e-4)
    assert all(np.isfinite(g).all() for g in (first, second, third))
    # Along k11 of the last case, by differences in float64.
    step = 1e-5
    high, low = (dual(layer, 2.5 + d, 0.4, 0.7) for d in (step, -step))
    assert first[-1] == pytest.approx((high - low) / (2 * step), rel=1e-4)
    slopes = jax.jit(jax.grad(lambda *k: dual_derivative(layer, *k).sum(), argnums=(0, 1, 2)))(*arguments)
    assert all(np.isfinite(g).all() for g in slopes)
    assert np.isfinite(jax.jit(jax.grad(lambda k: mean(layer, k).sum()))(arguments[0])).all()


@pytest.mark.parametrize("layer", [MaxPool(), Bias(0.3)], ids=format_stack)
def test_other_layers_are_refused(layer):
    name = format_stack(layer)
    for function, arguments in ((dual, (1.0, 0.0, 1.0)), (dual_derivative, (1.0, 0.0, 1.0)), (mean, (1.0,))):
        with pytest.raises(ValueError, match=rf"^{function.__name__}: {name} has no closed form; the layers with one"):
            function(layer, *arguments)


def test_erf_is_a_pointwise_layer_of_stacks():
    stack = parse_stack("conv k3, ERF")
    assert (stack[1], format_stack(stack)) == (Erf(), "conv k3, erf")
    params = stacks.init(jax.random.key(0), stack, channels=1, ndim=1, width=2)
    assert params[1] == {}
    x = np.linspace(-3, 3, 8, dtype=np.float32).reshape(1, 8, 1)
    np.testing.assert_allclose(stacks.apply(({},), "erf", jnp.asarray(x)), scipy.special.erf(x), rtol=1e-6)
    np.testing.assert_array_equal(count("deconv k3 s2, erf", 5), count("deconv k3 s2", 5))


def isotropic(taps, correlation):
    """E|x1| |x2| of two vectors of independent pairs: Miller, Multidimensional Gaussian distributions, 1964."""
    root = scipy.special.gamma((taps + 1) / 2) / scipy.special.gamma(taps / 2)
    return 2 * root**2 * scipy.special.hyp2f1(-0.5, -0.5, taps / 2, correlation**2)


@pytest.mark.parametrize("taps", [1, 2, 3, 9, 27, 125])
def test_l2_pools_of_independent_pairs_have_a_hypergeometric_covariance(taps):
    eye = np.eye(taps)
    correlations = np.array([0.0, -0.4, 0.99])
    found = l2_dual(np.ones(taps), 4.0 * eye, 6.0 * correlations[:, None, None] * eye, 9.0 * eye)
    np.testing.assert_allclose(found, 6.0 * isotropic(taps, correlations), rtol=1e-9)
    assert l2_mean(np.ones(taps), 4.0 * eye) == pytest.approx(2.0 * math.sqrt(isotropic(taps, 0.0)), rel=1e-9)


def test_l2_pool_of_one_tap_is_an_absolute_value():
    one, k12 = np.ones((1, 1)), np.array([-1.0, -0.5, 0.0, 0.3, 1.0])
    expected = 2 / math.pi * (np.sqrt(1 - k12**2) + k12 * np.arcsin(k12))
    np.testing.assert_allclose(l2_dual(np.ones(1), one, k12[:, None, None], one), expected, rtol=2e-9)


@pytest.mark.parametrize("rank", [1, 2, 9])
def test_l2_pool_with_itself_is_the_mean_of_squares(rng, rank):
    """Also for windows of which all samples are one."""
    factor = rng.normal(size=(9, rank))
    sigma, weights = factor @ factor.T, rng.uniform(0.1, 1.0, 9)
    assert l2_dual(weights, sigma, sigma, sigma) == pytest.approx(weights @ np.diagonal(sigma), rel=1e-9)
    spread = np.diag(10.0 ** -np.arange(9))
    assert l2_dual(np.ones(9), spread, spread, spread) == pytest.approx(np.trace(spread), rel=1e-9)


def test_l2_pools_agree_with_draws(rng):
    factor, weights = rng.normal(size=(6, 6)), rng.uniform(0.2, 1.0, 3)
    sigma = factor @ factor.T
    x = rng.normal(size=(400_000, 6)) @ factor.T
    first, second = (np.sqrt((part**2) @ weights) for part in (x[:, :3], x[:, 3:]))
    found = l2_dual(weights, sigma[:3, :3], sigma[:3, 3:], sigma[3:, 3:])
    error = 4 * (first * second).std() / math.sqrt(len(x))
    assert abs(found - (first * second).mean()) < error < 0.02 * found
    assert abs(found - first.mean() * second.mean()) > 4 * error  # or the test would see nothing of the covariance
    assert abs(l2_mean(weights, sigma[:3, :3]) - first.mean()) < 4 * first.std() / math.sqrt(len(x))


def test_l2_pool_cases_are_computed_once_and_in_chunks(rng, monkeypatch):
    factor = rng.normal(size=(5, 6, 6))
    kinds = factor @ factor.swapaxes(1, 2)
    cases = kinds[[0, 1, 0, 2, 3, 4, 1, 0]]
    parts = cases[:, :3, :3], cases[:, :3, 3:] * (np.arange(8) != 5)[:, None, None], cases[:, 3:, 3:]
    expected = l2_dual(np.ones(3), *parts)
    computed = []
    monkeypatch.setattr(l2, "_FLOATS_AT_ONCE", 2 * 9 * l2._NODES)
    inner = l2._covariance
    monkeypatch.setattr(l2, "_covariance", lambda *a: computed.append(len(a[0])) or inner(*a))
    np.testing.assert_allclose(l2_dual(np.ones(3), *parts), expected, rtol=1e-12)
    assert computed == [2, 2]  # four kinds; the sixth case is of independent windows, and costs nothing
    alone = [float(l2_dual(np.ones(3), *(p[i] for p in parts))) for i in range(8)]
    np.testing.assert_allclose(expected, alone, rtol=1e-10)


def test_l2_pool_derivatives_are_those_of_the_closed_form():
    eye = jnp.eye(2)

    def correlated(r):
        return l2_dual(np.ones(2), eye, r * eye, eye)

    value, slope = jax.jit(jax.value_and_grad(correlated))(jnp.float32(0.4))
    assert value == pytest.approx(isotropic(2, 0.4), rel=1e-5)
    assert slope == pytest.approx((isotropic(2, 0.401) - isotropic(2, 0.399)) / 0.002, rel=1e-3)


def test_l2_pool_of_nothing_is_nothing():
    nothing, eye = np.zeros((2, 2)), np.eye(2)
    assert l2_dual(np.ones(2), nothing, nothing, eye) == l2_mean(np.ones(2), nothing) == 0.0

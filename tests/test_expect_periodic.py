"""Wide-limit covariances against explicit matrices, closed forms and simulation."""

import math
import pathlib
import runpy
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from checkerjax import spectra, stacks
from checkerjax.expectations._dense import dense_covariance
from checkerjax.expectations._l2 import l2_dual, l2_mean
from checkerjax.expectations._periodic import covariance
from checkerjax.expectations._second_moments import second_moments

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("expect_torus.py"))))
# The oracle's weights have variance 1 over one input channel, and so have these.
ONE = {"channels": 1, "width": 1, "initialiser": "normal(1)"}

CHAINS = [
    ("conv k3", 6),
    ("conv k4 s2, deconv k3 s2", 8),
    ("conv k3 s2 d2, relu, deconv k5 s2 d3", 8),
    ("deconv k3 s2 valid, relu, deconv k5 s2", 3),
    ("deconv k4 s2 icnr, relu, conv k3", 4),
    ("deconv k5 s3, conv k3 s2", 4),
    ("subpixel k3 s2, relu, subpixel k2 s2 icnr", 3),
    ("subpixel k3 s3 icnr, leaky_relu slope=0.2, conv k3", 3),
    ("resize k3 s2, relu, resize k3 s2", 3),
    ("resize k3 s2 linear, relu, conv k3", 6),
    ("resize k3 s2 linear sample, relu, deconv k2 s2", 4),
    ("upsample s2 cubic, relu", 6),
    ("upsample s3 lanczos3, conv k3", 6),
    ("upsample s2 nearest sample, conv k2", 4),
    ("upsample s2 zeros, hold s2 order=1, relu, conv k3", 5),
    ("conv k3, relu, blur k3 s2, deconv k3 s2", 8),
    ("deconv k3 s2, relu, avgpool k2 s2, deconv k2 s2", 5),
    ("bias std=0.5, relu, bias std=0.3, conv k3, relu, conv k2", 5),
    ("deconv k3 s2, batchnorm, relu, deconv k3 s2, batchnorm std=0.3", 4),
    ("relu, deconv k3 s3, batchnorm epsilon=0.1, conv k2, batchnorm", 3),
    ("relu, deconv k3 s2, batchnorm unit, relu, conv k3", 4),
    ("deconv k3 s2, relu, residual(conv k3, relu, conv k3), deconv k3 s2", 4),
    ("relu, parallel(conv k3, relu | deconv k3 s1), conv k3", 6),
    ("relu, parallel(conv k3, relu | conv k2, leaky_relu slope=0.3, blur k3 | hold s2), conv k3", 6),
]


@pytest.mark.parametrize("kind", ["white", "flat", "correlated"])
@pytest.mark.parametrize(("text", "size"), CHAINS)
def test_covariances_are_those_of_explicit_matrices(text, size, kind):
    lags = np.minimum(np.arange(size), size - np.arange(size))
    x = 0.8**lags if kind == "correlated" else kind
    check(
        covariance(text, size, ndim=1, input=x, **ONE), oracle.run(stacks.parse_stack(text), oracle.start((size,), x))
    )


@pytest.mark.parametrize("kind", ["white", "flat"])
@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("deconv k3x4 s2x1, relu, conv k2 s1x2", (3, 4)),
        ("resize k3 s2 linear, relu, deconv k3 s1x2", (3, 2)),
        ("subpixel k2 s2, relu, blur k3", (3, 2)),
        ("subpixel k2 s2x1 icnr, batchnorm, relu, residual(conv k3), conv k2", (2, 3)),
    ],
)
def test_covariances_in_two_dimensions(text, size, kind):
    check(covariance(text, size, input=kind, **ONE), oracle.run(stacks.parse_stack(text), oracle.start(size, kind)))


def test_covariances_in_three_dimensions():
    text = "deconv k3 s2x1x1, relu, conv k2 s1x1x2"
    size = 2, 2, 4
    check(covariance(text, size, ndim=3, **ONE), oracle.run(stacks.parse_stack(text), oracle.start(size, "white")))


def check(found, expected):
    assert found.size == expected.size
    period = found.period
    np.testing.assert_allclose(found.own, oracle.by_lag(expected.own, found.size, period), rtol=1e-9, atol=1e-12)
    far = oracle.by_lag(expected.between, found.size, period)[(..., *map(slice, period))]
    np.testing.assert_allclose(found.between, far, rtol=1e-9, atol=1e-12)
    means = expected.mean.reshape(expected.size)[tuple(map(slice, period))]
    np.testing.assert_allclose(found.mean, means, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "size", "ndim"),
    [
        ("relu, deconv k5 s2, relu, conv k3, relu, deconv k3 s2", 32, 1),
        ("conv k3 s2, relu, resize k3 s2 cubic, batchnorm, relu, conv k3 d2", 64, 1),
        ("relu, parallel(deconv k3 s2 | resize k5 s2 linear), relu, deconv k4 s3", 40, 1),
        ("relu, deconv k3 s2x1, relu, conv k3 s1x2", (16, 24), 2),
    ],
)
def test_lags_beyond_the_small_torus_are_those_of_the_large_one(text, size, ndim):
    found = covariance(text, size, ndim=ndim)
    shape = size if isinstance(size, tuple) else (size,) * ndim
    impulse = np.zeros(shape)
    impulse[(0,) * ndim] = 1
    whole = covariance(text, size, ndim=ndim, input=impulse)  # what is given keeps its torus
    assert whole.near.shape == (*whole.period, *whole.size)
    assert found.near.size < whole.near.size / 1.3
    np.testing.assert_allclose(found.own, whole.own, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.line_powers(), whole.line_powers(), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.cyclic_spectrum(), whole.cyclic_spectrum(), rtol=1e-9, atol=1e-14)


def test_batch_norm_divides_channels_with_strong_lines_by_more(rng):
    # Channels of the wide limit: what images share, m, and what each has of its own, for two images.
    before = oracle.run(stacks.parse_stack("relu, deconv k3 s2"), oracle.start((4,), "white"))
    draws, n = 400_000, 8
    centre = np.eye(n) - 1 / n
    m = rng.standard_normal((draws, n)) @ (centre @ root(before.between)).T
    within = before.own - before.between
    own = m[:, None] + rng.standard_normal((draws, 2, n)) @ root(within).T
    y = np.maximum(own / np.sqrt((m * m).mean(1) + np.diag(within).mean() + 1e-5)[:, None, None], 0)
    found = covariance("relu, deconv k3 s2, batchnorm, relu", 4, ndim=1, **ONE)
    for p in range(2):
        close(y[:, 0, p], found.mean[p])
        for t in range(n):
            close(y[:, 0, p] * y[:, 0, (p + t) % n], found.own[p, t])
            close(y[:, 0, p] * y[:, 1, (p + t) % n], found.between[p, t % 2])


def test_batch_norm_divides_by_one_number_where_all_channels_have_the_same_means():
    # Behind the ReLU every other sample is 0, and the mean of the rest is 1 / sqrt(2 pi) in all channels.
    found = covariance("deconv k1 s2, relu, batchnorm epsilon=0", 4, ndim=1, **ONE)
    shared = 1 / (2 * math.pi)
    variance = 1 / 4 - shared / 4
    np.testing.assert_allclose(found.phase_powers(), np.array([1 / 2 - 3 / 4 * shared, shared / 4]) / variance)
    np.testing.assert_allclose(found.mean, np.sqrt(shared / variance) / 2 * np.array([1, -1]))
    np.testing.assert_allclose(found.between, shared / variance / 4 * np.array([[1, -1], [1, -1]]))


def test_batch_norm_takes_means_that_are_known_and_means_that_vary(rng):
    # The sum of a ReLU, whose means all channels share, and of a Gaussian field, whose means they do not.
    text = "parallel(deconv k1 s2, relu | relu, deconv k4 s2)"
    before = oracle.run(stacks.parse_stack("relu, deconv k4 s2"), oracle.start((4,), "white"))
    draws, n = 400_000, 8
    centre = np.eye(n) - 1 / n
    mean = np.tile([1.0, 0.0], 4) / math.sqrt(2 * math.pi)
    m = (mean + rng.standard_normal((draws, n)) @ root(before.between).T) @ centre
    within = np.diag(before.own - before.between).mean() + (1 / 2 - 1 / (2 * math.pi)) / 2
    y = m / np.sqrt((m * m).mean(1) + within + 1e-5)[:, None]
    found = covariance(f"{text}, batchnorm", 4, ndim=1, **ONE)
    for p in range(2):
        close(y[:, p], found.mean[p])
        for t in range(2):
            close(y[:, p] * y[:, p + t], found.between[p, t])
    np.testing.assert_allclose(found.phase_powers().mean(), 1, rtol=1e-4)


@pytest.mark.parametrize("kind", ["white", "flat"])
def test_a_filter_after_batch_norm_keeps_how_channels_were_divided(kind):
    plain, filtered = (
        covariance(f"relu, deconv k3 s2, batchnorm, {layers}", 4, ndim=1, input=kind, **ONE)
        for layers in ("relu", "blur k1, relu")
    )
    for name in ("near", "far", "between", "mean"):
        np.testing.assert_allclose(getattr(filtered, name), getattr(plain, name), rtol=1e-12)


GENERATOR = (
    "dense 4x4 c256, batchnorm per=unit, relu, deconv k5 s2 c128, batchnorm, relu, deconv k5 s2 c3, batchnorm std=0.3"
)


def test_a_random_generator_with_circular_borders_has_these_moments():
    # Circular borders: pad the field by itself, and crop what the padding reaches. Errors fall with width and seeds.
    stack = stacks.parse_stack(GENERATOR)

    def field(normals, z):
        params = stacks.init_from_normals(normals, stack, channels=100, initialiser="normal(0.05)")
        for entry, layer in zip(params, stack):
            wrap = 3 if isinstance(layer, stacks.Deconv) else 0
            z = jnp.pad(z, [(0, 0), (wrap, wrap), (wrap, wrap), (0, 0)], mode="wrap") if wrap else z
            z = stacks.apply((entry,), (layer,), z)
            z = z[:, 2 * wrap : -2 * wrap, 2 * wrap : -2 * wrap] if wrap else z
        return jnp.stack([spectra.lattice_share(z, 2), spectra.lattice_share(z, 4)])

    seeds, count = 40, stacks.normal_count(stack, channels=100)
    normals = np.random.default_rng(0)
    run = jax.jit(field)
    values = [
        run(normals.standard_normal(count, np.float32), normals.uniform(-1, 1, (16, 100)).astype(np.float32))
        for _ in range(seeds)
    ]
    found = covariance(GENERATOR, None, channels=100, initialiser="normal(0.05)")
    expected = np.array([found.lattice_share(period=2), found.lattice_share(period=4)])
    error = np.std(values, 0) / math.sqrt(seeds)
    assert (np.abs(np.mean(values, 0) - expected) < 3.5 * error + 0.01).all()  # 0.01: width 128, batches of 16


@pytest.mark.parametrize(
    ("text", "size"), [("residual(blur k3)", 4), ("parallel(blur k3 s2, upsample s2 | hold s2)", 6)]
)
def test_fixed_branches_of_one_field_add_their_filters(text, size):
    (layer,) = stacks.parse_stack(text)
    branches = [(), layer.stack] if isinstance(layer, stacks.Residual) else getattr(layer, "stacks")  # noqa: B009
    x = oracle.run(stacks.parse_stack("deconv k3 s2, relu"), oracle.start((size,), "white"))
    n = 2 * size

    def filters(branch):  # its response to each unit impulse
        unit = oracle.Moments(np.eye(n), np.eye(n), np.eye(n), (n,))
        return oracle.run(branch, unit).mean

    total = np.sum([filters(branch) for branch in branches], axis=0)
    expected = x.map(lambda k: total @ k @ total.T, total @ x.mean)
    check(covariance(f"deconv k3 s2, relu, {text}", size, ndim=1, **ONE), expected)


def test_l2_pools_read_the_windows_that_they_have():
    before = oracle.run(stacks.parse_stack("deconv k4 s3, conv k2"), oracle.start((4,), "white")).own
    found = covariance("deconv k4 s3, conv k2, l2pool s2", 4, ndim=1, **ONE)
    weights, windows = np.array([0.25, 0.5, 0.25]), [np.arange(2 * m, 2 * m + 3) % 12 for m in range(6)]
    assert found.period == (3,)
    for p in range(3):
        for t in range(6):
            a, b = windows[p], windows[(p + t) % 6]
            pair = before[np.ix_(a, a)], before[np.ix_(a, b)], before[np.ix_(b, b)]
            np.testing.assert_allclose(found.own[p, t], l2_dual(weights, *pair), rtol=1e-9)
        np.testing.assert_allclose(found.mean[p], l2_mean(weights, before[np.ix_(windows[p], windows[p])]), rtol=1e-9)


def test_line_powers_can_be_differentiated_by_gains_and_by_the_input():
    stack = "relu, deconv k3 s2, leaky_relu, residual(conv k3), conv k2, bias std=0.3, erf"

    def lines(gains, base):
        lags = jnp.minimum(jnp.arange(4), 4 - jnp.arange(4)).astype(jnp.float32)
        found = covariance(stack, 4, ndim=1, channels=2, width=4, input=base**lags, gains=list(gains))
        return found.line_powers(), found.lattice_share(), found.power_ratio()

    check_grads(
        jax.jit(lines), (jnp.array([1.0, 0.7, 1.3]), jnp.float32(0.6)), order=1, modes=["rev"], atol=2e-3, rtol=2e-2
    )


def test_traced_gains_change_no_number():
    stack = "deconv k3 s2, relu, residual(conv k3, relu, conv k3), conv k2, batchnorm, relu"
    plain = covariance(stack, 4, ndim=1, gains=[1.0, 0.7, 1.3, 0.6], **ONE)
    traced = jax.jit(lambda g: covariance(stack, 4, ndim=1, gains=list(g), **ONE))(jnp.array([1.0, 0.7, 1.3, 0.6]))
    np.testing.assert_allclose(traced.own, plain.own, rtol=2e-5)
    np.testing.assert_allclose(traced.mean, plain.mean, rtol=2e-5)


def test_gains_may_be_an_array():
    array: Any = jnp.array([0.5, 2.0])
    text, plain = "deconv k3 s2, relu, conv k3", [0.5, 2.0]
    of_array, of_list = (covariance(text, 4, ndim=1, gains=gains).own for gains in (array, plain))
    np.testing.assert_allclose(of_array, of_list, rtol=2e-5)
    of_array, of_list = (dense_covariance(text, 4, channels=3, gains=gains).own for gains in (array, plain))
    np.testing.assert_allclose(of_array, of_list, rtol=2e-5)
    of_array, of_list = (second_moments(text, 4, channels=3, gains=gains) for gains in (array, plain))
    np.testing.assert_allclose(of_array, of_list, rtol=2e-5)


@pytest.mark.parametrize(
    ("stack", "size", "options", "message"),
    [
        ("conv k3, maxpool", 8, {}, r"layer 2 \(maxpool\): it takes a maximum over several pixels, so .* `sweep`"),
        ("relu, avgpool, relu", 8, {}, r"layer 3 \(relu\): what comes in is no longer Gaussian, so"),
        ("conv k3, relu, l2pool", 8, {}, r"layer 3 \(l2pool\): what comes in is no longer Gaussian, so"),
        ("relu, deconv k3 s2, residual(batchnorm)", 8, {}, "two of its branches are functions of the same field, not"),
        ("residual(relu)", 8, {}, "two of its branches are functions of the same field, not both linear"),
        (
            "parallel(parallel(hold s1 | hold s1) concat | parallel(conv k1 c1 | hold s1 | conv k1 c2) concat)",
            8,
            {},
            "another order",
        ),
        ("upsample s2 zeros, batchnorm unit epsilon=0", 8, {}, r"layer 2 .*: what comes in has no variance"),
        ("batchnorm epsilon=0", 8, {"input": np.zeros((8, 8))}, r"layer 1 .*: what comes in has no variance"),
        ("upsample corners", 8, {}, "centres='corners' commutes with no shift"),
        ("relu, dense 4x4", None, {}, r"layer 2 \(dense 4x4\): what comes in has a mean that images share"),
        ("relu", None, {}, r"the output must have ndim=2 axes; it has the size \(\)"),
        ("conv k3", 8, {"input": "pink"}, "input must be one of white, flat; got 'pink'"),
        ("conv k3 s2", 8, {"input": np.ones(3)}, r"an autocovariance of shape \(8, 8\), .*; got shape \(3,\)"),
        ("conv k3", 2, {"input": np.array([[1.0, 2.0], [0.0, 0.0]])}, "input is no autocovariance"),
        ("conv k3", 8, {"ndim": 4}, "ndim must be 1, 2 or 3; got 4"),
        ("conv k3", 8, {"gains": [1.0, 2.0]}, "gains must have one number for each of the 1 learned layers"),
        ("deconv k2 s64, deconv k2 s8", 64, {}, r"has 150994944 entries, phases \(64, 64\) times lags \(192, 192\)"),
    ],
)
def test_errors_name_the_place_and_the_way_out(stack, size, options, message):
    with pytest.raises(ValueError, match=rf"^covariance: .*{message}"):
        covariance(stack, size, **options)


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0))


def close(draws, expected):
    assert abs(draws.mean() - expected) < 4.5 * draws.std() / math.sqrt(len(draws))


NORMALISED = "conv k1, relu, deconv k4 s2, batchnorm"  # whose channels' means differ from channel to channel


@pytest.mark.parametrize(
    ("rest", "approximate"),
    [("", False), (", relu, deconv k3 s2", False), (", avgpool, relu", False), (", bias std=1", False)]
    + [(f", {layer}", True) for layer in ("tanh", "bias std=1, relu", "l2pool", "batchnorm", "batchnorm unit, relu")]
    + [
        (", tanh, conv k3", True),
        (", relu, batchnorm, conv k3", True),
        (", parallel(tanh | relu) combine=concat", True),
    ]
    + [(", residual(conv k3), conv k3", False), (", residual(conv k3), relu", True)],
)
def test_what_batch_norm_leaves_approximate_says_so(rest, approximate):
    found = covariance(NORMALISED + rest, 16, channels=8, ndim=1, input="flat")
    assert found.approximate == approximate
    assert not covariance(NORMALISED, 16, channels=8, ndim=1, input="flat").gaussian  # channel by channel only

"""Wide-limit covariances of input gradients against explicit matrices, counts and simulation."""

import functools
import itertools
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

from checkerjax import count, stacks
from checkerjax.expectations import gradient_covariance
from experiments.closed_forms import small_width

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("expect_torus.py"))))
ONE = {"channels": 1, "width": 1, "initialiser": "normal(1)"}  # as the oracle's: variance 1 over one channel

LINEAR = [
    ("conv k3", 4),
    ("conv k7 s2", 8),
    ("conv k1 s2", 4),
    ("conv k4 s2, deconv k3 s2", 8),
    ("conv k3 s2 d2, deconv k5 s2 d3", 8),
    ("deconv k4 s2 icnr, conv k3", 4),
    ("deconv k5 s3, conv k3 s2", 4),
    ("subpixel k3 s2, subpixel k2 s2 icnr", 3),
    ("resize k3 s2, conv k3 s3", 6),
    ("resize k3 s2 linear sample, deconv k2 s2", 4),
    ("upsample s2 cubic", 6),
    ("conv k3, upsample s2 nearest sample, conv k2", 4),
    ("upsample s2 zeros, hold s2 order=1, conv k3", 5),
    ("conv k3, blur k3 s2, deconv k3 s2", 8),
    ("deconv k3 s2, avgpool k2 s2", 5),
    ("conv k3, residual(conv k3 s1), deconv k3 s2", 4),
]
BENT = [
    ("conv k3 s2, relu, conv k3 s2", 8),
    ("conv k3 s2 d2, relu, deconv k5 s2 d3", 8),
    ("relu, deconv k3 s2, leaky_relu, deconv k5 s2", 3),
    ("resize k3 s2, relu, resize k3 s2 linear", 3),
    ("conv k3, relu, blur k3 s2, conv k3, relu, avgpool k2 s2", 8),
    ("deconv k4 s2 icnr, bias std=0.5, relu, conv k3 s2", 4),
    ("deconv k3 s2, batchnorm, relu, conv k3", 4),
    ("deconv k3 s3, batchnorm std=0.3, leaky_relu, conv k2 s2", 4),
    ("relu, deconv k3 s2, batchnorm, conv k3", 4),
    ("relu, deconv k3 s2, batchnorm unit, relu, conv k3", 4),
    ("conv k3, batchnorm, conv k2 s2, relu, conv k3", 4),
    ("deconv k3 s2, relu, residual(conv k3, relu, conv k3), conv k3 s2", 4),
    ("conv k3, parallel(relu, conv k3 | conv k3, leaky_relu), conv k3 s2", 6),
]


@pytest.mark.parametrize("cotangent", ["white", "flat"])
@pytest.mark.parametrize(("text", "size"), LINEAR)
def test_gradients_of_linear_stacks_are_those_of_transposed_matrices(text, size, cotangent):
    found = gradient_covariance(text, size, ndim=1, cotangent=cotangent, **ONE)
    check(found, stacks.parse_stack(text), oracle.start((size,), "white"), cotangent)


@pytest.mark.parametrize("cotangent", ["white", "flat"])
@pytest.mark.parametrize("kind", ["white", "flat", "correlated"])
@pytest.mark.parametrize(("text", "size"), BENT)
def test_gradients_are_those_of_explicit_matrices(text, size, kind, cotangent):
    lags = np.minimum(np.arange(size), size - np.arange(size))
    x = 0.8**lags if kind == "correlated" else kind
    found = gradient_covariance(text, size, ndim=1, input=x, cotangent=cotangent, **ONE)
    check(found, stacks.parse_stack(text), oracle.start((size,), x), cotangent)


@pytest.mark.parametrize("cotangent", ["white", "flat"])
@pytest.mark.parametrize(
    ("text", "size"), [("conv k3x4 s2x1, relu, conv k2 s1x2", (4, 4)), ("conv k2, relu, resize k3 s2x1 linear", (3, 2))]
)
def test_gradients_in_two_dimensions(text, size, cotangent):
    found = gradient_covariance(text, size, cotangent=cotangent, **ONE)
    check(found, stacks.parse_stack(text), oracle.start(size, "white"), cotangent)


def check(found, stack, x, cotangent):
    expected = pull(stack, x, lambda n: oracle.start((n,), cotangent).own)
    assert found.size == x.size
    np.testing.assert_allclose(found.own, oracle.by_lag(expected, x.size, found.period), rtol=1e-9, atol=1e-12)
    assert not found.mean.any()
    assert not found.between.any()


def pull(stack, x, start):
    """E[g(n) g(m)] at the input of a stack, from a cotangent's, by explicit matrices and slopes."""
    before = [x]
    for layer in stack:
        before.append(oracle.run((layer,), before[-1]))
    back = start(len(before[-1].mean))
    for layer, entering in zip(reversed(stack), reversed(before[:-1])):
        back = pull_layer(layer, entering, back)
    return back


def pull_layer(layer, x, back):
    if isinstance(layer, stacks.Residual):
        return back + pull(layer.stack, x, lambda n: back)
    if isinstance(layer, stacks.Parallel):
        return sum(pull(branch, x, lambda n: back) for branch in layer.stacks)
    if isinstance(layer, stacks.Bias):
        return back
    if isinstance(layer, (stacks.Relu, stacks.LeakyRelu)):
        return back * slopes(layer, x)
    if isinstance(layer, stacks.BatchNorm):
        return back * divided(layer, x)
    if isinstance(layer, stacks.ResizeConv):
        up = stacks.Upsample(layer.scale, layer.method, layer.centres)
        return pull((up, stacks.Conv(layer.kernel)), x, lambda n: back)
    numbers = [oracle._numbers(layer, axis, n) for axis, n in enumerate(x.size)]
    maps = [functools.reduce(np.kron, choice) for choice in itertools.product(*numbers)]
    power = 1 / layer.kernel if getattr(layer, "initialiser", None) == "icnr" else 1.0  # 1 / fan-in
    return power * sum(a.T @ back @ a for a in maps)


def slopes(layer, x):
    """E[phi'(u) phi'(v)]: the chance of equal signs is 1 - t / pi. Behind batch norm, weighed as it divides."""
    slope, root = getattr(layer, "slope", 0.0), np.sqrt(np.diag(x.own))
    correlation = x.own / np.outer(root, root)
    equal = correlation > 1 - 1e-14  # where arccos would make 1e-8 of rounding
    t = np.where(equal, 0.0, np.arccos(np.clip(correlation, -1, 1)))
    return (1 + slope**2) / 2 * (1 - t / np.pi) + slope * t / np.pi


def divided(layer, x):
    """std^2 E[1 / v]; of channels that images share lines of, by the oracle's quadrature."""
    if layer.per == "unit":
        root = np.sqrt(np.diag(x.own - x.between) + layer.epsilon)
        return layer.std**2 / np.outer(root, root)
    centre = np.eye(len(x.mean)) - 1 / len(x.mean)
    between = centre @ x.between @ centre
    within = np.diag(x.own).mean() - x.between.mean() - np.diag(between).mean() + layer.epsilon
    return layer.std**2 * oracle._divided(between, within)[0]


# The largest over the smallest share of outputs that read a pixel, for first layers of known networks.
@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("conv k7 s2", 16 / 9),
        ("conv k3", 1),
        ("conv k11 s4", 9 / 4),
        ("conv k5 s2", 9 / 4),
        ("conv k4 s2", 1),
        ("conv k3 s2", 4),
        ("conv k16 s16", 1),
        ("conv k1 s2", math.inf),
        ("conv k5 s2, leaky_relu, conv k4 s2, relu, conv k3 s2", None),
    ],
)
def test_phases_of_strided_convolutions_are_their_counts(text, ratio):
    found = gradient_covariance(text, 64)
    middle = tuple(slice(32, 32 + p) for p in found.period)
    counts = count(text, (64, 64), backward=True)[middle]
    np.testing.assert_allclose(found.phase_powers() / found.phase_powers().max(), counts / counts.max(), rtol=1e-12)
    assert ratio is None or float(found.power_ratio()) == pytest.approx(ratio, rel=1e-12)


@pytest.mark.parametrize("cotangent", ["white", "flat"])
@pytest.mark.parametrize(
    "text", ["relu, conv k5 s2, relu, resize k3 s2 linear, relu, deconv k4 s3", "conv k4 s2, erf", "blur k9, relu"]
)
def test_lags_beyond_the_small_torus_are_those_of_the_large_one(text, cotangent):
    impulse = np.eye(1, 96)[0]
    found = gradient_covariance(text, 96, ndim=1, cotangent=cotangent)
    whole = gradient_covariance(text, 96, ndim=1, cotangent=cotangent, input=impulse)  # what is given keeps its torus
    assert found.near.size < whole.near.size / 1.3
    np.testing.assert_allclose(found.own, whole.own, rtol=1e-12, atol=1e-14)


def test_joined_channels_take_the_gradients_of_their_own():
    text = "parallel(conv k3 s2 c6 | conv k5 s2 c2) concat, erf, conv k1 c1"
    found = gradient_covariance(text, 8, ndim=1, channels=1, initialiser="normal(1)")
    # E[erf'(u)^2] for the variances 3 and 5, times the windows that read an even and an odd pixel, for each channel.
    first, second = 6 * 4 / math.pi / math.sqrt(13), 2 * 4 / math.pi / math.sqrt(21)
    np.testing.assert_allclose(found.phase_powers(), [2 * first + 2 * second, 1 * first + 3 * second], rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "fixed", "scale"),
    [
        ("residual(blur k3)", "blur k3", 1.0),
        ("residual(batchnorm std=3, blur k3)", "blur k3", 3 / math.sqrt(1 + 1e-5)),
        ("parallel(hold s1 | blur k3 s2, upsample s2)", "blur k3 s2, upsample s2", 1.0),
    ],
)
def test_fixed_branches_of_one_field_add_their_transposes(text, fixed, scale):
    n = 6
    unit = oracle.Moments(np.eye(n), np.eye(n), np.eye(n), (n,))
    total = np.eye(n) + scale * oracle.run(stacks.parse_stack(fixed), unit).mean
    behind = pull(stacks.parse_stack("conv k2 s2"), oracle.start((n,), "white"), np.eye)
    found = gradient_covariance(f"{text}, conv k2 s2", n, ndim=1, **ONE)
    np.testing.assert_allclose(
        found.own, oracle.by_lag(total.T @ behind @ total, (n,), found.period), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("cotangent", ["white", "flat"])
def test_batch_norm_divides_by_the_variance_and_not_by_the_mean_square(cotangent):
    # Behind the ReLU two images share a mean; what is left of the mean square 1/2 is its variance.
    plain, found = (
        gradient_covariance(f"relu, conv k1, {layers}conv k3 s2", 4, ndim=1, cotangent=cotangent, **ONE)
        for layers in ("", "batchnorm std=2 epsilon=0, ")
    )
    factor = 4 / (1 / 2 - 1 / (2 * math.pi))
    np.testing.assert_allclose(found.phase_powers(), factor * plain.phase_powers(), rtol=1e-12)


def test_batch_norm_divides_channels_with_strong_lines_by_more(rng):
    # Channels of the wide limit: what images share, m, and what each has of its own; and two layers before and behind.
    first, last = stacks.parse_stack("relu, deconv k3 s2"), stacks.parse_stack("conv k3 s2")
    x, n = oracle.start((4,), "white"), 8
    before = oracle.run(first, x)
    centre, within = np.eye(n) - 1 / n, before.own - before.between
    behind = pull(last, before, lambda n: np.ones((n, n)))
    found = gradient_covariance("relu, deconv k3 s2, batchnorm, relu, conv k3 s2", 4, ndim=1, cotangent="flat", **ONE)
    values = []
    for _ in range(40):
        m = rng.standard_normal((10_000, n)) @ (centre @ root(before.between)).T
        own = m + rng.standard_normal((10_000, n)) @ root(within).T
        positive = (own > 0) / np.sqrt((m * m).mean(1) + np.diag(within).mean() + 1e-5)[:, None]
        back = behind * (positive.T @ positive) / 10_000
        values.append(oracle.by_lag(pull(first, x, lambda n, back=back: back), (4,), (1,)))
    assert (np.abs(np.mean(values, 0) - found.own) < 4 * np.std(values, 0) / math.sqrt(40) + 1e-12).all()


@pytest.mark.parametrize(
    ("text", "cotangent"),
    [
        ("conv k5 s2, relu, resize k3 s2 linear, erf, conv k4 s2 c3", "white"),
        ("conv k4 s2 valid, batchnorm, relu, conv k3 valid c3", "flat"),
        ("conv k3, residual(relu, conv k5, relu, conv k3), tanh, conv k3 s2 c3", "white"),
    ],
)
def test_gradients_of_wide_random_networks_have_these_moments(text, cotangent, rng):
    options: dict[str, Any] = {"channels": 8, "ndim": 1, "width": 64}
    size, images, seeds = 32, 32, 80
    numbers, out = stacks.normal_count(text, **options), stacks.output_size(text, size)[0]

    @jax.jit
    def products(normals, x, u):
        params = stacks.init_from_normals(normals, text, **options)
        (g,) = jax.vjp(lambda x: stacks.apply(params, text, x), x)[1](u)
        return jnp.stack([(g[:, 14:16] * g[:, 14 + t : 16 + t]).mean((0, 2)) for t in range(4)], axis=1)

    values = []
    for _ in range(seeds):
        normals = rng.standard_normal(numbers, np.float32)
        x = rng.standard_normal((images, size, 8), np.float32)
        u = rng.standard_normal((images, 1 if cotangent == "flat" else out, 3), np.float32)
        values.append(products(normals, x, np.broadcast_to(u, (images, out, 3))))
    found = np.asarray(gradient_covariance(text, size, cotangent=cotangent, **options).own)[:, :4]
    found = np.broadcast_to(found, (2, 4))
    error = np.std(values, 0) / math.sqrt(seeds)
    assert error.max() < 0.05 * found.max()
    assert (np.abs(np.mean(values, 0) - found) < 3.5 * error + 0.03 * found.max()).all()  # 0.03: width 64, 32 images


def test_the_error_at_small_width_is_there_and_falls():
    config, rng = small_width.Config(networks=16_000), np.random.default_rng(1)
    exact, wrong = small_width.CASES[0], small_width.CASES[3]
    one, many = (small_width.deviation(wrong, channels, config, rng) for channels in (1, 16))
    assert one["deviation"] > 4 * one["standard_error"]
    assert 0 <= many["deviation"] + 4 * many["standard_error"] < one["deviation"] / 2
    none = small_width.deviation(exact, 1, config, rng)
    assert abs(none["deviation"]) < 4 * none["standard_error"]


def test_gradients_can_be_differentiated_by_gains():
    def powers(gains):
        found = gradient_covariance(
            "conv k3 s2, bias std=0.5, relu, conv k3, leaky_relu, conv k2", 4, ndim=1, gains=list(gains)
        )
        return found.line_powers(), found.lattice_share()

    with jax.enable_x64(True):  # arccos at 1 leaves float32 too few digits for differences
        check_grads(jax.jit(powers), (jnp.array([1.0, 0.7, 1.3]),), order=1, modes=["rev"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("stack", "size", "options", "message"),
    [
        (
            "conv k3, maxpool",
            8,
            {},
            r"layer 2 \(maxpool\): its gradient goes to whichever pixel is largest",
        ),
        ("conv k3, l2pool", 8, {}, r"layer 2 \(l2pool\): its slopes depend on all samples of a window, so"),
        ("relu, avgpool, relu", 8, {}, r"layer 3 \(relu\): what comes in is no longer Gaussian, so"),
        ("residual(relu)", 8, {}, "two of its branches are functions of the same field, not both linear"),
        ("dense 4x4, relu", None, {}, "a latent has no pixels. Give the layers behind the dense one, and a size"),
        ("conv k3", 8, {"cotangent": "pink"}, "cotangent must be one of white, flat; got 'pink'"),
    ],
)
def test_errors_name_the_place_and_the_way_out(stack, size, options, message):
    with pytest.raises(ValueError, match=rf"^gradient_covariance: .*{message}"):
        gradient_covariance(stack, size, **options)


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0))

"""The whole covariance: against explicit matrices, exact second moments, and draws of networks of growing width."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import count, expect, parse_stack, stacks
from checkerjax.expectations._dense import LIMIT, dense_covariance
from checkerjax.expectations._periodic import covariance
from checkerjax.expectations._second_moments import second_moments
from tests import stack_oracles


def normals(vector, stack, ndim, channels, initialiser):
    vector = jnp.asarray(vector, jnp.float32)
    return stacks.init_from_normals(
        vector, stack, channels=channels, ndim=ndim, width=channels, initialiser=initialiser
    )


def run(params, stack, x) -> Any:
    """NumPy loops, but for the interpolations that they have not."""
    if any(getattr(layer, "method", "") in ("cubic", "lanczos3") for layer in stack):
        return np.asarray(stacks.apply(params, stack, jnp.asarray(x, jnp.float32)), np.float64)
    return stack_oracles.run(params, stack, x)


def explicit(text, size, channels, covariance, initialiser="lecun"):
    """own and between of a stack that is linear in its input and affine in its normals: NumPy loops on impulses."""
    stack, ndim, n = parse_stack(text), len(size), math.prod(size)
    total = stacks.normal_count(stack, channels=channels, ndim=ndim, width=channels, initialiser=initialiser)
    impulses = np.eye(n * channels).reshape(n * channels, *size, channels)
    probes = np.concatenate([np.zeros((1, *size, channels)), impulses])
    inputs = np.kron(covariance.reshape(n, n), np.eye(channels))
    own: Any = 0.0
    between: Any = 0.0
    fixed = run(normals(np.zeros(total), stack, ndim, channels, initialiser), stack, probes)
    for unit in [None, *np.eye(total)]:
        out = fixed
        if unit is not None:
            out = run(normals(unit, stack, ndim, channels, initialiser), stack, probes) - fixed
        constant, matrix = out[0], out[1:] - out[0]  # what a bias adds, and what the input becomes
        matrix = matrix.reshape(n * channels, -1, out.shape[-1])
        shared = np.einsum("nc,mc->nm", *2 * [constant.reshape(-1, out.shape[-1])]) / out.shape[-1]
        own = own + shared + np.einsum("anc,ab,bmc->nm", matrix, inputs, matrix, optimize=True) / out.shape[-1]
        between = between + shared
    return own, between


def random_covariance(rng, n):
    factor = rng.normal(size=(n, n)) / math.sqrt(n)
    return factor @ factor.T


LINEAR = [
    ("conv k3", (5,), 2), ("conv k4 s2 p1:2 pad_mode=edge", (6,), 1), ("conv k3 d2 pad_mode=reflect", (6,), 1),
    ("conv k5 s3 pad_mode=wrap", (7,), 1), ("conv k4 pad_mode=symmetric", (5,), 1), ("conv k3 valid g2", (5,), 4),
    ("conv k3x2 s1x2 pad_mode=reflect", (4, 3), 1), ("conv k2", (2, 3, 2), 1),
    ("deconv k5 s2", (4,), 2), ("deconv k3 s3 valid op1 d2", (3,), 1), ("deconv k4 s2 p1 g2", (4,), 2),
    ("deconv k4 s2 icnr", (3,), 1), ("deconv k3x4 s2", (2, 3), 1), ("deconv k3 s2", (2, 2, 1), 1),
    ("subpixel k3 s3", (3,), 2), ("subpixel k2 s2 icnr", (3,), 1), ("subpixel k3x2 s2x3 channel_first", (2, 2), 1),
    ("resize k3 s2", (4,), 1), ("resize k3 s3 linear pad_mode=reflect", (4,), 1), ("resize k2 s2 cubic", (4,), 1),
    ("resize k3 s2 linear corners", (4,), 1), ("resize k3 lanczos3", (4,), 1), ("resize k3 s2 linear", (2, 3), 1),
    ("upsample s3 cubic", (5,), 1), ("upsample s2 zeros", (2, 3), 2), ("upsample s2 linear sample", (4,), 1),
    ("blur k5 s2", (7,), 1), ("blur k3", (3, 4), 1), ("hold s3 order=1", (6,), 1), ("avgpool k3 s2 same", (5,), 1),
    ("bias std=0.7", (3,), 2), ("residual(blur)", (5,), 1), ("residual(conv k3, bias std=0.3)", (4,), 1),
    ("parallel(upsample | upsample linear | deconv k4 s2)", (4,), 1), ("blur, residual(residual(blur k5))", (4,), 2),
    ("parallel(upsample linear | resize k3) concat, blur", (3,), 2),
    ("blur, residual(residual(blur k5), conv k3)", (4,), 1),
    ("residual(parallel(blur | conv k3), hold)", (4,), 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "size", "channels"), LINEAR, ids=[case[0] for case in LINEAR])
def test_linear_layers_are_their_explicit_matrices(rng, text, size, channels):
    given = random_covariance(rng, math.prod(size))
    own, between = explicit(text, size, channels, given)
    found = dense_covariance(
        text, size, channels=channels, width=channels, input=given.reshape(*size, *size), per_layer=True
    )[-1]
    scale = np.abs(own).max()
    np.testing.assert_allclose(found.own.reshape(own.shape), own, atol=1e-6 * scale)  # parameters are float32
    np.testing.assert_allclose(found.between.reshape(own.shape), between, atol=1e-6 * scale)
    assert (found.gaussian, np.abs(found.mean).max()) == (True, 0.0)


def test_a_dense_layer_gives_independent_samples():
    found = dense_covariance("dense 2x3, deconv k4 s2", (), channels=5, initialiser="he")
    expected = dense_covariance("deconv k4 s2", (2, 3), channels=16, initialiser="he", input="white")
    np.testing.assert_allclose(found.own, 2 * expected.own, rtol=1e-12)


@pytest.mark.parametrize(
    "text", ["deconv k3 s2, leaky_relu, deconv k4 s2, relu", "subpixel k3 s2, bias std=0.5, relu, conv k3 s2"]
)
@pytest.mark.parametrize("size", [(5,), (3, 2)])
def test_the_diagonal_is_the_exact_second_moment(text, size):
    found = dense_covariance(text, size, channels=3, width=2, input="flat", per_layer=True)
    exact = second_moments(text, size, channels=3, width=2, per_layer=True)
    for moments, expected in zip(found, exact):
        count = expected.size
        diagonal = np.diagonal(moments.own.reshape(count, count)).reshape(expected.shape)
        np.testing.assert_allclose(diagonal, expected, rtol=1e-12)


def test_a_flat_input_leaves_counts_on_the_diagonal():
    text = "deconv k3 s2, relu, deconv k5 s2, relu"
    found = np.diagonal(dense_covariance(text, 4, channels=2, input="flat").own)
    expected = count(text, 4)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-12)


NONLINEAR = [
    "deconv k3 s2, relu, deconv k4 s2",
    "conv k3, leaky_relu, conv k3 pad_mode=reflect, tanh",
    "conv k3, bias std=0.5, relu, blur, conv k2, erf",
    "subpixel k3 s2 icnr, relu, conv k3",
    "conv k3, relu, avgpool",
    "conv k3, l2pool s3, conv k1, l2pool",
    "conv k3, residual(relu, conv k3), relu",
    "conv k3, residual(relu, conv k3, relu), conv k1",
    "conv k3, relu, residual(blur, conv k3, tanh)",
    "conv k3, relu, parallel(conv k3, relu | blur | upsample s1), conv k1",
    "conv k3, relu, parallel(conv k3, relu | conv k1 s1)concat, conv k1, relu",
]


def measured(text, size, kind, *, width, seeds, batch, rng):
    """own, between and mean of one seed after the other, `[seeds, ...]`, from NumPy loops."""
    stack = parse_stack(text)
    total = stacks.normal_count(stack, channels=width, ndim=len(size), width=width)
    found = []
    for _ in range(seeds):
        params = normals(rng.normal(size=total), stack, len(size), width, "lecun")
        drawn = size if kind == "white" else (1,) * len(size)
        x = np.broadcast_to(rng.normal(size=(batch, *drawn, width)), (batch, *size, width))
        y = np.moveaxis(run(params, stack, x), -1, 1)
        y = y.reshape(batch, y.shape[1], -1)
        own = np.einsum("bcn,bcm->nm", y, y) / (batch * y.shape[1])
        all_pairs = np.einsum("cn,cm->nm", y.sum(axis=0), y.sum(axis=0)) / y.shape[1]
        found.append((own, (all_pairs - batch * own) / (batch * (batch - 1)), y.mean(axis=(0, 1))))
    return [np.stack(part) for part in zip(*found)]


def test_l2_pools_of_planes_have_the_moments_of_draws(rng):
    size, draws = (4, 3), 100_000
    given = random_covariance(rng, 12)
    found = dense_covariance("l2pool s2x3", size, channels=1, input=given.reshape(*size, *size))
    x = rng.multivariate_normal(np.zeros(12), given, draws).reshape(draws, *size, 1)
    y = run(({},), parse_stack("l2pool s2x3"), x).reshape(draws, -1)
    products = y[:, :, None] * y[:, None]
    error = products.std(axis=0) / math.sqrt(draws)
    own = found.own.reshape(y.shape[1], -1)
    assert (np.abs(products.mean(axis=0) - own) < 4.5 * error).all()
    assert error.max() < 0.01 * own.min()
    np.testing.assert_allclose(found.between, np.multiply.outer(found.mean, found.mean), rtol=1e-12)
    np.testing.assert_allclose(y.mean(axis=0), found.mean.ravel(), rtol=0.01)


@pytest.mark.parametrize("kind", ["white", "flat"])
@pytest.mark.parametrize("text", NONLINEAR)
def test_wide_networks_have_the_moments(rng, text, kind):
    """Within 4.5 standard errors, and one part in the width for what is left of it."""
    width, seeds = 96, 24
    found = dense_covariance(text, (4,), channels=width, width=width, input=kind)
    scale = np.abs(found.own).max()
    draws = measured(text, (4,), kind, width=width, seeds=seeds, batch=24, rng=rng)
    for values, expected, unit in zip(draws, found, (scale, scale, math.sqrt(scale))):
        error = values.std(axis=0, ddof=1) / math.sqrt(seeds)
        assert (np.abs(values.mean(axis=0) - expected) <= 4.5 * error + unit / width).all()
        assert error.max() < 0.1 * unit


@pytest.mark.parametrize("per", ["channel", "unit"])
def test_batch_norm_divides_by_what_a_large_batch_has(rng, per):
    text = f"conv k3, relu, conv k3, batchnorm per={per} std=2, relu"
    width, seeds, batch = 48, 12, 256
    found = dense_covariance(text, (4,), channels=width, width=width, input="flat")
    draws = measured(text, (4,), "flat", width=width, seeds=seeds, batch=batch, rng=rng)
    scale = np.abs(found.own).max()
    for values, expected, unit in zip(draws, found, (scale, scale, math.sqrt(scale))):
        error = values.std(axis=0, ddof=1) / math.sqrt(seeds)
        assert (np.abs(values.mean(axis=0) - expected) <= 4.5 * error + unit * (1 / width + 2 / batch)).all()


def test_batch_norm_gives_its_standard_deviation():
    found = dense_covariance("conv k3 s2, batchnorm std=1.5 epsilon=0", (7,), channels=2, input="flat")
    assert np.diagonal(found.own).mean() == pytest.approx(2.25, rel=1e-12)
    each = dense_covariance("conv k3 s2, batchnorm std=1.5 per=unit epsilon=0", (7,), channels=2, input="flat")
    np.testing.assert_allclose(np.diagonal(each.own), 2.25, rtol=1e-12)
    np.testing.assert_array_equal(each.between, 0.0)


def test_the_error_of_the_limit_falls_as_one_over_the_width(rng):
    text, seeds = "conv k1, relu, conv k1, relu, conv k1, relu", 8000
    shares = []
    for width in (2, 8, 32):
        shape: dict[str, Any] = dict(channels=width, ndim=1, width=width, initialiser="he")
        drawn = rng.normal(size=(seeds, stacks.normal_count(text, **shape))).astype(np.float32)
        x = rng.normal(size=(seeds, 1, 2, width)).astype(np.float32)

        def products(vector, x):
            y = stacks.apply(stacks.init_from_normals(vector, text, **shape), text, x)  # noqa: B023 (called at once)
            return (y[:, 0] * y[:, 1]).mean()

        values = np.asarray(jax.jit(jax.vmap(products))(drawn, x))
        expected = dense_covariance(text, 2, channels=width, width=width, initialiser="he").own[0, 1]
        shares.append(values.mean() / expected - 1)
        error = values.std() / math.sqrt(seeds) / expected
        assert abs(shares[-1] + 1 / width) < 4.5 * error + 0.35 / width
    assert abs(shares[0]) > 2 * abs(shares[1]) > 4 * abs(shares[2])


def test_a_stationary_input_is_given_by_its_lags():
    lags = np.array([2.0, 0.5, 0.25, 0.5])
    matrix = np.array([[lags[(m - n) % 4] for m in range(4)] for n in range(4)])
    given, by_lag = (dense_covariance("deconv k3 s2, relu", 4, channels=1, input=k) for k in (matrix, lags))
    np.testing.assert_array_equal(given.own, by_lag.own)
    plane = np.multiply.outer(lags, [2.0, 0.5, 0.5])
    found = dense_covariance("upsample s1", (4, 3), channels=1, input=plane).own
    assert found[0, 0, 1, 2] == plane[1, 2]
    assert found[3, 2, 0, 1] == plane[1, 2]


def test_layers_are_told_one_by_one():
    found = dense_covariance("conv k3, relu, upsample", 3, channels=1, per_layer=True)
    assert [k.own.shape for k in found] == [(3, 3), (3, 3), (6, 6)]
    assert [k.gaussian for k in found] == [True, False, False]


def test_gains_can_be_differentiated():
    text = "conv k3, tanh, residual(conv k3), conv k1, l2pool"

    def power(gains, input="flat"):
        return dense_covariance(text, 3, channels=2, gains=gains, input=input).own.sum()

    gains = [0.8, 1.3, 0.6]
    value, slopes = jax.jit(jax.value_and_grad(power))([jnp.float32(g) for g in gains])
    assert value == pytest.approx(power(gains), rel=1e-4)
    for i, slope in enumerate(slopes):
        step = np.eye(3)[i] * 1e-4
        expected = (power(list(gains + step)) - power(list(gains - step))) / 2e-4
        assert slope == pytest.approx(expected, rel=2e-3)


REFUSED = [
    ("conv k3, maxpool", "layer 2 (maxpool): it takes maxima, so its covariance has no closed form. Measure"),
    ("conv k3, relu, tanh", "layer 3 (tanh): what comes in is no longer Gaussian, so"),
    ("conv k3, relu, blur, l2pool", "layer 4 (l2pool): what comes in is no longer Gaussian, so"),
    ("conv k3, parallel(relu | blur)", "two of its branches are functions of the same field, not both linear"),
    ("conv k3 c4, parallel(parallel(blur | conv k3)concat | parallel(conv k3 | blur)concat)", "in another order"),
    ("conv k3, residual(conv k3, maxpool s1 same)", "layer 2 (residual(conv k3, maxpool s1 same)): layer 2 (maxpool"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_has_no_closed_form_names_the_layer(text, message):
    with pytest.raises(ValueError, match=r"^dense_covariance: layer ") as error:
        dense_covariance(text, 6, channels=2, width=2)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(size=5000), r"dense_covariance: the input: a field of \(5000,\) has 5000 samples; .* for at most 4096"),
        (dict(size=1000), r"dense_covariance: layer 1 \(deconv k3 s8\): a field of \(8000,\) has 8000 samples"),
        (dict(input="pink"), "dense_covariance: input must be one of white, flat; got 'pink'"),
        (
            dict(input=np.ones((3, 3))),
            r"covariance of shape \(4, 4\) or, of a stationary field, \(4,\); got shape \(3, 3",
        ),
        (dict(input=np.array([1.0, 0.5, 0.2, 0.1])), "input must be symmetric"),
        (dict(input=-np.eye(4)), "input must be symmetric, with a diagonal of at least 0"),
        (dict(input=np.eye(4) * 0.5 + 1.1 * np.eye(4)[::-1]), "got correlations beyond 1"),
        (dict(input=np.full((4, 4), np.nan)), "dense_covariance: input must be finite"),
        (dict(gains=[1.0, 2.0]), "dense_covariance: gains must have one number for each of the 1 learned layers"),
        (
            dict(stack="upsample zeros, batchnorm per=unit epsilon=0"),
            r"layer 2 \(batchnorm .*\): what comes in has no var",
        ),
    ],
)
def test_bad_input_is_told_in_one_line(options, message):
    options = {"stack": "deconv k3 s8", "size": 4, "channels": 1, **options}
    with pytest.raises(ValueError, match=message):
        dense_covariance(options.pop("stack"), options.pop("size"), **options)


def test_the_limit_is_the_stated_one():
    assert LIMIT == 4096
    assert "4096 samples" in str(dense_covariance.__doc__)


@pytest.mark.parametrize(("rest", "approximate"), [("", False), (", batchnorm", True), (", batchnorm, conv k3", True)])
def test_batch_norm_by_the_mean_variance_says_so(rest, approximate):
    stack = f"conv k1, relu, deconv k2 s2{rest}"
    assert dense_covariance(stack, 6, channels=4, input="flat").approximate == approximate
    assert not dense_covariance("relu, batchnorm", 6, channels=4, input="flat").approximate  # alike in all channels


def test_a_table_says_what_is_approximate():
    text = "conv k1, relu, deconv k4 s2, batchnorm, tanh"
    found = expect(text, ndim=1, channels=4)
    assert found.approximate == ("white", "flat", "gradient")
    assert "some per cent from it, for batch norm: white input, flat input, the gradient" in str(found)
    assert found.to_dict()["approximate"] == ["white", "flat", "gradient"]
    assert expect(text.removesuffix(", tanh"), ndim=1, channels=4).approximate == ()


@pytest.mark.parametrize("width", [jnp.float32, jnp.float64])
def test_rounding_alone_makes_nothing_approximate(width):
    with jax.enable_x64(width == jnp.float64):
        gains = [jnp.asarray(value, width) for value in (0.7, 1.3)]  # which make all arrays JAX's, of their dtype
        found = dense_covariance("deconv k3 s2, relu, conv k3, batchnorm", (6,), channels=4, gains=gains)
        assert found.own.dtype == width
        assert not dense_covariance("deconv k3 s2, relu, batchnorm", (6,), channels=4, gains=gains[:1]).approximate
        periodic = covariance("deconv k3 s2, relu, batchnorm", 6, ndim=1, channels=4, gains=gains[:1])
        assert not periodic.approximate

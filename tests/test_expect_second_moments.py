"""Second moments at random initialisation: exact, whatever the width, the border and the law of the weights."""

import dataclasses
import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from checkerjax import count, ops, stacks
from checkerjax.expectations import _signs as signs
from checkerjax.expectations import second_moments
from checkerjax.expectations._variances import Weights, stack_weights
from experiments.closed_forms import second_moments as experiment
from experiments.closed_forms.random_stacks import ramp, random_case
from tests.conftest import tolerance

RTOL = tolerance(np.float32)


def picker(data):
    """Choices that the search of a test makes."""
    return lambda options: data.draw(st.sampled_from(options))


# Monte Carlo, any law of the weights and any layers


@settings(max_examples=50, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.data())
def test_random_networks_agree_at_every_pixel(data):
    case = random_case(picker(data))
    try:
        q = experiment.expected(case)
    except ValueError as error:
        assert "no exact second moment" in str(error)  # noqa: PT017
        assume(False)
    found = experiment.deviation(case, q, 2 * experiment.BATCH, np.random.default_rng(data.draw(st.integers(0, 99))))
    # Some 1000 pixels in all: a normal z beyond 5 among them has a chance of 1 in 1700.
    assert np.abs(found["z"]).max() < 5, case.text()


def test_the_experiment_makes_its_table():
    found = experiment.main(experiment.Config(cases=2, draws=experiment.BATCH, seed=1))
    text = experiment.table(found)
    assert "2 random stacks, 20000 networks each, seed 1" in text
    assert all(row["case"] in text for row in found["rows"])
    assert found["summary"]["largest_z"] < 5


# All networks with weights of +-1: no sampling, so no error but rounding

TINY = [
    "conv k2", "conv k3 pad_mode=reflect", "conv k2 s2 pad_mode=symmetric", "deconv k3 s2", "deconv k2 s2 icnr",
    "subpixel k1 s2", "subpixel k1 icnr", "resize k2", "bias std=0.5", "bias", "relu", "relu", "relu", "leaky_relu",
    "leaky_relu slope=-0.5", "leaky_relu slope=1", "upsample", "l2pool", "avgpool k1", "residual(conv k1)",
    "residual(relu, conv k1)", "residual(conv k1, relu)", "residual(conv k1, relu, conv k1)",
    "residual(conv k1, bias std=0.5, relu, conv k1)", "residual(bias std=0.5)", "residual(upsample scale=1)",
    "parallel(conv k1 | conv k1, relu)", "parallel(conv k1, relu | conv k1, relu)", "parallel(conv k1 | relu) concat",
    "parallel(conv k1, bias std=0.5 | leaky_relu) concat", "residual(parallel(conv k1 | conv k1, relu))",
]  # fmt: skip


def mean_over_all_signs(stack, size, *, limit=11):
    """E[y^2] over all signs of weights and of a ramp; NaN if they are more than 2^limit."""
    options = {"channels": 1, "ndim": len(size), "width": 1, "initialiser": "normal(0.7)"}
    bits = stacks.normal_count(stack, **options) + 1
    if bits > limit:
        return np.full(1, np.nan)
    flips = (2 * (np.arange(2**bits)[:, None] >> np.arange(bits) & 1) - 1).astype(np.float32)
    field = np.sqrt(ramp(size)).astype(np.float32)[None, ..., None]

    def run(row):
        params = stacks.init_from_normals(row[1:], stack, **options)
        return stacks.apply(params, stack, row[0] * field)[0]

    y = np.asarray(jax.jit(jax.vmap(run))(flips), np.float64)
    return (y**2).mean(axis=(0, -1))


def closed_form(stack, size):
    return second_moments(stack, size, channels=1, width=1, initialiser="normal(0.7)", input=ramp(size))


@settings(max_examples=50, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.lists(st.sampled_from(TINY), min_size=2, max_size=6), st.sampled_from([3, 4]))
def test_what_is_called_exact_is_exact(texts, size):
    stack = stacks.parse_stack(", ".join(texts))
    try:
        q = closed_form(stack, (size,))
    except ValueError as error:
        assert "no exact second moment" in str(error)  # noqa: PT017
        assume(False)
    mean = mean_over_all_signs(stack, (size,))
    assume(np.isfinite(mean).all())
    np.testing.assert_allclose(q, mean, rtol=RTOL, atol=RTOL * q.max())


@pytest.mark.parametrize(
    "text",
    [
        "conv k2, residual(conv k2, relu, conv k1), relu, conv k1",
        "residual(conv k1, relu, conv k1), relu, conv k1, residual(conv k1, relu)",
        "conv k2, parallel(conv k1, relu | conv k1, conv k1) concat, relu, conv k1",
        "conv k2, relu, upsample, leaky_relu, l2pool, relu, conv k1",
        "relu, residual(conv k1, relu, conv k1), conv k1, relu",
        "parallel(relu, conv k1 | conv k1 | relu, conv k1, relu), conv k2, relu",
    ],
)
def test_branches_are_exact_where_flips_prove_it(text):
    np.testing.assert_allclose(closed_form(text, (3,)), mean_over_all_signs(text, (3,)), rtol=RTOL)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("residual(relu, conv k1), relu", "layer 2 (relu): what comes in is not as often x as -x"),
        ("conv k2, relu, residual(conv k1, relu, conv k1), relu", "layer 4 (relu): what comes in"),
        ("conv k2, relu, bias std=0.5, relu", "layer 4 (relu): what comes in"),
        ("parallel(conv k1, relu | conv k1, relu)", "layer 1 (parallel(conv k1, relu | conv k1, relu)): the branches"),
        ("residual(upsample scale=1)", "layer 1 (residual(upsample scale=1)): the branches"),
        ("relu, residual(conv k1, relu)", "layer 2 (residual(conv k1, relu)): the branches"),
    ],
)
def test_what_is_not_exact_is_refused_and_would_be_wrong(text, place, monkeypatch):
    with pytest.raises(ValueError, match="no exact second moment at finite width") as refused:
        closed_form(text, (3,))
    assert place.split(":")[1] in str(refused.value)
    assert str(refused.value).startswith(f"second_moments: {place.split(' (')[0]} (")
    monkeypatch.setattr(signs, "is_symmetric", lambda sign: True)
    monkeypatch.setattr(signs, "are_orthogonal", lambda a, b: True)
    truth, wrong = mean_over_all_signs(text, (3,)), closed_form(text, (3,))
    assert np.abs(wrong / truth - 1).max() > 0.05


# One layer against explicit matrices

LEARNED = [
    (stacks.Conv(3, 2, padding="VALID"), (7,)),
    (stacks.Conv(3, padding=((2, 0),), pad_mode="reflect", dilation=2), (5,)),
    (stacks.Conv((3, 2), (1, 2), pad_mode="edge"), (3, 4)),
    (stacks.Conv(4, pad_mode="symmetric", groups=2), (5,)),
    (stacks.Conv(3, pad_mode="wrap"), (2, 2, 3)),
    (stacks.Deconv(5, 3, output_padding=1, dilation=2), (3,)),
    (stacks.Deconv((3, 4), (2, 3), padding=((1, 0), (2, 1))), (3, 2)),
    (stacks.Deconv(3, 2, padding="VALID", groups=2), (2, 2, 2)),
    (stacks.Deconv(4, 2, initialiser="icnr"), (3, 2)),
    (stacks.SubPixel(3, (2, 3)), (3, 2)),
    (stacks.SubPixel(3, 3, order="channel_first", initialiser="icnr"), (4,)),
    (stacks.ResizeConv(3, 3, pad_mode="reflect", centres="sample"), (3,)),
    (stacks.ResizeConv((2, 3), (2, 1), "zeros"), (2, 3)),
    (stacks.Dense((2, 3)), ()),
]


@pytest.mark.parametrize(
    ("layer", "size"), LEARNED, ids=lambda v: stacks.format_stack(v) if isinstance(v, stacks.Layer) else None
)
def test_a_learned_layer_sums_the_squares_of_what_its_weights_multiply(layer, size):
    ndim, channels, features = len(size) or 2, 2, 4
    layer = dataclasses.replace(layer, features=features)
    q = ramp(size) if size else np.array(1.0)
    init = functools.partial(stacks.init, stack=layer, channels=channels, ndim=ndim)
    base = jax.eval_shape(init, jax.random.key(0))[0]["kernel"]
    x = jnp.broadcast_to(jnp.asarray(np.sqrt(q)[..., None], jnp.float32), (1, *size, channels))

    @jax.jit
    def run(weights):
        if layer.initialiser == "icnr" and isinstance(layer, stacks.SubPixel):
            weights = ops.icnr(weights, scale=layer.scale, order=layer.order)
        elif layer.initialiser == "icnr":
            weights = ops.icnr_transpose(weights, stride=layer.stride)
        return stacks.apply(({"kernel": weights},), layer, x)

    tied = layer.initialiser == "icnr" and isinstance(layer, stacks.SubPixel)
    shape = (*base.shape[:-1], features) if tied else base.shape
    out = stacks.output_size(layer, size)
    # Independent weights: the second moment is their variance times the sum of the squares of the Jacobian.
    squares = (np.asarray(ops.as_matrix(run, shape), np.float64) ** 2).sum(axis=1).reshape(*out, features)
    options = {"channels": channels, "initialiser": "normal(0.3)", "input": q}
    own = dataclasses.replace(layer, initialiser=layer.initialiser and "icnr")
    variance = 0.3**2 if layer.initialiser is None else 1 / np.prod(base.shape[:-1])
    np.testing.assert_allclose(second_moments(own, size, **options), variance * squares.mean(axis=-1), rtol=RTOL)
    np.testing.assert_allclose(squares, squares[..., :1] * np.ones(features), rtol=RTOL)  # channels are alike


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (stacks.Upsample((2, 3)), (3, 2)),
        (stacks.Upsample(3, centres="sample"), (4,)),
        (stacks.Upsample(2, centres="corners"), (4,)),
        (stacks.Upsample(2, "zeros"), (2, 2, 2)),
        (stacks.Upsample(1, "cubic"), (4,)),
        (stacks.AvgPool(1, 2), (5,)),
        (stacks.Blur(1, 2), (5,)),
        (stacks.Hold(1), (4,)),
    ],
    ids=lambda v: stacks.format_stack(v) if isinstance(v, stacks.Layer) else None,
)
def test_a_fixed_layer_that_reads_one_sample_each_is_exact(layer, size):
    matrix = np.asarray(ops.as_matrix(lambda x: stacks.apply(({},), layer, x), (1, *size, 1)), np.float64)
    q = second_moments(layer, size, channels=3, input=ramp(size))
    np.testing.assert_allclose(q.ravel(), matrix**2 @ ramp(size).ravel(), rtol=RTOL)


@pytest.mark.parametrize(("stride", "size"), [(2, (5,)), ((2, 3), (4, 5)), (4, (9,))])
def test_an_l2_pool_takes_the_mean_of_squares(stride, size):
    layer = stacks.L2Pool(stride)
    squares = stacks.apply(({},), layer, jnp.asarray(np.sqrt(ramp(size))[None, ..., None], jnp.float32))[0, ..., 0] ** 2
    np.testing.assert_allclose(second_moments(layer, size, channels=1, input=ramp(size)), squares, rtol=RTOL)


# Channels


def test_joined_channels_keep_their_own_maps_until_a_learned_layer_mixes_them():
    x = ramp((4,))
    joined = "parallel(conv k1 c1 init=normal(2) | upsample scale=1, bias std=1) concat"
    q = second_moments(joined, 4, channels=2, input=x)
    np.testing.assert_allclose(q, (1 * (4 * 2 * x) + 2 * (x + 1)) / 3)
    q = second_moments(f"{joined}, conv k1 c5 init=normal(1)", 4, channels=2, input=x)
    np.testing.assert_allclose(q, 4 * 2 * x + 2 * (x + 1))


def test_groups_cut_joined_channels_where_they_fall():
    # Channels 0..5: four of a conv, two as they came; three groups of two channels, then a sum of two times three.
    text = "parallel(conv k1 c4 init=normal(1) | upsample scale=1) concat, conv k1 g3 c3 init=normal(1)"
    x = ramp((3,))
    np.testing.assert_allclose(second_moments(text, 3, channels=2, input=x), (4 * x + 4 * x + 2 * x) / 3)
    both = f"parallel({text} | conv k1 c3 init=normal(1)), relu"
    np.testing.assert_allclose(second_moments(both, 3, channels=2, input=x), ((10 / 3 * x) + 2 * x) / 2)
    # A group over unlike channels, with weights of its own for each: cut after three channels.
    text = "parallel(conv k1 c4 init=normal(1) | upsample scale=1) concat, conv k1 g2 c2 init=normal(1), relu"
    np.testing.assert_allclose(second_moments(text, 3, channels=2, input=x), (6 * x + 4 * x) / 4)


def test_each_layer_has_its_map():
    text, size = "deconv k3 s2, bias std=0.5, relu, residual(conv k1, relu, conv k1), conv k3", (3, 2)
    maps = second_moments(text, size, channels=2, width=3, per_layer=True)
    assert len(maps) == 5
    layers = stacks.parse_stack(text)
    for i, q in enumerate(maps, start=1):
        np.testing.assert_array_equal(q, second_moments(layers[:i], size, channels=2, width=3))


def test_variances_of_every_learned_layer():
    text = (
        "dense 4x4 c12 init=normal(3), conv k3 g2 c6, deconv k2x4 s1x2 g3 c9 init=he, bias std=0.7, subpixel k3 s2 c5,"
        "residual(subpixel k1 s1 icnr, relu, resize k3 s1), parallel(conv k1 c2 | deconv k2 s2 c2 icnr)"
    )
    found = stack_weights("f", text, channels=7, ndim=2, gains=(1, 2, 1, 1, 1, 1, 1, 10))
    expected = (
        Weights(9 * 7, False, 7, 12),
        Weights(2 / 9, False, 12, 6),
        Weights(2 / 8, False, 6, 9),
        0.7,
        Weights(1 / 9, False, 9, 5),
        (Weights(1, True, 5, 16), None, Weights(1 / 9, False, 16, 5)),
        ((Weights(1, False, 5, 2),), (Weights(10 / 4, True, 5, 2),)),
    )
    is_weights = lambda node: isinstance(node, Weights)  # noqa: E731
    found, structure = jax.tree.flatten(found, is_leaf=is_weights)
    expected, other = jax.tree.flatten(expected, is_leaf=is_weights)
    assert structure == other
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b)


# The overlap count


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("deconv k3 s2, relu, deconv k5 s3 valid, leaky_relu", (3,)),
        ("conv k3 s2, relu, deconv k5 s2, relu, deconv k3 s2", (5, 6)),
        ("subpixel k3 s2, relu, conv k3 d2 pad_mode=reflect, deconv k3 s2 op1", (4,)),
        ("resize k3 s3, relu, resize k2 s2, leaky_relu, deconv k4 s3", (2, 3)),
        ("deconv k3 s2, relu, deconv k3 s2", (2, 2, 2)),
        ("dense 3x2, relu, deconv k3 s2", ()),
    ],
)
def test_a_flat_input_without_bias_gives_the_overlap_count(text, size):
    q, paths = second_moments(text, size, channels=2, width=3), count(text, size)
    np.testing.assert_allclose(q / q.sum(), paths / paths.sum(), rtol=1e-12)
    biased = second_moments(f"{text}, bias std=1", size, channels=2, width=3)
    assert np.abs(biased / biased.sum() / (paths / paths.sum()) - 1).max() > 0.1


def test_a_bias_evens_the_pattern_out():
    text = "deconv k3 s2{0}, relu, deconv k3 s2{0}"
    half = f", bias std={0.5**0.5}"
    q = second_moments(text.format(half), 8, channels=1, width=1, initialiser="normal(1)")
    np.testing.assert_allclose(q[12:16] / q.min(), [2, 1.4, 2, 1])
    q = second_moments(text.format(""), 8, channels=1, width=1, initialiser="normal(1)")
    np.testing.assert_allclose(q[12:16] / q.min(), [3, 2, 3, 1])


# Derivatives


def test_derivatives_by_gains_and_input(mode):
    text = "deconv k3 s2, bias std=0.5, relu, residual(conv k3, relu, conv k1), deconv k3 s2"
    start = jnp.asarray(ramp((3,)), jnp.float32)

    def f(gains, x):
        return second_moments(text, 3, channels=2, width=2, input=x, gains=gains)

    gains = tuple(jnp.asarray([1.0, 0.5, 2.0, 1.5], jnp.float32))
    q = mode(f)(gains, start)
    assert isinstance(q, jax.Array)
    assert q.dtype == np.float32
    exact = second_moments(text, 3, channels=2, width=2, input=ramp((3,)), gains=[1.0, 0.5, 2.0, 1.5])
    assert isinstance(exact, np.ndarray)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(q, exact, rtol=RTOL)
    check_grads(jax.jit(f), (gains, start), order=1, eps=1e-2, rtol=1e-3, atol=1e-4)


# Input that cannot be read


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("conv k3, tanh", {}, "second_moments: layer 2 (tanh): its second moments need more than those of its input"),
        ("conv k3, erf", {}, "second_moments: layer 2 (erf): its second moments"),
        ("conv k3, batchnorm", {}, "second_moments: layer 2 (batchnorm): its second moments"),
        ("maxpool", {}, "second_moments: layer 1 (maxpool): its second moments"),
        ("resize k3 linear", {}, "second_moments: layer 1 (resize k3 method=linear): it adds neighbouring samples"),
        ("conv k3, blur", {}, "second_moments: layer 2 (blur): it adds neighbouring samples"),
        ("residual(conv k3, hold)", {}, "layer 1 (residual(conv k3, hold)): layer 2 (hold): it adds"),
        ("parallel(conv k1 | avgpool k2 s1 p0) concat", {}, "branches must give equal sizes"),
        ("conv k3", {"input": -1.0}, "second_moments: input must be at least 0, for it is a mean of squares; got -1.0"),
        ("conv k3", {"input": np.nan}, "second_moments: input must be finite; 1 of 1 values are not"),
        ("conv k3", {"input": np.ones(3)}, "input must be a number or an array of shape (4,); got shape (3,)."),
        ("conv k3", {"gains": [1.0, 2.0]}, "gains must have one number for each of the 1 learned layers"),
        ("conv k3 g3", {}, "second_moments: layer 1 (conv k3 g3): groups must divide the channels"),
        ("conv k9 valid", {}, "second_moments: layer 1 (conv k9 valid)"),
    ],
)
def test_errors_say_where_and_what_to_do(text, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        second_moments(text, 4, channels=2, **options)


def test_an_input_that_is_no_number():
    with pytest.raises(TypeError, match=r"second_moments: input must be a number or an array of numbers; got 'white'"):
        second_moments("conv k3", 4, channels=2, input="white")


# Sign flips, by trying all of them


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 15), st.lists(st.integers(0, 15), max_size=3)), min_size=2, max_size=2))
def test_signs_agree_with_all_flips(pair):
    def acts(sign):
        odd = lambda mask, flip: (mask & flip).bit_count() % 2  # noqa: E731
        kept = [flip for flip in range(16) if not any(odd(mask, flip) for mask in sign.tied)]
        return {flip: odd(sign.odd, flip) for flip in kept}

    a, b = (signs.Sign(odd, tuple(tied)) for odd, tied in pair)
    on_a, on_b = acts(a), acts(b)
    both = set(on_a) & set(on_b)
    assert signs.is_symmetric(a) == any(on_a.values())
    assert signs.are_orthogonal(a, b) == any(on_a[flip] != on_b[flip] for flip in both)
    assert acts(signs.added([a, b])) == {flip: on_a[flip] for flip in both if on_a[flip] == on_b[flip]}
    assert acts(signs.rectified(a)) == {flip: 0 for flip, sign in on_a.items() if not sign}
    assert acts(signs.times(a, 16)) == on_a
    assert list(itertools.islice(signs.sources(), 4)) == [1, 2, 4, 8]

"""`init` and `apply`: shapes, scales and order of parameters; every layer against float64 NumPy."""

import pathlib
import runpy
import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax.stacks import apply, init, init_from_normals, normal_count, output_channels, parse_stack

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("stack_oracles.py"))))

ROUNDING = 3e-5  # relative to the largest output: 256 float32 roundings, as sums of up to a thousand terms may need


def structure(params):
    """Shapes in place of arrays."""
    return jax.tree.map(np.shape, params)


def test_params_have_the_layout_of_their_operators():
    stack = (
        "dense 4x3 c6, bias, batchnorm, conv k3x5 g2 c4, relu, deconv k4 s2 g2 c6, resize k3 c5, subpixel k3 s2x3 c2, "
        "residual(conv k3 c7, conv k1), parallel(conv k1 c2 | maxpool k1 s1), parallel(relu | conv k3 c4) concat"
    )
    params = init(jax.random.key(0), stack, channels=10)
    assert structure(params) == (
        {"kernel": (10, 4, 3, 6)},
        {"bias": (6,)},
        {},
        {"kernel": (3, 5, 3, 4)},
        {},
        {"kernel": (4, 4, 4, 3)},
        {"kernel": (3, 3, 6, 5)},
        {"kernel": (3, 3, 5, 12)},
        ({"kernel": (3, 3, 2, 7)}, {"kernel": (1, 1, 7, 2)}),
        (({"kernel": (1, 1, 2, 2)},), ({},)),
        (({},), ({"kernel": (3, 3, 2, 4)},)),
    )
    assert output_channels(stack, 10) == 6
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_an_int_size_is_for_any_rank(ndim):
    params = init(jax.random.key(0), "dense 2, deconv k3 s2, subpixel k2 c1", channels=3, ndim=ndim, width=2)
    assert structure(params) == (
        {"kernel": (3, *(2,) * ndim, 2)},
        {"kernel": (*(3,) * ndim, 2, 2)},
        {"kernel": (*(2,) * ndim, 2, 2**ndim)},
    )
    assert apply(params, "dense 2, deconv k3 s2, subpixel k2 c1", jnp.ones((5, 3))).shape == (5, *(8,) * ndim, 1)


# with normals that are all one, every weight is the initialiser's standard deviation
STDS = {
    "conv k5x3 c2": (15 * 8) ** -0.5,
    "conv k3 c4 g4": (9 * 2) ** -0.5,
    "deconv k4 s2 c2": (16 * 8) ** -0.5,
    "deconv k4 s2 c4 g2": (16 * 4) ** -0.5,
    "resize k3 s4 c2": (9 * 8) ** -0.5,
    "subpixel k3 s2 c2": (9 * 8) ** -0.5,
    "dense 4x4 c2": 8**-0.5,
}


@pytest.mark.parametrize("text", STDS)
def test_initialisers_scale_by_fan_in(text):
    for initialiser, std in [
        ("lecun", STDS[text]),
        ("he", 2**0.5 * STDS[text]),
        ("icnr", STDS[text]),
        ("normal(0.05)", 0.05),
    ]:
        count = normal_count(text, channels=8, initialiser=initialiser)
        (params,) = init_from_normals(jnp.ones(count), text, channels=8, initialiser=initialiser)
        np.testing.assert_allclose(params["kernel"], std, rtol=1e-6)  # one rounding of std, one of the product
    (own,) = init_from_normals(jnp.ones(9999), f"{text} initialiser=normal(3.0)", channels=8, initialiser="he")
    np.testing.assert_array_equal(own["kernel"], 3)


def test_weights_are_independent_standard_normals_times_std():
    (params,) = init(jax.random.key(3), "deconv k5 s2 c40", channels=50)
    weights = np.asarray(params["kernel"], np.float64).ravel() * (25 * 50) ** 0.5
    n = weights.size  # 50,000: means and correlations have standard error 1 / sqrt(n), the variance sqrt(2 / n)
    assert abs(weights.mean()) < 5 * n**-0.5
    assert abs(weights.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((weights**4).mean() - 3) < 5 * (96 / n) ** 0.5
    assert all(abs((weights[lag:] * weights[:-lag]).mean()) < 5 * n**-0.5 for lag in (1, 2, 40, 2000))


def test_normals_are_sliced_in_reading_order():
    stack = "conv k1 c2, residual(bias std=1, conv k1), parallel(conv k1 c1 | deconv k2 s2 c1) concat, bias"
    count = normal_count(stack, channels=1, ndim=1)
    assert count == 2 + (2 + 4) + (2 + 4) + 2
    params = init_from_normals(jnp.arange(1.0 * count), stack, channels=1, ndim=1, initialiser="normal(1)")
    flat = [np.ravel(leaf).tolist() for leaf in jax.tree.leaves(params)]
    assert flat == [[0, 1], [2, 3], [4, 5, 6, 7], [8, 9], [10, 11, 12, 13], [0, 0]]


class Options(typing.TypedDict):
    channels: int
    width: int


STACK = "dense 3, bias std=0.1, deconv k4 s2 icnr, relu, residual(conv k3), subpixel k3 icnr c2"


def test_init_is_one_draw_and_its_prefix_is_enough():
    key, options = jax.random.key(7), Options(channels=4, width=3)
    count = normal_count(STACK, **options)
    params = init(key, STACK, **options)
    again = init(key, parse_stack(STACK), **options)
    drawn = init_from_normals(jax.random.normal(key, (count,)), STACK, **options)
    longer = init_from_normals(jax.random.normal(key, (3 * count + 5,)), STACK, **options)
    other = init(jax.random.key(8), STACK, **options)
    for leaf, *same, different in zip(*map(jax.tree.leaves, (params, again, drawn, longer, other))):
        for value in same:
            np.testing.assert_array_equal(leaf, value)
        assert np.all(np.asarray(leaf) != np.asarray(different))


def test_init_from_normals_runs_under_jit_and_vmap(rng):
    options = Options(channels=4, width=3)
    normals = rng.normal(size=(2, normal_count(STACK, **options))).astype(np.float32)
    batch = jax.jit(jax.vmap(lambda row: init_from_normals(row, STACK, **options)))(normals)
    for i in range(2):
        for many, one in zip(jax.tree.leaves(batch), jax.tree.leaves(init_from_normals(normals[i], STACK, **options))):
            np.testing.assert_allclose(many[i], one, rtol=1e-6)  # a product may be fused: one rounding


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_params_and_outputs_have_the_dtype_asked_for(rng, dtype):
    (drawn,) = init(jax.random.key(0), "conv k1 c2", channels=2, dtype=dtype)
    assert drawn["kernel"].dtype == jnp.dtype(dtype)
    stack = f"{STACK}, batchnorm, hold, blur, l2pool, leaky_relu, avgpool, upsample linear"
    normals = jnp.asarray(rng.normal(size=normal_count(stack, channels=4, width=3)), dtype)
    params = init_from_normals(normals, stack, channels=4, width=3)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    out = jax.eval_shape(lambda params, x: apply(params, stack, x), params, jnp.ones((2, 4), dtype))
    assert out.dtype == jnp.dtype(dtype)


@pytest.mark.parametrize("order", ["depth_first", "channel_first"])
@pytest.mark.parametrize("upsampler", ["subpixel k3 s2 c3", "deconv k4 s2 c3 p0"])
def test_icnr_gives_constant_blocks(rng, upsampler, order):
    text = f"{upsampler} order={order}" if upsampler.startswith("subpixel") else upsampler
    x = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    params = init(jax.random.key(1), text, channels=3, initialiser="icnr")
    y = np.asarray(apply(params, text, x))
    blocks = y.reshape(2, y.shape[1] // 2, 2, y.shape[2] // 2, 2, 3)
    np.testing.assert_allclose(blocks, np.broadcast_to(blocks[:, :, :1, :, :1], blocks.shape), atol=1e-5)  # sums of 27
    assert blocks[:, :, 0, :, 0].std() > 0.3


def test_icnr_draws_only_the_filters_that_are_free_of_a_subpixel_layer():
    assert normal_count("subpixel k3 s2 c5", channels=2, initialiser="icnr") == 9 * 2 * 5
    assert normal_count("subpixel k3 s2 c5", channels=2, initialiser="lecun") == 9 * 2 * 5 * 4


def channels_of(params):
    return [leaf.shape[-1] for leaf in jax.tree.leaves(params)]


def test_width_is_one_for_all_or_one_for_each_layer_without_features():
    stack = "conv k1, conv k1 c9, residual(conv k1, relu, conv k1, tanh), parallel(conv k1 | conv k1), conv k1"
    assert channels_of(init(jax.random.key(0), stack, channels=2, width=5)) == [5, 9, 5, 9, 5, 5, 5]
    widths = (1, 2, 3, 3, 4)
    assert channels_of(init(jax.random.key(0), stack, channels=2, width=widths)) == [1, 9, 2, 9, 3, 3, 4]
    assert output_channels(stack, 2, width=widths) == 4
    with pytest.raises(ValueError, match=r"init: width must be an int or 5 ints, one for each learned layer without"):
        init(jax.random.key(0), stack, channels=2, width=(1, 2, 3))


def test_residual_branches_keep_the_channels_that_come_in():
    nested = "residual(conv k1, parallel(conv k1 | residual(conv k1), conv k3 c6, conv k1), relu)"
    assert channels_of(init(jax.random.key(0), nested, channels=3, width=5)) == [5, 3, 5, 6, 3]
    assert channels_of(init(jax.random.key(0), "residual(conv k1, residual(conv k1))", channels=3)) == [3, 3]
    with pytest.raises(ValueError, match=r"layer 1 \(residual\(conv k1 c4\)\): the inner stack must keep the 3 chan"):
        init(jax.random.key(0), "residual(conv k1 c4)", channels=3)


# text, spatial size, channels; a latent has size ()
CASES = [
    ("conv k3 s2 c3", (7,), 2),
    ("conv k3x2 s1x3 c4 g2 d2x1 pad_mode=reflect", (6, 5), 4),
    ("conv k4 s3 c2 pad_mode=edge", (8,), 1),
    ("conv k5 c2 pad_mode=symmetric p1:2x3:0", (4, 6), 1),
    ("conv k3 c2 pad_mode=wrap p2", (4, 3), 2),
    ("conv k3 c2 valid pad_mode=reflect", (5,), 2),
    ("conv k3 c2", (3, 4, 3), 2),
    ("deconv k5 s2 c3", (4, 3), 2),
    ("deconv k3x4 s2x3 c4 g2 p1:0x1:2 op1x2", (3, 4), 2),
    ("deconv k3 s2 d3 c2 valid", (4,), 2),
    ("deconv k2 s3 c1 op1", (4,), 2),
    ("resize k3 c2", (3, 4), 2),
    ("resize k4 s3x2 linear c2 p2:0x1:1 pad_mode=reflect", (3, 4), 1),
    ("resize k3 linear sample c2 valid", (4,), 2),
    ("resize k3 method=zeros pad_mode=edge c2", (4,), 2),
    ("upsample s3 linear corners", (4,), 2),
    ("upsample s2x3 nearest sample", (3, 2), 2),
    ("subpixel k3 s2x3 c2", (3, 4), 2),
    ("subpixel k2 s3 c2 channel_first valid", (5,), 2),
    ("dense 3x2 c2", (), 4),
    ("dense 5 c2", (), 4),
    ("bias std=2.0", (3, 2), 4),
    ("bias std=2.0", (), 4),
    ("relu", (4,), 2),
    ("leaky_relu slope=0.3", (4,), 2),
    ("tanh", (4,), 2),
    ("batchnorm std=0.5 epsilon=0.1", (3, 4), 2),
    ("batchnorm unit", (3,), 2),
    ("batchnorm", (), 3),
    ("maxpool k3 s2 p1", (6, 5), 2),
    ("maxpool", (5,), 2),
    ("avgpool k3x2 s2x1 same", (5, 4), 2),
    ("l2pool s3", (7,), 2),
    ("l2pool s2x1 valid", (5, 4), 1),
    ("blur k4 s2", (7, 6), 2),
    ("blur k3 p1:0 pad_mode=wrap", (5,), 2),
    ("hold s4 order=1", (9,), 2),
    ("hold s2x3 order=2 pad_mode=edge p1:2x0:3", (6, 7), 1),
    ("hold s3 valid", (5,), 1),
    ("residual(conv k3, tanh, residual(bias std=1.0))", (4,), 2),
    ("parallel(conv k3 c2 | avgpool k1 s1, deconv k2 c2 | conv k1 c2, relu)", (4,), 2),
    ("parallel(conv k3 c2 s2 | maxpool | conv k1 s2) concat", (4, 4), 2),
]


@pytest.mark.parametrize(("text", "size", "channels"), CASES, ids=[f"{text}-{len(size)}d" for text, size, _ in CASES])
def test_apply_agrees_with_loops(mode, rng, text, size, channels):
    normals = rng.normal(size=2000).astype(np.float32)
    params = init_from_normals(
        normals, text, channels=channels, ndim=max(len(size), 1) if size else text.count("x") + 1
    )
    x = rng.normal(size=(3, *size, channels)).astype(np.float32)
    y = mode(lambda params, x: apply(params, text, x, precision="highest"))(params, x)
    expected = oracle.run(params, parse_stack(text), x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


SMOOTH = (
    "dense 3x3 c4, batchnorm unit std=0.7, deconv k4 s2 c3 icnr, bias std=0.3, leaky_relu, "
    "residual(conv k3 pad_mode=reflect, batchnorm, tanh), parallel(resize k3 linear c2 | subpixel k3 c2), "
    "hold s2 order=1, blur k3 s2, l2pool s2, maxpool"
)


def test_gradients_agree_with_differences_of_the_loops(rng):
    stack = parse_stack(SMOOTH)
    count = normal_count(SMOOTH, channels=3)
    params, step = (init_from_normals(rng.normal(size=count).astype(np.float32), SMOOTH, channels=3) for _ in range(2))
    x = rng.normal(size=(4, 3)).astype(np.float32)
    weights = rng.normal(size=oracle.run(params, stack, x).shape)

    def loss(params):
        return jnp.vdot(apply(params, SMOOTH, x, precision="highest"), weights.astype(np.float32))

    slope = sum(np.vdot(g, s) for g, s in zip(*map(jax.tree.leaves, (jax.jit(jax.grad(loss))(params), step))))

    def moved(t):
        there = jax.tree.map(lambda p, s: np.asarray(p, np.float64) + t * np.asarray(s, np.float64), params, step)
        return np.vdot(oracle.run(there, stack, x), weights)

    # central differences err by t^2 (1e-10, relative); float32 gradients through eleven layers by about 1e-5
    assert slope == pytest.approx((moved(1e-5) - moved(-1e-5)) / 2e-5, rel=1e-3)
    assert abs(slope) > 0.01


def test_apply_vmaps_over_params_and_fields(rng):
    text = "deconv k3 s2 c2, relu, conv k3 c1"
    params = [init_from_normals(rng.normal(size=99).astype(np.float32), text, channels=2, ndim=1) for _ in range(2)]
    x = rng.normal(size=(2, 1, 4, 2)).astype(np.float32)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    many = jax.vmap(lambda p, x: apply(p, text, x))(stacked, x)
    for i in range(2):
        np.testing.assert_allclose(many[i], apply(params[i], text, x[i]), rtol=0, atol=1e-5)  # other summation order


def test_a_stack_of_layers_runs_as_its_text_does(rng):
    x = rng.normal(size=(1, 5, 2)).astype(np.float32)
    params = init(jax.random.key(0), "conv k3, relu", channels=2, ndim=1)
    np.testing.assert_array_equal(
        apply(params, list(parse_stack("conv k3, relu")), x), apply(params, "conv k3, relu", x)
    )
    (only,) = parse_stack("conv k3")
    assert apply(list(params[:1]), only, x).shape == (1, 5, 16)

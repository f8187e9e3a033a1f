"""`Conv` of linen and nnx: Flax's over a drawn grid, what it has beyond, its forms and errors."""

import functools
import math
import pathlib
import runpy
import types
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import checkerjax.nn.linen as cnn
import checkerjax.nn.nnx as cnnx

pairs = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("flax_pairs.py"))))
CHANNELS = {1: (4, 6), 2: (4, 2), 3: (2, 2)}


@st.composite
def flax_arguments(draw):
    """A size of input, and arguments that Flax takes."""
    ndim = draw(st.sampled_from([1, 1, 2, 2, 3]))

    def per_axis(choices):
        return tuple(draw(st.sampled_from(choices)) for _ in range(ndim))

    k, s, d = (per_axis([1, 2, 3, 4][: 5 - ndim]), per_axis([1, 2, 3][: 4 - ndim // 2]), per_axis([1, 1, 2]))
    stretch = per_axis(draw(st.sampled_from([[1], [1], [1, 2, 3]])))
    spans = [d_ * (k_ - 1) + 1 for k_, d_ in zip(k, d)]
    size = tuple(draw(st.integers(-(-n // e) + 1, -(-n // e) + 3)) for n, e in zip(spans, stretch))
    strings = ["SAME", "VALID", "CIRCULAR", "REFLECT", "SAME_LOWER", *(["CAUSAL"] if ndim == 1 else [])]
    padding = draw(st.sampled_from([*(strings if math.prod(stretch) == 1 else []), "int", "ints", "pairs"]))
    if padding == "int":
        padding = draw(st.integers(0, 3))
    elif padding == "ints":
        padding = tuple(draw(st.integers(0, 3)) for _ in k)
    elif padding == "pairs":  # negative ones crop
        padding = tuple((draw(st.integers(-1, 3)), draw(st.integers(0, 3))) for _ in k)
    arguments = {
        "kernel_size": k,
        "strides": draw(st.sampled_from([s, list(s)])) if set(s) != {1} else draw(st.sampled_from([None, 1, s])),
        "input_dilation": stretch if set(stretch) != {1} else draw(st.sampled_from([None, 1, stretch])),
        "kernel_dilation": d if set(d) != {1} else draw(st.sampled_from([None, 1, d])),
        "feature_group_count": draw(st.sampled_from([1, 1, 2])),
        "padding": padding,
        "use_bias": draw(st.booleans()),
        "mask": draw(st.booleans()),
        "dtype": draw(st.sampled_from([None, jnp.float32])),
    }
    return draw(st.sampled_from([(), (2,), (2, 1)])), size, arguments


def compare(flavour, case):
    batch, size, arguments = case
    inputs, outputs = CHANNELS[len(size)]
    shape = (*arguments["kernel_size"], inputs // arguments["feature_group_count"], outputs)
    pairs.compare(flavour, "Conv", shape, (*batch, *size, inputs), outputs, arguments)


@given(case=flax_arguments())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_linen_values_and_gradients_are_flaxs(case):
    compare("linen", case)


@given(case=flax_arguments())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_nnx_values_and_gradients_are_flaxs(case):
    compare("nnx", case)


def test_where_lax_is_slow_the_gradients_take_another_form():
    field, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((32, 32, 32, 64), (5, 5, 64, 128)))

    def program(package):
        layer = package.Conv(128, (5, 5), (2, 2), use_bias=False)
        loss = lambda k, x: layer.apply({"params": {"kernel": k}}, x).sum()  # noqa: E731
        return jax.jit(jax.grad(loss, (0, 1))).lower(kernel, field).as_text("hlo")

    assert "lhs_dilate=2x2" in program(flax.linen)  # zeros stretched in, and products with them
    assert "lhs_dilate=2x2" not in program(cnn)


def test_a_stretched_field_alone_is_a_transposed_convolution(rng):
    x = rng.normal(size=(2, 5, 4, 3)).astype("f4")
    layer = cnn.Conv(4, (3, 3), padding=((2, 2), (1, 1)), input_dilation=(2, 3), use_bias=False)
    y, variables = layer.init_with_output(jax.random.key(0), x)
    up = cnn.ConvTranspose(4, (3, 3), (2, 3), padding=((2, 2), (1, 1)), use_bias=False)
    expected: Any = up.apply(variables, x)
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize(("k", "s"), [((5,), (2,)), ((4, 5), (2, 3))])
@pytest.mark.parametrize("flavour", ["linen", "nnx"])
def test_equal_gains_give_a_flat_cotangent_a_flat_gradient_for_any_parameters(rng, flavour, k, s):
    size = tuple(8 * n for n in s)
    x = jnp.zeros((1, *size, 3))
    if flavour == "linen":
        layer: Any = cnn.Conv(2, k, s, equal_gains=True)
        params = layer.init(jax.random.key(0), x)["params"]
        run = lambda p: lambda x: layer.apply({"params": {**params, "kernel": p}}, x)  # noqa: E731
    else:
        layer = cnnx.Conv(3, 2, k, s, equal_gains=True, rngs=nnx.Rngs(0))
        params = {"kernel": layer.kernel[...]}

        def run(p):
            layer.kernel[...] = p
            return layer

    assert params["kernel"].shape == (*(a - b + 1 for a, b in zip(k, s)), 3, 2)
    p = jnp.asarray(rng.normal(size=params["kernel"].shape), jnp.float32)
    y, pull = jax.vjp(run(p), x)
    (gradient,) = pull(jnp.ones_like(y))
    inner = gradient[(0, *(slice(2 * b, -2 * b) for b in s))].reshape(-1, 3)
    np.testing.assert_allclose(inner, np.broadcast_to(inner[0], inner.shape), atol=1e-5)
    assert np.abs(inner[0]).min() > 1e-3


def test_a_discriminators_checkpoint_is_read(rng):
    class Discriminator(flax.linen.Module):
        package: Any

        @flax.linen.compact
        def __call__(self, x):
            for width in (8, 16):
                x = flax.linen.leaky_relu(self.package.Conv(width, (5, 5), (2, 2))(x), 0.2)
            return x

    x = rng.normal(size=(2, 16, 16, 3)).astype("f4")
    y, old = Discriminator(flax.linen).init_with_output(jax.random.key(0), x)
    new, variables = Discriminator(cnn).init_with_output(jax.random.key(0), x)
    own: Any = Discriminator(cnn).apply(old, x)
    np.testing.assert_allclose(own, y, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, variables, old)
    assert new.shape == (2, 4, 4, 16)


def test_ranks_need_no_promotion(rng):
    x = rng.normal(size=(2, 8, 3)).astype("f4")
    with jax.numpy_rank_promotion("raise"):
        for shape in (x.shape, (1, *x.shape), x.shape[1:], (0, *x.shape[1:])):
            field = jnp.asarray(np.resize(x, shape))
            y: Any = cnn.Conv(2, 3, 2).init_with_output(jax.random.key(0), field)[0]
            assert y.shape == (*shape[:-2], 4, 2)
            assert cnnx.Conv(3, 2, 3, 2, rngs=nnx.Rngs(0))(field).shape == y.shape


@pytest.mark.parametrize("wide", [None, jnp.float32])
def test_narrow_numbers_are_summed_as_asked(rng, wide):
    x, kernel = rng.normal(size=(1, 9, 4)), rng.normal(size=(3, 4, 2))
    options: Any = {"strides": 2, "use_bias": False, "dtype": jnp.bfloat16, "preferred_element_type": wide}
    out: Any = cnn.Conv(2, 3, **options).apply({"params": {"kernel": jnp.asarray(kernel, jnp.float32)}}, jnp.asarray(x))
    layers = [package.Conv(4, 2, 3, rngs=nnx.Rngs(0), **options) for package in (cnnx, nnx)]
    for layer in layers:
        layer.kernel[...] = jnp.asarray(kernel, jnp.float32)
    expected = layers[1](jnp.asarray(x))
    for own in (out, layers[0](jnp.asarray(x))):
        assert own.dtype == expected.dtype == (wide or jnp.bfloat16)
        np.testing.assert_allclose(own.astype("f4"), expected.astype("f4"), rtol=1e-5 if wide else 1e-2)


@pytest.mark.parametrize("padding", ["SAME", "valid", "CIRCULAR", "CAUSAL", 1, (2,), ((1, 2),)])
def test_another_convolution_takes_laxs_place_and_is_called_as_by_flax(rng, padding):
    calls = []

    def doubled(x, kernel, strides, padding, **options):
        if not isinstance(padding, str):  # after CIRCULAR and CAUSAL Flax says "VALID", which is the same
            padding = "VALID" if padding == [(0, 0)] else padding
        calls.append((strides, padding, options))
        return 2 * lax.conv_general_dilated(x, kernel, strides, padding, **options)

    x = rng.normal(size=(2, 6, 3)).astype("f4")
    given: Any = {"conv_general_dilated": doubled, "padding": padding}
    _, variables = flax.linen.Conv(2, 3, padding=padding).init_with_output(jax.random.key(0), x)
    makes: Any = {"conv_general_dilated_cls": lambda: doubled, "padding": padding}
    for options in (given, makes):
        own, flaxs = (package.Conv(2, 3, **options).apply(variables, x) for package in (cnn, flax.linen))
        np.testing.assert_array_equal(own, flaxs)
    for wide in (None, jnp.float32):
        own, flaxs = (
            package.Conv(3, 2, 3, preferred_element_type=wide, **given, rngs=nnx.Rngs(0))(x) for package in (cnnx, nnx)
        )
        np.testing.assert_array_equal(own, flaxs)
    for own, flaxs in zip(calls[::2], calls[1::2]):
        assert own[2] == flaxs[2]
        assert own[:2] == flaxs[:2] or padding == "CAUSAL"  # zeros are added before there, within the call here


def test_laxs_own_convolution_is_not_another():
    text = str(jax.make_jaxpr(cnn.Conv(2, 3, conv_general_dilated=lax.conv_general_dilated).init)(
        jax.random.key(0), jnp.ones((1, 4, 3))
    ))  # fmt: skip
    assert "checkerjax_gather" in text


def test_a_mask_that_is_replaced_is_checked():
    for layer in (cnnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0)), cnnx.ConvTranspose(3, 4, (3, 3), rngs=nnx.Rngs(0))):
        layer.mask = nnx.data(jnp.ones((1, 1, 3, 4)))
        with pytest.raises(ValueError, match="mask must have the shape of the kernel"):
            layer(jnp.ones((1, 8, 8, 3)))


class Down(flax.linen.Module):
    arguments: Any

    @flax.linen.compact
    def __call__(self, x):
        return cnn.Conv(**{"features": 4, "kernel_size": (3, 3), **self.arguments}, name="down")(x)


WRONG = {
    "strides": ({"strides": 0}, "strides must be"),
    "strides a float": ({"strides": 2.0}, "strides must be an int; got 2.0"),
    "padding": ({"padding": "FULL"}, "padding must be 'SAME', .* got 'FULL'"),
    "causal": ({"padding": "CAUSAL"}, "padding must be .*one axis only.* got 'CAUSAL'"),
    "pairs": ({"padding": ((1, 1),)}, r"padding must have one int .* axes HW; got \(\(1, 1\),\)"),
    "stretched": ({"input_dilation": 2}, "padding must be numbers where input_dilation is not 1; got 'SAME'"),
    "groups": ({"feature_group_count": 2}, "feature_group_count=2 must divide the input channels; got 3"),
    "features": ({"feature_group_count": 3}, "feature_group_count=3 must divide the features; got 4"),
    "too long": ({"padding": "VALID", "kernel_dilation": 9}, "axis H of x is 8, .* shorter than the 19 samples"),
    "mask": ({"mask": np.ones((3, 3))}, r"mask must have the shape of the kernel, \(3, 3, 3, 4\); got \(3, 3\)"),
    "both": ({"mask": np.ones((3, 3, 3, 4)), "equal_gains": True}, "mask and equal_gains exclude each other"),
    "gains": ({"equal_gains": True, "strides": 2, "kernel_dilation": 2}, "equal_gains needs strides and kernel_"),
    "gains up": ({"equal_gains": True, "input_dilation": 2, "padding": 1}, "equal_gains needs input_dilation=1"),
    "wide": ({"preferred_element_type": jnp.float16}, "preferred_element_type must be of the kind of float32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_name_the_module_and_the_argument(case):
    arguments, message = WRONG[case]
    with pytest.raises((ValueError, TypeError), match=f"^Conv at down: {message}"):
        Down(arguments).init(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
    with pytest.raises((ValueError, TypeError), match=f"^Conv: {message}"):
        cnnx.Conv(3, 4, (3, 3), **arguments, rngs=nnx.Rngs(0))(jnp.ones((1, 8, 8, 3)))


def test_nnx_inputs_with_other_channels_are_an_error():
    layer = cnnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"^Conv: inputs must have 3 channels, as the kernel has; got 2"):
        layer(jnp.ones((1, 8, 8, 2)))
    with pytest.raises(TypeError, match=r"^Conv: rngs must be nnx\.Rngs"):
        cnnx.Conv(3, 4, (3, 3), rngs=0)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("build", [functools.partial(cnn.Conv, 4), functools.partial(cnnx.Conv, 3, 4)])
def test_it_is_flaxs_kind_of_layer(build):
    layer = build((3, 3), **({"rngs": nnx.Rngs(0)} if build.func is cnnx.Conv else {}))
    assert isinstance(layer, (flax.linen.Conv, nnx.Conv))

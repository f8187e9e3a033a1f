"""The other layers: linen and nnx alike, the operators that they run, what they are named for; and their errors."""

import functools
import inspect
import re
import subprocess
import sys
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import checkerjax.nn.linen as cnn
import checkerjax.nn.nnx as cnnx
from checkerjax import conv, conv_transpose, depth_to_space, downsample, resize_conv, subpixel_conv, upsample
from checkerjax.nn import initializers
from checkerjax.ops._additive import bilinear_additive
from checkerjax.ops._carafe import carafe
from checkerjax.ops._fir import fir_conv
from checkerjax.ops._hold import hold
from checkerjax.ops._large_context import large_context_conv_transpose
from checkerjax.ops._pixel_transposed import pixel_transposed_conv

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def _subpixel_by_phase(x, kernel, bias):
    return depth_to_space(conv(x, kernel, padding="VALID") + bias, block=(2, 3), order="channel_first")


def _pixel(x, kernel_0, kernel_1, kernel_2, bias_0, bias_1):
    return pixel_transposed_conv(x, (kernel_0, kernel_1, kernel_2), biases=(bias_0, bias_1))


def _carafe(x, compress_kernel, encode_kernel, compress_bias, encode_bias):
    scores = conv(conv(x, compress_kernel) + compress_bias, encode_kernel) + encode_bias
    return carafe(x, scores, scale=(2, 1), window=3, order="channel_first")


# spatial axes, layer, options, and the layer as a function of the field and its parameters
LEARNED: dict[str, Any] = {
    "resize": (
        2, "ResizeConv", {"kernel_size": (3, 2), "scale": (2, 3), "method": "linear", "pad_mode": "reflect"},
        lambda x, kernel, bias: resize_conv(x, kernel, scale=(2, 3), method="linear", pad_mode="reflect") + bias,
    ),
    "resize, fir": (
        1, "ResizeConv", {"kernel_size": 3, "method": "fir", "taps": [1.0, 3.0, 3.0, 1.0], "padding": [[1, 2]]},
        lambda x, kernel, bias: resize_conv(
            x, kernel, scale=2, method="fir", taps=(1.0, 3.0, 3.0, 1.0), padding=((1, 2),)
        ) + bias,
    ),
    "sub-pixel": (
        3, "SubPixelConv", {"kernel_size": (3, 1, 2), "scale": 2},
        lambda x, kernel, bias: subpixel_conv(x, kernel, scale=2) + bias,
    ),
    "sub-pixel, PyTorch": (
        2, "SubPixelConv",
        {"kernel_size": (3, 3), "scale": (2, 3), "order": "channel_first", "bias_per_phase": True, "padding": "VALID"},
        _subpixel_by_phase,
    ),
    "fir up": (
        2, "FIRConv", {"kernel_size": (3, 3), "up": 2},
        lambda x, kernel, bias: fir_conv(x, kernel, up=2) + bias,
    ),
    "fir down": (
        1, "FIRConv", {"kernel_size": [3], "down": [3], "taps": [1.0, 2.0, 1.0]},
        lambda x, kernel, bias: fir_conv(x, kernel, down=3, taps=(1.0, 2.0, 1.0)) + bias,
    ),
    "large context": (
        2, "LargeContextUpsample", {"kernel_size": (7, 7), "small_size": (3, 3)},
        lambda x, kernel, small_kernel, bias: large_context_conv_transpose(x, kernel, small_kernel) + bias,
    ),
    "pixel transposed": (2, "PixelTransposedConv", {"kernel_size": (3, 3)}, _pixel),
    "carafe": (
        2, "CARAFE", {"kernel_size": (3, 3), "scale": (2, 1), "window": 3, "compressed": 5, "order": "channel_first"},
        _carafe,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LEARNED.values(), ids=LEARNED)
def test_learned_layers_are_their_operators_in_linen_and_nnx(rng, case):
    ndim, name, options, run = case
    x = jnp.asarray(draw(rng, 2, *(6, 5, 4)[:ndim], 3))
    features = () if name == "CARAFE" else (4,)
    bias = {"bias_init": jax.nn.initializers.normal(1.0)}
    linen = getattr(cnn, name)(*features, **options, **bias)
    expected, variables = linen.init_with_output(jax.random.key(0), x)
    params = variables["params"]
    np.testing.assert_allclose(expected, run(x, **params), **ROUNDING)
    layer = getattr(cnnx, name)(3, *features, **options, **bias, rngs=nnx.Rngs(0))
    state = nnx.state(layer)
    assert {str(path[0]): leaf.shape for path, leaf in nnx.to_flat_state(state)} == jax.tree.map(jnp.shape, params)
    nnx.update(layer, nnx.State({k: nnx.Param(v) for k, v in params.items()}))
    np.testing.assert_array_equal(nnx.jit(lambda m, x: m(x))(layer, x), jax.jit(linen.apply)(variables, x))
    several = jnp.stack([x, 2 * x, -x])
    apart = linen.apply(variables, several)
    np.testing.assert_allclose(apart[2], linen.apply(variables, -x), **ROUNDING)
    np.testing.assert_allclose(linen.apply(variables, x[0]), expected[0], **ROUNDING)
    bare = getattr(cnn, name)(*features, **options, use_bias=False).init(jax.random.key(0), x)["params"]
    assert set(bare) == {k for k in params if "bias" not in k}


@pytest.mark.parametrize("case", LEARNED.values(), ids=LEARNED)
def test_learned_layers_keep_to_flaxs_dtype_rule(case):
    ndim, name, options, _ = case
    x = jnp.ones((1, *(6, 5, 4)[:ndim], 3), jnp.bfloat16)
    features = () if name == "CARAFE" else (4,)
    with jax.numpy_dtype_promotion("standard"):
        for options_, dtype in (({}, jnp.float32), ({"param_dtype": jnp.bfloat16}, jnp.bfloat16)):
            y, _ = getattr(cnn, name)(*features, **options, **options_).init_with_output(jax.random.key(0), x)
            assert y.dtype == dtype
        y = getattr(cnnx, name)(3, *features, **options, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))(x)
        assert y.dtype == jnp.bfloat16


FIXED: dict[str, Any] = {
    "upsample": ("Upsample", {"scale": (2, 3), "method": "cubic", "cubic_a": -0.75, "centres": "sample"},
                 functools.partial(upsample, scale=(2, 3), method="cubic", cubic_a=-0.75, centres="sample")),
    "fir": ("Upsample", {"scale": 2, "method": "fir", "taps": (0.5, 1.0, 0.5)},
            functools.partial(upsample, scale=2, method="fir", taps=(0.5, 1.0, 0.5))),
    "downsample": ("Downsample", {"scale": [2, 3], "window": 3, "padding": [[0, 1], [1, 0]]},
                   functools.partial(downsample, scale=(2, 3), window=3, padding=((0, 1), (1, 0)))),
    "blur": ("BlurPool", {"scale": 2, "window": 4, "pad_mode": "edge"},
             functools.partial(downsample, scale=2, method="blur", window=4, pad_mode="edge")),
    "max, blur": ("MaxBlurPool", {"window": (2, 3), "blur_window": 5},
                  lambda x: downsample(
                      downsample(x, scale=1, method="max", window=(2, 3)), scale=2, method="blur", window=5
                  )),
    "l2": ("L2Pool", {"scale": (2, 3), "padding": "VALID"},
           functools.partial(downsample, scale=(2, 3), method="l2", padding="VALID")),
    "hold": ("Hold", {"scale": 3, "order": 1, "pad_mode": "edge"},
             functools.partial(hold, scale=3, order=1, pad_mode="edge")),
    "additive": ("BilinearAdditive", {"merged": 2, "grouping": "strided", "centres": "sample"},
                 functools.partial(bilinear_additive, scale=2, merged=2, grouping="strided", centres="sample")),
}  # fmt: skip


@pytest.mark.parametrize("case", FIXED.values(), ids=FIXED)
def test_fixed_layers_are_their_operators_in_linen_and_nnx(rng, case):
    name, options, run = case
    x = jnp.asarray(draw(rng, 2, 8, 9, 4))
    expected = run(x)
    linen = getattr(cnn, name)(**options)
    assert linen.init(jax.random.key(0), x) == {}
    np.testing.assert_allclose(linen.apply({}, x), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(nnx.jit(lambda m, x: m(x))(getattr(cnnx, name)(**options), x), jax.jit(run)(x))


def arguments_of(flavour, name):
    layer = getattr(flavour, name)
    return [p for p in inspect.signature(layer.__init__).parameters if p not in ("self", "parent", "name")]


@pytest.mark.parametrize("name", cnn.__all__)
def test_the_two_flavours_have_the_same_options_and_say_what_they_are(name):
    features = {"features", "in_features", "out_features", "rngs"}
    flaxs_own = {"kernel_metadata", "bias_metadata", "conv_general_dilated_cls"}  # which only one of them has
    named, others = ({*arguments_of(package, name)} - features - flaxs_own for package in (cnn, cnnx))
    assert named == others
    for flavour in (cnn, cnnx):
        text = inspect.getdoc(getattr(flavour, name)) or ""
        described = re.findall(r"^  (\w+): ", text.split("Args:")[1].split("Shapes:")[0], flags=re.MULTILINE)
        assert described == arguments_of(flavour, name)
        assert all(f"\n{section}:\n" in text for section in ("Raises", "Example", "References"))


def test_the_two_flavours_have_the_same_layers():
    assert cnn.__all__ == cnnx.__all__


def phases_of(y, scale):
    """`[s, s, N, n, n, C]`: the phases of a field in the plane."""
    y = np.asarray(y)
    n, h, w, c = y.shape
    return y.reshape(n, h // scale, scale, w // scale, scale, c).transpose(2, 4, 0, 1, 3, 5)


def assert_phases_equal(y, scale):
    phases = phases_of(y, scale)
    np.testing.assert_allclose(phases, np.broadcast_to(phases[:1, :1], phases.shape), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", ["depth_first", "channel_first"])
@pytest.mark.parametrize("after", [lambda y: y, jax.nn.relu, jnp.tanh], ids=["linear", "relu", "tanh"])
def test_icnr_starts_as_a_nearest_upsampling_also_after_a_nonlinearity(rng, order, after):
    x = jnp.asarray(draw(rng, 2, 5, 4, 3))
    layer = cnn.SubPixelConv(4, (3, 3), scale=3, order=order, bias_init=jax.nn.initializers.normal(1.0))
    assert_phases_equal(after(layer.init_with_output(jax.random.key(1), x)[0]), 3)
    kernel_init = initializers.icnr(jax.nn.initializers.he_uniform(), (3, 3), order=order)
    given = cnnx.SubPixelConv(3, 4, (3, 3), scale=3, order=order, kernel_init=kernel_init, rngs=nnx.Rngs(2))
    y = after(given(x))
    assert_phases_equal(y, 3)
    assert np.asarray(y).std() > 0.1
    plain = layer.clone(kernel_init=jax.nn.initializers.lecun_normal()).init_with_output(jax.random.key(1), x)[0]
    assert np.ptp(phases_of(after(plain), 3), axis=(0, 1)).max() > 0.1


@pytest.mark.parametrize("transpose_kernel", [False, True])
@pytest.mark.parametrize(("k", "s", "padding"), [(4, 2, "VALID"), (6, 3, "VALID"), (3, 3, "SAME")])
def test_icnr_of_a_transposed_kernel_gives_equal_phases_also_after_a_nonlinearity(rng, k, s, padding, transpose_kernel):
    x = jnp.asarray(draw(rng, 2, 5, 4, 3))
    layer = cnn.ConvTranspose(
        4, (k, k), (s, s), padding=padding, transpose_kernel=transpose_kernel,
        kernel_init=initializers.icnr_transpose(stride=s),
    )  # fmt: skip
    y = layer.init_with_output(jax.random.key(1), x)[0]
    for after in (lambda y: y, jax.nn.relu, jnp.tanh):
        assert_phases_equal(after(y), s)
    plain = layer.clone(kernel_init=jax.nn.initializers.lecun_normal()).init_with_output(jax.random.key(1), x)[0]
    assert np.ptp(phases_of(plain, s), axis=(0, 1)).max() > 0.1


@pytest.mark.parametrize("s", [2, 3, 4])
def test_bilinear_starts_as_linear_interpolation(rng, s):
    x = jnp.asarray(draw(rng, 2, 6, 5, 3))
    k = 2 * s - s % 2
    cases: list[tuple[dict[str, Any], tuple[int, ...]]] = [
        ({}, (k, k, 3, 3)),
        ({"groups": 3}, (k, k, 3, 1)),
        ({"groups": 3, "transpose_kernel": True}, (k, k, 1, 3)),
    ]
    for options, shape in cases:
        layer = cnn.ConvTranspose(3, (k, k), (s, s), kernel_init=initializers.bilinear(s), **options)
        y, variables = layer.init_with_output(jax.random.key(1), x)
        assert jax.tree.map(jnp.shape, variables["params"])["kernel"] == shape
        inside = (slice(None), slice(s, -s), slice(s, -s))  # at the border zeros come in
        expected = upsample(x, scale=s, method="linear")
        np.testing.assert_allclose(np.asarray(y)[inside], np.asarray(expected)[inside], **ROUNDING)


def test_initialisers_follow_their_dtype_and_base():
    base = jax.nn.initializers.constant(2.0)
    for init in (initializers.icnr(base, 2), initializers.icnr_transpose(base, 2)):
        kernel = init(jax.random.key(0), (4, 4, 3, 8), jnp.bfloat16)
        assert kernel.dtype == jnp.bfloat16
        np.testing.assert_array_equal(kernel.astype(jnp.float32), 2.0)
    default = initializers.icnr(scale=2)(jax.random.key(0), (3, 3, 64, 256))
    np.testing.assert_allclose(np.asarray(default).std(), (9 * 64) ** -0.5, rtol=0.02)  # LeCun's, of one phase


BAD_INIT = {
    "icnr channels": (initializers.icnr(scale=2), (3, 3, 4, 6), r"icnr: axis O .* multiple of prod\(scale\) = 4; got"),
    "rank": (initializers.icnr(scale=2), (3, 4), "icnr: initialises HIO, HWIO or DHWIO kernels"),
    "indivisible": (initializers.icnr_transpose(stride=2), (3, 1, 1), "stride must divide the kernel size"),
    "size": (initializers.bilinear(2), (3, 1, 1), r"the kernel size must be \(4,\)"),
    "channels": (initializers.bilinear(2), (4, 2, 3), "as many channels must come in as go out"),
}


@pytest.mark.parametrize("case", BAD_INIT.values(), ids=BAD_INIT)
def test_initialisers_refuse_shapes_that_they_do_not_fit(case):
    init, shape, message = case
    with pytest.raises(ValueError, match=message):
        init(jax.random.key(0), shape, jnp.float32)
    with pytest.raises(TypeError, match="icnr: base must be an initialiser"):
        initializers.icnr(2)  # pyright: ignore[reportArgumentType]


BAD: dict[str, Any] = {
    "order": ("SubPixelConv", (4, (3, 3)), {"order": "depth"}, "order must be one of .*; got 'depth'"),
    "method": ("ResizeConv", (4, (3, 3)), {"method": "closest"}, "resize_conv: method must be one of"),
    "both ways": ("FIRConv", (4, (3, 3)), {"up": 2, "down": 2}, "fir_conv: only one of up and down"),
    "small": ("LargeContextUpsample", (4, (3, 3)), {"small_size": 5}, "small must lie inside kernel"),
    "axes": ("PixelTransposedConv", (4, 3), {}, "kernel_size must be two ints"),
    "window": ("CARAFE", ((3, 3),), {"window": 4}, "carafe: window must be odd"),
    "blur": ("MaxBlurPool", (), {"window": 9}, "downsample: axis H of x is 4"),
    "hold": ("Hold", (), {"order": -1}, "hold_taps: order must be at least 0"),
    "merged": ("BilinearAdditive", (), {"merged": 3}, "axis C of x must be a multiple of merged=3; got 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_errors_name_the_module_and_the_argument(case):
    name, arguments, options, message = case
    x = jnp.ones((1, 4, 4, 2)) if name != "PixelTransposedConv" else jnp.ones((1, 4, 2))

    class Model(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            return getattr(cnn, name)(*arguments, **options, name="up")(x)

    with pytest.raises(ValueError, match=f"^{name} at up: .*{message}"):
        Model().init(jax.random.key(0), x)
    learned = functools.partial(getattr(cnnx, name), 2, *arguments, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=f"^{name}: .*{message}"):
        (learned if arguments else getattr(cnnx, name))(**options)(x)


def test_other_channels_than_promised_are_named():
    with pytest.raises(ValueError, match=r"^ResizeConv: inputs must have in_features=2 channels; got 3\."):
        cnnx.ResizeConv(2, 4, (3, 3), rngs=nnx.Rngs(0))(jnp.ones((1, 4, 4, 3)))


def test_nothing_of_flax_is_imported_before_it_is_used():
    program = (
        "import sys, checkerjax, checkerjax.nn as nn; print('flax' in sys.modules, 'jax' in sys.modules); "
        "nn.linen.ConvTranspose; print('flax' in sys.modules, sorted(set(dir(nn)) >= {'linen', 'nnx'} for _ in [0]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True", "[True]"]


def test_a_resize_layer_has_no_lines_where_a_transposed_one_has(rng):
    x = jnp.broadcast_to(jnp.asarray(draw(rng, 1, 1, 1, 2)), (1, 9, 9, 2))
    deconv = conv_transpose(x, draw(rng, 3, 3, 2, 2), stride=2)
    resize = cnn.ResizeConv(2, (3, 3)).init_with_output(jax.random.key(0), x)[0]
    lines = [np.ptp(np.asarray(y)[:, 4:-4, 4:-4], axis=(1, 2)).max() for y in (deconv, resize)]
    assert lines[0] > 0.1
    assert lines[1] < 1e-5

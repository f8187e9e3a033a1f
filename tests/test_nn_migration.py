"""The rows of the migration table: a layer of PyTorch, Keras or Flax, and what takes its place with its weights.

PyTorch's and Keras's rows run where those are installed, each on a grid of arguments; Flax's always. What needs
neither, definitions and stored results, is in test_nn_surgery.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checkerjax as cj
import checkerjax.nn.linen as cnn
from checkerjax.nn.surgery import import_transposed

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 2e-5}  # float32 sums of below two hundred terms of size one
LAST = {1: (0, 2, 1), 2: (0, 2, 3, 1), 3: (0, 2, 3, 4, 1)}  # [N, C, ...] to [N, ..., C]


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
    return pytest.importorskip("keras")


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def apply(layer, x, **params) -> Any:
    return layer.apply({"params": {k: jnp.asarray(np.asarray(v)) for k, v in params.items()}}, jnp.asarray(x))


def fixed(layer, x) -> Any:
    return layer.apply({}, jnp.asarray(x))


def channels_last(x):
    x = np.asarray(x)
    return x.transpose(LAST[x.ndim - 2])


def run_torch(torch, layer, x):
    """A PyTorch layer on `[N, ..., C]`."""
    first = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    with torch.no_grad():
        return channels_last(layer(first).numpy())


def conv_kernel(weight):
    """PyTorch's `[O, I, *k]` as `[*k, I, O]`."""
    return np.moveaxis(weight.detach().numpy(), (0, 1), (-1, -2))


TRANSPOSED = [  # rank, kernel, stride, padding, output_padding, dilation, groups
    (1, 4, 2, 1, 0, 1, 1),
    (1, 3, 2, 1, 1, 1, 2),
    (1, 5, 3, 0, 2, 2, 4),
    (2, (4, 3), (2, 3), (1, 0), (0, 2), 1, 1),
    (2, 3, 1, 2, 0, (1, 2), 2),
    (3, (2, 3, 4), (1, 2, 2), (0, 1, 1), (0, 1, 0), 1, 2),
]


@pytest.mark.parametrize("case", TRANSPOSED)
def test_torch_conv_transpose(torch, rng, case):
    ndim, k, s, p, extra, d, groups = case
    options = {"stride": s, "padding": p, "output_padding": extra, "dilation": d, "groups": groups}
    theirs = getattr(torch.nn, f"ConvTranspose{ndim}d")(4, 8, k, **options)
    x = draw(rng, 2, *(4, 3, 5)[:ndim], 4)
    expected, weight = run_torch(torch, theirs, x), theirs.weight.detach().numpy()
    padding = p if isinstance(p, int) else tuple((n, n) for n in p)
    ours = cnn.ConvTranspose(
        8, weight.shape[2:], s, padding, kernel_dilation=d, groups=groups, output_padding=extra,
        use_consistent_padding=True,
    )  # fmt: skip
    kernel = import_transposed(weight, layout="pytorch", groups=groups)
    np.testing.assert_allclose(apply(ours, x, kernel=kernel, bias=theirs.bias.detach()), expected, **ROUNDING)
    kernel = import_transposed(weight, layout="pytorch", groups=groups, target="ops")
    options |= {"padding": padding}
    y = cj.conv_transpose(jnp.asarray(x), kernel, **options) + theirs.bias.detach().numpy()
    np.testing.assert_allclose(y, expected, **ROUNDING)


@pytest.mark.parametrize("case", [(1, 4, 2, 1, 2, 1), (2, (5, 4), 2, (2, 1), 1, 2), (3, 3, (1, 2, 2), 1, 1, 4)])
def test_torch_conv(torch, rng, case):
    ndim, k, s, p, d, groups = case
    theirs = getattr(torch.nn, f"Conv{ndim}d")(4, 8, k, s, p, dilation=d, groups=groups)
    x = draw(rng, 2, *(9, 7, 5)[:ndim], 4)
    sizes = theirs.weight.shape[2:]
    ours = cnn.Conv(8, sizes, s, p, kernel_dilation=d, feature_group_count=groups)
    y = apply(ours, x, kernel=conv_kernel(theirs.weight), bias=theirs.bias.detach())
    np.testing.assert_allclose(y, run_torch(torch, theirs, x), **ROUNDING)


@pytest.mark.parametrize(
    ("mode", "method", "centres"),
    [("nearest", "nearest", "half_pixel"), ("bilinear", "linear", "half_pixel"), ("bilinear", "linear", "corners")],
)
def test_torch_upsample_then_conv(torch, rng, mode, method, centres):
    corners = {"align_corners": centres == "corners"} if mode != "nearest" else {}
    up, conv = torch.nn.Upsample(scale_factor=2, mode=mode, **corners), torch.nn.Conv2d(3, 4, 3, padding=1)
    x = draw(rng, 2, 5, 4, 3)
    fine = fixed(cnn.Upsample(scale=2, method=method, centres=centres), x)
    np.testing.assert_allclose(np.asarray(fine), run_torch(torch, up, x), **ROUNDING)
    ours = cnn.ResizeConv(4, (3, 3), scale=2, method=method, centres=centres, padding=1)
    y = apply(ours, x, kernel=conv_kernel(conv.weight), bias=conv.bias.detach())
    np.testing.assert_allclose(y, run_torch(torch, torch.nn.Sequential(up, conv), x), **ROUNDING)


def test_torch_bicubic_upsample_away_from_the_border(torch, rng):
    x = draw(rng, 1, 8, 8, 2)
    fine = fixed(cnn.Upsample(scale=2, method="cubic", cubic_a=-0.75), x)
    inside = (slice(None), slice(4, -4), slice(4, -4))
    expected = run_torch(torch, torch.nn.Upsample(scale_factor=2, mode="bicubic"), x)
    np.testing.assert_allclose(np.asarray(fine)[inside], expected[inside], **ROUNDING)


def test_torch_conv_then_pixel_shuffle(torch, rng):
    conv, x = torch.nn.Conv2d(3, 4 * 9, 3, padding=1), draw(rng, 2, 5, 4, 3)
    ours = cnn.SubPixelConv(4, (3, 3), scale=3, order="channel_first", bias_per_phase=True, padding=1)
    y = apply(ours, x, kernel=conv_kernel(conv.weight), bias=conv.bias.detach())
    expected = run_torch(torch, torch.nn.Sequential(conv, torch.nn.PixelShuffle(3)), x)
    np.testing.assert_allclose(y, expected, **ROUNDING)
    back = cj.space_to_depth(jnp.asarray(expected), block=3, order="channel_first")
    np.testing.assert_allclose(back, run_torch(torch, torch.nn.PixelUnshuffle(3), expected), **ROUNDING)


@pytest.mark.parametrize(("method", "kind"), [("max", "MaxPool2d"), ("average", "AvgPool2d")])
def test_torch_pools(torch, rng, method, kind):
    x = draw(rng, 2, 7, 6, 3)
    ours = cnn.Downsample(scale=2, method=method, window=3, padding=1)
    expected = run_torch(torch, getattr(torch.nn, kind)(3, 2, padding=1), x)
    np.testing.assert_allclose(fixed(ours, x), expected, **ROUNDING)


def keras_pair(k, d, padding, extra):
    """What Flax calls padding where a layer of Keras has an output_padding; as import_transposed's docstring says."""
    q = d * (k - 1) + 1
    if padding == "valid":
        return q - 1, q - 1 + extra
    total = q + q % 2 - 2 + extra
    low = min(total - total // 2, q - 1)
    return low, total - low


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("s", [1, 2, 3])
def test_keras_conv_transpose(keras, rng, s, padding):
    for k, d, extra in itertools.product((1, 2, 3, 4, 5), (1, 2), (None, 0, 1, 2)):
        if (d > 1 and s > 1) or (extra or 0) >= s:
            continue
        options: dict[str, Any] = {"strides": s, "padding": padding, "dilation_rate": d, "output_padding": extra}
        theirs = keras.layers.Conv1DTranspose(4, k, **options)
        x = draw(rng, 2, 4, 3)
        expected = np.asarray(theirs(x))
        pads = padding.upper() if extra is None else (keras_pair(k, d, padding, extra),)
        if expected.shape[1] == 0:
            continue
        for target, transposed in (("flax", False), ("flax_transposed", True)):
            ours = cnn.ConvTranspose(4, k, s, pads, kernel_dilation=(d,), transpose_kernel=transposed)
            kernel = import_transposed(np.asarray(theirs.kernel), layout="keras", target=target)
            np.testing.assert_allclose(apply(ours, x, kernel=kernel, bias=theirs.bias), expected, **ROUNDING)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("k", "s"), [((3, 4), (2, 3)), ((2, 5, 3), (2, 2, 3))])
def test_keras_conv_transpose_in_the_plane_and_in_volumes(keras, rng, k, s, padding):
    ndim = len(k)
    theirs, x = getattr(keras.layers, f"Conv{ndim}DTranspose")(4, k, s, padding), draw(rng, 2, *(3, 4, 2)[:ndim], 3)
    expected = np.asarray(theirs(x))
    ours = cnn.ConvTranspose(4, k, s, padding.upper(), transpose_kernel=True)
    np.testing.assert_allclose(apply(ours, x, kernel=theirs.kernel, bias=theirs.bias), expected, **ROUNDING)
    kernel = import_transposed(np.asarray(theirs.kernel), layout="keras", target="ops")
    y = cj.conv_transpose(jnp.asarray(x), kernel, stride=s, padding=padding.upper())
    np.testing.assert_allclose(y, expected, **ROUNDING)


@pytest.mark.parametrize(
    ("interpolation", "method"),
    [("nearest", "nearest"), ("bilinear", "linear"), ("bicubic", "cubic"), ("lanczos3", "lanczos3")],
)
def test_keras_upsampling_then_conv(keras, rng, interpolation, method):
    up, conv = keras.layers.UpSampling2D((2, 3), interpolation=interpolation), keras.layers.Conv2D(4, 3, padding="same")
    x = draw(rng, 2, 5, 4, 3)
    fine = np.asarray(up(x))
    np.testing.assert_allclose(fixed(cnn.Upsample(scale=(2, 3), method=method), x), fine, **ROUNDING)
    expected = np.asarray(conv(fine))
    y = apply(cnn.ResizeConv(4, (3, 3), scale=(2, 3), method=method), x, kernel=conv.kernel, bias=conv.bias)
    np.testing.assert_allclose(y, expected, **ROUNDING)


def test_keras_conv_then_depth_to_space(keras, rng):
    conv, x = keras.layers.Conv2D(4 * 9, 3, padding="same"), draw(rng, 2, 5, 4, 3)
    wide = np.asarray(conv(x))
    expected = wide.reshape(2, 5, 4, 3, 3, 4).transpose(0, 1, 3, 2, 4, 5).reshape(2, 15, 12, 4)  # TensorFlow's
    ours = cnn.SubPixelConv(4, (3, 3), scale=3, bias_per_phase=True)
    np.testing.assert_allclose(apply(ours, x, kernel=conv.kernel, bias=conv.bias), expected, **ROUNDING)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_keras_conv(keras, rng, padding):
    x = draw(rng, 2, 9, 8, 4)
    for options in ({"strides": 2}, {"strides": (3, 2), "groups": 2}, {"dilation_rate": 2}):
        theirs = keras.layers.Conv2D(6, (5, 4), padding=padding, **options)
        expected = np.asarray(theirs(x))
        kernel, bias = np.asarray(theirs.kernel), np.asarray(theirs.bias)
        ours = cnn.Conv(
            6, (5, 4), options.get("strides"), padding.upper(), kernel_dilation=options.get("dilation_rate"),
            feature_group_count=options.get("groups", 1),
        )  # fmt: skip
        np.testing.assert_allclose(apply(ours, x, kernel=kernel, bias=bias), expected, **ROUNDING)


@pytest.mark.parametrize(("method", "kind"), [("max", "MaxPooling2D"), ("average", "AveragePooling2D")])
def test_keras_pools(keras, rng, method, kind):
    x = draw(rng, 2, 7, 6, 3)
    for padding in ("valid", "same") if method == "max" else ("valid",):
        ours = cnn.Downsample(scale=2, method=method, window=3, padding=padding.upper())
        expected = np.asarray(getattr(keras.layers, kind)(3, 2, padding)(x))
        np.testing.assert_allclose(fixed(ours, x), expected, **ROUNDING)


def test_stored_results_of_keras():
    # keras 3.15 on jax: Conv1DTranspose(2, 3, strides=2) on whole numbers, with these paddings and output_paddings.
    x, weight = np.arange(6, dtype=np.float32).reshape(1, 3, 2), np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    rows = [[1, 3], [5, 7], [12, 24], [23, 33], [48, 76], [41, 59], [77, 95]]
    cases: list[tuple[Any, list[list[int]]]] = [
        ("SAME", rows[:6]),
        ("VALID", rows),
        ((keras_pair(3, 1, "same", 1),), rows[:6]),
    ]
    for padding, expected in cases:
        ours = cnn.ConvTranspose(2, 3, (2,), padding, use_bias=False)
        y = apply(ours, x, kernel=import_transposed(weight, layout="keras"))
        np.testing.assert_array_equal(np.asarray(y)[0], expected)


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
def test_flax_resize_then_conv(rng, method):
    class Theirs(nn.Module):
        @nn.compact
        def __call__(self, x):
            n, h, w, c = x.shape
            return nn.Conv(4, (3, 3))(jax.image.resize(x, (n, 2 * h, 2 * w, c), method))

    x = jnp.asarray(draw(rng, 2, 5, 4, 3))
    expected, variables = Theirs().init_with_output(jax.random.key(0), x)
    y = apply(cnn.ResizeConv(4, (3, 3), method=method), x, **variables["params"]["Conv_0"])
    np.testing.assert_allclose(y, expected, **ROUNDING)


def test_flax_conv_then_reshape(rng):
    class Theirs(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Conv(4 * 4, (3, 3), bias_init=nn.initializers.normal(1.0))(x)
            n, h, w, _ = y.shape
            return y.reshape(n, h, w, 2, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, 4)

    x = jnp.asarray(draw(rng, 2, 5, 4, 3))
    expected, variables = Theirs().init_with_output(jax.random.key(0), x)
    y = apply(cnn.SubPixelConv(4, (3, 3), bias_per_phase=True), x, **variables["params"]["Conv_0"])
    np.testing.assert_allclose(y, expected, **ROUNDING)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_flax_pools(rng, padding):
    x = jnp.asarray(draw(rng, 2, 7, 6, 3))
    for method, pool in (("max", nn.max_pool), ("average", nn.avg_pool)):
        with jax.numpy_dtype_promotion("standard"):  # Flax divides by an integer
            expected = pool(x, (3, 3), (2, 2), padding)
        y = fixed(cnn.Downsample(scale=2, method=method, window=3, padding=padding), x)
        np.testing.assert_allclose(y, expected, **ROUNDING)


def test_flax_strided_conv(rng):
    x = jnp.asarray(draw(rng, 2, 8, 7, 3))
    expected, variables = nn.Conv(4, (3, 3), (2, 2)).init_with_output(jax.random.key(0), x)
    y = apply(cnn.FIRConv(4, (3, 3), down=2, taps=(1.0,)), x, **variables["params"])
    np.testing.assert_allclose(y, expected, **ROUNDING)

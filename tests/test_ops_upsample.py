"""`upsample`, its filters, `pad` and `resize_conv` against float64 loops and `jax.image.resize`."""

import functools
import pathlib
import runpy
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import bilinear_kernel, binomial_taps, conv_transpose, hann_taps, hold_taps, pad, resize_conv, upsample

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a hundred terms of size one
INTERPOLATIONS = ["nearest", "linear", "cubic", "lanczos3"]
CENTRES = ["half_pixel", "sample", "corners"]
NUMPY_MODES: dict[str, Any] = {
    "zeros": "constant",
    "edge": "edge",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "wrap": "wrap",
}


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("method", INTERPOLATIONS)
@pytest.mark.parametrize(("size", "scale"), [((7,), 2), ((5, 4), (3, 2)), ((3, 2, 4), (2, 1, 3))])
def test_half_pixel_is_jax_image_resize(mode, rng, method, size, scale):
    x = draw(rng, 2, *size, 3)
    scales = np.broadcast_to(scale, len(size))
    out = mode(functools.partial(upsample, scale=scale, method=method))(x)
    expected = jax.image.resize(x, (2, *(size * scales).tolist(), 3), method)
    np.testing.assert_allclose(out, expected, **ROUNDING)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("centres", CENTRES)
@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_every_convention_is_its_formula(rng, method, centres, scale):
    x = draw(rng, 1, 5, 2)
    out = upsample(x, scale=scale, method=method, centres=centres)
    matrix = oracle.interpolation(5, scale, method, centres)
    np.testing.assert_allclose(out, oracle.along(matrix, x, 1), **ROUNDING)


@pytest.mark.parametrize("centres", CENTRES)
def test_the_other_cubic(mode, rng, centres):
    x = draw(rng, 1, 6, 4, 1)
    out = mode(functools.partial(upsample, scale=2, method="cubic", centres=centres, cubic_a=-0.75))(x)
    rows, columns = (oracle.interpolation(n, 2, "cubic", centres, -0.75) for n in (6, 4))
    np.testing.assert_allclose(out, oracle.along(columns, oracle.along(rows, x, 1), 2), **ROUNDING)
    assert np.abs(np.asarray(out) - upsample(x, scale=2, method="cubic", centres=centres)).max() > 0.01


@pytest.mark.parametrize("method", INTERPOLATIONS)
@pytest.mark.parametrize("centres", CENTRES)
def test_float64_keeps_twelve_digits(rng, method, centres):
    x = rng.normal(size=(1, 5, 2))
    with jax.enable_x64(True):
        out = upsample(x, scale=3, method=method, centres=centres)
        expected = oracle.along(oracle.interpolation(5, 3, method, centres), x, 1)
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", INTERPOLATIONS)
@pytest.mark.parametrize("centres", CENTRES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_constants_stay_constant_up_to_the_border(method, centres, dtype):
    out = upsample(jnp.full((1, 3, 2, 1), 1.5, dtype), scale=(3, 2), method=method, centres=centres)
    assert out.dtype == dtype
    few_roundings = 8 * float(jnp.finfo("float32").eps)  # the weights are float32 whatever the dtype
    np.testing.assert_allclose(np.asarray(out, np.float32), 1.5, rtol=few_roundings)


def test_samples_stay_where_the_convention_says(rng):
    x = draw(rng, 1, 4, 1)
    for method in INTERPOLATIONS:
        kept = upsample(x, scale=3, method=method, centres="sample")
        np.testing.assert_allclose(kept[:, ::3], x, **ROUNDING)
        corners = upsample(x, scale=3, method=method, centres="corners")
        np.testing.assert_allclose(corners[:, [0, -1]], x[:, [0, -1]], **ROUNDING)


def test_precision_reaches_the_matrix_products():
    double = functools.partial(upsample, scale=2, method="linear", precision="highest")
    equations = jax.make_jaxpr(double)(jnp.ones((1, 4, 3, 1))).eqns
    products = [e.params["precision"] for e in equations if e.primitive.name == "dot_general"]
    assert products == [(jax.lax.Precision.HIGHEST,) * 2] * 2


def test_align_corners_is_an_alias(rng):
    x = draw(rng, 1, 4, 1)
    linear = functools.partial(upsample, x, scale=2, method="linear")
    np.testing.assert_array_equal(linear(align_corners=True), linear(centres="corners"))
    np.testing.assert_array_equal(linear(align_corners=False), linear(centres="half_pixel"))
    kernel = draw(rng, 3, 1, 1)
    resized = functools.partial(resize_conv, x, kernel, scale=2, method="linear")
    np.testing.assert_array_equal(resized(align_corners=True), resized(centres="corners"))


@pytest.mark.parametrize("centres", ["half_pixel", "sample"])
@pytest.mark.parametrize(("size", "scale"), [((4,), 3), ((3, 2), (2, 3)), ((2, 2, 2), (1, 2, 2))])
def test_zeros_puts_samples_at_multiples_of_the_scale(mode, rng, size, scale, centres):
    x = draw(rng, 2, *size, 2)
    scales = np.broadcast_to(scale, len(size))
    expected = np.zeros((2, *(size * scales), 2), np.float32)
    expected[(slice(None), *(slice(None, None, s) for s in scales))] = x
    out = mode(functools.partial(upsample, scale=scale, method="zeros", centres=centres))(x)
    np.testing.assert_array_equal(out, expected)


# taps, scale, centres -> samples that the filter reaches ahead of s m
FIRS = [
    ([0.25, 0.75, 0.75, 0.25], 2, "half_pixel", 1),
    ([0.5, 1.0, 0.5], 2, "sample", 1),
    ([0.5, 1.0, 0.5], 2, "half_pixel", 0),
    ([1.0, 2.0, 3.0, 4.0], 2, "sample", 1),
    ([1.0, 2.0, 3.0, 4.0, 5.0], 3, "half_pixel", 1),
    ([1.0, -2.0], 3, "half_pixel", 0),
]


@pytest.mark.parametrize(("taps", "scale", "centres", "ahead"), FIRS)
def test_fir_stamps_its_taps(rng, taps, scale, centres, ahead):
    x = draw(rng, 1, 4, 3, 2)
    out = jax.jit(functools.partial(upsample, scale=scale, method="fir", taps=taps, centres=centres))(x)
    rows, columns = (oracle.stamps(n, scale, taps, ahead) for n in (4, 3))
    np.testing.assert_allclose(out, oracle.along(columns, oracle.along(rows, x, 1), 2), **ROUNDING)


def test_the_firs_of_stylegan_and_of_figure_7_are_linear_interpolation_inside(rng):
    x = draw(rng, 1, 6, 1)
    for taps, centres in [([1, 3, 3, 1], "half_pixel"), ([1, 2, 1], "sample")]:
        unit_gain: Any = np.array(taps, np.float32) * 2 / sum(taps)
        assert unit_gain[::2].sum() == unit_gain[1::2].sum() == 1
        out = upsample(x, scale=2, method="fir", taps=unit_gain, centres=centres)
        expected = upsample(x, scale=2, method="linear", centres=centres)
        np.testing.assert_allclose(out[:, 1:-1], expected[:, 1:-1], **ROUNDING)


@pytest.mark.parametrize("mode_name", NUMPY_MODES)
@pytest.mark.parametrize(("size", "padding"), [((4,), [(0, 3)]), ((3, 4), [(2, 1), (0, 2)]), ((3, 2, 3), 1)])
def test_pad_is_numpys(mode, rng, mode_name, size, padding):
    x = draw(rng, 2, *size, 2)
    pairs = padding if isinstance(padding, list) else [(padding, padding)] * len(size)
    expected = np.pad(x, [(0, 0), *pairs, (0, 0)], mode=NUMPY_MODES[mode_name])
    out = mode(lambda value: pad(value, padding, mode=mode_name))(x)
    np.testing.assert_array_equal(out, expected)


RESIZES = [
    ("nearest", "half_pixel", "edge", "SAME"),
    ("nearest", "half_pixel", "zeros", 2),
    ("nearest", "sample", "zeros", "SAME"),
    ("nearest", "corners", "wrap", "SAME"),
    ("linear", "half_pixel", "reflect", "SAME"),
    ("linear", "sample", "symmetric", "SAME"),
    ("linear", "corners", "edge", "VALID"),
    ("cubic", "half_pixel", "wrap", "SAME"),
    ("cubic", "sample", "zeros", "SAME"),
    ("lanczos3", "half_pixel", "symmetric", ((0, 2), (3, 0))),
    ("lanczos3", "corners", "reflect", ((1, 0), (0, 2))),
    ("zeros", "half_pixel", "zeros", "SAME"),
    ("zeros", "half_pixel", "wrap", ((2, 2), (0, 1))),
]


@pytest.mark.parametrize(("method", "centres", "pad_mode", "padding"), RESIZES)
def test_resize_conv_is_conv_of_pad_of_upsample(mode, rng, method, centres, pad_mode, padding):
    scales, k = (2, 3), (4, 3)
    x, kernel = draw(rng, 2, 4, 3, 2), draw(rng, *k, 2, 3)
    options: dict[str, Any] = {
        "scale": scales,
        "method": method,
        "centres": centres,
        "pad_mode": pad_mode,
        "padding": padding,
    }
    out = mode(functools.partial(resize_conv, **options))(x, kernel)
    large = np.asarray(x, np.float64)
    for axis, s in enumerate(scales, start=1):
        n = x.shape[axis]
        matrix = oracle.stamps(n, s, [1.0], 0) if method == "zeros" else oracle.interpolation(n, s, method, centres)
        large = oracle.along(matrix, large, axis)
    pairs: Any = {"SAME": [(1, 2), (1, 1)], "VALID": [(0, 0)] * 2, 2: [(2, 2)] * 2}.get(padding, padding)
    large = np.pad(large, [(0, 0), *pairs, (0, 0)], mode=NUMPY_MODES[pad_mode])
    np.testing.assert_allclose(out, oracle.conv(large, kernel, (1, 1), [(0, 0)] * 2, (1, 1)), **ROUNDING)


@pytest.mark.parametrize("ndim", [1, 3])
@pytest.mark.parametrize("method", ["nearest", "linear", "fir"])
def test_resize_conv_in_other_ranks(rng, ndim, method):
    taps: dict[str, Any] = {"taps": [0.25, 0.75, 0.75, 0.25]} if method == "fir" else {}
    x, kernel = draw(rng, 1, *(3,) * ndim, 2), draw(rng, *(3,) * ndim, 2, 2)
    resize = functools.partial(resize_conv, scale=2, method=method, pad_mode="edge", **taps)
    out = jax.jit(resize)(x, kernel)
    matrix = (
        oracle.stamps(3, 2, [0.25, 0.75, 0.75, 0.25], 1) if taps else oracle.interpolation(3, 2, method, "half_pixel")
    )
    large = functools.reduce(lambda value, axis: oracle.along(matrix, value, axis), range(1, ndim + 1), x)
    large = np.pad(large, [(0, 0), *[(1, 1)] * ndim, (0, 0)], mode="edge")
    ones = (1,) * ndim
    np.testing.assert_allclose(out, oracle.conv(large, kernel, ones, [(0, 0)] * ndim, ones), **ROUNDING)


@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_a_flat_field_stays_flat_through_any_kernel(rng, method):
    kernel = draw(rng, 3, 5, 2, 3)
    out = np.asarray(resize_conv(jnp.ones((1, 4, 4, 2)), kernel, scale=(2, 3), method=method, pad_mode="edge"))
    np.testing.assert_allclose(out, np.broadcast_to(kernel.sum((0, 1, 2)), out.shape), **ROUNDING)


def phase_sums(taps, scale):
    return [float(sum(taps[r::scale])) for r in range(scale)]


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
def test_hold_taps_keep_every_phase_equal(scale, order):
    taps = hold_taps(scale, order=order)
    assert taps.shape == ((order + 1) * (scale - 1) + 1,)
    np.testing.assert_allclose(phase_sums(taps, scale), 1 / scale, rtol=1e-14)
    spectrum = (np.sin(np.pi * 0.13 * scale) / np.sin(np.pi * 0.13) / scale) ** (order + 1)
    at = np.exp(-2j * np.pi * 0.13 * (np.arange(len(taps)) - (len(taps) - 1) / 2))
    np.testing.assert_allclose(taps @ at, spectrum, atol=1e-14)


def test_a_cropped_hold_filter_would_not_keep_phases_equal():
    assert (hold_taps(4, order=1) * 16).tolist() == [1, 2, 3, 4, 3, 2, 1]
    assert phase_sums([2, 3, 4, 3, 2], 4) == [4, 3, 4, 3]  # what a padding of (s + 1) // 2 leaves of it


def test_binomial_taps_are_pascals_triangle():
    row = np.ones(1)
    for size in range(1, 8):
        np.testing.assert_array_equal(binomial_taps(size), row / row.sum())
        row = np.convolve(row, [1, 1])


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 7])
def test_copies_of_hann_taps_add_up_to_a_constant(scale):
    taps = hann_taps(scale)
    assert taps.shape == (2 * scale - 1,)
    np.testing.assert_allclose(phase_sums(taps, scale), 1 / scale, rtol=1e-14)
    np.testing.assert_allclose(taps, np.hanning(2 * scale + 1)[1:-1] / scale, atol=1e-15)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5])
def test_bilinear_kernel_is_the_fcn_formula(stride):
    k = 2 * stride - stride % 2
    f = (k + 1) // 2
    c = (2 * f - 1 - f % 2) / (2 * f)
    row = [1 - abs(i / f - c) for i in range(k)]
    np.testing.assert_allclose(bilinear_kernel(stride, ndim=1)[:, 0, 0], row, rtol=1e-6)
    np.testing.assert_allclose(phase_sums(row, stride), phase_sums(row, stride)[0], rtol=1e-12)


def test_bilinear_kernel_maps_each_channel_to_itself_on_every_axis():
    kernel = np.asarray(bilinear_kernel((2, 1, 3), ndim=3, channels=2))
    rows = [np.asarray(bilinear_kernel(s, ndim=1))[:, 0, 0] for s in (2, 1, 3)]
    expected = np.einsum("d,h,w,io->dhwio", *rows, np.eye(2))
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)
    assert bilinear_kernel(2, dtype="bfloat16").dtype == jnp.bfloat16


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_bilinear_kernel_interpolates_linearly_inside(rng, stride):
    x = draw(rng, 1, 5, 1)
    out = conv_transpose(x, bilinear_kernel(stride, ndim=1), stride=stride)
    expected = upsample(x, scale=stride, method="linear")
    np.testing.assert_allclose(out[:, stride:-stride], expected[:, stride:-stride], **ROUNDING)

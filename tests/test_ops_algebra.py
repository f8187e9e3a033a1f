"""Every upsampler written as another: equal outputs, borders included where that is claimed."""

import pathlib
import runpy
import types
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkerjax import (
    as_matrix,
    conv,
    conv_transpose,
    deconv_from_resize,
    deconv_from_subpixel,
    resize_conv,
    subpixel_conv,
    subpixel_from_deconv,
    upsample,
)

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a hundred terms of size one
ORDERS = ["depth_first", "channel_first"]
FIR: dict[str, Any] = {"taps": [0.25, 0.75, 0.75, 0.25]}
properties = settings(max_examples=40, deadline=None, derandomize=True)


def draw(*shape) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def paddings(ndim, most):
    pair = st.tuples(st.integers(0, most), st.integers(0, most))
    return st.one_of(st.just("SAME"), st.just("VALID"), st.integers(0, most), st.tuples(*[pair] * ndim))


def matrix(f, shape):
    """`as_matrix` in one compilation."""
    return np.asarray(jax.jit(lambda: as_matrix(f, shape))())


def check_padded(padded, ndim):
    assert len(padded.padding) == ndim
    assert min(min(pair) for pair in padded.padding) >= 0


def resized(x, kernel, scale, method="nearest", padding="SAME", centres="half_pixel", cubic_a=-0.5, taps: Any = None):
    """A resize-convolution, by definition; None where the kernel does not fit."""
    ones = (1,) * (x.ndim - 2)
    for axis, s in enumerate(np.broadcast_to(scale, len(ones)).tolist(), start=1):
        if method in ("zeros", "fir"):
            row = [1.0] if method == "zeros" else taps
            ahead = max(len(row) - (s if centres == "half_pixel" else 1), 0) // 2
            matrix = oracle.stamps(x.shape[axis], s, row, ahead if method == "fir" else 0)
        else:
            matrix = oracle.interpolation(x.shape[axis], s, method, centres, cubic_a)
        x = oracle.along(matrix, x, axis)
    pads = conv_pads(padding, x.shape[1:-1], kernel.shape[:-2])
    fits = all(i + sum(p) >= k for i, p, k in zip(x.shape[1:-1], pads, kernel.shape))
    return oracle.conv(x, kernel, ones, pads, ones) if fits else None


def conv_pads(padding, size, k) -> Any:
    ones = (1,) * len(k)
    if padding == "SAME":
        return oracle.same_pads(size, k, ones, ones)
    if padding == "VALID":
        return [(0, 0)] * len(k)
    return [(padding, padding)] * len(k) if isinstance(padding, int) else padding


def check_resize(x, kernel, scale, interior=None, **options):
    """A resize-convolution against its deconvolution, on all samples or `interior` away from every border."""
    expected = resized(x, kernel, scale, **options)
    if expected is None:
        return

    def deconv(x, kernel):
        padded = deconv_from_resize(kernel, scale=scale, **options)
        check_padded(padded, kernel.ndim - 2)
        return conv_transpose(x, padded.kernel, stride=scale, padding=padded.padding)

    out = jax.jit(deconv)(x, kernel)
    assert out.shape == expected.shape
    inside = (slice(None), *[slice(interior, -interior if interior else None)] * (x.ndim - 2))
    assert out[inside].size > 0
    np.testing.assert_allclose(np.asarray(out)[inside], expected[inside], **ROUNDING)


@given(k=st.sampled_from([1, 2, 3, 4]), scale=st.sampled_from([1, 2, 3]), padding=paddings(1, 4), data=st.data())
@properties
def test_a_nearest_or_zeros_resize_conv_is_a_deconv_everywhere(k, scale, padding, data):
    method = data.draw(st.sampled_from(["nearest", "zeros"]))
    check_resize(draw(1, 4, 2), draw(k, 2, 2), scale, method=method, padding=padding)


@given(scale=st.tuples(*[st.sampled_from([1, 2, 3])] * 2), padding=paddings(2, 3))
@settings(properties, max_examples=15)
def test_a_nearest_resize_conv_is_a_deconv_everywhere_in_the_plane(scale, padding):
    check_resize(draw(1, 3, 4, 2), draw(3, 2, 2, 2), scale, padding=padding)


@pytest.mark.parametrize("padding", ["SAME", ((0, 1), (2, 0), (3, 3))])
def test_a_nearest_resize_conv_is_a_deconv_everywhere_in_a_volume(padding):
    check_resize(draw(1, 2, 3, 2, 2), draw(2, 3, 1, 2, 2), (2, 1, 3), padding=padding)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("centres", ["half_pixel", "sample"])
@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "lanczos3", "fir"])
def test_other_resize_convs_are_deconvs_in_the_interior(method, centres, scale):
    interior = 4 * scale  # lanczos3 reads three samples on either side, and the kernel one output more
    options: dict[str, Any] = {"method": method, "centres": centres, **(FIR if method == "fir" else {})}
    for padding in ("SAME", "VALID", ((3, 0),)):
        check_resize(draw(1, 11, 1), draw(3, 1, 2), scale, interior, padding=padding, **options)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_interior_equality_in_the_plane_and_of_the_other_cubic(method):
    check_resize(draw(1, 9, 8, 1), draw(3, 2, 1, 1), (2, 3), 7, method=method, cubic_a=-0.75)


@pytest.mark.parametrize("method", ["nearest", "zeros", "fir"])
@pytest.mark.parametrize("padding", [0, "VALID"])
def test_without_padding_even_a_fir_is_a_deconv_everywhere(method, padding):
    for scale in (2, 3, 4):
        check_resize(
            draw(1, 4, 2), draw(3, 2, 1), scale, method=method, padding=padding, **(FIR if method == "fir" else {})
        )


def test_the_article_calls_it_a_kernel_convolved_with_a_box():
    kernel = one_channel([1.0, 10.0, 100.0])
    padded = deconv_from_resize(kernel, scale=3)
    np.testing.assert_allclose(padded.kernel.ravel(), np.convolve([100, 10, 1], np.ones(3)))


@given(
    k=st.sampled_from([1, 2, 3]),
    scale=st.sampled_from([1, 2, 3]),
    padding=paddings(1, 4),
    order=st.sampled_from(ORDERS),
)
@properties
def test_a_subpixel_conv_is_a_deconv_everywhere(k, scale, padding, order):
    check_subpixel(draw(1, 4, 2), draw(k, 2, scale * 2), scale, padding, order)


@given(scale=st.sampled_from([(2, 2), (3, 1), (1, 2)]), padding=paddings(2, 3), order=st.sampled_from(ORDERS))
@settings(properties, max_examples=15)
def test_a_subpixel_conv_is_a_deconv_everywhere_in_the_plane(scale, padding, order):
    check_subpixel(draw(1, 3, 4, 2), draw(3, 2, 2, scale[0] * scale[1] * 2), scale, padding, order)


@pytest.mark.parametrize("order", ORDERS)
def test_a_subpixel_conv_is_a_deconv_everywhere_in_a_volume(order):
    check_subpixel(draw(1, 2, 3, 2, 1), draw(2, 3, 1, 1, 24), (2, 3, 2), ((0, 2), (1, 1), (2, 0)), order)


def check_subpixel(x, kernel, scale, padding, order):
    ones = (1,) * (x.ndim - 2)
    pads = conv_pads(padding, x.shape[1:-1], kernel.shape[:-2])
    low = oracle.conv(x, kernel, ones, pads, ones)
    expected = oracle.shuffled(low, np.broadcast_to(scale, len(ones)).tolist(), order)

    def deconv(x, kernel):
        padded = deconv_from_subpixel(kernel, scale=scale, padding=padding, order=order)
        check_padded(padded, kernel.ndim - 2)
        return conv_transpose(x, padded.kernel, stride=scale, padding=padded.padding)

    np.testing.assert_allclose(jax.jit(deconv)(x, kernel), expected, **ROUNDING)


def test_the_weight_map_of_shi_et_al():
    """h[r a + p, r b + q] = W[k-1-a, k-1-b, oc r^2 + r p + q], cropped by r (k - 1) / 2, in PyTorch's order."""
    r, k, inputs, outputs = 2, 3, 2, 2
    kernel = draw(k, k, inputs, outputs * r * r)
    padded = deconv_from_subpixel(kernel, scale=r, order="channel_first")
    assert padded.padding == ((2, 2), (2, 2))
    for a, b, p, q, i, o in np.ndindex(k, k, r, r, inputs, outputs):
        assert padded.kernel[r * a + p, r * b + q, i, o] == kernel[k - 1 - a, k - 1 - b, i, o * r * r + r * p + q]


LINE = {"k": [1, 2, 3, 5], "stride": [1, 2, 3, 4], "dilation": [1, 2, 3]}


@given(data=st.data())
@settings(properties, max_examples=80)
def test_a_deconv_is_a_subpixel_conv_everywhere(data):
    k, s, d = (data.draw(st.sampled_from(choice), name) for name, choice in LINE.items())
    padding = data.draw(paddings(1, 7), "padding")
    extra = data.draw(st.integers(0, max(s, d) - 1), "output_padding")
    order = data.draw(st.sampled_from(ORDERS), "order")
    check_deconv(draw(1, 4, 2), draw(k, 2, 2), s, padding, extra, d, order)


@given(data=st.data())
@settings(properties, max_examples=30)
def test_a_deconv_is_a_subpixel_conv_everywhere_in_the_plane(data):
    s = data.draw(st.sampled_from([(2, 2), (3, 1), (2, 3)]), "stride")
    d = data.draw(st.sampled_from([(1, 1), (3, 2)]), "dilation")
    extra = tuple(data.draw(st.integers(0, max(a, b) - 1)) for a, b in zip(s, d))
    order = data.draw(st.sampled_from(ORDERS), "order")
    check_deconv(draw(1, 3, 4, 2), draw(3, 2, 2, 2), s, data.draw(paddings(2, 2), "padding"), extra, d, order)


@pytest.mark.parametrize("order", ORDERS)
def test_a_deconv_is_a_subpixel_conv_everywhere_in_a_volume(order):
    check_deconv(draw(1, 2, 3, 2, 2), draw(3, 2, 4, 2, 2), (2, 3, 2), "SAME", (0, 0, 0), (1, 2, 1), order)
    check_deconv(draw(1, 3, 2, 2, 1), draw(4, 3, 1, 1, 2), (2, 1, 2), ((5, 1), (0, 2), (0, 0)), (0, 0, 1), 1, order)


def check_deconv(x, kernel, stride, padding, extra, dilation, order):
    options: dict[str, Any] = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation}
    ndim = x.ndim - 2
    s, d, more = (np.broadcast_to(value, ndim).tolist() for value in (stride, dilation, extra))
    low, out_size = oracle.transposed_geometry(x.shape[1:-1], kernel.shape[:-2], s, padding, more, d)
    if min(out_size) < 1:
        return
    if any(o % a for o, a in zip(out_size, s)):
        with pytest.raises(ValueError, match=r"subpixel_from_deconv: the output size on axis [HW] is not a multiple"):
            subpixel_from_deconv(kernel, **options, order=order)
        return

    def subpixel(x, kernel):
        padded = subpixel_from_deconv(kernel, **options, order=order)
        check_padded(padded, ndim)
        return subpixel_conv(x, padded.kernel, scale=stride, padding=padded.padding, order=order)

    expected = oracle.conv_transpose(x, kernel, s, low, out_size, d)
    np.testing.assert_allclose(jax.jit(subpixel)(x, kernel), expected, **ROUNDING)


@pytest.mark.parametrize("order", ORDERS)
def test_there_and_back_gives_the_same_operator(order):
    kernel = draw(3, 2, 2, 8)
    there = deconv_from_subpixel(kernel, scale=2, order=order)
    back = subpixel_from_deconv(there.kernel, stride=2, padding=there.padding, order=order)
    np.testing.assert_array_equal(back.kernel, kernel)
    assert back.padding == ((1, 1), (0, 1))


def one_channel(values) -> Any:
    return np.array(values, np.float32).reshape(-1, 1, 1)


def test_figure_7_of_the_article():
    """Its three upsamplers of size 3 and stride 2 as matrices, whose rows repeat with period 2."""
    a, b, c = 2.0, 3.0, 5.0
    kernel = one_channel([a, b, c])
    deconv = matrix(lambda x: conv_transpose(x, kernel[::-1], stride=2, padding=((1, 0),)), (1, 4, 1))
    stuffed = matrix(lambda x: resize_conv(x, kernel, scale=2, method="zeros"), (1, 4, 1))
    nearest = matrix(lambda x: resize_conv(x, kernel, scale=2), (1, 4, 1))
    linear = matrix(lambda x: resize_conv(x, kernel, scale=2, method="linear", centres="sample"), (1, 4, 1))
    # The article correlates a stretched input; the kernel that is stamped is therefore the flipped one.
    np.testing.assert_allclose(deconv[2:4], [[0, b, 0, 0], [0, a, c, 0]])
    np.testing.assert_allclose(stuffed, deconv)
    np.testing.assert_allclose(nearest[2:4], [[a, b + c, 0, 0], [0, a + b, c, 0]])
    np.testing.assert_allclose(linear[2:4], [[a / 2, a / 2 + b + c / 2, c / 2, 0], [0, a + b / 2, b / 2 + c, 0]])
    for rows in (deconv, nearest, linear):
        np.testing.assert_array_equal(rows[4:6, 1:], rows[2:4, :-1])


def test_a_3x3_convolution_of_4x4_pixels_is_a_4x16_matrix():
    kernel: Any = np.arange(1, 10, dtype=np.float32).reshape(3, 3, 1, 1)
    rows = matrix(lambda x: conv(x, kernel, padding="VALID"), (1, 4, 4, 1))
    row = np.array([1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(rows, [np.roll(row, shift) for shift in (0, 1, 4, 5)])


@pytest.mark.parametrize(
    ("size", "k", "s", "padding"), [((4, 4), 3, 1, 0), ((6, 5), 3, 2, 0), ((5,), 3, 2, 1), ((7,), 4, 3, 0)]
)
def test_a_transposed_convolution_is_the_transpose(size, k, s, padding):
    ndim = len(size)
    kernel = draw(*(k,) * ndim, 2, 3)
    forward = matrix(lambda x: conv(x, kernel, stride=s, padding=padding), (1, *size, 2))
    small = tuple((i + 2 * padding - k) // s + 1 for i in size)
    left_over = tuple((i + 2 * padding - k) % s for i in size)
    exchanged = kernel.swapaxes(-1, -2)
    backward = matrix(
        lambda x: conv_transpose(x, exchanged, stride=s, padding=padding, output_padding=left_over), (1, *small, 3)
    )
    np.testing.assert_allclose(backward, forward.T, **ROUNDING)


def test_zero_insertion_is_the_transpose_of_taking_every_sth_sample():
    identity = one_channel([1.0])
    insert = matrix(lambda x: upsample(x, scale=3, method="zeros"), (1, 4, 1))
    take = matrix(lambda x: conv(x, identity, stride=3, padding="VALID"), (1, 12, 1))
    np.testing.assert_array_equal(insert, take.T)

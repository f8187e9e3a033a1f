"""The operators behind the layers, each against loops or a definition that shares no code with it."""

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
import scipy.signal

from checkerjax import conv_transpose, hold_taps
from checkerjax.ops._additive import bilinear_additive
from checkerjax.ops._carafe import carafe
from checkerjax.ops._fir import fir_conv, kaiser_taps
from checkerjax.ops._hold import hold
from checkerjax.ops._large_context import large_context_conv_transpose
from checkerjax.ops._pixel_transposed import pixel_transposed_conv
from checkerjax.ops._transposed import stamp

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))
ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below two hundred terms of size one


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("low", "size"), [(-3, 14), (2, 3), (7, 5), (-2, 1), (4, 12)])
@pytest.mark.parametrize("method", ["lax", "dots"])
def test_stamps_fall_where_they_are_told(rng, low, size, method):
    x, kernel = draw(rng, 2, 3, 4, 2), draw(rng, 4, 3, 2, 3)

    def run(x, kernel):
        return stamp("op", x, kernel, low=(low, 1), size=(size, 7), stride=(3, 2), dilation=(2, 1), method=method)

    expected = oracle.conv_transpose(x, kernel, (3, 2), (low, 1), (size, 7), (2, 1))
    np.testing.assert_allclose(jax.jit(run)(x, kernel), expected, **ROUNDING)
    ct = draw(rng, *expected.shape)
    _, pull = jax.vjp(run, jnp.asarray(x), jnp.asarray(kernel))
    units = [(1, 0, 2, 1), (0, 2, 1, 0)]  # the gradient of one input sample, from the stamp that it leaves
    for at in units:
        single = np.zeros_like(x)
        single[at] = 1
        stamped = oracle.conv_transpose(single, kernel, (3, 2), (low, 1), (size, 7), (2, 1))
        np.testing.assert_allclose(pull(jnp.asarray(ct))[0][at], (stamped * ct).sum(), **ROUNDING)


@pytest.mark.parametrize("grouping", ["consecutive", "strided"])
@pytest.mark.parametrize(
    ("size", "scale", "merged"), [((4,), (3,), None), ((3, 4), (2, 2), None), ((3, 2, 2), (1, 2, 2), 2)]
)
def test_bilinear_additive_interpolates_and_adds_channels(rng, size, scale, merged, grouping):
    n = merged or math.prod(scale)
    x = draw(rng, 2, *size, 2 * n)
    fine = x.astype(np.float64)
    for axis, (i, s) in enumerate(zip(size, scale), start=1):
        fine = oracle.along(oracle.interpolation(i, s, "linear", "half_pixel"), fine, axis)
    channels = [[c * n + j if grouping == "consecutive" else c + 2 * j for j in range(n)] for c in range(2)]
    expected = np.stack([sum(fine[..., c] for c in group) for group in channels], axis=-1)
    out = bilinear_additive(x, scale=scale, merged=merged, grouping=grouping)
    np.testing.assert_allclose(out, expected, **ROUNDING)


def carafe_loop(x, scores, scale, window, order):
    x, scores = np.asarray(x, np.float64), np.asarray(scores, np.float64)
    phases, taps = math.prod(scale), math.prod(window)
    out = np.zeros((x.shape[0], *(s * i for s, i in zip(scale, x.shape[1:-1])), x.shape[-1]))
    for n in np.ndindex(*out.shape[:-1]):
        at = tuple(a // s for a, s in zip(n[1:], scale))
        phase = int(np.ravel_multi_index(tuple(a % s for a, s in zip(n[1:], scale)), scale))
        which = [phase * taps + t if order == "depth_first" else t * phases + phase for t in range(taps)]
        weights = np.exp(scores[(n[0], *at)][which])
        for t, offset in enumerate(np.ndindex(*window)):
            m = tuple(a + o - w // 2 for a, o, w in zip(at, offset, window))
            if all(0 <= a < i for a, i in zip(m, x.shape[1:-1])):
                out[n] += weights[t] / weights.sum() * x[(n[0], *m)]
    return out


@pytest.mark.parametrize("order", ["depth_first", "channel_first"])
@pytest.mark.parametrize(
    ("size", "scale", "window"), [((5,), (3,), (3,)), ((3, 4), (2, 3), (3, 5)), ((2, 3, 2), (2, 1, 2), (1, 3, 3))]
)
def test_carafe_is_the_weighted_mean_of_each_window(rng, size, scale, window, order):
    x, scores = draw(rng, 2, *size, 2), draw(rng, 2, *size, math.prod(scale) * math.prod(window))
    out = carafe(x, scores, scale=scale, window=window, order=order)
    np.testing.assert_allclose(out, carafe_loop(x, scores, scale, window, order), **ROUNDING)


def test_carafe_keeps_a_flat_field_flat_away_from_the_border(rng):
    x = np.broadcast_to(draw(rng, 1, 1, 1, 3), (1, 8, 8, 3))
    out = carafe(jnp.asarray(x), draw(rng, 1, 8, 8, 4 * 25), scale=2)
    inside = np.asarray(out)[:, 4:-4, 4:-4]
    np.testing.assert_allclose(inside, np.broadcast_to(x[:, :1, :1], inside.shape), rtol=1e-6)
    assert np.ptp(np.asarray(out)[0, 0, :, 0]) > 0.1  # beyond the border there are zeros


def test_pixel_transposed_conv_follows_the_definition(rng):
    x = draw(rng, 2, 3, 4, 2)
    kernels, biases = (
        [draw(rng, 3, 3, 2, 3), draw(rng, 3, 3, 3, 3), draw(rng, 3, 3, 3, 3)],
        [draw(rng, 3), draw(rng, 3)],
    )
    pads, ones = [(1, 1)] * 2, (1, 1)
    first = oracle.conv(x, kernels[0], ones, pads, ones) + biases[0]
    second = oracle.conv(first, kernels[1], ones, pads, ones) + biases[1]
    placed = np.zeros((2, 6, 8, 3))
    placed[:, ::2, ::2], placed[:, 1::2, 1::2] = first, second
    expected = placed.copy()
    for i, j in itertools.product(range(6), range(8)):
        if (i + j) % 2 == 0:
            continue
        for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1)):  # of three by three, the taps at an odd distance
            if 0 <= i + di < 6 and 0 <= j + dj < 8:
                expected[:, i, j] += placed[:, i + di, j + dj] @ kernels[2][1 + di, 1 + dj].astype(np.float64)
    out = pixel_transposed_conv(jnp.asarray(x), kernels, biases=biases)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)  # three sums of 27, each of the one before
    assert not np.allclose(pixel_transposed_conv(jnp.asarray(x), kernels), out)


@pytest.mark.parametrize(
    ("large", "small", "stride"), [((7,), (3,), (2,)), ((5, 8), (3, 2), (3, 2)), ((3, 4, 3), (1, 3, 3), (2, 2, 1))]
)
def test_large_context_is_the_sum_of_two_transposed_convolutions(rng, large, small, stride):
    x, kernel, beside = draw(rng, 2, *(3 for _ in large), 2), draw(rng, *large, 2, 3), draw(rng, *small, 2, 3)
    expected = sum(
        oracle.conv_transpose(
            x,
            k,
            stride,
            *oracle.transposed_geometry((3,) * len(large), k.shape, stride, "SAME", (0,) * 3, (1,) * 3),
            (1,) * len(large),
        )
        for k in (kernel, beside)
    )
    np.testing.assert_allclose(large_context_conv_transpose(x, kernel, beside, stride=stride), expected, **ROUNDING)


TAPS = [(1.0, 3.0, 3.0, 1.0), (1.0, -2.0, 4.0), (2.0,)]


def convolved(kernel, taps):
    """The kernel with the taps along each axis, by NumPy."""
    for axis in range(kernel.ndim - 2):
        kernel = np.apply_along_axis(lambda row: np.convolve(row, taps), axis, kernel.astype(np.float64))
    return kernel


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("padding", ["SAME", "VALID", 1])
@pytest.mark.parametrize(("kernel_size", "scale"), [((3,), (2,)), ((3, 2), (2, 3)), ((2, 3, 1), (1, 2, 2))])
def test_fir_conv_is_the_convolution_with_the_filtered_kernel(rng, kernel_size, scale, padding, taps):
    ndim, row = len(kernel_size), np.array(taps) / np.sum(taps)
    size, whole, ones = (6,) * ndim, tuple(k + len(taps) - 1 for k in kernel_size), (1,) * ndim
    x, kernel = draw(rng, 1, *size, 2), draw(rng, *kernel_size, 2, 2)
    geometry = oracle.transposed_geometry(size, whole, scale, padding, (0,) * ndim, ones)
    expected = oracle.conv_transpose(x, convolved(kernel, row) * math.prod(scale), scale, *geometry, ones)
    np.testing.assert_allclose(fir_conv(x, kernel, taps=taps, up=scale, padding=padding), expected, **ROUNDING)
    pads = {"SAME": oracle.same_pads(size, whole, scale, ones), "VALID": [(0, 0)] * ndim}.get(padding, [(1, 1)] * ndim)
    if any(i + sum(p) < w for i, p, w in zip(size, pads, whole)):
        return
    expected = oracle.conv(x, convolved(kernel, row), scale, pads, ones)
    np.testing.assert_allclose(fir_conv(x, kernel, taps=taps, down=scale, padding=padding), expected, **ROUNDING)


def test_fir_conv_up_and_down_are_each_others_adjoint(rng):
    kernel = draw(rng, 3, 3, 2, 3)
    x, y = draw(rng, 1, 4, 5, 2), draw(rng, 1, 8, 10, 3)
    up = fir_conv(x, kernel, up=2, taps=(1.0, 2.0, 3.0))
    down = fir_conv(y, kernel.swapaxes(-1, -2), down=2, taps=(1.0, 2.0, 3.0))
    np.testing.assert_allclose(np.vdot(up, y), 4 * np.vdot(x, down), rtol=1e-4)  # the gain of 2 an axis, going up


@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 1.0)])
def test_fir_conv_has_no_lines_for_a_flat_input(rng, taps):
    x = jnp.broadcast_to(draw(rng, 1, 1, 1, 2), (1, 8, 8, 2))
    kernel = draw(rng, 3, 3, 2, 2)
    inside = np.asarray(fir_conv(x, kernel, up=2, taps=taps))[:, 4:-4, 4:-4]
    assert np.ptp(inside, axis=(1, 2)).max() < 1e-5
    bare = np.asarray(fir_conv(x, kernel, up=2, taps=(1.0,)))[:, 4:-4, 4:-4]
    assert np.ptp(bare, axis=(1, 2)).max() > 0.1


@pytest.mark.parametrize(
    ("size", "cutoff", "width"), [(12, 0.25, 0.1), (24, 0.1, 0.02), (6, 0.3, 0.4), (61, 0.2, 0.3), (1, 0.2, 0.1)]
)
def test_kaiser_taps_are_scipys(size, cutoff, width):
    expected = scipy.signal.firwin(size, cutoff, width=width, fs=1.0)
    np.testing.assert_allclose(kaiser_taps(size, cutoff=cutoff, width=width), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("pad_mode", ["zeros", "edge"])
def test_hold_filters_each_axis(rng, order, pad_mode):
    x = draw(rng, 2, 6, 7, 2)
    out = hold(jnp.asarray(x), scale=(3, 2), order=order, pad_mode=pad_mode)
    expected = x.astype(np.float64)
    for axis, s in ((1, 3), (2, 2)):
        taps = hold_taps(s, order=order)
        low = (len(taps) - 1) // 2
        pads = [(0, 0)] * 4
        pads[axis] = (low, len(taps) - 1 - low)
        padded = np.pad(expected, pads, mode="constant" if pad_mode == "zeros" else "edge")
        expected = np.apply_along_axis(lambda row, taps=taps: np.convolve(row, taps[::-1], "valid"), axis, padded)
    np.testing.assert_allclose(out, expected, **ROUNDING)


def test_a_hold_after_a_transposed_convolution_makes_phases_equal(rng):
    x = jnp.broadcast_to(draw(rng, 1, 1, 1, 2), (1, 8, 8, 2))
    y = conv_transpose(x, draw(rng, 3, 3, 2, 2), stride=2)
    assert np.ptp(np.asarray(y)[:, 4:-4, 4:-4], axis=(1, 2)).max() > 0.1
    assert np.ptp(np.asarray(hold(y, scale=2))[:, 4:-4, 4:-4], axis=(1, 2)).max() < 1e-5


BAD = {
    "channels do not divide": (
        lambda: bilinear_additive(jnp.ones((1, 2, 3)), scale=2),
        "bilinear_additive: axis C of x must be a multiple of merged=2; got 3",
    ),
    "grouping": (
        lambda: bilinear_additive(jnp.ones((1, 2, 2)), scale=2, grouping="strided?"),
        "did you mean 'strided'",
    ),
    "even window": (
        lambda: carafe(jnp.ones((1, 2, 1)), jnp.ones((1, 2, 8)), scale=2, window=4),
        "carafe: window must be odd",
    ),
    "scores": (
        lambda: carafe(jnp.ones((1, 2, 1)), jnp.ones((1, 2, 5)), scale=2, window=3),
        r"carafe: scores must be .* = \(1, 2, 6\)",
    ),
    "two kernels": (
        lambda: pixel_transposed_conv(jnp.ones((1, 2, 2, 1)), [jnp.ones((3, 3, 1, 1))] * 2),
        "kernels must be a sequence of three arrays; got 2 of them",
    ),
    "even kernel": (
        lambda: pixel_transposed_conv(jnp.ones((1, 2, 2, 1)), [jnp.ones((2, 2, 1, 1))] * 3),
        "must have odd sizes",
    ),
    "one axis": (
        lambda: pixel_transposed_conv(jnp.ones((1, 2, 1)), [jnp.ones((3, 1, 1))] * 3),
        "defined for two spatial axes",
    ),
    "too small": (
        lambda: large_context_conv_transpose(jnp.ones((1, 2, 1)), jnp.ones((3, 1, 1)), jnp.ones((5, 1, 1))),
        "small must lie inside kernel; got sizes 5 and 3 on axis H",
    ),
    "other channels": (
        lambda: large_context_conv_transpose(jnp.ones((1, 2, 1)), jnp.ones((7, 1, 2)), jnp.ones((3, 1, 1))),
        "the channels of kernel",
    ),
    "up and down": (
        lambda: fir_conv(jnp.ones((1, 2, 1)), jnp.ones((3, 1, 1)), up=2, down=2),
        "only one of up and down",
    ),
    "no sum": (
        lambda: fir_conv(jnp.ones((1, 2, 1)), jnp.ones((3, 1, 1)), taps=(1.0, -1.0), up=2),
        "taps must not sum to 0",
    ),
    "cutoff": (lambda: kaiser_taps(6, cutoff=0.5, width=0.1), "cutoff must be above 0 and below 0.5"),
    "short": (lambda: hold(jnp.ones((1, 2, 1)), scale=4, padding="VALID"), "hold: axis H of x is 2"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_input_is_named(case):
    call, message = case
    with pytest.raises(ValueError, match=message):
        call()


def test_narrow_dtypes_are_kept(rng):
    x = jnp.asarray(draw(rng, 1, 4, 4, 4), jnp.bfloat16)
    kernel = jnp.ones((3, 3, 4, 2), jnp.bfloat16)
    for y in (
        bilinear_additive(x, scale=2),
        carafe(x, jnp.zeros((1, 4, 4, 36), jnp.bfloat16), scale=2, window=3),
        fir_conv(x, kernel, up=2),
        hold(x),
        large_context_conv_transpose(x, jnp.ones((7, 7, 4, 2), jnp.bfloat16), kernel),
    ):
        assert y.dtype == jnp.bfloat16

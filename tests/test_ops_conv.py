"""`conv` and `conv_transpose` against float64 loops, lax, and each other's transpose."""

import functools
import itertools
import pathlib
import re
import runpy
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from checkerjax import conv, conv_transpose

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

LAYOUTS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a hundred terms of size one


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


# size, kernel, stride, padding, dilation, groups, I per group, O
CONVS = {
    "plain": ((7,), (3,), (1,), "SAME", (1,), 1, 2, 3),
    "stride, odd SAME": ((8,), (3,), (2,), "SAME", (1,), 1, 2, 3),
    "stride over kernel": ((8,), (2,), (3,), "SAME", (1,), 1, 2, 3),
    "dilated VALID": ((9,), (3,), (2,), "VALID", (3,), 1, 1, 2),
    "asymmetric": ((6,), (4,), (1,), ((0, 5),), (1,), 1, 2, 2),
    "grouped": ((6,), (3,), (1,), "SAME", (1,), 2, 2, 4),
    "depthwise": ((6,), (3,), (2,), "VALID", (1,), 3, 1, 6),
    "per axis": ((6, 5), (3, 2), (2, 1), "SAME", (1, 2), 1, 2, 3),
    "all at once": ((7, 6), (2, 3), (1, 3), ((2, 0), (1, 4)), (3, 1), 2, 1, 4),
    "int padding": ((5, 4), (3, 3), (2, 2), 2, (1, 1), 1, 2, 2),
    "volume": ((4, 3, 5), (2, 3, 2), (1, 2, 2), "SAME", (2, 1, 1), 1, 2, 2),
    "volume, pairs": ((3, 4, 3), (3, 1, 2), (2, 1, 1), ((1, 2), (0, 1), (1, 0)), (1, 1, 2), 1, 1, 2),
}


def explicit(padding, size, kernel, stride, dilation):
    if padding == "SAME":
        return oracle.same_pads(size, kernel, stride, dilation)
    if padding == "VALID":
        return [(0, 0)] * len(size)
    return [(padding, padding)] * len(size) if isinstance(padding, int) else list(padding)


@pytest.mark.parametrize("case", CONVS.values(), ids=CONVS)
def test_conv_is_the_sum_of_its_definition(mode, rng, case):
    size, k, s, padding, d, groups, inputs, outputs = case
    x, kernel = draw(rng, 2, *size, inputs * groups), draw(rng, *k, inputs, outputs)
    out = mode(functools.partial(conv, stride=s, padding=padding, dilation=d, groups=groups))(x, kernel)
    expected = oracle.conv(x, kernel, s, explicit(padding, size, k, s, d), d, groups)
    np.testing.assert_allclose(out, expected, **ROUNDING)


# size, kernel, stride, padding, output_padding, dilation, groups, I, O per group
TRANSPOSES = {
    "article's figure 2": ((8,), (3,), (2,), "SAME", (0,), (1,), 1, 2, 3),
    "SAME, even": ((5,), (4,), (2,), "SAME", (0,), (1,), 1, 2, 3),
    "SAME, k < s": ((4,), (2,), (3,), "SAME", (0,), (1,), 1, 2, 3),
    "SAME, dilated": ((4,), (3,), (2,), "SAME", (1,), (3,), 1, 1, 2),
    "VALID, k < s": ((4,), (2,), (5,), "VALID", (0,), (1,), 1, 2, 2),
    "VALID, k > s": ((4,), (5,), (2,), "VALID", (1,), (1,), 1, 2, 2),
    "output_padding below dilation": ((3,), (2,), (1,), 1, (2,), (3,), 1, 1, 2),
    "crop beyond the kernel": ((6,), (2,), (2,), ((4, 3),), (0,), (1,), 1, 2, 2),
    "grouped": ((4,), (3,), (2,), 1, (1,), (1,), 2, 4, 3),
    "depthwise": ((4,), (4,), (3,), ((0, 2),), (0,), (1,), 3, 3, 1),
    "per axis": ((4, 3), (3, 2), (2, 3), "SAME", (0, 2), (1, 1), 1, 2, 3),
    "all at once": ((3, 4), (2, 3), (3, 2), ((1, 0), (0, 3)), (2, 1), (2, 3), 2, 2, 2),
    "int padding": ((3, 4), (4, 4), (2, 2), 1, (0, 0), (1, 1), 1, 2, 2),
    "volume": ((3, 2, 3), (2, 3, 2), (2, 1, 3), "SAME", (1, 0, 0), (1, 2, 1), 1, 2, 2),
    "volume, pairs": ((2, 3, 2), (3, 1, 2), (2, 2, 1), ((0, 1), (0, 0), (1, 0)), (0, 1, 0), (1, 1, 2), 1, 1, 2),
}


@pytest.mark.parametrize("case", TRANSPOSES.values(), ids=TRANSPOSES)
def test_conv_transpose_stamps_the_kernel(mode, rng, case):
    size, k, s, padding, extra, d, groups, inputs, outputs = case
    x, kernel = draw(rng, 2, *size, inputs), draw(rng, *k, inputs, outputs)
    options: dict[str, Any] = {
        "stride": s,
        "padding": padding,
        "output_padding": extra,
        "dilation": d,
        "groups": groups,
    }
    out = mode(functools.partial(conv_transpose, **options))(x, kernel)
    low, out_size = oracle.transposed_geometry(size, k, s, padding, extra, d)
    np.testing.assert_allclose(out, oracle.conv_transpose(x, kernel, s, low, out_size, d, groups), **ROUNDING)


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_conv_transpose_stamps_the_kernel_for_drawn_shapes(data):
    i, k, s, d = (data.draw(st.sampled_from(choice), name) for name, choice in SMALL.items())
    low = data.draw(st.integers(0, 3), "low")
    high = data.draw(st.integers(0, max(0, min(3, s * (i - 1) + d * (k - 1) - low))), "high")
    extra = data.draw(st.integers(0, max(s, d) - 1), "output_padding")
    groups = data.draw(st.sampled_from([1, 2]), "groups")
    out_size = s * (i - 1) + d * (k - 1) + 1 - low - high + extra
    rng = np.random.default_rng(0)
    x, kernel = draw(rng, 1, i, 2), draw(rng, k, 2, 1)
    if out_size < 1:
        with pytest.raises(ValueError, match="leaves no output"):
            conv_transpose(x, kernel, stride=s, padding=[(low, high)], dilation=d, groups=groups, output_padding=extra)
        return
    out = conv_transpose(x, kernel, stride=s, padding=[(low, high)], dilation=d, groups=groups, output_padding=extra)
    expected = oracle.conv_transpose(x, kernel, (s,), (low,), (out_size,), (d,), groups)
    np.testing.assert_allclose(out, expected, **ROUNDING)


SMALL = {"i": [1, 2, 4], "k": [1, 2, 3, 5], "s": [1, 2, 3, 4], "d": [1, 2, 3]}


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("stride", "size"), [(1, 3), (2, 3), (2, 4), (3, 2)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_conv_transpose_is_the_adjoint_of_conv_with_i_and_o_exchanged(rng, ndim, stride, size, padding):
    x, kernel = draw(rng, 2, *(4,) * ndim, 3), draw(rng, *(size,) * ndim, 3, 2)
    out = conv_transpose(x, kernel, stride=stride, padding=padding)

    def lax_conv(y):
        exchanged = kernel.swapaxes(-1, -2)
        return lax.conv_general_dilated(y, exchanged, (stride,) * ndim, padding, dimension_numbers=LAYOUTS[ndim])

    _, pullback = jax.vjp(lax_conv, jnp.zeros(out.shape))
    np.testing.assert_allclose(out, *pullback(jnp.asarray(x)), **ROUNDING)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "size", "dilation"), [(2, 3, 1), (2, 4, 1), (4, 3, 1), (3, 3, 2), (1, 2, 3)])
def test_conv_transpose_is_laxs_with_the_flipped_kernel(rng, stride, size, dilation, padding):
    x, kernel = draw(rng, 2, 4, 3, 2), draw(rng, size, size, 2, 3)
    out = conv_transpose(x, kernel, stride=stride, padding=padding, dilation=dilation)
    expected = lax.conv_transpose(
        jnp.asarray(x),
        jnp.asarray(kernel[::-1, ::-1]),
        (stride,) * 2,
        padding,
        rhs_dilation=(dilation,) * 2,
        dimension_numbers=LAYOUTS[2],
    )
    np.testing.assert_allclose(out, expected, **ROUNDING)


@pytest.mark.parametrize("name", ["all at once", "volume, pairs"])
def test_float64_keeps_twelve_digits(rng, name):
    with jax.enable_x64(True):
        size, k, s, padding, d, groups, inputs, outputs = CONVS[name]
        x, kernel = rng.normal(size=(2, *size, inputs * groups)), rng.normal(size=(*k, inputs, outputs))
        out = conv(x, kernel, stride=s, padding=padding, dilation=d, groups=groups)
        expected = oracle.conv(x, kernel, s, explicit(padding, size, k, s, d), d, groups)
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
        size, k, s, padding, extra, d, groups, inputs, outputs = TRANSPOSES[name]
        x, kernel = rng.normal(size=(2, *size, inputs)), rng.normal(size=(*k, inputs, outputs))
        out = conv_transpose(x, kernel, stride=s, padding=padding, output_padding=extra, dilation=d, groups=groups)
        low, out_size = oracle.transposed_geometry(size, k, s, padding, extra, d)
        expected = oracle.conv_transpose(x, kernel, s, low, out_size, d, groups)
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_groups_are_pytorchs_blocks(rng):
    x, kernel = draw(rng, 2, 4, 6), draw(rng, 3, 6, 2)
    out = conv_transpose(x, kernel, stride=2, groups=3)
    blocks = [conv_transpose(x[..., 2 * g : 2 * g + 2], kernel[:, 2 * g : 2 * g + 2], stride=2) for g in range(3)]
    np.testing.assert_allclose(out, np.concatenate(blocks, axis=-1), **ROUNDING)
    assert out.shape == (2, 8, 6)


@pytest.mark.parametrize(("size", "stride"), [(2, 4), (1, 3), (3, 5)])
def test_outputs_that_no_tap_reaches_are_exact_zeros(rng, size, stride):
    out = conv_transpose(draw(rng, 1, 3, 1), jnp.ones((size, 1, 1)), stride=stride)
    holes = np.asarray(out).reshape(3, stride)
    assert (holes[:, size:] == 0).all()
    assert (holes[:, :size] != 0).all()


def test_output_padding_appends_what_the_stamps_leave_there(rng):
    x, kernel = draw(rng, 1, 3, 1), draw(rng, 5, 1, 1)
    short = conv_transpose(x, kernel, stride=3, padding=2)
    longer = conv_transpose(x, kernel, stride=3, padding=2, output_padding=2)
    np.testing.assert_allclose(longer[:, :-2], short, **ROUNDING)
    assert (np.abs(longer[:, -2:]) > 0).all()  # two taps that the padding had cropped, not zeros


def test_a_list_a_tuple_an_array_and_an_int_say_the_same(rng):
    x, kernel = draw(rng, 1, 4, 4, 1), draw(rng, 3, 3, 1, 1)
    expected = conv_transpose(x, kernel, stride=2, padding=1, dilation=1)
    strides: list[Any] = [[2, 2], (2, 2), np.array([2, 2]), np.int64(2)]
    paddings: list[Any] = [[(1, 1), (1, 1)], np.ones((2, 2), int), [[1, 1], np.array([1, 1])]]
    for stride, padding in itertools.product(strides, paddings):
        np.testing.assert_array_equal(conv_transpose(x, kernel, stride=stride, padding=padding), expected)
    np.testing.assert_array_equal(
        conv_transpose(x, kernel, stride=2, padding="same"), conv_transpose(x, kernel, stride=2)
    )


@pytest.mark.parametrize("method", ["lax", "dots", "auto"])
@pytest.mark.parametrize("operator", [conv, conv_transpose])
@pytest.mark.parametrize("precision", ["default", "high"])  # the default of these tests is "highest"
def test_precision_reaches_every_product(operator, method, precision):
    f = functools.partial(operator, stride=2, precision=precision, method=method)
    gradients = jax.grad(lambda x, kernel: jnp.sum(jnp.square(f(x, kernel))), (0, 1))
    for work, products in ((f, 1), (gradients, 3)):
        text = jax.jit(work).lower(jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1))).as_text()
        found = re.findall(r"\b(DEFAULT|HIGHEST|HIGH)\b", text)
        assert set(found) == {precision.upper()}
        assert len(found) >= 2 * products

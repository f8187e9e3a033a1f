"""Depth to space, sub-pixel convolution, the ICNR initialisers, and `project_equal_gains`."""

import functools
import pathlib
import runpy
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import (
    conv,
    conv_transpose,
    depth_to_space,
    icnr,
    icnr_transpose,
    project_equal_gains,
    space_to_depth,
    subpixel_conv,
)

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a hundred terms of size one
ORDERS = ["depth_first", "channel_first"]
BLOCKS = [((3,), 2), ((2, 3), (3, 2)), ((2, 2, 2), (2, 1, 3))]


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("size", "block"), BLOCKS)
def test_depth_to_space_takes_the_channel_of_its_docstring(mode, rng, size, block, order):
    blocks = np.broadcast_to(block, len(size)).tolist()
    x = draw(rng, 2, *size, int(np.prod(blocks)) * 3)
    out = mode(functools.partial(depth_to_space, block=block, order=order))(x)
    np.testing.assert_array_equal(out, oracle.shuffled(x, blocks, order))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("size", "block"), BLOCKS)
def test_space_to_depth_is_the_inverse(mode, rng, size, block, order):
    blocks = np.broadcast_to(block, len(size)).tolist()
    low = draw(rng, 2, *size, int(np.prod(blocks)) * 2)
    back = mode(functools.partial(space_to_depth, block=block, order=order))
    np.testing.assert_array_equal(back(oracle.shuffled(low, blocks, order).astype(np.float32)), low)


def test_the_orders_are_those_of_the_frameworks():
    x = jnp.arange(8.0).reshape(1, 1, 1, 8)
    depth_first = depth_to_space(x, block=2, order="depth_first")
    channel_first = depth_to_space(x, block=2, order="channel_first")
    for p, q, c in np.ndindex(2, 2, 2):
        assert depth_first[0, p, q, c] == (2 * p + q) * 2 + c  # TensorFlow: (r dy + dx) C + c
        assert channel_first[0, p, q, c] == 4 * c + 2 * p + q  # PyTorch: r^2 c + r dy + dx


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("size", "scale"), BLOCKS)
@pytest.mark.parametrize("padding", ["SAME", "VALID", "pairs"])
def test_subpixel_conv_is_a_convolution_then_the_shuffle(rng, size, scale, order, padding):
    ndim = len(size)
    scales = np.broadcast_to(scale, ndim).tolist()
    k = (2, 1, 2)[:ndim]
    x, kernel = draw(rng, 1, *size, 2), draw(rng, *k, 2, int(np.prod(scales)) * 2)
    pairs = [(1, 2), (0, 1), (3, 0)][:ndim] if padding == "pairs" else padding
    ones = (1,) * ndim
    pads = {"SAME": oracle.same_pads(size, k, ones, ones), "VALID": [(0, 0)] * ndim, "pairs": pairs}[padding]
    out = subpixel_conv(x, kernel, scale=scale, padding=pairs, order=order)
    expected = oracle.shuffled(oracle.conv(x, kernel, ones, pads, ones), scales, order)
    np.testing.assert_allclose(out, expected, **ROUNDING)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("size", "scale"), BLOCKS)
def test_icnr_starts_as_a_convolution_then_a_repetition(mode, rng, size, scale, order):
    ndim = len(size)
    scales = np.broadcast_to(scale, ndim).tolist()
    x, base = draw(rng, 2, *size, 2), draw(rng, *(3,) * ndim, 2, 3)
    out = mode(lambda v, b: subpixel_conv(v, icnr(b, scale=scale, order=order), scale=scale, order=order))(x, base)
    expected = oracle.conv(x, base, (1,) * ndim, [(1, 1)] * ndim, (1,) * ndim)
    for axis, s in enumerate(scales, start=1):
        expected = np.repeat(expected, s, axis=axis)
    np.testing.assert_allclose(out, expected, **ROUNDING)


def test_icnr_of_the_other_order_is_no_repetition(rng):
    x, base = draw(rng, 1, 4, 1), draw(rng, 3, 1, 2)
    mixed = np.asarray(subpixel_conv(x, icnr(base, scale=2, order="depth_first"), scale=2, order="channel_first"))
    assert np.abs(mixed[:, ::2] - mixed[:, 1::2]).max() > 0.1


@pytest.mark.parametrize(("k", "stride"), [((4,), 2), ((6, 2), (3, 2)), ((2, 4, 3), (2, 2, 1))])
def test_icnr_transpose_gives_constant_blocks(rng, k, stride):
    ndim = len(k)
    strides = np.broadcast_to(stride, ndim).tolist()
    x, base = draw(rng, 1, *(3,) * ndim, 2), draw(rng, *k, 2, 2)
    out = np.asarray(conv_transpose(x, icnr_transpose(base, stride=stride), stride=stride, padding="VALID"))
    for axis, s in enumerate(strides, start=1):
        firsts = np.take(out, range(0, out.shape[axis], s), axis=axis)
        np.testing.assert_allclose(out, np.repeat(firsts, s, axis=axis), **ROUNDING)


def test_icnr_transpose_is_a_convolution_then_a_repetition(rng):
    x, base = draw(rng, 1, 5, 2), draw(rng, 6, 2, 3)
    out = conv_transpose(x, icnr_transpose(base, stride=2), stride=2, padding="VALID")
    kept = base[::2][::-1]  # stamped taps, read by a correlation
    expected = np.repeat(oracle.conv(x, kept, (1,), [(2, 2)], (1,)), 2, axis=1)
    np.testing.assert_allclose(out, expected, **ROUNDING)


def test_icnr_transpose_needs_a_stride_that_divides_the_size(mode):
    message = r"icnr_transpose: stride must divide the kernel size; got stride 2 and size 5 on axis W\. Take .* size 6"
    with pytest.raises(ValueError, match=message):
        mode(functools.partial(icnr_transpose, stride=2))(jnp.ones((4, 5, 1, 1)))


def phases(k, s, d):
    """Rows that sum the taps of each phase, over all axes, of a flattened kernel."""
    rows = np.ones((1, 1))
    for size, stride, dilation in zip(k, s, d):
        axis = np.array([[float(dilation * j % stride == r) for j in range(size)] for r in range(stride)])
        rows = np.einsum("ab,cd->acbd", rows, axis).reshape(rows.shape[0] * stride, rows.shape[1] * size)
    return rows


PROJECTIONS = [
    ((3,), (2,), (1,)),
    ((7,), (3,), (2,)),
    ((4,), (1,), (1,)),
    ((3, 5), (2, 3), (1, 1)),
    ((4, 3), (3, 2), (2, 3)),
]


@pytest.mark.parametrize(("k", "s", "d"), [*PROJECTIONS, ((3, 2, 2), (2, 1, 2), (1, 1, 1))])
def test_the_projection_is_the_least_squares_one(mode, rng, k, s, d):
    kernel = draw(rng, *k, 2, 2)
    out = mode(lambda v: project_equal_gains(v, s, dilation=d))(kernel)
    rows = phases(k, s, d)
    # minimise |w - kernel|^2 / 2 subject to (row_r - row_0) w = 0: the conditions of Karush, Kuhn and Tucker
    constraints = rows[1:] - rows[0]
    taps, many = rows.shape[1], len(constraints)
    system = np.block([[np.eye(taps), constraints.T], [constraints, np.zeros((many, many))]])
    right = np.concatenate([kernel.reshape(taps, -1).astype(np.float64), np.zeros((many, 4))])
    expected = np.linalg.solve(system, right)[:taps].reshape(kernel.shape)
    np.testing.assert_allclose(out, expected, **ROUNDING)


@pytest.mark.parametrize(("k", "s", "d"), PROJECTIONS)
def test_projected_gains_are_equal_and_stay(rng, k, s, d):
    once = project_equal_gains(draw(rng, *k, 2, 2), s, dilation=d)
    gains = phases(k, s, d) @ np.asarray(once, np.float64).reshape(-1, 4)
    np.testing.assert_allclose(gains, gains[:1].repeat(len(gains), 0), **ROUNDING)
    np.testing.assert_allclose(project_equal_gains(once, s, dilation=d), once, **ROUNDING)


def test_a_projected_kernel_keeps_flat_fields_flat(rng):
    kernel = draw(rng, 5, 5, 2, 2)
    ones = jnp.ones((1, 6, 6, 2))
    rough, smooth = (
        np.asarray(conv_transpose(ones, w, stride=2))[:, 3:-3, 3:-3] for w in (kernel, project_equal_gains(kernel, 2))
    )
    assert np.ptp(rough, axis=(1, 2)).min() > 0.1
    np.testing.assert_allclose(smooth, np.broadcast_to(smooth[:, :1, :1], smooth.shape), **ROUNDING)


@pytest.mark.parametrize(
    ("k", "s", "d", "axis"), [((2,), 3, 1, "H"), ((4, 4), 2, (1, 2), "W"), ((3, 3, 2), (1, 2, 3), 1, "W")]
)
def test_a_phase_without_taps_is_refused(mode, k, s, d, axis):
    with pytest.raises(ValueError, match=f"project_equal_gains: a phase of axis {axis} gets no tap") as error:
        mode(lambda v: project_equal_gains(v, s, dilation=d))(jnp.ones((*k, 1, 1)))
    assert "take a kernel of size" in str(error.value)


def test_icnr_is_a_convolution_at_low_resolution_repeated_and_not_the_reverse(rng):
    """A resize-convolution repeats first, so its output is not constant on blocks."""
    x, base = draw(rng, 1, 5, 1), draw(rng, 3, 1, 1)
    out = subpixel_conv(x, icnr(base, scale=2), scale=2)
    np.testing.assert_allclose(out, jnp.repeat(conv(x, base), 2, axis=1), **ROUNDING)


def test_gradients_flow_through_the_initialisers(rng):
    """Each base tap is copied to every phase, so its gradient counts the copies."""
    base = jnp.asarray(draw(rng, 4, 1, 1))
    assert jax.grad(lambda b: icnr(b, scale=3).sum())(base).ravel().tolist() == [3.0] * 4
    assert jax.grad(lambda b: icnr_transpose(b, stride=2).sum())(base).ravel().tolist() == [2.0, 0.0, 2.0, 0.0]

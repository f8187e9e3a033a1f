"""`downsample` against float64 loops over windows, and its gradients."""

import functools
import math
import pathlib
import runpy
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import downsample

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a hundred terms of size one
SIZES = {1: (9,), 2: (6, 5), 3: (4, 5, 6)}


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def average(values):
    return values.mean(axis=tuple(range(1, values.ndim - 1)))


def largest(values):
    return values.max(axis=tuple(range(1, values.ndim - 1)))


def weighted(rows, values):
    for row in rows:
        values = np.tensordot(row, values, axes=(0, 1))
    return values


# method, window, padding, scale per axis -> window, pads, numpy's padding, for a field of SIZES[2]
CASES = {
    "stride": ("stride", None, None, (2, 3), (1, 1), [(0, 0), (0, 0)], {}),
    "stride, padded": ("stride", None, ((1, 0), (0, 2)), (2, 2), (1, 1), [(1, 0), (0, 2)], {}),
    "average": ("average", None, None, (2, 2), (2, 2), [(0, 0), (0, 0)], {}),
    "average, window": ("average", (3, 2), "SAME", (2, 1), (3, 2), [(0, 1), (0, 1)], {}),
    "average, edge": ("average", 3, 1, (1, 2), (3, 3), [(1, 1), (1, 1)], {"mode": "edge"}),
    "max": ("max", None, None, (3, 2), (3, 2), [(0, 0), (0, 0)], {}),
    "max, overlapping": ("max", 3, "SAME", (2, 2), (3, 3), [(0, 1), (1, 1)], {"constant_values": -math.inf}),
    "max, pairs": ("max", (2, 3), ((1, 0), (2, 1)), (1, 2), (2, 3), [(1, 0), (2, 1)], {"constant_values": -math.inf}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_output_is_its_window(mode, rng, case):
    method, window, padding, scale, wide, pads, filling = case
    x = draw(rng, 2, *SIZES[2], 3) - (2 if method == "max" else 0)  # below zero, zero padding would win
    pad_mode = {"pad_mode": "edge"} if filling.get("mode") == "edge" else {}
    out = mode(functools.partial(downsample, scale=scale, method=method, window=window, padding=padding, **pad_mode))(x)
    reduce = largest if method == "max" else average
    np.testing.assert_allclose(out, oracle.windows(x, scale, wide, pads, filling, reduce), **ROUNDING)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("window", [None, 2, 5])
def test_blur_is_a_binomial_row_then_every_sth_sample(rng, ndim, scale, window):
    x = draw(rng, 2, *SIZES[ndim], 2)
    width = window or scale + 1
    row = [math.comb(width - 1, j) / 2 ** (width - 1) for j in range(width)]
    s, k, d = (scale,) * ndim, (width,) * ndim, (1,) * ndim
    pads = oracle.same_pads(SIZES[ndim], k, s, d)
    expected = oracle.windows(x, s, k, pads, {"mode": "reflect"}, functools.partial(weighted, [row] * ndim))
    out = jax.jit(functools.partial(downsample, scale=scale, method="blur", window=window))(x)
    np.testing.assert_allclose(out, expected, **ROUNDING)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("scale", [2, 3])
def test_l2_is_the_root_of_hann_weighted_squares(mode, rng, ndim, scale):
    x = draw(rng, 2, *SIZES[ndim], 2)
    width = 2 * scale - 1
    row = np.hanning(width + 2)[1:-1] / np.hanning(width + 2).sum()
    s, k, d = (scale,) * ndim, (width,) * ndim, (1,) * ndim
    pads = oracle.same_pads(SIZES[ndim], k, s, d)
    power = oracle.windows(x.astype(np.float64) ** 2, s, k, pads, {}, functools.partial(weighted, [row] * ndim))
    out = mode(functools.partial(downsample, scale=scale, method="l2"))(x)
    np.testing.assert_allclose(out, np.sqrt(power + 1e-12), **ROUNDING)


def test_float64_keeps_twelve_digits(rng):
    x = rng.normal(size=(1, 9, 1))
    squared = oracle.windows(x**2, (3,), (5,), [(1, 1)], {}, functools.partial(weighted, [np.hanning(7)[1:-1] / 3]))
    with jax.enable_x64(True):
        rounding: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}
        np.testing.assert_allclose(downsample(x, scale=3, method="l2"), np.sqrt(squared + 1e-12), **rounding)
        thirds = downsample(x, scale=3, method="average")
        np.testing.assert_allclose(thirds, x.reshape(1, 3, 3, 1).mean(2), **rounding)


def test_scale_per_axis_in_every_method(rng):
    x = draw(rng, 1, 6, 6, 1)
    for method in ["stride", "average", "max", "blur", "l2"]:
        pool = functools.partial(downsample, method=method)
        both, apart = jax.jit(lambda v, pool=pool: (pool(v, scale=(2, 3)), pool(pool(v, scale=(2, 1)), scale=(1, 3))))(
            x
        )
        np.testing.assert_allclose(both, apart, **ROUNDING)


@pytest.mark.parametrize("value", [0.0, -1.5])
def test_max_routes_each_gradient_to_exactly_one_sample_of_its_window(mode, value):
    x = jnp.full((1, 4, 6, 1), value)  # all equal: still one winner
    gradient = mode(jax.grad(lambda v: downsample(v, scale=(2, 3), method="max").sum()))(x)
    assert sorted(set(np.asarray(gradient).ravel().tolist())) == [0.0, 1.0]
    np.testing.assert_array_equal(
        oracle.windows(gradient, (2, 3), (2, 3), [(0, 0)] * 2, {}, lambda v: v.sum((1, 2))), 1
    )


def test_max_routes_to_the_largest(rng):
    x = rng.permutation(24).astype(np.float32).reshape(1, 4, 6, 1)
    gradient = jax.grad(lambda v: downsample(v, scale=2, method="max").sum())(jnp.asarray(x))
    winners = np.isin(x, np.asarray(downsample(x, scale=2, method="max")))
    np.testing.assert_array_equal(gradient, winners)


def test_overlapping_maxima_add_their_gradients():
    x = jnp.array([0.0, 1.0, 5.0, 1.0, 0.0]).reshape(1, 5, 1)
    gradient = jax.grad(lambda v: downsample(v, scale=1, method="max", window=3).sum())(x)
    assert gradient.ravel().tolist() == [0, 0, 3, 0, 0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_gradient_of_l2_is_finite_at_zero(mode, dtype):
    pool = functools.partial(downsample, scale=2, method="l2")
    out, pullback = jax.vjp(mode(pool), jnp.zeros((1, 4, 1), dtype))
    [gradient] = pullback(jnp.ones_like(out))
    assert jnp.isfinite(gradient).all()
    assert jnp.isfinite(out).all()
    assert gradient.dtype == out.dtype == dtype


def test_padding_never_wins_a_maximum(rng):
    x = draw(rng, 1, 5, 1) - 10
    assert (downsample(x, scale=1, method="max", window=3, padding="SAME") < -1).all()


def test_the_gradient_of_a_strided_pool_with_even_windows_is_flat(rng):
    """Averages over windows that the stride divides give each input the same weight; over others they do not."""
    for window, even in [(2, True), (4, True), (3, False)]:
        pool = functools.partial(downsample, scale=2, method="average", window=window)
        gradient = jax.jit(jax.grad(lambda v, pool=pool: pool(v).sum()))(jnp.ones((1, 16, 1)))
        assert (np.ptp(np.asarray(gradient)[:, 4:-4]) < 1e-6) == even

"""Resize-convolution at low resolution, and sub-pixel convolution in fast forms, equal the definition everywhere."""

from __future__ import annotations

import itertools
import pathlib
import re
import runpy
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from checkerjax import resize_conv, subpixel_conv
from checkerjax.ops import _fused_resize
from checkerjax.ops._resize_plan import plan_axis

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

MODES = ("zeros", "edge", "reflect", "symmetric", "wrap")
NUMPY_MODES = {mode: "constant" if mode == "zeros" else mode for mode in MODES}


def draw(rng, *shape, dtype="float32"):
    return rng.normal(size=shape).astype(dtype)


def defined(x, kernel, scale, pads, method, centres, mode):
    """conv(pad(upsample(x))) in float64, by loops and matrices."""
    x = np.asarray(x, np.float64)
    for axis, s in enumerate(scale, start=1):
        size = x.shape[axis]
        matrix = (
            np.kron(np.eye(size), np.eye(s)[:, :1])
            if method == "zeros"
            else oracle.interpolation(size, s, method, centres)
        )
        x = oracle.along(matrix, x, axis)
    x = np.pad(x, ((0, 0), *pads, (0, 0)), mode=NUMPY_MODES[mode])  # type: ignore[call-overload]
    ones = (1,) * len(scale)
    return oracle.conv(x, np.asarray(kernel, np.float64), ones, ((0, 0),) * len(scale), ones)


LINE = [("nearest", "half_pixel", 3, 2), ("nearest", "sample", 4, 3), ("linear", "half_pixel", 3, 2),
        ("linear", "half_pixel", 4, 3), ("linear", "sample", 5, 2), ("cubic", "half_pixel", 3, 2),
        ("cubic", "sample", 2, 3), ("lanczos3", "half_pixel", 3, 2), ("zeros", "half_pixel", 3, 4)]  # fmt: skip


@pytest.mark.parametrize("pad_mode", MODES)
@pytest.mark.parametrize(("method", "centres", "k", "scale"), LINE)
def test_on_a_line_the_fused_form_is_the_definition(rng, method, centres, k, scale, pad_mode):
    for size, pads in ((33, (k // 2, k // 2)), (34, (3, 1)), (36, (0, 2))):
        x, kernel = draw(rng, 2, size, 3), draw(rng, k, 3, 2)
        expected = defined(x, kernel, (scale,), (pads,), method, centres, pad_mode)
        options = {"scale": scale, "method": method, "centres": centres, "pad_mode": pad_mode, "padding": [pads]}
        got = resize_conv(x, kernel, **options, form="dots")
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


PLANE = [("nearest", "zeros"), ("nearest", "reflect"), ("linear", "zeros"), ("linear", "edge"), ("linear", "reflect"),
         ("linear", "wrap"), ("cubic", "symmetric")]  # fmt: skip


@pytest.mark.parametrize(("method", "pad_mode"), PLANE)
def test_in_the_plane_the_fused_form_and_its_gradients_are_those_of_the_plain_form(rng, method, pad_mode):
    x, kernel = draw(rng, 2, 15, 17, 3), draw(rng, 3, 4, 3, 2)
    options = {"scale": (2, 3), "method": method, "pad_mode": pad_mode, "padding": [(1, 1), (2, 1)]}
    expected = defined(x, kernel, (2, 3), ((1, 1), (2, 1)), method, "half_pixel", pad_mode)
    cotangent = draw(rng, *expected.shape)

    def both(form):
        def value(x, kernel):
            return resize_conv(x, kernel, **options, form=form)

        out, pull = jax.vjp(value, x, kernel)
        return out, *pull(cotangent)

    fast, plain = jax.jit(both, static_argnums=0)("dots"), jax.jit(both, static_argnums=0)("lax")
    np.testing.assert_allclose(fast[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    for a, b in zip(fast, plain):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(jnp.abs(b).max()))


def test_in_a_volume_every_corner_is_right(rng):
    x, kernel = draw(rng, 1, 6, 7, 6, 2), draw(rng, 3, 2, 3, 2, 2)
    pads = ((1, 1), (1, 0), (2, 1))
    for method in ("nearest", "linear"):
        expected = defined(x, kernel, (2, 2, 2), pads, method, "half_pixel", "zeros")
        got = resize_conv(x, kernel, scale=2, method=method, padding=pads, form="dots")
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_more_padding_than_taps(rng):
    x, kernel = draw(rng, 1, 20, 1), draw(rng, 2, 1, 1)
    for method, mode in itertools.product(("nearest", "linear"), ("zeros", "edge", "wrap")):
        expected = defined(x, kernel, (2,), ((4, 5),), method, "half_pixel", mode)
        options = {"scale": 2, "method": method, "pad_mode": mode, "padding": [(4, 5)]}
        got = resize_conv(x, kernel, **options, form="dots")
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_derivatives_of_either_mode_and_order(rng, method):
    x, kernel = draw(rng, 1, 9, 2), draw(rng, 3, 2, 2)

    def f(x, kernel):
        return resize_conv(x, kernel, scale=2, method=method, form="dots")

    check_grads(f, (x, kernel), order=2, modes=("fwd", "rev"), rtol=2e-2, atol=2e-2)
    stacked = draw(rng, 3, 1, 9, 2), draw(rng, 3, 3, 2, 2)
    together = jax.vmap(jax.grad(lambda x, k: (f(x, k) ** 2).sum(), (0, 1)))(*stacked)
    apart = [jax.grad(lambda x, k: (f(x, k) ** 2).sum(), (0, 1))(*pair) for pair in zip(*stacked)]
    chex.assert_trees_all_close(together, tuple(map(jnp.stack, zip(*apart))), rtol=1e-5, atol=1e-4)


def upsampled_arrays(form, method):
    """How often the compiled forward and backward program holds the upsampled input, [2, 24, 28, 5]."""
    x, kernel = jnp.zeros((2, 12, 14, 5)), jnp.zeros((3, 3, 5, 7))

    def program(x, kernel, cotangent):
        out, pull = jax.vjp(lambda x, k: resize_conv(x, k, scale=2, method=method, form=form), x, kernel)
        return out, pull(cotangent)

    text = jax.jit(program).lower(x, kernel, jnp.zeros((2, 24, 28, 7))).compile().as_text()
    assert text is not None
    return len(re.findall(r"f32\[2,(2[4-6]),(2[89]|30),5\]", text))


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_no_upsampled_array_is_held(method):
    assert upsampled_arrays("dots", method) == 0 < upsampled_arrays("lax", method)


def test_the_plan_of_a_long_axis_costs_as_much_as_that_of_a_short_one():
    plan = plan_axis(10**7, 5, 2, (2, 2), "linear", "half_pixel", -0.5, "reflect")
    assert plan is not None
    assert plan.strips is not None
    assert plan.strips[1].samples.max() == 10**7 - 1
    assert plan.outputs > 10**7


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_flat_input_stays_flat_in_narrow_dtypes(rng, dtype):
    x = jnp.ones((1, 12, 4), dtype)
    kernel = jnp.asarray(draw(rng, 3, 4, 5)).astype(dtype)
    out = resize_conv(x, kernel, scale=2, method="linear", pad_mode="edge", form="dots")
    assert out.dtype == dtype
    np.testing.assert_array_equal(np.asarray(out, np.float32), np.asarray(out[:, :1].repeat(24, 1), np.float32))
    expected = np.asarray(kernel, np.float64).sum((0, 1))
    np.testing.assert_allclose(np.asarray(out[0, 0], np.float64), expected, rtol=float(jnp.finfo(dtype).eps), atol=1e-3)


def test_work_counts_decide_and_strips_count():
    x, kernel = jnp.zeros((1, 32, 32, 4)), jnp.zeros((3, 3, 4, 4))
    pads, modes = ((1, 1), (1, 1)), ("reflect", "reflect")
    nearest = _fused_resize.Resize((2, 2), "nearest", "half_pixel", -0.5, pads, ("zeros", "zeros"))
    assert _fused_resize.products(x, kernel, nearest) == (32 * 4) ** 2
    cubic = _fused_resize.Resize((2, 2), "cubic", "half_pixel", -0.5, pads, modes)
    assert _fused_resize.products(x, kernel, cubic) > (2 * 32 * 3) ** 2  # more than the plain form


def test_what_has_no_pattern_is_refused_in_dots_and_right_in_auto(rng):
    x, kernel = draw(rng, 1, 9, 1), draw(rng, 3, 1, 1)
    with pytest.raises(
        ValueError, match=r"resize_conv: form='dots' needs one fixed interpolation pattern.*'corners'.*'auto'"
    ):
        resize_conv(x, kernel, scale=2, method="linear", centres="corners", form="dots")
    expected = defined(x, kernel, (2,), ((1, 1),), "linear", "corners", "zeros")
    got = resize_conv(x, kernel, scale=2, method="linear", centres="corners")
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"resize_conv: form must be one of auto, lax, dots; got 'fused'"):
        resize_conv(x, kernel, scale=2, form="fused")


@pytest.mark.parametrize("order", ["depth_first", "channel_first"])
def test_subpixel_convolution_in_dots(rng, order):
    x, kernel = draw(rng, 2, 6, 5, 3), draw(rng, 3, 3, 3, 8)
    low = oracle.conv(x.astype(np.float64), kernel, (1, 1), ((1, 1), (1, 1)), (1, 1))
    expected = oracle.shuffled(low, (2, 2), order)

    def f(x, kernel, method):
        return subpixel_conv(x, kernel, scale=2, order=order, method=method)

    np.testing.assert_allclose(f(x, kernel, "dots"), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    cotangent = draw(rng, *expected.shape)
    fast, plain = (jax.vjp(lambda x, k, m=m: f(x, k, m), x, kernel)[1](cotangent) for m in ("dots", "lax"))
    chex.assert_trees_all_close(fast, plain, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match=r"subpixel_conv: method must be one of auto, lax, dots; got 'winograd'"):
        f(x, kernel, "winograd")

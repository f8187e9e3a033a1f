"""Every operator under vmap, grad, jvp and hessian, and in every floating dtype."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import checkerjax as cj

# name: (operator of x and kernel, shape of x, shape of kernel)
OPERATORS = {
    "conv": (functools.partial(cj.conv, stride=2, padding=((1, 0),), dilation=2, groups=2), (2, 6, 2), (2, 1, 4)),
    "conv 3-D": (functools.partial(cj.conv, stride=(1, 2, 1)), (1, 2, 3, 2, 1), (2, 2, 1, 1, 2)),
    "conv_transpose": (
        functools.partial(cj.conv_transpose, stride=(2, 3), output_padding=(1, 0), groups=2),
        (1, 2, 3, 2),
        (3, 2, 2, 1),
    ),
    "conv_transpose, cropped": (
        functools.partial(cj.conv_transpose, stride=2, padding=((3, 2),), dilation=3),
        (2, 4, 1),
        (2, 1, 2),
    ),
    "resize_conv nearest": (functools.partial(cj.resize_conv, scale=2, pad_mode="reflect"), (1, 3, 2, 1), (3, 2, 1, 2)),
    "resize_conv cubic": (
        functools.partial(cj.resize_conv, scale=2, method="cubic", centres="sample", pad_mode="wrap"),
        (2, 4, 1),
        (3, 1, 2),
    ),
    "resize_conv fir": (
        functools.partial(cj.resize_conv, scale=2, method="fir", taps=(0.5, 1.0, 0.5), padding=2),
        (1, 3, 2),
        (3, 2, 1),
    ),
    "subpixel_conv": (functools.partial(cj.subpixel_conv, scale=(2, 1), padding="VALID"), (1, 3, 3, 1), (2, 2, 1, 4)),
    "subpixel_conv of icnr": (
        lambda x, w: cj.subpixel_conv(x, cj.icnr(w, scale=2, order="channel_first"), scale=2, order="channel_first"),
        (1, 3, 2),
        (3, 2, 2),
    ),
    "conv_transpose of a projection": (
        lambda x, w: cj.conv_transpose(x, cj.project_equal_gains(w, 2), stride=2),
        (1, 3, 1),
        (3, 1, 2),
    ),
    "blur": (lambda x, w: cj.downsample(cj.conv(x, w), scale=2, method="blur"), (1, 5, 1), (2, 1, 2)),
    "stride": (lambda x, w: cj.downsample(cj.conv(x, w), scale=2, method="stride"), (1, 5, 1), (2, 1, 2)),
    "average": (lambda x, w: cj.downsample(cj.conv(x, w), scale=2, method="average"), (1, 4, 1), (2, 1, 2)),
    "l2": (lambda x, w: cj.downsample(cj.conv(x, w), scale=2, method="l2"), (1, 4, 1), (2, 1, 1)),
    "max": (lambda x, w: cj.downsample(cj.conv(x, w), scale=2, method="max"), (1, 6, 1), (2, 1, 2)),
    "conv_transpose of a subpixel kernel": (
        lambda x, w: stamped(x, cj.deconv_from_subpixel(w, scale=2)),
        (1, 3, 1),
        (2, 1, 2),
    ),
    "subpixel_conv of a transposed kernel": (
        lambda x, w: shuffled(x, cj.subpixel_from_deconv(w, stride=2, padding=((0, 1),))),
        (1, 3, 1),
        (3, 1, 2),
    ),
    "conv_transpose of a resize kernel": (
        lambda x, w: stamped(x, cj.deconv_from_resize(w, scale=2, method="linear")),
        (1, 3, 1),
        (3, 1, 2),
    ),
}


def stamped(x, padded):
    return cj.conv_transpose(x, padded.kernel, stride=2, padding=padded.padding)


def shuffled(x, padded):
    return cj.subpixel_conv(x, padded.kernel, scale=2, padding=padded.padding)


def drawn(shape, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(shape).normal(size=shape).astype(dtype)


operators = pytest.mark.parametrize(("f", "x_shape", "w_shape"), OPERATORS.values(), ids=OPERATORS)


@operators
def test_vmap_is_a_loop(f, x_shape, w_shape):
    """Over inputs, over kernels, and over both."""
    xs, ws = drawn((2, *x_shape)), drawn((2, *w_shape))

    @jax.jit
    def every_way(xs, ws):
        looped = [[f(x, w) for w in ws] for x in xs]
        return looped, jax.vmap(f, (0, None))(xs, ws[0]), jax.vmap(f, (None, 0))(xs[0], ws), jax.vmap(f)(xs, ws)

    looped, over_x, over_w, over_both = every_way(xs, ws)
    rounding: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # the same short float32 sums, in another order
    np.testing.assert_allclose(over_x, [looped[0][0], looped[1][0]], **rounding)
    np.testing.assert_allclose(over_w, looped[0], **rounding)
    np.testing.assert_allclose(over_both, [looped[0][0], looped[1][1]], **rounding)


def central(f, at, direction, step):
    return (f(*(a + step * d for a, d in zip(at, direction))) - f(*(a - step * d for a, d in zip(at, direction)))) / (
        2 * step
    )


@operators
def test_derivatives_are_finite_differences(f, x_shape, w_shape):
    """In float64: jvp, gradient, and the Hessian of a sum of squares, each along a drawn direction."""
    with jax.enable_x64(True):
        at = drawn(x_shape, np.float64), drawn(w_shape, np.float64)
        way = drawn((3, *x_shape), np.float64)[0], drawn((3, *w_shape), np.float64)[0]

        def energy(x, w):
            return (f(x, w) ** 2).sum()

        @jax.jit
        def derivatives(x, w):
            out, tangent = jax.jvp(f, (x, w), way)
            gradient, turned = jax.jvp(jax.grad(energy, (0, 1)), (x, w), way)
            return out, tangent, gradient, turned

        _, tangent, gradient, turned = derivatives(*at)
        step = 1e-6  # truncation 1e-12, cancellation 1e-10, both relative
        close = functools.partial(np.testing.assert_allclose, rtol=1e-7, atol=1e-7)
        close(tangent, central(lambda *a: derivatives(*a)[0], at, way, step))
        slope = sum((g * v).sum() for g, v in zip(gradient, way))
        close(slope, central(lambda *a: (derivatives(*a)[0] ** 2).sum(), at, way, step))
        for part in (0, 1):
            close(turned[part], central(lambda *a, part=part: derivatives(*a)[2][part], at, way, step))


BASIC = [name for name in OPERATORS if name in ("conv", "conv_transpose", "resize_conv cubic", "subpixel_conv", "blur")]


@pytest.mark.parametrize("name", BASIC)
def test_gradients_and_hessians_of_a_batch_of_kernels(name):
    f, x_shape, w_shape = OPERATORS[name]
    x, ws = drawn(x_shape), drawn((2, *w_shape))

    def gradient_and_hessian(w):
        def energy(w):
            return (f(x, w) ** 2).sum()

        return jax.grad(energy)(w), jax.hessian(energy)(w)

    batched = jax.jit(jax.vmap(gradient_and_hessian))(ws)
    looped = jax.jit(lambda ws: jax.lax.map(gradient_and_hessian, ws))(ws)
    for many, one in zip(batched, looped):
        np.testing.assert_allclose(many, one, rtol=1e-4, atol=1e-4)  # squares of short float32 sums
    hessian = batched[1].reshape(2, ws[0].size, ws[0].size)
    np.testing.assert_allclose(hessian, hessian.swapaxes(1, 2), rtol=1e-4, atol=1e-4)
    # a quadratic form: its gradient is its Hessian times the kernel
    np.testing.assert_allclose(
        np.einsum("bij,bj->bi", hessian, ws.reshape(2, -1)), batched[0].reshape(2, -1), rtol=1e-4, atol=1e-4
    )


def test_second_derivatives_in_both_modes():
    f, *shapes = OPERATORS["conv_transpose"]
    # a float32 second difference keeps two to three digits
    check_grads(
        jax.jit(f), tuple(drawn(shape) for shape in shapes), order=2, modes=["fwd", "rev"], atol=2e-2, rtol=2e-2
    )


@operators
def test_every_dtype_is_kept_and_used(f, x_shape, w_shape):
    """Operators are homogeneous in x, so scaling it by 1 + 2^-40 shows whether float64 lost digits on its way."""
    f = jax.jit(f)
    with jax.enable_x64(True):
        x, w = drawn(x_shape, np.float64), drawn(w_shape, np.float64)
        out = np.asarray(f(x, w))
        assert out.dtype == np.float64
        factor = 1 + 2.0**-40
        scaled = np.asarray(f(x * factor, w))
        np.testing.assert_allclose(scaled, out * factor, rtol=1e-14, atol=1e-14)
        assert (scaled != out).any()
    for dtype in ("float32", "bfloat16"):
        narrow = f(jnp.asarray(x, dtype), jnp.asarray(w, dtype))
        assert narrow.dtype == dtype
        several_roundings = 8 * float(jnp.finfo(dtype).eps)  # of inputs, and of sums of below twenty terms of size one
        np.testing.assert_allclose(np.asarray(narrow, np.float64), out, rtol=several_roundings, atol=several_roundings)

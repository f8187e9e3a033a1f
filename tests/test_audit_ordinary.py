"""Layers that every model has and that leave the resolution as it is: what surrounds a grid is not told as one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import checkerjax as cj

C = 8
NHWC = ("NHWC", "HWIO", "NHWC")


def field(shape=(2, 16, 16, C), seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def kernel(*k, into=C, out=C):
    return field((*k, into, out), 1)


def deconv(x, k):
    return jax.lax.conv_transpose(x, k, (2, 2), "SAME")


def valid(x, k):
    return jax.lax.conv_general_dilated(x, k, (1, 1), "VALID", dimension_numbers=NHWC)


def depth_to_space(x, b=2):
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, b, b, c // b**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * b, w * b, c // b**2)


def told(findings):
    return [(f.role, f.kernel_size, f.stride, f.grade) for f in findings]


def attention(p, x, heads=2):
    n, h, w, c = x.shape
    q, k, v = ((x.reshape(n, h * w, c) @ p[i]).reshape(n, h * w, heads, c // heads) for i in range(3))
    weights = jax.nn.softmax(jnp.einsum("nqhd,nkhd->nhqk", q, k))
    return x + jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(n, h, w, c)


@pytest.mark.parametrize("padding", ["reflect", "symmetric", "edge", "wrap"])
def test_gradients_of_padding_end_at_the_border(padding):
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    report = cj.audit(lambda k, x: valid(jnp.pad(x, pads, mode=padding), k), kernel(3, 3), field(), redraw=4)
    assert (report.forward, report.backward, report.not_understood) == ((), (), ())
    assert (report.verdict, report.backward_verdict) == ("clean", "clean")


@pytest.mark.parametrize("layer", [nn.LayerNorm(), nn.GroupNorm(4), nn.InstanceNorm()], ids=lambda e: type(e).__name__)
def test_normalising_layers_are_pointwise_both_ways(layer):
    report = cj.audit(layer, field(), key=jax.random.key(0), static=True)
    assert (report.forward, report.backward) == ((), ())


def test_a_mean_over_channels_put_back_by_broadcasting():
    def model(k, x):
        return deconv(x - jnp.broadcast_to(x.mean(-1)[..., None], x.shape), k)

    report = cj.audit(model, kernel(3, 3), field(), static=True)
    assert told(report.forward) == [("up", (3, 3), (2, 2), "uneven")]
    assert told(report.backward) == [("down", (3, 3), (2, 2), "tied")]


def test_attention_of_several_heads_is_understood():
    report = cj.audit(attention, field((3, C, C)), field(), static=True, backward=False)
    assert report.forward == ()


@pytest.mark.parametrize("reduce", [jnp.mean, jnp.max])
def test_channels_reduced_after_a_depth_to_space_keep_its_phases(reduce):
    def model(k, x):
        y = jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=NHWC)
        return reduce(depth_to_space(y), -1, keepdims=True)

    report = cj.audit(model, kernel(3, 3, out=16), field(), static=True, backward=False)
    assert told(report.forward) == [("up", (3, 3), (2, 2), "untied")]


def test_a_patch_expansion_with_its_layer_norm():
    def model(k, x):
        y = depth_to_space(x @ k)
        return (y - y.mean(-1, keepdims=True)) * jax.lax.rsqrt(y.var(-1, keepdims=True) + 1e-5)

    report = cj.audit(model, kernel(out=16), field(), static=True, backward=False)
    assert told(report.forward) == [("up", (1, 1), (2, 2), "untied")]


def test_dropout_with_a_fixed_key_is_no_grid():
    def model(k, x):
        return deconv(jnp.where(jax.random.bernoulli(jax.random.key(3), 0.5, x.shape), 2 * x, 0), k)

    report = cj.audit(model, kernel(3, 3), field(), static=True)
    assert told(report.forward) == [("up", (3, 3), (2, 2), "uneven")]
    assert told(report.backward) == [("down", (3, 3), (2, 2), "tied")]


def test_a_mask_that_is_a_checkerboard_is_listed():
    mask = jnp.asarray(np.indices((16, 16)).sum(0) % 2, jnp.float32)[None, :, :, None]
    report = cj.audit(lambda k, x: valid(x * mask, k), kernel(3, 3), field(), redraw=4)
    assert [f.role for f in report.forward] == ["unknown"]
    assert report.verdict != "clean"


def test_noise_from_a_key_that_the_function_holds():
    def model(k, x):
        y = deconv(x, k)
        return y + jax.random.normal(jax.random.key(3), y.shape)

    report = cj.audit(model, kernel(4, 4), field(), redraw=8, backward=False)
    assert (report.verdict, told(report.forward)) == ("lines", [("up", (4, 4), (2, 2), "untied")])


def test_a_learned_field_under_a_latent_is_upsampled():
    def model(p, z):
        return deconv((z @ p["dense"])[:, None, None] * p["field"], p["kernel"])

    params = {"dense": field((16, C)), "field": field((1, 16, 16, C)), "kernel": kernel(3, 3)}
    report = cj.audit(model, params, field((2, 16), 2), redraw=8)
    assert told(report.forward) == [("up", (3, 3), (2, 2), "uneven")]
    assert report.forward[0].period == (2, 2)
    assert report.verdict == "power"  # no lines: the field is noise itself


def test_kernels_made_from_a_latent_raise_nothing():
    def model(p, z):
        kernels = p["kernel"][None] * (z @ p["dense"])[:, None, None, :, None]
        field_ = jnp.broadcast_to(p["field"], (len(z), *p["field"].shape[1:]))
        return jax.vmap(lambda x, k: deconv(x[None], k)[0])(field_, kernels)

    params = {"dense": field((16, C)), "field": field((1, 16, 16, C)), "kernel": kernel(3, 3)}
    report = cj.audit(model, params, field((2, 16), 2), redraw=4)
    assert report.verdict == "power"


def test_modulated_kernels_of_two_images_as_groups_raise_nothing():
    def model(p, z):
        n, (h, w, i, o) = len(z), p["kernel"].shape
        kernels = p["kernel"][None] * (z @ p["dense"])[:, None, None, :, None]
        kernels *= jax.lax.rsqrt((kernels**2).sum((1, 2, 3), keepdims=True))
        x = jnp.broadcast_to(p["field"], (n, 16, 16, i)).transpose(1, 2, 0, 3).reshape(1, 16, 16, n * i)
        y = jax.lax.conv_general_dilated(
            x, kernels.transpose(1, 2, 3, 0, 4).reshape(h, w, i, n * o), (1, 1), [(1, 2)] * 2, lhs_dilation=(2, 2),
            dimension_numbers=NHWC, feature_group_count=n,
        )  # fmt: skip
        return y.reshape(*y.shape[1:3], n, o).transpose(2, 0, 1, 3)

    params = {"dense": field((16, C)), "field": field((1, 16, 16, C)), "kernel": kernel(3, 3)}
    assert cj.audit(model, params, field((2, 16), 2), redraw=4).verdict == "power"


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_gradients_of_attention_are_understood(heads):
    def model(p, x):
        return attention(p, x, heads)

    for shape in ((2, 4, 4, C), (1, 6, 4, C)):
        report = cj.audit(model, field((3, C, C)), field(shape), static=True)
        assert (report.forward, report.backward) == ((), ())


def windows(x, w=4):
    n, h, v, c = x.shape
    return x.reshape(n, h // w, w, v // w, w, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, w * w, c)


def from_windows(y, shape, w=4):
    n, h, v, c = shape
    return y.reshape(n, h // w, v // w, w, w, c).transpose(0, 1, 3, 2, 4, 5).reshape(shape)


def test_attention_within_windows_is_understood_both_ways():
    def model(p, x):
        q, k, v = jnp.split(windows(x) @ p, 3, -1)
        y = jax.nn.softmax(jnp.einsum("bqc,bkc->bqk", q, k)) @ v
        return x + from_windows(y, x.shape)

    report = cj.audit(model, kernel(out=3 * C), field(), redraw=4)
    assert (report.forward, report.backward) == ((), ())
    assert (report.verdict, report.backward_verdict) == ("clean", "clean")


def test_patches_as_a_row_of_tokens():
    """As a vision transformer cuts them, and puts them together."""

    def model(p, x):
        tokens = jax.nn.gelu(windows(x).reshape(len(x), 16, 16 * C) @ p[0] + p[1])
        return from_windows((tokens @ p[2]).reshape(-1, 16, C), x.shape)

    params = kernel(into=16 * C, out=32), field((16, 32)), kernel(into=32, out=16 * C)
    report = cj.audit(model, params, field(), static=True)
    assert told(report.forward) == [("down", (4, 4), (4, 4), "tied"), ("up", (1, 1), (4, 4), "untied")]
    assert told(report.backward) == [("down", (4, 4), (4, 4), "tied"), ("up", (1, 1), (4, 4), "untied")]


def test_a_transform_is_listed_and_raises_no_warning():
    def model(x):
        waves = jnp.fft.fftshift(jnp.fft.fft2(x, axes=(1, 2)), axes=(1, 2))
        wide = jnp.pad(waves, ((0, 0), (8, 8), (8, 8), (0, 0)))
        return jnp.fft.ifft2(jnp.fft.ifftshift(wide, axes=(1, 2)), axes=(1, 2)).real

    report = cj.audit(model, field(), static=True, backward=False)
    assert {f.operation for f in report.not_understood} == {"fft (no rule)"}

"""Equal phase gains in training: the projection as an optax transformation, the parametrisation, the penalty."""

import itertools
import math
import pathlib
import runpy
import types
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.test_util import check_grads

from checkerjax import (
    conv_transpose,
    durall_spectral_loss,
    has_equal_gains,
    icnr_transpose,
    schwarz_spectral_loss,
    subpixel_conv,
)
from checkerjax.nn.transforms import (
    KernelPhases,
    equal_gains_shape,
    expand_equal_gains,
    gain_spread,
    gain_spread_penalty,
    keep_equal_gains,
)

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

STRIDES = {"up*/kernel": 2}


class Decoder(nn.Module):
    """Two transposed convolutions that start with equal phases."""

    @nn.compact
    def __call__(self, x):
        options: dict[str, Any] = {"kernel_size": (4, 4), "strides": (2, 2), "kernel_init": icnr_init}
        x = nn.relu(nn.ConvTranspose(8, name="up1", **options)(x))
        return nn.ConvTranspose(3, name="up2", **options)(x)


def icnr_init(key, shape, dtype=jnp.float32):
    return icnr_transpose(nn.initializers.lecun_normal()(key, shape, dtype), stride=2)


def decoded(params, latents) -> Any:
    return Decoder().apply({"params": params}, latents)


def updated(optimizer, grads, params, *, mode=lambda f: f) -> Any:
    """The first update, and the parameters after it."""
    updates, _ = mode(optimizer.update)(grads, optimizer.init(params), params)
    return updates, optax.apply_updates(params, updates)


def trained(optimizer, *, steps=200, penalty=0.0):
    """The decoder's parameters before and after it has learned eight random pictures from eight random latents."""
    rng = np.random.default_rng(20161017)
    latents = jnp.asarray(rng.normal(size=(8, 6, 6, 4)), jnp.float32)
    pictures = jnp.asarray(rng.normal(size=(8, 24, 24, 3)).cumsum(1).cumsum(2) / 24, jnp.float32)
    start = Decoder().init(jax.random.key(0), latents)["params"]

    def loss(params):
        error = jnp.mean((decoded(params, latents) - pictures) ** 2)
        return error + penalty * gain_spread_penalty(params, STRIDES)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    train = jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps)[0])
    with jax.numpy_dtype_promotion("standard"):  # optax promotes its step count
        end, _ = train((start, optimizer.init(start)))
    return start, end, float(loss(start)), float(loss(end))


def lines_of_a_flat_input(params):
    """Energy of all lines over that of DC, of the interior of the decoder's output for flat latents."""
    rng = np.random.default_rng(1)
    flat = np.broadcast_to(rng.normal(size=(16, 1, 1, 4)), (16, 12, 12, 4)).astype(np.float32)
    y = np.asarray(decoded(params, flat), np.float64)[:, 12:-12, 12:-12]
    power = np.abs(np.fft.fft2(y, axes=(1, 2))) ** 2
    dc = power[:, 0, 0].sum()
    return (power.sum() - dc) / dc


def largest_spread(params):
    """Of all kernels and channel pairs, relative to the mean absolute gain, summed tap by tap in double precision."""
    worst = 0.0
    for layer in params.values():
        kernel = np.asarray(layer["kernel"], np.float64)
        gains = np.stack([kernel[r::2, c::2].sum((0, 1)) for r in range(2) for c in range(2)])
        worst = max(worst, np.abs(gains - gains.mean(0)).max() / np.abs(gains).mean())
    return worst


def test_a_trained_decoder_keeps_equal_gains_and_has_no_lines_with_the_projection_and_without_it_icnr_does_not_hold():
    start, free, before, after = trained(optax.adam(3e-3))
    assert after < 0.6 * before
    assert largest_spread(start) < 1e-6
    assert lines_of_a_flat_input(start) < 1e-11
    assert largest_spread(free) > 0.1
    assert lines_of_a_flat_input(free) > 1e-2
    _, kept, _, learned = trained(optax.chain(optax.adam(3e-3), keep_equal_gains(STRIDES)))
    assert learned < 0.6 * before
    assert largest_spread(kept) <= 1e-5
    assert lines_of_a_flat_input(kept) < 1e-11  # float32 rounding: 2e-6 of the amplitude at most


def test_a_penalty_brings_the_spread_down_and_not_to_zero():
    free, held = (largest_spread(trained(optax.adam(3e-3), penalty=weight)[1]) for weight in (0.0, 10.0))
    assert 1e-5 < held < 0.2 * free


def test_after_the_projection_nothing_may_change_the_update_element_by_element():
    last = optax.chain(optax.adam(3e-3), keep_equal_gains(STRIDES))
    first = optax.chain(keep_equal_gains(STRIDES), optax.adam(3e-3))
    assert largest_spread(trained(last, steps=20)[1]) <= 1e-5
    assert largest_spread(trained(first, steps=20)[1]) > 1e-2


def tree(rng, dtype=np.float32) -> Any:
    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    return {
        "encoder": {"kernel": draw(4, 4, 2, 3)},
        "decoder": {
            "up": {"kernel": draw(4, 4, 2, 3), "bias": draw(3)},
            "fine": {"kernel": draw(5, 3, 3, 2), "bias": draw(2)},
        },
    }


RULES: dict[str, Any] = {"decoder/up/kernel": 2, "fine/kernel": (3, 2)}
KERNELS = [("decoder", "up", 2), ("decoder", "fine", (3, 2))]


def nearest(kernel, constraints):
    """The nearest vector with `constraints @ vector == 0`, for each column of `[taps, pairs]`, in double precision."""
    return kernel - np.linalg.pinv(constraints) @ (constraints @ kernel)


def gain_differences(size, stride, dilation=(1, 1)):
    """Rows that take the gain of each phase less that of the first."""
    phases = [
        tuple(d * j % s for j, s, d in zip(tap, stride, dilation)) for tap in itertools.product(*map(range, size))
    ]
    rows = np.array([[float(p == phase) for p in phases] for phase in np.ndindex(*stride)])
    return rows[1:] - rows[0]


def test_the_update_leads_to_the_nearest_kernels_with_equal_gains_and_leaves_other_parameters_alone(rng, mode):
    params, grads = tree(rng), tree(rng)
    optimizer = optax.chain(optax.scale(-0.5), keep_equal_gains(RULES))
    _, new = updated(optimizer, grads, params, mode=mode)
    free: Any = jax.tree.map(lambda p, g: np.asarray(p, np.float64) - 0.5 * np.asarray(g, np.float64), params, grads)
    for part, layer, stride in KERNELS:
        kernel = free[part][layer]["kernel"]
        size, stride = kernel.shape[:-2], np.broadcast_to(stride, 2)
        expected = nearest(kernel.reshape(math.prod(size), -1), gain_differences(size, stride)).reshape(kernel.shape)
        np.testing.assert_allclose(new[part][layer]["kernel"], expected, rtol=0, atol=2e-6)
        np.testing.assert_allclose(new[part][layer]["bias"], free[part][layer]["bias"], rtol=1e-6)
        assert not has_equal_gains(kernel.astype(np.float32), stride.tolist())
        assert has_equal_gains(new[part][layer]["kernel"], stride.tolist())
    np.testing.assert_allclose(new["encoder"]["kernel"], free["encoder"]["kernel"], rtol=1e-6)


def test_dilated_kernels_are_kept_on_the_phases_that_their_taps_fall_on(rng):
    kernel = rng.normal(size=(5, 4, 2, 2)).astype(np.float32)
    optimizer = keep_equal_gains(lambda path: KernelPhases(2, dilation=(3, 1)) if path == "up" else None)
    params = {"up": jnp.asarray(kernel), "down": jnp.asarray(kernel)}
    updates, new = updated(optimizer, jax.tree.map(jnp.zeros_like, params), params)
    expected = nearest(kernel.reshape(20, 4).astype(np.float64), gain_differences((5, 4), (2, 2), (3, 1)))
    np.testing.assert_allclose(new["up"], expected.reshape(kernel.shape), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(updates["down"], 0)


@pytest.mark.parametrize("order", ["depth_first", "channel_first"])
def test_sub_pixel_kernels_and_biases_are_kept_too(rng, order):
    params = {"kernel": rng.normal(size=(3, 2, 2, 18)).astype(np.float32), "bias": rng.normal(size=18)}
    params = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    optimizer = keep_equal_gains({"*": KernelPhases((3, 2), order=order)})
    updates, new = updated(optimizer, jax.tree.map(jnp.zeros_like, params), params)

    def flat_output(params):  # of ones on each input channel in turn, at one low-resolution sample of the interior
        gains = np.asarray(params["kernel"], np.float64).sum((0, 1)) + np.asarray(params["bias"], np.float64)
        return oracle.shuffled(gains[:, None, None], (3, 2), order)

    old_output, output = flat_output(params), flat_output(new)
    means = old_output.mean((1, 2), keepdims=True)
    assert np.abs(old_output - means).max() > 1
    np.testing.assert_allclose(output, np.broadcast_to(means, output.shape), rtol=0, atol=1e-5)
    moved = np.asarray(updates["kernel"])  # as little as possible: each phase's taps all by the same number
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:1, :1], moved.shape), rtol=0, atol=1e-6)


def test_borders_and_a_bias_for_each_phase_draw_grids_that_equal_gains_do_not_prevent(rng):
    kernel = jnp.asarray(rng.normal(size=(4, 1, 1)), jnp.float32)
    kernel = updated(keep_equal_gains({"k": 2}), {"k": 0 * kernel}, {"k": kernel})[1]["k"]
    y = np.asarray(conv_transpose(jnp.ones((1, 6, 1)), kernel, stride=2)).ravel()
    np.testing.assert_allclose(y[1:-1], y[1], rtol=1e-5)
    assert np.abs(y[[0, -1]] - y[1]).max() > 0.1  # what the kernel cannot reach is missing
    params = {"kernel": jnp.ones((3, 1, 2)), "bias": jnp.array([0.0, 1.0])}
    rule = KernelPhases((2,), order="depth_first")
    for strides, grid in [({"kernel": rule}, 1.0), ({"kernel": rule, "bias": rule}, 0.0)]:
        _, new = updated(keep_equal_gains(strides), jax.tree.map(jnp.zeros_like, params), params)
        y = np.asarray(subpixel_conv(jnp.ones((1, 6, 1)), new["kernel"], scale=2)).reshape(-1, 2) + new["bias"]
        np.testing.assert_allclose(np.ptp(y[1:-1], axis=1), grid, atol=1e-6)


class Up(nnx.Module):
    strides: ClassVar = {"ups/*/kernel": 2}

    def __init__(self, rngs):
        self.ups = nnx.List([nnx.ConvTranspose(3, 3, (5, 5), 2, rngs=rngs) for _ in range(2)])

    def __call__(self, x):
        for up in self.ups:
            x = nnx.relu(up(x))
        return x


def test_an_nnx_model_keeps_equal_gains_under_jit(rng):
    model = Up(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.chain(optax.adam(1e-2), keep_equal_gains(Up.strides)), wrt=nnx.Param)
    x = jnp.asarray(rng.normal(size=(2, 4, 4, 3)), jnp.float32)

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, nnx.grad(lambda model: jnp.mean((model(x) - 1) ** 2))(model))

    before = gain_spread(model, Up.strides)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes its step count
        for _ in range(3):
            step(model, optimizer)
    for tree in (model, nnx.state(model), nnx.split(model, nnx.Param, ...)[1], nnx.to_pure_dict(nnx.state(model))):
        after = gain_spread(tree, Up.strides)
        assert list(after) == list(before) == ["ups/0/kernel", "ups/1/kernel"]
        assert min(before.values()) > 0.1
        assert max(after.values()) < 2e-6


def test_a_state_of_nnx_and_its_gradients_are_trees_that_the_transformation_takes(rng):
    _, params = nnx.split(Up(nnx.Rngs(0)))
    grads = jax.tree.map(jnp.ones_like, params)
    optimizer = optax.chain(optax.sgd(0.1), keep_equal_gains(Up.strides))
    updates, new = updated(optimizer, grads, params)
    assert isinstance(updates, nnx.State)
    assert max(gain_spread(new, Up.strides).values()) < 2e-6


def test_it_composes_with_multi_transform_and_masked(rng):
    params, grads = tree(rng), tree(rng)
    kept = optax.chain(optax.sgd(0.1), keep_equal_gains({"kernel": 2}))
    labels = {"encoder": "still", "decoder": {"up": {"kernel": "kept", "bias": "free"}, "fine": "free"}}
    groups = optax.multi_transform({"kept": kept, "free": optax.sgd(0.1), "still": optax.set_to_zero()}, labels)
    mask = {"encoder": False, "decoder": {"up": True, "fine": False}}
    # What the mask hides may be named: one mapping serves a whole model.
    masked = optax.chain(optax.sgd(0.1), optax.masked(keep_equal_gains(RULES), mask))
    for optimizer in (groups, masked):
        updates, new = updated(optimizer, grads, params, mode=jax.jit)
        assert gain_spread(new, {"up/kernel": 2})["decoder/up/kernel"] < 2e-6
        np.testing.assert_allclose(updates["decoder"]["fine"]["kernel"], -0.1 * grads["decoder"]["fine"]["kernel"])
    np.testing.assert_array_equal(updated(groups, grads, params)[0]["encoder"]["kernel"], 0)


def test_states_of_a_chain_with_it_can_be_mapped_by_parameter(rng):
    params = tree(rng)
    optimizer = optax.chain(optax.adam(0.1), keep_equal_gains(RULES))
    state: Any = optax.tree_utils.tree_map_params(optimizer, lambda moment: moment + 1, optimizer.init(params))
    np.testing.assert_array_equal(state[0][0].mu["encoder"]["kernel"], 1)


def test_bfloat16_parameters_have_equal_gains_to_their_rounding(rng):
    params, grads = tree(rng, jnp.bfloat16), tree(rng, jnp.bfloat16)
    optimizer = optax.chain(optax.sgd(0.1), keep_equal_gains(RULES))
    updates, new = updated(optimizer, grads, params, mode=jax.jit)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype("bfloat16")}
    for part, layer, stride in KERNELS:
        kernel = np.asarray(new[part][layer]["kernel"], np.float64)
        gains = gain_differences(kernel.shape[:-2], np.broadcast_to(stride, 2)) @ kernel.reshape(-1, 6)
        # Of two phases with up to four taps: each tap is rounded once in the update and once in the sum, to 2^-9 of
        # the largest number that is added there.
        largest = max(float(jnp.abs(tree[part][layer]["kernel"]).max()) for tree in (params, new))
        assert 0 < np.abs(gains).max() < 2 * 4 * 3 * 2**-9 * largest


@pytest.mark.parametrize("ndim", [1, 2])
def test_the_penalty_is_the_power_of_the_lines_for_ones(rng, ndim):
    kernel = jnp.asarray(rng.normal(size=(*(5, 4)[:ndim], 2, 3)), jnp.float32)
    strides = (3, 2)[:ndim]
    lines = dc = 0.0
    for i in range(2):
        ones = jnp.zeros((1, *(6,) * ndim, 2)).at[..., i].set(1)
        y = np.asarray(conv_transpose(ones, kernel, stride=strides, padding=0), np.float64)[0]
        y = y[tuple(slice(6, 6 + s) for s in strides)]  # one period, away from the border
        power = np.abs(np.fft.fftn(y, axes=range(ndim)) / math.prod(strides)) ** 2
        dc += power[(0,) * ndim].sum()
        lines += power.sum() - power[(0,) * ndim].sum()
    params = {"a": {"kernel": kernel}, "b": {"kernel": 2 * kernel}}
    rule: Any = {"kernel": strides}
    assert float(gain_spread_penalty(params["a"], rule)) == pytest.approx(lines / 6, rel=1e-5)
    assert float(gain_spread_penalty(params, rule)) == pytest.approx(5 * lines / 6, rel=1e-5)
    assert float(gain_spread_penalty(params["b"], rule, relative=True)) == pytest.approx(lines / (lines + dc), rel=1e-5)


@pytest.mark.parametrize("relative", [False, True])
def test_the_penalty_is_differentiable_and_zero_only_where_gains_are_equal(rng, relative):
    kernel = jnp.asarray(rng.normal(size=(4, 2, 2)), jnp.float32)

    def penalty(kernel):
        return gain_spread_penalty({"up": kernel}, {"up": 2}, relative=relative)

    check_grads(penalty, (kernel,), order=1, modes=["rev"], atol=1e-3, rtol=1e-3)
    equal = updated(keep_equal_gains({"up": 2}), {"up": 0 * kernel}, {"up": kernel})[1]["up"]
    assert float(penalty(equal)) < 1e-12 < float(penalty(kernel))
    value, gradient = jax.value_and_grad(penalty)(0 * kernel)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_the_spectral_losses_reach_the_weights(rng):
    params = Decoder().init(jax.random.key(0), jnp.zeros((1, 4, 4, 4)))["params"]
    latents = jnp.asarray(rng.normal(size=(2, 4, 4, 4)), jnp.float32)
    real = jnp.asarray(rng.uniform(size=(2, 16, 16, 3)), jnp.float32)
    for loss in (durall_spectral_loss, schwarz_spectral_loss):

        def error(params, loss=loss):
            return loss(real, nn.sigmoid(decoded(params, latents)))

        gradient = jax.jit(jax.grad(error))(params)
        largest = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)]
        assert min(largest) > 1e-8
        assert np.isfinite(largest).all()


@pytest.mark.parametrize(("shape", "stride"), [((4,), 2), ((5,), (3,)), ((4, 5), (2, 3)), ((3, 2, 4), 2)])
def test_p_times_box_is_the_convolution_and_has_equal_gains_for_any_p(rng, mode, shape, stride):
    strides = np.broadcast_to(stride, len(shape)).tolist()
    p = rng.normal(size=equal_gains_shape((*shape, 2, 3), stride)).astype(np.float32)
    kernel = mode(lambda p: expand_equal_gains(p, stride))(p)
    expected = np.zeros((*shape, 2, 3))
    for offset in np.ndindex(*strides):
        at = tuple(slice(o, o + q) for o, q in zip(offset, p.shape))
        expected[at] += p
    np.testing.assert_allclose(kernel, expected, rtol=1e-6, atol=1e-6)
    assert has_equal_gains(kernel, stride)


def test_p_times_box_is_every_kernel_with_equal_gains_in_one_dimension_and_some_of_them_in_two():
    def dimensions(size, stride):
        shape = equal_gains_shape((*size, 1, 1), stride)
        units = np.eye(math.prod(shape), dtype=np.float32).reshape(-1, *shape)
        kernels = np.asarray(jax.vmap(lambda p: expand_equal_gains(p, stride))(units)).reshape(len(units), -1)
        differences = gain_differences(size, stride)
        assert not (kernels @ differences.T).any()
        return np.linalg.matrix_rank(kernels), differences.shape[1] - np.linalg.matrix_rank(differences)

    assert [dimensions((k,), (s,)) for k, s in [(3, 2), (4, 2), (5, 3), (7, 4)]] == [(2, 2), (3, 3), (3, 3), (4, 4)]
    assert dimensions((4, 4), (2, 2)) == (9, 13)
    assert dimensions((3, 3), (2, 2)) == (4, 6)


def test_a_narrow_p_is_summed_in_float32(rng):
    p = jnp.asarray(rng.normal(size=(3, 3, 2, 2)), jnp.bfloat16)
    expected = expand_equal_gains(p.astype(jnp.float32), 2).astype(jnp.bfloat16)
    np.testing.assert_array_equal(expand_equal_gains(p, 2).astype(jnp.float32), expected.astype(jnp.float32))


@pytest.mark.parametrize(
    ("strides", "error", "message"),
    [
        (
            {"up/kernal": 2},
            ValueError,
            r"strides has 'up/kernal', which names no parameter; there are 'decoder/fine",
        ),
        ({"up/*": 2}, ValueError, r"'decoder/up/bias' must be a kernel, HIO, HWIO or DHWIO; got shape \(3,\)"),
        (lambda path: None, ValueError, "strides names none of the parameters"),
        (2, TypeError, "strides must be a mapping from parameter paths to strides"),
        ({"up/kernel": (2, 2, 2)}, ValueError, "stride of 'decoder/up/kernel' must be an int, or one int for each"),
        ({"up/kernel": 5}, ValueError, r"'decoder/up/kernel': a phase of axis H gets no tap \(size 4, stride 5"),
        ({"up/kernel": KernelPhases(2, dilation=2)}, ValueError, "dilation coprime to the stride"),
        ({"up/kernel": KernelPhases(2, order="depthfirst")}, ValueError, "did you mean 'depth_first'"),
        ({"up/kernel": KernelPhases(2, order="depth_first")}, ValueError, r"must be a multiple of prod\(stride\) = 4"),
        ({"up/bias": KernelPhases(2, order="depth_first")}, ValueError, "its strides one per axis"),
    ],
)
def test_bad_strides_are_refused_when_the_optimiser_is_made_ready(rng, strides, error, message):
    params = tree(rng)
    optimizer = keep_equal_gains(strides)
    for call in (lambda: optimizer.init(params), lambda: optimizer.update(params, optax.EmptyState(), params)):
        with pytest.raises(error, match=f"^keep_equal_gains: .*{message}"):
            call()


def test_an_update_without_parameters_and_integer_parameters_are_refused():
    optimizer = keep_equal_gains({"up": 2})
    with pytest.raises(ValueError, match=r"update needs the parameters. Call update\(updates, state, params\)"):
        optimizer.update({"up": jnp.ones((4, 1, 1))}, optax.EmptyState())
    with pytest.raises(TypeError, match="keep_equal_gains: 'up' must have a floating dtype; got int32"):
        optimizer.init({"up": jnp.ones((4, 1, 1), jnp.int32)})
    with pytest.raises(ValueError, match="gain_spread: params has no parameters"):
        gain_spread({}, {"up": 2})
    with pytest.raises(ValueError, match="equal_gains_shape: the kernel must be as long as the stride; got size 2"):
        equal_gains_shape((4, 2, 1, 1), 3)
    with pytest.raises(ValueError, match="equal_gains_shape: shape must be that of a HIO"):
        equal_gains_shape((4, 2), 3)
    with pytest.raises(ValueError, match="expand_equal_gains: stride must be at least 1; got 0"):
        expand_equal_gains(jnp.ones((2, 1, 1)), 0)


def test_patterns_name_whole_paths_or_their_ends_and_the_first_counts(rng):
    params = tree(rng)
    assert list(gain_spread(params, {"kernel": 2})) == ["decoder/fine/kernel", "decoder/up/kernel", "encoder/kernel"]
    assert list(gain_spread(params, {"decoder/*/kernel": 2})) == ["decoder/fine/kernel", "decoder/up/kernel"]
    with pytest.raises(ValueError, match="'p/kernel', which names no parameter"):
        gain_spread(params, {"p/kernel": 2})
    first = gain_spread(params, {"up/kernel": 1, "kernel": 2})
    assert first["decoder/up/kernel"] == 0 < first["decoder/fine/kernel"]

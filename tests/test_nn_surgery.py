"""Surgery on trained models: repaired kernels, layers written as others, weights of PyTorch and Keras."""

import math
import pathlib
import runpy
import types
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.core import freeze

from checkerjax import conv, conv_transpose, resize_conv
from checkerjax.nn import linen as layers
from checkerjax.nn.surgery import (
    deconv_to_subpixel,
    fuse_fir,
    import_transposed,
    repair,
    resize_to_deconv,
    subpixel_to_deconv,
)
from checkerjax.nn.transforms import KernelPhases

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a hundred terms of size one


def draw(*shape) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def variables() -> Any:
    return {
        "params": {
            "up": {"kernel": draw(4, 4, 2, 3), "bias": draw(3)},
            "head": {"kernel": draw(3, 2, 12), "bias": draw(12)},
            "conv": {"kernel": draw(3, 3, 2, 2)},
        },
        "batch_stats": {"mean": draw(3)},
    }


RULES: dict[str, Any] = {
    "up/kernel": 2,
    "head/kernel": KernelPhases(3, order="channel_first"),
    "head/bias": KernelPhases((3,), order="channel_first"),
}


def flat_outputs(params):
    """What both upsamplers make of ones, sample by sample over one period, in double precision."""
    up = np.asarray(params["up"]["kernel"], np.float64)
    gains = np.stack([up[r::2, c::2].sum((0, 1)) for r in range(2) for c in range(2)])
    head = np.asarray(params["head"]["kernel"], np.float64).sum(0) + np.asarray(params["head"]["bias"], np.float64)
    return gains, oracle.shuffled(head[:, None], (3,), "channel_first").swapaxes(0, 1)


@pytest.mark.parametrize("kind", [dict, freeze, nnx.State])
def test_a_repaired_tree_has_flat_outputs_and_the_report_says_how_far_it_moved(kind):
    old = variables()
    new, report = repair(kind(old), RULES)
    assert isinstance(new, type(kind(old)))
    assert [change.path for change in report] == ["params/head/bias", "params/head/kernel", "params/up/kernel"]
    for gains in flat_outputs(new["params"]):
        np.testing.assert_allclose(gains, np.broadcast_to(gains.mean(0), gains.shape), rtol=0, atol=1e-5)
    for gains in flat_outputs(old["params"]):
        assert np.abs(gains - gains.mean(0)).max() > 0.1
    for change in report:
        _, layer, name = change.path.split("/")
        before, after = (np.asarray(tree["params"][layer][name], np.float64) for tree in (old, new))
        assert change.shape == before.shape
        assert change.change == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-6)
        assert change.largest == pytest.approx(np.abs(after - before).max(), rel=1e-6)
        assert change.spread_before > 0.1 > 1e-6 > change.spread_after
    for path in (("params", "conv", "kernel"), ("params", "up", "bias"), ("batch_stats", "mean")):
        before, after = old, new
        for name in path:
            before, after = before[name], after[name]
        np.testing.assert_array_equal(after, before)
    again = repair(new, RULES).report
    assert max(change.change for change in again) < 1e-6


def test_an_nnx_module_comes_back_as_a_changed_copy_and_the_old_one_stays():
    layer = nnx.ConvTranspose(2, 3, (4, 4), 2, rngs=nnx.Rngs(0))
    kernel = np.asarray(layer.kernel[...])
    repaired, report = repair(layer, {"kernel": 2})
    np.testing.assert_array_equal(layer.kernel[...], kernel)
    x = jnp.ones((1, 6, 6, 2))
    grids = []
    for model in (layer, repaired):
        y = np.asarray(model(x))[:, 2:-2, 2:-2]
        grids.append(np.abs(y - y.mean((1, 2), keepdims=True)).max())
    assert grids[0] > 0.1 > 2e-6 > grids[1]
    assert report[0].path == "kernel"
    state = nnx.state(layer)
    nnx.update(layer, repair(state, {"kernel": 2}).variables)
    np.testing.assert_array_equal(layer.kernel[...], repaired.kernel[...])


def test_random_kernels_move_by_the_share_of_their_dimensions_that_equal_gains_take():
    kernel = np.random.default_rng(0).normal(size=(4, 4, 64, 64)).astype(np.float32)
    exact = repair({"up": kernel}, {"up": 2}).report[0].change
    box = repair({"up": kernel}, {"up": 2}, method="box").report[0].change
    # 13 of 16 dimensions are left to equal gains and 9 to p * box; 4096 pairs make the ratio sure to half a percent.
    assert exact == pytest.approx(math.sqrt(3 / 16), rel=0.01)
    assert box == pytest.approx(math.sqrt(7 / 16), rel=0.01)


@pytest.mark.parametrize(("size", "stride", "dilation"), [((5,), 2, 1), ((4, 3), (2, 3), 1), ((5, 4), (3, 2), (2, 1))])
def test_the_box_method_gives_the_nearest_kernel_that_is_something_times_box(size, stride, dilation):
    kernel = draw(*size, 2, 3)
    strides = np.broadcast_to(stride, len(size))
    columns = []
    for at in np.ndindex(*(k - s + 1 for k, s in zip(size, strides))):
        box = np.zeros(size)
        box[tuple(slice(a, a + s) for a, s in zip(at, strides))] = 1
        columns.append(box.ravel())
    boxes = np.stack(columns, axis=1)
    flat = kernel.reshape(-1, 6).astype(np.float64)
    expected = boxes @ np.linalg.lstsq(boxes, flat, rcond=None)[0]
    rule = {"k": KernelPhases(stride, dilation=dilation)}
    new, report = repair({"k": kernel}, rule, method="box")
    np.testing.assert_allclose(np.asarray(new["k"]).reshape(-1, 6), expected, **ROUNDING)
    assert report[0].spread_after < 1e-6
    if len(size) == 1:
        np.testing.assert_allclose(new["k"], repair({"k": kernel}, rule).variables["k"], **ROUNDING)


def test_narrow_kernels_keep_their_dtype_and_kernels_of_zeros_have_nothing_to_report():
    new, report = repair({"a": jnp.asarray(draw(4, 1, 2), jnp.bfloat16), "b": jnp.zeros((4, 1, 1))}, {"?": 2})
    assert new["a"].dtype == jnp.bfloat16
    assert 1e-7 < report[0].spread_after < 0.02 < report[0].spread_before
    assert report[1][2:] == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("strides", "method", "error", "message"),
    [
        (RULES | {"dawn/kernel": 2}, "equal_gains", ValueError, "'dawn/kernel', which names no parameter"),
        ({"up/bias": 2}, "equal_gains", ValueError, r"'params/up/bias' must be a kernel, HIO, .* got shape \(3,\)"),
        ({"up/kernel": 2}, "equal", ValueError, "method must be one of equal_gains, box; got 'equal'; did you mean"),
        ({"up/kernel": 5}, "box", ValueError, "'params/up/kernel': method 'box' needs a kernel as long as the stride"),
        (RULES, "box", ValueError, "'params/head/bias': method 'box' is for transposed kernels. Take 'equal_gains'"),
        ("up", "equal_gains", TypeError, "strides must be a mapping"),
    ],
)
def test_bad_repairs_are_refused(strides, method, error, message):
    with pytest.raises(error, match=f"^repair: .*{message}"):
        repair(variables(), strides, method=method)


def test_a_repair_of_traced_variables_is_refused():
    with pytest.raises(TypeError, match="repair: 'k' is being traced and has no values to report"):
        jax.jit(lambda k: repair({"k": k}, {"k": 2}).variables)(jnp.ones((4, 1, 1)))


def flax_layer(params, x, **arguments):
    return np.asarray(nn.ConvTranspose(**arguments).apply({"params": params}, x))


def drawn(size, options, bias=True):
    """Parameters of a transposed layer from 2 to 3 channels, and the arguments that say so."""
    channels = (3, 2) if options.get("transpose_kernel") else (2, 3)
    params = {"kernel": draw(*size, *channels)} | ({"bias": draw(3)} if bias else {})
    return params, {"features": 3, "kernel_size": size, "use_bias": bias} | options


LAYERS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((4,), {"strides": (2,)}),
    ((3,), {"strides": (2,), "transpose_kernel": True}),
    ((2,), {"strides": (3,), "padding": "VALID"}),
    ((3,), {"strides": (2,), "kernel_dilation": (2,)}),
    ((3,), {"strides": (2,), "padding": [(2, 1)]}),
    ((3,), {"strides": (3,), "padding": ((4, 3),), "transpose_kernel": True}),
    ((4, 3), {"strides": (2, 1), "padding": (2, (1, 1))}),
    ((5, 4), {"strides": (3, 2), "transpose_kernel": True, "kernel_dilation": (1, 3)}),
    ((2, 3, 2), {"strides": (2, 2, 1), "padding": "SAME"}),
]


@pytest.mark.parametrize("order", ["depth_first", "channel_first"])
@pytest.mark.parametrize(("size", "options"), LAYERS)
def test_a_transposed_layer_of_flax_is_a_sub_pixel_convolution_everywhere_and_back(size, options, order):
    params, arguments = drawn(size, options)
    x = draw(2, *(4, 5, 3)[: len(size)], 2)
    expected = flax_layer(params, x, **arguments)
    made = deconv_to_subpixel(params, **options, order=order)
    y: Any = layers.SubPixelConv(**made.arguments).apply({"params": made.params}, x)
    np.testing.assert_allclose(y, expected, **ROUNDING)
    phases = deconv_to_subpixel(params, **options, order=order, bias_per_phase=True)
    scale, padding = phases.arguments["scale"], phases.arguments["padding"]
    low = conv(x, phases.params["kernel"], padding=padding) + phases.params["bias"]  # the bias before the shuffle
    np.testing.assert_allclose(oracle.shuffled(low, scale, order), expected, **ROUNDING)
    for converted in (made, phases):
        back = subpixel_to_deconv(converted.params, scale=scale, padding=padding, order=order)
        np.testing.assert_allclose(flax_layer(back.params, x, **back.arguments), expected, **ROUNDING)


@pytest.mark.parametrize("scale", [3, (2, 1)])
def test_a_resize_convolution_is_a_transposed_layer_of_flax(scale):
    kernel, bias, x = draw(3, 4, 2, 3), draw(3), draw(2, 5, 4, 2)
    for padding in ("SAME", ((2, 0), (1, 3))):
        made = resize_to_deconv({"kernel": kernel, "bias": bias}, scale=scale, padding=padding)
        expected = resize_conv(x, kernel, scale=scale, padding=padding) + bias
        np.testing.assert_allclose(flax_layer(made.params, x, **made.arguments), expected, **ROUNDING)
    made = resize_to_deconv({"kernel": kernel}, scale=scale, method="linear", centres="sample")
    expected = np.asarray(resize_conv(x, kernel, scale=scale, method="linear", centres="sample"))
    inside = (slice(None), *(slice(4, -4),) * 2)
    assert expected[:, 4:-4].size
    np.testing.assert_allclose(flax_layer(made.params, x, **made.arguments)[inside], expected[inside], **ROUNDING)


@pytest.mark.parametrize("fir_padding", ["SAME", "VALID", 3])
@pytest.mark.parametrize(("size", "options"), [LAYERS[i] for i in (0, 1, 3, 6)])
def test_a_transposed_layer_and_a_filter_are_one_transposed_layer(size, options, fir_padding):
    ndim = len(size)
    params, arguments = drawn(size, options)
    taps = [0.5, 1.0, -0.25, 2.0]
    x = draw(1, *(9, 14)[:ndim], 2)
    y = flax_layer(params, x, **arguments)
    depthwise = np.zeros((4,) * ndim + (3, 3))
    for j in np.ndindex(*(4,) * ndim):
        depthwise[j] = np.eye(3) * math.prod(taps[i] for i in j)
    pads = {"SAME": [(1, 2)] * ndim, "VALID": [(0, 0)] * ndim, 3: [(3, 3)] * ndim}[fir_padding]
    expected = oracle.conv(y, depthwise, (1,) * ndim, pads, (1,) * ndim)
    made = fuse_fir(params, taps, **options, fir_padding=fir_padding)
    fused = flax_layer(made.params, x, **made.arguments)
    assert fused.shape == expected.shape
    inside = (slice(None), *(slice(4, -4),) * ndim)
    assert expected[inside].size
    np.testing.assert_allclose(fused[inside], expected[inside], rtol=1e-5, atol=5e-5)  # taps add up to 3.75^2


@pytest.mark.parametrize("fir_padding", [(0, 0), (1, 2), (5, 4)])
def test_a_layer_that_crops_nothing_and_its_filter_are_one_layer_everywhere(fir_padding):
    params, arguments = drawn((3,), {"strides": (2,), "padding": "VALID"}, bias=False)
    x, taps = draw(1, 5, 2), [1.0, 2.0, -1.0]
    y = flax_layer(params, x, **arguments)
    expected = oracle.conv(y, np.einsum("j,ab->jab", taps, np.eye(3)), (1,), [fir_padding], (1,))
    made = fuse_fir(params, taps, strides=2, padding="VALID", fir_padding=[fir_padding])
    np.testing.assert_allclose(flax_layer(made.params, x, **made.arguments), expected, **ROUNDING)


def test_a_fused_hold_makes_gains_equal():
    params, _ = drawn((3, 3), {"strides": (2, 2)})
    made = fuse_fir(params, [0.5, 0.5], strides=2)
    assert repair(params, {"kernel": 2}).report[0].spread_before > 0.1
    assert repair(made.params, {"kernel": 2}).report[0].spread_before < 1e-6
    y = flax_layer(made.params, np.ones((1, 6, 6, 2), np.float32), **made.arguments)[:, 4:-4, 4:-4]
    np.testing.assert_allclose(y, np.broadcast_to(y.mean((1, 2), keepdims=True), y.shape), **ROUNDING)


def test_the_variables_of_nnx_layers_are_taken_and_updates_give_them_back():
    old = nnx.ConvTranspose(2, 3, (4,), 2, rngs=nnx.Rngs(0))
    made = fuse_fir(nnx.state(old), [0.25, 0.5, 0.25], strides=2)
    sizes = made.arguments["kernel_size"]
    new = nnx.ConvTranspose(2, 3, sizes, 2, padding=made.arguments["padding"], rngs=nnx.Rngs(1))
    nnx.update(new, made.params)
    x = draw(1, 9, 2)
    blurred = np.asarray(old(x))
    blurred = 0.25 * blurred[:, :-2] + 0.5 * blurred[:, 1:-1] + 0.25 * blurred[:, 2:]
    np.testing.assert_allclose(np.asarray(new(x))[:, 4:-4], blurred[:, 3:-3], **ROUNDING)


def test_conversions_refuse_what_has_no_counterpart():
    kernel = draw(4, 2, 2)
    with pytest.raises(TypeError, match=r"deconv_to_subpixel: params must be one layer's, .*; got \['up'\]"):
        deconv_to_subpixel({"up": {"kernel": kernel}}, strides=2)
    with pytest.raises(ValueError, match=r"deconv_to_subpixel: padding must be .* got 'CIRCULAR', which has no"):
        deconv_to_subpixel({"kernel": kernel}, strides=2, padding="CIRCULAR")
    with pytest.raises(ValueError, match="deconv_to_subpixel: the output size on axis H is not a multiple of stride 2"):
        deconv_to_subpixel({"kernel": kernel}, strides=2, padding=[(2, 3)])
    with pytest.raises(ValueError, match="deconv_to_subpixel: order must be one of depth_first"):
        deconv_to_subpixel({"kernel": kernel}, strides=2, order="DCR")
    with pytest.raises(ValueError, match=r"fuse_fir: padding must be .* one for each of the axes H; got"):
        fuse_fir({"kernel": kernel}, [1.0], strides=2, padding=[(1, 1), (1, 1)])
    with pytest.raises(ValueError, match=r"fuse_fir: taps must be a filter of shape \[k\]; got shape \(1, 1\)"):
        fuse_fir({"kernel": kernel}, jnp.ones((1, 1)), strides=2)
    with pytest.raises(ValueError, match="resize_to_deconv: centres='corners' is not shift-invariant"):
        resize_to_deconv({"kernel": kernel}, scale=2, centres="corners")
    params = {"kernel": draw(3, 2, 4), "bias": np.array([1.0, 2.0, 1.0, 2.5], "float32")}
    with pytest.raises(ValueError, match=r"subpixel_to_deconv: bias differs .* by up to 0\.5; .* with `repair`"):
        subpixel_to_deconv(params, scale=2)
    with pytest.raises(TypeError, match="subpixel_to_deconv: bias must have values, to compare its phases"):
        jax.jit(lambda params: subpixel_to_deconv(params, scale=2).params)(params)
    tied = repair(params, {"bias": KernelPhases((2,), order="depth_first")}).variables
    np.testing.assert_array_equal(subpixel_to_deconv(tied, scale=2).params["bias"], [1, 2.25])
    own = subpixel_to_deconv(params | {"bias": np.ones(2, np.float32)}, scale=2)
    np.testing.assert_array_equal(own.params["bias"], [1, 1])


def definition(x, weight, stride, low, high, groups):
    """A transposed convolution, channel-first like PyTorch's: one product of a sample and a weight at a time."""
    size = [s * (i - 1) + k - a - b for i, s, k, a, b in zip(x.shape[1:], stride, weight.shape[2:], low, high)]
    per_group = weight.shape[1]
    out = np.zeros((groups * per_group, *size))
    for c, o, *rest in np.ndindex(*weight.shape, *x.shape[1:]):
        tap, at = rest[: len(stride)], rest[len(stride) :]
        n = tuple(s * m + j - p for s, m, j, p in zip(stride, at, tap, low))
        if all(0 <= a < b for a, b in zip(n, size)):
            group = c // (x.shape[0] // groups)
            out[(group * per_group + o, *n)] += x[(c, *at)] * weight[(c, o, *tap)]
    return out


@pytest.mark.parametrize(("ndim", "groups"), [(1, 2), (2, 1), (2, 2), (3, 1)])
def test_a_pytorch_weight_does_in_ops_and_in_flax_what_it_does_there(ndim, groups):
    size, stride, pad, extra = (3, 4, 2)[:ndim], (2, 3, 1)[:ndim], (1, 0, 1)[:ndim], (1, 2, 0)[:ndim]
    weight, x = draw(4, 3, *size), draw(4, *(3, 2, 3)[:ndim])
    expected = definition(x, weight, stride, pad, [p - a for p, a in zip(pad, extra)], groups)
    last = np.moveaxis(x, 0, -1)[None]
    kernel = import_transposed(weight, layout="pytorch", groups=groups, target="ops")
    pads = tuple((p, p) for p in pad)
    y = conv_transpose(last, kernel, stride=stride, padding=pads, output_padding=extra, groups=groups)
    np.testing.assert_allclose(np.moveaxis(np.asarray(y)[0], -1, 0), expected, **ROUNDING)
    own = layers.ConvTranspose(
        3 * groups, size, stride, pad, groups=groups, output_padding=extra, use_bias=False, use_consistent_padding=True
    )
    params = {"kernel": import_transposed(weight, layout="pytorch", groups=groups)}
    np.testing.assert_allclose(
        np.moveaxis(np.asarray(own.apply({"params": params}, last))[0], -1, 0), expected, **ROUNDING
    )
    if groups > 1:
        return
    pads = [(k - 1 - p, k - 1 - p + a) for k, p, a in zip(size, pad, extra)]
    for target, transpose_kernel in [("flax", False), ("flax_transposed", True)]:
        params = {"kernel": import_transposed(weight, layout="pytorch", target=target)}
        options: dict[str, Any] = {"padding": pads, "transpose_kernel": transpose_kernel, "use_bias": False}
        y = flax_layer(params, last, features=3, kernel_size=size, strides=stride, **options)
        np.testing.assert_allclose(np.moveaxis(y[0], -1, 0), expected, **ROUNDING)


def test_stored_results_of_pytorch():
    # torch 2.13: ConvTranspose1d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2) on whole numbers.
    weight = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    x = jnp.arange(6.0).reshape(2, 3).T[None]
    kernel = import_transposed(weight, layout="pytorch", groups=2, target="ops")
    y = conv_transpose(x, kernel, stride=2, padding=1, output_padding=1, groups=2)
    expected = [[0, 0, 1, 2, 2, 4], [0, 3, 4, 11, 8, 10], [21, 48, 28, 62, 35, 40], [30, 69, 40, 89, 50, 55]]
    np.testing.assert_array_equal(np.asarray(y)[0].T, expected)


def test_a_keras_weight_is_flax_s_with_a_transposed_kernel():
    weight, x = draw(3, 4, 3, 2), draw(1, 3, 2, 2)  # [*k, O, I]
    first = np.moveaxis(weight, (3, 2), (0, 1))
    # "same" crops k - s samples, the smaller half at the low end.
    expected = definition(np.moveaxis(x[0], -1, 0), first, (2, 2), (0, 1), (1, 1), 1)
    for target, options in [("flax", {}), ("flax_transposed", {"transpose_kernel": True})]:
        params = {"kernel": import_transposed(weight, layout="keras", target=target)}
        y = flax_layer(params, x, features=3, kernel_size=(3, 4), strides=(2, 2), use_bias=False, **options)
        np.testing.assert_allclose(np.moveaxis(y[0], -1, 0), expected, **ROUNDING)
    y = conv_transpose(x, import_transposed(weight, layout="keras", target="ops"), stride=2)
    np.testing.assert_allclose(np.moveaxis(np.asarray(y)[0], -1, 0), expected, **ROUNDING)


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((2, 2), {"layout": "pytorch"}, ValueError, r"weight must be \[I, O / groups, \*k\] with 1, 2 or 3 spatial"),
        ((2, 2), {"layout": "keras"}, ValueError, r"weight must be \[\*k, O, I\] with 1, 2 or 3"),
        ((3, 2, 4), {"layout": "pytorch", "groups": 2}, ValueError, "axis I of weight must be a multiple of groups=2"),
        ((3, 2, 4), {"layout": "keras", "groups": 2}, ValueError, "transposed layers have no groups; got groups=2"),
        ((3, 2, 4), {"layout": "torch"}, ValueError, "layout must be one of pytorch, keras; got 'torch'; did you"),
        ((3, 2, 4), {"layout": "keras", "target": "linen"}, ValueError, "target must be one of flax, flax_transposed"),
        ((3, 0, 4), {"layout": "keras"}, ValueError, "axis 1 of weight is empty"),
    ],
)
def test_weights_that_do_not_fit_their_layout_are_refused(shape, options, error, message):
    with pytest.raises(error, match=f"import_transposed: .*{message}|import_transposed: {message}"):
        import_transposed(np.zeros(shape, np.float32), **options)

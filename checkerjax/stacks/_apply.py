"""Running a stack: each layer is one operator, and an operator's error is told with the layer's place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax import _geometry as geometry
from checkerjax import ops
from checkerjax._checks import Pads, as_inexact, at_least_float32, pad_pairs, per_axis
from checkerjax.ops._hold import hold
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import LEARNED, Bias, Layer, Parallel, Residual, Stack
from checkerjax.stacks._plan import StackLike, place_of
from checkerjax.stacks._text import as_stack


def apply(params: Sequence[Any], stack: StackLike, x: jax.Array, *, precision: lax.PrecisionLike = None) -> jax.Array:
    """Runs a stack; pure, so it works under `jit`, `vmap` and `grad`.

    Args:
      params: of `init`, for the same stack.
      stack: text, a layer or a sequence of layers.
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes, or a latent `[N, C]` where the first layer that is not
        pointwise is dense; the floating dtype of the parameters.
      precision: of convolutions, interpolations and matrix products, as in `jax.lax`.

    Returns:
      The output of the last layer, `[N, *o, O]`, of the dtype of `x`.

    Raises:
      ValueError: for parameters of another stack, or a field that does not fit a layer; it names the layer.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> params = ({"kernel": jnp.ones((3, 1, 1))}, {})
      >>> apply(params, "deconv k3 s2 valid, relu", jnp.ones((1, 3, 1))).ravel()
      Array([1., 1., 2., 1., 2., 1., 1.], dtype=float32)
    """
    x = as_inexact("apply", "x", x)
    if x.ndim not in (2, 3, 4, 5):
        raise ValueError(f"apply: x must be NHC, NHWC, NDHWC or a latent NC; got shape {x.shape}.")
    return _run("apply: ", params, as_stack("apply", stack), x, precision)


def _run(prefix: str, params: Any, stack: Stack, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    if not isinstance(params, (tuple, list)) or len(params) != len(stack):
        got = f"{len(params)} entries" if isinstance(params, (tuple, list)) else type(params).__name__
        raise ValueError(
            f"{prefix}params must be a tuple with one entry for each of the {len(stack)} layers; got {got}. "
            "Make them with init for the same stack."
        )
    for i, (entry, layer) in enumerate(zip(params, stack)):
        x = _run_layer(place_of(prefix, i, layer), entry, layer, x, precision)
    return x


def _run_layer(place: str, params: Any, layer: Layer, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    if isinstance(layer, Residual):
        return _residual(place, params, layer, x, precision)
    if isinstance(layer, Parallel):
        return _parallel(place, params, layer, x, precision)
    try:
        _check_input(layer, x)
        _check_params(layer, params, x.ndim - 2)
        return _RULES[type(layer)](layer, params, x, precision)
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{place}: {error}") from error


def _residual(place: str, params: Any, layer: Residual, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    inner = _run(f"{place}: ", params, layer.stack, x, precision)
    if inner.shape != x.shape:
        raise ValueError(f"{place}: the inner stack must keep the shape {x.shape}; it gives {inner.shape}.")
    return x + inner


def _parallel(place: str, params: Any, layer: Parallel, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    if not isinstance(params, (tuple, list)) or len(params) != len(layer.stacks):
        raise ValueError(f"{place}: params must be a tuple with one entry for each of the {len(layer.stacks)} stacks.")
    outs = [
        _run(f"{place}: branch {i + 1}, ", entry, stack, x, precision)
        for i, (entry, stack) in enumerate(zip(params, layer.stacks))
    ]
    shapes = [out.shape for out in outs]
    shared = {shape if layer.combine == "sum" else shape[:-1] for shape in shapes}
    if len(shared) > 1:
        but = "" if layer.combine == "sum" else ", channels apart"
        raise ValueError(f"{place}: the branches must give equal shapes{but}; got {shapes}.")
    return sum(outs[1:], start=outs[0]) if layer.combine == "sum" else jnp.concatenate(outs, axis=-1)


def _check_input(layer: Layer, x: jax.Array) -> None:
    if isinstance(layer, layers.POINTWISE):
        return
    if isinstance(layer, layers.Dense) and x.ndim != 2:
        raise ValueError(f"a dense layer needs a latent x of shape [N, C]; got shape {x.shape}.")
    if not isinstance(layer, layers.Dense) and x.ndim == 2:
        raise ValueError(
            f"the layer needs a field NHC, NHWC or NDHWC; got a latent of shape {x.shape}. Put a dense layer before it."
        )


def _check_params(layer: Layer, params: Any, ndim: int) -> None:
    """Raises unless `params` has what the layer learns, with its kernel size and features."""
    expected = ["kernel"] if isinstance(layer, LEARNED) else ["bias"] if isinstance(layer, Bias) else []
    if not isinstance(params, Mapping) or sorted(params) != expected:
        got = sorted(params) if isinstance(params, Mapping) else type(params).__name__
        raise ValueError(f"params must have the entries {expected}; got {got}. Make them with init for the same stack.")
    if not isinstance(layer, LEARNED):
        return
    shape = jnp.shape(params["kernel"])
    name, found = ("size", shape[1:-1]) if isinstance(layer, layers.Dense) else ("kernel", shape[:-2])
    declared = getattr(layer, name)
    if found != (declared if isinstance(declared, tuple) else (declared,) * max(len(found), 1)):
        raise ValueError(f"params has a kernel of shape {shape}; expected {name}={declared}.")
    if layer.features is not None and shape[-1] != _kernel_outputs(layer, layer.features, ndim):
        raise ValueError(f"params has a kernel of shape {shape}, which does not give features={layer.features}.")


def _kernel_outputs(layer: Any, features: int, ndim: int) -> int:
    """The last axis of the kernel of a layer with so many features."""
    if isinstance(layer, layers.SubPixel):
        return features * math.prod(per_axis("subpixel", "scale", layer.scale, ndim))
    return features // layer.groups if isinstance(layer, layers.Deconv) else features


def _conv(layer: layers.Conv, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    pads = layer.padding
    if layer.pad_mode != "zeros":
        x = ops.pad(x, _conv_pads(x, layer.kernel, layer.stride, layer.dilation, pads), mode=layer.pad_mode)
        pads = "VALID"
    return ops.conv(
        x,
        params["kernel"],
        stride=layer.stride,
        padding=pads,
        dilation=layer.dilation,
        groups=layer.groups,
        precision=precision,
    )


def _conv_pads(x: jax.Array, kernel: Any, stride: Any, dilation: Any, padding: Any) -> Pads:
    ndim = x.ndim - 2
    sizes = per_axis("pad", "kernel", kernel, ndim), per_axis("pad", "stride", stride, ndim)
    dilations = per_axis("pad", "dilation", dilation, ndim)
    return geometry.conv_pads(x.shape[1:-1], *sizes, dilations, pad_pairs("pad", padding, ndim))


def _deconv(layer: layers.Deconv, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return ops.conv_transpose(
        x,
        params["kernel"],
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        groups=layer.groups,
        precision=precision,
    )


def _resize_conv(layer: layers.ResizeConv, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return ops.resize_conv(
        x,
        params["kernel"],
        scale=layer.scale,
        method=layer.method,
        padding=layer.padding,
        pad_mode=layer.pad_mode,
        centres=layer.centres,
        precision=precision,
    )


def _subpixel(layer: layers.SubPixel, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return ops.subpixel_conv(
        x, params["kernel"], scale=layer.scale, padding=layer.padding, order=layer.order, precision=precision
    )


def _dense(layer: layers.Dense, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    kernel = as_inexact("dense", "kernel", params["kernel"])
    if x.shape[1] != kernel.shape[0]:
        raise ValueError(f"dense: axis C of x is {x.shape[1]} but axis C of the kernel is {kernel.shape[0]}.")
    _check_dtype("dense", "kernel", x, kernel)
    return jnp.tensordot(x, kernel, 1, precision=precision)


def _bias(layer: Bias, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    bias = as_inexact("bias", "bias", params["bias"])
    if bias.shape != x.shape[-1:]:
        raise ValueError(f"bias: bias must be [{x.shape[-1]}], one number per channel of x; got shape {bias.shape}.")
    _check_dtype("bias", "bias", x, bias)
    return x + bias


def _check_dtype(op: str, name: str, x: jax.Array, array: jax.Array) -> None:
    if x.dtype != array.dtype:
        raise TypeError(f"{op}: x is {x.dtype} but {name} is {array.dtype}; cast one of them.")


def _batch_norm(layer: layers.BatchNorm, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    wide = x.astype(at_least_float32(x.dtype))  # sums over a batch would be lost in a narrow dtype
    axes = tuple(range(x.ndim - 1)) if layer.per == "channel" else 0
    centred = wide - wide.mean(axes, keepdims=True)
    variance = (centred * centred).mean(axes, keepdims=True)
    return (layer.std * centred / jnp.sqrt(variance + layer.epsilon)).astype(x.dtype)


def _max_pool(layer: layers.MaxPool, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return ops.downsample(x, scale=layer.stride, method="max", window=layer.kernel, padding=layer.padding)


def _avg_pool(layer: layers.AvgPool, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return ops.downsample(x, scale=layer.stride, method="average", window=layer.kernel, padding=layer.padding)


def _l2_pool(layer: layers.L2Pool, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return ops.downsample(x, scale=layer.stride, method="l2", padding=layer.padding)


def _blur(layer: layers.Blur, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return ops.downsample(
        x,
        scale=layer.stride,
        method="blur",
        window=layer.kernel,
        padding=layer.padding,
        pad_mode=layer.pad_mode,
    )


def _hold(layer: layers.Hold, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return hold(x, scale=layer.scale, order=layer.order, padding=layer.padding, pad_mode=layer.pad_mode)


def _upsample(layer: layers.Upsample, params: Any, x: jax.Array, precision: lax.PrecisionLike) -> jax.Array:
    return ops.upsample(x, scale=layer.scale, method=layer.method, centres=layer.centres, precision=precision)


_RULES: dict[type, Callable[..., jax.Array]] = {
    layers.Conv: _conv,
    layers.Deconv: _deconv,
    layers.ResizeConv: _resize_conv,
    layers.SubPixel: _subpixel,
    layers.Dense: _dense,
    layers.Bias: _bias,
    layers.Relu: lambda layer, params, x, precision: jax.nn.relu(x),
    layers.LeakyRelu: lambda layer, params, x, precision: jnp.where(x >= 0, x, layer.slope * x),
    layers.Tanh: lambda layer, params, x, precision: jnp.tanh(x),
    layers.Erf: lambda layer, params, x, precision: lax.erf(x),
    layers.BatchNorm: _batch_norm,
    layers.MaxPool: _max_pool,
    layers.AvgPool: _avg_pool,
    layers.L2Pool: _l2_pool,
    layers.Blur: _blur,
    layers.Hold: _hold,
    layers.Upsample: _upsample,
}

"""A stack as a model that sweeps run: with its weights, or with pre-activations drawn without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from checkerjax import stacks
from checkerjax._checks import pad_pairs, per_axis
from checkerjax._geometry import transpose_pads
from checkerjax.ops import implied
from checkerjax.stacks._plan import plan_stack
from checkerjax.sweeps._statistics import Draws, Model


def stack_model(stack: stacks.Stack, initialisation: Mapping[str, Any], measured_layer: int | None) -> Model:
    """The stack, with a last tanh apart."""
    body, squash = _split(stack)

    def params(draws: Draws) -> tuple:
        return stacks.init_from_normals(draws.weights, stack, **initialisation)

    def before_tanh(params: tuple, x: jax.Array) -> jax.Array:
        return stacks.apply(params[: len(body)], body, x, precision="highest")

    def open_kernel(params: tuple) -> tuple[jax.Array, Callable[[jax.Array], tuple]]:
        at = measured_layer
        assert at is not None
        return params[at]["kernel"], lambda kernel: (*params[:at], {**params[at], "kernel": kernel}, *params[at + 1 :])

    return Model(params, before_tanh, squash, open_kernel)


def implied_model(stack: stacks.Stack, initialisation: Mapping[str, Any], shape: tuple[int, ...]) -> Model:
    """The stack for an input of one shape, its deconvolutions without kernels where that takes far fewer numbers.

    The distribution of what comes out is the same to float32 rounding; the numbers of a seed are others.
    """
    body, squash = _split(stack)
    steps = _steps(stack, initialisation, shape)

    def before_tanh(normals: jax.Array, x: jax.Array) -> jax.Array:
        start = 0
        for step in steps[: len(body)]:
            own = normals[start : start + step.count]
            start += step.count
            if step.grid is not None:
                x = implied.scatter(x, own, step.grid, step.outer, step.std)
            else:
                params = stacks.init_from_normals(own, step.layer, **{**initialisation, "channels": step.channels})
                x = stacks.apply(params, step.layer, x, precision="highest")
        return x

    def open_kernel(params: Any) -> Any:
        raise NotImplementedError("implied kernels have no gradient")

    return Model(lambda draws: draws.weights, before_tanh, squash, open_kernel)


def implied_count(stack: stacks.Stack, initialisation: Mapping[str, Any], shape: tuple[int, ...]) -> int:
    """Normals that `implied_model` takes for a seed."""
    return sum(step.count for step in _steps(stack, initialisation, shape))


class _Step(NamedTuple):
    """One layer: what goes in, and how many normals it takes."""

    layer: stacks.Stack
    channels: int
    count: int
    grid: Any = None  # of a deconvolution without its kernel
    outer: int = 0
    std: float = 0.0


def _steps(stack: stacks.Stack, initialisation: Mapping[str, Any], shape: tuple[int, ...]) -> list[_Step]:
    """Layers of the stack, one by one; widths that are left open are one int, as sweeps of families have it."""
    found, size = [], shape[1:-1]
    for i, layer in enumerate(stack):
        channels = stacks.output_channels(stack[:i], shape[-1], width=initialisation["width"]) if i else shape[-1]
        one = {**initialisation, "channels": channels}
        step = _Step((layer,), channels, stacks.normal_count((layer,), **one))
        if isinstance(layer, stacks.Deconv) and layer.groups == 1 and len(size) == 2:
            step = _implied(step, layer, one, (shape[0], *size, channels))
        found.append(step)
        size = stacks.output_size((layer,), size)
    return found


def _implied(step: _Step, layer: stacks.Deconv, initialisation: Mapping[str, Any], shape: tuple[int, ...]) -> _Step:
    """The step without a kernel, where a phase has at most a quarter as many positions as weights.

    Factoring their covariance costs more than it saves where they are nearly as many, or many hundreds.
    """
    initialiser = layer.initialiser or initialisation["initialiser"]
    if initialiser == "icnr":
        return step
    kernel, stride, dilation, extra = (
        per_axis("sweep", name, getattr(layer, name), 2, minimum=0)
        for name in ("kernel", "stride", "dilation", "output_padding")
    )
    pads = transpose_pads("sweep", kernel, stride, dilation, pad_pairs("sweep", layer.padding, 2), extra)
    large = stacks.output_size((layer,), shape[1:-1])
    grid = implied.Grid(shape[1:-1], kernel, large, stride, dilation, tuple(low for low, _ in pads))
    outer = stacks.output_channels((layer,), shape[-1], width=initialisation["width"])
    positions = shape[0] * math.prod(-(-n // s) for n, s in zip(large, stride))
    weights = shape[-1] * math.prod(kernel) // math.prod(stride)
    if positions > 128 or 4 * positions > weights:
        return step
    ((draw,), _) = plan_stack("sweep", (layer,), shape[-1], 2, initialisation["width"], initialiser)
    return step._replace(count=implied.count(shape, grid, outer), grid=grid, outer=outer, std=draw["kernel"].std)


def _split(stack: stacks.Stack) -> tuple[stacks.Stack, Callable[[jax.Array], jax.Array]]:
    """The stack before its last tanh: phase powers are taken there, where saturation does not change them."""
    last = len(stack) > 1 and isinstance(stack[-1], stacks.Tanh)
    return (stack[:-1], jnp.tanh) if last else (stack, lambda field: field)

"""The layers without parameters, for linen and nnx alike: a module's options by name, a field in, a field out."""

from __future__ import annotations

from typing import Any

import jax

from checkerjax import ops
from checkerjax.ops._additive import bilinear_additive
from checkerjax.ops._hold import hold as hold_of


def upsample(module: Any, x: jax.Array) -> jax.Array:
    return ops.upsample(
        x,
        scale=module.scale,
        method=module.method,
        centres=module.centres,
        cubic_a=module.cubic_a,
        taps=module.taps,
        precision=module.precision,
    )


def downsample(module: Any, x: jax.Array) -> jax.Array:
    return ops.downsample(
        x,
        scale=module.scale,
        method=module.method,
        window=module.window,
        padding=module.padding,
        pad_mode=module.pad_mode,
    )


def blur_pool(module: Any, x: jax.Array) -> jax.Array:
    return ops.downsample(
        x,
        scale=module.scale,
        method="blur",
        window=module.window,
        padding=module.padding,
        pad_mode=module.pad_mode,
    )


def max_blur_pool(module: Any, x: jax.Array) -> jax.Array:
    most = ops.downsample(x, scale=1, method="max", window=module.window, padding=module.padding)
    return ops.downsample(most, scale=module.scale, method="blur", window=module.blur_window, pad_mode=module.pad_mode)


def l2_pool(module: Any, x: jax.Array) -> jax.Array:
    return ops.downsample(x, scale=module.scale, method="l2", padding=module.padding, pad_mode=module.pad_mode)


def hold(module: Any, x: jax.Array) -> jax.Array:
    return hold_of(x, scale=module.scale, order=module.order, padding=module.padding, pad_mode=module.pad_mode)


def bilinear_additive_upsample(module: Any, x: jax.Array) -> jax.Array:
    return bilinear_additive(
        x,
        scale=module.scale,
        merged=module.merged,
        grouping=module.grouping,
        centres=module.centres,
        precision=module.precision,
    )

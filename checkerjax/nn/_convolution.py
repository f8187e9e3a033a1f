"""What the two layers that stand in for Flax's check and compute alike: shapes of kernels, masks, dtypes, paddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from checkerjax._checks import AXES, as_int
from checkerjax.nn._equal_gains import equal_gains_shape
from checkerjax.nn._layers import located

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def own_features(place: str, name: str, groups: Any, features: Any, inputs: int) -> tuple[int, int]:
    """Output and input channels of one group; `name` is what the layer calls the number of groups."""
    groups, features = as_int(place, name, groups, minimum=1), as_int(place, "features", features, minimum=1)
    for what, channels in (("features", features), ("input channels", inputs)):
        if channels % groups:
            raise ValueError(f"{place}: {name}={groups} must divide the {what}; got {channels}.")
    return features // groups, inputs // groups


def smaller_shape(place: str, shape: Ints, strides: Ints, dilation: Ints) -> Ints:
    """Of the p whose product with the box has a kernel's shape: what is trained where gains are equal."""
    if any(math.gcd(s, d) > 1 for s, d in zip(strides, dilation)):
        raise ValueError(
            f"{place}: equal_gains needs strides and kernel_dilation without a common factor; got "
            f"{strides} and {dilation}."
        )
    with located(place):
        return equal_gains_shape(shape, strides)


def check_mask(place: str, mask: Any, shape: Ints, *, equal_gains: bool) -> None:
    """Raises where a mask does not fit the kernel."""
    if mask is None:
        return
    if equal_gains:
        raise ValueError(f"{place}: mask and equal_gains exclude each other: a mask makes gains unequal.")
    if jnp.shape(mask) != shape:
        raise ValueError(f"{place}: mask must have the shape of the kernel, {shape}; got {jnp.shape(mask)}.")


def widened(place: str, inputs: jax.Array, kernel: jax.Array, preferred: Any) -> tuple[jax.Array, jax.Array]:
    """Both in the dtype that sums are asked for in: products of narrower numbers are exact there."""
    if preferred is None:
        return inputs, kernel
    wide, own = jnp.dtype(preferred), inputs.dtype
    if jnp.issubdtype(own, jnp.complexfloating) != jnp.issubdtype(wide, jnp.complexfloating) or (
        not jnp.issubdtype(wide, jnp.inexact) or jnp.finfo(wide).bits < jnp.finfo(own).bits
    ):
        raise TypeError(f"{place}: preferred_element_type must be of the kind of {own} and no narrower; got {wide}.")
    return inputs.astype(wide), kernel.astype(wide)


def pad_numbers(place: str, padding: Any, ndim: int) -> Pairs:
    """An int, or one int or (low, high) pair per axis, as pairs; negative where they crop."""
    given = padding if isinstance(padding, Sequence) else (padding,) * ndim
    if len(given) != ndim:
        raise ValueError(
            f"{place}: padding must have one int or (low, high) pair for each of the axes {AXES[ndim]}; "
            f"got {padding!r}."
        )
    pairs = [p if isinstance(p, Sequence) and len(p) == 2 else (p, p) for p in given]
    return tuple((as_int(place, "padding", a), as_int(place, "padding", b)) for a, b in pairs)

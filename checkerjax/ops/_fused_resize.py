"""Resize-convolution at low resolution: a transposed convolution with the equivalent kernel, exact at the borders."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax._checks import Pads, at_least_float32
from checkerjax.ops import _contractions as contractions
from checkerjax.ops._conv import correlate
from checkerjax.ops._grid import Grid, is_known
from checkerjax.ops._padding import pad_as
from checkerjax.ops._resize_plan import AxisPlan, Strip, plan_axis
from checkerjax.ops._upsample import upsample_as


@dataclasses.dataclass(frozen=True)
class Resize:
    """The fixed part of a resize-convolution; pads and modes are those of the upsampled field, one an axis."""

    scales: tuple[int, ...]
    method: str
    centres: str
    cubic_a: float
    pads: Pads
    modes: tuple[str, ...]

    def on(self, axis: int, *, scale: int | None = None, pad: tuple[int, int] | None = None, mode: str | None = None):
        """The same with other values on one axis."""
        changes = {"scales": scale, "pads": pad, "modes": mode}
        swapped = {
            name: tuple(value if i == axis else old for i, old in enumerate(getattr(self, name)))
            for name, value in changes.items()
            if value is not None
        }
        return dataclasses.replace(self, **swapped)

    def plan(self, axis: int, size: int, k: int) -> AxisPlan | None:
        rest = self.method, self.centres, self.cubic_a, self.modes[axis]
        return plan_axis(size, k, self.scales[axis], self.pads[axis], *rest)

    def is_masked(self, axis: int, size: int, k: int) -> bool:
        """Whether zeros beyond the field are repeated end samples, less what they add."""
        if self.modes[axis] != "zeros":
            return False
        plain, edge = self.plan(axis, size, k), self.on(axis, mode="edge").plan(axis, size, k)
        return edge is not None and edge.repeats_ends and (plain is None or plain.strips is not None)


def can_fuse(x: jax.Array, kernel: jax.Array, resize: Resize) -> bool:
    """Whether every axis has a plan."""
    if resize.method == "fir" or min(min(pair) for pair in resize.pads) < 0 or max(resize.scales) == 1:
        return False
    if not is_known(x.shape):
        return False
    axes = list(enumerate(zip(x.shape[1:-1], kernel.shape[:-2])))
    return all(resize.is_masked(axis, *sizes) or resize.plan(axis, *sizes) is not None for axis, sizes in axes)


def products(x: jax.Array, kernel: jax.Array, resize: Resize) -> int:
    """Multiplications of a channel pair for an image, strips included."""
    inner, strips = 1, 0.0
    sizes = kernel.shape[:-2]
    outputs = [s * n + sum(pad) - k + 1 for s, n, k, pad in zip(resize.scales, x.shape[1:-1], sizes, resize.pads)]
    for axis, (n, k) in enumerate(zip(x.shape[1:-1], sizes)):
        masked = resize.is_masked(axis, n, k)
        plan = (resize.on(axis, mode="edge") if masked else resize).plan(axis, n, k)
        if plan is None:
            raise AssertionError("products: ask can_fuse first.")
        inner *= -(-plan.outputs // resize.scales[axis]) * len(plan.fold)
        if plan.strips is not None:
            strips += sum(strip.outputs for strip in plan.strips) / outputs[axis]
    return inner + int(strips * math.prod(outputs) * math.prod(sizes))


def fused(x: jax.Array, kernel: jax.Array, resize: Resize, *, precision: lax.PrecisionLike, method: str) -> jax.Array:
    """`conv(pad(upsample(x)))` of a field that `can_fuse`."""
    dtype = x.dtype
    # Rounded to a narrow dtype, the equivalent kernel would have unequal phase gains, and those leave lines.
    wide = at_least_float32(dtype)
    return _fused(x.astype(wide), kernel.astype(wide), resize, precision, method).astype(dtype)


def _fused(x: jax.Array, kernel: jax.Array, resize: Resize, precision: lax.PrecisionLike, method: str) -> jax.Array:
    sizes = list(zip(x.shape[1:-1], kernel.shape[:-2]))
    for axis, (n, k) in enumerate(sizes):
        if resize.is_masked(axis, n, k):
            out = _fused(x, kernel, resize.on(axis, mode="edge"), precision, method)
            return _mask(out, x, kernel, resize, axis, precision, method)
    plans = [plan for axis, (n, k) in enumerate(sizes) if (plan := resize.plan(axis, n, k)) is not None]
    out = _inner(x, kernel, resize.scales, plans, precision, method)
    for axis, plan in enumerate(plans):
        if plan.strips is not None:
            low, high = (
                [_cut(_strip(x, kernel, resize, axis, strip, precision), plans, axis)] if strip.outputs else []
                for strip in plan.strips
            )
            out = lax.concatenate([*low, out, *high], 1 + axis)
    return out


def _mask(
    out: jax.Array,
    x: jax.Array,
    kernel: jax.Array,
    resize: Resize,
    axis: int,
    precision: lax.PrecisionLike,
    method: str,
) -> jax.Array:
    """Takes from outputs what the end samples, repeated beyond the field, have added: zeros were to stand there.

    The repeated samples are all alike, so the taps on them add up to one tap: an output near the end loses the
    resize-convolution of the end sample with a kernel of size 1 on this axis.
    """
    k, length = kernel.shape[axis], out.shape[1 + axis]
    low, high = (min(pad, length) for pad in resize.pads[axis])
    taps, rest = np.arange(k), resize.on(axis, scale=1, pad=(0, 0))

    def lost(end: int, beyond: np.ndarray) -> jax.Array:
        """What the end sample adds through the taps that are beyond it, `[outputs, k]`."""
        kernels = jnp.moveaxis(_along(jnp.asarray(beyond, kernel.dtype), kernel, axis), axis, -2)
        single = jnp.expand_dims(kernels.reshape(*kernels.shape[:-2], -1), axis)
        sample = lax.slice_in_dim(x, end, end + 1, axis=1 + axis)
        extra = _fused(sample, single, rest, precision, method)
        apart = extra.reshape(*extra.shape[:-1], *kernels.shape[-2:]).squeeze(1 + axis)
        return jnp.moveaxis(apart, -2, 1 + axis)

    before = (slice(None),) * (1 + axis)
    if low:
        first = np.arange(low)[:, None]
        out = out.at[(*before, slice(low))].add(-lost(0, taps < resize.pads[axis][0] - first))
    if high:
        last = np.arange(high, 0, -1)[:, None]  # outputs to the end, this one included
        beyond = taps > k - 2 - resize.pads[axis][1] + last
        out = out.at[(*before, slice(length - high, length))].add(-lost(x.shape[1 + axis] - 1, beyond))
    return out


def _inner(
    x: jax.Array,
    kernel: jax.Array,
    scales: tuple[int, ...],
    plans: Sequence[AxisPlan],
    precision: lax.PrecisionLike,
    method: str,
) -> jax.Array:
    """The outputs that one transposed convolution gives."""
    for axis, plan in enumerate(plans):
        pairs = tuple(plan.extend if i == axis else (0, 0) for i in range(len(plans)))
        x = pad_as("resize_conv", x, pairs, plan.mode)
        kernel = _along(jnp.asarray(plan.fold, kernel.dtype), kernel, axis)
    outputs, low = tuple(plan.outputs for plan in plans), tuple(plan.low for plan in plans)
    grid = Grid(x.shape[1:-1], kernel.shape[:-2], outputs, scales, (1,) * len(plans), low)
    return contractions.scatter(x, kernel, grid, precision=precision, method=method)


def _strip(
    x: jax.Array, kernel: jax.Array, resize: Resize, axis: int, strip: Strip, precision: lax.PrecisionLike
) -> jax.Array:
    """The outputs of a strip at full length on the other axes, by the definition."""
    runs = np.split(strip.samples, np.flatnonzero(np.diff(strip.samples) > 1) + 1)
    pieces = [lax.slice_in_dim(x, int(run[0]), int(run[-1]) + 1, axis=1 + axis) for run in runs if run.size]
    few = _along(jnp.asarray(strip.weights, x.dtype), lax.concatenate(pieces, 1 + axis), 1 + axis)
    others = resize.on(axis, scale=1, pad=(0, 0))
    large = upsample_as(
        "resize_conv", few, others.scales, resize.method, resize.centres, resize.cubic_a, None, precision
    )
    for i, mode in enumerate(others.modes):
        pairs = tuple(pair if j == i else (0, 0) for j, pair in enumerate(others.pads))
        large = pad_as("resize_conv", large, pairs, mode)
    return correlate("resize_conv", large, kernel, padding="VALID", precision=precision)


def _cut(side: jax.Array, plans: Sequence[AxisPlan], axis: int) -> jax.Array:
    """What of a strip lies beside the block so far: without the strips of axes still to come."""
    for later, plan in enumerate(plans):
        if later > axis and plan.strips is not None:
            first = plan.strips[0].outputs
            side = lax.slice_in_dim(side, first, first + plan.outputs, axis=1 + later)
    return side


def _along(matrix: jax.Array, field: jax.Array, axis: int) -> jax.Array:
    """A matrix applied along one axis; always at full precision, for its weights sum to one."""
    return jnp.moveaxis(jnp.tensordot(matrix, field, axes=((1,), (axis,)), precision="highest"), 0, axis)

"""The three contractions as one `lax.conv_general_dilated` each: the oracle of the other forms, and right anywhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from checkerjax._checks import LAYOUTS
from checkerjax._geometry import span
from checkerjax.ops._grid import Grid, crop


def gather(
    large: jax.Array,
    kernel: jax.Array,
    grid: Grid,
    precision: lax.PrecisionLike,
    groups: int = 1,
    high: tuple[int, ...] | None = None,
) -> jax.Array:
    """A strided convolution; kernel `[*k, small channels, large channels / groups]`.

    `high` is the padding where it is known and its exact need is not: for sizes unknown at export.
    """
    image, weights = LAYOUTS[grid.ndim]
    pads = list(zip(grid.low, grid.high if high is None else high))
    # The cases of `_aborts_xla` in gradients: padding that leaves no zeros around the stretched cotangent is added
    # apart, and two outputs of a kernel with dilation 2 (second derivatives) are made three.
    apart = [k == s == 2 and d == 1 and p > 0 for k, s, d, p in zip(grid.kernel, grid.stride, grid.dilation, grid.low)]
    if any(apart):
        large = jnp.pad(large, ((0, 0), *(pair if do else (0, 0) for do, pair in zip(apart, pads)), (0, 0)))
        pads = [(0, 0) if do else pair for do, pair in zip(apart, pads)]
    spare = [s if d == o == 2 else 0 for s, d, o in zip(grid.stride, grid.dilation, grid.small)]
    out = lax.conv_general_dilated(
        large,
        jnp.swapaxes(kernel, -1, -2),
        window_strides=grid.stride,
        padding=[(low, high + more) for (low, high), more in zip(pads, spare)],
        rhs_dilation=grid.dilation,
        dimension_numbers=(image, weights, image),
        feature_group_count=groups,
        precision=precision,
    )
    return crop(out, grid.small) if any(spare) else out


def scatter(
    small: jax.Array, kernel: jax.Array, grid: Grid, precision: lax.PrecisionLike, groups: int = 1
) -> jax.Array:
    """A transposed convolution, the small field stretched with zeros; kernel `[*k, small, large / groups]` channels."""
    image, weights = LAYOUTS[grid.ndim]
    reach = [span(k, d) - 1 for k, d in zip(grid.kernel, grid.dilation)]
    around = [(r - low, r - high) for r, low, high in zip(reach, grid.low, grid.high)]
    spare = [int(_aborts_xla(*axis)) for axis in zip(grid.kernel, grid.stride, grid.dilation, around, grid.large)]
    out = lax.conv_general_dilated(
        small,
        _block_inputs(jnp.flip(kernel, range(grid.ndim)), groups),  # correlating with the flipped kernel stamps it
        window_strides=(1,) * grid.ndim,
        padding=[(low, high + more) for (low, high), more in zip(around, spare)],
        lhs_dilation=grid.stride,
        rhs_dilation=grid.dilation,
        dimension_numbers=(image, weights, image),
        feature_group_count=groups,
        precision=precision,
    )
    return crop(out, grid.large) if any(spare) else out


def kernel(small: jax.Array, large: jax.Array, grid: Grid, precision: lax.PrecisionLike) -> jax.Array:
    """The kernel's part in `gather`, transposed: `[*k, small channels, large channels]`."""
    shape = (*grid.kernel, small.shape[-1], large.shape[-1])
    whole = NamedSharding(jax.typeof(small).sharding.mesh, PartitionSpec())  # a mesh with explicit axes asks
    # Varying over the axes of a shard_map as `small` does: else it is cast, and the cast transposes to a second sum.
    unknown = jax.typeof(small).update(shape=shape, weak_type=False, sharding=whole)
    pull = jax.linear_transpose(lambda k: gather(large, k, grid, precision), unknown)
    return pull(small)[0]


def _aborts_xla(k: int, s: int, d: int, around: tuple[int, int], outputs: int) -> bool:
    """Whether XLA may abort the process on an axis of a transposed convolution, or of its derivatives.

    Seen with jaxlib 0.10.2 on CPU. Where another axis makes XLA exchange input and kernel, it takes an axis with no
    zeros around, as many window samples as input dilation and one less stride for a group of channels, without asking
    for the size of its input. The window is the kernel forward and the cotangent in the kernel gradient, whose own
    gradient dilates by d. One more output, dropped afterwards, makes each another case; zeros inserted apart would be
    folded back.
    """
    return (k == s == 2 and d == 1 and around == (0, 0)) or s == outputs == d + 1 or d == outputs == 2


def _block_inputs(kernel: jax.Array, groups: int) -> jax.Array:
    """`[*k, I, O / g]`, as PyTorch blocks a transposed kernel, to `[*k, I / g, O]`, as lax blocks any kernel."""
    if groups == 1:
        return kernel
    *size, inputs, outputs = kernel.shape
    blocks = kernel.reshape(*size, groups, inputs // groups, outputs)
    return jnp.swapaxes(blocks, -3, -2).reshape(*size, inputs // groups, groups * outputs)

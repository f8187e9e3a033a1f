"""A transposed convolution onto a field that is said outright: where its first stamp starts, and how large it is."""

from __future__ import annotations

import jax
from jax import lax

from checkerjax._checks import check_image_and_kernel
from checkerjax.ops import _contractions as contractions
from checkerjax.ops import _plain as plain
from checkerjax.ops._grid import Grid, Ints


def stamp(
    op: str,
    x: jax.Array,
    kernel: jax.Array,
    *,
    low: Ints,
    size: Ints,
    stride: Ints,
    dilation: Ints,
    groups: int = 1,
    precision: lax.PrecisionLike = None,
    method: str = "auto",
) -> jax.Array:
    """`conv_transpose` for any crop: sample m and tap j meet at output stride m + dilation j - low, of `size`.

    `low` is negative where the field starts before the first stamp, which no padding of `conv_transpose` says.
    """
    x, kernel, _ = check_image_and_kernel(op, x, kernel, groups=groups, transposed=True)
    grid = Grid(x.shape[1:-1], kernel.shape[:-2], size, stride, dilation, low)
    if groups > 1 or method == "lax":
        return plain.scatter(x, kernel, grid, precision, groups)
    return contractions.scatter(x, kernel, grid, precision=precision, method=method)

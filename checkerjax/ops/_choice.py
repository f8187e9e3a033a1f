"""Which form a contraction takes, from its shapes alone: one rule a backend.

The times behind the rules are in experiments/benchmarks, with the device they were taken on. Only a CPU has been
measured; other backends keep the plain lax forms, whose deconvolution their own libraries provide.
"""

from __future__ import annotations

import math

from checkerjax.ops._grid import Grid

METHODS = ("auto", "lax", "dots")


def choose(
    backend: str, contraction: str, batch: int, inputs: int, outputs: int, grid: Grid, sharing: bool = False
) -> str:
    """The form of a contraction with so many channels coming in and going out.

    `sharing` says that another contraction of the program may read the same columns: they are then built once.
    """
    return on_cpu(contraction, batch, inputs, outputs, grid, sharing) if backend == "cpu" else "lax"


def on_cpu(contraction: str, batch: int, inputs: int, outputs: int, grid: Grid, sharing: bool) -> str:
    """Matrix products, but for the shapes that XLA convolves well."""
    # A piece of the program for each tap, and at least one row of columns at a time: too much to compile or to hold.
    row = 4 * max(inputs, outputs) * math.prod(grid.kernel) * math.prod(grid.small[1:])
    if math.prod(grid.kernel) > 256 or row > 2**25:
        return "lax"
    strided = math.prod(grid.stride) > 1
    if contraction == "kernel":
        # Strided, XLA's weight gradient is twenty times slower; else it is well only where the fields are as large as
        # each other. Columns are best made of the field with fewer channels.
        if not strided and grid.small == grid.large and math.prod(grid.kernel) > 1:
            return "lax"
        fewer = inputs < outputs or (inputs == outputs and math.prod(grid.stride) >= 16)
        return "phases" if fewer else "dots"
    work = batch * inputs * outputs * grid.steps
    if not strided or work < 2**25:
        return "lax"
    # XLA's stretched input costs far more with many channels, but not with an image's three.
    if contraction == "scatter":
        return "lax" if outputs < 16 else "dots"
    # XLA spreads a strided convolution over the cores from so many weights on; beyond 2^20 it falls behind again.
    # Columns of an image that do not fit near the processor cost more than an idle core.
    weights = inputs * outputs * math.prod(grid.kernel)
    image = 4 * inputs * grid.steps
    spread = outputs >= 128 and 2**17 <= weights <= 2**20
    return "lax" if image > 2**23 or (spread and not sharing) else "dots"


def fuses(backend: str, pairs: int, products: int, plain_products: int) -> bool:
    """Whether a resize-convolution runs at low resolution: where that takes clearly fewer products, of many.

    At as many, the plain form is faster, whose convolution has no stride; `pairs` counts images and channel pairs.
    """
    return backend == "cpu" and pairs * products >= 2**25 and 4 * products <= 3 * plain_products

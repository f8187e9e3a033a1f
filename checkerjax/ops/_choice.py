"""Which form a contraction takes, from its shapes alone: one rule a backend.

The times behind the rules are in experiments/benchmarks, with the device they were taken on. Only a CPU has been
measured; other backends keep the plain lax forms, whose deconvolution their own libraries provide.
"""

from __future__ import annotations

import math

from checkerjax.ops._grid import Grid, windows

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
    if sum(grid.kernel) > 1024:  # a piece of the program for each tap of an axis, to compile for seconds
        return "lax"
    strided = math.prod(grid.stride) > 1
    if contraction == "kernel":
        # Strided, XLA's weight gradient is twenty times slower; else it is well only where the fields are as large as
        # each other. Columns are best made of the field with fewer channels.
        if not strided and grid.small == grid.large and math.prod(grid.kernel) > 1:
            return "lax"
        fewer = inputs < outputs or (inputs == outputs and math.prod(grid.stride) >= 16)
        return "phases" if fewer and windows(grid) <= 256 else "dots"
    if not strided or batch * inputs * outputs * grid.steps < 2**25:
        return "lax"
    # XLA stretches the input well for few outputs, which it also compiles faster; not where the kernel is larger than
    # the field, for then it exchanges the two. Each window is a piece of the program to compile.
    if contraction == "scatter":
        swaps = math.prod(grid.kernel) > math.prod(grid.small)
        few = 4 * batch * outputs * math.prod(grid.large) < 2**22 and not swaps
        return "lax" if few or outputs < 16 or windows(grid) > 256 else "dots"
    # Columns of a strided convolution pay where the kernel gradient makes the same, if those of an image fit near the
    # processor; else XLA reads windows in place, well but for very many weights.
    if sharing:
        return "lax" if 4 * inputs * grid.steps > 2**23 else "dots"
    return "dots" if inputs * outputs * math.prod(grid.kernel) > 2**20 else "lax"


def fuses(backend: str, pairs: int, products: int, plain_products: int) -> bool:
    """Whether a resize-convolution runs at low resolution: where that takes clearly fewer products, of many.

    At as many, the plain form is faster, whose convolution has no stride; `pairs` counts images and channel pairs.
    """
    return backend == "cpu" and pairs * products >= 2**25 and 4 * products <= 3 * plain_products

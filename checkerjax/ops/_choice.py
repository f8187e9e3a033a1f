"""Which form a contraction takes, from its shapes alone: one rule a backend.

The times behind the rules are in experiments/benchmarks, with the device they were taken on. Only a CPU has been
measured; other backends keep the plain lax forms, whose deconvolution their own libraries provide.
"""

from __future__ import annotations

import math

from checkerjax.ops._grid import Grid

METHODS = ("auto", "lax", "dots")


def choose(backend: str, contraction: str, batch: int, inputs: int, outputs: int, grid: Grid) -> str:
    """The form of a contraction with so many channels coming in and going out."""
    return on_cpu(contraction, batch, inputs, outputs, grid) if backend == "cpu" else "lax"


def on_cpu(contraction: str, batch: int, inputs: int, outputs: int, grid: Grid) -> str:
    """XLA's convolution is never the fastest form of a weight gradient; forward, that depends on the shape."""
    if contraction == "kernel":
        return "phases" if math.prod(grid.stride) >= 16 else "dots"
    weights = inputs * outputs * math.prod(grid.kernel)
    # XLA spreads a convolution over the cores only if it has this many weights and outgoing channels ...
    threaded = outputs >= 128 and weights >= 2**17
    # ... and one core is enough for little work.
    small = batch * inputs * outputs * grid.steps < 2**24
    return "lax" if threaded or small else "dots"


def fuses(backend: str, products: int, plain_products: int) -> bool:
    """Whether a resize-convolution runs at low resolution: where that takes no more products than the plain form."""
    return backend == "cpu" and products <= plain_products

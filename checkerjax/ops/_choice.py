"""Which form a contraction takes, from its shapes alone: one rule a backend.

The times behind the rules are in experiments/benchmarks, with the device they were taken on. Only a CPU has been
measured; other backends keep the plain lax forms, whose deconvolution their own libraries provide.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator

from checkerjax.ops._grid import Grid, windows

_PLAIN = contextvars.ContextVar("plain forms", default=False)

METHODS = ("auto", "lax", "dots")
LITTLE = 2**25  # products; with fewer the plain form is as fast, and compiles faster


def choose(
    backend: str, contraction: str, batch: int, inputs: int, outputs: int, grid: Grid, gradient: bool = False
) -> str:
    """The form of a contraction with so many channels coming in and going out.

    `gradient` says that it is the input gradient of a deconvolution, beside whose kernel gradient it may run.
    """
    return on_cpu(contraction, batch, inputs, outputs, grid, gradient) if backend == "cpu" else "lax"


def on_cpu(contraction: str, batch: int, inputs: int, outputs: int, grid: Grid, gradient: bool) -> str:
    """Matrix products, but for the shapes that XLA convolves well."""
    if sum(grid.kernel) > 1024:  # a piece of the program for each tap of an axis, to compile for seconds
        return "lax"
    if contraction == "kernel":
        return _kernel_on_cpu(inputs, outputs, grid)
    if math.prod(grid.stride) == 1:
        return "lax"
    work = batch * inputs * outputs * grid.steps
    if contraction == "gather":
        return "lax" if work < LITTLE or _reads_well(inputs, outputs, grid, gradient) else "dots"
    if windows(grid) > 256:  # each is a piece of the program to compile
        return "lax"
    return "lax" if _stretches_well(work, batch, outputs, grid) else "dots"


def _reads_well(inputs: int, outputs: int, grid: Grid, gradient: bool) -> bool:
    """Whether XLA, which reads windows in place, is as fast: but for very many weights.

    For few outputs it takes one core; beside a kernel gradient, products over columns that stay near the processor then
    leave less to wait for.
    """
    if gradient and outputs < 128 and 4 * inputs * grid.steps <= 2**23:
        return False
    return inputs * outputs * math.prod(grid.kernel) <= 2**20


def _stretches_well(work: int, batch: int, outputs: int, grid: Grid) -> bool:
    """Whether XLA is as fast with a field of zeros between samples: for few outputs, which it also compiles faster.

    Not where the kernel is larger than the field, for then it exchanges the two; and never in volumes.
    """
    if grid.ndim == 3:
        return False
    swaps = math.prod(grid.kernel) > math.prod(grid.small)
    few = 4 * batch * outputs * math.prod(grid.large) < 2**22 and not swaps
    return work < LITTLE or few or (outputs < 16 and math.prod(grid.stride) < 64)


def _kernel_on_cpu(inputs: int, outputs: int, grid: Grid) -> str:
    """Columns of the field with fewer channels; XLA is as fast on some fields, and no other."""
    strides = math.prod(grid.stride)
    by_phase = inputs < outputs or (inputs == outputs and strides > 1) or (outputs >= 16 and strides >= 8)
    if by_phase and windows(grid) <= 256:
        return "phases"
    same = grid.small == grid.large and math.prod(grid.kernel) > 1
    return "lax" if (same if strides == 1 else grid.ndim == 2) else "dots"


@contextlib.contextmanager
def plain_forms() -> Iterator[None]:
    """Within it operators that are traced are written plainly, for whoever reads their programs."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def fuses(backend: str, pairs: int, products: int, plain_products: int) -> bool:
    """Whether a resize-convolution runs at low resolution: where that takes clearly fewer products, of many.

    At as many, the plain form is faster, whose convolution has no stride; `pairs` counts images and channel pairs.
    """
    much = pairs * products >= LITTLE and 4 * products <= 3 * plain_products
    return backend == "cpu" and much and not _PLAIN.get()

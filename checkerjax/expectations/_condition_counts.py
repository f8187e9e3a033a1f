"""Condition 1 as a number: how uneven the counts of a stack or a kernel are, away from borders."""

from __future__ import annotations

import math

from checkerjax.expectations._linear_parts import Ints
from checkerjax.overlap import count, overlap_count, unevenness
from checkerjax.stacks import interior, output_size
from checkerjax.stacks._axes import along_axis
from checkerjax.stacks._layers import Parallel, Residual, Stack

_LARGEST = 2**20  # samples of a map


def kernel_unevenness(kernel: Ints, stride: Ints, dilation: Ints) -> float:
    """Largest over smallest number of taps on a phase; inf where a phase has none."""
    total = 1.0
    for k, s, d in zip(kernel, stride, dilation):
        size = 4 * (d * k // s + 2)
        total *= unevenness(overlap_count(size, kernel_size=k, stride=s, dilation=d, padding=0), s)
    return total


def stack_unevenness(stack: Stack, periods: tuple[Ints, Ints], *, backward: bool) -> float | None:
    """Largest over smallest number of paths in a period.

    None where no map of a size that can be made shows one, or it has values below 0.
    """
    ndim = len(periods[0])
    if not stack:
        return 1.0
    if any(isinstance(layer, (Residual, Parallel)) for layer in stack):
        return _on_map(stack, periods, backward)
    parts = {}
    for axis in range(ndim):
        own = along_axis(stack, axis, ndim), (periods[0][axis],), (periods[1][axis],)
        parts[axis] = _on_map(own[0], own[1:], backward)
    found = [value for value in parts.values() if value is not None]
    return math.prod(found) if len(found) == ndim else None


def _on_map(stack: Stack, periods: tuple[Ints, Ints], backward: bool) -> float | None:
    """From the smallest map, by powers of two, most of which is free of padding."""
    inputs, period = periods
    for power in range(2, 20):
        for rest in range(max(1, min(8, min(inputs)))):
            size = tuple(m * 2**power + rest for m in inputs)
            if math.prod(size) * math.prod(p / m for m, p in zip(inputs, period)) > _LARGEST:
                return None
            try:
                clean, whole = interior(stack, size), output_size(stack, size)
            except ValueError:  # too small, or branches whose sizes agree for other remainders only
                continue
            if all(b - a >= max(3 * n / 4, 2 * p) for (a, b), n, p in zip(clean, whole, period)):
                paths = count(stack, size, backward=backward)
                # Taps of cubic and Lanczos filters have signs, and a ratio of sums that change sign says nothing.
                return unevenness(paths, inputs if backward else period) if paths.min() >= 0 else None
    return None

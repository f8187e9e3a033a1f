"""Small random stacks of every layer whose second moments are exact, and fields of squares to feed them.

Choices are made by a function that picks from a list, so that a seeded generator or a test's search can make them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from checkerjax import stacks

Pick = Callable[[Sequence[Any]], Any]
LARGEST = 48  # output pixels of a stack: more of them cost time and show nothing else


class Case(NamedTuple):
    """A stack, and what `init` needs for it."""

    stack: tuple[stacks.Layer, ...]
    size: tuple[int, ...]
    channels: int
    width: int
    initialiser: str
    law: str  # of the weights: "normal" or "signs" (+-1 with the same variance)
    input: str  # "flat", "white" or "ramp": constant in space, independent samples, a given field with a random sign

    def text(self) -> str:
        """One line that says all of it."""
        size = "x".join(map(str, self.size))
        return (
            f"{stacks.format_stack(self.stack)} on {size}, {self.channels} channels, width {self.width}, "
            f"{self.initialiser}, {self.law} weights, {self.input} input"
        )


def random_case(pick: Pick, *, blocks: int = 4) -> Case:
    """A stack of 1 to `blocks` blocks: learned layers and what may follow them, later fixed ones and branches too."""
    ndim = pick([1, 1, 2, 2, 3])
    size = tuple(pick([2, 3, 4, 5] if ndim == 1 else [1, 2, 3] if ndim == 2 else [1, 2]) for _ in range(ndim))
    channels, width = pick([1, 2, 3]), pick([1, 2, 3])
    stack = ()
    for number in range(pick(list(range(1, blocks + 1)))):
        for _ in range(4):  # what does not fit is drawn again
            longer = (*stack, *_block(pick, first=number == 0))
            if _fits(longer, size, channels, width):
                stack = longer
                break
    stack = stack or (stacks.Conv(1),)
    initialiser = pick(["lecun", "he", "normal(0.5)"])
    return Case(stack, size, channels, width, initialiser, pick(["normal", "signs"]), pick(["flat", "white", "ramp"]))


def _fits(stack: tuple, size: tuple[int, ...], channels: int, width: int) -> bool:
    try:
        out = stacks.output_size(stack, size)
        stacks.normal_count(stack, channels=channels, ndim=len(size), width=width)
    except ValueError:
        return False
    return int(np.prod(out)) <= LARGEST


def _block(pick: Pick, *, first: bool) -> tuple:
    kind = "learned" if first else pick(["learned", "learned", "learned", "learned", "fixed", "branches"])
    if kind == "fixed":
        return (_fixed(pick),)
    if kind == "branches":
        return (_branches(pick),)
    return (_learned(pick), *_after(pick))


def _after(pick: Pick) -> tuple:
    """What may follow a learned layer."""
    bias = pick([(), (stacks.Bias(0.5),)])
    return (*bias, *pick([(), (stacks.Relu(),), (stacks.LeakyRelu(0.2),), (stacks.LeakyRelu(-0.5),)]))


def _learned(pick: Pick) -> stacks.Layer:
    return pick([_conv, _deconv, _subpixel, _resize])(pick)


def _conv(pick: Pick) -> stacks.Layer:
    modes = ["zeros", "zeros", "edge", "reflect", "symmetric", "wrap"]
    return stacks.Conv(
        pick([1, 2, 3]),
        pick([1, 1, 2]),
        padding=pick(["SAME", "SAME", "VALID", 1]),
        pad_mode=pick(modes),
        dilation=pick([1, 1, 2]),
        groups=pick([1, 1, 2, 3]),
    )


def _deconv(pick: Pick) -> stacks.Layer:
    if pick([False, False, False, True]):
        stride = pick([1, 2])
        return stacks.Deconv(stride * pick([1, 2]), stride, initialiser="icnr")
    return stacks.Deconv(
        pick([1, 2, 3, 4, 5]),
        pick([1, 2, 3]),
        padding=pick(["SAME", "SAME", "VALID", 1]),
        output_padding=pick([0, 0, 1]),
        dilation=pick([1, 1, 2]),
        groups=pick([1, 1, 2, 3]),
    )


def _subpixel(pick: Pick) -> stacks.Layer:
    order = pick(["depth_first", "channel_first"])
    return stacks.SubPixel(pick([1, 3]), pick([2, 3]), order=order, initialiser=pick([None, "icnr"]))


def _resize(pick: Pick) -> stacks.Layer:
    return stacks.ResizeConv(
        pick([1, 2, 3]),
        pick([2, 3]),
        pick(["nearest", "nearest", "nearest", "zeros"]),
        padding=pick(["SAME", "VALID"]),
        pad_mode=pick(["zeros", "edge", "wrap"]),
        centres=pick(["half_pixel", "sample"]),
    )


def _fixed(pick: Pick) -> stacks.Layer:
    return pick(
        [stacks.Upsample(2), stacks.Upsample(2, "zeros"), stacks.L2Pool(2), stacks.AvgPool(1, 2), stacks.LeakyRelu(1.0)]
    )


def _branches(pick: Pick) -> stacks.Layer:
    inner = stacks.Conv(pick([1, 3]))
    if pick([False, True]):
        return stacks.Residual((*pick([(), (stacks.Relu(),), (stacks.Conv(3), stacks.Relu())]), inner, *_after(pick)))
    other = (_conv(pick), *_after(pick))
    return stacks.Parallel(((inner, *_after(pick)), other), pick(["sum", "concat"]))


def ramp(size: tuple[int, ...]) -> np.ndarray:
    """A field of squares that differ everywhere."""
    return 0.5 + (np.arange(np.prod(size)).reshape(size) * 7 % 5) / 4

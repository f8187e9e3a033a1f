"""Random stacks of every layer whose wide-limit covariance is known, and where to look at what comes out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from checkerjax import stacks

Pick = Callable[[Sequence[Any]], Any]
PERIODS = {1: 12, 2: 4}  # the longest of an output, on each axis
OUTPUTS = {1: 96, 2: 24}  # samples on each axis, of the output: more of them cost time and show nothing else
WINDOW = {1: 24, 2: 8}  # samples that are looked at, at most, if that is more than two periods


class Case(NamedTuple):
    """A stack, an input that is large enough for it, and a window of whole periods that sees no border.

    Stacks with a batch norm are for circular borders, and have one axis: batches of many images take their time.
    """

    stack: tuple[stacks.Layer, ...]
    ndim: int
    size: tuple[int, ...]  # of the input; () for a latent
    period: tuple[int, ...]
    window: tuple[tuple[int, int], ...]  # (start, stop), per axis

    def text(self) -> str:
        """One line that says all of it."""
        size = "x".join(map(str, self.size)) or "a latent"
        return f"{stacks.format_stack(self.stack)} on {size}"

    def batches(self) -> bool:
        """Whether images of a batch meet, in a batch norm."""
        return _batches(self.stack)

    def torus(self) -> tuple[tuple[stacks.Layer, ...], tuple[int, ...] | None]:
        """The stack and a size whose torus is so large that the window has it to itself; or the true one."""
        if self.batches():
            return self.stack, self.size or None
        if self.size:
            return self.stack, tuple(3 * n + 16 for n in self.size)
        first, *rest = self.stack
        assert isinstance(first, stacks.Dense)
        return (stacks.Dense((3 * _longest(first.size) + 16,) * self.ndim), *rest), None


def _batches(stack: tuple) -> bool:
    return "batchnorm" in stacks.format_stack(stack)


def _longest(size: int | tuple[int, ...]) -> int:
    return max(size) if isinstance(size, tuple) else size


def random_case(pick: Pick, *, blocks: int = 4) -> Case:
    """A stack of 1 to `blocks` blocks: learned layers and what may follow them, later fixed ones and branches too."""
    ndim = pick([1, 1, 2])
    latent = pick([True, *(False,) * 7])
    stack = () if latent else pick([(), (), (), (stacks.Relu(),), (stacks.Tanh(),)])
    case = None
    for number in range(pick(list(range(1, blocks + 1)))):
        for _ in range(6):  # what does not fit is drawn again
            longer = (*stack, *_block(pick, first=number == 0))
            found = _placed(longer, ndim, latent)
            if found is not None:
                stack, case = longer, found
                break
    return case or random_case(pick, blocks=blocks)


def _placed(stack: tuple, ndim: int, latent: bool) -> Case | None:
    """The case of a stack, with the smallest input that shows enough of it; None if none of these does."""
    try:
        inputs, period = stacks.periods(stack, ndim)
        stacks.normal_count(stack, channels=4, ndim=ndim, width=4)
    except ValueError:
        return None
    if max(period) > PERIODS[ndim] or (ndim > 1 and _batches(stack)):
        return None
    for n in (2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48):
        size = (n,) * ndim
        whole = (stacks.Dense(size), *stack) if latent else stack
        try:
            outputs = stacks.output_size(whole, None if latent else size)
            inside = stacks.interior(whole, None if latent else size)
        except ValueError:
            continue
        if max(outputs) > OUTPUTS[ndim]:
            return None
        if _batches(stack):  # all of the torus is alike
            if not _keeps_torus(whole, size, latent):
                continue
            inside = tuple((0, n // m * p) for m, p in zip(inputs, period))
        window = tuple(_window(run, p, ndim) for run, p in zip(inside, period))
        if all(stop - start >= max(2 * p, 4) for (start, stop), p in zip(window, period)):
            return Case(whole, ndim, () if latent else size, period, window)
    return None


def _keeps_torus(stack: tuple, size: tuple[int, ...], latent: bool) -> bool:
    """Whether every layer makes as many samples as on a torus: "same" borders lie elsewhere for another number."""
    for i in range(1 + latent, len(stack) + 1):
        inputs, period = stacks.periods(stack[latent:i], len(size))
        torus = tuple(n * p / m for n, m, p in zip(size, inputs, period))
        if stacks.output_size(stack[:i], None if latent else size) != torus:
            return False
    return True


def _window(inside: tuple[int, int], period: int, ndim: int) -> tuple[int, int]:
    start = -(-inside[0] // period) * period
    length = min(inside[1] - start, max(WINDOW[ndim], 2 * period))
    return start, start + max(length // period, 0) * period


def _block(pick: Pick, *, first: bool) -> tuple:
    kind = "learned" if first else pick(["learned", "learned", "learned", "fixed", "branches"])
    if kind == "fixed":
        return (_fixed(pick),)
    if kind == "branches":
        return (_branches(pick),)
    return (_learned(pick), *_after(pick))


def _after(pick: Pick) -> tuple:
    """What may follow a learned layer."""
    middle = pick([(), (), (stacks.Bias(0.5),), (stacks.BatchNorm(),)])
    return (*middle, *pick([(), *((layer,) for layer in POINTWISE)]))


POINTWISE = (stacks.Relu(), stacks.Relu(), stacks.LeakyRelu(0.2), stacks.Tanh(), stacks.Erf(), stacks.L2Pool(2))


def _learned(pick: Pick) -> stacks.Layer:
    return pick([_conv, _deconv, _deconv, _subpixel, _resize])(pick)


def _conv(pick: Pick) -> stacks.Layer:
    return stacks.Conv(pick([1, 2, 3, 5]), pick([1, 1, 2]), dilation=pick([1, 1, 2]), groups=pick([1, 1, 1, 2]))


def _deconv(pick: Pick) -> stacks.Layer:
    if pick([False, False, False, True]):
        stride = pick([2, 3])
        return stacks.Deconv(stride * pick([1, 2]), stride, initialiser="icnr")
    return stacks.Deconv(
        pick([2, 3, 4, 5]),
        pick([2, 2, 3, 1]),
        padding=pick(["SAME", "VALID"]),
        dilation=pick([1, 1, 1, 2]),
        groups=pick([1, 1, 1, 2]),
    )


def _subpixel(pick: Pick) -> stacks.Layer:
    order = pick(["depth_first", "channel_first"])
    return stacks.SubPixel(pick([1, 3]), pick([2, 3]), order=order, initialiser=pick([None, "icnr"]))


def _resize(pick: Pick) -> stacks.Layer:
    method = pick(["nearest", "nearest", "linear", "cubic", "lanczos3", "zeros"])
    return stacks.ResizeConv(pick([1, 2, 3]), pick([2, 3]), method, centres=pick(["half_pixel", "sample"]))


def _fixed(pick: Pick) -> stacks.Layer:
    return pick(
        [
            stacks.Upsample(2),
            stacks.Upsample(2, "linear"),
            stacks.Upsample(2, "zeros"),
            stacks.Blur(3),
            stacks.Blur(4, 2),
            stacks.Hold(2),
            stacks.AvgPool(2, 2),
            stacks.AvgPool(3, 1),
            stacks.L2Pool(2),
        ]
    )


def _branches(pick: Pick) -> stacks.Layer:
    inner = stacks.Conv(pick([1, 3]))
    if pick([False, True]):
        return stacks.Residual((*pick([(), (stacks.Relu(),), (stacks.Conv(3), stacks.Relu())]), inner))
    other = (stacks.Conv(pick([1, 3]), dilation=pick([1, 2])), *pick([(), (stacks.Relu(),)]))
    return stacks.Parallel(((inner, *pick([(), (stacks.LeakyRelu(0.2),)])), other), pick(["sum", "concat"]))

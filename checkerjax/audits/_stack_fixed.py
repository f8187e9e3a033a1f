"""Fixed lines as the layer that they are: pools, blurs, holds, upsamplings."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from checkerjax import _geometry as geometry
from checkerjax.audits._stack_lines import Line, line, padded, same, stuffed, windows
from checkerjax.audits._stack_tokens import Run, Sizes, normalised
from checkerjax.ops import binomial_taps, hann_taps, hold_taps
from checkerjax.ops._resampling import resampling_matrix
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import CENTRES, PAD_MODES, UPSAMPLE_METHODS, Layer, PaddingSpec

FEW = 6  # samples up to which windows that all meet the border are looked for
SAME_FACTOR = 1e-5


class Windows(NamedTuple):
    """Windows that make a line; `kernel` and `scale` are what the layer calls its size."""

    kernel: int
    stride: int
    low: int
    factor: float  # of the layer, where the line's largest weight is 1
    scale: int


def fixed_layer(run: Run) -> Layer | None:
    """The one layer that does what lines do: the first of upsampling, average, blur and hold that does."""
    return _upsampling(run) or _average(run) or _blur(run) or _hold(run)


def _upsampling(run: Run) -> Layer | None:
    if any(each.outputs % each.size for each in run.lines):
        return None
    scale = tuple(each.outputs // each.size for each in run.lines)
    for method, centres in upsamplings():
        made = [upsampled(each.size, s, method, centres) for each, s in zip(run.lines, scale)]
        if all(same(each, m) for each, (m, _) in zip(run.lines, made)) and _agrees(run, [f for _, f in made]):
            return layers.Upsample(one_size(scale), method, centres)
    return None


def upsamplings() -> Iterator[tuple[str, str]]:
    """All fixed upsamplings, in the order in which they are preferred."""
    for method in UPSAMPLE_METHODS:
        for centres in CENTRES if method != "zeros" else CENTRES[:1]:
            yield method, centres


@functools.cache
def upsampled(size: int, scale: int, method: str, centres: str) -> tuple[Line, float]:
    """An upsampling along one axis as a line whose largest weight is 1, and the factor that this leaves."""
    if scale == 1:
        return padded(size, 0, 0), 1.0
    if method == "zeros":
        return stuffed(size, scale, 0, scale - 1), 1.0
    matrix = resampling_matrix(size, scale, method, centres)
    taps = int((np.abs(matrix) > 1e-9).sum(axis=1).max())
    order = np.argsort(-np.abs(matrix), axis=1, kind="stable")[:, :taps]
    lines, factor = normalised((line(size, order, np.take_along_axis(matrix, order, 1)),))
    return lines[0], factor


def _agrees(run: Run, factors: list[float]) -> bool:
    return abs(float(np.prod(factors)) - run.factor) <= SAME_FACTOR * abs(run.factor)


def _average(run: Run) -> Layer | None:
    found = _each(run, "box", "zeros")
    if found is None:
        return None
    kernel, stride = (tuple(getattr(w, name) for w in found) for name in ("kernel", "stride"))
    padding = _padding_of(run.lines, found, pool=True)
    return None if padding is None else layers.AvgPool(one_size(kernel), one_size(stride), padding)


def _blur(run: Run) -> Layer | None:
    for mode in PAD_MODES:
        found = _each(run, "binomial", mode)
        padding = None if found is None else _padding_of(run.lines, found)
        if found is not None and padding is not None:
            kernel, stride = (tuple(getattr(w, name) for w in found) for name in ("kernel", "stride"))
            return layers.Blur(one_size(kernel), one_size(stride), padding, mode)
    return None


def _hold(run: Run) -> Layer | None:
    for mode in PAD_MODES:
        for order in range(max(2 * each.size + 3 if each.size <= FEW else each.taps for each in run.lines)):
            found = _each(run, f"hold {order}", mode)
            padding = None if found is None else _padding_of(run.lines, found)
            if found is not None and padding is not None:
                return layers.Hold(one_size(tuple(w.scale for w in found)), order, padding, mode)
    return None


def hann_windows(run: Run) -> tuple[Sizes, PaddingSpec] | None:
    """The stride and padding of an l2 pool's filter."""
    found = _each(run, "hann", "zeros")
    padding = None if found is None else _padding_of(run.lines, found)
    if found is None or padding is None:
        return None
    return tuple(w.stride for w in found), padding


def largest_windows(lines: tuple[Line, ...]) -> tuple[Sizes, Sizes, PaddingSpec] | None:
    """Kernel, stride and padding of a max pool."""
    solved = [_solved(normalised((each,)).lines[0], "box", "zeros") for each in lines]
    found = [each[0] for each in solved if each]
    padding = _padding_of(lines, found, pool=True) if len(found) == len(lines) else None
    if padding is None:
        return None
    return tuple(w.kernel for w in found), tuple(w.stride for w in found), padding


def _each(run: Run, family: str, mode: str) -> list[Windows] | None:
    """Windows for every axis that together scale as the layer does."""
    solved = [_solved(each, family, mode) for each in run.lines]
    for found in itertools.product(*solved):
        if _agrees(run, [w.factor for w in found]):
            return list(found)
    return None


def _padding_of(lines: tuple[Line, ...], found: list[Windows], *, pool: bool = False) -> PaddingSpec | None:
    ones = (1,) * len(found)
    kernel, stride, low = (tuple(getattr(w, name) for w in found) for name in ("kernel", "stride", "low"))
    sizes, outputs = tuple(each.size for each in lines), tuple(each.outputs for each in lines)
    return padding_name(sizes, kernel, stride, ones, low, outputs, pool=pool)


def padding_name(
    size: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes, low: Sizes, outputs: Sizes, *, pool: bool = False
) -> PaddingSpec | None:
    """How a layer's padding is spelled: "SAME" or "VALID" (of pools the other way round, as their defaults are), one
    int, or pairs with no more at the end than is read."""

    def gives(pads: Any) -> bool:
        rooms = [n + sum(p) - geometry.span(k, d) for n, p, k, d in zip(size, pads, kernel, dilation)]
        return all(p[0] == a and r >= 0 and r // s + 1 == o for p, a, r, s, o in zip(pads, low, rooms, stride, outputs))

    for name in ("VALID", "SAME") if pool else ("SAME", "VALID"):
        if gives(geometry.conv_pads(size, kernel, stride, dilation, name)):
            return name
    if min(low) < 0:
        return None
    if gives([(low[0], low[0])] * len(size)):
        return low[0]
    ends = [
        (o - 1) * s + geometry.span(k, d) - n - a
        for o, s, k, d, n, a in zip(outputs, stride, kernel, dilation, size, low)
    ]
    pairs = tuple((a, max(end, 0)) for a, end in zip(low, ends))
    return pairs if gives(pairs) else None


def one_size(sizes: Sizes) -> layers.Size:
    """One int where all axes agree."""
    return sizes[0] if len(set(sizes)) == 1 else sizes


# What is known of lines: the same ones come again in every layer, and in every stack that is compared.
_KNOWN: dict[Any, tuple[Windows, ...]] = {}


def _solved(each: Line, family: str, mode: str) -> tuple[Windows, ...]:
    """The windows of a family that make a line: the first of each factor; an axis of one sample allows many."""
    key = family, mode, each.key
    if key not in _KNOWN:
        if len(_KNOWN) > 50_000:
            _KNOWN.clear()
        found: dict[float, Windows] = {}
        for one in _solutions(each, family, mode):
            found.setdefault(round(one.factor, 6), one)
        _KNOWN[key] = tuple(found.values())
    return _KNOWN[key]


def _solutions(each: Line, family: str, mode: str) -> Iterator[Windows]:
    """Windows that make a line: those that a row tells; and, of a short line, any."""
    if mode != "zeros" and np.ptp(each.weights.sum(axis=1)) > SAME_FACTOR:
        return  # a border that is folded back keeps what is constant
    make = _FAMILIES[family.split()[0]]
    for span, anchors in _anchors(each):
        for kernel, scale, taps, only in make(span, family):
            for stride, low in _placed(each, kernel, anchors, only, family == "box"):
                yield from _held(each, kernel, scale, taps, stride, low, mode)
    if each.size > FEW or (mode == "zeros" and not _all_meet_the_border(each)):
        return
    for k in range(1, 2 * each.size + 4):
        for kernel, scale, taps, only in make(k, family):
            for low in range(kernel + each.size):
                if not _begins(each, taps, low, mode):
                    continue
                for stride in (only,) if only else range(1, each.size + 1):
                    least = 1 if only or each.outputs > 1 else _least_stride(each, kernel, low)
                    yield from _held(each, kernel, scale, taps, max(stride, least), low, mode)


def _begins(each: Line, taps: np.ndarray, low: int, mode: str) -> bool:
    """Whether the first row is that of these taps, whatever it is multiplied by."""
    made, _ = _made(each.size, 1, taps.tobytes(), 1, low, mode)
    count = int(each.counts[0])
    if count != int(made.counts[0]) or not np.array_equal(each.positions[0, :count], made.positions[0, :count]):
        return False
    ours, theirs = each.weights[0, :count], made.weights[0, :count]
    return bool((np.abs(ours * theirs.sum() - theirs * ours.sum()) <= SAME_FACTOR).all())


def _all_meet_the_border(each: Line) -> bool:
    """Whether no window can be told from a row: each is cut off, or folded back."""
    rows = each.counts > 0
    first, last = each.positions[rows, 0], each.positions[rows, each.counts[rows] - 1]
    return bool(rows.any() and ((first == 0) | (last == each.size - 1)).all())


def _held(each: Line, kernel: int, scale: int, taps: np.ndarray, stride: int, low: int, mode: str) -> Iterator[Windows]:
    """These windows, if they make the line with no sample to spare for one more."""
    reach = (each.outputs - 1) * stride + kernel - low
    if low < 0 or reach + stride <= each.size:
        return
    made, factor = _made(each.size, each.outputs, taps.tobytes(), stride, low, mode)
    if same(each, made):
        yield Windows(kernel, stride, low, factor, scale)


@functools.lru_cache(20_000)
def _made(size: int, outputs: int, taps: bytes, stride: int, low: int, mode: str) -> tuple[Line, float]:
    lines, factor = normalised((windows(size, outputs, np.frombuffer(taps), stride, low, mode),))
    return lines[0], factor


def _least_stride(each: Line, kernel: int, low: int) -> int:
    """Of a single output: the smallest stride with which there is no second one."""
    return max(each.size + low - kernel + 1, 1)


def _anchors(each: Line) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """The span of the middle row, and then of the widest, with the rows of that span as (output, first sample)."""
    rows = np.flatnonzero(each.counts > 0)
    if not rows.size:
        return
    first, last = each.positions[rows, 0], each.positions[rows, each.counts[rows] - 1]
    spans = last - first + 1
    for span in dict.fromkeys((int(spans[len(spans) // 2]), int(spans.max()))):
        yield span, [(int(r), int(a)) for r, a, s in zip(rows, first, spans) if s == span]


def _placed(
    each: Line, kernel: int, anchors: list[tuple[int, int]], only: int, apart: bool
) -> Iterator[tuple[int, int]]:
    """Strides and paddings that put rows where they are; one output alone could have any stride, so the usual one."""
    if only:
        yield from dict.fromkeys((only, row * only - first) for row, first in anchors)
    elif each.outputs == 1:
        row, first = anchors[0]
        yield max(kernel if apart else 1, _least_stride(each, kernel, -first)), -first
    elif len(anchors) == 1:
        row, first = anchors[0]
        yield from ((stride, row * stride - first) for stride in range(1, each.size + 1))
    else:
        steps = [((b - a) / (n - m), m, a) for (m, a), (n, b) in itertools.pairwise(anchors)]
        yield from dict.fromkeys((int(s), m * int(s) - a) for s, m, a in steps if s > 0 and s == int(s))


Family = Iterator[tuple[int, int, np.ndarray, int]]  # kernel, scale, taps, and the stride if only one will do


def _box(kernel: int, family: str) -> Family:
    yield kernel, kernel, np.full(kernel, 1 / kernel), 0


def _binomial(kernel: int, family: str) -> Family:
    yield kernel, kernel, binomial_taps(kernel), 0


def _hann(kernel: int, family: str) -> Family:
    scale = (kernel + 1) // 2
    if kernel % 2:
        yield kernel, scale, hann_taps(scale), scale


def _holding(kernel: int, family: str) -> Family:
    order = int(family.split()[1])
    scale, rest = divmod(kernel - 1, order + 1)
    if rest == 0:
        yield kernel, scale + 1, hold_taps(scale + 1, order=order), 1


_FAMILIES: dict[str, Callable[[int, str], Family]] = {
    "box": _box,
    "binomial": _binomial,
    "hann": _hann,
    "hold": _holding,
}

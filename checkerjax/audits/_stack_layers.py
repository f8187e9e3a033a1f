"""A learned correlation of a padded, stuffed or upsampled field as the layer that it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from checkerjax import _geometry as geometry
from checkerjax.audits._stack_fixed import one_size, padding_name, upsampled, upsamplings
from checkerjax.audits._stack_lines import Line, padded, same, stuffed
from checkerjax.audits._stack_tokens import Learned, Sizes, normalised
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import PAD_MODES, Layer, PaddingSpec


def learned_layer(token: Learned, factor: float = 1.0, *, shuffled: bool = False) -> Layer | None:
    """The first of convolution, transposed convolution and resize-convolution that a correlation is.

    A correlation that is itself written as a transposed one is taken for that first: of a field of one sample,
    nothing else tells its stride. One that is `shuffled` can only be the convolution of a sub-pixel layer.
    """
    before, factor = normalised(_needed(token), factor)
    if shuffled:
        single = max((*token.stride, *_dilation(token), token.groups)) == 1
        return _conv(token, before, factor, PAD_MODES[:1]) if single else None
    stuffed_inside = max(token.stuffing, default=1) > 1
    builders = (_deconv, _conv, _resize) if stuffed_inside else (_conv, _deconv, _resize)
    return next((layer for build in builders if (layer := build(token, before, factor)) is not None), None)


def _needed(token: Learned) -> tuple[Line, ...]:
    """The padded field, without what no output reads."""
    spans = [geometry.span(k, d) for k, d in zip(token.kernel, token.dilation)]
    rows = [(o - 1) * s + span for o, s, span in zip(token.outputs, token.stride, spans)]
    return tuple(each.rows(0, n) for each, n in zip(token.before, rows))


def _dilation(token: Learned) -> Sizes:
    return tuple(1 if k == 1 else d for k, d in zip(token.kernel, token.dilation))


def _conv(token: Learned, before: tuple[Line, ...], factor: float, modes: tuple[str, ...] = PAD_MODES) -> Layer | None:
    if abs(factor - 1) > 1e-5:
        return None
    for mode in modes:
        lows = [_padding_before(each, mode) for each in before]
        if None in lows:
            continue
        size = tuple(each.size for each in before)
        low: Any = tuple(lows)
        padding = padding_name(size, token.kernel, token.stride, token.dilation, low, token.outputs)
        if padding is not None:
            sizes = one_size(token.kernel), one_size(token.stride), token.features, padding, mode
            return layers.Conv(*sizes, one_size(_dilation(token)), token.groups)
    return None


def _padding_before(each: Line, mode: str) -> int | None:
    """How many samples are added before a field, if that is all that is done to it."""
    n, rows = each.size, each.outputs
    if each.taps > 1:
        return None
    starts = np.flatnonzero((each.positions[:, 0] == 0) & (each.weights[:, 0] != 0)).tolist()
    for low in starts if each.weights.any() else [rows]:  # nothing but zeros: all that is read stands before the field
        if rows - n - low >= -n and same(each, padded(n, low, rows - n - low, mode)):
            return low
    return None


def _deconv(token: Learned, before: tuple[Line, ...], factor: float) -> Layer | None:
    if max(token.stride) > 1 or abs(factor - 1) > 1e-5:
        return None
    found = [_stuffing(each, hint) for each, hint in zip(before, token.stuffing)]
    if None in found:
        return None
    stride = tuple(s for s, _ in found)  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]
    crops = []
    for (s, low), each, k, d, out in zip(found, before, token.kernel, token.dilation, token.outputs):  # pyright: ignore[reportGeneralTypeIssues, reportAssignmentType]
        start = d * (k - 1) - low
        crops.append((start, s * (each.size - 1) + geometry.span(k, d) - start - out))
    for dilation in dict.fromkeys((_dilation(token), token.dilation)):  # of one tap it still allows output padding
        named = _crops_name(token.kernel, stride, dilation, tuple(crops))
        if named is not None:
            sizes = one_size(token.kernel), one_size(stride), token.features, named[0], one_size(named[1])
            return layers.Deconv(*sizes, one_size(dilation), token.groups)
    return None


def _stuffing(each: Line, hint: int) -> tuple[int, int] | None:
    """The stride of zero insertion and the zeros before it (negative: samples taken away), if that is all."""
    n, rows = each.size, each.outputs
    if each.taps > 1:
        return None
    real = np.flatnonzero(each.weights[:, 0])
    if not real.size:  # only zeros are left, so any stride that leaves them
        places = ((s, low) for s in (hint, *range(1, rows + 2)) for low in range(0, -s * n, -1))
    else:
        row, first = int(real[0]), int(each.positions[real[0], 0])
        steps = np.diff(real)[:1].tolist() or list(dict.fromkeys((hint, *range(1, rows + 1))))
        places = ((s, row - s * first) for s in steps)
    for s, low in places:
        if same(each, stuffed(n, s, low, rows - low - s * (n - 1) - 1)):
            return s, low
    return None


def _crops_name(
    kernel: Sizes, stride: Sizes, dilation: Sizes, crops: tuple[tuple[int, int], ...]
) -> tuple[PaddingSpec, Sizes] | None:
    """Padding and output padding of a transposed convolution that drops so many samples before and after."""
    none = (0,) * len(kernel)
    named = {n: geometry.transpose_pads("audit", kernel, stride, dilation, n, none) for n in ("SAME", "VALID")}
    for name, pads in named.items():
        if pads == crops:
            return name, none
    low = crops[0][0]
    pairs = tuple((a, max(b, 0)) for a, b in crops)
    for padding, pads in ((low, ((low, low),) * len(crops)), (pairs, pairs), *named.items()):
        extra = tuple(p[1] - c[1] for p, c in zip(pads, crops))
        lows_agree = all(p[0] == c[0] >= 0 for p, c in zip(pads, crops))
        if lows_agree and all(0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation)):
            return padding, extra
    return None


def _resize(token: Learned, before: tuple[Line, ...], factor: float) -> Layer | None:
    if max(token.stride) > 1 or max(_dilation(token)) > 1 or token.groups > 1:
        return None
    for method, centres in upsamplings():
        scaled = [_scales(each, method, centres) for each in before]
        for mode in PAD_MODES:
            found = [next(_upsampled_padded(each, s, method, centres, mode), None) for each, s in zip(before, scaled)]
            layer = None if None in found else _resize_named(token, before, factor, method, centres, mode, found)
            if layer is not None:
                return layer
    return None


def _scales(each: Line, method: str, centres: str) -> list[tuple[int, int]]:
    """(scale, low): the field upsampled so stands in the line after `low` samples; the largest scale first."""
    n, rows = each.size, each.outputs
    out = []
    for s in range(rows // n, 0, -1):
        large, _ = upsampled(n, s, method, centres)
        for low in range(rows - s * n + 1):
            inside = each.rows(low, low + s * n)
            if _inside(inside, large):
                out.append((s, low))
    return out


def _inside(part: Line, large: Line) -> bool:
    """Whether rows are those of a line; the part may have more, empty, columns."""
    if part.taps < large.taps or part.weights[:, large.taps :].any():
        return False
    return same(Line(part.size, part.positions[:, : large.taps], part.weights[:, : large.taps]), large)


def _upsampled_padded(
    each: Line, found: list[tuple[int, int]], method: str, centres: str, mode: str
) -> Iterator[tuple[int, int, float]]:
    """(scale, low, factor) that make the line with a border of this mode."""
    for s, low in found:
        large, factor = upsampled(each.size, s, method, centres)
        high = each.outputs - low - s * each.size
        if low == high == 0 and mode != "zeros":
            border = large
        else:
            frame = padded(s * each.size, low, high, mode)
            border = Line(
                each.size, large.positions[frame.positions[:, 0]], large.weights[frame.positions[:, 0]] * frame.weights
            )
        if same(each, Line(each.size, np.where(border.weights != 0, border.positions, 0), border.weights)):
            yield s, low, factor


def _resize_named(
    token: Learned, before: tuple[Line, ...], factor: float, method: str, centres: str, mode: str, found: list[Any]
) -> Layer | None:
    scale, low = (tuple(f[i] for f in found) for i in range(2))
    made = float(np.prod([f[2] for f in found]))
    if max(scale) == 1 or abs(made - factor) > 1e-5 * abs(factor):
        return None
    ones = (1,) * len(scale)
    size = tuple(s * each.size for s, each in zip(scale, before))
    padding = padding_name(size, token.kernel, ones, ones, low, token.outputs)
    if padding is None:
        return None
    return layers.ResizeConv(one_size(token.kernel), one_size(scale), method, token.features, padding, mode, centres)

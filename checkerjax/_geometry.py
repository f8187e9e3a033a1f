"""Convolution arithmetic: paddings resolved to pairs, and output sizes; Python ints only.

Letters as in Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285:
i input, o output, k kernel, s stride, d dilation, p padding (low, high). An effective kernel spans d(k-1)+1.
"""

from __future__ import annotations

from checkerjax._checks import AXES, Pads

Sizes = tuple[int, ...]


def span(kernel_size: int, dilation: int) -> int:
    """Samples from the first to the last tap."""
    return dilation * (kernel_size - 1) + 1


def conv_pads(size: Sizes, kernel_size: Sizes, stride: Sizes, dilation: Sizes, padding: str | Pads) -> Pads:
    """The (low, high) padding of a strided convolution; "SAME" gives ceil(i / s) outputs, as in TensorFlow."""
    if not isinstance(padding, str):
        return padding
    if padding == "VALID":
        return ((0, 0),) * len(size)
    pairs = []
    for i, k, s, d in zip(size, kernel_size, stride, dilation):
        total = max((-(-i // s) - 1) * s + span(k, d) - i, 0)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


def conv_size(op: str, size: Sizes, kernel_size: Sizes, stride: Sizes, dilation: Sizes, pads: Pads) -> Sizes:
    """Output sizes of a strided convolution (relationship 15 of the guide)."""
    out = []
    for axis, i, k, s, d, (low, high) in zip(AXES[len(size)], size, kernel_size, stride, dilation, pads):
        room = i + low + high - span(k, d)
        if room < 0:
            raise ValueError(
                f"{op}: axis {axis} of x is {i}, {i + low + high} with padding ({low}, {high}), shorter than the "
                f"{span(k, d)} samples that a kernel of size {k} and dilation {d} spans."
            )
        out.append(room // s + 1)
    return tuple(out)


def transpose_pads(
    op: str, kernel_size: Sizes, stride: Sizes, dilation: Sizes, padding: str | Pads, output_padding: Sizes
) -> Pads:
    """What a transposed convolution crops from its full output, low and high; negative where it appends zeros.

    "SAME" and "VALID" crop as lax, Keras and TensorFlow do; `output_padding` is already taken off the high end.
    """
    pairs = []
    for axis, (k, s, d, extra) in enumerate(zip(kernel_size, stride, dilation, output_padding)):
        if extra >= max(s, d):
            raise ValueError(
                f"{op}: output_padding must be below max(stride, dilation) = {max(s, d)} on axis "
                f"{AXES[len(stride)][axis]}; got {extra}."
            )
        width = span(k, d)
        if padding == "SAME":
            low = max(width - s, 0) // 2
            high = width - s - low
        elif padding == "VALID":
            low, high = 0, min(width - s, 0)
        else:
            low, high = _explicit(padding)[axis]
        pairs.append((low, high - extra))
    return tuple(pairs)


def _explicit(padding: str | Pads) -> Pads:
    if isinstance(padding, str):
        raise ValueError(f"padding must be 'SAME', 'VALID' or pairs; got {padding!r}.")
    return padding


def transpose_size(op: str, size: Sizes, kernel_size: Sizes, stride: Sizes, dilation: Sizes, pads: Pads) -> Sizes:
    """Output sizes of a transposed convolution (relationship 14 of the guide, with dilation)."""
    out = []
    for axis, i, k, s, d, (low, high) in zip(AXES[len(size)], size, kernel_size, stride, dilation, pads):
        full = s * (i - 1) + span(k, d)
        if full - low - high < 1:
            raise ValueError(
                f"{op}: the padding on axis {axis} leaves no output: {full} samples less {low} and {high}."
            )
        out.append(full - low - high)
    return tuple(out)

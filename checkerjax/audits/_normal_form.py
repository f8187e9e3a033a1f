"""A stack in the normal form that an audit gives back: one spelling for all stacks that are the same program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from checkerjax import _geometry as geometry
from checkerjax._checks import pad_pairs, per_axis
from checkerjax.audits._stack_fixed import upsampled
from checkerjax.audits._stack_lines import identity, padded, stuffed, windows
from checkerjax.audits._stack_pointwise import short
from checkerjax.audits._stack_spelling import spelled
from checkerjax.audits._stack_tokens import (
    Fixed,
    Joined,
    Largest,
    Latent,
    Learned,
    Pointwise,
    Shuffled,
    Sizes,
    Token,
    Unfolded,
    Untranslated,
)
from checkerjax.ops import binomial_taps, hann_taps, hold_taps
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import as_size, output_size
from checkerjax.stacks._layers import Layer, Stack
from checkerjax.stacks._plan import StackLike
from checkerjax.stacks._text import as_stack

ROUNDS = 8  # one as a rule; more where fixed layers of one spelling meet in another order


def normal_form(stack: StackLike, size: Any) -> Stack:
    """The stack that stands for all that do the same to fields of a size.

    - Sizes are one int where all axes agree, but for a dense layer's. `padding` is "SAME" or "VALID" where it is that
      (of pools first "VALID"), else an int, else pairs with no more at the end than is read. `pad_mode` is the first
      in the order of `PAD_MODES` that gives the same border. `initialiser` is None; numbers are those that float32
      holds, at their shortest.
    - Fixed maps that follow each other are as few layers as say the same: two nearest upsamplings by 2 are one by 4. Of
      upsampling, average, blur and hold the first that says it; so maximum, blur, hold and average over one sample
      are the average with that stride, and none at all with stride 1.
    - A fixed upsampling with the plain convolution after it is a resize-convolution, zero insertion with one a
      transposed convolution, and padding belongs to the convolution after it. A transposed convolution of stride 1 is
      a convolution (its kernel turned round), a sub-pixel layer of scale 1 too.
    - A sum whose one branch does nothing is a residual layer; a sum that begins with a sum is one longer sum; one
      branch alone is no branch. Nothing at all, where a layer must stand, is an upsampling by 1.
    - Before a dense layer, statistics over channels and over units are the same, and called the former.

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input, as in `output_size`; what a padding is called depends on it.

    Returns:
      The stack; `apply` gives the same for it, with the same parameters where kernels are not turned round.

    Raises:
      ValueError: for sizes that do not fit.
    """
    layers_ = as_stack("normal_form", stack)
    sizes = as_size("normal_form", size)
    output_size(layers_, sizes or None)
    try:
        return settled_form(spelled(tuple(_tokens(layers_, sizes))), sizes)
    except Untranslated as error:
        raise ValueError(f"normal_form: {error}, for an input of size {size!r}.") from None


def settled_form(stack: Stack, size: Sizes) -> Stack:
    """A stack as it was spelled, spelled again until that changes nothing; `size` is () for a latent.

    Raises:
      Untranslated: for what has no spelling.
    """
    for _ in range(ROUNDS):
        again = spelled(tuple(_tokens(stack, size)))
        if again == stack:
            break
        stack = again
    return stack


def _tokens(stack: Stack, size: Sizes) -> Iterator[Token]:
    for layer in stack:
        yield from _TOKENS[type(layer)](layer, size)
        if not isinstance(layer, layers.POINTWISE):
            size = output_size(layer, size or None)


def _sizes(layer: Any, ndim: int, *names: str) -> tuple[Sizes, ...]:
    return tuple(per_axis("normal_form", n, getattr(layer, n), ndim, minimum=0) for n in names)


def _padding(size: Sizes, pads: Any, mode: str) -> Fixed:
    return Fixed(tuple(padded(n, low, high, mode) for n, (low, high) in zip(size, pads)))


def _conv(layer: layers.Conv, size: Sizes) -> Iterator[Token]:
    kernel, stride, dilation = _sizes(layer, len(size), "kernel", "stride", "dilation")
    given = pad_pairs("normal_form", layer.padding, len(size))
    yield from _correlation(size, kernel, stride, dilation, given, layer.pad_mode, layer.groups, layer.features)


def _correlation(
    size: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes, given: Any, mode: str, groups: int, features: int | None
) -> Iterator[Token]:
    pads = geometry.conv_pads(size, kernel, stride, dilation, given)
    before = _padding(size, pads, mode)
    outputs = geometry.conv_size("normal_form", size, kernel, stride, dilation, pads)
    yield Learned(before.lines, kernel, stride, dilation, outputs, groups, features, (1,) * len(size))


def _deconv(layer: layers.Deconv, size: Sizes) -> Iterator[Token]:
    ones = (1,) * len(size)
    kernel, stride, dilation, extra = _sizes(layer, len(size), "kernel", "stride", "dilation", "output_padding")
    given = pad_pairs("normal_form", layer.padding, len(size))
    pads = geometry.transpose_pads("normal_form", kernel, stride, dilation, given, extra)
    outputs = geometry.transpose_size("normal_form", size, kernel, stride, dilation, pads)
    before = []
    for n, o, k, s, d, (low, _) in zip(size, outputs, kernel, stride, dilation, pads):
        front = d * (k - 1) - low
        before.append(stuffed(n, s, front, o + d * (k - 1) - front - s * (n - 1) - 1))
    yield Learned(tuple(before), kernel, ones, dilation, outputs, layer.groups, layer.features, stride)


def _upsample(layer: Any, size: Sizes) -> Iterator[Token]:
    (scale,) = _sizes(layer, len(size), "scale")
    made = [upsampled(n, s, layer.method, layer.centres) for n, s in zip(size, scale)]
    yield Fixed(tuple(each.scaled(factor) for each, factor in made))


def _resize_conv(layer: layers.ResizeConv, size: Sizes) -> Iterator[Token]:
    yield from _upsample(layer, size)
    large = output_size(layers.Upsample(layer.scale), size)
    conv = layers.Conv(layer.kernel, 1, layer.features, layer.padding, layer.pad_mode)
    yield from _conv(conv, large)


def _sub_pixel(layer: layers.SubPixel, size: Sizes) -> Iterator[Token]:
    (scale,) = _sizes(layer, len(size), "scale")
    phases = int(np.prod(scale))
    wide = layer.features and layer.features * phases
    yield from _conv(layers.Conv(layer.kernel, 1, wide, layer.padding), size)
    if phases > 1:
        yield Shuffled(scale, None, layer.order)


def _dense(layer: layers.Dense, size: Sizes) -> Iterator[Token]:
    yield Latent()
    sizes = layer.size if isinstance(layer.size, tuple) else (layer.size,)
    yield Unfolded(sizes, layer.features)


def _filter(size: Sizes, taps: list[np.ndarray], stride: Sizes, padding: Any, mode: str) -> Iterator[Token]:
    kernel, ones = tuple(len(row) for row in taps), (1,) * len(size)
    pads = geometry.conv_pads(size, kernel, stride, ones, pad_pairs("normal_form", padding, len(size)))
    yield _padding(size, pads, mode)
    large = [n + low + high for n, (low, high) in zip(size, pads)]
    outputs = geometry.conv_size("normal_form", size, kernel, stride, ones, pads)
    for axis, (row, s, o) in enumerate(zip(taps, stride, outputs)):
        made = windows(large[axis], o, row, s, 0)
        yield Fixed(tuple(made if a == axis else identity(n) for a, n in enumerate(large)))
        large[axis] = o


def _avg_pool(layer: layers.AvgPool, size: Sizes) -> Iterator[Token]:
    kernel, stride = _sizes(layer, len(size), "kernel", "stride")
    yield from _filter(size, [np.full(k, 1 / k) for k in kernel], stride, layer.padding, "zeros")


def _blur(layer: layers.Blur, size: Sizes) -> Iterator[Token]:
    kernel, stride = _sizes(layer, len(size), "kernel", "stride")
    yield from _filter(size, [binomial_taps(k) for k in kernel], stride, layer.padding, layer.pad_mode)


def _hold(layer: layers.Hold, size: Sizes) -> Iterator[Token]:
    (scale,) = _sizes(layer, len(size), "scale")
    taps = [hold_taps(s, order=layer.order) for s in scale]
    yield from _filter(size, taps, (1,) * len(size), layer.padding, layer.pad_mode)


def _l2_pool(layer: layers.L2Pool, size: Sizes) -> Iterator[Token]:
    (stride,) = _sizes(layer, len(size), "stride")
    yield Pointwise("square")
    yield from _filter(size, [hann_taps(s) for s in stride], stride, layer.padding, "zeros")
    yield Pointwise("root")


def _max_pool(layer: layers.MaxPool, size: Sizes) -> Iterator[Token]:
    kernel, stride = _sizes(layer, len(size), "kernel", "stride")
    ones = (1,) * len(size)
    pads = geometry.conv_pads(size, kernel, stride, ones, pad_pairs("normal_form", layer.padding, len(size)))
    outputs = geometry.conv_size("normal_form", size, kernel, stride, ones, pads)
    yield Largest(
        tuple(windows(n, o, np.ones(k), s, p[0]) for n, o, k, s, p in zip(size, outputs, kernel, stride, pads))
    )


def _residual(layer: layers.Residual, size: Sizes) -> Iterator[Token]:
    yield Joined("sum", ((), tuple(_tokens(layer.stack, size))))


def _parallel(layer: layers.Parallel, size: Sizes) -> Iterator[Token]:
    first, *rest = [tuple(_tokens(stack, size)) for stack in layer.stacks]
    if layer.combine == "concat" and rest:
        yield Joined("concat", (first, *rest))
        return
    for branch in rest:
        first = (Joined("sum", (first, branch)),)
    yield from first


def _batch_norm(layer: layers.BatchNorm, size: Sizes) -> Iterator[Token]:
    per = layer.per if np.prod(size) > 1 else "channel"
    yield Pointwise(layers.BatchNorm(short(layer.std), per, short(layer.epsilon)))


def _leaky_relu(layer: layers.LeakyRelu, size: Sizes) -> Iterator[Token]:
    slope = short(layer.slope)
    if slope != 1:
        yield Pointwise(layers.LeakyRelu(slope) if slope else layers.Relu())


def _plain(layer: Layer, size: Sizes) -> Iterator[Token]:
    yield Pointwise(layer)


_TOKENS: dict[type, Callable[[Any, Sizes], Iterator[Token]]] = {
    layers.Conv: _conv,
    layers.Deconv: _deconv,
    layers.ResizeConv: _resize_conv,
    layers.SubPixel: _sub_pixel,
    layers.Dense: _dense,
    layers.Bias: lambda layer, size: _plain(layers.Bias(short(layer.std)), size),
    layers.Relu: _plain,
    layers.LeakyRelu: _leaky_relu,
    layers.Tanh: _plain,
    layers.Erf: _plain,
    layers.BatchNorm: _batch_norm,
    layers.MaxPool: _max_pool,
    layers.AvgPool: _avg_pool,
    layers.L2Pool: _l2_pool,
    layers.Blur: _blur,
    layers.Hold: _hold,
    layers.Upsample: _upsample,
    layers.Residual: _residual,
    layers.Parallel: _parallel,
}

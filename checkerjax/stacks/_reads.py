"""Which input samples each output of a layer reads, along one axis, and with which weights.

This is the arithmetic behind counts, interiors and second moments. It is static: NumPy, integers where the taps are
rational. Learned taps weigh 1; `draws` says which of them share one learned number.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from checkerjax import _geometry as geometry
from checkerjax._checks import Pads, pad_pairs, per_axis
from checkerjax.ops import _resampling as resampling
from checkerjax.ops import binomial_taps, hann_taps, hold_taps
from checkerjax.stacks import _layers as layers

Sizes = tuple[int, ...]
Steps = list[tuple["Reads", ...]]


@dataclasses.dataclass(frozen=True)
class Reads:
    """One linear step along one axis: output n is the sum over t of weights[n, t] x[positions[n, t]] / denominator."""

    size: int  # input samples along the axis
    positions: np.ndarray  # int64 [out, taps]; outside [0, size) where a tap reads padding
    weights: np.ndarray  # int64, or float64 where taps are irrational, [out, taps]; 0 reads nothing
    denominator: int = 1
    border: str = "zeros"  # what lies outside: zeros, edge, reflect, symmetric, wrap, or "renormalise" (see resolved)
    draws: np.ndarray | None = None  # int64 [out, taps]: which learned number each tap is; None for a fixed filter

    @property
    def outputs(self) -> int:
        """Output samples along the axis."""
        return self.positions.shape[0]

    def outside(self) -> np.ndarray:
        """Bool `[out, taps]`: the taps that read padding."""
        return ((self.positions < 0) | (self.positions >= self.size)) & (self.weights != 0)

    def resolved(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions in [0, size) and their weights, after what lies outside was replaced as `border` says.

        "zeros" drops the taps outside; "renormalise" drops them and scales the others of the output up.
        """
        inside = ~self.outside()
        if self.border in ("zeros", "renormalise"):
            weights = np.where(inside, self.weights, 0)
            if self.border == "renormalise":
                weights = weights * (self.weights.sum(axis=1) / weights.sum(axis=1))[:, None]
            return np.where(inside & (self.weights != 0), self.positions, 0), weights
        positions = np.where(self.weights != 0, self.positions, 0)
        return resolve_border(positions, self.size, self.border), self.weights

    def matrix(self) -> np.ndarray:
        """`[out, size]` numerators over `denominator`; int64, or float64 where taps are irrational."""
        positions, weights = self.resolved()
        matrix = np.zeros((self.outputs, self.size), weights.dtype)
        np.add.at(matrix, (np.arange(self.outputs)[:, None], positions), weights)
        return matrix


def resolve_border(positions: np.ndarray, size: int, border: str) -> np.ndarray:
    """The samples in [0, size) that stand for `positions`, as `np.pad` extends an axis."""
    if border == "wrap":
        return positions % size
    if border == "edge" or size == 1:
        return np.clip(positions, 0, size - 1)
    period = 2 * size if border == "symmetric" else 2 * size - 2
    folded = positions % period
    mirror = period - 1 - folded if border == "symmetric" else period - folded
    return np.where(folded < size, folded, mirror)


def layer_steps(op: str, layer: layers.Layer, size: Sizes, *, initialiser: str | None = None, margin: int = 0) -> Steps:
    """The linear steps of one layer, in order, each with one `Reads` per axis; none for a pointwise layer.

    Args:
      op: named in errors.
      layer: any layer but `Dense`, `Residual` and `Parallel`. A max pool's windows weigh 1, an l2 pool's have their
        Hann taps, whatever is done to the values.
      size: of the input.
      initialiser: of learned layers that name none; "icnr" ties `draws`.
      margin: outputs to add beyond either end, as if the layer went on there. Not for centres="corners".

    Raises:
      ValueError: for sizes that do not fit.
    """
    build = _BUILDERS.get(type(layer))
    return [] if build is None else build(op, layer, size, initialiser, margin)


def _outputs(count: int, margin: int) -> np.ndarray:
    return np.arange(-margin, count + margin)[:, None]


def _reads(
    size: int, positions: np.ndarray, weights: object, denominator: int, border: str, draws: object = None
) -> Reads:
    """`Reads` with all arrays of the shape of `positions`."""
    shape = positions.shape
    ids = None if draws is None else np.broadcast_to(np.asarray(draws), shape)
    return Reads(size, positions, np.broadcast_to(np.asarray(weights), shape), denominator, border, ids)


def _conv_geometry(
    op: str, layer: object, size: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes
) -> tuple[Sizes, Pads]:
    sizes = size, kernel, stride, dilation
    pads = geometry.conv_pads(*sizes, pad_pairs(op, getattr(layer, "padding"), len(size)))  # noqa: B009
    return geometry.conv_size(op, *sizes, pads), pads


def _conv(op: str, layer: layers.Conv, size: Sizes, initialiser: str | None, margin: int) -> Steps:
    kernel, stride, dilation = _fields(op, layer, len(size), "kernel", "stride", "dilation")
    out, pads = _conv_geometry(op, layer, size, kernel, stride, dilation)
    step = []
    for i, o, k, s, d, (low, _) in zip(size, out, kernel, stride, dilation, pads):
        taps = np.arange(k)
        step.append(_reads(i, s * _outputs(o, margin) + d * taps - low, 1, 1, layer.pad_mode, taps))
    return [tuple(step)]


def _deconv(op: str, layer: layers.Deconv, size: Sizes, initialiser: str | None, margin: int) -> Steps:
    kernel, stride, dilation = _fields(op, layer, len(size), "kernel", "stride", "dilation")
    extra = per_axis(op, "output_padding", layer.output_padding, len(size), minimum=0)
    tied = (layer.initialiser or initialiser) == "icnr"
    padding = pad_pairs(op, layer.padding, len(size))
    return [transpose_step(op, size, kernel, stride, dilation, padding, extra, tied=tied, margin=margin)]


def transpose_step(
    op: str,
    size: Sizes,
    kernel: Sizes,
    stride: Sizes,
    dilation: Sizes,
    padding: str | Pads,
    output_padding: Sizes,
    *,
    tied: bool = False,
    margin: int = 0,
) -> tuple[Reads, ...]:
    """What the outputs of a transposed convolution read, one `Reads` per axis; `tied` as `icnr_transpose` ties."""
    pads = geometry.transpose_pads(op, kernel, stride, dilation, padding, output_padding)
    out = geometry.transpose_size(op, size, kernel, stride, dilation, pads)
    step = []
    for i, o, k, s, d, (low, _) in zip(size, out, kernel, stride, dilation, pads):
        taps = np.arange(k)
        stuffed = _outputs(o, margin) + low - d * taps
        hit = stuffed % s == 0
        positions, weights = np.where(hit, stuffed // s, 0), hit.astype(np.int64)
        step.append(_reads(i, positions, weights, 1, "zeros", taps // s if tied else taps))
    return tuple(step)


def _sub_pixel(op: str, layer: layers.SubPixel, size: Sizes, initialiser: str | None, margin: int) -> Steps:
    kernel, scale = _fields(op, layer, len(size), "kernel", "scale")
    ones = (1,) * len(size)
    out, pads = _conv_geometry(op, layer, size, kernel, ones, ones)
    tied = (layer.initialiser or initialiser) == "icnr"
    step = []
    for i, o, k, s, (low, _) in zip(size, out, kernel, scale, pads):
        n, taps = _outputs(s * o, margin), np.arange(k)
        step.append(_reads(i, n // s + taps - low, 1, 1, "zeros", taps if tied else s * taps + n % s))
    return [tuple(step)]


def _resize_conv(op: str, layer: layers.ResizeConv, size: Sizes, initialiser: str | None, margin: int) -> Steps:
    upsampled = _upsample(op, layer, size, initialiser, margin)
    large = tuple(i * s for i, s in zip(size, per_axis(op, "scale", layer.scale, len(size))))
    conv = layers.Conv(layer.kernel, padding=layer.padding, pad_mode=layer.pad_mode)
    return upsampled + _conv(op, conv, large, initialiser, margin)


def _upsample(
    op: str, layer: layers.Upsample | layers.ResizeConv, size: Sizes, initialiser: str | None, margin: int
) -> Steps:
    (scale,) = _fields(op, layer, len(size), "scale")
    return [tuple(_interpolation(i, s, layer.method, layer.centres, margin) for i, s in zip(size, scale))]


def _interpolation(size: int, s: int, method: str, centres: str, margin: int) -> Reads:
    n = _outputs(s * size, margin)
    if s == 1:
        return _reads(size, n, 1, 1, "zeros")
    if method == "zeros":
        hit = n % s == 0
        return _reads(size, np.where(hit, n // s, 0), hit.astype(np.int64), 1, "zeros")
    if centres == "half_pixel":
        numerator, denominator = 2 * n + 1 - s, 2 * s
    elif centres == "sample":
        numerator, denominator = n, s
    else:
        numerator, denominator = n * (size - 1), s * size - 1
    if method == "nearest":  # the lower one of two that are equally near
        return _reads(size, -((denominator - 2 * numerator) // (2 * denominator)), 1, 1, "edge")
    below, rest = numerator // denominator, numerator % denominator
    if method == "linear":  # dropping a tap and scaling the other up is what "edge" does
        return _reads(size, below + np.arange(2), np.hstack([denominator - rest, rest]), denominator, "edge")
    response, reach = (lambda t: resampling.cubic(t, -0.5), 2) if method == "cubic" else (resampling.lanczos3, 3)
    positions = below + np.arange(1 - reach, reach + 1)
    weights = response((numerator - denominator * positions) / denominator)
    return _reads(size, positions, weights / weights.sum(axis=1, keepdims=True), 1, "renormalise")


def _filter(
    op: str, layer: object, size: Sizes, taps: list[np.ndarray], wholes: list[int], stride: Sizes, margin: int
) -> Steps:
    """A fixed filter with a stride; `wholes` are denominators that make the taps integers."""
    out, pads = _conv_geometry(op, layer, size, tuple(len(row) for row in taps), stride, (1,) * len(size))
    border = getattr(layer, "pad_mode", "zeros")
    step = []
    for i, o, s, (low, _), row, whole in zip(size, out, stride, pads, taps, wholes):
        weights, denominator = _integers(row, whole)
        step.append(_reads(i, s * _outputs(o, margin) + np.arange(len(row)) - low, weights, denominator, border))
    return [tuple(step)]


def _integers(taps: np.ndarray, whole: int) -> tuple[np.ndarray, int]:
    """Taps as integers over `whole` where they are exactly that, else as they are over 1."""
    if whole < 2**53:
        numerators = np.rint(taps * whole)
        if np.array_equal(numerators / whole, taps):
            integers = numerators.astype(np.int64)
            common = math.gcd(whole, *integers.tolist())
            return integers // common, whole // common
    return taps.astype(np.float64), 1


def _pool(op: str, layer: layers.MaxPool | layers.AvgPool, size: Sizes, _: str | None, margin: int) -> Steps:
    kernel, stride = _fields(op, layer, len(size), "kernel", "stride")
    wholes = [1 if isinstance(layer, layers.MaxPool) else k for k in kernel]
    return _filter(op, layer, size, [np.ones(k) / w for k, w in zip(kernel, wholes)], wholes, stride, margin)


def _l2_pool(op: str, layer: layers.L2Pool, size: Sizes, _: str | None, margin: int) -> Steps:
    (stride,) = _fields(op, layer, len(size), "stride")
    # sin^2(pi j / 2s) is rational for all j only if s is 1, 2 or 3 (Niven's theorem).
    wholes = [4 * s if s <= 3 else 1 for s in stride]
    taps = [hann_taps(s) if w == 1 else np.rint(hann_taps(s) * w) / w for s, w in zip(stride, wholes)]
    return _filter(op, layer, size, taps, wholes, stride, margin)


def _blur(op: str, layer: layers.Blur, size: Sizes, _: str | None, margin: int) -> Steps:
    kernel, stride = _fields(op, layer, len(size), "kernel", "stride")
    return _filter(op, layer, size, [binomial_taps(k) for k in kernel], [2 ** (k - 1) for k in kernel], stride, margin)


def _hold(op: str, layer: layers.Hold, size: Sizes, _: str | None, margin: int) -> Steps:
    (scale,) = _fields(op, layer, len(size), "scale")
    taps = [hold_taps(s, order=layer.order) for s in scale]
    return _filter(op, layer, size, taps, [s ** (layer.order + 1) for s in scale], (1,) * len(size), margin)


def _fields(op: str, layer: layers.Layer, ndim: int, *names: str) -> tuple[Sizes, ...]:
    return tuple(per_axis(op, name, getattr(layer, name), ndim) for name in names)


_BUILDERS = {
    layers.Conv: _conv,
    layers.Deconv: _deconv,
    layers.SubPixel: _sub_pixel,
    layers.ResizeConv: _resize_conv,
    layers.Upsample: _upsample,
    layers.MaxPool: _pool,
    layers.AvgPool: _pool,
    layers.L2Pool: _l2_pool,
    layers.Blur: _blur,
    layers.Hold: _hold,
}

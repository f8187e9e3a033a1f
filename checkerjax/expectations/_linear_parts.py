"""The linear part of a stack as few kinds of parts: zeros put in, filters, samples left out, branches.

A filter is y[n] = sum over j of taps[j] x[n - offsets[j]]. Seen on a torus none of this knows a border, and the
transpose of each part is a part again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from checkerjax import _geometry as geometry
from checkerjax._checks import pad_pairs, per_axis
from checkerjax.expectations._variances import Weights
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import Stack
from checkerjax.stacks._plan import check_tieable, place_of
from checkerjax.stacks._reads import layer_steps

Ints = tuple[int, ...]
_SAMPLES = 16  # of the input that fixed filters are read off, per unit of their stride: Lanczos reaches over 3


@dataclasses.dataclass(frozen=True)
class Up:
    """Zeros between samples: x[m] goes to s m."""

    factors: Ints


@dataclasses.dataclass(frozen=True)
class Down:
    """Every s-th sample."""

    factors: Ints


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A separable filter, the same for each channel."""

    offsets: tuple[np.ndarray, ...]  # int64 [J], one per axis
    taps: tuple[np.ndarray, ...]  # float64 [J], one per axis


@dataclasses.dataclass(frozen=True)
class Learned:
    """A filter that mixes channels: its kernel, or what is known of it before it is drawn."""

    offsets: tuple[np.ndarray, ...]  # int64 [J], one per axis; taps are all combinations
    kernel: Any = None  # [*J, groups, inputs, outputs] of each group
    power: Any = 1.0  # variance of a weight, times what one output channel sums over
    backward: Any = 1.0  # the same of the transpose


@dataclasses.dataclass(frozen=True)
class Branches:
    """Several chains on one input: their outputs added, or joined as channels."""

    chains: tuple[Chain, ...]
    join: bool
    outputs: Ints = ()  # channels of each, where they are joined
    place: str = ""  # for errors


Part = Up | Down | Fixed | Learned | Branches
Chain = tuple[Part, ...]


def linear_parts(prefix: str, stack: Stack, entries: Any, channels: int, ndim: int) -> tuple[Chain, int]:
    """The parts of a stack's linear part, and its output channels.

    Args:
      prefix: of errors.
      stack: layers; pointwise ones are the identity.
      entries: parameters (the kernels are used), or what `stack_weights` gives (their variances are).
      channels: of the input.
      ndim: spatial axes.

    Raises:
      ValueError: for a layer that has no linear part, or kernels that do not fit.
    """
    chain: list[Part] = []
    if not isinstance(entries, (tuple, list)) or len(entries) != len(stack):
        raise ValueError(f"{prefix}params must be a tuple with one entry for each of the {len(stack)} layers.")
    for i, (layer, entry) in enumerate(zip(stack, entries)):
        parts, channels = _layer(place_of(prefix, i, layer), layer, entry, channels, ndim)
        chain += parts
    return tuple(chain), channels


def _layer(op: str, layer: Any, entry: Any, channels: int, ndim: int) -> tuple[list[Part], int]:
    if isinstance(layer, layers.POINTWISE):
        return [], channels
    if isinstance(layer, (layers.Residual, layers.Parallel)):
        return _branches(op, layer, entry, channels, ndim)
    if isinstance(layer, (layers.MaxPool, layers.L2Pool)):
        raise ValueError(f"{op}: is not linear. Leave it out, or take probe or sweep, which measure.")
    if isinstance(layer, layers.Dense):
        raise ValueError(f"{op}: has no neighbours that could correlate. Give the layers behind it, with white input.")
    if isinstance(layer, layers.LEARNED):
        return _LEARNED[type(layer)](op, layer, entry, channels, ndim)
    return _fixed(op, layer, ndim), channels


def _branches(op: str, layer: Any, entry: Any, channels: int, ndim: int) -> tuple[list[Part], int]:
    inner = layer.stacks if isinstance(layer, layers.Parallel) else (layer.stack,)
    entries = entry if isinstance(layer, layers.Parallel) else (entry,)
    found = [
        linear_parts(f"{op}: branch {i + 1}, ", stack, own, channels, ndim)
        for i, (stack, own) in enumerate(zip(inner, entries))
    ]
    chains, outputs = [chain for chain, _ in found], tuple(out for _, out in found)
    if isinstance(layer, layers.Residual):
        chains, outputs = [(), *chains], (channels, *outputs)
    if isinstance(layer, layers.Parallel) and layer.combine == "concat":
        return [Branches(tuple(chains), True, outputs, op)], sum(outputs)
    if len(set(outputs)) > 1:
        raise ValueError(f"{op}: branches that are summed must give equal numbers of channels; got {outputs}.")
    return [Branches(tuple(chains), False, outputs, op)], outputs[0]


def _fixed(op: str, layer: Any, ndim: int) -> list[Part]:
    """A fixed filter, with the resampling before or after it, as its reads amid a field have it."""
    up = per_axis(op, "scale", layer.scale, ndim) if isinstance(layer, layers.Upsample) else (1,) * ndim
    down = per_axis(op, "stride", getattr(layer, "stride", 1), ndim)
    size = tuple(_SAMPLES * s * max(_reach(layer, axis, ndim), 1) for axis, s in enumerate(down))
    (step,) = layer_steps(op, layer, size)
    offsets, taps = [], []
    for reads, s, t in zip(step, up, down):
        first = reads.outputs // 2 // s * s
        n = np.arange(first, first + s)[:, None]
        used = reads.weights[first : first + s] != 0
        offsets.append((t * n - s * reads.positions[first : first + s])[used])
        taps.append(reads.weights[first : first + s][used] / reads.denominator)
    return _resampled(up, Fixed(tuple(offsets), tuple(taps)), down)


def _reach(layer: Any, axis: int, ndim: int) -> int:
    """Taps of a fixed filter along an axis, about."""
    if isinstance(layer, layers.Upsample):
        return 1
    if isinstance(layer, layers.Hold):
        return (layer.order + 1) * per_axis("hold", "scale", layer.scale, ndim)[axis]
    return per_axis("pool", "kernel", layer.kernel, ndim)[axis]


def _resampled(up: Ints, part: Part, down: Ints) -> list[Part]:
    before: list[Part] = [Up(up)] if max(up) > 1 else []
    after: list[Part] = [Down(down)] if max(down) > 1 else []
    return [*before, part, *after]


def _learned(op: str, entry: Any, offsets: list[np.ndarray], arrange: Callable[[Any], Any]) -> Learned:
    """A learned filter from its kernel, put in order by `arrange`, or from its variance."""
    if isinstance(entry, Weights):
        return Learned(tuple(offsets), None, entry.power, entry.power * entry.features / entry.inputs)
    return Learned(tuple(offsets), arrange(_kernel(op, entry, len(offsets))))


def _kernel(op: str, entry: Any, ndim: int) -> Any:
    kernel = entry["kernel"] if isinstance(entry, dict) and "kernel" in entry else None
    if kernel is None or kernel.ndim != ndim + 2:
        got = f"a kernel of shape {kernel.shape}" if kernel is not None else repr(entry)
        raise ValueError(f"{op}: params must have a kernel with {ndim} spatial axes; got {got}.")
    return kernel


def _fits(op: str, kernel: Any, size: Ints, inputs: int, channels: int) -> None:
    if kernel.shape[: len(size)] != size or inputs != channels:
        raise ValueError(
            f"{op}: params has a kernel of shape {tuple(kernel.shape)}; expected the size {size}, and "
            f"{channels} input channels."
        )


def _outputs(entry: Any, part: Learned) -> int:
    return entry.features if isinstance(entry, Weights) else part.kernel.shape[-3] * part.kernel.shape[-1]


def _pads(op: str, layer: Any, kernel: Ints, stride: Ints, dilation: Ints) -> Ints:
    """Samples padded below; a torus has a whole number of strides, for which "SAME" does not depend on the size."""
    size = tuple(s * (d * k + 1) for k, s, d in zip(kernel, stride, dilation))
    pads = geometry.conv_pads(size, kernel, stride, dilation, pad_pairs(op, layer.padding, len(size)))
    return tuple(low for low, _ in pads)


def _conv(op: str, layer: Any, entry: Any, channels: int, ndim: int) -> tuple[list[Part], int]:
    size, stride, dilation = (
        per_axis(op, name, getattr(layer, name), ndim) for name in ("kernel", "stride", "dilation")
    )
    low = _pads(op, layer, size, stride, dilation)
    offsets = [first - d * np.arange(k) for first, k, d in zip(low, size, dilation)]

    def arrange(kernel: Any) -> Any:
        _fits(op, kernel, size, kernel.shape[-2] * layer.groups, channels)
        grouped = kernel.reshape(*kernel.shape[:-1], layer.groups, -1)
        return grouped.swapaxes(-3, -2)

    part = _learned(op, entry, offsets, arrange)
    return _resampled((1,) * ndim, part, stride), _outputs(entry, part)


def _deconv(op: str, layer: Any, entry: Any, channels: int, ndim: int) -> tuple[list[Part], int]:
    size, stride, dilation = (
        per_axis(op, name, getattr(layer, name), ndim) for name in ("kernel", "stride", "dilation")
    )
    extra = per_axis(op, "output_padding", layer.output_padding, ndim, minimum=0)
    pads = geometry.transpose_pads(op, size, stride, dilation, pad_pairs(op, layer.padding, ndim), extra)
    low = [first for first, _ in pads]
    if isinstance(entry, Weights) and entry.tied:
        check_tieable(op, layer, ndim)
        part = _learned(op, entry, [np.arange(k // s) for k, s in zip(size, stride)], lambda kernel: kernel)
        box = Fixed(tuple(np.arange(s) - first for s, first in zip(stride, low)), tuple(np.ones(s) for s in stride))
        return [part, Up(stride), box], entry.features
    offsets = [d * np.arange(k) - first for k, d, first in zip(size, dilation, low)]

    def arrange(kernel: Any) -> Any:
        _fits(op, kernel, size, kernel.shape[-2], channels)
        return kernel.reshape(*size, layer.groups, -1, kernel.shape[-1])

    part = _learned(op, entry, offsets, arrange)
    return _resampled(stride, part, (1,) * ndim), _outputs(entry, part)


def _sub_pixel(op: str, layer: Any, entry: Any, channels: int, ndim: int) -> tuple[list[Part], int]:
    size, scale = (per_axis(op, name, getattr(layer, name), ndim) for name in ("kernel", "scale"))
    ones = (1,) * ndim
    low = _pads(op, layer, size, ones, ones)
    if isinstance(entry, Weights) and entry.tied:
        part = _learned(op, entry, [first - np.arange(k) for first, k in zip(low, size)], lambda kernel: kernel)
        box = Fixed(tuple(np.arange(s) for s in scale), tuple(np.ones(s) for s in scale))
        return [part, *_resampled(scale, box, ones)], entry.features
    offsets = [(np.arange(s) - s * (np.arange(k)[:, None] - first)).ravel() for k, s, first in zip(size, scale, low)]

    def arrange(kernel: Any) -> Any:
        """Taps `[k, s]` by place and phase, axis by axis."""
        _fits(op, kernel, size, kernel.shape[-2], channels)
        deep = layer.order == "depth_first"
        outputs = kernel.shape[-1] // math.prod(scale)
        split = kernel.reshape(*kernel.shape[:-1], *((*scale, outputs) if deep else (outputs, *scale)))
        phases = [ndim + 1 + i + (not deep) for i in range(ndim)]
        output = 2 * ndim + 1 if deep else ndim + 1
        taps = split.transpose(*(axis for pair in zip(range(ndim), phases) for axis in pair), ndim, output)
        return taps.reshape(*(k * s for k, s in zip(size, scale)), 1, kernel.shape[-2], outputs)

    part = _learned(op, entry, offsets, arrange)
    return _resampled(scale, part, ones), _outputs(entry, part)


def _resize_conv(op: str, layer: Any, entry: Any, channels: int, ndim: int) -> tuple[list[Part], int]:
    up = layers.Upsample(layer.scale, layer.method, layer.centres)
    conv = layers.Conv(layer.kernel, padding=layer.padding, pad_mode=layer.pad_mode)
    parts, outputs = _conv(op, conv, entry, channels, ndim)
    return [*_fixed(op, up, ndim), *parts], outputs


_LEARNED = {
    layers.Conv: _conv,
    layers.Deconv: _deconv,
    layers.SubPixel: _sub_pixel,
    layers.ResizeConv: _resize_conv,
}


def adjoint(chain: Chain) -> Chain:
    """The transpose, for second moments over draws: what takes a gradient at the output to one at the input."""
    return tuple(_adjoint(part) for part in reversed(chain))


def _adjoint(part: Part) -> Part:
    if isinstance(part, Up):
        return Down(part.factors)
    if isinstance(part, Down):
        return Up(part.factors)
    if isinstance(part, Branches):  # channels that were joined come apart, and what each branch gives back adds up
        return dataclasses.replace(part, chains=tuple(map(adjoint, part.chains)), outputs=())
    turned = dataclasses.replace(part, offsets=tuple(-row for row in part.offsets))
    return turned if isinstance(part, Fixed) else dataclasses.replace(turned, power=part.backward, backward=part.power)


def has_branches(chain: Chain) -> bool:
    """Whether the parts do not simply follow each other."""
    return any(isinstance(part, Branches) for part in chain)


def fixed_paths(chain: Chain) -> Chain | None:
    """The paths that meet no learned filter; None if there are none."""
    parts: list[Part] = []
    for part in chain:
        if isinstance(part, Learned):
            return None
        if isinstance(part, Branches):
            inner = [own for own in map(fixed_paths, part.chains) if own is not None]
            if not inner:
                return None
            if part.join:
                raise ValueError(
                    f"{part.place}: joins channels that no learned layer met, inside of a sum: which of them correlate "
                    "has no closed form here. Put a learned layer into the branch, or measure it with sweep."
                )
            part = Branches(tuple(inner), False)
        parts.append(part)
    return tuple(parts)


def blocks_needed(chain: Chain, period: Ints) -> Ints:
    """Periods per axis of a torus on which no response meets itself, after whatever part; `period`: of the input."""
    return tuple(math.ceil(_widest(chain, axis, (0, 0), p)[2]) for axis, p in enumerate(period))


def _widest(chain: Chain, axis: int, place: tuple[int, int], period: float) -> tuple[tuple[int, int], float, float]:
    """First and last sample of the response to one sample, the period at the end, and the most periods on the way."""
    low, high = place
    most = (high - low + 1) / period
    for part in chain:
        if isinstance(part, Up):
            low, high, period = low * part.factors[axis], high * part.factors[axis], period * part.factors[axis]
        elif isinstance(part, Down):
            s = part.factors[axis]
            low, high, period = low // s, -(-high // s), period / s
        elif isinstance(part, Branches):
            ends = [_widest(own, axis, (low, high), period) for own in part.chains]
            low, high = min(end[0][0] for end in ends), max(end[0][1] for end in ends)
            period, most = ends[0][1], max(most, *(end[2] for end in ends))
        else:
            low, high = low + int(part.offsets[axis].min()), high + int(part.offsets[axis].max())
        most = max(most, (high - low + 1) / period)
    return (low, high), period, most

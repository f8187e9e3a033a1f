"""From a picture to filtered planes of even contrast.

A picture's large-scale structure would leak over all its lines, and its contrast is uneven: edges would decide
everything. So planes are high-passed (second differences), and divided by their local RMS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from checkerjax._checks import as_int

LAYOUTS = ("H", "HC", "HW", "HWC", "DHW", "DHWC")
MOST_CHANNELS = 4  # without a layout, a last axis up to this size holds channels
FAINT = 1e-3  # of the global RMS: where a picture is flatter than this it is left flat
ROUNDING = 1e-14  # of the largest value: rounding of float64
NEGLIGIBLE = 1e-11  # mean square, over that of the picture: rounding of float32


class Plane(NamedTuple):
    """A filtered plane, and what makes its contrast even."""

    name: str
    pixels: np.ndarray  # float32
    second: np.ndarray  # second differences
    gain: np.ndarray  # 1 / local RMS of the second differences
    faint: float  # added to the local mean square: the product has power 1 - faint * gain^2


def image_array(op: str, image: Any, layout: str | None) -> tuple[np.ndarray, str, list[str]]:
    """A finite array with an axis of channels, the names of its spatial axes, and notes."""
    if isinstance(image, (str, bytes)) or image is None or callable(image):
        raise TypeError(f"{op}: image must be an array; got {type(image).__name__}. Read files first.")
    array = np.asarray(image)
    if array.dtype == bool or not (np.issubdtype(array.dtype, np.integer) or array.dtype.kind in "fV"):
        raise TypeError(f"{op}: image must have a real dtype; got {array.dtype}. Cast it with .astype.")
    if array.dtype.kind == "V":  # bfloat16 and other narrow floats of ml_dtypes
        array = array.astype(np.float32)
    layout = _layout(op, array.shape, layout)
    array = array if layout.endswith("C") else array[..., None]
    axes = layout.removesuffix("C")
    if array.size == 0:
        raise ValueError(f"{op}: image is empty; got shape {np.shape(image)}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise ValueError(
            f"{op}: image must be finite; {len(bad)} of {array.size} values are not, the first at index "
            f"{tuple(int(i) for i in bad[0])}."
        )
    notes = [f"axis {axis} has one sample and is left out" for axis, n in zip(axes, array.shape) if n == 1]
    kept = [i for i, n in enumerate(array.shape[:-1]) if n > 1]
    if not kept:
        raise ValueError(f"{op}: image must have more than one pixel; got shape {np.shape(image)}.")
    return array.reshape(*(array.shape[i] for i in kept), array.shape[-1]), "".join(axes[i] for i in kept), notes


def _layout(op: str, shape: tuple[int, ...], layout: str | None) -> str:
    if layout is None:
        channels = len(shape) >= 2 and shape[-1] <= MOST_CHANNELS
        spatial = len(shape) - channels
        if spatial not in (1, 2, 3):
            raise ValueError(
                f"{op}: image must have 1, 2 or 3 spatial axes, and channels last if any; got shape {shape}. "
                "For a batch, take measure_all."
            )
        return "DHW"[3 - spatial :] * (spatial > 1) + "H" * (spatial == 1) + "C" * channels
    if layout not in LAYOUTS:
        raise ValueError(f"{op}: layout must be one of {', '.join(LAYOUTS)}; got {layout!r}. A batch: measure_all.")
    if len(layout) != len(shape):
        raise ValueError(f"{op}: layout {layout} needs {len(layout)} axes; got shape {shape}.")
    return layout


def cropped(array: np.ndarray) -> np.ndarray:
    """The middle of a picture, of a size whose transform is fast; what goes would have next to no weight."""
    for axis, n in enumerate(array.shape[:-1]):
        fast = scipy.fft.prev_fast_len(n, real=True)
        start = (n - fast) // 2
        array = array[(slice(None),) * axis + (slice(start, start + fast),)]
    return array


def check_periods(op: str, periods: Sequence[int]) -> tuple[int, ...]:
    """Periods of at least 2 samples, in order, each once."""
    if isinstance(periods, (str, bytes)) or not hasattr(periods, "__iter__"):
        raise TypeError(f"{op}: periods must be several ints; got {periods!r}. For one, write [{periods!r}].")
    checked = sorted({as_int(op, "periods", period, minimum=2) for period in periods})
    if not checked:
        raise ValueError(f"{op}: periods must name at least one period; got none.")
    return tuple(checked)


def split_planes(array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Planes that are hardly correlated, by a rotation, so that their mean squares add up to the channels'.

    Three channels are taken as R, G, B and give luminance and two colour differences (Ohta, Kanade and Sakai 1980);
    other numbers of channels give the principal components of their second differences.
    """
    channels = [_single(channel) for channel in apart(array)]
    if len(channels) == 1:
        return [("grey", channels[0])]
    if len(channels) == 3:
        red, green, blue = channels
        both = red + blue
        return [
            ("luminance", (both + green) * np.float32(1 / math.sqrt(3))),
            ("red-blue", (red - blue) * np.float32(1 / math.sqrt(2))),
            ("green-magenta", (both - 2 * green) * np.float32(1 / math.sqrt(6))),
        ]
    residual = np.stack([second_difference(c).ravel() for c in channels])
    vectors = np.linalg.eigh(np.cov(residual).astype(np.float64))[1][:, ::-1]
    mixed = [sum(np.float32(v) * c for v, c in zip(vectors[:, i], channels)) for i in range(len(channels))]
    return [(f"component {i}", np.asarray(plane)) for i, plane in enumerate(mixed)]


def apart(array: np.ndarray) -> np.ndarray:
    """Channels one after the other in memory, of the array's dtype: sorting small values is less work."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 0))


def _single(channel: np.ndarray) -> np.ndarray:
    """A channel in float32, less its mean where float32 could not hold what varies around a large one."""
    if channel.dtype.itemsize > 2 and channel.dtype != np.float32:
        centred = channel - channel.mean(dtype=np.float64)
        centred[np.abs(centred) < ROUNDING * np.abs(channel).max()] = 0.0
        channel = centred
    return np.ascontiguousarray(channel, np.float32)


def filtered(name: str, pixels: np.ndarray, box: int) -> Plane | None:
    """A plane with its second differences and gain, or None if nothing in it varies."""
    second = second_difference(pixels)
    energy = np.square(second)
    mean = float(energy.mean())
    if mean <= NEGLIGIBLE * float(np.square(pixels).mean()):
        return None
    faint = FAINT**2 * mean
    gain = local_mean(energy, box)
    gain += np.float32(faint)
    np.sqrt(gain, out=gain)
    np.reciprocal(gain, out=gain)
    return Plane(name, pixels, second, _extended(gain, box, energy), faint)


def second_difference(x: np.ndarray) -> np.ndarray:
    """Sum over axes of 2 x[n] - x[n-1] - x[n+1], zero on the border; its gain is sum 4 sin^2(pi f)."""
    whole = np.empty(x.shape, x.dtype)
    flat, steps = np.ravel(x), _steps(x.shape)
    first, last = steps[0], flat.size - steps[0]  # whole rows: what runs over their ends is on the border
    out = whole.reshape(-1)[first:last]
    np.multiply(flat[first:last], np.float32(2 * x.ndim), out=out)
    for step in steps:
        out -= flat[first - step : last - step]
        out -= flat[first + step : last + step]
    return _without_border(whole)


def cross_difference(x: np.ndarray) -> np.ndarray:
    """First difference along every axis in turn, zero on the border; at the samples of `second_difference`."""
    whole = np.empty(x.shape, x.dtype)
    out = np.ravel(x)
    for step in _steps(x.shape):
        out = out[step:] - out[:-step]
    whole.reshape(-1)[: out.size] = out
    return _without_border(whole)


def _steps(shape: tuple[int, ...]) -> list[int]:
    """How far neighbours along each axis are apart in memory; one long row is faster than many short ones."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _without_border(x: np.ndarray) -> np.ndarray:
    for axis in range(x.ndim):
        x[(slice(None),) * axis + ([0, -1],)] = 0
    return x


def box_width(size: tuple[int, ...], longest: int) -> int:
    """Width of the box for local contrast: at least the longest period, at most a fifth of the picture."""
    return 2 ** min(math.ceil(math.log2(longest)), max(1, int(math.log2(min(size) / 5))))


def local_mean(x: np.ndarray, width: int) -> np.ndarray:
    """Mean under a triangle, two boxes of a power of two samples, where it is inside: `width` less on every side.

    One box would do for the lines, but its transform has lobes of both signs, which would show in the phase powers.
    """
    sums, spare = np.ravel(x), (np.empty(x.size, x.dtype), np.empty(x.size, x.dtype))
    for step in _steps(x.shape):
        for apart in [step * 2**i for i in range(int(math.log2(width)))] * 2:
            spare = spare[::-1]
            sums = np.add(sums[:-apart], sums[apart:], out=spare[0][: sums.size - apart])
    # Sums begin at their first sample. Those of the last rows are short of samples, and none of them is inside.
    inside = spare[0].reshape(x.shape)[tuple(slice(1, n - 2 * width + 1) for n in x.shape)]
    return inside * np.float32(1 / width ** (2 * x.ndim))


def _extended(inside: np.ndarray, margin: int, out: np.ndarray) -> np.ndarray:
    """`inside` with its outermost samples repeated, in the memory of `out`."""
    out[tuple(slice(margin, -margin) for _ in out.shape)] = inside
    for axis in range(out.ndim):
        before = (slice(None),) * axis
        out[(*before, slice(margin))] = out[(*before, slice(margin, margin + 1))]
        out[(*before, slice(-margin, None))] = out[(*before, slice(-margin - 1, -margin))]
    return out

"""How a resize-convolution becomes a transposed one: static, one axis at a time, in float64.

Away from the border, upsampling stamps one response on the large axis for every low-resolution sample. A convolution
after it is then a transposed convolution whose kernel is that response correlated with the taps. Where padding or
interpolation break the pattern, either padding the low-resolution field says the same, or the few outputs concerned
are computed apart, as strips.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from checkerjax.ops._padding import PAD_MODES
from checkerjax.ops._resampling import resampling_matrix


@dataclasses.dataclass(frozen=True, eq=False)
class Strip:
    """Outputs at one end of an axis, from the padded large axis there as a matrix over a few input samples."""

    outputs: int
    samples: np.ndarray  # [c], indices into the axis
    weights: np.ndarray  # [outputs + k - 1, c]


@dataclasses.dataclass(frozen=True, eq=False)
class AxisPlan:
    """One axis of a resize-convolution as a transposed convolution with stride `scale`."""

    fold: np.ndarray  # [K, k]: the equivalent kernel is fold @ taps
    low: int  # what the transposed convolution crops at the low end
    outputs: int  # what it computes; the rest is in the strips
    extend: tuple[int, int]  # samples of low-resolution padding before it
    mode: str  # of that padding
    strips: tuple[Strip, Strip] | None  # at the low and the high end
    repeats_ends: bool  # whether all padding is the end samples themselves, and no strips are needed


@functools.lru_cache(maxsize=256)
def plan_axis(
    size: int, k: int, scale: int, pads: tuple[int, int], method: str, centres: str, cubic_a: float, pad_mode: str
) -> AxisPlan | None:
    """The plan of an axis of `size` samples; None where no stretch of outputs follows one pattern."""
    # From some length on all axes have the same ends: the pattern is found on one that is just long enough.
    short = min(size, 4 * (8 + (sum(pads) + k) // scale))
    if scale * short * short > 2**21:  # matrices that take longer to write down than the plain form to run
        return None
    upsampled = _upsampling(short, scale, method, centres, cubic_a)
    start, response = _response(upsampled, scale)
    if response is None:
        return None
    padded = np.pad(upsampled, (pads, (0, 0)), mode=PAD_MODES[pad_mode])  # type: ignore[call-overload]
    at = np.arange(len(padded)) - pads[0]
    fold = np.zeros((len(response) + k - 1, k))
    for j in range(k):
        fold[k - 1 - j : k - 1 - j + len(response), j] = response
    low, outputs = k - 1 - pads[0] - start, scale * size + sum(pads) - k + 1

    regular = np.asarray(_close(_stamps(at, short, (0, 0), scale, start, response), padded).all(axis=1))
    if regular.all():
        return AxisPlan(fold, low, outputs, (0, 0), "zeros", None, False)
    # The lowest and the highest sample whose response reaches a padded position: ceil and floor.
    lowest, highest = -((start + len(response) - 1 - int(at[0])) // scale), (int(at[-1]) - start) // scale
    extend = max(0, -lowest), max(0, highest - short + 1)
    wide = _stamps(at, short, extend, scale, start, response)
    for mode in PAD_MODES:
        if _close(wide @ np.pad(np.eye(short), (extend, (0, 0)), mode=PAD_MODES[mode]), padded).all():  # type: ignore[call-overload]
            ends = _close(upsampled[[0, -1]], np.eye(short)[[0, -1]]).all()
            return AxisPlan(
                fold, low + scale * extend[0], outputs, extend, mode, None, pad_mode == "edge" and bool(ends)
            )
    return _with_strips(fold, low, outputs, padded, regular, size)


def _with_strips(
    fold: np.ndarray, low: int, outputs: int, padded: np.ndarray, regular: np.ndarray, size: int
) -> AxisPlan | None:
    length, short = padded.shape
    k = fold.shape[1]
    odd = np.flatnonzero(~regular)
    first = int(odd[odd < length // 2].max(initial=-1)) + 1
    last = length - int(odd[odd >= length // 2].min(initial=length))
    if outputs - first - last < 1 or first + last + k > length:
        return None
    strips = [
        Strip(count, np.where(used >= short // 2, used + size - short, used), rows[:, used])
        for count, rows in ((first, padded[: first + k - 1]), (last, padded[length - last - k + 1 :]))
        for used in [np.flatnonzero(rows.any(axis=0))]
    ]
    return AxisPlan(fold, low + first, outputs - first - last, (0, 0), "zeros", (strips[0], strips[1]), False)


def _upsampling(size: int, scale: int, method: str, centres: str, cubic_a: float) -> np.ndarray:
    """`[scale * size, size]`, also of zero insertion."""
    if method == "zeros":
        return np.kron(np.eye(size), np.eye(scale)[:, :1])
    return resampling_matrix(size, scale, method, centres, cubic_a)


def _response(upsampled: np.ndarray, scale: int) -> tuple[int, np.ndarray | None]:
    """Where the response of a sample starts, from its own place on, and its values; None if it varies along the axis.

    Taken from the middle, and compared with its neighbours.
    """
    middle = upsampled.shape[1] // 2
    starts, values = [], []
    for m in range(max(middle - 1, 0), min(middle + 2, upsampled.shape[1])):
        (hit,) = np.nonzero(upsampled[:, m])
        if not hit.size:
            return 0, None
        starts.append(int(hit[0]) - scale * m)
        values.append(upsampled[hit[0] : hit[-1] + 1, m])
    same = len(set(starts)) == 1 and all(v.shape == values[0].shape and _close(v, values[0]).all() for v in values)
    return starts[0], values[0] if same else None


def _stamps(
    at: np.ndarray, size: int, extend: tuple[int, int], scale: int, start: int, response: np.ndarray
) -> np.ndarray:
    """`[large, low + size + high]`: the weight of each sample, extension included, at each large position."""
    lag = at[:, None] - scale * np.arange(-extend[0], size + extend[1]) - start
    inside = (lag >= 0) & (lag < len(response))
    return np.where(inside, response[np.clip(lag, 0, len(response) - 1)], 0.0)


def _close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.isclose(a, b, rtol=0, atol=1e-12)

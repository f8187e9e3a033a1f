"""What `forensics` is given, as what went into the squashing function of the generator, without borders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from checkerjax._checks import concrete, one_of
from checkerjax.images._forensics_moments import CELLS, interior, margin_of
from checkerjax.images._picture import FULL_SCALES, Picture

SQUASHES = ("tanh", "linear")
LONGEST = 4  # stride: its period must fit
MOST_CHANNELS = 3
STEP = 2 / 255  # of 8 bits, in [-1, 1]: what the calibration has
FINE = 2.0**-20  # of values that were not rounded to 8 or 16 bits


class Field(NamedTuple):
    """The interior of all images."""

    values: np.ndarray  # [N, H, W, C], float64, channels that vary and differ
    size: tuple[int, int, int, int]  # of what was given
    clipped: float  # share of the values at the ends of the range
    notes: tuple[str, ...]


def as_field(op: str, images: Any, squash: str) -> Field:
    """Checked, mapped to (-1, 1) and unsquashed."""
    one_of(op, "squash", squash, SQUASHES)
    batch = _batch(op, images)
    _check_size(op, batch)
    inner = interior(batch)
    kept, notes = _channels(op, inner)
    inner = inner[..., kept]
    if squash == "linear":
        values = inner.astype(np.float64)
        return Field(values / np.abs(values).max(), batch.shape, 0.0, notes)  # squares are not to overflow
    unit, step = _unit(op, inner)
    if np.abs(unit).max() > 1 - step / 2:  # what was cut off could have been anything: a few would outweigh all others
        step = STEP
    edge = 1 - step / 4  # where samples of the last step are, half of which was cut off
    clipped = float(np.mean(np.abs(unit) > 1 - step / 2))
    return Field(np.arctanh(np.clip(unit, -edge, edge)), batch.shape, clipped, notes)


def _batch(op: str, images: Any) -> np.ndarray:
    """`[N, H, W, C]` of one array, or of a sequence of arrays or pictures of one size."""
    if isinstance(images, Picture):
        images = [images]
    if not isinstance(images, (list, tuple)):
        return _of_one_array(op, _array(op, "images", images))
    if not images:
        raise ValueError(f"{op}: images must hold at least one image; got none.")
    found = [_array(op, f"images[{i}]", _samples(op, i, image)) for i, image in enumerate(images)]
    shapes = sorted({array.shape for array in found})
    if len(shapes) > 1:
        raise ValueError(
            f"{op}: images must have one size, for they are of one generator; got {', '.join(map(str, shapes))}. "
            "Give each size on its own."
        )
    dtypes = sorted({str(array.dtype) for array in found})
    if len(dtypes) > 1:
        raise TypeError(f"{op}: images must have one dtype; got {', '.join(dtypes)}.")
    if found[0].ndim not in (2, 3):
        raise ValueError(f"{op}: each image must be [H, W] or [H, W, C]; got shape {found[0].shape}.")
    stacked = np.stack(found)
    return stacked if stacked.ndim == 4 else stacked[..., None]


def _of_one_array(op: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        return array[None, ..., None]
    if array.ndim == 3 and array.shape[-1] <= MOST_CHANNELS:
        return array[None]
    if array.ndim != 4:
        raise ValueError(f"{op}: images must be [N, H, W, C], [H, W, C] or [H, W]; got shape {array.shape}.")
    return array


def _samples(op: str, index: int, image: Any) -> Any:
    if not isinstance(image, Picture):
        return image
    if image.axes != "yxc":
        raise ValueError(f"{op}: images[{index}] must be a picture of axes yxc; got {image.axes} ({image.name}).")
    whole = FULL_SCALES.get(image.samples.dtype.name) == image.full_scale and image.samples.dtype != bool
    return image.samples if whole else image.pixels


def _array(op: str, name: str, value: Any) -> np.ndarray:
    if value is None or callable(value) or isinstance(value, (str, bytes, Iterator)):
        raise TypeError(
            f"{op}: {name} must be an array; got {type(value).__name__}. Files are read with checkerjax.read_image."
        )
    if concrete(value) is None:
        raise TypeError(f"{op}: {name} must have values; it is being traced. Call {op} outside jit.")
    array = np.asarray(value)
    if array.dtype.kind not in "fui":
        raise TypeError(f"{op}: {name} must be real numbers; got {array.dtype}.")
    bad = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(())
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{op}: {name} must be finite; {int(bad.sum())} of {bad.size} values are not, the first at index {where}."
        )
    return array


def _check_size(op: str, batch: np.ndarray) -> None:
    if batch.shape[-1] not in range(1, MOST_CHANNELS + 1):
        raise ValueError(
            f"{op}: images must have 1 to {MOST_CHANNELS} channels; got shape {batch.shape}. Channels come last; leave "
            "out transparency."
        )
    if len(batch) == 0:
        raise ValueError(f"{op}: images must hold at least one image; got shape {batch.shape}.")
    need = CELLS * LONGEST
    if min(side - 2 * margin_of(side) for side in batch.shape[1:3]) < need:
        raise ValueError(
            f"{op}: images are too small for period {LONGEST}: at least {need + 2 * margin_of(need)} pixels on a side "
            f"are needed; got {batch.shape[1]} x {batch.shape[2]}."
        )


def _channels(op: str, inner: np.ndarray) -> tuple[list[int], tuple[str, ...]]:
    """Those that vary, each once: a grey picture saved in colour has one."""
    flat = np.moveaxis(inner, -1, 0).reshape(inner.shape[-1], -1)
    varying = [c for c, values in enumerate(flat) if values.min() != values.max()]
    if not varying:
        raise ValueError(f"{op}: images are constant in their interior: there is nothing to tell phases by.")
    kept = [c for i, c in enumerate(varying) if not any(np.array_equal(flat[c], flat[b]) for b in varying[:i])]
    left = len(flat) - len(kept)
    return kept, ((f"{left} of {len(flat)} channels are constant or copies, left out",) if left else ())


def _unit(op: str, inner: np.ndarray) -> tuple[np.ndarray, float]:
    """Values in [-1, 1], and their step."""
    if inner.dtype.kind in "ui":
        name = inner.dtype.name
        if name not in FULL_SCALES:
            raise TypeError(f"{op}: images of integers must be uint8 or uint16; got {name}. Scale them to [-1, 1].")
        return inner / (FULL_SCALES[name] / 2) - 1, 2 / FULL_SCALES[name]
    low, high = float(inner.min()), float(inner.max())
    if low < -1 or high > 1:
        raise ValueError(
            f"{op}: floating images must be in [0, 1] or [-1, 1] to undo tanh; got {low:.3g} to {high:.3g}. "
            "Give squash='linear' for values that were not squashed."
        )
    unit = inner.astype(np.float64) if low < 0 else inner.astype(np.float64) * 2 - 1
    levels = (unit + 1) * 127.5
    return unit, STEP if np.abs(levels - np.round(levels)).max() < 1e-3 else FINE

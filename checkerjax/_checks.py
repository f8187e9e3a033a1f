"""Argument checks shared by every room: static, so they hold under `jit`, and each message names its way out.

Messages read "function: argument, what was expected; what came. Way out." Shapes and values raise
`ValueError`, types and dtypes `TypeError`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._names import suggest

LAYOUTS = {1: ("NHC", "HIO"), 2: ("NHWC", "HWIO"), 3: ("NDHWC", "DHWIO")}
AXES = {1: "H", 2: "HW", 3: "DHW"}

PerAxis = int | Sequence[int]
Padding = str | int | Sequence[Sequence[int]]
Pads = tuple[tuple[int, int], ...]


def as_inexact(op: str, name: str, value: Any) -> jax.Array:
    """`value` as a JAX array of a floating or complex dtype."""
    if callable(value) or isinstance(value, (str, bytes)) or value is None:
        raise TypeError(f"{op}: {name} must be an array; got {type(value).__name__}.")
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(f"{op}: {name} must have a floating dtype; got {array.dtype}. Cast it with .astype.")
    return array


def at_least_float32(dtype: Any) -> np.dtype:
    """The dtype that sums are taken in: float32 for narrower ones; also under strict dtype promotion."""
    return np.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else np.dtype("float32")


def check_not_empty(op: str, name: str, array: Any, layout: str | None = None) -> None:
    """Raises if an axis of `array` has no elements."""
    for axis, size in enumerate(array.shape):
        if size == 0:
            label = layout[axis] if layout else str(axis)
            raise ValueError(f"{op}: axis {label} of {name} is empty; got shape {tuple(array.shape)}.")


def concrete(array: Any) -> np.ndarray | None:
    """The values of an array, or None while it is being traced and has none."""
    try:
        return np.asarray(array)
    except jax.errors.TracerArrayConversionError:
        return None


def check_finite(op: str, name: str, array: Any) -> None:
    """Raises if a concrete `array` holds NaN or infinity; traced values cannot be seen and pass."""
    try:
        if bool(jnp.isfinite(array).all()):  # reduced where the array lives: one number comes back
            return
    except jax.errors.TracerBoolConversionError:
        return
    values = np.asarray(array)
    bad = ~np.isfinite(values.astype(np.complex128 if np.iscomplexobj(values) else np.float64))
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{op}: {name} must be finite; {int(bad.sum())} of {bad.size} values are not, the first at index {where}."
        )


def check_field(op: str, x: Any, name: str = "x") -> tuple[jax.Array, int]:
    """A channel-last field and its number of spatial axes (1, 2 or 3)."""
    x = as_inexact(op, name, x)
    ndim = x.ndim - 2
    if ndim not in LAYOUTS:
        raise ValueError(
            f"{op}: {name} must be NHC, NHWC or NDHWC; got shape {x.shape}. "
            "Add a batch and a channel axis where they lack."
        )
    check_not_empty(op, name, x, LAYOUTS[ndim][0])
    return x, ndim


def check_kernel(op: str, kernel: Any, name: str = "kernel") -> tuple[jax.Array, int]:
    """A kernel and its number of spatial axes (1, 2 or 3)."""
    kernel = as_inexact(op, name, kernel)
    ndim = kernel.ndim - 2
    if ndim not in LAYOUTS:
        raise ValueError(f"{op}: {name} must be HIO, HWIO or DHWIO; got shape {kernel.shape}.")
    check_not_empty(op, name, kernel, LAYOUTS[ndim][1])
    return kernel, ndim


def check_image_and_kernel(
    op: str, x: Any, kernel: Any, *, groups: int = 1, transposed: bool = False
) -> tuple[jax.Array, jax.Array, int]:
    """A field, a kernel that fits it, and their number of spatial axes."""
    kernel, ndim = check_kernel(op, kernel)
    x = as_inexact(op, "x", x)
    image, weights = LAYOUTS[ndim]
    if x.ndim != kernel.ndim:
        raise ValueError(f"{op}: a {weights} kernel needs an {image} x; got shape {x.shape}.")
    check_not_empty(op, "x", x, image)
    if x.dtype != kernel.dtype:
        raise TypeError(f"{op}: x is {x.dtype} but kernel is {kernel.dtype}; cast one of them.")
    groups = as_int(op, "groups", groups, minimum=1)
    channels, expected = x.shape[-1], kernel.shape[-2] * (1 if transposed else groups)
    if channels != expected:
        times = f" times groups={groups}" if groups > 1 and not transposed else ""
        raise ValueError(
            f"{op}: axis C of x is {channels} but axis I of kernel is {kernel.shape[-2]}{times}; "
            f"got shapes {x.shape} and {kernel.shape}."
        )
    grouped, label = (kernel.shape[-2], "I") if transposed else (kernel.shape[-1], "O")
    if grouped % groups:
        raise ValueError(f"{op}: axis {label} of kernel must be a multiple of groups={groups}; got {grouped}.")
    return x, kernel, ndim


def as_int(op: str, name: str, value: Any, *, minimum: int | None = None) -> int:
    """`value` as a Python int of at least `minimum`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an int; got {value!r}.") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{op}: {name} must be at least {minimum}; got {number}.")
    return number


def per_axis(op: str, name: str, value: Any, ndim: int, *, minimum: int = 1) -> tuple[int, ...]:
    """An int, or one int per spatial axis, as a tuple of `ndim` ints of at least `minimum`."""
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)) or np.ndim(value) == 0:
        return (as_int(op, name, value, minimum=minimum),) * ndim
    if len(value) != ndim:
        raise ValueError(f"{op}: {name} must be an int, or one int for each of the axes {AXES[ndim]}; got {value!r}.")
    return tuple(as_int(op, f"{name} on axis {axis}", v, minimum=minimum) for axis, v in zip(AXES[ndim], value))


def pad_pairs(op: str, padding: Any, ndim: int) -> str | Pads:
    """`padding` as "SAME", "VALID" or one (low, high) pair per spatial axis."""
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ValueError(
                f"{op}: padding must be 'SAME', 'VALID', an int or one (low, high) pair per axis; got {padding!r}."
            )
        return padding.upper()
    if not isinstance(padding, (Sequence, np.ndarray)):
        both = as_int(op, "padding", padding, minimum=0)
        return ((both, both),) * ndim
    pairs = list(padding)
    if len(pairs) != ndim or not all(_is_pair(p) for p in pairs):
        raise ValueError(
            f"{op}: padding must be 'SAME', 'VALID', an int or {ndim} (low, high) pairs, one for each "
            f"of the axes {AXES[ndim]}; got {padding!r}."
        )
    return tuple(_pad_pair(op, axis, pair) for axis, pair in zip(AXES[ndim], pairs))


def _is_pair(value: Any) -> bool:
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes)) and len(value) == 2


def _pad_pair(op: str, axis: str, pair: Any) -> tuple[int, int]:
    low, high = (as_int(op, f"padding on axis {axis}", p, minimum=0) for p in pair)
    return low, high


def one_of(op: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """`value` if it is one of `choices`; otherwise an error that offers the nearest."""
    if value not in choices:
        raise ValueError(f"{op}: {name} must be one of {', '.join(choices)}; got {value!r}{suggest(value, choices)}")
    return value


def check_same_rank(op: str, **values: Any) -> int | None:
    """The length shared by all values that are sequences, or None if all are scalars."""
    lengths = {name: len(v) for name, v in values.items() if isinstance(v, (tuple, list, np.ndarray))}
    if not lengths:
        return None
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{op}: arguments disagree on the number of spatial axes; got {lengths}.")
    ndim = next(iter(lengths.values()))
    if ndim not in LAYOUTS:
        raise ValueError(f"{op}: there must be 1, 2 or 3 spatial axes; got {ndim}.")
    return ndim

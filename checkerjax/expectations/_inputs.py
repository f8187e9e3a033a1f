"""What comes into a stack: white, flat or stationary fields, on a torus as small as shows all that there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import AXES, as_int, concrete, one_of, per_axis
from checkerjax.expectations._lags import Lags, Sizes
from checkerjax.expectations._parts import Field, Part
from checkerjax.expectations._program import Program, build_program, reach
from checkerjax.expectations._variances import stack_weights
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import stack_periods, stack_size
from checkerjax.stacks._layers import Stack, StackLike
from checkerjax.stacks._plan import Width
from checkerjax.stacks._text import as_stack

INPUTS = ("white", "flat")


class Arguments(NamedTuple):
    """What `covariance` and its relatives are called with."""

    stack: StackLike
    size: int | Sequence[int] | None
    ndim: int
    channels: int
    width: Width
    initialiser: str
    gains: Sequence[Any] | None


class Setting(NamedTuple):
    """A stack with all that is decided before its layers are run."""

    program: Program
    field: Field  # what comes in, on the small torus
    torus: Sizes  # the small torus of the first field: of the input, or of what a dense layer makes
    small: Sizes  # as `torus`, but large enough for what comes back to a flat input
    whole: Sizes  # the full torus of that field
    wanted: Sizes  # its shifts that shift the output by `periods`
    size: Sizes  # the full torus of the output
    periods: Sizes  # of the output
    flat: bool  # the field repeats beyond the small torus; otherwise pixels there have no input in common


def prepare(op: str, arguments: Arguments, input: Any, *, reaches: int = 1) -> Setting:
    """Checks the arguments, and chooses the torus: pixels more than `reaches` receptive fields apart are left out."""
    stack, ndim = as_stack(op, arguments.stack), _rank(op, arguments.ndim)
    size = () if arguments.size is None or arguments.size == () else per_axis(op, "size", arguments.size, ndim)
    after = stack_size(f"{op}: ", stack, size)
    if len(after) != ndim:
        raise ValueError(f"{op}: the output must have ndim={ndim} axes; it has the size {after}. Set ndim.")
    weights = stack_weights(
        op,
        stack,
        channels=arguments.channels,
        ndim=ndim,
        width=arguments.width,
        initialiser=arguments.initialiser,
        gains=arguments.gains,
    )
    first = _first_of_field(op, stack, size)
    _, periods = stack_periods(op, stack, ndim)
    program = build_program(f"{op}: ", stack, size, weights, arguments.initialiser)
    field_size = size or stack_size(f"{op}: ", stack[:first], size)
    wanted, made = stack_periods(op, stack[first:], ndim)
    whole = tuple(-(-n // m) * m for n, m in zip(field_size, wanted))
    kind, dtype = _kind(op, input), _traced_dtype([*(() if arguments.gains is None else arguments.gains), input])
    small = whole
    if kind != "given" or not size:
        small = tuple(map(min, whole, _free_torus(program[first:], wanted, made, reaches)))
    torus = (1,) * ndim if kind == "flat" and size else small
    field = _field(op, kind, input, torus if size else (), whole, arguments.channels, dtype)
    full = tuple(n // m * p for n, m, p in zip(whole, wanted, made))
    return Setting(program, field, torus, small, whole, wanted, full, periods, kind == "flat" and bool(size))


def _rank(op: str, ndim: Any) -> int:
    ndim = as_int(op, "ndim", ndim, minimum=1)
    if ndim not in AXES:
        raise ValueError(f"{op}: ndim must be 1, 2 or 3; got {ndim}.")
    return ndim


def _first_of_field(op: str, stack: Stack, size: Sizes) -> int:
    """The index of the first layer that has a field to work on."""
    if size:
        return 0
    for i, layer in enumerate(stack):
        if isinstance(layer, layers.Dense):
            return i + 1
        if isinstance(layer, (layers.Residual, layers.Parallel)):
            break
    raise ValueError(f"{op}: a latent needs a dense layer that is not part of a branch. Give a size, or put one first.")


def _free_torus(program: Program, wanted: Sizes, made: Sizes, reaches: int) -> Sizes:
    """A torus on which no pixel meets another twice, for one of white noise: lags beyond it share no input."""
    sizes = []
    for axis, (m, p) in enumerate(zip(wanted, made)):
        low, high = reach(program, axis, 0, p - 1)
        sizes.append(m * (2 * reaches * -(-(high - low) // m) + 3))
    return tuple(sizes)


def _kind(op: str, input: Any) -> str:
    return one_of(op, "input", input, INPUTS) if isinstance(input, str) else "given"


def _traced_dtype(values: list[Any]) -> Any:
    """The dtype of the JAX arrays among the values; None if there is none."""
    found = [value.dtype for value in values if isinstance(value, jax.Array)]
    return jnp.result_type(*found) if found else None


def _field(op: str, kind: str, input: Any, torus: Sizes, whole: Sizes, channels: int, dtype: Any) -> Field:
    sizes = torus or (1,)  # a latent: one sample
    if kind == "given":
        own = _given(op, input, whole if torus else ())
    else:
        own = np.ones(sizes) if kind == "flat" else _impulse(sizes)
    nothing = np.zeros((1,) * len(sizes))
    if dtype is not None:
        own, nothing = jnp.asarray(own, dtype), jnp.asarray(nothing, dtype)
    ones = (1,) * len(sizes)
    return (Part(channels, Lags(own, ones, sizes), Lags(nothing, ones, ones), nothing, True),)


def _impulse(sizes: Sizes) -> np.ndarray:
    values = np.zeros(sizes)
    values[(0,) * len(sizes)] = 1.0
    return values


def _given(op: str, input: Any, size: Sizes) -> Any:
    """A checked autocovariance."""
    if not size:
        raise ValueError(f"{op}: a latent has no autocovariance; input must be 'white'. Got {type(input).__name__}.")
    array = input if isinstance(input, jax.Array) else np.asarray(input, np.float64)
    if array.shape != size:
        raise ValueError(
            f"{op}: input must be 'white', 'flat' or an autocovariance of shape {size}, the size rounded up to a "
            f"multiple of the stack's input period; got shape {array.shape}."
        )
    known = concrete(array)
    if known is not None:
        power = np.fft.fftn(known.astype(np.float64))
        scale = float(np.abs(power).max(initial=0.0))
        if not math.isfinite(scale) or (np.abs(power.imag) > 1e-5 * scale).any() or (power.real < -1e-5 * scale).any():
            raise ValueError(
                f"{op}: input is no autocovariance; it must be finite, the same at t and -t, and its DFT nowhere "
                "negative. Lag 0 comes first."
            )
    return array

"""Sweeps of any function: a Flax module, or `init` and `apply` of one's own."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from checkerjax._checks import PerAxis, as_int, one_of, per_axis
from checkerjax.sweeps._config import COTANGENTS
from checkerjax.sweeps._statistics import Draws, Model
from checkerjax.sweeps._sweep import run_sweep

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of the user's as what a sweep measures; the fields are those of `Config`."""

    name: str
    init: Callable[[jax.Array, jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]
    size: tuple[int, ...]
    channels: int
    direction: str
    input: str
    cotangent: str
    batch: int
    periods: tuple[int, ...]
    margin: int
    output_shape: tuple[int, ...]
    code: str = ""  # a digest of the traced program, for the store
    weight_count: int = 0

    @property
    def images(self) -> int:
        return self.batch

    @property
    def period(self) -> int:
        return self.periods[-1]

    @property
    def whole_lines(self) -> bool:
        return False

    @property
    def input_size(self) -> tuple[int, ...]:
        return self.size

    @property
    def input_count(self) -> int:
        return self.batch * self.channels * math.prod(self.size)

    @property
    def field_size(self) -> tuple[int, ...]:
        return self.output_shape[1:-1] if self.direction == "forward" else self.size

    @property
    def field_channels(self) -> int:
        return self.output_shape[-1] if self.direction == "forward" else self.channels

    def model(self) -> Model:
        example = jnp.zeros((self.batch, *self.size, self.channels))

        def params(draws: Draws) -> Any:
            return self.init(draws.key, example)

        def open_kernel(params: Any) -> Any:
            raise NotImplementedError

        return Model(params, self.apply, lambda field: field, open_kernel)


def sweep_function(
    init: Callable[..., Any],
    apply: Callable[..., Any],
    *,
    size: PerAxis,
    channels: int = 3,
    periods: int | tuple[int, ...] = (2,),
    margin: int = 0,
    direction: str = "forward",
    input: str | None = None,
    cotangent: str = "probe",
    batch: int = 1,
    name: str = "function",
    seeds: int | Sequence[int] = 100,
    base_seed: int = 0,
    store: str | os.PathLike[str] | None = None,
    detail: str = "fields",
    shard: tuple[int, int] = (0, 1),
    devices: Sequence[Any] | None = None,
    chunk: int | None = None,
    draws: str = "auto",
    report: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> xarray.Dataset:
    """`sweep` of any function with random parameters: lines and phase powers of its output, or of its input gradient.

    With nnx, `init` makes the module and gives its state, and `apply` puts both together again: `init = lambda key, x:
    nnx.state(Model(rngs=nnx.Rngs(key)))` and `apply = lambda state, x: nnx.merge(graph, state)(x)`, where `graph =
    nnx.graphdef(Model(rngs=nnx.Rngs(0)))`.

    Args:
      init: `init(key, x)` gives parameters from a key and an example of the input; a linen module's `init` is one.
      apply: `apply(params, x)` gives the output `[batch, y, x, C]`; a linen module's `apply` is one.
      size: of the input, y and x in samples; an int for both.
      channels: of the input.
      periods: of the line statistics in samples, each dividing the last, which is also that of the phase powers.
      margin: samples left out at every border, a multiple of the last period: as far as padding reaches.
      direction: "forward" or "gradient", as in `Config`.
      input: "probe" (the default forward), "constant", "white" (the default for gradients) or "pink".
      cotangent: of gradients, as in `Config`.
      batch: inputs that go through together.
      name: how tables call it.
      seeds: as in `sweep`, and so are the others.
      base_seed: separates whole sweeps from each other.
      store: where chunks are written; another function there is refused, told apart by its traced program.
      detail: "fields" or "sums".
      shard: (i, n).
      devices: of this process.
      chunk: seeds of one call.
      draws: of the inputs' normals; parameters are drawn by `init`, inside.
      report: called after every chunk.
      stop: asked after every chunk.

    Returns:
      The dataset of `sweep`, with one configuration.

    Raises:
      ValueError: for an output that is no field with two spatial axes, or a field without a whole period in its margin.
      TypeError: if `init` or `apply` cannot be called.

    Example:
      >>> import flax.linen as nn
      >>> up = nn.ConvTranspose(3, (3, 3), strides=(2, 2))
      >>> found = sweep_function(up.init, up.apply, size=8, channels=4, seeds=3)
      >>> bool(found.lattice_share.min() > 0.2)
      True
    """
    op = "sweep_function"
    for label, value in (("init", init), ("apply", apply)):
        if not callable(value):
            raise TypeError(f"{op}: {label} must be a function; got {type(value).__name__}.")
    one_of(op, "direction", direction, ("forward", "gradient"))
    inputs = ("probe", "constant", "white", "pink") if direction == "forward" else ("constant", "white", "pink")
    input = one_of(op, "input", input or ("probe" if direction == "forward" else "white"), inputs)
    one_of(op, "cotangent", cotangent, COTANGENTS)
    sizes = per_axis(op, "size", size, 2)
    channels, batch = (as_int(op, n, v, minimum=1) for n, v in (("channels", channels), ("batch", batch)))
    lengths = (periods,) if isinstance(periods, int) else tuple(periods)
    example = jax.ShapeDtypeStruct((batch, *sizes, channels), jnp.float32)
    output = _output(op, init, apply, example)
    code = _digest(init, apply, example)
    functions = functools.partial(init), functools.partial(apply)  # hashed by identity, whatever they belong to
    subject = Function(
        name, *functions, sizes, channels, direction, input, cotangent, batch, lengths, margin, output, code
    )
    _check_field(op, subject)
    return run_sweep(
        (subject,), seeds=seeds, base_seed=base_seed, store=store, detail=detail, shard=shard, devices=devices,
        chunk=chunk, draws=draws, report=report, stop=stop,
    )  # fmt: skip


def _output(op: str, init: Any, apply: Any, example: Any) -> tuple[int, ...]:
    out = jax.eval_shape(lambda key, x: apply(init(key, x), x), jax.random.key(0), example)
    shape = getattr(out, "shape", None)
    if shape is None or len(shape) != 4 or shape[0] != example.shape[0]:
        got = type(out).__name__ if shape is None else f"shape {shape}"
        raise ValueError(f"{op}: apply must give [{example.shape[0]}, y, x, C]; got {got}.")
    return tuple(shape)


def _digest(init: Any, apply: Any, example: Any) -> str:
    """Tells programs apart: a store must not be continued with another function."""
    traced = jax.make_jaxpr(lambda key, x: apply(init(key, x), x))(jax.random.key(0), example)
    return hashlib.sha256(str(traced).encode()).hexdigest()[:16]


def _check_field(op: str, subject: Function) -> None:
    for period in subject.periods:
        as_int(op, "each of periods", period, minimum=2)
    as_int(op, "margin", subject.margin, minimum=0)
    if any(subject.period % period for period in subject.periods):
        raise ValueError(f"{op}: periods must each divide the last; got {subject.periods}.")
    if subject.margin % subject.period:
        raise ValueError(f"{op}: margin must be a multiple of the period {subject.period}; got {subject.margin}.")
    if any(n % subject.period or n - 2 * subject.margin < subject.period for n in subject.field_size):
        raise ValueError(
            f"{op}: the measured field {subject.field_size} must be a multiple of the period {subject.period} and hold "
            f"one within its margin of {subject.margin}; change size, periods or margin."
        )

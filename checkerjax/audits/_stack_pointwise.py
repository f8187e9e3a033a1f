"""Which pointwise layer a piece of a program is: told by what it does to numbers, not by how it is written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special

from checkerjax.audits._flatten import Program, Step, Value
from checkerjax.audits._numpy_steps import can_run, run_numpy
from checkerjax.audits._run import evaluate
from checkerjax.audits._walk_state import DATA, PARAMETER, is_array
from checkerjax.ops._downsample import L2_EPSILON
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import Layer

SAME = 1e-6  # relative: what float32 constants leave of a float64 run
SPREADS = (1.0, 30.0, 0.01, 1e4)  # of test values: what only clips or saturates is told from what does not


def short(number: float) -> float:
    """A number as float32 holds it, with the fewest digits that say which."""
    return float(str(np.float32(number)))


class Pieces:
    """Pieces of a program, from a value that carries all of the data to a later one, run on test values."""

    def __init__(self, program: Program, classes: dict[Value, str], inputs: Sequence[Any]) -> None:
        self.program, self.classes = program, classes
        self.makers = {v: step for step in program.steps for v in step.outputs}
        self.fixed: dict[Value, Any] = dict(program.constants) | dict(zip(program.inputs, inputs))

    def steps(self, start: Value, end: Value) -> list[Step]:
        """What makes one value of the data from another, in order."""
        wanted, found, waiting = {start}, set(), [end]
        while waiting:
            value = waiting.pop()
            if value in wanted or self.classes[value] != DATA:
                continue
            wanted.add(value)
            found.add(self.makers[value])
            waiting += self.makers[value].inputs
        return [step for step in self.program.steps if step in found]

    def run(self, steps: Sequence[Step], start: Value, end: Value, x: np.ndarray, shift: float = 0.0) -> np.ndarray:
        """The later value, in float64; `shift` is added to what parameters bring in."""
        values = {start: x}
        for step in steps:
            operands = [values[v] if v in values else self._fixed(v, shift) for v in step.inputs]
            if can_run(step):
                values[step.outputs[0]] = run_numpy(step, operands, wide=True)
            else:
                narrow = [np.asarray(a, self.program.avals[v].dtype) for a, v in zip(operands, step.inputs)]
                made = [np.asarray(o) for o in evaluate(step.equation, narrow)]
                values.update(zip(step.outputs, (o if np.iscomplexobj(o) else np.asarray(o, np.float64) for o in made)))
        return values[end]

    def _fixed(self, value: Value, shift: float = 0.0) -> Any:
        """A value that does not depend on the data."""
        if value not in self.fixed:
            step = self.makers[value]
            operands = [self._fixed(v) for v in step.inputs]
            outputs = [run_numpy(step, operands)] if can_run(step) else evaluate(step.equation, operands)
            self.fixed |= dict(zip(step.outputs, outputs))
        if not is_array(self.fixed[value]):  # a key
            return self.fixed[value]
        array = np.asarray(self.fixed[value])
        if not np.issubdtype(array.dtype, np.floating):
            return array
        return array.astype(np.float64) + (shift if self.classes[value] == PARAMETER else 0.0)

    def learns(self, steps: Sequence[Step]) -> bool:
        """Whether parameters come in."""
        return any(self.classes[v] == PARAMETER for step in steps for v in step.inputs)


class Told:
    """What a piece is: a layer, "square", "root", or None for nothing at all; of a bias also its numbers."""

    def __init__(self, layer: Layer | str | None, values: np.ndarray | None = None) -> None:
        self.layer, self.values = layer, values


class Axes:
    """Where batch and channels of a field are."""

    def __init__(self, ndim: int, batch: Sequence[int], channel: int | None) -> None:
        self.ndim, self.batch, self.channel = ndim, tuple(batch), channel

    @property
    def pooled(self) -> tuple[int, ...]:
        """All but the channels."""
        return tuple(a for a in range(self.ndim) if a != self.channel)


def identify(run: Callable[..., np.ndarray], shape: tuple[int, ...], axes: Axes, *, learns: bool) -> Told | None:
    """The layer that a function of a field is, or None.

    Args:
      run: the function, on float64 of the given shape; with `shift` it adds that to its parameters.
      shape: of the field.
      axes: which are batch and channel.
      learns: whether it has parameters: what is added is a bias only then.
    """
    x = test_values(shape)
    with np.errstate(all="ignore"):
        y = run(x)
        if y.shape != shape:
            return None
        if _same(y, x):
            return _zero_bias(x, run(x, shift=1.0), axes) if learns else Told(None)
        for layer, form in _PLAIN:
            if _same(y, form(x)):
                return Told(layer)
        return _leaky(x, y) or _root(x, y) or _bias(x, y, axes, learns) or _batch_norm(run, x, y, axes)


def scaling(run: Callable[..., np.ndarray], shape: tuple[int, ...]) -> float | None:
    """The positive number, other than 1, that a function multiplies by, if that is all."""
    x = test_values(shape)
    with np.errstate(all="ignore"):
        y = run(x)
        if y.shape != shape:
            return None
        most = np.abs(x).argmax()
        factor = float(y.flat[most] / x.flat[most])
        return factor if factor > 0 and _same(y, factor * x) and not _same(y, x) else None


@functools.lru_cache(64)
def test_values(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of both signs and of several sizes."""
    rng = np.random.default_rng(2016)
    count = int(np.prod(shape))
    x = rng.normal(size=count) * np.resize(SPREADS, count)
    x[: count // 50 + (count > 8)] = 0.0
    x = rng.permutation(x).reshape(shape)
    x.setflags(write=False)
    return x


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.abs(a - b) <= SAME * np.abs(b)).all())


_PLAIN: tuple[tuple[Layer | str, Callable[[np.ndarray], np.ndarray]], ...] = (
    (layers.Relu(), lambda x: np.maximum(x, 0.0)),
    (layers.Tanh(), np.tanh),
    (layers.Erf(), scipy.special.erf),
    ("square", np.square),
)


def _leaky(x: np.ndarray, y: np.ndarray) -> Told | None:
    below = x < 0
    if not below.any() or not _same(y[~below], x[~below]):
        return None
    slope = float(np.median(y[below] / x[below]))
    return Told(layers.LeakyRelu(short(slope))) if _same(y, np.where(below, slope * x, x)) else None


def _root(x: np.ndarray, y: np.ndarray) -> Told | None:
    above = x >= 0
    return Told("root") if _same(y[above], np.sqrt(x[above] + L2_EPSILON)) else None


def _bias(x: np.ndarray, y: np.ndarray, axes: Axes, learns: bool) -> Told | None:
    if not learns or axes.channel is None:
        return None
    # At the largest test values float64 keeps some 1e-12 of what is added.
    added = np.moveaxis(y - x, axes.channel, -1).reshape(-1, x.shape[axes.channel])
    values = np.median(added, axis=0)
    if not (np.abs(added - values) <= SAME * np.abs(values) + 1e-10).all():
        return None
    values = np.asarray([short(v) for v in values])
    return Told(layers.Bias(short(np.sqrt(np.mean(values**2)))), values)


def _zero_bias(x: np.ndarray, y: np.ndarray, axes: Axes) -> Told:
    """Nothing at all, or a bias of zeros: with other parameters, y, that shows."""
    bias = _bias(x, y, axes, True)
    return Told(None) if bias is None else Told(layers.Bias(0.0), np.zeros_like(bias.values))


def _batch_norm(run: Callable[..., np.ndarray], x: np.ndarray, y: np.ndarray, axes: Axes) -> Told | None:
    """Statistics over batch and space, or over the batch; epsilon shows where the variance is small."""
    x = (x + np.cos(np.arange(x.size)).reshape(x.shape)) / SPREADS[-1]  # no sample 0, lest a variance be 0
    for per, pooled in (("channel", axes.pooled), ("unit", axes.batch)):
        found = [_moments(run, x * size, pooled) for size in (1.0, 1e-3)]
        if None in found:
            continue
        (v1, r1), (v2, r2) = found  # pyright: ignore[reportGeneralTypeIssues, reportAssignmentType]
        most, least = np.argmax(v1), np.argmin(v2)
        variance = float((v1.flat[most] - v2.flat[most]) / (r1.flat[most] - r2.flat[most]))  # that of the output
        epsilon = float(r2.flat[least] * variance - v2.flat[least])
        epsilon = 0.0 if abs(epsilon) < 1e-9 * v2.flat[least] else epsilon
        if not (variance > 0 and 0 <= epsilon < np.inf):
            continue
        layer = layers.BatchNorm(short(np.sqrt(variance)), per, short(epsilon))
        if _same(r1, (v1 + layer.epsilon) / layer.std**2) and _same(r2, (v2 + layer.epsilon) / layer.std**2):
            return Told(layer)
    return None


def _moments(
    run: Callable[..., np.ndarray], x: np.ndarray, pooled: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Variances and the squares of what centred values are divided by; None where it is no such division."""
    centred = x - x.mean(pooled, keepdims=True)
    y = run(x)
    weight = (centred * centred).sum(pooled, keepdims=True)
    gain = (centred * y).sum(pooled, keepdims=True) / weight
    if not (np.abs(y - gain * centred) <= SAME * np.abs(gain) * np.sqrt(weight)).all() or (gain <= 0).any():
        return None
    return weight / int(np.prod([x.shape[a] for a in pooled])), 1 / gain**2

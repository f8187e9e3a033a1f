"""Changes to single steps of a program that keep all shapes: what advice asks for, done in the interpreter.

An edit names the equation as it is written, so one edit reaches every turn of a loop that was written out. Filters
are boxes of the stride: a box of s has a zero at every multiple of 1 / s but 0, so what it filters has no lines there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax.audits._flatten import Program, Step, Value
from checkerjax.audits._graph import Graph, Node
from checkerjax.audits._run import evaluate, run, run_step

Sizes = Mapping[int, int]  # of boxes, by the axis of the array


@dataclasses.dataclass(frozen=True, eq=False)
class Edit:
    """A change of one operand, of one output, or of the whole of a step."""

    step: Step
    operand: int | None = None
    output: int | None = None
    array: Callable[[Any], Any] | None = None  # of that operand or output
    whole: Callable[[Step, list[Any]], list[Any]] | None = None


def changed(program: Program, edits: Sequence[Edit]) -> Callable[..., list[Any]]:
    """The program with its edits, as a function of its inputs."""
    by_step: dict[tuple[int, ...], list[Edit]] = {}
    for edit in edits:
        by_step.setdefault(written(edit.step), []).append(edit)

    def hook(step: Step, operands: list[Any]) -> list[Any]:
        mine = by_step.get(written(step), ())
        return _edited(step, operands, mine) if mine else run_step(step, operands)

    return lambda *inputs: run(program, inputs, hook=hook)


def written(step: Step) -> tuple[int, ...]:
    """The equation as it is written, which the turns of a scan share."""
    return tuple(id(e) for e in (*step.around, step.equation))


def _edited(step: Step, operands: list[Any], edits: Sequence[Edit]) -> list[Any]:
    whole = run_step
    for edit in edits:
        if edit.operand is not None and edit.array is not None:
            operands = [edit.array(x) if i == edit.operand else x for i, x in enumerate(operands)]
        whole = edit.whole or whole
    outputs = whole(step, operands)
    for edit in edits:
        if edit.output is not None and edit.array is not None:
            outputs = [edit.array(y) if i == edit.output else y for i, y in enumerate(outputs)]
    return outputs


class Places:
    """Where the fields of a graph are made and read in its program."""

    def __init__(self, program: Program, graph: Graph) -> None:
        self.graph = graph
        self._makers = {v: (step, i) for step in program.steps for i, v in enumerate(step.outputs)}

    def after(self, node: int, array: Callable[[Any], Any]) -> tuple[Edit, ...]:
        """Changes the field of a node for all that read it."""
        value = self.graph.nodes[node].value
        if value is None or value not in self._makers:
            return ()
        step, output = self._makers[value]
        return (Edit(step, output=output, array=array),)

    def before(self, nodes: Sequence[int], array: Callable[[Any], Any]) -> tuple[Edit, ...]:
        """Changes the field that a group of nodes reads, for this group alone."""
        first, last = self.graph.nodes[nodes[0]], self.graph.nodes[nodes[-1]]
        value = self.graph.nodes[first.inputs[0]].value
        if value is None:
            return ()
        found: dict[tuple[tuple[int, ...], int], Edit] = {}
        waiting, seen = [self._end(last, found, value, array)], set()
        while waiting:
            at = waiting.pop()
            if at is None or at in seen or at not in self._makers:
                continue
            seen.add(at)
            step, _ = self._makers[at]
            for i, v in enumerate(step.inputs):
                if v == value:
                    found[written(step), i] = Edit(step, operand=i, array=array)
                else:
                    waiting.append(v)
        return tuple(found.values())

    def _end(self, last: Node, found: dict[Any, Edit], value: Value, array: Callable[[Any], Any]) -> Value | None:
        """Where to go back from: of a convolution only the operand with the data counts."""
        if last.kind != "conv" or last.step is None:
            return last.value
        operand = next((i for i, v in enumerate(last.step.inputs) if last.kernel is None or v != last.kernel.value), 0)
        if last.step.inputs[operand] == value:
            found[written(last.step), operand] = Edit(last.step, operand=operand, array=array)
            return None
        return last.step.inputs[operand]


def sizes_of(node: Node, scale: Sequence[int]) -> dict[int, int]:
    """The boxes for a node's field, from those of its spatial axes."""
    return {d: scale[r] for d, r in enumerate(node.roles) if isinstance(r, int) and scale[r] > 1}


def box(x: jax.Array, sizes: Sizes, *, ahead: bool = False, mean: bool = True) -> jax.Array:
    """Means, or sums, of each sample and those before it (with `ahead` after it); zeros stand beyond the ends."""
    window = [sizes.get(d, 1) for d in range(x.ndim)]
    padding = [(0, w - 1) if ahead else (w - 1, 0) for w in window]
    total = lax.reduce_window(x, np.zeros((), x.dtype), lax.add, window, (1,) * x.ndim, padding)
    return total / jnp.asarray(math.prod(window), x.dtype) if mean else total


def tied(y: jax.Array, channels: np.ndarray, axis: int) -> jax.Array:
    """All channels that become phases of one channel equal to its first phase; `channels` is `[*phases, C]`."""
    flat = channels.reshape(-1, channels.shape[-1])
    first = np.arange(y.shape[axis])
    first[flat] = flat[0]
    return jnp.take(y, first, axis)


def resized_convolution(step: Step, operands: list[Any]) -> list[Any]:
    """A convolution over a field with zeros stuffed in, as one over the field resized to the nearest instead."""
    params, numbers = step.params, step.params["dimension_numbers"]
    x, kernel = operands
    padding = []
    for d, s, (low, high) in zip(numbers.lhs_spec[2:], params["lhs_dilation"], params["padding"]):
        x = jnp.repeat(x, s, d)
        padding.append((low, high - (s - 1)))  # the stuffed field ends with a sample, the resized one s - 1 later
    plain = {"lhs_dilation": (1,) * len(padding), "padding": tuple(padding)}
    return evaluate(step.equation, [x, kernel], {**params, **plain})


def resized_scatter(step: Step, operands: list[Any]) -> list[Any]:
    """The same of the package's own transposed convolution, which stamps its kernel unflipped."""
    grid = step.params["grid"]
    x, kernel = operands
    padding = []
    for axis, (n, k, size, s, d, low) in enumerate(zip(*grid)):
        x = jnp.repeat(x, s, axis + 1)
        before = d * (k - 1) - low
        padding.append((before, size + d * (k - 1) - s * n - before))
    letters = "DHW"[-grid.ndim :]
    out = lax.conv_general_dilated(
        x, jnp.flip(kernel, tuple(range(grid.ndim))), (1,) * grid.ndim, padding, rhs_dilation=grid.dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"), precision=step.params["precision"],
    )  # fmt: skip
    return [out.astype(jax.typeof(x).dtype)]


def blurred_max_pool(step: Step, operands: list[Any]) -> list[Any]:
    """The largest at every sample, the mean of a box of the stride, then every s-th of these."""
    params = step.params
    strides = tuple(params["window_strides"])
    (largest,) = evaluate(step.equation, operands, {**params, "window_strides": (1,) * len(strides)})
    smooth = box(largest, dict(enumerate(strides)), ahead=True)
    return [lax.slice(smooth, (0,) * len(strides), smooth.shape, strides)]


def mean_of_blocks(step: Step, operands: list[Any]) -> list[Any]:
    """The mean where the largest was taken."""
    return [jnp.mean(operands[0], tuple(step.params["axes"]))]

"""Running a program, whole or in part, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend.core import JaxprEqn

from checkerjax.audits._flatten import Program, Step, Value

Hook = Callable[[Step, list[Any]], list[Any]]


def evaluate(equation: JaxprEqn, operands: Sequence[Any], params: dict[str, Any] | None = None) -> list[Any]:
    """The outputs of one equation for other operands, or other parameters."""
    primitive = equation.primitive
    given = primitive.get_bind_params(equation.params if params is None else params)
    functions, bound = ((), given) if isinstance(given, dict) else given  # a pair before jax 0.10
    out = primitive.bind(*functions, *operands, **bound)
    return list(out) if primitive.multiple_results else [out]


def run_step(step: Step, operands: list[Any]) -> list[Any]:
    """A step as it is."""
    return evaluate(step.equation, operands)


def run(
    program: Program,
    inputs: Sequence[Any],
    *,
    wanted: Sequence[Value] | None = None,
    hook: Hook = run_step,
) -> list[Any]:
    """The program's outputs, or other values of it, for inputs; `hook` runs each step.

    Traceable: under `jit` the whole program compiles as one.
    """
    values = {**program.constants, **dict(zip(program.inputs, inputs))}
    last: dict[Value, int] = {}
    for i, step in enumerate(program.steps):
        last.update(dict.fromkeys(step.inputs, i))
    kept = set(program.outputs if wanted is None else wanted)
    for i, step in enumerate(program.steps):
        values.update(zip(step.outputs, hook(step, [values[v] for v in step.inputs])))
        for v in step.inputs:  # so that large fields are let go when they are done with
            if last[v] == i and v not in kept:
                values.pop(v, None)
    return [values[v] for v in (program.outputs if wanted is None else wanted)]

"""A jaxpr and all that are nested in it as one list of steps, so that whatever reads a program reads one list.

Calls, checkpoints, custom derivatives and scans are written out. What cannot be (a `while`, a `cond` whose branch
depends on values) stays one step to run, with its bodies beside it to be read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

MOST_STEPS = 100_000  # written out; a scan that would make more stays one step

Value = int


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One operation on values, each a number into `Program.avals`."""

    equation: JaxprEqn  # primitive and parameters; its own variables belong to the jaxpr it comes from
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    around: tuple[JaxprEqn, ...]  # the equations that it was nested in, outermost first
    bodies: tuple[Body, ...] = ()  # what the step may run, where it could not be written out

    @property
    def name(self) -> str:
        return self.equation.primitive.name

    @property
    def params(self) -> dict[str, Any]:
        return self.equation.params


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """Steps that take the values of their step and make `outputs`, which stand for the step's own."""

    steps: tuple[Step, ...]
    outputs: tuple[Value, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Steps in order, each value made before it is used."""

    steps: tuple[Step, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    constants: dict[Value, Any]  # arrays, for literals and what the function closes over
    avals: dict[Value, Any]  # shape and dtype of every value


def flatten(closed: ClosedJaxpr) -> Program:
    """The program of a closed jaxpr, without what its outputs do not depend on."""
    writer = _Writer()
    inputs = tuple(writer.new(v.aval) for v in closed.jaxpr.invars)
    constants = [writer.constant(c) for c in closed.consts]
    env = dict(zip([*closed.jaxpr.constvars, *closed.jaxpr.invars], [*constants, *inputs]))
    steps: list[Step] = []
    outputs = writer.write(closed.jaxpr, env, (), steps)
    live = alive(steps, outputs)
    used = {v for step in _all(live) for v in step.inputs} | set(outputs)
    return Program(tuple(live), inputs, outputs, {v: c for v, c in writer.constants.items() if v in used}, writer.avals)


def alive(steps: Sequence[Step], outputs: Sequence[Value]) -> list[Step]:
    """The steps that the outputs depend on, and those with effects."""
    wanted, kept = set(outputs), []
    for step in reversed(steps):
        if wanted.isdisjoint(step.outputs) and not step.equation.effects:
            continue
        wanted.update(step.inputs)
        wanted.update(v for inner in _all([b for body in step.bodies for b in body.steps]) for v in inner.inputs)
        kept.append(step)
    return kept[::-1]


def _all(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        for body in step.bodies:
            yield from _all(body.steps)


class _Writer:
    def __init__(self) -> None:
        self.avals: dict[Value, Any] = {}
        self.constants: dict[Value, Any] = {}
        self.written = 0

    def new(self, aval: Any) -> Value:
        self.avals[len(self.avals)] = aval
        return len(self.avals) - 1

    def constant(self, array: Any) -> Value:
        value = self.new(jax.typeof(array))
        self.constants[value] = array
        return value

    def write(
        self, jaxpr: Jaxpr, env: dict[Var, Value], around: tuple[JaxprEqn, ...], out: list[Step]
    ) -> tuple[Value, ...]:
        """Appends the steps of a jaxpr whose inputs are in `env`; its outputs."""

        def read(atom: Any) -> Value:
            if not isinstance(atom, Literal):
                return env[atom]
            aval: Any = atom.aval
            return self.constant(np.asarray(atom.val, aval.dtype))

        for equation in jaxpr.eqns:
            inputs = tuple(read(atom) for atom in equation.invars)
            results = self._written_out(equation, inputs, (*around, equation), out)
            if results is None:
                results = tuple(self.new(v.aval) for v in equation.outvars)
                out.append(self._step(equation, inputs, results, around))
            env.update(zip(equation.outvars, results))
        return tuple(read(atom) for atom in jaxpr.outvars)

    def _step(self, equation: JaxprEqn, inputs: Any, outputs: Any, around: tuple[JaxprEqn, ...]) -> Step:
        self.written += 1
        bodies = []
        for inner, operands in _readable(equation, inputs):
            steps: list[Step] = []
            made = self.inline(inner, operands, (*around, equation), steps)
            bodies.append(Body(tuple(alive(steps, made)), made))
        return Step(equation, tuple(inputs), tuple(outputs), around, tuple(bodies))

    def inline(
        self, inner: Any, inputs: Sequence[Value], around: tuple[JaxprEqn, ...], out: list[Step]
    ) -> tuple[Value, ...]:
        jaxpr, constants = (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, ())
        env = dict(zip(jaxpr.constvars, [self.constant(c) for c in constants]))
        return self.write(jaxpr, env | dict(zip(jaxpr.invars, inputs)), around, out)

    def _written_out(
        self, equation: JaxprEqn, inputs: tuple[Value, ...], around: tuple[JaxprEqn, ...], out: list[Step]
    ) -> tuple[Value, ...] | None:
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            return self._scan(equation, inputs, around, out)
        if name == "reduce_sum" and 0 in self.avals[inputs[0]].shape:  # the gradient of padding by no samples
            made: Any = equation.outvars[0].aval
            return (self.constant(np.zeros(made.shape, made.dtype)),)
        if name == "cond" and inputs[0] in self.constants:
            branches = params["branches"]
            chosen = int(np.clip(int(self.constants[inputs[0]]), 0, len(branches) - 1))
            return self.inline(branches[chosen], inputs[1:], around, out)
        for key in _CALLS.get(name, ()):
            if key in params:
                return self.inline(params[key], inputs, around, out)
        return None

    def _scan(
        self, equation: JaxprEqn, inputs: tuple[Value, ...], around: tuple[JaxprEqn, ...], out: list[Step]
    ) -> tuple[Value, ...] | None:
        params = equation.params
        body, length = params["jaxpr"], params["length"]
        if length == 0 or length * max(len(body.jaxpr.eqns), 1) + self.written > MOST_STEPS:
            return None
        fixed, carried = params["num_consts"], params["num_carry"]
        consts, carry, scanned = inputs[:fixed], inputs[fixed : fixed + carried], inputs[fixed + carried :]
        order = range(length)[::-1] if params["reverse"] else range(length)
        stacked: dict[int, tuple[Value, ...]] = {}
        for i in order:
            rows = [
                self._apply(lambda x, i=i: lax.index_in_dim(x, i, keepdims=False), [x], around, out) for x in scanned
            ]
            results = self.inline(body, [*consts, *carry, *rows], around, out)
            carry, stacked[i] = results[:carried], results[carried:]
        columns = zip(*(stacked[i] for i in range(length)))
        return (*carry, *(self._apply(lambda *xs: jax.numpy.stack(xs), column, around, out) for column in columns))

    def _apply(self, fn: Any, operands: Sequence[Value], around: tuple[JaxprEqn, ...], out: list[Step]) -> Value:
        """Appends the steps of a small function of our own."""
        shapes = [jax.ShapeDtypeStruct(self.avals[v].shape, self.avals[v].dtype) for v in operands]
        (result,) = self.inline(jax.make_jaxpr(fn)(*shapes), operands, around, out)
        return result


_CALLS = {
    "jit": ("jaxpr",),
    "pjit": ("jaxpr",),
    "closed_call": ("call_jaxpr", "jaxpr"),
    "core_call": ("call_jaxpr",),
    "remat": ("jaxpr",),
    "remat2": ("jaxpr",),
    "checkpoint": ("jaxpr",),
    "custom_jvp_call": ("call_jaxpr", "jaxpr"),
    "custom_vjp_call": ("call_jaxpr", "fun_jaxpr", "jaxpr"),
    "custom_vjp_call_jaxpr": ("fun_jaxpr", "call_jaxpr"),
    "custom_lin": (),
    "name": (),
}


def _readable(equation: JaxprEqn, inputs: tuple[Value, ...]) -> list[tuple[Any, tuple[Value, ...]]]:
    """The bodies of a step that is not written out, each with the values it takes."""
    params, name = equation.params, equation.primitive.name
    if name == "cond":
        return [(branch, inputs[1:]) for branch in params["branches"]]
    if name == "while":
        return [(params["body_jaxpr"], inputs[params["cond_nconsts"] :])]
    if name == "shard_map":
        inner = params["jaxpr"]
        outer: list[Any] = [v.aval for v in equation.invars]
        shapes = [v.aval.shape for v in inner.invars], [aval.shape for aval in outer]
        return [(inner, inputs)] if shapes[0] == shapes[1] else []
    return []

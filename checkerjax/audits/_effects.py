"""Programs without what they print: probing runs them a hundred times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from checkerjax.audits._jax_internals import is_call_out, is_print

PRINTS = ("debug_callback", "debug_print")
CALLS = ("io_callback",)


def quiet(closed: ClosedJaxpr) -> tuple[ClosedJaxpr, tuple[str, ...]]:
    """A program without calls of the host that only look at it, and a note for each kind that is left out."""
    if not closed.effects:
        return closed, ()
    dropped: set[str] = set()
    jaxpr = _quiet(closed.jaxpr, dropped)
    notes = []
    if dropped & {*PRINTS}:
        notes.append("What fn prints by jax.debug is left out.")
    if dropped & {*CALLS}:
        notes.append("Calls of io_callback whose results are not used are left out.")
    return closed.replace(jaxpr=jaxpr), tuple(notes)


def _quiet(jaxpr: Jaxpr, dropped: set[str]) -> Jaxpr:
    if not jaxpr.effects:
        return jaxpr
    used = {v for e in jaxpr.eqns for v in e.invars if not isinstance(v, Literal)}
    used |= {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    kept = []
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in PRINTS or (name in CALLS and used.isdisjoint(equation.outvars)):
            dropped.add(name)
        else:
            kept.append(_within(equation, dropped))
    calls = any(is_call_out(effect) for equation in kept for effect in equation.effects)
    return jaxpr.replace(eqns=kept, effects=_left(jaxpr.effects, calls))


def _within(equation: JaxprEqn, dropped: set[str]) -> JaxprEqn:
    """An equation with nested programs that are quiet."""
    if not equation.effects:
        return equation
    params = {name: _each(value, lambda inner: _quiet(inner, dropped)) for name, value in equation.params.items()}
    calls = equation.primitive.name in CALLS or any(
        is_call_out(effect) for inner in _programs(params) for effect in inner.effects
    )
    return equation.replace(params=params, effects=_left(equation.effects, calls))


def _left(effects: Any, calls: bool) -> Any:
    """Effects without those of prints, and without those of calls if none is left."""
    return frozenset(e for e in effects if not is_print(e) and (calls or not is_call_out(e)))


def _each(value: Any, fn: Callable[[Jaxpr], Jaxpr]) -> Any:
    """A parameter with `fn` applied to the programs in it."""
    if isinstance(value, ClosedJaxpr):
        return value.replace(jaxpr=fn(value.jaxpr))
    if isinstance(value, Jaxpr):
        return fn(value)
    if type(value) in (tuple, list):
        return type(value)(_each(one, fn) for one in value)
    return value


def _programs(params: dict[str, Any]) -> list[Jaxpr]:
    found: list[Jaxpr] = []

    def note(jaxpr: Jaxpr) -> Jaxpr:
        found.append(jaxpr)
        return jaxpr

    for value in params.values():
        _each(value, note)
    return found

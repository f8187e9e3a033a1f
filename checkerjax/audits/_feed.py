"""What goes into a program in each draw: its parameters, and the inputs of both probes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax.audits._flatten import Program, Value
from checkerjax.audits._graph import Roles
from checkerjax.audits._redraw import Draw, Redraw, compiled, normals


def is_floating(program: Program, value: Value) -> bool:
    """Whether a value holds real numbers."""
    return jnp.issubdtype(program.avals[value].dtype, jnp.floating)


class Feed:
    """The inputs of each draw.

    Args:
      program: written out.
      roles: of the axes of each input that the probes take the place of.
      context: inputs that are N(0, 1) everywhere in every draw, whichever the probe; what is not floating stays.
      given: arrays of all inputs.
      draw: new parameters from a key, in the order of the other inputs; None: `Redraw`.
      redraw: 0 keeps the parameters that are given.
      noise: standard deviation of the noise on the flat probe.
    """

    def __init__(
        self, program: Program, roles: Mapping[Value, Roles], context: Collection[Value], given: Mapping[Value, Any],
        draw: Draw | None, redraw: int, noise: float = 0.0,
    ) -> None:  # fmt: skip
        self.program, self.roles = program, roles
        self.context = tuple(v for v in context if is_floating(program, v))
        self.parameters = [v for v in program.inputs if v not in roles and v not in context]
        self.rest = {v: given[v] for v in context if v not in self.context}
        fixed = [given[v] for v in self.parameters]
        self.draw_own = compiled(draw) if redraw and draw else None
        self.redraw = Redraw(fixed) if redraw and draw is None else None
        self.fixed = dict(zip(self.parameters, fixed))
        self.draws_parameters, self.noise = bool(redraw), noise
        self.count = sum(math.prod(program.avals[v].shape) for v in (*roles, *self.context))

    def draw(self, key: jax.Array) -> tuple[dict[Value, Any], dict[Value, Any], dict[Value, Any]]:
        """Parameters, and the inputs of the flat and of the white probe."""
        for_parameters, for_data = jax.random.split(key)
        own = self.redraw.count if self.redraw else 0
        pool = normals(for_data, own + 2 * self.count)
        arrays = self.fixed
        if self.redraw:
            arrays = dict(zip(self.parameters, self.redraw(pool[:own])))
        elif self.draw_own:
            arrays = dict(zip(self.parameters, self.draw_own(for_parameters)))
        flat, white = pool[own : own + self.count], pool[own + self.count :]
        on_flat = self.noise * white if self.noise else None
        return arrays | self.rest, self._fields(flat, on_flat, flat=True), self._fields(white, None, flat=False)

    def _fields(self, pool: np.ndarray, noise: np.ndarray | None, *, flat: bool) -> dict[Value, np.ndarray]:
        out, start = {}, 0
        for value in (*self.roles, *self.context):
            aval, roles = self.program.avals[value], self.roles.get(value)
            size = math.prod(aval.shape)
            part = slice(start, start + size)
            x = pool[part].reshape(aval.shape)
            start += size
            if flat and roles is not None:
                first = tuple(slice(0, 1) if isinstance(r, int) else slice(None) for r in roles)
                x = np.broadcast_to(x[first], aval.shape)
                x = x if noise is None else x + noise[part].reshape(aval.shape)
            out[value] = x.astype(aval.dtype)
        return out

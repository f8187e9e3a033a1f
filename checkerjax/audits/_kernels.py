"""The taps of a program's convolutions, for given parameters or for a random draw of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from checkerjax.audits._flatten import Program, Value, alive
from checkerjax.audits._graph import Graph, Kernel
from checkerjax.audits._run import run


class KernelArrays:
    """Called with a `Kernel`, gives its taps `[*k, I / groups, O]` as float64.

    Args:
      program: that the kernels belong to.
      graph: whose convolutions matter.
      inputs: arrays for the program's inputs.
    """

    def __init__(self, program: Program, graph: Graph, inputs: Sequence[Any]) -> None:
        self._program = program
        self._arrays: dict[Value, Any] = dict(zip(program.inputs, inputs))
        made = {n.kernel.value for n in graph.nodes if n.kernel is not None and n.kernel.source == "parameter"}
        computed = {v for step in program.steps for v in step.outputs}
        self._derived = [v for v in sorted(made) if v in computed]
        self._inputs = list(inputs)

    def __call__(self, kernel: Kernel) -> np.ndarray:
        if kernel.array is not None:
            return kernel.array
        inside = kernel.value not in self._arrays and kernel.value not in self._derived  # of a loop or branch
        if kernel.source == "data" or inside:  # any taps at all
            shape = tuple(self._program.avals[kernel.value].shape)
            return _ordered(np.random.default_rng(0).normal(size=shape), kernel)
        if kernel.value not in self._arrays:
            self._arrays.update(zip(self._derived, self._compute()))
        return _ordered(np.asarray(self._arrays[kernel.value], np.float64), kernel)

    def _compute(self) -> list[np.ndarray]:
        """All kernels that are computed from parameters, in one compiled run."""
        program = self._program
        part = Program(
            tuple(alive(program.steps, self._derived)),
            program.inputs,
            tuple(self._derived),
            program.constants,
            program.avals,
        )
        return jax.jit(lambda *inputs: run(part, inputs))(*self._inputs)


def _ordered(array: np.ndarray, kernel: Kernel) -> np.ndarray:
    return array.transpose([*kernel.order, *(d for d in range(array.ndim) if d not in kernel.order)])


def random_inputs(arrays: Sequence[Any], seed: int = 0) -> list[Any]:
    """Independent numbers in place of every floating array, so that what is equal by chance no longer is."""
    rng = np.random.default_rng(seed)
    out = []
    for a in arrays:
        floating = jax.numpy.issubdtype(a.dtype, jax.numpy.floating)
        out.append(
            (rng.random(a.shape, np.float32) + 0.25 * rng.choice((-4.0, 4.0))).astype(a.dtype) if floating else a
        )
    return out

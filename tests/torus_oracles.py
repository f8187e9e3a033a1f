"""Linear stacks as explicit matrices on a torus: loops over layers, on a field laid out three times along each axis."""

import math
import pathlib
import runpy
import types

import numpy as np

from checkerjax.stacks import parse_stack, periods

stack_oracles = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("stack_oracles.py"))))


def torus_matrix(params, text, size, channels):
    """`[*n, O, *size, C]`: the middle third of the output for three copies of each unit impulse along each axis."""
    ndim = len(size)
    units = np.eye(math.prod(size) * channels).reshape(-1, *size, channels)
    out = stack_oracles.run(params, parse_stack(text), np.tile(units, (1, *(3,) * ndim, 1)))
    m, p = periods(text, ndim)
    cuts = [slice(n * b // a, 2 * (n * b // a)) for n, a, b in zip(size, m, p)]
    middle = out[(slice(None), *cuts)]
    return np.moveaxis(middle, 0, -1).reshape(*middle.shape[1:], *size, channels)

"""Trained models without their grids: kernels repaired in place, layers written as others, weights brought in.

`repair` works on whole trees of parameters, of linen or nnx, by path; the conversions on one layer; `import_transposed`
on one array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from checkerjax._checks import concrete, one_of
from checkerjax.nn._conversions import Converted, deconv_to_subpixel, fuse_fir, resize_to_deconv, subpixel_to_deconv
from checkerjax.nn._equal_gains import as_phases, gains_of, project, project_box
from checkerjax.nn._imported import import_transposed
from checkerjax.nn._paths import rules_for
from checkerjax.nn.transforms import Strides, spread_of

__all__ = [
    "Converted",
    "KernelChange",
    "Repaired",
    "deconv_to_subpixel",
    "fuse_fir",
    "import_transposed",
    "repair",
    "resize_to_deconv",
    "subpixel_to_deconv",
]

METHODS = {"equal_gains": project, "box": project_box}


class KernelChange(NamedTuple):
    """What a repair did to one parameter."""

    path: str
    shape: tuple[int, ...]
    change: float  # root of the sum of squares of the difference, over that of the original; in [0, 1]
    largest: float  # change of a single value, in its own units
    spread_before: float  # largest distance of a gain from the mean of its phases, over the mean absolute gain
    spread_after: float


class Repaired(NamedTuple):
    """A model whose named kernels have equal gains."""

    variables: Any  # as they came, the named parameters replaced
    report: tuple[KernelChange, ...]  # one for each of them, in the order of the tree


def repair(variables: Any, strides: Strides, *, method: str = "equal_gains") -> Repaired:
    """Replaces kernels by the nearest ones (least squares) with equal phase gains, and says how far they moved.

    A flat input then gives no lines away from borders, whatever the layers that follow; what the model has learned
    changes with its kernels. A random kernel of k^D taps at stride s moves by about sqrt((s^D - 1) / k^D) of its
    norm, some 0.43 for k = 4, s = 2 in the plane; a trained one by as much as it has learned of a grid.

    Args:
      variables: of a model: a linen dict ({"params": ...} or the parameters alone), an nnx State, or an nnx module, of
        which a changed copy comes back.
      strides: of the kernels, by path; see `checkerjax.nn.transforms`.
      method: "equal_gains", the projection, exact in any number of dimensions; or "box", the nearest kernels p * box:
        the same in one dimension, and in more farther away, but each the kernel of a nearest resize-convolution.

    Returns:
      `Repaired`: the variables, and a `KernelChange` for each kernel.

    Raises:
      ValueError: for an unknown method, a pattern that names no parameter or anything but a kernel, or a kernel with a
        phase that gets no tap.
      TypeError: for a dtype that is not floating, or variables that are being traced.

    Example:
      >>> repaired, report = repair({"up": {"kernel": np.ones((3, 1, 1), "float32")}}, {"up/kernel": 2})
      >>> repaired["up"]["kernel"].ravel()
      Array([0.6666667, 1.3333334, 0.6666667], dtype=float32)
      >>> report[0].path, round(report[0].change, 3), round(report[0].spread_before, 3)
      ('up/kernel', 0.333, 0.333)

    References:
      Condition 2: Sugawara, Shiota and Kiya, arXiv:1806.02658.
    """
    op = "repair"
    nearest = METHODS[one_of(op, "method", method, tuple(METHODS))]
    ruled, structure = rules_for(op, variables, strides)
    leaves, report = [], []
    for path, leaf, rule in ruled:
        if rule is not None:
            phases = as_phases(rule)
            if concrete(leaf) is None:
                raise TypeError(f"{op}: {path!r} is being traced and has no values to report. Call {op} outside jit.")
            new = nearest(op, path, leaf, phases).astype(jax.dtypes.canonicalize_dtype(leaf.dtype))
            spreads = [float(spread_of(gains_of(op, path, array, phases))) for array in (leaf, new)]
            report.append(_change(path, np.asarray(leaf), np.asarray(new), *spreads))
            leaf = new
        leaves.append(leaf)
    return Repaired(structure.unflatten(leaves), tuple(report))


def _change(path: str, old: np.ndarray, new: np.ndarray, before: float, after: float) -> KernelChange:
    double = np.complex128 if np.iscomplexobj(old) else np.float64
    moved, norm = np.abs(new.astype(double) - old.astype(double)), float(np.linalg.norm(old.astype(double)))
    share = float(np.linalg.norm(moved)) / norm if norm else 0.0
    return KernelChange(path, old.shape, share, float(moved.max()), before, after)

"""Steps run by NumPy: nothing is compiled, so small pieces of many programs cost microseconds each.

For constants it gives what XLA gives, but for the last bit of transcendental functions. Floats may also be run wider
than the program says, which is how a piece of it is told from another by its values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from checkerjax.audits._flatten import Step

Params = dict[str, Any]


def can_run(step: Step) -> bool:
    """Whether there is a rule for the step."""
    return step.name in _RULES and len(step.outputs) == 1 and not step.bodies and not step.equation.effects


def run_numpy(step: Step, operands: Sequence[Any], *, wide: bool = False) -> np.ndarray:
    """The output of a step that `can_run`; with `wide`, floats stay float64 through casts."""
    arrays = [np.asarray(a) for a in operands]
    params = dict(step.params)
    if "new_dtype" in params and wide and _is_float(params["new_dtype"]):
        params["new_dtype"] = np.float64
    out = np.asarray(_RULES[step.name](params, *arrays))
    dtype: Any = getattr(step.equation.outvars[0].aval, "dtype")  # noqa: B009 (an abstract value need have none)
    return out if wide and _is_float(dtype) else out.astype(dtype)


def _is_float(dtype: Any) -> bool:
    return jax.numpy.issubdtype(dtype, np.floating)


def _broadcast(params: Params, x: np.ndarray) -> np.ndarray:
    shape, places = params["shape"], params["broadcast_dimensions"]
    sizes = [1] * len(shape)
    for n, at in zip(x.shape, places):
        sizes[at] = n
    return np.broadcast_to(x.reshape(sizes), shape)


def _iota(params: Params) -> np.ndarray:
    shape, axis = params["shape"], params["dimension"]
    row = np.arange(shape[axis]).reshape([-1 if d == axis else 1 for d in range(len(shape))])
    return np.broadcast_to(row, shape)


def _slice(params: Params, x: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * x.ndim
    return x[tuple(slice(*each) for each in zip(params["start_indices"], params["limit_indices"], strides))]


def _dynamic_slice(params: Params, x: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    sizes = params["slice_sizes"]
    firsts = [int(np.clip(s, 0, n - k)) for s, n, k in zip(starts, x.shape, sizes)]
    return x[tuple(slice(f, f + k) for f, k in zip(firsts, sizes))]


def _select(params: Params, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    return np.choose(np.broadcast_to(which, cases[0].shape).astype(np.int64), cases)


def _divide(params: Params, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if np.issubdtype(x.dtype, np.integer):
        quotient = np.floor_divide(np.abs(x), np.abs(np.where(y == 0, 1, y)))  # lax rounds to zero
        return np.sign(x) * np.sign(y) * quotient
    return np.divide(x, y)


def _pad(params: Params, x: np.ndarray, filler: np.ndarray) -> np.ndarray:
    for axis, (low, high, inner) in enumerate(params["padding_config"]):
        n = x.shape[axis]
        stuffed = n + max(n - 1, 0) * inner
        at = np.arange(-low, stuffed + high)
        real = (at >= 0) & (at < stuffed) & (at % (inner + 1) == 0)
        taken = (
            np.take(x, np.where(real, at // (inner + 1), 0), axis)
            if n
            else np.zeros((*x.shape[:axis], len(at), *x.shape[axis + 1 :]), x.dtype)
        )
        mask = real.reshape([-1 if d == axis else 1 for d in range(x.ndim)])
        x = np.where(mask, taken, filler)
    return x


def _same(params: Params, x: np.ndarray) -> np.ndarray:
    return x


def _unary(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda params, x: fn(x)


def _binary(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda params, x, y: fn(x, y)


def _reduced(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda params, x: fn(x, axis=tuple(params["axes"]))


_RULES: dict[str, Callable[..., Any]] = {
    **{n: _unary(getattr(np, n)) for n in ("abs", "ceil", "cos", "cosh", "exp", "exp2", "expm1", "floor", "log",
       "log1p", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "cbrt")},
    **{n: _binary(f) for n, f in dict(
        add=np.add, add_any=np.add, sub=np.subtract, mul=np.multiply, max=np.maximum, min=np.minimum, pow=np.power,
        atan2=np.arctan2, rem=np.fmod, eq=np.equal, ne=np.not_equal, ge=np.greater_equal, gt=np.greater,
        le=np.less_equal, lt=np.less, xor=np.bitwise_xor, nextafter=np.nextafter,
        **{"and": np.bitwise_and, "or": np.bitwise_or}).items()},
    **dict.fromkeys(("copy", "copy_p", "stop_gradient", "optimization_barrier", "name", "pvary"), _same),
    "div": _divide,
    "neg": _unary(np.negative),
    "not": _unary(np.invert),
    "rsqrt": _unary(lambda x: 1 / np.sqrt(x)),
    "logistic": _unary(lambda x: 1 / (1 + np.exp(-x))),
    "is_finite": _unary(np.isfinite),
    "integer_pow": lambda p, x: x ** np.asarray(float(p["y"]) if p["y"] < 0 else p["y"], x.dtype),
    "clamp": lambda p, low, x, high: np.minimum(np.maximum(x, low), high),
    "select_n": _select,
    "convert_element_type": lambda p, x: x.astype(p["new_dtype"]),
    "broadcast_in_dim": _broadcast,
    "iota": _iota,
    "reshape": lambda p, x: x.reshape(p["new_sizes"]),
    "squeeze": lambda p, x: np.squeeze(x, tuple(p["dimensions"])),
    "expand_dims": lambda p, x: np.expand_dims(x, tuple(p["dimensions"])),
    "transpose": lambda p, x: x.transpose(p["permutation"]),
    "rev": lambda p, x: np.flip(x, p["dimensions"]),
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "concatenate": lambda p, *xs: np.concatenate(xs, p["dimension"]),
    "pad": _pad,
    "reduce_sum": _reduced(np.sum),
    "reduce_max": _reduced(np.max),
    "reduce_min": _reduced(np.min),
}  # fmt: skip

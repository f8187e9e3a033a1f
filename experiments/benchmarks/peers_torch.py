"""PyTorch's forms of the rows, where it is installed: `pip install 'checkerjax[torch]'`."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.config import Row
from experiments.benchmarks.timing import FORWARD, GRADIENTS, Call

CONTIGUOUS, CHANNELS_LAST = "torch", "torch, channels last"


def load() -> Any:
    """The torch package on all cores, or None where it is missing or JAX runs on another device than the CPU."""
    if importlib.util.find_spec("torch") is None or jax.default_backend() != "cpu":
        return None
    # Waiting OpenMP threads would spin through the turns of the others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    torch = importlib.import_module("torch")
    torch.set_num_threads(os.cpu_count() or 1)
    return torch


def calls(torch: Any, row: Row, x: jax.Array, kernel: jax.Array, y: jax.Array) -> dict[str, dict[str, Call]]:
    """By layout and mode; `y` has checkerjax's output, of whose shape theirs must be.

    PyTorch crops transposed convolutions elsewhere where stride and kernel size differ by an odd number: the same
    work, other values.
    """
    if row.seeds or row.dtype != "float32":
        return {}
    operator = {"deconv": _deconv, "resize": _resize, "subpixel": _subpixel, "conv": _conv}[row.kind](torch, row)
    order = (-2, -1) if row.kind == "deconv" else (-1, -2)
    found = {}
    for name, layout in _layouts(torch, row.ndim).items():
        field = _field(torch, x, layout)
        weights = _tensor(torch, np.moveaxis(np.asarray(kernel), order, (0, 1)), layout)
        cotangent = _field(torch, y, layout)
        with torch.inference_mode():
            shape = tuple(operator(field, weights).shape)
        if shape != tuple(cotangent.shape):
            raise AssertionError(f"torch, {row.name}: shape {shape}, but checkerjax's is {tuple(cotangent.shape)}.")
        found[name] = {
            FORWARD: _forward(torch, operator, field, weights),
            GRADIENTS: _gradients(torch, operator, field, weights, cotangent),
        }
    return found


def _layouts(torch: Any, ndim: int) -> dict[str, Any]:
    last = {2: torch.channels_last, 3: torch.channels_last_3d}
    plain = {CONTIGUOUS: torch.contiguous_format}
    return plain | ({CHANNELS_LAST: last[ndim]} if ndim in last else {})


def _field(torch: Any, x: jax.Array, layout: Any) -> Any:
    return _tensor(torch, np.moveaxis(np.asarray(x), -1, 1), layout)


def _tensor(torch: Any, values: np.ndarray, layout: Any) -> Any:
    return torch.from_numpy(values.copy(order="C")).contiguous(memory_format=layout)


def _forward(torch: Any, operator: Callable[..., Any], x: Any, weights: Any) -> Call:
    def call() -> Any:
        with torch.inference_mode():
            return operator(x, weights)

    return call


def _gradients(torch: Any, operator: Callable[..., Any], x: Any, weights: Any, cotangent: Any) -> Call:
    x, weights = (a.detach().clone().requires_grad_(True) for a in (x, weights))

    def call() -> Any:
        y = operator(x, weights)
        return y, *torch.autograd.grad(y, (x, weights), cotangent)

    return call


def _functions(torch: Any, stem: str, ndim: int) -> Any:
    return getattr(torch.nn.functional, f"{stem}{ndim}d")


def _deconv(torch: Any, row: Row) -> Callable[..., Any]:
    crop = row.kernel - row.stride
    pad = -(-crop // 2)
    transposed = _functions(torch, "conv_transpose", row.ndim)
    return lambda x, w: transposed(x, w, stride=row.stride, padding=pad, output_padding=2 * pad - crop)


def _conv(torch: Any, row: Row, stride: int | None = None) -> Callable[..., Any]:
    stride = row.stride if stride is None else stride
    conv = _functions(torch, "conv", row.ndim)
    return lambda x, w: conv(x, w, stride=stride, padding=(row.kernel - 1) // 2)


def _subpixel(torch: Any, row: Row) -> Callable[..., Any]:
    conv = _conv(torch, row, stride=1)
    return lambda x, w: torch.nn.functional.pixel_shuffle(conv(x, w), row.stride)


def _resize(torch: Any, row: Row) -> Callable[..., Any]:
    conv, interpolate = _conv(torch, row, stride=1), torch.nn.functional.interpolate
    options = {"mode": "bilinear", "align_corners": False} if row.interpolation == "linear" else {"mode": "nearest"}
    return lambda x, w: conv(interpolate(x, scale_factor=row.stride, **options), w)

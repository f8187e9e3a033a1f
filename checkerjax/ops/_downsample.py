"""Downsampling without learned weights: stride, pools, blur."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax import _geometry as geometry
from checkerjax._checks import AXES, Padding, Pads, PerAxis, at_least_float32, check_field, one_of, pad_pairs, per_axis
from checkerjax.ops._filters import binomial_taps, filter_axis, hann_taps
from checkerjax.ops._padding import pad_as

METHODS = ("stride", "average", "max", "blur", "l2")
L2_EPSILON = 1e-12


def downsample(
    x: jax.Array,
    *,
    scale: PerAxis,
    method: str = "average",
    window: PerAxis | None = None,
    padding: Padding | None = None,
    pad_mode: str | None = None,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Downsampling by an integer factor; channels stay apart.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; any floating dtype.
      scale: input samples from one output to the next, s; an int or one per axis, at least 1.
      method: "stride" (every s-th sample), "average", "max", "blur" (binomial taps, then every s-th sample), or
        "l2" (square root of the Hann-weighted mean of squares; plus 1e-12, so that its gradient is finite at 0).
      window: samples that one output sees; an int or one per axis. By default s for average and max, s + 1 for blur
        (1 where s is 1), 2 s - 1 for l2 (the only one that it has), 1 for stride.
      padding: "SAME", "VALID", an int, or one (low, high) pair per axis. By default "SAME" for blur and l2, otherwise
        "VALID".
      pad_mode: as in `pad`; by default "reflect" for blur, otherwise "zeros". Padding never wins a maximum,
        and is narrower than its window.
      precision: taken as by all operators; sums of shifted samples have full precision whatever it is.

    Returns:
      `[N, *o, C]`, with o as in `conv` for a kernel as large as the window.

    Raises:
      ValueError: for a wrong rank, an unknown method, a window that the method does not have, or a field shorter
        than the window.
      TypeError: for a dtype that is not floating.

    Example:
      >>> x = jnp.array([1.0, 3.0, 5.0, 7.0]).reshape(1, 4, 1)
      >>> downsample(x, scale=2, method="average").ravel()
      Array([2., 6.], dtype=float32)

    References:
      Zhang, Making convolutional networks shift-invariant again, arXiv:1904.11486 (blur).
      Henaff and Simoncelli, Geodesics of learned representations, arXiv:1511.06394 (l2).
    """
    op = "downsample"
    x, ndim = check_field(op, x)
    one_of(op, "method", method, METHODS)
    scales = per_axis(op, "scale", scale, ndim)
    windows = _windows(op, method, scales, window, ndim)
    if padding is None:
        padding = "SAME" if method in ("blur", "l2") else "VALID"
    sizes = x.shape[1:-1], windows, scales, (1,) * ndim
    pads = geometry.conv_pads(*sizes, pad_pairs(op, padding, ndim))
    geometry.conv_size(op, *sizes, pads)
    if method == "max":
        if pad_mode is not None:
            raise ValueError(f"{op}: method='max' has no pad_mode: padding never wins; got {pad_mode!r}.")
        _check_windows_reach(op, windows, pads)
        return _max_pool(x, windows, scales, pads)
    mode = pad_mode or ("reflect" if method == "blur" else "zeros")
    if method == "l2":
        wide = x.astype(at_least_float32(x.dtype))  # in float16 the epsilon would be zero
        power = _filter(pad_as(op, wide * wide, pads, mode), [hann_taps(s) for s in scales], scales)
        return jnp.sqrt(power + jnp.asarray(L2_EPSILON, wide.dtype)).astype(x.dtype)
    taps = [binomial_taps(w) if method == "blur" else np.full(w, 1 / w) for w in windows]
    return _filter(pad_as(op, x, pads, mode), taps, scales)


def _windows(op: str, method: str, scales: tuple[int, ...], window: PerAxis | None, ndim: int) -> tuple[int, ...]:
    default = {
        "stride": (1,) * ndim,
        "average": scales,
        "max": scales,
        "blur": tuple(s + 1 if s > 1 else 1 for s in scales),
        "l2": tuple(2 * s - 1 for s in scales),
    }[method]
    if window is None:
        return default
    windows = per_axis(op, "window", window, ndim)
    if method in ("stride", "l2") and windows != default:
        raise ValueError(f"{op}: method={method!r} with scale={scales} has the window {default}; got {windows}.")
    return windows


def _check_windows_reach(op: str, windows: tuple[int, ...], pads: Pads) -> None:
    for axis, w, pair in zip(AXES[len(windows)], windows, pads):
        if max(pair) >= w:
            raise ValueError(
                f"{op}: a maximum over padding alone has no value; got padding {pair} and window {w} on axis {axis}."
            )


def _filter(x: jax.Array, taps: list[np.ndarray], scales: tuple[int, ...]) -> jax.Array:
    for axis, (row, s) in enumerate(zip(taps, scales), start=1):
        x = filter_axis(x, jnp.asarray(row, x.dtype), axis, s)
    return x


def _max_pool(x: jax.Array, windows: tuple[int, ...], scales: tuple[int, ...], pads: Pads) -> jax.Array:
    lowest = np.array(-math.inf, x.dtype)
    return lax.reduce_window(x, lowest, lax.max, (1, *windows, 1), (1, *scales, 1), ((0, 0), *pads, (0, 0)))

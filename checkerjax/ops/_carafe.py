"""CARAFE's reassembly: every output is a weighted mean of a window of inputs, with weights of its own."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax._checks import PerAxis, at_least_float32, check_field, one_of, per_axis
from checkerjax.ops._shuffle import ORDERS, depth_to_space


def carafe(
    x: jax.Array,
    scores: jax.Array,
    *,
    scale: PerAxis,
    window: PerAxis = 5,
    order: str = "depth_first",
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Content-aware reassembly: output n is the mean of the window of inputs around floor(n / s), weighted by softmax.

    The weights sum to one, so a flat input gives a flat output away from the zeros beyond the border, although the
    weights differ from phase to phase.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; any floating dtype.
      scores: `[N, *spatial, prod(scale) prod(window)]`, what the softmax is taken of; of the dtype of `x`.
      scale: output samples per input sample, s; an int or one per axis, at least 1.
      window: inputs that one output sees; an odd int or one per axis.
      order: which channel scores which tap t of which phase p: "depth_first" channel p prod(window) + t,
        "channel_first" channel t prod(scale) + p (PyTorch's pixel shuffle, as the authors have it).
      precision: of the weighted sums, as in `jax.lax`; None is "highest" here: with fewer bits the weights would not
        sum to one, and that leaves lines.

    Returns:
      `[N, *(s * spatial), C]` of the dtype of `x`.

    Raises:
      ValueError: for shapes that do not fit, an even window, or an unknown order.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> carafe(jnp.ones((1, 4, 1)), jnp.zeros((1, 4, 6)), scale=2, window=3).ravel()[2:-2].round(4)
      Array([1., 1., 1., 1.], dtype=float32)

    References:
      Wang et al., CARAFE: content-aware reassembly of features, arXiv:1905.02188.
    """
    op = "carafe"
    x, ndim = check_field(op, x)
    scores, _ = check_field(op, scores, "scores")
    scales, windows = per_axis(op, "scale", scale, ndim), per_axis(op, "window", window, ndim)
    one_of(op, "order", order, ORDERS)
    phases, taps = math.prod(scales), math.prod(windows)
    if any(w % 2 == 0 for w in windows):
        raise ValueError(f"{op}: window must be odd, to have a middle; got {windows}.")
    if scores.shape != (*x.shape[:-1], phases * taps):
        raise ValueError(
            f"{op}: scores must be [N, *spatial, prod(scale) prod(window)] = {(*x.shape[:-1], phases * taps)} for x of "
            f"shape {x.shape}; got {scores.shape}."
        )
    if scores.dtype != x.dtype:
        raise TypeError(f"{op}: x is {x.dtype} but scores is {scores.dtype}; cast one of them.")
    wide = at_least_float32(x.dtype)
    split, axis = ((phases, taps), -1) if order == "depth_first" else ((taps, phases), -2)
    weights = jax.nn.softmax(scores.astype(wide).reshape(*x.shape[:-1], *split), axis=axis)
    tap = "pt" if order == "depth_first" else "tp"
    precision = "highest" if precision is None else precision
    out = jnp.einsum(f"...{tap},...tc->...pc", weights, _windows(x.astype(wide), windows), precision=precision)
    out = out.reshape(*x.shape[:-1], phases * x.shape[-1]).astype(x.dtype)
    return depth_to_space(out, block=scales, order="depth_first")


def _windows(x: jax.Array, windows: tuple[int, ...]) -> jax.Array:
    """`[N, *spatial, taps, C]`: the window around each sample, row by row, zeros beyond the border."""
    padded = jnp.pad(x, ((0, 0), *((w // 2, w // 2) for w in windows), (0, 0)))
    starts = itertools.product(*(range(w) for w in windows))
    views = [padded[(slice(None), *(slice(a, a + n) for a, n in zip(at, x.shape[1:-1])))] for at in starts]
    return jnp.stack(views, axis=-2)

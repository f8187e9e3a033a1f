"""What pointwise layers make of a Gaussian field: E[phi(u) phi(v)], E[phi'(u) phi'(v)] and E[phi(u)], in closed form.

(u, v) is Gaussian with mean 0, variances k11 and k22 and covariance k12. Arrays are NumPy's (float64) or JAX's, and so
is the result; JAX's can be differentiated, with finite gradients at correlations of +-1 and at variance 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax.expectations._tanh import TANH_SCALES, TANH_WEIGHTS
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import Layer
from checkerjax.stacks._text import format_stack

Array = Any  # NumPy's or JAX's


def dual(layer: Layer, k11: Array, k12: Array, k22: Array) -> Array:
    """E[phi(u) phi(v)] of a pointwise layer phi.

    Args:
      layer: relu, leaky_relu, erf or tanh.
      k11: variance of u, at least 0.
      k12: covariance of u and v, of a shape that broadcasts with the others.
      k22: variance of v.

    Returns:
      The second moment, of the common shape; exact but for tanh, whose relative error is below 1e-9.

    Raises:
      ValueError: for another layer.

    Example:
      >>> float(dual(layers.Relu(), 1.0, 1.0, 1.0))
      0.5

    References:
      Cho and Saul, NIPS 2009 (ReLU). Tsuchida, Roosta-Khorasani and Gallagher, arXiv:1711.09090 (leaky ReLU).
      Williams, NIPS 1996 (erf).
    """
    return _rule("dual", layer, _DUALS)(layer, *_arrays(k11, k12, k22))


def dual_derivative(layer: Layer, k11: Array, k12: Array, k22: Array) -> Array:
    """E[phi'(u) phi'(v)], which is also the derivative of `dual` by k12 (Price's theorem).

    Where a variance is 0, u is taken for the limit of Gaussian variables: a ReLU's slope there is 0 or 1 with equal
    chances, shared by u and v only if both variances are 0.

    Args:
      layer: relu, leaky_relu, erf or tanh.
      k11: variance of u, at least 0.
      k12: covariance of u and v, of a shape that broadcasts with the others.
      k22: variance of v.

    Returns:
      The second moment of the slopes, of the common shape; exact but for tanh, whose error is below 1e-9.

    Raises:
      ValueError: for another layer.

    Example:
      >>> float(dual_derivative(layers.Relu(), 1.0, 0.0, 1.0))
      0.25

    References:
      Price, IRE Trans. Information Theory 4, 1958.
    """
    return _rule("dual_derivative", layer, _DERIVATIVES)(layer, *_arrays(k11, k12, k22))


def mean(layer: Layer, k: Array) -> Array:
    """E[phi(u)]: (1 - slope) sqrt(k / (2 pi)) for the ReLUs, 0 for odd functions.

    Args:
      layer: relu, leaky_relu, erf or tanh.
      k: variance of u, at least 0.

    Returns:
      The mean, of the shape of `k`.

    Raises:
      ValueError: for another layer.

    Example:
      >>> float(mean(layers.Relu(), 2 * math.pi))
      1.0
    """
    _rule("mean", layer, _DUALS)
    (k,) = _arrays(k)
    if is_odd(layer):
        return k * 0.0
    return (1 - _slope(layer)) * _root(k) / math.sqrt(2 * math.pi)


def erf_dual(k11: Array, k12: Array, k22: Array) -> Array:
    """E[erf(u) erf(v)] = (2 / pi) asin(2 k12 / sqrt((1 + 2 k11) (1 + 2 k22))) (Williams, NIPS 1996).

    Args:
      k11: variance of u, at least 0.
      k12: covariance of u and v, of a shape that broadcasts with the others.
      k22: variance of v.

    Returns:
      The second moment, of the common shape.

    Example:
      >>> round(float(erf_dual(0.5, 0.5, 0.5)), 12)  # 1/3: erf(u) is uniform between -1 and 1
      0.333333333333
    """
    return _erf_dual(*_arrays(k11, k12, k22))


def is_odd(layer: Layer) -> bool:
    """Whether phi(-x) = -phi(x)."""
    return isinstance(layer, (layers.Tanh, layers.Erf)) or _slope(layer) == 1


def _rule(op: str, layer: Layer, rules: dict[type, Callable[..., Array]]) -> Callable[..., Array]:
    rule = rules.get(type(layer))
    if rule is None:
        raise ValueError(
            f"{op}: {format_stack(layer)} has no closed form; the layers with one are relu, leaky_relu, erf and tanh."
        )
    return rule


def _arrays(*values: Array) -> list[Array]:
    """All values as JAX arrays of one dtype if one of them is; else as NumPy's, float64."""
    traced = [value for value in values if isinstance(value, jax.Array)]
    if not traced:
        return [np.asarray(value, np.float64) for value in values]
    return [value if isinstance(value, jax.Array) else jnp.asarray(value, traced[0].dtype) for value in values]


def _root(k: Array) -> Array:
    """sqrt, with slope 0 at 0."""
    xp = k.__array_namespace__()
    positive = k > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, k, 1.0)), 0.0)


def _correlation(k11: Array, k12: Array, k22: Array) -> tuple[Array, Array]:
    """sqrt(k11 k22), and the correlation; where a variance is 0, it is 1 if both are, else 0."""
    scale = _root(k11 * k22)
    xp, positive = scale.__array_namespace__(), scale > 0
    return scale, xp.where(positive, k12 / xp.where(positive, scale, 1.0), xp.where(k11 == k22, 1.0, 0.0))


def _angle(correlation: Array) -> Array:
    """arccos, with slope 0 at +-1."""
    xp = correlation.__array_namespace__()
    return xp.arctan2(_root((1 - correlation) * (1 + correlation)), correlation)


def _bend(correlation: Array) -> Array:
    """sin t - t cos t for t = arccos(correlation), which rounding may leave a little outside [-1, 1].

    Its slope is -t, also at +-1, where the slopes of the two terms are infinite and those of `_root` are 0.
    """
    sine = _root((1 - correlation) * (1 + correlation))
    return sine - correlation * sine.__array_namespace__().arctan2(sine, correlation)


def _slope(layer: Any) -> float:
    return getattr(layer, "slope", 0.0)


def _rectified(layer: Layer, k11: Array, k12: Array, k22: Array) -> Array:
    scale, correlation = _correlation(k11, k12, k22)
    slope = _slope(layer)
    return (1 - slope) ** 2 / (2 * math.pi) * scale * _bend(correlation) + (1 + slope**2) / 2 * k12


def _rectified_derivative(layer: Layer, k11: Array, k12: Array, k22: Array) -> Array:
    _, correlation = _correlation(k11, k12, k22)
    slope = _slope(layer)
    return (1 + slope**2) / 2 - (1 - slope) ** 2 / (2 * math.pi) * _angle(correlation)


def _erf_dual(k11: Array, k12: Array, k22: Array) -> Array:
    # asin(x / sqrt(y)) as the arctangent of x / sqrt(y - x^2): accurate, and its slope finite, however near to 1.
    xp = k12.__array_namespace__()
    return 2 / math.pi * xp.arctan(2 * k12 / xp.sqrt(_erf_determinant(k11, k12, k22)))


def _erf_derivative(k11: Array, k12: Array, k22: Array) -> Array:
    return 4 / math.pi / k12.__array_namespace__().sqrt(_erf_determinant(k11, k12, k22))


def _erf_determinant(k11: Array, k12: Array, k22: Array) -> Array:
    return 1 + 2 * k11 + 2 * k22 + 4 * (k11 * k22 - k12 * k12)


def _tanh_sum(term: Callable[..., Array], k11: Array, k12: Array, k22: Array, *, slopes: bool = False) -> Array:
    """Sums over a, b of weight_a weight_b term(covariance of a u and b v); of the derivative with `slopes`."""

    def scaled(a: Any, b: Any, weight: Any) -> Array:
        return weight * (a * b if slopes else 1.0) * term(a * a * k11, a * b * k12, b * b * k22)

    pairs = [(a, b, v * w) for a, v in zip(TANH_SCALES, TANH_WEIGHTS) for b, w in zip(TANH_SCALES, TANH_WEIGHTS)]
    if not isinstance(k12, jax.Array):
        return sum(scaled(*pair) for pair in pairs)
    columns = jnp.asarray(pairs, k12.dtype)
    zeros = jnp.zeros(jnp.broadcast_shapes(k11.shape, k12.shape, k22.shape), k12.dtype)
    return jax.lax.scan(lambda total, pair: (total + scaled(*pair), None), zeros, columns)[0]


_DUALS: dict[type, Callable[..., Array]] = {
    layers.Relu: _rectified,
    layers.LeakyRelu: _rectified,
    layers.Erf: lambda layer, *k: _erf_dual(*k),
    layers.Tanh: lambda layer, *k: _tanh_sum(_erf_dual, *k),
}
_DERIVATIVES: dict[type, Callable[..., Array]] = {
    layers.Relu: _rectified_derivative,
    layers.LeakyRelu: _rectified_derivative,
    layers.Erf: lambda layer, *k: _erf_derivative(*k),
    layers.Tanh: lambda layer, *k: _tanh_sum(_erf_derivative, *k, slopes=True),
}

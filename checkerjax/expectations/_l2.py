"""L2 pooling of a Gaussian field: E[y1] and E[y1 y2] for y = sqrt(sum over i of w_i x_i^2), by quadrature.

A root is an integral of exponentials, sqrt(q) = 1 / (2 sqrt(pi)) times the integral over u of (1 - exp(-u q)) u^(-3/2).
So with Q = y^2, A the covariance of the sqrt(w_i) x_i and D(u) = E[exp(-u Q)] = det(I + 2 u A)^(-1/2),

    E[y] = 1 / (2 sqrt(pi)) times the integral over u of (1 - D(u)) u^(-3/2),
    Cov(y1, y2) = 1 / (4 pi) times the integral over u, v of (D(u, v) - D(u) D(v)) (u v)^(-3/2).

After u = (c sinh t)^2 the integrands are smooth and even in t and decay exponentially, which is where the trapezoidal
rule converges exponentially. exp(-u Q1) leaves (x1, x2) Gaussian, so D(u, v) comes from the eigenvalues that are left
to A2. Results are right to 1e-9 of sqrt(E[Q1] E[Q2]). The 1e-12 that `downsample` adds to Q is left out.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = Any  # NumPy's or JAX's
_STEP, _NODES = 0.3, 39  # the integrands are analytic for |Im t| < pi / 2 and decay at least as exp(-2 t)
_FLOATS_AT_ONCE = 4_000_000


def l2_dual(weights: Array, sigma11: Array, sigma12: Array, sigma22: Array) -> Array:
    """E[y1 y2] of the roots of the weighted sums of squares in two windows of a zero-mean Gaussian field.

    Args:
      weights: `[p]`, at least 0: of the squares, the same in both windows.
      sigma11: `[..., p, p]`, covariance of the first window's samples.
      sigma12: `[..., p, p]`, covariance of the first's (rows) with the second's.
      sigma22: `[..., p, p]`, covariance of the second's.

    Returns:
      `[...]`. NumPy's float64, where equal cases are computed once and independent windows cost nothing; JAX's of
      JAX's arrays, which can be differentiated.

    Example:
      >>> one, half = np.ones((1, 1)), np.full((1, 1), 0.5)  # a window of one sample: E|x1 x2|
      >>> round(float(l2_dual(np.ones(1), one, half, one)), 6)
      0.717996
      >>> round(2 / math.pi * (math.sqrt(0.75) + 0.5 * math.asin(0.5)), 6)
      0.717996
    """
    scaled = [scale_window(weights, sigma, weights) for sigma in (sigma11, sigma12, sigma22)]
    return root_mean(scaled[0]) * root_mean(scaled[2]) + root_covariance(*scaled)


def l2_mean(weights: Array, sigma: Array) -> Array:
    """E[y] of the root of the weighted sum of squares in a window of a zero-mean Gaussian field.

    Args:
      weights: `[p]`, at least 0: of the squares.
      sigma: `[..., p, p]`, covariance of the window's samples.

    Returns:
      `[...]`.

    Example:
      >>> round(float(l2_mean(np.ones(2), np.eye(2))) ** 2, 6)  # pi / 2: Rayleigh's law
      1.570796
    """
    return root_mean(scale_window(weights, sigma, weights))


def scale_window(weights1: Array, sigma: Array, weights2: Array) -> Array:
    """The covariance of sqrt(weights1) x1 and sqrt(weights2) x2."""
    xp = jnp if isinstance(sigma, jax.Array) else np
    sigma = xp.asarray(sigma, sigma.dtype if isinstance(sigma, jax.Array) else np.float64)
    rows, columns = (xp.asarray(np.sqrt(w), sigma.dtype) for w in (weights1, weights2))
    return rows[..., :, None] * sigma * columns[..., None, :]


def root_mean(a: Array) -> Array:
    """E sqrt(x^T x) for x ~ N(0, a), `[..., p, p]`."""
    xp = a.__array_namespace__()
    total = xp.trace(a, axis1=-2, axis2=-1)
    safe, y, steps = _nodes(total, finer=2)  # large windows need it, and in one dimension it costs little
    spread = _decay(y, xp.linalg.eigvalsh(a))
    # Less that of one sample with the same E[Q], whose E[y] is known: the rest decays fast at both ends.
    single = _decay(y, safe[..., None])
    rest = xp.sum(steps * (single - spread) / y**2, axis=-1)
    return xp.where(total > 0, xp.sqrt(safe * 2 / math.pi) + rest / math.sqrt(math.pi), 0.0)


def root_covariance(a11: Array, a12: Array, a22: Array) -> Array:
    """Cov(sqrt(x1^T x1), sqrt(x2^T x2)) for Gaussian (x1, x2) of these covariances, `[..., p, p]`."""
    shape = np.broadcast_shapes(a11.shape, a12.shape, a22.shape)
    if isinstance(a12, jax.Array):
        return _covariance(*(jnp.broadcast_to(a, shape) for a in (a11, a12, a22)))
    cases = np.stack([np.broadcast_to(a, shape).reshape(-1, *shape[-2:]) for a in (a11, a12, a22)], axis=1)
    result = np.zeros(len(cases))
    dependent = np.flatnonzero(cases[:, 1].any(axis=(1, 2)))
    if dependent.size:
        first, inverse = _distinct(cases[dependent])
        result[dependent] = _in_chunks(cases[dependent[first]])[inverse]
    return result.reshape(shape[:-2])


def _distinct(cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of one of each kind of case, and the kind of each; equal means to 12 digits of the largest number."""
    flat = cases.reshape(len(cases), -1)
    digits = np.rint(flat / np.abs(flat).max() * 1e12) + 0.0  # no -0.0
    _, first, inverse = np.unique(digits, axis=0, return_index=True, return_inverse=True)
    return first, inverse.reshape(-1)


def _in_chunks(cases: np.ndarray) -> np.ndarray:
    count = max(1, _FLOATS_AT_ONCE // (_NODES * cases.shape[-1] ** 2))
    chunks = [cases[i : i + count] for i in range(0, len(cases), count)]
    return np.concatenate([_covariance(*chunk.swapaxes(0, 1)) for chunk in chunks])


def _covariance(a11: Array, a12: Array, a22: Array) -> Array:
    xp = a12.__array_namespace__()
    _, y, y_steps = _nodes(xp.trace(a11, axis1=-2, axis2=-1))
    _, z, z_steps = _nodes(xp.trace(a22, axis1=-2, axis2=-1))
    given = a22[..., None, :, :] - _explained(y, a11, a12)
    change = _decay(z[..., None, :], xp.linalg.eigvalsh(given)) - _decay(z, xp.linalg.eigvalsh(a22))[..., None, :]
    inner = xp.sum(z_steps[..., None, :] * change / z[..., None, :] ** 2, axis=-1)
    return xp.sum(y_steps * _decay(y, xp.linalg.eigvalsh(a11)) * inner / y**2, axis=-1) / math.pi


def _explained(y: Array, a11: Array, a12: Array) -> Array:
    """What exp(-y^2 Q1) takes from the covariance of x2: a12^T 2 y^2 (1 + 2 y^2 a11)^(-1) a12, `[..., nodes, p, p]`."""
    tilt = 2 * y**2
    if not isinstance(a12, jax.Array):
        values, vectors = np.linalg.eigh(a11)
        mixed = vectors.swapaxes(-1, -2) @ a12
        shrunk = tilt[..., None] / (1 + tilt[..., None] * values[..., None, :])
        return mixed.swapaxes(-1, -2)[..., None, :, :] @ (shrunk[..., None] * mixed[..., None, :, :])
    # Eigenvectors have no derivative where eigenvalues are equal; a solution has.
    tilt, rows = tilt[..., None, None], a12[..., None, :, :]
    system = jnp.eye(a12.shape[-1], dtype=a12.dtype) + tilt * a11[..., None, :, :]
    solved = jnp.linalg.solve(system, jnp.broadcast_to(rows, system.shape))
    return tilt * jnp.matmul(jnp.swapaxes(rows, -1, -2), solved)


def _nodes(total: Array, *, finer: int = 1) -> tuple[Array, Array, Array]:
    """`total`, or 1 where it is 0; and the nodes c sinh(t) and their weights `[..., nodes]`."""
    xp = total.__array_namespace__()
    safe = xp.where(total > 0, total, 1.0)
    scale = 1 / xp.sqrt(2 * safe)[..., None]
    step = _STEP / finer
    times = (np.arange(_NODES * finer) + 0.5) * step  # half a step off 0, where the integrands are 0 / 0
    sinh, cosh = (xp.asarray(values, total.dtype) for values in (np.sinh(times), np.cosh(times)))
    return safe, scale * sinh, step * scale * cosh


def _decay(y: Array, spectrum: Array) -> Array:
    """E[exp(-y^2 Q)] at each y `[..., nodes]` for eigenvalues `[..., p]`; those that rounding made negative are 0."""
    xp = y.__array_namespace__()
    positive = xp.where(spectrum > 0, spectrum, 0.0)
    # Factors below 1, whose product may vanish, where one of their inverses would overflow.
    return xp.prod(1 / xp.sqrt(1 + 2 * y[..., :, None] ** 2 * positive[..., None, :]), axis=-1)

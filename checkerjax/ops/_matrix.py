"""Any linear operator as the matrix that it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import as_int, concrete


def as_matrix(
    f: Callable[[jax.Array], jax.Array], shape: Sequence[int], *, dtype: str | np.dtype = "float32"
) -> jax.Array:
    """The explicit matrix of a linear operator.

    Args:
      f: maps an array of `shape` to an array, linearly (no bias).
      shape: of the whole input, batch and channels too.
      dtype: of the input.

    Returns:
      `[outputs, inputs]`, both flattened row by row: `as_matrix(f, x.shape) @ x.ravel()` is `f(x).ravel()`.

    Raises:
      TypeError: if `f` is not callable, `shape` no sequence of ints or `dtype` not floating.
      ValueError: for an empty shape, or if `f` is not linear (seen on two inputs, when not traced).

    Example:
      >>> from checkerjax import conv
      >>> as_matrix(lambda x: conv(x, jnp.array([1.0, 2.0]).reshape(2, 1, 1), padding="VALID"), (1, 3, 1))
      Array([[1., 2., 0.],
             [0., 1., 2.]], dtype=float32)

    References:
      Dumoulin and Visin, arXiv:1603.07285, section 4.1 (convolution as a matrix operation).
    """
    if isinstance(shape, (int, str)):
        raise TypeError(f"as_matrix: shape must be a sequence of ints, batch and channels too; got {shape!r}.")
    shape = tuple(as_int("as_matrix", f"shape[{i}]", n, minimum=1) for i, n in enumerate(shape))
    if not callable(f):
        raise TypeError(f"as_matrix: f must be callable; got {type(f).__name__}.")
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"as_matrix: dtype must be floating; got {np.dtype(dtype)}.")
    size = math.prod(shape)
    with jax.default_matmul_precision("highest"):  # where f leaves it to the backend
        columns = jax.vmap(lambda unit: f(unit.reshape(shape)).ravel())(jnp.eye(size, dtype=dtype))
        _check_linear(f, columns.T, shape)
    return columns.T


def _check_linear(f: Callable[[jax.Array], jax.Array], matrix: jax.Array, shape: tuple[int, ...]) -> None:
    # Signs alternate and sizes differ, and differ from one, so that no offset, rectifier or curve goes unseen.
    probe = jnp.asarray((-1.0) ** np.arange(matrix.shape[1]) * (2 + np.arange(matrix.shape[1]) % 6), matrix.dtype)
    for x in (probe, -probe):
        out = f(x.reshape(shape)).ravel()
        if concrete(out) is None or concrete(matrix) is None:
            return
        predicted = jnp.matmul(matrix, x, precision="highest")
        scale = jnp.abs(matrix).sum(axis=1).max() * 7 + jnp.abs(out).max()
        tolerance = 32 * math.sqrt(matrix.shape[1]) * float(jnp.finfo(matrix.dtype).eps) * float(scale)
        if float(jnp.abs(out - predicted).max()) > tolerance:
            raise ValueError(
                "as_matrix: f is not linear; a matrix cannot stand for it. Take out biases and activations."
            )

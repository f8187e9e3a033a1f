"""Weights of resampling by an integer factor: static, in float64, shared by operators and counts."""

from __future__ import annotations

import numpy as np

CENTRES = ("half_pixel", "sample", "corners")


def positions(size: int, scale: int, centres: str) -> tuple[np.ndarray, int]:
    """Where each of `scale * size` outputs lies among the inputs, as integers over one common denominator."""
    n = np.arange(scale * size)
    if centres == "half_pixel":
        return 2 * n + 1 - scale, 2 * scale
    if centres == "sample":
        return n, scale
    return n * (size - 1), max(scale * size - 1, 1)


def nearest_indices(size: int, scale: int, centres: str) -> np.ndarray:
    """The nearest input of each output; the lower one of two that are equally near."""
    numerator, denominator = positions(size, scale, centres)
    return np.clip(-((denominator - 2 * numerator) // (2 * denominator)), 0, size - 1)


def triangle(t: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(t))


def cubic(t: np.ndarray, a: float) -> np.ndarray:
    t = np.abs(t)
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t < 1, inner, np.where(t < 2, outer, 0.0))


def lanczos3(t: np.ndarray) -> np.ndarray:
    # At whole distances the sine is zero, up to a rounding that would count as a tap.
    inside = (np.abs(t) < 3) & ((t == 0) | (t != np.rint(t)))
    return np.where(inside, np.sinc(t) * np.sinc(t / 3), 0.0)


def resampling_matrix(size: int, scale: int, method: str, centres: str, cubic_a: float = -0.5) -> np.ndarray:
    """Interpolation along one axis as a matrix `[scale * size, size]`, rows summing to one.

    Taps that fall outside the field are dropped and the others scaled up, as `jax.image.resize` does.
    """
    numerator, denominator = positions(size, scale, centres)
    if method == "nearest":
        matrix = np.zeros((scale * size, size))
        matrix[np.arange(scale * size), nearest_indices(size, scale, centres)] = 1.0
        return matrix
    distance = (numerator[:, None] - denominator * np.arange(size)) / denominator
    if method == "linear":
        weights = triangle(distance)
    elif method == "cubic":
        weights = cubic(distance, cubic_a)
    else:
        weights = lanczos3(distance)
    return weights / weights.sum(axis=1, keepdims=True)

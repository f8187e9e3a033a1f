"""Sums of paths in int64 that raise instead of wrapping, along an axis and over branches."""

from __future__ import annotations

import numpy as np

from checkerjax.stacks._reads import Reads

LARGEST = 2**63 - 1


def gather(op: str, reads: Reads, values: np.ndarray, axis: int) -> np.ndarray:
    """The step applied along `axis`: numerators at the outputs."""
    positions, weights = reads.resolved()
    values = np.moveaxis(_widen(values, _largest(np.abs(weights).sum(axis=1))), axis, -1)
    if values.dtype == object:
        weights = weights.astype(object)
    out = np.zeros((*values.shape[:-1], reads.outputs), np.result_type(values, weights))
    for column, weight in zip(positions.T, weights.T):
        out = out + weight * values[..., column]
    return np.moveaxis(narrow(op, out), -1, axis)


def scatter(op: str, reads: Reads, values: np.ndarray, axis: int) -> np.ndarray:
    """The transposed step applied along `axis`: numerators at the inputs."""
    positions, weights = reads.resolved()
    column_sums = np.zeros(reads.size, weights.dtype)
    np.add.at(column_sums, positions, np.abs(weights))
    values = np.moveaxis(_widen(values, _largest(column_sums)), axis, 0)
    if values.dtype == object:
        weights = weights.astype(object)
    out = np.zeros((reads.size, *values.shape[1:]), np.result_type(values, weights))
    for column, weight in zip(positions.T, weights.T):
        np.add.at(out, column, weight.reshape(-1, *(1,) * (values.ndim - 1)) * values)
    return np.moveaxis(narrow(op, out), 0, axis)


def largest(reads: Reads, values: np.ndarray, axis: int) -> np.ndarray:
    """The largest of the values that each output reads."""
    positions, _ = reads.resolved()
    inside = ~reads.outside()
    values = np.moveaxis(values, axis, -1)
    read = np.where(inside, values[..., positions], np.array(0, values.dtype))
    return np.moveaxis(read.max(axis=-1), -1, axis)


def add(op: str, terms: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    """The sum of fractions, each an array of numerators and a denominator, over their common denominator."""
    common = int(np.lcm.reduce([np.array(d, object) for _, d in terms]))
    factors = [common // d for _, d in terms]
    wide = [_widen(values, len(terms) * factor) * factor for (values, _), factor in zip(terms, factors)]
    return narrow(op, sum(wide[1:], start=wide[0])), common


def total(op: str, values: np.ndarray) -> np.ndarray:
    """The sum over all axes, a 0-d array."""
    return narrow(op, np.asarray(_widen(values, values.size).sum()))


def outer(op: str, rows: list[np.ndarray]) -> np.ndarray:
    """The product of one row per axis, as a map."""
    out = np.ones((), np.int64)
    for row in rows:
        out = narrow(op, np.multiply.outer(_widen(out, _largest(row)), row))
    return out


def narrow(op: str, values: np.ndarray) -> np.ndarray:
    """Python ints back to int64."""
    if values.dtype != object:
        return values
    top = _largest(values)
    if top > LARGEST:
        raise ValueError(f"{op}: {top:.2e} paths at one sample are more than an int64 holds. Count a shorter stack.")
    return values.astype(np.int64)


def _widen(values: np.ndarray, factor: int) -> np.ndarray:
    """Python ints instead of int64 where a product with `factor` may not fit."""
    if values.dtype.kind == "f" or _largest(values) * factor <= LARGEST:
        return values
    return values.astype(object)


def _largest(values: np.ndarray) -> int:
    return int(np.max(values, initial=0)) if values.dtype.kind != "f" else 1

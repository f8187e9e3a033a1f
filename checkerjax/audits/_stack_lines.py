"""Fixed linear maps along one axis, in one spelling each: two programs that do the same have equal lines."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from checkerjax.stacks._reads import resolve_border

SAME_WEIGHT = 1e-5  # of the largest weight: those of a program come from float32
NO_WEIGHT = 5e-6  # of the largest: what rounding leaves where terms cancel
SMALL = 2**16  # elements of a matrix that is quicker than sorting


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """Output n is the sum over t of weights[n, t] x[positions[n, t]]; a row's positions rise, each named once."""

    size: int  # input samples
    positions: np.ndarray  # int64 [out, taps]; 0 where nothing is read
    weights: np.ndarray  # float64 [out, taps]; 0 where nothing is read, and then to the end of the row

    @property
    def outputs(self) -> int:
        return self.positions.shape[0]

    @property
    def taps(self) -> int:
        return self.positions.shape[1]

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Samples that each output reads."""
        return (self.weights != 0).sum(axis=1)

    @functools.cached_property
    def is_identity(self) -> bool:
        n = self.size
        return self.positions.shape == (n, 1) and bool(
            (self.weights == 1).all() and np.array_equal(self.positions[:, 0], np.arange(n))
        )

    @functools.cached_property
    def key(self) -> tuple[int, tuple[int, ...], bytes, bytes]:
        """What equal lines share, to look up what is known of them."""
        return self.size, self.positions.shape, self.positions.tobytes(), self.weights.tobytes()

    def rows(self, start: int, stop: int) -> Line:
        """Some of the outputs."""
        return Line(self.size, self.positions[start:stop], self.weights[start:stop])

    def scaled(self, factor: float) -> Line:
        return self if factor == 1 else Line(self.size, self.positions, self.weights * factor)


def line(size: int, positions: np.ndarray, weights: np.ndarray) -> Line:
    """A line from any spelling of it: taps in any order, or several on one sample."""
    if weights.shape[1] == 1:
        weights = _without_noise(weights)
    elif weights.shape[0] * size <= SMALL:
        positions, weights = _by_matrix(size, positions, weights)
    else:
        positions, weights = _merged(size, positions, weights)
        positions, weights = _sorted(size, positions, _without_noise(weights))
        taps = max(int((weights != 0).sum(axis=1).max(initial=0)), 1)
        positions, weights = positions[:, :taps], weights[:, :taps]
    return Line(
        size, np.ascontiguousarray(np.where(weights != 0, positions, 0), np.int64), np.ascontiguousarray(weights)
    )


def _without_noise(weights: np.ndarray) -> np.ndarray:
    sizes = np.abs(weights)
    return np.where(sizes > NO_WEIGHT * sizes.max(initial=0.0), weights, 0.0)


def _by_matrix(size: int, positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs = len(weights)
    flat = (positions + size * np.arange(outputs)[:, None]).ravel()
    matrix = _without_noise(np.bincount(flat, weights.ravel(), outputs * size).reshape(outputs, size))
    used = matrix != 0
    taps = max(int(used.sum(axis=1).max(initial=0)), 1)
    order = np.argsort(~used, axis=1, kind="stable")[:, :taps]
    return order, np.take_along_axis(matrix, order, 1)


def _sorted(size: int, positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys = np.where(weights != 0, positions, size)
    order = np.argsort(keys, axis=1, kind="stable")
    return np.take_along_axis(keys, order, 1), np.take_along_axis(weights, order, 1)


def _merged(size: int, positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    positions, weights = _sorted(size, positions, weights)
    for t in range(weights.shape[1] - 1, 0, -1):
        again = (positions[:, t] == positions[:, t - 1]) & (positions[:, t] < size)
        if again.any():
            weights[:, t - 1] += np.where(again, weights[:, t], 0.0)
            weights[:, t] = np.where(again, 0.0, weights[:, t])
    return positions, weights


def same(a: Line, b: Line) -> bool:
    """Whether two lines are one, to the rounding of float32."""
    if a is b:
        return True
    if a.size != b.size or a.positions.shape != b.positions.shape or not np.array_equal(a.positions, b.positions):
        return False
    return bool((np.abs(a.weights - b.weights) <= SAME_WEIGHT * np.abs(b.weights).max(initial=0.0)).all())


def compose(first: Line, second: Line) -> Line:
    """One line after another."""
    if second.is_identity:
        return first
    if first.is_identity:
        return second
    weights = second.weights[:, :, None] * first.weights[second.positions]
    positions = first.positions[second.positions]
    return line(first.size, positions.reshape(second.outputs, -1), weights.reshape(second.outputs, -1))


def added(a: Line, b: Line) -> Line:
    """The sum of two lines."""
    return line(a.size, np.hstack([a.positions, b.positions]), np.hstack([a.weights, b.weights]))


@functools.cache
def identity(size: int) -> Line:
    return padded(size, 0, 0)


@functools.cache
def padded(size: int, low: int, high: int, mode: str = "zeros") -> Line:
    """Samples added before and after, or, where negative, taken away."""
    at = np.arange(-low, size + high)
    inside = (at >= 0) & (at < size)
    if mode == "zeros":
        return line(size, np.where(inside, at, 0)[:, None], inside[:, None].astype(np.float64))
    return line(size, resolve_border(at, size, mode)[:, None], np.ones((len(at), 1)))


@functools.cache
def stuffed(size: int, stride: int, low: int, high: int) -> Line:
    """`stride - 1` zeros between samples, then as `padded` with zeros."""
    at = np.arange(-low, stride * (size - 1) + 1 + high)
    real = (at % stride == 0) & (at >= 0) & (at < stride * size)
    return line(size, np.where(real, at // stride, 0)[:, None], real[:, None].astype(np.float64))


def windows(size: int, outputs: int, taps: np.ndarray, stride: int, low: int, mode: str = "zeros") -> Line:
    """A filter every `stride` samples of a field padded by `low` and as much as it takes."""
    at = stride * np.arange(outputs)[:, None] + np.arange(len(taps)) - low
    weights = np.broadcast_to(np.asarray(taps, np.float64), at.shape)
    if mode != "zeros":
        return line(size, resolve_border(at, size, mode), weights)
    inside = (at >= 0) & (at < size)
    return line(size, np.where(inside, at, 0), np.where(inside, weights, 0.0))

"""Covariances of random stacks on a small torus, as explicit matrices over all pixels: an oracle."""

import functools
import itertools
import math
from typing import Any

import numpy as np

from checkerjax import stacks


class Moments:
    """E[x(n) x(m)] within one image and between two, and E[x(n)], over all pixels of a torus of `size`."""

    def __init__(self, own, between, mean, size):
        self.own, self.between, self.mean, self.size = own, between, mean, size

    def map(self, f, mean, size=None):
        return Moments(f(self.own), f(self.between), mean, size or self.size)


def start(size, kind):
    n = math.prod(size)
    known = {"white": np.eye(n), "flat": np.ones((n, n))}
    own = known[kind] if isinstance(kind, str) else by_difference(kind)
    return Moments(own, np.zeros((n, n)), np.zeros(n), tuple(size))


def by_difference(autocovariance):
    """A stationary field's covariance as a matrix."""
    pixels = list(itertools.product(*map(range, autocovariance.shape)))
    rows = [[autocovariance[tuple(np.subtract(a, b))] for b in pixels] for a in pixels]
    return np.array(rows)


def by_lag(matrix, size, period):
    """`[*P, *M]` of a matrix over all pixels."""
    out = np.zeros((*period, *size))
    for p in itertools.product(*map(range, period)):
        for t in itertools.product(*map(range, size)):
            there = np.add(p, t) % size
            out[(*p, *t)] = matrix[np.ravel_multi_index(p, size), np.ravel_multi_index(tuple(there), size)]
    return out


def run(stack, x, *, power=1.0):
    """`x` after a stack whose weights each have variance `power` over the channels that are summed."""
    for layer in stack:
        x = _layer(layer, x, power)
    return x


def _layer(layer, x, power):
    if isinstance(layer, stacks.Residual):
        return _added(x, run(layer.stack, x, power=power))
    if isinstance(layer, stacks.Parallel):
        outs = [run(branch, x, power=power) for branch in layer.stacks]
        return functools.reduce(_added, outs)
    if isinstance(layer, stacks.Bias):
        return x.map(lambda k: k + layer.std**2, x.mean)
    if isinstance(layer, (stacks.Relu, stacks.LeakyRelu)):
        return _rectified(getattr(layer, "slope", 0.0), x)
    if isinstance(layer, stacks.BatchNorm):
        return _normalised(layer, x)
    if isinstance(layer, stacks.ResizeConv):
        x = _layer(stacks.Upsample(layer.scale, layer.method, layer.centres), x, power)
        return _layer(stacks.Conv(layer.kernel), x, power)
    numbers: list[list[np.ndarray]] = [_numbers(layer, axis, n) for axis, n in enumerate(x.size)]
    learned = isinstance(layer, (stacks.Conv, stacks.Deconv, stacks.SubPixel))
    maps: list[np.ndarray] = [functools.reduce(np.kron, choice) for choice in itertools.product(*numbers)]
    size = tuple(own[0].shape[0] for own in numbers)
    mean = np.zeros(maps[0].shape[0]) if learned else maps[0] @ x.mean
    if getattr(layer, "initialiser", None) == "icnr":  # 1 / fan-in
        power = 1 / math.prod(layer.kernel if isinstance(layer.kernel, tuple) else (layer.kernel,) * len(size))
    return x.map(lambda k: sum(a @ k @ a.T for a in maps) * (power if learned else 1.0), mean, size)


def _added(a, b):
    """The sum of two fields, one of which has independent weights at its end."""
    cross = np.multiply.outer(a.mean, b.mean)
    return Moments(a.own + b.own + cross + cross.T, a.between + b.between + cross + cross.T, a.mean + b.mean, a.size)


def _rectified(slope, x):
    variances = np.diag(x.own)

    def moments(k):
        scale = np.sqrt(np.multiply.outer(variances, variances))
        t = np.arccos(np.clip(k / scale, -1, 1))
        relu = scale / (2 * np.pi) * (np.sin(t) + (np.pi - t) * np.cos(t))
        # phi(u) = slope u + (1 - slope) relu(u), and E[u relu(v)] = k / 2.
        return slope**2 * k + slope * (1 - slope) * k + (1 - slope) ** 2 * relu

    return x.map(moments, (1 - slope) * np.sqrt(variances / (2 * np.pi)))


def _normalised(layer, x):
    if layer.per == "unit":
        own = x.own - x.between
        root = np.sqrt(np.diag(own) + layer.epsilon)
        own = layer.std**2 * own / np.multiply.outer(root, root)
        return Moments(own, 0 * x.between, 0 * x.mean, x.size)
    n = len(x.mean)
    centre = np.eye(n) - 1 / n
    between = centre @ x.between @ centre
    shared = np.ones((n, n)) / n
    own = x.own - shared @ x.between - x.between @ shared + shared @ x.between @ shared
    within = own - between
    inverse, shared = _divided(between, np.diag(within).mean() + layer.epsilon)
    own, between = layer.std**2 * (inverse * within + shared), layer.std**2 * shared
    return Moments(own, between, 0 * x.mean, x.size)


def _divided(between, within):
    """E[1 / v] and E[m m^T / v] for m ~ N(0, between) and v = within + the mean of m^2, by Gauss-Hermite quadrature."""
    values, vectors = np.linalg.eigh(between)
    kept = values > 1e-12
    if not kept.any():
        return 1 / within, 0 * between
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = np.stack(np.meshgrid(*[nodes] * kept.sum()), -1).reshape(-1, kept.sum())
    density = functools.reduce(np.multiply.outer, [weights / weights.sum()] * kept.sum()).ravel()
    m = grid @ (vectors[:, kept] * np.sqrt(values[kept])).T
    density = density / (within + (m * m).mean(1))
    return density.sum(), (m * density[:, None]).T @ m


def _numbers(layer, axis, n) -> Any:
    """A matrix for each learned number along an axis; one for a fixed filter."""

    def field(name):
        value = getattr(layer, name)
        return value[axis] if isinstance(value, tuple) else value

    match layer:
        case stacks.Conv():
            k, s, d = field("kernel"), field("stride"), field("dilation")
            return [_reads(n // s, n, lambda m, j=j: s * m + d * j - _low(layer, n, k, s, d)) for j in range(k)]
        case stacks.Deconv():
            k, s, d = field("kernel"), field("stride"), field("dilation")
            low = max(d * (k - 1) + 1 - s, 0) // 2 if layer.padding == "SAME" else 0 if layer.padding == "VALID" else (
                layer.padding if isinstance(layer.padding, int) else layer.padding[axis][0]
            )  # fmt: skip
            taps = [_reads(n, s * n, lambda m, j=j: s * m + d * j - low).T for j in range(k)]
            return [sum(taps[b : b + s]) for b in range(0, k, s)] if layer.initialiser == "icnr" else taps
        case stacks.SubPixel():
            k, s = field("kernel"), field("scale")
            low = _low(layer, n, k, 1, 1)
            rows = {(r, j): _phase(s, r, _reads(n, n, lambda m, j=j: m + j - low)) for r in range(s) for j in range(k)}
            if layer.initialiser == "icnr":
                return [sum(rows[r, j] for r in range(s)) for j in range(k)]
            return list(rows.values())
        case stacks.Upsample():
            return [_interpolation(field("scale"), layer.method, layer.centres, n)]
    if isinstance(layer, stacks.Blur):
        taps, s = (
            [math.comb(field("kernel") - 1, j) / 2 ** (field("kernel") - 1) for j in range(field("kernel"))],
            (field("stride")),
        )
    elif isinstance(layer, stacks.AvgPool):
        taps, s = [1 / field("kernel")] * field("kernel"), field("stride")
    else:
        row = np.ones(1)
        for _ in range(layer.order + 1):
            row = np.convolve(row, np.ones(field("scale")) / field("scale"))
        taps, s = row.tolist(), 1
    low = _low(layer, n, len(taps), s, 1)
    return [sum(w * _reads(n // s, n, lambda m, j=j: s * m + j - low) for j, w in enumerate(taps))]


def _low(layer, n, k, s, d):
    if layer.padding == "SAME":
        return max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0) // 2
    return 0 if layer.padding == "VALID" else layer.padding


def _reads(rows, columns, place):
    matrix = np.zeros((rows, columns))
    for m in range(rows):
        matrix[m, place(m) % columns] += 1
    return matrix


def _phase(s, r, matrix):
    out = np.zeros((s * len(matrix), matrix.shape[1]))
    out[r::s] = matrix
    return out


def _interpolation(s, method, centres, n):
    matrix = np.zeros((s * n, n))
    for row in range(s * n):
        place = (row + 0.5) / s - 0.5 if centres == "half_pixel" else row / s
        if method == "zeros":
            if row % s == 0:
                matrix[row, row // s] = 1
        elif method == "nearest":
            matrix[row, math.ceil(place - 0.5) % n] = 1
        elif method == "linear":
            for m in (math.floor(place), math.floor(place) + 1):
                matrix[row, m % n] += 1 - abs(place - m)
        else:
            reach = 2 if method == "cubic" else 3
            kernel = _cubic if method == "cubic" else (lambda t: np.sinc(t) * np.sinc(t / 3))
            places = range(math.floor(place) - reach + 1, math.floor(place) + reach + 1)
            total = sum(kernel(place - m) for m in places)
            for m in places:
                matrix[row, m % n] += kernel(place - m) / total
    return matrix


def _cubic(t):
    t = abs(t)
    return 1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

"""The definitions of the operators, written as float64 loops over single samples; nothing here is fast or shared.

Letters as in the guide of Dumoulin and Visin: k kernel, s stride, d dilation, p padding (low, high). Every function
takes one stride, dilation and (low, high) pair per axis.
"""

from __future__ import annotations

import itertools
import math

import numpy as np


def same_pads(size, k, s, d):
    """TensorFlow's "SAME" of a convolution: ceil(i / s) outputs, the odd zero at the end."""
    pads = []
    for i, kernel, stride, dilation in zip(size, k, s, d):
        total = max((math.ceil(i / stride) - 1) * stride + dilation * (kernel - 1) + 1 - i, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def conv(x, kernel, s, pads, d, groups=1):
    """y[n] = sum_j x[s n + d j - p] kernel[j], zero outside x; output channel o reads its own block of inputs."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    size, k, outputs, inputs = x.shape[1:-1], kernel.shape[:-2], kernel.shape[-1], kernel.shape[-2]
    out_size = [(i + sum(p) - b * (a - 1) - 1) // c + 1 for i, p, a, b, c in zip(size, pads, k, d, s)]
    out = np.zeros((x.shape[0], *out_size, outputs))
    for n in np.ndindex(*out_size):
        for j in np.ndindex(*k):
            m = tuple(c * a + b * t - p[0] for c, a, b, t, p in zip(s, n, d, j, pads))
            if all(0 <= a < i for a, i in zip(m, size)):
                for o in range(outputs):
                    block = o // (outputs // groups)
                    seen = x[(slice(None), *m, slice(block * inputs, (block + 1) * inputs))]
                    out[(slice(None), *n, o)] += seen @ kernel[(*j, slice(None), o)]
    return out


def conv_transpose(x, kernel, s, low, out_size, d, groups=1):
    """x[m] kernel[j] is added to y[s m + d j - p] where that exists: `low` is p, `out_size` says what exists."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    size, k, per_block, inputs = x.shape[1:-1], kernel.shape[:-2], kernel.shape[-1], kernel.shape[-2]
    out = np.zeros((x.shape[0], *out_size, groups * per_block))
    for m, j in itertools.product(np.ndindex(*size), np.ndindex(*k)):
        n = tuple(c * a + b * t - p for c, a, b, t, p in zip(s, m, d, j, low))
        if all(0 <= a < o for a, o in zip(n, out_size)):
            for c in range(inputs):
                first = c // (inputs // groups) * per_block
                stamp = x[(slice(None), *m, slice(c, c + 1))] * kernel[(*j, c)]
                out[(slice(None), *n, slice(first, first + per_block))] += stamp
    return out


def transposed_geometry(size, k, s, padding, extra, d):
    """(low crop, output size) per axis, from the definitions of the three kinds of padding."""
    geometry = []
    pairs = [(padding, padding)] * len(size) if isinstance(padding, int) else padding
    for axis, (i, kernel, stride, more, dilation) in enumerate(zip(size, k, s, extra, d)):
        width = dilation * (kernel - 1) + 1
        if padding == "SAME":  # what the "SAME" of the convolution from s i to i samples adds, it crops
            [(low, _)] = same_pads([stride * i], [kernel], [stride], [dilation])
            geometry.append((low, stride * i + more))
        elif padding == "VALID":
            geometry.append((0, stride * (i - 1) + max(width, stride) + more))
        else:
            low, high = pairs[axis]
            geometry.append((low, stride * (i - 1) + width - low - high + more))
    return zip(*geometry)


def along(matrix, x, axis):
    """A matrix applied along one axis."""
    return np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)


def interpolation(size, scale, method, centres, cubic_a=-0.5):
    """The matrix of an interpolation along one axis, entry by entry."""
    matrix = np.zeros((scale * size, size))
    for n in range(scale * size):
        if centres == "half_pixel":
            at = (n + 0.5) / scale - 0.5
        elif centres == "sample":
            at = n / scale
        else:
            at = n * (size - 1) / (scale * size - 1)
        if method == "nearest":
            distances = [round(abs(at - m), 9) for m in range(size)]
            matrix[n, distances.index(min(distances))] = 1.0  # the first of equals: the lower input
            continue
        for m in range(size):
            matrix[n, m] = WEIGHTS[method](abs(at - m), cubic_a)
        matrix[n] /= matrix[n].sum()
    return matrix


def _linear(t, _):
    return 1 - t if t < 1 else 0.0


def _cubic(t, a):
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _lanczos3(t, _):
    if t < 1e-12:
        return 1.0
    return 3 * math.sin(math.pi * t) * math.sin(math.pi * t / 3) / (math.pi * t) ** 2 if t < 3 else 0.0


WEIGHTS = {"linear": _linear, "cubic": _cubic, "lanczos3": _lanczos3}


def stamps(size, scale, taps, ahead):
    """The matrix along one axis of: x[m] times the taps is added from output s m - ahead on."""
    matrix = np.zeros((scale * size, size))
    for m, (t, tap) in itertools.product(range(size), enumerate(taps)):
        n = scale * m + t - ahead
        if 0 <= n < scale * size:
            matrix[n, m] += tap
    return matrix


def windows(x, scale, window, pads, mode, reduce):
    """`reduce` of every window of a padded field: a function of the window's values `[N, *window, C]`."""
    x = np.pad(np.asarray(x, np.float64), ((0, 0), *pads, (0, 0)), **mode)
    counts = [(i - w) // s + 1 for i, w, s in zip(x.shape[1:-1], window, scale)]
    out = np.zeros((x.shape[0], *counts, x.shape[-1]))
    for n in np.ndindex(*counts):
        at = tuple(slice(s * a, s * a + w) for s, a, w in zip(scale, n, window))
        out[(slice(None), *n)] = reduce(x[(slice(None), *at)])
    return out


def shuffled(x, block, order):
    """Depth to space, one output sample at a time."""
    x = np.asarray(x, np.float64)
    phases = math.prod(block)
    depth = x.shape[-1] // phases
    out = np.zeros((x.shape[0], *(b * i for b, i in zip(block, x.shape[1:-1])), depth))
    for n in np.ndindex(*out.shape[1:-1]):
        place = 0
        for a, b in zip(n, block):
            place = place * b + a % b
        for c in range(depth):
            channel = place * depth + c if order == "depth_first" else c * phases + place
            out[(slice(None), *n, c)] = x[(slice(None), *(a // b for a, b in zip(n, block)), channel)]
    return out

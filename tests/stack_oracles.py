"""Layers in float64 NumPy loops: what `apply` must give, sharing no code with it."""

import itertools
import math

import numpy as np

from checkerjax import stacks

MODES = {"zeros": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}


def run(params, stack, x):
    """The output of a stack of layer descriptions; `params` and `x` in any floating dtype."""
    x = np.asarray(x, np.float64)
    for entry, layer in zip(params, stack):
        x = run_layer(entry, layer, x)
    return x


def run_layer(params, layer, x):
    if isinstance(layer, stacks.Residual):
        return x + run(params, layer.stack, x)
    if isinstance(layer, stacks.Parallel):
        outs = [run(entry, branch, x) for entry, branch in zip(params, layer.stacks)]
        return sum(outs) if layer.combine == "sum" else np.concatenate(outs, axis=-1)
    name = type(layer).__name__
    learned = {key: np.asarray(value, np.float64) for key, value in params.items()}
    return globals()[f"_{name.lower()}"](layer, learned, x)


def axes(value, ndim):
    return value if isinstance(value, tuple) else (value,) * ndim


def same_or_given(x, padding, kernel, stride, dilation):
    """(low, high) per axis of a strided window, TensorFlow's SAME."""
    if padding == "VALID":
        return [(0, 0)] * (x.ndim - 2)
    if padding != "SAME":
        return [(padding, padding)] * (x.ndim - 2) if isinstance(padding, int) else list(padding)
    pairs = []
    for n, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation):
        total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs


def padded(x, pairs, mode):
    return np.pad(x, [(0, 0), *pairs, (0, 0)], mode=MODES[mode])  # pyright: ignore[reportArgumentType, reportCallIssue]


def windows(x, kernel, stride, dilation):
    """Yields each output position and the window it reads, `[N, *kernel, C]`."""
    counts = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation)]
    for out in itertools.product(*map(range, counts)):
        cut = [slice(o * s, o * s + d * (k - 1) + 1, d) for o, s, k, d in zip(out, stride, kernel, dilation)]
        yield out, x[(slice(None), *cut)]


def gather(found):
    """Windows' results, `[N, ...]` by position, as one field."""
    found = dict(found)
    sizes = np.max(list(found), axis=0) + 1
    first = next(iter(found.values()))
    out = np.zeros((first.shape[0], *sizes, *first.shape[1:]))
    for position, value in found.items():
        out[(slice(None), *position)] = value
    return out


def correlate(x, kernel, stride, dilation, groups=1):
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    blocks = []
    for g in range(groups):
        rows = kernel[..., g * outputs : (g + 1) * outputs].reshape(-1, outputs)
        part = x[..., g * inputs : (g + 1) * inputs]
        found = ((at, w.reshape(len(x), -1) @ rows) for at, w in windows(part, kernel.shape[:-2], stride, dilation))
        blocks.append(gather(found))
    return np.concatenate(blocks, axis=-1)


def _conv(layer, params, x):
    ndim = x.ndim - 2
    kernel, stride, dilation = (axes(v, ndim) for v in (layer.kernel, layer.stride, layer.dilation))
    x = padded(x, same_or_given(x, layer.padding, kernel, stride, dilation), layer.pad_mode)
    return correlate(x, params["kernel"], stride, dilation, layer.groups)


def _deconv(layer, params, x):
    ndim, groups = x.ndim - 2, layer.groups
    size, stride, dilation, extra = (
        axes(v, ndim) for v in (layer.kernel, layer.stride, layer.dilation, layer.output_padding)
    )
    kernel = params["kernel"]
    inputs, outputs = kernel.shape[-2] // groups, kernel.shape[-1]
    spans = [d * (k - 1) + 1 for k, d in zip(size, dilation)]
    full = np.zeros((len(x), *(s * n + 2 * w for s, n, w in zip(stride, x.shape[1:-1], spans)), groups * outputs))
    for m in itertools.product(*map(range, x.shape[1:-1])):
        for j in itertools.product(*map(range, size)):
            at = tuple(s * a + d * b for s, a, d, b in zip(stride, m, dilation, j))
            for g in range(groups):
                block = x[(slice(None), *m)][:, g * inputs : (g + 1) * inputs]
                full[(slice(None), *at)][:, g * outputs : (g + 1) * outputs] += (
                    block @ kernel[(*j, slice(g * inputs, (g + 1) * inputs))]
                )
    cuts = []
    for axis, (n, w, s, e) in enumerate(zip(x.shape[1:-1], spans, stride, extra)):
        if layer.padding == "SAME":
            low, length = max(w - s, 0) // 2, s * n + e
        elif layer.padding == "VALID":
            low, length = 0, s * (n - 1) + max(w, s) + e
        else:
            low, high = (layer.padding,) * 2 if isinstance(layer.padding, int) else layer.padding[axis]
            length = s * (n - 1) + w - low - high + e
        cuts.append(slice(low, low + length))
    return full[(slice(None), *cuts)]


def _upsample(layer, params, x):
    for axis, s in enumerate(axes(layer.scale, x.ndim - 2), start=1):
        n = x.shape[axis]
        outputs = np.arange(s * n)
        if layer.method == "zeros":
            keep = (outputs % s == 0).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
            x = np.repeat(x, s, axis) * keep
            continue
        places = {
            "half_pixel": (outputs + 0.5) / s - 0.5,
            "sample": outputs / s,
            "corners": outputs * (n - 1) / (s * n - 1),
        }[layer.centres]
        if layer.method == "nearest":
            places = np.floor((outputs + 0.5) / s) if layer.centres == "half_pixel" else np.ceil(places - 0.5)
        x = np.apply_along_axis(lambda row, where: np.interp(where, np.arange(len(row)), row), axis, x, places)
    return x


def _resizeconv(layer, params, x):
    ndim = x.ndim - 2
    kernel, ones = axes(layer.kernel, ndim), (1,) * ndim
    x = _upsample(layer, params, x)
    x = padded(x, same_or_given(x, layer.padding, kernel, ones, ones), layer.pad_mode)
    return correlate(x, params["kernel"], ones, ones)


def _subpixel(layer, params, x):
    ndim = x.ndim - 2
    kernel, ones, scale = axes(layer.kernel, ndim), (1,) * ndim, axes(layer.scale, ndim)
    x = padded(x, same_or_given(x, layer.padding, kernel, ones, ones), "zeros")
    low = correlate(x, params["kernel"], ones, ones)
    phases = math.prod(scale)
    outputs = low.shape[-1] // phases
    out = np.zeros((len(x), *(s * n for s, n in zip(scale, low.shape[1:-1])), outputs))
    for number, phase in enumerate(itertools.product(*map(range, scale))):
        first = number * outputs if layer.order == "depth_first" else number
        step = 1 if layer.order == "depth_first" else phases
        channels = [first + step * c for c in range(outputs)]
        out[(slice(None), *(slice(p, None, s) for p, s in zip(phase, scale)))] = low[..., channels]
    return out


def _dense(layer, params, x):
    return np.stack([sum(v * plane for v, plane in zip(row, params["kernel"])) for row in x])


def _bias(layer, params, x):
    return x + params["bias"]


def _relu(layer, params, x):
    return np.where(x > 0, x, 0)


def _leakyrelu(layer, params, x):
    return np.where(x > 0, x, layer.slope * x)


def _tanh(layer, params, x):
    return np.tanh(x)


def _erf(layer, params, x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _batchnorm(layer, params, x):
    flat = x.reshape(len(x), -1) if layer.per == "unit" else x.reshape(-1, x.shape[-1])
    flat = layer.std * (flat - flat.mean(0)) / np.sqrt(flat.var(0) + layer.epsilon)
    return flat.reshape(x.shape)


def _pool(x, layer, kernel, reduce, fill):
    ndim = x.ndim - 2
    kernel, stride, ones = axes(kernel, ndim), axes(layer.stride, ndim), (1,) * ndim
    pairs = same_or_given(x, layer.padding, kernel, stride, ones)
    x = np.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=fill)
    space = tuple(range(1, 1 + ndim))
    return gather((at, reduce(window, space)) for at, window in windows(x, kernel, stride, ones))


def _maxpool(layer, params, x):
    return _pool(x, layer, layer.kernel, np.max, -np.inf)


def _avgpool(layer, params, x):
    return _pool(x, layer, layer.kernel, np.mean, 0)


def weighted(rows):
    """A weighted sum over space, for windows, with the outer product of `rows` as weights."""
    weights = np.ones(1)
    for row in rows:
        weights = np.multiply.outer(weights, np.asarray(row))
    return lambda window, space: (window * weights[..., None]).sum(space)


def _l2pool(layer, params, x):
    strides = axes(layer.stride, x.ndim - 2)
    rows = [np.hanning(2 * s + 1)[1:-1] / np.hanning(2 * s + 1).sum() for s in strides]
    kernel = tuple(2 * s - 1 for s in strides)
    return np.sqrt(_pool(x * x, layer, kernel, weighted(rows), 0))


def _blur(layer, params, x):
    ndim = x.ndim - 2
    kernel, stride, ones = axes(layer.kernel, ndim), axes(layer.stride, ndim), (1,) * ndim
    rows = [[math.comb(k - 1, j) / 2 ** (k - 1) for j in range(k)] for k in kernel]
    x = padded(x, same_or_given(x, layer.padding, kernel, stride, ones), layer.pad_mode)
    space = tuple(range(1, 1 + ndim))
    return gather((at, weighted(rows)(window, space)) for at, window in windows(x, kernel, stride, ones))


def _hold(layer, params, x):
    ndim = x.ndim - 2
    rows = []
    for s in axes(layer.scale, ndim):
        row = np.ones(1)
        for _ in range(layer.order + 1):
            row = np.convolve(row, np.full(s, 1 / s))
        rows.append(row)
    kernel, ones = tuple(map(len, rows)), (1,) * ndim
    x = padded(x, same_or_given(x, layer.padding, kernel, ones, ones), layer.pad_mode)
    space = tuple(range(1, 1 + ndim))
    return gather((at, weighted(rows)(window, space)) for at, window in windows(x, kernel, ones, ones))

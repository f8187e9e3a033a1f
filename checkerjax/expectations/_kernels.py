"""Given (trained) kernels and a stationary input: what power and what second-order grid come out, without sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from checkerjax._checks import AXES, as_int, at_least_float32, concrete, one_of
from checkerjax.expectations._kernel_inputs import SpectrumLike, input_roots
from checkerjax.expectations._linear_parts import Chain, Ints, linear_parts
from checkerjax.expectations._linear_runs import Bases, base_chunks, transfer
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import Size, as_size, stack_periods
from checkerjax.stacks._layers import LEARNED, Stack, StackLike
from checkerjax.stacks._plan import place_of
from checkerjax.stacks._text import as_stack

POINTWISE_RULES = ("refuse", "identity")


class ConditionalSpectrum(NamedTuple):
    """Second moments of a network's output, given its weights, over stationary inputs; P is the period of the grid."""

    frequencies: tuple[np.ndarray, ...]  # one [n] per spatial axis, cycles per output sample, in FFT order
    power: Any  # [*n, O], as `power_spectrum` has it: sums over space to the mean square
    cyclic: Any  # complex [*P, *n, O], as `cyclic_spectrum` has it: entry 0 is the power
    phase_powers: Any  # [*P, O], as `phase_powers` has it: the mean square of each phase
    line_powers: Any  # [*P, O], as `line_powers` has it: entries of the power


def conditional_spectrum(
    params: Sequence[Any],
    stack: StackLike,
    size: Size,
    *,
    spectrum: SpectrumLike = "white",
    autocovariance: Any = None,
    channels: int | None = None,
    pointwise: str = "refuse",
) -> ConditionalSpectrum:
    """The expected output power and cyclic spectrum of a linear network with given weights.

    Exact, for a stationary input of zero mean, away from borders: the field is a torus of `size` samples, with every
    padding circular, in the places of the network's own outputs. For an upsampler y[n] = sum_m x[m] h[n - s m] it is

      S^{m / s}(f) = H(f) H(f - m / s)* S_x(s f) / s,

    summed over independent input channels; a downsampling adds up the frequencies that it folds together. A chain of
    layers is one such map, a period P of the output for every M samples of the input.

    Args:
      params: of `init`, or trained; NumPy or JAX arrays. Concrete ones are taken in double precision; traced ones are
        differentiated, in their own.
      stack: text, a layer or a sequence of layers; linear but for what `pointwise` says. One layer for one kernel:
        "deconv k4 s2", "conv k3 s2", "subpixel k3 s2", "resize k3 s2 linear".
      size: of the input torus, an int for one axis or one int per axis; multiples of M. A torus shorter than the
        response of the network wraps it around.
      spectrum: of the input: power per cycle at frequencies in cycles per input sample. "white" (1 everywhere), "flat"
        (constant in space, variance 1, all power at 0: then `line_powers` are the lines and DC of the phase gains),
        a function of one array of frequencies per axis, or an array in FFT order, `[*size]` for independent channels
        that are alike, or `[*size, C, C]` for matrices E[x_c x_c'*] between channels. Its mean over the torus is the
        variance.
      autocovariance: E[x_c(n + t) x_c'(n)] at lag t on the torus, `[*size]` or `[*size, C, C]`, instead of the
        spectrum.
      channels: of the input; None takes those of the first kernel, or 1 if there is none.
      pointwise: "refuse" pointwise layers, biases and normalisation, or take them as the "identity", which is the
        linear part that the conditions of `stack_conditions` are about.

    Returns:
      A `ConditionalSpectrum`. Differentiable in the weights.

    Raises:
      ValueError: for layers that are not linear, parameters that do not fit, a size that is no multiple of the input
        period, a dense layer, centres="corners", or an input whose power is negative somewhere.
      TypeError: for a stack that is none, complex parameters, or a spectrum that is not numeric.

    Example:
      >>> kernel = np.array([1.0, 2.0, 1.0]).reshape(3, 1, 1)
      >>> found = conditional_spectrum(({"kernel": kernel},), "deconv k3 s2 p0", 8)
      >>> found.phase_powers.ravel().round(12).tolist()
      [2.0, 4.0]
      >>> found = conditional_spectrum(({"kernel": kernel},), "deconv k3 s2 p0", 8, spectrum="flat")
      >>> found.line_powers.ravel().round(12).tolist()
      [4.0, 0.0]

    References:
      Sathe and Vaidyanathan, Effects of multirate systems on the statistical properties of random signals, IEEE Trans.
      SP 41(1), 1993. Gardner, Measurement of spectral correlation, IEEE Trans. ASSP 34(5), 1986.
    """
    op = "conditional_spectrum"
    whole, sizes = as_stack(op, stack), as_size(op, size)
    if len(sizes) not in AXES:
        raise ValueError(f"{op}: size must be an int, or one int for each of 1 to 3 axes; got {size!r}.")
    if one_of(op, "pointwise", pointwise, POINTWISE_RULES) == "refuse":
        check_linear(f"{op}: ", whole)
    if any(np.iscomplexobj(leaf) for leaf in jax.tree.leaves(params)):
        raise TypeError(f"{op}: params must be real; got complex numbers.")
    entries = as_arrays(params)
    channels = first_channels(whole, entries) if channels is None else as_int(op, "channels", channels, minimum=1)
    chain, _ = linear_parts(f"{op}: ", whole, entries, channels, len(sizes))
    periods = stack_periods(op, whole, len(sizes))
    roots = input_roots(op, spectrum, autocovariance, _whole_periods(op, sizes, periods[0]), channels)
    with jax.default_matmul_precision("highest"):
        return _spectrum(chain, roots, channels, sizes, periods)


def check_linear(prefix: str, stack: Stack) -> None:
    """Raises at the first layer that is pointwise."""
    for i, layer in enumerate(stack):
        place = place_of(prefix, i, layer)
        if isinstance(layer, layers.POINTWISE):
            raise ValueError(f"{place}: is not linear. pointwise='identity' gives the linear part of the stack.")
        inner = layer.stacks if isinstance(layer, layers.Parallel) else ()
        inner = (layer.stack,) if isinstance(layer, layers.Residual) else inner
        for branch in inner:
            check_linear(f"{place}: ", branch)


def as_arrays(params: Any) -> Any:
    """Parameters in double precision, or as they are (at least single) while they are traced."""
    if isinstance(params, (tuple, list)):
        return tuple(as_arrays(entry) for entry in params)
    if isinstance(params, dict):
        return {name: _as_array(value) for name, value in params.items()}
    return params


def _as_array(value: Any) -> Any:
    values = concrete(value)
    if values is None:
        return value.astype(at_least_float32(value.dtype))
    return values.astype(np.float64)


def first_channels(stack: Stack, entries: Any) -> int:
    """Input channels of the first kernel in reading order; what comes before it keeps them, but for joined branches."""
    for layer, entry in zip(stack, entries if isinstance(entries, tuple) else ()):
        if isinstance(layer, (layers.Residual, layers.Parallel)):
            branches = layer.stacks if isinstance(layer, layers.Parallel) else (layer.stack,)
            own = entry if isinstance(layer, layers.Parallel) else (entry,)
            found = [first_channels(branch, part) for branch, part in zip(branches, own)]
            if max(found, default=0) > 0:
                return max(found)
        if isinstance(layer, LEARNED) and isinstance(entry, dict) and "kernel" in entry:
            return entry["kernel"].shape[-2] * (layer.groups if isinstance(layer, layers.Conv) else 1)
    return 1


def _whole_periods(op: str, size: Ints, period: Ints) -> Ints:
    for axis, n, m in zip(AXES[len(size)], size, period):
        if n % m:
            raise ValueError(
                f"{op}: axis {axis} of size must be a multiple of {m}, the input period of the stack; got {n}. "
                f"Take {n - n % m + m}."
            )
    return size


def _spectrum(
    chain: Chain, roots: np.ndarray, channels: int, size: Ints, periods: tuple[Ints, Ints]
) -> ConditionalSpectrum:
    inputs, period = periods
    counts = tuple(n // m for n, m in zip(size, inputs))
    square = math.prod(period) ** 2
    moments = [
        _moments(chain, roots, channels, bases, periods)
        for bases in base_chunks(counts, (square + math.prod(inputs) * channels) * channels)
    ]
    xp = moments[0].__array_namespace__()
    products = xp.concatenate(moments).reshape(*counts, *period, *period, -1)
    cyclic = _in_order(xp, products, counts, period)
    power = cyclic[(0,) * len(size)].real
    phases = xp.fft.ifftn(_sum_space(cyclic), axes=tuple(range(len(size)))).real * math.prod(period)
    lines = power[tuple(slice(None, None, b) for b in counts)]
    frequencies = tuple(np.fft.fftfreq(b * p) for b, p in zip(counts, period))
    return ConditionalSpectrum(frequencies, power, cyclic, phases, lines)


def _moments(chain: Chain, roots: np.ndarray, channels: int, bases: Bases, periods: tuple[Ints, Ints]) -> Any:
    """E[y(f) y(g)*] of each output channel, `[bases, lines, lines, O]`."""
    inputs, period = periods
    places = [b[:, None] + n * np.arange(m) for b, n, m in zip(bases.index.T, bases.counts, inputs)]
    lines = np.indices(inputs).reshape(len(inputs), -1)
    own = roots[tuple(place[:, a] for place, a in zip(places, lines))]  # [bases, lines of the input, C, waves]
    maps = transfer(chain, channels, bases, inputs)
    xp = maps.__array_namespace__()
    flat = maps.reshape(bases.size, math.prod(period), -1, channels, maps.shape[-1]).swapaxes(-1, -2)
    waves = flat @ xp.asarray(own[:, None], dtype=flat.dtype)  # [bases, lines, lines of the input, O, waves]
    waves = waves.transpose(0, 3, 1, 2, 4).reshape(bases.size, maps.shape[-1], math.prod(period), -1)
    return (waves @ waves.conj().swapaxes(-1, -2)).transpose(0, 2, 3, 1)


def _in_order(xp: Any, products: Any, counts: Ints, period: Ints) -> Any:
    """`[*counts, *P, *P, O]`, by base and two lines, as `[*P, *n, O]`, by their distance and the first frequency."""
    ndim = len(counts)
    a = np.indices((*period, *period)).reshape(2 * ndim, -1)  # distance m and first line a; the second is a - m
    first, second = a[ndim:], [(x - m) % p for x, m, p in zip(a[ndim:], a[:ndim], period)]
    chosen = products[(slice(None),) * ndim + (*first, *second)].reshape(*counts, *period, *period, -1)
    order = [*range(ndim, 2 * ndim)]
    for axis in range(ndim):
        order += [2 * ndim + axis, axis]
    return chosen.transpose(*order, 3 * ndim).reshape(*period, *(b * p for b, p in zip(counts, period)), -1)


def _sum_space(cyclic: Any) -> Any:
    ndim = (cyclic.ndim - 1) // 2
    return cyclic.sum(tuple(range(ndim, 2 * ndim)))

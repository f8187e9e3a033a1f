"""Four conditions on the kernel of a transposed convolution, each of them called "no checkerboard" somewhere.

1 equal counts, 2 equal gains, 3 equal energies, 3b equal phase spectra. 3b implies 3; apart from that none implies
another. A fourth, a stationary output for every stationary input (Sathe and Vaidyanathan, IEEE Trans. SP 1993), needs
H(f) H*(f - m / s) = 0 for all f and m != 0, which no finite kernel but zero has when s > 1: its response has finitely
many zeros. So every finite upsampling leaves a second-order trace of its period; lines and ripples of the variance
are what can be removed.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import numpy as np

from checkerjax._checks import PerAxis, check_finite, check_kernel, check_same_rank, concrete, per_axis
from checkerjax.ops._phases import phase_members
from checkerjax.overlap._phases import check_phases

ArrayLike = jax.Array | np.ndarray


def has_equal_counts(kernel: ArrayLike | PerAxis, stride: PerAxis, *, dilation: PerAxis = 1) -> bool:
    """Condition 1: every output phase receives equally many taps; for dilation 1, s divides k on every axis.

    It says nothing about the taps' values: a learned kernel of equal counts can draw any grid, and one of unequal
    counts can be free of lines.

    Args:
      kernel: `[*k, I, O]`, or only its size k: an int or one per axis.
      stride: of the transposed convolution, s; an int or one per axis, at least 1.
      dilation: d; an int or one per axis, at least 1. With g = gcd(s, d) above 1, some phases receive nothing.

    Returns:
      True or False; the values of a kernel play no part, so it may be traced.

    Raises:
      ValueError: for a wrong rank, or sizes below 1.
      TypeError: for a dtype that is not floating, or sizes that are no ints.

    Example:
      >>> has_equal_counts(3, 2), has_equal_counts(4, 2), has_equal_counts((4, 3), 2)
      (False, True, False)

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """
    op = "has_equal_counts"
    if isinstance(kernel, (int, np.integer, tuple, list)):
        ndim = check_same_rank(op, kernel=kernel, stride=stride, dilation=dilation) or 1
        size = per_axis(op, "kernel", kernel, ndim)
    else:
        array, ndim = check_kernel(op, kernel)
        size = array.shape[:-2]
    strides, dilations = per_axis(op, "stride", stride, ndim), per_axis(op, "dilation", dilation, ndim)
    counts = [phase_members(k, s, d).sum(axis=1) for k, s, d in zip(size, strides, dilations)]
    return all(bool((row == row[0]).all()) for row in counts)


def has_equal_gains(kernel: ArrayLike, stride: PerAxis, *, rtol: float = 1e-5, dilation: PerAxis = 1) -> bool:
    """Condition 2: the taps of every output phase have equal sums, for every pair of an input and an output channel.

    Then a flat input gives a flat output: no lines. It is what nearest and linear resize-convolutions, ICNR and
    `project_equal_gains` have, and what keeps the next layers free of lines whatever they do.

    Args:
      kernel: `[*k, I, O]`, with 1, 2 or 3 spatial axes; any floating dtype.
      stride: of the transposed convolution; an int or one per axis, at least 1.
      rtol: largest distance of a gain from the mean of the phases, relative to the mean over phases of the sum of
        absolute taps of the pair, which no gain exceeds on average: cancelling taps do not make rounding count.
        The default is some 100 roundings of float32.
      dilation: an int or one per axis, at least 1.

    Returns:
      True or False.

    Raises:
      ValueError: for a wrong rank, an empty kernel, NaN or infinity, or a negative rtol.
      TypeError: for a dtype that is not floating, or a kernel that is being traced.

    Example:
      >>> taps = np.array([1.0, 2.0, 1.0], "float32").reshape(3, 1, 1)
      >>> has_equal_gains(taps, 2), has_equal_energies(taps, 2)
      (True, False)

    References:
      Harada, Muramatsu and Kiya, EUSIPCO 1998. Sugawara, Shiota and Kiya, arXiv:1806.02658.
    """
    components = _polyphase("has_equal_gains", kernel, stride, rtol, dilation)
    return _all_equal(components.sum(axis=1), np.abs(components).sum(axis=1), rtol)


def has_equal_energies(kernel: ArrayLike, stride: PerAxis, *, rtol: float = 1e-5, dilation: PerAxis = 1) -> bool:
    """Condition 3: the taps of every output phase have equal sums of squares, for every pair of channels.

    Then white input gives an output of flat variance. For input with neighbours that correlate, it says nothing:
    [1, 1, 1, -1] at stride 2 has it, and not condition 3b.

    Args:
      kernel: `[*k, I, O]`, with 1, 2 or 3 spatial axes; any floating dtype.
      stride: of the transposed convolution; an int or one per axis, at least 1.
      rtol: largest distance of an energy from the mean over phases, relative to that mean.
      dilation: an int or one per axis, at least 1.

    Returns:
      True or False.

    Raises:
      ValueError: for a wrong rank, an empty kernel, NaN or infinity, or a negative rtol.
      TypeError: for a dtype that is not floating, or a kernel that is being traced.

    Example:
      >>> taps = np.array([1.0, 1.0, 1.0, -1.0], "float32").reshape(4, 1, 1)
      >>> has_equal_energies(taps, 2), has_equal_phase_spectra(taps, 2)
      (True, False)
    """
    components = _polyphase("has_equal_energies", kernel, stride, rtol, dilation)
    energies = (np.abs(components) ** 2).sum(axis=1)
    return _all_equal(energies, energies, rtol)


def has_equal_phase_spectra(kernel: ArrayLike, stride: PerAxis, *, rtol: float = 1e-5, dilation: PerAxis = 1) -> bool:
    """Condition 3b: |H_r(f)|^2 is the same for every output phase r and all f, for every pair of channels.

    Then every stationary input (of channels that do not correlate) gives an output of flat variance, though not a
    stationary one. Equal autocorrelations of the phases are the same thing, and finite: those are compared.

    Args:
      kernel: `[*k, I, O]`, with 1, 2 or 3 spatial axes; any floating dtype.
      stride: of the transposed convolution; an int or one per axis, at least 1.
      rtol: largest distance of an autocorrelation from the mean over phases, relative to the mean energy.
      dilation: an int or one per axis, at least 1.

    Returns:
      True or False.

    Raises:
      ValueError: for a wrong rank, an empty kernel, NaN or infinity, or a negative rtol.
      TypeError: for a dtype that is not floating, or a kernel that is being traced.

    Example:
      >>> has_equal_phase_spectra(np.ones((3, 3, 1, 1), "float32"), 3)  # nearest-neighbour upsampling
      True
    """
    op = "has_equal_phase_spectra"
    array, strides, dilations = check_phases(op, kernel, stride, dilation)
    components = _polyphase(op, kernel, stride, rtol, dilation)
    lengths = _lengths(array.shape[:-2], strides, dilations)
    phases, _, *channels = components.shape
    grid = components.reshape(phases, *lengths, *channels)
    energies = (np.abs(components) ** 2).sum(axis=1)
    return all(_all_equal(_correlation(grid, lag), energies, rtol) for lag in _lags(lengths))


def _lags(lengths: tuple[int, ...]) -> itertools.product:
    """One of each pair of opposite lags, at least: those that do not point back on the first axis."""
    return itertools.product(range(lengths[0]), *(range(1 - n, n) for n in lengths[1:]))


def _correlation(grid: np.ndarray, lag: tuple[int, ...]) -> np.ndarray:
    """Sum over m of h_r[m + lag] h_r[m]*, `[phases, I, O]`."""
    ahead = tuple(slice(max(t, 0), n + min(t, 0)) for t, n in zip(lag, grid.shape[1:]))
    behind = tuple(slice(max(-t, 0), n + min(-t, 0)) for t, n in zip(lag, grid.shape[1:]))
    products = grid[(slice(None), *ahead)] * grid[(slice(None), *behind)].conj()
    return products.sum(axis=tuple(range(1, 1 + len(lag))))


def _lengths(size: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d * (k - 1) // s + 1 for k, s, d in zip(size, strides, dilations))


def _polyphase(op: str, kernel: Any, stride: PerAxis, rtol: float, dilation: PerAxis) -> np.ndarray:
    """The polyphase components h_r[m] = h[s m + r], `[phases, positions, I, O]`, in double precision."""
    _check_rtol(op, rtol)
    array, strides, dilations = check_phases(op, kernel, stride, dilation)
    values = concrete(array)
    if values is None:
        raise TypeError(f"{op}: kernel must have values, to compare them; it is being traced. Call {op} outside jit.")
    check_finite(op, "kernel", values)
    values = values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)
    size = values.shape[:-2]
    lengths = _lengths(size, strides, dilations)
    for axis, (k, s, d, n) in enumerate(zip(size, strides, dilations, lengths)):
        place = np.zeros((s, n, k))  # axes so far: (phase, position) of each axis done, then the taps to come
        taps = d * np.arange(k)
        place[taps % s, taps // s, np.arange(k)] = 1
        values = np.moveaxis(np.tensordot(place, values, axes=((2,), (2 * axis,))), (0, 1), (2 * axis, 2 * axis + 1))
    ndim = len(size)
    order = (*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2), 2 * ndim, 2 * ndim + 1)
    return values.transpose(order).reshape(math.prod(strides), math.prod(lengths), *values.shape[-2:])


def _all_equal(values: np.ndarray, scale: np.ndarray, rtol: float) -> bool:
    """Whether `values`, `[phases, I, O]`, lie within `rtol` of their mean, in units of the mean of `scale`."""
    return bool((np.abs(values - values.mean(axis=0)) <= rtol * scale.mean(axis=0)).all())


def _check_rtol(op: str, rtol: Any) -> None:
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float, np.number)):
        raise TypeError(f"{op}: rtol must be a number; got {rtol!r}.")
    if not (math.isfinite(rtol) and rtol >= 0):
        raise ValueError(f"{op}: rtol must be finite and at least 0; got {rtol}.")

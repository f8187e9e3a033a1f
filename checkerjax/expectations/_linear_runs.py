"""Linear parts at work on a torus, frequency by frequency: given kernels, and the mean over random ones.

A linear map that commutes with shifts of the input by M samples, and of the output by P, takes frequencies b + B a,
a = 0 .. M - 1, to frequencies b + B a', a' = 0 .. P - 1, of the same base b, where B is the number of periods on the
torus: one small matrix per base. Fields are `[bases, *lines, ...]` here, with one axis of lines per spatial axis, and
amplitudes are DFTs over the number of samples, as in `spectra`. NumPy and JAX arrays alike.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from checkerjax.expectations._linear_parts import Branches, Chain, Down, Fixed, Ints, Learned, Up, fixed_paths


class Bases(NamedTuple):
    """Some of the base frequencies of a torus."""

    counts: Ints  # B per axis
    index: np.ndarray  # int64 [bases, axes]

    @property
    def size(self) -> int:
        return len(self.index)


def all_bases(counts: Ints) -> Bases:
    """Every base of a torus of so many periods, in C order."""
    return Bases(counts, np.indices(counts).reshape(len(counts), -1).T)


def base_chunks(counts: Ints, numbers: int, *, limit: int = 2**22) -> list[Bases]:
    """All bases, a few at a time, where one of them takes so many numbers."""
    whole = all_bases(counts)
    step = max(1, limit // max(numbers, 1))
    return [Bases(counts, whole.index[i : i + step]) for i in range(0, whole.size, step)]


def transfer(chain: Chain, channels: int, bases: Bases, period: Ints) -> Any:
    """The matrices of a chain with given kernels, `[bases, *lines', *period, channels, outputs]`.

    Entry `[b, a', a, i, o]` is the amplitude of output channel o at frequency b + B a', for a wave of amplitude 1 in
    input channel i at frequency b + B a.
    """
    lines, ndim = math.prod(period), len(period)
    x: Any = np.broadcast_to(np.eye(lines).reshape(1, *period, lines, 1), (bases.size, *period, lines, 1)).astype(
        complex
    )
    alike = next((i for i, part in enumerate(chain) if isinstance(part, (Learned, Branches))), len(chain))
    x = _amplitudes(chain[:alike], x, bases)  # up to there all channels have the same
    rest = chain[alike:]
    if rest and isinstance(rest[0], Learned) and rest[0].kernel.shape[-3] == 1:
        spectrum = _spectra(rest[0], bases, x.shape[1 : 1 + ndim])
        x = spectrum.__array_namespace__().asarray(x, dtype=spectrum.dtype)[..., None] * spectrum
        x, rest = x.reshape(*x.shape[:-3], -1, x.shape[-1]), rest[1:]
    else:
        x = (x[..., None] * np.eye(channels)).reshape(*x.shape[:-2], lines * channels, channels)
    out = _amplitudes(rest, x, bases)
    return out.reshape(*out.shape[:-2], *period, channels, out.shape[-1])


def _amplitudes(chain: Chain, x: Any, bases: Bases) -> Any:
    """Runs a chain on amplitudes `[bases, *lines, waves, C]`."""
    ndim = len(bases.counts)
    for part in chain:
        if isinstance(part, Up):
            x = _tile(x, part.factors, 1) / math.prod(part.factors)
        elif isinstance(part, Down):
            x = _fold(x, part.factors, 1)
        elif isinstance(part, Fixed):
            x = x * response(part, bases, x.shape[1 : 1 + ndim])[..., None, None].astype(x.dtype)
        elif isinstance(part, Learned):
            x = _filter(part, x, bases)
        else:
            outs = _alike([_amplitudes(own, x, bases) for own in part.chains])
            xp = outs[0].__array_namespace__()
            x = xp.concatenate(outs, axis=-1) if part.join else sum(outs[1:], start=outs[0])
    return x


def _alike(arrays: list[Any]) -> list[Any]:
    """Arrays of one kind: branches without kernels stay in NumPy while others are traced."""
    other = next((a for a in arrays if not isinstance(a, np.ndarray)), arrays[0])
    return [other.__array_namespace__().asarray(a, dtype=other.dtype) for a in arrays]


def _filter(part: Learned, x: Any, bases: Bases) -> Any:
    spectrum = _spectra(part, bases, x.shape[1:-2])
    xp = spectrum.__array_namespace__()
    groups, inputs, outputs = spectrum.shape[-3:]
    x = xp.asarray(x, dtype=spectrum.dtype)
    grouped = xp.moveaxis(x.reshape(*x.shape[:-1], groups, inputs), -2, -3)
    out = xp.moveaxis(grouped @ spectrum, -3, -2)
    return out.reshape(*out.shape[:-2], groups * outputs)


def _spectra(part: Learned, bases: Bases, lines: Ints) -> Any:
    """The frequency responses of a learned filter, `[bases, *lines, groups, inputs, outputs]`."""
    kernel, ndim = part.kernel, len(lines)
    waves = _waves(part.offsets, bases, lines).reshape(-1, math.prod(kernel.shape[:ndim]))
    xp, dtype = kernel.__array_namespace__(), np.result_type(np.dtype(kernel.dtype), np.complex64)
    flat = kernel.reshape(waves.shape[1], -1).astype(dtype)
    return (xp.asarray(waves, dtype=dtype) @ flat).reshape(bases.size, *lines, *kernel.shape[ndim:])


def _waves(offsets: tuple[np.ndarray, ...], bases: Bases, lines: Ints) -> np.ndarray:
    """exp(-2 pi i f n) at every frequency and tap, `[bases, *lines, *J]`."""
    ndim = len(lines)
    turns = np.zeros((1,) * (1 + 2 * ndim))
    for axis, (b, count, p, n) in enumerate(zip(bases.index.T, bases.counts, lines, offsets)):
        cycles = _outer(b[:, None] + count * np.arange(p), n) % (count * p) / (count * p)
        shape = [1] * (1 + 2 * ndim)
        shape[0], shape[1 + axis], shape[1 + ndim + axis] = cycles.shape
        turns = turns + cycles.reshape(shape)
    return np.exp(-2j * np.pi * turns)


def _outer(frequencies: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return frequencies[..., None] * offsets


def response(part: Fixed, bases: Bases, lines: Ints) -> np.ndarray:
    """The frequency response of a fixed filter, `[bases, *lines]`."""
    ndim = len(lines)
    total = np.ones((1,) * (1 + ndim), complex)
    for axis, (b, count, p, n, taps) in enumerate(zip(bases.index.T, bases.counts, lines, part.offsets, part.taps)):
        cycles = _outer(b[:, None] + count * np.arange(p), n) % (count * p) / (count * p)
        shape = [1] * (1 + ndim)
        shape[0], shape[1 + axis] = cycles.shape[:2]
        total = total * (np.exp(-2j * np.pi * cycles) @ taps).reshape(shape)
    return total


def _tile(x: Any, factors: Ints, first: int) -> Any:
    """Frequencies of an upsampled field: the old ones, over and over."""
    xp = x.__array_namespace__()
    for axis, s in enumerate(factors, start=first):
        x = xp.concatenate([x] * s, axis=axis) if s > 1 else x
    return x


def _fold(x: Any, factors: Ints, first: int) -> Any:
    """Sums over the frequencies that a downsampling cannot tell apart."""
    for axis, s in enumerate(factors, start=first):
        if s > 1:
            x = x.reshape(*x.shape[:axis], s, x.shape[axis] // s, *x.shape[axis + 1 :]).sum(axis)
    return x


def mean_moments(chain: Chain, moments: np.ndarray, bases: Bases) -> np.ndarray:
    """E[Y(f) Y(g)*] of a chain's output for one of its input, averaged over independent zero-mean weights.

    `[A, bases, *lines, *lines]`, the first of the lines that of f and the second that of g, for any A inputs; averaged
    over channels, which every linear layer lets through to the average over its own.
    """
    ndim = len(bases.counts)
    for part in chain:
        lines = moments.shape[2 : 2 + ndim]
        if isinstance(part, Up):
            moments = _tile(_tile(moments, part.factors, 2), part.factors, 2 + ndim) / math.prod(part.factors) ** 2
        elif isinstance(part, Down):
            moments = _fold(_fold(moments, part.factors, 2), part.factors, 2 + ndim)
        elif isinstance(part, Fixed):
            waves = response(part, bases, lines)
            ones = (1,) * ndim
            moments = moments * (waves.reshape(*waves.shape, *ones) * waves.conj().reshape(-1, *ones, *lines))
        elif isinstance(part, Learned):
            moments = moments * (part.power * _tap_sums(part.offsets, lines))
        else:
            moments = _mean_branches(part, moments, bases)
    return moments


def _tap_sums(offsets: tuple[np.ndarray, ...], lines: Ints) -> np.ndarray:
    """Sum over taps of exp(-2 pi i n (a - a') / P), `[*lines, *lines]`: what independent taps make of a pair of lines.

    It does not depend on the base, so independent taps colour nothing.
    """
    ndim = len(lines)
    total = np.ones((1,) * (2 * ndim), complex)
    for axis, (p, n) in enumerate(zip(lines, offsets)):
        own = np.exp(-2j * np.pi * (np.arange(p)[:, None] * n % p) / p).sum(axis=1)
        shape = [1] * (2 * ndim)
        shape[axis] = shape[ndim + axis] = p
        total = total * own[(np.arange(p)[:, None] - np.arange(p)) % p].reshape(shape)
    return total


def _mean_branches(part: Branches, moments: np.ndarray, bases: Bases) -> np.ndarray:
    outs = [mean_moments(own, moments, bases) for own in part.chains]
    if part.join:
        weights = np.array(part.outputs) / sum(part.outputs) if part.outputs else np.ones(len(outs))
        return np.tensordot(weights, np.stack(outs), 1)
    total = sum(outs[1:], start=outs[0])
    fixed = [own for own in map(fixed_paths, part.chains) if own is not None]
    if len(fixed) < 2:
        return total
    # Branches correlate through the paths that meet no learned weight, and only through those.
    period = moments.shape[2 : 2 + len(bases.counts)]
    maps = [transfer(own, 1, bases, period)[..., 0, 0] for own in fixed]
    square = math.prod(period)
    maps = [own.reshape(bases.size, -1, square) for own in maps]
    inner = moments.reshape(-1, bases.size, square, square)
    cross = _through(np.sum(maps, axis=0), inner) - np.sum([_through(own, inner) for own in maps], axis=0)
    return total + cross.reshape(total.shape)


def _through(matrix: np.ndarray, moments: np.ndarray) -> np.ndarray:
    return matrix @ moments @ matrix.conj().swapaxes(-1, -2)

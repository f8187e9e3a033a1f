"""By how much a linear map misses each condition: for given weights, and in the mean over random ones."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from checkerjax.expectations._linear_parts import Branches, Chain, Down, Ints, Learned, Up, blocks_needed
from checkerjax.expectations._linear_runs import Bases, base_chunks, mean_moments, transfer

FREQUENCIES = {1: 64, 2: 16, 3: 8}  # bases per axis that condition 3b is looked at, by the number of axes
_NOTHING = 1e-24  # of the largest power: what rounding leaves of zero
_CANCELLED = 1e-13  # relative: what rounding leaves of a sum less its largest part
_FINE, _LARGEST = 2**24, 2**26  # responses to compute: a second, and some
_FINE_PRODUCTS, _MOST_PRODUCTS = 2**31, 2**34  # of waves and taps: some seconds, and ten


class Numbers(NamedTuple):
    """How far from met: 0 or 1 where a condition holds."""

    lattice: float  # 2: lines over DC, flat input
    energies: float  # 3: largest over smallest phase power, white input
    spectra: float  # 3b: the same for a wave, at the worst frequency
    cyclic: float  # 4: degree of cyclostationarity, white input
    apart: float  # 4: the same of one wave at a time, summed: 0 only if every stationary input gives stationary output

    def with_axis(self, other: Numbers) -> Numbers:
        """Of the product of maps along two axes: expectations of products of independent factors."""
        shares = ((1 + a) * (1 + b) - 1 for a, b in zip(self, other))
        lattice, _, _, cyclic, apart = shares
        return Numbers(lattice, self.energies * other.energies, self.spectra * other.spectra, cyclic, apart)


class PairNumbers(NamedTuple):
    """The largest over pairs of an input and an output channel."""

    spread: float  # 2: (largest - smallest) / |mean| of the gains
    energies: float
    spectra: float
    cyclic: float | None  # None where the input has phases too


class Distances(NamedTuple):
    """The same as distances between phases, over what the pair could have there: for comparison with a tolerance."""

    gains: float  # from their mean, over the largest response at any frequency
    energies: float  # from their mean, over it
    spectra: float  # between phases, over the mean energy


class Found(NamedTuple):
    """What is known of given weights."""

    numbers: Numbers
    pairs: PairNumbers
    distances: Distances


EXACT = Numbers(0.0, 1.0, 1.0, 0.0, 0.0)


def torus_blocks(chain: Chain, period: Ints, *, least: int | None = None) -> Ints:
    """Periods per axis that are enough for every sum over frequencies to be the integral; even, to have 1/2."""
    least = FREQUENCIES[len(period)] if least is None else least
    return tuple(max(least, 2 * need + 2) for need in blocks_needed(chain, period))


def given_numbers(chain: Chain, channels: int, periods: tuple[Ints, Ints], *, backward: bool = False) -> Found | None:
    """Numbers of a chain with given kernels; None if they would take too long."""
    waves = math.prod(periods[0])
    size = waves * channels * _largest(chain, waves, channels)
    table, products = _tables(chain, waves)
    counts = torus_blocks(chain, periods[0])
    if math.prod(counts) * size > _FINE or math.prod(counts) * products > _FINE_PRODUCTS:
        counts = torus_blocks(chain, periods[0], least=2)  # fewer to look for the worst; sums stay exact
    if math.prod(counts) * size > _LARGEST or math.prod(counts) * products > _MOST_PRODUCTS:
        return None
    tally = _Tally()
    for bases in base_chunks(counts, max(size, table)):
        maps = np.asarray(transfer(chain, channels, bases, periods[0]))
        tally.add(_lined(maps, periods, backward), bases, periods[0 if backward else 1])
    return tally.numbers()


def _largest(chain: Chain, lines: int, channels: int) -> int:
    """Lines times channels where a chain has most of them."""
    most = lines * channels
    for part in chain:
        if isinstance(part, Up):
            lines *= math.prod(part.factors)
        elif isinstance(part, Down):
            lines //= math.prod(part.factors)
        elif isinstance(part, Learned) and part.kernel is not None:
            channels = part.kernel.shape[-3] * part.kernel.shape[-1]
        elif isinstance(part, Branches):
            most = max(most, sum(_largest(own, lines, channels) for own in part.chains))
        most = max(most, lines * channels)
    return most


def _tables(chain: Chain, lines: int) -> tuple[int, int]:
    """Per base: entries of the largest table of waves at taps, and products that all filters' responses take."""
    table = products = 0
    for part in chain:
        if isinstance(part, Up):
            lines *= math.prod(part.factors)
        elif isinstance(part, Down):
            lines //= math.prod(part.factors)
        elif isinstance(part, Learned) and part.kernel is not None:
            table = max(table, lines * math.prod(part.kernel.shape[:-3]))
            products += lines * math.prod(part.kernel.shape)
        elif isinstance(part, Branches):
            for own in part.chains:
                inner = _tables(own, lines)
                table, products = max(table, inner[0]), products + inner[1]
            lines = _lines_after(part.chains[0], lines)
    return table, products


def _lines_after(chain: Chain, lines: int) -> int:
    for part in chain:
        if isinstance(part, Up):
            lines *= math.prod(part.factors)
        elif isinstance(part, Down):
            lines //= math.prod(part.factors)
        elif isinstance(part, Branches):
            lines = _lines_after(part.chains[0], lines)
    return lines


def _lined(maps: np.ndarray, periods: tuple[Ints, Ints], backward: bool) -> np.ndarray:
    """`[bases, lines out, lines in, I, O]`; of the transpose, that of a real map being conj T^T, up to a factor."""
    flat = maps.reshape(len(maps), math.prod(periods[1]), math.prod(periods[0]), *maps.shape[-2:])
    return flat.conj().transpose(0, 2, 1, 4, 3) if backward else flat


class _Tally:
    """Sums over the bases, a few at a time."""

    def __init__(self) -> None:
        self.gains: np.ndarray = np.zeros(0)
        self.energies: Any = 0.0
        self.scale: Any = 0.0
        self.worst: Any = 1.0
        self.apart_most: Any = 0.0
        self.waves = 0
        self.channel_scale = 0.0
        self.channel_worst = 1.0
        self.cyclic = self.power = self.apart = self.alone = 0.0
        self.pair_cyclic: Any = 0.0
        self.pair_power: Any = 0.0

    def add(self, maps: np.ndarray, bases: Bases, period: Ints) -> None:
        phased = _phases(maps, period)
        if not bases.index[0].any():
            self.gains = np.real(phased[0, :, 0])
        squares = np.abs(phased) ** 2  # [bases, phases, lines in, I, O]
        self.energies = self.energies + squares.sum((0, 2))
        self.scale = np.maximum(self.scale, squares.max((0, 1, 2)))
        self.worst = np.maximum(self.worst, _ratio(squares.max(1), squares.min(1), self.scale).max((0, 1)))
        self.apart_most = np.maximum(self.apart_most, np.ptp(squares, axis=1).max((0, 1)))
        self.waves += maps.shape[0] * maps.shape[2]
        together = squares.sum((3, 4))
        self.channel_scale = max(self.channel_scale, together.max())
        ratios = _ratio(together.max(1), together.min(1), self.channel_scale)
        self.channel_worst = max(self.channel_worst, float(ratios.max()))
        self._add_lines(maps)

    def _add_lines(self, maps: np.ndarray) -> None:
        waves = np.moveaxis(maps, -1, 1).reshape(len(maps), maps.shape[-1], maps.shape[1], -1)
        # The squares of the products of lines, T T*, add up to those of T* T: the smaller of the two is taken.
        small = waves if waves.shape[2] <= waves.shape[3] else np.ascontiguousarray(waves.swapaxes(-1, -2))
        total = (np.abs(small @ small.conj().swapaxes(-1, -2)) ** 2).sum()
        own = ((np.abs(waves) ** 2).sum(-1) ** 2).sum()
        self.cyclic, self.power = self.cyclic + total - own, self.power + own
        squares = np.abs(maps) ** 2
        whole, alone = (squares.sum(1) ** 2).sum((0, 1)), (squares**2).sum((0, 1, 2))
        self.apart, self.alone = self.apart + (whole - alone).sum(), self.alone + alone.sum()
        if maps.shape[2] == 1:
            self.pair_cyclic, self.pair_power = self.pair_cyclic + whole - alone, self.pair_power + alone

    def numbers(self) -> Found:
        lines = np.abs(self.gains) ** 2
        dc = np.abs(self.gains.mean(0)) ** 2
        between = (np.abs(self.gains - self.gains.mean(0)) ** 2).mean(0)
        together = self.energies.sum((1, 2))
        means = np.abs(self.gains.mean(0))
        pairs = PairNumbers(
            float(_ratio(np.ptp(self.gains, axis=0), means, np.sqrt(lines.max(0)), empty=0.0).max()),
            float(_ratio(self.energies.max(0), self.energies.min(0), self.energies.max(0)).max()),
            float(np.max(self.worst)),
            None if np.ndim(self.pair_power) == 0 else float(_quotient(self.pair_cyclic, self.pair_power).max()),
        )
        numbers = Numbers(
            _share(float(between.sum()), float(dc.sum())),
            float(_ratio(together.max(), together.min(), together.max())),
            self.channel_worst,
            _share(float(self.cyclic), float(self.power), _CANCELLED),
            _share(float(self.apart), float(self.alone), _CANCELLED),
        )
        return Found(numbers, pairs, self._distances())

    def _distances(self) -> Distances:
        energy = np.where(self.scale > 0, self.energies.mean(0), 1)
        peak = np.where(self.scale > 0, np.sqrt(self.scale), 1)
        return Distances(
            float((np.abs(self.gains - self.gains.mean(0)) / peak).max()),
            float((np.abs(self.energies - self.energies.mean(0)) / energy).max()),
            float((self.apart_most * self.waves / energy).max()),
        )


def _phases(maps: np.ndarray, period: Ints) -> np.ndarray:
    """Lines out, axis 1, as phases: the response at each phase, up to a turn that is common to all of them."""
    split = maps.reshape(len(maps), *period, *maps.shape[2:])
    phased = np.fft.ifftn(split, axes=range(1, 1 + len(period)), norm="forward")
    return phased.reshape(maps.shape)


def _ratio(largest: Any, smallest: Any, scale: Any, *, empty: float = 1.0) -> np.ndarray:
    """The quotient, where what rounding leaves of nothing is nothing: inf over it, and `empty` if both are."""
    largest, smallest, scale = np.broadcast_arrays(largest, smallest, scale)
    floor = _NOTHING * scale
    some, all_ = largest > floor, smallest > floor
    return np.where(all_, largest / np.where(all_, smallest, 1), np.where(some, np.inf, empty))


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return numerator / np.where(denominator > 0, denominator, 1)


def _share(numerator: float, denominator: float, floor: float = _NOTHING) -> float:
    """Energy of what should not be over energy of what should; 0 where rounding explains it."""
    if numerator <= floor * denominator or numerator == 0:
        return 0.0
    return float(numerator / denominator) if denominator > 0 else math.inf


def mean_numbers(chain: Chain, periods: tuple[Ints, Ints]) -> Numbers | None:
    """Ratios of expectations over independent zero-mean weights, of one channel; None if they would take too long."""
    inputs, period = periods
    counts = torus_blocks(chain, inputs)
    lines, waves = math.prod(period), math.prod(inputs)
    numbers = waves * _largest(chain, waves, 1) ** 2
    if math.prod(counts) * numbers > _LARGEST // 2**4:
        return None
    powers, ends = [], [0.0] * 4
    flat = np.zeros(lines)
    for bases in base_chunks(counts, numbers):
        moments = _wave_moments(chain, bases, inputs).reshape(waves, bases.size, lines, lines)
        if not bases.index[0].any():
            flat = np.real(np.diagonal(moments[0, 0]))
        powers.append(_phase_powers(moments, period))
        for i, products in enumerate((moments.sum(0), moments)):
            squares = np.abs(products) ** 2
            own = np.trace(squares, axis1=-2, axis2=-1).sum()
            ends[2 * i], ends[2 * i + 1] = ends[2 * i] + squares.sum() - own, ends[2 * i + 1] + own
    found = np.concatenate(powers, axis=1)  # [waves, bases, phases]
    whole = found.sum((0, 1))
    return Numbers(
        _share(float(flat[1:].sum()), float(flat[0]), _CANCELLED),
        float(_ratio(whole.max(), whole.min(), whole.max())),
        float(_mean_ratio(found).max()),
        _share(ends[0], ends[1], _CANCELLED),
        _share(ends[2], ends[3], _CANCELLED),
    )


def _mean_ratio(powers: np.ndarray) -> np.ndarray:
    floor = 1e-12 * powers.max()
    kept = np.where(powers <= floor, 0.0, powers)
    return _ratio(kept.max(-1), kept.min(-1), powers.max())


def _wave_moments(chain: Chain, bases: Bases, inputs: Ints) -> np.ndarray:
    """What independent waves of unit amplitude, one at a time, come out as."""
    waves = math.prod(inputs)
    unit = np.zeros((waves, 1, waves, waves), complex)
    unit[np.arange(waves), 0, np.arange(waves), np.arange(waves)] = 1
    start = np.broadcast_to(unit.reshape(waves, 1, *inputs, *inputs), (waves, bases.size, *inputs, *inputs))
    return mean_moments(chain, start.copy(), bases)


def _phase_powers(moments: np.ndarray, period: Ints) -> np.ndarray:
    """E|y|^2 of each phase, `[waves, bases, phases]`, from products of lines."""
    ndim = len(period)
    split = moments.reshape(*moments.shape[:2], *period, *period)
    split = np.fft.ifftn(split, axes=range(2, 2 + ndim), norm="forward")
    split = np.fft.fftn(split, axes=range(2 + ndim, 2 + 2 * ndim))
    return np.maximum(np.diagonal(split.reshape(moments.shape), axis1=-2, axis2=-1).real, 0)

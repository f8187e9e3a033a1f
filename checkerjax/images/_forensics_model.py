"""How well phase moments fit an untied upsampler: shares of power that are Dirichlet around overlap counts.

Given what the last layer reads, an output channel's samples of one phase are a sum over the taps of that phase, whose
weights no other phase shares. So the second moments of the phases are independent quadratic forms in normals: about
Gamma, with means proportional to the overlap count, whatever came before. Images of one generator share the weights,
hence the moments' deviations from their means, which no number of images averages away. The channel's scale is not
known; without it shares of power are left, and their density has a closed form.

With stacked layers the last one's phases, folded over all finer periods, keep the proportions of its own counts; how
each of them splits into the phases of the finer periods tells how many layers are stacked, and little of their kernel:
the layers below have many channels, whose total takes few values, and all phases and channels after it repeat how these
happen to deviate from the counts.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from checkerjax.images._forensics_moments import PhaseMoments, fold
from checkerjax.overlap import overlap_count

KERNELS = (3, 4, 5, 6)
STRIDES = (2, 3, 4)
STACKED = 3
SHAPES = 2.0 ** np.arange(-1, 9)  # of the Gamma of a phase with as many taps as the mean: half its degrees of freedom
GROWTH = (0.0, 0.5)  # shape ~ count^growth: 0 if all taps read the same, 1 if what they read is independent
EVEN = 10.0 ** np.arange(-4, -0.4, 0.5)  # variance of a phase's power where there is no untied upsampler
HOLE = 1e-3  # of the mean count, in phases without a tap: rounding of pixels leaves about as little
HOLE_SHAPE = 0.1  # and anything down to LEAST: nearly flat in the logarithm
LEAST = 1e-6  # of a channel's power: less cannot be told from rounding


@functools.lru_cache(maxsize=64)
def phase_counts(kernel: int, stride: int) -> np.ndarray:
    """Overlap counts of one period along an axis, away from borders."""
    return overlap_count(16, kernel_size=kernel, stride=stride)[8 * stride : 9 * stride]


class Priors(NamedTuple):
    """Log weights of the unknowns: of the last layer, of those below it, and without an untied upsampler."""

    last: np.ndarray  # [SHAPES x GROWTH]
    below: np.ndarray  # [SHAPES]
    even: np.ndarray  # [2, EVEN], of the first step and of finer ones


def log_likelihood(moments: PhaseMoments, kernel: int, priors: Priors) -> np.ndarray:
    """Of the shares of the last layer's phases, `[P, P]`: for each place that the pattern of counts may start at."""
    return log_sum_exp(likelihood_table(moments, kernel) + priors.last)


def likelihood_table(moments: PhaseMoments, kernel: int) -> np.ndarray:
    """`log_likelihood` for given unknowns: `[P, P, SHAPES x GROWTH]`."""
    stride = moments.stride
    powers = _split(_floored(fold(moments.powers, stride)), stride)[0]
    columns = [_table(powers, _pattern(kernel, stride, growth)) for growth in GROWTH]
    return np.stack(columns, -1).reshape(stride, stride, -1)


def unequal_log_likelihood(moments: PhaseMoments, level: int, priors: Priors) -> float:
    """Of the shares at one level where they are of no known pattern."""
    return float(log_sum_exp(unequal_table(moments, level) + priors.below))


def unequal_table(moments: PhaseMoments, level: int) -> np.ndarray:
    """`unequal_log_likelihood` for each of `SHAPES`; chance comes on top, so that even shares are never these."""
    stride = moments.stride
    powers = _floored(fold(moments.powers, stride**level))
    chance = sum(moments.errors[index] for index, _ in steps_of(moments, level))
    return _symmetric(_split(powers, stride), 1 / (1 / SHAPES + chance))


def steps_of(moments: PhaseMoments, level: int) -> list[tuple[int, tuple[int, int]]]:
    """The steps by primes that make up a level: their places and periods."""
    coarse, fine = moments.stride ** (level - 1), moments.stride**level
    return [(index, step) for index, step in enumerate(moments.steps) if coarse < step[1] <= fine]


class _Pattern(NamedTuple):
    """Means and shapes of phases, over those of the mean count, at every place that the pattern may start at."""

    means: np.ndarray  # [S, Q]
    shapes: np.ndarray  # [S, Q], times one of `SHAPES`; 0 in holes


@functools.lru_cache(maxsize=64)
def _pattern(kernel: int, stride: int, growth: float) -> _Pattern:
    along = phase_counts(kernel, stride) / np.mean(phase_counts(kernel, stride))
    placed = np.stack([np.roll(along, -place) for place in range(stride)])
    means = np.einsum("ap,bq->abpq", placed, placed).reshape(stride**2, stride**2)
    shapes = np.where(means == 0, 0, np.where(means == 0, 1, means) ** growth)
    return _Pattern(np.where(means == 0, HOLE, means), shapes)


def _table(powers: np.ndarray, pattern: _Pattern) -> np.ndarray:
    """`[S, SHAPES]` of powers `[Q, C]`, summed over channels: Gammas, their scale integrated out."""
    alpha = SHAPES[:, None, None] * pattern.shapes  # [SHAPES, S, Q]
    alpha = np.where(alpha == 0, HOLE_SHAPE, alpha)
    rates, logs, channels = alpha / pattern.means, np.log(powers).sum(-1), powers.shape[-1]
    constant = (alpha * np.log(rates) - gammaln(alpha)).sum(-1) + gammaln(alpha.sum(-1))
    joint = alpha.sum(-1) * np.log(rates @ powers).sum(-1)
    return (channels * constant + (alpha - 1) @ logs - joint).T


def _symmetric(split: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """The same for powers `[G, Q, C]` of equal means, summed over groups, for each of `shapes`."""
    phases, (groups, channels) = split.shape[1], split[:, 0].shape
    logs, sums = np.log(split).sum(), np.log(split.sum(1)).sum()
    constant = groups * channels * (gammaln(phases * shapes) - phases * gammaln(shapes))
    return constant + (shapes - 1) * logs - phases * shapes * sums


def log_sum_exp(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    top = values.max(-1, keepdims=True)
    return np.log(np.exp(values - top).sum(-1)) + top[..., 0]


def even_log_likelihood(moments: PhaseMoments, level: int, priors: Priors) -> float:
    """Of the shares at one level where all phases have the same second moment, but for chance.

    Taken in steps by primes, so that strides 2 and 4 are compared with the same: densities of shares of shares, with
    the parents' power as the change of variables.
    """
    stride, period = moments.stride, moments.stride**level
    powers, found = _floored(fold(moments.powers, period)), 0.0
    for index, (parent, fine) in steps_of(moments, level):
        table = even_table(fold(powers, fine), parent, moments.errors[index])
        found += float(log_sum_exp(table + priors.even[min(index, 1)]))
        if parent > stride ** (level - 1):
            found += float(np.log(fold(powers, parent)).sum())
    return found


def even_table(powers: np.ndarray, parent: int, error: float) -> np.ndarray:
    """Log likelihood of shares of the phases of a parent period, for each of `EVEN`."""
    return _symmetric(_split(powers, len(powers) // parent), 1 / (error + EVEN))


def _floored(powers: np.ndarray) -> np.ndarray:
    return np.maximum(powers / powers.mean((0, 1)), LEAST)


def _split(field: np.ndarray, stride: int) -> np.ndarray:
    """`[P, P, C]` as `[parents, s^2, C]`: the finer phases of each phase of the level above."""
    parent, channels = len(field) // stride, field.shape[-1]
    split = field.reshape(stride, parent, stride, parent, channels).transpose(1, 3, 0, 2, 4)
    return split.reshape(parent**2, stride**2, channels)

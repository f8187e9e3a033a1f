"""How a lattice ratio or share is distributed over seeds, for Gaussian fields: a ratio of two quadratic forms.

With y the field's values, ratio <= r means y^T (L - r B) y <= 0, where L is the energy of the lines and B that of DC,
or of everything but DC. In the eigenvectors of the covariance this is a sum of independent chi-squared variables.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.optimize

from checkerjax._checks import concrete, one_of
from checkerjax.expectations import _statistics as statistics
from checkerjax.expectations._lags import Sizes
from checkerjax.expectations._quadratic_forms import Tail, probability_below_zero, tail

if TYPE_CHECKING:
    from checkerjax.expectations._covariance import PeriodicCovariance

STATISTICS = ("lattice_ratio", "lattice_share")
_CHUNK = 2**22


class Block(NamedTuple):
    """Independent normal vectors, and their two energies as matrices."""

    numerator: np.ndarray  # [n, n]
    denominator: np.ndarray  # [n, n]
    copies: int


@dataclasses.dataclass(frozen=True)
class RatioDistribution:
    """The distribution over seeds of a ratio of energies, as `PeriodicCovariance.ratio_distribution` gives it."""

    blocks: tuple[Block, ...]
    others: Tail | None  # what the denominator has besides
    bound: float  # the ratio is below it: 1 of a share, inf of a ratio

    def cdf(self, ratio: float) -> float:
        """The probability of at most `ratio`, to about 1e-9."""
        if not ratio > 0:
            return 0.0
        if ratio >= self.bound:
            return 1.0
        values = [np.linalg.eigvalsh(b.numerator / ratio - b.denominator) for b in self.blocks]
        degrees = [np.full(len(b.numerator), float(b.copies)) for b in self.blocks]
        return probability_below_zero(np.concatenate(values), np.concatenate(degrees), others=self.others)

    def quantile(self, probability: float) -> float:
        """The ratio that a seed stays below with this probability; 0 if there are no lines.

        Raises:
          ValueError: unless the probability lies between 0 and 1.
        """
        if not 0 < probability < 1:
            raise ValueError(f"quantile: probability must lie between 0 and 1; got {probability}.")

        def excess(logarithm: float) -> float:
            return self.cdf(self._ratio(logarithm)) - probability

        low, high = -30.0, 30.0  # of log(r), or of log(r / (1 - r))
        if excess(low) >= 0:
            return 0.0
        if excess(high) < 0:
            return self.bound
        root, _ = scipy.optimize.brentq(excess, low, high, xtol=1e-10, full_output=True)
        return self._ratio(root)

    def median(self) -> float:
        """The ratio that half of the seeds stay below."""
        return self.quantile(0.5)

    def _ratio(self, logarithm: float) -> float:
        return math.exp(logarithm) if self.bound > 1 else 1 / (1 + math.exp(-logarithm))


def ratio_distribution(
    covariance: PeriodicCovariance, statistic: str, channels: int, images: int, period: Sizes, primitive: bool
) -> RatioDistribution:
    """See `PeriodicCovariance.ratio_distribution`."""
    op = "ratio_distribution"
    share = one_of(op, "statistic", statistic, STATISTICS) == "lattice_share"
    if not covariance.gaussian or not covariance.alike:
        why = "is not Gaussian" if not covariance.gaussian else "has channels of different kinds"
        raise ValueError(f"{op}: the field {why}, so there is no closed form. Measure it with `sweep`.")
    if concrete(covariance.near) is None:
        raise ValueError(f"{op}: the covariance is being traced; take its distribution outside of `jit` and `grad`.")
    means, across = _mean_covariances(covariance)
    numerator, denominator = _forms(covariance.period, period, primitive, share)
    modes = [(means + (images - 1) * across, channels), (means - across, channels * (images - 1))]
    blocks = []
    for matrix, copies in modes:
        if copies:
            root = _root(matrix)
            blocks.append(Block(root.T @ numerator @ root, root.T @ denominator @ root, copies))
    if not share:
        return RatioDistribution(tuple(blocks), None, math.inf)
    others = _other_powers(covariance)
    return RatioDistribution(tuple(blocks), tail(others, np.full(others.size, float(channels * images))), 1.0)


def _mean_covariances(covariance: PeriodicCovariance) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of the phase means within one image and between two, `[phases, phases]`."""
    period = covariance.period
    near, far, between = (np.asarray(k, np.float64) for k in (covariance.near, covariance.far, covariance.between))
    own = statistics.folded(near, far, covariance.size, period)
    own = own * math.prod(period) / math.prod(covariance.size)
    return _by_pairs(own), _by_pairs(between)


def _by_pairs(lagged: np.ndarray) -> np.ndarray:
    """`[*P, *P]` by phase and lag, as a matrix by phase and phase."""
    ndim = lagged.ndim // 2
    for axis in range(ndim):
        p = lagged.shape[axis]
        shape = [1] * lagged.ndim
        shape[axis] = shape[ndim + axis] = p
        lag = (np.arange(p) - np.arange(p)[:, None]) % p
        lagged = np.take_along_axis(lagged, lag.reshape(shape), axis=ndim + axis)
    count = math.prod(lagged.shape[:ndim])
    matrix = lagged.reshape(count, count)
    return (matrix + matrix.T) / 2


def _forms(own: Sizes, period: Sizes, primitive: bool, share: bool) -> tuple[np.ndarray, np.ndarray]:
    """The energies of the lines, and of what they are divided by, as matrices over phase means."""
    count = math.prod(own)
    chosen = statistics.lines_of(period, primitive)
    frequencies = np.stack(np.meshgrid(*[np.arange(p) / p for p in own], indexing="ij"), -1).reshape(count, -1)
    phases = np.stack(np.meshgrid(*map(np.arange, own), indexing="ij"), -1).reshape(count, -1)
    lines = np.array([bool(_is_line(f, period, chosen)) for f in frequencies])
    waves = np.exp(-2j * np.pi * frequencies @ phases.T) / count
    energy = np.real(waves[lines].conj().T @ waves[lines])
    dc = np.full((count, count), 1 / count**2)
    return energy, np.eye(count) / count - dc if share else dc


def _is_line(frequency: np.ndarray, period: Sizes, chosen: np.ndarray) -> bool:
    place = frequency * period
    whole = np.rint(place).astype(int)
    return bool(np.allclose(place, whole) and chosen[tuple(whole % period)])


def _other_powers(covariance: PeriodicCovariance) -> np.ndarray:
    """The eigenvalues that a field's power has off the lines of its period: one for each of its other degrees."""
    period, size, ndim = covariance.period, covariance.size, len(covariance.size)
    cyclic = np.asarray(covariance.cyclic_spectrum())
    count, steps = math.prod(period), [n // p for n, p in zip(size, period)]
    shifts = np.stack(np.meshgrid(*map(np.arange, period), indexing="ij"), -1).reshape(count, ndim)
    base = np.stack(np.meshgrid(*map(np.arange, steps), indexing="ij"), -1).reshape(-1, ndim)[1:]
    values = []
    for chunk in np.array_split(base, max(1, -(-len(base) * count * count // _CHUNK))):
        # Entry (m, m') is E[X(f - m / P) conj(X(f - m' / P))] / n^2.
        line = (shifts[None, :] - shifts[:, None]) % period
        bins = (chunk[:, None, None] - shifts[:, None] * steps) % size
        index = (*np.moveaxis(np.broadcast_to(line, bins.shape[:1] + line.shape), -1, 0), *np.moveaxis(bins, -1, 0))
        index = np.broadcast_arrays(*index)
        values.append(np.linalg.eigvalsh(cyclic[tuple(index)]).ravel())
    return np.concatenate(values) if values else np.zeros(0)


def _root(matrix: np.ndarray) -> np.ndarray:
    """G with G G^T = matrix, without the directions that have no power."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-12 * max(values.max(initial=0.0), 0.0)
    return vectors[:, kept] * np.sqrt(values[kept])

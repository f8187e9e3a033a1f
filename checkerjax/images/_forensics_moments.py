"""Second moments of each phase in the interior of images of one generator, and how well they are known."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

CELLS = 3  # periods across that a level needs
BLOCKS = 4  # along an axis: parts of the images whose disagreement says how well phases are known
MARGIN = 8  # the part of a side that is left out at each end
LEAST_MARGIN = 4  # pixels


class PhaseMoments(NamedTuple):
    """One stride's view: second moments for the period `stride**levels`, summed over images."""

    stride: int
    levels: int
    powers: np.ndarray  # [P, P, C], mean squares
    errors: tuple[float, ...]  # per step: variance of the log of a phase's share of its parent phase, by chance alone

    @property
    def steps(self) -> tuple[tuple[int, int], ...]:
        """Periods (parent, period), each a prime times the one before: 4 comes in two steps, as 2 and 2 do."""
        return steps(self.stride, self.levels)


def steps(stride: int, levels: int) -> tuple[tuple[int, int], ...]:
    """Periods (parent, period) from 1 to `stride**levels`."""
    factor = 2 if stride % 2 == 0 else stride
    periods = [1]
    while periods[-1] < stride**levels:
        periods.append(periods[-1] * factor)
    return tuple(itertools.pairwise(periods))


def margin_of(side: int) -> int:
    """Pixels left out at each end of a side: what padding may have touched."""
    return max(LEAST_MARGIN, side // MARGIN)


def interior(x: np.ndarray) -> np.ndarray:
    """`[N, H, W, C]` without its borders."""
    rows, columns = (margin_of(side) for side in x.shape[1:3])
    return x[:, rows : x.shape[1] - rows, columns : x.shape[2] - columns]


def deepest(sides: tuple[int, int], stride: int, most: int) -> int:
    """How many stacked strides the interior has room for, at most `most`; 0 if not even one."""
    levels = 0
    while levels < most and stride ** (levels + 1) <= min(sides) // CELLS:
        levels += 1
    return levels


def phase_moments(squares: np.ndarray, stride: int, most: int) -> PhaseMoments | None:
    """Of the squares `[N, H, W, C]` of an interior; None where it is too small for one period of the stride."""
    levels = deepest(squares.shape[1:3], stride, most)
    if levels == 0:
        return None
    period = stride**levels
    rows, columns = squares.shape[1] // period, squares.shape[2] // period
    cut = squares[:, : rows * period, : columns * period]
    cells = cut.reshape(len(cut), rows, period, columns, period, -1)
    edges = [np.arange(blocks) * n // blocks for n in (rows, columns) for blocks in (min(BLOCKS, n),)]
    # Images are added up first: what they share, such as grids of longer periods, must not pass for certainty.
    sums = np.add.reduceat(np.add.reduceat(cells.sum(0), edges[0], axis=0), edges[1], axis=2)  # [B, P, B, P, C]
    groups = sums.transpose(0, 2, 1, 3, 4).reshape(-1, period, period, sums.shape[-1])
    total = groups.sum(0)
    errors = tuple(_error(total, groups, *step) for step in steps(stride, levels))
    return PhaseMoments(stride, levels, total / (len(cut) * rows * columns), errors)


def fold(powers: np.ndarray, period: int) -> np.ndarray:
    """Sums over `[..., P, P, C]` for a period that divides P."""
    *head, rows, columns, channels = powers.shape
    split = powers.reshape(*head, rows // period, period, columns // period, period, channels)
    return split.sum(axis=(-5, -3))


def _error(total: np.ndarray, groups: np.ndarray, parent: int, period: int) -> float:
    """Jackknife over parts: those that disagree about a phase's share know it badly."""
    shares = _log_shares(total - groups, parent, period)
    spread = np.square(shares - shares.mean(0)).sum(0) * (len(groups) - 1) / len(groups)
    return float(np.median(spread))


def _log_shares(powers: np.ndarray, parent: int, period: int) -> np.ndarray:
    """Log of the power of each phase over that of the phase of the parent period that it is part of."""
    fine, coarse = fold(powers, period), fold(powers, parent)
    repeated = np.tile(coarse, (period // parent, period // parent, 1))
    return np.log(np.maximum(fine, 1e-30) / np.maximum(repeated, 1e-30))

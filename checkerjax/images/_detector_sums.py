"""What is kept of many pictures: sums over pictures and planes for each line of a period."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from checkerjax.images._null import SMALLEST, chi_squared, sidak
from checkerjax.images._report import LineTable, PeriodResult

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEWEST_BELOW = 30  # lines below their floors that their scatter is told from, to 13%


class FolderPeriod(NamedTuple):
    """One period over many pictures; dB are those of the mean over pictures of line over floor."""

    period: int
    pictures: int  # that were large enough for it
    db: float
    p: float  # of the summed lines, over their spread
    p_corrected: float
    amplitude: float  # root of the mean square over pictures
    phase_db: float
    phase_p: float
    phase_p_corrected: float
    share_found: float  # of the pictures, each at its own level
    db_quantiles: tuple[float, ...]  # over pictures, at QUANTILES
    phase_db_quantiles: tuple[float, ...]


class PictureLines(NamedTuple):
    """One statistic of one picture, for each line `[L]`: sums over planes."""

    period: np.ndarray
    group: np.ndarray
    value: np.ndarray  # of chi-squared variables
    dof: np.ndarray
    ratio: np.ndarray  # of line over floor
    planes: int


def over_planes(table: LineTable) -> PictureLines:
    """The sums over planes of a report's lines."""
    planes = int(table.plane[-1]) + 1 if len(table.plane) else 1
    dof = np.where(table.line_dof < 1.5, 1, 2)
    columns = (chi_squared(table.p, dof), dof, table.power / table.floor)
    value, dof, ratio = (column.reshape(planes, -1).sum(0) for column in columns)
    lines = len(table.period) // planes
    return PictureLines(table.period[:lines], table.group[:lines], value, dof, ratio, planes)


class LineSums:
    """Sums over pictures and planes, for each line of a period, `[L]`."""

    def __init__(self) -> None:
        self.value: np.ndarray | float = 0.0
        self.dof: np.ndarray | float = 0.0
        self.ratio: np.ndarray | float = 0.0
        self.count = 0
        self.group = np.zeros(0, int)

    def add(self, lines: PictureLines, period: int) -> None:
        """One more picture."""
        first, end = np.searchsorted(lines.period, [period, period + 1])  # periods are in order
        if first == end:  # nothing varies
            return
        self.value = self.value + lines.value[first:end]
        self.dof = self.dof + lines.dof[first:end]
        self.ratio = self.ratio + lines.ratio[first:end]
        self.count += lines.planes
        self.group = lines.group[first:end]

    def deviates(self) -> np.ndarray:
        """Normal deviates of the lines, `[L]`, above 0 where they are stronger than their floors."""
        if not self.count:
            return np.zeros(0)
        return -np.asarray(special.ndtri(np.clip(special.chdtrc(self.dof, self.value), SMALLEST, 1 - 1e-16)))

    def p(self, spread: float) -> float:
        """The smallest p of the lines, deviates over `spread`, corrected for those of its group and for the groups."""
        if not self.count:
            return 1.0
        p = np.clip(special.ndtr(-self.deviates() / spread), SMALLEST, 1.0)
        groups = [p[self.group == group] for group in np.unique(self.group)]
        return sidak(min(sidak(float(g.min()), len(g)) for g in groups), len(groups))

    def db(self) -> float:
        return 10 * math.log10(max(float(np.mean(self.ratio)) / self.count, 1e-30)) if self.count else 0.0


def spread_below(deviates: np.ndarray) -> float:
    """Scatter of the lines below their floors, over that of chance; at least 1.

    What floors are off by is the same in all pictures of a sort, and planes depend on each other a little: over many
    pictures that makes lines scatter more than chance does. A grid makes lines stronger only, so those below show it.
    """
    below = deviates[deviates < 0]
    return max(1.0, math.sqrt(float(np.square(below).mean()))) if len(below) >= FEWEST_BELOW else 1.0


class PeriodSums:
    """One period over pictures that come one at a time."""

    def __init__(self) -> None:
        self.lines, self.phases = LineSums(), LineSums()
        self.energy, self.found = 0.0, 0
        self.db: list[float] = []
        self.phase_db: list[float] = []

    def add(self, result: PeriodResult, found: bool, lines: PictureLines, phases: PictureLines) -> None:
        """One more picture."""
        self.lines.add(lines, result.period)
        self.phases.add(phases, result.period)
        self.energy += result.amplitude**2
        self.found += found
        self.db.append(result.db)
        self.phase_db.append(result.phase_db)

    def result(self, period: int, trials: int, spread: float, phase_spread: float) -> FolderPeriod:
        """What the pictures say together."""
        p, phase_p, n = self.lines.p(spread), self.phases.p(phase_spread), len(self.db)
        return FolderPeriod(
            period, n, self.lines.db(), p, sidak(p, trials), math.sqrt(self.energy / n), self.phases.db(), phase_p,
            sidak(phase_p, trials), self.found / n, _quantiles(self.db), _quantiles(self.phase_db),
        )  # fmt: skip


def _quantiles(values: list[float]) -> tuple[float, ...]:
    return tuple(float(q) for q in np.quantile(values, QUANTILES))

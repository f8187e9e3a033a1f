"""What an audit's report is made of, besides findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from checkerjax.audits._finding import GRADES

PerPeriod = tuple[tuple[int, float], ...]


class Thresholds(NamedTuple):
    """What is called a grid."""

    max_lattice_ratio: float = 1e-3  # flat probe: line energy over DC energy
    max_power_ratio: float = 1.2  # white probe: largest over smallest phase power


THRESHOLDS = Thresholds()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What reaches the end of a program: its output, or the gradient of its input. Unmeasured numbers are None."""

    lattice_ratio: float | None  # flat probe: line energy over DC energy; of latents, their excess over the floor
    power_ratio: float | None  # white probe: largest over smallest phase power
    lattice_ratios: PerPeriod = ()  # (period, primitive lines over DC)
    power_ratios: PerPeriod = ()  # (period, largest over smallest phase power), shorter periods included
    period: tuple[int, ...] = ()  # per spatial axis, samples
    shape: tuple[int, ...] = ()  # of the whole field, per spatial axis
    interior: tuple[tuple[int, int], ...] = ()  # measured samples per spatial axis; empty if all were
    grade: str | None = None  # of all operations together: "holes", "uneven", "untied" or "tied"
    counts: tuple[tuple[float, ...], ...] = ()  # per spatial axis: paths, or weights of constants, to each phase
    latent: bool = False  # the input has no spatial axes
    zero_share: float | None = None  # of a gradient: the share of samples that are exactly 0
    power_chance: float | None = None  # the power ratio that equal phase powers hardly ever exceed by chance
    name: str = ""  # of several, the place in what the function returns, "1/image" say; or the input of a gradient

    def verdict(self, thresholds: Thresholds) -> str | None:
        """ "clean", "lines", "power" or "both"; None if nothing was measured."""
        if self.lattice_ratio is None and self.power_ratio is None:
            return None
        lines = self.lattice_ratio is not None and self.lattice_ratio > thresholds.max_lattice_ratio
        power = self.power_ratio is not None and self.power_ratio > self.power_limit(thresholds.max_power_ratio)
        return {(False, False): "clean", (True, False): "lines", (False, True): "power", (True, True): "both"}[
            lines, power
        ]

    def power_limit(self, limit: float) -> float:
        """The limit, or what chance reaches where that is more."""
        return limit if self.power_chance is None else max(limit, self.power_chance)

    def line_periods(self, limit: float) -> tuple[int, ...]:
        """Periods with lines of their own above the limit, ascending; where only their sum is, the strongest."""
        if self.lattice_ratio is None or not self.lattice_ratio > limit:
            return ()
        found = tuple(sorted(period for period, value in self.lattice_ratios if value > limit))
        return found or _strongest(self.lattice_ratios)

    def power_periods(self, limit: float) -> tuple[int, ...]:
        """Periods whose phase powers are unequal by more than the limit, and than shorter periods explain, ascending.

        A grid of period 2 is one of period 4 too, so a longer period counts if its ratio is `limit` times those of
        all periods that divide it.
        """
        limit = self.power_limit(limit)
        if self.power_ratio is None or not self.power_ratio > limit:
            return ()
        found = []
        for period, value in sorted(self.power_ratios):
            within = [v for p, v in self.power_ratios if p < period and period % p == 0]
            if value > limit * max([1.0, *within]):
                found.append(period)
        return tuple(found) or _strongest(self.power_ratios)


def joint_verdict(outcomes: Sequence[Outcome], thresholds: Thresholds) -> str | None:
    """The verdict over several: "both" also where one has lines and another unequal powers."""
    words = {o.verdict(thresholds) for o in outcomes} - {None}
    if not words:
        return None
    lines, power = bool(words & {"lines", "both"}), bool(words & {"power", "both"})
    return "both" if lines and power else "lines" if lines else "power" if power else "clean"


def worst_first(outcomes: Sequence[Outcome], thresholds: Thresholds) -> list[int]:
    """Indices by how far each is above the limits; of what was not measured, by grade."""

    def rank(i: int) -> tuple[float, float, int]:
        outcome = outcomes[i]
        above = {"lines": 1, "power": 1, "both": 2}.get(outcome.verdict(thresholds) or "", 0)
        lines = (outcome.lattice_ratio or 0.0) / max(thresholds.max_lattice_ratio, 1e-9)
        power = (outcome.power_ratio or 1.0) / outcome.power_limit(thresholds.max_power_ratio)
        grade = GRADES.index(outcome.grade) if outcome.grade in GRADES else len(GRADES)
        return (-above, -max(lines, power) if above else 0.0, grade)

    return sorted(range(len(outcomes)), key=rank)


class Traced(NamedTuple):
    """One spatial operation as the probes saw it, stride-1 convolutions included."""

    label: str  # what it is, such as "deconv k5 s2"
    path: str  # of modules and name scopes
    source: str  # "file:line"
    lattice_ratio: float | None  # after it
    power_ratio: float | None
    grade: str | None  # None where it feeds all its samples alike
    lattice_ratios: PerPeriod = ()  # (period, primitive lines over DC) after it
    power_ratios: PerPeriod = ()  # (period, largest over smallest phase power), shorter periods included
    power_chance: float | None = None  # the power ratio that equal phase powers hardly ever exceed by chance


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an audit was made."""

    layout: str = "channel_last"
    inputs: tuple[int, ...] = ()  # positions of the arguments that carry data
    input_shapes: tuple[tuple[int, ...], ...] = ()  # of these
    redraw: int = 32  # draws of the parameters; 0: as given
    seed: int | tuple[int, ...] | None = None
    thresholds: Thresholds = THRESHOLDS
    versions: tuple[tuple[str, str], ...] = ()  # (package, version)
    device: str = ""


def _strongest(values: PerPeriod) -> tuple[int, ...]:
    """The shortest of the periods with the largest value."""
    return (min(values, key=lambda each: (-each[1], each[0]))[0],) if values else ()

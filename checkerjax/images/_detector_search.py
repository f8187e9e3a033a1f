"""The search for periods: measure, accept the most significant, take it out, measure again.

A strong grid has skirts: where contrast is uneven its lines reach beyond the window's lobes, and would look like those
of other periods. So each period is reported as it stood when its turn came, with stronger ones subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from checkerjax.images._detector_lines import (
    Folds,
    PlaneLines,
    Spectrum,
    evenness,
    fold,
    fold_all,
    fold_from,
    measure_lines,
)
from checkerjax.images._detector_phases import magnitude, take_out
from checkerjax.images._detector_plan import Plan
from checkerjax.images._detector_planes import Plane, cross_difference
from checkerjax.images._detector_pooling import group_p, period_p
from checkerjax.images._null import sidak, window


class Found(NamedTuple):
    """One statistic: its lines in every plane, `[planes, L]`, and the periods found, in order of significance."""

    lines: PlaneLines
    found: tuple[int, ...]


class Outcome(NamedTuple):
    """Both statistics of a picture."""

    lines: Found
    phases: Found
    share: np.ndarray  # of the degrees of freedom, by pattern, in the first plane
    spectrum: Spectrum  # of the first plane, with all its lines
    phase_folds: Folds  # windowed second moments of the first plane
    contrast: float  # windowed mean of the magnitudes: the scale of phase power
    scales: np.ndarray  # [planes], 1 over the windowed sum of the gain


def search(plan: Plan, planes: Sequence[Plane], alpha: float) -> Outcome:
    """Lines in all planes, phase powers in the first."""
    weight = window(plan.size)
    shares = evenness(plan, [(plane.gain, plane.faint) for plane in planes])
    gains = [plane.gain * weight for plane in planes]
    fields = [plane.second * gain for plane, gain in zip(planes, gains)]
    lines, spectrum = _clean(plan, fields, gains, shares, alpha)
    cross = cross_difference(planes[0].pixels)
    cross *= gains[0]
    for period in lines.found:  # a pattern would be a contrast too
        take_out(cross, fold(cross, period), period, gains[0])
    contrast = magnitude(fields[0], cross)
    mean = float(contrast.sum()) / float(weight.sum())
    moments = np.square(contrast)
    moments /= weight
    contrast -= np.float32(mean) * weight
    phases, _ = _clean(plan, [contrast], [None], shares[:1], alpha)
    scales = np.array([1 / float(gain.sum()) for gain in gains])
    return Outcome(lines, phases, shares[0], spectrum, fold_all(plan, [moments]), mean, scales)


def _clean(
    plan: Plan,
    fields: Sequence[np.ndarray],
    gains: Sequence[np.ndarray] | Sequence[None],
    shares: np.ndarray,
    alpha: float,
) -> tuple[Found, Spectrum]:
    """Lines of windowed fields, out of which the periods found are taken, in place."""
    trials = 2 * len(plan.periods)
    lines, spectrum, folds = measure_lines(plan, fields, shares)
    found: list[int] = []
    while len(found) < len(plan.periods):
        of_periods = period_p(plan, group_p(plan, lines.p))
        p = {period: value for period, value in zip(plan.periods, of_periods) if period not in found}
        if sidak(min(p.values()), trials) >= alpha:
            break
        best = min(p, key=lambda period: (p[period], -_strength(plan, lines, period)))
        found.append(best)
        sums = fold_from(folds, best)
        for i, field in enumerate(fields):
            take_out(field, sums[i], best, gains[i])
        again, _, folds = measure_lines(plan, fields, shares)
        open_ = ~np.isin(plan.period, found)
        lines = PlaneLines(*(np.where(open_, new, old) for new, old in zip(again, lines)))
    return Found(lines, tuple(found)), spectrum


def _strength(plan: Plan, lines: PlaneLines, period: int) -> float:
    return float((lines.power / lines.floor)[:, plan.period == period].max())

"""p-values of parts, groups and periods, from those of their lines."""

from __future__ import annotations

import numpy as np
from scipy import special

from checkerjax.images._detector_plan import Plan
from checkerjax.images._null import SMALLEST, chi_squared, sidak_each


def pooled_p(plan: Plan, p: np.ndarray) -> np.ndarray:
    """One p-value for the lines of each part of a plan, in each plane: `[planes, parts]` from `[planes, L]`.

    The squared normal quantile of each is chi-squared with one degree of freedom, and so they add (Lancaster 1961).
    Lines that share floor bins make the sum vary more; it is then taken for a multiple of a chi-squared variable of the
    same mean and variance.
    """
    parts = plan.parts
    sums = np.stack([np.bincount(parts.of_line, row, len(parts.count)) for row in chi_squared(p, 1)])
    return np.clip(special.chdtrc(parts.count / parts.inflation, sums / parts.inflation), SMALLEST, 1.0)


def group_p(plan: Plan, p: np.ndarray) -> np.ndarray:
    """p of each group from those of lines: the smallest of its parts in all planes, corrected for their number."""
    pooled = pooled_p(plan, p)
    return sidak_each(np.minimum.reduceat(pooled.min(0), plan.parts.first), plan.parts.size * len(pooled))


def period_p(plan: Plan, groups: np.ndarray) -> list[float]:
    """p of each period: the smallest of its groups, corrected for their number."""
    least = np.minimum.reduceat(groups, plan.parts.first_group)
    return sidak_each(least, plan.parts.groups_of).tolist()

"""From moments to what each hypothesis is worth: odds, probabilities, and the distance from the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from checkerjax.images import _forensics_model as model
from checkerjax.images._forensics_calibration import NONE, label
from checkerjax.images._forensics_model import Priors
from checkerjax.images._forensics_moments import PhaseMoments

LONGEST = max(model.STRIDES)


class Evidence(NamedTuple):
    """What the moments of one stride say."""

    stride: int
    kernels: dict[int, float]  # log odds of a last layer of this kernel over phases that are equal but for chance
    finer: tuple[float, ...]  # the same of unequal splits at the periods stride^2, stride^3, as far as they fit


def evidence(moments: PhaseMoments, priors: Priors) -> Evidence:
    """Of one stride."""
    levels = range(1, moments.levels + 1)
    none = [model.even_log_likelihood(moments, level, priors) for level in levels]
    tables = {kernel: model.log_likelihood(moments, kernel, priors) for kernel in model.KERNELS}
    kernels = {k: float(model.log_sum_exp(t.ravel()) - np.log(t.size)) - none[0] for k, t in tables.items()}
    finer = [model.unequal_log_likelihood(moments, level, priors) - none[level - 1] for level in levels[1:]]
    return Evidence(moments.stride, kernels, tuple(finer))


def evidences(moments: Sequence[PhaseMoments | None], priors: Priors) -> tuple[Evidence, ...]:
    """Of all strides that fit."""
    return tuple(evidence(each, priors) for each in moments if each is not None)


def by_layer(found: Sequence[Evidence]) -> dict[str, float]:
    """Log odds of each last layer over none.

    Splits at the period 4 are part of what stride 4 must explain, so stride 2 may have them or not. Those at longer
    periods are left out: any layer, and none, may come after what makes them, and few periods of smooth content do too.
    """
    odds = {NONE: 0.0}
    for each in found:
        within = each.finer[:1] if each.stride**2 <= LONGEST else ()
        extra = sum(float(np.logaddexp(0, value) - np.log(2)) for value in within)
        odds |= {label(kernel, each.stride): value + extra for kernel, value in each.kernels.items()}
    return odds


def depths(each: Evidence, temper: float) -> tuple[float, ...]:
    """Probabilities of 1, 2, 3 stacked layers of this stride; what the images do not resolve is as likely."""
    steps = [*each.finer, *[0.0] * model.STACKED][: model.STACKED - 1]
    return tuple(float(p) for p in softmax(temper * np.cumsum([0.0, *steps])))


def behind(odds: dict[str, float]) -> dict[str, float]:
    """How far each of `by_layer` is below the best."""
    top = max(odds.values())
    return {name: top - value for name, value in odds.items()}


def softmax(values: np.ndarray) -> np.ndarray:
    """Shares that add up to 1."""
    shares = np.exp(values - values.max())
    return shares / shares.sum()

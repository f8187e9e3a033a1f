"""L2 pooling of a periodic covariance: the windows' covariances, one for each phase and lag."""

from __future__ import annotations

import functools

import numpy as np

from checkerjax.expectations import _lags as lags_
from checkerjax.expectations._l2 import l2_dual, l2_mean
from checkerjax.expectations._lags import Array, Lags, Sizes
from checkerjax.expectations._parts import Part, no_closed_form
from checkerjax.expectations._program import Node
from checkerjax.expectations._steps import Step, output_period


def l2_pool(node: Node, part: Part) -> Part:
    """The root of a weighted mean of squares, of a Gaussian field."""
    if not part.gaussian:
        raise no_closed_form(node, "what comes in is no longer Gaussian")
    (steps,) = node.steps
    weights = functools.reduce(np.multiply.outer, [step.weights[0] for step in steps]).ravel()
    periods = tuple(map(output_period, steps, part.own.periods))
    at_zero = _windows(part.own, steps, periods, (1,) * len(steps))

    def moments(lags: Lags) -> Lags:
        sizes = tuple(map(output_period, steps, lags.sizes))
        lags_.check_entries(node.place, periods, tuple(s * step.weights.size**2 for s, step in zip(sizes, steps)))
        shape = Lags(None, periods, sizes)
        across = _windows(lags, steps, periods, sizes)
        first, second = lags_.at_first(at_zero, shape), lags_.at_second(at_zero, shape)
        return shape.map(l2_dual(weights, first, across, second))

    terms = () if part.terms == () else None
    mean = l2_mean(weights, at_zero)
    after = Part(part.channels, moments(part.own), moments(part.between), mean, False, terms, part.start)
    return after._replace(mixed=part.mixed, approximate=part.approximate or part.mixed)


def _windows(lags: Lags, steps: tuple[Step, ...], periods: Sizes, sizes: Sizes) -> Array:
    """`[P M, ..., taps, taps]`: the covariance of a window's samples with those of the window a lag away."""
    values, ndim = lags.values, len(steps)
    for axis, (step, p, m, before, torus) in enumerate(zip(steps, periods, sizes, lags.periods, lags.sizes)):
        n = np.arange(p)[:, None, None, None]
        first = step.inputs * n + step.positions[0][:, None]
        second = step.inputs * (n + np.arange(m)[:, None, None]) + step.positions[0]
        index = first % before * torus + (second - first) % torus
        taken = values.__array_namespace__().take(values, index.ravel(), axis=axis)
        values = taken.reshape(*taken.shape[:axis], p * m, *index.shape[2:], *taken.shape[axis + 1 :])
        # Taps go last, so that the next spatial axis is the next one.
        values = values.__array_namespace__().moveaxis(values, (axis + 1, axis + 2), (-2, -1))
    taps = np.arange(ndim, 3 * ndim)
    order = (*range(ndim), *taps[::2].tolist(), *taps[1::2].tolist())
    values = values.__array_namespace__().permute_dims(values, order)
    count = int(np.prod([step.weights.shape[1] for step in steps]))
    return values.reshape(*values.shape[:ndim], count, count)

"""First and second moments of a linear chain at random initialisation: one draw, or the mean over all draws."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from checkerjax.overlap._linear import PADDING, Branches, Chain, Step, added, fixed_part

Covariance = Callable[[int], np.ndarray]  # lag t -> E[x(n) x(n + t)] for all n; NaN where padding plays a part


def one_draw(chain: Chain, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Runs a chain whose learned weights are full matrices of channels, N(0, 1 / (C taps)).

    `x` and the result are `[n, C, columns]`. Joined branches are mixed by random matrices, as the next learned layer
    would mix them, so C stays.
    """
    for node in chain:
        x = _draw_branches(node, x, rng) if isinstance(node, Branches) else _draw_step(node, x, rng)
    return x


def _draw_branches(node: Branches, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    outs = [one_draw(chain, x, rng) for chain in node.chains]
    if node.join:
        channels = x.shape[1]
        outs = [rng.standard_normal((channels, channels)) @ out for out in outs]
    return sum(outs[1:], start=outs[0])


def _draw_step(step: Step, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    channels = x.shape[1]
    fill = np.stack([np.zeros_like(x[0]), np.full_like(x[0], np.nan)])
    x = np.concatenate([x, fill])  # a row for what is not read, a row for what is padding
    rows = np.where(step.weights == 0, len(x) - 2, np.where(step.positions == PADDING, len(x) - 1, step.positions))
    kernel = np.eye(channels)[None]
    if step.draws is not None:
        count = int(step.draws.max(initial=0)) + 1
        kernel = rng.standard_normal((count, channels, channels)) / np.sqrt(channels * max(rows.shape[1], 1))
    out = np.zeros((rows.shape[0], *x.shape[1:]), x.dtype)
    for t in range(rows.shape[1]):
        read = step.weights[:, t, None, None] * x[rows[:, t]]
        out += read if step.draws is None else kernel[step.draws[:, t]] @ read
    return out


def stationary(size: int, lag: int) -> tuple[Covariance, set[int]]:
    """Input that is 1 at lags +-`lag`, else 0, and the set of lags that it was asked for; lag 0 is white noise.

    Every autocovariance is a sum of these, and so is what a chain makes of it: second moments are linear in it.
    """
    asked: set[int] = set()

    def covariance(t: int) -> np.ndarray:
        asked.add(abs(t))
        return np.full(size, float(abs(t) == lag))

    return covariance, asked


def mean_covariance(chain: Chain, x: Covariance, rng: np.random.Generator) -> Covariance:
    """The covariance of a chain's output, averaged over independent zero-mean weights.

    Learned: K' = sum_j A_j K A_j^T over the learned numbers j; fixed: R K R^T. Joined channels are averaged apart.
    Each learned layer gets a random variance, so that what branches happen to balance at some variances is not taken
    for a property of the stack.
    """
    for node in chain:
        if isinstance(node, Branches):
            x = _branches(node, x, rng)
        else:
            x = _step(node, x, 1.0 if node.draws is None else rng.uniform(0.5, 2.0))
    return x


def _branches(node: Branches, x: Covariance, rng: np.random.Generator) -> Covariance:
    terms = [(1.0, mean_covariance(chain, x, rng)) for chain in node.chains]
    if not node.join:
        # Branches correlate through the paths that meet no learned weight, and only through those.
        fixed = [step for chain in node.chains if (step := fixed_part(chain, node.size)) is not None]
        terms += [(-1.0, _step(step, x, 1.0)) for step in fixed]
        if fixed:
            terms.append((1.0, _step(added(fixed), x, 1.0)))
    return functools.cache(lambda t: np.sum([sign * term(t) for sign, term in terms], axis=0))


def _step(step: Step, x: Covariance, variance: float) -> Covariance:
    @functools.cache
    def covariance(t: int) -> np.ndarray:
        outputs = step.positions.shape[0]
        n = np.arange(max(0, -t), min(outputs, outputs - t))
        result = np.full(outputs, np.nan)
        used = step.weights != 0
        pairs = used[n][:, :, None] & used[n + t][:, None]
        if step.draws is not None:
            pairs &= step.draws[n][:, :, None] == step.draws[n + t][:, None]
        padded = ((step.positions == PADDING) & used).any(axis=1)
        total = np.where(padded[n] | padded[n + t], np.nan, 0.0)
        row, i, j = np.nonzero(pairs & ~np.isnan(total)[:, None, None])
        first, second = step.positions[n[row], i], step.positions[n[row] + t, j]
        weights = variance * step.weights[n[row], i] * step.weights[n[row] + t, j]
        for lag in np.unique(second - first):
            here = second - first == lag
            np.add.at(total, row[here], weights[here] * x(int(lag))[first[here]])
        result[n] = total
        return result

    return covariance

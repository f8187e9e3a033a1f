"""Equal phase gains while a model trains: an optax transformation that keeps them, a penalty that asks for them.

Parameters are named by path, "decoder/up/kernel" in a tree of linen or of nnx. `strides` is a mapping from patterns
to strides, or a function of the path that returns one or None. A pattern is a glob (`*`, `?`, `[...]`; `*` crosses
slashes) that names a path or the end of one: "up/kernel" names "up/kernel" and "decoder/up/kernel"; of several that
name a parameter the first counts. Where a stride does not say enough (dilation, sub-pixel kernels), write
`KernelPhases`.

What equal gains are worth, precisely: condition 2 for every channel pair, so any input that is flat over the kernel's
reach gives a flat output, whatever layers follow. At a border that pads, the phases of the last few samples lose
different taps; and a sub-pixel convolution's bias, one per phase, draws a grid of its own unless it is kept too. An
input that is not flat leaves second-order traces, which no finite kernel avoids.

What looks at outputs instead of weights is in `checkerjax.spectra`: `durall_spectral_loss` and
`schwarz_spectral_loss`, differentiable, are terms of a loss like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from checkerjax._checks import PerAxis, at_least_float32
from checkerjax.nn._equal_gains import (
    KernelPhases,
    as_phases,
    equal_gains_shape,
    expand_equal_gains,
    gains_of,
    project,
)
from checkerjax.nn._paths import rules_for

__all__ = [
    "KernelPhases",
    "equal_gains_shape",
    "expand_equal_gains",
    "gain_spread",
    "gain_spread_penalty",
    "keep_equal_gains",
]

Strides = Mapping[str, PerAxis | KernelPhases] | Callable[[str], PerAxis | KernelPhases | None]


def keep_equal_gains(strides: Strides) -> optax.GradientTransformation:
    """Changes updates so that parameters plus updates have equal phase gains: the nearest such kernels.

    The last of a chain: `optax.chain(optax.adam(1e-3), keep_equal_gains({"up*/kernel": 2}))`. What comes after it
    changes the update once more, and what treats elements one by one (Adam, clipping of values) undoes it. Kernels of
    any initialisation get equal gains with the first update. The set of these kernels is a linear space, so averages of
    parameters over steps, weight decay, and weight or spectral norms by channel stay inside it; a mask on the kernel
    does not.

    Equal to rounding of the parameters: below 1e-6 of the mean gain in float32, some 2e-2 in bfloat16 (random kernels,
    k = 4, s = 2 in the plane). A cast of float32 parameters to bfloat16 for the computation rounds as much.

    Args:
      strides: of the kernels to keep, by path; see `checkerjax.nn.transforms`.

    Returns:
      An `optax.GradientTransformation` without state, for parameters as dicts or nnx States; other parameters keep
      their updates. It composes with `optax.chain`, `optax.multi_transform` and `optax.masked`.

    Raises:
      ValueError: in `init` and `update`, for a pattern that names no parameter, for one that names anything but a
        kernel, or a kernel with a phase that gets no tap; in `update`, where it is not given the parameters.
      TypeError: for strides that are neither a mapping nor a function, and for parameters of a dtype not floating.

    Example:
      >>> params = {"up": {"kernel": jnp.ones((3, 1, 1)), "bias": jnp.zeros(1)}}
      >>> optimizer = optax.chain(optax.sgd(0.1), keep_equal_gains({"up/kernel": 2}))
      >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)["up"]["kernel"].ravel().round(3)
      Array([0.6, 1.2, 0.6], dtype=float32)

    References:
      Condition 2: Sugawara, Shiota and Kiya, arXiv:1806.02658. Nothing in ICNR (arXiv:1707.02937) keeps it in training.
    """
    op = "keep_equal_gains"

    def init(params: optax.Params) -> optax.OptState:
        for path, leaf, rule in rules_for(op, params, strides)[0]:
            if rule is not None:
                jax.eval_shape(lambda leaf, path=path, rule=rule: project(op, path, leaf, as_phases(rule)), leaf)
        return optax.EmptyState()

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        if params is None:
            raise ValueError(f"{op}: update needs the parameters. Call update(updates, state, params).")
        ruled, structure = rules_for(op, params, strides)
        moves = structure.flatten_up_to(updates)
        kept = [
            move if rule is None else _kept(op, path, leaf, move, as_phases(rule))
            for (path, leaf, rule), move in zip(ruled, moves)
        ]
        return structure.unflatten(kept), state

    return optax.GradientTransformation(init, update)


def gain_spread_penalty(params: Any, strides: Strides, *, relative: bool = False) -> jax.Array:
    """Power of the lines that the named kernels give an input of ones, for a loss; 0 where all gains are equal.

    For each kernel the mean, over channel pairs, of the variance of the gains over the phases; summed over kernels.
    A penalty makes gains nearly equal, and guarantees nothing at a finite weight: see `keep_equal_gains` for that.

    Args:
      params: of a model: dicts or an nnx State, or the nnx module itself.
      strides: of the kernels, by path; see `checkerjax.nn.transforms`.
      relative: over the mean square of the gains, for each kernel: the share of the lines in the response to ones,
        in [0, 1]. Without it a network that normalises after the layer can lower the penalty by shrinking the kernel.

    Returns:
      A number of at least 0, differentiable, in the kernels' units squared (none if `relative`); of at least float32.

    Raises:
      ValueError: for a pattern that names no parameter, or one that names anything but a kernel.
      TypeError: for strides that are neither a mapping nor a function, and for a dtype that is not floating.

    Example:
      >>> params = {"up": {"kernel": jnp.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)}}
      >>> gain_spread_penalty(params, {"up/kernel": 2}), gain_spread_penalty(params, {"up/kernel": 2}, relative=True)
      (Array(1., dtype=float32), Array(0.1, dtype=float32))
    """
    terms = []
    for _, gains in _gains("gain_spread_penalty", params, strides):
        apart = gains - gains.mean(0)
        lines, power = (apart * apart.conj()).real.mean(), (gains * gains.conj()).real.mean()
        silent = power == 0
        terms.append(jnp.where(silent, 0, lines) / jnp.where(silent, 1, power) if relative else lines)
    return jnp.stack(terms).sum() if len(terms) > 1 else terms[0]


def gain_spread(params: Any, strides: Strides) -> dict[str, jax.Array]:
    """The largest distance of a phase gain from the mean of its channel pair, over the mean gain: a number to log.

    Args:
      params: of a model: dicts or an nnx State, or the nnx module itself.
      strides: of the kernels, by path; see `checkerjax.nn.transforms`.

    Returns:
      A number of at least 0 for each named kernel, by path, relative to the mean over phases and pairs of the gains'
      absolute values; 0 where all gains are. May be called under `jit`.

    Raises:
      ValueError: for a pattern that names no parameter, or one that names anything but a kernel.
      TypeError: for strides that are neither a mapping nor a function, and for a dtype that is not floating.

    Example:
      >>> gain_spread({"up": {"kernel": jnp.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)}}, {"up/kernel": 2})
      {'up/kernel': Array(0.33333334, dtype=float32)}
    """
    return {path: spread_of(gains) for path, gains in _gains("gain_spread", params, strides)}


def spread_of(gains: jax.Array) -> jax.Array:
    """The largest distance of a gain from the mean of its pair, over the mean absolute gain; from `[phases, pairs]`."""
    scale = jnp.abs(gains).mean()
    apart = jnp.abs(gains - gains.mean(0)).max()
    return jnp.where(scale == 0, 0, apart) / jnp.where(scale == 0, 1, scale)


def _gains(op: str, params: Any, strides: Strides) -> list[tuple[str, jax.Array]]:
    ruled, _ = rules_for(op, params, strides)
    found = [(path, gains_of(op, path, leaf, as_phases(rule))) for path, leaf, rule in ruled if rule is not None]
    if not found:
        raise ValueError(f"{op}: params has no parameters.")
    return found


def _kept(op: str, path: str, leaf: jax.Array, move: jax.Array, phases: KernelPhases) -> jax.Array:
    """The update after which the parameter, of its own dtype, is the projection of where `move` would take it."""
    leaf, move = jnp.asarray(leaf), jnp.asarray(move)
    wide = at_least_float32(leaf.dtype)
    there = project(op, path, leaf.astype(wide) + move.astype(wide), phases).astype(leaf.dtype)
    return (there.astype(wide) - leaf.astype(wide)).astype(move.dtype)

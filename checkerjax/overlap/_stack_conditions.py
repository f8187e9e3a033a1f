"""Which conditions a whole stack meets at random initialisation, decided along each axis."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from checkerjax._checks import as_int
from checkerjax.overlap._counts import StackLike, count_as
from checkerjax.overlap._linear import Chain, linear_chain
from checkerjax.overlap._moments import mean_covariance, one_draw, stationary
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._axes import along_axis
from checkerjax.stacks._geometry import longest_run, stack_periods, stack_size
from checkerjax.stacks._layers import Stack, check_initialiser
from checkerjax.stacks._text import as_stack

_CHANNELS = 2  # one would let products of weights commute that do not in a network
_EXACT = 1e-9  # of the largest value: rounding in float64; generic weights differ by far more
_FREQUENCIES = 2
_LARGEST = 2**18  # samples of input or output: some hundred megabytes


class StackConditions(NamedTuple):
    """What holds for the linear part of a stack away from the border; None where the stack has no linear part."""

    counts: bool  # 1: equally many paths lead to every phase (`count`)
    gains: bool | None  # 2, for every draw of the weights: a flat input gives a flat output
    energies: bool | None  # 3, in the mean over draws: white input gives a flat variance
    mean_phase_spectra: bool | None  # 3b, in the mean over draws: every stationary input gives a flat variance
    phase_spectra: bool | None  # 3b, for every draw: every stationary input gives a flat variance


def stack_conditions(
    stack: StackLike,
    *,
    ndim: int = 1,
    backward: bool = False,
    initialiser: str = "lecun",
    draws: int = 2,
    seed: int = 0,
) -> StackConditions:
    """Which of the conditions called "no checkerboard" a stack meets at random initialisation.

    Pointwise layers, biases and normalisation are taken as the identity. Behind a dense layer, whose outputs are as
    good as white, only what follows is looked at. Sub-pixel layers and transposed convolutions of initialiser "icnr"
    have tied phases; all other weights are independent with zero mean, and of any variance: what branches happen to
    balance at some variances does not count.
    (A stationary output for every stationary input is a fifth condition. No finite kernel has it, so it is not here.)

    Counts, and what holds in the mean, are decided exactly; what holds for every draw, by random weights of two
    channels, which meet a condition that not all weights meet with probability zero. Each axis is decided apart,
    in one dimension; a condition holds if it does on all axes. Sums of branches that change the resolution do not
    separate like that: with several axes only their counts are decided, on the whole map.

    Args:
      stack: text, a layer or a sequence of layers.
      ndim: spatial axes, 1 to 3; it matters where sizes differ between axes.
      backward: decide about the gradient that arrives at the input, for a flat or white one at the output.
      initialiser: of layers that name none, as in `init`.
      draws: random weights that must agree, at least 1.
      seed: of the random weights; not below 0.

    Returns:
      Five answers. A max or l2 pool leaves only the first, and so do branches that change the resolution if there are
      several axes.

    Raises:
      ValueError: for backward through a max pool, centres="corners" (no two outputs are alike), "icnr" with a stride
        that does not divide the kernel, layers that do not fit, or a period too long to decide.
      TypeError: for a stack that is none.

    Example:
      >>> stack_conditions("deconv k4 s2")
      StackConditions(counts=True, gains=False, energies=True, mean_phase_spectra=True, phase_spectra=False)
      >>> stack_conditions("resize k3 s2 nearest")
      StackConditions(counts=True, gains=True, energies=True, mean_phase_spectra=True, phase_spectra=False)

    References:
      1: Odena, Dumoulin and Olah, Distill 2016. 2: Sugawara, Shiota and Kiya, arXiv:1806.02658. The fifth: Sathe and
      Vaidyanathan, Effects of multirate systems on the statistical properties of random signals, IEEE Trans. SP 1993.
    """
    op = "stack_conditions"
    whole = as_stack(op, stack)
    if initialiser is None:
        raise TypeError(f"{op}: initialiser must be a name; got None.")
    initialiser = check_initialiser(op, "initialiser", initialiser)
    draws = as_int(op, "draws", draws, minimum=1)
    rng = np.random.default_rng(as_int(op, "seed", seed, minimum=0))
    shifts = stack_periods(op, whole, ndim)[0 if backward else 1]
    parts = [_after_dense(along_axis(whole, axis, ndim, op=op)) for axis in range(ndim)]
    if ndim > 1 and _mixes_axes(op, _after_dense(whole), ndim):
        return _decide_counts(op, _after_dense(whole), parts, shifts, backward, initialiser)
    answers = {}
    for part, period in zip(parts, shifts):
        if part not in answers:
            answers[part] = _decide(op, part, period, backward, initialiser, draws, rng)
    return functools.reduce(_both, answers.values())


def _both(first: StackConditions, second: StackConditions) -> StackConditions:
    both = (None if None in pair else all(pair) for pair in zip(first[1:], second[1:]))
    return StackConditions(first.counts and second.counts, *both)


def _after_dense(stack: Stack) -> Stack:
    dense = [i for i, layer in enumerate(stack) if isinstance(layer, layers.Dense)]
    return stack[dense[-1] + 1 :] if dense else stack


def _mixes_axes(op: str, stack: Stack, ndim: int) -> bool:
    """Whether branches change the resolution: a sum of products over axes is no product of sums."""
    for layer in stack:
        if isinstance(layer, (layers.Residual, layers.Parallel)):
            inner = layer.stacks if isinstance(layer, layers.Parallel) else (layer.stack,)
            still = ((1,) * ndim,) * 2
            if any(stack_periods(op, branch, ndim) != still or _mixes_axes(op, branch, ndim) for branch in inner):
                return True
    return False


def _decide_counts(
    op: str, stack: Stack, parts: list[Stack], shifts: tuple[int, ...], backward: bool, initialiser: str
) -> StackConditions:
    """The counts of a stack on all axes together; nothing else."""
    found = [_large_enough(op, part, p, backward, initialiser) for part, p in zip(parts, shifts)]
    counts, _ = count_as(op, stack, tuple(size for size, *_ in found), backward)
    inside = counts[tuple(window for *_, window in found)]
    return StackConditions(_flat(inside.reshape(-1)), None, None, None, None)


def _decide(
    op: str, stack: Stack, period: int, backward: bool, initialiser: str, draws: int, rng: np.random.Generator
) -> StackConditions:
    """The answers along one axis, from two periods that no padding touches."""
    if not stack:  # nothing after the dense layer
        return StackConditions(True, True, True, True, True)
    size, source, chain, window = _large_enough(op, stack, period, backward, initialiser)
    counts = _flat(count_as(op, stack, size, backward)[0][window])
    if _has_pool(stack):
        return StackConditions(counts, None, None, None, None)
    white, lags = stationary(source, 0)
    energies = _flat(mean_covariance(chain, white, rng)(0)[window])
    coloured = [mean_covariance(chain, stationary(source, lag)[0], rng)(0)[window] for lag in sorted(lags - {0})]
    constants = np.broadcast_to(np.eye(_CHANNELS), (source, _CHANNELS, _CHANNELS))
    gains = all(_flat(one_draw(chain, constants, rng)[window]) for _ in range(draws))
    spectra = all(_flat(_wave_powers(chain, source, window, rng)) for _ in range(draws))
    return StackConditions(counts, gains, energies, energies and all(map(_flat, coloured)), spectra)


def _flat(values: np.ndarray) -> bool:
    """Whether all rows are equal."""
    return bool((np.abs(values - values[0]) <= _EXACT * np.abs(values).max()).all())


def _wave_powers(chain: Chain, source: int, window: slice, rng: np.random.Generator) -> np.ndarray:
    """|H_n(f)|^2 of the outputs n in `window` at random f, `[n, O, f]`, summed over input channels.

    It is what a plane wave of frequency f comes out as. If two spectra of finite filters differ at all, they are equal
    at finitely many f only, which a random f misses.
    """
    phases = 2j * np.pi * np.arange(source)[:, None] * rng.uniform(0.05, 0.45, _FREQUENCIES)
    waves = np.einsum("nf,ic->nifc", np.exp(phases), np.eye(_CHANNELS))
    out = one_draw(chain, waves.reshape(source, _CHANNELS, -1), rng)[window]
    return (np.abs(out.reshape(len(out), _CHANNELS, _FREQUENCIES, _CHANNELS)) ** 2).sum(axis=-1)


def _has_pool(stack: Stack) -> bool:
    """Whether a layer is linear neither as it is nor as the identity."""
    for layer in stack:
        inner = layer.stacks if isinstance(layer, layers.Parallel) else ()
        inner = (layer.stack,) if isinstance(layer, layers.Residual) else inner
        if isinstance(layer, (layers.MaxPool, layers.L2Pool)) or any(map(_has_pool, inner)):
            return True
    return False


def _large_enough(
    op: str, stack: Stack, period: int, backward: bool, initialiser: str
) -> tuple[int, int, Chain, slice]:
    """An input size that leaves two periods free of padding; samples into the chain, the chain, and where they lie."""
    (step,), _ = stack_periods(op, stack, 1)
    problem = ""
    for size in (step * 2**power + rest for power in range(2, 20) for rest in range(min(step, 8))):
        try:
            (out,) = stack_size(f"{op}: ", stack, (size,))
        except ValueError as error:  # too small, or branches whose sizes agree for other remainders only
            problem = str(error)
            continue
        if max(size, out) > _LARGEST:
            break
        chain = linear_chain(f"{op}: ", stack, size, initialiser=initialiser, backward=backward)
        source = out if backward else size
        probe = one_draw(chain, np.ones((source, 1, 1)), np.random.default_rng(0))
        start, stop = longest_run(~np.isnan(probe[:, 0, 0]))
        if stop - start >= 2 * period:
            first = start + (stop - start - 2 * period) // 2
            return size, source, chain, slice(first, first + 2 * period)
    reason = (
        problem or f"two periods of {period} samples free of padding need an input of more than {size // 2} samples."
    )
    raise ValueError(f"{op}: cannot decide: {reason.removeprefix(f'{op}: ')}")

"""The conditions called "no checkerboard", decided and measured for a kernel, a trained stack or a random one."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import AXES, PerAxis, as_int, check_finite, check_kernel, concrete, per_axis
from checkerjax.expectations._condition_counts import kernel_unevenness, stack_unevenness
from checkerjax.expectations._condition_numbers import (
    EXACT,
    Distances,
    Found,
    Numbers,
    PairNumbers,
    given_numbers,
    mean_numbers,
)
from checkerjax.expectations._conditions_report import MEANINGS, Condition, Conditions
from checkerjax.expectations._kernels import as_arrays, first_channels
from checkerjax.expectations._linear_parts import Chain, Ints, adjoint, has_branches, linear_parts
from checkerjax.expectations._variances import stack_weights
from checkerjax.overlap import (
    has_equal_counts,
    has_equal_energies,
    has_equal_gains,
    has_equal_phase_spectra,
    stack_conditions,
)
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._axes import along_axis
from checkerjax.stacks._geometry import stack_periods
from checkerjax.stacks._layers import Stack, StackLike
from checkerjax.stacks._plan import Draw, Width, plan_stack
from checkerjax.stacks._text import as_stack, format_stack

Array = jax.Array | np.ndarray
_EVEN = 1e-9  # of ratios that are exact but for rounding in double precision
_LONG = "too large for the numbers of conditions 2 to 4: give a part of the stack, or fewer axes"


class _Setting(NamedTuple):
    """What random weights are drawn for."""

    ndim: int
    channels: int
    width: Width
    initialiser: str
    backward: bool


def conditions(
    stack: StackLike | Array,
    *,
    stride: PerAxis | None = None,
    dilation: PerAxis = 1,
    params: Sequence[Any] | None = None,
    ndim: int = 2,
    channels: int | None = None,
    width: Width = 16,
    initialiser: str = "lecun",
    backward: bool = False,
    rtol: float = 1e-5,
    draws: int = 3,
    seed: int = 0,
) -> Conditions:
    """Which of the conditions called "no checkerboard" hold, and by how much the others do not; none implies all.

    Of the linear part, away from borders: pointwise layers are the identity, and behind a dense layer only what follows
    is looked at. The conditions, and their numbers:

    1 Equal counts: equally many paths lead to each phase. Largest over smallest count.
    2 Equal DC gains: a flat input comes out flat. Energy of the lines over that of DC, for a flat input.
    3 Equal energies: white input comes out with a flat variance. Largest over smallest phase power.
    3b Equal |H_r(f)|^2 of all phases r at all f: every stationary input comes out with a flat variance. Largest ratio
      of phase powers that a stationary input can have: that of a wave at the worst frequency (of a grid of them).
    4 Stationary output for every stationary input. Degree of cyclostationarity of the output for white input: the sum
      over m != 0 of the integral of |S^{m / P}(f)|^2, over that of |S^0(f)|^2; from 0 to P - 1 (its product over axes).

    No finite kernel but 0 meets condition 4 when s > 1. Proof. For y[n] = sum_m x[m] h[n - s m] and stationary x of
    spectrum S_x, y has the cyclic spectra S^{m / s}(f) = H(f) H(f - m / s)* S_x(s f) / s, m = 0 .. s - 1, and is
    stationary if and only if those of m != 0 vanish. For white x that asks H(f) H(f - 1 / s)* = 0 for all f. Now
    H(f) = sum_j h[j] z^j, with z = exp(-2 pi i f), is a polynomial in z, up to a power of z; unless it is 0, it has
    fewer zeros on the circle than there are samples from the first tap to the last. So H(f) H(f - 1 / s)* has finitely
    many zeros in a period, and vanishes everywhere only if H = 0. With several axes, H is a trigonometric polynomial of
    each frequency while the others are fixed; by induction over axes its zeros have measure 0 unless H = 0, and so has
    the union of two such sets. Several input channels are covered because each may be the only one that is not 0;
    chains of upsamplers and convolutions because they are one such kernel again. (Where a stack also downsamples, its
    map from M input phases is not one kernel; then the waves are followed one at a time.) In the mean over draws the
    cyclic spectra may cancel all the same: independent taps with s | k do that, in no single draw.

    Args:
      stack: text, a layer, a sequence of layers; or one kernel `[*k, I, O]` of a transposed convolution (which is also
        what a strided convolution does to gradients).
      stride: of the kernel, where one is given.
      dilation: of the kernel.
      params: of a stack, to decide about these weights. None: random ones, in every draw and in the mean over draws.
      ndim: spatial axes of a stack, 1 to 3.
      channels: of a stack's input; None is that of the first kernel in `params`, or 3 without.
      width: output channels of learned layers that name none, for single draws, as in `init`.
      initialiser: of layers that name none, as in `init`.
      backward: decide about the gradient at the input of a stack, for a flat or white one at the output.
      rtol: of given weights, as in `has_equal_gains`: what passes for equal.
      draws: single draws to take, at least 1.
      seed: of the single draws.

    Returns:
      `Conditions`: rows for "1", "2", "3", "3b" and "4", a table when printed, `to_dict()` for JSON. Numbers of given
      weights are exact, of all channels together and of the worst channel pair (for condition 2 there: largest minus
      smallest gain, over the mean gain). Those of random weights are ratios of exact means over draws; beside them
      stands the median of some single draws.

    Raises:
      ValueError: for what `stack_conditions` or `has_equal_gains` refuse, a kernel without stride, or a stride, a
        dilation, parameters or backward where they mean nothing.
      TypeError: for a stack that is none, or a kernel that is traced.

    Example:
      >>> found = conditions("deconv k4 s2", ndim=1)
      >>> [(row.key, row.holds, row.in_mean) for row in found.rows]
      [('1', True, None), ('2', False, None), ('3', False, True), ('3b', False, True), ('4', False, True)]
      >>> round(found["2"].number, 12)
      1.0
      >>> taps = np.array([1.0, 2.0, 1.0]).reshape(3, 1, 1)
      >>> [(row.key, row.holds, round(row.number, 3)) for row in conditions(taps, stride=2).rows]
      [('1', False, 2.0), ('2', True, 0.0), ('3', False, 2.0), ('3b', False, inf), ('4', False, 0.086)]

    References:
      1: Odena, Dumoulin and Olah, Distill 2016. 2: Sugawara, Shiota and Kiya, arXiv:1806.02658. 4: Sathe and
      Vaidyanathan, Effects of multirate systems on the statistical properties of random signals, IEEE Trans. SP 1993
      (necessary and sufficient for each response). Zivanovic and Gardner, Degrees of cyclostationarity, Signal
      Processing 22, 1991.
    """
    op = "conditions"
    if not isinstance(rtol, (int, float)) or not 0 <= rtol < math.inf:
        raise ValueError(f"{op}: rtol must be a finite number of at least 0; got {rtol!r}.")
    if hasattr(stack, "ndim") and hasattr(stack, "dtype"):
        if stride is None or params is not None or backward:
            raise ValueError(
                f"{op}: a kernel needs stride, and takes neither params nor backward; for a layer of another kind give "
                "the layer and its params."
            )
        return _of_kernel(op, stack, stride, dilation, rtol)
    if stride is not None or dilation != 1:
        raise ValueError(f"{op}: stride and dilation are for a kernel; those of a stack are in its layers.")
    whole = as_stack(op, stack)
    if as_int(op, "ndim", ndim) not in AXES:
        raise ValueError(f"{op}: ndim must be 1, 2 or 3; got {ndim}.")
    if params is not None:
        return _of_params(op, whole, params, ndim, channels, backward, rtol)
    setting = _Setting(ndim, 3 if channels is None else channels, width, initialiser, backward)
    return _of_random(op, whole, setting, as_int(op, "draws", draws, minimum=1), as_int(op, "seed", seed, minimum=0))


def _of_kernel(op: str, kernel: Any, stride: PerAxis, dilation: PerAxis, rtol: float) -> Conditions:
    array, ndim = check_kernel(op, kernel)
    if concrete(array) is None:
        raise TypeError(f"{op}: kernel must have values; it is being traced. Call {op} outside jit.")
    if jnp.iscomplexobj(array):
        raise TypeError(f"{op}: kernel must be real; got {array.dtype}.")
    check_finite(op, "kernel", array)
    strides, dilations = per_axis(op, "stride", stride, ndim), per_axis(op, "dilation", dilation, ndim)
    size = array.shape[:-2]
    options = {"rtol": rtol, "dilation": dilations}
    holds = (
        has_equal_counts(size, strides, dilation=dilations),
        has_equal_gains(kernel, strides, **options),
        has_equal_energies(kernel, strides, **options),
        has_equal_phase_spectra(kernel, strides, **options),
        math.prod(strides) == 1 or not np.asarray(kernel).any(),
    )
    layer = layers.Deconv(size, strides, padding=0, dilation=dilations)
    entries = as_arrays(({"kernel": np.asarray(kernel)},))
    chain, _ = linear_parts(f"{op}: ", (layer,), entries, array.shape[-2], ndim)
    found = given_numbers(chain, array.shape[-2], ((1,) * ndim, strides))
    subject = f"a kernel of {_by(size)}, {array.shape[-2]} to {array.shape[-1]} channels, at stride {_by(strides)}"
    return _given(subject, holds, kernel_unevenness(size, strides, dilations), found)


def _by(sizes: Ints) -> str:
    return "x".join(map(str, sizes))


def _of_params(
    op: str, stack: Stack, params: Any, ndim: int, channels: int | None, backward: bool, rtol: float
) -> Conditions:
    for leaf in jax.tree.leaves(params):
        if concrete(leaf) is None:
            raise TypeError(f"{op}: params must have values; they are being traced. Call {op} outside jit.")
        if jnp.iscomplexobj(leaf):
            raise TypeError(f"{op}: params must be real; got {jnp.asarray(leaf).dtype}.")
        check_finite(op, "params", jnp.asarray(leaf))
    whole, entries = _after_dense(stack, as_arrays(params))
    if not whole:
        return _given(
            format_stack(stack),
            (True,) * 5,
            1.0,
            Found(EXACT, PairNumbers(0.0, 1.0, 1.0, 0.0), Distances(0.0, 0.0, 0.0)),
        )
    periods = stack_periods(op, whole, ndim)
    channels = first_channels(whole, entries) if channels is None else as_int(op, "channels", channels, minimum=1)
    chain, _ = linear_parts(f"{op}: ", whole, entries, channels, ndim)
    found = given_numbers(chain, channels, periods, backward=backward)
    uneven = stack_unevenness(whole, periods, backward=backward)
    return _given(_title(stack, ndim, backward, "given weights"), _decided(uneven, found, rtol), uneven, found)


def _decided(uneven: float | None, found: Found | None, rtol: float) -> tuple[bool | None, ...]:
    """Each channel pair apart, as `has_equal_gains` and its like decide about a kernel."""
    counts = None if uneven is None else uneven == 1
    if found is None:
        return counts, None, None, None, None
    return counts, *(distance <= rtol for distance in found.distances), found.numbers.apart <= rtol**2


def _given(
    subject: str,
    holds: Sequence[bool | None],
    uneven: float | None,
    found: Found | None,
) -> Conditions:
    own = (uneven, *((None,) * 4 if found is None else found.numbers[:4]))
    worst = (None, *((None,) * 4 if found is None else found.pairs))
    rows = [
        Condition(key, name, _bool(held), None, number, pair, None, meaning)
        for (key, (name, meaning)), held, number, pair in zip(MEANINGS.items(), holds, own, worst)
    ]
    notes = () if found is not None else (_LONG,)
    return Conditions(subject, True, tuple(rows), notes)


def _bool(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _of_random(op: str, stack: Stack, setting: _Setting, draws: int, seed: int) -> Conditions:
    ndim, backward = setting.ndim, setting.backward
    decided = stack_conditions(stack, ndim=ndim, backward=backward, initialiser=setting.initialiser)
    whole, _ = _after_dense(stack, (None,) * len(stack))
    title = _title(stack, ndim, backward, setting.initialiser)
    if len(whole) < len(stack):
        setting = setting._replace(channels=_dense_outputs(stack, setting))
    ones = (1,) * ndim
    periods = stack_periods(op, whole, ndim) if whole else (ones, ones)
    uneven = stack_unevenness(whole, periods, backward=backward)
    notes: list[str] = []
    pooled = _has_pool(whole)
    if not whole or pooled:
        numbers, singles = (EXACT, [EXACT]) if not whole else (None, [])
        if whole:
            notes.append("a max or l2 pool has no linear part: conditions 2 to 4 are not decided; measure with sweep")
    else:
        numbers = _mean(op, whole, periods, setting)
        singles = _singles(op, whole, periods, setting, draws, seed)
        if numbers is None or not singles:
            notes.append(_LONG)
    holds = _every_draw(decided, (periods[1], periods[0]) if backward else periods, singles, numbers, pooled)
    in_mean = (None, None, *_in_mean(decided, numbers))
    median = [None] * 4 if not singles else [float(np.median(column)) for column in list(zip(*singles))[:4]]
    own = (uneven, *((None,) * 4 if numbers is None else numbers[:4]))
    rows = [
        Condition(key, name, _bool(held), _bool(mean), number, None, draw, meaning)
        for (key, (name, meaning)), held, mean, number, draw in zip(
            MEANINGS.items(), holds, in_mean, own, (None, *median)
        )
    ]
    return Conditions(title, False, tuple(rows), tuple(notes))


def _title(stack: Stack, ndim: int, backward: bool, weights: str) -> str:
    axes = "1 axis" if ndim == 1 else f"{ndim} axes"
    text = format_stack(stack)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{'gradients of ' if backward else ''}{text}: linear part, {axes}, {weights}"


def _every_draw(
    decided: Any, periods: tuple[Ints, Ints], singles: list[Numbers], numbers: Numbers | None, pooled: bool
) -> tuple[bool | None, ...]:
    """What all draws have: decided exactly where `stack_conditions` does, else by what single draws show."""
    gains, spectra = decided.gains, decided.phase_spectra
    if gains is None and numbers is not None:
        gains = numbers.lattice <= _EVEN
    if spectra is None and singles:
        spectra = all(single.spectra <= 1 + _EVEN for single in singles)
    energies = True if spectra else None
    if energies is None and singles:
        energies = all(single.energies <= 1 + _EVEN for single in singles)
    stationary = True if math.prod(periods[1]) == 1 and not pooled else None
    if stationary is None and math.prod(periods[0]) == 1 and not pooled:
        stationary = False  # by the theorem
    if stationary is None and singles:
        stationary = all(single.apart <= _EVEN for single in singles)
    return decided.counts, gains, energies, spectra, stationary


def _in_mean(decided: Any, numbers: Numbers | None) -> tuple[bool | None, ...]:
    if numbers is None:
        return decided.energies, decided.mean_phase_spectra, None
    energies, spectra = numbers.energies <= 1 + _EVEN, numbers.spectra <= 1 + _EVEN
    return (
        energies if decided.energies is None else decided.energies,
        spectra if decided.mean_phase_spectra is None else decided.mean_phase_spectra,
        numbers.apart <= _EVEN,
    )


def _after_dense(stack: Stack, entries: Any) -> tuple[Stack, Any]:
    dense = [i for i, layer in enumerate(stack) if isinstance(layer, layers.Dense)]
    first = dense[-1] + 1 if dense else 0
    return stack[first:], entries[first:]


def _dense_outputs(stack: Stack, setting: _Setting) -> int:
    last = max(i for i, layer in enumerate(stack) if isinstance(layer, layers.Dense))
    width = setting.width[0] if isinstance(setting.width, Sequence) else setting.width
    features = getattr(stack[last], "features", None)
    return features or as_int("conditions", "width", width, minimum=1)


def _has_pool(stack: Stack) -> bool:
    """Whether a layer is linear neither as it is nor as the identity."""
    for layer in stack:
        inner: tuple[Stack, ...] = layer.stacks if isinstance(layer, layers.Parallel) else ()
        inner = (layer.stack,) if isinstance(layer, layers.Residual) else inner
        if isinstance(layer, (layers.MaxPool, layers.L2Pool)) or any(map(_has_pool, inner)):
            return True
    return False


def _mean(op: str, stack: Stack, periods: tuple[Ints, Ints], setting: _Setting) -> Numbers | None:
    """Of all axes together; a chain separates, and each axis is cheap."""
    own = setting._replace(width=16 if isinstance(setting.width, Sequence) else setting.width)
    chain = _random_chain(op, stack, setting.ndim, own)
    if has_branches(chain):
        return mean_numbers(*_directed(chain, periods, setting.backward))
    found = []
    for axis in range(setting.ndim):
        line = _random_chain(op, along_axis(stack, axis, setting.ndim, op=op), 1, own)
        shifts = (periods[0][axis],), (periods[1][axis],)
        found.append(mean_numbers(*_directed(line, shifts, setting.backward)))
    return None if None in found else functools.reduce(Numbers.with_axis, found)


def _random_chain(op: str, stack: Stack, ndim: int, setting: _Setting) -> Chain:
    entries = stack_weights(
        op,
        stack,
        channels=setting.channels,
        ndim=ndim,
        width=setting.width,
        initialiser=setting.initialiser,
    )
    return linear_parts(f"{op}: ", stack, entries, setting.channels, ndim)[0]


def _directed(chain: Chain, periods: tuple[Ints, Ints], backward: bool) -> tuple[Chain, tuple[Ints, Ints]]:
    return (adjoint(chain), (periods[1], periods[0])) if backward else (chain, periods)


def _singles(
    op: str, stack: Stack, periods: tuple[Ints, Ints], setting: _Setting, draws: int, seed: int
) -> list[Numbers]:
    """Numbers of single draws; none if they would take too long."""
    rng = np.random.default_rng(seed)
    plan, _ = plan_stack(op, stack, setting.channels, setting.ndim, setting.width, setting.initialiser)
    found = []
    for _ in range(draws):
        params = jax.tree.map(functools.partial(_drawn, rng), plan, is_leaf=lambda leaf: isinstance(leaf, Draw))
        chain, _ = linear_parts(f"{op}: ", stack, params, setting.channels, setting.ndim)
        numbers = given_numbers(chain, setting.channels, periods, backward=setting.backward)
        if numbers is None:
            return []
        found.append(numbers.numbers)
    return found


def _drawn(rng: np.random.Generator, draw: Draw) -> np.ndarray:
    values = draw.std * rng.standard_normal(draw.shape)
    if draw.tie is not None:
        values = draw.tie(jnp.asarray(values, "float32"))  # copies: phases stay equal to the last bit
    return np.asarray(values, np.float64)

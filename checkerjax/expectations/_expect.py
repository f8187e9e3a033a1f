"""Everything that is known of a stack at random initialisation without drawing any."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from checkerjax._checks import as_int, per_axis
from checkerjax.expectations._conditions import conditions
from checkerjax.expectations._covariance import PeriodicCovariance
from checkerjax.expectations._expectation import Expectation, Gradient
from checkerjax.expectations._gradients import gradient_covariance
from checkerjax.expectations._periodic import covariance
from checkerjax.expectations._second_moments import second_moments
from checkerjax.expectations._variances import stack_weights
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import stack_periods, stack_size
from checkerjax.stacks._layers import Stack, StackLike
from checkerjax.stacks._plan import Width
from checkerjax.stacks._text import as_stack

SAMPLES = {1: 256, 2: 64, 3: 16}  # on each axis of the output, at least, if no size is given
MOST_SAMPLES = 2**24  # of the output, of which each has its second moment: some hundred megabytes
Got = TypeVar("Got")


def expect(
    stack: StackLike,
    size: int | Sequence[int] | None = None,
    *,
    ndim: int = 2,
    channels: int = 3,
    width: Width = 16,
    initialiser: str = "lecun",
) -> Expectation:
    """What a stack makes at random initialisation, in closed form: lines, phase powers, spectra and conditions.

    The two probes of `probe`, in expectation over weights and inputs: a flat input, of which lines in the output are
    the first-order artifact, and white noise, of which unequal phase powers are the second-order one. Covariances are
    those of `covariance`: of many channels, away from borders. Exact second moments of every pixel, borders included,
    come with them where the stack has them (`second_moments`), and the conditions of its linear part (`conditions`).

    Args:
      stack: text, a layer or a sequence of layers; `audit(...).stack` too, where the audit has one. Give ndim and
        channels as the audited function has them, if they are others than here.
      size: of the input: an int for all axes or one per axis. None: large enough for 256, 64 or 16 output samples on
        each of 1, 2 or 3 axes; a latent, where the stack begins with a dense layer.
      ndim: spatial axes, 1 to 3.
      channels: C of the input.
      width: output channels of the learned layers that name none, as in `init`.
      initialiser: of layers that name none, as in `init`.

    Returns:
      An `Expectation`: a table when printed, `to_dict()` for JSON, `figure()`. What has no closed form for a stack is
      None, and `missing` says why.

    Raises:
      ValueError: for sizes, channels or groups that do not fit.
      TypeError: for a stack that is none.

    Example:
      >>> found = expect("deconv k4 s2, relu, deconv k5 s2", ndim=1)
      >>> round(float(found.flat.lattice_ratio()), 4), float(found.white.power_ratio())
      (2.0342, 1.5)

    References:
      Odena, Dumoulin and Olah, Distill 2016, figure 9 (untrained networks). Novak et al., arXiv:1810.05148.
    """
    op = "expect"
    stack = _stack(op, stack)
    if as_int(op, "ndim", ndim) not in SAMPLES:
        raise ValueError(f"{op}: ndim must be 1, 2 or 3; got {ndim}.")
    sizes = _size(op, stack, size, ndim)
    output = stack_size(f"{op}: ", stack, sizes)
    random: dict[str, Any] = {"channels": channels, "width": width, "initialiser": initialiser}
    stack_weights(op, stack, ndim=ndim, **random)  # what cannot be drawn at all is refused here
    missing: dict[str, str] = {}

    def known(name: str, make: Callable[[], Got]) -> Got | None:
        try:
            return make()
        except ValueError as error:
            missing[name] = str(error)
        except MemoryError as error:
            missing[name] = f"{op}: it would take more memory than there is ({str(error).rstrip('.')})."
        return None

    def exact_moments() -> np.ndarray:
        if math.prod(output) > MOST_SAMPLES:
            raise ValueError(f"{op}: the output has more than {MOST_SAMPLES} samples. Give a smaller size.")
        return second_moments(stack, sizes or None, **random)

    white = known("white", lambda: covariance(stack, sizes or None, ndim=ndim, input="white", **random))
    flat = backward = None
    if sizes:
        flat = known("flat", lambda: covariance(stack, sizes, ndim=ndim, input="flat", **random))

        def gradient(cotangent: str) -> PeriodicCovariance:
            return gradient_covariance(stack, sizes, ndim=ndim, cotangent=cotangent, **random)

        backward = known("gradient", lambda: Gradient(gradient("white"), gradient("flat")))
    else:
        missing["flat"] = "a latent has no space in which it could be flat; see the lines of the white one."
    moments = known("moments", exact_moments)
    decided = known("conditions", lambda: conditions(stack, ndim=ndim, **random))
    decided_back = None
    if backward is not None and math.prod(backward.white.period) > 1:
        decided_back = known("gradient_conditions", lambda: conditions(stack, ndim=ndim, backward=True, **random))
    fields = white, flat, backward, moments
    return Expectation(stack, sizes, ndim, *fields, decided, gradient_conditions=decided_back, missing=missing)


def _size(op: str, stack: Stack, size: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    if _takes_latent(stack):
        return ()
    if size is not None:
        return per_axis(op, "size", size, ndim)
    try:
        wanted, made = stack_periods(op, stack, ndim)
    except ValueError:  # there is none, and so no covariance; what remains has any size
        wanted = made = (1,) * ndim
    least = tuple(math.ceil(SAMPLES[ndim] / p) * m for m, p in zip(wanted, made))
    for power in range(6):
        sizes = tuple(n * 2**power for n in least)
        try:
            stack_size(f"{op}: ", stack, sizes)
        except ValueError:  # too small for what borders take away
            continue
        return sizes
    return least  # for none fits, and the error is to name a size that is easily understood


def _stack(op: str, stack: object) -> Stack:
    if stack is None:
        raise TypeError(
            f"{op}: there is no stack; got None, which is what `audit(...).stack` is where the program is none of the "
            "layers of a stack, one after the other."
        )
    if hasattr(stack, "ndim") and hasattr(stack, "dtype"):
        raise TypeError(f"{op}: stack must be text or layers; got an array. For a kernel see conditions.")
    return as_stack(op, stack)


def _takes_latent(stack: Stack) -> bool:
    return isinstance(next((x for x in stack if not isinstance(x, layers.POINTWISE)), None), layers.Dense)

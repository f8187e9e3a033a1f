"""The wide-limit covariance of the gradient at a stack's input, at random initialisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from checkerjax._checks import one_of
from checkerjax.expectations import _lags as lags_
from checkerjax.expectations import _parts as parts
from checkerjax.expectations._covariance import PeriodicCovariance
from checkerjax.expectations._inputs import INPUTS, Arguments, Setting, prepare
from checkerjax.expectations._lags import Lags
from checkerjax.expectations._parts import Field, Part
from checkerjax.expectations._pulled import pulled
from checkerjax.stacks._init import output_channels
from checkerjax.stacks._layers import StackLike
from checkerjax.stacks._plan import Width


def gradient_covariance(
    stack: StackLike,
    size: int | Sequence[int],
    *,
    ndim: int = 2,
    channels: int = 3,
    width: Width = 16,
    initialiser: str = "lecun",
    input: Any = "white",
    cotangent: str = "white",
    gains: Sequence[Any] | None = None,
) -> PeriodicCovariance:
    """Covariance of the gradient at a random stack's input, in the limit of many channels, away from its borders.

    The gradient of sum(output * cotangent), for a cotangent that is drawn independently of network and input; nothing
    else is. It repeats with the stack's input period (`periods`), as a strided convolution makes it. It is found from
    the output to the input: learned weights and fixed filters add what their transposes read, pointwise layers multiply
    by E[phi'(u) phi'(v)] of `covariance` at that layer, batch norm divides by the variance (what its mean and variance
    send back to all pixels vanishes in large batches), branches add.

    **What is exact.** Stacks of linear layers, at any number of channels; of others, the limit of many channels. It
    takes the weights that a gradient meets for independent of those that the field met (gradient independence). At
    small width that is no more than nearly so, and the error falls as 1 / width only. E[g(n)^2] in simulations with C
    channels everywhere, over the limit, less 1 (`experiments/closed_forms/small_width.py`; +-1%, the first row 3%):

    =================================================  ======  =========  =====  =====  =====  =====  ======  ======
    stack                                              input   cotangent  C = 1  C = 2  C = 4  C = 8  C = 16  C = 64
    =================================================  ======  =========  =====  =====  =====  =====  ======  ======
    deconv k5 s2, relu, deconv k5 s2, relu, conv k3    flat    flat        113%    77%    47%    26%     13%      4%
    deconv k5 s2, relu, deconv k5 s2                   white   flat         41%    22%    12%     6%      2%      1%
    deconv k5 s2, relu, deconv k5 s2                   flat    flat         31%    15%     8%     4%      2%      0%
    deconv k5 s2, relu, deconv k5 s2                   either  white         0%     0%     0%     0%      0%      0%
    =================================================  ======  =========  =====  =====  =====  =====  ======  ======

    The last row is exact: for a white cotangent, chains of learned layers with independent taps and (leaky) ReLUs have
    these E[g(n)^2] at every width. Layer by layer from the top, products of weights of two taps have mean 0, and a flip
    of one filter's sign exchanges the two sides of its ReLU. They are then proportional to `count(backward=True)`.

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input: an int for all axes, or one per axis.
      ndim: spatial axes, 1 to 3.
      channels: C of the input.
      width: as in `init`.
      initialiser: as in `init`.
      input: as in `covariance`: "white", "flat", or an autocovariance.
      cotangent: "white" (independent N(0, 1) at each position of the output) or "flat" (one N(0, 1) for each channel of
        an image). White shows the phases, flat the lines.
      gains: as in `covariance`.

    Returns:
      A `PeriodicCovariance` of the gradient, the mean over the input's channels. Its `size` is the input's; gradients
      of two images have nothing in common, as their cotangents are independent.

    Raises:
      ValueError: for a latent, for max and l2 pooling, and as `covariance`.
      TypeError: for a stack that is none.

    Example:
      >>> g = gradient_covariance("conv k7 s2, relu, conv k3", 32)
      >>> g.period, round(float(g.power_ratio()), 6)
      ((2, 2), 1.777778)

    References:
      Odena, Dumoulin and Olah, Distill 2016, "Artifacts in Gradients". Schoenholz et al., arXiv:1611.01232 (the
      recursion). Yang, arXiv:2006.14548 (why gradient independence holds in the limit).
    """
    op = "gradient_covariance"
    if size is None or (isinstance(size, (tuple, list)) and not size):
        raise ValueError(f"{op}: a latent has no pixels. Give the layers behind the dense one, and a size.")
    one_of(op, "cotangent", cotangent, INPUTS)
    arguments = Arguments(stack, size, ndim, channels, width, initialiser, gains)
    # Pixels whose gradients come from one output, and outputs that read one pixel: both spread as far as a field.
    setting = prepare(op, arguments, input, reaches=2 if cotangent == "flat" else 1)
    out = output_channels(stack, channels, width=width)
    back = pulled(setting.program, setting.field, (_cotangent(setting, cotangent, out),), setting.flat)
    return _result(setting, back)


def _cotangent(setting: Setting, kind: str, channels: int) -> Part:
    """White or flat; `between` is, here and below, what pixels have whose inputs are independent of each other."""
    like = setting.field[0].own.values
    xp, ndim = like.__array_namespace__(), len(setting.size)
    ones = (1,) * ndim
    one, nothing = (lags_.constant(xp.asarray(v, dtype=like.dtype), ndim) for v in (1.0, 0.0))
    if kind == "flat":
        return Part(channels, one, one, nothing.values, True)
    torus = tuple(n // m * p for n, m, p in zip(setting.small, setting.wanted, setting.periods))
    impulse = np.zeros(torus)
    impulse[(0,) * ndim] = 1.0
    own = Lags(xp.asarray(impulse, dtype=like.dtype), ones, torus)
    return Part(channels, own, nothing, nothing.values, True)


def _result(setting: Setting, back: Field) -> PeriodicCovariance:
    periods = setting.wanted
    whole = parts.averaged(back)
    own = lags_.tiled(whole.own, periods, tuple(map(math.lcm, whole.own.sizes, periods)))
    far = lags_.unpacked(lags_.tiled(whole.between, periods, periods))
    return PeriodicCovariance(
        near=lags_.unpacked(own),
        far=far,
        between=far * 0.0,
        mean=lags_.tiled_powers(whole.mean, periods),
        size=setting.whole,
        channels=whole.channels,
        gaussian=whole.gaussian,
        alike=len(back) == 1,
        approximate=whole.approximate,
    )

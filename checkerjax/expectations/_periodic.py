"""The wide-limit covariance of a stack's output away from its borders, at random initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkerjax.expectations import _lags as lags_
from checkerjax.expectations import _parts as parts
from checkerjax.expectations import _sums as sums
from checkerjax.expectations._batch_norm import batch_norm
from checkerjax.expectations._covariance import PeriodicCovariance
from checkerjax.expectations._inputs import Arguments, Setting, prepare
from checkerjax.expectations._lags import Sizes
from checkerjax.expectations._parts import Field
from checkerjax.expectations._program import Node, Program
from checkerjax.expectations._root_pools import l2_pool
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import LEARNED, StackLike
from checkerjax.stacks._plan import Width


def covariance(
    stack: StackLike,
    size: int | Sequence[int] | None,
    *,
    ndim: int = 2,
    channels: int = 3,
    width: Width = 16,
    initialiser: str = "lecun",
    input: Any = "white",
    gains: Sequence[Any] | None = None,
) -> PeriodicCovariance:
    """Covariance of a random stack's output in the limit of many channels, away from its borders; no draws.

    Pixels of one phase of the stack's period are alike, so the covariance depends on the phase of one pixel and the lag
    to the other. It is found layer by layer: learned weights add what their taps read, E[y(n) y(m)] = v C sum over taps
    j of E[x(n + j) x(m + j)]; fixed filters R give R K R^T; pointwise layers take the two variances and the covariance
    (`Relu`: Cho and Saul); batch norm subtracts what the pixels of a channel share and divides by their standard
    deviation.

    **What is exact.** Of linear stacks, and of those whose non-linear layers see the input only, everything at any
    number of channels and for weights of any law with mean 0. Elsewhere a non-linear layer needs Gaussian fields, and
    those of a random network are Gaussian in the limit of many channels only (of the input too; a convolution with
    groups needs many channels in each), but for the phase powers of (leaky) ReLU chains (`second_moments`). Branches
    are independent in the limit except for what they read by fixed linear maps.

    **Batch norm.** Batches are large, and each channel is divided by its own standard deviation. Where what images
    share of a channel differs from phase to phase, these deviations differ in the limit too. Learned layers, fixed
    filters and (leaky) ReLUs after it are exact then. Approximate are tanh and erf, a bias that is not 0 or a sum of
    branches before a non-linear layer, which are taken for functions of Gaussian fields (some 2% of the power in
    simulations); distributions of ratios right after it; and batch norm of a ReLU of fields that share such means, as
    behind a flat input (up to 7%).

    **Borders.** There are none: the field is a torus, of `size` rounded up to a multiple of the stack's input period
    (`periods`). Pixels whose receptive fields touch neither padding nor each other beyond the torus have exactly these
    moments in the bordered network.

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input: an int for all axes, or one per axis; None for a latent (a dense layer makes the field then).
      ndim: spatial axes, 1 to 3.
      channels: C of the input.
      width: as in `init`; the result depends on it only by fan-in, and by the weight of each part of joined channels.
      initialiser: as in `init`.
      input: "white" (independent N(0, 1) at each position), "flat" (one N(0, 1) for all positions of an image), or the
        autocovariance of a stationary Gaussian field of mean 0: an array of the input's size, lag 0 first, lags in FFT
        order.
      gains: numbers that multiply the variances of the weights, one for each learned layer in reading order. With JAX
        arrays among them, or as `input`, the result holds JAX arrays and can be differentiated by them.

    Returns:
      A `PeriodicCovariance`, the mean over the output's channels.

    Raises:
      ValueError: for layers without closed form (max pooling, a non-linear layer where the field is no longer
        Gaussian), centres="corners", branches that scale differently, or sizes and inputs that do not fit.
      TypeError: for a stack that is none.

    Example:
      >>> k = covariance("relu, deconv k4 s2", 8, input="white", initialiser="normal(1)", channels=1, width=1)
      >>> k.phase_powers()
      array([[2., 2.],
             [2., 2.]])
      >>> round(float(covariance("deconv k5 s2", 8, input="flat").lattice_ratio()), 6)
      3.0

    References:
      Cho and Saul, Kernel methods for deep learning, NIPS 2009. Novak et al., arXiv:1810.05148, and Garriga-Alonso et
      al., arXiv:1808.05587 (the limit for convolutional networks).
    """
    arguments = Arguments(stack, size, ndim, channels, width, initialiser, gains)
    setting = prepare("covariance", arguments, input)
    return _result(setting, run(setting.program, setting.field, setting.torus))


def run(program: Program, field: Field, torus: Sizes) -> Field:
    """A field after all layers of a program; `torus` is what a dense layer makes."""
    for node in program:
        field = _layer(node, field, torus)
    return field


def _layer(node: Node, field: Field, torus: Sizes) -> Field:
    layer = node.layer
    if node.branches:
        inner = sums.opened(field)
        outs = [run(branch, inner, torus) for branch in node.branches]
        if isinstance(layer, layers.Parallel) and layer.combine == "concat":
            return sums.joined(outs, field)
        return sums.added(node, outs, field)
    if isinstance(layer, layers.Dense):
        return parts.dense(node, field, torus)
    if isinstance(layer, LEARNED):
        return parts.learned(node, field)
    if isinstance(layer, layers.MaxPool):
        raise parts.no_closed_form(node, "it takes a maximum over several pixels")
    rule = _RULES.get(type(layer), parts.fixed)
    return tuple(rule(node, part) for part in field)


def _result(setting: Setting, field: Field) -> PeriodicCovariance:
    periods = setting.periods
    whole = parts.averaged(field)
    own, between = whole.own, whole.between
    own = lags_.tiled(own, periods, tuple(map(lags_.lcm, own.sizes, periods)))
    between = lags_.tiled(between, periods, periods)
    near, far = lags_.unpacked(own), lags_.unpacked(between)
    return PeriodicCovariance(
        near=near,
        far=near if setting.flat else far,
        between=far,
        mean=lags_.tiled_powers(whole.mean, periods),
        size=setting.size,
        channels=whole.channels,
        gaussian=whole.gaussian and not whole.mixed,
        alike=len(field) == 1,
        approximate=whole.approximate,
    )


_RULES = {
    layers.Bias: parts.bias,
    layers.BatchNorm: batch_norm,
    layers.Relu: parts.pointwise,
    layers.LeakyRelu: parts.pointwise,
    layers.Tanh: parts.pointwise,
    layers.Erf: parts.pointwise,
    layers.L2Pool: l2_pool,
}

"""One upsampling layer's parameters as those of another: Flax's conventions outside, those of `checkerjax.ops` inside.

Every function takes the parameters of one layer, a mapping with "kernel" and perhaps "bias" (arrays, or the variables
of nnx), and gives the parameters of the other with the arguments that it is built with (nnx says in_features and
out_features for features). Transposed layers are those of Flax and of `checkerjax.nn`, without channel groups; numbers
in their padding pad the stretched input, as in Flax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from checkerjax import _geometry as geometry
from checkerjax import ops
from checkerjax._checks import Padding, Pads, PerAxis, check_kernel, concrete, one_of, pad_pairs, per_axis
from checkerjax.nn._equal_gains import KernelPhases, gains_of
from checkerjax.ops._filters import check_taps
from checkerjax.ops._shuffle import ORDERS

FlaxPadding = str | int | Sequence[int | tuple[int, int]]


class Converted(NamedTuple):
    """A layer in another's place."""

    params: dict[str, jax.Array]  # "kernel", and "bias" where the original has one
    arguments: dict[str, Any]  # of the layer that takes them, by name


class Stamp(NamedTuple):
    """A transposed convolution as `ops.conv_transpose` takes it, without dilation."""

    kernel: jax.Array  # [*k, I, O], unflipped
    strides: tuple[int, ...]
    pads: Pads  # what it crops, none negative


def deconv_to_subpixel(
    params: Mapping[str, Any],
    *,
    strides: PerAxis,
    padding: FlaxPadding = "SAME",
    kernel_dilation: PerAxis = 1,
    transpose_kernel: bool = False,
    order: str = "depth_first",
    bias_per_phase: bool = False,
) -> Converted:
    """The sub-pixel convolution that a transposed layer of Flax is; equal everywhere, for any kernel size.

    Args:
      params: of the transposed layer: "kernel" and perhaps "bias".
      strides: of the transposed layer; an int or one per axis, at least 1.
      padding: of the transposed layer, as Flax means it: "SAME", "VALID", an int or ints, or (low, high) pairs.
      kernel_dilation: of the transposed layer; an int or one per axis, at least 1.
      transpose_kernel: of the transposed layer.
      order: of the sub-pixel layer's channels, as in `depth_to_space`.
      bias_per_phase: whether to repeat the bias for each phase, as a convolution before the shuffle has it.

    Returns:
      `Converted`: params and arguments of `SubPixelConv`: features, kernel_size, scale, padding, order, bias_per_phase
      and use_bias. The kernel is also what `checkerjax.subpixel_conv` takes.

    Raises:
      ValueError: for a wrong rank, a padding that Flax has and no sub-pixel convolution ("CIRCULAR", or an output size
        that is no multiple of the stride), or an unknown order.
      TypeError: for params without a kernel, or a dtype that is not floating.

    Example:
      >>> layer = deconv_to_subpixel({"kernel": jnp.arange(1.0, 5.0).reshape(4, 1, 1)}, strides=2)
      >>> layer.params["kernel"].shape, layer.arguments["padding"]
      ((3, 1, 2), ((1, 1),))

    References:
      Shi et al., Is the deconvolution layer the same as a convolutional layer?, arXiv:1609.07009.
    """
    op = "deconv_to_subpixel"
    kernel, bias = _parts(op, params)
    one_of(op, "order", order, ORDERS)
    stamp = from_flax(op, kernel, strides, padding, kernel_dilation, transpose_kernel)
    made = _renamed(op, ops.subpixel_from_deconv, stamp.kernel, stride=stamp.strides, padding=stamp.pads, order=order)
    phases = math.prod(stamp.strides)
    if bias is not None and bias_per_phase:
        bias = jnp.tile(bias, phases) if order == "depth_first" else jnp.repeat(bias, phases)
    arguments = {"scale": stamp.strides, "padding": made.padding, "order": order, "bias_per_phase": bias_per_phase}
    return _converted(made.kernel, bias, stamp.kernel.shape[-1], arguments)


def subpixel_to_deconv(
    params: Mapping[str, Any], *, scale: PerAxis, padding: Padding = "SAME", order: str = "depth_first"
) -> Converted:
    """The transposed layer of Flax that a sub-pixel convolution is; equal everywhere.

    Args:
      params: of the sub-pixel layer: "kernel" `[*k, I, prod(scale) O]`, and perhaps "bias", of as many values, added
        before the shuffle, or of O.
      scale: of the sub-pixel layer; an int or one per axis, at least 1.
      padding: of its convolution: "SAME", "VALID", an int, or one (low, high) pair per axis.
      order: of its channels, as in `depth_to_space`.

    Returns:
      `Converted`: params of Flax's `ConvTranspose`, and its features, kernel_size, strides, padding and use_bias.

    Raises:
      ValueError: for a wrong rank, channels that the scale does not divide, an unknown order, or a bias that differs
        between the phases, for which a transposed layer has no place.
      TypeError: for params without a kernel, a dtype that is not floating, or a bias that is being traced.

    Example:
      >>> layer = subpixel_to_deconv({"kernel": jnp.array([[[1.0, 2.0]]])}, scale=2)
      >>> layer.params["kernel"].ravel(), layer.arguments["kernel_size"], layer.arguments["padding"]
      (Array([2., 1.], dtype=float32), (2,), ((1, 1),))

    References:
      Shi et al., arXiv:1609.07009.
    """
    op = "subpixel_to_deconv"
    kernel, bias = _parts(op, params)
    made = _renamed(op, ops.deconv_from_subpixel, kernel, scale=scale, padding=padding, order=order)
    strides = per_axis(op, "scale", scale, kernel.ndim - 2)
    if bias is not None and bias.size != made.kernel.shape[-1]:
        bias = _tied(op, bias, KernelPhases(strides, order=order))
    return to_flax(Stamp(made.kernel, strides, made.padding), bias)


def resize_to_deconv(
    params: Mapping[str, Any],
    *,
    scale: PerAxis,
    method: str = "nearest",
    padding: Padding = "SAME",
    centres: str = "half_pixel",
    cubic_a: float = -0.5,
    taps: jax.Array | Sequence[float] | None = None,
) -> Converted:
    """The transposed layer of Flax that a resize-convolution with zero padding is.

    Equal everywhere for "nearest" with "half_pixel" and for "zeros"; for other interpolations in the interior, since
    at borders they drop taps.

    Args:
      params: of the resize-convolution: "kernel" and perhaps "bias".
      scale: of the resize-convolution; an int or one per axis, at least 1.
      method: of its interpolation, as in `upsample`.
      padding: of its convolution, with zeros, on the upsampled field.
      centres: "half_pixel" or "sample".
      cubic_a: as in `upsample`.
      taps: as in `upsample`.

    Returns:
      `Converted`: params of Flax's `ConvTranspose`, and its features, kernel_size, strides, padding and use_bias.
      The kernel has equal gains; trained further, it keeps them with `keep_equal_gains` only.

    Raises:
      ValueError: for a wrong rank, unknown names, or centres="corners".
      TypeError: for params without a kernel, or a dtype that is not floating.

    Example:
      >>> layer = resize_to_deconv({"kernel": jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)}, scale=2)
      >>> layer.params["kernel"].ravel(), layer.arguments["padding"]
      (Array([  1.,  11., 110., 100.], dtype=float32), ((2, 2),))

    References:
      Odena, Dumoulin and Olah, Distill 2016, figure 7; Colbert et al., arXiv:2107.07647 (weight convolution).
    """
    op = "resize_to_deconv"
    kernel, bias = _parts(op, params)
    options: dict[str, Any] = {"method": method, "padding": padding, "centres": centres, "cubic_a": cubic_a}
    made = _renamed(op, ops.deconv_from_resize, kernel, scale=scale, taps=taps, **options)
    return to_flax(Stamp(made.kernel, per_axis(op, "scale", scale, kernel.ndim - 2), made.padding), bias)


def fuse_fir(
    params: Mapping[str, Any],
    taps: jax.Array | Sequence[float],
    *,
    strides: PerAxis,
    padding: FlaxPadding = "SAME",
    fir_padding: Padding = "SAME",
    kernel_dilation: PerAxis = 1,
    transpose_kernel: bool = False,
) -> Converted:
    """A transposed layer of Flax and the FIR filter that follows it, as one transposed layer.

    Equal everywhere if the first layer crops nothing (Flax's "VALID", with a kernel as long as the stride) and has no
    bias; otherwise in the interior, the samples at least as far from the border as the filter is long: near it the
    filter reads zeros where the fused layer has what the first one would have cropped.

    Args:
      params: of the transposed layer: "kernel" and perhaps "bias", which the filter multiplies by the sum of its taps
        to the power of the number of axes.
      taps: `[t]`, applied along every spatial axis to each channel as `conv` does, sum_j taps[j] y[n + j - p].
      strides: of the transposed layer; an int or one per axis, at least 1.
      padding: of the transposed layer, as Flax means it: "SAME", "VALID", an int or ints, or (low, high) pairs.
      fir_padding: of the filter, with zeros: "SAME", "VALID", an int, or one (low, high) pair per axis.
      kernel_dilation: of the transposed layer; an int or one per axis, at least 1.
      transpose_kernel: of the transposed layer.

    Returns:
      `Converted`: params of Flax's `ConvTranspose`, and its features, kernel_size, strides, padding and use_bias.

    Raises:
      ValueError: for a wrong rank, padding="CIRCULAR", or taps that are no filter `[t]`.
      TypeError: for params without a kernel, or a dtype that is not floating.

    Example:
      >>> layer = fuse_fir({"kernel": jnp.array([1.0, 10.0]).reshape(2, 1, 1)}, [1.0, 2.0], strides=2, padding="VALID")
      >>> layer.params["kernel"].ravel()
      Array([ 1., 12., 20.], dtype=float32)

    References:
      Karras et al., arXiv:1912.04958 (StyleGAN2: a transposed convolution, then a blur).
    """
    op = "fuse_fir"
    kernel, bias = _parts(op, params)
    stamp = from_flax(op, kernel, strides, padding, kernel_dilation, transpose_kernel)
    row = check_taps(op, taps).astype(kernel.dtype)
    ndim, t = kernel.ndim - 2, row.size
    ones = (1,) * ndim
    fir_pads = geometry.conv_pads(ones, (t,) * ndim, ones, ones, pad_pairs(op, fir_padding, ndim))
    kernel, pads = stamp.kernel, []
    for axis, ((low, high), (fir_low, fir_high)) in enumerate(zip(stamp.pads, fir_pads)):
        kernel = _along(kernel, jnp.flip(row), axis)
        pads.append((low + t - 1 - fir_low, high + t - 1 - fir_high))
    if bias is not None:
        bias = bias * row.sum().astype(bias.dtype) ** ndim
    return to_flax(_without_negative(kernel, stamp.strides, pads), bias)


def from_flax(
    op: str, kernel: jax.Array, strides: PerAxis, padding: Any, kernel_dilation: PerAxis, transpose_kernel: bool
) -> Stamp:
    """What a transposed layer of Flax is to `ops.conv_transpose`."""
    ndim = kernel.ndim - 2
    steps = per_axis(op, "strides", strides, ndim)
    dilations = per_axis(op, "kernel_dilation", kernel_dilation, ndim)
    kernel = kernel.swapaxes(-1, -2) if transpose_kernel else jnp.flip(kernel, range(ndim))
    for axis, d in enumerate(dilations):
        kernel = _dilated(kernel, axis, d)
    spans = kernel.shape[:-2]
    if isinstance(padding, str) and padding.upper() not in ("SAME", "VALID"):
        raise ValueError(
            f"{op}: padding must be 'SAME', 'VALID', ints or pairs; got {padding!r}, which has no counterpart here."
        )
    if isinstance(padding, str):
        ones, none = (1,) * ndim, (0,) * ndim
        crops = geometry.transpose_pads(op, spans, steps, ones, padding.upper(), none)
    else:
        crops = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(spans, _flax_pairs(op, padding, ndim)))
    return _without_negative(kernel, steps, crops)


def to_flax(stamp: Stamp, bias: jax.Array | None) -> Converted:
    """The parameters and arguments of Flax's `ConvTranspose` with transpose_kernel=False."""
    ndim = len(stamp.strides)
    pads = tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(stamp.kernel.shape, stamp.pads))
    kernel = jnp.flip(stamp.kernel, range(ndim))
    return _converted(kernel, bias, kernel.shape[-1], {"strides": stamp.strides, "padding": pads})


def _converted(kernel: jax.Array, bias: jax.Array | None, features: int, rest: dict[str, Any]) -> Converted:
    params = {"kernel": kernel} | ({} if bias is None else {"bias": bias})
    arguments = {"features": features, "kernel_size": kernel.shape[:-2], **rest, "use_bias": bias is not None}
    return Converted(params, arguments)


def _parts(op: str, params: Mapping[str, Any]) -> tuple[jax.Array, jax.Array | None]:
    """The kernel of a layer, and its bias if it has one."""
    if not isinstance(params, Mapping) or "kernel" not in params:
        found = sorted(params) if isinstance(params, Mapping) else type(params).__name__
        raise TypeError(f"{op}: params must be one layer's, a mapping with 'kernel' and perhaps 'bias'; got {found}.")
    kernel, bias = (_unboxed(params.get(name)) for name in ("kernel", "bias"))
    return check_kernel(op, kernel)[0], None if bias is None else jnp.asarray(bias)


def _unboxed(value: Any) -> Any:
    """The array in an nnx.Variable or an nn.Partitioned, which are trees of one leaf."""
    leaves = jax.tree.leaves(value)
    return leaves[0] if leaves else None


def _renamed(op: str, function: Any, *args: Any, **options: Any) -> ops.PaddedKernel:
    """A call whose errors name the function that the caller called."""
    try:
        return function(*args, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace(f"{function.__name__}:", f"{op}:", 1)) from None


def _flax_pairs(op: str, padding: Any, ndim: int) -> Pads:
    """Flax's explicit paddings: an int, or an int or a pair per axis."""
    if isinstance(padding, Sequence):
        padding = [(p, p) if isinstance(p, int) else p for p in padding]
    pairs = pad_pairs(op, padding, ndim)
    assert not isinstance(pairs, str)
    return pairs


def _tied(op: str, bias: jax.Array, phases: KernelPhases) -> jax.Array:
    """The one value of each channel that a bias repeats for each phase."""
    gains = gains_of(op, "bias", bias, phases)
    values = concrete(gains)
    if values is None:
        raise TypeError(f"{op}: bias must have values, to compare its phases; it is being traced. Call it outside jit.")
    if (values != values[0]).any():
        raise ValueError(
            f"{op}: bias differs between the phases of a channel, by up to {abs(values - values[0]).max():g}; a "
            "transposed layer has one value for all. Tie it first, for instance with `repair`."
        )
    return gains[0].astype(bias.dtype)


def _dilated(kernel: jax.Array, axis: int, d: int) -> jax.Array:
    """The kernel with d - 1 zeros between its taps along an axis."""
    if d == 1:
        return kernel
    k = kernel.shape[axis]
    wide = jnp.zeros((*kernel.shape[:axis], d * (k - 1) + 1, *kernel.shape[axis + 1 :]), kernel.dtype)
    return wide.at[(slice(None),) * axis + (slice(None, None, d),)].set(kernel)


def _along(kernel: jax.Array, row: jax.Array, axis: int) -> jax.Array:
    """Full convolution of a kernel with a filter along one axis."""
    t = row.size
    return sum(_appended(kernel, axis, j, t - 1 - j) * row[j] for j in range(t))  # pyright: ignore[reportReturnType]


def _appended(kernel: jax.Array, axis: int, low: int, high: int) -> jax.Array:
    return jnp.pad(kernel, [(low, high) if i == axis else (0, 0) for i in range(kernel.ndim)])


def _without_negative(kernel: jax.Array, strides: tuple[int, ...], crops: Sequence[tuple[int, int]]) -> Stamp:
    """Zeros that the output gains, as taps of the kernel: `ops` has no negative padding."""
    for axis, (low, high) in enumerate(crops):
        kernel = _appended(kernel, axis, max(-low, 0), max(-high, 0))
    return Stamp(kernel, strides, tuple((max(low, 0), max(high, 0)) for low, high in crops))

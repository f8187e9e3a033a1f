"""Convolution (correlation) and its transpose, on `lax.conv_general_dilated`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax import _geometry as geometry
from checkerjax._checks import LAYOUTS, Padding, PerAxis, check_image_and_kernel, pad_pairs, per_axis


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    dilation: PerAxis = 1,
    groups: int = 1,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Convolution as networks mean it: a correlation, y[n] = sum_j x[s n + d j - p] kernel[j].

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; any floating dtype.
      kernel: `[*k, C / groups, O]`, of the dtype of `x`.
      stride: input samples from one output to the next, s; an int or one per axis, at least 1.
      padding: "SAME" (ceil(i / s) outputs, the odd zero at the end), "VALID", an int, or one (low, high) pair
        per axis; zeros are added.
      dilation: input samples between taps, d; an int or one per axis, at least 1.
      groups: channel blocks that are convolved apart; divides C and O.
      precision: as in `jax.lax`; None is the backend's default, measurements use "highest".

    Returns:
      `[N, *o, O]`, with o = floor((i + p_low + p_high - d (k - 1) - 1) / s) + 1 on each axis.

    Raises:
      ValueError: for shapes that do not fit, empty arrays, or a field shorter than the kernel.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> x = jnp.arange(5.0).reshape(1, 5, 1)
      >>> conv(x, jnp.ones((3, 1, 1)), stride=2, padding="VALID").ravel()
      Array([3., 9.], dtype=float32)

    References:
      Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285, relationship 15.
    """
    return correlate("conv", x, kernel, stride, padding, dilation, groups, precision)


def correlate(
    op: str,
    x: jax.Array,
    kernel: jax.Array,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    dilation: PerAxis = 1,
    groups: int = 1,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """`conv` on behalf of the operator named `op`, whose name its errors carry."""
    x, kernel, ndim = check_image_and_kernel(op, x, kernel, groups=groups)
    strides = per_axis(op, "stride", stride, ndim)
    dilations = per_axis(op, "dilation", dilation, ndim)
    sizes = x.shape[1:-1], kernel.shape[:-2], strides, dilations
    pads = geometry.conv_pads(*sizes, pad_pairs(op, padding, ndim))
    outputs = geometry.conv_size(op, *sizes, pads)
    image, weights = LAYOUTS[ndim]
    # The cases of `_aborts_xla` in gradients: padding that leaves no zeros around the stretched cotangent is added
    # apart, and two outputs of a kernel with dilation 2 (second derivatives) are made three.
    apart = [k == s == 2 and d == 1 and low > 0 for k, s, d, (low, _) in zip(kernel.shape, strides, dilations, pads)]
    if any(apart):
        x = jnp.pad(x, ((0, 0), *(pair if do else (0, 0) for do, pair in zip(apart, pads)), (0, 0)))
        pads = [(0, 0) if do else pair for do, pair in zip(apart, pads)]
    spare = [s if d == o == 2 else 0 for s, d, o in zip(strides, dilations, outputs)]
    out = lax.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=[(low, high + more) for (low, high), more in zip(pads, spare)],
        rhs_dilation=dilations,
        dimension_numbers=(image, weights, image),
        feature_group_count=groups,
        precision=precision,
    )
    return _first(out, outputs) if any(spare) else out


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Transposed convolution ("deconvolution"): every input sample stamps the kernel, as given, on the output.

    y[n] = sum_m sum_j x[m] kernel[j] over all n + p = s m + d j. It is the transpose of `conv` with the same
    kernel, its axes I and O exchanged. Integer paddings mean what they mean in PyTorch and ONNX: they crop.

    Args:
      x: `[N, *spatial, I]`, with 1, 2 or 3 spatial axes; any floating dtype.
      kernel: `[*k, I, O / groups]`, of the dtype of `x`; unflipped. `jax.lax.conv_transpose` stamps the flipped
        kernel unless told `transpose_kernel=True` (which also exchanges I and O).
      stride: output samples from one stamp to the next, s; an int or one per axis, at least 1.
      padding: "SAME" (s i outputs, cropped as in TensorFlow, Keras and lax), "VALID" (s (i - 1) + max(k, s)), an
        int, or one (low, high) pair per axis.
      output_padding: samples appended at the high end, below max(s, d); an int or one per axis.
      dilation: output samples between taps, d; an int or one per axis, at least 1.
      groups: channel blocks, as in PyTorch: block g of I stamps block g of the output channels.
      precision: as in `jax.lax`.

    Returns:
      `[N, *o, O]`, with o = s (i - 1) + d (k - 1) + 1 - p_low - p_high + output_padding on each axis.

    Raises:
      ValueError: for shapes that do not fit, empty arrays, an output_padding that is too large, or a padding that
        leaves no output.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> conv_transpose(jnp.ones((1, 3, 1)), jnp.ones((3, 1, 1)), stride=2, padding=0).ravel()
      Array([1., 1., 2., 1., 2., 1., 1.], dtype=float32)

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
      Dumoulin and Visin, arXiv:1603.07285, relationship 14.
    """
    op = "conv_transpose"
    x, kernel, ndim = check_image_and_kernel(op, x, kernel, groups=groups, transposed=True)
    strides = per_axis(op, "stride", stride, ndim)
    dilations = per_axis(op, "dilation", dilation, ndim)
    extra = per_axis(op, "output_padding", output_padding, ndim, minimum=0)
    size = kernel.shape[:-2]
    pads = geometry.transpose_pads(op, size, strides, dilations, pad_pairs(op, padding, ndim), extra)
    outputs = geometry.transpose_size(op, x.shape[1:-1], size, strides, dilations, pads)
    image, weights = LAYOUTS[ndim]
    reach = [geometry.span(k, d) - 1 for k, d in zip(size, dilations)]
    around = [(r - low, r - high) for r, (low, high) in zip(reach, pads)]
    spare = [int(_aborts_xla(*axis)) for axis in zip(size, strides, dilations, around, outputs)]
    out = lax.conv_general_dilated(
        x,
        _block_inputs(jnp.flip(kernel, range(ndim)), groups),  # correlating with the flipped kernel stamps it as given
        window_strides=(1,) * ndim,
        padding=[(low, high + more) for (low, high), more in zip(around, spare)],
        lhs_dilation=strides,
        rhs_dilation=dilations,
        dimension_numbers=(image, weights, image),
        feature_group_count=groups,
        precision=precision,
    )
    return _first(out, outputs) if any(spare) else out


def _first(out: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    """The first samples on each spatial axis."""
    return out[(slice(None), *(slice(n) for n in sizes))]


def _aborts_xla(k: int, s: int, d: int, around: tuple[int, int], outputs: int) -> bool:
    """Whether XLA may abort the process on an axis of a transposed convolution, or of its derivatives.

    Seen with jaxlib 0.10.2 on CPU. Where another axis makes XLA exchange input and kernel, it takes an axis with no
    zeros around, as many window samples as input dilation and one less stride for a group of channels, without asking
    for the size of its input. The window is the kernel forward and the cotangent in the kernel gradient, whose own
    gradient dilates by d. One more output, dropped afterwards, makes each another case; zeros inserted apart would be
    folded back.
    """
    return (k == s == 2 and d == 1 and around == (0, 0)) or s == outputs == d + 1 or d == outputs == 2


def _block_inputs(kernel: jax.Array, groups: int) -> jax.Array:
    """`[*k, I, O / g]`, as PyTorch blocks a transposed kernel, to `[*k, I / g, O]`, as lax blocks any kernel."""
    if groups == 1:
        return kernel
    *size, inputs, outputs = kernel.shape
    blocks = kernel.reshape(*size, groups, inputs // groups, outputs)
    return jnp.swapaxes(blocks, -3, -2).reshape(*size, inputs // groups, groups * outputs)

"""Convolution (correlation) and its transpose: arguments checked, geometry resolved, a form chosen."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax import _geometry as geometry
from checkerjax._checks import Padding, PerAxis, check_image_and_kernel, one_of, pad_pairs, per_axis
from checkerjax.ops import _contractions as contractions
from checkerjax.ops import _plain as plain
from checkerjax.ops._choice import METHODS
from checkerjax.ops._grid import Grid, is_known


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    dilation: PerAxis = 1,
    groups: int = 1,
    precision: lax.PrecisionLike = None,
    method: str = "auto",
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
      method: "lax" is one `lax.conv_general_dilated`, differentiated by lax; "dots" multiplies matrices, in the
        gradients too; "auto" takes for each of them the faster form, from the shapes, on the backend it is compiled
        for. All three agree to rounding. Channel groups, a batch size unknown at export and arrays sharded over
        explicit mesh axes run as "lax".

    Returns:
      `[N, *o, O]`, with o = floor((i + p_low + p_high - d (k - 1) - 1) / s) + 1 on each axis.

    Raises:
      ValueError: for shapes that do not fit, empty arrays, a field shorter than the kernel, an unknown method, or
        "dots" with channel groups.
      TypeError: for dtypes that are not floating or differ.

    Example:
      >>> x = jnp.arange(5.0).reshape(1, 5, 1)
      >>> conv(x, jnp.ones((3, 1, 1)), stride=2, padding="VALID").ravel()
      Array([3., 9.], dtype=float32)

    References:
      Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285, relationship 15.
    """
    return correlate("conv", x, kernel, stride, padding, dilation, groups, precision, method)


def correlate(
    op: str,
    x: jax.Array,
    kernel: jax.Array,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    dilation: PerAxis = 1,
    groups: int = 1,
    precision: lax.PrecisionLike = None,
    method: str = "auto",
) -> jax.Array:
    """`conv` on behalf of the operator named `op`, whose name its errors carry."""
    x, kernel, ndim = check_image_and_kernel(op, x, kernel, groups=groups)
    strides = per_axis(op, "stride", stride, ndim)
    dilations = per_axis(op, "dilation", dilation, ndim)
    sizes = x.shape[1:-1], kernel.shape[:-2], strides, dilations
    pads = geometry.conv_pads(*sizes, pad_pairs(op, padding, ndim))
    outputs = geometry.conv_size(op, *sizes, pads)
    grid = Grid(outputs, kernel.shape[:-2], x.shape[1:-1], strides, dilations, tuple(low for low, _ in pads))
    turned = jnp.swapaxes(kernel, -1, -2)
    if _is_plain(op, method, groups) or not is_known(x.shape):
        return plain.gather(x, turned, grid, precision, groups, tuple(high for _, high in pads))
    return contractions.gather(x, turned, grid, precision=precision, method=method)


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
    method: str = "auto",
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
      method: "auto", "lax" or "dots", as in `conv`.

    Returns:
      `[N, *o, O]`, with o = s (i - 1) + d (k - 1) + 1 - p_low - p_high + output_padding on each axis.

    Raises:
      ValueError: for shapes that do not fit, empty arrays, an output_padding that is too large, a padding that
        leaves no output, an unknown method, or "dots" with channel groups.
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
    grid = Grid(x.shape[1:-1], size, outputs, strides, dilations, tuple(low for low, _ in pads))
    if _is_plain(op, method, groups):
        return plain.scatter(x, kernel, grid, precision, groups)
    return contractions.scatter(x, kernel, grid, precision=precision, method=method)


def _is_plain(op: str, method: str, groups: int) -> bool:
    """Whether lax differentiates the operator itself: when asked to, and for channel groups."""
    one_of(op, "method", method, METHODS)
    if method == "dots" and groups > 1:
        raise ValueError(f"{op}: method='dots' has no channel groups; got groups={groups}. Take 'auto' or 'lax'.")
    return method == "lax" or groups > 1

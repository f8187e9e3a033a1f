"""Upsampling convolutions whose gains can be kept equal: resize, sub-pixel and filtered, for linen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.lax import PrecisionLike

from checkerjax._checks import Padding, PerAxis
from checkerjax.nn import _forms as forms
from checkerjax.nn._forms import BIAS_INIT, KERNEL_INIT, Initializer
from checkerjax.nn.linen._place import run_form


class ResizeConv(nn.Module):
    """Resize-convolution: a fixed upsampling, then a convolution, fused where that is faster.

    With any interpolation, phase gains are equal for whatever kernel it is trained to: a flat input gives no grid away
    from borders.

    Args:
      features: output channels, O.
      kernel_size: k; an int for one spatial axis, or 1 to 3 ints.
      scale: output samples per input sample; an int or one per axis.
      method: of the upsampling, as in `checkerjax.upsample`.
      padding: of the convolution, on the upsampled field: "SAME", "VALID", an int, or one (low, high) pair per axis.
      pad_mode: "zeros", "edge", "reflect", "symmetric" or "wrap".
      centres: as in `checkerjax.upsample`.
      taps: the filter of method "fir".
      use_bias: whether to add a number per channel.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel.
      bias_init: draws the bias.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *(scale * spatial), O]` for "SAME"; parameters `kernel` `[*k, I,
      O]` and `bias` `[O]`.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> layer = ResizeConv(features=4, kernel_size=(3, 3))
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 16, 16, 4)

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """

    features: int
    kernel_size: int | Sequence[int]
    scale: PerAxis = 2
    method: str = "nearest"
    padding: Padding = "SAME"
    pad_mode: str = "zeros"
    centres: str = "half_pixel"
    taps: Sequence[float] | None = None
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = KERNEL_INIT
    bias_init: Initializer = BIAS_INIT

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.RESIZE, inputs)


class SubPixelConv(nn.Module):
    """Sub-pixel convolution: a convolution at low resolution, then `depth_to_space`.

    It starts as a nearest upsampling (ICNR) unless told otherwise; training does not keep it so. The bias is one number
    per output channel, which draws no grid; `bias_per_phase` has the layout of PyTorch's convolution before its pixel
    shuffle.

    Args:
      features: output channels, O.
      kernel_size: k; an int for one spatial axis, or 1 to 3 ints.
      scale: output samples per input sample; an int or one per axis.
      padding: of the convolution, as in `checkerjax.conv`.
      order: of the channels, "depth_first" or "channel_first" (PyTorch), as in `checkerjax.depth_to_space`.
      bias_per_phase: whether the bias has a number for each phase of each channel, laid out by `order`.
      use_bias: whether to add a number per channel.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel; None is `checkerjax.nn.initializers.icnr` of LeCun normal.
      bias_init: draws the bias.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *(scale * spatial), O]` for "SAME"; parameters `kernel` `[*k, I,
      prod(scale) O]` and `bias` `[O]`, or `[prod(scale) O]`.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> layer = SubPixelConv(features=4, kernel_size=(3, 3))
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 16, 16, 4)

    References:
      Shi et al., Real-time single image and video super-resolution, arXiv:1609.05158. Aitken et al., arXiv:1707.02937
      (ICNR).
    """

    features: int
    kernel_size: int | Sequence[int]
    scale: PerAxis = 2
    padding: Padding = "SAME"
    order: str = "depth_first"
    bias_per_phase: bool = False
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer | None = None
    bias_init: Initializer = BIAS_INIT

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.SUBPIXEL, inputs)


class FIRConv(nn.Module):
    """A convolution that resamples through a fixed filter, up or down.

    Up is a transposed convolution, then the filter; down the filter, then a strided convolution. Taps that contain the
    box of the factor (at 2: [1, 1], [1, 2, 1], [1, 3, 3, 1]) make all phase gains equal for any kernel that it is
    trained to. For StyleGAN3's filters see `checkerjax.ops.kaiser_taps`.

    Args:
      features: output channels, O.
      kernel_size: k; an int for one spatial axis, or 1 to 3 ints.
      up: output samples per input sample; an int or one per axis. 1 unless `down` is.
      down: input samples per output sample; an int or one per axis.
      taps: the filter along each axis, at any scale; StyleGAN2's by default.
      padding: of the whole, a kernel of k + t - 1 taps for t of the filter, as in `checkerjax.conv_transpose` going up
        and `checkerjax.conv` otherwise.
      use_bias: whether to add a number per channel.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel.
      bias_init: draws the bias.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *(up * spatial), O]` or `[*batch, *ceil(spatial / down), O]` for
      "SAME"; parameters `kernel` `[*k, I, O]` and `bias` `[O]`.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> layer = FIRConv(features=4, kernel_size=(3, 3), up=2)
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 16, 16, 4)

    References:
      Karras et al., Analyzing and improving the image quality of StyleGAN, arXiv:1912.04958.
    """

    features: int
    kernel_size: int | Sequence[int]
    up: PerAxis = 1
    down: PerAxis = 1
    taps: Sequence[float] = (1.0, 3.0, 3.0, 1.0)
    padding: Padding = "SAME"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = KERNEL_INIT
    bias_init: Initializer = BIAS_INIT

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.FIR, inputs)

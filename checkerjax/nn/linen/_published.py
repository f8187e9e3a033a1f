"""Learned upsamplers of the literature, as published, for linen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.lax import PrecisionLike

from checkerjax._checks import PerAxis
from checkerjax.nn import _forms as forms
from checkerjax.nn._forms import BIAS_INIT, ENCODE_INIT, KERNEL_INIT, Initializer
from checkerjax.nn.linen._place import run_form


class LargeContextUpsample(nn.Module):
    """Large context transposed convolution: one large kernel for context and one small beside it, added.

    Computed as one transposed convolution, with "SAME" padding. Nothing makes its phase gains equal.

    Args:
      features: output channels, O.
      kernel_size: of the large kernel, k; an int for one spatial axis, or 1 to 3 ints; 7 or 11 in the paper.
      strides: output samples per input sample; an int or one per axis.
      small_size: of the small kernel, k'; an int or one per axis, at most that of the large one.
      use_bias: whether to add a number per channel.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel.
      bias_init: draws the bias.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *(strides * spatial), O]`; parameters `kernel` `[*k, I, O]` and
      `small_kernel` `[*k', I, O]`, both stamped unflipped, and `bias` `[O]`.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> layer = LargeContextUpsample(features=4, kernel_size=(7, 7))
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 16, 16, 4)

    References:
      Agnihotri, Grabinski and Keuper, Improving feature stability during upsampling, arXiv:2311.17524 (LCTC).
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: PerAxis = 2
    small_size: PerAxis = 3
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = KERNEL_INIT
    bias_init: Initializer = BIAS_INIT

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.LARGE, inputs)


class PixelTransposedConv(nn.Module):
    """Pixel transposed convolution (PixelDCL): doubles two spatial axes, each phase computed from those before it.

    Nothing makes its phase gains equal.

    Args:
      features: output channels, O.
      kernel_size: k; two odd ints.
      use_bias: whether to add a number per channel.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel.
      bias_init: draws the bias.

    Shapes:
      inputs `[*batch, H, W, I]`, output `[*batch, 2 H, 2 W, O]`; parameters `kernel_0` `[*k, I, O]`, `kernel_1` and
      `kernel_2` `[*k, O, O]`, `bias_0` and `bias_1` `[O]`.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> layer = PixelTransposedConv(features=4, kernel_size=(3, 3))
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 16, 16, 4)

    References:
      Gao et al., Pixel deconvolutional networks, arXiv:1705.06820.
    """

    features: int
    kernel_size: int | Sequence[int]
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = KERNEL_INIT
    bias_init: Initializer = BIAS_INIT

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.PIXEL, inputs)


class CARAFE(nn.Module):
    """Content-aware reassembly: outputs are means of a window of inputs, with weights computed from the input.

    The weights sum to one, so a flat input gives a flat output away from borders.

    Args:
      kernel_size: of the encoder, k; an int for one spatial axis, or 1 to 3 ints; 3 on each in the paper.
      scale: output samples per input sample; an int or one per axis.
      window: inputs that one output sees; odd, an int or one per axis.
      compressed: channels that the encoder sees, M.
      order: of the encoder's channels, as in `checkerjax.ops.carafe`.
      encode_init: draws the encoder's kernel; the authors' normal of deviation 0.001 starts as a mean of the window.
      use_bias: whether both convolutions have a bias.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel that compresses.
      bias_init: draws the biases.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *(scale * spatial), I]`; parameters `compress_kernel` `[1.., I,
      M]`, `encode_kernel` `[*k, M, prod(scale) prod(window)]`, `compress_bias` and `encode_bias`.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> layer = CARAFE(kernel_size=(3, 3))
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 16, 16, 3)

    References:
      Wang et al., CARAFE: content-aware reassembly of features, arXiv:1905.02188.
    """

    kernel_size: int | Sequence[int]
    scale: PerAxis = 2
    window: PerAxis = 5
    compressed: int = 64
    order: str = "depth_first"
    encode_init: Initializer = ENCODE_INIT
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: PrecisionLike = None
    kernel_init: Initializer = KERNEL_INIT
    bias_init: Initializer = BIAS_INIT

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.CARAFE, inputs)

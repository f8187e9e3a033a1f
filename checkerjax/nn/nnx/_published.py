"""Learned upsamplers of the literature, as published, for nnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.lax import PrecisionLike

from checkerjax._checks import PerAxis
from checkerjax.nn import _forms as forms
from checkerjax.nn._forms import BIAS_INIT, ENCODE_INIT, KERNEL_INIT, Initializer
from checkerjax.nn.nnx._create import create, run_form, static


class LargeContextUpsample(nnx.Module):
    """Large context transposed convolution: one large kernel for context and one small beside it, added.

    Computed as one transposed convolution, with "SAME" padding. Nothing makes its phase gains equal.

    Args:
      in_features: input channels, I.
      out_features: output channels, O.
      kernel_size: of the large kernel, k; an int for one spatial axis, or 1 to 3 ints; 7 or 11 in the paper.
      strides: output samples per input sample; an int or one per axis.
      small_size: of the small kernel, k'; an int or one per axis, at most that of the large one.
      use_bias: whether to add a number per channel.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel.
      bias_init: draws the bias.
      rngs: where parameters are drawn from.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *(strides * spatial), O]`; parameters `kernel` `[*k, I, O]` and
      `small_kernel` `[*k', I, O]`, both stamped unflipped, and `bias` `[O]`.

    Raises:
      ValueError: for arguments or shapes that do not fit; it names the class.
      TypeError: for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = LargeContextUpsample(3, 4, kernel_size=(7, 7), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((1, 8, 8, 3))).shape
      (1, 16, 16, 4)

    References:
      Agnihotri, Grabinski and Keuper, Improving feature stability during upsampling, arXiv:2311.17524 (LCTC).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        *,
        strides: PerAxis = 2,
        small_size: PerAxis = 3,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: PrecisionLike = None,
        kernel_init: Initializer = KERNEL_INIT,
        bias_init: Initializer = BIAS_INIT,
        rngs: nnx.Rngs,
    ):
        self.in_features = in_features
        self.out_features = out_features
        self.kernel_size = static(kernel_size)
        self.strides = static(strides)
        self.small_size = static(small_size)
        self.use_bias = use_bias
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        create(self, forms.LARGE, in_features, out_features, rngs, kernel_init=kernel_init, bias_init=bias_init)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.LARGE, inputs)


class PixelTransposedConv(nnx.Module):
    """Pixel transposed convolution (PixelDCL): doubles two spatial axes, each phase computed from those before it.

    Nothing makes its phase gains equal.

    Args:
      in_features: input channels, I.
      out_features: output channels, O.
      kernel_size: k; two odd ints.
      use_bias: whether to add a number per channel.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel.
      bias_init: draws the bias.
      rngs: where parameters are drawn from.

    Shapes:
      inputs `[*batch, H, W, I]`, output `[*batch, 2 H, 2 W, O]`; parameters `kernel_0` `[*k, I, O]`, `kernel_1` and
      `kernel_2` `[*k, O, O]`, `bias_0` and `bias_1` `[O]`.

    Raises:
      ValueError: for arguments or shapes that do not fit; it names the class.
      TypeError: for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = PixelTransposedConv(3, 4, kernel_size=(3, 3), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((1, 8, 8, 3))).shape
      (1, 16, 16, 4)

    References:
      Gao et al., Pixel deconvolutional networks, arXiv:1705.06820.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        *,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: PrecisionLike = None,
        kernel_init: Initializer = KERNEL_INIT,
        bias_init: Initializer = BIAS_INIT,
        rngs: nnx.Rngs,
    ):
        self.in_features = in_features
        self.out_features = out_features
        self.kernel_size = static(kernel_size)
        self.use_bias = use_bias
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        create(self, forms.PIXEL, in_features, out_features, rngs, kernel_init=kernel_init, bias_init=bias_init)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.PIXEL, inputs)


class CARAFE(nnx.Module):
    """Content-aware reassembly: outputs are means of a window of inputs, with weights computed from the input.

    The weights sum to one, so a flat input gives a flat output away from borders.

    Args:
      in_features: channels, I.
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
      rngs: where parameters are drawn from.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *(scale * spatial), I]`; parameters `compress_kernel` `[1.., I,
      M]`, `encode_kernel` `[*k, M, prod(scale) prod(window)]`, `compress_bias` and `encode_bias`.

    Raises:
      ValueError: for arguments or shapes that do not fit; it names the class.
      TypeError: for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = CARAFE(3, kernel_size=(3, 3), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((1, 8, 8, 3))).shape
      (1, 16, 16, 3)

    References:
      Wang et al., CARAFE: content-aware reassembly of features, arXiv:1905.02188.
    """

    def __init__(
        self,
        in_features: int,
        kernel_size: int | Sequence[int],
        *,
        scale: PerAxis = 2,
        window: PerAxis = 5,
        compressed: int = 64,
        order: str = "depth_first",
        encode_init: Initializer = ENCODE_INIT,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: PrecisionLike = None,
        kernel_init: Initializer = KERNEL_INIT,
        bias_init: Initializer = BIAS_INIT,
        rngs: nnx.Rngs,
    ):
        self.in_features = in_features
        self.kernel_size = static(kernel_size)
        self.scale = static(scale)
        self.window = static(window)
        self.compressed = compressed
        self.order = order
        self.use_bias = use_bias
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        create(
            self,
            forms.CARAFE,
            in_features,
            in_features,
            rngs,
            encode_init=encode_init,
            kernel_init=kernel_init,
            bias_init=bias_init,
        )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        return run_form(self, forms.CARAFE, inputs)

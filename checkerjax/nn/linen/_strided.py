"""Flax's `Conv` for linen, with faster gradients where it has strides."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from checkerjax.nn._convolution import check_mask
from checkerjax.nn._layers import channels_of
from checkerjax.nn._strided import Strided
from checkerjax.nn.linen._place import place_of


class Conv(nn.Conv):
    """Convolution in the place of `flax.linen.Conv`: its arguments, parameters and numbers.

    Its gradients are many times faster on a CPU where it has strides and lax is slow (odd kernels, mostly), and lax's
    own where that is as fast. A model changed by this import alone reads its old checkpoints.

    Args:
      features: output channels, O.
      kernel_size: an int for one spatial axis, or 1 to 3 ints.
      strides: input samples per output sample; an int, one per axis, or None for 1.
      padding: "SAME", "VALID", "CIRCULAR", "REFLECT", "CAUSAL" (one axis), an int, or one int or (low, high) pair per
        axis; numbers are zeros added, or samples cropped where negative.
      input_dilation: samples from one of the input to the next once it is stretched with zeros; an int, one per axis,
        or None for 1. Paddings are numbers then.
      kernel_dilation: input samples between taps; an int, one per axis, or None for 1.
      feature_group_count: channel blocks that are convolved apart.
      use_bias: whether to add a number per channel.
      mask: multiplied with the kernel, of its shape.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel.
      bias_init: draws the bias.
      promote_dtype: as in Flax.
      conv_general_dilated: convolves instead of lax, as in Flax.
      conv_general_dilated_cls: makes such a function, as in Flax.
      preferred_element_type: the dtype of sums and output, no narrower than that of the computation.
      equal_gains: whether the kernel is a smaller one, p, convolved with a box of the strides: what flows back through
        the layer has equal phase gains for whatever p is trained to, so that a flat cotangent gives no grid in the
        input's gradient away from borders. The parameter `kernel` is p, of size k - s + 1 on each axis.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *o, O]`; parameters `kernel` `[*k, I / feature_group_count, O]`
      and `bias` `[O]`.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> layer = Conv(features=4, kernel_size=(5, 5), strides=(2, 2))
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape, variables["params"]["kernel"].shape
      ((1, 4, 4, 4), (5, 5, 3, 4))

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """

    preferred_element_type: Any = None
    equal_gains: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[*batch, *spatial, I]` to `[*batch, *o, O]`."""
        make = self.conv_general_dilated_cls
        other = make() if make else self.conv_general_dilated
        layer = Strided.of(place_of(self), "linen", self, self.features, other)
        shape = layer.kernel_shape(channels_of(layer.place, inputs, len(layer.sizes)))
        check_mask(layer.place, self.mask, shape, equal_gains=self.equal_gains)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        kernel = kernel if self.mask is None else kernel * self.mask
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, weights, offset = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        assert x is not None
        assert weights is not None
        return layer(x, weights, offset)

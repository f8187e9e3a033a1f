"""Flax's `ConvTranspose` for linen, fast, with the arguments that it lacks."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from flax import linen as nn

from checkerjax.nn._convolution import check_mask
from checkerjax.nn._layers import channels_of
from checkerjax.nn._transposed import Transposed
from checkerjax.nn.linen._place import place_of


class ConvTranspose(nn.ConvTranspose):
    """Transposed convolution in the place of `flax.linen.ConvTranspose`: its arguments, parameters and numbers.

    Its gradients are many times faster on a CPU, and what Flax lacks is there when asked for. A model changed by this
    import alone reads its old checkpoints.

    Args:
      features: output channels, O.
      kernel_size: an int for one spatial axis, or 1 to 3 ints.
      strides: output samples per input sample; an int, one per axis, or None for 1.
      padding: "SAME", "VALID", "CIRCULAR", an int, or one int or (low, high) pair per axis. Numbers are put around the
        stretched input, as in Flax and not as in PyTorch, unless `use_consistent_padding`.
      kernel_dilation: output samples between taps; an int, one per axis, or None for 1.
      use_bias: whether to add a number per channel.
      mask: multiplied with the kernel, of its shape.
      dtype: of the computation; by default what inputs and parameters promote to.
      param_dtype: of new parameters.
      precision: as in `jax.lax`.
      kernel_init: draws the kernel.
      bias_init: draws the bias.
      transpose_kernel: whether the kernel is that of the convolution whose transpose this is: `[*k, O, I]`, stamped as
        given; otherwise it is `[*k, I, O]` and stamped flipped.
      promote_dtype: as in Flax.
      preferred_element_type: the dtype of sums and output, no narrower than that of the computation.
      groups: channel blocks, as in PyTorch; the kernel is `[*k, I, O / groups]` (`[*k, O / groups, I]`).
      output_padding: samples appended at the high end, below max(stride, dilation); an int or one per axis.
      output_shape: spatial sizes of the output, an int or one per axis: one of those that the convolution with these
        arguments maps to the input's size ("SAME": from s (i - 1) + 1 to s i), and its transpose.
      use_consistent_padding: whether numbers in `padding` are those of the convolution, as in PyTorch and ONNX.
      equal_gains: whether the kernel is a smaller one, p, convolved with a box of the stride: equal phase gains for
        whatever p is trained to, so that a flat input gives no grid away from borders. The parameter `kernel` is p, of
        size k - s + 1 on each axis.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *o, O]`; parameters `kernel`, as above, and `bias` `[O]`.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> layer = ConvTranspose(features=4, kernel_size=(4, 4), strides=(2, 2))
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape, variables["params"]["kernel"].shape
      ((1, 16, 16, 4), (4, 4, 3, 4))

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """

    groups: int = 1
    output_padding: int | Sequence[int] = 0
    output_shape: int | Sequence[int] | None = None
    use_consistent_padding: bool = False
    equal_gains: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[*batch, *spatial, I]` to `[*batch, *o, O]`."""
        layer = Transposed.of(place_of(self), self, self.features)
        shape = layer.kernel_shape(channels_of(layer.place, inputs, len(layer.sizes)))
        check_mask(layer.place, self.mask, shape, equal_gains=self.equal_gains)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        kernel = kernel if self.mask is None else kernel * self.mask
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, weights, offset = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        assert x is not None
        assert weights is not None
        return layer(x, weights, offset)

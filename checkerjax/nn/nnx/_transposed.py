"""Flax's `ConvTranspose` for nnx, fast, with the arguments that it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from flax.typing import Dtype, Initializer, PaddingLike, PrecisionLike, PromoteDtypeFn

from checkerjax._checks import as_int
from checkerjax.nn._convolution import check_mask
from checkerjax.nn._forms import BIAS_INIT, KERNEL_INIT
from checkerjax.nn._transposed import Transposed
from checkerjax.nn.nnx._create import NOTHING, check_rngs, static


class ConvTranspose(nnx.ConvTranspose):
    """Transposed convolution in the place of `flax.nnx.ConvTranspose`: its arguments, parameters and numbers.

    Its gradients are many times faster on a CPU, and what Flax lacks is there when asked for. A model changed by this
    import alone reads its old checkpoints.

    Args:
      in_features: input channels, I.
      out_features: output channels, O.
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
      rngs: where parameters are drawn from.
      kernel_metadata: of the kernel's Param.
      bias_metadata: of the bias's Param.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *o, O]`; parameters `kernel`, as above, and `bias` `[O]`.

    Raises:
      ValueError: for arguments or shapes that do not fit; it names the class.
      TypeError: for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ConvTranspose(3, 4, kernel_size=(4, 4), strides=(2, 2), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((1, 8, 8, 3))).shape, layer.kernel.shape
      ((1, 16, 16, 4), (4, 4, 3, 4))

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        *,
        padding: PaddingLike = "SAME",
        kernel_dilation: int | Sequence[int] | None = None,
        use_bias: bool = True,
        mask: jax.Array | None = None,
        dtype: Dtype | None = None,
        param_dtype: Dtype = jnp.float32,
        precision: PrecisionLike | None = None,
        kernel_init: Initializer = KERNEL_INIT,
        bias_init: Initializer = BIAS_INIT,
        transpose_kernel: bool = False,
        promote_dtype: PromoteDtypeFn = dtypes.promote_dtype,
        preferred_element_type: Dtype | None = None,
        groups: int = 1,
        output_padding: int | Sequence[int] = 0,
        output_shape: int | Sequence[int] | None = None,
        use_consistent_padding: bool = False,
        equal_gains: bool = False,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = NOTHING,
        bias_metadata: Mapping[str, Any] = NOTHING,
    ):
        place = type(self).__name__
        in_features = as_int(place, "in_features", in_features, minimum=1)
        out_features = as_int(place, "out_features", out_features, minimum=1)
        check_rngs(place, rngs)
        self.groups = groups
        self.output_padding = static(output_padding)
        self.output_shape = static(output_shape)
        self.use_consistent_padding = use_consistent_padding
        self.equal_gains = equal_gains
        # What `_layer` reads, before Flax's constructor stores it again.
        self.out_features, self.kernel_size, self.strides = out_features, static(kernel_size), static(strides)
        self.padding, self.kernel_dilation = static(padding), static(kernel_dilation)
        self.transpose_kernel, self.precision = transpose_kernel, precision
        self.preferred_element_type = preferred_element_type
        layer = self._layer()
        shape = layer.kernel_shape(in_features)
        check_mask(place, mask, shape, equal_gains=equal_gains)
        super().__init__(
            in_features,
            out_features,
            layer.sizes,
            self.strides,
            padding=self.padding,
            kernel_dilation=self.kernel_dilation,
            use_bias=use_bias,
            mask=mask,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=lambda key, _, dtype: kernel_init(key, shape, dtype),
            bias_init=bias_init,
            transpose_kernel=transpose_kernel,
            promote_dtype=promote_dtype,
            preferred_element_type=preferred_element_type,
            rngs=rngs,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
        )
        self.kernel_shape = shape

    def _layer(self) -> Transposed:
        return Transposed.of(type(self).__name__, self, self.out_features)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """`[*batch, *spatial, I]` to `[*batch, *o, O]`."""
        kernel, layer = self.kernel[...], self._layer()
        check_mask(layer.place, self.mask, kernel.shape, equal_gains=self.equal_gains)
        kernel = kernel if self.mask is None else kernel * self.mask
        bias = None if self.bias is None else self.bias[...]
        inputs, kernel, bias = self.promote_dtype((inputs, kernel, bias), dtype=self.dtype)
        return layer(inputs, kernel, bias)

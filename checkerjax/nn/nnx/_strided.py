"""Flax's `Conv` for nnx, with faster gradients where it has strides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from flax.typing import Dtype, Initializer, PaddingLike, PrecisionLike, PromoteDtypeFn
from jax import lax

from checkerjax._checks import as_int
from checkerjax.nn._convolution import check_mask
from checkerjax.nn._forms import BIAS_INIT, KERNEL_INIT
from checkerjax.nn._strided import Strided
from checkerjax.nn.nnx._create import NOTHING, check_rngs, static


class Conv(nnx.Conv):
    """Convolution in the place of `flax.nnx.Conv`: its arguments, parameters and numbers.

    Its gradients are many times faster on a CPU where it has strides and lax is slow (odd kernels, mostly), and lax's
    own where that is as fast. A model changed by this import alone reads its old checkpoints.

    Args:
      in_features: input channels, I.
      out_features: output channels, O.
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
      conv_general_dilated: convolves; any function but lax's own is called as Flax calls it.
      promote_dtype: as in Flax.
      preferred_element_type: the dtype of sums and output, no narrower than that of the computation.
      equal_gains: whether the kernel is a smaller one, p, convolved with a box of the strides: what flows back through
        the layer has equal phase gains for whatever p is trained to, so that a flat cotangent gives no grid in the
        input's gradient away from borders. The parameter `kernel` is p, of size k - s + 1 on each axis.
      rngs: where parameters are drawn from.
      kernel_metadata: of the kernel's Param.
      bias_metadata: of the bias's Param.

    Shapes:
      inputs `[*batch, *spatial, I]`, output `[*batch, *o, O]`; parameters `kernel` `[*k, I / feature_group_count, O]`
      and `bias` `[O]`.

    Raises:
      ValueError: for arguments or shapes that do not fit; it names the class.
      TypeError: for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = Conv(3, 4, kernel_size=(5, 5), strides=(2, 2), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((1, 8, 8, 3))).shape, layer.kernel.shape
      ((1, 4, 4, 4), (5, 5, 3, 4))

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: PaddingLike = "SAME",
        input_dilation: int | Sequence[int] | None = 1,
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
        use_bias: bool = True,
        mask: jax.Array | None = None,
        dtype: Dtype | None = None,
        param_dtype: Dtype = jnp.float32,
        precision: PrecisionLike = None,
        kernel_init: Initializer = KERNEL_INIT,
        bias_init: Initializer = BIAS_INIT,
        conv_general_dilated: Callable[..., jax.Array] = lax.conv_general_dilated,
        promote_dtype: PromoteDtypeFn = dtypes.promote_dtype,
        preferred_element_type: Dtype | None = None,
        equal_gains: bool = False,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = NOTHING,
        bias_metadata: Mapping[str, Any] = NOTHING,
    ):
        place = type(self).__name__
        in_features = as_int(place, "in_features", in_features, minimum=1)
        out_features = as_int(place, "out_features", out_features, minimum=1)
        check_rngs(place, rngs)
        self.equal_gains = equal_gains
        # What `_layer` reads, before Flax's constructor stores it again.
        self.out_features, self.kernel_size, self.strides = out_features, static(kernel_size), static(strides)
        self.padding, self.input_dilation = static(padding), static(input_dilation)
        self.kernel_dilation, self.feature_group_count = static(kernel_dilation), feature_group_count
        self.precision, self.conv_general_dilated = precision, conv_general_dilated
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
            input_dilation=self.input_dilation,
            kernel_dilation=self.kernel_dilation,
            feature_group_count=feature_group_count,
            use_bias=use_bias,
            mask=mask,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=lambda key, _, dtype: kernel_init(key, shape, dtype),
            bias_init=bias_init,
            conv_general_dilated=conv_general_dilated,
            promote_dtype=promote_dtype,
            preferred_element_type=preferred_element_type,
            rngs=rngs,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
        )
        self.kernel_shape = shape

    def _layer(self) -> Strided:
        return Strided.of(type(self).__name__, "nnx", self, self.out_features, self.conv_general_dilated)

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        """`[*batch, *spatial, I]` to `[*batch, *o, O]`; `out_sharding` as in Flax."""
        kernel, layer = self.kernel[...], self._layer()
        check_mask(layer.place, self.mask, kernel.shape, equal_gains=self.equal_gains)
        kernel = kernel if self.mask is None else kernel * self.mask
        bias = None if self.bias is None else self.bias[...]
        inputs, kernel, bias = self.promote_dtype((inputs, kernel, bias), dtype=self.dtype)
        return layer(inputs, kernel, bias, out_sharding=out_sharding)

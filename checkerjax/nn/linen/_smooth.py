"""Fixed layers that upsample or smooth, for linen."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from flax import linen as nn
from jax.lax import PrecisionLike

from checkerjax._checks import Padding, PerAxis
from checkerjax.nn import _fixed as fixed
from checkerjax.nn._layers import located
from checkerjax.nn.linen._place import place_of


class Upsample(nn.Module):
    """A fixed upsampling.

    Args:
      scale: output samples per input sample; an int or one per axis.
      method: "nearest", "linear", "cubic", "lanczos3", "zeros" or "fir", as in `checkerjax.upsample`.
      centres: where outputs lie among the inputs, as there.
      cubic_a: the slope of the cubic, as there.
      taps: the filter of "fir".
      precision: as there.

    Shapes:
      inputs `[N, *spatial, C]` with 1, 2 or 3 spatial axes, output `[N, *(scale * spatial), C]`; no parameters.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> Upsample(scale=2).apply({}, jnp.ones((1, 8, 8, 3))).shape
      (1, 16, 16, 3)

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """

    scale: PerAxis = 2
    method: str = "nearest"
    centres: str = "half_pixel"
    cubic_a: float = -0.5
    taps: Sequence[float] | None = None
    precision: PrecisionLike = None

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        with located(place_of(self)):
            return fixed.upsample(self, inputs)


class Hold(nn.Module):
    """The fixed smooth layer: after an upsampling by `scale`, all phase gains are equal.

    Args:
      scale: of the upsampling before it, or the stride after it; an int or one per axis.
      order: 0 is a mean over `scale` samples, 1 a triangle, and so on.
      padding: "SAME", "VALID", an int, or one (low, high) pair per axis.
      pad_mode: as in `checkerjax.pad`.

    Shapes:
      inputs `[N, *spatial, C]` with 1, 2 or 3 spatial axes, output `[N, *spatial, C]` for "SAME"; no parameters.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> Hold(scale=2).apply({}, jnp.ones((1, 8, 8, 3))).shape
      (1, 8, 8, 3)

    References:
      Kinoshita and Kiya, Fixed smooth convolutional layer, arXiv:2002.02117; there without the normalisation.
    """

    scale: PerAxis = 2
    order: int = 0
    padding: Padding = "SAME"
    pad_mode: str = "zeros"

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        with located(place_of(self)):
            return fixed.hold(self, inputs)


class BilinearAdditive(nn.Module):
    """Bilinear additive upsampling: linear interpolation, then the sum of every few channels.

    Args:
      scale: output samples per input sample; an int or one per axis.
      merged: channels that are added up, n; prod(scale) by default.
      grouping: "consecutive" (the paper) or "strided", as in `checkerjax.ops.bilinear_additive`.
      centres: as in `checkerjax.upsample`.
      precision: as in `checkerjax.upsample`.

    Shapes:
      inputs `[N, *spatial, C]` with 1, 2 or 3 spatial axes, output `[N, *(scale * spatial), C / n]`; no parameters.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the module's path.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> BilinearAdditive(scale=2).apply({}, jnp.ones((1, 8, 8, 8))).shape
      (1, 16, 16, 2)

    References:
      Wojna et al., The devil is in the decoder, arXiv:1707.05847.
    """

    scale: PerAxis = 2
    merged: int | None = None
    grouping: str = "consecutive"
    centres: str = "half_pixel"
    precision: PrecisionLike = None

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        with located(place_of(self)):
            return fixed.bilinear_additive_upsample(self, inputs)

"""Fixed layers that downsample, for nnx."""

from __future__ import annotations

import jax
from flax import nnx

from checkerjax._checks import Padding, PerAxis
from checkerjax.nn import _fixed as fixed
from checkerjax.nn._layers import located
from checkerjax.nn.nnx._create import static


class Downsample(nnx.Module):
    """A fixed downsampling.

    Args:
      scale: input samples per output sample; an int or one per axis.
      method: "stride", "average", "max", "blur" or "l2", as in `checkerjax.downsample`.
      window: samples that one output sees, as there.
      padding: as there.
      pad_mode: as there.

    Shapes:
      inputs `[N, *spatial, C]` with 1, 2 or 3 spatial axes, output `[N, *o, C]`; no parameters.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the class.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> Downsample(scale=2)(jnp.ones((1, 8, 8, 3))).shape
      (1, 4, 4, 3)

    References:
      Zhang, Making convolutional networks shift-invariant again, arXiv:1904.11486.
    """

    def __init__(
        self,
        *,
        scale: PerAxis = 2,
        method: str = "average",
        window: PerAxis | None = None,
        padding: Padding | None = None,
        pad_mode: str | None = None,
    ):
        self.scale = static(scale)
        self.method = method
        self.window = static(window)
        self.padding = static(padding)
        self.pad_mode = pad_mode

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        with located(type(self).__name__):
            return fixed.downsample(self, inputs)


class BlurPool(nnx.Module):
    """Binomial taps, then every scale-th sample: what makes strides and pools less sensitive to shifts.

    Args:
      scale: input samples per output sample; an int or one per axis.
      window: binomial taps; an int or one per axis; scale + 1 by default.
      padding: "SAME", "VALID", an int, or one (low, high) pair per axis.
      pad_mode: as in `checkerjax.pad`.

    Shapes:
      inputs `[N, *spatial, C]` with 1, 2 or 3 spatial axes, output `[N, *ceil(spatial / scale), C]` for "SAME"; no
      parameters.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the class.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> BlurPool(scale=2)(jnp.ones((1, 8, 8, 3))).shape
      (1, 4, 4, 3)

    References:
      Zhang, Making convolutional networks shift-invariant again, arXiv:1904.11486.
    """

    def __init__(
        self,
        *,
        scale: PerAxis = 2,
        window: PerAxis | None = None,
        padding: Padding = "SAME",
        pad_mode: str = "reflect",
    ):
        self.scale = static(scale)
        self.window = static(window)
        self.padding = static(padding)
        self.pad_mode = pad_mode

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        with located(type(self).__name__):
            return fixed.blur_pool(self, inputs)


class MaxBlurPool(nnx.Module):
    """Max pooling whose subsampling is blurred: the maximum at every sample, then `BlurPool`.

    Args:
      scale: input samples per output sample; an int or one per axis.
      window: of the maximum; an int or one per axis.
      blur_window: binomial taps; an int or one per axis; scale + 1 by default.
      padding: of the maximum; never wins it.
      pad_mode: of the blur.

    Shapes:
      inputs `[N, *spatial, C]` with 1, 2 or 3 spatial axes, output `[N, *ceil(m / scale), C]`, m the size that the
      maximum leaves; no parameters.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the class.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> MaxBlurPool(scale=2)(jnp.ones((1, 8, 8, 3))).shape
      (1, 4, 4, 3)

    References:
      Zhang, Making convolutional networks shift-invariant again, arXiv:1904.11486.
    """

    def __init__(
        self,
        *,
        scale: PerAxis = 2,
        window: PerAxis = 2,
        blur_window: PerAxis | None = None,
        padding: Padding = "VALID",
        pad_mode: str = "reflect",
    ):
        self.scale = static(scale)
        self.window = static(window)
        self.blur_window = static(blur_window)
        self.padding = static(padding)
        self.pad_mode = pad_mode

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        with located(type(self).__name__):
            return fixed.max_blur_pool(self, inputs)


class L2Pool(nnx.Module):
    """The root of the Hann-weighted mean of squares, subsampled.

    Args:
      scale: input samples per output sample, s; an int or one per axis; the window has 2 s - 1 taps.
      padding: "SAME", "VALID", an int, or one (low, high) pair per axis.
      pad_mode: as in `checkerjax.pad`.

    Shapes:
      inputs `[N, *spatial, C]` with 1, 2 or 3 spatial axes, output `[N, *ceil(spatial / scale), C]` for "SAME"; no
      parameters.

    Raises:
      ValueError: in a call, for arguments or shapes that do not fit; it names the class.
      TypeError: in a call, for an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> L2Pool(scale=2)(jnp.ones((1, 8, 8, 3))).shape
      (1, 4, 4, 3)

    References:
      Henaff and Simoncelli, Geodesics of learned representations, arXiv:1511.06394.
    """

    def __init__(
        self,
        *,
        scale: PerAxis = 2,
        padding: Padding = "SAME",
        pad_mode: str = "zeros",
    ):
        self.scale = static(scale)
        self.padding = static(padding)
        self.pad_mode = pad_mode

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """A field, its channels last, to a field."""
        with located(type(self).__name__):
            return fixed.l2_pool(self, inputs)

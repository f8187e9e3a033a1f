"""Fixed upsampling by an integer factor: interpolation, repetition, zero insertion, FIR."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from checkerjax._checks import PerAxis, at_least_float32, check_field, one_of, per_axis
from checkerjax.ops._filters import check_taps, filter_axis
from checkerjax.ops._resampling import CENTRES, nearest_indices, resampling_matrix

METHODS = ("nearest", "linear", "cubic", "lanczos3", "zeros", "fir")


def upsample(
    x: jax.Array,
    *,
    scale: PerAxis,
    method: str = "nearest",
    centres: str = "half_pixel",
    align_corners: bool | None = None,
    cubic_a: float = -0.5,
    taps: jax.Array | Sequence[float] | None = None,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Upsampling by an integer factor, axis by axis, without learned weights.

    Args:
      x: `[N, *spatial, C]`, with 1, 2 or 3 spatial axes; any floating dtype.
      scale: output samples per input sample, s; an int or one per axis, at least 1.
      method: "nearest" (repetition), "linear", "cubic", "lanczos3", "zeros" (zero insertion: x[m] at s m), or "fir"
        (zero insertion, then the filter `taps` along each axis, zeros beyond the border).
      centres: where output n lies among the inputs: "half_pixel" at (n + 1/2) / s - 1/2 (`jax.image.resize`,
        PyTorch, TensorFlow 2), "sample" at n / s (input samples stay in place, as in the article's figure 7),
        "corners" at n (i - 1) / (s i - 1) (first and last samples coincide). "zeros" is "sample" whatever is said;
        "fir" puts the middle of its taps there, rounded up to a sample (fewer than s taps start at s m), and refuses
        "corners" as "zeros" does. "nearest" takes the lower of two inputs that are equally near.
      align_corners: PyTorch's name: True is `centres="corners"`, False is "half_pixel".
      cubic_a: the slope of the cubic at distance 1: -0.5 (Keys; `jax.image.resize`, Pillow) or -0.75 (PyTorch, OpenCV).
      taps: `[k]`, the filter of "fir", used as given: to keep the mean, taps sum to s (StyleGAN2's
        [1, 3, 3, 1] / 4 at s = 2).
      precision: of the interpolation's matrix products, as in `jax.lax`; None is "highest" here, as in
        `jax.image.resize`: with fewer bits the weights would not sum to one, and that leaves lines.

    Returns:
      `[N, *(s * spatial), C]` of the dtype of `x`. Interpolation taps that fall outside the field are dropped and
      the others scaled up, so constants stay constant up to the border.

    Raises:
      ValueError: for a wrong rank, an unknown method or centres, or arguments that exclude each other.
      TypeError: for a dtype that is not floating.

    Example:
      >>> x = jnp.array([0.0, 4.0]).reshape(1, 2, 1)
      >>> upsample(x, scale=2, method="linear").ravel()
      Array([0., 1., 3., 4.], dtype=float32)
      >>> upsample(x, scale=2, method="linear", centres="sample").ravel()
      Array([0., 2., 4., 4.], dtype=float32)

    References:
      Odena, Dumoulin and Olah, Distill 2016, figure 7. Keys, Cubic convolution interpolation, IEEE ASSP 1981.
    """
    x, ndim = check_field("upsample", x)
    return upsample_as(
        "upsample",
        x,
        per_axis("upsample", "scale", scale, ndim),
        method,
        check_centres("upsample", centres, align_corners),
        cubic_a,
        taps,
        precision,
    )


def check_centres(op: str, centres: str, align_corners: bool | None) -> str:
    """The centre convention that `centres` and its alias `align_corners` agree on."""
    one_of(op, "centres", centres, CENTRES)
    if align_corners is None:
        return centres
    alias = "corners" if align_corners else "half_pixel"
    if centres not in ("half_pixel", alias):
        raise ValueError(f"{op}: align_corners={align_corners} means centres={alias!r}; got centres={centres!r} too.")
    return alias


def check_method(op: str, method: str, taps: jax.Array | Sequence[float] | None, cubic_a: float) -> jax.Array | None:
    """The taps of "fir", None for other methods, which take none."""
    one_of(op, "method", method, METHODS)
    if (taps is None) == (method == "fir"):
        raise ValueError(f"{op}: taps are for method='fir' and it needs them; got method={method!r}, taps={taps!r}.")
    if not isinstance(cubic_a, Real):
        raise TypeError(f"{op}: cubic_a must be a number; got {cubic_a!r}.")
    return None if taps is None else check_taps(op, taps)


def upsample_as(
    op: str,
    x: jax.Array,
    scales: tuple[int, ...],
    method: str,
    centres: str,
    cubic_a: float = -0.5,
    taps: jax.Array | Sequence[float] | None = None,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """`upsample` on behalf of the operator named `op`, its field and scales already checked."""
    row = check_method(op, method, taps, cubic_a)
    if centres == "corners" and method in ("zeros", "fir"):
        raise ValueError(f"{op}: method={method!r} keeps samples in place; centres='corners' needs an interpolation.")
    for axis, s in enumerate(scales, start=1):
        if method == "zeros":
            x = _insert_zeros(x, axis, s)
        elif row is not None:
            x = _stamp(x, axis, s, row.astype(x.dtype), centres)
        elif s > 1:
            x = _interpolate(x, axis, s, method, centres, cubic_a, precision)
    return x


def _insert_zeros(x: jax.Array, axis: int, s: int) -> jax.Array:
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (0, s - 1, s - 1)
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def _stamp(x: jax.Array, axis: int, s: int, taps: jax.Array, centres: str) -> jax.Array:
    k = taps.shape[0]
    ahead = max(k - s if centres == "half_pixel" else k - 1, 0) // 2
    stuffed = _insert_zeros(x, axis, s)
    pads = [(0, 0)] * x.ndim
    pads[axis] = (k - 1 - ahead, ahead)
    return filter_axis(jnp.pad(stuffed, pads), jnp.flip(taps), axis)


def _interpolate(
    x: jax.Array, axis: int, s: int, method: str, centres: str, cubic_a: float, precision: lax.PrecisionLike
) -> jax.Array:
    size = x.shape[axis]
    if method == "nearest" and centres == "half_pixel":
        return jnp.repeat(x, s, axis=axis)
    if method == "nearest":
        return jnp.take(x, np.asarray(nearest_indices(size, s, centres)), axis=axis)
    # The weights of a narrow dtype would not sum to one, and that leaves lines: work in float32 and round once.
    wide = at_least_float32(x.dtype)
    matrix = jnp.asarray(resampling_matrix(size, s, method, centres, cubic_a), dtype=wide)
    out = jnp.tensordot(
        x.astype(wide), matrix, axes=((axis,), (1,)), precision="highest" if precision is None else precision
    )
    return jnp.moveaxis(out, -1, axis).astype(x.dtype)

"""The contenders of each row that run on JAX: checkerjax, and what users write without it."""

from __future__ import annotations

import dataclasses
import functools
import math
import zlib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import checkerjax
from experiments.benchmarks.config import Row

LAYOUTS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
OURS = "checkerjax"
PARTS = ("y", "dx", "dw")

Operator = Callable[[jax.Array, jax.Array], jax.Array]


def _as_given(kernel: jax.Array) -> jax.Array:
    return kernel


@dataclasses.dataclass(frozen=True)
class Contender:
    """`(x, kernel) -> y`, and how its kernel comes from checkerjax's.

    The kernel is converted before the clock starts: users of each library keep it as the library takes it.
    """

    apply: Operator
    convert: Callable[[jax.Array], jax.Array] = _as_given
    compared: tuple[str, ...] = PARTS  # what must agree with checkerjax, the gradient dw converted like the kernel


def arrays(row: Row, seed: int) -> tuple[jax.Array, jax.Array]:
    """A random field and kernel; the same whatever else is measured."""
    rng = np.random.default_rng([seed, zlib.crc32(row.name.encode())])
    field, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in row.shapes)
    kernel /= math.sqrt(row.inputs * row.kernel**row.ndim)
    return jnp.asarray(field, row.dtype), jnp.asarray(kernel, row.dtype)


def contenders(row: Row) -> dict[str, Contender]:
    """By name: checkerjax first, then the plain form that it must agree with, then the others."""
    if row.seeds:
        return _seeds(row)
    kinds = {"deconv": _deconv, "resize": _resize, "subpixel": _subpixel, "conv": _conv}
    found = kinds[row.kind](row)
    if row.dtype != "float32":
        return dict(list(found.items())[:2])
    return found


def multiply_adds(row: Row) -> int:
    """Of the operator forward, stamps over the border included: small samples x taps x channels x channels.

    A resize-convolution counts as the transposed convolution that it is equal to, which needs the fewest.
    """
    small, taps = math.prod(row.size), row.kernel**row.ndim
    if row.kind == "conv":
        small = math.prod(-(-n // row.stride) for n in row.size)
    elif row.kind == "resize":
        taps = math.prod(_equivalent(row, jnp.zeros(row.shapes[1])).kernel.shape[: row.ndim])
    return max(row.seeds, 1) * row.batch * small * taps * row.inputs * row.outputs


def plain_upsampled(row: Row) -> tuple[int, ...]:
    """The shape of the upsampled field that a resize-convolution as written makes: `[N, *(s * size), C]`."""
    return (row.batch, *(row.stride * n for n in row.size), row.inputs)


def _flip(kernel: jax.Array) -> jax.Array:
    """Taps reversed on every spatial axis: lax and Flax stamp the flipped kernel."""
    return jnp.flip(kernel, range(kernel.ndim - 2))


def _deconv(row: Row) -> dict[str, Contender]:
    stride = (row.stride,) * row.ndim
    module = nn.ConvTranspose(row.outputs, (row.kernel,) * row.ndim, stride, padding="SAME", use_bias=False)
    ours = functools.partial(checkerjax.conv_transpose, stride=row.stride)
    plain = functools.partial(
        lax.conv_transpose, strides=stride, padding="SAME", dimension_numbers=LAYOUTS[row.ndim], transpose_kernel=False
    )
    return {
        OURS: Contender(ours),
        "lax": Contender(plain, _flip),
        "checkerjax, dots": Contender(functools.partial(ours, method="dots")),
        "flax": Contender(lambda x, kernel: _array(module.apply({"params": {"kernel": kernel}}, x)), _flip),
    }


def _array(value: object) -> jax.Array:
    assert isinstance(value, jax.Array)
    return value


def _plain_conv(row: Row, stride: int = 1) -> Operator:
    return functools.partial(
        lax.conv_general_dilated,
        window_strides=(stride,) * row.ndim,
        padding="SAME",
        dimension_numbers=LAYOUTS[row.ndim],
    )


def _conv(row: Row) -> dict[str, Contender]:
    ours = functools.partial(checkerjax.conv, stride=row.stride)
    return {
        OURS: Contender(ours),
        "lax": Contender(_plain_conv(row, row.stride)),
        "checkerjax, dots": Contender(functools.partial(ours, method="dots")),
    }


def _subpixel(row: Row) -> dict[str, Contender]:
    ours = functools.partial(checkerjax.subpixel_conv, scale=row.stride)
    conv, s = _plain_conv(row), row.stride

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        low = conv(x, kernel)
        n, h, w, c = low.shape
        apart = low.reshape(n, h, w, s, s, c // s**2).transpose(0, 1, 3, 2, 4, 5)
        return apart.reshape(n, s * h, s * w, c // s**2)

    return {
        OURS: Contender(ours),
        "lax": Contender(plain),
        "checkerjax, dots": Contender(functools.partial(ours, method="dots")),
    }


def _equivalent(row: Row, kernel: jax.Array) -> checkerjax.PaddedKernel:
    return checkerjax.deconv_from_resize(kernel, scale=row.stride, method=row.interpolation)


def _resize(row: Row) -> dict[str, Contender]:
    ours = functools.partial(checkerjax.resize_conv, scale=row.stride, method=row.interpolation)
    conv, s, large = _plain_conv(row), row.stride, plain_upsampled(row)

    def image_resize(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return conv(jax.image.resize(x, large, row.interpolation), kernel)

    def repeat(x: jax.Array, kernel: jax.Array) -> jax.Array:
        for axis in range(1, 1 + row.ndim):
            x = jnp.repeat(x, s, axis=axis)
        return conv(x, kernel)

    found = {OURS: Contender(ours)}
    if row.interpolation == "nearest":
        found["repeat + lax"] = Contender(repeat)
    found["jax.image.resize + lax"] = Contender(image_resize)
    found["checkerjax, dots"] = Contender(functools.partial(ours, form="dots"))
    return found | _equivalent_deconvs(row)


def _equivalent_deconvs(row: Row) -> dict[str, Contender]:
    """The transposed convolution whose kernel reaches as far: what a network with free kernels would run instead."""
    padding = _equivalent(row, jnp.zeros(row.shapes[1])).padding
    # Interpolations drop taps at the border, and the equivalent kernel does not; the free kernel has its own gradient.
    compared = ("y", "dx") if row.interpolation == "nearest" else ()
    return {
        f"equivalent deconv, {label}": Contender(
            functools.partial(checkerjax.conv_transpose, stride=row.stride, padding=padding, method=method),
            lambda kernel: _equivalent(row, kernel).kernel,
            compared,
        )
        for label, method in (("checkerjax", "auto"), ("lax", "lax"))
    }


def _seeds(row: Row) -> dict[str, Contender]:
    """Fields and kernels batched: vmap of lax makes a grouped convolution of it, lax.map runs one after the other."""

    def one(method: str) -> Operator:
        return functools.partial(checkerjax.conv_transpose, stride=row.stride, method=method)

    plain = one("lax")
    return {
        OURS: Contender(jax.vmap(one("auto"))),
        "lax, map": Contender(lambda x, kernel: lax.map(lambda pair: plain(*pair), (x, kernel))),
        "lax, vmap": Contender(jax.vmap(plain)),
    }

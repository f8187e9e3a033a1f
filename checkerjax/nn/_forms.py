"""The learned layers: which parameters each has, and how it runs, for linen and nnx modules alike.

A form reads a module's options by name, which are the same in both; parameters are created by the module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.nn.initializers import lecun_normal, normal, zeros

from checkerjax import ops
from checkerjax._checks import as_int, one_of, per_axis
from checkerjax.nn._layers import located, over_batch, promoted, with_bias
from checkerjax.nn.initializers import Initializer, icnr
from checkerjax.ops._carafe import carafe
from checkerjax.ops._fir import fir_conv
from checkerjax.ops._large_context import large_context_conv_transpose
from checkerjax.ops._pixel_transposed import pixel_transposed_conv
from checkerjax.ops._shuffle import ORDERS

Ints = tuple[int, ...]
Inits = Mapping[str, Any]  # the initialisers by the names of their arguments
Shapes = dict[str, tuple[Initializer, Ints]]
KERNEL_INIT: Initializer = lecun_normal()
ENCODE_INIT: Initializer = normal(0.001)
BIAS_INIT: Initializer = zeros
INITS = ("kernel_init", "bias_init", "encode_init")


class Form(NamedTuple):
    """One kind of layer."""

    parameters: Callable[[str, Any, Inits, Ints, int, int], Shapes]  # of place, module, ..., sizes, channels in and out
    run: Callable[..., jax.Array]  # of the module, one batch of fields and the parameters by name


def run(place: str, form: Form, module: Any, ndim: int, inputs: Any, parameters: dict[str, Any]) -> jax.Array:
    """A layer on a field with any number of batch axes, in the dtype that Flax's rule gives."""
    inputs, *arrays = promoted(module.dtype, inputs, *parameters.values())
    given = dict(zip(parameters, arrays))
    with located(place):
        return over_batch(lambda x: form.run(module, x, **given), inputs, ndim)


def _with_bias(module: Any, inits: Inits, kernels: Shapes, features: int) -> Shapes:
    return {**kernels, "bias": (inits["bias_init"], (features,))} if module.use_bias else kernels


def _one_kernel(place: str, module: Any, inits: Inits, sizes: Ints, inputs: int, features: int) -> Shapes:
    return _with_bias(module, inits, {"kernel": (inits["kernel_init"], (*sizes, inputs, features))}, features)


def _resize(module: Any, x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    y = ops.resize_conv(
        x,
        kernel,
        scale=module.scale,
        method=module.method,
        padding=module.padding,
        pad_mode=module.pad_mode,
        centres=module.centres,
        taps=module.taps,
        precision=module.precision,
    )
    return with_bias(y, bias)


def _subpixel_parameters(place: str, module: Any, inits: Inits, sizes: Ints, inputs: int, features: int) -> Shapes:
    phases = 1
    for s in per_axis(place, "scale", module.scale, len(sizes)):
        phases *= s
    one_of(place, "order", module.order, ORDERS)
    init = icnr(KERNEL_INIT, module.scale, order=module.order) if inits["kernel_init"] is None else inits["kernel_init"]
    kernels: Shapes = {"kernel": (init, (*sizes, inputs, phases * features))}
    return _with_bias(module, inits, kernels, phases * features if module.bias_per_phase else features)


def _subpixel(module: Any, x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    if not module.bias_per_phase:
        y = ops.subpixel_conv(
            x, kernel, scale=module.scale, padding=module.padding, order=module.order, precision=module.precision
        )
        return with_bias(y, bias)
    low = ops.conv(x, kernel, padding=module.padding, precision=module.precision)
    return ops.depth_to_space(with_bias(low, bias), block=module.scale, order=module.order)


def _fir(module: Any, x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    y = fir_conv(
        x,
        kernel,
        taps=module.taps,
        up=module.up,
        down=module.down,
        padding=module.padding,
        precision=module.precision,
    )
    return with_bias(y, bias)


def _large_parameters(place: str, module: Any, inits: Inits, sizes: Ints, inputs: int, features: int) -> Shapes:
    small = per_axis(place, "small_size", module.small_size, len(sizes))
    kernels: Shapes = {
        "kernel": (inits["kernel_init"], (*sizes, inputs, features)),
        "small_kernel": (inits["kernel_init"], (*small, inputs, features)),
    }
    return _with_bias(module, inits, kernels, features)


def _large(
    module: Any, x: jax.Array, kernel: jax.Array, small_kernel: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
    y = large_context_conv_transpose(x, kernel, small_kernel, stride=module.strides, precision=module.precision)
    return with_bias(y, bias)


def _pixel_parameters(place: str, module: Any, inits: Inits, sizes: Ints, inputs: int, features: int) -> Shapes:
    if len(sizes) != 2:
        raise ValueError(f"{place}: kernel_size must be two ints, for two spatial axes; got {module.kernel_size!r}.")
    shapes: Shapes = {}
    for i, channels in enumerate((inputs, features, features)):
        shapes[f"kernel_{i}"] = (inits["kernel_init"], (*sizes, channels, features))
    if module.use_bias:
        shapes |= {f"bias_{i}": (inits["bias_init"], (features,)) for i in range(2)}
    return shapes


def _pixel(module: Any, x: jax.Array, **parameters: jax.Array) -> jax.Array:
    kernels = [parameters[f"kernel_{i}"] for i in range(3)]
    biases = [parameters[f"bias_{i}"] for i in range(2)] if module.use_bias else None
    return pixel_transposed_conv(x, kernels, biases=biases, precision=module.precision)


def _carafe_parameters(place: str, module: Any, inits: Inits, sizes: Ints, inputs: int, features: int) -> Shapes:
    narrow, scores = as_int(place, "compressed", module.compressed, minimum=1), 1
    for name, minimum in (("scale", 1), ("window", 1)):
        for n in per_axis(place, name, getattr(module, name), len(sizes), minimum=minimum):
            scores *= n
    shapes: Shapes = {
        "compress_kernel": (inits["kernel_init"], (*(1 for _ in sizes), inputs, narrow)),
        "encode_kernel": (inits["encode_init"], (*sizes, narrow, scores)),
    }
    if module.use_bias:
        shapes |= {"compress_bias": (inits["bias_init"], (narrow,)), "encode_bias": (inits["bias_init"], (scores,))}
    return shapes


def _carafe(
    module: Any,
    x: jax.Array,
    compress_kernel: jax.Array,
    encode_kernel: jax.Array,
    compress_bias: jax.Array | None = None,
    encode_bias: jax.Array | None = None,
) -> jax.Array:
    narrow = with_bias(ops.conv(x, compress_kernel, precision=module.precision), compress_bias)
    scores = with_bias(ops.conv(narrow, encode_kernel, precision=module.precision), encode_bias)
    options = {"scale": module.scale, "window": module.window, "order": module.order}
    return carafe(x, scores, **options, precision=module.precision)


RESIZE = Form(_one_kernel, _resize)
SUBPIXEL = Form(_subpixel_parameters, _subpixel)
FIR = Form(_one_kernel, _fir)
LARGE = Form(_large_parameters, _large)
PIXEL = Form(_pixel_parameters, _pixel)
CARAFE = Form(_carafe_parameters, _carafe)

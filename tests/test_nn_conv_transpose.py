"""`ConvTranspose` of linen and nnx against Flax's own, over a drawn grid of arguments: values and gradients."""

import functools
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import checkerjax.nn.linen
import checkerjax.nn.nnx

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 2e-5}  # float32 sums of up to some hundred terms of size one
CHANNELS = {1: (2, 3), 2: (2, 3), 3: (1, 2)}
POOL = np.random.default_rng(1).normal(size=8192).astype(np.float32)


@functools.cache
def quick() -> Any:
    """Options that make compiling, which is what a case takes its time for, five times faster; those that XLA knows."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    options["xla_cpu_use_fusion_emitters"] = False
    return {name: value for name, value in options.items() if is_known(name, value)}


def is_known(name, value):
    try:
        jax.jit(jnp.sin, compiler_options={name: value})(1.0)
    except jax.errors.JaxRuntimeError:
        return False
    return True


def numbers(*shape, start=0) -> Any:
    return np.resize(POOL[start:], shape)


@st.composite
def flax_arguments(draw):
    """A size of input, and arguments that Flax takes."""
    ndim = draw(st.sampled_from([1, 1, 2, 2, 3]))
    per_axis = functools.partial(_per_axis, draw, ndim)
    k, s, d = (per_axis([1, 2, 3, 4][: 5 - ndim]), per_axis([1, 2, 3][: 4 - ndim // 2]), per_axis([1, 1, 2]))
    size = per_axis([2, 3, 5] if ndim < 3 else [2, 3])
    padding = draw(st.sampled_from(["SAME", "VALID", "CIRCULAR", "int", "ints", "pairs"]))
    least = [d_ * (k_ - 1) + 1 - s_ * (i - 1) for i, k_, s_, d_ in zip(size, k, s, d)]  # of low + high: an output
    if padding == "int":
        padding = draw(st.integers(max(0, *(-(-n // 2) for n in least)), 4))
    elif padding == "ints":
        padding = tuple(draw(st.integers(max(0, -(-n // 2)), 3)) for n in least)
    elif padding == "pairs":
        lows = [draw(st.integers(-1, 4)) for _ in least]
        padding = tuple((low, draw(st.integers(max(-1, n - low), max(3, n - low)))) for low, n in zip(lows, least))
    arguments = {
        "kernel_size": k,
        "strides": draw(st.sampled_from([s, list(s)])) if set(s) != {1} else draw(st.sampled_from([None, s])),
        "kernel_dilation": d if set(d) != {1} else draw(st.sampled_from([None, 1, d])),
        "padding": padding,
        "transpose_kernel": draw(st.booleans()),
        "use_bias": draw(st.booleans()),
        "mask": draw(st.booleans()),
        "preferred_element_type": draw(st.sampled_from([None, None, jnp.float32])),
        "dtype": draw(st.sampled_from([None, jnp.float32])),
    }
    batch = draw(st.sampled_from([(), (2,), (2, 1)]))
    return batch, size, arguments


def _per_axis(draw, ndim, choices):
    return tuple(draw(st.sampled_from(choices)) for _ in range(ndim))


def with_mask(arguments, inputs, outputs):
    last = (outputs, inputs) if arguments["transpose_kernel"] else (inputs, outputs)
    shape = (*arguments["kernel_size"], *last)
    mask = (numbers(*shape, start=77) > -0.5).astype(np.float32)
    return {**arguments, "mask": jnp.asarray(mask) if arguments["mask"] else None}, shape


def linen_layer(package, arguments, inputs, outputs):
    layer = package.ConvTranspose(features=outputs, **arguments)
    return lambda params, x: layer.apply({"params": params}, x)


def nnx_layer(package, arguments, inputs, outputs):
    def run(params, x):
        layer = nnx.eval_shape(lambda: package.ConvTranspose(inputs, outputs, rngs=nnx.Rngs(0), **arguments))
        for name, value in params.items():
            setattr(layer, name, nnx.Param(value))
        layer.mask = arguments["mask"]
        return layer(x)

    return run


PACKAGES = {
    "linen": (linen_layer, flax.linen, checkerjax.nn.linen),
    "nnx": (nnx_layer, nnx, checkerjax.nn.nnx),
}


@given(case=flax_arguments())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_linen_values_and_gradients_are_flaxs(case):
    compare("linen", case)


@given(case=flax_arguments())
@settings(max_examples=210, deadline=None, derandomize=True)
def test_nnx_values_and_gradients_are_flaxs(case):
    compare("nnx", case)


def compare(flavour, case):
    batch, size, arguments = case
    inputs, outputs = CHANNELS[len(size)]
    arguments, shape = with_mask(arguments, inputs, outputs)
    x, params = numbers(*batch, *size, inputs, start=5), {"kernel": numbers(*shape, start=900)}
    if arguments["use_bias"]:
        params["bias"] = numbers(outputs, start=3)
    layer, theirs, ours = PACKAGES[flavour]
    cotangents = []

    def both(params, x):
        results = []
        for package in (theirs, ours):
            y, pull = jax.vjp(layer(package, arguments, inputs, outputs), params, x)
            cotangents.append(y.shape)
            results.append((y, pull(jnp.asarray(numbers(*y.shape, start=40)))))
        return results

    expected, out = jax.jit(both, compiler_options=quick())(params, x)
    assert cotangents[0] == cotangents[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **ROUNDING), out, expected)

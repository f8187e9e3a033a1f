"""A layer of checkerjax against Flax's of the same name, for linen and nnx: values and gradients in one program."""

import functools
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import checkerjax.nn.linen
import checkerjax.nn.nnx

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 2e-5}  # float32 sums of up to some hundred terms of size one
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


def linen_layer(package, name, arguments, inputs, outputs):
    layer = getattr(package, name)(features=outputs, **arguments)
    return lambda params, x: layer.apply({"params": params}, x)


def nnx_layer(package, name, arguments, inputs, outputs):
    def run(params, x):
        layer = nnx.eval_shape(lambda: getattr(package, name)(inputs, outputs, rngs=nnx.Rngs(0), **arguments))
        for parameter, value in params.items():
            setattr(layer, parameter, nnx.Param(value))
        layer.mask = arguments["mask"]
        return layer(x)

    return run


PACKAGES = {
    "linen": (linen_layer, flax.linen, checkerjax.nn.linen),
    "nnx": (nnx_layer, nnx, checkerjax.nn.nnx),
}


def compare(flavour, name, kernel_shape, field_shape, outputs, arguments):
    """Asserts equality; a true `mask` among the arguments becomes one, of the kernel's shape."""
    mask = jnp.asarray((numbers(*kernel_shape, start=77) > -0.5).astype(np.float32))
    arguments = {**arguments, "mask": mask if arguments["mask"] else None}
    x, params = numbers(*field_shape, start=5), {"kernel": numbers(*kernel_shape, start=900)}
    if arguments["use_bias"]:
        params["bias"] = numbers(outputs, start=3)
    layer, theirs, ours = PACKAGES[flavour]
    shapes = []

    def both(params, x):
        results = []
        for package in (theirs, ours):
            y, pull = jax.vjp(layer(package, name, arguments, field_shape[-1], outputs), params, x)
            shapes.append(y.shape)
            results.append((y, pull(jnp.asarray(numbers(*y.shape, start=40)))))
        return results

    expected, out = jax.jit(both, compiler_options=quick())(params, x)
    assert shapes[0] == shapes[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **ROUNDING), out, expected)

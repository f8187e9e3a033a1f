"""Covariances of wide networks as neural-tangents 0.6.5 computes them, of the layers that it has: an independent check.

It needs TensorFlow and an older JAX, so it has an environment of its own and imports nothing of checkerjax. White
input; in NTK parametrisation weights have standard deviation 1 / sqrt(taps x channels).

Run:     uv run --isolated --no-project --with neural-tangents==0.6.5 --with "jax[cpu]==0.4.30" --with "numpy<2" \\
             --with tensorflow-cpu==2.16.2 --with tf2jax==0.3.6 \\
             python experiments/closed_forms/neural_tangents_kernels.py
Writes:  neural_tangents.json, which tests/test_expect_neural_tangents.py compares with `dense_covariance`
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import math
import pathlib

import jax
import neural_tangents
import numpy as np
from neural_tangents import stax
from neural_tangents._src.stax.requirements import _inputs_to_kernel  # kernels in and out, no read-out behind them

jax.config.update("jax_enable_x64", True)
WIDTH = 8  # any: the limit has none


def conv(*k, s=1, pad="SAME", bias=None):
    """A convolution; SAME pads with zeros."""
    return stax.Conv(WIDTH, k, strides=(s,) * len(k), padding=pad, b_std=bias)


def up(*k, s, pad="SAME"):
    """A transposed convolution."""
    return stax.ConvTranspose(WIDTH, k, strides=(s,) * len(k), padding=pad)


def residual(*layers):
    """x + f(x)."""
    return stax.serial(stax.FanOut(2), stax.parallel(stax.Identity(), stax.serial(*layers)), stax.FanInSum())


# By checkerjax's text for it: the size of the input, and the layers.
CASES = {
    "conv k3, relu, conv k4 s2": ((9,), [conv(3), stax.Relu(), conv(4, s=2)]),
    "conv k3 pad_mode=wrap, relu, conv k3 pad_mode=wrap": (
        (7,),
        [conv(3, pad="CIRCULAR"), stax.Relu(), conv(3, pad="CIRCULAR")],
    ),
    "conv k3 s2 valid, leaky_relu slope=0.2, conv k2 valid": (
        (11,),
        [conv(3, s=2, pad="VALID"), stax.LeakyRelu(0.2), conv(2, pad="VALID")],
    ),
    "deconv k3 s2": ((6,), [up(3, s=2)]),
    "deconv k4 s2, relu, deconv k5 s2": ((4,), [up(4, s=2), stax.Relu(), up(5, s=2)]),
    "deconv k5 s3 valid, relu, conv k3": ((4,), [up(5, s=3, pad="VALID"), stax.Relu(), conv(3)]),
    "conv k3, bias std=0.5, erf, conv k3": ((8,), [conv(3, bias=0.5), stax.Erf(), conv(3)]),
    "conv k3, relu, avgpool k2 s2, conv k3": (
        (8,),
        [conv(3), stax.Relu(), stax.AvgPool((2,), (2,), padding="VALID"), conv(3)],
    ),
    "conv k3, residual(relu, conv k3), relu, conv k3": (
        (7,),
        [conv(3), residual(stax.Relu(), conv(3)), stax.Relu(), conv(3)],
    ),
    "conv k3, relu, conv k3, relu, conv k3, relu, deconv k3 s2": (
        (6,),
        [conv(3), stax.Relu(), conv(3), stax.Relu(), conv(3), stax.Relu(), up(3, s=2)],
    ),
    "conv k3x2, relu, deconv k3x4 s2": ((3, 2), [conv(3, 2), stax.Relu(), up(3, 4, s=2)]),
    "deconv k2 s2, relu, conv k3 s2": ((3, 3), [up(2, 2, s=2), stax.Relu(), conv(3, 3, s=2)]),
}


def white(size):
    """Inputs whose covariance over channels is the identity, one for each pair of pixels."""
    count = math.prod(size)
    x = np.eye(count).reshape(count, *size) * math.sqrt(count)
    return np.moveaxis(x, 0, -1)[None]


def covariance(size, layers):
    """`[*n, *n]`: of the last layer's output, for white input."""
    kernel = _inputs_to_kernel(
        jax.numpy.asarray(white(size)),
        None,
        diagonal_batch=False,
        diagonal_spatial=False,
        compute_ntk=False,
        batch_axis=0,
        channel_axis=-1,
        mask_constant=None,
    )
    after = stax.serial(*layers)[2](kernel)
    found = np.asarray(after.nngp)[0, 0]  # [n1, n1, n2, n2, ...], axes in reverse order if it says so
    ndim = found.ndim // 2
    axes = range(ndim)[::-1] if after.is_reversed else range(ndim)
    return found.transpose(*(2 * a for a in axes), *(2 * a + 1 for a in axes))


def main():
    """Computes and stores all."""
    results = {
        "versions": {"neural_tangents": neural_tangents.__version__, "jax": jax.__version__},
        "cases": [
            {"stack": text, "size": size, "covariance": covariance(size, layers).round(12).tolist()}
            for text, (size, layers) in CASES.items()
        ],
    }
    path = pathlib.Path(__file__).with_name("neural_tangents.json")
    path.write_text(json.dumps(results) + "\n")
    print(f"{len(CASES)} stacks, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""Output sizes against the numbered relationships of Dumoulin and Visin, arXiv:1603.07285.

i input, k kernel, s stride, p padding, d dilation, o output; nothing is computed, only shapes.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import pytest

from checkerjax import conv, conv_transpose, downsample

INPUTS, KERNELS, STRIDES, PADS, DILATIONS = range(1, 10), range(1, 6), range(1, 5), range(4), range(1, 4)


def out_size(operator, i, k, **options):
    x, kernel = jax.ShapeDtypeStruct((1, i, 1), jnp.float32), jax.ShapeDtypeStruct((k, 1, 1), jnp.float32)
    return jax.eval_shape(functools.partial(operator, **options), x, kernel).shape[1]


# (inputs, kernels, strides, paddings) -> output; None where the relationship does not speak of the case
CONV_RELATIONSHIPS = {
    1: lambda i, k, s, p: i - k + 1 if s == 1 and p == 0 else None,
    2: lambda i, k, s, p: i - k + 2 * p + 1 if s == 1 else None,
    3: lambda i, k, s, p: i if s == 1 and k % 2 and p == k // 2 else None,
    4: lambda i, k, s, p: i + k - 1 if s == 1 and p == k - 1 else None,
    5: lambda i, k, s, p: (i - k) // s + 1 if p == 0 else None,
    6: lambda i, k, s, p: (i + 2 * p - k) // s + 1,
}


@pytest.mark.parametrize("number", CONV_RELATIONSHIPS)
def test_convolution(number):
    spoken = 0
    for i, k, s, p in itertools.product(INPUTS, KERNELS, STRIDES, PADS):
        expected = CONV_RELATIONSHIPS[number](i, k, s, p)
        if expected is not None and i + 2 * p >= k:
            assert out_size(conv, i, k, stride=s, padding=p) == expected, (i, k, s, p)
            spoken += 1
    assert spoken > 10


def test_relationship_7_pooling():
    for i, k, s in itertools.product(INPUTS, KERNELS, STRIDES):
        if i >= k:
            pool = functools.partial(downsample, scale=s, method="max", window=k)
            pooled = jax.eval_shape(pool, jax.ShapeDtypeStruct((1, i, 1), jnp.float32))
            assert pooled.shape[1] == (i - k) // s + 1, (i, k, s)


# Here i, k, s, p are the convolution's, whose transpose maps o back to i.
TRANSPOSED_RELATIONSHIPS = {
    8: lambda o, i, k, s, p: o + k - 1 if s == 1 and p == 0 else None,
    9: lambda o, i, k, s, p: o + k - 1 - 2 * p if s == 1 else None,
    10: lambda o, i, k, s, p: o if s == 1 and k % 2 and p == k // 2 else None,
    11: lambda o, i, k, s, p: o - (k - 1) if s == 1 and p == k - 1 else None,
    12: lambda o, i, k, s, p: s * (o - 1) + k if p == 0 and (i - k) % s == 0 else None,
    13: lambda o, i, k, s, p: s * (o - 1) + k - 2 * p if (i + 2 * p - k) % s == 0 else None,
    14: lambda o, i, k, s, p: s * (o - 1) + (i + 2 * p - k) % s + k - 2 * p,
}


@pytest.mark.parametrize("number", TRANSPOSED_RELATIONSHIPS)
def test_transposed_convolution_restores_the_input_size(number):
    spoken = 0
    for i, k, s, p in itertools.product(INPUTS, KERNELS, STRIDES, PADS):
        if i + 2 * p < k:
            continue
        o = (i + 2 * p - k) // s + 1
        expected = TRANSPOSED_RELATIONSHIPS[number](o, i, k, s, p)
        if expected is not None:
            left_over = (i + 2 * p - k) % s
            size = out_size(conv_transpose, o, k, stride=s, padding=p, output_padding=left_over)
            assert size == expected == i, (i, k, s, p)
            spoken += 1
    assert spoken > 10


def test_relationship_15_dilation():
    for i, k, s, p, d in itertools.product([4, 7, 9], KERNELS, STRIDES, [0, 2], DILATIONS):
        spread = k + (k - 1) * (d - 1)
        if i + 2 * p >= spread:
            expected = (i + 2 * p - k - (k - 1) * (d - 1)) // s + 1
            assert out_size(conv, i, k, stride=s, padding=p, dilation=d) == expected, (i, k, s, p, d)


def test_dilated_transposed_convolution():
    for i, k, s, d in itertools.product([1, 3, 4], KERNELS, STRIDES, DILATIONS):
        for p, extra in itertools.product([0, 1], range(max(s, d))):
            expected = s * (i - 1) + d * (k - 1) + 1 - 2 * p + extra
            if expected > 0:
                size = out_size(conv_transpose, i, k, stride=s, padding=p, dilation=d, output_padding=extra)
                assert size == expected, (i, k, s, d, p, extra)


def test_same_and_valid():
    for i, k, s, d in itertools.product([1, 4, 7], KERNELS, STRIDES, DILATIONS):
        spread = d * (k - 1) + 1
        assert out_size(conv, i, k, stride=s, dilation=d) == -(-i // s)
        assert out_size(conv_transpose, i, k, stride=s, dilation=d) == s * i
        assert out_size(conv_transpose, i, k, stride=s, dilation=d, padding="VALID") == s * (i - 1) + max(spread, s)
        if i >= spread:
            assert out_size(conv, i, k, stride=s, dilation=d, padding="VALID") == -(-(i - spread + 1) // s)

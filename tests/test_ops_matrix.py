"""`as_matrix`: the matrix that an operator is, and refusals of what no matrix is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import as_matrix, conv, conv_transpose, downsample, resize_conv

OPERATORS = {
    "conv": lambda x, w: conv(x, w, stride=2, padding=1),
    "conv_transpose": lambda x, w: conv_transpose(x, w, stride=(2, 3)),
    "resize_conv": lambda x, w: resize_conv(x, w, scale=2, method="cubic", pad_mode="reflect"),
    "blur": lambda x, _: downsample(x, scale=2, method="blur"),
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_the_matrix_times_x_is_the_operator_of_x(rng, operator):
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in [(2, 3, 4, 2), (3, 3, 2, 2)])
    out = operator(x, kernel)
    matrix = jax.jit(lambda w: as_matrix(lambda v: operator(v, w), x.shape))(kernel)
    assert matrix.shape == (out.size, x.size)
    # float32 sums of below a hundred terms of size one
    np.testing.assert_allclose(np.asarray(matrix) @ x.ravel(), out.ravel(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + 1,
        lambda x: jnp.maximum(x, 0),
        lambda x: jnp.where(x > 0, x, 0.2 * x),
        jnp.abs,
        jnp.square,
        jnp.sin,
    ],
    ids=["bias", "relu", "leaky relu", "abs", "square", "sin"],
)
@pytest.mark.parametrize("shape", [(1, 4, 1), (1,)])
def test_what_is_not_linear_is_refused(f, shape):
    with pytest.raises(ValueError, match=r"as_matrix: f is not linear; .* biases and activations"):
        as_matrix(f, shape)


def test_max_pooling_is_refused():
    with pytest.raises(ValueError, match="not linear"):
        as_matrix(lambda x: downsample(x, scale=2, method="max"), (1, 4, 1))


@pytest.mark.parametrize("gain", [1e-6, 1.0, 1e6])
def test_linearity_is_judged_at_the_scale_of_the_matrix(gain):
    np.testing.assert_allclose(as_matrix(lambda x: gain * jnp.cumsum(x), (50,)), gain * np.tri(50), rtol=1e-6)


def test_it_works_under_jit_and_gradients_reach_the_kernel():
    def total(w):
        return (as_matrix(lambda x: conv_transpose(x, w, stride=2), (1, 3, 1)) ** 2).sum()

    kernel = jnp.array([1.0, 2.0]).reshape(2, 1, 1)
    assert jax.jit(total)(kernel) == 3 * (1 + 4)  # two taps, no overlap, three inputs
    assert jax.grad(total)(kernel).ravel().tolist() == [6.0, 12.0]


def test_a_scalar_map_and_another_dtype():
    assert as_matrix(lambda x: 3 * x, ()).tolist() == [[3.0]]
    assert as_matrix(lambda x: x, (2,), dtype="bfloat16").dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("f", "shape", "dtype", "kind", "message"),
    [
        (lambda x: x, (2, 0), "float32", ValueError, r"as_matrix: shape\[1\] must be at least 1; got 0"),
        (lambda x: x, 3, "float32", TypeError, "as_matrix: shape must be a sequence of ints.*; got 3"),
        (lambda x: x, (2.0,), "float32", TypeError, r"as_matrix: shape\[0\] must be an int; got 2.0"),
        (np.eye(2), (2,), "float32", TypeError, "as_matrix: f must be callable; got ndarray"),
        (lambda x: x, (2,), "int32", TypeError, "as_matrix: dtype must be floating; got int32"),
    ],
)
def test_bad_input(f, shape, dtype, kind, message):
    with pytest.raises(kind, match=message):
        as_matrix(f, shape, dtype=dtype)

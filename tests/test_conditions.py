"""The conditions called "no checkerboard": for kernels, against loops and matrices."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkerjax import ops
from checkerjax.overlap import (
    has_equal_counts,
    has_equal_energies,
    has_equal_gains,
    has_equal_phase_spectra,
    overlap_count,
    phase_energies,
    phase_gains,
)

# Two float32 roundings for each of up to some twenty taps near 1.
ROUNDING = 5e-6
CONDITIONS = (has_equal_gains, has_equal_energies, has_equal_phase_spectra)


def taps(*values) -> Any:
    return np.array(values, "float32").reshape(-1, 1, 1)


def folded(kernel, strides, dilations):
    """Float64 loop: the sum over the taps of each phase."""
    out = np.zeros((*strides, *kernel.shape[-2:]))
    for index in np.ndindex(*kernel.shape[:-2]):
        out[tuple(d * j % s for j, s, d in zip(index, strides, dilations))] += kernel[index]
    return out


@pytest.mark.parametrize(
    ("size", "strides", "dilations"),
    [((5,), (2,), (1,)), ((4,), (3,), (2,)), ((3, 5), (2, 3), (3, 1)), ((2, 3, 4), (2, 2, 4), (1, 2, 1))],
)
def test_phase_gains_and_energies_fold_the_kernel(mode, rng, size, strides, dilations):
    kernel = rng.standard_normal((*size, 2, 3)).astype("float32")
    gains = mode(lambda k: phase_gains(k, strides, dilation=dilations))(kernel)
    energies = mode(lambda k: phase_energies(k, strides, dilation=dilations))(kernel)
    assert gains.shape == energies.shape == (*strides, 2, 3)
    np.testing.assert_allclose(gains, folded(kernel, strides, dilations), rtol=0, atol=4 * ROUNDING)
    np.testing.assert_allclose(energies, folded(kernel**2, strides, dilations), rtol=0, atol=4 * ROUNDING)


def test_phase_gains_are_the_steady_state_for_an_input_of_ones(rng):
    kernel = rng.standard_normal((5, 2, 3)).astype("float32")
    out = np.asarray(ops.conv_transpose(jnp.ones((1, 8, 2)), kernel, stride=3, padding=0))[0, 6:9]
    np.testing.assert_allclose(phase_gains(kernel, 3).sum(axis=1), out, rtol=0, atol=ROUNDING)


def test_narrow_and_complex_kernels():
    narrow = jnp.full((64, 1, 1), 0.1, "bfloat16")
    assert phase_gains(narrow, 1).dtype == jnp.float32
    np.testing.assert_allclose(phase_gains(narrow, 1).item(), 64 * float(jnp.bfloat16(0.1)), rtol=1e-6)
    assert phase_energies(jnp.array([3 + 4j, 0, 1j]).reshape(3, 1, 1), 2).ravel().tolist() == [26, 0]
    assert has_equal_energies(np.array([1, 1j], "complex64").reshape(2, 1, 1), 2)
    assert not has_equal_gains(np.array([1, 1j], "complex64").reshape(2, 1, 1), 2)


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 6), st.sampled_from(["SAME", "VALID", 0, 1, 2]))
def test_counts_are_equal_iff_the_stride_divides_the_kernel_and_the_dilation_is_coprime(k, s, d, padding):
    rule = s == 1 or (k % s == 0 and math.gcd(s, d) == 1)
    assert has_equal_counts(k, s, dilation=d) == rule
    size = 2 * (d * k // s + 2 + s)  # the middle is full whatever the padding, which only rotates the phases
    counts = overlap_count(size, kernel_size=k, stride=s, dilation=d, padding=padding)
    middle = counts[(len(counts) - s) // 2 :][:s]
    assert (len(set(middle.tolist())) == 1) == rule


def test_equal_counts_need_all_axes_and_no_values():
    assert has_equal_counts((4, 6, 3), (2, 3, 1))
    assert not has_equal_counts((4, 6, 3), (2, 3, 2))
    assert has_equal_counts(jnp.zeros((4, 2, 1, 1)), 2)
    assert not has_equal_counts(4, (2, 3))
    seen = []
    jax.jit(lambda kernel: seen.append(has_equal_counts(kernel, 2)))(jnp.zeros((3, 1, 1)))
    assert seen == [False]


@pytest.mark.parametrize(
    ("kernel", "stride", "expected"),
    [
        (taps(1, 1, 1, -1), 2, (False, True, False)),
        (taps(1, 2, 1), 2, (True, False, False)),
        (taps(1, 3, 3, 1), 2, (True, True, True)),  # linear, half-pixel: each phase is the other reversed
        (taps(1, 1), 2, (True, True, True)),  # nearest
        (taps(1, -1), 2, (False, True, True)),  # phases that differ in sign
        (taps(1, 2, 2, 1), 2, (True, True, True)),
        (taps(1, 2, 3, 4, 2, 3), 3, (False, False, False)),
        (taps(1, 2, 3, 3, 2, 1), 2, (True, True, True)),
        (taps(1, 2, 3, 2, 1), 3, (True, False, False)),  # linear, sample-aligned
        (taps(0, 0, 0), 2, (True, True, True)),
        (taps(5), 1, (True, True, True)),
        (taps(5), 2, (False, False, False)),
        (taps(3, 4, 5, 0), 2, (False, False, False)),
        (taps(2, 0, 1, 2, 0, 1), 3, (False, False, False)),
        (taps(0, 5, 5, 0, 3, 0, 0, 3), 2, (True, True, False)),  # 25 + 9 in both, at distances 2 and 1
    ],
)
def test_conditions_of_small_kernels(kernel, stride, expected):
    assert tuple(condition(kernel, stride) for condition in CONDITIONS) == expected


def test_a_dilation_moves_taps_to_other_phases():
    assert has_equal_gains(taps(1, 2, 1, 2), 4, dilation=2) is False  # phases 1 and 3 get nothing
    assert has_equal_gains(taps(1, 2, 2, 1), 2, dilation=3) is True
    assert has_equal_gains(taps(1, 2, 2, 3), 2, dilation=3) is False
    # taps 0, 3, 6, 9: phase 0 has 1 and 2 six apart, phase 1 has 2 and 1 six apart
    assert has_equal_phase_spectra(taps(1, 2, 2, 1), 2, dilation=3) is True


def output_variances(kernel, stride, covariance):
    """Variance of each interior output on one axis, for an input of the given covariance, by the explicit matrix."""
    size = covariance.shape[0]
    matrix = ops.as_matrix(lambda x: ops.conv_transpose(x, kernel, stride=stride), (1, size, 1))
    matrix = np.asarray(matrix, np.float64)
    return np.einsum("nm,mk,nk->n", matrix, covariance, matrix)[4 * stride : -4 * stride]


KERNELS = {
    "random": lambda rng: rng.standard_normal((6, 1, 1)),
    "tied": lambda rng: np.repeat(rng.standard_normal((3, 1, 1)), 2, axis=0),
    "reversed": lambda rng: np.stack([(a := rng.standard_normal((3, 1, 1))), a[::-1]], 1).reshape(6, 1, 1),
    "permuted": lambda rng: np.stack([(a := rng.standard_normal((3, 1, 1))), -a[[1, 0, 2]]], 1).reshape(6, 1, 1),
    "even gains": lambda rng: np.asarray(ops.project_equal_gains(rng.standard_normal((5, 1, 1)).astype("f4"), 2)),
}


@pytest.mark.parametrize("kind", KERNELS)
def test_conditions_say_which_inputs_keep_a_flat_variance(rng, kind):
    kernel = KERNELS[kind](rng).astype("float32")
    lags = np.abs(np.subtract.outer(np.arange(16), np.arange(16)))
    flat = [np.ptp(output_variances(kernel, 2, 0.9**lags * np.cos(w * lags))) for w in (0.0, 1.0, 2.0)]
    white = np.ptp(output_variances(kernel, 2, np.eye(16)))
    constant = np.ptp(output_variances(kernel, 2, np.ones((16, 16))))
    scale = 1e-4 * float((kernel**2).sum())  # float32 rounding of the kernel; generic differences are of order 1
    assert has_equal_phase_spectra(kernel, 2) == (max(flat) < scale)
    assert has_equal_energies(kernel, 2) == (white < scale)
    assert has_equal_gains(kernel, 2) <= (constant < scale)  # gains of opposite sign have equal squares
    assert (kind in ("tied", "reversed")) == has_equal_phase_spectra(kernel, 2)
    assert (kind in ("tied", "reversed", "permuted")) == has_equal_energies(kernel, 2)
    assert (kind in ("tied", "reversed", "even gains")) == has_equal_gains(kernel, 2)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_pair_of_channels_counts(rng, condition):
    kernel = np.array(ops.icnr_transpose(rng.standard_normal((4, 6, 2, 3)).astype("float32"), stride=(2, 3)))
    assert condition(kernel, (2, 3)) is True
    kernel[1, 2, 1, 2] *= 1.01
    assert condition(kernel, (2, 3)) is False


@pytest.mark.parametrize("condition", CONDITIONS)
def test_separable_kernels_need_every_axis(condition):
    good, bad = np.array([1, 3, 3, 1.0]), np.array([1, 2.0])
    cases = [((good, good), True), ((good, bad), False), ((good, good, good), True), ((bad, good, good), False)]
    for rows, expected in cases:
        kernel = functools.reduce(np.multiply.outer, (*rows, np.ones((1, 1)))).astype("float32")
        assert condition(kernel, 2) is expected


def test_phase_spectra_see_diagonal_lags():
    # One phase per pair of rows. The two differ in the sign of one lag only: (1, 1), or (1, -1).
    for second in (1, -1):
        kernel = np.zeros((4, 2, 1, 1), "float32")
        kernel[[0, 1], (1 - second) // 2] = 1
        kernel[[2, 3], (1 + second) // 2] = np.array([1, -1]).reshape(2, 1, 1)
        assert has_equal_energies(kernel, (2, 1))
        assert not has_equal_phase_spectra(kernel, (2, 1))


def test_rtol_is_relative_to_the_taps_not_to_what_is_left_of_them():
    nearly = taps(1, 1 + 1e-3)
    assert not has_equal_gains(nearly, 2)
    assert has_equal_gains(nearly, 2, rtol=1e-3)
    assert not has_equal_gains(nearly, 2, rtol=1e-4)
    assert has_equal_gains(taps(1e3, 1e3, -1e3, -1e3 + 1e-3), 2)  # gains 0 and 0.001, from taps of 1000
    assert has_equal_gains(1e-20 * taps(1, 1), 2)
    assert not has_equal_gains(1e-20 * taps(1, 2), 2)
    projected = ops.project_equal_gains(
        jnp.asarray(np.random.default_rng(0).standard_normal((5, 5, 3, 4)), "float32"), 3
    )
    assert has_equal_gains(projected, 3)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(kernel=np.full((2, 1, 1), np.nan, "f4"), stride=2), ValueError, "kernel must be finite; 2 of 2"),
        (dict(kernel=np.ones((2, 1), "f4"), stride=2), ValueError, r"kernel must be HIO, .*got shape \(2, 1\)"),
        (dict(kernel=np.ones((0, 1, 1), "f4"), stride=2), ValueError, "axis H of kernel is empty"),
        (dict(kernel=np.ones((2, 1, 1), "i4"), stride=2), TypeError, "kernel must have a floating dtype; got int32"),
        (dict(kernel=taps(1), stride=0), ValueError, "stride must be at least 1; got 0"),
        (dict(kernel=taps(1), stride=(2, 2)), ValueError, "stride must be an int, or one int"),
        (dict(kernel=taps(1), stride=2, dilation=0), ValueError, "dilation must be at least 1; got 0"),
        (dict(kernel=taps(1), stride=2, rtol=-1), ValueError, "rtol must be finite and at least 0; got -1"),
        (dict(kernel=taps(1), stride=2, rtol=math.nan), ValueError, "rtol must be finite"),
        (dict(kernel=taps(1), stride=2, rtol="1"), TypeError, "rtol must be a number; got '1'"),
    ],
)
def test_conditions_refuse_bad_input(condition, arguments, error, message):
    kernel, stride = arguments.pop("kernel"), arguments.pop("stride")
    try:
        with pytest.raises(error, match=f"{condition.__name__}: {message}"):
            condition(kernel, stride, **arguments)
    finally:
        arguments.update(kernel=kernel, stride=stride)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_need_values(condition):
    with pytest.raises(TypeError, match=f"{condition.__name__}: kernel must have values.*outside jit"):
        jax.jit(lambda kernel: condition(kernel, 2))(taps(1, 2))


@pytest.mark.parametrize("function", [phase_gains, phase_energies])
def test_phases_refuse_bad_input(function):
    with pytest.raises(ValueError, match=f"{function.__name__}: kernel must be HIO"):
        function(np.ones(3, "f4"), 2)
    with pytest.raises(TypeError, match=f"{function.__name__}: kernel must have a floating dtype"):
        function(np.ones((3, 1, 1), "i4"), 2)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        function(taps(1), 0)


@pytest.mark.parametrize(
    ("kernel", "stride", "error", "message"),
    [
        (0, 2, ValueError, "kernel must be at least 1; got 0"),
        ((3, 0), 2, ValueError, "kernel on axis W must be at least 1; got 0"),
        ((3, 3), (2, 2, 2), ValueError, "arguments disagree on the number of spatial axes"),
        (np.ones((3, 3), "f4"), 2, ValueError, "kernel must be HIO"),
        ("3", 2, TypeError, "kernel must be an array; got str"),
        ((3, 2.0), 2, TypeError, "kernel on axis W must be an int; got 2.0"),
    ],
)
def test_equal_counts_refuse_bad_input(kernel, stride, error, message):
    with pytest.raises(error, match=f"has_equal_counts: {message}"):
        has_equal_counts(kernel, stride)

"""Counts of paths: the published tables, a stamping loop, and the operators with kernels of ones."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkerjax import ops
from checkerjax.overlap import count, count_denominator, overlap_count, unevenness
from checkerjax.stacks import MaxPool, apply, init, interior, output_size, parse_stack, periods

WRONG: Any = 2.0
# Sums of up to some hundred products in float32, each rounded, relative to the largest count.
ROUNDING = 1e-5


def stamp(size, kernel_size, stride, padding, dilation, output_padding):
    """Float64 oracle along one axis: every input sample adds one to each output that a tap falls on."""
    span = dilation * (kernel_size - 1) + 1
    full = np.zeros(stride * (size - 1) + span + max(stride, span) + output_padding)
    for m, j in itertools.product(range(size), range(kernel_size)):
        full[stride * m + dilation * j] += 1
    if padding == "SAME":
        low, out = max(span - stride, 0) // 2, stride * size + output_padding
    elif padding == "VALID":
        low, out = 0, stride * (size - 1) + max(span, stride) + output_padding
    else:
        low, out = padding[0], stride * (size - 1) + span - sum(padding) + output_padding
    return full[low : low + out]


def rotations(values):
    return [list(values[i:]) + list(values[:i]) for i in range(len(values))]


def central(values, period):
    start = (len(values) - period) // 2
    return values[start : start + period].tolist()


PADDINGS = st.sampled_from(["SAME", "VALID", (0, 0), (1, 0), (0, 2), (2, 1)])


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 5), PADDINGS, st.integers(1, 4), st.integers(0, 2))
def test_overlap_count_is_what_stamping_counts(size, k, s, padding, d, extra):
    extra = min(extra, max(s, d) - 1)
    expected = stamp(size, k, s, padding, d, extra)
    arguments = dict(kernel_size=k, stride=s, dilation=d, output_padding=extra)
    pads = padding if isinstance(padding, str) else [padding]
    if expected.size == 0 or (
        not isinstance(padding, str) and s * (size - 1) + d * (k - 1) + 1 - sum(padding) + extra < 1
    ):
        with pytest.raises(ValueError, match="leaves no output"):
            overlap_count(size, padding=pads, **arguments)
        return
    counts = overlap_count(size, padding=pads, **arguments)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID", 1, ((1, 0), (0, 2))])
def test_overlap_count_is_a_transposed_convolution_of_ones(padding):
    arguments: Any = dict(stride=(2, 3), dilation=(1, 2), output_padding=(0, 1), padding=padding)
    expected = ops.conv_transpose(jnp.ones((1, 4, 3, 1)), jnp.ones((5, 2, 1, 1)), **arguments)
    np.testing.assert_array_equal(overlap_count((4, 3), kernel_size=(5, 2), **arguments), expected[0, ..., 0])


def test_counts_of_axes_multiply():
    rows = [overlap_count(4, kernel_size=k, stride=s) for k, s in [(3, 2), (4, 3), (5, 4)]]
    volume = overlap_count(4, kernel_size=(3, 4, 5), stride=(2, 3, 4))
    np.testing.assert_array_equal(volume, np.einsum("a,b,c->abc", *rows))
    np.testing.assert_array_equal(overlap_count((4, 4), kernel_size=3, stride=2), np.outer(rows[0], rows[0]))
    assert overlap_count(4, kernel_size=3, stride=(2, 2, 2)).shape == (8, 8, 8)


# One transposed convolution, by hand: phase counts, unevenness on one axis and on two, variation, |H(1/s)| / H(0).
KERNELS = [
    (3, 2, [2, 1], 2, 0.3333, 1 / 3),
    (5, 2, [3, 2], 1.5, 0.2, 1 / 5),
    (7, 2, [4, 3], 4 / 3, 0.1429, 1 / 7),
    (9, 2, [5, 4], 1.25, 0.1111, 1 / 9),
    (4, 3, [2, 1, 1], 2, 0.3536, 0.25),
    (5, 3, [2, 2, 1], 2, 0.2828, 0.2),
    (7, 3, [3, 2, 2], 1.5, 0.2020, 0.1429),
    (5, 4, [2, 1, 1, 1], 2, 0.3464, 0.2),
    (6, 4, [2, 2, 1, 1], 2, 0.3333, 0.2357),
    (7, 4, [2, 2, 2, 1], 2, 0.2474, 0.1429),
    (11, 4, [3, 3, 3, 2], 1.5, 0.1575, 0.0909),
    *((k, s, [k // s] * s, 1, 0, 0) for k, s in [(2, 2), (4, 2), (6, 2), (3, 3), (6, 3), (4, 4), (8, 4)]),
]


@pytest.mark.parametrize(("k", "s", "counts", "uneven", "variation", "line"), KERNELS)
def test_table_of_transposed_convolutions(k, s, counts, uneven, variation, line):
    full = overlap_count(16, kernel_size=k, stride=s, padding=0)
    first = s * (k // s)  # with no padding, phase 0 comes at multiples of s
    assert full[first : first + s].tolist() == counts
    assert math.isclose(unevenness(full, s), uneven)
    plane = overlap_count((16, 16), kernel_size=k, stride=s)
    assert math.isclose(unevenness(plane, s), uneven**2)
    assert math.isclose(np.std(counts) / np.mean(counts), variation, abs_tol=5e-5)  # the table has four decimals
    fold = plane[s * 4 : s * 8, s * 4 : s * 8]
    squared = (1 + (np.std(counts) / np.mean(counts)) ** 2) ** 2 - 1
    assert math.isclose(fold.var() / fold.mean() ** 2, squared, abs_tol=1e-12)
    response = np.abs(np.fft.fft(full[first : first + s]))
    assert math.isclose(response[1] / response[0], line, abs_tol=5e-5)


STACKS = [
    ([(3, 2), (3, 2)], 7, [3, 2, 3, 1], 3),
    ([(3, 2), (3, 2), (3, 1)], 9, [7, 6, 8, 6], 4 / 3),
    ([(3, 2), (3, 1)], 5, [5, 4], 5 / 4),
    ([(3, 2), (2, 1)], 4, [3, 3], 1),
    ([(3, 2), (4, 1)], 6, [6, 6], 1),
    ([(3, 2), (4, 2)], 8, [3, 3, 3, 3], 1),
    ([(4, 2), (3, 2)], 9, [4, 2, 4, 2], 2),
    ([(5, 2)] * 2, 13, [8, 5, 7, 5], 1.6),
    ([(5, 2)] * 3, 29, [20, 13, 18, 13, 20, 12, 17, 12], 20 / 12),
    ([(4, 2)] * 3, 22, [8] * 8, 1),
    ([(16, 8), (16, 8), (4, 2), (4, 2)], 550, [16] * 256, 1),
    ([(8, 4)] * 6, 9556, [64] * 4096, 1),
]


@pytest.mark.parametrize(("pairs", "effective", "sums", "uneven"), STACKS)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_table_of_stacks(pairs, effective, sums, uneven, padding):
    text = ", ".join(f"deconv k{k} s{s} {padding}" for k, s in pairs)
    _, (period,) = periods(text)
    assert period == len(sums)
    size = 8
    counts = count(text, size)
    if padding == "valid":  # one sample alone reaches the effective kernel; "valid" appends nothing where k >= s
        assert output_size(text, 1) == (effective,)
    ((start, stop),) = interior(text, size)
    assert start <= (len(counts) - period) // 2 <= stop - period
    assert central(counts, period) in rotations(sums)
    assert math.isclose(unevenness(counts, period), uneven)


def test_stacks_multiply_over_axes():
    line, plane = count("deconv k3 s2, deconv k3 s2", 6), count("deconv k3 s2, deconv k3 s2", (6, 6))
    np.testing.assert_array_equal(plane, np.outer(line, line))
    assert unevenness(plane, 4) == 9.0


@pytest.mark.parametrize(("s", "d"), [(2, 3), (3, 2), (4, 3), (5, 2), (6, 5)])
def test_coprime_dilations_permute_the_counts(s, d):
    k = s + 1
    plain = central(overlap_count(4 * k, kernel_size=k, stride=s), s)
    dilated = central(overlap_count(4 * k * d, kernel_size=k, stride=s, dilation=d), s)
    assert sorted(dilated) == sorted(plain)


def test_a_dilation_that_the_stride_divides_leaves_holes():
    counts = overlap_count(16, kernel_size=3, stride=2, dilation=4)
    assert sorted(central(counts, 2)) == [0, 3]
    assert unevenness(counts, 2) == math.inf


def test_even_counts_still_fall_off_at_the_border():
    assert overlap_count(5, kernel_size=4, stride=2).tolist() == [1, 2, 2, 2, 2, 2, 2, 2, 2, 1]


# Worked out by hand: largest over smallest number of windows that see a pixel, in two dimensions.
STEMS = [(7, 2, 16 / 9), (11, 4, 9 / 4), (5, 2, 9 / 4), (4, 2, 1), (3, 2, 4), (16, 16, 1), (3, 1, 1), (1, 2, math.inf)]


@pytest.mark.parametrize(("k", "s", "uneven"), STEMS)
def test_table_of_stems(k, s, uneven):
    counts = count(f"conv k{k} s{s}", (8 * s, 8 * s), backward=True)
    assert math.isclose(unevenness(counts, s), uneven) or unevenness(counts, s) == uneven
    if uneven == math.inf:  # 3 of 4 pixels get none
        assert (counts == 0).mean() == 0.75


LINEAR = [
    "conv k3 s2 pad_mode=reflect, deconv k3 s2",
    "deconv k4 s3 p1 op1 d2, conv k5 s2 g1",
    "subpixel k3 s2 icnr, resize k3 s2 linear",
    "upsample s3 linear corners, blur k3 s2",
    "upsample s2 lanczos3, conv k3",
    "hold s2 order=1, avgpool k3 s2 same",
    "deconv k3 s2, residual(conv k3, blur k3)",
    "parallel(blur k3 | conv k3 | upsample s2 linear, avgpool)",
    "parallel(blur k3 | conv k3) concat, deconv k3 s2",
    "residual(residual(conv k3), hold s3)",
    "resize k3 s2 nearest pad_mode=wrap, batchnorm std=3, bias",
]


def ones_network(text, ndim):
    """The stack with kernels of ones, one channel a layer, and what does not count taken out."""
    params = jax.tree.map(jnp.ones_like, init(jax.random.key(0), text, channels=1, ndim=ndim, width=1))
    stack = parse_stack(text)
    keep = [i for i, layer in enumerate(stack) if type(layer).__name__ not in ("BatchNorm", "Bias")]
    return functools.partial(apply, tuple(params[i] for i in keep), tuple(stack[i] for i in keep), precision="highest")


@pytest.mark.parametrize("text", LINEAR)
@pytest.mark.parametrize("size", [(9,), (6, 7)])
def test_counts_are_what_kernels_of_ones_give(text, size):
    size = tuple(2 * (n // 2) for n in size)
    run = ones_network(text, len(size))
    expected, pullback = jax.vjp(run, jnp.ones((1, *size, 1)))
    # Joined channels stay apart in the network, and are added in the count.
    denominator = count_denominator(text, size)
    scale = float(expected.max())
    np.testing.assert_allclose(count(text, size) / denominator, expected.sum((0, -1)), rtol=0, atol=ROUNDING * scale)
    (gradient,) = pullback(jnp.ones_like(expected))
    backward = count(text, size, backward=True) / denominator
    np.testing.assert_allclose(backward, gradient[0, ..., 0], rtol=0, atol=ROUNDING * float(gradient.max()))


def test_backward_counts_are_transposed():
    text, size = "conv k3 s2, deconv k5 s3, blur k3", 10
    matrix = np.stack([count_column(text, size, m) for m in range(size)], axis=1)
    np.testing.assert_array_equal(matrix.sum(axis=1), count(text, size))
    np.testing.assert_array_equal(matrix.sum(axis=0), count(text, size, backward=True))


def count_column(text, size, m):
    """Numerators of the paths from input m alone, by running the network on it."""
    run, unit = ones_network(text, 1), jnp.eye(size)[m].reshape(1, size, 1)
    return np.rint(np.asarray(run(unit)).ravel() * count_denominator(text, size)).astype(np.int64)


def test_dense_and_pointwise_layers():
    assert count("dense 3x2, relu", None).tolist() == [[1, 1], [1, 1], [1, 1]]
    assert count("tanh, dense 3, deconv k3 s2", ()).tolist() == [1, 1, 2, 1, 2, 1]
    assert count("dense 3x2", None, backward=True).shape == ()
    assert count("dense 3, deconv k3 s2", None, backward=True) == 8
    assert count("relu, leaky_relu, tanh, bias std=1, batchnorm", (2, 3)).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_branches_come_to_a_common_denominator():
    text = "parallel(blur k3 pad_mode=zeros | avgpool k3 s1 same | conv k1)"
    assert count_denominator(text, 5) == 12
    assert count(text, 5).tolist() == [9 + 8 + 12, 36, 36, 36, 29]
    assert count(f"residual({text})", 5).tolist() == [41, 48, 48, 48, 41]
    joined = count(text.replace(")", ") concat"), 5)
    np.testing.assert_array_equal(joined, count(text, 5))


def test_a_max_pool_has_the_largest_count_in_its_window():
    assert count("deconv k3 s2, maxpool k2 s2", 4).tolist() == [1, 2, 2, 2]
    assert count("deconv k3 s2, maxpool k3 s1 same", 3).tolist() == [1, 2, 2, 2, 2, 2]
    plane = count((parse_stack("deconv k3 s2")[0], MaxPool(2, 2)), (3, 3))
    np.testing.assert_array_equal(plane, np.outer([1, 2, 2], [1, 2, 2]))


def test_irrational_taps_give_floats():
    assert count("upsample cubic", 4).dtype == np.float64
    np.testing.assert_allclose(count("l2pool s4 valid", 32), 1.0, rtol=1e-12)  # the window sums to one
    assert count("l2pool s2 valid", 8).tolist() == [4, 4, 4]
    assert count("upsample linear, l2pool s3 valid", 8).dtype == np.int64


def test_sixty_two_doublings_fit_and_sixty_three_do_not():
    double = "residual(relu)"
    assert count(", ".join([double] * 62), 1).tolist() == [2**62]
    assert count(", ".join([double] * 62), 1, backward=True).tolist() == [2**62]
    with pytest.raises(ValueError, match=r"count: layer 63 .*9\.22e\+18 paths .* int64"):
        count(", ".join([double] * 63), 1)
    with pytest.raises(ValueError, match=r"count: layer 1 .*int64"):
        count(", ".join([double] * 63), 1, backward=True)
    # 3^39 fits; 3^40 does not, and neither do 3^39 in one axis times 3 in the other.
    wraps = ", ".join(["conv k3 pad_mode=wrap"] * 39)
    assert count(wraps, 4).tolist() == [3**39] * 4
    assert count(wraps, 4, backward=True).tolist() == [3**39] * 4
    for text, size in [(f"{wraps}, conv k3 pad_mode=wrap", 4), (f"{wraps.replace('k3', 'k3x1')}, conv k1x3", (4, 4))]:
        for backward in (False, True):
            with pytest.raises(ValueError, match=r"count: layer .* int64"):
                count(text, size, backward=backward)


@pytest.mark.parametrize(
    ("values", "period", "expected"),
    [
        ([9, 1, 2, 1, 2, 9], 2, 2.0),
        ([[1, 2], [4, 8]], 2, 8.0),
        ([[1, 2], [4, 8]], (1, 2), 2.0),
        ([9, 0, 2, 9], 2, math.inf),
        ([0.5, 0.25], 2, 2.0),
        (np.ones((4, 4, 4)), 3, 1.0),
    ],
)
def test_unevenness_is_that_of_the_central_period(values, period, expected):
    assert unevenness(np.asarray(values), period) == expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: overlap_count(4, kernel_size=0), ValueError, "overlap_count: kernel_size must be at least 1; got 0"),
        (lambda: overlap_count(0, kernel_size=3), ValueError, "size must be at least 1; got 0"),
        (lambda: overlap_count(4, kernel_size=3, stride=0), ValueError, "stride must be at least 1; got 0"),
        (lambda: overlap_count(4, kernel_size=3, stride=WRONG), TypeError, "stride must be an int; got 2.0"),
        (lambda: overlap_count((4, 4), kernel_size=(3, 3, 3)), ValueError, "disagree on the number of spatial axes"),
        (lambda: overlap_count((4,) * 4, kernel_size=3), ValueError, "1, 2 or 3 spatial axes; got 4"),
        (lambda: overlap_count(4, kernel_size=3, stride=2, output_padding=2), ValueError, "must be below"),
        (lambda: overlap_count(1, kernel_size=3, padding=2), ValueError, "padding on axis H leaves no output"),
        (lambda: overlap_count(4, kernel_size=3, padding="same?"), ValueError, "padding must be 'SAME', 'VALID'"),
        (lambda: count("deconv k3 s2, relo", 4), ValueError, "count: character 15: unknown layer 'relo'"),
        (lambda: count(WRONG, 4), TypeError, "count: stack must be a layer"),
        (lambda: count("conv k5 valid", 4), ValueError, r"count: layer 1 \(conv k5 valid\): axis H of x is 4"),
        (lambda: count("dense 4", 4), ValueError, "takes a latent, not a field of size"),
        (lambda: count("relu, maxpool", 4, backward=True), ValueError, "layer 2 .*no count backward"),
        (lambda: count("residual(conv k3 s2)", 4), ValueError, "must keep the size"),
        (lambda: count_denominator("conv k3", None), ValueError, "count_denominator: layer 1 .*needs a field"),
        (lambda: unevenness(np.ones(3), 4), ValueError, "axis H of values is 3, shorter than its period 4"),
        (lambda: unevenness(np.ones((3, 3)), (1, 4)), ValueError, "axis W of values is 3"),
        (lambda: unevenness(np.ones(3), 0), ValueError, "period must be at least 1"),
        (lambda: unevenness(np.ones(()), 1), ValueError, r"1, 2 or 3 axes; got shape \(\)"),
        (lambda: unevenness(np.array([1.0, np.nan]), 2), ValueError, "finite and at least 0"),
        (lambda: unevenness(np.array([1, -1]), 2), ValueError, "finite and at least 0"),
        (lambda: unevenness(np.zeros(4), 2), ValueError, "all zeros"),
        (lambda: unevenness(np.array(["a", "b"]), 2), TypeError, "values must be real numbers"),
        (lambda: unevenness(np.ones(4, complex), 2), TypeError, "values must be real numbers"),
    ],
)  # fmt: skip
def test_errors_say_what_and_where(call, error, message):
    with pytest.raises(error, match=message):
        call()

"""Reads, sizes, interiors and periods of stacks, against the operators that run them."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import ops
from checkerjax.stacks import apply, init, interior, output_size, parse_stack, periods
from checkerjax.stacks._reads import layer_steps, resolve_border

WRONG: Any = 2.5
MODES = ("zeros", "edge", "reflect", "symmetric", "wrap")
# Kernels of ones and rational taps in float32: sums of some ten terms below ten, each rounded once.
ROUNDING = 1e-5


def ones_like(params):
    return jax.tree.map(jnp.ones_like, params)


def operator(text, ndim):
    """A stack with one channel and all learned numbers 1, as a function of an array."""
    params = ones_like(init(jax.random.key(0), text, channels=1, ndim=ndim, width=1))
    return functools.partial(apply, params, text, precision="highest")


def reads_matrix(text, size):
    """The matrix that the reads of a one-layer stack multiply to, on one axis or as a Kronecker product of axes."""
    (layer,) = parse_stack(text)
    total = np.eye(int(np.prod(size)))
    for step in layer_steps("test", layer, size):
        kron, denominator = np.ones((1, 1)), 1
        for reads in step:
            kron, denominator = np.kron(kron, reads.matrix()), denominator * reads.denominator
        total = kron / denominator @ total
    return total


LAYERS = [
    *(f"conv k3 pad_mode={mode}" for mode in MODES),
    *(f"conv k3 s2 d2 p4:3 pad_mode={mode}" for mode in MODES),
    *(f"conv {kind}" for kind in ("k1 s2", "k2", "k5 s2 valid", "k4 s3 p2", "k6 s4")),
    *(f"deconv {kind}" for kind in ("k3 s2", "k4 s2 p1", "k2 s3", "k2 s3 valid", "k5 s3 p4:0")),
    "deconv k3 s2 p1 op1",
    "deconv k3 s3 d2 valid",
    "deconv k3 s2 d3",
    *(f"resize k3 s2 pad_mode={mode}" for mode in MODES),
    *(f"resize k4 s3 method={m} {c} p2:3 pad_mode=reflect"
      for m, c in [("nearest", "sample"), ("linear", "half_pixel"), ("cubic", "corners"), ("zeros", "sample")]),
    *(f"subpixel k{k} s{s} {p}" for k, s, p in [(3, 2, "same"), (2, 3, "valid"), (3, 2, "p2:0")]),
    *(f"upsample s{s} {m} {c}" for s, m, c in itertools.product(
        (1, 2, 3), ("nearest", "linear", "cubic", "lanczos3"), ("half_pixel", "sample", "corners"))),
    "upsample s3 zeros",
    "avgpool",
    "avgpool k3 s2 same",
    "blur",
    *(f"blur k{k} s{s} pad_mode={m}" for k, s, m in [(4, 2, "reflect"), (5, 3, "edge"), (2, 2, "zeros")]),
    "hold",
    *(f"hold s{s} order={d} pad_mode={m}" for s, d, m in [(2, 1, "zeros"), (4, 1, "wrap"), (3, 2, "edge")]),
]  # fmt: skip


@pytest.mark.parametrize("text", LAYERS)
def test_reads_are_the_matrix_of_the_operator(text):
    for size in (5, 6):
        expected = ops.as_matrix(lambda x: operator(text, 1)(x), (1, size, 1))
        np.testing.assert_allclose(reads_matrix(text, (size,)), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("mode", MODES)
def test_reads_resolve_a_field_of_one_sample(mode):
    text = f"conv k3 pad_mode={mode}"
    expected = ops.as_matrix(operator(text, 1), (1, 1, 1))
    np.testing.assert_allclose(reads_matrix(text, (1,)), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    "text",
    [
        "conv k3x2 s1x2 p2:0x1:1 d1x2 pad_mode=reflect",
        "deconv k3x4 s2x3 op1x0 p1:0x1:2",
        "resize k3x2 s2x3 linear",
        "subpixel k1x3 s3x2",
        "blur k3x4 s2x1",
        "hold s2x3 order=1",
        "avgpool k2x3 s2x1",
        "upsample s2x3 linear sample",
    ],
)
def test_axes_keep_their_own_sizes(text):
    expected = ops.as_matrix(operator(text, 2), (1, 4, 5, 1))
    np.testing.assert_allclose(reads_matrix(text, (4, 5)), expected, rtol=0, atol=ROUNDING)
    assert output_size(text, (4, 5)) == operator(text, 2)(jnp.ones((1, 4, 5, 1))).shape[1:-1]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_l2_pool_reads_its_window(stride):
    size = 4 * stride
    run = operator(f"l2pool s{stride}", 1)
    columns = [np.square(run(jnp.eye(size)[i].reshape(1, size, 1))).ravel() for i in range(size)]
    np.testing.assert_allclose(reads_matrix(f"l2pool s{stride}", (size,)), np.stack(columns, 1), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("border", ["edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_borders_extend_as_numpy_pads(border, size):
    expected = np.pad(np.arange(size), (7, 9), mode=border)
    np.testing.assert_array_equal(resolve_border(np.arange(-7, size + 9), size, border), expected)


def test_rational_taps_are_integers_and_irrational_ones_say_so():
    def reads(text, size=4):
        ((step,),) = layer_steps("test", parse_stack(text)[0], (size,))
        return step

    assert [reads(f"upsample s2 linear {c}").denominator for c in ("half_pixel", "sample", "corners")] == [4, 2, 7]
    assert (reads("blur k5").denominator, reads("hold s3 order=2").denominator) == (16, 27)
    assert [reads(f"l2pool s{s}", 8).denominator for s in (1, 2, 3)] == [1, 4, 12]
    for text in ("upsample cubic", "upsample lanczos3", "l2pool s4"):
        assert reads(text, 8).weights.dtype == np.float64
        assert reads(text, 8).denominator == 1
    # binomial taps of 70 are no longer integers over a power of two in float64
    assert reads("blur k70 pad_mode=zeros", 80).weights.dtype == np.float64


@pytest.mark.parametrize("text", [t for t in LAYERS if "corners" not in t and not t.startswith("resize")])
def test_a_margin_goes_on_as_the_layer_does(text):
    (layer,) = parse_stack(text)
    (m,), (p,) = periods(text)
    ((plain,),) = layer_steps("test", layer, (9,))
    ((wide,),) = layer_steps("test", layer, (9,), margin=7)
    assert wide.outputs == plain.outputs + 14
    np.testing.assert_array_equal(wide.positions[7:-7], plain.positions)
    used = wide.weights[p:] != 0
    np.testing.assert_allclose(wide.weights[p:], wide.weights[:-p], rtol=0, atol=1e-15)  # one rounding
    np.testing.assert_array_equal(wide.positions[p:][used], (wide.positions[:-p] + m)[used])


STACKS = [
    "conv k3",
    "conv k3 s2 valid",
    "conv k5 s3 d2",
    "deconv k3 s2, deconv k3 s2",
    "deconv k4 s3 p1, conv k3",
    "deconv k5 s2 valid",
    "conv k3 s2, deconv k4 s2, deconv k3 s3",
    "subpixel k3 s2, conv k2",
    "resize k3 s2 linear, conv k3 pad_mode=reflect",
    "resize k3 s3 nearest sample pad_mode=wrap",
    "upsample s2 cubic, blur k3 s2",
    "upsample s3 lanczos3",
    "hold s3 order=1, conv k3 s3",
    "avgpool k3 s2 same, conv k3",
    "deconv k4 s2, residual(conv k3, conv k3)",
    "parallel(conv k3 s2, deconv k3 s2 | blur k5), conv k1",
    "parallel(deconv k4 s2 | resize k7 s2) concat, conv k3 s2",
]


@pytest.mark.parametrize("text", STACKS)
def test_the_interior_is_what_a_larger_field_does_not_change(text):
    (m,), (p,) = periods(text)
    size, shift = 6 * m + 18 * (m == 1), 20 // m + 1
    params = init(jax.random.key(1), text, channels=2, ndim=1, width=2)
    large = np.random.default_rng(0).standard_normal((1, size + 2 * m * shift, 2)).astype("float32")
    small = large[:, m * shift : m * shift + size]
    run = functools.partial(apply, params, text, precision="highest")
    out, context = np.asarray(run(jnp.asarray(small))), np.asarray(run(jnp.asarray(large)))
    assert out.shape[1:-1] == output_size(text, size)
    context = context[:, p * shift : p * shift + out.shape[1]]
    same = (np.abs(out - context).max(axis=(0, 2)) < 1e-5 * np.abs(context).max()).tolist()
    runs = [[n for n, _ in run] for equal, run in itertools.groupby(enumerate(same), lambda item: item[1]) if equal]
    longest = max(runs, key=len)
    assert interior(text, size) == ((longest[0], longest[-1] + 1),)


def test_holes_between_stamps_are_not_padding():
    assert interior("deconv k1 s3", 4) == ((0, 12),)
    assert interior("deconv k2 s4 valid", 3) == ((0, 12),)


def test_interior_has_one_range_per_axis_and_starts_again_behind_a_dense_layer():
    assert interior("conv k3x5", (6, 9)) == ((1, 5), (2, 7))
    assert interior("relu, dense 4x6, batchnorm, deconv k4x3 s2x1", None) == ((1, 7), (1, 5))
    assert interior("deconv k4 s2, residual(conv k3)", 4) == ((2, 6),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relu", (1, 1)),
        ("conv k3 s2", (2, 1)),
        ("deconv k3 s2, deconv k3 s3", (1, 6)),
        ("deconv k4 s4, conv k3 s2", (1, 2)),
        ("deconv k4 s4, maxpool k3 s3", (3, 4)),
        ("deconv k4 s4, avgpool k6 s6", (3, 2)),
        ("conv k3 s2, subpixel k3 s2", (2, 2)),
        ("upsample s3, blur k3 s2, hold s5", (2, 3)),
        ("residual(conv k3 s2, deconv k4 s2)", (2, 2)),
        ("deconv k4 s3, residual(l2pool s2, upsample s2)", (2, 6)),
        ("parallel(conv k3 s2, deconv k4 s4 | upsample s2)", (2, 4)),
        ("conv k3 s7, tanh", (7, 1)),
        ("dense 4, deconv k4 s2", (1, 2)),
        ("upsample s1 corners, upsample zeros", (1, 2)),
    ],
)
def test_periods(text, expected):
    (m,), (p,) = periods(text)
    assert (m, p) == expected


def test_periods_differ_by_axis():
    assert periods("conv k3 s2x1, deconv k3 s1x3", 2) == ((2, 1), (1, 3))
    assert periods("deconv k3 s2", 3) == ((1, 1, 1), (2, 2, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: output_size("conv k3, residual(conv k3 s2)", 8), ValueError, r"layer 2 .*it gives \(4,\)"),
        (lambda: output_size("parallel(conv k3 | relu, conv k3 valid)", 8), ValueError, r"got \[\(8,\), \(6,\)\]"),
        (lambda: output_size("conv k5 valid", 4), ValueError, r"layer 1 \(conv k5 valid\): axis H of x is 4"),
        (lambda: output_size("conv k5x1 valid", (4, 4)), ValueError, "axis H of x is 4"),
        (lambda: output_size("conv k1x5 valid", (4, 4)), ValueError, "axis W of x is 4"),
        (lambda: output_size("residual(relu, dense 4)", 4), ValueError, r"layer 1 .*: layer 2 .*takes a latent"),
        (lambda: output_size("conv k3", None), ValueError, "needs a field, not a latent"),
        (lambda: output_size("deconv k3x3", 4), ValueError, "layer 1 .*kernel must be an int"),
        (lambda: output_size("relu", 0), ValueError, "output_size: size must be at least 1; got 0"),
        (lambda: output_size("relu", (4, 0)), ValueError, "size on axis W must be at least 1"),
        (lambda: output_size("relu", (1, 1, 1, 1)), ValueError, "1, 2 or 3 spatial axes; got 4"),
        (lambda: output_size("relu", WRONG), TypeError, "size must be an int; got 2.5"),
        (lambda: output_size(WRONG, 2), TypeError, "output_size: stack must be a layer"),
        (lambda: interior("conv k9", 6), ValueError, r"interior: no output on axis H .* size 6\. Take a larger input"),
        (lambda: interior("conv k1x9", (6, 6)), ValueError, "no output on axis W"),
        (lambda: periods("relu", 4), ValueError, "periods: ndim must be 1, 2 or 3; got 4"),
        (lambda: periods("upsample linear corners"), ValueError, "periods: layer 1 .*commutes with no shift"),
        (lambda: periods("parallel(conv k3 s2 | conv k3)"), ValueError, r"scale differently"),
        (lambda: periods("residual(conv k3 s2)"), ValueError, r"scale differently"),
        (lambda: periods("deconv k3 s2x2", 1), ValueError, "stride must be an int"),
    ],
)  # fmt: skip
def test_errors_name_the_layer_and_the_axis(call, error, message):
    with pytest.raises(error, match=message):
        call()

"""The conditions of whole stacks, against the matrices of the networks and averages over all signs of the weights."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import ops
from checkerjax.overlap import (
    StackConditions,
    stack_conditions,
)
from checkerjax.overlap._linear import linear_chain
from checkerjax.overlap._moments import one_draw
from checkerjax.stacks import apply, init_from_normals, normal_count, parse_stack, periods

Y, N = True, False
TABLE = {
    "deconv k3 s2": (N, N, N, N, N),
    "deconv k4 s2": (Y, N, Y, Y, N),
    "deconv k4 s2 icnr": (Y, Y, Y, Y, Y),
    "deconv k3 s2 d2": (N, N, N, N, N),
    "subpixel k3 s2": (Y, N, Y, Y, N),
    "subpixel k3 s2 icnr": (Y, Y, Y, Y, Y),
    "subpixel k3 s2 icnr, conv k3": (Y, Y, Y, Y, N),
    "resize k1 s2": (Y, Y, Y, Y, Y),
    "resize k3 s2": (Y, Y, Y, Y, N),
    "resize k5 s3": (Y, Y, Y, Y, N),
    "upsample": (Y, Y, Y, Y, Y),
    "upsample linear": (Y, Y, Y, Y, Y),
    "upsample s2 linear sample": (Y, Y, N, N, N),
    "upsample s3 linear": (Y, Y, N, N, N),
    "resize k3 s2 linear": (Y, Y, Y, Y, N),
    "resize k3 s3 linear": (Y, Y, Y, Y, N),
    "upsample zeros": (N, N, N, N, N),
    "upsample zeros, hold": (Y, Y, Y, Y, Y),
    "upsample zeros, hold order=1": (Y, Y, N, N, N),
    "deconv k3 s2, conv k2": (Y, N, Y, Y, N),
    "deconv k3 s2, deconv k4 s2": (Y, N, Y, Y, N),
    "deconv k4 s2, deconv k3 s2": (N, N, N, N, N),
    "deconv k2 s2, residual(blur k3)": (Y, N, Y, Y, N),
    "upsample s3 linear, residual(conv k3)": (Y, Y, N, N, N),
    "parallel(deconv k4 s2 | upsample linear)": (Y, N, Y, Y, N),
    "parallel(upsample zeros | upsample linear sample)": (N, N, N, N, N),
    "parallel(deconv k2 s2 | upsample) concat, conv k1": (Y, N, Y, Y, N),
    "conv k3 s2, residual(conv k3 s2, deconv k4 s2)": (Y, N, Y, Y, N),
    "conv k3": (Y, Y, Y, Y, Y),
}
# The kernel [1, 5, 7, 5] at stride 2, stamp by stamp: phases (1, 7) and (5, 5) have equal energies only.
STAMPS = " | ".join(f"upsample zeros, hold s1 p{j}:{3 - j}" for j, h in enumerate([1, 5, 7, 5]) for _ in range(h))
TABLE[f"parallel({STAMPS})"] = (N, N, Y, N, N)
BACKWARD = {
    "conv k3 s2": (N, N, N, N, N),
    "conv k4 s2": (Y, N, Y, Y, N),
    "conv k3 s2 pad_mode=reflect": (N, N, N, N, N),
    "blur k3 s2": (Y, Y, N, N, N),
    "blur k4 s2": (Y, Y, Y, Y, Y),
    "avgpool": (Y, Y, Y, Y, Y),
    "hold, conv k3 s2": (Y, Y, Y, Y, N),
    "hold, conv k2 s2": (Y, Y, Y, Y, N),
    "conv k2 s2, upsample linear": (Y, N, Y, Y, N),
    "residual(conv k3 s2, deconv k4 s2)": (N, N, N, N, N),
    "deconv k3 s2": (Y, Y, Y, Y, Y),
}


def oracle(text, backward):
    """The five answers from matrices that `apply` has: weights of all signs for means, random ones for every draw.

    The output is linear in each weight, so averages over signs are those over any independent weights of mean 0 and
    variance 1.
    """
    (m,), (p,) = periods(text)
    size, period = 16 * m, m if backward else p

    def matrices(normals, channels):
        def run(row):
            params = init_from_normals(row, text, channels=channels, ndim=1, width=channels)
            matrix = jax.vmap(lambda x: apply(params, text, x, precision="highest").ravel(), out_axes=1)
            return matrix(jnp.eye(size * channels).reshape(-1, 1, size, channels))

        out = np.asarray(jax.jit(jax.vmap(run))(normals.astype("float32")), np.float64)
        out = out.reshape(len(out), -1, channels, size, channels)
        if backward:
            out = out.transpose(0, 3, 4, 1, 2)
        start = (out.shape[1] - 2 * period) // 2
        return out[:, start : start + 2 * period]

    def flat(values):  # float32 rounding, against differences of order 1
        return bool((np.abs(values - values[:1]) <= 1e-4 * np.abs(values).max()).all())

    def variances(t, kernel):
        return np.einsum("dnomi,mk,dnoki->n", t, kernel, t) / len(t)

    count = normal_count(text, channels=1, ndim=1, width=1)
    signed = matrices(np.array(list(itertools.product([-1, 1], repeat=count))), 1)
    lags = np.abs(np.subtract.outer(np.arange(signed.shape[3]), np.arange(signed.shape[3])))
    energies = flat(variances(signed, lags == 0))
    mean_spectra = energies and all(flat(variances(signed, np.cos(w * lags))) for w in (0.0, 0.5, 1.3, 2.4))
    ones = matrices(np.ones((1, count)), 1)
    count = normal_count(text, channels=2, ndim=1, width=2)
    (draw,) = matrices(np.random.default_rng(5).standard_normal((1, count)), 2)
    waves = [flat((np.abs(np.einsum("nomi,m->noi", draw, np.exp(1j * w * np.arange(draw.shape[2]))))**2).sum(-1))
             for w in (0.4, 1.1, 2.3)]  # fmt: skip
    return flat(ones[0].sum((1, 2, 3))), flat(draw.sum(2)), energies, mean_spectra, all(waves)


@pytest.mark.parametrize(("text", "backward"), [*((t, False) for t in TABLE), *((t, True) for t in BACKWARD)])
def test_conditions_of_stacks(text, backward):
    expected = (BACKWARD if backward else TABLE)[text]
    assert tuple(stack_conditions(text, backward=backward)) == expected
    assert oracle(text, backward) == expected


ONE_SIDED = [
    "conv k3 s2",
    "conv k4 s3 d2 p4:2 pad_mode=reflect",
    "conv k5 pad_mode=edge",
    "deconv k5 s2",
    "deconv k2 s3 p2:0",
    "subpixel k3 s2",
    "upsample s3 lanczos3",
    "resize k3 s2 linear sample",
    "blur k4 s2, hold s3",
    "conv k3 s2, residual(blur k3), deconv k5 s2",
]


@pytest.mark.parametrize("text", ONE_SIDED)
@pytest.mark.parametrize("backward", [False, True])
def test_what_padding_touches_is_what_a_larger_field_changes(text, backward):
    (m,), (p,) = periods(text)
    size, shift = 12 * m, 8
    normals = jnp.asarray(np.random.default_rng(3).standard_normal(40), "float32")
    params = init_from_normals(normals, text, channels=1, ndim=1, width=1)

    def matrix(size):
        return np.asarray(ops.as_matrix(lambda x: apply(params, text, x, precision="highest"), (1, size, 1)))

    small, large = matrix(size), matrix(size + 2 * m * shift)
    inside = slice(p * shift, p * shift + len(small)), slice(m * shift, m * shift + size)
    part = np.zeros_like(large)
    part[inside] = small
    # float32 rounding; taps are of order 1
    same = (
        np.abs(part - large)[:, inside[1]].max(0) < 1e-5 if backward else np.abs(part - large)[inside[0]].max(1) < 1e-5
    )
    chain = linear_chain("", parse_stack(text), size, initialiser="lecun", backward=backward)
    out = one_draw(chain, np.ones((len(small) if backward else size, 1, 1)), np.random.default_rng(0))
    np.testing.assert_array_equal(~np.isnan(out[:, 0, 0]), same)


def test_deep_and_dense_stacks_are_decided_too():
    demucs, melgan = ", ".join(["deconv k8 s4"] * 6), "deconv k16 s8, deconv k16 s8, deconv k4 s2, deconv k4 s2"
    assert stack_conditions(demucs) == stack_conditions(melgan) == (True, False, True, True, False)
    assert stack_conditions("dense 4, batchnorm, relu, deconv k3 s2") == (False,) * 5
    assert stack_conditions("relu, dense 4") == (True,) * 5
    assert stack_conditions("tanh") == (True,) * 5


def test_conditions_hold_if_they_do_on_all_axes():
    assert stack_conditions("deconv k4x3 s2x1", ndim=2).counts is True
    assert stack_conditions("deconv k4x3 s2", ndim=2) == (False,) * 5
    uneven = stack_conditions("residual(conv k3x1), upsample s2x3 linear", ndim=2)
    assert uneven == (True, True, False, False, False)
    assert stack_conditions("deconv k1x1x2 s1x1x2", ndim=3, initialiser="icnr") == (True,) * 5
    assert stack_conditions("conv k4x3 s2x1 p1:2x0:1 pad_mode=edge", ndim=2, backward=True).energies is True


def test_pools_leave_only_the_counts():
    assert stack_conditions("deconv k3 s2, maxpool k2 s1 same") == StackConditions(True, None, None, None, None)
    assert stack_conditions("deconv k3 s2, residual(l2pool s1)") == StackConditions(False, None, None, None, None)
    assert stack_conditions("l2pool", backward=True) == StackConditions(True, None, None, None, None)


def test_the_initialiser_of_a_layer_wins():
    assert stack_conditions("subpixel k3 s2", initialiser="icnr").gains is True
    assert stack_conditions("subpixel k3 s2 init=lecun", initialiser="icnr").gains is False
    assert stack_conditions("conv k3, subpixel k3 s2", initialiser="normal(0.1)", draws=1, seed=7).gains is False


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stack_conditions("deconv k4 s2, maxpool", backward=True), ValueError, "layer 2 .*no count backward"),
        (lambda: stack_conditions("upsample corners"), ValueError, "layer 1 .*commutes with no shift"),
        (lambda: stack_conditions("deconv k3 s2 icnr"), ValueError, "layer 1 .*kernel size 3, stride 2"),
        (lambda: stack_conditions("residual(conv k3 valid)"), ValueError, "layer 1 .*must keep the size"),
        (lambda: stack_conditions("deconv k3 s999, deconv k3 s999"), ValueError, "two periods of 998001"),
        (lambda: stack_conditions("deconv k3", initialiser="xavier"), ValueError, "initialiser must be one of"),
        (lambda: stack_conditions("deconv k3", initialiser=None), TypeError, "initialiser must be a name"),  # type: ignore
        (lambda: stack_conditions("deconv k3", draws=0), ValueError, "draws must be at least 1"),
        (lambda: stack_conditions("deconv k3", seed=-1), ValueError, "seed must be at least 0"),
        (lambda: stack_conditions("deconv k3", ndim=0), ValueError, "ndim must be"),
        (lambda: stack_conditions("deconv k3x3"), ValueError, "layer 1 .*kernel is for 2 axes; expected ndim=1"),
        (lambda: stack_conditions(None), TypeError, "stack must be a layer"),  # type: ignore
    ],
)  # fmt: skip
def test_conditions_of_stacks_refuse_bad_input(call, error, message):
    with pytest.raises(error, match=f"stack_conditions: .*{message}"):
        call()


def test_branches_that_change_the_resolution_are_counted_on_the_whole_map():
    diagonal = "parallel(deconv k3 s2 p0:1x0:1 | deconv k3 s2 p1:0x1:0)"  # even on each axis, uneven together
    found = stack_conditions(diagonal, ndim=2)
    assert found == (False, None, None, None, None)
    assert stack_conditions("parallel(deconv k4 s2 | resize k3)", ndim=2).counts


def test_what_branches_balance_at_one_variance_only_does_not_count():
    # Phases (2, 1) and (1, 2): equal energies if both branches have one variance, and counts always.
    found = stack_conditions(
        "parallel(deconv k3 s2 p0:1 initialiser=normal(1) | deconv k3 s2 p1:0 initialiser=normal(5))"
    )
    assert found.counts
    assert not found.energies
    assert not found.mean_phase_spectra

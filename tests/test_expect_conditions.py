"""The numbers of the conditions, against explicit matrices, averages over all signs of the weights, known tables."""

import itertools
import json
import math
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax.expectations import _condition_numbers as numbers_
from checkerjax.expectations._conditions import conditions
from checkerjax.expectations._kernels import as_arrays
from checkerjax.expectations._linear_parts import adjoint, linear_parts
from checkerjax.expectations._variances import stack_weights
from checkerjax.overlap import stack_conditions
from checkerjax.stacks import apply, init_from_normals, normal_count, parse_stack, periods

INF = math.inf
HERE = pathlib.Path(__file__)
torus_matrix = runpy.run_path(str(HERE.with_name("torus_oracles.py")))["torus_matrix"]
stack_tables = runpy.run_path(str(HERE.with_name("test_stack_conditions.py")))


@pytest.fixture
def few_frequencies(monkeypatch):
    """Small fields, so that the oracle's matrices are small."""
    monkeypatch.setattr(numbers_, "FREQUENCIES", {1: 8, 2: 4, 3: 2})


def phases_of(values, period):
    """`[*n, ...]` with all positions of a phase in a row: `[phases, positions, ...]`."""
    ndim, rows = len(period), []
    for phase in itertools.product(*map(range, period)):
        own = values[tuple(slice(r, None, p) for r, p in zip(phase, period))]
        rows.append(own.reshape(-1, *values.shape[ndim:]))
    return np.stack(rows)


def line_squares(products, counts, period, scale):
    """Sums of |S|^2 on and off m = 0, of E[Y(f) Y(g)*] `[n, n]` for all pairs of frequencies."""
    size = tuple(b * p for b, p in zip(counts, period))
    places = np.indices(size).reshape(len(size), -1)
    base = np.asarray(np.ravel_multi_index(tuple(k % b for k, b in zip(places, counts)), counts))
    same = base[:, None] == base
    assert np.abs(products[~same]).max(initial=0) < 1e-5 * scale  # commutes with shifts, as it should
    squares = np.abs(products) ** 2
    own = np.trace(squares)
    return np.array([own, (squares * same).sum() - own])


def oracle(matrices, counts, inputs, period):
    """The five numbers of `[draws, *n, O, *size, C]`: ratios of what is summed over draws and channels."""
    ndim = len(period)
    size = tuple(b * m for b, m in zip(counts, inputs))
    flat = phases_of(np.moveaxis(matrices.sum(tuple(range(2 + ndim, 2 + 2 * ndim))), 0, -1), period)[:, 0]
    lines = np.abs(np.fft.fftn(flat.reshape(*period, -1), axes=range(ndim), norm="forward")) ** 2
    dc = lines[(0,) * ndim].sum()
    powers = phases_of((matrices**2).sum(0).reshape(*matrices.shape[1 : 1 + ndim], -1), period).sum((1, 2))
    waves = np.fft.fftn(matrices, axes=range(2 + ndim, 2 + 2 * ndim))
    squares = (np.abs(waves) ** 2).sum((0, 1 + ndim, 2 + 2 * ndim))  # [*n, *k]
    by_wave = phases_of(squares, period)[:, 0].reshape(len(powers), -1)
    by_wave = np.where(by_wave > 1e-10 * by_wave.max(), by_wave, 0)
    by_wave = by_wave[:, by_wave.any(0)]  # a wave that nothing is left of has no ratio
    with np.errstate(divide="ignore"):
        worst = (by_wave.max(0) / by_wave.min(0)).max()
    out = np.fft.fftn(np.moveaxis(waves, 0, -1), axes=range(ndim), norm="forward")  # [*f, O, *k, C, draws]
    out = out.reshape(math.prod(out.shape[:ndim]), out.shape[ndim], math.prod(size), *out.shape[-2:])
    return lines.sum() / dc - 1, powers.max() / powers.min(), worst, out


def degrees(out, counts, period, mean):
    """Degrees of cyclostationarity of all waves together, and of one at a time; averaged over draws first if `mean`."""
    n, outputs = out.shape[:2]
    ends, scale = np.zeros(4), (np.abs(out) ** 2).max() * out.shape[-1]
    if mean:
        per_wave = np.einsum("foksd,goksd->kfg", out, out.conj())
        for product in per_wave:
            ends[2:] += line_squares(product, counts, period, scale)
        ends[:2] += line_squares(per_wave.sum(0), counts, period, scale * len(per_wave))
    else:
        for o in range(outputs):
            own = out[:, o].reshape(n, -1)
            ends[:2] += line_squares(own @ own.conj().T, counts, period, scale * own.shape[1])
            for y in own.T:
                ends[2:] += line_squares(np.outer(y, y.conj()), counts, period, scale)
    return ends[1] / ends[0], ends[3] / ends[2]


GIVEN = [
    ("deconv k3 s2", 1, 2),
    ("conv k3 s2, deconv k4 s3", 1, 2),
    ("resize k3 s2 linear, conv k2", 1, 2),
    ("conv k2 s2, residual(conv k2 s2, deconv k3 s2)", 1, 1),
    ("deconv k3x2 s2x1", 2, 1),
]


@pytest.mark.parametrize(("text", "ndim", "channels"), GIVEN)
@pytest.mark.parametrize("backward", [False, True])
def test_numbers_of_given_weights(text, ndim, channels, backward, few_frequencies, rng):
    normals = rng.standard_normal(normal_count(text, channels=channels, ndim=ndim, width=2)).astype("float32")
    params = init_from_normals(jnp.asarray(normals), text, channels=channels, ndim=ndim, width=2)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    inputs, period = periods(text, ndim)
    chain, _ = linear_parts("", parse_stack(text), params, channels, ndim)
    counts = numbers_.torus_blocks(chain, inputs)
    matrix = torus_matrix(params, text, tuple(b * m for b, m in zip(counts, inputs)), channels)
    if backward:
        matrix = np.moveaxis(matrix, range(ndim + 1), range(-ndim - 1, 0))
        inputs, period = period, inputs
    *expected, out = oracle(matrix[None], counts, inputs, period)
    found = numbers_.given_numbers(chain, channels, periods(text, ndim), backward=backward)
    assert found is not None
    assert found.numbers == pytest.approx((*expected, *degrees(out, counts, period, mean=False)), rel=1e-9, abs=1e-12)
    pairs = [
        oracle(pair(matrix, o, i, ndim)[None], counts, inputs, period)
        for o, i in itertools.product(range(matrix.shape[ndim]), range(matrix.shape[-1]))
    ]
    assert found.pairs.energies == pytest.approx(max(own[1] for own in pairs))
    assert found.pairs.spectra == pytest.approx(max(own[2] for own in pairs))


def pair(matrix, o, i, ndim):
    """One output and one input channel of a matrix."""
    return matrix[(slice(None),) * ndim + (slice(o, o + 1), ..., slice(i, i + 1))]


RANDOM = [
    ("deconv k3 s2", 1),
    ("deconv k2 s2, deconv k3 s2", 1),
    ("deconv k4 s2 icnr, conv k2", 1),
    ("subpixel k2 s3", 1),
    ("subpixel k2 s2 icnr, blur k3", 1),
    ("conv k3 s2, upsample s3 linear", 1),
    ("upsample s2 linear sample, conv k3", 1),
    ("residual(blur k3, conv k2), deconv k3 s2", 1),
    ("parallel(deconv k2 s2 | upsample linear | upsample zeros)", 1),
    ("parallel(deconv k3 s2 | upsample) concat, conv k2", 1),
    ("conv k2 s2, residual(conv k2 s2, deconv k2 s2)", 1),
    ("parallel(deconv k2 s2 c2 | upsample linear sample) concat, conv k1 c1", 1),
    ("parallel(conv k3 s2 c2 | avgpool k1) concat, conv k1 c1", 1),
    ("residual(blur k3 s2, upsample linear, residual(conv k2))", 1),
    ("parallel(resize k1x2 s2 | deconv k2x1 s2)", 2),
    ("residual(conv k2x1), deconv k1x3 s1x2", 2),
]


@pytest.mark.parametrize(("text", "ndim"), RANDOM)
@pytest.mark.parametrize("backward", [False, True])
def test_numbers_in_the_mean_over_random_weights(text, ndim, backward, few_frequencies):
    """Weights of all signs have the mean of any independent ones: the output is linear in each weight."""
    inputs, period = periods(text, ndim)
    entries = stack_weights("", parse_stack(text), channels=1, ndim=ndim, width=1)
    chain, _ = linear_parts("", parse_stack(text), entries, 1, ndim)
    directed = (adjoint(chain), (period, inputs)) if backward else (chain, (inputs, period))
    counts = numbers_.torus_blocks(directed[0], directed[1][0])
    size = tuple(b * m for b, m in zip(counts, inputs))
    count = normal_count(text, channels=1, ndim=ndim, width=1)
    signs = jnp.asarray(list(itertools.product([-1.0, 1.0], repeat=count)), "float32")
    units = jnp.tile(jnp.eye(math.prod(size)).reshape(-1, *size, 1), (1, *(3,) * ndim, 1))

    def run(normals):
        params = init_from_normals(normals, text, channels=1, ndim=ndim, width=1)
        return apply(params, text, units, precision="highest")

    out = np.asarray(jax.jit(lambda rows: jax.lax.map(run, rows))(signs), np.float64)
    cuts = [slice(n * b // a, 2 * (n * b // a)) for n, a, b in zip(size, inputs, period)]
    middle = np.moveaxis(out[(slice(None), slice(None), *cuts)], 1, -1)
    matrices = middle.reshape(*middle.shape[:-1], *size, 1)  # [draws, *n, O, *size, C]
    if backward:
        matrices = np.moveaxis(matrices, range(1, ndim + 2), range(-ndim - 1, 0))
    inputs, period = directed[1]
    *expected, waves = oracle(matrices, counts, inputs, period)
    expected += degrees(waves, counts, period, mean=True)
    found = numbers_.mean_numbers(*directed)
    assert found is not None
    for value, known in zip(found, expected):  # float32, and in place of zero what is left of it
        assert value == pytest.approx(known, rel=2e-4, abs=1e-6) or (value == known == INF)


@pytest.mark.parametrize(
    ("text", "backward"),
    [*((text, False) for text in stack_tables["TABLE"]), *((text, True) for text in stack_tables["BACKWARD"])],
)
def test_numbers_say_what_is_decided(text, backward):
    """`stack_conditions` decides along other ways, in space; a number is even if and only if its condition holds."""
    decided = stack_conditions(text, backward=backward)
    found = conditions(text, ndim=1, backward=backward, channels=2, width=2)
    counts, gains, energies, spectra, _ = found.rows
    assert (counts.number == pytest.approx(1)) == decided.counts == counts.holds
    assert (gains.number == 0) == decided.gains == gains.holds
    assert gains.draw is not None
    assert (gains.draw < 1e-12) == decided.gains
    assert (energies.number == pytest.approx(1)) == decided.energies == energies.in_mean
    assert (spectra.number == pytest.approx(1)) == decided.mean_phase_spectra == spectra.in_mean
    assert (spectra.draw == pytest.approx(1)) == decided.phase_spectra == spectra.holds
    if energies.holds:
        assert energies.in_mean
    stationary = found["4"]
    shift = periods(text)[0 if backward else 1]
    assert stationary.holds == (shift == (1,))
    assert (stationary.draw == 0) == stationary.holds


def taps(*values):
    return np.array(values, np.float64).reshape(-1, 1, 1)


KERNELS = [  # holds for 1, 2, 3, 3b, 4, then the numbers; the last ones are integrals of cosines, by hand
    ((1, 1, 1, -1), 2, (1, 0, 1, 0, 0), (1, 1, 1, INF, 0.6)),
    ((1, 2, 1), 2, (0, 1, 0, 0, 0), (2, 0, 2, INF, 3 / 35)),
    ((1, 1), 2, (1, 1, 1, 1, 0), (1, 0, 1, 1, 1 / 3)),
    ((1,), 2, (0, 0, 0, 0, 0), (INF, 1, INF, INF, 1)),
    ((1, 3, 3, 1), 2, (1, 1, 1, 1, 0), None),
    ((1, 2, 3, 2, 1), 3, (0, 1, 0, 0, 0), (2, 0, 9 / 5, 9, None)),
    ((1, 2, 4), 1, (1, 1, 1, 1, 1), (1, 0, 1, 1, 0)),
    ((0, 0, 0), 2, (0, 1, 1, 1, 1), (2, 0, 1, 1, 0)),
]


@pytest.mark.parametrize(("kernel", "stride", "holds", "expected"), KERNELS)
def test_kernels_known_by_hand(kernel, stride, holds, expected):
    found = conditions(taps(*kernel), stride=stride)
    assert tuple(row.holds for row in found.rows) == tuple(map(bool, holds))
    for row, value in zip(found.rows, expected or ()):
        if value is not None:
            assert row.number == pytest.approx(value), row.key
            assert row.key in "12" or row.pair == pytest.approx(value)
    assert found.given
    assert all(row.in_mean is None and row.draw is None for row in found.rows)


def test_the_spread_of_the_worst_channel_pair():
    kernel = np.zeros((2, 2, 1))
    kernel[:, 0, 0], kernel[:, 1, 0] = (1, 3), (5, 5)
    row = conditions(kernel, stride=2)["2"]
    assert row.pair == pytest.approx(2 / 2)
    assert row.number == pytest.approx(1 / (2**2 + 5**2))
    assert conditions(taps(1, -1), stride=2)["2"].pair == INF


def test_no_finite_kernel_gives_a_stationary_output(rng):
    for size, stride in [((2,), 2), ((9,), 3), ((3, 4), 2), ((2, 2, 2), 2)]:
        found = conditions(rng.standard_normal((*size, 1, 1)), stride=stride)["4"]
        assert found.holds is False
        assert found.number is not None
        assert found.number > 1e-6
    # The longer a low-pass is, the nearer it comes, without getting there.
    sinc = [np.sinc(np.arange(-n, n + 1) / 2) * np.hanning(2 * n + 3)[1:-1] for n in (2, 8, 32)]
    found = [conditions(taps(*row), stride=2)["4"] for row in sinc]
    falling = [row.number or 0.0 for row in found]
    assert falling[0] > falling[1] > falling[2] > 0
    assert not any(row.holds for row in found)


FACTS = {  # counts, gains, energies in the mean, then the ratios of counts and of mean energies on two axes
    "deconv k3 s2": (False, False, False, 4, 4),
    "deconv k5 s3": (False, False, False, 4, 4),
    "deconv k4 s2": (True, False, True, 1, 1),
    "subpixel k3 s2": (True, False, True, 1, 1),
    "subpixel k3 s2 icnr": (True, True, True, 1, 1),
    "resize k3 s2": (True, True, True, 1, 1),
    "resize k3 s2 linear": (True, True, True, 1, 1),
    "upsample s2 linear sample": (True, True, False, 1, 4),
    "upsample s3 linear": (True, True, False, 1, 1.8**2),
}


@pytest.mark.parametrize("text", FACTS)
def test_the_table_of_layers(text):
    counts, gains, energies, uneven, ratio = FACTS[text]
    found = conditions(text, ndim=2, draws=1)
    assert (found["1"].holds, found["2"].holds, found["3"].in_mean, found["4"].holds) == (
        counts,
        gains,
        energies,
        False,
    )
    assert found["1"].number == pytest.approx(uneven)
    assert found["3"].number == pytest.approx(ratio)
    scale = 3 if "s3" in text else 2
    assert found["2"].number == pytest.approx(0 if gains else scale**2 - 1)  # each line has the mean power of DC


def test_axes_multiply_as_the_whole_does():
    """A chain is decided axis by axis; behind a residual of nothing it is decided whole."""
    for text in ("deconv k3x4 s2x3", "upsample s2x1 linear sample, conv k3 s2x1"):
        alone, whole = conditions(text, draws=1), conditions(f"residual(upsample s1), {text}", draws=1)
        for one, other in zip(alone.rows, whole.rows):
            assert one.number == pytest.approx(other.number, abs=1e-12), one.key


def test_weights_that_are_given(rng):
    kernel = rng.standard_normal((4, 2, 3)).astype("float32")
    as_kernel = conditions(kernel, stride=2)
    as_stack = conditions("deconv k4 s2 same, relu", params=({"kernel": kernel}, {}), ndim=1)
    for one, other in zip(as_kernel.rows, as_stack.rows):
        assert one == pytest.approx(other) or one[4:6] == pytest.approx(other[4:6])
        assert one.holds == other.holds
    backward = conditions("conv k4 s2", params=({"kernel": kernel.swapaxes(-1, -2)},), ndim=1, backward=True)
    for one, other in zip(as_kernel.rows, backward.rows):
        assert one[4:6] == pytest.approx(other[4:6])
    resized = conditions("resize k4 s2", params=({"kernel": kernel},), ndim=1)
    assert [row.holds for row in resized.rows] == [True, True, False, False, False]
    nudged = kernel + np.float32(1e-4) * (np.arange(4)[:, None, None] % 2 == 0)
    assert not conditions("deconv k4 s2", params=({"kernel": nudged},), ndim=1)["2"].holds
    ones = np.ones((4, 1, 1), "float32")
    ones[0] += np.float32(1e-6)
    close = conditions("deconv k4 s2", params=({"kernel": ones},), ndim=1)
    assert [row.holds for row in close.rows] == [True, True, True, True, False]
    assert not conditions("deconv k4 s2", params=({"kernel": ones},), ndim=1, rtol=1e-8)["2"].holds


def test_what_follows_a_dense_layer_and_what_has_no_linear_part():
    behind = conditions("dense 4x4 c6, relu, deconv k3 s2", draws=1)
    assert [row.number for row in behind.rows] == pytest.approx([r.number for r in conditions("deconv k3 s2").rows])
    assert all(row.holds for row in conditions("dense 4x4, relu").rows)
    pool = conditions("deconv k3 s2, maxpool k2 s1 same")
    assert [row.holds for row in pool.rows] == [True, None, None, None, None]
    assert [row.number for row in pool.rows] == [1, None, None, None, None]
    assert "pool" in pool.notes[0]
    # Branches that change the resolution are not decided along axes, but their numbers are there.
    whole = conditions("parallel(deconv k3 s2 p0:1x0:1 | deconv k3 s2 p1:0x1:0)", draws=1)
    assert [row.holds for row in whole.rows] == [False, False, False, False, False]
    demucs = conditions(", ".join(["deconv k8 s4"] * 6), ndim=1, width=2, draws=1)
    assert demucs["1"].number == 1
    assert demucs["3"].in_mean
    assert demucs["4"].holds is False
    assert demucs["4"].number is None
    assert "too large" in demucs.notes[0]


def test_the_table_is_narrow_and_the_dictionary_plain():
    for found in (
        conditions(taps(1, 2, 1), stride=2),
        conditions("deconv k4 s2, relu, deconv k5 s2", draws=1),
        conditions(", ".join(["deconv k4 s2, batchnorm, relu"] * 5), ndim=1, draws=1),
    ):
        text = str(found)
        assert max(map(len, text.splitlines())) <= 100
        for row in found.rows:
            assert f"\n{row.key:<3}{row.name}" in text
        plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert [row["key"] for row in plain["conditions"]] == ["1", "2", "3", "3b", "4"]
    assert conditions(taps(1, 2, 1), stride=2).to_dict()["conditions"][3]["number"] == "inf"
    with pytest.raises(KeyError, match="there are the conditions 1, 2, 3, 3b, 4; got '5'"):
        found["5"]


@pytest.mark.parametrize("text", ["deconv k400 s2", "deconv k100 s50"])
def test_many_taps_at_many_lines_are_too_large(text):
    """Before any of the memory is taken, or the time."""
    found = conditions(text)
    assert "too large" in found.notes[0]
    assert [found[key].holds for key in ("1", "2", "4")] == [True, False, False]
    assert all(row.draw is None for row in found.rows)


def test_tables_of_branches_are_counted():
    entries = init_from_normals(jnp.ones(normal_count(TABLES, channels=2, ndim=1)), TABLES, channels=2, ndim=1)
    chain, _ = linear_parts("", parse_stack(TABLES), as_arrays(entries), 2, 1)
    # Lines, taps, inputs, outputs: at stride 2 two, then twice that.
    assert numbers_._tables(chain, 1) == (4 * 5, 2 * 4 * 2 * 3 + 2 * 2 * 3 * 3 + 2 * 3 * 3 * 3 + 4 * 5 * 3 * 3)


TABLES = "deconv k4 s2 c3, parallel(conv k2 c3 | conv k3 c3), deconv k5 s2 c3"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: conditions(np.ones((4, 1, 1), complex), stride=2), TypeError, "kernel must be real; got complex"),
        (
            lambda: conditions("conv k1", params=({"kernel": np.ones((1, 1, 1), complex)},), ndim=1),
            TypeError,
            "params must be real; got complex",
        ),
        (lambda: conditions(taps(1, 2)), ValueError, "a kernel needs stride"),
        (lambda: conditions(taps(1, 2), stride=2, backward=True), ValueError, "neither params nor backward"),
        (lambda: conditions("deconv k3", stride=2), ValueError, "stride and dilation are for a kernel"),
        (lambda: conditions(taps(1, np.nan), stride=2), ValueError, "kernel must be finite"),
        (lambda: conditions(np.ones(3), stride=2), ValueError, "kernel must be HIO"),
        (lambda: conditions(np.ones((3, 1, 1), int), stride=2), TypeError, "floating dtype"),
        (lambda: jax.jit(lambda k: conditions(k, stride=2)["1"].number)(jnp.ones((3, 1, 1))), TypeError, "traced"),
        (lambda: conditions(None), TypeError, "stack must be a layer"),  # type: ignore
        (lambda: conditions("deconv k3", ndim=4), ValueError, "ndim must be"),
        (lambda: conditions("deconv k3", draws=0), ValueError, "draws must be at least 1"),
        (lambda: conditions("deconv k3", params=({},), ndim=1), ValueError, "params must have a kernel"),
        (lambda: conditions("maxpool", params=({},), ndim=1), ValueError, r"layer 1 \(maxpool.*not linear"),
        (
            lambda: conditions("conv k1", params=({"kernel": np.full((1, 1, 1), np.inf)},), ndim=1),
            ValueError,
            "params must be finite",
        ),
        (
            lambda: conditions("upsample, residual(parallel(blur | blur) concat, conv k1), parallel(parallel(blur|blur)"
                               " concat | parallel(blur|blur) concat)"),
            ValueError,
            "joins channels that no learned layer met",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=f"conditions: .*{message}"):
        call()


def test_counts_that_change_sign_have_no_ratio():
    found = conditions("upsample s3 zeros, upsample lanczos3", ndim=1)
    assert found["1"].number is None
    assert found["2"].number is not None

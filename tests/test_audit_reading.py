"""How an audit reads a program: moves, reads along an axis, steps joined, paths composed; each against NumPy."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from checkerjax.audits import _moves as moves
from checkerjax.audits._axes import BORDERS, read_pattern, reads_of_matrix, window_reads
from checkerjax.audits._composed import compose_all
from checkerjax.audits._fuse import compose
from checkerjax.audits._reading import read
from checkerjax.audits._trace import trace_nodes, traced_rows

NUMBERS = ("NHC", "HIO", "NHC")


def read_of(fn, *args):
    """A reading of a function whose last argument carries data."""
    leaves = jax.tree.leaves(args)
    return read(jax.make_jaxpr(fn)(*args), leaves, [len(leaves) - 1], ["channel_last"])


# Moves: the elements that they name, looked up in the source.


def looked_up(move, source):
    out = source[tuple(np.broadcast_to(c, move.shape) for c in move.coords)]
    for factor in move.factors:
        out = out * factor
    return out


SOURCE = np.arange(1.0, 2 * 3 * 4 + 1).reshape(2, 3, 4)
MOVES = {
    "transposed": (lambda m: moves.transpose(m, (2, 0, 1)), lambda a: a.transpose(2, 0, 1)),
    "flattened": (lambda m: moves.reshape(m, (24,)), lambda a: a.reshape(24)),
    "regrouped": (lambda m: moves.reshape(m, (2, 6, 2)), lambda a: a.reshape(2, 6, 2)),
    "reversed": (lambda m: moves.rev(m, (0, 2)), lambda a: a[::-1, :, ::-1]),
    "cut": (lambda m: moves.cut(m, (0, 1, 0), (2, 3, 4), (1, 1, 3)), lambda a: a[:, 1:3, ::3]),
    "broadcast": (
        lambda m: moves.broadcast(m, (2, 5, 3, 4), (0, 2, 3)),
        lambda a: np.broadcast_to(a[:, None], (2, 5, 3, 4)),
    ),
    "padded": (
        lambda m: moves.pad(m, [(0, 0, 0), (2, 1, 0), (0, 0, 0)]),
        lambda a: np.pad(a, [(0, 0), (2, 1), (0, 0)]),
    ),
    "cropped by padding": (lambda m: moves.pad(m, [(0, 0, 0), (-1, 0, 0), (0, -2, 0)]), lambda a: a[:, 1:, :-2]),
    "stuffed": (
        lambda m: moves.pad(m, [(0, 0, 0), (0, 0, 0), (1, 0, 2)]),
        lambda a: np.stack([np.zeros_like(a)] * 2 + [a], -1).reshape(2, 3, 12)[..., 1:],
    ),
    "scaled": (lambda m: m.times(np.array([2.0, 0.0, -1.0, 1.0])), lambda a: a * [2.0, 0.0, -1.0, 1.0]),
    "masked along two axes": (
        lambda m: m.times(np.outer([1.0, 0.0, 2.0], [1.0, 3.0, 0.0, 1.0])),
        lambda a: a * np.outer([1.0, 0.0, 2.0], [1.0, 3.0, 0.0, 1.0]),
    ),
    "joined with zeros": (
        lambda m: moves.join([m, 2, moves.rev(m, (1,))], 1, 3),
        lambda a: np.concatenate([a, np.zeros((2, 2, 4)), a[:, ::-1]], 1),
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_names_the_elements_that_numpy_moves(name):
    moved, expected = MOVES[name]
    np.testing.assert_array_equal(looked_up(moved(moves.identity(SOURCE.shape)), SOURCE), expected(SOURCE))


@pytest.mark.parametrize("seed", range(30))
def test_moves_after_moves_are_those_of_numpy(seed):
    """A transpose, a reversal, a pad and a cut in turn keep three axes, so they can follow in any order."""
    rng = np.random.default_rng(seed)
    names = ["transposed", "reversed", "padded", "scaled"]
    move, array = moves.identity(SOURCE.shape), SOURCE
    for name in rng.permutation(names):
        if name == "scaled":
            factor = rng.integers(-1, 3, array.shape[-1]).astype(float)
            move, array = move.times(factor), array * factor
        else:
            moved, expected = MOVES[name]
            move, array = moved(move), expected(array)
    shape = (array.shape[0] * array.shape[1], array.shape[2])
    np.testing.assert_array_equal(looked_up(moves.reshape(move, shape), SOURCE), array.reshape(shape))


def test_a_move_is_the_identity_only_where_nothing_moved():
    whole = moves.identity((2, 3, 1))
    assert whole.is_identity()
    assert moves.rev(moves.rev(whole, (1,)), (1,)).is_identity()
    for other in (moves.rev(whole, (1,)), whole.times(np.full((1, 1, 1), 2.0)), moves.reshape(whole, (3, 2, 1))):  # pyright: ignore[reportArgumentType]
        assert not other.is_identity()


def test_a_mask_is_told_apart_by_axis_where_it_is_a_product():
    rows, columns = np.array([1.0, 0.0, 2.0]), np.array([3.0, 1.0])
    parts = moves.separated(np.outer(rows, columns))
    assert sorted(p.shape for p in parts) == [(1, 2), (3, 1)]
    np.testing.assert_allclose(parts[0] * parts[1], np.outer(rows, columns))
    assert len(moves.separated(np.eye(3))) == 1


# Reads along one axis.


def window_matrix(size, outputs, kernel, stride, low, dilation, stuffing):
    """Ones where a tap of an output falls on a sample, by a loop over a field that holds its zeros."""
    held = {m * stuffing: m for m in range(size)}
    out = np.zeros((outputs, size))
    for n in range(outputs):
        for t in range(kernel):
            m = held.get(n * stride + t * dilation - low)
            if m is not None:
                out[n, m] += 1
    return out


def pattern_matrix(reads, turns):
    """`matrix` as the pattern has it, for the outputs that stay inside the field."""
    out, inside = np.zeros((reads.outputs, reads.size)), np.ones(reads.outputs, bool)
    for n in range(reads.outputs):
        turn, phase = divmod(n, reads.up)
        for m, w in zip(reads.pattern_positions[phase] + reads.down * turn, reads.pattern_weights[phase]):
            if w and 0 <= m < reads.size:
                out[n, m] += w
            elif w:
                inside[n] = False
    assert inside.sum() >= turns * reads.up
    return out, inside


def check_pattern(reads, turns=1):
    expected, inside = pattern_matrix(reads, turns)
    np.testing.assert_array_equal(inside, ~reads.outside)
    np.testing.assert_allclose(reads.matrix()[inside], expected[inside], atol=1e-12)


WINDOWS = [
    (3, 1, 1, 1, 1),
    (3, 2, 1, 1, 1),
    (4, 1, 2, 1, 2),
    (3, 1, 2, 2, 3),
    (5, 2, 2, 3, 3),
    (2, 3, 0, 1, 1),
    (3, 2, -1, 1, 1),
]


@pytest.mark.parametrize(("kernel", "stride", "low", "dilation", "stuffing"), WINDOWS)
def test_a_window_reads_what_a_loop_over_its_taps_reads(kernel, stride, low, dilation, stuffing):
    reads = window_reads(12, 11, kernel, stride, low, dilation=dilation, stuffing=stuffing)
    np.testing.assert_array_equal(reads.matrix(), window_matrix(12, 11, kernel, stride, low, dilation, stuffing))
    assert reads.up * stride == reads.down * stuffing
    expected, inside = pattern_matrix(reads, 1)
    np.testing.assert_array_equal(reads.matrix()[inside], expected[inside])
    assert not (reads.outside & inside).any()


PICKS = {
    "repeated three times": (np.arange(24) // 3, 3, 1),
    "three for two": (np.arange(24) * 2 // 3, 3, 2),
    "every second": (np.arange(12) * 2 + 1, 1, 2),
    "reversed": (np.arange(24)[::-1], 1, -1),
}


@pytest.mark.parametrize("name", PICKS)
def test_the_pattern_of_picked_samples_is_found(name):
    picked, up, down = PICKS[name]
    reads = read_pattern(24, picked[:, None], np.ones((len(picked), 1)))
    assert reads is not None
    assert (reads.up, reads.down) == (up, down)
    check_pattern(reads)


@pytest.mark.parametrize(("border", "mode"), [(b, {"zeros": "constant"}.get(b, b)) for b in ("zeros", *BORDERS)])
def test_borders_are_told_by_what_stands_there(border, mode):
    picked = np.pad(np.arange(1, 13), (2, 3), mode=mode) - 1  # -1 is a zero
    weights = (picked >= 0).astype(float)
    reads = read_pattern(12, np.maximum(picked, 0)[:, None], weights[:, None])
    assert reads is not None
    assert (reads.up, reads.down, reads.border) == (1, 1, border)
    np.testing.assert_array_equal(np.flatnonzero(reads.outside), [0, 1, 14, 15, 16])


def test_samples_without_a_pattern_are_refused():
    picked = np.arange(300)
    picked[120] = 3  # one sample in the middle from elsewhere
    assert read_pattern(300, picked[:, None], np.ones((300, 1))) is None
    shuffled = np.random.default_rng(0).permutation(24)
    assert read_pattern(24, shuffled[:, None], np.ones((24, 1))) is None
    assert read_pattern(24, np.zeros((24, 1), np.int64), np.zeros((24, 1))) is None


@pytest.mark.parametrize("method", ["linear", "cubic"])
@pytest.mark.parametrize(
    ("size", "outputs", "up", "down"), [(12, 24, 2, 1), (12, 18, 3, 2), (12, 6, 1, 2), (7, 11, 11, 7), (5, 15, 3, 1)]
)
def test_the_reads_of_a_resize_are_its_matrix(method, size, outputs, up, down):
    matrix = np.asarray(jax.image.resize(jnp.eye(size), (outputs, size), method), np.float64)
    reads = reads_of_matrix(matrix)
    assert reads is not None
    np.testing.assert_allclose(reads.matrix(), matrix, atol=1e-6)
    assert (reads.up, reads.down) == (up, down)
    if up == outputs:  # all of the axis is one period: no border is told apart
        assert not reads.outside.any()


def test_a_matrix_without_a_pattern_has_no_reads_unless_they_are_asked_for():
    matrix = np.random.default_rng(0).permutation(np.eye(12))
    assert reads_of_matrix(matrix) is None
    lenient = reads_of_matrix(matrix, lenient=True)
    assert lenient is not None
    np.testing.assert_array_equal(lenient.matrix(), matrix)


# Two steps as one.


def picked(size, positions, weights=None):
    reads = read_pattern(
        size, np.asarray(positions)[:, None], np.ones((len(positions), 1)) if weights is None else weights
    )
    assert reads is not None
    return reads


STEPS = {
    "window": lambda n: window_reads(n, n, 3, 1, 1),
    "strided": lambda n: window_reads(n, n // 2, 2, 2, 0),
    "stuffed": lambda n: window_reads(n, 2 * n, 4, 1, 2, stuffing=2),
    "repeated": lambda n: picked(n, np.arange(3 * n) // 3),
    "reversed": lambda n: picked(n, np.arange(n)[::-1]),
    "shifted": lambda n: window_reads(n, n, 1, 1, 2),
    "halved": lambda n: picked(n, np.arange(0, n, 2)),
}


@pytest.mark.parametrize("second", STEPS)
@pytest.mark.parametrize("first", STEPS)
def test_two_steps_as_one_are_the_product_of_their_matrices(first, second):
    a = STEPS[first](24)
    b = STEPS[second](a.outputs)
    both = compose(a, b)
    np.testing.assert_allclose(both.matrix(), b.matrix() @ a.matrix(), atol=1e-12)
    np.testing.assert_array_equal(both.outside, b.outside | (np.abs(b.matrix()) @ a.outside > 0))
    expected, inside = pattern_matrix(both, 1)
    inside &= ~both.outside
    np.testing.assert_allclose(both.matrix()[inside], expected[inside], atol=1e-12)


def test_what_is_undone_has_no_period_left():
    repeated = STEPS["repeated"](24)
    thirds = window_reads(72, 24, 1, 3, -1)
    both = compose(repeated, thirds)
    assert (both.up, both.down) == (1, 1)
    assert both.is_identity()


def shifted(x, by):
    """Zeros where samples are missing."""
    n = x.shape[1]
    return jnp.pad(x, ((0, 0), (max(by, 0), max(-by, 0)), (0, 0)))[:, max(-by, 0) : max(-by, 0) + n]


FIXED = {
    "sum of shifts": lambda x: shifted(x, 1) + shifted(x, -1),
    "difference of shifts": lambda x: shifted(x, 1) - shifted(x, -1),
    "weights": lambda x: 0.5 * shifted(x, 1) + 0.25 * shifted(x, -2),
    "difference after a sum": lambda x: (shifted(x, 1) + shifted(x, 2)) - shifted(x, 3),
    "padding and its filter": lambda x: functools.reduce(
        jnp.add, [jnp.pad(x, ((0, 0), (1, 1), (0, 0)), mode="edge")[:, t : t + 12] for t in range(3)]
    ),
}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_steps_are_joined_into_their_matrix(name):
    fn = FIXED[name]
    x = jnp.ones((1, 12, 2))
    graph = read_of(fn, x).graph
    whole = graph.nodes[graph.outputs[0]]
    assert (len(graph.nodes), whole.kind, whole.inputs) == (2, "filter", (0,))
    matrix = np.asarray(fn(jnp.eye(12)[:, :, None])[..., 0], np.float64).T
    np.testing.assert_allclose(whole.factor * whole.reads[0].matrix(), matrix, atol=1e-6)


def test_what_no_output_depends_on_is_left_out():
    def fn(x):
        jnp.repeat(x, 2, axis=1)
        return x[:, ::2]

    graph = read_of(fn, jnp.ones((1, 12, 2))).graph
    assert [n.kind for n in graph.nodes] == ["input", "move"]
    assert [f.role for f in read_of(fn, jnp.ones((1, 12, 2))).findings] == ["down"]


# All operations together.


def up(kernel, stride, padding: str | list[tuple[int, int]] = "SAME"):
    return lambda w, x: lax.conv_transpose(x, w((kernel, 1, 1)), (stride,), padding, dimension_numbers=NUMBERS)


def conv(kernel, stride=1, padding="SAME"):
    return lambda w, x: lax.conv_general_dilated(x, w((kernel, 1, 1)), (stride,), padding, dimension_numbers=NUMBERS)


def fir(*taps):
    """Constants, at the centre or one to the left."""
    kernel = np.asarray(taps, np.float32)[:, None, None]
    pads = [((len(taps) - 1) // 2, len(taps) // 2)]
    return lambda w, x: lax.conv_general_dilated(x, jnp.asarray(kernel), (1,), pads, dimension_numbers=NUMBERS)


def stuffed(w, x):
    return lax.pad(x, jnp.float32(0), [(0, 0, 0), (0, 1, 1), (0, 0, 0)])


def repeated(w, x):
    return jnp.repeat(x, 2, axis=1)


def added(*branches):
    return lambda w, x: sum((run(branch, w, x) for branch in branches[1:]), run(branches[0], w, x))


def joined(*branches):
    """As channels, which one more convolution mixes."""

    def fn(w, x):
        field = jnp.concatenate([run(branch, w, x) for branch in branches], axis=-1)
        return lax.conv_general_dilated(field, w((1, len(branches), 1)), (1,), "SAME", dimension_numbers=NUMBERS)

    return fn


def shuffled(w, x):
    field = lax.conv_general_dilated(x, w((3, 1, 2)), (1,), "SAME", dimension_numbers=NUMBERS)
    return field.reshape(1, -1, 1)


def pooled(w, x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 1), (1, 2, 1), "SAME")


PATHS = {
    "k3 s2": ([up(3, 2)], "uneven"),
    "k4 s2": ([up(4, 2)], "untied"),
    "k2 s2, one less": ([up(3, 2, [(2, 1)])], "uneven"),  # an odd start of the interior
    "k1 s2": ([up(1, 2)], "holes"),
    "k3 s2, k3 s2": ([up(3, 2), up(3, 2)], "uneven"),
    "k5 s3, k2 s2": ([up(5, 3), up(2, 2)], "uneven"),
    "repeated, k3": ([repeated, conv(3)], "tied"),
    "k3 s2, repeated, k3": ([up(3, 2), repeated, conv(3)], "uneven"),
    "stuffed": ([stuffed], "holes"),
    "stuffed, box": ([stuffed, fir(1, 1)], "tied"),
    "k3 s2, box": ([up(3, 2), fir(0.5, 0.5)], "tied"),
    "k3 s2, every second": ([up(3, 2), conv(3, 2)], "tied"),
    "k5 s4, every second": ([up(5, 4), conv(1, 2)], "uneven"),
    "k3 s2, every third": ([up(3, 2), conv(1, 3)], "uneven"),
    "k3 s2, gap": ([up(3, 2), fir(1, 0, 1)], "uneven"),  # its zeros are at 1/4, not at 1/2
    "k3 s4, box of two": ([up(8, 4), fir(1, 1)], "untied"),  # takes 1/2 away, leaves 1/4
    "Laplacian": ([fir(1, -2, 1)], "tied"),
    "k3, difference": ([conv(3), fir(-1, 0, 1)], "tied"),
    "k3 s2, Laplacian": ([up(3, 2), fir(1, -2, 1)], "uneven"),
    "k3 s2 and repeated": ([added([up(3, 2)], [repeated])], "uneven"),
    "k3 s2 joined to k4 s2": ([joined([up(3, 2)], [up(4, 2)])], "uneven"),
    "sub-pixel k3": ([shuffled], "untied"),
    "difference, k1 s2": ([fir(-1, 0, 1), up(1, 2)], "holes"),
    "pooled, k4 s2": ([pooled, up(4, 2)], "untied"),
}


def run(layers, w, x):
    for layer in layers:
        x = layer(w, x)
    return x


def composed(layers, size):
    """What the audit says, with one argument for each kernel, as many as the layers ask for."""
    shapes = []

    def ask(shape):
        shapes.append(shape)
        return jnp.ones(shape)

    x = jnp.ones((1, size, 1))
    jax.eval_shape(lambda x: run(layers, ask, x), x)

    def fn(ws, x):
        kernels = iter(ws)
        return run(layers, lambda _: next(kernels), x)

    reading = read_of(fn, [jnp.ones(s) for s in shapes], x)
    return reading, compose_all(reading.graph, reading.graph.outputs[0], reading.extents, reading.findings)


def responses(layers, size, draws):
    """The response to a flat input, kernels of ones or drawn; max pooling of a flat field leaves it as it is."""
    x = jnp.ones((1, size, 1))
    ones = np.asarray(run(layers, jnp.ones, x), np.float64)[0, :, 0]
    rng = np.random.default_rng(0)
    drawn = [run(layers, lambda s: jnp.asarray(rng.normal(size=s), jnp.float32), x) for _ in range(draws)]
    return ones, np.stack(drawn).astype(np.float64)[:, 0, :, 0]


@pytest.mark.parametrize("name", PATHS)
def test_paths_and_grade_of_the_whole_are_those_of_a_run_with_kernels_of_ones(name):
    layers, grade = PATHS[name]
    size = 24
    _, told = composed(layers, size)
    assert told is not None
    assert told.grade == grade
    (counts,) = told.counts
    period = len(counts)
    ones, drawn = responses(layers, size, 4)
    start = len(ones) // 3 // period * period  # away from the borders
    phases = ones[start : start + period]
    if np.abs(phases).max() > 0:
        np.testing.assert_allclose(np.array(counts) / np.abs(counts).max(), phases / np.abs(phases).max(), rtol=1e-6)
    else:  # nothing of a flat input is left, whatever the kernels are
        assert np.abs(drawn[:, start : start + period]).max() < 1e-5
        return
    spread = np.ptp(drawn[:, start : start + period], axis=1) / np.abs(drawn).max(axis=1, initial=1e-9)
    assert (spread < 1e-5).all() if grade == "tied" else (spread > 1e-3).all()
    if grade in ("untied", "tied"):
        assert np.ptp(phases) == pytest.approx(0, abs=1e-6)


# What belongs together.


def told(fn, *args):
    return [(f.role, f.kernel_size, f.stride, f.grade) for f in read_of(fn, *args).findings]


def shuffle(field):
    """Two channels become two phases."""
    return field.reshape(1, -1, field.shape[-1] // 2)


X = jnp.ones((1, 12, 2))
KERNEL = jnp.ones((3, 2, 2))


def test_a_transposed_convolution_is_not_one_with_the_resize_before_it():
    found = told(lambda w, x: lax.conv_transpose(repeated(w, x), w, (2,), "SAME", dimension_numbers=NUMBERS), KERNEL, X)
    assert found == [("up", (2,), (2,), "tied"), ("up", (3,), (2,), "uneven")]


def test_a_bias_that_may_differ_between_phases_unties_them():
    kernel = jnp.asarray(np.repeat(np.random.default_rng(0).normal(size=(3, 2, 1)), 2, axis=2), jnp.float32)

    def fn(bias, x):
        return shuffle(lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=NUMBERS) + bias)

    assert told(fn, jnp.ones(2), X) == [("up", (3,), (2,), "untied")]
    assert told(lambda x: fn(0.0, x), X) == [("up", (3,), (2,), "tied")]


def test_a_convolution_is_one_with_its_shuffle_whoever_else_reads_it():
    def fn(w, x):
        field = lax.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=NUMBERS)
        return shuffle(field) + repeated(w, field[..., :1])

    assert ("up", (3,), (2,), "untied") in told(fn, KERNEL, X)
    assert "shuffle" not in [role for role, *_ in told(fn, KERNEL, X)]
    assert told(lambda w, x: shuffle(jnp.sort(x, axis=-1)), KERNEL, X)[-1] == ("shuffle", (1,), (2,), "untied")


# The trace.


def test_the_trace_measures_findings_and_the_ends_of_each_run_of_convolutions():
    layers = [conv(3)] * 4 + [up(4, 2)] + [conv(5)] * 4 + [repeated, conv(3), shuffled]
    reading, _ = composed(layers, 12)
    nodes = trace_nodes(reading.graph, reading.findings)
    rows = traced_rows(reading.graph, nodes, reading.findings, {})
    labels = [row.label for row in rows]
    assert labels == ["conv k3", "conv k3", "up k4 s2", "conv k5", "conv k5", "up k3 s2", "up k3 s2"]
    convolutions = [i for i, n in enumerate(reading.graph.nodes) if n.kind == "conv"]
    assert nodes == [
        *(convolutions[at] for at in (0, 3, 4, 5, 8, 9)),
        reading.graph.outputs[0],
    ]  # not the tenth's alone
    assert [row.grade for row in rows] == [None, None, "untied", None, None, "tied", "untied"]
    assert all(row.lattice_ratio is None for row in rows)

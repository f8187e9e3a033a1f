"""The contractions behind the convolutions: every form against loops, strips, transposes, batching, the choice."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax.ops import _contractions as contractions
from checkerjax.ops import _dots, _plain, _tiles
from checkerjax.ops._choice import choose
from checkerjax.ops._grid import Grid, phases

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a thousand terms of size one
NAMES = ("scatter", "gather", "kernel")


class Trio(NamedTuple):
    """Three fields on one grid; each contraction takes two of them and has the shape of the third."""

    small: np.ndarray  # [N, *small, A]
    kernel: np.ndarray  # [*k, A, B]
    large: np.ndarray  # [N, *large, B]


TAKES = {"scatter": (0, 1), "gather": (2, 1), "kernel": (0, 2)}  # the fields of a Trio that come in
GIVES = {"scatter": 2, "gather": 0, "kernel": 1}  # and the one that comes out
FORMS = {
    "scatter": {"lax": _plain.scatter, "dots": _dots.scatter},
    "gather": {"lax": _plain.gather, "dots": _dots.gather},
    "kernel": {"lax": _plain.kernel, "dots": _dots.kernel, "phases": _dots.kernel_by_phase},
}


def draw(rng, grid: Grid, images: int = 2, inner: int = 2, outer: int = 3) -> Trio:
    shapes = (images, *grid.small, inner), (*grid.kernel, inner, outer), (images, *grid.large, outer)
    return Trio(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def definition(fields: Trio, grid: Grid) -> dict[str, np.ndarray]:
    """All three contractions in float64, one pair of a small sample and a tap at a time."""
    small, kernel, large = (np.asarray(f, np.float64) for f in fields)
    stamped, read, paired = np.zeros(large.shape), np.zeros(small.shape), np.zeros(kernel.shape)
    for m, j in itertools.product(np.ndindex(*grid.small), np.ndindex(*grid.kernel)):
        n = tuple(s * a + d * t - low for s, a, d, t, low in zip(grid.stride, m, grid.dilation, j, grid.low))
        if all(0 <= a < size for a, size in zip(n, grid.large)):
            at_m, at_n = (slice(None), *m), (slice(None), *n)
            stamped[at_n] += small[at_m] @ kernel[j]
            read[at_m] += large[at_n] @ kernel[j].T
            paired[j] += small[at_m].T @ large[at_n]
    return {"scatter": stamped, "gather": read, "kernel": paired}


def random_grid(rng, ndim: int) -> Grid:
    """Small axes, cropped and padded anyhow: low and high between a reach inside the large field and one outside."""
    small, kernel = (tuple(int(v) for v in rng.integers(1, top, ndim)) for top in ((9, 6, 5)[ndim - 1], 5))
    stride, dilation = (tuple(int(v) for v in rng.integers(1, top, ndim)) for top in (5, 4))
    full = [s * (m - 1) + d * (k - 1) + 1 for m, k, s, d in zip(small, kernel, stride, dilation)]
    low = tuple(int(rng.integers(-2, max(1, f // 2))) for f in full)
    large = tuple(max(1, f - p - int(rng.integers(-2, max(1, f // 3)))) for f, p in zip(full, low))
    return Grid(small, kernel, large, stride, dilation, low)


GRIDS = {
    "plain": Grid((5,), (3,), (5,), (1,), (1,), (1,)),
    "stride over kernel": Grid((4,), (2,), (15,), (5,), (1,), (0,)),
    "dilation a multiple of the stride": Grid((5,), (3,), (13,), (2,), (2,), (0,)),  # one phase takes every tap
    "starts inside": Grid((3,), (3,), (12,), (2,), (1,), (-3,)),
    "cropped to the middle": Grid((6,), (4,), (4,), (2,), (1,), (5,)),
    "per axis": Grid((4, 3), (3, 4), (8, 8), (2, 3), (1, 2), (1, 3)),
    "long strides": Grid((2, 3), (5, 3), (8, 12), (4, 4), (1, 1), (1, 0)),
    "volume": Grid((3, 2, 2), (2, 3, 2), (6, 4, 5), (2, 1, 3), (1, 2, 1), (0, 2, -1)),
    **{f"drawn {seed}": random_grid(np.random.default_rng(seed), 1 + seed % 3) for seed in range(9)},
}


class Cuts(NamedTuple):
    """What one `Tiles` decided: tiles an image along each axis, pieces in all, whether any tile is cut unevenly."""

    counts: tuple[int, ...]
    pieces: int
    uneven: bool


@pytest.fixture
def cuts(monkeypatch):
    """The tiles that forms made, in order."""
    seen: list[Cuts] = []

    class Recorded(_tiles.Tiles):
        def __init__(self, images, extents, position):
            super().__init__(images, extents, position)
            covered = tuple(count * tile for count, tile in zip(self.counts, self.extents))
            seen.append(Cuts(tuple(self.counts), self.pieces, covered != tuple(extents)))

    monkeypatch.setattr(_dots, "Tiles", Recorded)
    return seen


def every_form(fields: Trio, grid: Grid, *, plain: bool) -> dict[tuple[str, str], np.ndarray]:
    """All forms of all contractions, compiled as one program."""

    def run(*fields):
        return {
            (name, form): work(*(fields[i] for i in TAKES[name]), grid, None)
            for name in NAMES
            for form, work in FORMS[name].items()
            if plain or form != "lax"
        }

    return jax.jit(run)(*fields)


@pytest.mark.parametrize("name", GRIDS)
def test_every_form_is_the_sum_of_its_definition(rng, name):
    grid = GRIDS[name]
    fields = draw(rng, grid)
    expected = definition(fields, grid)
    for (contraction, form), out in every_form(fields, grid, plain=not name.startswith("drawn")).items():
        np.testing.assert_allclose(out, expected[contraction], **ROUNDING, err_msg=f"{contraction}, {form}")


TALL = {
    "rows": Grid((7, 2), (3, 2), (14, 2), (2, 1), (1, 1), (1, 0)),
    "line, starts inside": Grid((7,), (3,), (25,), (3,), (2,), (-2,)),
    "long strides": Grid((5, 2), (5, 3), (20, 8), (4, 4), (1, 1), (1, 0)),
}
# images; columns at a time, in those of one image; tiles an image and pieces that `gather` then takes
BUDGETS = {
    "some images a group": (6, 2.1, lambda cut: max(cut.counts) == 1 and cut.pieces == 3),
    "an image a group": (3, 1.0, lambda cut: max(cut.counts) == 1 and cut.pieces == 3),
    "uneven tiles": (2, 0.4, lambda cut: max(cut.counts) > 1 and cut.uneven),
    "a position a tile": (2, 0.0, lambda cut: cut.pieces == 2 * math.prod(cut.counts) and not cut.uneven),
}


@pytest.mark.parametrize("grid", TALL.values(), ids=TALL)
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_tiles_and_groups_change_nothing(monkeypatch, rng, cuts, grid, budget):
    images, share, taken = budget
    fields = draw(rng, grid, images)
    monkeypatch.setattr(_tiles, "COLUMNS", max(1, int(share * 4 * grid.steps * 3)))
    expected = definition(fields, grid)
    for (contraction, form), out in every_form(fields, grid, plain=False).items():
        np.testing.assert_allclose(out, expected[contraction], **ROUNDING, err_msg=f"{contraction}, {form}")
    assert len(cuts) == 4
    assert all(cut.pieces > 1 for cut in cuts)
    assert taken(cuts[1])
    assert taken(cuts[2])


@pytest.mark.parametrize(("images", "extents"), [(1, (8, 4)), (4, (8, 4)), (3, (7, 5)), (1, (1, 40)), (2, (3, 5, 7))])
@pytest.mark.parametrize("columns", [1, 12, 90, 600, 10**9])
def test_tiles_cover_all_positions_within_their_budget(monkeypatch, images, extents, columns):
    monkeypatch.setattr(_tiles, "COLUMNS", columns)
    tiles = _tiles.Tiles(images, extents, 12)
    for n, tile, count in zip(extents, tiles.extents, tiles.counts):
        assert count * tile >= n > (count - 1) * tile
    together = images * math.prod(tiles.counts) / tiles.pieces  # tiles, or images, in a piece
    assert together == int(together)
    assert together * math.prod(tiles.extents) * 12 <= max(columns, 12)


def test_columns_of_a_large_volume_stay_small():
    """The columns of one row of this volume take 134 MB; forms hold little more than the fields and one piece."""
    grid = Grid((8, 128, 128), (4, 4, 4), (16, 256, 256), (2, 2, 2), (1, 1, 1), (1, 1, 1))
    sizes = (1, *grid.small, 32), (*grid.kernel, 32, 4), (1, *grid.large, 4)
    fields = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in sizes]
    both = 4 * sum(math.prod(shape) for shape in (sizes[0], sizes[2]))
    for name in NAMES:
        for form in FORMS[name].keys() - {"lax"}:
            work = jax.jit(functools.partial(FORMS[name][form], grid=grid, precision=None))
            memory: Any = work.lower(*(fields[i] for i in TAKES[name])).compile().memory_analysis()
            assert memory.temp_size_in_bytes < both + 2 * _tiles.COLUMNS, (name, form)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_phases_hold_every_tap_of_an_axis_once(grid):
    for axis, (k, s, d, low) in enumerate(zip(grid.kernel, grid.stride, grid.dilation, grid.low)):
        groups = phases(grid, axis)
        each = [(group.first + i, taps, group.offsets) for group in groups for i, taps in enumerate(group.taps)]
        assert [r for r, _, _ in each] == list(range(s))
        # Sample m = q + o meets tap j at sample s q + r, whatever q.
        every = itertools.product(range(s), range(k), range(-40, 40))
        met = sorted((r, j, o) for r, taps, offsets in each for j, o in zip(taps, offsets))
        assert met == [(r, j, o) for r, j, o in every if s * o + d * j - low == r]
        assert all(a.offsets != b.offsets for a, b in itertools.pairwise(groups))  # neighbours that could be one


def test_a_phase_that_no_tap_reaches_is_exactly_zero(rng):
    grid = GRIDS["stride over kernel"]
    small, kernel, _ = draw(rng, grid)
    out = np.asarray(_dots.scatter(jnp.asarray(small), jnp.asarray(kernel), grid, None)).reshape(2, 3, 5, 3)
    assert (out[:, :, 2:] == 0).all()
    assert (out[:, :, :2] != 0).all()


def bound(name: str, grid: Grid, method: str = "dots", precision: Any = None):
    """The primitive of that name as a function of its two fields."""
    primitive = getattr(contractions, f"{name}_p")
    return lambda x, y: primitive.bind(x, y, grid=grid, precision=precision, method=method)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["per axis", "starts inside"])
def test_the_transposes_are_the_other_two(rng, name, where):
    grid = GRIDS[where]
    fields = draw(rng, grid)
    inputs = [fields[i] for i in TAKES[name]]
    out, pulled = jax.jit(lambda x, y, ct: _value_and_pullback(bound(name, grid), x, y, ct))(
        *inputs, fields[GIVES[name]]
    )
    expected = definition(fields, grid)
    np.testing.assert_allclose(out, expected[name], **ROUNDING)
    # With the third field as its cotangent, each argument's gradient is the contraction that gives that argument.
    for i, gradient in zip(TAKES[name], pulled):
        [giver] = [other for other in NAMES if GIVES[other] == i]
        np.testing.assert_allclose(gradient, expected[giver], **ROUNDING, err_msg=giver)


def _value_and_pullback(f, x, y, ct):
    out, pull = jax.vjp(f, x, y)
    return out, pull(ct)


# where the mapped axis of each argument is, None for an argument that all share
AXES = {
    "both": (0, 0),
    "first": (0, None),
    "second": (None, 0),
    "inner axes": (1, -1),
    "first, last axis": (-1, None),
    "second, inner axis": (None, 2),
}


def stack(field: np.ndarray, axis: int | None, copies: int = 3) -> tuple[np.ndarray, list[np.ndarray]]:
    """Different multiples of a field along a new axis, and the same in a list; the field itself for None."""
    if axis is None:
        return field, [field] * copies
    each = [(c + 1) * np.roll(field, c) for c in range(copies)]
    return np.stack(each, axis), each


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
@pytest.mark.parametrize("name", NAMES)
def test_vmap_is_a_loop(rng, name, axes):
    grid = GRIDS["per axis"]
    fields = draw(rng, grid)
    (x, xs), (y, ys) = (stack(fields[i], axis) for i, axis in zip(TAKES[name], axes))
    out = jax.jit(jax.vmap(bound(name, grid), axes))(x, y)
    for got, one, other in zip(out, xs, ys):
        parts = list(fields)
        parts[TAKES[name][0]], parts[TAKES[name][1]] = one, other
        np.testing.assert_allclose(got, definition(Trio(*parts), grid)[name], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_nested_vmap_is_two_loops(rng, name):
    grid = GRIDS["starts inside"]
    fields = draw(rng, grid)
    (x, xs), (y, ys) = (stack(fields[i], 0, 2) for i in TAKES[name])
    pairs = jax.vmap(jax.vmap(bound(name, grid), (None, 0)), (0, None))
    out = jax.jit(pairs)(x, y)
    for i, j in np.ndindex(2, 2):
        parts = list(fields)
        parts[TAKES[name][0]], parts[TAKES[name][1]] = xs[i], ys[j]
        np.testing.assert_allclose(out[i, j], definition(Trio(*parts), grid)[name], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_one_shared_field_keeps_one_contraction(rng, name):
    """Mapping over images or over kernels is no loop: the contraction widens."""
    grid = GRIDS["plain"]
    fields = draw(rng, grid)
    for axes in ((0, None), (None, 0)):
        x, y = (stack(fields[i], axis)[0] for i, axis in zip(TAKES[name], axes))
        names = [e.primitive.name for e in jax.make_jaxpr(jax.vmap(bound(name, grid), axes))(x, y).eqns]
        assert names.count(f"checkerjax_{name}") == 1
        assert "scan" not in names


@pytest.mark.parametrize("name", NAMES)
def test_vmap_of_both_fields_is_a_loop_on_a_cpu_alone(monkeypatch, rng, name):
    grid = GRIDS["plain"]
    fields = draw(rng, grid)
    (x, xs), (y, ys) = (stack(fields[i], 0) for i in TAKES[name])
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert "scan" in str(jax.make_jaxpr(jax.vmap(bound(name, grid, "auto")))(x, y))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    mapped = jax.vmap(bound(name, grid, "auto"))
    assert "scan" not in str(jax.make_jaxpr(mapped)(x, y))
    each = [bound(name, grid)(jnp.asarray(one), jnp.asarray(other)) for one, other in zip(xs, ys)]
    np.testing.assert_allclose(jax.jit(mapped)(x, y), each, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", ["gpu", "cuda", "rocm", "tpu", "other"])
def test_backends_that_were_not_measured_keep_lax(backend):
    grids = [GRIDS["plain"], GRIDS["long strides"], square(256, 9, 2)]
    for name, grid, channels in itertools.product(NAMES, grids, (1, 3, 512)):
        assert choose(backend, name, 8, channels, channels, grid) == "lax"


def test_a_cpu_takes_laxs_strided_kernel_gradient_for_images_alone():
    strided = [grid for grid in GRIDS.values() if max(grid.stride) > 1]
    for grid, channels, outputs in itertools.product(strided, (1, 3, 512), (1, 3, 512)):
        chosen = choose("cpu", "kernel", 8, channels, outputs, grid)
        if channels <= outputs:
            assert chosen == "phases"
        elif grid.ndim != 2:
            assert chosen != "lax"


def square(size: int, kernel: int, stride: int) -> Grid:
    """A layer that upsamples a square image, with "SAME" paddings."""
    low = (kernel - stride) // 2
    return Grid((size,) * 2, (kernel,) * 2, (size * stride,) * 2, (stride,) * 2, (1,) * 2, (low,) * 2)


def test_what_a_cpu_takes_for_shapes_far_from_every_threshold():
    for name in ("scatter", "gather"):
        assert choose("cpu", name, 1, 2, 2, square(4, 4, 2)) == "lax"  # little work
        assert choose("cpu", name, 64, 64, 64, square(16, 3, 1)) == "lax"  # no stride
    assert choose("cpu", "scatter", 64, 64, 64, square(16, 4, 2)) == "dots"
    assert choose("cpu", "scatter", 64, 64, 3, square(32, 4, 2)) == "lax"  # to an image
    assert choose("cpu", "scatter", 4, 256, 128, square(4, 4, 2)) == "lax"  # few outputs
    assert choose("cpu", "scatter", 4, 256, 128, square(4, 6, 2)) == "dots"  # but under a kernel larger than the field
    assert choose("cpu", "scatter", 64, 64, 64, square(32, 40, 2)) == "lax"  # too many windows
    assert choose("cpu", "scatter", 64, 64, 3, square(32, 16, 16)) == "dots"  # an image out of patches
    assert choose("cpu", "scatter", 1, 2, 2, GRIDS["volume"]) == "dots"  # XLA never stretches volumes well
    assert choose("cpu", "gather", 64, 64, 256, square(16, 4, 2)) == "lax"  # XLA reads windows in place
    assert choose("cpu", "gather", 64, 512, 512, square(4, 4, 2)) == "dots"  # very many weights
    assert choose("cpu", "gather", 64, 64, 64, square(16, 4, 2)) == "lax"
    assert choose("cpu", "gather", 64, 64, 64, square(16, 4, 2), True) == "dots"  # beside a kernel gradient
    assert choose("cpu", "gather", 64, 64, 256, square(16, 4, 2), True) == "lax"  # but XLA takes all cores for many
    assert choose("cpu", "gather", 4, 64, 64, square(256, 4, 2), True) == "lax"  # and columns must stay near
    assert choose("cpu", "kernel", 16, 128, 64, square(64, 4, 2)) == "lax"
    assert choose("cpu", "kernel", 16, 64, 64, square(64, 4, 2)) == "phases"
    assert choose("cpu", "kernel", 16, 128, 64, square(32, 16, 8)) == "phases"  # long strides
    assert choose("cpu", "kernel", 16, 64, 3, square(32, 16, 8)) == "lax"  # but few outputs
    assert choose("cpu", "kernel", 16, 3, 64, square(32, 40, 2)) == "lax"  # too many windows for its phases
    assert choose("cpu", "kernel", 16, 3, 64, square(32, 32, 32)) == "phases"  # one window, however long
    assert choose("cpu", "kernel", 16, 64, 64, square(32, 3, 1)) == "lax"  # fields of one size
    assert choose("cpu", "kernel", 16, 64, 256, square(32, 3, 1)) == "phases"  # but few inputs
    assert choose("cpu", "kernel", 16, 64, 64, square(32, 1, 1)) == "dots"


@pytest.mark.parametrize("name", NAMES)
def test_the_rule_is_asked_for_this_contraction(monkeypatch, rng, name):
    asked = []
    monkeypatch.setattr(contractions, "choose", lambda *question: asked.append(question) or "dots")
    grid = GRIDS["per axis"]
    fields = draw(rng, grid, images=5)
    jax.jit(bound(name, grid, "auto")).lower(*(fields[i] for i in TAKES[name]))
    channels = {"scatter": (2, 3), "gather": (3, 2), "kernel": (2, 3)}[name]
    assert asked == [("cpu", name, 5, *channels, grid, False)]


def test_an_input_gradient_is_said_to_be_one(monkeypatch, rng):
    asked = []
    monkeypatch.setattr(contractions, "choose", lambda *question: asked.append((question[1], question[-1])) or "dots")
    small, kernel, large = draw(rng, GRIDS["per axis"], images=7)
    _, pull = jax.vjp(bound("scatter", GRIDS["per axis"], "auto"), small, kernel)
    jax.jit(pull).lower(large)
    assert sorted(asked)[:2] == [("gather", True), ("kernel", False)]


@pytest.mark.parametrize("name", NAMES)
def test_other_platforms_lower_to_the_lax_form(rng, name):
    grid = GRIDS["per axis"]
    inputs = [draw(rng, grid)[i] for i in TAKES[name]]
    for platform in ("cuda", "tpu"):
        text = jax.export.export(jax.jit(bound(name, grid, "auto")), platforms=[platform])(*inputs).mlir_module()
        assert "stablehlo.convolution" in text
        assert "stablehlo.dot_general" not in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_products_ask_for_float32_sums_and_the_precision(name, dtype):
    grid = GRIDS["long strides"]
    fields = draw(np.random.default_rng(0), grid)
    inputs = [jnp.asarray(fields[i], dtype) for i in TAKES[name]]
    for form, work in FORMS[name].items():
        if form != "lax":
            jaxpr = jax.make_jaxpr(lambda x, y, work=work: work(x, y, grid, "high"))(*inputs)
            dots = [e for e in _equations(jaxpr.jaxpr) if e.primitive.name == "dot_general"]
            assert dots
            assert {str(e.params["preferred_element_type"]) for e in dots} == {"float32"}
            assert {e.params["precision"] for e in dots} == {(jax.lax.Precision.HIGH,) * 2}
            assert str(jaxpr.out_avals[0].dtype) == dtype


# One rounding of the exact sum is half a unit in the last place; a sum taken in halves loses far more.
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_rounded_once(monkeypatch, rng, cuts, dtype):
    monkeypatch.setattr(_tiles, "COLUMNS", 9000)
    grid = Grid((6, 6), (4, 4), (16, 16), (2, 2), (1, 1), (0, 0))
    shapes = [field.shape for field in draw(rng, grid, 4, 40, 40)]
    # Nothing cancels, so that errors are relative.
    fields = Trio(*(np.asarray(jnp.asarray(rng.uniform(size=shape), dtype)) for shape in shapes))
    expected = definition(fields, grid)
    half = 0.5 * float(jnp.finfo(dtype).eps)
    for (name, form), out in every_form(fields, grid, plain=False).items():
        assert out.dtype == dtype
        error = np.abs(np.asarray(out).astype(np.float64) - expected[name]) / expected[name].clip(1)
        assert error.max() <= 1.01 * half, (name, form)
    assert all(cut.pieces > 1 for cut in cuts)  # the sums over groups are kept wide too
    # The first sample of `gather`, summed in halves term by term.
    terms = np.moveaxis(fields.large[:, :4, :4, None] * fields.kernel, (1, 2, 4), (0, 1, 2)).reshape(-1, 4, 40)
    naive = functools.reduce(np.add, terms)
    assert naive.dtype == dtype
    assert np.abs(naive.astype(np.float64) / expected["gather"][:, 0, 0] - 1).max() > 3 * half


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "jaxpr")):
            if hasattr(inner, "jaxpr"):
                yield from _equations(inner.jaxpr)


def test_steps_and_high_follow_from_the_grid():
    grid = GRIDS["per axis"]
    assert grid.steps == math.prod(grid.small) * math.prod(grid.kernel)
    for m, k, n, s, d, low, high in zip(*grid, grid.high):
        assert low + n + high == s * (m - 1) + d * (k - 1) + 1


def test_eager_calls_end_without_jit(rng):
    small, kernel, _ = draw(rng, GRIDS["plain"])
    expected = bound("scatter", GRIDS["plain"])(small, kernel)
    with jax.disable_jit():
        np.testing.assert_allclose(bound("scatter", GRIDS["plain"])(small, kernel), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0)])
def test_vmap_over_nothing_gives_nothing(rng, name, dims):
    grid = GRIDS["plain"]
    fields = draw(rng, grid)
    args = [np.zeros((0, *fields[i].shape), np.float32) if d == 0 else fields[i] for i, d in zip(TAKES[name], dims)]
    out = jax.vmap(bound(name, grid, "auto"), in_axes=dims)(*args)
    assert out.shape == (0, *fields[GIVES[name]].shape)

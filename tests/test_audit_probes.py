"""The statistics of the audit's probes, against transforms in NumPy, closed forms, and programs whose grid is known."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import checkerjax
from checkerjax.audits._flatten import flatten
from checkerjax.audits._fuse import fuse
from checkerjax.audits._interior import extents, longest_run, region
from checkerjax.audits._probes import probe_program
from checkerjax.audits._redraw import Redraw
from checkerjax.audits._report_parts import THRESHOLDS, Outcome
from checkerjax.audits._statistics import power_chance
from checkerjax.audits._walk import walk

NUMBERS = ("NHWC", "HWIO", "NHWC")
KEY = jax.random.key(0)


def read(fn, *args, data=1, layout="channel_last"):
    """The program of a function whose last `data` arguments carry data, its graph, and those inputs."""
    flat, tree = jax.tree.flatten(args)
    program = flatten(jax.make_jaxpr(lambda *leaves: fn(*jax.tree.unflatten(tree, leaves)))(*flat))
    values = program.inputs[-data:]
    graph = fuse(walk(program, values, [layout] * data, program.outputs).graph)
    return program, graph, flat, values


def probed(fn, *args, data=1, layout="channel_last", key=KEY, context=(), **options):
    program, graph, flat, values = read(fn, *args, data=data, layout=layout)
    return probe_program(
        "audit", program, graph, flat, data=values, layouts=[layout] * data, key=key,
        context=[program.inputs[i] for i in context], **options,
    )  # fmt: skip


def output(fn, *args, **options):
    (field,) = probed(fn, *args, **options).outputs
    assert field is not None
    return field


def verdict(fields):
    """Of the one field among these."""
    (field,) = (each for each in fields if each is not None)
    return Outcome(field.lattice_ratio, field.power_ratio, power_chance=field.power_chance).verdict(THRESHOLDS)


def weights(rng, *shapes):
    return [jnp.asarray(rng.standard_normal(s) / math.sqrt(math.prod(s[:-1])), jnp.float32) for s in shapes]


def deconv(x, kernel, stride=2):
    return lax.conv_transpose(x, kernel, (stride, stride), "SAME", dimension_numbers=NUMBERS)


def conv(x, kernel, stride=1, **options):
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=NUMBERS, **options)


def repeat(x):
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


def channelwise(taps, stride=2):
    """A fixed filter on every channel apart, after zero insertion."""

    def fn(x):
        kernel = np.multiply.outer(np.multiply.outer(taps, taps), np.eye(x.shape[-1])).astype(np.float32)
        return lax.conv_general_dilated(
            x, jnp.asarray(kernel), (1, 1), [(len(taps) - 1, len(taps) - 1)] * 2, lhs_dilation=(stride,) * 2,
            dimension_numbers=NUMBERS,
        )  # fmt: skip

    return fn


# The interior


@pytest.mark.parametrize(
    ("fn", "shapes", "scale"),
    [
        (lambda p, x: deconv(deconv(x, p[0]), p[1]), [(5, 5, 2, 2)] * 2, 4),
        (lambda p, x: conv(jnp.tanh(deconv(x, p[0])), p[1]), [(4, 4, 2, 2), (3, 3, 2, 2)], 2),
        (lambda p, x: x[:, 1:-1, 1:-1] * conv(x, p[0])[:, 1:-1, 1:-1], [(5, 5, 2, 2)], 1),
        (lambda p, x: conv(conv(repeat(x), p[0]), p[1], 2), [(3, 3, 2, 2)] * 2, 1),
        (lambda p, x: jnp.concatenate([deconv(x, p[0]), repeat(x)], -1), [(3, 3, 2, 2)], 2),
    ],
    ids=["two deconvolutions", "even kernel", "crops and products", "up and down", "concatenation"],
)
def test_the_interior_is_what_more_input_does_not_change(fn, shapes, scale, rng):
    """The oracle: the same samples in the middle of a larger field; what padding reached comes out otherwise."""
    params, more = weights(rng, *shapes), 12
    large = jnp.asarray(rng.standard_normal((1, 16 + 2 * more, 16 + 2 * more, 2)), jnp.float32)
    small = large[:, more : more + 16, more : more + 16]
    program, graph, _, _ = read(fn, params, small)
    extent = extents(graph)[graph.located[program.outputs[0]].node]
    assert extent is not None
    y, wide = fn(params, small), fn(params, large)
    crop = (wide.shape[1] - y.shape[1]) // 2
    assert crop == more * scale
    same = np.abs(y - wide[:, crop : crop + y.shape[1], crop : crop + y.shape[1]]).max((0, 3)) < 1e-5
    (rows, columns) = extent.bounds
    assert rows is not None
    assert columns is not None
    inside = np.zeros_like(same)
    inside[rows[0] : rows[1], columns[0] : columns[1]] = True
    assert (same == inside).all()


@pytest.mark.parametrize(
    ("fn", "period"),
    [
        (lambda x: repeat(repeat(x)), (4, 4)),
        (lambda x: repeat(x)[:, ::2, ::3], (1, 2)),
        (lambda x: jnp.repeat(x, 3, 1)[:, ::2], (3, 1)),
        (lambda x: jnp.tanh(repeat(repeat(x)))[:, ::2, ::4], (2, 1)),
        (lambda x: jnp.tanh(repeat(x))[:, ::3], (2, 2)),
        (lambda x: jnp.repeat(x, 2, 1) + jnp.repeat(x[:, :8], 3, 1), (6, 1)),
        (lambda x: jnp.repeat(jnp.sort(jnp.repeat(x, 2, 1), 2), 2, 1), (4, 2)),  # without a rule: 2
    ],
)
def test_periods_multiply_divide_and_merge(fn, period):
    program, graph, _, _ = read(fn, jnp.ones((1, 12, 12, 2)))
    extent = extents(graph)[graph.located[program.outputs[0]].node]
    assert extent is not None
    assert extent.period == period


def test_without_an_interior_the_whole_field_is_measured(rng):
    fn = lambda p, x: deconv(deconv(x, p), p)  # noqa: E731
    program, graph, _, _ = read(fn, weights(rng, (9, 9, 2, 2))[0], jnp.ones((1, 4, 4, 2)))
    extent = extents(graph)[graph.located[program.outputs[0]].node]
    assert extent is not None
    kept = region(extent, steady=True)
    assert (kept.whole, kept.starts, kept.counts, kept.period) == (True, (0, 0), (4, 4), (4, 4))


def test_the_longest_run_of_several():
    assert longest_run(np.array([1, 0, 1, 1, 1, 0, 1, 1, 1], bool)) == (2, 5)
    assert longest_run(np.zeros(4, bool)) == (0, 0)


# Numbers with closed forms


def test_lines_of_fixed_filters_are_their_closed_forms():
    x = jnp.ones((1, 8, 8, 3))
    # Zero insertion: lines as strong as DC. A box of three: phase means 2 and 1. Gains 1 : 1 leave nothing.
    assert output(channelwise([1.0]), x).lattice_ratio == pytest.approx(3, rel=1e-5)
    assert output(channelwise([1.0, 1, 1]), x).lattice_ratio == pytest.approx((1 + 1 / 9) ** 2 - 1, rel=1e-5)
    assert output(channelwise([1.0, 3, 3, 1]), x).lattice_ratio < 1e-12


def test_powers_of_fixed_filters_are_those_of_their_phase_energies():
    x = jnp.ones((1, 32, 32, 8))
    assert output(channelwise([1.0, 2, 1]), x).power_ratio == pytest.approx(4, rel=0.03)
    assert output(channelwise([1.0, 3, 3, 1]), x).power_ratio == pytest.approx(1, abs=0.03)
    assert output(channelwise([1.0]), x).power_ratio == math.inf


def test_every_line_of_random_deconvolutions_is_as_strong_as_dc(rng):
    """Independent weights, any size: s^2 - 1 lines for each layer, all of the power of DC."""
    field = output(lambda k, x: deconv(x, k), weights(rng, (4, 4, 8, 8))[0], jnp.ones((1, 8, 8, 8)), redraw=256)
    assert field.lattice_ratio == pytest.approx(3, rel=0.12)
    assert field.power_ratio == pytest.approx(1, abs=0.05)


def test_periods_have_their_own_lines(rng):
    """A filter of period 4 in one axis: nearest resize by two, then zero insertion by two."""

    def fn(x):
        x = jnp.repeat(x, 2, 1)
        return jnp.stack([x, jnp.zeros_like(x)], 2).reshape(x.shape[0], -1, *x.shape[2:])

    field = output(fn, jnp.ones((1, 8, 8, 2)))
    assert field.period == (4, 1)
    assert field.lattice_ratios == ((2, pytest.approx(1, rel=1e-5)), (4, pytest.approx(0, abs=1e-6)))
    assert [p for p, _ in field.power_ratios] == [2, 4]


def test_the_probe_of_a_plain_function_says_the_same(rng):
    """One channel: lines over DC do not depend on the draw; powers do, and are those of the taps."""
    kernel = np.asarray(rng.standard_normal((5, 5, 1, 1)), np.float32)
    fn = jax.jit(lambda x: deconv(x, jnp.asarray(kernel)))
    report = checkerjax.probe(fn, (4, 32, 32, 1), key=KEY, arrays="jax", periods=(2, 3))
    field = output(lambda k, x: deconv(x, k), jnp.asarray(kernel), jnp.ones((4, 32, 32, 1)), redraw=0)
    plain, power = report.periods[0].lattice_ratio, report.periods[0].power_ratio
    assert plain is not None
    assert power is not None
    assert field.lattice_ratio == pytest.approx(plain.value, rel=1e-3)
    energies = np.array([np.square(kernel[a::2, b::2]).sum() for a in (0, 1) for b in (0, 1)])
    assert field.power_ratio == pytest.approx(energies.max() / energies.min(), rel=0.05)
    assert field.power_ratio == pytest.approx(power.value, rel=0.08)


@pytest.mark.parametrize("layout", ["channel_first", "channel_last"])
def test_layouts_and_ranks(layout, rng):
    kernel = jnp.asarray(rng.standard_normal((3, 8, 8)), jnp.float32)
    numbers = ("NCH", "HIO", "NCH") if layout == "channel_first" else ("NHC", "HIO", "NHC")
    x = jnp.ones((2, 8, 20)) if layout == "channel_first" else jnp.ones((2, 20, 8))
    field = output(
        lambda k, x: lax.conv_transpose(x, k, (2,), "SAME", dimension_numbers=numbers), kernel, x, layout=layout
    )
    assert field.period == (2,)
    assert field.lattice_ratio == pytest.approx(1, rel=0.5)
    assert field.power_ratio == pytest.approx(2, rel=0.2)


# Latents, and other responses that do not repeat


def generator(kinds, channels):
    """Dense to 4x4, then stages: "d5" is a transposed convolution of 5, "r3" repetition and a convolution of 3."""
    shapes = [(16, 16 * channels[0])]
    shapes += [(int(k[1:]), int(k[1:]), a, b) for k, a, b in zip(kinds, channels, channels[1:])]

    def fn(params, z):
        x = (z @ params[0]).reshape(-1, 4, 4, channels[0])
        for kind, kernel in zip(kinds, params[1:]):
            x = jax.nn.relu(x)
            x = deconv(x, kernel) if kind[0] == "d" else conv(repeat(x), kernel)
        return x

    return fn, shapes


@pytest.mark.parametrize(
    ("kinds", "redraw", "expected"),
    [
        (("d5", "d5", "d5"), 32, "both"),
        (("d5", "d5"), 0, "both"),
        (("d4", "d4"), 32, "lines"),
        (("r3", "r3", "d5"), 32, "both"),
        (("r3", "r3", "r3"), 32, "clean"),
        (("r3", "r3", "r3"), 0, "clean"),
        (("r5", "r5"), 32, "clean"),
    ],
)
def test_verdicts_of_generators_from_latents(kinds, redraw, expected, rng):
    fn, shapes = generator(kinds, (32, 16, 8, 3))
    result = probed(fn, weights(rng, *shapes), jnp.ones((2, 16)), redraw=redraw)
    assert verdict(result.outputs) == expected
    assert result.latent
    assert "No input has space" in result.notes[0]


def test_a_latent_with_spatial_axes_of_one_is_one_too(rng):
    def fn(params, z):
        x = lax.conv_transpose(z, params[0], (1, 1), "VALID", dimension_numbers=NUMBERS)
        return deconv(jax.nn.relu(x), params[1])

    result = probed(fn, weights(rng, (4, 4, 16, 32), (5, 5, 32, 3)), jnp.ones((2, 1, 1, 16)))
    assert result.latent
    assert verdict(result.outputs) == "both"


def test_white_pixels_from_latents_are_clean():
    """Depth to space of independent pixels: a period of two by its structure, and none in fact."""

    def fn(z):
        x = z.reshape(-1, 8, 8, 2, 2, 3)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 16, 16, 3)

    for seed in range(20):
        assert verdict(probed(fn, jnp.ones((1, 768)), key=jax.random.key(seed)).outputs) == "clean"


def test_a_position_embedding_is_noise_and_no_grid(rng):
    params = weights(rng, (3, 3, 8, 8), (1, 8, 8, 8))
    assert verdict(probed(lambda p, x: conv(repeat(x + p[1]), p[0]), params, jnp.ones((1, 8, 8, 8))).outputs) == "clean"


def test_an_answer_made_of_rounding_is_none(rng):
    """Instance norm of a field constant in space: zeros in exact arithmetic."""

    def fn(kernel, x):
        x = (x - x.mean((1, 2), keepdims=True)) / jnp.sqrt(x.var((1, 2), keepdims=True) + 1e-6)
        return deconv(x, kernel)

    assert output(fn, weights(rng, (4, 4, 8, 8))[0], jnp.ones((1, 8, 8, 8))).lattice_ratio == 0


def test_operations_without_a_rule_do_not_hide_a_grid(rng):
    fn = lambda k, x: jnp.sort(deconv(x, k), axis=-1)  # noqa: E731
    result = probed(fn, weights(rng, (4, 4, 8, 8))[0], jnp.ones((1, 8, 8, 8)))
    assert verdict(result.outputs) == "lines"
    assert "whole field" in result.notes[0]


# Draws


def test_parameters_are_redrawn_with_their_own_size():
    arrays = [
        np.full((3, 3, 40, 50), 2.0, np.float32), np.zeros((100, 400), np.float32), np.ones(7, np.float32),
        np.arange(6).reshape(2, 3), np.full((4, 4), 0.5, jnp.bfloat16), np.full((), 3.0, np.float32),
    ]  # fmt: skip
    redraw = Redraw(arrays)
    assert redraw.count == 18000 + 40000 + 16
    drawn = redraw(np.random.default_rng(0).standard_normal(redraw.count).astype(np.float32))
    assert [a.dtype for a in drawn] == [a.dtype for a in arrays]
    assert drawn[0].std() == pytest.approx(2, rel=0.03)
    assert drawn[1].std() == pytest.approx(0.1, rel=0.03)
    for at in (2, 3, 5):
        np.testing.assert_array_equal(drawn[at], arrays[at])


def test_a_model_draws_its_own_parameters_and_given_ones_stay(rng):
    x, bad = jnp.ones((1, 8, 8, 4)), weights(rng, (3, 3, 4, 4))[0]
    fn = lambda k, x: deconv(x, k)  # noqa: E731
    box = lambda key: (jax.random.normal(key, (1, 1, 4, 4)) * jnp.ones((2, 2, 1, 1)),)  # noqa: E731
    good = box(KEY)[0]
    field = output(fn, good, x, draw=box)
    assert field.lattice_ratio < 1e-9
    assert output(fn, good, x).lattice_ratio > 1
    assert output(fn, good, x, redraw=0).lattice_ratio < 1e-9
    assert output(fn, bad, x, redraw=0).lattice_ratio > 0.1


def test_a_draw_that_cannot_be_compiled_is_run_as_it_is(rng):
    def stubborn(key):
        return (jnp.asarray(np.asarray(jax.random.normal(key, (4, 4, 4, 4)))),)

    kernel = weights(rng, (4, 4, 4, 4))[0]
    assert output(lambda k, x: deconv(x, k), kernel, jnp.ones((1, 8, 8, 4)), draw=stubborn).lattice_ratio > 1


def test_one_key_gives_one_answer(rng):
    kernel, x = weights(rng, (4, 4, 4, 4))[0], jnp.ones((1, 8, 8, 4))
    fields = [output(lambda k, x: deconv(x, k), kernel, x, key=jax.random.key(seed), redraw=4) for seed in (1, 1, 2)]
    assert fields[0] == fields[1]
    assert fields[0].lattice_ratio != fields[2].lattice_ratio


@pytest.mark.parametrize(("size", "expected"), [(4, "lines"), (3, "both")])
def test_single_channels_are_drawn_until_chance_is_told_apart(size, expected):
    """Four weights a phase: 32 draws of equal phases differ by more than the threshold, one time in a few."""
    kernel = jnp.ones((size, size, 1, 1))
    for seed in range(3):
        result = probed(lambda k, x: deconv(x, k), kernel, jnp.ones((1, 8, 8, 1)), key=jax.random.key(seed))
        assert verdict(result.outputs) == expected


def test_a_close_call_takes_more_draws():
    """Counts of 3 and 2, one channel: powers of 1.5 to 1, where 32 draws make nearly as much by chance."""
    numbers, x = ("NHC", "HIO", "NHC"), jnp.ones((1, 16, 1))
    for seed in range(3):
        fn = lambda k, x: lax.conv_transpose(x, k, (2,), "SAME", dimension_numbers=numbers)  # noqa: E731
        result = probed(fn, jnp.ones((5, 1, 1)), x, key=jax.random.key(seed))
        assert verdict(result.outputs) == "both"
        assert result.draws > 32


def test_chance_covers_equal_phases_and_not_others(rng):
    equal = rng.gamma(2, size=(400, 32, 2, 2))
    beyond = sum(each.sum(0).max() / each.sum(0).min() > power_chance(each) for each in equal)
    assert beyond <= 8  # 0.5% are expected
    assert power_chance(equal[0] * [[1, 2], [1, 2]]) == pytest.approx(power_chance(equal[0]), rel=1e-6)
    assert power_chance(equal[0, :1]) == math.inf


def test_small_and_large_numbers_neither_vanish_nor_overflow(rng):
    kernel, x = weights(rng, (4, 4, 4, 4))[0], jnp.ones((1, 8, 8, 4))
    plain, *others = (
        output(lambda k, x, s=scale: deconv(x, k) * jnp.float32(s), kernel, x, redraw=4)
        for scale in (1, 2.0**-90, 2.0**90)
    )
    for other in others:
        assert other.lattice_ratio == pytest.approx(plain.lattice_ratio, rel=1e-5)
        assert other.power_ratio == pytest.approx(plain.power_ratio, rel=1e-5)


def test_draws_that_are_not_finite_are_left_out_and_counted():
    fn = lambda p, x: deconv(x, p[:, :, :4]) / jnp.where(p[0, 0, 4, 0] > 0, 1.0, 0.0)  # noqa: E731
    result = probed(fn, jnp.ones((4, 4, 5, 4)), jnp.ones((1, 8, 8, 4)))
    assert result.outputs[0] is not None
    assert 0 < result.outputs[0].draws < 32
    assert "not finite" in result.notes[-1]


# Gradients


def gradient_of(fn, *args, **options):
    """The output's cotangent is the data, the input is context."""
    *params, x = args
    y = jax.eval_shape(fn, *params, x)
    pulled = lambda *given: jax.vjp(lambda x: fn(*given[:-2], x), given[-2])[1](given[-1])[0]  # noqa: E731
    at = len(jax.tree.leaves(params))
    return output(pulled, *params, x, jnp.ones(y.shape), context=[at], **options)


def test_gradients_of_strides_and_pools(rng):
    x = jnp.ones((1, 24, 24, 8))
    strided = gradient_of(lambda k, x: conv(x, k, 2), weights(rng, (3, 3, 8, 8))[0], x)
    assert strided.power_ratio == pytest.approx(4, rel=0.2)
    pooled = gradient_of(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"), x)
    assert pooled.zero_share == 0.75
    assert verdict([pooled]) == "clean"
    wide = gradient_of(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID"), x)
    assert wide.power_ratio == pytest.approx(4, rel=0.15)  # mean wins 4 : 2 : 2 : 1
    assert wide.zero_share == pytest.approx(0.84, abs=0.02)
    assert verdict([wide]) == "both"


def test_the_masks_of_a_gradient_are_noise_around_its_lines(rng):
    """A flat cotangent is masked by what the white input makes of relu: a floor, above which only lines count."""

    def fn(params, x):
        x = conv(jax.nn.relu(conv(jax.nn.relu(x), params[0])), params[1])
        return x.reshape(1, 8, 2, 8, 2, 8).mean((2, 4))

    assert verdict([gradient_of(fn, weights(rng, *[(3, 3, 8, 8)] * 2), jnp.ones((1, 16, 16, 8)))]) == "clean"
    strided = lambda p, x: conv(jax.nn.relu(conv(jax.nn.relu(x), p[0], 2)), p[1])  # noqa: E731
    params = weights(rng, (4, 4, 8, 8), (3, 3, 8, 8))
    assert verdict([gradient_of(strided, params, jnp.ones((1, 16, 16, 8)))]) == "lines"


# Fields inside, and what cannot be probed


def test_nodes_inside_are_measured_where_the_program_holds_them(rng):
    """Born in the deconvolution, gone after the filter with zeros at the lattice."""
    blur = jnp.asarray(np.multiply.outer(np.ones((2, 2)) / 4, np.eye(4)), jnp.float32)
    fn = lambda k, x: conv(jnp.tanh(deconv(1e-3 * x, k)), blur)  # noqa: E731
    args = weights(rng, (4, 4, 4, 4))[0], jnp.ones((1, 8, 8, 4))
    program, graph, flat, values = read(fn, *args)
    result = probe_program(
        "audit", program, graph, flat, data=values, layouts=["channel_last"], key=KEY, nodes=range(len(graph.nodes))
    )
    kinds = {graph.nodes[i].operation or graph.nodes[i].kind: field for i, field in result.nodes.items()}
    assert kinds["tanh"].lattice_ratio > 1
    assert result.outputs[0] is not None
    assert result.outputs[0].lattice_ratio < 1e-6


def test_outputs_without_space_are_none_and_several_are_all_measured(rng):
    kernel = weights(rng, (4, 4, 4, 4))[0]
    result = probed(lambda k, x: (x.mean((1, 2)), deconv(x, k), repeat(x)), kernel, jnp.ones((1, 8, 8, 4)))
    assert result.outputs[0] is None
    assert verdict(result.outputs[1:2]) == "lines"
    assert verdict(result.outputs[2:]) == "clean"


def test_several_inputs_are_probed_together():
    field = output(lambda z, x: repeat(x + z[:, None, None]), jnp.ones((1, 4)), jnp.ones((1, 8, 8, 4)), data=2)
    assert field.lattice_ratio == 0
    assert field.power_ratio < 1.1


def test_integer_data_cannot_be_probed():
    with pytest.raises(TypeError, match=r"audit: data must be floating.*input 0 is int32.*inputs="):
        probed(lambda x: repeat(x.astype(jnp.float32)), jnp.ones((1, 8, 8, 4), jnp.int32))


def test_a_program_that_is_never_finite_says_so():
    with pytest.raises(ValueError, match=r"audit: no draw of the parameters gives finite fields.*redraw=0"):
        probed(lambda x: repeat(x) * jnp.float32(math.nan), jnp.ones((1, 8, 8, 4)), redraw=2)

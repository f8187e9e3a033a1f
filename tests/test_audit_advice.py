"""Advice, and what comes of it: the changes that `try_fix` makes, held against loops and measured by other means."""

from __future__ import annotations

import dataclasses
import pathlib
import runpy
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from checkerjax import ops
from checkerjax.audits._fixes import box, changed
from checkerjax.audits._reading import read
from checkerjax.audits._remedies import gradient_remedies, remedies

HERE = pathlib.Path(__file__)
zoo = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_forms.py"))))
programs = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_programs.py"))))
BY_NAME = {form.name: form for form in [*zoo.forms(), *programs.forms()]}
LINE = zoo.SIZES[1]


def reading_of(form):
    """The reading of a form as a function of its arrays, the data last."""
    leaves, tree = jax.tree.flatten(form.params())
    arrays = [*leaves, form.data()]
    closed = jax.make_jaxpr(lambda *a: jax.tree.leaves(form.fn(jax.tree.unflatten(tree, a[:-1]), a[-1])))(*arrays)
    return read(closed, arrays, [len(leaves)], [form.layout])


def loose(reading):
    return [f for f in reading.findings if f.role in ("up", "shuffle") and f.grade != "tied"]


def lines_over_dc(y):
    """Of the middle of `[N, *spatial, C]`: variance over space, over the squared mean."""
    middle = [slice(n // 2 - max(2, n // 8), n // 2 + max(2, n // 8)) for n in y.shape[1:-1]]
    inside = np.asarray(y, np.float64)[(slice(None), *middle)]
    axes = tuple(range(1, y.ndim - 1))
    return inside.var(axes).sum() / (inside.mean(axes) ** 2).sum()


def flat_data(reading, seed=0):
    """Random parameters, and data constant in space."""
    rng = np.random.default_rng(seed)
    *parameters, x = (rng.standard_normal(a.shape).astype(np.float32) for a in reading.arrays)
    roles = reading.graph.nodes[reading.graph.located[reading.data[0]].node].roles
    first = tuple(slice(0, 1) if isinstance(r, int) else slice(None) for r in roles)
    return [*parameters, np.broadcast_to(x[first], x.shape)]


FIXED = [
    "lax SAME k5 s2 1-D", "lhs_dilation k4 s3", "k3 d2 s2", "k3x3 s3x2", "groups k4 s2",
    "zeros by strided set, conv k3", "zeros by repeat times mask", "box of 3 by dilation", "sub-pixel after a ReLU",
    "depth to space alone", "scan over layers", "NCH deconv", "ops.conv_transpose d2",
    "vmap over kernels, own inputs", "U-Net, deconv", "k4 s2, k3 s2 1-D",
]  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_the_first_advice_takes_the_lines_away_for_any_weights(name):
    form = BY_NAME[name]
    reading = reading_of(form)
    arrays = flat_data(reading)
    channels = -1 if form.layout == "channel_last" else 1
    before = np.moveaxis(np.asarray(jax.jit(changed(reading.program, []))(*arrays)[0]), channels, -1)
    assert lines_over_dc(before) > 1e-2
    for trained in (False, True):
        edits = [e for f in loose(reading) for e in remedies(f, reading, trained=trained)[0].edits]
        assert edits
        after = np.moveaxis(np.asarray(jax.jit(changed(reading.program, edits))(*arrays)[0]), channels, -1)
        assert after.shape == before.shape
        assert lines_over_dc(after) < 1e-10
        assert np.abs(after).max() > 1e-3 * np.abs(before).max()


def resized_by_loop(x, kernel, s, low, size, d):
    """Correlation of `[N, H, I]` repeated s times with `[k, I, O]`, `low` zeros before it, `size` outputs."""
    y = np.repeat(x, s, 1)
    out = np.zeros((x.shape[0], size, kernel.shape[2]))
    for n in range(size):
        for j in range(kernel.shape[0]):
            at = n + d * j - low
            if 0 <= at < y.shape[1]:
                out[:, n] += y[:, at] @ kernel[j]
    return out


@pytest.mark.parametrize(("padding", "k", "s", "d"), [("SAME", 5, 2, 1), ("VALID", 4, 3, 1), ("SAME", 3, 2, 2)])
def test_a_transposed_convolution_becomes_a_resize_convolution(padding, k, s, d):
    """Of lax with its kernel as it is; of this package with its kernel flipped, which stamps."""
    rng = np.random.default_rng(3)
    x, kernel = rng.standard_normal((2, 7, 3)).astype("f"), rng.standard_normal((k, 3, 4)).astype("f")
    lax_form = zoo.lax_deconv(s, padding, dilation=d)
    own = lambda p, x: ops.conv_transpose(x, p["kernel"], stride=s, padding=padding, dilation=d)  # noqa: E731
    for fn, stamp in ((lax_form, kernel), (own, kernel[::-1])):
        closed = jax.make_jaxpr(lambda kernel, x, fn=fn: fn({"kernel": kernel}, x))(kernel, x)
        reading = read(closed, [kernel, x], [1], ["channel_last"])
        (finding,) = reading.findings
        (edited,) = changed(reading.program, remedies(finding, reading, trained=False)[0].edits)(kernel, x)
        (conv,) = [n for n in reading.graph.nodes if n.kind == "conv"]
        weights, places = conv.reads[0].weights, conv.reads[0].positions
        n, j = map(int, np.argwhere((weights != 0) & ~conv.reads[0].outside[:, None])[0])
        tap = j if fn is lax_form else k - 1 - j  # reads of a stamp run backwards
        low = n + d * tap - s * int(places[n, j])
        np.testing.assert_allclose(edited, resized_by_loop(x, stamp, s, low, edited.shape[1], d), atol=1e-4)


def test_a_box_takes_the_mean_of_what_came_before_or_comes_after():
    x = np.arange(12.0, dtype=np.float32).reshape(1, 6, 2)
    behind, ahead = (np.asarray(box(jnp.asarray(x), {1: 3}, ahead=a)) for a in (False, True))
    np.testing.assert_allclose(behind[0, 2:, 0], [2, 4, 6, 8])
    np.testing.assert_allclose(ahead[0, :4, 0], [2, 4, 6, 8])
    np.testing.assert_allclose(np.asarray(box(jnp.asarray(x), {1: 3}, mean=False))[0, :, 1], [1, 4, 9, 15, 21, 27])


COARSE = [
    "conv k3 s2", "conv k1 s2", "strided slice", "gather of every second", "average pool k3 s2", "ops.conv s2",
    "space to depth, conv k3", "patches k8 s8", "resize linear to half",
]  # fmt: skip


def gradient_reading(form, forward):
    """The reading of the gradient of a form, and a cotangent of ones."""
    out = forward.graph.nodes[forward.end(forward.ends[0])].shape
    *parameters, x = forward.arrays
    params = dict(zip(sorted(form.shapes), parameters))
    ones = jnp.ones(out)
    closed = jax.make_jaxpr(lambda p, x, ct: jax.vjp(lambda x: form.fn(p, x), x)[1](ct))(params, x, ones)
    count = len(forward.arrays)
    return read(closed, [*forward.arrays, ones], [count], [form.layout], context=[count - 1]), ones


@pytest.mark.parametrize("name", COARSE)
def test_blurring_before_a_stride_evens_the_gradient_for_any_weights(name):
    form = BY_NAME[name]
    if name.startswith("space to depth"):  # its windows of 6 samples leave no interior of 8
        form = dataclasses.replace(form, x=(1, 24, 24, zoo.C))
    reading = reading_of(form)
    rows, ones = gradient_reading(form, reading)
    (up,) = [f for f in rows.findings if f.role == "up"]
    offered = gradient_remedies(up, rows, reading)
    assert offered[0].edits
    arrays = flat_data(reading)

    def gains(edits):
        fn = changed(reading.program, edits)
        (slope,) = jax.jit(lambda *a: jax.vjp(lambda x: fn(*a[:-1], x)[0], a[-1])[1](ones))(*arrays)
        return lines_over_dc(slope)

    assert gains(offered[0].edits) < 1e-10
    if up.grade != "tied":
        assert gains([]) > 1e-2


def test_max_blur_pool_is_its_loop():
    x = np.random.default_rng(0).standard_normal((1, 9, 9, 2)).astype("f")
    form = zoo.Form("", lambda p, x: linen.max_pool(x, (3, 3), (2, 2)), {}, (), "", x=x.shape)
    reading = reading_of(form)
    rows, _ = gradient_reading(form, reading)
    (edited,) = changed(reading.program, gradient_remedies(rows.findings[0], rows, reading)[0].edits)(x)
    largest = np.stack([[x[0, i : i + 3, j : j + 3].max((0, 1)) for j in range(7)] for i in range(7)])
    for i in range(3):
        for j in range(3):
            np.testing.assert_allclose(
                edited[0, i, j], largest[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((0, 1)), rtol=1e-5
            )
    assert edited.shape == (1, 4, 4, 2)


def audit(name, redraw=16, **options):
    form = BY_NAME[name]
    return zoo.audit_form(form, redraw=redraw, **options)


def test_advice_names_layer_arguments_effect_and_cost():
    (finding,) = audit("lax SAME k3 s2", backward=False).forward
    first, tied, second, third = finding.advice
    assert all(text.startswith(finding.source) for text in finding.advice)
    assert "resize to the nearest by 2, then convolve with kernel size 3 at stride 1" in first
    products = (3 * 8 - 1) ** 2 * 8 * 8  # on each axis 8 samples meet 3 taps, and one pair falls off the border
    assert f"4 times the products ({products / 1e3:.3g}k to {4 * products / 1e3:.3g}k MACs)" in first
    assert "1.78 times by checkerjax.resize_conv" in first
    assert "equal_gains=True" in tied
    assert "what a nearest resize and kernel size 2 make" in tied
    assert "mean of 2 samples along each axis" in second
    assert "kernel size 4 for 3" in third
    assert "lines remain at random initialisation" in third


def test_what_a_later_filter_repairs_needs_no_change():
    report = audit("k3 s2, FIR 1331", backward=False)
    born, ended = report.forward
    assert len(born.advice) == 1
    assert born.advice[0].startswith("No change needed: its grid ends at the")
    assert not ended.advice
    fix = report.try_fix()
    assert fix.after is report
    assert fix.conclusion() == "Nothing to change."


def test_a_filter_that_repairs_half_is_no_repair():
    """[1, 2, 1] takes the lines and leaves powers of 25 : 16."""
    born, _ = audit("k3 s2, FIR 121", redraw=32, backward=False).forward
    assert "resize to the nearest" in born.advice[0]


def test_a_filter_that_a_shortcut_goes_around_is_no_repair():
    def around(params, x):
        y = programs.deconv(x, params["first"])
        return jnp.concatenate([y + zoo.blur(y, (1, 3, 3, 1)), programs.deconv(x, params["second"])], -1)

    shapes = dict.fromkeys(("first", "second"), (3, 3, zoo.C, zoo.C))
    form = dataclasses.replace(BY_NAME["k3 s2, FIR 1331"], fn=around, shapes=shapes)
    ups = [f for f in zoo.audit_form(form, redraw=8, backward=False).forward if f.role == "up"]
    assert ["resize to the nearest" in f.advice[0] for f in ups] == [True, True]


def test_tied_operations_get_no_advice():
    assert not audit("nearest by jnp.repeat, conv k3", backward=False).forward[0].advice


def test_trained_weights_are_kept():
    (finding,) = audit("lax SAME k3 s2", redraw=0, backward=False).forward
    assert "keep it and take the mean" in finding.advice[0]
    assert "project_equal_gains(kernel, 2)" in finding.advice[1]
    (shuffled,) = audit("sub-pixel, 1-D", redraw=0, backward=False).forward
    assert ["keep it" in text for text in shuffled.advice] == [True, False]
    (drawn,) = audit("sub-pixel, 1-D", backward=False).forward
    assert "ICNR" in drawn.advice[0]


def test_try_fix_shows_before_and_after_of_output_and_gradient():
    fix = audit("conv k3 s2").try_fix()
    assert (fix.before.verdict, fix.after.verdict) == ("clean", "clean")
    assert (fix.before.backward_verdict, fix.after.backward_verdict) == ("both", "clean")
    assert fix.is_clean
    assert fix.helped
    text = fix.table()
    assert "No grid is left after 1 change." in text
    assert "both -> clean" in text
    assert "blur before the strided convolution" in text
    assert max(map(len, text.splitlines())) <= 100


def test_try_fix_says_what_is_left():
    """Of taps 1 2 3 4 a box evens the sums, not the energies: phases 1 + 25 + 16 and 9 + 49 = 58 : 42 on each axis."""
    fix = audit("FIR 1234 by dilation", backward=False).try_fix()
    assert fix.after.output.lattice_ratio < 1e-6
    assert fix.after.output.power_ratio == pytest.approx((58 / 42) ** 2, rel=0.05)
    assert fix.helped
    assert not fix.is_clean
    assert fix.conclusion() == "1 change made; what is left above the limits: phase powers of the output."


def test_one_of_two_changes_leaves_the_grid_of_the_other():
    report = audit("k3 s2, relu, k3 s2 1-D", redraw=32, backward=False)
    first, second = report.forward
    both, one = report.try_fix(), report.try_fix(finding=first)
    assert len(both.changes) == 2
    assert both.is_clean
    assert len(one.changes) == 1
    assert not one.is_clean
    assert not one.helped
    assert "above the limits" in one.conclusion() or "did not help" in one.conclusion()
    with pytest.raises(ValueError, match=r"finding must be one of report\.forward or report\.backward"):
        both.after.try_fix(finding=second)


def test_a_loss_takes_the_output_of_the_changed_program_as_it_was():
    def outputs(params, x):
        return {"image": programs.deconv(x, params["kernel"]), "count": jnp.ones((), jnp.int32)}

    form = dataclasses.replace(BY_NAME["lax SAME k3 s2"], fn=outputs)
    loss = lambda y: (y["image"] ** 2).sum() * y["count"].astype(jnp.float32)  # noqa: E731
    fix = zoo.audit_form(form, redraw=2, backward=False, loss=loss).try_fix()
    assert fix.after.loss_verdict is not None
    assert fix.after.output.lattice_ratio < 1e-6


def test_nothing_is_claimed_of_what_was_not_measured():
    fix = audit("lax SAME k3 s2", static=True).try_fix()
    assert len(fix.changes) == 1
    assert "nothing was measured" in fix.conclusion()
    assert not fix.is_clean
    assert not fix.helped


def test_steps_inside_a_loop_are_named_and_left():
    report = audit("while loop", redraw=4, backward=False)
    with pytest.raises(ValueError, match="inside a loop or branch"):
        report.try_fix(finding=report.forward[0])


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_tied_gains_make_what_a_nearest_resize_and_a_smaller_kernel_make(size):
    """What is said of `equal_gains=True`: each sample s times over, then a loop over the taps."""
    from checkerjax.nn import linen as ours

    x = np.random.default_rng(0).standard_normal((1, 7, 2)).astype("f")
    layer = ours.ConvTranspose(3, (size,), (2,), padding="VALID", equal_gains=True, use_bias=False)
    y, variables = layer.init_with_output(jax.random.key(0), x)
    smaller = np.asarray(variables["params"]["kernel"])
    assert smaller.shape == (size - 1, 2, 3)
    whole = resized_by_loop(x, smaller, 2, size - 2, y.shape[1], 1)
    np.testing.assert_allclose(y, whole, atol=1e-5)


def test_projected_kernels_leave_no_lines():
    rng = np.random.default_rng(0)
    kernel = ops.project_equal_gains(jnp.asarray(rng.standard_normal((3, 3, 4, 4)), jnp.float32), 2)
    flat = jnp.ones((1, 9, 9, 4))
    y = jax.lax.conv_transpose(flat, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert lines_over_dc(np.asarray(y)) < 1e-10


def test_a_grid_beside_a_larger_mean_needs_its_change_all_the_same():
    """A sigmoid's 0.5 makes the ratios small, and the grid stays."""
    form = dataclasses.replace(
        BY_NAME["lax SAME k3 s2"], fn=lambda p, x: jax.nn.sigmoid(0.02 * BY_NAME["lax SAME k3 s2"].fn(p, x))
    )
    report = zoo.audit_form(form, redraw=8, backward=False)
    assert report.verdict == "clean"
    assert "But there is one after" in report.table()
    assert "resize to the nearest" in report.forward[0].advice[0]
    assert len(report.try_fix().changes) == 1

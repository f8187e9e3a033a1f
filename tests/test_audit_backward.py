"""What the input gradient of a program is: each coarsening becomes an upsampling, and the reverse.

The gradient of a convolution of stride s is a transposed convolution with the same kernel: a sample that c windows read
collects c independent terms, so phase powers go with the counts of windows.
"""

from __future__ import annotations

import math
import pathlib
import runpy
import types

import jax
import jax.numpy as jnp
import pytest
from flax import linen, nnx

HERE = pathlib.Path(__file__)
zoo = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_forms.py"))))
programs = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_programs.py"))))
modules = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_modules.py"))))
FORMS = [form for form in [*zoo.forms(), *programs.forms()] if form.backward is not None]
BY_NAME = {form.name: form for form in [*zoo.forms(), *programs.forms()]}
KEY = jax.random.key(0)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name.replace(" ", "_"))
def test_the_gradient_of_each_form_is_found_for_what_it_is(form):
    report = zoo.audit_form(form, static=True)
    assert zoo.told(report.backward, form.backward, form.ordered) == zoo.asked(form.backward, form.ordered)
    assert zoo.told(report.forward, form.forward, form.ordered) == zoo.asked(form.forward, form.ordered)


def test_the_zoo_has_gradients_of_every_grade():
    assert {each.grade for form in FORMS for each in form.backward} == {"holes", "uneven", "untied", "tied"}


def gradient_of(size, stride, x=(2, 24, 24, zoo.C), redraw=32, padding="VALID"):
    params = zoo.Form("", zoo.dilated_conv(1), zoo.weights(size, size), (), "").params()
    data = zoo.Form("", zoo.dilated_conv(1), {}, (), "", x=x).data()
    report = zoo.audit(lambda p, x: zoo.conv(x, p["kernel"], stride, padding), params, data, key=KEY, redraw=redraw)
    (finding,) = report.backward
    return finding


# Windows per phase and axis: 2 : 1, 3 : 2, 4 : 3 and 3 : 2 (of eleven on four, 3 3 3 2); squared in two axes.
@pytest.mark.parametrize(
    ("size", "stride", "ratio"), [(3, 2, 4.0), (5, 2, 2.25), (7, 2, 16 / 9), (4, 2, 1.0), (11, 4, 2.25)]
)
def test_powers_of_the_gradient_go_with_the_counts_of_windows(size, stride, ratio):
    finding = gradient_of(size, stride, x=(2, 24 * stride // 2, 24 * stride // 2, zoo.C))
    assert (finding.kernel_size, finding.stride) == ((size, size), (stride, stride))
    # Of s^2 phases the largest and the smallest are taken: chance adds, the more the phases.
    assert ratio * 0.85 < finding.power_ratio < ratio * (1.2 if stride == 2 else 1.35)


def test_pixels_that_a_stride_skips_get_no_gradient():
    assert gradient_of(1, 2).power_ratio == math.inf
    assert gradient_of(1, 2).grade == "holes"


def pooled(pool):
    form = BY_NAME["max pool k3 s2"]
    x = zoo.Form("", form.fn, {}, (), "", x=(4, 24, 24, zoo.C)).data()
    (finding,) = zoo.audit(lambda x: pool(x), x, key=KEY, redraw=32).backward
    return finding


def test_average_pools_send_back_their_counts():
    """Three on two: means 2 : 1 on each axis, so lines of (1 + 1/9)^2 - 1 and independent powers of 4 : 1."""
    found = pooled(lambda x: programs.avg_pool(x, (3, 3), (2, 2)))
    assert found.lattice_ratio == pytest.approx(19 / 81, rel=1e-3)
    assert found.power_ratio == pytest.approx(4, rel=0.15)
    even = pooled(lambda x: programs.avg_pool(x, (2, 2), (2, 2)))
    assert even.lattice_ratio == pytest.approx(0, abs=1e-6)
    assert even.power_ratio == pytest.approx(1, abs=1e-3)  # one window and one number for every sample of a block


def test_max_pools_send_back_their_wins():
    """Of independent samples each of a window's wins equally often: one in four, or as many as the windows read it."""
    assert pooled(lambda x: linen.max_pool(x, (2, 2), (2, 2))).power_ratio < 1.2
    assert pooled(lambda x: linen.max_pool(x, (3, 3), (2, 2))).power_ratio == pytest.approx(4, rel=0.2)


def test_zeros_of_a_strided_slice_are_lines_as_strong_as_the_mean():
    (finding,) = zoo.audit_form(BY_NAME["strided slice"], redraw=2).backward
    assert finding.lattice_ratio == pytest.approx(3, rel=1e-4)
    assert finding.power_ratio == math.inf


def test_the_gradient_is_not_walked_where_it_is_not_asked_for():
    report = zoo.audit_form(BY_NAME["conv k3 s2"], static=True, backward=False)
    assert not report.backward
    assert [finding.role for finding in report.forward] == ["down"]


def test_a_loop_without_a_reverse_pass_keeps_its_forward_findings():
    """Reverse-mode differentiation of `while_loop` does not exist: the report says nothing backward, and stands."""
    form = BY_NAME["while loop"]
    report = zoo.audit_form(form, static=True)
    assert zoo.told(report.forward, form.forward) == zoo.asked(form.forward)
    assert not report.backward


def test_the_gradient_of_dead_code_is_not_listed():
    report = zoo.audit_form(BY_NAME["dead deconvolution"], static=True)
    assert [(finding.role, finding.stride) for finding in report.backward] == [("down", (2, 2))]


def test_modules_are_told_by_name_and_line_in_the_gradient_too():
    x = BY_NAME["max pool k3 s2"].data()[..., :4]
    pool, stem = zoo.audit(modules.NnxDown(nnx.Rngs(0)), x, key=KEY, static=True).backward
    assert (pool.grade, stem.grade) == ("untied", "uneven")
    assert "stem" in stem.path
    assert stem.source.rpartition("/")[2] == f"{modules.FILE.name}:{modules.line_of('nnx stem')}"
    second, first = zoo.audit(modules.Deconvs(), jnp.asarray(x), key=KEY, static=True).backward
    assert ("ConvTranspose_1" in second.path, "ConvTranspose_0" in first.path) == (True, True)

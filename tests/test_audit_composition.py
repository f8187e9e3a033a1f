"""Verdicts of whole programs: what reaches the output, and not what each of its parts is."""

from __future__ import annotations

import pathlib
import runpy
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import count, init, stacks

HERE = pathlib.Path(__file__)
zoo = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_forms.py"))))
programs = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_programs.py"))))
FORMS = [*programs.compositions(), *programs.gradients()]
BY_NAME = {form.name: form for form in FORMS}
KEY = jax.random.key(0)


def every(forms):
    return pytest.mark.parametrize("form", forms, ids=lambda form: form.name.replace(" ", "_"))


@every(FORMS)
def test_every_part_is_listed_in_program_order(form):
    report = zoo.audit_form(form, static=True, backward=False)
    assert zoo.told(report.forward, form.forward, form.ordered) == zoo.asked(form.forward, form.ordered)


@every(FORMS)
def test_the_verdict_is_that_of_the_whole(form):
    report = zoo.audit_form(form, redraw=form.redraw, backward=False)
    assert report.verdict == form.verdict
    assert zoo.told(report.forward, form.forward, form.ordered) == zoo.asked(form.forward, form.ordered)


@pytest.mark.parametrize("name", ["k3 s2, FIR 1331", "k3 s2, box of 2", "k3 s2, FIR 121"])
def test_a_filter_with_zeros_at_the_lattice_takes_the_lines_away(name):
    """Where the grid is born, and where it ends: lines after the deconvolution, none after the filter."""
    born, ended = zoo.audit_form(BY_NAME[name], redraw=8, backward=False).forward
    assert born.lattice_ratio > 0.1
    assert ended.lattice_ratio < 1e-6
    assert born.power_ratio > 3


def test_the_power_left_by_a_binomial_of_three_is_its_closed_form():
    """Phases collect 8 and 10 squared taps on each axis, (10 / 8)^2 in two."""
    _, ended = zoo.audit_form(BY_NAME["k3 s2, FIR 121"], redraw=64, backward=False).forward
    assert ended.power_ratio == pytest.approx(1.5625, rel=0.1)


def test_thresholds_are_the_callers():
    form = BY_NAME["k3 s2, FIR 121"]
    assert zoo.audit_form(form, redraw=32, backward=False, max_power_ratio=2.0).verdict == "clean"
    lines = BY_NAME["k4 s2 alone"]
    assert zoo.audit_form(lines, redraw=32, backward=False, max_lattice_ratio=1e6).verdict == "clean"


def test_trained_parameters_are_judged_as_they_are():
    """Equal gains of every phase, reached by weights and not by structure: a box of two divides the kernel."""
    rng = np.random.default_rng(11)
    base = rng.standard_normal((3, 3, zoo.C, zoo.C)) / np.sqrt(9 * zoo.C)
    kernel = np.zeros((4, 4, zoo.C, zoo.C))
    for dy, dx in np.ndindex(2, 2):
        kernel[dy : dy + 3, dx : dx + 3] += base
    params = {"kernel": jnp.asarray(kernel, jnp.float32)}
    form = BY_NAME["k4 s2 alone"]
    given = zoo.audit(form.fn, params, form.data(), key=KEY, redraw=0, backward=False)
    assert given.forward[0].grade == "untied"
    assert given.forward[0].lattice_ratio < 1e-6
    assert given.verdict in ("clean", "power")  # powers of one given draw are what they are
    assert zoo.audit(form.fn, params, form.data(), key=KEY, redraw=32, backward=False).verdict == "lines"


TEXTS = [
    "deconv k4 s2",
    "deconv k5 s2, relu, deconv k5 s2",
    "conv k3 s2, relu, deconv k3 s2, conv k3",
    "resize k3 s2 nearest, relu, conv k3",
    "subpixel k3 s2, conv k3",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_stack_of_a_program_counts_as_the_one_it_was_written_from(text):
    stack = stacks.parse_stack(text)
    params = init(KEY, stack, channels=4, width=4)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 12, 12, 4)), jnp.float32)
    report = zoo.audit(lambda p, x: stacks.apply(p, stack, x), params, x, key=KEY, static=True)
    assert report.stack is not None
    np.testing.assert_array_equal(count(report.stack, (12, 12)), count(stack, (12, 12)))


def test_a_program_without_a_stack_has_none():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 8, 8, 4)), jnp.float32)
    assert zoo.audit(lambda x: jnp.sort(zoo.repeat(x, 2), axis=1), x, key=KEY, static=True).stack is None

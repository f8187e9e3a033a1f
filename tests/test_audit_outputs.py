"""Functions that return several fields, take several, or end in a loss: each field counts, by its name."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checkerjax as cj
from checkerjax.audits._report_parts import THRESHOLDS, Outcome, Thresholds, joint_verdict, worst_first

C = 8
NHWC = ("NHWC", "HWIO", "NHWC")
KEY = jax.random.key(0)


def normal(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


X = normal((2, 24, 24, C))
K3, K4 = normal((3, 3, C, C), 1), normal((4, 4, C, C), 2)


def deconv(x, k):
    return jax.lax.conv_transpose(x, k, (2, 2), "SAME")


def conv(x, k, stride=1):
    return jax.lax.conv_general_dilated(x, k, (stride, stride), "SAME", dimension_numbers=NHWC)


def nearest(x):
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


def told(findings):
    return [(f.role, f.kernel_size, f.stride, f.grade) for f in findings]


def verdicts(report):
    return {o.name: o.verdict(report.thresholds) for o in report.outputs}


def model(k, x):
    return {
        "class": x.mean((1, 2)),  # no field
        "even": [nearest(x), deconv(x, k[1])],
        "mask": jnp.ones((1, 8, 8, 2)),  # not made from the data
        "odd": deconv(x, k[0]),
        "scalar": x.sum(),
        "small": x.mean((1, 2), keepdims=True),  # one sample
    }


def test_every_field_counts_and_has_its_name():
    report = cj.audit(model, [K3, K4], X, redraw=16)
    assert report.verdict == "both"
    assert verdicts(report) == {"odd": "both", "even/1": "lines", "even/0": "clean"}
    assert report.output is report.outputs[0]
    assert [o.name for o in report.outputs] == ["odd", "even/1", "even/0"]
    assert (report.line_periods, report.power_periods) == ((2,), (2,))
    assert sorted(told(report.forward)) == sorted(
        [("up", (2, 2), (2, 2), "tied"), ("up", (4, 4), (2, 2), "untied"), ("up", (3, 3), (2, 2), "uneven")]
    )
    for text in (report.table(), report.to_markdown(), report.to_json()):
        assert "even/1" in text


@pytest.mark.parametrize("first", [0, 1])
def test_each_field_is_measured_as_if_it_were_the_only_one(first):
    """The same draws, whichever comes first."""
    outputs = [lambda k, x: deconv(x, k), lambda k, x: nearest(x)]
    outputs = outputs[first:] + outputs[:first]
    both = cj.audit(lambda k, x: tuple(fn(k, x) for fn in outputs), K3, X, redraw=4, backward=False)
    assert both.verdict == "both"
    for name, fn in zip("01", outputs):
        alone = cj.audit(fn, K3, X, redraw=4, backward=False).output
        (found,) = (o for o in both.outputs if o.name == name)
        assert found.lattice_ratio == pytest.approx(alone.lattice_ratio, rel=1e-5, abs=1e-12)
        assert found.power_ratio == pytest.approx(alone.power_ratio, rel=1e-5)
    worst = cj.audit(lambda k, x: deconv(x, k), K3, X, redraw=4, backward=False)
    assert both.spectrum is not None
    assert worst.spectrum is not None
    np.testing.assert_allclose(both.spectrum, worst.spectrum, rtol=1e-4)


def test_lines_of_one_field_and_powers_of_another_are_both():
    lines, power, clean = Outcome(0.5, 1.0), Outcome(0.0, 2.0), Outcome(0.0, 1.0)
    assert joint_verdict([lines, power], THRESHOLDS) == "both"
    assert joint_verdict([clean, power], THRESHOLDS) == "power"
    assert joint_verdict([clean, lines, Outcome(None, None)], THRESHOLDS) == "lines"
    assert joint_verdict([clean], THRESHOLDS) == "clean"
    assert joint_verdict([Outcome(None, None)], THRESHOLDS) is None


def test_the_worst_is_the_first():
    both, lines, more, clean = Outcome(0.1, 1.5), Outcome(0.5, 1.0), Outcome(0.7, 1.0), Outcome(0.0, 1.1)
    assert worst_first([clean, lines, both, more], THRESHOLDS) == [2, 3, 1, 0]
    grades = [Outcome(None, None, grade=g) for g in ("tied", "holes", "uneven")]
    assert worst_first(grades, THRESHOLDS) == [1, 2, 0]
    assert worst_first([clean, Outcome(math.inf, math.inf)], Thresholds(0.0, 1.0)) == [1, 0]


def test_gradients_of_all_inputs_count():
    def fn(k, x, z):
        return conv(x, k, 2) + conv(z, k)

    report = cj.audit(fn, K3, X, normal((2, 12, 12, C), 4), inputs=(1, 2), redraw=16)
    found = {o.name: o.verdict(report.thresholds) for o in report.backward_outcomes}
    assert found == {"x": "both", "z": "clean"}
    assert report.backward_verdict == "both"
    assert told(report.backward) == [("up", (3, 3), (2, 2), "uneven")]


def test_a_function_that_gives_one_number_has_its_gradient():
    report = cj.audit(lambda k, x: (conv(x, k, 2) ** 2).sum(), K3, X, redraw=4)
    assert (report.verdict, told(report.forward)) == (None, [("down", (3, 3), (2, 2), "tied")])
    assert (report.backward_verdict, told(report.backward)) == ("power", [("up", (3, 3), (2, 2), "uneven")])


# The gradient of a loss.


def stem(k, x):
    return jax.nn.relu(conv(jax.nn.relu(conv(x, k, 2)), k))


LOSSES = {
    "of squares": lambda y: (y**2).mean(),
    "of one channel": lambda y: y[..., 0].mean(),
    "the mean": lambda y: y.mean(),
    "absolute": lambda y: jnp.abs(y - 1).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_loss_has_findings_and_a_trace(name):
    report = cj.audit(stem, K3, X, loss=LOSSES[name], redraw=16)
    assert told(report.loss) == [("up", (3, 3), (2, 2), "uneven")] == told(report.backward)
    assert report.loss_verdict in ("both", "power")
    assert report.loss[0].power_ratio == pytest.approx(4, rel=0.35)
    assert [t.label.split()[0] for t in report.loss_trace] == ["conv", "up"]
    assert report.loss[0].source.endswith(f"test_audit_outputs.py:{conv.__code__.co_firstlineno + 1}")


def test_what_a_loss_does_itself_is_told():
    """Of a perceptual loss: strides behind a model that has none."""
    report = cj.audit(lambda k, x: conv(x, k), K3, X, loss=lambda y: (conv(y, K3, 2) ** 2).mean(), redraw=16)
    assert (report.verdict, report.backward_verdict, report.loss_verdict) == ("clean", "clean", "both")
    assert told(report.backward) == []
    assert told(report.loss) == [("up", (3, 3), (2, 2), "uneven")]


def test_a_gradient_that_does_not_depend_on_the_data_is_measured_too():
    """The mean of a strided convolution: counts 2 and 1 on each axis, whatever the kernel is."""
    report = cj.audit(lambda k, x: conv(x, k, 2), K3, X, loss=lambda y: y.mean(), redraw=16)
    assert report.loss_verdict == "both"
    assert told(report.loss) == [("up", (3, 3), (2, 2), "uneven")]


def test_of_equal_samples_a_pool_prefers_none():
    def pooled(k, x):
        return jax.lax.reduce_window(conv(x, k), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    report = cj.audit(pooled, K3, X, loss=lambda y: (y**2).mean(), redraw=16)
    assert (report.loss_verdict, told(report.loss)) == ("clean", [("up", (2, 2), (2, 2), "untied")])
    assert report.loss[0].zero_share == pytest.approx(0.75, abs=1e-3)


def test_a_loss_is_read_where_nothing_is_run():
    report = cj.audit(stem, K3, X, loss=LOSSES["of squares"], static=True)
    assert (report.loss_verdict, told(report.loss)) == (None, [("up", (3, 3), (2, 2), "uneven")])

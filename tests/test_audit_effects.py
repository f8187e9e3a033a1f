"""Functions that do more than return arrays: what they keep is refused, what they print is left out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

import checkerjax as cj

C = 4
X = jax.random.normal(jax.random.key(0), (1, 12, 12, C))
K = jax.random.normal(jax.random.key(1), (3, 3, C, C))


def deconv(x, k):
    return jax.lax.conv_transpose(x, k, (2, 2), "SAME")


def told(findings):
    return [(f.role, f.grade) for f in findings]


@pytest.fixture
def called():
    """Grows with each call of the host."""
    return []


kept = []


@pytest.mark.parametrize("keep", [lambda x: x, lambda x: jax.nn.relu(2 * x)], ids=["input", "made of it"])
def test_an_array_that_is_kept_is_one_clear_error(keep):
    def fn(k, x):
        kept.append(keep(x))
        return deconv(x, k)

    with pytest.raises(ValueError, match=r"^audit: fn has a side effect: it keeps an array of one call.*Return") as e:
        cj.audit(fn, K, X, static=True)
    assert isinstance(e.value.__cause__, jax.errors.UnexpectedTracerError)
    assert str(e.value).count("\n") == 0
    kept.clear()


def test_what_is_kept_in_a_circle_that_nobody_holds_is_no_side_effect():
    class Layer:
        def __init__(self):
            self.own = self

        def __call__(self, k, x):
            self.last = deconv(x, k)
            return self.last

    report = cj.audit(lambda k, x: Layer()(k, x), K, X, static=True)
    assert told(report.forward) == [("up", "uneven")]


def test_prints_are_left_out_and_said_to_be(called, capfd):
    def fn(k, x):
        def turn(carry, _):
            jax.debug.print("carry {}", carry.mean())
            return 2 * carry, None

        x, _ = jax.lax.scan(turn, x, None, length=2)
        x = jax.lax.cond(x.sum() > 0, lambda x: (jax.debug.print("up"), x)[1], lambda x: 2 * x, x)
        jax.debug.callback(lambda value: called.append(value), x.sum())
        return deconv(jax.jit(lambda x: (jax.debug.print("jit {}", x[0, 0, 0, 0], ordered=True), x)[1])(x), k)

    report = cj.audit(fn, K, X, redraw=2)
    jax.effects_barrier()
    assert (report.verdict, told(report.forward)) == ("both", [("up", "uneven")])
    assert told(report.backward) == [("down", "tied")]
    assert "What fn prints by jax.debug is left out." in report.notes
    assert not called
    assert capfd.readouterr() == ("", "")


def test_calls_whose_results_nobody_reads_are_left_out(called):
    def fn(k, x):
        io_callback(lambda value: called.append(value), None, x.sum(), ordered=True)
        return deconv(x, k)

    report = cj.audit(fn, K, X, redraw=2)
    jax.effects_barrier()
    assert (report.verdict, told(report.forward)) == ("both", [("up", "uneven")])
    assert any("io_callback" in note for note in report.notes)
    assert not called


@pytest.mark.parametrize("call", [io_callback, jax.pure_callback])
def test_calls_that_make_the_image_are_not_understood_and_measured(call):
    def fn(k, x):
        y = deconv(x, k)
        return call(lambda y: np.asarray(y), jax.ShapeDtypeStruct(y.shape, y.dtype), y)

    report = cj.audit(fn, K, X, redraw=8)
    assert report.verdict == "both"
    assert [f.role for f in report.forward] == ["up", "unknown"]
    assert [f.operation for f in report.not_understood] == [f"{call.__name__} (no rule)"]
    assert any("gradient of the input was left out" in note for note in report.notes)


def test_arrays_that_are_written_to_are_not_understood():
    def fn(k, x):
        held = jax.new_ref(jnp.zeros_like(x))
        held[...] = x
        return deconv(held[...], k)

    report = cj.audit(fn, K, X, redraw=2, backward=False)
    assert report.verdict != "clean"
    assert [f.role for f in report.forward] == ["unknown", "up"]


def test_a_function_that_was_compiled_before_is_read_as_it_is_written():
    """Where it was called, the resize runs at low resolution; afterwards it still does."""
    x, k = jnp.ones((1, 32, 32, 64)), jnp.ones((3, 3, 64, 64))
    model = jax.jit(lambda k, x: cj.resize_conv(x, k, scale=2))
    before = str(jax.make_jaxpr(model)(k, x))
    assert "4,4,64,64" in before.replace("[", "").replace("]", "")
    report = cj.audit(model, k, x, static=True)
    assert report.stack is not None
    assert cj.format_stack(report.stack) == "resize k3 c64"
    assert [(f.role, f.kernel_size, f.grade) for f in report.forward] == [("up", (3, 3), "tied")]
    assert str(jax.make_jaxpr(model)(k, x)) == before


def test_an_audit_leaves_nothing_behind_in_what_is_compiled_later():
    x, k = jnp.ones((1, 32, 32, 64)), jnp.ones((3, 3, 64, 64))
    model = jax.jit(lambda k, x: cj.resize_conv(x, k, scale=2))
    cj.audit(model, k, x, static=True)
    assert "4,4,64,64" in str(jax.make_jaxpr(model)(k, x))

"""Where an operation was written: the user's line, and the path of its module, whatever is wrapped around it."""

from __future__ import annotations

import importlib
import inspect
import pathlib
import sys

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax import lax
from jax.extend.core import jaxprs_in_params

import checkerjax
from checkerjax.audits._sources import UNKNOWN, path_of, source_of
from checkerjax.audits._subjects import make_subject

X = jnp.ones((2, 4, 3))
KERNEL = jnp.ones((3, 3, 3))
HERE = "tests/test_audit_sources.py"


def conv(x, kernel=KERNEL):
    return lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))  # MARK conv


def nested(jaxpr, around=()):
    """Every equation, after those that it is nested in."""
    for eqn in jaxpr.eqns:
        yield (*around, eqn)
        for inner in jaxprs_in_params(eqn.params):
            yield from nested(inner, (*around, eqn))


def found(fn, *args, primitive="conv_general_dilated", key=None, grad=False):
    """The source and path of each operation of a kind in an audited call."""
    subject = make_subject("audit", fn, args, inputs=None, key=key)

    def program(parameters, data):
        if not grad:
            return subject.call(parameters, data)
        return jax.grad(lambda data: subject.call(parameters, data).sum())(data)

    closed = jax.make_jaxpr(program)(subject.parameters, subject.data)
    return [
        (source_of(*eqns), path_of(eqn.source_info.name_stack for eqn in eqns))
        for eqns in nested(closed.jaxpr)
        if eqns[-1].primitive.name == primitive
    ]


def line(mark):
    """This file and the line that ends in a mark."""
    lines = pathlib.Path(__file__).read_text(encoding="utf-8").splitlines()
    (number,) = [i for i, text in enumerate(lines, 1) if text.endswith(f"# MARK {mark}")]
    return f"{HERE}:{number}"


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.ConvTranspose(3, (4,), (2,))(x))  # MARK linen


class Decoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = Block(name="first")(x)
        x = nn.remat(Block)(name="again")(x)
        return nn.jit(Block)(name="compiled")(x)


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.chdir(pathlib.Path(__file__).parent.parent)


def test_a_functions_own_line():
    assert found(conv, X) == [(line("conv"), "")]


@pytest.mark.parametrize("grad", [False, True])
def test_linen_modules_are_told_by_the_users_line_and_their_names(grad):
    got = found(Decoder(), X, key=jax.random.key(0), grad=grad)
    assert {source for source, _ in got} == {line("linen")}
    assert {path for _, path in got} == {f"Decoder/{name}/ConvTranspose_0" for name in ("first", "again", "compiled")}
    assert len(got) >= 3 + 3 * grad


def under_named_scope(x):
    with jax.named_scope("block (1)"):
        return conv(x)


@pytest.mark.parametrize(
    ("fn", "path"),
    [
        (jax.jit(under_named_scope), "block (1)"),
        (jax.checkpoint(under_named_scope), "block (1)"),
        (jax.vmap(lambda x: under_named_scope(x[None])), "block (1)"),
        (lambda x: lax.scan(lambda c, _: (under_named_scope(c), None), x, None, length=2)[0], "block (1)"),
        (lambda x: lax.cond(x.sum() > 0, under_named_scope, lambda x: x, x), "block (1)"),
        (lambda x: lax.while_loop(lambda c: c.sum() < 0, under_named_scope, x), "block (1)"),
        (jax.named_scope("outer")(jax.jit(under_named_scope)), "outer/block (1)"),
        (jax.grad(lambda x: under_named_scope(x).sum()), "block (1)"),
    ],
    ids=["jit", "checkpoint", "vmap", "scan", "cond", "while", "scope around jit", "grad"],
)
def test_transforms_hide_neither_line_nor_path(fn, path):
    got = found(fn, X)
    assert got
    assert set(got) == {(line("conv"), path)}


@jax.custom_vjp
def with_gradient(x):
    return conv(x)


with_gradient.defvjp(lambda x: (with_gradient(x), None), lambda _, g: (conv(g),))


def test_a_gradient_of_ones_own():
    assert found(with_gradient, X) == [(line("conv"), "")]
    assert all(source.startswith(HERE) for source, _ in found(lambda x: with_gradient(x), X, grad=True))


def doubled(x):
    return jax.image.resize(x, (2, 8, 3), "nearest")  # MARK doubled


def doubled_again(x):
    return jax.image.resize(x, (2, 8, 3), "nearest")  # MARK doubled again


def test_a_library_function_that_was_traced_elsewhere_is_told_by_the_line_that_calls_it():
    """`resize` is jitted, so JAX reads it once for a shape: its own equations know nothing of the second caller."""
    jax.image.resize(X, (2, 8, 3), "nearest")
    assert found(doubled, X, primitive="gather") == [(line("doubled"), "")]
    assert found(doubled_again, X, primitive="gather") == [(line("doubled again"), "")]


def test_a_function_that_was_compiled_before_keeps_its_lines():
    compiled = jax.jit(under_named_scope)
    compiled(X)
    assert found(compiled, X) == [(line("conv"), "block (1)")]


def test_checkerjaxs_own_operators_are_told_by_the_line_that_calls_them():
    got = found(lambda x: checkerjax.conv(x, KERNEL), X, primitive="checkerjax_gather")
    assert [source for source, _ in got] == [f"{HERE}:{inspect.currentframe().f_lineno - 1}"]  # pyright: ignore[reportOptionalMemberAccess]


def test_the_caller_of_an_audit_is_not_the_model():
    """With no line of the user's inside the call, the layer's own is told, not the line that audits."""
    (got,) = found(nn.Conv(3, (3,)), X, key=jax.random.key(0))
    assert "flax/linen/linear.py:" in got[0]
    assert got[1] == "Conv"
    assert found(jnp.flip, X, primitive="rev") == [(UNKNOWN, "")]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A model in an installed package, and a function of another package that it uses."""
    packages = tmp_path / "lib" / "site-packages"
    (packages / "their_models").mkdir(parents=True)
    (packages / "their_models" / "__init__.py").write_text(
        "from jax import lax\ndef model(k, x):\n"
        "    return lax.conv_general_dilated(x, k, (1,), 'SAME', dimension_numbers=('NHC', 'HIO', 'NHC'))\n"
    )
    monkeypatch.syspath_prepend(str(packages))
    importlib.invalidate_caches()
    yield importlib.import_module("their_models")
    sys.modules.pop("their_models")


def test_an_installed_model_is_told_by_its_own_file(installed, tmp_path, monkeypatch):
    ((source, _),) = found(installed.model, KERNEL, X)
    assert source == f"{(tmp_path / 'lib/site-packages/their_models/__init__.py').as_posix()}:3"
    monkeypatch.chdir(tmp_path)
    assert found(installed.model, KERNEL, X) == [("lib/site-packages/their_models/__init__.py:3", "")]


def test_the_users_line_goes_before_an_installed_one(installed):
    ((source, _),) = found(lambda x: installed.model(KERNEL, x), X)
    assert source == f"{HERE}:{inspect.currentframe().f_lineno - 1}"  # pyright: ignore[reportOptionalMemberAccess]


def test_code_without_a_file():
    names = {}
    exec(compile("def fn(x):\n    return x[::-1] * 2\n", "<stdin>", "exec"), names)
    assert found(names["fn"], X, primitive="rev") == [("<stdin>:2", "")]


def test_an_equation_without_a_traceback():
    eqn = jax.make_jaxpr(jnp.sin)(X).eqns[0]
    bare = eqn.replace(source_info=eqn.source_info.replace())
    bare.source_info.traceback = None
    assert source_of(bare) == UNKNOWN

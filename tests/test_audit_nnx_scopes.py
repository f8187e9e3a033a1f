"""nnx modules run under their attribute paths while they are audited, and are left as they were."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from checkerjax.audits import _nnx_scopes
from checkerjax.audits._sources import path_of, source_of
from checkerjax.audits._subjects import make_subject

X = jnp.ones((2, 4, 3))


class Block(nnx.Module):
    def __init__(self, rngs, fails=False):
        self.conv = nnx.Conv(3, 3, (3,), rngs=rngs)
        self.fails = fails

    def __call__(self, x):
        if self.fails:
            raise KeyError("size")
        return jnp.tanh(self.conv(x))  # the line of every convolution of a block


class Louder(Block):
    def __call__(self, x):
        return 2 * super().__call__(x)


class Decoder(nnx.Module):
    def __init__(self, rngs, fails=False):
        self.blocks = nnx.List([Block(rngs), Louder(rngs)])
        self.tail = nnx.Sequential(nnx.Conv(3, 3, (3,), rngs=rngs), nnx.relu, Block(rngs, fails))
        self.other = Reuser(self.blocks[0])

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.other(self.tail(x))


class Reuser(nnx.Module):
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x):
        return self.inner(x)


class Jitted(nnx.Module):
    def __init__(self, rngs):
        self.block = Block(rngs)

    @nnx.jit
    def __call__(self, x):
        return self.block(x)


def convs(jaxpr, around=()):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "conv_general_dilated":
            yield (*around, eqn)
        for inner in jaxprs_in_params(eqn.params):
            yield from convs(inner, (*around, eqn))


def read(module, *args):
    subject = make_subject("audit", module, args or (X,), inputs=None, key=jax.random.key(0))
    return [*convs(jax.make_jaxpr(subject.call)(subject.parameters, subject.data).jaxpr)]


def paths(module, *args):
    return [path_of(eqn.source_info.name_stack for eqn in eqns) for eqns in read(module, *args)]


def test_paths_are_those_of_attributes():
    """Lists and Sequential by index, a base class's call once, a module that two hold by the one that calls it."""
    assert paths(Decoder(nnx.Rngs(0))) == [
        "blocks/0/conv",
        "blocks/1/conv",
        "tail/layers/0",
        "tail/layers/2/conv",
        "other/inner/conv",
    ]


def test_lines_are_those_of_the_user():
    lines, start = __import__("inspect").getsourcelines(Block.__call__)
    number = start + next(i for i, text in enumerate(lines) if "every convolution" in text)
    sources = [source_of(*eqns) for eqns in read(Decoder(nnx.Rngs(0)))]
    assert [source.endswith(f"test_audit_nnx_scopes.py:{number}") for source in sources] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert all("test_audit_nnx_scopes.py:" in source for source in sources)  # a Sequential's by the line that calls it


def test_a_method_that_is_no_call():
    class Auto(nnx.Module):
        def __init__(self, rngs):
            self.up = Block(rngs)

        def decode(self, x):
            return self.up(x)

    assert paths(Auto(nnx.Rngs(0)).decode) == ["up/conv"]


def test_modules_that_nnx_makes_anew_are_told_by_the_only_one_of_their_class_or_by_the_class():
    module = Jitted(nnx.Rngs(0))
    jax.block_until_ready(module(X))  # pyright: ignore[reportCallIssue]  # traced before, without names
    assert paths(module) == ["block/conv"]

    class Stacked(nnx.Module):
        def __init__(self, rngs):
            self.blocks = nnx.vmap(Block)(rngs.split(3))

        def __call__(self, x):
            return nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.blocks)

    assert paths(Stacked(nnx.Rngs(0))) == ["blocks/conv"]

    class Two(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = Block(rngs), Block(rngs)

        def __call__(self, x):
            return nnx.remat(lambda block, x: block(x))(self.second, self.first(x))

    assert paths(Two(nnx.Rngs(0))) == ["first/conv", "Block/conv"]


def test_classes_are_left_as_they_were():
    kinds = (Block, Louder, Decoder, Reuser, nnx.Conv, nnx.Sequential)
    before = [vars(kind)["__call__"] for kind in kinds]
    paths(Decoder(nnx.Rngs(0)))
    with pytest.raises(ValueError, match="KeyError: 'size'"):
        paths(Decoder(nnx.Rngs(0), fails=True))
    assert [vars(kind)["__call__"] for kind in kinds] == before
    assert _nnx_scopes._patches == {}
    assert _nnx_scopes._calling.get() is None


def test_an_audit_within_an_audit():
    inner = Decoder(nnx.Rngs(1))

    class Outer(nnx.Module):
        def __init__(self, rngs):
            self.block = Block(rngs)

        def __call__(self, x):
            x = self.block(x)
            assert paths(inner)[0] == "blocks/0/conv"
            return self.block(x)

    original = vars(Block)["__call__"]
    assert paths(Outer(nnx.Rngs(0))) == ["block/conv", "block/conv"]
    assert vars(Block)["__call__"] is original


def test_other_threads_are_not_named():
    """A module that runs in another thread while one is audited gives what it always gives."""
    plain = Block(nnx.Rngs(0))
    expected = plain(X)
    seen = {}

    class Waits(nnx.Module):
        def __init__(self, rngs):
            self.block = Block(rngs)

        def __call__(self, x):
            def elsewhere():
                seen["out"] = plain(X)
                eqns = convs(jax.make_jaxpr(lambda x: plain(x))(X).jaxpr)
                seen["paths"] = [path_of(e.source_info.name_stack for e in eqn) for eqn in eqns]

            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            return self.block(x)

    assert paths(Waits(nnx.Rngs(0))) == ["block/conv"]
    np.testing.assert_array_equal(seen["out"], expected)
    assert seen["paths"] == [""]


def test_two_threads_at_once():
    got = {}
    barrier = threading.Barrier(2, timeout=60)

    class Meets(nnx.Module):
        def __init__(self, rngs, name):
            setattr(self, name, Block(rngs))
            self.child = name

        def __call__(self, x):
            barrier.wait()  # both have replaced the classes
            x = getattr(self, self.child)(x)
            barrier.wait()
            return x

    def audit(name):
        got[name] = paths(Meets(nnx.Rngs(0), name))

    original = vars(Block)["__call__"]
    threads = [threading.Thread(target=audit, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {"left": ["left/conv"], "right": ["right/conv"]}
    assert vars(Block)["__call__"] is original

"""What is audited: data, parameters and the rest told apart, and calls that give what the model itself gives."""

from __future__ import annotations

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

from checkerjax.audits._failures import explained
from checkerjax.audits._subjects import construct, make_subject
from checkerjax.audits._tracing import trace

KEY = jax.random.key(3)
X = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 3)), jnp.float32)
W = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3, 5)), jnp.float32)


def subject(fn, *args, inputs=None, key=None, **others):
    return make_subject("audit", fn, args, inputs=inputs, key=key, **others)


def conv(params, x, scale=1.0):
    out = lax.conv_general_dilated(x, params["w"], (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))
    return scale * (out + params["b"])


class Generator(nn.Module):
    features: int = 5
    train: bool = False

    @nn.compact
    def __call__(self, x, scale=1.0):
        x = nn.ConvTranspose(self.features, (3,), (2,))(x) * scale
        x = nn.BatchNorm(use_running_average=not self.train)(x)
        return nn.Dropout(0.5, deterministic=not self.train)(x)


class Upsampler(nnx.Module):
    def __init__(self, features=5, *, rngs):
        self.up = nnx.ConvTranspose(3, features, (3,), (2,), rngs=rngs)
        self.norm = nnx.BatchNorm(features, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.fixed = jnp.full(features, 2.0)

    def __call__(self, x):
        return self.drop(self.norm(self.up(x))) * self.fixed

    def decode(self, x, times):
        return times * self.up(x)


# Functions ------------------------------------------------------------------------------------------------------------


def test_a_functions_other_arrays_are_parameters():
    params = {"w": W, "b": jnp.ones(5)}
    got = subject(conv, params, X, 2.0)
    assert got.names == ("params/b", "params/w")
    assert [a.shape for a in got.parameters] == [(5,), (3, 3, 5)]
    assert got.draw is None
    np.testing.assert_array_equal(got.data[0], X)
    np.testing.assert_array_equal(got.call(got.parameters, got.data), conv(params, X, 2.0))


def test_a_call_takes_other_parameters_and_other_data():
    got = subject(conv, {"w": W, "b": jnp.ones(5)}, X)
    others = (jnp.zeros(5), 3 * W)
    np.testing.assert_allclose(got.call(others, (X[:1],)), conv({"b": others[0], "w": others[1]}, X[:1]), rtol=1e-6)


def test_a_call_can_be_traced_and_depends_on_nothing_else():
    got = subject(conv, {"w": W, "b": jnp.ones(5)}, X)
    program = jax.make_jaxpr(got.call)(got.parameters, got.data)
    assert len(program.jaxpr.invars) == 3
    assert program.consts == []


def test_the_last_floating_array_is_the_data():
    def fn(first, labels, second, flag, time):
        assert flag is True
        return first + second * time, labels

    labels = np.arange(2)
    got = subject(fn, X, labels, 2 * X, True, jnp.float32(0.5))
    assert got.names == ("first", "labels", "time")
    np.testing.assert_array_equal(got.data[0], 2 * X)
    assert subject(fn, X, labels, 2 * X, True, jnp.float32(0.5), inputs=0).names == ("labels", "second", "time")
    both = subject(fn, X, labels, 2 * X, True, jnp.float32(0.5), inputs=(2, 0))
    assert both.names == ("labels", "time")
    np.testing.assert_array_equal(both.data[1], X)
    out, _ = both.call(both.parameters, (jnp.ones_like(X), jnp.zeros_like(X)))
    np.testing.assert_array_equal(out, jnp.full_like(X, 0.5))


def test_integer_arrays_are_data_only_by_name():
    table = jnp.arange(12.0).reshape(4, 3)
    got = subject(lambda table, tokens: table[tokens], table, jnp.array([[1, 2]]), inputs=1)
    assert got.names == ("table",)
    assert got.data[0].dtype == jnp.int32
    assert subject(lambda table, tokens: table[tokens], table, jnp.array([[1, 2]])).names == ("tokens",)


def test_random_keys_are_passed_through():
    def fn(key, x):
        return x + jax.random.normal(key, x.shape)

    got = subject(fn, KEY, X)
    assert got.parameters == ()
    np.testing.assert_array_equal(got.call((), got.data), fn(KEY, X))
    with pytest.raises(
        TypeError, match=r"^audit: argument 0 is named by inputs and must be an array; got a random key"
    ):
        subject(fn, KEY, X, inputs=0)


def test_arrays_in_numpy_come_out_in_jax():
    got = subject(conv, {"w": np.asarray(W), "b": np.ones(5, np.float32)}, np.asarray(X))
    assert all(isinstance(a, jax.Array) for a in (*got.parameters, *got.data))


def test_a_callable_pytree_holds_its_own_parameters():
    got = subject(jax.tree_util.Partial(conv, {"w": W, "b": jnp.ones(5)}), X)
    assert len(got.parameters) == 2
    np.testing.assert_array_equal(got.call((jnp.zeros(5), 0 * W), got.data), jnp.zeros((2, 4, 5)))


def test_what_a_function_closes_over_is_constant():
    got = subject(functools.partial(conv, {"w": W, "b": jnp.ones(5)}), X)
    assert got.parameters == ()


def test_loss_is_checked_where_it_is_used():
    def mean_square(out):
        return (out**2).mean()

    got = subject(jnp.sin, X, loss=mean_square)
    assert got.loss is not None
    np.testing.assert_allclose(got.loss(X), (X**2).mean(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"^audit: loss must give one floating number; got float32\[2, 4, 3\]\.$"):
        subject(jnp.sin, X, loss=jnp.abs).loss(X)  # pyright: ignore[reportOptionalCall]
    with pytest.raises(TypeError, match=r"^audit: loss must be a function"):
        subject(jnp.sin, X, loss=3)  # pyright: ignore[reportArgumentType]


# Linen ----------------------------------------------------------------------------------------------------------------


def test_linen_with_its_variables():
    module = Generator()
    variables = module.init(KEY, X)
    got = subject(module, variables, X)
    assert "params/ConvTranspose_0/kernel" in got.names
    assert "batch_stats/BatchNorm_0/mean" in got.names
    assert len(got.names) == len(got.parameters) == 6
    np.testing.assert_array_equal(got.call(got.parameters, got.data), module.apply(variables, X))
    scaled = subject(module, variables, X, 2.0)
    np.testing.assert_array_equal(scaled.call(got.parameters, (X,)), module.apply(variables, X, 2.0))


def test_linen_initialised_here():
    module = Generator()
    got = subject(module, X, key=KEY)
    assert got.draw is not None
    again = got.draw(KEY)
    for name, a, b in zip(got.names, again, got.parameters):
        np.testing.assert_array_equal(a, b, err_msg=name)
    kernel = got.names.index("params/ConvTranspose_0/kernel")
    other = got.draw(jax.random.key(4))
    assert not np.array_equal(other[kernel], got.parameters[kernel])
    many = jax.vmap(got.draw)(jax.random.split(KEY, 64))
    assert many[kernel].shape == (64, 3, 3, 5)
    assert np.std(many[kernel]) == pytest.approx((1 / 9) ** 0.5, rel=0.05)  # LeCun: one over the taps that come in


def test_linen_without_values():
    got = subject(Generator(), X, key=KEY, values=False)
    assert all(isinstance(a, jax.ShapeDtypeStruct) for a in got.parameters)
    assert got.draw is not None
    program = jax.make_jaxpr(got.call)(got.parameters, got.data)
    assert program.out_avals[0].shape == (2, 8, 5)
    for shape, drawn in zip(got.parameters, jax.jit(got.draw)(KEY)):
        assert (drawn.shape, drawn.dtype) == (shape.shape, shape.dtype)


def test_linen_draws_do_not_run_the_module():
    ran = []

    class Slow(nn.Module):
        @nn.compact
        def __call__(self, x):
            jax.debug.callback(lambda x: ran.append(1), x)
            return nn.Dense(2)(jnp.sin(x))

    got = subject(Slow(), X, key=KEY)
    assert got.draw is not None
    got.draw(KEY)
    jax.effects_barrier()
    assert ran == []


def test_linen_whose_initialiser_looks_at_the_data():
    class Whitened(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x - self.param("mean", lambda key, x: x.mean((0, 1)), x)

    got = subject(Whitened(), X, key=KEY)
    np.testing.assert_allclose(got.parameters[0], X.mean((0, 1)), rtol=1e-5)


def test_linen_in_training_drops_its_updates_and_gets_random_numbers():
    module = Generator(train=True)
    variables = module.init({"params": KEY, "dropout": KEY}, X)
    got = subject(module, variables, X, key=KEY)
    out = got.call(got.parameters, got.data)
    assert out.shape == (2, 8, 5)
    assert 0.2 < float((out == 0).mean()) < 0.8
    without = subject(module, variables, X)
    with pytest.raises(ValueError, match=r"^audit: fn needs random numbers: .* Give key=jax\.random\.key\(0\), say"):
        without.call(without.parameters, without.data)


def test_linen_bound_to_its_variables():
    module = Generator()
    variables = module.init(KEY, X)
    got = subject(module.bind(variables), X)
    assert len(got.parameters) == 6
    np.testing.assert_array_equal(got.call(got.parameters, got.data), module.apply(variables, X))


def test_linens_apply_is_just_a_function():
    module = Generator()
    variables = module.init(KEY, X)
    got = subject(module.apply, variables, X)
    assert got.draw is None
    assert len(got.parameters) == 6
    np.testing.assert_array_equal(got.call(got.parameters, got.data), module.apply(variables, X))


def test_linen_without_variables_or_key():
    with pytest.raises(ValueError, match=r"^audit: Generator has no variables; give them as the first argument after"):
        subject(Generator(), X)


def test_linen_with_the_variables_of_another_module():
    got = subject(Generator(), Generator(features=7).init(KEY, X), X)
    assert got.draw is not None
    with pytest.raises(ValueError, match=r"initialised with other arrays than those given \(.*\); redraw=0"):
        got.draw(KEY)
    less = jax.tree.map(lambda a: a, Generator().init(KEY, X))
    del less["params"]["BatchNorm_0"]["bias"]
    less = subject(Generator(), less, X)
    assert less.draw is not None
    with pytest.raises(ValueError, match=r"those given \(params/BatchNorm_0/bias\); redraw=0 takes those given"):
        less.draw(KEY)


# nnx ------------------------------------------------------------------------------------------------------------------


def test_nnx_variables_are_parameters_and_other_arrays_constants():
    module = Upsampler(rngs=nnx.Rngs(0))
    module.eval()
    got = subject(module, X)
    assert sorted(got.names) == ["norm/bias", "norm/mean", "norm/scale", "norm/var", "up/bias", "up/kernel"]
    assert got.draw is None
    np.testing.assert_array_equal(got.call(got.parameters, got.data), module(X))
    changed = tuple(jnp.zeros_like(a) for a in got.parameters)
    np.testing.assert_array_equal(got.call(changed, got.data), jnp.zeros((2, 8, 5)))


def test_nnx_state_is_not_touched():
    module = Upsampler(rngs=nnx.Rngs(0))  # training: new statistics, and a count of random numbers
    before = jax.tree.leaves(nnx.split(module, nnx.BatchStat, ...)[1])
    got = subject(module, X)
    first = got.call(got.parameters, got.data)
    jax.make_jaxpr(got.call)(got.parameters, got.data)
    np.testing.assert_array_equal(got.call(got.parameters, got.data), first)
    for a, b in zip(before, jax.tree.leaves(nnx.split(module, nnx.BatchStat, ...)[1])):
        np.testing.assert_array_equal(a, b)
    assert module(X).shape == first.shape  # no tracer was left behind


def test_nnx_class_is_drawn_anew():
    got = subject(functools.partial(Upsampler, features=64), X, key=KEY)
    assert got.draw is not None
    for a, b in zip(got.draw(KEY), got.parameters):
        np.testing.assert_array_equal(a, b)
    kernel = jax.jit(got.draw)(jax.random.key(8))[got.names.index("up/kernel")]
    assert kernel.shape == (3, 3, 64)
    assert not np.array_equal(kernel, got.parameters[got.names.index("up/kernel")])
    with pytest.raises(ValueError, match=r"^audit: Upsampler is a class; give key= to initialise it, or an instance"):
        subject(Upsampler, X)


def test_a_method_of_an_nnx_module():
    module = Upsampler(rngs=nnx.Rngs(0))
    got = subject(module.decode, X, 3)
    assert "up/kernel" in got.names
    np.testing.assert_array_equal(got.call(got.parameters, got.data), 3 * module.up(X))


# Construction ---------------------------------------------------------------------------------------------------------


def test_construct():
    assert construct("audit", Generator, {"features": 9}, KEY).features == 9
    assert construct("audit", Upsampler, {"features": 9}, KEY).fixed.shape == (9,)
    rngs = nnx.Rngs(5)
    given = construct("audit", functools.partial(Upsampler, rngs=rngs), {}, KEY)
    assert given.drop.rngs is not None


def test_construct_refused():
    with pytest.raises(TypeError, match=r"^audit: Generator cannot be constructed: .*width.* arguments are: features,"):
        construct("audit", Generator, {"width": 9}, KEY)
    with pytest.raises(ValueError, match=r"^audit: Odd cannot be constructed: KeyError: 'size'\. Its arguments are: a"):
        construct("audit", Odd, {"a": 9}, KEY)


class Odd:
    def __init__(self, a):
        self.a = {}["size"]


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "args", "inputs", "message"),
    [
        (3, (X,), None, r"^audit: fn must be a function or a module with __call__; got int\.$"),
        (jnp.sin, (), None, r"^audit: no argument after fn is a floating array, .* got no arguments"),
        (jnp.sin, ({"a": X}, 2), None, r"no argument after fn is a floating array, .* got dict, int"),
        (jnp.sin, (X,), 1, r"^audit: inputs must be positions of the 1 arguments after fn, from 0 on; got 1\.$"),
        (jnp.sin, (X,), -2, r"from 0 on; got -2\.$"),
        (jnp.sin, (X,), (), r"from 0 on; got none\.$"),
        (jnp.add, (X, X), (0, -2), r"^audit: inputs must name each argument once"),
        (jnp.sin, (X,), "x", r"^audit: inputs must be positions of arguments, such as 0 or \(0, 2\); got 'x'\.$"),
        (jnp.add, ({"a": X}, X), 0, r"^audit: argument 0 is named by inputs and must be an array; got dict\.$"),
        (conv, ({"w": W}, X, 1.0, 2.0), 1, r"^audit: fn cannot be called with 4 arguments: too many positional"),
    ],
)
def test_bad_input(fn, args, inputs, message):
    with pytest.raises((TypeError, ValueError), match=message):
        subject(fn, *args, inputs=inputs)


@pytest.mark.parametrize(
    ("key", "got"), [(3, "int"), (jnp.ones(2), "another array"), (jax.random.split(KEY, 2), "another array")]
)
def test_a_key_that_is_none(key, got):
    with pytest.raises(TypeError, match=rf"^audit: key must be one key, such as jax\.random\.key\(0\); got {got}\.$"):
        subject(Generator(), X, key=key)


def test_a_transformed_object_is_told_to_give_its_apply():
    class Transformed:
        apply = staticmethod(conv)

    with pytest.raises(TypeError, match=r"got Transformed\. Give its \.apply\.$"):
        subject(Transformed(), X)


def test_traced_arguments_are_refused():
    with pytest.raises(TypeError, match=r"^audit: arguments must be arrays with values; got traced ones\. Call it out"):
        jax.jit(lambda x: subject(jnp.sin, x).call((), (x,)))(X)


class Keeps:
    held: ClassVar[list] = []

    def __call__(self, x):
        if self.held:
            return x + self.held[0]
        self.held.append(2 * x)
        return x


@pytest.mark.parametrize(
    ("fn", "kind", "message"),
    [
        (lambda x: x if x.sum() > 0 else -x, TypeError, "needs the value of an array .* jax.lax.cond"),
        (lambda x: x * float(x.sum()), TypeError, "needs the value of an array"),
        (lambda x: jnp.zeros(jnp.int32(x.sum())), TypeError, "needs the value of an array"),
        (lambda x: jnp.asarray(np.sin(np.asarray(x))), TypeError, "turns an array into a NumPy one, .* jax.numpy"),
        (lambda x: x[x > 0], ValueError, "has shapes that depend on data: it indexes with a mask. Use jnp.where"),
        (lambda x: {}["w"], ValueError, "raised KeyError: 'w'"),
        (lambda x: x @ jnp.ones((7, 7)), TypeError, "raised TypeError: dot_general requires contracting dimensions"),
        (lambda x: "image", TypeError, "must return arrays; got str"),
        (lambda x: None, TypeError, "must return arrays; got NoneType"),
    ],
)
def test_what_fails_inside_is_one_sentence_with_its_cause(fn, kind, message):
    got = subject(fn, X)
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        jax.make_jaxpr(got.call)(got.parameters, got.data)
    assert str(caught.value).startswith("audit: fn ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if "must return" not in message:
        assert isinstance(caught.value, kind)
        assert caught.value.__cause__ is not None
        assert "test_audit_subjects.py:" in str(caught.value)


def test_an_array_kept_from_another_call():
    got = subject(Keeps(), X)
    for _ in range(2):  # while it is kept, and when it is read again
        with pytest.raises(ValueError, match=r"^audit: fn has a side effect: it keeps an array of one call"):
            trace("audit", lambda data: got.call((), data), got.data)
    with pytest.raises(TypeError, match=r"^audit: fn has a side effect: it keeps an array of one call") as caught:
        got.call((), got.data)
    assert isinstance(caught.value.__cause__, jax.errors.UnexpectedTracerError)
    Keeps.held.clear()


def test_what_is_one_sentence_already_stays_so():
    said = ValueError("audit: fn is said.")
    with pytest.raises(ValueError, match="said") as caught, explained("audit"):
        raise said
    assert caught.value is said

"""Sweeps of functions: pure ones, and Flax modules of both kinds."""

from __future__ import annotations

from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from checkerjax import conv_transpose, lattice_share, stacks
from checkerjax.sweeps import Config, open, sweep, sweep_function

pytest.importorskip("xarray")
STACK = "deconv k3 s2 c3"


def init(key, x):
    return stacks.init(key, STACK, channels=x.shape[-1])


def apply(params, x):
    return stacks.apply(params, STACK, x, precision="highest")


def test_a_function_is_measured_as_its_stack_would_be():
    """The same statistics of other numbers: means over many seeds agree."""
    options: dict[str, Any] = {"seeds": 400, "base_seed": 1}
    found = sweep_function(init, apply, size=8, margin=2, **options)
    expected = sweep([Config("a", STACK, input="probe", size=8, margin=2, batch=1, measured=1)], **options)
    for name in ("variance", "line_power", "phase_power"):
        one, other = (dataset[name].squeeze().values for dataset in (found, expected))
        error = np.hypot(one.std(0), other.std(0)) / np.sqrt(400)
        assert (np.abs(one.mean(0) - other.mean(0)) < 5 * error).all(), name


def test_each_seed_has_parameters_of_its_own_key():
    found = sweep_function(init, apply, size=8, seeds=[4], input="white", name="mine")
    key = jax.random.fold_in(jax.random.key(0), 4)
    x = jax.random.normal(key, (8 * 8 * 3,)).reshape(1, 8, 8, 3)
    share = lattice_share(apply(init(key, x), x), 2)
    np.testing.assert_allclose(found.lattice_share.squeeze(), share, rtol=1e-5)
    assert found.config.values.tolist() == ["mine"]


def test_linen_modules():
    up = linen.ConvTranspose(3, (3, 3), strides=(2, 2))
    found = sweep_function(up.init, up.apply, size=8, channels=4, seeds=20)
    assert found.lattice_share.min() > 0.1
    even = linen.ConvTranspose(3, (4, 4), strides=(2, 2), kernel_init=linen.initializers.ones)
    clean = sweep_function(even.init, even.apply, size=8, margin=2, channels=4, seeds=2)
    assert clean.lattice_share.max() < 1e-6


class Up(nnx.Module):
    def __init__(self, rngs):
        self.up = nnx.ConvTranspose(4, 3, (3, 3), strides=(2, 2), rngs=rngs)

    def __call__(self, x):
        return jax.nn.relu(self.up(x))


def test_nnx_modules_and_gradients():
    graph = nnx.graphdef(Up(nnx.Rngs(0)))

    def start(key, x):
        return nnx.state(Up(nnx.Rngs(key)))

    def run(state, x):
        return nnx.merge(graph, state)(x)

    found = sweep_function(start, run, size=8, channels=4, seeds=20)
    assert found.lattice_share.min() > 0.05
    assert (found.zero_share > 0.1).any()
    assert len(np.unique(found.variance)) == 20
    gradient = sweep_function(start, run, size=8, channels=4, seeds=3, direction="gradient", cotangent="logistic")
    assert np.isfinite(gradient.variance).all()


def test_functions_have_stores_too_and_another_function_is_refused(tmp_path):
    options: dict[str, Any] = {"size": 8, "seeds": 6, "chunk": 2, "store": tmp_path / "a.zarr"}
    found = sweep_function(init, apply, **options)
    again = sweep_function(init, apply, **options)
    np.testing.assert_array_equal(found.variance, again.variance)
    np.testing.assert_array_equal(open(tmp_path / "a.zarr").variance, found.variance)
    with pytest.raises(ValueError, match="holds another sweep: its configurations is code="):
        sweep_function(init, lambda params, x: 2 * apply(params, x), **options)


def ones(key, x):
    return jnp.ones((3, 3, 3, 3))


def up(kernel, x):
    return conv_transpose(x, kernel, stride=2)


BAD = [
    ({"init": 3}, TypeError, "sweep_function: init must be a function; got int"),
    ({"apply": lambda kernel, x: x[0]}, ValueError, r"apply must give \[1, y, x, C\]; got shape \(8, 8, 3\)"),
    ({"apply": lambda kernel, x: (x, x)}, ValueError, r"apply must give \[1, y, x, C\]; got tuple"),
    ({"periods": (3,)}, ValueError, r"the measured field \(16, 16\) must be a multiple of the period 3"),
    ({"periods": (4, 6)}, ValueError, "periods must each divide the last"),
    ({"margin": 1}, ValueError, "margin must be a multiple of the period 2; got 1"),
    ({"direction": "weights"}, ValueError, "direction must be one of forward, gradient; got 'weights'"),
    ({"direction": "gradient", "input": "probe"}, ValueError, "input must be one of constant, white, pink"),
    ({"channels": 0}, ValueError, "channels must be at least 1; got 0"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD, ids=[m for *_, m in BAD])
def test_bad_functions_are_refused_before_the_first_seed(change, error, message):
    arguments: dict[str, Any] = {"init": ones, "apply": up, "size": 8, "seeds": 1, **change}
    with pytest.raises(error, match=message):
        sweep_function(**arguments)

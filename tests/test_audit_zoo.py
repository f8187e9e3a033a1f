"""The zoo of forms is what it says: each program holds its disguise, and a simulation measures its verdict.

Nothing here calls the audit: these are the oracles of its tests.
"""

from __future__ import annotations

import itertools
import math
import pathlib
import runpy
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

zoo = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("audit_forms.py"))))
programs = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("audit_programs.py"))))
FORMS = [*zoo.forms(), *programs.forms()]


def every(forms):
    return pytest.mark.parametrize("form", forms, ids=lambda form: form.name.replace(" ", "_"))


def sub_jaxprs(value: Any) -> Iterator[Any]:
    if hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield value.jaxpr
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from sub_jaxprs(entry)


def traits(jaxpr: Any) -> set[str]:
    """Names of primitives, and how the ones with many uses are used."""
    found = set()
    for eqn in jaxpr.eqns:
        found.add(eqn.primitive.name)
        dilation = eqn.params.get("lhs_dilation") or ()
        found |= {"lhs_dilation"} if any(d > 1 for d in dilation) else set()
        found |= {"interior_pad"} if any(inner for *_, inner in eqn.params.get("padding_config", ())) else set()
        found |= {"groups"} if eqn.params.get("feature_group_count", 1) > 1 else set()
        for inner in itertools.chain.from_iterable(map(sub_jaxprs, eqn.params.values())):
            found |= traits(inner)
    return found


@every(FORMS)
def test_the_program_holds_what_it_is_there_for(form):
    found = traits(jax.make_jaxpr(form.fn)(form.params(), form.data()).jaxpr)
    assert all(set(each.split("|")) & found for each in form.holds), found
    assert not set(form.lacks) & found


def period_of(form, ndim) -> tuple[int, ...]:
    strides = [each.stride for each in form.forward if each.role in ("up", "shuffle")] or [(2,) * ndim]
    return tuple(math.prod(column) for column in zip(*strides))


def interior(y, period):
    """The inner half of every spatial axis, in whole periods."""
    cuts = [slice(-(-n // 4 // -p) * -p, (3 * n // 4) // p * p) for n, p in zip(y.shape[1:-1], period)]
    return y[(slice(None), *cuts)]


def ratio_of_lines(fields):
    """Energy off DC over energy at DC of the phase means `[draws, phases, C]`."""
    mean = fields.mean(1, keepdims=True)
    return ((fields - mean) ** 2).mean(1).sum() / (mean**2).sum()


def phases(y, period):
    """`[N, prod(period), positions, C]`."""
    ndim = len(period)
    split = [m for n, p in zip(y.shape[1:-1], period) for m in (n // p, p)]
    y = y.reshape(y.shape[0], *split, y.shape[-1])
    order = [2 + 2 * a for a in range(ndim)] + [1 + 2 * a for a in range(ndim)]
    return y.transpose(0, *order, y.ndim - 1).reshape(y.shape[0], math.prod(period), -1, y.shape[-1])


def excess_of_lines(fields, period):
    """Of fields without a flat input: mean line power above that of the other bins, over DC."""
    power = (abs(np.fft.fft2(fields, axes=(1, 2))) ** 2).mean((0, -1))
    line = np.zeros(power.shape, bool)
    line[tuple(slice(None, None, n // p) for n, p in zip(power.shape, period))] = True
    floor = np.median(power[~line])
    return (power[line].sum() - power[0, 0] - (line.sum() - 1) * floor) / power[0, 0]


def simulate(form, draws=64):
    """Lines of the flat response and powers of the white one, over redrawn parameters; NumPy but for the program."""
    fn, latent = jax.jit(form.fn), len(form.x) == 2
    last = form.layout == "channel_last"
    rng, flats, whites = np.random.default_rng(3), [], []
    for seed in range(draws):
        white = rng.standard_normal(form.x).astype(np.float32)
        shape = [1 if (0 < a < len(form.x) - 1 if last else a > 1) else n for a, n in enumerate(form.x)]
        flat = np.broadcast_to(rng.standard_normal(shape), form.x).astype(np.float32)
        for kept, data in (flats, flat), (whites, white):
            y = np.asarray(fn(form.params(seed), jnp.asarray(data)), np.float64)
            kept.append(y if last else np.moveaxis(y, 1, -1))
    period = period_of(form, flats[0].ndim - 2)
    flat, white = (interior(np.concatenate(kept), period) for kept in (flats, whites))
    powers = (phases(white, period) ** 2).mean((0, 2, 3))
    if latent:
        return excess_of_lines(white, period), powers
    return ratio_of_lines(phases(flat, period).mean(2)), powers


def has_phases(form):
    """Without an upsampling there is no period to measure at: such a program is clean by definition."""
    return form.verdict and any(each.role in ("up", "shuffle") for each in form.forward)


@every([form for form in FORMS if not has_phases(form)])
def test_a_program_without_upsampling_is_expected_to_be_clean(form):
    assert form.verdict in ("clean", "")


@every(list(filter(has_phases, FORMS)))
def test_the_verdict_asked_for_is_what_a_simulation_measures(form):
    lines, powers = simulate(form)
    found = {(False, False): "clean", (True, False): "lines", (False, True): "power", (True, True): "both"}
    grid = powers.max() > 1.2 * powers.min()
    assert found[bool(lines > 1e-3), bool(grid)] == form.verdict, (lines, powers / powers.max())
    # Holes are phases that nothing reaches; no single upsampling of another grade has them.
    if len(form.forward) == 1 and form.forward[0].role == "up":
        assert (powers.min() == 0) == (form.forward[0].grade == "holes")


def simulate_gradient(form, draws=32):
    """Lines of the input gradient of flat cotangents and powers of that of white ones, at white inputs."""
    size = (form.x[0], *(3 * n for n in form.x[1:-1]), form.x[-1])
    period = form.backward[0].stride
    pull = jax.jit(lambda p, x, g: jax.vjp(lambda y: form.fn(p, y), x)[1](g)[0])
    out = jax.eval_shape(form.fn, form.params(), jax.ShapeDtypeStruct(size, jnp.float32)).shape
    rng, flats, whites = np.random.default_rng(4), [], []
    for seed in range(draws):
        x = jnp.asarray(rng.standard_normal(size), jnp.float32)
        flat = np.broadcast_to(rng.standard_normal((out[0], *(1,) * (len(out) - 2), out[-1])), out)
        for kept, g in (flats, flat), (whites, rng.standard_normal(out)):
            kept.append(np.asarray(pull(form.params(seed), x, jnp.asarray(g, jnp.float32)), np.float64))
    flat, white = (interior(np.concatenate(kept), period) for kept in (flats, whites))
    return ratio_of_lines(phases(flat, period).mean(2)), (phases(white, period) ** 2).mean((0, 2, 3))


@every(programs.coarsenings())
def test_the_grade_of_a_gradient_is_what_a_simulation_measures(form):
    lines, powers = simulate_gradient(form)
    grade = form.backward[0].grade
    assert (powers.min() == 0) == (grade == "holes")
    if grade != "holes" and len(form.shapes):
        assert (powers.max() > 1.2 * powers.min()) == (grade == "uneven"), powers
    assert (lines < 1e-6) == (grade == "tied")


def test_powers_of_gradients_are_those_that_the_counts_of_windows_give():
    """The numbers that tests of the audit ask for: windows over a sample, and of a max pool the wins among them."""
    for name, ratio in {"average pool k3 s2": 4, "max pool k3 s2": 4, "conv k3 s2": 4, "max pool k2": 1}.items():
        powers = simulate_gradient(next(form for form in FORMS if form.name == name), draws=64)[1]
        np.testing.assert_allclose(powers.max() / powers.min(), ratio, rtol=0.1)


def test_the_simulation_tells_a_grid_when_it_is_given_one():
    one = next(form for form in FORMS if form.name == "k3 s2, box of 2")
    lines, powers = simulate(one, draws=8)
    assert lines < 1e-12
    bare = next(form for form in FORMS if form.name == "zeros by pad")
    lines, powers = simulate(bare, draws=2)
    np.testing.assert_allclose(lines, 3, rtol=1e-6)  # a comb of every second sample on two axes: four equal lines
    assert np.count_nonzero(powers) == 1

"""Sums of fields that the audit's probes add up: lines, the bins around them, phase powers, zeros; and their chance."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax.audits._interior import Region
from checkerjax.audits._report_parts import THRESHOLDS, Outcome
from checkerjax.audits._statistics import gather, measured
from checkerjax.audits._sums import Sums, field_sums, neighbours


def sums_of(x, kept, scale=1.0):
    every = jax.jit(lambda x, s: field_sums(x, s, kept, zeros=True, mapped=True))
    return jax.device_get(every(np.asarray(x, np.float32), np.float32(scale)))


def verdict(fields):
    """Of the one field among these."""
    (field,) = (each for each in fields if each is not None)
    return Outcome(field.lattice_ratio, field.power_ratio, power_chance=field.power_chance).verdict(THRESHOLDS)


REGIONS = [
    (Region((0,), (3,), (4,), False), (1, 13, 2)),
    (Region((1, 2), (4, 5), (2, 3), False), (2, 12, 20, 3)),
    (Region((0, 0), (4, 1), (4, 2), False), (1, 16, 2, 1)),
    (Region((0, 0), (4, 4), (8, 8), True), (1, 32, 32, 3)),
    (Region((0, 1, 0), (2, 1, 6), (2, 3, 1), False), (2, 4, 5, 6, 2)),
]


@pytest.mark.parametrize(("kept", "shape"), REGIONS)
def test_lines_and_the_bins_around_them_are_those_of_the_whole_transform(kept, shape, rng):
    x = rng.standard_normal(shape).astype(np.float32) + 1.5
    sums = sums_of(x, kept)
    part = x[(slice(None), *kept.slices)].astype(np.float64)
    spectrum = np.square(np.abs(np.fft.fftn(part, axes=range(1, x.ndim - 1), norm="forward"))).sum((0, -1))
    for m in np.ndindex(*kept.period):
        at = [i * q for i, q in zip(m, kept.counts)]
        assert sums.lines[m] == pytest.approx(spectrum[tuple(at)], rel=1e-4, abs=1e-6)
        if not any(m):
            continue
        offsets = [[o for o in (-2, -1, 1, 2) if abs(o) <= q // 2] if i else [0] for i, q in zip(m, kept.counts)]
        bins = [tuple((a + o) % n for a, o, n in zip(at, each, spectrum.shape)) for each in itertools.product(*offsets)]
        assert neighbours(kept)[m] == len(bins)
        assert sums.around[m] == pytest.approx(sum(spectrum[b] for b in bins), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("kept", "shape"), REGIONS)
def test_phase_powers_and_zeros_are_those_of_a_loop(kept, shape, rng):
    x = (rng.standard_normal(shape) * (rng.random(shape) < 0.7)).astype(np.float32)
    sums = sums_of(x, kept, 4)
    expected, zeros = np.zeros(kept.period), 0
    for at in np.ndindex(*(q * p for q, p in zip(kept.counts, kept.period))):
        values = x[(slice(None), *(s + i for s, i in zip(kept.starts, at)))].astype(np.float64)
        sizes = [q * p for q, p in zip(kept.counts, kept.period)]
        hann = [1 - math.cos(2 * math.pi * (i + 0.5) / n) for i, n, q in zip(at, sizes, kept.counts) if q > 1]
        weight = math.prod(hann) if kept.whole else 1
        expected[tuple(i % p for i, p in zip(at, kept.period))] += weight * (4 * values**2 * 4).sum()
        zeros += (values == 0).sum()
        assert sums.map is not None
        assert sums.map[at] == pytest.approx(16 * (values**2).sum(), rel=1e-5)
    np.testing.assert_allclose(sums.powers, expected / math.prod(kept.counts), rtol=1e-4)
    assert sums.zeros == zeros


def test_a_field_constant_on_each_phase_has_exactly_nothing_around_its_lines(rng):
    kept = Region((0, 0), (5, 5), (2, 2), False)
    x = np.tile(rng.standard_normal((1, 2, 2, 3)), (1, 5, 5, 1)).astype(np.float32)
    sums = sums_of(x, kept)
    assert (sums.around.ravel()[1:] < 1e-12 * sums.lines.sum()).all()
    flat = sums_of(np.broadcast_to(x[:, :1, :1], x.shape), kept)
    assert (np.asarray(flat.lines).ravel()[1:] == 0).all()


@pytest.mark.parametrize("one_model", [False, True], ids=["redrawn", "given"])
def test_white_fields_have_no_grid_in_two_hundred_seeds(one_model, rng):
    kept = Region((0, 0), (4, 4), (4, 4), True)
    sums = jax.jit(jax.vmap(lambda x: field_sums(x, jnp.float32(1), kept, mapped=one_model)))
    for _ in range(200):
        every = jax.device_get(sums(rng.standard_normal((32, 1, 16, 16, 3)).astype(np.float32)))
        rows = [Sums(*jax.tree.map(lambda part, i=i: part[i], every)) for i in range(32)]
        draws = gather(rows)
        field = measured(draws, draws, kept, steady=False, samples=1, one_model=one_model)
        assert field.lattice_ratio == 0
        assert verdict([field]) == "clean"


def test_the_noise_around_a_line_is_taken_out_of_it(rng):
    """Stripes of amplitude 1 on a mean of 2, in noise of power 1 spread over 8 bins."""
    kept = Region((0,), (4,), (2,), False)
    x = rng.standard_normal((4000, 1, 8, 1)) + 2 + np.cos(np.pi * np.arange(8))[:, None]
    every = jax.device_get(jax.jit(jax.vmap(lambda x: field_sums(x, jnp.float32(1), kept)))(x.astype(np.float32)))
    draws = gather([Sums(*jax.tree.map(lambda part, i=i: part[i], every)) for i in range(4000)])
    field = measured(draws, draws, kept, steady=False, samples=1, one_model=False)
    assert field.lattice_ratio == pytest.approx(1 / (4 + 1 / 8), rel=0.03)


def test_lines_of_one_period_only_are_said_to_be_unmeasured(rng):
    kept = Region((0, 0), (1, 1), (4, 4), True)
    draws = gather([sums_of(rng.standard_normal((1, 4, 4, 2)), kept)._replace(map=None) for _ in range(4)])
    field = measured(draws, draws, kept, steady=False, samples=32, one_model=False)
    assert (field.lattice_ratio, field.unmeasured) == (0, (2, 4))
    assert measured(draws, draws, kept, steady=True, samples=32, one_model=False).lattice_ratio > 0

"""Which picked samples follow a pattern, and how far one sample reaches: against loops over the samples."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax.audits._axes import read_pattern, reads_of_matrix
from checkerjax.audits._grades import stamp_size, window_size

SEEDS = range(100)


def pattern(rng):
    """`up` samples picked anyhow out of `down` and one, again and again: (picks, size, up, down)."""
    up, down, outputs = rng.integers(1, 4), rng.integers(1, 4), rng.integers(24, 80)
    first = np.sort(rng.integers(0, down + 1, up))
    picks = np.array([first[n % up] + down * (n // up) for n in range(outputs)])
    return picks, int(picks.max()) + 1


def reads_of(size, picks):
    return read_pattern(size, np.asarray(picks)[:, None], np.ones((len(picks), 1)))


def test_every_pattern_is_found_and_says_of_each_output_what_it_picks():
    for seed in SEEDS:
        picks, size = pattern(np.random.default_rng(seed))
        reads = reads_of(size, picks)
        assert reads is not None, seed
        assert not reads.outside.any()
        turns, phase = np.divmod(np.arange(len(picks)), reads.up)
        np.testing.assert_array_equal(reads.pattern_positions[phase, 0] + reads.down * turns, picks)


def test_a_sample_from_elsewhere_is_no_border():
    """Anywhere but at the very ends, from at least four samples away."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        picks, size = pattern(rng)
        at = rng.integers(3, len(picks) - 3)
        far = np.flatnonzero(np.abs(np.arange(size) - picks[at]) >= 4)
        picks[at] = rng.choice(far)
        assert reads_of(size, picks) is None, seed


def test_samples_that_change_places_are_no_pattern():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        picks, size = pattern(rng)
        one, other = np.sort(rng.choice(np.arange(3, len(picks) - 3), 2, replace=False))
        if picks[other] - picks[one] < 4:
            continue
        picks[[one, other]] = picks[[other, one]]
        assert reads_of(size, picks) is None, seed


def test_half_a_field_turned_round_is_no_pattern():
    picks = np.concatenate([np.arange(30)[::-1], np.arange(30, 60)])
    assert reads_of(60, picks) is None


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric"])
@pytest.mark.parametrize("pad", [1, 2, 3])
@pytest.mark.parametrize("crop", [1, 2, 3])
def test_a_crop_that_is_padded_keeps_its_samples(crop, pad, mode):
    picks = np.pad(np.arange(24)[crop:-crop], pad, mode=mode)
    reads = reads_of(24, picks)
    assert reads is not None
    assert (reads.up, reads.down) == (1, 1)
    np.testing.assert_array_equal(np.flatnonzero(reads.outside), [*range(pad), *range(len(picks) - pad, len(picks))])


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "lanczos3"])
@pytest.mark.parametrize(("size", "outputs"), [(8, 16), (8, 11), (12, 18), (20, 50), (9, 32), (14, 22)])
def test_how_far_a_sample_reaches_is_counted_in_the_matrix(method, size, outputs):
    matrix = np.asarray(jax.image.resize(jnp.eye(size), (outputs, size), method), np.float64)
    reads = reads_of_matrix(matrix)
    assert reads is not None
    used = np.abs(matrix) > 1e-6 * np.abs(matrix).max()
    reached = [np.flatnonzero(column) for column in used.T]
    assert stamp_size(reads) == max(r[-1] - r[0] + 1 for r in reached)
    taken = [np.flatnonzero(row) for row in used]
    assert window_size(reads) == max(t[-1] - t[0] + 1 for t in taken)


def test_a_resize_that_never_repeats_is_one_period():
    reads = reads_of_matrix(np.asarray(jax.image.resize(jnp.eye(8), (11, 8), "nearest"), np.float64))
    assert reads is not None
    assert (reads.up, reads.down) == (11, 8)


def test_uneven_steps_are_no_resize():
    assert reads_of(40, [0, 1, 2, 3, 4, 5, 6, 7, 30, 31, 32, 33, 34, 36, 38, 39]) is None


def test_a_border_does_not_read_the_middle():
    for at in (0, 1, 22, 23):
        picks = np.arange(24)
        picks[at] = 12
        assert reads_of(24, picks) is None

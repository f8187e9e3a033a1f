"""From statistics to a word."""

from __future__ import annotations

import dataclasses
import math

import pytest

from checkerjax.audits._interior import Region
from checkerjax.audits._statistics import Measured
from checkerjax.audits._verdict import verdict

QUIET = Measured(
    lattice_ratio=0.0,
    power_ratio=1.0,
    lattice_ratios=(),
    power_ratios=(),
    zero_share=None,
    power_chance=1.05,
    power_noise=1.05,
    period=(2, 2),
    region=Region((0, 0), (4, 4), (2, 2), False),
    draws=32,
)


@pytest.mark.parametrize(
    ("lines", "power", "expected"),
    [
        (0.0, 1.0, "clean"),
        (1e-3, 1.2, "clean"),  # the thresholds themselves do not count
        (2e-3, 1.2, "lines"),
        (1e-3, 1.21, "power"),
        (math.inf, math.inf, "both"),
    ],
)
def test_each_statistic_has_its_word(lines, power, expected):
    field = dataclasses.replace(QUIET, lattice_ratio=lines, power_ratio=power)
    assert verdict([field]) == expected


def test_power_within_chance_is_none():
    field = dataclasses.replace(QUIET, power_ratio=1.3, power_chance=1.4)
    assert verdict([field]) == "clean"
    assert verdict([dataclasses.replace(field, power_ratio=1.41)]) == "power"


def test_thresholds_are_arguments():
    field = dataclasses.replace(QUIET, lattice_ratio=0.5, power_ratio=1.1)
    assert verdict([field], max_lattice_ratio=0.6) == "clean"
    assert verdict([field], max_power_ratio=1.08) == "both"


def test_all_outputs_count_and_those_without_space_do_not():
    lines, power = dataclasses.replace(QUIET, lattice_ratio=1.0), dataclasses.replace(QUIET, power_ratio=2.0)
    assert verdict([None, lines, power]) == "both"
    assert verdict([None, QUIET]) == "clean"
    assert verdict([None]) == "clean"

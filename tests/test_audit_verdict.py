"""From statistics to a word."""

from __future__ import annotations

import math

import pytest

from checkerjax.audits._report_parts import THRESHOLDS, Outcome, Thresholds


@pytest.mark.parametrize(
    ("lines", "power", "expected"),
    [
        (0.0, 1.0, "clean"),
        (1e-3, 1.2, "clean"),  # the thresholds themselves do not count
        (2e-3, 1.2, "lines"),
        (1e-3, 1.21, "power"),
        (math.inf, math.inf, "both"),
        (None, 1.21, "power"),
        (2e-3, None, "lines"),
        (None, None, None),  # nothing was measured
    ],
)
def test_each_statistic_has_its_word(lines, power, expected):
    assert Outcome(lines, power, power_chance=1.05).verdict(THRESHOLDS) == expected


def test_power_within_chance_is_none():
    assert Outcome(0.0, 1.3, power_chance=1.4).verdict(THRESHOLDS) == "clean"
    assert Outcome(0.0, 1.41, power_chance=1.4).verdict(THRESHOLDS) == "power"


def test_thresholds_are_arguments():
    field = Outcome(0.5, 1.1, power_chance=1.05)
    assert field.verdict(Thresholds(max_lattice_ratio=0.6)) == "clean"
    assert field.verdict(Thresholds(max_power_ratio=1.08)) == "both"

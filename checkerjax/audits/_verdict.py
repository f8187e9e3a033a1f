"""What the two probes say of an output, in a word."""

from __future__ import annotations

from collections.abc import Iterable

from checkerjax.audits._statistics import Measured

MAX_LATTICE_RATIO = 1e-3
MAX_POWER_RATIO = 1.2


def has_lines(field: Measured, max_lattice_ratio: float = MAX_LATTICE_RATIO) -> bool:
    """Whether the flat probe leaves lines."""
    return field.lattice_ratio > max_lattice_ratio


def has_power(field: Measured, max_power_ratio: float = MAX_POWER_RATIO) -> bool:
    """Whether the white probe leaves phases of unequal power, by more than chance makes of equal ones."""
    return field.power_ratio > max(max_power_ratio, field.power_chance)


def verdict(
    outputs: Iterable[Measured | None],
    *,
    max_lattice_ratio: float = MAX_LATTICE_RATIO,
    max_power_ratio: float = MAX_POWER_RATIO,
) -> str:
    """ "lines", "power", "both" or "clean", of all outputs together; those that are no fields do not count."""
    fields = [each for each in outputs if each is not None]
    lines = any(has_lines(each, max_lattice_ratio) for each in fields)
    power = any(has_power(each, max_power_ratio) for each in fields)
    return "both" if lines and power else "lines" if lines else "power" if power else "clean"

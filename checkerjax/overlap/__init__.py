"""Overlap: how many paths lead where, and which of the conditions called "no checkerboard" hold; exact.

Four conditions are kept apart (`has_equal_counts`, `has_equal_gains`, `has_equal_energies` and
`has_equal_phase_spectra` for kernels, `stack_conditions` for stacks): none of them implies all others.
"""

from checkerjax.overlap._conditions import (
    has_equal_counts,
    has_equal_energies,
    has_equal_gains,
    has_equal_phase_spectra,
)
from checkerjax.overlap._counts import count, count_denominator, overlap_count
from checkerjax.overlap._phases import phase_energies, phase_gains
from checkerjax.overlap._stack_conditions import StackConditions, stack_conditions
from checkerjax.overlap._unevenness import unevenness

__all__ = [
    "StackConditions",
    "count",
    "count_denominator",
    "has_equal_counts",
    "has_equal_energies",
    "has_equal_gains",
    "has_equal_phase_spectra",
    "overlap_count",
    "phase_energies",
    "phase_gains",
    "stack_conditions",
    "unevenness",
]

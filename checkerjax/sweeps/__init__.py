"""Sweeps over random initialisations: a grid of configurations, a statistics engine, a store, tables.

Ratios over seeds are ratios of sums with bootstrap intervals; per seed only shares, powers and standard deviations
are kept, never ratios that have no mean.
"""

from checkerjax.sweeps._config import Config
from checkerjax.sweeps._defaults import KERNELS, ROWS, TILE, generator, generator_grid, gradient_grid
from checkerjax.sweeps._engine import sweep
from checkerjax.sweeps._intervals import Interval, chance_ratio, merge_phases, phase_ratio, ratio_of_sums
from checkerjax.sweeps._progress import progress
from checkerjax.sweeps._published import PUBLISHED, JointTest, Published, fisher, joint_test
from checkerjax.sweeps._report import report
from checkerjax.sweeps._store import check_place, groups, import_xarray, open, save
from checkerjax.sweeps._summary import (
    GeneratorRow,
    GradientRow,
    cross_p_values,
    generator_rows,
    gradient_rows,
    kernel_p_values,
)

__all__ = [
    "KERNELS",
    "PUBLISHED",
    "ROWS",
    "TILE",
    "Config",
    "GeneratorRow",
    "GradientRow",
    "Interval",
    "JointTest",
    "Published",
    "chance_ratio",
    "check_place",
    "cross_p_values",
    "fisher",
    "generator",
    "generator_grid",
    "generator_rows",
    "gradient_grid",
    "gradient_rows",
    "groups",
    "import_xarray",
    "joint_test",
    "kernel_p_values",
    "merge_phases",
    "open",
    "phase_ratio",
    "progress",
    "ratio_of_sums",
    "report",
    "save",
    "sweep",
]

"""Sweeps over random initialisations: a grid of configurations, a statistics engine, a store, tables.

Ratios over seeds are ratios of sums with bootstrap intervals; per seed only shares, powers and standard deviations
are kept, never ratios that have no mean.
"""

from checkerjax.sweeps._config import Config
from checkerjax.sweeps._dataset import import_xarray
from checkerjax.sweeps._defaults import KERNELS, ROWS, TILE, generator, generator_grid, gradient_grid
from checkerjax.sweeps._forecast import forecast
from checkerjax.sweeps._function import sweep_function
from checkerjax.sweeps._grid import Grid
from checkerjax.sweeps._grid_report import grid_table, save_tables
from checkerjax.sweeps._grid_rows import GridRow, grid_rows
from checkerjax.sweeps._intervals import Interval, chance_ratio, merge_phases, phase_ratio, ratio_of_sums
from checkerjax.sweeps._progress import progress, reporter
from checkerjax.sweeps._published import PUBLISHED, JointTest, Published, fisher, joint_test
from checkerjax.sweeps._report import report
from checkerjax.sweeps._store import check_place, groups, open, save
from checkerjax.sweeps._summary import (
    GeneratorRow,
    GradientRow,
    cross_p_values,
    generator_rows,
    gradient_rows,
    kernel_p_values,
)
from checkerjax.sweeps._sweep import sweep

__all__ = [
    "KERNELS",
    "PUBLISHED",
    "ROWS",
    "TILE",
    "Config",
    "GeneratorRow",
    "GradientRow",
    "Grid",
    "GridRow",
    "Interval",
    "JointTest",
    "Published",
    "chance_ratio",
    "check_place",
    "cross_p_values",
    "fisher",
    "forecast",
    "generator",
    "generator_grid",
    "generator_rows",
    "gradient_grid",
    "gradient_rows",
    "grid_rows",
    "grid_table",
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
    "reporter",
    "save",
    "save_tables",
    "sweep",
    "sweep_function",
]

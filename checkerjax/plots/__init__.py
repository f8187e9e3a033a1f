"""Figures, with matplotlib, which is imported when one is drawn; the same numbers give the same bytes."""

from checkerjax.plots._audit import audit_figure
from checkerjax.plots._expectation import expectation_figure
from checkerjax.plots._files import import_matplotlib, save
from checkerjax.plots._grid import grid_figure
from checkerjax.plots._grid_lines import grid_intervals, grid_spectra
from checkerjax.plots._measure import measure_figure
from checkerjax.plots._measure_folder import measure_folder_figure
from checkerjax.plots._overlap import overlap_figure
from checkerjax.plots._sweep import sweep_figure

__all__ = [
    "audit_figure",
    "expectation_figure",
    "grid_figure",
    "grid_intervals",
    "grid_spectra",
    "import_matplotlib",
    "measure_figure",
    "measure_folder_figure",
    "overlap_figure",
    "save",
    "sweep_figure",
]

"""Figures, with matplotlib, which is imported when one is drawn; the same numbers give the same bytes."""

from checkerjax.plots._files import import_matplotlib, save
from checkerjax.plots._overlap import overlap_figure
from checkerjax.plots._sweep import sweep_figure

__all__ = ["import_matplotlib", "overlap_figure", "save", "sweep_figure"]

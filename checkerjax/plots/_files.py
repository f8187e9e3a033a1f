"""matplotlib without a screen, and figures written whole and reproducibly."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import TYPE_CHECKING

from checkerjax._checks import one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What would otherwise be the time of writing.
_METADATA = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {"Software": None}}
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "checkerjax",
    "image.interpolation": "nearest",
}
# Okabe and Ito's colours, which most colour-blind readers tell apart.
COLOURS = {"blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "red": "#D55E00", "grey": "#7F7F7F"}


def import_pyplot(op: str):
    """`matplotlib.pyplot` on a backend without a screen, or an error that says how to get it."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{op}: figures need matplotlib, which is not installed; pip install 'checkerjax[analysis]'."
        ) from None
    matplotlib.use("agg", force=False)
    from matplotlib import pyplot

    return pyplot


def check_suffix(op: str, path: str | os.PathLike[str]) -> pathlib.Path:
    """The path, if it ends in a format that figures are written in."""
    path = pathlib.Path(path)
    one_of(op, "the ending of the file", path.suffix.lower(), tuple(_METADATA))
    return path


def save(figure: Figure, path: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a figure as .png, .svg or .pdf and closes it; a reader sees the old file or the new one.

    Args:
      figure: of matplotlib.
      path: its folder is made where it lacks.

    Returns:
      The path.

    Raises:
      ValueError: for another ending.
      OSError: if the place cannot be written.
    """
    pyplot = import_pyplot("save")
    path = check_suffix("save", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        with pyplot.rc_context(STYLE):
            figure.savefig(partial, dpi=150, metadata=_METADATA[path.suffix.lower()])
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        pathlib.Path(partial).unlink(missing_ok=True)
        pyplot.close(figure)
    return path

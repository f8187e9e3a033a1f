"""matplotlib without a screen, and figures written whole and reproducibly."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

from checkerjax._checks import one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What would otherwise be the time of writing.
_METADATA = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {"Software": None}}
STYLE: dict[Any, Any] = {
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


def import_matplotlib(op: str):
    """The matplotlib package with its figures, or an error that says how to get it.

    pyplot is left alone: it would choose the backend of the session that calls, a notebook's say.
    """
    try:
        import matplotlib
        import matplotlib.figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{op}: figures need matplotlib, which is not installed; pip install 'checkerjax[analysis]'."
        ) from None
    return matplotlib


def check_suffix(op: str, path: str | os.PathLike[str]) -> pathlib.Path:
    """The path, if it ends in a format that figures are written in."""
    path = pathlib.Path(path)
    one_of(op, "the ending of the file", path.suffix.lower(), tuple(_METADATA))
    return path


def save(figure: Figure, path: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a figure as .png, .svg or .pdf; a reader sees the old file or the new one.

    Args:
      figure: of matplotlib.
      path: its folder is made where it lacks.

    Returns:
      The path.

    Raises:
      ValueError: for another ending.
      OSError: if the place cannot be written.
    """
    path = check_suffix("save", path)
    partial = _partial_file(path)
    try:
        with import_matplotlib("save").rc_context(STYLE):
            figure.savefig(partial, dpi=150, metadata=_METADATA[path.suffix.lower()])
        partial.chmod(0o644)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _partial_file(path: pathlib.Path) -> pathlib.Path:
    """A new hidden file beside `path`, whose folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise OSError(f"save: cannot write into the folder {str(path.parent)!r}: {error.strerror}.") from error
    os.close(handle)
    return pathlib.Path(partial)

"""Where in the user's source, and in which module, an operation was written."""

from __future__ import annotations

import functools
import os
import pathlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from typing import Any

from checkerjax.audits._jax_internals import Frame, frames, scope_names

UNKNOWN = "unknown"
INSTALLED = ("site-packages", "dist-packages")
FRAMEWORKS = frozenset(
    {"jax", "jaxlib", "flax", "haiku", "keras", "equinox", "optax", "chex", "numpy", "scipy", "einops", "jaxtyping"}
)
_HERE = os.path.dirname(os.path.abspath(__file__))
_OURS = os.path.dirname(_HERE)
_WRAPPERS = os.path.join(_HERE, "_nnx_scopes.py")  # its frames stand between those of a model, not around them


def source_of(*eqns: Any) -> str:
    """The statement that made an equation, as "file:line".

    It is the innermost one outside installed packages, the standard library and checkerjax; where there is none, as
    for a model that is itself installed, the innermost one outside the frameworks. Whoever called the audit is not
    looked at: only frames inside the audited call are.

    Args:
      eqns: the equation, or those that it is nested in and then itself, outermost first. A traced function (`jit`,
        `scan`, ...) knows only the frames inside it, so the library function that a model calls under `jit` is told by
        the model's line only if the equation around it is given too.

    Returns:
      The file, relative to the current directory where it is below it, and the line; or "unknown".
    """
    found = [frame for eqn in reversed(eqns) for frame in _inside(frames(eqn))]
    for is_wanted in (_is_users, _is_model, _is_layer):
        for frame in found:
            if is_wanted(frame.file):
                return f"{shown(frame.file)}:{frame.line}"
    return UNKNOWN


def path_of(name_stacks: Iterable[Any]) -> str:
    """The module that an equation belongs to, such as "Decoder/ConvTranspose_0".

    Args:
      name_stacks: `eqn.source_info.name_stack` of the equations that it is nested in and then of itself, outermost
        first.

    Returns:
      The names of modules and `jax.named_scope`, joined with "/", without the wrappers of transforms; "" if none.
    """
    return "/".join(name for stack in name_stacks for name in scope_names(stack))


def users_line(traceback: Any) -> str:
    """The innermost line of the user's in the traceback of an exception, as `source_of` tells it; "" if none."""
    line = ""
    while traceback is not None:  # outermost first
        file = traceback.tb_frame.f_code.co_filename
        if _is_users(file):
            line = f"{shown(file)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line


def shown(file: str) -> str:
    """A file's name, relative to the current directory where it is below it."""
    if file.startswith("<"):  # of an interactive session
        return file
    path = pathlib.Path(os.path.abspath(file))
    try:
        return path.relative_to(pathlib.Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def _inside(found: Iterable[Frame]) -> Iterator[Frame]:
    """The frames of the audited call, without those of the audit and of its caller."""
    for frame in found:
        file = _absolute(frame.file)
        if file.startswith(_HERE + os.sep) and file != _WRAPPERS:
            return
        yield frame


@functools.cache
def _absolute(file: str) -> str:
    return file if file.startswith("<") else os.path.abspath(file)


@functools.cache
def _is_users(file: str) -> bool:
    return _is_model(file) and not any(f"/{name}/" in pathlib.PurePath(file).as_posix() for name in INSTALLED)


@functools.cache
def _is_model(file: str) -> bool:
    """Whether a file belongs neither to a framework nor to Python."""
    return _is_layer(file) and not _is_ours(file) and _package(file) not in FRAMEWORKS


@functools.cache
def _is_layer(file: str) -> bool:
    """Whether a file is at least not of JAX, of Python or of the audit: the layer of a framework, say."""
    if file.startswith(("<frozen", "<__array_function__")):
        return False
    file = _absolute(file)
    if file.startswith(_HERE + os.sep) or _package(file) in ("jax", "jaxlib", "numpy"):
        return False
    return _package(file) is not None or not any(file.startswith(folder + os.sep) for folder in _standard_library())


def _is_ours(file: str) -> bool:
    return _absolute(file).startswith(_OURS + os.sep)


@functools.cache
def _package(file: str) -> str | None:
    """The installed package that a file belongs to, or the framework that is used from a checkout."""
    parts = pathlib.PurePath(file).parts
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] in INSTALLED:
            return parts[at + 1].removesuffix(".py")
    for name in FRAMEWORKS:
        origin = getattr(sys.modules.get(name), "__file__", None)
        if origin and os.path.abspath(file).startswith(os.path.dirname(os.path.abspath(origin)) + os.sep):
            return name
    return None


@functools.cache
def _standard_library() -> tuple[str, ...]:
    folders = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__))
    return tuple({os.path.abspath(folder) for folder in folders if folder})

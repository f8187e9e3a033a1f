"""`checkerjax audit`: which layer of a model makes a grid."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from checkerjax import audits, plots
from checkerjax.audits._construction import class_of, construct, is_module
from checkerjax.audits._failures import first_line
from checkerjax.audits._report_words import size
from checkerjax.audits._subjects import Subject, make_subject
from checkerjax.cli._audit_objects import NOT_DATA, found, positions, settings, shape_and_type
from checkerjax.cli._audit_options import GRADES
from checkerjax.cli._cache import keep_compiled_programs
from checkerjax.plots._files import check_suffix


def run(options: argparse.Namespace) -> int:
    """Audits, writes, prints; 1 where --fail-on says so.

    What can be refused is refused before the model is imported, and files are written before anything is printed.
    """
    _check(options)
    shapes = [shape_and_type(text, options.dtype) for text in options.input]
    data = positions(options.inputs, [dtype for _, dtype in shapes])
    given = settings(options.set)
    keep_compiled_programs()
    key = jax.random.key(options.seed)
    with contextlib.redirect_stdout(sys.stderr):  # what the model prints is no part of a report
        name = options.object.removesuffix("()")
        with found(name) as value, _loss(options.loss) as loss:
            value = _made(value, given, key, called=name != options.object)
            arrays = [_drawn(shape, dtype, jax.random.fold_in(key, at)) for at, (shape, dtype) in enumerate(shapes, 1)]
            with _called_with(shapes, given):
                subject = make_subject("audit", value, arrays, inputs=data, key=key, loss=loss)
                report = _audited(subject, key, data, options)
    _hint(shapes, data, options)
    texts = {"json": report.to_json, "markdown": report.to_markdown}
    written = []
    if options.figure:
        report.figure(options.figure)
        written.append(options.figure)
    for kind, text in texts.items():
        if (place := getattr(options, kind)) not in (None, "-"):
            _write(place, text())
            written.append(place)
    printed = [text for kind, text in texts.items() if getattr(options, kind) == "-"]
    _say(printed[0]() if printed else report.table())
    if written:
        _say(f"written: {', '.join(written)}", sys.stderr if printed else sys.stdout)
    return int(_failed(report, options.fail_on))


def _check(options: argparse.Namespace) -> None:
    if options.redraw < 0:
        raise ValueError(f"audit: --redraw must be at least 0; got {options.redraw}.")
    if options.seed not in range(2**32):
        raise ValueError(f"audit: --seed must be from 0 to 2^32 - 1; got {options.seed}.")
    for name in ("max_lattice_ratio", "max_power_ratio"):
        value, least = getattr(options, name), int(name == "max_power_ratio")
        if value is not None and not least < value < math.inf:
            raise ValueError(f"audit: --{name.replace('_', '-')} must be finite and above {least}; got {value}.")
    if options.static and options.fail_on in ("lines", "power"):
        raise ValueError(f"audit: --fail-on {options.fail_on} needs a run of the program; leave --static out.")
    if options.static and options.figure:
        raise ValueError("audit: --figure draws what is measured; leave --static out.")
    _check_places(options)


def _check_places(options: argparse.Namespace) -> None:
    places = [os.path.realpath(p) for p in (options.json, options.markdown, options.figure) if p not in (None, "-")]
    if len(set(places)) < len(places) or options.json == options.markdown == "-":
        raise ValueError("audit: --json, --markdown and --figure must be different files.")
    for place in places:
        if os.path.isdir(place):
            raise ValueError(f"audit: {place!r} is a folder, and a file should go there.")
    if options.figure:
        plots.import_matplotlib("audit")
        check_suffix("audit", options.figure)


def _made(value: Any, given: dict[str, Any], key: jax.Array, *, called: bool) -> Any:
    """What is audited; `called` is whether the object is to be called for it."""
    if called or (isinstance(value, type) and class_of(value) is None):
        return construct("audit", value, given, key)
    if given and any(is_module(value, kind) for kind in ("linen", "nnx")):
        raise ValueError(f"audit: --set is for classes and functions; the object is a {type(value).__name__} already.")
    return functools.partial(value, **given) if given else value


@contextlib.contextmanager
def _called_with(shapes: list[tuple[tuple[int, ...], str]], given: dict[str, Any]) -> Iterator[None]:
    """To what the object itself raises, what it was given on the command line."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if error.__cause__ is None:  # refused by the audit, which says why
            raise
        inputs = ", ".join(f"{size(shape)}:{dtype}" for shape, dtype in shapes)
        strings = [f"{name}={value!r}" for name, value in given.items() if isinstance(value, str)]
        more = f" and, as strings, {', '.join(strings)}" if strings else ""
        raise type(error)(f"{error} It was called with --input {inputs}{more}.") from error


def _loss(name: str | None) -> contextlib.AbstractContextManager[Any]:
    """The loss that is named, or None."""
    return contextlib.nullcontext() if name is None else found(name)


def _hint(shapes: list[tuple[tuple[int, ...], str]], data: tuple[int, ...], options: argparse.Namespace) -> None:
    """Which input was taken as data, where it could have been another."""
    others = [at for at, (_, dtype) in enumerate(shapes) if dtype not in NOT_DATA and at not in data]
    if others and options.inputs is None:
        sizes = size(shapes[data[0]][0])
        print(
            f"checkerjax: audit: the last input ({sizes}) was taken as the data, the others as parameters; --inputs 0 "
            "takes the first, and so on.",
            file=sys.stderr,
        )


def _drawn(shape: tuple[int, ...], dtype: str, key: jax.Array) -> jax.Array:
    if dtype in NOT_DATA:
        return jnp.zeros(shape, dtype)
    return jax.random.normal(key, shape).astype(dtype)


def _audited(subject: Subject, key: jax.Array, data: tuple[int, ...], options: argparse.Namespace) -> Any:
    names = ("max_lattice_ratio", "max_power_ratio")
    limits = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        return audits.audit_subject(  # pyright: ignore[reportAttributeAccessIssue]
            subject, key=key, layout=options.layout, redraw=options.redraw, static=options.static, inputs=data, **limits
        )
    except jax.errors.JaxRuntimeError as error:  # no memory left on the device, say
        raise ValueError(f"audit: the program cannot be run: {first_line(error)}.") from error


def _failed(report: Any, fail_on: str | None) -> bool:
    """Whether the output has what --fail-on names; a composition that is measured as clean passes."""
    if fail_on in ("lines", "power"):
        return report.verdict in (fail_on, "both")
    if fail_on is None or report.verdict == "clean":
        return False
    worst = GRADES[: GRADES.index(fail_on) + 1]
    return any(finding.grade in worst for finding in report.forward)


def _write(place: str, text: str) -> None:
    """Writes a file whole: a reader sees the old one or the new one. Its folder is made where it lacks."""
    path = pathlib.Path(os.path.realpath(place))
    if path.exists() and not path.is_file():  # a device or a pipe
        try:
            path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        except OSError as error:
            raise OSError(f"audit: cannot write to {place!r}: {error.strerror}.") from error
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{path.stem}.", dir=path.parent)
    except OSError as error:
        raise OSError(f"audit: cannot write into the folder {str(path.parent)!r}: {error.strerror}.") from error
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text.rstrip("\n") + "\n")
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        pathlib.Path(partial).unlink(missing_ok=True)


def _say(text: str, stream: Any = None) -> None:
    """Prints what the stream's encoding cannot hold as escapes."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)

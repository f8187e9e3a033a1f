"""What a command line names: objects of modules and files, shapes, settings."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import math
import pathlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from checkerjax.audits._failures import described
from checkerjax.audits._sources import users_line

NOT_DATA = ("int32", "bool")
LARGEST = 2**28  # samples of an input: a gigabyte


@contextlib.contextmanager
def found(text: str) -> Iterator[Any]:
    """The object that "package.module:name.name" or "path/to/file.py:name" names.

    Its folder (or the current one, for a module) can be imported from until the end, as from a script.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"audit: name an object as package.module:name or path/to/file.py:name; got {text!r}.")
    is_file = place.endswith(".py")
    folder = str(pathlib.Path(place).resolve().parent if is_file else pathlib.Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield _attribute(_imported(place, is_file), name, place)
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _imported(place: str, is_file: bool) -> ModuleType:
    if is_file and not pathlib.Path(place).is_file():
        raise OSError(f"audit: there is no file {place!r}.")
    try:
        return _run_file(pathlib.Path(place)) if is_file else importlib.import_module(place)
    except (Exception, SystemExit) as error:
        line = users_line(error.__traceback__)
        at = f" ({line})" if line else ""
        raise ImportError(f"audit: cannot import {place!r}: {described(error)}{at}.") from error


def _run_file(path: pathlib.Path) -> ModuleType:
    name = path.stem if path.stem not in sys.modules else f"checkerjax_audited_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _attribute(module: ModuleType, name: str, place: str) -> Any:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise ValueError(f"audit: {place!r} has no {name!r}{_nearest(part, value)}") from None
    if inspect.ismodule(value):
        raise TypeError(f"audit: {name!r} of {place!r} is a module; name a class, an instance or a function in it.")
    return value


def _nearest(name: str, owner: Any) -> str:
    """The nearest name of something in `owner` that could be audited, whatever its capitals."""
    known = {known.lower(): known for known in dir(owner) if not known.startswith("_")}
    fitting = {low: known for low, known in known.items() if not inspect.ismodule(getattr(owner, known, None))}
    near = difflib.get_close_matches(name.lower(), list(fitting), n=1, cutoff=0.5)
    return f"; did you mean {fitting[near[0]]!r}?" if near else "."


def settings(texts: list[str]) -> dict[str, Any]:
    """Of "width=32" and the like: Python literals, or else strings."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"audit: --set takes NAME=VALUE; got {text!r}.")
        if name in values:
            raise ValueError(f"audit: --set gives {name} twice.")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError):
            values[name] = value
    return values


def positions(text: str | None, types: Sequence[str]) -> tuple[int, ...]:
    """The inputs that are data, of "0,2"; by default the last floating one. `types` is that of each input."""
    floating = [at for at, dtype in enumerate(types) if dtype not in NOT_DATA]
    if not floating:
        raise ValueError("audit: none of the --input is floating, so nothing carries data; leave its type out.")
    if text is None:
        return (floating[-1],)
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(f"audit: --inputs must be numbers of inputs from 0 on, such as 0 or 0,2; got {text!r}.")
    chosen = tuple(map(int, parts))
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"audit: --inputs must name each input once; got {text!r}.")
    for at in chosen:
        if at >= len(types):
            raise ValueError(f"audit: --inputs must be from 0 to {len(types) - 1}, an --input each; got {at}.")
        if at not in floating:
            raise ValueError(f"audit: --inputs names input {at}, which is {types[at]}; data must be floating.")
    return chosen


def shape_and_type(text: str, dtype: str) -> tuple[tuple[int, ...], str]:
    """Of "1,64" or "1x64", with `dtype`; or of "4:int32"."""
    sizes, colon, named = text.partition(":")
    parts = sizes.lower().replace("x", ",").split(",")
    if not all(part.isascii() and part.isdecimal() and int(part) for part in map(str.strip, parts)):
        raise ValueError(f"audit: --input must be sizes of at least 1, such as 1,64 or 1,8,8,3; got {text!r}.")
    if colon and named not in ("float32", "bfloat16", "float16", "int32", "bool"):
        raise ValueError(f"audit: an --input may be float32, bfloat16, float16, int32 or bool; got {text!r}.")
    shape = tuple(map(int, parts))
    if math.prod(shape) > LARGEST:
        raise ValueError(f"audit: an --input may have at most {LARGEST} samples; {text!r} has {math.prod(shape)}.")
    return shape, named or dtype

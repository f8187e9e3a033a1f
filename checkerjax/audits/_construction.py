"""Modules from their classes."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from checkerjax.audits._failures import described, first_line
from checkerjax.audits._model import quick_key

_NOT_SETTINGS = ("rngs", "key", "parent", "name")


def construct(op: str, factory: Any, settings: Mapping[str, Any], key: Any) -> Any:
    """An instance of a class (or of a partial of one), with `rngs` or `key` made of `key` if it asks for one.

    Args:
      op: the function that error messages name.
      factory: a linen or nnx class, or anything that makes an instance when called.
      settings: its arguments, by name.
      key: for `rngs=nnx.Rngs(key)` of nnx classes, and for `key=` of others.

    Returns:
      The instance.

    Raises:
      TypeError: if the class refuses its arguments with a `TypeError`, which is the cause.
      ValueError: if it raises anything else, which is the cause.
    """
    accepted = _parameters(factory)
    try:
        return factory(**settings, **_randomness(accepted, settings, key))
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        reason = first_line(error) if kind is TypeError else described(error)
        cls = class_of(factory) or factory
        known = ", ".join(name for name in _parameters(cls) if name not in _NOT_SETTINGS) or "none"
        raise kind(
            f"{op}: {getattr(cls, '__name__', 'the object')} cannot be constructed: {reason}. "
            f"Its arguments are: {known}."
        ) from error


def class_of(fn: Any) -> type | None:
    """The linen or nnx class that `fn` is, or is a `functools.partial` of."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    bases = tuple(base for kind in ("linen", "nnx") if (base := module_base(kind)) is not None)
    return fn if isinstance(fn, type) and issubclass(fn, bases) else None


def module_base(kind: str) -> type | None:
    """The base class of Flax's modules, unless Flax was never imported: then nothing is one."""
    return getattr(sys.modules.get(f"flax.{kind}"), "Module", None)


def is_module(value: Any, kind: str) -> bool:
    """Whether a value is an instance of Flax's "linen" or "nnx" modules."""
    base = module_base(kind)
    return base is not None and isinstance(value, base)


def _parameters(factory: Any) -> list[str]:
    """The names of the arguments that are not bound yet."""
    cls = class_of(factory)
    bound: set[str] = set()
    if cls is None:
        target = factory
    else:  # the metaclass of nnx takes anything
        bound.add(next(iter(inspect.signature(cls.__init__).parameters)))
        target = cls.__init__
    while isinstance(factory, functools.partial):
        bound.update(factory.keywords)
        factory = factory.func
    try:
        return [name for name in inspect.signature(target).parameters if name not in bound]
    except (TypeError, ValueError):  # some built-in classes have none
        return []


def _randomness(accepted: list[str], settings: Mapping[str, Any], key: Any) -> dict[str, Any]:
    if "rngs" in accepted and "rngs" not in settings:
        from flax import nnx

        return {"rngs": nnx.Rngs(quick_key(key))}
    return {"key": key} if "key" in accepted and "key" not in settings else {}

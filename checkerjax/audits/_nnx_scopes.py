"""Names for the operations of nnx modules: each call of a module runs under its attribute path, as linen's does.

nnx keeps no name stack, so `__call__` of the classes in the graph is replaced while a module is audited. The
replacement does nothing in other threads, and is taken back when the last audit that needs it ends.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
from collections.abc import Iterator
from typing import Any

import jax
from flax import nnx

_calling: contextvars.ContextVar[_Calls | None] = contextvars.ContextVar("calling", default=None)
_lock = threading.Lock()
_patches: dict[type, tuple[Any, int]] = {}  # of a class: what its `__call__` was, and the audits that need it replaced
# A function that was traced by `jit` before has no names in it: under a context of their own, audits trace it anew.
_retraced: Any = jax.make_user_context(None)


class _Calls:
    """The modules that are being called, outermost first, and the paths of those below each."""

    def __init__(self, root: nnx.Module) -> None:
        self.stack: list[Any] = [root]
        self._found: dict[int, tuple[Any, list[tuple[str, Any]]]] = {}  # with the caller, so that no other gets its id

    def name(self, module: Any) -> str:
        """The path of a module below the innermost caller that holds it.

        Inside nnx's own transforms modules are new objects: one is told by the only module of its class, or else by
        its class.
        """
        for caller in reversed(self.stack):
            for path, node in self._below(caller):
                if node is module:
                    return path
        for caller in reversed(self.stack):
            alike = [path for path, node in self._below(caller) if type(node) is type(module)]
            if len(alike) == 1:
                return alike[0]
        return type(module).__name__

    def _below(self, caller: Any) -> list[tuple[str, Any]]:
        if id(caller) not in self._found:
            found = [("/".join(map(str, path)), node) for path, node in nnx.iter_modules(caller) if path]
            self._found[id(caller)] = caller, found
        return self._found[id(caller)][1]


@contextlib.contextmanager
def named_calls(root: nnx.Module) -> Iterator[None]:
    """Calls of `root` and of the modules below it run under `jax.named_scope` with their paths."""
    owners = {owner for _, node in nnx.iter_modules(root) if (owner := _owner(type(node))) is not None}
    for owner in owners:
        _replace(owner)
    token = _calling.set(_Calls(root))
    try:
        with _retraced("named"):
            yield
    finally:
        _calling.reset(token)
        for owner in owners:
            _restore(owner)


def _owner(kind: type) -> type | None:
    """The class that defines `__call__` for a kind of module."""
    return next((cls for cls in kind.__mro__ if "__call__" in vars(cls)), None)


def _replace(owner: type) -> None:
    with _lock:
        original, count = _patches.get(owner, (vars(owner)["__call__"], 0))
        _patches[owner] = original, count + 1
        if not count:
            owner.__call__ = _named(original)


def _restore(owner: type) -> None:
    with _lock:
        original, count = _patches.pop(owner)
        if count > 1:
            _patches[owner] = original, count - 1
        else:
            owner.__call__ = original


def _named(original: Any) -> Any:
    """A method that runs `original` under the name of the module it is called on."""

    @functools.wraps(original, updated=())
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = (
            original.__get__(self, type(self)) if hasattr(original, "__get__") else functools.partial(original, self)
        )
        calls = _calling.get()
        if calls is None or calls.stack[-1] is self:  # another thread, or a method of the base class
            return bound(*args, **kwargs)
        with jax.named_scope(calls.name(self)):
            calls.stack.append(self)
            try:
                return bound(*args, **kwargs)
            finally:
                calls.stack.pop()

    return call

"""Linen modules, with their variables or a key, as functions."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax

from checkerjax.audits._failures import explained
from checkerjax.audits._model import Model, fitted, leaf_names, quick_key

RNGS = ("params", "dropout", "drop_path", "noise", "default")  # a module that asks for another name gets the first


def linen_model(op: str, module: Any, args: tuple[Any, ...], data: Collection[int], key: Any, values: bool) -> Model:
    """A module as a function; its variables are given first in `args`, or bound to it, or drawn from `key`."""
    taken, variables = 0, None
    if module.scope is not None:
        module, variables = module.unbind()
    elif args and isinstance(args[0], Mapping) and (not args[0] or "params" in args[0]):
        taken, variables = 1, args[0]
    name = type(module).__name__
    initialise = functools.partial(_initialised, op, module, args[taken:], {at - taken for at in data})
    if variables is None:
        if key is None:
            raise ValueError(
                f"{op}: {name} has no variables; give them as the first argument after the module "
                '({"params": ...}), or key= to initialise it.'
            )
        variables = (jax.jit if values else _shapes)(initialise)(key)  # one compilation instead of one a parameter
    leaves, tree = jax.tree.flatten(variables)
    given = dict(zip(leaf_names(variables), leaves))
    mutable = [collection for collection in variables if collection != "params"] or False
    rngs = None if key is None else _rngs(key)

    def run(leaves: Sequence[Any], args: Sequence[Any]) -> Any:
        out = module.apply(jax.tree.unflatten(tree, leaves), *args, rngs=rngs, mutable=mutable)
        return out[0] if mutable else out  # new batch statistics and the like are dropped

    def draw(key: Any) -> tuple[Any, ...]:
        fresh = {collection: value for collection, value in initialise(key).items() if collection in variables}
        return fitted(op, name, dict(zip(leaf_names(fresh), jax.tree.leaves(fresh))), given)

    return Model(run, tuple(leaves), tuple(given), draw, module.__call__, taken)


def _shapes(fn: Any) -> Any:
    return functools.partial(jax.eval_shape, fn)


def _rngs(key: Any) -> dict[str, Any]:
    key = quick_key(key)
    return {name: jax.random.fold_in(key, at) for at, name in enumerate(RNGS)}


def _initialised(op: str, module: Any, args: tuple[Any, ...], data: Collection[int], key: Any) -> dict[str, Any]:
    """What `module.init` gives; the module is not run, unless its initialisers look at the data."""
    from flax import errors

    abstract = [jax.ShapeDtypeStruct(a.shape, a.dtype) if at in data else a for at, a in enumerate(args)]
    with explained(op, f"{type(module).__name__}.init"):
        try:
            return dict(module.lazy_init(_rngs(key), *abstract))
        except errors.LazyInitError:
            return dict(module.init(_rngs(key), *args))

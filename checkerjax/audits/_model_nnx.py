"""nnx modules as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

from checkerjax.audits._model import Model, fitted, leaf_names
from checkerjax.audits._nnx_scopes import named_calls


def nnx_model(op: str, module: Any, method: str, anew: Callable[[Any], Any] | None) -> Model:
    """A method of a module as a function of its Variables; `anew` constructs the module from another key."""
    graph, state, rest = nnx.split(module, _is_parameter, ...)
    leaves, tree = jax.tree.flatten(state)
    rest_leaves, rest_tree = jax.tree.flatten(rest)
    given = dict(zip(_names(state), leaves))

    def run(leaves: Sequence[Any], args: Sequence[Any]) -> Any:
        merged = nnx.merge(graph, jax.tree.unflatten(tree, leaves), jax.tree.unflatten(rest_tree, rest_leaves))
        with named_calls(merged):
            return merged(*args) if method == "__call__" else getattr(merged, method)(*args)

    def draw(key: Any) -> tuple[Any, ...]:
        assert anew is not None
        _, fresh, _ = nnx.split(anew(key), _is_parameter, ...)
        return fitted(op, type(module).__name__, dict(zip(_names(fresh), jax.tree.leaves(fresh))), given)

    return Model(run, tuple(leaves), tuple(given), draw if anew else None, getattr(module, method))


def _is_parameter(path: Any, value: Any) -> bool:
    """Arrays that are no Variable are constants, as are keys of random numbers."""
    return isinstance(value, nnx.Variable) and not isinstance(value, nnx.RngState)


def _names(state: Any) -> tuple[str, ...]:
    return tuple(name.removesuffix("/value") for name in leaf_names(state))

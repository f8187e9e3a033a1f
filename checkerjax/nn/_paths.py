"""Parameters by name: the leaves of linen and nnx trees as paths, and the rule that each path is given."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import optax

Rule = TypeVar("Rule")


def named_leaves(tree: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The leaves of a tree with their paths ("decoder/up/kernel"), and its structure.

    What optax masks out is a leaf too, so that trees of parameters and of updates stay aligned.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_masked)
    return [(_name(path), leaf) for path, leaf in leaves], structure


def is_masked(leaf: Any) -> bool:
    """Whether optax hides this part of the tree from the transformation that looks at it."""
    return isinstance(leaf, optax.MaskedNode)


def _name(path: tuple[Any, ...]) -> str:
    if path and path[-1] == jax.tree_util.GetAttrKey("value"):  # the box around an array: nnx.Variable, nn.Partitioned
        path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator="/")


def matches(path: str, pattern: str) -> bool:
    """Whether a glob pattern names the path, or the end of it from a slash on."""
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"*/{pattern}")


def rules_for(
    op: str, tree: Any, strides: Mapping[str, Rule] | Callable[[str], Rule | None]
) -> tuple[list[tuple[str, Any, Rule | None]], Any]:
    """Each leaf with its path and its rule, None where it has none; and the structure of the tree."""
    leaves, structure = named_leaves(tree)
    if callable(strides):
        ruled = [(path, leaf, None if is_masked(leaf) else strides(path)) for path, leaf in leaves]
    elif isinstance(strides, Mapping):
        ruled = [(path, leaf, None if is_masked(leaf) else _first(path, strides)) for path, leaf in leaves]
        _check_all_used(op, leaves, strides)
    else:
        raise TypeError(
            f"{op}: strides must be a mapping from parameter paths to strides, such as {{'up/kernel': 2}}, or a "
            f"function of the path; got {type(strides).__name__}."
        )
    if leaves and all(rule is None for _, _, rule in ruled):
        raise ValueError(f"{op}: strides names none of the parameters {_some(path for path, _ in leaves)}.")
    return ruled, structure


def _first(path: str, strides: Mapping[str, Rule]) -> Rule | None:
    return next((rule for pattern, rule in strides.items() if matches(path, pattern)), None)


def _check_all_used(op: str, leaves: list[tuple[str, Any]], strides: Mapping[str, Any]) -> None:
    """Raises for a pattern without a parameter: a typo would leave a kernel as it is, in silence."""
    if any(is_masked(leaf) for _, leaf in leaves) or not leaves:
        return  # what the pattern names may be hidden, whole branches under one name
    for pattern in strides:
        if not any(matches(path, pattern) for path, _ in leaves):
            raise ValueError(
                f"{op}: strides has {pattern!r}, which names no parameter; there are "
                f"{_some(path for path, _ in leaves)}."
            )


def _some(paths: Any, *, most: int = 8) -> str:
    paths = [repr(path) for path in paths]
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")

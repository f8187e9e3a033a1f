"""A callable without state: what each kind of model is turned into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Model(NamedTuple):
    """A callable without state: its arrays go in, and what it is called with."""

    run: Callable[[Sequence[Any], Sequence[Any]], Any]  # of the arrays and the arguments
    leaves: tuple[Any, ...]  # its arrays
    names: tuple[str, ...]  # of each of them
    draw: Callable[[Any], tuple[Any, ...]] | None  # new arrays from a key
    method: Any  # whose signature names the arguments
    taken: int = 0  # arguments that came before those: the variables of a linen module


def leaf_names(tree: Any) -> tuple[str, ...]:
    """The path of each leaf, joined with "/"."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in flat)


def fitted(op: str, what: str, drawn: dict[str, Any], given: dict[str, Any]) -> tuple[Any, ...]:
    """Newly drawn arrays in the place of given ones, in their order and dtypes; both by name."""
    odd = [name for name in given if name not in drawn or drawn[name].shape != jnp.shape(given[name])]
    odd += [name for name in drawn if name not in given]
    if odd:
        raise ValueError(
            f"{op}: {what} is initialised with other arrays than those given ({odd[0]}); redraw=0 takes those given."
        )
    return tuple(drawn[name].astype(array.dtype) for name, array in given.items())


def quick_key(key: Any) -> Any:
    """A key of the "rbg" generator, whose draws compile in a third of the time; its numbers depend on the backend."""
    return jax.random.wrap_key_data(jax.random.bits(key, (4,), "uint32"), impl="rbg")


def is_key(value: Any) -> bool:
    """Whether an array holds keys of random numbers."""
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)

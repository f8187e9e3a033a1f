"""Any callable without its state: by its kind."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Collection, Sequence
from typing import Any

import jax

from checkerjax.audits._construction import class_of, construct, is_module
from checkerjax.audits._model import Model, is_key, leaf_names
from checkerjax.audits._model_linen import linen_model


def model_of(op: str, fn: Any, args: tuple[Any, ...], data: Collection[int], key: Any, values: bool) -> Model:
    """What an audited callable is.

    Args:
      op: the function that error messages name.
      fn: a function, a linen or nnx module, a class of these or a partial of one, a Keras model, a callable pytree.
      args: what it is called with; of a linen module its variables may come first.
      data: the positions in `args` whose values do not matter for initialisation.
      key: for modules that are initialised here, and for dropout; may be None.
      values: whether linen parameters that are drawn here need values, or only shapes.
    """
    anew = None
    if (cls := class_of(fn)) is not None:
        if key is None:
            raise ValueError(f"{op}: {cls.__name__} is a class; give key= to initialise it, or an instance of it.")
        anew = functools.partial(construct, op, fn, {})
        fn = anew(key)
    owner = getattr(fn, "__self__", None)
    if is_module(fn, "linen"):
        return linen_model(op, fn, args, data, key, values)
    if is_module(fn, "nnx") or (inspect.ismethod(fn) and is_module(owner, "nnx")):
        from checkerjax.audits._model_nnx import nnx_model

        module, method = (owner, fn.__name__) if inspect.ismethod(fn) else (fn, "__call__")
        return nnx_model(op, module, method, anew)
    return _keras_model(op, fn) if _is_keras(fn) else _plain_model(fn)


def _is_keras(fn: Any) -> bool:
    layer = getattr(getattr(sys.modules.get("keras"), "layers", None), "Layer", None)
    return layer is not None and isinstance(fn, layer)


def _keras_model(op: str, model: Any) -> Model:
    if not model.built:
        raise ValueError(f"{op}: {type(model).__name__} has no weights yet; call or .build it first.")
    trained, others = list(model.trainable_variables), list(model.non_trainable_variables)

    def run(leaves: Sequence[Any], args: Sequence[Any]) -> Any:
        return model.stateless_call(list(leaves[: len(trained)]), list(leaves[len(trained) :]), *args)[0]

    variables = [*trained, *others]
    return Model(run, tuple(v.value for v in variables), tuple(v.path for v in variables), None, model.call)


def _plain_model(fn: Any) -> Model:
    """A function, or a callable pytree (an Equinox module, a `jax.tree_util.Partial`) whose arrays are its own."""
    leaves, tree = jax.tree.flatten(fn)
    at = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array) and not is_key(leaf)]
    if not at:
        return Model(lambda leaves, args: fn(*args), (), (), None, fn)

    def run(arrays: Sequence[Any], args: Sequence[Any]) -> Any:
        filled = list(leaves)
        for i, array in zip(at, arrays):
            filled[i] = array
        return jax.tree.unflatten(tree, filled)(*args)

    names = leaf_names(fn)
    return Model(run, tuple(leaves[i] for i in at), tuple(names[i] for i in at), None, fn)

"""What is audited, as a pure function of its parameters and of its data."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from checkerjax.audits._construction import construct as construct  # the other door of this file
from checkerjax.audits._failures import explained
from checkerjax.audits._model import Model, is_key, leaf_names
from checkerjax.audits._model_kinds import model_of
from checkerjax.audits._report_words import plural


class Subject(NamedTuple):
    """A model as a pure function, with its arrays told apart."""

    call: Callable[[Any, tuple[jax.Array, ...]], Any]  # (parameters, data) -> output, any pytree of arrays
    parameters: tuple[Any, ...]  # the arrays that are no data
    data: tuple[jax.Array, ...]  # the arrays that the probes take the place of
    draw: Callable[[jax.Array], tuple[jax.Array, ...]] | None  # new parameters from a key; None: nobody knows how
    names: tuple[str, ...]  # of each parameter, such as "params/Conv_0/kernel"
    loss: Callable[[Any], jax.Array] | None = None  # of the output, a number
    data_names: tuple[str, ...] = ()  # of each of the data


def make_subject(
    op: str,
    fn: Any,
    args: Sequence[Any],
    *,
    inputs: int | Sequence[int] | None,
    key: jax.Array | None,
    loss: Callable[[Any], Any] | None = None,
    values: bool = True,
) -> Subject:
    """Tells data, parameters and the rest of an audited call apart.

    Args:
      op: the function that error messages name.
      fn: a function, a linen or nnx module, a class of these or a `functools.partial` of one, a Keras model, a
        callable pytree. The arrays of a module are parameters (of nnx modules, those in a Variable), as are those in
        `args` that are no data; arrays that `fn` closes over are constants.
      args: what it is called with. A linen module takes its variables first, or is initialised with `key`. What is no
        array (numbers, strings, None), and keys of random numbers, are passed on as they are.
      inputs: the positions in `args` of the data; None: the last argument that is a floating array with an axis.
      key: for the initialisation of modules, and for dropout.
      loss: a function of the output of `fn` that gives a number.
      values: whether parameters of linen modules that are drawn here need values; if not, they are
        `jax.ShapeDtypeStruct`, which costs no compilation.

    Returns:
      The subject. Whatever fails in its functions is raised as one sentence, with the original error as its cause.

    Raises:
      TypeError: if `fn` or `loss` is not callable, or an input is not an array.
      ValueError: if an input is out of range, nothing carries data, or a key is missing.
    """
    args = tuple(args)
    _check_callable(op, fn)
    if loss is not None and not callable(loss):
        raise TypeError(f"{op}: loss must be a function of the output of fn; got {type(loss).__name__}.")
    _check_not_traced(op, args)
    _check_key(op, key)
    at = _positions(op, args, inputs)
    model = model_of(op, fn, args, at, key, values)
    rest, at = args[model.taken :], tuple(i - model.taken for i in at)
    _check_arguments(op, model, rest)
    leaves, tree = jax.tree.flatten(rest)
    data_at, given_at = _told_apart(rest, leaves, at)
    data, given = (tuple(jnp.asarray(leaves[i]) for i in each) for each in (data_at, given_at))
    own = len(model.leaves)

    def call(parameters: Sequence[Any], data: Sequence[Any]) -> Any:
        filled = list(leaves)
        for i, array in zip((*given_at, *data_at), (*parameters[own:], *data)):
            filled[i] = array
        with explained(op):
            out = model.run(parameters[:own], jax.tree.unflatten(tree, filled))
        return _checked_output(op, out)

    def draw(key: jax.Array) -> tuple[Any, ...]:
        assert model.draw is not None
        return *model.draw(key), *given

    names = _argument_names(model.method, rest)
    return Subject(
        call,
        (*(a if isinstance(a, jax.ShapeDtypeStruct) else jnp.asarray(a) for a in model.leaves), *given),
        data,
        draw if model.draw else None,
        (*model.names, *(names[i] for i in given_at)),
        None if loss is None else functools.partial(_loss, op, loss),
        tuple(names[i] for i in data_at),
    )


def _told_apart(args: tuple[Any, ...], leaves: list[Any], at: Sequence[int]) -> tuple[list[int], list[int]]:
    """Which leaves of the arguments are data, and which are other arrays."""
    first_leaf = np.cumsum([0, *(jax.tree.structure(arg).num_leaves for arg in args)])
    data = [int(first_leaf[i]) for i in at]
    return data, [i for i, leaf in enumerate(leaves) if i not in data and _is_array(leaf) and not is_key(leaf)]


def _check_callable(op: str, fn: Any) -> None:
    if callable(fn):
        return
    hint = " Give its .apply." if callable(getattr(fn, "apply", None)) else ""
    raise TypeError(f"{op}: fn must be a function or a module with __call__; got {type(fn).__name__}.{hint}")


def _check_not_traced(op: str, args: Any) -> None:
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args)):
        raise TypeError(f"{op}: arguments must be arrays with values; got traced ones. Call it outside jit and vmap.")


def _check_key(op: str, key: Any) -> None:
    is_old = isinstance(key, (jax.Array, np.ndarray)) and key.dtype == np.uint32 and key.ndim == 1
    if not (key is None or is_old or (isinstance(key, jax.Array) and is_key(key) and not key.ndim)):
        got = "another array" if isinstance(key, jax.Array) else type(key).__name__
        raise TypeError(f"{op}: key must be one key, such as jax.random.key(0); got {got}.")


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array) or (isinstance(value, np.ndarray) and value.dtype.kind not in "OUSMm")


def _positions(op: str, args: tuple[Any, ...], inputs: int | Sequence[int] | None) -> tuple[int, ...]:
    """The positions of the data, each from 0 on."""
    if inputs is None:
        found = [i for i, arg in enumerate(args) if _is_array(arg) and arg.ndim and _is_floating(arg)]
        if not found:
            raise ValueError(
                f"{op}: no argument after fn is a floating array, so nothing carries data; got "
                f"{', '.join(type(arg).__name__ for arg in args) or 'no arguments'}. Give the arrays that fn is called "
                "with, or name those with data by inputs=."
            )
        return (found[-1],)
    try:
        chosen = [operator.index(i) for i in (inputs if isinstance(inputs, Sequence) else (inputs,))]
    except TypeError:
        raise TypeError(f"{op}: inputs must be positions of arguments, such as 0 or (0, 2); got {inputs!r}.") from None
    outside = [i for i in chosen if not -len(args) <= i < len(args)]
    if outside or not chosen:
        raise ValueError(
            f"{op}: inputs must be positions of the {len(args)} arguments after fn, from 0 on; "
            f"got {outside[0] if outside else 'none'}."
        )
    at = tuple(i % len(args) for i in chosen)
    if len(set(at)) < len(at):
        raise ValueError(f"{op}: inputs must name each argument once; got {inputs!r}.")
    for i in at:
        if not _is_array(args[i]) or is_key(args[i]):
            kind = "a random key" if _is_array(args[i]) else type(args[i]).__name__
            raise TypeError(f"{op}: argument {i} is named by inputs and must be an array; got {kind}.")
    return at


def _is_floating(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _check_arguments(op: str, model: Model, args: tuple[Any, ...]) -> None:
    """Too few or too many arguments, said before anything is run."""
    try:
        signature = inspect.signature(model.method)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args)
    except TypeError as error:
        raise TypeError(f"{op}: fn cannot be called with {plural(len(args), 'argument')}: {error}.") from error


def _argument_names(method: Any, args: tuple[Any, ...]) -> tuple[str, ...]:
    """The path of each leaf of the arguments, which are called what the function calls them."""
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    called = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    called += [f"argument {i}" for i in range(len(called), len(args))]
    joined = []
    for name, arg in zip(called, args):
        joined += [f"{name}/{path}" if path else name for path in leaf_names(arg)]
    return tuple(joined)


def _checked_output(op: str, out: Any) -> Any:
    leaves = jax.tree.leaves(out)
    odd = [leaf for leaf in leaves if not _is_array(leaf) and not isinstance(leaf, (bool, int, float, complex))]
    if odd or not leaves:
        got = type(odd[0]).__name__ if odd else type(out).__name__
        raise TypeError(f"{op}: fn must return arrays; got {got}. Wrap it in a function that returns its image.")
    return out


def _loss(op: str, loss: Callable[[Any], Any], output: Any) -> jax.Array:
    with explained(op, "loss"):
        value = jnp.asarray(loss(output))
    if value.shape or not _is_floating(value):
        raise ValueError(f"{op}: loss must give one floating number; got {value.dtype}{list(value.shape)}.")
    return value

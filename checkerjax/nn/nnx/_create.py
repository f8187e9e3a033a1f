"""How the parameters of a form become those of an nnx module."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from checkerjax.nn._forms import Form, run
from checkerjax.nn._layers import channels_of, sizes_of


def static(value: Any) -> Any:
    """Lists as tuples, which a graph definition can hash."""
    return tuple(static(v) for v in value) if isinstance(value, (list, tuple)) else value


def create(module: Any, form: Form, inputs: int, features: int, rngs: nnx.Rngs, **inits: Any) -> None:
    """Draws the form's parameters, in order; initialisers are not kept."""
    place = type(module).__name__
    shapes = form.parameters(place, module, inits, sizes_of(place, module.kernel_size), inputs, features)
    module.names = tuple(shapes)
    for name, (init, shape) in shapes.items():
        setattr(module, name, nnx.Param(init(rngs.params(), shape, module.param_dtype)))


def run_form(module: Any, form: Form, inputs: jax.Array) -> jax.Array:
    """The form with the module's parameters as they are."""
    place = type(module).__name__
    ndim = len(sizes_of(place, module.kernel_size))
    channels = channels_of(place, inputs, ndim)
    if channels != module.in_features:
        raise ValueError(f"{place}: inputs must have in_features={module.in_features} channels; got {channels}.")
    return run(place, form, module, ndim, inputs, {name: getattr(module, name)[...] for name in module.names})

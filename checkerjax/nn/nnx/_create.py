"""How the parameters of a form become those of an nnx module."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
from flax import nnx

from checkerjax._checks import as_int
from checkerjax.nn._forms import Form, run
from checkerjax.nn._layers import channels_of, sizes_of

NOTHING: Mapping[str, Any] = MappingProxyType({})  # metadata by default


def static(value: Any) -> Any:
    """Lists as tuples, which a graph definition can hash."""
    return tuple(static(v) for v in value) if isinstance(value, (list, tuple)) else value


def create(module: Any, form: Form, inputs: int, features: int, rngs: nnx.Rngs, **inits: Any) -> None:
    """Draws the form's parameters, in order; initialisers are not kept."""
    place = type(module).__name__
    inputs = as_int(place, "in_features", inputs, minimum=1)
    features = as_int(place, "out_features", features, minimum=1)
    check_rngs(place, rngs)
    shapes = form.parameters(place, module, inits, sizes_of(place, module.kernel_size), inputs, features)
    module.names = tuple(shapes)
    for name, (init, shape) in shapes.items():
        setattr(module, name, nnx.Param(init(rngs.params(), shape, module.param_dtype)))


def check_rngs(place: str, rngs: Any) -> None:
    """Raises for what no parameters can be drawn from: None and a seed are what people write."""
    if not isinstance(rngs, nnx.Rngs) and not hasattr(rngs, "params"):
        raise TypeError(f"{place}: rngs must be nnx.Rngs; got {type(rngs).__name__}. Write rngs=nnx.Rngs(0).")


def run_form(module: Any, form: Form, inputs: jax.Array) -> jax.Array:
    """The form with the module's parameters as they are."""
    place = type(module).__name__
    ndim = len(sizes_of(place, module.kernel_size))
    channels = channels_of(place, inputs, ndim)
    if channels != module.in_features:
        raise ValueError(f"{place}: inputs must have in_features={module.in_features} channels; got {channels}.")
    return run(place, form, module, ndim, inputs, {name: getattr(module, name)[...] for name in module.names})

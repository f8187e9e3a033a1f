"""What errors call a linen module, and how a form gets its parameters."""

from __future__ import annotations

import jax
from flax import linen as nn

from checkerjax._checks import as_int
from checkerjax.nn._forms import INITS, Form, run
from checkerjax.nn._layers import channels_of, sizes_of


def place_of(module: nn.Module) -> str:
    """Its class, and its path in the model."""
    path, name = "/".join(module.path), type(module).__name__
    return f"{name} at {path}" if path else name


def run_form(module: nn.Module, form: Form, inputs: jax.Array) -> jax.Array:
    """The form inside the module's compact call; without features it gives as many channels as come in."""
    place = place_of(module)
    sizes = sizes_of(place, module.kernel_size)  # pyright: ignore[reportAttributeAccessIssue]
    channels = channels_of(place, inputs, len(sizes))
    features = getattr(module, "features", channels)
    features = as_int(place, "features", features, minimum=1)
    inits = {name: getattr(module, name) for name in INITS if hasattr(module, name)}
    shapes = form.parameters(place, module, inits, sizes, channels, features)
    dtype = module.param_dtype  # pyright: ignore[reportAttributeAccessIssue]
    parameters = {name: module.param(name, init, shape, dtype) for name, (init, shape) in shapes.items()}
    return run(place, form, module, len(sizes), inputs, parameters)

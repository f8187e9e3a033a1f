"""What linen and nnx layers share: where an error came from, batch axes, and the promotion of dtypes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import LAYOUTS, as_int


@contextlib.contextmanager
def located(place: str) -> Iterator[None]:
    """Errors about arguments raised within it say which layer of the model they are about."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if type(error) not in (ValueError, TypeError) or str(error).startswith(place):
            raise  # jax's own kinds, which explain themselves
        raise type(error)(f"{place}: {error}") from error


def sizes_of(place: str, kernel_size: int | Sequence[int]) -> tuple[int, ...]:
    """`kernel_size` as Flax takes it: an int for one spatial axis, otherwise one int for each."""
    sizes = kernel_size if isinstance(kernel_size, (Sequence, np.ndarray)) else (kernel_size,)
    if isinstance(sizes, str) or len(sizes) not in LAYOUTS:
        raise ValueError(
            f"{place}: kernel_size must be an int (one spatial axis) or 1 to 3 ints, one for each spatial axis; "
            f"got {kernel_size!r}."
        )
    return tuple(as_int(place, "kernel_size", k, minimum=1) for k in sizes)


def channels_of(place: str, inputs: Any, ndim: int) -> int:
    """The channels of a field with any number of batch axes."""
    shape = jnp.shape(inputs)
    if len(shape) < ndim + 1:
        raise ValueError(
            f"{place}: inputs must be [*batch, *spatial, channels] with {ndim} spatial axes, as kernel_size has; "
            f"got shape {shape}."
        )
    if not shape[-1]:
        raise ValueError(f"{place}: inputs must have at least one channel, their last axis; got shape {shape}.")
    return shape[-1]


def over_batch(f: Callable[[jax.Array], jax.Array], inputs: jax.Array, ndim: int) -> jax.Array:
    """`f`, which wants one batch axis, for none or several; also where it is empty."""
    batch = inputs.shape[: inputs.ndim - ndim - 1]
    if not math.prod(n for n in batch if isinstance(n, int)):
        out = jax.eval_shape(f, jax.ShapeDtypeStruct((1, *inputs.shape[len(batch) :]), inputs.dtype))
        return jnp.zeros((*batch, *out.shape[1:]), out.dtype)
    if len(batch) == 1:
        return f(inputs)
    out = f(inputs.reshape(-1, *inputs.shape[len(batch) :]))
    return out.reshape(*batch, *out.shape[1:])


def promoted(dtype: Any, *arrays: Any) -> list[Any]:
    """Arrays as one dtype, by Flax's rule: `dtype`, or what their own promote to; None stays None."""
    from flax.linen.dtypes import promote_dtype

    return promote_dtype(*arrays, dtype=dtype)


def with_bias(y: jax.Array, bias: jax.Array | None) -> jax.Array:
    return y if bias is None else y + bias.astype(y.dtype).reshape((1,) * (y.ndim - bias.ndim) + bias.shape)

"""Parameters at random: one draw of independent normals for a whole stack, sliced in reading order."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import as_inexact
from checkerjax.stacks._plan import Draw, StackLike, Width, plan_stack


def init(
    key: jax.Array,
    stack: StackLike,
    *,
    channels: int,
    ndim: int = 2,
    width: Width = 16,
    initialiser: str = "lecun",
    dtype: Any = "float32",
) -> tuple:
    """Random parameters of a stack.

    Weights are independent N(0, variance): "lecun" 1 / fan_in, "he" 2 / fan_in, "normal(std)" std^2, with
    fan_in = I / groups times prod(k), also for transposed kernels, and C for a dense layer, as Flax and
    `jax.nn.initializers` count it. "icnr" is "lecun" with tied phases: a sub-pixel layer draws its O filters only and
    repeats them (`ops.icnr`), a transposed convolution keeps the first tap of each block (`ops.icnr_transpose`); layers
    that have no phases stay "lecun". A layer's own `initialiser` wins over the argument.

    Args:
      key: `jax.random.key`.
      stack: text, a layer or a sequence of layers.
      channels: C of the input.
      ndim: spatial axes, 1 to 3.
      width: output channels of the learned layers whose `features` is None: one int, or one for each of them in reading
        order. In a residual branch, the last layer that sets the number of channels takes the number that comes in
        instead, and no entry of the sequence.
      initialiser: "lecun", "he", "icnr" or "normal(std)".
      dtype: floating.

    Returns:
      A tuple with one entry per layer: `{"kernel": array}` in the layout of the layer's operator (conv and resize
      `[*k, I / groups, O]`, deconv `[*k, I, O / groups]`, subpixel `[*k, I, prod(scale) O]`, dense `[C, *size, O]`);
      `{"bias": [C]}` for a bias; a tuple of entries for a residual, a tuple of those for parallel stacks; `{}` for the
      others.

    Raises:
      ValueError: for sizes of another rank, a wrong number of widths, groups that do not divide, "icnr" with a stride
        that does not divide the kernel, or branches that do not keep or share the number of channels.
      TypeError: for a stack or dtype that is none.

    Example:
      >>> params = init(jax.random.key(0), "deconv k5 s2, relu, deconv k5 s2 c3", channels=8, width=4)
      >>> jax.tree.map(jax.numpy.shape, params, is_leaf=lambda leaf: hasattr(leaf, "shape"))
      ({'kernel': (5, 5, 8, 4)}, {}, {'kernel': (5, 5, 4, 3)})

    References:
      LeCun et al., Efficient BackProp, 1998. He et al., arXiv:1502.01852. Aitken et al., arXiv:1707.02937 (ICNR).
    """
    if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
        raise TypeError(f"init: dtype must be floating; got {jnp.dtype(dtype)}.")
    kind = getattr(key, "dtype", np.dtype(object))
    if not (jnp.issubdtype(kind, jax.dtypes.prng_key) or kind == np.uint32):
        raise TypeError(f"init: key must be a random key, as jax.random.key makes it; got {key!r}.")
    plan, _ = plan_stack("init", stack, channels, ndim, width, initialiser)
    return _fill(plan, jax.random.normal(key, (_count(plan),), dtype))


def init_from_normals(
    normals: jax.Array,
    stack: StackLike,
    *,
    channels: int,
    ndim: int = 2,
    width: Width = 16,
    initialiser: str = "lecun",
) -> tuple:
    """`init` with its normals given: what sweeps use, to draw outside of compiled programs.

    Args:
      normals: `[n]`, with n at least `normal_count`, independent N(0, 1); what is too much is not used, so that a
        longer draw of the same key gives the same parameters. Any floating dtype, and the parameters have it.
      stack: as in `init`, and so are the others.
      channels: C of the input.
      ndim: spatial axes.
      width: output channels.
      initialiser: of the weights.

    Returns:
      As `init`: `init(key, ...)` is `init_from_normals(jax.random.normal(key, (normal_count(...),)), ...)`. Batches of
      draws by `jax.vmap`.

    Raises:
      ValueError: as `init`, or for normals that are too few or not `[n]`.
      TypeError: as `init`.

    Example:
      >>> init_from_normals(jax.numpy.arange(4.0), "deconv k3 s2 c1", channels=1, ndim=1, initialiser="normal(2)")
      ({'kernel': Array([[[0.]], [[2.]], [[4.]]], dtype=float32)},)
    """
    op = "init_from_normals"
    plan, _ = plan_stack(op, stack, channels, ndim, width, initialiser)
    normals = as_inexact(op, "normals", normals)
    count = _count(plan)
    if normals.ndim != 1 or normals.shape[0] < count:
        raise ValueError(f"{op}: normals must be [n] with n at least {count}; got shape {normals.shape}.")
    return _fill(plan, normals)


def normal_count(
    stack: StackLike, *, channels: int, ndim: int = 2, width: Width = 16, initialiser: str = "lecun"
) -> int:
    """How many independent normals `init` draws for a stack.

    Args:
      stack: as in `init`, and so are the others.
      channels: C of the input.
      ndim: spatial axes.
      width: output channels.
      initialiser: of the weights; "icnr" draws fewer for a sub-pixel layer.

    Returns:
      The number of independent weights and biases.

    Raises:
      ValueError: as `init`.
      TypeError: as `init`.

    Example:
      >>> normal_count("deconv k5 s2, relu, deconv k5 s2 c3", channels=8, width=4)
      1100
    """
    return _count(plan_stack("normal_count", stack, channels, ndim, width, initialiser)[0])


def output_channels(stack: StackLike, channels: int, *, width: Width = 16) -> int:
    """Channels that come out of a stack.

    Args:
      stack: text, a layer or a sequence of layers.
      channels: C of the input.
      width: as in `init`.

    Returns:
      The number of channels of the last layer's output.

    Raises:
      ValueError: as `init`.
      TypeError: as `init`.

    Example:
      >>> output_channels("parallel(conv k3 c4 | conv k5 c2) concat, relu", 3)
      6
    """
    return plan_stack("output_channels", stack, channels, None, width, "lecun")[1]


def _is_draw(node: object) -> bool:
    return isinstance(node, Draw)


def _count(plan: tuple) -> int:
    return sum(math.prod(draw.shape) for draw in jax.tree.leaves(plan, is_leaf=_is_draw))


def _fill(plan: tuple, normals: jax.Array) -> tuple:
    draws, structure = jax.tree.flatten(plan, is_leaf=_is_draw)
    arrays, start = [], 0
    for draw in draws:
        stop = start + math.prod(draw.shape)
        # A bias of std 0 takes its normals too: its std then changes no other parameter.
        array = normals[start:stop].reshape(draw.shape) * draw.std
        arrays.append(draw.tie(array) if draw.tie else array)
        start = stop
    return jax.tree.unflatten(structure, arrays)

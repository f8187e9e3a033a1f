"""Three primitives that are each other's derivatives: the forms of a small field S, a kernel K and a large field L.

All three come from the sum of S[m] K[j] L[n] over the pairs of a `Grid`, by leaving one factor out: `scatter(S, K)`
is a transposed convolution, `gather(L, K)` a strided one, `kernel(S, L)` the kernel gradient of both. Each is linear
in each argument, and its transposes are the other two; so derivatives of every order and either mode stay among the
three, and every one runs in the form that suits its own shapes and backend.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from checkerjax.ops import _dots, _plain
from checkerjax.ops._choice import choose
from checkerjax.ops._grid import Grid, is_known
from checkerjax.ops._manual_axes import vary_over, varying

GRADIENT = "auto, gradient"  # "auto" for the input gradient of a deconvolution

scatter_p = Primitive("checkerjax_scatter")  # lax has a scatter and a gather of its own
gather_p = Primitive("checkerjax_gather")
kernel_p = Primitive("checkerjax_kernel")


def scatter(small: jax.Array, kernel: jax.Array, grid: Grid, *, precision: lax.PrecisionLike, method: str) -> jax.Array:
    """`[N, *small, A]` and `[*k, A, B]` to `[N, *large, B]`."""
    return _bind(scatter_p, small, kernel, grid, precision, method)


def gather(large: jax.Array, kernel: jax.Array, grid: Grid, *, precision: lax.PrecisionLike, method: str) -> jax.Array:
    """`[N, *large, B]` and `[*k, A, B]` to `[N, *small, A]`."""
    return _bind(gather_p, large, kernel, grid, precision, method)


def _bind(
    primitive: Primitive, x: jax.Array, y: jax.Array, grid: Grid, precision: lax.PrecisionLike, method: str
) -> jax.Array:
    # Inside shard_map both factors must vary over the same mesh axes; the cast transposes to the sum over them.
    x, y = (vary_over(a, varying(b) - varying(a)) for a, b in ((x, y), (y, x)))
    return primitive.bind(x, y, grid=grid, precision=_resolved(precision), method=method)


def _resolved(precision: Any) -> Any:
    """What lax would take here, hashable: lowering comes after `jax.default_matmul_precision` has ended."""
    if precision is None:
        precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return tuple(precision) if isinstance(precision, list) else precision


def _shape(primitive: Primitive, x: Any, y: Any, grid: Grid) -> tuple[int, ...]:
    if primitive is scatter_p:
        return (x.shape[0], *grid.large, y.shape[-1])
    if primitive is gather_p:
        return (x.shape[0], *grid.small, y.shape[-2])
    return (*grid.kernel, x.shape[-1], y.shape[-1])


def _form(primitive: Primitive, backend: str, x: jax.Array, y: jax.Array, *, grid: Grid, precision: Any, method: str):
    """The primitive in the form that `method`, or the backend's rule, says."""
    if not is_known(x.shape + y.shape) or any(_is_sharded(a) for a in (x, y)):
        method = "lax"  # columns are counted, and cut, in numbers of images
    elif method in ("auto", GRADIENT):
        outputs = y.shape[-2 if primitive is gather_p else -1]
        method = choose(backend, _NAMES[primitive], x.shape[0], x.shape[-1], outputs, grid, method == GRADIENT)
    return _FORMS[primitive][method](x, y, grid, precision)


def _is_sharded(x: jax.Array) -> bool:
    """Whether the type itself says so, on a mesh with explicit axes: there only lax knows what becomes of them."""
    return any(axis is not None for axis in jax.typeof(x).sharding.spec)


_NAMES = {scatter_p: "scatter", gather_p: "gather", kernel_p: "kernel"}
_FORMS = {
    scatter_p: {"dots": _dots.scatter, "lax": _plain.scatter},
    gather_p: {"dots": _dots.gather, "lax": _plain.gather},
    kernel_p: {"dots": _dots.kernel, "phases": _dots.kernel_by_phase, "lax": _plain.kernel},
}


def _mapped(primitive: Primitive, args: tuple[Any, Any], dims: tuple[Any, Any], **params: Any) -> tuple[jax.Array, int]:
    """The batching rule: one wider contraction where that says the same, else one contraction after the other."""
    x, y = (a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(args, dims))
    both = None not in dims
    count = (y if dims[0] is None else x).shape[0]
    if count == 0:
        one_x, one_y = (jax.ShapeDtypeStruct(a.shape[d is not None :], a.dtype) for a, d in zip((x, y), dims))
        return jnp.zeros((0, *_shape(primitive, one_x, one_y, params["grid"])), x.dtype), 0
    if primitive is kernel_p:
        if both:
            return _each(primitive, x, y, params), 0
        # Copies of one field are more channels of it, and so more channels of the kernel.
        field, axis = (x, -2) if dims[1] is None else (y, -1)
        wide = _into_channels(field)
        out = primitive.bind(*((wide, y) if axis == -2 else (x, wide)), **params)
        return _split(out, axis, field.shape[0]), 0
    if both:
        return _each(primitive, x, y, params), 0
    if dims[1] is None:  # more images under one kernel
        out = primitive.bind(x.reshape(-1, *x.shape[2:]), y, **params)
        return out.reshape(*x.shape[:2], *out.shape[1:]), 0
    axis = -1 if primitive is scatter_p else -2  # more kernels on one field: more channels going out
    kernels = jnp.moveaxis(y, 0, axis - 1)
    shape = list(y.shape[1:])
    shape[axis] *= y.shape[0]
    return _split(primitive.bind(x, kernels.reshape(shape), **params), -1, y.shape[0]), 0


def _each(primitive: Primitive, x: jax.Array, y: jax.Array, params: dict[str, Any]) -> jax.Array:
    """Every pair for itself. Batched in one program it becomes a grouped convolution, which a CPU runs far slower."""
    if jax.default_backend() == "cpu":
        return lax.map(lambda pair: primitive.bind(*pair, **params), (x, y))
    return jax.vmap(functools.partial(_form, primitive, jax.default_backend(), **params))(x, y)


def _into_channels(field: jax.Array) -> jax.Array:
    """`[B, N, *n, C]` to `[N, *n, B C]`."""
    moved = jnp.moveaxis(field, 0, -2)
    return moved.reshape(*moved.shape[:-2], -1)


def _split(out: jax.Array, axis: int, count: int) -> jax.Array:
    """The axis `[count * n]` taken apart, `count` in front."""
    axis %= out.ndim
    apart = out.reshape(*out.shape[:axis], count, -1, *out.shape[axis + 1 :])
    return jnp.moveaxis(apart, axis, 0)


def _gradient(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "method": GRADIENT} if params["method"] == "auto" else params


def _define(primitive: Primitive, first: Callable[..., jax.Array], second: Callable[..., jax.Array]) -> None:
    def abstract(x: Any, y: Any, *, grid: Grid, precision: Any, method: str) -> Any:
        # The first axis of a kernel is no batch axis, and is not sharded as one.
        whole = {"sharding": NamedSharding(x.sharding.mesh, PartitionSpec())} if primitive is kernel_p else {}
        return x.update(shape=_shape(primitive, x, y, grid), weak_type=False, **whole)

    def lowering(backend: str) -> Any:
        return mlir.lower_fun(functools.partial(_form, primitive, backend), multiple_results=False)

    primitive.def_abstract_eval(abstract)

    def form(x: jax.Array, y: jax.Array, params: tuple[tuple[str, Any], ...]) -> jax.Array:
        return _form(primitive, jax.default_backend(), x, y, **dict(params))

    eager = jax.jit(form, static_argnums=2)
    primitive.def_impl(lambda x, y, **params: eager(x, y, tuple(params.items())))
    ad.defbilinear(primitive, first, second)
    batching.primitive_batchers[primitive] = functools.partial(_mapped, primitive)
    mlir.register_lowering(primitive, lowering("other"))
    mlir.register_lowering(primitive, lowering("cpu"), platform="cpu")


_define(
    scatter_p,
    lambda ct, small, kernel, **params: gather_p.bind(ct, kernel, **_gradient(params)),
    lambda ct, small, kernel, **params: kernel_p.bind(small, ct, **params),
)
_define(
    gather_p,
    lambda ct, large, kernel, **params: scatter_p.bind(ct, kernel, **params),
    lambda ct, large, kernel, **params: kernel_p.bind(ct, large, **params),
)
_define(
    kernel_p,
    lambda ct, small, large, **params: gather_p.bind(large, ct, **params),
    lambda ct, small, large, **params: scatter_p.bind(small, ct, **params),
)

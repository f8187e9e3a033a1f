"""`method` of the convolutions: values and derivatives of every order against loops and against lax's autodiff."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from checkerjax import conv, conv_transpose, resize_conv

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))

ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a hundred terms of size one
OPERATORS = {"conv": conv, "conv_transpose": conv_transpose}
FAST = ["dots", "auto"]


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def close(actual, expected) -> None:
    """Equal to 1e-5 of the largest entry: derivatives sum more terms than values do."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(expected).max())))


# size, kernel, options
CONVS = {
    "plain": ((7,), (3,), {}),
    "stride 4 over kernel": ((9,), (2,), {"stride": 4}),
    "remainder": ((8,), (3,), {"stride": 3, "padding": "VALID"}),  # the last sample meets no tap
    "dilation a multiple of the stride": ((9,), (3,), {"stride": 2, "dilation": 2, "padding": 2}),
    "per axis": ((7, 6), (2, 3), {"stride": (1, 3), "dilation": (3, 1), "padding": ((2, 0), (1, 4))}),
    "volume": ((4, 3, 5), (2, 3, 2), {"stride": (1, 2, 4), "dilation": (2, 1, 1)}),
}
TRANSPOSES = {
    "plain": ((5,), (4,), {"stride": 2}),
    "stride 4 over kernel": ((3,), (2,), {"stride": 4, "padding": "VALID"}),
    "crop beyond the kernel": ((6,), (2,), {"stride": 2, "padding": ((4, 3),)}),
    "starts below zero": ((4,), (2,), {"stride": 3}),  # "SAME" of a kernel below the stride appends
    "output_padding": ((3,), (2,), {"padding": 1, "output_padding": 2, "dilation": 3}),
    "per axis": ((3, 4), (2, 3), {"stride": (3, 2), "padding": ((1, 0), (0, 3)), "output_padding": (2, 1)}),
    "dilated": ((4, 4), (3, 3), {"stride": (2, 1), "dilation": (3, 2), "padding": ((1, 2), (0, 1))}),
    "long strides": ((2, 3), (5, 4), {"stride": 4}),  # the kernel gradient is taken phase by phase
    "volume": ((3, 2, 3), (2, 3, 2), {"stride": (2, 1, 3), "output_padding": (1, 0, 0)}),
}


def expected_values(name: str, x, kernel, options) -> np.ndarray:
    ndim = kernel.ndim - 2
    given = [options.get(key, default) for key, default in (("stride", 1), ("dilation", 1), ("output_padding", 0))]
    stride, dilation, extra = ((value,) * ndim if isinstance(value, int) else value for value in given)
    padding = options.get("padding", "SAME")
    size, k = x.shape[1:-1], kernel.shape[:-2]
    if name == "conv_transpose":
        low, out_size = oracle.transposed_geometry(size, k, stride, padding, extra, dilation)
        return oracle.conv_transpose(x, kernel, stride, low, out_size, dilation)
    same = oracle.same_pads(size, k, stride, dilation)
    pads = {"SAME": same, "VALID": [(0, 0)] * ndim}.get(padding) if isinstance(padding, str) else padding
    return oracle.conv(x, kernel, stride, [(pads, pads)] * ndim if isinstance(pads, int) else pads, dilation)


LAYERS = [(name, case) for name, cases in (("conv", CONVS), ("conv_transpose", TRANSPOSES)) for case in cases]


@pytest.mark.parametrize(("name", "case"), LAYERS)
def test_methods_agree_in_values_and_gradients(rng, name, case):
    size, k, options = (CONVS if name == "conv" else TRANSPOSES)[case]
    x, kernel = draw(rng, 2, *size, 2), draw(rng, *k, 2, 3)
    expected = expected_values(name, x, kernel, options)
    ct = draw(rng, *expected.shape)

    def all_of(x, kernel, ct):
        out = {}
        for method in ("lax", *FAST):
            value, pull = jax.vjp(functools.partial(OPERATORS[name], **options, method=method), x, kernel)
            out[method] = (value, *pull(ct))
        return out

    results = jax.jit(all_of)(x, kernel, ct)
    for method in FAST:
        np.testing.assert_allclose(results[method][0], expected, **ROUNDING, err_msg=method)
        for got, want in zip(results[method], results["lax"]):
            close(got, want)


def layer(name: str, method: str) -> Callable:
    """A small layer with stride, dilation and a crop on one axis."""
    return functools.partial(OPERATORS[name], stride=(2, 1), dilation=(1, 2), padding=((1, 0), (1, 2)), method=method)


@pytest.fixture
def point(rng):
    """x, kernel, and a direction of each."""
    return draw(rng, 2, 4, 5, 2), draw(rng, 3, 2, 2, 3), draw(rng, 2, 4, 5, 2), draw(rng, 3, 2, 2, 3)


def penalty(f: Callable, x, kernel) -> jax.Array:
    """A gradient penalty: the squared gradient of a loss by its input, as a loss of the kernel."""
    return jnp.sum(jnp.square(jax.grad(lambda x: jnp.sum(jnp.sin(f(x, kernel))))(x)))


def mixed(f: Callable, x, kernel, dx, dkernel) -> jax.Array:
    """The second derivative of a sum of cubes, once along dx and once along dkernel."""
    along = lambda x: jax.jvp(lambda k: jnp.sum(f(x, k) ** 3), (kernel,), (dkernel,))[1]  # noqa: E731
    return jnp.vdot(jax.grad(along)(x), dx)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("method", FAST)
def test_derivatives_of_every_kind_are_laxs(point, name, method):
    def derivatives(method, x, kernel, dx, dkernel):
        f = layer(name, method)
        _, tangent = jax.jvp(f, (x, kernel), (dx, dkernel))
        _, linear = jax.linearize(f, x, kernel)
        return {
            "jvp": tangent,
            "linearize": linear(dx, dkernel),
            "gradient penalty": jax.grad(penalty, (1, 2))(f, x, kernel),
            "mixed": mixed(f, x, kernel, dx, dkernel),
            "checkpoint": jax.grad(lambda k: jnp.sum(jnp.sin(jax.checkpoint(f)(x, k))))(kernel),
        }

    got, expected = (jax.jit(derivatives, static_argnums=0)(m, *point) for m in (method, "lax"))
    for kind, value in expected.items():
        jax.tree.map(close, got[kind], value)
    # The jvp of a bilinear map needs no oracle of its own.
    x, kernel, dx, dkernel = point
    f = jax.jit(layer(name, method))
    close(got["jvp"], np.asarray(f(dx, kernel)) + np.asarray(f(x, dkernel)))


@pytest.mark.parametrize("name", OPERATORS)
def test_hessian_of_a_bilinear_map(rng, name):
    x, kernel = draw(rng, 1, 3, 2), draw(rng, 2, 2, 1)

    def hessian(method, x, kernel):
        f = functools.partial(OPERATORS[name], stride=2, padding=1, method=method)
        return jax.hessian(lambda pair: jnp.sum(jnp.tanh(f(*pair))))((x, kernel))

    got, expected = (jax.jit(hessian, static_argnums=0)(m, x, kernel) for m in ("dots", "lax"))
    jax.tree.map(close, got, expected)


def test_derivatives_are_difference_quotients(rng):
    x, kernel = draw(rng, 1, 3, 2), draw(rng, 2, 2, 1)
    f = jax.jit(functools.partial(conv_transpose, stride=2, padding=1, method="dots"))
    check_grads(f, (x, kernel), order=2, modes=("fwd", "rev"), atol=1e-2, rtol=1e-2)


MAPPED = [("conv", (0, 0)), ("conv", (2, -1)), *(("conv_transpose", axes) for axes in [(0, 0), (0, None), (None, 0)])]


def per_example(f: Callable, axes, x, kernel) -> tuple[jax.Array, ...]:
    """Per-example values, gradients of values, and the gradient of the mean of values."""
    value = lambda x, kernel: jnp.sum(jnp.sin(f(x, kernel)))  # noqa: E731
    mapped = jax.vmap(value, axes)
    gradients = jax.vmap(jax.grad(value, (0, 1)), axes)(x, kernel)
    return mapped(x, kernel), *gradients, *jax.grad(lambda *pair: jnp.mean(mapped(*pair)), (0, 1))(x, kernel)


@pytest.mark.parametrize(("name", "axes"), MAPPED, ids=str)
def test_gradients_under_vmap_are_a_loop(rng, name, axes):
    x, kernel = draw(rng, 2, 4, 2), draw(rng, 3, 2, 3)
    xs, kernels = ([a + draw(rng, *a.shape) for _ in range(3)] for a in (x, kernel))
    stacks = [a if axis is None else np.stack(each, axis) for a, each, axis in zip((x, kernel), (xs, kernels), axes)]
    f = functools.partial(OPERATORS[name], stride=2, method="dots")
    values, dx, dkernel, mean_dx, mean_dkernel = jax.jit(functools.partial(per_example, f, axes))(*stacks)
    plain = functools.partial(OPERATORS[name], stride=2, method="lax")
    one = jax.jit(jax.value_and_grad(lambda x, kernel: jnp.sum(jnp.sin(plain(x, kernel))), (0, 1)))
    means = [0.0, 0.0]
    for i in range(3):
        value, gradients = one(x if axes[0] is None else xs[i], kernel if axes[1] is None else kernels[i])
        for got, want in zip((values[i], dx[i], dkernel[i]), (value, *gradients)):
            close(got, want)
        means = [mean + np.asarray(g) / 3 for mean, g in zip(means, gradients)]
    for got, shared, axis, last in zip((mean_dx, mean_dkernel), means, axes, gradients):
        close(got if axis is None else 3 * np.take(np.asarray(got), 2, axis), shared if axis is None else last)


def test_vmap_of_a_pullback_maps_over_what_the_kernel_gradient_takes(rng):
    x, kernel, cts = draw(rng, 2, 4, 2), draw(rng, 3, 2, 3), draw(rng, 3, 2, 8, 3)
    pulls = {m: jax.vjp(functools.partial(conv_transpose, stride=2, method=m), x, kernel)[1] for m in ("dots", "lax")}
    got = jax.jit(jax.vmap(pulls["dots"]))(cts)
    for i, ct in enumerate(cts):
        jax.tree.map(lambda all_of, one, i=i: close(all_of[i], one), got, pulls["lax"](ct))


@pytest.mark.parametrize("name", OPERATORS)
def test_jit_and_eager_agree(rng, name):
    x, kernel = draw(rng, 2, 4, 2), draw(rng, 3, 2, 3)
    f = functools.partial(OPERATORS[name], stride=2, method="dots")
    np.testing.assert_allclose(f(x, kernel), jax.jit(f)(x, kernel), rtol=1e-6, atol=1e-6)


def test_auto_takes_products_where_they_are_faster(rng):
    x, kernel = draw(rng, 2, 64, 64, 32), draw(rng, 4, 4, 32, 32)
    lax, auto = (jax.jit(functools.partial(conv_transpose, stride=2, method=method)) for method in ("lax", "auto"))
    text = jax.export.export(auto, platforms=["cpu"])(x, kernel).mlir_module()  # whatever backend runs this test
    assert "stablehlo.dot_general" in text
    assert "stablehlo.convolution" not in text
    close(auto(x, kernel), lax(x, kernel))


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("symbolic", [False, True], ids=["fixed batch", "any batch"])
@pytest.mark.parametrize("method", ["auto", "lax"])
def test_an_exported_layer_is_the_layer(rng, name, symbolic, method):
    x, kernel = draw(rng, 2, 4, 2), draw(rng, 3, 2, 3)
    f = jax.jit(functools.partial(OPERATORS[name], stride=2, method=method))
    batch = jax.export.symbolic_shape("n")[0] if symbolic else 2
    exported = jax.export.export(f)(jax.ShapeDtypeStruct((batch, 4, 2), x.dtype), kernel)
    np.testing.assert_allclose(exported.call(x, kernel), f(x, kernel), rtol=1e-6, atol=1e-6)
    gradients = jax.grad(lambda k: jnp.sum(jnp.sin(exported.call(x, k))))(kernel)
    close(gradients, jax.grad(lambda k: jnp.sum(jnp.sin(f(x, k))))(kernel))


@pytest.mark.parametrize("name", OPERATORS)
def test_float64_keeps_twelve_digits(rng, name):
    size, k, options = (CONVS if name == "conv" else TRANSPOSES)["per axis"]
    x, kernel = rng.normal(size=(2, *size, 2)), rng.normal(size=(*k, 2, 3))
    with jax.enable_x64(True):
        f = functools.partial(OPERATORS[name], **options)
        out, pull = jax.vjp(functools.partial(f, method="dots"), x, kernel)
        np.testing.assert_allclose(out, expected_values(name, x, kernel, options), rtol=1e-12, atol=1e-12)
        for got, want in zip(pull(out), jax.vjp(functools.partial(f, method="lax"), x, kernel)[1](out)):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("name", OPERATORS)
def test_complex_fields_are_bilinear_in_their_parts(rng, name):
    a, b, c, d = draw(rng, 1, 4, 2), draw(rng, 1, 4, 2), draw(rng, 3, 2, 3), draw(rng, 3, 2, 3)
    f = jax.jit(functools.partial(OPERATORS[name], stride=2, method="dots"))
    value = functools.partial(expected_values, name, options={"stride": 2})
    out = f(a + 1j * b, c + 1j * d)
    assert out.dtype == "complex64"
    np.testing.assert_allclose(out, value(a, c) - value(b, d) + 1j * (value(a, d) + value(b, c)), **ROUNDING)
    ct = draw(rng, *out.shape) + 1j * draw(rng, *out.shape)
    x, kernel = a + 1j * b, c + 1j * d
    pulls = [jax.vjp(functools.partial(OPERATORS[name], stride=2, method=m), x, kernel)[1] for m in ("dots", "lax")]
    jax.tree.map(close, *(pull(ct) for pull in pulls))


@pytest.mark.parametrize("name", OPERATORS)
def test_groups_are_laxs_whatever_the_method_but_dots(rng, name):
    x, kernel = draw(rng, 1, 4, 4), draw(rng, 3, 2 if name == "conv" else 4, 2)
    f = functools.partial(OPERATORS[name], groups=2)
    np.testing.assert_array_equal(f(x, kernel), f(x, kernel, method="lax"))
    with pytest.raises(ValueError, match=rf"^{name}: method='dots' .*groups=2.*'lax'"):
        f(x, kernel, method="dots")


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("wrong", ["dot", "phases", "", None])
def test_an_unknown_method_is_refused_by_name(name, wrong):
    with pytest.raises(ValueError, match=rf"^{name}: method must be one of auto, lax, dots"):
        OPERATORS[name](jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1)), method=wrong)


@pytest.mark.parametrize("method", ["lax", "dots", "auto"])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_default_precision_holds_where_the_operator_is_called(name, method):
    """Also inside a compiled function, whose operators are lowered after its body has ended."""

    def f(x, kernel):
        with jax.default_matmul_precision("default"):
            return OPERATORS[name](x, kernel, method=method)

    text = jax.jit(f).lower(jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1))).as_text()
    assert re.findall(r"DEFAULT|HIGHEST", text) == ["DEFAULT"] * 2


# Batch over two devices, kernel on both. In a process of its own, which alone has two devices.
SHARDED = """
import functools, json
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from checkerjax import conv, conv_transpose
from checkerjax.ops import _contractions, _tiles

rng = np.random.default_rng(0)
on_cpu = _contractions.choose
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
failed = {}

def gradients(op, method):
    loss = lambda x, kernel: jnp.sum(jnp.sin(op(x, kernel, stride=2, method=method)))
    return loss, jax.grad(loss, (0, 1))

def check(op, method, columns, kind, ndim=1, choose=on_cpu):
    _tiles.COLUMNS, _contractions.choose = columns, choose
    x, kernel = rng.normal(size=(4, *[5, 4][:ndim], 2)).astype("f"), rng.normal(size=(*[3, 3][:ndim], 2, 3)).astype("f")
    expected = jax.device_get(jax.jit(gradients(op, "lax")[1])(x, kernel))
    loss, gradient = gradients(op, method)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(kind,))
    put = lambda a, spec: jax.device_put(a, NamedSharding(mesh, spec))
    each = functools.partial(jax.shard_map, mesh=mesh, in_specs=(P("batch"), P()))
    summed = each(lambda *a: jax.lax.psum(loss(*a), "batch"), out_specs=P())
    ways = {
        "jit": gradient,
        "shard_map": each(gradient, out_specs=(P("batch"), P())),
        "gradient of shard_map": jax.grad(summed, (0, 1)),
    }
    for way, work in ways.items():
        try:
            with jax.set_mesh(mesh):
                inputs = put(x, P("batch")), put(kernel, P())
                jax.tree.map(close, jax.device_get(jax.jit(work)(*inputs)), expected)
                jax.export.export(jax.jit(work), platforms=["cuda"])(*inputs)  # lowers, in the form of that platform
        except Exception as error:
            name = f"{kind.name} {way} {op.__name__} {method}, {ndim} axes, {columns} bytes, {choose.__name__}"
            failed[name] = f"{type(error).__name__}: {error}"[:400]

for op, method, columns, kind in (
    (conv, "auto", 2**23, AxisType.Auto),
    (conv, "dots", 100, AxisType.Auto),
    (conv_transpose, "dots", 2**23, AxisType.Auto),
    (conv_transpose, "dots", 100, AxisType.Auto),
    (conv, "dots", 100, AxisType.Explicit),
    (conv_transpose, "auto", 2**23, AxisType.Explicit),
):
    check(op, method, columns, kind)

def elsewhere(*shapes):  # what other backends choose
    return "lax"

for kind in (AxisType.Auto, AxisType.Explicit):
    for op in (conv, conv_transpose):
        check(op, "auto", 2**23, kind, ndim=2)
        check(op, "auto", 2**23, kind, choose=elsewhere)
print(json.dumps([jax.device_count(), failed]))
"""


@pytest.fixture(scope="module")
def sharded() -> dict[str, str]:
    """The checks on two devices that failed, and how."""
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command, environment = [sys.executable, "-c", SHARDED], os.environ | devices
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    count, failed = json.loads(done.stdout.splitlines()[-1])
    assert count == 2
    return failed


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
@pytest.mark.parametrize("how", ["jit", "shard_map", "gradient of shard_map"])
def test_gradients_over_two_devices_are_those_of_one(sharded, kind, how):
    assert {name: error for name, error in sharded.items() if name.startswith(f"{kind} {how} ")} == {}


@pytest.mark.parametrize("method", ["auto", "lax"])
def test_layers_of_unknown_spatial_size_export(rng, method):
    (h,) = jax.export.symbolic_shape("h", constraints=["h >= 16"])
    kernel = draw(rng, 3, 3, 4)
    layers = (
        functools.partial(conv_transpose, stride=2, method=method),
        functools.partial(conv, stride=2, padding=1, method=method),
        functools.partial(resize_conv, scale=2, form=method),
    )
    for layer in layers:
        unknown = jax.ShapeDtypeStruct((2, h, 3), jnp.float32)
        exported = jax.export.export(jax.jit(layer))(unknown, jax.ShapeDtypeStruct(kernel.shape, jnp.float32))
        for size in (16, 19):
            x = draw(rng, 2, size, 3)
            np.testing.assert_allclose(exported.call(x, kernel), layer(x, kernel), rtol=1e-5, atol=1e-5)

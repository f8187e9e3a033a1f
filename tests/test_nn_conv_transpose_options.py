"""What `ConvTranspose` has beyond Flax, dtypes, and how it stands in for Flax's layer; errors."""

import pathlib
import runpy
import types
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import checkerjax.nn.linen as cnn
import checkerjax.nn.nnx as cnnx
from checkerjax import phase_gains

oracle = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("op_oracles.py"))))
ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # float32 sums of below a hundred terms of size one
LAYOUTS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def draw(rng, *shape) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def linen(x, kernel, features, **options) -> Any:
    layer = cnn.ConvTranspose(features, use_bias=False, **options)
    return layer.apply({"params": {"kernel": kernel}}, x)


def with_nnx(x, kernel, features, **options):
    layer = cnnx.ConvTranspose(x.shape[-1], features, use_bias=False, rngs=nnx.Rngs(0), **options)
    assert layer.kernel.shape == kernel.shape
    layer.kernel[...] = jnp.asarray(kernel)
    return layer(x)


BOTH = pytest.mark.parametrize("run", [linen, with_nnx], ids=["linen", "nnx"])
# size, kernel, stride, padding as PyTorch's, output_padding, dilation, groups
CASES = {
    "groups": ((4,), (3,), (2,), "SAME", (0,), (1,), 2),
    "depthwise, dilated": ((4,), (4,), (3,), 2, (0,), (2,), 4),
    "output_padding": ((4, 3), (3, 2), (2, 3), ((1, 0), (0, 1)), (1, 2), (1, 1), 1),
    "all": ((3, 4), (2, 3), (3, 2), ((1, 2), (0, 3)), (2, 1), (2, 3), 2),
    "volume": ((2, 3, 2), (3, 1, 2), (2, 2, 1), ((0, 1), (0, 0), (1, 0)), (0, 1, 0), (1, 1, 2), 2),
}


@BOTH
@pytest.mark.parametrize("transpose_kernel", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_groups_dilation_and_output_padding_are_the_loops(rng, run, transpose_kernel, case):
    size, k, s, padding, extra, d, groups = case
    x, stamped = draw(rng, 2, *size, 4), draw(rng, *k, 4, 8 // groups)
    flips = tuple(range(len(k)))
    out = run(
        x,
        stamped.swapaxes(-1, -2) if transpose_kernel else np.flip(stamped, flips),
        8,
        kernel_size=k,
        strides=s,
        padding=padding,
        kernel_dilation=d,
        groups=groups,
        output_padding=extra,
        use_consistent_padding=True,
        transpose_kernel=transpose_kernel,
    )
    low, out_size = oracle.transposed_geometry(size, k, s, padding, extra, d)
    np.testing.assert_allclose(out, oracle.conv_transpose(x, stamped, s, low, out_size, d, groups), **ROUNDING)


@BOTH
@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2),)])
@pytest.mark.parametrize(("k", "s", "d"), [(4, 2, 1), (3, 3, 1), (2, 3, 1), (3, 2, 2)])
def test_output_shape_is_the_transpose_of_the_convolution_from_there(rng, run, ndim, padding, k, s, d):
    padding = padding * ndim if isinstance(padding, tuple) else padding
    kernel, reached = draw(rng, *(k,) * ndim, 3, 2), 0
    for n in range(6, 12):
        large = draw(rng, 1, *(n,) * ndim, 3)

        def conv(y):
            options = {"dimension_numbers": LAYOUTS[ndim], "rhs_dilation": (d,) * ndim}
            return lax.conv_general_dilated(y, kernel, (s,) * ndim, padding, **options)

        small, pull = jax.vjp(conv, jnp.asarray(large))
        x = draw(rng, *small.shape)
        options: dict[str, Any] = {"kernel_size": (k,) * ndim, "strides": s, "kernel_dilation": (d,) * ndim}
        options |= {"padding": padding, "transpose_kernel": True, "use_consistent_padding": True}
        out = run(jnp.asarray(x), kernel, 3, output_shape=n, **options)
        np.testing.assert_allclose(out, *pull(jnp.asarray(x)), **ROUNDING)
        reached += run(jnp.asarray(x), kernel, 3, **options).shape[1] == n
    assert 0 < reached < 6  # without it, one size of each stride


@BOTH
def test_without_consistent_padding_numbers_are_put_around_the_stretched_input(rng, run):
    x, kernel = draw(rng, 1, 4, 2), draw(rng, 3, 2, 3)
    options: dict[str, Any] = {"kernel_size": 3, "strides": 2}
    flaxs = run(x, kernel, 3, padding=((2, 1),), **options)
    pytorchs = run(x, kernel, 3, padding=((0, 1),), use_consistent_padding=True, **options)
    np.testing.assert_array_equal(flaxs, pytorchs)


@BOTH
@pytest.mark.parametrize("padding", ["SAME", "same", "valid", "SAME_LOWER"])
def test_other_strings_are_flaxs_where_nothing_is_stretched(rng, run, padding):
    x, kernel = draw(rng, 1, 8, 2), draw(rng, 4, 2, 3)
    theirs = flax.linen.ConvTranspose(3, 4, padding=padding, use_bias=False, kernel_dilation=(2,))
    expected: Any = theirs.apply({"params": {"kernel": kernel}}, x)
    out = run(x, kernel, 3, kernel_size=4, padding=padding, kernel_dilation=2)
    np.testing.assert_allclose(out, expected, **ROUNDING)


@BOTH
@pytest.mark.parametrize(("ndim", "k", "s", "d"), [(1, 5, 3, 1), (2, 4, 2, 1), (3, 3, 2, 1), (1, 4, 2, 3)])
@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_equal_gains_by_construction(rng, run, ndim, k, s, d, transpose_kernel):
    last = (3, 2) if transpose_kernel else (2, 3)
    p = draw(rng, *(k - s + 1,) * ndim, *last)
    options: dict[str, Any] = {"kernel_size": (k,) * ndim, "strides": (s,) * ndim, "kernel_dilation": (d,) * ndim}
    options |= {"transpose_kernel": transpose_kernel}
    flat = np.broadcast_to(draw(rng, *(1,) * (ndim + 1), 2), (1, *(20 if ndim == 1 else 7,) * ndim, 2))
    reach = d * k
    inside = (slice(None), *(slice(reach, -reach),) * ndim)
    equal = np.asarray(run(flat, p, 3, equal_gains=True, **options))[inside]
    assert np.ptp(equal, axis=tuple(range(1, ndim + 1))).max() < 1e-5 * np.abs(equal).max()
    taps = np.apply_along_axis(lambda row: np.convolve(row, np.ones(s)), 0, p)
    for axis in range(1, ndim):
        taps = np.apply_along_axis(lambda row: np.convolve(row, np.ones(s)), axis, taps)
    whole = np.asarray(run(flat, taps.astype(np.float32), 3, **options))
    np.testing.assert_allclose(run(flat, p, 3, equal_gains=True, **options), whole, rtol=1e-4, atol=1e-4)
    gains = np.asarray(phase_gains(jnp.asarray(taps, jnp.float32), s, dilation=d)).reshape(s**ndim, -1)
    np.testing.assert_allclose(gains, np.broadcast_to(gains[:1], gains.shape), rtol=1e-4, atol=1e-4)


class Theirs(flax.linen.Module):
    """A decoder as people have it."""

    package: Any = flax.linen

    @flax.linen.compact
    def __call__(self, x):
        x = self.package.ConvTranspose(4, (3, 3), (2, 2))(x)
        return self.package.ConvTranspose(2, (4, 4), strides=(2, 2), padding="CIRCULAR", name="last")(jax.nn.relu(x))


def test_a_linen_checkpoint_is_read_by_the_same_names(rng):
    x = draw(rng, 1, 4, 5, 3)
    key = jax.random.key(0)
    theirs, ours = Theirs().init(key, x), Theirs(cnn).init(key, x)
    assert jax.tree.structure(theirs) == jax.tree.structure(ours)
    jax.tree.map(np.testing.assert_array_equal, theirs, ours)  # and starts from the same draws
    out: Any = Theirs(cnn).apply(theirs, x)
    expected: Any = Theirs().apply(theirs, x)
    np.testing.assert_allclose(out, expected, **ROUNDING)
    assert issubclass(cnn.ConvTranspose, flax.linen.ConvTranspose)


class Decoder(nnx.Module):
    """The same for nnx."""

    def __init__(self, package, rngs):
        self.first = package.ConvTranspose(3, 4, (3, 3), (2, 2), rngs=rngs)
        self.last = package.ConvTranspose(4, 2, [4, 4], [2, 2], padding=[2, 1], use_bias=False, rngs=rngs)

    def __call__(self, x):
        return self.last(jax.nn.relu(self.first(x)))


def test_an_nnx_checkpoint_is_read_by_the_same_names(rng):
    x = jnp.asarray(draw(rng, 1, 4, 5, 3))
    theirs, ours = Decoder(nnx, nnx.Rngs(1)), Decoder(cnnx, nnx.Rngs(1))
    old = nnx.state(theirs, nnx.Param)
    jax.tree.map(np.testing.assert_array_equal, old, nnx.state(ours, nnx.Param))
    fresh = Decoder(cnnx, nnx.Rngs(2))
    nnx.update(fresh, old)
    np.testing.assert_allclose(nnx.jit(lambda m, x: m(x))(fresh, x), theirs(x), **ROUNDING)
    assert isinstance(ours.first, nnx.ConvTranspose)


@pytest.mark.parametrize("inputs", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.int32])
@pytest.mark.parametrize("parameters", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("wide", [None, jnp.float32])
def test_dtypes_promote_as_flaxs_do(inputs, parameters, dtype, wide):
    options: dict[str, Any] = {"param_dtype": parameters, "dtype": dtype, "preferred_element_type": wide}
    x = jnp.ones((1, 4, 2), inputs)
    with jax.numpy_dtype_promotion("standard"):
        for theirs, ours in ((flax.linen, cnn), (nnx, cnnx)):
            if theirs is nnx:
                a, b = (m.ConvTranspose(2, 3, 3, 2, rngs=nnx.Rngs(0), **options)(x) for m in (theirs, ours))
            else:
                layers = [m.ConvTranspose(3, 3, 2, **options) for m in (theirs, ours)]
                variables = layers[0].init(jax.random.key(0), x)
                a, b = (layer.apply(variables, x) for layer in layers)
            assert a.dtype == b.dtype
            narrow = jnp.finfo(jnp.bfloat16 if jnp.bfloat16 in (inputs, parameters, dtype) else a.dtype).eps
            np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=4 * float(narrow), atol=1e-5)


def test_a_batch_of_no_images_gives_none(rng):
    out = linen(jnp.zeros((0, 4, 2)), draw(rng, 3, 2, 3), 3, kernel_size=3, strides=2)
    assert out.shape == (0, 8, 3)
    assert linen(jnp.zeros((2, 0, 4, 2)), draw(rng, 3, 2, 3), 3, kernel_size=3).shape == (2, 0, 4, 3)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "groups": ({"groups": 3}, "groups=3 must divide the features; got 4"),
    "output_padding": ({"output_padding": 2}, r"output_padding must be below max\(stride, dilation\) = 2 on axis H"),
    "negative": ({"output_padding": -1}, "output_padding must be at least 0; got -1"),
    "output_shape": ({"output_shape": 9}, "output_shape must be 7 to 8 on axis H, the sizes .* maps to 4; got 9"),
    "both": ({"output_shape": 8, "output_padding": 1}, "give output_padding or output_shape, not both"),
    "circular": ({"padding": "CIRCULAR", "output_shape": 8}, "padding='CIRCULAR' has one output size"),
    "string": ({"padding": "CAUSAL"}, "padding must be 'SAME', 'VALID', 'CIRCULAR', .* got 'CAUSAL'"),
    "lower": ({"padding": "same"}, "padding must be 'SAME'"),
    "pairs": ({"padding": ((1, 1),)}, "padding must have one int or .low, high. pair for each of the axes HW"),
    "no output": ({"padding": 9, "use_consistent_padding": True}, "padding=9 leaves no output on axis H, of 4 samples"),
    "mask": ({"mask": np.ones((3, 3, 1, 1))}, r"mask must have the shape of the kernel, \(3, 3, 2, 4\)"),
    "mask, gains": ({"mask": np.ones((2, 2, 2, 4)), "equal_gains": True}, "mask and equal_gains exclude each other"),
    "gains": ({"equal_gains": True, "kernel_dilation": 2}, "equal_gains needs strides and kernel_dilation without"),
    "scalar mask": ({"mask": 2.0}, r"mask must have the shape of the kernel, \(3, 3, 2, 4\); got \(\)"),
    "short": ({"equal_gains": True, "kernel_size": (3, 1)}, "equal_gains_shape: the kernel must be as long as the str"),
    "zero": ({"strides": 0}, "strides must be at least 1; got 0"),
    "strides": ({"strides": (2, 2, 2)}, "strides must be an int, or one int for each of the axes HW"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_errors_name_the_module_and_the_argument(case):
    options, message = case
    options = {"kernel_size": (3, 3), "strides": 2, **options}
    x = jnp.ones((1, 4, 4, 2))

    class Model(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            return cnn.ConvTranspose(4, name="up", **options)(x)

    class Outer(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            return Model(name="decoder")(x)

    with pytest.raises(ValueError, match=f"^ConvTranspose at decoder/up: {message}"):
        Outer().init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=f"^ConvTranspose: {message}"):
        cnnx.ConvTranspose(2, 4, rngs=nnx.Rngs(0), **options)(x)


@pytest.mark.parametrize("name", ["ConvTranspose", "ResizeConv", "SubPixelConv"])
@pytest.mark.parametrize("features", [0, -1, 2.0, "4", None, True])
def test_channels_that_are_no_count_are_named(name, features):
    x, message = jnp.ones((1, 4, 4, 2)), "features must be (at least 1|an int); got"
    with pytest.raises((ValueError, TypeError), match=f"^{name}: {message}"):
        getattr(cnn, name)(features, (3, 3)).init(jax.random.key(0), x)
    for inputs, outputs, which in ((2, features, "out"), (features, 4, "in")):
        with pytest.raises((ValueError, TypeError), match=f"^{name}: {which}_{message}"):
            getattr(cnnx, name)(inputs, outputs, (3, 3), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=rf"^{name}: inputs must have at least one channel.*got shape \(1, 4, 4, 0\)"):
        getattr(cnn, name)(4, (3, 3)).init(jax.random.key(0), x[..., :0])


@pytest.mark.parametrize("name", ["ConvTranspose", "ResizeConv"])
@pytest.mark.parametrize("rngs", [None, 0, "params"])
def test_what_draws_no_parameters_is_named(name, rngs):
    with pytest.raises(TypeError, match=rf"^{name}: rngs must be nnx\.Rngs; got .* Write rngs=nnx\.Rngs\(0\)"):
        getattr(cnnx, name)(2, 4, (3, 3), rngs=rngs)


def test_annotations_for_sharding_are_kept(rng):
    axes, x = (None, None, "in", "out"), draw(rng, 1, 4, 4, 2)
    init = flax.linen.with_partitioning(flax.linen.initializers.lecun_normal(), axes)
    trees = [m.ConvTranspose(4, (3, 3), 2, kernel_init=init).init(jax.random.key(0), x) for m in (flax.linen, cnn)]
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
    assert flax.linen.get_partition_spec(trees[0]) == flax.linen.get_partition_spec(trees[1])
    init = nnx.with_metadata(nnx.initializers.lecun_normal(), tag="kernel")
    kinds: Any = (nnx.ConvTranspose, cnnx.ConvTranspose, cnnx.ResizeConv)
    kernels = [layer(2, 4, (3, 3), kernel_init=init, rngs=nnx.Rngs(0)).kernel for layer in kinds]
    assert [kernel.get_metadata()["tag"] for kernel in kernels] == ["kernel"] * 3


def test_layers_are_stacked_and_scanned(rng):
    x = jnp.asarray(draw(rng, 1, 4, 2))

    @nnx.vmap
    def make(key):
        return cnnx.ConvTranspose(2, 2, 3, rngs=nnx.Rngs(key))

    layers = make(jax.random.split(jax.random.key(0), 3))
    y = nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, layers)
    params = nnx.to_pure_dict(nnx.state(layers))

    class Body(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x, _):
            return cnn.ConvTranspose(2, 3, name="up")(x), None

    scanned = flax.linen.scan(Body, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
    np.testing.assert_allclose(scanned.apply({"params": {"up": params}}, x, None)[0], y, **ROUNDING)
    for i in range(3):
        x = linen(x, params["kernel"][i], 2, kernel_size=3)  # its biases start at zero
    np.testing.assert_allclose(y, x, **ROUNDING)


def test_inputs_and_types_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"^ConvTranspose: inputs must be .* 2 spatial axes.* got shape \(4, 2\)"):
        cnn.ConvTranspose(4, (3, 3)).init(jax.random.key(0), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"^ConvTranspose: axis C of x is 3 but axis I of kernel is 2"):
        cnnx.ConvTranspose(2, 4, (3, 3), rngs=nnx.Rngs(0))(jnp.ones((1, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"^ConvTranspose: kernel_size must be .* got"):
        cnn.ConvTranspose(4, (3, 3, 3, 3)).init(jax.random.key(0), jnp.ones((1, 4, 4, 2)))
    assert linen(jnp.ones((1, 4, 4, 2)), np.ones((3, 3, 2, 4)), 4, kernel_size=np.array([3, 3])).shape == (1, 4, 4, 4)
    with pytest.raises(TypeError, match=r"^ConvTranspose: strides must be an int; got 2\.0"):
        cnn.ConvTranspose(4, 3, strides=2.0).init(jax.random.key(0), jnp.ones((1, 4, 2)))  # pyright: ignore
    with pytest.raises(TypeError, match="preferred_element_type must be of the kind of float32 and no narrower"):
        cnn.ConvTranspose(4, 3, preferred_element_type=jnp.bfloat16).init(jax.random.key(0), jnp.ones((1, 4, 2)))

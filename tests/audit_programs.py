"""Programs around the upsamplings: coarsening, control flow, transformations, layouts, and wholes of several parts.

A form may have several findings, in program order; those whose order is not fixed by the data flow say `ordered=False`.
"""

from __future__ import annotations

import functools
import pathlib
import runpy
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jax import lax

from checkerjax import ops, stacks

zoo = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("audit_forms.py"))))
C, Form, SIZES, up, down, smooth = zoo.C, zoo.Form, zoo.SIZES, zoo.up, zoo.down, zoo.smooth
conv, blur, depth_to_space, weights = zoo.conv, zoo.blur, zoo.depth_to_space, zoo.weights
UNEVEN, UNTIED = up((3, 3), (2, 2), "uneven"), up((4, 4), (2, 2), "untied")
NEAREST = up((3, 3), (2, 2), "tied")
K3, K4 = weights(3, 3), weights(4, 4)
HALF = down((2, 2), (2, 2))
K3_OIHW = {"kernel": (C, C, 3, 3)}
FIR = (1, 3, 3, 1)


def deconv(x, kernel, s=2, padding="SAME"):
    return zoo.lax_deconv(s, padding)({"kernel": kernel}, x)


def two(first, second):
    return {"first": first["kernel"], "second": second["kernel"]}


def avg_pool(x, window, stride, padding="VALID"):
    """Flax divides a float by an int, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        return linen.avg_pool(x, window, stride, padding)


def strided(s):
    return lambda params, x: conv(x, params["kernel"], s)


def coarsenings() -> list:
    """Forward they have no phases; backward each is an upsampling: every window that reads a sample sends to it."""

    def pool(kind, k, s, padding="VALID"):
        return lambda params, x: kind(x, each(k, x), each(s, x), padding)

    def each(value, x):
        return (value,) * (x.ndim - 2)

    def matrix(params, x):
        means = np.kron(np.eye(x.shape[1] // 2), np.full((2, 1), 0.5)).astype(np.float32)
        rows = jnp.einsum("nhwc,hi->niwc", x, jnp.asarray(means))
        return jnp.einsum("nhwc,wi->nhic", rows, jnp.asarray(means))

    def half_linear(params, x):
        n, h, w, c = x.shape
        return jax.image.resize(x, (n, h // 2, w // 2, c), "linear")

    def blocks(reduce):
        def fn(params, x):
            n, h, w, c = x.shape
            return reduce(x.reshape(n, h // 2, 2, w // 2, 2, c), axis=(2, 4))

        return fn

    def made(name, fn, taps, grade, *, shapes=None, k: Any = None, s: Any = 2, holds=(), lacks=(), x=SIZES[2]):
        ndim = len(x) - 2
        each = lambda v: v if isinstance(v, tuple) else (v,) * ndim  # noqa: E731
        k = taps if k is None else k
        forward = (zoo.Expected("down", None if k == "any" else each(k), each(s), "tied"),)
        backward = (up(each(taps), each(s), grade),)
        return Form(name, fn, shapes or {}, forward, "clean", holds, lacks, backward, x)

    window, line = ("conv_general_dilated",), SIZES[1]
    return [
        made("conv k3 s2", strided(2), 3, "uneven", shapes=K3, holds=window),
        made("conv k4 s2", strided(2), 4, "untied", shapes=K4, holds=window),
        made("conv k5 s2 1-D", strided(2), 5, "uneven", shapes=weights(5), holds=window, x=line),
        made("conv k1 s2", strided(2), 1, "holes", shapes=weights(1, 1), holds=window),
        made("conv k4x3 s2x1", strided((2, 1)), (4, 3), "untied", shapes=weights(4, 3), s=(2, 1), holds=window),
        made("strided slice", lambda p, x: x[:, ::2, ::2], 1, "holes", lacks=window),
        made("lax.slice", lambda p, x: lax.slice(x, (0, 0, 0, 0), x.shape, (1, 2, 2, 1)), 1, "holes",
             holds=("slice",)),
        made("strided slice 1-D by 3", lambda p, x: x[:, : x.shape[1] // 3 * 3 : 3], 1, "holes", s=3, x=line),
        made("gather of every second", lambda p, x: jnp.take(x, np.arange(0, x.shape[1], 2), 1), 1, "holes",
             holds=("gather",), x=line),
        made("max pool k2", pool(linen.max_pool, 2, 2), 2, "untied", holds=("reduce_window_max",)),
        made("max pool k3 s2", pool(linen.max_pool, 3, 2, "SAME"), 3, "uneven", holds=("reduce_window_max",)),
        made("max pool k4 s2 1-D", pool(linen.max_pool, 4, 2, "SAME"), 4, "untied", x=line),
        made("average pool k2", pool(avg_pool, 2, 2), 2, "tied", holds=("reduce_window_sum",)),
        made("average pool k3 s2", pool(avg_pool, 3, 2), 3, "uneven", holds=("reduce_window_sum",)),
        made("average pool k3 s3 1-D", pool(avg_pool, 3, 3), 3, "tied", s=3, x=line),
        made("reshape and max", blocks(jnp.max), 2, "untied", holds=("reduce_max",)),
        made("reshape and mean", blocks(jnp.mean), 2, "tied", holds=("reduce_sum",)),
        made("constant matrix of means", matrix, 2, "tied", holds=("dot_general",)),
        # The antialiasing triangle of half the size is [1, 3, 3, 1] / 8.
        made("resize linear to half", half_linear, 4, "tied",
             holds=("dot_general",), x=(2, 16, 16, C)),
        # [1, 2, 1] counts 2 : 1 and sums to 2 and 2: constants are graded by their gains.
        made("blur and stride", lambda p, x: blur(x, (1, 2, 1), 2), 3, "tied", holds=window),
        # Backward, a conv and its depth to space; forward, what the window is called is left open.
        made("space to depth, conv k3", lambda p, x: conv(zoo.space_to_depth(x, 2), p["kernel"]), 3, "untied",
             shapes=weights(3, 3, into=4 * C), k="any", holds=("transpose", "conv_general_dilated")),
    ]  # fmt: skip


def gradients() -> list:
    """Upsamplings and classifiers, for what their input gradients are."""

    def stem(params, x):
        y = jax.nn.relu(conv(x, params["conv"], 2))
        return linen.max_pool(y, (3, 3), (2, 2), "SAME")

    def vgg(params, x):
        return linen.max_pool(jax.nn.relu(conv(x, params["conv"])), (2, 2), (2, 2))

    def block(params, x):
        main = conv(jax.nn.relu(conv(x, params["main"], 2)), params["second"])
        return jax.nn.relu(main + conv(x, params["shortcut"], 2))

    def patches(params, x):
        return conv(x, params["conv"], 8, "VALID")

    def alexnet(params, x):
        return linen.max_pool(jax.nn.relu(conv(x, params["conv"], 4)), (3, 3), (2, 2))

    large = (1, 32, 32, 3)
    pool = up((3, 3), (2, 2), "uneven")
    return [
        Form("ResNet stem", stem, {"conv": (7, 7, 3, C)}, (down((7, 7), (2, 2)), down((3, 3), (2, 2))), "clean",
             backward=(pool, up((7, 7), (2, 2), "uneven")), x=large),
        Form("VGG stem", vgg, {"conv": (3, 3, 3, C)}, (HALF,), "clean", backward=(up((2, 2), (2, 2), "untied"),),
             x=large),
        Form("ResNet block", block, {"main": (3, 3, C, C), "second": (3, 3, C, C), "shortcut": (1, 1, C, C)},
             (down((3, 3), (2, 2)), down((1, 1), (2, 2))), "clean",
             backward=(UNEVEN, up((1, 1), (2, 2), "holes")), ordered=False),
        Form("patches k8 s8", patches, {"conv": (8, 8, 3, C)}, (down((8, 8), (8, 8)),), "clean",
             backward=(up((8, 8), (8, 8), "untied"),), x=large),
        Form("AlexNet stem", alexnet, {"conv": (11, 11, 3, C)}, (down((11, 11), (4, 4)), down((3, 3), (2, 2))),
             "clean", backward=(pool, up((11, 11), (4, 4), "uneven")), x=(1, 64, 64, 3)),
        Form("nearest, conv k3", zoo.then_conv(zoo.repeat, 2), K3, (NEAREST,), "clean",
             backward=(zoo.Expected("down", None, (2, 2), "tied"),)),
        # A learned kernel whose backward pass is written by hand, and is that of another operation.
        Form("own gradient", _own_gradient(), K4, (UNTIED,), "lines", ("custom_vjp_call",),
             backward=(down((2, 2), (2, 2)),)),
    ]  # fmt: skip


def _own_gradient():
    @jax.custom_vjp
    def pooled_back(x, kernel):
        return deconv(x, kernel)

    def forward(x, kernel):
        return deconv(x, kernel), kernel

    def backward(kernel, g):
        return avg_pool(g, (2, 2), (2, 2)), jnp.zeros_like(kernel)

    pooled_back.defvjp(forward, backward)
    return lambda params, x: pooled_back(x, params["kernel"])


def transformed() -> list:
    """The same deconvolution below jit, loops, branches and vmap."""

    def plain(params, x):
        return deconv(x, params["kernel"])

    def channels(y):  # [M, N, H, W, O] -> [N, H, W, M O]
        return jnp.moveaxis(y, 0, -2).reshape(*y.shape[1:4], -1)

    def shared(params, x):
        return channels(jax.vmap(lambda kernel: deconv(x, kernel))(params["kernel"]))

    def own(params, x):
        parts = jnp.moveaxis(x.reshape(*x.shape[:3], 2, -1), 3, 0)
        return channels(jax.vmap(deconv)(parts, params["kernel"]))

    def frames(params, x):
        return lax.scan(lambda carry, frame: (carry, deconv(frame[None], params["kernel"])[0]), 0, x)[1]

    def there_and_back(x, kernels):
        return conv(jax.nn.relu(deconv(x, kernels["up"])), kernels["down"], 2)

    def scanned(params, x):
        return deconv(lax.scan(lambda y, kernels: (there_and_back(y, kernels), None), x, params)[0], params["up"][0])

    def repeated(params, x):
        y = lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, there_and_back(c[1], params)), (0, x))[1]
        return deconv(y, params["up"])

    def branching(params, x):
        taken = params["flag"][0] > 0
        return lax.cond(taken, lambda: deconv(x, params["kernel"]), lambda: conv(zoo.repeat(x, 2), params["kernel"]))

    @jax.custom_jvp
    def custom(x, kernel):
        return deconv(x, kernel)

    custom.defjvp(lambda primals, tangents: (deconv(*primals), deconv(tangents[0], primals[1])))
    kernels = {"up": (2, 3, 3, C, C), "down": (2, 2, 2, C, C)}
    single = {"up": (3, 3, C, C), "down": (2, 2, C, C)}
    back = down((3, 3), (2, 2))
    mesh = jax.make_mesh((1,), ("n",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    sharded = jax.shard_map(plain, mesh=mesh, in_specs=(spec(), spec("n")), out_specs=spec("n"))
    made = functools.partial(Form, forward=(UNEVEN,), verdict="both", backward=(back,))
    return [
        made("jit", jax.jit(plain), K3, holds=("jit",)),
        made("jit in jit", jax.jit(lambda p, x: jax.jit(plain)(p, 2 * x)), K3, holds=("jit",)),
        made("checkpoint", jax.checkpoint(plain), K3, holds=("remat2|remat|checkpoint",)),
        made("custom_jvp", lambda p, x: custom(x, p["kernel"]), K3, holds=("custom_jvp_call",)),
        made("shard_map", sharded, K3, holds=("shard_map",)),
        made("vmap over images", lambda p, x: jax.vmap(lambda i: plain(p, i[None])[0])(x), K3),
        made("vmap over kernels, shared input", shared, {"kernel": (2, 3, 3, C, C)}),
        made("vmap over kernels, own inputs", own, {"kernel": (2, 3, 3, C // 2, C)}, holds=("groups",)),
        made("scan over frames", frames, K3, holds=("scan",)),
        # The body is one program, however often it runs: its operations are listed once.
        Form("scan over layers", scanned, kernels, (UNEVEN, HALF, UNEVEN), "both", ("scan",)),
        Form("while loop", repeated, single, (UNEVEN, HALF, UNEVEN), "both", ("while",)),
        # Both branches can reach the output; the flag is a number like any other parameter, so no verdict is asked.
        Form("cond", branching, {**K3, "flag": (1,)}, (NEAREST, UNEVEN), "", ("cond",), ordered=False),
    ]  # fmt: skip


def laid_out() -> list:
    """Other layouts, other packages' arithmetic, and this package's own."""

    def first(params, x):
        return lax.conv_transpose(x, params["kernel"], (2, 2), "SAME", dimension_numbers=("NCHW", "HWIO", "NCHW"))

    def first_nearest(params, x):
        y = jnp.repeat(jnp.repeat(x, 2, 2), 2, 3)
        return lax.conv_general_dilated(y, params["kernel"], (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))

    def first_line(params, x):
        return lax.conv_transpose(x, params["kernel"], (2,), "SAME", dimension_numbers=("NCH", "HIO", "NCH"))

    def ours(op, **options):
        return lambda params, x: op(x, params["kernel"], **options)

    own = ("checkerjax_scatter",)
    return [
        Form("NCHW deconv", first, K3, (UNEVEN,), "both", ("lhs_dilation",), x=(2, C, 8, 8), layout="channel_first"),
        Form("NCHW nearest, conv", first_nearest, K3_OIHW, (NEAREST,), "clean", x=(2, C, 8, 8),
             layout="channel_first"),
        Form("NCH deconv", first_line, weights(4), (up((4,), (2,), "untied"),), "lines", ("lhs_dilation",),
             x=(2, C, 16), layout="channel_first"),
        Form("ops.conv_transpose", ours(ops.conv_transpose, stride=2), K3, (UNEVEN,), "both", own,
             backward=(down((3, 3), (2, 2)),)),
        Form("ops.conv_transpose of lax", ours(ops.conv_transpose, stride=2, method="lax"), K3, (UNEVEN,), "both",
             ("lhs_dilation",)),
        Form("ops.conv_transpose d2", ours(ops.conv_transpose, stride=2, dilation=2), K3,
             (up((3, 3), (2, 2), "holes"),), "both"),
        Form("ops.conv s2", ours(ops.conv, stride=2), K3, (down((3, 3), (2, 2)),), "clean", ("checkerjax_gather",),
             backward=(UNEVEN,)),
        Form("ops.resize_conv", ours(ops.resize_conv, scale=2), K3, (NEAREST,), "clean"),
        Form("ops.resize_conv linear", ours(ops.resize_conv, scale=2, method="linear"), K3, (NEAREST,), "clean",
             x=(2, 12, 12, C)),
        Form("ops.subpixel_conv", ours(ops.subpixel_conv, scale=2), weights(3, 3, out=4 * C),
             (up((3, 3), (2, 2), "untied"),), "lines"),
        Form("apply of a stack", lambda p, x: stacks.apply((p,), "deconv k3 s2", x), K3, (UNEVEN,), "both", own),
    ]  # fmt: skip


def compositions() -> list:
    """Verdicts are those of the whole: what the parts leave behind decides, not what each part is.

    With independent zero-mean weights phase powers are proportional to counts of paths, weighted by the squares of
    constant taps; a line vanishes where a filter is zero.
    """

    def deconv_then(after):
        return lambda params, x: after(deconv(x, params["kernel"]))

    def chain(*steps, between=lambda y: y):
        def fn(params, x):
            for i, step in enumerate(steps):
                x = step(between(x) if i else x, params[("first", "second")[i]])
            return x

        return fn

    def residual(params, x):
        return 0.25 * zoo.repeat(x, 2) + deconv(x, params["kernel"])

    def dead(params, x):
        unused = deconv(x, params["unused"])
        y = conv(zoo.repeat(x, 2), params["kernel"])
        return (y, unused)[0]

    def heads(params, x):
        y = conv(x, params["trunk"])
        outs = {"uneven": deconv(y, params["other"]), "even": deconv(y, params["kernel"])}
        return jax.tree.map(jnp.tanh, outs)["even"]

    def unet(upsample):
        def fn(params, x):
            low = jax.nn.relu(conv(x, params["down"], 2))
            return conv(jnp.concatenate([upsample(low, params["up"]), x], -1), params["out"])

        return fn

    def stylegan(params, x):
        return blur(deconv(x, params["kernel"], padding="VALID"), FIR, gain=4.0)

    def normalised(params, x):
        y = deconv(x, params["kernel"])
        return (y - y.mean((1, 2), keepdims=True)) / jnp.sqrt(y.var((1, 2), keepdims=True) + 1e-5) + params["scale"]

    def latent(params, z):
        y = jax.nn.relu((z @ params["dense"]).reshape(-1, 4, 4, C))
        y = jax.nn.relu(deconv(y, params["first"]))
        return deconv(y, params["second"])

    def latent_clean(params, z):
        y = jax.nn.relu((z @ params["dense"]).reshape(-1, 4, 4, C))
        return conv(zoo.repeat(conv(zoo.repeat(y, 2), params["first"]), 2), params["second"])

    def hold(y):
        return blur(y, (1, 1), padding=((0, 1),) * 2)

    line, dcgan = SIZES[1], {"dense": (16, 16 * C)}
    k5, u_kernels = up((5, 5), (2, 2), "uneven"), {"down": (3, 3, C, C), "out": (3, 3, 2 * C, C)}
    one_uneven, one_untied = up((3,), (2,), "uneven"), up((4,), (2,), "untied")
    return [
        # (1 + z)^3 is zero at 1/2, and 1 + 9 = 9 + 1: neither moment keeps the grid.
        Form("k3 s2, FIR 1331", deconv_then(lambda y: blur(y, FIR)), K3, (UNEVEN, smooth((4, 4))), "clean"),
        Form("k3 s2, box of 2", deconv_then(hold), K3, (UNEVEN, smooth((2, 2))), "clean"),
        # (1 + z)^2 is zero at 1/2, but phases collect 2 2 + 4 = 8 and 2 4 + 2 = 10 squared taps: 1.25^2 in two axes.
        Form("k3 s2, FIR 121", deconv_then(lambda y: blur(y, (1, 2, 1))), K3, (UNEVEN, smooth((3, 3))), "power"),
        Form("VALID k3 s2, FIR 1331 with gain", stylegan, K3, (UNEVEN, smooth((4, 4))), "clean"),
        Form("k4 s2 alone", deconv_then(jnp.tanh), K4, (UNTIED,), "lines"),
        Form("nearest, conv, relu, conv", chain(lambda y, k: conv(zoo.repeat(y, 2), k), conv, between=jax.nn.relu),
             two(K3, K3), (NEAREST,), "clean"),
        # A learned filter of two evens the counts, 3 : 3, and leaves the gains free.
        Form("k3 s2, conv k2", chain(deconv, conv), two(K3, weights(2, 2)), (UNEVEN,), "lines"),
        # Counts of paths 3 2 3 1; 3 3 3 3; 4 2 4 2: the order decides.
        Form("k3 s2, relu, k3 s2 1-D", chain(deconv, deconv, between=jax.nn.relu), two(weights(3), weights(3)),
             (one_uneven, one_uneven), "both", x=line),
        Form("k3 s2, k4 s2 1-D", chain(deconv, deconv), two(weights(3), weights(4)), (one_uneven, one_untied), "lines",
             x=line),
        Form("k4 s2, k3 s2 1-D", chain(deconv, deconv), two(weights(4), weights(3)), (one_untied, one_uneven), "both",
             x=line),
        # A quarter of the nearest path leaves powers of 1/16 + (4, 2, 2, 1)/9.
        Form("residual with an uneven branch", residual, K3, (up((2, 2), (2, 2), "tied"), UNEVEN), "both",
             ordered=False),
        Form("U-Net, deconv", unet(deconv), {**u_kernels, "up": (4, 4, C, C)},
             (down((3, 3), (2, 2)), UNTIED), "lines", x=(2, 16, 16, C)),
        Form("U-Net, nearest", unet(lambda y, k: conv(zoo.repeat(y, 2), k)), {**u_kernels, "up": (3, 3, C, C)},
             (down((3, 3), (2, 2)), NEAREST), "clean", x=(2, 16, 16, C)),
        # What the output does not depend on is not part of the program.
        Form("dead deconvolution", dead, {**K3, "unused": (3, 3, C, C)}, (NEAREST,), "clean", ("lhs_dilation",)),
        Form("auxiliary head", heads, {"trunk": (3, 3, C, C), "other": (3, 3, C, C), **K4}, (UNTIED,), "lines"),
        # Means over the whole of space are numbers, not a change of resolution.
        Form("instance norm", normalised, {**K3, "scale": (C,)}, (UNEVEN,), "both"),
        Form("latent, k5 s2 twice", latent, {**dcgan, **two(weights(5, 5), weights(5, 5))}, (k5, k5), "both",
             x=(16, 16), redraw=128),
        Form("latent, k4 s2 twice", latent, {**dcgan, **two(K4, K4)}, (UNTIED, UNTIED), "lines",
             x=(16, 16), redraw=128),
        Form("latent, nearest twice", latent_clean, {**dcgan, **two(K3, K3)}, (NEAREST, NEAREST), "clean",
             x=(16, 16), redraw=128),
    ]  # fmt: skip


def forms() -> list:
    """Every program of this file."""
    groups = coarsenings, gradients, transformed, laid_out, compositions
    return [form for group in groups for form in group()]

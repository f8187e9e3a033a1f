"""Small programs that upsample in every disguise, each with what an audit of it must say.

A form is a pure function `fn(params, x)`, the shapes of its parameters, and the findings expected of it. Grades follow
from the taps that reach each phase: a tap j of a kernel of dilation d reaches phase d j mod s. A phase without a tap is
a hole; unequal numbers of taps are uneven; equal numbers with free weights untied; equal sums for all weights tied.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import checkerjax

C = 8  # enough weights for a phase that its energy, averaged over 32 draws, is known to a few percent
NUMBERS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
SIZES = {1: (2, 16, C), 2: (2, 8, 8, C), 3: (1, 6, 6, 6, C)}


class Expected(NamedTuple):
    """What a finding must be; None leaves a field open."""

    role: str
    kernel: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    grade: str | None


def up(kernel, stride, grade):
    return Expected("up", kernel, stride, grade)


def down(kernel, stride):
    return Expected("down", kernel, stride, "tied")  # a coarser output has no phases


def smooth(kernel):
    return Expected("smooth", kernel, None, None)


def shuffle(stride):
    return Expected("shuffle", None, stride, "untied")


@dataclasses.dataclass(frozen=True)
class Form:
    """A program and the answers expected of an audit; `holds` ("this|or that") and `lacks` are traits of its jaxpr."""

    name: str
    fn: Callable[[Any, jax.Array], jax.Array]
    shapes: dict[str, tuple[int, ...]]
    forward: tuple[Expected, ...]
    verdict: str
    holds: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    backward: tuple[Expected, ...] | None = None
    x: tuple[int, ...] = SIZES[2]
    layout: str = "channel_last"
    redraw: int = 32
    ordered: bool = True

    def params(self, seed: int = 0) -> dict[str, jax.Array]:
        """Independent N(0, 1 / fan_in) weights; biases are zero."""
        rng = np.random.default_rng(seed)
        draw = {}
        for name, shape in self.shapes.items():
            scale = 0.0 if name.startswith("bias") else 1 / math.sqrt(max(1, math.prod(shape[:-1])))
            draw[name] = jnp.asarray(scale * rng.standard_normal(shape), jnp.float32)
        return draw

    def data(self, seed: int = 1) -> jax.Array:
        return jnp.asarray(np.random.default_rng(seed).standard_normal(self.x), jnp.float32)


def audit(*args, **options) -> Any:
    """The one door through which every test here reaches the audit."""
    return checkerjax.audit(*args, **options)  # pyright: ignore


def audit_form(form, **options) -> Any:
    """Structure alone with `static=True`; verdicts with as many redraws as the form's margin to the threshold needs."""
    return audit(form.fn, form.params(), form.data(), key=jax.random.key(0), layout=form.layout, **options)


def told(findings, expected, ordered=True) -> list[tuple]:
    """Findings as tuples, with None where nothing is expected, in an order that compares with `sorted` or as it is."""
    rows = [(f.role, f.kernel_size, f.stride, f.grade) for f in findings]
    if not ordered or len(rows) != len(expected):
        return sorted(rows, key=str)
    return [tuple(a if b is not None else None for a, b in zip(row, each)) for row, each in zip(rows, expected)]


def asked(expected, ordered=True) -> list[tuple]:
    rows = [tuple(each) for each in expected]
    return rows if ordered else sorted(rows, key=str)


def ndim_of(x) -> int:
    return x.ndim - 2


def each(value, ndim) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * ndim


def conv(x, kernel, stride=1, padding: Any = "SAME", **options):
    """A plain convolution of `lax`, channels last."""
    ndim = ndim_of(x)
    return lax.conv_general_dilated(x, kernel, each(stride, ndim), padding, dimension_numbers=NUMBERS[ndim], **options)


def blur(x, taps, stride=1, padding: Any = "SAME", gain=1.0):
    """The outer product of constant taps on every channel apart."""
    row = np.asarray(taps, np.float64)
    kernel = np.ones(())
    for _ in range(ndim_of(x)):
        kernel = np.multiply.outer(kernel, row)
    channels = x.shape[-1]
    kernel = np.broadcast_to((gain * kernel / kernel.sum())[..., None, None], (*kernel.shape, 1, channels))
    return conv(x, jnp.asarray(kernel, jnp.float32), stride, padding, feature_group_count=channels)


def lax_deconv(stride, padding="SAME", dilation=None, **options):
    def fn(params, x):
        ndim = ndim_of(x)
        strides, dilations = each(stride, ndim), None if dilation is None else each(dilation, ndim)
        return lax.conv_transpose(
            x, params["kernel"], strides, padding, dilations, dimension_numbers=NUMBERS[ndim], **options
        )

    return fn


def dilated_conv(stride, **options):
    """`lhs_dilation` by hand, with whole overlap at the borders."""

    def fn(params, x):
        ndim = ndim_of(x)
        pads = [(k - 1, k - 1) for k in params["kernel"].shape[:ndim]]
        return conv(x, params["kernel"], 1, pads, lhs_dilation=each(stride, ndim), **options)

    return fn


def conv_gradient(stride):
    """A decoder made of the gradient of a strided convolution."""

    def fn(params, x):
        ndim = ndim_of(x)
        large = jnp.zeros((x.shape[0], *(s * n for s, n in zip(each(stride, ndim), x.shape[1:-1])), C))
        _, pullback = jax.vjp(lambda y: conv(y, params["kernel"], stride), large)
        return pullback(x)[0]

    return fn


# Zero insertion, in every disguise that leaves no dilated convolution in the program.
def insert_by_pad(x, s):
    config = [(0, 0, 0), *((0, s - 1, s - 1) for _ in range(ndim_of(x))), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def merged(x, axis):
    """An axis and the next one as one."""
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])


def insert_by_reshape(x, s):
    for axis in range(1, x.ndim - 1):
        pads = [(0, s - 1 if a == axis + 1 else 0) for a in range(x.ndim + 1)]
        x = merged(jnp.pad(jnp.expand_dims(x, axis + 1), pads), axis)
    return x


def insert_by_mask(x, s):
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, s, axis)
        x = x * (lax.broadcasted_iota(jnp.int32, x.shape, axis) % s == 0).astype(x.dtype)
    return x


def insert_by_scatter(x, s):
    large = jnp.zeros((x.shape[0], *(s * n for n in x.shape[1:-1]), x.shape[-1]), x.dtype)
    return large.at[(slice(None), *(slice(None, None, s) for _ in range(ndim_of(x))))].set(x)


def insert_by_indices(x, s):
    where = [s * jnp.arange(n) for n in x.shape[1:-1]]
    large = jnp.zeros((x.shape[0], *(s * n for n in x.shape[1:-1]), x.shape[-1]), x.dtype)
    return large.at[(slice(None), *jnp.ix_(*where))].set(x)


def insert_by_stack(x, s):
    for axis in range(1, x.ndim - 1):
        x = merged(jnp.stack([x, *(jnp.zeros_like(x) for _ in range(s - 1))], axis + 1), axis)
    return x


def insert_by_concatenate(x, s):
    for axis in range(1, x.ndim - 1):
        zeros = jnp.zeros((*x.shape[: axis + 1], s - 1, *x.shape[axis + 1 :]), x.dtype)
        x = merged(jnp.concatenate([jnp.expand_dims(x, axis + 1), zeros], axis + 1), axis)
    return x


def insert_by_matrix(x, s):
    for axis in range(1, x.ndim - 1):
        n = x.shape[axis]
        matrix = np.zeros((n, s * n), np.float32)
        matrix[np.arange(n), s * np.arange(n)] = 1
        x = jnp.moveaxis(jnp.tensordot(x, jnp.asarray(matrix), (axis, 0)), -1, axis)
    return x


# Repetition: nearest resize.
def repeat(x, s):
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, s, axis)
    return x


def repeat_by_broadcast(x, s):
    """As an einops pattern "n h w c -> n (h s) (w t) c" does it."""
    ndim, shape = ndim_of(x), x.shape
    for axis in range(ndim):
        x = jnp.expand_dims(x, 2 * axis + 2)
    x = jnp.broadcast_to(x, (shape[0], *(m for n in shape[1:-1] for m in (n, s)), shape[-1]))
    return x.reshape(shape[0], *(s * n for n in shape[1:-1]), shape[-1])


def repeat_by_tile(x, s):
    for axis in range(1, x.ndim - 1):
        times = [s if a == axis + 1 else 1 for a in range(x.ndim + 1)]
        x = merged(jnp.tile(jnp.expand_dims(x, axis + 1), times), axis)
    return x


def repeat_by_index(x, s):
    for axis in range(1, x.ndim - 1):
        x = x[(*(slice(None),) * axis, jnp.arange(s * x.shape[axis]) // s)]
    return x


def repeat_by_take(x, s):
    for axis in range(1, x.ndim - 1):
        x = jnp.take(x, np.arange(s * x.shape[axis]) // s, axis)
    return x


def repeat_by_stack(x, s):
    for axis in range(1, x.ndim - 1):
        x = merged(jnp.stack([x] * s, axis + 1), axis)
    return x


def repeat_by_kron(x, s):
    return jnp.kron(x, jnp.ones((1, *(s,) * ndim_of(x), 1), x.dtype))


def resize(method):
    def fn(x, s):
        return jax.image.resize(x, (x.shape[0], *(s * n for n in x.shape[1:-1]), x.shape[-1]), method)

    return fn


def depth_to_space(x, s, order="depth_first"):
    """Both public channel orders: (dy, dx, c), and (c, dy, dx)."""
    ndim, shape = ndim_of(x), x.shape
    blocks = (s,) * ndim
    if order == "depth_first":
        x = x.reshape(*shape[:-1], *blocks, -1)
        inner = [ndim + 1 + a for a in range(ndim)]
        last = 2 * ndim + 1
    else:
        x = x.reshape(*shape[:-1], -1, *blocks)
        inner = [ndim + 2 + a for a in range(ndim)]
        last = ndim + 1
    x = x.transpose(0, *(axis for a in range(ndim) for axis in (a + 1, inner[a])), last)
    return x.reshape(shape[0], *(s * n for n in shape[1:-1]), -1)


def space_to_depth(x, s):
    n, h, w, c = x.shape
    return x.reshape(n, h // s, s, w // s, s, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // s, w // s, -1)


def then_conv(upsample, s):
    return lambda params, x: conv(upsample(x, s), params["kernel"])


def alone(upsample, s):
    return lambda params, x: upsample(x, s)


def weights(*kernel, into=C, out=C):
    return {"kernel": (*kernel, into, out)}


INSERTIONS = {
    "pad": (insert_by_pad, ("interior_pad",)),
    "reshape and pad": (insert_by_reshape, ("pad", "reshape")),
    "repeat times mask": (insert_by_mask, ("iota", "mul")),
    "strided set": (insert_by_scatter, ("scatter",)),
    "set at indices": (insert_by_indices, ("scatter",)),
    "stack with zeros": (insert_by_stack, ("stack|concatenate", "reshape")),
    "joined zeros": (insert_by_concatenate, ("concatenate", "reshape")),
    "constant matrix": (insert_by_matrix, ("dot_general",)),
}
REPETITIONS = {
    "jnp.repeat": (repeat, ("broadcast_in_dim", "reshape")),
    "broadcast": (repeat_by_broadcast, ("broadcast_in_dim", "reshape")),
    "tile": (repeat_by_tile, ("broadcast_in_dim", "reshape")),
    "resize nearest": (resize("nearest"), ("gather",)),
    "index": (repeat_by_index, ("gather",)),
    "take": (repeat_by_take, ("gather",)),
    "stack of copies": (repeat_by_stack, ("stack|concatenate", "reshape")),
    "kron": (repeat_by_kron, ("mul", "reshape")),
}
NO_DILATION = ("lhs_dilation",)
NO_ZEROS = ("lhs_dilation", "interior_pad")


def deconvolutions() -> list[Form]:
    one, three = SIZES[1], SIZES[3]
    hold = ("lhs_dilation",)
    return [
        Form("lax SAME k5 s2 1-D", lax_deconv(2), weights(5), (up((5,), (2,), "uneven"),), "both", hold, x=one,
             backward=(down((5,), (2,)),)),
        Form("lax SAME k3 s2", lax_deconv(2), weights(3, 3), (up((3, 3), (2, 2), "uneven"),), "both", hold,
             backward=(down((3, 3), (2, 2)),)),
        Form("lax VALID k4 s2", lax_deconv(2, "VALID"), weights(4, 4), (up((4, 4), (2, 2), "untied"),), "lines", hold,
             backward=(down((4, 4), (2, 2)),)),
        Form("lax SAME k4 s2 transposed kernel", lax_deconv(2, transpose_kernel=True), weights(4, 4),
             (up((4, 4), (2, 2), "untied"),), "lines", (*hold, "rev")),
        Form("lhs_dilation k6 s3 1-D", dilated_conv(3), weights(6), (up((6,), (3,), "untied"),), "lines", hold, x=one),
        Form("lhs_dilation k4 s3", dilated_conv(3), weights(4, 4), (up((4, 4), (3, 3), "uneven"),), "both", hold),
        Form("lhs_dilation k4 s2 3-D", dilated_conv(2), weights(4, 4, 4), (up((4, 4, 4), (2, 2, 2), "untied"),),
             "lines", hold, x=three),
        Form("lhs_dilation k3 s2 3-D", dilated_conv(2), weights(3, 3, 3), (up((3, 3, 3), (2, 2, 2), "uneven"),),
             "both", hold, x=three),
        Form("k2 s3", lax_deconv(3), weights(2, 2), (up((2, 2), (3, 3), "holes"),), "both", hold),
        Form("k1 s2 1-D", lax_deconv(2), weights(1), (up((1,), (2,), "holes"),), "both", hold, x=one),
        Form("k4x3 s2x1", lax_deconv((2, 1)), weights(4, 3), (up((4, 3), (2, 1), "untied"),), "lines", hold),
        # Even counts on the first axis, 2 : 1 on the second: the worse axis is the grade.
        Form("k3x3 s3x2", lax_deconv((3, 2)), weights(3, 3), (up((3, 3), (3, 2), "uneven"),), "both", hold),
        # Taps 0, 2, 4 all reach phase 0; taps 0, 3 reach phases 0, 1; taps 0, 3, 6 reach 0, 1, 0.
        Form("k3 d2 s2", lax_deconv(2, dilation=2), weights(3, 3), (up((3, 3), (2, 2), "holes"),), "both", hold),
        Form("k2 d3 s2", lax_deconv(2, dilation=3), weights(2, 2), (up((2, 2), (2, 2), "untied"),), "lines", hold),
        Form("k3 d3 s2 1-D", lax_deconv(2, dilation=3), weights(3), (up((3,), (2,), "uneven"),), "both", hold, x=one),
        Form("groups k4 s2", dilated_conv(2, feature_group_count=2), weights(4, 4, into=C // 2),
             (up((4, 4), (2, 2), "untied"),), "lines", hold),
        Form("depthwise k3 s2", dilated_conv(2, feature_group_count=C), weights(3, 3, into=1),
             (up((3, 3), (2, 2), "uneven"),), "both", hold),
        Form("gradient of a conv k3 s2", conv_gradient(2), weights(3, 3), (up((3, 3), (2, 2), "uneven"),), "both",
             (*hold, "rev")),
        Form("gradient of a conv k4 s2 1-D", conv_gradient(2), weights(4), (up((4,), (2,), "untied"),), "lines",
             (*hold, "rev"), x=one),
    ]  # fmt: skip


def zero_insertions() -> list[Form]:
    found = []
    for name, (insert, hold) in INSERTIONS.items():
        lack = NO_DILATION if name == "pad" else NO_ZEROS
        found += [
            Form(f"zeros by {name}, conv k3", then_conv(insert, 2), weights(3, 3),
                 (up((3, 3), (2, 2), "uneven"),), "both", (*hold, "conv_general_dilated"), lack),
            Form(f"zeros by {name}, conv k4 1-D", then_conv(insert, 2), weights(4),
                 (up((4,), (2,), "untied"),), "lines", (*hold, "conv_general_dilated"), lack, x=SIZES[1]),
            Form(f"zeros by {name}", alone(insert, 2), {}, (up((1, 1), (2, 2), "holes"),), "both", hold, lack),
        ]  # fmt: skip
    return found


def fixed_filters() -> list[Form]:
    """Constants are taken as they are: gains decide, not counts, and energies make the second-order grid."""

    def filtered(insert, taps):
        return lambda params, x: blur(insert(x, 2), taps, padding=((2, 1),) * ndim_of(x), gain=2.0 ** ndim_of(x))

    def dilated(taps):
        def fn(params, x):
            kernel = jnp.asarray(np.multiply.outer(np.multiply.outer(taps, taps), np.eye(C)), jnp.float32)
            return dilated_conv(2)({"kernel": kernel}, x)

        return fn

    one, hold = SIZES[1], ("conv_general_dilated",)
    return [
        # [1, 3, 3, 1]: gains 1 + 3 = 3 + 1, energies 1 + 9 = 9 + 1.
        Form("FIR 1331 by reshape 1-D", filtered(insert_by_reshape, (1, 3, 3, 1)), {}, (up((4,), (2,), "tied"),),
             "clean", hold, NO_ZEROS, x=one),
        Form("FIR 1331 by reshape", filtered(insert_by_reshape, (1, 3, 3, 1)), {}, (up((4, 4), (2, 2), "tied"),),
             "clean", hold, NO_ZEROS),
        Form("FIR 1331 by dilation", dilated((1, 3, 3, 1)), {}, (up((4, 4), (2, 2), "tied"),), "clean",
             ("lhs_dilation",)),
        # [1, 2, 1]: gains 2 and 1 + 1, energies 4 and 1 + 1 per axis: no lines, and powers of 4 : 1 in two axes.
        Form("FIR 121 by dilation", dilated((1, 2, 1)), {}, (up((3, 3), (2, 2), "tied"),), "power", ("lhs_dilation",)),
        Form("FIR 121 by pad", filtered(insert_by_pad, (1, 2, 1)), {}, (up((3, 3), (2, 2), "tied"),), "power",
             ("interior_pad",)),
        # A box of three on stride two: gains and counts 2 : 1.
        Form("box of 3 by dilation", dilated((1, 1, 1)), {}, (up((3, 3), (2, 2), "uneven"),), "both",
             ("lhs_dilation",)),
        # Even counts, gains 4 and 6.
        Form("FIR 1234 by dilation", dilated((1, 2, 3, 4)), {}, (up((4, 4), (2, 2), "untied"),), "both",
             ("lhs_dilation",)),
        Form("nearest as a deconvolution", dilated((1, 1)), {}, (up((2, 2), (2, 2), "tied"),), "clean",
             ("lhs_dilation",)),
        Form("learned deconvolution k2 s2", dilated_conv(2), weights(2, 2), (up((2, 2), (2, 2), "untied"),), "lines",
             ("lhs_dilation",)),
    ]  # fmt: skip


def repetitions() -> list[Form]:
    found = []
    for name, (upsample, hold) in REPETITIONS.items():
        found += [
            Form(f"nearest by {name}, conv k3", then_conv(upsample, 2), weights(3, 3), (up((3, 3), (2, 2), "tied"),),
                 "clean", (*hold, "conv_general_dilated"), NO_ZEROS),
            Form(f"nearest by {name}, conv k4 s3 1-D", then_conv(upsample, 3), weights(4), (up((4,), (3,), "tied"),),
                 "clean", hold, NO_ZEROS, x=SIZES[1]),
            Form(f"nearest by {name}", alone(upsample, 2), {}, (up((2, 2), (2, 2), "tied"),), "clean", hold, NO_ZEROS),
        ]  # fmt: skip
    return found


def resizes() -> list[Form]:
    """Interpolation matrices. Two half-pixel phases mirror each other, so their powers agree; three do not."""
    hold, found = ("dot_general",), []
    # Taps per side of the prototype times the scale: 1 for linear, 2 for cubic, 3 for Lanczos.
    for method, reach in {"linear": 1, "cubic": 2, "lanczos3": 3}.items():
        size = (2, 16, 16, C)  # six samples on either side leave an interior
        taps = (4 * reach,) * 2
        found += [
            Form(f"resize {method}, conv k3", then_conv(resize(method), 2), weights(3, 3),
                 (up((3, 3), (2, 2), "tied"),), "clean", (*hold, "conv_general_dilated"), NO_ZEROS, x=size),
            Form(f"resize {method}", alone(resize(method), 2), {}, (up(taps, (2, 2), "tied"),), "clean", hold,
                 NO_ZEROS, x=size),
        ]  # fmt: skip
    # Half-pixel linear by three: variances 5/9, 1, 5/9 per axis; a conv of three taps reads each phase once.
    found.append(Form("resize linear by 3", alone(resize("linear"), 3), {}, (up((5, 5), (3, 3), "tied"),), "power",
                      hold, NO_ZEROS))  # fmt: skip
    found.append(Form("resize linear by 3, conv k3", then_conv(resize("linear"), 3), weights(3, 3),
                      (up((3, 3), (3, 3), "tied"),), "clean", hold, NO_ZEROS))  # fmt: skip
    return found


def shuffles() -> list[Form]:
    def shuffled(between=lambda params, y: y, order="depth_first"):
        return lambda params, x: depth_to_space(between(params, conv(x, params["kernel"])), 2, order)

    def tied_kernel(params, x):
        base = np.random.default_rng(7).standard_normal((3, 3, C, 1, C)) / math.sqrt(9 * C)
        kernel = np.broadcast_to(base, (3, 3, C, 4, C)).reshape(3, 3, C, 4 * C)
        return depth_to_space(conv(x, jnp.asarray(kernel, jnp.float32)), 2)

    def by_vmap(params, x):
        return jax.vmap(lambda image: depth_to_space(image[None], 2)[0])(conv(x, params["kernel"]))

    kernel, hold = weights(3, 3, out=4 * C), ("transpose", "reshape")
    biased = {**kernel, "bias": (4 * C,)}
    expected = (up((3, 3), (2, 2), "untied"),)

    def add(params, y):
        return y + params["bias"]

    return [
        Form("sub-pixel, depth first", shuffled(), kernel, expected, "lines", hold, NO_ZEROS),
        Form("sub-pixel, channel first", shuffled(order="channel_first"), kernel, expected, "lines", hold, NO_ZEROS),
        Form("sub-pixel, 1-D", shuffled(), weights(5, out=2 * C), (up((5,), (2,), "untied"),), "lines", ("reshape",),
             (*NO_ZEROS, "transpose"), x=SIZES[1]),
        Form("sub-pixel after a bias", shuffled(add), biased, expected, "lines", hold, NO_ZEROS),
        Form("sub-pixel after a ReLU", shuffled(lambda p, y: jax.nn.relu(add(p, y)), "channel_first"), biased,
             expected, "lines", hold, NO_ZEROS),
        Form("sub-pixel by vmap", by_vmap, kernel, expected, "lines", hold, NO_ZEROS),
        Form("sub-pixel, constant and tied", tied_kernel, {}, (up((3, 3), (2, 2), "tied"),), "clean", hold, NO_ZEROS),
        # Constant channels, independent of each other, are what the phases become.
        Form("depth to space alone", alone(depth_to_space, 2), {}, (shuffle((2, 2)),), "lines", hold, NO_ZEROS),
        Form("depth to space alone, channel first", lambda p, x: depth_to_space(x, 2, "channel_first"), {},
             (shuffle((2, 2)),), "lines", hold, NO_ZEROS),
    ]  # fmt: skip


def forms() -> list[Form]:
    """Every upsampling of this file."""
    groups = deconvolutions, zero_insertions, fixed_filters, repetitions, resizes, shuffles
    return [form for group in groups for form in group()]

"""What an audit gives back as a stack: the stack itself, in normal form, for stacks of every kind drawn at random."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checkerjax as cj
from checkerjax.audits._flatten import flatten
from checkerjax.audits._normal_form import normal_form
from checkerjax.audits._stack import stack_of
from checkerjax.stacks._layers import (
    CENTRES,
    INITIALISERS,
    LEARNED,
    ORDERS,
    PAD_MODES,
    UPSAMPLE_METHODS,
    AvgPool,
    BatchNorm,
    Bias,
    Blur,
    Conv,
    Deconv,
    Dense,
    Hold,
    L2Pool,
    LeakyRelu,
    MaxPool,
    Parallel,
    Relu,
    Residual,
    ResizeConv,
    SubPixel,
    Upsample,
)  # fmt: skip

STACKS, GROUPS = 500, 10
MOST = {1: 64, 2: 700, 3: 900}  # samples of a drawn field


class Drawer:
    """Random stacks that fit: every layer and option, on small fields of few channels."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([2016, seed])

    def draw(self):
        """A stack, the size of its input (None for a latent), its channels and the number of spatial axes."""
        while True:
            self.ndim = int(self.rng.integers(1, 4))
            latent = self.flip(0.1)
            low, high = {1: (4, 13), 2: (3, 8), 3: (2, 5)}[self.ndim]
            size = () if latent else tuple(int(n) for n in self.rng.integers(low, high, self.ndim))
            channels = int(self.pick((1, 2, 4)))
            drawn = self.chain(size, channels, int(self.rng.integers(1, 7)), nested=True)
            if drawn is not None:
                return drawn[0], size or None, channels, self.ndim

    def flip(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, choices):
        return choices[int(self.rng.integers(len(choices)))]

    def sizes(self, choices):
        """An int, or one per axis."""
        return tuple(int(self.pick(choices)) for _ in range(self.ndim)) if self.flip(0.3) else int(self.pick(choices))

    def padding(self):
        named = self.pick(("SAME", "VALID", "int", "pairs"))
        if named == "int":
            return int(self.rng.integers(0, 3))
        return (
            tuple((int(a), int(b)) for a, b in self.rng.integers(0, 3, (self.ndim, 2))) if named == "pairs" else named
        )

    def chain(self, size, channels, length, *, nested):
        """Layers with the size and channels that come out; None where no layer was found to fit."""
        out = []
        for _ in range(length):
            for _ in range(20):
                found = self.layer(size, channels, nested)
                if found is not None:
                    break
            else:
                return None
            layer, size, channels = found
            out.append(layer)
        return tuple(out), size, channels

    def layer(self, size, channels, nested):
        kinds = [Bias, Relu, LeakyRelu, cj.Tanh, cj.Erf, BatchNorm]
        kinds += [Dense] * 5 if not size else [
            Conv, Conv, Deconv, Deconv, ResizeConv, ResizeConv, SubPixel, MaxPool, AvgPool, L2Pool, Blur, Hold, Upsample
        ]  # fmt: skip
        kind = self.pick(kinds + [Residual, Parallel] * (2 if nested and size else 0))
        try:
            if kind is Residual or kind is Parallel:
                return self.nest(kind, size, channels)
            layer = getattr(self, kind.__name__.lower())(channels)
            after = size if not size and kind is not Dense else cj.output_size(layer, size or None)
        except ValueError:
            return None
        if after and (math.prod(after) > MOST[self.ndim] or self.too_wide(layer, size)):
            return None
        return layer, after, layer.features if isinstance(layer, LEARNED) else channels

    def too_wide(self, layer, size):
        """Borders that no longer fit are folded many times, and a maximum over padding alone has no value."""
        pads = getattr(layer, "padding", 0)
        widest = pads if isinstance(pads, int) else max(itertools.chain(*pads)) if isinstance(pads, tuple) else 0
        kernel = getattr(layer, "kernel", 9)
        least = kernel if isinstance(kernel, int) else min(kernel)
        return widest >= least if isinstance(layer, MaxPool) else widest > 2 * min(size or (9,))

    def nest(self, kind, size, channels):
        count = 1 if kind is Residual else int(self.rng.integers(1, 4))
        combine = self.pick(("sum", "concat"))
        branches = [
            self.chain(size, channels, int(self.rng.integers(1, 3)), nested=self.flip(0.3)) for _ in range(count)
        ]
        if None in branches:
            return None
        stacks, sizes, widths = zip(*branches)
        if len(set(sizes)) > 1 or ((kind is Residual or combine == "sum") and len(set(widths)) > 1):
            return None
        if kind is Residual:
            return (Residual(stacks[0]), size, channels) if (sizes[0], widths[0]) == (size, channels) else None
        return Parallel(stacks, combine), sizes[0], widths[0] if combine == "sum" else sum(widths)

    def features(self):
        return int(self.pick((1, 2, 4)))

    def groups(self, channels, features):
        return 2 if channels % 2 == features % 2 == 0 and self.flip(0.3) else 1

    def conv(self, channels):
        features = self.features()
        sizes = self.sizes((1, 2, 3, 4)), self.sizes((1, 1, 2, 3)), features, self.padding(), self.pick(PAD_MODES)
        return Conv(
            *sizes, self.sizes((1, 1, 2)), self.groups(channels, features), self.pick((None, *INITIALISERS[:2]))
        )

    def deconv(self, channels):
        features, extra = self.features(), self.sizes((0, 0, 1))
        sizes = self.sizes((1, 2, 3, 4, 5)), self.sizes((1, 2, 2, 3)), features, self.padding(), extra
        return Deconv(*sizes, self.sizes((1, 1, 2)), self.groups(channels, features))

    def resizeconv(self, channels):
        method = self.pick(UPSAMPLE_METHODS)
        sizes = self.sizes((1, 2, 3, 4)), self.sizes((1, 2, 2, 3)), method, self.features(), self.padding()
        return ResizeConv(*sizes, self.pick(PAD_MODES), self.pick(CENTRES))

    def subpixel(self, channels):
        return SubPixel(self.sizes((1, 2, 3)), self.sizes((1, 2)), self.features(), self.padding(), self.pick(ORDERS))

    def dense(self, channels):
        return Dense(tuple(int(n) for n in self.rng.integers(1, 5, self.ndim)), self.features())

    def bias(self, channels):
        return Bias(self.pick((0.0, 0.1, 0.5)))

    def relu(self, channels):
        return Relu()

    def leakyrelu(self, channels):
        return LeakyRelu(self.pick((0.2, 0.01, -0.5, 1.5)))

    def tanh(self, channels):
        return cj.Tanh()

    def erf(self, channels):
        return cj.Erf()

    def batchnorm(self, channels):
        return BatchNorm(self.pick((1.0, 0.32)), self.pick(("channel", "unit")), self.pick((1e-5, 1e-3, 0.0)))

    def maxpool(self, channels):
        return MaxPool(self.sizes((1, 2, 3)), self.sizes((1, 2)), self.padding())

    def avgpool(self, channels):
        return AvgPool(self.sizes((1, 2, 3)), self.sizes((1, 2)), self.padding())

    def l2pool(self, channels):
        return L2Pool(self.sizes((1, 2, 3)), self.padding())

    def blur(self, channels):
        return Blur(self.sizes((1, 2, 3, 5)), self.sizes((1, 2)), self.padding(), self.pick(PAD_MODES))

    def hold(self, channels):
        return Hold(self.sizes((1, 2, 3)), self.pick((0, 1, 2)), self.padding(), self.pick(PAD_MODES))

    def upsample(self, channels):
        return Upsample(self.sizes((1, 2, 2, 3)), self.pick(UPSAMPLE_METHODS), self.pick(CENTRES))


def parameters(stack, channels, ndim, rng):
    """Arrays for a stack; biases of one size, so that their mean square is the square of their std exactly."""
    shapes = jax.eval_shape(lambda key: cj.init(key, stack, channels=channels, ndim=ndim), jax.random.key(0))

    def fill(layer, entry):
        if isinstance(layer, Residual):
            return tuple(map(fill, layer.stack, entry))
        if isinstance(layer, Parallel):
            return tuple(tuple(map(fill, inner, each)) for inner, each in zip(layer.stacks, entry))
        if isinstance(layer, Bias):
            return {"bias": np.float32(layer.std) * rng.choice(np.array([-1, 1], np.float32), entry["bias"].shape)}
        return {name: rng.normal(size=a.shape).astype(np.float32) / 4 for name, a in entry.items()}

    return tuple(map(fill, stack, shapes))


def emitted(fn, params, x, layout="channel_last"):
    """What the program of fn(params, x) is given back as."""
    program = flatten(jax.make_jaxpr(fn)(params, x))
    return stack_of(program, program.inputs[-1:], [layout], [*jax.tree.leaves(params), x])


def case(seed):
    drawer = Drawer(seed)
    stack, size, channels, ndim = drawer.draw()
    params = parameters(stack, channels, ndim, drawer.rng)
    return stack, size, params, np.ones((2, *(size or ()), channels), np.float32)


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_stack_comes_back_in_normal_form(group):
    for seed in range(group, STACKS, GROUPS):
        stack, size, params, x = case(seed)
        found = emitted(lambda p, x, s=stack: cj.apply(p, s, x), params, x)
        note = f"seed {seed}: {cj.format_stack(stack)} for {size}"
        assert found.stack is not None, f"{note}: {found.reason}"
        assert found.stack == normal_form(stack, size), note
        assert normal_form(found.stack, size) == found.stack, note


def learned_alike(stack, other):
    """Whether two stacks have the same parameters, in the same order and layout."""
    return [type(x) for x in leaves(stack)] == [type(x) for x in leaves(other)]


def leaves(stack):
    """The layers with parameters, in reading order."""
    for layer in stack:
        if isinstance(layer, Residual):
            yield from leaves(layer.stack)
        elif isinstance(layer, Parallel):
            yield from itertools.chain.from_iterable(map(leaves, layer.stacks))
        elif isinstance(layer, (*LEARNED, Bias)):
            yield layer


def rearranged(params, stack):
    """The arrays of some parameters as those of another stack that is `learned_alike`."""
    arrays = iter(jax.tree.leaves(params))

    def fill(layer):
        if isinstance(layer, Residual):
            return tuple(map(fill, layer.stack))
        if isinstance(layer, Parallel):
            return tuple(tuple(map(fill, inner)) for inner in layer.stacks)
        name = "bias" if isinstance(layer, Bias) else "kernel"
        return {name: next(arrays)} if isinstance(layer, (*LEARNED, Bias)) else {}

    return tuple(map(fill, stack))


def counted(stack, size, **options):
    """A count, or None where it is not defined."""
    try:
        return cj.count(stack, size, **options)
    except ValueError:
        return None


@pytest.mark.parametrize("group", range(4))
def test_the_normal_form_has_the_same_counts(group):
    compared = 0
    for seed in range(group, 200, 4):
        stack, size, *_ = case(seed)
        form = normal_form(stack, size)
        for backward in (False, True):
            theirs = counted(stack, size, backward=backward)
            if theirs is None:
                continue
            ours, theirs = (np.asarray(c, float) for c in (cj.count(form, size, backward=backward), theirs))
            # Fixed taps are counted as numerators, and a layer's denominator need not be that of its other spelling.
            np.testing.assert_allclose(ours * theirs.sum(), theirs * ours.sum(), 1e-9, err_msg=f"seed {seed}")
            compared += 1
    assert compared >= 25


@pytest.mark.parametrize("seed", range(12))
def test_the_normal_form_does_the_same(seed):
    stack, size, params, x = next(
        found
        for s in itertools.count(1000 + 100 * seed)
        if learned_alike((found := case(s))[0], normal_form(*found[:2]))
    )
    x = np.random.default_rng(seed).normal(size=x.shape).astype(np.float32)
    form = normal_form(stack, size)
    ours = jax.jit(lambda p, x: cj.apply(p, form, x))(rearranged(params, form), x)
    theirs = jax.jit(lambda p, x: cj.apply(p, stack, x))(params, x)
    scale = float(jnp.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * scale, err_msg=cj.format_stack(stack))


NORMAL = [  # as written, as named, size
    ("deconv k3 s1", "conv k3", (6,)),
    ("deconv k3 s1 valid", "conv k3 p2", (6,)),
    ("upsample zeros, conv k3", "deconv k3 s2 p1 op1", (6,)),
    ("resize k3 s2 method=zeros", "deconv k3 s2 p1 op1", (6,)),
    ("upsample nearest s3, conv k3", "resize k3 s3", (6,)),
    ("upsample, upsample", "upsample s4", (4,)),
    ("upsample s1, maxpool k1 s1, hold s1, tanh", "tanh", (4,)),
    ("maxpool k1 s2", "avgpool k1 s2", (8,)),
    ("hold s3", "avgpool k3 s1 same", (8,)),
    ("blur k2 pad_mode=zeros", "avgpool k2 s1 same", (8,)),
    ("conv k3 p1", "conv k3", (8,)),
    ("conv k3 s2 p1", "conv k3 s2 p1", (8,)),
    ("conv k3 s2 p0:1", "conv k3 s2", (8,)),
    ("conv k3 s2 p1:5", "conv k3 s2 p1:4", (8,)),
    ("conv k3 pad_mode=symmetric", "conv k3 pad_mode=edge", (8,)),
    ("conv k4 s2 valid pad_mode=wrap", "conv k4 s2 valid", (9,)),
    ("subpixel k3 s1", "conv k3", (8,)),
    ("conv k3x3 s1x1 d1x1", "conv k3", (8, 8)),
    ("parallel(conv k3), relu", "conv k3, relu", (8,)),
    ("parallel(upsample s1 | conv k3)", "residual(conv k3)", (8,)),
    ("parallel(parallel(conv k3 | conv k1) | tanh)", "parallel(conv k3 | conv k1 | tanh)", (8,)),
    ("residual(upsample s1)", "residual(upsample s1)", (8,)),
    ("leaky_relu slope=0", "relu", (8,)),
    ("blur k3, blur k3", "blur k5", (8,)),
    ("blur k3 valid, blur k3 valid", "blur k5 valid pad_mode=zeros", (8,)),
    ("batchnorm per=unit, dense 4", "batchnorm, dense 4", None),
]


@pytest.mark.parametrize(("given", "expected", "size"), NORMAL, ids=lambda v: None if isinstance(v, tuple) else str(v))
def test_what_is_called_the_same(given, expected, size):
    assert cj.format_stack(normal_form(given, size)) == cj.format_stack(cj.parse_stack(expected))


def shuffled(y, block=2, channel_first=False):
    """Depth to space of `[N, H, W, C]`, as a model would write it."""
    n, h, w, c = y.shape
    if channel_first:
        y = y.reshape(n, h, w, c // block**2, block, block).transpose(0, 1, 4, 2, 5, 3)
    else:
        y = y.reshape(n, h, w, block, block, c // block**2).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, h * block, w * block, c // block**2)


def conv(x, kernel, stride=1, padding: Any = "SAME", layout="NHWC", **options):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=(layout, "HWIO", layout), **options
    )


def repeated(x, s=2):
    return jnp.repeat(jnp.repeat(x, s, 1), s, 2)


def stuffed(x):
    """Zeros inserted by padding new axes."""
    n, h, w, c = x.shape
    wide = jnp.pad(x.reshape(n, h, 1, w, 1, c), ((0, 0), (0, 0), (0, 1), (0, 0), (0, 1), (0, 0)))
    return wide.reshape(n, 2 * h, 2 * w, c)


def normalised(x, axes=(0, 1, 2)):
    """As Flax does it: the mean of squares less the square of the mean."""
    mean = x.mean(axes)
    variance = jnp.maximum((x * x).mean(axes) - mean * mean, 0.0)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5)


def pooled(x):
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


def largest(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")


K, WIDE = np.ones((3, 3, 4, 4), np.float32), np.ones((3, 3, 4, 16), np.float32)
BIAS, HALVES = np.array([0.5, -0.5, 0.5, 0.5], np.float32), np.tile(np.array([0.5, -0.5, 0.5, 0.5], np.float32), 4)
FORMS = [  # by another hand: a program, its parameters, and the stack that it is
    ("convolution", lambda p, x: conv(x, p), K, "conv k3 c4"),
    ("strided", lambda p, x: conv(x, p, 2, [(1, 1), (1, 1)]), K, "conv k3 s2 c4 p1"),
    ("depthwise", lambda p, x: conv(x, p, feature_group_count=4), K[:, :, :1], "conv k3 c4 g4"),
    ("dilated inputs", lambda p, x: conv(x, p, 1, [(2, 2)] * 2, lhs_dilation=(2, 2)), K, "deconv k3 s2 c4 valid"),
    ("interior padding", lambda p, x: conv(jax.lax.pad(x, 0.0, [(0, 0, 0), (0, 1, 1), (0, 1, 1), (0, 0, 0)]), p), K,
     "deconv k3 s2 c4 p1 op1"),
    ("padded new axes", lambda p, x: conv(stuffed(x), p), K, "deconv k3 s2 c4 p1 op1"),
    ("scatter", lambda p, x: conv(jnp.zeros((2, 12, 12, 4)).at[:, ::2, ::2].set(x), p), K, "deconv k3 s2 c4 p1 op1"),
    ("masked repeats", lambda p, x: conv(repeated(x) * (np.arange(12) % 2 == 0)[:, None].astype("f4")
     * (np.arange(12) % 2 == 0)[:, None, None].astype("f4"), p), K, "deconv k3 s2 c4 p1 op1"),
    ("lax.conv_transpose", lambda p, x: jax.lax.conv_transpose(x, p, (2, 2), "SAME"), K, "deconv k3 s2 c4"),
    ("repeats", lambda p, x: conv(repeated(x), p), K, "resize k3 c4"),
    ("image.resize", lambda p, x: conv(jax.image.resize(x, (2, 12, 12, 4), "bilinear"), p), K, "resize k3 linear c4"),
    ("bicubic", lambda p, x: jax.image.resize(x, (2, 12, 12, 4), "bicubic"), (), "upsample cubic"),
    ("reflected border", lambda p, x: conv(jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect"), p, 1, "VALID"),
     K, "conv k3 c4 pad_mode=reflect"),
    ("bias, relu, shuffle", lambda p, x: shuffled(jax.nn.relu(conv(x, p[0]) + p[1])), (WIDE, HALVES),
     "subpixel k3 c4, bias std=0.5, relu"),
    ("other shuffle", lambda p, x: shuffled(conv(x, p), channel_first=True), WIDE, "subpixel k3 c4 channel_first"),
    ("leaky", lambda p, x: jnp.maximum(0.1 * x, x), (), "leaky_relu slope=0.1"),
    ("tanh by exponentials", lambda p, x: 2 * jax.nn.sigmoid(2 * x) - 1, (), "tanh"),
    ("batch statistics", lambda p, x: normalised(x) * p[0] + p[1], (BIAS[:1], BIAS * 0),
     "batchnorm std=0.5, bias"),
    ("per unit", lambda p, x: normalised(x, 0), (), "batchnorm per=unit"),
    ("ones and zeros", lambda p, x: x * p[0] + p[1], (BIAS * 0 + 1, BIAS * 0), "bias"),
    ("pools", lambda p, x: largest(pooled(x)), (),
     "avgpool, maxpool k3 s1 same"),
    ("pool by reshape", lambda p, x: x.reshape(2, 3, 2, 3, 2, 4).mean((2, 4)), (), "avgpool"),
    ("skip", lambda p, x: jnp.concatenate([x, conv(jnp.tanh(x), p)], -1), K,
     "parallel(upsample s1 | tanh, conv k3 c4) combine=concat"),
    ("twice", lambda p, x: jnp.concatenate([x, x], -1), (), "parallel(upsample s1 | upsample s1) combine=concat"),
    ("residual", lambda p, x: conv(jax.nn.relu(x), p) + x, K, "residual(relu, conv k3 c4)"),
    ("scanned blocks", lambda p, x: jax.lax.scan(lambda x, k: (x + conv(x, k), None), x, p)[0], np.stack([K, K]),
     "residual(conv k3 c4), residual(conv k3 c4)"),
    ("checkpoint", lambda p, x: jax.checkpoint(lambda x: jnp.tanh(conv(x, p)))(x), K, "conv k3 c4, tanh"),
    ("standardised kernel", lambda p, x: conv(x, (p - p.mean((0, 1, 2))) / 2), K, "conv k3 c4"),
    ("1x1 by matmul", lambda p, x: x @ p, K[0, 0], "conv k1 c4"),
    ("nothing", lambda p, x: x, (), "upsample s1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fn", "params", "expected"), FORMS, ids=[form[0] for form in FORMS])
def test_programs_by_another_hand(name, fn, params, expected):
    found = emitted(fn, params, np.ones((2, 6, 6, 4), np.float32))
    assert found.stack is not None, found.reason
    assert cj.format_stack(found.stack) == cj.format_stack(cj.parse_stack(expected))


def test_channels_first():
    found = emitted(
        lambda p, x: jax.nn.relu(conv(x, p, layout="NCHW")), K, np.ones((2, 4, 6, 5), "f4"), "channel_first"
    )
    assert found.stack == (Conv(3, features=4), Relu())


def test_a_generator_from_a_latent():
    def generator(p, z):
        y = jax.nn.relu(normalised(z @ p[0] + p[1], 0).reshape(3, 4, 4, 4))
        return jnp.tanh(jax.lax.conv_transpose(y, p[2], (2, 2), "SAME"))

    params = np.ones((6, 64), np.float32), np.zeros(64, np.float32), K
    found = emitted(generator, params, np.ones((3, 6), np.float32))
    expected = Dense((4, 4), 4), Bias(), BatchNorm(per="unit"), Relu(), Deconv(3, 2, 4), cj.Tanh()
    assert found.stack == expected, found.reason


def attention(p, x):
    t = x.reshape(2, 36, 4)
    return x + jnp.einsum("bqk,bkc->bqc", jax.nn.softmax(jnp.einsum("bqc,bkc->bqk", t, t)), t).reshape(x.shape)


REFUSED = [  # a program, parameters, a word of the reason, and what stands there
    ("relu6", lambda p, x: jnp.tanh(jax.nn.relu6(x)), (), "min", "pointwise"),
    ("a scale", lambda p, x: conv(x, p) * 2, K, "2", "scale"),
    ("a constant kernel", lambda p, x: conv(x, K), (), "constant", "conv"),
    ("a kernel from two", lambda p, x: conv(x, p[0] + p[1]), (K, K), "computed", "conv"),
    ("a folded kernel", lambda p, x: conv(x, jnp.einsum("ah,hwio->awio", p[0], p[1])), (np.eye(3, dtype="f4"), K),
     "computed", "conv"),
    ("biases by phase", lambda p, x: shuffled(conv(x, p[0]) + p[1]), (WIDE, np.arange(16, dtype="f4")), "bias",
     "pointwise"),
    ("statistics by phase", lambda p, x: shuffled(normalised(conv(x, p))), WIDE, "statistics", "pointwise"),
    ("a shuffle alone", lambda p, x: shuffled(jnp.tanh(conv(pooled(x), p, 2))), WIDE, "depth to space", "shuffle"),
    ("positions", lambda p, x: x + p, np.arange(36, dtype="f4").reshape(6, 6, 1), "add", "pointwise"),
    ("attention", attention, (), "", None),
    ("gelu in a branch", lambda p, x: x + conv(jax.nn.gelu(x), p), K, "", "pointwise"),
    ("a crop", lambda p, x: x[:, 1:], (), "fixed", "move"),
    ("channels picked", lambda p, x: conv(x, p)[..., ::-1], K, "channels", "move"),
    ("a mean", lambda p, x: x.mean((1, 2)), (), "statistic", "global"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fn", "params", "word", "kind"), REFUSED, ids=[each[0] for each in REFUSED])
def test_what_has_no_translation_is_named(name, fn, params, word, kind):
    found = emitted(fn, params, np.ones((2, 6, 6, 4), np.float32))
    assert found.stack is None
    assert found.reason
    assert "\n" not in found.reason
    assert word in found.reason
    assert kind is None or (found.node is not None and found.node.kind == kind), found


def test_several_inputs_are_no_stack():
    program = flatten(jax.make_jaxpr(lambda x, y: x + y)(np.ones((1, 4, 1)), np.ones((1, 4, 1))))
    found = stack_of(program, program.inputs, ["channel_last"] * 2, [])
    assert found.stack is None
    assert "2 inputs" in found.reason

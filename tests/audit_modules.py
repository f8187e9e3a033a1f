"""Generators as Flax users write them: linen and nnx modules. `# up` marks the statements that upsample."""

from __future__ import annotations

import pathlib

import jax
import jax.numpy as jnp
from flax import linen, nnx

FILE = pathlib.Path(__file__)
SHAPE = (2, 8, 8, 4)


class Deconvs(linen.Module):
    """Compact, two layers named by Flax."""

    @linen.compact
    def __call__(self, x):
        x = linen.ConvTranspose(8, (4, 4), (2, 2))(x)  # up: linen first
        x = linen.relu(x)
        return linen.ConvTranspose(8, (3, 3), (2, 2))(x)  # up: linen second


class Block(linen.Module):
    """Resize and conv, batch-normalised."""

    train: bool = False

    @linen.compact
    def __call__(self, x):
        n, h, w, c = x.shape
        x = jax.image.resize(x, (n, 2 * h, 2 * w, c), "nearest")  # up: linen resize
        x = linen.Conv(8, (3, 3))(x)
        x = linen.BatchNorm(use_running_average=not self.train)(x)
        return linen.relu(linen.GroupNorm(num_groups=2)(x))


class Nested(linen.Module):
    """Blocks in a model that names its parts."""

    def setup(self):
        self.block = Block()
        self.to_image = linen.ConvTranspose(3, (4, 4), (2, 2))

    def __call__(self, x):
        return linen.tanh(self.to_image(self.block(x)))  # up: linen setup


class Rematerialised(linen.Module):
    """A block that is run again in the backward pass."""

    @linen.compact
    def __call__(self, x):
        return linen.remat(Deconvs)(name="inner")(x)


class Dilated(linen.Module):
    """Flax's other spelling of a transposed convolution."""

    @linen.compact
    def __call__(self, x):
        return linen.Conv(8, (4, 4), input_dilation=2, padding=((2, 2), (2, 2)))(x)  # up: linen dilation


class SubPixel(linen.Module):
    """A convolution and its depth to space."""

    @linen.compact
    def __call__(self, x):
        y = linen.Conv(4 * 4, (3, 3))(x)
        n, h, w, c = y.shape
        y = y.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
        return y.reshape(n, 2 * h, 2 * w, c // 4)


class Scanned(linen.Module):
    """The same layer three times, its parameters stacked by Flax's own scan, then one deconvolution."""

    @linen.compact
    def __call__(self, x):
        class Body(linen.Module):
            @linen.compact
            def __call__(self, y, _):
                return y + linen.Conv(4, (3, 3))(y), None

        body = linen.scan(Body, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return linen.ConvTranspose(4, (4, 4), (2, 2))(body()(x, None)[0])


class NnxDeconvs(nnx.Module):
    """Attributes are the names; one class is used twice."""

    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.ConvTranspose(4, 8, (4, 4), (2, 2), rngs=rngs)
        self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=rngs)
        self.second = nnx.ConvTranspose(8, 3, (3, 3), (2, 2), rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.first(x)))  # up: nnx first
        return self.second(x)  # up: nnx second


class NnxDown(nnx.Module):
    """A stem: strided conv, max pool."""

    def __init__(self, rngs: nnx.Rngs):
        self.stem = nnx.Conv(4, 8, (3, 3), strides=2, rngs=rngs)

    def __call__(self, x):
        return nnx.max_pool(nnx.relu(self.stem(x)), (2, 2), (2, 2))  # up: nnx stem


class NnxUnet(nnx.Module):
    """A module within a module."""

    def __init__(self, rngs: nnx.Rngs):
        self.decoder = NnxDeconvs(rngs)

    def __call__(self, x):
        return jnp.tanh(self.decoder(x))


def line_of(mark: str) -> int:
    """The line of this file that ends in a mark."""
    lines = FILE.read_text().splitlines()
    (found,) = (number for number, line in enumerate(lines, 1) if line.endswith(f"# up: {mark}"))
    return found

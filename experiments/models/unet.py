"""A U-Net that takes noise off pictures, without a grid in its output, in linen and in nnx.

Down: `BlurPool` after convolutions without stride. Up: `ResizeConv`, whose gains are equal whatever it learns. With
`plain=True` it is what is written most: strided convolutions, and transposed ones of kernel 3.

Run:     uv run python -m experiments.models.unet
Expect:  a minute on two cores; the plain one has lines in its output, random and trained, the other none. Neither has
         them in the gradient: the way past all layers, from the picture to the output, is as strong as any other.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import nnx

import checkerjax as cj
import checkerjax.nn.linen as cnn
import checkerjax.nn.nnx as cnnx
from experiments.models.training import discs, first_and_last, fit_linen, fit_nnx


class UNet(nn.Module):
    """Pictures `[N, H, W, 1]` to as many, H and W multiples of 4; linen."""

    width: int = 16
    plain: bool = False

    def setup(self):
        widths, strides = (self.width, 2 * self.width, 4 * self.width), 2 if self.plain else 1
        self.enter = nn.Conv(widths[0], (3, 3))
        self.down_1 = nn.Conv(widths[1], (3, 3), strides=strides)
        self.down_2 = nn.Conv(widths[2], (3, 3), strides=strides)
        self.pool = (lambda x: x) if self.plain else cnn.BlurPool()
        if self.plain:
            self.up_2 = nn.ConvTranspose(widths[1], (3, 3), (2, 2))
            self.up_1 = nn.ConvTranspose(widths[0], (3, 3), (2, 2))
        else:
            self.up_2 = cnn.ResizeConv(widths[1], (3, 3))
            self.up_1 = cnn.ResizeConv(widths[0], (3, 3))
        self.mix_2 = nn.Conv(widths[1], (3, 3))
        self.mix_1 = nn.Conv(widths[0], (3, 3))
        self.leave = nn.Conv(1, (1, 1))

    def __call__(self, x):
        fine = nn.relu(self.enter(x))
        middle = self.pool(nn.relu(self.down_1(fine)))
        coarse = self.pool(nn.relu(self.down_2(middle)))
        middle = nn.relu(self.mix_2(jnp.concatenate([middle, self.up_2(coarse)], -1)))
        fine = nn.relu(self.mix_1(jnp.concatenate([fine, self.up_1(middle)], -1)))
        return self.leave(fine)


class UNetNnx(nnx.Module):
    """The same for nnx, the one without a grid."""

    def __init__(self, width: int = 16, *, rngs: nnx.Rngs):
        widths = (width, 2 * width, 4 * width)
        self.enter = nnx.Conv(1, widths[0], (3, 3), rngs=rngs)
        self.down_1 = nnx.Conv(widths[0], widths[1], (3, 3), rngs=rngs)
        self.down_2 = nnx.Conv(widths[1], widths[2], (3, 3), rngs=rngs)
        self.pool = cnnx.BlurPool()
        self.up_2 = cnnx.ResizeConv(widths[2], widths[1], (3, 3), rngs=rngs)
        self.up_1 = cnnx.ResizeConv(widths[1], widths[0], (3, 3), rngs=rngs)
        self.mix_2 = nnx.Conv(2 * widths[1], widths[1], (3, 3), rngs=rngs)
        self.mix_1 = nnx.Conv(2 * widths[0], widths[0], (3, 3), rngs=rngs)
        self.leave = nnx.Conv(widths[0], 1, (1, 1), rngs=rngs)

    def __call__(self, x):
        fine = nnx.relu(self.enter(x))
        middle = self.pool(nnx.relu(self.down_1(fine)))
        coarse = self.pool(nnx.relu(self.down_2(middle)))
        middle = nnx.relu(self.mix_2(jnp.concatenate([middle, self.up_2(coarse)], -1)))
        fine = nnx.relu(self.mix_1(jnp.concatenate([fine, self.up_1(middle)], -1)))
        return self.leave(fine)


def loss(outputs, clean):
    """Mean squared error."""
    return ((outputs - clean) ** 2).mean()


def batches(steps: int, batch: int = 8, size: int = 32):
    """Noisy pictures and clean ones."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        clean = discs(rng, batch, size)
        yield clean + 0.3 * rng.normal(size=clean.shape).astype(np.float32), clean


def train_linen(model: UNet, variables, steps: int, size: int = 32):
    """Trained variables, and the losses."""
    return fit_linen(
        lambda variables, noisy, clean: loss(model.apply(variables, noisy), clean),
        variables, optax.adam(2e-3), batches(steps, size=size),
    )  # fmt: skip


def train_nnx(model: UNetNnx, steps: int, size: int = 32) -> list[float]:
    """Trains in place; the losses."""
    return fit_nnx(
        lambda model, noisy, clean: loss(model(noisy), clean), model, optax.adam(2e-3), batches(steps, size=size)
    )


def both_ways(report) -> str:
    """The verdicts on output and input gradient."""
    return f"output {report.verdict}, gradient {report.backward_verdict}"


def main(steps: int = 150, size: int = 32, width: int = 16) -> None:
    """Trains the plain one, the other, and the latter in nnx; audited at random weights, then as trained."""
    x = jnp.zeros((2, size, size, 1))
    for plain in (True, False):
        model = UNet(width, plain)
        variables, losses = train_linen(model, model.init(jax.random.key(0), x), steps, size)
        print(f"linen, plain={plain}: {first_and_last(losses)}")
        for name, redraw in (("random", 8), ("trained", 0)):
            print(f"  {name}: {both_ways(cj.audit(model, variables, x, redraw=redraw))}")
    model = UNetNnx(width, rngs=nnx.Rngs(0))
    print(f"nnx: {first_and_last(train_nnx(model, steps, size))}")
    print(f"  trained: {both_ways(cj.audit(model, x, redraw=0))}")


if __name__ == "__main__":
    main()

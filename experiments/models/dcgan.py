"""A DCGAN whose optimiser keeps the generator's kernels on equal gains, in linen and in nnx.

The layers are ordinary transposed convolutions, so old checkpoints can be trained on: `keep_equal_gains`, the last of
the generator's chain, projects each update. `multi_transform` leaves the discriminator with plain Adam.

Run:     uv run python -m experiments.models.dcgan
Expect:  a minute on two cores; without the projection the gains of phases differ by as much as they are large and
         flat inputs come out with lines, with it they are equal to rounding
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import nnx

import checkerjax.nn.linen as cnn
import checkerjax.nn.nnx as cnnx
from checkerjax.nn.transforms import gain_spread, keep_equal_gains
from experiments.models.training import audited, discs, first_and_last, fit_linen, fit_nnx

NOISE = 16
KEPT = {"generator/up_*/kernel": 2}  # by path, in both trees


class Generator(nn.Module):
    """Noise `[N, 16]` to pictures `[N, size, size, 1]`; linen."""

    size: int = 32  # a multiple of 4
    width: int = 16

    def setup(self):
        self.start = nn.Dense((self.size // 4) ** 2 * 2 * self.width)
        self.up_1 = cnn.ConvTranspose(self.width, (4, 4), (2, 2), use_bias=False)
        self.norm = nn.GroupNorm(num_groups=4)
        self.up_2 = cnn.ConvTranspose(1, (4, 4), (2, 2))

    def __call__(self, noise):
        x = nn.relu(self.start(noise)).reshape(-1, self.size // 4, self.size // 4, 2 * self.width)
        return nn.sigmoid(self.up_2(nn.relu(self.norm(self.up_1(x)))))


class Discriminator(nn.Module):
    """Pictures to logits `[N, 1]`; what it gives back to the generator is blurred before each stride."""

    width: int = 16

    def setup(self):
        self.down_1 = cnn.FIRConv(self.width, (3, 3), down=2)
        self.down_2 = cnn.FIRConv(2 * self.width, (3, 3), down=2)
        self.last = nn.Dense(1)

    def __call__(self, x):
        x = nn.leaky_relu(self.down_2(nn.leaky_relu(self.down_1(x), 0.2)), 0.2)
        return self.last(x.reshape(x.shape[0], -1))


class GAN(nn.Module):
    """Both, as one tree of parameters."""

    size: int = 32
    width: int = 16

    def setup(self):
        self.generator = Generator(self.size, self.width)
        self.discriminator = Discriminator(self.width)

    def __call__(self, noise):
        return self.discriminator(self.generator(noise))

    def generate(self, noise):
        return self.generator(noise)

    def discriminate(self, x):
        return self.discriminator(x)


class GeneratorNnx(nnx.Module):
    """The same for nnx."""

    def __init__(self, size: int, width: int, *, rngs: nnx.Rngs):
        self.size, self.width = size, width
        self.start = nnx.Linear(NOISE, (size // 4) ** 2 * 2 * width, rngs=rngs)
        self.up_1 = cnnx.ConvTranspose(2 * width, width, (4, 4), (2, 2), use_bias=False, rngs=rngs)
        self.norm = nnx.GroupNorm(width, num_groups=4, rngs=rngs)
        self.up_2 = cnnx.ConvTranspose(width, 1, (4, 4), (2, 2), rngs=rngs)

    def __call__(self, noise):
        x = nnx.relu(self.start(noise)).reshape(-1, self.size // 4, self.size // 4, 2 * self.width)
        return nnx.sigmoid(self.up_2(nnx.relu(self.norm(self.up_1(x)))))


class DiscriminatorNnx(nnx.Module):
    """The same for nnx."""

    def __init__(self, size: int, width: int, *, rngs: nnx.Rngs):
        self.down_1 = cnnx.FIRConv(1, width, (3, 3), down=2, rngs=rngs)
        self.down_2 = cnnx.FIRConv(width, 2 * width, (3, 3), down=2, rngs=rngs)
        self.last = nnx.Linear((size // 4) ** 2 * 2 * width, 1, rngs=rngs)

    def __call__(self, x):
        x = nnx.leaky_relu(self.down_2(nnx.leaky_relu(self.down_1(x), 0.2)), 0.2)
        return self.last(x.reshape(x.shape[0], -1))


class GANNnx(nnx.Module):
    """Both."""

    def __init__(self, size: int = 32, width: int = 16, *, rngs: nnx.Rngs):
        self.generator = GeneratorNnx(size, width, rngs=rngs)
        self.discriminator = DiscriminatorNnx(size, width, rngs=rngs)


def losses_of(generate, discriminate, critic, noise, real):
    """The non-saturating losses of both players; `critic` is the discriminator without its gradient."""
    fake = generate(noise)
    fooled = jax.nn.softplus(-critic(fake)).mean()
    told_apart = jax.nn.softplus(-discriminate(real)) + jax.nn.softplus(discriminate(jax.lax.stop_gradient(fake)))
    return fooled + told_apart.mean()


def linen_loss(model: GAN):
    """Of the parameters, noise and real pictures."""

    def loss(params, noise, real):
        def bound(params, method):
            return lambda x: model.apply({"params": params}, x, method=method)

        critic = bound(jax.lax.stop_gradient(params), "discriminate")
        return losses_of(bound(params, "generate"), bound(params, "discriminate"), critic, noise, real)

    return loss


def nnx_loss(model, noise, real):
    """The same of a model."""
    graph, state = nnx.split(model.discriminator)
    critic = nnx.merge(graph, jax.lax.stop_gradient(state))
    return losses_of(model.generator, model.discriminator, critic, noise, real)


def optimizer_of(*, keep: bool) -> optax.GradientTransformation:
    """Adam for both players, and the projection for one."""

    def labels(params: Any) -> Any:
        def player(path, _):
            return jax.tree_util.keystr(path, simple=True, separator="/").split("/")[0]

        return jax.tree_util.tree_map_with_path(player, params)

    adam = optax.adam(1e-3, b1=0.5)
    generator = optax.chain(adam, keep_equal_gains(KEPT)) if keep else adam
    return optax.multi_transform({"generator": generator, "discriminator": adam}, labels)


def batches(steps: int, batch: int = 16, size: int = 32):
    """Noise, and real pictures."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        yield rng.normal(size=(batch, NOISE)).astype(np.float32), discs(rng, batch, size)


def train_linen(model: GAN, params: Any, steps: int, *, keep: bool):
    """Trained parameters, and the losses."""
    return fit_linen(linen_loss(model), params, optimizer_of(keep=keep), batches(steps, size=model.size))


def train_nnx(model: GANNnx, steps: int, *, keep: bool) -> list[float]:
    """Trains in place; the losses."""
    return fit_nnx(nnx_loss, model, optimizer_of(keep=keep), batches(steps, size=model.generator.size))


def spreads(params: Any) -> str:
    """The largest distance of a phase's gain from the mean, over the mean, of each kernel."""
    return ", ".join(f"{path} {float(spread):.1e}" for path, spread in gain_spread(params, KEPT).items())


def main(steps: int = 200, size: int = 32, width: int = 16) -> None:
    """Trains without the projection and with it, then the latter in nnx."""
    noise = jnp.zeros((2, NOISE))
    linen = GAN(size, width)
    for keep in (False, True):
        params = linen.init(jax.random.key(0), noise)["params"]
        params, losses = train_linen(linen, params, steps, keep=keep)
        print(f"linen, keep_equal_gains {keep}: {first_and_last(losses)}; spread of gains: {spreads(params)}")
        print(audited("  generator", lambda p, z: linen.apply({"params": p}, z, method="generate"), params, noise))
    model = GANNnx(size, width, rngs=nnx.Rngs(0))
    print(f"nnx, keep_equal_gains True: {first_and_last(train_nnx(model, steps, keep=True))}; {spreads(model)}")
    print(audited("  generator", model.generator, noise))


if __name__ == "__main__":
    main()

"""A variational autoencoder whose decoder has equal gains by construction, in linen and in nnx.

`equal_gains=True` makes the kernel of a transposed convolution p * box: a flat input gives no lines away from borders,
whatever p is trained to. Nothing in the optimiser or the loss has to know.

Run:     uv run python -m experiments.models.vae
Expect:  half a minute on two cores; a falling loss, and a decoder that is clean before and after training
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import nnx

import checkerjax.nn.linen as cnn
import checkerjax.nn.nnx as cnnx
from experiments.models.training import audited, discs, first_and_last, fit_linen, fit_nnx

LATENT = 8


class VAE(nn.Module):
    """Pictures `[N, size, size, 1]` to as many, through a latent of 8 numbers; linen."""

    size: int = 32  # a multiple of 4
    width: int = 16
    equal_gains: bool = True

    def setup(self):
        self.down_1 = nn.Conv(self.width, (3, 3), strides=2)
        self.down_2 = nn.Conv(2 * self.width, (3, 3), strides=2)
        self.code = nn.Dense(2 * LATENT)
        self.start = nn.Dense((self.size // 4) ** 2 * 2 * self.width)
        self.up_1 = cnn.ConvTranspose(self.width, (4, 4), (2, 2), equal_gains=self.equal_gains)
        self.up_2 = cnn.ConvTranspose(self.width, (4, 4), (2, 2), equal_gains=self.equal_gains)
        self.last = nn.Conv(1, (3, 3))

    def encode(self, x):
        x = nn.relu(self.down_2(nn.relu(self.down_1(x))))
        return jnp.split(self.code(x.reshape(x.shape[0], -1)), 2, axis=-1)

    def decode(self, z):
        x = nn.relu(self.start(z)).reshape(-1, self.size // 4, self.size // 4, 2 * self.width)
        return self.last(nn.relu(self.up_2(nn.relu(self.up_1(x)))))

    def __call__(self, x, noise):
        mean, log_variance = self.encode(x)
        return self.decode(mean + jnp.exp(log_variance / 2) * noise), mean, log_variance


class VAENnx(nnx.Module):
    """The same for nnx."""

    def __init__(self, size: int = 32, width: int = 16, equal_gains: bool = True, *, rngs: nnx.Rngs):
        self.size, self.width = size, width
        features = (size // 4) ** 2 * 2 * width
        self.down_1 = nnx.Conv(1, width, (3, 3), strides=2, rngs=rngs)
        self.down_2 = nnx.Conv(width, 2 * width, (3, 3), strides=2, rngs=rngs)
        self.code = nnx.Linear(features, 2 * LATENT, rngs=rngs)
        self.start = nnx.Linear(LATENT, features, rngs=rngs)
        self.up_1 = cnnx.ConvTranspose(2 * width, width, (4, 4), (2, 2), equal_gains=equal_gains, rngs=rngs)
        self.up_2 = cnnx.ConvTranspose(width, width, (4, 4), (2, 2), equal_gains=equal_gains, rngs=rngs)
        self.last = nnx.Conv(width, 1, (3, 3), rngs=rngs)

    def encode(self, x):
        x = nnx.relu(self.down_2(nnx.relu(self.down_1(x))))
        return jnp.split(self.code(x.reshape(x.shape[0], -1)), 2, axis=-1)

    def decode(self, z):
        x = nnx.relu(self.start(z)).reshape(-1, self.size // 4, self.size // 4, 2 * self.width)
        return self.last(nnx.relu(self.up_2(nnx.relu(self.up_1(x)))))

    def __call__(self, x, noise):
        mean, log_variance = self.encode(x)
        return self.decode(mean + jnp.exp(log_variance / 2) * noise), mean, log_variance


def loss(outputs, x):
    """Negative evidence bound per picture, for pixels that are coins of probability x."""
    logits, mean, log_variance = outputs
    pixels = optax.sigmoid_binary_cross_entropy(logits, x).sum((1, 2, 3))
    divergence = 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1)
    return (pixels + divergence).mean()


def batches(steps: int, batch: int = 16, size: int = 32):
    """Pictures, and the noise of the latent."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        yield discs(rng, batch, size), rng.normal(size=(batch, LATENT)).astype(np.float32)


def train_linen(model: VAE, variables, steps: int):
    """Trained variables, and the losses."""
    return fit_linen(
        lambda variables, x, noise: loss(model.apply(variables, x, noise), x),
        variables, optax.adam(3e-3), batches(steps, size=model.size),
    )  # fmt: skip


def train_nnx(model: VAENnx, steps: int) -> list[float]:
    """Trains in place; the losses."""
    return fit_nnx(
        lambda model, x, noise: loss(model(x, noise), x), model, optax.adam(3e-3), batches(steps, size=model.size)
    )


def main(steps: int = 200, size: int = 32, width: int = 16) -> None:
    """Trains the plain decoder, the one with equal gains, and the latter in nnx."""
    latents = jnp.zeros((2, LATENT))
    for equal_gains in (False, True):
        model = VAE(size, width, equal_gains)
        variables = model.init(jax.random.key(0), *next(batches(1, size=size)))
        variables, losses = train_linen(model, variables, steps)
        print(f"linen, equal_gains={equal_gains}: {first_and_last(losses)}")
        print(audited("  decoder", lambda v, z, model=model: model.apply(v, z, method="decode"), variables, latents))
    model = VAENnx(size, width, rngs=nnx.Rngs(0))
    print(audited("nnx, untrained decoder", model.decode, latents))
    print(f"nnx, equal_gains=True: {first_and_last(train_nnx(model, steps))}")
    print(audited("  decoder", model.decode, latents))


if __name__ == "__main__":
    main()

"""A block that makes sound of frames, 16 samples of each, in linen and in nnx: one spatial axis.

First a transposed convolution with equal gains by construction (in one dimension that is every kernel that has them),
then an upsampling convolution through a filter, `FIRConv`. Vocoders with plain transposed layers hum at the frame rate
and its multiples: here a steady input gives a steady output.

Run:     uv run python -m experiments.models.vocoder
Expect:  a minute on two cores; the plain one hums ("lines" or "both"), the other does not. What may be left is "power":
         the samples of a frame differ in variance where the sound is no steady one.
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
from experiments.models.training import audited, first_and_last, fit_linen, fit_nnx, tones

HOP = 16  # samples a frame, 8 of the first layer times 2 of the second
FEATURES = HOP + 1  # magnitudes of the spectrum of two frames


class Vocoder(nn.Module):
    """Frames `[N, T, 17]` to sound `[N, 16 T, 1]`; linen."""

    width: int = 16
    plain: bool = False

    def setup(self):
        self.enter = nn.Conv(2 * self.width, (3,))
        self.up_1 = cnn.ConvTranspose(self.width, (16,), (8,), equal_gains=not self.plain)
        self.wide_1 = nn.Conv(self.width, (3,), kernel_dilation=3)
        if self.plain:
            self.up_2 = nn.ConvTranspose(self.width, (4,), (2,))
        else:
            self.up_2 = cnn.FIRConv(self.width, (4,), up=2)
        self.wide_2 = nn.Conv(self.width, (3,), kernel_dilation=3)
        self.leave = nn.Conv(1, (7,))

    def __call__(self, frames):
        x = self.up_1(nn.leaky_relu(self.enter(frames), 0.1))
        x = x + self.wide_1(nn.leaky_relu(x, 0.1))
        x = self.up_2(nn.leaky_relu(x, 0.1))
        x = x + self.wide_2(nn.leaky_relu(x, 0.1))
        return nn.tanh(self.leave(nn.leaky_relu(x, 0.1)))


class VocoderNnx(nnx.Module):
    """The same for nnx, the one that does not hum."""

    def __init__(self, width: int = 16, *, rngs: nnx.Rngs):
        self.enter = nnx.Conv(FEATURES, 2 * width, (3,), rngs=rngs)
        self.up_1 = cnnx.ConvTranspose(2 * width, width, (16,), (8,), equal_gains=True, rngs=rngs)
        self.wide_1 = nnx.Conv(width, width, (3,), kernel_dilation=3, rngs=rngs)
        self.up_2 = cnnx.FIRConv(width, width, (4,), up=2, rngs=rngs)
        self.wide_2 = nnx.Conv(width, width, (3,), kernel_dilation=3, rngs=rngs)
        self.leave = nnx.Conv(width, 1, (7,), rngs=rngs)

    def __call__(self, frames):
        x = self.up_1(nnx.leaky_relu(self.enter(frames), 0.1))
        x = x + self.wide_1(nnx.leaky_relu(x, 0.1))
        x = self.up_2(nnx.leaky_relu(x, 0.1))
        x = x + self.wide_2(nnx.leaky_relu(x, 0.1))
        return nnx.tanh(self.leave(nnx.leaky_relu(x, 0.1)))


def spectra(sound):
    """`[N, T - 1, 17]`: magnitudes of windowed pairs of frames, the one and the next."""
    frames = sound.reshape(sound.shape[0], -1, HOP)
    pairs = jnp.concatenate([frames[:, :-1], frames[:, 1:]], -1) * np.hanning(2 * HOP).astype(np.float32)
    spectrum = jnp.fft.rfft(pairs)
    return jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-6)  # its gradient is finite in silence


def loss(sound, target):
    """Mean distance of magnitudes: phases are free."""
    return jnp.abs(spectra(sound) - spectra(target)).mean()


def batches(steps: int, batch: int = 8, frames: int = 32):
    """Frames of sounds, and the sounds."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        sound = tones(rng, batch, frames * HOP)
        features = np.asarray(spectra(sound))
        yield np.concatenate([features, features[:, -1:]], 1), sound


def train_linen(model: Vocoder, variables, steps: int, frames: int = 32):
    """Trained variables, and the losses."""
    return fit_linen(
        lambda variables, x, sound: loss(model.apply(variables, x), sound),
        variables, optax.adam(2e-3), batches(steps, frames=frames),
    )  # fmt: skip


def train_nnx(model: VocoderNnx, steps: int, frames: int = 32) -> list[float]:
    """Trains in place; the losses."""
    return fit_nnx(
        lambda model, x, sound: loss(model(x), sound), model, optax.adam(2e-3), batches(steps, frames=frames)
    )


def main(steps: int = 300, frames: int = 32, width: int = 16) -> None:
    """Trains the plain one, the other, and the latter in nnx."""
    x = jnp.zeros((2, frames, FEATURES))
    for plain in (True, False):
        model = Vocoder(width, plain)
        variables, losses = train_linen(model, model.init(jax.random.key(0), x), steps, frames)
        print(f"linen, plain={plain}: {first_and_last(losses)}")
        print(audited("  trained", model, variables, x))
    model = VocoderNnx(width, rngs=nnx.Rngs(0))
    print(f"nnx: {first_and_last(train_nnx(model, steps, frames))}")
    print(audited("  trained", model, x))


if __name__ == "__main__":
    main()

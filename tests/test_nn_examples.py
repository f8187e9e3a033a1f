"""The example models: both ways the same training, step by step, and no grid where they say there is none."""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import checkerjax as cj
from checkerjax.nn.transforms import gain_spread

ROUNDING: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}  # float32 through half a dozen layers
SIZE, WIDTH = 16, 4


@pytest.fixture
def models(monkeypatch, request):
    """The example of a name, importable as its command imports it; optax promotes its step count."""
    monkeypatch.syspath_prepend(str(request.config.rootpath))
    with jax.numpy_dtype_promotion("standard"):
        yield lambda name: importlib.import_module(f"experiments.models.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        sys.modules.pop(name)


def drawn(rng, model, *args) -> Any:
    """Parameters of a linen model, drawn on the host as Flax draws them: compiling its draws would take most time."""

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            return (rng.normal(size=leaf.shape) / math.sqrt(math.prod(leaf.shape[:-1]))).astype(np.float32)
        return np.full(leaf.shape, name == "scale", np.float32)

    shapes = jax.eval_shape(model.init, jax.random.key(0), *args)["params"]
    return jax.tree_util.tree_map_with_path(draw, shapes)


def with_parameters(make, params) -> Any:
    """The nnx model that `make` makes, with the parameters of the linen one, which have the same names and shapes."""
    graph, state = nnx.split(nnx.eval_shape(make))
    assert jax.tree.map(jnp.shape, nnx.to_pure_dict(state)) == jax.tree.map(jnp.shape, params)
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, params))
    return nnx.merge(graph, state)


def audited(*args) -> Any:
    """Of the parameters as they are."""
    return cj.audit(*args, redraw=0, backward=False).verdict


def test_vae(models, rng):
    vae, steps = models("vae"), 10
    model, (x, noise) = vae.VAE(SIZE, WIDTH), next(vae.batches(1, 2, SIZE))
    params = drawn(rng, model, x, noise)
    other = with_parameters(lambda: vae.VAENnx(SIZE, WIDTH, rngs=nnx.Rngs(0)), params)
    variables, losses = vae.train_linen(model, {"params": params}, steps)
    assert np.mean(losses[-3:]) < 0.95 * losses[0]
    np.testing.assert_allclose(vae.train_nnx(other, steps), losses, **ROUNDING)
    for a, b in zip(other(x, noise), model.apply(variables, x, noise)):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)  # after as many steps of Adam
    assert other(x, noise)[0].shape == x.shape
    assert audited(other.decode, jnp.zeros((2, vae.LATENT))) in ("clean", "power")


def test_dcgan(models, rng):
    dcgan, steps = models("dcgan"), 10
    model, (noise, real) = dcgan.GAN(SIZE, WIDTH), next(dcgan.batches(1, 2, SIZE))
    params = drawn(rng, model, noise)
    other = with_parameters(lambda: dcgan.GANNnx(SIZE, WIDTH, rngs=nnx.Rngs(0)), params)
    assert min(gain_spread(params, dcgan.KEPT).values()) > 0.1
    trained, losses = dcgan.train_linen(model, params, steps, keep=True)
    np.testing.assert_allclose(dcgan.train_nnx(other, steps, keep=True), losses, **ROUNDING)
    for tree in (trained, other):
        assert max(gain_spread(tree, dcgan.KEPT).values()) < 1e-5
    np.testing.assert_allclose(
        dcgan.nnx_loss(other, noise, real), dcgan.linen_loss(model)(trained, noise, real), rtol=1e-3
    )
    assert other.generator(noise).shape == real.shape
    verdicts = [audited(with_parameters(lambda: dcgan.GANNnx(SIZE, WIDTH, rngs=nnx.Rngs(0)), p).generator, noise)
                for p in (params, trained)]  # fmt: skip
    assert verdicts[0] in ("lines", "both")
    assert verdicts[1] in ("clean", "power")


def test_each_player_of_the_gan_has_the_gradient_of_its_own_loss(models, rng):
    dcgan = models("dcgan")
    model, (noise, real) = dcgan.GAN(SIZE, WIDTH), next(dcgan.batches(1, 4, SIZE))
    params = drawn(rng, model, noise)

    def judged(p, x) -> Any:
        return model.apply({"params": p}, x, method="discriminate")

    def made(p) -> Any:
        return model.apply({"params": p}, noise, method="generate")

    def told_apart(p):
        return (jax.nn.softplus(-judged(p, real)) + jax.nn.softplus(judged(p, made(params)))).mean()

    def fooled(p):
        return jax.nn.softplus(-judged(params, made(p))).mean()

    losses = jax.grad(lambda p: dcgan.linen_loss(model)(p, noise, real))
    both = jax.jit(lambda p: [losses(p), jax.grad(told_apart)(p), jax.grad(fooled)(p)])(params)
    expected = {"discriminator": both[1]["discriminator"], "generator": both[2]["generator"]}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **ROUNDING), dict(both[0]), expected)


def test_unet(models, rng):
    unet, steps = models("unet"), 10
    model, x = unet.UNet(WIDTH), jnp.zeros((2, 32, 32, 1))
    params = drawn(rng, model, x)
    other = with_parameters(lambda: unet.UNetNnx(WIDTH, rngs=nnx.Rngs(0)), params)
    _, losses = unet.train_linen(model, {"params": params}, steps, SIZE)
    assert np.mean(losses[-3:]) < 0.95 * losses[0]
    np.testing.assert_allclose(unet.train_nnx(other, steps, SIZE), losses, **ROUNDING)
    assert other(x).shape == x.shape
    assert audited(other, x) == "clean"
    plain = unet.UNet(2 * WIDTH, plain=True)
    assert audited(plain, {"params": drawn(rng, plain, x)}, x) in ("lines", "both")


def test_vocoder(models, rng):
    vocoder, steps = models("vocoder"), 60
    model, (frames, sound) = vocoder.Vocoder(WIDTH), next(vocoder.batches(1, 2, 16))
    params = drawn(rng, model, frames)
    other = with_parameters(lambda: vocoder.VocoderNnx(WIDTH, rngs=nnx.Rngs(0)), params)
    variables, losses = vocoder.train_linen(model, {"params": params}, steps, 16)
    assert np.mean(losses[-20:]) < 0.95 * np.mean(losses[:10])  # of other sounds each
    np.testing.assert_allclose(vocoder.train_nnx(other, 10, 16), losses[:10], **ROUNDING)
    assert other(frames).shape == sound.shape
    assert audited(model, variables, frames) in ("clean", "power")
    steady = jnp.broadcast_to(frames[:1, :1], (1, 16, vocoder.FEATURES))
    inside = slice(6 * vocoder.HOP, -6 * vocoder.HOP)  # beyond the reach of the borders
    hums = []
    for kind, weights in ((model, variables), (model.clone(plain=True), None)):
        weights = weights or {"params": drawn(rng, kind, frames)}
        y = np.asarray(kind.apply(weights, steady))[:, inside]
        hums.append(np.ptp(y) / np.abs(y).max())
    assert hums[0] < 1e-5
    assert hums[1] > 0.1


def test_an_example_tells_what_it_found(models, capsys):
    models("vocoder").main(steps=2, frames=16, width=WIDTH)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 6
    assert told[0].startswith("linen, plain=True: loss ")
    assert all("k(16,) s(8,)" in line for line in told[1::2])

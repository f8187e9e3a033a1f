"""Models that others published, as a newcomer would audit them. Each test skips where its package is not installed.

`pip install flaxmodels "diffusers==0.35.2"` brings them; random weights are enough, so nothing is downloaded.
"""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import pytest

import checkerjax

pytestmark = [pytest.mark.filterwarnings("default")]  # other packages' own
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _as_users_have_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def rows(findings, role):
    return [(f.kernel_size[0], f.stride[0], f.grade) for f in findings if f.role == role]


def test_the_stem_of_resnet18_has_four_windows_beside_three_and_shortcuts_that_skip_pixels():
    models = pytest.importorskip("flaxmodels")
    model = models.ResNet18(output="softmax", pretrained=None, normalize=False)
    report = checkerjax.audit(model, jnp.ones((1, 64, 64, 3)), key=KEY, static=True)
    assert rows(report.forward, "down") == [
        (7, 2, "tied"), (3, 2, "tied"), *[(3, 2, "tied"), (1, 2, "tied")] * 3
    ]  # fmt: skip
    ups = rows(report.backward, "up")
    assert ups == [*[(1, 2, "holes"), (3, 2, "uneven")] * 3, (3, 2, "uneven"), (7, 2, "uneven")]
    stem = report.backward[-1]
    assert sorted(stem.counts[0]) == [3, 4]
    assert "Conv_0" in stem.path
    assert "resnet.py" in stem.source
    assert not report.not_understood


def test_vgg16_sends_each_gradient_to_one_of_four_pixels():
    models = pytest.importorskip("flaxmodels")
    model = models.VGG16(output="softmax", pretrained=None, normalize=False, include_head=False)
    report = checkerjax.audit(model, jnp.ones((1, 64, 64, 3)), key=KEY, static=True)
    assert rows(report.backward, "up") == [(2, 2, "untied")] * 5
    assert not report.not_understood


def vae():
    diffusers = pytest.importorskip("diffusers")
    if not hasattr(diffusers, "FlaxAutoencoderKL"):
        pytest.skip("this diffusers has no Flax models")
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    kind = importlib.import_module("diffusers").FlaxAutoencoderKL
    model = kind(block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, **blocks)
    return model, model.init_weights(KEY)


def test_the_decoder_of_the_diffusers_vae_is_clean():
    model, params = vae()
    decode = lambda p, z: model.apply({"params": p}, z, method=model.decode).sample  # noqa: E731
    report = checkerjax.audit(decode, params, jnp.ones((1, 4, 16, 16)), layout="channel_first", key=KEY, redraw=8)
    assert rows(report.forward, "up") == [(3, 2, "tied")]
    assert report.verdict in ("clean", "power")
    assert report.output.lattice_ratio == pytest.approx(0, abs=1e-3)
    assert not report.not_understood


def test_the_encoder_of_the_diffusers_vae_has_uneven_gradients():
    model, params = vae()
    encode = lambda p, x: model.apply({"params": p}, x, method=model.encode).latent_dist.mean  # noqa: E731
    report = checkerjax.audit(encode, params, jnp.ones((1, 3, 32, 32)), layout="channel_first", key=KEY, static=True)
    assert rows(report.forward, "down") == [(3, 2, "tied")]
    assert rows(report.backward, "up") == [(3, 2, "uneven")]
    assert not report.not_understood

"""Inputs, cotangents and directions of sweeps, from their definitions in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
import pytest

from checkerjax import conv_transpose, stacks
from checkerjax.ops import implied
from checkerjax.sweeps import Config, sweep
from checkerjax.sweeps._noise import pink

pytest.importorskip("xarray")

SIZE = 8
CONV = "conv k3 s2 c4"


def drawn(config: Config, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of a one-layer configuration and the normals after it, float64."""
    key = jax.random.fold_in(jax.random.key(0), seed)
    (params,) = stacks.init(key, config.stack, channels=config.channels, width=config.width)
    kernel = np.asarray(params["kernel"], np.float64)
    normals = np.asarray(jax.random.normal(key, (20000,)), np.float64)
    return kernel, normals[kernel.size :]


def cut(normals: np.ndarray, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    parts = np.split(normals, np.cumsum([int(np.prod(shape)) for shape in shapes]))
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Stride 2, "SAME" on an even size: nothing is padded before."""
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    out = np.zeros((len(x), SIZE // 2, SIZE // 2, kernel.shape[3]))
    for m, n, i, j in itertools.product(range(SIZE // 2), range(SIZE // 2), range(3), range(3)):
        out[:, m, n] += padded[:, 2 * m + i, 2 * n + j] @ kernel[i, j]
    return out


def to_input(ct: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    out = np.zeros((len(ct), SIZE + 1, SIZE + 1, kernel.shape[2]))
    for m, n, i, j in itertools.product(range(SIZE // 2), range(SIZE // 2), range(3), range(3)):
        out[:, 2 * m + i, 2 * n + j] += ct[:, m, n] @ kernel[i, j].T
    return out[:, :SIZE, :SIZE]


def to_kernel(ct: np.ndarray, x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    out = np.zeros((3, 3, x.shape[3], ct.shape[3]))
    for m, n, i, j in itertools.product(range(SIZE // 2), range(SIZE // 2), range(3), range(3)):
        out[i, j] += padded[:, 2 * m + i, 2 * n + j].T @ ct[:, m, n]
    return out


def assert_measured(row, lines: np.ndarray, powers: np.ndarray) -> None:
    """Line power, variance and phase powers of period 2, of fields `[image, y, x, C]`."""
    for i, (line, power) in enumerate(zip(lines, powers)):
        means = np.stack([line[a::2, b::2].mean((0, 1)) for a in (0, 1) for b in (0, 1)])
        expected = ((means - means.mean(0)) ** 2).mean(0).sum()  # Parseval over the four phases
        np.testing.assert_allclose(row.line_power.values[i, 0], expected, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(row.variance.values[i], line.var((0, 1)).sum(), rtol=1e-4)
        phases = [[(power[a::2, b::2] ** 2).mean((0, 1)).sum() for b in (0, 1)] for a in (0, 1)]
        np.testing.assert_allclose(row.phase_power.values[i], phases, rtol=1e-4)


def measured(config: Config):
    return sweep([config], seeds=[3]).isel(config=0, seed=0)


def test_a_constant_input_is_constant():
    config = Config("a", "upsample s2", input="constant", size=4)
    row = measured(config)
    assert row.variance.max() < 1e-12 * row.dc_power.max()
    _, normals = np.zeros(0), np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(0), 3), (96,)))
    np.testing.assert_allclose(row.dc_power, (normals.reshape(2, 16, 3)[:, 0] ** 2).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (9, 14)])
def test_pink_noise_has_power_one_over_f_squared(size):
    field = np.asarray(pink(jax.random.normal(jax.random.key(0), (4000, *size, 1))), np.float64)[..., 0]
    power = (np.abs(np.fft.fft2(field)) ** 2).mean(0) / np.prod(size) ** 2
    f2 = np.add.outer(np.fft.fftfreq(size[0]) ** 2, np.fft.fftfreq(size[1]) ** 2)
    assert power[0, 0] < 1e-12
    expected = 1 / np.where(f2 == 0, np.inf, f2)
    np.testing.assert_allclose(power / power.sum(), expected / expected.sum(), rtol=0.15, atol=1e-12)
    np.testing.assert_allclose((field**2).mean(), 1, rtol=0.02)


def test_a_pink_input_is_measured():
    row = measured(Config("a", "upsample s1", input="pink", size=SIZE))
    normals = jax.random.normal(jax.random.fold_in(jax.random.key(0), 3), (2 * SIZE * SIZE * 3,))
    field = np.asarray(pink(normals.reshape(2, SIZE, SIZE, 3)), np.float64)
    assert_measured(row, field, field)


COTANGENTS = ("probe", "constant", "white", "mse", "logistic")


def fields(config: Config, cotangent: str, pull, forward) -> list[np.ndarray]:
    """The gradient for the lines and the one for the powers."""
    kernel, normals = drawn(config, 3)
    out = (2, SIZE // 2, SIZE // 2, 4)
    shapes = [(2, SIZE, SIZE, 3)] if cotangent == "logistic" else [(2, 1, 1, 4), out, (2, SIZE, SIZE, 3)]
    *probes, x = cut(normals, *shapes)
    y = forward(x, kernel)
    if cotangent == "logistic":
        found = [-1 / (1 + np.exp(y))] * 2
    else:
        flat, white = np.broadcast_to(probes[0], out), probes[1]
        target = np.asarray(pink(jax.numpy.asarray(white, "float32")), np.float64)
        one = {"constant": flat, "white": white, "mse": y - target}.get(cotangent)
        found = [flat, white] if one is None else [one, one]
    return [pull(ct, kernel, x) for ct in found]


@pytest.mark.parametrize("cotangent", COTANGENTS)
def test_input_gradients(cotangent):
    config = Config("a", CONV, direction="gradient", input="white", cotangent=cotangent, size=SIZE)
    lines, powers = fields(config, cotangent, lambda ct, kernel, x: to_input(ct, kernel), convolve)
    assert_measured(measured(config), lines, powers)


@pytest.mark.parametrize("cotangent", COTANGENTS)
def test_kernel_gradients_are_measured_by_tap_in_whole_periods(cotangent):
    config = Config("a", CONV, direction="weights", input="white", cotangent=cotangent, size=SIZE)
    assert config.field_size == (2, 2)
    lines, powers = fields(config, cotangent, lambda ct, kernel, x: to_kernel(ct, x), convolve)
    taps = [gradient.reshape(1, 3, 3, 12)[:, :2, :2] for gradient in (lines, powers)]
    row = measured(config)
    assert row.sizes["image"] == 1
    assert_measured(row, *taps)


BAD = [
    ({"direction": "weights", "margin": 2}, "direction 'weights' measures all taps; margin must be 0, got 2"),
    ({"direction": "weights", "stack": "conv k3 c4, relu"}, "needs a conv, deconv or resize layer with a stride"),
    ({"direction": "weights", "periods": (4,)}, r"needs kernels of at least one period, 4; got \(3, 3\)"),
    ({"direction": "weights", "input": "probe"}, "a gradient is taken at input 'constant'"),
    ({"cotangent": "mes"}, "cotangent must be one of .*; did you mean 'mse'"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_gradients_are_refused(change, message):
    good: dict[str, Any] = {"stack": CONV, "direction": "gradient", "input": "white", "size": SIZE}
    Config("a", **good)
    with pytest.raises(ValueError, match=message):
        Config("a", **{**good, **change})


def test_implied_weights_have_the_distribution_of_weights():
    """The covariance of the output at fixed input, over seeds; 40 channels and 3 x 3 positions of 2 images."""
    grid = implied.Grid((3, 3), (5, 4), (6, 6), (2, 2), (1, 1), (2, 1))
    x = jax.random.normal(jax.random.key(1), (2, 3, 3, 40))
    count = implied.count(x.shape, grid, 2)
    assert count < 5 * 4 * 40 * 2 / 4

    def draw(key):
        return implied.scatter(x, jax.random.normal(key, (count,)), grid, 2, 0.1)

    found = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), 20000)), np.float64)
    flat = found.reshape(len(found), -1)
    covariance = np.cov(flat.T)
    # The output is linear in the kernel: its covariance is the std squared times the map's own Gram matrix.
    kernel_map = jax.vmap(lambda k: conv_transpose(x, k.reshape(5, 4, 40, 2), stride=2, padding=((2, 1), (1, 1))))
    matrix = np.asarray(kernel_map(jax.numpy.eye(5 * 4 * 40 * 2)), np.float64).reshape(1600, -1)
    expected = 0.01 * matrix.T @ matrix
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)) + expected**2)
    errors = (covariance - expected) / (scale / np.sqrt(len(flat)))
    assert np.abs(errors).max() < 5.5  # of 10,000 entries
    assert 0.9 < errors.std() < 1.1
    assert np.abs(flat.mean(0)).max() < 5 * np.sqrt(np.diag(expected).max() / len(flat))


def test_implied_sweeps_agree_with_drawn_ones():
    stack = "deconv k4 s2 c6, relu, deconv k3 s2 c3, tanh"
    configs = [Config(w, stack, input="white", size=3, channels=64, batch=2, weights=w) for w in ("drawn", "implied")]
    assert configs[1].weight_count < 0.4 * configs[0].weight_count
    found = sweep(configs, seeds=4000)
    for name in ("variance", "line_power", "phase_power"):
        values = found[name].squeeze().values
        mean, std = values.mean(1), values.std(1)
        assert (np.abs(mean[0] - mean[1]) < 5 * np.hypot(std[0], std[1]) / np.sqrt(4000)).all(), name
    with pytest.raises(ValueError, match="weights='implied' is for direction 'forward' and one input"):
        Config("a", stack, input="probe", size=3, weights="implied")

"""Random networks agree with the counts: second moments, and the powers of lines, at random initialisation."""

import dataclasses
import itertools
import math
import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax.overlap import count
from checkerjax.stacks import (
    Conv,
    Deconv,
    LeakyRelu,
    Relu,
    ResizeConv,
    SubPixel,
    apply,
    format_stack,
    init_from_normals,
    normal_count,
)

DRAWS = 4096
FALSE_ALARM = 1e-4  # of a correct build, over all stacks and pixels
PAD_MODES = ("zeros", "edge", "reflect", "symmetric", "wrap")
ORDERS = ("depth_first", "channel_first")


@dataclasses.dataclass(frozen=True)
class Case:
    """A random stack and what it runs on."""

    layers: tuple
    size: tuple[int, ...]
    channels: int
    width: int
    initialiser: str
    expected: np.ndarray  # counts, of the output's size


def random_layer(rng, ndim, room):
    """A learned layer that upsamples by at most `room` along each axis, and its scale."""
    kind = rng.choice(["conv", "deconv", "deconv", "subpixel", "resize"])
    k, scale = int(rng.integers(1, 6)), int(rng.integers(1, min(room, 4) + 1))
    padding = [*["SAME"] * 3, *["VALID"] * 3, 0, 1, 2][rng.integers(9)]
    mode = PAD_MODES[rng.integers(5)]
    if kind == "conv":
        return Conv(k, int(rng.integers(1, 3)), padding=padding, pad_mode=mode), 1
    if kind == "deconv":
        sizes = tuple(int(n) for n in rng.integers(1, 7, size=ndim))
        return Deconv(sizes, scale, padding=padding), scale
    if kind == "subpixel":
        return SubPixel(min(k, 4), scale, padding=padding, order=ORDERS[rng.integers(2)]), scale
    return ResizeConv(k, scale, padding=padding, pad_mode=mode), scale


def random_case(rng):
    """A stack that fits its input and gives at least two outputs."""
    ndim = 1 if rng.random() < 0.8 else 2
    while True:
        size = tuple(int(n) for n in rng.integers(3, 7 if ndim == 1 else 5, size=ndim))
        room, layers = (12, 4)[ndim - 1], []
        for _ in range(int(rng.integers(1, 4 if ndim == 1 else 3))):
            layer, scale = random_layer(rng, ndim, room)
            room //= scale
            after = rng.choice(["relu", "leaky", "none"], p=[0.6, 0.2, 0.2])
            layers += [layer, *{"relu": [Relu()], "leaky": [LeakyRelu(float(rng.uniform(-0.5, 1)))], "none": []}[after]]
        channels, width = (int(n) for n in rng.integers(1, 4, size=2))
        initialiser = str(rng.choice(["lecun", "he", "normal(0.3)"]))
        try:
            expected = count(layers, size)
        except ValueError:  # a field shorter than a kernel, or nothing left: draw another
            continue
        if expected.size > 1 and expected.any():
            return Case(tuple(layers), size, channels, width, initialiser, expected)


def second_moments(case, normals, flat):
    """Squares of the output for a flat input, `[draws, pixels]`, averaged over channels.

    Each draw is divided by the squared norms of its kernels. A normal kernel's norm is independent of its direction, so
    the expected map keeps its shape; without the norms every term is bounded, and means of them are soon normal.
    """

    def one(row):
        params = init_from_normals(
            row,
            case.layers,
            channels=case.channels,
            ndim=len(case.size),
            width=case.width,
            initialiser=case.initialiser,
        )
        y = apply(params, case.layers, flat, precision="highest")
        norms = math.prod(jnp.sum(kernel * kernel) for kernel in jax.tree.leaves(params))
        return jnp.mean(y * y, axis=(0, -1)) / norms

    return np.asarray(jax.jit(lambda rows: jax.lax.map(one, rows))(normals), np.float64).reshape(len(normals), -1)


def largest_deviation(moments, counts):
    """The largest |z| over pixels of the hypothesis that the expected moments are proportional to `counts`.

    Under it, moment minus share of the draw's total has mean zero at every pixel, exactly and for any number of draws.
    """
    share = counts.ravel() / counts.sum()
    excess = moments - share * moments.sum(axis=1, keepdims=True)
    rounding = 1e-5 * moments.mean()  # where an excess is zero for each draw, float32 leaves some 1e-6 of the moments
    return np.max(np.abs(excess.mean(0)) / (excess.std(0) / math.sqrt(len(moments)) + rounding))


def with_larger_kernel(case):
    """The counts of the same stack with one more tap in its first deconvolution; None where they hardly differ."""
    first = next((i for i, layer in enumerate(case.layers) if isinstance(layer, Deconv)), None)
    if first is None:
        return None
    kernel = np.broadcast_to(case.layers[first].kernel, len(case.size)) + 1
    wrong = dataclasses.replace(case.layers[first], kernel=tuple(kernel.tolist()))
    counts = count((*case.layers[:first], wrong, *case.layers[first + 1 :]), case.size)
    if counts.shape != case.expected.shape:
        return None
    return counts if np.abs(counts / counts.max() - case.expected / case.expected.max()).max() > 0.1 else None


def test_second_moments_of_200_random_stacks_are_proportional_to_their_counts():
    rng = np.random.default_rng(20161017)
    cases = [random_case(rng) for _ in range(200)]
    pixels = sum(case.expected.size for case in cases)
    limit = statistics.NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * pixels))
    rejected = []
    for case in cases:
        needed = normal_count(case.layers, channels=case.channels, ndim=len(case.size), width=case.width)
        normals = rng.standard_normal((DRAWS, needed), dtype=np.float32)
        flat = np.broadcast_to(rng.standard_normal(case.channels, dtype=np.float32), (1, *case.size, case.channels))
        moments = second_moments(case, normals, flat)
        name = format_stack(case.layers), case.size, case.channels, case.width
        assert np.all(moments[:, case.expected.ravel() == 0] == 0), name
        assert largest_deviation(moments, case.expected) < limit, name
        wrong = with_larger_kernel(case)
        if wrong is not None:
            rejected.append(largest_deviation(moments, wrong) > limit)
    assert len(rejected) > 30
    assert np.mean(rejected) > 0.85  # some of the wrong counts differ little, some outputs hardly vary


@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize(("k", "s"), [(1, 2), (3, 2), (4, 2), (5, 2), (2, 3), (3, 3), (5, 3), (6, 4)])
def test_lines_of_a_flat_input_have_the_expected_power_of_dc_for_any_kernel_and_stride(rng, ndim, k, s):
    power = line_powers(rng, Deconv(k, s, features=512, padding="VALID"), ndim)
    # Gains are normal, so the power of a line has a standard deviation of at most sqrt(2) means. 5.5 standard errors
    # on some 130 lines: a false alarm below once in 10,000 runs.
    assert np.abs(power / s ** (-2 * ndim) - 1).max() < 5.5 * (2 / 4096) ** 0.5
    share = 1 - power.flat[0] / power.sum()
    assert share == pytest.approx(1 - s**-ndim, abs=5.5 * 0.25 * (4 / 4096) ** 0.5)


def line_powers(rng, layer, ndim):
    """E|Y(m / s)|^2 at each m, `[s] * ndim`, over 4096 kernels, for an input of ones."""
    s = layer.stride
    size = 2 + -(-layer.kernel // s) + 1
    start = s * -(-(layer.kernel - 1) // s)
    total = np.zeros((s,) * ndim)
    for _ in range(8):
        normals = rng.standard_normal(normal_count(layer, channels=1, ndim=ndim), dtype=np.float32)
        y = apply(init_from_normals(normals, layer, channels=1, ndim=ndim), layer, jnp.ones((1, *(size,) * ndim, 1)))
        period = np.asarray(y, np.float64)[(0, *(slice(start, start + s),) * ndim)]
        total += (np.abs(np.fft.fftn(period, axes=range(ndim)) / s**ndim) ** 2).mean(-1)
    return total / 8


@pytest.mark.parametrize(("k", "s"), [(1, 2), (3, 2), (4, 2), (3, 3), (5, 4)])
def test_a_nearest_resize_convolution_of_a_flat_input_has_no_lines_at_all(rng, k, s):
    layer = ResizeConv(k, s, features=3, padding="VALID", initialiser="normal(1)")
    weights = rng.integers(-9, 10, size=k * k * 2 * 3).astype(np.float32)  # whole numbers: their sums are exact
    flat = jnp.broadcast_to(jnp.array([2.0, -3.0]), (1, 4, 4, 2))
    y = np.asarray(apply(init_from_normals(weights, layer, channels=2), layer, flat))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert y.any()


def line_share(rng, layer, ndim, units=64):
    """Lines of period 2 over all power but DC, of a layer on a rectified white field, and its standard error.

    A ratio of sums over `units` independent fields, each with its own kernels for 16 output channels.
    """
    size, channels, stack = (256, 32)[ndim - 1], 4, (Relu(), layer)
    needed = normal_count(stack, channels=channels, ndim=ndim)

    def one(draw):
        params = init_from_normals(draw[0], stack, channels=channels, ndim=ndim)
        return apply(params, stack, draw[1], precision="highest")[0]

    normals = rng.standard_normal((units, needed), dtype=np.float32)
    white = rng.standard_normal((units, 1, *(size,) * ndim, channels), dtype=np.float32)
    y = np.asarray(jax.jit(lambda *draws: jax.lax.map(one, draws))(normals, white), np.float64)
    y = y[(slice(None), *(slice(6, -6),) * ndim)]  # clear of the border, and whole periods
    space = tuple(range(1, 1 + ndim))
    phases = [
        y[(slice(None), *(slice(p, None, 2) for p in phase))].mean(space)
        for phase in itertools.product((0, 1), repeat=ndim)
    ]
    dc = np.mean(phases, axis=0) ** 2
    lines = (np.mean(np.square(phases), axis=0) - dc).sum(-1)
    power = ((y * y).mean(space) - dc).sum(-1)
    share = lines.sum() / power.sum()
    return share, (lines - share * power).std() / (power.mean() * math.sqrt(units))


# The mean of a rectified normal, squared, is 1 / pi of its power, and DC and each line get an equal part of that.
SHARES = {1: (1 / (2 * math.pi)) / (1 - 1 / (2 * math.pi)), 2: (3 / (4 * math.pi)) / (1 - 1 / (4 * math.pi))}


@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize("k", [3, 4, 5])
def test_rectified_white_noise_through_a_deconvolution_has_the_expected_share_of_lines(rng, ndim, k):
    share, error = line_share(rng, Deconv(k, 2, features=16), ndim)
    assert SHARES == pytest.approx({1: 0.1893, 2: 0.2594}, abs=5e-5)
    assert error < 0.015
    # Five standard errors of 64 units, six tests: a false alarm below once in 10,000 runs. The floor is below 0.001.
    assert abs(share - SHARES[ndim]) < 5 * error + 0.001


def test_rectified_white_noise_through_a_nearest_resize_convolution_has_no_lines(rng):
    share, _ = line_share(rng, ResizeConv(3, 2, features=16), 2)
    assert share < 0.01  # the floor

"""Power and cyclic spectra of given kernels, against explicit matrices of loops on a field laid out three times."""

import itertools
import math
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from checkerjax import spectra
from checkerjax.expectations._kernels import conditional_spectrum
from checkerjax.stacks import init_from_normals, normal_count, periods

torus_matrix = runpy.run_path(str(pathlib.Path(__file__).with_name("torus_oracles.py")))["torus_matrix"]
ROUNDING = 1e-12  # float64, of values of order 1


def drawn(text, channels, ndim, rng, width=2):
    """Random parameters in float64 (drawn in float32, which is exact)."""
    normals = rng.standard_normal(normal_count(text, channels=channels, ndim=ndim, width=width)).astype("float32")
    params = init_from_normals(jnp.asarray(normals), text, channels=channels, ndim=ndim, width=width)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


def oracle(matrix, covariance, period):
    """Power and cyclic spectrum from the whole covariance of the output, F K F^H over n^2, channel by channel."""
    ndim = (matrix.ndim - 2) // 2
    size, outputs = matrix.shape[:ndim], matrix.shape[ndim]
    flat = matrix.reshape(math.prod(size), outputs, -1)
    fourier = np.eye(1)
    for n in size:
        fourier = np.kron(fourier, np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / n)
    cyclic = np.zeros((*period, *size, outputs), complex)
    for o in range(outputs):
        products = fourier @ flat[:, o] @ covariance @ flat[:, o].T @ fourier.conj().T
        for line in itertools.product(*map(range, period)):
            for k in itertools.product(*map(range, size)):
                other = [(a - m * (n // p)) % n for a, m, n, p in zip(k, line, size, period)]
                cyclic[(*line, *k, o)] = products[np.ravel_multi_index(k, size), np.ravel_multi_index(other, size)]
    return np.real(cyclic[(0,) * ndim]), cyclic


def random_input(size, channels, rng):
    """A spectrum with matrices between channels, `[*size, C, C]`, and the covariance of its real field."""
    field = rng.standard_normal((3, *size, channels))  # a moving average of noise, by a filter of full length
    response = np.fft.fftn(field, axes=range(1, 1 + len(size)))
    power = np.einsum("w...c,w...d->...cd", response, response.conj())
    lags = np.fft.ifftn(power, axes=range(len(size))).real
    places = np.indices(size).reshape(len(size), -1)
    apart = tuple((x[:, None] - x) % n for x, n in zip(places, size))
    count = places.shape[1]
    return power, lags, lags[apart].transpose(0, 2, 1, 3).reshape(count * channels, count * channels)


STACKS = [
    ("deconv k3 s2", 1),
    ("deconv k5 s3 d2 p2:1", 1),
    ("deconv k4 s2 valid g2 c2", 1),
    ("conv k3 s2", 1),
    ("conv k4 s3 d2 p3:1 g2 c4", 1),
    ("subpixel k3 s2", 1),
    ("subpixel k2 s3 channel_first", 1),
    ("resize k3 s2", 1),
    ("resize k4 s3 linear sample", 1),
    ("upsample s3 linear, blur k4 s2, hold s2 order=1", 1),
    ("avgpool k3 s2 p1, deconv k4 s4", 1),
    ("deconv k3 s2, deconv k4 s2", 1),
    ("conv k3 s2, residual(conv k3 s2, deconv k4 s2), deconv k3 s3", 1),
    ("parallel(deconv k3 s2 | resize k3 s2 | upsample linear, conv k1) concat, conv k3", 1),
    ("parallel(deconv k3 s2 c2 | resize k3 s2 c2)", 1),
    ("parallel(subpixel k3 s2 c2 | deconv k3 s2 c2)", 1),
    ("deconv k3x2 s2x1", 2),
    ("conv k3 s2x1, subpixel k2 s1x2", 2),
    ("upsample s2 linear, conv k2x1", 2),
    ("residual(blur k3), deconv k2x3 s2 c1", 2),
    ("subpixel k1x2x1 s2x1x2 c1", 3),
]


@pytest.mark.parametrize(("text", "ndim"), STACKS)
def test_spectra_of_given_stacks(text, ndim, rng):
    channels = 1 if ndim == 3 else 2
    m, p = periods(text, ndim)
    size = tuple(a * {1: 10, 2: 4, 3: 3}[ndim] // math.gcd(a, 2) for a in m) if ndim == 1 else tuple(4 * a for a in m)
    size = size if ndim < 3 else (3, 2, 3)
    params = drawn(text, channels, ndim, rng)
    matrix = torus_matrix(params, text, size, channels)
    power, lags, covariance = random_input(size, channels, rng)
    expected, cyclic = oracle(matrix, covariance, p)
    scale = expected.max()
    for found in (
        conditional_spectrum(params, text, size, channels=channels, spectrum=power),
        conditional_spectrum(params, text, size, channels=channels, autocovariance=lags),
    ):
        np.testing.assert_allclose(found.power, expected, atol=ROUNDING * scale)
        np.testing.assert_allclose(found.cyclic, cyclic, atol=ROUNDING * scale)
    squares = np.einsum("noi,ij,noj->no", *(flat(matrix), covariance, flat(matrix)))
    by_phase = squares.reshape(*expected.shape)
    for phase in itertools.product(*map(range, p)):
        own = by_phase[tuple(slice(r, None, q) for r, q in zip(phase, p))]
        np.testing.assert_allclose(found.phase_powers[phase], own.reshape(-1, own.shape[-1]).mean(0), rtol=1e-11)
    for line in itertools.product(*map(range, p)):
        at = tuple(a * n // q for a, n, q in zip(line, expected.shape, p))
        np.testing.assert_array_equal(found.line_powers[line], found.power[at])
    assert found.power.shape[:ndim] == tuple(map(len, found.frequencies))


def flat(matrix):
    ndim = (matrix.ndim - 2) // 2
    return matrix.reshape(math.prod(matrix.shape[:ndim]), matrix.shape[ndim], -1)


def test_independent_channels_add_up(rng):
    params = drawn("deconv k5 s2", 2, 1, rng)
    white = conditional_spectrum(params, "deconv k5 s2", 12)
    eye = np.broadcast_to(np.eye(2), (12, 2, 2))
    np.testing.assert_allclose(white.cyclic, conditional_spectrum(params, "deconv k5 s2", 12, spectrum=eye).cyclic)
    alone = [
        conditional_spectrum(({"kernel": params[0]["kernel"][:, i : i + 1]},), "deconv k5 s2", 12).cyclic
        for i in range(2)
    ]
    np.testing.assert_allclose(white.cyclic, sum(alone), atol=ROUNDING)


@pytest.mark.parametrize(("k", "s", "low"), [(4, 2, 0), (5, 3, 1), (3, 4, 0)])
def test_the_formula_of_an_upsampler(k, s, low, rng):
    """S^{m/s}(f) = H(f) H*(f - m/s) S_x(s f) / s, over the samples of the field."""
    taps, n = rng.standard_normal(k), 12 * s

    def colour(f):
        return 1.5 + np.cos(2 * np.pi * f)

    def response(f):
        return sum(h * np.exp(-2j * np.pi * f * (j - low)) for j, h in enumerate(taps))

    found = conditional_spectrum(
        ({"kernel": taps.reshape(-1, 1, 1)},), f"deconv k{k} s{s} p{low}:0", 12, spectrum=colour
    )
    f = np.fft.fftfreq(n)
    np.testing.assert_array_equal(found.frequencies[0], f)
    for m in range(s):
        expected = response(f) * np.conj(response(f - m / s)) * colour(s * f) / s / n
        np.testing.assert_allclose(found.cyclic[m, :, 0], expected, atol=ROUNDING)


def test_numbers_known_in_closed_form():
    ar = 0.9 ** np.minimum(np.arange(512), 512 - np.arange(512))
    kernel = np.array([1.0, 1.0, 1.0, -1.0]).reshape(4, 1, 1)
    found = conditional_spectrum(({"kernel": kernel},), "deconv k4 s2 p0", 512, autocovariance=ar)
    np.testing.assert_allclose(found.phase_powers.ravel(), [2 + 2 * 0.9, 2 - 2 * 0.9])
    np.testing.assert_allclose(
        conditional_spectrum(({"kernel": kernel},), "deconv k4 s2 p0", 8).phase_powers.ravel(), [2, 2]
    )
    for s, expected in {2: [0.625, 0.625], 3: [5 / 9, 1, 5 / 9], 4: [17 / 32, 25 / 32, 25 / 32, 17 / 32]}.items():
        found = conditional_spectrum(({},), f"upsample s{s} linear", 8)
        np.testing.assert_allclose(found.phase_powers.ravel(), expected)
    nearest = conditional_spectrum(({},), "upsample s3", 9)
    sinc = np.abs(np.exp(-2j * np.pi * np.outer(nearest.frequencies[0], range(3))).sum(1)) ** 2
    np.testing.assert_allclose(nearest.power[:, 0], sinc / 3 / 27, atol=ROUNDING)


def test_a_flat_input_gives_the_lines_of_the_phase_gains(rng):
    params = drawn("deconv k5x4 s3x2", 2, 2, rng)
    found = conditional_spectrum(params, "deconv k5x4 s3x2 valid", (6, 5), spectrum="flat")
    gains = np.zeros((3, 2, 2, 2))
    for j, k in itertools.product(range(5), range(4)):
        gains[j % 3, k % 2] += params[0]["kernel"][j, k]
    lines = (np.abs(np.fft.fft2(gains, axes=(0, 1), norm="forward")) ** 2).sum(2)
    np.testing.assert_allclose(found.line_powers, lines, atol=ROUNDING)
    np.testing.assert_allclose(found.power.sum((0, 1)), lines.sum((0, 1)))  # nothing between the lines
    np.testing.assert_allclose(found.phase_powers, (gains**2).sum(2))


def test_units_are_those_of_the_spectra_of_sampled_fields(rng):
    text, size, draws = "conv k3 s2, deconv k3 s2 c1", 16, 4000
    params = drawn(text, 2, 1, rng)
    matrix = torus_matrix(params, text, (size,), 2)
    x = rng.standard_normal((draws, size, 2))
    y = jnp.asarray(np.einsum("nomc,dmc->dno", matrix, x), "float32")
    found = conditional_spectrum(params, text, size)
    sampled = {
        "power": spectra.power_spectrum(y).power,
        "cyclic": np.moveaxis(np.asarray(spectra.cyclic_spectrum(y, 2)), 1, 0),
        "phase_powers": spectra.phase_powers(y, 2),
        "line_powers": spectra.line_powers(y, 2),
    }
    for name, values in sampled.items():
        values = np.asarray(values)
        error = np.abs(values - values.mean(0)).std(0) / math.sqrt(draws) + values.std(0) / math.sqrt(draws)
        assert (np.abs(values.mean(0) - getattr(found, name)) < 5 * error + 1e-7).all(), name


@pytest.mark.parametrize("text", ["deconv k3 s2 c1", "conv k3 s2 c2, residual(blur k3), subpixel k2 s2 c1"])
def test_gradients_by_the_taps(text, rng):
    params = drawn(text, 2, 1, rng)
    size = 8

    def loss(params):
        found = conditional_spectrum(params, text, size, channels=2, spectrum=lambda f: 1.2 + np.cos(2 * np.pi * f))
        return found.line_powers[1:].sum() + (abs(found.cyclic[1]) ** 2).sum() + found.phase_powers[0].sum()

    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, "float32"), params)
    np.testing.assert_allclose(jax.jit(loss)(single), loss(params), rtol=1e-5)
    check_grads(jax.jit(loss), (single,), order=1, modes=["fwd", "rev"], eps=1e-2, rtol=1e-2, atol=1e-2)
    slopes = jax.tree.leaves(jax.jit(jax.grad(loss))(single))
    for i, slope in enumerate(slopes):  # against differences in double precision
        leaves, tree = jax.tree.flatten(params)
        step = rng.standard_normal(leaves[i].shape)
        ends = [
            loss(jax.tree.unflatten(tree, [*leaves[:i], leaves[i] + e * step, *leaves[i + 1 :]])) for e in (1e-4, -1e-4)
        ]
        np.testing.assert_allclose(np.vdot(slope, step), (ends[0] - ends[1]) / 2e-4, rtol=1e-4)


def test_pointwise_layers_are_refused_or_taken_as_the_identity(rng):
    params = drawn("deconv k3 s2, conv k3", 1, 1, rng)
    whole = (params[0], {"bias": np.ones(2)}, {}, params[1])
    text = "deconv k3 s2, bias, relu, conv k3"
    with pytest.raises(ValueError, match=r"conditional_spectrum: layer 2 \(bias.*\): is not linear.*identity"):
        conditional_spectrum(whole, text, 8)
    found = conditional_spectrum(whole, text, 8, pointwise="identity")
    np.testing.assert_array_equal(found.cyclic, conditional_spectrum(params, "deconv k3 s2, conv k3", 8).cyclic)


JOINED = ((({},), ((({},), ({},)),)),)
KERNEL = ({"kernel": np.ones((3, 1, 1))},)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: conditional_spectrum(KERNEL, "conv k3 s2", 7), ValueError, "axis H of size must be a multiple of 2"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", ()), ValueError, "size must be an int"),
        (lambda: conditional_spectrum((), "conv k3", 8), ValueError, "params must be a tuple with one entry"),
        (lambda: conditional_spectrum(({},), "conv k3", 8), ValueError, r"layer 1 .*: params must have a kernel"),
        (lambda: conditional_spectrum(KERNEL, "conv k5", 8), ValueError, "expected the size"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", 8, channels=2), ValueError, "2 input channels"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", (8, 8)), ValueError, "a kernel with 2 spatial axes"),
        (lambda: conditional_spectrum(({},), "maxpool", 8), ValueError, r"layer 1 \(maxpool.*\): is not linear"),
        (lambda: conditional_spectrum(({},), "dense 4", 8), ValueError, "layer 1 .*Give the layers behind it"),
        (lambda: conditional_spectrum(({},), "upsample corners", 8), ValueError, "layer 1 .*commutes with no shift"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", 8, spectrum="pink"), ValueError, "spectrum must be 'white'"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", 8, spectrum=np.ones(7)), ValueError, r"shape \(8,\)"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", 8, spectrum=-np.ones(8)), ValueError, "at least 0"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", 8, spectrum=np.full(8, np.nan)), ValueError, "must be finite"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", 8, spectrum=["a"] * 8), TypeError, "array of numbers"),
        (lambda: conditional_spectrum(KERNEL, "conv k3", 8, autocovariance=np.arange(8.0)), ValueError, "symmetric"),
        (
            lambda: conditional_spectrum(KERNEL, "conv k3", 8, spectrum="flat", autocovariance=np.ones(8)),
            ValueError,
            "not both",
        ),
        (
            lambda: conditional_spectrum(KERNEL, "conv k3", 8, spectrum=np.full((8, 1, 1), -1.0)),
            ValueError,
            "no negative eigenvalue",
        ),
        (
            lambda: conditional_spectrum(KERNEL, "conv k3", 8, spectrum=np.full((8, 1, 1), 1j)),
            ValueError,
            "must be Hermitian",
        ),
        (
            lambda: conditional_spectrum([{"kernel": 1j * KERNEL[0]["kernel"]}], "conv k3", 8),
            TypeError,
            "params must be real; got complex",
        ),
        (lambda: conditional_spectrum(KERNEL, "conv k3", 8, pointwise="skip"), ValueError, "pointwise must be one of"),
        (
            lambda: conditional_spectrum(JOINED, "parallel(blur | parallel(blur | blur) concat)", 8),
            ValueError,
            "equal numbers of channels",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

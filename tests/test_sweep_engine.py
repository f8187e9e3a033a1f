"""Sweeps against NumPy: the same weights and inputs, transforms by np.fft, phases and windows by loops."""

from __future__ import annotations

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest
import scipy.stats

from checkerjax import stacks
from checkerjax.sweeps import Config, generator_grid, gradient_grid, gradient_rows, sweep

pytest.importorskip("xarray")

# float32 sums of at most some hundred terms: some hundred roundings of 6e-8, each of random sign.
ROUNDING = 2e-5
CONV = "conv k3 s2 c4, leaky_relu"
PHOTO_SIZE = 8


@pytest.fixture(scope="module")
def photographs():
    return np.random.default_rng(7).uniform(size=(5, PHOTO_SIZE, PHOTO_SIZE, 3))


def _key(base_seed, seed):
    return jax.random.fold_in(jax.random.key(base_seed), seed)


def _params(config, base_seed, seed):
    return stacks.init(
        _key(base_seed, seed),
        config.stack,
        channels=config.channels,
        width=config.width,
        initialiser=config.initialiser,
    )


def _numbers(config, base_seed, seed, shapes):
    """A seed's normals after its weights, cut into shapes, float64."""
    used = sum(leaf.size for leaf in jax.tree.leaves(_params(config, base_seed, seed)))
    total = used + sum(int(np.prod(shape)) for shape in shapes)
    rest = np.asarray(jax.random.normal(_key(base_seed, seed), (total,)))[used:]
    parts = np.split(rest, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def _run(config, base_seed, seed, x, stack=None):
    params = _params(config, base_seed, seed)
    stack = stacks.parse_stack(stack) if stack else config.stack
    x = jax.numpy.asarray(x, "float32")
    return np.asarray(stacks.apply(params[: len(stack)], stack, x, precision="highest"), dtype=np.float64)


def _power(image):
    """Power at each frequency, summed over channels."""
    return sum(np.abs(np.fft.fft2(image[..., c])) ** 2 for c in range(image.shape[-1])) / image[..., 0].size ** 2


def _statistics(config, line_field, power_field):
    """What a sweep keeps of one seed, from fields in float64."""
    n = line_field.shape[1]
    found = {name: [] for name in ("line_power", "variance", "dc_power", "phase_power", "std")}
    spectra = [_power(image) for image in line_field[: config.measured]]
    border = 0 if config.input == "latent" else config.margin  # whole images for latents alone
    for image in line_field[: config.measured, border : n - border, border : n - border]:
        power, m = _power(image), n - 2 * border
        found["dc_power"].append(power[0, 0])
        found["variance"].append(power.sum() - power[0, 0])
        found["line_power"].append(
            [
                sum(power[a * m // p, b * m // p] for a, b in itertools.product(range(p), repeat=2) if (a, b) != (0, 0))
                for p in config.periods
            ]
        )
    period, margin = config.periods[-1], config.margin
    for image in power_field[: config.measured]:
        phases = np.zeros((period, period))
        for y in range(margin, n - margin):
            for x in range(margin, n - margin):
                phases[y % period, x % period] += (image[y, x] ** 2).sum()
        found["phase_power"].append(phases * (period / (n - 2 * margin)) ** 2)
        found["std"].append(np.sqrt(((image - image.mean()) ** 2).mean()))
    inside = slice(margin, n - margin)
    zeros = (power_field[: config.measured, inside, inside] == 0).mean()
    return {**{k: np.array(v) for k, v in found.items()}, "zero_share": zeros, "spectrum": np.mean(spectra, 0)}


def _assert_row(row, expected, rtol=ROUNDING):
    for name in ("line_power", "variance", "dc_power", "phase_power", "std", "zero_share"):
        scale = np.max(np.abs(expected[name]))
        np.testing.assert_allclose(row[name].values, expected[name], rtol=rtol, atol=rtol * scale, err_msg=name)
    share = expected["line_power"] / expected["variance"][:, None]
    np.testing.assert_allclose(row.lattice_share.values, share, rtol=rtol, atol=rtol)


def _scatter(kernel, cotangent, size):
    """The transpose of a "SAME" convolution with stride 2 and kernel 3 on an even size: nothing padded before."""
    out = np.zeros((len(cotangent), size + 1, size + 1, kernel.shape[2]))
    for y, x in itertools.product(range(cotangent.shape[1]), range(cotangent.shape[2])):
        for i, j in itertools.product(range(3), range(3)):
            out[:, 2 * y + i, 2 * x + j] += cotangent[:, y, x] @ kernel[i, j].T
    return out[:, :size, :size]


def _correlate(kernel, x):
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    out = np.zeros((len(x), x.shape[1] // 2, x.shape[2] // 2, kernel.shape[3]))
    for y, z in itertools.product(range(out.shape[1]), range(out.shape[2])):
        for i, j in itertools.product(range(3), range(3)):
            out[:, y, z] += padded[:, 2 * y + i, 2 * z + j] @ kernel[i, j]
    return out


@pytest.mark.parametrize("base_seed", [0, 3])
def test_white_input_forward(base_seed):
    stack = "conv k3 c6, relu, deconv k3 s2 c3"
    config = Config("a", stack, input="white", size=6, batch=3, measured=2, periods=(2, 4), margin=4)
    found = sweep([config], seeds=[4, 1], base_seed=base_seed).sel(config="a")
    spectra = []
    for seed in (4, 1):
        (x,) = _numbers(config, base_seed, seed, [(3, 6, 6, 3)])
        field = _run(config, base_seed, seed, x)
        expected = _statistics(config, field, field)
        _assert_row(found.sel(seed=seed), expected)
        spectra.append(expected["spectrum"])
    np.testing.assert_allclose(found.spectrum.values, np.mean(spectra, 0), rtol=ROUNDING, atol=1e-6)
    (first,) = _numbers(config, base_seed, 4, [(3, 6, 6, 3)])
    np.testing.assert_allclose(found["sample"].values, _run(config, base_seed, 4, first)[0], rtol=1e-4, atol=1e-5)


def test_flat_and_white_probes_forward():
    config = Config("a", "deconv k3 s2 c4, relu", input="probe", size=5, channels=2, periods=(2,), margin=2)
    found = sweep([config], seeds=2).sel(config="a")
    for seed in (0, 1):
        flat, white = _numbers(config, 0, seed, [(2, 1, 1, 2), (2, 5, 5, 2)])
        lines = _run(config, 0, seed, np.broadcast_to(flat, (2, 5, 5, 2)))
        _assert_row(found.sel(seed=seed), _statistics(config, lines, _run(config, 0, seed, white)))


def test_latents_are_uniform_and_phase_powers_lie_before_the_last_tanh():
    stack = "dense 2x2 c8, batchnorm, relu, deconv k3 s2 c6, relu, deconv k4 s2 c3, tanh"
    config = Config("a", stack, channels=10, batch=6, measured=4, periods=(2,), margin=2)
    found = sweep([config], seeds=2).sel(config="a")
    for seed in (0, 1):
        (z,) = _numbers(config, 0, seed, [(6, 10)])
        images = _run(config, 0, seed, scipy.stats.norm.cdf(z.astype(np.float64)))
        assert np.abs(images).max() < 0.995
        # arctanh multiplies the rounding of an image by up to 1 / (1 - .995^2) = 100.
        _assert_row(found.sel(seed=seed), _statistics(config, images, np.arctanh(images)), rtol=2e-4)


def test_a_probe_sees_lines_after_the_last_tanh_and_powers_before():
    config = Config("a", "deconv k3 s2 c4, tanh", input="probe", size=6, channels=3)
    row = sweep([config], seeds=1).isel(config=0, seed=0)
    flat, white = _numbers(config, 0, 0, [(2, 1, 1, 3), (2, 6, 6, 3)])
    lines = _run(config, 0, 0, np.broadcast_to(flat, (2, 6, 6, 3)))
    _assert_row(row, _statistics(config, lines, _run(config, 0, 0, white, "deconv k3 s2 c4")))


def _gradients(config, seed, x):
    """Input gradients for the flat and the white cotangent, by loops; the stack is a conv and a pointwise layer."""
    shapes = [(2, 1, 1, 4), (2, 4, 4, 4)]
    flat, white = (part.astype(np.float64) for part in _numbers(config, 0, seed, shapes))
    kernel = np.asarray(_params(config, 0, seed)[0]["kernel"], dtype=np.float64)
    before = _correlate(kernel, np.asarray(x, dtype=np.float64))
    slope = {
        "leaky_relu": np.where(before > 0, 1.0, config.stack[-1].slope) if "leaky" in config.name else 1.0,
        "tanh": 1 - np.tanh(before) ** 2,
        "linear": np.ones_like(before),
    }[config.name.split(",")[0]]
    return [_scatter(kernel, np.broadcast_to(part, before.shape) * slope, PHOTO_SIZE) for part in (flat, white)]


@pytest.mark.parametrize(
    ("name", "stack"), [("leaky_relu", CONV), ("tanh", "conv k3 s2 c4, tanh"), ("linear", "conv k3 s2 c4")]
)
def test_gradients_are_the_transpose_of_the_convolution(name, stack):
    config = Config(name, stack, direction="gradient", input="white", size=PHOTO_SIZE, margin=2)
    found = sweep([config], seeds=2).isel(config=0)
    for seed in (0, 1):
        shapes = [(2, 1, 1, 4), (2, 4, 4, 4), (2, PHOTO_SIZE, PHOTO_SIZE, 3)]
        x = _numbers(config, 0, seed, shapes)[2]
        flat, white = _gradients(config, seed, x)
        _assert_row(found.sel(seed=seed), _statistics(config, flat, white))
        if seed == 0:
            np.testing.assert_allclose(found["sample"].values, flat[0], rtol=1e-4, atol=1e-5)


def test_gradients_on_photographs(photographs):
    config = Config("leaky_relu, photo", CONV, direction="gradient", input="photo", size=PHOTO_SIZE)
    found = sweep([config], seeds=6, photographs=photographs).isel(config=0)
    chosen = []
    for seed in range(6):
        # Which tiles a seed takes is its own affair: exactly one pair explains its numbers.
        matches = []
        for pair in itertools.product(range(5), repeat=2):
            expected = _statistics(config, *_gradients(config, seed, 2 * photographs[list(pair)] - 1))
            if np.allclose(found.phase_power.sel(seed=seed), expected["phase_power"], rtol=ROUNDING):
                matches.append(pair)
                _assert_row(found.sel(seed=seed), expected)
        assert len(matches) == 1
        chosen += matches[0]
    assert len(set(chosen)) >= 3  # 12 draws of 5 show at most 2 of them with probability below 2e-4


def test_a_max_pool_sends_each_gradient_to_the_largest_of_its_window():
    config = Config("pool", "maxpool k2 s2", direction="gradient", input="white", size=6)
    row = sweep([config], seeds=1).isel(config=0, seed=0)
    flat, white, x = _numbers(config, 0, 0, [(2, 1, 1, 3), (2, 3, 3, 3), (2, 6, 6, 3)])
    fields = [np.zeros((2, 6, 6, 3)) for _ in range(2)]
    for n, y, z, c in itertools.product(range(2), range(3), range(3), range(3)):
        window = x[n, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2, c]
        i, j = np.unravel_index(window.argmax(), (2, 2))
        fields[0][n, 2 * y + i, 2 * z + j, c] = flat[n, 0, 0, c]
        fields[1][n, 2 * y + i, 2 * z + j, c] = white[n, y, z, c]
    _assert_row(row, _statistics(config, *fields))


MIXED = [
    Config("small", "deconv k3 s2 c4", input="probe", size=6, margin=2),
    Config("large", "conv k3 c9, relu, deconv k5 s2 c3", input="white", size=6, batch=5),
    Config("latent", "dense 6x6 c5, relu, deconv k4 s2 c3, tanh", channels=300, measured=1),
    Config("gradient", CONV, direction="gradient", input="white", size=12, periods=(2, 4)),
]
NAMES = ("line_power", "variance", "dc_power", "phase_power", "std", "zero_share", "lattice_share", "spectrum")


@pytest.fixture(scope="module")
def mixed():
    return sweep(MIXED, seeds=3)


@pytest.mark.parametrize("config", MIXED, ids=[c.name for c in MIXED])
def test_numbers_depend_neither_on_the_grid_nor_on_other_seeds(mixed, config):
    alone = sweep([config], seeds=[2]).isel(config=0, seed=0)
    together = mixed.sel(config=config.name, seed=2)
    for name in NAMES[:-1]:
        whole = together[name]
        if "image" in whole.dims:
            assert np.isnan(whole.isel(image=slice(config.measured, None))).all()
            whole = whole.isel(image=slice(config.measured))
        if "period" in whole.dims:
            whole = whole.sel(period=list(config.periods))
        if "phase_y" in whole.dims:
            whole = whole.isel(phase_y=slice(config.period), phase_x=slice(config.period))
        # The same program, on the start of a longer draw, which another vectorisation may round differently.
        np.testing.assert_allclose(alone[name].values, whole.values, rtol=1e-5, atol=1e-7, err_msg=name)


def test_the_spectrum_is_the_mean_over_seeds(mixed):
    each = [sweep([MIXED[0]], seeds=[seed]).spectrum.isel(config=0).values for seed in range(3)]
    # A chunk's seeds are summed in float32.
    np.testing.assert_allclose(mixed.spectrum.sel(config="small"), np.mean(each, 0), rtol=1e-6)


def test_another_base_seed_gives_other_numbers(mixed):
    other = sweep(MIXED, seeds=3, base_seed=1)
    for name in ("variance", "phase_power", "std", "spectrum"):
        assert not np.isclose(other[name], mixed[name], rtol=1e-6).any(), name
    assert other.attrs["base_seed"] == 1


def test_seeds_differ_from_each_other(mixed):
    values = mixed.variance.isel(image=0).values
    assert all(len(set(row)) == 3 for row in values)


def test_the_dataset_is_labelled(mixed):
    assert mixed.sizes == {
        "config": 4, "seed": 3, "image": 2, "period": 2, "phase_y": 4, "phase_x": 4, "y": 12, "x": 12, "channel": 4,
        "frequency_y": 12, "frequency_x": 12
    }  # fmt: skip
    assert mixed.config.values.tolist() == ["small", "large", "latent", "gradient"]
    assert mixed.period.values.tolist() == [2, 4]
    assert mixed.seed.values.tolist() == [0, 1, 2]
    assert mixed.period.units == "samples"
    units = {"std": "field", "sample": "field", "zero_share": "1", "lattice_share": "1", "seeds_done": "seeds"}
    for name in mixed.data_vars:
        assert mixed[name].units == units.get(str(name), "field^2")
    for name in ("checkerjax_version", "jax_version", "numpy_version", "device", "seconds", "base_seed"):
        assert name in mixed.attrs
    described = json.loads(mixed.attrs["configurations"])
    assert [Config(**{**d, "periods": tuple(d["periods"])}) for d in described] == MIXED


def test_what_a_configuration_does_not_have_is_nan(mixed):
    assert np.isnan(mixed.line_power.sel(config="small", period=4)).all()
    assert np.isnan(mixed.lattice_share.sel(config="small", period=4)).all()
    assert np.isnan(mixed.variance.sel(config="latent").isel(image=1)).all()
    assert np.isnan(mixed.phase_power.sel(config="large").isel(phase_y=slice(2, None))).all()
    assert np.isnan(mixed["sample"].sel(config="large").isel(channel=3)).all()
    assert np.isfinite(mixed["sample"].sel(config="large").isel(channel=slice(3))).all()
    assert not np.isnan(mixed.zero_share).any()


def test_shares_are_shares_even_where_all_or_nothing_is_grid():
    grid = [
        Config("all", "deconv k2 s2 c4", input="probe", size=8),  # a flat input gives lines and nothing else
        Config("nothing", "upsample s2", input="probe", size=8),
    ]
    share = sweep(grid, seeds=20).lattice_share
    assert share.max() <= 1
    np.testing.assert_allclose(share.sel(config="all"), 1, rtol=1e-6)
    np.testing.assert_array_equal(share.sel(config="nothing"), 0)


def test_progress_is_told_after_every_chunk():
    told = []
    sweep(MIXED[:2], seeds=[5, 9, 2], chunk=2, report=lambda done, total: told.append((done, total)))
    assert told == [(2, 6), (4, 6), (5, 6), (6, 6)]


def test_default_grids_are_valid_and_unique():
    forward, gradient = generator_grid(), gradient_grid()
    assert [c.name for c in forward] == [f"{row}, k{k}" for row in ("last two", "last one", "none") for k in (5, 4, 3)]
    assert {c.field_size for c in forward} == {(32, 32)}
    assert {c.field_size for c in gradient} == {(64, 64)}
    assert len({c.name for c in gradient}) == len(gradient) == 22


def test_rows_of_gradients_take_fields_that_are_not_square():
    config = Config("a", "conv k3 s2 c4", direction="gradient", input="white", size=(8, 12))
    (row,) = gradient_rows(sweep([config], seeds=3))
    assert row.predicted == 4.0
    assert row.period == 2


GOOD = {"name": "a", "stack": "deconv k3 s2 c2", "input": "probe", "size": 8}
BAD_CONFIGS = [
    ({"name": 3}, TypeError, "Config: name must be a string; got 3"),
    ({"stack": "deconv k3 s0"}, ValueError, "Config 'a': character 11: stride must be at least 1; got 0"),
    ({"stack": ()}, ValueError, "Config 'a': stack must have at least one layer"),
    ({"stack": 3}, TypeError, "Config 'a': stack must be a layer or a sequence of layers; got 3"),
    ({"direction": "backwards"}, ValueError, "Config 'a': direction must be one of forward, gradient"),
    ({"input": "prob"}, ValueError, "Config 'a': input must be one of .*; did you mean 'probe'"),
    ({"input": "latent"}, ValueError, r"layer 1 \(deconv k3 s2 c2\): needs a field, not a latent"),
    ({"stack": "dense 4x4 c3"}, ValueError, r"layer 1 \(dense 4x4 c3\): takes a latent, not a field"),
    ({"direction": "gradient"}, ValueError, "Config 'a': a gradient is taken at input 'constant', .* got 'probe'"),
    (
        {"direction": "gradient", "input": "latent"},
        ValueError,
        "taken at input 'constant', 'white', 'pink' or 'photo'; got 'latent'",
    ),
    ({"size": 0}, ValueError, "Config 'a': size must be at least 1; got 0"),
    ({"size": 1.5}, TypeError, "Config 'a': size must be an int; got 1.5"),
    ({"size": (8, 8, 8)}, ValueError, "Config 'a': size must be an int, or one int for each of the axes HW; got "),
    ({"channels": 0}, ValueError, "Config 'a': channels must be at least 1; got 0"),
    ({"batch": 0}, ValueError, "Config 'a': batch must be at least 1; got 0"),
    ({"measured": 0}, ValueError, "Config 'a': measured must be at least 1; got 0"),
    ({"measured": 3}, ValueError, "Config 'a': measured must be at most batch=2; got 3"),
    ({"periods": ()}, ValueError, "Config 'a': periods must be at least one"),
    ({"periods": 2}, TypeError, "Config 'a': periods must be a tuple of ints; got 2"),
    ({"periods": (2.0,)}, TypeError, "Config 'a': each of periods must be an int; got 2.0"),
    ({"periods": (1, 2)}, ValueError, "Config 'a': each of periods must be at least 2; got 1"),
    ({"periods": (2, 2)}, ValueError, "Config 'a': periods must each divide the last, none twice"),
    ({"periods": (3, 4)}, ValueError, "Config 'a': periods must each divide the last"),
    ({"periods": (3,)}, ValueError, r"Config 'a': the measured field \(16, 16\) must be a multiple of the period 3"),
    ({"margin": 3}, ValueError, "Config 'a': margin must be a multiple of the period 2; got 3"),
    ({"margin": -2}, ValueError, "Config 'a': margin must be at least 0; got -2"),
    ({"margin": 8}, ValueError, "hold one within its margin of 8"),
    ({"initialiser": "foo"}, ValueError, "Config 'a': .*initialiser must be one of lecun.*; got 'foo'"),
    ({"width": 0, "stack": "deconv k3 s2"}, ValueError, "Config 'a': .*width must be at least 1; got 0"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD_CONFIGS, ids=[str(c) for c, _, _ in BAD_CONFIGS])
def test_a_bad_configuration_is_refused_where_it_is_made(change, error, message):
    Config(**GOOD)
    with pytest.raises(error, match=message):
        Config(**{**GOOD, **change})


ONE = Config(**GOOD)
BAD_SWEEPS = [
    (([],), {}, ValueError, "sweep: grid must have at least one configuration"),
    ((ONE,), {}, TypeError, "sweep: grid must be a sequence of Config; got Config"),
    (("deconv k3 s2",), {}, TypeError, "sweep: grid must be a sequence of Config; got str"),
    ((["a"],), {}, TypeError, r"sweep: grid\[0\] must be a Config; got str"),
    (([ONE, ONE],), {}, ValueError, r"sweep: names in the grid must be unique; got \['a'\] more than once"),
    (([ONE, Config(**{**GOOD, "name": "b", "size": 4})],), {}, ValueError, "fields of a grid must have one size"),
    (([ONE],), {"seeds": 0}, ValueError, "sweep: seeds must be at least 1; got 0"),
    (([ONE],), {"seeds": "3"}, TypeError, "sweep: seeds must be an int; got '3'"),
    (([ONE],), {"seeds": 2.0}, TypeError, "sweep: seeds must be an int; got 2.0"),
    (([ONE],), {"seeds": []}, ValueError, r"sweep: seeds must be at least one, none twice; got \[\]"),
    (([ONE],), {"seeds": [1, 1]}, ValueError, r"none twice; got \[1, 1\]"),
    (([ONE],), {"seeds": [0, -1]}, ValueError, r"sweep: seeds\[1\] must be at least 0; got -1"),
    (([ONE],), {"seeds": [2**32]}, ValueError, r"sweep: seeds\[0\] must be below 2\^32; got 4294967296"),
    (([ONE],), {"base_seed": -1}, ValueError, "sweep: base_seed must be at least 0; got -1"),
    (([ONE],), {"base_seed": 2**32}, ValueError, r"sweep: base_seed must be below 2\^32"),
    (([ONE],), {"base_seed": "a"}, TypeError, "sweep: base_seed must be an int; got 'a'"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), BAD_SWEEPS, ids=[m for *_, m in BAD_SWEEPS])
def test_a_bad_sweep_is_refused_before_the_first_seed(args, kwargs, error, message):
    told = []
    with pytest.raises(error, match=message):
        sweep(*args, **{"seeds": 1, **kwargs}, report=lambda *progress: told.append(progress))
    assert not told


BAD_PHOTOGRAPHS = [
    (None, ValueError, "sweep: 'p' takes photographs; pass `photographs`"),
    (np.zeros((8, 8, 3)), ValueError, r"photographs must be \[T, 8, 8, 3\] for 'p'; got shape \(8, 8, 3\)"),
    (np.zeros((2, 8, 9, 3)), ValueError, r"got shape \(2, 8, 9, 3\)"),
    (np.zeros((2, 8, 8, 4)), ValueError, r"got shape \(2, 8, 8, 4\)"),
    (np.zeros((0, 8, 8, 3)), ValueError, r"got shape \(0, 8, 8, 3\)"),
    (np.full((2, 8, 8, 3), np.nan), ValueError, r"photographs must be in \[0, 1\], none NaN"),
    (np.full((2, 8, 8, 3), 255.0), ValueError, r"in \[0, 1\], none NaN; got values from 255 to 255"),
    (np.full((2, 8, 8, 3), -0.1), ValueError, r"in \[0, 1\]"),
    (np.full((2, 8, 8, 3), 200, np.uint8), TypeError, r"floating dtype, in \[0, 1\]; got uint8"),
]


@pytest.mark.parametrize(("photographs", "error", "message"), BAD_PHOTOGRAPHS, ids=[m for *_, m in BAD_PHOTOGRAPHS])
def test_bad_photographs_are_refused(photographs, error, message):
    config = Config("p", CONV, direction="gradient", input="photo", size=8)
    with pytest.raises(error, match=message):
        sweep([config], seeds=1, photographs=photographs)


def test_photographs_that_nobody_takes_are_not_looked_at():
    assert sweep([ONE], seeds=1, photographs=np.zeros(3)).sizes["seed"] == 1


def test_lines_of_a_gradient_leave_the_border_out():
    # A linear layer's gradient under a constant cotangent is all lines, but where windows are cut off by the border.
    config = Config("a", "conv k5 s2 c4", direction="gradient", input="white", size=32, margin=8)
    np.testing.assert_allclose(sweep([config], seeds=2).lattice_share, 1, atol=1e-5)
    whole = sweep([dataclasses.replace(config, margin=0)], seeds=2).lattice_share
    assert (whole < 0.99).all()


def test_numpy_ints_and_lists_are_stored_as_plain_ones():
    numbers = {"size": np.int64(8), "channels": np.int64(2), "width": [3], "margin": np.int8(2)}
    config = Config(**{**GOOD, "stack": "deconv k3 s2", **numbers})
    assert (config.size, config.channels, config.width, config.margin) == ((8, 8), 2, (3,), 2)
    assert json.loads(sweep([config], seeds=1).attrs["configurations"])[0]["size"] == [8, 8]


def test_a_stack_that_does_not_fit_is_refused_where_it_is_made():
    with pytest.raises(ValueError, match=r"Config 'a': .*shorter than the 99 samples"):
        Config("a", "conv k99 valid", direction="gradient", input="white", size=64)


def test_only_learned_convolutions_have_a_counted_ratio():
    stems = {
        "conv k3 s2 c2, relu": 4.0,
        "blur k3 s2": None,
        "l2pool s2": None,
        "maxpool": None,
        "conv k3 s2, conv k3": None,
    }
    grid = [Config(stem, stem, direction="gradient", input="white", size=16, width=2) for stem in stems]
    rows = gradient_rows(sweep(grid, seeds=2))
    assert {row.name: row.predicted for row in rows} == stems

"""Runs a grid of configurations over seeds and labels what comes out."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax._checks import as_int
from checkerjax.stacks import as_stack, format_stack
from checkerjax.sweeps._config import Config
from checkerjax.sweeps._statistics import (
    Draws,
    SeedStatistics,
    parameters_normal_count,
    probe_shapes,
    statistics_function,
)
from checkerjax.sweeps._store import import_xarray

if TYPE_CHECKING:
    import xarray


def sweep(
    grid: Sequence[Config],
    *,
    seeds: int | Sequence[int] = 100,
    base_seed: int = 0,
    photographs: np.ndarray | None = None,
    report: Callable[[int, int], None] | None = None,
) -> xarray.Dataset:
    """Artifact statistics of random initialisations: every configuration of a grid, every seed.

    A seed's random numbers depend on `base_seed`, the seed and the configuration alone, not on the rest of the grid.

    Args:
      grid: configurations with fields of one size; their names are unique.
      seeds: a number of seeds (0, 1, ...), or the seeds themselves, each from 0 to 2^32 - 1.
      base_seed: separates whole sweeps from each other; from 0 to 2^32 - 1.
      photographs: `[T, y, x, C]` tiles in [0, 1], for configurations with input "photo"; each seed draws `batch` of
        them.
      report: called with (seeds done, seeds) after every seed.

    Returns:
      A dataset over `config`, `seed`, `image`, `period`, `phase_y`, `phase_x`, `y`, `x`: `line_power` (all lines of a
      period but DC), `variance`, `dc_power`, `lattice_share` (line_power / variance, per image; 0 by definition where
      both are), `phase_power`, `std`, `zero_share`, `spectrum` (mean over seeds and images) and `sample` (the first
      image of the first seed). Powers are in squared units of the field. What a configuration does not have (a period,
      an image, a channel) is NaN. Attributes: versions, device, seconds, base_seed, configurations.

    Raises:
      ValueError: for an empty grid or no seeds, names that repeat, fields of different sizes, or photographs that are
        missing, of another size, or not in [0, 1].
      TypeError: if something in the grid is not a `Config`, a seed is not an int, or photographs are not floating.
      ModuleNotFoundError: without xarray; the message says what to install.

    Example:
      >>> grid = [Config("deconv", "deconv k3 s2", input="probe", size=8, width=4)]
      >>> sweep(grid, seeds=3).lattice_share.sizes["seed"]
      3

    References:
      Odena, Dumoulin and Olah, Distill 2016: random weights already show the artifacts, so no training is needed.
    """
    import_xarray("sweep")
    seed_list = _seed_list(seeds) if _is_list(seeds) else list(range(as_int("sweep", "seeds", seeds, minimum=1)))
    base_seed = _seed("base_seed", base_seed)
    _check_grid(grid)
    tiles = _check_photographs(grid, photographs)
    provenance = _provenance(grid, base_seed)
    started = time.time()
    programs = _programs(grid)
    pools = _Pools(grid, base_seed)
    results: list[list[SeedStatistics]] = [[] for _ in grid]
    spectra = [np.zeros(config.field_size) for config in grid]
    for done, seed in enumerate(seed_list, start=1):
        pools.start(seed)
        outs = [
            program(_draws(config, pools.numbers(config), tiles, base_seed, seed))
            for config, program in zip(grid, programs)
        ]
        if done > 1:
            outs = [out._replace(sample=None) for out in outs]
        for i, out in enumerate(jax.device_get(outs)):
            spectra[i] += out.spectrum
            results[i].append(out._replace(spectrum=None))
        if report is not None:
            report(done, len(seed_list))
    dataset = _dataset(grid, seed_list, results, [s / len(seed_list) for s in spectra])
    dataset.attrs.update(provenance, seconds=round(time.time() - started, 3))
    return dataset


def _programs(grid: Sequence[Config]) -> list[Callable[[Draws], SeedStatistics]]:
    """One compiled program per configuration, shared by those that differ in what goes in but not in its shape."""
    programs = {}
    for config in grid:
        source = "white" if config.input == "photo" else config.input
        shape = dataclasses.replace(config, name="", input=source)
        programs.setdefault(shape, jax.jit(statistics_function(shape)))
        programs[config] = programs[shape]
    return [programs[config] for config in grid]


class _Pools:
    """Normals of one seed, drawn once for all configurations that need about as many.

    The draw is a program of its own: inside each configuration's program it would cost more to compile than all the
    rest. Prefixes of a longer draw equal shorter draws, so sharing changes no number.
    """

    def __init__(self, grid: Sequence[Config], base_seed: int):
        self._base = jax.random.key(base_seed, impl="threefry2x32")
        self._sizes = {}
        sizes: list[int] = []
        for config in sorted(grid, key=_total_count, reverse=True):
            need = _total_count(config)
            if not sizes or sizes[-1] > 4 * need:
                sizes.append(need)
            self._sizes[config.name] = sizes[-1]
        self._draw = {n: jax.jit(lambda key, n=n: jax.random.normal(key, (n,), jnp.float32)) for n in set(sizes)}
        self._drawn: dict[int, jax.Array] = {}

    def start(self, seed: int) -> None:
        self._key = jax.random.fold_in(self._base, seed)
        self._drawn = {}

    def numbers(self, config: Config) -> jax.Array:
        size = self._sizes[config.name]
        if size not in self._drawn:
            self._drawn[size] = self._draw[size](self._key)
        return self._drawn[size]


def _total_count(config: Config) -> int:
    return parameters_normal_count(config) + _probe_count(config) + config.input_count


def _probe_count(config: Config) -> int:
    return sum(math.prod(shape) for shape in probe_shapes(config))


def _draws(config: Config, numbers: jax.Array, tiles: np.ndarray | None, base_seed: int, seed: int) -> Draws:
    """Slices one seed's normals: weights first, then the probes', then the input's."""
    weights, probes, inputs = parameters_normal_count(config), _probe_count(config), config.input_count
    shape = (config.batch, *config.input_size, config.channels)
    if config.input == "photo":
        assert tiles is not None
        chosen = np.random.default_rng([base_seed, seed]).integers(len(tiles), size=config.batch)
        x = jnp.asarray(2 * tiles[chosen] - 1, jnp.float32)
    else:
        x = numbers[weights + probes : weights + probes + inputs].reshape(shape)
        if config.input == "latent":
            x = jax.scipy.stats.norm.cdf(x)  # uniform on [0, 1)
    return Draws(numbers[:weights], x, numbers[weights : weights + probes])


def _dataset(grid, seeds, results, spectra) -> xarray.Dataset:
    xarray = import_xarray("sweep")
    periods = sorted({p for config in grid for p in config.periods})
    images, longest = max(c.measured for c in grid), max(c.period for c in grid)
    shape = (len(grid), len(seeds))
    arrays = {
        "line_power": (np.full((*shape, images, len(periods)), np.nan), "image period"),
        "variance": (np.full((*shape, images), np.nan), "image"),
        "dc_power": (np.full((*shape, images), np.nan), "image"),
        "phase_power": (np.full((*shape, images, longest, longest), np.nan), "image phase_y phase_x"),
        "std": (np.full((*shape, images), np.nan), "image"),
        "zero_share": (np.full(shape, np.nan), ""),
    }
    for i, (config, rows) in enumerate(zip(grid, results)):
        columns = [periods.index(p) for p in config.periods]
        for j, row in enumerate(rows):
            arrays["line_power"][0][i, j, : config.measured, columns] = row.line_power.T
            arrays["variance"][0][i, j, : config.measured] = row.variance
            arrays["dc_power"][0][i, j, : config.measured] = row.dc_power
            arrays["phase_power"][0][i, j, : config.measured, : config.period, : config.period] = row.phase_power
            arrays["std"][0][i, j, : config.measured] = row.std
            arrays["zero_share"][0][i, j] = row.zero_share
    variables: dict[str, Any] = {
        name: (("config", "seed", *dims.split()), values, {"units": _UNITS[name]})
        for name, (values, dims) in arrays.items()
    }
    variables["spectrum"] = (("config", "frequency_y", "frequency_x"), np.stack(spectra), {"units": _UNITS["spectrum"]})
    samples = [rows[0].sample for rows in results]
    padded = np.full((*np.shape(spectra), max(sample.shape[-1] for sample in samples)), np.nan)
    for i, sample in enumerate(samples):
        padded[i, ..., : sample.shape[-1]] = sample
    variables["sample"] = (("config", "y", "x", "channel"), padded, {"units": "field"})
    dataset = xarray.Dataset(
        variables,
        coords={
            "config": [config.name for config in grid],
            "seed": np.asarray(seeds),
            "period": ("period", np.asarray(periods), {"units": "samples"}),
            "frequency_y": ("frequency_y", np.fft.fftfreq(spectra[0].shape[0]), {"units": "cycles/sample"}),
            "frequency_x": ("frequency_x", np.fft.fftfreq(spectra[0].shape[1]), {"units": "cycles/sample"}),
        },
    )
    # Two sums of the same powers differ in rounding: the share of a field that is all lines could exceed 1.
    share = (dataset.line_power / dataset.variance).clip(max=1).where(dataset.variance != 0, 0 * dataset.line_power)
    return dataset.assign(lattice_share=share.assign_attrs(units="1"))


_UNITS = {
    "line_power": "field^2", "variance": "field^2", "dc_power": "field^2", "phase_power": "field^2",
    "spectrum": "field^2", "std": "field", "zero_share": "1",
}  # fmt: skip


def _provenance(grid: Sequence[Config], base_seed: int) -> dict[str, object]:
    from checkerjax import __version__

    device = jax.devices()[0]
    return {
        "checkerjax_version": __version__,
        "jax_version": jax.__version__,
        "numpy_version": np.__version__,
        "device": f"{device.platform}: {device.device_kind}",
        "base_seed": base_seed,
        "configurations": json.dumps([_description(config) for config in grid]),
    }


def _description(config: Config) -> dict[str, object]:
    return {**vars(config), "stack": format_stack(as_stack("sweep", config.stack))}


def _is_list(seeds: object) -> bool:
    return isinstance(seeds, (Sequence, np.ndarray)) and not isinstance(seeds, (str, bytes))


def _seed_list(seeds: Any) -> list[int]:
    numbers = [_seed(f"seeds[{i}]", seed) for i, seed in enumerate(seeds)]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"sweep: seeds must be at least one, none twice; got {numbers}.")
    return numbers


def _seed(name: str, value: Any) -> int:
    number = as_int("sweep", name, value, minimum=0)
    if number >= 2**32:  # a key would take its last 32 bits, so that two seeds would be one
        raise ValueError(f"sweep: {name} must be below 2^32; got {number}.")
    return number


def _check_grid(grid: Sequence[Config]) -> None:
    if isinstance(grid, (str, Config)) or not isinstance(grid, Sequence):
        raise TypeError(f"sweep: grid must be a sequence of Config; got {type(grid).__name__}.")
    if not grid:
        raise ValueError("sweep: grid must have at least one configuration.")
    for i, config in enumerate(grid):
        if not isinstance(config, Config):
            raise TypeError(f"sweep: grid[{i}] must be a Config; got {type(config).__name__}.")
    names = [config.name for config in grid]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"sweep: names in the grid must be unique; got {sorted(twice)} more than once.")
    shapes = {config.name: config.field_size for config in grid}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"sweep: the fields of a grid must have one size; got {shapes}. Sweep them apart.")


def _check_photographs(grid: Sequence[Config], photographs: np.ndarray | None) -> np.ndarray | None:
    wanted = [config for config in grid if config.input == "photo"]
    if not wanted:
        return None
    if photographs is None:
        raise ValueError(f"sweep: {wanted[0].name!r} takes photographs; pass `photographs`, see `checkerjax.images`.")
    photographs = np.asarray(photographs)
    for config in wanted:
        shape = (*config.input_size, config.channels)
        if photographs.ndim != 4 or photographs.shape[1:] != shape or not len(photographs):
            raise ValueError(
                f"sweep: photographs must be [T, {', '.join(map(str, shape))}] for {config.name!r}; got shape "
                f"{photographs.shape}."
            )
    if photographs.dtype.kind != "f":
        raise TypeError(f"sweep: photographs must have a floating dtype, in [0, 1]; got {photographs.dtype}.")
    if not ((photographs >= 0) & (photographs <= 1)).all():  # also false for NaN
        low, high = photographs.min(), photographs.max()
        raise ValueError(f"sweep: photographs must be in [0, 1], none NaN; got values from {low:g} to {high:g}.")
    return photographs

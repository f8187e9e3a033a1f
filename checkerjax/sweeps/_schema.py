"""What a sweep's dataset holds: variables, their axes and units, and where a chunk's statistics go."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from checkerjax.sweeps._statistics import SeedStatistics


class Measured(NamedTuple):
    """What the arrays must know of a configuration."""

    name: str
    images: int  # fields of a seed
    periods: tuple[int, ...]
    size: tuple[int, ...]  # of the measured field
    channels: int  # of the measured field

    @property
    def period(self) -> int:
        return self.periods[-1]


@dataclasses.dataclass(frozen=True)
class Variable:
    """An array of the dataset; `chunk` is the part of it that one chunk of one configuration fills."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    units: str
    dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Schema:
    """The arrays of a sweep over `seeds`, in chunks of `chunk` seeds.

    Phase powers are kept as sums over groups of `group` seeds, whose number of values would else be by far the largest.
    """

    grid: tuple[Measured, ...]
    seeds: tuple[int, ...]
    chunk: int
    group: int = 1
    spectrum: str = "plane"
    sample: bool = True
    labels: tuple[tuple[str, tuple], ...] = ()  # further coordinates of the configurations, by name

    @property
    def chunks(self) -> int:
        return -(-len(self.seeds) // self.chunk)

    @property
    def periods(self) -> list[int]:
        return sorted({p for config in self.grid for p in config.periods})

    @functools.cached_property
    def variables(self) -> dict[str, Variable]:
        """All arrays, by name."""
        configs, seeds, chunk = len(self.grid), len(self.seeds), self.chunk
        groups, each = self.chunks * -(-chunk // self.group), -(-chunk // self.group)
        images, longest = max(c.images for c in self.grid), max(c.period for c in self.grid)

        def of_seeds(dims: str, *sizes: int, units: str = "field^2") -> Variable:
            return Variable(("config", "seed", *dims.split()), (configs, seeds, *sizes), (1, chunk, *sizes), units)

        found = {
            "line_power": of_seeds("image period", images, len(self.periods)),
            "variance": of_seeds("image", images),
            "dc_power": of_seeds("image", images),
            "std": of_seeds("image", images, units="field"),
            "zero_share": of_seeds("", units="1"),
            "phase_power": Variable(
                ("config", "seed" if self.group == 1 else "group", "image", "phase_y", "phase_x"),
                (configs, seeds if self.group == 1 else groups, images, longest, longest),
                (1, each, images, longest, longest),
                "field^2",
            ),
        }
        size = tuple(max(c.size[axis] for c in self.grid) for axis in (0, 1))
        if self.spectrum != "none":
            dims, sizes = ("frequency_y", "frequency_x"), size
            if self.spectrum == "axes":
                dims, sizes = ("axis", "bin"), (2, max(size) // 2 + 1)
            lead = (configs, self.chunks)
            found["spectrum"] = Variable(("config", "chunk", *dims), (*lead, *sizes), (1, 1, *sizes), "field^2")
        if self.sample:
            channels = max(c.channels for c in self.grid)
            sizes = (*size, channels)
            found["sample"] = Variable(("config", "y", "x", "channel"), (configs, *sizes), (1, *sizes), "field")
        found["done"] = Variable(("config", "chunk"), (configs, self.chunks), (1, 1), "1", "uint8")
        return found

    def pieces(
        self, index: int, chunk: int, stats: SeedStatistics
    ) -> Iterator[tuple[str, tuple[Any, ...], np.ndarray]]:
        """Name, place and values of what one chunk `[U, ...]` of a configuration gives."""
        config, count = self.grid[index], min(self.chunk, len(self.seeds) - chunk * self.chunk)
        seeds = slice(chunk * self.chunk, chunk * self.chunk + count)
        columns = [self.periods.index(p) for p in config.periods]
        variables = self.variables
        for name in ("line_power", "variance", "dc_power", "std", "zero_share"):
            values = np.full((count, *variables[name].shape[2:]), np.nan, np.float32)
            given = np.asarray(getattr(stats, name))[:count]
            if name == "line_power":
                values[:, : config.images, columns] = given
            elif name == "zero_share":
                values[...] = given
            else:
                values[:, : config.images] = given
            yield name, (index, seeds), values
        each = variables["phase_power"].chunk[1]
        powers = np.asarray(stats.phase_power, np.float64)[:count]
        groups = np.add.reduceat(powers, np.arange(0, count, self.group), axis=0)
        values = np.full((len(groups), *variables["phase_power"].shape[2:]), np.nan, np.float32)
        values[:, : config.images, : config.period, : config.period] = groups
        start = chunk * each if self.group > 1 else seeds.start
        yield "phase_power", (index, slice(start, start + len(groups))), values
        if "spectrum" in variables:
            yield "spectrum", (index, chunk), _padded(stats.spectrum, variables["spectrum"].shape[2:])
        if "sample" in variables and chunk == 0:
            yield "sample", (index,), _padded(stats.sample, variables["sample"].shape[1:])


def _padded(values: Any, shape: Sequence[int]) -> np.ndarray:
    """NaN where a larger configuration has more."""
    values = np.asarray(values, np.float32)
    return np.pad(values, [(0, n - m) for n, m in zip(shape, values.shape)], constant_values=np.nan)

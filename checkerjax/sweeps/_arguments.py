"""Checks of what `sweep` is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from checkerjax._checks import as_int
from checkerjax.sweeps._config import Config


def as_seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds: a number of them, or their list."""
    if _is_list(seeds):
        return tuple(_seed_list(seeds))
    return tuple(range(as_int("sweep", "seeds", seeds, minimum=1)))


def _is_list(seeds: object) -> bool:
    return isinstance(seeds, (Sequence, np.ndarray)) and not isinstance(seeds, (str, bytes))


def _seed_list(seeds: Any) -> list[int]:
    numbers = [as_seed(f"seeds[{i}]", seed) for i, seed in enumerate(seeds)]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"sweep: seeds must be at least one, none twice; got {numbers}.")
    return numbers


def as_seed(name: str, value: Any) -> int:
    number = as_int("sweep", name, value, minimum=0)
    if number >= 2**32:  # a key would take its last 32 bits, so that two seeds would be one
        raise ValueError(f"sweep: {name} must be below 2^32; got {number}.")
    return number


def check_grid(grid: Sequence[Config], *, one_size: bool) -> None:
    """Refuses what is no grid: no configurations, names twice, or several sizes where fields are kept whole."""
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
    if one_size and len(set(shapes.values())) > 1:
        raise ValueError(f"sweep: the fields of a grid must have one size; got {shapes}. Sweep them apart.")


def check_photographs(
    grid: Sequence[Config], photographs: np.ndarray | None, *, cropped: bool = False
) -> np.ndarray | None:
    """The tiles, in [0, 1], if any configuration takes them: as large as its input, or larger if cropped."""
    wanted = [config for config in grid if config.input == "photo"]
    if not wanted:
        return None
    if photographs is None:
        raise ValueError(f"sweep: {wanted[0].name!r} takes photographs; pass `photographs`, see `checkerjax.images`.")
    photographs = np.asarray(photographs)
    for config in wanted:
        shape = (*config.input_size, config.channels)
        same = photographs.ndim == 4 and photographs.shape[1:] == shape
        holds = photographs.ndim == 4 and all(n >= m for n, m in zip(photographs.shape[1:], shape))
        if not (same or (cropped and holds and photographs.shape[3] == shape[2])) or not len(photographs):
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

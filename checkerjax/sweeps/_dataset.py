"""Arrays of a sweep as a labelled dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from checkerjax.stacks import as_stack, format_stack
from checkerjax.sweeps._schema import Schema

if TYPE_CHECKING:
    import xarray


def import_xarray(op: str):
    """The xarray package, or an error that says how to get it."""
    try:
        import xarray
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{op}: datasets need xarray, which is not installed; pip install 'checkerjax[analysis]'."
        ) from None
    return xarray


class Memory:
    """Keeps what a sweep finds in NumPy arrays."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.arrays = {
            name: np.full(v.shape, np.nan if v.dtype == "float32" else 0, v.dtype)
            for name, v in schema.variables.items()
        }

    def done(self) -> np.ndarray:
        """Which chunks are there, `[config, chunk]`."""
        return self.arrays["done"] != 0

    def write(self, index: int, chunk: int, stats: Any) -> None:
        """Puts one chunk of one configuration in its place."""
        for name, place, values in self._schema.pieces(index, chunk, stats):
            self.arrays[name][place] = values
        self.arrays["done"][index, chunk] = 1


def coordinates(schema: Schema) -> dict[str, Any]:
    """Coordinates of the arrays; those of text are lists."""
    found: dict[str, Any] = {
        "config": [config.name for config in schema.grid],
        "seed": np.asarray(schema.seeds),
        "period": ("period", np.asarray(schema.periods), {"units": "samples"}),
    }
    if schema.spectrum == "plane":
        for axis, size in zip("yx", schema.variables["spectrum"].shape[2:]):
            name = f"frequency_{axis}"
            found[name] = (name, np.fft.fftfreq(size), {"units": "cycles/sample"})
    if schema.spectrum == "axes":
        bins = schema.variables["spectrum"].shape[-1]
        sizes = np.array([config.size for config in schema.grid])
        frequency = np.arange(bins) / sizes[..., None]
        frequency = np.where(frequency <= 0.5, frequency, np.nan)
        found["frequency"] = (("config", "axis", "bin"), frequency, {"units": "cycles/sample"})
        found["axis"] = ["y", "x"]
    for name, values in schema.labels:
        text = any(isinstance(value, str) for value in values)
        found[name] = ("config", [str(v) for v in values] if text else np.array(values, float))
    return found


def label(schema: Schema, arrays: Mapping[str, Any], attributes: Mapping[str, Any]) -> xarray.Dataset:
    """The dataset: chunks merged, shares added. What is not there yet is NaN."""
    xarray = import_xarray("sweep")
    done = np.asarray(arrays["done"]) != 0
    variables: dict[str, Any] = {}
    for name, variable in schema.variables.items():
        values, dims = np.asarray(arrays[name]), variable.dims
        if name == "done":
            continue
        values = values.astype(np.float64)
        if name == "spectrum":
            values, dims = _mean_over_seeds(values, done, schema), ("config", *dims[2:])
        variables[name] = (dims, values, {"units": variable.units})
    dataset = xarray.Dataset(variables, coords=coordinates(schema), attrs=dict(attributes))
    dataset["seeds_done"] = ("config", done @ _seeds_in_chunks(schema), {"units": "seeds"})
    # Two sums of the same powers differ in rounding: the share of a field that is all lines could exceed 1.
    share = (dataset.line_power / dataset.variance).clip(max=1).where(dataset.variance != 0, 0 * dataset.line_power)
    return dataset.assign(lattice_share=share.assign_attrs(units="1"))


def description(subject: Any) -> dict[str, Any]:
    """A configuration as what JSON can hold; functions are left out."""
    found = {name: value for name, value in vars(subject).items() if not callable(value)}
    return found | ({"stack": format_stack(as_stack("sweep", found["stack"]))} if "stack" in found else {})


def descriptions(subjects: Sequence[Any]) -> str:
    """All configurations in JSON."""
    return json.dumps([description(subject) for subject in subjects])


def _seeds_in_chunks(schema: Schema) -> np.ndarray:
    return np.minimum(schema.chunk, len(schema.seeds) - schema.chunk * np.arange(schema.chunks))


def _mean_over_seeds(sums: np.ndarray, done: np.ndarray, schema: Schema) -> np.ndarray:
    """`[config, *frequencies]` from sums `[config, chunk, *frequencies]`; NaN where no chunk is done."""
    counts = done @ _seeds_in_chunks(schema)
    mask = done.reshape(*done.shape, *(1,) * (sums.ndim - 2))
    total = np.where(mask, sums, 0).sum(1)
    with np.errstate(invalid="ignore"):
        return total / counts.reshape(-1, *(1,) * (total.ndim - 1))

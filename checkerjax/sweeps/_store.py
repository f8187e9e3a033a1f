"""Sweeps on disk: zarr v3, one group a dataset, written whole or not at all."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from checkerjax import __version__
from checkerjax.sweeps._chunk_store import address
from checkerjax.sweeps._dataset import import_xarray
from checkerjax.sweeps._sweep import read

if TYPE_CHECKING:
    import xarray

_MARK = "checkerjax_version"


def save(datasets: Mapping[str, xarray.Dataset], path: str | os.PathLike[str]) -> pathlib.Path:
    """Writes datasets as the groups of one zarr store; a reader never sees a part.

    The new store is written beside the old one and then takes its place, which is empty for an instant.

    Args:
      datasets: name to dataset; arrays of numbers and coordinates of text.
      path: of the store, usually ending in ".zarr". An earlier store of checkerjax there is replaced.

    Returns:
      The path.

    Raises:
      ValueError: if something else is at that place.
      OSError: if the place cannot be written.
    """
    path = check_place(path)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        _write_group(partial, {"zarr_groups": sorted(datasets), _MARK: __version__})
        for name, dataset in datasets.items():
            _write_dataset(partial / name, dataset)
        partial.chmod(0o755)
        _replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def open(path: str | os.PathLike[str], group: str | None = None) -> xarray.Dataset:
    """Reads a sweep from its store, also while it is written, or one dataset of a store that `save` wrote.

    Args:
      path: of the store; a sweep's may be gs:// or s3://.
      group: name of the dataset in a store that `save` wrote.

    Returns:
      The dataset, in memory, with its coordinates of text. What a sweep has not done yet is NaN.

    Raises:
      ValueError: if there is no such store or group; the message names the groups that there are.
      ModuleNotFoundError: without xarray and zarr; the message says what to install.
    """
    xarray = import_xarray("open")
    if group is None and not groups(path):
        return read(address(path))
    _check_zarr("open")
    root = pathlib.Path(path)
    found = groups(root)
    if not found:
        raise ValueError(f"open: {str(root)!r} is not a store of checkerjax.")
    if group not in found:
        raise ValueError(f"open: {str(root)!r} has no group {group!r}; it has {', '.join(found)}.")
    with xarray.open_zarr(root / group, consolidated=False, chunks=None) as stored:
        dataset = stored.load()
    texts = json.loads(dataset.attrs.pop("text_coordinates"))
    return dataset.assign_coords({name: (name, values) for name, values in texts.items()})


def groups(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the datasets in a store, none if there is no store.

    Example:
      >>> groups("no such place.zarr")
      ()
    """
    return tuple(_read_attributes(pathlib.Path(path)).get("zarr_groups", ()))


def check_place(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path, if a store can be written there: its folder is made, and what is there already is ours to replace."""
    path = pathlib.Path(path).absolute()
    if path.exists() and _MARK not in _read_attributes(path):
        raise ValueError(f"save: {str(path)!r} exists and is not a store of checkerjax; choose another place.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(f"save: cannot write into the folder {str(path.parent)!r}: {error.strerror}.") from error
    return path


def _check_zarr(op: str) -> None:
    try:
        import zarr  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{op}: stores are read with zarr, which is not installed; pip install 'checkerjax[analysis]'."
        ) from None


def _read_attributes(path: pathlib.Path) -> dict:
    try:
        attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _write_group(path: pathlib.Path, attributes: Mapping[str, object]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    (path / "zarr.json").write_text(json.dumps(metadata, indent=1))


def _write_dataset(path: pathlib.Path, dataset: xarray.Dataset) -> None:
    # tensorstore has no variable-length text: coordinates of text travel as JSON in the attributes.
    texts = {str(name): c.values.tolist() for name, c in dataset.coords.items() if c.dtype.kind in "OUT"}
    for name, variable in dataset.variables.items():
        if str(name) not in texts:
            _write_array(path / str(name), variable.values, [str(d) for d in variable.dims], variable.attrs)
    _write_group(path, {**dataset.attrs, "text_coordinates": json.dumps(texts)})


def _write_array(path: pathlib.Path, values: np.ndarray, dims: list[str], attributes: Mapping[str, object]) -> None:
    import tensorstore

    metadata = {
        "shape": list(values.shape),
        "data_type": str(values.dtype),
        "dimension_names": dims,
        "attributes": dict(attributes),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(n, 1) for n in values.shape]}},
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": 3, "checksum": True}},
        ],
    }
    if values.dtype.kind == "f":
        metadata["fill_value"] = "NaN"
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": metadata}
    array = tensorstore.open(spec, create=True).result()
    array[...].write(values).result()


def _replace(new: pathlib.Path, path: pathlib.Path) -> None:
    """Puts a folder in the place of another; if the second step fails, the first is taken back."""
    old = None
    if path.exists():
        old = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
        os.replace(path, old / path.name)
    try:
        os.replace(new, path)
    except OSError:
        if old is not None:
            os.replace(old / path.name, path)
        raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

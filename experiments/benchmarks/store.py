"""Results on disk: what they were measured with, written whole after each row, and taken up again."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import checkerjax
from experiments.benchmarks.config import Config

RESULTS, FIGURE = "results.json", "ratios.png"
COMMAND = "uv run python -m experiments.benchmarks.run"


def new_results(config: Config, torch: Any) -> dict[str, Any]:
    """Results without rows: configuration, versions and device."""
    return {
        "command": COMMAND,
        "seed": config.seed,
        "config": json.loads(json.dumps(dataclasses.asdict(config))),  # tuples as JSON gives them back
        "versions": {
            "checkerjax": checkerjax.__version__,
            "jax": jax.__version__,
            "jaxlib": importlib.metadata.version("jaxlib"),
            "flax": importlib.metadata.version("flax"),
            "torch": None if torch is None else str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": {
            "jax": jax.devices()[0].device_kind,
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "model": _processor(),
        },
        "rows": {},
    }


def read(folder: pathlib.Path) -> dict[str, Any]:
    """The results stored in a folder."""
    path = folder / RESULTS
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"benchmarks: no {RESULTS} in {str(folder)!r}; measure first, without --tables."
        ) from None


def take_up(fresh: Mapping[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    """The stored rows in `fresh`, if there are any and they were measured with the same things.

    Raises:
      ValueError: if they were not; what differs is named.
    """
    if not (folder / RESULTS).exists():
        return dict(fresh)
    stored = read(folder)
    different = [key for key in ("config", "versions", "device") if stored[key] != fresh[key]]
    if different:
        raise ValueError(
            f"benchmarks: the rows in {str(folder)!r} were measured with other {' and '.join(different)}; "
            "take another folder with --out, or measure all rows anew without --resume and --rows."
        )
    return {**fresh, "rows": stored["rows"]}


def write(results: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Writes the results whole: a reader sees the old file or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".results.", suffix=".json", dir=folder)
    partial = pathlib.Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(_format(results))
        partial.chmod(0o644)
        os.replace(partial, folder / RESULTS)
    finally:
        partial.unlink(missing_ok=True)


def _format(results: Mapping[str, Any]) -> str:
    """JSON with one line a list of times, so that a diff shows contenders."""
    rows = {name: json.dumps(row) for name, row in results["rows"].items()}
    head = json.dumps({key: value for key, value in results.items() if key != "rows"}, indent=1)
    body = ",\n".join(f"  {json.dumps(name)}: {text}" for name, text in rows.items())
    return f'{head[:-2]},\n "rows": {{\n{body}\n }}\n}}\n'


def _processor() -> str | None:
    """What the system calls the processor, where it says so."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)

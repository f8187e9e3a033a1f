"""What makes two sweeps the same: everything that their numbers depend on, as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from checkerjax.sweeps._dataset import description
from checkerjax.sweeps._engine import Plan
from checkerjax.sweeps._schema import Measured, Schema

FORMAT = 1


def specification(plan: Plan) -> dict[str, Any]:
    """All that a sweep's numbers depend on; not the devices, processes and restarts, on which they do not."""
    schema = plan.schema
    seeds: Any = list(schema.seeds)
    if seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        seeds = {"start": seeds[0], "stop": seeds[0] + len(seeds)}
    return {
        "format": FORMAT,
        "configurations": [description(config) for config in plan.configs],
        "measured": [list(one) for one in schema.grid],
        "labels": {name: list(values) for name, values in schema.labels},
        "seeds": seeds,
        "base_seed": plan.base_seed,
        "photographs": _digest(plan.photographs),
        "chunk": schema.chunk,
        "batch": plan.batch,
        "draws": plan.draws,
        "group": schema.group,
        "spectrum": schema.spectrum,
        "sample": schema.sample,
        "platform": jax.default_backend(),
    }


def schema_of(found: Mapping[str, Any]) -> Schema:
    """The schema that a specification stands for."""
    if found.get("format") != FORMAT:
        raise ValueError(f"sweep: the store has format {found.get('format')!r}; this version reads {FORMAT}.")
    grid = tuple(Measured(*(_tuple(value) for value in one)) for one in found["measured"])
    seeds = found["seeds"]
    numbers = range(seeds["start"], seeds["stop"]) if isinstance(seeds, dict) else seeds
    labels = tuple((name, tuple(values)) for name, values in found["labels"].items())
    kept = {name: found[name] for name in ("chunk", "group", "spectrum", "sample")}
    return Schema(grid, tuple(numbers), labels=labels, **kept)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _digest(photographs: np.ndarray | None) -> str | None:
    if photographs is None:
        return None
    return hashlib.sha256(np.ascontiguousarray(photographs, np.float32).tobytes()).hexdigest()[:16]

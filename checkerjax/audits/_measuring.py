"""A reading, measured: its outcome, its findings with numbers, its trace."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from checkerjax.audits._composed import compose_all
from checkerjax.audits._finding import Finding
from checkerjax.audits._graph import Roles
from checkerjax.audits._probes import Probed, probe_program
from checkerjax.audits._reading import Reading
from checkerjax.audits._redraw import Draw
from checkerjax.audits._report_parts import Outcome, Traced
from checkerjax.audits._statistics import Measured
from checkerjax.audits._trace import trace_nodes, traced_rows


class Probing(NamedTuple):
    """How a reading is measured."""

    op: str
    layouts: Sequence[str | Roles]  # of the data
    key: jax.Array
    draw: Draw | None
    redraw: int
    max_power_ratio: float


class Result(NamedTuple):
    """What was measured of a reading."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    rows: tuple[Traced, ...]
    notes: tuple[str, ...]
    spectrum: np.ndarray | None  # of the output under the white probe


def measure_reading(reading: Reading, probing: Probing | None, *, gradient: bool) -> Result:
    """Runs the probes, unless `probing` is None, and joins what they say with what was read."""
    nodes = trace_nodes(reading.graph, reading.findings)
    probed = None if probing is None else _probed(reading, probing, nodes)
    measured = {} if probed is None else dict(probed.nodes)
    findings = tuple(_with_numbers(f, measured.get(f.nodes[-1]), gradient) for f in reading.findings)
    outcome = _outcome(reading, probed, gradient)
    rows = traced_rows(reading.graph, nodes, findings, measured)
    notes, spectrum = ((), None) if probed is None else (probed.notes, probed.spectrum)
    return Result(outcome, findings, rows, (*_one_of_several(reading, gradient), *notes), spectrum)


def _probed(reading: Reading, probing: Probing, nodes: Sequence[int]) -> Probed:
    ends = [reading.program.outputs[_chosen(reading)]]
    return probe_program(
        probing.op,
        reading.program,
        reading.graph,
        reading.arrays,
        data=reading.data,
        layouts=probing.layouts,
        key=probing.key,
        outputs=ends,
        nodes=nodes,
        context=reading.context,
        draw=probing.draw,
        redraw=probing.redraw,
        max_power_ratio=probing.max_power_ratio,
    )


def _chosen(reading: Reading) -> int:
    """The output that the verdict is about: the first that is a field."""
    return next(iter(_fields(reading)), 0)


def _fields(reading: Reading) -> list[int]:
    """The outputs that are fields."""
    located = [reading.graph.located.get(value) for value in reading.program.outputs]
    spatial = [() if at is None else reading.graph.nodes[at.node].spatial for at in located]
    return [i for i, sizes in enumerate(spatial) if sizes]


def _one_of_several(reading: Reading, gradient: bool) -> list[str]:
    """A note where other outputs are fields too."""
    fields = _fields(reading)
    if len(fields) < 2:
        return []
    if gradient:
        return [f"Of the gradients of {len(fields)} inputs the first alone is measured."]
    return [
        f"fn returns {len(fields)} fields, and the verdict is about the first of them alone (output {fields[0]}). "
        "For another, audit a function that returns that one."
    ]


def _with_numbers(finding: Finding, field: Measured | None, gradient: bool) -> Finding:
    if field is None:
        return finding
    return dataclasses.replace(
        finding,
        lattice_ratio=field.lattice_ratio,
        power_ratio=field.power_ratio,
        lattice_ratios=field.lattice_ratios,
        power_ratios=field.power_ratios,
        zero_share=field.zero_share if gradient else None,
    )


def _outcome(reading: Reading, probed: Probed | None, gradient: bool) -> Outcome:
    at = reading.output
    if at is None:
        return Outcome(None, None)
    node, extent = reading.graph.nodes[at], reading.extents[at]
    composed = compose_all(reading.graph, at, reading.extents, reading.findings)
    field = None if probed is None or not probed.outputs else probed.outputs[0]
    kept = None if field is None else field.region
    interior: tuple[tuple[int, int], ...] = ()
    if kept is not None and not kept.whole:
        interior = tuple((s, s + q * p) for s, q, p in zip(kept.starts, kept.counts, kept.period))
    latent = not any(_has_space(reading, v) for v in reading.data)
    return Outcome(
        lattice_ratio=None if field is None else field.lattice_ratio,
        power_ratio=None if field is None else field.power_ratio,
        lattice_ratios=() if field is None else field.lattice_ratios,
        power_ratios=() if field is None else field.power_ratios,
        period=() if extent is None else extent.period,
        shape=node.spatial,
        interior=interior,
        grade=None if composed is None else composed.grade,
        counts=() if composed is None else composed.counts,
        latent=latent,
        zero_share=field.zero_share if field is not None and gradient else None,
        power_chance=None if field is None else field.power_chance,
    )


def _has_space(reading: Reading, value: int) -> bool:
    located = reading.graph.located.get(value)
    return located is not None and max(reading.graph.nodes[located.node].spatial, default=1) > 1

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
from checkerjax.audits._report_parts import Outcome, Thresholds, Traced, worst_first
from checkerjax.audits._statistics import Measured
from checkerjax.audits._trace import trace_nodes, traced_rows


class Probing(NamedTuple):
    """How a reading is measured."""

    op: str
    layouts: Sequence[str | Roles]  # of the data
    key: jax.Array
    draw: Draw | None
    redraw: int
    thresholds: Thresholds
    noise: float = 0.0  # on the flat probe


class Result(NamedTuple):
    """What was measured of a reading."""

    outcomes: tuple[Outcome, ...]  # of the outputs that are looked at, the worst first
    findings: tuple[Finding, ...]
    rows: tuple[Traced, ...]
    notes: tuple[str, ...]
    spectrum: np.ndarray | None  # of the worst output under the white probe
    flat_spectrum: np.ndarray | None  # and under the flat one

    @property
    def outcome(self) -> Outcome:
        """Of the worst output."""
        return self.outcomes[0] if self.outcomes else Outcome(None, None)


def measure_reading(reading: Reading, probing: Probing | None, *, thresholds: Thresholds, gradient: bool) -> Result:
    """Runs the probes, unless `probing` is None, and joins what they say with what was read."""
    nodes = trace_nodes(reading.graph, reading.findings, reading.reached)
    ends = reading.ends
    probed = None if probing is None or not ends else _probed(reading, probing, nodes)
    measured = {} if probed is None else dict(probed.nodes)
    findings = tuple(_with_numbers(f, measured.get(f.nodes[-1]), gradient) for f in reading.findings)
    fields = [None for _ in ends] if probed is None else probed.outputs
    outcomes = [_outcome(reading, i, field, gradient) for i, field in zip(ends, fields)]
    order = worst_first(outcomes, thresholds)
    nothing = [None for _ in ends]
    spectra, flat_spectra = (nothing, nothing) if probed is None else (probed.spectra, probed.flat_spectra)
    return Result(
        tuple(outcomes[i] for i in order),
        findings,
        traced_rows(reading.graph, nodes, findings, measured),
        () if probed is None else probed.notes,
        spectra[order[0]] if order else None,
        flat_spectra[order[0]] if order else None,
    )


def _probed(reading: Reading, probing: Probing, nodes: Sequence[int]) -> Probed:
    return probe_program(
        probing.op,
        reading.program,
        reading.graph,
        reading.arrays,
        data=reading.data,
        layouts=probing.layouts,
        key=probing.key,
        outputs=[reading.program.outputs[i] for i in reading.ends],
        nodes=nodes,
        context=reading.context,
        noise=probing.noise,
        draw=probing.draw,
        redraw=probing.redraw,
        max_power_ratio=probing.thresholds.max_power_ratio,
    )


def _with_numbers(finding: Finding, field: Measured | None, gradient: bool) -> Finding:
    if field is None:
        return finding
    return dataclasses.replace(
        finding,
        lattice_ratio=field.lattice_ratio,
        power_ratio=field.power_ratio,
        lattice_ratios=field.lattice_ratios,
        power_ratios=field.power_ratios,
        power_chance=field.power_chance,
        zero_share=field.zero_share if gradient else None,
    )


def _outcome(reading: Reading, i: int, field: Measured | None, gradient: bool) -> Outcome:
    """Of an output."""
    at = reading.end(i)
    assert at is not None
    node, extent = reading.graph.nodes[at], reading.extents[at]
    composed = compose_all(reading.graph, at, reading.extents, reading.findings)
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
        name=reading.names[i] if i < len(reading.names) else "",
    )


def _has_space(reading: Reading, value: int) -> bool:
    located = reading.graph.located.get(value)
    return located is not None and max(reading.graph.nodes[located.node].spatial, default=1) > 1

"""A report as JSON: every number there is, for other programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from checkerjax.audits._finding import Finding
from checkerjax.stacks import format_stack

if TYPE_CHECKING:
    from checkerjax.audits._report import AuditReport

FORMAT = "checkerjax audit 1"
MOST_VALUES = 16384  # of an array that is written out


def to_json(report: AuditReport) -> str:
    """One JSON object. Floats come back as they were, infinite ones and NaN are the strings "inf", "-inf" and "nan"."""
    return json.dumps(_plain(_contents(report)), indent=1, allow_nan=False, ensure_ascii=True) + "\n"


def _contents(report: AuditReport) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "verdict": report.verdict,
        "line_periods": report.line_periods,
        "power_periods": report.power_periods,
        "backward_verdict": report.backward_verdict,
        "loss_verdict": report.loss_verdict,
        "output": report.output,
        "outputs": report.outputs,
        "forward": report.forward,
        "trace": report.trace,
        "backward_outcome": report.backward_outcome,
        "backward_outcomes": report.backward_outcomes,
        "backward": report.backward,
        "backward_trace": report.backward_trace,
        "loss_outcome": report.loss_outcome,
        "loss_outcomes": report.loss_outcomes,
        "loss": report.loss,
        "loss_trace": report.loss_trace,
        "not_understood": report.not_understood,
        "stack": None if report.stack is None else format_stack(report.stack),
        "stack_reason": report.stack_reason,
        **_spectrum("spectrum", report.spectrum),
        **_spectrum("flat_spectrum", report.flat_spectrum),
        "notes": report.notes,
        "settings": {**_fields(report.settings), "versions": dict(report.settings.versions)},
    }


def _spectrum(name: str, spectrum: np.ndarray | None) -> dict[str, Any]:
    """In FFT order; a large one by its size alone."""
    if spectrum is None:
        return {name: None, f"{name}_shape": None}
    spectrum = np.asarray(spectrum)
    return {name: spectrum if spectrum.size <= MOST_VALUES else None, f"{name}_shape": spectrum.shape}


def _fields(value: Any) -> dict[str, Any]:
    hidden = {"nodes"} if isinstance(value, Finding) else set()  # numbers of a graph that is not written
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name not in hidden}


def _plain(value: Any) -> Any:
    """Numbers, strings, lists and dicts."""
    if dataclasses.is_dataclass(value):
        return _plain(_fields(value))
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

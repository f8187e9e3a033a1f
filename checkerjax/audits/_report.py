"""What an audit says of a program."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from checkerjax.audits._finding import Finding
from checkerjax.audits._report_json import to_json
from checkerjax.audits._report_markdown import markdown
from checkerjax.audits._report_parts import Outcome, Settings, Thresholds, Traced, joint_verdict
from checkerjax.audits._report_table import table
from checkerjax.stacks import Stack

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from checkerjax.audits._fixed import FixReport


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AuditReport:
    """Whether a program puts a grid into its output and into its gradients, which operations make it, what to change.

    Printing it gives a table; `to_markdown`, `to_json` and `figure` give it in other forms.
    """

    verdict: str | None  # "clean", "lines", "power" or "both"; None if nothing was measured
    forward: tuple[Finding, ...]  # in program order
    backward: tuple[Finding, ...]  # of the input gradient, in its program's order: from the output on
    output: Outcome
    stack: Stack | None = None  # the program as layer descriptions, if it is one
    stack_reason: str | None = None  # why it is none
    outputs: tuple[Outcome, ...] = ()  # of all fields that the function returns, `output` first
    backward_outcome: Outcome | None = None  # of the input gradient
    backward_outcomes: tuple[Outcome, ...] = ()  # of several inputs, likewise
    loss: tuple[Finding, ...] = ()  # of the gradient of a given loss, from the loss on
    loss_outcome: Outcome | None = None  # of it
    loss_outcomes: tuple[Outcome, ...] = ()  # by several inputs, likewise
    not_understood: tuple[Finding, ...] = ()  # spatial operations without a rule, forward and backward
    trace: tuple[Traced, ...] = ()  # every spatial operation of the program, in its order
    backward_trace: tuple[Traced, ...] = ()  # of the input gradient
    loss_trace: tuple[Traced, ...] = ()  # of the gradient of the loss
    spectrum: np.ndarray | None = None  # [*spatial], mean power of the output under the white probe, in FFT order
    flat_spectrum: np.ndarray | None = None  # likewise under the flat probe; None of latents, which have one probe
    notes: tuple[str, ...] = ()
    settings: Settings = dataclasses.field(default_factory=Settings)
    fixer: Callable[[AuditReport, Finding | None], FixReport] | None = None  # what `try_fix` calls

    @property
    def thresholds(self) -> Thresholds:
        """What was called a grid."""
        return self.settings.thresholds

    @property
    def line_periods(self) -> tuple[int, ...]:
        """Periods of the lines in the output, ascending."""
        limit = self.thresholds.max_lattice_ratio
        return tuple(sorted({p for o in self.outputs or (self.output,) for p in o.line_periods(limit)}))

    @property
    def power_periods(self) -> tuple[int, ...]:
        """Periods of the unequal phase powers of the output, ascending."""
        limit = self.thresholds.max_power_ratio
        return tuple(sorted({p for o in self.outputs or (self.output,) for p in o.power_periods(limit)}))

    @property
    def backward_verdict(self) -> str | None:
        """As `verdict`, for the gradient of the input."""
        return _joint(self.backward_outcome, self.backward_outcomes, self.thresholds)

    @property
    def loss_verdict(self) -> str | None:
        """As `verdict`, for the gradient of the loss."""
        return _joint(self.loss_outcome, self.loss_outcomes, self.thresholds)

    def table(self) -> str:
        """The report as text, at most 100 columns wide."""
        return table(self)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        verdict = self.verdict or "not measured"
        return f"<AuditReport: {verdict}; findings: {len(self.forward)} forward, {len(self.backward)} backward>"

    def to_markdown(self) -> str:
        """The report as Markdown, with the trace in full."""
        return markdown(self)

    def to_json(self) -> str:
        """The report as one JSON object; infinite numbers and NaN are strings, large spectra are left out."""
        return to_json(self)

    def figure(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The spectrum of the output with its lattice, beside what each operation does.

        Args:
          path: where to write it too, as .png, .svg or .pdf.

        Returns:
          A matplotlib figure.

        Raises:
          ValueError: for another ending.
          OSError: if the place cannot be written.
          ModuleNotFoundError: without matplotlib; the message says what to install.
        """
        from checkerjax.plots._audit import audit_figure  # plots read all rooms, and matplotlib is optional
        from checkerjax.plots._files import check_suffix, save

        if path is not None:
            check_suffix("figure", path)
        drawn = audit_figure(self)
        if path is not None:
            save(drawn, path)
        return drawn

    def try_fix(self, *, finding: Finding | None = None) -> FixReport:
        """Applies the advice in the program and measures again, with the same draws.

        Args:
          finding: of `forward` or `backward`, the only one to change; None: all that need it.

        Returns:
          What was changed, and the reports before and after; printing it gives a table.

        Raises:
          ValueError: for a report without its program, a finding of another report, or one that nothing is known for.
        """
        if self.fixer is None:
            raise ValueError("try_fix: this report has no program to change; use the one that audit returned.")
        return self.fixer(self, finding)


def _joint(first: Outcome | None, every: tuple[Outcome, ...], thresholds: Thresholds) -> str | None:
    return joint_verdict(every or (() if first is None else (first,)), thresholds)

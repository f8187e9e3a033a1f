"""A program before and after what was advised, measured with the same draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from checkerjax.audits._advice import advise, needs, remedies_of
from checkerjax.audits._finding import Finding
from checkerjax.audits._fixes import Edit, changed, written
from checkerjax.audits._reading import Reading
from checkerjax.audits._report import AuditReport
from checkerjax.audits._report_parts import Outcome, Thresholds
from checkerjax.audits._report_sentences import hidden_grid
from checkerjax.audits._report_words import WIDTH, listed, number, plural, printable, wrapped

Call = Callable[..., list[Any]]  # the arrays of a program's inputs -> its outputs


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FixReport:
    """What came of advice that was applied in the program; printing it gives a table."""

    before: AuditReport
    after: AuditReport  # `before` itself if nothing was changed
    changes: tuple[str, ...]  # the advice that was applied
    left: tuple[str, ...] = ()  # findings that need a change and could not be changed in place, and why

    @property
    def is_clean(self) -> bool:
        """Whether no grid is left, in the output or in the gradient of the input."""
        verdicts = self.after.verdict, self.after.backward_verdict, self.after.loss_verdict
        return verdicts[0] is not None and all(v in ("clean", None) for v in verdicts)

    @property
    def helped(self) -> bool:
        """Whether something that was above its limit no longer is."""
        pairs = [(a, b) for _, a, b in self._outcomes()]
        limits = self.before.thresholds
        return any(len(_above(b, limits)) < len(_above(a, limits)) for a, b in pairs)

    def table(self) -> str:
        """Before and after, at most 100 columns wide."""
        lines = [f"{'':<23}{'verdict':<20}{'lines over DC':<25}{'phase power ratio':<25}".rstrip()]
        for name, a, b in self._outcomes():
            verdicts = [str(o.verdict(self.before.thresholds) or "-") for o in (a, b)]
            lattice = [number(o.lattice_ratio) for o in (a, b)]
            power = [number(o.power_ratio) for o in (a, b)]
            cells = [" -> ".join(pair) for pair in (verdicts, lattice, power)]
            lines.append(f"{name:<23}{cells[0]:<20}{cells[1]:<25}{cells[2]:<25}".rstrip())
        for title, texts in (("changed", self.changes), ("not changed", self.left)):
            lines += ["", title] if texts else []
            for text in texts:
                lines += wrapped(f"- {printable(text)}", WIDTH, "  ")
        return "\n".join([*wrapped(self.conclusion(), WIDTH, ""), "", *lines])

    def conclusion(self) -> str:
        """One sentence."""
        if not self.changes:
            return "Nothing to change." if not self.left else "Nothing could be changed in the program as it stands."
        count = plural(len(self.changes), "change")
        if self.after.verdict is None:
            return f"{count} made; nothing was measured, so what came of it is not known."
        if self.is_clean:
            return f"No grid is left after {count}."
        rest, weaker = [], []
        for name, a, b in self._outcomes():
            was = _above(a, self.before.thresholds)
            for what, value in _above(b, self.before.thresholds).items():
                rest.append(f"{what} of {name}")
                weaker.append(value < 0.8 * was.get(what, 0.0))
        left = listed(rest)
        if self.helped:
            return f"{count} made; what is left above the limits: {left}."
        if any(weaker):
            return f"{count} made: the grid is weaker, and still above the limits ({left})."
        return f"{count} made, and it did not help ({left}): what follows makes the grid again."

    def _outcomes(self) -> list[tuple[str, Outcome, Outcome]]:
        pairs = [
            ("the output", self.before.output, self.after.output),
            ("the input's gradient", self.before.backward_outcome, self.after.backward_outcome),
            ("the loss's gradient", self.before.loss_outcome, self.after.loss_outcome),
        ]
        limits = self.before.thresholds
        known = [(name, a, b) for name, a, b in pairs if a is not None and b is not None]
        return [each for each in known if each[0] == "the output" or each[1].verdict(limits) is not None]

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<FixReport: {self.before.verdict} -> {self.after.verdict}; changes: {len(self.changes)}>"


@dataclasses.dataclass(frozen=True, eq=False)
class Fixer:
    """Applies the first advice that each finding has.

    Args:
      forward: the program.
      gradient: its input gradient, if that was audited.
      loss: the gradient of a loss, likewise.
      audited: the audit of a function of the program's inputs, with the same options and draws.
    """

    forward: Reading
    gradient: Reading | None
    loss: Reading | None
    audited: Callable[[Call], AuditReport]

    def __call__(self, report: AuditReport, finding: Finding | None = None) -> FixReport:
        """What comes of the advice.

        Args:
          report: of the program.
          finding: the only one to change, needed or not; by default all that need it.

        Raises:
          ValueError: for a finding that is not of this report, or that nothing can be done about.
        """
        wanted = self._wanted(report, finding)
        edits: dict[Any, Edit] = {}
        texts, left = [], []
        for each, reading, forward in wanted:
            offered = remedies_of(each, reading, forward, trained=report.settings.redraw == 0)
            fitting = [r for r in offered if r.edits and self._reached(r.edits)]
            if not fitting:
                left.append(_why_not(each, bool(offered)))
                continue
            texts.append(fitting[0].text)
            edits.update({(written(e.step), e.operand, e.output): e for e in fitting[0].edits})
        if finding is not None and left:
            raise ValueError(f"try_fix: {left[0]}")
        after = self.audited(changed(self.forward.program, list(edits.values()))) if edits else report
        return FixReport(report, after, tuple(dict.fromkeys(texts)), tuple(dict.fromkeys(left)))

    def _reached(self, edits: tuple[Edit, ...]) -> bool:
        """Whether the steps are run one by one: those inside a loop that is not written out are not."""
        steps = {written(step) for step in self.forward.program.steps}
        return all(written(e.step) in steps for e in edits)

    def _wanted(self, report: AuditReport, only: Finding | None) -> list[tuple[Finding, Reading, Reading | None]]:
        limits = report.thresholds
        found: list[tuple[Finding, Reading, Reading | None]] = []
        for part in _parts(report, self.forward, self.gradient, self.loss):
            needed = needs(part.reading.graph, part.findings, part.outcomes, limits, hidden=part.hidden)
            found += [
                (f, part.reading, part.forward)
                for f, need in zip(part.findings, needed)
                if (need.change if only is None else f is only)
            ]
        if only is not None and not found:
            raise ValueError("try_fix: finding must be one of report.forward or report.backward (or .loss), itself.")
        return found


class _Part(NamedTuple):
    """One direction of a report."""

    name: str  # of its findings in the report
    reading: Reading
    forward: Reading | None  # of a gradient, what can be changed
    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]
    hidden: bool = False  # whether a grid is left that the outcomes do not show


def _parts(report: AuditReport, forward: Reading, gradient: Reading | None, loss: Reading | None) -> list[_Part]:
    hidden = hidden_grid(report) is not None
    parts = [_Part("forward", forward, None, report.forward, report.outputs or (report.output,), hidden)]
    gradients = (
        ("backward", gradient, report.backward, report.backward_outcomes, report.backward_outcome),
        ("loss", loss, report.loss, report.loss_outcomes, report.loss_outcome),
    )
    for name, reading, findings, outcomes, worst in gradients:
        if reading is not None and worst is not None:
            parts.append(_Part(name, reading, forward, findings, outcomes or (worst,)))
    return parts


def with_advice(
    report: AuditReport,
    forward: Reading,
    gradient: Reading | None,
    audited: Callable[[Call], AuditReport],
    *,
    loss: Reading | None = None,
) -> AuditReport:
    """A report whose findings say what to change, and whose `try_fix` tries it.

    Args:
      report: without advice.
      forward: the program that it is of.
      gradient: its input gradient, if that was audited.
      audited: as `Fixer` takes it.
      loss: the gradient of a loss, if that was audited.
    """
    trained, limits = report.settings.redraw == 0, report.thresholds
    told = {
        part.name: advise(
            part.reading, part.findings, part.outcomes, limits, forward=part.forward, trained=trained,
            hidden=part.hidden,
        )
        for part in _parts(report, forward, gradient, loss)
    }  # fmt: skip
    return dataclasses.replace(report, **told, fixer=Fixer(forward, gradient, loss, audited))


def _above(outcome: Outcome, limits: Thresholds) -> dict[str, float]:
    """What is above its limit, and how much it is."""
    measured = (
        ("lines", outcome.lattice_ratio, limits.max_lattice_ratio),
        ("phase powers", outcome.power_ratio, limits.max_power_ratio),
    )
    return {name: value for name, value, limit in measured if value is not None and value > limit}


def _why_not(finding: Finding, offered: bool) -> str:
    where = finding.path or finding.source
    name = f"{finding.operation}{f' {where}' if where else ''}"
    if not finding.certain:
        return f"{name}: inside a loop or branch, whose steps cannot be changed one by one."
    return f"{name}: {'its advice changes the shapes of parameters' if offered else 'no change is known for it'}."

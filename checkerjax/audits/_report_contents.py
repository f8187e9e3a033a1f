"""What a report says, block by block, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from checkerjax.audits import _report_sentences as sentences
from checkerjax.audits._finding import GRADES, Finding
from checkerjax.audits._report_parts import Outcome, PerPeriod, Thresholds
from checkerjax.audits._report_words import listed, marked, number, share, size
from checkerjax.stacks import format_stack

if TYPE_CHECKING:
    from checkerjax.audits._report import AuditReport


class Column(NamedTuple):
    """How a column of a table is set."""

    name: str
    kind: str  # "number", "word", "label" (never cut), "name" (its end is kept), "text" (its start is kept)


class Block(NamedTuple):
    """A heading, sentences, and a table."""

    title: str
    text: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


_NUMBERS = (Column("", "label"), Column("measured", "number"), Column("limit", "number"), Column("by period", "text"))
_UNKNOWN = (Column("operation", "text"), Column("module", "name"), Column("source", "name"))


def headline(report: AuditReport) -> str:
    """The verdicts in a few words."""
    others = ("gradient of the input", report.backward_verdict), ("gradient of the loss", report.loss_verdict)
    gradients = ", ".join(f"{what}: {verdict}" for what, verdict in others if verdict is not None)
    return f"{report.verdict or 'not measured'}{f' ({gradients})' if gradients else ''}"


def contents(report: AuditReport) -> list[Block]:
    """All blocks of a report but its trace, those with nothing to say left out."""
    blocks = [
        Block("", (sentences.verdict_sentence(report),)),
        _outcome(sentences.OUTPUT, report.output, report),
        _findings("forward: what changes the resolution, and constant filters", report.forward, report),
        *_gradient(sentences.INPUT_GRADIENT, report.backward_outcome, report.backward_verdict, report),
        _findings("backward: what the gradient passes, from the output on", report.backward, report),
        *_gradient(sentences.LOSS_GRADIENT, report.loss_outcome, report.loss_verdict, report),
        Block("what to change", tuple(_advice(report))),
        _not_understood(report),
        Block("as a stack", _stack(report)),
        Block("notes", report.notes),
        Block("how it was made", tuple(sentences.measured_sentences(report))),
        Block("words", tuple(_words(report))),
    ]
    return [block for block in blocks if block.text or block.rows]


def _outcome(name: str, outcome: Outcome, report: AuditReport, *more: str) -> Block:
    text = [*more, sentences.place_sentence(outcome)]
    text += sentences.birth_sentences(report) if name == sentences.OUTPUT else []
    text += [sentences.chance_sentence(outcome, report.thresholds)]
    text += [sentences.count_sentence(outcome), sentences.zeros_sentence(outcome)]
    rows = []
    if outcome.lattice_ratio is not None or outcome.power_ratio is not None:
        limits = report.thresholds
        lines = "lines over DC, of draws of the latent" if outcome.latent else "lines over DC, flat probe"
        power = "phase power ratio, white probe"
        rows = [
            _row(lines, outcome.lattice_ratio, limits.max_lattice_ratio, outcome.lattice_ratios),
            _row(power, outcome.power_ratio, outcome.power_limit(limits.max_power_ratio), outcome.power_ratios),
        ]
    return Block(name, tuple(t for t in text if t), _NUMBERS if rows else (), tuple(rows))


def _row(name: str, value: float | None, limit: float, by_period: PerPeriod) -> tuple[str, ...]:
    return name, marked(value, limit), number(limit), ", ".join(f"{p}: {number(v)}" for p, v in by_period)


def _findings(title: str, findings: Sequence[Finding], report: AuditReport) -> Block:
    """A row for each; statistics only where something was measured."""
    measured = any(f.lattice_ratio is not None or f.power_ratio is not None for f in findings)
    zeros = any(f.zero_share is not None for f in findings)
    columns = [Column("#", "number"), Column("role", "word"), Column("kernel", "word"), Column("stride", "word")]
    columns += [Column("grade", "word")]
    columns += [Column("lines", "number"), Column("power", "number")] if measured else []
    columns += [Column("zeros", "number")] if zeros else []
    columns += [Column("module", "name"), Column("source", "name")]
    rows = []
    for i, f in enumerate(findings, 1):
        row = [str(i), f.role, size(f.kernel_size) or "-", size(f.stride) or "-", _grade(f)]
        row += [*_ratios(f, report.thresholds)] if measured else []
        row += [share(f.zero_share)] if zeros else []
        rows.append((*row, f.path or "-", f.source or "-"))
    return Block(title, (), tuple(columns), tuple(rows))


def _grade(finding: Finding) -> str:
    return ("-" if finding.role == "unknown" else finding.grade) + ("" if finding.certain else "?")


def _ratios(finding: Finding, thresholds: Thresholds) -> tuple[str, str]:
    return (
        marked(finding.lattice_ratio, thresholds.max_lattice_ratio),
        marked(finding.power_ratio, thresholds.max_power_ratio),
    )


def _gradient(name: str, outcome: Outcome | None, verdict: str | None, report: AuditReport) -> list[Block]:
    if outcome is None:
        return []
    said = [sentences.outcome_sentence(outcome, verdict, report.thresholds, name)] if verdict is not None else []
    return [_outcome(name, outcome, report, *said)]


def _advice(report: AuditReport) -> list[str]:
    """Each piece once, with the findings that it is for."""
    wanted: dict[str, list[tuple[str, int]]] = {}
    for direction, findings in (("forward", report.forward), ("backward", report.backward)):
        for i, finding in enumerate(findings, 1):
            for text in finding.advice:
                wanted.setdefault(text, []).append((direction, i))
    return [f"{_grouped(places)}: {text}" for text, places in wanted.items()]


def _grouped(places: Sequence[tuple[str, int]]) -> str:
    """ "forward 1 to 3, 5 and backward 2"."""
    found: dict[str, list[int]] = {}
    for direction, i in places:
        found.setdefault(direction, []).append(i)
    return listed([f"{direction} {_ranges(numbers)}" for direction, numbers in found.items()])


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, runs of three and more by their ends."""
    runs: list[list[int]] = []
    for i in numbers:
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return ", ".join(f"{r[0]} to {r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs)


def _not_understood(report: AuditReport) -> Block:
    rows = tuple((f.operation, f.path or "-", f.source or "-") for f in report.not_understood)
    text = "counts and grades do not see through these; what was measured does"
    if report.verdict is None:
        text = "counts and grades do not see through these"
    return Block("not understood", (text,) if rows else (), _UNKNOWN, rows)


def _stack(report: AuditReport) -> tuple[str, ...]:
    if report.stack is not None:
        return (format_stack(report.stack),)
    return (f"none: {report.stack_reason}",) if report.stack_reason else ()


def _words(report: AuditReport) -> list[str]:
    """The meaning of the words that were used."""
    findings = (*report.forward, *report.backward)
    outcomes = (report.output, report.backward_outcome, report.loss_outcome)
    used = {f.grade for f in findings if f.role != "unknown"} | {o.grade for o in outcomes if o is not None}
    said = [f"{grade}: {sentences.GRADES[grade]}" for grade in GRADES if grade in used]
    roles = [r for r in sentences.ROLES if r in {f.role for f in findings}]
    said += ["; ".join(f"{r}: {sentences.ROLES[r]}" for r in roles)] if roles else []
    said += ["?: in a loop or branch that may not run"] if not all(f.certain for f in findings) else []
    if any(o is not None and (o.lattice_ratio is not None or o.power_ratio is not None) for o in outcomes):
        said += [
            "lines: energy at the frequencies m/P of a period P, over that of the mean; the flat probe is constant in "
            "space",
            "power: mean square of the strongest over that of the weakest phase; the white probe is noise everywhere",
            "*: above the limit",
        ]
    said += ["zeros: share of exact zeros under noise"] if any(f.zero_share is not None for f in findings) else []
    return said

"""What a report says, block by block, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from checkerjax.audits import _report_sentences as sentences
from checkerjax.audits._finding import GRADES, Finding
from checkerjax.audits._report_advice import grouped, heading
from checkerjax.audits._report_blocks import Block, Column, by_period
from checkerjax.audits._report_parts import Outcome, PerPeriod, Thresholds, Traced
from checkerjax.audits._report_words import marked, number, power_limit, share, size
from checkerjax.stacks import format_stack

if TYPE_CHECKING:
    from checkerjax.audits._report import AuditReport


TraceBlock = Callable[[str, Sequence[Traced], Thresholds], Block]
_NUMBERS = (Column("", "label"), Column("measured", "number"), Column("limit", "number"), Column("by period", "text"))
_OUTPUT_ADVICE = "what to change"
_GRADIENT_ADVICE = "what to change for the gradient (of a discriminator, an attribution, an input that is optimised)"
_EACH = (
    Column("output", "name"), Column("samples", "word"), Column("verdict", "word"), Column("counted", "word"),
    Column("lines", "number"), Column("power", "number"), Column("lines by period", "text"),
    Column("power by period", "text"),
)  # fmt: skip
_UNKNOWN = (Column("operation", "text"), Column("module", "name"), Column("source", "name"))


def headline(report: AuditReport) -> str:
    """The verdicts in a few words."""
    others = ("gradient of the input", report.backward_verdict), ("gradient of the loss", report.loss_verdict)
    gradients = ", ".join(f"{what}: {verdict}" for what, verdict in others if verdict is not None)
    return f"{report.verdict or 'not measured'}{f' ({gradients})' if gradients else ''}"


def contents(report: AuditReport, *, trace_block: TraceBlock) -> list[Block]:
    """All blocks of a report, its traces set by `trace_block`; those with nothing to say are left out."""
    blocks = [
        Block("", tuple(_verdict(report))),
        _advice(_OUTPUT_ADVICE, {"forward": report.forward}),
        _advice(_GRADIENT_ADVICE, {"backward": report.backward, "loss": report.loss}),
        *_outcomes(sentences.OUTPUT, report.output, report.outputs, report),
        _findings("forward: what changes the resolution, and constant filters", report.forward, report),
        trace_block("forward", report.trace, report.thresholds),
        *_outcomes(sentences.INPUT_GRADIENT, report.backward_outcome, report.backward_outcomes, report),
        _findings("backward: what the gradient passes, from the output on", report.backward, report),
        trace_block("backward", report.backward_trace, report.thresholds),
        *_outcomes(sentences.LOSS_GRADIENT, report.loss_outcome, report.loss_outcomes, report),
        _findings("loss: what its gradient passes, from the loss on", report.loss, report),
        trace_block("loss", report.loss_trace, report.thresholds),
        _not_understood(report),
        Block("as a stack of layers, for checkerjax.count, expect and sweep", _stack(report)),
        Block("notes", report.notes),
        Block("how it was made", tuple(sentences.measured_sentences(report))),
        Block("words", tuple(_words(report))),
    ]
    return [block for block in blocks if block.text or block.rows or block.points]


def _verdict(report: AuditReport) -> list[str]:
    hidden = sentences.hidden_sentences(report)
    return [sentences.verdict_sentence(report), *(hidden or sentences.birth_sentences(report))]


def _outcomes(name: str, worst: Outcome | None, every: Sequence[Outcome], report: AuditReport) -> list[Block]:
    """The worst of several fields, and a row for each."""
    if worst is None:
        return []
    limits, verdict = report.thresholds, worst.verdict(report.thresholds)
    said = name != sentences.OUTPUT and verdict is not None
    text = [sentences.outcome_sentence(worst, verdict, limits, name)] if said and verdict is not None else []
    text += [sentences.place_sentence(worst), sentences.chance_sentence(worst, limits)]
    text += [sentences.count_sentence(worst), sentences.zeros_sentence(worst)]
    several = len(every) > 1
    title = f"{name}: the worst of {len(every)}, {worst.name or 'without a name'}" if several else name
    rows = _numbers(worst, limits)
    blocks = [Block(title, tuple(t for t in text if t), _NUMBERS if rows else (), rows)]
    if several:
        blocks.append(Block(f"{name}, all {len(every)}", (), _EACH, tuple(_each(o, limits) for o in every)))
    return blocks


def _numbers(outcome: Outcome, limits: Thresholds) -> tuple[tuple[str, ...], ...]:
    if outcome.lattice_ratio is None and outcome.power_ratio is None:
        return ()
    lines = "lines over DC, of draws of the latent" if outcome.latent else "lines over DC, flat probe"
    power = "phase power ratio, white probe"
    return (
        _row(lines, outcome.lattice_ratio, limits.max_lattice_ratio, outcome.lattice_ratios),
        _row(power, outcome.power_ratio, outcome.power_limit(limits.max_power_ratio), outcome.power_ratios),
    )


def _each(outcome: Outcome, limits: Thresholds) -> tuple[str, ...]:
    """One of several fields."""
    return (
        outcome.name or "-", size(outcome.shape) or "-", outcome.verdict(limits) or "-", outcome.grade or "-",
        marked(outcome.lattice_ratio, limits.max_lattice_ratio),
        marked(outcome.power_ratio, outcome.power_limit(limits.max_power_ratio)),
        by_period(outcome.lattice_ratios), by_period(outcome.power_ratios),
    )  # fmt: skip


def _row(name: str, value: float | None, limit: float, each: PerPeriod) -> tuple[str, ...]:
    return name, marked(value, limit), number(limit), by_period(each)


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
        marked(finding.power_ratio, power_limit(thresholds.max_power_ratio, finding.power_chance)),
    )


def _advice(title: str, directions: Mapping[str, Sequence[Finding]]) -> Block:
    groups = grouped(directions)
    title = title if any(group.needed for group in groups) else title.replace("what", "nothing", 1)
    return Block(title, points=tuple((heading(group), group.changes) for group in groups))


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
    findings = (*report.forward, *report.backward, *report.loss)
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
            "*: above the limit, and above what chance makes of so few samples",
        ]
    said += ["zeros: share of exact zeros under noise"] if any(f.zero_share is not None for f in findings) else []
    return said

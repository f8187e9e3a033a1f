"""A report's sentences: what was found, for someone who meets the words for the first time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from checkerjax.audits._report_parts import Outcome, Thresholds, Traced
from checkerjax.audits._report_words import is_above, listed, number, plural, power_limit, share, size

if TYPE_CHECKING:
    from checkerjax.audits._report import AuditReport

GRADES = {
    "holes": "some samples are reached by no weight at all",
    "uneven": "some samples are reached by more weights than others",
    "untied": "all samples are reached by equally many weights, but nothing makes these add up to the same",
    "tied": "the weights of all samples add up to the same, whatever they are",
}
ROLES = {
    "up": "makes the field finer",
    "down": "makes it coarser",
    "shuffle": "turns channels into samples",
    "smooth": "is a constant filter",
    "unknown": "was not understood",
}
MOST_COUNTS = 12  # phases whose counts are written out
LARGE = 1000.0  # counts
MOST_PERIODS = 6  # that are named
OUTPUT, INPUT_GRADIENT, LOSS_GRADIENT = "the output", "the gradient of the input", "the gradient of the loss"
_FLAT = {INPUT_GRADIENT: "a flat gradient of the output"}


def verdict_sentence(report: AuditReport) -> str:
    """The verdict for the output."""
    if report.verdict is None:
        return _static_sentence(report)
    return outcome_sentence(report.output, report.verdict, report.thresholds, OUTPUT)


def outcome_sentence(outcome: Outcome, verdict: str, thresholds: Thresholds, where: str) -> str:
    """The verdict for what reaches the end of a program."""
    flat = "draws of the latent leave" if outcome.latent else f"{_FLAT.get(where, 'a flat input')} leaves"
    if verdict == "clean":
        limit = number(outcome.power_limit(thresholds.max_power_ratio))
        return (
            f"no grid in {where}: {flat} no lines in it, and under noise no phase of a period has more than "
            f"{limit} times the power of another."
        )
    parts = []
    if verdict in ("lines", "both"):
        parts.append(f"{flat} {_lines(outcome, thresholds)} in {where}")
    if verdict in ("power", "both"):
        parts.append(f"under noise {_power(outcome, thresholds)}" + ("" if parts else f" in {where}"))
    return f"grid: {', and '.join(parts)}."


def _lines(outcome: Outcome, thresholds: Thresholds) -> str:
    periods = outcome.line_periods(thresholds.max_lattice_ratio)
    if not periods:
        return "lines"
    what = "a pattern repeats after" if len(periods) == 1 else "patterns repeat after"
    return f"lines of {_periods(periods)} ({what} so many samples)"


def _power(outcome: Outcome, thresholds: Thresholds) -> str:
    periods = outcome.power_periods(thresholds.max_power_ratio)
    if outcome.power_ratio == math.inf:
        periods = tuple(sorted(p for p, ratio in outcome.power_ratios if ratio == math.inf))[:1]
    at = f" of {_periods(periods)}" if periods else ""
    if outcome.power_ratio == math.inf:
        return f"some phases{at} have no power at all"
    ratio = outcome.power_ratio or 1.0
    own = dict(outcome.power_ratios).get(periods[0], ratio) if len(periods) == 1 else ratio
    up_to = "up to " if len(periods) > 1 else ""
    over = f" ({number(ratio)} times over longer periods)" if ratio > 1.05 * own else ""
    return f"some phases{at} have {up_to}{number(own)} times the power of others{over}"


def _periods(periods: Sequence[int]) -> str:
    more = len(periods) - MOST_PERIODS
    words = [*periods[:MOST_PERIODS], f"{more} more"] if more > 0 else periods
    return f"period{'s' if len(periods) > 1 else ''} {listed(words)}"


def _static_sentence(report: AuditReport) -> str:
    grade = report.output.grade
    said = f"counting alone says {grade}: {GRADES[grade]}" if grade in GRADES else "counting alone cannot tell"
    unknown = len(report.not_understood)
    but = f"; {plural(unknown, 'operation')} {'was' if unknown == 1 else 'were'} not understood" if unknown else ""
    return f"{said}{but}."


def place_sentence(outcome: Outcome) -> str:
    """Sizes: of the whole, of what repeats, of what was measured."""
    words = [f"{size(outcome.shape)} samples"] if outcome.shape else []
    if any(p > 1 for p in outcome.period):
        words.append(f"operations repeat every {size(outcome.period)}")
    if outcome.interior:
        inside = " x ".join(f"{low}:{high}" for low, high in outcome.interior)
        words.append(f"measured on {inside}, which no padding reaches")
    elif outcome.lattice_ratio is not None or outcome.power_ratio is not None:
        words.append("measured with its borders")
    return "; ".join(words)


def count_sentence(outcome: Outcome) -> str:
    """What counting says of all operations together."""
    if outcome.grade is None:
        return ""
    counts = [_counts(c) for c in outcome.counts]
    if not counts:
        return f"counted: {outcome.grade}"
    if len(set(counts)) > 1:
        counts = [f"{c} along axis {axis}" for axis, c in enumerate(counts)]
    return f"counted: {outcome.grade}; paths to the phases: {'; '.join(dict.fromkeys(counts))}"


def _counts(counts: Sequence[float]) -> str:
    """Of one axis; only their ratios matter where they are large."""
    most = max(counts, default=0.0)
    if len(set(counts)) <= 1:
        return f"{most:.4g} each" if len(counts) > 1 else f"{most:.4g}"
    unit = most if most >= LARGE else 1.0
    over = f" (over the most, {most:.4g})" if unit != 1.0 else ""
    if len(counts) > MOST_COUNTS:
        return f"{number(min(counts) / unit)} to {number(most / unit)}, {len(counts)} phases{over}"
    return ", ".join(number(c / unit) for c in counts) + over


def birth_sentences(report: AuditReport) -> list[str]:
    """After which operation, in program order, each kind of grid is first and last seen."""
    limits, verdict, trace = report.thresholds, report.verdict, report.trace
    least = report.output.power_limit(limits.max_power_ratio)
    lined = [t for t in trace if is_above(t.lattice_ratio, limits.max_lattice_ratio)]
    uneven = [t for t in trace if is_above(t.power_ratio, power_limit(least, t.power_chance))]
    lines, power = _birth(lined, verdict in ("lines", "both")), _birth(uneven, verdict in ("power", "both"))
    if lines and lines == power:
        return [f"Lines and unequal phase powers are first seen after {lines}."]
    named = ("Lines", lines), ("Unequal phase powers", power)
    return [f"{name} are first seen after {said}." for name, said in named if said]


def _birth(above: Sequence[Traced], is_left: bool) -> str:
    """Where the first of some operations is, and the last where nothing is left in the output."""
    if not above:
        return ""
    if is_left:
        return _where(above[0])
    last = f", last after {_where(above[-1])}" if len(above) > 1 else ""
    return f"{_where(above[0])}{last}, and are below the limit in the output"


def hidden_grid(report: AuditReport) -> Traced | None:
    """The last operation that reads several samples, if there is a grid after it and the output is called clean."""
    if report.verdict != "clean" or not report.trace:
        return None
    last, limits = report.trace[-1], report.thresholds
    power = power_limit(report.output.power_limit(limits.max_power_ratio), last.power_chance)
    there = is_above(last.lattice_ratio, limits.max_lattice_ratio) or is_above(last.power_ratio, power)
    return last if there else None


def hidden_sentences(report: AuditReport) -> list[str]:
    """That a grid is there which the numbers of the output do not show."""
    last = hidden_grid(report)
    if last is None:
        return []
    return [
        f"But there is one after {_where(last)}, the last operation that reads several samples. What follows changes "
        "them one by one, or adds to them (the 0.5 of a sigmoid, a shortcut), so that the grid is small beside a "
        "larger mean. Audit what comes before that, to see it as strong as it is."
    ]


def chance_sentence(outcome: Outcome, thresholds: Thresholds) -> str:
    """Where chance alone exceeds the limit."""
    limit = outcome.power_limit(thresholds.max_power_ratio)
    if limit == thresholds.max_power_ratio:
        return ""
    return (
        f"so few samples were measured that chance alone makes a power ratio of {number(limit)}; only above that it is "
        "called a grid"
    )


def _where(traced: Traced) -> str:
    if not traced.path:
        return f"{traced.label} ({traced.source})" if traced.source else traced.label
    return f"{traced.path} ({', '.join(word for word in (traced.label, traced.source) if word)})"


def zeros_sentence(outcome: Outcome) -> str:
    """How many inputs have no gradient."""
    if outcome.zero_share is None:
        return ""
    return f"{share(outcome.zero_share)} of the inputs get no gradient" if outcome.zero_share else ""


def measured_sentences(report: AuditReport) -> list[str]:
    """How the numbers were made."""
    settings = report.settings
    if report.verdict is None:
        how = "nothing was run: operations are read and counted only"
    elif settings.redraw:
        how = f"{plural(settings.redraw, 'draw')} of the parameters"
    else:
        how = "the parameters as given"
    shapes = [size(shape) for shape in settings.input_shapes]
    inputs = [f"argument {at}" for at in settings.inputs]
    if len(shapes) == len(inputs):
        inputs = [f"{name} ({shape})" for name, shape in zip(inputs, shapes)]
    words = [how, f"data: {listed(inputs or shapes)}" if inputs or shapes else "", settings.layout]
    words.append(f"seed {_seed(settings.seed)}" if settings.seed is not None else "")
    made = [f"{name} {version}" for name, version in settings.versions] + [settings.device]
    lines = "; ".join(w for w in words if w), ", ".join(w for w in made if w)
    return [line for line in lines if line]


def _seed(seed: int | tuple[int, ...]) -> str:
    """A key's words, without the zeros that fill it up."""
    words = [str(word) for word in (seed if isinstance(seed, tuple) else (seed,))]
    while len(words) > 1 and words[0] == "0":
        words.pop(0)
    return ":".join(words)

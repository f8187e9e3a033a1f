"""Advice: a sentence with its place and its cost apart, so that a report says once what many layers need."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from checkerjax.audits._finding import Finding
from checkerjax.audits._report_words import listed, per_axis

COST = "<products>"  # in a change: where the multiply-accumulates are said
MOST_PLACES = 6  # that are named


class Advice(str):
    """One piece of advice of a finding: the whole sentence, which is what it is as a string, and its parts."""

    place: str  # of the layer
    change: str  # what to do, what comes of it; `COST` where the cost goes
    macs: tuple[float, float] | None  # products of an image before and after
    needed: bool  # whether something is to be changed at all

    def __new__(
        cls, place: str, change: str = "", macs: tuple[float, float] | None = None, *, needed: bool = True
    ) -> Advice:
        self = super().__new__(cls, (f"{place}: " if place else "") + with_cost(change, macs))
        self.place, self.change, self.macs, self.needed = place, change, macs, needed
        return self

    def __getnewargs__(self) -> tuple[str, str, tuple[float, float] | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.place, self.change, self.macs


class Group(NamedTuple):
    """Findings with the same advice."""

    numbers: tuple[tuple[str, int], ...]  # of each the direction, and the number in its table
    findings: tuple[Finding, ...]
    changes: tuple[str, ...]  # the best first
    needed: bool


def with_cost(change: str, macs: tuple[float, float] | None) -> str:
    """A change with its multiply-accumulates, where they are known."""
    said = "" if macs is None else f" ({short_count(macs[0])} to {short_count(macs[1])} MACs)"
    return change.replace(COST, said)


def short_count(count: float) -> str:
    """Three digits and a letter, "1.61M"."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.3g}"


def grouped(directions: Mapping[str, Sequence[Finding]]) -> list[Group]:
    """The findings with advice, those with the same together, what needs a change first."""
    groups: dict[tuple[object, ...], list[tuple[tuple[str, int], Finding]]] = {}
    for direction, findings in directions.items():
        for i, finding in enumerate(findings, 1):
            if finding.advice:
                alike = finding.role, finding.kernel_size, finding.stride, finding.grade
                groups.setdefault((*alike, *map(_change, finding.advice)), []).append(((direction, i), finding))
    return sorted((_group(members) for members in groups.values()), key=lambda group: not group.needed)


def _group(members: Sequence[tuple[tuple[str, int], Finding]]) -> Group:
    numbers, findings = zip(*members)
    places = {(f.path, f.source): f for f in findings}.values()  # a layer that two gradients pass costs once
    changes = []
    for pieces in zip(*(f.advice for f in places)):
        costs = [p.macs for p in pieces if isinstance(p, Advice) and p.macs is not None]
        total = (sum(a for a, _ in costs), sum(b for _, b in costs)) if len(costs) == len(pieces) else None
        changes.append(with_cost(_change(pieces[0]), total))
    needed = any(not isinstance(text, Advice) or text.needed for text in findings[0].advice)
    return Group(numbers, findings, tuple(changes), needed)


def _change(text: str) -> str:
    return text.change if isinstance(text, Advice) else text


def heading(group: Group) -> str:
    """ "gan.py:31 and 35, DCGAN/Up_0 and Up_1: up k5 s2, uneven (forward 1, 2)"."""
    first = group.findings[0]
    sizes = [f"{letter}{per_axis(v)}" for letter, v in (("k", first.kernel_size), ("s", first.stride)) if v]
    what = " ".join([first.role, *sizes]) + f", {first.grade}"
    where = ", ".join(text for text in (lines_of(group.findings), paths_of(group.findings)) if text)
    numbered = listed([f"{name} {ranges([i for n, i in group.numbers if n == name])}" for name in dict(group.numbers)])
    return f"{where}: {what} ({numbered})" if where else f"{what} ({numbered})"


def lines_of(findings: Sequence[Finding]) -> str:
    """The sources, a file said once: "gan.py:31 and 35"."""
    files: dict[str, list[str]] = {}
    for source in dict.fromkeys(f.source for f in findings if f.source):
        file, colon, line = source.rpartition(":")
        files.setdefault(file if colon else source, []).append(line if colon else "")
    texts = [f"{file}:{_few(lines)}" if any(lines) else file for file, lines in files.items()]
    return _few(texts)


def paths_of(findings: Sequence[Finding]) -> str:
    """The modules, what the paths begin with said once: "DCGAN/Up_0 and Up_1"."""
    paths = list(dict.fromkeys(f.path for f in findings if f.path))
    if len(paths) < 2:
        return "".join(paths)
    levels = zip(*(path.split("/")[:-1] for path in paths))
    begun = "".join(f"{level[0]}/" for level in itertools.takewhile(lambda level: len(set(level)) == 1, levels))
    return begun + _few([path[len(begun) :] for path in paths])


def _few(texts: Sequence[str]) -> str:
    more = len(texts) - MOST_PLACES
    return listed([*texts[:MOST_PLACES], f"{more} more"] if more > 0 else texts)


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, runs of three and more by their ends: "1 to 3, 5"."""
    runs: list[list[int]] = []
    for i in numbers:
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return ", ".join(f"{r[0]} to {r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs)

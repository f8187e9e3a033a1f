"""The parts that the text and the Markdown of a report are set from."""

from __future__ import annotations

from typing import NamedTuple

from checkerjax.audits._report_parts import PerPeriod
from checkerjax.audits._report_words import number


class Column(NamedTuple):
    """How a column of a table is set."""

    name: str
    kind: str  # "number", "word", "label" (never cut), "name" (its end is kept), "text" (its start is kept)


class Block(NamedTuple):
    """A heading, sentences, points below headings of their own, and a table."""

    title: str
    text: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    points: tuple[tuple[str, tuple[str, ...]], ...] = ()


def by_period(values: PerPeriod) -> str:
    """ "2: 0.39, 4: 0.12"."""
    return ", ".join(f"{period}: {number(value)}" for period, value in values)

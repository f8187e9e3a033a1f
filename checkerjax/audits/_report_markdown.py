"""A report as Markdown, for a page or a pull request: nothing shortened, and the trace in full."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from checkerjax.audits._report_contents import Block, Column, contents, headline
from checkerjax.audits._report_words import marked, printable

if TYPE_CHECKING:
    from checkerjax.audits._report import AuditReport

_TRACE = (
    Column("#", "number"), Column("operation", "text"), Column("grade", "word"), Column("lines", "number"),
    Column("power", "number"), Column("module", "name"), Column("source", "name"),
)  # fmt: skip


def markdown(report: AuditReport) -> str:
    """The whole report, ending in a line break."""
    first, *blocks = contents(report)
    if report.trace and report.verdict is not None:
        words = [i for i, block in enumerate(blocks) if block.title == "words"]
        blocks.insert(words[0] if words else len(blocks), _trace(report))
    parts = [f"# Audit: {headline(report)}", *map(_text, first.text)]
    for block in blocks:
        parts.append(f"## {_text(block.title[:1].upper() + block.title[1:])}")
        parts += ["\n".join(f"- {_text(text)}" for text in block.text)] if block.text else []
        parts += [_table(block.columns, block.rows)] if block.rows else []
    return "\n\n".join(parts) + "\n"


def _trace(report: AuditReport) -> Block:
    limits = report.thresholds
    rows = tuple(
        (
            str(i), t.label, t.grade or "-", marked(t.lattice_ratio, limits.max_lattice_ratio),
            marked(t.power_ratio, limits.max_power_ratio), t.path or "-", t.source or "-",
        )
        for i, t in enumerate(report.trace, 1)
    )  # fmt: skip
    return Block("after each spatial operation", (), _TRACE, rows)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if column.kind == "number" else "---" for column in columns]
    lines = [[_text(column.name) for column in columns], rule]
    lines += [[_cell(cell, column) for cell, column in zip(row, columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: str, column: Column) -> str:
    """Names as code, numbers above their limit bold."""
    if column.kind == "name" and cell != "-":
        return _code(cell)
    bold = column.kind == "number" and cell.endswith("*")
    return f"**{cell[:-1]}**" if bold else _text(cell).strip()


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_<>\[\]|])", r"\\\1", printable(text))


def _code(text: str) -> str:
    """Text between more backticks than it holds itself; a bar would end the cell of a table."""
    text = printable(text).replace("|", r"\|")
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"

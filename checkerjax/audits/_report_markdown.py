"""A report as Markdown, for a page or a pull request: nothing shortened, and the trace in full."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from checkerjax.audits._report_blocks import Column
from checkerjax.audits._report_contents import contents, headline
from checkerjax.audits._report_trace import full_trace_block
from checkerjax.audits._report_words import printable

if TYPE_CHECKING:
    from checkerjax.audits._report import AuditReport


def markdown(report: AuditReport) -> str:
    """The whole report, ending in a line break."""
    first, *blocks = contents(report, trace_block=full_trace_block)
    parts = [f"# Audit: {headline(report)}", *map(_text, first.text)]
    for block in blocks:
        parts.append(f"## {_text(block.title[:1].upper() + block.title[1:])}")
        parts += ["\n".join(f"- {_text(text)}" for text in block.text)] if block.text else []
        for heading, points in block.points:
            parts += [f"**{_text(heading)}**", "\n".join(f"- {_text(text)}" for text in points)]
        parts += [_table(block.columns, block.rows)] if block.rows else []
    return "\n\n".join(parts) + "\n"


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

"""A report for the terminal, in 100 columns whatever it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from checkerjax.audits._report_blocks import Block, Column
from checkerjax.audits._report_contents import contents, headline
from checkerjax.audits._report_trace import trace_block
from checkerjax.audits._report_words import WIDTH, columns, padded, printable, shortened, wrapped

if TYPE_CHECKING:
    from checkerjax.audits._report import AuditReport

GAP = "  "
MOST = 11  # columns of a cell with a number or sizes
LEAST = 8  # of a name that has to be shortened


def table(report: AuditReport) -> str:
    """The whole report, the verdict first."""
    lines = [f"verdict: {headline(report)}"]
    for block in contents(report, trace_block=trace_block):
        lines += _block(block)
    return "\n".join(lines)


def _block(block: Block) -> list[str]:
    lines = ["", printable(block.title)] if block.title else []
    indent = GAP if block.title else ""
    for text in block.text:
        lines += wrapped(indent + printable(text), WIDTH, indent + GAP)
    for heading, points in block.points:
        lines += wrapped(indent + printable(heading), WIDTH, indent + GAP)
        for point in points:
            lines += wrapped(f"{indent}{GAP}- {printable(point)}", WIDTH, indent + 2 * GAP)
    if block.rows:
        lines += [indent + line for line in _rows(block, WIDTH - len(indent))]
    return lines


def _rows(block: Block, width: int) -> list[str]:
    cells = [tuple(column.name for column in block.columns)]
    cells += [tuple(printable(cell) for cell in row) for row in block.rows]
    widths = _widths(block.columns, cells, width)
    return [_line(row, block.columns, widths) for row in cells]


def _line(row: Sequence[str], kinds: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for cell, column, width in zip(row, kinds, widths):
        text = shortened(cell, width, keep="start" if column.kind == "text" else "end")
        parts.append(padded(text, width, right=column.kind == "number"))
    return GAP.join(parts).rstrip()


def _widths(kinds: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Numbers and words as wide as they need; names and texts share the rest."""
    needed = [max(columns(row[i]) for row in cells) for i in range(len(kinds))]
    elastic = [i for i, column in enumerate(kinds) if column.kind in ("name", "text")]
    capped = [i for i, column in enumerate(kinds) if column.kind in ("number", "word")]
    widths = [min(n, MOST) if i in capped else n for i, n in enumerate(needed)]
    room = width - len(GAP) * (len(kinds) - 1) - sum(w for i, w in enumerate(widths) if i not in elastic)
    for taken, i in enumerate(sorted(elastic, key=lambda i: widths[i])):  # short ones first: the rest is for the long
        widths[i] = max(min(widths[i], max(LEAST, room // (len(elastic) - taken))), 1)
        room -= widths[i]
    return widths

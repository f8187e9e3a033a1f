"""Numbers, sizes and names as a report writes them, and text cut to the columns of a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len

WIDTH = 100  # columns
CUT = "..."


def columns(text: str) -> int:
    """How many columns of a terminal a text takes, at most: an accent of its own may take one, or none."""
    return sum(max(1, cell_len(c)) for c in text)


def printable(text: str) -> str:
    """Text on one line that any terminal takes: names of modules and files may hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shortened(text: str, width: int, *, keep: str = "end") -> str:
    """A text in at most `width` columns; of a path or source the end says more, of a sentence the start."""
    if columns(text) <= width:
        return text
    room = max(0, width - len(CUT))
    kept = _start(text[::-1], room)[::-1] if keep == "end" else _start(text, room)
    return (CUT + kept if keep == "end" else kept + CUT)[:width]


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text filled with spaces to `width` columns."""
    spaces = " " * (width - columns(text))
    return spaces + text if right else text + spaces


def wrapped(text: str, width: int = WIDTH, indent: str = "  ") -> list[str]:
    """A text cut at spaces, later lines indented; a word that no line holds is cut where it has to be."""
    lines = []
    while columns(text) > width:
        part = _start(text, width)
        at = part.rfind(" ", len(indent) + 1) if text[len(part)] != " " else len(part)
        at = at if at > 0 else len(part)
        lines.append(text[:at].rstrip())
        text = indent + text[at:].lstrip()
    return [*lines, text.rstrip()]


def number(value: float | None) -> str:
    """Three digits; "-" for what was not measured."""
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def is_above(value: float | None, limit: float) -> bool:
    """Whether something was measured, and is above its limit."""
    return value is not None and value > limit


def marked(value: float | None, limit: float) -> str:
    """A number, with a star where it is above its limit."""
    return number(value) + ("*" if is_above(value, limit) else " ")


def power_limit(limit: float, chance: float | None) -> float:
    """The limit of a power ratio, or what chance reaches where that is more."""
    return limit if chance is None else max(limit, chance)


def share(value: float | None) -> str:
    """A share as a percentage; only none at all is 0%, only all of it 100%."""
    if value is None:
        return "-"
    if 0 < value < 0.001:
        return "<0.1%"
    if 0.999 < value < 1:
        return ">99.9%"
    return f"{100 * value:.3g}%"


def size(values: Sequence[int]) -> str:
    """Sizes along the axes, "3x3"."""
    return "x".join(str(v) for v in values)


def per_axis(values: Sequence[int]) -> str:
    """Sizes along the axes, one for all where they are equal: "3", "3x1"."""
    return str(values[0]) if len(set(values)) == 1 else size(values)


def listed(items: Sequence[object], last: str = "and") -> str:
    """ "2, 4 and 8"."""
    words = [str(item) for item in items]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def plural(count: int, noun: str) -> str:
    """ "1 operation", "2 operations"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _start(text: str, width: int) -> str:
    """As much of a text as fits."""
    taken = 0
    for i, c in enumerate(text):
        taken += columns(c)
        if taken > width:
            return text[:i]
    return text

"""What is said of the conditions: one row each, and what its number is."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

MEANINGS = {
    "1": ("equal counts", "largest / smallest count"),
    "2": ("equal DC gains", "flat input: lines / DC"),
    "3": ("equal energies", "white: largest / smallest phase power"),
    "3b": ("equal phase spectra", "the same for the worst single wave"),
    "4": ("stationary output", "white: degree of cyclostationarity"),
}


class Condition(NamedTuple):
    """One condition: whether it holds, and by how much it does not."""

    key: str  # "1", "2", "3", "3b" or "4"
    name: str
    holds: bool | None  # for the given weights; for random ones, in every draw (but with probability 0)
    in_mean: bool | None  # for random weights: whether the mean over draws has it; None where that says no more
    number: float | None  # all channels together; for random weights, a ratio of means over draws
    pair: float | None  # given weights: the largest over channel pairs
    draw: float | None  # random weights: the median of some single draws
    meaning: str  # of the number


@dataclasses.dataclass(frozen=True)
class Conditions:
    """The conditions that are called "no checkerboard", each with its number, for one stack or kernel."""

    subject: str
    given: bool  # weights, as against random ones
    rows: tuple[Condition, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Condition:
        for row in self.rows:
            if row.key == key:
                return row
        raise KeyError(f"there are the conditions {', '.join(row.key for row in self.rows)}; got {key!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Of plain types that JSON has; a ratio over nothing is the text "inf"."""
        rows = [{name: _plain(value) for name, value in row._asdict().items()} for row in self.rows]
        return {"subject": self.subject, "given": self.given, "conditions": rows, "notes": list(self.notes)}

    def __str__(self) -> str:
        if self.given:
            heads = [_line("condition", "holds", "", "number", "worst pair", "the number is")]
        else:
            over = _line("", "holds in", "", "number of", "number of", "")
            heads = [over, _line("condition", "every draw", "mean", "the mean", "one draw", "the number is")]
        lines = [self.subject, *heads]
        for row in self.rows:
            cells = (_answer(row.holds), _figure(row.number), _figure(row.pair if self.given else row.draw))
            mean = "" if self.given else _answer(row.in_mean)
            lines.append(_line(f"{row.key:<3}{row.name}", cells[0], mean, *cells[1:], row.meaning))
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def _line(name: str, holds: str, mean: str, number: str, other: str, meaning: str) -> str:
    return f"{name:<22} {holds:>10} {mean:>4} {number:>11} {other:>10}  {meaning}".rstrip()


def _answer(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _plain(value: Any) -> Any:
    return "inf" if isinstance(value, float) and math.isinf(value) else value

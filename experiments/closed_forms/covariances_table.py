"""Tables of `covariances`: deviations in standard errors, and what is left of them beyond chance, by width."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

KINDS = {
    "ratio": "flat: lines over DC",
    "lines": "flat: line powers",
    "flat phases": "flat: phase powers",
    "flat lags": "flat: lags",
    "white phases": "white: phase powers",
    "white lags": "white: lags",
}


GROUPS = {  # with batch norm, and said to be approximate
    "without batch norm": (False, False),
    "with it": (True, False),
    "with it, approximate": (True, True),
}


def table(results: dict[str, Any]) -> str:
    """The results as text."""
    config, rows = results["config"], results["rows"]
    draws = ", ".join(f"{n} networks of width {w}" for w, n in zip(config["widths"], config["draws"]))
    lines = [
        f"{len(rows)} random stacks, {draws}, seed {config['seed']}",
        "",
        *_scores(results),
        "",
        *_excesses(results),
        "",
        "Largest deviation of each stack in standard errors, by width; and beyond chance, of the mean power.",
        "",
    ]
    widths = [str(w) for w in config["widths"]]
    lines.append("".join(f"{'z, ' + w:>8}" for w in widths) + "".join(f"{'+-, ' + w:>9}" for w in widths) + "   stack")
    for row in rows:
        z = [max(float(np.abs(_z(one)).max()) for one in row["widths"][w].values()) for w in widths]
        beyond = [math.sqrt(max(_excess(row, w, list(KINDS)), 0)) for w in widths]
        cells = "".join(f"{v:8.2f}" for v in z) + "".join(f"{v:9.4f}" for v in beyond)
        lines.append(f"{cells}   {row['case']}{' (circular)' * row['batches']}")
    return "\n".join(lines) + "\n"


def _scores(results: dict[str, Any]) -> list[str]:
    """How many statistics lie beyond some standard errors, with what independent normals would have."""
    lines = ["Deviations in standard errors; in brackets what as many independent normals would have:"]
    for title, kind in GROUPS.items():
        rows = [row for row in results["rows"] if (row["batches"], row["approximate"]) == kind]
        for width in map(str, results["config"]["widths"] if rows else ()):
            z = np.abs(np.concatenate([_z(one) for row in rows for one in row["widths"][width].values()]))
            counts = [f"{(z > c).sum()} ({z.size * math.erfc(c / math.sqrt(2)):.1f}) beyond {c}" for c in (1, 2, 3, 4)]
            lines.append(f"  {title}, {len(rows)} stacks, width {width:>2}: of {z.size}, {', '.join(counts)}")
    return lines


def _excesses(results: dict[str, Any]) -> list[str]:
    """Root mean squares over stacks of what chance does not explain."""
    widths = results["config"]["widths"]
    lines = [
        "Deviation beyond chance, of the field's mean power (of the ratio itself, for lines over DC): root mean square",
        "over stacks, with two standard errors; and the exponent of its fall with width, from one width to the next.",
        f"{'':<24}{'stacks':>8}" + "".join(f"{f'width {w}':>26}" for w in widths),
    ]
    exact, approximate = ([row for row in results["rows"] if row["approximate"] == is_] for is_ in (False, True))
    groups = [("all", exact, list(KINDS)), *((title, exact, [kind]) for kind, title in KINDS.items())]
    for name, rows, kinds in [*groups, ("said to be approximate", approximate, list(KINDS))]:
        chosen = [row for row in rows if any(kind in row["widths"][str(widths[0])] for kind in kinds)]
        squares = np.array([[_excess(row, str(w), kinds) for w in widths] for row in chosen]).reshape(-1, len(widths))
        if not chosen:
            continue
        mean, error = squares.mean(0), squares.std(0) / math.sqrt(len(squares))
        cells = [f"{_root(m):.4f} [{_root(m - 2 * e):.4f}, {_root(m + 2 * e):.4f}]" for m, e in zip(mean, error)]
        line = f"{name:<24}{len(chosen):>8}" + "".join(f"{cell:>26}" for cell in cells)
        lines.append(f"{line}   {', '.join(_slopes(mean, widths))}")
    return lines


def _slopes(squares: np.ndarray, widths: list[int]) -> list[str]:
    found = []
    for (a, b), (v, w) in zip(itertools.pairwise(squares), itertools.pairwise(widths)):
        found.append(f"{math.log(b / a) / 2 / math.log(w / v):.2f}" if min(a, b) > 0 else "-")
    return found


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))


def _z(one: dict[str, list[float]]) -> np.ndarray:
    return np.asarray(one["deviation"]) / np.asarray(one["error"])


def _excess(row: dict[str, Any], width: str, kinds: list[str]) -> float:
    """Mean over kinds of the mean of deviation^2 - error^2, whose expectation is the square of what is not chance."""
    found = []
    for kind in kinds:
        one = row["widths"][width].get(kind)
        if one is not None:
            found.append(float(np.mean(np.square(one["deviation"]) - np.square(one["error"]))))
    return sum(found) / len(found)

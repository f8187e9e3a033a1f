"""Tables and figure of `results.json`.

Run:     uv run python -m experiments.forensics.tables   (--write: into README.md, and confusion.png)
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
from typing import Any

import numpy as np
from scipy import stats

from experiments.forensics.run import HERE, STORE

README = HERE / "README.md"
NONE = "none"
KINDS = [f"k{k} s{s}" for s in (2, 3, 4) for k in (3, 4, 5, 6)]
COUNTS = ("1", "8")


def reports(stored: dict[str, Any], truth: str, count: str, photographs: bool = False) -> list[dict[str, Any]]:
    """Of all generators of a kernel and stride, or of none; or of photographs."""
    chosen = [r for r in stored["rows"] if r["truth"] == truth and (r["name"] == "photographs") == photographs]
    return [report for row in chosen for report in row["found"][count]]


def interval(hits: int, number: int) -> tuple[float, float]:
    """Exact 95% (Clopper and Pearson)."""
    low = stats.beta.ppf(0.025, hits, number - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.975, hits + 1, number - hits) if hits < number else 1.0
    return float(low), float(high)


def coverage(stored: dict[str, Any]) -> str:
    """How often the truth is in the set, how large the set is, and what is named."""
    lines = [
        "| truth | generators | 1 image: in the set [95%] | set size | kernel named, rightly | stride named, rightly "
        "| 8 images: in the set [95%] | set size | kernel named, rightly | stride named, rightly |",
        "| --- " * 10 + "|",
    ]
    for truth in [*KINDS, NONE]:
        cells = [truth, str(len(reports(stored, truth, "1")))]
        for number in COUNTS:
            cells += _cells(reports(stored, truth, number), truth)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(found: list[dict[str, Any]], truth: str) -> list[str]:
    hits = sum(truth in r["set"] for r in found)
    low, high = interval(hits, len(found))
    size = np.mean([len(r["set"]) for r in found])
    named = []
    for part in (0, 1):
        parts = [{name.split()[part] if name != NONE else NONE for name in r["set"]} for r in found]
        alone = [p for p in parts if len(p) == 1]
        right = sum(truth.split()[min(part, len(truth.split()) - 1)] in p for p in alone)
        named.append(f"{len(alone) / len(found):.0%}, {right / max(len(alone), 1):.0%}")
    return [f"{hits / len(found):.1%} [{low:.1%}, {high:.1%}]", f"{size:.2f}", *named]


def confusion(stored: dict[str, Any], count: str) -> np.ndarray:
    """Share of sets that hold a kind, `[truth, kind]`."""
    names = [*KINDS, NONE]
    table = np.zeros((len(names), len(names)))
    for i, truth in enumerate(names):
        found = reports(stored, truth, count)
        for j, name in enumerate(names):
            table[i, j] = np.mean([name in r["set"] for r in found])
    return table


def confusion_table(stored: dict[str, Any]) -> str:
    """Of both numbers of images."""
    names, parts = [*KINDS, NONE], []
    for count in COUNTS:
        head = f"| {count} image{'s' if count != '1' else ''}: truth | " + " | ".join(names) + " |"
        rows = [head, "| --- " * (len(names) + 1) + "|"]
        for name, shares in zip(names, confusion(stored, count)):
            rows.append(f"| {name} | " + " | ".join(f"{100 * x:.0f}" if x else "" for x in shares) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def photographs(stored: dict[str, Any]) -> str:
    """What is said of tiles of photographs."""
    lines = ["| tiles together | sets | none alone | none in the set | one kernel named |", "| --- " * 5 + "|"]
    for count in COUNTS:
        found = reports(stored, NONE, count, photographs=True)
        alone = sum(r["set"] == [NONE] for r in found)
        among = sum(NONE in r["set"] for r in found)
        named = sum(len({n.split()[0] for n in r["set"]} - {NONE}) == 1 and NONE not in r["set"] for r in found)
        cells = [count, str(len(found)), *(f"{n} ({n / len(found):.1%})" for n in (alone, among, named))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def families(stored: dict[str, Any]) -> str:
    """How often the truth is in the set, by family of generators and depth."""
    hits: dict[tuple[str, str], list[bool]] = collections.defaultdict(list)
    for row in stored["rows"]:
        if row["truth"] == NONE:
            continue
        family = row["name"].split(", ", 1)[1]
        for count in COUNTS:
            for key in (f"stacked {row['stacked']}", family):
                hits[key, count] += [row["truth"] in r["set"] for r in row["found"][count]]
    lines = ["| generators | number | 1 image | 8 images |", "| --- " * 4 + "|"]
    for key in sorted({key for key, _ in hits}):
        cells = [key, str(len(hits[key, "1"])), *(f"{np.mean(hits[key, count]):.1%}" for count in COUNTS)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


TABLES = {"coverage": coverage, "confusion": confusion_table, "photographs": photographs, "families": families}


def write(stored: dict[str, Any], place: pathlib.Path = README) -> None:
    """Puts every table between its marks."""
    text = place.read_text()
    for name, make in TABLES.items():
        start, end = f"<!-- table {name} -->", "<!-- end -->"
        head, rest = text.split(start, 1)
        tail = rest.split(end, 1)[1]
        text = f"{head}{start}\n\n{make(stored)}\n\n{end}{tail}"
    place.write_text(text)


def draw(stored: dict[str, Any], place: pathlib.Path = HERE / "confusion.png") -> None:
    """Both confusion matrices."""
    from checkerjax.plots import import_matplotlib, save

    import_matplotlib("forensics")
    from matplotlib.figure import Figure

    names = [*KINDS, NONE]
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, count in zip(axes, COUNTS):
        table = confusion(stored, count)
        axis.imshow(table, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.argwhere(table >= 0.005):
            axis.text(j, i, f"{100 * table[i, j]:.0f}", ha="center", va="center", fontsize=7,
                      color="white" if table[i, j] > 0.6 else "black")  # fmt: skip
        axis.set_xticks(range(len(names)), names, rotation=60)
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("in the 95% set, % of generators")
        axis.set_ylabel("truth")
        axis.set_title(f"{count} image{'s' if count != '1' else ''}")
    save(figure, str(place))


def main() -> None:
    """Prints, or writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    stored = json.loads(STORE.read_text())
    if not options.write:
        print("\n\n".join(make(stored) for make in TABLES.values()))
        return
    write(stored)
    draw(stored)


if __name__ == "__main__":
    main()

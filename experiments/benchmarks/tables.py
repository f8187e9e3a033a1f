"""The stored measurements as GitHub-flavoured tables: ratios of times, compiling, agreement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from experiments.benchmarks.rows import OURS
from experiments.benchmarks.timing import FORWARD, MATMUL, MODES, median, ratio

Results = Mapping[str, Any]


def tables(results: Results) -> str:
    """All tables, each under a line that says what it holds."""
    side = results["config"]["matmul"]
    products = [t for row in results["rows"].values() for mode in row["modes"].values() for t in mode["ms"][MATMUL]]
    rate = gigaflops(2 * side**3, median(products)) if products else float("nan")
    roof = f"Roofline: float32 product of {side} x {side} matrices, median over all rows {rate:.0f} GFLOP/s.\n"
    rows = results["rows"]
    sections = [roof, *_ratio_tables(rows, side), _compiled_table(rows), _agreement_table(rows), _upsampled(rows)]
    return "\n".join(section for section in sections if section)


def gigaflops(operations: float, milliseconds: float) -> float:
    """10^9 operations a second."""
    return operations / milliseconds / 1e6


def roofline_share(row: Mapping[str, Any], mode: str, side: int) -> float | None:
    """Arithmetic of the operator (twice more for both gradients) over what the product does in the same time.

    None for whole programs, whose arithmetic is not counted, and for bfloat16, which has another roofline.
    """
    if "multiply_adds" not in row or "bfloat16" in row["label"]:
        return None
    times = row["modes"][mode]["ms"]
    multiply_adds = row["multiply_adds"] * (1 if mode == FORWARD else 3)
    return multiply_adds / side**3 * median(times[MATMUL]) / median(times[OURS])


def _ratio_tables(rows: Results, side: int) -> Iterable[str]:
    """One table for each set of contenders in a mode, so that no table is mostly empty."""
    for mode, group in _groups(rows):
        peers = list(dict.fromkeys(name for row in group.values() for name in _peers(row["modes"][mode]["ms"])))
        yield f"Time of each over checkerjax's, {mode} (median; quartiles of single rounds). More is better.\n"
        head = ["row", "checkerjax, ms", "share of roofline", *peers]
        lines = [_ratio_cells(row, mode, peers, side) for row in group.values()]
        kept = [i for i in range(len(head)) if any(line[i] for line in lines)]
        yield _table([head[i] for i in kept], [[line[i] for i in kept] for line in lines])


def _groups(rows: Results) -> Iterable[tuple[str, dict[str, Any]]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, row in rows.items():
        for mode, measured in row["modes"].items():
            kind = " ".join(sorted(_TELLING & measured["ms"].keys()))
            found.setdefault((mode, kind), {})[name] = row
    return [(mode, group) for (mode, _), group in found.items()]


# Contenders that only some kinds of rows have.
_TELLING = {"flax", "jax.image.resize + lax", "lax, map"}


def _peers(times: Mapping[str, Any]) -> list[str]:
    return [name for name in times if name not in (OURS, MATMUL)]


def _ratio_cells(row: Mapping[str, Any], mode: str, peers: list[str], side: int) -> list[str]:
    times = row["modes"][mode]["ms"]
    share = roofline_share(row, mode, side)
    cells = [row["label"], f"{median(times[OURS]):.3g}", "" if share is None else f"{share:.0%}"]
    for peer in peers:
        value, low, high = ratio(times, peer, OURS) if peer in times else (None, None, None)
        cells.append("" if value is None else f"{value:.2f} [{low:.2f}, {high:.2f}]")
    return cells


def _compiled_table(rows: Results) -> str:
    """Seconds to compile, and megabytes of temporaries and results, as the compiler gives them."""
    lines = []
    for row in rows.values():
        for mode, measured in row["modes"].items():
            ours, plain, *_ = (_compiled_cells(facts) for facts in measured["compiled"].values())
            lines.append([row["label"], mode, *(cell for pair in zip(ours, plain) for cell in pair)])
    head = ["row", "mode", "compiling, s", "plain form, s", "memory, MB", "plain form, MB"]
    title = "Compiling (once), and memory of temporaries and results (what the compiler says it allots).\n\n"
    return title + _table(head, lines)


def _compiled_cells(facts: Mapping[str, float]) -> tuple[str, str]:
    megabytes = f"{(facts['temp_bytes'] + facts['output_bytes']) / 1e6:.1f}" if "temp_bytes" in facts else ""
    return f"{facts['compile_s']:.2f}", megabytes


def _agreement_table(rows: Results) -> str:
    """Errors over the largest magnitude: against the plain form, and of both against float64."""
    lines = []
    for row in rows.values():
        plain, errors = next(iter(row["agreement"].items()))
        exact = row.get("accuracy", {})
        lines.append([row["label"], _errors(errors), _errors(exact.get(OURS, {})), _errors(exact.get(plain, {}))])
    title = "Largest error over the largest magnitude; the plain form in float64 is the measure of the last two.\n\n"
    return title + _table(["row", "checkerjax against plain form", "checkerjax", "plain form"], lines)


def _errors(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {error:.1e}" for part, error in errors.items())


def _upsampled(rows: Results) -> str:
    lines = []
    for row in rows.values():
        for name, modes in row.get("upsampled", {"holds": {}})["holds"].items():
            lines.append([row["label"], name, *("yes" if modes[mode] else "no" for mode in MODES)])
    head = ["row, with three quarters of the inputs", "contender", *MODES]
    title = "Whether the optimised program names an array of the upsampled input's shape.\n\n"
    return title + _table(head, lines) if lines else ""


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in rows)

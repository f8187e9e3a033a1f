"""An expectation for the terminal, in 100 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from checkerjax.stacks._geometry import stack_size
from checkerjax.stacks._text import format_stack

if TYPE_CHECKING:
    from checkerjax.expectations._expectation import Expectation

WIDTH = 100
NAMES = {
    "white": "white input",
    "flat": "flat input",
    "gradient": "the gradient of the input",
    "moments": "exact second moments",
    "conditions": "conditions",
    "gradient_conditions": "conditions of the gradient",
}
SHOWN = 16  # phase powers that are written out


def table(found: Expectation) -> str:
    """The whole of it."""
    out = stack_size("expect: ", found.stack, found.size)
    lines = [format_stack(found.stack)]
    lines.append(f"{_by(found.size) or 'latent'} -> {_by(out)}, period {_by(found.period) or 'none'}")
    known = [*_lines(found), *_powers(found), *_gradient(found), *_moments(found), *_approximate(found)]
    if known:
        lines += ["", "at random initialisation, in expectation over weights and inputs:", *(f"  {t}" for t in known)]
    if found.periods and any(value is not None for row in found.periods for value in row[1:]):
        lines += ["", *_periods(found)]
    for decided in (found.conditions, found.gradient_conditions):
        if decided is not None:
            lines += ["", str(decided)]
    for name, why in found.missing.items():
        lines.append(f"no closed form for {NAMES[name]}: {why}")
    return "\n".join(part for text in lines for line in text.split("\n") for part in _wrapped(line))


def _lines(found: Expectation) -> list[str]:
    field = found.lines
    if field is None:
        return []
    ratio = float(field.lattice_ratio(shared=not found.size))
    source = "flat input" if found.size else "latent"
    text = f"{source}, energy of the lines over that of DC: {ratio:.4g}"
    if found.seeds is None:
        return [text]
    seeds = found.seeds
    return [
        text,
        f"  of single seeds with {seeds.channels} output channels: median {seeds.median:.3g}, 95% of them between "
        f"{seeds.low:.3g} and {seeds.high:.3g}",
    ]


def _powers(found: Expectation) -> list[str]:
    field = found.white
    if field is None:
        return []
    powers = np.asarray(field.phase_powers())
    text = f"white input, largest over smallest phase power: {float(field.power_ratio()):.4g}"
    if not found.size:
        text = text.replace("white input", "latent")
    if powers.size == 1:
        return [text]
    shown = powers / powers.mean()
    if shown.size > SHOWN:
        shown, where = shown[(0,) * (shown.ndim - 1)][:SHOWN], " along the last axis"
    else:
        where = ""
    rows = [" ".join(f"{v:.3g}" for v in row) for row in shown.reshape(-1, shown.shape[-1])]
    return [text, f"  phase powers{where}, over their mean: {' / '.join(rows)}"]


def _gradient(found: Expectation) -> list[str]:
    if found.gradient is None:
        return []
    white, flat = found.gradient
    return [
        f"gradient of the input, period {_by(white.period)}: for a white one of the output, largest over smallest "
        f"phase power {float(white.power_ratio()):.4g}; for a flat one, lines over DC {float(flat.lattice_ratio()):.4g}"
    ]


def _moments(found: Expectation) -> list[str]:
    if found.moments is None:
        return []
    low, high = float(found.moments.min()), float(found.moments.max())
    return [f"second moments, exact at any width, borders included: from {low:.4g} to {high:.4g}"]


def _approximate(found: Expectation) -> list[str]:
    names = ["latent" if name == "white" and not found.size else NAMES[name] for name in found.approximate]
    return [f"not the limit, but some per cent from it, for batch norm: {', '.join(names)}"] if names else []


def _periods(found: Expectation) -> list[str]:
    names = ["flat input: lines over DC", "white input: share of lines", "white input: cyclic share"]
    if not found.size:
        names[0] = "latent: lines over DC"
    rows = [(f"{row.period}", *map(_number, row[1:])) for row in found.periods]
    return [f"{row[0]:>6}  {row[1]:>26}  {row[2]:>27}  {row[3]:>25}" for row in (("period", *names), *rows)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _wrapped(line: str) -> list[str]:
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False) or [line]


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))

"""`checkerjax overlap`: counts, unevenness and conditions of a stack, in the terminal and as a picture."""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np

from checkerjax import overlap, plots, stacks

SHADES = {True: " ░▒▓█", False: " .:*#"}
WIDEST = 48  # cells on a side that the terminal shows
WIDEST_KERNEL = 256  # taps, as strides: seconds
LARGEST = 2**24  # samples of a map: some hundred megabytes, a second


def run(options: argparse.Namespace) -> int:
    """Prints the report; draws first, so that a place that cannot be written is refused before anything is printed."""
    stack = stacks.parse_stack(options.stack)
    text = stacks.format_stack(stack)
    _check_taps(stack)
    size = _size(options.size) if options.size else _two_periods(stack, options.ndim)
    _check_samples("input", size)
    _check_samples("output", stacks.output_size(stack, size))
    if options.backward and not size:
        raise ValueError("overlap: --backward counts paths to a field, and a dense layer takes a latent; leave it out.")
    counts = overlap.count(stack, size, backward=options.backward)
    if options.out:
        direction = "paths to each input (backward)" if options.backward else "paths to each output"
        plots.save(plots.overlap_figure(counts, title=f"{text}\n{direction}"), options.out)
    print(_report(text, stack, size, counts, options.backward))
    if options.out:
        print(f"drawn: {options.out}")
    return 0


def _check_taps(stack: stacks.Stack) -> None:
    for layer in stack:
        for name in ("kernel", "stride", "scale", "dilation"):
            if (value := int(np.max(getattr(layer, name, 1)))) > WIDEST_KERNEL:
                raise ValueError(f"overlap: {name} may be at most {WIDEST_KERNEL} here; got {value}.")
        for inner in (getattr(layer, "stack", ()), *getattr(layer, "stacks", ())):
            _check_taps(inner)


def _check_samples(name: str, size: tuple[int, ...]) -> None:
    if (samples := math.prod(size)) > LARGEST:
        raise ValueError(f"overlap: the {name} may have at most {LARGEST} samples; size {_by(size)} has {samples}.")


def _report(text: str, stack: stacks.Stack, size: tuple[int, ...], counts: np.ndarray, backward: bool) -> str:
    into, out_of = stacks.periods(stack, counts.ndim)
    period = into if backward else out_of
    sizes = f"{_by(size) or 'latent'} -> {_by(stacks.output_size(stack, size))}"
    lines = [
        text,
        f"{'backward, paths to each input' if backward else 'forward, paths to each output'}: {sizes}, "
        f"period {_by(period)}",
    ]
    for axis, (p, (row, denominator)) in enumerate(zip(period, _rows(stack, size, counts.ndim, backward))):
        where = f" along axis {axis}" if counts.ndim > 1 else ""
        units = f" (units of 1/{denominator})" if denominator > 1 else ""
        ratio = _ratio(overlap.unevenness(row, p))
        lines.append(f"one period{where}: {_numbers(_central_period(row, p))}{units}; largest over smallest {ratio}")
    if counts.ndim > 1:
        lines.append(f"unevenness of the whole map: {_ratio(overlap.unevenness(counts, period))}")
    lines += ["", *_conditions(stack, counts.ndim, backward), "", _picture(counts)]
    return "\n".join(lines)


CONDITIONS = {
    "counts": "1   equal counts",
    "gains": "2   equal gains: a flat input gives no lines",
    "energies": "3   equal energies: white input gives equal phase powers (mean over weights)",
    "mean_phase_spectra": "3b  equal phase spectra: so does every stationary input (mean over weights)",
    "phase_spectra": "3b  the same for each draw of the weights",
}
ANSWERS = {True: "yes", False: "NO", None: "not linear: no answer"}


def _conditions(stack: stacks.Stack, ndim: int, backward: bool) -> list[str]:
    try:
        found = overlap.stack_conditions(stack, ndim=ndim, backward=backward)
    except ValueError as error:
        return [f"conditions: not decided ({error})"]
    lines = ["conditions at random initialisation, away from the borders:"]
    lines += [f"  {label:<78}{ANSWERS[getattr(found, name)]}" for name, label in CONDITIONS.items()]
    return [*lines, "  4   stationary output: no finite kernel of a stride above 1 has it"]


def _two_periods(stack: stacks.Stack, ndim: int) -> tuple[int, ...]:
    """The smallest input size per axis that leaves two periods of output untouched by borders."""
    if isinstance(stack[0], stacks.Dense):
        return ()
    _, period = stacks.periods(stack, ndim)
    stacks.output_size(stack, (512,) * ndim)  # what no size can mend is told as it is
    low, high = 0, 1  # `low` is too small; `high` is found by doubling, then halfway steps
    while not _holds_two_periods(stack, high, period):
        low, high = high, 2 * high
        if high > 4096:
            raise ValueError(
                "overlap: no input size up to 4096 leaves two periods away from the borders; give one with --size."
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _holds_two_periods(stack, middle, period) else (middle, high)
    return (high,) * ndim


def _holds_two_periods(stack: stacks.Stack, n: int, period: tuple[int, ...]) -> bool:
    try:
        inside = stacks.interior(stack, (n,) * len(period))
    except ValueError:  # too small for a layer, or no output is free of padding
        return False
    return all(stop - start >= 2 * p for (start, stop), p in zip(inside, period))


def _size(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdecimal() and int(part) for part in parts) or len(parts) > 3:
        raise ValueError(f"overlap: --size must be N, NxN or NxNxN with N at least 1; got {text!r}.")
    return tuple(int(part) for part in parts)


def _rows(stack: stacks.Stack, size: tuple[int, ...], ndim: int, backward: bool) -> list[tuple[np.ndarray, int]]:
    """The counts of each axis on its own, and what they are over."""
    alone = [stacks.along_axis(stack, axis, ndim) for axis in range(ndim)]
    sizes = [(n,) for n in size] or [()] * ndim
    return [
        (overlap.count(part, n, backward=backward), overlap.count_denominator(part, n)) for part, n in zip(alone, sizes)
    ]


def _central_period(row: np.ndarray, period: int) -> np.ndarray:
    """One period from the middle, beginning at a multiple of the period so that phases keep their index."""
    start = max((len(row) - period) // 2 // period * period, 0)
    return row[start : start + period]


def _picture(counts: np.ndarray) -> str:
    plane = counts[len(counts) // 2] if counts.ndim == 3 else np.atleast_2d(counts)
    plane = plane[:WIDEST, :WIDEST]
    shades = SHADES[_can_print(SHADES[True])]
    levels = np.ceil(np.clip(plane / (plane.max() or 1), 0, 1) * (len(shades) - 1)).astype(int)
    rows = ["".join(shades[v] * 2 for v in row).rstrip() for row in levels]
    if counts.ndim == 3:
        rows.insert(0, "(the middle slice)")
    if max(counts.shape[-2:]) > WIDEST:
        rows.append(f"(the first {WIDEST} samples of {_by(counts.shape[-2:])})")
    return "\n".join(rows)


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _numbers(row: np.ndarray) -> str:
    shown = " ".join(f"{v:g}" for v in row[:64])
    return shown + (" ..." if len(row) > 64 else "")


def _ratio(value: float) -> str:
    return "infinite (some samples get nothing)" if np.isinf(value) else f"{value:.4g}"


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))

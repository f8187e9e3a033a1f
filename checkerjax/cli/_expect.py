"""`checkerjax expect`: what a stack makes at random initialisation, in closed form."""

from __future__ import annotations

import argparse
import json

from checkerjax import expectations, plots, stacks
from checkerjax.cli._measure_files import whole_file


def run(options: argparse.Namespace) -> int:
    """Prints the table; draws and writes first, so that a place that cannot be written is refused before."""
    size = _size(options.size, options.ndim) if options.size else None
    ndim = len(size) if size else options.ndim or 2
    stack = stacks.parse_stack(options.stack)
    found = expectations.expect(
        stack, size, ndim=ndim, channels=options.channels, width=options.width, initialiser=options.initialiser
    )
    if options.out:
        plots.save(found.figure(), options.out)
    if options.json:
        with whole_file(options.json, "--json") as file:
            file.write(json.dumps({"command": options.command_line, **found.to_dict()}, allow_nan=False) + "\n")
    if options.json != "-":
        print(found)
    if options.out and options.json != "-":
        print(f"drawn: {options.out}")
    return 0


def _size(text: str, ndim: int | None) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdecimal() and int(part) for part in parts) or len(parts) > 3:
        raise ValueError(f"expect: --size must be N, NxN or NxNxN with N at least 1; got {text!r}.")
    sizes = tuple(int(part) for part in parts)
    if ndim is not None and len(sizes) == 1:
        sizes *= ndim
    if ndim is not None and len(sizes) != ndim:
        raise ValueError(f"expect: --size {text} has {len(sizes)} axes and --ndim is {ndim}; give one of them.")
    return sizes

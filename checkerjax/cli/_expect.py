"""`checkerjax expect`: what a stack makes at random initialisation, in closed form."""

from __future__ import annotations

import argparse
import contextlib
import json

from checkerjax import expectations, plots, stacks
from checkerjax.cli._measure_files import whole_file


def run(options: argparse.Namespace) -> int:
    """Works everything out, then writes both files or none, then prints the table."""
    size = None if options.size is None else _size(options.size, options.ndim)
    ndim = len(size) if size else options.ndim or 2
    stack = stacks.parse_stack(options.stack)
    found = expectations.expect(
        stack, size, ndim=ndim, channels=options.channels, width=options.width, initialiser=options.initialiser
    )
    table = str(found)
    with contextlib.ExitStack() as places:
        file = None if options.json is None else places.enter_context(whole_file("expect", options.json, "--json"))
        if options.out is not None:
            plots.save(found.figure(), options.out)
        if file is not None:
            file.write(json.dumps({"command": options.command_line, **found.to_dict()}, allow_nan=False) + "\n")
    if options.json != "-":
        print(table)
    if options.out is not None and options.json != "-":
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

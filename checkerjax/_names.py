"""The nearest known name to one that was not understood."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: object, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"`, or a full stop where nothing known is near."""
    near = difflib.get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "."

"""`checkerjax measure --forensics`: all pictures as images of one generator, and which upsampler they may come from."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from checkerjax.images import ForensicsReport, Picture, find_files, forensics, read_images


class Examined(NamedTuple):
    """The report of all pictures together, or why there is none."""

    report: ForensicsReport | None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"reason": self.reason} if self.report is None else self.report.to_dict()

    def __str__(self) -> str:
        if self.report is None:
            return f"forensics: no report: {self.reason}"
        return f"forensics, all pictures as images of one generator whose weights are as drawn:\n{self.report}"


def examine(paths: Sequence[str], *, axes: str | None = None, full_scale: float | None = None) -> Examined:
    """Reads files, folders and patterns, and asks `forensics` of all of them together.

    What cannot be read was named when it was measured. Pictures that do not go together are no reason to keep the
    measurements back.
    """
    files, _ = find_files(paths)
    with contextlib.closing(read_images(files, axes=axes, full_scale=full_scale)) as items:
        pictures = [item for item in items if isinstance(item, Picture)]
    try:
        return Examined(forensics(pictures))
    except (ValueError, TypeError) as error:
        return Examined(None, str(error).removeprefix("forensics: "))

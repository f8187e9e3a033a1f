"""JSON and CSV of many pictures, written as they come and put in place at the end: whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from checkerjax.cli._measure_pictures import Measured, origins

COLUMNS = (
    "file", "size", "period", "found", "line_db", "p", "p_corrected", "amplitude", "full_scale", "phase_db", "phase_p",
    "phase_p_corrected", "phase_ratio", "origin", "evidence",
)  # fmt: skip


class JsonDocument:
    """`{"made_with": ..., "pictures": [...], ...}`, one picture a line."""

    def __init__(self, file: IO[str], head: dict[str, Any]) -> None:
        self._file, self._count = file, 0
        opening = "".join(f"{json.dumps(name)}: {_text(value)},\n" for name, value in head.items())
        file.write(f'{{{opening}"pictures": [')

    def picture(self, item: Measured) -> None:
        """All that is known of a picture, but the tables of its lines."""
        record = {"file": item.name, "full_scale": item.full_scale, **item.facts, **item.report.to_dict()}
        record["attributions"] = [a._asdict() for a in item.attributions]
        self._file.write(f"{',' if self._count else ''}\n{_text(record)}")
        self._count += 1

    def end(self, tail: dict[str, Any]) -> None:
        """What is known when all were measured."""
        rest = "".join(f",\n{json.dumps(name)}: {_text(value)}" for name, value in tail.items())
        self._file.write(f"\n]{rest}}}\n")


class CsvTable:
    """One row for each picture and period, pictures in the order of their names."""

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def picture(self, item: Measured) -> None:
        """The rows of one picture."""
        report = item.report
        for r in report.periods:
            evidence = list(dict.fromkeys(a.evidence for a in item.attributions if a.period == r.period))
            self._writer.writerow(
                (
                    item.name, "x".join(map(str, report.size)), r.period, int(r.period in report.found), r.db, r.p,
                    r.p_corrected, r.amplitude, item.full_scale, r.phase_db, r.phase_p, r.phase_p_corrected,
                    r.phase_ratio, "; ".join(origins(item.attributions, r.period)), "; ".join(evidence),
                )
            )  # fmt: skip
        for line in report.fractional:
            self._writer.writerow(
                (
                    item.name, "x".join(map(str, report.size)), line.period, 1, line.db, "", line.p_corrected, "",
                    item.full_scale, "", "", "", "", "", f"{line.axis}, between the whole periods",
                )
            )  # fmt: skip


@contextlib.contextmanager
def whole_file(command: str, place: str, option: str) -> Iterator[IO[str]]:
    """A file that takes its place when all went well; "-" is standard output, and devices and pipes are written to."""
    if place == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold what it cannot encode
        yield sys.stdout
        return
    path = pathlib.Path(os.path.realpath(place))  # a link stays one
    if path.is_dir():
        raise ValueError(f"{command}: {option} must be a file; {place!r} is a folder.")
    if path.exists() and not path.is_file():  # /dev/null is not to become a file
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{path.stem}.", dir=path.parent)
    except OSError as error:
        folder = os.path.dirname(place) or "."
        raise OSError(f"{command}: cannot write into the folder {folder!r}: {error.strerror}.") from error
    try:
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        pathlib.Path(partial).unlink(missing_ok=True)


def _text(value: Any) -> str:
    return json.dumps(_finite(value), allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    """JSON has no infinities: null stands for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):  # a number of NumPy's
        return _finite(value.item())
    return value

"""Many pictures: each measured, and their lines added up, which shows grids that no single picture shows."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from checkerjax._checks import as_int
from checkerjax.images._detector import measure
from checkerjax.images._detector_sums import QUANTILES, FolderPeriod, PeriodSums, over_planes, spread_below
from checkerjax.images._null import sidak
from checkerjax.images._report import GridReport

AHEAD = 4  # pictures in hand for each worker
TOLD = 1.2  # times chance, from which the scatter of lines is said


@dataclasses.dataclass(frozen=True)
class FolderReport:
    """Grids in many pictures taken together."""

    pictures: int
    alpha: float
    periods: tuple[FolderPeriod, ...]
    found: tuple[int, ...]
    p: float
    spread: float = 1.0  # scatter of the summed lines below their floors, over that of chance; p-values are over it
    phase_spread: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """All of it, of plain types that JSON has."""
        return {
            "pictures": self.pictures,
            "alpha": self.alpha,
            "found": list(self.found),
            "p": self.p,
            "spread": self.spread,
            "phase_spread": self.phase_spread,
            "quantiles": list(QUANTILES),
            "periods": [
                {k: list(v) if isinstance(v, tuple) else v for k, v in r._asdict().items()} for r in self.periods
            ],
        }

    def __str__(self) -> str:
        verdict = "periods " + ", ".join(map(str, self.found)) if self.found else "no grid"
        rows = [
            f"{self.pictures} pictures: {verdict} at {self.alpha:g} (p = {self.p:.2g})",
            "period  line/floor dB  corrected  amplitude   phase dB  corrected  found in  5% / 50% / 95% of dB",
        ]
        spreads = [(self.spread, "lines"), (self.phase_spread, "phase powers")]
        told = " and ".join(f"{name} scatter {spread:.1f}" for spread, name in spreads if spread >= TOLD)
        note = f"note: {told} times chance from their floors, which p allows for"
        for r in self.periods:
            mark = "*" if r.period in self.found else " "
            low, middle, high = (r.db_quantiles[i] for i in (0, 2, 4))
            rows.append(
                f"{r.period:5d}{mark}  {r.db:13.1f}  {r.p_corrected:9.2g}  {r.amplitude:9.3g}  {r.phase_db:9.1f}"
                f"  {r.phase_p_corrected:9.2g}  {r.share_found:8.1%}  {low:.1f} / {middle:.1f} / {high:.1f}"
            )
        return "\n".join([*rows, note] if told else rows)


def measure_all(
    images: Iterable[Any],
    *,
    periods: Sequence[int] = range(2, 17),
    layout: str | None = None,
    alpha: float = 0.01,
    fractional: bool = False,
    workers: int = 1,
) -> Iterator[GridReport]:
    """`measure` of many pictures, one after the other: an array with a batch axis first, or any iterable of pictures.

    Args:
      images: arrays, of any sizes; taken a few at a time, so that a generator of many needs little memory.
      periods: as in `measure`.
      layout: of one picture, as in `measure`.
      alpha: as in `measure`.
      fractional: as in `measure`.
      workers: threads; the transforms run outside Python's lock.

    Returns:
      An iterator of reports, in the order of the pictures.

    Raises:
      ValueError: as `measure` does, when the picture's turn comes; for fewer than one worker at once.
      TypeError: as `measure` does, or for workers that are no int.

    Example:
      >>> import numpy as np
      >>> noise = np.random.default_rng(0).normal(size=(3, 64, 64))
      >>> [report.found for report in measure_all(noise, layout="HW", periods=[2, 4])]
      [(), (), ()]

    References:
      As `measure`.
    """
    workers = as_int("measure_all", "workers", workers, minimum=1)

    def one(image: Any) -> GridReport:
        return measure(image, periods=periods, layout=layout, alpha=alpha, fractional=fractional)

    return map(one, images) if workers == 1 else _threaded(one, images, workers)


def _threaded(one: Any, images: Iterable[Any], workers: int) -> Iterator[GridReport]:
    waiting: list[concurrent.futures.Future[GridReport]] = []
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for image in images:
            waiting.append(pool.submit(one, image))
            if len(waiting) >= AHEAD * workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def combine(reports: Iterable[GridReport], *, alpha: float = 0.01) -> FolderReport:
    """Adds up the lines of many pictures, of any sizes: what all have weakly becomes significant.

    For each line the p-values of all pictures and planes are turned into chi-squared variables with the line's degrees
    of freedom, which add: for one size and many floor bins that is the test of the average spectrum over its floor.
    So does what floors are off by, which is alike in pictures of a sort, and planes of a photograph are not quite
    independent. How far the lines of all periods scatter below their floors, where no grid puts them, shows by how
    much, and p-values allow for it (an empirical null) if there are 30 such lines, so with few periods not. Whether a
    grid is more than photographs have of their own, `compare` says.

    Args:
      reports: of `measure`, with the same periods and rank; taken one at a time, only sums are kept.
      alpha: level of `found`, for all periods and both statistics together.

    Returns:
      The report of the pictures taken together. Periods that some pictures were too small for come from the others.

    Raises:
      ValueError: without a report, for reports of different ranks, or for alpha outside (0, 1).
      TypeError: for something that is no report.

    Example:
      >>> import numpy as np
      >>> noise = np.random.default_rng(0).normal(size=(20, 64, 64))
      >>> noise[:, ::2] += 0.1
      >>> reports = list(measure_all(noise, layout="HW", periods=[2, 3, 4]))
      >>> sum(2 in report.found for report in reports), combine(reports).found
      (0, (2,))

    References:
      Sums of transformed p-values: Lancaster, The combination of probabilities, 1961. Empirical null: Efron,
      Large-scale simultaneous hypothesis testing, 2004; as one factor: Devlin and Roeder, Genomic control, 1999.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"combine: alpha must be between 0 and 1; got {alpha!r}.")
    sums: dict[int, PeriodSums] = {}
    count, ranks = 0, set()
    for report in reports:
        if not isinstance(report, GridReport):
            raise TypeError(f"combine: reports must be those of measure; got {type(report).__name__}.")
        count += 1
        ranks.add(len(report.size))
        if len(ranks) > 1:
            raise ValueError("combine: reports must be of one rank; got signals, pictures or volumes together.")
        lines, phases = over_planes(report.lines), over_planes(report.phase_lines)
        for result in report.periods:
            found = result.period in report.found
            sums.setdefault(result.period, PeriodSums()).add(result, found, lines, phases)
    if not count:
        raise ValueError("combine: there must be at least one report; got none.")
    trials = 2 * len(sums)
    spread = spread_below(np.concatenate([s.lines.deviates() for s in sums.values()]))
    phase_spread = spread_below(np.concatenate([s.phases.deviates() for s in sums.values()]))
    results = tuple(sums[period].result(period, trials, spread, phase_spread) for period in sorted(sums))
    found = tuple(r.period for r in results if min(r.p_corrected, r.phase_p_corrected) < alpha)
    least = min(min(r.p, r.phase_p) for r in results)
    return FolderReport(count, alpha, results, found, sidak(least, trials), spread, phase_spread)

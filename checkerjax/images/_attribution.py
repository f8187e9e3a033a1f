"""`attribute`: where a grid comes from, as far as the pixels prove it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from checkerjax.images import _attribution_jpeg as jpeg
from checkerjax.images import _attribution_others as others
from checkerjax.images._attribution_entries import LINES, Entry, entries
from checkerjax.images._attribution_samples import Samples, as_samples
from checkerjax.images._report import GridReport

OP = "attribute"
UNKNOWN = "unknown origin"
ORIGINS = (
    "jpeg blocks", "jpeg 4:2:0 chroma", "jpeg 4:2:2 chroma", "demosaicing", "scan lines", "padding border", UNKNOWN,
)  # fmt: skip
EXPLAINED = 0.5  # of a period's power, by steps at block edges
CERTAIN = 1e-4  # largest p of that power
STEP = 0.015  # of the mean difference, that steps at block edges must exceed it by
FINE = 3  # quantisation step, in levels, that leaves weak lines as they are
STRONGEST = 12.0  # times what the quantisation steps make on average: beyond, steps at block edges are not JPEG's alone


class Attribution(NamedTuple):
    """Where the grid of one period, seen by one statistic, comes from."""

    period: int
    statistic: str  # "lines" or "phase power"
    planes: tuple[str, ...]  # where it was found, of the report's
    origin: str  # one of the names that `attribute` lists
    evidence: str  # a sentence with figures
    db: float  # line over floor, of the strongest of the planes
    share: float  # of the period's power over the floor that is in these planes, 0 to 1


class _Case:
    """One picture's evidence, each piece taken once."""

    def __init__(self, samples: Samples, wanted: list[Entry]):
        self.samples = samples
        self.wanted = wanted
        self.edges = functools.cache(self._edges)
        self.border = functools.cache(self._border)

    @functools.cached_property
    def comb(self) -> jpeg.Comb | None:
        return jpeg.find_comb(self.samples)

    @functools.cached_property
    def rounding(self) -> jpeg.Rounding | None:
        return jpeg.chroma_rounding(self.samples) if len(self.samples.channels) == 3 else None

    @functools.cached_property
    def mosaic(self) -> others.Mosaic | None:
        return others.find_mosaic(self.samples)

    @property
    def quality(self) -> int | None:
        """That of a JPEG file, which tells of blocks that start in the corner."""
        picture = self.samples.picture
        return picture.origin.quality if picture is not None and picture.format == "JPEG" else None

    @functools.cached_property
    def differences(self) -> Any:
        """Those of luminance, whose phase powers the report has."""
        return self.samples.difference_cells(self.comb.offset if self.comb is not None else (0, 0))

    def _edges(self, period: int) -> jpeg.Edges | None:
        return None if self.differences is None else jpeg.edge_share(self.differences, period)

    def _border(self, plane: str, period: int, signed: bool) -> others.Border | None:
        return others.find_border(self.samples.laplacian(plane), period, signed=signed)

    @functools.cached_property
    def blocked(self) -> bool:
        """Whether the steps at block edges are larger than others, both ways, and not larger than JPEG makes them."""
        edges = self.edges(jpeg.BLOCK)
        if edges is None or min(edges.excess) <= 0 or max(edges.excess) < STEP:
            return False
        return self.comb is None or jpeg.strongest_step(self.samples.luma, self.comb) < STRONGEST


def attribute(report: GridReport, picture: Any, *, full_scale: float | None = None) -> tuple[Attribution, ...]:
    """Where the grids that `measure` found in a picture come from, where the pixels prove it.

    Every origin needs evidence of its own, so that a decoder's grid is not excused:

    - "jpeg blocks": DCT coefficients of aligned 8 x 8 blocks on multiples of a step (or a JPEG file), and phase power
      of period 2, 4 or 8 that goes when the steps at block edges are taken out;
    - "jpeg 4:2:0 chroma", "jpeg 4:2:2 chroma": period 2 along one axis, of the size and colour that the rounding in
      libjpeg's interpolation of chroma has;
    - "demosaicing": contrasts of period 2 that fit a Bayer mosaic in all three channels;
    - "scan lines": period 2 along one axis only, of one sign in all channels;
    - "padding border": a pattern along a side of the picture, and none in the central half;
    - "unknown origin": everything else.

    Blocks of a decoder that were saved as a JPEG file of the same 8 x 8 blocks cannot be told from JPEG's own.

    Args:
      report: of `measure`.
      picture: what it was measured on: a `Picture`, or an array `[H, W]` or `[H, W, C]` of 1 or 3 channels (R, G, B).
      full_scale: the value of white in an array; by default 255 for 8 bits, 65535 for 16, 1 for floats.

    Returns:
      For every period found and each statistic that found it, one entry, or one for each origin where planes differ.

    Raises:
      ValueError: if the picture's size is not the report's, values are not finite, or white is unknown or not positive.
      TypeError: for something that is no report or no real array, or a full_scale that is no number.

    Example:
      >>> import numpy as np
      >>> from checkerjax.images import measure
      >>> noise = np.random.default_rng(0).integers(90, 110, size=(96, 96)).astype(np.uint8)
      >>> noise[::2] += 9
      >>> [(found.period, found.origin) for found in attribute(measure(noise), noise)]
      [(2, 'scan lines')]

    References:
      Fan and de Queiroz, Identification of bitmap compression history, IEEE Trans. Image Processing 2003. Gallagher and
      Chen, Image authentication by detecting traces of demosaicing, CVPR Workshops 2008.
    """
    if not isinstance(report, GridReport):
        raise TypeError(f"{OP}: report must be one of measure; got {type(report).__name__}.")
    samples = as_samples(OP, report.size, picture, full_scale)
    wanted = entries(report)
    if not wanted:
        return ()
    if samples is None:
        return _merged([(entry, UNKNOWN, "origins are known of pictures of 1 or 3 channels only") for entry in wanted])
    case = _Case(samples, wanted)
    return _merged(_without_shadows([(entry, *_origin(case, entry)) for entry in wanted]))


_Judged = tuple[Entry, str, str]


def _origin(case: _Case, entry: Entry) -> tuple[str, str]:
    for test in _TESTS:
        found = test(case, entry)
        if found is not None:
            return found
    return UNKNOWN, _why_unknown(case, entry)


def _without_shadows(judged: list[_Judged]) -> list[_Judged]:
    """What may be a part of an unknown grid is not explained by anything else.

    A grid of period 8 has lines of periods 4 and 2 as well; and a strong one leaks, unevenly, into other periods.
    """
    unknown = [entry for entry, origin, _ in judged if origin == UNKNOWN]
    kept = []
    for entry, origin, evidence in judged:
        above = [u for u in unknown if u.period > entry.period and u.period % entry.period == 0]
        above = [u.period for u in above if u.statistic == entry.statistic and u.period <= jpeg.BLOCK]
        if origin == "jpeg blocks" and above:
            origin, evidence = UNKNOWN, f"may belong to the grid of period {max(above)}, which is not explained"
        stronger = [u for u in unknown if u.db > entry.db]
        if origin == "padding border" and stronger:
            period = max(stronger, key=lambda u: u.db).period
            origin, evidence = UNKNOWN, f"may belong to the stronger grid of period {period}, which is not explained"
        kept.append((entry, origin, evidence))
    return kept


def _merged(judged: list[_Judged]) -> tuple[Attribution, ...]:
    """Planes with one origin in one entry, with the evidence of the strongest."""
    groups: dict[tuple[int, str, str], list[_Judged]] = {}
    for item in judged:
        groups.setdefault((item[0].period, item[0].statistic, item[1]), []).append(item)
    found = []
    for (period, statistic, origin), items in groups.items():
        best = max(items, key=lambda item: item[0].db)
        planes = tuple(entry.plane for entry, _, _ in items)
        share = min(sum(entry.share for entry, _, _ in items), 1.0)
        found.append(Attribution(period, statistic, planes, origin, best[2], best[0].db, share))
    return tuple(found)


def _chroma(case: _Case, entry: Entry) -> tuple[str, str] | None:
    if entry.period != 2 or entry.statistic != LINES or len(entry.axes) != 1:
        return None
    found = case.rounding
    if found is None or found.axis != entry.axes[0]:
        return None
    picture = case.samples.picture
    stated = picture.origin.chroma if picture is not None else None
    amplitude = abs(found.blue + found.red) / 2
    kind = stated if stated in ("4:2:0", "4:2:2") else ("4:2:0" if amplitude < jpeg.SUBSAMPLED_BOTH else "4:2:2")
    return f"jpeg {kind} chroma", (
        f"along axis {found.axis} Cb and Cr alternate by {found.blue:+.3f} and {found.red:+.3f} levels "
        f"(+-{found.error:.3f}) and Y by {found.luma:+.3f}, as libjpeg rounds interpolated chroma"
    )


def _mosaic(case: _Case, entry: Entry) -> tuple[str, str] | None:
    if entry.period != 2 or entry.statistic == LINES or case.mosaic is None:
        return None
    found = case.mosaic
    return "demosaicing", (
        f"green varies {found.raw / max(found.interpolated, 1e-9):.2f} times as much on one diagonal as on the other, "
        "red and blue most on opposite phases of the other, as in a Bayer mosaic"
    )


def _blocks(case: _Case, entry: Entry) -> tuple[str, str] | None:
    # Lines are left out: quantisation makes few, and cannot be told from what it leaves of a decoder's.
    if jpeg.BLOCK % entry.period or entry.statistic == LINES or (case.comb is None and case.quality is None):
        return None
    if not case.blocked:
        return None
    edges = case.edges(entry.period)
    if edges is None or edges.share < EXPLAINED or edges.p > CERTAIN:
        return None
    contrast = case.edges(jpeg.BLOCK)
    excess = max(contrast.excess) if contrast is not None else 0.0
    return "jpeg blocks", (
        f"{edges.share:.0%} of it is in the steps between 8 x 8 blocks, which exceed others by {excess:.0%}; "
        f"{_coded(case)}"
    )


def _coded(case: _Case) -> str:
    comb = case.comb
    if comb is None:
        return f"the file is a JPEG of quality {case.quality}"
    where = "" if comb.offset == (0, 0) else f" (blocks start at {comb.offset[0]}, {comb.offset[1]})"
    return (
        f"DCT coefficients are multiples of {min(comb.steps)} to {max(comb.steps)} levels at {len(comb.steps)} of "
        f"{len(jpeg.FREQUENCIES)} frequencies{where}"
    )


def _scan_lines(case: _Case, entry: Entry) -> tuple[str, str] | None:
    if entry.period != 2 or entry.statistic != LINES or len(entry.axes) != 1 or entry.axes[0] > 1:
        return None
    lines = [other for other in case.wanted if other.statistic == LINES and other.period % 2 == 0]
    if any(other.period > 2 or other.axes != entry.axes for other in lines):
        return None
    if case.comb is not None and min(case.comb.steps) > FINE:
        return None  # the other axis may have been quantised away
    found = others.find_scan_lines(case.samples, entry.axes[0])
    if found is None:
        return None
    return "scan lines", (
        f"only along axis {found.axis}: values alternate by {found.amplitude:+.3g} levels (+-{found.error:.2g}), "
        f"and by {found.across:+.2g} along the other axis"
    )


def _border(case: _Case, entry: Entry) -> tuple[str, str] | None:
    if 2 * jpeg.BLOCK % entry.period == 0 and case.comb is not None:
        return None  # what is weak may have been quantised away inside
    found = case.border(entry.strongest, entry.period, entry.statistic == LINES)
    if found is None:
        return None
    return "padding border", (
        f"within {found.width} pixels of the {found.side} side its RMS is {found.outside:.2f} of the local contrast, "
        f"in the central half {found.inside:.2f} (p = {found.p_inside:.2g})"
    )


def _why_unknown(case: _Case, entry: Entry) -> str:
    """What speaks against the nearest known origin."""
    where = ", ".join("off the axes" if group > 1 else f"axis {group}" for group in entry.axes) or "no axis alone"
    said = f"{entry.db:.1f} dB over the floor ({where})"
    if jpeg.BLOCK % entry.period:
        return f"{said}; of no period that is known of coding, cameras or scanners"
    if case.comb is None and case.quality is None:
        return f"{said}; no trace of JPEG's quantisation, of a mosaic, or of scan lines"
    edges = case.edges(entry.period)
    if entry.statistic == LINES:
        return f"{said}; coded by JPEG, whose blocks hardly make lines"
    share = "nothing of it, as the picture is too small" if edges is None else f"{max(edges.share, 0.0):.0%} of it"
    return f"{said}; coded by JPEG, but block edges explain {share}"


_TESTS: tuple[Callable[[_Case, Entry], tuple[str, str] | None], ...] = (
    _chroma, _mosaic, _blocks, _scan_lines, _border,
)  # fmt: skip

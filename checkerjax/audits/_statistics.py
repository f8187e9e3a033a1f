"""From sums over draws to what is said of a field: lines over DC, phase powers, and what chance makes of both.

A line is the excess of its power over the bins around it. Of a response that repeats exactly there is nothing around
it, and the excess is the line. Of a response to latents, or to noise elsewhere in a program, the bins around are its
noise: the excess counts where the draws agree on it, and is 0 (by definition) where they do not.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import fdtrc, ndtri, stdtr, stdtrit

from checkerjax.audits._interior import Region
from checkerjax.audits._sums import Sums, hann, neighbours
from checkerjax.spectra import primitive_lines

NEGLIGIBLE = 1e-6  # of the power under the white probe, a response to the flat one is rounding
SILENT = 1e-6  # of the lines, power around them is none
LEVEL_DRAWS = 1e-5  # of a line in what draws have in common, for each period
LEVEL_SPECTRUM = 1e-3  # of a line in the spectrum of one set of parameters
LEVEL_POWER = 0.005  # of unequal phase powers
RESAMPLES = 4000


class Draws(NamedTuple):
    """Sums of each draw that gave finite fields, in double precision."""

    lines: np.ndarray  # [draws, *period]
    around: np.ndarray
    powers: np.ndarray
    zeros: np.ndarray | None  # [draws]
    map: np.ndarray | None  # [*spatial]: the square at each position, over draws
    lost: int  # draws that did not


@dataclasses.dataclass(frozen=True)
class Measured:
    """A field under the two probes."""

    lattice_ratio: float  # flat probe: energy of all lines over DC energy
    power_ratio: float  # white probe: largest over smallest phase second moment
    lattice_ratios: tuple[tuple[int, float], ...]  # (period, its primitive lines over DC)
    power_ratios: tuple[tuple[int, float], ...]  # (period, largest over smallest of its phases)
    zero_share: float | None  # white probe: of samples that are exactly 0, where they were counted
    power_chance: float  # the ratio that equal phase powers stay below in 99.5% of cases
    power_noise: float  # the part of it that more draws make smaller
    period: tuple[int, ...]  # per axis, the longest that was measured
    region: Region
    draws: int  # of the white probe
    unmeasured: tuple[int, ...] = ()  # periods whose lines cannot be told from what is around them


def gather(rows: Sequence[Sums]) -> Draws:
    """The sums of several draws."""
    powers = np.stack([np.asarray(row.powers, np.float64) for row in rows])
    finite = np.array([np.isfinite(each).all() for each in powers])
    kept = [row for row, good in zip(rows, finite) if good]
    lines, around = (
        np.stack([np.asarray(getattr(row, name), np.float64) for row in kept]) if kept else powers[finite]
        for name in ("lines", "around")
    )
    zeros = np.array([float(row.zeros) for row in kept if row.zeros is not None])
    maps = [np.asarray(row.map, np.float64) for row in kept if row.map is not None]
    return Draws(
        lines=lines,
        around=around,
        powers=powers[finite],
        zeros=zeros if len(zeros) else None,
        map=np.sum(maps, axis=0) if maps else None,
        lost=len(rows) - len(kept),
    )


def measured(flat: Draws, white: Draws, region: Region, *, steady: bool, samples: int, one_model: bool) -> Measured:
    """What the sums of both probes say.

    Args:
      flat: sums under the flat probe.
      white: sums under the white probe.
      region: where they were taken.
      steady: whether the response to the flat probe must repeat; then lines without neighbours are measurable too.
      samples: of the region, images and channels included.
      one_model: whether all draws share their parameters: then they share the roughness of one spectrum.
    """
    periods = divisors(region.period)
    negligible = flat.powers.mean() <= NEGLIGIBLE * white.powers.mean() if len(white.powers) else False
    lattice, unmeasured = [], []
    for p in periods:
        ratio = 0.0 if negligible else _lines(flat, region, p, steady, one_model)
        (unmeasured.append(p) if ratio is None else lattice.append((p, ratio)))
    powers = [(p, power_ratio(white.powers, region.period, p)) for p in periods]
    noise = power_chance(white.powers)
    return Measured(
        lattice_ratio=sum((r for _, r in lattice), 0.0),
        power_ratio=divide(white.powers.sum(0).max(), white.powers.sum(0).min(), 1.0),
        lattice_ratios=tuple(lattice),
        power_ratios=tuple(powers),
        zero_share=None if white.zeros is None else float(white.zeros.mean() / samples),
        power_chance=noise if white.map is None else max(noise, spectrum_chance(white.map, region)),
        power_noise=noise,
        period=region.period,
        region=region,
        draws=len(white.powers),
        unmeasured=tuple(unmeasured),
    )


def divisors(period: tuple[int, ...]) -> list[int]:
    """The periods above 1 that divide a field's."""
    longest = math.lcm(*period)
    return [p for p in range(2, longest + 1) if longest % p == 0]


def own_lines(period: tuple[int, ...], p: int) -> np.ndarray:
    """The primitive lines of one period among the lines of all, bool `[*period]`."""
    shorter = tuple(math.gcd(p, n) for n in period)
    out = np.zeros(period, bool)
    out[tuple(slice(None, None, n // s) for n, s in zip(period, shorter))] = primitive_lines(shorter)
    return out


def _lines(flat: Draws, region: Region, p: int, steady: bool, one_model: bool) -> float | None:
    """The primitive lines of a period over DC; None where nothing tells them from what is around."""
    own = own_lines(region.period, p)
    counts = neighbours(region)[own]
    lines, around = flat.lines[:, own], flat.around[:, own]
    dc = flat.lines.reshape(len(flat.lines), -1)[:, 0].sum()
    if not counts.all():
        return divide(lines.sum(), dc, 0.0) if steady else None
    excess = float((lines - around / counts).sum())
    if around.sum() > SILENT * lines.sum() and not _stands_out(lines, around, counts, one_model):
        return 0.0
    return divide(max(0.0, excess), dc, 0.0)


def _stands_out(lines: np.ndarray, around: np.ndarray, counts: np.ndarray, one_model: bool) -> bool:
    """Whether lines are more than the bins around them make likely.

    Over draws of the parameters, by Student's t test of the share that a line has of itself and its neighbours
    together, on average 1 / (1 + neighbours) for any smooth spectrum, however loud each draw is. Draws of one set of
    parameters are all rough in the same way, so there the F test of one spectrum decides.
    """
    if one_model:  # a line that is its own conjugate is one number squared; others are two, and come twice
        ratio = lines.sum() / (around / counts).sum()
        return bool(fdtrc(counts.size, counts.sum(), ratio) < LEVEL_SPECTRUM)
    total = lines + around
    share = np.where(total > 0, lines / np.where(total > 0, total, 1), 1 / (1 + counts)) - 1 / (1 + counts)
    each = share.mean(1)
    count = len(each)
    if count < 2 or each.std() == 0:
        return count >= 2 and each.mean() > 0
    t = each.mean() / (each.std(ddof=1) / math.sqrt(count))
    return bool(stdtr(count - 1, -t) < LEVEL_DRAWS)


def phases_of(powers: np.ndarray, period: tuple[int, ...], p: int) -> np.ndarray:
    """Powers of the phases of a shorter period, `[draws, phases]`."""
    shorter = [math.gcd(p, n) for n in period]
    split = powers.reshape(len(powers), *(s for n, q in zip(period, shorter) for s in (n // q, q)))
    return split.mean(tuple(range(1, 2 * len(period), 2))).reshape(len(powers), -1)


def power_ratio(powers: np.ndarray, period: tuple[int, ...], p: int) -> float:
    """Largest over smallest phase of a period, summed over draws first."""
    phases = phases_of(powers, period, p).sum(0)
    return divide(phases.max(), phases.min(), 1.0)


def power_chance(powers: np.ndarray) -> float:
    """The ratio that equal phases stay below in all but `LEVEL_POWER` of cases; inf if there is one draw only.

    Deviations of the draws from phases that are in the observed proportion, added with random normal weights, have the
    covariance of their sum however the phases of a draw depend on each other.

    References:
      Chernozhukov, Chetverikov and Kato, Annals of Statistics 41(6), 2013 (the multiplier bootstrap).
    """
    phases = powers.reshape(len(powers), -1)
    count, total = len(phases), phases.sum(0)
    used = total > 0
    if not used.any() or phases.shape[1] == 1:
        return 1.0
    if count < 2:
        return math.inf
    phases, total = phases[:, used], total[used]
    apart = phases / total - (phases / total).mean(1, keepdims=True)
    apart *= math.sqrt(count / (count - 1))
    rng = np.random.default_rng(0)
    widths = np.concatenate([np.ptp(rng.standard_normal((RESAMPLES // 8, count)) @ apart, axis=1) for _ in range(8)])
    few = float(stdtrit(count - 1, 1 - LEVEL_POWER / 2) / ndtri(1 - LEVEL_POWER / 2))
    return math.exp(min(50.0, few * float(np.quantile(widths, 1 - LEVEL_POWER))))


def spectrum_chance(power: np.ndarray, region: Region) -> float:
    """The ratio that phases stay below in all but `LEVEL_POWER` of cases if lines are part of the spectrum around them.

    Of one set of parameters that makes fields from latents: the power differs from position to position, and hence
    from phase to phase, whether there is a grid or not, and more draws do not change that.

    Args:
      power: `[*spatial]`, the mean square at each position.
      region: where it was taken.
    """
    mean, floor = _map_floor(power, region)
    floor = np.sqrt(floor)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((RESAMPLES // 4, *region.period))
    axes = tuple(range(1, noise.ndim))
    pattern = np.fft.ifftn(np.fft.fftn(noise, axes=axes, norm="ortho") * floor, axes=axes, norm="forward").real
    pattern = np.maximum(mean + pattern, 0).reshape(len(noise), -1)
    ratios = np.array([divide(a, b, 1.0) for a, b in zip(pattern.max(1), pattern.min(1))])
    return float(np.quantile(ratios, 1 - LEVEL_POWER, method="nearest"))


def _map_floor(power: np.ndarray, region: Region) -> tuple[float, np.ndarray]:
    """The mean of a map, under a Hann window if it has borders, and the mean power of the bins around each line."""
    for axis, (q, p) in enumerate(zip(region.counts, region.period)):
        if region.whole and q > 1:
            power = power * np.expand_dims(hann(q * p), tuple(range(1, power.ndim - axis)))
    mean = float(power.mean())
    bins = np.square(np.abs(np.fft.fftn(power, norm="forward")))
    floor = np.zeros(region.period)
    for m in list(np.ndindex(*region.period))[1:]:
        beside = [_offsets(q, region.whole) if i and p > 1 else [0] for i, q, p in zip(m, region.counts, region.period)]
        around = np.ix_(
            *([(i * q + o) % (q * p) for o in each] for i, q, p, each in zip(m, region.counts, region.period, beside))
        )
        floor[m] = bins[around].mean()
    return mean, floor


def _offsets(count: int, windowed: bool) -> list[int]:
    """Bins to the sides of a line; under a window its own next neighbours are part of it."""
    reach = min(2, count // 2)
    return [o for o in range(-reach, reach + 1) if abs(o) > (1 if windowed and reach > 1 else 0)]


def divide(above: float, below: float, empty: float) -> float:
    """The quotient of two energies: inf where only the second is 0, `empty` where both are."""
    if below > 0:
        return float(above / below)
    return math.inf if above > 0 else empty

"""How evenly an operation feeds the phases of its output: exact for constants, for any weights for what is learned."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Sequence

import numpy as np

from checkerjax.audits._axes import AxisReads
from checkerjax.audits._finding import GRADES

EQUAL = 1e-4  # of the largest gain: sums of float32 taps that are the same number


@dataclasses.dataclass(frozen=True, eq=False)
class Phases:
    """What reaches the phases of an output for an input constant in space."""

    gains: np.ndarray  # [*phases, I, O], for one draw of what is learned
    counts: tuple[np.ndarray, ...]  # per axis [phases]: taps that are not 0

    @property
    def ndim(self) -> int:
        return len(self.counts)

    def grades(self) -> tuple[str, ...]:
        """Of each axis."""
        return tuple(self._grade(axis) for axis in range(self.ndim))

    def _grade(self, axis: int) -> str:
        counts = self.counts[axis]
        if len(counts) == 1:
            return "tied"
        if (counts == 0).any():
            return "holes"
        if np.ptp(self.gains, axis=axis).max(initial=0.0) <= EQUAL * np.abs(self.gains).max(initial=0.0):
            return "tied"
        return "untied" if (counts == counts[0]).all() else "uneven"

    def spread(self) -> float:
        """Largest minus smallest gain over phases, root mean square over channel pairs, over that of the gains."""
        axes = tuple(range(self.ndim))
        size = np.sqrt(np.mean(self.gains**2))
        return float(np.sqrt(np.mean(np.ptp(self.gains, axis=axes) ** 2)) / size) if size else 0.0


def worst(grades: Sequence[str]) -> str:
    """The worst of several grades."""
    return min(grades, key=GRADES.index, default="tied")


def response(reads: AxisReads) -> np.ndarray:
    """What each phase of one axis makes of ones, `[up]`."""
    return np.asarray(reads.pattern_weights).sum(axis=1)


def tap_phases(first: AxisReads | None, conv: AxisReads) -> np.ndarray:
    """How much of each tap reaches each phase, `[phases, taps]`: a convolution after a fixed upsampling, or alone."""
    turns = 1 if first is None else first.up // np.gcd(first.up, abs(conv.down))
    n = np.arange(conv.up * turns)
    again, phase = np.divmod(n, conv.up)
    reached = conv.pattern_weights[phase]
    if first is None:
        return reached
    middle = conv.pattern_positions[phase] + conv.down * again[:, None]
    return reached * response(first)[middle % first.up]


def conv_phases(kernel: np.ndarray, tables: Sequence[np.ndarray]) -> Phases:
    """A convolution `[*k, I, O]` whose taps reach the phases as the tables `[phases, taps]` of each axis say."""
    ndim = len(tables)
    taps, phases = string.ascii_lowercase[:ndim], string.ascii_uppercase[:ndim]
    sums = ",".join(f"{p}{t}" for p, t in zip(phases, taps))
    gains = np.einsum(f"{sums},{taps}yz->{phases}yz", *tables, kernel, optimize=True)
    counts = []
    for axis, table in enumerate(tables):
        others = tuple(a for a in range(kernel.ndim) if a != axis)
        counts.append((table != 0) @ (kernel != 0).any(axis=others).astype(np.int64))
    return Phases(gains, tuple(counts))


def shuffled_phases(kernel: np.ndarray, channels: np.ndarray, free: bool) -> Phases:
    """A convolution whose channels become phases, as `[*phases, C]` says; `free` if a bias may differ between them."""
    ndim = channels.ndim - 1
    taps = kernel.sum(axis=tuple(range(kernel.ndim - 2)))  # [I, O]
    gains = np.moveaxis(taps[:, channels], 0, -2)  # [*phases, I, C]
    if free:
        gains = gains + np.random.default_rng(0).normal(size=gains.shape)
    return Phases(gains, tuple(np.full(channels.shape[a], kernel.shape[a]) for a in range(ndim)))


def fixed_phases(reads: Sequence[AxisReads]) -> Phases:
    """A fixed linear operation."""
    gains = np.ones((1,) * len(reads))
    for axis, each in enumerate(reads):
        gains = gains * response(each).reshape([-1 if a == axis else 1 for a in range(len(reads))])
    counts = tuple((np.asarray(r.pattern_weights) != 0).sum(axis=1) for r in reads)
    return Phases(gains[..., None, None], counts)


def free_phases(counts: Sequence[np.ndarray]) -> Phases:
    """Phases whose gains hang on the data, or on channels that are free."""
    shape = tuple(len(c) for c in counts)
    return Phases(np.random.default_rng(0).normal(size=(*shape, 1, 1)), tuple(np.asarray(c, np.int64) for c in counts))


def stamp_size(reads: AxisReads) -> int:
    """How many output samples one input sample reaches, the first to the last, of those that reach most."""
    positions, weights = np.asarray(reads.pattern_positions), np.asarray(reads.pattern_weights)
    n, tap = np.nonzero(weights)
    if not len(n):
        return 1
    turns, phase = np.divmod(positions[n, tap], abs(reads.down))  # the same sample one turn on is reached one turn on
    reached = n - turns * reads.up * (1 if reads.down > 0 else -1)
    return max(int(np.ptp(reached[phase == each])) + 1 for each in np.unique(phase))


def window_size(reads: AxisReads) -> int:
    """How many input samples one output sample takes, the first to the last."""
    positions, weights = np.asarray(reads.pattern_positions), np.asarray(reads.pattern_weights)
    sizes = [int(np.ptp(p[w != 0])) + 1 for p, w in zip(positions, weights) if (w != 0).any()]
    return max(sizes, default=1)

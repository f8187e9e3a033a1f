"""What each output sample of an operation reads along one axis, and after how many samples that repeats."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from checkerjax.stacks._reads import resolve_border

BORDERS = ("edge", "reflect", "symmetric", "wrap")
LONGEST = 64  # period looked for, in output samples
SHORT = 4  # a longer one that borders do not follow is believed where it is seen three times
SAME_WEIGHT = 1e-5  # of the largest weight: those of a resize come from float32


@dataclasses.dataclass(frozen=True, eq=False)
class AxisReads:
    """Output n is the sum over t of weights[n, t] x[positions[n, t]]; p outputs on, it is the same q inputs on."""

    size: int  # input samples
    positions: np.ndarray  # int64 [out, taps], in [0, size)
    weights: np.ndarray  # float64 [out, taps]; 0 reads nothing: a zero put in, or one of the padding
    outside: np.ndarray  # bool [out]: the output reads padding, or otherwise than the pattern says
    up: int  # p
    down: int  # q; negative where the axis is reversed
    border: str  # zeros, edge, reflect, symmetric, wrap, or "other"
    pattern_positions: np.ndarray  # int64 [p, taps]: of outputs 0 to p - 1 were the field endless
    pattern_weights: np.ndarray  # float64 [p, taps]

    @property
    def outputs(self) -> int:
        return self.positions.shape[0]

    @property
    def taps(self) -> int:
        return self.positions.shape[1]

    def is_identity(self) -> bool:
        """Whether every sample stays in its place."""
        same = self.outputs == self.size and self.taps == 1 and (self.up, self.down) == (1, 1)
        return bool(
            same
            and not self.outside.any()
            and np.array_equal(self.positions[:, 0], np.arange(self.size))
            and (self.weights == 1).all()
        )

    def keeps_resolution(self) -> bool:
        """Whether one output sample belongs to one input sample."""
        return (self.up, abs(self.down)) == (1, 1)

    def matrix(self) -> np.ndarray:
        """`[out, size]`."""
        out = np.zeros((self.outputs, self.size))
        np.add.at(out, (np.arange(self.outputs)[:, None], self.positions), self.weights)
        return out


def window_reads(
    size: int, outputs: int, kernel: int, stride: int, low: int, *, dilation: int = 1, stuffing: int = 1
) -> AxisReads:
    """A window of `kernel` taps, `dilation` apart, every `stride` samples of a field with zeros put in.

    `stuffing` - 1 zeros stand between samples, `low` before the field.
    """
    stuffed = stride * np.arange(outputs)[:, None] + dilation * np.arange(kernel) - low
    real = stuffed % stuffing == 0
    positions = stuffed // stuffing
    inside = (positions >= 0) & (positions < size)
    common = math.gcd(stuffing, stride)
    up, down = stuffing // common, stride // common
    endless = stride * np.arange(up)[:, None] + dilation * np.arange(kernel) - low
    return AxisReads(
        size=size,
        positions=np.where(real & inside, positions, 0),
        weights=(real & inside).astype(np.float64),
        outside=(real & ~inside).any(axis=1),
        up=up,
        down=down,
        border="zeros",
        pattern_positions=endless // stuffing,
        pattern_weights=(endless % stuffing == 0).astype(np.float64),
    )


def read_pattern(size: int, positions: np.ndarray, weights: np.ndarray) -> AxisReads | None:
    """Reads whose pattern is found in them; None where samples are picked without one.

    Args:
      size: input samples.
      positions: int64 `[out, taps]`, in [0, size).
      weights: float64 `[out, taps]`; 0 where nothing is read.
    """
    outputs = len(positions)
    if outputs == 0 or not weights.any():
        return None
    found = _periodic(size, positions, weights, exact=True)
    if found is None and ((weights != 0).any(axis=1).all() or size == 1):
        found = _whole(size, positions, weights)
    found = found or _periodic(size, positions, weights, exact=False)
    if found is not None or positions.shape[1] != 1:
        return found
    return _few(size, positions, weights) if outputs <= 4 else _strip(size, positions, weights)


def _periodic(size: int, positions: np.ndarray, weights: np.ndarray, *, exact: bool) -> AxisReads | None:
    """The shortest pattern that fits all outputs, else the shortest that fits all but borders."""
    best = None
    for up in range(1, min(len(positions) // 2, LONGEST) + 1):
        run = _repeats(positions, weights, up)
        reads = None if run is None else _fitted(size, positions, weights, up, run, exact)
        if run is not None and reads is not None and up > SHORT and reads.outside.any():
            reads = reads if run[1] - run[0] >= 2 * up else None  # pairs, of three turns
        if reads is not None and (best is None or not reads.outside.any()):
            best = reads
        if best is not None and not best.outside.any():
            break
    return best


def _repeats(positions: np.ndarray, weights: np.ndarray, up: int) -> tuple[int, int, int] | None:
    """The longest run of outputs that repeat after `up`, as (start, stop, shift); None if it is under half of all."""
    scale = np.abs(weights).max()
    same = (np.abs(weights[up:] - weights[:-up]) <= SAME_WEIGHT * scale).all(axis=1)
    used = (weights[up:] != 0) & (weights[:-up] != 0)
    shift = np.where(used, positions[up:] - positions[:-up], 0)
    counts = used.sum(axis=1)
    low = np.where(used, shift, np.iinfo(np.int64).max).min(axis=1)
    high = np.where(used, shift, np.iinfo(np.int64).min).max(axis=1)
    same &= (counts == 0) | (low == high)
    best: tuple[int, int, int] | None = None
    start, down = 0, None
    for n in range(len(same) + 1):
        value = low[n] if n < len(same) and counts[n] else None
        if n < len(same) and same[n] and (value is None or down is None or value == down):
            down = value if down is None else down
            continue
        if down and (best is None or n - start > best[1] - best[0]):
            best = (start, n, int(down))
        start, down = n, value if n < len(same) and same[n] else None
        start += int(n < len(same) and not same[n])
    if best is None or 2 * (best[1] - best[0]) < len(same):
        return None
    return best


def _fitted(
    size: int, positions: np.ndarray, weights: np.ndarray, up: int, run: tuple[int, int, int], exact: bool
) -> AxisReads | None:
    """The pattern of a run, extended to all outputs and held against them; `exact` where none may be picked freely."""
    start, stop, down = run
    outputs = np.arange(len(positions))
    source = start + (outputs - start) % up  # the output of the run's first period with the same phase
    turns = (outputs - source) // up
    endless, expected = positions[source] + down * turns[:, None], weights[source]
    scale = np.abs(weights).max()
    used = expected != 0
    beyond = used & ((endless < 0) | (endless >= size))
    agrees = (np.abs(weights - expected) <= SAME_WEIGHT * scale) & (~used | (positions == endless))
    touched = beyond.any(axis=1)
    if positions.shape[1] == 1:
        elsewhere = ((positions != endless) & (weights != 0) & used & ~beyond)[:, 0]
        if elsewhere.any() and (exact or not _near(positions[:, 0], elsewhere, start, stop + up)):
            return None
    outside = touched
    if (~agrees.all(axis=1) & ~touched).any():
        outside = _to_ends(~agrees.all(axis=1) | touched)
        if _fills(outside):
            return None
    border = _border(size, positions, weights, endless, beyond & touched[:, None])
    first = np.arange(up)
    phase = start + (first - start) % up
    return AxisReads(
        size=size,
        positions=positions,
        weights=weights,
        outside=outside,
        up=up,
        down=down,
        border=border,
        pattern_positions=positions[phase] + down * ((first - phase) // up)[:, None],
        pattern_weights=weights[phase],
    )


def _near(positions: np.ndarray, elsewhere: np.ndarray, start: int, stop: int) -> bool:
    """Whether picks that no pattern explains are of samples near the ends of those of a run: crops that are padded."""
    far = np.abs(positions[elsewhere, None] - positions[[start, stop - 1]]).min(axis=1)
    return bool((far <= 2 * elsewhere.sum() + 1).all())


def _to_ends(irregular: np.ndarray) -> np.ndarray:
    """With all between an end and what departs from the pattern beside it: the gradient of a reflection skips a row.

    One sample from elsewhere, away from the end, is no border: at least half of what is taken for one departs.
    """
    out = irregular.copy()
    for end in (out[: -(-len(out) // 4)], out[::-1][: -(-len(out) // 4)]):
        there = np.flatnonzero(end)
        reach = int(there.max(initial=-1)) + 1
        if reach <= 2 * len(there):
            end[:reach] = True
    return out


def _fills(irregular: np.ndarray) -> bool:
    """Whether what departs from the pattern is anywhere but in runs at the two ends, of a quarter at most."""
    near = -(-len(irregular) // 4)
    regular = np.flatnonzero(~irregular)
    if regular.size == 0 or regular[0] > near or len(irregular) - 1 - regular[-1] > near:
        return True
    return bool(irregular[regular[0] : regular[-1] + 1].any())


def _border(size: int, positions: np.ndarray, weights: np.ndarray, endless: np.ndarray, beyond: np.ndarray) -> str:
    """What stands for the samples beyond the ends."""
    if not beyond.any() or not weights[beyond].any():
        return "zeros"
    if positions.shape[1] == 1 and weights[beyond].all():
        for name in BORDERS:
            if np.array_equal(resolve_border(endless[beyond], size, name), positions[beyond]):
                return name
    return "other"


def _few(size: int, positions: np.ndarray, weights: np.ndarray) -> AxisReads | None:
    """Too few outputs to see a pattern in: the one that fits and comes nearest to the ratio of the sizes."""
    start = int(np.flatnonzero(weights[:, 0])[0])
    fits = []
    for up, down in [(1, q) for q in range(1, 9)] + [(p, 1) for p in range(2, 9)]:
        turns, phase = np.divmod(np.arange(len(positions)) - start, up)
        endless = positions[start, 0] + down * turns
        inside = (phase == 0) & (endless >= 0) & (endless < size)
        if np.array_equal(inside, weights[:, 0] != 0) and np.array_equal(endless[inside], positions[inside, 0]):
            fits.append((abs(math.log(up * size / (down * len(positions)))), up, down))
    if not fits:
        return None
    _, up, down = min(fits)
    turns, phase = np.divmod(np.arange(up) - start, up)
    outside = (weights[:, 0] == 0) & ((np.arange(len(positions)) - start) % up == 0)
    pattern = positions[start, 0] + down * turns[:, None]
    taps = np.where(phase == 0, weights[start, 0], 0.0)[:, None]
    return AxisReads(size, positions, weights, outside, up, down, "zeros", pattern, taps)


def _strip(size: int, positions: np.ndarray, weights: np.ndarray) -> AxisReads | None:
    """A few samples in a row, put at an end among zeros: what the gradient of a padding adds to the border."""
    used = _to_ends(weights[:, 0] != 0)
    rows = np.flatnonzero(weights[:, 0])
    in_a_row = (np.diff(rows) == 1).all() and (np.abs(np.diff(positions[rows, 0])) == 1).all()
    if 4 * used.sum() > len(used) or _fills(used) or not in_a_row:
        return None
    nothing = np.zeros((1, 1), np.int64)
    return AxisReads(size, positions, weights, used, 1, 1, "other", nothing, nothing.astype(np.float64))


def _whole(size: int, positions: np.ndarray, weights: np.ndarray) -> AxisReads | None:
    """A resize by a ratio that never repeats, or of one sample: all of the axis is one period."""
    heaviest = np.abs(weights).argmax(axis=1)[:, None]  # a wide filter's first tap may vanish where samples coincide
    used = np.flatnonzero((weights != 0).any(axis=1))
    peaks, ratio = np.take_along_axis(positions, heaviest, axis=1)[used, 0], size / len(positions)
    evenly = (np.abs(peaks - ((used + 0.5) * ratio - 0.5)) <= max(1.0, ratio)).all()
    if not evenly or (np.diff(peaks) < 0).any() or len(positions) == size > 1:
        return None
    common = math.gcd(len(positions), size)
    up, down = len(positions) // common, size // common
    outside = np.zeros(len(positions), bool)
    turns = len(positions) // up // 2  # a period in the middle
    middle = slice(turns * up, (turns + 1) * up)
    return AxisReads(
        size, positions, weights, outside, up, down, "zeros", positions[middle] - down * turns, weights[middle]
    )


def as_read(size: int, positions: np.ndarray, weights: np.ndarray) -> AxisReads:
    """Reads without a pattern: all of the axis is one period."""
    common = math.gcd(len(positions), size)
    turn = len(positions) // common, size // common
    return AxisReads(size, positions, weights, np.zeros(len(positions), bool), *turn, "other", positions, weights)


def reads_of_matrix(matrix: np.ndarray, *, lenient: bool = False) -> AxisReads | None:
    """The reads of a matrix `[out, size]` along one axis; None where it follows no pattern, unless `lenient`."""
    scale = np.abs(matrix).max(initial=0.0)
    used = np.abs(matrix) > 1e-6 * scale
    if scale == 0:
        return None
    taps = int(used.sum(axis=1).max())
    order = np.argsort(~used, axis=1, kind="stable")[:, :taps]  # the used ones first, in place order
    rows = np.arange(len(matrix))[:, None]
    weights = np.where(used[rows, order], matrix[rows, order], 0.0)
    positions = np.where(weights != 0, order, 0)
    found = read_pattern(matrix.shape[1], positions, weights)
    return as_read(matrix.shape[1], positions, weights) if found is None and lenient else found

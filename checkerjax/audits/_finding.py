"""What an audit says of one operation."""

from __future__ import annotations

import dataclasses

ROLES = ("up", "down", "shuffle", "smooth", "unknown")
GRADES = ("holes", "uneven", "untied", "tied")  # from worst to best


@dataclasses.dataclass(frozen=True)
class Finding:
    """One operation that changes the resolution, smooths, or was not understood; sizes are per spatial axis."""

    role: str  # "up", "down", "shuffle", "smooth" or "unknown"
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]  # output samples per input sample of "up" and "shuffle", input per output of "down"
    grade: str  # "holes", "uneven", "untied" or "tied": the worst axis
    path: str  # of modules and name scopes, "" where there are none
    source: str  # "file:line"
    operation: str  # how it is written, in words: "convolution with lhs_dilation", "repeat + convolution", ...
    axis_grades: tuple[str, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # zeros before and after, in samples of the (stuffed) input; empty if none
    kernel: str  # "learned", "constant", "from the data" or "none"
    counts: tuple[tuple[int, ...], ...]  # per axis: taps that reach each phase
    gain_spread: float | None  # (largest - smallest) / mean size of the phase gains with the given parameters
    period: tuple[int, ...]  # of all that leads to it, in its output samples
    macs: int | None  # products for one image, where it is a convolution
    certain: bool  # False inside a loop or branch that may not run
    lattice_ratio: float | None = None  # flat probe: line over DC energy after it; None where not measured
    power_ratio: float | None = None  # white probe: largest over smallest phase second moment after it
    lattice_ratios: tuple[tuple[int, float], ...] = ()  # (period, primitive lines over DC)
    power_ratios: tuple[tuple[int, float], ...] = ()  # (period, largest over smallest phase power)
    power_chance: float | None = None  # the power ratio that equal phase powers hardly ever exceed by chance
    zero_share: float | None = None  # backward: the share of its outputs that are exactly 0 under the white probe
    advice: tuple[str, ...] = ()
    nodes: tuple[int, ...] = dataclasses.field(default=(), repr=False)  # of the graph, last one its output

    def worst(self) -> int:
        """The grade as a number, 0 for the worst."""
        return GRADES.index(self.grade)

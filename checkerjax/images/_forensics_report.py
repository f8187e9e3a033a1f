"""What `forensics` says."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

UNRESOLVED = "cannot tell"
CONSIDERED = (
    "only these are considered, as the last layer, with weights as drawn; of other kernels and strides, of trained\n"
    "weights, and of pictures that were resized or compressed since, the set says nothing"
)


class Suspect(NamedTuple):
    """A kernel and stride of the last upsampler, or none of random weights that are not tied."""

    name: str  # "k5 s2" or "none"
    kernel: int | None
    stride: int | None
    probability: float  # among all suspects, each as likely before
    p: float  # share of simulated generators of this kind that fit as badly
    stacked: tuple[float, ...]  # probabilities of 1, 2, 3 such layers, one after the other; () for none


class SeenPhases(NamedTuple):
    """Second moments by phase, all channels together."""

    period: int
    ratio: float  # largest over smallest
    error: float  # relative standard error of a phase's share


@dataclasses.dataclass(frozen=True)
class ForensicsReport:
    """Which upsamplers with random weights the images may come from."""

    images: int
    size: tuple[int, int]
    channels: int
    alpha: float
    suspects: tuple[Suspect, ...]  # the likeliest first
    seen: tuple[SeenPhases, ...]
    clipped: float  # share of the values at the ends of the range
    notes: tuple[str, ...] = ()

    @property
    def set(self) -> tuple[Suspect, ...]:
        """What cannot be excluded: it holds the truth for at least 1 - alpha of generators of each kind."""
        return tuple(s for s in self.suspects if s.p > self.alpha)

    @property
    def kernel(self) -> int | None:
        """The only kernel size that the set leaves; None if it leaves several, or none at all is possible."""
        return _only([s.kernel for s in self.set])

    @property
    def stride(self) -> int | None:
        """The only stride that the set leaves."""
        return _only([s.stride for s in self.set])

    @property
    def verdict(self) -> str:
        """One line."""
        left = [s.name for s in self.set]
        if left == ["none"]:
            return "none: no trace of a last upsampler of those below, with random weights that are not tied"
        if self.kernel is not None and self.stride is not None:
            return f"k{self.kernel} s{self.stride}"
        if self.stride is not None:
            return f"stride {self.stride}; {UNRESOLVED} which kernel: {', '.join(left)}"
        return f"{UNRESOLVED}: {', '.join(left)}"

    def to_dict(self) -> dict[str, Any]:
        """Of plain types that JSON has."""
        found = dataclasses.asdict(self)
        found["size"] = list(self.size)
        found["suspects"] = [s._asdict() for s in self.suspects]
        found["seen"] = [s._asdict() for s in self.seen]
        found["notes"] = list(self.notes)
        return found | {"set": [s.name for s in self.set], "verdict": self.verdict}

    def __str__(self) -> str:
        number = "1 image" if self.images == 1 else f"{self.images} images of one generator"
        rows = [
            f"{number}, {self.size[0]} x {self.size[1]}: {self.verdict}",
            f"in the {1 - self.alpha:.0%} set  probability      p  stacked 1, 2, 3",
        ]
        for s in self.suspects:
            depths = ", ".join(f"{p:.2f}" for p in s.stacked)
            rows.append(
                f"{'*' if s.p > self.alpha else ' '} {s.name:14}  {s.probability:11.3f}  {s.p:5.2f}  {depths}".rstrip()
            )
        rows += [f"period {s.period}: phase powers differ by {s.ratio:.2f} (+-{s.error:.1%} each)" for s in self.seen]
        rows.append(CONSIDERED)
        return "\n".join([*rows, *(f"note: {note}" for note in self.notes)])


def _only(values: list[int | None]) -> int | None:
    return values[0] if values and len(set(values)) == 1 else None

"""What a program and a stack both come down to on the way to a stack in normal form."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from checkerjax.audits._graph import Node
from checkerjax.audits._stack_lines import Line, identity
from checkerjax.stacks._layers import Layer

Sizes = tuple[int, ...]


class Untranslated(Exception):
    """What no layer says; its text is the reason."""

    def __init__(self, reason: str, node: Node | None = None) -> None:
        super().__init__(reason)
        self.node = node


@dataclasses.dataclass(frozen=True, eq=False)
class Token:
    """One step of a chain."""

    node: Node | None = dataclasses.field(default=None, kw_only=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Fixed(Token):
    """A fixed linear map, axis by axis, the same for every channel, times `factor`."""

    lines: tuple[Line, ...]
    factor: float = 1.0

    def is_identity(self) -> bool:
        return self.factor == 1 and all(each.is_identity for each in self.lines)


@dataclasses.dataclass(frozen=True, eq=False)
class Learned(Token):
    """A learned correlation of the field that `before` makes, with its padding and stuffing, per axis."""

    before: tuple[Line, ...]
    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    outputs: Sizes
    groups: int
    features: int | None
    stuffing: Sizes  # zeros between samples that are part of the operation itself: it is a transposed convolution


@dataclasses.dataclass(frozen=True, eq=False)
class Largest(Token):
    """A maximum over windows."""

    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Shuffled(Token):
    """Channels become phases."""

    scale: Sizes
    channels: np.ndarray | None  # int64 [*scale, C]: which channel; None in any order that the order says
    order: str = "depth_first"


@dataclasses.dataclass(frozen=True, eq=False)
class Latent(Token):
    """A learned map from a latent to so many numbers, of which `Unfolded` makes a field."""


@dataclasses.dataclass(frozen=True, eq=False)
class Unfolded(Token):
    """A latent becomes a field."""

    size: Sizes
    features: int | None
    groups: np.ndarray | None = None  # int64 [positions, C]: which number of the latent


@dataclasses.dataclass(frozen=True, eq=False)
class Pointwise(Token):
    """A layer that works sample by sample, or one half of an l2 pool ("square", "root")."""

    layer: Layer | str
    values: Any = None  # of a bias: float64, one number per channel


@dataclasses.dataclass(frozen=True, eq=False)
class Joined(Token):
    """Chains from one field to fields that are added or put side by side."""

    combine: str
    branches: tuple[tuple[Token, ...], ...]


class Run(NamedTuple):
    """Fixed maps one after another, as one: each line to its own scale, and the product of the scales."""

    lines: tuple[Line, ...]
    factor: float


def normalised(lines: tuple[Line, ...], factor: float = 1.0) -> Run:
    """Lines whose largest weight is 1, and what that leaves."""
    out = []
    for each in lines:
        largest = each.weights.flat[np.abs(each.weights).argmax()] if each.weights.size else 0.0
        if largest not in (0.0, 1.0):
            factor *= float(largest)
            each = each.scaled(1 / float(largest))
        out.append(each)
    return Run(tuple(out), factor)


def axis_by_axis(token: Fixed) -> list[Fixed]:
    """A map as maps along one axis each, those that do nothing left out; each with its own factor."""
    alone = [normalised((each,)) for each in token.lines]
    sizes = [each.size for each in token.lines]
    out, left = [], token.factor
    for a, ((own,), factor) in enumerate(alone):
        if own.is_identity:
            left *= factor
            continue
        lines = tuple(own if b == a else identity(n) for b, n in enumerate(sizes))
        out.append(Fixed(lines, factor, node=token.node))
        sizes[a] = own.outputs
    if abs(left - 1) < 1e-6:
        return out
    if not out:
        return [Fixed(tuple(identity(n) for n in sizes), left, node=token.node)]
    return [dataclasses.replace(out[0], factor=out[0].factor * left), *out[1:]]

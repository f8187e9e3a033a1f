"""The fields of a program and the operations between them: what the walk over its steps writes, and all else reads."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from checkerjax.audits._axes import AxisReads
from checkerjax.audits._flatten import Step, Value
from checkerjax.audits._moves import Move

# The role of an axis of a field: a batch, channels, or the number of a spatial axis.
BATCH, CHANNEL = "n", "c"
MOST_AXES = 3  # of space
Role = str | int
Roles = tuple[Role, ...]

KINDS = (
    "input",  # data
    "move",  # samples moved, repeated, stuffed or dropped, axis by axis; channels kept, picked or reordered
    "shuffle",  # channels become phases: depth to space
    "unshuffle",  # phases become channels: space to depth
    "conv",  # a window of taps on each axis; kernel learned, constant, or made from the data
    "window",  # a pool: the sum or the largest of a window
    "route",  # the gradient of a max pool
    "matrix",  # a constant matrix along one axis: a resize
    "filter",  # a fixed linear operation, axis by axis: what `fuse` makes of matrices, shifts and sums
    "dense",  # channels to channels of a latent
    "unflatten",  # a latent becomes a field
    "flatten",  # a field becomes a latent
    "global",  # a statistic of the whole field for each channel
    "scale",  # times one number
    "channels",  # a sum over channels or groups of them
    "concat",  # channels joined
    "pointwise",  # sample by sample, of one or several fields
    "mix",  # every position reads every other, as attention does
    "unknown",  # a step without a rule
)


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """The taps of a convolution."""

    value: Value  # in the program
    source: str  # "constant", "parameter" or "data"
    order: tuple[int, ...]  # transposes the value to [*k, I / groups, O]
    groups: int = 1
    array: np.ndarray | None = None  # float64 [*k, I / groups, O], where it is constant


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One operation with the field that it makes."""

    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    roles: Roles
    step: Step | None
    value: Value | None  # the program's value that holds this field as it is; None if none does
    reads: tuple[AxisReads, ...] = ()  # per spatial axis, of kinds that read windows
    kernel: Kernel | None = None
    channels: np.ndarray | None = None  # int64: which input channel; [C], or [*phases, C] of a shuffle
    operation: str = ""  # of a pointwise node, window or unknown: the primitive's name
    factor: float = 1.0  # of a scale, move or filter: what all is multiplied by
    alone: bool = True  # False inside a loop or branch that may or may not run

    @property
    def spatial(self) -> tuple[int, ...]:
        """Sizes of the spatial axes, in their order."""
        axes = [r for r in self.roles if isinstance(r, int)]
        return tuple(self.shape[self.roles.index(a)] for a in sorted(axes))

    @property
    def feature_count(self) -> int:
        """Channels."""
        return self.shape[self.roles.index(CHANNEL)] if CHANNEL in self.roles else 1

    @property
    def up(self) -> tuple[int, ...]:
        """Output samples of one turn of the pattern, per spatial axis."""
        return tuple(r.up for r in self.reads)

    @property
    def down(self) -> tuple[int, ...]:
        """Input samples of one turn, per spatial axis."""
        return tuple(abs(r.down) for r in self.reads)


class Located(NamedTuple):
    """A value as elements of the field of a node."""

    node: int
    move: Move


@dataclasses.dataclass(eq=False)
class Graph:
    """Nodes in program order, and where each value of the data lies."""

    nodes: list[Node] = dataclasses.field(default_factory=list)
    located: dict[Value, Located] = dataclasses.field(default_factory=dict)
    outputs: tuple[int, ...] = ()
    lenient: bool = False  # whether samples may be picked without a pattern

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def consumers(self) -> list[list[int]]:
        """For each node, those that read it."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for source in dict.fromkeys(node.inputs):
                readers[source].append(i)
        return readers

    def whole(self, value: Value) -> int | None:
        """The node whose field a value is, as it is; None if it is another's or a part of one."""
        at = self.located.get(value)
        if at is None or at.move.shape != self.nodes[at.node].shape or not at.move.is_identity():
            return None
        return at.node

    def live(self) -> set[int]:
        """The nodes that the outputs depend on."""
        kept: set[int] = set()
        waiting = list(self.outputs)
        while waiting:
            i = waiting.pop()
            if i not in kept:
                kept.add(i)
                waiting += self.nodes[i].inputs
        return kept


def field_roles(ndim: int, layout: str) -> Roles:
    """The roles of the axes of an input."""
    if ndim < 2:
        return (CHANNEL,) * ndim
    if ndim == 2:
        return (BATCH, CHANNEL)
    axes = tuple(range(ndim - 2))
    return (BATCH, *axes, CHANNEL) if layout == "channel_last" else (BATCH, CHANNEL, *axes)


def to_channel_last(x: Any, roles: Roles) -> Any:
    """A field `[N, *spatial, C]`, whatever the order and number of its axes."""
    batch = [i for i, r in enumerate(roles) if r == BATCH]
    spatial = [roles.index(a) for a in sorted(r for r in roles if isinstance(r, int))]
    channel = [i for i, r in enumerate(roles) if r == CHANNEL]
    moved = x.transpose(*batch, *spatial, *channel)
    return moved.reshape(-1, *(x.shape[i] for i in spatial), x.shape[channel[0]] if channel else 1)

"""How a small field, a kernel and a large field meet: the geometry that a convolution and its transpose share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

Ints = tuple[int, ...]


def is_known(shape: Sequence[Any]) -> bool:
    """Whether all sizes are numbers; `jax.export` has symbols for those that come later."""
    return all(isinstance(n, int) for n in shape)


def crop(field: jax.Array, sizes: Sequence[int]) -> jax.Array:
    """The first samples of each spatial axis of `[N, *n, C]`."""
    return field[(slice(None), *(slice(n) for n in sizes))]


class Grid(NamedTuple):
    """Sample m of the small field meets tap j at sample n = stride m + dilation j - low of the large one.

    One int an axis in each field. A strided convolution reads the large field, a transposed one writes it.
    """

    small: Ints  # samples of the small field
    kernel: Ints  # taps
    large: Ints  # samples of the large field
    stride: Ints
    dilation: Ints
    low: Ints  # samples that the first stamp reaches below the large field; negative where it starts inside

    @property
    def ndim(self) -> int:
        return len(self.small)

    @property
    def high(self) -> Ints:
        """Samples that the last stamp reaches above the large field."""
        return tuple(
            s * (m - 1) + d * (k - 1) + 1 - low - n
            for m, k, n, s, d, low in zip(self.small, self.kernel, self.large, self.stride, self.dilation, self.low)
        )

    @property
    def steps(self) -> int:
        """Pairs of a small sample and a tap, the products of one channel pair (stamps over the border included)."""
        return math.prod(self.small) * math.prod(self.kernel)


class Phases(NamedTuple):
    """Phases of the large field along one axis, next to each other, that take the same samples of the small one.

    Sample q of phase `first + i` is the sum over t of taps[i][t] on small[q + offsets[t]].
    """

    first: int
    offsets: Ints
    taps: tuple[Ints, ...]  # of each phase


def phases(grid: Grid, axis: int) -> list[Phases]:
    """The phases of an axis, in order; phase r holds the large samples r, r + stride, r + 2 stride, ..."""
    s, d, low = grid.stride[axis], grid.dilation[axis], grid.low[axis]
    out: list[Phases] = []
    for r in range(s):
        taps = tuple(j for j in reversed(range(grid.kernel[axis])) if (r + low - d * j) % s == 0)
        offsets = tuple((r + low - d * j) // s for j in taps)
        if out and out[-1].offsets == offsets:
            out[-1] = out[-1]._replace(taps=(*out[-1].taps, taps))
        else:
            out.append(Phases(r, offsets, (taps,)))
    return out


def windows(grid: Grid) -> int:
    """Windows of the small field that the phases of the large one are computed from."""
    return math.prod(sum(len(group.offsets) for group in phases(grid, axis)) for axis in range(grid.ndim))

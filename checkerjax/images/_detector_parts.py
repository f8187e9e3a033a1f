"""Which lines are pooled, and how much they depend on each other through the floor bins that they share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from checkerjax.images._null import HANN_OVERLAP

PART = 12  # lines that are pooled at most: a floor slightly off would add up in a long sum
# The squared slope of E[z^2] in the logarithm of the floor, z^2 being the pooled term of a line with two degrees of
# freedom: with u ~ Exp(1) the slope is E[z^2(u) (u - 1)] = 1.398.
RESPONSE = 1.953


class Piece(NamedTuple):
    """Lines of one period and group, `[L]`, and their floor bins, `[L, n]`."""

    period: int
    group: int
    frequency: np.ndarray  # [L, ndim]
    pattern: np.ndarray  # [n, ndim], offsets of the bins
    bins: np.ndarray  # indices into the half spectrum
    valid: np.ndarray  # clear of DC
    floor_dof: np.ndarray  # [L]


class Parts(NamedTuple):
    """Lines `[L]` in parts `[A]`, parts in groups `[G]` of one period, and these in periods `[P]`, all in order."""

    of_line: np.ndarray  # [L]
    count: np.ndarray  # [A], lines
    inflation: np.ndarray  # [A], variance of the pooled sum over that of independent lines
    groups: tuple[tuple[int, int], ...]  # [G], period and group
    first: np.ndarray  # [G], index of a group's first part
    size: np.ndarray  # [G], parts
    first_group: np.ndarray  # [P]
    groups_of: np.ndarray  # [P], number of groups


def split_parts(pieces: list[tuple[int, int, float, int]]) -> Parts:
    """The parts of groups of lines: their period, group, inflation and number of lines.

    Large ones are dealt out in turn, so that the lines of a part are far from each other.
    """
    part, count, inflation = [], [], []
    sizes = [-(-lines // PART) for *_, lines in pieces]
    for number, (_, _, inflated, lines) in zip(sizes, pieces):
        part.append(len(count) + np.arange(lines) % number)
        count += [len(range(i, lines, number)) for i in range(number)]
        inflation += [inflated if number == 1 else 1.0] * number
    groups = tuple((period, group) for period, group, _, _ in pieces)
    _, first_group, groups_of = np.unique([period for period, _ in groups], return_index=True, return_counts=True)
    first = np.cumsum([0, *sizes[:-1]])
    return Parts(
        np.concatenate(part), np.array(count), np.array(inflation), groups, first, np.array(sizes), first_group,
        groups_of,
    )  # fmt: skip


def shared_floors(size: tuple[int, ...], piece: Piece) -> float:
    """Variance of the pooled sum of lines on one axis, over that of independent ones.

    Their floors are means of bins of that axis: the variance of the sum of log floors is that of a weighted sum of
    bins, and what exceeds the sum of their variances is due to bins in common.
    """
    if piece.group == len(size) or len(piece.frequency) > PART:
        return 1.0
    n = size[piece.group]
    at = np.round(piece.frequency[:, piece.group, None] * n).astype(int) + piece.pattern[:, piece.group]
    share = piece.valid / np.maximum(piece.valid.sum(1, keepdims=True), 1)
    weight = np.bincount((at % n).ravel(), share.ravel(), n)
    both = weight + weight[-np.arange(n) % n]  # a bin and its conjugate have the same power
    overlapped = sum(overlap * np.roll(both, shift - 2) for shift, overlap in enumerate(HANN_OVERLAP))
    excess = float(weight @ overlapped) - float((2 / piece.floor_dof).sum())
    return 1 + RESPONSE * max(0.0, excess) / (2 * len(piece.frequency))

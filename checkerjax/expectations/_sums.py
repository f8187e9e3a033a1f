"""Branches: their channels joined, or added with what they have in common."""

from __future__ import annotations

import itertools
import math
from typing import Any

from checkerjax.expectations import _lags as lags_
from checkerjax.expectations._lags import Array, Lags
from checkerjax.expectations._parts import Field, Part, Term, no_closed_form
from checkerjax.expectations._program import Node
from checkerjax.expectations._steps import IDENTITY, composed, read_lags


def opened(field: Field) -> Field:
    """The field as the branches see it: each part is itself."""
    starts = itertools.accumulate((part.channels for part in field), initial=0)
    identity = (Term(1.0, (IDENTITY,) * len(field[0].own.periods)),)
    return tuple(part._replace(terms=identity, start=start) for part, start in zip(field, starts))


def joined(branches: list[Field], before: Field) -> Field:
    """Channels side by side."""
    return tuple(_closed(part, part.terms, before) for field in branches for part in field)


def added(node: Node, branches: list[Field], before: Field) -> Field:
    """The sum, channel by channel, cut wherever a branch has a new part."""
    return tuple(_sum(node, parts, before) for parts in cut(branches))


def cut(fields: list[Field]) -> list[list[Part]]:
    """The parts of fields with equally many channels, cut wherever one of them has a new part."""
    edges = sorted({edge for field in fields for edge in itertools.accumulate(part.channels for part in field)})
    return [
        [_at(field, start)._replace(channels=stop - start) for field in fields]
        for start, stop in zip([0, *edges], edges)
    ]


def _at(field: Field, channel: int) -> Part:
    """The part that a channel lies in, from that channel on."""
    first = 0
    for part in field:
        if channel < first + part.channels:
            return part._replace(start=part.start + channel - first)
        first += part.channels
    raise AssertionError(f"channel {channel} of {first}")


def _sum(node: Node, parts: list[Part], before: Field) -> Part:
    periods = tuple(map(math.lcm, *(part.mean.shape for part in parts)))
    parts = [part._replace(mean=lags_.tiled_powers(part.mean, periods)) for part in parts]
    own, between = [part.own for part in parts], [part.between for part in parts]
    for a, b in itertools.permutations(parts, 2):
        means = _outer(a.mean, b.mean)
        own.append(means)
        between.append(means)
        if a.terms == () or b.terms == ():
            continue  # in the wide limit one knows nothing of the other
        if a.terms is None or b.terms is None:
            raise no_closed_form(node, "two of its branches are functions of the same field, not both linear")
        if a.start != b.start:
            raise no_closed_form(node, "it adds channels that its branches have in another order")
        source = _at(before, a.start)
        means = _outer(source.mean, source.mean)
        for lags, sums in ((source.own, own), (source.between, between)):
            rest = _total([lags, means.map(-means.values)])
            sums += [_read(node, rest, left, right) for left, right in itertools.product(a.terms, b.terms)]
    known = [part.terms for part in parts]
    terms = None if any(t is None for t in known) else tuple(term for t in known if t for term in t)
    summed = Part(
        parts[0].channels,
        _total(own),
        _total(between),
        _plus([part.mean for part in parts]),
        all(part.gaussian for part in parts),
        start=parts[0].start,
        mixed=any(part.mixed for part in parts),
        approximate=any(part.approximate for part in parts),
    )
    return _closed(summed, terms, before)


def _read(node: Node, lags: Lags, left: Term, right: Term) -> Lags:
    read = read_lags(node.place, lags, left.steps, right.steps)
    return read.map(left.scale * right.scale * read.values)


def _closed(part: Part, terms: tuple[Term, ...] | None, before: Field) -> Part:
    """A branch's output as the branch around it sees it."""
    if terms == ():
        return part._replace(terms=())
    if terms is None:
        around = [outer.terms for outer in before]
        return part._replace(terms=() if all(t == () for t in around) else None)
    source = _at(before, part.start)
    if source.terms is None:
        return part._replace(terms=None)
    chained = tuple(
        Term(outer.scale * inner.scale, tuple(map(composed, outer.steps, inner.steps)))
        for outer, inner in itertools.product(source.terms, terms)
    )
    return part._replace(terms=chained, start=source.start)


def _outer(a: Array, b: Array) -> Lags:
    """The product of two functions of phase."""
    periods = tuple(map(math.lcm, a.shape, b.shape))
    lags = Lags(None, periods, periods)
    first, second = (lags_.tiled_powers(powers, periods) for powers in (a, b))
    return lags.map(lags_.at_first(first, lags) * lags_.at_second(second, lags))


def _total(all_lags: list[Lags]) -> Lags:
    everywhere = lags_.common(all_lags)
    return everywhere[0].map(_plus([lags.values for lags in everywhere]))


def _plus(arrays: list[Any]) -> Any:
    return sum(arrays[1:], start=arrays[0])

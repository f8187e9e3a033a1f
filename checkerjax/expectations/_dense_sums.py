"""Branches with full covariances: their channels joined, or added with what they have in common."""

from __future__ import annotations

import itertools
import math
from typing import Any

from checkerjax.expectations._dense_parts import Array, Field, Part, no_closed_form


def opened(field: Field) -> Field:
    """The field as the branches see it: each part is itself."""
    starts = itertools.accumulate((part.channels for part in field), initial=0)
    return tuple(part._replace(link=_identity(part), start=start) for part, start in zip(field, starts))


def _identity(part: Part) -> Array:
    xp, count = part.mean.__array_namespace__(), math.prod(part.size)
    return xp.reshape(xp.eye(count, dtype=part.mean.dtype), (*part.size, *part.size))


def joined(branches: list[Field], before: Field) -> Field:
    """Channels side by side."""
    return tuple(_closed(part, before) for field in branches for part in field)


def added(place: str, branches: list[Field], before: Field) -> Field:
    """The sum, channel by channel, cut wherever a branch has a new part."""
    edges = sorted({edge for field in branches for edge in itertools.accumulate(part.channels for part in field)})
    out = []
    for start, stop in zip([0, *edges], edges):
        parts = [_from_channel(field, start)._replace(channels=stop - start) for field in branches]
        out.append(_closed(_sum(place, parts, before), before))
    return tuple(out)


def _from_channel(field: Field, channel: int) -> Part:
    first = 0
    for part in field:
        if channel < first + part.channels:
            return part._replace(start=part.start + channel - first)
        first += part.channels
    raise AssertionError(f"channel {channel} of {first}")


def _sum(place: str, parts: list[Part], before: Field) -> Part:
    """Two branches share, besides their means, what both have of the field before them and no weight has mixed."""
    own, between = [_total([getattr(part, name) for part in parts]) for name in ("own", "between")]
    for a, b in itertools.permutations(parts, 2):
        means = _outer(a.mean, b.mean)
        own, between = own + means, between + means
        if a.link is None or b.link is None:
            continue
        if isinstance(a.link, str) or isinstance(b.link, str):
            raise no_closed_form(place, "two of its branches are functions of the same field, not both linear")
        if a.start != b.start:
            raise no_closed_form(place, "it adds channels that its branches have in another order")
        source = _from_channel(before, a.start)
        shared = _outer(source.mean, source.mean)
        own = own + _through(a.link, source.own - shared, b.link)
        between = between + _through(a.link, source.between - shared, b.link)
    return Part(
        parts[0].channels,
        own,
        between,
        _total([part.mean for part in parts]),
        all(part.gaussian for part in parts),
        _total_link(parts),
        next((part.start for part in parts if part.link is not None), 0),
        any(part.approximate for part in parts),
    )


def _total_link(parts: list[Part]) -> Any:
    links = [part.link for part in parts if part.link is not None]
    if any(isinstance(link, str) for link in links):
        return "tangled"
    return _total(links) if links else None


def _through(left: Array, covariance: Array, right: Array) -> Array:
    """left K right^T."""
    ndim = covariance.ndim // 2
    xp = covariance.__array_namespace__()
    once = xp.tensordot(left, covariance, axes=ndim)
    return xp.tensordot(once, xp.moveaxis(right, range(ndim), range(-ndim, 0)), axes=ndim)


def _closed(part: Part, before: Field) -> Part:
    """A branch's output as the branch around it sees it."""
    if part.link is None:
        return part
    if isinstance(part.link, str):
        return part._replace(link=None if all(outer.link is None for outer in before) else "tangled")
    source = _from_channel(before, part.start)
    if source.link is None or isinstance(source.link, str):
        return part._replace(link=source.link)
    link = part.link.__array_namespace__().tensordot(part.link, source.link, axes=len(source.size))
    return part._replace(link=link, start=source.start)


def _outer(a: Array, b: Array) -> Array:
    return a.__array_namespace__().tensordot(a, b, axes=0)


def _total(arrays: list[Any]) -> Any:
    return sum(arrays[1:], start=arrays[0])

"""What sign flips prove: which fields are as often -x as x, and which sums have no cross terms.

Whatever is drawn as often with one sign as with the other (the input, the weights of a layer, a bias) is a source with
a bit of its own. A set of sources may be flipped together without changing a probability. Under some of these flips a
field keeps its value or changes its sign as a whole; a `Sign` says under which, as masks of bits over the field of two
elements: flips v with <a, v> = 0 for each a of `tied` multiply the field by (-1)^<odd, v>. Sources that a field does
not depend on are in no mask, so they may always be flipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Sign(NamedTuple):
    """How flips of the sources act on a field."""

    odd: int
    tied: tuple[int, ...] = ()


def sources() -> Iterator[int]:
    """Masks of one bit each, without end."""
    bit = 1
    while True:
        yield bit
        bit <<= 1


def times(sign: Sign, source: int) -> Sign:
    """Of a field that is linear in a source of its own: a learned layer's output."""
    return Sign(sign.odd ^ source, sign.tied)


def is_symmetric(sign: Sign) -> bool:
    """Whether some flip changes the field's sign: it is as often -x as x then."""
    return not _in_span(sign.odd, sign.tied)


def rectified(sign: Sign) -> Sign:
    """Of phi(x), or any other function of x on its own: it is the same under flips that keep x."""
    return Sign(0, (*sign.tied, sign.odd))


def are_orthogonal(a: Sign, b: Sign) -> bool:
    """Whether some flip changes the sign of the product of two fields: its mean is 0 then."""
    return not _in_span(a.odd ^ b.odd, (*a.tied, *b.tied))


def added(terms: Iterable[Sign]) -> Sign:
    """Of a sum: flips that act alike on all terms."""
    first, *others = terms
    tied = [first.tied, *(other.tied for other in others), tuple(first.odd ^ other.odd for other in others)]
    return Sign(first.odd, tuple(_basis(mask for masks in tied for mask in masks)))


def _basis(masks: Iterable[int]) -> list[int]:
    """Independent masks with the same span: each but the first bits of those before it (Gaussian elimination)."""
    basis: list[int] = []
    for mask in masks:
        rest = _reduced(mask, basis)
        if rest:
            basis.append(rest)
            basis.sort(reverse=True)
    return basis


def _reduced(mask: int, basis: Iterable[int]) -> int:
    for vector in basis:
        mask = min(mask, mask ^ vector)
    return mask


def _in_span(mask: int, masks: Iterable[int]) -> bool:
    return _reduced(mask, _basis(masks)) == 0

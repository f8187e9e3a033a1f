"""Gradients on their way from a stack's output to its input, as covariances: layer by layer, the last one first."""

from __future__ import annotations

from typing import Any

from checkerjax.expectations import _lags as lags_
from checkerjax.expectations import _parts as parts
from checkerjax.expectations import _sums as sums
from checkerjax.expectations._batch_norm import batch_norm, squared_slopes
from checkerjax.expectations._lags import Array, Lags
from checkerjax.expectations._parts import Field, Part, Scale, Term
from checkerjax.expectations._periodic import run
from checkerjax.expectations._pointwise import dual_derivative
from checkerjax.expectations._program import Node, Program
from checkerjax.expectations._steps import transposed
from checkerjax.expectations._variances import Weights
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import LEARNED


def pulled(program: Program, field: Field, back: Field, flat: bool) -> Field:
    """The gradient at the input of a program, `field`, from that at its output, `back`.

    A gradient's `between` is what its pixels have that are so far apart that their inputs are independent. With a
    `flat` input there are none: all read the same numbers.
    """
    before = []
    for node in program:
        before.append(field)
        if len(before) < len(program):
            field = run((node,), field, ())
    for node, entering in zip(reversed(program), reversed(before)):
        back = _layer(node, entering, back, flat)
    return back


def _layer(node: Node, field: Field, back: Field, flat: bool) -> Field:
    layer = node.layer
    if node.branches:
        joined = isinstance(layer, layers.Parallel) and layer.combine == "concat"
        return (_joined if joined else _added)(node, field, back, flat)
    if isinstance(layer, LEARNED):
        return parts.learned(_transposed(node), back)
    if isinstance(layer, layers.MaxPool):
        raise parts.no_closed_form(node, "its gradient goes to whichever pixel is largest")
    if isinstance(layer, layers.L2Pool):
        raise parts.no_closed_form(node, "its slopes depend on all samples of a window")
    if isinstance(layer, layers.Bias):
        return back
    if isinstance(layer, layers.POINTWISE):
        rule = _normalised if isinstance(layer, layers.BatchNorm) else _bent
        return tuple(rule(node, before, part, flat) for before, part in sums.cut([field, back]))
    return tuple(parts.fixed(_transposed(node), part) for part in back)


def _transposed(node: Node) -> Node:
    """The layer that gradients see: steps in reverse order, each by who reads, and channels exchanged."""
    steps = tuple(tuple(map(transposed, axes)) for axes in reversed(node.steps))
    if not isinstance(node.weights, Weights):
        return node._replace(steps=steps)
    power, tied, inputs, features = node.weights
    return node._replace(steps=steps, weights=Weights(power * features / inputs, tied, features, inputs))


def _added(node: Node, field: Field, back: Field, flat: bool) -> Field:
    """All branches have the same gradient at their output, as they have the same field at their input."""
    field, opened = sums.opened(field), sums.opened(back)
    return sums.added(node, [pulled(branch, field, opened, flat) for branch in node.branches], back)


def _joined(node: Node, field: Field, back: Field, flat: bool) -> Field:
    """Branches of channels of their own, whose gradients are independent."""
    field, found, start = sums.opened(field), [], 0
    for branch in node.branches:
        stop = start + sum(part.channels for part in run(branch, field, ()))
        own = tuple(part._replace(terms=()) for part in _channels(back, start, stop))
        found.append(pulled(branch, field, own, flat))
        start = stop
    # A sum around this one would have to know which channels went where.
    terms = () if all(part.terms == () for part in back) else None
    return tuple(part._replace(terms=terms) for part in sums.added(node, found, back))


def _channels(field: Field, start: int, stop: int) -> Field:
    """The parts of some channels in a row."""
    found, first = [], 0
    for part in field:
        low, high = max(first, start), min(first + part.channels, stop)
        if low < high:
            found.append(part._replace(channels=high - low))
        first += part.channels
    return tuple(found)


def _bent(node: Node, before: Part, back: Part, flat: bool) -> Part:
    """A function of each sample: times E[phi'(u) phi'(v)]."""
    if getattr(node.layer, "slope", None) == 1:
        return back
    if not before.gaussian:
        raise parts.no_closed_form(node, "what comes in is no longer Gaussian")
    exact = not before.mixed or (_rectifies(node.layer) and before.scales)
    found = _times(back, _slopes(node.layer, before, far=False), _slopes(node.layer, before, far=not flat))
    return found._replace(approximate=back.approximate or before.approximate or not exact)


def _rectifies(layer: Any) -> bool:
    return isinstance(layer, (layers.Relu, layers.LeakyRelu))


def _slopes(layer: Any, before: Part, *, far: bool) -> Lags:
    scales = before.scales if _rectifies(layer) and before.scales else (Scale(1.0, 1.0, before.own, before.between),)
    total: Array = 0.0
    for scale in scales:  # weighed by what batch norm then divides by: the two are not independent
        powers, lags = lags_.diagonal(scale.own), scale.between if far else scale.own
        first, second = lags_.at_first(powers, lags), lags_.at_second(powers, lags)
        total = total + scale.weight * dual_derivative(layer, first, lags.values, second)
    return (before.between if far else before.own).map(total / sum(scale.weight for scale in scales))


def _normalised(node: Node, before: Part, back: Part, flat: bool) -> Part:
    """Batch norm: divided by the standard deviation."""
    after = batch_norm(node, before)
    slopes = squared_slopes(node, before, after)
    found = _times(back, slopes, slopes)._replace(approximate=back.approximate or after.approximate)
    if back.terms and not after.scales and slopes.values.size == 1:
        root = slopes.values.reshape(()) ** 0.5
        return found._replace(gaussian=back.gaussian, terms=tuple(Term(root * t.scale, t.steps) for t in back.terms))
    return found._replace(gaussian=back.gaussian and not after.scales)


def _times(back: Part, near: Lags, far: Lags) -> Part:
    own, between = _product(back.own, near), _product(back.between, far)
    terms = () if back.terms == () else None
    return Part(back.channels, own, between, back.mean, False, terms, back.start, approximate=back.approximate)


def _product(a: Lags, b: Lags) -> Lags:
    a, b = lags_.common([a, b])
    return a.map(a.values * b.values)

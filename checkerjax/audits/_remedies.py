"""What can be done about a finding, the best first: as a sentence, and as edits of the program that show its effect."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from checkerjax.audits._finding import Finding
from checkerjax.audits._fixes import (
    Edit,
    Places,
    blurred_max_pool,
    box,
    mean_of_blocks,
    resized_convolution,
    resized_scatter,
    sizes_of,
    tied,
)
from checkerjax.audits._graph import CHANNEL, Node
from checkerjax.audits._reading import Reading, where
from checkerjax.audits._report_words import size

FUSED = "checkerjax.resize_conv"


@dataclasses.dataclass(frozen=True, eq=False)
class Remedy:
    """A change that could be made; without edits where it would change the shapes of parameters."""

    text: str
    edits: tuple[Edit, ...] = ()


def remedies(finding: Finding, reading: Reading, *, trained: bool) -> tuple[Remedy, ...]:
    """For an upsampling or shuffle of the program that was read.

    Args:
      finding: of `reading`.
      reading: of the program.
      trained: whether the parameters stay as given: then what keeps the layer comes first.
    """
    node = reading.graph.nodes[finding.nodes[-1]]
    conv = next((reading.graph.nodes[i] for i in finding.nodes if reading.graph.nodes[i].kind == "conv"), None)
    if finding.role not in ("up", "shuffle") or (not node.reads and node.kind != "shuffle"):
        return ()
    held = _held(finding, reading)
    if node.kind == "shuffle":
        if conv is None:
            return (held,)
        icnr = _icnr(finding, reading, node)
        return (held, icnr) if trained else (icnr, held)
    if finding.grade == "tied":
        return (held,)
    if conv is None:
        return (_repeated(finding, reading, node),) if "zero insertion" == finding.operation else (held,)
    if finding.kernel != "learned":
        return tuple(r for r in (held, _taps(finding)) if r is not None)
    if not _stuffs(finding, reading, conv):
        return (held,)
    resized, larger = _resized(finding, reading, conv), _larger(finding)
    return tuple(r for r in ((held, resized, larger) if trained else (resized, held, larger)) if r is not None)


def gradient_remedies(finding: Finding, gradient: Reading, forward: Reading) -> tuple[Remedy, ...]:
    """For what the input gradient passes: a change of the coarsening that it is the gradient of.

    Args:
      finding: of `gradient`.
      gradient: of the gradient's program.
      forward: of the program itself.
    """
    found = [_coarsening(origin, forward) for origin in _origins(finding, gradient, forward)]
    if not found:
        return ()
    edits = tuple(edit for each in found for edit in each[0].edits)
    return (dataclasses.replace(found[0][0], edits=edits), *found[0][1:])


def _origins(finding: Finding, gradient: Reading, forward: Reading) -> list[Finding]:
    """The coarsenings written where a finding of the gradient was; of several, those most like it."""
    steps = [gradient.graph.nodes[i].step for i in finding.nodes]
    sources = {finding.source, *(where(step)[1] for step in steps if step is not None)}
    origins = [f for f in forward.findings if f.role == "down" and f.source in sources]
    for name in ("stride", "kernel_size", "path"):
        origins = [f for f in origins if getattr(f, name) == getattr(finding, name)] or origins
    return origins


def _stuffs(finding: Finding, reading: Reading, conv: Node) -> bool:
    """Whether zeros are put between samples before a convolution."""
    if max(conv.up) > 1:
        return True
    first = reading.graph.nodes[finding.nodes[0]]
    return first.kind == "move" and any((np.asarray(r.pattern_weights) == 0).any() for r in first.reads)


def _resized(finding: Finding, reading: Reading, conv: Node) -> Remedy:
    s, k = finding.stride, finding.kernel_size
    text = (
        f"{_place(finding)}resize to the nearest by {_per_axis(s)} and convolve k{_per_axis(k)} with stride 1 instead "
        f"(jax.image.resize and nn.Conv, or {FUSED}): no lines for any weights, equal phase powers at random "
        f"initialisation. {_cost_of_resize(finding)}"
    )
    step = conv.step
    if step is None:
        edits = ()
    elif step.name == "checkerjax_scatter":
        edits = (Edit(step, whole=resized_scatter),)
    elif step.name != "conv_general_dilated":
        edits = Places(reading.program, reading.graph).after(finding.nodes[-1], _summed(conv, s))
    elif max(conv.up) > 1:
        edits = (Edit(step, whole=resized_convolution),)
    else:
        axes = step.params["dimension_numbers"].lhs_spec[2:]
        sizes = {d: n for d, n in zip(axes, s) if n > 1}
        edits = (Edit(step, operand=0, array=functools.partial(box, sizes=sizes, mean=False)),)
    return Remedy(text, edits)


def _summed(node: Node, scale: Sequence[int]):
    return functools.partial(box, sizes=sizes_of(node, scale), mean=False)


def _held(finding: Finding, reading: Reading) -> Remedy:
    """A box of the stride after the operation."""
    s = finding.stride
    node = reading.graph.nodes[finding.nodes[-1]]
    edits = Places(reading.program, reading.graph).after(
        finding.nodes[-1], functools.partial(box, sizes=sizes_of(node, s))
    )
    if finding.grade == "tied":
        why = (
            "its phases have equal gains, and unequal powers under noise. To bring these nearer, take the mean of "
            f"{_window(s)} after it; a nearest resize instead makes them equal"
        )
        return Remedy(f"{_place(finding)}{why}; {_additions(s)}.", edits)
    constant = "its constant taps add up to different sums at the phases: " if finding.kernel == "constant" else ""
    power = (
        "phase powers become equal at random initialisation, not for all weights"
        if finding.kernel == "learned" or finding.role == "shuffle"
        else "phase powers come nearer"
    )
    text = (
        f"{_place(finding)}{constant}keep it and take the mean of {_window(s)} after it (a fixed filter, "
        f"checkerjax.hold_taps({max(s)})): no lines for any weights, trained ones too; {power}. It smooths; "
        f"{_additions(s)}."
    )
    return Remedy(text, edits)


def _taps(finding: Finding) -> Remedy | None:
    """Other constants."""
    if finding.kernel != "constant" or max(finding.stride) != 2:
        return None
    return Remedy(f"{_place(finding)}or taps [1, 3, 3, 1] along each axis: equal sums and energies at both phases.")


def _repeated(finding: Finding, reading: Reading, node: Node) -> Remedy:
    text = (
        f"{_place(finding)}repeat samples instead of putting zeros between them (a nearest resize by "
        f"{_per_axis(finding.stride)}: jnp.repeat, or checkerjax.upsample): equal gains and powers, no products."
    )
    edits = Places(reading.program, reading.graph).after(finding.nodes[-1], _summed(node, finding.stride))
    return Remedy(text, edits)


def _icnr(finding: Finding, reading: Reading, node: Node) -> Remedy:
    text = (
        f"{_place(finding)}initialise the kernel alike for all phases of a channel (ICNR: checkerjax.icnr), and the "
        "bias with it: no lines and equal phase powers at the start; training unties them. No products more."
    )
    before = reading.graph.nodes[node.inputs[0]]
    if CHANNEL not in before.roles or node.channels is None:
        return Remedy(text)
    pick = functools.partial(tied, channels=node.channels, axis=before.roles.index(CHANNEL))
    return Remedy(text, Places(reading.program, reading.graph).after(node.inputs[0], pick))


def _larger(finding: Finding) -> Remedy | None:
    """Even counts by another kernel size; of a dilation that shares a factor with the stride no size has them."""
    dilation = finding.dilation or (1,) * len(finding.stride)
    uneven = any(len(set(c)) > 1 for c in finding.counts)
    if not uneven or any(math.gcd(d, s) > 1 for d, s in zip(dilation, finding.stride)):
        return None
    k = tuple(s * math.ceil(n / s) for n, s in zip(finding.kernel_size, finding.stride))
    more = math.prod(k) / math.prod(finding.kernel_size)
    return Remedy(
        f"{_place(finding)}or kernel size {_per_axis(k)} for {_per_axis(finding.kernel_size)}, a multiple of the "
        f"stride: even counts and phase powers, but gains stay free, so lines remain at random initialisation. "
        f"{_products(finding, more)}."
    )


def _coarsening(origin: Finding, forward: Reading) -> tuple[Remedy, ...]:
    """What to change of a coarsening, for the sake of its gradient."""
    last = forward.graph.nodes[origin.nodes[-1]]
    base = forward.graph.nodes[forward.graph.nodes[origin.nodes[0]].inputs[0]]
    s, k, at = _per_axis(origin.stride), _per_axis(origin.kernel_size), _place(origin)
    window = _window(origin.stride)
    if last.kind == "window" and last.operation == "max":
        return (_largest(origin, last),)
    mean = functools.partial(box, sizes=sizes_of(base, origin.stride), ahead=True)
    edits = Places(forward.program, forward.graph).before(origin.nodes, mean)
    equal = "every input then gets the same sum of weights, whatever these are, so no lines in the gradient"
    if last.kind == "conv" and max(origin.kernel_size) > 1:
        text = (
            f"{at}blur before the strided convolution, by the mean of {window} at stride 1: {equal}, and equal "
            f"powers at random initialisation. It smooths what the layer reads; {_additions(origin.stride)}."
        )
        return tuple(r for r in (Remedy(text, edits), _larger_window(origin)) if r is not None)
    if last.kind == "conv":
        text = f"{at}average-pool by {s}, then convolve k{k} with stride 1: {equal}; as many products."
        return (Remedy(text, edits),)
    if last.kind == "unshuffle":
        text = f"{at}take the mean of {window} at stride 1 before it: {equal}. It smooths what follows."
        return (Remedy(text, edits),)
    if last.kind == "move":
        return (Remedy(f"{at}average-pool by {s} instead of dropping samples: {equal}, and equal powers.", edits),)
    text = f"{at}take the mean of {window} at stride 1 before it: {equal}; {_additions(origin.stride)}."
    return tuple(r for r in (Remedy(text, edits), _larger_window(origin)) if r is not None)


def _largest(origin: Finding, node: Node) -> Remedy:
    s, step = _per_axis(origin.stride), node.step
    if step is not None and step.name == "reduce_max":
        text = f"{_place(origin)}take the mean of the blocks, not their largest: all inputs get the same gradient."
        return Remedy(text, (Edit(step, whole=mean_of_blocks),))
    text = (
        f"{_place(origin)}pool with stride 1, then take the mean of {_window(origin.stride)} with stride {s} "
        "(MaxBlurPool): all samples win equally often, so no lines and equal powers in the gradient; "
        f"{math.prod(origin.stride)} times the comparisons."
    )
    known = step is not None and step.name == "reduce_window_max"
    return Remedy(text, (Edit(step, whole=blurred_max_pool),) if known else ())  # pyright: ignore[reportArgumentType]


def _larger_window(origin: Finding) -> Remedy | None:
    k = tuple(s * math.ceil(n / s) for n, s in zip(origin.kernel_size, origin.stride))
    if k == origin.kernel_size or max(origin.dilation, default=1) > 1:
        return None
    more = math.prod(k) / math.prod(origin.kernel_size)
    free = " The weights stay free, so lines remain at random initialisation." if origin.kernel == "learned" else ""
    return Remedy(
        f"{_place(origin)}or a window of {_per_axis(k)} for {_per_axis(origin.kernel_size)}, a multiple of the "
        f"stride: all inputs are read equally often.{free} {_products(origin, more)}."
    )


def _place(finding: Finding) -> str:
    where = finding.path or finding.source
    return f"{where}: " if where else ""


def _per_axis(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else size(values)


def _window(values: Sequence[int]) -> str:
    along = " along each axis" if len(values) > 1 and len(set(values)) == 1 else ""
    return f"{_per_axis(values)} samples{along}"


def _additions(stride: Sequence[int]) -> str:
    count = sum(s - 1 for s in stride)
    return f"{count} addition{'s' if count > 1 else ''} a sample and channel"


def _cost_of_resize(finding: Finding) -> str:
    times = math.prod(finding.stride)
    cost = _products(finding, times)
    if max(finding.dilation, default=1) > 1:
        return f"{cost}."
    fused = math.prod((k + s - 1) / k for k, s in zip(finding.kernel_size, finding.stride))
    return f"{cost}; {fused:.3g} times by {FUSED}, which skips the resized field."


def _products(finding: Finding, times: float) -> str:
    """The cost in multiply-accumulates of an image, borders left out."""
    words = f"{times:.3g} times the products"
    return words if not finding.macs else f"{words} ({_short(finding.macs)} to {_short(finding.macs * times)} MACs)"


def _short(count: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.3g}"

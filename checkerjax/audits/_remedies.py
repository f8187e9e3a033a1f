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
from checkerjax.audits._report_advice import COST, Advice
from checkerjax.audits._report_words import per_axis

FUSED = "checkerjax.resize_conv"


@dataclasses.dataclass(frozen=True, eq=False)
class Remedy:
    """A change that could be made; without edits where it would change the shapes of parameters."""

    text: Advice
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
    tied_gains = _equal_gains(finding, conv, trained)
    order = (held, tied_gains, resized, larger) if trained else (resized, tied_gains, held, larger)
    return tuple(r for r in order if r is not None)


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
    change = (
        f"resize to the nearest by {per_axis(s)}, then convolve with kernel size {per_axis(k)} at stride 1 "
        "(ResizeConv of checkerjax.nn, or jax.image.resize and a Conv): no lines for any weights, equal phase powers "
        f"at random initialisation. {_cost_of_resize(finding)}"
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
    return Remedy(_advice(finding, change, math.prod(s)), edits)


def _summed(node: Node, scale: Sequence[int]):
    return functools.partial(box, sizes=sizes_of(node, scale), mean=False)


def _equal_gains(finding: Finding, conv: Node, trained: bool) -> Remedy | None:
    """The same layer with tied gains: a kernel that is a box of the stride, convolved with a smaller one."""
    s, k = finding.stride, finding.kernel_size
    if max(conv.up) == 1 or any(n < m for n, m in zip(k, s)) or max(finding.dilation, default=1) > 1:
        return None
    if trained:
        change = (
            f"or put checkerjax.project_equal_gains(kernel, {_argument(s)}) in the place of its kernel, the nearest "
            "one with equal gains: no lines until it is trained further; phase powers are not evened. No products "
            "more."
        )
        return Remedy(_advice(finding, change))
    smaller = tuple(n - m + 1 for n, m in zip(k, s))
    change = (
        "or keep it and tie its gains (ConvTranspose of checkerjax.nn with equal_gains=True, and the other arguments "
        f"as they are): what a nearest resize and kernel size {per_axis(smaller)} make. No products more."
    )
    return Remedy(_advice(finding, change))


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
        return Remedy(_advice(finding, f"{why}; {_additions(s)}."), edits)
    constant = "its constant taps add up to different sums at the phases: " if finding.kernel == "constant" else ""
    power = (
        "phase powers become equal at random initialisation, not for all weights"
        if finding.kernel == "learned" or finding.role == "shuffle"
        else "phase powers come nearer"
    )
    change = (
        f"{constant}keep it and take the mean of {_window(s)} after it (Hold of checkerjax.nn, a fixed filter): no "
        f"lines for any weights, trained ones too; {power}. It smooths; {_additions(s)}."
    )
    return Remedy(_advice(finding, change), edits)


def _taps(finding: Finding) -> Remedy | None:
    """Other constants."""
    if finding.kernel != "constant" or max(finding.stride) != 2:
        return None
    change = "or take taps [1, 3, 3, 1] along each axis: equal sums and energies at both phases."
    return Remedy(_advice(finding, change))


def _repeated(finding: Finding, reading: Reading, node: Node) -> Remedy:
    change = (
        f"repeat samples instead of putting zeros between them (a nearest resize by {per_axis(finding.stride)}: "
        "jnp.repeat, or checkerjax.upsample): equal gains and powers, no products."
    )
    edits = Places(reading.program, reading.graph).after(finding.nodes[-1], _summed(node, finding.stride))
    return Remedy(_advice(finding, change), edits)


def _icnr(finding: Finding, reading: Reading, node: Node) -> Remedy:
    change = (
        "initialise the kernel alike for all phases of a channel (ICNR: checkerjax.icnr, or SubPixelConv of "
        "checkerjax.nn), and the bias with it: no lines and equal phase powers at the start; training unties them. No "
        "products more."
    )
    text = _advice(finding, change)
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
    change = (
        f"or take kernel size {per_axis(k)} for {per_axis(finding.kernel_size)}, a multiple of the stride: even counts "
        f"and phase powers, but gains stay free, so lines remain at random initialisation. {_products(more)}."
    )
    return Remedy(_advice(finding, change, more))


def _coarsening(origin: Finding, forward: Reading) -> tuple[Remedy, ...]:
    """What to change of a coarsening, for the sake of its gradient."""
    last = forward.graph.nodes[origin.nodes[-1]]
    base = forward.graph.nodes[forward.graph.nodes[origin.nodes[0]].inputs[0]]
    s, k, window = per_axis(origin.stride), per_axis(origin.kernel_size), _window(origin.stride)
    if last.kind == "window" and last.operation == "max":
        return (_largest(origin, last),)
    mean = functools.partial(box, sizes=sizes_of(base, origin.stride), ahead=True)
    edits = Places(forward.program, forward.graph).before(origin.nodes, mean)
    equal = "every input then gets the same sum of weights, whatever these are, so no lines in the gradient"
    more: Remedy | None = None
    if last.kind == "conv" and max(origin.kernel_size) > 1:
        change = (
            f"blur before the strided convolution, by the mean of {window} at stride 1 (Hold of checkerjax.nn): "
            f"{equal}, and equal powers at random initialisation. It smooths what the layer reads; "
            f"{_additions(origin.stride)}."
        )
        more = _larger_window(origin)
    elif last.kind == "conv":
        change = f"average-pool by {s}, then convolve with kernel size {k} at stride 1: {equal}; as many products."
    elif last.kind == "unshuffle":
        change = f"take the mean of {window} at stride 1 before it: {equal}. It smooths what follows."
    elif last.kind == "move":
        change = f"average-pool by {s} instead of dropping samples: {equal}, and equal powers."
    else:
        change = f"take the mean of {window} at stride 1 before it: {equal}; {_additions(origin.stride)}."
        more = _larger_window(origin)
    return tuple(r for r in (Remedy(_advice(origin, change), edits), more) if r is not None)


def _largest(origin: Finding, node: Node) -> Remedy:
    s, step = origin.stride, node.step
    if step is not None and step.name == "reduce_max":
        change = "take the mean of the blocks, not their largest: all inputs get the same gradient."
        return Remedy(_advice(origin, change), (Edit(step, whole=mean_of_blocks),))
    layer = "MaxBlurPool of checkerjax.nn with blur_window=2" if set(s) == {2} else "MaxBlurPool"
    change = (
        f"pool with stride 1, then take the mean of {_window(s)} with stride {per_axis(s)} ({layer}): all samples win "
        f"equally often, so no lines and equal powers in the gradient; {math.prod(s)} times the comparisons."
    )
    known = step is not None and step.name == "reduce_window_max"
    return Remedy(_advice(origin, change), (Edit(step, whole=blurred_max_pool),) if known else ())  # pyright: ignore[reportArgumentType]


def _larger_window(origin: Finding) -> Remedy | None:
    k = tuple(s * math.ceil(n / s) for n, s in zip(origin.kernel_size, origin.stride))
    if k == origin.kernel_size or max(origin.dilation, default=1) > 1:
        return None
    more = math.prod(k) / math.prod(origin.kernel_size)
    free = " The weights stay free, so lines remain at random initialisation." if origin.kernel == "learned" else ""
    change = (
        f"or take a window of {per_axis(k)} for {per_axis(origin.kernel_size)}, a multiple of the stride: all inputs "
        f"are read equally often.{free} {_products(more)}."
    )
    return Remedy(_advice(origin, change, more))


def _advice(finding: Finding, change: str, times: float | None = None) -> Advice:
    """The change at the place of a finding, with what it costs if it makes so many times the products."""
    macs = None if times is None or not finding.macs else (float(finding.macs), finding.macs * times)
    return Advice(finding.path or finding.source, change, macs)


def _argument(values: Sequence[int]) -> str:
    return per_axis(values) if len(set(values)) == 1 else str(tuple(values))


def _window(values: Sequence[int]) -> str:
    along = " along each axis" if len(values) > 1 and len(set(values)) == 1 else ""
    return f"{per_axis(values)} samples{along}"


def _additions(stride: Sequence[int]) -> str:
    count = sum(s - 1 for s in stride)
    return f"{count} addition{'s' if count > 1 else ''} a sample and channel"


def _cost_of_resize(finding: Finding) -> str:
    cost = _products(math.prod(finding.stride))
    if max(finding.dilation, default=1) > 1:
        return f"{cost}."
    fused = math.prod((k + s - 1) / k for k, s in zip(finding.kernel_size, finding.stride))
    return f"{cost}; {fused:.3g} times by {FUSED}, which ResizeConv calls and which skips the resized field."


def _products(times: float) -> str:
    """The cost in multiply-accumulates of an image, borders left out."""
    return f"{times:.3g} times the products{COST}"

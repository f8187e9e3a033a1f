"""The linear part of a stack along one axis, as steps that NumPy can run: forward, or transposed for gradients.

Whatever reads padding is kept apart from the rest: what depends on it is NaN later on.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import layer_size
from checkerjax.stacks._layers import Stack
from checkerjax.stacks._plan import check_tieable, place_of
from checkerjax.stacks._reads import Reads, layer_steps

PADDING = -1


@dataclasses.dataclass(frozen=True)
class Step:
    """y[n] = sum over t of weights[n, t] w[draws[n, t]] x[positions[n, t]], with learned numbers w, or w = 1."""

    positions: np.ndarray  # int64 [out, taps]; PADDING where a tap depends on what lies beyond the border
    weights: np.ndarray  # float64 [out, taps]
    draws: np.ndarray | None  # int64 [out, taps]; None for a fixed filter


@dataclasses.dataclass(frozen=True)
class Branches:
    """Several chains on one input: their outputs added, or joined as channels."""

    chains: tuple[Chain, ...]
    join: bool
    size: int  # of the input


Chain = tuple[Step | Branches, ...]


def linear_chain(prefix: str, stack: Stack, size: int, *, initialiser: str, backward: bool) -> Chain:
    """The linear part of a stack for one axis of `size` input samples; transposed and in reverse if `backward`."""
    chain: list[Step | Branches] = []
    for i, layer in enumerate(stack):
        op = place_of(prefix, i, layer)
        own = (layer,) if not isinstance(layer, layers.ResizeConv) else _split(layer)
        for part in own:
            chain += _nodes(op, part, size, initialiser, backward)
            (size,) = layer_size(op, part, (size,))
    return tuple(reversed(chain)) if backward else tuple(chain)


def _split(layer: layers.ResizeConv) -> Stack:
    """A resize-convolution as two layers, so that each layer here is one step."""
    up = layers.Upsample(layer.scale, layer.method, layer.centres)
    conv = layers.Conv(layer.kernel, padding=layer.padding, pad_mode=layer.pad_mode, initialiser=layer.initialiser)
    return up, conv


def _nodes(op: str, layer: layers.Layer, size: int, initialiser: str, backward: bool) -> list[Step | Branches]:
    if isinstance(layer, (layers.Residual, layers.Parallel)):
        inner = ((), layer.stack) if isinstance(layer, layers.Residual) else layer.stacks
        chains = [linear_chain(f"{op}: ", s, size, initialiser=initialiser, backward=backward) for s in inner]
        join = isinstance(layer, layers.Parallel) and layer.combine == "concat"
        return [Branches(tuple(chains), join, layer_size(op, layer, (size,))[0] if backward else size)]
    if isinstance(layer, layers.Deconv) and (layer.initialiser or initialiser) == "icnr":
        check_tieable(op, layer, 1)
    steps = layer_steps(op, layer, (size,), initialiser=initialiser)
    if not steps:
        return []
    ((reads,),) = steps
    if not backward:
        return [_forward(reads)]
    margin = _margin(reads, _upsampling(layer))
    ((extended,),) = layer_steps(op, layer, (size,), initialiser=initialiser, margin=margin)
    return [_transposed(reads, extended, margin)]


def _upsampling(layer: layers.Layer) -> int:
    factor = 1
    if isinstance(layer, layers.Deconv):
        factor = layer.stride
    elif isinstance(layer, (layers.SubPixel, layers.Upsample)):
        factor = layer.scale
    return factor if isinstance(factor, int) else factor[0]


def _forward(reads: Reads) -> Step:
    positions = np.where(reads.outside(), PADDING, np.where(reads.weights != 0, reads.positions, 0))
    return Step(positions, reads.weights / reads.denominator, reads.draws)


def _margin(reads: Reads, up: int) -> int:
    """Outputs beyond either end that may read samples inside, if the layer went on."""
    used = reads.weights != 0
    first = int(np.where(used, reads.positions, 0)[:up].max(initial=0))
    last = reads.size - int(np.where(used, reads.positions, reads.size)[-up:].min(initial=reads.size))
    return (max(first, last, 0) + 2) * up


def _transposed(reads: Reads, extended: Reads, margin: int) -> Step:
    """For each input, the outputs that read it; PADDING where some do that a longer field would have."""
    row, tap = np.nonzero((extended.weights != 0) & ~extended.outside())
    m, n = extended.positions[row, tap], row - margin
    n = np.where((n < 0) | (n >= reads.outputs), PADDING, n)
    weights = extended.weights[row, tap] / reads.denominator
    draws = None if extended.draws is None else extended.draws[row, tap]
    reflected = _border_reads(reads)
    m, n = np.concatenate([m, reflected]), np.concatenate([n, np.full(reflected.size, PADDING)])
    weights = np.concatenate([weights, np.ones(reflected.size)])
    order = np.argsort(m, kind="stable")
    column = np.arange(m.size) - np.searchsorted(m[order], m[order])  # place among the readers of the same input
    shape = reads.size, int(column.max(initial=-1)) + 1

    def table(values: np.ndarray) -> np.ndarray:
        out = np.zeros(shape, values.dtype)
        out[m[order], column] = values[order]
        return out

    if draws is not None:
        draws = table(np.concatenate([draws, np.zeros(reflected.size, draws.dtype)]))
    return Step(table(n), table(weights), draws)


def _border_reads(reads: Reads) -> np.ndarray:
    """The inputs that are read otherwise near the border than elsewhere: in place of padding, or with more weight."""
    outside = reads.outside()
    if reads.border == "zeros":
        return np.zeros(0, np.int64)
    positions, weights = reads.resolved()
    if reads.border == "renormalise":
        outside = outside.any(axis=1, keepdims=True) & (weights != 0)
    return np.unique(positions[outside])


def fixed_part(chain: Chain, size: int) -> Step | None:
    """The sum of the paths through a chain that meet no learned weight, as one step; None if there are none."""
    step = Step(np.arange(size)[:, None], np.ones((size, 1)), None)
    for node in chain:
        if isinstance(node, Branches):
            parts = [] if node.join else [fixed_part(c, node.size) for c in node.chains]
            parts = [part for part in parts if part is not None]
            if not parts:
                return None
            node = added(parts)
        if node.draws is not None:
            return None
        step = _composed(step, node)
    return step


def added(steps: list[Step]) -> Step:
    """The sum of fixed steps on one input."""
    positions, weights = (np.hstack([getattr(s, name) for s in steps]) for name in ("positions", "weights"))
    return Step(positions, weights, None)


def _composed(first: Step, second: Step) -> Step:
    """Fixed steps in a row, as one."""
    padding = (second.positions == PADDING)[:, :, None]
    positions = np.where(padding, PADDING, first.positions[second.positions])
    weights = second.weights[:, :, None] * np.where(padding, 1.0, first.weights[second.positions])
    outputs = positions.shape[0]
    return Step(positions.reshape(outputs, -1), weights.reshape(outputs, -1), None)

"""Chains of tokens spelled as stacks: the one normal form, of programs and of stacks alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from checkerjax.audits._stack_fixed import fixed_layer, hann_windows, largest_windows, one_size
from checkerjax.audits._stack_layers import learned_layer
from checkerjax.audits._stack_lines import compose, identity
from checkerjax.audits._stack_tokens import (
    Fixed,
    Joined,
    Largest,
    Latent,
    Learned,
    Pointwise,
    Run,
    Shuffled,
    Token,
    Unfolded,
    Untranslated,
    axis_by_axis,
    normalised,
)
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import Layer, Stack

SAME = layers.Upsample(1)  # how "nothing" is spelled where a layer must stand
MOST_PARTS = 12  # fixed layers in a row


def spelled(tokens: Sequence[Token]) -> Stack:
    """The stack of a chain.

    Raises:
      Untranslated: with what has no layer.
    """
    return _layers(tokens) or (SAME,)


def _layers(tokens: Sequence[Token]) -> Stack:
    parts = _in_parts(tokens)
    out: list[Layer] = []
    i = 0
    while i < len(parts):
        made, i = _next(parts, i)
        out += made
    return tuple(out)


def _in_parts(tokens: Sequence[Token]) -> list[Token]:
    """Fixed maps taken apart by axis, windows of one sample too; what is cut off after a correlation is not made."""
    parts: list[Token] = []
    for token in tokens:
        if isinstance(token, Largest) and all(each.taps == 1 and each.weights.all() for each in token.lines):
            token = Fixed(token.lines, node=token.node)
        if isinstance(token, Fixed):
            for part in axis_by_axis(token):
                cut = _cut(parts[-1], part) if parts else None
                if cut is None:
                    parts.append(part)
                else:
                    parts[-1] = cut
        else:
            parts.append(token)
    return parts


def _cut(before: Token, part: Fixed) -> Learned | None:
    """A correlation of which only some outputs are kept."""
    if not isinstance(before, Learned) or part.factor != 1:
        return None
    starts = []
    for each in part.lines:
        rows = each.positions[:, 0]
        if each.taps > 1 or not (each.weights == 1).all() or not np.array_equal(rows, rows[0] + np.arange(len(rows))):
            return None
        starts.append(int(rows[0]))
    kept = tuple(b.rows(a * s, b.outputs) for b, a, s in zip(before.before, starts, before.stride))
    cut = dataclasses.replace(before, before=kept, outputs=tuple(each.outputs for each in part.lines))
    return cut if learned_layer(cut) is not None else None


def _next(parts: list[Token], i: int) -> tuple[Sequence[Layer], int]:
    """The layers that begin at a token, and where the next ones do."""
    token = parts[i]
    if isinstance(token, (Fixed, Learned)):
        return _run(parts, i)
    if isinstance(token, Pointwise):
        if isinstance(token.layer, Layer):
            return [token.layer], i + 1
        if token.layer == "square":
            return _l2_pool(parts, i)
        raise Untranslated("a square root that ends no l2 pool", token.node)
    if isinstance(token, Largest):
        found = largest_windows(token.lines)
        if found is None:
            raise Untranslated("a maximum over windows that are not those of a max pool", token.node)
        kernel, stride, padding = found
        return [layers.MaxPool(one_size(kernel), one_size(stride), padding)], i + 1
    if isinstance(token, Joined):
        return [_joined(token)], i + 1
    if isinstance(token, Latent):
        return _dense(parts, i)
    if isinstance(token, Shuffled):
        raise Untranslated("a depth to space that no plain convolution of stride 1 feeds", token.node)
    raise Untranslated("a reshape of a latent that no dense layer feeds", token.node)


def _run(parts: list[Token], i: int) -> tuple[Sequence[Layer], int]:
    """Fixed maps in a row, with the correlation that they lead to."""
    end = i
    while end < len(parts) and isinstance(parts[end], Fixed):
        end += 1
    fixed = [p for p in parts[i:end] if isinstance(p, Fixed)]
    head = parts[end] if end < len(parts) else None
    last = head if isinstance(head, Learned) else None
    if last is None:
        made = fewest(fixed, None)
        if made is None:
            raise _no_fixed_layer(fixed)
        return made, end
    shuffle = _shuffle_after(parts, end + 1)
    made = fewest(fixed, last, shuffled=shuffle is not None)
    if made is None:
        raise _why_not(fixed, last, parts[shuffle] if shuffle is not None else None)
    if shuffle is None:
        return made, end + 1
    return [*made[:-1], *_sub_pixel(made[-1], parts, end, shuffle)], shuffle + 1


def _why_not(fixed: list[Fixed], last: Learned, shuffle: Token | None) -> Untranslated:
    if fewest([], last) is None:
        return Untranslated("a convolution whose padding or stride no layer has", last.node)
    if shuffle is not None and fewest([], last, shuffled=True) is None:
        return Untranslated("a depth to space that no plain convolution of stride 1 feeds", shuffle.node)
    return _no_fixed_layer(fixed)


def _no_fixed_layer(fixed: list[Fixed]) -> Untranslated:
    alone = next((f for f in fixed if all(each.is_identity for each in f.lines)), None)
    if alone is not None:
        return Untranslated(f"a product with {alone.factor:g}", alone.node)
    return Untranslated("a fixed linear map that is no upsampling, pool, blur or hold", fixed[0].node)


def fewest(fixed: list[Fixed], last: Learned | None, *, shuffled: bool = False) -> list[Layer] | None:
    """The fewest layers for fixed maps and what they lead to; of equally few, those with the first ones shortest."""
    count = len(fixed) + (last is not None)

    def one(start: int, stop: int) -> Layer | None:
        return _one(fixed[start:stop], last if stop > len(fixed) else None, shuffled)

    known: dict[tuple[int, int], Layer | None] = {}
    for parts in range(1, min(count, MOST_PARTS) + 1):
        found = _split(one, count, 0, parts, known)
        if found is not None:
            return found
    return None if count else []


def _split(
    one: Callable[[int, int], Layer | None],
    count: int,
    start: int,
    parts: int,
    known: dict[tuple[int, int], Layer | None],
) -> list[Layer] | None:
    """So many layers for the maps from `start` on."""
    for stop in [count] if parts == 1 else range(start + 1, count - parts + 2):
        if (start, stop) not in known:
            known[start, stop] = one(start, stop)
        layer = known[start, stop]
        if layer is None:
            continue
        rest = [] if parts == 1 else _split(one, count, stop, parts - 1, known)
        if rest is not None:
            return [layer, *rest]
    return None


def _one(fixed: list[Fixed], last: Learned | None, shuffled: bool) -> Layer | None:
    """One layer for all of the maps."""
    if last is None:
        return fixed_layer(composed(fixed))
    if not fixed:
        return learned_layer(last, shuffled=shuffled)
    run = composed(fixed)
    before = tuple(compose(a, b) for a, b in zip(run.lines, last.before))
    return learned_layer(dataclasses.replace(last, before=before), run.factor, shuffled=shuffled)


def composed(fixed: Sequence[Fixed]) -> Run:
    """Maps one after another as one."""
    lines, factor = tuple(identity(each.size) for each in fixed[0].lines), 1.0
    for token in fixed:
        lines = tuple(compose(a, b) for a, b in zip(lines, token.lines))
        factor *= token.factor
    return normalised(lines, factor)


def is_filter(token: Fixed) -> bool:
    """Whether a map is a layer by itself, or the filter of an l2 pool."""
    run = composed([token])
    return not token.is_identity() and (fixed_layer(run) is not None or hann_windows(run) is not None)


def _l2_pool(parts: list[Token], i: int) -> tuple[Sequence[Layer], int]:
    end = i + 1
    while end < len(parts) and isinstance(parts[end], Fixed):
        end += 1
    root = parts[end] if end < len(parts) else None
    if not isinstance(root, Pointwise) or root.layer != "root":
        raise Untranslated("a square that begins no l2 pool", parts[i].node)
    fixed = [p for p in parts[i + 1 : end] if isinstance(p, Fixed)]
    if not fixed:
        return [layers.L2Pool(1)], end + 1
    found = hann_windows(composed(fixed))
    if found is None:
        raise Untranslated("a root of filtered squares whose filter is not that of an l2 pool", parts[i].node)
    return [layers.L2Pool(one_size(found[0]), found[1])], end + 1


def _joined(token: Joined) -> Layer:
    stacks = [_layers(branch) for branch in token.branches]
    if token.combine == "concat":
        return layers.Parallel(tuple(s or (SAME,) for s in stacks), "concat")
    first, second = stacks
    if not first or not second:
        return layers.Residual(first or second or (SAME,))
    inner = first[0]
    if len(first) == 1 and isinstance(inner, layers.Parallel) and inner.combine == "sum":
        return layers.Parallel((*inner.stacks, second))
    return layers.Parallel((first, second))


def _shuffle_after(parts: list[Token], i: int) -> int | None:
    while i < len(parts) and isinstance(parts[i], Pointwise):
        i += 1
    return i if i < len(parts) and isinstance(parts[i], Shuffled) else None


def _sub_pixel(conv: Layer, parts: list[Token], at: int, shuffle: int) -> list[Layer]:
    """A convolution and its depth to space, with what stands between them after both."""
    token = parts[shuffle]
    if not isinstance(token, Shuffled) or not isinstance(conv, layers.Conv):
        raise AssertionError("_sub_pixel: no convolution, or no depth to space.")
    order, features, phases = token.order, conv.features, int(np.prod(token.scale))
    if token.channels is not None:
        features, found = token.channels.shape[-1], order_of(token.channels)
        if found is None or features * phases != conv.features:
            raise Untranslated("a depth to space in neither order of channels", token.node)
        order = found
    elif features is not None:
        features //= phases
    if features == 1:
        order = "depth_first"  # both orders are the same
    after = []
    for between in parts[at + 1 : shuffle]:
        groups = None if token.channels is None else token.channels.reshape(-1, token.channels.shape[-1])
        after.append(_commuted(between, groups))
    return [layers.SubPixel(conv.kernel, one_size(token.scale), features, conv.padding, order), *after]


def order_of(channels: np.ndarray) -> str | None:
    """The order of a depth to space that takes these channels, `[*phases, C]`."""
    *scale, features = channels.shape
    phases = int(np.prod(scale))
    deep = np.arange(phases * features).reshape(phases, features)
    wide = np.arange(phases * features).reshape(features, phases).T
    table = channels.reshape(phases, features)
    return "depth_first" if np.array_equal(table, deep) else "channel_first" if np.array_equal(table, wide) else None


def _commuted(token: Token, groups: np.ndarray | None) -> Layer:
    """A pointwise layer after a rearrangement instead of before it; `groups`: entries that become one channel."""
    layer = token.layer if isinstance(token, Pointwise) else None
    if isinstance(layer, (layers.Relu, layers.LeakyRelu, layers.Tanh, layers.Erf)):
        return layer
    if isinstance(token, Pointwise) and isinstance(layer, layers.Bias) and groups is not None:
        together = np.asarray(token.values)[groups]
        if (together == together[:1]).all():
            return layer
        raise Untranslated("a bias that differs between the samples that one channel becomes", token.node)
    if isinstance(layer, layers.BatchNorm) and groups is None:
        return layer
    raise Untranslated("a layer whose statistics a rearrangement mixes", token.node)


def _dense(parts: list[Token], i: int) -> tuple[Sequence[Layer], int]:
    end = i + 1
    while end < len(parts) and isinstance(parts[end], Pointwise):
        end += 1
    field = parts[end] if end < len(parts) else None
    if not isinstance(field, Unfolded):
        raise Untranslated("a dense layer whose output becomes no field", parts[i].node)
    after = [_after_dense(p, field) for p in parts[i + 1 : end]]
    return [layers.Dense(field.size, field.features), *after], end + 1


def _after_dense(token: Token, field: Unfolded) -> Layer:
    layer = token.layer if isinstance(token, Pointwise) else None
    if isinstance(layer, layers.BatchNorm):  # over the batch, for every unit
        return layers.BatchNorm(layer.std, "unit", layer.epsilon)
    return _commuted(token, field.groups)

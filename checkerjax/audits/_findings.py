"""From the graph to findings: what belongs together, which role it plays, how evenly it feeds its phases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from checkerjax.audits import _grades as grades
from checkerjax.audits._finding import Finding
from checkerjax.audits._flatten import Step
from checkerjax.audits._fuse import compose
from checkerjax.audits._grades import Phases
from checkerjax.audits._graph import Graph, Kernel, Node

Kernels = Callable[[Kernel], np.ndarray]  # the taps [*k, I / groups, O] of a kernel


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """The nodes of one finding."""

    nodes: tuple[int, ...]  # in program order; the last holds the output
    up: Node | None = None  # a fixed upsampling
    conv: Node | None = None
    shuffle: Node | None = None
    between: tuple[Node, ...] = ()  # pointwise nodes between a convolution and its shuffle


def find(
    graph: Graph,
    *,
    random: Kernels,
    given: Kernels | None,
    periods: Sequence[tuple[int, ...]],
    where: Callable[[Step], tuple[str, str]],
) -> list[Finding]:
    """The findings of a fused graph, in program order.

    Args:
      graph: of `fuse`.
      random: kernels for a random draw of the parameters: what holds for them holds for any.
      given: kernels for the given parameters; None where there are none.
      periods: of each node's field, per spatial axis.
      where: path and source of a step.
    """
    taken: set[int] = set()
    groups = []
    for i in range(len(graph.nodes)):
        group = _group(graph, i)
        if group is not None:
            groups.append(group)
            taken.update(group.nodes[:-1])
    found: list[tuple[tuple[int, ...], Finding]] = []
    for group in groups:
        if group.nodes[-1] in taken:  # a part of a later one
            continue
        finding = _describe(graph, group, random, given, periods, where)
        if finding is not None:
            main = (group.conv or graph.nodes[group.nodes[-1]]).step
            found.append((_written(main), finding))
    return _once(found)


def _written(step: Step | None) -> tuple[int, ...]:
    """The equation as it is written: the turns of a scan share it."""
    return () if step is None else tuple(id(e) for e in (*step.around, step.equation))


def _once(found: list[tuple[tuple[int, ...], Finding]]) -> list[Finding]:
    """What is written once is listed once, as it is the last time."""
    places: dict[tuple, Finding] = {}
    for i, (written, finding) in enumerate(found):
        places[(*written, finding.role, finding.kernel_size) if written else (i,)] = finding
    return list(places.values())


def _group(graph: Graph, i: int) -> Group | None:
    node = graph.nodes[i]
    if node.kind == "conv":
        chain = _upsampling_before(graph, i)
        return Group((*chain, i), up=graph.nodes[chain[0]] if chain else None, conv=node)
    if node.kind == "shuffle":
        return _shuffle_group(graph, i)
    if node.kind in ("filter", "window") and node.operation in ("", "sum"):
        before = graph.nodes[node.inputs[0]]
        alone = len(graph.consumers()[node.inputs[0]]) == 1 and node.inputs[0] not in graph.outputs
        if alone and before.kind == "move" and max(before.up) > 1 and all(r.keeps_resolution() for r in node.reads):
            return Group((node.inputs[0], i), up=before)
        return Group((i,))
    if node.kind in ("move", "window", "route", "unshuffle", "unknown"):
        return Group((i,))
    return None


def _upsampling_before(graph: Graph, i: int) -> tuple[int, ...]:
    """The fixed upsampling that a convolution directly follows, with the padding between."""
    if any(r > 1 for r in graph.nodes[i].up):
        return ()
    readers = graph.consumers()
    chain: list[int] = []
    at = graph.nodes[i].inputs[0]
    while graph.nodes[at].kind in ("move", "filter", "scale") and len(readers[at]) == 1 and at not in graph.outputs:
        node = graph.nodes[at]
        chain.insert(0, at)
        if any(p > q for p, q in zip(node.up, node.down)):
            return tuple(chain)
        if node.kind == "filter" or any(p < q for p, q in zip(node.up, node.down)):
            return ()
        at = node.inputs[0]
    return ()


def _shuffle_group(graph: Graph, i: int) -> Group:
    between: set[int] = set()
    sources: set[int] = set()
    waiting = [graph.nodes[i].inputs[0]]
    while waiting:
        at = waiting.pop()
        if graph.nodes[at].kind not in ("pointwise", "scale", "global"):
            sources.add(at)
        elif at not in between:
            between.add(at)
            waiting += graph.nodes[at].inputs
    at = min(sources, default=i)
    if len(sources) != 1 or graph.nodes[at].kind != "conv":
        return Group((i,), shuffle=graph.nodes[i])
    nodes = tuple(graph.nodes[j] for j in sorted(between))
    return Group((at, *sorted(between), i), conv=graph.nodes[at], shuffle=graph.nodes[i], between=nodes)


def _describe(
    graph: Graph, group: Group, random: Kernels, given: Kernels | None, periods: Sequence[tuple[int, ...]],
    where: Callable[[Step], tuple[str, str]],
) -> Finding | None:  # fmt: skip
    node = graph.nodes[group.nodes[-1]]
    if node.kind == "unknown":
        return _unknown(graph, group, where) if len(node.shape) >= 3 else None
    role = _role(group, node)
    if role is None:
        return None
    phases = _phases(group, node, random)
    rated = phases.grades()
    main = (group.conv or node).step
    path, source = where(main) if main is not None else ("", "")
    return Finding(
        role=role,
        kernel_size=_kernel_size(group, node, role),
        stride=_stride(group, node, role),
        grade=grades.worst(rated),
        path=path,
        source=source,
        operation=_operation(group, node),
        axis_grades=rated,
        dilation=_dilation(group.conv),
        padding=_padding(group.conv or node),
        kernel=_kernel_name(group, node),
        counts=tuple(tuple(int(c) for c in each) for each in phases.counts),
        gain_spread=_spread(group, node, given),
        period=periods[group.nodes[-1]],
        macs=_macs(group.conv, given or random),
        certain=node.alone,
        nodes=group.nodes,
    )


def _unknown(graph: Graph, group: Group, where: Callable[[Step], tuple[str, str]]) -> Finding:
    node = graph.nodes[group.nodes[-1]]
    path, source = where(node.step) if node.step is not None else ("", "")
    return Finding(
        "unknown", (), (), "untied", path, source, f"{node.operation} (no rule)", (), (), (), "none", (), None,
        (1,) * len(node.spatial), None, node.alone, nodes=group.nodes,
    )  # fmt: skip


def _role(group: Group, node: Node) -> str | None:
    """None for what neither changes the resolution nor smooths by constants."""
    if group.shuffle is not None:
        return "up" if group.conv is not None else "shuffle"
    if node.kind == "unshuffle":
        return "down"
    rates = [node] if group.up is None else [group.up, node]
    up = [math.prod(r.up[a] for r in rates) for a in range(len(node.reads))]
    down = [math.prod(r.down[a] for r in rates) for a in range(len(node.reads))]
    if any(p > q for p, q in zip(up, down)):
        return "up"
    if any(q > p for p, q in zip(up, down)):
        return "down"
    smooths = node.kind == "filter" or (node.kind == "window" and node.operation == "sum")
    if node.kind == "conv" and node.kernel is not None and node.kernel.array is not None:
        smooths = math.prod(node.kernel.array.shape[:-2]) > 1
    if smooths and any(grades.window_size(r) > 1 for r in node.reads):  # more than what happens at borders
        return "smooth"
    return None


def _phases(group: Group, node: Node, kernels: Kernels) -> Phases:
    if group.shuffle is not None:
        channels = np.asarray(group.shuffle.channels)
        if group.conv is None:
            return grades.free_phases([np.ones(n) for n in channels.shape[:-1]])
        free = any(n.kind == "pointwise" and n.operation in ("add", "sub", "mul", "div") for n in group.between)
        return grades.shuffled_phases(kernels(group.conv.kernel), channels, free)  # pyright: ignore[reportArgumentType]
    if group.conv is not None:
        first = group.up.reads if group.up is not None else (None,) * len(group.conv.reads)
        tables = [grades.tap_phases(a, b) for a, b in zip(first, group.conv.reads)]
        return grades.conv_phases(kernels(group.conv.kernel), tables)  # pyright: ignore[reportArgumentType]
    if node.kind == "route":
        return grades.free_phases([grades.response(r) for r in node.reads])
    if node.kind == "unshuffle" or (node.kind == "window" and node.operation != "sum"):
        return grades.free_phases([np.ones(1)] * len(node.reads))
    reads = node.reads if group.up is None else [compose(a, b) for a, b in zip(group.up.reads, node.reads)]
    return grades.fixed_phases(reads)


def _is_constant(kernel: Kernel | None) -> bool:
    return kernel is not None and kernel.array is not None


def _kernel_size(group: Group, node: Node, role: str) -> tuple[int, ...]:
    if group.conv is not None:
        return tuple(r.taps for r in group.conv.reads)
    if role == "shuffle":
        return (1,) * len(node.reads)
    if role == "up" and group.up is None:
        return tuple(grades.stamp_size(r) for r in node.reads)
    return tuple(grades.window_size(r) for r in node.reads)


def _stride(group: Group, node: Node, role: str) -> tuple[int, ...]:
    if group.shuffle is not None:
        return node.up
    nodes = [n for n in (group.up, node) if n is not None]
    up = [math.prod(n.up[a] for n in nodes) for a in range(len(node.reads))]
    down = [math.prod(n.down[a] for n in nodes) for a in range(len(node.reads))]
    pairs = [(p // math.gcd(p, q), q // math.gcd(p, q)) for p, q in zip(up, down)]
    return tuple(p if role == "up" else q for p, q in pairs) if role != "smooth" else (1,) * len(pairs)


def _dilation(conv: Node | None) -> tuple[int, ...]:
    if conv is None or conv.step is None:
        return ()
    params = conv.step.params
    if "rhs_dilation" in params:
        return tuple(params["rhs_dilation"])
    return tuple(params["grid"].dilation) if "grid" in params else (1,) * len(conv.reads)


def _padding(node: Node) -> tuple[tuple[int, int], ...]:
    if node.step is None:
        return ()
    params = node.step.params
    if "grid" in params:
        return tuple(zip(params["grid"].low, params["grid"].high))
    if "padding" not in params or len(params["padding"]) == 0:
        return ()
    pads = tuple(tuple(int(n) for n in pair) for pair in params["padding"])
    if len(pads) != len(node.reads):  # of a pool: one pair for each axis of the array
        pads = tuple(pads[node.roles.index(a)] for a in range(len(node.reads)) if len(pads) == len(node.roles))
    return pads  # pyright: ignore[reportReturnType]


def _kernel_name(group: Group, node: Node) -> str:
    if group.conv is None or group.conv.kernel is None:
        return "constant" if node.kind in ("filter", "move", "window") and group.shuffle is None else "none"
    if group.conv.kernel.array is not None:
        return "constant"
    return "from the data" if group.conv.kernel.source == "data" else "learned"


def _spread(group: Group, node: Node, given: Kernels | None) -> float | None:
    if node.kind in ("route", "unshuffle") or (group.shuffle is not None and group.conv is None):
        return None
    if given is None and group.conv is not None and not _is_constant(group.conv.kernel):
        return None
    if group.conv is not None and group.conv.kernel is not None and group.conv.kernel.source == "data":
        return None
    if given is None:
        return None
    return _phases(dataclasses.replace(group, between=()), node, given).spread()


def _macs(conv: Node | None, kernels: Kernels) -> int | None:
    """Products of one image, zeros left out."""
    if conv is None or conv.kernel is None:
        return None
    pairs = math.prod(kernels(conv.kernel).shape[-2:])
    return int(pairs * math.prod(int((r.weights != 0).sum()) for r in conv.reads))


def _operation(group: Group, node: Node) -> str:
    if group.shuffle is not None:
        return "convolution + depth to space" if group.conv is not None else "depth to space"
    if group.conv is not None:
        return _convolution_name(group, node)
    if group.up is not None:
        return f"{_fixed_name(group.up)} + fixed filter"
    if node.kind == "window":
        return f"{'mean or sum' if node.operation == 'sum' else node.operation} pool"
    names = {"route": "gradient of a max pool", "unshuffle": "space to depth"}
    if node.kind in names:
        return names[node.kind]
    return _fixed_name(node)


def _convolution_name(group: Group, node: Node) -> str:
    constant = "constant " if _is_constant(node.kernel) else ""
    if group.up is not None:
        return f"{_fixed_name(group.up)} + {constant}convolution"
    if any(u > 1 for u in node.up):
        return f"{constant}transposed convolution"
    return f"{constant}{'strided ' if any(d > 1 for d in node.down) else ''}convolution"


def _fixed_name(node: Node) -> str:
    up, down = max(node.up), max(node.down)
    if node.kind == "move":
        if up > down:
            holes = any((np.asarray(r.pattern_weights) == 0).any() for r in node.reads)
            return "zero insertion" if holes else "nearest resize"
        return "strided slice" if down > up else "shift or padding"
    if up > down:
        return "resize"
    return "fixed downsampling" if down > up else "fixed filter"

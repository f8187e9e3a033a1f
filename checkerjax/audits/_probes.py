"""A program under the flat and the white probe: statistics of its fields over draws of parameters and inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax.audits._feed import Feed, is_floating
from checkerjax.audits._flatten import Program, Value
from checkerjax.audits._graph import Graph, Roles, field_roles, to_channel_last
from checkerjax.audits._interior import Extent, Region, extents, region
from checkerjax.audits._redraw import Draw
from checkerjax.audits._run import run
from checkerjax.audits._statistics import Measured, gather, measured
from checkerjax.audits._sums import Sums, field_sums

INPUT_DRAWS = 32  # with given parameters
MOST_DRAWS = 1024  # of the white probe, where few samples leave much to chance
MOST_OWN_DRAWS = 128  # of parameters by a model's own initialisers, which take longer
MOST_VALUES = 1e9  # elements made by all added draws together
PERIOD_GUESSED = 4  # of an output that the walk could not follow


class Place(NamedTuple):
    """A field that is measured."""

    value: Value
    roles: Roles
    region: Region
    steady: bool  # its response to the flat probe repeats exactly


@dataclasses.dataclass(frozen=True)
class Probed:
    """A program under both probes."""

    nodes: Mapping[int, Measured]  # by node of the graph
    outputs: tuple[Measured | None, ...]  # None of an output that is no field
    latent: bool  # no input has space: both probes are the same draws
    draws: int
    notes: tuple[str, ...]
    spectra: tuple[np.ndarray | None, ...]  # of each output [*spatial], mean power under the white probe
    flat_spectra: tuple[np.ndarray | None, ...]  # likewise under the flat one; None of latents, which have one probe


def probe_program(
    op: str,
    program: Program,
    graph: Graph,
    arrays: Sequence[Any],
    *,
    data: Sequence[Value],
    layouts: Sequence[str | Roles],
    key: jax.Array,
    outputs: Sequence[Value] | None = None,
    nodes: Collection[int] = (),
    context: Collection[Value] = (),
    noise: float = 0.0,
    draw: Draw | None = None,
    redraw: int = 32,
    max_power_ratio: float = 1.2,
) -> Probed:
    """Statistics of the outputs of a program, and of fields inside it.

    Args:
      op: the function that error messages name.
      program: written out.
      graph: of the program, fused or not.
      arrays: of all the program's inputs, in their order.
      data: the inputs that the probes take the place of.
      layouts: of each of them, as `walk` takes them.
      key: of all draws.
      outputs: the values that matter; by default the program's outputs.
      nodes: of the graph, to be measured too; those without a value or without space are left out.
      context: inputs that are N(0, 1) everywhere in every draw, whichever the probe; what is not floating stays.
      noise: standard deviation of the noise on the flat probe.
      draw: new parameters from a key, in the order of the inputs that are neither data nor context; by default
        `Redraw`.
      redraw: draws of the parameters; 0 keeps those given and draws 32 inputs.
      max_power_ratio: where chance alone reaches it, more draws are made as far as that is cheap.

    Raises:
      TypeError: for data that is not floating.
      ValueError: where no draw gives finite fields.
    """
    _check_data(op, program, data)
    roles = dict(zip(data, (_roles(program, v, given) for v, given in zip(data, layouts))))
    latent = not any(_has_space(program, v, r) for v, r in roles.items())
    steady = not latent and not context and not noise
    layout = next((n for n in layouts if isinstance(n, str)), "channel_last")
    wanted = program.outputs if outputs is None else outputs
    spans = extents(graph)
    ends = [_end(program, graph, spans, v, layout, steady) for v in wanted]
    feed = Feed(program, roles, context, dict(zip(program.inputs, arrays)), draw, redraw, noise)
    inner = _inner(program, graph, spans, nodes, steady)
    results = _Runs(op, program, tuple(inner.values()), tuple(p for p in ends if p is not None), feed, key, latent)
    results.add(redraw or INPUT_DRAWS)
    results.settle(max_power_ratio, MOST_OWN_DRAWS if draw is not None and redraw else MOST_DRAWS)
    return _told(results, inner, ends, max_power_ratio)


def _told(results: _Runs, inner: Mapping[int, Place], ends: Sequence[Place | None], limit: float) -> Probed:
    """What the draws say of each place."""
    found = {p: results.of(p) for p in results.places}
    spectra, flat_spectra = results.spectra(results.powers), results.spectra(results.flat_powers)
    return Probed(
        {i: found[p] for i, p in inner.items()},
        tuple(None if p is None else found[p] for p in ends),
        results.latent,
        results.done,
        tuple(_notes([found[p] for p in results.ends], results, limit)),
        tuple(spectra.get(p) for p in ends),
        tuple(flat_spectra.get(p) for p in ends),
    )


def _check_data(op: str, program: Program, data: Sequence[Value]) -> None:
    for at, value in enumerate(data):
        if not is_floating(program, value):
            raise TypeError(
                f"{op}: data must be floating, since the probes are normal numbers; input {at} is "
                f"{program.avals[value].dtype}. Name the floating input by inputs=, or wrap fn to take one."
            )


def _roles(program: Program, value: Value, given: str | Roles) -> Roles:
    return field_roles(len(program.avals[value].shape), given) if isinstance(given, str) else given


def _has_space(program: Program, value: Value, roles: Roles) -> bool:
    return any(n > 1 for n, r in zip(program.avals[value].shape, roles) if isinstance(r, int))


def _inner(
    program: Program, graph: Graph, spans: Sequence[Extent | None], nodes: Collection[int], steady: bool
) -> dict[int, Place]:
    """Places of nodes whose fields the program holds."""
    made = {v for step in program.steps for v in step.outputs} | set(program.inputs)
    found = {}
    for i in nodes:
        node, extent = graph.nodes[i], spans[i]
        if node.value in made and extent is not None and is_floating(program, node.value):
            kept = region(extent, steady=steady)
            found[i] = Place(node.value, node.roles, kept, steady and not kept.whole)
    return found


def _end(
    program: Program, graph: Graph, spans: Sequence[Extent | None], value: Value, layout: str, steady: bool
) -> Place | None:
    """Of an output; where the walk lost it, by the layout of the data and periods of two and four."""
    if not is_floating(program, value):
        return None
    node = graph.whole(value)
    if node is not None:
        found = spans[node]
        if found is None:
            return None
        kept = region(found, steady=steady)
        return Place(value, graph.nodes[node].roles, kept, steady and not kept.whole)
    shape = tuple(program.avals[value].shape)
    roles = field_roles(len(shape), layout)
    sizes = tuple(n for n, r in zip(shape, roles) if isinstance(r, int))
    if not sizes or max(sizes) == 1:
        return None
    lost = Extent(sizes, (None,) * len(sizes), (PERIOD_GUESSED,) * len(sizes))
    return Place(value, roles, region(lost, steady=False), False)


@dataclasses.dataclass(eq=False)
class _Runs:
    """Draws made so far, of all places."""

    op: str
    program: Program
    inner: tuple[Place, ...]
    ends: tuple[Place, ...]  # whose spectra are taken
    feed: Feed
    key: jax.Array
    latent: bool

    def __post_init__(self) -> None:
        self.places = tuple(dict.fromkeys([*self.inner, *self.ends]))
        self.pictured = tuple(dict.fromkeys(self.ends))
        self.flat: list[list[Sums]] = []
        self.white: list[list[Sums]] = []
        self.powers: list[list[np.ndarray]] = []
        self.flat_powers: list[list[np.ndarray]] = []
        self.scales = np.ones(len(self.places), np.float32)
        # As arguments: those that are part of a compiled program make compiling slow.
        self.constants = {v: a for v, a in self.program.constants.items() if np.size(a) > 1}
        self.compiled = jax.jit(self._respond)

    @property
    def done(self) -> int:
        return len(self.white)

    @property
    def one_model(self) -> bool:
        """Whether all draws share their parameters."""
        return not self.feed.draws_parameters

    def spectra(self, powers: Sequence[Sequence[np.ndarray]]) -> dict[Place | None, np.ndarray | None]:
        """Means over draws, of each output; None where there are none."""
        found: dict[Place | None, np.ndarray | None] = {}
        for place, each in zip(self.pictured, zip(*powers)):
            finite = [p for p in each if np.isfinite(p).all()]
            found[place] = np.stack(finite).astype(np.float64).mean(0) if finite else None
        return found

    def _respond(
        self, constants: dict[Value, Any], scales: jax.Array, given: dict[Value, Any]
    ) -> tuple[list[Sums], list[jax.Array]]:
        program = dataclasses.replace(self.program, constants={**self.program.constants, **constants})
        fields = run(program, [given[v] for v in program.inputs], wanted=[p.value for p in self.places])
        zeros = bool(self.feed.context or self.feed.noise)
        sums = [
            field_sums(
                to_channel_last(x, p.roles), scale, p.region, zeros=zeros, mapped=self.one_model and not p.steady
            )
            for x, scale, p in zip(fields, scales, self.places)
        ]
        return sums, [_mean_power(fields[self.places.index(p)], p) for p in self.pictured]

    def respond(self, given: dict[Value, Any], *, kept: list[list[np.ndarray]] | None = None) -> list[Sums]:
        sums, powers = jax.device_get(self.compiled(self.constants, self.scales, given))
        if kept is not None:
            kept.append(powers)
        return sums

    def add(self, count: int, *, flat: bool = True) -> None:
        """More draws; without the flat probe where that has enough."""
        for _ in range(count):
            arrays, flat_data, white_data = self.feed.draw(jax.random.fold_in(self.key, self.done))
            if not self.done:
                self._fit(arrays | white_data)
            white = self.respond(arrays | white_data, kept=self.powers)
            self.white.append(white)
            if flat:
                self.flat.append(white if self.latent else self.respond(arrays | flat_data, kept=self.flat_powers))

    def _fit(self, given: dict[Value, Any]) -> None:
        """Scales by which squares of small fields, gradients above all, do not underflow."""
        for _ in range(4):
            sums = self.respond(given)
            wanted = np.array(
                [_rescaled(float(s), float(row.powers.mean())) for s, row in zip(self.scales, sums)], np.float32
            )
            if np.array_equal(wanted, self.scales):
                break
            self.scales = wanted

    def settle(self, limit: float, most: int) -> None:
        """More draws of the white probe while chance could make a power ratio of an output what it is."""
        per_draw = sum(
            math.prod(a.shape) for step in self.program.steps for a in map(self.program.avals.get, step.outputs) if a
        )
        affordable = min(most, self.done + int(MOST_VALUES / max(1, per_draw)))
        while self.done < affordable and any(is_open(self.of(p), limit) for p in self.ends):
            self.add(min(self.done, affordable - self.done), flat=self.latent)

    def of(self, place: Place) -> Measured:
        at = self.places.index(place)
        flat, white = gather([row[at] for row in self.flat]), gather([row[at] for row in self.white])
        if not len(flat.lines) or not len(white.lines):
            raise ValueError(
                f"{self.op}: no draw of the parameters gives finite fields. Give redraw=0 to take the given ones."
            )
        kept = place.region
        samples = math.prod(q * p for q, p in zip(kept.counts, kept.period))
        shape = self.program.avals[place.value].shape
        samples *= math.prod(n for n, r in zip(shape, place.roles) if not isinstance(r, int))
        return measured(flat, white, kept, steady=place.steady, samples=samples, one_model=self.one_model)


def _rescaled(scale: float, power: float) -> float:
    """A power of two that takes fields of this mean square near 1; as it is where that is near enough."""
    if 1e-16 < power < 1e16:
        return scale
    shift = -40 if not math.isfinite(power) else 40 if power == 0 else -round(math.log2(power) / 2)
    return float(np.clip(scale * 2.0**shift, 2.0**-120, 2.0**120))


def _mean_power(x: jax.Array, place: Place) -> jax.Array:
    """Power of a field at each frequency, the mean over images and channels, without that of the mean."""
    kept = to_channel_last(x, place.roles)[(slice(None), *place.region.slices)].astype(jnp.float32)
    axes = tuple(range(1, kept.ndim - 1))
    waves = jnp.fft.fftn(kept - kept.mean(axes, keepdims=True), axes=axes)
    return jnp.square(jnp.abs(waves)).mean((0, -1)) / float(math.prod(kept.shape[1:-1]))


def is_open(field: Measured, limit: float) -> bool:
    """Whether chance could have taken a power ratio to the side of the limit on which it is.

    The largest of several is taken, so that chance rather makes ratios than hides them.
    """
    return limit < field.power_ratio * math.sqrt(field.power_noise) and field.power_ratio <= limit * field.power_noise


def _notes(ends: Sequence[Measured], runs: _Runs, limit: float) -> list[str]:
    notes = []
    if runs.latent:
        notes.append(
            "No input has space: flat and white inputs are the same latent draws, and lines are their excess over the "
            "bins around them."
        )
    if any(e.region.whole for e in ends):
        notes.append(
            "Padding reaches all of an output, or the walk lost it: the whole field was measured, lines by their "
            "excess over the bins around them and phase powers under a Hann window."
        )
    unmeasured = sorted({p for e in ends for p in e.unmeasured})
    if unmeasured:
        notes.append(
            f"Lines of period {', '.join(map(str, unmeasured))} cannot be told from what is around them: the output "
            "holds one period only. A larger input would tell."
        )
    chance = max((e.power_chance for e in ends if limit < e.power_ratio <= limit * e.power_chance), default=None)
    if chance is not None:
        notes.append(
            f"Power: equal phases reach {chance:.3g} by chance, with so few samples in {runs.done} draws; more of them "
            "(redraw=), or a larger input, would tell."
        )
    lost = max((gather([row[i] for row in runs.white]).lost for i in range(len(runs.places))), default=0)
    if lost:
        notes.append(f"{lost} of {runs.done} draws gave fields that are not finite, and were left out.")
    return notes

"""Runs a grid of configurations over seeds: which chunks are left, in which order, on which devices."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from checkerjax.sweeps._config import Config
from checkerjax.sweeps._draws import base_key, chosen_photographs, normal_count, seed_normals
from checkerjax.sweeps._program import Inputs, Program, Shape, device_mesh, shape_of, sharding
from checkerjax.sweeps._schema import Schema
from checkerjax.sweeps._statistics import SeedStatistics

AHEAD = 2  # programs that are compiled before they are needed


class Sink(Protocol):
    """Where chunks go."""

    def done(self) -> np.ndarray: ...

    def write(self, index: int, chunk: int, stats: SeedStatistics) -> None: ...


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a sweep is run; nothing of it changes what a seed's statistics are, but for rounding."""

    configs: tuple[Config, ...]
    schema: Schema
    base_seed: int
    draws: str
    batch: int
    photographs: np.ndarray | None = None  # [T, y, x, C], in [0, 1]
    devices: tuple[Any, ...] = ()  # of this process; all by default
    shard: tuple[int, int] = (0, 1)

    def shapes(self) -> list[Shape]:
        """The shape of each configuration."""
        grid = self.configs
        photographed = [config for config in grid if config.input == "photo"]
        pools = pool_sizes([normal_count(config) for config in grid]) if self.draws == "pool" else [0] * len(grid)
        same = {"chunk": self.schema.chunk, "batch": self.batch}
        same |= {"spectrum": self.schema.spectrum, "sample": self.schema.sample}
        return [shape_of(config, photographed, pool=pool, **same) for config, pool in zip(grid, pools)]


@dataclasses.dataclass
class Times:
    """Seconds of a run."""

    total: float = 0.0
    compiling: float = 0.0  # beside the run, for the most part
    waiting: float = 0.0  # for compiled programs to finish


class _Wave:
    """Chunks of one configuration that run together, one on each device."""

    def __init__(self, index: int, chunks: Sequence[int]) -> None:
        self.index, self.chunks = index, tuple(chunks)


def run(plan: Plan, sink: Sink, report: Callable[[int, int], None] | None, stop: Callable[[], bool]) -> Times:
    """Runs what is left. Where `stop` says so it ends after the chunks in flight, with KeyboardInterrupt."""
    started, times = time.perf_counter(), Times()
    devices = plan.devices or tuple(jax.local_devices())
    mesh = device_mesh(devices)
    waves = list(_waves(plan, sink.done(), len(devices)))
    shapes = plan.shapes()
    pools = _Pools(plan, mesh)
    total = sum(_seeds(plan, wave) for wave in waves)
    done, flying = 0, collections.deque()
    with _Compiler([shapes[wave.index] for wave in waves], plan, mesh) as compiler:

        def land() -> None:
            nonlocal done
            wave, stats = flying.popleft()
            before = time.perf_counter()
            stats = jax.device_get(stats)
            times.waiting += time.perf_counter() - before
            for i, chunk in enumerate(wave.chunks):
                sink.write(wave.index, chunk, jax.tree.map(lambda a, i=i: a[i], stats))
            done += _seeds(plan, wave)
            if report is not None:
                report(done, total)

        for wave in waves:
            program = compiler.next()
            flying.append((wave, program(_inputs(plan, wave, shapes[wave.index], pools, mesh.size))))
            if len(flying) > 1:  # the next wave runs while this one is written
                land()
            if stop():
                break
        stopped = stop()
        while flying:
            land()
        times.compiling = compiler.seconds
    times.total = time.perf_counter() - started
    if stopped and done < total:
        raise KeyboardInterrupt
    return times


def _waves(plan: Plan, done: np.ndarray, devices: int) -> Iterator[_Wave]:
    """A configuration at a time; with pools, all configurations of the same seeds after each other."""
    mine, workers = plan.shard
    configs, chunks = done.shape
    # Shuffled, always in the same way: neighbours in a grid take turns in what makes them long.
    owners = np.random.default_rng(0).permutation(done.size).reshape(chunks, configs) % workers
    left = {i: [c for c in range(chunks) if owners[c, i] == mine and not done[i, c]] for i in range(configs)}
    waves = [
        (start, _Wave(i, left[i][start : start + devices]))
        for i in range(configs)
        for start in range(0, len(left[i]), devices)
    ]
    if plan.draws == "pool":
        waves.sort(key=lambda pair: pair[0])
    return (wave for _, wave in waves)


def _seeds(plan: Plan, wave: _Wave) -> int:
    return sum(len(_seeds_of(plan, chunk)) for chunk in wave.chunks)


def _seeds_of(plan: Plan, chunk: int) -> tuple[int, ...]:
    size = plan.schema.chunk
    return plan.schema.seeds[chunk * size : (chunk + 1) * size]


def _inputs(plan: Plan, wave: _Wave, shape: Shape, pools: _Pools, devices: int) -> Inputs:
    size = plan.schema.chunk
    seeds = np.zeros((devices, size), np.uint32)
    counts = np.zeros((devices, size), np.float32)
    for i, chunk in enumerate(wave.chunks):
        own = _seeds_of(plan, chunk)
        seeds[i, : len(own)], counts[i, : len(own)] = own, 1
    normals = pools.numbers(seeds, shape.pool) if shape.pool else None
    photographs = is_photo = None
    config = plan.configs[wave.index]
    if shape.photographs:
        is_photo = np.full(seeds.shape, config.input == "photo")
        photographs = np.zeros((*seeds.shape, config.batch, *config.input_size, config.channels), np.float32)
        if config.input == "photo":
            assert plan.photographs is not None
            tiles = plan.photographs[:, : config.input_size[0], : config.input_size[1]]
            chosen = [chosen_photographs(config, len(tiles), plan.base_seed, int(seed)) for seed in seeds.ravel()]
            photographs = tiles[np.array(chosen)].astype(np.float32).reshape(photographs.shape)
    return Inputs(seeds, counts, normals, photographs, is_photo)


def pool_sizes(counts: Sequence[int]) -> list[int]:
    """For each number of normals the length of the draw that it shares with others, at most four times as long."""
    sizes: list[int] = []
    for need in sorted(counts, reverse=True):
        if not sizes or sizes[-1] > 4 * need:
            sizes.append(need)
    return [min(size for size in sizes if size >= count) for count in counts]


class _Pools:
    """Normals of a wave's seeds, drawn once for all configurations that need about as many.

    The draw is a program of its own: inside each configuration's program it costs more to compile than all the rest.
    Prefixes of a longer draw equal shorter draws, so sharing changes no number.
    """

    def __init__(self, plan: Plan, mesh: Mesh) -> None:
        self._sharding = sharding(mesh)
        self._base = base_key(plan.base_seed)
        self._seeds = b""
        self._drawn: dict[int, jax.Array] = {}

    def numbers(self, seeds: np.ndarray, count: int) -> jax.Array:
        """`[D, U, count]`."""
        if seeds.tobytes() != self._seeds:
            self._seeds, self._drawn = seeds.tobytes(), {}
        if count not in self._drawn:
            self._drawn[count] = self._draw(jax.device_put(seeds, self._sharding), count)
        return self._drawn[count]

    @functools.cached_property
    def _draw(self) -> Callable[[jax.Array, int], jax.Array]:
        one = functools.partial(seed_normals, self._base)
        each = jax.vmap(jax.vmap(one, (0, None)), (0, None))
        return jax.jit(each, static_argnums=1, out_shardings=self._sharding)


class _Compiler:
    """Programs in the order of their use, compiled in a thread of their own while others run."""

    def __init__(self, shapes: Sequence[Shape], plan: Plan, mesh: Mesh) -> None:
        self._uses = collections.deque(shapes)
        self._left = collections.Counter(shapes)
        self._order = collections.deque(dict.fromkeys(shapes))
        self._make = lambda shape: Program(shape, mesh, plan.base_seed).compile()
        self._futures: dict[Shape, concurrent.futures.Future[Program]] = {}
        self._begun: set[Shape] = set()
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self.seconds = 0.0

    def __enter__(self) -> _Compiler:
        return self

    def __exit__(self, *_: Any) -> None:
        self._thread.shutdown(cancel_futures=True)

    def next(self) -> Program:
        """The program of the next wave; it is let go after its last."""
        shape = self._uses.popleft()
        first = shape not in self._begun
        self._begun.add(shape)
        while self._order and len(self._futures) < len(self._begun & self._futures.keys()) + 1 + AHEAD:
            ahead = self._order.popleft()
            self._futures[ahead] = self._thread.submit(self._make, ahead)
        program = self._futures[shape].result()
        self.seconds += program.seconds if first else 0.0
        self._left[shape] -= 1
        if not self._left[shape]:
            del self._futures[shape]
        return program

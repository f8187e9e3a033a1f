"""One seed of one configuration: from normals and inputs to statistics, as a pure function."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from checkerjax import spectra, stacks
from checkerjax.sweeps._config import Config


class Draws(NamedTuple):
    """The random numbers of one seed; all that differs between seeds."""

    weights: jax.Array  # [>= normal_count] independent N(0, 1)
    inputs: jax.Array  # [batch, *input size, channels]
    cotangents: jax.Array  # [>= probe_count] independent N(0, 1): the flat probe's numbers, then the white one's


class SeedStatistics(NamedTuple):
    """What is kept of one seed; powers are in squared units of the field, summed over channels."""

    line_power: jax.Array  # [measured, periods] all lines of each period, DC excluded (cumulative)
    variance: jax.Array  # [measured] power at all frequencies but DC
    dc_power: jax.Array  # [measured]
    phase_power: jax.Array  # [measured, period, period] mean square per phase, within the margin, before a last tanh
    std: jax.Array  # [measured] standard deviation before a last tanh
    zero_share: jax.Array  # [] share of exact zeros within the margin
    spectrum: jax.Array  # [y, x] power at each frequency of the whole field, mean over the measured
    sample: jax.Array  # [y, x, C] the first measured field


@functools.cache
def parameters_normal_count(config: Config) -> int:
    """Normals that the weights of one seed are made of."""
    return stacks.normal_count(config.stack, **_initialisation(config))


@functools.cache
def probe_shapes(config: Config) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the numbers of the flat and of the white probe; empty where none is used."""
    if config.direction == "forward" and config.input != "probe":
        return (0,), (0,)
    if config.direction == "forward":
        size, channels = config.input_size, config.channels
    else:
        size = stacks.output_size(config.stack, config.input_size)
        channels = stacks.output_channels(config.stack, config.channels, width=config.width)
    return (config.batch, *(1 for _ in size), channels), (config.batch, *size, channels)


def statistics_function(config: Config) -> Callable[[Draws], SeedStatistics]:
    """The statistics of one seed as a function of its draws; pure, to be compiled by the caller."""
    flat_shape, white_shape = probe_shapes(config)
    body, last_tanh = _without_last_tanh(stacks.as_stack("sweep", config.stack))

    def probes(numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
        split = math.prod(flat_shape)
        flat = numbers[:split].reshape(flat_shape)
        white = numbers[split : split + math.prod(white_shape)].reshape(white_shape)
        return jnp.broadcast_to(flat, white_shape), white

    def run(draws: Draws) -> SeedStatistics:
        params = stacks.init_from_normals(draws.weights, config.stack, **_initialisation(config))

        def before_tanh(x: jax.Array) -> jax.Array:
            return stacks.apply(params[: len(body)], body, x, precision="highest")

        def squash(field: jax.Array) -> jax.Array:
            return jnp.tanh(field) if last_tanh else field

        if config.direction == "gradient":
            flat, white = probes(draws.cotangents)
            _, pullback = jax.vjp(lambda x: squash(before_tanh(x)), draws.inputs)
            return _measure(config, pullback(flat)[0], pullback(white)[0])
        if config.input == "probe":
            flat, white = probes(draws.cotangents)
            return _measure(config, squash(before_tanh(flat)), before_tanh(white))
        field = before_tanh(draws.inputs)
        return _measure(config, squash(field), field)

    return run


def _measure(config: Config, line_field: jax.Array, power_field: jax.Array) -> SeedStatistics:
    """Lines of one field, phase powers of the other: under a flat probe and a white one, or of one field twice."""
    lines, powers = line_field[: config.measured], power_field[: config.measured]
    bounds = tuple((config.margin, n - config.margin) for n in config.field_size)
    inside = spectra.crop_interior(powers, bounds, period=config.period)
    shown = lines if config.whole_lines else spectra.crop_interior(lines, bounds, period=config.period)
    per_image = jax.vmap(lambda image: _line_energies(config, image[None]))(shown)
    return SeedStatistics(
        line_power=per_image[0],
        variance=per_image[1],
        dc_power=per_image[2],
        phase_power=spectra.phase_powers(inside, config.period).sum(-1),
        std=jnp.std(powers, axis=(1, 2, 3)),
        zero_share=jnp.mean(inside == 0),
        spectrum=spectra.power_spectrum(lines).power.mean(0).sum(-1),
        sample=lines[0],
    )


def _line_energies(config: Config, image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    powers = [spectra.line_powers(image, p)[0].sum(-1) for p in config.periods]
    dc = powers[0][0, 0]
    lines = jnp.stack([p.sum() - p[0, 0] for p in powers])
    return lines, jnp.var(image, axis=(0, 1, 2)).sum(), dc


def _initialisation(config: Config) -> dict:
    return {
        "channels": config.channels,
        "ndim": 2,
        "width": config.width,
        "initialiser": config.initialiser,
    }


def _without_last_tanh(stack: stacks.Stack) -> tuple[stacks.Stack, bool]:
    """The stack before its last tanh: phase powers are taken there, where saturation does not change them."""
    last = len(stack) > 1 and isinstance(stack[-1], stacks.Tanh)
    return (stack[:-1] if last else stack), last

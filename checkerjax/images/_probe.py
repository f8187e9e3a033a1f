"""Flat and white probes of any function on arrays, whatever framework it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from checkerjax._checks import PerAxis, as_int, one_of, per_axis
from checkerjax.images._probe_calls import LAYOUT_NAMES, Program, channels_last, check_key, check_shape
from checkerjax.images._probe_margin import Margin
from checkerjax.images._probe_periods import Thresholds, measure_periods
from checkerjax.images._probe_report import ProbedPeriod, ProbeReport
from checkerjax.images._probe_responses import Calls, Responses, collect


def probe(
    fn: Callable[[Any], Any],
    shape: Sequence[int],
    *,
    key: jax.Array,
    layout: str = "channel_last",
    output_layout: str | None = None,
    arrays: str = "numpy",
    direction: str = "forward",
    draws: int = 8,
    periods: Iterable[int] = range(2, 17),
    margin: PerAxis | None = None,
    max_lattice_ratio: float = 1e-3,
    max_power_ratio: float = 1.2,
    deterministic: bool = True,
) -> ProbeReport:
    """Whether a function puts grids in its output: lines under flat inputs, uneven phase powers under white ones.

    The function is called with arrays and never traced, so a model of any framework can be probed through a lambda;
    with PyTorch, `lambda x: model(torch.from_numpy(x)).detach().numpy()` and `layout="channel_first"`. Both statistics
    are needed: a kernel of equal gains has no lines and may still have uneven powers, and the other way round.

    The interior is what no padding reaches. Its margin is read off the responses, unless given: where the response to a
    flat input stops repeating, and where the response to a shifted white input is no longer the shifted response. The
    shift that a function follows is also the longest period that its statistics can have. A function that follows none,
    and one of latent vectors (2 axes, or 1 sample in space), is measured all over: its lines and those of its squared
    responses, taken under a Hann window, count by their excess over the spectrum around them, tested over images.

    Args:
      fn: takes a float32 array of `shape` and gives one of the same batch, with a batch and a channel axis.
      shape: of the input, batch and channels included. All images are independent draws.
      key: of `jax.random.key`; the inputs are drawn with it, N(0, 1).
      layout: "channel_last" or "channel_first", of the input.
      output_layout: of the output; by default that of the input.
      arrays: what fn is given: "numpy", or "jax" for a function that needs JAX arrays.
      direction: "forward", or "gradient" for the input gradient of a JAX function, at white inputs: the output is
        multiplied by a flat or white field, and summed.
      draws: calls with flat inputs, and calls with white ones; at least 2, and at least 4 images in all. Responses are
        held in memory.
      periods: samples of the output, each at least 2.
      margin: samples left out at both ends of an axis, an int or one per axis; by default estimated.
      max_lattice_ratio: line over DC energy from which lines are called a grid. The default is that of the audit.
      max_power_ratio: largest over smallest phase power from which powers are called uneven, chance excluded at 0.5%
        over all periods. The default is that of the audit.
      deterministic: raise if two calls with one input differ.

    Returns:
      A report: its verdict is "clean", "lines", "power", "both", or "cannot tell" where nothing was found but chance
      alone could hide a grid (more draws, or a larger shape, would tell).

    Raises:
      ValueError: for a shape, periods, margin or thresholds that do not fit, and for outputs of another rank or batch,
        not finite, or that differ from call to call.
      TypeError: for a fn that cannot be called, a key that is none, and outputs that are not one real floating array.

    Example:
      >>> def stripes(x):  # a transposed convolution, kernel (2, 1) and stride 2
      ...     return np.stack([2 * x, x], axis=2).reshape(len(x), -1, x.shape[-1])
      >>> report = probe(stripes, (1, 32, 3), key=jax.random.key(0))
      >>> report.verdict, report.line_periods, report.power_periods
      ('both', (2,), (2,))
      >>> round(report.periods[0].lattice_ratio.value, 4)  # (2 - 1)^2 / (2 + 1)^2
      0.1111

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016. Sugawara, Shiota and Kiya,
      arXiv:1806.02658 (flat inputs). Sathe and Vaidyanathan, IEEE Trans. SP 41(1), 1993 (white inputs). Karras et al.,
      arXiv:2106.12423 (shifted inputs).
    """
    op = "probe"
    if not callable(fn):
        raise TypeError(f"{op}: fn must be a function of an array; got {type(fn).__name__}.")
    sizes, key = check_shape(op, shape), check_key(op, key)
    one_of(op, "layout", layout, LAYOUT_NAMES)
    output_layout = one_of(op, "output_layout", output_layout or layout, LAYOUT_NAMES)
    one_of(op, "arrays", arrays, ("numpy", "jax"))
    one_of(op, "direction", direction, ("forward", "gradient"))
    draws = as_int(op, "draws", draws, minimum=2)
    tried = _check_periods(op, periods)
    thresholds = Thresholds(
        _positive(op, "max_lattice_ratio", max_lattice_ratio, 0), _positive(op, "max_power_ratio", max_power_ratio, 1)
    )
    _check_inputs(op, sizes, layout, draws, direction)
    program = Program(op, fn, layout, output_layout, arrays)
    responses = collect(program, Calls(sizes, key, draws, direction == "gradient", deterministic))
    kept, source = _interior(op, responses, margin)
    inside = tuple(slice(low, n - high) for (low, high), n in zip(kept, responses.flat.shape[1:-1]))
    rows = measure_periods(responses, inside, tried, thresholds)
    shown = tuple(row for row in rows if row.lattice_ratio or row.power_ratio)
    lines, powers = (tuple(row.period for row in shown if getattr(row, name)) for name in ("has_lines", "has_power"))
    shape_out = responses.output_shape
    return ProbeReport(
        verdict=_verdict(responses, shown, thresholds, lines, powers),
        line_periods=lines,
        power_periods=powers,
        periods=shown,
        skipped=tuple(row.period for row in rows if row not in shown),
        input_shape=sizes,
        output_shape=shape_out if output_layout == "channel_last" else (shape_out[0], shape_out[-1], *shape_out[1:-1]),
        layout=layout,
        output_layout=output_layout,
        direction=direction,
        draws=draws,
        margin=kept,
        margin_source=source,
        flat_cycle=responses.flat_cycle.lengths if responses.flat_cycle else None,
        white_cycle=responses.white_cycle.lengths if responses.white_cycle else None,
        border_flat=_border(responses.flat, inside),
        border_white=_border(responses.white, inside),
        max_lattice_ratio=thresholds.lines,
        max_power_ratio=thresholds.power,
        notes=tuple(_notes(responses, shown, tried, thresholds, source)),
    )


def _check_periods(op: str, periods: Iterable[int]) -> tuple[int, ...]:
    if isinstance(periods, (str, bytes)) or not isinstance(periods, Iterable):
        raise TypeError(f"{op}: periods must be several ints, as range(2, 17); got {periods!r}.")
    tried = tuple(sorted({as_int(op, "each of periods", period, minimum=2) for period in periods}))
    if not tried:
        raise ValueError(f"{op}: periods must hold at least one period; got none.")
    return tried


def _positive(op: str, name: str, value: Any, above: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{op}: {name} must be a number; got {value!r}.")
    if not (math.isfinite(value) and value > above):
        raise ValueError(f"{op}: {name} must be above {above} and finite; got {value!r}.")
    return float(value)


def _check_inputs(op: str, sizes: tuple[int, ...], layout: str, draws: int, direction: str) -> None:
    if draws * sizes[0] < 4:
        raise ValueError(f"{op}: draws times the batch of {sizes[0]} must be at least 4 images; got draws={draws}.")
    if direction == "gradient" and max(channels_last(sizes, layout)[1:-1], default=1) == 1:
        raise ValueError(f"{op}: direction 'gradient' needs an input with space; got shape {sizes}.")


def _interior(op: str, responses: Responses, margin: PerAxis | None) -> tuple[Margin, str]:
    size = responses.flat.shape[1:-1]
    if margin is None:
        estimated = responses.margin()
        if estimated is None or any(low + high >= n for (low, high), n in zip(estimated, size)):
            return ((0, 0),) * len(size), "none"
        return estimated, "estimated"
    given = per_axis(op, "margin", margin, len(size), minimum=0)
    if any(2 * m >= n for m, n in zip(given, size)):
        raise ValueError(f"{op}: margin must leave an interior; got {given} at both ends of responses of {size}.")
    return tuple((m, m) for m in given), "given"


def _verdict(responses: Responses, rows: Sequence[ProbedPeriod], thresholds: Thresholds, lines, powers) -> str:
    if lines or powers:
        return "both" if lines and powers else "lines" if lines else "power"
    told = [row for row in rows if row.lattice_ratio and row.power_ratio]
    hidden = any((row.power_chance or 1) > thresholds.power for row in rows)
    return "cannot tell" if hidden or not told or not responses.white.any() else "clean"


def _border(x: np.ndarray, inside: tuple[slice, ...]) -> float | None:
    part = x[(slice(None), *inside)]
    if part.size == x.size:
        return None
    total, within = (float(np.square(each, dtype=np.float64).sum()) for each in (x, part))
    if within == 0:
        return None
    return (total - within) / (x.size - part.size) / (within / part.size)


def _notes(responses: Responses, rows: Sequence[ProbedPeriod], tried, thresholds: Thresholds, source: str):
    if responses.latent:
        yield "the input has no space: flat and white inputs are the same latent draws."
    elif not responses.white.any():
        yield "all outputs are 0."
    elif responses.negligible:
        yield "the response to flat inputs is one of rounding, and was taken as 0."
    if not responses.latent and responses.white_cycle is None:
        yield (
            "no shift of the input merely shifts the response: borders reach its centre, it depends on position, or "
            "layout names other axes than its own. A larger shape may help."
        )
    if source == "none":
        yield "no margin could be estimated; the whole response was measured, borders included."
    longest = max((math.lcm(*c.lengths) for c in (responses.flat_cycle, responses.white_cycle) if c), default=1)
    if longest not in (1, *tried):
        yield f"the responses repeat after {longest} samples, which is none of the periods tried."
    hidden = [row.period for row in rows if (row.power_chance or 1) > thresholds.power and not row.has_power]
    if hidden:
        yield (
            f"power: chance alone reaches {max(row.power_chance or 1 for row in rows if row.period in hidden):.3g} "
            f"at periods {', '.join(map(str, hidden))}; more draws or a larger shape would tell."
        )
    short = [row.period for row in rows if row.power_ratio is None]
    if short:
        yield f"power was not measured at periods {', '.join(map(str, short))}: the interior holds too few of them."

"""One row or program measured: agreement, times by mode, what compiling gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import end_to_end, peers_torch, rows, timing
from experiments.benchmarks.config import Config, Row
from experiments.benchmarks.timing import FORWARD, GRADIENTS, MATMUL, Call

Found = dict[str, Any]


def measure_row(row: Row, config: Config, torch: Any, matmul: Call) -> Found:
    """The whole record of a row, as stored; `torch` is None where it is missing."""
    x, kernel = rows.arrays(row, config.seed)
    contenders = rows.contenders(row)
    y = jax.eval_shape(contenders[rows.OURS].apply, x, kernel)
    cotangent = jax.random.normal(jax.random.key(config.seed), y.shape, y.dtype)
    inputs = {name: (x, contender.convert(kernel), cotangent) for name, contender in contenders.items()}
    programs = {
        FORWARD: {name: (contender.apply, inputs[name][:2]) for name, contender in contenders.items()},
        GRADIENTS: {name: (timing.with_gradients(c.apply), inputs[name]) for name, c in contenders.items()},
    }
    others = peers_torch.calls(torch, row, x, kernel, cotangent) if torch is not None else {}
    found: Found = {"label": row.label, "multiply_adds": rows.multiply_adds(row), "modes": {}}
    for mode in timing.MODES:
        compiled, facts = _compile(programs[mode])
        calls = {name: timing.blocking(compiled[name], *args) for name, (_, args) in programs[mode].items()}
        if mode == GRADIENTS:
            outputs = {name: call() for name, call in calls.items()}
            found["agreement"] = _agreement(contenders, outputs)
            if row.dtype == "float32":
                found["accuracy"] = _accuracy(contenders, inputs, outputs)
            del outputs
        calls |= {name: by_mode[mode] for name, by_mode in others.items()}
        times = timing.interleave({MATMUL: matmul, **calls}, config.repeats, config.counted)
        found["modes"][mode] = {"ms": times, "compiled": facts}
    if row.kind == "resize":
        found["upsampled"] = upsampled_arrays(row)
    return found


def _compile(programs: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]]) -> tuple[Found, Found]:
    done = {name: timing.compile_program(program, *args) for name, (program, args) in programs.items()}
    return {name: compiled for name, (compiled, _) in done.items()}, {name: facts for name, (_, facts) in done.items()}


def _agreement(contenders: Mapping[str, rows.Contender], outputs: Mapping[str, Any]) -> Found:
    """Largest errors against checkerjax, over the largest magnitudes, by contender and part."""
    ours: Found = dict(zip(rows.PARTS, outputs[rows.OURS]))
    found: Found = {}
    for name, contender in contenders.items():
        if name != rows.OURS and contender.compared:
            theirs: Found = dict(zip(rows.PARTS, outputs[name]))
            expected = ours | {"dw": contender.convert(ours["dw"])}
            found[name] = {part: timing.largest_error(theirs[part], expected[part]) for part in contender.compared}
    return found


def _accuracy(contenders: Mapping[str, rows.Contender], inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Found:
    """Largest errors of checkerjax and of the plain form against the plain form in float64, by part."""
    plain = list(contenders)[1]
    convert = contenders[plain].convert  # undoes itself: as given, or flipped
    with jax.enable_x64(True):
        wide = [jax.numpy.asarray(a, "float64") for a in inputs[plain]]
        y, dx, dw = jax.jit(timing.with_gradients(contenders[plain].apply))(*wide)
        exact = {plain: [np.asarray(a) for a in (y, dx, dw)], rows.OURS: [np.asarray(a) for a in (y, dx, convert(dw))]}
    return {
        name: {part: timing.largest_error(*pair) for part, *pair in zip(rows.PARTS, outputs[name], exact[name])}
        for name in (rows.OURS, plain)
    }


def upsampled_arrays(row: Row) -> Found:
    """Whether each resize-convolution's optimised program names an array of the upsampled input's shape.

    Compiled for three quarters of the input channels: with as many as outputs, the output has that shape too.
    """
    row = dataclasses.replace(row, name=f"{row.name}, channels", inputs=row.inputs * 3 // 4)
    shape = rows.plain_upsampled(row)
    x, kernel = (jax.ShapeDtypeStruct(s, np.float32) for s in row.shapes)
    found: Found = {"shape": shape, "holds": {}}
    for name, contender in rows.contenders(row).items():
        if name.startswith("equivalent") or name == "checkerjax, dots":
            continue
        y = jax.eval_shape(contender.apply, x, kernel)
        programs = ((contender.apply, (x, kernel)), (timing.with_gradients(contender.apply), (x, kernel, y)))
        texts = [jax.jit(program).lower(*args).compile().as_text() or "" for program, args in programs]
        found["holds"][name] = {mode: timing.holds_array(text, shape) for mode, text in zip(timing.MODES, texts)}
    return found


PROGRAMS = {"dcgan_step": end_to_end.gan_program, "seed_gradients": end_to_end.seed_program}


def measure_program(name: str, config: Config, matmul: Call) -> Found:
    """A whole program with `method="lax"` (as before) and "auto"."""
    program = PROGRAMS[name](config)
    compiled, facts = _compile({key: (f, program.args) for key, f in program.variants.items()})
    checks = {key: f(*program.args) for key, f in (program.checks or compiled).items()}
    calls = {key: timing.blocking(f, *program.args) for key, f in compiled.items()}
    times = timing.interleave({MATMUL: matmul, **calls}, config.repeats, config.counted)
    ours = jax.tree.leaves(checks.pop(rows.OURS))
    agreement = {
        key: {program.checked: max(map(timing.largest_error, jax.tree.leaves(theirs), ours))}
        for key, theirs in checks.items()
    }
    return {
        "label": program.label,
        "agreement": agreement,
        "modes": {program.mode: {"ms": times, "compiled": facts}},
    }

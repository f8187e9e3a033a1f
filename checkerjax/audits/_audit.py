"""The door: a function or module in, a report out."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checkerjax import __version__
from checkerjax._checks import as_int, one_of
from checkerjax.audits._fixed import with_advice
from checkerjax.audits._gradients import read_forward, read_input_gradient, read_loss_gradient
from checkerjax.audits._graph import Roles
from checkerjax.audits._measuring import Probing, measure_reading
from checkerjax.audits._reading import Reading, where
from checkerjax.audits._redraw import Draw
from checkerjax.audits._report import AuditReport
from checkerjax.audits._report_parts import Settings, Thresholds, joint_verdict
from checkerjax.audits._stack import stack_of
from checkerjax.audits._subjects import Subject, make_subject
from checkerjax.ops._choice import plain_forms
from checkerjax.stacks import Stack

LAYOUTS = ("channel_last", "channel_first")
UNEVEN_FLAT = 0.1  # noise on the flat probe of a loss: of equal samples a max pool sends its gradient to the first


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """How a subject is to be audited."""

    op: str
    subject: Subject
    layout: str
    redraw: int
    key: jax.Array
    static: bool
    backward: bool
    thresholds: Thresholds
    inputs: tuple[int, ...]


def audit(
    fn: Any,
    *args: Any,
    inputs: int | Sequence[int] | None = None,
    layout: str = "channel_last",
    redraw: int = 32,
    key: jax.Array | None = None,
    static: bool = False,
    backward: bool = True,
    loss: Callable[[Any], Any] | None = None,
    max_lattice_ratio: float = 1e-3,
    max_power_ratio: float = 1.2,
) -> AuditReport:
    """Which operations of a model make a grid, in its output and in its gradient, and what to change.

    The program of `fn` is read, not its source: every operation that changes the resolution is found, however it is
    written, with the line of the user's code that made it. Then the program is run under two probes, inputs constant
    in space and white noise, and the verdict is what reaches the output: an uneven operation that a later one repairs
    is reported, and the model is clean.

    Args:
      fn: a function of arrays, a Flax module (linen or nnx) or any other callable that JAX can trace.
      args: what it is called with. A linen module takes its variables first, or is initialised with `key`. Arrays in
        `args` that carry no data, and the variables of modules, are parameters; arrays that `fn` closes over are
        constants, taken as they are.
      inputs: positions in `args` of the arrays that carry data; None: the last floating array.
      layout: "channel_last" (`[N, *spatial, C]`) or "channel_first", of the data; latents are `[N, C]`.
      redraw: how often the parameters are drawn anew, by the module's own initialisers where it has them, else from
        N(0, mean square of the array given) where it has 2 or more axes; 0 takes them as given, for a trained model.
      key: of `jax.random.key`, for all draws; by default that of seed 0.
      static: reads the program only; nothing is measured and the verdict is None.
      backward: whether the gradient of the input is audited too.
      loss: a function of the output that gives one number: its gradient by the input is audited as well, what the
        loss itself contributes included.
      max_lattice_ratio: line over DC energy under the flat probe from which on lines are called a grid.
      max_power_ratio: largest over smallest phase power under the white probe from which on they are called uneven.

    Returns:
      A report: `print` it, or read its `verdict` ("clean", "lines", "power", "both"), `forward`, `backward` and `loss`
      (findings in program order), `stack` (the program as layer descriptions, where it is a stack), and `try_fix()`.
      Of several fields that `fn` returns all count: `outputs` has each by its name, the worst first, which is `output`.

    Raises:
      TypeError: for an `fn` that cannot be called, or arguments of a wrong type.
      ValueError: for inputs or options out of range, and for a function that cannot be traced: data-dependent shapes
        or branches, side effects. The original error is the cause.

    Example:
      >>> def generator(kernel, x):  # kernel 3, stride 2
      ...     return jax.lax.conv_transpose(x, kernel, (2,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))
      >>> report = audit(generator, jnp.ones((3, 16, 16)), jnp.ones((1, 32, 16)))
      >>> report.verdict
      'both'
      >>> [(f.role, f.kernel_size, f.stride, f.grade) for f in report.forward]
      [('up', (3,), (2,), 'uneven')]

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016. Sugawara, Shiota and Kiya,
      arXiv:1806.02658 (flat inputs). Sathe and Vaidyanathan, IEEE Trans. SP 41(1), 1993 (white inputs).
    """
    op = "audit"
    key = checked_key(op, key)
    subject = make_subject(op, fn, args, inputs=inputs, key=key, loss=loss)
    return audit_subject(
        subject, layout=layout, redraw=redraw, key=key, static=static, backward=backward,
        max_lattice_ratio=max_lattice_ratio, max_power_ratio=max_power_ratio,
        inputs=() if inputs is None else tuple(inputs) if isinstance(inputs, Sequence) else (int(inputs),),
    )  # fmt: skip


def checked_key(op: str, key: Any) -> jax.Array:
    """A key, of the new kind or the old; that of seed 0 for None."""
    if key is None:
        return jax.random.key(0)
    if isinstance(key, jax.Array):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
            return key
        if key.dtype == np.uint32 and key.shape == (2,):
            return key
    raise TypeError(f"{op}: key must be one key; got {type(key).__name__}. Make one with jax.random.key(seed).")


def audit_subject(
    subject: Subject,
    *,
    key: jax.Array,
    layout: str = "channel_last",
    redraw: int = 32,
    static: bool = False,
    backward: bool = True,
    max_lattice_ratio: float = 1e-3,
    max_power_ratio: float = 1.2,
    inputs: tuple[int, ...] = (),
) -> AuditReport:
    """`audit` of a subject that is told apart already."""
    op = "audit"
    request = Request(
        op, subject, one_of(op, "layout", layout, LAYOUTS), as_int(op, "redraw", redraw, minimum=0), key, bool(static),
        bool(backward), Thresholds(_above(op, "max_lattice_ratio", max_lattice_ratio, 0),
                                   _above(op, "max_power_ratio", max_power_ratio, 1)), inputs,
    )  # fmt: skip
    for x in subject.data:
        if not 1 <= x.ndim <= 5 or x.size == 0:
            raise ValueError(
                f"{op}: data must be [N, *spatial, C] with 1 to 3 spatial axes, or latents; got {x.shape}."
            )
    with plain_forms():
        return _report(request)


def _above(op: str, name: str, value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{op}: {name} must be a number; got {value!r}.")
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{op}: {name} must be finite and at least {least}; got {value}.")
    return float(value)


def _report(request: Request) -> AuditReport:
    op, subject, limits = request.op, request.subject, request.thresholds
    forward = read_forward(op, subject, request.layout)
    gradient, notes = read_input_gradient(op, subject, forward, request.layout) if request.backward else (None, [])
    loss = None if subject.loss is None else read_loss_gradient(op, subject, request.layout)
    result = measure_reading(forward, _probing(request, forward, 0), thresholds=limits, gradient=False)
    back, losses = (
        None if each is None else measure_reading(each, _probing(request, each, i), thresholds=limits, gradient=True)
        for i, each in enumerate((gradient, loss), 1)
    )
    stack, reason = _stack(request, forward)
    gradients = [each for each in (back, losses) if each is not None]
    every = [f for each in (result, *gradients) for f in each.findings]
    told = (*forward.notes, *notes, *(note for each in (result, *gradients) for note in each.notes))
    report = AuditReport(
        verdict=joint_verdict(result.outcomes, limits),
        forward=result.findings,
        backward=() if back is None else back.findings,
        loss=() if losses is None else losses.findings,
        output=result.outcome,
        outputs=result.outcomes,
        stack=stack,
        stack_reason=reason,
        backward_outcome=None if back is None else back.outcome,
        backward_outcomes=() if back is None else back.outcomes,
        loss_outcome=None if losses is None else losses.outcome,
        loss_outcomes=() if losses is None else losses.outcomes,
        not_understood=tuple(f for f in every if f.role == "unknown"),
        trace=result.rows,
        backward_trace=() if back is None else back.rows,
        loss_trace=() if losses is None else losses.rows,
        spectrum=result.spectrum,
        flat_spectrum=result.flat_spectrum,
        notes=tuple(dict.fromkeys(told)),
        settings=_settings(request),
    )
    return with_advice(report, forward, gradient, lambda call: _changed_report(request, call), loss=loss)


def _changed_report(request: Request, call: Callable[..., list[Any]]) -> AuditReport:
    """The report of another program on the same arrays."""
    original = request.subject.call

    def whole(parameters: Any, data: Any) -> Any:
        leaves, tree = jax.tree.flatten(original(parameters, data))  # a loss wants this tree; the rest is dead code
        made = iter(call(*parameters, *data))
        return tree.unflatten([next(made) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in leaves])

    subject = request.subject._replace(call=whole)
    with plain_forms():
        return _report(dataclasses.replace(request, subject=subject))


def _probing(request: Request, reading: Reading, number: int) -> Probing | None:
    if request.static:
        return None
    layouts: list[str | Roles] = []
    for value in reading.data:
        located = reading.graph.located.get(value)
        layouts.append(request.layout if located is None else reading.graph.nodes[located.node].roles)
    key, draw = jax.random.fold_in(request.key, number), request.subject.draw
    if reading.seeds:  # no data to the probes: parameters that stay
        draw = None if draw is None else _with(draw, reading.seeds)
        return Probing(request.op, layouts, key, draw, request.redraw, request.thresholds, noise=UNEVEN_FLAT)
    return Probing(request.op, layouts, key, draw, request.redraw, request.thresholds)


def _with(draw: Draw, rest: Sequence[Any]) -> Draw:
    """Drawn parameters, and arrays that stay."""
    return lambda key: (*draw(key), *rest)


def _stack(request: Request, forward: Reading) -> tuple[Stack | None, str | None]:
    """The program as layer descriptions, or why it is none and where."""
    layouts = [request.layout] * len(forward.data)
    emitted = stack_of(forward.program, forward.data, layouts, forward.arrays)
    if emitted.stack is not None:
        return emitted.stack, None
    step = None if emitted.node is None else emitted.node.step
    path, source = ("", "") if step is None else where(step)
    module = f", in {path}" if path else ""
    return None, f"{emitted.reason}{module}" + (f" ({source})" if source else "")


def _settings(request: Request) -> Settings:
    versions = tuple((name, importlib.metadata.version(name)) for name in ("jax", "flax"))
    device = jax.devices()[0]
    return Settings(
        layout=request.layout,
        inputs=request.inputs,
        input_shapes=tuple(tuple(x.shape) for x in request.subject.data),
        redraw=request.redraw,
        seed=tuple(int(n) for n in np.ravel(jax.random.key_data(request.key) if _is_new(request.key) else request.key)),
        thresholds=request.thresholds,
        versions=(("checkerjax", __version__), *versions),
        device=device.device_kind,
    )


def _is_new(key: jax.Array) -> bool:
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key)

"""For other people's tests: a model without a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax

from checkerjax._checks import one_of
from checkerjax.audits._finding import GRADES, Finding
from checkerjax.audits._report_words import plural

if TYPE_CHECKING:
    from checkerjax.audits._report import AuditReport


def assert_no_grid(
    fn: Any,
    *args: Any,
    max_grade: str | None = None,
    backward: bool = False,
    inputs: int | Sequence[int] | None = None,
    layout: str = "channel_last",
    redraw: int = 32,
    key: jax.Array | None = None,
    static: bool = False,
    loss: Callable[[Any], Any] | None = None,
    max_lattice_ratio: float = 1e-3,
    max_power_ratio: float = 1.2,
) -> AuditReport:
    """Fails a test if an audit finds a grid in the output of a model, or in its gradient where that is asked.

    Args:
      fn: a function or module, as for `audit`.
      args: what it is called with.
      max_grade: the worst grade that an operation may have: "uneven", "untied" or "tied" ("holes" allows all); None:
        operations may be as they like, if the output is clean.
      backward: whether the gradient of the input has to be clean too, and its operations within `max_grade`.
      inputs: positions in `args` of the data; None: the last floating array.
      layout: of the data, "channel_last" or "channel_first".
      redraw: draws of the parameters; 0 takes them as given, for a trained model.
      key: for the draws.
      static: nothing is run: `max_grade` alone decides, and an operation that is not understood fails.
      loss: of the output of `fn`, a number; its gradient has to be clean too.
      max_lattice_ratio: lines over DC under the flat probe, from which on they are a grid.
      max_power_ratio: largest over smallest phase power under the white probe, likewise.

    Returns:
      The report of `audit`.

    Raises:
      AssertionError: if there is a grid; the message is what there is, and the report's table.
      ValueError: for an unknown grade, or `static` without `max_grade`.

    Example:
      >>> import jax.numpy as jnp
      >>> def nearest(x):
      ...     return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
      >>> assert_no_grid(nearest, jnp.ones((1, 8, 8, 3)), key=jax.random.key(0)).verdict
      'clean'

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016.
    """
    op = "assert_no_grid"
    if max_grade is not None:
        one_of(op, "max_grade", max_grade, GRADES)
    elif static:
        raise ValueError(f"{op}: with static=True nothing is measured; say which max_grade is allowed, 'untied' say.")
    from checkerjax.audits._audit import audit

    report = audit(
        fn, *args, inputs=inputs, layout=layout, redraw=redraw, key=key, static=static, backward=backward, loss=loss,
        max_lattice_ratio=max_lattice_ratio, max_power_ratio=max_power_ratio,
    )  # fmt: skip
    faults = faults_of(report, max_grade=max_grade, backward=backward)
    if faults:
        raise AssertionError(f"{op}: {'; '.join(faults)}\n\n{report.table()}")
    return report


def faults_of(report: AuditReport, *, max_grade: str | None, backward: bool) -> list[str]:
    """What a report has that a test forbids, a few words each."""
    verdicts = [("the output has", report.verdict), ("the gradient of the loss has", report.loss_verdict)]
    verdicts += [("the gradient of the input has", report.backward_verdict)] if backward else []
    named = {"lines": "lines", "power": "unequal phase powers", "both": "lines and unequal phase powers"}
    faults = [f"{what} {named[verdict]}" for what, verdict in verdicts if verdict in named]
    if report.verdict is None and max_grade is None:
        faults.append("nothing was measured")
    if backward and report.verdict is not None and report.backward_verdict is None:
        faults.append("the gradient of the input was not measured")
    if max_grade is not None:
        faults += _worse(report.forward, max_grade, "forward")
        faults += _worse(report.backward, max_grade, "backward") if backward else []
        unknown = len(report.not_understood)
        if report.verdict is None and unknown:
            faults.append(f"{plural(unknown, 'operation')} not understood, and nothing was measured")
    return faults


def _worse(findings: Sequence[Finding], max_grade: str, direction: str) -> list[str]:
    known = [(i, f) for i, f in enumerate(findings, 1) if f.role != "unknown"]
    worse = [(i, f) for i, f in known if f.worst() < GRADES.index(max_grade)]
    return [f"{direction} {i} is {f.grade}, worse than {max_grade}" for i, f in worse]

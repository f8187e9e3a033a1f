"""What the audit needs of JAX and public JAX lacks: where an equation was written and under which names, what leaks.

Nothing here is imported from `jax._src`: these are attributes of the objects that public JAX hands out, so this is the
one file to look at when a new JAX moves them.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from jax.experimental.xla_metadata import set_xla_metadata

GRADIENT = "jvp"
REMAT_SCOPES = frozenset({"rematted_computation", "checkpoint"})  # names of JAX's own, not of the model's


class Frame(NamedTuple):
    """A line of Python that was being run when an equation was made."""

    file: str
    line: int


def frames(eqn: Any) -> list[Frame]:
    """The frames of an equation, innermost first; of a nested jaxpr only those inside the function that was traced."""
    traceback = eqn.source_info.traceback
    if traceback is None:
        return []
    return [Frame(frame.file_name, frame.line_num) for frame in traceback.frames]


def scope_names(name_stack: Any) -> list[str]:
    """The names of an equation's scopes, outermost first, without those of transforms and of rematerialisation.

    The gradient of a checkpointed function holds the names around it twice, once for each `jvp`: they are told once.
    """
    names: list[str] = []
    part: list[str] = []
    gradients = 0
    for element in (*name_stack.stack, None):
        if element is not None and type(element).__name__ != "Transform":
            if element.name not in REMAT_SCOPES:
                part.append(element.name)
            continue
        if gradients < 2 or part != names:
            names += part
        part = []
        gradients += element is not None and element.name == GRADIENT
    return names


def own_traces() -> contextlib.AbstractContextManager[Any]:
    """Within it a compiled function is traced anew, and what is traced stays unknown to its calls outside.

    Tracing is cached by the function and by the settings in force; a mark for the compiler is one of these.
    """
    return set_xla_metadata(checkerjax="audit")


def is_print(effect: Any) -> bool:
    """Whether an effect is that of `jax.debug`."""
    return type(effect).__name__ in ("DebugEffect", "OrderedDebugEffect")


def is_call_out(effect: Any) -> bool:
    """Whether an effect is that of `io_callback`."""
    return type(effect).__name__ in ("IOEffect", "OrderedIOEffect")


def is_mutable(aval: Any) -> bool:
    """Whether a value is an array that can be written to, of `jax.new_ref`."""
    return type(aval).__name__ == "AbstractRef"

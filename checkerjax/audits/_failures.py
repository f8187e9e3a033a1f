"""What went wrong inside an audited function, in one sentence, with the original error as its cause."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax

from checkerjax.audits._sources import users_line

LONGEST = 300  # letters of a message from elsewhere

_BRANCHES = (
    "needs the value of an array where its program is read: it branches on it, or takes a shape from it. Use jnp.where "
    "or jax.lax.cond, or bind the value with functools.partial if it is fixed"
)
SIDE_EFFECT = (
    "has a side effect: it keeps an array of one call (in an attribute, a list, a global) for another. Return it "
    "instead"
)
_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (
        jax.errors.TracerArrayConversionError,
        "turns an array into a NumPy one, which has no values where its program is read. Use jax.numpy inside, or bind "
        "the array with functools.partial if it is fixed",
    ),
    (
        jax.errors.NonConcreteBooleanIndexError,
        "has shapes that depend on data: it indexes with a mask. Use jnp.where with three arguments",
    ),
    (jax.errors.UnexpectedTracerError, SIDE_EFFECT),
    (jax.errors.TracerIntegerConversionError, _BRANCHES),
    (jax.errors.ConcretizationTypeError, _BRANCHES),  # of which the boolean one is a kind
)


@contextlib.contextmanager
def explained(op: str, what: str = "fn") -> Iterator[None]:
    """Raises what is raised within as a `TypeError` or `ValueError` of one sentence, the original as its cause."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if str(error).startswith(f"{op}: "):  # said already
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{op}: {what} {_sentence(error)}.") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, shortened; without its full stop."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = next((line for line in lines if line), "")
    return (text if len(text) <= LONGEST else text[:LONGEST] + " ...").rstrip(".")


def described(error: BaseException) -> str:
    """The type of an error and what it says."""
    text = first_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _sentence(error: Exception) -> str:
    line = users_line(error.__traceback__)
    at = f" ({line})" if line else ""
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice + at
    if type(error).__name__ == "InvalidRngError":  # Flax's; it may not be imported
        return f"needs random numbers: {first_line(error)}. Give key=jax.random.key(0), say{at}"
    shape = isinstance(error, TypeError) and "concrete values" in first_line(error)
    if shape and "trace" in first_line(error).lower():  # other sizes that are no numbers, a string say, are told as is
        return _BRANCHES + at
    return f"raised {described(error)}{at}"

"""What batch norm divides by, as both forms of a covariance ask about it."""

from __future__ import annotations

from typing import Any

import numpy as np

from checkerjax._checks import concrete


def check_positive(place: str, variance: Any) -> None:
    """Raises where there is nothing to divide by; what is traced is not known, and passes."""
    known = concrete(variance)
    if known is not None and not np.all(known > 0):
        raise ValueError(f"{place}: what comes in has no variance to be divided by. Give the layer an epsilon.")


def channels_differ(random: Any, variance: Any) -> bool:
    """Whether channels have means, and so divisors, that differ; `random` is the covariance of their means over them.

    Beyond rounding; what is traced may.
    """
    known = concrete(random / variance)
    return known is None or bool(np.abs(known).max() > (1e-9 if known.dtype == np.float64 else 1e-5))

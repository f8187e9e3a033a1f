"""What simulated generators taught: weights of the unknowns, and how far below the best a true hypothesis may score.

The table is made by `python -m experiments.forensics.calibrate`, from generators of which none is in the results.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import NamedTuple

import numpy as np

from checkerjax.images._forensics_model import Priors

PATH = pathlib.Path(__file__).with_name("_forensics_calibration.json")
NONE = "none"


class Calibration(NamedTuple):
    """The committed table."""

    priors: Priors
    temper: float  # exponent of the odds: neighbouring phases and channels are not quite independent
    levels: np.ndarray  # [Q], shares of generators
    quantiles: dict[str, np.ndarray]  # by the name of the true hypothesis, [Q]: how far below the best it scored


def label(kernel: int | None, stride: int | None) -> str:
    """Of a hypothesis, stacking left aside."""
    return NONE if kernel is None else f"k{kernel} s{stride}"


@functools.lru_cache(maxsize=1)
def load() -> Calibration:
    """The committed table, read once."""
    table = json.loads(PATH.read_text())
    priors = Priors(*(np.log(np.array(table["weights"][name])) for name in Priors._fields))
    quantiles = {name: np.array(values) for name, values in table["quantiles"].items()}
    return Calibration(priors, table["temper"], np.array(table["levels"]), quantiles)


def p_value(calibration: Calibration, name: str, behind: float) -> float:
    """Share of generators of this hypothesis that scored as far behind the best, or farther."""
    if behind <= 0:
        return 1.0
    return float(np.interp(behind, calibration.quantiles[name], 1 - calibration.levels))

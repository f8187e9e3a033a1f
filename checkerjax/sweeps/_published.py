"""Values measured from the images that the article published, and whether a generator explains them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Published(NamedTuple):
    """What was measured from the article's figure 9, one row of it: images of one generator before any training."""

    f2: tuple[float, ...]  # per image: power of the 3 lines of period 2 over all power but DC, RGB summed
    f4: tuple[float, ...]  # per image: the same for the 15 lines of period 4
    std: float  # of arctanh(pixel), both images
    phase_ratio: float | None  # largest over smallest of the 4 phase powers of arctanh(pixel), away from the border


# Measured from the PNGs of distillpub/post--deconv-checkerboard (CC-BY 4.0); by the number of last layers that are
# deconvolutions. The phase ratio was not measured for the row without deconvolutions.
PUBLISHED = {
    2: Published((0.110, 0.103), (0.351, 0.301), 0.32, 3.7),
    1: Published((0.193, 0.110), (0.197, 0.114), 0.35, 2.9),
    0: Published((0.0009, 0.0008, 0.0011), (0.0051, 0.0038, 0.0069), 0.58, None),
}


class JointTest(NamedTuple):
    """How unusual an observation is among simulations."""

    p_value: float  # share of simulations at least as far from the centre, the observation counted as one of them
    distance: float  # squared Mahalanobis distance of the observation


def joint_test(simulated: np.ndarray, observed: np.ndarray) -> JointTest:
    """Whether an observation of several numbers could be one more simulation.

    Mean and covariance are taken over simulations and observation together and the observation's Mahalanobis distance
    is ranked among all: if it were one more simulation every rank would be equally likely, so the p-value is exact at
    any number of simulations and for any distribution.

    Args:
      simulated: `[S, D]`; with S <= D nothing can be told apart, and the p-value is 1.
      observed: `[D]`.

    Returns:
      The p-value, at least 1 / (S + 1), and the squared distance.

    Raises:
      ValueError: for shapes that do not fit, no simulation, or values that are not finite.

    Example:
      >>> joint_test(np.arange(19.0).reshape(19, 1), np.array([100.0])).p_value
      0.05

    References:
      Vovk, Gammerman and Shafer, Algorithmic learning in a random world, 2005 (conformal p-values).
    """
    simulated, observed = np.asarray(simulated, float), np.asarray(observed, float)
    if simulated.ndim != 2 or observed.shape != simulated.shape[1:]:
        raise ValueError(
            f"joint_test: need simulated [S, D] and observed [D]; got {simulated.shape}, {observed.shape}."
        )
    if not len(simulated):
        raise ValueError("joint_test: needs at least one simulation.")
    everything = np.vstack([simulated, observed])
    if not np.isfinite(everything).all():
        raise ValueError("joint_test: simulated and observed must be finite.")
    centred = everything - everything.mean(0)
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(centred.T)))
    distances = np.einsum("si,ij,sj->s", centred, inverse, centred)
    # Equal distances (a tie to rounding) count as at least as far.
    at_least = distances >= distances[-1] * (1 - 1e-9)
    return JointTest(float(at_least.mean()), float(distances[-1]))


def fisher(p_values: list[float]) -> float:
    """One p-value for several independent tests (Fisher, Statistical methods for research workers, 1925).

    Raises:
      ValueError: for no p-values, or one that is not above 0 and at most 1.

    Example:
      >>> round(fisher([0.05, 0.05]), 4)
      0.0175
    """
    if not p_values or not all(0 < p <= 1 for p in p_values):
        raise ValueError(f"fisher: p_values must be at least one, each above 0 and at most 1; got {p_values}.")
    half = -sum(math.log(p) for p in p_values)
    return math.exp(-half) * math.fsum(half**i / math.factorial(i) for i in range(len(p_values)))

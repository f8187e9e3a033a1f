"""The covariance of a random field that repeats with a period, and its statistics."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from checkerjax._checks import AXES, PerAxis, as_int, per_axis
from checkerjax.expectations import _statistics as statistics
from checkerjax.expectations._lattice_distribution import RatioDistribution, ratio_distribution

Array = Any  # NumPy's, float64; or JAX's, of what was differentiated


@dataclasses.dataclass(frozen=True)
class PeriodicCovariance:
    """Second moments of a random field on a torus of `size` pixels, as `covariance` gives them: E[x(n) x(n + t)].

    Expectations are over weights and inputs, of one channel (the mean over channels where they differ). Moments are
    raw: nothing is centred. Spectra have the units of `spectra.power_spectrum` of a field of `size`, so that they are
    what the mean over many seeds of these functions tends to.
    """

    near: Array  # [*P, *W]: phase of n, lag t in FFT order on a smaller torus W
    far: Array  # [*P, *P]: the same for lags beyond W, which matter by their phase only
    between: Array  # [*P, *P]: the same for two images, with independent inputs and one network
    mean: Array  # [*P]: E[x(n)]
    size: tuple[int, ...]  # M, a multiple of W
    channels: int
    gaussian: bool  # the field is Gaussian in the limit of many channels; if not, there are no distributions
    alike: bool  # all channels have these moments, not only their mean
    approximate: bool = False  # not the limit, but some per cent from it: see `covariance` on batch norm

    @property
    def period(self) -> tuple[int, ...]:
        """P, one per axis: phases are counted from the first output."""
        return tuple(self.near.shape[: self.near.ndim // 2])

    @property
    def own(self) -> Array:
        """`[*P, *M]`: E[x(n) x(n + t)] for n = p mod P and every lag t of the torus, in FFT order."""
        return statistics.unfolded(self.near, self.far, self.size)

    def phase_powers(self) -> Array:
        """E[x(n)^2] for each phase, `[*P]`: the expectation of `spectra.phase_powers`."""
        return self.near[(..., *(0,) * len(self.size))]

    def power_ratio(self) -> Array:
        """Largest over smallest expected phase power; inf where one is 0, and 1 (by definition) where all are."""
        return statistics.power_ratio(self.phase_powers())

    def power_spectrum(self) -> Array:
        """`[*M]`: the expectation of `spectra.power_spectrum(x).power`, in FFT order."""
        return statistics.power_spectrum(self.near, self.far, self.size)

    def line_powers(self, *, period: PerAxis | None = None, shared: bool = False) -> Array:
        """Expected power at each frequency m / Q of a period Q, `[*Q]`, DC first: of `spectra.line_powers`.

        Args:
          period: Q, a divisor of the size; that of the field if None.
          shared: only what images of one network share, without the floor that a finite field has at every frequency;
            the limit for large fields.

        Raises:
          ValueError: for a period that does not divide the size.
        """
        return statistics.line_powers(self, self._period("line_powers", period), shared)

    def lattice_ratio(self, *, period: PerAxis | None = None, primitive: bool = False, shared: bool = False) -> Array:
        """Expected line power over expected DC power, as `spectra.lattice_ratio`: a ratio of expectations.

        Args:
          period: as in `line_powers`; a field of period 1 has no lines, so 0.
          primitive: count the primitive lines only.
          shared: as in `line_powers`.

        Raises:
          ValueError: as `line_powers`.
        """
        return statistics.lattice_ratio(self, self._period("lattice_ratio", period), primitive, shared)

    def lattice_share(self, *, period: PerAxis | None = None, primitive: bool = False, shared: bool = False) -> Array:
        """Expected line power over expected power at all frequencies but DC, as `spectra.lattice_share`.

        Args:
          period: as in `line_powers`; a field of period 1 has no lines, so 0.
          primitive: count the primitive lines only.
          shared: as in `line_powers`.

        Raises:
          ValueError: as `line_powers`.
        """
        return statistics.lattice_share(self, self._period("lattice_share", period), primitive, shared)

    def cyclic_spectrum(self) -> Array:
        """Complex `[*P, *M]`: the expectation of `spectra.cyclic_spectrum`; entry 0 is the power spectrum."""
        return statistics.cyclic_spectrum(self.near, self.far, self.size)

    def ratio_distribution(
        self,
        *,
        statistic: str = "lattice_ratio",
        channels: int | None = None,
        images: int = 1,
        period: PerAxis | None = None,
        primitive: bool = False,
    ) -> RatioDistribution:
        """The distribution over seeds of a lattice ratio or share, for a Gaussian field.

        Args:
          statistic: "lattice_ratio" or "lattice_share", as in `spectra`: energies are summed over channels and images.
          channels: independent channels that are summed; those of the field if None.
          images: of one network, with independent inputs, that are summed. More than 1 needs many channels in the
            input too: of few, images that differ meet weights that the closed form takes for independent.
          period: as in `line_powers`.
          primitive: count the primitive lines only.

        Raises:
          ValueError: if the field is not Gaussian, its channels are not alike, or it has traced values.
        """
        op = "ratio_distribution"
        channels = as_int(op, "channels", self.channels if channels is None else channels, minimum=1)
        images = as_int(op, "images", images, minimum=1)
        return ratio_distribution(self, statistic, channels, images, self._period(op, period), primitive)

    def _period(self, op: str, period: PerAxis | None) -> tuple[int, ...]:
        if period is None:
            return self.period
        found = per_axis(op, "period", period, len(self.size))
        for axis, p, n in zip(AXES[len(self.size)], found, self.size):
            if n % p:
                raise ValueError(f"{op}: period must divide the size; got {p} and {n} on axis {axis}.")
        return found


jax.tree_util.register_dataclass(
    PeriodicCovariance,
    data_fields=["near", "far", "between", "mean"],
    meta_fields=["size", "channels", "gaussian", "alike", "approximate"],
)

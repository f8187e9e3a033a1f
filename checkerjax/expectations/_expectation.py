"""What `expect` gives back: numbers by period, a table, JSON, a figure."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from checkerjax.expectations._conditions_report import Conditions
from checkerjax.expectations._covariance import PeriodicCovariance
from checkerjax.stacks._geometry import stack_periods, stack_size
from checkerjax.stacks._layers import Stack
from checkerjax.stacks._text import format_stack

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BINS = 2**24  # of a cyclic spectrum: some hundred megabytes
MOST_PHASES = 256  # of a field whose distribution over seeds is worked out: some seconds
NOTHING = 1e-14  # of a ratio or share: what rounding leaves of 0


class PeriodNumbers(NamedTuple):
    """Of the primitive lines of one period: those that no shorter period has."""

    period: int
    flat_ratio: float | None  # flat input: their expected energy over that of DC
    white_share: float | None  # white input: their expected energy over that of all frequencies but DC
    cyclic_share: float | None  # white input: their |cyclic spectrum|, over the power spectrum, both summed over f


class Seeds(NamedTuple):
    """How the lattice ratio of a flat input is distributed over seeds, for the channels that come out."""

    channels: int
    low: float  # 2.5% of seeds stay below
    median: float
    high: float  # 97.5% of seeds stay below


class Gradient(NamedTuple):
    """The gradient of the input for white input, of many channels and away from borders."""

    white: PeriodicCovariance  # for a white gradient of the output
    flat: PeriodicCovariance  # for a flat one


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Expectation:
    """A stack at random initialisation, in closed form. Printing it gives a table."""

    stack: Stack
    size: tuple[int, ...]  # of the input; () for a latent
    ndim: int
    white: PeriodicCovariance | None  # the output for white input, of many channels and away from borders
    flat: PeriodicCovariance | None  # for flat input
    gradient: Gradient | None
    moments: np.ndarray | None  # E[y(n)^2] for an input of mean square 1, exact, borders included: [*o]
    conditions: Conditions | None  # of the linear part
    gradient_conditions: Conditions | None = None  # the same of the input's gradient, where that has a period
    missing: Mapping[str, str] = dataclasses.field(default_factory=dict)  # by name, why one of these is None

    @functools.cached_property
    def period(self) -> tuple[int, ...]:
        """Of the output, one per axis; () where there is none (`centres="corners"`)."""
        try:
            return stack_periods("expect", self.stack, self.ndim)[1]
        except ValueError:
            return ()

    @property
    def approximate(self) -> tuple[str, ...]:
        """Which of "white", "flat" and "gradient" are some per cent from the limit: see `covariance` on batch norm."""
        gradient = None if self.gradient is None else self.gradient.white
        fields = {"white": self.white, "flat": self.flat, "gradient": gradient}
        return tuple(name for name, field in fields.items() if field is not None and field.approximate)

    @property
    def lines(self) -> PeriodicCovariance | None:
        """The output whose lines are looked at: for flat input, or for a latent."""
        return self.white if not self.size else self.flat

    @functools.cached_property
    def periods(self) -> tuple[PeriodNumbers, ...]:
        """The numbers of every period above 1 that the output has, in rising order."""
        whole = math.lcm(*self.period)
        divisors = [q for q in range(2, whole + 1) if whole % q == 0]
        return tuple(self._numbers(q) for q in divisors if any(p % q == 0 for p in self.period))

    def _numbers(self, period: int) -> PeriodNumbers:
        each = tuple(math.gcd(period, p) for p in self.period)
        flat = None
        if self.lines is not None:
            flat = float(self.lines.lattice_ratio(period=each, primitive=True, shared=not self.size))
        white = cyclic = None
        if self.white is not None and self.size:
            white = float(self.white.lattice_share(period=each, primitive=True))
            cyclic = _cyclic_share(self.white, period)
        return PeriodNumbers(period, *map(_without_rounding, (flat, white, cyclic)))

    @functools.cached_property
    def seeds(self) -> Seeds | None:
        """Of the lattice ratio of a flat input; None where it has no closed form, is 0, or has too many phases."""
        field = self.lines
        if field is None or not (field.gaussian and field.alike) or math.prod(field.period) > MOST_PHASES:
            return None
        if not field.lattice_ratio() > 0:
            return None
        distribution = field.ratio_distribution()
        return Seeds(field.channels, *(distribution.quantile(p) for p in (0.025, 0.5, 0.975)))

    def to_dict(self) -> dict[str, Any]:
        """All numbers but the arrays, of plain types that JSON has; a ratio over nothing is the text "inf"."""
        summary = {
            "stack": format_stack(self.stack),
            "size": list(self.size),
            "output": list(stack_size("expect: ", self.stack, self.size)),
            "period": list(self.period),
            "lattice_ratio": None if self.lines is None else float(self.lines.lattice_ratio(shared=not self.size)),
            "lattice_ratio_of_seeds": self.seeds and self.seeds._asdict(),
            "power_ratio": None if self.white is None else float(self.white.power_ratio()),
            "gradient_power_ratio": self.gradient and float(self.gradient.white.power_ratio()),
            "gradient_lattice_ratio": self.gradient and float(self.gradient.flat.lattice_ratio()),
            "phase_powers": None if self.white is None else np.asarray(self.white.phase_powers()).tolist(),
            "periods": [row._asdict() for row in self.periods],
            "exact_second_moments": self.moments is not None,
            "conditions": self.conditions and self.conditions.to_dict(),
            "gradient_conditions": self.gradient_conditions and self.gradient_conditions.to_dict(),
            "approximate": list(self.approximate),
            "missing": dict(self.missing),
        }
        return _plain(summary)

    def __str__(self) -> str:
        from checkerjax.expectations._expectation_table import table

        return table(self)

    def __repr__(self) -> str:
        return f"<Expectation of {format_stack(self.stack)}; print it, or see to_dict() and figure()>"

    def figure(self) -> Figure:
        """Draws spectra, phases and lines: `plots.expectation_figure`.

        Raises:
          ValueError: if there is nothing in closed form to draw.
          ModuleNotFoundError: without matplotlib.
        """
        from checkerjax.plots import expectation_figure

        return expectation_figure(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _without_rounding(value: float | None) -> float | None:
    return 0.0 if value is not None and value < NOTHING else value


def _orders(periods: tuple[int, ...]) -> np.ndarray:
    """`[*P]`: the period that the line m / P belongs to, 1 of DC."""
    each = np.meshgrid(*[p // np.gcd(np.arange(p), p) for p in periods], indexing="ij")
    return np.lcm.reduce(each)


def _cyclic_share(field: PeriodicCovariance, period: int) -> float | None:
    """Sum of |S^m(f)| over f and the primitive m of a period, over the sum of the power spectrum."""
    if math.prod(field.period) * math.prod(field.size) > MOST_BINS:
        return None
    cyclic = np.abs(np.asarray(field.cyclic_spectrum()))
    orders = _orders(field.period)
    return float(cyclic[orders == period].sum() / cyclic[(0,) * orders.ndim].sum())

"""What one row of a sweep is: a stack, what goes in, which direction is measured, and where."""

from __future__ import annotations

import dataclasses
import math

from checkerjax._checks import as_int, one_of, per_axis
from checkerjax.stacks import Stack, as_stack, normal_count, output_size

DIRECTIONS = ("forward", "gradient")
INPUTS = ("latent", "probe", "white", "photo")


@dataclasses.dataclass(frozen=True)
class Config:
    """One configuration of a sweep over random initialisations.

    Forward measures the output; gradient measures d(output . cotangent) / d(input), with a cotangent that is constant
    in space for the lines and an independent N(0, 1) at every position for the phase powers.

    Attributes:
      name: how tables and figures call it; unique in a grid.
      stack: layers or their text.
      direction: "forward" or "gradient".
      input: "latent" (uniform on [0, 1), as the article's generators take it), "probe" (forward only: flat for the
        lines, white for the phase powers), "white" (independent N(0, 1)) or "photo" (tiles, values in [-1, 1]).
      size: spatial size of the input (samples, an int or one per axis); of no meaning for "latent".
      channels: of the input.
      width: features of learned layers without their own, as in `stacks.init`.
      initialiser: as in `stacks.init`.
      batch: inputs that go through together (batch normalisation sees them all).
      measured: how many of them are measured, at most `batch`.
      periods: of the line statistics, each dividing the last, which is also the period of the phase powers.
      margin: samples left out at every border, a multiple of the last period: of the phase powers always, and of the
        lines unless the input is "latent" (then they are of whole images, as they were read off published ones).
    """

    name: str
    stack: Stack | str
    direction: str = "forward"
    input: str = "latent"
    size: int | tuple[int, ...] = 64
    channels: int = 3
    width: int | tuple[int, ...] = 64
    initialiser: str = "lecun"
    batch: int = 2
    measured: int = 2
    periods: tuple[int, ...] = (2,)
    margin: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"Config: name must be a string; got {self.name!r}.")
        op = f"Config {self.name!r}"
        object.__setattr__(self, "stack", as_stack(op, self.stack))
        one_of(op, "direction", self.direction, DIRECTIONS)
        one_of(op, "input", self.input, INPUTS)
        self._normalise(op)
        if self.measured > self.batch:
            raise ValueError(f"{op}: measured must be at most batch={self.batch}; got {self.measured}.")
        self._check_periods(op)
        if self.direction == "gradient" and self.input in ("latent", "probe"):
            raise ValueError(f"{op}: a gradient is taken at input 'white' or 'photo'; got {self.input!r}.")
        self._check_field(op)
        try:
            normal_count(self.stack, channels=self.channels, width=self.width, initialiser=self.initialiser)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{op}: {error}") from error

    def _normalise(self, op: str) -> None:
        """Plain ints and tuples, so that a configuration can be hashed and stored."""
        for name, minimum in (("channels", 1), ("batch", 1), ("measured", 1), ("margin", 0)):
            object.__setattr__(self, name, as_int(op, name, getattr(self, name), minimum=minimum))
        if self.input != "latent":
            object.__setattr__(self, "size", per_axis(op, "size", self.size, 2))
        if not isinstance(self.width, int):
            width = self.width if isinstance(self.width, (tuple, list)) else as_int(op, "width", self.width)
            object.__setattr__(self, "width", tuple(width) if isinstance(width, (tuple, list)) else width)

    def _check_periods(self, op: str) -> None:
        if not isinstance(self.periods, tuple):
            raise TypeError(f"{op}: periods must be a tuple of ints; got {self.periods!r}.")
        if not self.periods:
            raise ValueError(f"{op}: periods must be at least one; got none.")
        periods = tuple(as_int(op, "each of periods", period, minimum=2) for period in self.periods)
        object.__setattr__(self, "periods", periods)
        if any(self.period % period for period in self.periods) or len(set(self.periods)) < len(self.periods):
            raise ValueError(f"{op}: periods must each divide the last, none twice; got {self.periods}.")
        if self.margin % self.period:
            raise ValueError(f"{op}: margin must be a multiple of the period {self.period}; got {self.margin}.")

    def _check_field(self, op: str) -> None:
        try:
            out = output_size(self.stack, self.input_size)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{op}: {error}") from error
        field = out if self.direction == "forward" else self.input_size
        if len(field) != 2:
            raise ValueError(f"{op}: sweeps measure fields with two spatial axes; got {field}.")
        if any(n % self.period or n - 2 * self.margin < self.period for n in field):
            raise ValueError(
                f"{op}: the measured field {field} must be a multiple of the period {self.period} and hold one within "
                f"its margin of {self.margin}; change size, periods or margin."
            )

    @property
    def period(self) -> int:
        """Samples of the longest period, on which the phase powers are taken."""
        return self.periods[-1]

    @property
    def input_size(self) -> tuple[int, ...]:
        """Spatial sizes of the input; () for a latent."""
        if self.input == "latent":
            return ()
        return self.size if isinstance(self.size, tuple) else (self.size,) * 2

    @property
    def field_size(self) -> tuple[int, ...]:
        """Spatial sizes of the field that is measured."""
        return output_size(self.stack, self.input_size) if self.direction == "forward" else self.input_size

    @property
    def whole_lines(self) -> bool:
        """Whether lines are taken from whole images, borders too."""
        return self.input == "latent"

    @property
    def input_count(self) -> int:
        """Numbers that one seed's inputs are made of."""
        return self.batch * self.channels * math.prod(self.input_size)

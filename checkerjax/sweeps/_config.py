"""What one row of a sweep is: a stack, what goes in, which direction is measured, and where."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from checkerjax._checks import as_int, one_of, per_axis
from checkerjax.stacks import Conv, Deconv, ResizeConv, Stack, as_stack, normal_count, output_channels, output_size
from checkerjax.sweeps._model import implied_count, implied_model, stack_model
from checkerjax.sweeps._statistics import Model

DIRECTIONS = ("forward", "gradient", "weights")
INPUTS = ("latent", "probe", "constant", "white", "pink", "photo")
WEIGHTS = ("drawn", "implied")
COTANGENTS = ("probe", "constant", "white", "mse", "logistic")


@dataclasses.dataclass(frozen=True)
class Config:
    """One configuration of a sweep over random initialisations.

    Attributes:
      name: how tables and figures call it; unique in a grid.
      stack: layers or their text.
      direction: what is measured. "forward": the output. "gradient": d(output . cotangent) / d(input). "weights": the
        same over d(kernel), the taps of the last learned layer with a stride as a field, cropped to whole periods.
      input: "latent" (uniform on [0, 1), as the article's generators take it), "probe" (forward only: flat for the
        lines, white for the phase powers), "constant" (in space; N(0, 1) for each channel), "white" (independent
        N(0, 1)), "pink" (noise with power 1 / f^2, as photographs have) or "photo" (tiles, values in [-1, 1]).
      cotangent: of gradients. "probe": constant for the lines, white for the phase powers; "constant"; "white"; or that
        of a loss: "mse", half the squared distance to pink noise, and "logistic", the generator's loss of a GAN,
        log(1 + exp(-output)) at every position, of which the output is the score.
      size: spatial size of the input (samples, an int or one per axis); of no meaning for "latent".
      channels: of the input.
      width: features of learned layers without their own, as in `stacks.init`.
      initialiser: as in `stacks.init`.
      weights: "drawn", or "implied": deconvolutions that have far fewer positions than weights draw their
        pre-activations, which given their input are Gaussian. Forward only, of one input; exact in distribution, and a
        seed's numbers are others.
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
    cotangent: str = "probe"
    size: int | tuple[int, ...] = 64
    channels: int = 3
    width: int | tuple[int, ...] = 64
    initialiser: str = "lecun"
    weights: str = "drawn"
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
        one_of(op, "cotangent", self.cotangent, COTANGENTS)
        one_of(op, "weights", self.weights, WEIGHTS)
        self._normalise(op)
        if self.measured > self.batch:
            raise ValueError(f"{op}: measured must be at most batch={self.batch}; got {self.measured}.")
        self._check_periods(op)
        if self.weights == "implied" and (self.direction != "forward" or self.input == "probe"):
            raise ValueError(f"{op}: weights='implied' is for direction 'forward' and one input, not 'probe'.")
        if self.weights == "implied" and not isinstance(self.width, int):
            raise ValueError(f"{op}: weights='implied' needs one width; got {self.width}.")
        if (self.input == "probe" and self.direction != "forward") or self.field_of_latent:
            raise ValueError(
                f"{op}: a gradient is taken at input 'constant', 'white', 'pink' or 'photo'; got {self.input!r}."
            )
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
        if len(out) != 2:
            raise ValueError(f"{op}: sweeps measure fields with two spatial axes; got {out}.")
        if self.direction == "weights":
            self._check_taps(op)
            return
        field = out if self.direction == "forward" else self.input_size
        if any(n % self.period or n - 2 * self.margin < self.period for n in field):
            raise ValueError(
                f"{op}: the measured field {field} must be a multiple of the period {self.period} and hold one within "
                f"its margin of {self.margin}; change size, periods or margin."
            )

    def _check_taps(self, op: str) -> None:
        if self.margin:
            raise ValueError(f"{op}: direction 'weights' measures all taps; margin must be 0, got {self.margin}.")
        if self.measured_layer is None:
            raise ValueError(f"{op}: direction 'weights' needs a conv, deconv or resize layer with a stride.")
        if min(self.taps) < self.period:
            raise ValueError(
                f"{op}: direction 'weights' needs kernels of at least one period, {self.period}; got {self.taps}."
            )

    @property
    def field_of_latent(self) -> bool:
        """Whether the gradient asked for has no space."""
        return self.direction == "gradient" and self.input == "latent"

    @property
    def measured_layer(self) -> int | None:
        """Index of the last learned layer with a stride."""
        for i, layer in reversed(list(enumerate(self.stack))):
            up = layer.scale if isinstance(layer, ResizeConv) else getattr(layer, "stride", 1)
            if isinstance(layer, (Conv, Deconv, ResizeConv)) and np.max(up) > 1:
                return i
        return None

    @property
    def taps(self) -> tuple[int, ...]:
        """Kernel size of the measured layer."""
        assert self.measured_layer is not None
        layer: Any = self.stack[self.measured_layer]
        return per_axis("Config", "kernel", layer.kernel, 2)

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
        if self.direction == "weights":
            return tuple(k // self.period * self.period for k in self.taps)
        return output_size(self.stack, self.input_size) if self.direction == "forward" else self.input_size

    @property
    def images(self) -> int:
        """Fields of one seed that are measured: the kernel's gradient is one for the whole batch."""
        return 1 if self.direction == "weights" else self.measured

    @property
    def field_channels(self) -> int:
        """Channels of the field that is measured."""
        if self.direction == "forward":
            return self.output_shape[-1]
        if self.direction == "weights":
            assert self.measured_layer is not None
            before = self.stack[: self.measured_layer]
            inputs = output_channels(before, self.channels, width=self.width) if before else self.channels
            after = self.stack[: self.measured_layer + 1]
            return inputs * output_channels(after, self.channels, width=self.width)
        return self.channels

    @property
    def output_shape(self) -> tuple[int, ...]:
        """`(batch, *size, channels)` of what the stack gives."""
        channels = output_channels(self.stack, self.channels, width=self.width)
        return (self.batch, *output_size(self.stack, self.input_size), channels)

    @property
    def weight_count(self) -> int:
        """Normals that one seed's parameters are made of."""
        if self.weights == "implied":
            return implied_count(as_stack("sweep", self.stack), self.initialisation, self._input_shape)
        return normal_count(self.stack, **self.initialisation)

    @property
    def _input_shape(self) -> tuple[int, ...]:
        return (self.batch, *self.input_size, self.channels)

    @property
    def initialisation(self) -> dict[str, Any]:
        """The arguments of `stacks.init`."""
        return {"channels": self.channels, "ndim": 2, "width": self.width, "initialiser": self.initialiser}

    def model(self) -> Model:
        """The stack as a function of its parameters."""
        if self.weights == "implied":
            return implied_model(as_stack("sweep", self.stack), self.initialisation, self._input_shape)
        return stack_model(as_stack("sweep", self.stack), self.initialisation, self.measured_layer)

    @property
    def whole_lines(self) -> bool:
        """Whether lines are taken from whole images, borders too."""
        return self.input == "latent" and self.direction == "forward"

    @property
    def input_count(self) -> int:
        """Numbers that one seed's inputs are made of."""
        return self.batch * self.channels * math.prod(self.input_size)

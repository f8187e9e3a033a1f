"""What a stack is made of: small frozen descriptions, read by `init`, `apply`, `count` and the text form.

Sizes are an int, for a stack of any rank, or a tuple with one per spatial axis. `features` is the number of output
channels; None takes the `width` given to `init`. `initialiser` overrides the one given to `init`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

from checkerjax._checks import AXES, LAYOUTS, as_int, one_of

Size = int | tuple[int, ...]
PaddingSpec = str | int | tuple[tuple[int, int], ...]
PAD_MODES = ("zeros", "edge", "reflect", "symmetric", "wrap")
UPSAMPLE_METHODS = ("nearest", "linear", "cubic", "lanczos3", "zeros")
CENTRES = ("half_pixel", "sample", "corners")
ORDERS = ("depth_first", "channel_first")
INITIALISERS = ("lecun", "he", "icnr")
_NORMAL = re.compile(r"normal\(([^()]+)\)")


class Layer:
    """Base of all descriptions: fields are checked and put in normal form when one is made."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            value = getattr(self, field.name)
            check = _CHECKS.get((type(self).__name__, field.name)) or _CHECKS.get(("", field.name))
            if check is not None:
                object.__setattr__(self, field.name, check(type(self).__name__, field.name, value))
        self._check_together()

    def _check_together(self) -> None:
        """Hook for what no field can say alone: ranks agree, names go together."""
        ranks = {name: len(v) for name, v in vars(self).items() if name in SIZES and isinstance(v, tuple)}
        if isinstance(getattr(self, "padding", None), tuple):
            ranks["padding"] = len(self.padding)  # pyright: ignore[reportAttributeAccessIssue]
        if getattr(self, "method", "") == "zeros" and getattr(self, "centres", "") == "corners":
            raise ValueError(
                f"{type(self).__name__}: method='zeros' keeps samples in place; centres='corners' does not."
            )
        if len(set(ranks.values())) > 1:
            raise ValueError(f"{type(self).__name__}: fields disagree on the number of spatial axes; got {ranks}.")


@dataclasses.dataclass(frozen=True)
class Conv(Layer):
    """A learned convolution, `ops.conv` after padding in `pad_mode`."""

    kernel: Size
    stride: Size = 1
    features: int | None = None
    padding: PaddingSpec = "SAME"
    pad_mode: str = "zeros"
    dilation: Size = 1
    groups: int = 1
    initialiser: str | None = None


@dataclasses.dataclass(frozen=True)
class Deconv(Layer):
    """A learned transposed convolution, `ops.conv_transpose`. The initialiser "icnr" ties its phases."""

    kernel: Size
    stride: Size = 1
    features: int | None = None
    padding: PaddingSpec = "SAME"
    output_padding: Size = 0
    dilation: Size = 1
    groups: int = 1
    initialiser: str | None = None


@dataclasses.dataclass(frozen=True)
class ResizeConv(Layer):
    """A fixed upsampling, then a learned convolution, `ops.resize_conv`."""

    kernel: Size
    scale: Size = 2
    method: str = "nearest"
    features: int | None = None
    padding: PaddingSpec = "SAME"
    pad_mode: str = "zeros"
    centres: str = "half_pixel"
    initialiser: str | None = None


@dataclasses.dataclass(frozen=True)
class SubPixel(Layer):
    """A learned convolution, then depth to space, `ops.subpixel_conv`. The initialiser "icnr" ties its phases."""

    kernel: Size
    scale: Size = 2
    features: int | None = None
    padding: PaddingSpec = "SAME"
    order: str = "depth_first"
    initialiser: str | None = None


@dataclasses.dataclass(frozen=True)
class Dense(Layer):
    """A learned linear map from a latent `[N, C]` to a field of `size`, `[N, *size, features]`."""

    size: Size
    features: int | None = None
    initialiser: str | None = None


@dataclasses.dataclass(frozen=True)
class Bias(Layer):
    """A learned number per channel, drawn from N(0, std^2); zero by default."""

    std: float = 0.0


@dataclasses.dataclass(frozen=True)
class Relu(Layer):
    """max(x, 0)."""


@dataclasses.dataclass(frozen=True)
class LeakyRelu(Layer):
    """x where positive, slope * x elsewhere."""

    slope: float = 0.2


@dataclasses.dataclass(frozen=True)
class Tanh(Layer):
    """The hyperbolic tangent."""


@dataclasses.dataclass(frozen=True)
class Erf(Layer):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""


@dataclasses.dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch statistics: mean 0 and standard deviation `std`, over batch and space, or over the batch for each unit.

    `per="unit"` is what a normalised dense layer does before it is reshaped to a map. With `std` it is also how a
    weight-normalised layer starts (Salimans and Kingma, arXiv:1602.07868, data-dependent initialisation).
    """

    std: float = 1.0
    per: str = "channel"
    epsilon: float = 1e-5


@dataclasses.dataclass(frozen=True)
class MaxPool(Layer):
    """The maximum of each window, `ops.downsample(method="max")`."""

    kernel: Size = 2
    stride: Size = 2
    padding: PaddingSpec = "VALID"


@dataclasses.dataclass(frozen=True)
class AvgPool(Layer):
    """The mean of each window, padded zeros counted, `ops.downsample(method="average")`."""

    kernel: Size = 2
    stride: Size = 2
    padding: PaddingSpec = "VALID"


@dataclasses.dataclass(frozen=True)
class L2Pool(Layer):
    """The root of the Hann-weighted mean of squares over 2 stride - 1 samples, `ops.downsample(method="l2")`."""

    stride: Size = 2
    padding: PaddingSpec = "SAME"


@dataclasses.dataclass(frozen=True)
class Blur(Layer):
    """Binomial taps, then every stride-th sample, `ops.downsample(method="blur")`."""

    kernel: Size = 3
    stride: Size = 1
    padding: PaddingSpec = "SAME"
    pad_mode: str = "reflect"


@dataclasses.dataclass(frozen=True)
class Hold(Layer):
    """The fixed smooth layer of Kinoshita and Kiya (arXiv:2002.02117), whole for every scale and order: `hold_taps`.

    After an upsampling by `scale`, or before a convolution of that stride, it makes all phase gains equal.
    """

    scale: Size = 2
    order: int = 0
    padding: PaddingSpec = "SAME"
    pad_mode: str = "zeros"


@dataclasses.dataclass(frozen=True)
class Upsample(Layer):
    """A fixed upsampling, `ops.upsample`."""

    scale: Size = 2
    method: str = "nearest"
    centres: str = "half_pixel"


@dataclasses.dataclass(frozen=True)
class Residual(Layer):
    """x + stack(x); the inner stack keeps the shape."""

    stack: tuple[Layer, ...]


@dataclasses.dataclass(frozen=True)
class Parallel(Layer):
    """Several stacks on one input, their outputs added ("sum") or their channels joined ("concat")."""

    stacks: tuple[tuple[Layer, ...], ...]
    combine: str = "sum"


Stack = tuple[Layer, ...]
StackLike = str | Layer | Sequence[Layer]
LEARNED = (Conv, Deconv, ResizeConv, SubPixel, Dense)
POINTWISE = (Bias, Relu, LeakyRelu, Tanh, Erf, BatchNorm)
LAYERS = (
    Conv, Deconv, ResizeConv, SubPixel, Dense, Bias, Relu, LeakyRelu, Tanh, Erf, BatchNorm,
    MaxPool, AvgPool, L2Pool, Blur, Hold, Upsample, Residual, Parallel,
)  # fmt: skip


def check_stack(op: str, stack: object, name: str = "stack") -> Stack:
    """One layer or a sequence of layers as a tuple; TypeError for anything else."""
    layers = (stack,) if isinstance(stack, Layer) else stack
    if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence):
        raise TypeError(f"{op}: {name} must be a layer or a sequence of layers; got {stack!r}.")
    if not layers:
        raise ValueError(f"{op}: {name} must have at least one layer.")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{op}: {name}[{i}] must be a layer; got {layer!r}.")
    return tuple(layers)


def normal_std(initialiser: str) -> float | None:
    """The standard deviation in "normal(std)", or None for another initialiser."""
    match = _NORMAL.fullmatch(initialiser)
    return float(match[1]) if match else None


def check_initialiser(op: str, name: str, value: Any) -> Any:
    """`value` if it is None or names an initialiser."""
    if value is None:
        return None
    if isinstance(value, str) and (match := _NORMAL.fullmatch(value)):
        try:
            std = float(match[1])
        except ValueError:
            std = math.nan
        if not (math.isfinite(std) and std > 0):
            raise ValueError(f"{op}: {name} 'normal(std)' needs a positive std; got {value!r}.")
        return f"normal({std!r})"
    return one_of(op, name, value, (*INITIALISERS, "normal(std)") if value != "normal(std)" else INITIALISERS)


def _size(minimum: int):
    def check(op: str, name: str, value: Any) -> Size:
        if not isinstance(value, (tuple, list)):
            return as_int(op, name, value, minimum=minimum)
        if len(value) not in LAYOUTS:
            raise ValueError(f"{op}: {name} must be an int or 1 to 3 ints; got {value!r}.")
        sizes = tuple(as_int(op, f"{name} on axis {a}", v, minimum=minimum) for a, v in zip(AXES[len(value)], value))
        return sizes[0] if len(sizes) == 1 else sizes

    return check


def _optional_int(op: str, name: str, value: Any) -> int | None:
    return None if value is None else as_int(op, name, value, minimum=1)


def _padding(op: str, name: str, value: Any) -> PaddingSpec:
    if isinstance(value, str):
        return one_of(op, name, value.upper(), ("SAME", "VALID"))
    if not isinstance(value, (tuple, list)):
        return as_int(op, name, value, minimum=0)
    if len(value) not in LAYOUTS or any(not isinstance(p, (tuple, list)) or len(p) != 2 for p in value):
        raise ValueError(
            f"{op}: {name} must be 'SAME', 'VALID', an int or one (low, high) pair per axis; got {value!r}."
        )
    pairs = []
    for low, high in value:
        pairs.append((as_int(op, name, low, minimum=0), as_int(op, name, high, minimum=0)))
    return tuple(pairs)


def _number(minimum: float, *, above: bool = False):
    def check(op: str, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{op}: {name} must be a number; got {value!r}.")
        if not math.isfinite(value) or value < minimum or (above and value == minimum):
            bound = f"above {minimum:g}" if above else f"at least {minimum:g}"
            raise ValueError(f"{op}: {name} must be finite and {bound}; got {value}.")
        return float(value)

    return check


def _name(choices: tuple[str, ...]):
    return lambda op, name, value: one_of(op, name, value, choices)


SIZES = ("kernel", "stride", "scale", "size", "dilation", "output_padding")
_CHECKS = {
    **{("", name): _size(1) for name in ("kernel", "stride", "scale", "size", "dilation")},
    ("", "output_padding"): _size(0),
    ("", "features"): _optional_int,
    ("", "groups"): lambda op, name, value: as_int(op, name, value, minimum=1),
    ("", "padding"): _padding,
    ("", "pad_mode"): _name(PAD_MODES),
    ("", "method"): _name(UPSAMPLE_METHODS),
    ("", "centres"): _name(CENTRES),
    ("", "order"): _name(ORDERS),
    ("Hold", "order"): lambda op, name, value: as_int(op, name, value, minimum=0),
    ("", "initialiser"): check_initialiser,
    ("", "std"): _number(0.0),
    ("BatchNorm", "std"): _number(0.0, above=True),
    ("", "epsilon"): _number(0.0),
    ("", "slope"): _number(-math.inf),
    ("", "per"): _name(("channel", "unit")),
    ("", "combine"): _name(("sum", "concat")),
    ("", "stack"): lambda op, name, value: check_stack(op, value, name),
    ("", "stacks"): lambda op, name, value: _branches(op, name, value),
}


def _branches(op: str, name: str, value: Any) -> tuple[Stack, ...]:
    if isinstance(value, (str, Layer)) or not isinstance(value, Sequence) or not value:
        raise TypeError(f"{op}: {name} must be a sequence of stacks; got {value!r}.")
    return tuple(check_stack(op, branch, f"{name}[{i}]") for i, branch in enumerate(value))

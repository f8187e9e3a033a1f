"""A grid of configurations: a product of named axes over stacks that are built from them, and stacks that are given."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from checkerjax._names import suggest
from checkerjax.stacks import interior, output_size
from checkerjax.sweeps._config import Config

# One layer of each family, from kernel k and stride s; the last three read more than they write.
FAMILIES = {
    "deconv": "deconv k{k} s{s}",
    "resize": "resize k{k} s{s}",
    "resize_linear": "resize k{k} s{s} linear",
    "subpixel": "subpixel k{k} s{s}",
    "conv": "conv k{k} s{s}",
    "maxpool": "conv k{k}, maxpool k{s} s{s}",
    "avgpool": "conv k{k}, avgpool k{s} s{s}",
}
ENCODERS = ("conv", "maxpool", "avgpool")
ACTIVATIONS = {"relu": ", relu", "leaky_relu": ", leaky_relu", "tanh": ", tanh", "linear": "", "none": ""}
DEFAULT_INPUT = {"forward": "probe", "gradient": "white", "weights": "white"}
MOST_CONFIGURATIONS = 100_000


class Row(NamedTuple):
    """One combination of the axes, with its configuration or why there is none."""

    labels: dict[str, Any]
    config: Config | None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Grid:
    """The product of all axes; each is a value or a sequence of values.

    A stack has `depth` layers of one family with an activation between them and `channels` coming out. The field is the
    smallest with two periods of the stack's stride inside what no padding reaches; four periods of 2 for the input
    gradient of a family that upsamples, whose counts have no period, so that any will do.

    Attributes:
      family: "deconv", "resize" (nearest), "resize_linear", "subpixel", or the encoders "conv", "maxpool", "avgpool".
        None is "deconv", or no family where stacks are given.
      kernel: taps along each axis.
      stride: of each layer.
      depth: layers of the family.
      width: channels between layers.
      activation: "relu", "leaky_relu", "tanh" or "linear", between layers.
      initialiser: as in `stacks.init`.
      padding: words of the stack's text form, such as "same", "valid", "edge", "reflect".
      direction: "forward", "gradient" or "weights", as in `Config`.
      input: as in `Config`; "default" is "probe" forward and "white" for gradients.
      cotangent: of gradients, as in `Config`; forward there is none, and one configuration for all of them.
      stack: stacks in text, besides those of families; kernel, stride and depth are theirs.
      size: of the input of these stacks, and periods of the line statistics.
      periods: of these stacks.
      channels: coming in and, for families, going out.
      batch: fields of one seed that go through, and are measured, together.
      invalid: "refuse" or "skip" combinations that cannot be.
    """

    family: Any = None
    kernel: Any = (4,)
    stride: Any = (2,)
    depth: Any = (1,)
    width: Any = (8,)
    activation: Any = ("relu",)
    initialiser: Any = ("lecun",)
    padding: Any = ("same",)
    direction: Any = ("forward",)
    input: Any = ("default",)
    cotangent: Any = ("probe",)
    stack: Any = ()
    size: int = 16
    periods: Any = (2,)
    channels: int = 3
    batch: int = 1
    invalid: str = "refuse"

    def __post_init__(self) -> None:
        if self.family is None:
            object.__setattr__(self, "family", () if self.stack else ("deconv",))
        for name in (*AXES, "stack", "periods"):
            value: Any = getattr(self, name)
            many = isinstance(value, Sequence) and not isinstance(value, str)
            object.__setattr__(self, name, tuple(value) if many else (value,))
        for name, known in (("family", FAMILIES), ("activation", ACTIVATIONS), ("invalid", ("refuse", "skip"))):
            for value in (self.invalid,) if name == "invalid" else getattr(self, name):
                if value not in known:
                    raise ValueError(
                        f"Grid: {name} must be one of {', '.join(known)}; got {value!r}{suggest(value, known)}"
                    )
        for name in ("kernel", "stride", "depth", "width"):
            for value in getattr(self, name):
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    raise ValueError(f"Grid: {name} must be ints of at least 1; got {value!r}.")
        total = math.prod(len(getattr(self, name)) for name in AXES)
        if total > MOST_CONFIGURATIONS:
            raise ValueError(f"Grid: the axes multiply to {total} configurations; at most {MOST_CONFIGURATIONS}.")

    def rows(self) -> list[Row]:
        """Every combination once, in the order of the axes, with its configuration or why there is none."""
        found: dict[tuple, Row] = {}
        for labels in self._combinations():
            row = self._row(labels)
            found.setdefault(tuple(row.labels.items()), row)
        return list(found.values())

    def configs(self) -> list[Config]:
        """The configurations.

        Raises:
          ValueError: for combinations that cannot be, unless invalid="skip"; or if none is left.
        """
        return [row.config for row in self.valid() if row.config is not None]

    def valid(self) -> list[Row]:
        """The rows that have a configuration; refuses the others, or skips them, as `invalid` says."""
        rows = self.rows()
        bad = [row for row in rows if row.config is None]
        if bad and self.invalid == "refuse":
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise ValueError(
                f"Grid: {len(bad)} of {len(rows)} combinations cannot be: {bad[0].reason}{more}; "
                "pass invalid='skip' to leave them out."
            )
        if len(bad) == len(rows):
            raise ValueError(f"Grid: no combination can be; the first: {bad[0].reason}")
        return [row for row in rows if row.config is not None]

    def _combinations(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*(getattr(self, name) for name in AXES)):
            yield dict(zip(AXES, values))
        shared = [name for name in AXES if name not in ("family", "kernel", "stride", "depth", "activation", "padding")]
        for stack, *values in itertools.product(self.stack, *(getattr(self, name) for name in shared)):
            yield {"family": stack, **dict(zip(shared, values))}

    def _row(self, labels: dict[str, Any]) -> Row:
        labels = dict(labels)
        if labels["input"] == "default":
            labels["input"] = DEFAULT_INPUT.get(labels["direction"], "default")
        if labels["direction"] == "forward":
            labels["cotangent"] = "none"
        if labels.get("depth") == 1:
            labels["activation"] = "none"  # nothing to be between
        name = _name(labels)
        try:
            return Row(labels, self._config(name, labels))
        except (ValueError, TypeError) as error:
            return Row(labels, None, str(error).replace(f"Config {name!r}: ", f"{name}: "))

    def _config(self, name: str, labels: Mapping[str, Any]) -> Config:
        text = family_stack(labels, self.channels) if labels["family"] in FAMILIES else labels["family"]
        shared = {
            "direction": labels["direction"],
            "input": labels["input"],
            "channels": self.channels,
            "width": labels["width"],
            "initialiser": labels["initialiser"],
            "batch": self.batch,
            "measured": self.batch,
        }
        if labels["cotangent"] != "none":
            shared["cotangent"] = labels["cotangent"]
        if labels["family"] in FAMILIES:
            measured = _measured(text, labels)
        else:
            measured = {"size": self.size, "periods": self.periods}
        return Config(name, text, **shared, **measured)


AXES = tuple(field.name for field in dataclasses.fields(Grid))[:11]


def family_stack(labels: Mapping[str, Any], channels: int) -> str:
    """The text of a family's stack."""
    k, s, depth = labels["kernel"], labels["stride"], labels["depth"]
    padding = "" if labels["padding"] == "same" else f" {labels['padding']}"
    first, *others = FAMILIES[labels["family"]].format(k=k, s=s).split(", ")
    layers = []
    for i in range(depth):
        width = f" c{channels}" if i == depth - 1 else ""
        layers.append(", ".join([f"{first}{width}{padding}", *others]))
    return f"{ACTIVATIONS[labels['activation']]}, ".join(layers)


def _measured(text: str, labels: Mapping[str, Any]) -> dict[str, Any]:
    """Size, periods and margin: the smallest field with two periods clear of every border."""
    stride, depth, direction = labels["stride"], labels["depth"], labels["direction"]
    up = labels["family"] not in ENCODERS
    if stride == 1:
        raise ValueError(f"{_name(labels)}: stride 1 has no period to measure.")
    if direction == "weights":
        return {"size": 8 if up else 8 * stride**depth, "periods": (stride,)}
    deep = tuple(stride**i for i in range(1, depth + 1))
    if direction == "gradient":
        periods = (2,) if up else deep
        margin = math.ceil(_reach(labels) / periods[-1]) * periods[-1]
        clear = 8 if up else 2 * periods[-1]
        return {"size": 2 * margin + clear, "periods": periods, "margin": margin}
    periods = deep if up else (stride,)
    size = stride if up else stride**depth
    while size < 4096:
        size += 1 if up else stride**depth
        out = output_size(text, (size, size))[0]
        try:
            start, stop = interior(text, (size, size))[0]
        except ValueError:
            continue
        margin = math.ceil(max(start, out - stop) / periods[-1]) * periods[-1]
        if out % periods[-1] == 0 and out - 2 * margin >= 2 * periods[-1]:
            return {"size": size, "periods": periods, "margin": margin}
    raise ValueError(
        f"{_name(labels)}: no field up to 4096 samples holds two periods of {periods[-1]} clear of borders."
    )


def _reach(labels: Mapping[str, Any]) -> float:
    """Samples of the input, from a border on, whose gradient differs because windows are cut off or padded there.

    Of each layer at most half a kernel lies beyond a border with "same" paddings, and all of it without.
    """
    k, s, depth = labels["kernel"], labels["stride"], labels["depth"]
    beyond = (k - 1) if labels["padding"] == "valid" else k / 2
    if labels["family"] not in ENCODERS:
        first = beyond if labels["family"] == "subpixel" else beyond / s  # the others' kernels act on larger fields
        return sum(first / s**i for i in range(depth))
    pooled = s - 1 if labels["family"] != "conv" else 0
    return sum((beyond + pooled) * s**i for i in range(depth)) + 1


def _name(labels: Mapping[str, Any]) -> str:
    """What tables call it."""
    family = labels["family"]
    if family in FAMILIES:
        family = f"{family} k{labels['kernel']} s{labels['stride']} x{labels['depth']}"
        family += "".join(
            f" {labels[n]}" for n in ("activation", "padding") if labels[n] not in ("relu", "none", "same")
        )
    parts = [family, f"c{labels['width']}", labels["initialiser"], labels["direction"], labels["input"]]
    if labels["cotangent"] != "none":
        parts.append(labels["cotangent"])
    return ", ".join(map(str, parts))

"""Flax's transposed convolution, as geometry: where the first stamp starts, and which samples are kept.

Flax means by a string the padding of the convolution whose transpose this is, as lax does, and by numbers what is put
around the stretched input. "CIRCULAR" wraps the stamps around a period of stride times the input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax._checks import AXES, PerAxis, per_axis
from checkerjax._geometry import span, transpose_pads
from checkerjax.nn._convolution import own_features, pad_numbers, smaller_shape, widened
from checkerjax.nn._equal_gains import expand_equal_gains
from checkerjax.nn._layers import channels_of, over_batch, sizes_of, with_bias
from checkerjax.ops._transposed import stamp

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


class Target(NamedTuple):
    """What the stamps fall on: the output starts `low` after the first of them and has `size` samples."""

    low: Ints
    size: Ints
    wrapped: Pairs | None = None  # samples of the input that are repeated around it, for "CIRCULAR"


@dataclasses.dataclass(frozen=True)
class Transposed:
    """The static arguments of one layer; `place` is what its errors call it."""

    place: str
    features: int
    kernel_size: Any
    strides: Any
    padding: Any
    kernel_dilation: Any
    transpose_kernel: bool
    groups: int
    output_padding: PerAxis
    output_shape: PerAxis | None
    use_consistent_padding: bool
    equal_gains: bool
    precision: lax.PrecisionLike
    preferred_element_type: Any

    @classmethod
    def of(cls, place: str, module: Any, features: int) -> Transposed:
        """Of a linen or nnx module, which have the same attributes but for the features."""
        return cls(place, features, *(getattr(module, field.name) for field in dataclasses.fields(cls)[2:]))

    @property
    def sizes(self) -> Ints:
        return sizes_of(self.place, self.kernel_size)

    @property
    def stride(self) -> Ints:
        return per_axis(self.place, "strides", 1 if self.strides is None else self.strides, len(self.sizes))

    @property
    def dilation(self) -> Ints:
        given = 1 if self.kernel_dilation is None else self.kernel_dilation
        return per_axis(self.place, "kernel_dilation", given, len(self.sizes))

    def kernel_shape(self, inputs: int) -> tuple[int, ...]:
        """Flax's shape, with the features of one group only; of p where gains are equal by construction."""
        strides, dilation = self.stride, self.dilation  # which must fit, whatever they are needed for
        own = own_features(self.place, "groups", self.groups, self.features, inputs)[0]
        shape = (*self.sizes, own, inputs) if self.transpose_kernel else (*self.sizes, inputs, own)
        if not self.equal_gains:
            return shape
        return smaller_shape(self.place, shape, strides, dilation)

    def __call__(self, inputs: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> jax.Array:
        """The layer on promoted arrays."""
        ndim = len(self.sizes)
        channels_of(self.place, inputs, ndim)
        inputs, kernel = widened(self.place, inputs, kernel, self.preferred_element_type)
        if self.equal_gains:
            kernel = expand_equal_gains(kernel, self.stride)
        # lax correlates the stretched input with the kernel, which stamps it flipped.
        kernel = jnp.swapaxes(kernel, -1, -2) if self.transpose_kernel else jnp.flip(kernel, range(ndim))
        return with_bias(over_batch(lambda x: self._stamped(x, kernel), inputs, ndim), bias)

    def _stamped(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        target = self.target(x.shape[1:-1])
        if target.wrapped is not None:
            x = jnp.pad(x, ((0, 0), *target.wrapped, (0, 0)), mode="wrap")
        return stamp(
            self.place,
            x,
            kernel,
            low=target.low,
            size=target.size,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            precision=self.precision,
        )

    def target(self, size: Ints) -> Target:
        """The output's place and size for an input of `size`."""
        if self.padding == "CIRCULAR":
            return self._circular(size)
        pads = self._crops(size)
        extra = per_axis(self.place, "output_padding", self.output_padding, len(size), minimum=0)
        if self.output_shape is not None:
            if any(extra):
                raise ValueError(f"{self.place}: give output_padding or output_shape, not both.")
            return self._onto(size, pads)
        own = []
        for axis, i, k, s, d, (low, high), more in self._axes(size, pads, extra):
            if more >= max(s, d):
                raise ValueError(
                    f"{self.place}: output_padding must be below max(stride, dilation) = {max(s, d)} on axis {axis}; "
                    f"got {more}."
                )
            own.append(s * (i - 1) + span(k, d) - low - high + more)
            self._check_left(axis, i, own[-1])
        return Target(tuple(low for low, _ in pads), tuple(own))

    def _axes(self, size: Ints, *others: Sequence[Any]) -> list[tuple[Any, ...]]:
        return list(zip(AXES[len(size)], size, self.sizes, self.stride, self.dilation, *others))

    def _check_left(self, axis: str, i: int, size: int) -> None:
        if size < 1:
            sense = "" if self.use_consistent_padding else " Numbers pad the stretched input: larger ones keep more."
            raise ValueError(
                f"{self.place}: padding={self.padding!r} leaves no output on axis {axis}, of {i} samples.{sense}"
            )

    def _crops(self, size: Ints) -> Pairs:
        """What is cropped from the whole of all stamps, low and high; negative where zeros are appended."""
        padding = self.padding
        if isinstance(padding, str):
            if padding in ("SAME", "VALID"):
                return transpose_pads(self.place, self.sizes, self.stride, self.dilation, padding, (0,) * len(size))
            numbers = self._of_a_convolution(padding, size)
        else:
            numbers = pad_numbers(self.place, padding, len(size))
            if self.use_consistent_padding:
                return numbers
        reach = [span(k, d) - 1 for k, d in zip(self.sizes, self.dilation)]
        return tuple((r - low, r - high) for r, (low, high) in zip(reach, numbers))

    def _of_a_convolution(self, padding: str, size: Ints) -> Pairs:
        """Other strings go to lax's convolution, which takes them where nothing is stretched."""
        if set(self.stride) != {1} or padding.upper() not in ("SAME", "SAME_LOWER", "VALID"):
            raise ValueError(
                f"{self.place}: padding must be 'SAME', 'VALID', 'CIRCULAR', an int, or one int or (low, high) pair "
                f"for each spatial axis ('SAME_LOWER' with strides of 1 only); got {padding!r}."
            )
        spans = [span(k, d) for k, d in zip(self.sizes, self.dilation)]
        return tuple((int(low), int(high)) for low, high in lax.padtype_to_pads(size, spans, self.stride, padding))

    def _onto(self, size: Ints, pads: Pairs) -> Target:
        """`output_shape`: one of the sizes that the convolution whose transpose this is maps to the input's."""
        wanted = per_axis(self.place, "output_shape", self.output_shape, len(size))
        lows = []
        for axis, i, k, s, d, (low, high), out in self._axes(size, pads, wanted):
            first = s * (i - 1) + 1 if self.padding == "SAME" else s * (i - 1) + span(k, d)
            if not isinstance(self.padding, str):
                first -= low + high
            if not first <= out < first + s:
                raise ValueError(
                    f"{self.place}: output_shape must be {max(first, 1)} to {first + s - 1} on axis {axis}, the sizes "
                    f"that the convolution with padding={self.padding!r} maps to {i}; got {out}."
                )
            lows.append(max((i - 1) * s + span(k, d) - out, 0) // 2 if self.padding == "SAME" else low)
        return Target(tuple(lows), wanted)

    def _circular(self, size: Ints) -> Target:
        """Stamps of the periodic input on one period; which sample is first, as Flax has it."""
        extra = per_axis(self.place, "output_padding", self.output_padding, len(size), minimum=0)
        if self.output_shape is not None or any(extra):
            raise ValueError(f"{self.place}: padding='CIRCULAR' has one output size: no output_padding, output_shape.")
        lows, wrapped = [], []
        for _, i, k, s, d in self._axes(size):
            period, reach = s * i, span(k, d) - 1
            whole = s * (i - 1) + max(reach + 1, s)
            apart = (period - whole) % (2 * period)
            low = -((apart if self.transpose_kernel else apart + 1) // 2) % period
            before = max(-((low - reach) // s), 0)
            wrapped.append((before, max((period - 1 + low) // s - (i - 1), 0)))
            lows.append(low + s * before)
        return Target(tuple(lows), tuple(s * i for s, i in zip(self.stride, size)), tuple(wrapped))

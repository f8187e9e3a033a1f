"""Flax's convolution, as geometry: which samples each output reads, by its names for paddings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from checkerjax._checks import AXES, LAYOUTS, PerAxis, per_axis
from checkerjax._geometry import conv_size, span
from checkerjax.nn._convolution import Ints, Pairs, own_features, pad_numbers, smaller_shape, widened
from checkerjax.nn._equal_gains import expand_equal_gains
from checkerjax.nn._layers import channels_of, over_batch, sizes_of, with_bias
from checkerjax.ops._conv import correlate
from checkerjax.ops._transposed import stamp

AROUND = {"CIRCULAR": "wrap", "REFLECT": "reflect"}
STRINGS = ("SAME", "VALID", "SAME_LOWER", *AROUND, "CAUSAL")


@dataclasses.dataclass(frozen=True)
class Strided:
    """The static arguments of one layer; `place` is what its errors call it, `other` what convolves in lax's place."""

    place: str
    flavour: str  # "linen" or "nnx"
    features: int
    other: Callable[..., jax.Array] | None
    kernel_size: Any
    strides: Any
    padding: Any
    input_dilation: Any
    kernel_dilation: Any
    feature_group_count: int
    equal_gains: bool
    precision: lax.PrecisionLike
    preferred_element_type: Any

    @classmethod
    def of(
        cls, place: str, flavour: str, module: Any, features: int, other: Callable[..., jax.Array] | None
    ) -> Strided:
        """Of a linen or nnx module, which have the same attributes but for the features."""
        other = None if other is lax.conv_general_dilated else other
        options = (getattr(module, field.name) for field in dataclasses.fields(cls)[4:])
        return cls(place, flavour, features, other, *options)

    @property
    def sizes(self) -> Ints:
        return sizes_of(self.place, self.kernel_size)

    @property
    def stride(self) -> Ints:
        return self._each("strides", self.strides)

    @property
    def dilation(self) -> Ints:
        return self._each("kernel_dilation", self.kernel_dilation)

    @property
    def stretch(self) -> Ints:
        return self._each("input_dilation", self.input_dilation)

    def _each(self, name: str, given: PerAxis | None) -> Ints:
        return per_axis(self.place, name, 1 if given is None else given, len(self.sizes))

    def kernel_shape(self, inputs: int) -> Ints:
        """Flax's shape; of p where gains are equal by construction."""
        strides, dilation, stretch = self.stride, self.dilation, self.stretch  # which must fit, in any case
        own = own_features(self.place, "feature_group_count", self.feature_group_count, self.features, inputs)[1]
        shape = (*self.sizes, own, self.features)
        if not self.equal_gains:
            return shape
        if math.prod(stretch) > 1:
            raise ValueError(f"{self.place}: equal_gains needs input_dilation=1; got {stretch}. Take ConvTranspose.")
        return smaller_shape(self.place, shape, strides, dilation)

    def __call__(
        self, inputs: jax.Array, kernel: jax.Array, bias: jax.Array | None, *, out_sharding: Any = None
    ) -> jax.Array:
        """The layer on promoted arrays."""
        ndim = len(self.sizes)
        channels = channels_of(self.place, inputs, ndim)
        expected = kernel.shape[-2] * self.feature_group_count
        if channels != expected:
            raise ValueError(f"{self.place}: inputs must have {expected} channels, as the kernel has; got {channels}.")
        if self.other is None:  # any other knows by itself what to sum in
            inputs, kernel = widened(self.place, inputs, kernel, self.preferred_element_type)
        if self.equal_gains:
            kernel = expand_equal_gains(kernel, self.stride)
        return with_bias(over_batch(lambda x: self._read(x, kernel, out_sharding), inputs, ndim), bias)

    def _read(self, x: jax.Array, kernel: jax.Array, out_sharding: Any) -> jax.Array:
        x, pads = self._padded(x)
        if self.other is not None:
            return self._by_other(x, kernel, pads, out_sharding)
        if out_sharding is not None:
            return self._by_lax(x, kernel, pads, out_sharding=out_sharding)
        if math.prod(self.stretch) == 1:
            x, pads = _cropped(x, pads)
            groups, precision = self.feature_group_count, self.precision
            return correlate(self.place, x, kernel, self.stride, pads, self.dilation, groups, precision)
        if math.prod(self.stride) == 1 and self.feature_group_count == 1:
            return self._stamped(x, kernel, pads)
        return self._by_lax(x, kernel, pads)

    def _stamped(self, x: jax.Array, kernel: jax.Array, pads: Pairs) -> jax.Array:
        """A convolution of the stretched field alone is a transposed one, whose gradients have faster forms."""
        return stamp(
            self.place,
            x,
            jnp.flip(kernel, range(len(self.sizes))),
            low=tuple(span(k, d) - 1 - low for k, d, (low, _) in zip(self.sizes, self.dilation, pads)),
            size=self._output_size(x.shape[1:-1], pads),
            stride=self.stretch,
            dilation=self.dilation,
            precision=self.precision,
        )

    def _by_other(self, x: jax.Array, kernel: jax.Array, pads: Pairs, out_sharding: Any) -> jax.Array:
        """As Flax calls it: strings that lax has for paddings stay strings; more arguments for nnx than for linen."""
        known = isinstance(self.padding, str) and self.padding not in (*AROUND, "CAUSAL")
        padding = self.padding if known else [*pads]
        more = {} if self.flavour == "linen" else {"out_sharding": out_sharding}
        if self.preferred_element_type is not None:
            more["preferred_element_type"] = self.preferred_element_type
        return self._by_lax(x, kernel, padding, self.other, **more)

    def _by_lax(self, x: jax.Array, kernel: jax.Array, padding: Any, convolve: Any = None, **more: Any) -> jax.Array:
        if not isinstance(padding, str):
            self._output_size(x.shape[1:-1], padding)
        image, weights = LAYOUTS[len(self.sizes)]
        return (convolve or lax.conv_general_dilated)(
            x,
            kernel,
            self.stride,
            padding,
            lhs_dilation=self.stretch,
            rhs_dilation=self.dilation,
            dimension_numbers=lax.conv_dimension_numbers(x.shape, kernel.shape, (image, weights, image)),
            feature_group_count=self.feature_group_count,
            precision=self.precision,
            **more,
        )

    def _output_size(self, size: Ints, pads: Pairs) -> Ints:
        stretched = tuple(span(i, e) for i, e in zip(size, self.stretch))
        return conv_size(self.place, stretched, self.sizes, self.stride, self.dilation, pads)

    def _padded(self, x: jax.Array) -> tuple[jax.Array, Pairs]:
        """The field with whatever is not zeros around it, and the zeros (cropped samples, if negative) to add."""
        padding, spans = self.padding, [span(k, d) for k, d in zip(self.sizes, self.dilation)]
        if not isinstance(padding, str):
            return x, pad_numbers(self.place, padding, len(spans))
        known = padding if padding in STRINGS else padding.upper()
        if known not in STRINGS or (known == "CAUSAL" and len(spans) > 1):
            raise ValueError(
                f"{self.place}: padding must be 'SAME', 'VALID', 'CIRCULAR', 'REFLECT', 'CAUSAL' (one axis only), an "
                f"int, or one int or (low, high) pair for each of the axes {AXES[len(spans)]}; got {padding!r}."
            )
        if math.prod(self.stretch) > 1:
            raise ValueError(
                f"{self.place}: padding must be numbers where input_dilation is not 1; got {padding!r}. "
                "ConvTranspose takes 'SAME' and 'VALID'."
            )
        if known == "CAUSAL":
            return x, ((spans[0] - 1, 0),)
        if known in AROUND:
            around = [((k - 1) // 2, k // 2) for k in spans]
            return jnp.pad(x, ((0, 0), *around, (0, 0)), mode=AROUND[known]), ((0, 0),) * len(spans)
        pairs = lax.padtype_to_pads(x.shape[1:-1], spans, self.stride, known)
        return x, tuple((int(low), int(high)) for low, high in pairs)


def _cropped(x: jax.Array, pads: Pairs) -> tuple[jax.Array, Pairs]:
    """Negative paddings carried out."""
    if all(p >= 0 for pair in pads for p in pair):
        return x, pads
    for axis, (low, high) in enumerate(pads, 1):
        x = lax.slice_in_dim(x, max(-low, 0), x.shape[axis] - max(-high, 0), axis=axis)
    return x, tuple((max(low, 0), max(high, 0)) for low, high in pads)

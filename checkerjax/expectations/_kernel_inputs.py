"""What a given network is fed: stationary fields, said by their spectrum or their autocovariance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from checkerjax.expectations._linear_parts import Ints

SpectrumLike = str | Callable[..., Any] | Any
_RANK = 1e-9  # of the largest value: negative power that is no more than rounding


def input_roots(op: str, spectrum: SpectrumLike, autocovariance: Any, size: Ints, channels: int) -> np.ndarray:
    """Matrix square roots of the input's mean amplitude products, `[*size, C, waves]`.

    Amplitude c at a frequency is the sum over waves of root[c, wave] times independent unit ones.
    """
    if autocovariance is not None:
        if not (isinstance(spectrum, str) and spectrum == "white"):
            raise ValueError(f"{op}: give spectrum or autocovariance, not both.")
        power = _from_autocovariance(op, autocovariance, size, channels)
    else:
        power = _from_spectrum(op, spectrum, size, channels)
    samples = math.prod(size)
    if power.ndim == len(size):
        _check_power(op, power)
        return np.sqrt(np.maximum(np.real(power), 0) / samples)[..., None, None] * np.eye(channels)
    return _matrix_roots(op, power) / math.sqrt(samples)


def _from_spectrum(op: str, spectrum: SpectrumLike, size: Ints, channels: int) -> np.ndarray:
    if isinstance(spectrum, str):
        if spectrum not in ("white", "flat"):
            raise ValueError(f"{op}: spectrum must be 'white', 'flat', a function or an array; got {spectrum!r}.")
        if spectrum == "white":
            return np.ones(size)
        power = np.zeros(size)
        power[(0,) * len(size)] = math.prod(size)
        return power
    if callable(spectrum):
        frequencies = np.meshgrid(*(np.fft.fftfreq(n) for n in size), indexing="ij")
        values = np.asarray(spectrum(*frequencies))
        spectrum = np.broadcast_to(values, size) if values.ndim == 0 else values
    return _checked(op, "spectrum", spectrum, size, channels)


def _from_autocovariance(op: str, autocovariance: Any, size: Ints, channels: int) -> np.ndarray:
    values = _checked(op, "autocovariance", autocovariance, size, channels)
    return np.fft.fftn(values, axes=tuple(range(len(size))))


def _checked(op: str, name: str, values: Any, size: Ints, channels: int) -> np.ndarray:
    """An array on the torus, of numbers or of matrices between channels."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufc":
        raise TypeError(f"{op}: {name} must be an array of numbers, or a function that gives one; got {array.dtype}.")
    if array.shape not in (size, (*size, channels, channels)):
        raise ValueError(
            f"{op}: {name} must have the shape {size} of the field, or {(*size, channels, channels)} with a matrix "
            f"between the input channels; got {array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{op}: {name} must be finite.")
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _check_power(op: str, power: np.ndarray) -> None:
    largest = np.abs(power).max()
    if np.abs(np.imag(power)).max() > _RANK * largest or np.real(power).min() < -_RANK * largest:
        raise ValueError(
            f"{op}: the power of the input must be real and at least 0 at every frequency; it is from "
            f"{np.real(power).min():.3g} to {np.real(power).max():.3g}. An autocovariance must be symmetric on a torus."
        )


def _matrix_roots(op: str, power: np.ndarray) -> np.ndarray:
    """Square roots of Hermitian matrices, none of them negative."""
    largest = np.abs(power).max()
    if np.abs(power - power.conj().swapaxes(-1, -2)).max() > _RANK * largest:
        raise ValueError(f"{op}: the matrices between input channels must be Hermitian at every frequency.")
    values, vectors = np.linalg.eigh(power)
    if values.min() < -_RANK * largest:
        raise ValueError(
            f"{op}: the matrices between input channels must have no negative eigenvalue; the least is "
            f"{values.min():.3g}."
        )
    return vectors * np.sqrt(np.maximum(values, 0))[..., None, :]

"""Input that spectra refuse, and what they say."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax import spectra

STATISTICS = {
    "power_spectrum": spectra.power_spectrum,
    "radial_profile": spectra.radial_profile,
    **{
        name: functools.partial(getattr(spectra, name), period=2)
        for name in ("phase_means", "phase_powers", "power_ratio", "line_powers", "lattice_ratio", "lattice_share",
                     "line_to_floor", "cyclic_spectrum")
    },
}  # fmt: skip
FIELD = jnp.ones((1, 6, 8, 2))


@pytest.mark.parametrize("name", STATISTICS)
def test_fields_that_are_none_are_refused(mode, name):
    f = mode(STATISTICS[name])
    with pytest.raises(ValueError, match=rf"{name}: x must be NHC, NHWC or NDHWC; got shape \(6, 8\)"):
        f(FIELD[0, ..., 0])
    with pytest.raises(ValueError, match=rf"{name}: axis W of x is empty"):
        f(FIELD[:, :, :0])
    with pytest.raises(TypeError, match=rf"{name}: x must have a floating dtype; got int32"):
        f(FIELD.astype(np.int32))
    with pytest.raises(TypeError, match=rf"{name}: x must be real; got complex64"):
        f(FIELD.astype(np.complex64))


@pytest.mark.parametrize("name", STATISTICS)
def test_values_that_are_not_finite_are_refused_where_they_can_be_seen(name):
    bad = FIELD.at[0, 1, 2, 1].set(jnp.nan)
    with pytest.raises(ValueError, match=rf"{name}: x must be finite; 1 of 96 .* first at index \(0, 1, 2, 1\)"):
        STATISTICS[name](bad)
    with pytest.raises(ValueError, match=f"{name}: x must be finite"):
        STATISTICS[name](FIELD * np.inf)
    jax.block_until_ready(jax.jit(STATISTICS[name])(bad))


@pytest.mark.parametrize("name", [name for name in STATISTICS if name not in ("power_spectrum", "radial_profile")])
def test_periods_that_do_not_fit_are_refused(name):
    f = getattr(spectra, name)
    with pytest.raises(ValueError, match=f"{name}: period must be at least 1; got 0"):
        f(FIELD, 0)
    with pytest.raises(ValueError, match=f"{name}: period on axis W must be at least 1; got -2"):
        f(FIELD, (2, -2))
    with pytest.raises(TypeError, match=f"{name}: period must be an int; got 2.0"):
        f(FIELD, 2.0)
    with pytest.raises(ValueError, match=f"{name}: period must be an int, or one int"):
        f(FIELD, (2, 2, 2))
    with pytest.raises(ValueError, match=f"{name}: axis H of x is 6, smaller than its period 7"):
        f(FIELD, (7, 2))


@pytest.mark.parametrize("name", ["line_powers", "lattice_ratio", "lattice_share", "line_to_floor"])
def test_lines_need_a_period_above_1(name):
    with pytest.raises(ValueError, match=rf"{name}: period must be above 1 on at least one axis.*got \(1, 1\)"):
        getattr(spectra, name)(FIELD, 1)


def test_other_arguments_that_do_not_fit_are_refused():
    key = jax.random.key(0)
    crop = spectra.crop_interior
    for call, error, message in [
        (lambda: spectra.line_to_floor(FIELD, (2, 3)), ValueError, "at least 3 periods on axis W; got 8 samples"),
        (lambda: spectra.primitive_lines(0), ValueError, "primitive_lines: period must be at least 1; got 0"),
        (lambda: spectra.primitive_lines(1), ValueError, "primitive_lines: period must be above 1"),
        (lambda: spectra.primitive_lines((2,) * 4), ValueError, "primitive_lines: there must be 1, 2 or 3"),
        (lambda: spectra.primitive_lines("2"), TypeError, "primitive_lines: period must be an int; got '2'"),  # pyright: ignore[reportArgumentType]
        (lambda: crop(FIELD, [(0, 6)]), ValueError, "crop_interior: bounds must be one .* axes HW"),
        (lambda: crop(FIELD, [(0, 6), (3,)]), ValueError, "bounds on axis W must be a pair"),
        (lambda: crop(FIELD, [(0, 7), (0, 8)]), ValueError, r"axis H must satisfy 0 <= start < stop <= 6; got \(0, 7"),
        (lambda: crop(FIELD, [(-1, 6), (0, 8)]), ValueError, "axis H must satisfy"),
        (lambda: crop(FIELD, [(0, 6), (5, 5)]), ValueError, "axis W must satisfy"),
        (lambda: crop(FIELD, [(1, 6), (0, 8)], period=3), None, ""),
        (lambda: crop(FIELD, [(1, 5), (0, 8)], period=3), ValueError, "hold no whole period of 3"),
        (lambda: crop(FIELD, [(0, 6), (0.5, 8)]), TypeError, "bounds on axis W must be an int"),  # pyright: ignore[reportArgumentType]
        (lambda: spectra.flat_probe(0, (1, 2, 1)), TypeError, "flat_probe: key must be a key; got 0"),  # pyright: ignore[reportArgumentType]
        (lambda: spectra.white_probe(key, (4, 4)), ValueError, "white_probe: shape must be NHC"),
        (lambda: spectra.white_probe(key, (1, 0, 1)), ValueError, "shape on axis H must be at least 1; got 0"),
        (lambda: spectra.white_probe(key, (1, 2, 1), dtype="int32"), TypeError, "dtype must be real and floating"),
    ]:
        if error is None:
            call()
            continue
        with pytest.raises(error, match=message):
            call()

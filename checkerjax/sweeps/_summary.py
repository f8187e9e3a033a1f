"""What a sweep's dataset says, as rows of numbers with intervals: no formatting, no drawing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from checkerjax.overlap import count, unevenness
from checkerjax.stacks import POINTWISE, Conv, parse_stack
from checkerjax.sweeps._defaults import KERNELS, ROWS
from checkerjax.sweeps._intervals import Interval, chance_ratio, merge_phases, phase_ratio, ratio_of_sums
from checkerjax.sweeps._published import PUBLISHED, Published, fisher, joint_test

if TYPE_CHECKING:
    import xarray


class GeneratorRow(NamedTuple):
    """One random generator: lines per image, phase powers, and whether the published images could be its own."""

    name: str
    deconvolutions: int
    kernel: int
    f2: Interval  # median over images and the middle 95% of images
    f4: Interval
    phase_ratio: Interval  # period 2, ratio of sums over seeds
    chance: float  # what that ratio rarely exceeds with equal phases
    std: Interval  # of single generators, before the last tanh: median and middle 95%
    phase_ratio_each: Interval  # of single generators, over as many images as were published: median and middle 95%
    p_value: float  # joint test of the published values of its row


class GradientRow(NamedTuple):
    """The input gradient of one first layer."""

    name: str
    period: int
    line_share: Interval  # ratio of sums over seeds; constant cotangent
    phase_ratio: Interval  # ratio of sums over seeds; white cotangent
    chance: float  # what that ratio rarely exceeds with equal phases
    predicted: float | None  # of the phase ratio, from counting paths; None where that depends on the data
    zero_share: float  # median over seeds


def generator_rows(dataset: xarray.Dataset) -> list[GeneratorRow]:
    """Rows for `generator_grid`, in its order."""
    rows = []
    for deconvolutions, row in ROWS.items():
        for kernel in KERNELS:
            one = dataset.sel(config=f"{row}, k{kernel}")
            powers = merge_phases(one.phase_power.sum("image").values, 2)
            rows.append(
                GeneratorRow(
                    one.config.item(),
                    deconvolutions,
                    kernel,
                    _middle(one.lattice_share.sel(period=2).values),
                    _middle(one.lattice_share.sel(period=4).values),
                    phase_ratio(powers),
                    chance_ratio(powers),
                    _middle(one["std"].mean("image").values),
                    _middle(_ratio_of_each(one.isel(image=slice(len(PUBLISHED[deconvolutions].f2))))),
                    joint_test(*_vectors(one, PUBLISHED[deconvolutions])).p_value,
                )
            )
    return rows


def kernel_p_values(rows: list[GeneratorRow]) -> dict[int, float]:
    """For each kernel size, one p-value for the three rows of the figure together.

    Fisher's rule takes the rows as independent. Their published images are; their simulations share random numbers,
    which matters less the more seeds there are.
    """
    return {k: fisher([row.p_value for row in rows if row.kernel == k]) for k in KERNELS}


def cross_p_values(dataset: xarray.Dataset, kernel: int) -> np.ndarray:
    """p-values `[published row, generator]`: the published images of each row, tested as images of each generator."""
    return np.array(
        [
            [
                joint_test(*_vectors(dataset.sel(config=f"{row}, k{kernel}"), PUBLISHED[n])).p_value
                for row in ROWS.values()
            ]
            for n in ROWS
        ]
    )


def gradient_rows(dataset: xarray.Dataset) -> list[GradientRow]:
    """Rows for a grid of gradients, in its order."""
    rows = []
    for description in json.loads(dataset.attrs["configurations"]):
        one, period = dataset.sel(config=description["name"]), description["periods"][-1]
        lines, variance = one.line_power.sel(period=period).sum("image"), one.variance.sum("image")
        powers = one.phase_power.sum("image").values[..., :period, :period]
        rows.append(
            GradientRow(
                description["name"],
                period,
                ratio_of_sums(lines.values, variance.values),
                phase_ratio(powers),
                chance_ratio(powers),
                _predicted(description["stack"], description["size"], period),
                float(np.median(one.zero_share)),
            )
        )
    return rows


def _predicted(stack: str, size: int | list[int], period: int) -> float | None:
    """Largest over smallest number of windows that cover an input sample of each phase.

    That is what random weights give where one learned convolution is all that is not pointwise. The taps of fixed
    filters add before they are squared, and pools depend on the data.
    """
    moving = [layer for layer in parse_stack(stack) if not isinstance(layer, POINTWISE)]
    if [type(layer) for layer in moving] != [Conv]:
        return None
    sizes = tuple(size) if isinstance(size, list) else (size, size)
    return unevenness(count(parse_stack(stack), sizes, backward=True), period)


def _middle(values: np.ndarray) -> Interval:
    low, median, high = np.nanquantile(values, [0.025, 0.5, 0.975])
    return Interval(float(median), float(low), float(high))


def _ratio_of_each(images: xarray.Dataset) -> np.ndarray:
    """Largest over smallest phase power of period 2, of every seed's images together, `[seeds]`."""
    powers = merge_phases(images.phase_power.sum("image").values, 2)
    return powers.max((1, 2)) / powers.min((1, 2))


def _vectors(one: xarray.Dataset, published: Published) -> tuple[np.ndarray, np.ndarray]:
    """A simulated generator's numbers `[seeds, D]` and the published ones `[D]`, on scales where they are symmetric.

    Lines of period 2 and lines that only period 4 has (mean log over as many images as were published), standard
    deviation, and the ratio of phase powers where it was measured.
    """
    images = one.isel(image=slice(len(published.f2)))
    f2, f4 = (images.lattice_share.sel(period=p).values for p in (2, 4))
    columns = [np.log(f2).mean(1), np.log(f4 - f2).mean(1), np.log(images["std"].values).mean(1)]
    observed = [
        np.log(published.f2).mean(),
        np.log(np.subtract(published.f4, published.f2)).mean(),
        np.log(published.std),
    ]
    if published.phase_ratio is not None:
        columns.append(np.log(_ratio_of_each(images)))
        observed.append(np.log(published.phase_ratio))
    return np.stack(columns, axis=1), np.array(observed)

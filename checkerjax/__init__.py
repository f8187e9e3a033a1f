"""checkerjax: checkerboard artifacts of upsampling and strided layers, in JAX.

Every public name is importable from here; nothing is imported before it is used, so that `import checkerjax` and the
command line's `--help` cost milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_ROOMS = {
    "ops": (
        "PaddedKernel", "as_matrix", "bilinear_additive", "bilinear_kernel", "binomial_taps", "carafe", "conv",
        "conv_transpose", "deconv_from_resize", "deconv_from_subpixel", "depth_to_space", "downsample", "fir_conv",
        "hann_taps", "hold", "hold_taps", "icnr", "icnr_transpose", "kaiser_taps", "large_context_conv_transpose",
        "pad", "pixel_transposed_conv", "project_equal_gains", "resize_conv", "space_to_depth", "subpixel_conv",
        "subpixel_from_deconv", "upsample",
    ),
    "spectra": (
        "DctProfile", "DurallProfile", "DzanicDecay", "DzanicSpectrum", "RadialProfile", "ResamplingTrace",
        "SchwarzSpectrum", "Spectrum", "StyleGAN3Slices", "StyleGAN3Spectrum", "autogan_spectrum",
        "crop_interior", "cross_difference", "cyclic_spectrum", "dct_profile", "durall_profile",
        "durall_spectral_loss", "dzanic_decay", "dzanic_spectrum", "flat_probe", "frank_dct_spectrum",
        "gallagher_resampling", "lattice_ratio", "lattice_share", "line_powers", "line_to_floor",
        "npr_residual", "phase_means", "phase_powers", "power_ratio", "power_spectrum", "primitive_lines",
        "radial_profile", "schwarz_error", "schwarz_spectral_loss", "schwarz_spectrum", "shi_fbc",
        "stylegan3_slices", "stylegan3_spectrum", "synthbuster_features", "white_probe",
    ),
    "stacks": (
        "AvgPool", "BatchNorm", "Bias", "Blur", "Conv", "Deconv", "Dense", "Erf", "Hold", "L2Pool", "LeakyRelu",
        "MaxPool", "Parallel", "Relu", "Residual", "ResizeConv", "SubPixel", "Tanh", "Upsample", "apply",
        "format_stack", "init", "interior", "output_size", "parse_stack",
    ),
    "overlap": (
        "count", "count_denominator", "has_equal_counts", "has_equal_energies", "has_equal_gains",
        "has_equal_phase_spectra", "overlap_count", "phase_energies", "phase_gains", "stack_conditions", "unevenness",
    ),
    "expectations": (
        "Condition", "ConditionalSpectrum", "Conditions", "DenseCovariance", "Expectation", "PeriodNumbers",
        "PeriodicCovariance", "RatioDistribution", "conditional_spectrum", "conditions", "covariance",
        "dense_covariance", "expect", "gradient_covariance", "second_moments",
    ),
    "images": (
        "Attribution", "ComparisonReport", "FolderReport", "ForensicsReport", "FoundFiles", "GridReport", "Origin",
        "Picture", "ProbeReport", "SeenPhases", "Suspect", "Unreadable", "attribute", "combine", "compare",
        "find_files", "forensics", "measure", "measure_all",
        "package_photographs", "probe", "read_folder", "read_image", "read_images", "tiles",
    ),
    "sweeps": ("Config", "Grid", "sweep", "sweep_function"),
    "audits": ("AuditReport", "Finding", "assert_no_grid", "audit"),
    "nn": (),
    "plots": (),
}  # fmt: skip
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_HOMES, *_ROOMS]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from checkerjax.audits import AuditReport as AuditReport
    from checkerjax.audits import Finding as Finding
    from checkerjax.audits import assert_no_grid as assert_no_grid
    from checkerjax.audits import audit as audit
    from checkerjax.expectations import *  # noqa: F403
    from checkerjax.images import *  # noqa: F403
    from checkerjax.ops import *  # noqa: F403
    from checkerjax.overlap import *  # noqa: F403
    from checkerjax.spectra import *  # noqa: F403
    from checkerjax.stacks import *  # noqa: F403
    from checkerjax.sweeps import Config as Config
    from checkerjax.sweeps import Grid as Grid
    from checkerjax.sweeps import sweep as sweep
    from checkerjax.sweeps import sweep_function as sweep_function


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Operators, kernel algebra, filters and initialisers: arrays in, arrays out; no state, nothing jitted inside.

Fields are channel-last (NHC, NHWC, NDHWC), kernels HIO, HWIO or DHWIO; the kernel's rank says how many spatial
axes there are. Operators let NaN through, as lax does.
"""

from checkerjax.ops._additive import bilinear_additive
from checkerjax.ops._algebra import PaddedKernel, deconv_from_resize, deconv_from_subpixel, subpixel_from_deconv
from checkerjax.ops._carafe import carafe
from checkerjax.ops._conv import conv, conv_transpose
from checkerjax.ops._downsample import downsample
from checkerjax.ops._filters import bilinear_kernel, binomial_taps, hann_taps, hold_taps
from checkerjax.ops._fir import fir_conv, kaiser_taps
from checkerjax.ops._hold import hold
from checkerjax.ops._initialisers import icnr, icnr_transpose
from checkerjax.ops._large_context import large_context_conv_transpose
from checkerjax.ops._matrix import as_matrix
from checkerjax.ops._padding import pad
from checkerjax.ops._phases import project_equal_gains
from checkerjax.ops._pixel_transposed import pixel_transposed_conv
from checkerjax.ops._resize_conv import resize_conv
from checkerjax.ops._shuffle import depth_to_space, space_to_depth, subpixel_conv
from checkerjax.ops._upsample import upsample

__all__ = [
    "PaddedKernel",
    "as_matrix",
    "bilinear_additive",
    "bilinear_kernel",
    "binomial_taps",
    "carafe",
    "conv",
    "conv_transpose",
    "deconv_from_resize",
    "deconv_from_subpixel",
    "depth_to_space",
    "downsample",
    "fir_conv",
    "hann_taps",
    "hold",
    "hold_taps",
    "icnr",
    "icnr_transpose",
    "kaiser_taps",
    "large_context_conv_transpose",
    "pad",
    "pixel_transposed_conv",
    "project_equal_gains",
    "resize_conv",
    "space_to_depth",
    "subpixel_conv",
    "subpixel_from_deconv",
    "upsample",
]

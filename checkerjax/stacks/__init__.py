"""Stacks of layers: one description, as text or objects, that is run here and counted, expected and swept elsewhere."""

from checkerjax.stacks._apply import apply
from checkerjax.stacks._axes import along_axis
from checkerjax.stacks._geometry import interior, output_size, periods
from checkerjax.stacks._init import init, init_from_normals, normal_count, output_channels
from checkerjax.stacks._layers import (
    AvgPool,
    BatchNorm,
    Bias,
    Blur,
    Conv,
    Deconv,
    Dense,
    Hold,
    L2Pool,
    Layer,
    LeakyRelu,
    MaxPool,
    Parallel,
    Relu,
    Residual,
    ResizeConv,
    Stack,
    SubPixel,
    Tanh,
    Upsample,
)
from checkerjax.stacks._text import as_stack, format_stack, parse_stack

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Bias",
    "Blur",
    "Conv",
    "Deconv",
    "Dense",
    "Hold",
    "L2Pool",
    "Layer",
    "LeakyRelu",
    "MaxPool",
    "Parallel",
    "Relu",
    "Residual",
    "ResizeConv",
    "Stack",
    "SubPixel",
    "Tanh",
    "Upsample",
    "along_axis",
    "apply",
    "as_stack",
    "format_stack",
    "init",
    "init_from_normals",
    "interior",
    "normal_count",
    "output_channels",
    "output_size",
    "parse_stack",
    "periods",
]

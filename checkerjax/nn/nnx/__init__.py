"""Layers for flax.nnx: parameters here, arithmetic in `checkerjax.ops`.

Channels come last. An int for `kernel_size` means one spatial axis, as in Flax; an int for a scale or a stride means
every axis. `Conv` and `ConvTranspose` take the place of Flax's own.
"""

from checkerjax.nn.nnx._convolutions import FIRConv as FIRConv
from checkerjax.nn.nnx._convolutions import ResizeConv as ResizeConv
from checkerjax.nn.nnx._convolutions import SubPixelConv as SubPixelConv
from checkerjax.nn.nnx._pools import BlurPool as BlurPool
from checkerjax.nn.nnx._pools import Downsample as Downsample
from checkerjax.nn.nnx._pools import L2Pool as L2Pool
from checkerjax.nn.nnx._pools import MaxBlurPool as MaxBlurPool
from checkerjax.nn.nnx._published import CARAFE as CARAFE
from checkerjax.nn.nnx._published import LargeContextUpsample as LargeContextUpsample
from checkerjax.nn.nnx._published import PixelTransposedConv as PixelTransposedConv
from checkerjax.nn.nnx._smooth import BilinearAdditive as BilinearAdditive
from checkerjax.nn.nnx._smooth import Hold as Hold
from checkerjax.nn.nnx._smooth import Upsample as Upsample
from checkerjax.nn.nnx._strided import Conv as Conv
from checkerjax.nn.nnx._transposed import ConvTranspose as ConvTranspose

__all__ = [
    "CARAFE",
    "BilinearAdditive",
    "BlurPool",
    "Conv",
    "ConvTranspose",
    "Downsample",
    "FIRConv",
    "Hold",
    "L2Pool",
    "LargeContextUpsample",
    "MaxBlurPool",
    "PixelTransposedConv",
    "ResizeConv",
    "SubPixelConv",
    "Upsample",
]

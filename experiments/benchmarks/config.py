"""What is measured: rows of single operators, and two whole programs; stored with the results."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """One operator at one shape: `size` in samples an axis; `inputs` and `outputs` are channels of its kernel."""

    name: str
    kind: str  # "deconv", "resize", "subpixel" or "conv"
    batch: int
    size: tuple[int, ...]
    inputs: int
    outputs: int
    kernel: int
    stride: int
    interpolation: str = ""  # "nearest" or "linear", of a resize-convolution
    dtype: str = "float32"
    seeds: int = 0  # so many fields, each with a kernel of its own, under jax.vmap

    @property
    def ndim(self) -> int:
        return len(self.size)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the field and of the kernel, as checkerjax takes them."""
        front = (self.seeds,) if self.seeds else ()
        field = (self.batch, *self.size, self.inputs)
        kernel = (*(self.kernel,) * self.ndim, self.inputs, self.outputs)
        return (*front, *field), (*front, *kernel)

    @property
    def label(self) -> str:
        """Kind, shape, channels, kernel and stride in a few words."""
        kind = " ".join(part for part in (self.interpolation, self.kind) if part)
        size = "x".join(str(n) for n in (self.batch, *self.size))
        extra = f", {self.dtype}" * (self.dtype != "float32") + f", {self.seeds} seeds" * bool(self.seeds)
        return f"{kind} {size}, {self.inputs} to {self.outputs}, k{self.kernel} s{self.stride}{extra}"


@dataclasses.dataclass(frozen=True)
class Gan:
    """A DCGAN without normalisation; `widths` are the channels after the dense layer and after each stride of 2."""

    batch: int = 32
    noise: int = 100
    base: int = 4  # samples on a side after the dense layer
    widths: tuple[int, ...] = (512, 256, 128, 64, 3)
    discriminator: tuple[int, ...] = (3, 64, 128, 256, 512)
    kernel: int = 5


@dataclasses.dataclass(frozen=True)
class SeedGradients:
    """Input gradients of a stack of strided convolutions, one random kernel and one picture a seed."""

    seeds: int = 32
    size: int = 64
    widths: tuple[int, ...] = (3, 16, 32, 64)
    kernel: int = 4


ROWS = (
    Row("deconv_k4_256", "deconv", 16, (8, 8), 256, 128, 4, 2),
    Row("deconv_k4_128", "deconv", 16, (16, 16), 128, 64, 4, 2),
    Row("deconv_k5_128", "deconv", 16, (16, 16), 128, 64, 5, 2),
    Row("deconv_k3_64", "deconv", 16, (32, 32), 64, 64, 3, 2),
    Row("deconv_k8_s4", "deconv", 16, (16, 16), 64, 64, 8, 4),
    Row("deconv_1d", "deconv", 16, (4096,), 32, 32, 25, 4),
    Row("deconv_3d", "deconv", 2, (12, 12, 12), 32, 32, 4, 2),
    Row("deconv_bfloat16", "deconv", 16, (16, 16), 128, 64, 4, 2, dtype="bfloat16"),
    Row("nearest_k3_s2", "resize", 16, (32, 32), 64, 64, 3, 2, interpolation="nearest"),
    Row("nearest_k5_s4", "resize", 16, (16, 16), 64, 64, 5, 4, interpolation="nearest"),
    Row("linear_k3_s2", "resize", 16, (32, 32), 64, 64, 3, 2, interpolation="linear"),
    Row("subpixel_k3_s2", "subpixel", 16, (16, 16), 64, 256, 3, 2),
    Row("conv_k4_s2", "conv", 16, (32, 32), 64, 128, 4, 2),
    Row("deconv_seeds", "deconv", 1, (16, 16), 32, 32, 4, 2, seeds=32),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """`repeats`: rounds through all contenders; `matmul`: side of the float32 product that gives the roofline."""

    repeats: int = 9
    counted: int = 2
    seed: int = 0
    matmul: int = 1024
    rows: tuple[Row, ...] = ROWS
    gan: Gan = Gan()
    gradients: SeedGradients = SeedGradients()


SMOKE = Config(
    repeats=2,
    matmul=128,
    rows=(
        Row("deconv", "deconv", 2, (4, 4), 8, 4, 5, 2),
        Row("nearest", "resize", 2, (8, 8), 8, 4, 3, 2, interpolation="nearest"),
        Row("subpixel", "subpixel", 2, (4, 4), 4, 16, 3, 2),
        Row("conv", "conv", 2, (8, 8), 4, 8, 4, 2),
        Row("seeds", "deconv", 1, (4, 4), 4, 4, 4, 2, seeds=3),
    ),
    gan=Gan(batch=2, noise=4, base=2, widths=(8, 4, 3), discriminator=(3, 4, 8), kernel=5),
    gradients=SeedGradients(seeds=2, size=8, widths=(3, 4, 8), kernel=4),
)

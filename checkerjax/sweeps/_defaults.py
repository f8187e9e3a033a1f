"""The grids of the main job: the article's three generators, and the first layers of well-known networks."""

from __future__ import annotations

from checkerjax.sweeps._config import Config

KERNELS: tuple[int, ...] = (5, 4, 3)
ROWS = {2: "last two", 1: "last one", 0: "none"}  # which layers are deconvolutions
TILE = 64  # pixels on a side of the photographs' tiles

# Strides of the first layers as their papers give them; widths are cut to 64 or fewer, which no statistic depends on.
STEMS = {
    "VGG 3x3 s1": ("conv k3 c64, relu", 2),
    "ResNet 7x7 s2": ("conv k7 s2 c64, relu", 2),
    "AlexNet 11x11 s4": ("conv k11 s4 c64, relu", 4),
    "DCGAN 5x5 s2": ("conv k5 s2 c64, leaky_relu", 2),
    "pix2pix 4x4 s2": ("conv k4 s2 c64, leaky_relu", 2),
    "MobileNet 3x3 s2": ("conv k3 s2 c32, relu", 2),
    "ViT 16x16 s16": ("conv k16 s16 c64", 16),
    "shortcut 1x1 s2": ("conv k1 s2 c64", 2),
    "max pool 2x2 s2": ("maxpool k2 s2", 2),
    "max pool 3x3 s2": ("maxpool k3 s2", 2),
    "mean pool 2x2 s2": ("avgpool k2 s2", 2),
}


def generator(deconvolutions: int, kernel: int) -> str:
    """A random generator of the improved-GAN shape, 100 numbers to 32 x 32 x 3, the last layers deconvolutions.

    Every layer but the last is batch normalised, so the scale of its weights is of no matter; the last one is weight
    normalised with gain 1, which a variance of 1 / fan-in is up to 3%. Nothing is matched to the published images.

    References:
      Salimans et al., Improved techniques for training GANs, arXiv:1606.03498 (shape and normalisation).
      Odena, Dumoulin and Olah, Distill 2016, figure 9 (which layers are replaced).
    """
    layers = ["dense 4x4 c512, batchnorm per=unit, relu"]
    for i, features in enumerate((256, 128, 3)):
        upsampler = f"deconv k{kernel} s2" if i >= 3 - deconvolutions else f"resize k{kernel}"
        layers.append(f"{upsampler} c{features}" + (", batchnorm, relu" if features > 3 else ", tanh"))
    return ", ".join(layers)


def generator_grid() -> list[Config]:
    """Three rows of figure 9, each with kernels of 5, 4 and 3."""
    return [
        Config(
            name=f"{row}, k{kernel}",
            stack=generator(deconvolutions, kernel),
            channels=100,
            batch=4,
            measured=3,
            periods=(2, 4),
            margin=4,
        )
        for deconvolutions, row in ROWS.items()
        for kernel in KERNELS
    ]


def gradient_grid() -> list[Config]:
    """Input gradients of first layers, on photographs and on white noise."""
    return [
        Config(
            name=f"{name}, {source}",
            stack=stack,
            direction="gradient",
            input=source,
            size=TILE,
            periods=(period,),
            margin=16,
        )
        for name, (stack, period) in STEMS.items()
        for source in ("photo", "white")
    ]

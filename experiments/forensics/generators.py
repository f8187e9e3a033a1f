"""Random generators whose last layers are transposed convolutions (or none are), and the 8-bit images they make."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import jax
import numpy as np

from checkerjax.stacks import apply, init_from_normals, normal_count

LATENT = 64
CUT = 7  # pixels
START = {  # size of the field that the first of the stacked layers reads, by (stride, stacked)
    (2, 1): 36, (2, 2): 18, (2, 3): 10, (3, 1): 24, (3, 2): 8, (3, 3): 3, (4, 1): 18, (4, 2): 5, (4, 3): 2,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Family:
    """What generators share besides kernel, stride and stacking; None for `end` means stacked deconvolutions."""

    width: int
    body: str  # "dense": a latent mapped to a field; "resize", "conv": with layers without a grid after it; "noise"
    activation: str
    normalised: bool = False
    larger: int = 0  # added to the size of the first field


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One stack of layers; seeds make generators of it."""

    kernel: int
    stride: int
    stacked: int
    family: Family
    tied: str = ""  # "resize", "linear" or "icnr" in place of the deconvolutions

    @property
    def name(self) -> str:
        """For stored rows."""
        f = self.family
        upsampler = f"{self.tied or 'deconv'} k{self.kernel} s{self.stride} x{self.stacked}"
        return f"{upsampler}, {f.body} w{f.width} {f.activation}{' bn' if f.normalised else ''} +{f.larger}"

    @property
    def start(self) -> int:
        """Size of the field that the stacked layers begin with."""
        return START[self.stride, self.stacked] + self.family.larger

    @property
    def stack(self) -> str:
        """As text."""
        f, between = self.family, [self.family.activation]
        if f.normalised:
            between = ["batchnorm", f.activation]
        layers = [] if f.body == "noise" else [f"dense {_dense_size(self)}x{_dense_size(self)}", *between]
        if f.body == "resize":
            layers += ["resize k3 s2", *between]
        if f.body in ("conv", "noise"):
            layers += ["conv k3", *between]
        for place in range(self.stacked):
            last = place == self.stacked - 1
            layers += [_upsampler(self) + (" c3" if last else ""), *([] if last else between)]
        return ", ".join(layers)


def _dense_size(architecture: Architecture) -> int:
    start = architecture.start
    return -(-start // 2) if architecture.family.body == "resize" else start


def _upsampler(architecture: Architecture) -> str:
    k, s = architecture.kernel, architecture.stride
    return {
        "": f"deconv k{k} s{s}",
        "resize": f"resize k{k} s{s}",
        "linear": f"resize k{k} s{s} linear",
        "icnr": f"subpixel k{k} s{s} initialiser=icnr",
    }[architecture.tied]


def images(architecture: Architecture, seeds: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """8-bit images `[count, H, W, 3]`, one array for each of `seeds` generators."""
    stack, f = architecture.stack, architecture.family
    channels = 4 if f.body == "noise" else LATENT
    size = (architecture.start,) * 2 if f.body == "noise" else ()
    drawn = normal_count(stack, channels=channels, width=f.width, initialiser="he")

    @jax.jit
    def make(normals, x):
        return apply(init_from_normals(normals, stack, channels=channels, width=f.width, initialiser="he"), stack, x)

    for index in range(seeds):
        rng = np.random.default_rng([seed, index])
        x = rng.standard_normal((count, *size, channels), np.float32)
        raw = np.asarray(make(rng.standard_normal(drawn, np.float32), x))
        yield _eight_bits(raw, rng)
    jax.clear_caches()


def _eight_bits(raw: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """tanh at a random contrast, rounded, cut at a random place: phases have no known origin."""
    scaled = np.tanh(raw * (rng.uniform(0.25, 1.0) / np.sqrt(np.mean(raw**2))))
    top, left = rng.integers(0, CUT + 1, 2)
    cut = scaled[:, top : top + raw.shape[1] - CUT, left : left + raw.shape[2] - CUT]
    return np.clip(np.round((cut + 1) * 127.5), 0, 255).astype(np.uint8)


CALIBRATION = (
    Family(16, "dense", "relu"),
    Family(48, "resize", "leaky_relu slope=0.2", normalised=True),
    Family(24, "conv", "relu", larger=2),
    Family(64, "noise", "relu", larger=2),
)
ODD = (  # wide, and without a mean: phases of even counts come out nearly equal
    Family(80, "conv", "tanh", normalised=True, larger=1),
    Family(128, "noise", "tanh"),
)
HELD_BACK = (
    Family(20, "dense", "leaky_relu slope=0.1", larger=1),
    Family(40, "resize", "relu", normalised=True),
    Family(112, "conv", "tanh", normalised=True, larger=1),
    Family(56, "noise", "leaky_relu slope=0.1", larger=3),
)


def architectures(families: tuple[Family, ...]) -> list[Architecture]:
    """Every kernel, stride and stacking with every family."""
    grid = itertools.product((3, 4, 5, 6), (2, 3, 4), (1, 2, 3), families)
    return [Architecture(k, s, n, family) for k, s, n, family in grid]


def tied(families: tuple[Family, ...]) -> list[Architecture]:
    """Upsamplers that leave no second-moment grid: what must not be named."""
    return [
        Architecture(k, s, n, family, kind)
        for kind, k, (s, n), family in itertools.product(
            ("resize", "linear", "icnr"), (3, 5), ((2, 1), (2, 2), (3, 1), (4, 1)), families
        )
    ]

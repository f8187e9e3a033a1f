"""Reports of audits made by hand, from small to large, for the tests of how they are shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from checkerjax.audits._finding import Finding
from checkerjax.audits._report import AuditReport
from checkerjax.audits._report_parts import Outcome, Settings, Traced
from checkerjax.stacks import parse_stack

SETTINGS = Settings(
    inputs=(1,), input_shapes=((1, 64),), redraw=32, seed=0, device="cpu: cpu",
    versions=(("checkerjax", "0.1.0"), ("jax", "0.10.2")),
)  # fmt: skip
ADVICE = "kernel 4 instead of 5: even counts, 0.64 times the products"


def finding(role="up", size=(5, 5), stride=(2, 2), grade="uneven", path="", source="model.py:1", **more) -> Finding:
    ndim = len(size)
    fields: dict[str, Any] = dict(
        operation="transposed convolution", axis_grades=(grade,) * ndim, dilation=(1,) * ndim, padding=(),
        kernel="learned", counts=((3.0, 2.0),) * ndim, gain_spread=1.3, period=stride, macs=4_000_000, certain=True,
        nodes=(1, 2),
    )  # fmt: skip
    return Finding(role, size, stride, grade, path, source, **(fields | more))


def unknown(operation="sort (no rule)", path="Block_3/Attention", source="model.py:77") -> Finding:
    return finding("unknown", (), (), "untied", path, source, operation=operation, kernel="none", counts=())


def spectrum(shape, period, strength=20.0, seed=0) -> np.ndarray:
    """Noise that falls with frequency, and peaks at the multiples of 1 / period."""
    grids = np.meshgrid(*[np.fft.fftfreq(n) for n in shape], indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grids))
    power = np.random.default_rng(seed).gamma(16, 1 / 16, shape) / (0.05 + radius)
    at = tuple(slice(None, None, n // p) for n, p in zip(shape, period))
    power[at] *= strength
    return power


def traced(findings, plain=0) -> tuple[Traced, ...]:
    """The findings as the trace has them, each followed by so many plain convolutions."""
    out = []
    for f in findings:
        out.append(Traced(f"{f.role} k{f.kernel_size[0]} s{f.stride[0]}", f.path, f.source, f.lattice_ratio,
                          f.power_ratio, f.grade))  # fmt: skip
        out += [
            Traced("conv k3", f"{f.path}/Conv_{i}", f.source, f.lattice_ratio, f.power_ratio, None)
            for i in range(plain)
        ]
    return tuple(out)


def dcgan() -> AuditReport:
    """Three uneven deconvolutions after a dense layer."""
    numbers = ((0.71, 2.4), (1.28, 4.43), (2.31, 6.74))
    forward = tuple(
        finding(path=f"Generator/ConvTranspose_{i}", source=f"gan/models/generator.py:{31 + 4 * i}", lattice_ratio=a,
                power_ratio=b, advice=(ADVICE, "nearest resize and a convolution: no grid, 2.6 times the products"))
        for i, (a, b) in enumerate(numbers)
    )  # fmt: skip
    output = Outcome(
        2.31, 6.74, ((2, 1.1), (4, 0.8), (8, 0.41)), ((2, 2.6), (4, 5.1), (8, 6.74)), (8, 8), (32, 32),
        ((8, 24), (8, 24)), "uneven", ((9.0, 12.0, 6.0, 8.0, 6.0, 12.0, 9.0, 4.0),) * 2, latent=True,
    )  # fmt: skip
    gradient = Outcome(0.0, 1.0, (), (), (), (), (), "tied", ())
    return AuditReport(
        "both", forward, (), output,
        stack=parse_stack("dense 4x4 c512, batchnorm, relu, deconv k5 s2, batchnorm, relu, deconv k5 s2, tanh"),
        backward_outcome=gradient, trace=traced(forward), spectrum=spectrum((32, 32), (8, 8)),
        notes=("the interior is small: 16x16 of 32x32",), settings=SETTINGS,
    )  # fmt: skip


def unet() -> AuditReport:
    """Four max pools, four even deconvolutions, two smoothing filters."""
    downs = [
        finding("down", (2, 2), (2, 2), "tied", f"UNet/Down_{i}", f"unet.py:{20 + i}", operation="max pool",
                kernel="none", lattice_ratio=0.0, power_ratio=1.01) for i in range(4)
    ]  # fmt: skip
    ups = [
        finding("up", (4, 4), (2, 2), "untied", f"UNet/Up_{i}/ConvTranspose_0", f"unet.py:{40 + i}",
                lattice_ratio=0.3 + 0.1 * i, power_ratio=1.05 + 0.02 * i, advice=("tie the gains: icnr_transpose",))
        for i in range(4)
    ]  # fmt: skip
    smooth = [
        finding("smooth", (3, 3), (1, 1), "tied", "UNet/blur", "unet.py:60", kernel="constant", lattice_ratio=0.5,
                power_ratio=1.06) for _ in range(2)
    ]  # fmt: skip
    back = [
        finding("up", (2, 2), (2, 2), "untied", f"UNet/Down_{i}", f"unet.py:{20 + i}",
                operation="gradient of a max pool", lattice_ratio=0.12, power_ratio=1.02, zero_share=0.75)
        for i in reversed(range(4))
    ]  # fmt: skip
    output = Outcome(0.52, 1.06, ((2, 0.52), (4, 1e-4)), ((2, 1.05), (4, 1.06)), (2, 2), (128, 128),
                     ((20, 108), (20, 108)), "untied", ((4.0, 4.0),) * 2)  # fmt: skip
    gradient = Outcome(0.12, 1.02, ((2, 0.12),), ((2, 1.02),), (16, 16), (128, 128), ((16, 112),) * 2, "untied", (),
                       zero_share=0.31)  # fmt: skip
    forward = (*downs, *ups, *smooth)
    return AuditReport(
        "lines", forward, tuple(back), output, stack_reason="attention at unet.py:33 is no layer of a stack",
        backward_outcome=gradient, not_understood=(unknown(),), trace=traced(forward, 2),
        spectrum=spectrum((88, 88), (2, 2)), settings=SETTINGS,
    )  # fmt: skip


def resnet() -> AuditReport:
    """A classifier: nothing forward, holes in the gradient."""
    kernels = [(7, "uneven"), (3, "uneven"), (3, "uneven"), (1, "holes"), (3, "uneven"), (1, "holes"), (3, "uneven"),
               (1, "holes")]  # fmt: skip
    forward = [
        finding("down", (k, k), (2, 2), "tied", f"ResNet18/layer{i}/conv", f"resnet.py:{90 + i}",
                operation="strided convolution", lattice_ratio=0.0, power_ratio=1.0)
        for i, (k, _) in enumerate(kernels)
    ]  # fmt: skip
    back = [
        finding("up", (k, k), (2, 2), grade, f"ResNet18/layer{i}/conv", f"resnet.py:{90 + i}",
                lattice_ratio=0.8 + 0.05 * i, power_ratio=math.inf if grade == "holes" else 1.78 + i,
                zero_share=0.75 if grade == "holes" else 0.0,
                advice=("a strided convolution with a kernel that the stride divides",) if grade == "holes" else ())
        for i, (k, grade) in reversed(list(enumerate(kernels)))
    ]  # fmt: skip
    output = Outcome(0.0, 1.0, (), (), (1, 1), (1, 1), (), "tied", ((1.0,), (1.0,)))
    gradient = Outcome(
        0.82, math.inf, ((2, 0.6), (4, 0.2), (8, 0.02), (16, 4e-4), (32, 5e-5)),
        ((2, 1.78), (4, 3.9), (8, 7.0), (16, 12.0), (32, math.inf)), (32, 32), (224, 224), ((96, 128), (96, 128)),
        "holes", (tuple(float(i % 7 + 1) for i in range(32)),) * 2, zero_share=0.1234,
    )  # fmt: skip
    loss = Outcome(0.7, 1.5, ((2, 0.7),), ((2, 1.5),), (32, 32), (224, 224), ((96, 128), (96, 128)), "holes", ())
    return AuditReport(
        "clean", tuple(forward), tuple(back), output, backward_outcome=gradient, loss_outcome=loss,
        trace=traced(forward, 1), spectrum=None, settings=SETTINGS,
    )  # fmt: skip


def clean() -> AuditReport:
    """Two nearest resizes with convolutions."""
    forward = tuple(
        finding("up", (3, 3), (2, 2), "tied", f"Decoder/Up_{i}", f"decoder.py:{12 + i}",
                operation="nearest resize + convolution", lattice_ratio=3e-15, power_ratio=1.04) for i in range(2)
    )  # fmt: skip
    output = Outcome(4e-15, 1.07, ((2, 3e-15), (4, 1e-15)), ((2, 1.04), (4, 1.07)), (4, 4), (64, 64),
                     ((8, 56), (8, 56)), "tied", ((9.0,) * 4,) * 2)  # fmt: skip
    return AuditReport(
        "clean", forward, (), output, stack=parse_stack("resize k3 s2, relu, resize k3 s2"),
        trace=traced(forward, 1), spectrum=spectrum((48, 48), (4, 4), 1.5), settings=SETTINGS,
    )  # fmt: skip


def static() -> AuditReport:
    """Counted, not measured; one operation in a loop, one that was not understood."""
    forward = (finding(path="G/Up_0"), finding(grade="untied", size=(4, 4), path="G/Up_1", certain=False), unknown())
    output = Outcome(None, None, period=(4, 4), shape=(64, 64), grade="uneven", counts=((6.0, 4.0, 6.0, 4.0),) * 2)
    return AuditReport(
        None, forward, (), output, stack_reason="sort has no layer", not_understood=(forward[2],),
        trace=traced(forward[:2], 1), settings=SETTINGS,
    )  # fmt: skip


def forty() -> AuditReport:
    """Forty operations with long names, and a trace of 120."""
    grades = ("uneven", "untied", "tied", "holes")
    forward = tuple(
        finding("up" if i % 2 else "down", (3 + i % 3, 3), (2, 1 + i % 2), grades[i % 4],
                f"VeryLongModelName/EncoderDecoderStage_{i // 4}/ResidualBlockWithAttention_{i}/ConvTranspose_{i}",
                f"/srv/someone/projects/super/resolution/networks/blocks/residual_attention_{i}.py:{100 + i}",
                lattice_ratio=10.0 ** (i % 7 - 6), power_ratio=1 + 0.1 * i, advice=(ADVICE,)) for i in range(40)
    )  # fmt: skip
    output = Outcome(
        0.2, 1.1, tuple((p, 0.2 / p) for p in range(2, 25)), tuple((p, 1.1) for p in range(2, 25)), (24, 12),
        (512, 256), ((100, 412), (56, 200)), "holes", (tuple(float(i) for i in range(24)), (1.0, 2.0) * 6),
    )  # fmt: skip
    return AuditReport(
        "lines", forward, forward[::2], output, backward_outcome=output, trace=traced(forward, 2),
        spectrum=spectrum((312, 144), (24, 12)), notes=("a note " * 40,), settings=SETTINGS,
    )  # fmt: skip


def signal() -> AuditReport:
    """A vocoder: one spatial axis, channels first."""
    forward = tuple(
        finding("up", (k,), (s,), "untied", f"HiFiGAN/ups_{i}", f"hifigan.py:{50 + i}", lattice_ratio=0.4 + i,
                power_ratio=1.1 + 0.2 * i) for i, (k, s) in enumerate([(16, 8), (16, 8), (4, 2), (4, 2)])
    )  # fmt: skip
    output = Outcome(3.4, 1.7, ((2, 1.0), (4, 1.2), (32, 0.7), (256, 0.5)), ((2, 1.2), (256, 1.7)), (256,), (8192,),
                     ((1024, 7168),), "untied", ((16.0,) * 256,))  # fmt: skip
    settings = Settings(layout="channel_first", inputs=(0,), redraw=0, seed=(0, 7), device="gpu: H200")
    return AuditReport(
        "both", forward, (), output, trace=traced(forward, 1), spectrum=spectrum((6144,), (256,)), settings=settings
    )  # fmt: skip


def volume() -> AuditReport:
    """Three spatial axes, strides that differ."""
    forward = (
        finding("up", (3, 3, 3), (1, 2, 2), "uneven", "VNet/up", "vnet.py:9", lattice_ratio=1.1, power_ratio=7.9,
                axis_grades=("tied", "uneven", "uneven")),
        finding("shuffle", (1, 1, 1), (2, 2, 2), "untied", "VNet/shuffle", "vnet.py:11", lattice_ratio=1.9,
                power_ratio=9.1),
    )  # fmt: skip
    counts = (1.0, 1.0), (2.0, 1.0, 2.0, 1.0), (2.0, 1.0, 2.0, 1.0)
    output = Outcome(1.9, 9.1, ((2, 1.3), (4, 0.6)), ((2, 6.2), (4, 9.1)), (2, 4, 4), (16, 48, 48),
                     ((4, 12), (4, 44), (4, 44)), "uneven", counts)  # fmt: skip
    return AuditReport(
        "both", forward, (), output, trace=traced(forward), spectrum=spectrum((8, 40, 40), (2, 4, 4)),
        settings=SETTINGS,
    )  # fmt: skip


ALL = {make.__name__: make for make in (dcgan, unet, resnet, clean, static, forty, signal, volume)}

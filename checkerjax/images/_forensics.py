"""`forensics`: which upsampler made these images, before any training."""

from __future__ import annotations

from typing import Any

import numpy as np

from checkerjax.images import _forensics_model as model
from checkerjax.images._forensics_calibration import label, load, p_value
from checkerjax.images._forensics_input import as_field
from checkerjax.images._forensics_moments import PhaseMoments, phase_moments
from checkerjax.images._forensics_report import ForensicsReport, SeenPhases, Suspect
from checkerjax.images._forensics_scores import behind, by_layer, depths, evidences, softmax

OP = "forensics"
LEAST_ALPHA = 0.01  # what the calibration has generators for
MOST_CLIPPED = 0.1  # share of values, beyond which nothing is excluded


def forensics(images: Any, *, alpha: float = 0.05, squash: str = "tanh") -> ForensicsReport:
    """Which kernel and stride the last upsampler of an untrained generator has, from its images alone.

    With independent random weights the expected second moment of each phase is proportional to the overlap count of
    the transposed convolution, whatever comes before it. The report has the likelihood of kernels 3 to 6, strides 2 to
    4, one to three such layers at the end of the generator, and of none: tied upsamplers (resize, ICNR), photographs.

    Often the honest answer is "cannot tell", and the set of what is left says between what. Images of one generator
    share its weights: the last layer has few output channels, so what its phases happened to draw does not average
    away over images. Kernels of the same counts (4 and 6 at stride 2, 3 and 6 at stride 3) are not told apart at all,
    3 and 5 at stride 2 often not.

    Weights must be as drawn: training moves the moments of phases. Kernels, strides or layouts other than those named
    (a stride-1 layer after the last upsampler, a bias of its own that is not small, resizing, JPEG) are not considered;
    the set then says nothing.

    Args:
      images: of one generator and one size: `[N, H, W, C]`, `[H, W, C]` or `[H, W]`, or a list of arrays or of
        `Picture`s; uint8, uint16, or floats in [0, 1] or [-1, 1]; up to 3 channels.
      alpha: share of generators, of each kind, for which the set may miss the truth; at least 0.01.
      squash: "tanh" (or a sigmoid) at the end of the generator is undone; "linear" takes values as they are.

    Returns:
      A report: suspects with probabilities (equal before) and the set that holds the truth for 1 - alpha of simulated
      generators of each kind.

    Raises:
      ValueError: for unequal sizes, images below 20 pixels, more than 3 channels, constant images, values that are not
        finite or out of range, an alpha outside [0.01, 1), or an unknown squash.
      TypeError: for something that is no real array, or unequal dtypes.

    Example:
      >>> import jax
      >>> from checkerjax.stacks import apply, init
      >>> stack = "deconv k5 s3 c3, tanh"
      >>> params = init(jax.random.key(0), stack, channels=32)
      >>> images = apply(params, stack, jax.random.normal(jax.random.key(1), (4, 24, 24, 32)))
      >>> forensics(images).stride
      3

    References:
      Odena, Dumoulin and Olah, Distill 2016 (overlap). Quadratic forms in normals as Gamma: Satterthwaite, 1946. Sets
      by ranks among simulated scores: Vovk, Gammerman and Shafer, Algorithmic learning in a random world, 2005.
    """
    if not isinstance(alpha, (int, float, np.floating)) or not LEAST_ALPHA <= alpha < 1:
        raise ValueError(f"{OP}: alpha must be at least {LEAST_ALPHA} and below 1; got {alpha!r}.")
    field = as_field(OP, images, squash)
    squares = field.values**2
    views = [phase_moments(squares, stride, model.STACKED) for stride in model.STRIDES]
    notes = list(field.notes)
    if field.clipped > MOST_CLIPPED:
        notes.append(f"{field.clipped:.0%} of the values are clipped: nothing is excluded")
    if field.values.shape[-1] < 3:
        notes.append("fewer than 3 channels: the set was calibrated with 3")
    suspects = _suspects(views, field.clipped > MOST_CLIPPED)
    seen = tuple(_seen(view) for view in views if view is not None)
    return ForensicsReport(
        field.size[0], field.size[1:3], field.values.shape[-1], float(alpha), suspects, seen, field.clipped,
        tuple(notes),
    )  # fmt: skip


def _suspects(views: list[PhaseMoments | None], keep_all: bool) -> tuple[Suspect, ...]:
    calibration = load()
    found = evidences(views, calibration.priors)
    odds = by_layer(found)
    distances, names = behind(odds), list(odds)
    shares = dict(zip(names, softmax(calibration.temper * np.array(list(odds.values())))))

    def suspect(kernel: int | None, stride: int | None, stacked: tuple[float, ...]) -> Suspect:
        name = label(kernel, stride)
        p = 1.0 if keep_all else p_value(calibration, name, distances[name])
        return Suspect(name, kernel, stride, float(shares[name]), p, stacked)

    every = [suspect(None, None, ())]
    for each in found:
        stacked = depths(each, calibration.temper)
        every += [suspect(kernel, each.stride, stacked) for kernel in each.kernels]
    return tuple(sorted(every, key=lambda s: (-s.probability, -s.p)))


def _seen(view: PhaseMoments) -> SeenPhases:
    pooled = model.fold(view.powers / view.powers.mean((0, 1)), view.stride).sum(-1)
    error = view.errors[0] if len(view.errors) == view.levels else sum(view.errors[:2])
    return SeenPhases(view.stride, float(pooled.max() / max(pooled.min(), 1e-30)), float(np.sqrt(error)))

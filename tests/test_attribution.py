"""Where grids come from: evidence against oracles, known origins found, decoders' grids never excused."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
import scipy.fft

from checkerjax.images import Origin, Picture, measure
from checkerjax.images import _attribution_jpeg as jpeg
from checkerjax.images import _attribution_samples as planes
from checkerjax.images._attribution import ORIGINS, UNKNOWN, _Case, _origin, attribute
from checkerjax.images._attribution_entries import LINES, PHASES, Entry
from checkerjax.images._attribution_others import find_mosaic
from checkerjax.images._attribution_samples import Samples

SIZE = (256, 320)
EIGHTHS = (2, 3, 4, 8)


def _scene(rng, size=SIZE, channels=3, slope=1.4):
    """Smooth noise with edges, uint8, without a grid: cubes of soft fields have flat and busy parts."""
    f = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1]))
    shape = 1 / (f + 0.02) ** slope
    fields = [np.fft.ifft2(np.fft.fft2(rng.normal(size=size)) * shape).real for _ in range(channels)]
    grey = fields[0] / fields[0].std()
    out = [128 + 34 * grey + 12 * field / field.std() + 1.5 * rng.normal(size=size) for field in fields]
    return _bytes(np.stack(out, -1).squeeze())


def _bytes(x):
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def _coded(pixels, quality, subsampling="4:4:4"):
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(image.open(file))


def _decoded(pixels, stride, rng, disturbance=0.2):
    """A transposed convolution in loops: each sample stamps a disturbed tent."""
    x = pixels.astype(np.float64)
    h, w = (n // stride for n in x.shape[:2])
    x = x[: h * stride, : w * stride].reshape(h, stride, w, stride, -1).mean((1, 3))
    tent = 1 - np.abs(np.arange(1 - stride, stride)) / stride
    kernel = np.outer(tent, tent) * (1 + disturbance * rng.normal(size=(2 * stride - 1,) * 2))
    out = np.zeros(((h + 1) * stride, (w + 1) * stride, x.shape[2]))
    for i, j in np.ndindex(kernel.shape):
        out[i : i + h * stride : stride, j : j + w * stride : stride] += kernel[i, j] * x
    inner = out[stride - 1 : stride - 1 + h * stride, stride - 1 : stride - 1 + w * stride]
    return _bytes(inner * stride**2 / kernel.sum()).squeeze()


def _attributed(pixels, periods=EIGHTHS, **kwargs):
    return attribute(measure(pixels, periods=periods, **kwargs), pixels)


def _origins(pixels, **kwargs):
    return {(found.period, found.statistic): found.origin for found in _attributed(pixels, **kwargs)}


@pytest.fixture(scope="module")
def scene():
    return _scene(np.random.default_rng(11))


def test_folds_of_cells_are_means_over_phases(rng):
    x, offset = rng.normal(size=(41, 55)), (3, 5)
    folds = planes.cell_folds(x, 4, 12, offset)
    assert folds.shape == (3, 4, 4, 4)
    for i, j, a, b in ((0, 0, 0, 0), (2, 3, 1, 2), (1, 2, 3, 3)):
        picked = [x[3 + 12 * i + a + 4 * m, 5 + 12 * j + b + 4 * n] for m in range(3) for n in range(3)]
        assert folds[i, j, a, b] == pytest.approx(np.mean(picked), rel=1e-12)


def test_common_power_has_no_share_of_chance(rng):
    shared = np.array([0.3 + 0.4j, 0.0, -0.2j])
    powers = [
        planes.common_power(shared + rng.normal(size=(20, 3)) + 1j * rng.normal(size=(20, 3)))[0] for _ in range(2000)
    ]
    # The spread of one estimate is about 0.15: 2000 of them leave a standard error of 0.004.
    np.testing.assert_allclose(np.mean(powers, 0), np.abs(shared) ** 2, atol=0.015)


@pytest.mark.parametrize("period", [2, 3, 4, 8])
def test_primitive_lines_are_those_of_no_shorter_period(period):
    expected = set()
    for k, m in np.ndindex(period, period):
        shorter = any((k * q) % period == 0 and (m * q) % period == 0 for q in range(1, period))
        if not shorter and (-k % period, -m % period) not in expected:
            expected.add((k, m))
    found = planes.primitive_lines(period, period)
    assert len(found) == len(expected)
    assert all((k, m) in expected or (-k % period, -m % period) in expected for k, m in found.tolist())


def test_alternation_is_measured_in_levels(rng):
    x = rng.normal(size=(160, 180)) + 0.4 * (-1.0) ** np.arange(160)[:, None]
    amplitude, error = jpeg.alternation(x, 0)
    assert abs(amplitude) == pytest.approx(0.4, rel=0.2)  # clipping takes some of it
    assert 0 < error < 0.05
    across, error = jpeg.alternation(x, 1)
    assert abs(across) < 5 * error


def _quantised(grey, steps, offset=(0, 0)):
    """DCT coefficients of 8 x 8 blocks from `offset` on, rounded to multiples of `steps` [8, 8], block by block."""
    out = grey.astype(np.float64)
    for top in range(offset[0], grey.shape[0] - 7, 8):
        for left in range(offset[1], grey.shape[1] - 7, 8):
            block = scipy.fft.dctn(out[top : top + 8, left : left + 8], norm="ortho")
            out[top : top + 8, left : left + 8] = scipy.fft.idctn(np.round(block / steps) * steps, norm="ortho")
    return _bytes(out)


def _comb(pixels):
    samples = planes.as_samples("test", pixels.shape[:2], pixels, None)
    assert samples is not None
    return jpeg.find_comb(samples)


@pytest.mark.parametrize("offset", [(0, 0), (3, 6)])
def test_the_comb_of_quantised_blocks_gives_their_steps_and_place(offset):
    grey = _scene(np.random.default_rng(2), channels=1, slope=2.2)
    steps = 20 + np.add.outer(np.arange(8), np.arange(8)) * 1.0
    comb = _comb(_quantised(grey, steps, offset))
    assert comb is not None
    assert comb.offset == offset
    assert len(comb.steps) == len(jpeg.FREQUENCIES)
    assert comb.steps == tuple(int(steps[k, m]) for k, m in jpeg.FREQUENCIES)
    assert comb.coherence > 0.7


def test_there_is_no_comb_without_quantisation(rng):
    for channels in (1, 3):
        assert _comb(_scene(rng, channels=channels)) is None
    for stride in (2, 4, 8):
        assert _comb(_decoded(_scene(rng, channels=1), stride, rng)) is None


def _cells(plane):
    return Samples((plane.astype(np.float32),), None).difference_cells((0, 0))


def _edges(plane, period):
    cells = _cells(plane)
    assert cells is not None
    return jpeg.edge_share(cells, period)


def test_steps_between_blocks_explain_constant_blocks_and_not_other_patterns(rng):
    blocks = np.kron(rng.normal(size=(32, 40)), np.ones((8, 8)))
    noise = 0.05 * rng.normal(size=blocks.shape)
    edges = _edges(blocks + noise, 8)
    assert edges.share > 0.99
    assert min(edges.excess) > 0
    for period in (2, 4, 8):
        contrast = np.tile(rng.uniform(0.3, 1.7, size=(period, period)), (256 // period, 320 // period))
        other = rng.normal(size=SIZE) * contrast
        edges = _edges(other, period)
        assert edges.share < 0.5
    assert _cells(blocks[:96]) is None  # too small to say


@pytest.mark.parametrize("quality", [40, 60])
@pytest.mark.parametrize("crop", [(0, 0), (3, 6)])
def test_jpeg_is_recognised_from_pixels_alone(scene, quality, crop):
    coded = _coded(scene, quality)[crop[0] :, crop[1] :]
    found = _origins(coded)
    assert found[(8, "phase power")] == "jpeg blocks"
    evidence = next(a.evidence for a in _attributed(coded) if a.origin == "jpeg blocks")
    assert "DCT coefficients are multiples of" in evidence
    start = tuple(-c % 8 for c in crop)
    assert ("blocks start at" in evidence) == (crop != (0, 0))
    assert crop == (0, 0) or f"blocks start at {start[0]}, {start[1]}" in evidence


def test_blocks_explain_phase_powers_and_never_lines(scene):
    coded = _coded(scene, 50)
    samples = planes.as_samples("test", SIZE, coded, None)
    assert samples is not None
    wanted = [Entry(8, kind, "luminance", 9.0, 1.0, "luminance", (0,)) for kind in (LINES, PHASES)]
    origins = [origin for origin, _ in (_origin(_Case(samples, wanted), entry) for entry in wanted)]
    assert origins == [UNKNOWN, "jpeg blocks"]


def test_subsampled_chroma_is_recognised_along_the_axis_that_libjpeg_rounds(scene):
    found = next(a for a in _attributed(_coded(scene, 90, "4:2:0")) if a.statistic == "lines" and a.period == 2)
    assert found.origin == "jpeg 4:2:0 chroma"
    assert "along axis 1" in found.evidence
    assert "luminance" not in found.planes
    assert (2, "lines") not in _origins(_coded(scene, 90))


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_bayer_mosaic_is_recognised_whatever_its_arrangement(scene, shift):
    raw = scene.astype(np.float64)
    mosaic = np.zeros_like(raw)
    for channel, sites in enumerate([[(0, 0)], [(0, 1), (1, 0)], [(1, 1)]]):
        for a, b in sites:
            where = (slice(a, None, 2), slice(b, None, 2), channel)
            mosaic[where] = raw[where]
    around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    out = np.zeros_like(raw)
    for i, j in around:
        moved = np.roll(mosaic, (i, j), (0, 1))
        square = (2 - abs(i)) * (2 - abs(j)) / 4
        cross = 1.0 if i == j == 0 else 0.25 * (abs(i) + abs(j) == 1)
        out += moved * np.array([square, cross, square])
    pixels = _bytes(out)[shift[0] :, shift[1] :]
    found = _origins(pixels)
    assert found[(2, "phase power")] == "demosaicing"
    swapped = planes.as_samples("test", pixels.shape[:2], pixels[..., [1, 0, 2]], None)
    assert swapped is not None
    assert find_mosaic(swapped) is None  # such a mosaic has twice as many red samples: no camera's


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_scan_lines_are_along_one_axis_only(rng, axis, channels):
    lined = _scene(rng, channels=channels).astype(np.float64)
    lined[(slice(None),) * axis + (slice(None, None, 2),)] *= 1.03
    both = lined.copy()
    both[(slice(None),) * (1 - axis) + (slice(None, None, 2),)] *= 1.03
    assert _origins(_bytes(lined))[(2, "lines")] == "scan lines"
    assert f"axis {axis}" in next(a.evidence for a in _attributed(_bytes(lined)) if a.statistic == "lines")
    assert _origins(_bytes(both))[(2, "lines")] == UNKNOWN


def test_a_pattern_along_the_border_is_told_from_one_everywhere(scene):
    pattern = np.tile([[8.0, -8.0, 0.0], [-8.0, 0.0, 8.0], [0.0, 8.0, -8.0]], (86, 107))[: SIZE[0], : SIZE[1], None]
    border = pattern.copy()
    border[60:-60, 60:-60] = 0
    assert _origins(_bytes(scene + border), periods=[3])[(3, "lines")] == "padding border"
    assert _origins(_bytes(scene + pattern), periods=[3])[(3, "lines")] == UNKNOWN
    lower = pattern.copy()
    lower[:180] = 0  # along one side only: no padding
    assert "padding border" not in _origins(_bytes(scene + lower), periods=[3]).values()


@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("quality", [None, 90, 75])
def test_the_grid_of_a_decoder_is_never_excused(stride, quality):
    rng = np.random.default_rng(stride)
    pixels = _decoded(_scene(rng, (256, 320)), stride, rng)
    if quality is not None:
        pixels = _coded(pixels, quality, "4:2:0")
    found = _attributed(pixels)
    own = [a for a in found if a.period == stride]
    assert own
    assert UNKNOWN in {a.origin for a in own if a.statistic == "lines" or quality is None}
    if quality is None:
        assert {a.origin for a in found} == {UNKNOWN}
    assert {a.origin for a in found} <= {UNKNOWN, "jpeg blocks", "jpeg 4:2:0 chroma", "jpeg 4:2:2 chroma"}


def test_patches_of_eight_pixels_are_not_jpeg_without_its_quantisation(rng):
    patches = 128 + 3 * rng.normal(size=(*SIZE, 3)) + 6 * np.kron(rng.normal(size=(32, 40)), np.ones((8, 8)))[..., None]
    found = _origins(_bytes(patches))
    assert (8, "phase power") in found
    assert set(found.values()) == {UNKNOWN}
    # Coded finely, the steps between patches are far more than the quantisation makes.
    assert _origins(_coded(_bytes(patches), 92))[(8, "phase power")] == UNKNOWN


def _as_picture(samples, tmp_path, **kwargs):
    scale = 65535.0 if samples.dtype == np.uint16 else 255.0
    return Picture(tmp_path / "a", samples, "yxc", scale, kwargs.pop("format", "PNG"), "RGB", 8, **kwargs)


def test_what_the_pixels_are_scaled_by_does_not_matter(scene, tmp_path):
    coded = _coded(scene, 75, "4:2:0")
    report = measure(coded, periods=EIGHTHS)
    expected = [(a.period, a.statistic, a.origin) for a in attribute(report, coded)]
    assert any(origin != UNKNOWN for *_, origin in expected)
    deep = coded.astype(np.uint16) * np.uint16(257)
    forms = [
        deep,
        coded / 255,
        (coded / 255).astype(np.float32),
        _as_picture(coded, tmp_path),
        _as_picture(deep, tmp_path),
    ]
    for form in forms:
        assert [(a.period, a.statistic, a.origin) for a in attribute(report, form)] == expected
    wide = attribute(report, coded.astype(np.int64), full_scale=255)
    assert [(a.period, a.statistic, a.origin) for a in wide] == expected


def test_a_file_that_is_a_jpeg_counts_as_one_where_its_blocks_show(rng, tmp_path):
    blocks = 128 + 3 * rng.normal(size=(*SIZE, 3)) + 6 * np.kron(rng.normal(size=(32, 40)), np.ones((8, 8)))[..., None]
    pixels = _bytes(blocks)
    report = measure(pixels, periods=[8])
    assert {a.origin for a in attribute(report, _as_picture(pixels, tmp_path))} == {UNKNOWN}
    file = _as_picture(pixels, tmp_path, format="JPEG", origin=Origin(lossy=True, quality=93))
    (found,) = attribute(report, file)
    assert found.origin == "jpeg blocks"
    assert found.evidence.endswith("the file is a JPEG of quality 93")


def test_entries_are_plain_and_shares_are_parts(scene):
    x = scene.astype(np.float64)
    x[::2, ::2] += 2.0
    x[::4, :, 0] += 2.0
    found = _attributed(_bytes(x))
    assert {a.period for a in found} == {2, 4}
    for a in found:
        assert a.origin in ORIGINS
        assert len(a.evidence) <= 200
        assert 0 <= a.share <= 1
        json.dumps(a._asdict())
    total = sum(a.share for a in found if a.period == 4 and a.statistic == "lines")
    assert 0 < total <= 1 + 1e-9


def test_every_period_found_is_attributed(scene):
    report = measure(_coded(scene, 60, "4:2:0"))
    found = attribute(report, _coded(scene, 60, "4:2:0"))
    assert {a.period for a in found} == set(report.found)


def test_nothing_found_is_nothing_attributed_and_other_kinds_are_unknown(scene, rng):
    assert _attributed(scene, periods=[3]) == ()
    volume = rng.normal(size=(24, 24, 24))
    volume[::2] += 1
    (found,) = _attributed(volume, periods=[2], layout="DHW")
    assert found.origin == UNKNOWN
    assert found.evidence == "origins are known of pictures of 1 or 3 channels only"


def test_bad_input_is_refused(scene):
    report = measure(scene, periods=[2])
    with pytest.raises(TypeError, match=r"attribute: report must be one of measure; got ndarray\."):
        attribute(scene, scene)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"attribute: picture must be a Picture or an array; got str\. Read files"):
        attribute(report, "a.png")
    with pytest.raises(ValueError, match=r"must be the one that the report is of, 256 x 320 .* got shape \(320, 256"):
        attribute(report, scene.swapaxes(0, 1))
    with pytest.raises(ValueError, match=r"attribute: int64 samples have no stated range"):
        attribute(report, scene.astype(np.int64))
    with pytest.raises(ValueError, match=r"attribute: full_scale must be positive; got 0\."):
        attribute(report, scene, full_scale=0)
    with pytest.raises(TypeError, match=r"attribute: full_scale must be a number or None; got '1'\."):
        attribute(report, scene, full_scale="1")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"attribute: picture must be finite"):
        attribute(report, np.where(scene > 200, np.nan, scene / 255))
    with pytest.raises(TypeError, match=r"attribute: picture must have a real dtype; got complex128\."):
        attribute(report, scene.astype(complex))
    assert attribute(dataclasses.replace(report, found=()), scene) == ()


def test_samples_far_beyond_white_are_attributed(rng):
    """Their DCT coefficients are beyond every integer that bins are counted in."""
    samples = rng.integers(-(2**30), 2**30, size=(128, 130, 3)).astype(np.int32)
    samples[::2] //= 2
    found = attribute(measure(samples), samples, full_scale=1.0)
    assert [(a.period, a.origin) for a in found] == [(2, UNKNOWN)]

"""Which upsampler made these images: the likelihood against integrals, the report against generators made by loops."""

import importlib
import itertools
import json
import sys

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from checkerjax.cli import main
from checkerjax.cli._measure_forensics import examine
from checkerjax.images import _forensics_model as model
from checkerjax.images import forensics
from checkerjax.images._forensics_calibration import load, p_value
from checkerjax.images._forensics_moments import PhaseMoments, fold, margin_of, phase_moments, steps
from checkerjax.images._forensics_scores import Evidence, behind, by_layer, depths, evidence, evidences
from checkerjax.overlap import count


def stamped(x, kernel, stride):
    """A transposed convolution `[N, H, W, I]` by `[k, k, I, O]`, "VALID", one tap at a time."""
    k = kernel.shape[0]
    out = np.zeros((len(x), *((n - 1) * stride + k for n in x.shape[1:3]), kernel.shape[-1]))
    for i, j in itertools.product(range(k), range(k)):
        rows, columns = (slice(a, a + (n - 1) * stride + 1, stride) for a, n in zip((i, j), x.shape[1:3]))
        out[:, rows, columns] += x @ kernel[i, j]
    return out


def generated(rng, kernel, stride, *, size=24, images=4, channels=24, stacked=1):
    """Images of a random generator, before any squashing."""
    x = np.maximum(rng.normal(size=(images, size, size, channels)), 0)
    for place in range(stacked):
        last = place == stacked - 1
        x = stamped(x, rng.normal(size=(kernel, kernel, channels, 3 if last else channels)), stride)
        x = x if last else np.maximum(x, 0)
    return x / x.std()


# --- moments ---------------------------------------------------------------------------------------------------------


def moments_of(squares, stride, most) -> PhaseMoments:
    found = phase_moments(squares, stride, most)
    assert found is not None
    return found


def test_phase_moments_are_means_of_squares(rng):
    x = rng.normal(size=(2, 41, 38, 3))
    for stride, most in ((2, 3), (3, 2), (4, 1)):
        found = moments_of(x**2, stride, most)
        period = stride**found.levels
        rows, columns = (side // period * period for side in x.shape[1:3])
        for p, q in itertools.product(range(period), range(period)):
            expected = np.mean(x[:, p:rows:period, q:columns:period] ** 2, axis=(0, 1, 2))
            np.testing.assert_allclose(found.powers[p, q], expected, rtol=1e-12)


def test_levels_need_three_periods_across(rng):
    squares = rng.normal(size=(1, 24, 30, 1)) ** 2
    assert [moments_of(squares, s, 3).levels for s in (2, 3, 4)] == [3, 1, 1]
    assert phase_moments(squares[:, :11], 4, 3) is None


def test_strides_4_and_2_take_the_same_steps():
    assert steps(2, 3) == ((1, 2), (2, 4), (4, 8))
    assert steps(4, 1) == ((1, 2), (2, 4))
    assert steps(3, 2) == ((1, 3), (3, 9))


@pytest.mark.parametrize("stride", [2, 3])
def test_the_error_of_a_share_is_that_of_white_noise(rng, stride):
    x = rng.normal(size=(4, 72, 72, 3)) ** 2
    samples = x[..., 0].size / stride**2
    expected = 2 / samples * (1 - 1 / stride**2)  # log of a share: of its phase less of the sum
    found = [moments_of(rng.normal(size=x.shape) ** 2, stride, 1).errors[0] for _ in range(20)]
    assert np.mean(found) == pytest.approx(expected, rel=0.15)


# --- counts and likelihood -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride"), list(itertools.product((3, 4, 5, 6), (2, 3, 4))))
def test_counts_of_the_last_layer_stay_whatever_is_stacked_below(kernel, stride):
    along = model.phase_counts(kernel, stride)
    np.testing.assert_array_equal(np.sort(along), np.sort([len(range(r, kernel, stride)) for r in range(stride)]))
    stacked = count(f"deconv k{kernel} s{stride}, deconv k{kernel} s{stride}", 16)
    folded = stacked[8 * stride**2 : 9 * stride**2].reshape(stride, stride).sum(0)
    np.testing.assert_array_equal(folded * along.sum(), along * folded.sum())


def _integrated(powers, means, shapes):
    """Density of powers of unknown scale: the integral over the logarithm of the scale, numerically."""

    def log_density(log_scale):
        return stats.gamma.logpdf(powers, shapes, scale=np.exp(log_scale) * means / shapes).sum()

    top = max(map(log_density, np.linspace(-8, 8, 161)))  # or the absolute tolerance would end the integration early
    return np.log(integrate.quad(lambda u: np.exp(log_density(u) - top), -8, 8, limit=400, epsabs=1e-12)[0]) + top


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 3), (3, 4)])
def test_the_likelihood_of_one_layer_is_that_of_gammas_of_unknown_scale(rng, kernel, stride):
    powers = rng.gamma(2.0, 1.0, (stride, stride, 1))
    along = model.phase_counts(kernel, stride)
    if 0 in along:
        powers[along.argmin()] = powers[:, along.argmin()] = 3e-4
    table = model.likelihood_table(PhaseMoments(stride, 1, powers, (0.0,)), kernel)
    table = table.reshape(stride, stride, len(model.SHAPES), len(model.GROWTH))
    means = np.outer(along, along) / along.mean() ** 2
    for top, left in ((0, 0), (1, 0), (1, stride - 1)):
        at = np.roll(means, (-top, -left), (0, 1))
        for g, growth in enumerate(model.GROWTH):
            shapes = np.where(at == 0, model.HOLE_SHAPE, 4.0 * np.maximum(at, 1e-9) ** growth)
            expected = _integrated(powers[..., 0] / powers.mean(), np.where(at == 0, model.HOLE, at), shapes)
            found = table[top, left, list(model.SHAPES).index(4.0), g]
            assert found == pytest.approx(expected, abs=1e-6)


def test_layers_below_are_splits_of_each_phase_and_channel(rng):
    powers = rng.gamma(3.0, 1.0, (4, 4, 2))
    table = model.unequal_table(PhaseMoments(2, 2, powers, (0.0, 0.0)), 2)
    scaled = powers / powers.mean((0, 1))
    parts = [
        _integrated(scaled[i::2, j::2, c], np.ones((2, 2)), np.full((2, 2), 2.0))
        for i, j, c in itertools.product(range(2), repeat=3)
    ]
    assert table[list(model.SHAPES).index(2.0)] == pytest.approx(sum(parts), abs=1e-6)


def test_even_shares_in_two_steps_are_one_when_their_shapes_agree(rng, monkeypatch):
    powers = rng.gamma(3.0, 1.0, (4, 4, 2))
    scaled = powers / powers.mean((0, 1))
    whole = sum(_integrated(scaled[..., c], np.ones((4, 4)), np.full((4, 4), 3.0)) for c in range(2))
    monkeypatch.setattr(model, "EVEN", np.array([1 / 12]))
    first = model.even_table(fold(scaled, 2), 1, 0.0)[0]
    monkeypatch.setattr(model, "EVEN", np.array([1 / 3]))
    second = model.even_table(scaled, 2, 0.0)[0]
    assert first + second + np.log(fold(scaled, 2)).sum() == pytest.approx(whole, abs=1e-6)


def test_evidence_does_not_depend_on_where_the_pattern_starts(rng):
    powers, priors = rng.gamma(3.0, 1.0, (8, 8, 3)), load().priors
    there = evidence(PhaseMoments(2, 3, powers, (0.01,) * 3), priors)
    moved = evidence(PhaseMoments(2, 3, np.roll(powers, (3, 5), (0, 1)), (0.01,) * 3), priors)
    assert moved.kernels == pytest.approx(there.kernels, abs=1e-8)
    assert moved.finer == pytest.approx(there.finer, abs=1e-8)


def test_strides_2_and_4_explain_the_same():
    odds = by_layer(
        [Evidence(2, {5: 3.0}, (np.log(5.0), 7.0)), Evidence(3, {4: 2.0}, (9.0,)), Evidence(4, {4: 6.0}, ())]
    )
    assert odds == pytest.approx({"none": 0.0, "k5 s2": 3 + np.log(3.0), "k4 s3": 2.0, "k4 s4": 6.0})
    assert behind(odds)["k4 s3"] == pytest.approx(4.0)


def test_depths_count_unequal_splits():
    found = depths(Evidence(2, {}, (np.log(4.0), np.log(0.5))), 1.0)
    assert found == pytest.approx((1 / 7, 4 / 7, 2 / 7))
    assert depths(Evidence(4, {}, (np.log(4.0),)), 0.5) == pytest.approx((0.2, 0.4, 0.4))


# --- the report ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (4, 3), (5, 3), (5, 4), (3, 4)])
def test_the_truth_is_in_the_set_and_its_stride_is_found(rng, kernel, stride):
    report = forensics(np.tanh(generated(rng, kernel, stride)))
    assert f"k{kernel} s{stride}" in [s.name for s in report.set]
    assert report.stride == stride
    assert sum(s.probability for s in report.suspects) == pytest.approx(1)
    assert all(sum(s.stacked) == pytest.approx(1) for s in report.suspects if s.name != "none")


def test_kernels_of_the_same_counts_are_never_told_apart(rng):
    report = forensics(np.tanh(generated(rng, 4, 2)))
    four, six = (next(s for s in report.suspects if s.name == name) for name in ("k4 s2", "k6 s2"))
    assert four.probability == pytest.approx(six.probability)
    assert four.p == six.p
    assert report.kernel is None
    assert "cannot tell which kernel" in report.verdict or report.verdict.startswith("cannot tell:")


def test_stacking_is_seen(rng):
    def probability_of_one(stacked, size):
        images = np.tanh(generated(rng, 3, 2, size=size, stacked=stacked))
        return next(s for s in forensics(images).suspects if s.name == "k3 s2").stacked[0]

    assert probability_of_one(2, 24) < 0.1
    assert probability_of_one(1, 48) > 0.9


def test_tied_phases_and_photographs_are_none(rng):
    from checkerjax.images import package_photographs

    blocks = rng.normal(size=(4, 32, 32, 3)).repeat(2, 1).repeat(2, 2)
    photographs = [p.pixels[100:196, 100:196] for p in package_photographs()]
    for images in (np.tanh(blocks), *photographs):
        report = forensics(images)
        assert "none" in [s.name for s in report.set]
        assert report.kernel is None


def test_tanh_is_undone(rng):
    x = generated(rng, 5, 2)
    for squashed, plain in zip(forensics(np.tanh(x)).suspects, forensics(x, squash="linear").suspects):
        assert squashed.name == plain.name
        assert squashed.probability == pytest.approx(plain.probability, abs=1e-4)


def test_8_bits_and_floats_of_0_to_1_mean_the_same(rng):
    rounded = np.round((np.tanh(generated(rng, 5, 3)) + 1) * 127.5).astype(np.uint8)
    assert forensics(rounded).suspects == forensics(list(rounded)).suspects
    for a, b in zip(forensics(rounded).suspects, forensics(rounded / 255.0).suspects):
        assert a.probability == pytest.approx(b.probability, abs=1e-6)


def test_copies_of_a_channel_count_once(rng):
    grey = np.tanh(generated(rng, 5, 3)[..., :1])
    once, thrice = forensics(grey), forensics(grey.repeat(3, -1))
    assert once.suspects == thrice.suspects
    assert any("copies" in note for note in thrice.notes)
    assert any("fewer than 3 channels" in note for note in once.notes)


def test_clipped_images_exclude_nothing(rng):
    x = np.clip(20 * generated(rng, 5, 2), -1, 1)
    report = forensics(np.round((x + 1) * 127.5).astype(np.uint8))
    assert report.clipped > 0.5
    assert len(report.set) == len(report.suspects)
    assert "clipped" in str(report)


def test_the_report_is_plain_for_json_and_readable(rng):
    report = forensics(np.tanh(generated(rng, 5, 2)))
    stored = json.loads(json.dumps(report.to_dict()))
    assert stored["set"] == [s.name for s in report.set]
    assert stored["verdict"] in str(report)
    assert "4 images of one generator" in str(report)


def test_p_values_are_ranks_among_simulated_generators():
    calibration = load()
    for name, quantiles in calibration.quantiles.items():
        assert np.all(np.diff(quantiles) >= 0)
        assert p_value(calibration, name, 0.0) == 1
        assert p_value(calibration, name, quantiles[-1] + 1) == 0
        at = list(calibration.levels).index(0.95)
        if quantiles[at] > quantiles[at - 1]:
            assert p_value(calibration, name, quantiles[at]) == pytest.approx(0.05)


def test_the_command_examines_files_together(rng, tmp_path, capsys):
    Image = pytest.importorskip("PIL.Image")
    rounded = np.round((np.tanh(generated(rng, 5, 3)) + 1) * 127.5).astype(np.uint8)
    for i, image in enumerate(rounded):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    assert main(["measure", str(tmp_path), "--forensics", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "forensics, all pictures as images of one generator" in printed
    assert main(["measure", str(tmp_path), "--forensics", "--quiet", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)["forensics"]
    assert found == json.loads(json.dumps(examine([str(tmp_path)]).to_dict()))
    assert examine([str(tmp_path)]).report == forensics(rounded)
    Image.new("RGB", (40, 30)).save(tmp_path / "other.png")
    assert main(["measure", str(tmp_path), "--forensics", "--quiet"]) == 0  # what was measured is told all the same
    assert "forensics: no report: " in capsys.readouterr().out


def test_fine_values_are_clipped_as_those_of_8_bits(rng):
    """A few values at the ends would else be all the power there is: of noise without a grid, "none" was excluded."""
    noise = np.clip(rng.normal(0, 0.3, (4, 64, 64, 3)), -1, 1)
    assert (np.abs(noise) == 1).any()
    rounded = np.round((noise + 1) * 127.5).astype(np.uint8)
    for found in (forensics(noise), forensics(rounded)):
        assert "none" in [s.name for s in found.set]
        assert found.clipped < 0.01


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_the_scale_of_linear_values_does_not_matter(rng, scale):
    images = generated(rng, 5, 3)
    found, same = forensics(images * scale, squash="linear"), forensics(images, squash="linear")
    assert [s.name for s in found.suspects] == [s.name for s in same.suspects]
    np.testing.assert_allclose([s.probability for s in found.suspects], [s.probability for s in same.suspects])


def test_what_is_considered_is_told(rng):
    report = forensics(rng.integers(0, 255, (4, 64, 64, 3)).astype(np.uint8))
    assert "only these are considered" in str(report)
    assert max(map(len, str(report).split("\n"))) <= 120


def test_traced_images_are_refused():
    with pytest.raises(TypeError, match=r"^forensics: images must have values; it is being traced"):
        jax.jit(lambda x: forensics(x).alpha)(NOISE)


def test_pictures_of_unequal_dtypes_are_measured_all_the_same(tmp_path, capsys):
    Image = pytest.importorskip("PIL.Image")
    Image.fromarray(NOISE[0, ..., 0]).save(tmp_path / "a.png")
    Image.fromarray(NOISE[1, ..., 0].astype(np.uint16) * 257).save(tmp_path / "b.png")
    assert main(["measure", str(tmp_path), "--forensics", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "a.png" in printed
    assert "forensics: no report: images must have one dtype; got uint16, uint8" in printed


@pytest.fixture
def experiment(monkeypatch, request):
    """Modules of experiments/forensics, importable as its commands import them."""
    monkeypatch.syspath_prepend(str(request.config.rootpath))
    yield lambda name: importlib.import_module(f"experiments.forensics.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        sys.modules.pop(name)


def test_stored_sets_hold_the_truth_and_the_page_says_so(experiment):
    tables = experiment("tables")
    stored = json.loads(tables.STORE.read_text())
    for truth, images in itertools.product(tables.KINDS, tables.COUNTS):
        found = tables.reports(stored, truth, images)
        assert len(found) >= 500
        assert np.mean([truth in report["set"] for report in found]) >= 0.95
    page = tables.README.read_text()
    assert all(make(stored) in page for make in tables.TABLES.values())


def test_held_back_generators_are_others_than_those_of_the_calibration(experiment):
    generators, calibrate, run = (experiment(name) for name in ("generators", "calibrate", "run"))
    used = {family for families in calibrate.Config().families for family in families}
    assert not {family.width for family in used} & {family.width for family in run.Config().families}
    assert len(generators.architectures(run.Config().families)) * run.Config().seeds >= 12 * 500


def test_a_generator_ends_as_its_architecture_says(experiment):
    generators, run = experiment("generators"), experiment("run")
    architecture = generators.Architecture(5, 3, 1, generators.Family(8, "dense", "relu"))
    assert architecture.stack == "dense 24x24, relu, deconv k5 s3 c3"
    made = next(generators.images(architecture, 1, 8, 0))
    assert made.shape == (8, 72 - generators.CUT, 72 - generators.CUT, 3)
    assert made.dtype == np.uint8
    assert "k5 s3" in run.judged(made, run.SMOKE)["set"]


def test_tables_count_sets(experiment):
    tables = experiment("tables")
    assert tables.interval(0, 10)[0] == 0
    assert tables.interval(19, 20) == pytest.approx((0.7513, 0.9987), abs=1e-4)
    found = [{"set": ["k5 s2", "k3 s2"]}, {"set": ["k5 s2"]}, {"set": ["none", "k4 s2"]}]
    cells = tables._cells(found, "k5 s2")
    assert cells[0].startswith("66.7% [")
    assert cells[1:] == ["1.67", "33%, 100%", "67%, 100%"]


# --- what is refused -------------------------------------------------------------------------------------------------

NOISE = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        ([NOISE[0], NOISE[1, 1:]], {}, ValueError, r"must have one size.*\(31, 32, 3\), \(32, 32, 3\)"),
        ([NOISE[0], NOISE[1] / 255.0], {}, TypeError, "must have one dtype; got float64, uint8"),
        (NOISE[:, :19], {}, ValueError, "too small for period 4: at least 20 pixels.*got 19 x 32"),
        (NOISE[:, :, :, [0, 1, 2, 0]], {}, ValueError, "1 to 3 channels"),
        (NOISE[:0], {}, ValueError, "at least one image"),
        ([], {}, ValueError, "at least one image"),
        (np.full((2, 32, 32, 3), 7, np.uint8), {}, ValueError, "constant"),
        (np.where(NOISE == 0, np.nan, NOISE / 255), {}, ValueError, "must be finite"),
        (NOISE * 1.0, {}, ValueError, r"in \[0, 1\] or \[-1, 1\] to undo tanh.*squash='linear'"),
        (NOISE.astype(np.int32), {}, TypeError, "uint8 or uint16; got int32"),
        (NOISE > 3, {}, TypeError, "real numbers; got bool"),
        ("picture.png", {}, TypeError, "read_image"),
        (NOISE.transpose(0, 3, 1, 2), {}, ValueError, "Channels come last"),
        (iter(NOISE), {}, TypeError, "must be an array; got"),
        (NOISE[0, 0, 0], {}, ValueError, r"got shape \(3,\)"),
        (NOISE, {"alpha": 0.001}, ValueError, "alpha must be at least 0.01"),
        (NOISE, {"squash": "tan"}, ValueError, "squash must be one of tanh, linear"),
    ],
)
def test_bad_input_is_named(images, options, error, message):
    with pytest.raises(error, match=f"^forensics: .*{message}"):
        forensics(images, **options)


def test_margins_are_an_eighth():
    assert [margin_of(n) for n in (20, 64, 100)] == [4, 8, 12]


def test_all_strides_have_evidence(rng):
    views = [phase_moments(rng.normal(size=(1, 24, 24, 3)) ** 2, s, 3) for s in (2, 3, 4)]
    assert [e.stride for e in evidences(views, load().priors)] == [2, 3, 4]

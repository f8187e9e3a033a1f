"""`expect` and `checkerjax expect`: numbers, the table, JSON, the figure, and what has no closed form."""

from __future__ import annotations

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checkerjax as cj
from checkerjax import stacks
from checkerjax.cli import main

ARTICLE = "deconv k5 s2, relu, deconv k5 s2"


def test_the_probes_of_random_networks_have_these_means():
    """Ratios of sums over seeds, of wide networks; sizes that leave borders out are those of the interior."""
    stack, width, seeds = "deconv k3 s2, relu, deconv k4 s2 c8", 64, 300
    found = cj.expect(stack, 16, ndim=1, channels=64, width=width)
    flat = np.zeros(2)
    white = np.zeros(4)

    @jax.jit
    def interior(key):
        keys = jax.random.split(key, 3)
        params = cj.init(keys[0], stack, channels=64, ndim=1, width=width)
        inputs = jnp.concatenate([
            jnp.broadcast_to(jax.random.normal(keys[1], (1, 1, 64)), (1, 16, 64)),
            jax.random.normal(keys[2], (1, 16, 64)),
        ])  # fmt: skip
        return cj.apply(params, stack, inputs)[:, 12:52]

    for key in jax.random.split(jax.random.key(0), seeds):
        constant, noise = np.asarray(interior(key), np.float64)
        bins = np.abs(np.fft.fft(constant.reshape(10, 4, 8).mean(0), axis=0)) ** 2
        flat += [bins[1:].sum(), bins[0].sum()]
        white += (noise.reshape(10, 4, 8) ** 2).mean((0, 2))
    assert found.flat is not None
    assert found.white is not None
    assert flat[0] / flat[1] == pytest.approx(found.flat.lattice_ratio(), rel=0.08)
    expected = np.asarray(found.white.phase_powers())
    np.testing.assert_allclose(white / white.mean(), expected / expected.mean(), rtol=0.06)
    assert found.white.power_ratio() == pytest.approx(white.max() / white.min(), rel=0.08)


def test_numbers_of_each_period_add_up():
    found = cj.expect(ARTICLE)
    assert found.size == (16, 16)
    assert found.period == (4, 4)
    assert [row.period for row in found.periods] == [2, 4]
    assert found.flat is not None
    total = math.fsum(row.flat_ratio or 0.0 for row in found.periods)
    assert total == pytest.approx(found.flat.lattice_ratio(), rel=1e-12)
    cyclic = np.abs(found.white.cyclic_spectrum())  # pyright: ignore[reportOptionalMemberAccess]
    shares = sum(row.cyclic_share or 0.0 for row in found.periods)
    assert shares == pytest.approx(cyclic.sum() / cyclic[0, 0].sum() - 1, rel=1e-9)


def test_seeds_lie_in_the_interval():
    """Of one layer, whose output is Gaussian at any width: a flat input, lines over DC of each seed."""
    stack, seeds = "deconv k2 s2 c2", 4000
    found = cj.expect(stack, 4, ndim=1, channels=5).seeds
    assert found is not None
    draw = jax.vmap(lambda key: cj.init(key, stack, channels=5, ndim=1)[0]["kernel"])
    kernels = np.asarray(draw(jax.random.split(jax.random.key(1), seeds)))  # [seeds, 2, 5, 2]
    x = np.random.default_rng(0).standard_normal((seeds, 1, 5, 1))
    phases = (kernels * x).sum(2)
    ratio = ((phases[:, 0] - phases[:, 1]) ** 2).sum(-1) / ((phases[:, 0] + phases[:, 1]) ** 2).sum(-1)
    below = [(ratio < q).mean() for q in (found.low, found.median, found.high)]
    np.testing.assert_allclose(below, [0.025, 0.5, 0.975], atol=4 * 0.5 / seeds**0.5)


def test_clean_stacks_have_no_lines():
    found = cj.expect("resize k3 s2, relu, resize k3 s2")
    assert found.seeds is None
    assert found.flat is not None
    assert found.flat.lattice_ratio() == 0
    assert found.conditions is not None
    assert [found.conditions[key].holds for key in ("1", "2", "4")] == [True, True, False]


def test_the_gradient_is_told():
    assert cj.expect("conv k7 s2").to_dict()["gradient_power_ratio"] == pytest.approx(16 / 9)
    assert "gradient of the input, period 2x2" in str(cj.expect("conv k7 s2"))


def test_a_latent_has_one_probe():
    found = cj.expect("dense 4x4 c8, relu, deconv k5 s2 c3")
    assert found.size == ()
    assert found.flat is None
    assert found.white is not None
    assert found.lines is found.white
    assert found.periods[0].flat_ratio == pytest.approx(3.0)
    assert "latent, energy of the lines over that of DC: 3" in str(found)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("deconv k3 s2, maxpool", {"white", "flat", "gradient", "moments"}),
        ("deconv k3 s2, l2pool", {"gradient"}),
        ("upsample s3 linear corners", {"white", "flat", "gradient", "moments", "conditions"}),
        ("resize k3 linear", {"moments"}),
        ("relu, relu, conv k3", {"white", "flat", "gradient"}),
        ("relu, conv k3", set()),
    ],
)
def test_what_has_no_closed_form_is_named(text, names):
    found = cj.expect(text, 8, ndim=1)
    assert set(found.missing) == names
    for name in ("white", "flat", "gradient", "moments", "conditions"):
        assert (getattr(found, name) is None) == (name in names)
    for why in found.missing.values():
        assert why in " ".join(str(found).split())
    json.dumps(found.to_dict(), allow_nan=False)


def test_every_stack_of_an_audit_is_taken():
    def model(params, x):
        x = jax.nn.relu(cj.conv_transpose(x, params["first"], stride=2))
        return jnp.tanh(cj.conv_transpose(x, params["second"], stride=2))

    params = {"first": jnp.ones((5, 5, 3, 4)), "second": jnp.ones((4, 4, 4, 3))}
    stack = cj.audit(model, params, jnp.ones((1, 8, 8, 3)), static=True).stack
    assert stack is not None
    found = cj.expect(stack)
    same = cj.expect("deconv k5 s2 c4, relu, deconv k4 s2 c3, tanh")
    assert found.flat is not None
    assert same.flat is not None
    assert found.flat.lattice_ratio() == same.flat.lattice_ratio()


def test_the_table_fits_100_columns():
    texts = (
        ARTICLE,
        "parallel(deconv k5 s2 c40 | resize k3 s2 linear c40 edge) concat, l2pool, upsample cubic, conv k3",
    )
    for text in texts:
        lines = str(cj.expect(text)).split("\n")
        assert max(map(len, lines)) <= 100
        assert lines[0].startswith(text[:20])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ndim": 4}, ValueError, "ndim must be 1, 2 or 3"),
        ({"size": (8, 8, 8)}, ValueError, "size must be an int, or one int for each of the axes"),
        ({"size": 0}, ValueError, "size must be at least 1"),
        ({"channels": 0}, ValueError, "channels must be at least 1"),
        ({"width": (4, 4, 4)}, ValueError, "width must be an int or 2 ints"),
        ({"initialiser": "xavier"}, ValueError, "initialiser"),
        ({"size": "8"}, TypeError, "size"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        cj.expect(ARTICLE, **options)


def test_the_command_prints_the_table(capsys):
    assert main(["expect", ARTICLE, "--ndim", "1", "--width", "4"]) == 0
    assert capsys.readouterr().out == f"{cj.expect(ARTICLE, ndim=1, width=4)}\n"


def test_the_command_writes_json_and_a_figure(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["expect", ARTICLE, "--size", "8x8", "--json", "-", "--out", str(tmp_path / "a.png")]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["size"] == [8, 8]
    assert written["lattice_ratio"] == pytest.approx(float(cj.expect(ARTICLE, 8).flat.lattice_ratio()))  # pyright: ignore[reportOptionalMemberAccess]
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_files_are_written_together_or_not_at_all(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("old")
    drawn, stored = tmp_path / "a.png", tmp_path / "b.json"
    for json_place, out in ((tmp_path / "file" / "b.json", drawn), (stored, tmp_path / "file" / "a.png")):
        assert main(["expect", "deconv k4 s2", "--json", str(json_place), "--out", str(out)]) == 2
        assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert main(["expect", "deconv k4 s2", "--json", str(stored), "--out", str(drawn)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.json", "file"]


def test_what_is_too_large_is_named():
    found = cj.expect("deconv k4 s2", 5000)
    assert set(found.missing) == {"moments"}
    assert "more than 16777216 samples" in str(found)
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="too large to draw"):
        found.figure()


def test_what_runs_out_of_memory_is_missing(monkeypatch):
    def fails(*args, **options):
        raise MemoryError("Unable to allocate 7 TiB")

    monkeypatch.setitem(cj.expect.__globals__, "covariance", fails)
    found = cj.expect("deconv k4 s2", ndim=1)
    assert found.missing["white"] == "expect: it would take more memory than there is (Unable to allocate 7 TiB)."
    assert found.conditions is not None


def test_no_size_is_invented_in_errors():
    with pytest.raises(ValueError, match=r"must keep the size \(64, 64\)"):
        cj.expect("residual(deconv k4 s2)")


@pytest.mark.parametrize(
    ("stack", "message"),
    [(None, r"what `audit\(...\).stack` is"), (jnp.ones((4, 1, 1)), "For a kernel see conditions")],
)
def test_what_is_no_stack_says_what_to_do(stack, message):
    with pytest.raises(TypeError, match=f"^expect: .*{message}"):
        cj.expect(stack)


def test_rounding_is_no_artifact():
    rows = [row for text in ("resize k3 s2", "deconv k3 s2, blur k3") for row in cj.expect(text).periods]
    assert [row.white_share for row in rows] == [0.0, 0.0]


def test_the_table_has_no_empty_parts():
    text = str(cj.expect("maxpool"))
    assert "at random initialisation" not in text
    assert "linear part" in text


def test_figures_do_not_draw_rounding():
    """A spectrum that is flat but for the last bit has one colour."""
    pytest.importorskip("matplotlib")
    for text, size in (("conv k7 s2", None), ("deconv k4x3 s2x3", (16, 40))):
        image = cj.expect(text, size).figure().axes[0].images[0]
        low, high = image.get_clim()
        assert high - low >= 1
        assert np.ptp(np.asarray(image.get_array(), float)) < 1e-9


def test_figures_have_the_gradient_where_it_has_a_period():
    pytest.importorskip("matplotlib")
    titles = {
        text: [axes.get_title() for axes in cj.expect(text).figure().axes] for text in ("conv k7 s2", "deconv k4")
    }
    assert sum("gradient" in title for title in titles["conv k7 s2"]) == 3
    assert any("largest over smallest 1.78" in title for title in titles["conv k7 s2"])
    assert not any("gradient" in title for title in titles["deconv k4"])


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_figures_of_every_rank(ndim):
    pytest.importorskip("matplotlib")
    figure = cj.expect("deconv k4 s2", ndim=ndim).figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert any("spectrum" in title for title in titles)
    assert any("sum" in title for title in titles)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deconv k4 sx"], "unknown option 'sx'"),
        (["deconv k4", "--size", "4x4", "--ndim", "3"], "--size 4x4 has 2 axes and --ndim is 3"),
        (["deconv k4", "--size", "4y"], "--size must be N, NxN or NxNxN"),
        (["deconv k4", "--size", ""], "--size must be N, NxN or NxNxN"),
        (["deconv k4", "--out", ""], "the ending of the file"),
        (["deconv k4", "--json", ""], "--json must be a file"),
        (["deconv k4", "--json", "."], "expect: --json must be a file; '.' is a folder"),
        (["deconv k4", "--channels", "0"], "channels must be at least 1"),
        (["maxpool", "--out", "a.png"], "nothing to draw"),
        (["deconv k4", "--out", "a.gif"], "the ending of the file"),
    ],
)
def test_bad_commands_cost_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["expect", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_found_where_none_is_given():
    for text in ("conv k9 valid, deconv k4 s2", "deconv k3 s3, conv k5 s2"):
        size = cj.expect(text, ndim=1).size
        assert min(stacks.output_size(text, size)) >= 1


def test_conditions_of_the_gradient_are_told_where_it_has_a_period():
    found = cj.expect("conv k7 s2", ndim=1)
    assert found.conditions is not None
    assert [row.holds for row in found.conditions.rows] == [True] * 5
    back = found.gradient_conditions
    assert back is not None
    assert [row.holds for row in back.rows] == [False] * 5
    assert back["3"].number == pytest.approx(4 / 3)
    assert "gradients of conv k7 s2: linear part" in str(found)
    assert found.to_dict()["gradient_conditions"] == back.to_dict()
    assert cj.expect("deconv k4 s2", ndim=1).gradient_conditions is None

"""Every form of upsampling and coarsening, by what an audit says of it going forward."""

from __future__ import annotations

import importlib
import math
import pathlib
import runpy
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

HERE = pathlib.Path(__file__)
zoo = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_forms.py"))))
programs = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_programs.py"))))
modules = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("audit_modules.py"))))
FORMS = [*zoo.forms(), *programs.coarsenings(), *programs.transformed(), *programs.laid_out()]
BY_NAME = {form.name: form for form in FORMS}
KEY = jax.random.key(0)


def every(forms):
    return pytest.mark.parametrize("form", forms, ids=lambda form: form.name.replace(" ", "_"))


def rows(findings):
    return [(f.role, f.kernel_size, f.stride, f.grade) for f in findings]


@every(FORMS)
def test_each_form_is_found_for_what_it_is(form):
    report = zoo.audit_form(form, static=True, backward=False)
    assert zoo.told(report.forward, form.forward, form.ordered) == zoo.asked(form.forward, form.ordered)


def is_measured(form):
    """Of disguises of one operation the one in pictures with a kernel of three, and all forms of the first."""
    name = form.name
    disguised = name.startswith(("zeros by", "nearest by")) and "by pad" not in name and "by index" not in name
    return bool(form.verdict) and not (disguised and "conv k3" not in name)


@every([form for form in FORMS if is_measured(form)])
def test_the_verdict_is_what_the_simulation_of_the_zoo_measures(form):
    assert zoo.audit_form(form, redraw=form.redraw, backward=False).verdict == form.verdict


# Flat fields have closed forms: zero insertion makes lines as strong as DC, a box of three on stride two leaves phase
# means of 2 and 1 on each axis, hence (1 + 1/9)^2 - 1; equal gains leave nothing.
@pytest.mark.parametrize(
    ("name", "ratio"),
    [("zeros by pad", 3.0), ("box of 3 by dilation", 19 / 81), ("FIR 1234 by dilation", (1 + 0.04) ** 2 - 1),
     ("FIR 1331 by reshape", 0.0), ("FIR 121 by pad", 0.0), ("nearest by index", 0.0), ("resize lanczos3", 0.0)],
)  # fmt: skip
def test_lines_of_constant_filters_are_their_closed_forms(name, ratio):
    (finding,) = zoo.audit_form(BY_NAME[name], redraw=2, backward=False).forward
    assert finding.lattice_ratio == pytest.approx(ratio, rel=1e-4, abs=1e-6)


# Powers of independent weights go with the counts of each phase, 2 : 1 and 3 : 2 on each axis; 121 by its squared taps.
@pytest.mark.parametrize(
    ("name", "ratio"),
    [("lax SAME k3 s2", 4.0), ("lax SAME k5 s2 1-D", 1.5), ("FIR 121 by dilation", 4.0), ("box of 3 by dilation", 4.0)],
)
def test_phase_powers_are_those_of_the_counts(name, ratio):
    (finding,) = zoo.audit_form(BY_NAME[name], redraw=64, backward=False).forward
    assert finding.power_ratio == pytest.approx(ratio, rel=0.15)  # some thousand samples a phase, correlated by taps


def test_a_phase_that_nothing_reaches_has_no_power():
    (finding,) = zoo.audit_form(BY_NAME["k2 s3"], redraw=2, backward=False).forward
    assert finding.power_ratio == math.inf


def test_a_constant_box_is_nearest_resize_and_the_same_box_as_a_parameter_is_not():
    ones = jnp.asarray(np.multiply.outer(np.ones((2, 2)), np.eye(zoo.C)), jnp.float32)
    x = BY_NAME["nearest by index"].data()
    fn = zoo.dilated_conv(2)
    constant = zoo.audit(lambda x: fn({"kernel": ones}, x), x, key=KEY)
    assert (rows(constant.forward), constant.verdict) == ([("up", (2, 2), (2, 2), "tied")], "clean")
    learned = zoo.audit(fn, {"kernel": ones}, x, key=KEY)
    assert (rows(learned.forward), learned.verdict) == ([("up", (2, 2), (2, 2), "untied")], "lines")
    given = zoo.audit(fn, {"kernel": ones}, x, key=KEY, redraw=0)  # trained to be what it happens to be
    assert (given.forward[0].grade, given.verdict) == ("untied", "clean")


def test_tied_sub_pixel_parameters_are_clean_as_given_and_not_when_drawn_again():
    form = BY_NAME["sub-pixel, depth first"]
    base = np.random.default_rng(5).standard_normal((3, 3, zoo.C, 1, zoo.C))
    kernel = np.broadcast_to(base, (3, 3, zoo.C, 4, zoo.C)).reshape(3, 3, zoo.C, -1)
    params = {"kernel": jnp.asarray(kernel, jnp.float32)}
    assert zoo.audit(form.fn, params, form.data(), key=KEY, redraw=0).verdict == "clean"
    assert zoo.audit(form.fn, params, form.data(), key=KEY).verdict == "lines"


def test_data_stand_where_inputs_says():
    form = BY_NAME["lax SAME k3 s2"]
    swapped = zoo.audit(lambda x, p: form.fn(p, x), form.data(), form.params(), inputs=(0,), key=KEY, static=True)
    assert zoo.told(swapped.forward, form.forward) == zoo.asked(form.forward)


def test_parameters_may_be_any_tree_and_any_number_of_arguments():
    kernel, x = BY_NAME["lax SAME k4 s2 transposed kernel"].params()["kernel"], BY_NAME["lax SAME k3 s2"].data()
    deep = zoo.audit(lambda p, x: zoo.dilated_conv(2)(p[0]["a"], x), [{"a": {"kernel": kernel}}], x, static=True)
    flat = zoo.audit(lambda a, b, x: zoo.dilated_conv(2)({"kernel": a + b}, x), kernel, kernel, x, static=True)
    assert rows(deep.forward) == rows(flat.forward) == [("up", (4, 4), (2, 2), "untied")]


UNKNOWN = {
    "spectrum padded with zeros": lambda x: jnp.fft.irfft2(
        jnp.pad(jnp.fft.rfft2(x, axes=(1, 2)), ((0, 0), (0, 8), (0, 4), (0, 0))), axes=(1, 2)
    ),
    "sort along an axis": lambda x: jnp.sort(x, axis=1),
    "gather by the data": lambda x: x[:, jnp.argsort(x[0, :, 0, 0])],
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_rule_is_listed_and_not_skipped(name):
    found = zoo.audit(UNKNOWN[name], BY_NAME["lax SAME k3 s2"].data(), key=KEY, static=True, backward=False).forward
    assert "unknown" in {finding.role for finding in found}


def test_statistics_of_the_whole_field_upsample_nothing():
    def excited(params, x):
        gate = jax.nn.sigmoid(x.mean((1, 2)) @ params)
        return x * gate[:, None, None]

    x = BY_NAME["lax SAME k3 s2"].data()
    assert not [f for f in zoo.audit(excited, jnp.eye(zoo.C), x, key=KEY, static=True).forward if f.role == "up"]


# Where it is: the statement that the user wrote, and the module's own name.
def marked(params, x):
    y = zoo.repeat(x, 2)
    y = jax.nn.relu(zoo.conv(y, params["first"]))
    kernel = params["second"]
    return jax.lax.conv_transpose(y, kernel, (2, 2), "SAME", dimension_numbers=zoo.NUMBERS[2])  # up: plain


def at(module_file, line):
    return f"{pathlib.Path(module_file).name}:{line}"


def test_the_source_is_the_statement_of_a_plain_function():
    (line,) = (n for n, text in enumerate(HERE.read_text().splitlines(), 1) if text.endswith("# up: plain"))
    params = {"first": jnp.ones((3, 3, zoo.C, zoo.C)), "second": jnp.ones((4, 4, zoo.C, zoo.C))}
    found = zoo.audit(marked, params, BY_NAME["lax SAME k3 s2"].data(), key=KEY, static=True).forward
    assert [f.source.rpartition("/")[2] for f in found][1] == at(__file__, line)


def x_of(shape=None):
    return jnp.asarray(np.random.default_rng(2).standard_normal(shape or modules.SHAPE), jnp.float32)


LINEN = {
    "Deconvs": ([("up", (4, 4), (2, 2), "untied"), ("up", (3, 3), (2, 2), "uneven")],
                ["ConvTranspose_0", "ConvTranspose_1"], ["linen first", "linen second"]),
    "Nested": ([("up", (3, 3), (2, 2), "tied"), ("up", (4, 4), (2, 2), "untied")],
               ["block", "to_image"], [None, "linen setup"]),
    "Rematerialised": ([("up", (4, 4), (2, 2), "untied"), ("up", (3, 3), (2, 2), "uneven")],
                       ["inner/ConvTranspose_0", "inner/ConvTranspose_1"], ["linen first", "linen second"]),
    "Dilated": ([("up", (4, 4), (2, 2), "untied")], ["Conv_0"], ["linen dilation"]),
    "SubPixel": ([("up", (3, 3), (2, 2), "untied")], ["Conv_0|SubPixel"], [None]),
    "Scanned": ([("up", (4, 4), (2, 2), "untied")], ["ConvTranspose_0"], [None]),
}  # fmt: skip


def check_places(found, paths, marks):
    for finding, path, mark in zip(found, paths, marks):
        assert any(name in finding.path for name in path.split("|")), finding.path
        if mark:
            assert finding.source.rpartition("/")[2] == at(modules.FILE, modules.line_of(mark)), finding.source


@pytest.mark.parametrize("name", LINEN)
@pytest.mark.parametrize("given", [True, False], ids=["variables", "key"])
def test_linen_modules_are_told_by_name_and_by_the_users_line(name, given):
    expected, paths, marks = LINEN[name]
    module, x = getattr(modules, name)(), x_of()
    args = (module, module.init(KEY, x), x) if given else (module, x)
    found = zoo.audit(*args, key=KEY, static=True).forward
    assert rows(found) == expected
    check_places(found, paths, marks)


def test_a_linen_module_that_normalises_batches_is_measured():
    module, x = modules.Block(train=False), x_of()
    report = zoo.audit(module, module.init(KEY, x), x, key=KEY, redraw=8)
    assert (rows(report.forward), report.verdict) == ([("up", (3, 3), (2, 2), "tied")], "clean")
    assert zoo.audit(modules.Deconvs(), x, key=KEY, redraw=8).verdict == "both"


NNX = {
    "NnxDeconvs": ([("up", (4, 4), (2, 2), "untied"), ("up", (3, 3), (2, 2), "uneven")], ["first", "second"],
                   ["nnx first", "nnx second"]),
    "NnxUnet": ([("up", (4, 4), (2, 2), "untied"), ("up", (3, 3), (2, 2), "uneven")],
                ["decoder/first", "decoder/second"], ["nnx first", "nnx second"]),
    "NnxDown": ([("down", (3, 3), (2, 2), "tied"), ("down", (2, 2), (2, 2), "tied")], ["stem", ""],
                ["nnx stem", "nnx stem"]),
}  # fmt: skip


@pytest.mark.parametrize("name", NNX)
def test_nnx_modules_are_told_by_attribute_and_by_the_users_line(name):
    expected, paths, marks = NNX[name]
    found = zoo.audit(getattr(modules, name)(nnx.Rngs(0)), x_of(), key=KEY, static=True).forward
    assert rows(found) == expected
    check_places(found, paths, marks)


def test_an_nnx_module_is_measured_and_left_as_it_was():
    module, x = modules.NnxDeconvs(nnx.Rngs(0)), x_of()
    before = jax.tree.leaves(nnx.state(module))
    assert zoo.audit(module, x, key=KEY, redraw=8).verdict == "both"
    for old, new in zip(before, jax.tree.leaves(nnx.state(module)), strict=True):
        np.testing.assert_array_equal(old, new)


def keras_model():
    keras = importlib.import_module("keras")
    conv, deconv = keras.layers.Conv2D, keras.layers.Conv2DTranspose
    first, last = deconv(8, 4, 2, padding="same"), deconv(3, 3, 2, padding="same")
    layers = [first, keras.layers.UpSampling2D(2), conv(8, 3, padding="same"), last]
    model = keras.Sequential([keras.Input(modules.SHAPE[1:]), *layers])
    weights = [jnp.asarray(v.value) for v in model.trainable_variables]
    return lambda params, x: model.stateless_call(params, [], x)[0], weights


def haiku_model():
    hk = importlib.import_module("haiku")

    def forward(x):
        x = jax.nn.relu(hk.Conv2DTranspose(8, 4, 2)(x))
        n, h, w, c = x.shape
        x = hk.Conv2D(8, 3)(jax.image.resize(x, (n, 2 * h, 2 * w, c), "nearest"))
        return hk.Conv2DTranspose(3, 3, 2)(x)

    model = hk.without_apply_rng(hk.transform(forward))
    return model.apply, model.init(KEY, x_of())


@pytest.mark.filterwarnings("default")  # other packages' own
@pytest.mark.parametrize(("package", "build"), [("keras", keras_model), ("haiku", haiku_model)])
def test_models_of_other_packages_on_jax(package, build, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip(package)
    with jax.numpy_dtype_promotion("standard"):
        fn, params = build()
        report = zoo.audit(fn, params, x_of(), key=KEY, redraw=4)
    ups = [("up", (4, 4), (2, 2), "untied"), ("up", (3, 3), (2, 2), "tied"), ("up", (3, 3), (2, 2), "uneven")]
    assert (rows(report.forward), report.verdict) == (ups, "both")

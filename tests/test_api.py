"""Conventions that every public name keeps, whatever room it lives in."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import types

import pytest

import checkerjax

NAMES = [name for name in checkerjax.__all__ if name != "__version__"]
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(checkerjax, name))]
ROOMS = [name for name in NAMES if inspect.ismodule(getattr(checkerjax, name))]
CLASSES = [name for name in NAMES if inspect.isclass(getattr(checkerjax, name))]
# What may be given by position: the things that a function is about, never a choice of how it goes about them.
SUBJECTS = {
    "apply", "base", "bounds", "f", "fake", "fn", "folder", "grid", "image", "images", "init", "kernel", "kernels",
    "key", "padding", "params", "path", "paths", "period", "photographs", "picture", "real", "reference_reports",
    "report", "reports", "scale", "scores", "shape", "size", "small", "stack", "stride", "text", "values", "x",
}  # fmt: skip
OPTIONAL_SUBJECTS = {("expect", "size")}  # as in `count(stack, size)`, but a size is found where none is given


def parameters(name):
    return list(inspect.signature(getattr(checkerjax, name)).parameters.values())


def test_every_public_name_is_a_function_a_class_or_a_room():
    assert {"ops"} <= set(ROOMS)
    assert set(NAMES) == {*FUNCTIONS, *ROOMS, *CLASSES}
    assert len(NAMES) == len(set(NAMES))
    assert not set(ROOMS) & {*FUNCTIONS, *CLASSES}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_are_keyword_only(name):
    for parameter in parameters(name):
        if parameter.default is not parameter.empty and (name, parameter.name) not in OPTIONAL_SUBJECTS:
            assert parameter.kind is parameter.KEYWORD_ONLY, parameter


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_subjects_are_positional(name):
    positional = {p.name for p in parameters(name) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)}
    assert positional <= SUBJECTS
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters(name))
    # Only what another function is called with may be any number of things.
    assert {p.name for p in parameters(name) if p.kind is p.VAR_POSITIONAL} <= {"args"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_key_comes_first_or_by_name_and_is_called_key(name):
    names = [p.name for p in parameters(name)]
    assert "key" not in [p.name for p in parameters(name) if p.kind != p.KEYWORD_ONLY][1:]
    assert not {"rng", "prng", "random_key", "rng_key"} & set(names)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_docstring_says_what_goes_in_what_comes_out_and_what_is_refused(name):
    text = inspect.getdoc(getattr(checkerjax, name)) or ""
    sections = re.split(r"^(Args|Returns|Raises|Example|References):$", text, flags=re.MULTILINE)
    contents = dict(zip(sections[1::2], sections[2::2]))
    assert {"Returns", "Raises", "Example"} <= set(contents)
    assert list(contents) == [s for s in ("Args", "Returns", "Raises", "Example", "References") if s in contents]
    described = re.findall(r"^  (\w+): ", contents.get("Args", ""), flags=re.MULTILINE)
    assert described == [p.name for p in parameters(name)]
    assert ">>> " in contents["Example"]
    assert "Error: " in contents["Raises"]


@pytest.mark.parametrize("name", [*CLASSES, *ROOMS])
def test_classes_and_rooms_say_what_they_are(name):
    text = inspect.getdoc(getattr(checkerjax, name)) or ""
    assert len(text) > 5
    assert not text.startswith(f"{name}(")  # what a dataclass or a named tuple writes when nobody else does


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_and_result_has_a_type(name):
    signature = inspect.signature(getattr(checkerjax, name))
    assert signature.return_annotation is not signature.empty
    assert all(p.annotation is not p.empty for p in signature.parameters.values())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_public_function_is_jitted(name):
    assert isinstance(getattr(checkerjax, name), types.FunctionType)


def test_names_stay_what_they_are_after_every_submodule_is_imported():
    before = {name: getattr(checkerjax, name) for name in NAMES}
    imported = 0
    for module in pkgutil.walk_packages(checkerjax.__path__, "checkerjax."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            imported += 1
    assert imported > 10
    for name in NAMES:
        assert getattr(checkerjax, name) is before[name], name
        assert getattr(checkerjax, name) is getattr(checkerjax, name), name


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_each_name_is_in_the_table_of_contents_of_its_room(name):
    home = getattr(checkerjax, name).__module__.split(".")
    assert home[0] == "checkerjax"
    assert home[1] in ROOMS
    assert name in getattr(checkerjax, home[1]).__all__
    assert getattr(getattr(checkerjax, home[1]), name) is getattr(checkerjax, name)


def test_star_import_and_dir_give_every_name():
    namespace = {}
    exec("from checkerjax import *", namespace)
    assert set(checkerjax.__all__) <= set(namespace)
    assert set(checkerjax.__all__) <= set(dir(checkerjax))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'checkerjax' has no attribute 'deconvolve'"):
        checkerjax.deconvolve  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
    assert not hasattr(checkerjax, "_missing")


def test_importing_the_package_imports_no_array_library():
    heavy = "jax", "jaxlib", "numpy", "flax", "optax", "matplotlib", "xarray", "tensorstore"
    program = f"import sys, checkerjax; print([m for m in {heavy!r} if m in sys.modules], checkerjax.__version__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", checkerjax.__version__]

"""`checkerjax audit`: objects by name, exit codes, and one line for what cannot be audited."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checkerjax
from checkerjax import audits, cli
from checkerjax.cli._audit_objects import settings, shape_and_type

pytest.importorskip("matplotlib")

MODELS = '''
"""Models of a stranger."""
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

import helper_of_models

print("imported")


class Linen(nn.Module):
    width: int = 4
    kind: str = "relu"

    @nn.compact
    def __call__(self, x):
        return getattr(jax.nn, self.kind)(nn.Dense(self.width)(x))


class Nnx(nnx.Module):
    def __init__(self, width=4, *, rngs):
        self.dense = nnx.Linear(3, width, rngs=rngs)

    def __call__(self, x):
        return self.dense(x)


class Inner:
    made = Linen(width=6)


def function(x, y, scale=1.0):
    print("called")
    return scale * (x.sum() + y)


def labelled(x, labels):
    return x + labels[0].astype(x.dtype)


def make(width):
    return Linen(width=width)


def mean(y):
    return y.mean()


def branches(x):
    return x if x.sum() > 0 else -x


instance = Nnx(rngs=nnx.Rngs(0))
number = 3
'''


class Report:
    """What the command asks of a report."""

    def __init__(self, verdict, grades, subject, options):
        self.verdict, self.subject, self.options = verdict, subject, options
        self.forward = tuple(types.SimpleNamespace(grade=grade) for grade in grades)
        self.backward = (types.SimpleNamespace(grade="holes"),)

    def table(self):
        return f"verdict {self.verdict}\u2026"

    def to_json(self):
        return json.dumps({"verdict": self.verdict})

    def to_markdown(self):
        return f"**{self.verdict}**"

    def figure(self, path):
        pathlib.Path(path).write_text("drawn")


@pytest.fixture
def asked(monkeypatch):
    """What the engine is asked, and what it answers: a stub, for here the command is tested."""
    state = types.SimpleNamespace(verdict="lines", grades=("untied", "uneven"), subject=None, options=None, error=None)

    def audit_subject(subject, **options):
        if state.error is not None:
            raise state.error
        state.subject, state.options = subject, options
        jax.eval_shape(subject.call, subject.parameters, subject.data)
        return Report(state.verdict, state.grades, subject, options)

    monkeypatch.setattr(audits, "audit_subject", audit_subject, raising=False)
    return state


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A file of models, and one that it imports, in the current directory."""
    (tmp_path / "models_to_audit.py").write_text(MODELS)
    (tmp_path / "helper_of_models.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    yield "models_to_audit"
    for name in ("models_to_audit", "helper_of_models"):
        sys.modules.pop(name, None)


def run(*arguments):
    return cli.main(["audit", *arguments])


def fails(capsys, *arguments):
    """The one line that a refused command leaves on standard error."""
    try:
        code = run(*arguments)
    except SystemExit as stop:  # argparse
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    lines = [line for line in err.splitlines() if line not in ("imported", "called")]
    assert len(lines) == 1
    assert lines[0].startswith("checkerjax")
    return lines[0]


@pytest.mark.parametrize("place", ["models_to_audit", "models_to_audit.py", "./models_to_audit.py"])
def test_a_linen_class_is_constructed_from_settings(asked, models, capsys, place):
    assert run(f"{place}:Linen", "--input", "1,3", "--set", "width=9", "--set", "kind=tanh") == 0
    assert capsys.readouterr().out == "verdict lines\u2026\n"
    assert asked.subject.names == ("params/Dense_0/bias", "params/Dense_0/kernel")
    assert asked.subject.parameters[1].shape == (3, 9)
    assert asked.subject.draw is not None
    assert asked.options.pop("key") is not None
    assert asked.options == {"layout": "channel_last", "redraw": 32, "static": False, "inputs": (0,)}


def test_an_nnx_class_gets_its_random_numbers(asked, models, capsys):
    assert run("models_to_audit:Nnx", "--input", "2x3", "--set", "width=9", "--seed", "5") == 0
    first = asked.subject
    assert first.names == ("dense/bias", "dense/kernel")
    assert first.draw is not None
    assert run("models_to_audit:Nnx", "--input", "2x3", "--set", "width=9", "--seed", "5") == 0
    np.testing.assert_array_equal(first.parameters[1], asked.subject.parameters[1])
    np.testing.assert_array_equal(first.data[0], asked.subject.data[0])
    assert run("models_to_audit:Nnx", "--input", "2x3", "--set", "width=9", "--seed", "6") == 0
    assert not np.array_equal(first.parameters[1], asked.subject.parameters[1])
    assert not np.array_equal(first.data[0], asked.subject.data[0])


def test_instances_attributes_and_what_functions_return(asked, models):
    assert run("models_to_audit:instance", "--input", "2,3") == 0
    assert asked.subject.draw is None
    assert run("models_to_audit:Inner.made", "--input", "2,3") == 0
    assert asked.subject.parameters[1].shape == (3, 6)
    assert run("models_to_audit:make()", "--input", "2,3", "--set", "width=8") == 0
    assert asked.subject.parameters[1].shape == (3, 8)


def test_a_function_is_called_with_drawn_arrays(asked, models, capsys):
    assert run("models_to_audit:function", "--input", "500,40", "--input", "7", "--set", "scale=3.0") == 0
    out, err = capsys.readouterr()
    assert out == "verdict lines\u2026\n"  # what the model prints goes elsewhere
    assert "called" in err
    (x,), (y,) = asked.subject.parameters, asked.subject.data
    assert (x.shape, y.shape) == ((500, 40), (7,))
    assert asked.subject.names == ("x",)
    assert abs(float(x.mean())) < 5 / 20000**0.5
    assert float(x.std()) == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(asked.subject.call((0 * x,), (y,)), 3 * y)


def test_types_of_inputs(asked, models):
    assert run("models_to_audit:labelled", "--input", "2,3", "--input", "2:int32", "--dtype", "bfloat16") == 0
    assert asked.subject.data[0].dtype == jnp.bfloat16
    assert asked.subject.parameters[0].dtype == jnp.int32


def test_inputs_name_the_data(asked, models, capsys):
    two = ("models_to_audit:function", "--input", "5,4", "--input", "4")
    assert run(*two, "--inputs", "0") == 0
    (x,), (y,) = asked.subject.data, asked.subject.parameters
    assert (x.shape, y.shape, asked.options["inputs"]) == ((5, 4), (4,), (0,))
    assert "--inputs" not in capsys.readouterr().err
    assert run(*two, "--inputs", "1,0") == 0
    assert [x.shape for x in asked.subject.data] == [(4,), (5, 4)]
    capsys.readouterr()
    assert run(*two) == 0
    hint = capsys.readouterr().err.splitlines()[-1]
    assert hint.startswith("checkerjax: audit: the last input (4) was taken as the data, the others as parameters;")


def test_a_loss_is_named_like_an_object(asked, models):
    assert run("models_to_audit:Linen", "--input", "2,3", "--loss", "models_to_audit.py:mean") == 0
    assert asked.subject.loss is not None
    np.testing.assert_allclose(asked.subject.loss(jnp.arange(4.0)), 1.5)


def test_options_are_passed_on(asked, models):
    more = ("--layout", "channel_first", "--static", "--redraw", "0", "--max-lattice-ratio", "0.01")
    assert run("models_to_audit:Linen", "--input", "2,3", *more, "--max-power-ratio", "1.5") == 0
    del asked.options["key"]
    assert asked.options == {
        "layout": "channel_first", "redraw": 0, "static": True, "max_lattice_ratio": 0.01, "max_power_ratio": 1.5,
        "inputs": (0,),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "grades", "fail_on", "code"),
    [
        ("lines", ("tied", "uneven"), None, 0),
        ("lines", ("tied", "uneven"), "uneven", 1),
        ("lines", ("tied", "uneven"), "untied", 1),
        ("lines", ("tied", "uneven"), "holes", 0),
        ("power", ("holes",), "uneven", 1),
        ("clean", ("uneven",), "uneven", 0),  # a filter after it mends it
        (None, ("uneven",), "uneven", 1),  # nothing was measured
        ("lines", ("tied",), "untied", 0),
        ("lines", (), "lines", 1),
        ("lines", (), "power", 0),
        ("power", (), "power", 1),
        ("both", (), "lines", 1),
        ("both", (), "power", 1),
        ("clean", ("holes",), "lines", 0),
    ],
)
def test_exit_codes(asked, models, verdict, grades, fail_on, code):
    asked.verdict, asked.grades = verdict, grades
    more = () if fail_on is None else ("--fail-on", fail_on)
    assert run("models_to_audit:Linen", "--input", "2,3", *more) == code


def test_files(asked, models, tmp_path, capsys):
    places = ("--json", "out/a.json", "--markdown", "a.md", "--figure", "a.png")
    assert run("models_to_audit:Linen", "--input", "2,3", *places) == 0
    out, _ = capsys.readouterr()
    assert out == "verdict lines\u2026\nwritten: a.png, out/a.json, a.md\n"
    assert json.loads((tmp_path / "out/a.json").read_text()) == {"verdict": "lines"}
    assert (tmp_path / "a.md").read_text() == "**lines**\n"
    assert (tmp_path / "a.png").read_text() == "drawn"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.json"]
    assert run("models_to_audit:Linen", "--input", "2,3", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out) == {"verdict": "lines"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models_to_audit:Linen",), "required: --input"),
        (("models_to_audit", "--input", "1"), "name an object as package.module:name or path/to/file.py:name"),
        (("models_to_audit:", "--input", "1"), "name an object"),
        (("nowhere_at_all:x", "--input", "1"), "cannot import 'nowhere_at_all': ModuleNotFoundError: No module named"),
        (("nowhere.py:x", "--input", "1"), "there is no file 'nowhere.py'."),
        (("models_to_audit:Linnen", "--input", "1"), "'models_to_audit' has no 'Linnen'; did you mean 'Linen'?"),
        (("models_to_audit:nn", "--input", "1"), "is a module; name a class, an instance or a function in it."),
        (("models_to_audit:number", "--input", "1,3"), "fn must be a function or a module with __call__; got int."),
        (("models_to_audit:Linen", "--input", "1,0"), "--input must be sizes of at least 1"),
        (("models_to_audit:Linen", "--input", "1,b"), "--input must be sizes of at least 1"),
        (("models_to_audit:Linen", "--input", "1:int7"), "may be float32, bfloat16, float16, int32 or bool"),
        (("models_to_audit:Linen", "--input", "99999,99999"), "may have at most 268435456 samples"),
        (("models_to_audit:labelled", "--input", "1:int32"), "nothing carries data"),
        (("models_to_audit:LINNEN", "--input", "1"), "has no 'LINNEN'; did you mean 'Linen'?"),
        (("models_to_audit:Linen", "--input", "1,3", "--inputs", "a"), "--inputs must be numbers of inputs from 0 on"),
        (("models_to_audit:Linen", "--input", "1,3", "--inputs", "-1"), "--inputs must be numbers of inputs from 0 on"),
        (("models_to_audit:Linen", "--input", "1,3", "--inputs", "1"), "--inputs must be from 0 to 0, an --input each"),
        (("models_to_audit:Linen", "--input", "1,3", "--inputs", "0,0"), "--inputs must name each input once"),
        (("models_to_audit:labelled", "--input", "2,3", "--input", "2:int32", "--inputs", "1"), "1, which is int32;"),
        (("models_to_audit:Linen", "--input", "1,3", "--loss", "models_to_audit"), "name an object as package.module"),
        (("models_to_audit:Linen", "--input", "1,3", "--loss", "models_to_audit:nn"), "is a module; name a class"),
        (("models_to_audit:Linen", "--input", "1,3", "--loss", "models_to_audit:number"), "loss must be a function of"),
        (("models_to_audit:Linen", "--input", "1,3", "--set", "width=abc"), "and, as strings, width='abc'."),
        (("models_to_audit:Nnx", "--input", "1,3", "--set", "width=abc"), "Its arguments are: width."),
        (("models_to_audit:Linen", "--input", "1,3", "--json", "/dev/full"), "cannot write to '/dev/full': No space"),
        (("models_to_audit:Linen", "--input", "1,3", "--set", "width"), "--set takes NAME=VALUE; got 'width'."),
        (("models_to_audit:Linen", "--input", "1,3", "--set", "depth=2"), "Its arguments are: width, kind."),
        (("models_to_audit:Nnx", "--input", "1,3", "--set", "depth=2"), "Its arguments are: width."),
        (("models_to_audit:instance", "--input", "1,3", "--set", "a=2"), "--set is for classes and functions"),
        (("models_to_audit:instance", "--input", "1,5"), "fn raised TypeError: dot_general requires contracting"),
        (("models_to_audit:instance", "--input", "1,5"), "It was called with --input 1x5:float32."),
        (("models_to_audit:function", "--input", "1,5"), "fn cannot be called with 1 argument: missing a required"),
        (("models_to_audit:branches", "--input", "1,5"), "needs the value of an array"),
        (("models_to_audit:Linen", "--input", "1,3", "--redraw", "-1"), "--redraw must be at least 0; got -1."),
        (("models_to_audit:Linen", "--input", "1,3", "--seed", "-1"), "--seed must be from 0"),
        (("models_to_audit:Linen", "--input", "1,3", "--fail-on", "grids"), "invalid choice: 'grids'"),
        (("models_to_audit:Linen", "--input", "1,3", "--static", "--fail-on", "lines"), "leave --static out"),
        (("models_to_audit:Linen", "--input", "1,3", "--max-lattice-ratio", "nan"), "--max-lattice-ratio must be fin"),
        (("models_to_audit:Linen", "--input", "1,3", "--max-power-ratio", "0.5"), "must be finite and above 1"),
        (("models_to_audit:Linen", "--input", "1,3", "--figure", "a.gif"), "the ending of the file must be one of"),
        (("models_to_audit:Linen", "--input", "1,3", "--json", "-", "--markdown", "-"), "must be different files"),
        (("models_to_audit:Linen", "--input", "1,3", "--json", "."), "is a folder, and a file should go there"),
    ],
)
def test_bad_input_costs_one_line(asked, models, capsys, arguments, message):
    assert message in fails(capsys, *arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import not_installed_at_all\n", "ModuleNotFoundError: No module named 'not_installed_at_all' (broken.py:1)."),
        ("x = 1\ny = {}['size']\n", "KeyError: 'size' (broken.py:2)."),
        ("x = (\n", "SyntaxError: '(' was never closed (broken.py, line 1)."),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (broken.py:2)."),
    ],
)
@pytest.mark.parametrize("place", ["broken", "broken.py"])
def test_an_import_that_fails_is_told_with_its_cause(asked, tmp_path, monkeypatch, capsys, place, text, message):
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert fails(capsys, f"{place}:f", "--input", "1") == f"checkerjax: audit: cannot import {place!r}: {message}"
    assert sys.path == path
    assert "broken" not in sys.modules


def test_a_program_that_the_device_cannot_run(asked, models, capsys):
    asked.error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nwhile trying")
    assert "cannot be run: RESOURCE_EXHAUSTED: Out of memory." in fails(
        capsys, "models_to_audit:Linen", "--input", "1,3"
    )


def test_settings_are_literals_or_strings():
    texts = ["a=32", "b=(1, 2)", "c=relu", "d=True", "e='x'", "f=", "g=1e-3", "h=a=b", "i=[1,"]
    assert settings(texts) == {
        "a": 32, "b": (1, 2), "c": "relu", "d": True, "e": "x", "f": "", "g": 1e-3, "h": "a=b", "i": "[1,",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"^audit: --set gives a twice\.$"):
        settings(["a=1", "a=2"])


def test_shapes():
    assert shape_and_type("1,64", "float32") == ((1, 64), "float32")
    assert shape_and_type("1x8x8x3", "bfloat16") == ((1, 8, 8, 3), "bfloat16")
    assert shape_and_type("4:int32", "bfloat16") == ((4,), "int32")


def test_help_imports_nothing_heavy():
    program = """
import argparse, sys
from checkerjax.cli._audit_options import add_audit
parser = argparse.ArgumentParser()
add_audit(parser.add_subparsers())
try:
    parser.parse_args(["audit", "--help"])
finally:
    print([name for name in ("jax", "numpy", "flax", "matplotlib") if name in sys.modules], file=sys.stderr)
"""
    root = str(pathlib.Path(checkerjax.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "--fail-on" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120

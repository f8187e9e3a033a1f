"""Reports of audits: what they say, that any names fit, that nothing is lost in other forms."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import itertools
import json
import math
import pathlib
import runpy
import sys
import types
import unicodedata

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkerjax import parse_stack
from checkerjax.audits import _report_words as words
from checkerjax.audits._assertions import assert_no_grid, faults_of
from checkerjax.audits._finding import GRADES, Finding
from checkerjax.audits._report import AuditReport
from checkerjax.audits._report_parts import Outcome, Settings, Thresholds, Traced

made = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("audit_reports.py"))))
EVERY = pytest.mark.parametrize("name", made.ALL)
LIMITS = Thresholds()
# Letters of one and two columns, accents, line breaks, escapes, marks of Markdown, right-to-left, halves of a pair.
TEXT = st.text(st.sampled_from("aZ09_/.:-|`*<>[]\\$ é\u0301жצ中あ한😀\n\t\r\x1b\x00\u202e\ud800"), max_size=180)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def section(text, title):
    """The lines below a heading of the table."""
    lines = text.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(title))
    return list(itertools.takewhile(bool, lines[at + 1 :]))


@EVERY
def test_the_table_fits_100_columns(name):
    text = made.ALL[name]().table()
    assert max(map(columns, text.split("\n"))) <= 100
    assert all(line == line.rstrip() for line in text.split("\n"))


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXT, min_size=12, max_size=12), st.lists(FLOATS, min_size=4, max_size=4), st.integers(1, 10**12))
def test_any_names_and_numbers_fit_100_columns(texts, values, number):
    path, source, operation, advice, note, reason, label, device, layout, package, version, other = texts
    finding = made.finding(
        size=(number,) * 3, stride=(1, number, 2), path=path, source=source, operation=operation, advice=(advice,),
        lattice_ratio=values[0], power_ratio=values[1], zero_share=0.5, certain=False,
    )  # fmt: skip
    unknown = dataclasses.replace(made.unknown(), operation=operation, path=other, source=source)
    outcome = Outcome(
        values[2], values[3], ((number, values[0]),) * 9, ((number, values[1]),) * 9, (number,) * 3, (number,) * 3,
        ((number, number),) * 3, "holes", (tuple(values),) * 3, zero_share=0.3, power_chance=1.7,
    )  # fmt: skip
    report = AuditReport(
        "both", (finding,) * 2, (finding,), outcome, stack_reason=reason, backward_outcome=outcome,
        loss_outcome=outcome, not_understood=(unknown,), notes=(note,),
        trace=(Traced(label, path, source, 1.0, 2.0, None),),
        settings=Settings(layout, (0, number), ((number,) * 5,), number, number, LIMITS, ((package, version),), device),
    )  # fmt: skip
    text = report.table()
    assert max(map(columns, text.split("\n"))) <= 100
    assert all(c.isprintable() or c == "\n" for c in text)
    json.loads(report.to_json())
    assert all(c.isprintable() or c == "\n" for c in report.to_markdown())


def test_long_paths_and_sources_keep_their_ends():
    rows = section(made.forty().table(), "forward")[1:]
    assert len(rows) == 40
    for i, row in enumerate(rows):
        number, role, _, _, grade, _, _, path, source = row.split()
        assert (number, role, grade) == (str(i + 1), "up" if i % 2 else "down", GRADES[(1, 2, 3, 0)[i % 4]])
        assert path.startswith("...")
        assert path.endswith(f"/ConvTranspose_{i}")
        assert source.startswith("...")
        assert source.endswith(f"_{i}.py:{100 + i}")


def test_short_names_are_left_alone():
    report = made.unet()
    rows = section(report.table(), "forward")[1:]
    assert [row.split()[-2:] for row in rows] == [[f.path, f.source] for f in report.forward]
    assert "..." not in report.table()


def test_a_row_says_what_a_finding_is():
    rows = section(made.resnet().table(), "backward")
    assert rows[0].split() == ["#", "role", "kernel", "stride", "grade", "lines", "power", "zeros", "module", "source"]
    first = ["1", "up", "1x1", "2x2", "holes", "1.15*", "inf*", "75%", "ResNet18/layer7/conv", "resnet.py:97"]
    assert rows[1].split() == first
    assert rows[2].split()[4:8] == ["uneven", "1.1*", "7.78*", "0%"]


def test_what_was_not_measured_has_no_columns_and_no_star():
    text = made.static().table()
    assert text.startswith(
        "verdict: not measured\ncounting alone says uneven: some samples are reached by more weights"
    )
    assert section(text, "forward")[0].split() == ["#", "role", "kernel", "stride", "grade", "module", "source"]
    assert section(text, "forward")[2].split()[4] == "untied?"
    assert "*" not in text
    assert "probe" not in text
    assert "nothing was run" in text


def test_stars_are_above_the_limits_of_the_caller():
    report = made.dcgan()
    assert [line.count("*") for line in section(report.table(), "forward")] == [0, 2, 2, 2]
    settings = dataclasses.replace(report.settings, thresholds=Thresholds(1.28, 4.43))
    rows = section(dataclasses.replace(report, settings=settings).table(), "forward")
    assert [line.count("*") for line in rows] == [0, 0, 0, 2]  # at the limit is not above it


@pytest.mark.parametrize("name", ["clean", "lines", "power", "both"])
def test_verdicts_are_explained(name):
    outcome = Outcome(0.5 if name in ("lines", "both") else 0.0, 2.5 if name in ("power", "both") else 1.0,
                      ((2, 0.5),), ((2, 2.5),))  # fmt: skip
    said = AuditReport(name, (), (), outcome).table().split("\n\n")[0]
    assert outcome.verdict(LIMITS) == name
    assert said.startswith(f"verdict: {name}\n")
    assert ("no grid in the output" in said) == (name == "clean")
    assert ("a flat input leaves lines of period 2" in said) == (name in ("lines", "both"))
    assert ("have 2.5 times the power" in said.replace("\n ", "")) == (name in ("power", "both"))


def test_gradients_have_verdicts_of_their_own():
    report = made.resnet()
    assert (report.verdict, report.backward_verdict, report.loss_verdict) == ("clean", "both", "both")
    text = report.table()
    assert text.startswith("verdict: clean (gradient of the input: both, gradient of the loss: both)\n")
    said = " ".join(line.strip() for line in section(text, "the gradient of the input"))
    assert "a flat gradient of the output leaves lines of periods 2, 4 and 8" in said
    assert "some phases of period 32 have no power at all" in said
    assert "12.3% of the inputs get no gradient" in said


def test_latents_are_called_so():
    assert "draws of the latent leave lines" in made.dcgan().table()
    assert "lines over DC, of draws of the latent" in made.dcgan().table()


@pytest.mark.parametrize(
    ("ratio", "by_period", "expected"),
    [
        (0.0005, ((2, 0.01),), ()),
        (0.3, ((4, 0.1), (2, 0.2), (3, 0.0)), (2, 4)),
        (0.0012, ((2, 0.0008), (4, 0.0004)), (2,)),  # only their sum is above
        (0.0016, ((4, 0.0008), (2, 0.0008)), (2,)),
        (0.3, (), ()),
        (math.nan, ((2, 1.0),), ()),
    ],
)
def test_line_periods_are_those_above_the_limit(ratio, by_period, expected):
    assert Outcome(ratio, 1.0, by_period).line_periods(1e-3) == expected


@pytest.mark.parametrize(
    ("by_period", "chance", "expected"),
    [
        (((2, 1.1), (4, 1.15)), None, ()),
        (((2, 2.6), (4, 2.7)), None, (2,)),  # a grid of period 2 is one of period 4 too
        (((2, 2.6), (3, 1.3), (4, 5.1), (6, 2.7)), None, (2, 3, 4)),
        (((2, 1.15), (4, 1.3)), None, (4,)),  # more than the limit, but little more than 2 has: the strongest
        (((2, 1.5), (4, 1.6)), 1.7, ()),
        (((2, 1.9), (4, math.inf)), 1.7, (2, 4)),
    ],
)
def test_power_periods_are_those_that_shorter_ones_do_not_explain(by_period, chance, expected):
    ratio = max(value for _, value in by_period)
    outcome = Outcome(0.0, ratio, (), by_period, power_chance=chance)
    assert outcome.power_periods(1.2) == expected
    assert (outcome.verdict(LIMITS) == "power") == bool(expected)


def test_what_chance_reaches_is_no_grid():
    report = AuditReport("clean", (), (), Outcome(0.0, 1.5, power_chance=1.7))
    text = " ".join(report.table().split())
    assert report.output.verdict(LIMITS) == "clean"
    assert "chance alone makes a power ratio of 1.7;" in text
    assert "white probe 1.5 1.7" in text


def test_where_a_grid_is_born_and_where_it_ends():
    def report(verdict, *ratios):
        trace = tuple(Traced("up", f"Up_{i}", f"a.py:{i}", a, b, None) for i, (a, b) in enumerate(ratios))
        return " ".join(AuditReport(verdict, (), (), Outcome(*ratios[-1]), trace=trace).table().split())

    assert "first seen" not in report("clean", (0.0, 1.0), (1e-3, 1.2))
    assert "Lines are first seen after Up_1 (up, a.py:1). " in report("lines", (0.0, 1.0), (0.1, 1.0), (0.2, 1.0))
    both = report("both", (0.0, 1.0), (0.1, 2.0))
    assert "Lines and unequal phase powers are first seen after Up_1 (up, a.py:1). " in both
    ended = report("power", (0.3, 1.0), (0.1, 1.0), (0.0, 1.5))
    assert "Lines are first seen after Up_0 (up, a.py:0), last after Up_1 (up, a.py:1), and are below the" in ended
    assert "Unequal phase powers are first seen after Up_2 (up, a.py:2). " in ended


@pytest.mark.parametrize(("lines", "power", "chance", "is_there"), [
    (0.1, 1.0, None, True), (0.0, 1.5, None, True), (0.0, 1.5, 1.6, False), (1e-3, 1.2, None, False),
])  # fmt: skip
def test_a_grid_beside_a_larger_mean_is_told(lines, power, chance, is_there):
    """What is after the last operation on several samples is in the output, whatever is added to it."""
    last = Traced("up k3 s2", "Up", "a.py:1", lines, power, None, power_chance=chance)
    text = " ".join(AuditReport("clean", (), (), Outcome(0.0, 1.0), trace=(last,)).table().split())
    assert ("But there is one after Up (up k3 s2, a.py:1), the last operation" in text) == is_there
    ended = AuditReport("clean", (), (), Outcome(0.0, 1.0), trace=(last, last._replace(lattice_ratio=0.0,
                                                                                     power_ratio=1.0)))  # fmt: skip
    assert "But there is one" not in ended.table()


def test_the_power_of_one_period_is_its_own():
    """Of period 2 alone 1.75; the 2.43 are of all phases of period 8, which no shorter ones need to have."""
    outcome = Outcome(0.0, 2.43, (), ((2, 1.75), (4, 2.03), (8, 2.43)), power_chance=1.5)
    text = " ".join(AuditReport("power", (), (), outcome).table().split())
    assert "some phases of period 2 have 1.75 times the power of others (2.43 times over longer periods)" in text


def test_what_was_not_understood_is_named():
    rows = section(made.unet().table(), "not understood")
    assert rows[-1].split() == ["sort", "(no", "rule)", "Block_3/Attention", "model.py:77"]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (((4.0, 4.0),) * 2, "4 each"),
        (((1.0,),), "1"),
        (((2.0, 1.0),) * 2, "2, 1"),
        (((1.0, 1.0), (2.0, 1.0)), "1 each along axis 0; 2, 1 along axis 1"),
        (((60000.0, 45000.0),), "1, 0.75 (over the most, 6e+04)"),
        ((tuple(range(16)),), "0 to 15, 16 phases"),
        ((), None),
    ],
)
def test_counts_are_written_out_while_they_are_few(counts, said):
    text = AuditReport("clean", (), (), Outcome(0.0, 1.0, grade="uneven", counts=counts)).table()
    assert section(text, "the output")[1].strip() == "counted: uneven" + (
        f"; paths to the phases: {said}" if said else ""
    )


@pytest.mark.parametrize(
    ("seed", "said"), [(3, "seed 3"), ((0, 0), "seed 0"), ((0, 7), "seed 7"), ((5, 0), "seed 5:0")]
)
def test_how_it_was_made(seed, said):
    settings = Settings("channel_first", (0, 2), ((1, 8), (2, 3, 4)), 5, seed, LIMITS, (("jax", "1.2"),), "gpu: T4")
    lines = section(AuditReport("clean", (), (), Outcome(0.0, 1.0), settings=settings).table(), "how it was made")
    data = "data: argument 0 (1x8) and argument 2 (2x3x4)"
    assert lines == [f"  5 draws of the parameters; {data}; channel_first; {said}", "  jax 1.2, gpu: T4"]
    given = dataclasses.replace(settings, redraw=0, inputs=())
    lines = section(AuditReport("clean", (), (), Outcome(0.0, 1.0), settings=given).table(), "how it was made")
    assert lines[0].startswith("  the parameters as given; data: 1x8 and 2x3x4; ")


def test_words_are_explained_only_where_they_are_used():
    explained = {line.split(":")[0].strip() for line in section(made.clean().table(), "words")}
    assert {"tied", "up", "lines", "power", "*"} <= explained
    assert not {"holes", "uneven", "untied", "?", "zeros"} & explained


@settings(deadline=None)
@given(TEXT, st.integers(3, 40), st.sampled_from(["end", "start"]))
def test_shortened_text_is_an_end_or_a_start(text, width, keep):
    short = words.shortened(text, width, keep=keep)
    assert words.columns(short) <= width
    if words.columns(text) <= width:
        assert short == text
    elif keep == "end":
        assert short.startswith("...")
        assert text.endswith(short[3:])
        assert words.columns(short) >= width - 1  # a letter of two columns may not fit
    else:
        assert short.endswith("...")
        assert text.startswith(short[:-3])


@settings(deadline=None)
@given(st.lists(st.text("ab中", min_size=1, max_size=30), max_size=20), st.integers(12, 50))
def test_wrapped_text_keeps_its_words(parts, width):
    lines = words.wrapped(" ".join(parts), width)
    assert all(words.columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(parts)
    assert all(line.startswith("  ") for line in lines[1:])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (2.3149, "2.31"),
        (1e-15, "1e-15"),
        (3.2e5, "3e+5"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0%"), (1e-5, "<0.1%"), (0.75, "75%"), (0.99995, ">99.9%"), (1.0, "100%"), (None, "-")]
)
def test_only_none_is_none_and_only_all_is_all(value, text):
    assert words.share(value) == text


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@EVERY
def test_json_has_all_there_is(name):
    report = made.ALL[name]()
    read = strict(report.to_json())
    assert read["verdict"] == report.verdict
    fields = {f.name for f in dataclasses.fields(Finding)} - {"nodes"}
    assert all(set(f) == fields for f in (*read["forward"], *read["backward"], *read["not_understood"]))
    assert [f["source"] for f in read["forward"]] == [f.source for f in report.forward]
    assert [t["path"] for t in read["trace"]] == [t.path for t in report.trace]
    assert set(read["output"]) == {f.name for f in dataclasses.fields(Outcome)}
    assert read["stack"] is None or parse_stack(read["stack"]) == report.stack
    assert read["settings"]["thresholds"] == {"max_lattice_ratio": 1e-3, "max_power_ratio": 1.2}
    assert [t["power_ratios"] for t in read["trace"]] == [[list(each) for each in t.power_ratios] for t in report.trace]
    missing = {f.name for f in dataclasses.fields(AuditReport)} - set(read) - {"fixer"}
    assert not missing


@settings(deadline=None, max_examples=60)
@given(st.tuples(FLOATS, st.floats(width=32), FLOATS))
def test_floats_come_back_as_they_were(values):
    outcome = Outcome(values[0], np.float32(values[1]), ((np.int64(2), values[2]),))  # pyright: ignore[reportArgumentType]
    read = strict(AuditReport("clean", (), (), outcome).to_json())["output"]
    back = [float(read["lattice_ratio"]), float(read["power_ratio"]), float(read["lattice_ratios"][0][1])]
    np.testing.assert_array_equal(back, [values[0], float(np.float32(values[1])), values[2]])
    assert isinstance(read["lattice_ratio"], float if math.isfinite(values[0]) else str)


def test_spectra_are_written_while_they_are_small():
    small = made.dcgan()
    np.testing.assert_array_equal(strict(small.to_json())["spectrum"], small.spectrum)
    large = strict(made.forty().to_json())
    assert (large["spectrum"], large["spectrum_shape"]) == (None, [312, 144])
    assert strict(made.static().to_json())["spectrum_shape"] is None


def cells_of(markdown):
    """Tables of a page as another program reads them: rows of the text that a reader sees."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    tables, row = [], []
    for token in parser.parse(markdown):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            row = []
            tables[-1].append(row)
        elif token.type == "inline" and token.level >= 4:
            row.append("".join(child.content for child in token.children))
    return tables


@EVERY
def test_markdown_has_a_row_for_each_finding(name):
    report = made.ALL[name]()
    page = report.to_markdown()
    tables = cells_of(page)
    assert page.startswith("# Audit: ")
    assert all(len(row) == len(table[0]) for table in tables for row in table)
    sources = [[row[-1] for row in table[1:]] for table in tables if table[0][-1] == "source"]
    trace = report.trace if report.verdict is not None else ()
    every = (report.forward, trace, report.backward, report.not_understood)
    assert sources == [[row.source for row in each] for each in every if each]


@settings(deadline=None, max_examples=60)
@given(TEXT.filter(str.strip), TEXT.filter(str.strip))
def test_markdown_shows_names_as_they_are(path, operation):
    page = AuditReport("clean", (), (), Outcome(0.0, 1.0),
                       not_understood=(made.unknown(operation, path),)).to_markdown()  # fmt: skip
    row = cells_of(page)[-1][1]
    assert row[1].strip() == words.printable(path).strip()
    assert row[0].strip() == words.printable(operation).strip()


def test_markdown_has_no_stars_but_bold_ones():
    (row, *_) = [line for line in made.dcgan().to_markdown().split("\n") if line.startswith("| 1 | up")]
    assert "| **0.71** | **2.4** |" in row


def test_printing_gives_the_table_and_the_name_of_a_report_is_short():
    report = made.unet()
    assert str(report) == report.table()
    assert repr(report) == "<AuditReport: lines; findings: 10 forward, 4 backward>"


def test_a_fix_is_tried_by_whoever_can():
    report = dataclasses.replace(made.clean(), fixer=lambda given, finding: ("fixed", given))
    assert report.try_fix() == ("fixed", report)
    with pytest.raises(ValueError, match="try_fix: this report has no program to change; use the one that audit"):
        made.clean().try_fix()


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("clean", {}, []),
        ("clean", {"max_grade": "tied"}, []),
        ("clean", {"backward": True}, ["the gradient of the input was not measured"]),
        ("dcgan", {}, ["the output has lines and unequal phase powers"]),
        ("dcgan", {"max_grade": "uneven", "backward": True}, ["the output has lines and unequal phase powers"]),
        ("unet", {}, ["the output has lines"]),
        ("static", {"max_grade": "holes"}, ["1 operation not understood, and nothing was measured"]),
        ("static", {"max_grade": "untied"}, ["forward 1 is uneven, worse than untied",
                                             "1 operation not understood, and nothing was measured"]),
        ("static", {}, ["nothing was measured"]),
        ("resnet", {}, ["the gradient of the loss has lines and unequal phase powers"]),
        ("resnet", {"backward": True, "max_grade": "uneven"},
         ["the gradient of the loss has lines and unequal phase powers",
          "the gradient of the input has lines and unequal phase powers",
          *(f"backward {i} is holes, worse than uneven" for i in (1, 3, 5))]),
    ],
)  # fmt: skip
def test_what_a_test_forbids(name, options, expected):
    assert faults_of(made.ALL[name](), **({"max_grade": None, "backward": False} | options)) == expected


@pytest.fixture
def stub(monkeypatch):
    """An audit that gives the reports it is told to, and keeps what it was called with."""
    calls = types.SimpleNamespace(report=None, args=(), options={})

    def audit(*args, **options):
        calls.args, calls.options = args, options
        return calls.report

    module = types.ModuleType("checkerjax.audits._audit")
    module.__dict__["audit"] = audit
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_an_assertion_shows_the_table(stub):
    stub.report = made.unet()
    with pytest.raises(AssertionError) as caught:
        assert_no_grid(print, 1, 2, redraw=4)
    first, rest = str(caught.value).split("\n\n", 1)
    assert first == "assert_no_grid: the output has lines"
    assert rest == stub.report.table()
    assert stub.args == (print, 1, 2)
    assert stub.options["redraw"] == 4


def test_an_assertion_passes_a_clean_model_and_all_options(stub):
    stub.report = made.clean()
    key = jax.random.key(3)
    given = {
        "inputs": (1,), "layout": "channel_first", "redraw": 7, "key": key, "static": False, "backward": False,
        "loss": abs, "max_lattice_ratio": 0.5, "max_power_ratio": 3.0,
    }  # fmt: skip
    assert assert_no_grid(print, 1, **given) is stub.report
    assert stub.options == given


def test_assertions_that_ask_for_nothing_are_refused(stub):
    with pytest.raises(ValueError, match="assert_no_grid: with static=True nothing is measured; say which max_grade"):
        assert_no_grid(print, 1, static=True)
    with pytest.raises(ValueError, match=r"assert_no_grid: max_grade must be one of .*; got 'uneeven'; did you mean"):
        assert_no_grid(print, 1, max_grade="uneeven")
    assert stub.args == ()


@pytest.mark.skipif(importlib.util.find_spec("checkerjax.audits._audit") is None, reason="the audit is not there")
def test_an_assertion_has_the_options_of_the_audit():
    from checkerjax.audits._audit import audit

    theirs, ours = (inspect.signature(f).parameters for f in (audit, assert_no_grid))
    assert set(theirs) == set(ours) - {"max_grade"}
    assert all(theirs[name].default == ours[name].default for name in theirs if name != "backward")

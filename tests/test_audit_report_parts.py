"""Parts of an audit's report that are said once for many layers: advice, and the trace period by period."""

from __future__ import annotations

import itertools
import json
import math
import pathlib
import pickle
import runpy
import types

import pytest

from checkerjax.audits._report import AuditReport
from checkerjax.audits._report_advice import COST, Advice, lines_of, paths_of, ranges
from checkerjax.audits._report_parts import Outcome, Traced

made = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("audit_reports.py"))))


def section(text, title):
    """The lines below a heading of the table."""
    lines = text.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(title))
    return list(itertools.takewhile(bool, lines[at + 1 :]))


def advised(count, *, source="gan.py:31", **more):
    """Equal layers, each with its own place and cost."""
    return tuple(
        made.finding(path=f"G/Up_{i}", source=source, advice=(
            Advice(f"G/Up_{i}", f"resize. 4 times the products{COST}.", (1e6 * (i + 1), 4e6 * (i + 1))),
            Advice(f"G/Up_{i}", "or keep it."),
        ), **more) for i in range(count)
    )  # fmt: skip


def test_advice_is_said_once_for_equal_layers_with_what_all_of_them_cost():
    """Ten layers with 1 to 10 million products: 55 million, and four times that."""
    report = AuditReport("both", advised(10), (), Outcome(0.5, 2.0))
    said = section(report.table(), "what to change")
    assert said == [
        "  gan.py:31, G/Up_0, Up_1, Up_2, Up_3, Up_4, Up_5 and 4 more: up k5 s2, uneven (forward 1 to 10)",
        "    - resize. 4 times the products (55M to 220M MACs).",
        "    - or keep it.",
    ]
    assert "- resize. 4 times the products (55M to 220M MACs)." in report.to_markdown()
    first = json.loads(report.to_json())["forward"][0]["advice"]
    assert first == ["G/Up_0: resize. 4 times the products (1M to 4M MACs).", "G/Up_0: or keep it."]


def test_layers_that_differ_are_advised_apart():
    forward = (*advised(2), *advised(1, size=(3, 3)), made.finding(path="G/Up_9", advice=("another",)))
    report = AuditReport("both", forward, (), Outcome(0.5, 2.0))
    heads = [line for line in section(report.table(), "what to change") if not line.startswith("    ")]
    assert heads == [
        "  gan.py:31, G/Up_0 and Up_1: up k5 s2, uneven (forward 1, 2)",
        "  gan.py:31, G/Up_0: up k3 s2, uneven (forward 3)",
        "  model.py:1, G/Up_9: up k5 s2, uneven (forward 4)",
    ]


def test_a_layer_that_two_gradients_pass_is_advised_and_paid_once():
    findings = advised(1)
    outcome = Outcome(0.5, 2.0)
    report = AuditReport("clean", (), findings, Outcome(0.0, 1.0), backward_outcome=outcome, loss=findings,
                         loss_outcome=outcome)  # fmt: skip
    said = section(report.table(), "what to change for the gradient")
    assert said[0] == "  gan.py:31, G/Up_0: up k5 s2, uneven (backward 1 and loss 1)"
    assert said[1] == "    - resize. 4 times the products (1M to 4M MACs)."


def test_what_needs_no_change_comes_last():
    remark = made.finding(path="G/Up_0", advice=(Advice("", "No change needed.", needed=False),))
    report = AuditReport("both", (remark, *advised(2)), (), Outcome(0.5, 2.0))
    said = section(report.table(), "what to change")
    assert said[0].endswith("(forward 2, 3)")
    assert said[-1] == "    - No change needed."
    alone = AuditReport("clean", (remark,), (), Outcome(0.0, 1.0)).table()
    assert section(alone, "nothing to change")[-1] == "    - No change needed."
    assert "what to change" not in alone


def test_advice_is_a_sentence_that_can_be_copied():
    advice = Advice("G/Up_0", f"resize{COST}.", (1e6, 4e6), needed=False)
    assert advice == "G/Up_0: resize (1M to 4M MACs)."
    again = pickle.loads(pickle.dumps(advice))
    assert (again, again.place, again.change, again.macs, again.needed) == (
        advice, "G/Up_0", f"resize{COST}.", (1e6, 4e6), False,
    )  # fmt: skip


def test_sources_and_paths_say_once_what_is_shared():
    findings = [
        made.finding(path=path, source=source)
        for path, source in [("G/a/x", "m.py:3"), ("G/a/y", "m.py:5"), ("G/b", "n.py:1"), ("", "")]
    ]
    assert lines_of(findings) == "m.py:3 and 5 and n.py:1"
    assert paths_of(findings[:2]) == "G/a/x and y"
    assert paths_of(findings) == "G/a/x, a/y and b"


@pytest.mark.parametrize(
    ("numbers", "text"), [((1,), "1"), ((1, 2), "1, 2"), ((1, 2, 3, 5), "1 to 3, 5"), ((2, 4, 6), "2, 4, 6")]
)
def test_runs_are_said_by_their_ends(numbers, text):
    assert ranges(numbers) == text


def row(i, lines, power, **more):
    """A row of a trace with statistics by period."""
    return Traced(
        "up k5 s2", f"G/Up_{i}", f"gan.py:{i}", sum(v for _, v in lines), max((v for _, v in power), default=1.0),
        "uneven", lines, power, **more,
    )  # fmt: skip


FIRST = row(1, ((2, 0.5),), ((2, 2.5),))
SECOND = row(2, ((2, 0.25), (4, 0.125)), ((2, 2.0), (4, 3.0)))


def traced_report(*rows):
    return AuditReport("both", (), (), Outcome(0.375, 3.0), trace=rows)


def test_the_trace_has_a_column_for_each_period():
    lines = section(traced_report(FIRST, SECOND).table(), "forward, after each operation")
    assert [line.split() for line in lines[1:]] == [
        ["operation", "l2", "l4", "p2", "p4", "module", "source"],
        ["up", "k5", "s2", "0.5", "-", "2.5", "-", "G/Up_1", "gan.py:1"],
        ["up", "k5", "s2", "0.25", "0.125", "2", "3", "G/Up_2", "gan.py:2"],
    ]


def test_of_many_periods_the_strongest_is_named():
    many = tuple((p, 1.0 / p) for p in (2, 3, 4, 5, 6))
    lines = section(traced_report(FIRST, row(2, many, ((2, 1.5), (6, 4.0)))).table(), "forward, after each operation")
    assert lines[0].split() == ["operation", "lines", "most", "at", "power", "most", "at", "module", "source"]
    assert lines[2].split()[3:7] == ["1.45*", "2", "4*", "6"]


def test_a_trace_without_a_grid_is_left_out_of_the_table():
    still = row(1, ((2, 0.0),), ((2, 1.004),))
    report = traced_report(still, still)
    assert "after each operation" not in report.table()
    assert report.to_markdown().count("gan.py:1") == 2


def test_what_chance_makes_has_no_star():
    many = tuple((p, 1.3) for p in (2, 3, 4, 5, 6))
    rows = row(1, ((2, 0.1),), many, power_chance=1.4), row(2, ((2, 0.1),), many, power_chance=1.25)
    lines = section(traced_report(*rows).table(), "forward, after each operation")
    assert [line.split()[5] for line in lines[1:]] == ["1.3", "1.3*"]


def test_long_traces_end_in_the_last_rows():
    report = traced_report(*(FIRST._replace(source=f"gan.py:{i}") for i in range(50)))
    lines = section(report.table(), "forward, after each operation")
    assert lines[0].strip() == "the last 40 of 50; Markdown and JSON have all"
    assert [line.split()[-1] for line in lines[3:]] == [f"gan.py:{i}" for i in range(10, 50)]
    assert max(map(len, report.table().splitlines())) <= 100


def test_markdown_and_json_have_every_period():
    report = traced_report(FIRST, SECOND._replace(power_ratios=((2, 2.0), (4, math.inf))))
    assert "| 2: 0.25, 4: 0.125 | 2: 2, 4: inf |" in report.to_markdown()
    second = json.loads(report.to_json())["trace"][1]
    assert second["lattice_ratios"] == [[2, 0.25], [4, 0.125]]
    assert second["power_ratios"] == [[2, 2.0], [4, "inf"]]


def test_gradients_have_traces_of_their_own():
    report = AuditReport("clean", (), (), Outcome(0.0, 1.0), backward_trace=(FIRST,), loss_trace=(SECOND,))
    assert section(report.table(), "backward, after each operation")[2].split()[-1] == "gan.py:1"
    assert section(report.table(), "loss, after each operation")[2].split()[-1] == "gan.py:2"
    assert len(json.loads(report.to_json())["loss_trace"]) == 1


def test_of_several_outputs_the_worst_is_told_and_all_are_listed():
    small, large = (Outcome(v, 1.0, ((2, v),), ((2, 1.0),), (2,), (64,), name=n) for v, n in ((0.0, "0"), (0.5, "1/x")))
    report = AuditReport("lines", (), (), large, outputs=(large, small))
    text = report.table()
    assert "the output: the worst of 2, 1/x" in text
    rows = section(text, "the output, all 2")
    assert [line.split()[:6] for line in rows[1:]] == [
        ["1/x", "64", "lines", "-", "0.5*", "1"], ["0", "64", "clean", "-", "0", "1"],
    ]  # fmt: skip
    assert [each["name"] for each in json.loads(report.to_json())["outputs"]] == ["1/x", "0"]

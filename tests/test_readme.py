"""The README's code runs, its commands are those of the checks, and its numbers are those of the stored run."""

from __future__ import annotations

import doctest
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_code_prints_what_it_says():
    assert doctest.testfile(str(ROOT / "README.md"), module_relative=False).failed == 0


def test_the_first_two_commands_are_set_up_and_tests():
    commands = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
    assert commands[:2] == ["pip install uv && uv run checkerjax sweep", "uv run pytest"]
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == commands[1]


def test_every_interval_of_the_results_is_in_the_stored_table():
    stored = (ROOT / "experiments" / "main_job" / "sweep.txt").read_text()
    section = README.split("## Results of the main job")[1].split("\n## ")[0]
    intervals = re.findall(r"[\d.e-]+ \[[\d.e-]+, [\d.e-]+\]", section)
    assert len(intervals) > 20
    assert [interval for interval in intervals if interval not in stored] == []


def test_the_files_that_the_readme_points_to_are_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target

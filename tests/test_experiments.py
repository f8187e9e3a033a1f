"""The experiments' small modes run and find what their READMEs say, as far as a few seeds can tell."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.fixture
def experiments(monkeypatch, request):
    """The experiments of this checkout, importable as their commands import them."""
    monkeypatch.syspath_prepend(str(request.config.rootpath))
    yield lambda name: importlib.import_module(f"experiments.{name}.run")
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        sys.modules.pop(name)


def test_max_pool_ties_smoke(experiments):
    run = experiments("max_pool_ties")
    rows = run.main(run.SMOKE)["rows"]
    ratios = {name: row["phase_ratio"][0] for name, row in rows.items()}
    assert ratios["max pool 2x2 s2, photo, as stored"] > 1.5 > ratios["max pool 2x2 s2, photo, dithered"]
    assert ratios["max pool 3x3 s2, photo, dithered"] > 1.3 * ratios["max pool 3x3 s2, white"]

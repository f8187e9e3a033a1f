"""Wide limits with borders against neural-tangents', stored by experiments/closed_forms/neural_tangents_kernels.py."""

import json
import pathlib

import numpy as np
import pytest

from checkerjax.expectations import dense_covariance

FILE = pathlib.Path(__file__).parent.parent / "experiments" / "closed_forms" / "neural_tangents.json"
CASES = json.loads(FILE.read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["stack"] for case in CASES])
def test_covariances_are_those_of_neural_tangents(case):
    expected = np.array(case["covariance"])
    found = dense_covariance(case["stack"], tuple(case["size"]), channels=3).own
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-11)  # stored with 12 decimals

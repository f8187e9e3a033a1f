"""Where results come from: versions, device, git state."""

from __future__ import annotations

import pathlib
import subprocess
from typing import Any

import jax
import numpy as np


def provenance() -> dict[str, Any]:
    """What a dataset's attributes say about the machine and the code."""
    from checkerjax import __version__

    device = jax.devices()[0]
    found = {
        "checkerjax_version": __version__,
        "jax_version": jax.__version__,
        "numpy_version": np.__version__,
        "device": f"{device.platform}: {device.device_kind}",
    }
    state = _git_state()
    return found | ({"git": state} if state else {})


def _git_state() -> str:
    """The commit of a checkout, "-dirty" where files differ from it; empty for an installed package."""
    root = pathlib.Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""

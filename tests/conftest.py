"""Strict settings, one pool of random numbers, one home for tolerances."""

from __future__ import annotations

import os
import pathlib

os.environ.setdefault("MPLBACKEND", "agg")
# Compiling is what most tests take their time for: without LLVM's costly passes it takes half of it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

CACHE = os.environ.get("CHECKERJAX_TEST_CACHE", str(pathlib.Path(__file__).parent.parent / ".pytest_cache" / "jax"))
if CACHE:  # one for each process of a parallel run: JAX may read what another has not written to its end
    CACHE = os.path.join(CACHE, os.environ.get("PYTEST_XDIST_WORKER", ""))

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "allow")
jax.config.update("jax_enable_x64", False)
jax.config.update("jax_default_matmul_precision", "highest")  # tolerances are those of float32 on every backend
if CACHE:
    jax.config.update("jax_compilation_cache_dir", CACHE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(params=[lambda f: f, jax.jit], ids=["eager", "jit"])
def mode(request):
    """The function as it is, and compiled."""
    return request.param


@pytest.fixture
def rng():
    """NumPy's generator, seeded: draws on the host cost no compilation."""
    return np.random.default_rng(20161017)


def tolerance(dtype) -> float:
    """Relative error that rounding explains: some hundred roundings of sums over up to a thousand terms."""
    return 256 * float(jnp.finfo(dtype).eps)

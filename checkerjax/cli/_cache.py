"""Compiled programs are kept between runs."""

from __future__ import annotations

import os
import pathlib

import jax


def keep_compiled_programs() -> None:
    """Turns on JAX's cache on disk, in the user's cache folder, unless one is set already.

    JAX_COMPILATION_CACHE_DIR chooses another place, and "" none.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(home) / "checkerjax" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

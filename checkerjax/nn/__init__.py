"""Layers for Flax, initialisers, optax transformations, surgery on trained models: parameters here, arithmetic in ops.

`linen` and `nnx` have the same layers under the same names; nothing of Flax is imported before one of them is used.
Write `import checkerjax.nn.linen as cnn` (or `nnx`) beside `flax.linen`: `cnn.Conv` and `cnn.ConvTranspose` take
the place of Flax's, with the same arguments, parameters and numbers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkerjax.nn import initializers as initializers
    from checkerjax.nn import linen as linen
    from checkerjax.nn import nnx as nnx
    from checkerjax.nn import surgery as surgery
    from checkerjax.nn import transforms as transforms

__all__ = ["initializers", "linen", "nnx", "surgery", "transforms"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

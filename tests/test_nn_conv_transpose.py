"""`ConvTranspose` of linen and nnx against Flax's own, over a drawn grid of arguments: values and gradients."""

import functools
import pathlib
import runpy
import types

import jax.numpy as jnp
from hypothesis import given, settings
from hypothesis import strategies as st

pairs = types.SimpleNamespace(**runpy.run_path(str(pathlib.Path(__file__).with_name("flax_pairs.py"))))
CHANNELS = {1: (2, 3), 2: (2, 3), 3: (1, 2)}


@st.composite
def flax_arguments(draw):
    """A size of input, and arguments that Flax takes."""
    ndim = draw(st.sampled_from([1, 1, 2, 2, 3]))
    per_axis = functools.partial(_per_axis, draw, ndim)
    k, s, d = (per_axis([1, 2, 3, 4][: 5 - ndim]), per_axis([1, 2, 3][: 4 - ndim // 2]), per_axis([1, 1, 2]))
    size = per_axis([2, 3, 5] if ndim < 3 else [2, 3])
    padding = draw(st.sampled_from(["SAME", "VALID", "CIRCULAR", "int", "ints", "pairs"]))
    least = [d_ * (k_ - 1) + 1 - s_ * (i - 1) for i, k_, s_, d_ in zip(size, k, s, d)]  # of low + high: an output
    if padding == "int":
        padding = draw(st.integers(max(0, *(-(-n // 2) for n in least)), 4))
    elif padding == "ints":
        padding = tuple(draw(st.integers(max(0, -(-n // 2)), 3)) for n in least)
    elif padding == "pairs":
        lows = [draw(st.integers(-1, 4)) for _ in least]
        padding = tuple((low, draw(st.integers(max(-1, n - low), max(3, n - low)))) for low, n in zip(lows, least))
    arguments = {
        "kernel_size": k,
        "strides": draw(st.sampled_from([s, list(s)])) if set(s) != {1} else draw(st.sampled_from([None, s])),
        "kernel_dilation": d if set(d) != {1} else draw(st.sampled_from([None, 1, d])),
        "padding": padding,
        "transpose_kernel": draw(st.booleans()),
        "use_bias": draw(st.booleans()),
        "mask": draw(st.booleans()),
        "preferred_element_type": draw(st.sampled_from([None, None, jnp.float32])),
        "dtype": draw(st.sampled_from([None, jnp.float32])),
    }
    batch = draw(st.sampled_from([(), (2,), (2, 1)]))
    return batch, size, arguments


def _per_axis(draw, ndim, choices):
    return tuple(draw(st.sampled_from(choices)) for _ in range(ndim))


@given(case=flax_arguments())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_linen_values_and_gradients_are_flaxs(case):
    compare("linen", case)


@given(case=flax_arguments())
@settings(max_examples=210, deadline=None, derandomize=True)
def test_nnx_values_and_gradients_are_flaxs(case):
    compare("nnx", case)


def compare(flavour, case):
    batch, size, arguments = case
    inputs, outputs = CHANNELS[len(size)]
    last = (outputs, inputs) if arguments["transpose_kernel"] else (inputs, outputs)
    shape = (*arguments["kernel_size"], *last)
    pairs.compare(flavour, "ConvTranspose", shape, (*batch, *size, inputs), outputs, arguments)

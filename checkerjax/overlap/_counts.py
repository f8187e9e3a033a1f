"""Counting paths: how many ways lead from the inputs to each output, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from checkerjax._checks import check_same_rank, pad_pairs, per_axis
from checkerjax.overlap import _exact as exact
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._geometry import Size, as_size, layer_size, stack_size
from checkerjax.stacks._layers import Stack, StackLike
from checkerjax.stacks._plan import place_of
from checkerjax.stacks._reads import Sizes, layer_steps, transpose_step
from checkerjax.stacks._text import as_stack


def overlap_count(
    size: int | Sequence[int],
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[Sequence[int]] = "SAME",
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] = 0,
) -> np.ndarray:
    """How many input samples reach each output of a transposed convolution.

    Away from the border phase r of the output gets ceil((k - r) / s) of them: uneven unless s divides k. With dilation
    d, tap j falls on phase d j mod s. Counts of several axes multiply.

    Args:
      size: input samples; an int or one per axis. If no argument is a sequence, there is one axis.
      kernel_size: taps, k; an int or one per axis, at least 1.
      stride: output samples per input sample, s; an int or one per axis, at least 1.
      padding: as in `conv_transpose`.
      dilation: output samples between taps, d; an int or one per axis, at least 1.
      output_padding: as in `conv_transpose`.

    Returns:
      int64, with the size of the transposed convolution's output.

    Raises:
      ValueError: for arguments below their minimum, that disagree on the number of axes, or that leave no output.
      TypeError: for arguments that are no ints.

    Example:
      >>> overlap_count(4, kernel_size=3, stride=2, padding=0)
      array([1, 1, 2, 1, 2, 1, 2, 1, 1])
      >>> overlap_count((2, 2), kernel_size=3, stride=2)
      array([[1, 1, 2, 1],
             [1, 1, 2, 1],
             [2, 2, 4, 2],
             [1, 1, 2, 1]])

    References:
      Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts, Distill 2016, doi:10.23915/distill.00003.
    """
    op = "overlap_count"
    given = {"size": size, "kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    ndim = check_same_rank(op, **given, padding=padding, output_padding=output_padding) or 1
    step = transpose_step(
        op,
        per_axis(op, "size", size, ndim),
        per_axis(op, "kernel_size", kernel_size, ndim),
        per_axis(op, "stride", stride, ndim),
        per_axis(op, "dilation", dilation, ndim),
        pad_pairs(op, padding, ndim),
        per_axis(op, "output_padding", output_padding, ndim, minimum=0),
    )
    return exact.outer(op, [(~reads.outside() & (reads.weights != 0)).sum(axis=1) for reads in step])


def count(stack: StackLike, size: Size, *, backward: bool = False) -> np.ndarray:
    """Paths through a stack: its output for an input of ones, with every learned kernel made of ones.

    Fixed filters have their taps, as integers over `count_denominator`; pointwise and normalising layers are the
    identity; residual and parallel branches add (joined channels too, since the next learned layer sums over
    channels); a dense layer has one path to each output. One output of a max pool is one of its inputs: it takes the
    largest count in its window (of joined channels, of their sum). An l2 pool is counted as its Hann taps. Channels
    are left aside: each learned layer would only multiply the whole map by their number.

    With zero bias, independent zero-mean weights of one variance per layer and (leaky) ReLU, the expected square of
    the output for a flat input is proportional to this map at any width, for chains of conv, deconv, sub-pixel and
    nearest resize layers.

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input: an int for one axis, a tuple for 1 to 3, None or () for a latent.
      backward: count the paths from the outputs to each input instead: what the input gradient sums over.

    Returns:
      int64 numerators, with the size of the output (backward: of the input); float64 where taps are irrational
      (cubic, lanczos3, and the Hann window of strides above 3).

    Raises:
      ValueError: for sizes that do not fit, for backward through a max pool (whose gradient depends on the data), or
        if a count does not fit int64.
      TypeError: for a stack or size that is none.

    Example:
      >>> count("deconv k3 s2, deconv k3 s2", 4)
      array([1, 1, 2, 1, 3, 2, 3, 1, 3, 2, 3, 1, 3, 2, 3, 1])
      >>> count("conv k3 s2", 8, backward=True)
      array([1, 1, 2, 1, 2, 1, 2, 1])

    References:
      Odena, Dumoulin and Olah, Distill 2016, figures 2 to 4 and "Artifacts in Gradients".
    """
    return count_as("count", stack, size, backward)[0]


def count_denominator(stack: StackLike, size: Size) -> int:
    """What the numerators of `count` are over: the product of the denominators of all fixed filters.

    Args:
      stack: text, a layer or a sequence of layers.
      size: of the input, as in `count`.

    Returns:
      At least 1; branches are brought to their least common multiple. Taps that are irrational are over 1.

    Raises:
      ValueError: as `count` does.
      TypeError: as `count` does.

    Example:
      >>> count("upsample linear, conv k3", 4), count_denominator("upsample linear, conv k3", 4)
      (array([ 8, 12, 12, 12, 12, 12, 12,  8]), 4)
    """
    return count_as("count_denominator", stack, size, False)[1]


def count_as(op: str, stack: StackLike, size: Size, backward: bool) -> tuple[np.ndarray, int]:
    """`count` and its denominator on behalf of the function named `op`."""
    stack, start = as_stack(op, stack), as_size(op, size)
    out = stack_size(f"{op}: ", stack, start)  # before anything is counted, so that its errors come first
    if backward:
        return _pull(f"{op}: ", stack, start, np.ones(out, np.int64))
    return _push(f"{op}: ", stack, np.ones(start, np.int64))


def _push(prefix: str, stack: Stack, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Paths to the outputs of a stack, and their denominator, where `values` paths lead to its inputs."""
    denominator = 1
    for i, layer in enumerate(stack):
        op = place_of(prefix, i, layer)
        if isinstance(layer, (layers.Residual, layers.Parallel)):
            values, factor = exact.add(op, [_push(name, inner, values) for name, inner in _branches(op, layer)])
            denominator *= factor
        elif isinstance(layer, layers.Dense):
            values = np.broadcast_to(values, layer_size(op, layer, ())).copy()
        else:
            for step in layer_steps(op, layer, values.shape):
                for axis, reads in enumerate(step):
                    maximum = isinstance(layer, layers.MaxPool)
                    values = exact.largest(reads, values, axis) if maximum else exact.gather(op, reads, values, axis)
                    denominator *= reads.denominator
    return values, denominator


def _pull(prefix: str, stack: Stack, size: Sizes, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Paths back to the inputs of a stack, and their denominator, where `values` paths come to its outputs."""
    sizes = [size]
    for layer in stack:
        sizes.append(layer_size(prefix, layer, sizes[-1]))
    denominator = 1
    for i in reversed(range(len(stack))):
        layer, op = stack[i], place_of(prefix, i, stack[i])
        if isinstance(layer, layers.MaxPool):
            raise ValueError(
                f"{op}: has no count backward: its gradient depends on the data, a matter of expectation and not of "
                "counting. Measure it with `sweep`."
            )
        if isinstance(layer, (layers.Residual, layers.Parallel)):
            terms = [_pull(name, inner, sizes[i], values) for name, inner in _branches(op, layer)]
            values, factor = exact.add(op, terms)
            denominator *= factor
        elif isinstance(layer, layers.Dense):
            values = exact.total(op, values)
        else:
            for step in reversed(layer_steps(op, layer, sizes[i])):
                for axis, reads in enumerate(step):
                    values = exact.scatter(op, reads, values, axis)
                    denominator *= reads.denominator
    return values, denominator


def _branches(op: str, layer: layers.Residual | layers.Parallel) -> list[tuple[str, Stack]]:
    """The stacks whose outputs a layer adds, and how errors begin there; () is the identity."""
    if isinstance(layer, layers.Residual):
        return [(f"{op}: ", ()), (f"{op}: ", layer.stack)]
    return [(f"{op}: branch {i + 1}, ", branch) for i, branch in enumerate(layer.stacks)]

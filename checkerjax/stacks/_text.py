"""Stacks as text, "deconv k5 s2, relu, deconv k5 s2", both ways; errors point at the character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkerjax.stacks._layers import Layer, Parallel, Residual, Stack, check_stack
from checkerjax.stacks._parser import KINDS, SHORT, options, parse

_TITLES = {kind: name for name, kind in KINDS.items()}


def parse_stack(text: str) -> Stack:
    """The stack that a text describes.

    Layers are separated by commas. A layer is a name, then options separated by spaces; capitals do not matter.
    Names: conv, deconv, resize, subpixel, dense, bias, relu, leaky_relu, tanh, erf, batchnorm, maxpool, avgpool,
    l2pool, blur, hold, upsample, residual(stack), parallel(stack | stack | ...).

    Options: kN kernel, sN stride or scale, cN features, dN dilation, gN groups, opN output_padding, where N is a number
    or, for sizes, one per axis (k5x3); same, valid, pN or p1:2x0:1 (low:high per axis) for the padding. A dense layer
    takes its size as it is: dense 4x4 c512. Everything else is field=value (pad_mode=reflect, std=0.32,
    initialiser=normal(0.05), or init= for short), where a word that only one field can mean stands alone
    (resize k3 linear, deconv k4 s2 icnr). What is left out has the default of the layer's description.

    Args:
      text: at least one layer.

    Returns:
      A tuple of layer descriptions.

    Raises:
      TypeError: if `text` is not a string.
      ValueError: for a text that describes no stack: one line, with the character (from 1), what was expected there,
        and the nearest name.

    Example:
      >>> parse_stack("deconv k5 s2, relu")
      (Deconv(kernel=5, stride=2, features=None, padding='SAME', output_padding=0, dilation=1, groups=1,
      initialiser=None), Relu())
      >>> parse_stack("deconv k5 s2, relo")
      Traceback (most recent call last):
        ...
      ValueError: parse_stack: character 15: unknown layer 'relo' in "deconv k5 s2, >>relo"; did you mean 'relu'?
    """
    return parse("parse_stack", text)


def format_stack(stack: Layer | Sequence[Layer]) -> str:
    """The text of a stack in normal form: fields in the order of the description, defaults left out.

    Args:
      stack: a layer or a sequence of layers.

    Returns:
      A text that `parse_stack` turns back into the same stack.

    Raises:
      TypeError: for anything else, or for a layer of a class that has no name in the text form.
      ValueError: for an empty sequence.

    Example:
      >>> format_stack(parse_stack("Deconv s2 k5,relu, CONV padding=same k3"))
      'deconv k5 s2, relu, conv k3'
    """
    return ", ".join(_format_layer(layer) for layer in check_stack("format_stack", stack))


def as_stack(op: str, stack: object) -> Stack:
    """A text, a layer or a sequence of layers as a tuple, on behalf of the function named `op`."""
    return parse(op, stack) if isinstance(stack, str) else check_stack(op, stack)


def _format_layer(layer: Layer) -> str:
    if type(layer) not in _TITLES:
        raise TypeError(f"format_stack: {type(layer).__name__} has no text form; the layers are {', '.join(KINDS)}.")
    words = [_TITLES[type(layer)]]
    if isinstance(layer, Residual):
        words[0] += f"({format_stack(layer.stack)})"
    if isinstance(layer, Parallel):
        words[0] += f"({' | '.join(format_stack(branch) for branch in layer.stacks)})"
    for field in options(type(layer)):
        value = getattr(layer, field.name)
        if value != field.default:
            words.append(_format_option(field.name, value))
    return " ".join(words)


def _format_option(name: str, value: Any) -> str:
    if name == "size":
        return _spell(value)
    if name == "padding" and isinstance(value, str):
        return value.lower()
    return f"{SHORT[name]}{_spell(value)}" if name in SHORT else f"{name}={_spell(value)}"


def _spell(value: Any) -> str:
    if not isinstance(value, tuple):
        return repr(value) if isinstance(value, float) else str(value)
    return "x".join(f"{v[0]}:{v[1]}" if isinstance(v, tuple) else str(v) for v in value)

"""Reading the text form: recursive descent, and errors that point at the character."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, NoReturn

from checkerjax._names import suggest
from checkerjax.stacks import _layers as layers
from checkerjax.stacks._layers import Layer, Parallel, Residual, Stack

KINDS = {
    "conv": layers.Conv, "deconv": layers.Deconv, "resize": layers.ResizeConv, "subpixel": layers.SubPixel,
    "dense": layers.Dense, "bias": layers.Bias, "relu": layers.Relu, "leaky_relu": layers.LeakyRelu,
    "tanh": layers.Tanh, "erf": layers.Erf, "batchnorm": layers.BatchNorm, "maxpool": layers.MaxPool,
    "avgpool": layers.AvgPool, "l2pool": layers.L2Pool, "blur": layers.Blur, "hold": layers.Hold,
    "upsample": layers.Upsample, "residual": Residual, "parallel": Parallel,
}  # fmt: skip
SHORT = {
    "kernel": "k", "stride": "s", "scale": "s", "features": "c", "padding": "p", "dilation": "d", "groups": "g",
    "output_padding": "op",
}  # fmt: skip
_WORDS = {
    "padding": ("same", "valid"),
    "pad_mode": layers.PAD_MODES,
    "method": layers.UPSAMPLE_METHODS,
    "centres": layers.CENTRES,
    "order": layers.ORDERS,
    "initialiser": layers.INITIALISERS,
    "per": ("channel", "unit"),
    "combine": ("sum", "concat"),
}
_INTS = ("features", "groups", "order")
_FLOATS = ("std", "slope", "epsilon")
_NESTED = ("stack", "stacks")
_ENDS = ("", ",", "|", ")")
# Bounded repeats: int() refuses longer numbers with a message of its own.
_SIZE = re.compile(r"[0-9]{1,4000}(x[0-9]{1,4000})*")
_INT = re.compile(r"[0-9]{1,4000}")
_PAIRS = re.compile(r"[0-9]{1,4000}:[0-9]{1,4000}(x[0-9]{1,4000}:[0-9]{1,4000})*")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?")


def options(kind: Any) -> list[dataclasses.Field]:
    """The fields that options set, in order."""
    return [field for field in dataclasses.fields(kind) if field.name not in _NESTED]


def _words(kind: Any, name: str) -> tuple[str, ...]:
    return () if kind is layers.Hold and name == "order" else _WORDS.get(name, ())


def parse(op: str, text: object) -> Stack:
    """The stack that `text` describes, on behalf of the function named `op`."""
    if not isinstance(text, str):
        raise TypeError(f"{op}: text must be a str such as 'deconv k5 s2, relu'; got {type(text).__name__}.")
    reader = _Reader(op, text)
    try:
        stack = reader.stack()
    except RecursionError:
        raise ValueError(f"{op}: the text nests layers too deeply; got {text.count('(')} times '('.") from None
    if reader.peek() == "|":
        reader.fail(reader.at, "'|' separates the branches of parallel(...) and stands inside its parentheses")
    if reader.peek():
        reader.fail(reader.at, "')' without a '('")
    return stack


class _Reader:
    """Recursive descent: `at` is the index of the next character."""

    def __init__(self, op: str, text: str) -> None:
        self.op, self.text, self.at = op, text, 0

    def fail(self, at: int, what: str, hint: str = ".") -> NoReturn:
        """Raises for the character at index `at`."""
        low, high = max(at - 30, 0), at + 30
        before = ("..." if low else "") + self.text[low:at]
        after = self.text[at:high] + ("..." if high < len(self.text) else "")
        excerpt = "".join(c if c.isprintable() else " " for c in f"{before}>>{after}")
        raise ValueError(f'{self.op}: character {at + 1}: {what} in "{excerpt}"{hint}')

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def token(self, *, name: bool = False) -> str:
        """Everything up to a space, comma, bar or parenthesis; an option takes its own parentheses along."""
        start, opened = self.at, []
        while self.at < len(self.text):
            c = self.text[self.at]
            if not opened and (c.isspace() or c in ",|)" or (name and c == "(")):
                break
            if c == "(":
                opened.append(self.at)
            elif c == ")":
                opened.pop()
            self.at += 1
        if opened:
            self.fail(opened[0], "'(' is never closed")
        return self.text[start : self.at]

    def stack(self) -> Stack:
        found = [self.layer()]
        while self.peek() == ",":
            self.at += 1
            found.append(self.layer())
        return tuple(found)

    def layer(self) -> Layer:
        following = self.peek()
        if following in (*_ENDS, "("):
            self.fail(self.at, f"expected a layer, got {repr(following) if following else 'the end of the text'}")
        start = self.at
        title = self.token(name=True).lower()
        kind = KINDS.get(title)
        if kind is None:
            self.fail(start, f"unknown layer {_short(title)}", suggest(title, KINDS))
        values: dict[str, Any] = {}
        if kind is Residual:
            (values["stack"],) = self.branches(title)
        elif kind is Parallel:
            values["stacks"] = self.branches(title)
        elif self.peek() == "(":
            self.fail(self.at, f"{title} takes no parentheses; write its options after spaces, as in 'conv k3 s2'")
        while self.peek() not in _ENDS:
            self.option(kind, title, values)
        return self.build(kind, title, values, start)

    def branches(self, title: str) -> tuple[Stack, ...]:
        if self.peek() != "(":
            self.fail(self.at, f"expected '(' and the inner stack after {title}")
        opened, self.at = self.at, self.at + 1
        found = [self.stack()]
        while self.peek() == "|":
            if title == "residual":
                self.fail(self.at, "residual takes one stack; '|' separates the branches of parallel")
            self.at += 1
            found.append(self.stack())
        if self.peek() != ")":
            self.fail(opened, "'(' is never closed")
        self.at += 1
        return tuple(found)

    def build(self, kind: Any, title: str, values: dict[str, Any], start: int) -> Layer:
        for field in options(kind):
            if field.name not in values and field.default is dataclasses.MISSING:
                example = "4x4" if field.name == "size" else "k3"
                self.fail(start, f"{title} needs a {field.name}, such as '{title} {example}',")
        try:
            return kind(**values)
        except (ValueError, TypeError) as error:
            self.fail(start, _plain(kind, error))

    def option(self, kind: Any, title: str, values: dict[str, Any]) -> None:
        start = self.at
        token = self.token()
        name, skipped = self.option_name(kind, title, token, start)
        if name in values:
            self.fail(start, f"{title} has its {name} twice")
        value = self.value(kind, name, token[skipped:].lower(), start + skipped)
        check = layers._CHECKS.get((kind.__name__, name)) or layers._CHECKS[("", name)]
        try:
            values[name] = check(kind.__name__, name, value)
        except (ValueError, TypeError) as error:
            self.fail(start, _plain(kind, error))

    def option_name(self, kind: Any, title: str, token: str, start: int) -> tuple[str, int]:
        """The field that an option sets, and how many characters of the token come before its value."""
        names = [field.name for field in options(kind)]
        short = {SHORT[name]: name for name in names if name in SHORT}
        word = token.lower()
        if "=" in word:
            key = word.split("=")[0].rstrip()
            name = {**short, "init": "initialiser"}.get(key, key)
            if name in names:
                return name, token.index("=") + 1
            self.unknown(kind, title, key, start)
        if "size" in names and word[0].isdigit():
            return "size", 0
        means = [name for name in names if word in _words(kind, name)]
        if "initialiser" in names and word.startswith("normal("):
            means.append("initialiser")
        if len(means) > 1:
            ways = " or ".join(f"{name}={word}" for name in means)
            self.fail(start, f"{word!r} can mean more than one option of {title}; write {ways}")
        if means:
            return means[0], 0
        prefix = re.match(r"op|[kscpdg]", word)
        if prefix and prefix[0] in short and not word[prefix.end() : prefix.end() + 1].isalpha():
            return short[prefix[0]], prefix.end()
        self.unknown(kind, title, word, start)

    def unknown(self, kind: Any, title: str, word: str, start: int) -> NoReturn:
        names = [field.name for field in options(kind)]
        spelled = [f"{SHORT[name]}N" if name in SHORT else f"{name}=" for name in names]
        has = f"it has {', '.join(spelled)}" if spelled else "it has none"
        near = [*names, *(choice for name in names for choice in _words(kind, name))]
        self.fail(start, f"unknown option {_short(word)} for {title} ({has})", suggest(word, near))

    def value(self, kind: Any, name: str, word: str, at: int) -> Any:
        words = _words(kind, name)
        if word in words or (name == "initialiser" and word.startswith("normal(")):
            return word
        if name == "padding":
            pairs = ":" in word
            self.expect(_PAIRS if pairs else _INT, word, at, "same, valid, a number, or low:high for each axis")
            return tuple(_pair(p) for p in word.split("x")) if pairs else int(word)
        if words:
            expected = ", ".join((*words, "normal(std)") if name == "initialiser" else words)
            self.fail(at, f"{name} must be one of {expected}; got {_short(word)}", suggest(word, words))
        if name in _FLOATS:
            self.expect(_FLOAT, word, at, f"a number for {name}")
            return float(word)
        if name in _INTS:
            self.expect(_INT, word, at, f"a whole number for {name}")
            return int(word)
        self.expect(_SIZE, word, at, f"a whole number for {name}, or one per axis as in 5x3")
        return tuple(int(n) for n in word.split("x")) if "x" in word else int(word)

    def expect(self, pattern: re.Pattern[str], word: str, at: int, what: str) -> None:
        """Raises where `word` stops matching `pattern`."""
        match = pattern.match(word)
        if match is None:
            self.fail(at, f"expected {what}; got {_short(word) if word else 'nothing'}")
        if match.end() < len(word):
            self.fail(at + match.end(), f"expected {what}; got {_short(word[match.end() :])} after {_short(match[0])}")


def _pair(text: str) -> tuple[int, int]:
    low, high = text.split(":")
    return int(low), int(high)


def _short(word: str) -> str:
    return repr(word if len(word) <= 30 else word[:27] + "...")


def _plain(kind: Any, error: Exception) -> str:
    return str(error).removeprefix(f"{kind.__name__}: ").removesuffix(".")

"""The text form of stacks: it comes back as written, and errors point at the character."""

import dataclasses
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkerjax import stacks
from checkerjax.stacks import (
    AvgPool,
    BatchNorm,
    Bias,
    Blur,
    Conv,
    Deconv,
    Dense,
    Erf,
    Hold,
    L2Pool,
    LeakyRelu,
    MaxPool,
    Parallel,
    Relu,
    Residual,
    ResizeConv,
    SubPixel,
    Tanh,
    Upsample,
    format_stack,
    parse_stack,
)
from checkerjax.stacks._text import as_stack

# Every text is in normal form: parsing gives the layer, formatting gives the text back.
NORMAL_FORMS = {
    "conv k3": Conv(3),
    "conv k5x3 s2x1 c7 valid pad_mode=reflect d1x2 g7 initialiser=he": Conv(
        (5, 3), (2, 1), 7, "VALID", "reflect", (1, 2), 7, "he"
    ),
    "conv k3 p1": Conv(3, padding=1),
    "conv k3 p1:2": Conv(3, padding=((1, 2),)),
    "conv k3 p1:1": Conv(3, padding=((1, 1),)),
    "conv k3 p1:2x0:1x3:0": Conv(3, padding=((1, 2), (0, 1), (3, 0))),
    "deconv k4 s2 op1 d3 g2 initialiser=icnr": Deconv(4, 2, output_padding=1, dilation=3, groups=2, initialiser="icnr"),
    "resize k3 s4 method=linear c2 pad_mode=edge centres=sample": ResizeConv(
        3, 4, "linear", 2, pad_mode="edge", centres="sample"
    ),
    "resize k3": ResizeConv(3),
    "subpixel k3 s3 c1 order=channel_first initialiser=normal(0.05)": SubPixel(
        3, 3, 1, order="channel_first", initialiser="normal(0.05)"
    ),
    "dense 4x4 c512": Dense((4, 4), 512),
    "dense 4": Dense(4),
    "bias std=0.32": Bias(0.32),
    "bias": Bias(),
    "relu": Relu(),
    "leaky_relu slope=-1e-05": LeakyRelu(-1e-5),
    "tanh": Tanh(),
    "erf": Erf(),
    "batchnorm std=0.1 per=unit epsilon=0.0": BatchNorm(0.1, "unit", 0),
    "maxpool k3": MaxPool(3, 2),
    "maxpool s3 same": MaxPool(2, 3, "SAME"),
    "avgpool k2x2": AvgPool((2, 2)),
    "l2pool s3 p2": L2Pool(3, 2),
    "blur k4 s2 pad_mode=zeros": Blur(4, 2, pad_mode="zeros"),
    "hold s4 order=1": Hold(4, 1),
    "upsample s1x2 method=zeros": Upsample((1, 2), "zeros"),
    "residual(conv k3, relu)": Residual((Conv(3), Relu())),
    "parallel(conv k3 | residual(conv k5 p2), relu) combine=concat": Parallel(
        ((Conv(3),), (Residual((Conv(5, padding=2),)), Relu())), "concat"
    ),
}
LOOSE_FORMS = {
    "DECONV  s2 k5 ,\n\tReLU": (Deconv(5, 2), Relu()),
    "conv kernel=3 stride=2": (Conv(3, 2),),
    "resize k3 linear corners reflect": (ResizeConv(3, method="linear", centres="corners", pad_mode="reflect"),),
    "resize k3 method=zeros": (ResizeConv(3, method="zeros"),),
    "subpixel k3 channel_first icnr": (SubPixel(3, order="channel_first", initialiser="icnr"),),
    "conv k3 normal( 5e-2 ) padding=1:2": (Conv(3, padding=((1, 2),), initialiser="normal(0.05)"),),
    "conv k3 init=lecun": (Conv(3, initialiser="lecun"),),
    "dense size=4x2": (Dense((4, 2)),),
    "batchnorm unit": (BatchNorm(per="unit"),),
    "parallel ( relu|tanh )concat": (Parallel(((Relu(),), (Tanh(),)), "concat"),),
}


@pytest.mark.parametrize("text", NORMAL_FORMS)
def test_normal_forms_go_both_ways(text):
    assert parse_stack(text) == (NORMAL_FORMS[text],)
    assert format_stack(NORMAL_FORMS[text]) == text


@pytest.mark.parametrize("text", LOOSE_FORMS)
def test_loose_forms_are_understood(text):
    assert parse_stack(text) == LOOSE_FORMS[text]


def test_the_normal_form_of_an_article_stack_is_what_one_writes():
    text = "deconv k5 s2, relu, deconv k5 s2"
    assert parse_stack(text) == (Deconv(5, 2), Relu(), Deconv(5, 2))
    assert format_stack(parse_stack(text)) == text
    assert format_stack([Deconv(5, stride=2), Relu(), Deconv(5, stride=2)]) == text


def test_every_layer_has_a_normal_form_here():
    public = {getattr(stacks, name) for name in stacks.__all__ if isinstance(getattr(stacks, name), type)}
    assert {type(layer) for layer in NORMAL_FORMS.values()} == {c for c in public if dataclasses.is_dataclass(c)}


def _sizes(rank, minimum=1):
    number = st.integers(minimum, 12)
    return number if rank == 0 else st.tuples(*[number] * rank)


def _paddings(rank):
    number = st.integers(0, 9)
    pairs = st.tuples(*[st.tuples(number, number)] * max(rank, 1))
    return st.one_of(st.sampled_from(["SAME", "VALID"]), number, pairs)


def _floats(minimum=None, *, above=False):
    return st.floats(minimum, exclude_min=above, allow_nan=False, allow_infinity=False)


PAD_MODES = st.sampled_from(["zeros", "edge", "reflect", "symmetric", "wrap"])
INITIALISERS = st.one_of(
    st.sampled_from([None, "lecun", "he", "icnr"]), _floats(0.0, above=True).map(lambda std: f"normal({std!r})")
)
FEATURES = st.one_of(st.none(), st.integers(1, 600))


def _plain_layers(rank):
    """Layers without inner stacks; `rank` 0 writes sizes as one int."""
    size, padding = _sizes(rank), _paddings(rank)
    method = st.sampled_from(["nearest", "linear", "cubic", "lanczos3", "zeros"])
    centres = st.sampled_from(["half_pixel", "sample", "corners"])
    resampling = st.tuples(method, centres).filter(lambda pair: pair != ("zeros", "corners"))
    order = st.sampled_from(["depth_first", "channel_first"])
    groups = st.integers(1, 9)
    return st.one_of(
        st.builds(Conv, size, size, FEATURES, padding, PAD_MODES, size, groups, INITIALISERS),
        st.builds(Deconv, size, size, FEATURES, padding, _sizes(rank, 0), size, groups, INITIALISERS),
        st.builds(
            lambda k, s, pair, *rest: ResizeConv(k, s, pair[0], *rest[:3], centres=pair[1], initialiser=rest[3]),
            *(size, size, resampling, FEATURES, padding, PAD_MODES, INITIALISERS),
        ),
        st.builds(SubPixel, size, size, FEATURES, padding, order, INITIALISERS),
        st.builds(Dense, size, FEATURES, INITIALISERS),
        st.builds(Bias, _floats(0.0)),
        st.builds(LeakyRelu, _floats()),
        st.sampled_from([Relu(), Tanh()]),
        st.builds(BatchNorm, _floats(0.0, above=True), st.sampled_from(["channel", "unit"]), _floats(0.0)),
        st.builds(MaxPool, size, size, padding),
        st.builds(AvgPool, size, size, padding),
        st.builds(L2Pool, size, padding),
        st.builds(Blur, size, size, padding, PAD_MODES),
        st.builds(Hold, size, st.integers(0, 5), padding, PAD_MODES),
        st.builds(lambda s, pair: Upsample(s, *pair), size, resampling),
    )


def _nest(layers):
    inner = st.lists(layers, min_size=1, max_size=3).map(tuple)
    branches = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(st.builds(Residual, inner), st.builds(Parallel, branches, st.sampled_from(["sum", "concat"])))


LAYERS = st.one_of([st.recursive(_plain_layers(rank), _nest, max_leaves=4) for rank in range(4)])
STACKS = st.lists(LAYERS, min_size=1, max_size=4).map(tuple)


@settings(deadline=None, max_examples=200)
@given(STACKS)
def test_any_stack_comes_back_from_its_text(stack):
    text = format_stack(stack)
    assert parse_stack(text) == stack
    assert format_stack(parse_stack(text)) == text


@settings(deadline=None, max_examples=100)
@given(STACKS, st.randoms(use_true_random=False))
def test_a_stack_written_out_in_any_order_and_case_is_the_same(stack, chance):
    assert parse_stack(_written_out(stack, chance)) == stack


def _written_out(stack, chance: random.Random):
    """Every field by its name, defaults too, options shuffled, letters and spaces at random."""
    return chance.choice([",", " , ", ",\n "]).join(_layer_written_out(layer, chance) for layer in stack)


def _layer_written_out(layer, chance):
    name = {"ResizeConv": "resize", "LeakyRelu": "leaky_relu"}.get(type(layer).__name__, type(layer).__name__)
    for inner in [layer.stack] if isinstance(layer, Residual) else []:
        name += f"({_written_out(inner, chance)})"
    if isinstance(layer, Parallel):
        name += f" ( {' | '.join(_written_out(branch, chance) for branch in layer.stacks)} )"
    words = []
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if field.name in ("stack", "stacks") or value is None:
            continue
        word = f"{field.name}={_value_written_out(value)}"
        words.append("".join(chance.choice([c, c.upper()]) for c in word))
    chance.shuffle(words)
    return chance.choice([" ", "  ", "\t"]).join([name, *words])


def _value_written_out(value):
    if isinstance(value, tuple):
        return "x".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
    return repr(value) if isinstance(value, float) else str(value)


# text, the character that the error names, words that it must hold
ERRORS = [
    ("deconv k3 s2, deconf k3", 15, ["unknown layer 'deconf'", ">>deconf k3", "did you mean 'deconv'?"]),
    ("", 1, ["expected a layer", "end of the text"]),
    ("conv k3,, relu", 9, ["expected a layer, got ','"]),
    ("conv k3, ", 10, ["expected a layer, got the end of the text"]),
    (", relu", 1, ["expected a layer, got ','"]),
    ("conv", 1, ["conv needs a kernel", "conv k3"]),
    ("relu, dense c3", 7, ["dense needs a size", "4x4"]),
    ("conv k3 k5", 9, ["conv has its kernel twice"]),
    ("conv k3 kernel=5", 9, ["conv has its kernel twice"]),
    ("conv k3 he init=he", 12, ["conv has its initialiser twice"]),
    ("conv k3 same p1", 14, ["conv has its padding twice"]),
    ("conv k3a", 8, ["expected a whole number for kernel", "got 'a' after '3'"]),
    ("conv k3x", 8, ["got 'x' after '3'"]),
    ("conv k3.5", 8, ["got '.5' after '3'"]),
    ("conv k-1", 7, ["expected a whole number for kernel", "got '-1'"]),
    ("conv k", 7, ["expected a whole number for kernel", "got nothing"]),
    ("conv k3 c3x4", 11, ["expected a whole number for features", "got 'x4'"]),
    ("conv k0", 6, ["kernel must be at least 1; got 0"]),
    ("conv k3 s2x0", 9, ["stride on axis W must be at least 1; got 0"]),
    ("conv k1x2x3x4", 6, ["1 to 3 ints"]),
    ("relu, conv k5x3 s2x2x2", 7, ["disagree on the number of spatial axes"]),
    ("conv k3 p1:", 10, ["low:high for each axis", "got '1:'"]),
    ("conv k3 p1:2x", 13, ["got 'x' after '1:2'"]),
    ("blur d2", 6, ["unknown option 'd2' for blur", "it has kN, sN, pN, pad_mode="]),
    ("relu slope=2", 6, ["unknown option 'slope' for relu (it has none)"]),
    ("resize k3 liner", 11, ["unknown option 'liner' for resize", "did you mean 'linear'?"]),
    ("resize k3 method=liner", 18, ["method must be one of nearest, linear", "did you mean 'linear'?"]),
    ("resize k3 zeros", 11, ["method=zeros or pad_mode=zeros"]),
    ("hold order=one", 12, ["expected a whole number for order", "got 'one'"]),
    ("leaky_relu slope=1x", 19, ["expected a number for slope", "got 'x' after '1'"]),
    ("bias std=nan", 10, ["expected a number for std", "got 'nan'"]),
    ("bias std=-1", 6, ["std must be finite and at least 0; got -1.0"]),
    ("conv k3 init=normal(0)", 9, ["needs a positive std"]),
    ("conv k3 init=normal(.1", 20, ["'(' is never closed"]),
    ("conv k3 init=", 14, ["initialiser must be one of lecun, he, icnr, normal(std)"]),
    ("conv(k3)", 5, ["conv takes no parentheses"]),
    ("residual conv k3", 10, ["expected '(' and the inner stack after residual"]),
    ("residual(conv k3", 9, ["'(' is never closed"]),
    ("relu, parallel(relu | conv k3, blur", 15, ["'(' is never closed"]),
    ("residual(relu | tanh)", 15, ["residual takes one stack"]),
    ("parallel(relu | )", 17, ["expected a layer, got ')'"]),
    ("conv k3)", 8, ["')' without a '('"]),
    ("relu | tanh", 6, ["'|' separates the branches of parallel"]),
    ("relu,\n\t tahn", 9, ["unknown layer 'tahn'", "did you mean 'tanh'?"]),
    ("parallel(conv k3 | conv k3 q2) concat", 28, ["unknown option 'q2' for conv"]),
    ("relu, " * 50 + "konv k3", 301, ["unknown layer 'konv'", '"...', "did you mean 'conv'?"]),
]


@pytest.mark.parametrize(("text", "character", "words"), ERRORS, ids=[repr(text)[:40] for text, _, _ in ERRORS])
def test_errors_point_at_the_character(text, character, words):
    with pytest.raises(ValueError, match=rf"^parse_stack: character {character}: ") as caught:
        parse_stack(text)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message
    after = message.split(">>")[1]
    assert " ".join(text[character - 1 :].split())[:8] in " ".join(after.split())


def test_nesting_beyond_reason_is_an_error():
    with pytest.raises(ValueError, match=r"nests layers too deeply; got 5000 times '\('"):
        parse_stack("residual(" * 5000)


PIECES = st.sampled_from(
    [*"kscpdgx:|(),=.-0123é\n ", "op", "conv ", "residual(", "parallel(", "init=", "normal(", "same", "k3 ", "order="]
)


@settings(deadline=None, max_examples=500)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_text_is_a_stack_or_a_one_line_error_inside_it(text):
    try:
        stack = parse_stack(text)
    except ValueError as error:
        stack, message = None, str(error)
    else:
        message = "parse_stack: character 1: "
    found = re.match(r"parse_stack: character (\d+): ", message)
    assert found is not None
    assert 1 <= int(found[1]) <= len(text) + 1
    assert "\n" not in message
    assert stack is None or parse_stack(format_stack(stack)) == stack


@pytest.mark.parametrize("value", [None, 3, b"relu", ["relu"], Relu()])
def test_only_strings_are_parsed(value):
    with pytest.raises(TypeError, match=r"parse_stack: text must be a str"):
        parse_stack(value)


def test_only_layers_with_a_name_are_formatted():
    class Mine(stacks.Layer):
        pass

    with pytest.raises(TypeError, match="format_stack: Mine has no text form"):
        format_stack([Mine()])
    with pytest.raises(TypeError, match=r"format_stack: stack\[0\] must be a layer"):
        format_stack(["relu"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="format_stack: stack must have at least one layer"):
        format_stack([])


def test_as_stack_takes_text_a_layer_or_a_sequence_and_speaks_for_its_caller():
    assert as_stack("count", "relu, tanh") == as_stack("count", [Relu(), Tanh()]) == (Relu(), Tanh())
    assert as_stack("count", Relu()) == (Relu(),)
    with pytest.raises(ValueError, match=r"^count: character 1: unknown layer 'rele'"):
        as_stack("count", "rele")
    with pytest.raises(TypeError, match=r"^count: stack must be a layer or a sequence of layers; got 3"):
        as_stack("count", 3)


def test_zero_insertion_has_no_corners():
    with pytest.raises(ValueError, match=r"character .*method='zeros' keeps samples in place"):
        parse_stack("upsample s2 zeros corners")

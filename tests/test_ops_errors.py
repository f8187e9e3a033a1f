"""Bad input to the operators: which exception, and that it names function, argument, axis and what came."""

import functools
import re
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checkerjax as cj

LINE, PLANE, VOLUME = np.ones((1, 6, 2)), np.ones((1, 6, 5, 2)), np.ones((1, 3, 4, 3, 2))
TAPS, WINDOW = np.ones((3, 2, 4)), np.ones((3, 3, 2, 4))


def case(f, arrays, options, kind, *parts):
    return pytest.param(f, arrays, options, kind, parts, id=f"{f.__name__}: {parts[-1]}")


def with_kernel(options, kind, *parts, arrays=(PLANE, WINDOW), but=()):
    """The same mistake in every operator that has a kernel."""
    operators = {
        "conv": (cj.conv, {}),
        "conv_transpose": (cj.conv_transpose, {}),
        "resize_conv": (cj.resize_conv, {"scale": 2}),
        "subpixel_conv": (cj.subpixel_conv, {"scale": 2}),
    }
    return [
        case(f, arrays, {**base, **options}, kind, f"{name}: ", *parts)
        for name, (f, base) in operators.items()
        if name not in but
    ]


SHAPES = [
    *with_kernel({}, ValueError,
        "kernel must be HIO, HWIO or DHWIO", "got shape (3, 2)", arrays=(PLANE, np.ones((3, 2)))),
    *with_kernel({}, ValueError, "HIO kernel needs an NHC x", "got shape (1, 6, 5, 2)", arrays=(PLANE, TAPS)),
    *with_kernel({}, ValueError, "HWIO kernel needs an NHWC x", "got shape (1, 6, 2)", arrays=(LINE, WINDOW)),
    *with_kernel(
        {}, ValueError, "axis C of x is 3", "axis I of kernel is 2", "(1, 6, 5, 3) and (3, 3, 2, 4)",
        arrays=(np.ones((1, 6, 5, 3)), WINDOW),
    ),
    *with_kernel({}, ValueError, "axis N of x is empty", "got shape (0, 6, 2)", arrays=(np.ones((0, 6, 2)), TAPS)),
    *with_kernel({}, ValueError, "axis W of x is empty", "(1, 6, 0, 2)", arrays=(np.ones((1, 6, 0, 2)), WINDOW)),
    *with_kernel({}, ValueError, "axis H of kernel is empty", "(0, 2, 4)", arrays=(LINE, np.ones((0, 2, 4)))),
    *with_kernel({}, ValueError, "axis O of kernel is empty", "(3, 2, 0)", arrays=(LINE, np.ones((3, 2, 0)))),
    case(cj.upsample, (np.ones((4, 4)),), {"scale": 2}, ValueError,
        "upsample: x must be NHC, NHWC or NDHWC", "(4, 4)", "Add a batch"),
    case(cj.upsample, (np.ones((1, 0, 1)),), {"scale": 2}, ValueError,
        "upsample: axis H of x is empty; got shape (1, 0, 1)"),
    case(cj.downsample, (np.ones((1, 4, 0)),), {"scale": 2}, ValueError, "downsample: axis C of x is empty"),
    case(cj.pad, (np.ones((4,)), 1), {}, ValueError, "pad: x must be NHC, NHWC or NDHWC; got shape (4,)"),
    case(cj.depth_to_space, (np.ones((1, 4, 3)),), {"block": 2}, ValueError,
        "depth_to_space: axis C of x must be a multiple of prod(block) = 2; got 3"),
    case(cj.space_to_depth, (np.ones((1, 4, 3, 1)),), {"block": 2}, ValueError,
        "space_to_depth: axis W of x must be a multiple of block=2; got 3"),
    case(cj.subpixel_conv, (PLANE, np.ones((3, 3, 2, 6))), {"scale": 2}, ValueError,
        "subpixel_conv: axis O of kernel must be a multiple of prod(scale) = 4; got 6"),
    case(cj.deconv_from_subpixel, (np.ones((3, 2, 5)),), {"scale": 3}, ValueError,
        "deconv_from_subpixel: axis O of kernel must be a multiple of prod(scale) = 3; got 5"),
    case(cj.icnr, (np.ones((3, 2)),), {"scale": 2}, ValueError,
        "icnr: base must be HIO, HWIO or DHWIO; got shape (3, 2)"),
    case(cj.project_equal_gains, (np.ones((3, 2)), 2), {}, ValueError, "project_equal_gains: kernel must be HIO"),
    case(cj.subpixel_from_deconv, (np.ones((3, 2, 1)),), {"stride": 2, "padding": 0}, ValueError,
        "subpixel_from_deconv: the output size on axis H is not a multiple of stride 2", "kernel size 3, dilation 1 "
        "and padding (0, 0)", "change the padding, or crop"),
]  # fmt: skip

DTYPES = [
    *with_kernel({}, TypeError,
        "x must have a floating dtype; got int32", "Cast it", arrays=(np.ones((1, 6, 2), "int32"), TAPS)),
    *with_kernel({}, TypeError, "kernel must have a floating dtype; got bool", arrays=(LINE, np.ones((3, 2, 4), bool))),
    *with_kernel({}, TypeError,
        "x is bfloat16 but kernel is float32; cast one", arrays=(jnp.ones((1, 6, 2), "bfloat16"), TAPS)),
    case(cj.upsample, (np.ones((1, 4, 1), "uint8"),), {"scale": 2}, TypeError,
        "upsample: x must have a floating dtype; got uint8"),
    case(cj.downsample, (np.ones((1, 4, 1), "int32"),), {"scale": 2}, TypeError,
        "downsample: x must have a floating dtype; got int32"),
    case(cj.depth_to_space, (np.ones((1, 4, 4), "int32"),), {"block": 2}, TypeError,
        "depth_to_space: x must have a floating dtype; got int32"),
    case(cj.icnr, (np.ones((3, 1, 1), "int32"),), {"scale": 2}, TypeError,
        "icnr: base must have a floating dtype; got int32"),
    case(cj.deconv_from_resize, (np.ones((3, 1, 1), "int32"),), {"scale": 2}, TypeError,
        "deconv_from_resize: kernel must have a floating dtype; got int32"),
]  # fmt: skip

STEPS = [
    *[
        case(f, arrays, {**base, name: value}, kind, f"{f.__name__}: {name}", *parts)
        for f, arrays, base, name in [
            (cj.conv, (PLANE, WINDOW), {}, "stride"),
            (cj.conv, (PLANE, WINDOW), {}, "dilation"),
            (cj.conv_transpose, (PLANE, WINDOW), {}, "stride"),
            (cj.conv_transpose, (PLANE, WINDOW), {}, "dilation"),
            (cj.resize_conv, (PLANE, WINDOW), {}, "scale"),
            (cj.subpixel_conv, (PLANE, WINDOW), {}, "scale"),
            (cj.upsample, (PLANE,), {}, "scale"),
            (cj.downsample, (PLANE,), {}, "scale"),
            (cj.downsample, (PLANE,), {"scale": 2, "method": "average"}, "window"),
            (cj.depth_to_space, (PLANE,), {}, "block"),
            (cj.space_to_depth, (PLANE,), {}, "block"),
            (cj.icnr, (WINDOW,), {}, "scale"),
            (cj.icnr_transpose, (WINDOW,), {}, "stride"),
            (cj.project_equal_gains, (WINDOW,), {}, "stride"),
            (cj.deconv_from_resize, (WINDOW,), {}, "scale"),
            (cj.deconv_from_subpixel, (WINDOW,), {}, "scale"),
            (cj.subpixel_from_deconv, (WINDOW,), {}, "stride"),
        ]
        for value, kind, parts in [
            (0, ValueError, ("must be at least 1; got 0",)),
            ((2, -1), ValueError, ("on axis W must be at least 1; got -1",)),
            ((2, 2, 2), ValueError, ("must be an int, or one int for each of the axes HW; got (2, 2, 2)",)),
            (True, TypeError, ("must be an int; got True",)),
            (2.0, TypeError, ("must be an int; got 2.0",)),
            ((2, 1.5), TypeError, ("on axis W must be an int; got 1.5",)),
            ("2", TypeError, ("must be an int; got '2'",)),
        ]
    ],
    case(cj.conv, (PLANE, WINDOW), {"groups": 0}, ValueError, "conv: groups must be at least 1; got 0"),
    case(cj.conv, (PLANE, WINDOW), {"groups": 2}, ValueError,
        "conv: axis C of x is 2 but axis I of kernel is 2 times groups=2"),
    case(cj.conv, (PLANE, np.ones((3, 3, 1, 3))), {"groups": 2}, ValueError,
        "conv: axis O of kernel must be a multiple of groups=2; got 3"),
    case(cj.conv_transpose, (LINE, TAPS), {"groups": 3}, ValueError,
        "conv_transpose: axis I of kernel must be a multiple of groups=3; got 2"),
    case(cj.conv_transpose, (LINE, TAPS), {"groups": 1.0}, TypeError, "conv_transpose: groups must be an int; got 1.0"),
]  # fmt: skip

PADDINGS = [
    *with_kernel({"padding": "FULL"}, ValueError,
        "padding must be 'SAME', 'VALID', an int or one (low, high) pair per axis; got 'FULL'"),
    *with_kernel({"padding": -1}, ValueError, "padding must be at least 0; got -1"),
    *with_kernel({"padding": ((0, 0), (0, -2))}, ValueError, "padding on axis W must be at least 0; got -2"),
    *with_kernel({"padding": (1, 1)}, ValueError, "an int or 2 (low, high) pairs", "axes HW; got (1, 1)"),
    *with_kernel({"padding": ((1, 1),)}, ValueError, "an int or 2 (low, high) pairs", "got ((1, 1),)"),
    *with_kernel({"padding": ((1, 1), (1, 2, 3))}, ValueError, "got ((1, 1), (1, 2, 3))"),
    *with_kernel({"padding": ((1, 1), ((1, 2), 3))}, TypeError, "padding on axis W must be an int; got (1, 2)"),
    *with_kernel({"padding": ("ab", "cd")}, ValueError, "got ('ab', 'cd')"),
    *with_kernel({"padding": 1.5}, TypeError, "padding must be an int; got 1.5"),
    *with_kernel({"padding": None}, TypeError, "padding must be an int; got None"),
    *with_kernel({"padding": ((0, 0.5), (0, 0))}, TypeError, "padding on axis H must be an int; got 0.5"),
    case(cj.pad, (PLANE, "SAME"), {}, ValueError,
        "pad: padding must be an int or one (low, high) pair per axis; got 'SAME'"),
    case(cj.pad, (PLANE, -1), {}, ValueError, "pad: padding must be at least 0; got -1"),
    case(cj.downsample, (PLANE,), {"scale": 2, "padding": "SMAE"}, ValueError,
        "downsample: padding must be 'SAME'", "got 'SMAE'"),
    case(cj.downsample, (PLANE,), {"scale": 2, "method": "max", "padding": ((0, 0), (0, 2))}, ValueError,
        "downsample: a maximum over padding alone", "got padding (0, 2) and window 2 on axis W"),
    case(cj.conv_transpose, (LINE, TAPS), {"padding": 4}, ValueError,
        "conv_transpose: the padding on axis H leaves no output: 8 samples less 4 and 4"),
    case(cj.conv_transpose, (PLANE, WINDOW), {"stride": (2, 3), "output_padding": (0, 3)}, ValueError,
        "conv_transpose: output_padding must be below max(stride, dilation) = 3 on axis W; got 3"),
    case(cj.conv_transpose, (LINE, TAPS), {"output_padding": 1}, ValueError,
        "output_padding must be below max(stride, dilation) = 1 on axis H; got 1"),
    case(cj.conv_transpose, (LINE, TAPS), {"output_padding": -1}, ValueError,
        "conv_transpose: output_padding must be at least 0; got -1"),
    case(cj.subpixel_from_deconv, (TAPS,), {"stride": 2, "output_padding": 2}, ValueError,
        "subpixel_from_deconv: output_padding must be below max(stride, dilation) = 2 on axis H; got 2"),
    case(cj.conv, (np.ones((1, 2, 5, 2)), WINDOW), {"padding": "VALID"}, ValueError,
        "conv: axis H of x is 2, 2 with padding (0, 0), shorter than the 3 samples that a kernel of size 3 and "
        "dilation 1 spans"),
    case(cj.conv, (PLANE, WINDOW), {"padding": 1, "dilation": (1, 4)}, ValueError,
        "conv: axis W of x is 5, 7 with padding (1, 1), shorter than the 9 samples", "size 3 and dilation 4"),
    case(cj.resize_conv, (LINE, np.ones((9, 2, 1))), {"scale": 1, "padding": 1}, ValueError,
        "resize_conv: axis H of x is 6, 8 with padding", "shorter than the 9 samples"),
    case(cj.subpixel_conv, (np.ones((1, 2, 2)), TAPS), {"scale": 2, "padding": "VALID"}, ValueError,
        "subpixel_conv: axis H of x is 2", "shorter than the 3 samples"),
    case(cj.downsample, (PLANE,), {"scale": 6}, ValueError,
        "downsample: axis W of x is 5", "shorter than the 6 samples"),
]  # fmt: skip

NAMES = [
    case(cj.upsample, (PLANE,), {"scale": 2, "method": "neerest"}, ValueError,
        "upsample: method must be one of nearest, linear, cubic, lanczos3, zeros, fir; got 'neerest'; did you mean "
        "'nearest'?"),
    case(cj.upsample, (PLANE,), {"scale": 2, "method": None}, ValueError,
        "upsample: method must be one of", "got None"),
    case(cj.upsample, (PLANE,), {"scale": 2, "centres": "corner"}, ValueError,
        "upsample: centres must be one of half_pixel, sample, corners; got 'corner'; did you mean 'corners'?"),
    case(cj.upsample, (PLANE,), {"scale": 2, "centres": "sample", "align_corners": True}, ValueError,
        "upsample: align_corners=True means centres='corners'; got centres='sample' too"),
    case(cj.upsample, (PLANE,), {"scale": 2, "centres": "corners", "align_corners": False}, ValueError,
        "align_corners=False means centres='half_pixel'; got centres='corners' too"),
    case(cj.upsample, (PLANE,), {"scale": 2, "method": "fir"}, ValueError,
        "upsample: taps are for method='fir' and it needs them; got method='fir', taps=None"),
    case(cj.upsample, (PLANE,), {"scale": 2, "taps": [1.0]}, ValueError,
        "upsample: taps are for method='fir'", "got method='nearest', taps=[1.0]"),
    case(cj.upsample, (PLANE,), {"scale": 2, "method": "fir", "taps": []}, ValueError,
        "upsample: taps must be a filter of shape [k]; got shape (0,)"),
    case(cj.resize_conv, (PLANE, WINDOW), {"scale": 2, "method": "fir", "taps": [[1.0]]}, ValueError,
        "resize_conv: taps must be a filter of shape [k]; got shape (1, 1)"),
    case(cj.deconv_from_resize, (WINDOW,), {"scale": 2, "method": "fir", "taps": [[1.0]]}, ValueError,
        "deconv_from_resize: taps must be a filter of shape [k]; got shape (1, 1)"),
    case(cj.upsample, (PLANE,), {"scale": 2, "method": "fir", "taps": [1.0], "centres": "corners"}, ValueError,
        "upsample: method='fir' keeps samples in place; centres='corners' needs an interpolation"),
    case(cj.upsample, (PLANE,), {"scale": 2, "method": "zeros", "align_corners": True}, ValueError,
        "method='zeros' keeps samples in place"),
    case(cj.upsample, (PLANE,), {"scale": 2, "method": "cubic", "cubic_a": "keys"}, TypeError,
        "upsample: cubic_a must be a number; got 'keys'"),
    case(cj.resize_conv, (PLANE, WINDOW), {"scale": 2, "method": "bilinear"}, ValueError,
        "resize_conv: method must be one of", "got 'bilinear'; did you mean 'linear'?"),
    case(cj.resize_conv, (PLANE, WINDOW), {"scale": 2, "pad_mode": "reflection"}, ValueError,
        "resize_conv: pad_mode must be one of zeros, edge, reflect, symmetric, wrap; got 'reflection'; did you mean "
        "'reflect'?"),
    case(cj.resize_conv, (PLANE, WINDOW), {"scale": 2, "centres": "half"}, ValueError,
        "resize_conv: centres must be one of", "got 'half'; did you mean 'half_pixel'?"),
    case(cj.pad, (PLANE, 1), {"mode": "zero"}, ValueError,
        "pad: mode must be one of", "got 'zero'; did you mean 'zeros'?"),
    case(cj.downsample, (PLANE,), {"scale": 2, "method": "mean"}, ValueError,
        "downsample: method must be one of stride, average, max, blur, l2; got 'mean'"),
    case(cj.downsample, (PLANE,), {"scale": 2, "method": "maximum"}, ValueError, "got 'maximum'; did you mean 'max'?"),
    case(cj.downsample, (PLANE,), {"scale": 2, "method": "max", "pad_mode": "edge"}, ValueError,
        "downsample: method='max' has no pad_mode", "got 'edge'"),
    case(cj.downsample, (PLANE,), {"scale": 2, "method": "blur", "pad_mode": "mirror"}, ValueError,
        "downsample: pad_mode must be one of", "got 'mirror'"),
    case(cj.downsample, (PLANE,), {"scale": 2, "method": "l2", "window": 2}, ValueError,
        "downsample: method='l2' with scale=(2, 2) has the window (3, 3); got (2, 2)"),
    case(cj.depth_to_space, (np.ones((1, 2, 4)),), {"block": 2, "order": "DCR"}, ValueError,
        "depth_to_space: order must be one of depth_first, channel_first; got 'DCR'"),
    case(cj.space_to_depth, (np.ones((1, 2, 4)),), {"block": 2, "order": "depth"}, ValueError,
        "space_to_depth: order must be", "did you mean 'depth_first'?"),
    case(cj.subpixel_conv, (LINE, TAPS), {"scale": 2, "order": "channels_first"}, ValueError,
        "subpixel_conv: order must be", "did you mean 'channel_first'?"),
    case(cj.icnr, (TAPS,), {"scale": 2, "order": 1}, ValueError,
        "icnr: order must be one of depth_first, channel_first; got 1"),
    case(cj.deconv_from_subpixel, (TAPS,), {"scale": 2, "order": "x"}, ValueError,
        "deconv_from_subpixel: order must be", "got 'x'"),
    case(cj.subpixel_from_deconv, (TAPS,), {"stride": 2, "order": "x"}, ValueError,
        "subpixel_from_deconv: order must be", "got 'x'"),
    case(cj.deconv_from_resize, (TAPS,), {"scale": 2, "centres": "corners"}, ValueError,
        "deconv_from_resize: centres='corners' is not shift-invariant"),
    case(cj.deconv_from_resize, (TAPS,), {"scale": 2, "method": "x"}, ValueError,
        "deconv_from_resize: method must be one of", "got 'x'"),
]  # fmt: skip


def _floating(array):
    return jnp.asarray(array, "float32") if np.asarray(array).dtype == np.float64 else array


@pytest.mark.parametrize(("f", "arrays", "options", "kind", "parts"), [*SHAPES, *DTYPES, *STEPS, *PADDINGS, *NAMES])
def test_the_message(f, arrays, options, kind, parts):
    """Eager, and while tracing: shapes, dtypes and options are known before any value is."""
    inputs = [_floating(a) if isinstance(a, (np.ndarray, jax.Array)) else a for a in arrays]
    traced = [a for a in inputs if not isinstance(a, (int, str))]
    rest = inputs[len(traced) :]

    def under_jit():
        return jax.eval_shape(lambda *values: f(*values, *rest, **options), *traced)

    if f is cj.project_equal_gains and "stride" in options:
        options = dict(options)
        rest = [options.pop("stride")]
        inputs = [*traced, *rest]
    for call in (functools.partial(f, *inputs, **options), under_jit):
        with pytest.raises(kind) as error:
            call()
        assert type(error.value) is kind
        message = str(error.value)
        for part in parts:
            assert part in message
        assert re.match(rf"{f.__name__}: ", message)
        assert message.endswith((".", "?"))


@pytest.mark.parametrize("bad", ["image", None, lambda x: x])
def test_what_is_no_array_is_called_so(bad):
    name = type(bad).__name__
    with pytest.raises(TypeError, match=f"conv: x must be an array; got {name}"):
        cj.conv(bad, jnp.ones((3, 1, 1)))
    with pytest.raises(TypeError, match=f"icnr: base must be an array; got {name}"):
        cj.icnr(bad, scale=2)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: cj.hold_taps(0), ValueError, "hold_taps: scale must be at least 1; got 0."),
        (lambda: cj.hold_taps(2, order=-1), ValueError, "hold_taps: order must be at least 0; got -1."),
        (lambda: cj.hold_taps(cast(Any, 2.0)), TypeError, "hold_taps: scale must be an int; got 2.0."),
        (lambda: cj.hann_taps(0), ValueError, "hann_taps: scale must be at least 1; got 0."),
        (lambda: cj.binomial_taps(0), ValueError, "binomial_taps: size must be at least 1; got 0."),
        (lambda: cj.bilinear_kernel(0), ValueError, "bilinear_kernel: stride must be at least 1; got 0."),
        (
            lambda: cj.bilinear_kernel((2, 2), ndim=1),
            ValueError,
            "bilinear_kernel: stride must be an int, or one int for each of the axes H; got (2, 2).",
        ),
        (lambda: cj.bilinear_kernel(2, ndim=4), ValueError, "bilinear_kernel: ndim must be 1, 2 or 3; got 4."),
        (lambda: cj.bilinear_kernel(2, channels=0), ValueError, "bilinear_kernel: channels must be at least 1; got 0."),
        (
            lambda: cj.bilinear_kernel(2, dtype="int32"),
            TypeError,
            "bilinear_kernel: dtype must be floating; got int32.",
        ),
    ],
)
def test_the_message_of_a_filter(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_a_traced_stride_is_refused_by_name():
    def strided(stride):
        return cj.conv(jnp.ones((1, 4, 1)), jnp.ones((1, 1, 1)), stride=stride)

    with pytest.raises(TypeError, match=r"conv: stride must be an int; got .*racer"):
        jax.jit(strided)(2)


def test_nan_passes_through_as_in_lax():
    out = cj.conv_transpose(jnp.array([1.0, jnp.nan, 1.0]).reshape(1, 3, 1), jnp.ones((1, 1, 1)), stride=2)
    assert np.isnan(np.asarray(out)).sum() == 1

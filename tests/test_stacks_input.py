"""Bad input to `init` and `apply`: the error names the function, the layer, and what came."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkerjax.stacks import apply, init, init_from_normals, normal_count

FIELD = np.ones((2, 4, 4, 3), np.float32)
BAD_INITS = [
    ("conv k3 g2", {}, ValueError, r"layer 1 \(conv k3 g2\): groups must divide .* groups=2, 3 in, 16 out"),
    ("relu, deconv k3 c5 g3", {}, ValueError, r"layer 2 .*groups must divide .* 3 in, 5 out"),
    ("conv k3x3x3", {}, ValueError, r"layer 1 \(conv k3x3x3\): kernel must be an int, or one int.* axes HW"),
    ("maxpool p1:1", {}, ValueError, r"layer 1 \(maxpool p1:1\): padding must be .* 2 \(low, high\) pairs"),
    ("deconv k3 s2 icnr", {}, ValueError, r"layer 1 .*'icnr' needs a stride that divides the kernel size"),
    ("deconv k4 s2 d3 icnr", {}, ValueError, r"no dilation; got kernel size 4, stride 2, dilation 3"),
    ("residual(relu, deconv k3 s2 icnr)", {}, ValueError, r"layer 1 \(residual.*\): layer 2 \(deconv k3 s2"),
    ("parallel(conv k3 c1 | conv k3 c2)", {}, ValueError, r"summed must give equal numbers of channels; got \[1, 2\]"),
    ("parallel(relu | relu, conv k3 c2 g2)", {}, ValueError, r"branch 2, layer 2 \(conv k3 c2 g2\): groups"),
    ("conv k3", {"channels": 0}, ValueError, r"channels must be at least 1; got 0"),
    ("conv k3", {"channels": 1.5}, TypeError, r"channels must be an int; got 1.5"),
    ("conv k3", {"ndim": 4}, ValueError, r"ndim must be 1, 2 or 3; got 4"),
    ("conv k3", {"width": 0}, ValueError, r"width must be at least 1; got 0"),
    ("conv k3", {"width": [True]}, TypeError, r"width\[0\] must be an int; got True"),
    ("conv k3", {"initialiser": "hee"}, ValueError, r"initialiser must be one of lecun, he.* did you mean 'he'"),
    ("conv k3", {"initialiser": None}, ValueError, r"initialiser must be one of lecun, he"),
    ("conv k3", {"initialiser": "normal(-1)"}, ValueError, r"needs a positive std"),
    ("konv k3", {}, ValueError, r"character 1: unknown layer 'konv'"),
    (7, {}, TypeError, r"stack must be a layer or a sequence of layers; got 7"),
    ([], {}, ValueError, r"stack must have at least one layer"),
]


@pytest.mark.parametrize(("stack", "options", "error", "message"), BAD_INITS)
def test_init_names_what_is_wrong(stack, options, error, message):
    options = {"channels": 3, **options}
    with pytest.raises(error, match=rf"^init: .*{message}"):
        init(jax.random.key(0), stack, **options)
    with pytest.raises(error, match=rf"^normal_count: .*{message}"):
        normal_count(stack, **options)


def test_init_refuses_dtypes_and_normals_that_do_not_fit():
    with pytest.raises(TypeError, match=r"init: dtype must be floating; got int32"):
        init(jax.random.key(0), "conv k3", channels=3, dtype="int32")
    with pytest.raises(
        ValueError, match=r"init_from_normals: normals must be \[n\] with n at least 432; got .*\(431,\)"
    ):
        init_from_normals(jnp.ones(431), "conv k3", channels=3)
    with pytest.raises(ValueError, match=r"got shape \(2, 432\)"):
        init_from_normals(jnp.ones((2, 432)), "conv k3", channels=3)
    with pytest.raises(TypeError, match=r"init_from_normals: normals must have a floating dtype; got int32"):
        init_from_normals(jnp.ones(432, jnp.int32), "conv k3", channels=3)


def params_for(text, channels=3):
    return init(jax.random.key(0), text, channels=channels, ndim=2)


def ones(*shape, dtype: Any = np.float32) -> Any:
    return np.ones(shape, dtype)


# params are those of the first text, the stack is the second
BAD_APPLIES = [
    ("relu, deconv k5 s2", "relu, deconv k5 s2", ones(1, 4, 4, 2), ValueError,
     r"layer 2 \(deconv k5 s2\): conv_transpose: axis C of x is 2 but axis I of kernel is 3"),
    ("conv k5", "conv k5 valid", ones(1, 4, 4, 3), ValueError, r"layer 1 \(conv k5 valid\): conv: axis H of x is 4"),
    ("conv k5", "conv k5 pad_mode=edge", ones(1, 4, 4, 2), ValueError, r"layer 1 .*: conv: axis C of x is 2"),
    ("residual(tanh, conv k3)", "residual(tanh, conv k3)", ones(1, 4, 4, 2), ValueError,
     r"layer 1 \(residual\(tanh, conv k3\)\): layer 2 \(conv k3\): conv: axis C"),
    ("parallel(tanh | conv k3 c3)", "parallel(tanh | conv k3 c3)", ones(1, 4, 4, 2), ValueError,
     r"layer 1 \(parallel.*\): branch 2, layer 1 \(conv k3 c3\): conv: axis C"),
    ("residual(maxpool)", "residual(maxpool)", FIELD, ValueError, r"keep the shape \(2, 4, 4, 3\); it gives \(2, 2"),
    ("parallel(relu | maxpool)", "parallel(relu | maxpool)", FIELD, ValueError, r"must give equal shapes; got"),
    ("parallel(relu | maxpool) concat", "parallel(relu | maxpool) concat", FIELD, ValueError,
     r"equal shapes, channels apart; got"),
    ("dense 4", "dense 4", FIELD, ValueError, r"layer 1 \(dense 4\): a dense layer needs a latent x .*\[N, C\]; got"),
    ("dense 4", "dense 4", ones(2, 5), ValueError, r"dense: axis C of x is 5 but axis C of the kernel is 3"),
    ("relu, conv k3", "relu, conv k3", ones(2, 3), ValueError, r"layer 2 \(conv k3\): .*got a latent of shape"),
    ("relu, maxpool", "relu, maxpool", ones(2, 3), ValueError, r"layer 2 \(maxpool\): .*got a latent"),
    ("conv k3", "conv k3", ones(2, 4, 3), ValueError, r"layer 1 \(conv k3\): conv: a HWIO kernel needs an NHWC x"),
    ("blur", "blur k3x3x3", FIELD, ValueError, r"layer 1 \(blur k3x3x3\): downsample: window must be"),
    ("hold", "hold s4 valid", FIELD[:, :3], ValueError, r"layer 1 .*: hold: axis H of x is 3"),
    ("conv k3", "conv k3", FIELD[:0], ValueError, r"layer 1 .*: conv: axis N of x is empty"),
    ("relu", "relu", ones(3), ValueError, r"x must be NHC, NHWC, NDHWC or a latent NC; got shape \(3,\)"),
    ("relu", "relu", ones(2, 3, dtype=np.int32), TypeError, r"x must have a floating dtype; got int32"),
    ("conv k3", "conv k3", ones(1, 4, 4, 3, dtype=np.float16), TypeError, r"layer 1 .*: conv: x is float16 but kernel"),
    ("bias", "bias", ones(1, 3, dtype=np.float16), TypeError, r"layer 1 \(bias\): bias: x is float16 but bias is"),
    ("dense 4", "dense 4", ones(1, 3, dtype=np.float16), TypeError, r"dense: x is float16 but kernel is float32"),
    ("bias", "bias", ones(1, 2), ValueError, r"bias must be \[2\], one number per channel of x; got shape \(3,\)"),
    ("conv k3", "conv k3, relu", FIELD, ValueError, r"params must be a tuple with one entry for each of the 2 layers"),
    ("relu", "conv k3", FIELD, ValueError, r"layer 1 .*: params must have the entries \['kernel'\]; got \[\]"),
    ("conv k3", "relu", FIELD, ValueError, r"layer 1 .*: params must have the entries \[\]; got \['kernel'\]"),
    ("conv k3", "bias", FIELD, ValueError, r"layer 1 .*: params must have the entries \['bias'\]"),
    ("conv k3", "residual(conv k3)", FIELD, ValueError, r"layer 1 .*: params must be a tuple .* got dict"),
    ("conv k3", "parallel(conv k3)", FIELD, ValueError, r"layer 1 .*: params must be a tuple with one entry for each"),
    ("residual(relu)", "relu", FIELD, ValueError, r"layer 1 .*: params must have the entries \[\]; got tuple"),
    ("conv k3", "conv k5", FIELD, ValueError, r"params has a kernel of shape \(3, 3, 3, 16\); expected kernel=5"),
    ("conv k3x1", "conv k1x3", FIELD, ValueError, r"expected kernel=\(1, 3\)"),
    ("dense 4", "dense 5", ones(1, 3), ValueError, r"params has a kernel of shape \(3, 4, 4, 16\); expected size=5"),
    ("conv k3 c2", "conv k3 c4", FIELD, ValueError, r"\(3, 3, 3, 2\), which does not give features=4"),
    ("subpixel k3 c2", "subpixel k3 c8", FIELD, ValueError, r"\(3, 3, 3, 8\), which does not give features=8"),
    ("conv k3", "upsample corners linear", FIELD, ValueError, r"params must have the entries"),
]  # fmt: skip


@pytest.mark.parametrize(("made_for", "text", "x", "error", "message"), BAD_APPLIES)
def test_apply_names_the_layer_and_what_is_wrong(mode, made_for, text, x, error, message):
    params = params_for(made_for)
    with pytest.raises(error, match=rf"^apply: .*{message}"):
        mode(lambda x: apply(params, text, x))(x)


def test_errors_of_operators_are_kept_as_causes():
    with pytest.raises(ValueError, match=r"^apply: layer 1") as caught:
        apply(params_for("conv k3"), "conv k3", ones(1, 4, 4, 2))
    assert str(caught.value.__cause__).startswith("conv: axis C")

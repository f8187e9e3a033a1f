"""Layers that made XLA abort the process (jaxlib 0.10.2, CPU) run, forward and backward, with the right numbers."""

from __future__ import annotations

import subprocess
import sys

# One axis of size 2 and stride 2 with nothing left around the stretched input, and another whose kernel is longer than
# its field: XLA then exchanges the two, wrongly. In a process of its own, since the failure is the end of it.
PROGRAM = """
import jax, numpy as np
from checkerjax import conv, conv_transpose
rng = np.random.default_rng(0)
x, w = rng.normal(size=(1, 4, 3, 1)).astype("float32"), rng.normal(size=(5, 2, 1, 1)).astype("float32")

def stamped(x, w):
    full = np.zeros((2 * 3 + 5, 2 * 2 + 2))
    for i in range(4):
        for j in range(3):
            full[2 * i : 2 * i + 5, 2 * j : 2 * j + 2] += x[0, i, j, 0] * w[..., 0, 0]
    return full[1:-1, 1:-1]

deconv = lambda x, w: conv_transpose(x, w, stride=2, padding=1)
np.testing.assert_allclose(jax.jit(deconv)(x, w)[0, ..., 0], stamped(x, w), atol=1e-5)
dx, dw = jax.jit(jax.grad(lambda x, w: (deconv(x, w) ** 2).sum(), (0, 1)))(x, w)
for argument, gradient in ((x, dx), (w, dw)):
    step = rng.normal(size=argument.shape)
    value = lambda t: (stamped(*(a + t * step if a is argument else a for a in (x, w))) ** 2).sum()
    np.testing.assert_allclose((gradient * step).sum(), (value(1e-4) - value(-1e-4)) / 2e-4, rtol=1e-4)

strided = lambda y: conv(y, w, stride=(1, 2), padding=[(2, 2), (1, 1)])
y = rng.normal(size=(1, 4, 4, 1)).astype("float32")
(pulled,) = jax.jit(lambda g: jax.vjp(strided, y)[1](g))(np.ones((1, 4, 3, 1), "float32"))
forward = jax.jit(strided)(y).sum()
np.testing.assert_allclose((pulled * y).sum(), forward, rtol=1e-5)  # strided is linear

# As many outputs as the stride on one axis: the same in the kernel gradient, where the cotangent is the window.
k = rng.normal(size=(4, 5, 1, 1)).astype("float32")
few = lambda x, k: conv_transpose(x, k, stride=2, padding=[(3, 3), (2, 3)])
x = rng.normal(size=(1, 3, 3, 1)).astype("float32")
dk = jax.jit(jax.grad(lambda k: few(x, k).sum()))(k)
np.testing.assert_allclose((dk * k).sum(), few(x, k).sum(), rtol=1e-5)  # few is linear in the kernel

# A padding whose remainder lax gives back in the gradient.
uneven = lambda y: conv(y, np.ones((2, 5, 1, 1), "float32"), stride=(2, 1), padding=[(1, 2), (1, 1)]).sum()
y = rng.normal(size=(1, 4, 3, 1)).astype("float32")
np.testing.assert_allclose((jax.grad(uneven)(y) * y).sum(), uneven(y), rtol=1e-4)

# Two outputs of a dilated kernel, in the mixed second derivative of a sum of cubes of a bilinear map.
x, k = rng.normal(size=(1, 4, 4, 1)).astype("float32"), rng.normal(size=(4, 3, 1, 1)).astype("float32")
dx, dk = rng.normal(size=x.shape).astype("float32"), rng.normal(size=k.shape).astype("float32")
f = lambda x, k: conv_transpose(x, k, dilation=2, padding=[(0, 3), (3, 3)])
inner = lambda x: (jax.grad(lambda k: (f(x, k) ** 3).sum())(k) * dk).sum()
mixed = (jax.jit(jax.grad(inner))(x) * dx).sum()
expected = 6 * f(x, k) * f(dx, k) * f(x, dk) + 3 * f(x, k) ** 2 * f(dx, dk)
np.testing.assert_allclose(mixed, expected.sum(), rtol=1e-3)
print("right")
"""


def test_xla_does_not_abort_on_kernels_of_two_with_stride_two():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "right\n", done.stderr[-2000:]

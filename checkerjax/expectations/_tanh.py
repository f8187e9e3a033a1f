"""tanh as a sum of error functions, sum over i of w_i erf(b_i x), made for means over Gaussian variables.

A logistic variable is a normal one with a random scale, twice Kolmogorov's variable K (Andrews and Mallows, J. Royal
Statistical Society B 36, 1974), and tanh is the logistic distribution function: tanh(x) = E[erf(x / (sqrt(2) K))]. The
numbers here are Gauss's quadrature of that mean, eight nodes for the weight that K's law gives to log K. The sum is
tanh(x) to a relative error of 2e-7 at every x, of both signs in turns: means over Gaussian variables of any variance
are right to some 5e-10.
"""

TANH_SCALES = (
    0.31510891053408013, 0.41288627839131165, 0.5419840045381515, 0.7187565749904168, 0.9545195962495315,
    1.2544277003962363, 1.6271952363206932, 2.1070857724992282,
)  # fmt: skip
TANH_WEIGHTS = (
    0.00047754527025397345, 0.017807404830756435, 0.12556017155628607, 0.31501959173403116, 0.34958042555608865,
    0.16492947505773162, 0.0258922268491286, 0.0007331591457234245,
)  # fmt: skip

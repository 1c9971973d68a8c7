"""What is element by element, but chosen by its arguments or made of other operations."""

import math
from functools import partial

import numpy as np


def clamp(self, min=None, max=None):
    """The upper bound is the stronger one; NaN in any operand is the result."""
    for bound, function in ((min, np.maximum), (max, np.minimum)):
        self = self if bound is None else function(self, bound)
    return self


def zeta(input, other):
    """`sum 1 / (k + q)^x`: of the first terms, and the rest by Euler and Maclaurin."""
    x, q = np.broadcast_arrays(np.longdouble(input), np.longdouble(other))
    n = 40
    found = sum((q + k) ** -x for k in range(n))
    end, term = q + n, x * (q + n) ** (-x - 1)
    found = found + end ** (1 - x) / (x - 1) + end**-x / 2
    numbers = [np.longdouble(1) / 6, np.longdouble(-1) / 30, np.longdouble(1) / 42, np.longdouble(-1) / 30, np.longdouble(5) / 66]
    for k, bernoulli in enumerate(numbers, 1):
        found = found + bernoulli / math.factorial(2 * k) * term
        term = term * (x + 2 * k - 1) * (x + 2 * k) / end**2
    # Of one there is a pole, of less nothing; of whole numbers below one too.
    whole = (q <= 0) & (q == np.floor(q))
    found = np.where((q <= 0) & ~whole & (x != np.floor(x)), np.nan, np.where(whole, np.inf, found))
    return np.where(x < 1, np.nan, np.where(x == 1, np.inf, found))


def digamma(x):
    """By the recurrence to numbers that Stirling's series is good for."""
    x, n = np.longdouble(x), 60
    end = x + n
    series = [-12, 120, -252, 240, -132]
    found = np.log(end) - 1 / (2 * end) + sum(1 / (number * end ** (2 * k)) for k, number in enumerate(series, 1))
    return np.where((x < 0) & (x == np.floor(x)), np.nan, found - sum(1 / (x + k) for k in range(n)))


def polygamma(n, self=None, input=None):
    x = self if input is None else input
    if n == 0:
        return digamma(x)
    return (-1) ** (n + 1) * math.factorial(n) * zeta(np.longdouble(n + 1), x)


def nan_to_num(self, float_dtype, nan=None, posinf=None, neginf=None):
    if self.dtype.kind != "f":
        return self
    ends = np.finfo(float_dtype)
    posinf, neginf = ends.max if posinf is None else posinf, ends.min if neginf is None else neginf
    return np.nan_to_num(self, nan=nan or 0, posinf=posinf, neginf=neginf)


def prelu(self, weight):
    """A slope for each channel, the second dimension."""
    if weight.ndim and self.ndim > 1:
        weight = weight.reshape([-1 if n == 1 else 1 for n in range(self.ndim)])
    return np.where(self > 0, self, self * (weight if self.ndim else weight.reshape(())))


def glu(input, dim=-1):
    a, b = np.split(input, 2, dim)
    return a / (1 + np.exp(-b))


def lgamma(x):
    """Infinite at the poles."""
    return math.inf if x <= 0 and x == math.floor(x) else math.lgamma(x)


def mvlgamma(self, p):
    x = np.asarray(self, "float64")[..., None] - np.arange(p) / 2
    return p * (p - 1) / 4 * np.log(np.pi) + np.vectorize(lgamma, otypes=[float])(x).sum(-1)


@partial(np.vectorize, otypes=[np.longdouble])
def _igamma(a, x):
    """The power series in `x`, whose terms are all positive."""
    a, x = np.longdouble(a), np.longdouble(x)
    if not (a >= 0 and x >= 0) or a == x == 0:
        return np.longdouble(np.nan)
    if a == 0 or x == 0:
        return np.longdouble(a == 0)
    steps = x / (a + np.arange(1, 400 + int(4 * x), dtype=np.longdouble))
    return np.exp(a * np.log(x) - x - np.longdouble(math.lgamma(a + 1))) * (1 + np.cumprod(steps).sum())


REFERENCE = {
    "bitwise_not": lambda self: ~self,
    "clamp": clamp,
    "float_power": lambda self, exponent: np.float_power(self, exponent).astype("float64"),
    "nn.glu": glu,
    "frexp": lambda self: tuple(part.astype(kind) for part, kind in zip(np.frexp(self), (self.dtype, "int32"))),
    "igamma": lambda self, other: _igamma(self, other),
    "igammac": lambda self, other: 1 - _igamma(self, other),
    "isin": lambda elements, test_elements, assume_unique=False, invert=False: np.isin(elements, test_elements, invert=invert),
    "conj": lambda self: self,
    "conj_physical": lambda self: self,
    "mvlgamma": mvlgamma,
    "nan_to_num": nan_to_num,
    "polygamma": polygamma,
    "prelu": prelu,
    "nn.relu": lambda self, inplace=False: np.maximum(self, 0),
    "nn.relu6": lambda self, inplace=False: np.clip(self, 0, 6),
    "nn.softsign": lambda input: input / (1 + np.abs(input)),
    "nn.tanhshrink": lambda input: input - np.tanh(np.longdouble(input)),
    "true_divide": lambda self, other: np.true_divide(np.longdouble(self), other),
    "zeta": zeta,
}

"""Trigonometric, hyperbolic and special functions, rounding, and what kind of number an element is."""

import math
from statistics import NormalDist

import numpy as np

import ferrograd as fg


def _each(function):
    """A function of Python's floats on arrays, in their type."""

    def of_arrays(*arrays):
        arrays = np.broadcast_arrays(*arrays)
        flat = [function(*map(float, row)) for row in zip(*(a.ravel() for a in arrays))]
        return np.array(flat, dtype=arrays[0].dtype).reshape(arrays[0].shape)

    return of_arrays


def _bessel(x: float, order: int) -> float:
    """The modified Bessel function of the first kind, scaled: by its power series, or by the asymptotic one."""
    if abs(x) <= 30:
        series = ((x / 2) ** (2 * k + order) / (math.factorial(k) * math.factorial(k + order)) for k in range(80))
        return math.copysign(math.fsum(series) * math.exp(-abs(x)), x if order else 1)
    term = total = 1.0
    for k in range(1, 25):
        term *= ((2 * k - 1) ** 2 - 4 * order**2) / (8 * k * abs(x))
        total += term
    return math.copysign(total / math.sqrt(2 * math.pi) / math.sqrt(abs(x)), x if order else 1)


def _unscaled(x: float, order: int) -> float:
    scaled = _bessel(x, order)
    if abs(x) > 1400:
        return math.copysign(math.inf, scaled)
    half = math.exp(abs(x) / 2)
    return half * scaled * half


def _erfcx(x: float) -> float:
    """By the error function near zero, else by the continued fraction."""
    if x < 2:
        return math.inf if x < -26.6 else math.exp(x * x) * math.erfc(x)
    value = x
    for k in range(200, 0, -1):
        value = x + k / 2 / value
    return 1 / value / math.sqrt(math.pi)


def _log_ndtr(x: float) -> float:
    if x < -1:
        return math.log(_erfcx(-x / math.sqrt(2)) / 2) - x * x / 2 if x > -1e150 else -math.inf
    return math.log1p(-math.erfc(x / math.sqrt(2)) / 2)


def _digamma(x: float) -> float:
    """By the recurrence up to 50 and Stirling's series, below zero by reflection."""
    if x == 0:
        return -math.copysign(math.inf, x)
    if math.isinf(x) or x < 0 and x == math.floor(x):
        return math.inf if x > 0 else math.nan
    if x < 0:
        return _digamma(1 - x) - math.pi / math.tan(math.pi * math.fmod(x, 1))
    if x > 1e15:
        return math.log(x)
    terms = []
    while x < 50:
        terms.append(-1 / x)
        x += 1
    return math.fsum([*terms, math.log(x), -1 / (2 * x), -1 / (12 * x**2), 1 / (120 * x**4), -1 / (252 * x**6)])


def _lcm(a, b):
    """Narrow integers are multiplied in int32, as C does it."""
    width = np.promote_types(a.dtype, "int32")
    with np.errstate(all="ignore"):
        gcd = np.gcd(a, b).astype(width)
        product = a.astype(width) // np.where(gcd == 0, 1, gcd) * b.astype(width)
    return np.abs(product).astype(a.dtype)


def _lgamma(x: float) -> float:
    """Infinite at the poles, and where it is too large for a float."""
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):
        return math.inf


def _erfinv(x: float) -> float:
    """Infinite at -1 and 1, NaN beyond; near zero, where (x + 1) / 2 rounds, the slope is all."""
    if abs(x) < 1:
        return x * math.sqrt(math.pi) / 2 if abs(x) < 1e-9 else NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2)
    return math.copysign(math.inf, x) if abs(x) == 1 else math.nan


#: NumPy's function for each element-wise operation.
NUMPY = {
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "sinc": np.sinc,
    "deg2rad": np.deg2rad,
    "rad2deg": np.rad2deg,
    "hypot": np.hypot,
    "exp2": np.exp2,
    "log2": np.log2,
    "log10": np.log10,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "logaddexp": np.logaddexp,
    "logaddexp2": np.logaddexp2,
    "xlogy": lambda a, b: np.where((a == 0) & ~np.isnan(b), 0, a * np.log(b)),
    "logit": lambda x: np.log(x / (1 - x)),
    "erf": _each(math.erf),
    "erfc": _each(math.erfc),
    "erfinv": _each(_erfinv),
    "lgamma": _each(_lgamma),
    "angle": lambda x: np.where(np.isnan(x), x, np.where(x < 0, np.pi, 0)).astype(x.dtype),
    "digamma": _each(_digamma),
    "i0": _each(lambda x: _unscaled(x, 0)),
    "i0e": _each(lambda x: _bessel(x, 0)),
    "i1": _each(lambda x: _unscaled(x, 1)),
    "i1e": _each(lambda x: _bessel(x, 1)),
    "erfcx": _each(_erfcx),
    "ndtr": _each(lambda x: math.erfc(-x / math.sqrt(2)) / 2),
    "log_ndtr": _each(_log_ndtr),
    "xlog1py": lambda a, b: np.where((a == 0) & ~np.isnan(b), 0, a * np.log1p(b)),
    "entr": lambda x: np.where(x < 0, -np.inf, np.where(x == 0, 0, -x * np.log(x))).astype(x.dtype),
    "ceil": np.ceil,
    "round": np.round,
    "frac": lambda x: x - np.trunc(x),
    "fmod": np.fmod,
    "isfinite": np.isfinite,
    "isinf": np.isinf,
    "isposinf": np.isposinf,
    "isneginf": np.isneginf,
    "copysign": np.copysign,
    "nextafter": np.nextafter,
    "heaviside": lambda a, b: np.where(a == 0, b, a > 0).astype(b.dtype),
    "fmax": np.fmax,
    "fmin": np.fmin,
    "addcmul": lambda x, a, b: x + a * b,
    "addcdiv": lambda x, a, b: x + a / b,
    "lerp": lambda a, b, weight: np.where(np.abs(weight) < 0.5, a + weight * (b - a), b - (b - a) * (1 - weight)),
    "ldexp": lambda a, b: a * np.exp2(b),
    "bitwise_left_shift": lambda a, b: np.where(b < 0, 0, np.left_shift(a, np.maximum(b, 0))),
    "bitwise_right_shift": lambda a, b: np.right_shift(a, np.where(b < 0, 63, b).astype(a.dtype)),
    "gcd": np.gcd,
    "lcm": _lcm,
}
#: Functions that are chosen by their arguments, as calls on a tensor of shape (3, 4).
FUNCTIONS = {
    "zeta": lambda x: fg.special.zeta(3.0, x * x + 0.5),
    "igamma": lambda x: fg.igamma(1.5 + 0 * x.detach(), x * x + 0.5),
    "igammac": lambda x: fg.igammac(1.5 + 0 * x.detach(), x * x + 0.5),
    "frexp": lambda x: x.frexp()[0] ** 2,
    "polygamma": lambda x: (x * x + 0.5).polygamma(2),
    "nan_to_num": lambda x: x.nan_to_num() ** 2,
    "float_power": lambda x: (x * x + 0.5).float_power(1.5),
    "positive": lambda x: x.positive() ** 2,
}
#: What the in-place forms take beside the tensor.
GAMMA = (lambda x: x.abs() + 0.5, fg.tensor([[0.5, 1.5], [2.5, 3.0]], dtype=fg.float64))
ARGUMENTS = {"igamma": GAMMA, "igammac": GAMMA, "polygamma": (1,), "float_power": (1.5,), "mvlgamma": (lambda x: x.abs() + 2, 2)}
#: The gradient of the first argument is not known.
PREPARED = dict.fromkeys(("igamma", "igammac"), lambda a, x: (a.detach() * 0 + 1.5, x))
WITHOUT_DERIVATIVE = {"signbit", "isin", "isreal"}

"""Element-wise operations."""

import numpy as np


def _remainder(a, b):
    """With the divisor's sign; a remainder of zero has the dividend's."""
    found = np.fmod(a, b)
    return np.where((found != 0) & ((found < 0) != (b < 0)), found + b, found).astype(np.result_type(a, b))


def _sign(x):
    """-1, 0 or 1, and 0 for NaN."""
    return (x > 0) * np.ones_like(x) - (x < 0) * np.ones_like(x) if x.dtype != bool else x


def _power(x, exponent):
    """Powers by one number 0.5 are roots in NumPy, which of -0 and -inf are others: there are always two exponents side by side."""
    dtype, shape = np.result_type(x, exponent), np.broadcast_shapes(np.shape(x), np.shape(exponent))
    pair = [np.append(np.broadcast_to(np.asarray(a, dtype), shape), np.ones(1, dtype)) for a in (x, exponent)]
    return np.power(*pair)[:-1].reshape(shape)


#: NumPy's function for each element-wise operation.
NUMPY = {
    "add": np.add,
    "sub": np.subtract,
    "subtract": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "rsub": lambda a, b: b - a,
    "reciprocal": np.reciprocal,
    "floor_divide": np.floor_divide,
    "remainder": _remainder,
    "pow": _power,
    "square": np.square,
    "neg": np.negative,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "abs": np.abs,
    "sign": _sign,
    "sgn": _sign,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.where(x < 0, x.dtype.type(0), x),
    "floor": np.floor,
    "trunc": np.trunc,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "isnan": np.isnan,
    "where": lambda c, a, b: np.where(c != 0, a, b),
    "clamp_min": np.maximum,
    "clamp_max": np.minimum,
}
#: What the in-place forms take beside the tensor.
ARGUMENTS = {"clamp": (0.6, 0.9), "clamp_min": (0.7,), "clamp_max": (0.7,), "pow": (1.5,)}

"""Tensors from sizes."""

import numpy as np

#: What a function that makes a tensor takes beside its dtype has no part in the values.
IGNORED = {"layout", "device", "pin_memory", "requires_grad", "memory_format", "physical_layout", "stride"}


def made(function):
    """Without what has no part in the values."""
    return lambda **named: function(**{key: value for key, value in named.items() if key not in IGNORED})


def default(*numbers):
    """The dtype of a range of these."""
    return "int64" if all(isinstance(n, int) for n in numbers) else "float32"


def arange(end, start=0, step=1, dtype=None):
    """What a whole number of steps from the first leads to."""
    count = int(np.ceil((end - start) / step))
    return (start + np.arange(count) * step).astype(dtype or default(start, end, step))


def range_(start, end, step=1, dtype=None):
    return (start + np.arange(int((end - start) / step) + 1) * step).astype(dtype or "float32")


def linspace(start, end, steps, dtype=None):
    return np.linspace(start, end, steps).astype(dtype or "float32")


def logspace(start, end, steps, base=10.0, dtype=None):
    return (float(base) ** np.linspace(start, end, steps)).astype(dtype or "float32")


def full(size, fill_value, dtype=None):
    kinds = {bool: "bool", int: "int64", float: "float32"}
    return np.full(size, fill_value).astype(dtype or kinds[type(fill_value)])


def like(a, value, dtype, size=None):
    return np.full(a.shape if size is None else size, value).astype(dtype or a.dtype)


def weighted(length, periodic, dtype, weight):
    """A window of these weights of places from 0 to 1."""
    places = np.arange(length, dtype=np.longdouble) / max(length if periodic else length - 1, 1)
    return (weight(places) if length > 1 else np.ones(length)).astype(dtype or "float32")


def turns(x):
    return np.cos(2 * np.pi * np.longdouble(x))


def hann(window_length, periodic=True, dtype=None):
    return weighted(window_length, periodic, dtype, lambda x: 0.5 - 0.5 * turns(x))


def hamming(window_length, periodic=True, alpha=0.54, beta=0.46, dtype=None):
    return weighted(window_length, periodic, dtype, lambda x: alpha - beta * turns(x))


def blackman(window_length, periodic=True, dtype=None):
    return weighted(window_length, periodic, dtype, lambda x: 0.42 - 0.5 * turns(x) + 0.08 * turns(2 * x))


def bartlett(window_length, periodic=True, dtype=None):
    return weighted(window_length, periodic, dtype, lambda x: 1 - np.abs(2 * x - 1))


def kaiser(window_length, periodic=True, beta=12.0, dtype=None):
    return weighted(window_length, periodic, dtype, lambda x: np.i0(np.float64(beta * np.sqrt(np.maximum(1 - (2 * x - 1) ** 2, 0)))) / np.i0(beta))


REFERENCE = {
    "arange": arange,
    "bartlett_window": bartlett,
    "blackman_window": blackman,
    "hamming_window": hamming,
    "hann_window": hann,
    "kaiser_window": kaiser,
    "empty": lambda size, dtype=None: full(size, 0.0, dtype),
    "empty_like": lambda input, dtype=None: like(input, 0, dtype),
    "eye": lambda n, m=None, dtype=None: np.eye(n, m, dtype=dtype or "float32"),
    "full": full,
    "full_like": lambda input, fill_value, dtype=None: like(input, fill_value, dtype),
    "linspace": linspace,
    "logspace": logspace,
    "new_empty": lambda self, size, dtype=None: like(self, 0, dtype, size),
    "new_full": lambda self, size, fill_value, dtype=None: like(self, fill_value, dtype, size),
    "new_ones": lambda self, size, dtype=None: like(self, 1, dtype, size),
    "ones": lambda size, dtype=None: full(size, 1.0, dtype),
    "ones_like": lambda input, dtype=None: like(input, 1, dtype),
    "range": range_,
    "scalar_tensor": lambda s, dtype=None: np.asarray(s).astype(dtype or "float32"),
    "tril_indices": lambda row, col, offset=0, dtype=None: np.stack(np.tril_indices(row, offset, col)).astype(dtype or "int64"),
    "triu_indices": lambda row, col, offset=0, dtype=None: np.stack(np.triu_indices(row, offset, col)).astype(dtype or "int64"),
}
REFERENCE["empty_permuted"] = REFERENCE["empty_strided"] = REFERENCE["zeros"] = REFERENCE["empty"]
REFERENCE["new_empty_strided"] = REFERENCE["new_zeros"] = REFERENCE["new_empty"]
REFERENCE["zeros_like"] = REFERENCE["empty_like"]
REFERENCE = {name: made(function) for name, function in REFERENCE.items()}
REFERENCE["fill"] = lambda self, value: np.full(self.shape, value).astype(self.dtype)

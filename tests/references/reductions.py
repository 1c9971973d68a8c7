"""Reductions and scans."""

import numpy as np


def axes(dim):
    """NumPy's dimensions: none are all."""
    return None if dim is None or np.ndim(dim) and not len(dim) else tuple(dim) if np.ndim(dim) else int(dim)


def over(function):
    """A reduction over any dimensions; a tensor without dimensions has one of size 1."""

    def call(self, dim=None, keepdim=False, dtype=None):
        self = self if dtype is None else self.astype(dtype)
        if not self.ndim:
            return np.asarray(function(self.reshape(1), axis=0, keepdims=False))
        return np.asarray(function(self, axis=axes(dim), keepdims=keepdim))

    return call


def at(function, self, dim, keepdim):
    """The element of each row that a function of the row finds, and where that is."""
    rows = np.moveaxis(np.atleast_1d(self), dim, -1)
    places = np.zeros(rows.shape[:-1], int)
    for i in np.ndindex(places.shape):
        places[i] = function(rows[i])
    values = np.take_along_axis(rows, places[..., None], -1)[..., 0]
    if not self.ndim:
        return values[()].reshape(()), places.reshape(())
    return (np.expand_dims(values, dim), np.expand_dims(places, dim)) if keepdim else (values, places)


def picked(find, all_of):
    """Of all elements a value; along a dimension also where it is."""

    def call(self, dim=None, keepdim=False, other=None):
        if other is not None:
            return all_of(np.stack(np.broadcast_arrays(self, other)), axis=0)
        return all_of(self.reshape(-1), axis=0) if dim is None else at(find, self, dim, keepdim)

    return call


def order(row):
    """The places of a row's elements in ascending order, NaN last."""
    return np.argsort(row, kind="stable")


def middle(row, nan=False):
    """Where the middle one is."""
    missing = np.isnan(row)
    if missing.any() and not (nan and not missing.all()):
        return np.argmax(missing)
    return order(row)[(len(row) - missing.sum() - 1) // 2]


def median(nan):
    def call(self, dim=None, keepdim=False):
        if dim is not None:
            return at(lambda row: middle(row, nan), self, dim, keepdim)
        if self.size:
            return self.ravel()[middle(self.ravel(), nan)]
        # Of nothing NaN, or what that is as an integer.
        return np.full((), np.nan) if self.dtype.kind == "f" else np.full((), np.iinfo(self.dtype).min, self.dtype)

    return call


def most_frequent(row):
    values, counts = np.unique(row, return_counts=True, equal_nan=False)
    return np.flatnonzero(row == values[np.argmax(counts)])[-1] if counts.max() > 1 or not np.isnan(row).any() else order(row)[0]


def sort(self, dim=-1, descending=False, stable=None):
    places = sorting(self, dim, descending)
    return (np.take_along_axis(self, places, dim) if self.ndim else self), places


def sorting(self, dim=-1, descending=False, stable=None):
    """NaN is greater than all; equal elements stay in their order."""
    rows = np.moveaxis(np.atleast_1d(self), dim, -1)
    places = np.zeros(rows.shape, int)
    for i in np.ndindex(rows.shape[:-1]):
        found = order(rows[i][::-1] if descending else rows[i])
        places[i] = (rows.shape[-1] - 1 - found)[::-1] if descending else found
    return np.moveaxis(places, -1, dim).reshape(self.shape)


def topk(self, k, dim=-1, largest=True, sorted=True):
    if not self.ndim:
        return self, np.zeros((), int)
    return tuple(np.take(found, range(k), dim) for found in sort(self, dim, largest))


def running(better):
    """The running best of a dimension and where it was last found; NaN is best."""

    def call(self, dim):
        rows = np.moveaxis(np.atleast_1d(self), dim, -1)
        places = np.zeros(rows.shape, int)
        for i in np.ndindex(rows.shape):
            last = places[(*i[:-1], i[-1] - 1)] if i[-1] else 0
            a, b = rows[i], rows[(*i[:-1], last)]
            places[i] = i[-1] if np.isnan(a) or not np.isnan(b) and better(a, b) else last
        values = np.take_along_axis(rows, places, -1)
        return np.moveaxis(values, -1, dim).reshape(self.shape), np.moveaxis(places, -1, dim).reshape(self.shape)

    return call


def scan(function):
    def call(self, dim, dtype=None):
        self = self if dtype is None else self.astype(dtype)
        return function(np.atleast_1d(self), axis=dim).reshape(self.shape)

    return call


def logsumexp(a, axis, keepdims):
    if not a.size:
        return np.log(np.exp(a).sum(axis, keepdims=keepdims))
    top = np.max(a, axis, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0)
    found = np.log(np.exp(a - shift).sum(axis, keepdims=True)) + shift
    return found if keepdims else np.squeeze(found, axis)


def variance(a, dim=None, unbiased=None, correction=1, keepdim=False):
    """Mean and variance. Without freedom the quotient is by zero."""
    correction = 1 if correction is None else correction
    correction = correction if unbiased is None else int(unbiased)
    b, axis = (a, axes(dim)) if a.ndim else (a.reshape(1), 0)
    m = b.mean(axis, keepdims=True)
    count = b.size // max(m.size, 1)
    v = ((b - m) ** 2).sum(axis, keepdims=True) / np.maximum(np.longdouble(count - correction), 0)
    shape = m.shape if keepdim and a.ndim else np.squeeze(m, axis).shape
    return v.reshape(shape), m.reshape(shape)


def softmax(a, dim=None):
    return np.exp(log_softmax(a, dim))


def log_softmax(a, dim=None):
    """Without a dimension the old rule for images."""
    if dim is None:
        dim = 0 if a.ndim in (0, 1, 3) else 1
    b = np.atleast_1d(a)
    return (b - logsumexp(b, dim, True)).reshape(a.shape)


def truth(function):
    """torch gives bytes for bytes."""
    call = over(function)
    return lambda self, dim=None, keepdim=False: call(self, dim, keepdim).astype("uint8" if self.dtype == "uint8" else "bool")


def quantile(function):
    def call(self, q, dim=None, keepdim=False, interpolation="linear"):
        b = self if self.ndim else self.reshape(1)
        found = function(b, np.asarray(q, b.dtype), axis=dim, method=interpolation, keepdims=keepdim and self.ndim > 0)
        return np.asarray(found)

    return call


def trapezoid(cumulative):
    def call(y, x=None, dx=1, dim=-1):
        if not cumulative and not y.shape[dim]:
            # Of nothing zeros, which stay integers.
            return y.sum(dim).astype(y.dtype)
        y = np.moveaxis(y, dim, -1)
        if x is not None:
            x = np.moveaxis(x, dim, -1) if x.ndim > 1 else x
            dx = np.diff(x, axis=-1)
        areas = (y[..., 1:] + y[..., :-1]) * dx / np.longdouble(2)
        return np.moveaxis(np.cumsum(areas, -1), -1, dim) if cumulative else areas.sum(-1)

    return call


def cov(self, correction=1, fweights=None, aweights=None):
    return np.cov(self, ddof=correction, fweights=fweights, aweights=aweights, dtype=np.longdouble)


REFERENCE = {
    "all": truth(np.all),
    "amax": over(np.max),
    "amin": over(np.min),
    "aminmax": lambda self, dim=None, keepdim=False: (over(np.min)(self, dim, keepdim), over(np.max)(self, dim, keepdim)),
    "any": truth(np.any),
    "argmax": over(np.argmax),
    "argmin": over(np.argmin),
    "argsort": sorting,
    "corrcoef": lambda self: np.corrcoef(self, dtype=np.longdouble),
    "count_nonzero": over(np.count_nonzero),
    "cov": cov,
    "cummax": running(lambda a, b: a >= b),
    "cummin": running(lambda a, b: a <= b),
    "cumprod": scan(np.cumprod),
    "cumsum": scan(np.cumsum),
    "cumulative_trapezoid": trapezoid(True),
    "kthvalue": lambda self, k, dim=-1, keepdim=False: at(lambda row: order(row)[k - 1], self, dim, keepdim),
    "_log_softmax_backward_data": lambda grad_output, output, dim, input_dtype: grad_output - np.exp(output) * grad_output.sum(dim, keepdims=True),
    "_softmax_backward_data": lambda grad_output, output, dim, input_dtype: output * (grad_output - (grad_output * output).sum(dim, keepdims=True)),
    "nn.log_softmax": lambda input, dim=None, dtype=None, _stacklevel=3: log_softmax(input, dim),
    "log_softmax": lambda self, dim, dtype=None: log_softmax(self, dim),
    "logcumsumexp": scan(np.logaddexp.accumulate),
    "logsumexp": over(lambda a, axis, keepdims: logsumexp(a * np.longdouble(1), axis, keepdims)),
    "max": picked(np.argmax, np.max),
    "mean": over(np.mean),
    "median": median(False),
    "min": picked(np.argmin, np.min),
    "mode": lambda self, dim=-1, keepdim=False: at(most_frequent, self, dim, keepdim),
    "msort": lambda self: np.sort(self, 0) if self.ndim else self,
    "nanmean": over(np.nanmean),
    "nanmedian": median(True),
    "nanquantile": quantile(np.nanquantile),
    "nansum": over(np.nansum),
    "prod": over(np.prod),
    "quantile": quantile(np.quantile),
    "nn.softmax": lambda input, dim=None, dtype=None, _stacklevel=3: softmax(input, dim),
    "softmax": lambda self, dim, dtype=None: softmax(self, dim),
    "nn.softmin": lambda input, dim=None, dtype=None, _stacklevel=3: softmax(-input, dim),
    "sort": sort,
    "std": lambda self, **named: np.sqrt(variance(self, **named)[0]),
    "std_mean": lambda input, **named: (np.sqrt(variance(input, **named)[0]), variance(input, **named)[1]),
    "sum": over(np.sum),
    "topk": topk,
    "trapezoid": trapezoid(False),
    "var": lambda self, **named: variance(self, **named)[0],
    "var_mean": lambda input, **named: variance(input, **named),
}

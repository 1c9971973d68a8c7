"""Selections and writes by indices and masks, and what counts and searches."""

import numpy as np


def full_indices(index, dim):
    """The indices of `a[i0][index[i0][i1]]..` for all dimensions."""
    grid = list(np.indices(index.shape))
    grid[dim] = index
    return tuple(grid)


def gather(self, dim, index, sparse_grad=False):
    if not self.ndim:
        return self if not index.ndim else np.repeat(self, index.size)
    if not index.ndim:
        index = index.reshape(1)
        return self.reshape(-1)[index].reshape(())
    return self[full_indices(index, dim)]


def take_along_dim(self, indices, dim=None):
    if dim is None:
        return self.ravel()[indices.ravel()]
    dim %= self.ndim
    shape = np.broadcast_shapes(*[[1 if n == dim else s for n, s in enumerate(a.shape)] for a in (self, indices)])
    a, index = (np.broadcast_to(t, [t.shape[dim] if n == dim else s for n, s in enumerate(shape)]) for t in (self, indices))
    return np.take_along_axis(a, index, dim)


#: How two elements become one.
BOTH = {
    "sum": lambda a, b: a + b, "add": lambda a, b: a + b, "mean": lambda a, b: a + b, "prod": lambda a, b: a * b,
    "multiply": lambda a, b: a * b, "amax": np.maximum, "amin": np.minimum, None: lambda a, b: b,
}  # fmt: skip


def gathered(self, places, elements, reduce, include_self=True):
    """A copy with elements written at places, several for one place in their order becoming one."""
    made, count = self.copy(), {}
    for place, element in zip(places, elements if made.size else []):
        if not include_self and place not in count:
            made[place] = element
        else:
            made[place] = BOTH[reduce](made[place], element)
        count[place] = count.get(place, int(include_self)) + 1
    if reduce == "mean":
        for place, n in count.items():
            made[place] = made[place] // n if made.dtype.kind in "iu" else made[place] / n
    return made


def scatter(self, dim, index, src=None, value=None, reduce=None, include_self=True):
    if not self.ndim:
        source = None if src is None else np.atleast_1d(src)
        return scatter(self.reshape(1), 0, np.atleast_1d(index), source, value, reduce, include_self).reshape(())
    index = np.atleast_1d(index)
    dim %= self.ndim
    src = np.full(index.shape, value).astype(self.dtype) if src is None else np.atleast_1d(src)
    each = list(np.ndindex(index.shape))
    places = [(*i[:dim], int(index[i]), *i[dim + 1 :]) for i in each]
    return gathered(self, places, [src[i] for i in each], reduce, include_self)


def by_slices(self, dim, index, source, reduce, include_self=True):
    """Slices along a dimension, in the place of elements."""
    a, b = np.moveaxis(np.atleast_1d(self), dim, 0), np.moveaxis(np.atleast_1d(source), dim, 0)
    made = gathered(a, [int(i) for i in index.ravel()], list(b), reduce, include_self)
    return np.moveaxis(made, 0, dim).reshape(self.shape)


def index_fill(self, dim, index, value):
    made = np.atleast_1d(self).copy()
    if made.size:
        np.moveaxis(made, dim, 0)[index] = value
    return made.reshape(self.shape)


def index_put(self, indices, values, accumulate=False):
    """Element by element, in row-major order."""
    places = np.arange(self.size).reshape(self.shape)[tuple(indices)] if self.size else np.zeros(0, int)
    return put(self, places, np.broadcast_to(values, places.shape) if self.size else places, accumulate)


def put(self, index, source, accumulate=False):
    made = self.ravel().copy()
    for i, value in zip(index.ravel(), source.ravel()):
        made[i] = made[i] + value if accumulate else value
    return made.reshape(self.shape)


def masked_scatter(self, mask, source):
    made = np.broadcast_to(self, np.broadcast_shapes(self.shape, mask.shape)).copy()
    mask = np.broadcast_to(mask, made.shape)
    made[mask] = source.ravel()[: mask.sum()]
    return made


def masked_select(self, mask):
    a, mask = np.broadcast_arrays(self, mask)
    return a[mask]


def nonzero(self, as_tuple=False):
    return np.nonzero(np.atleast_1d(self)) if as_tuple else np.argwhere(self)


def nonzero_static(self, size, fill_value=-1):
    found = np.full((size, self.ndim), fill_value)
    rows = np.argwhere(self)[:size]
    found[: len(rows)] = rows
    return found


def searchsorted(sorted_sequence, input, out_int32=False, right=False, side=None, sorter=None):
    a = sorted_sequence if sorter is None else np.take_along_axis(sorted_sequence, sorter, -1)
    side = side or ("right" if right else "left")
    if a.ndim < 2:
        found = np.searchsorted(a, input, side)
    else:
        found = np.zeros(input.shape, int)
        for i in np.ndindex(input.shape[:-1]):
            found[i] = np.searchsorted(a[i], input[i], side)
    return np.asarray(found).astype("int32" if out_int32 else "int64")


def bincount(self, weights=None, minlength=0):
    found = np.zeros(max(minlength, int(self.max()) + 1 if self.size else 0), int if weights is None else np.longdouble)
    for number, weight in zip(self, np.ones(self.size, int) if weights is None else weights):
        found[number] += weight
    return found


def edges_of(self, bins, range, float_dtype):
    """Equal intervals: from each end to the middle, so that both are exact; the roundings are those of the dtype."""
    ends = [self.min(), self.max()] if range is None and self.size else range or [0, 0]
    low, high = np.array(ends, float_dtype)
    if low == high:
        low, high = low - float_dtype.type(0.5), high + float_dtype.type(0.5)
    step, n = (high - low) / float_dtype.type(bins), np.arange(bins + 1).astype(float_dtype)
    return np.where(n < (bins + 1) // 2, low + step * n, high - step * n[::-1]).astype(np.longdouble)


def histogram(self, float_dtype, bins=100, range=None, weight=None, density=False):
    edges = bins if isinstance(bins, np.ndarray) else edges_of(self, bins, range, float_dtype)
    counts = np.zeros(len(edges) - 1, np.longdouble)
    for a, w in zip(self.ravel(), np.ones(self.size) if weight is None else weight.ravel()):
        if edges[0] <= a <= edges[-1]:
            counts[min(np.searchsorted(edges, a, "right") - 1, len(counts) - 1)] += w
    return (counts / (counts.sum() * np.diff(edges)) if density else counts), edges


def histc(self, float_dtype, bins=100, min=0, max=0):
    """The interval of each element by a quotient, with the roundings of the dtype: they decide at the bounds."""
    a = self.ravel().astype(float_dtype)
    ends = [min, max] if min != max else [a.min(), a.max()] if a.size else [0, 0]
    low, high = np.array(ends, float_dtype) if ends[0] != ends[1] else np.array(ends, float_dtype) + [-1, 1]
    low, high = float_dtype.type(low), float_dtype.type(high)
    places = ((a - low) * float_dtype.type(bins) / (high - low))[(a >= low) & (a <= high)].astype(int)
    return np.bincount(places.clip(0, bins - 1), minlength=bins).astype(np.longdouble)


def unique(self, sorted=True, return_inverse=False, return_counts=False, dim=None):
    found = np.unique(self, return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    inverse = found[1].reshape(self.shape if dim is None else -1)
    return several(found[0], inverse, found[2], return_inverse, return_counts)


def several(values, inverse, counts, return_inverse, return_counts):
    result = (values, *([inverse] if return_inverse else []), *([counts] if return_counts else []))
    return result if len(result) > 1 else values


def unique_consecutive(self, return_inverse=False, return_counts=False, dim=None):
    slices = list(self.ravel() if dim is None else np.moveaxis(self, dim, 0))
    starts = [n for n, s in enumerate(slices) if not n or not np.array_equal(s, slices[n - 1])]
    counts = np.diff([*starts, len(slices)]).astype(int)
    inverse = np.repeat(np.arange(len(starts)), counts)
    values = np.take(self.ravel(), starts) if dim is None else np.take(self, starts, dim)
    return several(values, inverse.reshape(self.shape) if dim is None else inverse, counts, return_inverse, return_counts)


def one_hot(input, num_classes=-1):
    classes = int(input.max(initial=0)) + 1 if num_classes < 0 else num_classes
    return (input[..., None] == np.arange(classes)).astype("int64")


def bounded(weight, max_norm, norm_type):
    """Rows no longer than `max_norm`."""
    if max_norm is None:
        return weight
    lengths = (np.abs(weight) ** norm_type).sum(-1, keepdims=True) ** (1 / norm_type)
    return np.where(lengths > max_norm, weight * max_norm / (lengths + 1e-7), weight).astype(weight.dtype)


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    used = np.isin(np.arange(len(weight)), input)[:, None]
    return np.where(used, bounded(weight, max_norm, norm_type), weight)[input]


def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False, mode="mean", sparse=False,
                  per_sample_weights=None, include_last_offset=False, padding_idx=None):  # fmt: skip
    if input.ndim == 2:
        offsets, include_last_offset = np.arange(len(input)) * input.shape[1], False
    ends = [*offsets[1:], *([] if include_last_offset or not len(offsets) else [input.size])]
    rows = embedding(input.ravel(), weight, None, max_norm, norm_type)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    made = np.zeros((len(ends), weight.shape[1]), rows.dtype)
    for n, (start, end) in enumerate(zip(offsets, ends)):
        bag = rows[start:end][input.ravel()[start:end] != padding_idx] if padding_idx is not None else rows[start:end]
        if len(bag):
            made[n] = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](bag, 0)
    return made


def segment_reduce(data, reduce, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None):
    """Stretches of a dimension made into one element each."""
    offsets = np.cumsum(np.insert(lengths, 0, 0, -1), -1) if lengths is not None else offsets
    axis %= data.ndim
    found = np.zeros((*data.shape[:axis], offsets.shape[-1] - 1, *data.shape[axis + 1 :]), data.dtype)
    kind = {"sum": (np.sum, 0.0), "mean": (np.sum, 0.0), "prod": (np.prod, 1.0), "max": (np.max, -np.inf), "min": (np.min, np.inf)}
    call, nothing = kind[reduce]
    for at in np.ndindex(data.shape[:axis]):
        for j, (start, end) in enumerate(zip(offsets[at][:-1], offsets[at][1:])):
            value = call(data[at][start:end], axis=0, initial=nothing if initial is None else initial)
            with np.errstate(all="ignore"):
                count = end - start
                found[at][j] = value if reduce != "mean" else value / count if count else initial if initial is not None else np.nan
    return found


REFERENCE = {
    "bincount": bincount,
    "bucketize": lambda input, boundaries, out_int32=False, right=False: searchsorted(boundaries, input, out_int32, right),
    "nn.embedding": embedding,
    "nn.embedding_bag": embedding_bag,
    "gather": gather,
    "histc": histc,
    "histogram": histogram,
    "index_add": lambda self, dim, index, source, alpha=1: by_slices(self, dim, index, source * np.asarray(alpha).astype(source.dtype), "sum"),
    "index_copy": lambda self, dim, index, source: by_slices(self, dim, index, source, None),
    "index_fill": index_fill,
    "index_put": index_put,
    "index_reduce": by_slices,
    "index_select": lambda self, dim, index: np.take(self, np.atleast_1d(index), dim) if self.ndim else self,
    "masked_scatter": masked_scatter,
    "masked_select": masked_select,
    "nonzero": nonzero,
    "nonzero_static": nonzero_static,
    "nn.one_hot": one_hot,
    "put": put,
    "scatter": scatter,
    "segment_reduce": segment_reduce,
    "scatter_add": lambda self, dim, index, src: scatter(self, dim, index, src, reduce="sum"),
    "scatter_reduce": scatter,
    "searchsorted": searchsorted,
    "take": lambda self, index: self.ravel()[index],
    "take_along_dim": take_along_dim,
    "unique": unique,
    "unique_consecutive": unique_consecutive,
}

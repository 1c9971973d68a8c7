"""Views and copies in another arrangement."""

import itertools

import numpy as np


def sizes(shape, size):
    """A size with the dimensions that -1 keeps."""
    size = np.atleast_1d(size).astype(int)
    new = len(size) - len(shape)
    return tuple(shape[n - new] if s == -1 else s for n, s in enumerate(size))


def along(a, dim, start, end, step=1):
    """The elements from `start` to before `end` along a dimension."""
    return np.take(a, range(start, end, step), dim)


def cut(a, dim, lengths):
    """Neighbouring parts of these lengths."""
    ends = list(itertools.accumulate(lengths))
    return tuple(along(a, dim, end - length, end) for end, length in zip(ends, lengths))


def split(self, split_size, dim=0):
    if not isinstance(split_size, int):
        return cut(self, dim, split_size)
    n = self.shape[dim]
    return cut(self, dim, [min(split_size, n - i) for i in range(0, n, split_size or 1)] or [0])


def chunk(self, chunks, dim=0):
    n = self.shape[dim]
    return split(self, -(-n // chunks), dim) if n else cut(self, dim, [0] * chunks)


def tensor_split(self, dim=0, tensor_indices_or_sections=None, sections=None, indices=None):
    if tensor_indices_or_sections is not None:
        sections = tensor_indices_or_sections.tolist()
    return np.array_split(self, sections if indices is None else indices, dim)


def narrow(self, dim, start, length):
    start = int(start) + (self.shape[dim] if start < 0 else 0)
    return along(self, dim, start, start + length)


def flatten(self, start_dim=0, end_dim=-1):
    shape = self.shape or (1,)
    start, end = start_dim % len(shape), end_dim % len(shape)
    return self.reshape((*shape[:start], np.prod(shape[start : end + 1], dtype=int), *shape[end + 1 :]))


def squeeze(self, dim=None):
    dims = range(self.ndim) if dim is None else {d % max(self.ndim, 1) for d in np.atleast_1d(dim)}
    return self.reshape([s for n, s in enumerate(self.shape) if s != 1 or n not in dims])


def unflatten(self, dim, sizes):
    dim %= self.ndim
    known = -int(np.prod(sizes))
    sizes = [self.shape[dim] // known if s == -1 else s for s in sizes]
    return self.reshape(self.shape[:dim] + tuple(sizes) + self.shape[dim + 1 :])


def unfold(self, dimension, size, step):
    if not self.ndim:
        return np.repeat(self.reshape(1), size)
    windows = [np.moveaxis(along(self, dimension, at, at + size), dimension, -1) for at in range(0, self.shape[dimension] - size + 1, step)]
    return np.stack(windows, dimension if dimension >= 0 else dimension - 1)


def as_strided(self, size, stride, storage_offset=0):
    """Of elements that lie in row-major order."""
    places = np.zeros(size, int) + storage_offset
    for n, s in enumerate(stride):
        places += np.arange(size[n]).reshape([-1 if d == n else 1 for d in range(len(size))]) * s
    return self.ravel()[places]


def view(self, dtype=None, size=None, float_dtype=None):
    if dtype is None:
        return self.reshape(size)
    return (self.astype(float_dtype) if self.dtype.kind == "f" else self).view(dtype)


def diag_embed(self, offset=0, dim1=-2, dim2=-1):
    n = self.shape[-1] + abs(offset)
    made = np.zeros((*self.shape[:-1], n, n), self.dtype)
    for i in range(self.shape[-1]):
        made[..., i + max(0, -offset), i + max(0, offset)] = self[..., i]
    return np.moveaxis(made, (-2, -1), (dim1, dim2))


def block_diag(tensors):
    tensors = [np.atleast_2d(t) for t in tensors]
    made = np.zeros(np.sum([t.shape for t in tensors], 0), np.result_type(*tensors)) if tensors else np.zeros((1, 0), "float32")
    at = np.zeros(2, int)
    for t in tensors:
        made[at[0] : at[0] + t.shape[0], at[1] : at[1] + t.shape[1]] = t
        at += t.shape
    return made


def cat(tensors, dim=0):
    """An empty vector is left out."""
    kept = [t for t in tensors if t.shape != (0,)] or tensors[:1]
    return np.concatenate(kept, dim).astype(np.result_type(*tensors))


def meshgrid(tensors, indexing="ij"):
    return tuple(np.meshgrid(*tensors, indexing=indexing or "ij"))


def combinations(self, r=2, with_replacement=False):
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return np.array(list(choose(self, r)), self.dtype).reshape(-1, r)


def cartesian_prod(tensors):
    found = np.array(list(itertools.product(*tensors)), np.result_type(*tensors)).reshape(-1, len(tensors))
    return found if len(tensors) > 1 else found[:, 0]


def sum_to_size(self, size):
    """Of no dimensions it is a sum, as which it is wider; of the same size nothing is done."""
    size = np.atleast_1d(size).astype(int)
    if not size.size:
        return self.sum()
    new = self.ndim - len(size)
    dims = [n for n, s in enumerate(self.shape) if n < new or size[n - new] == 1 != s]
    return self.sum(tuple(dims)).reshape(size) if dims else self


def repeat_interleave(self=None, repeats=None, dim=None, output_size=None):
    if self is None:
        return np.repeat(np.arange(len(repeats), dtype=repeats.dtype), repeats)
    return np.repeat(self, repeats, dim)


def written(self, src, view):
    """A copy of `self` with `src` written where a view of its numbered elements looks."""
    made = self.copy()
    made.flat[view(np.arange(self.size).reshape(self.shape)).ravel()] = np.asarray(src, self.dtype).ravel()
    return made


def slice_scatter(self, src, dim=0, start=None, end=None, step=1):
    return written(self, src, lambda a: along(a, dim, *slice(start, end, step).indices(self.shape[dim])))


def pad(input, pad, mode="constant", value=None):
    """The last dimension first; a negative number takes away."""
    for n in range(len(pad) // 2):
        before, after = pad[2 * n], pad[2 * n + 1]
        dim = input.ndim - 1 - n
        size = input.shape[dim]
        places = np.arange(-before, size + after)
        inside = (places >= 0) & (places < size)
        if mode == "reflect":
            places = np.where(places < 0, -places, np.where(places >= size, 2 * (size - 1) - places, places))
        elif mode == "replicate":
            places = places.clip(0, size - 1)
        elif mode == "circular":
            # What is taken away is not there to go on with.
            first, last = max(-before, 0), size + min(after, 0)
            places = first + (places - first) % (last - first)
        else:
            filled = np.full((*input.shape[:dim], len(places), *input.shape[dim + 1 :]), value or 0, input.dtype)
            np.moveaxis(filled, dim, 0)[inside] = np.moveaxis(input, dim, 0)[places[inside]]
            input = filled
            continue
        input = np.take(input, places, dim)
    return input


def pixel_shuffle(self, upscale_factor):
    r = upscale_factor
    *batch, c, h, w = self.shape
    y = self.reshape(*batch, c // r**2, r, r, h, w)
    n = len(batch)
    return y.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2).reshape(*batch, c // r**2, h * r, w * r)


def pixel_unshuffle(self, downscale_factor):
    r = downscale_factor
    *batch, c, h, w = self.shape
    y = self.reshape(*batch, c, h // r, r, w // r, r)
    n = len(batch)
    return y.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3).reshape(*batch, c * r**2, h // r, w // r)


def channel_shuffle(self, groups):
    n, c = self.shape[:2]
    return self.reshape(n, groups, c // groups, *self.shape[2:]).swapaxes(1, 2).reshape(self.shape)


def atleast(function):
    return lambda input=None, tensors=None: function(input) if tensors is None else tuple(function(t) for t in tensors)


def chunk_cat(tensors, dim, num_chunks):
    """Each tensor filled up with zeros and cut into stretches of one length, which lie side by side."""
    parts = []
    for a in tensors:
        d = dim % tensors[0].ndim
        length = -(-a.shape[d] // num_chunks)
        filled = np.pad(a, [(0, length * num_chunks - a.shape[d] if n == d else 0) for n in range(a.ndim)])
        parts.append(filled.reshape(*a.shape[:d], num_chunks, -1))
    return np.concatenate(parts, -1)


REFERENCE = {
    "_chunk_cat": chunk_cat,
    "alias_copy": lambda input: input,
    "adjoint": lambda self: np.swapaxes(self, -2, -1),
    "as_strided": as_strided,
    "as_strided_scatter": lambda self, src, size, stride, storage_offset=0: written(self, src, lambda a: as_strided(a, size, stride, storage_offset)),
    "atleast_1d": atleast(np.atleast_1d),
    "atleast_2d": atleast(np.atleast_2d),
    "atleast_3d": atleast(np.atleast_3d),
    "block_diag": block_diag,
    "broadcast_tensors": lambda tensors: tuple(np.broadcast_arrays(*tensors)) if tensors else (),
    "broadcast_to": lambda self, size: np.broadcast_to(self, sizes(self.shape, size)),
    "cartesian_prod": cartesian_prod,
    "cat": cat,
    "nn.channel_shuffle": channel_shuffle,
    "chunk": chunk,
    "clone": lambda self, memory_format=None: self,
    "combinations": combinations,
    "concat": cat,
    "concatenate": cat,
    "constant_pad_nd": lambda self, pad, value=0: globals()["pad"](self, pad, "constant", value),
    "contiguous": lambda self, memory_format=None: self,
    "diag_embed": diag_embed,
    "linalg.diagonal": lambda A, offset=0, dim1=-2, dim2=-1: A.diagonal(offset, dim1, dim2),
    "linalg.vander": lambda x, N=None: np.cumprod(np.stack([x * 0 + 1] + [x] * ((N or x.shape[-1]) - 1), -1), -1),
    "diagonal_scatter": lambda self, src, offset=0, dim1=0, dim2=1: written(self, src, lambda a: a.diagonal(offset, dim1, dim2)),
    "expand": lambda self, size, implicit=False: np.broadcast_to(self, sizes(self.shape, size)),
    "expand_as": lambda self, other: np.broadcast_to(self, other.shape),
    "flatten": flatten,
    "meshgrid": meshgrid,
    "movedim": lambda self, source, destination: np.moveaxis(self, source, destination),
    "narrow": narrow,
    "nn.pad": pad,
    "permute": lambda self, dims: self.transpose(dims),
    "nn.pixel_shuffle": pixel_shuffle,
    "nn.pixel_unshuffle": pixel_unshuffle,
    "repeat": lambda self, repeats: np.tile(self, repeats),
    "repeat_interleave": repeat_interleave,
    "reshape": lambda self, shape: self.reshape(shape),
    "reshape_as": lambda self, other: self.reshape(other.shape),
    "row_stack": lambda tensors: np.vstack(tensors),
    "select": lambda self, dim, index: self.take(index, dim),
    "select_scatter": lambda self, src, dim, index: written(self, src, lambda a: a.take(index, dim)),
    "slice_copy": lambda input, dim=0, start=None, end=None, step=1: np.moveaxis(np.moveaxis(input, dim, 0)[start:end:step], 0, dim),
    "slice_scatter": slice_scatter,
    "split": split,
    "split_with_sizes": lambda self, split_sizes, dim=0: split(self, split_sizes, dim),
    "squeeze": squeeze,
    "sum_to_size": sum_to_size,
    "swapaxes": lambda self, axis0, axis1: self.swapaxes(axis0, axis1) if self.ndim else self,
    "t": lambda self: self.T,
    "tensor_split": tensor_split,
    "tile": lambda self, dims: np.tile(self, dims),
    "to": lambda self, dtype, copy=False: self.astype(dtype),
    "unbind": lambda self, dim=0: tuple(np.moveaxis(self, dim, 0)),
    "unflatten": unflatten,
    "unfold": unfold,
    "unsafe_chunk": chunk,
    "unsafe_split": split,
    "unsqueeze": lambda self, dim: np.expand_dims(self, dim),
    "view": view,
    "view_copy": lambda input, dtype=None, size=None, float_dtype=None: view(input, dtype, size, float_dtype),
    "view_as": lambda self, other: self.reshape(other.shape),
}
REFERENCE["narrow_copy"] = REFERENCE["narrow"]
REFERENCE["swapdims"] = lambda self, dim0, dim1: REFERENCE["swapaxes"](self, dim0, dim1)
REFERENCE["transpose"] = REFERENCE["swapdims"]
REFERENCE["unsafe_split_with_sizes"] = REFERENCE["split_with_sizes"]

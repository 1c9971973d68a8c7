"""Sums of products, and norms."""

import numpy as np


def plus(self, product, beta=1, alpha=1):
    """Numbers are taken to the dtype. What is in `self` counts nothing where `beta` is zero."""
    beta, alpha = (np.asarray(number).astype(self.dtype) for number in (beta, alpha))
    product = alpha * product
    return beta * self + product if beta else np.broadcast_arrays(product, self)[0]


def power(a, n):
    found = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)
    if n < 0:
        a, n = np.linalg.inv(a.astype(float)), -n
    for _ in range(n):
        found = found @ a
    return found


def cross(self, other, dim=None):
    shape = np.broadcast_shapes(self.shape, other.shape)
    dim = shape.index(3) if dim is None else dim
    a, b = (np.moveaxis(np.broadcast_to(t, shape), dim, 0) for t in (self, other))
    return np.moveaxis(np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]), 0, dim)


def product(matrices):
    found = matrices[0]
    for m in matrices[1:]:
        found = found @ m
    return found


def bilinear(input1, input2, weight, bias=None):
    found = np.einsum("...i,oij,...j->...o", input1, weight, input2)
    return found if bias is None else found + bias


def linear(input, weight, bias=None):
    found = input @ weight.T
    return found if bias is None else found + bias


def axes(dim, ndim):
    return tuple(range(ndim)) if dim is None or np.ndim(dim) and not len(dim) else tuple(np.atleast_1d(dim).tolist())


def vector_norm(input, ord=2, dim=None, keepdim=False, dtype=None):
    a, dims = np.abs(input), axes(dim, input.ndim) if input.ndim else ()
    if ord == np.inf:
        return a.max(dims, keepdims=keepdim, **({"initial": 0} if not a.size else {}))
    if ord == -np.inf:
        return a.min(dims, keepdims=keepdim)
    if ord == 0:
        return (a != 0).sum(dims, keepdims=keepdim).astype(np.longdouble)
    return (a ** np.longdouble(ord)).sum(dims, keepdims=keepdim) ** (1 / np.longdouble(ord))


def matrix_norm(input, ord="fro", dim=(-2, -1), keepdim=False, dtype=None):
    if ord == "fro":
        return vector_norm(input, 2, dim, keepdim)
    rows, columns = (d % input.ndim for d in dim)
    inner, outer = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = np.abs(input).sum(inner, keepdims=True)
    found = (np.max if ord > 0 else np.min)(sums, outer, keepdims=True)
    return found if keepdim else np.squeeze(found, (rows, columns))


def linalg_norm(input, ord=None, dim=None, keepdim=False, dtype=None):
    dims = axes(dim, input.ndim)
    if ord is None and (dim is None or len(dims) > 2):
        found = vector_norm(input.ravel())
        return found.reshape([1] * input.ndim) if keepdim else found
    if len(dims) == 1:
        return vector_norm(input, 2 if ord is None else ord, dim, keepdim)
    return matrix_norm(input, "fro" if ord is None else ord, dims, keepdim)


def norm(self, p="fro", dim=None, keepdim=False, dtype=None):
    return vector_norm(self, 2 if p in ("fro", None) else p, dim, keepdim)


def renorm(self, p, dim, maxnorm):
    """A slice that is too long is as long as it may be, less a tiny part."""
    dims = tuple(d for d in range(self.ndim) if d != dim % self.ndim)
    lengths = vector_norm(self, p, dims, True) if dims else np.abs(self)
    return np.where(lengths > maxnorm, self / (lengths + np.longdouble(1e-7)) * maxnorm, self)


def cdist(x1, x2, p=2.0, compute_mode=None):
    return vector_norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)


def pdist(input, p=2):
    i, j = np.triu_indices(len(input), 1)
    return vector_norm(input[i] - input[j], p, -1)


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        key, value = (np.repeat(t, query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    scale = 1 / np.sqrt(np.longdouble(query.shape[-1])) if scale is None else scale
    scores = query * scale @ np.swapaxes(key, -1, -2)
    if is_causal:
        attn_mask = np.tril(np.ones(scores.shape[-2:], bool))
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else scores + attn_mask
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = weights.sum(-1, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ value


def widens(equation, operands):
    """Whether integers are summed in int64: those of one operand, or of one of two whose product is no sum."""
    terms, arrow, result = equation.replace(" ", "").partition("->")
    if len(operands) > 2 or "..." in terms:
        return False
    result = result if arrow else [letter for letter in terms if terms.count(letter) == 1]
    letters = [{letter for letter, n in zip(term, x.shape) if n != 1} - set(result) for term, x in zip(terms.split(","), operands)]
    return bool(letters[0]) if len(operands) == 1 else bool(letters[0] ^ letters[1]) and not letters[0] & letters[1]


def einsum(equation, operands):
    found = np.einsum(equation, *operands)
    return found.astype("int64") if found.dtype.kind in "iu" and widens(equation, operands) else found


REFERENCE = {
    "addbmm": lambda self, batch1, batch2, beta=1, alpha=1: plus(self, (batch1 @ batch2).sum(0), beta, alpha),
    "addmm": lambda self, mat1, mat2, beta=1, alpha=1: plus(self, mat1 @ mat2, beta, alpha),
    "addmv": lambda self, mat, vec, beta=1, alpha=1: plus(self, mat @ vec, beta, alpha),
    "addr": lambda self, vec1, vec2, beta=1, alpha=1: plus(self, np.outer(vec1, vec2), beta, alpha),
    "baddbmm": lambda self, batch1, batch2, beta=1, alpha=1: plus(self, batch1 @ batch2, beta, alpha),
    "bilinear": bilinear,
    "bmm": lambda self, mat2: self @ mat2,
    "cdist": cdist,
    "chain_matmul": lambda matrices: product(matrices),
    "linalg.cross": lambda input, other, dim=-1: cross(input, other, dim),
    "cross": cross,
    "dist": lambda self, other, p=2: vector_norm(self - other, p),
    "einsum": einsum,
    "kron": lambda self, other: np.kron(self, other),
    "nn.linear": linear,
    "linalg.matrix_norm": matrix_norm,
    "linalg.matrix_power": lambda input, n: power(input, n),
    "matrix_power": lambda self, n: power(self, n),
    "mm": lambda self, mat2: self @ mat2,
    "linalg.multi_dot": lambda tensors: product(tensors),
    "mv": lambda self, vec: self @ vec,
    "linalg.norm": linalg_norm,
    "norm": norm,
    "nn.normalize": lambda input, p=2.0, dim=(1,), eps=1e-12: input / np.maximum(vector_norm(input, p, dim, True), eps),
    "pdist": pdist,
    "renorm": renorm,
    "nn.scaled_dot_product_attention": attention,
    "tensordot": lambda a, b, dims=2: np.tensordot(a, b, dims),
    "linalg.vecdot": lambda x, y, dim=-1: (x * y).sum(dim),
    "linalg.vector_norm": vector_norm,
}

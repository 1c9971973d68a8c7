"""Reductions and normalisations of the elements that a mask leaves in.

The mask is true where an element takes part; it has the shape of the input or one that broadcasts to it, of no more
dimensions, and none is all true. Dimensions of reductions are all (None), one, or several. What is masked out counts as the
element that changes nothing: 0 in sums, 1 in products, the smallest number in maxima. Gradients are those of the
operations that the functions are made of: zero where the mask is false.

>>> import ferrograd
>>> x = ferrograd.tensor([[1.0, 2.0, 30.0], [4.0, 50.0, 60.0]])
>>> mask = x < 10
>>> sum(x, 1, mask=mask), mean(x, 1, mask=mask)
(tensor([3., 4.]), tensor([1.5000, 4.0000]))
"""

from collections.abc import Sequence

from . import _ferrograd
from ._dtypes import iinfo
from ._ferrograd import Tensor, dtype as _dtype
from ._functions import _tensor

__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]

_Dims = int | Sequence[int] | None
_INFINITY = float("inf")


def _dims(dim: _Dims, rank: int) -> tuple[int, ...]:
    """Dimensions in order, counted from the first; all for None and for none."""
    if dim is None or dim == ():
        return tuple(range(rank))
    rank = max(rank, 1)
    found: list[int] = []
    for d in (dim,) if isinstance(dim, int) else dim:
        if not -rank <= d < rank:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {d})")
        if d % rank in found:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        found.append(d % rank)
    return tuple(sorted(found))


def _mask_of(name: str, input: Tensor, mask: Tensor) -> Tensor:
    """The mask as bool in the shape of the input."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}(): argument 'mask' must be Tensor, not {type(mask).__name__}")
    if mask.dim() > input.dim():
        raise IndexError(f"{name}: expected broadcastable mask (got mask dimensionality higher than of the input)")
    return mask.bool().broadcast_to(input.shape)


def _filled(name: str, input: Tensor, mask: Tensor | None, neutral: float) -> Tensor:
    """The input with what the mask leaves out replaced by what changes nothing."""
    _tensor(name, "input", 1, input)
    if mask is None:
        return input
    if not input.is_floating_point() and abs(neutral) == _INFINITY:
        if input.dtype == _ferrograd.bool:
            raise NotImplementedError(f"identity of {name} on {input.dtype} input")
        neutral = iinfo(input.dtype).max if neutral > 0 else iinfo(input.dtype).min
    return _ferrograd.where(_mask_of(name, input, mask), input, _ferrograd.tensor(neutral, dtype=input.dtype))


def _summed(dtype: _dtype | None, input: Tensor) -> _dtype:
    """The dtype of sums and products."""
    if dtype is not None:
        return dtype
    return input.dtype if input.is_floating_point() else _ferrograd.int64


def sum(
    input: Tensor, dim: _Dims = None, *, keepdim: bool | None = False, dtype: _dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """The sum over dimensions of what the mask leaves in, 0 of nothing.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any; `dtype`, else that of the input, int64 for integers and bool.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for dimensions named twice and shapes that do not broadcast.

    >>> import ferrograd
    >>> sum(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(4.)
    """
    filled = _filled("sum", input, mask, 0)
    return _ferrograd.sum(filled, _dims(dim, input.dim()), bool(keepdim), dtype=_summed(dtype, input))


def prod(
    input: Tensor, dim: _Dims = None, *, keepdim: bool | None = False, dtype: _dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """The product over dimensions of what the mask leaves in, 1 of nothing.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any; `dtype`, else that of the input, int64 for integers and bool.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for dimensions named twice and shapes that do not broadcast.

    >>> import ferrograd
    >>> prod(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(3.)
    """
    result = _filled("prod", input, mask, 1).to(_summed(dtype, input))
    for d in reversed(_dims(dim, input.dim())):
        result = result.prod(d, bool(keepdim))
    return result


def amax(
    input: Tensor, dim: _Dims = None, *, keepdim: bool | None = False, dtype: _dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """The greatest element over dimensions of what the mask leaves in; of nothing the smallest number of the dtype.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any, beside a mask not bool; `dtype`, else kept.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for dimensions named twice and shapes that do not broadcast, NotImplementedError for bool beside a mask.

    >>> import ferrograd
    >>> amax(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(3.)
    """
    result = _ferrograd.amax(_filled("amax", input, mask, -_INFINITY), _dims(dim, input.dim()), bool(keepdim))
    return result.to(input.dtype if dtype is None else dtype)


def amin(
    input: Tensor, dim: _Dims = None, *, keepdim: bool | None = False, dtype: _dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """The smallest element over dimensions of what the mask leaves in; of nothing the greatest number of the dtype.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any, beside a mask not bool; `dtype`, else kept.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for dimensions named twice and shapes that do not broadcast, NotImplementedError for bool beside a mask.

    >>> import ferrograd
    >>> amin(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(1.)
    """
    result = _ferrograd.amin(_filled("amin", input, mask, _INFINITY), _dims(dim, input.dim()), bool(keepdim))
    return result.to(input.dtype if dtype is None else dtype)


def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: _dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Where the greatest element that the mask leaves in is, along a dimension or in all of the tensor; without a derivative.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any, beside a mask not bool; `dtype`, else that of the input.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for shapes that do not broadcast, NotImplementedError for bool beside a mask.

    >>> import ferrograd
    >>> argmax(ferrograd.tensor([3.0, 9.0, 1.0]), dtype=ferrograd.int64, mask=ferrograd.tensor([True, False, True]))
    tensor(0)
    """
    result = _ferrograd.argmax(_filled("argmax", input, mask, -_INFINITY), dim, bool(keepdim))
    return result.to(input.dtype if dtype is None else dtype)


def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: _dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Where the smallest element that the mask leaves in is, along a dimension or in all of the tensor; without a derivative.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any, beside a mask not bool; `dtype`, else that of the input.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for shapes that do not broadcast, NotImplementedError for bool beside a mask.

    >>> import ferrograd
    >>> argmin(ferrograd.tensor([3.0, 9.0, 1.0]), dtype=ferrograd.int64, mask=ferrograd.tensor([True, False, True]))
    tensor(2)
    """
    result = _ferrograd.argmin(_filled("argmin", input, mask, _INFINITY), dim, bool(keepdim))
    return result.to(input.dtype if dtype is None else dtype)


def _count(name: str, input: Tensor, dim: _Dims, keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements the mask leaves in."""
    left = _ferrograd.ones(input.shape, dtype=_ferrograd.bool) if mask is None else _mask_of(name, input, mask)
    return left.sum(_dims(dim, input.dim()), keepdim)


def mean(
    input: Tensor, dim: _Dims = None, *, keepdim: bool | None = False, dtype: _dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """The mean over dimensions of what the mask leaves in, NaN of nothing.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: floating-point; others where `dtype` is given.
    Raises TypeError for what is no tensor, ValueError for integers without a `dtype`, IndexError for dimensions that are not there and
    masks of more dimensions, RuntimeError for dimensions named twice and shapes that do not broadcast.

    >>> import ferrograd
    >>> mean(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(2.)
    """
    dtype = _tensor("mean", "input", 1, input).dtype if dtype is None else dtype
    if not dtype.is_floating_point:
        raise ValueError(f"mean(): Could not infer output dtype. It must be a floating point dtype. Got: {dtype}")
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count("mean", input, dim, bool(keepdim), mask)


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: _dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """The median along a dimension of what the mask leaves in, the lower one of two; NaN of nothing.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any; that of the input.
    Raises TypeError for what is no tensor, ValueError where integers have none in a row, IndexError for dimensions that are not there and
    masks of more dimensions, RuntimeError for shapes that do not broadcast.

    >>> import ferrograd
    >>> median(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(1.)
    """
    is_float = _tensor("median", "input", 1, input).is_floating_point()
    filled = _filled("median", input if is_float else input.float(), mask, float("nan"))
    result = _ferrograd.nanmedian(filled, _dims(dim, input.dim())[0], keepdim)[0]
    if is_float:
        return result
    if bool(result.isnan().any()):
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    return result.to(input.dtype if dtype is None else dtype)


def logsumexp(
    input: Tensor, dim: _Dims = None, *, keepdim: bool = False, dtype: _dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """`log(sum(exp(x)))` over dimensions of what the mask leaves in, minus infinity of nothing.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any, beside a mask not bool; `dtype`, else that of the input.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for dimensions named twice and shapes that do not broadcast, NotImplementedError for bool beside a mask.

    >>> import ferrograd
    >>> logsumexp(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(3.1269)
    """
    result = _ferrograd.logsumexp(_filled("logsumexp", input, mask, -_INFINITY), _dims(dim, input.dim()), keepdim)
    return result.to(input.dtype if dtype is None else dtype)


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: _dtype | None = None, input_mask: Tensor | None = None, other_mask: Tensor | None = None
) -> Tensor:
    """`log(exp(x) + exp(y))`, element by element; what a mask leaves out adds nothing.

    Shapes: any that broadcast.
    Dtypes: floating-point; `dtype`, else that of the input.
    Raises TypeError for what is no tensor, IndexError for masks of more dimensions, RuntimeError for shapes that do not broadcast,
    NotImplementedError for bool beside a mask.

    >>> import ferrograd
    >>> x, y = ferrograd.tensor([-100.0, -200.0]), ferrograd.tensor([-1.0, -2.0])
    >>> logaddexp(x, y, other_mask=ferrograd.tensor([True, False]))
    tensor([  -1., -200.])
    """
    a = _filled("logaddexp", input, input_mask, -_INFINITY)
    _tensor("logaddexp", "other", 2, other)
    b = _filled("logaddexp", other, other_mask, -_INFINITY)
    return _ferrograd.logaddexp(a, b).to(input.dtype if dtype is None else dtype)


def norm(
    input: Tensor, ord: float | None = 2.0, dim: _Dims = None, *, keepdim: bool | None = False, dtype: _dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The norm of order `ord` over dimensions of what the mask leaves in, 0 of nothing, infinite where `ord` is minus infinity.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: floating-point; `dtype`, else kept.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for dimensions named twice and shapes that do not broadcast.

    >>> import ferrograd
    >>> norm(ferrograd.tensor([3.0, 9.0, 1.0]), 1.0, mask=ferrograd.tensor([True, False, True]))
    tensor(4.)
    """
    ord = 2.0 if ord is None else ord
    filled = _filled("norm", input, mask, _INFINITY if ord == -_INFINITY else 0)
    dtype = input.dtype if dtype is None else dtype
    return _ferrograd._linalg.vector_norm(filled, ord, _dims(dim, input.dim()), bool(keepdim), dtype=dtype)


def _spread(
    name: str, input: Tensor, dim: _Dims, unbiased: bool | None, correction: float | None, keepdim: bool,
    dtype: _dtype | None, mask: Tensor | None,
) -> Tensor:
    """The sum of squared distances from the mean, divided by the count less the correction."""
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 0.0 if unbiased is False else 1.0
    own = _tensor(name, "input", 1, input).dtype if dtype is None else dtype
    floats = own if own.is_floating_point else _ferrograd.float32
    count = _count(name, input, dim, True, mask)
    average = sum(input, dim, keepdim=True, dtype=floats if dtype is None else own, mask=mask) / count
    # Not of the input itself: what is masked out has no gradient, also where it is not a number.
    distance = _filled(name, input, mask, 0) - average
    total = sum(distance * distance, dim, keepdim=keepdim, dtype=floats, mask=mask)
    left = ((count if keepdim else count.reshape(total.shape)).to(floats) - float(correction)).clamp(min=0)
    return (total / left).to(floats if dtype is None else dtype)


def var(
    input: Tensor, dim: _Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool | None = False, dtype: _dtype | None = None, mask: Tensor | None = None,
) -> Tensor:
    """The variance over dimensions of what the mask leaves in: with n elements, squared distances from the mean by `n - correction`,
    which is n - 1 where nothing is said; NaN of nothing.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any; `dtype`, else that of the input, float32 for integers.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for dimensions named twice and shapes that do not broadcast, AssertionError for both `unbiased` and `correction`.

    >>> import ferrograd
    >>> var(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(2.)
    """
    return _spread("var", input, dim, unbiased, correction, bool(keepdim), dtype, mask)


def std(
    input: Tensor, dim: _Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool | None = False, dtype: _dtype | None = None, mask: Tensor | None = None,
) -> Tensor:
    """The square root of `var`.

    Shapes: any; without the dimensions, which stay as 1 with `keepdim`.
    Dtypes: any; `dtype`, else that of the input, float32 for integers.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for dimensions named twice and shapes that do not broadcast, AssertionError for both `unbiased` and `correction`.

    >>> import ferrograd
    >>> std(ferrograd.tensor([3.0, 9.0, 1.0]), mask=ferrograd.tensor([True, False, True]))
    tensor(1.4142)
    """
    return _spread("std", input, dim, unbiased, correction, bool(keepdim), dtype, mask).sqrt()


def cumsum(input: Tensor, dim: int, *, dtype: _dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """Sums up to each element along a dimension, of what the mask leaves in.

    Shapes: any, kept.
    Dtypes: any; `dtype`, else kept.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for shapes that do not broadcast.

    >>> import ferrograd
    >>> cumsum(ferrograd.tensor([3.0, 9.0, 1.0]), 0, mask=ferrograd.tensor([True, False, True]))
    tensor([3., 3., 4.])
    """
    filled, dtype = _filled("cumsum", input, mask, 0), input.dtype if dtype is None else dtype
    return _ferrograd.cumsum(filled, _dims(dim, input.dim())[0], dtype=dtype).to(dtype)


def cumprod(input: Tensor, dim: int, *, dtype: _dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """Products up to each element along a dimension, of what the mask leaves in.

    Shapes: any, kept.
    Dtypes: any; `dtype`, else kept.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for shapes that do not broadcast.

    >>> import ferrograd
    >>> cumprod(ferrograd.tensor([3.0, 9.0, 1.0]), 0, mask=ferrograd.tensor([True, False, True]))
    tensor([3., 3., 3.])
    """
    filled, dtype = _filled("cumprod", input, mask, 1), input.dtype if dtype is None else dtype
    return _ferrograd.cumprod(filled, _dims(dim, input.dim())[0], dtype=dtype).to(dtype)


def softmax(input: Tensor, dim: int, *, dtype: _dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """`exp(x) / sum(exp(x))` along a dimension of what the mask leaves in, 0 elsewhere, and NaN where nothing is left in.

    Shapes: any, kept.
    Dtypes: floating-point; `dtype`, else kept.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for shapes that do not broadcast.

    >>> import ferrograd
    >>> softmax(ferrograd.tensor([3.0, 9.0, 1.0]), 0, mask=ferrograd.tensor([True, False, True]))
    tensor([0.8808, 0.0000, 0.1192])
    """
    filled, dtype = _filled("softmax", input, mask, -_INFINITY), input.dtype if dtype is None else dtype
    return _ferrograd._nn.softmax(filled, _dims(dim, input.dim())[0], dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: _dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of `softmax`: minus infinity where the mask is false, and NaN where nothing is left in.

    Shapes: any, kept.
    Dtypes: floating-point; `dtype`, else kept.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for shapes that do not broadcast.

    >>> import ferrograd
    >>> log_softmax(ferrograd.tensor([3.0, 9.0, 1.0]), 0, mask=ferrograd.tensor([True, False, True]))
    tensor([-0.1269,    -inf, -2.1269])
    """
    filled, dtype = _filled("log_softmax", input, mask, -_INFINITY), input.dtype if dtype is None else dtype
    return _ferrograd._nn.log_softmax(filled, _dims(dim, input.dim())[0], dtype=dtype)


def softmin(input: Tensor, dim: int, *, dtype: _dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """`exp(-x) / sum(exp(-x))` along a dimension of what the mask leaves in, 0 elsewhere, and NaN where nothing is left in.

    Shapes: any, kept.
    Dtypes: floating-point; `dtype`, else kept.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for shapes that do not broadcast.

    >>> import ferrograd
    >>> softmin(ferrograd.tensor([3.0, 9.0, 1.0]), 0, mask=ferrograd.tensor([True, False, True]))
    tensor([0.1192, 0.0000, 0.8808])
    """
    filled, dtype = _filled("softmin", input, mask, _INFINITY), input.dtype if dtype is None else dtype
    return _ferrograd._nn.softmin(filled, _dims(dim, input.dim())[0], dtype=dtype)


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: _dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """The elements divided by their norm along a dimension, at least `eps`, of what the mask leaves in; 0 elsewhere.

    Shapes: any, kept.
    Dtypes: floating-point; of the input and `dtype`.
    Raises TypeError for what is no tensor, IndexError for dimensions that are not there and masks of more dimensions, RuntimeError
    for shapes that do not broadcast.

    >>> import ferrograd
    >>> normalize(ferrograd.tensor([3.0, 9.0, 1.0]), 1.0, 0, mask=ferrograd.tensor([True, False, True]))
    tensor([0.7500, 0.0000, 0.2500])
    """
    filled = _filled("normalize", input, mask, 0)
    size = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return filled / _ferrograd.maximum(size, size.new_full((), eps))

"""`func.vmap` under the names that it had before."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

from . import func as _transforms


def vmap(func: Callable, in_dims: int | tuple = 0, out_dims: int | tuple[int, ...] = 0) -> Callable:
    """`func.vmap`, with a FutureWarning that says so.

    >>> import ferrograd
    >>> warnings.simplefilter("ignore", FutureWarning)
    >>> vmap(ferrograd.sum)(ferrograd.ones(2, 3))
    tensor([3., 3.])
    """
    message = "Please use `torch.vmap` instead of `torch._vmap_internals.vmap`."
    warnings.warn(message, FutureWarning, stacklevel=2)
    return _vmap(func, in_dims, out_dims)


def _vmap(
    func: Callable, in_dims: int | tuple = 0, out_dims: int | tuple[int, ...] = 0, allow_none_pass_through: bool = False
) -> Callable:
    """As `func.vmap`. Where `allow_none_pass_through`, a tuple that `func` returns may have None among its tensors, as gradients
    do, which stays None.

    >>> import ferrograd
    >>> x, unused = (ferrograd.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    >>> y = x ** 2
    >>> def row(v):
    ...     return ferrograd.autograd.grad(y, (x, unused), v, retain_graph=True, allow_unused=True)
    >>> _vmap(row, allow_none_pass_through=True)(ferrograd.eye(2))
    (tensor([[2., 0.],
            [0., 4.]]), None)
    """
    if not allow_none_pass_through:
        return _transforms.vmap(func, in_dims, out_dims)

    @functools.wraps(func)
    def without_none(*args: Any) -> Any:
        found = func(*args)
        # An empty tuple has no examples to look for.
        return tuple(() if y is None else y for y in found) if isinstance(found, tuple) else found

    mapped = _transforms.vmap(without_none, in_dims, out_dims)

    @functools.wraps(func)
    def with_none(*args: Any) -> Any:
        found = mapped(*args)
        return tuple(None if isinstance(y, tuple) else y for y in found) if isinstance(found, tuple) else found

    return with_none

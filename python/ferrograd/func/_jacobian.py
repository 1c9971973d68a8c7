"""Whole matrices of derivatives: `jacrev`, `jacfwd`, `hessian`."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor, _add_batch_dim, _remove_batch_dim, _vmap_enter, _vmap_exit
from ..utils._pytree import tree_flatten, tree_map
from ._grad import Argnums, _vjp, sliced
from ._jvp import _jvp


def jacrev(
    func: Callable,
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:
    """A function that gives the Jacobian of `func` with respect to its argument number `argnums`, by reverse mode: for
    an output of shape `S` and an argument of shape `T` a tensor of shape `S + T`. Several outputs, and several arguments
    (`argnums` a tuple, or an argument of nested tensors), give as many, nested like the outputs and within each like the
    arguments.

    The rows are computed together, or `chunk_size` at a time; one at a time where that is 1. With `has_aux`, `func`
    returns a pair, of which the second part is handed on beside the Jacobian.

    The function raises RuntimeError for a result that is no tensor, and for an `argnums` that it has no argument for;
    ValueError for a `chunk_size` that is not positive.

    >>> import ferrograd
    >>> jacrev(lambda x: x ** 2)(ferrograd.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def jacobian(*args: Any) -> Any:
        value, pull, *aux = _vjp(func, args, argnums, has_aux)
        outputs, out_spec = tree_flatten(value)
        inputs, in_spec = tree_flatten(sliced(args, argnums))
        rows = [_rows(pull, chunk, out_spec, chunk_size) for chunk in _bases(outputs, chunk_size)]
        columns = rows[0] if len(rows) == 1 else [_ferrograd.cat(parts) for parts in zip(*rows)]
        counts = [y.numel() for y in outputs]
        blocks = [
            [part.reshape(y.shape + x.shape) for part, y in zip(_split(j, counts, 0), outputs)]
            for j, x in zip(columns, inputs)
        ]
        found = out_spec.unflatten(in_spec.unflatten(of_output) for of_output in zip(*blocks))
        return (found, *aux) if aux else found

    return jacobian


def _bases(tensors: list, chunk_size: int | None) -> Iterator[list]:
    """The unit vectors of the space of all elements of some tensors, at most `chunk_size` at a time: for each tensor its
    part of them, their number as the first dimension.
    """
    counts = [t.numel() for t in tensors]
    total = sum(counts)
    for start in range(0, max(total, 1), chunk_size or max(total, 1)):
        size = min(total - start, chunk_size or total)
        yield [_units(t, n, total, start, size) for t, n in zip(tensors, _offsets(counts))]


def _offsets(counts: list[int]) -> list[int]:
    return [sum(counts[:n]) for n in range(len(counts))]


def _units(like: Tensor, offset: int, total: int, start: int, size: int) -> Tensor:
    """The part of unit vectors `start` and on that belongs to the elements of a tensor, the first of which is element
    number `offset` of `total`.
    """
    units = _ferrograd.eye(total, dtype=like.dtype)
    if size < total:
        units = units.narrow(0, start, size)
    if like.numel() < total:
        units = units.narrow(1, offset, like.numel())
    return units.reshape((size, *like.shape))


def _split(t: Tensor, counts: list[int], dim: int) -> list[Tensor]:
    """Stretches of a dimension."""
    if len(counts) == 1:
        return [t]
    return [t.narrow(dim, start, n) for start, n in zip(_offsets(counts), counts)]


def _rows(pull: Callable, basis: list, out_spec: Any, chunk_size: int | None) -> list:
    """The rows of the Jacobian that belong to some unit vectors, as one tensor for each input."""
    size = basis[0].size(0)
    if chunk_size == 1 and size == 1:
        return [g.unsqueeze(0) for g in tree_flatten(pull(out_spec.unflatten(b.squeeze(0) for b in basis)))[0]]
    level = _vmap_enter(size, "error")
    try:
        cotangents = out_spec.unflatten([_add_batch_dim(b, 0, level) for b in basis])
        return [_remove_batch_dim(g, level, size, 0) for g in tree_flatten(pull(cotangents))[0]]
    finally:
        _vmap_exit()


def jacfwd(func: Callable, argnums: Argnums | None = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """As `jacrev`, by forward mode: better where there are more outputs than inputs. `func` runs once, within a map of
    the given `randomness` (see `vmap`). An `argnums` of None stands for all arguments.

    The function raises RuntimeError for a result that is no tensor, and for an `argnums` that it has no argument for.

    >>> import ferrograd
    >>> jacfwd(lambda x: x ** 2)(ferrograd.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def jacobian(*args: Any) -> Any:
        several = not isinstance(argnums, int)
        chosen = args if argnums is None else sliced(args, argnums)
        inputs, in_spec = tree_flatten(chosen if several else (chosen,))
        counts = [_elements(x) for x in inputs]
        (basis,) = _bases(inputs, None)
        size = sum(counts)
        level = _vmap_enter(size, randomness)
        try:
            tangents = in_spec.unflatten([_add_batch_dim(b, 0, level) for b in basis])
            tangents = tangents if several else tangents[0]
            _, pushed, *aux = _jvp(func, args, tangents, argnums, False, has_aux)
            outputs, out_spec = tree_flatten(pushed)
            columns = [_remove_batch_dim(t, level, size, -1) for t in outputs]
            aux = [tree_map(lambda x: _first(x, level, size), a) for a in aux]
        finally:
            _vmap_exit()
        rows = [
            in_spec.unflatten(
                part.reshape(y.shape + x.shape) for part, x in zip(_split(j, counts, -1), inputs)
            )
            for j, y in zip(columns, outputs)
        ]
        found = out_spec.unflatten(row if several else row[0] for row in rows)
        return (found, *aux) if aux else found

    return jacobian


def _elements(x: Any) -> int:
    if not isinstance(x, Tensor):
        raise RuntimeError(f"jvp(f, primals, tangents): Expected primals to only contain Tensors, got {type(x)}")
    return x.numel()


def _first(x: Any, level: int, size: int) -> Any:
    """What is the same for all examples, as one of them has it."""
    if not isinstance(x, Tensor) or not _ferrograd._is_batched(x, level):
        return x
    return _remove_batch_dim(x, level, size, 0)[0]


def hessian(func: Callable, argnums: Argnums = 0) -> Callable:
    """A function that gives the second derivatives of `func`: `jacfwd(jacrev(func))`.

    The function raises RuntimeError for an `argnums` that it has no argument for.

    >>> import ferrograd
    >>> hessian(lambda x: (x ** 3).sum())(ferrograd.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)

"""`vmap`: one call for a whole batch of examples."""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

from .. import _ferrograd
from .._ferrograd import Tensor, _add_batch_dim, _remove_batch_dim, _vmap_enter, _vmap_exit
from ..autograd._grad import common_size
from ..utils._pytree import TreeSpec, _broadcast_to_and_flatten, tree_flatten, tree_map_

InDims = int | tuple | None


def vmap(
    func: Callable,
    in_dims: InDims = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable:
    """A function that calls `func` on every example of a batch at once: what `func` computes on single examples is
    computed on all of them by the operations themselves, not in a loop.

    `in_dims` says along which dimension the examples of each argument lie, None for arguments that are the same for all:
    one number, or a tuple like the arguments, nested as they are. `out_dims` says where the examples of the results
    are to lie. With `chunk_size`, so many examples are computed at a time. `randomness` says whether random numbers are
    an "error", the "same" for all examples, or "different".

    Within `func` nothing may depend on the numbers of one example: `item()` and conditions on batched tensors raise
    RuntimeError.

    >>> import ferrograd
    >>> x, y = ferrograd.arange(6.0).reshape(2, 3), ferrograd.ones(3)
    >>> vmap(ferrograd.dot, in_dims=(0, None))(x, y)
    tensor([ 3., 12.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        if not isinstance(out_dims, int):
            tree_map_(lambda d: _check_out_dim(d, func, out_dims), out_dims)
        leaves, spec = tree_flatten(args)
        dims = _dims_of(func, in_dims, args, leaves, spec)
        size = common_size([x.size(d) for d, x in zip(dims, leaves) if d is not None])
        if chunk_size is None or chunk_size >= size:
            return _map(func, leaves, spec, dims, size, out_dims, randomness, kwargs)
        return _map_chunks(func, leaves, spec, dims, size, out_dims, randomness, chunk_size, kwargs)

    return mapped


def _map(
    func: Callable,
    leaves: list,
    spec: TreeSpec,
    dims: list,
    size: int,
    out_dims: Any,
    randomness: str,
    kwargs: dict,
) -> Any:
    """One map over all examples."""
    level = _vmap_enter(size, randomness)
    try:
        given = [x if d is None else _add_batch_dim(x, d, level) for x, d in zip(leaves, dims)]
        found = func(*spec.unflatten(given), **kwargs)
        if isinstance(found, Tensor) and isinstance(out_dims, int):
            return _remove_batch_dim(found, level, size, out_dims)
        flat, out_spec = tree_flatten(found)
        flat_dims = _flat_out_dims(func, found, out_dims, out_spec)
        return out_spec.unflatten(_unmapped(func, x, level, size, d) for x, d in zip(flat, flat_dims))
    finally:
        _vmap_exit()


def _map_chunks(
    func: Callable,
    leaves: list,
    spec: TreeSpec,
    dims: list,
    size: int,
    out_dims: Any,
    randomness: str,
    chunk_size: int,
    kwargs: dict,
) -> Any:
    """Maps over some examples after another, their results joined."""
    state = _ferrograd._random_state() if randomness == "same" else None
    chunks, joined_dims, out_spec = [], [], None
    for start in range(0, size, chunk_size):
        length = min(chunk_size, size - start)
        part = [x if d is None else x.narrow(d, start, length) for x, d in zip(leaves, dims)]
        if state is not None:
            _ferrograd._set_random_state(state)
        found = _map(func, part, spec, dims, length, out_dims, randomness, kwargs)
        flat, out_spec = tree_flatten(found)
        joined_dims = _flat_out_dims(func, found, out_dims, out_spec)
        chunks.append(flat)
    assert out_spec is not None
    parts = zip(joined_dims, zip(*chunks))
    return out_spec.unflatten(p[0] if d is None else _ferrograd.cat(p, d) for d, p in parts)


def _name(func: Callable) -> str:
    """A function as messages name it."""
    if isinstance(func, functools.partial) and not hasattr(func, "__name__"):
        return f"functools.partial({_name(func.func)}, ...)"
    return getattr(func, "__name__", None) or repr(func)


def _dims_of(func: Callable, in_dims: Any, args: tuple, leaves: list, spec: TreeSpec) -> list[int | None]:
    """For every leaf of the arguments, the dimension of its examples."""
    call = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{call}expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
            f"got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap "
            f"over a function with no inputs. The latter is unsupported."
        )
    dims = _broadcast_to_and_flatten(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"{call}in_dims is not compatible with the structure of `inputs`. "
            f"in_dims has structure {tree_flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    return [None if d is None else _in_dim(call, d, x) for d, x in zip(dims, leaves)]


def _in_dim(call: str, dim: Any, arg: Any) -> int:
    if not isinstance(dim, int):
        raise ValueError(
            f"{call}Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
        )
    if not isinstance(arg, Tensor):
        raise ValueError(
            f"{call}Got in_dim={dim} for an input but the input is of type {type(arg)}. We cannot vmap over non-Tensor "
            f"arguments, please use None as the respective in_dim"
        )
    rank = arg.dim()
    if not -rank <= dim < rank:
        raise ValueError(
            f"{call}Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {rank} so expected "
            f"in_dim to satisfy -{rank} <= in_dim < {rank}."
        )
    return dim % rank


def _check_out_dim(dim: Any, func: Callable, out_dims: Any) -> None:
    if dim is not None and not isinstance(dim, int):
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of "
            f"ints representing where in the outputs the vmapped dimension should appear."
        )


def _flat_out_dims(func: Callable, found: Any, out_dims: Any, spec: TreeSpec) -> list[int | None]:
    """For every leaf of the results, where its examples are to lie."""

    def incompatible() -> NoReturn:
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure "
            f"of `outputs`. out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {spec}."
        )

    if isinstance(found, Tensor):
        if out_dims is None or isinstance(out_dims, int):
            return [out_dims]
        # A single result may have its place in a tuple of one.
        return list(out_dims) if isinstance(out_dims, tuple) and len(out_dims) == 1 else incompatible()
    dims = _broadcast_to_and_flatten(out_dims, spec)
    return incompatible() if dims is None else dims


def _unmapped(func: Callable, found: Any, level: int, size: int, dim: int | None) -> Any:
    """All examples of one result."""
    name = _name(func)
    if dim is None:
        if isinstance(found, Tensor) and _ferrograd._is_batched(found, level):
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return found
    if not isinstance(found, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(found)}. Did you mean to set "
            f"out_dims= to None for output?"
        )
    return _remove_batch_dim(found, level, size, dim)

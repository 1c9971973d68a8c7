"""Reverse mode as a transform of functions: `grad`, `grad_and_value`, `vjp`."""

import functools
from collections.abc import Callable
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor, _close, _enter_transform, _exit_transform, _fresh, _kept, _released, _transform_grad
from ..utils._pytree import TreeSpec, tree_flatten, tree_map, treespec_pprint

Argnums = int | tuple[int, ...]


def grad(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """A function that gives the gradient of `func`, which returns a tensor without dimensions, with respect to its
    argument number `argnums`, or a tuple of gradients for a tuple of numbers.

    With `has_aux`, `func` returns a pair, of which the second part is handed on beside the gradient.

    Transforms nest, in any order and to any depth. `no_grad` within `func` is heeded, around the call it is not.

    The function raises RuntimeError for a result that is no tensor without dimensions, for an `argnums` that it has no
    argument for, and for arguments that are not of floating point; ValueError for arguments that are no tensors.

    >>> import ferrograd
    >>> grad(grad(lambda x: x ** 3))(ferrograd.tensor(2.0))
    tensor(12.)
    """

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = _grad_and_value(func, argnums, has_aux, args, kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def grad_and_value(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """As `grad`, for a pair of the gradient and the value of `func`, or with `has_aux` `(gradient, (value, aux))`.

    It raises what that of `grad` does.

    >>> import ferrograd
    >>> grad_and_value(lambda x: x ** 3)(ferrograd.tensor(2.0))
    (tensor(12.), tensor(8.))
    """

    @functools.wraps(func)
    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        return _grad_and_value(func, argnums, has_aux, args, kwargs)

    return gradient_and_value


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """The value of `func(*primals)`, and a function that multiplies a cotangent of it with the Jacobian: it takes
    tensors like the value and gives a tuple of tensors like `primals`.

    With `has_aux`, `func` returns a pair, of which the second part is handed on as a third result.

    Raises RuntimeError for a result that is no tensor; the function that it gives for a cotangent not like the value.

    >>> import ferrograd
    >>> value, pull = vjp(lambda x: x ** 2, ferrograd.tensor([1.0, 2.0]))
    >>> pull(ferrograd.tensor([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    return _vjp(func, primals, None, has_aux)


def _grad_and_value(func: Callable, argnums: Argnums, has_aux: bool, args: tuple, kwargs: dict) -> tuple:
    recorded = _enter_transform((args, kwargs))
    try:
        if argnums is None:
            # All arguments are for `vjp` to choose.
            sliced(args, argnums)
        chosen, leaves, spec, args = differentiable(args, argnums)
        value = func(*args, **kwargs)
        aux = None
        if has_aux:
            value, aux = pair(value, "grad_and_value(f)(*args): output of function f")
        _check_scalar(value)
        _close(leaves)
        found = _transform_grad([value], leaves, [None], recorded, False)
        value = _released(value, recorded)
        if has_aux:
            value = value, released(aux, recorded)
        return (found[0] if chosen else spec.unflatten(found)), value
    finally:
        _exit_transform(recorded)


def _check_scalar(value: Any) -> None:
    if not isinstance(value, Tensor):
        raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(value)}")
    if value.dim() != 0:
        raise RuntimeError(
            f"grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with {value.dim()} "
            f"dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
        )


def _vjp(func: Callable, primals: tuple, argnums: Argnums | None, has_aux: bool) -> tuple:
    """As `vjp`, by some of the arguments only."""
    recorded = _enter_transform(primals)
    try:
        _, leaves, spec, primals = differentiable(primals, argnums)
        found = func(*primals)
        aux = None
        if has_aux:
            found, aux = pair(found, "vjp(f, *primals): output of function f")
        flat, out_spec = tree_flatten(found)
        check_outputs(flat, "vjp(f, *primals)")
        _check_floats(flat)
        _close(leaves)
        value = out_spec.unflatten([_released(y, recorded) for y in flat])
        flat = _kept(flat)
        aux = released(aux, recorded) if has_aux else None
    finally:
        _exit_transform(recorded)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        if not isinstance(retain_graph, bool):
            raise TypeError(
                "vjp: the function that it gives takes one argument, of the structure of the outputs; "
                f"retain_graph should be a bool, got {type(retain_graph).__name__}"
            )
        given, given_spec = tree_flatten(cotangents)
        if given_spec != out_spec:
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {treespec_pprint(given_spec)}, primal output: {treespec_pprint(out_spec)}"
            )
        recorded = _ferrograd.is_grad_enabled() if create_graph is None else create_graph
        return spec.unflatten(_transform_grad(flat, leaves, given, recorded, retain_graph))

    return (value, pull, aux) if has_aux else (value, pull)


def differentiable(args: tuple, argnums: Argnums | None) -> tuple[bool, list, TreeSpec, tuple]:
    """Arguments with tensors to differentiate by in the chosen places; also whether one tensor alone was chosen, these
    tensors as a list, and what they are the leaves of.
    """
    chosen = args if argnums is None else sliced(args, argnums)
    if isinstance(chosen, Tensor):
        (fresh,) = leaves = _fresh([chosen])
        return True, leaves, _LEAF, replaced(args, fresh, argnums)
    flat, spec = tree_flatten(chosen)
    for x in flat:
        if not isinstance(x, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
    leaves = _fresh(flat)
    return False, leaves, spec, replaced(args, spec.unflatten(leaves), argnums)


_LEAF = tree_flatten(None)[1]


def argument(argnum: Any, count: int) -> int:
    """The place of an argument, counted from the front."""
    if not isinstance(argnum, int):
        raise RuntimeError(f"argnum must be int, got: {type(argnum)}")
    if not -count <= argnum < count:
        raise RuntimeError(f"Got argnum={argnum}, but only {count} positional inputs")
    return argnum % count


def sliced(args: tuple, argnums: Argnums) -> Any:
    """The chosen arguments: one, or a tuple of several."""
    if isinstance(argnums, int):
        return args[argument(argnums, len(args))]
    if not isinstance(argnums, tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    places = [argument(n, len(args)) for n in argnums]
    if not places:
        raise RuntimeError("argnums must be non-empty")
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return tuple(args[n] for n in places)


def replaced(args: tuple, chosen: Any, argnums: Argnums | None) -> tuple:
    """The arguments with others in the chosen places."""
    if argnums is None:
        return chosen
    if isinstance(argnums, int):
        argnums, chosen = (argnums,), (chosen,)
    by_place = {n % len(args): new for n, new in zip(argnums, chosen)}
    return tuple(by_place.get(n, old) for n, old in enumerate(args))


def pair(found: Any, what: str) -> tuple:
    """The two parts of a result with something beside it."""
    if not isinstance(found, tuple) or len(found) != 2:
        raise RuntimeError(f"{what} should be a tuple: (output, aux) if has_aux is True")
    return found


def check_outputs(flat: list, call: str) -> None:
    """Results are tensors, and there is at least one."""
    if not flat or (len(flat) == 1 and flat[0] is None):
        raise RuntimeError(f"{call}: Expected f to be a function that has non-empty output (got output = {flat})")
    for y in flat:
        if not isinstance(y, Tensor):
            raise RuntimeError(f"{call}: expected f(*primals) to return only tensors, got unsupported type {type(y)}")


def _check_floats(flat: list) -> None:
    for y in flat:
        if not y.is_floating_point():
            raise RuntimeError(
                f"vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype {y.dtype}"
            )


def released(tree: Any, recorded: bool) -> Any:
    """A tree of tensors as those outside of the transform see them."""

    def one(x: Any) -> Any:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"Expected tensors, got unsupported type {type(x)}")
        return _released(x, recorded)

    return tree_map(one, tree)

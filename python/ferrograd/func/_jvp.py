"""Forward mode as a transform of functions: `jvp`, `linearize`."""

from collections.abc import Callable
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor, _close, _enter_transform, _exit_transform, _fresh, _released, _transform_grad
from ..utils._pytree import TreeSpec, tree_flatten, tree_map
from ._grad import Argnums, check_outputs, pair, replaced, sliced

_CALL = "jvp(f, primals, tangents)"


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """The value of `func(*primals)`, and the Jacobian multiplied with `tangents`, which are tensors like `primals`: how
    the value changes as the arguments move along them.

    With `strict`, a result that does not depend on the arguments is an error, else its tangent is zero. With `has_aux`,
    `func` returns a pair, of which the second part is handed on as a third result.

    Raises RuntimeError for tangents not like the primals, for a result that is no tensor, and where `primals` is no tuple.

    >>> import ferrograd
    >>> jvp(lambda x: x ** 2, (ferrograd.tensor([1.0, 2.0]),), (ferrograd.tensor([1.0, 10.0]),))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    return _jvp(func, primals, tangents, None, strict, has_aux)


def _jvp(func: Callable, primals: tuple, tangents: Any, argnums: Argnums | None, strict: bool, has_aux: bool) -> tuple:
    """As `jvp`, by some of the arguments only."""
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{_CALL}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    chosen = primals if argnums is None else sliced(primals, argnums)
    flat, spec = tree_flatten(chosen)
    given, given_spec = tree_flatten(tangents)
    if spec != given_spec:
        raise RuntimeError(
            f"{_CALL}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            f"tuple of 3 tensors, tangents also must be. Got primals with structure {spec} and tangents with structure "
            f"{given_spec}"
        )
    _check_tensors(flat, "primals")
    _check_tensors(given, "tangents")
    given = _ferrograd._counted(given)
    level = _ferrograd._enter_dual_level()
    # Also within code whose tangents are not those of anybody around.
    enabled = _ferrograd._set_fwd_grad_enabled(True)
    _ferrograd._guard((primals, tangents))
    try:
        duals = [_ferrograd._make_dual(p, t, level) for p, t in zip(flat, given)]
        found = func(*replaced(primals, spec.unflatten(duals), argnums))
        aux = None
        if has_aux:
            found, aux = pair(found, f"{_CALL}: output of function f")
            aux = tree_map(lambda x: _primal(x, level), aux)
        results, out_spec = tree_flatten(found)
        check_outputs(results, _CALL)
        parts = [_unpacked(y, level, strict) for y in results]
    finally:
        _ferrograd._unguard()
        _ferrograd._exit_dual_level(level)
        _ferrograd._set_fwd_grad_enabled(enabled)
    value, tangent = (out_spec.unflatten(part) for part in zip(*parts))
    return (value, tangent, aux) if has_aux else (value, tangent)


def _check_tensors(flat: list, what: str) -> None:
    if not flat:
        raise RuntimeError(f"{_CALL}: Expected {what} to contain at least one Tensor.")
    for x in flat:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{_CALL}: Expected {what} to only contain Tensors, got {type(x)}")


def _primal(x: Any, level: int) -> Tensor:
    if not isinstance(x, Tensor):
        raise RuntimeError(f"Expected tensors, got unsupported type {type(x)}")
    return _ferrograd._unpack_dual(x, level)[0]


def _unpacked(y: Tensor, level: int, strict: bool) -> tuple[Tensor, Tensor]:
    """A result and its tangent, which is zero where the result does not depend on the arguments."""
    primal, tangent = _ferrograd._unpack_dual(y, level)
    if tangent is not None:
        tangent = _released(tangent, _ferrograd.is_grad_enabled())
    else:
        if strict:
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not "
                "allowed with strict=True."
            )
        tangent = _ferrograd.zeros_like(primal)
    return primal, tangent


def linearize(func: Callable, *primals: Any) -> tuple:
    """The value of `func(*primals)`, and a function that multiplies tangents like `primals` with the Jacobian there.

    `func` runs once; the linear function can be called for many tangents.

    Raises RuntimeError for a result that is no tensor; the function that it gives for tangents not like the primals.

    >>> import ferrograd
    >>> value, push = linearize(lambda x: x ** 2, ferrograd.tensor([1.0, 2.0]))
    >>> push(ferrograd.tensor([1.0, 10.0]))
    tensor([ 2., 40.])
    """
    flat, spec = tree_flatten(primals)
    recorded = _enter_transform(primals)
    try:
        leaves = _fresh(flat)
        results, out_spec = tree_flatten(func(*spec.unflatten(leaves)))
        check_outputs(results, "linearize(f, *primals)")
        outputs = [y for y in results if y.is_floating_point()]
        # J^T u is linear in u, so its derivative by u is J^T whatever u is, and pulling a tangent through it gives J t.
        seeds = _fresh([_ferrograd.zeros_like(y) for y in outputs])
        gradients = _transform_grad(outputs, leaves, seeds, True, True)
        _close(leaves)
        _close(seeds)
        value = out_spec.unflatten([_released(y, recorded) for y in results])
    finally:
        _exit_transform(recorded)

    def push(*tangents: Any) -> Any:
        given, given_spec = tree_flatten(tangents)
        _check_tangents(given, given_spec, flat, spec)
        found = iter(_transform_grad(gradients, seeds, given, _ferrograd.is_grad_enabled(), True))
        return out_spec.unflatten(next(found) if y.is_floating_point() else _ferrograd.zeros_like(y) for y in results)

    return value, push


def _check_tangents(given: list, given_spec: TreeSpec, flat: list, spec: TreeSpec) -> None:
    if given_spec != spec:
        raise RuntimeError(f"Expected the tangents {given_spec} to have the same argspec as the primals {spec}")
    for n, (t, p) in enumerate(zip(given, flat)):
        for what in ("shape", "dtype"):
            if getattr(t, what) != getattr(p, what):
                raise RuntimeError(
                    f"tangent:{n} with {what} {getattr(t, what)} in flattened pytree doesn't match the {what} "
                    f"{getattr(p, what)} of the corresponding primal."
                )

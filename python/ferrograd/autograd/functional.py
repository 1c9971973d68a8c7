"""Products with Jacobians and Hessians, and whole ones, at given inputs.

`inputs` are a tensor or a tuple of tensors, and results are tensors or tuples accordingly. With `create_graph` what is
returned can be differentiated further. With `strict`, a result that does not depend on an input is an error instead of
zero. The transforms of `func` compute the same from functions to functions.
"""

from collections.abc import Callable
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor
from .grad_mode import enable_grad

Tensors = Tensor | tuple[Tensor, ...]

_OUTPUTS = "outputs of the user-provided function"


def vjp(
    func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple:
    """The value of `func`, and `v` multiplied with its Jacobian: `v^T J`, like the inputs. `v` is like the value; it may
    be left out for a value of one element.

    Raises RuntimeError where `v` is missing or not like the value.

    >>> import ferrograd
    >>> vjp(lambda x: x ** 2, ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    with enable_grad():
        inputs_tuple, xs = _as_tuple(inputs, "inputs", "vjp")
        xs = _prepared(xs, create_graph)
        outputs_tuple, ys = _as_tuple(func(*xs), _OUTPUTS, "vjp")
        _check_outputs(ys, strict)
        if v is None and (len(ys) != 1 or ys[0].numel() != 1):
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single Tensor with a single "
                "element."
            )
        vs = _vectors(v, ys, outputs_tuple, "vjp", create_graph)
    found = _pulled(ys, xs, vs, create_graph)
    found = _filled(found, xs, strict, create_graph, "The output", "The jacobian", "input {}")
    return _result(ys, outputs_tuple, create_graph), _result(found, inputs_tuple, create_graph)


def jvp(
    func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple:
    """The value of `func`, and its Jacobian multiplied with `v`: `J v`, like the value. `v` is like the inputs; it may be
    left out for an input of one element.

    `J^T u` is linear in `u`, so that its derivative by `u` gives `J v` by two reverse passes; `func.jvp` needs none.

    Raises RuntimeError where `v` is missing or not like the inputs.

    >>> import ferrograd
    >>> jvp(lambda x: x ** 2, ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    with enable_grad():
        inputs_tuple, xs = _as_tuple(inputs, "inputs", "jvp")
        xs = _prepared(xs, create_graph)
        vs = _input_vectors(v, xs, inputs_tuple, "jvp", create_graph)
        outputs_tuple, ys = _as_tuple(func(*xs), _OUTPUTS, "jvp")
        _check_outputs(ys, strict)
        us = _seeds(ys)
        pulled = _pulled(ys, xs, us, True)
        _check_gradients(pulled, strict)
    found = _pulled(pulled, us, vs, create_graph)
    what = "The gradient with respect to the input", "The jacobian", "entry {} in the grad_outputs"
    found = _filled(found, ys, strict, create_graph, *what)
    return _result(ys, outputs_tuple, create_graph), _result(found, outputs_tuple, create_graph)


def vhp(
    func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple:
    """The value of `func`, which is one element, and `v` multiplied with its Hessian: `v^T H`, like the inputs.

    Raises RuntimeError for a result of more than one element, and where `v` is missing or not like the inputs.

    >>> import ferrograd
    >>> vhp(lambda x: (x ** 3).sum(), ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 10.0]))
    (tensor(9.), tensor([  6., 120.]))
    """
    xs, vs, ys, gradients, inputs_tuple = _gradient(func, inputs, v, create_graph, strict, "vhp")
    found = _pulled(gradients, xs, vs, create_graph)
    found = _filled(found, xs, strict, create_graph, "The jacobian", "The hessian", "input {}")
    return _result(ys, False, create_graph), _result(found, inputs_tuple, create_graph)


def hvp(
    func: Callable, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False, strict: bool = False
) -> tuple:
    """The value of `func`, which is one element, and its Hessian multiplied with `v`: `H v`, like the inputs. Where the
    second derivatives are continuous, `vhp` gives the same by one pass less.

    Raises RuntimeError for a result of more than one element, and where `v` is missing or not like the inputs.

    >>> import ferrograd
    >>> hvp(lambda x: (x ** 3).sum(), ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 10.0]))
    (tensor(9.), tensor([  6., 120.]))
    """
    xs, vs, ys, gradients, inputs_tuple = _gradient(func, inputs, v, create_graph, strict, "hvp")
    with enable_grad():
        us = _seeds(xs)
        pulled = _pulled(gradients, xs, us, True)
    found = _pulled(pulled, us, vs, create_graph)
    found = _filled(found, xs, strict, create_graph, "The hessian", "The hessian", "entry {} in the grad_jacobian")
    return _result(ys, False, create_graph), _result(found, inputs_tuple, create_graph)


def jacobian(
    func: Callable,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of `func`: for an output of shape `S` and an input of shape `T` a tensor of shape `S + T`; for several
    outputs or inputs tuples of them, those of outputs outside.

    The rows are computed together, some at a time; one after another where functions or hooks of Python are on the way,
    unless `vectorize`. With `strategy="forward-mode"`, which needs `vectorize`, columns take the place of rows.

    Raises TypeError for inputs and results of `func` that are no tensors, RuntimeError with `strict` for a result that does
    not depend on an input, NotImplementedError for "forward-mode" without `vectorize`.

    >>> import ferrograd
    >>> jacobian(lambda x: x ** 2, ferrograd.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph, strict, vectorize)
    with enable_grad():
        inputs_tuple, xs = _as_tuple(inputs, "inputs", "jacobian")
        xs = _prepared(xs, create_graph)
        outputs_tuple, ys = _as_tuple(func(*xs), _OUTPUTS, "jacobian")
        _check_outputs(ys, strict)
        if vectorize and strict:
            raise RuntimeError(
                "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
                "Please either set `strict=False` or `vectorize=False`."
            )
        found = [_jacobian_of(n, y, xs, create_graph, strict, vectorize) for n, y in enumerate(ys)]
    rows = [_result(row, inputs_tuple, create_graph) for row in found]
    return tuple(rows) if outputs_tuple else rows[0]


def hessian(
    func: Callable,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of `func`, which returns one element: for an input of shape `T` a tensor of shape `T + T`, for several
    inputs a tuple of tuples of them. It is the Jacobian of the gradient, by the strategy that is named.

    Raises TypeError for inputs that are no tensors, RuntimeError for a result of more than one element.

    >>> import ferrograd
    >>> hessian(lambda x: (x ** 3).sum(), ferrograd.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    inputs_tuple, given = _as_tuple(inputs, "inputs", "hessian")

    def gradient(*xs: Tensor) -> tuple[Tensor, ...]:
        with enable_grad():
            leaves = tuple(_ferrograd._fresh(list(xs)))
            y = _one_element(func(*leaves), "hessian", strict)
            found = _pulled((y,), leaves, None, True)
            for n, g in enumerate(found):
                if strict and (g is None or not g.requires_grad):
                    raise _independent_gradient(n, g)
        return tuple(_ferrograd.zeros_like(x) if g is None else g for x, g in zip(leaves, found))

    found = jacobian(gradient, given, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if inputs_tuple else found[0][0]


def _as_tuple(value: Any, what: str | None = None, function: str | None = None) -> Any:
    """Whether a value is a tuple, and the tensors in it, or the one that it is; without names for errors, which torch leaves out
    too, only a tuple of any value or list."""
    if what is None and function is None:
        return tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if isinstance(value, Tensor):
        return False, (value,)
    if not isinstance(value, tuple):
        raise TypeError(
            f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the given {what} has "
            f"type {type(value)}."
        )
    for n, t in enumerate(value):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the value at index "
                f"{n} has type {type(t)}."
            )
    return True, value


def _prepared(xs: tuple, create_graph: bool) -> tuple:
    """Tensors to differentiate by, other ones than those given: the function may use those as well."""
    return tuple(_ferrograd._fresh([x if create_graph else x.detach() for x in xs]))


def _result(ts: Any, is_tuple: bool, create_graph: bool) -> Any:
    ts = tuple(ts) if create_graph else tuple(t.detach() for t in ts)
    return ts if is_tuple else ts[0]


def _seeds(ts: tuple) -> tuple:
    return tuple(_ferrograd._fresh([_ferrograd.zeros_like(t) for t in ts]))


def _vectors(v: Any, like: tuple, is_tuple: bool, function: str, create_graph: bool) -> tuple | None:
    """The vector of a product, checked to be like some tensors."""
    if v is None:
        return None
    _, vs = _as_tuple(v, "v", function)
    if len(vs) != len(like):
        if is_tuple:
            raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(vs)}.")
        raise RuntimeError("The given v should contain a single Tensor.")
    for n, (a, b) in enumerate(zip(vs, like)):
        if a.shape != b.shape:
            entry = f"Entry {n} in " if is_tuple else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {b.shape} but got {a.shape}.")
    return tuple(t if create_graph else t.detach() for t in vs)


def _input_vectors(v: Any, xs: tuple, is_tuple: bool, function: str, create_graph: bool) -> tuple | None:
    if v is None and (len(xs) != 1 or xs[0].numel() != 1):
        raise RuntimeError(
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a single "
            "element."
        )
    return _vectors(v, xs, is_tuple, function, create_graph)


def _pulled(ys: tuple, xs: tuple, vs: tuple | None, create_graph: bool) -> tuple:
    """`v^T J` for each input, None for those that no output depends on."""
    pairs = [(y, v) for y, v in zip(ys, vs or (None,) * len(ys)) if y is not None and y.requires_grad]
    if not pairs:
        return (None,) * len(xs)
    outputs, gradients = zip(*pairs)
    # Not by `grad`, whose checks take as long as the pass over a small graph.
    return tuple(_ferrograd._grad(outputs, xs, gradients, create_graph, create_graph, True, False))


def _filled(
    found: tuple, like: tuple, strict: bool, create_graph: bool, what: str, differentiated: str, entry: str
) -> list[Tensor]:
    """Products with zeros in place of those that are not there, which `strict` refuses."""
    for n, g in enumerate(found):
        if strict and g is None:
            of = "" if what == "The gradient with respect to the input" else " of the user-provided function"
            raise RuntimeError(
                f"{what}{of} is independent of {entry.format(n)}. This is not allowed in strict mode."
            )
        if strict and create_graph and not g.requires_grad:
            raise RuntimeError(
                f"{differentiated} of the user-provided function is independent of input {n}. This is not allowed in "
                f"strict mode when create_graph=True."
            )
    return [_ferrograd.zeros_like(x) if g is None else g for g, x in zip(found, like)]


def _check_outputs(ys: tuple, strict: bool) -> None:
    for n, y in enumerate(ys):
        if strict and not y.requires_grad:
            raise RuntimeError(
                f"Output {n} of the user-provided function does not require gradients. The outputs must be computed in "
                f"a differentiable manner from the input when running in strict mode."
            )


def _check_gradients(gradients: tuple, strict: bool) -> None:
    for n, g in enumerate(gradients):
        if strict and g is None:
            raise _independent(n)
        if strict and not g.requires_grad:
            raise RuntimeError(
                f"The gradient with respect to input {n} is independent of the inputs of the user-provided function. "
                f"This is not allowed in strict mode."
            )


def _independent(n: int) -> RuntimeError:
    return RuntimeError(
        f"The output of the user-provided function is independent of input {n}. This is not allowed in strict mode."
    )


def _independent_gradient(n: int, g: Tensor | None) -> RuntimeError:
    if g is None:
        return _independent(n)
    return RuntimeError(
        f"While computing the hessian, found that the jacobian of the user-provided function with respect to input {n} "
        f"is independent of the input. This is not allowed in strict mode. You should ensure that your function is "
        f"twice differentiable and that the jacobian depends on the inputs (this would be violated by a linear function "
        f"for example)."
    )


def _one_element(y: Any, function: str, strict: bool) -> Tensor:
    is_tuple, ys = _as_tuple(y, _OUTPUTS, function)
    _check_outputs(ys, strict)
    if is_tuple:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if ys[0].numel() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {function} should contain a single element")
    return ys[0]


def _gradient(func: Callable, inputs: Any, v: Any, create_graph: bool, strict: bool, function: str) -> tuple:
    """What products with a Hessian start from: the inputs, the vector, the value, and its gradient with a history."""
    with enable_grad():
        inputs_tuple, xs = _as_tuple(inputs, "inputs", function)
        xs = _prepared(xs, create_graph)
        vs = _input_vectors(v, xs, inputs_tuple, function, create_graph)
        y = _one_element(func(*xs), function, strict)
        gradients = _pulled((y,), xs, None, True)
        for n, g in enumerate(gradients):
            if strict and (g is None or not g.requires_grad):
                raise _independent_gradient(n, g)
    return xs, vs, (y,), gradients, inputs_tuple


#: Elements that the gradients of the rows computed together may take in one node of the graph.
_TOGETHER = 1 << 22


def _jacobian_of(n: int, y: Tensor, xs: tuple, create_graph: bool, strict: bool, vectorize: bool) -> list[Tensor]:
    """The Jacobian of one output."""
    shapes = [(*y.shape, *x.shape) for x in xs]
    count = y.numel()
    if not y.requires_grad or count == 0:
        return [_ferrograd.zeros(shape, dtype=x.dtype) for shape, x in zip(shapes, xs)]
    largest, calls_python = _ferrograd._graph_info(y)
    together = count if vectorize else 1 if calls_python else max(1, min(count, _TOGETHER // max(largest, 1)))
    parts = [_some_rows(y, xs, start, min(together, count - start), create_graph) for start in range(0, count, together)]
    rows = []
    for x, row, shape in zip(xs, zip(*parts), shapes):
        m = len(rows)
        if row[0] is None:
            if strict:
                raise RuntimeError(
                    f"Output {n} of the user-provided function is independent of input {m}. This is not allowed in "
                    f"strict mode."
                )
            rows.append(_ferrograd.zeros(shape, dtype=x.dtype))
            continue
        if strict and create_graph and not row[0].requires_grad:
            raise RuntimeError(
                f"The jacobian of the user-provided function is independent of input {n}. This is not allowed in strict "
                f"mode when create_graph=True."
            )
        rows.append((row[0] if len(row) == 1 else _ferrograd.cat(row)).reshape(shape))
    return rows


def _some_rows(y: Tensor, xs: tuple, start: int, size: int, create_graph: bool) -> list[Tensor | None]:
    """Rows of a Jacobian from number `start` on."""
    count = y.numel()
    if count == 1:
        found = _ferrograd._grad([y], xs, [_ferrograd.ones_like(y)], True, create_graph, True, False)
        return [None if g is None else g.unsqueeze(0) for g in found]
    units = _ferrograd.eye(count, dtype=y.dtype)
    if size < count:
        units = units.narrow(0, start, size)
    units = units.reshape((size, *y.shape))
    if size == 1:
        found = _ferrograd._grad([y], xs, [units.squeeze(0)], True, create_graph, True, False)
        return [None if g is None else g.unsqueeze(0) for g in found]
    level = _ferrograd._vmap_enter(size, "same")
    try:
        found = _ferrograd._grad([y], xs, [_ferrograd._add_batch_dim(units, 0, level)], True, create_graph, True, False)
        return [None if g is None else _ferrograd._remove_batch_dim(g, level, size, 0) for g in found]
    finally:
        _ferrograd._vmap_exit()


def _forward_jacobian(func: Callable, inputs: Tensors, create_graph: bool, strict: bool, vectorize: bool) -> Any:
    for asked, name in ((create_graph, "create_graph"), (strict, "strict")):
        if asked:
            error = NotImplementedError if name == "create_graph" else RuntimeError
            raise error(
                f'torch.autograd.functional.jacobian: `{name}=True` and `strategy="forward-mode"` are not supported '
                f'together (yet). Please either set `{name}=False` or `strategy="reverse-mode"`.'
            )
    inputs_tuple, xs = _as_tuple(inputs, "inputs", "jacobian")
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for "
            "`vectorize=True`."
        )
    from ..func import jacfwd

    def checked(*args: Tensor) -> Any:
        y = func(*args)
        _as_tuple(y, _OUTPUTS, "jacobian")
        return y

    found = jacfwd(checked, tuple(range(len(xs))))(*xs)
    if inputs_tuple:
        return found
    # Of one input: without its tuple around it.
    return tuple(row[0] for row in found) if isinstance(found[0], tuple) else found[0]


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

"""Products with Jacobians and Hessians, and whole ones, at given inputs.

`inputs` are a tensor or a tuple of tensors, and results are tensors or tuples accordingly. With `create_graph` what is
returned can be differentiated further. With `strict`, a result that does not depend on an input is an error instead of
zero. The transforms of `func` compute the same from functions to functions.
"""

from collections.abc import Callable
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor
from ._grad import _batched_grad
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
        xs = _grad_preprocess(xs, create_graph, True)
        outputs_tuple, ys = _as_tuple(func(*xs), _OUTPUTS, "vjp")
        _check_requires_grad(ys, "outputs", strict)
        if v is None and (len(ys) != 1 or ys[0].numel() != 1):
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single Tensor with a single "
                "element."
            )
        vs = _vectors(v, ys, outputs_tuple, "vjp", create_graph)
    found = _autograd_grad(ys, xs, vs, create_graph)
    found = _fill_in_zeros(found, xs, strict, create_graph, "back")
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
        xs = _grad_preprocess(xs, create_graph, True)
        vs = _input_vectors(v, xs, inputs_tuple, "jvp", create_graph)
        outputs_tuple, ys = _as_tuple(func(*xs), _OUTPUTS, "jvp")
        _check_requires_grad(ys, "outputs", strict)
        us = _seeds(ys)
        pulled = _autograd_grad(ys, xs, us, True)
        _check_requires_grad(pulled, "grad_inputs", strict)
    found = _autograd_grad(pulled, us, vs, create_graph)
    found = _fill_in_zeros(found, ys, strict, create_graph, "back_trick")
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
    found = _autograd_grad(gradients, xs, vs, create_graph)
    found = _fill_in_zeros(found, xs, strict, create_graph, "double_back")
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
        pulled = _autograd_grad(gradients, xs, us, True)
    found = _autograd_grad(pulled, us, vs, create_graph)
    found = _fill_in_zeros(found, xs, strict, create_graph, "double_back_trick")
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
        xs = _grad_preprocess(xs, create_graph, True)
        outputs_tuple, ys = _as_tuple(func(*xs), _OUTPUTS, "jacobian")
        _check_requires_grad(ys, "outputs", strict)
        if vectorize and strict:
            raise RuntimeError(
                "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
                "Please either set `strict=False` or `vectorize=False`."
            )
        found = [_jacobian_of(n, y, xs, create_graph, strict, vectorize) for n, y in enumerate(ys)]
    return _tuple_postprocess(_grad_postprocess(found, create_graph), (outputs_tuple, inputs_tuple))


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
            found = _autograd_grad((y,), leaves, None, True)
            gradients = tuple(_ferrograd.zeros_like(x) if g is None else g for x, g in zip(leaves, found))
            _check_requires_grad(gradients, "jacobian", strict)
        return gradients

    found = jacobian(gradient, given, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if inputs_tuple else found[0][0]


def _as_tuple_nocheck(x: Any) -> tuple:
    """A tuple of any value, or of what a list or tuple has."""
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _as_tuple(inp: Any, arg_name: str | None = None, fn_name: str | None = None) -> Any:
    """Whether a value is a tuple, and the tensors in it, or the one that it is; without names for errors, which torch leaves out
    too, only a tuple of any value or list."""
    if arg_name is None and fn_name is None:
        return _as_tuple_nocheck(inp)
    if isinstance(inp, Tensor):
        return False, (inp,)
    what = f"The {arg_name} given to {fn_name} must be either a Tensor or a tuple of Tensors but the"
    if not isinstance(inp, tuple):
        raise TypeError(f"{what} given {arg_name} has type {type(inp)}.")
    for n, t in enumerate(inp):
        if not isinstance(t, Tensor):
            raise TypeError(f"{what} value at index {n} has type {type(t)}.")
    return True, inp


def _tuple_postprocess(res: Any, to_unpack: bool | tuple[bool, bool]) -> Any:
    """What `_as_tuple` found to be tuples as tuples, the rest without: of results, or of results and what is in each of them."""
    if not isinstance(to_unpack, tuple):
        return res if to_unpack else res[0]
    outer, inner = to_unpack
    return _tuple_postprocess(res if inner else tuple(row[0] for row in res), outer)


def _grad_preprocess(inputs: tuple, create_graph: bool, need_graph: bool) -> tuple:
    """Other tensors than those given, which a function may use as well: to differentiate by where `need_graph`, with the
    history of those given where `create_graph`."""
    if need_graph:
        return tuple(_ferrograd._fresh([x if create_graph else x.detach() for x in inputs]))
    return tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach() for x in inputs)


def _grad_postprocess(inputs: Any, create_graph: bool) -> tuple:
    """Tensors, or tuples of them, without the history that was not asked for."""
    if create_graph:
        return tuple(inputs)
    return tuple(x.detach() if isinstance(x, Tensor) else _grad_postprocess(x, False) for x in inputs)


def _result(ts: Any, is_tuple: bool, create_graph: bool) -> Any:
    return _tuple_postprocess(_grad_postprocess(ts, create_graph), is_tuple)


def _seeds(ts: tuple) -> tuple:
    return tuple(_ferrograd._fresh([_ferrograd.zeros_like(t) for t in ts]))


def _validate_v(v: tuple, other: tuple, is_other_tuple: bool) -> None:
    """Vectors must be like the tensors that they are multiplied with."""
    if len(v) != len(other):
        if is_other_tuple:
            raise RuntimeError(f"v is a tuple of invalid length: should be {len(other)} but got {len(v)}.")
        raise RuntimeError("The given v should contain a single Tensor.")
    for n, (a, b) in enumerate(zip(v, other)):
        if a.shape != b.shape:
            entry = f"Entry {n} in " if is_other_tuple else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {b.shape} but got {a.shape}.")


def _vectors(v: Any, like: tuple, is_tuple: bool, function: str, create_graph: bool) -> tuple | None:
    """The vector of a product, checked to be like some tensors."""
    if v is None:
        return None
    _, vs = _as_tuple(v, "v", function)
    _validate_v(vs, like, is_tuple)
    return _grad_preprocess(vs, create_graph, False)


def _input_vectors(v: Any, xs: tuple, is_tuple: bool, function: str, create_graph: bool) -> tuple | None:
    if v is None and (len(xs) != 1 or xs[0].numel() != 1):
        raise RuntimeError(
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a single "
            "element."
        )
    return _vectors(v, xs, is_tuple, function, create_graph)


def _autograd_grad(
    outputs: tuple,
    inputs: tuple,
    grad_outputs: tuple | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    is_grads_batched: bool = False,
) -> tuple:
    """`autograd.grad` of those outputs that have a history; None for inputs that no output depends on."""
    given = (None,) * len(outputs) if grad_outputs is None else grad_outputs
    pairs = [(y, v) for y, v in zip(outputs, given, strict=True) if y is not None and y.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    # Not by `grad`, whose checks take as long as the pass over a small graph.
    run = _batched_grad if is_grads_batched else _ferrograd._grad
    retain = create_graph if retain_graph is None else retain_graph
    ys, vs = zip(*pairs)
    return tuple(run(list(ys), list(inputs), list(vs), retain, create_graph, True, False))


_NOT_STRICT = "This is not allowed in strict mode"

#: By what a product is computed: the error for a result that there is not, and what depends on no input where it has no history.
_STAGES = {
    "back": ("The output of the user-provided function is independent of input {}.", "jacobian"),
    "back_trick": (
        "The gradient with respect to the input is independent of entry {} in the grad_outputs when using the double "
        "backward trick to compute forward mode gradients.",
        "jacobian",
    ),
    "double_back": ("The jacobian of the user-provided function is independent of input {}.", "hessian"),
    "double_back_trick": (
        "The hessian of the user-provided function is independent of entry {} in the grad_jacobian.",
        "hessian",
    ),
}


def _fill_in_zeros(grads: tuple, refs: tuple, strict: bool, create_graph: bool, stage: str) -> tuple:
    """Products with zeros in place of those that are not there, which `strict` refuses."""
    if stage not in _STAGES:
        raise RuntimeError(f"Invalid stage argument '{stage}' to _fill_in_zeros")
    missing, differentiated = _STAGES[stage]
    for n, g in enumerate(grads):
        if strict and g is None:
            raise RuntimeError(f"{missing.format(n)} {_NOT_STRICT}.")
        if strict and create_graph and not g.requires_grad:
            raise RuntimeError(
                f"The {differentiated} of the user-provided function is independent of input {n}. {_NOT_STRICT} when "
                f"create_graph=True."
            )
    return tuple(_ferrograd.zeros_like(x) if g is None else g for g, x in zip(grads, refs))


#: By what tensors are: the error for one without a history.
_WITHOUT_HISTORY = {
    "outputs": (
        "Output {} of the user-provided function does not require gradients. The outputs must be computed in a "
        "differentiable manner from the input when running in strict mode."
    ),
    "grad_inputs": (
        "The gradient with respect to input {} is independent of the inputs of the user-provided function. "
        f"{_NOT_STRICT}."
    ),
    "jacobian": (
        "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is "
        f"independent of the input. {_NOT_STRICT}. You should ensure that your function is twice differentiable and that the "
        "jacobian depends on the inputs (this would be violated by a linear function for example)."
    ),
    "hessian": (
        f"The hessian of the user-provided function with respect to input {{}} is independent of the input. {_NOT_STRICT}. You "
        "should ensure that your function is thrice differentiable and that the hessian depends on the inputs."
    ),
}


def _check_requires_grad(inputs: tuple, input_type: str, strict: bool) -> None:
    """With `strict`, all of these must be there and have a history."""
    if not strict:
        return
    if input_type not in _WITHOUT_HISTORY:
        raise RuntimeError("Invalid input_type to _check_requires_grad")
    for n, x in enumerate(inputs):
        if x is None or not x.requires_grad:
            raise RuntimeError((f"{_STAGES['back'][0]} {_NOT_STRICT}." if x is None else _WITHOUT_HISTORY[input_type]).format(n))


def _one_element(y: Any, function: str, strict: bool) -> Tensor:
    is_tuple, ys = _as_tuple(y, _OUTPUTS, function)
    _check_requires_grad(ys, "outputs", strict)
    if is_tuple:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if ys[0].numel() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {function} should contain a single element")
    return ys[0]


def _gradient(func: Callable, inputs: Any, v: Any, create_graph: bool, strict: bool, function: str) -> tuple:
    """What products with a Hessian start from: the inputs, the vector, the value, and its gradient with a history."""
    with enable_grad():
        inputs_tuple, xs = _as_tuple(inputs, "inputs", function)
        xs = _grad_preprocess(xs, create_graph, True)
        vs = _input_vectors(v, xs, inputs_tuple, function, create_graph)
        y = _one_element(func(*xs), function, strict)
        gradients = _autograd_grad((y,), xs, None, True)
        _check_requires_grad(gradients, "jacobian", strict)
    return xs, vs, (y,), gradients, inputs_tuple


#: Elements that the gradients of the rows computed together may take in one node of the graph.
_TOGETHER = 1 << 22


def _jacobian_of(n: int, y: Tensor, xs: tuple, create_graph: bool, strict: bool, vectorize: bool) -> tuple[Tensor, ...]:
    """The Jacobian of one output."""
    shapes = [(*y.shape, *x.shape) for x in xs]
    count = y.numel()
    if not y.requires_grad or count == 0:
        return tuple(_ferrograd.zeros(shape, dtype=x.dtype) for shape, x in zip(shapes, xs))
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
    return tuple(rows)


def _some_rows(y: Tensor, xs: tuple, start: int, size: int, create_graph: bool) -> list[Tensor | None]:
    """Rows of a Jacobian from number `start` on."""
    count = y.numel()
    if count == 1:
        found = _ferrograd._grad([y], xs, [_ferrograd.ones_like(y)], True, create_graph, True, False)
        return [None if g is None else g.unsqueeze(0) for g in found]
    (units,) = _construct_standard_basis_for((y,), (count,))
    if size < count:
        units = units.narrow(0, start, size)
    units = units.reshape((size, *y.shape))
    if size == 1:
        found = _ferrograd._grad([y], xs, [units.squeeze(0)], True, create_graph, True, False)
        return [None if g is None else g.unsqueeze(0) for g in found]
    return list(_autograd_grad((y,), xs, (units,), create_graph, True, is_grads_batched=True))


def _construct_standard_basis_for(tensors: tuple, tensor_numels: tuple[int, ...]) -> tuple[Tensor, ...]:
    """For tensors of `n` elements in all, `n` rows for each of them: row `i` of all is 1 at the element number `i`, else 0."""
    assert len(tensors) == len(tensor_numels) > 0, "Expected tensors and as many numbers of elements"
    total = sum(tensor_numels)
    parts = tuple(t.new_zeros((total, count)) for t, count in zip(tensors, tensor_numels))
    start = 0
    for part, count in zip(parts, tensor_numels):
        part.diagonal(-start).fill_(1)
        start += count
    return parts


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

"""The backward pass as two functions: `backward` accumulates gradients, `grad` returns them."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, overload

from .. import _ferrograd
from .._ferrograd import Tensor
from .graph import GradientEdge

_Places = Tensor | GradientEdge | Sequence[Tensor] | Sequence[GradientEdge]
_Gradients = Tensor | Sequence[Tensor | None] | None


def _tuple(value: Any) -> tuple:
    return (value,) if isinstance(value, (Tensor, GradientEdge)) or value is None else tuple(value)


def _gradients(value: _Gradients, count: int) -> list:
    gradients = [None] * count if value is None else list(_tuple(value))
    if len(gradients) != count:
        raise RuntimeError(f"got {count} tensors and {len(gradients)} gradients")
    return gradients


def backward(
    tensors: _Places,
    grad_tensors: _Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: _Gradients = None,
    inputs: _Places | dict[str, Tensor] | None = None,
) -> None:
    """Accumulate the gradients of `tensors` into the leaves of their graphs, or into `inputs`.

    `grad_tensors` are the gradients to start from; tensors of one element start from 1. The graph is freed on the way
    unless `retain_graph`; with `create_graph` it stays, and the gradients have a history of their own.

    Raises RuntimeError for tensors without a history, for more than one element without a gradient to start from, and where the
    graph was freed before.

    >>> import ferrograd
    >>> x = ferrograd.tensor([3.0], requires_grad=True)
    >>> backward([x * 2, x * 5])
    >>> x.grad
    tensor([7.])
    """
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only "
                "use `grad_tensors`."
            )
        grad_tensors = grad_variables
    outputs = list(_tuple(tensors))
    gradients = _gradients(grad_tensors, len(outputs))
    retain = create_graph if retain_graph is None else retain_graph
    _ferrograd._backward(outputs, gradients, retain, create_graph, inputs)


@overload
def grad(
    outputs: _Places,
    inputs: dict[str, Tensor],
    grad_outputs: _Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> dict[str, Tensor]: ...


@overload
def grad(
    outputs: _Places,
    inputs: _Places,
    grad_outputs: _Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]: ...


def grad(
    outputs: _Places,
    inputs: _Places | dict[str, Tensor],
    grad_outputs: _Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`: a tuple, or a dict where `inputs`
    is one.

    `grad_outputs` are the gradients to start from; outputs of one element start from 1. With `is_grads_batched` their
    first dimension is a batch, and so is that of the gradients: one pass for all of them. With `create_graph` the
    gradients have a history of their own, for derivatives of derivatives. Inputs that the outputs do not depend on are
    an error, unless `allow_unused` (they give None) or `materialize_grads` (zeros).

    Raises RuntimeError for outputs without a history, for more than one element without a gradient to start from, where the
    graph was freed before, and for inputs that outputs do not depend on, unless `allow_unused`.

    >>> import ferrograd
    >>> x = ferrograd.tensor([3.0], requires_grad=True)
    >>> grad(x ** 2, x)
    (tensor([6.]),)
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for other "
            "parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    roots = list(_tuple(outputs))
    named = inputs if isinstance(inputs, Mapping) else None
    ends = list(_tuple(inputs)) if named is None else _values(named)
    if not ends:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    gradients = _gradients(grad_outputs, len(roots))
    retain = create_graph if retain_graph is None else retain_graph
    options = retain, create_graph, allow_unused, materialize_grads
    run = _batched_grad if is_grads_batched else _ferrograd._grad
    found = run(roots, ends, gradients, *options)
    return tuple(found) if named is None else dict(zip(named, found))


def _values(named: Mapping) -> list:
    if type(named) is not dict:
        raise TypeError(
            f"`inputs` argument to `grad()` must be a dict, not {type(named).__name__}. Other Mapping types are not "
            f"supported."
        )
    return list(named.values())


def _batched_grad(outputs: list, inputs: list, gradients: list, *options: bool) -> list:
    """One pass for a batch of gradients: the first dimension of each is the batch."""
    if all(g is None for g in gradients) and any(isinstance(y, Tensor) and y.numel() != 1 for y in outputs):
        return _ferrograd._grad(outputs, inputs, gradients, *options)
    size = _batch_size(outputs, gradients)
    level = _ferrograd._vmap_enter(size, "unsupported")
    try:
        batched = [None if g is None else _ferrograd._add_batch_dim(g, 0, level) for g in gradients]
        found = _ferrograd._grad(outputs, inputs, batched, *options)
        return [None if g is None else _ferrograd._remove_batch_dim(g, level, size, 0) for g in found]
    finally:
        _ferrograd._vmap_exit()


def _batch_size(outputs: list, gradients: list) -> int:
    sizes = []
    for n, (output, g) in enumerate(zip(outputs, gradients)):
        if g is None:
            continue
        if isinstance(output, Tensor) and g.shape[1:] != output.shape:
            raise RuntimeError(
                f"If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch "
                f"dimension. The sizes of the remaining dimensions are expected to match the shape of corresponding "
                f"output, but a mismatch was detected: grad_output[{n}] has a shape of {g.shape[1:]} and output[{n}] "
                f"has a shape of {output.shape}. If you only want some tensors in `grad_output` to be considered "
                f"batched, consider using vmap."
            )
        sizes.append(len(g))
    return common_size(sizes)


def common_size(sizes: list[int]) -> int:
    """The one size that all tensors have in the dimension that is mapped."""
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            f"mapped dimension"
        )
    return sizes[0]

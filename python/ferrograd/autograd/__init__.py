"""Automatic differentiation: `backward`, `grad`, the modes, and checks of derivatives."""

from collections.abc import Sequence

from .. import _ferrograd
from .._ferrograd import Tensor
from . import anomaly_mode, forward_ad, function, grad_mode, graph
from .anomaly_mode import detect_anomaly, set_detect_anomaly
from .function import Function
from .grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled, set_multithreading_enabled
from .gradcheck import gradcheck, gradgradcheck

__all__ = [
    "Function",
    "anomaly_mode",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "function",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


def _tuple(value) -> tuple:
    return (value,) if isinstance(value, (Tensor, graph.GradientEdge)) or value is None else tuple(value)


def _gradients(value, count: int) -> list:
    gradients = [None] * count if value is None else list(_tuple(value))
    if len(gradients) != count:
        raise RuntimeError(f"got {count} tensors and {len(gradients)} gradients")
    return gradients


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Accumulate the gradients of `tensors` into the leaves of their graphs, or into `inputs`.

    `grad_tensors` are the gradients to start from; tensors of one element start from 1.

    >>> import ferrograd
    >>> x = ferrograd.tensor([3.0], requires_grad=True)
    >>> backward([x * 2, x * 5])
    >>> x.grad
    tensor([7.])
    """
    outputs = list(_tuple(tensors))
    _ferrograd._backward(
        outputs,
        _gradients(grad_tensors, len(outputs)),
        create_graph if retain_graph is None else retain_graph,
        create_graph,
        inputs,
    )


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    With `create_graph` the gradients have a history of their own, for derivatives of derivatives. Inputs that the
    outputs do not depend on are an error, unless `allow_unused` (they give None) or `materialize_grads` (zeros).

    >>> import ferrograd
    >>> x = ferrograd.tensor([3.0], requires_grad=True)
    >>> grad(x ** 2, x)
    (tensor([6.]),)
    """
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.")
    outputs, inputs = list(_tuple(outputs)), list(_tuple(inputs))
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    gradients = _gradients(grad_outputs, len(outputs))
    options = (create_graph if retain_graph is None else retain_graph, create_graph, bool(allow_unused), materialize_grads)
    if is_grads_batched:
        return _batched_grad(outputs, inputs, gradients, options)
    return tuple(_ferrograd._grad(outputs, inputs, gradients, *options))


def _batched_grad(outputs: list, inputs: list, gradients: list, options: tuple) -> tuple[Tensor | None, ...]:
    """One pass for a batch of gradients: the first dimension of each is the batch."""
    sizes = {len(g) for g in gradients if g is not None}
    if len(sizes) != 1:
        raise RuntimeError(f"grad: with is_grads_batched=True all grad_outputs need one first dimension, got {sorted(sizes)}")
    (size,) = sizes
    level = _ferrograd._vmap_enter(size, "same")
    try:
        batched = [None if g is None else _ferrograd._add_batch_dim(g, 0, level) for g in gradients]
        found = _ferrograd._grad(outputs, inputs, batched, *options)
        return tuple(None if g is None else _ferrograd._remove_batch_dim(g, level, size, 0) for g in found)
    finally:
        _ferrograd._vmap_exit()

"""Helpers that change what an object is."""

import weakref
from types import MemberDescriptorType
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor


def set_module(obj: Any, mod: str) -> None:
    """Set the module that the name of a class or function is shown with.

    Raises TypeError for what is no string.

    >>> class Layer:
    ...     pass
    >>> set_module(Layer, "layers")
    >>> Layer
    <class 'layers.Layer'>
    """
    if not isinstance(mod, str):
        raise TypeError("The mod argument should be a string")
    obj.__module__ = mod


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Swap what two tensors are, elements, place in the graph, class and attributes, while each stays the object that it is:
    whoever has `t1` has from then on what was `t2`.

    A graph recorded with either as a leaf cannot be differentiated by it any more, which is a RuntimeError in the pass.

    Raises RuntimeError for tensors that others than their objects hold: weak references, views, a tensor that has it as its
    gradient, and for classes with different slots.

    >>> import ferrograd
    >>> x, y = ferrograd.tensor([1.0, 2.0], requires_grad=True), ferrograd.tensor([3])
    >>> swap_tensors(x, y)
    >>> x, y
    (tensor([3]), tensor([1., 2.], requires_grad=True))
    """
    for name, t in (("t1", t1), ("t2", t2)):
        if weakref.getweakrefs(t):
            raise RuntimeError(f"Cannot swap {name} because it has weakref associated with it")
    slots = _slots(t1)
    if slots != _slots(t2):
        raise RuntimeError("Cannot swap t1 and t2 if they have different slots")
    # Both are looked at before either is changed.
    nodes = [node for name, t in (("t1", t1), ("t2", t2)) if (node := _node_of(name, t)) is not None]
    for node in nodes:
        node.register_prehook(_poisoned)
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    t1.__dict__, t2.__dict__ = t2.__dict__, t1.__dict__
    for slot in slots:
        _swap_slot(slot, t1, t2)
    _ferrograd._swap_tensor_impl(t1, t2)


def _slots(t: Tensor) -> set[str]:
    return {name for kind in type(t).__mro__ for name, value in vars(kind).items() if isinstance(value, MemberDescriptorType)}


def _node_of(name: str, t: Tensor) -> Any:
    """The node of a graph that is alive that accumulates into a tensor, which nobody else may hold beside its object."""
    count = _ferrograd._use_count(t)
    if count == 1:
        return None
    if count == 2 and t.is_leaf and t.requires_grad:
        node = _ferrograd._gradient_edge(t)[0]
        # A node that was there; a new one would hold the tensor too.
        if _ferrograd._use_count(t) == 2:
            return node
    raise RuntimeError(
        f"Expected use_count of {name} to be 1 or 2 with an AccumulateGrad node but got {count}: make sure you are not "
        f"holding references to the tensor in other places."
    )


def _poisoned(grads: tuple) -> None:
    raise RuntimeError(
        "Trying to execute AccumulateGrad node that was poisoned by swap_tensors: this happens in a backward pass to a tensor "
        "that was swapped after the graph was recorded. Swap tensors before the forward pass, or after the backward pass."
    )


def _swap_slot(slot: str, t1: Tensor, t2: Tensor) -> None:
    missing = object()
    values = [getattr(t, slot, missing) for t in (t2, t1)]
    for t, value in zip((t1, t2), values):
        if value is not missing:
            setattr(t, slot, value)
        elif hasattr(t, slot):
            delattr(t, slot)

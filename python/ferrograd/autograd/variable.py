"""`Variable`: what tensors that require gradients were once wrapped in. Tensors are that themselves."""

from .. import _ferrograd
from .._ferrograd import Tensor


class VariableMeta(type):
    """Every tensor counts as a `Variable`.

    >>> import ferrograd
    >>> isinstance(ferrograd.ones(1), Variable), isinstance(1.0, Variable)
    (True, False)
    """

    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, Tensor)


class _Engine:
    """What runs backward passes."""

    @staticmethod
    def queue_callback(callback) -> None:
        """Call a function without arguments at the end of the backward pass that runs.
        RuntimeError outside of a pass.

        >>> import ferrograd
        >>> x = ferrograd.ones(1, requires_grad=True)
        >>> handle = x.register_hook(lambda grad: Variable._execution_engine.queue_callback(lambda: print(x.grad)))
        >>> (x * 2).backward()
        tensor([2.])
        """
        _ferrograd._queue_callback(callback)


class Variable(metaclass=VariableMeta):
    """`Variable(data)` is a tensor on the memory of `data`; programs of today use the tensor itself.

    >>> import ferrograd
    >>> x = Variable(ferrograd.tensor([3.0]), requires_grad=True)
    >>> (x * x).backward()
    >>> x.grad, isinstance(x, Variable)
    (tensor([6.]), True)
    """

    _execution_engine = _Engine()

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Tensor:
        return data.detach().requires_grad_(requires_grad and not volatile)


__all__ = ["Variable", "VariableMeta"]

"""Transforms of functions: gradients, products with Jacobians, whole Jacobians, maps over batches. They nest, in any
order and to any depth.

>>> import ferrograd
>>> from ferrograd.func import grad, vmap
>>> def loss(w, x):
...     return (w @ x) ** 2
>>> w, batch = ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([[1.0, 0.0], [0.0, 1.0]])
>>> vmap(grad(loss), in_dims=(None, 0))(w, batch)
tensor([[2., 0.],
        [0., 4.]])
"""

from .._ferrograd import Tensor
from ._call import functional_call, replace_all_batch_norm_modules_, stack_module_state
from ._grad import grad, grad_and_value, vjp
from ._jacobian import hessian, jacfwd, jacrev
from ._jvp import jvp, linearize
from ._rearrange import rearrange
from ._vmap import vmap


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """All examples of a batched tensor, to look at while searching for a mistake; other tensors as they are.

    >>> import ferrograd
    >>> seen = []
    >>> def double(x):
    ...     seen.append(debug_unwrap(x))
    ...     return x * 2
    >>> _ = ferrograd.vmap(double)(ferrograd.ones(3))
    >>> seen
    [tensor([1., 1., 1.])]
    """
    from .. import _ferrograd

    while (inner := _ferrograd._batched_value(tensor)) is not None:
        tensor = inner
        if not recurse:
            break
    return tensor


__all__ = [
    "debug_unwrap",
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "rearrange",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]

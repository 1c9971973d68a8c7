"""Operations whose forward and derivative are written in Python."""

import functools
import warnings
from typing import Any

from .. import _ferrograd
from .._ferrograd import Tensor, is_grad_enabled
from .grad_mode import no_grad


class FunctionCtx(_ferrograd._FunctionNode):
    """What forward and backward of one call share: kept tensors, marks, and any attributes they set.

    >>> import ferrograd
    >>> class Scale(Function):
    ...     @staticmethod
    ...     def forward(ctx, x, factor):
    ...         ctx.factor = factor
    ...         return x * factor
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return grad * ctx.factor, None
    >>> x = ferrograd.ones(1, requires_grad=True)
    >>> Scale.apply(x, 3.0).backward()
    >>> x.grad
    tensor([3.])
    """

    save_for_backward = _ferrograd._FunctionNode.save_for_backward
    mark_dirty = _ferrograd._FunctionNode.mark_dirty
    mark_non_differentiable = _ferrograd._FunctionNode.mark_non_differentiable
    set_materialize_grads = _ferrograd._FunctionNode.set_materialize_grads

    @property
    def saved_variables(self) -> tuple:
        """An older name of `saved_tensors`. A DeprecationWarning says so.

        >>> import ferrograd
        >>> import warnings
        >>> warnings.simplefilter("ignore", DeprecationWarning)
        >>> class Square(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        >>> Square.apply(ferrograd.tensor([3.0], requires_grad=True)).grad_fn.saved_variables
        (tensor([3.], requires_grad=True),)
        """
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    def mark_shared_storage(self, *pairs: tuple) -> None:
        """Nothing: that tensors share memory is known without being told. A FutureWarning says so.

        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as shown:
        ...     warnings.simplefilter("always")
        ...     FunctionCtx().mark_shared_storage()
        >>> shown[0].category.__name__
        'FutureWarning'
        """
        warnings.warn(
            "mark_shared_storage does nothing: tensors that share memory are tracked without it; leave the call out",
            FutureWarning,
            stacklevel=2,
        )


#: The name that contexts had before, which old files have.
_ContextMethodMixin = FunctionCtx


class BackwardCFunction(FunctionCtx):
    """The node that a call leaves in the graph, which is its context too.

    >>> import ferrograd
    >>> class Same(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x.clone()
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return grad
    >>> isinstance(Same.apply(ferrograd.ones(1, requires_grad=True)).grad_fn, BackwardCFunction)
    True
    """

    _forward_cls: "type[Function]"

    def apply(self, *grads):
        """Run the function's backward, or its `vjp`, on these gradients.

        >>> import ferrograd
        >>> class Double(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         return grad * 2
        >>> y = Double.apply(ferrograd.ones(1, requires_grad=True))
        >>> y.grad_fn.apply(ferrograd.tensor([5.0]))
        tensor([10.])
        """
        cls = self._forward_cls
        if cls.vjp is Function.vjp:
            return cls.backward(self, *grads)
        if cls.backward is not Function.backward:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. "
                "You should only implement one of them."
            )
        return cls.vjp(self, *grads)


class FunctionMeta(type):
    """Gives every function a class of nodes named after it.

    >>> class Same(Function):
    ...     pass
    >>> type(Same).__name__, Same._backward_cls.__name__
    ('FunctionMeta', 'SameBackward')
    """

    def __init__(cls, name: str, bases: tuple, attributes: dict) -> None:
        super().__init__(name, bases, attributes)
        cls._backward_cls = type(name + "Backward", (BackwardCFunction,), {"_forward_cls": cls})
        cls._separate_context = bases != (FunctionCtx,) and _is_setup_context_defined(cls.setup_context)
        code = getattr(cls.forward, "__code__", None)
        cls._parameters = code.co_argcount if code else len(_signature(cls).parameters)


class _SingleLevelFunction(FunctionCtx, metaclass=FunctionMeta):
    """What `Function` has beside what transforms need: the methods that the author of one writes."""

    #: Lets go of the kept tensors of a pass once backward has read them; reading them again is a RuntimeError then.
    clear_saved_tensors_on_access = False

    @staticmethod
    def forward(*args, **kwargs):
        """Compute the result; `forward(ctx, *args)`, or `forward(*args)` beside a `setup_context`.

        >>> import ferrograd
        >>> class Double(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        >>> Double.apply(ferrograd.ones(1))
        tensor([2.])
        """
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs: tuple, output) -> None:
        """Keep on `ctx` what backward needs, where forward has no `ctx`.

        >>> import ferrograd
        >>> class Square(Function):
        ...     @staticmethod
        ...     def forward(x):
        ...         return x * x
        ...     @staticmethod
        ...     def setup_context(ctx, inputs, output):
        ...         ctx.save_for_backward(*inputs)
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         return 2 * ctx.saved_tensors[0] * grad
        >>> x = ferrograd.tensor([3.0], requires_grad=True)
        >>> Square.apply(x).backward()
        >>> x.grad
        tensor([6.])
        """
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Give the gradients of the arguments of forward, from those of its outputs.
        There are as many as arguments, None for those without; RuntimeError otherwise.

        >>> import ferrograd
        >>> class Product(Function):
        ...     @staticmethod
        ...     def forward(ctx, x, y):
        ...         ctx.save_for_backward(x, y)
        ...         return x * y
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         x, y = ctx.saved_tensors
        ...         return grad * y, grad * x
        >>> x, y = (ferrograd.tensor([v], requires_grad=True) for v in (2.0, 3.0))
        >>> Product.apply(x, y).backward()
        >>> x.grad, y.grad
        (tensor([3.]), tensor([2.]))
        """
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD."
        )

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Give the tangents of the outputs, from those of the arguments of forward.

        >>> import ferrograd
        >>> class Double(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     def jvp(ctx, tangent):
        ...         return tangent * 2
        >>> ferrograd.func.jvp(Double.apply, (ferrograd.ones(1),), (ferrograd.tensor([5.0]),))
        (tensor([2.]), tensor([10.]))
        """
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    #: Another name of backward.
    vjp = backward


def _is_setup_context_defined(fn: Any) -> bool:
    """Whether a `setup_context` was written for a function, so that its forward has no `ctx`."""
    return fn is not _SingleLevelFunction.setup_context


class Function(_SingleLevelFunction):
    """The base of operations written in Python.

    `forward(ctx, *args)` computes the result, without being recorded; `backward(ctx, *grads)` gives the gradient of
    every argument of forward, or None. In place of `ctx` in forward there may be a `setup_context(ctx, inputs, output)`.
    Call it by `apply`.

    >>> import ferrograd
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x ** 3
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x ** 2 * grad
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor([12.])
    """

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self).__name__} should not be instantiated: its methods are static; call it by apply()",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args, **kwargs):
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            f"function with static forward method: make forward and backward static, and call {type(self).__name__}.apply()"
        )

    @staticmethod
    def vmap(info, in_dims, *args):
        """Give `(outputs, out_dims)` of arguments that carry a batch dimension.

        >>> import ferrograd
        >>> class Double(Function):
        ...     @staticmethod
        ...     def forward(x):
        ...         return x * 2
        ...     @staticmethod
        ...     def setup_context(ctx, inputs, output):
        ...         pass
        ...     @staticmethod
        ...     def vmap(info, in_dims, x):
        ...         return Double.apply(x), in_dims[0]
        >>> ferrograd.vmap(Double.apply)(ferrograd.ones(3))
        tensor([2., 2., 2.])
        """
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call the function on these arguments.

        >>> import ferrograd
        >>> class Double(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        >>> Double.apply(ferrograd.ones(1))
        tensor([2.])
        """
        if kwargs or cls._separate_context and len(args) < cls._parameters:
            args = _positional(cls, args, kwargs)
        return _ferrograd._apply_function(cls, *args)


class InplaceFunction(Function):
    """A function that knows whether it was asked to work in place.

    >>> InplaceFunction.forward is Function.forward
    True
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class NestedIOFunction(Function):
    """A function of and to nests of tensors in lists, tuples and dictionaries, of torch's oldest kind.

    Its forward and backward were methods of an instance; such functions are no longer called, here as in torch. New ones
    are `Function`s, and take nests apart themselves.

    >>> issubclass(NestedIOFunction, Function)
    True
    """

    def forward_extended(self, *input):
        """What a subclass computes. NotImplementedError where it does not say.

        >>> NestedIOFunction.forward_extended(None)
        Traceback (most recent call last):
        ...
        NotImplementedError: NestedIOFunction: a subclass defines forward_extended
        """
        raise NotImplementedError("NestedIOFunction: a subclass defines forward_extended")

    def backward_extended(self, *grad_output):
        """The derivative that a subclass defines. NotImplementedError where it does not.

        >>> NestedIOFunction.backward_extended(None)
        Traceback (most recent call last):
        ...
        NotImplementedError: NestedIOFunction: a subclass defines backward_extended
        """
        raise NotImplementedError("NestedIOFunction: a subclass defines backward_extended")


def _signature(cls: type[Function]):
    from inspect import signature  # a third of the package's import, for what few calls need

    return signature(cls.forward)


def _positional(cls: type[Function], args: tuple, kwargs: dict) -> tuple:
    """Arguments by name in the places that forward has for them."""
    given = args if cls._separate_context else (None, *args)
    bound = _signature(cls).bind(*given, **kwargs)
    bound.apply_defaults()
    if named := [name for name in kwargs if name in bound.kwargs]:
        raise TypeError(f"forward() got an unexpected keyword argument {named[0]!r}: apply gives arguments by position alone")
    return bound.args if cls._separate_context else bound.args[1:]


class _Delayed(Function):
    """The identity, whose derivative is an error."""

    @staticmethod
    def forward(ctx, message, *tensors):
        ctx.message = message
        return tuple(t.detach() for t in tensors)

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(ctx.message)


# The node's name, as torch has it.
_Delayed._backward_cls.__name__ = _Delayed._backward_cls.__qualname__ = "Error"


def once_differentiable(fn):
    """A backward that runs without being recorded: differentiating it is an error.

    >>> import ferrograd
    >>> class Double(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     @once_differentiable
    ...     def backward(ctx, grad):
    ...         return grad * 2
    >>> x = ferrograd.ones(1, requires_grad=True)
    >>> Double.apply(x).backward()
    >>> x.grad
    tensor([2.])
    """

    @functools.wraps(fn)
    def once(ctx, *args):
        with no_grad():
            outputs = fn(ctx, *args)
        if not is_grad_enabled() or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return outputs
        all = outputs if isinstance(outputs, tuple) else (outputs,)
        # In the place of None stands a tensor without gradient, so that the node has an edge for each output.
        tensors = [_ferrograd.empty(0) if o is None else o for o in all]
        tensors = [o.detach().requires_grad_() if g is not None and o.is_floating_point() else o for o, g in zip(tensors, all)]
        message = "trying to differentiate twice a function that was marked with @once_differentiable"
        delayed = _Delayed.apply(message, *tensors)
        found = tuple(None if o is None else d for o, d in zip(all, delayed))
        return found if isinstance(outputs, tuple) else found[0]

    return once


__all__ = [
    "BackwardCFunction",
    "Function",
    "FunctionCtx",
    "FunctionMeta",
    "InplaceFunction",
    "NestedIOFunction",
    "once_differentiable",
]

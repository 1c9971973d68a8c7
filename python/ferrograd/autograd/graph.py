"""The graph: its nodes, what they keep, and hooks on several gradients at once."""

import abc
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from .. import _ferrograd
from .._ferrograd import RemovableHandle, Tensor
from .function import BackwardCFunction, FunctionCtx
from .grad_mode import _Mode


class InputMetadata(NamedTuple):
    """What the gradients look like that a node receives for one of its outputs.

    >>> import ferrograd
    >>> (ferrograd.ones(2, requires_grad=True) * 2).grad_fn._input_metadata[0].shape
    [2]
    """

    shape: list[int]
    dtype: _ferrograd.dtype
    device: _ferrograd.device
    is_tensor_subclass: bool = False
    is_nested_tensor: bool = False


class Node(abc.ABC):
    """A recorded operation: what `Tensor.grad_fn` gives. No class of it is made by programs; all nodes are instances.

    >>> import ferrograd
    >>> y = ferrograd.ones(2, requires_grad=True).exp()
    >>> isinstance(y.grad_fn, Node), y.grad_fn.name()
    (True, 'ExpBackward0')
    """

    @abc.abstractmethod
    def name(self) -> str:
        """The name of the operation, as torch calls its node.

        >>> import ferrograd
        >>> (ferrograd.ones(1, requires_grad=True) * 2).grad_fn.name()
        'MulBackward0'
        """

    @property
    @abc.abstractmethod
    def next_functions(self) -> tuple[tuple["Node | None", int], ...]:
        """The nodes of the operation's inputs, and which of their outputs each input is.

        >>> import ferrograd
        >>> y = ferrograd.ones(1, requires_grad=True) * 2
        >>> y.exp().grad_fn.next_functions[0][0] is y.grad_fn
        True
        """

    @property
    @abc.abstractmethod
    def metadata(self) -> dict:
        """A dictionary that stays with the node.

        >>> import ferrograd
        >>> y = ferrograd.ones(1, requires_grad=True) * 2
        >>> y.grad_fn.metadata["note"] = "doubled"
        >>> y.grad_fn.metadata
        {'note': 'doubled'}
        """

    @property
    @abc.abstractmethod
    def _input_metadata(self) -> list[InputMetadata]:
        """What the gradients of the outputs look like."""

    @abc.abstractmethod
    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call `fn(grad_inputs, grad_outputs)` after the derivative ran; what it returns, if not None, takes the place
        of the gradients of the inputs.

        >>> import ferrograd
        >>> x = ferrograd.ones(1, requires_grad=True)
        >>> y = x * 2
        >>> handle = y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: print(grad_outputs))
        >>> y.backward()
        (tensor([1.]),)
        """

    @abc.abstractmethod
    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call `fn(grad_outputs)` before the derivative runs; what it returns, if not None, takes the place of the
        gradients of the outputs.

        >>> import ferrograd
        >>> x = ferrograd.ones(1, requires_grad=True)
        >>> y = x * 2
        >>> handle = y.grad_fn.register_prehook(lambda grad_outputs: (grad_outputs[0] * 5,))
        >>> y.backward()
        >>> x.grad
        tensor([10.])
        """

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return cls is Node and (other is Node or issubclass(other, (_ferrograd.Node, BackwardCFunction)))


def _input_metadata(self: Node) -> list[InputMetadata]:
    """What the gradients of the outputs look like."""
    return [InputMetadata(shape, dtype, _ferrograd.device("cpu")) for shape, dtype in _ferrograd._node_outputs(self)]


_ferrograd.Node._input_metadata = property(_input_metadata)
FunctionCtx._input_metadata = property(_input_metadata)


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor goes: an output of a node. It keeps the node, and so the graph behind it.

    >>> import ferrograd
    >>> x = ferrograd.ones(1, requires_grad=True)
    >>> get_gradient_edge(x * 2).output_nr
    0
    """

    node: Node
    output_nr: int
    ownership_token: Node | None = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge that the gradient of `tensor` goes to; it can stand for the tensor in `autograd.grad`.

    Raises RuntimeError for a tensor that does not require gradients, and for a view made where nothing is recorded of what
    was changed since; AssertionError for such a view of what was not, which has no node of its own.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> y = x * x
    >>> (g,) = ferrograd.autograd.grad(y, get_gradient_edge(x))
    >>> g
    tensor([4.])
    """
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*_ferrograd._gradient_edge(tensor))


class saved_tensors_hooks:
    """Within the block, `pack_hook` sees every tensor that is kept for backward, and `unpack_hook` gives it back.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with saved_tensors_hooks(lambda t: t.tolist(), ferrograd.tensor):
    ...     y = x * x
    >>> y.backward()
    >>> x.grad
    tensor([4.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        _ferrograd._push_saved_tensors_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exception: object) -> None:
        _ferrograd._pop_saved_tensors_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Keeps saved tensors in the CPU's memory: where they are already.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with save_on_cpu():
    ...     y = x * x
    >>> y.backward()
    >>> x.grad
    tensor([4.])
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda tensor: tensor, lambda tensor: tensor)


class disable_saved_tensors_hooks(_Mode):
    """Within the block, `saved_tensors_hooks` is an error with this message.

    >>> with disable_saved_tensors_hooks("no hooks here"):
    ...     with saved_tensors_hooks(lambda t: t, lambda t: t):
    ...         pass
    Traceback (most recent call last):
    ...
    RuntimeError: no hooks here
    """

    def __init__(self, error_message: str) -> None:
        self._message = error_message

    def __enter__(self) -> None:
        self._before = _ferrograd._disable_saved_tensors_hooks(self._message)

    def __exit__(self, *exception: object) -> None:
        _ferrograd._disable_saved_tensors_hooks(self._before)

    def clone(self) -> "disable_saved_tensors_hooks":
        """Another of the same, as each call of a decorated function needs one.

        >>> isinstance(disable_saved_tensors_hooks("not here").clone(), disable_saved_tensors_hooks)
        True
        """
        return disable_saved_tensors_hooks(self._message)


class _Handles:
    """Several handles as one."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> "_Handles":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all") -> _Handles:
    """Call `fn` once a backward pass has the gradients of `tensors`.

    In mode "all", `fn(grads)` gets a list with None for tensors that the pass does not reach; in mode "any",
    `fn(grad)` gets the first gradient that is there, and tensors that do not require gradients are left out.

    Raises AssertionError for a tensor that does not require gradients in mode "all", ValueError for another mode.

    >>> import ferrograd
    >>> a, b = (ferrograd.tensor([v], requires_grad=True) for v in (2.0, 3.0))
    >>> handle = register_multi_grad_hook([a, b], lambda grads: print(grads))
    >>> (a * b).backward()
    [tensor([3.]), tensor([2.])]
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    if mode == "any":
        tensors = [t for t in tensors if t.requires_grad]
    edges = [GradientEdge(*_ferrograd._gradient_edge(t)) for t in tensors]
    lock = threading.Lock()
    passes: dict[int, list] = {}

    def arrived(index: int, grad: Tensor) -> None:
        task = _ferrograd._current_pass()
        reached = sum(_ferrograd._pass_reaches(edge.node) for edge in edges)
        with lock:
            seen = passes.setdefault(task, [0, [None] * len(tensors)])
            first = seen[0] == 0
            seen[0] += 1
            seen[1][index] = grad
            done = seen[0] == reached
            if done:
                del passes[task]
        if mode == "any" and first:
            fn(grad)
        elif mode == "all" and done:
            fn(seen[1])

    def hook(index: int) -> Callable[[Tensor], None]:
        return lambda grad: arrived(index, grad)

    return _Handles([t.register_hook(hook(i)) for i, t in enumerate(tensors)])


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a change in place that was made where nobody saw it, of one tensor or of several.

    Raises RuntimeError for what is no tensor.

    >>> import ferrograd
    >>> x = ferrograd.ones(1)
    >>> increment_version(x)
    >>> x._version
    1
    """
    tensors = (tensor,) if isinstance(tensor, Tensor) else tensor
    if not isinstance(tensors, Iterable):
        raise RuntimeError(f"increment_version expects a Tensor or an Iterable[Tensor], got {type(tensor).__name__}")
    for t in tensors:
        _ferrograd._increment_version(t)


class _Key:
    """Stands for a copy in a graph."""


class allow_mutation_on_saved_tensors(saved_tensors_hooks):
    """Within the block, what is kept for backward is a copy, so the tensors may be changed in place afterwards.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with allow_mutation_on_saved_tensors():
    ...     y = x * 3
    ...     z = y ** 2
    ...     _ = y.zero_()
    ...     z.backward()
    >>> x.grad
    tensor([36.])
    """

    def __init__(self) -> None:
        # A graph holds its copies by keys that live as long as it does.
        copies = self._copies = weakref.WeakKeyDictionary()

        def pack(tensor: Tensor) -> _Key:
            key = _Key()
            copies[key] = tensor.detach().clone()
            return key

        def unpack(key: _Key) -> Tensor:
            if key not in copies:
                raise RuntimeError(
                    "allow_mutation_on_saved_tensors: clear() let go of what this graph had kept; compute the outputs again"
                )
            return copies[key]

        super().__init__(pack, unpack)

    def clear(self) -> None:
        """Let go of all copies. Graphs that were recorded in the block can no longer be differentiated: a RuntimeError.

        >>> import ferrograd
        >>> x = ferrograd.tensor([2.0], requires_grad=True)
        >>> with allow_mutation_on_saved_tensors() as kept:
        ...     y = x.exp()
        ...     kept.clear()
        ...     y.backward()
        Traceback (most recent call last):
        ...
        RuntimeError: allow_mutation_on_saved_tensors: clear() let go of what this graph had kept; compute the outputs again
        """
        self._copies.clear()

    _open = threading.local()

    def __enter__(self) -> "allow_mutation_on_saved_tensors":
        if getattr(self._open, "here", False):
            raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
        super().__enter__()
        self._open.here = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.here = False
        super().__exit__(*exception)


def _names(params: Any, frame: types.FrameType) -> Any:
    """Parameters as they are given, else the tensors that the caller has names for."""
    if params is not None:
        return params
    return {name: value for name, value in {**frame.f_globals, **frame.f_locals}.items() if isinstance(value, Tensor)}


def _several(function: str, outputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors whose graph is drawn."""
    found = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs) if isinstance(outputs, Iterable) else None
    if found is None or not all(isinstance(t, Tensor) for t in found):
        raise TypeError(f"{function}: expected a tensor or a sequence of tensors, got {outputs!r}")
    if not found:
        raise ValueError(f"{function}: expected at least one tensor")
    return found


def to_dot(outputs: Tensor | Sequence[Tensor], params: Any = None) -> str:
    """The graph behind tensors as text for graphviz; a notebook shows it as a picture, without graphviz.

    Every operation tells the shape of its result and the bytes it keeps for backward, and what of them no operation
    nearer to the output keeps. Leaves have the names of `params`: a mapping, pairs of names and tensors, or a module;
    without, those of the caller's variables.

    Raises RuntimeError for a tensor that does not require gradients, TypeError for what is no tensor, ValueError for none.

    >>> import ferrograd
    >>> w = ferrograd.ones(3, requires_grad=True)
    >>> print(to_dot(w.exp(), {"w": w}))
    digraph {
      node [shape=box style=filled fontname=monospace fontsize=10]
      n0 [label="output\\n(3,) float32" fillcolor="#caffcf"]
      n1 [label="ExpBackward0\\n(3,)\\nkeeps 12 B" fillcolor="#e8e8e8"]
      n2 [label="w\\n(3,) float32" fillcolor="#cfe8ff"]
      n1 -> n0
      n2 -> n1
    }
    <BLANKLINE>
    """
    from . import _picture

    return _picture.dot(_picture.boxes(_several("to_dot", outputs), _names(params, sys._getframe(1))))


def to_svg(outputs: Tensor | Sequence[Tensor], params: Any = None, limit: int = 500) -> str:
    """The same as an SVG picture, of the `limit` nodes that are nearest to the outputs.

    >>> import ferrograd
    >>> w = ferrograd.ones(3, requires_grad=True)
    >>> picture = to_svg(w.exp(), {"w": w})
    >>> picture.startswith("<svg"), "ExpBackward0" in picture
    (True, True)
    """
    from . import _picture

    boxes = _picture.boxes(_several("to_svg", outputs), _names(params, sys._getframe(1)))
    return _picture.svg(_picture.cut(boxes, limit))


__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
    "to_dot",
    "to_svg",
]

"""Functions written in Python on batched tensors.

A function says how it is mapped, by a `vmap` of its own; or it is mapped as its forward and backward are, which then run
on batched tensors themselves (`generate_vmap_rule`).
"""

import weakref
from typing import Any, NamedTuple

from .. import _ferrograd
from .._ferrograd import Tensor
from ..utils._pytree import _broadcast_to_and_flatten, tree_flatten
from .function import Function

_REFERENCE = "For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"


class VmapInfo(NamedTuple):
    """What a function's `vmap` is told of the map."""

    batch_size: int
    randomness: str


class _Call(NamedTuple):
    """A call on the values behind batched tensors."""

    function: type[Function]
    level: int
    info: VmapInfo
    #: For every argument, the dimension of its examples, which is the first, or None.
    in_dims: tuple
    #: The same as the function's own rule is told: where the examples lay when they were hidden.
    places: tuple


def apply(function: type[Function], args: tuple) -> Any:
    """Call a function on arguments of which some are batched."""
    has_rule = function.vmap is not Function.vmap
    _check_rule(function, has_rule)
    level, batched = max(((_ferrograd._batch_level(x), x) for x in args if isinstance(x, Tensor)), key=lambda pair: pair[0])
    # Tangents may be batched by a map that this call is outside of.
    known = _ferrograd._map_info(level) or (len(_ferrograd._batched_value(batched)), "error")
    info = VmapInfo(*known)
    differentiated = _ferrograd._is_differentiated(level)
    values, in_dims, places = [], [], []
    for x in args:
        # A rule is given what is within lists and dictionaries too; else the map around it sees to that.
        leaves, spec = tree_flatten(x) if has_rule else ([x], None)
        found = [_examples(leaf, level, info.batch_size, differentiated) for leaf in leaves]
        values.append(found[0][0] if spec is None else spec.unflatten(value for value, _ in found))
        in_dims.append(found[0][1] if spec is None else spec.unflatten(dim for _, dim in found))
        lay = [None if dim is None else _ferrograd._batch_place(leaf, level) for leaf, (_, dim) in zip(leaves, found)]
        places.append(lay[0] if spec is None else spec.unflatten(lay))
    call = _Call(function, level, info, tuple(in_dims), tuple(places))
    # Within a transform the function's own derivative counts, not that of what its rule does.
    own_derivative = differentiated and function._separate_context
    outputs, out_dims = _by_rule(call, values) if has_rule and not own_derivative else _by_forward(call, values)
    return _wrapped(outputs, out_dims, level, {id(value): x for value, x in zip(values, args)})


def _examples(x: Any, level: int, size: int, differentiated: bool) -> tuple[Any, int | None]:
    """The value behind an argument of a map, and the dimension of its examples, None where it is the same for all."""
    own = isinstance(x, Tensor) and (differentiated or _ferrograd._batch_level(x) == level)
    examples = _ferrograd._examples(x, level, size) if own else None
    return (x, None) if examples is None else (examples, 0)


def _check_rule(function: type[Function], has_rule: bool) -> None:
    name = function.__name__
    if function.generate_vmap_rule:
        if has_rule:
            raise RuntimeError(
                f"You tried to vmap over {name}, but it has both generate_vmap_rule=True and an overridden vmap "
                f"staticmethod. Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid "
                f"ambiguity. {_REFERENCE}"
            )
        if not function._separate_context:
            raise RuntimeError(
                f"In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it "
                f"must override the setup_context staticmethod. {_REFERENCE}"
            )
    elif not has_rule:
        raise RuntimeError(
            f"You tried to vmap over {name}, but it does not have vmap support. Please override and implement the vmap "
            f"staticmethod or set generate_vmap_rule=True. {_REFERENCE}"
        )


def _by_rule(call: _Call, values: list) -> tuple:
    """The outputs and where their examples lie, by the function's own `vmap`."""
    given = [_laid(x, place) for x, place in zip(values, call.places)]
    result = _ferrograd._outside_map(call.level, lambda: call.function.vmap(call.info, call.places, *given))
    if not isinstance(result, tuple) or len(result) != 2:
        got = f"{len(result)} returns" if isinstance(result, tuple) else f"a {type(result)}"
        raise RuntimeError(
            f"Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure "
            f"compatible with the output. Got {got} instead"
        )
    outputs, out_dims = result
    moved = {id(g): x for g, x in zip(given, values) if g is not x and isinstance(g, Tensor)}
    return (_back(outputs, out_dims, moved) if moved else None) or result


def _laid(x: Any, place: Any) -> Any:
    """An argument whose examples lie along its first dimension, with them where they lay before."""
    if isinstance(place, (list, tuple, dict)):
        leaves, spec = tree_flatten(x)
        return spec.unflatten(map(_laid, leaves, tree_flatten(place)[0]))
    return _ferrograd._lay_examples(x, place) if place else x


def _back(outputs: Any, out_dims: Any, moved: dict) -> tuple | None:
    """Outputs, with the arguments among them as they were before they were laid; None where dimensions do not fit."""
    flat, spec = tree_flatten(outputs)
    dims = _broadcast_to_and_flatten(out_dims, spec)
    if dims is None:
        return None
    pairs = [(moved[id(y)], 0) if id(y) in moved else (y, dim) for y, dim in zip(flat, dims)]
    return spec.unflatten(y for y, _ in pairs), spec.unflatten(dim for _, dim in pairs)


def _wrapped(outputs: Any, out_dims: Any, level: int, given: dict) -> Any:
    """Outputs as single examples; those that are arguments as the arguments were given."""
    flat, spec = tree_flatten(outputs)
    dims = _broadcast_to_and_flatten(out_dims, spec)
    if dims is None:
        raise RuntimeError(
            f"The autograd.Function's vmap staticmethod returned an incompatible (output, out_dims) tuple. Expected "
            f"out_dims={out_dims} to be compatible with the structure of `output`. out_dims has structure "
            f"{tree_flatten(out_dims)[1]} but output has structure {spec}. {_REFERENCE}"
        )

    def one(y: Any, dim: int | None) -> Any:
        if id(y) in given:
            return given[id(y)]
        return _ferrograd._add_batch_dim(y, dim, level) if isinstance(y, Tensor) and dim is not None else y

    return spec.unflatten(map(one, flat, dims))


def _by_forward(call: _Call, values: list) -> tuple:
    """The outputs and where their examples lie, as one function of the values behind the arguments."""
    out_dims: list = []
    outputs = _ferrograd._outside_map(call.level, lambda: _mapped(call.function).apply(call, out_dims, *values))
    return outputs, tuple(out_dims) if isinstance(outputs, tuple) else out_dims[0]


class _Map:
    """A map over the examples of a call, as a context manager."""

    def __init__(self, info: VmapInfo) -> None:
        self._info = info

    def __enter__(self) -> "_Map":
        self.level = _ferrograd._vmap_enter(*self._info)
        return self

    def __exit__(self, *exception: object) -> None:
        _ferrograd._vmap_exit()

    def example(self, x: Any, dim: Any) -> Any:
        """A value as a single example, and so what is within lists and dictionaries."""
        if isinstance(dim, (list, tuple, dict)):
            leaves, spec = tree_flatten(x)
            return spec.unflatten(map(self.example, leaves, tree_flatten(dim)[0]))
        return x if dim is None or not isinstance(x, Tensor) else _ferrograd._add_batch_dim(x, dim, self.level)

    def examples(self, x: Any) -> tuple[Any, int | None]:
        """All examples of a tensor, and the dimension they lie along, None where it is the same for all."""
        if not isinstance(x, Tensor) or not _ferrograd._is_batched(x, self.level):
            return x, None
        return _ferrograd._remove_batch_dim(x, self.level, self._info.batch_size, 0), 0


class _State:
    """What a mapped call keeps in its context."""

    def __init__(self, call: _Call, out_dims: tuple) -> None:
        self.call, self.out_dims = call, out_dims
        self.shapes: list = []
        self.kept_dims: list = []
        self.kept_forward_dims: list = []
        self.keeps_forward = False


#: Where a mapped call has its state in its context.
_STATE = "_map"


class _Context:
    """The context of a mapped call as the function sees it: tensors go in and come out as single examples."""

    def __init__(self, ctx: Any, over: _Map, state: _State, values: dict[int, Tensor] | None = None) -> None:
        self.__dict__.update(_ctx=ctx, _over=over, _of=state, _values=values or {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, _inner(name))

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._ctx, _inner(name), value)

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        return self._ctx.needs_input_grad[2:]

    @property
    def saved_tensors(self) -> tuple:
        kept = self._ctx.saved_tensors
        dims = self._of.kept_forward_dims if self._of.keeps_forward else self._of.kept_dims
        return tuple(self._over.example(x, dim) for x, dim in zip(kept, dims))

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        pairs = [self._over.examples(x) for x in tensors]
        self._ctx.save_for_backward(*(self._same(t, x) for t, (x, _) in zip(tensors, pairs)))
        self._of.kept_dims = [dim for _, dim in pairs]

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        pairs = [self._over.examples(x) for x in tensors]
        self._ctx.save_for_forward(*(self._same(t, x) for t, (x, _) in zip(tensors, pairs)))
        self._of.kept_forward_dims = [dim for _, dim in pairs]

    def mark_dirty(self, *tensors: Tensor) -> None:
        self._ctx.mark_dirty(*(self._same(t, t) for t in tensors))

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self._ctx.mark_non_differentiable(*(self._same(t, t) for t in tensors))

    def _same(self, example: Any, value: Any) -> Any:
        """The very argument or output behind an example, where it is that of one."""
        return self._values.get(id(example), value)


def _inner(name: str) -> str:
    """The name that an attribute of a mapped call has in the context around: a map within a map has a state of its own."""
    return f"{name}_" if name.startswith(_STATE) else name


_FUNCTIONS: "weakref.WeakKeyDictionary[type, type]" = weakref.WeakKeyDictionary()


def _mapped(function: type[Function]) -> type[Function]:
    """The function of all examples, whose forward and backward are maps over those of `function`."""
    made = _FUNCTIONS.get(function)
    if made is None:
        made = _FUNCTIONS[function] = type(f"Vmapped{function.__name__}", (_Mapped,), {})
    return made


class _Mapped(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, out_dims: list, *values: Any) -> Any:
        if call.function.vmap is not Function.vmap:
            # What the rule changes in place, and gives back as it is, is the argument itself.
            plain = [x.detach() if isinstance(x, Tensor) and x.requires_grad else x for x in values]
            given = {id(p): x for p, x in zip(plain, values)}
            outputs, dims = _by_rule(call, plain)
            flat = outputs if isinstance(outputs, tuple) else (outputs,)
            spread = _broadcast_to_and_flatten(dims, tree_flatten(flat if isinstance(outputs, tuple) else outputs)[1])
            front = [y if d is None else _in_front(y, d) for y, d in zip(flat, spread or [])]
            found = [given.get(id(y), y) for y in front]
            out_dims[:] = [None if d is None else 0 for d in spread or []]
            return tuple(found) if isinstance(outputs, tuple) else found[0]
        with _Map(call.info) as over:
            examples = [over.example(x, dim) for x, dim in zip(values, call.in_dims)]
            given = {id(e): x for e, x in zip(examples, values)}
            outputs = call.function.forward(*examples)
            flat = outputs if isinstance(outputs, tuple) else (outputs,)
            pairs = [(given[id(y)], 0) if id(y) in given else over.examples(y) for y in flat]
        out_dims[:] = [dim for _, dim in pairs]
        return tuple(y for y, _ in pairs) if isinstance(outputs, tuple) else pairs[0][0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        call, out_dims, *values = inputs
        state = _State(call, tuple(out_dims))
        setattr(ctx, _STATE, state)
        outputs = output if isinstance(output, tuple) else (output,)
        with _Map(call.info) as over:
            examples = [over.example(x, dim) for x, dim in zip(values, call.in_dims)]
            state.shapes = [e.shape if isinstance(e, Tensor) else None for e in examples]
            known = {id(x): e for x, e in zip(values, examples)}
            results = [known[id(y)] if id(y) in known else over.example(y, d) for y, d in zip(outputs, out_dims)]
            behind = {id(e): x for e, x in zip([*examples, *results], [*values, *outputs])}
            results = tuple(results) if isinstance(output, tuple) else results[0]
            call.function.setup_context(_Context(ctx, over, state, behind), tuple(examples), results)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        state = getattr(ctx, _STATE)
        call = state.call
        with _Map(call.info) as over:
            examples = [over.example(g, dim) for g, dim in zip(grads, state.out_dims)]
            found = call.function.backward(_Context(ctx, over, state), *examples)
            found = found if isinstance(found, tuple) else (found,)
            fitted = [_summed(g, shape) for g, shape in zip(found, state.shapes)]
            pairs = [over.examples(g) for g in fitted]
        size = call.info.batch_size
        gradients = [_of_values(g, dim, into, size) for (g, dim), into in zip(pairs, call.in_dims)]
        return None, None, *gradients, *found[len(gradients) :]

    @staticmethod
    def jvp(ctx: Any, _call: None, _dims: None, *tangents: Tensor | None) -> Any:
        state = getattr(ctx, _STATE)
        call = state.call
        state.keeps_forward = bool(state.kept_forward_dims)
        with _Map(call.info) as over:
            examples = [over.example(t, dim) for t, dim in zip(tangents, call.in_dims)]
            found = call.function.jvp(_Context(ctx, over, state), *examples)
            flat = found if isinstance(found, tuple) else (found,)
            pairs = [over.examples(t) for t in flat]
        state.keeps_forward = False
        spread = [_of_values(t, dim, into, call.info.batch_size) for (t, dim), into in zip(pairs, state.out_dims)]
        return tuple(spread) if isinstance(found, tuple) else spread[0]


def _in_front(y: Tensor, dim: int) -> Tensor:
    """The tensor with a dimension moved to the front: itself where it is there, as an argument that was changed in place is."""
    if dim == 0:
        return y
    dims = list(range(y.dim()))
    return y.permute(dims.pop(dim), *dims)


def _summed(g: Any, shape: tuple | None) -> Any:
    """A gradient summed over the dimensions that broadcasting would add to an argument of this shape."""
    if not isinstance(g, Tensor) or shape is None or g.shape == shape:
        return g
    lead = g.dim() - len(shape)
    dims = [d for d in range(g.dim()) if d < lead or shape[d - lead] == 1 and g.shape[d] != 1]
    return g.sum(dims, keepdim=True).reshape(shape) if dims else g


def _of_values(g: Any, dim: int | None, into: int | None, size: int) -> Any:
    """A gradient for single examples as one of the value behind them: repeated, or the sum of all examples."""
    if not isinstance(g, Tensor) or dim == into:
        return g
    return g.unsqueeze(0).expand(size, *g.shape) if into is not None else g.sum(0)

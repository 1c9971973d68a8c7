"""Jacobians of a function of tensors at one place, row by row: by differences, by backward passes, by forward mode."""

from collections.abc import Callable, Iterator

from .. import _ferrograd
from .._ferrograd import Tensor
from . import forward_ad

Jacobian = Tensor
"""One row for each element of the input, one column for each of the output."""


def tensors(value) -> tuple:
    """The results of a function as a tuple."""
    if isinstance(value, Tensor):
        return (value,)
    found = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for item in found:
        if not isinstance(item, Tensor):
            raise TypeError(f"gradcheck: the function must return a Tensor or a tuple of Tensors, got {type(item).__name__}")
    return found


def is_wanted(value) -> bool:
    """True for what derivatives are taken of."""
    return isinstance(value, Tensor) and value.requires_grad


class Place:
    """A function at given inputs: those that derivatives are taken of, and the results that have some."""

    def __init__(self, function: Callable, inputs: tuple) -> None:
        self.function, self.inputs = function, inputs
        self.wanted = [i for i, x in enumerate(inputs) if is_wanted(x)]
        self.results = self.evaluate()
        self.outputs = [y for y in self.results if y.requires_grad]

    def evaluate(self) -> tuple:
        """All results of a call."""
        return tensors(self.function(*self.inputs))

    def sources(self) -> list[Tensor]:
        """The inputs that derivatives are taken of."""
        return [self.inputs[i] for i in self.wanted]


def units(like: Tensor) -> Iterator[Tensor]:
    """For every element, a tensor with 1 there and 0 elsewhere."""
    for element in range(like.numel()):
        unit = _ferrograd.zeros(like.numel(), dtype=like.dtype)
        unit[element] = 1
        yield unit.reshape(like.shape)


def difference(place: Place, source: int, direction: Tensor, eps: float, chosen: Callable[[Tensor], bool]) -> list[Tensor]:
    """`(f(x + eps d) - f(x - eps d)) / (2 eps)` for the results that are `chosen`, as float64 vectors.

    The input itself is moved and put back, so that functions which reach it by another way are seen too.
    """
    memory = place.inputs[source].data
    before = memory.clone()
    values = []
    try:
        for step in (eps, -eps):
            memory.copy_(before + step * direction)
            values.append([y.detach().clone() for y in place.evaluate() if chosen(y)])
    finally:
        memory.copy_(before)
    for up, down in zip(*values, strict=True):
        for what, first, second in (("shape", tuple(up.shape), tuple(down.shape)), ("dtype", up.dtype, down.dtype)):
            assert first == second, (
                f"Expected `func` to return outputs with the same {what} when inputs are perturbed up to eps, got {first} and {second}"
            )
    return [_vector((up - down) / (2 * eps)) for up, down in zip(*values, strict=True)]


def pulled(place: Place, output: int, gradient: Tensor) -> list[Tensor]:
    """The gradients of the inputs for one of an output."""
    sources = place.sources()
    found = _ferrograd._grad([place.outputs[output]], sources, [gradient], True, False, True, True)
    for g, x in zip(found, sources):
        if g.shape != x.shape:
            raise RuntimeError(f"a gradient has the shape {list(g.shape)}, its input {list(x.shape)}")
    return found


def pushed(place: Place, source: int, tangent: Tensor) -> list[Tensor]:
    """The tangents of the differentiable results for one of an input, by forward mode; those of the other inputs are zeros."""
    zeros = {i: _ferrograd.zeros_like(x) for i, x in zip(place.wanted, place.sources())}
    pairs = pushed_along(place, zeros | {source: tangent})
    return [_ferrograd.zeros_like(y) if t is None else t for y, t in pairs]


def pushed_along(place: Place, tangents: dict[int, Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """The differentiable results with their tangents, by forward mode; inputs that are not among those by number have none."""
    with forward_ad.dual_level():
        inputs = list(place.inputs)
        for i in place.wanted:
            (inputs[i],) = _ferrograd._fresh([inputs[i].detach()])
            if i in tangents:
                inputs[i] = forward_ad.make_dual(inputs[i], tangents[i])
        results = [y for y in tensors(place.function(*inputs)) if y.requires_grad]
        pairs = [forward_ad.unpack_dual(y) for y in results]
        return [(y, None if t is None else t.detach()) for y, t in pairs]


def by_differences(place: Place, eps: float, chosen: Callable[[Tensor], bool] = is_wanted) -> list[list[Jacobian]]:
    """For every input, the Jacobians of the outputs by central differences."""
    outputs = [y for y in place.results if chosen(y)]
    return [_rows(x, outputs, lambda d, i=i: difference(place, i, d, eps, chosen)) for i, x in zip(place.wanted, place.sources())]


def by_backward(place: Place) -> list[list[Jacobian]]:
    """As `by_differences`, by backward passes."""
    columns = [[pulled(place, n, g) for g in units(y)] for n, y in enumerate(place.outputs)]
    return [
        [_stacked([_vector(found[k]) for found in column], x.numel()).t() for column in columns]
        for k, x in enumerate(place.sources())
    ]


def by_forward(place: Place) -> list[list[Jacobian]]:
    """As `by_differences`, by forward mode."""
    return [
        _rows(x, place.outputs, lambda t, i=i: [_vector(y) for y in pushed(place, i, t)])
        for i, x in zip(place.wanted, place.sources())
    ]


def _rows(x: Tensor, outputs: list[Tensor], along: Callable[[Tensor], list[Tensor]]) -> list[Jacobian]:
    rows = [along(unit) for unit in units(x)]
    return [_stacked([row[n] for row in rows], y.numel()) for n, y in enumerate(outputs)]


def _stacked(rows: list[Tensor], width: int) -> Tensor:
    return _ferrograd.stack(rows) if rows else _ferrograd.zeros(0, width, dtype=_ferrograd.float64)


def _vector(t: Tensor) -> Tensor:
    return t.detach().to(_ferrograd.float64).reshape(-1)

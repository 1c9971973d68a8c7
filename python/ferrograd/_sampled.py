"""Functions of sampled numbers that are written in terms of others."""

from collections.abc import Sequence
from typing import Any

from . import _ferrograd
from ._functions import _tensor
from ._ferrograd import Tensor


def _refuse(name: str, what: str):
    raise RuntimeError(f"{name}: {what}")


def _spaces(dims: list[int], spacing: Any, by_default: bool) -> list[Any]:
    """A distance, or the places of the numbers, for each dimension."""
    if spacing is None:
        return [1] * len(dims)
    if not isinstance(spacing, (list, tuple)):
        return [spacing] * len(dims)
    if len(spacing) != len(dims):
        what = "self.dim()" if by_default else "dim"
        _refuse("gradient", f"spacing must be a number or have as many elements as {what}, {len(dims)}, but has {len(spacing)}")
    return list(spacing)


def _slopes(x: Tensor, dim: int, space: Any, edge_order: int) -> Tensor:
    """The derivative along a dimension: of second order within, from both neighbours, and of `edge_order` at the ends."""
    size = x.shape[dim]
    part = lambda start, length: x.narrow(dim, start, length)  # noqa: E731
    if isinstance(space, Tensor) and space.dim() > 0:
        if space.dim() != 1:
            _refuse("gradient", f"expected each element of spacing to have one dimension, but got {space.dim()}")
        if space.numel() != size:
            _refuse("gradient", f"expected {size} places along dimension {dim}, as many as numbers, but got {space.numel()}")
        steps = space.diff().reshape([-1 if d == dim else 1 for d in range(x.dim())])
    else:
        steps = _ferrograd.ones([size - 1 if d == dim else 1 for d in range(x.dim())], dtype=_ferrograd.float64) * space
        steps = steps.to(x.dtype if x.is_floating_point() else _ferrograd.get_default_dtype())
    step = lambda start, length: steps.narrow(dim, start, length)  # noqa: E731
    rises = x.diff(dim=dim) / steps
    if edge_order == 1:
        first, last = rises.narrow(dim, 0, 1), rises.narrow(dim, size - 2, 1)
    else:
        # The slope at an end of the parabola through three numbers.
        ends = [(0, 1), (size - 2, size - 3)]
        first, last = (
            rises.narrow(dim, near, 1)
            + (rises.narrow(dim, near, 1) - rises.narrow(dim, far, 1)) * step(near, 1) / (step(near, 1) + step(far, 1))
            for near, far in ends
        )
    if size == 2:
        return _ferrograd.cat([first, last], dim)
    before, behind = step(0, size - 2), step(1, size - 2)
    inner = rises.narrow(dim, 0, size - 2) * behind + rises.narrow(dim, 1, size - 2) * before
    return _ferrograd.cat([first, inner / (before + behind), last], dim)


def gradient(
    input: Tensor, *, spacing: Any = None, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The derivatives along dimensions, all or those of `dim`, of a function that `input` has samples of.

    Within, the derivative of the parabola through a number and its neighbours; at the ends the slope to the neighbour, or with
    `edge_order=2` that of the parabola through three numbers. `spacing` is the distance of the samples, or one for each
    dimension, or for each a vector of the samples' places.

    Raises RuntimeError for dimensions of `edge_order` elements or fewer, dimensions named twice, a `spacing` that does not fit,
    uint8 and bool; IndexError for dimensions that there are not.

    >>> import ferrograd
    >>> gradient(ferrograd.tensor([1.0, 4.0, 9.0, 16.0]))
    (tensor([3., 4., 6., 7.]),)
    >>> gradient(ferrograd.tensor([1.0, 4.0, 16.0]), spacing=(ferrograd.tensor([1.0, 2.0, 4.0]),), edge_order=2)
    (tensor([2., 4., 8.]),)
    """
    x = _tensor("gradient", "input", 1, input)
    if x.dtype in (_ferrograd.uint8, _ferrograd.bool):
        _refuse("gradient", f"{x.dtype}: it takes signed numbers only")
    if edge_order not in (1, 2):
        _refuse("gradient", f"edge_order must be 1 or 2, got {edge_order}")
    named = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = [_within(d, x.dim()) for d in named]
    if len(set(dims)) != len(dims):
        _refuse("gradient", f"a dimension appears twice in dim: {tuple(named)}")
    spaces = _spaces(dims, spacing, dim is None)
    if any(x.shape[d] <= edge_order for d in dims):
        _refuse("gradient", f"expected each dimension size to be at least edge_order + 1, got shape {tuple(x.shape)}")
    return tuple(_slopes(x, d, space, edge_order) for d, space in zip(dims, spaces))


def _within(dim: int, rank: int) -> int:
    if not -rank <= dim < rank:
        raise IndexError(f"gradient: Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})")
    return dim % rank


def histogramdd(
    input: Tensor, bins: Any, range: Sequence[float] | None = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """How many points, or the sums of their weights, fall into the boxes between edges: `input` has the coordinates of a point
    in its last dimension.

    `bins` is a number of equal intervals, or one for each coordinate, over `range`, two numbers for each coordinate, or over all
    points; or a vector of edges for each coordinate. With `density` the counts over their sum and the sizes of the boxes. The
    result has the names `hist` and `bin_edges`, which are the tensors of `bins` where these are edges.

    Raises RuntimeError for fewer than two dimensions and arguments that do not fit, TypeError for `bins` that are neither
    integers nor vectors, NotImplementedError for other dtypes than float32 and float64.

    >>> import ferrograd
    >>> points = ferrograd.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
    >>> histogramdd(points, 2).hist
    tensor([[0., 1.],
            [2., 1.]])
    """
    name = "histogramdd"
    x = _tensor(name, "input", 1, input).detach()
    if x.dtype not in (_ferrograd.float32, _ferrograd.float64):
        raise NotImplementedError(f"{name}: {x.dtype}: it takes float32 and float64 only; this is not implemented")
    if x.dim() < 2:
        _refuse(name, "input tensor should have at least 2 dimensions")
    count = x.shape[-1]
    if weight is not None and (weight.shape != x.shape[:-1] or weight.dtype != x.dtype):
        expected, given = (x.shape[:-1], x.dtype), (weight.shape, weight.dtype)
        _refuse(name, f"weight should have the shape and dtype {expected}, got {given}")
    wanted = [bins] * count if isinstance(bins, int) else list(bins) if isinstance(bins, (list, tuple)) else [None]
    if not any(all(isinstance(b, kind) for b in wanted) for kind in (int, Tensor)):
        raise TypeError(f"{name}(): argument 'bins' must be int, tuple of ints or tuple of Tensors")
    if len(wanted) != count:
        _refuse(name, f"the size of bins must be equal to the innermost dimension of the input, {count}, got {len(wanted)}")
    if range is not None and len(range) != 2 * count:
        _refuse(name, f"range should have {2 * count} elements, got {len(range)}")
    points = x.reshape(-1, count)
    edges, places, inside = [], 0, None
    for n, column in enumerate(points.unbind(1)):
        asked = {} if range is None or isinstance(wanted[n], Tensor) else {"range": tuple(range[2 * n : 2 * n + 2])}
        edge = _ferrograd.histogram(column, wanted[n], **asked).bin_edges
        # The last interval holds its upper bound.
        at = (_ferrograd.searchsorted(edge, column.contiguous(), right=True) - 1).clamp(max=edge.numel() - 2)
        here = (column >= edge[0]) & (column <= edge[-1])
        inside = here if inside is None else inside & here
        places = places * (edge.numel() - 1) + at
        edges.append(wanted[n] if isinstance(wanted[n], Tensor) else edge)
    boxes = [edge.numel() - 1 for edge in edges]
    total = 1
    for size in boxes:
        total *= size
    weights = None if weight is None else weight.detach().reshape(-1)[inside]
    hist = _ferrograd.bincount(places[inside], weights, total).to(x.dtype).reshape(boxes)
    if density:
        hist = hist / hist.sum()
        for n, edge in enumerate(edges):
            hist = hist / edge.detach().diff().reshape([-1 if d == n else 1 for d, _ in enumerate(edges)])
    from .return_types import histogramdd as result

    return result((hist, tuple(edges)))

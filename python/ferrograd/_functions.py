"""Functions of the package that are written in terms of others."""

from math import inf

from . import _ferrograd
from ._ferrograd import Tensor, _manual_seed
from ._size import Size


class Generator:
    """What `manual_seed` returns: the default stream of random numbers."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def initial_seed(self) -> int:
        """The seed that the stream started from."""
        return self._seed


def manual_seed(seed: int) -> Generator:
    """Seed the default stream of random numbers; the same seed gives torch's numbers.

    >>> import ferrograd
    >>> _ = manual_seed(0)
    >>> ferrograd.rand(3)
    tensor([0.4963, 0.7682, 0.0885])
    """
    seed = int(seed)
    _manual_seed(seed)
    return Generator(seed)


def broadcast_shapes(*shapes) -> Size:
    """The shape that shapes, or sizes of vectors, broadcast to.

    >>> broadcast_shapes((2, 1), (3, 1, 7), 7)
    torch.Size([3, 2, 7])
    """
    result: list[int] = []
    for position, shape in enumerate(shapes):
        sizes = [shape] if isinstance(shape, int) else list(shape)
        if any(size < 0 for size in sizes):
            raise ValueError(f"broadcast_shapes: sizes must not be negative, got {tuple(sizes)}")
        result = [1] * (len(sizes) - len(result)) + result
        for at in range(-1, -len(sizes) - 1, -1):
            if result[at] == 1:
                result[at] = sizes[at]
            elif sizes[at] not in (1, result[at]):
                raise RuntimeError(
                    f"broadcast_shapes: argument {position}, {tuple(sizes)}, does not broadcast to {result}: sizes must be "
                    f"equal or 1, got {sizes[at]} at dimension {at}"
                )
    return Size(result)


def detach(input: Tensor) -> Tensor:
    """`Tensor.detach`: the same elements without history."""
    return input.detach()


def is_tensor(obj: object) -> bool:
    """True for tensors.

    >>> is_tensor([1.0])
    False
    """
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements.

    >>> import ferrograd
    >>> numel(ferrograd.zeros(2, 3))
    6
    """
    return input.numel()


def equal(input: Tensor, other: Tensor) -> bool:
    """True for tensors of one shape whose elements are all equal.

    >>> import ferrograd
    >>> equal(ferrograd.tensor([1, 2]), ferrograd.tensor([1.0, 2.0]))
    True
    """
    return input.shape == other.shape and bool((input == other).all())


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """`|input - other| <= atol + rtol |other|`, element by element; equal infinities are close.

    Raises RuntimeError for tensors of two dtypes or of shapes that do not broadcast.

    >>> import ferrograd
    >>> isclose(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    if input.dtype != other.dtype:
        raise RuntimeError(f"isclose: expected operands of the same dtype, got {input.dtype} and {other.dtype}")
    size = other.abs()
    near = ((input - other).abs() <= atol + rtol * size).logical_and(size < inf)
    close = (input == other).logical_or(near)
    if equal_nan:
        close = close.logical_or(input.isnan().logical_and(other.isnan()))
    return close


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """True where all elements are close, as `isclose` has it.

    Raises RuntimeError for tensors of two dtypes or of shapes that do not broadcast.

    >>> import ferrograd
    >>> allclose(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 2.0 + 1e-6]))
    True
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def einsum(*args) -> Tensor:
    """Sums of products over named dimensions: of an equation and operands, or of operands each followed by a list of
    numbers that name its dimensions, and at last the list of the result's.

    >>> import ferrograd
    >>> einsum("ij->j", ferrograd.ones(2, 3))
    tensor([2., 2., 2.])
    >>> einsum(ferrograd.ones(2, 3), [0, 1], [1])
    tensor([2., 2., 2.])
    """
    if len(args) < 2:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts list")
    if isinstance(args[0], str):
        return _ferrograd.einsum(*args)
    operands = args[0 : 2 * (len(args) // 2) : 2]
    terms = ",".join(map(_term, args[1::2]))
    if len(args) % 2:
        terms += "->" + _term(args[-1])
    return _ferrograd.einsum(terms, list(operands))


def _term(subscripts) -> str:
    """A list of numbers below 52 as letters; an ellipsis stays."""
    letters = ""
    for s in subscripts:
        if s is Ellipsis:
            letters += "..."
        elif isinstance(s, int) and 0 <= s < 52:
            letters += chr(ord("A") + s) if s < 26 else chr(ord("a") + s - 26)
        else:
            raise ValueError("einsum(): subscripts must be integers within range [0, 52) or Ellipsis")
    return letters

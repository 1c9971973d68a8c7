"""PyTorch's tensors and autograd without PyTorch.

>>> import ferrograd
>>> x = ferrograd.tensor([2.0], requires_grad=True)
>>> y = 3 * x ** 2 + 1
>>> y.backward()
>>> x.grad
tensor([12.])
"""

from . import _ferrograd
from ._ferrograd import *  # noqa: F403 - the table of operations names them
from ._ferrograd import (
    Tensor,
    __version__,
    _manual_seed,
    dtype,
    get_default_dtype,
    get_num_threads,
    is_grad_enabled,
    set_default_dtype,
    set_num_threads,
    tensor,
)
from ._size import Size
from . import autograd
from . import _tensor  # noqa: F401 - adds methods to Tensor
from ._printing import set_printoptions
from .autograd.grad_mode import enable_grad, no_grad, set_grad_enabled

inf = float("inf")
nan = float("nan")
pi = 3.141592653589793
e = 2.718281828459045
newaxis = None


class Generator:
    """What `manual_seed` returns: the default stream of random numbers."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def initial_seed(self) -> int:
        """The seed that the stream started from."""
        return self._seed


def manual_seed(seed: int) -> Generator:
    """Seed the default stream of random numbers; the same seed gives torch's numbers.

    >>> _ = manual_seed(0)
    >>> rand(3)
    tensor([0.4963, 0.7682, 0.0885])
    """
    seed = int(seed)
    _manual_seed(seed)
    return Generator(seed)


def is_tensor(obj: object) -> bool:
    """True for tensors."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def equal(input: Tensor, other: Tensor) -> bool:
    """True for tensors of one shape whose elements are all equal."""
    return input.shape == other.shape and bool((input == other).all())


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """`|input - other| <= atol + rtol |other|`, element by element; equal infinities are close."""
    close = (input == other).logical_or((input - other).abs() <= atol + rtol * other.abs())
    if equal_nan:
        close = close.logical_or(input.isnan().logical_and(other.isnan()))
    return close


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """True where all elements are close, as `isclose` has it."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())

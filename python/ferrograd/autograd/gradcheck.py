"""Derivatives checked against differences."""

from .. import _ferrograd
from .._ferrograd import Tensor


def _check(function, inputs, eps, atol, rtol, raise_exception, second) -> bool:
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    try:
        _ferrograd._gradcheck(function, inputs, eps, atol, rtol, second)
    except RuntimeError:
        if raise_exception:
            raise
        return False
    return True


def gradcheck(func, inputs, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True) -> bool:
    """Check the derivatives of `func` at `inputs` against central differences.

    Give float64 inputs; float32 has too few digits for the default `eps`. A mismatch raises a RuntimeError that shows
    both Jacobians, or returns False where `raise_exception` is.

    >>> import ferrograd
    >>> x = ferrograd.tensor([0.5, -1.0], dtype=ferrograd.float64, requires_grad=True)
    >>> gradcheck(ferrograd.tanh, x)
    True
    """
    return _check(func, inputs, eps, atol, rtol, raise_exception, False)


def gradgradcheck(func, inputs, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True) -> bool:
    """Check the second derivatives of `func` at `inputs` against differences of its first, as `gradcheck` does."""
    return _check(func, inputs, eps, atol, rtol, raise_exception, True)

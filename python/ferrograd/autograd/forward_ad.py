"""Forward mode: tensors that carry a tangent, and operations that carry it along.

>>> import ferrograd
>>> with dual_level():
...     x = make_dual(ferrograd.tensor([2.0]), ferrograd.tensor([1.0]))
...     y, dy = unpack_dual(x ** 3)
>>> y, dy
(tensor([8.]), tensor([12.]))
"""

from typing import NamedTuple

from .. import _ferrograd
from .._ferrograd import Tensor, _enter_dual_level, _exit_dual_level, _is_fwd_grad_enabled
from .grad_mode import _Mode, _Setting


class UnpackedDualTensor(NamedTuple):
    """A primal and its tangent, or None where it has none.

    >>> import ferrograd
    >>> unpack_dual(ferrograd.ones(1)).tangent is None
    True
    """

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Enter a level: what `make_dual` makes from now on lives until it is left. Levels nest.

    >>> level = enter_dual_level()
    >>> exit_dual_level(level=level)
    """
    return _enter_dual_level()


def exit_dual_level(*, level: int | None = None) -> None:
    """Leave the innermost level; the tangents of its tensors are gone.
    RuntimeError where none was entered, or where `level` is not the innermost.

    >>> exit_dual_level(level=enter_dual_level())
    """
    _exit_dual_level(level)


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A view of `tensor` that carries `tangent`, which has its shape and dtype. RuntimeError outside of a level.

    >>> import ferrograd
    >>> with dual_level():
    ...     x = make_dual(ferrograd.tensor([3.0]), ferrograd.tensor([1.0]))
    ...     unpack_dual(x * x).tangent
    tensor([6.])
    """
    return _ferrograd._make_dual(tensor, tangent, level)


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """`tensor` without its tangent, and the tangent, or None.

    >>> import ferrograd
    >>> with dual_level():
    ...     x = make_dual(ferrograd.tensor([3.0]), ferrograd.tensor([1.0]))
    ...     unpack_dual(x).primal
    tensor([3.])
    """
    return UnpackedDualTensor(*_ferrograd._unpack_dual(tensor, level))


class dual_level(_Mode):
    """A level as a context manager: `with dual_level():`.

    >>> import ferrograd
    >>> with dual_level():
    ...     x = make_dual(ferrograd.tensor([3.0]), ferrograd.tensor([1.0]))
    ...     unpack_dual(x.exp() * 0).tangent
    tensor([0.])
    """

    def __enter__(self) -> int:
        self._level = enter_dual_level()
        return self._level

    def __exit__(self, *exception: object) -> None:
        exit_dual_level(level=self._level)


class _set_fwd_grad_enabled(_Setting):
    """Operations carry tangents or not, at once and, in a `with` block, until its end.

    >>> import ferrograd
    >>> with dual_level():
    ...     x = make_dual(ferrograd.tensor([3.0]), ferrograd.tensor([1.0]))
    ...     with _set_fwd_grad_enabled(False):
    ...         y = x * x
    ...     unpack_dual(x * x - y).tangent
    tensor([6.])
    """

    _set = staticmethod(_ferrograd._set_fwd_grad_enabled)


__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


def __getattr__(name: str) -> int:
    # What torch's programs ask for the level that was entered last, -1 outside of any.
    if name == "_current_level":
        return _ferrograd._current_dual_level()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

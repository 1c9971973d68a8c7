"""Whether operations are recorded: context managers that are decorators too."""

from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

from .._ferrograd import (
    Tensor,
    _restore_inference_mode,
    _set_grad_enabled,
    _set_inference_mode,
    _set_layout_enforced,
    _set_multithreading_enabled,
    _set_version,
    is_grad_enabled,
    is_inference_mode_enabled,
)
from ..utils._contextlib import _DecoratorContextManager, _NoParamDecoratorContextManager

#: A decorated function keeps its type.
_F = TypeVar("_F", bound=Callable[..., Any])


class _Mode(_DecoratorContextManager):
    """A mode that a `with` block or a decorated function runs in."""

    #: What held before.
    prev: bool

    def __exit__(self, *exception: object) -> None:
        _set_grad_enabled(self.prev)


class _FixedMode(_NoParamDecoratorContextManager, _Mode):
    _enabled: bool

    def __enter__(self) -> None:
        self.prev = _set_grad_enabled(self._enabled)


class no_grad(_FixedMode):
    """Operations are not recorded: `with no_grad():` or `@no_grad()`.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with ferrograd.no_grad():
    ...     y = x ** 2
    >>> y.requires_grad
    False
    """

    prev = False
    _enabled = False


class enable_grad(_FixedMode):
    """Operations are recorded, also within `no_grad`.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with ferrograd.no_grad(), ferrograd.enable_grad():
    ...     y = x ** 2
    >>> y.requires_grad
    True
    """

    _enabled = True


class inference_mode(_Mode):
    """Operations are not recorded, and what they make never can be: the fastest way to compute without gradients.

    >>> import ferrograd
    >>> with ferrograd.inference_mode():
    ...     y = ferrograd.ones(2) * 2
    >>> y.is_inference()
    True
    """

    mode: bool

    @overload
    def __new__(cls, mode: bool = True) -> Self: ...

    @overload
    def __new__(cls, mode: _F) -> _F: ...

    def __new__(cls, mode: Any = True) -> Any:
        if not isinstance(mode, bool):
            return cls()(mode)
        made = super().__new__(cls)
        made.mode = mode
        return made

    def __enter__(self) -> None:
        self.prev = _set_inference_mode(self.mode)

    def __exit__(self, *exception: object) -> None:
        _restore_inference_mode(self.prev)

    def clone(self) -> "inference_mode":
        """Another of the same, as each call of a decorated function needs one.

        >>> inference_mode(False).clone().mode
        False
        """
        return inference_mode(self.mode)


class set_grad_enabled(_Mode):
    """Operations are recorded or not, at once and, in a `with` block, until its end.
    TypeError for a mode that is no bool.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with ferrograd.set_grad_enabled(False):
    ...     y = x ** 2
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled(): argument 'enabled' must be bool, not {type(mode).__name__}")
        self.mode = mode
        self.prev = _set_grad_enabled(mode)

    def __enter__(self) -> None:
        _set_grad_enabled(self.mode)

    def clone(self) -> "set_grad_enabled":
        """Another of the same, as each call of a decorated function needs one.

        >>> set_grad_enabled(True).clone().mode
        True
        """
        return set_grad_enabled(self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}(mode={self.mode})"

    def __call__(self, function: _F) -> _F:
        _set_grad_enabled(self.prev)
        return super().__call__(function)


class _Setting(_Mode):
    """A mode that holds at once too."""

    #: Sets it; gives what held before.
    _set: Callable[[bool], bool]

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self.prev = self._set(mode)

    def __enter__(self) -> None:
        self._set(self.mode)

    def __exit__(self, *exception: object) -> None:
        self._set(self.prev)

    def clone(self) -> Self:
        """Another of the same, as each call of a decorated function needs one.

        >>> set_multithreading_enabled(True).clone().mode
        True
        """
        return type(self)(self.mode)


class set_multithreading_enabled(_Setting):
    """Backward uses several threads or the calling one alone, at once and, in a `with` block, until its end.

    >>> import ferrograd
    >>> x = ferrograd.tensor([2.0], requires_grad=True)
    >>> with set_multithreading_enabled(False):
    ...     (x ** 2).backward()
    >>> x.grad
    tensor([4.])
    """

    _set = staticmethod(_set_multithreading_enabled)


class enforce_grad_layout_policy(_Setting):
    """A leaf's first gradient lies in memory as the leaf does, or with False as the backward pass made it, which may save a
    copy: at once and, in a `with` block, until its end.

    >>> import ferrograd
    >>> x = ferrograd.ones(2, 3).t().requires_grad_()
    >>> with enforce_grad_layout_policy(False):
    ...     (x.contiguous() * 2).sum().backward()
    >>> x.stride(), x.grad.stride()
    ((1, 3), (2, 1))
    """

    _set = staticmethod(_set_layout_enforced)

    def __init__(self, enable: bool = True) -> None:
        super().__init__(enable)

    def __call__(self, function: _F) -> _F:
        self._set(self.prev)
        return super().__call__(function)


class _unsafe_preserve_version_counter(_Mode):
    """Changes of these tensors in place within the block do not count: what was kept of them counts as unchanged, and
    gradients that need it are those of other values.

    >>> import ferrograd
    >>> x = ferrograd.ones(1)
    >>> with _unsafe_preserve_version_counter(x):
    ...     _ = x.add_(1)
    >>> x._version
    0
    """

    def __init__(self, tensors: "Tensor | tuple[Tensor, ...]") -> None:
        self.tensors = (tensors,) if isinstance(tensors, Tensor) else tensors
        assert isinstance(self.tensors, tuple)
        self.prev_versions = tuple(t._version for t in self.tensors)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        for tensor, version in zip(self.tensors, self.prev_versions):
            _set_version(tensor, version)


__all__ = [
    "enable_grad",
    "enforce_grad_layout_policy",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
    "set_multithreading_enabled",
]

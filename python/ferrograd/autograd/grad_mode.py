"""Whether operations are recorded: context managers that are decorators too."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

from .._ferrograd import (
    _restore_inference_mode,
    _set_grad_enabled,
    _set_inference_mode,
    _set_layout_enforced,
    _set_multithreading_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
)


#: A decorated function keeps its type.
_F = TypeVar("_F", bound=Callable[..., Any])


class _Mode:
    """A mode that a `with` block or a decorated function runs in."""

    #: What held before.
    prev: bool

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *exception: object) -> None:
        _set_grad_enabled(self.prev)

    def clone(self) -> "_Mode":
        """Another of the same, as each call of a decorated function needs one.

        >>> isinstance(no_grad().clone(), no_grad)
        True
        """
        return type(self)()

    def __call__(self, function: _F) -> _F:
        import inspect  # a third of the package's import, for decorators alone

        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
                "functions or methods: the mode holds while the class is called, and not in its other methods.",
                FutureWarning,
                stacklevel=2,
            )
        if inspect.isasyncgenfunction(function):
            return self._around_async_generator(function)
        if inspect.isgeneratorfunction(function):
            return self._around_generator(function)
        if inspect.iscoroutinefunction(function):
            return self._around_coroutine(function)

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with self.clone():
                return function(*args, **kwargs)

        return wrapped

    def _around_coroutine(self, function: Callable[..., Any]) -> Any:
        """The mode holds while the coroutine runs, not while it waits for others."""
        driven = self._around_generator(_steps)

        @functools.wraps(function)
        async def wrapped(*args, **kwargs):
            return await _Awaitable(driven(function(*args, **kwargs)))

        return wrapped

    def _around_async_generator(self, function: Callable[..., Any]) -> Any:
        """The mode holds while the generator runs, not while it waits for its caller or for others."""

        @functools.wraps(function)
        async def wrapped(*args, **kwargs):
            generator = function(*args, **kwargs)
            step, value = self._around_coroutine(generator.asend), None
            while True:
                try:
                    produced = await step(value)
                except StopAsyncIteration:
                    return
                try:
                    value = yield produced
                    step = self._around_coroutine(generator.asend)
                except GeneratorExit:
                    await self._around_coroutine(generator.aclose)()
                    raise
                except BaseException as error:
                    step, value = self._around_coroutine(generator.athrow), error

        return wrapped

    def _around_generator(self, function: Callable[..., Any]) -> Any:
        """The mode holds while the generator runs, not while it waits for its caller."""

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            while True:
                try:
                    with self.clone():
                        produced = step(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    value = yield produced
                    step = generator.send
                except GeneratorExit:
                    with self.clone():
                        generator.close()
                    raise
                except BaseException as error:
                    step, value = generator.throw, error

        return wrapped


def _steps(coroutine: Any) -> Any:
    """A coroutine as a generator of what it waits for."""
    return (yield from coroutine.__await__())


class _Awaitable:
    """A generator that can be awaited."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __await__(self) -> Any:
        return self._generator


class _FixedMode(_Mode):
    _enabled: bool

    @overload
    def __new__(cls, function: None = None) -> Self: ...

    @overload
    def __new__(cls, function: _F) -> _F: ...

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        mode = super().__new__(cls)
        return mode if function is None else mode(function)

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

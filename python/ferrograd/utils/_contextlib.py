"""Context managers as decorators: a function that is decorated runs within its block."""

import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self, TypeVar, overload

#: A decorated function keeps its type.
_F = TypeVar("_F", bound=Callable[..., Any])

_Factory = Callable[[], AbstractContextManager]


def context_decorator(ctx: AbstractContextManager | _Factory, func: _F) -> _F:
    """A function that runs within a block of `ctx`: of a context manager that may be entered again and again, or of what a
    function without arguments gives each time. Generators and coroutines are within the block while they run, not while they
    wait for others.

    Raises RuntimeError for a class, of which nothing says which methods are meant; AssertionError for a `ctx` that is both.

    >>> import contextlib
    >>> @functools.partial(context_decorator, lambda: contextlib.suppress(ZeroDivisionError))
    ... def inverse(x):
    ...     return 1 / x
    >>> inverse(4), inverse(0)
    (0.25, None)
    """
    import inspect  # a third of the package's import, for decorators alone

    assert not (callable(ctx) and hasattr(ctx, "__enter__")), (
        f"{ctx} is both callable and a context manager: give a function without arguments that says which is meant"
    )
    if isinstance(func, type):
        raise RuntimeError("Cannot decorate classes; it is ambiguous which of their methods are meant: decorate each of those")
    factory: _Factory = ctx if callable(ctx) else lambda: ctx
    if inspect.isasyncgenfunction(func):
        return _around_async_generator(factory, func)
    if inspect.isgeneratorfunction(func):
        return _around_generator(factory, func)
    if inspect.iscoroutinefunction(func):
        return _around_coroutine(factory, func)

    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        with factory():
            return func(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


class _DecoratorContextManager:
    """A context manager that is a decorator too. A subclass says what its block is, and where its `__init__` takes arguments
    how it is cloned.

    >>> class quiet(_DecoratorContextManager):
    ...     def __enter__(self):
    ...         print("hush")
    ...     def __exit__(self, *exception):
    ...         pass
    >>> @quiet()
    ... def double(x):
    ...     return x * 2
    >>> double(3)
    hush
    6
    """

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *exception: object) -> None:
        raise NotImplementedError

    def clone(self) -> "_DecoratorContextManager":
        """Another of the same, as each call of a decorated function needs one.

        >>> isinstance(_DecoratorContextManager().clone(), _DecoratorContextManager)
        True
        """
        return type(self)()

    def __call__(self, orig_func: _F) -> _F:
        if not isinstance(orig_func, type):
            return context_decorator(self.clone, orig_func)
        warnings.warn(
            "Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
            "functions or methods: the mode holds while the class is called, and not in its other methods.",
            FutureWarning,
            stacklevel=2,
        )

        @functools.wraps(orig_func)
        def made(*args, **kwargs):
            return orig_func(*args, **kwargs)

        return context_decorator(self.clone, made)  # type: ignore[return-value]


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """A context manager without arguments, which decorates with brackets or without.

    >>> class quiet(_NoParamDecoratorContextManager):
    ...     def __enter__(self):
    ...         print("hush")
    ...     def __exit__(self, *exception):
    ...         pass
    >>> @quiet
    ... def double(x):
    ...     return x * 2
    >>> double(3)
    hush
    6
    """

    @overload
    def __new__(cls, orig_func: None = None) -> Self: ...

    @overload
    def __new__(cls, orig_func: _F) -> _F: ...

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if orig_func is None else cls()(orig_func)


def _around_coroutine(factory: _Factory, function: Callable[..., Any]) -> Any:
    """The block is that of the coroutine while it runs, not while it waits for others."""
    driven = _around_generator(factory, _steps)

    @functools.wraps(function)
    async def wrapped(*args, **kwargs):
        return await _Awaitable(driven(function(*args, **kwargs)))

    return wrapped


def _around_async_generator(factory: _Factory, function: Callable[..., Any]) -> Any:
    """The block is that of the generator while it runs, not while it waits for its caller or for others."""

    @functools.wraps(function)
    async def wrapped(*args, **kwargs):
        generator = function(*args, **kwargs)
        step, value = _around_coroutine(factory, generator.asend), None
        while True:
            try:
                produced = await step(value)
            except StopAsyncIteration:
                return
            try:
                value = yield produced
                step = _around_coroutine(factory, generator.asend)
            except GeneratorExit:
                await _around_coroutine(factory, generator.aclose)()
                raise
            except BaseException as error:
                step, value = _around_coroutine(factory, generator.athrow), error

    return wrapped


def _around_generator(factory: _Factory, function: Callable[..., Any]) -> Any:
    """The block is that of the generator while it runs, not while it waits for its caller."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        generator = function(*args, **kwargs)
        step, value = generator.send, None
        while True:
            try:
                with factory():
                    produced = step(value)
            except StopIteration as stop:
                return stop.value
            try:
                value = yield produced
                step = generator.send
            except GeneratorExit:
                with factory():
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

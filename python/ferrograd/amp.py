"""Mixed precision, of which there is none: operations compute in the element types that they are given."""

import contextlib
from typing import Any

from ._ferrograd import device, dtype as _dtype


class autocast(contextlib.ContextDecorator):
    """A block, or a decorated function, of which programs say that it is not to run in mixed precision: `enabled=False`
    changes nothing.

    Raises NotImplementedError where it is enabled; RuntimeError for what is no kind of device; ValueError for what is no string.

    >>> import ferrograd
    >>> with autocast("cpu", enabled=False):
    ...     ferrograd.is_autocast_enabled("cpu")
    False
    """

    def __init__(
        self,
        device_type: str,
        dtype: _dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        device(device_type)
        if enabled:
            raise NotImplementedError(
                "autocast: mixed precision is not implemented; convert tensors with .to(dtype), or pass enabled=False"
            )
        self.device, self.fast_dtype = device_type, dtype

    def __enter__(self) -> "autocast":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass


__all__ = ["autocast"]

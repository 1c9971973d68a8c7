"""What hooks leave behind: handles that take them away again, and warnings where they are not kept."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from .._ferrograd import RemovableHandle, Tensor

_F = TypeVar("_F", bound=Callable[..., Any])


def unserializable_hook(hook: _F) -> _F:
    """Mark a hook as one that may go missing where its tensor is pickled or saved: no warning tells of it then.

    >>> import ferrograd
    >>> import pickle
    >>> x = ferrograd.ones(1, requires_grad=True)
    >>> handle = x.register_hook(unserializable_hook(lambda grad: print(grad)))
    >>> pickle.loads(pickle.dumps(x))
    tensor([1.], requires_grad=True)
    """
    hook.__torch_unserializable__ = True  # type: ignore[attr-defined]
    return hook


def warn_if_has_hooks(tensor: Tensor) -> None:
    """Warn of each hook of a tensor that is pickled or saved without it, but for those marked by `unserializable_hook`.

    >>> import ferrograd
    >>> warn_if_has_hooks(ferrograd.ones(1))
    """
    for hook in (tensor._backward_hooks or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized. If this is expected, you can decorate the "
                "function with @torch.utils.hooks.unserializable_hook to suppress this warning",
                stacklevel=3,
            )


__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]

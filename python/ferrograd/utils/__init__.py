"""Helpers beside the tensors themselves."""

from typing import TYPE_CHECKING

from . import dlpack, hooks

if TYPE_CHECKING:
    from ._objects import set_module, swap_tensors

_OBJECTS = ("set_module", "swap_tensors")


def __getattr__(name: str):
    # Loaded when first asked for, so that the import of the package stays short.
    from importlib import import_module

    if name in ("checkpoint", "_pytree"):
        return import_module(f".{name}", __name__)
    if name in _OBJECTS:
        return getattr(import_module("._objects", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["dlpack", "hooks", "set_module", "swap_tensors"]

"""Helpers beside the tensors themselves."""

from . import dlpack, hooks


def __getattr__(name: str):
    # Loaded when first asked for, so that the import of the package stays short.
    if name == "checkpoint":
        from importlib import import_module

        return import_module(".checkpoint", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["dlpack", "hooks"]

"""Helpers beside the tensors themselves."""

from . import hooks

__all__ = ["hooks"]

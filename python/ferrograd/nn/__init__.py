"""Neural networks: their functions, in `functional`."""

from . import functional

__all__ = ["functional"]

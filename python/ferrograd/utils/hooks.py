"""What hooks leave behind: handles that take them away again."""

from .._ferrograd import RemovableHandle

__all__ = ["RemovableHandle"]

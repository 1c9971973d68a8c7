"""Sizes, and the pickled form of tensors."""

from operator import index


class Size(tuple):
    """The sizes of a tensor's dimensions: a tuple of integers that knows how many elements there are.

    >>> Size([2, 3]).numel()
    6
    >>> Size([2, 3]) + (4,)
    torch.Size([2, 3, 4])
    """

    __slots__ = ()

    def __new__(cls, sizes=()):
        made = []
        for place, size in enumerate(sizes):
            try:
                made.append(index(size))
            except TypeError:
                given = type(size).__name__
                raise TypeError(f"torch.Size() takes an iterable of 'int' (item {place} is '{given}')") from None
        return tuple.__new__(cls, made)

    def numel(self) -> int:
        """The number of elements.

        >>> Size([2, 3]).numel()
        6
        """
        count = 1
        for size in self:
            count *= size
        return count

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __getitem__(self, index):
        found = super().__getitem__(index)
        return _size(found) if isinstance(index, slice) else found

    def __add__(self, other):
        if not isinstance(other, tuple):
            return NotImplemented
        return _size(super().__add__(other))

    def __radd__(self, other):
        return _size(other + tuple(self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, times):
        return _size(super().__mul__(times))

    __rmul__ = __mul__


def _size(sizes: tuple) -> Size:
    """Integers as a `Size`."""
    return tuple.__new__(Size, sizes)


def _rebuild(elements: bytes, shape: tuple, order: list, dtype, requires_grad: bool):
    """A pickled tensor: elements in the order of memory, and the dimensions in that order."""
    from ._ferrograd import _from_bytes

    made = _from_bytes(elements, shape, dtype)
    if order != sorted(order):
        made = made.permute(*sorted(range(len(order)), key=order.__getitem__)).detach()
    return made.requires_grad_(requires_grad) if requires_grad else made

"""Sizes, and the pickled form of tensors."""


class Size(tuple):
    """The sizes of a tensor's dimensions: a tuple that knows how many elements there are."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for size in self:
            count *= size
        return count

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __getitem__(self, index):
        found = super().__getitem__(index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other):
        return Size(super().__add__(tuple(other)))


def _rebuild(elements: bytes, shape: tuple, order: list, dtype, requires_grad: bool):
    """A pickled tensor: elements in the order of memory, and the dimensions in that order."""
    from ._ferrograd import _from_bytes

    made = _from_bytes(elements, shape, dtype)
    if order != sorted(order):
        made = made.permute(*sorted(range(len(order)), key=order.__getitem__)).detach()
    return made.requires_grad_(requires_grad) if requires_grad else made

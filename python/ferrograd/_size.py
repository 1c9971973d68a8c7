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


def _rebuild(elements: list, shape: tuple, dtype, requires_grad: bool):
    from . import tensor

    made = tensor(elements, dtype=dtype).reshape(shape)
    return made.requires_grad_(requires_grad) if requires_grad else made

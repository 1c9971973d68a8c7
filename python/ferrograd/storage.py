"""The memory of tensors as a row of bytes or of elements, which all tensors on it share.

>>> import ferrograd
>>> x = ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]])
>>> x[1].untyped_storage().nbytes()
16
>>> TypedStorage(x[1]).tolist()
[1.0, 2.0, 3.0, 4.0]
"""

from collections.abc import Iterator
from typing import TypeGuard

from . import _ferrograd
from ._dtypes import _LEGACY
from ._ferrograd import Tensor

__all__ = ["TypedStorage", "UntypedStorage", "is_storage"]

#: The class of torch that stands for memory of each element type in files.
_NAMES = {element: name.removesuffix("Tensor") + "Storage" for name, element in _LEGACY.items()}


def _all_elements(tensor: Tensor) -> Tensor:
    """The whole memory of a tensor in one dimension."""
    count = _ferrograd._storage_bytes(tensor) // tensor.element_size()
    return tensor.detach().as_strided((count,), (1,), 0)


class _Storage:
    """What both kinds have in common: a row of elements."""

    __slots__ = ("_elements",)
    __hash__ = object.__hash__
    _elements: Tensor

    @property
    def device(self) -> _ferrograd.device:
        """Where the memory is: the CPU.

        >>> import ferrograd
        >>> ferrograd.UntypedStorage(2).device
        device(type='cpu')
        """
        return self._elements.device

    @property
    def is_cuda(self) -> bool:
        """False: this library computes on the CPU.

        >>> import ferrograd
        >>> ferrograd.UntypedStorage(2).is_cuda
        False
        """
        return False

    def data_ptr(self) -> int:
        """The address where the memory begins.

        >>> import ferrograd
        >>> x = ferrograd.ones(3)
        >>> x[1:].untyped_storage().data_ptr() == x.data_ptr()
        True
        """
        return self._elements.data_ptr()

    def element_size(self) -> int:
        """The bytes of an element; of memory without an element type 1.

        >>> UntypedStorage(2).element_size()
        1
        """
        return self._elements.element_size()

    def nbytes(self) -> int:
        """The bytes of the memory.

        >>> UntypedStorage(2).nbytes()
        2
        """
        return self._elements.nbytes

    def size(self) -> int:
        """The number of elements.

        >>> UntypedStorage(2).size()
        2
        """
        return self._elements.numel()

    def tolist(self) -> list:
        """The elements as Python's numbers.

        >>> UntypedStorage([1, 2]).tolist()
        [1, 2]
        """
        return self._elements.tolist()

    def fill_(self, value):
        """The memory itself, with every element replaced by a number. RuntimeError where the elements cannot hold it.

        >>> UntypedStorage(2).fill_(7).tolist()
        [7, 7]
        """
        self._elements.fill_(value)
        return self

    def copy_(self, source, non_blocking: bool | None = None):
        """The memory itself, with the elements of another. RuntimeError for one of another size, TypeError for what is none.

        >>> UntypedStorage(2).copy_(UntypedStorage([1, 2])).tolist()
        [1, 2]
        """
        if not isinstance(source, _Storage):
            raise TypeError(f"copy_(): argument 'source' must be a storage, not {type(source).__name__}")
        if source.size() != self.size():
            raise RuntimeError(f"copy_: expected a storage of {self.size()} elements, got {source.size()}")
        self._elements.copy_(source._elements)
        return self

    def clone(self):
        """A copy of the memory.

        >>> UntypedStorage([1, 2]).clone().tolist()
        [1, 2]
        """
        return type(self)(self._elements.clone())

    def cpu(self):
        """Itself: the memory is on the CPU already.

        >>> UntypedStorage([1]).cpu().tolist()
        [1]
        """
        return self

    def cuda(self, device=None, non_blocking: bool = False):
        """An AssertionError: this library computes on the CPU only.

        >>> UntypedStorage(2).cuda()
        Traceback (most recent call last):
        ...
        AssertionError: cuda(): ferrograd computes on the CPU only, got device cuda
        """
        _ferrograd._check_device("cuda", "cuda")

    def __len__(self) -> int:
        return self.size()

    def __iter__(self) -> Iterator:
        return iter(self.tolist())

    def __setitem__(self, index, value) -> None:
        self._elements[index] = value

    def __copy__(self):
        return self.clone()

    def __deepcopy__(self, memo: dict):
        return memo.setdefault(id(self), self.clone())

    def __reduce__(self):
        return type(self), (self._elements,)

    def _lines(self) -> str:
        return "".join(f" {value}\n" for value in self.tolist())


class UntypedStorage(_Storage):
    """Bytes of memory: of a tensor (`Tensor.untyped_storage()`), so many, or those of a sequence.

    Raises RuntimeError for a negative number, TypeError for what is no number and no sequence.

    >>> UntypedStorage([1, 2])[1]
    2
    """

    __slots__ = ()

    def __init__(self, data: "int | Tensor | list[int]" = 0) -> None:
        if isinstance(data, Tensor):
            self._elements = _all_elements(data).view(_ferrograd.uint8)
        elif isinstance(data, int):
            self._elements = _ferrograd.zeros(data, dtype=_ferrograd.uint8)
        elif isinstance(data, (list, tuple, bytes)):
            self._elements = _ferrograd.tensor(list(data), dtype=_ferrograd.uint8)
        else:
            raise TypeError(f"UntypedStorage(): argument 'data' must be a number of bytes or a sequence, not {type(data).__name__}")

    def __getitem__(self, index):
        if not isinstance(index, slice):
            return self._elements[index].item()
        part = UntypedStorage.__new__(UntypedStorage)
        part._elements = self._elements[index]
        return part

    def untyped(self) -> "UntypedStorage":
        """Itself.

        >>> UntypedStorage([1]).untyped().tolist()
        [1]
        """
        return self

    def __repr__(self) -> str:
        return f"{self._lines()}[torch.storage.UntypedStorage(device=cpu) of size {len(self)}]"


class TypedStorage(_Storage):
    """The elements in the memory of a tensor, also those that the tensor does not show: `Tensor.storage()`.
    TypeError for what is no tensor.

    >>> import ferrograd
    >>> ferrograd.tensor([1.0, 2.0])[1:].storage()[0]
    1.0
    """

    __slots__ = ()

    def __init__(self, data: Tensor) -> None:
        if not isinstance(data, Tensor):
            raise TypeError(f"TypedStorage(): argument 'data' must be Tensor, not {type(data).__name__}")
        self._elements = _all_elements(data)

    @property
    def dtype(self) -> _ferrograd.dtype:
        """The element type.

        >>> import ferrograd
        >>> ferrograd.tensor([1]).storage().dtype
        torch.int64
        """
        return self._elements.dtype

    def __getitem__(self, index):
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return self._elements[index].item()

    def untyped(self) -> UntypedStorage:
        """The bytes of the memory.

        >>> import ferrograd
        >>> ferrograd.tensor([1.0]).storage().untyped().tolist()
        [0, 0, 128, 63]
        """
        return UntypedStorage(self._elements)

    def pickle_storage_type(self) -> str:
        """The name of torch's class for memory of this element type.

        >>> import ferrograd
        >>> ferrograd.tensor([1.0]).storage().pickle_storage_type()
        'FloatStorage'
        """
        return _NAMES[self.dtype]

    def __repr__(self) -> str:
        of = f"dtype={self.dtype}, device=cpu"
        return f"{self._lines()}[torch.storage.TypedStorage({of}) of size {len(self)}]"


def is_storage(obj: object, /) -> TypeGuard[TypedStorage | UntypedStorage]:
    """True for the memory of tensors.

    >>> import ferrograd
    >>> x = ferrograd.ones(1)
    >>> is_storage(x.untyped_storage()), is_storage(x)
    (True, False)
    """
    return type(obj) in (TypedStorage, UntypedStorage)

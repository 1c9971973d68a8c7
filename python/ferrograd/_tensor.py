"""Methods of Tensor that are written in terms of others."""

import warnings
import weakref

from . import _ferrograd, _functions
from ._ferrograd import Tensor, dtype


#: Python's types of numbers and the element types that they stand for.
_PLAIN = {float: _ferrograd.float64, int: _ferrograd.int64, bool: _ferrograd.bool}
#: What `to` takes beside the tensor, by the type of its first argument.
_FORMS = {
    "dtype": ("dtype", "non_blocking", "copy"),
    "other": ("other", "non_blocking", "copy"),
    "device": ("device", "dtype", "non_blocking", "copy"),
}


def _is_element_type(value) -> bool:
    return isinstance(value, dtype) or (isinstance(value, type) and value in _PLAIN)


def _matched(args: tuple, kwargs: dict) -> dict:
    """The arguments of `to` by name, in whichever of its three forms."""
    first = args[0] if args else None
    form = "dtype" if _is_element_type(first) else "other" if isinstance(first, Tensor) else "device"
    named = dict(zip(_FORMS[form], args))
    extra = [name for name in kwargs if name in named or name not in (*_FORMS[form], "memory_format")]
    target = named.get("dtype", kwargs.get("dtype"))
    known = target is None or _is_element_type(target)
    known &= all(isinstance((named | kwargs).get(flag, False), bool) for flag in ("non_blocking", "copy"))
    if len(args) > len(_FORMS[form]) or extra or not known:
        given = ", ".join([*(type(a).__name__ for a in args), *(f"{k}={type(v).__name__}" for k, v in kwargs.items())])
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({given}), but expected (dtype), (device, dtype) or "
            "(Tensor other), each with non_blocking, copy and memory_format"
        )
    return named | kwargs


def _to(self: Tensor, *args, **kwargs) -> Tensor:
    """The tensor in another dtype, and on the device "cpu", where it is: `to(dtype)`, `to(other)`, `to("cpu", dtype)`. With
    `copy`, new memory even where it has the dtype already.

    Shapes: any, kept.
    Dtypes: any; the result has `dtype`.
    Raises: RuntimeError for another device; TypeError for other arguments.

    >>> import ferrograd
    >>> ferrograd.tensor([1.5, 2.0]).to(ferrograd.int8)
    tensor([1, 2], dtype=torch.int8)
    """
    named = _matched(args, kwargs)
    device, other = named.get("device"), named.get("other")
    if device is not None:
        _ferrograd._check_device("to", device)
    target = named.get("dtype") if other is None else other.dtype
    return _converted(self, _PLAIN.get(target, target), named.get("copy", False), named.get("memory_format"))


def _converted(self: Tensor, target: dtype | None, copy: bool = False, memory_format=None) -> Tensor:
    return _cast(self, self.dtype if target is None else target, bool(copy), memory_format)


_cast = Tensor.to
Tensor.to = _to


def _converter(name: str, target: dtype):
    def convert(self: Tensor, *, memory_format=None) -> Tensor:
        if not isinstance(memory_format, _ferrograd.memory_format | None):
            given = type(memory_format).__name__
            raise TypeError(f"{name}(): argument 'memory_format' must be torch.memory_format, not {given}")
        return _converted(self, target, False, memory_format)

    convert.__name__ = name
    convert.__qualname__ = f"Tensor.{name}"
    convert.__doc__ = (
        f"The tensor in {target!r}; itself where that is its dtype already.\n\n"
        f">>> import ferrograd\n>>> ferrograd.tensor([0, 1]).{name}().dtype\n{target!r}\n"
    )
    return convert


for _name, _target in {
    "bfloat16": _ferrograd.bfloat16,
    "bool": _ferrograd.bool,
    "byte": _ferrograd.uint8,
    "char": _ferrograd.int8,
    "double": _ferrograd.float64,
    "float": _ferrograd.float32,
    "half": _ferrograd.float16,
    "int": _ferrograd.int32,
    "long": _ferrograd.int64,
    "short": _ferrograd.int16,
}.items():
    setattr(Tensor, _name, _converter(_name, _target))


def _get_hooks(self: Tensor) -> dict | None:
    return _ferrograd._tensor_hooks(self) or self.__dict__.get("_backward_hooks")


def _set_hooks(self: Tensor, hooks: dict | None) -> None:
    if self.requires_grad:
        raise RuntimeError("_backward_hooks cannot be assigned where a gradient is required: use register_hook, and remove() of its handle")
    # No pass calls them.
    self.__dict__["_backward_hooks"] = hooks


def _get_grad_fn(self: Tensor):
    return self.grad_fn


def _undeletable(name: str):
    def refuse(self: Tensor) -> None:
        raise RuntimeError(f"the attribute '{name}' of a Tensor cannot be deleted")

    return refuse


Tensor._backward_hooks = property(_get_hooks, _set_hooks, _undeletable("_backward_hooks"))
Tensor._grad_fn = property(_get_grad_fn, None, _undeletable("_grad_fn"))


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another.

    Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> ferrograd.tensor([1.5]).type_as(ferrograd.tensor([1]))
    tensor([1])
    """
    if not isinstance(other, Tensor):
        raise TypeError(f"type_as(): argument 'other' (position 1) must be Tensor, not {type(other).__name__}")
    return _cast(self, other.dtype)


def _where(self: Tensor, condition: Tensor, other) -> Tensor:
    """`where(condition, self, other)`

    >>> import ferrograd
    >>> x = ferrograd.tensor([1.0, -2.0])
    >>> x.where(x > 0, 0)
    tensor([1., 0.])
    """
    return _ferrograd.where(condition, self, other)


def _equal(self: Tensor, other: Tensor) -> bool:
    """True for tensors of one shape whose elements are all equal.

    Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> ferrograd.tensor([1, 2]).equal(ferrograd.tensor([1.0, 2.0]))
    True
    """
    return _functions.equal(self, other)


def _isclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """`|self - other| <= atol + rtol |other|`, element by element; equal infinities are close.

    Raises RuntimeError for tensors of two dtypes or of shapes that do not broadcast.

    >>> import ferrograd
    >>> ferrograd.tensor([1.0, 2.0]).isclose(ferrograd.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    return _functions.isclose(self, other, rtol, atol, equal_nan)


def _allclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """True where all elements are close, as `isclose` has it.

    Raises RuntimeError for tensors of two dtypes or of shapes that do not broadcast.

    >>> import ferrograd
    >>> ferrograd.tensor([1.0, 2.0]).allclose(ferrograd.tensor([1.0, 2.0 + 1e-6]))
    True
    """
    return _functions.allclose(self, other, rtol, atol, equal_nan)


def _is_nonzero(self: Tensor) -> bool:
    """The truth of the only element. RuntimeError for tensors of more elements or none.

    >>> import ferrograd
    >>> ferrograd.tensor([0.5]).is_nonzero()
    True
    """
    return bool(self)


def _new_tensor(self: Tensor, data, *, dtype=None, device=None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A tensor of data, in the dtype of this tensor where none is given.

    Raises TypeError for what holds no numbers, ValueError for sequences of unequal lengths.

    >>> import ferrograd
    >>> ferrograd.ones(1, dtype=ferrograd.float64).new_tensor([1, 2])
    tensor([1., 2.], dtype=torch.float64)
    """
    made = _ferrograd.tensor(data, dtype=dtype or self.dtype, device=device, pin_memory=pin_memory)
    return made.requires_grad_(requires_grad) if requires_grad else made


def _new(self: Tensor, *args, device=None) -> Tensor:
    """A tensor in this one's dtype, as the old constructors make it: of sizes, of data, or nothing.
    TypeError for a tensor of another dtype.

    >>> import ferrograd
    >>> ferrograd.tensor([1]).new([1, 2])
    tensor([1, 2])
    """
    if device is not None:
        _ferrograd._check_device("new", device, True)
    return _ferrograd._legacy(self.dtype, args)


def _mapped(name: str, function, self: Tensor, *others: Tensor) -> Tensor:
    """The tensor with every element replaced by what a function of Python makes of it and those of the others."""
    if self.requires_grad:
        raise RuntimeError(f"Can't call {name}() on a tensor that requires grad; use detach().{name}()")
    for other in others:
        if other.dtype != self.dtype:
            raise TypeError(f"{name}(): expected tensors of {self.dtype}, got {other.dtype}")
    numbers = zip(*(t.expand(self.shape).flatten().tolist() for t in (self, *others)))
    made = [function(*each) for each in numbers]
    return self.copy_(_ferrograd.tensor(made, dtype=self.dtype).reshape(self.shape))


def _apply_(self: Tensor, callable) -> Tensor:
    """Every element replaced by what a function of Python makes of it. Slow: for tensors of a few elements.
    RuntimeError for tensors that require a gradient.

    >>> import ferrograd
    >>> ferrograd.tensor([1.0, 2.0]).apply_(lambda x: x + 1)
    tensor([2., 3.])
    """
    return _mapped("apply_", callable, self)


def _map_(self: Tensor, tensor: Tensor, callable) -> Tensor:
    """Every element replaced by what a function of Python makes of it and the one in `tensor`, which broadcasts.
    TypeError for a tensor of another dtype.

    >>> import ferrograd
    >>> ferrograd.tensor([1.0, 2.0]).map_(ferrograd.tensor([3.0, 5.0]), lambda x, y: x * y)
    tensor([ 3., 10.])
    """
    return _mapped("map_", callable, self, tensor)


def _map2_(self: Tensor, x: Tensor, y: Tensor, callable) -> Tensor:
    """As `map_`, with the elements of two tensors.

    Raises RuntimeError for tensors whose shapes do not broadcast to this one's.

    >>> import ferrograd
    >>> one = ferrograd.tensor([1.0])
    >>> ferrograd.tensor([2.0]).map2_(one, one, lambda x, y, z: x + y + z)
    tensor([4.])
    """
    return _mapped("map2_", callable, self, x, y)


def _dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions in the order in which they lie in memory, the outermost first.

    >>> import ferrograd
    >>> ferrograd.zeros(2, 3).t().dim_order()
    (1, 0)
    """
    return tuple(sorted(range(self.dim()), key=lambda d: -self.stride(d)))


def _is_pinned(self: Tensor, device=None) -> bool:
    """False: there is no device to pin memory for.

    >>> import ferrograd
    >>> ferrograd.ones(1).is_pinned()
    False
    """
    if device is not None:
        _ferrograd._check_device("is_pinned", device)
    return False


def _pin_memory(self: Tensor, device=None) -> Tensor:
    """An error: there is no device to pin memory for.

    >>> import ferrograd
    >>> ferrograd.ones(1).pin_memory()
    Traceback (most recent call last):
    ...
    RuntimeError: pin_memory: there is no accelerator to pin memory for; this library computes on the CPU only
    """
    raise RuntimeError("pin_memory: there is no accelerator to pin memory for; this library computes on the CPU only")


#: The memory that this process shares with those that it forks (`mmap.mmap`), by its address.
_SHARED: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def _is_shared(self: Tensor) -> bool:
    """True where `share_memory_` put the elements into memory that forked processes share.

    >>> import ferrograd
    >>> ferrograd.ones(1).is_shared()
    False
    """
    start = self.untyped_storage().data_ptr()
    return start in _SHARED


def _share_memory_(self: Tensor) -> Tensor:
    """Moves the elements to memory that processes share which are forked from now on: what one of them writes all see. Other
    tensors that were on the old memory stay there.

    >>> import ferrograd
    >>> ferrograd.ones(2).share_memory_().is_shared()
    True
    """
    if self.is_shared():
        return self
    import mmap

    import numpy as np

    size = self.untyped_storage().nbytes()
    memory = mmap.mmap(-1, max(size, 1))
    elements = np.frombuffer(memory, dtype=np.uint8, count=size)
    elements[:] = self.untyped_storage()._elements.numpy()
    shared = _ferrograd.from_numpy(elements)
    _SHARED[shared.data_ptr()] = memory
    self.data = shared.view(self.dtype).as_strided(self.size(), self.stride(), self.storage_offset())
    return self


def _rdiv(self: Tensor, other) -> Tensor:
    """`other / self` under its older name.

    >>> import ferrograd
    >>> ferrograd.tensor([2.0]).__rdiv__(1)
    tensor([0.5000])
    """
    return other / self


def _storage(self: Tensor):
    """The elements in the tensor's memory, also those that it does not show: a `TypedStorage`.
    RuntimeError within `vmap`.

    >>> import ferrograd
    >>> ferrograd.tensor([1.0, 2.0])[1:].storage().tolist()
    [1.0, 2.0]
    """
    from .storage import TypedStorage

    return TypedStorage(self)


def _untyped_storage(self: Tensor):
    """The bytes of the tensor's memory, which all tensors on it share: an `UntypedStorage`. RuntimeError within `vmap`.

    >>> import ferrograd
    >>> x = ferrograd.tensor([1.0, 2.0])
    >>> x[1:].untyped_storage().nbytes()
    8
    >>> x[1:].untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    True
    """
    from .storage import UntypedStorage

    return UntypedStorage(self)


def _get_is_meta(self: Tensor) -> bool:
    """False: every tensor has elements.

    >>> import ferrograd
    >>> ferrograd.ones(1).is_meta
    False
    """
    return False


#: What no tensor is here: on another device, or of another layout.
_NEVER = {
    "is_ipu": "on a Graphcore processor",
    "is_maia": "on a Maia processor",
    "is_mkldnn": "in the layout of oneDNN",
    "is_mps": "on a graphics card of Apple's",
    "is_mtia": "on an MTIA processor",
    "is_nested": "nested",
    "is_quantized": "quantised",
    "is_sparse_csr": "sparse",
    "is_vulkan": "on a graphics card",
    "is_xla": "on a device of XLA",
    "is_xpu": "on a graphics card of Intel's",
}


def _never(name: str, what: str) -> property:
    def get(self: Tensor) -> bool:
        return False

    get.__doc__ = f"False: no tensor is {what}.\n\n>>> import ferrograd\n>>> ferrograd.ones(1).{name}\nFalse\n"
    return property(get)


def _is_conj(self: Tensor) -> bool:
    """False: no tensor waits to be conjugated.

    >>> import ferrograd
    >>> ferrograd.ones(1).is_conj()
    False
    """
    return False


def _is_neg(self: Tensor) -> bool:
    """False: no tensor waits to be negated.

    >>> import ferrograd
    >>> ferrograd.ones(1).is_neg()
    False
    """
    return False


def _get_name(self: Tensor) -> None:
    """None: tensors have no names.

    >>> import ferrograd
    >>> ferrograd.ones(1).name
    """
    return None


def _get_volatile(self: Tensor) -> bool:
    """False, with a UserWarning: `no_grad` took its place. Raises nothing.

    >>> import ferrograd, warnings
    >>> warnings.simplefilter("ignore")
    >>> ferrograd.ones(1).volatile
    False
    """
    warnings.warn("volatile was removed (Variable.volatile is always False)", stacklevel=2)
    return False


def _set_volatile(self: Tensor, value: object) -> None:
    message = "volatile was removed and now has no effect. Use `with torch.no_grad():` instead."
    warnings.warn(message, stacklevel=2)


def _get_real(self: Tensor) -> Tensor:
    """The tensor itself: its numbers are real.

    >>> import ferrograd
    >>> ferrograd.tensor([1.0]).real
    tensor([1.])
    """
    return self


def _set_real(self: Tensor, value) -> None:
    self.copy_(value if isinstance(value, Tensor) else _ferrograd.tensor(value, dtype=self.dtype))


def _get_imag(self: Tensor) -> Tensor:
    """A RuntimeError: real numbers have no imaginary part that is memory.

    >>> import ferrograd
    >>> ferrograd.tensor([1.0]).imag
    Traceback (most recent call last):
    ...
    RuntimeError: imag is not implemented for tensors with non-complex dtypes.
    """
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


def _to_dense(self: Tensor, dtype: dtype | None = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself, which is dense, in another dtype where one is given.

    Raises TypeError for what is no dtype.

    >>> import ferrograd
    >>> ferrograd.tensor([1.5]).to_dense(ferrograd.int64)
    tensor([1])
    """
    if not (dtype is None or _is_element_type(dtype)):
        raise TypeError(f"to_dense(): argument 'dtype' (position 1) must be torch.dtype, not {type(dtype).__name__}")
    return _converted(self, _PLAIN.get(dtype, dtype))


def _make_subclass(cls: type, data: Tensor, require_grad: bool = False) -> Tensor:
    """A tensor of a class that is one of Tensor's, on the memory of another and without its history.

    Raises TypeError for other classes and what is no tensor, RuntimeError for integers that shall require a gradient.

    >>> import ferrograd
    >>> class Weight(ferrograd.Tensor):
    ...     pass
    >>> type(ferrograd.Tensor._make_subclass(Weight, ferrograd.ones(2))).__name__
    'Weight'
    """
    if not isinstance(cls, type):
        raise TypeError(f"cls must be a type (got {type(cls).__name__})")
    if not issubclass(cls, Tensor):
        raise TypeError(
            "Creating a Tensor subclass from a class that does not inherit from Tensor is not possible. Make sure your class "
            "inherits from Tensor."
        )
    if not isinstance(data, Tensor):
        raise TypeError(f"_make_subclass(): argument 'data' (position 2) must be Tensor, not {type(data).__name__}")
    made = Tensor.__new__(cls)
    # The same memory, and no view.
    made.data = data
    return made.requires_grad_(require_grad)


Tensor._make_subclass = staticmethod(_make_subclass)
Tensor.is_meta = property(_get_is_meta)
for _name, _what in _NEVER.items():
    setattr(Tensor, _name, _never(_name, _what))
Tensor.name = property(_get_name)
Tensor.volatile = property(_get_volatile, _set_volatile)
Tensor.real = property(_get_real, _set_real)
Tensor.imag = property(_get_imag)

for _name, _method in {
    "__rdiv__": _rdiv,
    "allclose": _allclose,
    "apply_": _apply_,
    "dim_order": _dim_order,
    "equal": _equal,
    "is_conj": _is_conj,
    "is_neg": _is_neg,
    "is_nonzero": _is_nonzero,
    "isclose": _isclose,
    "is_pinned": _is_pinned,
    "is_shared": _is_shared,
    "map2_": _map2_,
    "map_": _map_,
    "new": _new,
    "new_tensor": _new_tensor,
    "pin_memory": _pin_memory,
    "share_memory_": _share_memory_,
    "storage": _storage,
    "to_dense": _to_dense,
    "type_as": _type_as,
    "untyped_storage": _untyped_storage,
    "where": _where,
}.items():
    setattr(Tensor, _name, _method)

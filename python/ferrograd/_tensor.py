"""Methods of Tensor that are written in terms of others."""

from . import _ferrograd
from ._ferrograd import Tensor, dtype
from ._size import Size


def _to(self: Tensor, *args, dtype_=None, copy: bool = False, **kwargs) -> Tensor:
    """The tensor in another dtype (or on the device "cpu", where it is): `to(dtype)`, `to(other)`, `to("cpu")`."""
    target = kwargs.pop("dtype", None)
    kwargs.pop("non_blocking", None)
    device = kwargs.pop("device", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for argument in args:
        if isinstance(argument, dtype):
            target = argument
        elif isinstance(argument, Tensor):
            target = argument.dtype
        elif isinstance(argument, bool):
            continue
        else:
            device = argument
    if device is not None:
        _ferrograd._check_device(device)
    cast = self if target is None else _cast(self, target)
    return cast.clone() if copy and cast is self else cast


_cast = Tensor.to
Tensor.to = _to


def _converter(name: str, target: dtype):
    def convert(self: Tensor) -> Tensor:
        return _cast(self, target)

    convert.__name__ = name
    convert.__qualname__ = f"Tensor.{name}"
    convert.__doc__ = f"The tensor in {target!r}."
    return convert


for _name, _target in {
    "float": _ferrograd.float32,
    "double": _ferrograd.float64,
    "long": _ferrograd.int64,
    "int": _ferrograd.int32,
    "byte": _ferrograd.uint8,
    "bool": _ferrograd.bool,
}.items():
    setattr(Tensor, _name, _converter(_name, _target))


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another."""
    return _cast(self, other.dtype)


def _where(self: Tensor, condition: Tensor, other) -> Tensor:
    """`where(condition, self, other)`"""
    return _ferrograd.where(condition, self, other)


def _new_tensor(self: Tensor, data, *, dtype=None, device=None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A tensor of data, in the dtype of this tensor where none is given."""
    made = _ferrograd.tensor(data, dtype=dtype or self.dtype, device=device, pin_memory=pin_memory)
    return made.requires_grad_(requires_grad) if requires_grad else made


def _new(self: Tensor, *args, device=None) -> Tensor:
    """A tensor in this one's dtype, as the old constructors make it: of sizes, of data, or nothing."""
    if len(args) == 1 and isinstance(args[0], Tensor):
        if args[0].dtype != self.dtype:
            raise TypeError(f"new(): expected a tensor of {self.dtype}, got {args[0].dtype}")
        return args[0].detach().view_as(args[0])
    if len(args) == 1 and not isinstance(args[0], (int, Size)):
        return _ferrograd.tensor(args[0], dtype=self.dtype, device=device)
    return self.new_empty(args[0] if len(args) == 1 else args or (0,), device=device)


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
    """Every element replaced by what a function of Python makes of it. Slow: for tensors of a few elements."""
    return _mapped("apply_", callable, self)


def _map_(self: Tensor, tensor: Tensor, callable) -> Tensor:
    """Every element replaced by what a function of Python makes of it and the one in `tensor`, which broadcasts."""
    return _mapped("map_", callable, self, tensor)


def _map2_(self: Tensor, x: Tensor, y: Tensor, callable) -> Tensor:
    """As `map_`, with the elements of two tensors."""
    return _mapped("map2_", callable, self, x, y)


def _dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions in the order in which they lie in memory, the outermost first."""
    return tuple(sorted(range(self.dim()), key=lambda d: -self.stride(d)))


def _is_pinned(self: Tensor, device=None) -> bool:
    """False: there is no device to pin memory for."""
    return False


def _pin_memory(self: Tensor, device=None) -> Tensor:
    """An error: there is no device to pin memory for."""
    raise RuntimeError("pin_memory: there is no accelerator to pin memory for; this library computes on the CPU only")


for _name, _method in {
    "apply_": _apply_,
    "dim_order": _dim_order,
    "is_nonzero": Tensor.__bool__,
    "is_pinned": _is_pinned,
    "map2_": _map2_,
    "map_": _map_,
    "new": _new,
    "new_tensor": _new_tensor,
    "pin_memory": _pin_memory,
    "type_as": _type_as,
    "where": _where,
}.items():
    setattr(Tensor, _name, _method)

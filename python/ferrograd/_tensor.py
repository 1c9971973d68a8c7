"""Methods of Tensor that are written in terms of others."""

from . import _ferrograd
from ._ferrograd import Tensor, dtype


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


for _name, _method in {"new_tensor": _new_tensor, "type_as": _type_as, "where": _where}.items():
    setattr(Tensor, _name, _method)

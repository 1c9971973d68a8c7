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


def _view_as(self: Tensor, other: Tensor) -> Tensor:
    """`view(other.shape)`"""
    return self.view(other.shape)


def _reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """`reshape(other.shape)`"""
    return self.reshape(other.shape)


def _expand_as(self: Tensor, other: Tensor) -> Tensor:
    """`expand(other.shape)`"""
    return self.expand(other.shape)


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another."""
    return _cast(self, other.dtype)


for _name, _method in {
    "view_as": _view_as,
    "reshape_as": _reshape_as,
    "expand_as": _expand_as,
    "type_as": _type_as,
}.items():
    setattr(Tensor, _name, _method)

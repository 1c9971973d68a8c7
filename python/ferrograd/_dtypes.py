"""What is known of element types, and the names that tensors of each had before there were element types."""

from . import _ferrograd
from ._ferrograd import Tensor, dtype

#: Bits of the fraction, greatest exponent, and decimal digits of the resolution.
_FLOATS = {
    _ferrograd.float16: (10, 15, 3),
    _ferrograd.bfloat16: (7, 127, 2),
    _ferrograd.float32: (23, 127, 6),
    _ferrograd.float64: (52, 1023, 15),
}


#: Python's types of numbers, which stand for element types.
_OF_PYTHON = ((float, _ferrograd.float64), (int, _ferrograd.int64), (bool, _ferrograd.bool))


def _checked(name: str, given) -> dtype:
    for kind, meant in _OF_PYTHON:
        if given is kind:
            return meant
    if not isinstance(given, dtype):
        raise TypeError(f"{name}(): argument 'type' (position 1) must be torch.dtype, not {_class_name(given)}")
    return given


def _class_name(value) -> str:
    return value.__class__.__name__


class _Info:
    """Equal for equal element types."""

    __slots__ = ("bits", "dtype", "max", "min")
    __hash__ = None

    def __eq__(self, other) -> bool:
        return self.__class__ is other.__class__ and self.dtype == other.dtype

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name):g}" for name in self._SHOWN)
        return f"{self.__class__.__name__}({', '.join(fields)}, dtype={self.dtype})"


class finfo(_Info):
    """The limits of a floating-point type, or of the default one.

    >>> import ferrograd
    >>> finfo(ferrograd.float16).max
    65504.0
    """

    __slots__ = ("eps", "resolution", "smallest_normal", "tiny")
    _SHOWN = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")

    def __init__(self, type: dtype | None = None):
        type = _checked("finfo", _ferrograd.get_default_dtype() if type is None else type)
        type = {_ferrograd.complex64: _ferrograd.float32, _ferrograd.complex128: _ferrograd.float64}.get(type, type)
        if type not in _FLOATS:
            raise TypeError(f"torch.finfo() requires a floating point input type, got {type}. Use torch.iinfo for integers")
        fraction, exponent, digits = _FLOATS[type]
        self.bits = 8 * type.itemsize
        self.dtype = repr(type).removeprefix("torch.")
        self.eps = 2.0**-fraction
        self.max = (2.0 - self.eps) * 2.0**exponent
        self.min = -self.max
        self.smallest_normal = self.tiny = 2.0 ** (1 - exponent)
        self.resolution = float(f"1e-{digits}")


class iinfo(_Info):
    """The limits of an integer type.

    >>> import ferrograd
    >>> iinfo(ferrograd.int8).min
    -128
    """

    __slots__ = ()
    _SHOWN = ("min", "max")

    def __init__(self, type: dtype):
        type = _checked("iinfo", type)
        if type == _ferrograd.bool:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        if type.is_floating_point or type.is_complex:
            raise TypeError(f"torch.iinfo() requires an integer input type, got {type}. Use torch.finfo for floats")
        self.bits = 8 * type.itemsize
        self.dtype = repr(type).removeprefix("torch.")
        self.min = -(2 ** (self.bits - 1)) if type.is_signed else 0
        self.max = 2 ** (self.bits - type.is_signed) - 1


class tensortype(type):
    """The class of `FloatTensor` and its kin, which make tensors of one element type and know them again."""

    def __call__(cls, *args, device=None) -> Tensor:
        if device is not None:
            _ferrograd._check_device("new", device, True)
        return _ferrograd._legacy(cls.dtype, args)

    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype


#: The element type of each old name.
_LEGACY = {
    "BFloat16Tensor": _ferrograd.bfloat16,
    "BoolTensor": _ferrograd.bool,
    "ByteTensor": _ferrograd.uint8,
    "CharTensor": _ferrograd.int8,
    "DoubleTensor": _ferrograd.float64,
    "FloatTensor": _ferrograd.float32,
    "HalfTensor": _ferrograd.float16,
    "IntTensor": _ferrograd.int32,
    "LongTensor": _ferrograd.int64,
    "ShortTensor": _ferrograd.int16,
}


def _old_class(name: str, element: dtype) -> tensortype:
    doc = f"Tensors of {element!r}: of sizes, of a sequence, or of a tensor that has this element type already."
    doc += f"\n\n>>> import ferrograd\n>>> ferrograd.{name}([0, 1]).dtype\n{element!r}\n"
    members = {"dtype": element, "is_cuda": False, "layout": _ferrograd.strided, "__doc__": doc, "__module__": "ferrograd"}
    return tensortype(name, (), members)


_CLASSES = {name: _old_class(name, element) for name, element in _LEGACY.items()}
globals().update(_CLASSES)


def _element_type(target) -> dtype:
    """The element type that `Tensor.type` and `set_default_tensor_type` are given in any of its forms."""
    if isinstance(target, dtype):
        return target
    if isinstance(target, tensortype):
        return target.dtype
    if target is Tensor or target == "torch.Tensor":
        return _ferrograd.get_default_dtype()
    if not isinstance(target, str | type):
        raise TypeError("dtype must be a type, str, or dtype object")
    name = str(target).removeprefix("torch.")
    if name not in _LEGACY or name == target:
        raise ValueError(f"invalid type: {target!r}")
    return _LEGACY[name]


def _type(self: Tensor, dtype=None, non_blocking: bool = False):
    """The old name of the tensor's element type, such as `torch.FloatTensor`; or the tensor in another one, given as an
    element type, an old class or its name.

    Raises ValueError for what is no type of tensors.

    >>> import ferrograd
    >>> ferrograd.tensor([1.5]).type()
    'torch.FloatTensor'
    >>> ferrograd.tensor([1.5]).type(ferrograd.int64)
    tensor([1])
    """
    if dtype is None:
        return "torch." + next(name for name, element in _LEGACY.items() if element == self.dtype)
    return self.to(_element_type(dtype))


def set_default_tensor_type(t) -> None:
    """Sets the default element type by an old name or class of tensors: `DoubleTensor` for float64.

    Raises ValueError for another name, TypeError for a type that is not floating-point.

    >>> set_default_tensor_type("torch.FloatTensor")
    """
    _ferrograd.set_default_dtype(_element_type(t))


def is_floating_point(input: Tensor) -> bool:
    """True for tensors of floating-point numbers.

    Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> is_floating_point(ferrograd.tensor([1]))
    False
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"is_floating_point(): argument 'input' (position 1) must be Tensor, not {_class_name(input)}")
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """True for tensors of complex numbers.

    Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> is_complex(ferrograd.tensor([1.0]))
    False
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"is_complex(): argument 'input' (position 1) must be Tensor, not {_class_name(input)}")
    return input.is_complex()


Tensor.type = _type

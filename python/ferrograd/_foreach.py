"""Operations on each tensor of a list: `_foreach_add` of `add` and its kin. Arguments that are lists go on element by element."""

from collections.abc import Callable, Sequence

from . import _ferrograd, linalg
from ._ferrograd import Tensor

_UNARY = (
    "abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg reciprocal round rsqrt sigmoid "
    "sign sin sinh sqrt tan tanh trunc"
)
#: Functions that have a form in place too, with the names of their further arguments.
_ARGUMENTS = {
    **dict.fromkeys(_UNARY.split(), ()),
    **dict.fromkeys(("add", "sub"), ("other", "alpha")),
    **dict.fromkeys(("div", "mul", "maximum", "minimum", "clamp_min", "clamp_max"), ("other",)),
    **dict.fromkeys(("addcdiv", "addcmul"), ("tensor1", "tensor2", "value")),
    "lerp": ("tensors1", "weight"),
    "pow": ("exponent",),
}
#: Functions that have one form only.
_OTHERS = {
    "clone": ("memory_format",),
    "copy_": ("src", "non_blocking"),
    "max": (),
    "mm": ("mat2",),
    "norm": ("ord", "dtype"),
    "powsum": ("ord", "dtype"),
    "zero_": (),
}
#: Other names of arguments.
_ALSO = {"scalar": ("other", "exponent"), "scalars": ("other", "value"), "weights": ("weight",)}


def _extreme(of_tensor: str, of_number: str) -> Callable[..., Tensor]:
    """The larger or the smaller of an element and another, or a number."""

    def call(x: Tensor, other) -> Tensor:
        return getattr(_ferrograd, of_tensor if isinstance(other, Tensor) else of_number)(x, other)

    return call


def _norm(x: Tensor, ord=2, dtype=None) -> Tensor:
    return linalg.vector_norm(x, ord, dtype=dtype)


def _powsum(x: Tensor, ord=2, dtype=None) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    return x.abs().pow(ord).sum()


def _with_value(name: str) -> Callable[..., Tensor]:
    def call(x: Tensor, tensor1: Tensor, tensor2: Tensor, value=1) -> Tensor:
        return getattr(x, name)(tensor1, tensor2, value=value)

    return call


def _scaled(name: str) -> Callable[..., Tensor]:
    def call(x: Tensor, other, alpha=1) -> Tensor:
        return getattr(x, name)(other, alpha=alpha)

    return call


_CALLS: dict[str, Callable[..., Tensor]] = {
    "maximum": _extreme("maximum", "clamp_min"),
    "minimum": _extreme("minimum", "clamp_max"),
    "norm": _norm,
    "powsum": _powsum,
    "pow": _ferrograd.pow,
    **{form: _with_value(form) for form in ("addcdiv", "addcmul", "addcdiv_", "addcmul_")},
    **{form: _scaled(form) for form in ("add", "sub", "add_", "sub_")},
}


def _bound(name: str, known: tuple[str, ...], args: tuple, kwargs: dict) -> dict:
    """The arguments by name."""
    positional = [key for key in known if key != "alpha"]
    if len(args) > len(positional):
        raise TypeError(f"{name}() takes at most {len(positional) + 1} positional arguments, got {len(args) + 1}")
    named = dict(zip(positional, args))
    for key, value in kwargs.items():
        own = next((k for k in (key, *_ALSO.get(key, ())) if k in known), None)
        if own is None or own in named:
            raise TypeError(f"{name}() got an unexpected argument '{key}'")
        named[own] = value
    return named


def _listed(name: str, key: str, value, count: int) -> Sequence:
    """An argument for each tensor."""
    if key == "value" and isinstance(value, Tensor):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise RuntimeError(f"{name}: lists must have the same number of elements, got {count} and {len(value)}")
    return value


def _made(short: str, known: tuple[str, ...]) -> Callable[..., tuple[Tensor, ...] | list[Tensor]]:
    """The function that calls `short` on each tensor."""
    name, in_place = f"_foreach_{short}", short.endswith("_")
    plain = short.removesuffix("_")

    def call(x, named: dict) -> Tensor:
        if short in _CALLS:
            return _CALLS[short](x, **named)
        if in_place and plain in ("maximum", "minimum"):
            return x.copy_(_CALLS[plain](x, **named))
        return getattr(x, short)(*named.values())

    def foreach(self, *args, **kwargs):
        named = _bound(name, known, args, kwargs)
        tensors = self
        if not isinstance(self, (list, tuple)):
            if short != "pow" or not isinstance(named.get("exponent"), (list, tuple)):
                raise TypeError(f"{name}(): argument 'self' (position 1) must be tuple of Tensors, not {type(self).__name__}")
            tensors = [self] * len(named["exponent"])
        elif not all(isinstance(x, Tensor) for x in self):
            raise TypeError(f"{name}(): argument 'self' (position 1) must be tuple of Tensors")
        if not tensors:
            raise RuntimeError(f"{name}: Tensor list must have at least one tensor.")
        lists = {key: _listed(name, key, value, len(tensors)) for key, value in named.items()}
        rows = [{key: values[n] for key, values in lists.items()} for n in range(len(tensors))]
        results = tuple(call(x, row) for x, row in zip(tensors, rows))
        return list(results) if in_place else results

    foreach.__name__ = foreach.__qualname__ = name
    results = "in place" if in_place else "as a tuple"
    foreach.__doc__ = f"`{short}` of each tensor of a list, {results}. RuntimeError for empty lists and lists of other lengths."
    return foreach


for _short, _known in _ARGUMENTS.items():
    globals()[f"_foreach_{_short}"] = _made(_short, _known)
    globals()[f"_foreach_{_short}_"] = _made(f"{_short}_", _known)
for _short, _known in _OTHERS.items():
    globals()[f"_foreach_{_short}"] = _made(_short, _known)

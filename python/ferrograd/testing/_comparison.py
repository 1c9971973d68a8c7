"""Comparing nested values: numbers, tensors, sequences and mappings of them."""

import cmath
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import _ferrograd as fg
from .._ferrograd import Tensor

_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
"""Relative and absolute, by dtype; all others are compared exactly."""


@dataclass
class _Options:
    allow_subclasses: bool = True
    rtol: float | None = None
    atol: float | None = None
    equal_nan: bool = False
    check_device: bool = True
    check_dtype: bool = True
    check_layout: bool = True
    check_stride: bool = False

    def tolerances(self, *dtypes: str) -> tuple[float, float]:
        """The ones given, or the wider of the dtypes'."""
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        defaults = [_TOLERANCES.get(dtype, (0.0, 0.0)) for dtype in dtypes]
        return max(rtol for rtol, _ in defaults), max(atol for _, atol in defaults)

    def check(self) -> None:
        """ValueError for one of two tolerances, and for negative ones."""
        _check_both(self.rtol, self.atol)
        if self.rtol is not None and (self.rtol < 0 or self.atol < 0):
            raise ValueError(f"tolerances must not be negative, got rtol={self.rtol} and atol={self.atol}")

    def related(self, actual: Any, expected: Any) -> bool:
        """True for values of one type, or of a type and its subclass."""
        if self.allow_subclasses:
            return isinstance(actual, type(expected)) or isinstance(expected, type(actual))
        return type(actual) is type(expected)


def _check_both(rtol: float | None, atol: float | None) -> None:
    if (rtol is None) != (atol is None):
        missing = "atol" if atol is None else "rtol"
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")


def get_tolerances(*inputs: Tensor | fg.dtype, rtol: float | None, atol: float | None, id: tuple = ()) -> tuple[float, float]:
    """The tolerances given, or the wider of those that `assert_close` has for the dtypes. ValueError for one of the two.

    >>> get_tolerances(fg.float32, fg.float16, rtol=None, atol=None)
    (0.001, 1e-05)
    """
    _check_both(rtol, atol)
    dtypes = (one.dtype if isinstance(one, Tensor) else one for one in inputs)
    return _Options(rtol=rtol, atol=atol).tolerances(*(repr(dtype).removeprefix("torch.") for dtype in dtypes))


class _Mismatch(Exception):
    """Two values differ, or cannot be compared."""

    def __init__(self, kind: type[Exception], text: str) -> None:
        self.kind, self.text = kind, text


def _differ(text: str) -> _Mismatch:
    return _Mismatch(AssertionError, text)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise an AssertionError unless `|actual - expected| <= atol + rtol |expected|` everywhere.

    Takes tensors, arrays, numbers, None, and sequences and mappings of them, which must be of one structure. Shapes must
    agree, and dtypes, devices, layouts and (only if asked) strides where they are checked. Infinities are close to
    themselves alone; so are NaNs where `equal_nan`. Without tolerances those of the dtype hold:

    ========== ======= =======
    dtype      rtol    atol
    ========== ======= =======
    float16    1e-3    1e-5
    bfloat16   1.6e-2  1e-5
    float32    1.3e-6  1e-5
    float64    1e-7    1e-7
    others     0       0
    ========== ======= =======

    Python's floats are compared as float64. `msg` is the message, or makes it of the one that tells what differs.

    >>> import ferrograd
    >>> assert_close(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 2.5]))
    Traceback (most recent call last):
    AssertionError: Tensor-likes are not close!
    <BLANKLINE>
    Mismatched elements: 1 / 2 (50.0%)
    Greatest absolute difference: 0.5 at index (1,) (up to 1e-05 allowed)
    Greatest relative difference: 0.20000000298023224 at index (1,) (up to 1.3e-06 allowed)
    """
    options = _Options(allow_subclasses, rtol, atol, equal_nan, check_device, check_dtype, check_layout, check_stride)
    failure = _first_difference(actual, expected, options)
    if failure is None:
        return
    kind, text, item, has_structure = failure
    if item:
        text += f"\n\nThe failure occurred for item {''.join(f'[{key!r}]' for key in item)}"
    # What is not of one structure is not what a message is about.
    msg = msg if has_structure else None
    raise kind(msg if isinstance(msg, str) else msg(text) if callable(msg) else text)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """The older `assert_close`: dtypes and devices may differ, and what is not a tensor becomes one.

    Raises AssertionError where they are not close.

    >>> import ferrograd
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     assert_allclose(ferrograd.tensor([1.0]), [1.0])
    """
    warnings.warn("assert_allclose() is deprecated, use assert_close()", FutureWarning, stacklevel=2)
    actual = actual if isinstance(actual, Tensor) else fg.tensor(actual)
    expected = expected if isinstance(expected, Tensor) else fg.tensor(expected, dtype=actual.dtype)
    options = dict(check_device=True, check_dtype=False, check_stride=False, msg=msg or None)
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, **options)


def _first_difference(actual: Any, expected: Any, options: _Options) -> tuple[type[Exception], str, tuple, bool] | None:
    """The first difference of structure, or else of values: the exception, its text, where it is, and whether both are of
    one structure."""
    pairs: list[tuple[tuple, Callable]] = []
    waiting = [((), actual, expected)]
    while waiting:
        item, actual, expected = waiting.pop()
        try:
            parts = _parts(actual, expected)
            if parts is None:
                pairs.append((item, _pair(actual, expected, options)))
            else:
                waiting += [((*item, key), a, e) for key, a, e in reversed(parts)]
        except _Mismatch as found:
            return found.kind, found.text, item, False
    for item, compare in pairs:
        try:
            compare()
        except _Mismatch as found:
            return found.kind, found.text, item, True
    return None


def _parts(actual: Any, expected: Any) -> list[tuple] | None:
    """Pairs of the items of two sequences or mappings, with their keys; None for other values."""
    text = (str, bytes)
    if all(isinstance(v, Sequence) and not isinstance(v, text) for v in (actual, expected)):
        if len(actual) != len(expected):
            raise _differ(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}")
        return list(zip(range(len(actual)), actual, expected))
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            missing, additional = (sorted(a.keys() - b.keys(), key=str) for a, b in ((expected, actual), (actual, expected)))
            raise _differ(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {missing}\nAdditional keys in the actual mapping: {additional}"
            )
        return [(key, actual[key], expected[key]) for key in actual]
    return None


def _pair(actual: Any, expected: Any, options: _Options) -> Callable[[], None]:
    """What compares two values that have no items."""
    if actual is None or expected is None:
        return lambda: _same("None mismatch: {} is not {}", actual, expected)
    if _is_bool(actual) and _is_bool(expected):
        return lambda: _same("Booleans mismatch: {} is not {}", bool(actual), bool(expected))
    if _is_number(actual) and _is_number(expected):
        options.check()
        return lambda: _compare_numbers(_plain(actual), _plain(expected), options)
    kinds = _tensor_like(actual), _tensor_like(expected)
    if None in kinds or kinds[0] != kinds[1] or not options.related(actual, expected):
        raise _Mismatch(TypeError, f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.")
    options.check()
    tensors = (v if isinstance(v, Tensor) else fg.as_tensor(v) for v in (actual, expected))
    return lambda: _compare_tensors(*tensors, options)


def _module(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or (_module(value) == "numpy" and type(value).__name__ in ("bool", "bool_"))


def _is_number(value: Any) -> bool:
    is_numpy_number = _module(value) == "numpy" and hasattr(value, "item") and not hasattr(value, "__setitem__")
    return isinstance(value, (int, float, complex)) or is_numpy_number


def _tensor_like(value: Any) -> str | None:
    if isinstance(value, Tensor):
        return "tensor"
    return "array" if _module(value) == "numpy" and type(value).__name__ == "ndarray" else None


def _plain(value: Any) -> complex:
    return value if isinstance(value, (int, float, complex)) else value.item()


def _same(text: str, actual: Any, expected: Any) -> None:
    if actual is not expected:
        raise _differ(text.format(actual, expected))


def _compare_numbers(actual: complex, expected: complex, options: _Options) -> None:
    if options.check_dtype and type(actual) is not type(expected):
        raise _differ(f"The (d)types do not match: {type(actual)} != {type(expected)}.")
    exact = {int: "int64", bool: "int64", float: "float64", complex: "complex128"}
    rtol, atol = options.tolerances(*(exact.get(type(v), "float64") for v in (actual, expected)))
    if actual == expected or (options.equal_nan and cmath.isnan(actual) and cmath.isnan(expected)):
        return
    gap = abs(actual - expected)
    if cmath.isfinite(actual) and cmath.isfinite(expected) and gap <= atol + rtol * abs(expected):
        return
    relative = gap / abs(expected) if expected != 0 else cmath.inf
    raise _differ(_scalar_message(actual, expected, gap, relative, rtol, atol))


def _scalar_message(actual, expected, gap, relative, rtol: float, atol: float) -> str:
    return (
        f"Scalars are not {'equal' if rtol == atol == 0 else 'close'}!\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {gap}{_allowed(atol, rtol, atol)}\nRelative difference: {relative}{_allowed(rtol, rtol, atol)}"
    )


def _allowed(tolerance: float, rtol: float, atol: float) -> str:
    return "" if rtol == atol == 0 else f" (up to {tolerance} allowed)"


def _compare_tensors(actual: Tensor, expected: Tensor, options: _Options) -> None:
    def check(attribute: str, a: Any, e: Any) -> None:
        if a != e:
            raise _differ(f"The values for attribute '{attribute}' do not match: {a} != {e}.")

    check("shape", actual.shape, expected.shape)
    if options.check_layout:
        check("layout", actual.layout, expected.layout)
    if options.check_device:
        check("device", actual.device, expected.device)
    if options.check_dtype:
        check("dtype", actual.dtype, expected.dtype)
    if options.check_stride:
        check("stride()", actual.stride(), expected.stride())
    rtol, atol = options.tolerances(*(str(t.dtype).rpartition(".")[2] for t in (actual, expected)))
    _compare_values(_comparable(actual, expected), _comparable(expected, actual), rtol, atol, options.equal_nan)


def _comparable(t: Tensor, other: Tensor) -> Tensor:
    """In the dtype of both, where differences can be taken."""
    t = t.detach()
    if not t.is_floating_point():
        t = t.to(fg.int64)
    return t.to((fg.zeros(1, dtype=t.dtype) + fg.zeros(1, dtype=other.dtype)).dtype)


def _compare_values(actual: Tensor, expected: Tensor, rtol: float, atol: float, equal_nan: bool) -> None:
    gaps, size = (actual - expected).abs(), expected.abs()
    matches = actual == expected
    if rtol or atol:
        matches = matches.logical_or((gaps <= atol + rtol * size).logical_and(size < float("inf")))
    if equal_nan:
        matches = matches.logical_or((actual != actual).logical_and(expected != expected))
    if bool(matches.all()):
        return
    wrong, count = int(matches.logical_not().sum()), actual.numel()
    gaps = fg.where(matches, fg.zeros_like(gaps), gaps)
    ratios = fg.where(matches, fg.zeros_like(gaps / size), gaps / size)
    if actual.dim() == 0:
        raise _differ(_scalar_message(actual.item(), expected.item(), gaps.item(), ratios.item(), rtol, atol))
    raise _differ(
        f"Tensor-likes are not {'equal' if rtol == atol == 0 else 'close'}!\n\n"
        f"Mismatched elements: {wrong} / {count} ({wrong / count:.1%})\n"
        f"Greatest absolute difference: {_greatest(gaps)}{_allowed(atol, rtol, atol)}\n"
        f"Greatest relative difference: {_greatest(ratios)}{_allowed(rtol, rtol, atol)}"
    )


def _greatest(values: Tensor) -> str:
    """The greatest value and its index."""
    place = int(values.argmax())
    value, index = values.reshape(-1)[place].item(), []
    for size in reversed(values.shape):
        place, at = divmod(place, size)
        index.append(at)
    return f"{value} at index {tuple(reversed(index))}"

"""Tensors of random numbers for tests."""

import math
from collections.abc import Sequence

from .. import _ferrograd as fg
from .._ferrograd import Tensor

_DEFAULT = {"bool": (0, 2), "uint8": (0, 10)}
_INTEGERS = {
    "bool": (0, 2),
    "uint8": (0, 2**8),
    "int8": (-(2**7), 2**7),
    "int16": (-(2**15), 2**15),
    "int32": (-(2**31), 2**31),
    "int64": (-(2**63), 2**63),
}
"""The least value of a dtype, and the one after its greatest."""
_GREATEST = {"float16": 65504.0, "bfloat16": 2.0**127 * (2 - 2**-7), "float32": 2.0**127 * (2 - 2**-23), "float64": 2.0**1023 * (2 - 2**-52)}
_TINY = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


def make_tensor(
    *shape: int | Sequence[int],
    dtype: fg.dtype,
    device: fg.device | str = "cpu",
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: fg.memory_format | None = None,
) -> Tensor:
    """A tensor of even random numbers from `[low, high)`: by default [-9, 9), of integers [-9, 10), of uint8 [0, 10).

    low, high: cut to what the dtype holds. noncontiguous: with gaps in memory, for two elements or more.
    exclude_zero: zeros become 1, or of floating point the least normal number. The numbers come from the package's
    stream.

    Raises ValueError where `low` is not less than `high`, TypeError for what is no dtype.

    >>> import ferrograd
    >>> t = make_tensor((2, 3), dtype=ferrograd.float32, low=-1, high=1, noncontiguous=True)
    >>> t.shape, t.is_contiguous(), bool((t >= -1).all() and (t < 1).all())
    (torch.Size([2, 3]), False, True)
    """
    name = str(dtype).rpartition(".")[2]
    if not isinstance(dtype, fg.dtype) or (name not in _INTEGERS and name not in _TINY):
        raise TypeError(f"The requested dtype '{dtype}' is not supported by make_tensor()")
    sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if requires_grad and name in _INTEGERS:
        raise ValueError(f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=!s}")
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, "
            f"but got {noncontiguous=} and {memory_format=!s}"
        )
    low, high = _bounds(name, low, high)
    made = _integers(sizes, low, high, dtype) if name in _INTEGERS else _floats(sizes, low, high, dtype)
    if noncontiguous and made.numel() > 1:
        made = fg.stack([made, made], -1).flatten(-2)[..., ::2]
    if exclude_zero:
        made = fg.where(made == 0, fg.full_like(made, 1 if name in _INTEGERS else _TINY[name]), made)
    made = made.to(device=device)
    return made.requires_grad_() if requires_grad else made


def _bounds(name: str, low: float | None, high: float | None) -> tuple[float, float]:
    default = _DEFAULT.get(name, (-9, 10 if name in _INTEGERS else 9))
    low, high = default[0] if low is None else low, default[1] if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low > high or (low == high and name in _INTEGERS):
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    least, greatest = _INTEGERS[name] if name in _INTEGERS else (-_GREATEST[name], _GREATEST[name])
    low, high = max(least, min(low, greatest)), max(least, min(high, greatest))
    return (math.ceil(low), math.ceil(high)) if name in _INTEGERS else (low, high)


def _floats(shape: Sequence[int], low: float, high: float, dtype: fg.dtype) -> Tensor:
    even = fg.rand(shape, dtype=dtype)
    # In two halves, for ranges that are wider than the greatest number.
    return even * high + (1 - even) * low if math.isinf(high - low) or high - low > 1e38 else even * (high - low) + low


def _integers(shape: Sequence[int], low: int, high: int, dtype: fg.dtype) -> Tensor:
    even = fg.rand(shape, dtype=fg.float64)
    return ((even * (high - low)).floor() + low).clamp(low, high - 1).to(dtype)

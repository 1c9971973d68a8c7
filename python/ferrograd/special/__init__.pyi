"""Types of special functions; written by tools/stubs.py."""

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

from .. import Tensor, _bool, _dtype, _int, _Number, _Operand, _type


@overload
def zeta(input: Tensor, other: _Operand, *, out: Tensor | None = None) -> Tensor: ...
@overload
def zeta(input: _Number, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...

"""The operations as objects, by the names that torch has for them below autograd: `ops.aten.mm.default`.

torch splits an operation into overloads, each with a name. Here one operation takes what all overloads take, so that all of
their names stand for one object: `ops.aten.add.Tensor is ops.aten.add.Scalar`.
"""

import functools
from collections.abc import Callable
from math import inf
from typing import Any

from . import _ferrograd

#: Names of torch's overloads.
_OVERLOADS = frozenset(
    """default Tensor Scalar Tensor_Tensor Tensor_Scalar Scalar_Tensor Tensor_mode Scalar_mode dim dims dim_IntList dim_max
    dim_min int int_list intlist self src value values stable correction input other p generator out using_ints start
    start_step step decimals padding ScalarOpt_dim ScalarOpt_dim_dtype reduce dtype vec sections indices array two
    self_Tensor ScalarOther ScalarSelf unary_out Sequence size sizes memory_format scalar dim_int""".split()
)


class OpOverload:
    """An operation. Calls run it; equal operations are one object.

    >>> import ferrograd
    >>> op = ferrograd.ops.aten.mm.default
    >>> op
    <OpOverload(op='aten.mm', overload='default')>
    >>> op(ferrograd.ones(1, 2), ferrograd.ones(2, 1))
    tensor([[2.]])
    """

    namespace = "aten"

    def __init__(self, name: str, function: Callable) -> None:
        self.__name__ = f"{name}.default"
        self._name, self._function = name, function
        self.overloadpacket = OpOverloadPacket(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def name(self) -> str:
        """The name with that of its namespace.

        >>> import ferrograd
        >>> ferrograd.ops.aten.mm.default.name()
        'aten::mm'
        """
        return f"aten::{self._name}"

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    def __repr__(self) -> str:
        return f"<OpOverload(op='aten.{self._name}', overload='default')>"


class OpOverloadPacket:
    """What torch's overloads of an operation have in common; their names are its attributes. Calls run the operation.

    >>> import ferrograd
    >>> packet = ferrograd.ops.aten.mul
    >>> packet
    <OpOverloadPacket(op='aten.mul')>
    >>> packet.Tensor(ferrograd.ones(2), 3)
    tensor([3., 3.])
    """

    def __init__(self, operation: OpOverload) -> None:
        self._operation = operation
        self.__name__ = operation._name

    def __getattr__(self, overload: str) -> OpOverload:
        if overload in _OVERLOADS:
            return self._operation
        raise AttributeError(f"The underlying op of 'aten.{self.__name__}' has no overload name '{overload}'")

    def overloads(self) -> list[str]:
        """The names of what stands behind it: one.

        >>> import ferrograd
        >>> ferrograd.ops.aten.mm.overloads()
        ['default']
        """
        return ["default"]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._operation(*args, **kwargs)

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='aten.{self.__name__}')>"


def _index(self: _ferrograd.Tensor, indices: list) -> _ferrograd.Tensor:
    """What the indices pick, one for each dimension; None takes all of its."""
    return self[tuple(slice(None) if index is None else index for index in indices)]


def _softmax(function: Callable) -> Callable:
    """`softmax` or its logarithm as torch has it below autograd: floats of 16 bits may give float32."""

    def softmax(self: _ferrograd.Tensor, dim: int, half_to_float: bool) -> _ferrograd.Tensor:
        return function(self, dim, dtype=_ferrograd.float32 if half_to_float else None)

    return softmax


def _attention(
    query: _ferrograd.Tensor,
    key: _ferrograd.Tensor,
    value: _ferrograd.Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: _ferrograd.Tensor | None = None,
    scale: float | None = None,
) -> tuple[_ferrograd.Tensor, _ferrograd.Tensor]:
    """Attention, and the logarithms of the sums that its weights are divided by."""
    attention = _ferrograd._nn.scaled_dot_product_attention
    found = attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale)
    scores = query @ key.transpose(-1, -2) * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(_ferrograd.ones_like(scores, dtype=_ferrograd.bool).tril().logical_not(), -inf)
    if attn_mask is not None:
        scores = scores + attn_mask
    return found, scores.logsumexp(-1)


def _never(name: str) -> OpOverload:
    """An operation that torch has and that occurs nowhere here: it is equal to none that does."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"aten.{name}: torch has such an operation; here nothing calls it, and it cannot be called")

    return OpOverload(name, refuse)


#: What torch has for attention on other devices.
_ELSEWHERE = {
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
}


def _is_elsewhere(name: str) -> bool:
    """True for operations of torch that are derivatives of others, which are none here, or for other devices."""
    head, tail = name.removesuffix("_backward"), name.endswith("_backward")
    return name in _ELSEWHERE or tail and (head in _operations() or head in _ELSEWHERE)


def _below_autograd() -> dict[str, Callable]:
    """Operations that torch has under names of their own below autograd, and what they take there."""
    return {
        "index": _index,
        "detach": _ferrograd.Tensor.detach,
        "size": _ferrograd.Tensor.size,
        "stride": _ferrograd.Tensor.stride,
        "sym_size": _ferrograd.Tensor.size,
        "sym_stride": _ferrograd.Tensor.stride,
        "sym_numel": _ferrograd.Tensor.numel,
        "sym_storage_offset": _ferrograd.Tensor.storage_offset,
        "_softmax": _softmax(_ferrograd.softmax),
        "_log_softmax": _softmax(_ferrograd.log_softmax),
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
    }


@functools.cache
def _operations() -> dict[str, OpOverload]:
    """The operations by their names and other names, and by those of Python's methods."""
    places = {"Nn": _ferrograd._nn, "Special": _ferrograd._special, "Linalg": _ferrograd._linalg}
    found = {name: OpOverload(name, function) for name, function in _below_autograd().items()}
    found["__getitem__"] = found["index"]
    # What is in the package too comes from there.
    for row in sorted(_ferrograd._operations(), key=lambda row: row["home"] == "Nn"):
        home, plain = row["home"], row["name"].rpartition(".")[2]
        name = f"{home.lower()}_{plain}" if home in ("Special", "Linalg") else plain
        function = getattr(places.get(home, _ferrograd), plain, None) or getattr(_ferrograd.Tensor, plain)
        operation = found.setdefault(name, OpOverload(name, function))
        for other in row["aliases"]:
            place, _, plain = other.rpartition(".")
            found.setdefault(f"{place}_{plain}" if place in ("special", "linalg") else plain, operation)
    found["__setitem__"] = found["index_put_"]
    return found


class _Namespace:
    """The operations of a namespace as attributes."""

    def __getattr__(self, name: str) -> OpOverloadPacket:
        operation = _operations().get(name)
        if operation is None and _is_elsewhere(name):
            operation = _operations().setdefault(name, _never(name))
        if operation is None:
            raise AttributeError(f"'_OpNamespace' 'aten' object has no attribute '{name}'")
        return operation.overloadpacket

    def __dir__(self) -> list[str]:
        return sorted(name for name in _operations() if not name.startswith("__"))

    def __repr__(self) -> str:
        return "<ops.aten>"


aten = _Namespace()

__all__ = ["OpOverload", "OpOverloadPacket", "aten"]

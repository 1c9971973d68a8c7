"""`rearrange`: dimensions reordered, split and joined as a pattern says."""

import re
from collections.abc import Sequence
from math import prod
from typing import NoReturn

from .. import _ferrograd
from .._ferrograd import Tensor

#: The dimensions that a pattern does not name.
_REST = "..."
#: The names that each dimension is made of, none for one of size 1; `None` for the dimensions without names.
_Side = list[list[str] | None]


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """The elements of a tensor in other dimensions, as a pattern of einops says: `"b h w c -> b c (h w)"` names the dimensions
    there are, and then those of the result. Names in brackets are one dimension, split on the left and joined on the right;
    the size of all but one of them is given by name. `1` and `()` are a dimension of size 1, and `...` stands for dimensions
    without names. Several tensors of one shape are stacked first.

    Shapes: any; the result shares the tensor's memory where its strides allow it, as of `reshape`.

    Raises ValueError for a pattern that cannot be read, names that stand on one side only or twice, and sizes that do not fit;
    TypeError for sizes that are no integers.

    >>> import ferrograd
    >>> x = ferrograd.arange(6).reshape(2, 3)
    >>> rearrange(x, "rows columns -> columns rows")
    tensor([[0, 3],
            [1, 4],
            [2, 5]])
    >>> rearrange(x, "... (half n) -> half (... n)", half=3)
    tensor([[0, 3],
            [1, 4],
            [2, 5]])
    """
    x = tensor if isinstance(tensor, Tensor) else _ferrograd.stack(tensor)
    if not isinstance(pattern, str):
        raise TypeError(f"rearrange(): argument 'pattern' must be str, not {type(pattern).__name__}")
    if pattern.count("->") != 1:
        raise ValueError("Pattern must contain a single '->' separator")
    left, right = (_side(text) for text in pattern.split("->"))
    _check_names(left, right, pattern, axes_lengths)
    rest = _rest(left, x.dim())
    split, joined = _named(left, rest), _named(right, rest)
    sizes: dict[str, int] = {}
    for names, size in zip(split, x.shape):
        sizes.update(_split(names, size, axes_lengths))
    parts = [name for names in split for name in names]
    order = [parts.index(name) for names in joined for name in names]
    y = x.reshape([sizes[name] for name in parts]).permute(order)
    return y.reshape([prod(sizes[name] for name in names) for names in joined])


def _side(text: str) -> _Side:
    """One side of a pattern."""
    dims: _Side = []
    within: list[str] | None = None
    for token in re.findall(r"\.\.\.|\w+|\S", text):
        if token == "(":
            if within is not None:
                raise ValueError("Axis composition is one-level (brackets inside brackets not allowed)")
            within = []
            dims.append(within)
        elif token == ")":
            if within is None:
                raise ValueError("Brackets are not balanced")
            within = None
        elif within is not None:
            within.extend(_names(token))
        else:
            dims.append(None if token == _REST else _names(token))
    if within is not None:
        raise ValueError(f"Imbalanced parentheses in expression: '{text}'")
    return dims


def _names(token: str) -> list[str]:
    """What a token of a pattern names: a dimension, all others, or nothing."""
    if token == _REST:
        return [token]
    if token == ".":
        raise ValueError("Expression may contain dots only inside ellipsis (...); only one ellipsis for tensor")
    if token.isdecimal():
        if token != "1":
            raise ValueError("rearrange only supports unnamed axes of size 1")
        return []
    if not re.fullmatch(r"\w+", token):
        raise ValueError(f"Unknown character '{token}'")
    if not token.isidentifier():
        raise ValueError(f"Invalid axis identifier: {token}\nnot a valid python identifier")
    if token.strip("_") != token:
        raise ValueError(f"Invalid axis identifier: {token}\naxis name should should not start or end with underscore")
    return [token]


def _check_names(left: _Side, right: _Side, pattern: str, lengths: dict) -> None:
    given, wanted = ([name for names in _named(side, [_REST]) for name in names] for side in (left, right))
    for side in (given, wanted):
        for name in side:
            if side.count(name) > 1 and name != _REST:
                raise ValueError(f"Indexing expression contains duplicate dimension '{name}'")
        if side.count(_REST) > 1:
            raise ValueError("Expression may contain dots only inside ellipsis (...); only one ellipsis for tensor")
    if _REST in wanted and _REST not in given:
        raise ValueError(f"Ellipsis found in right side, but not left side of a pattern {pattern}")
    if _REST in given and None not in left:
        raise ValueError(f"Ellipsis is parenthesis in the left side is not allowed: {pattern}")
    if alone := set(given) ^ set(wanted):
        raise ValueError(f"Identifiers only on one side of rearrange expression (should be on both): {alone}")
    if unknown := set(lengths) - set(given):
        raise ValueError(f"Identifiers not found in rearrange expression: {unknown}")
    for length in lengths.values():
        if not isinstance(length, int):
            raise TypeError(f"rearrange axis lengths must be integers, got: {type(length)}")


def _rest(left: _Side, rank: int) -> list[str]:
    """Names for the dimensions that the ellipsis stands for."""
    named = len([names for names in left if names is not None])
    count = rank - named
    if count < 0 or (count and None not in left):
        raise ValueError(
            f"Number of dimensions in pattern ({named}) must be equal to the number of dimensions in the tensor ({rank})"
            + (", or less beside an ellipsis" if None in left else "")
        )
    return [f"{_REST}{n}" for n in range(count)]


def _named(side: _Side, rest: list[str]) -> list[list[str]]:
    """A side with these names in the place of the ellipsis."""
    dims: list[list[str]] = []
    for names in side:
        if names is None:
            dims.extend([name] for name in rest)
        else:
            dims.append([part for name in names for part in (rest if name == _REST else [name])])
    return dims


def _split(names: list[str], size: int, lengths: dict[str, int]) -> dict[str, int]:
    """The sizes of what a dimension of a size is made of."""

    def wrong(why: str) -> NoReturn:
        raise ValueError(f"rearrange: {why} where a dimension of size {size} is ({' '.join(names)}), with {lengths}")

    sizes = {name: lengths[name] for name in names if name in lengths}
    if any(length < 0 for length in sizes.values()):
        wrong("lengths must not be negative")
    known = prod(sizes.values())
    missing = [name for name in names if name not in sizes]
    if len(missing) > 1:
        wrong(f"cannot infer the sizes of several dimensions at once, {' and '.join(missing)},")
    if missing:
        if known == 0 or size % known:
            wrong(f"no size of {missing[0]} fits")
        sizes[missing[0]] = size // known
    elif known != size:
        wrong(f"sizes multiply to {known}")
    return sizes

"""Functions of the package that are written in terms of others."""

from math import inf

from . import _ferrograd
from ._ferrograd import Generator, Tensor, default_generator
from ._size import Size


def _unlike(name: str, argument: str, position: int, expected: str, value) -> TypeError:
    """The error for an argument of another type."""
    given = type(value).__name__
    return TypeError(f"{name}(): argument '{argument}' (position {position}) must be {expected}, not {given}")


def _tensor(name: str, argument: str, position: int, value) -> Tensor:
    """The argument of a function, which must be a tensor."""
    if not isinstance(value, Tensor):
        raise _unlike(name, argument, position, "Tensor", value)
    return value


def manual_seed(seed: int) -> Generator:
    """Seed the default stream of random numbers; the same seed gives torch's numbers.

    Raises ValueError for a seed that does not fit 64 bits.

    >>> import ferrograd
    >>> _ = manual_seed(0)
    >>> ferrograd.rand(3)
    tensor([0.4963, 0.7682, 0.0885])
    """
    return default_generator.manual_seed(int(seed))


def broadcast_shapes(*shapes) -> Size:
    """The shape that shapes, or sizes of vectors, broadcast to.

    Raises RuntimeError for shapes that do not broadcast, ValueError for negative sizes.

    >>> broadcast_shapes((2, 1), (3, 1, 7), 7)
    torch.Size([3, 2, 7])
    """
    result: list[int] = []
    for position, shape in enumerate(shapes):
        sizes = [shape] if isinstance(shape, int) else shape
        what = f"broadcast_shapes: shapes must be ints or tuples or lists of ints, got {shape!r} as argument {position}"
        if not isinstance(sizes, (list, tuple)):
            raise RuntimeError(what)
        if not all(isinstance(size, int) for size in sizes):
            raise TypeError(what)
        if any(size < 0 for size in sizes):
            raise ValueError(f"broadcast_shapes: sizes must not be negative, got {tuple(sizes)}")
        result = [1] * (len(sizes) - len(result)) + result
        for at in range(-1, -len(sizes) - 1, -1):
            if result[at] == 1:
                result[at] = sizes[at]
            elif sizes[at] not in (1, result[at]):
                raise RuntimeError(
                    f"broadcast_shapes: argument {position}, {tuple(sizes)}, does not broadcast to {result}: sizes must be "
                    f"equal or 1, got {sizes[at]} at dimension {at}"
                )
    return Size(result)


def detach(input: Tensor) -> Tensor:
    """`Tensor.detach`: the same elements without history.

    Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> x = ferrograd.ones(1, requires_grad=True)
    >>> detach(x * 2)
    tensor([2.])
    """
    return _tensor("detach", "input", 1, input).detach()


def detach_(input: Tensor) -> Tensor:
    """`Tensor.detach_`: cuts the tensor's history.

    Raises TypeError for what is no tensor, RuntimeError for views.

    >>> import ferrograd
    >>> x = ferrograd.ones(1, requires_grad=True) * 2
    >>> detach_(x).requires_grad
    False
    """
    return _tensor("detach_", "input", 1, input).detach_()


def asarray(obj, *, dtype=None, device=None, copy: bool | None = None, requires_grad: bool | None = None) -> Tensor:
    """A tensor of anything that holds numbers: tensors, arrays, objects with a buffer, numbers and nested sequences.

    Memory is shared where it can be: not with another dtype, not with sequences, and not with `copy=True`. With `copy=False`
    what cannot be shared is a ValueError. A tensor keeps its history, but with `requires_grad=False`.

    >>> asarray([1, 2])
    tensor([1, 2])
    """
    is_array = hasattr(obj, "__array_interface__")
    if isinstance(obj, Tensor):
        shared = obj.detach() if requires_grad is False else obj
    elif is_array:
        shared = _ferrograd.as_tensor(obj, device=device)
    elif _is_buffer(obj):
        shared = frombuffer(obj, dtype=dtype or _ferrograd.get_default_dtype())
    else:
        shared = None
    can_share = shared is not None and dtype in (None, shared.dtype) and (not is_array or hasattr(obj, "__array__"))
    if copy is False and not can_share:
        raise ValueError(f"asarray: cannot make a tensor of {type(obj).__name__} without a copy")
    made = _ferrograd.as_tensor(obj if shared is None else shared, dtype=dtype, device=device)
    if copy and can_share:
        made = made.clone()
    return made.requires_grad_() if requires_grad and not made.requires_grad else made


def _is_buffer(obj) -> bool:
    try:
        return memoryview(obj) is not None
    except TypeError:
        return False


def frombuffer(buffer, *, dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A tensor with one dimension on the memory of an object with a buffer, such as bytes: `count` elements (all with -1)
    from `offset` bytes on. Raises ValueError where the buffer does not hold them.

    >>> import ferrograd
    >>> frombuffer(bytearray([1, 0, 2, 0, 0, 0]), dtype=ferrograd.int32, count=1, offset=2)
    tensor([2], dtype=torch.int32)
    """
    import numpy as np

    size = _ferrograd.zeros((), dtype=dtype).element_size()
    total = memoryview(buffer).nbytes
    if total == 0 or count == 0:
        raise ValueError(f"both buffer length ({total}) and count ({count}) must not be 0")
    if not 0 <= offset < total:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({total} bytes) minus 1"
        )
    if count < 0 and (total - offset) % size != 0:
        raise ValueError(
            f"buffer length ({total - offset} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})"
        )
    length = count * size if count > 0 else total - offset
    if offset + length > total:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than actual "
            f"buffer length ({total} bytes)"
        )
    made = _ferrograd.from_numpy(np.frombuffer(buffer, dtype=np.uint8, count=length, offset=offset))
    made = made if dtype == made.dtype else made.view(dtype)
    return made.requires_grad_() if requires_grad else made


def is_nonzero(input: Tensor) -> bool:
    """The truth of the one element of a tensor; RuntimeError for more or none.

    >>> import ferrograd
    >>> is_nonzero(ferrograd.tensor([1.5]))
    True
    """
    return bool(_tensor("is_nonzero", "input", 1, input))


def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scales the rows of a table that indices name down to a norm of order `norm_type`, where theirs is above `max_norm`, in the
    table itself.

    Raises RuntimeError for a table that requires a gradient, and for other dtypes and shapes, IndexError for rows that there
    are not.

    >>> import ferrograd
    >>> embedding_renorm_(ferrograd.tensor([[3.0, 4.0], [6.0, 8.0]]), ferrograd.tensor([0]), 1.0, 2.0)
    tensor([[0.6000, 0.8000],
            [6.0000, 8.0000]])
    """
    if _tensor("embedding_renorm_", "input", 1, input).requires_grad and _ferrograd.is_grad_enabled():
        raise RuntimeError("embedding_renorm_: a table that requires a gradient cannot be scaled in place: use no_grad()")
    _ferrograd._nn.embedding(indices, input.detach(), max_norm=max_norm, norm_type=norm_type)
    return input


def is_signed(input: Tensor) -> bool:
    """True for tensors of numbers that may be below zero. Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> is_signed(ferrograd.tensor([1], dtype=ferrograd.uint8))
    False
    """
    return _tensor("is_signed", "input", 1, input).is_signed()


def is_conj(input: Tensor) -> bool:
    """False: no tensor waits to be conjugated. Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> is_conj(ferrograd.ones(1))
    False
    """
    return _tensor("is_conj", "input", 1, input).is_conj()


def is_neg(input: Tensor) -> bool:
    """False: no tensor waits to be negated. Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> is_neg(ferrograd.ones(1))
    False
    """
    return _tensor("is_neg", "input", 1, input).is_neg()


def get_device(input: Tensor) -> int:
    """The number of a tensor's device: -1, as the CPU has none. Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> get_device(ferrograd.ones(1))
    -1
    """
    return _tensor("get_device", "input", 1, input).get_device()


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """True where both have the same sizes.

    >>> import ferrograd
    >>> is_same_size(ferrograd.zeros(2), ferrograd.ones(2))
    True
    """
    return _tensor("is_same_size", "input", 1, input).is_same_size(other)


def unravel_index(indices: Tensor, shape) -> tuple[Tensor, ...]:
    """The indices of every dimension of `shape` for indices that count the elements in row-major order.

    Raises TypeError for indices that are not integers.

    >>> import ferrograd
    >>> unravel_index(ferrograd.tensor([5, 7]), (3, 4))
    (tensor([1, 1]), tensor([1, 3]))
    """
    if not isinstance(indices, Tensor):
        raise TypeError(f"unravel_index: expected indices to be a Tensor, got {type(indices).__name__}")
    if indices.dtype.is_floating_point or indices.dtype == _ferrograd.bool:
        raise TypeError(f"unravel_index: expected indices of an integer dtype, got {indices.dtype}")
    sizes = [shape] if isinstance(shape, int) else [int(size) for size in shape]
    if any(size < 0 for size in sizes):
        raise ValueError(f"unravel_index: sizes must not be negative, got {tuple(sizes)}")
    below = [1]
    for size in reversed(sizes[1:]):
        below.insert(0, below[0] * size)
    counted = indices.unsqueeze(-1).div(_ferrograd.tensor(below), rounding_mode="floor")
    return (counted % _ferrograd.tensor(sizes)).unbind(-1)


def is_inference(input: Tensor) -> bool:
    """True for tensors made in inference mode. Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> with ferrograd.inference_mode():
    ...     x = ferrograd.ones(1)
    >>> ferrograd.is_inference(x), ferrograd.is_inference(ferrograd.ones(1))
    (True, False)
    """
    return _tensor("is_inference", "input", 1, input).is_inference()


def is_tensor(obj: object) -> bool:
    """True for tensors.

    >>> is_tensor([1.0])
    False
    """
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements.

    Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> numel(ferrograd.zeros(2, 3))
    6
    """
    return _tensor("numel", "input", 1, input).numel()


def equal(input: Tensor, other: Tensor) -> bool:
    """True for tensors of one shape whose elements are all equal.

    Raises TypeError for what is no tensor.

    >>> import ferrograd
    >>> equal(ferrograd.tensor([1, 2]), ferrograd.tensor([1.0, 2.0]))
    True
    """
    _tensor("equal", "input", 1, input)
    _tensor("equal", "other", 2, other)
    return input.shape == other.shape and _truth("equal", (input == other).all())


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """`|input - other| <= atol + rtol |other|`, element by element; equal infinities are close.

    Raises RuntimeError for tensors of two dtypes or of shapes that do not broadcast.

    >>> import ferrograd
    >>> isclose(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    return _close("isclose", input, other, rtol, atol, equal_nan)


def _close(name: str, input: Tensor, other: Tensor, rtol: float, atol: float, equal_nan: bool) -> Tensor:
    """`isclose` for the function of a name, which messages name."""
    _tensor(name, "input", 1, input)
    _tensor(name, "other", 2, other)
    for tolerance, position, value in (("rtol", 3, rtol), ("atol", 4, atol)):
        if isinstance(value, (bool, Tensor)) or not isinstance(value, (int, float)):
            raise _unlike(name, tolerance, position, "float", value)
        if not value >= 0:
            raise RuntimeError(f"{name}: {tolerance} must be greater than or equal to zero, but got {value}")
    if not isinstance(equal_nan, bool):
        raise _unlike(name, "equal_nan", 5, "bool", equal_nan)
    if input.dtype != other.dtype:
        raise RuntimeError(f"{name}: expected operands of the same dtype, got {input.dtype} and {other.dtype}")
    if input.dtype == _ferrograd.bool:
        return input == other
    size = other.abs()
    near = ((input - other).abs() <= atol + rtol * size).logical_and(size < inf)
    close = (input == other).logical_or(near)
    if equal_nan:
        close = close.logical_or(input.isnan().logical_and(other.isnan()))
    return close


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """True where all elements are close, as `isclose` has it.

    Raises RuntimeError for tensors of two dtypes or of shapes that do not broadcast.

    >>> import ferrograd
    >>> allclose(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 2.0 + 1e-6]))
    True
    """
    return _truth("allclose", _close("allclose", input, other, rtol, atol, equal_nan).all())


def _truth(name: str, answer: Tensor) -> bool:
    """The one answer of the function of a name."""
    if _ferrograd._batch_level(answer):
        raise RuntimeError(f"Batching rule not implemented for {name}: it gives one answer, and every example has its own")
    return bool(answer)


def einsum(*args) -> Tensor:
    """Sums of products over named dimensions: of an equation and operands, or of operands each followed by a list of
    numbers that name its dimensions, and at last the list of the result's.

    Shapes: as the letters of the equation say.
    Dtypes: any but bool, one for all, kept.
    Raises: ValueError for less than an equation and an operand; RuntimeError for other dtypes, and for an equation
    that does not fit the operands; TypeError for other arguments.

    >>> import ferrograd
    >>> einsum("ij->j", ferrograd.ones(2, 3))
    tensor([2., 2., 2.])
    >>> einsum(ferrograd.ones(2, 3), [0, 1], [1])
    tensor([2., 2., 2.])
    """
    if len(args) < 2:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts list")
    if isinstance(args[0], str):
        return _ferrograd.einsum(*args)
    operands = args[0 : 2 * (len(args) // 2) : 2]
    terms = ",".join(map(_term, args[1::2]))
    if len(args) % 2:
        terms += "->" + _term(args[-1])
    return _ferrograd.einsum(terms, list(operands))


def _term(subscripts) -> str:
    """A list of numbers below 52 as letters; an ellipsis stays."""
    letters = ""
    for s in subscripts:
        if s is Ellipsis:
            letters += "..."
        elif isinstance(s, int) and 0 <= s < 52:
            letters += chr(ord("A") + s) if s < 26 else chr(ord("a") + s - 26)
        else:
            raise ValueError("einsum(): subscripts must be integers within range [0, 52) or Ellipsis")
    return letters

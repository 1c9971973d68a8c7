"""Calls of every operation of the table, drawn with hypothesis from what the table says of it.

`drawn(data, name)` reads the signature (what kind of a value each parameter takes), the docstring's `Shapes:` (which shapes
the tensors have, as letters or as a sentence) and the words that the docstring quotes; the call that `captured` saw says from
which numbers a tensor is filled. So a new operation is called in many ways without a line here. A call that the operation
refuses is drawn again.
"""

import re

import numpy as np
from captured import call, captured, mapped, tensors
from hypothesis import assume, note
from shaped import Shaped

import ferrograd as fg

REFUSALS = (TypeError, ValueError, IndexError, RuntimeError, NotImplementedError)
#: What makes the gradient another one on purpose.
OTHER_GRADIENTS = {"scale_grad_by_freq", "max_norm", "norm_type", "padding_idx", "hard"}
#: What no drawn call gives: nothing of shapes or values depends on it, or it makes the gradient another one on purpose.
LEFT_OUT = OTHER_GRADIENTS | {
    "layout", "device", "pin_memory", "requires_grad", "memory_format", "generator", "size_average", "reduce", "inplace", "out",
    "_stacklevel", "sparse", "sparse_grad", "compute_mode", "implicit", "_random_samples",
}  # fmt: skip
LAYOUTS = ["plain", "transposed", "stepped", "expanded", "reversed"]
ATTEMPTS = 12
#: How many elements the tensors of a call have at most, and how many its result.
ELEMENTS = 60


class Redrawn(Exception):
    """Nothing fits what was drawn so far."""


def laid_out(array, how):
    """The same numbers in memory of another kind: as an array and as a tensor that looks at it with those strides."""
    if how == "transposed" and array.ndim:
        array = np.ascontiguousarray(array.T).T
        return array, fg.from_numpy(array)
    if how == "stepped" and array.ndim:
        room = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
        room[..., 1::2] = array
        return room[..., 1::2], fg.from_numpy(room)[..., 1::2]
    if how == "expanded" and array.ndim and array.shape[0]:
        return np.broadcast_to(array[:1], array.shape), fg.tensor(array[:1]).expand(array.shape)
    if how == "reversed" and array.ndim:
        return array[::-1], fg.tensor(array).flip(0)
    return array, fg.tensor(array)


def spread(rng, shape, low, high):
    """Numbers between bounds, no two of which are close."""
    count = int(np.prod(shape))
    places = rng.permutation(count) + rng.uniform(0.25, 0.75, count)
    return (low + (high - low) * places / max(count, 1)).reshape(shape)


class Filled(Shaped):
    """A call with values in its tensors."""

    def __init__(self, data, name, dtype):
        super().__init__(data, name)
        self.dtype = dtype
        self.rng = np.random.default_rng(self.whole(0, 2**32 - 1))

    @property
    def once(self):
        """True where an operation writes the last of what goes to one place: the gradient is exact where each comes once."""
        adds_up = self.values.get("accumulate") or self.values.get("reduce")
        return not adds_up and re.search(r"the\s+last\s+(element|one)\s+stays", self.row["doc"]) is not None

    def value(self, kind, parameter):
        """A dtype that is asked for is that of the floats: the derivatives of others are not those of differences."""
        if kind == "DType":
            return getattr(fg, self.dtype)
        return super().value(kind, parameter)

    def like(self, parameter):
        """The tensor that the captured call gave for a parameter."""
        return next(tensors([self.seen.get(parameter)]), None)

    def array(self, parameter, shape):
        """Numbers of the kind that the captured call has for the parameter."""
        like = self.like(parameter)
        dtype = self.dtype if like is None else str(like.dtype).removeprefix("torch.")
        if type(self.seen.get(parameter)) is int:
            like, dtype = fg.tensor(self.seen[parameter]), "int64"
        if dtype == "bool":
            return self.rng.integers(0, 2, shape).astype(bool)
        if "int" in dtype:
            return self.integers(like, parameter, shape).astype(dtype)
        low, high = (-2.0, 2.0) if like is None or not like.numel() else (like.min().item(), like.max().item())
        positive = like is None and re.search(r"\bvar\b|_var$", parameter)
        bounds = (0.2, 2.5) if positive else (-2.0, 2.0) if low < 0 else (0.05, 0.95) if high <= 1 else (0.2, 2.5)
        return spread(self.rng, shape, *bounds).astype(self.dtype)

    def integers(self, like, parameter, shape):
        """Places that there are in the first tensor, or numbers that the captured call has."""
        if self.once:
            return self.all_different(shape)
        if self.chance() and like.numel():
            return self.rng.choice(like.numpy().ravel(), shape)
        bound = self.bound(parameter)
        if self.chance():
            return self.rng.integers(0, max(bound, 1), shape)
        count = int(np.prod(shape))
        return (self.rng.permutation(max(bound, count))[:count] % max(bound, 1)).reshape(shape)

    def all_different(self, shape):
        """Places along `dim`, in the space of images, or among all elements, none of which comes twice."""
        others, dim = next(s for s in self.shapes.values() if not isinstance(s, list)), self.values.get("dim")
        spatial = re.search(r"(\d)d", self.name)
        if type(dim) is int and others and not -len(others) <= dim < len(others):
            raise Redrawn
        if type(dim) is int:
            line, axes = others[dim] if others else 1, [dim] if len(shape) == len(others) else list(range(len(shape)))
        elif spatial:
            line, axes = int(np.prod(others[-int(spatial[1]) :])), list(range(-int(spatial[1]), 0))
        else:
            line, axes = int(np.prod(others)), list(range(len(shape)))
        size = int(np.prod([shape[axis] for axis in axes]))
        if size > line:
            raise Redrawn
        lines = self.rng.permuted(np.tile(np.arange(line), (int(np.prod(shape)) // max(size, 1), 1)), axis=1)[:, :size]
        moved = [shape[n] for n in range(len(shape)) if n - len(shape) not in axes and n not in axes] + [shape[axis] for axis in axes]
        return np.moveaxis(lines.reshape(moved), range(-len(axes), 0), axes)

    def tensor(self, parameter, shape):
        array = self.array(parameter, shape)
        array, made = laid_out(array, self.pick(LAYOUTS[:3] if self.once and array.dtype.kind == "i" else LAYOUTS))
        assert tuple(made.shape) == tuple(shape), (made.shape, shape)
        return made

    def filled(self, parameter, shape):
        """The tensor of a parameter, or the tensors of a list."""
        if isinstance(shape, list):
            return [self.tensor(parameter, part) for part in shape]
        return self.tensor(parameter, shape)


def arguments_of(made):
    """A call's arguments by position and by name: by name what follows on something left out."""
    positional, named, gap = [], {}, False
    for kind, parameter, _, by_name in made.parameters:
        if parameter not in made.values:
            gap = True
        elif kind == "Tensor..." and not gap:
            positional += made.values[parameter]
        elif by_name or gap:
            named[parameter] = made.values[parameter]
        else:
            positional.append(made.values[parameter])
    return positional, named


def called(data, name, dtype, left_out):
    """A call that should be one of the operation's."""
    made = Filled(data, name, dtype)
    made.sketch(left_out)
    for parameter, shape in made.shapes.items():
        made.values[parameter] = made.filled(parameter, shape)
    return arguments_of(made)


def refilled(data, name, dtype, left_out):
    """The captured call with other numbers in its tensors, and those in memory of another kind."""
    arguments, named = captured(name)
    made = Filled(data, name, dtype)
    made.shapes = {parameter: tuple(made.like(parameter).shape) for parameter in made.seen if made.like(parameter) is not None}
    parameters = {id(t): parameter for parameter, value in (made.seen).items() for t in tensors([value])}

    def change(t):
        return made.tensor(parameters.get(id(t)), tuple(t.shape))

    known = {key: mapped(value, change) for key, value in made.seen.items()}
    positional = [known.get(parameter) for parameter, _ in zip(made.seen, arguments)]
    return positional, {key: known[key] for key in named}


def elements(value):
    return sum(t.numel() for t in tensors(value))


def drawn(data, name, dtype="float64", left_out=LEFT_OUT):
    """Arguments of a call of an operation, by position and by name, with tensors of all layouts and floats of one dtype.

    Where all that its signature and its shapes give is refused, the captured call with other numbers.
    """
    for attempt in [called] * ATTEMPTS + [refilled] * 2:
        try:
            arguments, named = attempt(data, name, dtype, left_out)
        except Redrawn:
            continue
        if elements([arguments, list(named.values())]) > ELEMENTS:
            continue
        try:
            result = call(name, arguments, named)
        except REFUSALS as error:
            assert "please report it" not in str(error), error
            continue
        if elements(tuple(result) if isinstance(result, tuple) else result) <= 2 * ELEMENTS:
            note(f"{name}: {arguments}, {named}")
            return arguments, named
    assume(False)

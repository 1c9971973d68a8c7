"""Calls of every operation with what its signature takes, and with what it does not, drawn from the table.

A drawn value is a function of a namespace, so that one call can be made with ferrograd's objects and with torch's.
"""

import re

from hypothesis import strategies as st

SHAPES = [(), (0,), (1,), (3,), (2, 3), (3, 2), (3, 3), (1, 3), (2, 0), (2, 1, 3), (2, 3, 3), (1, 1, 1, 1)]
DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]
NUMBERS = [0, 1, -1, 2, 3, -7, 255, 0.0, -0.0, 0.5, -1.5, 1e300, -1e39, float("inf"), float("-inf"), float("nan"),
           True, False]
SIZES = [0, 1, 2, 3, -1, -2, 5, -9, 2**62, -(2**62), 2**63 - 1]
WHOLE = [0, 1, 2, -1, -2, 3, 7, -9, 2**45, 2**62, 2**63 - 1, -(2**63)]
LARGE = [2**45, 2**62, -(2**63), 2**63, 2**64]
FILLS = [[0, 1, 2, 3], [0.5, -1.5, 2.0, 0.0], [float("nan"), float("inf"), float("-inf"), 1.0]]
EXTREMES = [[1e38, -1e38, 1e-40, 7.0]]


def constant(value):
    return lambda torch: value


@st.composite
def tensor(draw, fills):
    """A tensor: of any shape and dtype, contiguous, transposed, strided, expanded or a leaf that requires grad."""
    shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
    fill, form = draw(st.sampled_from(fills)), draw(st.sampled_from(["plain", "t", "step", "expand", "grad", "history"]))
    whole = not dtype.startswith("float")

    def make(torch):
        count = 1
        for n in shape:
            count *= n
        values = [fill[i % 4] for i in range(count)]
        if whole:
            values = [int(v) % 5 if abs(v) < 1e9 else 0 for v in values]
        x = torch.tensor(values, dtype=getattr(torch, dtype)).reshape(shape)
        if form == "t" and len(shape) > 1:
            return x.transpose(0, 1)
        if form == "step" and len(shape) > 0:
            return x[..., ::2]
        if form == "expand":
            return x.expand(2, *shape)
        if form in ("grad", "history") and not whole:
            x.requires_grad_()
            return x * 1 if form == "history" else x
        return x

    return make


def dtypes():
    return st.sampled_from(DTYPES).map(lambda d: lambda torch: getattr(torch, d))


def lists(numbers):
    # As sizes, four of 255 would take memory that there is and time that there is not.
    return st.lists(st.sampled_from([n for n in numbers if n != 255]), max_size=4).map(constant)


class Foreign:
    """An object that is nothing which an operation takes."""

    def __repr__(self):
        return "Foreign()"


def junk(numbers, fills):
    """What few parameters take."""
    odd = [None, "text", "", [], (), {}, [None], [[1, 2], [3]], Foreign(), slice(0, 1), ..., int]
    return st.one_of(
        st.sampled_from(odd).map(constant), st.sampled_from(numbers).map(constant), lists(numbers), tensor(fills), dtypes()
    )


def kinds(numbers, sizes, whole, fills):
    """What the kinds of parameters take, by the kind's name in a signature."""
    number = st.sampled_from(numbers).map(constant)
    return {
        "Tensor": tensor(fills),
        "Operand": st.one_of(tensor(fills), number),
        "Number": number,
        "float": number,
        "int": st.sampled_from(whole).map(constant),
        "bool": st.booleans().map(constant),
        "DType": dtypes(),
        "str": st.sampled_from(["trunc", "floor", "sum", "mean", "nonsense"]).map(constant),
        "int[]": lists(sizes),
        "Number[]": lists(numbers),
        "Tensor[]": st.lists(tensor(fills), max_size=3).map(lambda makers: lambda torch: [m(torch) for m in makers]),
        "Layout": st.just(None).map(constant),
        "Device": st.sampled_from([None, "cpu"]).map(constant),
    }


def parameters(signature):
    """The parameters of a signature's text: kind, name, whether it has a default, whether only by name."""
    call = signature.split(" -> ")[0]
    inside = call[call.index("(") + 1 : call.rindex(")")]
    by_name = False
    for part in filter(None, re.split(r", (?![^\[\(]*[\]\)])", inside)):
        if part == "*":
            by_name = True
            continue
        declared, _, default = part.partition("=")
        kind, name = declared.rsplit(" ", 1)
        yield kind.rstrip("?"), name, bool(default) or kind.endswith("?"), by_name


@st.composite
def call(draw, signatures, kinds, junk):
    """Positional and named arguments for one of the signatures: all of the kind that is declared, or one of another."""
    positional, named = [], {}
    by_position = True
    wrong = draw(st.integers(0, 15))
    for n, (kind, name, optional, by_name) in enumerate(parameters(draw(st.sampled_from(signatures)))):
        if optional and draw(st.booleans()):
            by_position = False
            continue
        known = kinds.get(re.sub(r"\[\d+\]", "[]", kind), junk)
        value = draw(junk if n == wrong else known)
        if by_name or not by_position:
            named[name] = value
        else:
            positional.append(value)
    if wrong == 15:
        named["nonsense"] = constant(1)
    return positional, named

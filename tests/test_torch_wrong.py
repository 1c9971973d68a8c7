"""Wrong arguments in every place of every operation: an exception of torch's class that names what is wrong, and inputs that
stay as they were.

The calls come from the signatures of the table: good arguments, with each of `WRONG` in the place of each in turn, one too
few, too many, and unknown names.
"""

import math
import re
import warnings
from functools import lru_cache

import fuzz
import numpy as np
import pytest
from test_operations import TABLE, function

import ferrograd as fg

torch = pytest.importorskip("torch")

#: What a kind of parameter takes; an empty name stands for all other kinds.
GOOD = {
    "Operand": "T.ones(2,3)", "Tensor[]": "[T.ones(2,3),T.ones(2,3)]", "Number": "1.5", "float": "1.5", "Number[]": "[1.5]", "int": "0",
    "int[]": "[0]", "Size": "[2,3]", "int?[]": "[2,2]", "int[][]": "[[0],[1]]", "Order": "2", "bool": "True",
    "DType": "T.float32", "str": "'mean'", "Device": "'cpu'", "Layout": "T.strided", "Generator": "T.Generator()",
    "MemoryFormat": "T.contiguous_format", "": "T.ones(2,3)",
}
NAMED = {"index": "T.zeros(2,3,dtype=T.int64)", "mask": "T.ones(2,3,dtype=T.bool)", "condition": "T.ones(2,3,dtype=T.bool)"}
WRONG = [
    "'a'", "None", "['a']", "[1,'a']", "object()", "1.5", "math.nan", "2**62", "2**63", "2**70", "-7", "True", "[0,0]", "[5]",
    "[2**62,2**62]", "{}", "int", "T.tensor([])", "T.tensor(2)", "T.ones(5,7)", "T.ones(2,3,dtype=T.bool)",
    "T.ones(1,1,1,1,1,1)", "T.ones(3,2).t()", "T.ones(2,3,requires_grad=True)", "[T.ones(2),1]", "[[1,2],[3]]", "T.float16", "'cuda'",
    "T.zeros(0,3)",
]  # fmt: skip
#: Operations that torch ends the process in or does not come back from, and those that draw numbers.
LEFT_OUT = re.compile(r"set_$|max_pool1d$|softmax_backward_data$")
#: Where torch's exception comes from what it happened to do with the argument and says nothing of it, so that the class here
#: may be another: functions written in Python that look at attributes, truth values and lengths first.
ACCIDENTAL = re.compile(
    r"has no attribute|is ambiguous|is not iterable|unsupported operand|not supported between|not subscriptable|has no len"
    r"|integer division or modulo by zero|object is not|not enough values to unpack|Python int too large|int too big"
    r"|is not a valid value for|Could this error message be improved|expected one of:\n.*bool"
)
#: Calls whose exception is of another class than torch's, and why.
OTHERWISE = {
    "(flip|tile|rot90|roll)": "dimensions may be written one by one and one alone",
    "(moveaxis|movedim)": "one dimension and a list of one go together",
    "(linalg.matrix_norm|histogram|norm|nn.normalize)": "one number is a list of one",
    "(linspace|logspace)": "tensors as ends must be without dimensions: else they are of the wrong type",
    "nn.(gaussian_nll_loss|gumbel_softmax|normalize)": "what must be a number is told from tensors before it is computed with",
    "tensordot": "dims are told by their type before they are read",
    "cdist": "a mode that is no text is of the wrong type",
    "nn.(cross_entropy|scaled_dot_product_attention)|slice_scatter": "too few dimensions are an error of the shape",
    "binomial": "two dtypes are told before each of them",
    "range": "memory that is pinned is asked for as everywhere",
    "sub": "a number that is no tensor is of the wrong type",
    r"(.*device=|to\(.*\), )2": "a device that there is not has no number",
}


def calls(row):
    """Positional and named arguments as text, from the signatures of an operation, and those that they are made of."""
    for signature in row["signatures"]:
        good, needed, optional = [], {}, []
        for kind, name, is_optional, by_name in fuzz.parameters(signature):
            value = NAMED.get(name) or GOOD.get(kind, GOOD[""])
            if is_optional:
                optional.append(name)
            elif by_name:
                needed[name] = value
            else:
                good.append(value)
        base = good, needed
        yield base, base
        for n in range(len(good)):
            yield (good[:n], needed), base
            yield from (((good[:n] + [wrong] + good[n + 1 :], needed), base) for wrong in WRONG)
        for name in [*needed, *optional]:
            yield from (((good, needed | {name: wrong}), base) for wrong in WRONG)
        yield (good + ["1"] * 9, needed), base
        yield (good, needed | {"nonsense": "1"}), base


@lru_cache
def torchs(name):
    """torch's function or method of the name, if it has one."""
    home, _, last = name.rpartition(".")
    place = torch.nn.functional if home == "nn" else getattr(torch, home) if home else torch
    if not TABLE[name]["function"]:
        place = torch.Tensor
    return getattr(place, last, None) or getattr(torch.special if not home else torch, last, None)


def outcome(T, call, positional, named):
    """The result or the exception of a call, and whether a call that failed changed its arguments."""
    names = {"T": T, "np": np, "math": math}
    arguments, options = [eval(p, names) for p in positional], {n: eval(v, names) for n, v in named.items()}
    before = snapshot([arguments, list(options.values())])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(*arguments, **options), False
        except Exception as error:
            return error, before != snapshot([arguments, list(options.values())])


def snapshot(value):
    """What a failed call must leave as it was."""
    if isinstance(value, (list, tuple)):
        return [snapshot(v) for v in value]
    if not isinstance(value, fg.Tensor):
        return None
    return value.detach().tolist(), tuple(value.shape), value._version, str(value.dtype)


@lru_cache
def goes(name, positional, named):
    """Whether torch takes a call of good arguments: what it says of a wrong one beside them is about that one then."""
    return not isinstance(outcome(torch, torchs(name), positional, dict(named))[0], Exception)


def difference(name, positional, named, shown, compares):
    """What is wrong with a call, in words; None where nothing is."""
    ours, changed = outcome(fg, function(name), positional, named)
    if not isinstance(ours, Exception):
        return None
    text = str(ours)
    if changed:
        return "changed an argument"
    if "please report it" in text or len(text) < 10:
        return f"says {text!r}"
    if isinstance(ours, TypeError) and not re.match(r"\w+\(\)|can't|\w+: |only Tensors", text):
        return f"does not name the operation: {text!r}"
    if isinstance(ours, OverflowError) or not compares:
        return None
    theirs, _ = outcome(torch, torchs(name), positional, named)
    if any(re.match(rf"({call})\b", shown) for call in OTHERWISE) and isinstance(theirs, Exception):
        return None
    if not isinstance(theirs, Exception) or isinstance(ours, type(theirs)) or ACCIDENTAL.search(str(theirs)):
        return None
    return f"{ours!r} where torch has {theirs!r}"


@pytest.mark.parametrize("name", sorted(n for n in TABLE if torchs(n) and not LEFT_OUT.search(n)))
def test_wrong_arguments(name):
    found = {}
    for (positional, named), (good, needed) in calls(TABLE[name]):
        if not TABLE[name]["function"] and not (positional and positional[0].startswith("T.ones")):
            continue
        shown = f"{name}({', '.join([*positional, *(f'{n}={v}' for n, v in named.items())])})"
        what = difference(name, positional, named, shown, goes(name, tuple(good), tuple(needed.items())))
        if what is not None:
            found[shown] = what
    assert not found, "\n".join(f"{call}: {what}" for call, what in found.items())

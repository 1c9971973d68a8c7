"""Calls of every operation of the table, as the samples and the examples make them.

While a sample or the example of a docstring runs, the operation's functions and its method note what they are called with. So
there is a call of every operation, also of a new one, without anyone writing it down.
"""

import contextlib
import doctest
import io
import re
import warnings
from functools import cache

import fuzz
import numpy as np
from samples import FUNCTIONS

import ferrograd as fg
from ferrograd import _ferrograd

TABLE = {row["name"]: row for row in _ferrograd._operations()}
#: Where functions of the table are found, in torch's places.
PLACES = {"Package": [fg, fg.Tensor], "Tensor": [fg.Tensor], "Nn": [fg.nn.functional, fg], "Special": [fg.special, fg], "Linalg": [fg.linalg]}
HOMES = {"Package": fg, "Tensor": fg.Tensor, "Nn": _ferrograd._nn, "Special": _ferrograd._special, "Linalg": _ferrograd._linalg}
_clone, _detach = _ferrograd.clone, fg.Tensor.detach


def function(name):
    """The operation as a Python function of tensors."""
    row = TABLE[name]
    return getattr(HOMES[row["home"]] if row["function"] else fg.Tensor, name.rpartition(".")[2])


def told(name, what):
    """What a docstring says under `Shapes:`, `Dtypes:` or `Raises:`, in one line without its point."""
    lines = TABLE[name]["doc"].split("\n")
    first = next((n for n, line in enumerate(lines) if line.startswith(f"{what}: ")), None)
    if first is None:
        return ""
    last = next(n for n in range(first + 1, len(lines)) if not lines[n] or re.match("Dtypes: |Raises: ", lines[n]))
    return " ".join(lines[first:last]).removeprefix(f"{what}: ").removesuffix(".")


def tensors(value):
    """The tensors among arguments, in their order."""
    if isinstance(value, fg.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)


def mapped(value, change):
    """Arguments with their tensors changed."""
    if isinstance(value, fg.Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(mapped(part, change) for part in value)
    return value


def _copy(value):
    return mapped(value, lambda t: _clone(_detach(t)))


def _noted(name, run):
    """What the operation is called with while something runs."""
    short, calls, before, busy = name.rpartition(".")[2], [], [], []

    def noting(call):
        def noted(*arguments, **named):
            if not busy:
                busy.append(True)
                calls.append((_copy(arguments), {key: _copy(value) for key, value in named.items()}))
                busy.pop()
            return call(*arguments, **named)

        return noted

    for place in PLACES[TABLE[name]["home"]]:
        if hasattr(place, short):
            before.append((place, vars(place).get(short)))
            setattr(place, short, noting(getattr(place, short)))
    try:
        run()
    finally:
        for place, was in before:
            if was is None:
                delattr(place, short)
            else:
                setattr(place, short, was)
    return calls


def _example(name):
    """Runs the example of the operation's docstring."""
    test = doctest.DocTestParser().get_doctest(TABLE[name]["doc"], {"ferrograd": fg}, name, None, 0)
    with contextlib.redirect_stdout(io.StringIO()):
        for step in test.examples:
            exec(compile(step.source, name, "single"), test.globs)


def _sample(name):
    """Runs the sample of the operation."""
    FUNCTIONS[name](fg.tensor(np.random.default_rng(5).normal(size=(3, 4))))


@cache
def _captured(name):
    """A call of an operation. The forms in place have that of the operation that they are made of."""
    plain = name.removesuffix("_")
    name = plain if plain in TABLE and not TABLE[name]["doc"].count(f"{name}(") else name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = _noted(name, lambda: _sample(name)) if name in FUNCTIONS else []
        return (calls or _noted(name, lambda: _example(name)))[0]


def captured(name):
    """Arguments of a call of an operation, by position and by name, and its tensors; all are new."""
    arguments, named = _captured(name)
    return list(_copy(arguments)), {key: _copy(value) for key, value in named.items()}


def of_tensors(name, arguments, named):
    """The call with tensors of the first one's shape and dtype for numbers, where the operation takes either."""
    kinds = [(kind, parameter) for kind, parameter, *_ in fuzz.parameters(TABLE[name]["signatures"][0])]
    like = next(tensors([arguments, list(named.values())]))
    taken = {parameter for kind, parameter in kinds if kind in ("Operand", "Tensor")}

    def made(value, parameter):
        if type(value) not in (int, float) or parameter not in taken:
            return value
        # What fills is one number.
        return fg.full(() if parameter == "value" else like.shape, value, dtype=like.dtype)

    arguments = [made(value, parameter) for value, (_, parameter) in zip(arguments, kinds)] + arguments[len(kinds) :]
    return arguments, {key: made(value, key) for key, value in named.items()}


def call(name, arguments, named):
    """Calls an operation, with the same random numbers each time and no warnings."""
    fg.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(name)(*arguments, **named)

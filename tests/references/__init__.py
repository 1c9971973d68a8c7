"""What every operation that is not element-wise gives, in plain NumPy and by definition: one module a theme.

`reference(name)` is the function of an operation of the table. It is called with the parameters' names and NumPy's arrays in
the place of tensors, as `bound` makes of a call; several results are a tuple. Floats come as `longdouble`: a function that has
to know their dtype takes it as `float_dtype`. A module's `REFERENCE` has those that are written down. All others are NumPy's
functions of the same name, whose parameters have other names.
"""

import inspect
from importlib import import_module
from pkgutil import iter_modules

import fuzz
import numpy as np
from captured import TABLE

REFERENCE = {}
for _module in iter_modules(__path__):
    REFERENCE |= import_module(f"{__name__}.{_module.name}").REFERENCE

#: What NumPy calls a parameter.
NAMES = {
    "dim": ["axis"], "dims": ["axis", "axes"], "keepdim": ["keepdims"], "size": ["shape"], "shifts": ["shift"], "dim1": ["axis1"],
    "dim2": ["axis2"], "source": ["source"], "destination": ["destination"], "diagonal": ["k"], "offset": ["offset", "k"],
    "sections": ["indices_or_sections"], "indices": ["indices_or_sections"], "weights": ["weights"],
}  # fmt: skip
WHOLE, NUMBER = (int, np.integer), (int, float, np.number)


def _numpys(name):
    """NumPy's function of the operation's name, called with the operation's parameters."""
    theirs = getattr(np, name.rpartition(".")[2], None)
    if not callable(theirs):
        return None

    def call(**named):
        known = inspect.signature(theirs).parameters
        arguments, renamed = [], {}
        for key, value in named.items():
            arrays = value if isinstance(value, list) else [value]
            if not renamed and key not in known and arrays and all(isinstance(a, np.ndarray) for a in arrays):
                arguments.append(value)
            else:
                renamed[next((n for n in NAMES.get(key, []) if n in known), key)] = value
        return theirs(*arguments, **renamed)

    return call


def reference(name):
    """The function of an operation; None where there is none. Copies of views have those of the views."""
    view = name.removesuffix("_copy")
    if view != name and name not in REFERENCE and view in TABLE:
        shown = reference(view)
        return lambda input, **named: shown(self=input, **named)
    return REFERENCE.get(name) or _numpys(name)


def _fits(kind, value):
    """True where a parameter of a kind that is no list takes a value."""
    number = isinstance(value, NUMBER)
    return {
        "Tensor": isinstance(value, np.ndarray),
        "Operand": isinstance(value, np.ndarray) or number,
        "Number": number,
        "float": number,
        "Order": number or isinstance(value, str),
        "int": isinstance(value, WHOLE) and not isinstance(value, bool),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
        "DType": isinstance(value, np.dtype),
    }[kind]


def _taken(kind, value):
    """True where a parameter of a kind takes a value; lists may be one number for all dimensions."""
    each = {"Size": "int"}.get(kind, kind.rstrip(".").removesuffix("[]"))
    if kind == "int[][]":
        return isinstance(value, (list, tuple)) and all(_taken("int[]", part) for part in value)
    if each == kind and kind != "Size":
        return _fits(kind, value)
    return _fits(each, value) or isinstance(value, (list, tuple)) and all(part is None or _fits(each, part) or _taken(each, part) for part in value)


def _by_signature(signature, arguments, named):
    """The parameters of a call by their names, if the signature takes it. What follows a last list may be its parts."""
    arguments, found = list(arguments), {}
    parameters = list(fuzz.parameters(signature))
    last = [name for _, name, _, by_name in parameters if not by_name][-1:]
    for kind, name, optional, by_name in parameters:
        kind = kind.replace("?", "")
        several = kind == "Tensor..." or kind in ("Size", "int[]", "Tensor[]") and arguments[:1] and not isinstance(arguments[0], (list, tuple))
        if arguments and not by_name:
            value = arguments.pop(0)
            if [name] == last and several and (arguments or kind in ("Tensor...", "Tensor[]")):
                value, arguments = [value, *arguments], []
        elif name in named:
            value = named[name]
        elif optional or kind == "Tensor...":
            continue
        else:
            return None
        if not (_taken(kind, value) or value is None and (optional or kind.startswith("Tensor"))):
            return None
        found[name] = value
    return None if arguments or set(named) - set(found) else found


def bound(name, arguments, named):
    """The parameters of a call by their names, of the signature that takes it."""
    for signature in TABLE[name]["signatures"]:
        found = _by_signature(signature, arguments, named)
        if found is not None:
            return found
    raise AssertionError(f"no signature of {name} takes {arguments}, {named}")

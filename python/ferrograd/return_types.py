"""What operations with several named results return: tuples with names, one class an operation."""

import re
from operator import itemgetter

from ._ferrograd import _operations
from .utils._pytree import register_pytree_node


def _class(name: str, fields: list[str]) -> type:
    def new(cls, iterable):
        values = tuple(iterable)
        if len(values) != len(fields):
            raise TypeError(f"torch.return_types.{name}() takes a {len(fields)}-sequence ({len(values)}-sequence given)")
        return tuple.__new__(cls, values)

    def text(self) -> str:
        inner = ",\n".join(f"{field}={value!r}" for field, value in zip(fields, self))
        return f"torch.return_types.{name}(\n{inner})"

    def example(i: int) -> str:
        return f"\n\n>>> {name}({tuple(range(len(fields)))}).{fields[i]}\n{i}\n"

    body = {f: property(itemgetter(i), doc=f"The result `{f}` of `{name}`.{example(i)}") for i, f in enumerate(fields)}
    body["__doc__"] = f"What `{name}` returns: {' and '.join(f'`{f}`' for f in fields)}, in this order.{example(0)}"
    body |= {"__new__": new, "__repr__": text, "__match_args__": tuple(fields), "__slots__": (), "__module__": "torch.return_types"}
    body |= {"__reduce__": lambda self: (globals()[name], (tuple(self),)), "n_fields": len(fields)}
    body |= {"n_sequence_fields": len(fields), "n_unnamed_fields": 0}
    cls = type(name, (tuple,), body)
    register_pytree_node(cls, lambda results: (list(results), None), lambda values, _: cls(values))
    return cls


#: Those of functions that are written in Python.
histogramdd = _class("histogramdd", ["hist", "bin_edges"])

for _row in _operations():
    for _signature in _row["signatures"]:
        if _fields := re.findall(r"Tensor (\w+)", _signature.partition(" -> ")[2]):
            globals()[_row["name"]] = _class(_row["name"], _fields)

"""Write the reference of operations, docs/operations.md, from the table of operations; `--check` compares.

What the docstring of an operation says is taken from it; which derivatives there are, and what is kept for them, is what a
call of the operation shows: the one that its sample or its example in the tests makes.
"""

import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import ferrograd as fg  # noqa: E402
from captured import TABLE, call, captured, mapped, tensors  # noqa: E402

PAGE = ROOT / "docs/operations.md"
HOMES = {"Package": "ferrograd", "Tensor": "ferrograd.Tensor", "Nn": "ferrograd.nn.functional", "Special": "ferrograd.special", "Linalg": "ferrograd.linalg"}
HEAD = """# Operations

Written by `tools/reference.py` from the table of operations. An operation has torch's name, in torch's place. `x` in a
formula is the first operand, or `a` and `b` are the first two, `y` is the result and `g` its gradient. In shapes `[N,]` is a
dimension that may be missing and `...` any number of them.

```python
>>> import ferrograd
```
"""


def leaves(name, most):
    """The captured call on leaves that require gradients where tensors are floats, at most so many, and these leaves."""
    arguments, named = captured(name)
    made = []

    def leaf(t):
        if t.is_floating_point() and len(made) < most:
            made.append(t.double().requires_grad_())
            return made[-1]
        return t

    return [mapped(a, leaf) for a in arguments], {key: mapped(value, leaf) for key, value in named.items()}, made


def history(name, most=9):
    """The first result that has a history, and the leaves. Some operands of some operations may have none."""
    arguments, named, made = leaves(name, most)
    if name.endswith("_"):
        # A leaf is not written to.
        arguments = [a * 1 if isinstance(a, fg.Tensor) and a.requires_grad else a for a in arguments]
    try:
        result = call(name, arguments, named)
    except RuntimeError:
        if most == 1:
            raise
        return history(name, 1)
    found = [t for t in tensors(tuple(result) if isinstance(result, tuple) else result) if t.requires_grad]
    return (found[0] if found else None), made


def nodes(y):
    """The nodes behind a tensor, those of leaves apart."""
    found, waiting = [], [y.grad_fn]
    while waiting:
        node = waiting.pop(0)
        if node is None or node in found or node.name().endswith("AccumulateGrad"):
            continue
        found.append(node)
        waiting += [edge for edge, _ in node.next_functions]
    return found


def kept(node):
    """The names of the tensors that a node keeps."""
    names = {key.removeprefix("_saved_") for key in dir(node) if key.startswith("_saved_") and isinstance(getattr(node, key), fg.Tensor)}
    return ", ".join(f"`{name}`" for name in sorted(names))


def derivatives(name):
    """Which derivatives a call shows, and what its nodes keep for them, as sentences."""
    y, made = history(name)
    if y is None or y.grad_fn is None:
        return "none", ""
    behind = nodes(y)
    saved = dict.fromkeys(f"{kept(node)} (`{node.name()}`)" if len(behind) > 1 else kept(node) for node in behind if kept(node))
    try:
        first = fg.autograd.grad(y.sum(), made, create_graph=True, allow_unused=True)
    except NotImplementedError:
        return "a NotImplementedError", ""
    again = any(g is not None and g.requires_grad for g in first)
    return f"`{y.grad_fn.name()}`; the second " + ("too" if again else "is zero"), ", ".join(saved) or "nothing"


def entry(name, row):
    """One operation."""
    lines = row["doc"].split("\n")
    example = next(n for n, line in enumerate(lines) if line.startswith(">>>"))
    terms = next(n for n, line in enumerate(lines) if line.startswith("Shapes: "))
    calls = "\n".join(s.removeprefix("Tensor.") for s in row["signatures"])
    told = []
    for line in lines[terms:example]:
        if line.startswith(("Shapes: ", "Dtypes: ", "Raises: ")):
            told.append(f"- {line}")
        elif line:
            told[-1] += f" {line}"
    if row["shapes"] == "View":
        told.append("- View: the result shares the operand's memory.")
    derived, saved = derivatives(name)
    told.append(f"- Derivative: {derived}.")
    if saved:
        told.append(f"- Kept for backward: {saved}.")
    forms = [f"`{name.rpartition('.')[2]}_` in place"] if f"{name}_" in TABLE else []
    forms += [f"`{alias}`" for alias in row["aliases"]]
    if forms:
        told.append(f"- Also: {', '.join(forms)}.")
    shown = "\n".join(lines[example:]).rstrip()
    prose = "\n".join(lines[:terms]).strip()
    return f"### {name.rpartition('.')[2]}\n\n```\n{calls}\n```\n\n{prose}\n\n" + "\n".join(told) + f"\n\n```python\n{shown}\n```\n"


def page():
    """The whole reference."""
    parts = [HEAD]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for home, title in HOMES.items():
            rows = {name: row for name, row in sorted(TABLE.items()) if row["home"] == home and not name.startswith("_")}
            made = [entry(name, row) for name, row in rows.items() if not (name.endswith("_") and name[:-1] in TABLE)]
            parts.append(f"## {title}\n\n" + "\n".join(made))
    return "\n".join(parts)


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit("docs/operations.md is not that of the binary: run `make stubs`")
        sys.exit()
    PAGE.write_text(text)

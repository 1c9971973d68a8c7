"""Write the stubs of the package, of `nn.functional`, `linalg` and `special`: package.pyi, which stands beside, with what the
table of operations, the element types and the imports of the package say; then the reference of operations. `--check`
compares."""

import ast
import keyword
import re
import subprocess
import sys
from pathlib import Path

import ferrograd
from ferrograd import _dtypes, _ferrograd

TYPES = {
    "Tensor": "Tensor",
    "Operand": "_Operand",
    "Tensor[]": "Sequence[Tensor]",
    "Tensor...": "Tensor",
    "Number": "_Number",
    "float": "_Number",
    "Number[]": "_Number | Sequence[_Number]",
    "int": "_int",
    "int[]": "_int | Sequence[_int]",
    "Size": "Sequence[_int]",
    "int?[]": "_int | Sequence[_int | None]",
    "int[][]": "Sequence[_int | Sequence[_int]]",
    "Order": "_Number | str",
    "bool": "_bool",
    "DType": "_dtype | _type",
    "str": "str",
    "Layout": "_layout",
    "Device": "_device | str",
    "MemoryFormat": "_memory_format",
    "Generator": "Generator",
}
SEVERAL = (
    "unbind split split_with_sizes chunk tensor_split hsplit vsplit dsplit unsafe_split unsafe_split_with_sizes unsafe_chunk "
    "broadcast_tensors meshgrid"
)
RETURNS = dict.fromkeys(SEVERAL.split(), "tuple[Tensor, ...]")
RETURNS |= dict.fromkeys("unique unique_consecutive atleast_1d atleast_2d atleast_3d nonzero".split(), "Any")
#: How the names begin that an operation has in another place.
ELSEWHERE = ("package.", "nn.", "special.")
VARIADIC = {"size", "shape", "dims", "repeats"}
RESULT = re.compile(r"Tensor (\w+)")

ROOT = Path(__file__).resolve().parents[1] / "python/ferrograd"
#: What stands where `package.pyi` has a marker.
BINARY = "add sub mul truediv floordiv mod pow and or xor lshift rshift"
COMPARISONS = "eq ne lt le gt ge"
UNARY = "neg pos abs invert"
CONVERTERS = "bfloat16 bool byte char double float half int long short"

HEAD = '''"""Types of {what}; written by tools/stubs.py."""

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

from {package} import Tensor, _bool, _dtype, _int, _Number, _Operand, _type
{imports}

'''
#: The other places of operations: their stub, what it is of, and the package as seen from there.
HOMES = {
    "Nn": ("nn/functional/__init__.pyi", "the functions of neural networks", "..."),
    "Linalg": ("linalg/__init__.pyi", "linear algebra", ".."),
    "Special": ("special/__init__.pyi", "special functions", ".."),
}


def imports(path: str, lazy: dict[str, list[str]]) -> str:
    """What a package takes from its modules, as it says it itself; names of a stub are public where they are repeated."""
    found = dict(lazy)
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level and node.module != "_ferrograd":
            names = [a.name for a in node.names if not a.name.startswith("_") and a.name not in _dtypes._CLASSES]
            found.setdefault("." * node.level + (node.module or ""), []).extend(names)
    return "".join(
        f"from {module} import {', '.join(f'{name} as {name}' for name in sorted(names))}\n"
        for module, names in sorted(found.items()) if names
    )


def lazy() -> dict[str, list[str]]:
    """What the package takes from its modules when it is asked for."""
    found: dict[str, list[str]] = {".": sorted(name for name in ferrograd._LAZY_MODULES if not name.startswith("_"))}
    for name, module in ferrograd._LAZY_NAMES.items():
        found.setdefault(f".{module}", []).append(name)
    return found


def operators() -> str:
    """Python's operators: on both sides and into the tensor."""
    binary = [f"__{side}{name}__" for name in BINARY.split() for side in ("", "r", "i")]
    lines = [f"def {name}(self, value: _Operand, /) -> Tensor: ..." for name in binary]
    for name in ("__pow__", "__rpow__"):
        lines[binary.index(name)] = f"def {name}(self, value: _Operand, mod: None = None, /) -> Tensor: ..."
    lines[binary.index("__ipow__")] += "  # type: ignore[misc]"
    lines += [f"def __{name}__(self, value: Tensor | ndarray, /) -> Tensor: ..." for name in ("matmul", "rmatmul")]
    for name in COMPARISONS.split():
        # Python's own equality takes every object and gives a bool; NumPy's order takes every object.
        ignored = "override" if name in ("eq", "ne") else "misc"
        lines.append(f"def __{name}__(self, value: _Operand, /) -> Tensor: ...  # type: ignore[{ignored}]")
    lines += [f"def __{name}__(self) -> Tensor: ..." for name in UNARY.split()]
    lines += [f"def {name}(self, memory_format: _memory_format | None = None) -> Tensor: ..." for name in CONVERTERS.split()]
    return "".join(f"    {line}\n" for line in lines)


def parameter(text: str) -> tuple[str, bool]:
    """One parameter of a signature as Python's stub has it, and whether it takes separate integers."""
    head, _, default = text.partition("=")
    kind, _, name = head.partition(" ")
    name += "_" * keyword.iskeyword(name)
    annotation = TYPES[kind.removesuffix("?")] + (" | None" if kind.endswith("?") else "")
    if (kind == "int[]" and name in VARIADIC and not default) or kind == "Tensor...":
        return f"*{name}: {annotation}", True
    return f"{name}: {annotation}" + (f" = {default}" if default else ""), False


def overloads(row: dict, method: bool, name: str) -> list[str]:
    lines = []
    for signature in row["signatures"]:
        call, _, results = signature.partition(" -> ")
        inner = call.split("(", 1)[1].removesuffix(")")
        if method and not inner.startswith("Tensor"):
            continue
        parts, keywords = [], False
        for text in filter(None, inner.split(", ")):
            if text == "*":
                parts += [] if keywords else ["*"]
                keywords = True
                continue
            part, takes_all = parameter(text)
            keywords |= takes_all
            parts.append(part)
        result = RETURNS.get(name, "Tensor")
        if results:
            result = f"_{name}" if RESULT.search(results) else "tuple[" + results.strip("()") + "]"
        elif name == "where" and len(parts) == 1:
            result = "tuple[Tensor, ...]"
        if method:
            parts[0] = "self"
        elif not name.endswith("_"):
            # Torch's name of the first parameter, which is taken under both.
            parts = [part.replace("self: ", "input: ") for part in parts]
            out = "Tensor" if result in ("Tensor", "Any") else "Sequence[Tensor]"
            parts += ([] if keywords else ["*"]) + [f"out: {out} | None = None"]
        lines.append(f"def {name}({', '.join(parts)}) -> {result}: ...")
    return lines


def result_class(row: dict) -> str:
    """The class of an operation's named results, if it has any."""
    for signature in row["signatures"]:
        if fields := RESULT.findall(signature.partition(" -> ")[2]):
            return f"class _{row['name']}(NamedTuple):\n" + "".join(f"    {field}: Tensor\n" for field in fields) + "\n\n"
    return ""


def block(row: dict, method: bool, name: str | None = None) -> str:
    """An operation under a name, its own if none is given, and under the others that it has in the same place."""
    indent = "    " if method else ""
    lines = overloads(row, method, name or row["name"].rpartition(".")[2])
    prefix = f"{indent}@overload\n" if len(lines) > 1 else ""
    others = [] if name else [alias for alias in row["aliases"] if not alias.startswith(ELSEWHERE)]
    aliases = "".join(f"{indent}{alias} = {row['name'].rpartition('.')[2]}\n" for alias in others)
    return "".join(f"{prefix}{indent}{line}\n" for line in lines) + aliases


def guests(rows: list[dict], place: str) -> str:
    """The operations of other places that stand in one too."""
    return "".join(
        block(row, False, alias.removeprefix(place)) for row in rows for alias in row["aliases"] if alias.startswith(place)
    )


def dtypes() -> str:
    """The element types and the classes of tensors of each."""
    names = [n for n, value in vars(_ferrograd).items() if isinstance(value, ferrograd.dtype)]
    made = "def __init__(self, *args: Any, device: _device | str | None = None) -> None: ..."
    return "".join(f"{n}: dtype\n" for n in names) + "".join(f"class {n}(Tensor):\n    {made}\n" for n in _dtypes._CLASSES)


def is_package_function(row: dict) -> bool:
    """True for the functions that the package takes from the binary as they are."""
    name = row["name"]
    return row["function"] and row["home"] == "Package" and getattr(ferrograd, name) is getattr(_ferrograd, name)


def stubs() -> str:
    rows = _ferrograd._operations()
    classes = "".join(result_class(row) for row in rows if row["function"])
    functions = "".join(block(row, False) for row in rows if is_package_function(row)) + guests(rows, "package.")
    methods = "".join(block(row, True) for row in rows if row["method"] and row["name"] != "to")
    text = (Path(__file__).parent / "package.pyi").read_text()
    parts = {"imports": imports("__init__.py", lazy()), "dtypes": dtypes(), "functions": f"\n\n{classes}{functions}", "operators": operators(), "methods": methods}
    for marker, part in parts.items():
        text = re.sub(rf"^ *# {marker}\n", lambda _: part, text, flags=re.M)
    return text


def home_stubs(home: str) -> str:
    path, what, package = HOMES[home]
    table = _ferrograd._operations()
    rows = [row for row in table if row["home"] == home]
    head = HEAD.format(what=what, package=package, imports=imports(path.removesuffix("i"), {}))
    functions = "".join(block(row, False) for row in rows) + guests(table, f"{home.lower()}.")
    return head + "".join(map(result_class, rows)) + functions


def main() -> int:
    made = {"__init__.pyi": stubs()} | {path: home_stubs(home) for home, (path, _, _) in HOMES.items()}
    for name, text in made.items():
        path = ROOT / name
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print("the stubs are not those of the binary: run `make stubs`", file=sys.stderr)
            return 1
    # The reference of operations is made of the same table.
    return subprocess.run([sys.executable, Path(__file__).with_name("reference.py"), *sys.argv[1:]]).returncode


if __name__ == "__main__":
    sys.exit(main())

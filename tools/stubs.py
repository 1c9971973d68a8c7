"""Write the stubs of the package and of `nn.functional` from the table of operations and the classes of the binary; `--check`
compares."""

import inspect
import re
import sys
from pathlib import Path

import ferrograd
from ferrograd import _ferrograd

TYPES = {
    "Tensor": "Tensor",
    "Operand": "Tensor | Number | ndarray",
    "Tensor[]": "Sequence[Tensor]",
    "Tensor...": "Tensor",
    "Number": "Number",
    "Number[]": "Number | Sequence[Number]",
    "int": "int",
    "int[]": "int | Sequence[int]",
    "Size": "Sequence[int]",
    "int?[]": "int | Sequence[int | None]",
    "int[][]": "Sequence[int | Sequence[int]]",
    "Order": "Number | str",
    "bool": "_bool",
    "DType": "dtype",
    "str": "str",
    "Layout": "layout",
    "Device": "device | str",
    "MemoryFormat": "memory_format",
    "Generator": "Generator",
}
SEVERAL = (
    "unbind split split_with_sizes chunk tensor_split hsplit vsplit dsplit unsafe_split unsafe_split_with_sizes unsafe_chunk "
    "broadcast_tensors meshgrid"
)
RETURNS = dict.fromkeys(SEVERAL.split(), "tuple[Tensor, ...]")
#: How the names begin that an operation has in another place.
ELSEWHERE = ("package.", "nn.")
VARIADIC = {"size", "shape", "dims", "repeats"}
RESULT = re.compile(r"Tensor (\w+)")

ROOT = Path(__file__).resolve().parents[1] / "python/ferrograd"

NN_HEAD = '''"""Types of the functions of neural networks; written by tools/stubs.py."""

from collections.abc import Sequence
from typing import overload

from ... import Number, Tensor, dtype
from ._composed import multi_head_attention_forward as multi_head_attention_forward
from ._composed import triplet_margin_with_distance_loss as triplet_margin_with_distance_loss

_bool = __import__("builtins").bool


'''

HEAD = '''"""Types of the package; written by tools/stubs.py."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, overload

from numpy import ndarray

from . import autograd as autograd, config as config, nn as nn
# imports
from .utils.dlpack import from_dlpack as from_dlpack
from ._tensor_str import set_printoptions as set_printoptions
from ._size import Size as Size
from .autograd.grad_mode import enable_grad as enable_grad, no_grad as no_grad, set_grad_enabled as set_grad_enabled

Number: TypeAlias = int | float
_bool: TypeAlias = __import__("builtins").bool
_Values: TypeAlias = Any

__version__: str
inf: float
nan: float
pi: float
e: float
newaxis: None


class dtype:
    is_floating_point: _bool
    is_complex: _bool
    is_signed: _bool
    itemsize: int


class OutOfMemoryError(RuntimeError, MemoryError): ...

class device:
    type: str
    index: int | None
    def __init__(self, type: str | device, index: int | None = None) -> None: ...


class layout: ...
class memory_format: ...


class Generator:
    device: device
    kind: str
    def __init__(self, device: device | str | None = None, *, kind: str = "mersenne") -> None: ...
    def manual_seed(self, seed: int) -> Generator: ...
    def seed(self) -> int: ...
    def initial_seed(self) -> int: ...
    def get_state(self) -> Tensor: ...
    def set_state(self, new_state: Tensor) -> Generator: ...
    def clone_state(self) -> Generator: ...
    def get_offset(self) -> int: ...
    def set_offset(self, offset: int) -> Generator: ...
    def stream(self, number: int) -> Generator: ...


default_generator: Generator
strided: layout
sparse_coo: layout
contiguous_format: memory_format
preserve_format: memory_format
channels_last: memory_format
channels_last_3d: memory_format


def tensor(data: Any, *, dtype: dtype | None = None, device: device | str | None = None, requires_grad: _bool = False, pin_memory: _bool = False) -> Tensor: ...
def as_tensor(data: Any, dtype: dtype | None = None, device: device | str | None = None) -> Tensor: ...
def from_numpy(ndarray: ndarray) -> Tensor: ...
def get_default_dtype() -> dtype: ...
def set_default_dtype(d: dtype) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def is_grad_enabled() -> _bool: ...
'''


def imports() -> str:
    """What the package takes from its modules of functions and dtypes, as it says it itself."""
    package = (ROOT / "__init__.py").read_text()
    found = (re.search(rf"^from \.{module} import \(\n.*?^\)\n", package, re.M | re.S) for module in ("_functions", "_dtypes"))
    return "".join(match[0] for match in found)


def parameter(text: str) -> tuple[str, bool]:
    """One parameter of a signature as Python's stub has it, and whether it takes separate integers."""
    head, _, default = text.partition("=")
    kind, _, name = head.partition(" ")
    annotation = TYPES[kind.removesuffix("?")] + (" | None" if kind.endswith("?") else "")
    if (kind == "int[]" and name in VARIADIC and not default) or kind == "Tensor...":
        return f"*{name}: {annotation}", True
    return f"{name}: {annotation}" + (f" = {default}" if default else ""), False


def overloads(row: dict, method: bool, name: str) -> list[str]:
    lines = []
    for signature in row["signatures"]:
        call, _, results = signature.partition(" -> ")
        inner = call.split("(", 1)[1].removesuffix(")")
        parts, variadic = [], False
        for text in inner.split(", "):
            if text == "*":
                if not variadic:
                    parts.append("*")
                continue
            part, takes_all = parameter(text)
            variadic |= takes_all
            parts.append(part)
        if method:
            parts[0] = "self"
        result = RETURNS.get(name, "Tensor")
        if results:
            result = f"_{name}" if RESULT.search(results) else "tuple[" + results.strip("()") + "]"
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


def members() -> str:
    """Methods and properties of Tensor that are not in the table."""
    table = {name for row in _ferrograd._operations() if row["method"] for name in (row["name"], *row["aliases"])}
    text = ""
    for name, value in sorted(vars(ferrograd.Tensor).items()):
        if name in table and name != "to":
            continue
        if inspect.isgetsetdescriptor(value):
            text += f"    {name}: Any\n"
        elif callable(value) and (not name.startswith("_") or name.startswith("__")) and name not in ("__new__", "__doc__"):
            text += f"    def {name}(self, *args: Any, **kwargs: Any) -> Any: ...\n"
    return text


def stubs() -> str:
    rows = _ferrograd._operations()
    names = {n: None for n, value in vars(_ferrograd).items() if isinstance(value, ferrograd.dtype)}
    functions = "".join(block(row, False) for row in rows if row["function"] and row["home"] == "Package") + guests(rows, "package.")
    methods = "".join(block(row, True) for row in rows if row["method"] and row["name"] != "to")
    dtypes = "".join(f"{n}: dtype\n" for n in names)
    classes = "".join(result_class(row) for row in rows if row["function"])
    head = HEAD.replace("# imports\n", imports())
    return f"{head}{dtypes}\n\n{classes}{functions}\n\nclass Tensor:\n    def __init__(self, *data: Any) -> None: ...\n{members()}{methods}"


def nn_stubs() -> str:
    table = _ferrograd._operations()
    rows = [row for row in table if row["home"] == "Nn"]
    functions = "".join(block(row, False) for row in rows) + guests(table, "nn.")
    return NN_HEAD + "".join(result_class(row) for row in rows) + functions


def main() -> int:
    for name, text in (("__init__.pyi", stubs()), ("nn/functional/__init__.pyi", nn_stubs())):
        path = ROOT / name
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif path.read_text() != text:
            print("the stubs are not those of the binary: run `make stubs`", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

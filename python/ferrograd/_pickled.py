"""Pickles with torch's names: written for `save`, and read for `load` with or without trust."""

import importlib
import pickle
from collections import Counter, OrderedDict
from functools import reduce

from . import _ferrograd
from ._dtypes import _CLASSES
from ._ferrograd import Tensor
from ._size import Size
from .storage import _NAMES, TypedStorage, UntypedStorage
from .utils.hooks import warn_if_has_hooks


class _Name:
    """What stands in a pickle as the name of something of torch. To call it is for the reader."""

    def __init__(self, module: str, name: str) -> None:
        self.text = f"{module}\n{name}\n".encode()

    def __call__(self, *_args):
        raise TypeError("a name of torch is written, not called")


class StorageType:
    """What a file says of the elements of a memory: torch's class of it.

    Raises KeyError for a class whose elements there are no tensors of.

    >>> StorageType("FloatStorage").dtype
    torch.float32
    """

    _DTYPES = {name: dtype for dtype, name in _NAMES.items()} | {"UntypedStorage": _ferrograd.uint8}

    def __init__(self, name: str) -> None:
        self.dtype = self._DTYPES[name]
        self._name = name

    def __repr__(self) -> str:
        return f"StorageType(dtype={self.dtype})"


_STORAGES = {name: _Name("torch", name) for name in _NAMES.values()}
_STORAGES["UntypedStorage"] = _Name("torch.storage", "UntypedStorage")
_TENSOR, _SIZE, _DEVICE = _Name("torch", "Tensor"), _Name("torch", "Size"), _Name("torch", "device")
_LAYOUT = _Name("torch.serialization", "_get_layout")
_REBUILD, _REBUILD_TYPE = _Name("torch._utils", "_rebuild_tensor_v2"), _Name("torch._tensor", "_rebuild_from_type_v2")


def _reduced(tensor: Tensor) -> tuple:
    """How torch makes the tensor again."""
    warn_if_has_hooks(tensor)
    parts: tuple = (tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()), tensor.requires_grad, OrderedDict())
    arguments = (_Memory(tensor), *parts)
    if type(tensor) is Tensor and not vars(tensor):
        return _REBUILD, arguments
    cls = _TENSOR if type(tensor) is Tensor else type(tensor)
    return _REBUILD_TYPE, (_REBUILD, cls, arguments, vars(tensor))


class _Memory:
    """The memory of a tensor on its way to a file."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def writer(pickle_module) -> type:
    """The pickler of a module that writes tensors, sizes and element types as torch does, and gathers memory beside it."""
    base = getattr(pickle_module, "_Pickler", pickle_module.Pickler)
    if not issubclass(base, pickle._Pickler):
        raise TypeError(f"save: the Pickler of {pickle_module.__name__} must be one written in Python, a subclass of pickle._Pickler")

    class Writer(base):
        dispatch = dict(base.dispatch)

        def __init__(self, file, protocol: int) -> None:
            super().__init__(file, protocol)
            #: The memory to write, in one dimension each, and the place in it of what begins at an address.
            self.memory: list[Tensor] = []
            self._keys: dict[int, int] = {}

        def persistent_id(self, obj):
            if isinstance(obj, _Memory):
                return self._placed(obj.tensor, _NAMES[obj.tensor.dtype])
            if isinstance(obj, TypedStorage):
                return self._placed(obj._elements, obj.pickle_storage_type())
            if isinstance(obj, UntypedStorage):
                return self._placed(obj._elements, "UntypedStorage")
            return None

        def _placed(self, tensor: Tensor, name: str) -> tuple:
            address = tensor.data_ptr() - tensor.storage_offset() * tensor.itemsize
            key = self._keys.get(address)
            if key is not None and self.memory[key].dtype != tensor.dtype:
                raise RuntimeError("Cannot save multiple tensors or storages that view the same data as different types")
            if key is None or not _reaches(self.memory[key], tensor):
                key = len(self.memory)
                self.memory.append(TypedStorage(tensor)._elements)
                # Tensors without elements have no memory to share.
                if self.memory[key].numel():
                    self._keys[address] = key
            return "storage", _STORAGES[name], str(key), "cpu", self.memory[key].numel()

        def reducer_override(self, obj):
            if isinstance(obj, Tensor):
                return _reduced(obj)
            if isinstance(obj, Size):
                return _SIZE, (tuple(obj),)
            if isinstance(obj, _ferrograd.device):
                return _DEVICE, tuple(part for part in (obj.type, obj.index) if part is not None)
            if isinstance(obj, _ferrograd.layout):
                return _LAYOUT, (repr(obj),)
            before = getattr(super(), "reducer_override", None)
            return NotImplemented if before is None else before(obj)

        def _save_name(self, obj) -> None:
            text = obj.text if isinstance(obj, _Name) else f"torch\n{repr(obj).removeprefix('torch.')}\n".encode()
            self.write(pickle.GLOBAL + text)
            self.memoize(obj)

    for named in (_Name, _ferrograd.dtype, _ferrograd.memory_format):
        Writer.dispatch[named] = Writer._save_name
    return Writer


def _reaches(memory: Tensor, tensor: Tensor) -> bool:
    last = tensor.storage_offset() + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride()))
    return tensor.numel() > 0 and last < memory.numel()


def _rebuild_tensor(storage: TypedStorage, storage_offset: int, size: tuple, stride: tuple) -> Tensor:
    if not isinstance(storage, TypedStorage):
        raise pickle.UnpicklingError(f"a tensor needs a storage, got {type(storage).__name__}")
    memory = storage._elements
    return _ferrograd.empty(0, dtype=memory.dtype).set_(memory, storage_offset, size, stride)


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, _backward_hooks, metadata=None) -> Tensor:
    if metadata:
        if not isinstance(metadata, dict):
            raise pickle.UnpicklingError(f"what is said of a tensor must be a dict, got {type(metadata).__name__}")
        raise pickle.UnpicklingError(f"ferrograd has no tensors that are {' and '.join(map(str, metadata))}")
    return _rebuild_tensor(storage, storage_offset, size, stride).requires_grad_(bool(requires_grad))


def _rebuild_parameter(data: Tensor, requires_grad: bool, _backward_hooks) -> Tensor:
    return data.detach().requires_grad_(bool(requires_grad))


def _rebuild_parameter_with_state(data: Tensor, requires_grad: bool, hooks, state) -> Tensor:
    return _with_state(_rebuild_parameter(data, requires_grad, hooks), state)


def _rebuild_from_type_v2(func, new_type: type, args: tuple, state) -> Tensor:
    if func not in _REBUILDS:
        raise pickle.UnpicklingError("a class of tensors must be made of a tensor that a function of torch._utils rebuilds")
    made = func(*args)
    if type(made) is not new_type:
        made = Tensor._make_subclass(new_type, made, made.requires_grad)
    return _with_state(made, state)


def _with_state(tensor: Tensor, state) -> Tensor:
    if state and not isinstance(state, dict):
        raise pickle.UnpicklingError(f"the attributes of a tensor must be a dict, got {type(state).__name__}")
    vars(tensor).update(state or {})
    return tensor


#: The functions that make tensors of what a file says of them.
_REBUILDS = (_rebuild_tensor, _rebuild_tensor_v2, _rebuild_parameter, _rebuild_parameter_with_state)


def _get_layout(name: str) -> _ferrograd.layout:
    for layout in (_ferrograd.strided, _ferrograd.sparse_coo):
        if name == repr(layout):
            return layout
    raise pickle.UnpicklingError("the file names a layout of tensors that ferrograd does not have")


#: What torch's names stand for in a file.
_TORCH = {
    "torch.Size": Size,
    "torch.Tensor": Tensor,
    "torch.device": _ferrograd.device,
    "torch.nn.parameter.Parameter": Tensor,
    "torch.serialization._get_layout": _get_layout,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type_v2,
}
_TORCH |= {f"torch._utils.{function.__name__}": function for function in _REBUILDS}
_TORCH |= {f"torch.{name}": StorageType(name) for name in _NAMES.values()}
_TORCH |= {f"torch.storage.{name}": StorageType("UntypedStorage") for name in ("UntypedStorage", "_UntypedStorage")}
_TORCH |= {f"torch.{name}": cls for name, cls in _CLASSES.items()}
_TORCH |= {repr(value): value for value in vars(_ferrograd).values() if isinstance(value, _ferrograd.dtype)}


def _encoded(text: str, encoding: str) -> bytes:
    """How bytes are written where a pickle has none."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("bytes must be written as latin1")
    return text.encode(encoding)


def _no_bytes() -> bytes:
    """How no bytes are written where a pickle has none."""
    return b""


#: What may stand in a file that is not trusted, beside torch's names.
_PLAIN = {
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "_codecs.encode": _encoded,
    "builtins.bytearray": bytearray,
    "builtins.bytes": _no_bytes,
    "builtins.set": set,
    "builtins.complex": complex,
}
_SAFE = _PLAIN | _TORCH
_BLOCKED = ("sys", "os", "posix", "nt")


def full_name(module: str, name: str) -> str:
    """A name of a pickle, in which Python's own may have an older one."""
    return f"{'builtins' if module == '__builtin__' else module}.{name}"


def _missing(path: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"the file names {path}, which ferrograd does not have")


def _of_torch(module: str, name: str):
    """What a name of torch stands for here."""
    path = f"{module}.{name}"
    if path in _TORCH:
        return _TORCH[path]
    try:
        home = importlib.import_module("ferrograd" + module.removeprefix("torch"))
        return reduce(getattr, name.split("."), home)
    except (ImportError, AttributeError):
        raise _missing(path) from None


def reader(pickle_module) -> type:
    """The unpickler of a module that takes torch's names for ours. It calls what the file names."""

    class Reader(pickle_module.Unpickler):
        def find_class(self, module: str, name: str):
            return _of_torch(module, name) if module.partition(".")[0] == "torch" else super().find_class(module, name)

    return Reader


class _Operations(dict):
    """What opcodes do; of those that are not here an error."""

    def __missing__(self, code: int):
        raise pickle.UnpicklingError(f"Unsupported operand {code}")


#: Opcodes that only make Python's plain values and move them.
_HARMLESS = """
PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE
BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 SHORT_BINSTRING EMPTY_LIST EMPTY_DICT EMPTY_TUPLE EMPTY_SET TUPLE TUPLE1 TUPLE2
TUPLE3 BINGET LONG_BINGET BINPUT LONG_BINPUT MEMOIZE BINPERSID GLOBAL STACK_GLOBAL
""".split()


def _hashable(key):
    """A key or an element of a set; hashes of tuples recurse, and take as long as all paths through them."""
    left = [key]
    for _ in range(1000):
        if not left:
            return key
        part = left.pop()
        if isinstance(part, (tuple, frozenset)):
            left.extend(part)
    raise pickle.UnpicklingError("a key of a dict must have less than 1000 parts")


class SafeReader(pickle._Unpickler):
    """An unpickler that makes tensors and Python's plain values only, and what `safe` names. Its errors show types, not values:
    the text of a value can be longer than any memory."""

    dispatch = _Operations({getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _HARMLESS})

    def __init__(self, file, safe: dict, **arguments) -> None:
        super().__init__(file, **arguments)
        self._safe = safe
        self._found: dict[int, object] = {}

    def find_class(self, module: str, name: str):
        path = full_name(module, name)
        if module in _BLOCKED:
            raise pickle.UnpicklingError(f"Trying to load unsupported GLOBAL {path} whose module {module} is blocked.")
        if path not in _SAFE and path not in self._safe:
            if module.partition(".")[0] == "torch":
                raise _missing(path)
            shown = path.removeprefix("builtins.")
            raise pickle.UnpicklingError(
                f"Unsupported global: GLOBAL {shown} was not an allowed global by default. Please use "
                f"`torch.serialization.add_safe_globals([{shown}])` or the `torch.serialization.safe_globals([{shown}])` context "
                "manager to allowlist this global if you trust this class/function."
            )
        found = _SAFE[path] if path in _SAFE else self._safe[path]
        self._found[id(found)] = found
        return found

    def load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack[-1]
        if id(function) not in self._found:
            raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function of {type(function)}")
        if function in (set, Counter, OrderedDict):
            for part in arguments:
                for item in () if isinstance(part, dict) else part:
                    _hashable(tuple(item) if isinstance(item, list) else item)
        self.stack[-1] = function(*arguments)

    def load_newobj(self) -> None:
        arguments, cls = self.stack.pop(), self.stack.pop()
        if id(cls) not in self._found:
            raise pickle.UnpicklingError(f"Can only create new object for classes allowlisted via `add_safe_globals` but got {type(cls)}")
        self.append(cls.__new__(cls, *arguments))

    def load_build(self) -> None:
        made = self.stack[-2]
        if type(made) is OrderedDict and type(self.stack[-1]) is dict:
            vars(made).update(self.stack.pop())
        elif any(type(made) is cls for cls in self._safe.values()):
            super().load_build()
        else:
            raise pickle.UnpicklingError(
                f"Can only build OrderedDict of a dict, or types allowlisted via `add_safe_globals`, but got {type(made)}"
            )

    def _into(self, kinds: tuple) -> None:
        """The container under the mark must be one of these."""
        if type(self.metastack[-1][-1]) not in kinds:
            raise pickle.UnpicklingError(f"Can only add to {kinds}, but got {type(self.metastack[-1][-1])}")

    def load_appends(self) -> None:
        self._into((list,))
        super().load_appends()

    def load_append(self) -> None:
        value = self.stack.pop()
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError(f"Can only append to lists, but got {type(self.stack[-1])}")
        self.stack[-1].append(value)

    def load_additems(self) -> None:
        self._into((set,))
        for item in self.stack:
            _hashable(item)
        super().load_additems()

    def load_setitems(self) -> None:
        self._into((dict, OrderedDict, Counter))
        for key in self.stack[::2]:
            _hashable(key)
        super().load_setitems()

    def load_setitem(self) -> None:
        if type(self.stack[-3]) not in (dict, OrderedDict, Counter):
            raise pickle.UnpicklingError(f"Can only set items of dicts, but got {type(self.stack[-3])}")
        _hashable(self.stack[-2])
        super().load_setitem()

    def load_bytearray8(self) -> None:
        # Python's makes the array before it knows whether there are so many bytes.
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    for _code, _method in {
        pickle.BYTEARRAY8: load_bytearray8,
        pickle.REDUCE: load_reduce,
        pickle.NEWOBJ: load_newobj,
        pickle.BUILD: load_build,
        pickle.APPEND: load_append,
        pickle.APPENDS: load_appends,
        pickle.ADDITEMS: load_additems,
        pickle.SETITEM: load_setitem,
        pickle.SETITEMS: load_setitems,
    }.items():
        dispatch[_code[0]] = _method

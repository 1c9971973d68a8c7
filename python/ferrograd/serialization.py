"""Tensors, and what holds them, in files that torch writes and reads: a zip archive of a pickle and of the memory of tensors.

>>> import ferrograd, io
>>> file = io.BytesIO()
>>> w = ferrograd.ones(2, 3)
>>> ferrograd.save({"w": w, "row": w[0], "epoch": 7}, file)
>>> found = ferrograd.load(io.BytesIO(file.getvalue()))
>>> found["row"].zero_()
tensor([0., 0., 0.])
>>> found["w"], found["epoch"]
(tensor([[0., 0., 0.],
        [1., 1., 1.]]), 7)
"""

import hashlib
import io
import os
import pickle
import pickletools
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import _ferrograd
from ._pickled import _SAFE, SafeReader, StorageType, full_name, reader, writer
from .storage import TypedStorage, UntypedStorage

__all__ = [
    "StorageType",
    "add_safe_globals",
    "clear_safe_globals",
    "default_restore_location",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "location_tag",
    "safe_globals",
    "save",
]

DEFAULT_PROTOCOL = 2
#: Where the bytes of each record begin: at a multiple of this.
_ALIGNMENT = 64
#: What files of the format before zip archives begin with, at every protocol of pickles.
_LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2)[2:-1]
#: What reading an archive raises where it is damaged.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, NotImplementedError, OverflowError, RuntimeError, ValueError, OSError
)  # fmt: skip
_UNSAFE = (
    "To load with `weights_only=False` will likely succeed, but it can run any code that is in the file: do it only if you trust "
    "where the file is from."
)
_ON_CPU = "please use load with map_location=device('cpu') to map your storages to the CPU."

_safe: set = set()


def add_safe_globals(safe_globals: list) -> None:
    """Lets `load` make objects of more classes, and call more functions, in files that are not trusted: of each class or
    function, or of pairs with the name that stands for it in the file.

    Raises ValueError for tuples that are no pairs, TypeError for a name that is no string.

    >>> from fractions import Fraction
    >>> add_safe_globals([Fraction])
    >>> get_safe_globals() == [Fraction]
    True
    >>> clear_safe_globals()
    """
    _named(safe_globals)
    _safe.update(safe_globals)


def get_safe_globals() -> list:
    """What was given to `add_safe_globals`.

    >>> get_safe_globals()
    []
    """
    return list(_safe)


def clear_safe_globals() -> None:
    """Takes back all that was given to `add_safe_globals`.

    >>> clear_safe_globals()
    """
    _safe.clear()


@contextmanager
def safe_globals(safe_globals: list) -> Iterator[None]:
    """`add_safe_globals` within a block.

    Raises ValueError for tuples that are no pairs, TypeError for a name that is no string.

    >>> from fractions import Fraction
    >>> with safe_globals([Fraction]):
    ...     get_safe_globals() == [Fraction]
    True
    """
    before = set(_safe)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _safe.intersection_update(before)


def _named(values) -> dict:
    """Classes and functions by the names that they have in files."""
    found = {}
    for value in values:
        name = None
        if isinstance(value, tuple):
            if len(value) != 2:
                raise ValueError(f"Expected tuple of length 2 (global, str of callable full path), but got tuple of length: {len(value)}")
            value, name = value
            if not isinstance(name, str):
                raise TypeError(f"Expected second item in tuple to be str of callable full path, but got: {type(name)}")
        found[name or f"{value.__module__}.{value.__qualname__}"] = value
    return found


def location_tag(storage) -> str:
    """Where a storage is, as files say it. TypeError for what is no storage.

    >>> import ferrograd
    >>> location_tag(ferrograd.ones(1).untyped_storage())
    'cpu'
    """
    if not isinstance(storage, (TypedStorage, UntypedStorage)):
        raise TypeError(f"location_tag(): argument 'storage' must be a storage, not {type(storage).__name__}")
    return storage.device.type


def default_restore_location(storage, location: str):
    """The storage where the file says it was, which can only be the CPU. RuntimeError for other devices.

    >>> import ferrograd
    >>> default_restore_location(ferrograd.ones(2).untyped_storage(), "cpu").nbytes()
    8
    """
    kind = str(location).partition(":")[0]
    if kind == "cpu":
        return storage
    if kind == "cuda":
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but ferrograd computes on the CPU only: " + _ON_CPU
        )
    raise RuntimeError(f"don't know how to restore data location of a storage (tagged with {location}): {_ON_CPU}")


def _restored(storage: UntypedStorage, location: str, map_location):
    """The memory of a file where `map_location` wants it."""
    if callable(map_location):
        found = map_location(storage, location)
        if found is None:
            return default_restore_location(storage, location)
        if not isinstance(found, (TypedStorage, UntypedStorage)):
            raise TypeError(f"load(): map_location must give a storage or None, got {type(found).__name__}")
        return found
    if isinstance(map_location, dict):
        location = map_location.get(location, location)
    elif isinstance(map_location, bytes):
        location = map_location.decode("ascii")
    elif map_location is not None:
        location = map_location
    return default_restore_location(storage, str(location))


def save(
    obj: object, f: Any, pickle_module: Any = pickle, pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True, _disable_byteorder_record: bool = False,
) -> None:
    """Writes an object to a file, given by its path or opened: tensors and what holds them, as torch does. Tensors that
    share memory share it when they are read again, and the memory is written once, all of it: of a view that is to be kept
    alone save a `clone()`. Results are leaves when they are read.

    Raises AttributeError for what is no file; RuntimeError for memory that tensors of two dtypes show; NotImplementedError
    for the format before zip archives; TypeError for a `pickle_module` whose pickler is not written in Python, and as
    AttributeError and PicklingError for what cannot be pickled.

    >>> import io
    >>> file = io.BytesIO()
    >>> save([1, 2], file)
    >>> load(io.BytesIO(file.getvalue()))
    [1, 2]
    """
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("save: the format before zip archives is not written; leave out _use_new_zipfile_serialization=False")
    is_path = isinstance(f, (str, os.PathLike))
    if not is_path and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    # Before the file is opened: what cannot be pickled leaves none.
    data = io.BytesIO()
    pickler = writer(pickle_module)(data, pickle_protocol)
    pickler.dump(obj)
    stem = os.path.splitext(os.path.basename(os.fspath(f)))[0] if is_path else ""
    records = _records(data.getvalue(), pickler.memory, _disable_byteorder_record)
    with zipfile.ZipFile(f, "w") as archive:
        _write(archive, stem if stem.isascii() and stem else "archive", records)
    if not is_path and hasattr(f, "flush"):
        f.flush()


def _records(data: bytes, memory: list, no_byte_order: bool) -> Iterator[tuple[str, Any]]:
    """The records of a file by name, in torch's order."""
    # No ".format_version": by it torch would compute where records begin, as its own writer of archives places them.
    yield "data.pkl", data
    if not no_byte_order:
        yield "byteorder", sys.byteorder.encode()
    for key, elements in enumerate(memory):
        yield f"data/{key}", memoryview(elements.view(_ferrograd.uint8).numpy())
    yield "version", b"3\n"


def _write(archive: zipfile.ZipFile, folder: str, records: Iterator[tuple[str, Any]]) -> None:
    begin = archive.start_dir
    for name, content in records:
        _write_record(archive, begin, f"{folder}/{name}", content)
    # Files of equal contents have equal numbers.
    known = hashlib.sha1(b"".join(struct.pack("<IQ", info.CRC, info.file_size) for info in archive.infolist()))
    _write_record(archive, begin, f"{folder}/.data/serialization_id", f"{int(known.hexdigest(), 16) % 10**40:040}".encode())


def _write_record(archive: zipfile.ZipFile, begin: int, name: str, content: Any) -> None:
    """A record whose bytes begin at a multiple of the alignment after where the archive begins."""
    info = zipfile.ZipInfo(name)
    info.file_size = len(content)
    # Of large records the header has 20 bytes more.
    large = len(content) >= 2**30
    header = archive.start_dir - begin + 34 + len(name) + 20 * large
    padding = -header % _ALIGNMENT
    info.extra = struct.pack("<HH", 0x4246, padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=large) as record:
        record.write(content)


def load(
    f: Any, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool | None = None,
    mmap: bool | None = None, **pickle_load_args: Any,
) -> Any:
    """Reads an object that `save`, or torch, wrote to a file, given by its path or opened. Parameters are tensors that
    require a gradient, as there are no modules here.

    With `weights_only`, the default, a file can make tensors and Python's plain values only; other classes must be allowed by
    `serialization.add_safe_globals`. Without it, as with a `pickle_module`, the file can run any code: it must be trusted.
    Tensors that were on other devices need `map_location="cpu"`, or a dict of devices, or a function of memory and
    location. The memory is read into the process; `mmap`, which wants a path, changes nothing else.

    Raises UnpicklingError for a file that makes more than is allowed, for one that is none of torch's, and for names that are
    not here; RuntimeError for damaged files, for those of the format before torch 1.6, for other devices, and for a
    `pickle_module` with `weights_only`; ValueError for `mmap` without a path; AttributeError for what is no file; EOFError for
    an empty one; FileNotFoundError where there is none; TypeError for another `map_location`.

    >>> import ferrograd, io
    >>> file = io.BytesIO()
    >>> save(ferrograd.tensor([1.0, 2.0]), file)
    >>> load(io.BytesIO(file.getvalue()), map_location="cpu", weights_only=True)
    tensor([1., 2.])
    """
    weights_only = pickle_module is None if weights_only is None else weights_only
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if not (map_location is None or isinstance(map_location, (str, bytes, dict, _ferrograd.device)) or callable(map_location)):
        raise TypeError(f"load(): argument 'map_location' must be a device, a dict or a function, not {type(map_location).__name__}")
    is_path = isinstance(f, (str, os.PathLike))
    if mmap and not is_path:
        raise ValueError("f must be a file path in order to use the mmap argument")
    arguments = {"encoding": "utf-8"} | pickle_load_args
    with _opened(f) as archive:
        data, persistent = archive.record("data.pkl"), _Memory(archive, map_location)
        if not weights_only:
            unpickler = reader(pickle_module or pickle)(io.BytesIO(data), **arguments)
            unpickler.persistent_load = persistent
            return unpickler.load()
        return _load_safely(data, persistent, arguments)


def _load_safely(data: bytes, persistent, arguments: dict):
    unpickler = SafeReader(io.BytesIO(data), _named(_safe), **arguments)
    unpickler.persistent_load = persistent
    try:
        return unpickler.load()
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f"Weights only load failed. {_UNSAFE}\n{error}") from None
    except (RuntimeError, MemoryError):
        raise
    except Exception as error:
        if error is persistent.raised:
            raise
        # A pickle that is no program: operands of other kinds than the opcodes want.
        wrong = f"{type(error).__name__}: {error}"
        raise pickle.UnpicklingError(f"Weights only load failed. The pickle in the file is damaged ({wrong})") from error


class _Archive:
    """The records of a file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._folder = archive.namelist()[0].partition("/")[0] if archive.namelist() else ""
        if self.has("constants.pkl"):
            raise RuntimeError("load: the file holds a TorchScript program, which ferrograd does not run")

    def has(self, name: str) -> bool:
        return f"{self._folder}/{name}" in self._archive.NameToInfo

    def record(self, name: str, size: int | None = None) -> bytes:
        """The bytes of a record, or its first ones. RuntimeError where it has less, or is damaged."""
        if not self.has(name):
            raise RuntimeError(f"load: failed locating file {name} in the archive: file not found")
        info = self._archive.getinfo(f"{self._folder}/{name}")
        if getattr(info, "CRC", None) == 0:
            # torch can leave the checksums out (`set_crc32_options`).
            del info.CRC
        try:
            with self._archive.open(info) as record:
                found = record.read() if size is None else record.read(size)
        except _DAMAGE as error:
            raise RuntimeError(f"load: failed reading file {name} in the archive, which is damaged ({error})") from None
        if size is not None and len(found) != size:
            raise RuntimeError(f"load: file {name} in the archive has {len(found)} bytes, the pickle says {size}")
        return found


@contextmanager
def _opened(f) -> Iterator[_Archive]:
    is_path = isinstance(f, (str, os.PathLike))
    file = open(f, "rb") if is_path else f
    try:
        try:
            at = file.tell()
            file.seek(at)
        except (io.UnsupportedOperation, AttributeError) as error:
            raise type(error)(
                f"{error}. You can only load from a file that is seekable. Please pre-load the data into a buffer like io.BytesIO "
                "and try to load from it instead."
            ) from None
        first = file.read(64)
        file.seek(at)
        _check_start(first)
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGE as error:
            raise RuntimeError(f"load: failed reading zip archive ({error}): the file is damaged or is not all there") from None
        with archive:
            yield _Archive(archive)
    finally:
        if is_path:
            file.close()


def _check_start(first: bytes) -> None:
    """What is no zip archive is an error that says what it is."""
    if not first:
        raise EOFError("Ran out of input")
    if _LEGACY in first:
        raise RuntimeError(
            "load: the file has the format of torch before 1.6 (or of _use_new_zipfile_serialization=False), which ferrograd does "
            "not read; load it in torch and save it anew"
        )
    if not first.startswith(b"PK\x03\x04"):
        raise pickle.UnpicklingError("load: the file is not one that save wrote: it is no zip archive")


class _Memory:
    """The storages of a file by what the pickle says of each; each is made once."""

    def __init__(self, archive: _Archive, map_location) -> None:
        self._archive, self._map_location = archive, map_location
        self._made: dict[str, TypedStorage] = {}
        #: What the function of the caller raised, which is no mistake of the file.
        self.raised: Exception | None = None
        self._order = archive.record("byteorder").decode("latin1") if archive.has("byteorder") else "little"
        if self._order not in ("little", "big"):
            raise ValueError(f"Unknown endianness type: {self._order}")

    def __call__(self, saved) -> TypedStorage:
        if not isinstance(saved, tuple) or len(saved) != 5 or saved[0] not in ("storage", b"storage"):
            raise pickle.UnpicklingError(f"Only persistent_load of storage is allowed, but got {type(saved)}")
        _, kind, key, location, count = saved
        fits = all(map(isinstance, (kind, key, location, count), (StorageType, str, (str, bytes), int)))
        if not fits or not 0 <= count < 2**60:
            raise pickle.UnpicklingError("the pickle says of a storage what cannot be")
        if key not in self._made:
            place = location if isinstance(location, str) else location.decode("latin1")
            self._made[key] = self._read(kind.dtype, key, place, count)
        return self._made[key]

    def _read(self, dtype: _ferrograd.dtype, key: str, location: str, count: int) -> TypedStorage:
        data = self._archive.record(f"data/{key}", count * dtype.itemsize)
        if self._order != sys.byteorder:
            data = _swapped(data, dtype.itemsize)
        made = TypedStorage(_ferrograd._from_bytes(data, (count,), dtype))
        try:
            placed = _restored(made.untyped(), location, self._map_location)
        except Exception as error:
            self.raised = error
            raise
        return TypedStorage(placed.untyped()._elements.view(dtype))


def _swapped(data: bytes, size: int) -> bytes:
    """Elements of so many bytes with their bytes in the other order."""
    import numpy

    return numpy.frombuffer(data, f"u{size}").byteswap().tobytes()


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names in a file that `load` would refuse, which are neither known nor given to `add_safe_globals`.

    Raises what `load` raises of files: RuntimeError, UnpicklingError, AttributeError, EOFError.

    >>> import io
    >>> from fractions import Fraction
    >>> file = io.BytesIO()
    >>> save(Fraction(1, 2), file)
    >>> get_unsafe_globals_in_checkpoint(io.BytesIO(file.getvalue()))
    ['fractions.Fraction']
    """
    with _opened(f) as archive:
        data = archive.record("data.pkl")
    known = {*_SAFE, *_named(_safe)}
    try:
        return sorted(set(_names(data)) - known)
    except (ValueError, IndexError) as error:
        raise pickle.UnpicklingError(f"the pickle in the file is damaged ({error})") from None


def _names(data: bytes) -> Iterator[str]:
    """The names of classes and functions in a pickle."""
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            yield full_name(*argument.split(" ", 1))
        elif opcode.name == "STACK_GLOBAL":
            yield full_name(*texts[-2:])
        elif isinstance(argument, str):
            texts.append(argument)

"""Files of tensors: what ferrograd and torch write, both read; what a file may not do, and what damaged ones raise."""

import base64
import fractions
import io
import warnings
import pathlib
import pickle
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import Counter, OrderedDict

import numpy as np
import pytest

import ferrograd as fg
from ferrograd import serialization

#: A file that torch 2.13 wrote of `x = arange(6.).reshape(2, 3)`, `x.t()[1:]`, a parameter of bfloat16, plain values, a size
#: and an element type.
WRITTEN_BY_TORCH = zlib.decompress(base64.b85decode(
    "c-o~^&u`LD9DlS>uv7NKA8a`1Z>>5Rg~6Ccw-AGeCdyb$h>5`to@-+Ve9MEmot7Bz$H^t?(RlEG(4&c7JbE?WJQz>Li)UY3hHVMMxfdRfw(s-fz4!T+ti*Z|"
    "3ItGB8$u&U){BbTz*8le$dT%OEt3wS+m5!u6pIy2!$qQ2$~FF`Ucx#qT~mvM2Xrn69wG0cWDkHTk_u&u6zW9PYJ5S*OLbK%6$mcZDte(2<AD`~yq`|4(V6lx"
    "2CoI-Gg?I^i`GpZd?sNOxI9b8Vzmx_i6anLkdVYkYzy{CtmJ6{|3oni3=r6xgME3rO4LyCDg+g(qj(jc!YL+la6$4=B-4T+`hyY-TgVXt`*U!>lv{;^J^WW?"
    "U0%Ti>pUE?nA@(?rfo6VF&;9RL>Q&A41qDza1+9krwNBG$#DWlaxn4Oyg2#@j^*IEi7La1J8)8vJlEfQt>ZCo%W&#O3r^#_&)7Cau3|XTmS0rYspeU0ON1s+"
    "!t>^|5?Q0uF0`kqWs>4yvL4Aw{=oRJH|i(KYxHc-V1!Vt6O72cioPO~LIdkH8h}hX;>t(ACK|eLe|~*vEXU}*b;D@puWmad1zA&<%PY7{GU@mZrOlR{HVn+I"
    "!ViW@Fxwg!MspnlOKSvIjId|Ym;Xn1t7$4B8a6yMuY4Qhs0z2OhakG@sLH8mCVgoa1}xT%Ir=qEKeTVq{(9bU6ngf3bCf<9?c-?D=}63^g@1NLl})Yi)88+Q"
    "WP7*O8nm52Cvv;m|2S``e}1)mtN-~=*n@8_wT5+-CU9Lg-hKtOwDbH&6G>5wrV_DuQk+fBL=&;uX)zW{h$%6aOhiR76`f6piMZkN<NTMq0`(!7E<J|Xj!%2("
    "4s|(qzsKEZdjW<V$T0@>Dt0%Cy@<jNl1)2FSLM2S?1eDw;2B|2cLBQL_S6O)@Ruxd)s7o$PoWblcwJc0jkRZJ(1Cq!!}i!a`_WD~*X%=mLYI{|ZgMN4?8Oc;"
    ";2H-QYkcRkMv623ZP5q6b#1+UeVl~}nDec<e*g<-)6D"
))  # fmt: skip

DTYPES = [fg.bool, fg.uint8, fg.int8, fg.int16, fg.int32, fg.int64, fg.float16, fg.bfloat16, fg.float32, fg.float64]


def saved(obj, **options) -> bytes:
    file = io.BytesIO()
    fg.save(obj, file, **options)
    return file.getvalue()


def again(obj, **options):
    return fg.load(io.BytesIO(saved(obj)), **options)


def same(a, b) -> bool:
    """Equal values in containers of the same classes."""
    if isinstance(a, fg.Tensor):
        said = [(t.dtype, t.shape, t.stride(), t.requires_grad, t.is_leaf) for t in (a.detach().requires_grad_(a.requires_grad), b)]
        return said[0] == said[1] and a.equal(b)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


def test_a_file_of_torch_is_read():
    found = fg.load(io.BytesIO(WRITTEN_BY_TORCH))
    x = fg.arange(6.0).reshape(2, 3)
    w = fg.tensor([1, 2], dtype=fg.bfloat16, requires_grad=True)
    expected = OrderedDict(x=x, view=x.t()[1:], w=w, n=[1, -2.5, ("a", None)], shape=x.shape, dtype=fg.int8)
    assert same(expected, found)
    found["view"].zero_()
    assert found["x"].tolist() == [[0, 0, 0], [3, 0, 0]]


PLAIN = [
    None, True, 0, 255, 65536, -1, 2**31, 2**64, -(2**600), 1.5, float("inf"), "", "text", "\u00e9\U0001f600", b"", b"bytes", bytearray(b"ab"), 1j,
    (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1, [2, [3]]], {}, {"a": {"b": (1,)}}, {1: 2, None: 3, (1, 2): 4}, OrderedDict(b=1, a=2), set(),
    {1, 2}, Counter("aab"), fg.Size([2, 3]), fg.float32, fg.bfloat16, fg.bool, fg.device("cpu"), fg.strided, list(range(3000)), -(2**3000),
]  # fmt: skip

#: Those that torch reads too.
OF_PYTHON = [value for value in PLAIN[:-1] if type(value).__module__ in ("builtins", "collections") and value != b""]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_values_come_back(value, protocol):
    # At protocol 0 and 1 there are no tuples as storages have them.
    found = fg.load(io.BytesIO(saved({"a": value, "again": value}, pickle_protocol=protocol)))
    assert same({"a": value, "again": value}, found)


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)], ids=str)
def test_every_dtype_comes_back(dtype, shape):
    x = (fg.rand(shape) * 3).to(dtype)
    assert same(x, again(x))


@pytest.mark.parametrize(
    "view",
    ["x.t()", "x[1:]", "x[:, 1]", "x[::2, 1::2]", "x[0, 0].expand(3, 2)", "x.unfold(1, 2, 1)", "x[3:3]", "fg.zeros(3, 0)[1:]", "x.permute(1, 0)[2:].detach()", "x.exp()[1]"],
)
def test_views_come_back_with_their_strides(view):
    x = fg.arange(12.0).reshape(3, 4)
    y = eval(view)
    found = again([x, y])
    assert same([x, y], found) and found[1].storage_offset() == y.storage_offset()
    assert y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() or not view.startswith("x") or "exp" in view


def test_memory_is_shared_as_it_was_and_written_once():
    x = fg.zeros(100_000)
    data = saved([x[10:20], x[15:], x, fg.zeros(5)])
    assert 400_000 < len(data) < 402_000
    a, b, whole, other = fg.load(io.BytesIO(data))
    whole[15] = 1
    assert a[5] == 1 and b[0] == 1 and other.sum() == 0
    assert whole._base is None and a._base is None


def test_two_lengths_of_memory_from_one_address():
    array = np.arange(6.0)
    for both in ([fg.from_numpy(array[:2]), fg.from_numpy(array)], [fg.from_numpy(array), fg.from_numpy(array[:2])]):
        assert same(both, again(both))


def test_one_memory_in_two_dtypes_is_an_error():
    x = fg.zeros(2)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        fg.save([x, x.view(fg.int32)], io.BytesIO())
    # Without elements there is no memory.
    assert same([fg.zeros(0), fg.zeros(0).long()], again([fg.zeros(0), fg.zeros(0).long()]))


def test_what_waits_is_computed():
    x = fg.ones(200_000).exp() + 1
    assert same(x, again(x))


def test_gradients_are_required_again_and_history_is_not_kept():
    x = fg.ones(2, requires_grad=True)
    found = again([x, x * 2, x.detach()])
    assert [t.requires_grad for t in found] == [True, True, False] and all(t.is_leaf for t in found)
    (found[0] * 3).sum().backward()
    assert found[0].grad.tolist() == [3, 3]


def test_hooks_are_not_saved_and_said_so():
    x = fg.ones(2, requires_grad=True)
    x.register_hook(lambda g: g)
    with pytest.warns(UserWarning, match="backward hook .* on tensor will not be serialized"):
        data = saved(x)
    assert fg.load(io.BytesIO(data))._backward_hooks is None
    with pytest.warns(UserWarning, match="backward hook .* on tensor will not be serialized"):
        data = pickle.dumps(x)
    assert pickle.loads(data)._backward_hooks is None
    y = fg.ones(2, requires_grad=True)
    y.register_hook(fg.utils.hooks.unserializable_hook(lambda g: g))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(pickle.dumps(y)).tolist() == [1, 1]


def test_attributes_of_tensors_come_back():
    x = fg.ones(2, requires_grad=True)
    x.label = ("a", 1)
    found = again(x)
    assert found.label == ("a", 1) and found.requires_grad


class Labelled(fg.Tensor):
    pass


def test_classes_of_tensors_come_back():
    x = Labelled([1.0, 2.0])
    x.label = 3
    with pytest.raises(pickle.UnpicklingError, match="add_safe_globals"):
        again(x)
    for found in (again(x, weights_only=False), safely(saved(x), Labelled)):
        assert type(found) is Labelled and found.label == 3 and found.tolist() == [1, 2]


def safely(data: bytes, *classes):
    with serialization.safe_globals(list(classes)):
        return fg.load(io.BytesIO(data))


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


def test_classes_must_be_allowed():
    data = saved(Point(1, fg.ones(2)))
    with pytest.raises(pickle.UnpicklingError) as raised:
        fg.load(io.BytesIO(data))
    for part in ("weights_only=False", "add_safe_globals", "safe_globals", f"{__name__}.Point", "Weights only load failed"):
        assert part in str(raised.value)
    assert serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)) == [f"{__name__}.Point"]
    assert fg.load(io.BytesIO(data), weights_only=False).y.tolist() == [1, 1]
    assert fg.load(io.BytesIO(data), pickle_module=pickle).x == 1
    assert safely(data, Point).x == 1 and serialization.get_safe_globals() == []
    assert safely(saved(fractions.Fraction(1, 2)), fractions.Fraction) == fractions.Fraction(1, 2)
    assert safely(saved(Point(1, 2)), (Point, f"{__name__}.Point")).y == 2


def test_names_for_classes_must_be_pairs():
    with pytest.raises(ValueError, match="tuple of length 2"):
        serialization.add_safe_globals([(Point,)])
    with pytest.raises(TypeError, match="must|Expected second item"):
        serialization.add_safe_globals([(Point, 3)])
    assert serialization.get_safe_globals() == []


def archived(data: bytes, **records: bytes) -> io.BytesIO:
    """A file with this pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {"data.pkl": data, "version": b"3\n", **records}.items():
            archive.writestr(f"archive/{name}", content)
    file.seek(0)
    return file


#: Tuples within tuples: whose hashes recurse, and whose text is longer than any memory.
DEEP = b"K\x01" + b"\x85" * 100_000
WIDE = b"K\x01" + b"q\x00h\x00\x86" * 60


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Runs(eval, ("1/0",)), 2),
        pickle.dumps(Runs(__import__, ("os",)), 4),
        pickle.dumps(Runs(getattr, (1, "real")), 2),
        pickle.dumps(Runs(print, ("called",)), 5),
        b"cos\nsystem\n(S'true'\ntR.",
        b"(i__builtin__\neval\n.",
        b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x80\x02ctorch.hub\nload\n)R.",
        b"\x80\x02ctorch.nn.functional\nrelu\n)R.",
        b"\x80\x02ccollections\nOrderedDict\n}X\x04\x00\x00\x00keyscbuiltins\nset\nsb.",
        b"\x80\x02ctorch\nSize\n}b.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}\x86b.",
        b"\x80\x02K\x01K\x02\x86R.",
        b"\x80\x02]K\x01K\x02s.",
        b"\x80\x02ctorch\nfloat32\n)R.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
        b"\x80\x02" + DEEP + b"q\x00}h\x00Ns.",
        b"\x80\x02" + DEEP + b"q\x00cbuiltins\nset\n]h\x00a\x85R.",
        b"\x80\x02" + WIDE + b"q\x00}h\x00Ns.",
        # What would take the hash or the text of a value by other ways.
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cbuiltins\nset\nN]" + DEEP + b"a\x85NtR.",
        b"\x80\x02ccollections\nOrderedDict\n)R]" + DEEP + b"K\x01\x86ab.",
        b"\x80\x02ctorch.serialization\n_get_layout\n" + DEEP + b"\x85R.",
        b"\x80\x02" + WIDE + b"Q.",
        b"\x80\x02" + WIDE + b")R.",
        b"\x80\x02" + WIDE + b")\x81.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00a" + WIDE + b"\x86R.",
        b"\x80\x02(X\x07\x00\x00\x00storage" + WIDE + b"q\x02h\x02h\x02h\x02tQ.",
        b"\x80\x02U\x07storageq\x00\x85Q.",
        b"\x80\x02X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\xff\xff\xff\xfft0Q.",
        b"\x80\x02",
        b"",
        b"\x80\x02X\xff\xff\xff\xffab.",
        b"\x80\x02cbuiltins\nbytearray\nX\x01\x00\x00\x00a\x85R.",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_a_file_may_not_do(data, capsys):
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        fg.load(archived(data))
    assert capsys.readouterr().out == ""


def test_names_of_torch_that_are_not_here():
    for data, name in ((b"\x80\x02ctorch.nn.modules.linear\nLinear\n.", "torch.nn.modules.linear.Linear"), (b"\x80\x02ctorch\nuint16\n.", "torch.uint16")):
        for weights_only in (True, False):
            with pytest.raises(pickle.UnpicklingError, match=f"names {name}, which ferrograd does not have"):
                fg.load(archived(data), weights_only=weights_only)


def tensor_of(storage: bytes = b"ctorch\nFloatStorage\n", key: bytes = b"0", count: bytes = b"K\x02", rest: bytes = b"K\x00K\x02\x85K\x01\x85\x89}") -> bytes:
    text = lambda t: b"X" + struct.pack("<I", len(t)) + t  # noqa: E731
    identity = b"(" + text(b"storage") + storage + text(key) + text(b"cpu") + count + b"tQ"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + identity + rest + b"tR."


def test_damaged_files():
    memory = {"data/0": struct.pack("<2f", 1, 2)}
    assert fg.load(archived(tensor_of(), **memory)).tolist() == [1, 2]
    for data, kind, said in [
        (tensor_of(count=b"K\x03"), RuntimeError, "has 8 bytes, the pickle says 12"),
        (tensor_of(key=b"7"), RuntimeError, "data/7.*not found"),
        (tensor_of(count=b"\x8a\x09" + b"\xff" * 8 + b"\x00"), pickle.UnpicklingError, "what cannot be"),
        (tensor_of(storage=b"ctorch\nComplexFloatStorage\n"), pickle.UnpicklingError, "does not have"),
        (tensor_of(rest=b"K\x00K\x03\x85K\x01\x85\x89}"), RuntimeError, "beyond"),
        (tensor_of(rest=b"K\x00J\xfe\xff\xff\xff\x85K\x01\x85\x89}"), RuntimeError, "non-negative"),
        (tensor_of(rest=b"J\xfe\xff\xff\xffK\x01\x85K\x01\x85\x89}"), RuntimeError, "offset"),
        (tensor_of(rest=b"NNN\x89}"), (RuntimeError, pickle.UnpicklingError), ""),
        (tensor_of(rest=b"K\x00K\x02\x85K\x01\x85\x89}X\x04\x00\x00\x00conj\x88}q\x01h\x01"), (RuntimeError, pickle.UnpicklingError), ""),
    ]:
        with pytest.raises(kind, match=said):
            fg.load(archived(data, **memory))
    with pytest.raises(RuntimeError, match="data.pkl.*not found"):
        fg.load(without_pickle())
    with pytest.raises(ValueError, match="endianness"):
        fg.load(archived(tensor_of(), byteorder=b"middle", **memory))
    with pytest.raises(RuntimeError, match="TorchScript"):
        fg.load(archived(tensor_of(), **{"constants.pkl": b""}))
    with pytest.raises(RuntimeError, match="zip archive"):
        fg.load(io.BytesIO(WRITTEN_BY_TORCH[:500]))
    broken = bytearray(WRITTEN_BY_TORCH)
    broken[WRITTEN_BY_TORCH.index(struct.pack("<2f", 1, 2))] ^= 1
    with pytest.raises(RuntimeError, match="data/0 in the archive, which is damaged"):
        fg.load(io.BytesIO(bytes(broken)))
    with pytest.raises(EOFError):
        fg.load(io.BytesIO())
    with pytest.raises(pickle.UnpicklingError, match="no zip archive"):
        fg.load(io.BytesIO(b"something else"))
    for protocol in (2, 4, 5):
        with pytest.raises(RuntimeError, match="before 1.6"):
            fg.load(io.BytesIO(pickle.dumps(0x1950A86A20F9469CFC6C, protocol) + pickle.dumps(1001, protocol)))


def without_pickle() -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/version", b"3\n")
    file.seek(0)
    return file


def test_files_that_chance_damaged_raise_and_no_more():
    source = random.Random(0)
    x = fg.arange(6.0).reshape(2, 3)
    data = saved({"x": x, "view": x.t()[1:], "n": [1, ("a", {3})], "s": x.shape, "o": OrderedDict(a=fg.ones(1, dtype=fg.int8))})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {info.filename.removeprefix("archive/"): archive.read(info) for info in archive.infolist()}
    inner = records.pop("data.pkl")
    for turn in range(3000):
        whole = turn % 3 == 0
        changed = bytearray(data if whole else inner)
        for _ in range(source.randint(1, 3)):
            changed[source.randrange(len(changed))] = source.randrange(256)
        if turn % 7 == 0:
            del changed[source.randrange(len(changed)) :]
        try:
            fg.load(io.BytesIO(bytes(changed)) if whole else archived(bytes(changed), **records))
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError):
            pass


@pytest.mark.parametrize("where", ["cpu", b"cpu", fg.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage, lambda storage, location: None])
def test_map_location(where):
    data = saved(fg.ones(2))
    from_cuda = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(from_cuda, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info).replace(b"\x03\x00\x00\x00cpu", b"\x06\x00\x00\x00cuda:0"))
    cuda = lambda where: fg.load(io.BytesIO(from_cuda.getvalue()), where)  # noqa: E731
    assert fg.load(io.BytesIO(data), where).tolist() == [1, 1]
    if callable(where) and where(0, 0) is None:
        with pytest.raises(RuntimeError, match="CUDA device"):
            cuda(where)
    else:
        assert cuda(where).tolist() == [1, 1]
    for wrong in (None, "cuda", {"cpu": "cpu"}, fg.device("cuda", 1)):
        with pytest.raises(RuntimeError, match="CUDA device.*map_location"):
            cuda(wrong)


def test_map_location_may_give_other_memory():
    other = fg.tensor([5.0, 6.0])
    found = fg.load(io.BytesIO(saved(fg.ones(2))), lambda storage, location: other.untyped_storage())
    assert found.tolist() == [5, 6]
    found.zero_()
    assert other.tolist() == [0, 0]
    for wrong, kind in ((3, TypeError), ("meta", RuntimeError), (lambda *_: 3, TypeError), (lambda s, _: s.cuda(), AssertionError)):
        with pytest.raises(kind):
            fg.load(io.BytesIO(saved(fg.ones(2))), wrong)


def test_paths_and_files(tmp_path):
    path = tmp_path / "model.pt"
    for f in (path, str(path)):
        fg.save({"x": fg.ones(2)}, f)
        assert fg.load(f, mmap=True)["x"].tolist() == [1, 1] and fg.load(pathlib.Path(f))["x"].tolist() == [1, 1]
    with zipfile.ZipFile(path) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"model"}
    with open(path, "rb") as file:
        assert fg.load(file)["x"].tolist() == [1, 1] and not file.closed
    with pytest.raises(FileNotFoundError):
        fg.load(tmp_path / "none.pt")
    with pytest.raises(pickle.PicklingError if sys.version_info >= (3, 12) else (pickle.PicklingError, AttributeError)):
        fg.save(lambda: 0, tmp_path / "other.pt")
    assert not (tmp_path / "other.pt").exists()


def test_files_that_cannot_seek():
    class Pipe:
        def __init__(self):
            self.data = b""

        def write(self, data):
            self.data += bytes(data)
            return len(data)

        def flush(self):
            pass

    pipe = Pipe()
    fg.save(fg.arange(40.0), pipe)
    assert fg.load(io.BytesIO(pipe.data)).sum() == 780
    with pytest.raises(AttributeError, match="seekable"):
        fg.load(pipe)
    with pytest.raises(AttributeError, match="write"):
        fg.save(1, 3)


def test_wrong_arguments():
    data = saved(1)
    with pytest.raises(RuntimeError, match="pickle_module"):
        fg.load(io.BytesIO(data), pickle_module=pickle, weights_only=True)
    with pytest.raises(ValueError, match="mmap"):
        fg.load(io.BytesIO(data), mmap=True)
    with pytest.raises(NotImplementedError):
        fg.save(1, io.BytesIO(), _use_new_zipfile_serialization=False)

    class Module:
        __name__ = "fast"
        Pickler = pickle.Pickler

    with pytest.raises(TypeError, match="written in Python"):
        fg.save(1, io.BytesIO(), pickle_module=Module)


def test_records_lie_at_multiples_of_64_and_are_not_compressed():
    data = saved([fg.ones(1), fg.ones(70), fg.zeros(0), fg.ones(3, dtype=fg.int8)])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert names == [f"archive/{n}" for n in ("data.pkl", "byteorder", "data/0", "data/1", "data/2", "data/3", "version", ".data/serialization_id")]
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            at = info.header_offset
            begin = at + 30 + sum(struct.unpack("<HH", data[at + 26 : at + 30]))
            assert begin % 64 == 0 and data[begin : begin + info.file_size] == archive.read(info)
        assert archive.read("archive/byteorder") == sys.byteorder.encode() and archive.read("archive/version") == b"3\n"
    assert b"byteorder" not in saved(1, _disable_byteorder_record=True)
    assert saved([fg.ones(3)]) == saved([fg.ones(3)])


def test_checksums_may_be_left_out():
    x = fg.arange(4.0)
    data = bytearray(saved(x))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        sums = {struct.pack("<I", info.CRC) for info in archive.infolist()}
    for one in sums:
        data = data.replace(one, b"\0\0\0\0")
    for _ in range(2):
        assert fg.load(io.BytesIO(bytes(data))).equal(x)


def test_the_other_order_of_bytes():
    for dtype in DTYPES:
        x = fg.tensor([1, 0, 1]).to(dtype) * fg.tensor(3).to(dtype)
        with zipfile.ZipFile(io.BytesIO(saved(x))) as archive:
            records = {n.removeprefix("archive/"): archive.read(n) for n in archive.namelist()}
        swapped = np.frombuffer(records.pop("data/0"), f"u{x.itemsize}").byteswap().tobytes()
        other = {"little": b"big", "big": b"little"}[sys.byteorder]
        found = fg.load(archived(records.pop("data.pkl"), **{"data/0": swapped, "byteorder": other}))
        assert found.equal(x)


def test_storages():
    x = fg.arange(4.0)
    s, u = x[1:].storage(), x[1:].untyped_storage()
    assert (len(s), s.size(), s.nbytes(), s.element_size(), s.dtype) == (4, 4, 16, 4, fg.float32)
    assert (len(u), u.size(), u.nbytes(), u.element_size()) == (16, 16, 16, 1)
    assert s.data_ptr() == u.data_ptr() == x.data_ptr()
    s[0] = 9
    u[4:8].fill_(0)
    assert x.tolist() == [9, 0, 2, 3] and s[3] == 3 and list(s) == s.tolist() == x.tolist()
    assert s.clone().data_ptr() != s.data_ptr() and u[:4].tolist() == list(struct.pack("=f", 9))
    assert again(s).tolist() == x.tolist() and again(u).tolist() == u.tolist()
    assert repr(s).endswith("[torch.storage.TypedStorage(dtype=torch.float32, device=cpu) of size 4]") and repr(s).startswith(" 9.0\n")
    assert pickle.loads(pickle.dumps(s)).tolist() == x.tolist()
    for wrong, kind in ((lambda: s[9], IndexError), (lambda: s[1:2], RuntimeError), (lambda: s.copy_(u), RuntimeError), (lambda: u.copy_(3), TypeError), (lambda: u.cuda(), AssertionError)):
        with pytest.raises(kind):
            wrong()


SIZES = {
    "fg.arange(10)[3:5]": 10, "fg.ones(1).expand(100)": 1, "fg.zeros(0)": 0, "fg.arange(10)[4:4]": 10, "fg.tensor(2.)": 1, "fg.zeros(3, 0)[1:]": 0,
    "fg.arange(12).reshape(3, 4).t()[1:]": 12, "fg.from_numpy(np.arange(20)[::3])": 19, "fg.ones(5, requires_grad=True)[:1]": 5,
}  # fmt: skip


@pytest.mark.parametrize("text", SIZES)
def test_storages_are_the_whole_memory(text):
    x = eval(text)
    s = x.storage()
    assert s.size() == SIZES[text] and s.data_ptr() == x.data_ptr() - x.storage_offset() * x.itemsize


def test_the_import_of_the_package_stays_short():
    code = "import sys, ferrograd; print(sorted({'zipfile', 'pickle', 'ferrograd.serialization', 'ferrograd.storage'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


# Beside torch, where it is installed.


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def from_torch(torch, obj, **options):
    file = io.BytesIO()
    torch.save(obj, file)
    return fg.load(io.BytesIO(file.getvalue()), **options)


def test_torch_reads_what_is_written(torch, tmp_path):
    x = fg.arange(6.0).reshape(2, 3)
    obj = {"x": x, "v": x.t()[1:], "e": x[0, 0].expand(4), "r": fg.ones(2, requires_grad=True), "z": fg.zeros(0), "plain": OF_PYTHON, "d": fg.bfloat16}
    obj |= {str(dtype): fg.tensor([0, 1, 1]).to(dtype) for dtype in DTYPES} | {"size": x.shape, "dev": fg.device("cpu"), "layout": fg.strided}
    fg.save(obj, tmp_path / "a.pt")
    for options in ({}, {"mmap": True}, {"weights_only": False}):
        found = torch.load(tmp_path / "a.pt", **options)
        for name, value in obj.items():
            if isinstance(value, fg.Tensor):
                said = [(str(t.dtype), tuple(t.shape), t.stride(), t.storage_offset(), t.requires_grad, t.tolist()) for t in (value, found[name])]
                assert said[0] == said[1], name
        assert same(OF_PYTHON, found["plain"]) and found["d"] is torch.bfloat16
        assert found["size"] == torch.Size([2, 3]) and found["dev"] == torch.device("cpu") and found["layout"] is torch.strided
        found["v"].zero_()
        assert found["x"].tolist() == [[0, 0, 0], [3, 0, 0]]


def test_what_torch_writes_is_read(torch):
    x = torch.arange(6.0).reshape(2, 3)
    views = {"x": x, "v": x.t()[1:], "e": x[0, 0].expand(4), "z": torch.zeros(0), "p": torch.nn.Parameter(torch.ones(2)), "f": torch.nn.Parameter(x[0], False)}
    views |= {str(dtype): torch.tensor([0, 1, 1]).to(getattr(torch, str(dtype).removeprefix("torch."))) for dtype in DTYPES}
    found = from_torch(torch, views)
    for name, value in views.items():
        said = [(str(t.dtype), tuple(t.shape), t.stride(), t.storage_offset(), t.requires_grad, t.tolist()) for t in (value, found[name])]
        assert said[0] == said[1], name
    assert same(OF_PYTHON, from_torch(torch, OF_PYTHON))
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(4, 2)).sum().backward()
    optimizer.step()
    state, steps = from_torch(torch, [model.state_dict(), optimizer.state_dict()])
    assert {k: v.tolist() for k, v in state.items()} == {k: v.tolist() for k, v in model.state_dict().items()}
    assert type(state) is OrderedDict and state._metadata == model.state_dict()._metadata
    assert steps["param_groups"] == optimizer.state_dict()["param_groups"] and steps["state"][0]["exp_avg"].shape == (3, 2)
    labelled = torch.ones(2)
    labelled.label = 3
    assert from_torch(torch, labelled).label == 3
    assert from_torch(torch, x.storage()).tolist() == x.flatten().tolist()


def test_what_is_not_here_is_said(torch):
    for value in (torch.ones(1, dtype=torch.complex64), torch.ones(1, dtype=torch.uint16), torch.eye(2).to_sparse(), torch.nn.Linear(1, 1)):
        for weights_only in (True, False):
            with pytest.raises(pickle.UnpicklingError):
                from_torch(torch, value, weights_only=weights_only)
    file = io.BytesIO()
    torch.save(torch.ones(1), file, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="before 1.6"):
        fg.load(io.BytesIO(file.getvalue()))

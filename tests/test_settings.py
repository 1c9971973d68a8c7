"""Settings, names of types and kin that programs for torch ask for."""

import pytest

import ferrograd as fg
from ferrograd.autograd import functional, profiler
from ferrograd.testing._comparison import get_tolerances


@pytest.fixture(autouse=True)
def as_before():
    yield
    fg.set_deterministic_debug_mode(0)
    fg.set_default_device(None)


def test_the_default_device():
    assert fg.get_default_device() == fg.device("cpu")
    for device in ("cpu", fg.device("cpu"), None):
        fg.set_default_device(device)
        assert fg.get_default_device() == fg.device("cpu")
    for device, kind in (("cuda", AssertionError), ("mps", RuntimeError), ("nothing", RuntimeError), (3, RuntimeError), (1.5, TypeError)):
        with pytest.raises(kind, match="set_default_device"):
            fg.set_default_device(device)
    assert fg.ones(1).device == fg.device("cpu")


def test_determinism_is_a_setting_that_is_kept():
    assert not fg.are_deterministic_algorithms_enabled() and fg.get_deterministic_debug_mode() == 0
    fg.use_deterministic_algorithms(True)
    assert fg.are_deterministic_algorithms_enabled() and not fg.is_deterministic_algorithms_warn_only_enabled()
    assert fg.get_deterministic_debug_mode() == 2
    fg.use_deterministic_algorithms(True, warn_only=True)
    assert fg.is_deterministic_algorithms_warn_only_enabled() and fg.get_deterministic_debug_mode() == 1
    fg.use_deterministic_algorithms(False, warn_only=True)
    assert not fg.is_deterministic_algorithms_warn_only_enabled() and fg.get_deterministic_debug_mode() == 0
    for mode, number in (("default", 0), ("warn", 1), ("error", 2), (1, 1), (2, 2), (True, 1)):
        fg.set_deterministic_debug_mode(mode)
        assert fg.get_deterministic_debug_mode() == number and type(fg.get_deterministic_debug_mode()) is int
    for wrong, kind in ((lambda: fg.use_deterministic_algorithms(1), TypeError), (lambda: fg.use_deterministic_algorithms(True, warn_only=2), TypeError)):
        with pytest.raises(kind):
            wrong()
    for mode, kind in (("a", RuntimeError), (4, RuntimeError), (1.5, TypeError)):
        with pytest.raises(kind, match="debug_mode"):
            fg.set_deterministic_debug_mode(mode)


def test_nothing_is_cast_by_itself():
    assert not fg.is_autocast_enabled() and not fg.is_autocast_enabled("cuda") and not fg.is_autocast_cpu_enabled()
    with pytest.raises(RuntimeError, match="device"):
        fg.is_autocast_enabled("nothing")
    with pytest.raises(TypeError):
        fg.is_autocast_enabled(3)


NAMES = ["3", "[]", "'s'", "int", "x.ones(1)", "x.ones(1, dtype=x.int8)", "OSError", "None", "len", "test_the_default_device"]


def test_typename():
    found = [fg.typename(eval(text, globals() | {"x": fg})) for text in NAMES]
    assert found == ["int", "list", "str", "int", "torch.FloatTensor", "torch.CharTensor", "OSError", "NoneType", "len", f"{__name__}.test_the_default_device"]
    torch = pytest.importorskip("torch")
    assert found == [torch.typename(eval(text, globals() | {"x": torch})) for text in NAMES]


def test_assertions():
    fg._assert(True, "m")
    fg._assert(fg.tensor(1), "m")
    with pytest.raises(AssertionError, match="^m$"):
        fg._assert(fg.tensor(False), "m")
    assert fg._assert_async(fg.tensor(0.5)) is None
    for tensor, said in ((fg.tensor(0), "single nonzero value"), (fg.ones(2), "ambiguous")):
        with pytest.raises(RuntimeError, match=said):
            fg._assert_async(tensor)
    with pytest.raises(RuntimeError, match="mine"):
        fg._assert_async(fg.tensor(0), "mine")
    with pytest.raises(TypeError):
        fg._assert_async(3)


def test_names_of_types():
    assert isinstance(1, fg.types.Number) and isinstance("cpu", fg.types.Device) and isinstance(fg.device("cpu"), fg.types.Device)
    assert fg.types.Tensor is fg.Tensor and not isinstance(fg.ones(1), fg.types.Number)
    assert issubclass(fg.linalg.LinAlgError, RuntimeError)


def test_members_of_dense_real_tensors():
    x = fg.tensor([1.5, 2.0], requires_grad=True)
    assert x.real is x and x.to_dense() is x and x.is_meta is False and x.name is None
    assert x.to_dense(fg.float64).dtype == fg.float64 and x.to_dense(masked_grad=True) is x
    y = fg.zeros(2)
    y.real = fg.tensor([1.0, 2.0])
    assert y.tolist() == [1, 2]
    y.real = 3
    assert y.tolist() == [3, 3]
    with pytest.raises(RuntimeError, match="imag is not implemented for tensors with non-complex dtypes"):
        x.imag
    with pytest.raises(TypeError, match="dtype"):
        x.to_dense(3)
    with pytest.raises(AttributeError):
        x.name = "a"


class Weight(fg.Tensor):
    pass


def test_tensors_of_other_classes():
    x = fg.ones(2, requires_grad=True)
    w = fg.Tensor._make_subclass(Weight, x, True)
    assert type(w) is Weight and w.is_leaf and w.requires_grad and w.data_ptr() == x.data_ptr() and w._base is None
    (w * 3).sum().backward()
    assert w.grad.tolist() == [3, 3] and x.grad is None
    assert not fg.Tensor._make_subclass(Weight, x).requires_grad
    for arguments, kind in (((int, x), TypeError), ((3, x), TypeError), ((Weight, 3), TypeError), ((Weight, x.long(), True), RuntimeError)):
        with pytest.raises(kind):
            fg.Tensor._make_subclass(*arguments)


def test_dlpack_by_its_older_name():
    assert fg.to_dlpack is fg.utils.dlpack.to_dlpack
    assert fg.from_dlpack(fg.to_dlpack(fg.ones(2))).tolist() == [1, 1]


def test_tolerances():
    assert get_tolerances(fg.ones(1), fg.float16, rtol=None, atol=None) == (1e-3, 1e-5)
    assert get_tolerances(fg.float64, fg.int64, rtol=None, atol=None) == (1e-7, 1e-7)
    assert get_tolerances(fg.float64, rtol=0.5, atol=0.25) == (0.5, 0.25)
    for wrong in ({"rtol": 1, "atol": None}, {"rtol": None, "atol": 1}):
        with pytest.raises(ValueError, match="Both 'rtol' and 'atol'"):
            get_tolerances(fg.float64, **wrong)


def test_profiles_for_nvidia():
    with profiler.emit_nvtx(enabled=False) as p:
        assert p is None
    with pytest.raises(AssertionError, match="CPU only"), profiler.emit_nvtx():
        pass


def test_older_names_of_functions():
    assert fg._vmap_internals._vmap(lambda x: x.sum())(fg.ones(2, 3)).tolist() == [3, 3]
    assert functional._as_tuple([1, 2]) == (1, 2) and functional._as_tuple(3) == (3,)
    x = fg.ones(1)
    assert functional._as_tuple(x, "inputs", "f") == (False, (x,)) and functional._as_tuple((x,), "inputs", "f") == (True, (x,))
    with pytest.raises(TypeError, match="The inputs given to f must be either a Tensor or a tuple of Tensors"):
        functional._as_tuple([x], "inputs", "f")

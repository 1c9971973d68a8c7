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
    with fg.autocast("cpu", enabled=False):
        assert fg.mm(fg.ones(1, 1), fg.ones(1, 1)).dtype == fg.float32
    assert fg.autocast is fg.amp.autocast and fg.autocast("cpu", fg.bfloat16, enabled=False)(lambda: 3)() == 3
    with pytest.raises(NotImplementedError, match="autocast.*enabled=False"):
        fg.autocast("cpu")
    for wrong, kind in ((3, ValueError), ("nothing", RuntimeError)):
        with pytest.raises(kind):
            fg.autocast(wrong, enabled=False)


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


def test_how_exact_products_must_be():
    assert fg.get_float32_matmul_precision() == "highest"
    fg.set_float32_matmul_precision("medium")
    with pytest.warns(UserWarning, match="x is not one of 'highest', 'high', or 'medium'"):
        fg.set_float32_matmul_precision("x")
    assert fg.get_float32_matmul_precision() == "medium"
    fg.set_float32_matmul_precision("highest")
    with pytest.raises(RuntimeError, match="expects a str, but got int"):
        fg.set_float32_matmul_precision(1)


def test_anomaly_mode_by_its_older_name():
    fg.set_anomaly_enabled(True, False)
    assert fg.is_anomaly_enabled() and not fg.is_anomaly_check_nan_enabled()
    fg.set_anomaly_enabled(False)
    assert not fg.is_anomaly_enabled()
    for arguments, name in (((1,), "mode"), ((True, 2), "check_nan")):
        with pytest.raises(TypeError, match=f"argument '{name}' must be bool, not int"):
            fg.set_anomaly_enabled(*arguments)


def test_what_is_the_memory_of_tensors():
    x = fg.ones(1)
    assert fg.is_storage(x.untyped_storage()) and fg.is_storage(fg.TypedStorage(x)) and not fg.is_storage(x) and not fg.is_storage([1])


def test_older_names_of_functions():
    assert fg._vmap_internals._vmap(lambda x: x.sum())(fg.ones(2, 3)).tolist() == [3, 3]
    assert functional._as_tuple([1, 2]) == (1, 2) and functional._as_tuple(3) == (3,)
    x = fg.ones(1)
    assert functional._as_tuple(x, "inputs", "f") == (False, (x,)) and functional._as_tuple((x,), "inputs", "f") == (True, (x,))
    with pytest.raises(TypeError, match="The inputs given to f must be either a Tensor or a tuple of Tensors"):
        functional._as_tuple([x], "inputs", "f")
    with pytest.warns(FutureWarning, match="Please use `torch.vmap`"):
        assert fg._vmap_internals.vmap(fg.sum)(fg.ones(2, 3)).tolist() == [3, 3]


def test_maps_that_hand_none_on():
    x, unused = (fg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    y = x**2

    def row(v):
        return fg.autograd.grad(y, (x, unused), v, retain_graph=True, allow_unused=True)

    vmap = fg._vmap_internals._vmap
    found, none = vmap(row, allow_none_pass_through=True)(fg.eye(2))
    assert found.tolist() == [[2, 0], [0, 4]] and none is None
    across, none = vmap(row, 0, (1, 0), allow_none_pass_through=True)(fg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert across.tolist() == [[2, 6], [8, 16]] and none is None
    assert vmap(fg.sum, allow_none_pass_through=True)(fg.ones(2, 3)).tolist() == [3, 3]
    with pytest.raises(ValueError, match="must only return Tensors"):
        vmap(row)(fg.eye(2))


def test_helpers_of_products_with_jacobians():
    """Which programs take from `autograd.functional`; `torchmin` makes its operators of them."""
    x, y = fg.tensor([1.0, 2.0], requires_grad=True), fg.tensor([[3.0]])
    first, second = functional._construct_standard_basis_for((x, y), (2, 1))
    assert first.tolist() == [[1, 0], [0, 1], [0, 0]] and second.tolist() == [[0], [0], [1]]
    with pytest.raises(AssertionError):
        functional._construct_standard_basis_for((), ())

    taken = functional._grad_preprocess((x, y), True, True)
    assert all(t.requires_grad and t is not given for t, given in zip(taken, (x, y))) and taken[0].grad_fn is not None
    assert not any(t.requires_grad for t in functional._grad_preprocess((x, y), False, False))
    (kept,) = functional._grad_postprocess((x * 2,), True)
    assert kept.requires_grad and not functional._grad_postprocess(((x * 2, x),), False)[0][0].requires_grad
    nested = ((1, 2), (3, 4))
    assert [functional._tuple_postprocess(nested, to) for to in (True, False)] == [nested, (1, 2)]
    assert functional._tuple_postprocess(nested, (True, False)) == (1, 3) and functional._tuple_postprocess(nested, (False, False)) == 1

    z = x * 3
    assert functional._autograd_grad((z, None, y), (x,), (fg.ones(2),) * 3)[0].tolist() == [3, 3]
    assert functional._autograd_grad((y,), (x,)) == (None,)
    z = x * 3
    (rows,) = functional._autograd_grad((z,), (x,), (fg.eye(2),), is_grads_batched=True)
    assert rows.tolist() == [[3, 0], [0, 3]]

    functional._validate_v((y,), (y,), False)
    for arguments, message in (
        (((x, y), (x,), False), "should contain a single Tensor"), (((x,), (x, y), True), "should be 2 but got 1"),
        (((y,), (x,), True), "Entry 0 in v has invalid size"),
    ):
        with pytest.raises(RuntimeError, match=message):
            functional._validate_v(*arguments)

    assert functional._fill_in_zeros((None, y), (x, y), False, False, "back")[0].tolist() == [0, 0]
    for stage, message in (
        ("back", "independent of input 0"), ("back_trick", "entry 0 in the grad_outputs"), ("double_back", "The jacobian of"),
        ("double_back_trick", "entry 0 in the grad_jacobian"), ("x", "Invalid stage argument 'x'"),
    ):
        with pytest.raises(RuntimeError, match=message):
            functional._fill_in_zeros((None,), (x,), True, False, stage)
    functional._check_requires_grad((None,), "outputs", False)
    for kind, message in (
        ("outputs", "Output 0 of the user"), ("grad_inputs", "The gradient with respect to input 0"), ("jacobian", "twice differentiable"),
        ("hessian", "thrice differentiable"), ("x", "Invalid input_type"),
    ):
        with pytest.raises(RuntimeError, match=message):
            functional._check_requires_grad((y,), kind, True)

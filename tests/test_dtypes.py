"""Element types against torch: every pair of them in every kind of operation, the numbers they hold, and what becomes of
them."""

import copy
import gc
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")
warnings.filterwarnings("ignore")

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
FLOATS = DTYPES[6:]
#: Some numbers of each type; its limits among them.
NUMBERS = {
    "bool": [True, False, True],
    "uint8": [1, 200, 44],
    "int8": [1, -128, 44],
    "int16": [3, -32768, 4444],
    "int32": [5, -(2**31), 44444],
    "int64": [7, -100, 44444444444],
    "float16": [0.1, -3.3, 100.7],
    "bfloat16": [0.1, -3.3, 100.7],
    "float32": [0.1, -3.3, 100.7],
    "float64": [0.1, -3.3, 100.7],
}
PLAIN = [True, 3, -7, 300, 0.1, 2.5]


def operand(T, name):
    """A tensor of three elements, or one of them where the name ends in `[0]`."""
    dtype = name.removesuffix("[0]")
    x = T.tensor(NUMBERS[dtype], dtype=getattr(T, dtype))
    return x[0] if name.endswith("[0]") else x


def described(T, result):
    """A result in terms that both libraries have."""
    if isinstance(result, T.Tensor):
        return str(result.dtype), tuple(result.shape), result.tolist()
    return str(result)


def outcome(T, call):
    """What a call gives, or the class of its error."""
    try:
        return described(T, call(T))
    except Exception as error:
        return type(error).__name__


def close(a, b, tolerance):
    """Equality, of floats to a relative difference."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b) or abs(a - b) <= tolerance * max(abs(a), abs(b))
    return type(a) is type(b) and a == b


def compare(call, what, tolerance=0.0):
    ours, theirs = outcome(fg, call), outcome(torch, call)
    assert close(ours, theirs, tolerance), f"{what}: {ours}, torch has {theirs}"


BINARY = {
    "+": lambda T, a, b: a + b,
    "-": lambda T, a, b: a - b,
    "*": lambda T, a, b: a * b,
    "/": lambda T, a, b: a / b,
    "//": lambda T, a, b: a // b,
    "%": lambda T, a, b: a % b,
    "==": lambda T, a, b: a == b,
    "<": lambda T, a, b: a < b,
    ">=": lambda T, a, b: a >= b,
    "&": lambda T, a, b: a & b,
    "add alpha": lambda T, a, b: T.add(a, b, alpha=2),
    "add_": lambda T, a, b: a.clone().add_(b),
    "mul_": lambda T, a, b: a.clone().mul_(b),
    "div_": lambda T, a, b: a.clone().div_(b),
    "sub_": lambda T, a, b: a.clone().sub_(b),
    "floor": lambda T, a, b: T.div(a, b, rounding_mode="floor"),
    "where": lambda T, a, b: T.where(T.tensor([True, False, True]), a, b),
}
TENSORS = {
    "maximum": lambda T, a, b: T.maximum(a, b),
    "logical_and": lambda T, a, b: T.logical_and(a, b),
    "copy_": lambda T, a, b: a.clone().copy_(b),
    "cat": lambda T, a, b: T.cat([a.reshape(-1), b.reshape(-1)]),
}


def dividing_by_zero(kind, b):
    """The division of integers by zero, whose error both libraries have, and by false, which ends torch's process."""
    return kind in ("//", "%", "floor") and b in ("bool", "bool[0]")


@pytest.mark.parametrize("a", [*DTYPES, *(f"{d}[0]" for d in DTYPES)])
def test_every_pair_of_dtypes(a):
    names = [*DTYPES, *(f"{d}[0]" for d in DTYPES)]
    for b, (kind, call) in itertools.product(names, {**BINARY, **TENSORS}.items()):
        if not dividing_by_zero(kind, b):
            compare(lambda T: call(T, operand(T, a), operand(T, b)), f"{a} {kind} {b}")


@pytest.mark.parametrize("a", [*DTYPES, *(f"{d}[0]" for d in DTYPES)])
def test_every_dtype_with_numbers(a):
    for number, (kind, call) in itertools.product(PLAIN, BINARY.items()):
        compare(lambda T: call(T, operand(T, a), number), f"{a} {kind} {number}")
    for number, kind in itertools.product(PLAIN, ["+", "-", "*", "/", "<", "where"]):
        compare(lambda T: BINARY[kind](T, number, operand(T, a)), f"{number} {kind} {a}")


def test_result_types():
    for a, b in itertools.product([*DTYPES, *(f"{d}[0]" for d in DTYPES), *PLAIN], repeat=2):
        pick = lambda T, x: operand(T, x) if isinstance(x, str) else x
        compare(lambda T: T.result_type(pick(T, a), pick(T, b)), f"result_type({a}, {b})")
    for a, b in itertools.product(DTYPES, repeat=2):
        compare(lambda T: T.promote_types(getattr(T, a), getattr(T, b)), f"promote_types({a}, {b})")
        compare(lambda T: T.can_cast(getattr(T, a), getattr(T, b)), f"can_cast({a}, {b})")


UNARY = "abs neg sign relu floor trunc square logical_not isnan bitwise_not sum mean prod max min argmax argmin".split()
SMOOTH = "exp log sin cos tanh sigmoid sqrt reciprocal expm1 log1p".split()


@pytest.mark.parametrize("a", DTYPES)
def test_functions_of_every_dtype(a):
    for name in UNARY:
        compare(lambda T: getattr(T, name)(operand(T, a)), f"{name}({a})", {"prod": 4e-3, "sum": 1e-6, "mean": 1e-6}.get(name, 0.0))
    for name in SMOOTH:
        # One unit in the last place of the result's type; torch rounds the smallest numbers to zero.
        compare(lambda T: T.where((y := getattr(T, name)(operand(T, a))).abs() < 1e-37, 0.0, y), f"{name}({a})", 3e-7)


#: Floats that integers do not hold are as x86-64 has them, in both libraries.
ODD = [300.7, -300.7, 40000.0, 3e9, -3e9, 5e9, 1e10, 1e20, float("nan"), float("inf"), -float("inf"), -1.5, 0.0, 6e-8]


@pytest.mark.parametrize("source", DTYPES)
def test_casts(source):
    values = ODD if source in FLOATS else NUMBERS[source]
    for target in DTYPES:
        compare(lambda T: T.tensor(values, dtype=getattr(T, source)).to(getattr(T, target)), f"{source} to {target}")
        flipped = lambda T: T.tensor([values, values], dtype=getattr(T, source)).t().to(getattr(T, target))
        compare(flipped, f"strided {source} to {target}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_creation_and_text(dtype):
    calls = [
        lambda T, d: T.zeros(2, 2, dtype=d),
        lambda T, d: T.ones(2, dtype=d),
        lambda T, d: T.full((2,), 3, dtype=d),
        lambda T, d: T.full((2,), 1e39, dtype=d),
        lambda T, d: T.full((2,), 300, dtype=d),
        lambda T, d: T.full((2,), -70000.0, dtype=d),
        lambda T, d: T.zeros(2, dtype=d).fill_(-1.5),
        lambda T, d: T.arange(5, dtype=d),
        lambda T, d: T.linspace(0, 1, 5, dtype=d),
        lambda T, d: T.eye(2, dtype=d),
        lambda T, d: T.tensor([1.5, 2, True], dtype=d),
        lambda T, d: repr(T.tensor(NUMBERS[dtype], dtype=d)),
        lambda T, d: repr(T.tensor([[0.5, 100.25], [1, 0]], dtype=d)),
        lambda T, d: repr(T.zeros(0, dtype=d)),
        lambda T, d: T.stack([T.ones(2, dtype=d), T.zeros(2, dtype=d)]),
        lambda T, d: T.ones(2, 3, dtype=d) @ T.full((3, 2), 2, dtype=d),
        lambda T, d: T.tensor([1, 2, 3], dtype=d) @ T.tensor([1, 2, 3], dtype=d),
        lambda T, d: T.ones(3, dtype=d).sum(dtype=T.float16),
        lambda T, d: T.ones(3, dtype=d).sum(dtype=T.int8),
        lambda T, d: T.tensor([[1, 2], [3, 4]], dtype=d)[T.tensor([1, 0, 1])],
        lambda T, d: T.tensor([[1, 2], [3, 4]], dtype=d).max(1).values,
    ]
    for n, call in enumerate(calls):
        compare(lambda T: call(T, getattr(T, dtype)), f"call {n} of {dtype}")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_of_narrow_floats_are_exact_inside(dtype):
    for T in (fg, torch):
        x = T.full((70000,), 1.0, dtype=getattr(T, dtype))
        assert x.mean().item() == 1.0
        assert (x / 256).sum().item() == pytest.approx(70000 / 256, rel=4e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_of_narrow_floats(dtype):
    def call(T):
        x = T.tensor([0.3, -1.2, 2.0], dtype=getattr(T, dtype), requires_grad=True)
        w = T.tensor([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]], dtype=getattr(T, dtype))
        ((w @ x).tanh().sum() + (x * 0.1).exp().mean() + x[[0, 0, 2]].sum()).backward()
        return x.grad

    compare(call, "gradient", 2e-2)


def test_sums_of_halves_are_torchs_to_the_bit():
    """Of numbers whose sums float32 holds exactly, in whatever order they are added."""
    numbers = [(n * 37 % 101 - 50) / 64 for n in range(3000)]
    for name, shape in itertools.product(["float16", "bfloat16"], [(3000,), (30, 100), (100, 30), (10, 30, 10)]):
        for kind in ("x.sum()", "x.sum(0)", "x.sum(-1)", "x.mean(-1)", "x.t().sum(0)" if len(shape) == 2 else "x.sum(1)"):
            call = lambda T: eval(kind, {"x": T.tensor(numbers, dtype=getattr(T, name)).reshape(shape)})
            compare(call, f"{kind} of {name} {shape}")


def test_limits():
    for name in DTYPES:
        for kind, field in itertools.product(["finfo", "iinfo"], ["min", "max", "eps", "tiny", "smallest_normal", "resolution", "bits", "dtype"]):
            compare(lambda T: getattr(getattr(T, kind)(getattr(T, name)), field), f"{kind}({name}).{field}")
            compare(lambda T: repr(getattr(T, kind)(getattr(T, name))), f"{kind}({name})")
    for call in ["finfo()", "iinfo()", "finfo('x')", "finfo(T.half) == T.finfo(T.float16)", "hash(T.finfo(T.half))", "finfo(type=T.float64)", "finfo(float)", "finfo(int)", "iinfo(int)", "iinfo(bool)", "iinfo(float)", "finfo([])"]:
        text = call if call.startswith("hash") else f"T.{call}"
        compare(lambda T: eval(text, {"T": T}), call)


FORMS = """
    x.to(); x.to(T.float32) is x; x.to(T.float32, copy=True) is x; x.to(T.float16, False, True); x.to('cpu', T.float16); x.to('cpu', 'int')
    x.to(x.half()); x.to(x.half(), True, True); x.to(dtype=T.int8); x.to(device='cpu', dtype=T.int8); x.to(None); x.to('cpu', None)
    x.to(device=None, dtype=None); x.to(float); x.to(int); x.to(bool); x.to(T.float16, memory_format=T.contiguous_format)
    x.to(T.float16, foo=1); x.to(T.float16, T.int8); x.to('abc'); x.to(T.device('cpu')); x.to('cpu:0'); x.to(dtype='float16')
    x.half(memory_format=T.preserve_format); m.t().half().stride(); m.t().to(T.float16, memory_format=T.contiguous_format).stride()
    m.t().to(T.float32, copy=True).stride(); x.type(); x.type(T.float16); x.type('torch.HalfTensor'); x.type('torch.float16')
    x.type('HalfTensor'); x.type(T.LongTensor); x.type(T.Tensor); x.type(T.FloatTensor) is x; x.type(None); x.type(float); x.type('float')
    x.type(dtype=T.int8); x.type(T.int8, True); x.type(T.int8, non_blocking=True); x.char(); x.short(); x.bfloat16(); x.type_as(x.long())
    x.type_as(3); x.type_as(other=x.int()); x.half().type(); x.char().type(); x.bool().type(); x.double().type(); x.byte().type()
    T.FloatTensor(); T.FloatTensor(2, 3).shape; T.FloatTensor([1, 2]); T.LongTensor([1, 2]); T.LongTensor([1.5]); T.LongTensor(x)
    T.LongTensor(x.long()); T.HalfTensor([1, 2.5]); T.BFloat16Tensor([1, 2.5]); T.CharTensor([1]); T.ShortTensor([1]); T.IntTensor([1])
    T.ByteTensor([1, 300]); T.BoolTensor([1, 0]); T.DoubleTensor([1]); T.FloatTensor(2.5); T.FloatTensor(T.Size([2, 1])).shape
    T.FloatTensor((1, 2)); T.FloatTensor(None); isinstance(x, T.FloatTensor); isinstance(x.half(), T.FloatTensor); isinstance(3, T.HalfTensor)
    isinstance(x.half(), T.HalfTensor); T.FloatTensor.dtype; T.FloatTensor.is_cuda; T.FloatTensor.__name__; T.FloatTensor(device='cpu')
    T.FloatTensor([1], device='cpu'); T.FloatTensor([1], device='cuda'); T.LongTensor(2, dtype=T.int8); T.Tensor([1], device='cpu')
    issubclass(T.FloatTensor, T.Tensor); T.FloatTensor(x) is x; T.FloatTensor('abc'); T.is_floating_point(x); T.is_floating_point(3)
    T.is_complex(x); T.is_complex(1); T.set_default_dtype(T.int32); T.set_default_tensor_type('torch.FloatTensor')
    x.__dlpack_device__()[0] == 1; T.from_dlpack(x); T.from_dlpack(3); T.from_dlpack(x, copy=True); T.from_dlpack(x, device='cpu')
    T.from_dlpack(x, foo=3); T.from_dlpack(T.utils.dlpack.to_dlpack(x)); T.from_dlpack(m.t()).stride(); x.__dlpack__(stream=1)
    x.__dlpack__(stream='a'); T.tensor([1.0], requires_grad=True).__dlpack__(); T.from_dlpack(x.__dlpack__(max_version=(1, 0)))
    T.from_dlpack(x.__dlpack__(copy=True)); T.from_dlpack(x[1:]).storage_offset(); T.from_dlpack(x.new_ones(0, 3)).shape; T.from_dlpack(x[0])
    x.__dlpack__(dl_device=(2, 0)); repr(T.tensor([1e-7, 65504, -3], dtype=T.float16)); repr(T.tensor(1 / 3, dtype=T.bfloat16))
    repr(T.tensor([1e-7, 6e4, float('nan')], dtype=T.bfloat16)); repr(T.tensor([1 / 3, 1000.123], dtype=T.bfloat16)); repr(m.half())
"""


@pytest.mark.parametrize("text", [text.strip() for line in FORMS.splitlines() for text in line.split(";") if text.strip()])
def test_conversions_and_old_names(text):
    def call(T):
        m = T.tensor([[1.5, -2.0, 3.0], [0.1, 7.0, -1.0]])
        return eval(text, {"T": T, "x": T.tensor([1.5, -2.0]), "m": m})

    compare(call, text)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pickles_and_copies(dtype):
    for x in (operand(fg, dtype), fg.tensor([NUMBERS[dtype]] * 2, dtype=getattr(fg, dtype)).t()):
        for made in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
            assert made.dtype == x.dtype and made.stride() == x.stride() and made.tolist() == x.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_shares_memory(dtype):
    theirs = torch.tensor([NUMBERS[dtype]] * 2, dtype=getattr(torch, dtype)).t()
    ours = fg.from_dlpack(theirs)
    assert (str(ours.dtype), ours.stride(), ours.tolist()) == (str(theirs.dtype), theirs.stride(), theirs.tolist())
    ours[0, 0] = 0
    assert theirs[0, 0].item() == 0
    back = torch.from_dlpack(ours)
    assert back.data_ptr() == theirs.data_ptr() and back.stride() == theirs.stride()
    del theirs, back
    gc.collect()
    assert ours.sum().item() == fg.tensor(ours.tolist(), dtype=ours.dtype).sum().item()
    if dtype != "bfloat16":
        array = np.from_dlpack(ours)
        array[0, 0] = 1
        assert ours[0, 0].item() == 1
        assert fg.from_dlpack(array).tolist() == ours.tolist()


def test_capsules_are_consumed_once():
    capsule = fg.ones(2).__dlpack__()
    fg.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="only once"):
        fg.from_dlpack(capsule)
    fg.ones(2).__dlpack__()
    frozen = np.ones(2)
    frozen.flags.writeable = False
    with pytest.raises(RuntimeError):
        fg.from_dlpack(frozen).add_(1)


EMPTY_PRODUCTS = [
    ("matmul", (0, 3), (3, 2)), ("mm", (2, 3), (3, 0)), ("mm", (2, 0), (0, 2)), ("matmul", (0, 2, 3), (3, 2)),
    ("bmm", (2, 2, 0), (2, 0, 2)), ("mv", (0, 3), (3,)), ("matmul", (2, 0), (0,)), ("matmul", (0,), (0, 2)), ("inner", (0, 3), (3,)),
    ("chain_matmul", (0, 3), (3, 2)), ("dot", (0,), (0,)), ("vdot", (3,), (3, 2)), ("matmul", (2, 3), (3, 2)), ("mv", (2, 3), (3,)),
    ("inner", (3,), (3,)), ("dot", (2, 3), (3,)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "left", "right"), EMPTY_PRODUCTS)
def test_products_of_truth_values_are_taken_where_there_is_nothing_to_add(name, left, right):
    def program(T):
        try:
            y = getattr(T, name)(T.zeros(left, dtype=T.bool), T.zeros(right, dtype=T.bool))
        except Exception as error:  # noqa: BLE001 - what it is will be compared
            return type(error)
        return str(y.dtype), tuple(y.shape), y.tolist()

    assert program(fg) == program(torch)


@pytest.mark.parametrize("dim", [-3, -2, -1, 0, 1, 2])
@pytest.mark.parametrize("count", [1, 2])
def test_vectors_of_nothing_are_joined_along_any_dimension(dim, count):
    for T in (fg, torch):
        x = T.zeros(0, requires_grad=True)
        y = T.cat([x] * count, dim)
        y.sum().backward()
        assert tuple(y.shape) == tuple(x.grad.shape) == (0,)


@pytest.mark.parametrize("name", ["sum", "prod", "nansum", "cumsum"])
@pytest.mark.parametrize("numbers", [
    [1e30], [-1e30], [float("nan")], [float("inf")], [float("-inf")], [3e9], [-3e9], [1e30, 1.0], [float("nan")] * 9, [2.7, -2.7],
    [1e10] * 40, [300.0, -300.0],
])
@pytest.mark.parametrize("source", ["float32", "float64", "bfloat16"])
def test_floats_that_integers_cannot_hold_are_summed_as_they_are_converted(name, numbers, source):
    for target in ("int8", "uint8", "int16", "int32", "int64"):

        def program(T):
            x = T.tensor(numbers, dtype=getattr(T, source))
            arguments = (0,) if name == "cumsum" else ()
            return getattr(x, name)(*arguments, dtype=getattr(T, target)).tolist()

        assert program(fg) == program(torch), target


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
@pytest.mark.parametrize("dtype", [fg.float16, fg.float32, fg.float64])
def test_integers_beyond_int64_are_copied_as_the_floats_that_they_are(number, dtype):
    x = fg.zeros(2, dtype=dtype)
    assert x.copy_(number).tolist() == [fg.tensor(float(number), dtype=dtype).item()] * 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_wider_number_beside_halves_is_rounded_where_it_is_added_or_compared(dtype):
    """Above a tie by less than 16 bits can tell, and beyond what they hold."""
    at = {"float16": 2.0**-12, "bfloat16": 2.0**-9}[dtype]
    above = 2 * at * (1 + at)
    for text in ["x + n", "n + x", "x + t", "x.add(n)", "x.sub(-n)", "x.add(x, alpha=n)", "x.sub(-x, alpha=n)", "x.clone().add_(t)", "y + 1e39 - 1e39", "y - 1e39"]:
        named = lambda T: {"T": T, "n": above, "t": T.tensor(above), "x": T.ones(3, dtype=getattr(T, dtype)), "y": T.full((3,), math.inf, dtype=getattr(T, dtype))}
        compare(lambda T: eval(text, named(T)), f"{text} of {dtype}")
    assert math.isnan((fg.tensor([math.inf], dtype=fg.float16) + -1e5).item())


#: Functions of `x`, beside a number or a tensor without dimensions that rounds to it, with the gradients of both.
TIES = {
    "T.maximum(x, t)": (0.5, 0.5), "T.minimum(x, t)": (0.5, 0.5), "T.fmax(x, t)": (1.0, 0.0), "T.fmin(x, t)": (1.0, 0.0), "T.clamp(x, t)": (1.0, 0.0),
    "T.clamp(x, max=t)": (1.0, 0.0), "T.clamp(x, t, t)": (1.0, 0.0), "T.clamp(x, n)": (1.0, None), "T.clamp_max(x, n)": (1.0, None),
    "F.hardshrink(x, n)": (0.0, None), "F.hardtanh(x, -3, n)": None, "F.threshold(x, n, 3.0)": None,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("text", TIES)
def test_gradients_of_what_a_rounded_number_is_equal_to(text, dtype):
    for beside in (-1e-6, 1e-6):

        def call(T):
            x = T.tensor([0.1] * 3, dtype=getattr(T, dtype)).requires_grad_()
            t = T.tensor(x[0].item() + beside, requires_grad=True)
            y = eval(text, {"T": T, "F": T.nn.functional, "x": x, "t": t, "n": t.item()})
            return [None if g is None else g.tolist() for g in T.autograd.grad(y, [x, t], T.ones_like(y), allow_unused=True)]

        ours = call(fg)
        assert ours == call(torch)
        if TIES[text]:
            first, second = TIES[text]
            assert ours == [[first] * 3, None if second is None else 3 * second]


def test_roots_of_halves_are_powers():
    for exponent in (0.5, -0.5):
        for name, dtype in (("float16", fg.float16), ("bfloat16", fg.bfloat16), ("float32", fg.float32)):
            compare(lambda T: T.tensor([-math.inf, -0.0, 0.0, 4.0] * 9, dtype=getattr(T, name)) ** exponent, f"{exponent} of {name}")
    assert fg.tensor([-math.inf, -0.0], dtype=fg.float16).pow(0.5).tolist() == [math.inf, 0.0]

"""Element-wise functions in both libraries: values at random and at special numbers, dtypes, gradients, nodes, names."""

import itertools
import math
import warnings

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")

inf, nan = math.inf, math.nan

#: Functions of one tensor, and from where numbers are drawn.
UNARY = {
    "rsqrt": (0.1, 4), "round": (-3, 3), "ceil": (-3, 3), "tan": (-4, 4), "acos": (-1, 1), "asin": (-1, 1), "atan": (-5, 5),
    "sinh": (-5, 5), "cosh": (-5, 5), "asinh": (-9, 9), "acosh": (1.1, 9), "atanh": (-0.99, 0.99), "log2": (0.1, 9),
    "log10": (0.1, 9), "exp2": (-5, 5), "erf": (-3, 3), "erfc": (-3, 5), "erfinv": (-0.99, 0.99), "lgamma": (0.1, 9),
    "digamma": (0.1, 9), "frac": (-5, 5), "nan_to_num": (-5, 5), "deg2rad": (-360, 360), "rad2deg": (-7, 7),
    "logit": (0.01, 0.99), "sinc": (-3, 3), "reciprocal": (0.5, 3), "isfinite": (-1, 1), "isinf": (-1, 1), "isnan": (-1, 1),
    "isposinf": (-1, 1), "isneginf": (-1, 1), "isreal": (-1, 1), "signbit": (-1, 1), "positive": (-1, 1),
}
BINARY = (
    "atan2 fmod hypot logaddexp logaddexp2 copysign nextafter heaviside xlogy ldexp float_power fmax fmin".split()
)
INTEGER = "gcd lcm bitwise_left_shift bitwise_right_shift".split()
SPECIALS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, inf, -inf, nan, 1e-40, -1e-40, 1e30, -1e30, 88.9, -104.0, 3.0, -3.0]
#: Where torch's second derivative of the gamma function is that of a sine whose zeros are no zeros of floats.
GAMMA = ("digamma",)


def both(array, requires_grad=False):
    made = [fg.tensor(array), torch.tensor(array)]
    return [t.requires_grad_(requires_grad) for t in made] if requires_grad else made


def close(ours, theirs, rtol=4e-6, atol=1e-6):
    assert repr(ours.dtype) == repr(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
    if ours.dtype.kind == "f":
        zeros = (ours == 0) & (theirs == 0)
        np.testing.assert_array_equal(np.signbit(ours[zeros]), np.signbit(theirs[zeros]))


def node(t):
    return None if t.grad_fn is None else t.grad_fn.name().rsplit("::", 1)[-1]


def derivatives(T, function, *inputs):
    """First and second derivatives of a sum that is not linear in the result."""
    y = function(*inputs)
    weights = T.tensor(np.linspace(0.5, 1.5, y.numel()).reshape(tuple(y.shape)), dtype=y.dtype)
    first = T.autograd.grad((y * y * weights).sum(), inputs, create_graph=True, allow_unused=True)
    total = sum((g * g * weights).sum() for g in first if g is not None and g.requires_grad)
    if not isinstance(total, T.Tensor):
        return [*first]
    return [*first, *T.autograd.grad(total, inputs, allow_unused=True)]


def same_derivatives(call, *arrays, rtol=1e-6, atol=1e-9):
    pairs = [both(a, True) for a in arrays]
    ours = derivatives(fg, lambda *x: call(fg, *x), *[p[0] for p in pairs])
    theirs = derivatives(torch, lambda *x: call(torch, *x), *[p[1] for p in pairs])
    for a, b in itertools.zip_longest(ours, theirs):
        if b is None:
            assert a is None or not a.any()
        elif a is None:
            assert not b.any()
        else:
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (5, 300), (0, 2)])
def test_values(name, dtype, shape):
    array = np.random.default_rng(3).uniform(*UNARY[name], size=shape).astype(dtype)
    x, y = both(array)
    exact = dtype == "float64"
    close(getattr(fg, name)(x), getattr(torch, name)(y), 1e-13 if exact else 4e-6, 1e-14 if exact else 1e-6)
    close(getattr(x, name)(), getattr(y, name)(), 1e-13 if exact else 4e-6, 1e-14 if exact else 1e-6)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_numbers(name, dtype):
    x, y = both(np.array(SPECIALS, dtype=dtype), name not in ("signbit",))
    ours, theirs = getattr(fg, name)(x), getattr(torch, name)(y)
    close(ours, theirs)
    for value, expected in zip(x.detach(), theirs):
        # One element goes another way.
        close(getattr(fg, name)(value), expected)
    if theirs.requires_grad and name not in GAMMA:
        ours.sum().backward()
        theirs.sum().backward()
        # Of logit at a negative zero torch has both infinities, by the dtype.
        known = [n for n in range(len(SPECIALS)) if name != "logit" or n != 1]
        close(x.grad[known], y.grad[known], 1e-5)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_integers(name, dtype):
    x, y = both(np.array([0, 1, 1] if dtype == "bool" else [0, 1, 5], dtype=dtype))
    try:
        theirs = getattr(torch, name)(y)
    except (NotImplementedError, RuntimeError) as error:
        with pytest.raises(type(error)):
            getattr(fg, name)(x)
        return
    close(getattr(fg, name)(x), theirs)


@pytest.mark.parametrize("name", [n for n in UNARY if n not in ("isfinite", "isinf", "isnan", "isposinf", "isneginf", "isreal", "signbit")])
def test_gradients(name):
    low, high = UNARY[name]
    array = np.random.default_rng(4).uniform(low, high, size=(2, 5))
    same_derivatives(lambda T, x: getattr(T, name)(x), array)
    x, y = both(array, True)
    assert node(getattr(fg, name)(x)) == node(getattr(torch, name)(y))
    # torch has no second derivative of the in-place forms of the three.
    if hasattr(torch.Tensor, name + "_") and name not in ("asinh", "acosh", "atanh"):
        same_derivatives(lambda T, x: getattr(x * 1.0, name + "_")(), array)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary(name, dtype):
    rng = np.random.default_rng(5)
    a, b = rng.uniform(0.3, 3, size=(4, 1)).astype(dtype), rng.uniform(0.3, 3, size=(1, 6)).astype(dtype)
    (x, u), (y, v) = both(a), both(b)
    close(getattr(fg, name)(x, y), getattr(torch, name)(u, v))
    close(getattr(x, name)(y), getattr(u, name)(v))
    if name != "heaviside":
        same_derivatives(lambda T, x, y: getattr(T, name)(x, y), a.astype("float64"), b.astype("float64"))
    x.requires_grad_(), u.requires_grad_()
    assert node(getattr(fg, name)(x, y)) == node(getattr(torch, name)(u, v))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_special_numbers(name, dtype):
    numbers = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, inf, -inf, nan]
    a, b = np.array(list(itertools.product(numbers, numbers)), dtype=dtype).T
    (x, u), (y, v) = both(a, True), both(b, True)
    ours, theirs = getattr(fg, name)(x, y), getattr(torch, name)(u, v)
    close(ours, theirs)
    if name != "heaviside":
        ours.sum().backward()
        theirs.sum().backward()
        for mine, expected in ((x, u), (y, v)):
            np.testing.assert_allclose(mine.grad.numpy(), expected.grad.numpy(), rtol=1e-5, atol=1e-6)


DTYPES = ["bool", "uint8", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize("name", [*BINARY, *INTEGER, "addcmul", "addcdiv", "lerp", "isin"])
@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=2)), ids=lambda d: "-".join(d))
def test_dtypes(name, dtypes):
    (x, u), (y, v) = both(np.array([1, 1, 0], dtype=dtypes[0])), both(np.array([1, 1, 1], dtype=dtypes[1]))
    extra = lambda a, b: (a, b, b) if name in ("addcmul", "addcdiv", "lerp") else (a, b)  # noqa: E731
    try:
        theirs = getattr(torch, name)(*extra(u, v))
    except (NotImplementedError, RuntimeError) as error:
        if name == "ldexp":
            # torch takes an exponent of truth values with integers, and not with floats.
            assert dtypes[1] == "bool" and getattr(fg, name)(x, y).tolist() == [2.0, 2.0, 0.0]
            return
        with pytest.raises(type(error)):
            getattr(fg, name)(*extra(x, y))
        return
    close(getattr(fg, name)(*extra(x, y)), theirs)


NUMBERS = ["fmod", "copysign", "xlogy", "float_power", "bitwise_left_shift", "bitwise_right_shift"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("number", [2, 2.5, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers(name, number, dtype):
    x, u = both(np.array([1, 1, 0], dtype=dtype), dtype.startswith("float"))
    for call in (lambda T, t: getattr(T, name)(t, number), lambda T, t: getattr(T, name)(number, t)):
        try:
            theirs = call(torch, u)
        except (NotImplementedError, RuntimeError, TypeError) as error:
            with pytest.raises(type(error)):
                call(fg, x)
            continue
        ours = call(fg, x)
        close(ours, theirs)
        assert node(ours) == node(theirs)


@pytest.mark.parametrize("name", INTEGER)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integer_functions(name, dtype):
    info = np.iinfo(dtype)
    numbers = [0, 1, 2, 3, 7, 12, 18, 31, 32, 63, 64, info.max] + ([] if dtype == "uint8" else [-1, -4, -9, info.min + 1])
    a, b = np.array(list(itertools.product(numbers, numbers)), dtype=dtype).T
    (x, u), (y, v) = both(a), both(b)
    ours, theirs = getattr(fg, name)(x, y), getattr(torch, name)(u, v)
    assert ours.tolist() == theirs.tolist()


OPERATORS = [
    "i << 2", "i >> 1", "2 << i", "64 >> i", "i << i", "b << 1", "f << 1", "i >> 1.5", "i.__lshift__(3)", "i.clone().__ilshift__(2)",
    "i.bitwise_left_shift_(1)", "+f", "i.gcd(i * 6)", "i.lcm_(i + 1)",
]
CALLS = [
    "T.round(f, decimals=2)", "T.round(f * 100, decimals=-1)", "f.round(decimals=1)", "T.round(i, decimals=1)", "T.round(f, decimals=0)",
    "T.addcmul(f, f, f, value=0.5)", "T.addcmul(i, i, i, value=2)", "T.addcmul(i, i, i, value=0.5)", "f.addcmul(f, f, value=-1)",
    "T.addcmul(f, i, i)", "T.addcmul(f, d, f)", "T.addcmul(b, b, b)", "T.addcdiv(f, f, f + 5, value=0.5)", "T.addcdiv(i, i, i)",
    "T.addcdiv(f, i + 9, i + 7)", "T.addcdiv(f, d, f + 5)", "T.addcdiv(i, f, f + 3)", "(f * 1).addcmul_(f, f, value=2)",
    "(f * 1).addcdiv_(f, f + 5, value=2)", "T.lerp(f, f * 3, 0.25)", "T.lerp(f, f * 3, 0.75)", "T.lerp(f, f * 3, f)", "T.lerp(f, f, -0.75)",
    "T.lerp(f, d, 0.5)", "T.lerp(f, f * 2, T.tensor(0.5))", "T.lerp(f, f * 2, T.tensor(0.5, dtype=T.float64))",
    "T.lerp(i, i, 0.5)", "(f * 1).lerp_(f * 4, 0.3)", "T.lerp(f, f * 2, 1)", "T.polygamma(0, p)", "T.polygamma(1, p)",
    "T.polygamma(2, p)", "T.polygamma(5, p)", "p.polygamma(3)", "T.polygamma(-1, p)", "T.polygamma(1, i + 2)",
    "T.polygamma(1, p - 3.3)", "T.polygamma(2, p - 3.3)", "T.digamma(p - 3.3)", "T.lgamma(p - 3.3)", "T.polygamma(n=1, input=p)",
    "T.special.zeta(p.detach() + 1, p)", "T.special.zeta(p.detach() + 1, 2)", "T.special.zeta(3, p)", "T.special.zeta(4, p - 3.3)",
    "T.special.zeta(T.tensor([2.0, 1.0, 0.5, 3.0, 2.5]), T.tensor([-2.0, 2.0, 2.0, 0.0, -1.5]))",
    "T.logit(f, 0.1)", "T.logit(f, eps=0.3)", "T.logit(f, eps=-1)", "(f * 1).logit_(0.2)", "f.logit(None)", "T.logit(s, 0.1)",
    "T.nan_to_num(s, nan=1.0)", "T.nan_to_num(s, 1.0, 2.0, 3.0)", "T.nan_to_num(s, posinf=5)", "s.nan_to_num(neginf=5)",
    "(s * 1).nan_to_num_(nan=3)", "T.nan_to_num(s.double())", "T.nan_to_num(i, nan=5)", "T.nan_to_num(b)", "T.float_power(f, 2)",
    "T.float_power(2, f)", "i.float_power(2)", "i.float_power_(2)", "d.clone().float_power_(2)", "T.float_power(i, i)", "T.float_power(b, 2)",
    "T.isin(i, 2)", "T.isin(2, i)", "T.isin(i, T.tensor([2, 7]))", "T.isin(i, T.tensor([2, 7]), invert=True)", "T.isin(f, T.tensor([nan]))",
    "T.isin(i, T.tensor([]))", "T.isin(i.reshape(2, 2), T.tensor([[1, 2], [3, 3]]), assume_unique=True)", "T.isin(b, T.tensor([True]))",
    "T.isin(f, i)", "T.isin(s, s)", "T.isin(s, T.tensor([nan, nan]))", "T.isin(f, T.tensor([nan, 0.5, 7, nan, 0.1, -2]))", "T.isin(T.zeros(0), i)", "T.isin(i, 2.0)", "T.isin(T.tensor(3), i)",
    "T.ldexp(f, i)", "T.ldexp(T.tensor([1e-30, 1.0, 2.0**-149]), T.tensor([130, -150, 200]))", "T.ldexp(i, i)", "f.ldexp_(i)",
    "T.heaviside(f, d)", "T.heaviside(i - 2, i)", "T.fmod(i, 0)", "T.fmod(f, 0)", "T.fmod(i - 5, 3)", "T.fmod(b, b)", "T.xlogy(f, i)",
    "T.copysign(f, -1)", "T.copysign(i, -0.0)", "T.positive(b)", "T.hypot(f, 2.0)", "T.atan2(f, 2.0)", "T.hypot(i, i)",
    "T.isclose(f, f)", "T.signbit(b)", "T.arctan2(f, f)", "T.arccos(f)", "T.arcsin(f)", "T.arctan(f)", "T.arccosh(f + 2)",
    "T.arcsinh(f)", "T.arctanh(f)", "f.arctan2(f)", "(f * 1).arctan2_(f)", "(f * 1).arcsin_()", "T.erf(f, out=T.empty(0))",
    "T.fmin(f, f + 1, out=T.empty(4))", "T.isfinite(s)", "T.gcd(i, 2)", "T.exp2(i)", "T.log2(i)", "T.sinc(i)", "T.logaddexp(i, i)",
    "T.frac(i)", "i.frac_()", "i.clone().erf_()", "T.erf(i, out=T.empty(4, dtype=T.int64))", "f.ceil_()", "f.xlogy_(2)", "f.copysign_(-2)",
]


def known(T, grad=False):
    return {
        "T": T, "nan": nan, "i": T.tensor([1, 2, 3, 4]), "b": T.tensor([True, False]), "f": T.tensor([0.1, 0.35, 0.5, 0.95]),
        "d": T.tensor([0.1, 0.35, 0.5, 0.95], dtype=T.float64), "p": T.tensor([0.5, 1.0, 2.5, 7.25, 30.0], dtype=T.float64),
        "s": T.tensor([0.0, -0.0, inf, -inf, nan, 1.5]),
    }  # fmt: skip


def outcome(T, text, names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return eval(text, names)
        except Exception as error:  # noqa: BLE001 - compared below
            return error


@pytest.mark.parametrize("text", [*OPERATORS, *CALLS])
def test_calls(text):
    ours, theirs = outcome(fg, text, known(fg)), outcome(torch, text, known(torch))
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs), f"{ours!r} and {theirs!r}"
        return
    assert not isinstance(ours, Exception), repr(ours)
    close(ours, theirs, 2e-6)
    ours, theirs = known(fg), known(torch)
    for key in "fdps":
        ours[key].requires_grad_(), theirs[key].requires_grad_()
    x, y = outcome(fg, text, ours), outcome(torch, text, theirs)
    if isinstance(y, Exception):
        assert type(x) is type(y), f"{x!r} and {y!r}"
        return
    if not y.requires_grad:
        assert not x.requires_grad
        return
    assert node(x) == node(y)
    x.sum().backward()
    y.sum().backward()
    for key in "fdps":
        mine, expected = ours[key].grad, theirs[key].grad
        assert (mine is None) == (expected is None)
        if expected is not None:
            np.testing.assert_allclose(mine.numpy(), expected.numpy(), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", [*UNARY, *BINARY, *INTEGER, "addcmul", "addcdiv", "lerp", "polygamma"])
def test_names(name):
    """Functions, methods and in-place forms are where torch has them."""
    aliases = {"acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2"}
    for each in [name, "arc" + name[1:], aliases.get(name, name)]:
        assert hasattr(fg, each) == hasattr(torch, each), each
        for method in (each, each + "_"):
            assert hasattr(fg.Tensor, method) == hasattr(torch.Tensor, method), method


MAPPED = ["tan", "asinh", "erf", "lgamma", "round", "sinc", "logit", "nan_to_num", "isfinite", "signbit", "frac"]


@pytest.mark.parametrize("name", MAPPED)
def test_forward_mode_and_maps(name):
    array = np.random.default_rng(6).uniform(0.1, 0.9, size=(3, 4))
    x, y = both(array)
    if name not in ("isfinite", "signbit"):
        (value, tangent), (expected, expected_tangent) = [
            T.func.jvp(getattr(T, name), (t,), (t * t + 1,)) for T, t in ((fg, x), (torch, y))
        ]
        close(value, expected)
        close(tangent, expected_tangent)
    close(fg.vmap(getattr(fg, name), 1, 1)(x), torch.vmap(getattr(torch, name), 1, 1)(y))


@pytest.mark.parametrize(
    "call",
    [
        lambda T, a, b: T.atan2(a, b), lambda T, a, b: T.hypot(a, b), lambda T, a, b: T.fmod(a, b), lambda T, a, b: T.lerp(a, b, 0.3),
        lambda T, a, b: T.addcmul(a, b, a, value=0.5), lambda T, a, b: T.addcdiv(a, b, a, value=0.5), lambda T, a, b: T.xlogy(a, b),
        lambda T, a, b: T.logaddexp(a, b), lambda T, a, b: T.fmax(a, b), lambda T, a, b: T.polygamma(1, a) * b,
        lambda T, a, b: T.ldexp(a, b), lambda T, a, b: T.copysign(a, b), lambda T, a, b: T.float_power(a, b),
    ],
)  # fmt: skip
def test_forward_mode_and_maps_of_several(call):
    rng = np.random.default_rng(8)
    (x, u), (y, v) = both(rng.uniform(0.2, 2, size=(3, 4))), both(rng.uniform(0.2, 2, size=(3, 4)))
    ours = fg.func.jvp(lambda a, b: call(fg, a, b), (x, y), (y, x))
    theirs = torch.func.jvp(lambda a, b: call(torch, a, b), (u, v), (v, u))
    for a, b in zip(ours, theirs):
        close(a, b)
    close(fg.vmap(lambda a, b: call(fg, a, b), (0, None))(x, y[0]), torch.vmap(lambda a, b: call(torch, a, b), (0, None))(u, v[0]))
    hessian = fg.func.hessian(lambda a: call(fg, a, y).sum())(x)
    close(hessian, torch.func.hessian(lambda a: call(torch, a, v).sum())(u), 1e-6)


def test_membership_is_mapped():
    x, y = both(np.array([[1, 2], [3, 4]]))
    close(fg.vmap(lambda a: fg.isin(a, fg.tensor([2, 3])))(x), torch.isin(y, torch.tensor([2, 3])))
    expected = torch.stack([torch.isin(row, row.flip(0)[:1]) for row in y])
    close(fg.vmap(lambda a: fg.isin(a, a.flip(0)[:1]))(x), expected)


def test_polygamma_at_poles_and_far_away():
    """At the poles it is infinite and far away it vanishes; far to the left it takes no longer than near by."""
    x = fg.tensor([-1.0, -2.0, -1e10, 0.0], dtype=fg.float64)
    assert fg.polygamma(1, x).tolist() == [inf] * 4
    assert fg.polygamma(2, fg.tensor([inf, 1e200])).abs().tolist() == [0.0, 0.0]
    far = fg.polygamma(1, fg.tensor([-1e12 - 0.5], dtype=fg.float64)).item()
    assert abs(far - math.pi**2) < 1e-9


@pytest.mark.parametrize("seed", range(60))
def test_results_lie_in_memory_as_torchs(seed):
    """Two operands of any order in memory, some repeated along dimensions: by its strides, where a dimension has several
    elements, the result lies as torch's does, whether it waits or not."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 5, rng.integers(1, 5))
    orders = [rng.permutation(len(sizes)) for _ in range(2)]
    repeated = [np.flatnonzero(rng.random(len(sizes)) < 0.3) for _ in range(2)]

    def operand(T, order, dims):
        x = T.arange(int(sizes.prod())).reshape(*sizes[np.argsort(order)].tolist()).double().permute(*order.tolist())
        for d in dims:
            x = x.narrow(int(d), 0, 1).expand([-1 if i != d else int(sizes[d]) for i in range(len(sizes))])
        return x

    a, b = (operand(torch, *pair) for pair in zip(orders, repeated, strict=True))
    x, y = (operand(fg, *pair) for pair in zip(orders, repeated, strict=True))
    before = fg.config.fusion_elements()
    for elements in (2, 10**9):
        fg.config.set_fusion(True, elements)
        try:
            for ours, theirs in ((x + y, a + b), (fg.where(x > 3, y, x), torch.where(a > 3, b, a)), (x.exp(), a.exp())):
                assert ours.stride() == theirs.stride()
                np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-14)
        finally:
            fg.config.set_fusion(before is not None, before or 2)


#: Sums of scaled terms, which both libraries round once.
BLENDS = {
    "add": lambda T, a, b, c: T.add(a, b, alpha=-0.01),
    "sub": lambda T, a, b, c: T.sub(a, b, alpha=0.3),
    "rsub": lambda T, a, b, c: T.rsub(a, b, alpha=0.3),
    "add_": lambda T, a, b, c: a.clone().add_(b, alpha=-1e-3),
    "sub_": lambda T, a, b, c: a.clone().sub_(b, alpha=1e-3),
    "addcmul": lambda T, a, b, c: T.addcmul(a, b, c, value=0.1),
    "addcmul plain": lambda T, a, b, c: T.addcmul(a, b, c),
    "addcmul_": lambda T, a, b, c: a.clone().addcmul_(b, b, value=1 - 0.999),
    "addcdiv": lambda T, a, b, c: T.addcdiv(a, b, c, value=-1e-3),
    "addcdiv_": lambda T, a, b, c: a.clone().addcdiv_(b, c, value=-1e-3),
    "lerp": lambda T, a, b, c: T.lerp(a, b, 0.3),
    "lerp from the end": lambda T, a, b, c: T.lerp(a, b, 0.7),
    "lerp_": lambda T, a, b, c: a.clone().lerp_(b, 1 - 0.9),
    "lerp by tensors": lambda T, a, b, c: T.lerp(a, b, c.abs().clamp(max=1)),
}


@pytest.mark.parametrize("size", [1, 7, 1000, 40_000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BLENDS)
def test_steps_of_optimizers_have_the_same_bits(name, dtype, size):
    operands = [np.random.default_rng(i).normal(size=size).astype(dtype) for i in range(3)]
    ours, theirs = (BLENDS[name](T, *map(T.tensor, operands)) for T in (fg, torch))
    assert np.array_equal(ours.numpy(), theirs.numpy())

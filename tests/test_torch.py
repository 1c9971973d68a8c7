"""Equality with torch, where torch is installed: values, dtypes, shapes, gradients, texts."""

import itertools
import math

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(7)
SHAPES = [(), (1,), (3,), (2, 3), (4, 1, 3), (0,), (2, 0)]


def pair(array: np.ndarray, requires_grad: bool = False):
    """The same numbers in both libraries."""
    ours, theirs = fg.tensor(array), torch.tensor(array)
    if requires_grad:
        ours.requires_grad_()
        theirs.requires_grad_()
    return ours, theirs


def same(ours, theirs, rtol: float = 2e-6, atol: float = 1e-7) -> None:
    """Shape, dtype, and numbers to rounding."""
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert repr(ours.dtype) == repr(theirs.dtype)
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=atol, equal_nan=True
    )


def check(function, *arrays: np.ndarray, rtol: float = 2e-6, atol: float = 1e-6) -> None:
    """Values, and the gradients of all float inputs for an upstream gradient that is not all ones."""
    floats = [a.dtype.kind == "f" for a in arrays]
    pairs = [pair(a, f) for a, f in zip(arrays, floats)]
    ours, theirs = function(fg, *[p[0] for p in pairs]), function(torch, *[p[1] for p in pairs])
    same(ours, theirs, rtol, atol)
    if not theirs.requires_grad:
        assert not ours.requires_grad
        return
    upstream = RNG.uniform(0.5, 2.0, size=tuple(theirs.shape)).astype(theirs.detach().numpy().dtype)
    ours.backward(fg.tensor(upstream))
    theirs.backward(torch.tensor(upstream))
    for (x, y), is_float in zip(pairs, floats):
        if is_float:
            assert (x.grad is None) == (y.grad is None)
            if y.grad is not None:
                same(x.grad, y.grad, rtol, atol)


def numbers(shape, dtype="float32", low=-3.0, high=3.0) -> np.ndarray:
    drawn = RNG.uniform(low, high, size=shape)
    return np.asarray(drawn.astype(dtype))


UNARY = "neg abs exp log sqrt sin cos tanh sigmoid relu square expm1 log1p".split()


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_unary(name, dtype, shape):
    low = 0.1 if name in ("log", "sqrt", "log1p") else -3.0
    check(lambda T, x: getattr(T, name)(x), numbers(shape, dtype, low))


@pytest.mark.parametrize("name", UNARY)
def test_unary_of_integers_and_specials(name):
    for dtype in ("int64", "int32", "uint8"):
        check(lambda T, x: getattr(T, name)(x), np.array([1, 2, 7], dtype=dtype))
    specials = np.array([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-40, 1e30, -1e30], dtype="float32")
    check(lambda T, x: getattr(T, name)(x), specials)


BINARY = {
    "add": lambda T, a, b: a + b,
    "sub": lambda T, a, b: a - b,
    "mul": lambda T, a, b: a * b,
    "div": lambda T, a, b: a / b,
    "floordiv": lambda T, a, b: a // b,
    "mod": lambda T, a, b: a % b,
    "maximum": lambda T, a, b: T.maximum(a, b),
    "minimum": lambda T, a, b: T.minimum(a, b),
    "where": lambda T, a, b: T.where(a > b, a, b),
    "eq": lambda T, a, b: a == b,
    "lt": lambda T, a, b: a < b,
    "ge": lambda T, a, b: a >= b,
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (4,)), ((0, 3), (3,)), ((1,), ())])
def test_binary(name, shapes):
    a, b = numbers(shapes[0]), numbers(shapes[1], low=0.5)
    if name in ("floordiv",):
        a, b = pair(a), pair(b)
        same(BINARY[name](fg, a[0], b[0]), BINARY[name](torch, a[1], b[1]))
    else:
        check(BINARY[name], a, b)


DTYPES = ["bool", "uint8", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=2)))
def test_binary_dtypes(name, dtypes):
    a, b = np.array([1, 3, 2], dtype=dtypes[0]), np.array([2, 1, 1], dtype=dtypes[1])
    (a, ta), (b, tb) = pair(a), pair(b)
    try:
        theirs = BINARY[name](torch, ta, tb)
    except (RuntimeError, NotImplementedError):
        with pytest.raises((RuntimeError, NotImplementedError)):
            BINARY[name](fg, a, b)
        return
    same(BINARY[name](fg, a, b), theirs)


@pytest.mark.parametrize("number", [2, 2.5, True, -3, 0.5])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "float64"])
def test_numbers_on_either_side(number, dtype):
    (a, ta) = pair(np.array([1, 3, 2], dtype=dtype))
    for f in (lambda x: x + number, lambda x: number - x, lambda x: x * number, lambda x: number / x, lambda x: x > number):
        try:
            theirs = f(ta)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                f(a)
            continue
        same(f(a), theirs)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, -2, 2.5])
def test_pow(exponent):
    check(lambda T, x: x**exponent, numbers((5,), "float64", 0.3))
    check(lambda T, x: exponent**x, numbers((5,), "float64", 0.3)) if exponent > 0 else None
    check(lambda T, x, y: x**y, numbers((5,), "float64", 0.3), numbers((5,), "float64"))


def test_pow_corners():
    base = np.array([0.0, 0.0, -2.0, 2.0, 0.0], dtype="float64")
    exponent = np.array([0.0, 2.0, 3.0, -1.0, 1.0], dtype="float64")
    check(lambda T, x, y: x**y, base, exponent)
    check(lambda T, x: x**0, base)


@pytest.mark.parametrize("run", [lambda x: x**-1, lambda x: x**-2, lambda x: 1 / x, lambda x: x.reciprocal(), lambda x: x**3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_at_zero_and_infinity_have_all_derivatives(run, dtype):
    def derivatives(T):
        found = T.tensor([0.0, -0.0, np.inf, -np.inf, 2.0, -0.5], dtype=getattr(T, dtype), requires_grad=True)
        x = found
        for _ in range(4):
            found = run(x) if found is x else T.autograd.grad(found.sum(), x, create_graph=True)[0]
            yield found.detach().numpy()

    for ours, theirs in zip(derivatives(fg), derivatives(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        assert (np.signbit(ours) == np.signbit(theirs)).all()


REDUCTIONS = {
    "sum": lambda T, x, d, k: x.sum(d, keepdim=k),
    "mean": lambda T, x, d, k: x.mean(d, keepdim=k),
    "amax": lambda T, x, d, k: x.amax(d, keepdim=k),
    "amin": lambda T, x, d, k: x.amin(d, keepdim=k),
    "var": lambda T, x, d, k: x.var(d, keepdim=k),
    "std": lambda T, x, d, k: x.std(d, keepdim=k),
    "logsumexp": lambda T, x, d, k: x.logsumexp(d, keepdim=k),
    "max": lambda T, x, d, k: x.max(d, keepdim=k).values if isinstance(d, int) else x.max(),
    "min": lambda T, x, d, k: x.min(d, keepdim=k).values if isinstance(d, int) else x.min(),
    "prod": lambda T, x, d, k: x.prod(d, keepdim=k) if isinstance(d, int) else x.prod(),
    "argmax": lambda T, x, d, k: x.argmax(d, keepdim=k) if isinstance(d, int) else x.argmax(),
    "argmin": lambda T, x, d, k: x.argmin(d, keepdim=k) if isinstance(d, int) else x.argmin(),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dim", [0, 1, -1, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("strided", [False, True])
def test_reductions(name, dim, keepdim, strided):
    array = numbers((2, 3, 4), "float64")
    function = REDUCTIONS[name]
    if strided:
        check(lambda T, x: function(T, x.transpose(0, 2), dim, keepdim), array)
    else:
        check(lambda T, x: function(T, x, dim, keepdim), array)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "std"])
def test_full_reductions(name):
    check(lambda T, x: getattr(x, name)(), numbers((3, 4), "float64"))
    ties = np.array([1.0, 3.0, 3.0, 0.0])
    if name in ("max", "min", "prod"):
        check(lambda T, x: getattr(x, name)(), ties)


def test_products_with_zeros():
    for zeros in ([0.0, 2.0, 3.0], [0.0, 0.0, 3.0]):
        check(lambda T, x: x.prod(), np.array(zeros))


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, dim):
    check(lambda T, x: getattr(T, name)(x, dim), numbers((3, 4), "float64"))


@pytest.mark.parametrize(
    "shapes",
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
     ((5, 2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)),
     ((2, 0), (0, 3)), ((0, 3), (3, 2)), ((64, 70), (70, 65))],
)
def test_matmul(shapes):
    check(lambda T, a, b: a @ b, numbers(shapes[0], "float64"), numbers(shapes[1], "float64"))


VIEWS = {
    "reshape": lambda T, x: x.reshape(4, 6),
    "view": lambda T, x: x.view(-1),
    "t": lambda T, x: x[0].t(),
    "transpose": lambda T, x: x.transpose(0, 2),
    "permute": lambda T, x: x.permute(2, 0, 1),
    "expand": lambda T, x: x[:, :1].expand(2, 5, 4),
    "squeeze": lambda T, x: x[:1].squeeze(),
    "unsqueeze": lambda T, x: x.unsqueeze(1),
    "flatten": lambda T, x: x.flatten(1),
    "integer": lambda T, x: x[1],
    "slices": lambda T, x: x[:, 1:, ::2],
    "ellipsis": lambda T, x: x[..., -1],
    "none": lambda T, x: x[None, :, None],
    "lists": lambda T, x: x[:, [0, 2, 0]],
    "pairs": lambda T, x: x[[0, 1], [2, 0]],
    "apart": lambda T, x: x[[0, 1], :, [3, 0]],
    "mask": lambda T, x: x[x > 0],
    "row mask": lambda T, x: x[:, T.tensor([True, False, True])],
    "tensor": lambda T, x: x[:, :, T.tensor([[0, 1], [3, 3]])],
    "unbind": lambda T, x: x.unbind(1)[2],
    "cat": lambda T, x: T.cat([x, x * 2, x[:1]], 0),
    "stack": lambda T, x: T.stack([x, x * 3], 1),
    "contiguous": lambda T, x: x.permute(2, 1, 0).contiguous(),
    "clone": lambda T, x: x.permute(2, 1, 0).clone(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_and_indexing(name):
    array = numbers((2, 3, 4), "float64")
    check(VIEWS[name], array)
    ours, theirs = VIEWS[name](fg, fg.tensor(array)), VIEWS[name](torch, torch.tensor(array))
    if theirs._base is not None or name == "clone":
        assert ours.stride() == theirs.stride()


def in_place(write):
    """A function that writes into a copy of its first argument and returns it times a number."""

    def run(T, x, v):
        y = x * 1.5
        write(T, y, v)
        return y * 2.0

    return run


WRITES = {
    "add_": lambda T, y, v: y.add_(v),
    "mul_": lambda T, y, v: y.mul_(v),
    "isub": lambda T, y, v: y.__isub__(v),
    "copy_": lambda T, y, v: y.copy_(v),
    "zero_": lambda T, y, v: y.zero_(),
    "fill_": lambda T, y, v: y.fill_(3.0),
    "exp_": lambda T, y, v: y.exp_(),
    "row": lambda T, y, v: y.__setitem__(0, v),
    "column": lambda T, y, v: y.__setitem__((slice(None), 1), v[:2]),
    "number": lambda T, y, v: y.__setitem__((slice(None), slice(1, None)), 7.0),
    "view": lambda T, y, v: y[0].mul_(v),
    "view of view": lambda T, y, v: y.t()[1].mul_(2.0),
    "indices": lambda T, y, v: y.__setitem__([1, 0], v),
    "mask": lambda T, y, v: y.__setitem__(y > 0, 0.25),
    "pairs": lambda T, y, v: y.__setitem__(([0, 1], [2, 0]), v[:2]),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_in_place(name):
    check(in_place(WRITES[name]), numbers((2, 3), "float64"), numbers((3,), "float64"))


def test_views_follow_their_base():
    for T in (fg, torch):
        x = T.ones(3, requires_grad=True)
        y = x * 2
        view = y[1:]
        y.mul_(3)
        assert view.tolist() == [6.0, 6.0]
        view.sum().backward()
        assert x.grad.tolist() == [0.0, 6.0, 6.0]


CLAMPS = [dict(min=-1.0), dict(max=1.0), dict(min=-1.0, max=1.0), dict(min=1.0, max=-1.0)]


@pytest.mark.parametrize("bounds", CLAMPS)
def test_clamp(bounds):
    check(lambda T, x: x.clamp(**bounds), np.array([-2.0, -1.0, 0.0, 1.0, 2.0, math.nan]))


def test_second_derivatives():
    for name in ("tanh", "sigmoid", "exp", "sin", "sqrt", "log"):
        found = []
        for T in (fg, torch):
            x = T.tensor([0.3, 1.2], dtype=T.float64, requires_grad=True)
            (g,) = T.autograd.grad(getattr(T, name)(x).sum(), x, create_graph=True)
            (h,) = T.autograd.grad((g * g).sum(), x)
            found.append(h.tolist())
        np.testing.assert_allclose(*found, rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 1234, 2**40 + 5])
@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 100, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_numbers(seed, n, dtype):
    drawn = []
    for T in (fg, torch):
        T.manual_seed(seed)
        kind = getattr(T, dtype)
        drawn.append((T.rand(n, dtype=kind).numpy(), T.randn(n, dtype=kind).numpy(), T.rand(2, dtype=kind).numpy()))
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    np.testing.assert_allclose(drawn[0][1], drawn[1][1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(drawn[0][2], drawn[1][2])


def texts():
    draws = np.random.default_rng(3)
    for scale in (1e-6, 1e-3, 1.0, 1e3, 1e9):
        for shape in ((), (1,), (5,), (30,), (2, 3), (2, 3, 4), (0,), (0, 3), (50, 30), (2000,)):
            array = draws.normal(size=shape) * scale
            yield np.asarray(array, dtype="float32")
            yield np.asarray(array, dtype="float64")
            yield np.asarray(np.round(array), dtype="float32")
            yield np.asarray(np.clip(array, -1e9, 1e9), dtype="int64")
            yield np.asarray(array > 0)
    yield np.array([1.0, math.nan, math.inf, -math.inf], dtype="float32")
    yield np.array([math.nan, math.inf], dtype="float32")
    yield np.array([0.0, -0.0], dtype="float32")
    yield np.array([1e10, 1.0], dtype="float32")
    yield np.array([1, 2], dtype="uint8")
    yield np.array([1.0, 100000.0], dtype="float32")
    yield np.array([0.1, 1e-5], dtype="float32")


def test_texts():
    for array in texts():
        ours, theirs = pair(array)
        assert repr(ours) == repr(theirs)
        if array.dtype.kind == "f":
            assert repr(ours.requires_grad_()) == repr(theirs.requires_grad_())
            assert repr(ours * 2) == repr(theirs * 2)


@pytest.mark.parametrize("arguments", [(5,), (1, 6), (1, 7, 2), (0.0, 1.0, 0.25), (5, 0, -2), (0, 0)])
def test_arange(arguments):
    same(fg.arange(*arguments), torch.arange(*arguments))


@pytest.mark.parametrize("arguments", [(0, 1, 5), (-2, 2, 1000), (3, 3, 1), (1, 2, 0), (5, -5, 11)])
def test_linspace(arguments):
    for dtype in ("float32", "float64"):
        ours = fg.linspace(*arguments, dtype=getattr(fg, dtype))
        same(ours, torch.linspace(*arguments, dtype=getattr(torch, dtype)))


def graph(f) -> list[str]:
    """The names of a graph's nodes, depth first, with None where an input needs no gradient."""
    names, todo = [], [f]
    while todo:
        node = todo.pop()
        if node is None:
            names.append("None")
            continue
        names.append(node.name())
        assert type(node).__name__ == node.name().removeprefix("torch::autograd::")
        assert repr(node).startswith(f"<{type(node).__name__} object at 0x")
        todo += [n for n, _ in reversed(node.next_functions)]
    return names


def graphs(expression: str) -> None:
    """The same graph in both libraries of what an expression of x and y, or a statement that changes z = 1 * x, gives."""
    found = []
    for T in (fg, torch):
        x = T.tensor([1.5, 2.5], requires_grad=True)
        y = T.tensor([0.5, 1.25], requires_grad=True)
        names = {"T": T, "x": x, "y": y, "c": T.tensor([2.0, 3.0]), "z": x * 1}
        try:
            result = eval(expression, names)
        except SyntaxError:
            exec(expression, names)
            result = names["z"]
        found.append(None if result.grad_fn is None else graph(result.grad_fn))
    assert found[0] == found[1]


@pytest.mark.parametrize("sign", "+ - * / ** // %".split())
def test_graphs_of_operators(sign):
    for number in ("2", "3.5", "(-1)", "0.5"):
        for expression in (f"x {sign} {number}", f"{number} {sign} x", f"z {sign}= {number}"):
            graphs(expression)
    for expression in (f"x {sign} y", f"x {sign} c", f"c {sign} x", f"x {sign} T.tensor(2.0)", f"z {sign}= y"):
        graphs(expression)


@pytest.mark.parametrize("name", "add sub mul div floor_divide remainder pow".split())
def test_graphs_of_functions(name):
    for other in ("2", "0.5", "y", "c"):
        for expression in (f"T.{name}(x, {other})", f"x.{name}({other})", f"z.{name}_({other})"):
            graphs(expression)


GRAPHS = """T.pow(2, x); T.rsub(x, 2); T.rsub(x, y); x.reciprocal(); x.square(); -x; abs(x); x.floor(); x.sign()
x.sum(); x.sum(0); x.sum(dim=()); x.sum(dim=None); x.sum(None, True); x.sum(dtype=T.float64); x.mean(); x.mean(0)
x.mean(dim=()); x.mean(dtype=T.float64); x.prod(); x.prod(0); x.prod(0, dtype=T.float64); x.var(); x.std(0)
x.logsumexp(0); x.softmax(0); x.softmax(0, dtype=T.float64); x.log_softmax(0); x.max(); x.max(0).values; x.min(y)
x.amax(); x.amin(0); x.clamp(0); x.clamp(0, 1); x.clamp(max=1); x.clamp(y); x.clamp(y, y); x.clamp(max=y)
x.clamp_min(0); x.clamp_min(y); x.clamp_max(0); x.clamp_max(y); T.where(x > 0, x, y); T.where(x > 0, x, 2)
T.where(x > 0, 1.0, y); T.maximum(x, y); x.reshape(2, 1); x.view(-1); x.flatten(); x.unsqueeze(0).flatten(1); x.t()
x.unsqueeze(0).squeeze(); x.unsqueeze(0).squeeze(0); x.unsqueeze(0).squeeze((0,)); x.expand(3, 2); x.expand(2)
x.expand(3, 2).flatten(); x.permute(0); x.unsqueeze(0).T; x.narrow(0, 0, 1); x.unbind()[1]; list(x)[0]; x.flip(0)
x.double(); x.to(T.float64); x.clone(); x.expand(3, 2).contiguous(); x[0]; x[0:1]; x[:]; x[...]; x[None]; x[..., 0]
x[[0, 1]]; x[x > 0]; x[T.tensor([0])]; x[True]; x[None, 0]; x[1:, None]; x @ y; x @ y.expand(2, 2)
x.expand(2, 2) @ y; x.expand(2, 2) @ y.expand(2, 2); T.cat([x, y]); T.stack([x, y]); z[0] = 1; z[0] = y[0]; z[:] = 1
z[:] = y; z[...] = y; z[[0, 1]] = y; z[[0]] = 1; z[z > 0] = 1; z.zero_(); z.fill_(2); z.fill_(y[0]); z.copy_(y)
z.copy_(y[0]); z[0].mul_(2); z.view(2, 1).mul_(2); z.view(2).add_(y); z[1:].exp_(); z.view(2)[[0, 1]] = y
z.clamp_(0, 1); z.clamp_(0); z.clamp_min_(0); z.reciprocal_(); v = z[0]; z.mul_(2); z = v"""


@pytest.mark.parametrize("line", GRAPHS.replace("z[0]; z.mul_(2); z = v", "z[0]\nz.mul_(2)\nz = v").split("; "))
def test_graphs(line):
    for expression in [line] if "v =" in line else line.split("\n"):
        graphs(expression)


def test_nodes_are_objects_of_their_own():
    x = fg.tensor([1.0], requires_grad=True)
    y = x * 2
    node = y.grad_fn
    assert node is y.grad_fn and node == y.grad_fn and hash(node) == hash(y.grad_fn)
    assert node != (x * 2).grad_fn
    assert node.next_functions[0][0] is (x + 1).grad_fn.next_functions[0][0]
    assert isinstance(node, fg._ferrograd.Node)
    with pytest.raises(AttributeError):
        node.variable


@pytest.mark.parametrize("write", ["z[0].mul_(v[0])", "z[1:].mul_(v[:1])", "z.view(2)[:1].div_(v[1])", "z[0].exp_()", "z[:1][[0]] = v[:1]"])
def test_operations_on_windows(write):
    """An operation in place on a view gives torch's first and second derivatives, also when run twice."""
    found = []
    for T in (fg, torch):
        x = T.tensor([0.5, 1.5], dtype=T.float64, requires_grad=True)
        v = T.tensor([2.0, 3.0], dtype=T.float64, requires_grad=True)
        z = x * x
        exec(write, {"z": z, "v": v})
        loss = (z * z).sum()
        loss.backward(retain_graph=True)
        (g,) = T.autograd.grad(loss, x, create_graph=True)
        (h,) = T.autograd.grad((g * g).sum(), x)
        found.append([x.grad.tolist(), [] if v.grad is None else v.grad.tolist(), h.tolist()])
    assert found[0] == found[1]


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, -0.5, -1, -2, 0.0, 2.0, 4, 1.5, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_by_numbers(exponent, dtype):
    """Values to the bit where torch has a formula, and gradients, also at zero, below it, and at infinities."""
    specials = [0.0, -0.0, 1.0, -2.0, 2.5, -0.3, math.inf, -math.inf, math.nan, 1e-30, 1e30]
    array = np.array(specials, dtype=dtype)
    for function in (lambda T, x: x**exponent, lambda T, x: T.pow(x, exponent), lambda T, x: (x * 1).pow_(exponent)):
        check(function, array, atol=0)
        check(function, array[3], atol=0)
    if exponent not in (4, 1.5):
        (ours, theirs) = pair(array)
        np.testing.assert_array_equal((ours**exponent).numpy(), (theirs**exponent).numpy())


@pytest.mark.parametrize("base", [0, 0.0, 1, 2, 2.5, -1.5])
def test_powers_of_numbers(base):
    check(lambda T, x: base**x, np.array([0.0, 1.0, 2.0, -1.0, 0.5, 3.0]), atol=0)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integer_powers(dtype):
    for exponent in (0, 1, 2, 3, 7, 0.5, 2.0, -0.5):
        check(lambda T, x: x**exponent, np.array([0, 1, 2, 3, 5, 200], dtype=dtype))
    for exponent in (-1, -2):
        with pytest.raises(RuntimeError, match="negative integer powers"):
            fg.tensor([1, 2]) ** exponent
    same(fg.tensor([True, False]) ** 2, torch.tensor([True, False]) ** 2)

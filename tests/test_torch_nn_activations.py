"""Activations of `nn.functional` in both libraries: values, dtypes, special numbers, gradients, nodes, errors, forms in place."""

import math

import numpy as np
import pytest
from comparison import compare, same

import ferrograd as fg
import ferrograd.nn.functional as fgF

torch = pytest.importorskip("torch")
F = torch.nn.functional

#: What a call takes beside the tensor.
CALLS = {
    "relu": [()],
    "relu6": [()],
    "hardtanh": [(), (-0.5, 2.25)],
    "leaky_relu": [(), (0.3,), (-0.5,)],
    "elu": [(), (0.7,)],
    "rrelu": [(), (0.25, 0.75)],
    "selu": [()],
    "celu": [(), (2.0,), (-0.5,)],
    "silu": [()],
    "mish": [()],
    "gelu": [()],
    "softplus": [(), (2.5, 3.0), (0.5, 40)],
    "logsigmoid": [()],
    "softsign": [()],
    "tanhshrink": [()],
    "softshrink": [(), (1.25,), (0,)],
    "hardshrink": [(), (1.25,)],
    "hardsigmoid": [()],
    "hardswish": [()],
    "threshold": [(0.5, 2.75), (1, -3)],
    "tanh": [()],
    "sigmoid": [()],
    "glu": [(), (0,)],
    "softmax": [(-1,), (0,)],
    "softmin": [(-1,), (0,)],
    "log_softmax": [(-1,), (0,)],
}
CASES = [(name, arguments) for name, all_of_it in CALLS.items() for arguments in all_of_it]
IN_PLACE = "relu relu6 hardtanh leaky_relu elu rrelu selu celu silu mish hardsigmoid hardswish threshold".split()
ALONG = ("glu", "softmax", "softmin", "log_softmax")
SPECIALS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 1000.0, -1000.0, 20.0, 1e-30] * 2


#: Where torch's double-precision derivatives have constants of single precision; of these there is no second derivative.
ROUGH = {"hardsigmoid": 1e5}


def module(T):
    return T.nn.functional


def numbers(shape, dtype="float64"):
    return np.random.default_rng(7).uniform(-5, 5, size=shape).astype(dtype)


@pytest.mark.parametrize("name, arguments", CASES)
@pytest.mark.parametrize("shape", [(4, 6), (2,), (2, 0), (700, 2), (2, 4, 2, 2)])
def test_values_and_gradients(name, arguments, shape):
    for dtype in ("float64", "float32"):
        compare(lambda T, x: getattr(module(T), name)(x, *arguments), numbers(shape, dtype), second=dtype == "float64" and name not in ROUGH, scale=ROUGH.get(name, 1))


@pytest.mark.parametrize("name, arguments", [case for case in CASES if case[0] not in ALONG])
def test_one_element(name, arguments):
    compare(lambda T, x: getattr(module(T), name)(x, *arguments), np.array(1.7), second=name not in ROUGH, scale=ROUGH.get(name, 1))
    compare(lambda T, x: getattr(module(T), name)(x, *arguments), np.array(-1.7), second=name not in ROUGH, scale=ROUGH.get(name, 1))


@pytest.mark.parametrize("name, arguments", CASES)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "bfloat16"])
def test_dtypes(name, arguments, dtype):
    compare(lambda T, x: getattr(module(T), name)(T.as_tensor(x).to(getattr(T, dtype)), *arguments), numbers((2, 64)), grad=False)


@pytest.mark.parametrize("name, arguments", [case for case in CASES if case[0] not in ALONG])
def test_special_numbers(name, arguments):
    # There are many: torch's rule for few differs where there is no number, and so does that of gelu in single precision.
    dtype = "float64" if name == "gelu" else "float32"
    x, y = (T.tensor(SPECIALS, dtype=getattr(T, dtype), requires_grad=True) for T in (fg, torch))
    ours, theirs = getattr(fgF, name)(x, *arguments), getattr(F, name)(y, *arguments)
    same(ours, theirs)
    ours.sum().backward()
    theirs.sum().backward()
    same(x.grad, y.grad, ROUGH.get(name, 1) if dtype == "float64" else 1)
    for n in range(16):
        same(getattr(fgF, name)(x[n].detach(), *arguments), theirs[n])


@pytest.mark.parametrize("name, arguments", [case for case in CASES if case[0] in IN_PLACE and (not case[1] or case[1][0] > 0 or case[0] == "hardtanh")])
def test_in_place(name, arguments):
    def call(T, x):
        y = x * 1.5
        z = getattr(module(T), name)(y, *arguments, inplace=True)
        assert z is y
        return z

    # torch's nodes of some of these end with another number, and it has no gradient for negative slopes.
    compare(call, numbers((3, 5)), names=False, second=name not in ROUGH, scale=ROUGH.get(name, 1))
    if hasattr(F, name + "_"):
        compare(lambda T, x: getattr(module(T), name + "_")(x * 1.5, *arguments), numbers((3, 5)), names=False, second=name not in ROUGH, scale=ROUGH.get(name, 1))
    given = numbers(7)
    ours, theirs = fg.tensor(given), torch.tensor(given)
    assert getattr(fgF, name)(ours, *arguments, inplace=True) is ours
    getattr(F, name)(theirs, *arguments, inplace=True)
    same(ours, theirs)


def test_gelu_by_tanh():
    for shape in ((3, 5), (), (900,)):
        compare(lambda T, x: module(T).gelu(x, approximate="tanh"), numbers(shape))
    compare(lambda T, x: module(T).gelu(x, approximate="other"), numbers(3))
    compare(lambda T, x: module(T).gelu(x, "tanh"), numbers(3))


@pytest.mark.parametrize("shape, count", [((4, 3), 3), ((4, 3), 1), ((2, 3, 2, 2), 3), ((3,), 1), ((3,), 3), ((4, 3), 2), ((), 1)])
def test_prelu(shape, count):
    weight = np.linspace(-0.5, 0.8, count)
    compare(lambda T, x, w: module(T).prelu(x, w), numbers(shape), weight)
    compare(lambda T, x, w: x.prelu(w), numbers(shape), weight)
    compare(lambda T, x, w: T.prelu(x, w.float()), numbers(shape), weight)
    compare(lambda T, x, w: T.prelu(x, w.reshape(1, -1)), numbers(shape), weight)


def test_names_in_the_package():
    for name in ("celu", "selu", "hardshrink", "softmax", "log_softmax", "prelu", "relu"):
        assert hasattr(torch, name) and hasattr(fg, name)
    compare(lambda T, x: T.celu(x, 0.5), numbers(5))
    compare(lambda T, x: T.threshold(x, 0.1, 20), numbers(5))
    compare(lambda T, x: T.selu(x), numbers(5))
    compare(lambda T, x: T.hardshrink(x, 0.1), numbers(5))
    compare(lambda T, x: x.hardshrink(), numbers(5))
    for name in ("celu_", "selu_", "relu_"):
        compare(lambda T, x: getattr(T, name)(x * 1.0), numbers(5), names=False)
    x = fg.tensor([-1.0, 2.0])
    assert fgF.relu(x, True) is x and x.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 2)])
def test_implicit_dimension(name, shape):
    x = numbers(shape)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        ours = getattr(fgF, name)(fg.tensor(x))
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        theirs = getattr(F, name)(torch.tensor(x))
    same(ours, theirs)
    compare(lambda T, x: getattr(module(T), name)(x, dim=-1, dtype=T.float32), x, grad=False)


@pytest.mark.parametrize("call", [
    lambda T, x: module(T).hardtanh(x, 2, 1),
    lambda T, x: module(T).softshrink(x, -1),
    lambda T, x: module(T).rrelu(x, 2, 1),
    lambda T, x: module(T).glu(x),
    lambda T, x: module(T).glu(x[0]),
    lambda T, x: module(T).glu(x, 5),
    lambda T, x: module(T).celu(x, 0),
    lambda T, x: module(T).elu(x, alpha="a"),
    lambda T, x: module(T).relu("a"),
    lambda T, x: module(T).threshold(x, 1),
    lambda T, x: module(T).softmax(x, dim=3),
    lambda T, x: module(T).silu(x, True, 3),
])
def test_errors(call):
    compare(call, numbers(3))


@pytest.mark.parametrize("name, arguments", CASES)
def test_forward_mode_and_vmap(name, arguments):
    call = lambda x: getattr(fgF, name)(x, *arguments)
    x = fg.tensor(numbers((4, 6)))
    direction = fg.tensor(np.random.default_rng(8).uniform(-1, 1, size=(4, 6)))
    _, forward = fg.func.jvp(call, (x,), (direction,))
    theirs = torch.func.jvp(lambda x: getattr(F, name)(x, *arguments), (torch.tensor(numbers((4, 6))),), (torch.tensor(direction.numpy()),))[1]
    same(forward, theirs, ROUGH.get(name, 1))
    rows = [getattr(F, name)(row, *arguments) for row in torch.tensor(numbers((4, 6)))]
    same(fg.vmap(call)(x), torch.stack(rows))

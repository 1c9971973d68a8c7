"""autograd.functional and the arguments of `grad` and `backward`, held against torch: values, histories, errors."""

import itertools
import warnings

import numpy as np
import pytest
from test_func import agree, fail_alike
from trees import same

import ferrograd as fg
from ferrograd.autograd import functional

RNG = np.random.default_rng(8)
X, Y = RNG.normal(size=(2, 3)), RNG.normal(size=3)
MATRIX = RNG.normal(size=(4, 3))

#: Functions of one or two inputs, by library.
VECTORS = {
    "square": lambda T: lambda x: x**2,
    "matrix": lambda T: lambda x: T.tanh(x @ T.tensor(MATRIX).t()),
    "reduction": lambda T: lambda x: x.exp().sum(1),
    "linear": lambda T: lambda x: x * 3,
    "several outputs": lambda T: lambda x: (x.sin(), x.sum(0), (x**2).sum()),
    "independent": lambda T: lambda x: (x * 2, T.ones(2, dtype=T.float64)),
    "constant": lambda T: lambda x: T.ones(2, dtype=T.float64),
    "identity": lambda T: lambda x: x,
    "two inputs": lambda T: lambda x, y: x.exp() * y,
    "two of each": lambda T: lambda x, y: (x @ y, y**2),
    "one of two": lambda T: lambda x, y: x.sin(),
}
SCALARS = {
    "cubes": lambda T: lambda x: (x**3).sum(),
    "matrix": lambda T: lambda x: T.tanh(x @ T.tensor(MATRIX).t()).pow(2).sum(),
    "linear": lambda T: lambda x: (x * 3).sum(),
    "one element": lambda T: lambda x: (x**3).sum().reshape(1, 1),
    "constant": lambda T: lambda x: T.ones((), dtype=T.float64),
    "two inputs": lambda T: lambda x, y: (x.exp() * y).sum() ** 2,
    "one of two": lambda T: lambda x, y: (x.sin() * x).sum(),
    "linear in one": lambda T: lambda x, y: (x.sin() * y).sum(),
}


def inputs(T, name, requires_grad=False):
    given = [T.tensor(X), T.tensor(Y)][: 2 if "two" in name or name == "linear in one" else 1]
    given = [t.requires_grad_(requires_grad) for t in given]
    return given[0] if len(given) == 1 else tuple(given)


def like(T, value):
    """A vector like a value, always the same."""
    if isinstance(value, tuple):
        return tuple(like(T, v) for v in value)
    return T.tensor(np.random.default_rng(value.numel()).normal(size=tuple(value.shape)))


def library(T):
    return functional if T is fg else T.autograd.functional


@pytest.mark.parametrize("create_graph, requires_grad", [*itertools.product([False, True], repeat=2)])
@pytest.mark.parametrize("name", VECTORS)
def test_products_with_jacobians(name, create_graph, requires_grad):
    f = VECTORS[name]

    def vjp(T, F):
        given = inputs(T, name, requires_grad)
        value = f(T)(*(given if isinstance(given, tuple) else (given,)))
        return library(T).vjp(f(T), given, like(T, value), create_graph=create_graph)

    def jvp(T, F):
        given = inputs(T, name, requires_grad)
        return library(T).jvp(f(T), given, like(T, given), create_graph=create_graph)

    agree(vjp)
    agree(jvp)


@pytest.mark.parametrize("create_graph, requires_grad", [*itertools.product([False, True], repeat=2)])
@pytest.mark.parametrize("name", SCALARS)
def test_products_with_hessians(name, create_graph, requires_grad):
    f = SCALARS[name]
    for product in ("hvp", "vhp"):

        def call(T, F):
            given = inputs(T, name, requires_grad)
            return getattr(library(T), product)(f(T), given, like(T, given), create_graph=create_graph)

        agree(call)


@pytest.mark.parametrize("create_graph, requires_grad", [*itertools.product([False, True], repeat=2)])
@pytest.mark.parametrize("vectorize", [False, True])
@pytest.mark.parametrize("name", VECTORS)
def test_jacobians(name, vectorize, create_graph, requires_grad):
    f = VECTORS[name]

    def call(T, F):
        return library(T).jacobian(f(T), inputs(T, name, requires_grad), create_graph=create_graph, vectorize=vectorize)

    found = call(fg, None)
    torch = pytest.importorskip("torch")

    expected = call(torch, None)
    if create_graph and (isinstance(found, tuple) or name == "constant"):
        # torch's zeros and constants have a history in some of these, and in others none.
        detach = lambda t: tuple(map(detach, t)) if isinstance(t, tuple) else t.detach()
        found, expected = detach(found), detach(expected)
    same(found, expected)


@pytest.mark.parametrize("name", [n for n in VECTORS if n != "constant"])
def test_jacobians_by_forward_mode(name):
    f = VECTORS[name]
    agree(lambda T, F: library(T).jacobian(f(T), inputs(T, name), vectorize=True, strategy="forward-mode"))


@pytest.mark.parametrize("vectorize, strategy", [(False, "reverse-mode"), (True, "reverse-mode"), (True, "forward-mode")])
@pytest.mark.parametrize("name", SCALARS)
def test_hessians(name, vectorize, strategy):
    if strategy == "forward-mode" and name in ("constant", "linear"):
        return
    f = SCALARS[name]
    agree(lambda T, F: library(T).hessian(f(T), inputs(T, name), vectorize=vectorize, outer_jacobian_strategy=strategy))


def test_hessians_that_can_be_differentiated():
    def third(T, F):
        x = T.tensor(Y).requires_grad_()
        h = library(T).hessian(lambda x: (x**4).sum(), x, create_graph=True)
        return h, T.autograd.grad(h.sum(), x)

    agree(third)
    x = fg.tensor(Y, requires_grad=True)
    assert fg.autograd.gradcheck(lambda x: functional.jacobian(lambda x: x**3, x, create_graph=True), x)
    assert fg.autograd.gradcheck(lambda x: functional.hvp(lambda x: (x**4).sum(), x, x, create_graph=True)[1], x)


def test_hessians_that_are_not_symmetric():
    """`H v` and `v^T H` differ where a derivative is not one: the gradient that a function claims."""

    def products(T, F):
        class Claimed(T.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return (x * x).sum()

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * T.stack([x[0] * x[1], x[1], x[2] * x[0]])

        x, v = T.tensor(Y), T.tensor(Y[::-1].copy())
        lib = library(T)
        return lib.hvp(Claimed.apply, x, v), lib.vhp(Claimed.apply, x, v), lib.hessian(Claimed.apply, x)

    agree(products)


def test_strict():
    lib = library
    functions = {**VECTORS, **SCALARS}
    for name, function in itertools.product(functions, ("vjp", "jvp", "jacobian", "hvp", "vhp", "hessian")):
        second = function in ("hvp", "vhp", "hessian")
        if (name in VECTORS) == second and name not in ("constant",):
            continue
        f = (SCALARS if second else VECTORS).get(name)
        if f is None:
            continue
        for create_graph in (False, True):

            def call(T, F):
                given = inputs(T, name, True)
                extra = ()
                if function == "vjp":
                    extra = (like(T, f(T)(*(given if isinstance(given, tuple) else (given,)))),)
                elif function in ("jvp", "hvp", "vhp"):
                    extra = (like(T, given),)
                return getattr(lib(T), function)(f(T), given, *extra, create_graph=create_graph, strict=True)

            torch = pytest.importorskip("torch")

            try:
                expected = call(torch, None)
            except RuntimeError as error:
                part = str(error).split(". ")[0].split(" of the user-provided")[0]
                fail_alike(call, message=part)
            else:
                same(call(fg, None), expected)


def test_strict_hessians_of_what_has_no_second_derivative():
    message = "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is"
    linear = lambda a: (3 * a).sum()
    unused = lambda a: a.detach().requires_grad_().clone().sum()
    for f in (linear, unused):
        fail_alike(lambda T, F: library(T).hessian(f, T.ones(3), strict=True), message=message.format(0))
    fail_alike(lambda T, F: library(T).hessian(lambda a, b: (a**2).sum(), (T.ones(2), T.ones(2)), strict=True), message=message.format(1))


MISUSE = {
    "no tensor": lambda lib, T: lib.jacobian(lambda x: x, 1.0),
    "a list": lambda lib, T: lib.vjp(lambda x: x, [T.ones(2)], T.ones(2)),
    "a tuple of others": lambda lib, T: lib.hvp(lambda x: x, (T.ones(2), 1.0)),
    "output": lambda lib, T: lib.jacobian(lambda x: 1.0, T.ones(2)),
    "outputs": lambda lib, T: lib.jacobian(lambda x: (x, 1.0), T.ones(2)),
    "no v": lambda lib, T: lib.vjp(lambda x: x, T.ones(2)),
    "no v of jvp": lambda lib, T: lib.jvp(lambda x: x, T.ones(2)),
    "no v of hvp": lambda lib, T: lib.hvp(lambda x: x.sum(), T.ones(2)),
    "size of v": lambda lib, T: lib.vjp(lambda x: x, T.ones(2), T.ones(3)),
    "number of v": lambda lib, T: lib.vjp(lambda x: x, T.ones(2), (T.ones(2), T.ones(2))),
    "number of v for two": lambda lib, T: lib.jvp(lambda x, y: x, (T.ones(2), T.ones(2)), T.ones(2)),
    "size of v for two": lambda lib, T: lib.jvp(lambda x, y: x, (T.ones(2), T.ones(2)), (T.ones(2), T.ones(1))),
    "v": lambda lib, T: lib.vjp(lambda x: x, T.ones(2), 1.0),
    "hessian of a vector": lambda lib, T: lib.hessian(lambda x: x, T.ones(2)),
    "hessian of a tuple": lambda lib, T: lib.hessian(lambda x: (x.sum(),), T.ones(2)),
    "vhp of a vector": lambda lib, T: lib.vhp(lambda x: x, T.ones(2), T.ones(2)),
    "strategy": lambda lib, T: lib.jacobian(lambda x: x, T.ones(2), strategy="sideways"),
    "strategy of the hessian": lambda lib, T: lib.hessian(lambda x: x.sum(), T.ones(2), outer_jacobian_strategy="sideways"),
    "forward mode alone": lambda lib, T: lib.jacobian(lambda x: x, T.ones(2), strategy="forward-mode"),
    "forward mode with graph": lambda lib, T: lib.jacobian(lambda x: x, T.ones(2), create_graph=True, strategy="forward-mode"),
    "strict forward mode": lambda lib, T: lib.jacobian(lambda x: x, T.ones(2), strict=True, vectorize=True, strategy="forward-mode"),
    "strict and together": lambda lib, T: lib.jacobian(lambda x: x, T.ones(2), strict=True, vectorize=True),
    "integers": lambda lib, T: lib.jacobian(lambda x: x, T.tensor([1])),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name):
    fail_alike(lambda T, F: MISUSE[name](library(T), T))


def test_vectors_may_be_left_out_for_one_element():
    one = lambda T: T.tensor([2.0], dtype=T.float64)
    agree(lambda T, F: library(T).vjp(lambda x: (x**3).sum(), one(T)))
    agree(lambda T, F: library(T).jvp(lambda x: x**3, one(T)))
    agree(lambda T, F: library(T).hvp(lambda x: (x**3).sum(), one(T)))
    agree(lambda T, F: library(T).vhp(lambda x: (x**3).sum(), one(T)))


def test_jacobians_in_parts(monkeypatch):
    x = fg.tensor(X)
    f = lambda x: (x.sin() * x.sum(), x**2)
    whole = functional.jacobian(f, x)
    monkeypatch.setattr(functional, "_TOGETHER", 12)
    same(functional.jacobian(f, x), whole)
    same(functional.jacobian(f, x, strict=True), whole)
    monkeypatch.setattr(functional, "_TOGETHER", 1)
    same(functional.jacobian(f, x), whole)


def test_jacobians_through_functions_of_python():
    class Cube(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return fg.tensor(x.detach().numpy() ** 3)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return fg.tensor(3 * x.detach().numpy() ** 2 * g.numpy())

    same(functional.jacobian(Cube.apply, fg.tensor(Y)), functional.jacobian(lambda x: x**3, fg.tensor(Y)))


def leaf(T, values=Y):
    return T.tensor(np.array(values), requires_grad=True)


def library_grad(T):
    return T.autograd.grad


GRADS = {
    "plain": lambda T, x: T.autograd.grad((x**2).sum(), x),
    "weighted": lambda T, x: T.autograd.grad(x**2, x, T.tensor(Y)),
    "several roots": lambda T, x: T.autograd.grad([x**2, x.sum(), x * 0], [x], [T.tensor(Y), None, T.tensor(Y)]),
    "one root twice": lambda T, x: (lambda y: T.autograd.grad([y, y], x))((x**2).sum()),
    "a leaf as root": lambda T, x: T.autograd.grad(x, x, T.tensor(Y)),
    "an input twice": lambda T, x: T.autograd.grad((x**2).sum(), [x, x]),
    "an intermediate": lambda T, x: (lambda y: T.autograd.grad((y**2).sum(), [y, x]))(x * 3),
    "unused": lambda T, x: T.autograd.grad((x**2).sum(), [x, leaf(T)], allow_unused=True)[0],
    "materialized": lambda T, x: T.autograd.grad((x**2).sum(), [x, leaf(T)], materialize_grads=True),
    "materialized with graph": lambda T, x: T.autograd.grad((x**2).sum(), [x, leaf(T)], materialize_grads=True, create_graph=True),
    "a dict": lambda T, x: T.autograd.grad((x**2).sum(), {"a": x, "b": x}),
    "batched": lambda T, x: T.autograd.grad(x**2, x, T.eye(3, dtype=T.float64), is_grads_batched=True),
    "batched with graph": lambda T, x: T.autograd.grad(x**2, x, T.eye(3, dtype=T.float64), is_grads_batched=True, create_graph=True),
    "batched roots": lambda T, x: T.autograd.grad([x**2, x.sum()], x, [T.eye(3, dtype=T.float64), T.tensor(Y)], is_grads_batched=True),
    "batched materialized": lambda T, x: T.autograd.grad([x**2], [x], [T.eye(3, dtype=T.float64)], is_grads_batched=True, materialize_grads=True),
    "no elements": lambda T, x: T.autograd.grad(x[:0], x, T.zeros(0, dtype=T.float64)),
    "no elements in": lambda T, x: (lambda z: T.autograd.grad((z * 2).sum(), z))(leaf(T, np.zeros((0, 2)))),
    "another dtype": lambda T, x: T.autograd.grad(x.sum(), x, T.tensor(2.0)),
    "positional": lambda T, x: T.autograd.grad((x**2).sum(), x, None, True, True, True, True, False, False),
    "an edge": lambda T, x: (lambda y: T.autograd.grad((y**2).sum(), T.autograd.graph.get_gradient_edge(y)))(x * 3),
    "from an edge": lambda T, x: (lambda y: T.autograd.grad(T.autograd.graph.get_gradient_edge(y), x, T.tensor(Y)))(x**2),
    "second": lambda T, x: (lambda g: (g, T.autograd.grad(g.sum(), x)))(T.autograd.grad((x**3).sum(), x, create_graph=True)[0]),
}


@pytest.mark.parametrize("name", GRADS)
def test_arguments_of_grad(name):
    agree(lambda T, F: GRADS[name](T, leaf(T)))


def test_unused_inputs_give_none():
    x, other = leaf(fg), leaf(fg)
    assert fg.autograd.grad((x**2).sum(), [x, other], allow_unused=True)[1] is None
    batch = fg.eye(3, dtype=fg.float64)
    assert fg.autograd.grad(x**2, [x, other], batch, is_grads_batched=True, allow_unused=True)[1] is None


BAD_GRADS = {
    "unused": (lambda T, x: T.autograd.grad((x**2).sum(), [leaf(T)]), "appears to not have been used in the graph"),
    "no gradient": (lambda T, x: T.autograd.grad(T.ones(1), x), "element 0 of tensors does not require grad and does not have a grad_fn"),
    "an input without": (lambda T, x: T.autograd.grad(x.sum(), T.ones(1)), "One of the differentiated Tensors does not require grad"),
    "no scalar": (lambda T, x: T.autograd.grad(x**2, x), "grad can be implicitly created only for scalar outputs"),
    "shape": (lambda T, x: T.autograd.grad(x**2, x, T.ones(2)), "Mismatch in shape: grad_output[0] has a shape of"),
    "no inputs": (lambda T, x: T.autograd.grad(x.sum(), []), "`inputs` argument to `grad()` cannot be empty"),
    "a number": (lambda T, x: T.autograd.grad(x.sum(), x, [1.0]), "gradients can be either Tensors or None, but got float"),
    "materialized but not unused": (lambda T, x: T.autograd.grad(x.sum(), x, allow_unused=False, materialize_grads=True), "Expected allow_unused to be True or not passed"),
    "materialized edge": (
        lambda T, x: T.autograd.grad(x.sum(), T.autograd.graph.get_gradient_edge(leaf(T)), materialize_grads=True),
        "materialize_grads cannot be used when the given input is a GradientEdge",
    ),
    "batched shape": (lambda T, x: T.autograd.grad(x**2, x, T.ones(4, 2), is_grads_batched=True), "we interpret the first dimension of each grad_output as the batch dimension"),
    "batched without": (lambda T, x: T.autograd.grad(x.sum(), x, is_grads_batched=True), None),
    "batched sizes": (lambda T, x: T.autograd.grad([x**2, x], x, [T.ones(4, 3), T.ones(2, 3)], is_grads_batched=True), "got sizes [4, 2] for the mapped dimension"),
    "twice": (lambda T, x: (lambda y: [T.autograd.grad(y, x) for _ in range(2)])((x**2).sum()), "Trying to backward through the graph a second time"),
    "backward without inputs": (lambda T, x: (x**2).sum().backward(inputs=[]), "`inputs` argument to `backward()` cannot be empty"),
    "backward of a number": (lambda T, x: (x**2).sum().backward(1.0), None),
    "both names": (lambda T, x: silently(T.autograd.backward, [x.sum()], [None], grad_variables=[None]), "Please only use `grad_tensors`"),
}


def silently(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


@pytest.mark.parametrize("name", BAD_GRADS)
def test_wrong_arguments_of_grad(name):
    call, message = BAD_GRADS[name]
    fail_alike(lambda T, F: call(T, leaf(T)), message=message)


def test_deprecated_arguments():
    x = leaf(fg)
    with pytest.warns(FutureWarning, match="only_inputs argument is deprecated"):
        fg.autograd.grad(x.sum(), x, only_inputs=False)
    with pytest.warns(FutureWarning, match="grad_variables"):
        fg.autograd.backward([x * 2], grad_variables=[fg.ones(3)])
    assert x.grad.tolist() == [2.0] * 3


def accumulated(call):
    def run(T, F):
        x, y = leaf(T), leaf(T)
        call(T, x, y)
        zero = T.zeros(3, dtype=T.float64)
        return [zero if t.grad is None else t.grad for t in (x, y)]

    return run


BACKWARDS = {
    "plain": lambda T, x, y: (x * y).sum().backward(),
    "inputs": lambda T, x, y: (x * y).sum().backward(inputs=[x]),
    "one input": lambda T, x, y: (x * y).sum().backward(inputs=y),
    "a dict": lambda T, x, y: (x * y).sum().backward(inputs={"x": x}),
    "roots": lambda T, x, y: T.autograd.backward([x * y, y.sum()], [T.tensor(Y), None]),
    "one tensor": lambda T, x, y: T.autograd.backward(x * y, T.tensor(Y)),
    "inputs of roots": lambda T, x, y: T.autograd.backward((x * y).sum(), inputs=(x,)),
    "twice": lambda T, x, y: (lambda z: (z.backward(retain_graph=True), z.backward()))((x * y).sum()),
    "positional": lambda T, x, y: (x * y).backward(T.tensor(Y), True, False, [x]),
    "a leaf": lambda T, x, y: x.backward(T.tensor(Y)),
}


@pytest.mark.parametrize("name", BACKWARDS)
def test_arguments_of_backward(name):
    agree(accumulated(BACKWARDS[name]))

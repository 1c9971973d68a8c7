"""Transforms of functions, held against torch.func: the same expression in both libraries, nested in every way."""

import doctest
import importlib
import itertools
import math

import numpy as np
import pytest
from trees import leaves, same

import ferrograd as fg
from ferrograd import func as fgf

RNG = np.random.default_rng(3)
X = RNG.normal(size=5)
BATCH = RNG.normal(size=(3, 5))
W = RNG.normal(size=(4, 5))
V = RNG.normal(size=(2, 4))


def both(expression, *arrays):
    """The expression of the library and its transforms, in ferrograd and in torch."""
    torch = pytest.importorskip("torch")
    given = [np.array(a) for a in arrays]
    return expression(fg, fgf, *map(fg.tensor, given)), expression(torch, torch.func, *map(torch.tensor, given))


def agree(expression, *arrays):
    same(*both(expression, *arrays))


def failure(call):
    try:
        call()
    except Exception as error:
        return error
    return None


def fail_alike(expression, *arrays, message=None):
    """Both raise an error of one class whose message has the given part."""
    torch = pytest.importorskip("torch")
    errors = [
        failure(lambda: expression(T, F, *[T.tensor(np.array(a)) for a in arrays])) for T, F in ((fg, fgf), (torch, torch.func))
    ]
    assert errors[1] is not None and type(errors[0]) is type(errors[1]), errors
    assert message is None or all(message in str(e) for e in errors), errors


SCALARS = {
    "polynomial": lambda T: lambda x: (x**3 + 2 * x).sum(),
    "product": lambda T: lambda x: x[:3].prod() * x.sum(),
    "exponential": lambda T: lambda x: (T.exp(0.3 * x) * T.sin(x)).sum(),
    "norm": lambda T: lambda x: (x * x).sum().sqrt(),
    "softmax": lambda T: lambda x: (x.softmax(0) * T.arange(5.0, dtype=T.float64)).sum(),
    "logsumexp": lambda T: lambda x: x.logsumexp(0),
    "quadratic": lambda T: lambda x: x @ (T.tensor(W).t() @ T.tensor(W)) @ x,
    "network": lambda T: lambda x: (T.tensor(V) @ T.tanh(T.tensor(W) @ x)).pow(2).sum(),
    "indexing": lambda T: lambda x: (x[T.tensor([0, 2, 2])] * x[1:4]).sum() + x[-1] ** 2,
    "matrix": lambda T: lambda x: (x[:, None] * x[None, :]).tanh().mean(),
    "joins": lambda T: lambda x: T.cat([x * 2, T.stack([x[0], x[1]])]).pow(3).sum(),
    "variance": lambda T: lambda x: x.var() * x.std(),
    "kinks": lambda T: lambda x: (x.relu() * x.abs() + x.clamp(-0.5, 0.5)).sum(),
    "change in place": lambda T: lambda x: in_place(x).pow(2).sum(),
    "branches": lambda T: lambda x: T.where(x > 0, x.sin(), x**3).sum(),
}


def in_place(x):
    y = x * 1
    y[1:].mul_(x[:-1])
    y[0] = x[3] * x[4]
    return y


@pytest.mark.parametrize("name", SCALARS)
def test_gradients(name):
    f = SCALARS[name]
    agree(lambda T, F, x: F.grad(f(T))(x), X)
    agree(lambda T, F, x: F.grad_and_value(f(T))(x), X)
    agree(lambda T, F, x: F.vmap(F.grad(f(T)))(x), BATCH)
    agree(lambda T, F, x: F.vjp(f(T), x)[1](T.tensor(2.0, dtype=T.float64)), X)
    agree(lambda T, F, x: F.jvp(f(T), (x,), (x.flip(0),)), X)


@pytest.mark.parametrize("name", SCALARS)
def test_gradients_are_those_of_differences(name):
    f = SCALARS[name](fg)
    found = fgf.grad(f)(fg.tensor(X)).numpy()
    step = 1e-6 * np.eye(5)
    expected = [(f(fg.tensor(X + e)).item() - f(fg.tensor(X - e)).item()) / 2e-6 for e in step]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("outer, inner", [*itertools.product(["jacrev", "jacfwd"], repeat=2)])
@pytest.mark.parametrize("name", SCALARS)
def test_second_derivatives(name, outer, inner):
    f = SCALARS[name]
    twice = lambda T, F: getattr(F, outer)(getattr(F, inner)(f(T)))
    if (name, outer, inner) != ("change in place", "jacfwd", "jacfwd"):  # torch cannot
        agree(lambda T, F, x: twice(T, F)(x), X)
    found, batched = fgf.hessian(f(fg)), fgf.vmap(twice(fg, fgf))(fg.tensor(BATCH))
    same(twice(fg, fgf)(fg.tensor(X)), found(fg.tensor(X)))
    for n, x in enumerate(BATCH):
        same(batched[n], found(fg.tensor(x)), rtol=1e-6)


TRANSFORMS = {
    "grad": lambda F, f: F.grad(lambda x: f(x).sum()),
    "jacrev": lambda F, f: lambda x: F.jacrev(f)(x).sum(0),
    "jacfwd": lambda F, f: lambda x: F.jacfwd(f)(x).sum(0),
    "jvp": lambda F, f: lambda x: F.jvp(f, (x,), (x * 2,))[1],
    "vjp": lambda F, f: lambda x: F.vjp(f, x)[1](x * 2)[0],
    "vmap": lambda F, f: lambda x: F.vmap(lambda s: f(x * s))(x[:2]).sum(0),
    "linearize": lambda F, f: lambda x: F.linearize(f, x)[1](x),
}


@pytest.mark.parametrize("names", [*itertools.product([n for n in TRANSFORMS if n != "linearize"], repeat=3)], ids="-".join)
def test_transforms_nest_in_any_order(names):
    """Three deep, on a function from vectors to vectors."""

    def build(T, F):
        f = lambda x: T.sin(x) * x.flip(0) + 0.1 * x**3
        for name in names:
            f = TRANSFORMS[name](F, f)
        return f

    agree(lambda T, F, x: build(T, F)(x), X[:3])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_linear_approximations_nest(name):
    f = lambda x: fg.sin(x) * x.flip(0)
    pushed = lambda f: lambda x: fgf.jvp(f, (x,), (x,))[1]
    x = fg.tensor(X)
    same(TRANSFORMS["linearize"](fgf, TRANSFORMS[name](fgf, f))(x), pushed(TRANSFORMS[name](fgf, f))(x))
    same(TRANSFORMS[name](fgf, TRANSFORMS["linearize"](fgf, f))(x), TRANSFORMS[name](fgf, pushed(f))(x))


WITHIN = {
    "value": lambda T, F: lambda x: T.exp(x) * x.sum(),
    "gradient": lambda T, F: F.grad(lambda x: (T.exp(x) * x.sum()).sum()),
    "product": lambda T, F: lambda x: F.vjp(lambda z: T.exp(z) * z.sum(), x)[1](T.cos(x).detach())[0],
    "rows": lambda T, F: lambda x: F.jacrev(lambda z: T.exp(z) * z.sum())(x).sum(0),
    "columns": lambda T, F: lambda x: F.jacfwd(lambda z: T.exp(z) * z.sum())(x).sum(0),
    "second": lambda T, F: lambda x: F.hessian(lambda z: (T.exp(z) * z.sum()).sum())(x).sum(0),
    "each": lambda T, F: F.vmap(F.grad(lambda x: T.exp(x) * x)),
}


@pytest.mark.parametrize("name", WITHIN)
def test_gradients_by_tangents(name):
    """What is differentiated may be nothing but the tangents, within which are derivatives of their own."""

    def pushed(T, F, x, t):
        return F.jvp(WITHIN[name](T, F), (x,), (t,))[1].sin().sum()

    agree(lambda T, F, x, t: F.grad(lambda t: pushed(T, F, x, t))(t), X, X[::-1])
    agree(lambda T, F, x, t: F.jacrev(lambda x, t: pushed(T, F, x, t) * x, argnums=(0, 1))(x, t), X, X[::-1])

    def by_backward(T, F, x, t):
        t.requires_grad_()
        return T.autograd.grad(pushed(T, F, x, t), t)

    agree(by_backward, X, X[::-1])
    if name not in ("columns", "second"):
        agree(lambda T, F, x, t: F.grad(lambda t: F.vmap(lambda x: pushed(T, F, x, t))(x).sum())(t), BATCH, X)
    # torch nests forward mode in itself in transforms too.
    twice = lambda T, F, x, t: F.jvp(lambda x: F.jvp(WITHIN[name](T, F), (x,), (t,))[1], (x,), (t * x,))[1].sin().sum()
    agree(lambda T, F, x, t: F.grad(lambda t: twice(T, F, x, t))(t), X, X[::-1])
    agree(lambda T, F, x, t: F.grad(lambda x: twice(T, F, x, t))(x), X, X[::-1])


def test_four_derivatives():
    f = lambda x: x**5
    for choice in itertools.product([fgf.grad, fgf.jacfwd, fgf.jacrev], repeat=4):
        g = f
        for transform in choice:
            g = transform(g)
        assert g(fg.tensor(2.0)).item() == 240.0
        assert fgf.vmap(g)(fg.tensor([2.0, 1.0])).tolist() == [240.0, 120.0]


def loss(T):
    def of(params, x, t):
        hidden = T.tanh(params["layer"]["w"] @ x + params["layer"]["b"])
        return ((params["out"][0] @ hidden - t) ** 2).sum()

    return of


def parameters(T, requires_grad=False):
    tensors = [T.tensor(np.array(a)) for a in (W, W[:, 0], V)]
    if requires_grad:
        tensors = [t.requires_grad_() for t in tensors]
    return {"layer": {"w": tensors[0], "b": tensors[1]}, "out": (tensors[2],)}


TARGETS = RNG.normal(size=(3, 2))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_gradients_of_each_example(requires_grad):
    per_example = lambda T, F, x, t: F.vmap(F.grad(loss(T)), (None, 0, 0))(parameters(T, requires_grad), x, t)
    agree(per_example, BATCH, TARGETS)
    found = per_example(fg, fgf, fg.tensor(BATCH), fg.tensor(TARGETS))
    for n in range(3):
        single = fgf.grad(loss(fg))(parameters(fg, requires_grad), fg.tensor(BATCH[n]), fg.tensor(TARGETS[n]))
        same([leaf[n] for leaf in leaves(found)], single)
    agree(lambda T, F, x, t: F.vmap(F.hessian(loss(T)), (None, 0, 0))(parameters(T), x, t), BATCH, TARGETS)
    agree(lambda T, F, x, t: F.vmap(F.jacrev(F.jacfwd(loss(T))), (None, 0, 0))(parameters(T), x, t), BATCH, TARGETS)


def test_gradients_of_each_example_in_chunks():
    whole = fgf.vmap(fgf.grad(loss(fg)), (None, 0, 0))(parameters(fg), fg.tensor(BATCH), fg.tensor(TARGETS))
    parts = fgf.vmap(fgf.grad(loss(fg)), (None, 0, 0), chunk_size=2)(parameters(fg), fg.tensor(BATCH), fg.tensor(TARGETS))
    same(parts, whole)


def test_a_gradient_of_the_gradients_of_each_example():
    """A penalty on the examples' gradients, differentiated by the parameters that all of them share."""

    def penalty(T, F):
        gradients = F.vmap(F.grad(lambda w, x: T.tanh(w @ x).sum()), (None, 0))
        return lambda w, x: (gradients(w, x) ** 2).sum((1, 2)).sqrt().sum()

    agree(lambda T, F, w, x: F.grad(penalty(T, F))(w, x), W, BATCH)
    agree(lambda T, F, w, x: F.vmap(F.grad(penalty(T, F)), (None, 0))(w, x[:, None]), W, BATCH)

    def leaf(T, F, w, x):
        w.requires_grad_()
        penalty(T, F)(w, x).backward()
        return w.grad

    agree(leaf, W, BATCH)


def test_parameters_outside_of_a_map_get_the_sum_of_all_examples():
    def training(T, F, w, x):
        w.requires_grad_()
        F.vmap(lambda x: T.tanh(w @ x).sum())(x).sum().backward()
        return w.grad

    agree(training, W, BATCH)


def test_random_numbers_within_gradients_of_each_example():
    noisy = lambda w, x: (w * x * fg.rand(5)).sum()
    for randomness, count in (("different", 15), ("same", 5)):
        fg.manual_seed(4)
        found = fgf.vmap(fgf.grad(noisy), (None, 0), randomness=randomness)(fg.ones(5), fg.ones(3, 5))
        fg.manual_seed(4)
        assert found.tolist() == fg.rand(count).reshape(-1, 5).expand(3, 5).tolist()


ARGUMENTS = [0, 1, 2, -1, (0,), (1, 0), (0, 2), (-1,)]


@pytest.mark.parametrize("argnums", ARGUMENTS, ids=str)
def test_chosen_arguments(argnums):
    f = lambda a, b, c: (a * b).sum() * c["c"].sum() + (a**2).sum()
    g = lambda a, b, c: {"y": a * b, "z": c["c"] ** 2 * a[0]}
    for transform in ("grad", "grad_and_value", "jacrev"):
        function = g if transform == "jacrev" else f
        agree(lambda T, F, a, b, c: getattr(F, transform)(function, argnums=argnums)(a, b, {"c": c}), X, X[::-1], X[:2])
    # torch takes no arguments counted from the end here.
    positive = {-1: 2, (-1,): (2,)}.get(argnums, argnums)
    for transform, function in (("jacfwd", g), ("hessian", f)):
        agree(lambda T, F, a, b, c: getattr(F, transform)(function, positive)(a, b, {"c": c}), X, X[::-1], X[:2])
        given = fg.tensor(X), fg.tensor(X[::-1].copy()), {"c": fg.tensor(X[:2])}
        same(getattr(fgf, transform)(function, argnums)(*given), getattr(fgf, transform)(function, positive)(*given))


def test_all_arguments_by_forward_mode():
    g = lambda a, b, c: {"y": a * b, "z": c["c"] ** 2 * a[0]}
    agree(lambda T, F, a, b, c: F.jacfwd(g, argnums=None)(a, b, {"c": c}), X, X[::-1], X[:2])
    agree(lambda T, F, x: F.jacfwd(lambda x: x.sin(), argnums=None)(x), X)
    for transform in ("jacrev", "grad", "hessian"):
        fail_alike(lambda T, F, x: getattr(F, transform)(lambda x: x.sum(), argnums=None)(x), X, message="int or Tuple")


def test_something_beside_the_result():
    f = lambda x: ((x**2).sum(), {"half": x / 2, "value": (x, [x.sum()])})
    g = lambda x: (x**2, (x / 2, {"sum": x.sum()}))
    for requires_grad in (False, True):
        prepared = lambda x: x.requires_grad_(requires_grad)
        agree(lambda T, F, x: F.grad(f, has_aux=True)(prepared(x)), X)
        agree(lambda T, F, x: F.grad_and_value(f, has_aux=True)(prepared(x)), X)
        agree(lambda T, F, x: F.jacrev(g, has_aux=True)(prepared(x)), X)
        agree(lambda T, F, x: F.jvp(g, (prepared(x),), (x.detach() * 3,), has_aux=True), X)

        def pulled(T, F, x):
            y, pull, aux = F.vjp(g, prepared(x), has_aux=True)
            return y, pull(T.ones_like(y)), aux

        agree(pulled, X)
    agree(lambda T, F, x: F.jacfwd(g, has_aux=True)(x), X)
    agree(lambda T, F, x: F.jvp(g, (x,), (x * 3,), has_aux=True), X)


def test_keyword_arguments_and_other_values():
    f = lambda x, n, *, scale=1.0, shift=None: ((x**n) * scale + (0 if shift is None else shift)).sum()
    agree(lambda T, F, x: F.grad(f)(x, 3, scale=2.0), X)
    agree(lambda T, F, x: F.grad(f)(x, 3, shift=x * 2), X)
    agree(lambda T, F, x: F.vmap(f, (0, None))(x, 2, scale=3.0), BATCH)
    agree(lambda T, F, x: F.vmap(lambda x, *, other: x @ other)(x, other=x[0]), BATCH)


def test_chunks_of_rows():
    f = lambda T: lambda x: (T.sin(x), x[:2] * x[1:3])
    for size in (None, 1, 2, 3, 100):
        agree(lambda T, F, x: F.jacrev(f(T), chunk_size=size)(x), X)
    fail_alike(lambda T, F, x: F.jacrev(f(T), chunk_size=0), X, message="`chunk_size` should be greater than 0")
    seen = []
    rows = fgf.jacrev(lambda x: x * counted(seen, x), chunk_size=2)(fg.tensor(X))
    same(rows, fgf.jacrev(lambda x: x * x)(fg.tensor(X)))
    assert len(seen) == 3


def counted(seen, x):
    y = x * 1
    if y.requires_grad:
        y.register_hook(lambda g: seen.append(g.shape))
    return y


def test_results_without_dependence_and_without_elements():
    agree(lambda T, F, x: F.grad(lambda x: T.ones((), dtype=T.float64))(x), X)
    agree(lambda T, F, x: F.jacrev(lambda x: (x * 0 + 1, T.ones(2, dtype=T.float64)))(x), X)
    agree(lambda T, F, x: F.jacfwd(lambda x: (x * 2, T.ones(2, dtype=T.float64)))(x), X)
    agree(lambda T, F, x: F.grad(lambda a, b: (a * 2).sum(), argnums=(0, 1))(x, x), X)
    agree(lambda T, F, x: F.vmap(lambda x: x.sum())(x), np.zeros((0, 3)))
    agree(lambda T, F, x: F.jacrev(lambda x: x[:0])(x), X)
    agree(lambda T, F, x: F.jacfwd(lambda x: x * 2)(x), np.zeros(0))
    agree(lambda T, F, x: F.jacrev(lambda x: x * 2)(x), np.zeros(0))
    agree(lambda T, F, x: F.vmap(F.grad(lambda x: T.ones((), dtype=T.float64)))(x), BATCH)


def test_results_belong_to_the_history_outside():
    """What the transforms differentiate by leaves no trace; what was there before stays."""
    scaled = lambda w: lambda x: (w * x * x).sum()

    def captured(T, F, x):
        w = T.ones(5, dtype=T.float64, requires_grad=True)
        g = F.grad(scaled(w))(x)
        return g, T.autograd.grad(g.sum(), w)

    agree(captured, X)

    def given(T, F, x):
        x.requires_grad_()
        g, y = F.grad_and_value(lambda x: (x**3).sum())(x)
        return g, y, T.autograd.grad(g.sum(), x), T.autograd.grad(y, x)

    agree(given, X)
    agree(lambda T, F, x: F.grad(lambda x: (T.ones(5, dtype=T.float64, requires_grad=True) + x * x).sum())(x), X)

    def one_of_two(T, F, x):
        w = T.ones(5, dtype=T.float64, requires_grad=True)
        return F.grad(lambda a, b: (a**2).sum() + (w * b).sum(), (0, 1))(x, x)

    agree(one_of_two, X)
    x = fg.tensor(X)
    values = fgf.grad_and_value(lambda x: (x * 2).sum())(x)
    assert x.grad is None and not x.requires_grad and not any(v.requires_grad for v in values)
    assert fgf.vjp(lambda x: x, x)[0] is not x and x.is_leaf


def stopped(T, x):
    with T.no_grad():
        return x**2


def test_no_grad():
    f = lambda T: lambda x: (x * stopped(T, x)).sum()
    for outer, inner in itertools.product(["jacrev", "jacfwd"], repeat=2):
        agree(lambda T, F, x: getattr(F, outer)(getattr(F, inner)(f(T)))(x), X)
    agree(lambda T, F, x: F.grad(f(T))(x), X)

    def outside(T, F, x):
        x.requires_grad_()
        with T.no_grad():
            g, y = F.grad_and_value(lambda x: (x**3).sum())(x)
            out, pull = F.vjp(lambda x: x**2, x)
            (cotangent,) = pull(T.ones_like(x))
        return g, y, out, cotangent

    agree(outside, X)

    def pulled_outside(T, F, x):
        x.requires_grad_()
        with T.no_grad():
            out, pull = F.vjp(lambda x: x**2, x)
        (g,) = pull(T.ones_like(x))
        return out, g, T.autograd.grad(g.sum(), x)

    agree(pulled_outside, X)

    def pulled_inside(T, F, x):
        x.requires_grad_()
        out, pull = F.vjp(lambda x: x**2, x)
        with T.no_grad():
            (g,) = pull(T.ones_like(x))
        return out, g, T.autograd.grad(out.sum(), x)

    agree(pulled_inside, X)

    def shifted(T, F):
        def of(x):
            with T.no_grad():
                shift = F.grad(lambda x: 0.25 * (x**4).sum())(x)
            return (x**3 - shift).sum()

        return of

    agree(lambda T, F, x: F.grad(shifted(T, F))(x), X)
    agree(lambda T, F, x: F.grad(lambda x: F.grad(shifted(T, F))(x).sum())(x), X)
    fg.set_grad_enabled(True)
    assert fg.is_grad_enabled()


def test_detached_values():
    f = lambda x: (x.detach() * x * x).sum()
    agree(lambda T, F, x: F.grad(f)(x), X)
    agree(lambda T, F, x: F.jacfwd(f)(x), X)
    agree(lambda T, F, x: F.hessian(f)(x), X)


def test_several_cotangents():
    def pulled(T, F, x):
        out, pull = F.vjp(lambda x: {"a": x**2, "b": (x.sum(), x[:2])}, x)
        ones = {"a": T.ones_like(x), "b": (T.tensor(2.0, dtype=T.float64), x[1:3])}
        return out, pull(ones), pull(ones)

    agree(pulled, X)
    agree(lambda T, F, x: F.vmap(F.vjp(T.sin, x)[1])(T.eye(5, dtype=T.float64)), X)
    agree(lambda T, F, x: F.vjp(lambda a, b: a * b, x, x * 2)[1](x), X)
    agree(lambda T, F, x: F.jvp(lambda c: F.vjp(lambda x: T.sin(x) * x, x)[1](c)[0], (x,), (x * 2,)), X)
    fail_alike(lambda T, F, x: F.vjp(T.sin, x)[1]((x,)), X, message="Expected pytree structure of cotangents to be the same")
    fail_alike(lambda T, F, x: F.vjp(T.sin, x)[1](x[:2]), X, message="Mismatch in shape")


def test_linear_approximation():
    calls = []

    def f(x, y):
        calls.append(1)
        return {"a": fg.sin(x["x"]) * y, "b": y.sum() * 2, "c": (y > 0).to(fg.int64)}

    x, y = fg.tensor(X), fg.tensor(X[::-1].copy())
    value, push = fgf.linearize(f, {"x": x}, y)
    tangents = {"x": y * 2}, x
    expected = fgf.jvp(lambda a, b: {k: v for k, v in f(a, b).items() if k != "c"}, ({"x": x}, y), tangents)
    found = push(*tangents)
    same({k: value[k] for k in "ab"}, expected[0])
    same({k: found[k] for k in "ab"}, expected[1])
    assert found["c"].tolist() == [0] * 5 and len(calls) == 2
    for wrong in (({"x": x},), ({"x": x}, x[:2]), ({"x": x}, x.to(fg.float32))):
        with pytest.raises(RuntimeError, match="argspec|doesn't match"):
            push(*wrong)


WRONG = {
    "no arguments": (lambda T, F: F.vmap(lambda: 1)(), "got no inputs"),
    "nothing to map": (lambda T, F: F.vmap(lambda x: x, None if T is fg else None)(T.ones(2)), "expected `in_dims` to be int or a"),
    "all shared": (lambda T, F: F.vmap(lambda x: x, (None,))(T.ones(2)), "Expected at least one Tensor to vmap over"),
    "a list of dims": (lambda T, F: F.vmap(lambda x: x, [0])(T.ones(2)), "expected `in_dims` to be int or a"),
    "structure": (lambda T, F: F.vmap(lambda x: x, (0, 0))(T.ones(2)), "in_dims is not compatible with the structure of `inputs`"),
    "a dim that is none": (lambda T, F: F.vmap(lambda x: x, ("a",))(T.ones(2)), "in_dim must be either an integer dimension or None"),
    "no tensor": (lambda T, F: F.vmap(lambda x: x)(1.0), "We cannot vmap over non-Tensor arguments"),
    "no dimension": (lambda T, F: F.vmap(lambda x: x)(T.tensor(1.0)), "is a Tensor of dimensionality 0"),
    "dimension": (lambda T, F: F.vmap(lambda x: x, 2)(T.ones(2, 2)), "so expected in_dim to satisfy -2 <= in_dim < 2"),
    "sizes": (lambda T, F: F.vmap(lambda x, y: x)(T.ones(2), T.ones(3)), "Expected all tensors to have the same size in the mapped dimension"),
    "result": (lambda T, F: F.vmap(lambda x: 1)(T.ones(2)), "must only return Tensors, got type"),
    "results": (lambda T, F: F.vmap(lambda x: (x, None))(T.ones(2)), "must only return Tensors, got type"),
    "batched result": (lambda T, F: F.vmap(lambda x: x, out_dims=None)(T.ones(2)), "can not return a BatchedTensor when out_dim is None"),
    "out_dims": (lambda T, F: F.vmap(lambda x: (x, x), out_dims=(0, 0, 0))(T.ones(2)), "out_dims is not compatible with the structure of `outputs`"),
    "out_dims of one": (lambda T, F: F.vmap(lambda x: x, out_dims=(0, 0))(T.ones(2)), "out_dims is not compatible with the structure of `outputs`"),
    "out_dims of words": (lambda T, F: F.vmap(lambda x: x, out_dims="a")(T.ones(2)), "`out_dims` must be an int, None or a python collection of ints"),
    "out_dim range": (lambda T, F: F.vmap(lambda x: x, out_dims=3)(T.ones(2)), "Dimension out of range"),
    "item": (lambda T, F: F.vmap(lambda x: x.item())(T.ones(2)), "It looks like you're calling .item() on a Tensor"),
    "float": (lambda T, F: F.vmap(lambda x: float(x))(T.ones(2)), "It looks like you're calling .item() on a Tensor"),
    "condition": (lambda T, F: F.vmap(lambda x: x if x > 0 else -x)(T.ones(2)), "attempting to use a Tensor in some data-dependent control flow"),
    "mask": (lambda T, F: F.vmap(lambda x: x[x > 0])(T.ones(2, 2)), "Attempting to batch over indexing with a boolean mask"),
    "in place": (lambda T, F: F.vmap(lambda x, y: y.add_(x), (0, None))(T.ones(2, 3), T.ones(3)), None),
    "assignment": (lambda T, F: F.vmap(lambda x, y: y.__setitem__(0, x), (0, None))(T.ones(2), T.ones(3)), "other` being vmapped over but `self` not being vmapped over"),
    "requires_grad_": (lambda T, F: F.vmap(lambda x: x.requires_grad_())(T.ones(2)), "You are attempting to call Tensor.requires_grad_()"),
    "requires_grad_ in grad": (lambda T, F: F.grad(lambda x: x.requires_grad_().sum())(T.ones(2)), "You are attempting to call Tensor.requires_grad_()"),
    "backward": (lambda T, F: F.grad(lambda x: x.sum().backward())(T.ones(2)), "backward() called inside a functorch transform"),
    "backward of a list": (lambda T, F: F.grad(lambda x: T.autograd.backward([x.sum()]))(T.ones(2)), "backward() called inside a functorch transform"),
    "integers": (lambda T, F: F.grad(lambda x: x.sum())(T.tensor([1])), "only Tensors of floating point dtype can require gradients"),
    "grad of a number": (lambda T, F: F.grad(lambda x: x)(1.0), "Thing passed to transform API must be Tensor"),
    "grad of a vector": (lambda T, F: F.grad(lambda x: x)(T.ones(2)), "to return a scalar Tensor, got tensor with 1 dims"),
    "grad without a tensor": (lambda T, F: F.grad(lambda x: 1.0)(T.ones(2)), "to return a Tensor, got <class 'float'>"),
    "grad without aux": (lambda T, F: F.grad(lambda x: x.sum(), has_aux=True)(T.ones(2)), "should be a tuple: (output, aux)"),
    "argnums": (lambda T, F: F.grad(lambda x: x.sum(), argnums=3)(T.ones(2)), "Got argnum=3, but only 1 positional inputs"),
    "argnums none": (lambda T, F: F.grad(lambda x: x.sum(), argnums=())(T.ones(2)), "argnums must be non-empty"),
    "argnums twice": (lambda T, F: F.grad(lambda x: x.sum(), argnums=(0, 0))(T.ones(2)), "argnums elements must be unique"),
    "argnums is None": (lambda T, F: F.grad(lambda x: x.sum(), argnums=None)(T.ones(2)), "argnums must be int or Tuple[int, ...]"),
    "argnums type": (lambda T, F: F.grad(lambda x: x.sum(), argnums=[0])(T.ones(2)), "argnums must be int or Tuple[int, ...]"),
    "argnum type": (lambda T, F: F.grad(lambda x: x.sum(), argnums=(0.0,))(T.ones(2)), "argnum must be int, got: <class 'float'>"),
    "vjp without aux": (lambda T, F: F.vjp(lambda x: x, T.ones(2), has_aux=True), "should be a tuple: (output, aux)"),
    "vjp of nothing": (lambda T, F: F.vjp(lambda x: None, T.ones(2)), "Expected f to be a function that has non-empty output"),
    "vjp of numbers": (lambda T, F: F.vjp(lambda x: 1.0, T.ones(2)), "expected f(*primals) to return only tensors"),
    "vjp of integers": (lambda T, F: F.vjp(lambda x: x > 0, T.ones(2)), "All outputs of f must be floating-point or complex Tensors"),
    "vjp argument": (lambda T, F: F.vjp(lambda x: x, 1.0), "Thing passed to transform API must be Tensor"),
    "jvp primals": (lambda T, F: F.jvp(lambda x: x, T.ones(2), T.ones(2)), "Expected primals to be a tuple"),
    "jvp structure": (lambda T, F: F.jvp(lambda x: x, (T.ones(2),), T.ones(2)), "Expected primals and tangents to have the same python structure"),
    "jvp of nothing": (lambda T, F: F.jvp(lambda x: x, (), ()), "Expected primals to contain at least one Tensor"),
    "jvp of numbers": (lambda T, F: F.jvp(lambda x: x, (1.0,), (1.0,)), "Expected primals to only contain Tensors"),
    "jvp result": (lambda T, F: F.jvp(lambda x: None, (T.ones(2),), (T.ones(2),)), "Expected f to be a function that has non-empty output"),
    "jvp shape": (lambda T, F: F.jvp(lambda x: x, (T.ones(2),), (T.ones(3),)), None),
    "jvp strict": (lambda T, F: F.jvp(lambda x: T.ones(2), (T.ones(2),), (T.ones(2),), strict=True), "The output of f is independent of the inputs"),
    "jvp aux": (lambda T, F: F.jvp(lambda x: x, (T.ones(2),), (T.ones(2),), has_aux=True), "should be a tuple: (output, aux)"),
    "jacfwd of a number": (lambda T, F: F.jacrev(lambda x: x)(1.0), "Thing passed to transform API must be Tensor"),
    "leaf in place": (lambda T, F: F.grad(lambda x: x.add_(1).sum())(T.ones(2)), "a leaf Variable that requires grad is being used in an in-place operation"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name):
    expression, message = WRONG[name]
    fail_alike(expression, message=message)
    # Nothing of what was begun stays.
    assert fgf.vmap(fgf.grad(lambda x: x**2))(fg.ones(2)).tolist() == [2.0, 2.0]
    assert fg.ones(1).requires_grad_().requires_grad and fg.is_grad_enabled()


def test_results_in_place_and_gradients_by_shared_tensors():
    w = fg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="as many gradients as examples"):
        fgf.vmap(lambda x: fg.autograd.grad((w * x).sum(), w)[0])(fg.ones(2, 3))
    per_example = fgf.vmap(fgf.grad(lambda w, x: fg.autograd.grad((w * w * x).sum(), w, create_graph=True)[0].sum()), (None, 0))
    assert per_example(fg.ones(3), fg.tensor([[1.0] * 3, [2.0] * 3])).tolist() == [[2.0] * 3, [4.0] * 3]


def test_names_of_the_package():
    assert fg.vmap is fgf.vmap and "vmap" in fgf.__all__
    f = fgf.grad(math.sin)
    assert f.__name__ == "sin"
    seen = []
    fgf.vmap(lambda x: (seen.append(fgf.debug_unwrap(x)), x)[1])(fg.tensor([[1.0, 2.0]]))
    assert seen[0].tolist() == [[1.0, 2.0]] and fgf.debug_unwrap(seen[0]) is seen[0]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fg.nothing


@pytest.mark.parametrize("name", ["func", "func._vmap", "func._grad", "func._jvp", "func._jacobian", "func._call", "utils._pytree", "autograd._grad", "autograd.functional"])
def test_examples_run(name):
    found = doctest.testmod(importlib.import_module(f"ferrograd.{name}"))
    assert found.failed == 0 and found.attempted > 0


def test_cotangents_are_one_argument():
    _, pull = fgf.vjp(lambda x: (x, x), fg.ones(2))
    with pytest.raises(TypeError, match="takes one argument, of the structure of the outputs"):
        pull(fg.ones(2), fg.ones(2))

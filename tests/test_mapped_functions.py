"""Functions written in Python under vmap: by a rule of their own, and by maps over their forward and backward."""

import numpy as np
import pytest
from test_func import agree, fail_alike
from trees import same

import ferrograd as fg
from ferrograd import func as fgf

RNG = np.random.default_rng(12)
A, B = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))


def array(x):
    return x.detach().numpy()


def front(x, dim):
    dims = list(range(x.dim()))
    return x.permute(dims.pop(dim), *dims)


def generated(T):
    """`x**2 * y` and a mask, with a derivative of its own that keeps tensors, shapes and settings."""

    class Scaled(T.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, y, power):
            return x**power * y, x > 0

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, y, ctx.power = inputs
            ctx.shape = x.shape
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(x, y)
            ctx.save_for_forward(x, y)

        @staticmethod
        def backward(ctx, g, _):
            x, y = ctx.saved_tensors
            assert x.shape == ctx.shape
            gx = ctx.power * x ** (ctx.power - 1) * y * g if ctx.needs_input_grad[0] else None
            return gx, x**ctx.power * g, None

        @staticmethod
        def jvp(ctx, tx, ty, _):
            x, y = ctx.saved_tensors
            zero = T.zeros_like(x)
            tx, ty = zero if tx is None else tx, zero if ty is None else ty
            return ctx.power * x ** (ctx.power - 1) * y * tx + x**ctx.power * ty, None

    return lambda x, y: Scaled.apply(x, y, 3)[0]


def ruled(T):
    """A sort by NumPy, which no transform sees through."""

    def numpy(a):
        return T.tensor(np.array(a))

    class Sort(T.autograd.Function):
        @staticmethod
        def forward(x, dim):
            order = np.argsort(array(x), axis=dim)
            return numpy(np.take_along_axis(array(x), order, dim)), numpy(order)

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.dim = inputs
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(output[1])
            ctx.save_for_forward(output[1])

        @staticmethod
        def backward(ctx, g, _):
            (order,) = ctx.saved_tensors
            return Take.apply(g, order, ctx.dim, True), None

        @staticmethod
        def jvp(ctx, t, _):
            (order,) = ctx.saved_tensors
            return Take.apply(t, order, ctx.dim, False), None

        @staticmethod
        def vmap(info, in_dims, x, dim):
            assert info.batch_size == x.shape[in_dims[0]] and info.randomness == "error"
            x = front(x, in_dims[0])
            return Sort.apply(x, dim + 1 if dim >= 0 else dim), (0, 0)

    class Take(T.autograd.Function):
        @staticmethod
        def forward(x, order, dim, back):
            order = array(order)
            order = np.argsort(order, axis=dim) if back else order
            return numpy(np.take_along_axis(array(x), order, dim))

        @staticmethod
        def setup_context(ctx, inputs, output):
            _, order, ctx.dim, ctx.back = inputs
            ctx.save_for_backward(order)
            ctx.save_for_forward(order)

        @staticmethod
        def backward(ctx, g):
            return Take.apply(g, ctx.saved_tensors[0], ctx.dim, not ctx.back), None, None, None

        @staticmethod
        def jvp(ctx, t, *_):
            return Take.apply(t, ctx.saved_tensors[0], ctx.dim, ctx.back)

        @staticmethod
        def vmap(info, in_dims, x, order, dim, back):
            size = info.batch_size
            x, order = (
                front(t, d) if d is not None else t.unsqueeze(0).expand(size, *t.shape)
                for t, d in zip((x, order), in_dims)
            )
            return Take.apply(x, order, dim + 1 if dim >= 0 else dim, back), 0

    return lambda x, y: Sort.apply(x, 0)[0] * y


FUNCTIONS = {"generated": generated, "ruled": ruled}
CALLS = {
    "map": lambda F, f: F.vmap(f),
    "map of one": lambda F, f: lambda x, y: F.vmap(f, (0, None))(x, y[0]),
    "map of the other": lambda F, f: lambda x, y: F.vmap(f, (None, 0))(x[0], y),
    "nested": lambda F, f: lambda x, y: F.vmap(F.vmap(f, (0, None)), (None, 0))(x, y),
    "map of columns": lambda F, f: F.vmap(f, 1, 1),
    "gradients": lambda F, f: F.vmap(F.grad(lambda x, y: f(x, y).sum(), (0, 1))),
    "gradients by what is shared": lambda F, f: lambda x, y: F.vmap(F.grad(lambda x, y: f(x, y).pow(2).sum(), (0, 1)), (None, 0))(x[0], y),
    "gradient of a map": lambda F, f: F.grad(lambda x, y: F.vmap(f)(x, y).pow(2).sum(), (0, 1)),
    "gradient of a map by what is shared": lambda F, f: F.grad(lambda x, y: F.vmap(f, (0, None))(x, y[0]).pow(2).sum(), (0, 1)),
    "jacobians": lambda F, f: F.vmap(F.jacrev(f, (0, 1))),
    "jacobian": lambda F, f: lambda x, y: F.jacrev(f, (0, 1))(x[0], y[0]),
    "second": lambda F, f: F.vmap(F.jacrev(F.jacrev(lambda x, y: f(x, y).pow(2).sum()))),
    "tangents": lambda F, f: F.vmap(lambda x, y: F.jvp(f, (x, y), (y, x))),
    "tangents of a map": lambda F, f: lambda x, y: F.jvp(F.vmap(f), (x, y), (y, x)),
    "forward jacobian": lambda F, f: lambda x, y: F.jacfwd(f)(x[0], y[0]),
    "hessians": lambda F, f: F.vmap(F.hessian(lambda x, y: f(x, y).pow(2).sum())),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("call", CALLS)
def test_transforms_of_functions_written_in_python(name, call):
    agree(lambda T, F, x, y: CALLS[call](F, FUNCTIONS[name](T))(x, y), A, B)


def test_maps_within_maps_of_generated_rules():
    def square(T):
        class Square(T.autograd.Function):
            generate_vmap_rule = True

            @staticmethod
            def forward(x):
                return x**2

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(inputs[0])
                ctx.factor = 2

            @staticmethod
            def backward(ctx, g):
                return ctx.factor * ctx.saved_tensors[0] * g

        return Square.apply

    agree(lambda T, F, x: F.vmap(F.vmap(F.grad(square(T))))(x), A)
    agree(lambda T, F, x: F.vmap(F.vmap(F.vmap(F.grad(square(T)))))(x.reshape(2, 2, 3)), A)
    agree(lambda T, F, x: F.vmap(F.jacrev(lambda x: F.vmap(square(T))(x).sum()))(x), A)


def test_gradients_are_accumulated_outside_of_a_map():
    def accumulated(T, F, x, y):
        x.requires_grad_()
        y.requires_grad_()
        F.vmap(generated(T), (0, None))(x, y[0]).sum().backward()
        return x.grad, y.grad

    agree(accumulated, A, B)


def test_a_rule_that_is_not_differentiable():
    """Within a gradient the function's own backward counts, whatever its rule does."""

    def build(T):
        class Sine(T.autograd.Function):
            @staticmethod
            def forward(x):
                return T.tensor(np.sin(array(x)))

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(*inputs)

            @staticmethod
            def backward(ctx, g):
                return g * ctx.saved_tensors[0].cos()

            @staticmethod
            def vmap(info, in_dims, x):
                return T.tensor(np.sin(array(x))), in_dims[0]

        return Sine.apply

    agree(lambda T, F, x: F.vmap(F.grad(lambda x: build(T)(x).sum()))(x), A)
    agree(lambda T, F, x: F.vmap(build(T), 1)(x), A)


def test_functions_that_change_their_argument():
    class Double(fg.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x.mul_(2)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.mark_dirty(inputs[0])

        @staticmethod
        def backward(ctx, g):
            return g * 2

    seen = []

    def change(x):
        y = x * 1
        z = Double.apply(y)
        seen.append(z is y)
        return z

    x = fg.tensor(A)
    same(fgf.vmap(change)(x), x * 2)
    same(fgf.grad(lambda x: fgf.vmap(change)(x).sum())(x), fg.full_like(x, 2.0))
    assert seen == [True, True]


def test_rules_that_change_their_argument():
    def build(T):
        class Double(T.autograd.Function):
            @staticmethod
            def forward(x):
                return x.mul_(2)

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.mark_dirty(inputs[0])

            @staticmethod
            def backward(ctx, g):
                return g * 2

            @staticmethod
            def jvp(ctx, t):
                return t.mul_(2)

            @staticmethod
            def vmap(info, in_dims, x):
                return Double.apply(x), in_dims[0]

        return lambda x: Double.apply(x.clone()).sin().sum()

    agree(lambda T, F, x: F.vmap(F.grad(build(T)))(x), A)
    agree(lambda T, F, x: F.vmap(F.vmap(F.grad(build(T))))(x.reshape(2, 2, 3)), A)
    agree(lambda T, F, x: F.vmap(lambda x: F.jvp(build(T), (x,), (T.ones_like(x),))[1])(x), A)


def test_rules_see_into_lists_and_dictionaries():
    seen = []

    class Sum(fg.autograd.Function):
        @staticmethod
        def forward(x, others, scale):
            return (x + others[0] + others[1]["y"]) * scale[0]

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.shapes = [inputs[0].shape, inputs[1][0].shape]
            ctx.scale = inputs[2][0]

        @staticmethod
        def backward(ctx, g):
            assert ctx.shapes == [(3,), (3,)]
            return g * ctx.scale, None, None

        @staticmethod
        def vmap(info, in_dims, x, others, scale):
            seen.append((in_dims, others[0].shape, others[1]["y"].shape))
            return Sum.apply(x, others, scale), 0

    x, y = fg.tensor(A), fg.tensor(B[0])
    same(fgf.vmap(lambda x: Sum.apply(x, [x * 2, {"y": y}], (3, "text")))(x), (x * 3 + y) * 3)
    same(fgf.vmap(fgf.grad(lambda x: Sum.apply(x, [x.detach() * 2, {"y": y}], (3, "text")).sum()))(x), fg.full_like(x, 3.0))
    assert seen[0] == ((0, [0, {"y": None}], (None, None)), (4, 3), (3,))


def test_broadcast_gradients_are_summed():
    def build(T):
        class Add(T.autograd.Function):
            generate_vmap_rule = True

            @staticmethod
            def forward(x, y):
                return x + y

            @staticmethod
            def setup_context(ctx, inputs, output):
                pass

            @staticmethod
            def backward(ctx, g):
                return g, g

        return Add.apply

    agree(lambda T, F, x, y: F.vmap(F.grad(lambda x, y: build(T)(x, y).sum(), (0, 1)))(x[:, :1], y), A, B)
    agree(lambda T, F, x, y: F.grad(lambda x, y: F.vmap(build(T))(x[:, :1], y).sum(), (0, 1))(x, y), A, B)
    agree(lambda T, F, x, y: F.grad(lambda x, y: F.vmap(build(T), (0, None))(x, y).sum(), (0, 1))(x, y[0]), A, B)


def wrong(T, rule=None, separate=True, generate=False):
    attributes = {"forward": staticmethod(lambda x: x * 1), "setup_context": staticmethod(lambda ctx, i, o: None)}
    if not separate:
        attributes = {"forward": staticmethod(lambda ctx, x: x * 1)}
    if rule is not None:
        attributes["vmap"] = staticmethod(rule)
    return type("Wrong", (T.autograd.Function,), {**attributes, "generate_vmap_rule": generate}).apply


WRONG = {
    "no rule": (dict(), "does not have vmap support"),
    "two rules": (dict(rule=lambda info, dims, x: (x, 0), generate=True), "both generate_vmap_rule=True and an overridden vmap"),
    "one form": (dict(separate=False, generate=True), "must override the setup_context staticmethod"),
    "one return": (dict(rule=lambda info, dims, x: x), "to have two returns"),
    "three returns": (dict(rule=lambda info, dims, x: (x, 0, 0)), "Got 3 returns"),
    "dims": (dict(rule=lambda info, dims, x: (x, (0, 0))), "returned an incompatible (output, out_dims) tuple"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_functions(name):
    options, message = WRONG[name]
    fail_alike(lambda T, F, x: F.vmap(wrong(T, **options))(x), A, message=message)


@pytest.mark.parametrize("differentiated", [False, True])
@pytest.mark.parametrize(
    ("dims", "nested", "expected"),
    [
        ((0, None), None, [((2, "different"), (0, None), (2, 3, 4))]),
        ((1, None), None, [((3, "different"), (1, None), (2, 3, 4))]),
        ((-1, None), None, [((4, "different"), (2, None), (2, 3, 4))]),
        ((None, 0), None, [((5, "different"), (None, 0), (2, 3, 4))]),
        ((0, None), (2, None), [((2, "different"), (0, None), (2, 3)), ((4, "error"), (0, None), (4, 2, 3))]),
    ],
)
def test_a_rule_is_told_where_the_examples_lie(dims, nested, expected, differentiated):
    def run(T):
        seen = []

        class Product(T.autograd.Function):
            @staticmethod
            def forward(x, y):
                return x * y

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(*inputs)

            @staticmethod
            def backward(ctx, grad):
                x, y = ctx.saved_tensors
                return grad * y, (grad * x).sum()

            @staticmethod
            def vmap(info, in_dims, x, y):
                assert isinstance(in_dims, tuple)
                seen.append(((info.batch_size, info.randomness), in_dims, tuple(x.shape)))
                at = in_dims[0]
                if at is not None:
                    x = x.movedim(at, 0)
                if in_dims[1] is not None:
                    x = x if at is not None else x.expand(info.batch_size, *x.shape)
                    y = y.reshape(-1, *[1] * (x.dim() - 1))
                return Product.apply(x, y).movedim(0, -1), -1

        x = T.arange(24.0, dtype=T.float64).reshape(2, 3, 4) + 1
        apply = Product.apply
        if differentiated:
            apply = T.func.grad(lambda x, y: Product.apply(x, y).sum())
        y = T.tensor(2.0, dtype=T.float64)
        if dims[1] is not None:
            y = T.arange(float(3 if nested else 5), dtype=T.float64) + 2
        mapped = T.func.vmap(apply, in_dims=dims, randomness="different")
        if nested:
            if nested[1] is not None:
                y = T.stack([y + n for n in range(5)])
            mapped = T.func.vmap(mapped, in_dims=nested)
        return seen, mapped(x, y).tolist()

    seen, values = run(fg)
    if not differentiated:
        assert seen == expected
    try:
        import torch
    except ImportError:
        return
    theirs = run(torch)
    assert values == theirs[1]
    # What is the same for all is given repeated where something differentiates.
    assert seen == theirs[0] or differentiated and dims[0] is None


def test_arguments_that_forward_takes_by_name_only():
    class Shifted(fg.autograd.Function):
        @staticmethod
        def forward(x, *, y):
            return x + y

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def vmap(info, in_dims, x, *, y):
            return x + y, 0

    x = fg.ones(3)
    for call in (Shifted.apply, fg.vmap(Shifted.apply)):
        with pytest.raises(TypeError, match=r"forward\(\) got an unexpected keyword argument 'y'"):
            call(x, y=x)


def product(T):
    """`x**2 * y`, with a derivative of its own that is mapped as it is."""

    class Product(T.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, y):
            return x * x * y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, grad):
            x, y = ctx.saved_tensors
            return grad * 2 * x * y, grad * x * x

    return Product.apply


@pytest.mark.parametrize("dims", [((None, 0), (None, 0)), ((0, None), (None, 0)), ((None, 0), (0, None)), ((0, 0), (None, 0))], ids=str)
@pytest.mark.parametrize("prepared", [lambda x: x, lambda x: x.sin()], ids=["leaf", "result"])
def test_gradients_of_each_example_of_maps_within_maps(dims, prepared):
    """What is the same for all examples of some maps has a gradient for each example of all of them."""

    def run(function, vmap):
        of_one = lambda x, y: fgf.grad(lambda x: function(prepared(x), y).sum())(x)
        return vmap(vmap(of_one, dims[0]), dims[1])(*given)

    def looped(f, in_dims):
        def mapped(*args):
            count = next(len(a) for a, d in zip(args, in_dims) if d is not None)
            pick = lambda n: (a if d is None else a[n] for a, d in zip(args, in_dims))
            return fg.stack([f(*pick(n)) for n in range(count)])

        return mapped

    given = []
    for place in range(2):
        counts = [size for size, d in zip((4, 2), (dims[1][place], dims[0][place])) if d is not None]
        given.append(fg.tensor(RNG.normal(size=(*counts, 3))))
    same(run(product(fg), fg.vmap), run(lambda x, y: x * x * y, looped))

"""`gradcheck` and `gradgradcheck`: what they accept, what they find, and what their messages show."""

import warnings

import pytest
from known import in_all

import ferrograd as fg
from ferrograd.autograd import Function, gradcheck, gradgradcheck
from ferrograd.autograd.gradcheck import GradcheckError, get_analytical_jacobian, get_numerical_jacobian


def leaf(*values, dtype=fg.float64):
    return fg.tensor(list(values), dtype=dtype, requires_grad=True)


def function(backward, forward=lambda ctx, x: x * 2, **more):
    """A function whose forward doubles and whose derivatives are these."""
    methods = {"forward": forward, "backward": backward, **more}
    return type("Doubled", (Function,), {name: staticmethod(f) for name, f in methods.items()}).apply


RIGHT = function(lambda ctx, g: g * 2, jvp=lambda ctx, t: t * 2)
TRIPLED = function(lambda ctx, g: g * 3, jvp=lambda ctx, t: t * 3)
MATRIX = "tensor([[2.0000, 0.0000],\n        [0.0000, 2.0000]], dtype=torch.float64)"


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("forward", [False, True])
def test_right_derivatives_pass(fast, forward):
    options = dict(fast_mode=fast, check_forward_ad=forward, check_batched_grad=True, check_batched_forward_grad=forward)
    x, y = leaf(0.5, -1.0, 2.0), fg.rand(3, 2, dtype=fg.float64, requires_grad=True)
    assert gradcheck(RIGHT, x, **options)
    assert gradcheck(lambda x, y: ((x @ y).tanh(), x.sum() * y, 3 * x), (x, y), **options)
    assert gradcheck(lambda x, k, y: x**k * y[:, 0], (x, 3, y), **options)
    assert gradcheck(lambda x: [x.exp(), x.detach(), x > 0], x, **options)
    assert gradcheck(lambda x: x, x, **options) and gradcheck(lambda x: x[1:], x, **options)
    assert gradcheck(fg.tanh, fg.zeros(0, 2, dtype=fg.float64, requires_grad=True), **options)
    assert gradcheck(fg.tanh, fg.tensor(0.5, dtype=fg.float64, requires_grad=True), **options)
    assert gradcheck(lambda x: x.t() @ x, y, **options) and gradcheck(lambda x: x.reshape(-1) * 2, y.detach().t().requires_grad_(), **options)


def test_inputs_that_the_function_reaches_by_another_way():
    x = leaf(0.5, -1.0)
    assert gradcheck(lambda *_: (x * x).sum(), x)
    assert x.tolist() == [0.5, -1.0] and x._version == 0
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda x: 1 / 0, x)


@pytest.mark.parametrize("mode", ["backward", "forward"])
def test_wrong_derivatives_are_shown(mode):
    options = dict(check_forward_ad=mode == "forward", check_backward_ad=mode == "backward")
    what = "Jacobian mismatch" if mode == "backward" else "Jacobian computed with forward mode mismatch"
    x = leaf(1.0, 2.0)
    with pytest.raises(GradcheckError) as raised:
        gradcheck(lambda k, x: (x * k, TRIPLED(x)), (1.0, x), **options)
    text = str(raised.value)
    assert text.startswith(f"{what} for output 1 with respect to input 1,\nnumerical:{MATRIX}\nanalytical:tensor([[3., 0.],")
    assert "The greatest difference is 1, at element" in text
    with pytest.raises(GradcheckError) as raised:
        gradcheck(TRIPLED, x, fast_mode=True, **options)
    text = str(raised.value)
    assert text.startswith(f"{what} for output 0 with respect to input 0,\nnumerical:")
    assert f"Numerical:\n{MATRIX}\nAnalytical:\ntensor([[3., 0.]," in text and "max per-element difference (slow mode) is: 1.0" in text
    assert not gradcheck(TRIPLED, x, raise_exception=False, **options)
    assert not gradcheck(TRIPLED, x, raise_exception=False, fast_mode=True, **options)


def test_fast_mode_finds_one_wrong_element_and_calls_little():
    calls = []

    def forward(ctx, x):
        calls.append(None)
        return x * 2

    def backward(ctx, g):
        g = g * 2
        g[77] *= 3
        return g

    x = fg.rand(100, dtype=fg.float64, requires_grad=True)
    assert gradcheck(function(lambda ctx, g: g * 2, forward), x, fast_mode=True)
    assert len(calls) == 3
    assert not gradcheck(function(backward), x, fast_mode=True, raise_exception=False)


def test_random_numbers_are_left_alone():
    fg.manual_seed(5)
    expected = fg.rand(3).tolist()
    fg.manual_seed(5)
    assert gradcheck(fg.tanh, leaf(0.5, 1.0), fast_mode=True, check_batched_grad=True)
    assert fg.rand(3).tolist() == expected


def test_backward_that_differs_from_pass_to_pass():
    passes = []

    def backward(ctx, g):
        passes.append(None)
        return g * (2 + 1e-9 * len(passes))

    with pytest.raises(GradcheckError, match=r"not reentrant(.|\n)*differ by 2e-09; the tolerance is nondet_tol=0.0"):
        gradcheck(function(backward), leaf(1.0, 2.0))
    assert gradcheck(function(backward), leaf(1.0, 2.0), nondet_tol=1e-6)


def test_gradients_that_are_not_there():
    def lazy(backward):
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        return function(backward, forward)

    def both(ctx, g, h):
        return sum((k * grad for k, grad in ((2, g), (3, h)) if grad is not None), fg.zeros(2, dtype=fg.float64))

    assert gradcheck(lazy(both), leaf(1.0, 2.0))

    def one(ctx, g, h):
        if g is None and h is None:
            return fg.ones(2, dtype=fg.float64)
        return both(ctx, g, h)

    with pytest.raises(GradcheckError, match=r"undefined: those of outputs \[0, 1\]"):
        gradcheck(lazy(one), leaf(1.0, 2.0))
    assert gradcheck(lazy(one), leaf(1.0, 2.0), check_undefined_grad=False)

    def fails(ctx, g, h):
        if g is None and h is None:
            raise RuntimeError("no gradient")
        return both(ctx, g, h)

    with pytest.raises(GradcheckError, match="Expected backward function to handle undefined output grads.*no gradient"):
        gradcheck(lazy(fails), leaf(1.0, 2.0))


def test_backward_that_ignores_its_gradient():
    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(function(lambda ctx, g: fg.ones_like(g) * 2), leaf(3.0))


def test_results_without_history_that_depend_on_the_input():
    with pytest.raises(GradcheckError, match="expected to be zero: output 0 .*input 1"):
        gradcheck(lambda k, x: x.detach() * k, (2.0, leaf(1.0, 2.0)))
    assert gradcheck(lambda x: fg.ones(2), leaf(1.0)) and gradcheck(lambda x: x > 1, leaf(3.0)) and gradcheck(lambda x: (), leaf(3.0))


def test_batches_of_gradients_and_tangents():
    def reads(ctx, g):
        return g * 2 if g.sum().item() else g

    with pytest.raises(GradcheckError, match="While computing batched gradients, got: vmap"):
        gradcheck(function(reads), leaf(1.0, 2.0), check_batched_grad=True)
    forward = function(lambda ctx, g: g * 2, jvp=reads)
    with pytest.raises(GradcheckError, match="While computing batched forward gradients, got: vmap"):
        gradcheck(forward, leaf(1.0, 2.0), check_forward_ad=True, check_batched_forward_grad=True)


@in_all
@pytest.mark.parametrize("count", [1, 2])
def test_inputs_without_a_tangent(T, count):
    """Each is tried with a tangent of zeros and with none, beside the others that have one."""
    calls = []

    class Same(T.autograd.Function):
        @staticmethod
        def forward(ctx, *xs):
            return tuple(x.clone() for x in xs)

        @staticmethod
        def jvp(ctx, *tangents):
            calls.append([t.abs().sum().item() > 0 for t in tangents])
            return tangents

    xs = [T.ones(1, dtype=T.float64, requires_grad=True) for _ in range(count)]
    options = dict(check_forward_ad=True, check_backward_ad=False, check_batched_grad=False)
    assert T.autograd.gradcheck(Same.apply, xs, check_undefined_grad=False, **options)
    plain, calls[:] = list(calls), []
    assert T.autograd.gradcheck(Same.apply, xs, check_undefined_grad=True, **options)
    one, other = [False, True], [True, False]
    assert calls[len(plain) :] == ([[False]] if count == 1 else [one, one, other, other])


def test_what_is_refused():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(fg.tanh, x.detach(), raise_exception=False)
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(fg.tanh, x.detach()[:1].expand(3).requires_grad_())
    with pytest.raises(AssertionError, match="at least one of check_forward_ad or check_backward_ad"):
        gradcheck(fg.tanh, x, check_backward_ad=False)
    with pytest.raises(AssertionError, match="requires check_forward_ad"):
        gradcheck(fg.tanh, x, check_batched_forward_grad=True)
    with pytest.raises(TypeError, match="a Tensor or a tuple of Tensors, got float"):
        gradcheck(lambda x: 3.0, x)
    with pytest.warns(UserWarning, match="Input #1 .*not a double precision"):
        assert gradcheck(lambda k, x: x * k, (2, leaf(1.0, dtype=fg.float32)), eps=1e-2, atol=1e-2)
    assert not gradcheck(lambda x: x * float("nan"), x, raise_exception=False)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("forward", [False, True])
def test_second_derivatives(fast, forward):
    options = dict(fast_mode=fast, check_fwd_over_rev=forward, check_batched_grad=True)
    x, w = leaf(0.5, -1.0), fg.rand(2, 3, dtype=fg.float64, requires_grad=True)
    assert gradgradcheck(lambda x, w: ((x @ w).tanh(), x.exp()), (x, w), gen_non_contig_grad_outputs=True, **options)
    assert gradgradcheck(fg.tanh, x, leaf(0.3, 0.4), **options) and gradgradcheck(fg.tanh, x, fg.ones(2, dtype=fg.float64), **options)
    assert gradgradcheck(lambda x: x * 2, x, **options)


def test_wrong_second_derivatives():
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x.detach() * g

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    square = function(backward, forward)
    assert gradcheck(square, leaf(1.0, 2.0))
    for fast in (False, True):
        with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
            gradgradcheck(square, leaf(1.0, 2.0), fast_mode=fast)
    assert not gradgradcheck(square, leaf(1.0, 2.0), raise_exception=False)
    with pytest.raises(AssertionError, match="check_rev_over_rev"):
        gradgradcheck(square, leaf(1.0), check_rev_over_rev=False)
    for asked in ("check_undefined_grad", "check_batched_grad"):
        with pytest.raises(AssertionError, match=f"{asked}=True requires check_rev_over_rev"):
            gradgradcheck(fg.sin, leaf(1.0), check_fwd_over_rev=True, check_rev_over_rev=False, **{"check_undefined_grad": False, asked: True})
    assert gradgradcheck(fg.sin, leaf(1.0), check_fwd_over_rev=True, check_rev_over_rev=False, check_undefined_grad=False)


def verdicts(lib, Function):
    """What each library says of the same functions."""
    x = lib.tensor([0.5, -1.0, 2.0], dtype=lib.float64, requires_grad=True)

    def made(backward):
        return type("F", (Function,), {"forward": staticmethod(lambda ctx, x: x * 2), "backward": staticmethod(backward)}).apply

    functions = [
        lib.tanh,
        lambda x: x.detach() * x,
        lambda x: x * float("inf"),
        lambda x: x.relu(),
        lambda x: (x - 0.5).relu(),
        lambda x: (x - 0.5).abs(),
        lambda x: x.max(),
        lambda x: x.round() if hasattr(x, "round") else x.floor(),
        made(lambda ctx, g: g * 2),
        made(lambda ctx, g: g * 2.0001),
        made(lambda ctx, g: g * 2.1),
        made(lambda ctx, g: g + 2),
        made(lambda ctx, g: None),
    ]
    for f in functions:
        for fast in (False, True):
            for check in (lib.autograd.gradcheck, lib.autograd.gradgradcheck):
                try:
                    yield check(f, x, raise_exception=False, fast_mode=fast)
                except Exception as error:
                    yield type(error).__name__


def test_verdicts_are_torchs():
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(verdicts(fg, Function)) == list(verdicts(torch, torch.autograd.Function))


@pytest.mark.parametrize("fast", [True, False])
def test_functions_whose_results_change_their_look(fast):
    x = fg.ones(1, dtype=fg.float64, requires_grad=True)
    for what, function in (
        ("shape", lambda x: fg.cat([x, x]) if x.item() >= 1 else x),
        ("dtype", lambda x: x.float() if x.item() >= 1 else x),
    ):
        with pytest.raises(AssertionError, match=f"same {what} when inputs are perturbed"):
            gradcheck(function, x, fast_mode=fast)


@pytest.mark.parametrize("fast", [True, False])
def test_passes_that_differ(fast):
    class Shaky(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return grad * (1 + fg.rand(grad.shape, dtype=grad.dtype) * 1e-7)

    x = fg.ones(4, dtype=fg.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="Backward is not reentrant"):
        gradcheck(Shaky.apply, x, fast_mode=fast)
    assert gradcheck(Shaky.apply, x, fast_mode=fast, nondet_tol=1e-5)


def test_jacobians_by_their_older_names():
    def f(inputs):
        return (inputs[0] * 2).sum() * inputs[1]

    x, y = (fg.tensor(v, dtype=fg.float64, requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0, 5.0]))
    rows = [[[6, 8, 10]] * 2, [[6, 0, 0], [0, 6, 0], [0, 0, 6]]]
    numerical, analytical = get_numerical_jacobian, get_analytical_jacobian
    with pytest.warns(FutureWarning, match="get_numerical_jacobian"):
        found = numerical(f, (x, y, fg.ones(1)))
    assert [j.round(decimals=6).tolist() for j in found] == rows
    with pytest.warns(FutureWarning):
        (only,) = numerical(f, (x, y), target=y)
    assert only.round(decimals=6).tolist() == rows[1]
    with pytest.warns(FutureWarning, match="get_analytical_jacobian"):
        found, *good = analytical((x, y, fg.ones(1, requires_grad=True)), f((x, y)))
    assert [j.tolist() for j in found] == [*rows, [[0, 0, 0]]] and good == [True] * 3
    for call in (lambda: numerical(f, (x, y), grad_out=2.0), lambda: analytical((x,), x * 2, grad_out=2.0)):
        with pytest.warns(FutureWarning), pytest.raises(ValueError, match="Expected grad_out to be 1.0"):
            call()

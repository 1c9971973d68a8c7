"""Operations written in Python: `autograd.Function`."""

import gc
import weakref

import pytest
from known import in_all

import ferrograd as fg
from ferrograd.autograd import Function, gradcheck, gradgradcheck
from ferrograd.autograd.function import once_differentiable


def leaf(*values):
    return fg.tensor(list(values), dtype=fg.float64, requires_grad=True)


class Power(Function):
    @staticmethod
    def forward(ctx, x, n):
        ctx.save_for_backward(x, None)
        ctx.n = n
        return x**n

    @staticmethod
    def backward(ctx, grad):
        x, nothing = ctx.saved_tensors
        assert nothing is None
        return ctx.n * x ** (ctx.n - 1) * grad, None


class SumAndProduct(Function):
    """The form without a context in forward."""

    @staticmethod
    def forward(a, b, scale=1.0):
        return scale * a * b, a + b

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2], output[0])
        ctx.scale = inputs[2]

    @staticmethod
    def backward(ctx, product, total):
        a, b, kept = ctx.saved_tensors
        ctx.kept = kept
        return ctx.scale * product * b + total, ctx.scale * product * a + total, None


def test_value_node_and_gradients_to_second_order():
    x = leaf(2.0, 3.0)
    y = Power.apply(x, 3)
    assert y.tolist() == [8.0, 27.0]
    assert y.grad_fn.name() == type(y.grad_fn).__name__ == "PowerBackward"
    assert y.grad_fn is y.grad_fn and y.grad_fn.n == 3
    assert y.grad_fn.next_functions[0][0].variable is x and len(y.grad_fn.next_functions) == 1
    assert repr(y).endswith("grad_fn=<PowerBackward>)")
    y.sum().backward()
    assert x.grad.tolist() == [12.0, 27.0]
    assert gradcheck(lambda x: Power.apply(x, 3), leaf(0.5, 1.5))
    assert gradgradcheck(lambda x: Power.apply(x, 3), leaf(0.5, 1.5))


def test_setup_context_and_several_outputs():
    a, b = leaf(2.0), fg.tensor([5.0], dtype=fg.float64)
    product, total = SumAndProduct.apply(a, b)
    assert product.grad_fn is total.grad_fn and total.output_nr == 1
    assert product.grad_fn.needs_input_grad == (True, False, False)
    (product + total).backward(retain_graph=True)
    assert a.grad.tolist() == [6.0] and product.grad_fn.kept.grad_fn is product.grad_fn
    assert gradcheck(SumAndProduct.apply, (leaf(2.0, 0.5), leaf(3.0, 1.0)))
    assert SumAndProduct.apply(a, b, scale=2.0)[0].item() == 20.0


def test_a_freed_graph_and_saved_tensors():
    y = Power.apply(leaf(2.0), 2)
    node = y.grad_fn
    assert node.saved_tensors[0].tolist() == [2.0]
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        node.saved_tensors
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


@in_all
def test_a_context_outlives_its_graph(T):
    contexts = []

    class Kept(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, None)
            contexts.append(ctx)
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            assert ctx.saved_tensors == (x, None)
            return grad

    x = T.ones(1, requires_grad=True)
    for retain in (True, False):
        Kept.apply(x).backward(retain_graph=retain)
    Kept.apply(x)
    kept, freed, never = contexts
    assert kept.saved_tensors[0] is x and never.saved_tensors[1] is None
    with pytest.raises(RuntimeError, match="second time .*saved tensors after they have already been freed"):
        freed.saved_tensors
    with T.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        never.saved_tensors


def test_an_output_that_a_context_kept_goes_with_its_graph():
    class Kept(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            contexts.append(ctx)
            return y

    contexts = []
    y = Kept.apply(leaf(0.0))
    assert contexts[0].saved_tensors[0].tolist() == [1.0]
    del y
    gc.collect()
    with pytest.raises(RuntimeError, match="already been freed"):
        contexts[0].saved_tensors


def test_a_circle_through_what_a_context_kept_is_collected():
    class Kept(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.witness = witness
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad

    class Witness:
        pass

    witness = Witness()
    gone = weakref.ref(witness)
    x = leaf(1.0)
    y = x * 2
    z = Kept.apply(y)
    z.grad_fn.circle = z
    y.register_hook(lambda grad, z=z: grad)
    del witness, x, y, z
    gc.collect()
    assert gone() is None


@in_all
def test_a_function_that_was_not_applied(T):
    function = type("Same", (T.autograd.Function,), {})()
    assert function.needs_input_grad is None and function.saved_tensors == ()


def test_a_saved_tensor_changed_in_place():
    x = leaf(2.0) * 1
    y = Power.apply(x, 2)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation.*PowerBackward"):
        y.backward()


class Triple(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad


def test_mark_dirty():
    x = leaf(1.0, 2.0)
    y = x * 1
    assert Triple.apply(y) is y and y.grad_fn.name() == "TripleBackward"
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        Triple.apply(leaf(1.0))


def test_mark_dirty_of_a_view_rewrites_the_history_of_its_base():
    x = leaf(1.0, 2.0)
    y = x * 1
    Triple.apply(y[0])
    assert y.tolist() == [3.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 1.0]


def test_dirty_tensors_must_be_outputs():
    class Forgets(Triple):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x * 2

    with pytest.raises(RuntimeError, match="must all be outputs"):
        Forgets.apply(leaf(1.0) * 1)


def test_outputs_without_gradient():
    seen = []

    class Parts(Function):
        @staticmethod
        def forward(ctx, x):
            mask = x > 1
            copy = x.clone()
            ctx.mark_non_differentiable(copy)
            ctx.set_materialize_grads(False)
            return copy, mask, x * 2, "text"

        @staticmethod
        def backward(ctx, *grads):
            seen.append(grads)
            return grads[2] * 2

    x = leaf(1.0, 2.0)
    copy, mask, double, text = Parts.apply(x)
    assert not copy.requires_grad and not mask.requires_grad and double.requires_grad and text == "text"
    double.sum().backward()
    assert seen[0][0] is None and seen[0][1] is None and x.grad.tolist() == [2.0, 2.0]


def test_gradients_that_are_missing_are_zeros():
    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, first, second):
            assert second.tolist() == [0.0, 0.0]
            return first + second

    x = leaf(1.0, 2.0)
    Both.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_an_input_returned_is_another_tensor():
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = leaf(1.0)
    y = Identity.apply(x)
    assert y is not x and y.data_ptr() == x.data_ptr()
    y.backward()
    assert x.grad.tolist() == [2.0]


WRONG = {
    "too few": (lambda g: g, RuntimeError, r"incorrect number of gradients \(expected 2, got 1\)"),
    "too many": (lambda g: (g, None, g), RuntimeError, r"incorrect number of gradients \(expected 2, got 3\)"),
    "a number": (lambda g: (3, None), RuntimeError, r"expected Variable or None \(got int\)"),
    "for no tensor": (lambda g: (g, g), RuntimeError, "different than None at position 2"),
    "another shape": (lambda g: (g[:1], None), RuntimeError, r"invalid gradient at index 0 - got \[1\]"),
    "an exception": (lambda g: {}["key"], KeyError, "key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_backward_returns_is_checked(case):
    found, error, message = WRONG[case]

    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, n):
            return x * n

        @staticmethod
        def backward(ctx, grad):
            return found(grad)

    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=message) as raised:
        Wrong.apply(x, 2).sum().backward()
    assert x.grad is None
    if error is KeyError:
        assert raised.traceback[-1].name == "<lambda>"


def test_a_second_none_is_allowed():
    class Extra(Power):
        @staticmethod
        def backward(ctx, grad):
            return grad, None, None

    x = leaf(1.0)
    Extra.apply(x, 2).backward()
    assert x.grad.tolist() == [1.0]


def test_misuse():
    with pytest.warns(DeprecationWarning, match="apply"):
        legacy = Power()
    with pytest.raises(RuntimeError, match="Legacy autograd function"):
        legacy(leaf(1.0))
    with pytest.raises(NotImplementedError, match="forward"):
        Function.apply(leaf(1.0))

    class NoBackward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    with pytest.raises(NotImplementedError, match="backward"):
        NoBackward.apply(leaf(1.0)).backward()

    class SavesText(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward("text")
            return x * 1

    with pytest.raises(TypeError, match="can only save variables.*str"):
        SavesText.apply(leaf(1.0))


def test_once_differentiable():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, grad):
            return 2 * grad * ctx.saved_tensors[0]

    x = leaf(3.0)
    (g,) = fg.autograd.grad(Square.apply(x) ** 2, x, create_graph=True)
    assert g.item() == 108.0 and g.requires_grad
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.backward()


def test_nothing_is_recorded_without_need():
    x = leaf(2.0)
    with fg.no_grad():
        assert Power.apply(x, 2).grad_fn is None
    assert Power.apply(x.detach(), 2).grad_fn is None


def test_hooks_and_metadata_of_the_node():
    x = leaf(2.0)
    y = Power.apply(x, 2)
    y.grad_fn.metadata["line"] = 1
    assert y.grad_fn.metadata == {"line": 1}
    y.grad_fn.register_prehook(lambda grads: (grads[0] * 10,))
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] + 1,))
    y.backward()
    assert x.grad.tolist() == [41.0]


def test_a_context_goes_with_its_graph():
    y = Power.apply(leaf(2.0), 2)
    gone = weakref.ref(y.grad_fn)
    del y
    gc.collect()
    assert gone() is None


def test_reentrant_to_any_depth():
    class Countdown(Function):
        @staticmethod
        def forward(ctx, x):
            with fg.enable_grad():
                ctx.x = x.detach().requires_grad_() - 1
            return ctx.x.detach()

        @staticmethod
        def backward(ctx, grad):
            if ctx.x > 0:
                with fg.enable_grad():
                    Countdown.apply(ctx.x).sum().backward()
            return grad

    depth = fg.tensor(1000.0, requires_grad=True)
    Countdown.apply(depth).sum().backward()
    assert depth.grad.item() == 1.0


def test_what_is_kept_is_let_go_of_where_the_class_asks_for_it():
    class Once(Function):
        clear_saved_tensors_on_access = True
        reads = 1

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.exp())
            return x.exp()

        @staticmethod
        def backward(ctx, grad):
            for _ in range(Once.reads):
                (y,) = ctx.saved_tensors
            return grad * y

    x = fg.tensor([0.5], requires_grad=True)
    Once.apply(x).backward()
    assert x.grad.item() == pytest.approx(1.6487213)
    y = Once.apply(x)
    y.backward(retain_graph=True)
    y.backward()
    Once.reads = 2
    with pytest.raises(RuntimeError, match="can only be accessed once"):
        Once.apply(x).backward()


def test_gradients_of_constant_outputs_may_stay_none():
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            ctx.mark_non_differentiable(y)
            ctx._materialize_non_diff_grads = Two.zeros
            return x * 3, y

        @staticmethod
        def backward(ctx, first, second):
            seen.append(second)
            return first * 3

    for Two.zeros in (True, False):
        Two.apply(fg.ones(2, requires_grad=True))[0].sum().backward()
    assert seen[0].tolist() == [0.0, 0.0] and seen[1] is None


def test_what_forward_asked_for_is_seen_until_the_call_ends():
    class Marks(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            ctx.save_for_backward(x)
            assert ctx.dirty_tensors[0] is x and ctx.to_save[0] is x
            assert ctx.non_differentiable is None and ctx.saved_for_forward is None
            assert ctx.materialize_grads
            return x.mul_(2)

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    y = Marks.apply(fg.ones(1, requires_grad=True) * 1)
    assert y.grad_fn.dirty_tensors is None and y.grad_fn.to_save is None


def test_marks_on_what_is_no_input():
    class Stray(Function):
        @staticmethod
        def forward(ctx, x, view):
            y = x * 1
            y = y.view(-1) if view else y
            ctx.mark_dirty(y)
            return y

        @staticmethod
        def backward(ctx, grad):
            return grad, None

    x = fg.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="not an input"):
        Stray.apply(x, False)
    with pytest.raises(RuntimeError, match="not an input"):
        Stray.apply(x, True)


def test_jvp_that_leaves_the_tangent_of_a_changed_input():
    from ferrograd.autograd import forward_ad

    class Doubled(Function):
        @staticmethod
        def forward(ctx, x, works):
            ctx.works = works
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def jvp(ctx, tangent, _):
            return tangent.mul_(2) if ctx.works else tangent

    with forward_ad.dual_level():
        dual = forward_ad.make_dual(fg.ones(2), fg.ones(2))
        assert forward_ad.unpack_dual(Doubled.apply(dual, True)).tangent.tolist() == [2.0, 2.0]
        with pytest.raises(RuntimeError, match="must modify the corresponding gradient inplace"):
            Doubled.apply(dual, False)


def test_jvp_sees_what_was_saved_for_it_alone():
    class Kept(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 1

        @staticmethod
        def jvp(ctx, tangent):
            assert ctx.saved_tensors == ()
            return tangent * 1

    assert fg.func.jvp(Kept.apply, (fg.ones(1),), (fg.ones(1),))[1].tolist() == [1.0]


def test_jvp_of_a_constant_output_gives_none():
    class Constant(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 1
            ctx.mark_non_differentiable(y)
            return y

        @staticmethod
        def jvp(ctx, tangent):
            return tangent

    with pytest.raises(RuntimeError, match="You should return None at that position"):
        fg.func.jvp(Constant.apply, (fg.ones(1),), (fg.ones(1),))


def test_views_that_functions_made_where_nothing_is_recorded():
    class Whole(Function):
        @staticmethod
        def forward(ctx, x):
            return x[:]

        @staticmethod
        def backward(ctx, grad):
            return grad

    x = fg.ones(2, requires_grad=True)
    with fg.no_grad():
        y = Whole.apply(x)
    assert y.requires_grad == x[:].requires_grad
    with pytest.raises(RuntimeError, match="A view was created in no_grad mode"):
        y.zero_()


def test_a_pass_that_failed_leaves_the_node_what_it_keeps():
    class Square(fg.autograd.Function):
        fails = True

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            if Square.fails:
                raise LookupError("not yet")
            return 2 * x * grad

    x = fg.tensor([1.0, 3.0], requires_grad=True)
    y = Square.apply(x).sum()
    for _ in range(2):
        with pytest.raises(LookupError, match="not yet"):
            y.backward()
        assert y.grad_fn.next_functions[0][0].saved_tensors[0] is x
    Square.fails = False
    y.backward()
    assert x.grad.tolist() == [2.0, 6.0]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


@pytest.mark.parametrize("order", ["marked first", "kept first"])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("dtype", [fg.float64, fg.int64])
def test_a_kept_output_without_gradient_comes_back_without_history(order, separate, dtype):
    """What is marked as without gradient is the same tensor in backward, so that gradients made of it have no history either."""

    def compute(x):
        return x.clamp(-1, 1), (x.abs() <= 1).to(dtype)

    def keep(ctx, mask):
        steps = [lambda: ctx.mark_non_differentiable(mask), lambda: ctx.save_for_backward(mask)]
        for step in steps if order == "marked first" else reversed(steps):
            step()

    class Clamped(fg.autograd.Function):
        if separate:
            forward = staticmethod(compute)

            @staticmethod
            def setup_context(ctx, inputs, output):
                keep(ctx, output[1])
        else:

            @staticmethod
            def forward(ctx, x):
                y, mask = compute(x)
                keep(ctx, mask)
                return y, mask

        @staticmethod
        def backward(ctx, grad, _):
            (mask,) = ctx.saved_tensors
            seen.append(mask)
            return grad * mask

    seen = []
    x = fg.tensor([0.5, 2.0], dtype=fg.float64, requires_grad=True)
    y, mask = Clamped.apply(x)
    (g,) = fg.autograd.grad(y.sum(), x, create_graph=True)
    assert seen[0] is mask and not mask.requires_grad and mask.grad_fn is None
    assert g.tolist() == [1.0, 0.0] and not g.requires_grad
    w = fg.ones(2, dtype=fg.float64, requires_grad=True)
    y, mask = Clamped.apply(x)
    y.sum().backward()
    (seen[-1] * w).sum().backward()
    assert w.grad.tolist() == [1.0, 0.0]


def test_a_tangent_of_jvp_is_of_the_dtype_of_the_output():
    def given(dtype):
        class Same(fg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def jvp(ctx, tangent):
                return tangent.to(dtype)

        with fg.autograd.forward_ad.dual_level():
            dual = fg.autograd.forward_ad.make_dual(fg.ones(2), fg.full((2,), 3.0))
            return fg.autograd.forward_ad.unpack_dual(Same.apply(dual)).tangent

    assert given(fg.float64).dtype == fg.float32 and given(fg.float64).tolist() == [3, 3]
    for dtype in (fg.int64, fg.bool):
        with pytest.raises(RuntimeError, match="jvp returned a forward gradient of dtype"):
            given(dtype)

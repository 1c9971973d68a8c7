"""Dual tensors as views: their tangents are their own, their memory and its history those of the primal, and what hooks keep of them
has tangents. Every program is told with what it gives, which torch gives too where it is installed."""

import pytest
from known import in_all, known

import ferrograd as fg


def tangent(T, y):
    found = T.autograd.forward_ad.unpack_dual(y).tangent
    return None if found is None else [round(x, 4) for x in found.reshape(-1).tolist()]


def dual(T, primal, *tangent):
    return T.autograd.forward_ad.make_dual(primal, T.tensor(tangent or [1.0] * primal.numel()).reshape(primal.shape))


def through_hooks(T, f, pack=lambda t: t, unpack=lambda t: t):
    def watched(x):
        with T.autograd.graph.saved_tensors_hooks(pack, unpack):
            return f(x)

    return watched


@in_all
@pytest.mark.parametrize("pack", [lambda t: t, lambda t: t.clone(), lambda t: t.detach()], ids=["itself", "copy", "detached"])
def test_what_hooks_keep_has_tangents(T, pack):
    """Operands (`**`), results (`exp`, `sigmoid`) and values of custom functions."""

    class Cube(T.autograd.Function):
        @staticmethod
        def forward(x):
            return x * x * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * 3 * x * x

        @staticmethod
        def jvp(ctx, tangent):
            (x,) = ctx.saved_tensors
            return tangent * 3 * x * x

    def second(f):
        with T.autograd.forward_ad.dual_level():
            w = T.tensor([0.5, 2.0], requires_grad=True)
            y = f(dual(T, w))
            return tangent(T, T.autograd.grad(y.sum(), w)[0])

    for f in (lambda x: x**3, lambda x: x.exp() * x, lambda x: x.sigmoid().sin(), Cube.apply):
        assert second(through_hooks(T, f, pack)) == second(f)
    assert second(lambda x: x**3) == [3.0, 12.0]


@in_all
def test_second_derivatives_through_hooks_by_forward_mode(T):
    f = through_hooks(T, lambda x: (x.exp() * x).sum())
    x = T.zeros(2)
    found = T.autograd.functional.hessian(f, x, vectorize=True, outer_jacobian_strategy="forward-mode")
    assert found.tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert T.autograd.gradgradcheck(f, x.double().requires_grad_(), check_fwd_over_rev=True)


def test_transforms_see_through_hooks():
    f = through_hooks(fg, lambda x: (x.exp() * x).sum())
    x = fg.zeros(2)
    assert fg.func.hessian(f)(x).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert fg.func.jvp(fg.func.grad(f), (x,), (fg.ones(2),))[1].tolist() == [2.0, 2.0]
    assert fg.func.vmap(lambda v: fg.func.jvp(fg.func.grad(f), (x,), (v,))[1])(fg.eye(2)).tolist() == [[2.0, 0.0], [0.0, 2.0]]


@known(([1.6, 1.6], [1.0, 1.0], [1.0, 1.0]))
def test_a_change_of_the_memory_leaves_the_tangent(T):
    with T.autograd.forward_ad.dual_level():
        w = T.ones(2, requires_grad=True)
        d = dual(T, w)
        (g,) = T.autograd.grad((d**2).sum(), w)
        x = T.ones(4, requires_grad=True)
        e = dual(T, x[:2])
        with T.no_grad():
            w -= 0.1 * g
            x[3] = 7
        y = x * 1
        f = dual(T, y[:2])
        y[2:].zero_()
        return tangent(T, d**2), tangent(T, e), tangent(T, f)


@known((None, [3.88], None, [3.0, 3.0], "CopySlices"))
def test_primals_have_no_tangent_after_a_change_in_place(T):
    with T.autograd.forward_ad.dual_level():
        w = T.tensor([[0.5, 0.2], [0.1, 0.4]], requires_grad=True)
        h = w @ dual(T, T.ones(2))
        h += 1
        primal, _ = T.autograd.forward_ad.unpack_dual(h)
        b = T.ones(2, requires_grad=True) * 1
        d = dual(T, b)
        d.mul_(3)
        return tangent(T, (primal**2).sum()), tangent(T, (h**2).sum()), tangent(T, b), tangent(T, d), b.grad_fn.name().rpartition("::")[2]


@known((12.0, True, [2.0] * 3, 6.0, 12.0, 12.0))
def test_a_change_of_a_dual_is_one_of_its_primal(T):
    x = T.tensor(2.0, requires_grad=True)

    def slope(y):
        return T.autograd.grad((y * x).sum(), x)[0].item()

    with T.autograd.forward_ad.dual_level():
        w = T.ones(3)
        d = dual(T, w)
        d.mul_(x)
        found = [slope(w), d._is_view(), tangent(T, d)]
        w = T.ones(3)
        d = dual(T, w)
        w[0] = x
        found.append(slope(d))
        w = T.ones(3)
        T.autograd.forward_ad.unpack_dual(dual(T, w)).primal.mul_(x)
        found.append(slope(w))
    w = T.ones(3)
    T.func.jvp(lambda a: a.mul_(x) * 1, (w,), (T.ones(3),))
    return *found, slope(w)


@known(([0.0, 1.0, 10.0, 3.0], [0.0, 1.0, 10.0, 3.0], None, [5.0, 1.0, 5.0, 1.0], [18.0, 2.0, 2.0]))
def test_views_of_a_dual_share_its_tangent(T):
    def part(x):
        x[0] = x[1] * 3
        return x * x

    with T.autograd.forward_ad.dual_level():
        w = T.ones(4)
        d = dual(T, w, 0.0, 1.0, 2.0, 3.0)
        v = d.view(2, 2)
        v.t()[0].mul_(5)
        found = tangent(T, d), tangent(T, v), tangent(T, w), w.tolist()
    h = T.ones(3, requires_grad=True)
    return *found, T.func.jvp(part, (h * 1,), (T.ones(3),))[1].tolist()


def test_views_of_a_part_of_a_dual_with_a_history():
    with fg.autograd.forward_ad.dual_level():
        w = fg.ones(4, requires_grad=True) * 1
        d = dual(fg, w, 0.0, 1.0, 2.0, 3.0)
        v = d[1:3]
        last = v[1:]
        d.mul_(2)
        assert (tangent(fg, v), tangent(fg, last)) == ([2.0, 4.0], [4.0])
        v.mul_(3)
        assert (tangent(fg, d), tangent(fg, last), tangent(fg, w)) == ([0.0, 6.0, 12.0, 6.0], [12.0], None)
        last.zero_()
        assert tangent(fg, d) == [0.0, 6.0, 0.0, 6.0]

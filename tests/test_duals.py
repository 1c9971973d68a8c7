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


def put(T, d):
    y = T.zeros(2)
    y[:] = d
    return y


#: Functions whose result has memory of its own, and so a tangent of its own.
COPIES = {
    "clone": lambda T, d: d.clone(),
    "copy_": lambda T, d: T.zeros(2).copy_(d),
    "assignment": put,
    "add_": lambda T, d: T.zeros(2).add_(d),
    "sum": lambda T, d: T.zeros(2) + d,
    "sum with a number": lambda T, d: d + 1,
    "difference": lambda T, d: d - T.zeros(2),
    "to": lambda T, d: d.to(T.float32, copy=True),
    "cat": lambda T, d: T.cat([d]),
    "stack": lambda T, d: T.stack([d]),
    "where": lambda T, d: T.where(T.tensor([True, True]), d, d),
    "broadcast": lambda T, d: d + T.zeros(3, 2),
    "slice_scatter": lambda T, d: T.slice_scatter(T.zeros(2), d),
    "a sum over one row": lambda T, d: d[None].sum(0),
    "repeat": lambda T, d: d.repeat(1),
    "of a view": lambda T, d: T.zeros(4)[:2].copy_(d),
}
#: Functions whose result is the tensor or a view of it.
VIEWS = {
    "view": lambda T, d: d.view(2, 1),
    "alias": lambda T, d: d[:],
    "expand": lambda T, d: d.expand(3, 2),
    "contiguous": lambda T, d: d.contiguous(),
    "reshape": lambda T, d: d.reshape(1, 2),
}


@in_all
@pytest.mark.parametrize("name", [*COPIES, *VIEWS])
def test_tangents_share_memory_where_their_primals_do(T, name):
    with T.autograd.forward_ad.dual_level():
        d = dual(T, T.tensor([1.0, 2.0]), 10.0, 20.0)
        y = {**COPIES, **VIEWS}[name](T, d)
        before = tangent(T, y)
        T.autograd.forward_ad.unpack_dual(d).tangent.zero_()
        assert tangent(T, y) == (before if name in COPIES else [0.0] * len(before))


@known(([(3, 1), (1, 3), (3, 1), (3, 1)], [False, False, False, False, True, True], [0.0] * 6))
def test_a_tangent_lies_as_its_primal(T):
    forward = T.autograd.forward_ad
    x, column = T.arange(6.0).reshape(2, 3), T.ones(3, 1)
    t = T.zeros(6)
    pairs = [
        (x, T.ones(3, 2).t()),
        (x.t(), T.ones(3, 2)),
        (x, T.ones(1, 1).expand(2, 3)),
        (x[:, :2], T.ones(2, 2)),
        (x, T.ones(2, 3)),
        (column.t(), T.ones(1, 3)),
    ]
    with forward.dual_level():
        found = [forward.unpack_dual(forward.make_dual(p, t)).tangent for p, t in pairs]
        shared = [g.data_ptr() == t.data_ptr() for g, (_, t) in zip(found, pairs)]
        seen = forward.unpack_dual(forward.make_dual(T.zeros(7)[:6], t)).tangent
        seen.add_(1)
        return [g.stride() for g in found[:4]], shared, t.tolist()


@known(([7.0, 7.0, 0.0, 0.0], [7.0, 7.0], [14.0, 14.0, 0.0, 0.0], [14.0, 14.0]))
def test_a_view_that_is_written_into_shares_the_tangent_of_its_base(T):
    with T.autograd.forward_ad.dual_level():
        base = T.zeros(4)
        view = base[:2]
        view.copy_(dual(T, T.ones(2), 7.0, 7.0))
        found = tangent(T, base), tangent(T, view)
        T.autograd.forward_ad.unpack_dual(view).tangent.mul_(2)
        return *found, tangent(T, base), tangent(T, view)


@known((None, None, [4.0], True, False, True, [2.0], 2.0, 2.0, 1.0))
def test_tangents_that_are_not_carried(T):
    forward = T.autograd.forward_ad
    switch, enabled = forward._set_fwd_grad_enabled, forward._is_fwd_grad_enabled

    def f(x):
        with switch(False):
            shift = x**2
        return x**2 - shift

    with forward.dual_level():
        x = dual(T, T.tensor([2.0]))
        before = enabled()
        with switch(False):
            y, seen, within = x * x, tangent(T, x), enabled()
            e = dual(T, T.tensor([1.0]), 2.0)
        found = [tangent(T, y), seen, tangent(T, x * x), before, within, enabled(), tangent(T, e)]
    x, t = T.tensor(1.0), T.tensor(1.0)
    with switch(False):
        value = T.func.jvp(f, (x,), (t,))[1].item()
    second = T.func.jvp(lambda x: T.func.jvp(f, (x,), (t,))[1], (x,), (t,))[1].item()

    def outer(x):
        with switch(False):
            inner = T.func.jvp(lambda y: y * x, (x,), (t,))[1]
        return inner + x

    return *found, value, second, T.func.jvp(outer, (x,), (t,))[1].item()


@in_all
@pytest.mark.parametrize("name", ["igamma", "igammac", "zeta"])
def test_no_tangent_where_the_derivative_is_not_known(T, name):
    f = T.special.zeta if name == "zeta" else getattr(T, name)
    x = T.tensor([1.5, 2.5])
    with T.autograd.forward_ad.dual_level():
        for call in (lambda d: f(d, x), lambda d: f(d, d)):
            with pytest.raises(NotImplementedError, match=f"Trying to use forward AD with .*{name} that does not support it"):
                call(dual(T, x))


def test_tangents_of_the_other_argument_are_known():
    x = fg.tensor([1.5, 2.5], dtype=fg.float64, requires_grad=True)
    for f in (fg.igamma, fg.igammac, fg.special.zeta):
        assert fg.autograd.gradcheck(lambda x: f(fg.tensor([2.0, 3.0], dtype=fg.float64), x), x, check_forward_ad=True)

"""What a graph needs of its values and what it does not, and histories that are not lost."""

import pytest
from known import in_all

import ferrograd as fg

FACTORS = {
    "@": lambda x, w: x @ w, "mm": lambda x, w: fg.mm(x, w), "mv": lambda x, w: x @ w[:, 0], "dot": lambda x, w: x[0] @ w[:, 0],
    "bmm": lambda x, w: fg.bmm(x[None], w[None]), "batch": lambda x, w: x.expand(2, 3, 3) @ w, "linear": lambda x, w: fg.nn.functional.linear(x, w.t()),
    "addmm": lambda x, w: fg.addmm(fg.zeros(2), x, w), "einsum": lambda x, w: fg.einsum("ij,jk->ik", x, w),
    "cross": lambda x, w: fg.linalg.cross(x, w[:, 0].expand(3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_may_change_whose_values_no_gradient_needs(name):
    x, w = fg.arange(9.0).reshape(3, 3), fg.ones(3, 2, requires_grad=True)
    FACTORS[name](x, w).sum().backward()
    expected, w.grad = w.grad, None
    y = FACTORS[name](x, w).sum()
    with fg.no_grad():
        w -= 0.5
    y.backward()
    assert w.grad.equal(expected)
    y = FACTORS[name](x, w).sum()
    x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_addends_need_no_factor():
    x, c = fg.ones(2, 2, requires_grad=True), fg.ones(2, 2)
    y = fg.addmm(x, c, c)
    c.zero_()
    y.sum().backward()
    assert x.grad.tolist() == [[1, 1], [1, 1]]


def test_a_view_keeps_the_history_of_its_base_when_it_is_given_other_memory():
    v, w = fg.zeros(6).reshape(2, 3), fg.ones(3, requires_grad=True)
    v[0] = w
    v.data = fg.ones(2, 3)
    assert v.requires_grad and not v.is_leaf
    v.sum().backward()
    assert w.grad.tolist() == [1, 1, 1]
    base = fg.zeros(6)
    v = base.view(6)
    base[0] = w[0]
    v.data = fg.ones(6)
    assert v.requires_grad and v.grad_fn is not None


@pytest.mark.parametrize("call", [
    lambda x, dtype: x.sum(dtype=dtype), lambda x, dtype: x.sum(0, dtype=dtype), lambda x, dtype: x.prod(dtype=dtype),
    lambda x, dtype: x.prod(0, dtype=dtype), lambda x, dtype: x.cumsum(0, dtype=dtype), lambda x, dtype: x.cumprod(0, dtype=dtype),
    lambda x, dtype: x.nansum(dtype=dtype),
])  # fmt: skip
def test_no_gradient_is_lost_in_integers(call):
    x = fg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="requires a gradient has none through a result of dtype .*int64"):
        call(x, fg.int64)
    with fg.no_grad():
        assert call(x, fg.int64).dtype == fg.int64
    assert call(x.detach(), fg.int32).dtype == fg.int32 and call(x, fg.float64).requires_grad


def test_what_has_no_elements_is_contiguous():
    assert fg.ones(1, 3, 3, 0).T.is_contiguous() and fg.ones(3, 2, 3, 4).narrow(2, 0, 0).swapaxes(-4, -1).is_contiguous()


def test_a_view_of_what_was_cut_off_and_changed_since_leads_nowhere():
    def run(T):
        w = T.ones(3, requires_grad=True)
        x = w * 2
        view, other = x[0:2], x[1:]
        x.detach_()
        before = T.autograd.grad(other.sum(), w)[0].tolist()
        x.masked_fill_(T.tensor([True, False, False]), 5.0)
        found = T.autograd.grad(view.sum(), w, allow_unused=True)
        return before, view.tolist(), view.requires_grad, view.grad_fn.name(), found

    assert run(fg) == ([0.0, 2.0, 2.0], [5.0, 2.0], True, "AsStridedBackward0", (None,))
    try:
        import torch
    except ImportError:
        return
    assert run(torch) == run(fg)


@pytest.mark.parametrize("change", ["view", "base"])
@pytest.mark.parametrize("is_leaf", [True, False])
def test_a_view_of_unrecorded_origin_whose_memory_changed_is_a_value_that_nobody_differentiates(change, is_leaf):
    w = fg.tensor([1.0, -2.0, 0.5], requires_grad=True)
    base = w if is_leaf else w * 1
    with fg.no_grad():
        view = base[1:]
        (view if change == "view" else base).add_(1)
    assert (view * 2).tolist() == [-2.0, 3.0] and view.detach().tolist() == [-1.0, 1.5]
    with pytest.raises(RuntimeError, match="no_grad"):
        (view * view).sum().backward()
    assert w.grad is None


def function_of_views(T):
    class Viewed(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, grad):
            return grad

    return Viewed.apply


#: What becomes of a view before it is written into, and whether that is recorded.
STEPS = {
    "nothing": lambda T, v: v,
    "t_": lambda T, v: v.t_(),
    "squeeze_": lambda T, v: v.squeeze_(),
    "unsqueeze_": lambda T, v: v.unsqueeze_(0),
    "a view of it": lambda T, v: v.view(-1),
}


@in_all
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("requires", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_views_of_custom_functions_may_not_be_written_into(T, step, requires, recorded):
    if step == "a view of it" and not recorded:
        pytest.skip("that view was made under no_grad, and torch names the mode")
    base = T.zeros(2, 2, requires_grad=requires).clone()
    view = function_of_views(T)(base)
    # A recorded change of the layout is refused at once.
    with pytest.raises(RuntimeError, match="This view was created inside a custom Function.*clon"):
        with T.set_grad_enabled(recorded):
            view = STEPS[step](T, view)
        view.add_(T.ones(1, requires_grad=True))


#: Several views of one tensor.
SEVERAL = {
    "unbind": lambda x: x.unbind(), "rows": list, "split": lambda x: x.split(1), "chunk": lambda x: x.chunk(2),
    "sizes": lambda x: x.split_with_sizes([1, 1]), "a view of one": lambda x: [x.unbind()[0][:1]],
}  # fmt: skip


@in_all
@pytest.mark.parametrize("name", SEVERAL)
def test_one_of_several_views_takes_no_history(T, name):
    weight = T.ones(1, requires_grad=True)
    for write in (lambda v: v.add_(weight), lambda v: v.copy_(weight.expand(v.shape)), lambda v: v.__setitem__(0, weight[0])):
        view = SEVERAL[name](T.zeros(2, 2))[0]
        with pytest.raises(RuntimeError, match="is the output of a function that returns multiple views"):
            write(view)
    base = T.zeros(2, 2)
    SEVERAL[name](base)[0].add_(1)
    with T.no_grad():
        SEVERAL[name](base)[0].add_(weight)
    assert base.sum() >= 2 and not base.requires_grad

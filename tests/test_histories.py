"""What a graph needs of its values and what it does not, and histories that are not lost."""

import pytest

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

"""How often a tensor was changed in place, `_version`: known numbers, which torch gives too where it is installed."""

import math

import pytest
from known import in_all

#: Changes of a tensor of shape (2, 1, 3), and by how much they count.
CHANGES = {
    "squeeze_()": 1,
    "squeeze_(1)": 1,
    "squeeze_(0)": 1,
    "squeeze_((0, 1))": 1,
    "unsqueeze_(0)": 1,
    "unsqueeze_(-1)": 1,
    "transpose_(0, 2)": 1,
    "transpose_(1, 1)": 1,
    "swapaxes_(0, 2)": 1,
    "swapdims_(0, 2)": 1,
    "add_(1)": 1,
    "mul_(2).sub_(1)": 2,
    "zero_()": 1,
    "fill_(2)": 1,
    "copy_(y)": 1,
    "clamp_(0, 1)": 1,
    "masked_fill_(y > 0, 1)": 1,
    "index_fill_(0, i, 1)": 1,
    "index_add_(0, i, y[:1])": 1,
    "scatter_(0, i.reshape(1, 1, 1), 5)": 1,
    "index_put_((i,), y[:1])": 1,
    "uniform_()": 1,
    "normal_()": 1,
    "bernoulli_()": 1,
    "requires_grad_(False)": 0,
    "detach_()": 0,
    "data.add_(1)": 0,
}
#: Changes of a matrix.
OF_MATRICES = {
    "t_()": 1,
    "t_().t_()": 2,
    "transpose_(0, 1)": 1,
    "squeeze_()": 1,
    "unsqueeze_(1)": 1,
    "swapaxes_(0, 1)": 1,
    "fill_diagonal_(1)": 1,
    "t().add_(1)": 1,
    "tril_()": 1,
}
#: Those that change the layout.
LAYOUTS = list(OF_MATRICES)[:6]


def rows():
    yield from (((2, 1, 3), text, count) for text, count in CHANGES.items())
    yield from (((3, 3), text, count) for text, count in OF_MATRICES.items())


@in_all
@pytest.mark.parametrize("shape, text, count", list(rows()))
def test_changes_are_counted(T, shape, text, count):
    x = T.zeros(shape)
    same, part = x.detach(), x[0]
    eval(f"x.{text}", {"x": x, "y": T.ones(shape), "i": T.tensor([0])})
    assert (x._version, same._version, part._version) == (count, count, count)


@in_all
@pytest.mark.parametrize("change", LAYOUTS)
def test_what_a_derivative_keeps_may_not_change_its_layout(T, change):
    x = T.ones(3, 3, requires_grad=True) * 2
    y = (x * x).sum()
    eval(f"x.{change}", {"x": x})
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@in_all
def test_changes_that_do_not_count(T):
    x = T.ones(2, requires_grad=True)
    a, b = x * 2, T.zeros(2)
    y = a * a
    with T.autograd._unsafe_preserve_version_counter((a, b)):
        b.add_(1)
        with T.no_grad():
            a.mul_(10)
    assert (a._version, b._version) == (0, 0)
    y.sum().backward()
    assert x.grad.tolist() == [80.0, 80.0]


@in_all
def test_a_result_that_its_derivative_does_not_read_may_change(T):
    x = T.tensor([0.5], dtype=T.float64, requires_grad=True)
    y = x.erfinv()
    y.mul_(3)
    y.backward()
    assert abs(x.grad.item() - 1.5 * math.pi**0.5 * math.exp(T.special.erfinv(x).item() ** 2)) < 1e-12

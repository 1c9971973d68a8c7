"""Calls in the forms that torch had before factors were given by name: what it still takes, with what they give, and what it
refuses."""

import warnings

import pytest
from known import in_all

import ferrograd as fg

#: Calls and what they give; `m` stands for a method in place too.
TAKEN = {
    "T.add(t, 2, u)": [21.0, 42.0],
    "T.add(t, 2, other=u)": [21.0, 42.0],
    "T.add(input=t, alpha=2, other=u)": [21.0, 42.0],
    "T.add(1, 2, t)": [3.0, 5.0],
    "T.add(t, T.tensor(2.0), u)": [21.0, 42.0],
    "T.add(t, 2.5, T.tensor([1, 2]))": [3.5, 7.0],
    "T.add(t, 2, u, out=T.empty(2))": [21.0, 42.0],
    "t.add(2, u)": [21.0, 42.0],
    "t.add(2, other=u)": [21.0, 42.0],
    "t.clone().add_(2, u)": [21.0, 42.0],
    "T.sub(t, 2, u)": [-19.0, -38.0],
    "t.sub(2, u)": [-19.0, -38.0],
    "t.clone().sub_(2, u)": [-19.0, -38.0],
    "T.addcmul(t, 2, t, u)": [21.0, 82.0],
    "T.addcmul(t, 2, tensor1=t, tensor2=u)": [21.0, 82.0],
    "t.addcmul(2, t, u)": [21.0, 82.0],
    "t.clone().addcmul_(2, t, u)": [21.0, 82.0],
    "T.addcdiv(t, 2, u, t)": [21.0, 22.0],
    "t.addcdiv(2, u, t)": [21.0, 22.0],
    "t.clone().addcdiv_(2, u, t)": [21.0, 22.0],
    "T.addmm(2, C, A, B)": [[21.0, 24.0], [45.0, 52.0]],
    "T.addmm(2, C, 3, A, B)": [[59.0, 68.0], [131.0, 152.0]],
    "T.addmm(2, C, 3, mat1=A, mat2=B)": [[59.0, 68.0], [131.0, 152.0]],
    "T.addmm(2, C, A, B, out=T.empty(2, 2))": [[21.0, 24.0], [45.0, 52.0]],
    "T.addmm(2.5, C.long(), A.long(), B.long())": [[21, 24], [45, 52]],
    "C.addmm(2, A, B)": [[21.0, 24.0], [45.0, 52.0]],
    "C.addmm(2, mat1=A, mat2=B)": [[21.0, 24.0], [45.0, 52.0]],
    "C.addmm(2, 3, A, B)": [[59.0, 68.0], [131.0, 152.0]],
    "C.clone().addmm_(2, A, B)": [[21.0, 24.0], [45.0, 52.0]],
    "C.clone().addmm_(2, 3, A, B)": [[59.0, 68.0], [131.0, 152.0]],
    "T.addmv(2, t, A, w)": [13.0, 29.0],
    "T.addmv(2, t, 3, A, w)": [35.0, 79.0],
    "t.addmv(2, A, w)": [13.0, 29.0],
    "t.clone().addmv_(2, 3, A, w)": [35.0, 79.0],
    "T.addr(2, C, t, w)": [[5.0, 6.0], [8.0, 10.0]],
    "T.addr(2, C, 3, t, w)": [[11.0, 14.0], [20.0, 26.0]],
    "C.addr(2, t, w)": [[5.0, 6.0], [8.0, 10.0]],
    "C.clone().addr_(2, 3, t, w)": [[11.0, 14.0], [20.0, 26.0]],
    "T.addbmm(2, C, A[None], B[None])": [[21.0, 24.0], [45.0, 52.0]],
    "T.addbmm(2, C, 3, A[None], B[None])": [[59.0, 68.0], [131.0, 152.0]],
    "C.addbmm(2, A[None], B[None])": [[21.0, 24.0], [45.0, 52.0]],
    "C.clone().addbmm_(2, 3, A[None], B[None])": [[59.0, 68.0], [131.0, 152.0]],
    "T.baddbmm(2, C[None], A[None], B[None])": [[[21.0, 24.0], [45.0, 52.0]]],
    "T.baddbmm(2, C[None], 3, A[None], B[None])": [[[59.0, 68.0], [131.0, 152.0]]],
    "C[None].baddbmm(2, A[None], B[None])": [[[21.0, 24.0], [45.0, 52.0]]],
    "C[None].clone().baddbmm_(2, 3, A[None], B[None])": [[[59.0, 68.0], [131.0, 152.0]]],
}

#: Calls that look like these and are none.
REFUSED = [
    "T.add(t, u, 2)", "T.add(2, t, u)", "T.add(t, 2, u, alpha=2)", "T.subtract(t, 2, u)", "t.subtract(2, u)",
    "t.clone().subtract_(2, u)", "T.rsub(t, 2, u)", "T.mul(t, 2, u)", "T.addmm(C, 3, A, B)", "T.addmm(C, A, 3, B)",
    "C.addmm(A, B, 2, 3)", "T.addmm(C, A, B, 2, 3)", "T.addmm(2, C, A, B, beta=2)", "T.addmv(t, 3, A, w)", "T.addr(C, 3, t, w)",
    "T.addbmm(C, 3, A[None], B[None])", "T.baddbmm(C[None], 3, A[None], B[None])", "T.addcmul(2, t, t, u)",
    "T.index_add(t, 0, T.tensor([0]), 2, t[:1])",
]  # fmt: skip


def evaluated(T, text):
    names = {
        "T": T, "t": T.tensor([1.0, 2.0]), "u": T.tensor([10.0, 20.0]), "w": T.tensor([3.0, 4.0]),
        "A": T.tensor([[1.0, 2.0], [3.0, 4.0]]), "B": T.tensor([[5.0, 6.0], [7.0, 8.0]]), "C": T.ones(2, 2),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(text, names)


@in_all
@pytest.mark.parametrize("text", TAKEN)
def test_old_forms_are_taken(T, text):
    assert evaluated(T, text).tolist() == TAKEN[text]


@in_all
@pytest.mark.parametrize("text", REFUSED)
def test_other_forms_are_refused(T, text):
    with pytest.raises(TypeError):
        evaluated(T, text)


@in_all
def test_volatile_is_no_more(T):
    x = T.ones(1)
    with pytest.warns(UserWarning, match="volatile was removed"):
        assert x.volatile is False
    with pytest.warns(UserWarning, match="no_grad"):
        x.volatile = True


@pytest.fixture
def warns_always():
    fg.set_warn_always(True)
    yield
    fg.set_warn_always(False)


def test_a_warning_shows_the_form_of_today(warns_always):
    x = fg.ones(2, 2)
    with pytest.warns(UserWarning, match=r"addmm\(Number beta, Number alpha, Tensor mat1.*\n.*\n\taddmm\(Tensor mat1, Tensor mat2, \*"):
        x.addmm(2, 3, x, x)


def test_a_warning_is_shown_once_unless_all_are_asked_for(warns_always):
    x = fg.ones(2)
    shown = []
    for always in (True, True, False, False):
        fg.set_warn_always(always)
        assert fg.is_warn_always_enabled() is always
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            x.add(2, x)
        shown.append(len(found))
    assert shown == [1, 1, 0, 0]
    with pytest.raises(RuntimeError, match="expects a bool, but got int"):
        fg.set_warn_always(1)


def test_the_gradients_of_old_forms_are_those_of_today(warns_always):
    x, y = (fg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    evaluated(fg, "T.add")
    with pytest.warns(UserWarning, match="deprecated"):
        x.add(3, y).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0] and y.grad.tolist() == [3.0, 3.0]

"""`.data` that is written or assigned, and copies of tensors that share memory: what stays of views, histories and versions.

Every program is told with what it gives, which torch gives too where it is installed.
"""

import copy
import gc
import weakref

import pytest
from known import known, raised

import ferrograd as fg


def view(T):
    """A leaf, a result, and a view of the result."""
    w = T.ones(3, requires_grad=True)
    x = w * 2
    return w, x, x[:2]


def kind(t):
    return t.grad_fn.name().rpartition("::")[2]


@known(("CopySlices", "AsStridedBackward0", [6.0, 6.0, 2.0], [3.0, 3.0, 2.0], 1, 1))
def test_a_view_whose_data_was_written_hands_changes_on_to_its_base(T):
    w, x, v = view(T)
    v.data -= 1
    v.mul_(3)
    x.sum().backward()
    return kind(x), kind(v), w.grad.tolist(), x.tolist(), v._version, x._version


@known(("CopySlices", [6.0, 6.0, 2.0], True))
def test_a_view_that_is_assigned_its_own_data_stays_one(T):
    w, x, v = view(T)
    v.data = v.data
    v.mul_(3)
    x.sum().backward()
    return kind(x), w.grad.tolist(), v._base is x


@known(("CopySlices", [6.0, 6.0, 2.0], True))
def test_a_base_whose_data_was_written_stays_one(T):
    w, x, v = view(T)
    x.data -= 1
    v.mul_(3)
    x.sum().backward()
    return kind(x), w.grad.tolist(), v._base is x


@known(("AsStridedBackward0", [6.0, 6.0, 0.0]))
def test_a_view_whose_data_was_written_follows_its_base(T):
    w, x, v = view(T)
    v.data -= 1
    x.mul_(3)
    v.sum().backward()
    return kind(v), w.grad.tolist()


@known(([-1.0, -1.0], True, True, True))
def test_a_view_without_history_whose_data_was_written_takes_one_for_its_base(T):
    w = T.ones(2, requires_grad=True)
    x = T.zeros(3)
    v = x[:2]
    v.data -= 1
    v.mul_(w)
    x.sum().backward()
    return w.grad.tolist(), x.requires_grad, v._is_view(), v._base is x


@known(("RuntimeError", "RuntimeError", True))
def test_what_a_view_refuses_it_refuses_after_its_data_was_written(T):
    w, _, v = view(T)
    v.data -= 1
    of_leaf = w[:2]
    of_leaf.data -= 1
    return raised(v.detach_), raised(lambda: of_leaf.mul_(2)), of_leaf._base is w


@known((True, True))
def test_inference_tensors_stay_such_when_their_data_is_written(T):
    with T.inference_mode():
        x = T.ones(2)
        x.data -= 1
        v = x[:1]
        v.data -= 1
    return x.is_inference(), v.is_inference()


@known(([10.0, 12.0, 0.0], [2.0, 2.0, 2.0]))
def test_a_view_with_data_of_other_memory_keeps_its_history(T):
    w, x, v = view(T)
    v = w[:2]
    v.data = T.tensor([5.0, 6.0])
    (v * v).sum().backward()
    return w.grad.tolist(), x.tolist()


def test_a_view_with_data_of_other_memory_is_none():
    """torch calls it a view still, and gives the base the history of changes that its elements do not see."""
    w, x, v = view(fg)
    v.data = fg.tensor([5.0, 6.0])
    v.mul_(3)
    assert (v._is_view(), kind(v), kind(x)) == (False, "MulBackward0", "MulBackward0")
    assert (v.tolist(), x.tolist()) == ([15.0, 18.0], [2.0, 2.0, 2.0])
    (x.sum() + v.sum()).backward()
    assert w.grad.tolist() == [8.0, 8.0, 2.0]


@known(("RuntimeError", "RuntimeError", None, "AttributeError"))
def test_deleting_attributes(T):
    x = T.ones(2, requires_grad=True)
    x.sum().backward()
    refused = raised(lambda: delattr(x, "data")), raised(lambda: delattr(x, "requires_grad"))
    del x.grad
    return *refused, x.grad, raised(lambda: delattr(x, "shape"))


@known(([0.0, 0.0, 0.0], [7.0, 0.0], True, [0.0, 1.0, 2.0]))
def test_deep_copies_of_tensors_that_share_memory_share_theirs(T):
    b = T.arange(3.0)
    c = copy.deepcopy([b, b[:], {"part": b[1:]}, b])
    c[0].zero_()
    whole = c[1].tolist()
    c[2]["part"][0] = 7
    return whole, c[2]["part"].tolist(), c[3] is c[0], b.tolist()


@known(((1, 3), 1, [[1.0, 4.0], [2.0, 5.0]], 6, True, (0, 1), [8.0, 8.0]))
def test_deep_copies_keep_their_place_in_memory(T):
    x = T.arange(6.0).reshape(2, 3)[:, 1:].t().detach().requires_grad_()
    y = copy.deepcopy(x)
    spread = copy.deepcopy(T.ones(1).expand(2))
    spread[0:1].fill_(8.0)
    return y.stride(), y.storage_offset(), y.tolist(), len(y.detach().as_strided((6,), (1,), 0)), y.requires_grad, (
        spread.stride() + (1,)
    ), spread.tolist()


@known(([2.0, 2.0], [0.0, 0.0], True, [1.0]))
def test_deep_copies_of_gradients_share_as_the_gradients_do(T):
    x = T.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    y, g = copy.deepcopy((x, x.grad))
    g.zero_()
    empty = copy.deepcopy(T.tensor([1.0]))
    return x.grad.tolist(), y.grad.tolist(), y.grad.data_ptr() == g.data_ptr(), empty.tolist()


@pytest.mark.parametrize("shape, dtype", [((3,), fg.float32), ((1, 2), fg.float32), ((2,), fg.float64)])
def test_a_leaf_that_looks_otherwise_has_another_node_in_the_next_graph(shape, dtype):
    x = fg.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    x.grad = None
    x.data = fg.ones(shape, dtype=dtype)
    for factor in (3.0, 4.0):
        (x * factor).sum().backward()
        assert x.grad.shape == shape and x.grad.dtype == dtype and x.grad.unique().tolist() == [factor]
        x.grad = None


def test_hooks_of_the_node_of_a_leaf_go_with_its_graph():
    x, calls = fg.ones(2, requires_grad=True), []
    y = x * 2
    node = y.grad_fn.next_functions[0][0]
    node.register_hook(lambda *gradients: calls.append(1))
    y.sum().backward()
    del y, node
    (x * 2).sum().backward()
    assert calls == [1]


CLIPPED = {
    "data": lambda p: setattr(p.grad, "data", p.grad.data.clamp(-1, 1)),
    "data of a name": lambda p: (g := p.grad, setattr(g, "data", g.data.clamp(-1, 1))),
    "set_": lambda p: p.grad.set_(p.grad.clamp(-1, 1)),
    "in place": lambda p: p.grad.data.clamp_(-1, 1),
    "assigned": lambda p: (g := p.grad * 1, setattr(p, "grad", g), setattr(g, "data", g.data.clamp(-1, 1))),
}


@pytest.mark.parametrize("name", CLIPPED)
@pytest.mark.parametrize("kept", ["leaf", "result"])
def test_a_gradient_that_is_given_other_memory_is_the_gradient(name, kept):
    w = fg.tensor([1.0, -2.0, 0.5], requires_grad=True)
    p = w if kept == "leaf" else w * 1
    if kept == "result":
        p.retain_grad()
    (p * p).sum().backward(retain_graph=True)
    CLIPPED[name](p)
    assert p.grad.tolist() == [1.0, -1.0, 1.0]
    kept_grad = p.grad
    assert p.grad is kept_grad
    (p * 2).sum().backward()
    assert p.grad.tolist() == [3.0, 1.0, 3.0]


def test_hooks_may_give_a_gradient_other_memory():
    w = fg.tensor([1.0, -2.0], requires_grad=True)

    def double(g):
        g.data = g.data * 2

    w.register_hook(double)
    w.register_post_accumulate_grad_hook(lambda p: setattr(p.grad, "data", p.grad.data + 1))
    (w * w).sum().backward()
    assert w.grad.tolist() == [5.0, -7.0]


def test_the_object_of_a_gradient_keeps_no_graph():
    w = fg.ones(2, requires_grad=True)
    h = w * 2
    h.retain_grad()
    y = (h * h).sum()

    def hook(*gradients):
        pass

    y.grad_fn.register_hook(hook)
    gone = weakref.ref(hook)
    y.backward()
    grad = h.grad
    del h, y, hook
    gc.collect()
    assert gone() is None and grad.tolist() == [4.0, 4.0]
    grad.data = fg.zeros(2)
    assert grad.tolist() == [0.0, 0.0]


@known(([[[1.0] * 3] * 2], [[[1.0] * 3] * 2]))
def test_the_gradient_of_a_leaf_has_the_dimensions_that_were_added(T):
    found = []
    for x in (T.arange(6.0).view(2, 3).requires_grad_(), T.zeros(2, 3, requires_grad=True)):
        before = x * 2  # a graph that is alive
        with T.no_grad():
            x.unsqueeze_(0)
        (x * 1).sum().backward()
        found.append(x.grad.tolist())
        del before
    return tuple(found)


@known(([[[2.0] * 3] * 2],))
def test_so_has_that_of_a_graph_from_before(T):
    x = T.zeros(2, 3, requires_grad=True)
    before = (x * 2).sin()
    with T.no_grad():
        x.unsqueeze_(0)
    before.sum().backward()
    return (x.grad.tolist(),)


@known((None, None))
def test_a_gradient_that_does_not_fit_the_leaf_as_it_is_now_is_an_error(T):
    left = []
    for x in (T.arange(6.0).view(2, 3).requires_grad_(), T.zeros(2, 3, requires_grad=True)):
        before = (x * 2).sin()
        with T.no_grad():
            x.t_()
        with pytest.raises(RuntimeError):
            before.sum().backward()
        left.append(x.grad)
    return tuple(left)

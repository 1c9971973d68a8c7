"""Objects that swap what they are."""

import weakref

import pytest

import ferrograd as fg
from ferrograd.utils import set_module, swap_tensors


class Weight(fg.Tensor):
    pass


class Slotted(fg.Tensor):
    __slots__ = ("label", "kind")


def made(numbers, cls=Weight, requires_grad=False):
    return fg.Tensor._make_subclass(cls, fg.tensor(numbers), requires_grad)


def test_everything_is_swapped():
    x, y = fg.tensor([1.0, 2.0], requires_grad=True), made([3])
    x.grad, y.label = fg.tensor([5.0, 6.0]), "y"
    (x_id, y_id), grad = (id(x), id(y)), x.grad
    swap_tensors(x, y)
    assert (id(x), id(y)) == (x_id, y_id) and type(x) is Weight and type(y) is fg.Tensor
    assert x.tolist() == [3] and x.label == "y" and x.grad is None and not x.requires_grad
    assert y.tolist() == [1, 2] and y.grad is grad and y.requires_grad and not hasattr(y, "label")
    (y * 2).sum().backward()
    assert y.grad.tolist() == [7, 8]
    x.add_(1)
    assert x.tolist() == [4] and (x + 0).tolist() == [4]
    swap_tensors(x, y)
    assert x.tolist() == [1, 2] and y.tolist() == [4] and y.label == "y"


def test_results_keep_their_history():
    x = fg.ones(2, requires_grad=True)
    y, z = x * 3, fg.zeros(1)
    swap_tensors(y, z)
    z.sum().backward()
    assert x.grad.tolist() == [3, 3] and y.tolist() == [0] and y.grad_fn is None


def test_a_tensor_swapped_with_itself():
    x = fg.ones(2)
    swap_tensors(x, x)
    assert x.tolist() == [1, 1]


def test_slots_are_swapped():
    x, y = made([1.0], Slotted), made([2.0], Slotted)
    x.label, y.kind = "x", "y"
    swap_tensors(x, y)
    assert y.label == "x" and x.kind == "y" and not hasattr(x, "label") and not hasattr(y, "kind")
    with pytest.raises(RuntimeError, match="different slots"):
        swap_tensors(x, fg.ones(1))


def test_a_graph_that_leads_to_what_was_swapped_is_poisoned():
    x, y = fg.ones(2, requires_grad=True), fg.zeros(2)
    loss = (x + 3).sum()
    swap_tensors(x, y)
    with pytest.raises(RuntimeError, match="poisoned by swap_tensors"):
        loss.backward()
    del loss
    (y * 2).sum().backward()
    assert y.grad.tolist() == [2, 2]


def test_what_others_hold_is_not_swapped():
    x, y = fg.ones(2, requires_grad=True), fg.zeros(2)
    reference = weakref.ref(x)
    for pair, name in (((x, y), "t1"), ((y, x), "t2")):
        with pytest.raises(RuntimeError, match=f"Cannot swap {name} because it has weakref"):
            swap_tensors(*pair)
    del reference
    view = y[:1]
    x.grad = fg.ones(2)
    for held in (y, x.grad):
        with pytest.raises(RuntimeError, match="Expected use_count of t2 to be 1 or 2"):
            swap_tensors(fg.ones(1), held)
    assert view.tolist() == [0] and y.tolist() == [0, 0]


def test_the_module_of_a_class():
    class Layer:
        pass

    set_module(Layer, "layers")
    assert Layer.__module__ == "layers" and fg.typename(Layer()).startswith("layers.")
    with pytest.raises(TypeError, match="mod argument should be a string"):
        set_module(Layer, 3)

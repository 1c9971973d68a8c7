"""The dtype that the gradient of a leaf is gathered in: `Tensor.grad_dtype`."""

import pytest

import ferrograd as fg


def leaf(dtype=fg.float32):
    return fg.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)


class Wide(fg.autograd.Function):
    """Twice its argument, with a gradient in float64."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g.double() * 2


def test_it_is_the_dtype_of_the_leaf_unless_told():
    x = leaf()
    assert x.grad_dtype is fg.float32 and fg.ones(1, dtype=fg.int64).grad_dtype is fg.int64
    Wide.apply(x).sum().backward()
    assert x.grad.dtype is fg.float32
    x.grad_dtype = fg.float32
    assert x.grad_dtype is fg.float32


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("dtype, expected", [(None, fg.float64), (fg.float16, fg.float16), (fg.float64, fg.float64)])
def test_gradients_are_cast_to_it(before, dtype, expected):
    x = leaf()
    if before:
        x.grad_dtype = dtype
    y = Wide.apply(x)
    if not before:
        x.grad_dtype = dtype
    assert x.grad_dtype is dtype
    y.sum().backward(retain_graph=True)
    if before or dtype is not None:
        assert x.grad.dtype is expected
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_gradients_are_added_in_the_dtype_of_the_one_that_is_there():
    x = leaf(fg.bfloat16)
    x.grad_dtype = None
    (x * 2).sum().backward()
    assert x.grad.dtype is fg.bfloat16
    x.grad = x.grad.float()
    (x * 3).sum().backward()
    assert x.grad.dtype is fg.float32 and x.grad.tolist() == [5.0, 5.0]


def test_hooks_and_grad_see_it():
    x, seen = leaf(), []
    x.grad_dtype = fg.float64
    x.register_hook(lambda g: seen.append(g.dtype))
    (x * 2).sum().backward()
    (g,) = fg.autograd.grad((x * 2).sum(), x)
    assert seen == [fg.float64, fg.float64] and g.dtype is fg.float64


def test_what_may_be_assigned():
    x = leaf()
    x.grad_dtype = fg.float16
    with pytest.raises(RuntimeError, match="attempting to assign a gradient with dtype 'float' to a tensor with grad_dtype 'Half'"):
        x.grad = fg.ones(2)
    x.grad = fg.ones(2, dtype=fg.float16)
    x.grad_dtype = None
    with pytest.raises(RuntimeError, match="Cannot set grad_dtype to 'double' because there is already a gradient with dtype 'Half'"):
        x.grad_dtype = fg.float64
    x.grad = fg.ones(2, dtype=fg.float64)
    with pytest.raises(RuntimeError, match="grad_dtype must be a torch.dtype or None, but got int"):
        x.grad_dtype = 3
    with pytest.raises(RuntimeError, match="grad_dtype can only be accessed on leaf tensors"):
        (x * 2).grad_dtype
    with pytest.raises(RuntimeError, match="grad_dtype can only be set on leaf tensors"):
        (x * 2).grad_dtype = None
    with pytest.raises(RuntimeError, match="cannot be deleted"):
        del x.grad_dtype

"""Tensors made in inference mode, their views and copies, outside of the mode and in it: torch's results and errors."""

import numpy as np
import pytest

import ferrograd as fg


def made(T):
    with T.inference_mode():
        return T.arange(1.0, 5.0)


def viewed(T):
    x = T.arange(1.0, 5.0)
    with T.inference_mode():
        return x.view(-1)


TENSORS = {
    "made": made,
    "view": lambda T: made(T).view(-1),
    "slice": lambda T: made(T)[0:],
    "transposed": lambda T: made(T).view(2, 2).t(),
    "view under no_grad": lambda T: T.no_grad()(lambda: made(T).view(-1))(),
    "view of a normal tensor": viewed,
    "view of that": lambda T: viewed(T).view(-1),
    "clone": lambda T: made(T).clone(),
}


def weight(T, x):
    return T.ones(x.shape, requires_grad=True)


def assigned(x, name, value):
    setattr(x, name, value)
    return x


class Kept:
    """A custom function that keeps its arguments."""

    def __init__(self, T):
        class Product(T.autograd.Function):
            @staticmethod
            def forward(ctx, x, w):
                ctx.save_for_backward(x, w)
                return x * w

            @staticmethod
            def backward(ctx, grad):
                return None, grad * ctx.saved_tensors[0]

        self.apply = Product.apply


USES = {
    "mul_": lambda T, x: x.mul_(2),
    "mul_ by a weight": lambda T, x: x.mul_(weight(T, x)),
    "setitem": lambda T, x: x.__setitem__(0, 5.0),
    "zero_ under no_grad": lambda T, x: T.no_grad()(lambda: x.zero_())(),
    "t_": lambda T, x: x.t_(),
    "resize_": lambda T, x: x.resize_(2),
    "set_": lambda T, x: x.set_(T.ones(3)),
    "out": lambda T, x: T.add(T.ones(x.shape), 1, out=x),
    "detach_": lambda T, x: x.detach_(),
    "requires_grad_": lambda T, x: x.requires_grad_(),
    "requires_grad": lambda T, x: assigned(x, "requires_grad", True),
    "requires_grad_(False)": lambda T, x: x.requires_grad_(False),
    "version": lambda T, x: x._version >= 0,
    "is_view": lambda T, x: x._is_view(),
    "times a weight": lambda T, x: x * weight(T, x),
    "plus a weight": lambda T, x: x + weight(T, x),
    "product with a weight": lambda T, x: x.reshape(1, -1) @ T.ones(4, 2, requires_grad=True),
    "weight over": lambda T, x: weight(T, x) / x,
    "into a result": lambda T, x: (weight(T, x) * 1).mul_(x),
    "copied into a result": lambda T, x: (weight(T, x) * 1).copy_(x),
    "kept": lambda T, x: Kept(T).apply(x, weight(T, x)),
    "data of a weight": lambda T, x: assigned(weight(T, x), "data", x),
    "gradient of a weight": lambda T, x: assigned(weight(T, x), "grad", x),
    "gradient to start from": lambda T, x: (weight(T, x) * 2).backward(x),
    "grad": lambda T, x: T.func.grad(lambda y: (y.exp().sin() * y).sum())(x),
    "grad of grad": lambda T, x: T.func.grad(lambda y: T.func.grad(lambda z: (z**3).sum())(y).sum())(x),
    "jacrev": lambda T, x: T.func.jacrev(lambda y: y.exp() * y)(x),
    "jvp": lambda T, x: T.func.jvp(lambda y: y.exp() * y, (x,), (T.ones(x.shape),)),
    "per example": lambda T, x: T.func.vmap(T.func.grad(lambda y: (y.exp() * y).sum()))(x),
    "vjp": lambda T, x: T.func.vjp(lambda y: y.exp() * y, x)[0],
    "vmap": lambda T, x: T.func.vmap(lambda y: y * 2)(x),
}


def shown(T, value):
    if isinstance(value, tuple):
        return [shown(T, part) for part in value]
    if not isinstance(value, T.Tensor):
        return value
    rounded = [round(number, 4) for number in value.detach().reshape(-1).tolist()]
    return list(value.shape), rounded, value.requires_grad, value.is_inference()


def outcome(T, make, use, inside):
    x = make(T)
    try:
        with T.inference_mode(inside):
            found = use(T, x)
        return shown(T, found), shown(T, x)
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", TENSORS)
def test_as_torch(name, use, inside):
    torch = pytest.importorskip("torch")
    ours, theirs = (outcome(T, TENSORS[name], USES[use], inside) for T in (fg, torch))
    if use in ("detach_", "data of a weight") and inside and name in ("clone", "view of a normal tensor", "view of that"):
        pytest.skip("the other kind of tensor")
    if use in ("set_", "vmap", "jacrev", "data of a weight") and inside:
        # Of which mode results are that torch makes outside of it, or that have the memory of another tensor.
        ours, theirs = ([part[:3] for part in both] for both in (ours, theirs))
    assert ours == theirs


def test_transforms_of_what_was_made_in_inference_mode():
    x = made(fg)
    found = fg.func.grad(lambda y: (y.exp() * y).sum())(x)
    assert not found.is_inference() and not fg.is_inference_mode_enabled()
    with fg.inference_mode():
        again = fg.func.grad(lambda y: (y.exp() * y).sum())(x)
        assert fg.is_inference_mode_enabled() and not fg.is_grad_enabled()
        with pytest.raises(KeyError):
            fg.func.grad(lambda y: {}[y])(x)
        assert fg.is_inference_mode_enabled()
    assert found.tolist() == again.tolist() == (x.exp() * (x + 1)).tolist()


@pytest.mark.parametrize("change", ["resize_", "set_"])
def test_changes_of_layout_outside_of_the_mode_are_errors(change):
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
        USES[change](fg, made(fg))


def test_views_of_inference_tensors_are_detached_in_place():
    x = made(fg).view(2, 2)
    assert x.detach_() is x


SECOND = {
    "hessian": lambda T, x: T.func.hessian(lambda y: (y.exp() * y).sum())(x),
    "jacfwd of grad": lambda T, x: T.func.jacfwd(T.func.grad(lambda y: (y**3).sum()))(x),
    "jvp of grad": lambda T, x: T.func.jvp(T.func.grad(lambda y: (y**3).sum()), (x,), (T.ones(x.shape),)),
    "jacrev of jacfwd": lambda T, x: T.func.jacrev(T.func.jacfwd(lambda y: y.exp() * y))(x),
    "tangents that are kept": lambda T, x: T.func.jvp(lambda y: T.func.vjp(T.sin, y)[1](y)[0], (x,), (T.ones(x.shape) * 3,)),
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name, inside):
    torch = pytest.importorskip("torch")
    found = []
    for T in (fg, torch):
        with T.inference_mode(inside):
            value = SECOND[name](T, T.ones(3) * 0.5)
        found.append([t.tolist() for t in (value if isinstance(value, tuple) else (value,))])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert not fg.is_inference_mode_enabled()


def test_views_of_inference_leaves_ask_for_no_gradient():
    with fg.inference_mode():
        x = fg.ones(1, 2, 3, requires_grad=True)
    for view in (lambda x: x.view(-1), lambda x: x.transpose(0, 1), lambda x: x[0], lambda x: x.expand(2, 2, 3)):
        with fg.inference_mode():
            y = view(x)
        assert not y.requires_grad and y.is_leaf and y.is_inference() and y.grad_fn is None
        (y + fg.ones(1, requires_grad=True)).sum().backward()
        assert x.grad is None and y.grad is None
    # Outside of the mode they are recorded as everything else.
    (x.view(-1) + x.transpose(1, 2).reshape(-1)).sum().backward()
    assert x.grad.tolist() == [[[2.0] * 3] * 2]

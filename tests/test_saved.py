"""What nodes keep, looked at from outside: `_saved_*` and `_raw_saved_*`, as torch has them."""

import gc
import weakref

import numpy as np
import pytest
from known import in_all

import ferrograd as fg



def leaf(*values):
    return fg.tensor(list(values) or [1.0, 2.0], requires_grad=True)


MADE = {
    "mul": lambda T, x, w: x * w,
    "mul by a constant": lambda T, x, w: x * T.ones(2),
    "exp": lambda T, x, w: x.exp(),
    "sin": lambda T, x, w: x.sin(),
    "square": lambda T, x, w: x**2,
    "pow": lambda T, x, w: x**w,
    "div": lambda T, x, w: x / w,
    "mm": lambda T, x, w: T.mm(x[None], w[:, None]),
    "mv": lambda T, x, w: T.mv(T.outer(x, w), x),
    "dot": lambda T, x, w: x @ w,
    "max": lambda T, x, w: x.max(0)[0],
    "where": lambda T, x, w: T.where(x > 1, x, w),
    "sort": lambda T, x, w: x.sort()[0],
    "softmax": lambda T, x, w: x.softmax(0),
    "log_softmax": lambda T, x, w: x.log_softmax(0),
    "gather": lambda T, x, w: x.gather(0, T.tensor([0])),
    "sigmoid": lambda T, x, w: x.sigmoid(),
    "tanh": lambda T, x, w: x.tanh(),
    "relu": lambda T, x, w: x.relu(),
    "atan2": lambda T, x, w: T.atan2(x, w),
    "addmm": lambda T, x, w: T.addmm(x, T.outer(x, w), T.outer(w, x)),
    "logsumexp": lambda T, x, w: x.logsumexp(0),
    "bmm": lambda T, x, w: T.bmm(x.view(1, 2, 1), w.view(1, 1, 2)),
    "cumprod": lambda T, x, w: x.cumprod(0),
    "max of all": lambda T, x, w: x.max(),
    "median of all": lambda T, x, w: x.median(),
    "mm by a constant": lambda T, x, w: T.mm(x[None], T.ones(2, 1)),
    "constant mm": lambda T, x, w: T.mm(T.ones(1, 2), x[:, None]),
    "square mm": lambda T, x, w: (lambda m: m @ m)(T.outer(x, w)),
    "addmm of a constant": lambda T, x, w: T.addmm(x, T.ones(2, 2), T.outer(w, x)),
    "dot of a constant": lambda T, x, w: x @ T.ones(2),
    "prelu": lambda T, x, w: T.nn.functional.prelu(x[None], w),
    "max_pool": lambda T, x, w: T.nn.functional.max_pool2d(x[None, None, :], (1, 2)),
    "grid": lambda T, x, w: T.nn.functional.grid_sample(
        T.outer(x, w)[None, None], T.outer(x, w)[None, None], align_corners=False
    ),
    "attention": lambda T, x, w: T.nn.functional.scaled_dot_product_attention(
        x[None, None, None], w[None, None, None], x[None, None, None]
    ),
}


def kept(T, make):
    x, w = (T.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0]))
    node = make(T, x, w).grad_fn
    found = {}
    for name in dir(node):
        if name.startswith("_saved_"):
            value = getattr(node, name)
            found[name] = value.tolist() if isinstance(value, T.Tensor) else value
    return found, [name for name in dir(node) if name.startswith("_raw_saved_")]


@pytest.mark.parametrize("name", MADE)
def test_values_are_named_as_in_torch(name):
    torch = pytest.importorskip("torch")
    (ours, ours_raw), (theirs, theirs_raw) = kept(fg, MADE[name]), kept(torch, MADE[name])
    for attribute in [n for n in theirs if f"_raw{n}" in theirs_raw]:
        if theirs[attribute] is not None and attribute in ours:
            assert np.allclose(ours[attribute], theirs[attribute], rtol=1e-6)
    assert set(ours) <= set(theirs)
    assert set(ours_raw) <= set(theirs_raw)


@pytest.mark.parametrize("name", ["mm by a constant", "constant mm", "addmm of a constant", "dot of a constant"])
def test_factors_that_no_gradient_needs_are_none(name):
    found = kept(fg, MADE[name])[0]
    factors = [value for key, value in found.items() if not key.endswith(("sizes", "strides", "alpha", "beta"))]
    assert factors.count(None) == 1 and len(factors) == 2
    try:
        import torch
    except ImportError:
        return
    none = lambda found: {key for key, value in found.items() if value is None}  # noqa: E731
    assert none(found) == none(kept(torch, MADE[name])[0])


PRODUCTS = {
    "mm": (lambda a, b: a @ b, (3, 4), (4, 2)),
    "bmm": (lambda a, b: fg.bmm(a, b), (2, 3, 4), (2, 4, 2)),
    "batches": (lambda a, b: a @ b, (2, 3, 4), (4, 2)),
    "many on the right": (lambda a, b: a @ b, (3, 4), (2, 4, 2)),
    "mv": (lambda a, b: a @ b, (3, 4), (4,)),
    "row": (lambda a, b: a @ b, (4,), (2, 4, 3)),
    "column": (lambda a, b: a @ b, (2, 3, 4), (4,)),
    "dot": (lambda a, b: a @ b, (4,), (4,)),
    "cross": (lambda a, b: fg.linalg.cross(a, b), (2, 3), (2, 3)),
    "addmm": (lambda a, b: fg.addmm(fg.ones(1, dtype=a.dtype), a, b), (3, 4), (4, 2)),
    "addbmm": (lambda a, b: fg.addbmm(fg.ones(1, 1, dtype=a.dtype), a, b), (2, 3, 4), (2, 4, 2)),
    "addmv": (lambda a, b: fg.addmv(fg.ones(1, dtype=a.dtype), a, b), (3, 4), (4,)),
    "addr": (lambda a, b: fg.addr(fg.ones(1, 1, dtype=a.dtype), a, b), (3,), (4,)),
    "attention": (
        lambda a, b: fg.nn.functional.scaled_dot_product_attention(a.detach(), a.detach(), b), (2, 3, 4), (2, 3, 4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", PRODUCTS)
def test_factors_that_no_gradient_needs_are_not_kept_alive(name, which):
    product, *shapes = PRODUCTS[name]
    if name == "attention" and which == 0:
        pytest.skip("queries and keys give the weights")
    arrays = [np.random.default_rng(0).normal(size=shape) for shape in shapes]
    factors = [fg.tensor(array) for array in arrays]
    x = factors[which].requires_grad_() * 1
    given = [x if n == which else factor for n, factor in enumerate(factors)]
    y = product(*given)
    addresses = {row[3] for row in fg._ferrograd._node_keeps(y.grad_fn)}
    assert addresses and x.data_ptr() not in addresses
    both = [fg.tensor(array, requires_grad=True) for array in arrays]
    (expected,) = fg.autograd.grad(product(*both).pow(2).sum(), both[which])
    # So its values may change.
    x.detach().zero_()
    (found,) = fg.autograd.grad((y * y.detach()).sum() * 2, factors[which])
    np.testing.assert_allclose(found.tolist(), expected.tolist(), rtol=1e-12)


@pytest.mark.parametrize("name", PRODUCTS)
def test_second_derivatives_and_tangents_of_products_with_a_constant(name):
    product, *shapes = PRODUCTS[name]
    arrays = [np.random.default_rng(1).normal(size=shape) for shape in shapes]
    constant, x = fg.tensor(arrays[0]), fg.tensor(arrays[1], requires_grad=True)
    assert fg.autograd.gradcheck(lambda x: product(constant, x), x, check_forward_ad=True, check_batched_grad=True)
    assert fg.autograd.gradgradcheck(lambda x: product(constant, x) ** 2, x)


#: Calls on a matrix and a vector, and some settings that their nodes show.
SETTINGS = {
    "m[1]": dict(dim=0, index=1, self_sym_sizes=(2, 3)),
    "m[:, 1:2]": dict(dim=1, start=1, end=2, step=1, self_sym_sizes=(2, 3)),
    "m.transpose(0, 1)": dict(dim0=0, dim1=1),
    "m.permute(1, 0)": dict(dims=(1, 0)),
    "m.view(6)": dict(self_sym_sizes=(2, 3)),
    "m.expand(4, 2, 3)": dict(self_sym_sizes=(2, 3)),
    "m.unsqueeze(0)": dict(dim=0),
    "m[None].squeeze(0)": dict(dim=0, self_sym_sizes=(1, 2, 3)),
    "m[None].squeeze()": dict(self_sym_sizes=(1, 2, 3)),
    "m[None].squeeze((0,))": dict(dim=(0,), self_sym_sizes=(1, 2, 3)),
    "m.diagonal(1)": dict(offset=1, dim1=0, dim2=1, self_sym_sizes=(2, 3)),
    "m.unfold(1, 2, 1)": dict(dimension=1, size=2, step=1, self_sym_sizes=(2, 3)),
    "m.as_strided((2,), (1,), 1)": dict(size=(2,), stride=(1,), storage_offset=1),
    "m.as_strided((2,), (1,))": dict(size=(2,), stride=(1,), storage_offset=None),
    "m.split(2, 1)[0]": dict(dim=1, split_size=2, self_sym_sizes=(2, 3)),
    "m.split_with_sizes([1, 2], 1)[1]": dict(dim=1, split_sizes=(1, 2), self_sym_sizes=(2, 3)),
    "m.chunk(2)[0]": dict(dim=0, split_size=1, self_sym_sizes=(2, 3)),
    "m.unbind(1)[0]": dict(dim=1),
    "m.sum(0, keepdim=True)": dict(dim=(0,), keepdim=True, self_sym_sizes=(2, 3)),
    "m.sum()": dict(self_sym_sizes=(2, 3)),
    "m.mean(1)": dict(dim=(1,), keepdim=False, self_sym_sizes=(2, 3), self_sym_numel=6),
    "m.amax((0, 1))": dict(dim=(0, 1), keepdim=False),
    "m.max(1)[0]": dict(dim=1, keepdim=False, self_sym_sizes=(2, 3)),
    "m.var(0)": dict(dim=(0,), keepdim=False, correction=1),
    "m.norm(1, 0)": dict(dim=(0,), keepdim=False, ord=1),
    "m.logsumexp(0)": dict(dim=(0,), keepdim=False),
    "m.softmax(1)": dict(dim=1),
    "m.cumsum(1)": dict(dim=1),
    "m.sort(1)[0]": dict(dim=1, self_sym_sizes=(2, 3)),
    "m.topk(1, 1)[0]": dict(dim=1, self_sym_sizes=(2, 3)),
    "T.cat([m, m], 1)": dict(dim=1),
    "T.stack([m, m], 1)": dict(dim=1),
    "m**2": dict(exponent=2),
    "m**2.5": dict(exponent=2.5),
    "m + m": dict(alpha=1),
    "T.sub(m, m, alpha=3)": dict(alpha=3),
    "m.index_select(1, T.tensor([0]))": dict(dim=1, self_sym_sizes=(2, 3)),
    "m.gather(1, T.tensor([[0]]))": dict(dim=1),
    "m.flip(0, 1)": dict(dims=(0, 1)),
    "m.roll(1, 0)": dict(shifts=(1,), dims=(0,)),
    "m.repeat(2, 1)": dict(repeats=(2, 1), self_sym_sizes=(2, 3)),
    "T.nn.functional.pad(m, (1, 2))": dict(pad=(1, 2)),
    "T.nn.functional.leaky_relu(m, 0.5)": dict(negative_slope=0.5),
    "T.nn.functional.mse_loss(m, m, reduction='sum')": dict(reduction=2),
    "T.pdist(m, p=1)": dict(p=1.0),
    "m.norm()": dict(dim=None, keepdim=False, ord=2),
    "m.amax()": dict(dim=(), keepdim=False),
    "m.nansum()": dict(dim=None, keepdim=False),
    "m @ T.ones(3, 4)": dict(self_sym_sizes=(2, 3), self_sym_strides=(3, 1), mat2_sym_sizes=(3, 4), mat2_sym_strides=()),
    "m.t() @ m": dict(self_sym_sizes=(3, 2), self_sym_strides=(1, 3), mat2_sym_sizes=(2, 3), mat2_sym_strides=(3, 1)),
    "T.addmm(m[0], T.ones(4, 2), m, beta=0.5, alpha=2)": dict(
        mat1_sym_sizes=(4, 2), mat1_sym_strides=(), mat2_sym_sizes=(2, 3), mat2_sym_strides=(3, 1), alpha=2, beta=0.5
    ),
    "T.addbmm(m, m[None, :, :2], m[None], alpha=3)": dict(
        batch1_sym_argsize_0=1, batch1_sym_argsize_1=2, batch2_sym_argsize_2=3, alpha=3, beta=1
    ),
    "T.nn.functional.max_pool2d(m[None], (1, 2), padding=(0, 1), ceil_mode=True)": dict(
        kernel_size=(1, 2), stride=(), padding=(0, 1), dilation=(1, 1), ceil_mode=True
    ),
    "T.nn.functional.nll_loss(m, T.tensor([0, 2]), ignore_index=1, reduction='sum')": dict(reduction=2, ignore_index=1),
    "m**2.0": dict(exponent=2.0),
    "m**True": dict(exponent=True),
    "2.0**m": dict(self=2.0),
    "m.clamp(min=0.0)": dict(min=0.0, max=None),
    "m.clamp(0, 1.0)": dict(min=0, max=1.0),
    "m.clamp(max=1)": dict(min=None, max=1),
    "T.add(m, m, alpha=2.0)": dict(alpha=2.0),
    "T.rsub(m, m, alpha=2)": dict(alpha=2),
    "T.addcmul(m, m, m, value=2.0)": dict(value=2.0),
    "T.addmm(m[0], T.ones(4, 2), m, alpha=2.0)": dict(alpha=2.0, beta=1),
    "T.nn.functional.elu(m, 2.0)": dict(alpha=2.0),
    "T.nn.functional.celu(m)": dict(alpha=1.0),
    "T.nn.functional.softplus(m, 1.0)": dict(beta=1.0, threshold=20),
    "T.nn.functional.hardtanh(m)": dict(min_val=-1.0, max_val=1.0),
    "T.nn.functional.leaky_relu(m, 1.0)": dict(negative_slope=1.0),
    "T.nn.functional.huber_loss(m, m, delta=2)": dict(delta=2.0),
    "T.nn.functional.smooth_l1_loss(m, m)": dict(beta=1.0),
    "T.nn.functional.threshold(m, 1.0, 2)": dict(threshold=1.0),
    "T.nn.functional.threshold(m, False, False)": dict(threshold=False),
    "T.lerp(m, m, 1.0)": dict(weight=1.0),
    "T.logit(m, 1.0)": dict(eps=1.0),
    "T.logit(m)": dict(eps=None),
    "T.div(m, 2.0, rounding_mode='trunc')": dict(rounding_mode="trunc"),
    "T.div(m, m, rounding_mode='floor')": dict(rounding_mode="floor"),
    "T.div(m, 2.0, rounding_mode=None)": dict(rounding_mode=None),
    "m.norm(2.0)": dict(ord=2.0),
    "T.dist(m, m, 1)": dict(p=1),
    "T.nn.functional.nll_loss(m, T.tensor([0, 2]))": dict(weight=None),
    "T.nn.functional.interpolate(m[None], 4, mode='linear')": dict(
        output_size=(4,), align_corners=False, scales=None, self_sym_sizes=(1, 2, 3)
    ),
    "T.nn.functional.interpolate(m[None, None], scale_factor=(2, 1.5), mode='nearest')": dict(
        output_size=(4, 4), scales_h=2.0, scales_w=1.5, self_sym_sizes=(1, 1, 2, 3)
    ),
    "T.nn.functional.unfold(m[None, None], (1, 2), padding=(0, 1))": dict(
        kernel_size=(1, 2), dilation=(1, 1), padding=(0, 1), stride=(1, 1), self_sym_argsize_minus_1=3, self_sym_argsize_minus_2=2
    ),
    "T.nn.functional.embedding(T.tensor([0]), m, padding_idx=1)": dict(
        padding_idx=1, scale_grad_by_freq=False, weight_sym_argsize_0=2
    ),
    "T.nn.functional.scaled_dot_product_attention(m[None, None], m[None, None], m[None, None], scale=0.5)": dict(
        is_causal=False, scale=0.5, dropout_p=0.0
    ),
    "T.nn.functional.conv1d(m[None], T.ones(2, 2, 1), T.ones(2), stride=2, padding=1)": dict(
        stride=(2,), padding=(1,), dilation=(1,), transposed=False, output_padding=(0,), groups=1, bias_sym_sizes_opt=(2,)
    ),
    "T.nn.functional.conv_transpose1d(m[None], T.ones(2, 2, 1), stride=2, output_padding=1)": dict(
        stride=(2,), padding=(0,), dilation=(1,), transposed=True, output_padding=(1,), groups=1, bias_sym_sizes_opt=(0,)
    ),
}  # fmt: skip


@pytest.mark.parametrize("call", SETTINGS)
def test_settings(call):
    def shown(T):
        m = T.arange(6.0).reshape(2, 3).requires_grad_()
        node = eval(call, {"T": T, "m": m}).grad_fn
        assert all(f"_saved_{name}" in dir(node) for name in SETTINGS[call])
        return {name: getattr(node, f"_saved_{name}") for name in SETTINGS[call]}

    assert shown(fg) == SETTINGS[call]
    assert {name: type(value) for name, value in shown(fg).items()} | {"correction": int} == {
        name: type(value) for name, value in SETTINGS[call].items()
    } | {"correction": int}
    try:
        import torch
    except ImportError:
        return
    assert shown(torch) == SETTINGS[call]


@in_all
def test_the_loss_of_classes_keeps_what_it_was_given(T):
    scores, weight = T.zeros(3, 5, requires_grad=True), T.arange(5.0)
    target = T.tensor([1, 0, 4])
    loss = T.nn.functional.nll_loss(scores, target, weight, ignore_index=0)
    assert loss.grad_fn._saved_target is target and loss.grad_fn._saved_weight is weight
    loss.backward()
    assert scores.grad.sum(0).tolist() == pytest.approx([0, -0.2, 0, 0, -0.8])
    with pytest.raises(RuntimeError, match="after they have already been freed"):
        loss.grad_fn._saved_weight


@in_all
def test_what_no_gradient_needs_is_not_shown(T):
    x = T.ones(2, requires_grad=True)
    node = T.lerp(x, x * 2, 1.0).grad_fn
    assert not hasattr(node, "_saved_self") and not hasattr(node, "_saved_end")
    assert [float(y.grad_fn._saved_other) for y in (x * 2.0, x / 2)] == [2.0, 2.0]


def test_settings_stay_when_the_values_are_gone():
    y = leaf()[0] ** 2
    node = y.grad_fn.next_functions[0][0]
    y.backward()
    assert (y.grad_fn._saved_exponent, node._saved_dim, node._saved_index) == (2, 0, 0)


def test_indices_are_one_for_each_dimension():
    x, at = fg.ones(2, 3, requires_grad=True), fg.tensor([0, 2])
    node = x[:, at].grad_fn
    first, second = node._saved_indices
    assert first is None and second.tolist() == [0, 2]
    assert node._saved_self_sym_sizes == (2, 3)
    first, second = node._raw_saved_indices
    second.register_hooks(lambda t: t + 1, lambda t: t - 1)
    assert node._saved_indices[1].tolist() == [0, 2]
    with pytest.raises(RuntimeError, match="None is forbidden"):
        first.register_hooks(lambda t: t, lambda t: t)


def test_saved_tensors_are_of_a_class_that_programs_can_name():
    assert isinstance((leaf() * leaf()).grad_fn._raw_saved_self, fg.autograd.SavedTensor)
    with pytest.raises(RuntimeError, match="Trying to create a SavedTensor object from Python is forbidden"):
        fg.autograd.SavedTensor()


def test_a_saved_value_that_was_detached_in_place():
    x = leaf()
    z = x * 1
    y = z.sin()
    z.detach_()
    with pytest.raises(RuntimeError, match="Trying to use a saved tensor that has been detached in-place.*SinBackward0 saved it"):
        fg.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="detached in-place"):
        y.sum().backward()
    x = leaf()
    y = (x * x).sum()
    x.requires_grad_(False)
    fg.autograd.backward(y, create_graph=True)


@pytest.mark.parametrize("name", ["mul", "exp", "square", "pow", "div", "mm", "mv", "dot", "where", "softmax", "bmm"])
def test_all_that_torch_keeps_is_there(name):
    torch = pytest.importorskip("torch")
    assert set(kept(torch, MADE[name])[1]) == set(kept(fg, MADE[name])[1])


def test_a_saved_input_is_the_tensor_and_a_saved_result_has_its_node():
    x, w = leaf(), leaf(3.0, 4.0)
    y = x * w
    assert y.grad_fn._saved_self is x and y.grad_fn._saved_other is w
    z = x.exp()
    assert z.grad_fn._saved_result is not z
    assert z.grad_fn._saved_result.grad_fn is z.grad_fn and z.grad_fn._saved_result.tolist() == z.tolist()
    assert (x * fg.ones(2)).grad_fn._saved_self is None
    assert (x**2.5).grad_fn._saved_exponent == 2.5


def test_other_attributes_are_errors():
    y = leaf() * leaf()
    for name in ("_saved_foo", "_raw_saved_foo", "foo", "_saved_"):
        with pytest.raises(AttributeError, match=f"'MulBackward0' object has no attribute '{name}'"):
            getattr(y.grad_fn, name)
    with pytest.raises(AttributeError):
        y.grad_fn._saved_self = leaf()


def test_freed_and_changed_values_are_errors():
    x, w = leaf(), leaf(3.0, 4.0)
    y = x * w
    raw = y.grad_fn._raw_saved_self
    y.sum().backward()
    with pytest.raises(RuntimeError, match="after they have already been freed"):
        y.grad_fn._saved_self
    with pytest.raises(RuntimeError, match="register_hooks on a saved tensor after it has been freed"):
        raw.register_hooks(lambda t: t, lambda t: t)
    a = x * 1
    y = a * w
    with fg.no_grad():
        a.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.grad_fn._saved_self


def test_hooks_on_one_value():
    x, w = leaf(), leaf(3.0, 4.0)
    y = x * w
    raw = y.grad_fn._raw_saved_self
    calls = []
    raw.register_hooks(lambda t: calls.append("pack") or t.tolist(), lambda p: calls.append("unpack") or fg.tensor(p) * 10)
    assert raw.data == [1.0, 2.0] and raw.unpack_hook is not None
    assert y.grad_fn._raw_saved_other.unpack_hook is None and y.grad_fn._raw_saved_other.data is w
    assert y.grad_fn._saved_self.tolist() == [10.0, 20.0] and y.grad_fn._saved_other is w
    with pytest.raises(RuntimeError, match="hooks have already been set"):
        raw.register_hooks(lambda t: t, lambda t: t)
    y.sum().backward()
    assert w.grad.tolist() == [10.0, 20.0] and x.grad.tolist() == [3.0, 4.0]
    assert calls == ["pack", "unpack", "unpack"]


def test_hooks_on_a_result():
    x = leaf()
    y = x.exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda t: t * 2, lambda t: t / 2)
    assert y.grad_fn._saved_result.grad_fn is y.grad_fn
    (g,) = fg.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = fg.autograd.grad(g.sum(), x)
    assert h.tolist() == pytest.approx(y.tolist())


def test_hooks_that_cannot_be():
    y = leaf() * fg.ones(2)
    with pytest.raises(RuntimeError, match="with value None is forbidden"):
        y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: t)
    raw = (leaf() * leaf()).grad_fn._raw_saved_self
    with pytest.raises(TypeError):
        raw.register_hooks(1, 2)
    with pytest.raises(TypeError):
        raw.register_hooks(lambda t: t)
    with pytest.raises(RuntimeError, match="in place"):
        (leaf().exp() * leaf()).grad_fn._raw_saved_self.register_hooks(lambda t: t.add_(1), lambda t: t)
    with pytest.raises(RuntimeError, match="forbidden"):
        type(raw)()
    with fg.autograd.graph.saved_tensors_hooks(lambda t: t + 1, lambda t: t - 1):
        y = leaf() * leaf()
    assert y.grad_fn._saved_self.tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="hooks have already been set"):
        y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: t)


def test_a_custom_function():
    class Cube(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, None)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            x, none = ctx.saved_tensors
            assert none is None
            return 3 * x * x * grad

    x = leaf()
    y = Cube.apply(x)
    first, second = y.grad_fn._raw_saved_tensors
    first.register_hooks(lambda t: t * 2, lambda t: t / 2)
    with pytest.raises(RuntimeError, match="None is forbidden"):
        second.register_hooks(lambda t: t, lambda t: t)
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]


def test_a_value_that_a_hook_holds_with_its_result_is_collected():
    class Witness:
        pass

    witness = Witness()
    seen = weakref.ref(witness)
    y = leaf().exp() * leaf()
    y.grad_fn._raw_saved_self.register_hooks(lambda t, y=y, witness=witness: (t, y, witness), lambda pack: pack[0])
    del y, witness
    gc.collect()
    assert seen() is None


def test_hooks_in_large_passes_run_on_the_thread_of_the_pass():
    import threading

    threads = set()
    x = fg.ones(200, 200, requires_grad=True)
    with fg.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: threads.add(threading.get_ident()) or t):
        y = sum(((x * i) @ x).tanh().sum() for i in range(6))
    y.backward()
    assert threads == {threading.get_ident()}


def test_hooks_that_a_pass_enters_end_with_it():
    seen = []

    def unpack(value):
        fg.autograd.graph.saved_tensors_hooks(lambda t: seen.append("kept") or t, lambda t: t).__enter__()
        return value

    x = fg.ones(2, requires_grad=True)
    with fg.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
        y = x.exp()
    y.sum().backward()
    x.exp()
    assert seen == []


def test_a_constant_that_hooks_hand_back_is_that_object():
    x, c = fg.ones(2, requires_grad=True), fg.ones(2)
    with fg.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = x * c
    assert y.grad_fn._saved_other is c


def test_hooks_that_are_no_pair_of_functions():
    saved = fg.ones(1, requires_grad=True).exp().grad_fn._raw_saved_result
    for wrong in ((print,), (1, 1), (print, None)):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            saved.register_hooks(*wrong)


SAVED_DETACHED = {
    "factor": lambda y, w: y * y,
    "by another": lambda y, w: y * w,
    "function": lambda y, w: y.sin(),
    "power": lambda y, w: y**3,
}


@in_all
@pytest.mark.parametrize("name", SAVED_DETACHED)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("again", [False, True])
def test_what_was_detached_in_place_since_it_was_saved_is_an_error(T, name, count, again):
    x, w = (T.arange(1.0, 1.0 + count).requires_grad_() for _ in range(2))
    y = x.exp()
    z = SAVED_DETACHED[name](y, w)
    y.detach_()
    if again:
        y.requires_grad_()
    for create_graph in (False, True):
        with pytest.raises(RuntimeError, match=r"saved tensor that has been detached in-place, i.e. with .detach_\(\)"):
            T.autograd.grad(z.sum(), x, create_graph=create_graph, retain_graph=True)


def detached(program):
    """A program's gradient with respect to `[1, 2, 3]`."""

    def run(T):
        x = T.arange(1.0, 4.0).requires_grad_()
        return T.autograd.grad(program(T, x).sum(), x)[0].tolist()

    return run


def saved_afterwards(T, x):
    y = x * 2
    y.detach_()
    return y * x


def saved_nothing(T, x):
    y = x * 2
    z = y * 3
    y.detach_()
    return z


def saved_a_view(T, x):
    y = x * 2
    z = y.view(3) * x
    y.detach_()
    return z


def one_of_two_results(T, x):
    least, greatest = T.aminmax(x * 1)
    least.detach_()
    return least * greatest


@in_all
@pytest.mark.parametrize(("program", "gradient"), [
    (saved_afterwards, [2.0, 4.0, 6.0]), (saved_nothing, [6.0, 6.0, 6.0]), (saved_a_view, [4.0, 8.0, 12.0]),
    (one_of_two_results, [0.0, 0.0, 1.0]),
])  # fmt: skip
def test_what_needs_no_detached_value_goes_on(T, program, gradient):
    assert detached(program)(T) == gradient

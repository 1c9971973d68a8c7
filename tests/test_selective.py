"""Selective checkpoints: gradients of the plain function, which operations run again, and torch's errors."""

import functools
import gc
import importlib
import weakref

import numpy as np
import pytest

import ferrograd as fg
from ferrograd.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    create_selective_checkpoint_contexts,
)

aten = fg.ops.aten
F = fg.nn.functional


def leaves(*shapes):
    rng = np.random.default_rng(0)
    return [fg.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]


def contexts(policy, **options):
    return functools.partial(create_selective_checkpoint_contexts, policy, **options)


def run(function, inputs, **options):
    y = checkpoint(function, *inputs, use_reentrant=False, **options)
    return y, fg.autograd.grad(y.sum(), inputs)


class Count(fg.autograd.Function):
    """The identity; counts how often it runs."""

    runs = 0

    @staticmethod
    def forward(ctx, x):
        Count.runs += 1
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


def products(x, w):
    return fg.sigmoid(fg.matmul(fg.matmul(x, w), w)) * w


def network(x, w):
    h = F.layer_norm(F.linear(x, w), (4,))
    h = F.gelu(h) + h.softmax(-1).var(1, keepdim=True)
    return (F.scaled_dot_product_attention(h[None], h[None], h[None])[0] @ w).tanh().exp()


def mutating(x, w):
    h = x * 1
    h.mul_(w)
    h += x
    return h.sin() * h[1:].exp().sum()


FUNCTIONS = [products, network, mutating]
POLICIES = {
    "all": lambda ctx, op, *args, **kwargs: CheckpointPolicy.MUST_SAVE,
    "offload": lambda ctx, op, *args, **kwargs: CheckpointPolicy.PREFER_CPU_OFFLOAD,
    "none": lambda ctx, op, *args, **kwargs: CheckpointPolicy.PREFER_RECOMPUTE,
    "true": lambda ctx, op, *args, **kwargs: True,
    "products": [aten.mm.default, aten.bmm.default, aten.addmm.default],
    "others": lambda ctx, op, *args, **kwargs: op not in (aten.mm.default, aten.mul.Tensor, aten.sin.default),
}


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_are_those_of_the_function(function, policy, early_stop):
    if function is mutating and policy in ("all", "offload", "true"):
        pytest.skip("what is kept is changed in place")
    inputs = leaves((4, 4), (4, 4))
    expected = function(*inputs)
    found, grads = run(function, inputs, context_fn=contexts(POLICIES[policy]), early_stop=early_stop)
    assert found.tolist() == expected.tolist()
    for g, h in zip(grads, fg.autograd.grad(expected.sum(), inputs)):
        assert g.tolist() == h.tolist()


@pytest.mark.parametrize("saves", [True, False])
def test_saved_operations_do_not_run_again(saves):
    seen = []
    profiled = []

    def policy(ctx, op, *args, **kwargs):
        assert isinstance(ctx, SelectiveCheckpointContext) and not ctx.is_recompute
        seen.append((str(op), [tuple(a.shape) for a in args], tuple(ctx.op_output.shape)))
        return saves and op is aten.mm.default

    inputs = leaves((3, 4), (4, 4))
    y = checkpoint(lambda x, w: (x @ w).sin(), *inputs, use_reentrant=False, context_fn=contexts(policy))
    assert seen == [("aten.mm.default", [(3, 4), (4, 4)], (3, 4)), ("aten.sin.default", [(3, 4)], (3, 4))]
    with fg.profiler.profile() as record:
        y.sum().backward()
    profiled = [event.name for event in record.events()]
    assert sum("matmul" in name or "mm" == name.split("::")[-1] for name in profiled) == (0 if saves else 1)
    assert len(seen) == 2


def test_arguments_that_a_saved_operation_keeps_are_computed_again():
    Count.runs = 0
    inputs = leaves((3, 4), (4, 4))
    _, grads = run(lambda x, w: Count.apply(x.exp()) @ w, inputs, context_fn=contexts([aten.mm.default]))
    assert Count.runs == 2
    expected = fg.autograd.grad((inputs[0].exp() @ inputs[1]).sum(), inputs)
    assert [g.tolist() for g in grads] == [g.tolist() for g in expected]


@pytest.mark.parametrize("saved", [[], [aten.dropout.default], [aten.rand_like.default]])
def test_random_numbers_that_were_drawn_are_not_drawn_again(saved):
    def function(x):
        y = F.dropout(x, 0.5) * fg.rand_like(x.detach())
        return (F.dropout(y, 0.3) * fg.rand_like(x.detach())).exp()

    (x,) = leaves((6, 6))
    fg.manual_seed(3)
    expected = fg.autograd.grad(function(x).sum(), x)[0]
    after = fg.rand(2).tolist()
    fg.manual_seed(3)
    y = checkpoint(function, x, use_reentrant=False, context_fn=contexts(saved))
    assert fg.rand(2).tolist() == after
    assert fg.autograd.grad(y.sum(), x)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_functions_that_differentiate_run_whole(nested, early_stop):
    everything = lambda ctx, op, *args, **kwargs: True  # noqa: E731

    def force(x, w):
        energy = ((x @ w).sin() + 1).sum()
        (g,) = fg.autograd.grad(energy, x, create_graph=True)
        return g.exp()

    def outer(x, w):
        inner = lambda y: fg.autograd.grad((y.exp() + 1).sum(), x, create_graph=True)[0].cos()  # noqa: E731
        return checkpoint(inner, (x * w).sin(), use_reentrant=False, context_fn=contexts(everything)).tanh()

    function = outer if nested else force
    inputs = leaves((3, 3), (3, 3))
    _, grads = run(function, inputs, context_fn=contexts(everything), early_stop=early_stop)
    expected = fg.autograd.grad(function(*inputs).sum(), inputs)
    assert [g.tolist() for g in grads] == [g.tolist() for g in expected]


def test_transforms_within_a_function():
    def function(x):
        squares = fg.func.vmap(lambda row: (row * row).sin())(x)
        _, tangent = fg.func.jvp(lambda x: (x * x).exp(), (x,), (fg.ones_like(x),))
        return squares * tangent

    (x,) = leaves((3, 2))
    everything = lambda ctx, op, *args, **kwargs: True  # noqa: E731
    _, (grad,) = run(function, [x], context_fn=contexts(everything))
    assert grad.tolist() == fg.autograd.grad(function(x).sum(), x)[0].tolist()


def test_checkpoints_within_checkpoints():
    def outer(x, w):
        h = (x @ w).sin()
        inner = contexts([aten.mm.default, aten.exp.default])
        h = checkpoint(lambda h: (h @ w).exp().cos(), h, use_reentrant=False, context_fn=inner)
        return checkpoint(lambda h: (h @ w).exp().cos(), h, use_reentrant=False)

    inputs = leaves((3, 3), (3, 3))
    plain = ((inputs[0] @ inputs[1]).sin() @ inputs[1]).exp().cos()
    plain = (plain @ inputs[1]).exp().cos()
    expected = fg.autograd.grad(plain.sum(), inputs)
    for policy in ([aten.mm.default], [aten.cos.default], []):
        _, grads = run(outer, inputs, context_fn=contexts(policy))
        for g, h in zip(grads, expected):
            np.testing.assert_allclose(g.tolist(), h.tolist(), rtol=1e-12)


def test_what_is_kept_goes_with_the_pass_and_with_the_graph():
    kept = []

    def policy(ctx, op, *args, **kwargs):
        kept.append(weakref.ref(ctx.op_output))
        return True

    inputs = leaves((4, 4), (4, 4))
    y = checkpoint(products, *inputs, use_reentrant=False, context_fn=contexts(policy))
    y.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward an extra time"):
        y.sum().backward()
    del y
    gc.collect()
    assert [ref() for ref in kept] == [None] * 4


def test_changes_of_what_is_kept():
    def function(x, w):
        h = x @ w
        z = h.exp()
        h.detach().mul_(1.0)
        return z * h.sin()

    inputs = leaves((3, 3), (3, 3))
    with pytest.raises(RuntimeError, match="cached during selective activation checkpoint has been mutated"):
        run(function, inputs, context_fn=contexts([aten.mm.default]))
    allowing = contexts([aten.mm.default], allow_cache_entry_mutation=True)
    _, grads = run(function, inputs, context_fn=allowing, early_stop=False)
    assert all(g.isfinite().all() for g in grads)


def test_second_runs_that_differ():
    calls = []

    def function(x):
        calls.append(0)
        return x.exp().sin() if len(calls) == 1 else x.cos().sin()

    with pytest.raises(RuntimeError, match="aten.cos.default.*which the first run did not make"):
        run(function, leaves((3,)), context_fn=contexts([aten.exp.default]))


def test_arguments():
    with pytest.raises(ValueError, match="update the OpOverloadPacket.*aten.mm.default"):
        create_selective_checkpoint_contexts([aten.mm])
    with pytest.raises(ValueError, match="Expected op in `op_list` to be an OpOverload but got"):
        create_selective_checkpoint_contexts([fg.mm])
    with pytest.raises(TypeError, match="must be either a function or a list of ops"):
        create_selective_checkpoint_contexts(3)

    def policy(ctx, op, *args, **kwargs):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(lambda x: x * 2, leaves((3,)), context_fn=contexts(policy))
    assert fg._ferrograd._set_watch(None) is None


def test_operations_as_objects():
    x = fg.tensor([1.0, 2.0])
    assert aten.add.Tensor is aten.add.Scalar is aten.add.default
    assert aten.mul.Tensor(x, 3).tolist() == [3.0, 6.0]
    assert aten.sum(x).item() == 3.0
    assert aten.linalg_vector_norm(fg.tensor([3.0, 4.0])).item() == 5.0
    assert aten.relu_.default(fg.tensor([-1.0])).tolist() == [0.0]
    assert str(aten.mm.default) == "aten.mm.default" and aten.mm.default.name() == "aten::mm"
    assert aten.mm.default.overloadpacket is aten.mm
    assert "mm" in dir(aten)
    with pytest.raises(AttributeError, match="'aten' object has no attribute 'nothing'"):
        aten.nothing
    with pytest.raises(AttributeError, match="has no overload name 'nothing'"):
        aten.mm.nothing


def test_indices():
    seen = []

    def policy(ctx, op, *args, **kwargs):
        seen.append(str(op))

    (x,) = leaves((3, 3))
    run(lambda x: x[1:][fg.tensor([0, 1])] * 2, [x], context_fn=contexts(policy))
    assert seen == ["aten.index.default", "aten.index.default", "aten.mul.default"]
    assert aten.index.Tensor(x, [None, fg.tensor([0])]).tolist() == x[:, [0]].tolist()


NAMED = {
    "mm": lambda T, x, w: x @ w,
    "mv": lambda T, x, w: x @ w[0],
    "dot": lambda T, x, w: x[0] @ w[0],
    "mm of a row": lambda T, x, w: x[0] @ w,
    "mm of many": lambda T, x, w: x.expand(2, 4, 4) @ w,
    "mv of many": lambda T, x, w: x.expand(2, 4, 4) @ w[0],
    "mm on many": lambda T, x, w: x @ w.expand(2, 4, 4),
    "bmm": lambda T, x, w: x.expand(2, 4, 4) @ w.expand(2, 4, 4),
    "addmm": lambda T, x, w: T.nn.functional.linear(x, w, w[0]),
    "mm of linear": lambda T, x, w: T.nn.functional.linear(x, w),
    "convolution": lambda T, x, w: T.nn.functional.conv1d(x, w[..., None]),
    "layer_norm": lambda T, x, w: T.nn.functional.layer_norm(x, (4,)),
    "group_norm": lambda T, x, w: T.nn.functional.group_norm(x, 2),
    "softmax": lambda T, x, w: x.softmax(-1),
    "log_softmax": lambda T, x, w: T.nn.functional.log_softmax(x, -1),
    "attention": lambda T, x, w: T.nn.functional.scaled_dot_product_attention(x[None, None], w[None, None], x[None, None]),
    "max_pool2d": lambda T, x, w: T.nn.functional.max_pool2d(x[None], 2),
    "gelu": lambda T, x, w: T.nn.functional.gelu(x),
    "sum": lambda T, x, w: x.sum(1),
    "index": lambda T, x, w: x[T.tensor([0])],
}


@pytest.mark.parametrize("name", NAMED)
def test_operations_are_named_as_torchs_below_autograd(name):
    torch = pytest.importorskip("torch")
    utils = importlib.import_module("torch.utils.checkpoint")

    def names(T, make):
        seen = []

        def policy(ctx, op, *args, **kwargs):
            seen.append(str(op).rpartition(".")[0])
            return False

        x, w = (T.ones(4, 4, requires_grad=True) for _ in range(2))
        apply = utils.checkpoint if T is torch else checkpoint
        apply(lambda x, w: NAMED[name](T, x, w), x, w, use_reentrant=False, context_fn=lambda: make(policy))
        return seen

    ours = names(fg, create_selective_checkpoint_contexts)
    theirs = names(torch, utils.create_selective_checkpoint_contexts)
    assert ours[-1] in theirs


def test_operations_under_their_names_below_autograd():
    x = fg.tensor(np.random.default_rng(0).normal(size=(1, 2, 3, 4)))
    found, sums = aten._scaled_dot_product_flash_attention_for_cpu.default(x, x, x, 0.0, True, scale=0.5)
    expected = F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.5)
    scores = (x @ x.transpose(-1, -2) * 0.5).tolist()
    assert found.tolist() == expected.tolist()
    for row, sum in zip(scores[0][1], sums[0, 1].tolist()):
        n = scores[0][1].index(row) + 1
        assert abs(np.log(np.exp(row[:n]).sum()) - sum) < 1e-12
    masked = aten._scaled_dot_product_flash_attention_for_cpu(x, x, x, attn_mask=fg.zeros(3, 3, dtype=fg.float64))
    assert masked[0].tolist() == F.scaled_dot_product_attention(x, x, x).tolist()
    assert aten._softmax.default(x, 1, False).tolist() == x.softmax(1).tolist()
    assert aten._log_softmax.default(x.half(), 1, True).dtype == fg.float32


def test_every_operation_of_the_table_has_an_object():
    for name in dir(aten):
        packet = getattr(aten, name)
        assert packet.default.name().startswith("aten::") and callable(packet.default._function)


def test_operations_that_occur_nowhere_are_equal_to_none_that_does():
    for name in ("silu_backward", "convolution_backward", "_scaled_dot_product_flash_attention"):
        op = getattr(aten, name).default
        assert op is getattr(aten, name).default and op not in (aten.silu.default, aten.convolution.default)
        with pytest.raises(NotImplementedError, match=name):
            op(fg.ones(2))
    for name in ("nothing_backward", "nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(aten, name)
    x = fg.ones(2, 3)
    assert (aten.sym_size.int(x, 1), aten.size(x), aten.sym_stride.int(x, 0)) == (3, (2, 3), 3)
    assert aten.detach.default(x.requires_grad_()).requires_grad is False


def test_a_kept_result_has_the_node_that_it_had_and_goes_with_it():
    class Token:
        pass

    names, tokens = [], []

    def function(x):
        y = x.cos().exp()
        names.append(y.grad_fn.name())
        y.grad_fn.metadata["token"] = token = Token()
        tokens.append(weakref.ref(token))
        return y.sin()

    (x,) = leaves((3,))
    gc.disable()
    try:
        y = checkpoint(function, x, use_reentrant=False, context_fn=contexts(lambda *args: CheckpointPolicy.MUST_SAVE))
        y.sum().backward(retain_graph=True)
        del y
        assert names == ["ExpBackward0"] * 2 and [token() for token in tokens] == [None, None]
    finally:
        gc.enable()

"""Batched tensors and tangents, for every operation of the table."""

import warnings

import numpy as np
import pytest
from test_operations import DIFFERENTIABLE, FUNCTIONS, MASKED, POINTWISE, takes_number
from test_operations import function as operation

import ferrograd as fg
from ferrograd import _ferrograd
from ferrograd.autograd import forward_ad, grad


def mapped(function, *batches, dims=None):
    """`function` on every example at once."""
    dims = dims or [0] * len(batches)
    size = next(b.shape[d] for b, d in zip(batches, dims) if d is not None)
    level = _ferrograd._vmap_enter(size, "same")
    try:
        given = [b if d is None else _ferrograd._add_batch_dim(b, d, level) for b, d in zip(batches, dims)]
        return _ferrograd._remove_batch_dim(function(*given), level, size, 0)
    finally:
        _ferrograd._vmap_exit()


def looped(function, *batches):
    return fg.stack([function(*one) for one in zip(*batches)])


def close(ours, expected):
    assert ours.shape == expected.shape and ours.dtype == expected.dtype
    np.testing.assert_allclose(ours.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)


def draw(name, *shapes):
    rng = np.random.default_rng(7)
    row = POINTWISE[name]
    dtype = fg.int64 if row["rule"] in ("Bits", "Integer") else fg.float64
    if name == "masked_fill":
        shapes = shapes[:2] + ((5,),)
    drawn = [fg.tensor(rng.uniform(*ends, size=shape)).to(dtype) for ends, shape in zip(row["domain"], shapes)]
    return [t > 0 if MASKED.get(name) == n else t for n, t in enumerate(drawn)]


#: How many tensors an operation takes; what follows them are numbers.
ARITY = {name: sum(not takes_number(row, n) for n in range(row["arity"])) for name, row in POINTWISE.items()}


def of_tensors(name):
    """An element-wise operation with the numbers that follow the tensors."""
    numbers = [low + 0.6 * (high - low) for low, high in POINTWISE[name]["domain"][ARITY[name] :]]
    return lambda *tensors: operation(name)(*tensors, *numbers)


SHAPES = [(5, 2, 3), (5, 3), (5, 1, 3)]


@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_element_wise_operations_are_mapped(name):
    function = of_tensors(name)
    inputs = draw(name, *SHAPES[: ARITY[name]])
    close(mapped(function, *inputs), looped(function, *inputs))
    if ARITY[name] == 2:
        a, b = inputs
        close(mapped(function, a, b[0], dims=[0, None]), looped(lambda x: function(x, b[0]), a))
        close(mapped(function, a[0], b, dims=[None, 0]), looped(lambda y: function(a[0], y), b))
        nested = mapped(lambda x: mapped(lambda y: function(x[0], y), b), a)
        close(nested, fg.stack([looped(lambda y, i=i: function(a[i][0], y), b) for i in range(5)]))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_are_mapped(name):
    x = fg.tensor(np.random.default_rng(5).normal(size=(2, 3, 4)))
    close(mapped(FUNCTIONS[name], x), looped(FUNCTIONS[name], x))
    twice = fg.stack([x, x * 0.7])
    nested = mapped(lambda one: mapped(FUNCTIONS[name], one), twice)
    close(nested, fg.stack([looped(FUNCTIONS[name], one) for one in twice]))


def gradient(function):
    """The gradient of the sum of a function of one tensor, with a history of its own."""

    return fg.func.grad(lambda x: function(x).pow(2).sum())


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_gradients_are_mapped(name):
    x = fg.tensor(np.random.default_rng(5).normal(size=(2, 3, 4)))
    close(mapped(gradient(FUNCTIONS[name]), x), looped(gradient(FUNCTIONS[name]), x))
    second = gradient(gradient(FUNCTIONS[name]))
    close(mapped(second, x), looped(second, x))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("create_graph", [False, True])
def test_batches_of_gradients(name, create_graph):
    x = fg.tensor(np.random.default_rng(5).normal(size=(3, 4)), requires_grad=True)
    y = FUNCTIONS[name](x)
    batch = fg.tensor(np.random.default_rng(6).normal(size=(5, *y.shape)))
    (found,) = grad(y, x, batch, retain_graph=True, is_grads_batched=True, create_graph=create_graph)
    close(found, fg.stack([grad(y, x, g, retain_graph=True)[0] for g in batch]))
    assert found.requires_grad == (create_graph and grad(y, x, batch[0], create_graph=True)[0].requires_grad)


@pytest.mark.parametrize("name", sorted(set(DIFFERENTIABLE) - set(MASKED)))
def test_batches_of_gradients_of_element_wise_operations(name):
    inputs = [t[0].detach().requires_grad_() for t in draw(name, *SHAPES[: ARITY[name]])]
    y = of_tensors(name)(*inputs)
    batch = fg.tensor(np.random.default_rng(6).normal(size=(5, *y.shape)))
    for create_graph in (False, True):
        found = grad(y, inputs, batch, is_grads_batched=True, retain_graph=True, create_graph=create_graph)
        singles = [grad(y, inputs, g, retain_graph=True) for g in batch]
        for n, one in enumerate(found):
            close(one, fg.stack([s[n] for s in singles]))


def pushed(function, x, t):
    with forward_ad.dual_level():
        y = function(forward_ad.make_dual(x, t))
        return forward_ad.unpack_dual(y)


def transposed(function, x, t):
    """`J t` by reverse mode alone."""
    x = x.detach().requires_grad_()
    y = function(x)
    u = fg.zeros_like(y).requires_grad_()
    (g,) = grad(y, x, u, create_graph=True)
    return grad(g, u, t)[0] if g.requires_grad else fg.zeros_like(y)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_tangents_of_functions(name):
    rng = np.random.default_rng(5)
    x, t = (fg.tensor(rng.normal(size=(3, 4))) for _ in range(2))
    y, tangent = pushed(FUNCTIONS[name], x, t)
    close(y, FUNCTIONS[name](x))
    close(tangent, transposed(FUNCTIONS[name], x, t))


@pytest.mark.parametrize("name", sorted(set(DIFFERENTIABLE) - set(MASKED)))
def test_tangents_of_element_wise_operations(name):
    function = of_tensors(name)
    inputs = [t[0] for t in draw(name, *SHAPES[: ARITY[name]])]
    for n, x in enumerate(inputs):
        t = fg.tensor(np.random.default_rng(n).normal(size=x.shape))
        one = lambda x, n=n: function(*(x if i == n else other for i, other in enumerate(inputs)))
        close(pushed(one, x, t)[1], transposed(one, x, t))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_forward_over_reverse_and_reverse_over_forward(name):
    rng = np.random.default_rng(5)
    x, t = (fg.tensor(rng.normal(size=(3, 4))) for _ in range(2))
    once = gradient(FUNCTIONS[name])
    expected = transposed(once, x, t)

    def reverse_inside(x):
        inner = x * 1
        inner = inner if inner.requires_grad else inner.requires_grad_()
        return grad(FUNCTIONS[name](inner).pow(2).sum(), inner, create_graph=True)[0]

    close(pushed(reverse_inside, x, t)[1], expected)
    leaf = x.detach().requires_grad_()
    with forward_ad.dual_level():
        y = FUNCTIONS[name](forward_ad.make_dual(leaf, t)).pow(2).sum()
        tangent = forward_ad.unpack_dual(y).tangent
        close(grad(tangent, leaf)[0], expected)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_forward_over_forward(name):
    rng = np.random.default_rng(5)
    x, s, t = (fg.tensor(rng.normal(size=(3, 4))) for _ in range(3))
    function = lambda x: FUNCTIONS[name](x).pow(2).sum()
    inner = lambda x: pushed(function, x, s)[1]
    found = pushed(inner, x, t)[1]
    hessian_vector = transposed(gradient(FUNCTIONS[name]), x, t)
    close(found, (hessian_vector * s).sum())


def test_perturbations_are_not_confused():
    one = fg.tensor(1.0, dtype=fg.float64)
    inner = lambda x: pushed(lambda y: x * y, fg.tensor(2.0, dtype=fg.float64), one)[1]
    assert pushed(lambda x: x * inner(x), fg.tensor(3.0, dtype=fg.float64), one)[1].item() == 6.0


def test_tangents_of_changes_in_place():
    x, t = fg.tensor([2.0, 3.0]), fg.tensor([1.0, 10.0])

    def changed(x):
        y = x * 1
        y.mul_(x)
        y[0] = y[1] * 2
        y[1].add_(x[0])
        return y

    def plain(x):
        y = x * x
        return fg.stack([y[1] * 2, y[1] + x[0]])

    assert pushed(changed, x, t)[1].tolist() == pushed(plain, x, t)[1].tolist() == [120.0, 61.0]
    with forward_ad.dual_level():
        y = forward_ad.make_dual(x, t) * 2
        y.zero_()
        assert forward_ad.unpack_dual(y).tangent is None


def test_dual_numbers():
    x, t = fg.tensor([2.0]), fg.tensor([1.0])
    with pytest.raises(RuntimeError, match="no level exists"):
        forward_ad.make_dual(x, t)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, t)
        assert repr(dual) == "tensor([2.], tangent=tensor([1.]))"
        assert forward_ad.unpack_dual(x).tangent is None
        assert forward_ad.unpack_dual(dual.detach()).tangent is None
        with pytest.raises(RuntimeError, match="forward gradient that has a different size"):
            forward_ad.make_dual(x, fg.ones(2))
        with pytest.raises(ValueError, match="floating point"):
            forward_ad.make_dual(fg.tensor([1]), fg.tensor([1]))
        with pytest.raises(RuntimeError, match="same dtype"):
            forward_ad.make_dual(x, t.to(fg.float64))
    assert forward_ad.unpack_dual(dual).tangent is None
    with forward_ad.dual_level():
        assert forward_ad.unpack_dual(dual).tangent is None
    with pytest.raises(RuntimeError, match="not the last"):
        forward_ad.exit_dual_level()


def test_tangents_of_functions_written_in_python():
    class Cube(fg.autograd.Function):
        @staticmethod
        def forward(x, n):
            return x**n

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_forward(inputs[0])
            ctx.save_for_backward(inputs[0])

        @staticmethod
        def jvp(ctx, t, n):
            assert n is None
            return 3 * ctx.saved_tensors[0] ** 2 * t

    x, t = fg.tensor([2.0]), fg.tensor([1.0])
    y, tangent = pushed(lambda x: Cube.apply(x, 3), x, t)
    assert (y.item(), tangent.item()) == (8.0, 12.0)
    Cube.jvp = fg.autograd.Function.jvp
    with pytest.raises(NotImplementedError, match="jvp"):
        pushed(lambda x: Cube.apply(x, 3), x, t)


def test_reads_of_batched_tensors_are_errors():
    x = fg.ones(3, 2)
    for read in (
        lambda t: t.sum().item(),
        lambda t: bool(t.sum() > 0),
        lambda t: t.tolist(),
        lambda t: t.numpy(),
        lambda t: float(t.sum()),
        lambda t: t[t > 0],
    ):
        with pytest.raises(RuntimeError, match="vmap"):
            mapped(read, x)


def test_changes_of_batched_tensors_in_place():
    x, y = fg.arange(6.0).reshape(3, 2), fg.ones(2)

    def change(one):
        mine = one * 1
        mine.add_(one).mul_(y)
        mine[0] = 7
        mine[1:] = one[:1]
        return mine

    close(mapped(change, x), looped(change, x))
    with pytest.raises(RuntimeError, match="not possible because"):
        mapped(lambda one: y.add_(one), x)
    assert y.tolist() == [1.0, 1.0]


def test_random_numbers_in_a_map():
    def drawn(randomness):
        level = _ferrograd._vmap_enter(3, randomness)
        try:
            fg.manual_seed(0)
            return _ferrograd._remove_batch_dim(fg.rand(2), level, 3, 0)
        finally:
            _ferrograd._vmap_exit()

    fg.manual_seed(0)
    expected = fg.rand(6).reshape(3, 2)
    assert drawn("different").tolist() == expected.tolist()
    assert drawn("same").tolist() == [expected[0].tolist()] * 3
    with pytest.raises(RuntimeError, match="randomness"):
        drawn("error")
    with pytest.raises(RuntimeError, match="randomness"):
        _ferrograd._vmap_enter(3, "some")


INDEXING = {
    "slice and tensor": lambda x, i: x[1:, i],
    "tensor in front": lambda x, i: x[i],
    "tensor behind": lambda x, i: x[:, i],
    "apart": lambda x, i: x[i, :, i],
    "two": lambda x, i: x[i, i],
    "with none": lambda x, i: x[None, i],
    "with ellipsis": lambda x, i: x[..., i],
    "with an integer": lambda x, i: x[1, i],
}


@pytest.mark.parametrize("form", INDEXING)
def test_indices_in_a_map(form):
    index = INDEXING[form]
    x = fg.tensor(np.random.default_rng(0).normal(size=(4, 3, 3, 3)))
    i = fg.tensor([[0, 2], [1, 1], [2, 0], [0, 0]])
    close(mapped(lambda one: index(one, i[0]), x), looped(lambda one: index(one, i[0]), x))
    close(mapped(index, x, i), looped(index, x, i))
    close(mapped(lambda j: index(x[0], j), i), looped(lambda j: index(x[0], j), i))


def test_the_text_of_a_batched_tensor():
    seen = []
    mapped(lambda one: (seen.append(repr(one)), one)[1], fg.tensor([1.0, 2.0]))
    assert seen == ["BatchedTensor(lvl=1, bdim=0, value=\n    tensor([1., 2.])\n)"]


def test_containers_that_are_registered_may_be_changed_as_arguments():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    fg.utils._pytree.register_pytree_node(Pair, lambda p: ([p.a, p.b], None), lambda values, _: Pair(*values))

    def function(x, pair):
        pair.a.mul_(2)
        return (x * pair.a * pair.b).sum()

    x, pair = fg.ones(2), Pair(fg.ones(2), fg.full((2,), 3.0))
    assert fg.func.grad(function)(x, pair).tolist() == [6.0, 6.0]
    captured = fg.ones(2)
    with pytest.raises(RuntimeError):
        fg.func.grad(lambda x: (x * captured.mul_(2)).sum())(x)


def test_anomaly_mode_looks_at_all_examples_of_a_map():
    x = fg.tensor([[1.0, 2.0], [3.0, 4.0]])
    gradients = fg.func.vmap(fg.func.grad(lambda w, x: (w * x).sqrt().sum()), in_dims=(None, 0))
    with fg.autograd.set_detect_anomaly(True), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert gradients(fg.ones(2), x).shape == (2, 2)
        assert not seen
        with pytest.raises(RuntimeError, match="'SqrtBackward0' returned nan values in its 0th output"):
            gradients(fg.tensor([1.0, -2.0]), x)
        assert "Traceback of forward call" in str(seen[0].message)
        jacobians = fg.func.vmap(fg.func.jacrev(lambda w: w.exp()))
        assert jacobians(x).shape == (2, 2, 2)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_under_a_map(use_reentrant):
    from ferrograd.utils.checkpoint import checkpoint

    def function(w, x):
        return (w * x).sin().sum()

    def kept_apart(w, x):
        return checkpoint(function, w, x, use_reentrant=use_reentrant)

    w, x = fg.tensor([1.0, -2.0]), fg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for transform in (lambda f: f, fg.func.grad):
        expected = fg.func.vmap(transform(function), in_dims=(None, 0))(w, x)
        assert fg.func.vmap(transform(kept_apart), in_dims=(None, 0))(w, x).tolist() == expected.tolist()
    found = fg.func.hessian(kept_apart)(w, x[0])
    assert found.tolist() == fg.func.hessian(function)(w, x[0]).tolist()


def test_a_batch_of_no_gradients_is_a_pass_of_its_own():
    x = fg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="implicitly created only for scalar outputs"):
        fg.autograd.grad(x**2, x, is_grads_batched=True)


def test_detaching_in_place_and_results_given_lose_no_tangent_silently():
    from ferrograd.autograd import forward_ad

    with forward_ad.dual_level():
        dual = forward_ad.make_dual(fg.ones(2), fg.ones(2))
        copy = dual.clone()
        copy.detach_()
        assert forward_ad.unpack_dual(copy * 2).tangent is None
        for operands, out in (((dual, dual), fg.ones(2)), ((fg.ones(2), fg.ones(2)), dual)):
            with pytest.raises(NotImplementedError, match="out= function"):
                fg.add(*operands, out=out)
        with pytest.raises(ValueError, match="tangent"):
            forward_ad.make_dual(fg.ones(2), fg.tensor([1, 2]))

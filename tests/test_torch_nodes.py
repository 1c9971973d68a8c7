"""The nodes that programs leave behind, with their edges: names and places are torch's, after changes in place and in the graphs
of gradients too."""

import math

import numpy as np
import pytest

import ferrograd as fg

torch = pytest.importorskip("torch")


def graph(node, depth=6):
    """A graph as text: each node with those that its edges lead to."""
    if node is None:
        return "None"
    behind = [graph(n, depth - 1) + (f"/{output}" if output else "") for n, output in node.next_functions if depth]
    return node.name().removeprefix("torch::autograd::") + (f"({', '.join(behind)})" if behind else "")


def leaf(T, *shape, dtype="float32"):
    numbers = T.arange(1.0, 1.0 + math.prod(shape), dtype=getattr(T, dtype)) * 0.1
    return numbers.reshape(shape).requires_grad_()


def double(T, *shape):
    return leaf(T, *shape, dtype="float64")


def after(change, *shape):
    """The graphs of a result that was changed in place and of a view of it from before, and the gradients."""

    def program(T):
        x = leaf(T, *shape)
        y = x.clone()
        row = y[..., None]
        others = [o for o in [change(T, y)] if isinstance(o, T.Tensor) and o.requires_grad and o.is_leaf]
        found = [graph(y.grad_fn), graph(row.grad_fn), list(y.shape), y._base is None]
        for gradient in T.autograd.grad((y * y).sum(), [x, *others], allow_unused=True):
            found.append(None if gradient is None else [str(gradient.dtype).split(".")[1], gradient.tolist()])
        return found

    return program


def other(name, make):
    def change(T, y):
        operand = make(T)
        getattr(y, name)(operand)
        return operand

    return change


@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_", "pow_", "atan2_", "copy_", "fmod_"])
@pytest.mark.parametrize("make", [
    lambda T: double(T, 2, 3), lambda T: double(T, 3), lambda T: double(T), lambda T: double(T, 2, 3).detach(),
    lambda T: T.ones(2, 3, dtype=T.int64), lambda T: leaf(T, 2, 3),
])
def test_a_change_in_place_by_another_dtype_is_one_node(name, make):
    program = after(other(name, make), 2, 3)
    expected, found = program(torch), program(fg)
    assert found[:4] == expected[:4]
    for ours, theirs in zip(found[4:], expected[4:]):
        assert ours is None and theirs is None or ours[0] == theirs[0]
        assert ours is None or flat(ours[1]) == pytest.approx(flat(theirs[1]), rel=2e-6)


def flat(values):
    return [x for v in values for x in flat(v)] if isinstance(values, list) else [values]


TURNED = {
    "t_": lambda y: y.t_(), "unsqueeze_": lambda y: y.unsqueeze_(0), "squeeze_": lambda y: y.squeeze_(),
    "squeeze_(0)": lambda y: y.squeeze_(0), "squeeze_((0,))": lambda y: y.squeeze_((0,)),
    "transpose_": lambda y: y.transpose_(0, 1), "swapaxes_": lambda y: y.swapaxes_(0, 1), "twice": lambda y: y.t_().unsqueeze_(1),
}
THEN = {
    "nothing": lambda T, y: None,
    "mul_": lambda T, y: y.mul_(2),
    "mul_ by a leaf": lambda T, y: y.mul_(leaf(T, *y.shape)),
    "add_ a double": lambda T, y: y.add_(double(T, *y.shape)),
    "copy_": lambda T, y: y.copy_(leaf(T, *y.shape)),
    "assignment": lambda T, y: y.__setitem__(0, leaf(T)),
    "exp_": lambda T, y: y.exp_(),
    "fill_": lambda T, y: y.fill_(3),
    "a view": lambda T, y: y[..., 0].mul_(2),
    "a view of a view": lambda T, y: y[..., 1:][..., :1].exp_(),
}


@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize("then", THEN)
def test_a_tensor_whose_layout_was_changed_in_place_is_no_view(turn, then):
    def change(T, y):
        TURNED[turn](y)
        THEN[then](T, y)

    program = after(change, 1, 3)
    expected, found = program(torch), program(fg)
    assert found[:4] == expected[:4]
    assert flat(found[4][1]) == pytest.approx(flat(expected[4][1]), rel=1e-6)


def views_from_before(T):
    """Views that were made of a tensor before its layout changed, and are written since."""
    y = leaf(T, 2, 3).clone()
    z = y[0]
    y.t_()
    z.mul_(2)
    yield graph(y.grad_fn), graph(z.grad_fn)
    w = leaf(T, 3)
    x = T.ones(2, 3)
    z = x[0]
    x.t_()
    z.mul_(w)
    yield graph(x.grad_fn), list(x.shape), graph(z.grad_fn)
    (x * T.arange(6.0).reshape(3, 2)).sum().backward()
    yield w.grad.tolist()
    y = leaf(T, 2, 3).clone()
    y.t_()
    y.data = T.ones(4)
    y[1:].mul_(3)
    yield graph(y.grad_fn), y.tolist()


def test_views_from_before_a_change_of_the_layout_follow():
    assert list(views_from_before(fg)) == list(views_from_before(torch))


VALUES = {
    "number": lambda T: 2.0, "plain": lambda T: T.tensor(2.0), "leaf": lambda T: leaf(T), "one": lambda T: leaf(T, 1),
    "ones": lambda T: leaf(T, 1, 1), "double": lambda T: double(T), "integer": lambda T: T.tensor(2),
}
PLACES = [..., (), None, True, (..., None), (..., ...), slice(None), (None, 0), (None, ...)]


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("index", PLACES, ids=map(str, PLACES))
def test_assignment_leaves_the_nodes_of_torch(shape, value, index):
    def program(T):
        y = leaf(T, *shape).clone()
        try:
            y[index] = VALUES[value](T)
        except Exception as error:  # noqa: BLE001 - its class is compared
            return type(error)
        plain = T.zeros(shape)
        plain[index] = VALUES[value](T)
        return graph(y.grad_fn), graph(plain.grad_fn)

    assert program(fg) == program(torch)


#: Operations whose gradient's node is torch's; the name and the graph to the depth of one node.
GRADIENTS = {
    "+": lambda T, x, y: x + y, "-": lambda T, x, y: x - y, "*": lambda T, x, y: x * y, "/": lambda T, x, y: x / y,
    "* 2": lambda T, x, y: x * 2, "/ 2": lambda T, x, y: x / 2, "2 /": lambda T, x, y: 2 / x, "2 -": lambda T, x, y: 2 - x,
    "** 2": lambda T, x, y: x**2, "** 3": lambda T, x, y: x**3, "** 0.5": lambda T, x, y: x**0.5, "** -1": lambda T, x, y: x**-1,
    "** 2.5": lambda T, x, y: x**2.5, "square": lambda T, x, y: x.square(),
    "exp": lambda T, x, y: x.exp(), "log": lambda T, x, y: x.log(), "sqrt": lambda T, x, y: x.sqrt(), "sin": lambda T, x, y: x.sin(),
    "cos": lambda T, x, y: x.cos(), "tan": lambda T, x, y: x.tan(), "tanh": lambda T, x, y: x.tanh(),
    "sigmoid": lambda T, x, y: x.sigmoid(), "relu": lambda T, x, y: x.relu(), "abs": lambda T, x, y: x.abs(), "neg": lambda T, x, y: -x,
    "reciprocal": lambda T, x, y: x.reciprocal(), "rsqrt": lambda T, x, y: x.rsqrt(), "sum": lambda T, x, y: x.sum(),
    "sum of rows": lambda T, x, y: x.sum(0), "mean": lambda T, x, y: x.mean(), "max": lambda T, x, y: x.max(),
    "max of rows": lambda T, x, y: x.max(0)[0], "sort": lambda T, x, y: x.sort()[0], "topk": lambda T, x, y: x.topk(2)[0],
    "view": lambda T, x, y: x.view(-1), "t": lambda T, x, y: x.t(), "permute": lambda T, x, y: x.permute(1, 0),
    "transpose": lambda T, x, y: x.transpose(0, 1), "unsqueeze": lambda T, x, y: x.unsqueeze(1),
    "squeeze": lambda T, x, y: x[:1].squeeze(0), "squeeze all": lambda T, x, y: x[:1, :1].squeeze(), "slice": lambda T, x, y: x[:2],
    "select": lambda T, x, y: x[0], "narrow": lambda T, x, y: x.narrow(0, 0, 1), "diagonal": lambda T, x, y: x.diagonal(),
    "unfold": lambda T, x, y: x.unfold(0, 2, 1), "expand": lambda T, x, y: x[:1].expand(3, 3),
    "index": lambda T, x, y: x[T.tensor([0, 1])], "gather": lambda T, x, y: x.gather(0, T.tensor([[0, 1, 0]])),
    "index_select": lambda T, x, y: x.index_select(0, T.tensor([0])), "cat": lambda T, x, y: T.cat([x, y]),
    "stack": lambda T, x, y: T.stack([x, y]), "clone": lambda T, x, y: x.clone(), "contiguous": lambda T, x, y: x.t().contiguous(),
    "double": lambda T, x, y: x.double(), "where": lambda T, x, y: T.where(x > 1, x, y), "clamp": lambda T, x, y: x.clamp(0.2, 0.5),
    "matmul": lambda T, x, y: x @ y, "matrix and vector": lambda T, x, y: x @ y[0], "dot": lambda T, x, y: x[0] @ y[0],
    "bmm": lambda T, x, y: T.bmm(x[None], y[None]), "linear": lambda T, x, y: T.nn.functional.linear(x, y, y[0]),
    "linear of a vector": lambda T, x, y: T.nn.functional.linear(x[0], y, y[0]),
    "linear of batches": lambda T, x, y: T.nn.functional.linear(x[None], y, y[0]),
    "linear of batches of batches": lambda T, x, y: T.nn.functional.linear(x[None, None], y, y[0]),
    "linear of what lies across": lambda T, x, y: T.nn.functional.linear(x[None].mT, y, y[0]),
    "broadcast": lambda T, x, y: x * y[0], "add_": lambda T, x, y: x.clone().add_(y), "mul_": lambda T, x, y: x.clone().mul_(y),
}


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_the_gradient_of_all_elements_is_expanded_at_once(name):
    def program(T):
        x, start = leaf(T, 3, 3), T.ones((), requires_grad=True)
        (found,) = T.autograd.grad(getattr(x, name)(), x, start, create_graph=True)
        return graph(found.grad_fn)

    assert program(fg) == program(torch)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_with_a_history_have_the_nodes_of_torch(name):
    def program(T):
        x, y = leaf(T, 3, 3), leaf(T, 3, 3)
        result = GRADIENTS[name](T, x, y)
        start = leaf(T, *result.shape, dtype=str(result.dtype).split(".")[1]) if result.dim() else T.ones_like(result)
        found = T.autograd.grad(result, (x, y), start, create_graph=True, allow_unused=True)
        return graph(result.grad_fn, 1), *(None if g is None else graph(g.grad_fn, 0) for g in found)

    assert program(fg) == program(torch)


@pytest.mark.parametrize(("left", "right"), [
    ((2, 3), (2, 2, 3, 1)), ((1, 3), (2, 2, 3, 1)), ((1, 3), (2, 3, 4)), ((2, 3), (1, 1, 3, 1)), ((2, 3), (2, 3, 4)),
    ((3,), (2, 3, 4)), ((5,), (2, 3, 5, 4)), ((2, 3, 4), (4, 5)), ((2, 2, 3), (2, 3, 1)), ((2, 3, 4), (4,)),
])
def test_products_of_batches_are_torchs_in_memory(left, right):
    def program(T):
        x, y = leaf(T, *left), leaf(T, *right)
        z = x @ y
        return z.grad_fn.name(), z.stride(), [g.stride() for g in T.autograd.grad(z.sum(), (x, y))]

    assert program(fg) == program(torch)


#: Results whose gradients are looked at, of `x` and `y` (2, 3), the row `v` and the number `n`.
RECORDED = {
    "add": lambda T, x, y, v, n: x + y, "add broadcast": lambda T, x, y, v, n: x + v, "add a number": lambda T, x, y, v, n: n + x,
    "add a column": lambda T, x, y, v, n: x + x[:, :1] * 1, "mul a column": lambda T, x, y, v, n: x * y[:, :1].detach().requires_grad_(),
    "mul a number": lambda T, x, y, v, n: n * x, "sub scaled": lambda T, x, y, v, n: T.sub(x, y, alpha=2),
    "div": lambda T, x, y, v, n: x / n, "remainder": lambda T, x, y, v, n: x % n, "pow": lambda T, x, y, v, n: x**v,
    "maximum": lambda T, x, y, v, n: T.maximum(x, y), "minimum": lambda T, x, y, v, n: T.minimum(x, v),
    "fmax": lambda T, x, y, v, n: T.fmax(x, y), "fmin": lambda T, x, y, v, n: T.fmin(x, y),
    "clamp": lambda T, x, y, v, n: x.clamp(v, n), "where": lambda T, x, y, v, n: T.where(x > 0.3, x, n),
    "hypot": lambda T, x, y, v, n: T.hypot(x, y), "lerp": lambda T, x, y, v, n: x.lerp(y, 0.3),
    "lerp far": lambda T, x, y, v, n: x.lerp(y, 0.7), "lerp by a tensor": lambda T, x, y, v, n: x.lerp(y, v),
    "exp2": lambda T, x, y, v, n: x.exp2(), "sgn": lambda T, x, y, v, n: x.sgn() * y, "mean": lambda T, x, y, v, n: x.mean(),
    "max": lambda T, x, y, v, n: x.max(), "min": lambda T, x, y, v, n: x.min(), "amax": lambda T, x, y, v, n: x.amax(0),
    "std": lambda T, x, y, v, n: x.std(), "prod": lambda T, x, y, v, n: x.prod(), "logsumexp": lambda T, x, y, v, n: x.logsumexp(1),
    "cumsum": lambda T, x, y, v, n: x.cumsum(1), "repeat": lambda T, x, y, v, n: x.repeat(2, 1, 3),
    "repeat once": lambda T, x, y, v, n: x.repeat(1, 1), "tile": lambda T, x, y, v, n: v.tile(2),
    "diag": lambda T, x, y, v, n: T.diag(x, 1), "diag of a vector": lambda T, x, y, v, n: T.diag(v),
    "addmm": lambda T, x, y, v, n: T.addmm(n, x, y.t(), beta=2, alpha=3), "mm": lambda T, x, y, v, n: x @ y.t(),
    "mv": lambda T, x, y, v, n: x @ v, "dot": lambda T, x, y, v, n: v @ v,
    "rows of a batch": lambda T, x, y, v, n: leaf(T, 4, 2, 3) @ y.t(),
    "batch": lambda T, x, y, v, n: x[None].repeat(4, 1, 1) @ y.t()[None].repeat(4, 1, 1),
    "batch and vector": lambda T, x, y, v, n: x.repeat(4, 1, 1) @ v, "cat": lambda T, x, y, v, n: T.cat([x, y]),
    "stack": lambda T, x, y, v, n: T.stack([x, y]), "index": lambda T, x, y, v, n: x[:, T.tensor([0, 2])],
    "masked": lambda T, x, y, v, n: x[x > 0.3], "expand": lambda T, x, y, v, n: v.expand(4, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_the_last_nodes_of_gradients_are_torchs(name):
    def program(T):
        leaves = leaf(T, 2, 3), leaf(T, 2, 3).detach().flip(1).requires_grad_(), leaf(T, 3), leaf(T)
        result = RECORDED[name](T, *leaves)
        start = T.ones_like(result).requires_grad_()
        found = T.autograd.grad(result, leaves, start, create_graph=True, allow_unused=True)
        return graph(result.grad_fn, 0), [None if g is None else graph(g.grad_fn, 0) for g in found]

    assert program(fg) == program(torch)


@pytest.mark.parametrize(("left", "right"), [
    ((4, 2, 3), (3,)), ((4, 2, 3), (3, 2)), ((4, 2, 3), (4, 3, 2)), ((5, 4, 2, 3), (5, 4, 3, 2)), ((5, 4, 2, 3), (3,)),
    ((5, 4, 2, 3), (4, 3, 2)), ((2, 3), (3, 2)), ((2, 3), (3,)), ((3,), (3, 2)),
])  # fmt: skip
def test_the_last_nodes_of_gradients_of_products_are_torchs(left, right):
    def program(T):
        x, y = leaf(T, *left), leaf(T, *right)
        result = x @ y
        found = T.autograd.grad(result, (x, y), T.ones_like(result).requires_grad_(), create_graph=True)
        return graph(result.grad_fn, 0), [graph(g.grad_fn, 0) for g in found], [g.tolist() for g in found]

    (node, gradients, values), (their_node, theirs, expected) = program(fg), program(torch)
    assert (node, gradients) == (their_node, theirs)
    assert all(np.allclose(ours, their) for ours, their in zip(values, expected, strict=True))

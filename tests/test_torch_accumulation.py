"""Where gradients are gathered and how they add up, in both libraries: the same values, or an error of the same class."""

import pytest
from test_torch_graph import leaf, same


def passes(T, *, create_graph=False, given=None):
    """The gradient that a result keeps over three passes, and that of the leaf behind it."""
    x = leaf(T)
    y = x * 2
    y.retain_grad()
    y.grad = given
    z = (y * y * y).sum()
    kept = []
    for _ in range(3):
        z.backward(retain_graph=True, create_graph=create_graph)
        kept.append(y.grad)
    return kept, x.grad, y.grad.requires_grad


def differentiated(T, inputs):
    """As `passes`, where gradients are asked for and not gathered."""
    x = leaf(T)
    y = x * 2
    y.retain_grad()
    z = (y * y).sum()
    for _ in range(2):
        T.autograd.grad(z, inputs(x, y), retain_graph=True)
    return y.grad, x.grad


def second_derivative(T):
    x = leaf(T)
    y = x * 2
    y.retain_grad()
    for _ in range(2):
        (y * y * y).sum().backward(create_graph=True)
    first = y.grad
    y.grad = x.grad = None
    first.sum().backward()
    return first, x.grad, y.grad


def kept_before(T, change):
    """The gradient kept before something became of the result, and that after another pass."""
    x = leaf(T)
    y = x * 2
    y.retain_grad()
    y.sum().backward(retain_graph=True)
    old = y * 3
    change(T, y)
    found = [y.grad, y.retains_grad]
    (y * x).sum().backward(retain_graph=True)
    found.append(y.grad)
    old.sum().backward()
    return [*found, y.grad, x.grad]


def kept_by_a_view(T):
    base = leaf(T) * 1
    view = base[:1]
    view.retain_grad()
    view.sum().backward(retain_graph=True)
    base.mul_(2)
    found = [view.grad, view.retains_grad]
    view.sum().backward()
    return [*found, view.grad]


def assigned_before(T):
    y = leaf(T) * 2
    y.grad = T.ones(2, dtype=T.float64)
    y.retain_grad()
    y.retain_grad()
    y.sum().backward()
    return y.grad


def kept_apart(T):
    """A sum is a new tensor; the first gradient is a copy of what the pass was given."""
    y = leaf(T) * 2
    y.retain_grad()
    g = T.ones(2, dtype=T.float64)
    y.backward(g, retain_graph=True)
    first = y.grad
    y.backward(g)
    return first, first is y.grad, g, y.grad


def into(T, inputs, *, retain=False, hook=False, count=2):
    """Passes limited to some of a leaf, a result of it and another leaf, then one that is not."""
    x, w = leaf(T), leaf(T, 3.0, 4.0)
    y = x * w
    if retain:
        y.retain_grad()
    if hook:
        y.register_hook(lambda g: g * 10)
    z = (y * y).sum()
    for _ in range(count):
        z.backward(inputs=inputs(T, x, y, w), retain_graph=True)
    found = [y.retains_grad, y.grad, x.grad, w.grad]
    z.backward()
    return [*found, y.grad, x.grad, w.grad]


def hooks_of_inputs(T):
    """What is called in a pass limited to a leaf."""
    x, w = leaf(T), leaf(T, 3.0, 4.0)
    seen = []
    for name, t in (("x", x), ("w", w)):
        t.register_hook(lambda g, name=name: seen.append((name, g.tolist())))
        t.register_post_accumulate_grad_hook(lambda t, name=name: seen.append((name, t.grad.tolist())))
    (x * w).sum().backward(inputs=[x])
    return seen


def roots_beside_inputs(T):
    """A leaf that a pass starts from, but that is not asked for, gathers nothing."""
    x, w = leaf(T), leaf(T, 3.0, 4.0)
    T.autograd.backward([x, (w * 2).sum()], [T.ones(2, dtype=T.float64), None], inputs=[w])
    return x.grad, w.grad


def not_asked(T, inputs):
    x = leaf(T)
    y, other = x * 2, x * 3
    y.sum().backward(inputs=inputs(T, x, other))
    return x.grad, other.grad, other.retains_grad


def frozen(T, *steps, hooked=False):
    """A leaf that is told to require no gradient after the forward pass."""
    w, v = leaf(T), leaf(T, 3.0, 4.0)
    y = (w * v).sum()
    seen = []
    if hooked:
        w.register_hook(lambda g: seen.append(g.tolist()))
        w.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad))
    for step in steps:
        step(w)
    asked = []
    if w.requires_grad:
        asked = T.autograd.grad(y, w, retain_graph=True)
    y.backward()
    return w.grad, v.grad, asked, seen


def frozen_and_asked_for(T):
    w = leaf(T)
    y = (w * 2).sum()
    w.requires_grad_(False)
    return T.autograd.grad(y, w)


def frozen_with_a_gradient(T):
    w = leaf(T)
    y = (w * 2).sum()
    y.backward(retain_graph=True)
    w.requires_grad_(False)
    y.backward()
    return w.grad


def freeze(w):
    w.requires_grad_(False)


def thaw(w):
    w.requires_grad_(True)


def set_frozen(w):
    w.requires_grad = False


def detach(w):
    w.detach_()


def told(T, g):
    return None if g is None else (str(g.dtype).rpartition(".")[2], tuple(g.shape), g)


def other_data(T, before, after, *, keep=False, gather=False, create_graph=False, use=lambda v: v.exp().sum()):
    """Gradients of a leaf that was given other data: with its old graph alive, with a gradient gathered before."""
    v = before(T).requires_grad_()
    old = v * 2 if keep else None
    if gather:
        v.sum().backward()
    v.data = after(T)
    use(v).backward(create_graph=create_graph)
    found = [told(T, v.grad)]
    if keep:
        old.sum().backward()
        found.append(told(T, v.grad))
    return found


def old_graph(T, before, after):
    """A pass over what was recorded before a leaf was given other data."""
    v = before(T).requires_grad_()
    old = v * 2
    v.data = after(T)
    old.sum().backward()
    return told(T, v.grad)


def both_graphs(T):
    v = leaf(T)
    old = v * 2
    v.data = T.ones(2, dtype=T.float32)
    (old.sum() + (v * 3).sum()).backward()
    return told(T, v.grad)


def who_gathers(T, after):
    """The node of a leaf, and its hooks, know the tensor as it is."""
    v = leaf(T)
    seen = []
    v.register_post_accumulate_grad_hook(lambda t: seen.append((t is v, t)))
    old = v * 2
    v.data = after(T)
    (node, _), _ = old.grad_fn.next_functions
    old.sum().backward()
    return node.variable is v, node.variable, seen


def in_any_layout(T, how):
    """The layouts of first gradients, of a leaf whose memory is not row-major, within the policy and after it."""
    policy = T.autograd.enforce_grad_layout_policy
    leaves = [T.ones(2, 3, 4, dtype=T.float64).permute(2, 0, 1).requires_grad_() for _ in range(3)]
    steps = lambda p: (p.contiguous() * 2).sum().backward()
    if how == "block":
        with policy(False):
            steps(leaves[0])
            with policy(True):
                steps(leaves[1])
    elif how == "decorator":
        decorated = policy(False)(steps)
        steps(leaves[1])
        decorated(leaves[0])
    else:
        policy(False)
        steps(leaves[0])
        policy()
        steps(leaves[1])
    steps(leaves[2])
    steps(leaves[0])
    return [(p.grad, p.grad.stride()) for p in leaves]


def from_a_function(T, result, *, keep=False, size=(2,)):
    """Whether a leaf takes over the memory of what a custom function gave, which is looked at, and its gradient."""
    addresses, kept = [], []

    class Given(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            found = result(T, grad)
            addresses.append(found.data_ptr())
            kept.extend([found] * keep)
            return found

    x = T.ones(size, dtype=T.float64, requires_grad=True)
    Given.apply(x).backward(T.ones(size, dtype=T.float64) * 2)
    return x.grad.data_ptr() == addresses[0], x.grad


def to_both(T):
    """Of two leaves with one gradient, one takes it over."""
    addresses = []

    class Both(T.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, grad):
            addresses.append(grad.data_ptr())
            return grad, grad

    a, b = leaf(T), leaf(T)
    (Both.apply(a, b) * 2).sum().backward()
    return sorted(t.grad.data_ptr() == addresses[0] for t in (a, b)), a.grad, b.grad


def looked_at_by_a_hook(T):
    addresses = []
    x = leaf(T)
    x.register_hook(lambda g: addresses.append(g.data_ptr()))
    (x * 2).backward(T.ones(2, dtype=T.float64))
    return x.grad.data_ptr() == addresses[0], x.grad


def ones(*shape, dtype="float32"):
    return lambda T: T.ones(*shape, dtype=getattr(T, dtype))


PROGRAMS = {
    "a new tensor of a function": lambda T: from_a_function(T, lambda T, g: g * 3),
    "the gradient itself": lambda T: from_a_function(T, lambda T, g: g),
    "a tensor that is kept": lambda T: from_a_function(T, lambda T, g: g * 3, keep=True),
    "an expanded tensor": lambda T: from_a_function(T, lambda T, g: T.ones(1, dtype=T.float64).expand(2)),
    "one gradient of two leaves": to_both,
    "a gradient that a hook looked at": looked_at_by_a_hook,
    "three passes": passes,
    "three passes with graphs": lambda T: passes(T, create_graph=True),
    "three passes onto a gradient given": lambda T: passes(T, given=T.full((2,), 5.0, dtype=T.float64)),
    "grad for a leaf": lambda T: differentiated(T, lambda x, y: x),
    "grad for the result": lambda T: differentiated(T, lambda x, y: [y]),
    "a sum of gradients with graphs": second_derivative,
    "kept, then changed": lambda T: kept_before(T, lambda T, y: y.mul_(2)),
    "kept, then unchanged": lambda T: kept_before(T, lambda T, y: None),
    "kept, then forgotten": lambda T: kept_before(T, lambda T, y: setattr(y, "grad", None)),
    "kept, then assigned": lambda T: kept_before(T, lambda T, y: setattr(y, "grad", T.full((2,), 7.0, dtype=T.float64))),
    "kept, then retained again": lambda T: kept_before(T, lambda T, y: y.retain_grad()),
    "kept by a view of a base that changed": kept_by_a_view,
    "assigned, then retained": assigned_before,
    "kept apart": kept_apart,
    "into a leaf": lambda T: into(T, lambda T, x, y, w: [x]),
    "into one leaf, no list": lambda T: into(T, lambda T, x, y, w: x),
    "into a leaf twice": lambda T: into(T, lambda T, x, y, w: (x, x)),
    "into a result": lambda T: into(T, lambda T, x, y, w: [y], count=1),
    "into a leaf and a result": lambda T: into(T, lambda T, x, y, w: [x, y]),
    "into a result twice and a leaf": lambda T: into(T, lambda T, x, y, w: (y, x, y)),
    "into a result that is kept": lambda T: into(T, lambda T, x, y, w: [w, y], retain=True),
    "into a result with a hook": lambda T: into(T, lambda T, x, y, w: [w, y], hook=True),
    "into a kept result with a hook": lambda T: into(T, lambda T, x, y, w: [y, x], retain=True, hook=True),
    "into the edge of a result": lambda T: into(T, lambda T, x, y, w: [T.autograd.graph.get_gradient_edge(y), x]),
    "into the edge of a leaf": lambda T: into(T, lambda T, x, y, w: [T.autograd.graph.get_gradient_edge(x)]),
    "hooks of inputs": hooks_of_inputs,
    "roots beside inputs": roots_beside_inputs,
    "into what is not reached": lambda T: not_asked(T, lambda T, x, other: [x, other]),
    "into what has no gradient": lambda T: not_asked(T, lambda T, x, other: [x, T.ones(2)]),
    "frozen": lambda T: frozen(T, freeze),
    "frozen by assignment": lambda T: frozen(T, set_frozen),
    "frozen by detaching": lambda T: frozen(T, detach),
    "frozen and not": lambda T: frozen(T, freeze, thaw),
    "detached and not": lambda T: frozen(T, detach, thaw),
    "frozen, changed, and not": lambda T: frozen(T, freeze, lambda w: w.add_(3), thaw),
    "frozen with hooks": lambda T: frozen(T, freeze, hooked=True),
    "frozen and asked for": frozen_and_asked_for,
    "frozen with a gradient": frozen_with_a_gradient,
    "a node that detaching leaves": lambda T: frozen(T, detach, thaw, hooked=True),
    "both graphs of data of two dtypes": both_graphs,
    **{
        f"{name}, {what}": lambda T, call=call, before=before, after=after: call(T, before, after)
        for what, before, after in (
            ("narrower data", ones(3, dtype="float64"), ones(3)),
            ("wider data", ones(3), ones(3, dtype="float64")),
            ("longer data", ones(3), ones(4)),
            ("data of one number", ones(3), ones(1)),
            ("data of more than one number", ones(1), ones(3)),
            ("data of another rank", ones(3), ones(2, 3)),
            ("data in another order", ones(2, 3), lambda T: T.ones(3, 2).t()),
            ("transposed data", lambda T: T.ones(3, 2).t(), ones(3, 2)),
        )
        for name, call in {
            "a new gradient": other_data,
            "a sum": lambda T, b, a: other_data(T, b, a, gather=True),
            "a sum of halves": lambda T, b, a: other_data(T, b, a, gather=True, use=lambda v: v.sum()),
            "a sum with a graph": lambda T, b, a: other_data(T, b, a, gather=True, create_graph=True),
            "a new gradient with a graph": lambda T, b, a: other_data(T, b, a, create_graph=True),
            "the old graph too": lambda T, b, a: other_data(T, b, a, keep=True),
            "the old graph": old_graph,
        }.items()
    },
    **{
        f"layouts of gradients, {how}": lambda T, how=how: in_any_layout(T, how) for how in ("block", "decorator", "call")
    },
    "who gathers": lambda T: who_gathers(T, lambda T: T.zeros(2, dtype=T.float64)),
    "who gathers in another dtype": lambda T: who_gathers(T, lambda T: T.zeros(2)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    same(PROGRAMS[name])

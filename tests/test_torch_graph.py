"""Programs that look at the graph, hook into it or extend it, run in both libraries: the same values or class of error."""

import warnings

import numpy as np
import pytest

import ferrograd as fg
import ferrograd.autograd.forward_ad  # noqa: F401 - programs name it

torch = pytest.importorskip("torch")


def told(value):
    """A value as plain Python: tensors as lists."""
    if isinstance(value, (fg.Tensor, torch.Tensor)):
        return value.detach().tolist()
    if isinstance(value, (tuple, list)):
        return [told(v) for v in value]
    return value


def run(program, T):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return told(program(T))
    except Exception as error:  # noqa: BLE001 - its class is compared
        return type(error)


def same(program):
    """A program tells the same in both libraries, or raises errors of one class."""
    expected = run(program, torch)
    found = run(program, fg)
    if isinstance(expected, type):
        assert found is expected
        return
    assert repr(found) == repr(expected) or np.testing.assert_allclose(found, expected, rtol=1e-12) is None


def leaf(T, *values):
    return T.tensor(list(values) or [1.0, 2.0], dtype=T.float64, requires_grad=True)


def identity(T, forward, jvp, backward=lambda ctx, g: g):
    """A custom function of these parts."""
    return type("Identity", (T.autograd.Function,), {
        "forward": staticmethod(forward), "backward": staticmethod(backward), "jvp": staticmethod(jvp)
    })


def tangent(T, forward, jvp):
    with T.autograd.forward_ad.dual_level():
        x = T.autograd.forward_ad.make_dual(T.ones(2), T.ones(2) * 3)
        return list(T.autograd.forward_ad.unpack_dual(identity(T, forward, jvp).apply(x)))


def changed(ctx, x):
    ctx.mark_dirty(x)
    return x.add_(1)


def tangents_apart(T, copied):
    """A tangent that is changed in place with its tensor is nobody else's."""
    unpack = T.autograd.forward_ad.unpack_dual
    with T.autograd.forward_ad.dual_level():
        x = T.autograd.forward_ad.make_dual(T.ones(2), T.ones(2) * 3)
        y = identity(T, changed, lambda c, t: t.add_(1)).apply(copied(x))
        return list(unpack(x)), list(unpack(y)), list(unpack(x * 2 + y))


def hooked(T, pack, unpack):
    x = leaf(T)
    with T.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = x * x
    return T.autograd.grad(y.sum(), x)


def seen_by_multi(T, mode, run):
    a, b, seen = leaf(T), leaf(T, 3.0, 4.0), []
    c = a * b
    handle = T.autograd.graph.register_multi_grad_hook([a, b, c], seen.append, mode=mode)
    run(T, a, b, c)
    handle.remove()
    (a * b).sum().backward()
    return seen


def node_hooks(T, pre=lambda g: None, post=lambda i, o: None):
    x = leaf(T)
    y = x * 3
    y.grad_fn.register_prehook(pre)
    y.grad_fn.register_hook(post)
    return T.autograd.grad(y.sum(), x)


def mutated(T):
    x = leaf(T)
    with T.autograd.graph.allow_mutation_on_saved_tensors():
        y = x * 3
        z = y**2
        y.zero_()
        z.sum().backward()
    return x.grad


def nested_mutation(T):
    with T.autograd.graph.allow_mutation_on_saved_tensors(), T.autograd.graph.allow_mutation_on_saved_tensors():
        pass


def edge(T):
    x = leaf(T)
    y = x * 2
    z = (y * y).sum()
    found = T.autograd.grad(z, [T.autograd.graph.get_gradient_edge(t) for t in (y, x)], retain_graph=True)
    T.autograd.backward(T.autograd.graph.get_gradient_edge(z), T.tensor(1.0, dtype=T.float64))
    at = T.autograd.graph.get_gradient_edge(y)
    return found, x.grad, at.node.name(), at.output_nr, len(at)


def disabled(T):
    with T.autograd.graph.disable_saved_tensors_hooks("not now"):
        with T.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            leaf(T).exp()


def vjp_form(T):
    cls = type("F", (T.autograd.Function,), {
        "forward": staticmethod(lambda ctx, x: x * 2), "vjp": staticmethod(lambda ctx, g: g * 5)
    })
    x = leaf(T)
    return T.autograd.grad(cls.apply(x).sum(), x)


def modes(T):
    """What generators see of the mode on both sides of a yield."""
    seen = []

    @T.no_grad()
    def numbers():
        for _ in range(2):
            seen.append(T.is_grad_enabled())
            yield 1
        seen.append(T.is_grad_enabled())

    for _ in numbers():
        seen.append(T.is_grad_enabled())
    with T.no_grad():
        assert not T.is_grad_enabled()

    @T.enable_grad()
    class Kept:
        def __init__(self):
            seen.append(T.is_grad_enabled())

    Kept()
    return seen


def metadata(T):
    y = leaf(T).exp()
    look = y.grad_fn._input_metadata[0]
    return list(look.shape), repr(look.dtype), look.is_nested_tensor, isinstance(y.grad_fn, T.autograd.graph.Node)


def custom_view(T, change):
    """The derivative of a view that a custom function made, after a change of what it was made of."""
    b = leaf(T) * 1
    v = type("Scaled", (T.autograd.Function,), {
        "forward": staticmethod(lambda ctx, x: x.view(-1)), "backward": staticmethod(lambda ctx, g: g * 5)
    }).apply(b)
    change(b)
    return T.autograd.grad(v.sum(), b)


def unrecorded_view(T, make, change):
    """What becomes of a base whose view is changed by what requires a gradient: an error, as nobody tells the base."""
    base, w = T.ones(2, dtype=T.float64), leaf(T, 3.0)
    with T.no_grad():
        v = make(base)
    change(v, w)
    return base.requires_grad


def retained(T, change):
    x = leaf(T)
    y = x * 2
    y.retain_grad()
    seen = []
    y.register_hook(seen.append)
    change(y)
    (y * 3).sum().backward()
    return y.grad, x.grad, seen


def undefined(T):
    """What hooks see of gradients that are zero because nothing depends on the tensor."""
    seen = []
    none = type("Nothing", (T.autograd.Function,), {
        "forward": staticmethod(lambda ctx, x, y: x * 1), "backward": staticmethod(lambda ctx, g: (g, None))
    }).apply
    x, y, w = leaf(T), leaf(T), leaf(T)
    z = y * 1
    z.register_hook(lambda g: seen.append(("tensor", g is None)))
    z.grad_fn.register_prehook(lambda g: seen.append(("before", g[0] is None)))
    z.grad_fn.register_hook(lambda i, o: seen.append(("after", i[0] is None, o[0] is None)))
    y.register_hook(lambda g: seen.append(("leaf", g is None)))
    y.register_post_accumulate_grad_hook(lambda t: seen.append(("kept", t.grad is None)))
    first, second = w.unbind()
    second.register_hook(lambda g: seen.append(("part", g is None)))
    (none(x, z).sum() + first).backward()
    return seen, x.grad, w.grad


def replaced_undefined(T):
    x = leaf(T)
    first, second = x.unbind()
    second.register_hook(lambda g: T.tensor(7.0, dtype=T.float64))
    first.backward()
    return x.grad


def saved_result(T, derivative):
    """A custom function whose backward reads its second result, which has a tangent."""

    def context(ctx, inputs, outputs):
        ctx.save_for_backward(inputs[0], outputs[1])
        ctx.save_for_forward(inputs[0], outputs[1])

    def backward(ctx, g, h):
        x, d = ctx.saved_tensors
        return g * d + h * 6 * x

    def jvp(ctx, t):
        x, d = ctx.saved_tensors
        return d * t, 6 * x * t

    cube = type("Cube", (T.autograd.Function,), {
        "forward": staticmethod(lambda x: (x**3, 3 * x**2)), "setup_context": staticmethod(context),
        "backward": staticmethod(backward), "jvp": staticmethod(jvp), "generate_vmap_rule": True,
    }).apply
    return derivative(T.func, lambda x: cube(x)[0].sum())(T.tensor([1.0, 2.0], dtype=T.float64))


def tangents_of_views(T, run):
    """The tangents of a tensor and of views of it, of which one was changed in place."""
    forward = T.autograd.forward_ad
    with forward.dual_level():
        x = forward.make_dual(T.tensor([1.0, 2.0]), T.tensor([1.0, 10.0]))
        base = x * 1
        return [forward.unpack_dual(t).tangent for t in (base, *run(T, base))]


def changed_view(T, base, view, change):
    v = view(base)
    change(v)
    return [v]


def changed_base(T, base, views):
    all = views(base)
    base.mul_(3)
    return all


def view_of_function(T):
    return type("View", (T.autograd.Function,), {
        "forward": staticmethod(lambda ctx, x: x.view(-1)), "jvp": staticmethod(lambda ctx, t: t.view(-1))
    }).apply


def written(T, x):
    z = T.zeros(2)
    with T.no_grad():
        v = z[:1]
    v.copy_(x[1:])
    return [z, v]


def example_hook(T):
    """A hook within a map sees the gradient of one example."""
    seen = []

    def f(x):
        y = x * 2
        y.register_hook(lambda g: (seen.append(tuple(g.shape)), g * g.sum() * y.detach())[1])
        return (y**2).sum()

    return T.vmap(T.func.grad(f))(T.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=T.float64)), seen


def at_the_end(T):
    x, seen = leaf(T), []
    queue = T.autograd.Variable._execution_engine.queue_callback

    def later():
        seen.append(x.grad is None)
        if len(seen) < 3:
            queue(later)

    x.register_hook(lambda g: queue(later))
    x.sum().backward()
    return seen


def variables(T):
    x = T.autograd.Variable(T.ones(2), requires_grad=True)
    y = T.autograd.variable.Variable(T.ones(2))
    return isinstance(x, T.autograd.Variable), issubclass(T.Tensor, T.autograd.Variable), x.requires_grad, y.requires_grad


def grad_of_a_result(T):
    y = leaf(T) * 2
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        y.grad
        y.retain_grad()
        y.grad
        T.ones(2).grad
    return [w.category.__name__ for w in shown]


def assigned(T, value):
    y = leaf(T) * 2
    y.requires_grad = value


def called_node(T):
    y = leaf(T).sin()
    return y.grad_fn(T.ones(2, dtype=T.float64))


def versions(T, what):
    x = T.ones(2)
    T.autograd.graph.increment_version(what(x))
    return x._version


def first_gradients(T, call, create_graph):
    """The gradients of a leaf and of a result on the way to it after one pass: node, neighbours, memory, version."""
    x = T.ones(3, 1, 2, dtype=T.float64).transpose(0, 2).requires_grad_()
    y = x * 1
    y.retain_grad()
    call(y).backward(create_graph=create_graph)
    look = lambda g: (g.grad_fn and (g.grad_fn.name(), len(g.grad_fn.next_functions)), g.stride(), g._version, g)  # noqa: E731
    found = [look(x.grad), look(y.grad)]
    call(y).backward(create_graph=create_graph)
    return [*found, look(x.grad)]


PROGRAMS = {
    **{
        f"first gradients of {name}, {create_graph=}": lambda T, call=call, create_graph=create_graph: first_gradients(T, call, create_graph)
        for create_graph in (False, True)
        for name, call in {"a sum": lambda y: y.sum(), "products": lambda y: (y * y).sum(), "a transposed": lambda y: (y.mT**3).sum()}.items()
    },
    "a retained gradient is a copy": lambda T: (
        lambda x, y: (y.retain_grad(), y.register_hook(lambda g: g), y.sum().backward(), y.grad.mul_(5), x.grad, y.grad)
    )(*(lambda x: (x, x * 1))(leaf(T)))[3:],
    "a view with another tangent": lambda T: tangent(T, lambda c, x: x.view_as(x), lambda c, t: t * 2),
    "a view with a view of the tangent": lambda T: tangent(T, lambda c, x: x.view_as(x), lambda c, t: t.view_as(t)),
    "an input with another tangent": lambda T: tangent(T, lambda c, x: x, lambda c, t: t * 2),
    "in place, tangent too": lambda T: tangent(T, changed, lambda c, t: t.add_(1)),
    "in place, tangent apart": lambda T: tangent(T, changed, lambda c, t: t + 1),
    "in place, tangent too, of a copy": lambda T: tangents_apart(T, lambda x: x.clone()),
    "in place, tangent too, of a sum": lambda T: tangents_apart(T, lambda x: x + 1),
    "a copy with another tangent": lambda T: tangent(T, lambda c, x: x.clone(), lambda c, t: t * 2),
    "a tangent of another shape": lambda T: tangent(T, lambda c, x: x.clone(), lambda c, t: t[:1]),
    "too many tangents": lambda T: tangent(T, lambda c, x: x.clone(), lambda c, t: (t, t)),
    "saved as lists": lambda T: hooked(T, lambda t: t.tolist(), lambda v: T.tensor(v, dtype=T.float64)),
    "saved in float32": lambda T: hooked(T, lambda t: t.float(), lambda t: t),
    "pack in place": lambda T: hooked(T, lambda t: t.detach().add_(1), lambda t: t),
    "unpack gives None": lambda T: hooked(T, lambda t: t, lambda t: None),
    "hooks that are no functions": lambda T: hooked(T, 3, 4),
    "hooks disabled": disabled,
    "multi hook, all": lambda T: seen_by_multi(T, "all", lambda T, a, b, c: c.sum().backward()),
    "multi hook, any": lambda T: [len(seen_by_multi(T, "any", lambda T, a, b, c: c.sum().backward()))],
    "multi hook, twice": lambda T: seen_by_multi(T, "all", lambda T, a, b, c: [c.sum().backward(retain_graph=True), c.sum().backward()]),
    "multi hook, unreached": lambda T: seen_by_multi(T, "all", lambda T, a, b, c: (a * 2).sum().backward()),
    "multi hook, grad": lambda T: seen_by_multi(T, "all", lambda T, a, b, c: T.autograd.grad((c * 2).sum(), c)),
    "multi hook, mode": lambda T: seen_by_multi(T, "some", lambda T, a, b, c: None),
    "prehook": lambda T: node_hooks(T, pre=lambda g: (g[0] * 2,)),
    "hook of a node": lambda T: node_hooks(T, post=lambda i, o: tuple(g if g is None else g * 7 for g in i)),
    "prehook without tuple": lambda T: node_hooks(T, pre=lambda g: g[0] * 2),
    "prehook of another count": lambda T: node_hooks(T, pre=lambda g: (g[0], g[0])),
    "allow mutation": mutated,
    "allow mutation, nested": nested_mutation,
    "gradient edges": edge,
    "edge of a constant": lambda T: T.autograd.graph.get_gradient_edge(T.ones(2)),
    "vjp in place of backward": vjp_form,
    "modes of generators": modes,
    "metadata": metadata,
    "a node called": called_node,
    "a custom view, its base changed": lambda T: custom_view(T, lambda b: b.mul_(2)),
    "a custom view, another view changed": lambda T: custom_view(T, lambda b: b[:1].mul_(2)),
    "a custom view, its base changed unrecorded": lambda T: custom_view(T, lambda b: T.no_grad()(b.mul_)(2)),
    "a custom view, nothing changed": lambda T: custom_view(T, lambda b: None),
    "an unrecorded view times what requires a gradient": lambda T: unrecorded_view(T, lambda b: b[:1], lambda v, w: v.mul_(w)),
    "an unrecorded view assigned": lambda T: unrecorded_view(T, lambda b: b.view(1, 2), lambda v, w: v.__setitem__(0, w)),
    "a view of an unrecorded view": lambda T: unrecorded_view(T, lambda b: b[:1], lambda v, w: v.view(1).copy_(w)),
    "an unrecorded view filled": lambda T: unrecorded_view(T, lambda b: b[:1], lambda v, w: v.fill_(2)),
    "an unrecorded view, unrecorded": lambda T: unrecorded_view(T, lambda b: b[:1], lambda v, w: T.no_grad()(v.mul_)(w)),
    "retained, unchanged": lambda T: retained(T, lambda y: None),
    "retained, changed": lambda T: retained(T, lambda y: y.mul_(5)),
    "retained, changed twice": lambda T: retained(T, lambda y: y.mul_(5).exp_()),
    "retained, a view changed": lambda T: retained(T, lambda y: y[0].mul_(5)),
    "undefined gradients": undefined,
    "undefined gradients replaced": replaced_undefined,
    "a saved result, reverse": lambda T: saved_result(T, lambda F, f: F.grad(f)),
    "a saved result, forward over reverse": lambda T: saved_result(T, lambda F, f: F.jacfwd(F.grad(f))),
    "a saved result, reverse over reverse": lambda T: saved_result(T, lambda F, f: F.jacrev(F.grad(f))),
    "tangents, one of several views changed": lambda T: tangents_of_views(T, lambda T, b: changed_view(T, b, lambda b: b.unbind()[0], lambda v: v.mul_(3))),
    "tangents, the base of several views changed": lambda T: tangents_of_views(T, lambda T, b: changed_base(T, b, lambda b: b.split(1))),
    "tangents, an unrecorded view changed": lambda T: tangents_of_views(T, T.no_grad()(lambda T, b: changed_view(T, b, lambda b: b[:1], lambda v: v.exp_()))),
    "tangents, the base of an unrecorded view changed": lambda T: tangents_of_views(T, lambda T, b: changed_base(T, b, lambda b: [T.no_grad()(b.view)(2, 1)])),
    "tangents, a view of a function changed": lambda T: tangents_of_views(T, lambda T, b: changed_view(T, b, view_of_function(T), lambda v: v.mul_(3))),
    "tangents, the base of a function's view changed": lambda T: tangents_of_views(T, lambda T, b: changed_base(T, b, lambda b: [view_of_function(T)(b)])),
    "tangents, an unrecorded view written": lambda T: tangents_of_views(T, written),
    "tangents of a function that records nothing": lambda T: T.func.jacfwd(T.no_grad()(lambda x: changed_view(T, x * 1, lambda b: b, lambda b: b[0].mul_(3))[0]))(T.tensor([1.0, 2.0])),
    "a hook within a map": example_hook,
    "at the end of a pass": at_the_end,
    "at the end of no pass": lambda T: T.autograd.Variable._execution_engine.queue_callback(print),
    "variables": variables,
    "the gradient of a result": grad_of_a_result,
    "a result told to require gradients": lambda T: assigned(T, True),
    "a result told not to": lambda T: assigned(T, False),
    "a hook after accumulation that returns": lambda T: (
        lambda x: (x.register_post_accumulate_grad_hook(lambda t: 3), x.sum().backward())
    )(leaf(T)),
    "version of one": lambda T: versions(T, lambda x: x),
    "versions of several": lambda T: versions(T, lambda x: [x, x]),
    "version of a number": lambda T: versions(T, lambda x: 3),
    "state of a wrong size": lambda T: T.set_rng_state(T.zeros(5, dtype=T.uint8)),
    "state of zeros": lambda T: T.set_rng_state(T.zeros(5056, dtype=T.uint8)),
    "state of a wrong dtype": lambda T: T.set_rng_state(T.zeros(5056)),
    "state of a wrong type": lambda T: T.set_rng_state(3),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    same(PROGRAMS[name])


@pytest.mark.parametrize("run", [
    lambda T, x, y: T.add(x, x, alpha=2), lambda T, x, y: T.sub(x, y, alpha=2), lambda T, x, y: T.sub(y, x, alpha=2.5),
    lambda T, x, y: T.rsub(x, y, alpha=3), lambda T, x, y: T.rsub(x, 1, alpha=3), lambda T, x, y: T.add(x, 1, alpha=3),
    lambda T, x, y: T.lerp(x, y, 0.5), lambda T, x, y: T.lerp(y, x, 0.25), lambda T, x, y: x.clone().sub_(y, alpha=2),
    lambda T, x, y: (x + x).add_(x, alpha=2), lambda T, x, y: x.mean(), lambda T, x, y: x * 2, lambda T, x, y: x * y, lambda T, x, y: x**3,
    lambda T, x, y: T.nn.functional.leaky_relu(x, 0.1), lambda T, x, y: x.clamp(0, 5), lambda T, x, y: x.addcmul(y, y, value=2), lambda T, x, y: y.addcmul(x, y, value=2),
])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_second_pass_needs_what_was_saved_only(run, size):
    """Numbers that are settings of a node stay with it."""

    def twice(T):
        x = leaf(T, *range(1, size + 1))
        y = run(T, x, T.ones(size, dtype=T.float64))
        y.sum().backward()
        y.sum().backward()
        return x.grad

    def outcome(T):
        try:
            return told(twice(T))
        except RuntimeError:
            return RuntimeError

    assert outcome(fg) == outcome(torch)


@pytest.mark.parametrize("drawn", [0, 1, 3, 8, 17, 624, 1300])
def test_states_are_torchs(drawn):
    """A state of either library goes on in the other."""
    for T in (fg, torch):
        T.manual_seed(11)
        T.rand(drawn)
        T.randn(3)
    ours, theirs = fg.get_rng_state(), torch.get_rng_state()
    assert fg.initial_seed() == torch.initial_seed() == 11
    expected = [torch.randn(3).tolist(), torch.randn(40).tolist(), torch.rand(700).tolist(), torch.randn(1).tolist()]
    for state in (theirs, ours):
        fg.manual_seed(1)
        fg.set_rng_state(fg.tensor(state.tolist(), dtype=fg.uint8))
        assert fg.initial_seed() == 11
        found = [fg.randn(3).tolist(), fg.randn(40).tolist(), fg.rand(700).tolist(), fg.randn(1).tolist()]
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)
    torch.set_rng_state(torch.tensor(ours.tolist(), dtype=torch.uint8))
    assert torch.randn(3).tolist() == expected[0]


def test_fork_rng():
    fg.manual_seed(0)
    first = fg.rand(3).tolist()
    fg.manual_seed(0)
    with fg.random.fork_rng():
        fg.rand(100)
    assert fg.rand(3).tolist() == first
    with fg.random.fork_rng(enabled=False):
        fg.rand(100)
    assert fg.rand(3).tolist() != first


EDGES = [0.0, -0.0, float("inf"), -float("inf"), 1.0, -1.0, float("nan"), 2.0]


@pytest.mark.parametrize("exponent", [2, 3, 0.5, 1.5, -0.5, -1, -2, 2.5, 0.25])
def test_powers_are_differentiated_as_powers_again_and_again(exponent):
    """Three times, also where the second derivative is a constant, and at the edges of the numbers."""

    def program(T):
        x = T.tensor(EDGES, dtype=T.float64, requires_grad=True)
        y, found = x**exponent, []
        for _ in range(3):
            (y,) = T.autograd.grad(y.sum(), x, create_graph=True)
            found.append(y.tolist())
        return found

    expected, found = program(torch), program(fg)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert (np.signbit(found) | np.isnan(found)).tolist() == (np.signbit(expected) | np.isnan(expected)).tolist()


def test_thousands_of_inputs_are_found_at_once():
    """Each step looks for what it was asked for, not through all that was asked for: the time grows with the inputs."""
    leaves = [fg.ones(1, requires_grad=True) for _ in range(20_000)]
    found = fg.autograd.grad(fg.cat(leaves).sum(), [*leaves, leaves[7]])
    assert len(found) == 20_001 and all(g.item() == 1.0 for g in found)

"""Checkpoints: the values and gradients of the plain function, what is kept, and torch's errors."""

import gc
import warnings

import numpy as np
from contextlib import nullcontext

import pytest

import ferrograd as fg
from ferrograd.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential, set_checkpoint_early_stop

BOTH = pytest.mark.parametrize("reentrant", [True, False])


def block(x, w):
    return ((x * w).sin() * x).exp().cos() * w


def leaves():
    rng = np.random.default_rng(0)
    return [fg.tensor(rng.normal(size=5), requires_grad=True) for _ in range(2)]


def gradients(run):
    x, w = leaves()
    y = run(x, w)
    (y**2).sum().backward()
    return y.tolist(), x.grad.tolist(), w.grad.tolist()


@BOTH
def test_the_gradients_are_those_of_the_function(reentrant):
    expected = gradients(block)
    assert gradients(lambda x, w: checkpoint(block, x, w, use_reentrant=reentrant)) == expected


@BOTH
def test_nested(reentrant):
    def outer(run):
        return lambda x, w: run(lambda x, w: block(run(block, x, w) * 2, w).tanh(), x * 1.0, w)

    expected = gradients(outer(lambda f, *args: f(*args)))
    found = gradients(outer(lambda f, *args: checkpoint(f, *args, use_reentrant=reentrant)))
    # Passes within passes add what arrives at a leaf in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_nested_to_depth_counts_runs():
    runs = []

    def level(depth):
        def run(x):
            runs.append(depth)
            return (checkpoint(level(depth - 1), x, use_reentrant=False) if depth else x).sin()

        return run

    x = fg.tensor([0.3], dtype=fg.float64, requires_grad=True)
    checkpoint(level(3), x, use_reentrant=False).backward()
    expected, y = 1.0, 0.3
    for _ in range(4):
        expected, y = expected * np.cos(y), np.sin(y)
    assert x.grad.item() == pytest.approx(expected, rel=1e-14)
    assert runs[:4] == [3, 2, 1, 0] and len(runs) > 4


@BOTH
@pytest.mark.parametrize("preserve", [True, False])
def test_random_numbers(reentrant, preserve):
    x = fg.ones(50, requires_grad=True)
    fg.manual_seed(3)
    y = checkpoint(lambda x: x * fg.rand(50), x, use_reentrant=reentrant, preserve_rng_state=preserve)
    after = fg.get_rng_state().tolist()
    y.sum().backward()
    assert (x.grad.tolist() == y.tolist()) is preserve
    assert (fg.get_rng_state().tolist() == after) is preserve


def test_only_arguments_are_kept():
    x = fg.ones(1000, requires_grad=True)

    def long(x):
        for _ in range(10):
            x = x.sin()
        return x

    kept = []
    with fg.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        long(x)
    assert len(kept) == 10
    kept.clear()
    with fg.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        y = checkpoint(long, x, use_reentrant=False)
    assert kept == [1000]
    y.sum().backward()


def test_nothing_is_left_of_a_second_run():
    x = fg.ones(10, requires_grad=True)
    y = checkpoint(lambda x: x.sin().cos(), x, use_reentrant=False)
    y.sum().backward()
    gc.collect()
    before = sum(isinstance(o, fg.Tensor) for o in gc.get_objects())
    for _ in range(5):
        y = checkpoint(lambda x: x.sin().cos(), x, use_reentrant=False)
        y.sum().backward()
    gc.collect()
    assert sum(isinstance(o, fg.Tensor) for o in gc.get_objects()) <= before


def test_graphs_kept_and_second_derivatives():
    x = fg.tensor([0.5, 1.5], dtype=fg.float64, requires_grad=True)
    y = checkpoint(lambda x: (x * x).sin(), x, use_reentrant=False)
    (first,) = fg.autograd.grad(y.sum(), x, retain_graph=True)
    (again,) = fg.autograd.grad(y.sum(), x, create_graph=True)
    assert first.tolist() == again.tolist()
    (second,) = fg.autograd.grad(again.sum(), x)
    v = np.array([0.5, 1.5])
    np.testing.assert_allclose(second.tolist(), 2 * np.cos(v * v) - 4 * v * v * np.sin(v * v), rtol=1e-13)
    assert fg.autograd.gradcheck(lambda x: checkpoint(lambda x: x.sin().exp(), x, use_reentrant=False), (x,))


@pytest.mark.parametrize("stop, ends", [(True, 1), (False, 2)])
def test_early_stop(stop, ends):
    ran = []

    def f(x):
        ran.append("begins")
        y = x.sin()
        ran.append("ends")
        return y + 1

    x = fg.ones(2, requires_grad=True)
    with set_checkpoint_early_stop(stop):
        y = checkpoint(f, x, use_reentrant=False)
    y.sum().backward()
    assert ran.count("begins") == 2 and ran.count("ends") == ends


def test_contexts_and_keywords():
    entered = []

    class Context:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            entered.append(self.name)

        def __exit__(self, *_):
            pass

    x = fg.ones(2, requires_grad=True)
    y = checkpoint(
        lambda x, *, k, w: (x * k * w).sin(), x, use_reentrant=False, k=3, w=x,
        context_fn=lambda: (Context("first"), Context("second")),
    )
    assert entered == ["first"]
    y.sum().backward()
    assert entered == ["first", "second"]
    np.testing.assert_allclose(x.grad.tolist(), [6 * np.cos(3.0)] * 2, rtol=1e-6)


def test_tangents_and_maps():
    x, v = fg.tensor([0.5, 1.5]), fg.tensor([2.0, 3.0])

    def run(x):
        return checkpoint(lambda x: x.sin(), x, use_reentrant=False)

    np.testing.assert_allclose(fg.func.jvp(run, (x,), (v,))[1].tolist(), (x.cos() * v).tolist(), rtol=1e-6)
    assert fg.func.vmap(run)(x).tolist() == x.sin().tolist()
    assert fg.func.vmap(fg.func.grad(run))(x).tolist() == x.cos().tolist()


def changing(*functions):
    calls = iter(functions)
    return lambda x: next(calls)(x)


def test_runs_that_differ():
    x = fg.ones(3, requires_grad=True)
    fewer = changing(lambda x: x.sin().sin(), lambda x: x.sin())
    with pytest.raises(CheckpointError, match="during forward: 2\nNumber of tensors saved during recomputation: 1"):
        checkpoint(fewer, x, use_reentrant=False).sum().backward()
    smaller = changing(lambda x: x.sin(), lambda x: x[:2].sin())
    with pytest.raises(CheckpointError, match=r"position 0:\nsaved metadata: \{'shape': \[3\]"):
        checkpoint(smaller, x, use_reentrant=False).sum().backward()
    other = changing(
        lambda x: x.sin(),
        lambda x: x.double().exp(),
    )
    with pytest.raises(CheckpointError, match="(?s)part at tensor 0.*x.sin.*x.double"):
        checkpoint(other, x, use_reentrant=False, debug=True).sum().backward()


def errors(T, checkpoint, checkpoint_sequential):
    """What each misuse raises."""
    x = T.ones(3, requires_grad=True)

    def sin(x):
        return x.sin()

    def twice(**k):
        y = checkpoint(sin, x, **k)
        y.sum().backward()
        y.sum().backward()

    calls = [
        lambda: checkpoint(sin, x, use_reentrant=True, more=1),
        lambda: checkpoint(sin, x, use_reentrant=True, debug=True),
        lambda: checkpoint(sin, x, use_reentrant=False, determinism_check="some"),
        lambda: checkpoint(sin, x, use_reentrant=False, debug=True, context_fn=lambda: (nullcontext(), nullcontext())),
        lambda: T.autograd.grad(checkpoint(sin, x, use_reentrant=True).sum(), x),
        lambda: checkpoint(sin, x, use_reentrant=True).sum().backward(inputs=[x]),
        lambda: twice(use_reentrant=True),
        lambda: twice(use_reentrant=False),
        lambda: checkpoint_sequential([sin, sin], 2, x, use_reentrant=False, more=1),
        lambda: checkpoint_sequential([sin, sin], 0, x, use_reentrant=False),
        lambda: checkpoint_sequential([sin, sin], 3, x, use_reentrant=False),
        lambda: checkpoint(lambda x: x.detach(), x, use_reentrant=True).sum().backward(),
        lambda: checkpoint(sin, x.detach(), use_reentrant=False).requires_grad,
        lambda: checkpoint(sin, x, use_reentrant=True).grad_fn.name(),
        lambda: checkpoint(sin, x, use_reentrant=False).grad_fn.name(),
        lambda: [type(v).__name__ for v in checkpoint(lambda x: (x * 2, 3, [x]), x, use_reentrant=True)],
    ]
    found = []
    for call in calls:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001 - its class is compared
            found.append(type(error).__name__)
    return found


def test_misuse_is_torchs():
    torch = pytest.importorskip("torch")
    from torch.utils import checkpoint as theirs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = errors(torch, theirs.checkpoint, theirs.checkpoint_sequential)
        assert errors(fg, checkpoint, checkpoint_sequential) == expected


@BOTH
@pytest.mark.parametrize("segments", [1, 2, 3])
def test_sequences(reentrant, segments):
    steps = [fg.sin, fg.exp, fg.tanh, lambda x: x * 3, fg.cos]
    x, y = (fg.tensor([0.2, 0.7], dtype=fg.float64, requires_grad=True) for _ in range(2))
    z = x
    for step in steps:
        z = step(z)
    found = checkpoint_sequential(steps, segments, y, use_reentrant=reentrant)
    assert found.tolist() == z.tolist()
    z.sum().backward()
    found.sum().backward()
    np.testing.assert_allclose(y.grad.tolist(), x.grad.tolist(), rtol=1e-15)


def test_the_variant_is_to_be_named():
    x = fg.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint(fg.sin, x)
    with pytest.warns(UserWarning, match="Gradients will be None"):
        checkpoint(fg.sin, x.detach(), use_reentrant=True)


def test_a_group_of_passes_computes_again_once():
    from ferrograd.utils.checkpoint import GraphExecGroup

    def run(group):
        runs = []

        def parts(x):
            runs.append(1)
            y = x.sin().cos()
            return y, y.exp().sin()

        x = fg.tensor([0.3], requires_grad=True)
        y, z = checkpoint(parts, x, use_reentrant=False)
        with GraphExecGroup() if group else warnings.catch_warnings():
            (g,) = fg.autograd.grad(z, y)
            (g,) = fg.autograd.grad(y, x, g)
        return len(runs), g.item()

    (few, first), (many, second) = run(True), run(False)
    assert (few, many) == (2, 3) and first == second


def test_passes_of_a_group_that_need_the_same_value():
    from ferrograd.utils.checkpoint import GraphExecGroup

    x = fg.tensor([0.3], requires_grad=True)
    y = checkpoint(lambda x: x.sin().cos(), x, use_reentrant=False)
    with GraphExecGroup():
        y.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="two backward calls that overlap"):
            y.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="cannot be nested"), GraphExecGroup():
            pass
    y.backward()


def test_values_that_a_pass_has_used_are_gone():
    class Twice(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            assert ctx.saved_tensors[0].item() == 1.0
            with pytest.raises(CheckpointError, match="already unpacked once"):
                ctx.saved_tensors
            return g * 2

    x = fg.tensor([1.0], requires_grad=True)
    checkpoint(lambda x: Twice.apply(x * 1), x, use_reentrant=False).backward()
    assert x.grad.item() == 2.0


def test_a_second_run_that_keeps_more():
    runs = []

    def block(x):
        runs.append("run")
        return x.sin() if len(runs) % 2 else x.sin().exp()

    x = fg.tensor([1.0], requires_grad=True)
    with set_checkpoint_early_stop(False):
        y = checkpoint(block, x, use_reentrant=False)
    with pytest.raises(CheckpointError, match="trying to save more tensors during recomputation"):
        y.backward()
    checkpoint(block, x, use_reentrant=False).backward()
    assert x.grad.item() == pytest.approx(np.cos(1.0))



def test_functions_that_differentiate_themselves():
    """A checkpoint around a derivative, of a checkpoint: the second run differentiates what it computes."""

    def slope(function):
        def run(x):
            with fg.enable_grad():
                return fg.autograd.grad(function(x), x, create_graph=True)[0]

        return run

    def kept(function):
        return lambda x: checkpoint(function, x, use_reentrant=False)

    def f(x):
        return x.sin().exp().sin()

    for stop in (True, False):
        with set_checkpoint_early_stop(stop):
            x = fg.tensor(0.7, dtype=fg.float64, requires_grad=True)
            expected = slope(slope(slope(f)))(x).item()
            for run in (slope(kept(slope(slope(kept(f))))), slope(kept(slope(kept(slope(kept(f))))))):
                assert run(x).item() == pytest.approx(expected, rel=1e-12)


def test_what_a_checkpoint_held_goes_with_its_graph():
    import weakref

    class Mark:
        pass

    gc.disable()
    try:
        x = fg.ones(3, requires_grad=True)
        y = checkpoint(lambda x: x.sin().exp(), x, use_reentrant=False)
        mark = Mark()
        seen = weakref.ref(mark)
        (x * 1).grad_fn.next_functions[0][0].metadata["mark"] = mark
        del x, y, mark
        assert seen() is None
    finally:
        gc.enable()


def test_states_of_other_devices():
    states = fg.utils.checkpoint.get_device_states(fg.ones(1), [3])
    assert states == ([], [])
    fg.utils.checkpoint.set_device_states(*states)
    with pytest.raises(RuntimeError, match="only the CPU"):
        fg.utils.checkpoint.set_device_states([0], [fg.get_rng_state()])

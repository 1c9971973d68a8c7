"""Circles of references through the graph: Python's collector frees them, and nothing that somebody still has."""

import gc
import resource
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pytest

import ferrograd as fg


class Witness:
    """Something whose end can be seen."""


def leaf():
    return fg.tensor([1.0, 2.0], requires_grad=True)


def attribute(witness):
    x = leaf()
    x.me, x.witness = x, witness


def closure_in_attribute(witness):
    x = leaf()
    x.function = lambda: (x, witness)


def hook_on_leaf(witness):
    x = leaf()
    x.register_hook(lambda grad: (x, witness))


def hook_on_result(witness):
    y = leaf() * 2
    y.register_hook(lambda grad: (y, witness))


def hook_on_result_through_another(witness):
    x = leaf()
    y = x * 2
    z = y.exp()
    y.register_hook(lambda grad: (z, witness))


def hook_after_accumulation(witness):
    x = leaf()
    x.register_post_accumulate_grad_hook(lambda leaf: (x, witness))


def hook_on_node(witness):
    y = leaf() * 2
    y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: (y, witness))


def prehook_on_node(witness):
    y = leaf() * 2
    y.grad_fn.register_prehook(lambda grad_outputs: (y, witness))


def metadata(witness):
    y = leaf() * 2
    y.grad_fn.metadata["all"] = (y, witness)


def metadata_with_the_node(witness):
    y = leaf() * 2
    y.grad_fn.metadata["node"] = y.grad_fn
    y.grad_fn.metadata["witness"] = witness


def gradient_with_history(witness):
    x = leaf()
    (x * x).sum().backward(create_graph=True)
    x.grad.grad_fn.metadata["witness"] = witness


def gradient_of_a_gradient(witness):
    x = leaf()
    (x**3).sum().backward(create_graph=True)
    x.grad.sum().backward(create_graph=True)
    x.grad.grad_fn.metadata["witness"] = witness


def assigned_gradient(witness):
    x = leaf()
    x.grad = x * 2
    x.grad.grad_fn.metadata["witness"] = witness


def retained_gradient(witness):
    y = leaf() * 2
    y.retain_grad()
    (y * y).sum().backward(create_graph=True)
    y.grad.grad_fn.metadata["witness"] = witness


def product_with_what_it_made(witness):
    x = leaf() * 1
    a = x * leaf()
    x.mul_(a)
    x.grad_fn.metadata["witness"] = witness


def base_of_a_view_that_it_made(witness):
    x = leaf() * 1
    a = x * leaf()
    x[0].mul_(a[1])
    x.grad_fn.metadata["witness"] = witness


def saved_value_in_hooks(witness):
    held = []
    with fg.autograd.graph.saved_tensors_hooks(lambda t: (t, held, witness), lambda pack: pack[0]):
        held.append(leaf().exp())


def saved_hooks_that_hold_the_result(witness):
    held = []
    with fg.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), lambda pack: (held, witness)):
        held.append(leaf().exp())


class Doubled(fg.autograd.Function):
    @staticmethod
    def forward(ctx, x, witness):
        y = x * 2
        ctx.kept, ctx.witness = y, witness
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad * 2, None


def context_with_its_output(witness):
    Doubled.apply(leaf(), witness)


def context_with_a_later_result(witness):
    y = Doubled.apply(leaf(), witness)
    y.grad_fn.later = y.exp()


def function_node(witness):
    y = Doubled.apply(leaf(), witness)
    y.node = y.grad_fn


def through_a_module(witness):
    class Module:
        pass

    module = Module()
    module.weight, module.witness = leaf(), witness
    module.weight.register_hook(lambda grad: module.scale(grad))
    module.outputs = [module.weight * 2]


MAKERS = [value for value in list(globals().values()) if getattr(value, "__code__", None) and value.__code__.co_varnames[:1] == ("witness",)]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_the_collector_frees_a_circle(make):
    gc.collect()
    gc.disable()
    try:
        witness = Witness()
        seen = weakref.ref(witness)
        make(witness)
        del witness
        held = [seen() is not None]
        gc.collect()
        assert seen() is None
    finally:
        gc.enable()
    assert held == [True]


def test_what_somebody_has_stays():
    x = leaf()
    y = x * 2
    y.register_hook(lambda grad: [*calls, calls.append(grad)] and None)
    calls = []
    y.grad_fn.metadata["y"] = y
    (y * y).sum().backward(create_graph=True)
    first = x.grad
    z = x * x
    a = z * x
    z.mul_(a)
    node = y.grad_fn
    del y, a
    for _ in range(3):
        gc.collect()
    assert node.metadata["y"].tolist() == [2.0, 4.0] and len(calls) == 1
    assert x.grad is first and first.requires_grad
    (second,) = fg.autograd.grad(first.sum(), x, retain_graph=True)
    assert second.tolist() == [8.0, 8.0]
    assert fg.autograd.grad(node.metadata["y"].sum(), x)[0].tolist() == [2.0, 2.0] and len(calls) == 3


def test_a_node_alone_keeps_its_circle():
    def make():
        y = leaf() * 2
        y.grad_fn.metadata["y"] = y
        return y.grad_fn

    node = make()
    gc.collect()
    assert node.metadata["y"].tolist() == [2.0, 4.0]


def test_a_hook_may_collect():
    x = leaf()
    y = x * 2
    y.register_hook(lambda grad: [gc.collect(), y] and None)
    (y * y).sum().backward(create_graph=True)
    assert x.grad.tolist() == [8.0, 16.0]


def solved(seen):
    """A circle through the node of a custom function, as one step of a solver within another pass leaves it."""
    with fg.enable_grad():
        x, witness = leaf(), Witness()
        y = Doubled.apply(x, witness)
        y.sum().backward()
        seen.append(weakref.ref(witness))


@pytest.mark.parametrize("elements", [2, 100_000], ids=["short", "long"])
@pytest.mark.parametrize("place", ["tensor", "node", "saved", "function"])
def test_circles_go_in_the_middle_of_a_pass(elements, place):
    """A hook is called in a pass that stands still: what it has stays, and what nobody has goes."""
    seen, left = [], []

    def step(*given):
        for _ in range(5):
            solved(seen)
        gc.collect()
        left.append(sum(witness() is not None for witness in seen))
        return given[0] if place == "saved" else None

    class Stepping(fg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 3

        @staticmethod
        def backward(ctx, grad):
            step()
            (x,) = ctx.saved_tensors
            assert x[-1].item() == 4.0
            return grad * 3

    x = fg.full((elements,), 2.0, requires_grad=True)
    with fg.autograd.graph.saved_tensors_hooks(lambda t: t, step if place == "saved" else lambda t: t):
        y = x * x
    if place == "function":
        y = Stepping.apply(y)
    if place == "tensor":
        y.register_hook(step)
    if place == "node":
        y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: step())
        y.grad_fn.register_prehook(lambda grad_outputs: step())
    (y * y).sum().backward()
    assert left and not any(left)
    assert x.grad[-1].item() == (288.0 if place == "function" else 32.0)


def test_circles_go_while_other_threads_differentiate():
    """Long passes run without the interpreter's lock: a collection waits until they come to rest."""
    seen, going, failures = [], threading.Event(), []
    going.set()

    def train():
        while going.is_set():
            solved(seen)
            x = fg.full((20_000,), 2.0, requires_grad=True)
            y = x
            for _ in range(5):
                y = y * 1.5
            y.register_hook(lambda grad: grad * 2)
            y.sum().backward()
            if x.grad[7].item() != 15.1875:
                failures.append(x.grad[7].item())

    threads = [threading.Thread(target=train) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        freed = 0
        deadline = time.monotonic() + 60
        while freed < 50 and time.monotonic() < deadline:
            gc.collect()
            freed = sum(witness() is None for witness in seen)
    finally:
        going.clear()
        for thread in threads:
            thread.join()
    assert freed >= 50 and not failures
    gc.collect()
    assert not any(witness() is not None for witness in seen)


def test_finalizers_see_whole_objects():
    seen = []

    class Last:
        def __init__(self, y):
            self.y = y

        def __del__(self):
            seen.append(self.y.tolist())

    def make():
        y = leaf() * 2
        y.grad_fn.metadata["last"] = Last(y)

    make()
    gc.collect()
    assert seen == [[2.0, 4.0]]


@pytest.mark.parametrize(
    "step",
    [
        "x = fg.ones(1000, requires_grad=True); (x * x).sum().backward(create_graph=True)",
        "x = fg.ones(1000, requires_grad=True) * 1; a = x * fg.ones(1000, requires_grad=True); x.mul_(a)",
        "y = (fg.ones(1000, requires_grad=True) * 1).exp(); y.grad_fn.metadata['y'] = y",
    ],
)
def test_memory_stays_flat_without_a_collection_by_hand(step):
    """Circles of the graph alone are found without Python's collector, which does not know how much they keep."""
    program = f"""
        import gc, resource
        import ferrograd as fg
        gc.disable()
        def run(n):
            for _ in range(n):
                {step}
                fg.ones(1, requires_grad=True).sum().backward()
        run(20_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(60_000)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 20_000, found.stdout
